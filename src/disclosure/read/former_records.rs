//! The records of an old log in the model of [`super::model`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use super::model::{LoggedDisclosure, LoggedExchangeRecord, LoggedHead, LoggedRecord, LoggedRuling};
use crate::disclosure::former::TagKey;
use crate::disclosure::former::records::{
    CategoryRecord, FormerRecord, IntentRecord, RecordReader, WindowRecord, segments_since,
};
use crate::disclosure::former::segment::{self, Segment};
use crate::disclosure::record::ExchangeMode;
use crate::disclosure::storage::ReadError;
use crate::keys::Pseudonym;

/// Folder of the segments of an old log that was taken over.
const FORMER: &str = "former";

/// Returns the segments of the old log that belongs to a folder, in order. While a log is taken over, some segments are
/// in the folder itself.
///
/// # Errors
/// [`ReadError`], also if the folder does not exist.
pub(in crate::disclosure) fn segments(
    folder: &Path,
    since: Option<Timestamp>,
) -> Result<Vec<Segment>, ReadError> {
    let moved = match segments_since(&folder.join(FORMER), since) {
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        moved => moved?,
    };
    let remaining = segments_since(folder, since)?;
    Ok(moved.into_iter().chain(remaining).collect())
}

/// True if an old log belongs to a folder.
///
/// # Errors
/// [`ReadError`], also if the folder does not exist.
pub fn has_former(folder: &Path) -> Result<bool, ReadError> {
    Ok(!segments(folder, None)?.is_empty())
}

/// Reads the records of an old log.
pub(super) struct FormerRecords {
    reader: RecordReader,
    has_tags: bool,
}

impl FormerRecords {
    /// Reads segments, with the key of the log's tags if it is known.
    pub(super) fn new(segments: Vec<Segment>, tags: Option<TagKey>) -> FormerRecords {
        FormerRecords { reader: RecordReader::new(segments, tags), has_tags: tags.is_some() }
    }

    /// Reads the next record of a kind.
    pub(super) fn next_of_kind<T: serde::de::DeserializeOwned>(
        &mut self,
        kind: &str,
    ) -> Option<Result<T, ReadError>> {
        let is_wanted = |line: &[u8]| segment::has_kind(line, kind);
        self.reader.next_of(is_wanted, |line| serde_json::from_slice(line))
    }

    /// Reads the next line as it was written.
    pub(super) fn next_line(&mut self) -> Option<Result<Vec<u8>, ReadError>> {
        self.reader.next_of(|_| true, |line| Ok(line.to_vec()))
    }
}

impl Iterator for FormerRecords {
    type Item = Result<LoggedRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.reader.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            let record = match record {
                FormerRecord::Intent(intent) => begun(intent, None),
                FormerRecord::Refusal(mut refusal) => {
                    let outcome = refusal.outcome.take();
                    begun(refusal, outcome)
                }
                FormerRecord::Window(window) => disclosed(window),
                FormerRecord::Close { decision, time, outcome } => ended(&decision, time, outcome),
                FormerRecord::Start { time } => return Some(Ok(LoggedRecord::Start(time))),
                FormerRecord::Other => continue,
            };
            // Every record of an exchange has a ULID.
            let Some(mut record) = record else {
                return Some(Err(ReadError::Damaged(PathBuf::from(FORMER))));
            };
            if let Some(head) = &mut record.head {
                head.has_unchecked_tags = !self.has_tags;
            }
            return Some(Ok(LoggedRecord::Exchange(Box::new(record))));
        }
    }
}

fn pseudonym(text: &str) -> Option<Pseudonym> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    bytes.try_into().ok().map(Pseudonym::from_bytes)
}

fn begun(intent: IntentRecord, end: Option<String>) -> Option<LoggedExchangeRecord> {
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
        position,
        stale,
        factors,
        outcome: _,
        gateway,
    } = intent;
    let actor = match actor {
        Some(actor) => Some(pseudonym(&actor)?),
        None => None,
    };
    let verdict = |verdict: Value| verdict.as_str().map_or_else(|| verdict.to_string().into(), Arc::from);
    let head = LoggedHead {
        time,
        recipient: recipient.into(),
        actor,
        holder: None,
        purpose: purpose.into(),
        declared,
        case,
        route: route.into(),
        operation: operation.into(),
        policy: policy.into(),
        factors: factors.into_iter().map(|(name, given)| (name.into(), verdict(given))).collect(),
        gateway: gateway.map(Into::into),
        mode: ExchangeMode::Enforce,
        has_unchecked_tags: false,
        trace: None,
    };
    let decision = Ulid::from_string(&decision).ok()?;
    Some(LoggedExchangeRecord { head: Some(head), position, stale, end, ..empty(decision, time) })
}

fn disclosed(window: WindowRecord) -> Option<LoggedExchangeRecord> {
    let WindowRecord {
        decision,
        position,
        stale,
        records,
        withheld_records,
        categories,
        subjects,
        withheld_subjects,
    } = window;
    let (mut released, mut withheld) = (Vec::new(), Vec::new());
    for subject in &subjects {
        let people = if withheld_subjects.contains(subject) { &mut withheld } else { &mut released };
        people.push(pseudonym(subject)?);
    }
    let disclosure = LoggedDisclosure {
        records,
        withheld_records,
        categories: categories.into_iter().map(ruling).collect(),
        subjects: released,
        withheld_subjects: withheld,
    };
    let decision = Ulid::from_string(&decision).ok()?;
    // A window has a time of its own, which nobody needs.
    let time = Timestamp::MIN;
    Some(LoggedExchangeRecord { disclosure: Some(disclosure), position, stale, ..empty(decision, time) })
}

fn ruling(category: CategoryRecord) -> (Arc<LoggedRuling>, u64) {
    let CategoryRecord { category, form, basis, reason, rules, clauses, fields } = category;
    let texts = |texts: Vec<String>| texts.into_iter().map(Arc::from).collect();
    let ruling = LoggedRuling {
        category: category.into(),
        form: form.into(),
        basis: basis.map(Into::into),
        reason: reason.map(Into::into),
        rules: texts(rules),
        clauses: texts(clauses),
        would: None,
    };
    (Arc::new(ruling), fields)
}

fn ended(decision: &str, time: Timestamp, outcome: String) -> Option<LoggedExchangeRecord> {
    Some(LoggedExchangeRecord { end: Some(outcome), ..empty(Ulid::from_string(decision).ok()?, time) })
}

fn empty(decision: Ulid, time: Timestamp) -> LoggedExchangeRecord {
    LoggedExchangeRecord {
        time,
        decision,
        day: None,
        head: None,
        position: 0,
        stale: false,
        disclosure: None,
        end: None,
        corrects: false,
        would_refuse: None,
        has_no_detail: false,
    }
}
