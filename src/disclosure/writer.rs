//! One thread that puts records on disk, in order, many at a time.
//!
//! Invariants: the chain runs through every record in the order of the file; nobody is told that a
//! record is durable before it is; after the first failure nothing is written any more, and every
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
use super::record::{self, Body};
use super::{LogError, OpenError, Standing};

/// A segment is closed at this size, or when the UTC day is over.
const SEGMENT_BYTES: u64 = 64 << 20;

/// How long written records wait to be made durable where nobody waits for them.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// How long the thread gathers records for which nobody waits: waking it for each costs more than
/// writing it.
const LINGER: Duration = Duration::from_millis(5);

/// How many bytes are gathered for one write at most.
const BATCH_BYTES: usize = 8 << 20;

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
    bytes: u64,
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

impl Writer {
    /// Takes the folder and begins a new segment.
    pub(super) fn open(
        folder: &Path,
        tags: [u8; 32],
        retention: Duration,
        create: Create,
        clock: Clock,
        prompt: bool,
    ) -> Result<Writer, OpenError> {
        let io = |doing| move |source| OpenError::Io { folder: folder.to_owned(), doing, source };
        let lock =
            folder::take(folder).map_err(io("opened"))?.ok_or_else(|| OpenError::InUse(folder.to_owned()))?;
        let end = find_end(folder, &tags)?;
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
        };
        let segment = Segment { first: end.number, path: folder.join(folder::name(end.number)) };
        let file = create(&segment.path).map_err(io("written to"))?;
        let mut writer = Writer {
            folder: folder.to_owned(),
            _lock: lock,
            create,
            clock,
            retention: SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX),
            tags,
            log: end.log,
            chain: end.chain,
            number: end.number,
            file,
            closed: end.closed,
            open: (segment, now),
            bytes: 0,
            prompt,
        };
        writer.begin(&opening).and_then(|()| writer.retire(now)).map_err(io("written to"))?;
        Ok(writer)
    }

    /// Writes until the log is dropped; returns early, with everything refused, after a failure.
    pub(super) fn run(mut self, queue: Receiver<Job>, standing: &Arc<Standing>) {
        let outcome = self.serve(&queue, standing);
        if let Err((error, waiting)) = outcome {
            standing.fail();
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the disclosure log stops: nothing personal leaves"
            );
            answer(waiting, Err(LogError));
            // Whoever handed in a record before they saw the failure.
            while let Some(job) = queue.recv().ok().filter(|job| !job.stop) {
                answer(vec![job], Err(LogError));
            }
        }
    }

    fn serve(&mut self, queue: &Receiver<Job>, standing: &Standing) -> Result<(), (io::Error, Vec<Job>)> {
        let mut unsynced: Option<Instant> = None;
        loop {
            let received = match unsynced {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => queue.recv_timeout(INTERVAL.saturating_sub(since.elapsed())),
            };
            let jobs = match received {
                Ok(first) => gather(first, queue),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => {
                    return self.stop().map_err(|error| (error, Vec::new()));
                }
            };
            if let Err(error) = self.write(&jobs) {
                return Err((error, jobs));
            }
            standing.written(jobs.iter().filter(|job| job.body.is_some()).count());
            let since = *unsynced.get_or_insert_with(Instant::now);
            let stop = jobs.iter().any(|job| job.stop);
            let waited_for = jobs.iter().any(|job| job.acknowledge.is_some());
            if waited_for || since.elapsed() >= INTERVAL {
                if let Err(error) = self.file.sync() {
                    return Err((error, jobs));
                }
                unsynced = None;
            }
            answer(jobs, Ok(()));
            if stop {
                return self.stop().map_err(|error| (error, Vec::new()));
            }
            if !self.prompt {
                std::thread::sleep(LINGER);
            }
        }
    }

    fn write(&mut self, jobs: &[Job]) -> io::Result<()> {
        if jobs.iter().all(|job| job.body.is_none()) {
            return Ok(());
        }
        self.rotate_if_due()?;
        let bodies = || jobs.iter().filter_map(|job| job.body.as_ref());
        let mut lines = Vec::with_capacity(bodies().map(|body| body.len() + chain::AROUND).sum());
        bodies().for_each(|body| self.seal(&mut lines, body));
        self.put(&lines)
    }

    fn seal(&mut self, lines: &mut Vec<u8>, body: &Body) {
        self.chain = chain::seal(lines, self.chain, self.number, body, &self.tags);
        self.number += 1;
    }

    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        self.bytes += lines.len() as u64;
        self.file.write(lines)
    }

    /// One of the log's own records.
    fn note(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = Vec::new();
        self.seal(&mut line, &record::inside(record));
        self.put(&line)
    }

    /// The first record of a segment, durable together with the segment's name.
    fn begin(&mut self, opening: &Opening) -> io::Result<()> {
        self.bytes = 0;
        self.note(opening)?;
        self.file.sync()?;
        folder::sync(&self.folder)
    }

    fn rotate_if_due(&mut self) -> io::Result<()> {
        let now = (self.clock)();
        let (_, began) = self.open;
        if self.bytes < SEGMENT_BYTES && record::epoch(now) == record::epoch(began) {
            return Ok(());
        }
        self.file.sync()?;
        let segment = Segment { first: self.number, path: self.folder.join(folder::name(self.number)) };
        self.file = (self.create)(&segment.path)?;
        self.closed.push_back(std::mem::replace(&mut self.open, (segment, now)));
        self.begin(&Opening {
            kind: Opening::KIND.to_owned(),
            time: now,
            log: self.log.clone(),
            format: folder::FORMAT,
            previous: self.chain.to_hex(),
            why: Opening::ROTATION.to_owned(),
            unclean: false,
            torn_bytes: None,
        })?;
        self.retire(now)
    }

    /// Removes the segments that ended before the retention period began. That they were removed is
    /// on record, and durable, before they are.
    fn retire(&mut self, now: Timestamp) -> io::Result<()> {
        let Ok(oldest) = now.checked_sub(self.retention) else { return Ok(()) };
        // A segment holds the records of one UTC day.
        let oldest = record::epoch(oldest);
        let expired = self.closed.iter().take_while(|(_, began)| record::epoch(*began) < oldest).count();
        if expired == 0 {
            return Ok(());
        }
        let (kept, _) = self.closed.get(expired).unwrap_or(&self.open);
        let (below, previous) = (kept.first, folder::opening(kept)?.previous);
        self.note(&Cut { kind: "cut", time: now, below, previous: &previous })?;
        self.file.sync()?;
        for (segment, _) in self.closed.drain(..expired) {
            std::fs::remove_file(&segment.path)?;
        }
        folder::sync(&self.folder)
    }

    fn stop(&mut self) -> io::Result<()> {
        self.note(&Stop { kind: "stop", time: (self.clock)() })?;
        self.file.sync()
    }
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
fn find_end(folder: &Path, tags: &[u8; 32]) -> Result<End, OpenError> {
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
    segments.push(last);
    let mut closed = VecDeque::new();
    for segment in segments {
        let broken = || OpenError::Broken { file: segment.path.clone(), record: segment.first };
        let time = folder::opening(&segment).map_err(|_| broken())?.time;
        closed.push_back((segment, time));
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
