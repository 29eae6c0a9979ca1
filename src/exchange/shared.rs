//! State that all exchanges share.

use std::fmt::{self, Debug, Formatter};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota};
use tokio::sync::Semaphore;

use super::concurrency::{ConcurrencyLimit, ConcurrencyPermit, LimitReached};
use super::pages::opt_out::OptOut;
use super::{Refusal, Snapshot, cors};
use crate::access_log::AccessLog;
use crate::disclosure::Log;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::scrub::Pseudonyms;

/// How many decisions recipients look up at a time.
const MAX_LOOKUPS: usize = 2;

/// How a request came in: an extension of the request, set by the listener.
#[derive(Debug)]
pub struct ListenerContext {
    /// The authorities that are served; empty: any one well-formed authority.
    pub authorities: Vec<String>,
    /// Time for a request's body to arrive.
    pub request_timeout: Duration,
    /// The exchanges that may be under way at a time: of all recipients, and of each.
    pub exchanges: Arc<ConcurrencyLimit<Arc<str>>>,
}

/// Exchanges of a listener at a time where nothing is configured.
pub const MAX_EXCHANGES: usize = 1024;

/// The exchanges of one recipient at a time where nothing else is configured: a quarter of all.
pub fn exchanges_per_recipient(max_exchanges: usize) -> usize {
    max_exchanges.div_ceil(4)
}

impl ListenerContext {
    /// A place for one more exchange of a recipient.
    pub(crate) fn begin(&self, recipient: &Arc<str>) -> Result<ConcurrencyPermit<Arc<str>>, Refusal> {
        Ok(self.exchanges.acquire(recipient)?)
    }
}

impl From<LimitReached> for Refusal {
    fn from(full: LimitReached) -> Self {
        match full {
            LimitReached::Total => Refusal::Overloaded,
            LimitReached::PerHolder => Refusal::TooManyRequests,
        }
    }
}

impl Default for ListenerContext {
    fn default() -> Self {
        ListenerContext {
            authorities: Vec::new(),
            request_timeout: Duration::from_secs(30),
            exchanges: ConcurrencyLimit::new(MAX_EXCHANGES, exchanges_per_recipient(MAX_EXCHANGES)),
        }
    }
}

/// The other end of a request's connection: an extension of the request, set by the listener.
#[derive(Clone, Copy)]
pub struct Peer {
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

/// Without the address, which may be a person's.
impl Debug for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("encrypted", &self.encrypted).finish_non_exhaustive()
    }
}

/// What all exchanges share.
#[derive(Debug)]
pub struct SharedState {
    snapshot: ArcSwap<Snapshot>,
    pub ledger: Arc<Ledger>,
    pub log: Arc<Log>,
    pub metrics: Metrics,
    /// How many decisions recipients look up at a time: each reads the log.
    pub(crate) lookups: Semaphore,
    pub access_log: AccessLog,
    /// What pseudonymised fields leave as; each recipient has its own.
    pub pseudonyms: Pseudonyms,
    /// The way out that stands in marketing e-mails.
    pub opt_out: OptOut,
    /// Preflights over time: they need no credential.
    pub(crate) preflights: DefaultDirectRateLimiter,
    /// What holds for a request that came in through no listener of the gateway.
    listening: Arc<ListenerContext>,
}

impl SharedState {
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
        let snapshot = ArcSwap::from_pointee(snapshot);
        let lookups = Semaphore::new(MAX_LOOKUPS);
        let preflights = DefaultDirectRateLimiter::direct(Quota::per_second(cors::MAX_PREFLIGHTS_PER_SECOND));
        SharedState {
            snapshot,
            ledger,
            log,
            metrics,
            lookups,
            pseudonyms,
            access_log,
            opt_out,
            preflights,
            listening: Arc::default(),
        }
    }

    /// How a request came in. Those that came through no listener of the gateway share one bound.
    pub(crate) fn listener(&self, extensions: &http::Extensions) -> Arc<ListenerContext> {
        Arc::clone(extensions.get().unwrap_or(&self.listening))
    }

    /// What requests are judged by from now on. Exchanges under way keep what they began with.
    pub fn replace_snapshot(&self, snapshot: Snapshot) {
        start_at_zero(&self.metrics, &snapshot);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// What a request that begins now is judged by.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}

/// Counters of everything that the snapshot names.
fn start_at_zero(metrics: &Metrics, snapshot: &Snapshot) {
    let of_upstreams = snapshot
        .routes
        .iter()
        .flat_map(|route| Refusal::OF_UPSTREAM.iter().map(move |refusal| (&*route.upstream, refusal.code())));
    let codes = Refusal::ALL.iter().map(|refusal| refusal.code());
    metrics.start_at_zero(codes, of_upstreams, snapshot.routes.iter().map(|route| &*route.name));
}
