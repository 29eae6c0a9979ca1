//! Creates the certificates of `certs dev`: a development CA, a server certificate and client certificates. They are
//! not for production.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// Names in the server's certificate if none are given.
pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Validity in days, counted from the start of the previous day. Mozilla recommends no more than 366 days for servers.
const VALID_DAYS: i32 = 365;

/// An error that keeps certificates from being created.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A certificate or key cannot be generated.
    #[error("a certificate cannot be created: {0}")]
    Make(#[from] rcgen::Error),
    /// A file cannot be written.
    #[error("{path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The name of a client certificate.
#[derive(Debug)]
pub struct ClientName<'n> {
    /// Name of its files, without extension.
    pub file: &'n str,
    /// The URI in its subject alternative name.
    pub uri: &'n str,
}

/// Creates in `folder` the files `ca.pem`, `server.pem` and `server.key` (for [`LOCAL_NAMES`]), and `NAME.pem` and
/// `NAME.key` for each client. The CA's key is discarded, so nobody can sign with it later. Returns the paths.
///
/// # Errors
/// [`CertsError`].
pub fn make(folder: &Path, clients: &[ClientName<'_>]) -> Result<Vec<PathBuf>, CertsError> {
    make_at(folder, &LOCAL_NAMES, clients, Timestamp::now())
}

/// Like [`make`], for a server with these DNS names and IP addresses, valid from `now`.
///
/// # Errors
/// [`CertsError`], also if a name is not valid in a certificate.
pub fn make_at(
    folder: &Path,
    names: &[&str],
    clients: &[ClientName<'_>],
    now: Timestamp,
) -> Result<Vec<PathBuf>, CertsError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let ca_key = KeyPair::generate()?;
    let mut ca = params(Vec::new(), today)?;
    ca.distinguished_name.push(DnType::CommonName, "purposegate development CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let mut files = vec![write(folder, "ca.pem", &ca_certificate.pem(), false)?];
    let mut server = params(names.iter().map(ToString::to_string).collect(), today)?;
    server.distinguished_name.push(DnType::CommonName, "purposegate development server");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(folder, "server", server, &issuer, &mut files)?;
    for client in clients {
        let mut params = params(Vec::new(), today)?;
        params.distinguished_name.push(DnType::CommonName, client.file);
        params.subject_alt_names = vec![SanType::URI(client.uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        sign(folder, client.file, params, &issuer, &mut files)?;
    }
    Ok(files)
}

/// Returns the parameters of a certificate that is valid from the previous day, since clocks differ.
fn params(names: Vec<String>, today: Date) -> Result<CertificateParams, CertsError> {
    let instant = |date: Date| {
        // Months and days are small and positive.
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let begin = today.saturating_sub(Span::new().days(1));
    let mut params = CertificateParams::new(names)?;
    params.not_before = instant(begin);
    params.not_after = instant(begin.saturating_add(Span::new().days(VALID_DAYS)));
    Ok(params)
}

fn sign(
    folder: &Path,
    name: &str,
    params: CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
    files: &mut Vec<PathBuf>,
) -> Result<(), CertsError> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    files.push(write(folder, &format!("{name}.pem"), &certificate.pem(), false)?);
    files.push(write(folder, &format!("{name}.key"), &key.serialize_pem(), true)?);
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str, secret: bool) -> Result<PathBuf, CertsError> {
    let path = folder.join(name);
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        if secret {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        options.open(&path)?.write_all(text.as_bytes())
    });
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(CertsError::Write { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::*;

    #[test]
    fn certificates_are_valid_from_now_for_a_year() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2028-02-29T23:59:59Z".parse().unwrap();
        let client = ClientName { file: "client", uri: "spiffe://example.org/client" };
        make_at(folder.path(), &["gate.internal", "192.0.2.7"], &[client], now).unwrap();
        for file in ["ca.pem", "server.pem", "client.pem"] {
            let der = CertificateDer::from_pem_file(folder.path().join(file)).unwrap();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            let validity = certificate.validity();
            let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
            assert!((now.as_second() - 2 * 86_400..now.as_second()).contains(&begin), "{file} {validity:?}");
            assert!(
                end > now.as_second() + 360 * 86_400 && end - begin <= 365 * 86_400,
                "{file} {validity:?}"
            );
        }
        let der = CertificateDer::from_pem_file(folder.path().join("server.pem")).unwrap();
        let (_, server) = X509Certificate::from_der(&der).unwrap();
        let names = server.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
        assert_eq!(names, [GeneralName::DNSName("gate.internal"), GeneralName::IPAddress(&[192, 0, 2, 7])]);
    }
}
