//! Builds the TLS configuration of connections that the gateway opens, from authorities and an optional client
//! certificate.
//!
//! Invariant: the server's certificate is always verified, for the host name of the URL too, or it is the very certificate
//! of a file ([`pinned`]). There is no way to connect with TLS and without verification.

#[cfg(feature = "gateway")]
mod pinned;

use std::path::PathBuf;

#[cfg(feature = "postgres")]
pub use connecting::client;
#[cfg(feature = "gateway")]
pub use pinned::pinned;

/// The files for TLS to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// PEM file with the authorities that the server's certificate can be from. `None`: the authorities that the system
    /// trusts.
    pub ca: Option<PathBuf>,
    /// PEM files with the certificate chain and the key that this client shows.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Returns an error: a program without the gateway connects to no server.
///
/// # Errors
/// Always [`TlsError`].
#[cfg(not(feature = "postgres"))]
pub fn client(_: &ClientTlsFiles) -> Result<std::sync::Arc<rustls::ClientConfig>, super::tls::TlsError> {
    let what = std::path::Path::new("TLS to a server");
    Err(super::tls::TlsError::new(what, "this program was built without the gateway"))
}

#[cfg(feature = "postgres")]
mod connecting {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::{ClientConfig, RootCertStore};

    use super::ClientTlsFiles;
    use crate::config::tls::{TlsError, chain, private_key, roots};

    /// Builds the configuration of TLS to a server: TLS 1.2 and 1.3, without ALPN.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read or parsed, if the key does not match the certificate, or if the system trusts no
    /// authority.
    pub fn client(files: &ClientTlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &files.ca {
            Some(ca) => roots(ca)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(files.ca.as_deref().unwrap_or(system()), error))?
            .with_root_certificates(roots);
        let config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(chain(certificate)?, private_key(key)?)
                .map_err(|error| TlsError::of_pair(certificate, key, error))?,
        };
        Ok(Arc::new(config))
    }

    /// The name of the system's authorities in errors.
    fn system() -> &'static Path {
        Path::new("the system's authorities")
    }

    /// Returns the authorities that the system trusts. Those that rustls cannot read are left out.
    fn system_roots() -> Result<RootCertStore, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        match (roots.is_empty(), found.errors.first()) {
            (false, _) => Ok(roots),
            (true, None) => Err(TlsError::new(system(), "there are none: name a file with `ca`")),
            (true, Some(error)) => Err(TlsError::new(system(), error)),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "cli")]
mod tests {
    use super::*;
    use crate::credentials::development::{self, ClientName};

    fn certificates() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let clients = [ClientName { file: "client", uri: "spiffe://test/gateway" }];
        development::make(folder.path(), &clients).unwrap();
        let path = folder.path().to_owned();
        (folder, path)
    }

    #[test]
    fn a_client_shows_its_certificate_and_an_error_names_the_file() {
        let (_folder, path) = certificates();
        let file = |name: &str| path.join(name);
        let identity = |certificate: &str, key: &str| Some((file(certificate), file(key)));
        let with = |identity| ClientTlsFiles { ca: Some(file("ca.pem")), identity };
        let built = client(&with(identity("client.pem", "client.key"))).unwrap();
        assert!(built.client_auth_cert_resolver.has_certs());
        assert!(!client(&with(None)).unwrap().client_auth_cert_resolver.has_certs());
        for (files, named, reason) in [
            (with(identity("client.pem", "server.key")), "server.key", "is not the key of"),
            (with(identity("client.pem", "none.key")), "none.key", ""),
            (with(identity("client.key", "client.key")), "client.key", "no certificate"),
            (ClientTlsFiles { ca: Some(file("client.key")), identity: None }, "client.key", "no certificate"),
            (ClientTlsFiles { ca: Some(file("none.pem")), identity: None }, "none.pem", ""),
        ] {
            let error = client(&files).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(reason), "{error}");
        }
    }
}
