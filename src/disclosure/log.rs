//! The log that a gateway writes: what records, and how it waits for the disk.
//!
//! Invariants:
//! * With the durability `before-release`, a record is durable when its future resolves, and no data that the record
//!   describes leave earlier.
//! * While records cannot be written, none is acknowledged. After a failure that may have lost a record, none is
//!   acknowledged again.
//! * Once the future of a record was polled and there was room, the record is queued: dropping the future does not take
//!   it back. An error means that the log does not have the record, or has failed for good.

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::LogSource;
use super::entry_writer::EntryWriter;
pub use super::log_settings::{Durability, LogSettings};
use super::log_state::LogState;
pub use super::queue::LogError;
use super::queue::{QueuedRecord, Room};
use super::record::{ExchangeHead, Record};
use super::storage::{FileOperations, OpenLogError, PublishedCheckpoint, SystemFiles};
use super::writer::{Clock, LogThread};
use crate::keys::Keys;
use crate::log_limit::LogLimit;

/// A record that has its share of the queue and is not queued yet. Dropping it gives the share back.
#[derive(Debug)]
pub struct PreparedRecord {
    /// `None` once it is queued.
    queued: Option<QueuedRecord>,
    durability: Durability,
    state: Arc<LogState>,
}

impl PreparedRecord {
    /// Queues the record at once. The future resolves when the record is durable; dropping it does not take the record back.
    ///
    /// A record for which nobody waits is kept while the log is paused.
    ///
    /// # Errors
    /// [`LogError`] if the log does not have the record, or has failed.
    pub fn append(mut self) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        let (acknowledge, durable) = match self.durability {
            Durability::BeforeRelease => Some(oneshot::channel()).unzip(),
            Durability::Batched => (None, None),
        };
        let queued = self.queued.take().map(|queued| QueuedRecord { acknowledge, ..queued });
        let pushed = queued.map_or(Err(LogError), |queued| self.state.queue.push(queued));
        let state = Arc::clone(&self.state);
        async move {
            pushed?;
            match durable {
                Some(durable) => durable.await.unwrap_or(Err(LogError)),
                // Queuing is enough unless the thread writes nothing any more.
                None if state.has_failed() => Err(LogError),
                None => Ok(()),
            }
        }
    }
}

impl Drop for PreparedRecord {
    fn drop(&mut self) {
        if let Some(queued) = self.queued.take() {
            self.state.queue.release(queued.room);
        }
    }
}

/// The open log of one gateway.
pub struct Log {
    source: LogSource,
    state: Arc<LogState>,
    durability: Durability,
    checkpoints: watch::Receiver<Option<Arc<PublishedCheckpoint>>>,
    /// The start of the log's day, in milliseconds since 1970.
    last_day: Arc<AtomicI64>,
    /// `None` once the log is closed.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("folder", &self.folder()).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in a folder, or begins a new one, and removes what is older than the retention period. A log of an
    /// earlier version in the folder is moved aside; the new one begins with the hash of its end.
    ///
    /// # Errors
    /// [`OpenLogError`]. An inconsistent log is not continued.
    pub fn open(settings: LogSettings, keys: &Keys) -> Result<Log, OpenLogError> {
        Log::open_with(settings, keys, Arc::new(SystemFiles), Timestamp::now)
    }

    pub(super) fn open_with(
        settings: LogSettings,
        keys: &Keys,
        files: Arc<dyn FileOperations>,
        clock: Clock,
    ) -> Result<Log, OpenLogError> {
        let (source, durability) = (LogSource::new(&settings.folder, keys), settings.durability);
        let (publish, checkpoints) = watch::channel(None);
        let writer = EntryWriter::open(settings, keys, files, clock())?;
        let (state, last_day) = (Arc::new(LogState::default()), writer.last_day());
        let writer = LogThread::new(writer, clock, publish, Arc::clone(&state));
        let thread = std::thread::Builder::new()
            .name("disclosure-log".to_owned())
            .spawn(|| writer.run())
            .map_err(OpenLogError::Thread)?;
        Ok(Log { source, state, durability, checkpoints, last_day, thread: Mutex::new(Some(thread)) })
    }

    /// Sets the folder of the index with which the log's questions are answered.
    #[must_use]
    pub fn with_index(mut self, folder: &Path) -> Log {
        self.source = self.source.clone().with_index(folder);
        self
    }

    /// Records something, and waits until the record is as durable as configured.
    ///
    /// # Errors
    /// [`LogError`]: what the record describes must not leave.
    pub fn append(&self, record: Record) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        let prepared = self.prepare(record, self.durability);
        async move { prepared.await?.append().await }
    }

    /// Waits until there is room for a record. Nothing is queued before [`PreparedRecord::append`].
    ///
    /// Cancel safety: a caller that is dropped while it waits takes no room.
    ///
    /// # Errors
    /// [`LogError`]: the log cannot be written.
    pub fn prepare(
        &self,
        record: Record,
        durability: Durability,
    ) -> impl Future<Output = Result<PreparedRecord, LogError>> + Send + use<> {
        let state = Arc::clone(&self.state);
        async move {
            let room = state.queue.room_for(&record).await?;
            let queued = Some(QueuedRecord { record: Some(record), acknowledge: None, room });
            let prepared = PreparedRecord { queued, durability, state };
            if prepared.state.is_writable() { Ok(prepared) } else { Err(LogError) }
        }
    }

    /// Returns the condition under which a record counts as written, as configured.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Records something that has already happened, without waiting. Such records take no room in the queue; there is at
    /// most one for each open exchange.
    pub fn append_detached(&self, record: Record) {
        self.push_detached(record, Room::default());
    }

    /// Records a refusal, without waiting. If refusals arrive faster than they can be written, the surplus is dropped, and its
    /// number is recorded.
    pub fn refuse(&self, head: Arc<ExchangeHead>, code: &'static str) {
        let record = Record::Refusal(head, code);
        match self.state.queue.room_for_refusal(&record) {
            Some(room) => self.push_detached(record, room),
            None => {
                static UNRECORDED: LogLimit = LogLimit::new();
                self.state.count_dropped_refusal();
                if let Some(count) = UNRECORDED.admit() {
                    tracing::warn!(
                        count,
                        "refusals arrive faster than the disclosure log can write them: only their number is recorded"
                    );
                }
            }
        }
    }

    /// Waits until every record that was queued before this call is durable, and readable in the folder.
    ///
    /// # Errors
    /// [`LogError`] if the log cannot be written: records of what has left may wait in memory, or be lost.
    pub fn flush(&self) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        let (acknowledge, done) = oneshot::channel();
        let waiting = QueuedRecord { acknowledge: Some(acknowledge), ..QueuedRecord::default() };
        let queued = self.state.queue.push(waiting);
        async move {
            queued?;
            done.await.unwrap_or(Err(LogError))
        }
    }

    /// Returns the last published checkpoint, and tells of each later one. `None` before the first publication.
    pub fn checkpoints(&self) -> watch::Receiver<Option<Arc<PublishedCheckpoint>>> {
        self.checkpoints.clone()
    }

    /// Returns the time for which the log has had entries that no published checkpoint covers.
    pub fn uncovered_for(&self) -> Duration {
        self.state.uncovered_for()
    }

    /// Returns the time by which the beginning of the log's day is after `now`; zero if it is not. A clock that was ahead once has
    /// begun such a day: all records are added to it until the clock has passed it.
    pub fn day_ahead(&self, now: Timestamp) -> Duration {
        let ahead = self.last_day.load(Ordering::Relaxed).saturating_sub(now.as_millisecond());
        Duration::from_millis(u64::try_from(ahead).unwrap_or(0))
    }

    /// True if records can be written. False while a failure that loses nothing lasts, and for good after a failure
    /// that may have lost a record.
    pub fn healthy(&self) -> bool {
        self.state.is_writable()
    }

    /// Has the log refuse every record from now on.
    #[cfg(test)]
    pub(crate) fn assume_failed(&self) {
        self.state.set_failed();
    }

    /// True while the thread that writes the log runs.
    pub fn is_running(&self) -> bool {
        self.lock_thread().as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Returns the number of records written since the log was opened.
    pub fn records_written(&self) -> u64 {
        self.state.written()
    }

    /// Returns the number of refusals of which the log has no record but their number, since it was opened.
    pub fn refusals_dropped(&self) -> u64 {
        self.state.dropped_refusals()
    }

    /// Returns the folder of the log.
    pub fn folder(&self) -> &Path {
        self.source.folder()
    }

    /// Returns the log as a source of reports.
    pub fn source(&self) -> &LogSource {
        &self.source
    }

    /// Makes queued records durable, publishes them and releases the folder's lock before it returns. The log refuses every
    /// later record. Nobody publishes another checkpoint: [`Log::checkpoints`] has the last one.
    pub fn close(&self) {
        self.close_by(Instant::now());
    }

    /// Does the same as [`Log::close`]. If the disk is full, records that were accepted are tried again until this time.
    pub fn close_by(&self, until: Instant) {
        self.state.set_stop_by(until);
        self.state.queue.stop();
        let thread = self.lock_thread().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn lock_thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push_detached(&self, record: Record, room: Room) {
        // A failed log accepts nothing. It has reported the failure, and nothing personal leaves any more.
        let _ = self.state.queue.push(QueuedRecord { record: Some(record), acknowledge: None, room });
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}
