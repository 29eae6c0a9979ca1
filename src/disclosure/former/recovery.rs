//! Finds where an old log ends, before it is moved aside.
//!
//! Repairs only what a crash leaves: an incomplete last line is cut off, and a segment without one complete record is
//! removed. Invariant: a log that is inconsistent in any other way is not continued, since records that follow a broken
//! chain prove nothing.

use std::path::Path;

use super::FormerLogError;
use super::chain::{Chain, SealedLine};
use super::head;
use super::segment::{self, Segment, SegmentHeader, SegmentLine};

/// The end of an old log.
pub(super) struct ChainEnd {
    pub(super) log: String,
    pub(super) chain: Chain,
    pub(super) number: u64,
}

/// Finds the end of the log; `None` if it has no complete record. Cuts off an incomplete last line, which a crash leaves.
pub(super) fn find_end(
    folder: &Path,
    tags: &[u8; 32],
    pseudonym_key: &str,
) -> Result<Option<ChainEnd>, FormerLogError> {
    let io = |doing| move |source| FormerLogError::Io { folder: folder.to_owned(), doing, source };
    let mut segments = segment::list_segments(folder).map_err(io("read"))?;
    let (last, scan) = loop {
        let Some(last) = segments.pop() else { return Ok(None) };
        let scan = scan_segment(&last, tags)?;
        match scan.end {
            Some(_) => break (last, scan),
            // The segment has no complete record: the process died while it began the segment.
            None => std::fs::remove_file(&last.path).map_err(io("repaired"))?,
        }
    };
    if scan.is_torn {
        let file = std::fs::OpenOptions::new().write(true).open(&last.path).map_err(io("repaired"))?;
        file.set_len(scan.complete_bytes).and_then(|()| file.sync_all()).map_err(io("repaired"))?;
    }
    let path = last.path.clone();
    segments.push(last);
    let mut known_key = None;
    for segment in segments {
        let broken = || FormerLogError::Inconsistent { file: segment.path.clone(), record: segment.first };
        let opening = segment::read_header(&segment).map_err(|_| broken())?;
        // Logs of version 0.1.0 do not identify the pseudonym key.
        known_key = opening.pseudonym_key.or(known_key);
    }
    if known_key.is_some_and(|known| known != pseudonym_key) {
        return Err(FormerLogError::OtherPseudonyms(path));
    }
    Ok(scan.end)
}

/// Result of reading one segment.
struct SegmentScan {
    /// `None` if no record is complete.
    end: Option<ChainEnd>,
    /// Bytes of complete lines.
    complete_bytes: u64,
    /// True if an incomplete line follows.
    is_torn: bool,
}

/// Reads a whole segment and checks its chain and its tags.
fn scan_segment(segment: &Segment, tags: &[u8; 32]) -> Result<SegmentScan, FormerLogError> {
    #[derive(serde::Deserialize)]
    struct RecordKind<'a> {
        kind: &'a str,
    }
    let io = |source| FormerLogError::Io { folder: segment.path.clone(), doing: "read", source };
    let mut lines = segment::read_lines(&segment.path).map_err(io)?;
    let mut scan = SegmentScan { end: None, complete_bytes: 0, is_torn: false };
    while let Some(piece) = lines.next().map_err(io)? {
        let line = match piece {
            SegmentLine::Complete(line) => line,
            SegmentLine::Torn(_) => {
                scan.is_torn = true;
                break;
            }
        };
        let expected = scan.end.as_ref().map_or(segment.first, |end| end.number);
        let broken = || FormerLogError::Inconsistent { file: segment.path.clone(), record: expected };
        let sealed = SealedLine::parse(line).ok_or_else(broken)?;
        let kind = serde_json::from_slice::<RecordKind<'_>>(line).map_err(|_| broken())?.kind;
        let (log, before) = match &scan.end {
            Some(ChainEnd { log, chain, .. }) => (log.clone(), *chain),
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
            return Err(FormerLogError::OtherKeys(segment.path.clone()));
        }
        scan.end = Some(ChainEnd { log, chain: sealed.chain, number: sealed.number + 1 });
    }
    scan.complete_bytes = lines.bytes_read();
    Ok(scan)
}

/// Warns if the head says that the log had more records, or others.
pub(super) fn warn_about_missing_tail(folder: &Path, end: &ChainEnd) {
    let Some(head) = head::read(folder) else { return };
    let is_present = head.log == end.log
        && (head.records < end.number || (head.records == end.number && head.chain == end.chain.to_hex()));
    if !is_present {
        tracing::error!(
            folder = %folder.display(), known = head.records, found = end.number, same_log = head.log == end.log,
            "records of the disclosure log were removed while the gateway was not running: restore them"
        );
    }
}
