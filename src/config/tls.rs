//! What a listener's certificate, key and client CA make.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::TlsFiles;

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

/// The TLS configuration of a listener: TLS 1.2 and 1.3, `h2` and `http/1.1` by ALPN, client
/// certificates asked for where there is a client CA, and demanded where the configuration says so:
/// otherwise an API key will do.
///
/// # Errors
/// [`TlsError`] for a file that does not read, parse or match.
pub(super) fn server_config(tls: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
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
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
            let verifier = if tls.client_required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| TlsError::new(path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::new(&tls.key, format!("is not the key of {}", tls.certificate.display()))
        }
        error => TlsError::new(&tls.certificate, error),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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
