//! The admin listener over TLS: tokens, client certificates, host names, and a reload.

use std::sync::Arc;

use ::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use purposegate::config::roots;
use purposegate::credentials::development::{self, ClientName};
use purposegate::credentials::hash;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::gateway::{TestGateway, base};
use crate::upstream::Upstream;

const OPERATOR: &str = "spiffe://example.org/operator";

/// The hash of a token, as the configuration has it.
pub(crate) fn token_hash(token: &str) -> String {
    let digits: String = hash(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

pub(crate) fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let clients = [
        ClientName { file: "operator", uri: OPERATOR },
        ClientName { file: "stranger", uri: "spiffe://example.org/stranger" },
    ];
    development::make(folder.path(), &clients).unwrap();
    folder
}

/// Sends `GET` over TLS with a client certificate and these headers.
fn get(
    admin: std::net::SocketAddr,
    certificates: &TempDir,
    client: Option<&str>,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, String) {
    let folder = certificates.path();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&folder.join("ca.pem")).unwrap());
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(admin).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, String::from_utf8(body.to_vec()).unwrap())
    })
}

#[test]
fn a_certificate_or_a_token_opens_the_admin_api_over_tls() {
    let upstream = Upstream::start();
    let files = certificates();
    let folder = files.path().display();
    let section = format!(
        r#"[admin]
authorities = ["Gateway.internal"]
tls = {{ certificate = "{folder}/server.pem", key = "{folder}/server.key", client-ca = "{folder}/ca.pem" }}
certificates = [{{ name = "ops", certificate = "{OPERATOR}", roles = ["operator"] }}]
tokens = [{{ name = "sync", hash = "{}", roles = ["ledger", "read"] }}]"#,
        token_hash("pga_sync")
    );
    let config = base(upstream.address)
        .replace("[admin]", &section)
        .replace("127.0.0.1:0\"\n[[up", "0.0.0.0:0\"\n[[up");
    assert!(config.contains("0.0.0.0:0"), "the listener is beyond the loopback");
    let gateway = TestGateway::start(&config);
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], gateway.admin.port()));
    let bearer = ("authorization", "Bearer pga_sync");
    let ask = |client, path: &str, headers: &[(&str, &str)]| get(admin, &files, client, path, headers);

    assert_eq!(ask(None, "/healthz", &[]).0, StatusCode::OK);
    assert_eq!(ask(None, "/metrics", &[]).0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some("stranger"), "/metrics", &[]).0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some("operator"), "/metrics", &[]).0, StatusCode::OK);
    assert_eq!(ask(None, "/v1/policies", &[bearer]).0, StatusCode::OK);
    assert_eq!(ask(Some("stranger"), "/v1/policies", &[bearer]).0, StatusCode::OK, "it names nobody");
    let (status, body) = ask(Some("operator"), "/v1/policies", &[bearer]);
    assert_eq!(status, StatusCode::UNAUTHORIZED, "two credentials of two actors: {body}");
    let (status, body) = ask(Some("operator"), "/v1/subjects/p-1?reason=x", &[]);
    assert!(status == StatusCode::FORBIDDEN && body.contains("role-missing"), "{body}");

    assert_eq!(ask(None, "/healthz", &[("host", "gateway.INTERNAL:9901")]).0, StatusCode::OK);
    assert_eq!(ask(None, "/healthz", &[("host", "other.internal")]).0, StatusCode::FORBIDDEN);
    let own = [("host", "gateway.internal"), ("origin", "https://gateway.internal")];
    assert_eq!(ask(None, "/healthz", &own).0, StatusCode::OK);
    let plain = [("host", "gateway.internal"), ("origin", "http://gateway.internal")];
    assert_eq!(ask(None, "/healthz", &plain).0, StatusCode::FORBIDDEN);
    let (_, metadata) = ask(None, "/.well-known/authzen-configuration", &[bearer]);
    assert!(metadata.contains("\"https://localhost/access/v1/evaluation\""), "{metadata}");
}
