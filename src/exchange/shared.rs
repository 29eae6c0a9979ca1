//! The state that all exchanges share, and the facts about a connection that a listener attaches to its requests.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota};
use jiff::Timestamp;
use tokio::sync::watch;
use ulid::Ulid;

use super::concurrency::ConcurrencyLimit;
use super::memory::{DEFAULT_MEMORY, MemoryBudget, memory_per_recipient};
use super::pages::opt_out_state::OptOut;
use super::{Refusal, Snapshot, cors};
use crate::access_log::AccessLog;
use crate::circumstances::CircumstanceCounter;
use crate::disclosure::questions::{self, Answer, AnswerCursor, LogExtent, LogQuestion, QuestionedLog};
use crate::disclosure::receipt::{self, ReceiptState};
use crate::disclosure::{self, FoundDecision, Log, LogSource, ReadError, SearchEffort};
use crate::keys::WebhookSecrets;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::scrub::Pseudonyms;
use crate::traces::Tracer;

/// Time for which notices delay the deletion of log secrets, unless the configuration says otherwise.
const DEFAULT_NOTICE_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Maximum number of decisions and receipts that are looked up at a time, and of those of one recipient.
const MAX_LOOKUPS: usize = 4;
const MAX_LOOKUPS_EACH: usize = 1;

/// Maximum number of requests to the feeds of notices that are answered at a time, and of those of one recipient.
const MAX_FEED_REQUESTS: usize = 4;
const MAX_FEED_REQUESTS_EACH: usize = 2;

/// The listener that a request came through. An extension of the request, set by the listener.
#[derive(Debug)]
pub struct ListenerContext {
    /// The authorities that are served. Empty: any well-formed authority.
    pub authorities: Vec<String>,
    /// Time for a request's body to arrive.
    pub request_timeout: Duration,
    /// Time from a request's head to the last byte of its response, unless the response may have no end.
    pub response_timeout: Duration,
    /// Lowest rate at which a request's body has to arrive, in bytes per second; 0: none.
    pub min_body_rate: usize,
    /// The limit of concurrent exchanges, of all recipients and of each.
    pub exchanges: Arc<ConcurrencyLimit<Arc<str>>>,
}

/// Default limit of concurrent exchanges of a listener.
pub const MAX_EXCHANGES: usize = 1024;

/// Default limit of concurrent exchanges of one recipient: a quarter of all.
pub fn exchanges_per_recipient(max_exchanges: usize) -> usize {
    max_exchanges.div_ceil(4)
}

impl Default for ListenerContext {
    fn default() -> Self {
        ListenerContext {
            authorities: Vec::new(),
            request_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(60 * 60),
            min_body_rate: 256,
            exchanges: ConcurrencyLimit::new(MAX_EXCHANGES, exchanges_per_recipient(MAX_EXCHANGES)),
        }
    }
}

/// The clock of exchanges: each takes the time at which it begins from here. Tests set it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeClock(fn() -> Timestamp);

impl ExchangeClock {
    /// Creates a clock that returns the result of a function.
    #[cfg(test)]
    pub(crate) fn new(now: fn() -> Timestamp) -> ExchangeClock {
        ExchangeClock(now)
    }

    /// Returns the present time.
    pub(crate) fn now(self) -> Timestamp {
        (self.0)()
    }
}

impl Default for ExchangeClock {
    fn default() -> ExchangeClock {
        ExchangeClock(Timestamp::now)
    }
}

/// The exchanges of which the disclosure log has an intent before the upstream sees the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntentPolicy {
    /// Those whose operation changes data: `collect`, `alter` and `destroy`.
    #[default]
    Changes,
    /// All.
    Always,
}

/// The state that all exchanges share.
#[derive(Debug)]
pub struct SharedState {
    snapshot: ArcSwap<Snapshot>,
    /// The ledger of consents, objections and requests.
    pub ledger: Arc<Ledger>,
    /// The disclosure log.
    pub log: Arc<Log>,
    /// The notices to recipients about data that were erased, corrected or restricted.
    pub notices: Arc<Notices>,
    /// The exchanges that have an intent on the log.
    pub(crate) intents: IntentPolicy,
    /// The clock of exchanges.
    pub(crate) clock: ExchangeClock,
    /// Counts the circumstances of records.
    pub circumstances: CircumstanceCounter,
    /// The disclosure logs of other gateways, which are only read.
    pub other_logs: Vec<LogSource>,
    /// The origins of logs that an operator has retired: answers are complete without them.
    pub retired_logs: Vec<String>,
    /// All metrics.
    pub metrics: Metrics,
    /// Bounds the decisions and receipts that recipients look up at a time: each look-up reads the log.
    pub(crate) lookups: Arc<ConcurrencyLimit<Arc<str>>>,
    /// Bounds the requests to the feeds of notices at a time: each occupies a thread. Look-ups do not count.
    pub(crate) feed_requests: Arc<ConcurrencyLimit<Arc<str>>>,
    /// The memory that exchanges may hold.
    pub memory: Arc<MemoryBudget>,
    /// The access log.
    pub access_log: AccessLog,
    /// The keys of pseudonymised values. Each recipient has its own.
    pub pseudonyms: Pseudonyms,
    /// The opt-out links of marketing e-mails.
    pub opt_out: OptOut,
    /// The secrets of webhooks whose configuration names none. `None`: such a webhook gets nothing.
    pub webhook_secrets: Option<WebhookSecrets>,
    /// The rate of preflights, which need no credential.
    pub(crate) preflights: DefaultDirectRateLimiter,
    /// Set if exchanges are traced.
    tracer: OnceLock<Arc<Tracer>>,
    /// True once responses without an end have to end.
    draining: watch::Sender<bool>,
    /// The context of requests that came through no listener of the gateway.
    default_listener: Arc<ListenerContext>,
}

impl SharedState {
    /// The state from its parts. Counters of everything that the snapshot names start at zero.
    pub fn new(
        snapshot: Snapshot,
        ledger: Arc<Ledger>,
        log: Arc<Log>,
        metrics: Metrics,
        pseudonyms: Pseudonyms,
        access_log: AccessLog,
        opt_out: OptOut,
    ) -> SharedState {
        start_at_zero(&metrics, &snapshot);
        report_observed(&snapshot, Timestamp::now());
        let held = metrics.held_bytes.clone();
        let memory = MemoryBudget::new(DEFAULT_MEMORY, memory_per_recipient(DEFAULT_MEMORY), held);
        let snapshot = ArcSwap::from_pointee(snapshot);
        let lookups = ConcurrencyLimit::new(MAX_LOOKUPS, MAX_LOOKUPS_EACH);
        let feed_requests = ConcurrencyLimit::new(MAX_FEED_REQUESTS, MAX_FEED_REQUESTS_EACH);
        let preflights = DefaultDirectRateLimiter::direct(Quota::per_second(cors::MAX_PREFLIGHTS_PER_SECOND));
        SharedState {
            snapshot,
            notices: Arc::new(Notices::new(Arc::clone(&ledger), DEFAULT_NOTICE_LIMIT)),
            ledger,
            log,
            intents: IntentPolicy::default(),
            webhook_secrets: None,
            clock: ExchangeClock::default(),
            circumstances: CircumstanceCounter::default(),
            other_logs: Vec::new(),
            retired_logs: Vec::new(),
            metrics,
            lookups,
            feed_requests,
            memory,
            pseudonyms,
            access_log,
            opt_out,
            preflights,
            tracer: OnceLock::new(),
            draining: watch::Sender::new(false),
            default_listener: Arc::default(),
        }
    }

    /// Sets the time after which the log secret of an erased person is deleted, whoever has not been told.
    #[must_use]
    pub fn with_notice_limit(self, limit: Duration) -> SharedState {
        let notices = Arc::new(Notices::new(Arc::clone(&self.ledger), limit));
        SharedState { notices, ..self }
    }

    /// Counts circumstances in a folder.
    #[must_use]
    pub fn with_circumstances(self, folder: PathBuf) -> SharedState {
        let failures = self.metrics.circumstances_write_failures.clone();
        SharedState { circumstances: CircumstanceCounter::start(folder, failures), ..self }
    }

    /// Adds the disclosure logs of other gateways.
    #[must_use]
    pub fn with_other_logs(self, other_logs: Vec<LogSource>) -> SharedState {
        SharedState { other_logs, ..self }
    }

    /// Sets the origins of logs that an operator has retired.
    #[must_use]
    pub fn with_retired_logs(self, retired_logs: Vec<String>) -> SharedState {
        SharedState { retired_logs, ..self }
    }

    /// Sets the exchanges that have an intent on the log.
    #[must_use]
    pub fn with_intents(self, intents: IntentPolicy) -> SharedState {
        SharedState { intents, ..self }
    }

    /// Sets the secrets of webhooks whose configuration names none.
    #[must_use]
    pub fn with_webhook_secrets(self, secrets: WebhookSecrets) -> SharedState {
        SharedState { webhook_secrets: Some(secrets), ..self }
    }

    /// Sets the memory that exchanges may hold, in total and of each recipient.
    #[must_use]
    pub fn with_memory(self, max: usize, max_each: usize) -> SharedState {
        let memory = MemoryBudget::new(max, max_each, self.metrics.held_bytes.clone());
        SharedState { memory, ..self }
    }

    /// Traces the exchanges that begin from now on. Has no effect if exchanges are traced already.
    pub fn trace(&self, tracer: Arc<Tracer>) {
        let _ = self.tracer.set(tracer);
    }

    /// Returns the tracer, if exchanges are traced.
    pub(super) fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.get()
    }

    /// Returns the exchange of a decision from the disclosure log, or else from those of other gateways: behind a load
    /// balancer, another gateway may have made the decision.
    ///
    /// # Errors
    /// [`ReadError`] if the exchange may be in a log that cannot be read, or that is not read to its end.
    pub(crate) async fn logged_decision(
        &self,
        id: String,
        effort: SearchEffort,
    ) -> Result<Option<FoundDecision>, ReadError> {
        // An exchange ends before its closing record is written. A caller who has seen the end expects the record.
        let flushed = self.flush_log().await;
        let folder = self.log.folder().to_owned();
        let (own, others) = (self.log.source().clone(), self.other_logs.clone());
        let look = move || {
            disclosure::find_decision(own.place(), true, others.iter().map(LogSource::place), &id, effort)
        };
        let interrupted = |error| ReadError::Io { path: folder, source: std::io::Error::other(error) };
        match tokio::task::spawn_blocking(look).await.map_err(interrupted)?? {
            Some(found) => Ok(Some(found)),
            // A record of it may wait.
            None => flushed.map(|()| None),
        }
    }

    /// Makes what was recorded readable.
    ///
    /// # Errors
    /// [`ReadError::Unwritten`] if records of what has left may wait in memory.
    pub(crate) async fn flush_log(&self) -> Result<(), ReadError> {
        self.log.flush().await.map_err(|_| ReadError::Unwritten(self.log.folder().to_owned()))
    }

    /// Answers a question to the disclosure logs of this gateway and of others.
    ///
    /// # Errors
    /// [`ReadError`] if no log can be read, or none of those in which the answer goes on.
    #[cfg_attr(not(feature = "gateway"), allow(dead_code, reason = "only the admin API asks"))]
    pub(crate) async fn ask_logs(
        &self,
        question: LogQuestion,
        cursor: AnswerCursor,
        limit: usize,
    ) -> Result<Answer, ReadError> {
        let flushed = self.flush_log().await;
        let (logs, ledger) = (self.questioned_logs(), Arc::clone(&self.ledger));
        let retired = self.retired_logs.clone();
        let answered = self.read_logs(move || {
            // Before the logs are read: a gateway may state meanwhile that its log has grown.
            let known = ledger.archive().known_logs();
            let mut answer = questions::answer(&question, &logs, &cursor, limit)?;
            match known {
                Ok(known) => {
                    let (known, now) = (known.without(&retired), Timestamp::now());
                    LogExtent::compare(&mut answer.logs, &known, question.since, now);
                }
                Err(error) => answer.logs.push(LogExtent::unreadable(&error)),
            }
            Ok(answer)
        });
        let mut answer = answered.await?;
        if let (Err(error), Some(own)) = (flushed, answer.logs.first_mut()) {
            own.fault.get_or_insert(error.to_string());
        }
        Ok(answer)
    }

    /// Proves that a decision is on record.
    ///
    /// # Errors
    /// [`ReadError`] if the decision may be in a log that cannot be read, or that is not read to its end.
    pub(crate) async fn receipt(
        &self,
        decision: Ulid,
        effort: SearchEffort,
    ) -> Result<ReceiptState, ReadError> {
        let flushed = self.flush_log().await;
        let logs = self.questioned_logs();
        match self.read_logs(move || receipt::find(&logs, decision, effort)).await? {
            ReceiptState::Unknown => flushed.map(|()| ReceiptState::Unknown),
            found => Ok(found),
        }
    }

    /// True if a log has deleted the day of a decision.
    ///
    /// # Errors
    /// [`ReadError`] if a log cannot be read.
    pub(crate) async fn is_pruned(&self, decision: Ulid) -> Result<bool, ReadError> {
        let logs = self.questioned_logs();
        self.read_logs(move || receipt::is_pruned(&logs, decision)).await
    }

    /// Reads logs on a thread of its own: they can be long.
    async fn read_logs<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let path = self.log.folder().to_owned();
        let interrupted = |error| ReadError::Io { path, source: std::io::Error::other(error) };
        tokio::task::spawn_blocking(read).await.map_err(interrupted)?
    }

    fn questioned_logs(&self) -> Vec<QuestionedLog> {
        let questioned = |(number, log): (usize, &LogSource)| QuestionedLog {
            folder: log.folder().to_owned(),
            index: log.index().map(Path::to_owned),
            running: number == 0 || disclosure::is_running(log.folder()),
        };
        [self.log.source()].into_iter().chain(&self.other_logs).enumerate().map(questioned).collect()
    }

    /// Ends responses that may have no end: server-sent events end regularly, other streams are cut when their upstream
    /// pauses. Call it when no new requests are accepted; exchanges with an end are not affected.
    pub fn begin_drain(&self) {
        self.draining.send_replace(true);
    }

    /// Becomes true when [`SharedState::begin_drain`] is called.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Returns the listener that a request came through. Requests through no listener of the gateway share one context.
    pub(crate) fn listener(&self, extensions: &http::Extensions) -> Arc<ListenerContext> {
        Arc::clone(extensions.get().unwrap_or(&self.default_listener))
    }

    /// Replaces the snapshot for requests that begin from now on. Exchanges under way keep theirs.
    pub fn replace_snapshot(&self, snapshot: Snapshot) {
        start_at_zero(&self.metrics, &snapshot);
        report_observed(&snapshot, self.clock.now());
        snapshot.routes.continue_surveys(&self.snapshot.load().routes);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Returns the snapshot for a request that begins now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}

/// Logs which routes withhold nothing, and until when.
fn report_observed(snapshot: &Snapshot, now: Timestamp) {
    for route in snapshot.routes.iter().filter(|route| route.observes(now)) {
        let until = route.observe_until.map(|until| until.to_string()).unwrap_or_default();
        tracing::warn!(route = %route.name, until, "the route is observed: nothing is withheld from employees and contractors");
    }
}

/// Starts the counters of everything that the snapshot names.
fn start_at_zero(metrics: &Metrics, snapshot: &Snapshot) {
    let of_upstreams = snapshot
        .routes
        .iter()
        .flat_map(|route| Refusal::OF_UPSTREAM.iter().map(move |refusal| (&*route.upstream, refusal.code())));
    let routes = snapshot.routes.iter().map(|route| &*route.name);
    metrics.start_at_zero(Refusal::codes(), of_upstreams, routes, crate::ledger::KINDS);
}
