//! Folds the records of each exchange into one JSON object, as operators read it.
//!
//! It trusts the lines that it reads; [`super::verify`] checks them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::record;
use super::segment::{self, LineReader, Segment, SegmentHeader, SegmentLine};
use crate::keys::{Fingerprint, Pseudonym, SubjectPseudonyms};
use crate::vocabulary::Form;

/// An error that keeps a log from being read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The folder or a segment cannot be read.
    #[error("{path} cannot be read", path = .path.display())]
    Io {
        /// The folder or segment.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line is not a record.
    #[error("{path} contains a line that is not a record: run `purposegate audit verify`", path = .0.display())]
    Unreadable(PathBuf),
    /// People have other pseudonyms in the log.
    #[error("{path} was written under other keys than those with which it is read: name its key file (`key` in `[audit] logs`)", path = .0.display())]
    OtherKeys(PathBuf),
    /// The folder of another gateway's log has no record.
    #[error("{path} contains no disclosure log: is its file system mounted?", path = .0.display())]
    Empty(PathBuf),
    /// The caller's output failed.
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
}

/// Selects exchanges. Each member that is present narrows the selection.
#[derive(Clone, Debug, Default)]
pub struct ExchangeFilter {
    /// Only exchanges with this recipient.
    pub recipient: Option<String>,
    /// Only exchanges for this accepted purpose.
    pub purpose: Option<String>,
    /// Only exchanges that disclosed or withheld something about this person, given by the fingerprint of each
    /// spelling of the id.
    pub subject: Option<(Vec<Fingerprint>, SubjectPseudonyms)>,
    /// Only exchanges that began at or after this time.
    pub since: Option<Timestamp>,
}

/// Returns one exchange by its decision's id, or `None` if the log does not contain it (any more).
///
/// # Errors
/// [`ReadError`].
pub fn decision(folder: &Path, id: &str, running: bool) -> Result<Option<Value>, ReadError> {
    let Ok(ulid) = Ulid::from_string(id) else { return Ok(None) };
    let millisecond = i64::try_from(ulid.timestamp_ms()).unwrap_or(i64::MAX);
    let Ok(made) = Timestamp::from_millisecond(millisecond) else { return Ok(None) };
    let id = ulid.to_string();
    let mut found: Option<FoldedExchange> = None;
    for (read, segment) in segments_since(folder, Some(made))?.into_iter().enumerate() {
        let ended = found.as_ref().is_some_and(|exchange| exchange.outcome.is_some());
        // A ULID contains the time at which it was made. The first record is in that day's segment or the next one.
        if ended || (found.is_none() && read > 1) {
            break;
        }
        collect_exchange(&segment, &id, &mut found)?;
    }
    if !running && let Some(exchange) = &mut found {
        exchange.outcome.get_or_insert_with(|| "aborted".to_owned());
    }
    Ok(found.map(FoldedExchange::into_json))
}

/// Adds the records of one exchange in a segment, until the exchange ends.
fn collect_exchange(
    segment: &Segment,
    id: &str,
    found: &mut Option<FoldedExchange>,
) -> Result<(), ReadError> {
    let io = |source| ReadError::Io { path: segment.path.clone(), source };
    let names_it = memchr::memmem::Finder::new(id);
    let mut lines = segment::read_lines(&segment.path).map_err(io)?;
    let mut first = true;
    while let Some(SegmentLine::Complete(text)) = lines.next().map_err(io)? {
        // Only a segment's first record can state that a process began.
        if !std::mem::replace(&mut first, false) && names_it.find(text).is_none() {
            continue;
        }
        let line = LoggedRecord::parse(text).map_err(|_| ReadError::Unreadable(segment.path.clone()))?;
        match (line, &mut *found) {
            (LoggedRecord::Intent(intent) | LoggedRecord::Refusal(intent), None) if intent.decision == id => {
                *found = Some(FoldedExchange::new(intent));
            }
            (LoggedRecord::Window(window), Some(exchange)) if window.decision == id => {
                exchange.add_window(window);
            }
            (LoggedRecord::Close { decision, outcome, .. }, Some(exchange)) if decision == id => {
                exchange.outcome = Some(outcome);
                return Ok(());
            }
            // The process that would have closed the exchange has died.
            (LoggedRecord::Start { .. }, Some(exchange)) => {
                exchange.outcome = Some("aborted".to_owned());
                return Ok(());
            }
            (
                LoggedRecord::Intent(_)
                | LoggedRecord::Refusal(_)
                | LoggedRecord::Window(_)
                | LoggedRecord::Close { .. }
                | LoggedRecord::Start { .. }
                | LoggedRecord::Other,
                _,
            ) => {}
        }
    }
    Ok(())
}

/// Passes every record of the log to `write` as it was written, one per call, oldest first.
///
/// # Errors
/// [`ReadError`].
pub fn export(
    folder: &Path,
    since: Option<Timestamp>,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ReadError> {
    for segment in segments_since(folder, since)? {
        let io = |source| ReadError::Io { path: segment.path.clone(), source };
        let mut lines = segment::read_lines(&segment.path).map_err(io)?;
        while let Some(SegmentLine::Complete(line)) = lines.next().map_err(io)? {
            write(line).map_err(ReadError::Output)?;
        }
    }
    Ok(())
}

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
pub(in crate::disclosure) enum LoggedRecord {
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

impl LoggedRecord {
    fn parse(text: &[u8]) -> serde_json::Result<LoggedRecord> {
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
            "intent" => LoggedRecord::Intent(serde_json::from_slice(text)?),
            "refusal" => LoggedRecord::Refusal(serde_json::from_slice(text)?),
            "window" => LoggedRecord::Window(serde_json::from_slice(text)?),
            "close" => {
                let Closed { decision, time, outcome } = serde_json::from_slice(text)?;
                LoggedRecord::Close { decision, time, outcome }
            }
            SegmentHeader::KIND => match serde_json::from_slice(text)? {
                SegmentHeader { why, time, .. } if why == SegmentHeader::START => {
                    LoggedRecord::Start { time }
                }
                SegmentHeader { .. } => LoggedRecord::Other,
            },
            _ => LoggedRecord::Other,
        })
    }
}

/// Reads the records of a log's segments, one after the other.
pub(in crate::disclosure) struct RecordReader {
    segments: std::vec::IntoIter<Segment>,
    open: Option<(PathBuf, LineReader)>,
}

impl RecordReader {
    pub(in crate::disclosure) fn new(segments: Vec<Segment>) -> RecordReader {
        RecordReader { segments: segments.into_iter(), open: None }
    }

    /// Reads lines until one is wanted, and returns what `parse` makes of it. `None` at the end of the log.
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
                Ok(Some(SegmentLine::Complete(line))) if is_wanted(line) => {
                    return Some(parse(line).map_err(|_| ReadError::Unreadable(path.clone())));
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
    type Item = Result<LoggedRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(|_| true, LoggedRecord::parse)
    }
}

/// An exchange, as far as its records have been read.
pub(super) struct FoldedExchange {
    intent: IntentRecord,
    outcome: Option<String>,
    position: u64,
    /// True if something was released on what was last known, because the ledger was stale.
    stale: bool,
    records: u64,
    withheld_records: u64,
    subjects: Vec<String>,
    known_subjects: HashSet<String>,
    /// Subjects about whom something personal left.
    released_subjects: HashSet<String>,
    categories: BTreeMap<String, Vec<CategoryRecord>>,
}

impl FoldedExchange {
    pub(super) fn new(intent: IntentRecord) -> FoldedExchange {
        FoldedExchange {
            outcome: intent.outcome.clone(),
            position: intent.position,
            stale: intent.stale,
            intent,
            records: 0,
            withheld_records: 0,
            subjects: Vec::new(),
            known_subjects: HashSet::new(),
            released_subjects: HashSet::new(),
            categories: BTreeMap::new(),
        }
    }

    pub(super) fn decision(&self) -> &str {
        &self.intent.decision
    }

    pub(super) fn with_outcome(self, outcome: String) -> FoldedExchange {
        FoldedExchange { outcome: Some(outcome), ..self }
    }

    pub(super) fn add_window(&mut self, window: WindowRecord) {
        let WindowRecord {
            decision: _,
            position,
            stale,
            records,
            withheld_records,
            categories,
            subjects,
            withheld_subjects,
        } = window;
        self.stale |= stale;
        self.position = self.position.max(position);
        self.records += records;
        self.withheld_records += withheld_records;
        for subject in subjects {
            if !withheld_subjects.contains(&subject) {
                self.released_subjects.insert(subject.clone());
            }
            if self.known_subjects.insert(subject.clone()) {
                self.subjects.push(subject);
            }
        }
        for category in categories {
            let entries = self.categories.entry(category.category.clone()).or_default();
            match entries.iter_mut().find(|existing| existing.is_mergeable(&category)) {
                Some(existing) => existing.merge(category),
                None => entries.push(category),
            }
        }
    }

    pub(super) fn into_json(self) -> Value {
        let FoldedExchange {
            intent,
            outcome,
            position,
            stale,
            records,
            withheld_records,
            subjects,
            known_subjects: _,
            released_subjects: touched,
            categories,
        } = self;
        let withheld_subjects: Vec<&String> =
            subjects.iter().filter(|subject| !touched.contains(*subject)).collect();
        let IntentRecord {
            decision,
            time,
            recipient,
            actor,
            purpose,
            declared,
            case,
            route,
            operation,
            policy,
            mut factors,
            gateway,
            position: _,
            outcome: _,
            // Together with the windows: the exchange's own `stale`.
            stale: _,
        } = intent;
        // The factor `subjects` states whether something personal left of all records, of some, or of none. The members
        // of `categories` state the same by category.
        let subject_verdict = match outcome.as_deref() {
            Some("refused:subject-withheld") => Some("refuses"),
            _ if subjects.is_empty() => None,
            _ if withheld_records == 0 => Some("permits"),
            _ if withheld_records == records => Some("refuses"),
            _ => Some("in-part"),
        };
        factors.extend(subject_verdict.map(|verdict| ("subjects".to_owned(), verdict.into())));
        let categories = categories
            .into_iter()
            .map(|(name, entries)| (name, entries.into_iter().map(CategoryRecord::into_json).collect()));
        let mut folded = json!({
            "decision": decision,
            "time": time,
            "recipient": recipient,
            "actor": actor,
            "purpose": purpose,
            "declared": declared,
            "case": case,
            "route": route,
            "operation": operation,
            "policy": policy,
            "position": position,
            "outcome": outcome,
            "records": records,
            "withheld_records": withheld_records,
            "subjects": subjects,
            "withheld_subjects": withheld_subjects,
            "categories": categories.collect::<Map<_, _>>(),
            "factors": factors,
            "gateway": gateway,
        });
        if let (Some(folded), true) = (folded.as_object_mut(), stale) {
            folded.insert("stale".to_owned(), true.into());
        }
        folded
    }
}

impl CategoryRecord {
    /// True if both can be shown as one entry: they left in the same form on the same basis, or were withheld for the
    /// same reason by the same rules. Fields withheld for different reasons stay separate.
    fn is_mergeable(&self, other: &CategoryRecord) -> bool {
        let alike = self.form == other.form && self.basis == other.basis && self.reason == other.reason;
        alike && (self.form != Form::Removed.name() || self.rules == other.rules)
    }

    fn merge(&mut self, other: CategoryRecord) {
        self.fields += other.fields;
        for (existing, more) in [(&mut self.rules, other.rules), (&mut self.clauses, other.clauses)] {
            for name in more {
                if !existing.contains(&name) {
                    existing.push(name);
                }
            }
        }
    }

    fn into_json(self) -> Value {
        let CategoryRecord { category: _, form, basis, reason, rules, clauses, fields } = self;
        let mut entry = json!({
            "form": form, "basis": basis, "rules": rules, "clauses": clauses, "fields": fields,
        });
        if let (Some(entry), Some(reason)) = (entry.as_object_mut(), reason) {
            entry.insert("reason".to_owned(), reason.into());
        }
        entry
    }
}

/// An [`ExchangeFilter`] in use. It caches the person's pseudonyms, which differ each day.
pub(super) struct FilterState<'f> {
    filter: &'f ExchangeFilter,
    pseudonyms: HashMap<String, Vec<Pseudonym>>,
}

impl<'f> FilterState<'f> {
    pub(super) fn new(filter: &'f ExchangeFilter) -> FilterState<'f> {
        FilterState { filter, pseudonyms: HashMap::new() }
    }

    pub(super) fn matches(&mut self, exchange: &FoldedExchange) -> bool {
        let ExchangeFilter { recipient, purpose, subject, since } = self.filter;
        let intent = &exchange.intent;
        let is_selected = recipient.as_ref().is_none_or(|recipient| *recipient == intent.recipient)
            && purpose.as_ref().is_none_or(|purpose| *purpose == intent.purpose)
            && since.is_none_or(|since| intent.time >= since);
        let concerns = |(person, pseudonyms): &(Vec<Fingerprint>, SubjectPseudonyms)| {
            let epoch = record::epoch(intent.time);
            let names = self.pseudonyms.entry(epoch).or_insert_with_key(|epoch| {
                let pseudonyms = pseudonyms.epoch(epoch);
                person.iter().map(|fingerprint| pseudonyms.of(*fingerprint)).collect()
            });
            names.iter().any(|name| exchange.known_subjects.contains(&name.to_string()))
        };
        is_selected && subject.as_ref().is_none_or(concerns)
    }
}
