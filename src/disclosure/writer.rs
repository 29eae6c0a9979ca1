//! One thread that writes records to disk in order, in batches.
//!
//! Invariants: no record is acknowledged before it is durable; what is published is durable before; a name that an entry
//! refers to is in the log before the entry.
//!
//! A failed write is rolled back. Records that somebody waits for then fail, the others are kept, and the thread
//! retries until it succeeds. If a write cannot be rolled back, or written records may not be durable, nothing is
//! written any more and every queued record fails. A publication that fails loses nothing: it is repeated.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::entry_writer::EntryWriter;
use super::log_state::LogState;
use super::queue::{LogError, QueuedRecord, Wake};
use super::record::Record;
use super::storage::{PublishedCheckpoint, WriteFailure};
use crate::log_limit::LogLimit;

/// Maximum time between a write and its sync if no sender waits for the records.
const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// Time between two looks at the queue while there is traffic and nobody waits. Waking the thread for each record costs
/// more than writing the record.
const LINGER: Duration = Duration::from_millis(5);

/// Maximum time between a write and its publication. A bundle that is full is published as soon as it is durable.
const PUBLICATION_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum time after which the thread of an idle log checks whether the day is over: the clock may have been set.
const IDLE_WAIT: Duration = Duration::from_secs(60 * 60);

/// Time before the first retry of a failed write. It doubles with each retry, up to [`MAX_RETRY_WAIT`].
const RETRY_WAIT: Duration = Duration::from_millis(250);
const MAX_RETRY_WAIT: Duration = Duration::from_secs(2);

/// Returns the current time.
pub(super) type Clock = fn() -> Timestamp;

/// The state of the thread.
pub(super) struct LogThread {
    writer: EntryWriter,
    clock: Clock,
    checkpoints: watch::Sender<Option<Arc<PublishedCheckpoint>>>,
    state: Arc<LogState>,
    /// The first write that is not synced yet.
    unsynced: Option<Instant>,
    /// The last write.
    written: Instant,
    /// The last attempt to publish everything.
    published: Instant,
    /// The first publication that was begun since a checkpoint was handed on.
    planned: Option<Instant>,
}

/// A permanent failure, with the records that were not answered yet.
type FatalFailure = (io::Error, Vec<QueuedRecord>);

/// Closes the queue when the thread ends, also by a panic: whoever waits for a record would wait for ever. Nothing is written
/// any more, so the log has failed.
struct CloseQueue(Arc<LogState>);

impl Drop for CloseQueue {
    fn drop(&mut self) {
        self.0.set_failed();
        self.0.queue.close();
    }
}

impl LogThread {
    pub(super) fn new(
        writer: EntryWriter,
        clock: Clock,
        checkpoints: watch::Sender<Option<Arc<PublishedCheckpoint>>>,
        state: Arc<LogState>,
    ) -> LogThread {
        let now = Instant::now();
        let (unsynced, planned, written, published) = (None, None, now, now);
        let mut thread =
            LogThread { writer, clock, checkpoints, state, unsynced, written, published, planned };
        thread.publish();
        thread
    }

    /// Writes until the log is dropped. After a permanent failure every record fails.
    pub(super) fn run(mut self) {
        let state = Arc::clone(&self.state);
        let _close = CloseQueue(Arc::clone(&state));
        let (error, mut records) = match self.serve() {
            Ok(()) => match self.finish() {
                Ok(()) => return,
                Err(error) => (error, Vec::new()),
            },
            Err(failure) => failure,
        };
        state.set_failed();
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the disclosure log has failed: nothing personal leaves until the gateway is restarted"
        );
        // Records were queued before their senders saw the failure.
        loop {
            acknowledge(&state, &mut records, Err(LogError));
            if state.queue.take(&mut records, IDLE_WAIT, Wake::AnyRecord) {
                return acknowledge(&state, &mut records, Err(LogError));
            }
        }
    }

    fn serve(&mut self) -> Result<(), FatalFailure> {
        let state = Arc::clone(&self.state);
        let mut records = Vec::new();
        loop {
            let (wait, wake) = self.next_wait();
            let mut stop = state.queue.take(&mut records, wait, wake);
            add_dropped(&state, &mut records);
            let is_idle = records.is_empty() && self.unsynced.is_none();
            match self.write(&records, is_idle) {
                Ok(()) => {}
                Err(WriteFailure::Permanent(error)) => return Err((error, records)),
                Err(WriteFailure::RolledBack(error)) if is_idle && !stop => {
                    self.put_off(&error);
                    continue;
                }
                Err(WriteFailure::RolledBack(error)) => stop |= self.pause(&error, &mut records)?,
            }
            let written = records.iter().filter(|record| record.record.is_some()).count();
            if written > 0 {
                state.count_written(written);
                self.written = Instant::now();
                self.unsynced.get_or_insert(self.written);
                state.set_uncovered(self.written);
            }
            if let Err(error) = self.sync_if_due(records.iter().any(|record| record.acknowledge.is_some())) {
                return Err((error, records));
            }
            acknowledge(&state, &mut records, Ok(()));
            if stop {
                return Ok(());
            }
            if let Err(error) = self.publish_if_due() {
                return Err((error, records));
            }
        }
    }

    /// Notes that a day could not begin while no record waits. The next record, or the next attempt to publish, repeats what
    /// failed.
    fn put_off(&mut self, error: &io::Error) {
        static FAILED: LogLimit = LogLimit::new();
        self.published = Instant::now();
        if let Some(count) = FAILED.admit() {
            tracing::warn!(
                count,
                error = error as &dyn std::error::Error,
                "a new day of the disclosure log cannot begin"
            );
        }
    }

    /// Returns how long to wait for records, and for which.
    fn next_wait(&self) -> (Duration, Wake) {
        if self.unsynced.is_some() || self.written.elapsed() < SYNC_INTERVAL {
            (LINGER, Wake::AwaitedRecord)
        } else if self.writer.is_publishing()
            && self.planned.is_some_and(|since| since.elapsed() < SYNC_INTERVAL)
        {
            (LINGER, Wake::AnyRecord)
        } else if self.writer.unpublished() > 0 {
            (PUBLICATION_INTERVAL.saturating_sub(self.published.elapsed()), Wake::AnyRecord)
        } else {
            // A log without the day would count as one that ends the day before.
            let rest = self.writer.time_to_next_day((self.clock)());
            (rest.clamp(PUBLICATION_INTERVAL, IDLE_WAIT), Wake::AnyRecord)
        }
    }

    fn write(&mut self, records: &[QueuedRecord], is_idle: bool) -> Result<(), WriteFailure> {
        if is_idle || records.iter().any(|record| record.record.is_some()) {
            self.writer.write(queued(records), (self.clock)())?;
        }
        Ok(())
    }

    fn sync_if_due(&mut self, is_awaited: bool) -> io::Result<()> {
        if is_awaited || self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL) {
            self.writer.sync()?;
            self.unsynced = None;
        }
        Ok(())
    }

    /// Begins to publish what is durable, and hands on what was published. After a failure it is tried again at the next
    /// interval.
    fn publish_if_due(&mut self) -> io::Result<()> {
        if self.writer.unpublished() > 0 && self.published.elapsed() >= PUBLICATION_INTERVAL {
            // A checkpoint that survives a power failure must not cover entries that do not.
            self.sync_if_due(self.unsynced.is_some())?;
            self.published = Instant::now();
            self.planned.get_or_insert(self.published);
            self.writer.publish_later().unwrap_or_else(|error| warn_unpublished(&error));
        } else if self.unsynced.is_none() && self.writer.has_full_bundle() {
            self.planned.get_or_insert_with(Instant::now);
            self.writer.publish_bundles_later().unwrap_or_else(|error| warn_unpublished(&error));
        }
        if let Some(checkpoint) = self.writer.take_published() {
            self.hand_on(checkpoint);
        }
        Ok(())
    }

    /// Publishes what is durable, and waits for it.
    fn publish(&mut self) {
        self.published = Instant::now();
        match self.writer.publish() {
            Ok(checkpoint) => self.hand_on(checkpoint),
            Err(error) => warn_unpublished(&error),
        }
    }

    fn hand_on(&mut self, checkpoint: PublishedCheckpoint) {
        // Without the open bundle, what was written since the last attempt to publish everything may not be covered.
        let covered = self.planned.take().map(|planned| planned.min(self.published));
        self.state.set_covered(covered.filter(|_| self.writer.unpublished() > 0));
        self.checkpoints.send_replace(Some(Arc::new(checkpoint)));
    }

    /// Waits until the log can be written again. Until then every record that a sender waits for is refused. The other
    /// records describe events that have already happened; they are kept. When this function returns, it has written the
    /// kept records. Returns true if the log is being closed.
    fn pause(&mut self, error: &io::Error, records: &mut Vec<QueuedRecord>) -> Result<bool, FatalFailure> {
        let state = Arc::clone(&self.state);
        state.set_paused(true);
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the disclosure log cannot be written: nothing personal leaves until it can be written again"
        );
        let since = (self.clock)();
        // The number of kept records is bounded by the sizes of the queue and of the queue of refusals, and by one
        // closing record for each open exchange.
        refuse_awaited(&state, records);
        let (mut wait, mut arrived, mut stop) = (RETRY_WAIT, Vec::new(), false);
        loop {
            let until = Instant::now() + wait;
            while !stop && !until.saturating_duration_since(Instant::now()).is_zero() {
                let rest = until.saturating_duration_since(Instant::now());
                stop = state.queue.take(&mut arrived, rest, Wake::AwaitedRecord);
                refuse_awaited(&state, &mut arrived);
                records.append(&mut arrived);
            }
            match self.writer.resume(queued(records), since, (self.clock)()) {
                Ok(()) => {
                    self.unsynced = None;
                    state.set_paused(false);
                    tracing::warn!("the disclosure log can be written again");
                    return Ok(stop);
                }
                Err(WriteFailure::RolledBack(_)) if !stop => wait = (wait * 2).min(MAX_RETRY_WAIT),
                // Nothing arrives any more. A disclosure from before the stop must not go without its record.
                Err(WriteFailure::RolledBack(_)) if !state.time_to_stop().is_zero() => {
                    std::thread::sleep(RETRY_WAIT.min(state.time_to_stop()));
                }
                Err(WriteFailure::RolledBack(error) | WriteFailure::Permanent(error)) => {
                    return Err((error, std::mem::take(records)));
                }
            }
        }
    }

    /// Writes the last entry, publishes everything and closes the files.
    fn finish(mut self) -> io::Result<()> {
        self.writer.stop((self.clock)()).map_err(|failure| match failure {
            WriteFailure::RolledBack(error) | WriteFailure::Permanent(error) => error,
        })?;
        self.publish();
        let last = self.checkpoints.borrow().clone();
        self.writer.close()?;
        if let Some(PublishedCheckpoint { origin, size, note, .. }) = last.as_deref() {
            tracing::info!(origin, size, note, "the disclosure log is closed");
        }
        Ok(())
    }
}

fn warn_unpublished(error: &io::Error) {
    static FAILED: LogLimit = LogLimit::new();
    if let Some(count) = FAILED.admit() {
        tracing::warn!(
            count,
            error = error as &dyn std::error::Error,
            "the disclosure log is written, but not published"
        );
    }
}

fn queued(records: &[QueuedRecord]) -> impl Iterator<Item = &Record> + Clone {
    records.iter().filter_map(|record| record.record.as_ref())
}

/// Adds a record of the number of refusals that were dropped, if there are some.
fn add_dropped(state: &LogState, records: &mut Vec<QueuedRecord>) {
    let refusals = state.take_unstated();
    if refusals > 0 {
        let record = Some(Record::DroppedRefusals { refusals });
        records.push(QueuedRecord { record, ..QueuedRecord::default() });
    }
}

/// Refuses the records that somebody waits for, and keeps the others.
fn refuse_awaited(state: &LogState, records: &mut Vec<QueuedRecord>) {
    let mut refused: Vec<_> = records.extract_if(.., |record| record.acknowledge.is_some()).collect();
    acknowledge(state, &mut refused, Err(LogError));
}

/// Answers records with an outcome, gives their share of the queue back, and forgets them.
fn acknowledge(state: &LogState, records: &mut Vec<QueuedRecord>, outcome: Result<(), LogError>) {
    let mut room = super::queue::Room::default();
    for QueuedRecord { record: _, acknowledge, room: share } in records.drain(..) {
        room += share;
        if let Some(acknowledge) = acknowledge {
            // The sender may have been cancelled; the record stays.
            let _ = acknowledge.send(outcome);
        }
    }
    state.queue.release(room);
}
