//! The disclosure log: who received which categories about whom, for which purpose, on which basis.
//!
//! For each exchange it holds an intent, a record of each window of the answer, and a closing
//! record. It refuses to know any value that was disclosed, and the people whose it was: they are
//! keyed pseudonyms. Invariants: with `before-release` a record is durable when its future
//! resolves, and nothing it describes leaves before; while records cannot be written nothing is
//! acknowledged; after a failure that may have lost one, nothing ever is; a record that was changed,
//! removed, moved or put in shows.
//!
//! A first form: hash-chained lines in segment files, behind an interface that a Merkle log can
//! take over.

mod accounting;
mod chain;
mod fold;
mod head;
mod last_position;
mod object_writer;
mod record;
mod recovery;
mod segment;
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
pub use fold::{ExchangeFilter, ReadError, decision, export, fold};
pub use last_position::last_position;
pub use record::{DisclosedCategory, Intent, Outcome, Verdict, Window};
pub use segment::in_use;
pub use verify::{Checkpoint, VerificationReport, verify};

use crate::keys::{EpochPseudonyms, Keys, SubjectPseudonyms};
use crate::log_limit::LogLimit;
use object_writer::RecordBody;
use writer::{WriteJob, Writer};

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it survives a loss of power.
    BeforeRelease,
    /// When it is handed to the writer, which makes it durable within 50 ms.
    Batched,
}

/// The log cannot take records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disclosure log cannot be written")]
pub struct LogError;

/// Why a log does not open. Names files and record numbers.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    #[error("the disclosure log {folder} is open in another process", folder = .0.display())]
    InUse(PathBuf),
    #[error("the disclosure log {folder} cannot be {doing}", folder = .folder.display())]
    Io { folder: PathBuf, doing: &'static str, source: std::io::Error },
    #[error(
        "the disclosure log does not hold together at record {record} in {file}: look into it with `purposegate audit verify`, then move the folder and the `.head` file beside it away to begin a new log",
        file = .file.display()
    )]
    Inconsistent { file: PathBuf, record: u64 },
    #[error("the disclosure log was written under other keys ({file}): bring back its key file", file = .0.display())]
    OtherKeys(PathBuf),
    #[error(
        "fields have left under another pseudonym key than the key file's ({file}): bring back the key file, or move the folder and the `.head` file beside it away to begin a new log, with new pseudonyms",
        file = .0.display()
    )]
    OtherPseudonyms(PathBuf),
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    #[error("the log's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// What all that write share with the thread that does.
#[derive(Debug)]
struct WriterState {
    failed: AtomicBool,
    /// Nothing can be written at the moment, and nothing was lost.
    paused: AtomicBool,
    /// Records written so far.
    written: AtomicU64,
    /// Room in the queue, in units of 1 KiB; closed by a failure.
    queue_room: Arc<Semaphore>,
    /// Room for refusals, which nobody waits for, likewise.
    refusal_room: Arc<Semaphore>,
}

/// Room for records on their way to the disk, in KiB. Whoever finds it full waits: the upstream's
/// bytes are read no faster than the log can be written.
const QUEUE_KIB: usize = 32 << 10;

/// Room for refusals on their way to the disk, in KiB; no personal data waits behind them.
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
    folder: PathBuf,
    state: Arc<WriterState>,
    durability: Durability,
    pseudonyms: SubjectPseudonyms,
    queue: Option<Sender<WriteJob>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// One exchange that is on record and not closed.
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

/// A record that will be written unless the log fails.
#[derive(Debug)]
pub struct QueuedRecord {
    state: Arc<WriterState>,
    /// Told where somebody waits for the disk.
    durable: Option<oneshot::Receiver<Result<(), LogError>>>,
}

impl QueuedRecord {
    /// Returns when the record is as durable as configured.
    ///
    /// # Errors
    /// [`LogError`]: it may not be.
    pub async fn durable(self) -> Result<(), LogError> {
        match self.durable {
            Some(durable) => durable.await.unwrap_or(Err(LogError)),
            // Handed over; but to a writer that still writes.
            None if self.state.is_writable() => Ok(()),
            None => Err(LogError),
        }
    }
}

impl Log {
    /// Opens the log in a folder, or begins one, and removes what is older than `retention`.
    ///
    /// # Errors
    /// [`OpenLogError`]. A log that does not hold together is not continued.
    pub fn open(
        folder: &Path,
        keys: &Keys,
        durability: Durability,
        retention: Duration,
    ) -> Result<Log, OpenLogError> {
        Log::open_with(folder, keys, durability, retention, segment::create, Timestamp::now)
    }

    fn open_with(
        folder: &Path,
        keys: &Keys,
        durability: Durability,
        retention: Duration,
        create: writer::Create,
        clock: writer::Clock,
    ) -> Result<Log, OpenLogError> {
        let writer =
            Writer::open(folder, keys, retention, create, clock, durability == Durability::BeforeRelease)?;
        let standing = Arc::new(WriterState {
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
                let standing = Arc::clone(&standing);
                move || writer.run(jobs, &standing)
            })
            .map_err(OpenLogError::Thread)?;
        Ok(Log {
            folder: folder.to_owned(),
            state: standing,
            durability,
            pseudonyms: keys.subject_pseudonyms(),
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Records that an exchange is about to happen. Await it, and then that it is durable, beside the upstream's
    /// answer. Whoever is dropped in between has the entry to close.
    ///
    /// # Errors
    /// [`LogError`]: then nothing may leave.
    pub fn intent(
        &self,
        intent: Intent<'_>,
    ) -> impl Future<Output = Result<(Entry, QueuedRecord), LogError>> + Send + use<> {
        let pseudonyms = self.pseudonyms.epoch(&record::epoch(intent.time));
        let queued = self.queue(record::intent(&intent, None, &pseudonyms));
        let decision = intent.decision;
        async move {
            let queued = queued.await?;
            Ok((Entry { decision, pseudonyms }, queued))
        }
    }

    /// Records what a window of the answer discloses, before it leaves.
    ///
    /// # Errors
    /// [`LogError`]: then the window may not leave.
    pub fn window(
        &self,
        entry: &Entry,
        window: &Window<'_>,
    ) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        self.append(record::window(&entry.decision, Timestamp::now(), window, &entry.pseudonyms))
    }

    /// Records how an exchange ended, and returns when the record is as durable as configured.
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

    /// As [`Log::close`] without waiting: what was disclosed is on record already.
    pub fn close_detached(&self, entry: Entry, outcome: Outcome) {
        self.send_detached(record::close(&entry.decision, Timestamp::now(), outcome), None);
    }

    /// Records an exchange that was refused before there was an intent, without waiting. Where
    /// refusals come faster than they can be written the surplus is dropped, and a warning says so.
    pub fn refused(&self, intent: &Intent<'_>, code: &'static str) {
        let pseudonyms = self.pseudonyms.epoch(&record::epoch(intent.time));
        let body = record::intent(intent, Some(Outcome::Refused(code)), &pseudonyms);
        match Arc::clone(&self.state.refusal_room).try_acquire_many_owned(size_in_kib(&body)) {
            Ok(place) => self.send_detached(body, Some(place)),
            Err(_) => {
                static UNRECORDED: LogLimit = LogLimit::new();
                if let Some(count) = UNRECORDED.admit() {
                    tracing::warn!(
                        count,
                        "refusals come faster than the disclosure log is written: they are not on record"
                    );
                }
            }
        }
    }

    /// Returns when everything handed in before is durable.
    pub async fn flush(&self) {
        let (acknowledge, done) = oneshot::channel();
        let job = WriteJob { acknowledge: Some(acknowledge), ..WriteJob::default() };
        if self.queue.as_ref().is_some_and(|queue| queue.send(job).is_ok()) {
            let _ = done.await;
        }
    }

    /// What the log names people with.
    pub fn pseudonyms(&self) -> &SubjectPseudonyms {
        &self.pseudonyms
    }

    /// `false` while no record can be written: after a failure for good, where nothing was lost until it
    /// can again.
    pub fn healthy(&self) -> bool {
        self.state.is_writable()
    }

    /// Records written since it was opened: intents, windows, closings and refusals.
    pub fn records_written(&self) -> u64 {
        self.state.written.load(Ordering::Relaxed)
    }

    /// Where the log is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn append(&self, body: RecordBody) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        let queued = self.queue(body);
        async move { queued.await?.durable().await }
    }

    fn queue(&self, body: RecordBody) -> impl Future<Output = Result<QueuedRecord, LogError>> + Send + use<> {
        let (standing, queue, durability) = (Arc::clone(&self.state), self.queue.clone(), self.durability);
        async move {
            let place = Arc::clone(&standing.queue_room)
                .acquire_many_owned(size_in_kib(&body))
                .await
                .map_err(|_| LogError)?;
            let queue = queue.filter(|_| standing.is_writable()).ok_or(LogError)?;
            let (acknowledge, durable) = match durability {
                Durability::BeforeRelease => Some(oneshot::channel()).unzip(),
                Durability::Batched => (None, None),
            };
            queue
                .send(WriteJob { body: Some(body), acknowledge, room: Some(place), ..WriteJob::default() })
                .map_err(|_| LogError)?;
            Ok(QueuedRecord { state: standing, durable })
        }
    }

    fn send_detached(&self, body: RecordBody, place: Option<OwnedSemaphorePermit>) {
        let Some(queue) = &self.queue else { return };
        // A log that has failed takes nothing; it has said so, and nothing leaves any more.
        drop(queue.send(WriteJob { body: Some(body), room: place, ..WriteJob::default() }));
    }
}

/// A record's share of the room, in KiB; one that is larger than all of it takes the half.
fn size_in_kib(body: &RecordBody) -> u32 {
    u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX).min((QUEUE_KIB / 2) as u32)
}

impl Drop for Log {
    /// What was handed in is still made durable, and the folder is free when this returns.
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            drop(queue.send(WriteJob { stop: true, ..WriteJob::default() }));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
