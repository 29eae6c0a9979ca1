//! The public listeners: accept connections, negotiate the protocol, and pass requests to the layer. HTTP/1.1 and HTTP/2
//! are negotiated by ALPN over TLS, and by the first bytes in plaintext. Every wait and every buffer has a bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryFutureExt;
use http::header::CONTENT_LENGTH;
use http::{Request, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::acceptor::Acceptor;
use super::client_certificate;
use super::connection::{
    CloseConditions, ConnectionTimeouts, HEAD_TIME, STALL_TIME, StallReportingBody, StreamExecutor, drive,
};
use super::plaintext::PlaintextStream;
use super::upstreams::Upstreams;
use crate::config::TlsServer;
use crate::exchange::caller::PeerCertificate;
use crate::exchange::{ListenerContext, Peer};
use crate::layer::PurposeService;

/// Time for the TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
// hyper's bounds are above those of the layer, so that the layer answers with a problem document. For the number of
// HTTP/1.1 fields hyper keeps its default of 100: any other number makes it allocate for each request.
const HTTP1_BUFFER: usize = 64 * 1024;
const HTTP2_HEADER_LIST: u32 = 32 * 1024;
const HTTP2_STREAMS: u32 = 100;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// Maximum number of unsent bytes in the kernel's buffer. A withdrawal cannot recall them.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// A bound listener.
#[derive(Debug)]
pub(super) struct Listener {
    acceptor: Acceptor,
    context: Arc<ListenerContext>,
    tls: Option<watch::Receiver<TlsServer>>,
}

impl Listener {
    pub(super) fn new(
        acceptor: Acceptor,
        context: ListenerContext,
        tls: Option<watch::Receiver<TlsServer>>,
    ) -> Listener {
        Listener { acceptor, context: Arc::new(context), tls }
    }

    /// Returns the bound address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The error of the system, if the socket no longer has an address.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.acceptor.address()
    }

    /// Accepts connections until `stop`. Then waits until the exchanges under way have ended.
    pub(super) async fn run(self, service: PurposeService<Upstreams>, mut stop: watch::Receiver<bool>) {
        let stopping = stop.clone();
        loop {
            let (stream, address, permit) = tokio::select! {
                accepted = self.acceptor.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let connection = Connection {
                service: service.clone(),
                context: Arc::clone(&self.context),
                peer: Peer { address, encrypted: self.tls.is_some() },
                stop: stopping.clone(),
            };
            let tls = self.tls.clone();
            tokio::spawn(async move {
                connection.serve(stream, tls).await;
                drop(permit);
            });
        }
        self.acceptor.close().await;
    }
}

struct Connection {
    service: PurposeService<Upstreams>,
    context: Arc<ListenerContext>,
    peer: Peer,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<watch::Receiver<TlsServer>>) {
        tune(&stream);
        let conditions = CloseConditions {
            stop: self.stop.clone(),
            until: None,
            tls: None,
            authority: None,
            presented: false,
        };
        let Some(mut tls) = tls else {
            let mut stream = PlaintextStream::new(stream);
            let Ok(Ok(is_http2)) = tokio::time::timeout(HEAD_TIME, stream.begins_http2()).await else {
                return;
            };
            let unframed = stream.unframed();
            return self.serve_http(stream, is_http2, None, unframed, conditions).await;
        };
        let TlsServer { config, client_authority } = tls.borrow_and_update().clone();
        let handshake = TlsAcceptor::from(config).accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME, handshake).await else {
            tracing::debug!("TLS handshake failed");
            return;
        };
        let (_, session) = stream.get_ref();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let names =
            session.peer_certificates().map(|chain| client_certificate::peer_names(chain, Timestamp::now()));
        let conditions = CloseConditions {
            until: names.as_ref().and_then(|names| names.valid_until),
            tls: Some(tls),
            authority: client_authority,
            presented: names.is_some(),
            ..conditions
        };
        // TLS itself distinguishes a regular end from a cut.
        self.serve_http(stream, is_http2, names, Arc::default(), conditions).await;
    }

    async fn serve_http<T>(
        self,
        stream: T,
        is_http2: bool,
        names: Option<PeerCertificate>,
        unframed: Arc<AtomicBool>,
        conditions: CloseConditions,
    ) where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Connection { service, context, peer, .. } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&context));
            let unframed = (request.version() == Version::HTTP_10).then(|| Arc::clone(&unframed));
            request.extensions_mut().insert(peer);
            if let Some(names) = &names {
                request.extensions_mut().insert(names.clone());
            }
            service.clone().call(request).map_ok(move |answer| {
                let is_framed = || {
                    answer.headers().contains_key(CONTENT_LENGTH)
                        || answer.body().size_hint().exact().is_some()
                };
                // The connection ends with this response, so the flag is never reset.
                if let Some(unframed) = unframed.filter(|_| !is_framed()) {
                    unframed.store(true, Ordering::Relaxed);
                }
                answer.map(StallReportingBody::new)
            })
        });
        let times = ConnectionTimeouts::default();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(STALL_TIME));
        let stream = TokioIo::new(Box::pin(stream));
        let ended = if is_http2 {
            let streams = StreamExecutor::new(times);
            let connection = http2::Builder::new(streams.clone())
                .timer(TokioTimer::new())
                .max_concurrent_streams(HTTP2_STREAMS)
                .max_header_list_size(HTTP2_HEADER_LIST)
                .initial_stream_window_size(HTTP2_STREAM_WINDOW)
                .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
                .max_send_buf_size(HTTP2_SEND_BUFFER)
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .serve_connection(stream, service);
            drive(connection, conditions, Some(streams), times).await
        } else {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HTTP1_BUFFER)
                .serve_connection(stream, service);
            drive(connection, conditions, None, times).await
        };
        match ended {
            Some(Ok(())) => {}
            // hyper's errors contain no bytes of the message.
            Some(Err(error)) => tracing::debug!(%error, "connection ended"),
            None => tracing::debug!("connection cut: it did not end in time after it was asked to close"),
        }
    }
}

fn tune(stream: &TcpStream) {
    // Both socket options are optimizations, so errors are ignored.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}
