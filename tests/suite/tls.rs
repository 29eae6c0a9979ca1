//! TLS, client certificates and HTTP/2, as a partner's own software speaks them.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use purposegate::config::roots;
use purposegate::credentials::development::{self, ClientName};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::gate::{Gate, base, bearer};
use crate::releases::{ROUTES, person};
use crate::upstream::Upstream;

const PARTNER: &str = "spiffe://example.org/partner";

struct House {
    _upstream: Upstream,
    gate: Gate,
    certificates: tempfile::TempDir,
}

fn house() -> House {
    house_with("")
}

/// One whose listener says more.
fn house_with(listener: &str) -> House {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let certificates = tempfile::tempdir().unwrap();
    let clients = [
        ClientName { file: "partner", uri: PARTNER },
        ClientName { file: "stranger", uri: "spiffe://example.org/stranger" },
    ];
    development::make(certificates.path(), &clients).unwrap();
    let folder = certificates.path().display();
    let tls = format!(
        "[listener.tls]\ncertificate = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\nclient-ca = \"{folder}/ca.pem\"\n{listener}[admin]"
    );
    let partner = format!(
        "[[recipient]]\nname = \"partner\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\ncredentials = [{{ certificate = \"{PARTNER}\" }}]\n"
    );
    let config = format!("{}{partner}{ROUTES}", base(upstream.address).replace("[admin]", &tls));
    let gate = Gate::start(&config);
    gate.tell("p-1", r#"{"kind": "notice", "notice": "v1"}"#);
    House { _upstream: upstream, gate, certificates }
}

impl House {
    fn client(&self, name: Option<&str>, protocol: &[u8]) -> ClientConfig {
        let folder = self.certificates.path();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&folder.join("ca.pem")).unwrap());
        let mut config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (chain, key) = identity(folder, name);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    fn ask(
        &self,
        client: ClientConfig,
        headers: &[(&str, &str)],
    ) -> (StatusCode, Version, HeaderMap, String) {
        self.try_ask(client, headers).unwrap()
    }

    /// The error is of the connection.
    fn try_ask(
        &self,
        client: ClientConfig,
        headers: &[(&str, &str)],
    ) -> Result<(StatusCode, Version, HeaderMap, String), hyper::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let is_http2 = client.alpn_protocols == [b"h2".to_vec()];
            let stream = TcpStream::connect(self.gate.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
            let stream = TokioIo::new(stream);
            let uri = if is_http2 { "https://localhost/customers/p-1" } else { "/customers/p-1" };
            let mut request = Request::builder().uri(uri).header("data-purpose", "customer-support");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if !is_http2 {
                request = request.header("host", "localhost");
            }
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let response = if is_http2 {
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                sender.send_request(request).await?
            } else {
                let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
                tokio::spawn(connection);
                sender.send_request(request).await?
            };
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok((parts.status, parts.version, parts.headers, String::from_utf8(body.to_vec()).unwrap()))
        })
    }
}

fn identity(folder: &Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap())
}

#[test]
fn a_client_certificate_names_the_recipient_over_both_protocols() {
    let house = house();
    for (protocol, version) in [(&b"http/1.1"[..], Version::HTTP_11), (b"h2", Version::HTTP_2)] {
        let (status, spoken, headers, body) = house.ask(house.client(Some("partner"), protocol), &[]);
        assert_eq!((status, spoken), (StatusCode::OK, version), "{body}");
        assert!(body.contains("Name-p-1") && !body.contains("pw-p-1"), "{body}");
        assert!(headers.contains_key("data-purpose-applied"));
    }
}

#[test]
fn an_unregistered_certificate_names_nobody_and_a_key_still_does() {
    let house = house();
    let (status, _, _, body) = house.ask(house.client(Some("stranger"), b"h2"), &[]);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("credential-missing"), "{body}");
    let support = bearer("support");
    let (_, key) = support.split_once(": ").unwrap();
    let (status, ..) = house.ask(house.client(None, b"h2"), &[("authorization", key)]);
    assert_eq!(status, StatusCode::OK);
    let (status, _, _, body) =
        house.ask(house.client(Some("partner"), b"http/1.1"), &[("authorization", key)]);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("credential-invalid"), "{body}");
}

#[test]
fn a_listener_can_demand_a_certificate() {
    let house = house_with("client-certificate = \"required\"\n");
    let (status, ..) = house.ask(house.client(Some("partner"), b"http/1.1"), &[]);
    assert_eq!(status, StatusCode::OK);
    let support = bearer("support");
    let (_, key) = support.split_once(": ").unwrap();
    for protocol in [&b"http/1.1"[..], b"h2"] {
        house.try_ask(house.client(None, protocol), &[("authorization", key)]).unwrap_err();
    }
}
