//! `certs dev`: a development CA with a server certificate and client certificates. Not for production.

use std::io::Write;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// What keeps certificates from being made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("{path}: {source}", path = path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// A client certificate to make: the name of its files and the URI in its SAN.
#[derive(Debug)]
pub struct ClientName<'n> {
    pub file: &'n str,
    pub uri: &'n str,
}

/// Makes `ca.pem`, `server.pem`, `server.key` (for localhost) and for each client `NAME.pem` and
/// `NAME.key` in `folder`. The CA's key is thrown away: nobody can sign with it later.
///
/// # Errors
/// [`CertsError`].
pub fn make(folder: &Path, clients: &[ClientName<'_>]) -> Result<Vec<PathBuf>, CertsError> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name.push(DnType::CommonName, "purposegate development CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let mut files = vec![write(folder, "ca.pem", &ca_certificate.pem(), false)?];
    let mut server =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "purposegate development server");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(folder, "server", server, &issuer, &mut files)?;
    for client in clients {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, client.file);
        params.subject_alt_names = vec![SanType::URI(client.uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        sign(folder, client.file, params, &issuer, &mut files)?;
    }
    Ok(files)
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
