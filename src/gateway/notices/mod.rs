//! Tells recipients of erasures, corrections and restrictions of what they received (GDPR Art. 19), and deletes the log secrets
//! of erased people.
//!
//! Three tasks do what [`Notices`] says is due: one reads the ledger's events and states how far the own log is complete, one
//! searches the logs for inquiries, one sends requests, to each recipient one at a time. So a recipient that does not answer
//! delays neither the others nor a search. Invariants: what another gateway has claimed is left to it; a request that fails is
//! repeated; nothing about a person is logged.

mod delivery;
mod inquiry;
mod naming;
mod own_log;
mod search;
mod webhook;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;

use self::own_log::OwnLog;
pub(super) use self::own_log::state_size;
use crate::exchange::{SharedState, Snapshot};
use crate::ledger::{AppendError, StoreError};
use crate::log_limit::LogLimit;
use crate::notices::Notices;

/// Time between two looks at what is due.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time after which open notices are counted again if this gateway has changed some, and in any case.
const COUNT_AFTER_CHANGE: Duration = Duration::from_secs(5);
const COUNT_INTERVAL: Duration = Duration::from_secs(60);

/// The tasks. They end when this is dropped: whatever they have claimed is done later, by this gateway or another one.
#[derive(Debug)]
pub(super) struct NoticeTask {
    _tasks: JoinSet<()>,
}

/// An error that leaves a step to be done again.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("a task ended early")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("the own disclosure log cannot be read")]
    Read(#[from] crate::disclosure::ReadError),
    #[error("the disclosure log cannot be written")]
    Log,
}

impl DeliveryError {
    /// Logs that a step is repeated.
    fn report(&self) {
        static FAILURES: LogLimit = LogLimit::new();
        if let Some(count) = FAILURES.admit() {
            let error = self as &dyn std::error::Error;
            tracing::warn!(count, error, "notices to recipients wait: a step failed and is repeated");
        }
    }
}

impl NoticeTask {
    /// Starts the tasks. Events that are recorded from now on are told.
    pub(super) async fn start(shared: Arc<SharedState>) -> NoticeTask {
        let watched = blocking(&shared, |_, notices| notices.watch(notices.now()?)).await;
        if let Err(error) = watched {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "the ledger's store does not answer: corrections and restrictions are told from its first answer on, those before only if an earlier start has begun to tell"
            );
        }
        let mut watch =
            Watch { shared: Arc::clone(&shared), own: OwnLog::default(), snapshot: None, counted: None };
        // Before the first exchange, so that its name is known to be the present one.
        if let Err(error) = watch.own.state(&shared).await {
            error.report();
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { watch.run().await });
        tasks.spawn(inquiry::run(Arc::clone(&shared)));
        tasks.spawn(delivery::run(shared));
        NoticeTask { _tasks: tasks }
    }
}

/// Watches events, the configuration and the own log.
struct Watch {
    shared: Arc<SharedState>,
    own: OwnLog,
    /// The configuration whose channels the open notices have.
    snapshot: Option<Arc<Snapshot>>,
    /// The time of the last count.
    counted: Option<Instant>,
}

impl Watch {
    async fn run(&mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let outcomes = [
                self.look().await,
                self.own.state(&self.shared).await,
                self.own.state_size(&self.shared).await,
            ];
            for outcome in outcomes {
                if let Err(error) = outcome {
                    error.report();
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), DeliveryError> {
        let snapshot = self.shared.snapshot();
        let is_new = self.snapshot.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &snapshot));
        let present = Arc::clone(&snapshot);
        let is_counted_within = |time| self.counted.is_some_and(|counted: Instant| counted.elapsed() < time);
        let (is_recent, is_late) =
            (is_counted_within(COUNT_AFTER_CHANGE), !is_counted_within(COUNT_INTERVAL));
        let has_counted = blocking(&self.shared, move |shared, notices| {
            let now = notices.count_time()?;
            notices.watch(now)?;
            if is_new {
                notices.revisit(|notice| delivery::channel(&present, notice), now)?;
            }
            let counts = is_late || (!is_recent && notices.take_changed());
            if counts {
                count(shared, notices, now)?;
            }
            Ok(counts)
        });
        if has_counted.await? {
            self.counted = Some(Instant::now());
        }
        self.snapshot = Some(snapshot);
        Ok(())
    }
}

fn count(shared: &SharedState, notices: &Notices, now: Timestamp) -> Result<(), StoreError> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let counts = notices.count(now)?;
    shared.metrics.notices_open.set(number(counts.open));
    shared.metrics.notices_overdue.set(number(counts.overdue));
    shared.metrics.notice_searches_incomplete.set(number(notices.count_incomplete()?));
    Ok(())
}

/// Runs something that blocks.
async fn blocking<T: Send + 'static>(
    shared: &Arc<SharedState>,
    run: impl FnOnce(&SharedState, &Notices) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, DeliveryError> {
    let shared = Arc::clone(shared);
    Ok(tokio::task::spawn_blocking(move || run(&shared, &shared.notices)).await??)
}
