//! How long a connection may go on: until it has been idle for too long, until the credential that let it
//! in ends, until the gateway stops.
//!
//! hyper has no idle timer for HTTP/2 and asks a body for nothing while its stream's window is shut, however
//! long that takes and however many pings are answered. So each stream runs as a task that knows when its
//! recipient last took something.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use hyper_util::server::graceful::GracefulConnection;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{ClientAuthority, TlsServer};

/// From the connection to the end of a request's head, and between two requests.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// For a recipient to take what is written, be it a byte: who takes nothing is gone.
pub(super) const STALL_TIME: Duration = Duration::from_secs(120);

/// Longest wait before the wall clock is looked at again: it may have been set meanwhile.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionTimeouts {
    /// Without a stream, before the first one (HTTP/2).
    pub(super) first: Duration,
    /// Without a stream, after one (HTTP/2).
    pub(super) idle: Duration,
    /// From the request to end to the cut.
    pub(super) close: Duration,
    /// For a recipient to take what a stream offers (HTTP/2).
    pub(super) stall: Duration,
}

impl Default for ConnectionTimeouts {
    fn default() -> Self {
        ConnectionTimeouts {
            first: HEAD_TIME,
            idle: Duration::from_secs(60),
            close: Duration::from_secs(10),
            stall: STALL_TIME,
        }
    }
}

/// What ends a connection from outside.
#[derive(Debug)]
pub(super) struct CloseConditions {
    /// Set where the gateway stops.
    pub(super) stop: watch::Receiver<bool>,
    /// When the client's certificate ends.
    pub(super) until: Option<Timestamp>,
    /// Whose client certificates are accepted now.
    pub(super) tls: Option<watch::Receiver<TlsServer>>,
    /// Whose were accepted when the connection began.
    pub(super) authority: Option<ClientAuthority>,
    /// Whether the client presented a certificate.
    pub(super) presented: bool,
}

/// Drives a connection to its end; `None` where it had to be cut.
// Not an `async fn`: the compiler proves `Send` for this signature, and not for the types of every caller.
#[allow(clippy::manual_async_fn)]
pub(super) fn drive<C>(
    connection: C,
    ends: CloseConditions,
    streams: Option<StreamExecutor>,
    times: ConnectionTimeouts,
) -> impl Future<Output = Option<Result<(), C::Error>>> + Send
where
    C: GracefulConnection + Send,
    C::Error: Send,
{
    async move { drive_to_end(connection, ends, streams, times).await }
}

async fn drive_to_end<C: GracefulConnection>(
    connection: C,
    ends: CloseConditions,
    streams: Option<StreamExecutor>,
    times: ConnectionTimeouts,
) -> Option<Result<(), C::Error>> {
    let CloseConditions { mut stop, until, tls, authority, presented } = ends;
    let mut connection = pin!(connection);
    let mut access_ends = pin!(async {
        tokio::select! {
            () = ended(until, Timestamp::now) => {}
            () = replaced(tls, authority, presented) => {}
        }
    });
    let mut is_over = false;
    tokio::select! {
        ended = connection.as_mut() => return Some(ended),
        _ = stop.wait_for(|stop| *stop) => {}
        () = access_ends.as_mut() => is_over = true,
        () = idle(streams.clone(), times) => {}
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
        () = abandoned(streams, times) => None,
    }
}

/// Returns when an HTTP/2 connection has been without a stream for too long. hyper times HTTP/1.1 itself.
async fn idle(streams: Option<StreamExecutor>, times: ConnectionTimeouts) {
    match streams {
        Some(streams) => streams.idle(times).await,
        None => pending().await,
    }
}

/// Returns when a connection that was told to end has had no stream for the time to do so.
async fn abandoned(streams: Option<StreamExecutor>, times: ConnectionTimeouts) {
    let Some(streams) = streams else { return pending().await };
    loop {
        streams.clone().idle(times).await;
        sleep(times.close).await;
        // A request may have come in meanwhile.
        if streams.idle_from(times).is_some() {
            return;
        }
    }
}

/// Returns at an instant of the wall clock.
async fn ended(until: Option<Timestamp>, now: impl Fn() -> Timestamp) {
    let Some(until) = until else { return pending().await };
    loop {
        match Duration::try_from(until.duration_since(now())) {
            Ok(left) if !left.is_zero() => sleep(left.min(CLOCK_CHECK)).await,
            _ => return,
        }
    }
}

/// Returns when a reload no longer accepts what let a connection in.
async fn replaced(
    tls: Option<watch::Receiver<TlsServer>>,
    authority: Option<ClientAuthority>,
    presented: bool,
) {
    let Some(mut tls) = tls else { return pending().await };
    let digest = |authority: &Option<ClientAuthority>| authority.as_ref().map(|authority| authority.digest);
    while tls.changed().await.is_ok() {
        let now = &tls.borrow_and_update().client_authority;
        let stands = match presented {
            true => digest(now) == digest(&authority),
            false => now.as_ref().is_none_or(|now| !now.required),
        };
        if !stands {
            return;
        }
    }
    pending().await
}

/// Runs the streams of one HTTP/2 connection, and knows whether there are any.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    activity: Arc<StreamActivity>,
    stall: Duration,
}

#[derive(Debug)]
struct StreamActivity {
    clock: MillisecondClock,
    under_way: AtomicUsize,
    /// When the last one ended; zero before the first.
    ended: AtomicU64,
}

/// A stream under way.
struct ActiveStream(Arc<StreamActivity>);

tokio::task_local! {
    /// The flow of the stream that a task runs.
    static STALL_DETECTOR: Arc<StallDetector>;
}

impl StreamExecutor {
    pub(super) fn new(times: ConnectionTimeouts) -> StreamExecutor {
        let activity = StreamActivity {
            clock: MillisecondClock::new(),
            under_way: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
        };
        StreamExecutor { activity: Arc::new(activity), stall: times.stall }
    }

    /// Returns when there has been no stream for too long.
    async fn idle(self, times: ConnectionTimeouts) {
        loop {
            match self.idle_from(times) {
                None => sleep(times.idle).await,
                Some(from) if from <= Instant::now() => return,
                // A stream that comes and ends meanwhile begins the shorter time.
                Some(from) => sleep_until(from.min(Instant::now() + times.idle)).await,
            }
        }
    }

    /// From when on it will have been idle for too long; `None` while there is a stream.
    fn idle_from(&self, times: ConnectionTimeouts) -> Option<Instant> {
        let StreamActivity { clock, under_way, ended } = &*self.activity;
        match (under_way.load(Ordering::Acquire), ended.load(Ordering::Acquire)) {
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
        let (flow, stall) = (Arc::new(StallDetector::new()), self.stall);
        self.activity.under_way.fetch_add(1, Ordering::AcqRel);
        let under_way = ActiveStream(Arc::clone(&self.activity));
        tokio::spawn(STALL_DETECTOR.scope(Arc::clone(&flow), async move {
            let _under_way = under_way;
            tokio::select! {
                biased;
                () = stream => {}
                // Dropped before its end, hyper's future resets the stream.
                () = flow.stalls(stall) => tracing::debug!("stream reset: its recipient takes nothing"),
            }
        }));
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        let StreamActivity { clock, under_way, ended } = &*self.0;
        ended.store(clock.now(), Ordering::Release);
        under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether what a stream offers is taken.
#[derive(Debug)]
struct StallDetector {
    clock: MillisecondClock,
    /// Since when something is offered; zero where it was taken.
    offered: AtomicU64,
}

impl StallDetector {
    fn new() -> StallDetector {
        StallDetector { clock: MillisecondClock::new(), offered: AtomicU64::new(0) }
    }

    /// Returns when nothing of what is offered was taken for that long.
    async fn stalls(&self, limit: Duration) {
        loop {
            match self.offered.load(Ordering::Acquire) {
                0 => sleep(limit).await,
                since if self.clock.at(since) + limit <= Instant::now() => return,
                since => sleep_until(self.clock.at(since) + limit).await,
            }
        }
    }
}

/// Milliseconds after a start, from one on, so that zero can stand for "not".
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

/// A body that tells its stream when something of it is offered, and when it was taken.
#[derive(Debug)]
pub(super) struct StallReportingBody<B> {
    body: B,
    flow: Option<Arc<StallDetector>>,
}

impl<B> StallReportingBody<B> {
    /// The body of a stream, where this is called by one; else it only passes.
    pub(super) fn new(body: B) -> StallReportingBody<B> {
        StallReportingBody { body, flow: STALL_DETECTOR.try_with(Arc::clone).ok() }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for StallReportingBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let StallReportingBody { body, flow } = self.get_mut();
        let polled = Pin::new(body).poll_frame(context);
        if let Some(flow) = flow {
            // hyper asks again when the window had room for some of the last frame.
            let offered = matches!(polled, Poll::Ready(Some(Ok(_))));
            flow.offered.store(if offered { flow.clock.now() } else { 0 }, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::{BodyExt, Either, Empty, StreamBody};
    use hyper::body::Incoming;
    use hyper::client::conn::http2::{self as client, SendRequest};
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    /// Longer than any test takes.
    const NEVER: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);
    const PATIENT: ConnectionTimeouts =
        ConnectionTimeouts { first: NEVER, idle: NEVER, close: NEVER, stall: NEVER };

    type Sender = SendRequest<Empty<Bytes>>;

    struct Peers {
        sender: Sender,
        /// Ends when the server closes; the client answers pings and does nothing else.
        client: tokio::task::JoinHandle<hyper::Result<()>>,
        server: tokio::task::JoinHandle<bool>,
        /// A body of a server's answer was dropped.
        dropped: mpsc::UnboundedReceiver<()>,
        stop: watch::Sender<bool>,
    }

    /// Tells when it is dropped.
    struct Dropped(mpsc::UnboundedSender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    /// A server whose `/endless` has no end, and whose `/mute` never begins its body.
    async fn peers(
        times: ConnectionTimeouts,
        window: u32,
        change: impl FnOnce(&mut CloseConditions),
    ) -> Peers {
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
        let stop = watch::Sender::new(false);
        let mut ends = CloseConditions {
            stop: stop.subscribe(),
            until: None,
            tls: None,
            authority: None,
            presented: false,
        };
        change(&mut ends);
        let server = async move { drive(connection, ends, Some(streams), times).await.is_none() };
        let server = tokio::spawn(server);
        let (sender, connection) = client::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(far))
            .await
            .unwrap();
        Peers { sender, client: tokio::spawn(connection), server, dropped, stop }
    }

    async fn ask(sender: &mut Sender, path: &str) -> hyper::Result<Response<Incoming>> {
        sender.ready().await?;
        let uri = format!("http://gate.example{path}");
        sender.send_request(Request::get(uri).body(Empty::new()).unwrap()).await
    }

    #[tokio::test]
    async fn a_connection_without_streams_ends_though_pings_are_answered() {
        // Before the first request, and after one.
        let never_asked = peers(ConnectionTimeouts { first: SHORT, ..PATIENT }, 65_535, |_| {}).await;
        assert!(!never_asked.server.await.unwrap(), "it ended by itself");
        never_asked.client.await.unwrap().unwrap();

        let mut asked = peers(ConnectionTimeouts { idle: SHORT, ..PATIENT }, 65_535, |_| {}).await;
        ask(&mut asked.sender, "/").await.unwrap();
        asked.client.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stream_under_way_keeps_its_connection() {
        let times = ConnectionTimeouts { first: SHORT, idle: SHORT, close: SHORT, ..PATIENT };
        let mut peers = peers(times, 65_535, |_| {}).await;
        let answer = ask(&mut peers.sender, "/mute").await.unwrap();
        sleep(SHORT * 6).await;
        assert!(!peers.client.is_finished());
        drop(answer);
        peers.client.await.unwrap().unwrap();
        peers.dropped.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_whose_window_stays_shut_is_reset_alone() {
        let mut peers = peers(ConnectionTimeouts { stall: SHORT, ..PATIENT }, 0, |_| {}).await;
        let answer = ask(&mut peers.sender, "/endless").await.unwrap();
        peers.dropped.recv().await.unwrap();
        assert!(answer.into_body().collect().await.is_err(), "it was reset");
        assert!(ask(&mut peers.sender, "/").await.unwrap().status().is_success(), "the connection goes on");
    }

    /// A body that waits for its upstream is not its recipient's fault.
    #[tokio::test]
    async fn a_stream_that_offers_nothing_is_not_reset() {
        let mut peers = peers(ConnectionTimeouts { stall: SHORT, ..PATIENT }, 0, |_| {}).await;
        let answer = ask(&mut peers.sender, "/mute").await.unwrap();
        sleep(SHORT * 6).await;
        assert!(peers.dropped.try_recv().is_err());
        drop(answer);
        peers.dropped.recv().await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_a_certificate_ends_idle_connections_and_cuts_busy_ones() {
        let past = Some(Timestamp::UNIX_EPOCH);
        let idle = peers(PATIENT, 65_535, |ends| ends.until = past).await;
        idle.client.await.unwrap().unwrap();

        let (go, told) = oneshot::channel::<()>();
        let tls = watch::Sender::new(server([1; 32], false));
        let times = ConnectionTimeouts { close: SHORT, ..PATIENT };
        let mut busy = peers(times, 65_535, |ends| {
            ends.authority = tls.borrow().client_authority.clone();
            ends.tls = Some(tls.subscribe());
            ends.presented = true;
        })
        .await;
        let answer = ask(&mut busy.sender, "/mute").await.unwrap();
        tokio::spawn(async move {
            told.await.unwrap();
            tls.send_replace(server([1; 32], true));
            tls.send_replace(server([2; 32], false));
            // As long as the connection lasts.
            tls.closed().await;
        });
        go.send(()).unwrap();
        assert!(busy.server.await.unwrap(), "it was cut");
        drop(answer);
    }

    #[tokio::test]
    async fn a_connection_ends_where_the_gateway_stops() {
        let peers = peers(PATIENT, 65_535, |_| {}).await;
        peers.stop.send_replace(true);
        peers.client.await.unwrap().unwrap();
    }

    fn server(digest: [u8; 32], required: bool) -> TlsServer {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        let client_authority = Some(ClientAuthority { digest, required });
        TlsServer { config: Arc::new(config), client_authority }
    }

    #[tokio::test]
    async fn a_reload_ends_what_it_no_longer_lets_in_and_nothing_else() {
        let begun = server([1; 32], false);
        for (presented, digest, required, ends) in
            [(true, 1, true, false), (true, 2, false, true), (false, 2, false, false), (false, 1, true, true)]
        {
            let tls = watch::Sender::new(begun.clone());
            let mut replaced =
                pin!(replaced(Some(tls.subscribe()), begun.client_authority.clone(), presented));
            assert!(futures_util::poll!(replaced.as_mut()).is_pending());
            tls.send_replace(server([digest; 32], required));
            assert_eq!(
                futures_util::poll!(replaced.as_mut()).is_ready(),
                ends,
                "{presented} {digest} {required}"
            );
        }
    }

    #[tokio::test]
    async fn an_end_is_one_of_the_wall_clock() {
        let at = |second| Timestamp::from_second(second).unwrap();
        ended(Some(at(100)), || at(100)).await;
        let mut later = pin!(ended(Some(at(100)), || at(99)));
        assert!(futures_util::poll!(later.as_mut()).is_pending());
        let mut never = pin!(ended(None, || at(100)));
        assert!(futures_util::poll!(never.as_mut()).is_pending());
    }
}
