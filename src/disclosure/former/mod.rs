//! The disclosure log: who received which categories about whom, for which purpose, on which basis.
//!
//! For each exchange the log holds an intent, a record of each window of the answer, and a closing record. It
//! contains no disclosed value and no id of a person: data subjects are recorded under keyed pseudonyms.
//!
//! Invariants:
//! * With the durability `before-release`, a record is durable when its future resolves, and no data that the record
//!   describes leave earlier.
//! * While records cannot be written, none is acknowledged. After a failure that may have lost a record, none is
//!   acknowledged again.
//! * A record that was changed, removed, moved or inserted is found by verification.
//!
//! The storage is a hash chain of lines in segment files. The interface would allow a Merkle log in its place.

mod accounting;
mod act;
mod chain;
mod checkpoint;
pub(super) mod fold;
mod head;
mod last_position;
mod merge;
mod object_writer;
mod record;
mod recovery;
pub(super) mod segment;
mod source;
mod takeover;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use accounting::{AccountedCategory, AccountedExchange, accounting};
pub use act::{ActFilter, AdministrativeAct, RecordedAct, acts};
pub use checkpoint::Checkpoint;
pub use fold::{ExchangeFilter, ReadError, decision, export};
pub use last_position::last_position;
pub use merge::{LogSelection, RepeatedDecision, find_decision, fold, is_running, merge, repeated_decisions};
pub use record::{DisclosedCategory, Intent, Outcome, Verdict, Window};
pub use segment::in_use;
pub(super) use source::has_tag_of;
pub use source::{LogSource, overlapping, resolved};
pub(super) use takeover::{FormerSegments, end_of_former, move_aside};
pub(super) use verify::verify_moved;
pub use verify::{VerificationReport, log_bytes, log_id, verify, verify_with_progress};

use crate::keys::{EpochPseudonyms, Keys, SubjectPseudonyms};
use crate::log_limit::LogLimit;
use object_writer::RecordBody;
use writer::{WriteJob, Writer};

/// The condition under which a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The record survives a power failure.
    BeforeRelease,
    /// The record is queued for the writer, which makes it durable within 50 ms.
    Batched,
}

/// An error of a log that cannot accept records, for the moment or for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disclosure log cannot be written")]
pub struct LogError;

/// An error that keeps a log from being opened. The messages name files and record numbers.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Another process holds the lock of this folder.
    #[error("the disclosure log {folder} is open in another process", folder = .0.display())]
    InUse(PathBuf),
    /// The folder or one of its files cannot be read or written.
    #[error("the disclosure log {folder} cannot be {doing}", folder = .folder.display())]
    Io {
        /// The folder or file.
        folder: PathBuf,
        /// The failed action, as a past participle ("read").
        doing: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The hash chain is broken at this record.
    #[error(
        "the disclosure log is inconsistent at record {record} in {file}: examine it with `purposegate audit verify`, then move the folder and the `.head` file next to it away to begin a new log",
        file = .file.display()
    )]
    Inconsistent {
        /// The segment.
        file: PathBuf,
        /// The number of the record.
        record: u64,
    },
    /// The records carry tags of another key.
    #[error("the disclosure log was written with other keys ({file}): restore its key file", file = .0.display())]
    OtherKeys(PathBuf),
    /// Recipients have received pseudonyms under another pseudonym key.
    #[error(
        "fields were released under another pseudonym key than the key file's ({file}): restore the key file, or move the folder and the `.head` file next to it away to begin a new log, with new pseudonyms",
        file = .0.display()
    )]
    OtherPseudonyms(PathBuf),
    /// The log's random id cannot be generated.
    #[error("the operating system provides no random bytes")]
    Random(#[source] getrandom::Error),
    /// The writer thread cannot be started.
    #[error("the log's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// State shared between the log and its writer thread.
#[derive(Debug)]
struct WriterState {
    /// True after a failure that may have lost a record; it stays true.
    failed: AtomicBool,
    /// True while nothing can be written and nothing was lost.
    paused: AtomicBool,
    /// Number of records written since the log was opened.
    written: AtomicU64,
    /// Free space in the queue, in KiB; closed by a failure.
    queue_room: Arc<Semaphore>,
    /// Free space for refusals, in KiB. Nothing waits for a refusal to be written.
    refusal_room: Arc<Semaphore>,
}

/// Size of the queue of records that are not written yet, in KiB. A sender waits while the queue is full, so the
/// upstream's bytes are read no faster than the log is written.
const QUEUE_KIB: usize = 32 << 10;

/// Size of the queue of refusals, in KiB. No personal data waits behind them.
const REFUSAL_QUEUE_KIB: usize = 8 << 10;

impl WriterState {
    fn count_written(&self, records: usize) {
        self.written.fetch_add(records as u64, Ordering::Relaxed);
    }

    fn is_writable(&self) -> bool {
        !self.failed.load(Ordering::SeqCst) && !self.paused.load(Ordering::SeqCst)
    }

    fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::SeqCst);
    }

    fn set_failed(&self) {
        self.failed.store(true, Ordering::SeqCst);
        self.queue_room.close();
    }
}

/// The open log of one gateway.
pub struct Log {
    source: LogSource,
    state: Arc<WriterState>,
    durability: Durability,
    queue: Option<Sender<WriteJob>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("folder", &self.folder()).finish_non_exhaustive()
    }
}

/// An exchange whose intent is recorded and which is not closed yet.
#[derive(Debug)]
pub struct Entry {
    decision: String,
    pseudonyms: EpochPseudonyms,
}

impl Entry {
    /// The decision's id.
    pub fn decision(&self) -> &str {
        &self.decision
    }
}

/// A record in the queue. It is written unless the log fails.
#[derive(Debug)]
pub struct QueuedRecord {
    state: Arc<WriterState>,
    /// Receives the outcome if the configured durability waits for the disk.
    durable: Option<oneshot::Receiver<Result<(), LogError>>>,
}

impl QueuedRecord {
    /// Waits until the record is as durable as configured.
    ///
    /// # Errors
    /// [`LogError`] if the record may not be durable.
    pub async fn durable(self) -> Result<(), LogError> {
        match self.durable {
            Some(durable) => durable.await.unwrap_or(Err(LogError)),
            // Queuing is enough if the writer is still able to write.
            None if self.state.is_writable() => Ok(()),
            None => Err(LogError),
        }
    }
}

impl Log {
    /// Opens the log in a folder, or begins a new one, and removes what is older than `retention`. Every record names the
    /// gateway. A log that was written under another name is continued: it keeps the names of its earlier records.
    ///
    /// # Errors
    /// [`OpenLogError`]. An inconsistent log is not continued.
    pub fn open(
        folder: &Path,
        keys: &Keys,
        gateway: &str,
        durability: Durability,
        retention: Duration,
    ) -> Result<Log, OpenLogError> {
        Log::open_with(folder, keys, gateway, durability, retention, segment::create, Timestamp::now)
    }

    fn open_with(
        folder: &Path,
        keys: &Keys,
        gateway: &str,
        durability: Durability,
        retention: Duration,
        create: writer::Create,
        clock: writer::Clock,
    ) -> Result<Log, OpenLogError> {
        let prompt = durability == Durability::BeforeRelease;
        let writer = Writer::open(folder, keys, gateway, retention, create, clock, prompt)?;
        let state = Arc::new(WriterState {
            failed: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            written: AtomicU64::new(0),
            queue_room: Arc::new(Semaphore::new(QUEUE_KIB)),
            refusal_room: Arc::new(Semaphore::new(REFUSAL_QUEUE_KIB)),
        });
        let (queue, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("disclosure-log".to_owned())
            .spawn({
                let state = Arc::clone(&state);
                move || writer.run(jobs, &state)
            })
            .map_err(OpenLogError::Thread)?;
        Ok(Log {
            source: LogSource::own(folder, keys),
            state,
            durability,
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Records that an exchange is about to happen.
    ///
    /// Await the result, and then its durability, while the upstream prepares its answer. A caller that is
    /// cancelled in between must still close the entry.
    ///
    /// # Errors
    /// [`LogError`]: nothing may leave.
    pub fn intent(
        &self,
        intent: Intent<'_>,
    ) -> impl Future<Output = Result<(Entry, QueuedRecord), LogError>> + Send + use<> {
        let pseudonyms = self.pseudonyms().epoch(&record::epoch(intent.time));
        let queued = self.queue(record::intent(&intent, None, &pseudonyms));
        let decision = intent.decision;
        async move {
            let queued = queued.await?;
            Ok((Entry { decision, pseudonyms }, queued))
        }
    }

    /// Records what a window of the answer discloses, before the window leaves.
    ///
    /// # Errors
    /// [`LogError`]: the window may not leave.
    pub fn window(
        &self,
        entry: &Entry,
        window: &Window<'_>,
    ) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        self.append(record::window(&entry.decision, Timestamp::now(), window, &entry.pseudonyms))
    }

    /// Records how an exchange ended, and waits until the record is as durable as configured.
    ///
    /// # Errors
    /// [`LogError`]: the exchange stays open in the log.
    pub fn close(
        &self,
        entry: Entry,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        self.append(record::close(&entry.decision, Timestamp::now(), outcome))
    }

    /// Records how an exchange ended, without waiting: what was disclosed is already recorded.
    pub fn close_detached(&self, entry: Entry, outcome: Outcome) {
        self.send_detached(record::close(&entry.decision, Timestamp::now(), outcome), None);
    }

    /// Records an exchange that was refused before there was an intent, without waiting. If refusals arrive faster
    /// than they can be written, the surplus is dropped with a warning.
    pub fn refused(&self, intent: &Intent<'_>, code: &'static str) {
        let pseudonyms = self.pseudonyms().epoch(&record::epoch(intent.time));
        let body = record::intent(intent, Some(Outcome::Refused(code)), &pseudonyms);
        match Arc::clone(&self.state.refusal_room).try_acquire_many_owned(size_in_kib(&body)) {
            Ok(place) => self.send_detached(body, Some(place)),
            Err(_) => {
                static UNRECORDED: LogLimit = LogLimit::new();
                if let Some(count) = UNRECORDED.admit() {
                    tracing::warn!(
                        count,
                        "refusals arrive faster than the disclosure log can write them: they are not recorded"
                    );
                }
            }
        }
    }

    /// Waits until every record that was queued before this call is durable.
    pub async fn flush(&self) {
        let (acknowledge, done) = oneshot::channel();
        let job = WriteJob { acknowledge: Some(acknowledge), ..WriteJob::default() };
        if self.queue.as_ref().is_some_and(|queue| queue.send(job).is_ok()) {
            let _ = done.await;
        }
    }

    /// Returns the pseudonyms under which the log records data subjects.
    pub fn pseudonyms(&self) -> &SubjectPseudonyms {
        self.source.pseudonyms()
    }

    /// True if records can be written. False while a failure that loses nothing lasts, and for good after a failure
    /// that may have lost a record.
    pub fn healthy(&self) -> bool {
        self.state.is_writable()
    }

    /// True while the thread that writes the log runs.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Returns the number of records written since the log was opened: intents, windows, closings and refusals.
    pub fn records_written(&self) -> u64 {
        self.state.written.load(Ordering::Relaxed)
    }

    /// Returns the folder of the log.
    pub fn folder(&self) -> &Path {
        self.source.folder()
    }

    /// Returns the log as a source of reports.
    pub fn source(&self) -> &LogSource {
        &self.source
    }

    fn append(&self, body: RecordBody) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        let queued = self.queue(body);
        async move { queued.await?.durable().await }
    }

    fn queue(&self, body: RecordBody) -> impl Future<Output = Result<QueuedRecord, LogError>> + Send + use<> {
        let (state, queue, durability) = (Arc::clone(&self.state), self.queue.clone(), self.durability);
        async move {
            let room = Arc::clone(&state.queue_room)
                .acquire_many_owned(size_in_kib(&body))
                .await
                .map_err(|_| LogError)?;
            let queue = queue.filter(|_| state.is_writable()).ok_or(LogError)?;
            let (acknowledge, durable) = match durability {
                Durability::BeforeRelease => Some(oneshot::channel()).unzip(),
                Durability::Batched => (None, None),
            };
            queue
                .send(WriteJob { body: Some(body), acknowledge, room: Some(room), ..WriteJob::default() })
                .map_err(|_| LogError)?;
            Ok(QueuedRecord { state, durable })
        }
    }

    fn send_detached(&self, body: RecordBody, place: Option<OwnedSemaphorePermit>) {
        let Some(queue) = &self.queue else { return };
        // A failed log accepts nothing. It has reported the failure, and nothing personal leaves any more.
        drop(queue.send(WriteJob { body: Some(body), room: place, ..WriteJob::default() }));
    }
}

/// A record's share of the queue, in KiB. A record larger than the queue counts as half of it.
fn size_in_kib(body: &RecordBody) -> u32 {
    u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX).min((QUEUE_KIB / 2) as u32)
}

impl Drop for Log {
    /// Makes queued records durable and releases the folder's lock before it returns.
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            drop(queue.send(WriteJob { stop: true, ..WriteJob::default() }));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
