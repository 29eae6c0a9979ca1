//! Builds the TLS configuration of a listener from its certificate, key, client CA and revocation lists.

pub(super) mod crl;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{DistinguishedName, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use self::crl::RevocationList;

/// The files of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities whose client certificates are accepted.
    pub client_ca: Option<PathBuf>,
    /// PEM or DER files with the revocation lists of the authorities. Empty: revocation is not checked.
    pub crls: Vec<PathBuf>,
    /// True if a connection without a client certificate is refused.
    pub client_required: bool,
}

/// A certificate or key that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    path: String,
    reason: String,
    /// True if this user has no permission to read the file.
    pub(super) denied: bool,
}

impl TlsError {
    pub(super) fn new(path: &Path, reason: impl ToString) -> TlsError {
        TlsError { path: path.display().to_string(), reason: reason.to_string(), denied: false }
    }

    fn of_pem(path: &Path, error: &pem::Error) -> TlsError {
        match error {
            pem::Error::Io(error) => TlsError::of_io(path, error),
            error => TlsError::new(path, error),
        }
    }

    fn of_io(path: &Path, error: &io::Error) -> TlsError {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        TlsError { denied, ..TlsError::new(path, error) }
    }

    /// The error of a certificate with a key.
    pub(super) fn of_pair(certificate: &Path, key: &Path, error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::new(key, format!("is not the key of {}", certificate.display()))
            }
            error => TlsError::new(certificate, error),
        }
    }
}

/// TLS configuration of a listener.
#[derive(Clone, Debug)]
pub struct TlsServer {
    /// Configuration for rustls.
    pub config: Arc<ServerConfig>,
    /// Authority for client certificates. `None` if none are accepted.
    pub client_authority: Option<ClientAuthority>,
}

/// The authorities whose client certificates are accepted, and their revocation lists. When a reload names others,
/// connections end whose certificates these do not accept.
#[derive(Clone, Debug)]
pub struct ClientAuthority {
    /// True if a connection without a client certificate is refused.
    pub required: bool,
    /// The revocation lists, the newest first. Empty: revocation is not checked.
    pub lists: Arc<[RevocationList]>,
    /// Names of authorities without a revocation list, if there are lists: none of their certificates is accepted.
    pub without_list: Vec<String>,
    verifier: Arc<dyn ClientCertVerifier>,
    /// Digest of trust anchors and revocation lists; their order in the files has no influence.
    digest: [u8; 32],
}

/// Two authorities are equal if they accept the same certificates.
impl PartialEq for ClientAuthority {
    fn eq(&self, other: &ClientAuthority) -> bool {
        self.digest == other.digest && self.required == other.required
    }
}

impl Eq for ClientAuthority {}

impl ClientAuthority {
    fn new(tls: &TlsFiles, ca: &Path, provider: &Arc<CryptoProvider>) -> Result<ClientAuthority, TlsError> {
        let roots = Arc::new(roots(ca)?);
        let lists: Arc<[RevocationList]> = crl::read(&tls.crls)?.into();
        let subjects = roots.subjects();
        let has_list = |subject: &&DistinguishedName| {
            lists.is_empty() || lists.iter().any(|list| list.issuer == subject.as_ref())
        };
        let without_list = subjects.iter().filter(|subject| !has_list(subject)).map(name).collect();
        let digest = digest(&roots, &lists);
        // Without the status of a certificate, or with an outdated one, nothing leaves.
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(lists.iter().map(|list| list.der.clone()))
            .enforce_revocation_expiration();
        let required = tls.client_required;
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        let verifier = verifier.build().map_err(|error| match lists.first() {
            Some(list) => TlsError::new(&list.file, error),
            None => TlsError::new(ca, error),
        })?;
        Ok(ClientAuthority { required, lists, without_list, verifier, digest })
    }

    /// True if a client with this chain of certificates is accepted. The chain is empty if it has shown none.
    pub fn accepts(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let Some((own, issuers)) = chain.split_first() else { return !self.required };
        let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
        self.verifier.verify_client_cert(own, issuers, UnixTime::since_unix_epoch(now)).is_ok()
    }

    /// Returns the first time after `now` at which a revocation list expires.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.lists.iter().map(|list| list.next_update).filter(|end| *end > now).min()
    }
}

/// Returns the name of an authority for people.
fn name(subject: &DistinguishedName) -> String {
    X509Name::from_der(subject.as_ref())
        .map_or_else(|_| "(unreadable)".to_owned(), |(_, name)| name.to_string())
}

/// Builds the TLS configuration of a listener: TLS 1.2 and 1.3, `h2` and `http/1.1` by ALPN. Client certificates are
/// requested if there is a client CA, and required if the configuration says so; otherwise an API key suffices.
///
/// # Errors
/// [`TlsError`] if a file cannot be read or parsed, or if the key does not match the certificate.
pub(crate) fn server(tls: &TlsFiles) -> Result<TlsServer, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = (chain(&tls.certificate)?, private_key(&tls.key)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&tls.certificate, error))?;
    let (builder, client_authority) = match &tls.client_ca {
        None => (builder.with_no_client_auth(), None),
        Some(path) => {
            let authority = ClientAuthority::new(tls, path, &provider)?;
            (builder.with_client_cert_verifier(Arc::clone(&authority.verifier)), Some(authority))
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::of_pair(&tls.certificate, &tls.key, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if client_authority.is_some() {
        // A resumed session carries the client certificate without verifying it again, so it would be accepted after it
        // has ended or was revoked, or after its authority is no longer trusted.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(TlsServer { config: Arc::new(config), client_authority })
}

/// Reads a certificate chain.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::of_pem(path, &error))?;
    if chain.is_empty() {
        return Err(TlsError::new(path, "holds no certificate"));
    }
    Ok(chain)
}

/// Reads a private key.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        // An encrypted key has another label, or header lines that are not base64.
        _ if is_encrypted(path) => {
            let file = path.display();
            let todo = format!("decrypt it (`openssl pkey -in {file} -out …`)");
            TlsError::new(path, format!("the private key is encrypted; {todo}"))
        }
        pem::Error::NoItemsFound => TlsError::new(path, "holds no private key"),
        error => TlsError::of_pem(path, &error),
    })
}

/// True if a file has an encrypted private key (PKCS #8, or the format of OpenSSL before it).
fn is_encrypted(path: &Path) -> bool {
    let marks = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];
    std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| marks.contains(&line.trim_end())))
}

fn digest(roots: &RootCertStore, lists: &[RevocationList]) -> [u8; 32] {
    let mut parts: Vec<[&[u8]; 3]> = roots
        .roots
        .iter()
        .map(|anchor| {
            let constraints = anchor.name_constraints.as_deref().unwrap_or_default();
            [&*anchor.subject, &*anchor.subject_public_key_info, constraints]
        })
        .chain(lists.iter().map(|list| [&*list.der, &[], &[]]))
        .collect();
    parts.sort_unstable();
    parts.dedup();
    let mut hasher = blake3::Hasher::new();
    for part in parts.into_iter().flatten() {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Returns the earliest end of validity in a chain, in seconds of Unix time. `None` if no certificate can be read.
pub(super) fn not_after(certificate: &Path) -> Option<i64> {
    let chain = CertificateDer::pem_file_iter(certificate).ok()?;
    let ends = chain.filter_map(|certificate| {
        let certificate = certificate.ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    ends.min()
}

/// Reads the certificates of a CA file.
///
/// # Errors
/// [`TlsError`] if the file cannot be read or holds no certificate.
pub fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| TlsError::of_pem(path, &error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| TlsError::of_pem(path, &error))?;
        roots.add(certificate).map_err(|error| TlsError::new(path, error))?;
    }
    if roots.is_empty() {
        return Err(TlsError::new(path, "holds no certificate"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_key_is_told_from_a_file_without_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        let pem =
            |label: &str, head: &str| format!("-----BEGIN {label}-----\n{head}AAAA\n-----END {label}-----\n");
        let old = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n";
        let encrypted = ["the private key is encrypted", "openssl pkey -in", "server.key -out"];
        for (text, words) in [
            (pem("ENCRYPTED PRIVATE KEY", ""), &encrypted[..]),
            (pem("RSA PRIVATE KEY", old), &encrypted),
            (pem("CERTIFICATE", ""), &["holds no private key"]),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = private_key(&path).unwrap_err().to_string();
            assert!(words.iter().all(|words| error.contains(words)), "{text}{error}");
        }
    }
}
