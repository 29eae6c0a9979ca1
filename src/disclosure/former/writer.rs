//! One thread that writes records to disk in order, in batches.
//!
//! Invariants: the chain covers every record in the order of the file, and no record is acknowledged before it is
//! durable.
//!
//! A failed write is rolled back. Records that somebody waits for then fail, the others are kept, and the thread
//! retries until it succeeds. If a write cannot be rolled back, or written records may not be durable, nothing is
//! written any more and every queued record fails.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::chain::{Chain, Sealer};
use super::checkpoint::Checkpoint;
use super::head::Head;
use super::object_writer::{RecordBody, object_members};
use super::record;
use super::recovery::{find_end, missing_tail};
use super::segment::{self, Segment, SegmentFile, SegmentHeader};
use super::{LogError, OpenLogError, WriterState};
use crate::keys::Keys;
use crate::retention;

/// Size in bytes at which a segment is closed; it is also closed at the end of the UTC day.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Maximum time between a write and its sync if no sender waits for the records.
pub(super) const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// Time for which the thread sleeps between batches if no sender waits for records. Waking the thread for each record
/// costs more than writing the record.
const LINGER: Duration = Duration::from_millis(5);

/// Maximum number of bytes in one write.
const BATCH_BYTES: usize = 8 << 20;

/// Interval at which the thread of an idle log checks whether the day is over.
const IDLE_WAIT: Duration = Duration::from_secs(60 * 60);

/// Time before the first retry of a failed write. It doubles with each retry, up to [`MAX_RETRY_WAIT`].
const RETRY_WAIT: Duration = Duration::from_millis(250);
const MAX_RETRY_WAIT: Duration = Duration::from_secs(2);

/// Free space in bytes that the disk must have before the log continues; with less, the log would stop again at once.
const MIN_ROOM: usize = 256 << 10;

/// Creates a segment's file.
pub(super) type Create = fn(&Path) -> io::Result<Box<dyn SegmentFile>>;

/// Returns the current time, for the log's own records and for retention.
pub(super) type Clock = fn() -> Timestamp;

/// A request to the writer thread, usually to write one record.
#[derive(Default)]
pub(super) struct WriteJob {
    /// The record; `None` to wait only until everything queued before is durable.
    pub(super) body: Option<RecordBody>,
    /// True for the last job. The end of the queue does not suffice: a future that is never polled again may hold a
    /// sender.
    pub(super) stop: bool,
    pub(super) acknowledge: Option<oneshot::Sender<Result<(), LogError>>>,
    /// Its share of the queue, released when the record is written.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// The state of the writer thread.
pub(super) struct Writer {
    folder: PathBuf,
    /// The folder's lock, held as long as the log is open.
    _lock: File,
    create: Create,
    clock: Clock,
    retention: SignedDuration,
    sealer: Sealer,
    log: String,
    chain: Chain,
    number: u64,
    file: Box<dyn SegmentFile>,
    /// The closed segments, with the time at which each began.
    closed: VecDeque<(Segment, Timestamp)>,
    open: (Segment, Timestamp),
    /// Size of the open file.
    bytes: u64,
    /// The file that states how far the log is durable.
    head: Head,
    pseudonym_key: String,
    /// True if senders wait for most records, so that each batch is written at once.
    sync_each_write: bool,
}

/// States that expired records were removed.
#[derive(Serialize)]
struct CutRecord<'a> {
    kind: &'static str,
    time: Timestamp,
    /// Every record below this number was removed.
    below: u64,
    /// The chain value before the first remaining record.
    previous: &'a str,
}

/// States that the log was closed.
#[derive(Serialize)]
struct StopRecord {
    kind: &'static str,
    time: Timestamp,
}

/// States that the log continues after a pause.
#[derive(Serialize)]
struct ResumeRecord {
    kind: &'static str,
    time: Timestamp,
    /// Start of the pause. No record was acknowledged between this time and the time of this record.
    since: Timestamp,
}

/// A failed write: one that can be retried, or one that cannot.
enum WriteFailure {
    /// The write was undone and everything before it is intact: it can be retried.
    RolledBack(io::Error),
    /// The content of the disk is not what was intended, or may not be.
    Permanent(io::Error),
}

/// A permanent failure, with the jobs that were not answered yet.
type FatalFailure = (io::Error, Vec<WriteJob>);

impl Writer {
    /// Locks the folder, finds the end of the log and begins a new segment.
    pub(super) fn open(
        folder: &Path,
        keys: &Keys,
        gateway: &str,
        retention: Duration,
        create: Create,
        clock: Clock,
        prompt: bool,
    ) -> Result<Writer, OpenLogError> {
        let io = |doing| move |source| OpenLogError::Io { folder: folder.to_owned(), doing, source };
        let lock = segment::lock_folder(folder)
            .map_err(io("opened"))?
            .ok_or_else(|| OpenLogError::InUse(folder.to_owned()))?;
        let tags = keys.log_tags();
        let pseudonym_key: String = keys.pseudonym_check().iter().map(|byte| format!("{byte:02x}")).collect();
        let end = find_end(folder, &tags, &pseudonym_key)?;
        let now = clock();
        let opening = SegmentHeader {
            kind: SegmentHeader::KIND.to_owned(),
            time: now,
            log: end.log.clone(),
            format: segment::FORMAT,
            previous: end.chain.to_hex(),
            why: SegmentHeader::START.to_owned(),
            unclean: end.unclean,
            torn_bytes: end.torn_bytes,
            missing: missing_tail(folder, &end),
            pseudonym_key: Some(pseudonym_key.clone()),
        };
        let segment = Segment { first: end.number, path: folder.join(segment::file_name(end.number)) };
        let (sealer, mut line) = (Sealer::new(tags, gateway), Vec::new());
        let chain = sealer.seal(&mut line, end.chain, end.number, &object_members(&opening));
        let file = create_segment(create, folder, &segment, &line).map_err(|failure| match failure {
            WriteFailure::RolledBack(source) | WriteFailure::Permanent(source) => io("written to")(source),
        })?;
        if let Some((_, before)) = end.closed.back() {
            warn_about_clock(*before, now, retention_of(retention));
        }
        let mut writer = Writer {
            folder: folder.to_owned(),
            _lock: lock,
            create,
            clock,
            retention: retention_of(retention),
            sealer,
            log: end.log,
            chain,
            number: end.number + 1,
            file,
            closed: end.closed,
            open: (segment, now),
            bytes: line.len() as u64,
            head: Head::open(folder),
            pseudonym_key,
            sync_each_write: prompt,
        };
        writer.update_head();
        writer.head.sync();
        writer.remove_expired(now).map_err(|failure| match failure {
            WriteFailure::RolledBack(source) | WriteFailure::Permanent(source) => io("written to")(source),
        })?;
        Ok(writer)
    }

    /// Writes until the log is dropped. After a permanent failure every job fails.
    pub(super) fn run(mut self, queue: Receiver<WriteJob>, state: &Arc<WriterState>) {
        let Err((error, waiting)) = self.serve(&queue, state) else { return };
        state.set_failed();
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the disclosure log has failed: nothing personal leaves until the gateway is restarted"
        );
        let mut stopped = waiting.iter().any(|job| job.stop);
        acknowledge(waiting, Err(LogError));
        // The remaining jobs were queued before their senders saw the failure.
        while !stopped {
            let Ok(job) = queue.recv() else { return };
            stopped = job.stop;
            acknowledge(vec![job], Err(LogError));
        }
    }

    fn serve(&mut self, queue: &Receiver<WriteJob>, state: &WriterState) -> Result<(), FatalFailure> {
        let mut unsynced: Option<Instant> = None;
        loop {
            let wait = unsynced.map_or(IDLE_WAIT, |since| SYNC_INTERVAL.saturating_sub(since.elapsed()));
            let jobs = match queue.recv_timeout(wait) {
                Ok(first) => collect_batch(first, queue),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return self.stop(),
            };
            let is_idle = jobs.is_empty() && unsynced.is_none();
            let jobs = match self.write(&jobs, is_idle) {
                Ok(()) => jobs,
                Err(WriteFailure::Permanent(error)) => return Err((error, jobs)),
                // No record is affected. The next write rotates the segment if that is still due.
                Err(WriteFailure::RolledBack(_)) if is_idle => continue,
                Err(WriteFailure::RolledBack(error)) => self.pause(error, jobs, queue, state)?,
            };
            state.count_written(jobs.iter().filter(|job| job.body.is_some()).count());
            let since = *unsynced.get_or_insert_with(Instant::now);
            let stop = jobs.iter().any(|job| job.stop);
            let waited_for = jobs.iter().any(|job| job.acknowledge.is_some());
            if waited_for || since.elapsed() >= SYNC_INTERVAL {
                if let Err(error) = self.file.sync() {
                    return Err((error, jobs));
                }
                self.update_head();
                unsynced = None;
            }
            acknowledge(jobs, Ok(()));
            if stop {
                return self.stop();
            }
            if !self.sync_each_write {
                std::thread::sleep(LINGER);
            }
        }
    }

    /// Waits until the log can be written again. Until then every record that a sender waits for is refused. The other
    /// records describe events that have already happened; they are kept. When this function returns, it has written
    /// the kept records to the log.
    fn pause(
        &mut self,
        error: io::Error,
        jobs: Vec<WriteJob>,
        queue: &Receiver<WriteJob>,
        state: &WriterState,
    ) -> Result<Vec<WriteJob>, FatalFailure> {
        state.set_paused(true);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the disclosure log cannot be written: nothing personal leaves until it can be written again"
        );
        let since = (self.clock)();
        // The number of kept records is bounded by the sizes of the queue and of the queue of refusals, and by one
        // closing record for each open exchange.
        let mut kept = refuse_waited_for(jobs);
        let mut wait = RETRY_WAIT;
        loop {
            let until = Instant::now() + wait;
            while !kept.iter().any(|job| job.stop) {
                match queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(job) => kept.extend(refuse_waited_for(vec![job])),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        kept.push(WriteJob { stop: true, ..WriteJob::default() });
                    }
                }
            }
            match self.resume(since, &kept) {
                Ok(()) => {
                    state.set_paused(false);
                    tracing::warn!("the disclosure log can be written again");
                    return Ok(kept);
                }
                Err(WriteFailure::RolledBack(_)) if !kept.iter().any(|job| job.stop) => {
                    wait = (wait * 2).min(MAX_RETRY_WAIT);
                }
                Err(WriteFailure::RolledBack(error) | WriteFailure::Permanent(error)) => {
                    return Err((error, kept));
                }
            }
        }
    }

    /// Continues the log: writes a `resume` record, then the kept records.
    fn resume(&mut self, since: Timestamp, kept: &[WriteJob]) -> Result<(), WriteFailure> {
        self.rotate_if_due()?;
        let room = vec![b' '; MIN_ROOM];
        let is_room = self.file.write(&room);
        self.file.truncate(self.bytes).map_err(WriteFailure::Permanent)?;
        is_room.map_err(WriteFailure::RolledBack)?;
        let resume = object_members(&ResumeRecord { kind: "resume", time: (self.clock)(), since });
        self.append([&resume].into_iter().chain(kept.iter().filter_map(|job| job.body.as_ref())))?;
        self.file.sync().map_err(WriteFailure::Permanent)?;
        self.update_head();
        Ok(())
    }

    fn write(&mut self, jobs: &[WriteJob], is_idle: bool) -> Result<(), WriteFailure> {
        let bodies = jobs.iter().filter_map(|job| job.body.as_ref());
        if bodies.clone().next().is_some() || is_idle {
            self.rotate_if_due()?;
        }
        self.append(bodies)
    }

    /// Appends records: all of them or none.
    fn append<'b>(
        &mut self,
        bodies: impl Iterator<Item = &'b RecordBody> + Clone,
    ) -> Result<(), WriteFailure> {
        let overhead = self.sealer.max_overhead();
        let mut lines = Vec::with_capacity(bodies.clone().map(|body| body.len() + overhead).sum());
        let (mut chain, mut number) = (self.chain, self.number);
        for body in bodies {
            chain = self.sealer.seal(&mut lines, chain, number, body);
            number += 1;
        }
        if lines.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write(&lines) {
            return Err(match self.file.truncate(self.bytes) {
                Ok(()) => WriteFailure::RolledBack(error),
                Err(_) => WriteFailure::Permanent(error),
            });
        }
        (self.chain, self.number) = (chain, number);
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Appends one of the log's own records and makes it durable.
    fn append_durably(&mut self, record: &impl Serialize) -> Result<(), WriteFailure> {
        self.append([&object_members(record)].into_iter())?;
        self.file.sync().map_err(WriteFailure::Permanent)?;
        self.update_head();
        Ok(())
    }

    fn update_head(&self) {
        let (log, chain) = (self.log.clone(), self.chain.to_hex());
        self.head.write(&Checkpoint { log, records: self.number, chain });
    }

    fn rotate_if_due(&mut self) -> Result<(), WriteFailure> {
        let now = (self.clock)();
        let (_, began) = self.open;
        if self.bytes < SEGMENT_BYTES && record::epoch(now) == record::epoch(began) {
            return Ok(());
        }
        self.file.sync().map_err(WriteFailure::Permanent)?;
        let opening = SegmentHeader {
            kind: SegmentHeader::KIND.to_owned(),
            time: now,
            log: self.log.clone(),
            format: segment::FORMAT,
            previous: self.chain.to_hex(),
            why: SegmentHeader::ROTATION.to_owned(),
            unclean: false,
            torn_bytes: None,
            missing: None,
            pseudonym_key: Some(self.pseudonym_key.clone()),
        };
        let segment = Segment { first: self.number, path: self.folder.join(segment::file_name(self.number)) };
        let mut line = Vec::new();
        let chain = self.sealer.seal(&mut line, self.chain, self.number, &object_members(&opening));
        self.file = create_segment(self.create, &self.folder, &segment, &line)?;
        (self.chain, self.number, self.bytes) = (chain, self.number + 1, line.len() as u64);
        self.closed.push_back(std::mem::replace(&mut self.open, (segment, now)));
        self.update_head();
        self.head.sync();
        warn_about_clock(began, now, self.retention);
        self.remove_expired(now)
    }

    /// Removes the segments that ended before the retention period. The removal is recorded, and the record is
    /// durable, before the files are deleted.
    fn remove_expired(&mut self, now: Timestamp) -> Result<(), WriteFailure> {
        let begun: Vec<Timestamp> = self.closed.iter().chain([&self.open]).map(|(_, began)| *began).collect();
        // A segment ended when the next one began.
        let expired = retention::newest_past(&begun, now, self.retention).unwrap_or(0);
        if expired == 0 {
            return Ok(());
        }
        let (kept, _) = self.closed.get(expired).unwrap_or(&self.open);
        let below = kept.first;
        let previous = match segment::read_header(kept) {
            Ok(opening) => opening.previous,
            Err(error) => {
                tracing::warn!(%error, "expired segments of the disclosure log are kept until tomorrow");
                return Ok(());
            }
        };
        self.append_durably(&CutRecord { kind: "cut", time: now, below, previous: &previous })?;
        for (segment, _) in self.closed.drain(..expired) {
            if let Err(error) = std::fs::remove_file(&segment.path) {
                // A segment that remains does no harm: the log records its removal.
                tracing::warn!(%error, segment = segment.first, "an expired segment of the disclosure log could not be deleted");
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), FatalFailure> {
        let stopped = self.append_durably(&StopRecord { kind: "stop", time: (self.clock)() });
        self.head.sync();
        stopped.map_err(|failure| match failure {
            // The log is closing and nobody waits any more.
            WriteFailure::RolledBack(error) | WriteFailure::Permanent(error) => {
                (error, vec![WriteJob { stop: true, ..WriteJob::default() }])
            }
        })
    }
}

/// Creates a segment's file with its first record and makes both durable. If that fails, no such file remains.
fn create_segment(
    create: Create,
    folder: &Path,
    segment: &Segment,
    line: &[u8],
) -> Result<Box<dyn SegmentFile>, WriteFailure> {
    let mut file = create(&segment.path).map_err(WriteFailure::RolledBack)?;
    match file.write(line).and_then(|()| file.sync()).and_then(|()| segment::sync_folder(folder)) {
        Ok(()) => Ok(file),
        Err(error) => Err(match std::fs::remove_file(&segment.path) {
            Ok(()) => WriteFailure::RolledBack(error),
            Err(_) => WriteFailure::Permanent(error),
        }),
    }
}

fn retention_of(retention: Duration) -> SignedDuration {
    SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX)
}

/// Warns if the clock is so far ahead of the log, or behind it, that the time in between does not count towards
/// retention.
fn warn_about_clock(before: Timestamp, now: Timestamp, retention: SignedDuration) {
    let ahead = now.duration_since(before);
    let days = ahead.as_hours() / 24;
    if ahead > retention::longest_gap(retention) {
        tracing::warn!(
            days,
            "the clock is far ahead of the disclosure log: the time in between does not count towards retention"
        );
    } else if days < 0 {
        tracing::warn!(days, "the clock is behind the disclosure log");
    }
}

/// Refuses the records that somebody waits for and returns the others.
fn refuse_waited_for(jobs: Vec<WriteJob>) -> Vec<WriteJob> {
    let (refused, kept) = jobs.into_iter().partition(|job| job.acknowledge.is_some() && !job.stop);
    acknowledge(refused, Err(LogError));
    kept
}

/// Takes queued jobs up to the size of one batch.
fn collect_batch(first: WriteJob, queue: &Receiver<WriteJob>) -> Vec<WriteJob> {
    let size = |job: &WriteJob| job.body.as_ref().map_or(0, Vec::len);
    let mut bytes = size(&first);
    let mut jobs = vec![first];
    while bytes < BATCH_BYTES && !jobs.iter().any(|job: &WriteJob| job.stop) {
        let Ok(job) = queue.try_recv() else { break };
        bytes += size(&job);
        jobs.push(job);
    }
    jobs
}

/// Answers jobs with an outcome and releases their share of the queue.
fn acknowledge(jobs: Vec<WriteJob>, outcome: Result<(), LogError>) {
    for WriteJob { body: _, stop: _, acknowledge, room: place } in jobs {
        drop(place);
        if let Some(acknowledge) = acknowledge {
            // The sender may have been cancelled; the record stays.
            let _ = acknowledge.send(outcome);
        }
    }
}
