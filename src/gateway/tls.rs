//! TLS of a listener: its certificate, ALPN, and the names in a client's certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::ListenerTls;
use crate::layer::identity::PeerNames;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    path: String,
    reason: String,
}

impl TlsError {
    fn new(path: &Path, reason: impl ToString) -> TlsError {
        TlsError { path: path.display().to_string(), reason: reason.to_string() }
    }
}

/// The TLS configuration of a listener: TLS 1.2 and 1.3, `h2` and `http/1.1` by ALPN, client
/// certificates asked for where there is a client CA, and demanded where the configuration says so:
/// otherwise an API key will do.
///
/// # Errors
/// [`TlsError`] for a file that does not read, parse or match.
pub(super) fn server_config(tls: &ListenerTls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::new(&tls.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| TlsError::new(&tls.key, error))?;
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
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| TlsError::new(&tls.certificate, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates of a CA file.
///
/// # Errors
/// [`TlsError`] where the file does not read or holds no certificate.
pub fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| TlsError::new(path, error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| TlsError::new(path, error))?;
        roots.add(certificate).map_err(|error| TlsError::new(path, error))?;
    }
    if roots.is_empty() {
        return Err(TlsError::new(path, "holds no certificate"));
    }
    Ok(roots)
}

/// The names of a verified client certificate: its subject alternative names, never its common name.
pub(super) fn peer_names(certificate: &CertificateDer<'_>) -> PeerNames {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return PeerNames::default() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return PeerNames::default() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(name) | GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some(*name),
        _ => None,
    });
    // A NUL inside a name has fooled comparisons before (Envoy CVE-2026-47778).
    PeerNames(names.filter(|name| !name.contains('\0')).map(str::to_owned).collect())
}
