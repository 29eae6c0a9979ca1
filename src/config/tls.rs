//! Builds the TLS configuration of a listener from its certificate, key and client CA.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The files of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities whose client certificates are accepted.
    pub client_ca: Option<PathBuf>,
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
        let denied =
            matches!(error, pem::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied);
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

/// The authority whose client certificates are accepted. When a reload names another one, connections that the old one
/// admitted end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// Digest of its trust anchors; their order in the file has no influence.
    pub digest: [u8; 32],
    /// True if a connection without a client certificate is refused.
    pub required: bool,
}

/// Builds the TLS configuration of a listener: TLS 1.2 and 1.3, `h2` and `http/1.1` by ALPN. Client certificates are
/// requested if there is a client CA, and required if the configuration says so; otherwise an API key suffices.
///
/// # Errors
/// [`TlsError`] if a file cannot be read or parsed, or if the key does not match the certificate.
pub(super) fn server(tls: &TlsFiles) -> Result<TlsServer, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = (chain(&tls.certificate)?, private_key(&tls.key)?);
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
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::of_pair(&tls.certificate, &tls.key, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if client_authority.is_some() {
        // A resumed session carries the client certificate without verifying it again, so it would be accepted after it
        // has ended, or after its authority is no longer trusted.
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
        pem::Error::NoItemsFound => TlsError::new(path, "holds no private key"),
        error => TlsError::of_pem(path, &error),
    })
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
