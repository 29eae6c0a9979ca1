//! TLS, client certificates and HTTP/2, with the clients of rustls and hyper.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Request, StatusCode, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use purposegate::config::roots;
use purposegate::credentials::development::{self, ClientName};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, bearer};
use crate::http;
use crate::upstream::Upstream;

const PARTNER: &str = "spiffe://example.org/partner";

struct TlsGateway {
    _upstream: Upstream,
    gateway: TestGateway,
    certificates: tempfile::TempDir,
}

fn start_gateway() -> TlsGateway {
    start_gateway_with("")
}

/// Starts a gateway whose listener has these further keys.
fn start_gateway_with(listener: &str) -> TlsGateway {
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
    let config = format!("{}{partner}{CUSTOMER_ROUTES}", base(upstream.address).replace("[admin]", &tls));
    let gateway = TestGateway::start(&config);
    gateway.record_event("p-1", NOTICE);
    TlsGateway { _upstream: upstream, gateway, certificates }
}

impl TlsGateway {
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

    /// The error is one of the connection.
    fn try_ask(
        &self,
        client: ClientConfig,
        headers: &[(&str, &str)],
    ) -> Result<(StatusCode, Version, HeaderMap, String), hyper::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let is_http2 = client.alpn_protocols == [b"h2".to_vec()];
            let stream = TcpStream::connect(self.gateway.address).await.unwrap();
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
fn a_client_certificate_identifies_the_recipient_over_both_protocols() {
    let server = start_gateway();
    for (protocol, version) in [(&b"http/1.1"[..], Version::HTTP_11), (b"h2", Version::HTTP_2)] {
        let (status, spoken, headers, body) = server.ask(server.client(Some("partner"), protocol), &[]);
        assert_eq!((status, spoken), (StatusCode::OK, version), "{body}");
        assert!(body.contains("Name-p-1") && !body.contains("pw-p-1"), "{body}");
        assert!(headers.contains_key("data-purpose-applied"));
    }
}

#[test]
fn an_unregistered_certificate_identifies_nobody_but_a_key_does() {
    let server = start_gateway();
    let (status, _, _, body) = server.ask(server.client(Some("stranger"), b"h2"), &[]);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("credential-missing"), "{body}");
    let support = bearer("support");
    let (_, key) = support.split_once(": ").unwrap();
    let (status, ..) = server.ask(server.client(None, b"h2"), &[("authorization", key)]);
    assert_eq!(status, StatusCode::OK);
    let (status, _, _, body) =
        server.ask(server.client(Some("partner"), b"http/1.1"), &[("authorization", key)]);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("credential-invalid"), "{body}");
}

#[test]
fn a_listener_can_require_a_client_certificate() {
    let server = start_gateway_with("client-certificate = \"required\"\n");
    let (status, ..) = server.ask(server.client(Some("partner"), b"http/1.1"), &[]);
    assert_eq!(status, StatusCode::OK);
    let support = bearer("support");
    let (_, key) = support.split_once(": ").unwrap();
    for protocol in [&b"http/1.1"[..], b"h2"] {
        server.try_ask(server.client(None, protocol), &[("authorization", key)]).unwrap_err();
    }
}

#[test]
fn sessions_with_client_certificates_are_not_resumed() {
    let server = start_gateway();
    let versions: [&[&rustls::SupportedProtocolVersion]; 2] =
        [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];
    for version in versions {
        let folder = server.certificates.path();
        let (chain, key) = identity(folder, "partner");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(version)
            .unwrap()
            .with_root_certificates(roots(&folder.join("ca.pem")).unwrap())
            .with_client_auth_cert(chain, key)
            .unwrap();
        // The tickets and sessions of the client are kept in its configuration.
        let config = Arc::new(config);
        for _ in 0..3 {
            let mut stream = blocking(&server.gateway, &config);
            let request = "GET /customers/p-1 HTTP/1.1\r\nhost: localhost\r\ndata-purpose: customer-support\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            assert_eq!(stream.conn.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

fn blocking(
    gateway: &TestGateway,
    config: &Arc<ClientConfig>,
) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = std::net::TcpStream::connect(gateway.address).unwrap();
    // Longer than the certificates of these tests are valid.
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

/// A CA that signs certificates which expire while the test runs.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    fn client(
        &self,
        valid: Duration,
        name: rcgen::SanType,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![name];
        params.not_after = (std::time::SystemTime::now() + valid).into();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().clone(), key)
    }
}

/// Starts a gateway that accepts certificates of this authority for these names, and an upstream with a stream that
/// never ends.
fn start_gateway_for(authority: &Authority, names: &[&str]) -> (Upstream, TestGateway, tempfile::TempDir) {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    upstream.script("/changes", |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(format!("{head}data: {}\n\n", person("p-1")).as_bytes());
        // Waits until the gateway closes the connection.
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let certificates = tempfile::tempdir().unwrap();
    development::make(certificates.path(), &[]).unwrap();
    std::fs::write(certificates.path().join("clients.pem"), authority.certificate.pem()).unwrap();
    let folder = certificates.path().display();
    let tls = format!(
        "[listener.tls]\ncertificate = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\nclient-ca = \"{folder}/clients.pem\"\n[admin]"
    );
    let names: Vec<String> = names.iter().map(|name| format!("{{ certificate = \"{name}\" }}")).collect();
    let partner = format!(
        "[[recipient]]\nname = \"partner\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\ncredentials = [{}]\n",
        names.join(", ")
    );
    let stream = "[[route]]\nname = \"changes\"\nupstream = \"crm\"\npath = \"/changes\"\nsubject = \"@.id\"\n[route.fields]\n\"@.id\" = \"non-personal\"\n\"@.name\" = \"name\"\n";
    let base = base(upstream.address)
        .replace("[admin]", &tls)
        .replace("timeout = \"10s\"\n[[upstream]]", "timeout = \"10s\"\nidle-timeout = \"1h\"\n[[upstream]]");
    let gateway = TestGateway::start(&format!("{base}{partner}{CUSTOMER_ROUTES}{stream}"));
    gateway.record_event("p-1", NOTICE);
    (upstream, gateway, certificates)
}

fn client_of(
    certificates: &Path,
    (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&certificates.join("ca.pem")).unwrap())
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\ndata-purpose: customer-support\r\n\r\n")
}

#[test]
fn a_stream_ends_when_the_client_certificate_expires() {
    let authority = Authority::new();
    let (_upstream, gateway, certificates) = start_gateway_for(&authority, &[PARTNER]);
    for seconds in [3, 6, 12, 24] {
        let name = rcgen::SanType::URI(PARTNER.try_into().unwrap());
        let client = authority.client(Duration::from_secs(seconds), name);
        let config = client_of(certificates.path(), client);
        let mut stream = blocking(&gateway, &config);
        let mut answer = Vec::new();
        let asked = stream.write_all(get("/changes").as_bytes());
        while asked.is_ok() && !String::from_utf8_lossy(&answer).contains("\n\n") {
            let mut some = [0; 1024];
            match stream.read(&mut some) {
                Ok(read) if read > 0 => answer.extend_from_slice(&some[..read]),
                _ => break,
            }
        }
        if !String::from_utf8_lossy(&answer).contains("Name-p-1") {
            // The certificate expired before its first use; the machine is slow.
            continue;
        }
        let ended = stream.read_to_end(&mut answer);
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out && !http::parse(&answer).complete, "it was cut");
        let mut again = blocking(&gateway, &config);
        let mut refused = Vec::new();
        let _ = again.write_all(get("/customers/p-1").as_bytes());
        let _ = again.read_to_end(&mut refused);
        assert!(!refused.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&refused));
        return;
    }
    panic!("no certificate lasted until its first request");
}

#[test]
fn certificate_names_match_by_type() {
    let authority = Authority::new();
    let (_upstream, gateway, certificates) =
        start_gateway_for(&authority, &["partner.example", "ops@partner.example", PARTNER]);
    let (dns, email, uri) = (
        |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap()),
        |name: &str| rcgen::SanType::Rfc822Name(name.try_into().unwrap()),
        |name: &str| rcgen::SanType::URI(name.try_into().unwrap()),
    );
    let cases = [
        (dns("partner.example"), true),
        (email("partner.example"), false),
        (uri("partner.example"), false),
        (email("ops@partner.example"), true),
        (dns("ops@partner.example"), false),
        (uri(PARTNER), true),
        (dns(PARTNER), false),
        (email(PARTNER), false),
    ];
    for (name, expected) in cases {
        let said = format!("{name:?}");
        let client = authority.client(Duration::from_secs(3600), name);
        let mut stream = blocking(&gateway, &client_of(certificates.path(), client));
        let request = get("/customers/p-1").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(
            answer.starts_with(b"HTTP/1.1 200"),
            expected,
            "{said} {}",
            String::from_utf8_lossy(&answer)
        );
    }
}
