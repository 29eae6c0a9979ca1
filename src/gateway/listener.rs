//! The public listeners: sockets in, requests to the gate. HTTP/1.1 and HTTP/2, by ALPN over TLS and
//! by the first bytes in plaintext. Everything that can wait has a bound.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryFutureExt;
use http::header::CONTENT_LENGTH;
use http::{Request, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::tls;
use super::upstreams::Upstreams;
use crate::layer::identity::PeerNames;
use crate::layer::{Gate, Listening, Peer};

/// From the connection to the end of a request's head, and between two requests.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// For a recipient to take what is written, be it a byte: who takes nothing is gone.
const STALL_TIME: Duration = Duration::from_secs(120);
/// For the TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Connections of one listener at a time.
const MAX_CONNECTIONS: usize = 10_000;
/// hyper's own bounds stand above ours, so that ours answer with a problem document. Its 100 fields of HTTP/1.1
/// are its default: another number would be allocated anew for each request.
const HTTP1_BUFFER: usize = 64 * 1024;
const HTTP2_HEADER_LIST: u32 = 32 * 1024;
const HTTP2_STREAMS: u32 = 100;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// Bytes that the kernel may hold unsent: what waits there is beyond recall when somebody withdraws.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// One bound listener.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    listening: Arc<Listening>,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
}

impl Listener {
    pub(super) fn new(
        socket: TcpListener,
        listening: Listening,
        tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    ) -> Listener {
        Listener { socket, listening: Arc::new(listening), tls }
    }

    /// The bound address, with the port that was chosen for port 0.
    ///
    /// # Errors
    /// Where the socket has none any more.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until told to stop; then lets exchanges under way end.
    pub(super) async fn run(self, gate: Gate<Upstreams>, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Ok((stream, address)) = accepted else {
                // Out of file descriptors, most likely: leave the others time to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                tracing::warn!("connection refused: {MAX_CONNECTIONS} are open");
                continue;
            };
            let connection = Connection {
                gate: gate.clone(),
                listening: Arc::clone(&self.listening),
                watcher: graceful.watcher(),
                peer: Peer { address: address.ip(), encrypted: self.tls.is_some() },
            };
            let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
            tokio::spawn(async move {
                connection.serve(stream, tls).await;
                drop(permit);
            });
        }
        drop(self.socket);
        graceful.shutdown().await;
    }
}

struct Connection {
    gate: Gate<Upstreams>,
    listening: Arc<Listening>,
    watcher: Watcher,
    peer: Peer,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        tune(&stream);
        let Some(tls) = tls else {
            let Ok(Some(is_http2)) = tokio::time::timeout(HEAD_TIME, begins_http2(&stream)).await else {
                return;
            };
            let stream = Plain { stream, unframed: Arc::default(), ended: false };
            let unframed = Arc::clone(&stream.unframed);
            return self.speak(stream, is_http2, None, unframed).await;
        };
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await else {
            tracing::debug!("TLS handshake failed");
            return;
        };
        let (_, session) = stream.get_ref();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let peer = session.peer_certificates().and_then(<[_]>::first).map(tls::peer_names);
        // TLS tells an end from a break itself.
        self.speak(stream, is_http2, peer, Arc::default()).await;
    }

    async fn speak<T>(self, stream: T, is_http2: bool, names: Option<PeerNames>, unframed: Arc<AtomicBool>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Connection { gate, listening, watcher, peer } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&listening));
            let unframed = (request.version() == Version::HTTP_10).then(|| Arc::clone(&unframed));
            request.extensions_mut().insert(peer);
            if let Some(names) = &names {
                request.extensions_mut().insert(names.clone());
            }
            gate.clone().call(request).inspect_ok(move |answer| {
                let is_framed = || {
                    answer.headers().contains_key(CONTENT_LENGTH)
                        || answer.body().size_hint().exact().is_some()
                };
                // The connection ends with it: nothing follows that would have a length.
                if let Some(unframed) = unframed.filter(|_| !is_framed()) {
                    unframed.store(true, Ordering::Relaxed);
                }
            })
        });
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(STALL_TIME));
        let stream = TokioIo::new(Box::pin(stream));
        let ended = if is_http2 {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(HTTP2_STREAMS)
                .max_header_list_size(HTTP2_HEADER_LIST)
                .initial_stream_window_size(HTTP2_STREAM_WINDOW)
                .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
                .max_send_buf_size(HTTP2_SEND_BUFFER)
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .serve_connection(stream, service);
            watcher.watch(connection).await
        } else {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HTTP1_BUFFER)
                .serve_connection(stream, service);
            watcher.watch(connection).await
        };
        if let Err(error) = ended {
            // hyper's words name kinds of errors, never bytes of the message.
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// A plaintext connection. To HTTP/1.0 an answer without a length ends where the connection does: one that is
/// cut must not end like that, so the connection is reset.
struct Plain {
    stream: TcpStream,
    /// Whether what is under way is an answer of HTTP/1.0 without a length.
    unframed: Arc<AtomicBool>,
    /// What was to be said has been said.
    ended: bool,
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let plain = self.get_mut();
        plain.ended = true;
        Pin::new(&mut plain.stream).poll_shutdown(context)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if !self.ended && self.unframed.load(Ordering::Relaxed) {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

fn tune(stream: &TcpStream) {
    // Both are refinements: a connection without them is still served.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// Whether a plaintext connection begins with HTTP/2's preface (`PRI * HTTP/2.0`); `None` where it
/// ends before that can be said.
async fn begins_http2(stream: &TcpStream) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut first = [0u8; PREFACE.len()];
    loop {
        let read = stream.peek(&mut first).await.ok().filter(|read| *read > 0)?;
        let seen = first.get(..read)?;
        if !PREFACE.starts_with(seen) {
            return Some(false);
        }
        if read == PREFACE.len() {
            return Some(true);
        }
        // Peeking does not consume, so readiness alone would spin.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
