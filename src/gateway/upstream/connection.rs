//! Opens connections to an address of an upstream: TCP, TLS, and HTTP/1.1 or HTTP/2 by ALPN.
//!
//! Invariant: once a connection's handle is dropped, its tasks end within [`CLOSE_GRACE`], whatever the upstream does.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::observed::{Observations, ObservedStream};
use super::request::OutgoingBody;
use super::tls_fault;
use crate::exchange::upstream_fault::{TlsFault, UpstreamFault};

/// Maximum number of bytes read at a time. They are still in the processor's cache when they are scrubbed.
const READ_BUFFER: usize = 64 * 1024;
/// Maximum size of a response's head, in bytes.
const MAX_HEAD: u32 = 64 * 1024;
/// Maximum number of requests at a time on one HTTP/2 connection. The upstream can announce a lower number.
const MAX_STREAMS: usize = 100;
/// Bytes of one response that the upstream may send ahead of the recipient.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of all responses of one connection. Recipients that stop reading must not block the other streams, so every stream
/// can use its window.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// Maximum size of a frame, in bytes.
const MAX_FRAME: u32 = 16 * 1024;
/// Maximum number of bytes of one request's body that wait for the upstream.
const SEND_BUFFER: usize = 64 * 1024;
/// Time without a frame after which a connection with requests under way is tested.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time for the upstream to answer that test.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a connection to end in good order.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Settings of the connections to one address.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) address: SocketAddr,
    /// TLS, and the name that the certificate must have. `None`: plaintext.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Time for TCP, TLS and HTTP together.
    pub(super) timeout: Duration,
}

/// A connection that was just opened.
pub(super) enum OpenedConnection {
    Http1(Http1Connection),
    Http2(Http2Connection),
}

/// An HTTP/1.1 connection. It serves one request at a time.
#[derive(Debug)]
pub(super) struct Http1Connection {
    pub(super) sender: http1::SendRequest<OutgoingBody>,
    pub(super) link: Link,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Connection {
    pub(super) sender: http2::SendRequest<OutgoingBody>,
    pub(super) link: Link,
    /// Maximum number of requests at a time, as far as it is known.
    limit: Arc<AtomicUsize>,
}

impl Http2Connection {
    pub(super) fn max_streams(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

/// The handle of a connection. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) observations: Arc<Observations>,
    _open: watch::Sender<()>,
}

impl Connector {
    /// Opens a connection.
    ///
    /// # Errors
    /// The [`UpstreamFault`] that tells why there is none.
    pub(super) async fn connect(&self) -> Result<OpenedConnection, UpstreamFault> {
        let connected = tokio::time::timeout(self.timeout, self.open()).await;
        connected.unwrap_or(Err(UpstreamFault::ConnectTimeout))
    }

    async fn open(&self) -> Result<OpenedConnection, UpstreamFault> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| connect_cause(&error))?;
        // An optimization, so an error is ignored.
        let _ = stream.set_nodelay(true);
        let Some((config, name)) = &self.tls else { return http1(ObservedStream::new(stream)).await };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name.clone(), stream).await.map_err(|error| tls_cause(&error))?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => http2(ObservedStream::with_frames(stream)).await,
            _ => http1(ObservedStream::new(stream)).await,
        }
    }
}

/// Returns the cause of a failed attempt to connect.
fn connect_cause(error: &io::Error) -> UpstreamFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => UpstreamFault::ConnectionRefused,
        io::ErrorKind::TimedOut => UpstreamFault::ConnectTimeout,
        kind => UpstreamFault::Connect(kind),
    }
}

fn tls_cause(error: &io::Error) -> UpstreamFault {
    UpstreamFault::Tls(tls_fault::of_io(error).unwrap_or(TlsFault::Interrupted))
}

async fn http1<S>(stream: ObservedStream<S>) -> Result<OpenedConnection, UpstreamFault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let observations = stream.observations();
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_BUFFER).max_header_size(MAX_HEAD as usize);
    let made = builder.handshake(TokioIo::new(stream)).await;
    let failed = |_| observations.fault().unwrap_or(UpstreamFault::Connect(io::ErrorKind::BrokenPipe));
    let (sender, driving) = made.map_err(failed)?;
    let (open, closed) = watch::channel(());
    tokio::spawn(drive(driving, closed));
    Ok(OpenedConnection::Http1(Http1Connection { sender, link: Link { observations, _open: open } }))
}

async fn http2<S>(stream: ObservedStream<S>) -> Result<OpenedConnection, UpstreamFault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let observations = stream.observations();
    let (open, closed) = watch::channel(());
    let mut builder = http2::Builder::new(ConnectionExecutor { closed: closed.clone() });
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(MAX_STREAMS)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEAD)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let made = builder.handshake(TokioIo::new(stream)).await;
    let failed = |_| observations.fault().unwrap_or(UpstreamFault::Connect(io::ErrorKind::BrokenPipe));
    let (sender, driving) = made.map_err(failed)?;
    let limit = Arc::new(AtomicUsize::new(MAX_STREAMS));
    let announced = Arc::clone(&limit);
    let mut driving = Box::pin(driving);
    let driving = std::future::poll_fn(move |context| {
        let polled = driving.as_mut().poll(context);
        announced.store(driving.current_max_send_streams().min(MAX_STREAMS), Ordering::Relaxed);
        polled
    });
    tokio::spawn(drive(driving, closed));
    Ok(OpenedConnection::Http2(Http2Connection { sender, link: Link { observations, _open: open }, limit }))
}

/// Runs a task of a connection until it ends, or until the connection's handle was dropped and the grace is over.
async fn drive<F: Future>(task: F, closed: watch::Receiver<()>) {
    let mut task = pin!(task);
    tokio::select! {
        biased;
        _ = &mut task => {}
        () = grace_over(closed) => {}
    }
}

async fn grace_over(mut closed: watch::Receiver<()>) {
    while closed.changed().await.is_ok() {}
    tokio::time::sleep(CLOSE_GRACE).await;
}

/// Spawns the tasks of an HTTP/2 connection, so that they end with it.
#[derive(Clone)]
struct ConnectionExecutor {
    closed: watch::Receiver<()>,
}

impl<F> hyper::rt::Executor<F> for ConnectionExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        tokio::spawn(drive(task, self.closed.clone()));
    }
}
