//! Plays the scenes against a running gateway and notes what came back.

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

use super::expectation::ReceivedResponse;
use super::render::{AccessDetails, CheckRow};
use super::scenes::{Scene, SceneEvent, SceneRequest, SceneStep};
use crate::config::roots;

/// For one answer, from the connection to its last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the demonstration listens, and how to talk to it.
pub(super) struct SceneRunner {
    pub(super) access: AccessDetails,
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    plain: Arc<ClientConfig>,
    with_certificate: Arc<ClientConfig>,
}

impl SceneRunner {
    /// # Errors
    /// Where the certificates do not read.
    pub(super) fn new(
        access: AccessDetails,
        gateway: SocketAddr,
        admin: SocketAddr,
    ) -> io::Result<SceneRunner> {
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
        let plain = builder()?.with_no_client_auth();
        Ok(SceneRunner {
            access,
            gateway,
            admin,
            plain: Arc::new(plain),
            with_certificate: Arc::new(with_certificate),
        })
    }

    /// Plays one scene; a row for each of its requests.
    pub(super) async fn run(&self, scene: &Scene) -> Vec<CheckRow> {
        let mut rows: Vec<CheckRow> = Vec::new();
        for step in &scene.steps {
            let title = if rows.is_empty() { scene.title } else { "  … and then" };
            match step {
                SceneStep::Request(ask, expected) => {
                    let answer = self.send_request(ask, None).await;
                    rows.push(CheckRow::new(title, expected, answer.as_ref().map_err(String::as_str)));
                }
                SceneStep::RequestWithEvent { ask, after, tell, expected } => {
                    let answer = self.send_request(ask, Some((*after, tell))).await;
                    rows.push(CheckRow::new(title, expected, answer.as_ref().map_err(String::as_str)));
                }
                SceneStep::Event(tell) => {
                    if let Err(failure) = self.send_event(tell).await {
                        rows.push(CheckRow {
                            title,
                            expected: "the event is recorded".to_owned(),
                            got: "it is not".to_owned(),
                            failure: Some(failure),
                        });
                    }
                }
            }
        }
        rows
    }

    async fn send_request(
        &self,
        ask: &SceneRequest,
        meanwhile: Option<(usize, &SceneEvent)>,
    ) -> Result<ReceivedResponse, String> {
        let asked = async {
            let mut request =
                Request::builder().method(ask.method.clone()).uri(&ask.target).header(HOST, "localhost");
            let mut tls = &self.plain;
            for &credential in &ask.credentials {
                match self.access.key(credential) {
                    Some(key) => request = request.header(AUTHORIZATION, format!("Bearer {key}")),
                    None => tls = &self.with_certificate,
                }
            }
            if let Some(purpose) = ask.purpose {
                request = request.header("data-purpose", purpose);
            }
            let request = request.body(Full::new(Bytes::new())).map_err(io::Error::other)?;
            let stream = TcpStream::connect(self.gateway).await?;
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
            let response = send(stream, request).await?;
            self.read(response, meanwhile).await
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(answer) => answer.map_err(|error: io::Error| error.to_string()),
            Err(_) => Err(format!("no complete answer within {} s", ANSWER_TIMEOUT.as_secs())),
        }
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
        let mut answer =
            ReceivedResponse { status, headers, body: Vec::new(), complete: true, event_offset: None };
        loop {
            if let Some((_, tell)) = meanwhile.take_if(|(after, _)| answer.body.len() >= *after) {
                self.send_event(tell).await.map_err(io::Error::other)?;
                answer.event_offset = Some(answer.body.len());
            }
            match incoming.frame().await {
                Some(Ok(frame)) => answer.body.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => {
                    answer.complete = false;
                    return Ok(answer);
                }
                None => return Ok(answer),
            }
        }
    }

    /// Sends an event; it is in force when this returns.
    async fn send_event(&self, tell: &SceneEvent) -> Result<(), String> {
        let told = async {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/v1/subjects/{}/events", tell.subject))
                .header(HOST, "localhost")
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(tell.event.to_string())))
                .map_err(io::Error::other)?;
            let response = send(TcpStream::connect(self.admin).await?, request).await?;
            Ok(response.status())
        };
        match told.await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(format!("the admin API answered {status}")),
            Err(error) => Err(io::Error::to_string(&error)),
        }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::credentials::development::{self, ClientName};
    use crate::demo::config_files::certificates::REGISTRAR_ID;
    use crate::demo::{scenes, upstream};

    /// The sample API behind TLS and nothing in between.
    async fn unguarded(folder: &Path) -> SceneRunner {
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
        let (gateway, admin_address) = (tls.local_addr().unwrap(), admin.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = tls.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    upstream::serve_connection(acceptor.accept(stream).await.unwrap()).await
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
        SceneRunner::new(access, gateway, admin_address).unwrap()
    }

    #[tokio::test]
    async fn without_a_gateway_every_scene_goes_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let player = unguarded(folder.path()).await;
        for scene in scenes::scenes() {
            if scene.title == "The upstream does not answer" {
                continue; // It would not, for two minutes.
            }
            let rows = player.run(&scene).await;
            assert!(rows.iter().any(|row| row.failure.is_some()), "{}: {rows:?}", scene.title);
        }
    }
}
