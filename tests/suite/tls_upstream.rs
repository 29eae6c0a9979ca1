//! Upstreams behind TLS: one of hyper that answers over HTTP/1.1 and HTTP/2, and one of hand-written HTTP/2 frames.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{HeaderMap, Request, Response, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use purposegate::config::roots;
use purposegate::credentials::development::{self, ClientName};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// The client certificate that [`certificates`] makes.
const GATEWAY: ClientName<'static> = ClientName { file: "gateway", uri: "spiffe://test/gateway" };

/// Makes an authority, a server certificate for `localhost` and `127.0.0.1`, and a client certificate `gateway`.
pub(crate) fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    development::make(folder.path(), &[GATEWAY]).unwrap();
    folder
}

/// Makes a server certificate for these names that is valid from this time on.
pub(crate) fn certificates_at(names: &[&str], from: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    development::make_at(folder.path(), names, &[], from.parse::<Timestamp>().unwrap()).unwrap();
    folder
}

/// The TLS of an upstream, with the certificate `server.pem` of a folder.
pub(crate) fn server_tls(folder: &Path, protocols: &[&[u8]], client_ca: Option<PathBuf>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(roots(&ca).unwrap());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// A request that an upstream received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) version: Version,
    /// The host that it was for.
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// A server of hyper.
pub(crate) struct TlsUpstream {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, (u16, String)>>>,
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    /// Connections that were accepted.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Time between a request and its answer.
    pub(crate) delay: Arc<Mutex<Duration>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl TlsUpstream {
    pub(crate) fn start(tls: ServerConfig) -> TlsUpstream {
        TlsUpstream::start_at("127.0.0.1:0", tls)
    }

    pub(crate) fn start_at(address: &str, tls: ServerConfig) -> TlsUpstream {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let mut upstream = TlsUpstream {
            address: listener.local_addr().unwrap(),
            answers: Arc::default(),
            received: Arc::default(),
            connections: Arc::default(),
            delay: Arc::default(),
            runtime: None,
        };
        let (answers, received) = (Arc::clone(&upstream.answers), Arc::clone(&upstream.received));
        let (connections, delay) = (Arc::clone(&upstream.connections), Arc::clone(&upstream.delay));
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
                let (received, delay) = (Arc::clone(&received), Arc::clone(&delay));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request| {
                        answer(request, Arc::clone(&answers), Arc::clone(&received), Arc::clone(&delay))
                    });
                    let stream = TokioIo::new(stream);
                    if is_http2 {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(stream, service).await;
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(stream, service).await;
                    }
                });
            }
        });
        upstream.runtime = Some(runtime);
        upstream
    }

    pub(crate) fn json(&self, path: &str, body: &str) {
        self.status(path, 200, body);
    }

    pub(crate) fn status(&self, path: &str, status: u16, body: &str) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }

    /// The last request.
    pub(crate) fn last(&self) -> Received {
        self.received.lock().unwrap().last().unwrap().clone()
    }
}

impl Drop for TlsUpstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Mutex<HashMap<String, (u16, String)>>>,
    received: Arc<Mutex<Vec<Received>>>,
    delay: Arc<Mutex<Duration>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let host = parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
    let authority = parts.uri.authority().map(ToString::to_string).or(host).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    received.lock().unwrap().push(Received {
        version: parts.version,
        authority,
        path: path.clone(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let delay = *delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    let (status, body) = answers.lock().unwrap().get(&path).cloned().unwrap_or((404, String::new()));
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::from(body)).unwrap())
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame of HTTP/2 (RFC 9113, 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field as a literal that enters no table (RFC 7541, 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [integer(text.len(), 7, 0), text.as_bytes().to_vec()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// An integer with a prefix of so many bits (RFC 7541, 5.1).
fn integer(mut value: usize, bits: u32, pattern: u8) -> Vec<u8> {
    let max = (1 << bits) - 1;
    if value < max {
        return vec![pattern | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![pattern | u8::try_from(max).unwrap()];
    value -= max;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A header section with these fields.
pub(crate) fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The head of a JSON answer that a body follows.
pub(crate) fn json_head(stream: u32) -> Vec<u8> {
    let fields = section(&[(":status", "200"), ("content-type", "application/json")]);
    frame(HEADERS, END_HEADERS, stream, &fields)
}

/// A whole JSON answer.
pub(crate) fn json_answer(stream: u32, body: &str) -> Vec<u8> {
    [json_head(stream), frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

/// An HTTP/2 connection of which the test writes the frames.
pub(crate) struct FrameConnection {
    stream: StreamOwned<ServerConnection, TcpStream>,
    /// Number of the connection, from 0.
    pub(crate) number: usize,
}

impl FrameConnection {
    /// Writes bytes. False if the gateway has closed the connection.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Reads a frame: kind, flags, stream, payload. `None` at the end of the connection.
    pub(crate) fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some((header[3], header[4], stream, payload))
    }

    /// Reads up to the next request and returns its stream. `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<u32> {
        loop {
            let (kind, _, stream, _) = self.read()?;
            if kind == HEADERS {
                return Some(stream);
            }
        }
    }

    /// Reads until the end of the connection and returns the kind and stream of each frame, with its first four bytes.
    pub(crate) fn rest(&mut self) -> Vec<(u8, u32, Vec<u8>)> {
        let frames = std::iter::from_fn(|| self.read());
        frames
            .map(|(kind, _, stream, payload)| (kind, stream, payload.into_iter().take(4).collect()))
            .collect()
    }
}

/// A server that speaks HTTP/2 over TLS as the script does. The script is run for each connection.
pub(crate) struct FrameUpstream {
    pub(crate) address: SocketAddr,
    /// The authority of its certificate.
    pub(crate) certificates: TempDir,
    pub(crate) connections: Arc<AtomicUsize>,
}

type FrameScript = Arc<dyn Fn(&mut FrameConnection) + Send + Sync>;

impl FrameUpstream {
    /// The script begins after the preface was read and empty settings were sent.
    pub(crate) fn start(script: impl Fn(&mut FrameConnection) + Send + Sync + 'static) -> FrameUpstream {
        FrameUpstream::start_with(&[], script)
    }

    /// With these settings: pairs of an identifier and a value.
    pub(crate) fn start_with(
        settings: &[(u16, u32)],
        script: impl Fn(&mut FrameConnection) + Send + Sync + 'static,
    ) -> FrameUpstream {
        let certificates = certificates();
        let tls = Arc::new(server_tls(certificates.path(), &[b"h2"], None));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<AtomicUsize> = Arc::default();
        let (script, counted): (FrameScript, _) = (Arc::new(script), Arc::clone(&connections));
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let settings = frame(SETTINGS, 0, 0, &settings);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let (tls, script, settings) = (Arc::clone(&tls), Arc::clone(&script), settings.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    let connection = ServerConnection::new(tls).unwrap();
                    let stream = StreamOwned::new(connection, stream);
                    let mut connection = FrameConnection { stream, number };
                    let mut preface = [0; 24];
                    if connection.stream.read_exact(&mut preface).is_ok() && connection.write(&settings) {
                        script(&mut connection);
                    }
                });
            }
        });
        FrameUpstream { address, certificates, connections }
    }
}
