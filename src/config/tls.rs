//! What a listener's certificate, key and client CA make.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificate of a listener, and whose client certificates it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
    /// Whether a connection without a client certificate is refused.
    pub client_required: bool,
}

/// A certificate or key that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    path: String,
    reason: String,
    /// It is not for this user to read.
    pub(super) denied: bool,
}

impl TlsError {
    fn new(path: &Path, reason: impl ToString) -> TlsError {
        TlsError { path: path.display().to_string(), reason: reason.to_string(), denied: false }
    }

    fn of_pem(path: &Path, error: &pem::Error) -> TlsError {
        let denied =
            matches!(error, pem::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied);
        TlsError { denied, ..TlsError::new(path, error) }
    }
}

/// What the TLS files of a listener make.
#[derive(Clone, Debug)]
pub struct TlsServer {
    pub config: Arc<ServerConfig>,
    /// `None` where no client certificates are accepted.
    pub client_authority: Option<ClientAuthority>,
}

/// Whose client certificates are accepted. Connections that one authority let in end when a reload names
/// another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// Of its trust anchors, in whatever order the file has them.
    pub digest: [u8; 32],
    /// Whether a connection without a client certificate is refused.
    pub required: bool,
}

/// The TLS configuration of a listener: TLS 1.2 and 1.3, `h2` and `http/1.1` by ALPN, client
/// certificates asked for where there is a client CA, and demanded where the configuration says so:
/// otherwise an API key will do.
///
/// # Errors
/// [`TlsError`] for a file that does not read, parse or match.
pub(super) fn server(tls: &TlsFiles) -> Result<TlsServer, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::of_pem(&tls.certificate, &error))?;
    if chain.is_empty() {
        return Err(TlsError::new(&tls.certificate, "holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::new(&tls.key, "holds no private key"),
        error => TlsError::of_pem(&tls.key, &error),
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&tls.certificate, error))?;
    let (builder, client_authority) = match &tls.client_ca {
        None => (builder.with_no_client_auth(), None),
        Some(path) => {
            let (roots, required) = (Arc::new(roots(path)?), tls.client_required);
            let authority = ClientAuthority { digest: digest(&roots), required };
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| TlsError::new(path, error))?;
            (builder.with_client_cert_verifier(verifier), Some(authority))
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::new(&tls.key, format!("is not the key of {}", tls.certificate.display()))
        }
        error => TlsError::new(&tls.certificate, error),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if client_authority.is_some() {
        // A resumed session brings the client's certificate along without verifying it again: one that has
        // ended, or whose authority is no longer trusted, would go on letting its holder in.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(TlsServer { config: Arc::new(config), client_authority })
}

fn digest(roots: &RootCertStore) -> [u8; 32] {
    let mut anchors: Vec<[&[u8]; 3]> = roots
        .roots
        .iter()
        .map(|anchor| {
            let constraints = anchor.name_constraints.as_deref().unwrap_or_default();
            [&*anchor.subject, &*anchor.subject_public_key_info, constraints]
        })
        .collect();
    anchors.sort_unstable();
    anchors.dedup();
    let mut hasher = blake3::Hasher::new();
    for part in anchors.into_iter().flatten() {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

/// When a chain expires, in Unix time: the earliest end of its certificates.
pub(super) fn not_after(certificate: &Path) -> Option<i64> {
    let chain = CertificateDer::pem_file_iter(certificate).ok()?;
    let ends = chain.filter_map(|certificate| {
        let certificate = certificate.ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    ends.min()
}

/// The certificates of a CA file.
///
/// # Errors
/// [`TlsError`] where the file does not read or holds no certificate.
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
