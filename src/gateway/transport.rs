//! The steps between an accepted socket and HTTP: the header of the PROXY protocol, then TLS, or the detection of HTTP/2
//! in plaintext.
//!
//! The public listeners and the admin listener set up their connections here. Invariants: each step has a time limit;
//! nobody but a trusted proxy states the address of a client.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{IntCounter, IntCounterVec};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_access::ClientAccess;
use super::client_certificate;
use super::connection::HEAD_TIME;
use super::plaintext::PlaintextStream;
use super::proxy_protocol::{self, ProxiedSource};
use crate::config::TlsServer;
use crate::exchange::caller::PeerCertificate;
use crate::exchange::{Peer, Refusal, TrustedProxies};
use crate::log_limit::LogLimit;

/// Time for the TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Time for a client to take the answer to plaintext on a port with TLS, and to close.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// Maximum bytes of plaintext on a port with TLS that are read and discarded. If unread bytes are left, the system resets
/// the connection, and the client may lose the answer.
const MAX_DISCARDED: u64 = 64 * 1024;
/// Maximum number of unsent bytes in the kernel's buffer. A withdrawal cannot recall them.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// The way in which a listener sets up its connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct TransportSetup {
    /// True if each connection begins with a header of the PROXY protocol.
    pub(super) proxy_protocol: bool,
    /// The proxies that are believed.
    pub(super) trusted_proxies: TrustedProxies,
    /// TLS. `None`: plaintext.
    pub(super) tls: Option<watch::Receiver<TlsServer>>,
    /// Counters of connections that end here.
    pub(super) failures: TransportFailures,
}

/// Counters of the connections of one listener that end before HTTP begins.
#[derive(Clone, Debug)]
pub(super) struct TransportFailures {
    untrusted_proxy: IntCounter,
    proxy_header: IntCounter,
    http_on_tls_port: IntCounter,
    tls_handshake: IntCounter,
}

impl TransportFailures {
    /// The counters of a listener, which begin at zero.
    pub(super) fn new(failed: &IntCounterVec, listener: &str) -> TransportFailures {
        let counter = |reason| failed.with_label_values(&[listener, reason]);
        TransportFailures {
            untrusted_proxy: counter("untrusted-proxy"),
            proxy_header: counter("proxy-header"),
            http_on_tls_port: counter("http-on-tls-port"),
            tls_handshake: counter("tls-handshake"),
        }
    }
}

/// A connection on which HTTP begins.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) stream: TransportStream,
    /// The peer of the connection's requests, before their fields are read.
    pub(super) peer: Peer,
    /// The proxies whose `Forwarded` is read on this connection. Empty if a proxy has not stated for whom it connects: the
    /// fields could be the client's.
    pub(super) trusted_proxies: TrustedProxies,
    /// True if the protocol is HTTP/2, otherwise it is HTTP/1.1.
    pub(super) is_http2: bool,
    /// The flag to set while an HTTP/1.0 response without a length is under way.
    pub(super) unframed: Arc<AtomicBool>,
    /// The TLS session. `None` in plaintext.
    pub(super) session: Option<TlsSession>,
}

/// A TLS session.
#[derive(Debug)]
pub(super) struct TlsSession {
    /// The client's certificate.
    pub(super) certificate: Option<PeerCertificate>,
    /// The access that the certificate, or its absence, gives.
    pub(super) access: ClientAccess,
}

impl TransportSetup {
    /// Sets up the connection of a socket that was accepted from `address`. `None` if the connection has ended.
    pub(super) async fn establish(self, mut stream: TcpStream, address: IpAddr) -> Option<Transport> {
        tune(&stream);
        let TransportSetup { proxy_protocol, trusted_proxies, tls, failures } = self;
        let (peer, trusted_proxies) = if proxy_protocol {
            read_proxy_header(&mut stream, address, trusted_proxies, &failures).await?
        } else {
            (Peer::connected(address, false), trusted_proxies)
        };
        match tls {
            Some(tls) => {
                let peer = Peer { encrypted: true, ..peer };
                let (stream, session, is_http2) = begin_session(stream, tls, &failures).await?;
                let unframed = Arc::default();
                Some(Transport { stream, peer, trusted_proxies, is_http2, unframed, session: Some(session) })
            }
            None => {
                let mut stream = PlaintextStream::new(stream);
                let is_http2 = timeout(HEAD_TIME, stream.begins_http2()).await.ok()?.ok()?;
                let (unframed, stream) = (stream.unframed(), TransportStream::Plaintext(stream));
                Some(Transport { stream, peer, trusted_proxies, is_http2, unframed, session: None })
            }
        }
    }
}

/// Reads the header that a trusted proxy sends first. Returns the peer that it states, and the proxies whose fields are
/// read on the connection.
async fn read_proxy_header(
    stream: &mut TcpStream,
    proxy: IpAddr,
    trusted: TrustedProxies,
    failures: &TransportFailures,
) -> Option<(Peer, TrustedProxies)> {
    static UNTRUSTED: LogLimit = LogLimit::new();
    if !trusted.contains(proxy) {
        failures.untrusted_proxy.inc();
        if let Some(count) = UNTRUSTED.admit() {
            tracing::warn!(
                count,
                "connections closed: they come from an address that is not in `trusted-proxies`"
            );
        }
        return None;
    }
    let header = timeout(HEAD_TIME, proxy_protocol::read_header(stream)).await;
    let client = |address| Peer { address, proxy: Some(proxy), encrypted: false };
    match header {
        Ok(Ok(ProxiedSource::Client(address))) => Some((client(address), trusted)),
        Ok(Ok(ProxiedSource::Unknown)) => Some((client(proxy), TrustedProxies::default())),
        Ok(Ok(ProxiedSource::Proxy)) => Some((Peer::connected(proxy, false), trusted)),
        Ok(Err(_)) | Err(_) => {
            failures.proxy_header.inc();
            tracing::debug!("connection closed: no header of the PROXY protocol");
            None
        }
    }
}

/// Begins the TLS session of a connection, and detects its protocol.
async fn begin_session(
    stream: TcpStream,
    mut tls: watch::Receiver<TlsServer>,
    failures: &TransportFailures,
) -> Option<(TransportStream, TlsSession, bool)> {
    let TlsServer { config, client_authority: authority } = tls.borrow_and_update().clone();
    let stream = accept_tls(stream, config, failures).await?;
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let chain = session.peer_certificates();
    let certificate = chain.map(|chain| client_certificate::peer_names(chain, Timestamp::now()));
    let access = ClientAccess {
        tls,
        authority,
        chain: chain.map(<[_]>::to_vec).unwrap_or_default(),
        until: certificate.as_ref().and_then(|certificate| certificate.valid_until),
    };
    let session = TlsSession { certificate, access };
    Some((TransportStream::Tls(Box::new(stream)), session, is_http2))
}

/// Performs the TLS handshake. Plaintext HTTP is answered. `None` if the connection has ended.
pub(super) async fn accept_tls(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    failures: &TransportFailures,
) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    match timeout(HEAD_TIME, stream.peek(&mut first)).await {
        // A method is an HTTP token; those in use begin with a letter. Anything else gets an alert of TLS.
        Ok(Ok(1)) if first.iter().all(u8::is_ascii_alphabetic) => {
            failures.http_on_tls_port.inc();
            // An error is one of a connection that ends anyway.
            let _ = timeout(LINGER_TIME, answer_plaintext(stream)).await;
            return None;
        }
        Ok(Ok(1)) => {}
        Ok(_) | Err(_) => return None,
    }
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME, TlsAcceptor::from(config).accept(stream)).await else {
        failures.tls_handshake.inc();
        tracing::debug!("TLS handshake failed");
        return None;
    };
    Some(stream)
}

/// Answers plaintext HTTP on a port with TLS, and waits until the client closes.
async fn answer_plaintext(mut stream: TcpStream) -> io::Result<()> {
    let mut problem = Refusal::RequestMalformed.problem(None, None, None);
    problem.detail = "This port speaks TLS: use https://.".into();
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut tokio::io::sink()).await?;
    Ok(())
}

fn tune(stream: &TcpStream) {
    // Both socket options are optimizations, so errors are ignored.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// The bytes of a connection, in plaintext or over TLS.
#[derive(Debug)]
pub(super) enum TransportStream {
    Plaintext(PlaintextStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for TransportStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TransportStream::Plaintext(stream) => Pin::new(stream).poll_read(context, buffer),
            TransportStream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for TransportStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TransportStream::Plaintext(stream) => Pin::new(stream).poll_write(context, bytes),
            TransportStream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TransportStream::Plaintext(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            TransportStream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            TransportStream::Plaintext(stream) => stream.is_write_vectored(),
            TransportStream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TransportStream::Plaintext(stream) => Pin::new(stream).poll_flush(context),
            TransportStream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TransportStream::Plaintext(stream) => Pin::new(stream).poll_shutdown(context),
            TransportStream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
