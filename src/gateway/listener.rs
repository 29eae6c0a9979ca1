//! The public listeners: accept connections and pass requests to the layer. HTTP/1.1 and HTTP/2 are negotiated by ALPN
//! over TLS, and by the first bytes in plaintext. Every wait and every buffer has a bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::TryFutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Request, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tower::Service;

use super::acceptor::Acceptor;
use super::connection::{ConnectionTimeouts, HEAD_TIME, StallReportingBody, StreamExecutor, drive};
use super::connection_life::ConnectionLife;
use super::delivery_rate::MinimumRate;
use super::gateway_end::{GatewayEnd, too_late_to_begin};
use super::rated_stream::RatedStream;
use super::stage::{Stage, reached};
use super::transport::{TlsSession, Transport, TransportSetup};
use super::upstream::Upstreams;
use crate::config::ListenerLimits;
use crate::exchange::{ListenerContext, forwarded};
use crate::layer::PurposeService;

// hyper's bounds are above those of the layer, so that the layer answers with a problem document. For the number of
// HTTP/1.1 fields hyper keeps its default of 100: any other number makes it allocate for each request.
const HTTP1_BUFFER: usize = 32 * 1024;
const HTTP2_HEADER_LIST: u32 = 32 * 1024;
const HTTP2_STREAMS: u32 = 100;
/// Maximum number of streams that the peer resets before they are accepted (rapid reset, CVE-2023-44487). Beyond it the
/// connection ends.
const HTTP2_PENDING_RESETS: usize = 20;
/// Maximum number of streams that the gateway resets because of the peer's errors (made you reset, CVE-2025-8671). Beyond
/// it the connection ends.
const HTTP2_LOCAL_RESETS: usize = 100;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const HTTP2_SEND_BUFFER: usize = 64 * 1024;

/// A bound listener.
#[derive(Debug)]
pub(super) struct Listener {
    acceptor: Acceptor,
    context: Arc<ListenerContext>,
    limits: ListenerLimits,
    setup: TransportSetup,
}

impl Listener {
    pub(super) fn new(
        acceptor: Acceptor,
        context: ListenerContext,
        limits: ListenerLimits,
        setup: TransportSetup,
    ) -> Listener {
        Listener { acceptor, context: Arc::new(context), limits, setup }
    }

    /// Returns the bound address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The error of the system, if the socket no longer has an address.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.acceptor.address()
    }

    /// Accepts connections until the gateway drains. Then waits until the exchanges under way have ended.
    pub(super) async fn run(self, service: PurposeService<Upstreams>, stage: watch::Receiver<Stage>) {
        let mut draining = stage.clone();
        loop {
            let (stream, address, mut permit) = tokio::select! {
                accepted = self.acceptor.accept() => accepted,
                () = reached(&mut draining, Stage::Draining) => break,
            };
            let connection = Connection {
                service: service.clone(),
                context: Arc::clone(&self.context),
                life: Arc::new(ConnectionLife::new(
                    self.limits.max_requests_per_connection,
                    self.limits.max_connection_age,
                )),
                rate: MinimumRate::of(self.limits.min_body_rate),
                stage: stage.clone(),
            };
            let setup = self.setup.clone();
            tokio::spawn(async move {
                let established = tokio::select! {
                    transport = setup.establish(stream, address) => transport,
                    () = too_late_to_begin(connection.stage.clone()) => None,
                };
                // The PROXY protocol tells the client that a connection counts for.
                if let Some(transport) = established
                    && (transport.peer.address == address || permit.assign(transport.peer.address))
                {
                    connection.serve(transport).await;
                }
                drop(permit);
            });
        }
        self.acceptor.close().await;
    }
}

struct Connection {
    service: PurposeService<Upstreams>,
    context: Arc<ListenerContext>,
    life: Arc<ConnectionLife>,
    /// Lowest rate at which responses have to be taken.
    rate: MinimumRate,
    stage: watch::Receiver<Stage>,
}

impl Connection {
    async fn serve(self, transport: Transport) {
        let Connection { service, context, life, rate, stage } = self;
        let counted = Arc::clone(&life);
        let Transport { stream, peer, trusted_proxies, is_http2, unframed, session } = transport;
        let (access, names) = match session {
            Some(TlsSession { certificate, access }) => (Some(access), certificate),
            None => (None, None),
        };
        let close_at = if is_http2 { Stage::DrainNotice } else { Stage::Draining };
        let end = GatewayEnd::new(stage, close_at);
        let watched = end.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            watched.note_request();
            let watched = (!is_http2).then(|| watched.clone());
            let peer = forwarded::client(request.headers(), peer, &trusted_proxies);
            // In HTTP/2 the end of a connection is announced by GOAWAY.
            let is_last = counted.count_request() && request.version() < Version::HTTP_2;
            request.extensions_mut().insert(Arc::clone(&context));
            let unframed = (request.version() == Version::HTTP_10).then(|| Arc::clone(&unframed));
            request.extensions_mut().insert(peer);
            if let Some(names) = &names {
                request.extensions_mut().insert(names.clone());
            }
            service.clone().call(request).map_ok(move |mut answer| {
                if let Some(end) = watched {
                    end.mark(&mut answer);
                }
                if is_last {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
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
        let times = ConnectionTimeouts { rate, ..ConnectionTimeouts::default() };
        let stream = TokioIo::new(RatedStream::new(stream, rate));
        let ended = if is_http2 {
            let streams = StreamExecutor::new(times);
            let connection = http2::Builder::new(streams.clone())
                .timer(TokioTimer::new())
                .max_concurrent_streams(HTTP2_STREAMS)
                .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
                .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
                .max_header_list_size(HTTP2_HEADER_LIST)
                .initial_stream_window_size(HTTP2_STREAM_WINDOW)
                .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
                .max_send_buf_size(HTTP2_SEND_BUFFER)
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .serve_connection(stream, service);
            drive(connection, end, life, access, Some(streams), times).await
        } else {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HTTP1_BUFFER)
                .serve_connection(stream, service);
            drive(connection, end, life, access, None, times).await
        };
        match ended {
            Some(Ok(())) => {}
            // hyper's errors contain no bytes of the message.
            Some(Err(error)) => tracing::debug!(%error, "connection ended"),
            None => tracing::debug!("connection cut: it did not end in time after it was asked to close"),
        }
    }
}
