//! Ends connections: when they are idle for too long, when the client certificate that admitted them ends or is no
//! longer accepted, and when the gateway stops.
//!
//! hyper has no idle timer for HTTP/2. While a stream's flow-control window is closed it does not poll the body, for as
//! long as the peer answers pings. So each stream runs as a task of its own, which measures the rate at which its
//! recipient takes data and resets the stream if the rate is below [`ConnectionTimeouts::rate`].

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep, sleep_until};

use super::client_access::ClientAccess;
use super::connection_life::ConnectionLife;
use super::delivery_rate::{MinimumRate, RateMeter};
use super::gateway_end::GatewayEnd;

/// Time for a request's head to arrive, from the connection or from the previous request on.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time in which the peer of the admin listener has to accept at least one byte of the written data.
pub(super) const STALL_TIME: Duration = Duration::from_secs(120);

/// Lowest rate of responses if the configuration names none, in bytes per second.
const MIN_RATE: usize = 256;
/// Maximum bytes of a stream's frame, which is offered to the recipient at once: the smallest maximum of a DATA frame
/// (RFC 9113, 6.5.2).
const STREAM_FRAME: usize = 16 * 1024;

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionTimeouts {
    /// Time without a stream before the first one (HTTP/2).
    pub(super) first: Duration,
    /// Time without a stream after the last one (HTTP/2).
    pub(super) idle: Duration,
    /// Time for exchanges under way to end after the connection was asked to close.
    pub(super) close: Duration,
    /// Lowest rate at which a recipient has to take the data that a stream offers (HTTP/2).
    pub(super) rate: MinimumRate,
}

impl Default for ConnectionTimeouts {
    fn default() -> Self {
        ConnectionTimeouts {
            first: HEAD_TIME,
            idle: Duration::from_secs(60),
            close: Duration::from_secs(10),
            rate: MinimumRate::of(MIN_RATE),
        }
    }
}

/// Drives a connection to its end. `None` if it had to be cut.
#[allow(
    clippy::manual_async_fn,
    reason = "for an `async fn` the compiler cannot prove that the future is `Send`"
)]
pub(super) fn drive<C>(
    connection: C,
    gateway: GatewayEnd,
    life: Arc<ConnectionLife>,
    access: Option<ClientAccess>,
    streams: Option<StreamExecutor>,
    times: ConnectionTimeouts,
) -> impl Future<Output = Option<Result<(), C::Error>>> + Send
where
    C: GracefulConnection + Send,
    C::Error: Send,
{
    async move { drive_to_end(connection, gateway, life, access, streams, times).await }
}

async fn drive_to_end<C: GracefulConnection>(
    connection: C,
    gateway: GatewayEnd,
    life: Arc<ConnectionLife>,
    access: Option<ClientAccess>,
    streams: Option<StreamExecutor>,
    times: ConnectionTimeouts,
) -> Option<Result<(), C::Error>> {
    let mut connection = pin!(connection);
    let mut access_ends = pin!(async {
        match access {
            Some(access) => access.ends().await,
            None => pending().await,
        }
    });
    let mut is_over = false;
    tokio::select! {
        ended = connection.as_mut() => return Some(ended),
        () = gateway.begins() => {}
        () = access_ends.as_mut() => is_over = true,
        () = idle_for_too_long(streams.clone(), times) => {}
        () = life.over() => {}
    }
    connection.as_mut().graceful_shutdown();
    let over = async {
        if !is_over {
            access_ends.await;
        }
        sleep(times.close).await;
    };
    tokio::select! {
        ended = connection => Some(ended),
        () = over => None,
        () = shutdown_overdue(streams, times) => None,
    }
}

/// Returns when an HTTP/2 connection was without a stream for too long. For HTTP/1.1 hyper has timers of its own.
async fn idle_for_too_long(streams: Option<StreamExecutor>, times: ConnectionTimeouts) {
    match streams {
        Some(streams) => streams.idle(times).await,
        None => pending().await,
    }
}

/// Returns when a connection that was asked to close has had no stream for [`ConnectionTimeouts::close`] and is still
/// open.
async fn shutdown_overdue(streams: Option<StreamExecutor>, times: ConnectionTimeouts) {
    let Some(streams) = streams else { return pending().await };
    loop {
        streams.clone().idle(times).await;
        sleep(times.close).await;
        // A request may have arrived meanwhile.
        if streams.idle_from(times).is_some() {
            return;
        }
    }
}

/// Runs the streams of one HTTP/2 connection as tasks, and counts them.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    activity: Arc<StreamActivity>,
    rate: MinimumRate,
}

#[derive(Debug)]
struct StreamActivity {
    clock: MillisecondClock,
    active: AtomicUsize,
    /// Time at which the last stream ended; zero before the first.
    ended: AtomicU64,
}

/// Guard that counts a stream as active until it is dropped.
struct ActiveStream(Arc<StreamActivity>);

tokio::task_local! {
    /// The stall detector of the stream that the task runs.
    static STALL_DETECTOR: Arc<StallDetector>;
}

impl StreamExecutor {
    pub(super) fn new(times: ConnectionTimeouts) -> StreamExecutor {
        let activity = StreamActivity {
            clock: MillisecondClock::new(),
            active: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
        };
        StreamExecutor { activity: Arc::new(activity), rate: times.rate }
    }

    /// Returns when there has been no stream for too long.
    async fn idle(self, times: ConnectionTimeouts) {
        loop {
            match self.idle_from(times) {
                None => sleep(times.idle).await,
                Some(from) if from <= Instant::now() => return,
                // A stream that begins and ends meanwhile starts the shorter idle time.
                Some(from) => sleep_until(from.min(Instant::now() + times.idle)).await,
            }
        }
    }

    /// Returns the instant at which the connection will have been idle for too long; `None` while there is a stream.
    fn idle_from(&self, times: ConnectionTimeouts) -> Option<Instant> {
        let StreamActivity { clock, active, ended } = &*self.activity;
        match (active.load(Ordering::Acquire), ended.load(Ordering::Acquire)) {
            (0, 0) => Some(clock.start + times.first),
            (0, ended) => Some(clock.at(ended) + times.idle),
            _ => None,
        }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let flow = Arc::new(StallDetector::new(self.rate));
        self.activity.active.fetch_add(1, Ordering::AcqRel);
        let guard = ActiveStream(Arc::clone(&self.activity));
        tokio::spawn(STALL_DETECTOR.scope(Arc::clone(&flow), async move {
            let _guard = guard;
            tokio::select! {
                biased;
                () = stream => {}
                // hyper resets a stream whose future is dropped before its end.
                () = flow.stalls() => tracing::debug!("stream reset: its recipient takes data too slowly"),
            }
        }));
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        let StreamActivity { clock, active, ended } = &*self.0;
        ended.store(clock.now(), Ordering::Release);
        active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Detects a recipient that takes the data of a stream too slowly.
#[derive(Debug)]
struct StallDetector {
    period: Duration,
    meter: Mutex<RateMeter>,
}

impl StallDetector {
    fn new(rate: MinimumRate) -> StallDetector {
        StallDetector { period: rate.period, meter: Mutex::new(RateMeter::new(rate)) }
    }

    fn meter(&self) -> MutexGuard<'_, RateMeter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the recipient is too slow. An offer is noticed within a period.
    async fn stalls(&self) {
        loop {
            let deadline = self.meter().deadline();
            match deadline {
                None => sleep(self.period).await,
                Some(deadline) => {
                    sleep_until(deadline).await;
                    if self.meter().is_too_slow(Instant::now()) {
                        return;
                    }
                }
            }
        }
    }
}

/// Counts milliseconds from its start, beginning with one, so that an atomic integer can use zero for "none".
#[derive(Debug)]
struct MillisecondClock {
    start: Instant,
}

impl MillisecondClock {
    fn new() -> MillisecondClock {
        MillisecondClock { start: Instant::now() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn at(&self, time: u64) -> Instant {
        self.start + Duration::from_millis(time.saturating_sub(1))
    }
}

/// A response body that tells the stall detector of its stream when data is offered, and when it was taken.
#[derive(Debug)]
pub(super) struct StallReportingBody<B> {
    body: B,
    flow: Option<Arc<StallDetector>>,
    /// The rest of a frame that is longer than [`STREAM_FRAME`].
    rest: Bytes,
    /// Bytes that are offered and not taken yet.
    offered: usize,
}

impl<B> StallReportingBody<B> {
    /// Wraps the body of a stream. Outside of a stream's task the wrapper only delegates.
    pub(super) fn new(body: B) -> StallReportingBody<B> {
        let flow = STALL_DETECTOR.try_with(Arc::clone).ok();
        StallReportingBody { body, flow, rest: Bytes::new(), offered: 0 }
    }
}

impl<B: Body<Data = Bytes> + Unpin> StallReportingBody<B> {
    /// Offers the next part of a frame. hyper polls again as soon as the window had room for a part of the last one.
    fn offer(&mut self) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let part = self.rest.split_to(self.rest.len().min(STREAM_FRAME));
        if let Some(flow) = &self.flow {
            flow.meter().offer(Instant::now());
        }
        self.offered = part.len();
        Poll::Ready(Some(Ok(Frame::data(part))))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for StallReportingBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let reporting = self.get_mut();
        let Some(flow) = &reporting.flow else {
            return Pin::new(&mut reporting.body).poll_frame(context);
        };
        let taken = std::mem::take(&mut reporting.offered);
        if taken > 0 {
            flow.meter().take(taken, Instant::now());
        }
        if reporting.rest.is_empty() {
            match Pin::new(&mut reporting.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => reporting.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        reporting.offer()
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::{BodyExt, Either, Empty, StreamBody};
    use hyper::body::Incoming;
    use hyper::client::conn::http2::{self as client, SendRequest};
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::gateway::client_access::tests::TestAuthority;
    use crate::gateway::stage::Stage;

    /// Longer than any test runs.
    const NEVER: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);
    const PATIENT: ConnectionTimeouts =
        ConnectionTimeouts { first: NEVER, idle: NEVER, close: NEVER, rate: slowest(NEVER) };

    type Sender = SendRequest<Empty<Bytes>>;

    /// A byte in this period.
    const fn slowest(period: Duration) -> MinimumRate {
        MinimumRate { bytes_per_second: 0, period }
    }

    struct Peers {
        sender: Sender,
        /// The client's connection, which only answers pings. It ends when the server closes.
        client: tokio::task::JoinHandle<hyper::Result<()>>,
        server: tokio::task::JoinHandle<bool>,
        /// Receives an item whenever the body of a response is dropped.
        dropped: mpsc::UnboundedReceiver<()>,
        stage: watch::Sender<Stage>,
        /// Two requests, of which none is counted by the server.
        life: Arc<ConnectionLife>,
    }

    /// Sends an item when it is dropped.
    struct Dropped(mpsc::UnboundedSender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    /// Connects a client to a server. The body at `/endless` has no end, the one at `/mute` never begins.
    async fn peers(times: ConnectionTimeouts, window: u32, access: Option<ClientAccess>) -> Peers {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (tell, dropped) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let token = Dropped(tell.clone());
            async move {
                let body = match request.uri().path() {
                    "/endless" => {
                        let chunks = futures_util::stream::repeat_with(move || {
                            let _held = &token;
                            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 1024])))
                        });
                        Either::Left(Either::Left(StreamBody::new(chunks)))
                    }
                    "/mute" => {
                        let none = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
                        let none = futures_util::StreamExt::map(none, move |frame| (frame, &token).0);
                        Either::Left(Either::Right(StreamBody::new(Box::pin(none))))
                    }
                    _ => Either::Right(Empty::<Bytes>::new()),
                };
                Ok::<_, Infallible>(Response::new(StallReportingBody::new(body)))
            }
        });
        let streams = StreamExecutor::new(times);
        let connection = http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(SHORT)
            .serve_connection(TokioIo::new(near), service);
        let stage = watch::Sender::new(Stage::Serving);
        let gateway = GatewayEnd::new(stage.subscribe(), Stage::DrainNotice);
        let life = Arc::new(ConnectionLife::new(2, NEVER));
        let driven = drive(connection, gateway, Arc::clone(&life), access, Some(streams), times);
        let server = async move { driven.await.is_none() };
        let server = tokio::spawn(server);
        let (sender, connection) = client::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(far))
            .await
            .unwrap();
        Peers { sender, client: tokio::spawn(connection), server, dropped, stage, life }
    }

    async fn ask(sender: &mut Sender, path: &str) -> hyper::Result<Response<Incoming>> {
        sender.ready().await?;
        let uri = format!("http://gate.example{path}");
        sender.send_request(Request::get(uri).body(Empty::new()).unwrap()).await
    }

    #[tokio::test]
    async fn a_connection_without_streams_ends_even_if_pings_are_answered() {
        // Before the first request, and after one.
        let never_asked = peers(ConnectionTimeouts { first: SHORT, ..PATIENT }, 65_535, None).await;
        assert!(!never_asked.server.await.unwrap(), "closed, not cut");
        never_asked.client.await.unwrap().unwrap();

        let mut asked = peers(ConnectionTimeouts { idle: SHORT, ..PATIENT }, 65_535, None).await;
        ask(&mut asked.sender, "/").await.unwrap();
        asked.client.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_active_stream_keeps_its_connection_open() {
        let times = ConnectionTimeouts { first: SHORT, idle: SHORT, close: SHORT, ..PATIENT };
        let mut peers = peers(times, 65_535, None).await;
        let answer = ask(&mut peers.sender, "/mute").await.unwrap();
        sleep(SHORT * 6).await;
        assert!(!peers.client.is_finished());
        drop(answer);
        peers.client.await.unwrap().unwrap();
        peers.dropped.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_whose_window_stays_closed_is_reset_and_its_connection_is_not() {
        let mut peers = peers(ConnectionTimeouts { rate: slowest(SHORT), ..PATIENT }, 0, None).await;
        let answer = ask(&mut peers.sender, "/endless").await.unwrap();
        peers.dropped.recv().await.unwrap();
        assert!(answer.into_body().collect().await.is_err(), "it was reset");
        assert!(
            ask(&mut peers.sender, "/").await.unwrap().status().is_success(),
            "the connection stays open"
        );
    }

    /// The recipient is not at fault if the body waits for its upstream.
    #[tokio::test]
    async fn a_stream_that_offers_no_data_is_not_reset() {
        let mut peers = peers(ConnectionTimeouts { rate: slowest(SHORT), ..PATIENT }, 0, None).await;
        let answer = ask(&mut peers.sender, "/mute").await.unwrap();
        sleep(SHORT * 6).await;
        assert!(peers.dropped.try_recv().is_err());
        drop(answer);
        peers.dropped.recv().await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_access_closes_idle_connections_and_cuts_busy_ones() {
        let (own, other) = (TestAuthority::new(), TestAuthority::new());
        let tls = watch::Sender::new(own.server(false, &[]));
        let access = || ClientAccess {
            tls: tls.subscribe(),
            authority: tls.borrow().client_authority.clone(),
            chain: own.client().chain,
            until: None,
        };
        let past = Some(jiff::Timestamp::UNIX_EPOCH);
        let expired = ClientAccess { until: past, ..access() };
        let idle = peers(PATIENT, 65_535, Some(expired)).await;
        idle.client.await.unwrap().unwrap();

        let times = ConnectionTimeouts { close: SHORT, ..PATIENT };
        let mut busy = peers(times, 65_535, Some(access())).await;
        let answer = ask(&mut busy.sender, "/mute").await.unwrap();
        tls.send_replace(other.server(false, &[]));
        assert!(busy.server.await.unwrap(), "it was cut");
        drop(answer);
    }

    #[tokio::test]
    async fn a_connection_that_takes_no_more_requests_ends() {
        let mut peers = peers(PATIENT, 65_535, None).await;
        let life = Arc::clone(&peers.life);
        assert!(!life.count_request());
        ask(&mut peers.sender, "/").await.unwrap();
        assert!(!peers.client.is_finished());
        assert!(life.count_request());
        peers.client.await.unwrap().unwrap();
        assert!(!peers.server.await.unwrap(), "closed, not cut");
    }

    #[tokio::test]
    async fn a_connection_ends_when_the_gateway_stops() {
        let peers = peers(PATIENT, 65_535, None).await;
        peers.stage.send_replace(Stage::Draining);
        peers.client.await.unwrap().unwrap();
    }
}
