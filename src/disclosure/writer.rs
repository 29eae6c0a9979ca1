//! One thread that puts records on disk, in order, many at a time.
//!
//! Invariants: the chain runs through every record in the order of the file; nobody is told that a
//! record is durable before it is. A write that fails is taken back: then every record that somebody
//! waits for fails, the others are kept, and the thread tries again until it can go on. Where a write
//! cannot be taken back, or what was written may not be durable, nothing is written any more, and every
//! record that is handed in fails.

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

use super::chain::{self, Chain, Sealed};
use super::folder::{self, Medium, Opening, Piece, Segment};
use super::head::{self, Head};
use super::record::{self, Body};
use super::verify::Checkpoint;
use super::{LogError, OpenError, Standing};
use crate::keys::Keys;
use crate::retention;

/// A segment is closed at this size, or when the UTC day is over.
const SEGMENT_BYTES: u64 = 64 << 20;

/// How long written records wait to be made durable where nobody waits for them.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// How long the thread gathers records for which nobody waits: waking it for each costs more than
/// writing it.
const LINGER: Duration = Duration::from_millis(5);

/// How many bytes are gathered for one write at most.
const BATCH_BYTES: usize = 8 << 20;

/// How often a log that nobody writes to looks whether the day is over.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// How long the thread waits before it tries again to write: at first, and at most.
const RETRY: Duration = Duration::from_millis(250);
const MAX_RETRY: Duration = Duration::from_secs(2);

/// Room that a disk must have again before the log goes on, in bytes: with less it would stop at once.
const MIN_ROOM: usize = 256 << 10;

/// Makes a segment's file.
pub(super) type Create = fn(&Path) -> io::Result<Box<dyn Medium>>;

/// The time, for the log's own records and for retention.
pub(super) type Clock = fn() -> Timestamp;

/// One record on its way.
#[derive(Default)]
pub(super) struct Job {
    /// `None`: only wait until everything before is durable.
    pub(super) body: Option<Body>,
    /// The last job. The queue's end would not do: a future that nobody polls any more may hold it.
    pub(super) stop: bool,
    pub(super) acknowledge: Option<oneshot::Sender<Result<(), LogError>>>,
    /// Its share of the queue, given back when it is written.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

pub(super) struct Writer {
    folder: PathBuf,
    /// Held as long as the log is open.
    _lock: File,
    create: Create,
    clock: Clock,
    retention: SignedDuration,
    tags: [u8; 32],
    log: String,
    chain: Chain,
    number: u64,
    file: Box<dyn Medium>,
    /// The segments before the open one, with the time at which each began.
    closed: VecDeque<(Segment, Timestamp)>,
    open: (Segment, Timestamp),
    /// Of the open file.
    bytes: u64,
    /// How far the log is durable, beside its folder.
    head: Head,
    pseudonym_key: String,
    /// Whether somebody waits for most records, so that each is written at once.
    prompt: bool,
}

/// Where a log that exists goes on.
struct End {
    log: String,
    chain: Chain,
    number: u64,
    unclean: bool,
    torn: Option<u64>,
    closed: VecDeque<(Segment, Timestamp)>,
}

#[derive(Serialize)]
struct Cut<'a> {
    kind: &'static str,
    time: Timestamp,
    /// Every record below this number is gone.
    below: u64,
    /// The chain before it.
    previous: &'a str,
}

#[derive(Serialize)]
struct Stop {
    kind: &'static str,
    time: Timestamp,
}

/// The log goes on after it could not be written.
#[derive(Serialize)]
struct Resume {
    kind: &'static str,
    time: Timestamp,
    /// When that began; nothing was acknowledged in between.
    since: Timestamp,
}

/// Why something is not on the log.
enum Failure {
    /// Nothing of it is there, and everything before it is: it can be tried again.
    Undone(io::Error),
    /// What is on disk is not what was meant, or may not be.
    Final(io::Error),
}

/// A failure for good, with the records that nobody was told about yet.
type Ended = (io::Error, Vec<Job>);

impl Writer {
    /// Takes the folder and begins a new segment.
    pub(super) fn open(
        folder: &Path,
        keys: &Keys,
        retention: Duration,
        create: Create,
        clock: Clock,
        prompt: bool,
    ) -> Result<Writer, OpenError> {
        let io = |doing| move |source| OpenError::Io { folder: folder.to_owned(), doing, source };
        let lock =
            folder::take(folder).map_err(io("opened"))?.ok_or_else(|| OpenError::InUse(folder.to_owned()))?;
        let tags = keys.log_tags();
        let pseudonym_key: String = keys.pseudonym_check().iter().map(|byte| format!("{byte:02x}")).collect();
        let end = find_end(folder, &tags, &pseudonym_key)?;
        let now = clock();
        let opening = Opening {
            kind: Opening::KIND.to_owned(),
            time: now,
            log: end.log.clone(),
            format: folder::FORMAT,
            previous: end.chain.to_hex(),
            why: Opening::START.to_owned(),
            unclean: end.unclean,
            torn_bytes: end.torn,
            missing: missing(folder, &end),
            pseudonym_key: Some(pseudonym_key.clone()),
        };
        let segment = Segment { first: end.number, path: folder.join(folder::name(end.number)) };
        let mut line = Vec::new();
        let chain = chain::seal(&mut line, end.chain, end.number, &record::inside(&opening), &tags);
        let file = begin(create, folder, &segment, &line).map_err(|failure| match failure {
            Failure::Undone(source) | Failure::Final(source) => io("written to")(source),
        })?;
        if let Some((_, before)) = end.closed.back() {
            mistrust_clock(*before, now, retention_of(retention));
        }
        let mut writer = Writer {
            folder: folder.to_owned(),
            _lock: lock,
            create,
            clock,
            retention: retention_of(retention),
            tags,
            log: end.log,
            chain,
            number: end.number + 1,
            file,
            closed: end.closed,
            open: (segment, now),
            bytes: line.len() as u64,
            head: Head::open(folder),
            pseudonym_key,
            prompt,
        };
        writer.note_head();
        writer.head.sync();
        writer.retire(now).map_err(|failure| match failure {
            Failure::Undone(source) | Failure::Final(source) => io("written to")(source),
        })?;
        Ok(writer)
    }

    /// Writes until the log is dropped; returns early, with everything refused, after a failure for good.
    pub(super) fn run(mut self, queue: Receiver<Job>, standing: &Arc<Standing>) {
        let Err((error, waiting)) = self.serve(&queue, standing) else { return };
        standing.fail();
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the disclosure log stops: nothing personal leaves until the gateway is started again"
        );
        let mut stopped = waiting.iter().any(|job| job.stop);
        answer(waiting, Err(LogError));
        // Whoever handed in a record before they saw the failure.
        while !stopped {
            let Ok(job) = queue.recv() else { return };
            stopped = job.stop;
            answer(vec![job], Err(LogError));
        }
    }

    fn serve(&mut self, queue: &Receiver<Job>, standing: &Standing) -> Result<(), Ended> {
        let mut unsynced: Option<Instant> = None;
        loop {
            let wait = unsynced.map_or(IDLE, |since| INTERVAL.saturating_sub(since.elapsed()));
            let jobs = match queue.recv_timeout(wait) {
                Ok(first) => gather(first, queue),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return self.stop(),
            };
            let is_idle = jobs.is_empty() && unsynced.is_none();
            let jobs = match self.write(&jobs, is_idle) {
                Ok(()) => jobs,
                Err(Failure::Final(error)) => return Err((error, jobs)),
                // Nobody waits for it: the next record tries again.
                Err(Failure::Undone(_)) if is_idle => continue,
                Err(Failure::Undone(error)) => self.pause(error, jobs, queue, standing)?,
            };
            standing.written(jobs.iter().filter(|job| job.body.is_some()).count());
            let since = *unsynced.get_or_insert_with(Instant::now);
            let stop = jobs.iter().any(|job| job.stop);
            let waited_for = jobs.iter().any(|job| job.acknowledge.is_some());
            if waited_for || since.elapsed() >= INTERVAL {
                if let Err(error) = self.file.sync() {
                    return Err((error, jobs));
                }
                self.note_head();
                unsynced = None;
            }
            answer(jobs, Ok(()));
            if stop {
                return self.stop();
            }
            if !self.prompt {
                std::thread::sleep(LINGER);
            }
        }
    }

    /// Waits until the log can be written again. Until then every record that somebody waits for is refused
    /// as it comes; the others describe what has happened, and are on the log when this returns them.
    fn pause(
        &mut self,
        error: io::Error,
        jobs: Vec<Job>,
        queue: &Receiver<Job>,
        standing: &Standing,
    ) -> Result<Vec<Job>, Ended> {
        standing.pause(true);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the disclosure log cannot be written: nothing personal leaves until it can"
        );
        let since = (self.clock)();
        // The bounds of what is kept are those of the queue: its room, that of refusals, and a closing record
        // for each exchange that was under way.
        let mut kept = refuse_waited_for(jobs);
        let mut wait = RETRY;
        loop {
            let until = Instant::now() + wait;
            while !kept.iter().any(|job| job.stop) {
                match queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(job) => kept.extend(refuse_waited_for(vec![job])),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => kept.push(Job { stop: true, ..Job::default() }),
                }
            }
            match self.resume(since, &kept) {
                Ok(()) => {
                    standing.pause(false);
                    tracing::warn!("the disclosure log is written again");
                    return Ok(kept);
                }
                Err(Failure::Undone(_)) if !kept.iter().any(|job| job.stop) => {
                    wait = (wait * 2).min(MAX_RETRY);
                }
                Err(Failure::Undone(error) | Failure::Final(error)) => return Err((error, kept)),
            }
        }
    }

    /// Goes on, with a record that says so.
    fn resume(&mut self, since: Timestamp, kept: &[Job]) -> Result<(), Failure> {
        self.rotate_if_due()?;
        let room = vec![b' '; MIN_ROOM];
        let is_room = self.file.write(&room);
        self.file.cut(self.bytes).map_err(Failure::Final)?;
        is_room.map_err(Failure::Undone)?;
        let resume = record::inside(&Resume { kind: "resume", time: (self.clock)(), since });
        self.append([&resume].into_iter().chain(kept.iter().filter_map(|job| job.body.as_ref())))?;
        self.file.sync().map_err(Failure::Final)?;
        self.note_head();
        Ok(())
    }

    fn write(&mut self, jobs: &[Job], is_idle: bool) -> Result<(), Failure> {
        let bodies = jobs.iter().filter_map(|job| job.body.as_ref());
        if bodies.clone().next().is_some() || is_idle {
            self.rotate_if_due()?;
        }
        self.append(bodies)
    }

    /// Puts records behind the last one: all of them, or none.
    fn append<'b>(&mut self, bodies: impl Iterator<Item = &'b Body> + Clone) -> Result<(), Failure> {
        let mut lines = Vec::with_capacity(bodies.clone().map(|body| body.len() + chain::AROUND).sum());
        let (mut chain, mut number) = (self.chain, self.number);
        for body in bodies {
            chain = chain::seal(&mut lines, chain, number, body, &self.tags);
            number += 1;
        }
        if lines.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write(&lines) {
            return Err(match self.file.cut(self.bytes) {
                Ok(()) => Failure::Undone(error),
                Err(_) => Failure::Final(error),
            });
        }
        (self.chain, self.number) = (chain, number);
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// One of the log's own records, durable.
    fn note(&mut self, record: &impl Serialize) -> Result<(), Failure> {
        self.append([&record::inside(record)].into_iter())?;
        self.file.sync().map_err(Failure::Final)?;
        self.note_head();
        Ok(())
    }

    fn note_head(&self) {
        let (log, chain) = (self.log.clone(), self.chain.to_hex());
        self.head.write(&Checkpoint { log, records: self.number, chain });
    }

    fn rotate_if_due(&mut self) -> Result<(), Failure> {
        let now = (self.clock)();
        let (_, began) = self.open;
        if self.bytes < SEGMENT_BYTES && record::epoch(now) == record::epoch(began) {
            return Ok(());
        }
        self.file.sync().map_err(Failure::Final)?;
        let opening = Opening {
            kind: Opening::KIND.to_owned(),
            time: now,
            log: self.log.clone(),
            format: folder::FORMAT,
            previous: self.chain.to_hex(),
            why: Opening::ROTATION.to_owned(),
            unclean: false,
            torn_bytes: None,
            missing: None,
            pseudonym_key: Some(self.pseudonym_key.clone()),
        };
        let segment = Segment { first: self.number, path: self.folder.join(folder::name(self.number)) };
        let mut line = Vec::new();
        let chain = chain::seal(&mut line, self.chain, self.number, &record::inside(&opening), &self.tags);
        self.file = begin(self.create, &self.folder, &segment, &line)?;
        (self.chain, self.number, self.bytes) = (chain, self.number + 1, line.len() as u64);
        self.closed.push_back(std::mem::replace(&mut self.open, (segment, now)));
        self.note_head();
        self.head.sync();
        mistrust_clock(began, now, self.retention);
        self.retire(now)
    }

    /// Removes the segments that ended before the retention period began. That they were removed is
    /// on record, and durable, before they are.
    fn retire(&mut self, now: Timestamp) -> Result<(), Failure> {
        let begun: Vec<Timestamp> = self.closed.iter().chain([&self.open]).map(|(_, began)| *began).collect();
        // Those before it ended when it began.
        let expired = retention::newest_past(&begun, now, self.retention).unwrap_or(0);
        if expired == 0 {
            return Ok(());
        }
        let (kept, _) = self.closed.get(expired).unwrap_or(&self.open);
        let below = kept.first;
        let previous = match folder::opening(kept) {
            Ok(opening) => opening.previous,
            Err(error) => {
                tracing::warn!(%error, "expired segments of the disclosure log stay until tomorrow");
                return Ok(());
            }
        };
        self.note(&Cut { kind: "cut", time: now, below, previous: &previous })?;
        for (segment, _) in self.closed.drain(..expired) {
            if let Err(error) = std::fs::remove_file(&segment.path) {
                // It is on record as removed, and in nobody's way.
                tracing::warn!(%error, segment = segment.first, "an expired segment of the disclosure log stays");
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Ended> {
        let stopped = self.note(&Stop { kind: "stop", time: (self.clock)() });
        self.head.sync();
        stopped.map_err(|failure| match failure {
            // The log's end is told at its end, and nobody waits any more.
            Failure::Undone(error) | Failure::Final(error) => {
                (error, vec![Job { stop: true, ..Job::default() }])
            }
        })
    }
}

/// Makes a segment's file with its first record, durable together with its name. Where that fails there is
/// no such file.
fn begin(create: Create, folder: &Path, segment: &Segment, line: &[u8]) -> Result<Box<dyn Medium>, Failure> {
    let mut file = create(&segment.path).map_err(Failure::Undone)?;
    match file.write(line).and_then(|()| file.sync()).and_then(|()| folder::sync(folder)) {
        Ok(()) => Ok(file),
        Err(error) => Err(match std::fs::remove_file(&segment.path) {
            Ok(()) => Failure::Undone(error),
            Err(_) => Failure::Final(error),
        }),
    }
}

fn retention_of(retention: Duration) -> SignedDuration {
    SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX)
}

/// Says that time does not count towards the retention because the clock cannot be believed.
fn mistrust_clock(before: Timestamp, now: Timestamp, retention: SignedDuration) {
    let ahead = now.duration_since(before);
    let days = ahead.as_hours() / 24;
    if ahead > retention::longest_gap(retention) {
        tracing::warn!(
            days,
            "the clock is far ahead of the disclosure log: no record is removed for the time between"
        );
    } else if days < 0 {
        tracing::warn!(days, "the clock is behind the disclosure log");
    }
}

/// Keeps the records that nobody waits for, and refuses the others.
fn refuse_waited_for(jobs: Vec<Job>) -> Vec<Job> {
    let (refused, kept) = jobs.into_iter().partition(|job| job.acknowledge.is_some() && !job.stop);
    answer(refused, Err(LogError));
    kept
}

/// What the head says, where the folder holds less or something else.
fn missing(folder: &Path, end: &End) -> Option<Checkpoint> {
    let head = head::read(folder)?;
    let is_there = head.log == end.log
        && (head.records < end.number || (head.records == end.number && head.chain == end.chain.to_hex()));
    if is_there {
        return None;
    }
    tracing::error!(
        folder = %folder.display(), known = head.records, found = end.number, same_log = head.log == end.log,
        "records of the disclosure log were removed while the gateway did not run: bring them back"
    );
    Some(head)
}

fn gather(first: Job, queue: &Receiver<Job>) -> Vec<Job> {
    let size = |job: &Job| job.body.as_ref().map_or(0, Vec::len);
    let mut bytes = size(&first);
    let mut jobs = vec![first];
    while bytes < BATCH_BYTES && !jobs.iter().any(|job: &Job| job.stop) {
        let Ok(job) = queue.try_recv() else { break };
        bytes += size(&job);
        jobs.push(job);
    }
    jobs
}

fn answer(jobs: Vec<Job>, outcome: Result<(), LogError>) {
    for Job { body: _, stop: _, acknowledge, place } in jobs {
        drop(place);
        if let Some(acknowledge) = acknowledge {
            // Whoever asked may be gone; the record stays.
            let _ = acknowledge.send(outcome);
        }
    }
}

/// Where the log ends. An incomplete last line, which a crash leaves, is cut off; anything else
/// that does not hold together stops the start: what is appended to a broken log proves nothing.
fn find_end(folder: &Path, tags: &[u8; 32], pseudonym_key: &str) -> Result<End, OpenError> {
    let io = |doing| move |source| OpenError::Io { folder: folder.to_owned(), doing, source };
    let mut segments = folder::segments(folder).map_err(io("read"))?;
    let mut torn_bytes = 0;
    let (last, found) = loop {
        let Some(last) = segments.pop() else {
            return Ok(End {
                log: new_log().map_err(OpenError::Random)?,
                chain: Chain::BEGIN,
                number: 0,
                unclean: torn_bytes > 0,
                torn: (torn_bytes > 0).then_some(torn_bytes),
                closed: VecDeque::new(),
            });
        };
        let found = read_segment(&last, tags)?;
        torn_bytes += found.torn;
        match found.end {
            Some(_) => break (last, found),
            // Not even its first record is whole: the crash came while the segment was begun.
            None => std::fs::remove_file(&last.path).map_err(io("mended"))?,
        }
    };
    if found.torn > 0 {
        let file = std::fs::OpenOptions::new().write(true).open(&last.path).map_err(io("mended"))?;
        file.set_len(found.whole).and_then(|()| file.sync_all()).map_err(io("mended"))?;
    }
    let Some((log, chain, number)) = found.end else {
        return Err(OpenError::Broken { file: last.path, record: last.first });
    };
    let path = last.path.clone();
    segments.push(last);
    let mut closed = VecDeque::new();
    let mut known_key = None;
    for segment in segments {
        let broken = || OpenError::Broken { file: segment.path.clone(), record: segment.first };
        let opening = folder::opening(&segment).map_err(|_| broken())?;
        // Logs of version 0.1.0 do not say.
        known_key = opening.pseudonym_key.or(known_key);
        closed.push_back((segment, opening.time));
    }
    if known_key.is_some_and(|known| known != pseudonym_key) {
        return Err(OpenError::OtherPseudonyms(path));
    }
    Ok(End {
        log,
        chain,
        number,
        unclean: !found.stopped,
        torn: (torn_bytes > 0).then_some(torn_bytes),
        closed,
    })
}

struct Found {
    /// Origin, chain and next number; `None` where no record is whole.
    end: Option<(String, Chain, u64)>,
    stopped: bool,
    /// Bytes of whole lines.
    whole: u64,
    torn: u64,
}

fn read_segment(segment: &Segment, tags: &[u8; 32]) -> Result<Found, OpenError> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        kind: &'a str,
    }
    let io = |source| OpenError::Io { folder: segment.path.clone(), doing: "read", source };
    let mut lines = folder::lines(&segment.path).map_err(io)?;
    let mut found = Found { end: None, stopped: false, whole: 0, torn: 0 };
    while let Some(piece) = lines.next().map_err(io)? {
        let line = match piece {
            Piece::Line(line) => line,
            Piece::Torn(bytes) => {
                found.torn = bytes;
                break;
            }
        };
        let expected = found.end.as_ref().map_or(segment.first, |(_, _, number)| *number);
        let broken = || OpenError::Broken { file: segment.path.clone(), record: expected };
        let sealed = Sealed::parse(line).ok_or_else(broken)?;
        let kind = serde_json::from_slice::<Kind<'_>>(line).map_err(|_| broken())?.kind;
        let (log, before) = match &found.end {
            Some((log, chain, _)) => (log.clone(), *chain),
            None => {
                let opening: Opening = serde_json::from_slice(line).map_err(|_| broken())?;
                let before = Chain::parse(&opening.previous).ok_or_else(broken)?;
                if kind != Opening::KIND || opening.format != folder::FORMAT {
                    return Err(broken());
                }
                (opening.log, before)
            }
        };
        if sealed.number != expected || !sealed.follows(before) {
            return Err(broken());
        }
        if !sealed.is_tagged(tags) {
            return Err(OpenError::OtherKeys(segment.path.clone()));
        }
        found.stopped = kind == "stop";
        found.end = Some((log, sealed.chain, sealed.number + 1));
    }
    found.whole = lines.read();
    Ok(found)
}

fn new_log() -> Result<String, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}
