//! Reads the records of an old log, as far as reports need them.
//!
//! Invariant: a line that was changed, removed, moved or inserted is an error, with the log's key also if the whole log was
//! written anew. [`super::verify`] finds a removed beginning or end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::TagKey;
use super::chain::{Chain, SealedLine};
use super::segment::{self, LineReader, Segment, SegmentHeader, SegmentLine};
use crate::disclosure::storage::ReadError;

/// Returns the segments that can hold records since a time.
pub(in crate::disclosure) fn segments_since(
    folder: &Path,
    since: Option<Timestamp>,
) -> Result<Vec<Segment>, ReadError> {
    let io = |source| ReadError::Io { path: folder.to_owned(), source };
    let mut segments = segment::list_segments(folder).map_err(io)?;
    let Some(since) = since else { return Ok(segments) };
    // Starts with the last segment that began before that time. A segment whose header cannot be read is included.
    let began_before =
        |segment: &Segment| segment::read_header(segment).is_ok_and(|header| header.time <= since);
    let first = segments.iter().rposition(began_before).unwrap_or(0);
    segments.drain(..first);
    Ok(segments)
}

/// A line of the log, as far as folding needs it.
pub(in crate::disclosure) enum FormerRecord {
    Intent(IntentRecord),
    Refusal(IntentRecord),
    Window(WindowRecord),
    Close {
        decision: String,
        time: Timestamp,
        outcome: String,
    },
    /// A process has begun to write.
    Start {
        time: Timestamp,
    },
    /// Another record of the log about itself.
    Other,
}

/// An intent or refusal record.
#[derive(Deserialize)]
pub(in crate::disclosure) struct IntentRecord {
    pub(in crate::disclosure) decision: String,
    pub(in crate::disclosure) time: Timestamp,
    pub(in crate::disclosure) recipient: String,
    pub(in crate::disclosure) actor: Option<String>,
    pub(in crate::disclosure) purpose: String,
    pub(in crate::disclosure) declared: Option<String>,
    pub(in crate::disclosure) case: Option<String>,
    pub(in crate::disclosure) route: String,
    pub(in crate::disclosure) operation: String,
    pub(in crate::disclosure) policy: String,
    pub(in crate::disclosure) position: u64,
    #[serde(default)]
    pub(in crate::disclosure) stale: bool,
    pub(in crate::disclosure) factors: Map<String, Value>,
    pub(in crate::disclosure) outcome: Option<String>,
    /// Name of the gateway that wrote the record; absent in logs of version 0.1.0.
    pub(in crate::disclosure) gateway: Option<String>,
}

/// A window record.
#[derive(Deserialize)]
pub(in crate::disclosure) struct WindowRecord {
    pub(in crate::disclosure) decision: String,
    pub(in crate::disclosure) position: u64,
    #[serde(default)]
    pub(in crate::disclosure) stale: bool,
    pub(in crate::disclosure) records: u64,
    pub(in crate::disclosure) withheld_records: u64,
    pub(in crate::disclosure) categories: Vec<CategoryRecord>,
    pub(in crate::disclosure) subjects: Vec<String>,
    #[serde(default)]
    pub(in crate::disclosure) withheld_subjects: HashSet<String>,
}

/// One entry of a window record's `categories`.
#[derive(Deserialize)]
pub(in crate::disclosure) struct CategoryRecord {
    pub(in crate::disclosure) category: String,
    pub(in crate::disclosure) form: String,
    pub(in crate::disclosure) basis: Option<String>,
    /// Reason for which the category was withheld; absent in logs of version 0.1.0.
    pub(in crate::disclosure) reason: Option<String>,
    pub(in crate::disclosure) rules: Vec<String>,
    pub(in crate::disclosure) clauses: Vec<String>,
    pub(in crate::disclosure) fields: u64,
}

impl FormerRecord {
    fn parse(text: &[u8]) -> serde_json::Result<FormerRecord> {
        #[derive(Deserialize)]
        struct RecordTag {
            kind: String,
        }
        #[derive(Deserialize)]
        struct Closed {
            decision: String,
            time: Timestamp,
            outcome: String,
        }
        Ok(match serde_json::from_slice::<RecordTag>(text)?.kind.as_str() {
            "intent" => FormerRecord::Intent(serde_json::from_slice(text)?),
            "refusal" => FormerRecord::Refusal(serde_json::from_slice(text)?),
            "window" => FormerRecord::Window(serde_json::from_slice(text)?),
            "close" => {
                let Closed { decision, time, outcome } = serde_json::from_slice(text)?;
                FormerRecord::Close { decision, time, outcome }
            }
            SegmentHeader::KIND => match serde_json::from_slice(text)? {
                SegmentHeader { why, time, .. } if why == SegmentHeader::START => {
                    FormerRecord::Start { time }
                }
                SegmentHeader { .. } => FormerRecord::Other,
            },
            _ => FormerRecord::Other,
        })
    }
}

/// Reads the records of a log's segments, one after the other.
pub(in crate::disclosure) struct RecordReader {
    segments: std::vec::IntoIter<Segment>,
    open: Option<(PathBuf, LineReader)>,
    check: LineCheck,
}

/// Checks that each line continues the one before it, and that the holder of the log's key has written it.
struct LineCheck {
    tags: Option<TagKey>,
    /// The number of the next record and the chain before it; `None` before the first one.
    expected: Option<(u64, Chain)>,
}

impl LineCheck {
    /// True if a line is the next record.
    fn accept(&mut self, line: &[u8]) -> bool {
        let Some(sealed) = SealedLine::parse(line) else { return false };
        let expected = self.expected.or_else(|| {
            // The first record of a segment states the chain before it.
            let header: SegmentHeader = serde_json::from_slice(line).ok()?;
            Some((sealed.number, Chain::parse(&header.previous)?))
        });
        let continues =
            expected.is_some_and(|(number, before)| sealed.number == number && sealed.follows(before));
        self.expected = Some((sealed.number.saturating_add(1), sealed.chain));
        continues && self.tags.is_none_or(|tags| sealed.is_tagged(tags.bytes()))
    }
}

impl RecordReader {
    /// Reads segments, with the key of the log's tags if it is known.
    pub(in crate::disclosure) fn new(segments: Vec<Segment>, tags: Option<TagKey>) -> RecordReader {
        let check = LineCheck { tags, expected: None };
        RecordReader { segments: segments.into_iter(), open: None, check }
    }

    /// Reads lines until one is wanted, and returns what `parse` makes of it. `None` at the end of the log. After an error the
    /// rest of the log is not to be used.
    pub(in crate::disclosure) fn next_of<T>(
        &mut self,
        is_wanted: impl Fn(&[u8]) -> bool,
        parse: impl Fn(&[u8]) -> serde_json::Result<T>,
    ) -> Option<Result<T, ReadError>> {
        loop {
            let (path, lines) = match &mut self.open {
                Some(open) => open,
                open => {
                    let Segment { first: _, path } = self.segments.next()?;
                    match segment::read_lines(&path) {
                        Ok(lines) => open.insert((path, lines)),
                        Err(source) => return Some(Err(ReadError::Io { path, source })),
                    }
                }
            };
            let is_over = match lines.next() {
                Ok(Some(SegmentLine::Complete(line))) if !self.check.accept(line) => {
                    return Some(Err(ReadError::Damaged(path.clone())));
                }
                Ok(Some(SegmentLine::Complete(line))) if is_wanted(line) => {
                    return Some(parse(line).map_err(|_| ReadError::Damaged(path.clone())));
                }
                Ok(Some(SegmentLine::Complete(_))) => false,
                // An incomplete last line was never acknowledged.
                Ok(Some(SegmentLine::Torn(_)) | None) => true,
                Err(source) => return Some(Err(ReadError::Io { path: path.clone(), source })),
            };
            if is_over {
                self.open = None;
            }
        }
    }
}

impl Iterator for RecordReader {
    type Item = Result<FormerRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(|_| true, FormerRecord::parse)
    }
}
