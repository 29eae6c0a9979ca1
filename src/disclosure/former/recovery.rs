//! Finds where an existing log ends when a process opens it.
//!
//! Repairs only what a crash leaves: an incomplete last line is cut off, and a segment without one complete record is
//! removed. Invariant: a log that is inconsistent in any other way is not continued, since records that are appended to
//! a broken chain prove nothing.

use std::collections::VecDeque;
use std::path::Path;

use jiff::Timestamp;

use super::OpenLogError;
use super::chain::{Chain, SealedLine};
use super::checkpoint::Checkpoint;
use super::head;
use super::segment::{self, Segment, SegmentHeader, SegmentLine};

/// The state in which an existing log ends, and where writing continues.
pub(super) struct LogEnd {
    pub(super) log: String,
    pub(super) chain: Chain,
    pub(super) number: u64,
    pub(super) unclean: bool,
    pub(super) torn_bytes: Option<u64>,
    pub(super) closed: VecDeque<(Segment, Timestamp)>,
}

/// Finds the end of the log. Cuts off an incomplete last line, which a crash leaves.
pub(super) fn find_end(folder: &Path, tags: &[u8; 32], pseudonym_key: &str) -> Result<LogEnd, OpenLogError> {
    let io = |doing| move |source| OpenLogError::Io { folder: folder.to_owned(), doing, source };
    let mut segments = segment::list_segments(folder).map_err(io("read"))?;
    let mut torn_bytes = 0;
    let (last, scan) = loop {
        let Some(last) = segments.pop() else {
            return Ok(LogEnd {
                log: new_log().map_err(OpenLogError::Random)?,
                chain: Chain::BEGIN,
                number: 0,
                unclean: torn_bytes > 0,
                torn_bytes: (torn_bytes > 0).then_some(torn_bytes),
                closed: VecDeque::new(),
            });
        };
        let scan = scan_segment(&last, tags)?;
        torn_bytes += scan.torn_bytes;
        match scan.end {
            Some(_) => break (last, scan),
            // The segment has no complete record: the process died while it began the segment.
            None => std::fs::remove_file(&last.path).map_err(io("repaired"))?,
        }
    };
    if scan.torn_bytes > 0 {
        let file = std::fs::OpenOptions::new().write(true).open(&last.path).map_err(io("repaired"))?;
        file.set_len(scan.complete_bytes).and_then(|()| file.sync_all()).map_err(io("repaired"))?;
    }
    let Some((log, chain, number)) = scan.end else {
        return Err(OpenLogError::Inconsistent { file: last.path, record: last.first });
    };
    let path = last.path.clone();
    segments.push(last);
    let mut closed = VecDeque::new();
    let mut known_key = None;
    for segment in segments {
        let broken = || OpenLogError::Inconsistent { file: segment.path.clone(), record: segment.first };
        let opening = segment::read_header(&segment).map_err(|_| broken())?;
        // Logs of version 0.1.0 do not identify the pseudonym key.
        known_key = opening.pseudonym_key.or(known_key);
        closed.push_back((segment, opening.time));
    }
    if known_key.is_some_and(|known| known != pseudonym_key) {
        return Err(OpenLogError::OtherPseudonyms(path));
    }
    Ok(LogEnd {
        log,
        chain,
        number,
        unclean: !scan.stopped,
        torn_bytes: (torn_bytes > 0).then_some(torn_bytes),
        closed,
    })
}

/// Result of reading one segment.
struct SegmentScan {
    /// The log's id, the chain and the next number; `None` if no record is complete.
    end: Option<(String, Chain, u64)>,
    stopped: bool,
    /// Bytes of complete lines.
    complete_bytes: u64,
    torn_bytes: u64,
}

/// Reads a whole segment and checks its chain and its tags.
fn scan_segment(segment: &Segment, tags: &[u8; 32]) -> Result<SegmentScan, OpenLogError> {
    #[derive(serde::Deserialize)]
    struct RecordKind<'a> {
        kind: &'a str,
    }
    let io = |source| OpenLogError::Io { folder: segment.path.clone(), doing: "read", source };
    let mut lines = segment::read_lines(&segment.path).map_err(io)?;
    let mut scan = SegmentScan { end: None, stopped: false, complete_bytes: 0, torn_bytes: 0 };
    while let Some(piece) = lines.next().map_err(io)? {
        let line = match piece {
            SegmentLine::Complete(line) => line,
            SegmentLine::Torn(bytes) => {
                scan.torn_bytes = bytes;
                break;
            }
        };
        let expected = scan.end.as_ref().map_or(segment.first, |(_, _, number)| *number);
        let broken = || OpenLogError::Inconsistent { file: segment.path.clone(), record: expected };
        let sealed = SealedLine::parse(line).ok_or_else(broken)?;
        let kind = serde_json::from_slice::<RecordKind<'_>>(line).map_err(|_| broken())?.kind;
        let (log, before) = match &scan.end {
            Some((log, chain, _)) => (log.clone(), *chain),
            None => {
                let opening: SegmentHeader = serde_json::from_slice(line).map_err(|_| broken())?;
                let before = Chain::parse(&opening.previous).ok_or_else(broken)?;
                if kind != SegmentHeader::KIND || opening.format != segment::FORMAT {
                    return Err(broken());
                }
                (opening.log, before)
            }
        };
        if sealed.number != expected || !sealed.follows(before) {
            return Err(broken());
        }
        if !sealed.is_tagged(tags) {
            return Err(OpenLogError::OtherKeys(segment.path.clone()));
        }
        scan.stopped = kind == "stop";
        scan.end = Some((log, sealed.chain, sealed.number + 1));
    }
    scan.complete_bytes = lines.bytes_read();
    Ok(scan)
}

/// Generates the random id of a new log.
fn new_log() -> Result<String, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the content of the head if the log ends before it or differs from it.
pub(super) fn missing_tail(folder: &Path, end: &LogEnd) -> Option<Checkpoint> {
    let head = head::read(folder)?;
    let is_present = head.log == end.log
        && (head.records < end.number || (head.records == end.number && head.chain == end.chain.to_hex()));
    if is_present {
        return None;
    }
    tracing::error!(
        folder = %folder.display(), known = head.records, found = end.number, same_log = head.log == end.log,
        "records of the disclosure log were removed while the gateway was not running: restore them"
    );
    Some(head)
}
