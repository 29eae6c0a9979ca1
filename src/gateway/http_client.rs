//! Requests of this program to another server, over TCP or TLS: to the admin API, to the probes, to the key sets of token
//! issuers, to those who take records, traces, checkpoints and notices.
//!
//! Each request has a connection of its own (HTTP/1.1), a total time and a maximum size of the answer. A redirect is an
//! answer like any other and is not followed. Errors name the cause in words, and neither a header nor a body.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::TlsError;
pub(crate) use crate::config::http_url::HttpUrl;
use crate::config::tls_client::{self, ClientTlsFiles};

/// Time to connect to one of the addresses of a host, so that a silent one does not use up the time for the others.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);
/// Maximum number of addresses of a host that are tried.
const MAX_ADDRESSES: usize = 8;
/// Time after the head of an answer in which a body that nobody reads can end, so that the server is not interrupted.
const MAX_UNUSED_BODY_TIME: Duration = Duration::from_secs(1);
/// Maximum size of the head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Value of `User-Agent`.
const PRODUCT: &str = concat!("purposegate/", env!("CARGO_PKG_VERSION"));

/// Bounds of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLimits {
    /// Time from the resolution of the host to the last byte of the answer.
    pub(crate) time: Duration,
    /// Maximum size of the body of the answer, in bytes.
    pub(crate) max_body: usize,
}

/// Reason for which a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The host has no address.
    #[error("the host name cannot be resolved")]
    Unresolved,
    /// Nothing accepts connections at the address.
    #[error("the connection was refused")]
    Refused,
    /// The answer was not complete in time.
    #[error("no complete answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection cannot be made for another reason.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// TLS failed: a certificate is not accepted, or the server does not speak TLS.
    #[error("{0}")]
    Tls(String),
    /// The body is larger than the limit.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// The answer cannot be read, or the connection ended early.
    #[error("the answer cannot be read: {0}")]
    Broken(String),
}

/// Reason for which a server did not take what was posted to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// The server gave no answer.
    #[error("{0}")]
    Http(#[from] HttpError),
    /// The server answered with another status than 2xx, and may have asked to be left alone for a time.
    #[error("the server answers {0}")]
    Status(StatusCode, Option<Duration>),
}

impl PostError {
    /// Returns the status of the answer, if there was one.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            PostError::Http(_) => None,
            PostError::Status(status, _) => Some(*status),
        }
    }

    /// Returns the time for which the server asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            PostError::Http(_) => None,
            PostError::Status(_, wait) => *wait,
        }
    }
}

/// Sends requests to one server.
#[derive(Clone)]
pub(crate) struct HttpClient {
    url: HttpUrl,
    /// `Some` if the URL has `https`.
    tls: Option<Arc<ClientConfig>>,
    limits: HttpLimits,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("url", &self.url).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Makes a client of the server of a URL. The files are read only for `https`.
    ///
    /// # Errors
    /// [`TlsError`] for a file that cannot be used.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the gateway builds TLS when it loads"))]
    pub(crate) fn new(
        url: HttpUrl,
        files: &ClientTlsFiles,
        limits: HttpLimits,
    ) -> Result<HttpClient, TlsError> {
        let tls = url.is_tls().then(|| tls_client::client(files)).transpose()?;
        Ok(HttpClient { url, tls, limits })
    }

    /// Makes a client with a configuration of TLS. Without one, each request to a URL with `https` fails.
    pub(crate) fn with_tls(url: HttpUrl, tls: Option<Arc<ClientConfig>>, limits: HttpLimits) -> HttpClient {
        HttpClient { url, tls, limits }
    }

    /// The URL that the client was made for.
    pub(crate) fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Sends a request, whose URI is a path with an optional query, and returns the whole answer. `Host` is added.
    ///
    /// # Errors
    /// [`HttpError`]. The server may have received the request.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let HttpLimits { time, max_body: _ } = self.limits;
        let mut head = None;
        let body = tokio::time::timeout(time, self.read_answer(request, &mut head, time)).await;
        let body = body.map_err(|_| HttpError::TimedOut(time))??;
        head.map(|head| Response::from_parts(head, body)).ok_or_else(no_head)
    }

    /// Sends a request as [`HttpClient::send`] does, for the head of the answer: once that is there, it counts, whatever
    /// becomes of the body. The answer has its body if that is whole.
    ///
    /// # Errors
    /// [`HttpError`], if there is no head in time. The server may have received the request.
    async fn send_for_head(&self, request: Request<Bytes>) -> Result<Response<Option<Bytes>>, HttpError> {
        let HttpLimits { time, max_body: _ } = self.limits;
        let mut head = None;
        let read = self.read_answer(request, &mut head, MAX_UNUSED_BODY_TIME);
        let body = tokio::time::timeout(time, read).await.unwrap_or(Err(HttpError::TimedOut(time)));
        match (head, body) {
            (Some(head), body) => Ok(Response::from_parts(head, body.ok())),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(no_head()),
        }
    }

    /// Posts a body to the URL. The server has taken it if it answers with a status of 2xx, whatever becomes of the body of its
    /// answer. `User-Agent` is added if it is missing.
    ///
    /// # Errors
    /// [`PostError`]. The server may have taken the body.
    pub(crate) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<(), PostError> {
        self.post_for_answer(headers, body).await.map(drop)
    }

    /// Posts a body as [`HttpClient::post`] does. Returns the body of the answer if that is whole.
    ///
    /// # Errors
    /// As [`HttpClient::post`].
    pub(crate) async fn post_for_answer(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Option<Bytes>, PostError> {
        let request = Request::post(self.url.target()).body(body);
        let mut request = request.map_err(|error| HttpError::Broken(error.to_string()))?;
        *request.headers_mut() = headers;
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(PRODUCT));
        let answer = self.send_for_head(request).await?;
        match answer.status() {
            status if status.is_success() => Ok(answer.into_body()),
            status => Err(PostError::Status(status, retry_after(answer.headers()))),
        }
    }

    /// Sends a request, puts the head of the answer into `head` once it is there, and returns the body, for which there is
    /// `body_time` from then on.
    async fn read_answer(
        &self,
        mut request: Request<Bytes>,
        head: &mut Option<Parts>,
        body_time: Duration,
    ) -> Result<Bytes, HttpError> {
        let host = HeaderValue::from_str(self.url.authority());
        request.headers_mut().insert(HOST, host.map_err(|error| HttpError::Broken(error.to_string()))?);
        let request = request.map(Full::new);
        let stream = self.connect().await?;
        if !self.url.is_tls() {
            return self.exchange(stream, request, head, body_time).await;
        }
        let tls = self.tls.as_ref().ok_or_else(|| HttpError::Tls("TLS cannot be set up".to_owned()))?;
        let name = ServerName::try_from(self.url.host().to_owned()).map_err(|_| HttpError::Unresolved)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        self.exchange(stream.map_err(connection_error)?, request, head, body_time).await
    }

    /// Connects to the first address of the host that accepts a connection.
    async fn connect(&self) -> Result<TcpStream, HttpError> {
        let found = tokio::net::lookup_host((self.url.host(), self.url.port())).await;
        let mut failure = HttpError::Unresolved;
        for address in found.map_err(|_| HttpError::Unresolved)?.take(MAX_ADDRESSES) {
            match tokio::time::timeout(MAX_CONNECT_TIME, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = connection_error(error),
                Err(_) => failure = HttpError::TimedOut(MAX_CONNECT_TIME),
            }
        }
        Err(failure)
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
        head: &mut Option<Parts>,
        body_time: Duration,
    ) -> Result<Bytes, HttpError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| unreadable(&error))?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(|error| unreadable(&error))?;
            let (parts, body) = answer.into_parts();
            *head = Some(parts);
            let HttpLimits { time: _, max_body } = self.limits;
            if body.size_hint().lower() > max_body as u64 {
                return Err(HttpError::TooLarge(max_body));
            }
            let body = tokio::time::timeout(body_time, Limited::new(body, max_body).collect()).await;
            let body = body.map_err(|_| HttpError::TimedOut(body_time))?;
            let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => HttpError::TooLarge(max_body),
                None => unreadable(&*error),
            })?;
            Ok(body.to_bytes())
        };
        let drive = async {
            match connection.await {
                // The answer may still wait in the channel of the request.
                Ok(()) => std::future::pending().await,
                Err(error) => unreadable(&error),
            }
        };
        // The connection is dropped after the answer.
        tokio::select! {
            biased;
            answer = answered => answer,
            error = drive => Err(error),
        }
    }
}

fn no_head() -> HttpError {
    HttpError::Broken("it has no head".to_owned())
}

/// Reads the seconds of `Retry-After`. A date is not used.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns the cause of a connection that was not made, or not with TLS.
fn connection_error(error: io::Error) -> HttpError {
    match tls_error(&error) {
        Some(tls) => HttpError::Tls(tls_cause(tls)),
        None if error.kind() == io::ErrorKind::ConnectionRefused => HttpError::Refused,
        None => HttpError::Connect(error),
    }
}

/// Returns the cause of an answer that cannot be read. With TLS 1.3 a server refuses a client certificate after the
/// handshake.
fn unreadable(error: &(dyn StdError + 'static)) -> HttpError {
    if let Some(tls) = tls_error(error) {
        return HttpError::Tls(tls_cause(tls));
    }
    let mut text = error.to_string();
    if let Some(source) = error.source() {
        text = format!("{text}: {source}");
    }
    HttpError::Broken(text)
}

/// Finds the error of rustls among an error and its causes.
fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // `source` of an `io::Error` skips the error that it wraps.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Says in words why TLS failed.
fn tls_cause(error: &rustls::Error) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    let cause = match error {
        rustls::Error::InvalidCertificate(why) => match why {
            Expired | ExpiredContext { .. } => "the server's certificate has expired",
            NotValidYet | NotValidYetContext { .. } => "the server's certificate is not valid yet",
            UnknownIssuer => "the server's certificate is from an authority that is not trusted here",
            BadSignature => "the server's certificate is not signed by the authority that is trusted here",
            NotValidForName | NotValidForNameContext { .. } => "the server's certificate is for another name",
            _ => return format!("the server's certificate is not accepted: {error}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server requires a client certificate"
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired,
        ) => "the server does not accept the client certificate",
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS at this port"
        }
        _ => return format!("TLS failed: {error}"),
    };
    cause.to_owned()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    const LIMITS: HttpLimits = HttpLimits { time: Duration::from_secs(20), max_body: 64 };

    /// Accepts one connection, reads the head of a request, answers with these bytes and keeps the connection open.
    /// Returns the head.
    async fn server(answer: &'static [u8]) -> (HttpUrl, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let _ = stream.write_all(answer).await;
            // Until the client closes.
            let _ = stream.read(&mut [0; 64]).await;
            String::from_utf8(head).unwrap()
        });
        (url, served)
    }

    fn get(path: &str) -> Request<Bytes> {
        Request::get(path).body(Bytes::new()).unwrap()
    }

    async fn send(url: HttpUrl, limits: HttpLimits) -> Result<Response<Bytes>, HttpError> {
        HttpClient::new(url, &ClientTlsFiles::default(), limits).unwrap().send(get("/keys?x=1")).await
    }

    #[tokio::test]
    async fn an_answer_is_returned_with_its_status_and_body() {
        let (url, served) =
            server(b"HTTP/1.1 302 Found\r\nlocation: http://other/\r\ncontent-length: 3\r\n\r\nabc").await;
        let authority = url.authority().to_owned();
        let answer = send(url, LIMITS).await.unwrap();
        assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::FOUND, &b"abc"[..]), "not followed");
        let head = served.await.unwrap();
        assert!(head.starts_with("GET /keys?x=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {authority}\r\n")), "{head}");
    }

    #[tokio::test]
    async fn an_answer_has_a_maximum_size_and_a_total_time() {
        for large in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n41\r\n0123456789012345678901234567890123456789012345678901234567890123456789\r\n",
        ] {
            let (url, _served) = server(large).await;
            assert!(matches!(send(url, LIMITS).await, Err(HttpError::TooLarge(64))));
        }
        let short = HttpLimits { time: Duration::from_millis(50), ..LIMITS };
        for unfinished in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"] {
            let (url, _served) = server(unfinished).await;
            assert!(matches!(send(url, short).await, Err(HttpError::TimedOut(_))));
        }
    }

    #[tokio::test]
    async fn the_head_counts_where_the_body_is_not_used() {
        for (answer, status) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n"[..], 200),
            (b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nabc", 202),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno chunk", 200),
            (b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n", 413),
        ] {
            let (url, served) = server(answer).await;
            let client = HttpClient::new(url, &ClientTlsFiles::default(), LIMITS).unwrap();
            assert_eq!(client.send_for_head(get("/")).await.unwrap().status().as_u16(), status);
            served.await.unwrap();
        }
        // The total time ends while the body is awaited.
        let short = HttpLimits { time: Duration::from_millis(300), ..LIMITS };
        for (answer, has_head) in
            [(&b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"[..], true), (b"", false)]
        {
            let (url, _served) = server(answer).await;
            let client = HttpClient::new(url, &ClientTlsFiles::default(), short).unwrap();
            assert_eq!(client.send_for_head(get("/")).await.is_ok(), has_head);
        }
    }

    #[tokio::test]
    async fn an_error_names_the_cause() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = send(format!("http://{closed}").parse().unwrap(), LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), "the connection was refused");
        let (url, _served) = server(b"SSH-2.0-OpenSSH\r\n").await;
        let error = send(url, LIMITS).await.unwrap_err();
        assert!(matches!(error, HttpError::Broken(_)), "{error}");
    }

    #[cfg(feature = "cli")]
    mod with_tls {
        use std::path::Path;

        use jiff::{Span, Timestamp};
        use rustls::ServerConfig;
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        use rustls::server::WebPkiClientVerifier;
        use tokio_rustls::TlsAcceptor;

        use super::*;
        use crate::config;
        use crate::credentials::development::{self, ClientName};

        fn server_config(folder: &Path, client_ca: bool) -> Arc<ServerConfig> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
            let builder = builder.with_safe_default_protocol_versions().unwrap();
            let builder = if client_ca {
                let roots = Arc::new(config::roots(&folder.join("ca.pem")).unwrap());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            } else {
                builder.with_no_client_auth()
            };
            let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
            Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
        }

        /// Serves one TLS connection with the certificate of a folder.
        async fn tls_server(folder: &Path, client_ca: bool) -> u16 {
            let config = server_config(folder, client_ca);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                let _ = stream.flush().await;
                let _ = stream.read(&mut [0; 64]).await;
            });
            port
        }

        fn folder(names: &[&str], made: Timestamp) -> tempfile::TempDir {
            let folder = tempfile::tempdir().unwrap();
            let clients = [ClientName { file: "ops", uri: "spiffe://test/ops" }];
            development::make_at(folder.path(), names, &clients, made).unwrap();
            folder
        }

        async fn ask(host: &str, port: u16, files: &ClientTlsFiles) -> Result<String, String> {
            let url = format!("https://{host}:{port}").parse().unwrap();
            let client = HttpClient::new(url, files, LIMITS).map_err(|error| error.to_string())?;
            let answer = client.send(get("/")).await.map_err(|error| error.to_string())?;
            Ok(String::from_utf8(answer.into_body().to_vec()).unwrap())
        }

        fn ca(folder: &tempfile::TempDir) -> ClientTlsFiles {
            ClientTlsFiles { ca: Some(folder.path().join("ca.pem")), identity: None }
        }

        #[tokio::test]
        async fn a_certificate_is_verified_and_a_refusal_says_why() {
            let now = Timestamp::now();
            let good = folder(&["localhost", "127.0.0.1"], now);
            let port = tls_server(good.path(), false).await;
            assert_eq!(ask("localhost", port, &ca(&good)).await.unwrap(), "ok");

            let other = folder(&["localhost"], now);
            let port = tls_server(good.path(), false).await;
            let error = ask("localhost", port, &ca(&other)).await.unwrap_err();
            assert!(error.contains("not signed by the authority that is trusted"), "{error}");

            let port = tls_server(other.path(), false).await;
            let error = ask("127.0.0.1", port, &ca(&other)).await.unwrap_err();
            assert!(error.contains("for another name"), "{error}");

            let old = folder(&["localhost"], now - Span::new().hours(24 * 900));
            let port = tls_server(old.path(), false).await;
            let error = ask("localhost", port, &ca(&old)).await.unwrap_err();
            assert!(error.contains("has expired"), "{error}");

            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                let _ = stream.read(&mut [0; 1024]).await;
            });
            let error = ask("127.0.0.1", port, &ca(&good)).await.unwrap_err();
            assert!(error.contains("does not speak TLS"), "{error}");
        }

        #[tokio::test]
        async fn a_client_certificate_is_shown() {
            let folder = folder(&["localhost"], Timestamp::now());
            let file = |name: &str| folder.path().join(name);
            let identity = Some((file("ops.pem"), file("ops.key")));
            let port = tls_server(folder.path(), true).await;
            let shown = ClientTlsFiles { identity, ..ca(&folder) };
            assert_eq!(ask("localhost", port, &shown).await.unwrap(), "ok");
            let port = tls_server(folder.path(), true).await;
            let error = ask("localhost", port, &ca(&folder)).await.unwrap_err();
            assert!(error.contains("requires a client certificate"), "{error}");
        }
    }
}
