//! Sends the requests of scenes to a running gateway and compares the responses with the expectations.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::check_table::CheckRow;
use super::commands::AccessDetails;
use super::expectation::{Expectation, ReceivedResponse};
use super::scenes::{Scene, SceneEvent, SceneRequest, SceneStep};
use crate::config::roots;

/// Time for one response, from the connection to its last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The title of the second and later rows of a scene.
const CONTINUED: &str = "  … and then";

/// A client of the demonstration's gateway, of its admin API and of the company API.
pub(super) struct SceneRunner {
    pub(super) access: AccessDetails,
    addresses: Addresses,
    tls: Arc<ClientConfig>,
    tls_with_certificate: Arc<ClientConfig>,
}

/// The addresses of the demonstration's listeners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) api: SocketAddr,
}

impl SceneRunner {
    /// Makes a client with the authority and the client certificate of `access`.
    ///
    /// # Errors
    /// If a certificate or a key cannot be read.
    pub(super) fn new(access: AccessDetails, addresses: Addresses) -> io::Result<SceneRunner> {
        let roots = Arc::new(roots(Path::new(&access.authority)).map_err(io::Error::other)?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions();
            builder
                .map(|builder| builder.with_root_certificates(Arc::clone(&roots)))
                .map_err(io::Error::other)
        };
        let (certificate, key) = &access.certificate;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
        let with_certificate = builder()?.with_client_auth_cert(chain, key).map_err(io::Error::other)?;
        let without_certificate = builder()?.with_no_client_auth();
        Ok(SceneRunner {
            access,
            addresses,
            tls: Arc::new(without_certificate),
            tls_with_certificate: Arc::new(with_certificate),
        })
    }

    /// Runs the steps of a scene. Returns a row for each request, and for each event that was not recorded.
    pub(super) async fn run(&self, scene: &Scene) -> Vec<CheckRow> {
        let mut rows: Vec<CheckRow> = Vec::new();
        for step in &scene.steps {
            let title = if rows.is_empty() { scene.title } else { CONTINUED };
            let row = match step {
                SceneStep::Request(request, expected) => self.check(title, request, None, expected).await,
                SceneStep::RequestWithEvent { request, after, event, expected } => {
                    self.check(title, request, Some((*after, event)), expected).await
                }
                SceneStep::Event(event) => match self.send_event(event).await {
                    Ok(()) => continue,
                    Err(failure) => CheckRow {
                        title,
                        expected: "the event is recorded".to_owned(),
                        received: "it is not".to_owned(),
                        failure: Some(failure),
                    },
                },
            };
            rows.push(row);
        }
        rows
    }

    async fn check(
        &self,
        title: &'static str,
        request: &SceneRequest,
        meanwhile: Option<(usize, &SceneEvent)>,
        expected: &Expectation,
    ) -> CheckRow {
        let response = self.send_request(request, meanwhile).await;
        CheckRow::new(title, expected, response.as_ref().map_err(String::as_str))
    }

    /// Sends a request to the gateway and reads the response. With `meanwhile`, sends the event after that many bytes of
    /// the body and waits for its acknowledgement before it reads on.
    ///
    /// # Errors
    /// In words, if there is no response within [`ANSWER_TIMEOUT`] or the event is not recorded.
    pub(super) async fn send_request(
        &self,
        request: &SceneRequest,
        meanwhile: Option<(usize, &SceneEvent)>,
    ) -> Result<ReceivedResponse, String> {
        within_timeout(async {
            let (request, tls) = self.prepare(request)?;
            let stream = TcpStream::connect(self.addresses.gateway).await?;
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
            let response = send(stream, request).await?;
            self.read(response, meanwhile).await
        })
        .await
    }

    /// Requests a path from the company API itself, without the gateway.
    ///
    /// # Errors
    /// In words, if there is no response within [`ANSWER_TIMEOUT`].
    pub(super) async fn request_from_api(&self, path: &str) -> Result<ReceivedResponse, String> {
        within_timeout(async {
            let request = Request::builder().uri(path).header(HOST, "localhost");
            let request = request.body(Full::new(Bytes::new())).map_err(io::Error::other)?;
            let response = send(TcpStream::connect(self.addresses.api).await?, request).await?;
            self.read(response, None).await
        })
        .await
    }

    fn prepare(&self, request: &SceneRequest) -> io::Result<(Request<Full<Bytes>>, &Arc<ClientConfig>)> {
        let mut prepared =
            Request::builder().method(request.method.clone()).uri(&request.target).header(HOST, "localhost");
        let mut tls = &self.tls;
        for &credential in &request.credentials {
            match self.access.key(credential) {
                Some(key) => prepared = prepared.header(AUTHORIZATION, format!("Bearer {key}")),
                None => tls = &self.tls_with_certificate,
            }
        }
        if let Some(purpose) = request.purpose {
            prepared = prepared.header("data-purpose", purpose);
        }
        Ok((prepared.body(Full::new(Bytes::new())).map_err(io::Error::other)?, tls))
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        mut meanwhile: Option<(usize, &SceneEvent)>,
    ) -> io::Result<ReceivedResponse> {
        let status = response.status().as_u16();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers =
            response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let mut incoming = response.into_body();
        let mut received =
            ReceivedResponse { status, headers, body: Vec::new(), complete: true, event_offset: None };
        loop {
            if let Some((_, event)) = meanwhile.take_if(|(after, _)| received.body.len() >= *after) {
                self.send_event(event).await.map_err(io::Error::other)?;
                received.event_offset = Some(received.body.len());
            }
            match incoming.frame().await {
                Some(Ok(frame)) => received.body.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => {
                    received.complete = false;
                    return Ok(received);
                }
                None => return Ok(received),
            }
        }
    }

    /// Sends an event to the admin API. The event is in force when this returns.
    async fn send_event(&self, event: &SceneEvent) -> Result<(), String> {
        let sent = async {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/v1/subjects/{}/events", event.subject))
                .header(HOST, "localhost")
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(event.event.to_string())))
                .map_err(io::Error::other)?;
            let response = send(TcpStream::connect(self.addresses.admin).await?, request).await?;
            Ok(response.status())
        };
        match sent.await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(format!("the admin API answered {status}")),
            Err(error) => Err(io::Error::to_string(&error)),
        }
    }
}

async fn within_timeout<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no complete response within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

async fn send<T>(stream: T, request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::credentials::development::{self, ClientName};
    use crate::demo::config_files::certificates::REGISTRAR_ID;
    use crate::demo::{scenes, upstream};

    /// A runner whose gateway is the company API behind TLS, without anything in between.
    async fn runner_without_gateway(folder: &Path) -> SceneRunner {
        development::make(folder, &[ClientName { file: "registrar", uri: REGISTRAR_ID }]).unwrap();
        let path = |name: &str| folder.join(name);
        let chain = CertificateDer::pem_file_iter(path("server.pem")).unwrap().map(Result::unwrap).collect();
        let server =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain, PrivateKeyDer::from_pem_file(path("server.key")).unwrap())
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let tls = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let admin = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (gateway, api) = (tls.local_addr().unwrap(), admin.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = tls.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    upstream::serve_connection(acceptor.accept(stream).await.unwrap()).await;
                });
            }
        });
        tokio::spawn(upstream::serve(admin));
        let text = |name: &str| path(name).display().to_string();
        let access = AccessDetails {
            gateway: String::new(),
            admin: String::new(),
            api: String::new(),
            configuration: String::new(),
            authority: text("ca.pem"),
            certificate: (text("registrar.pem"), text("registrar.key")),
            service_desk: "pgk_a".to_owned(),
            north_resale: "pgk_b".to_owned(),
            swift_pay: "pgk_c".to_owned(),
        };
        SceneRunner::new(access, Addresses { gateway, admin: api, api }).unwrap()
    }

    #[tokio::test]
    async fn without_a_gateway_every_scene_fails() {
        let folder = tempfile::tempdir().unwrap();
        let runner = runner_without_gateway(folder.path()).await;
        for scene in scenes::sections().into_iter().flat_map(|section| section.scenes) {
            if scene.title == "The API does not answer" {
                continue; // It answers after two minutes.
            }
            let rows = runner.run(&scene).await;
            assert!(rows.iter().any(|row| row.failure.is_some()), "{}: {rows:?}", scene.title);
        }
    }
}
