//! Folds the records of each exchange into one JSON object, as operators read it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::decoded_log::{self, DecodedLog};
use super::exchange_records::earliest_record;
use super::former_records::{self, FormerRecords};
use super::model::{
    LoggedDisclosure, LoggedExchangeRecord, LoggedHead, LoggedHolder, LoggedRecord, LoggedRuling,
    LoggedWouldRelease,
};
use super::source::{LogPlace, pseudonyms_on};
use crate::decision::Reason;
use crate::disclosure::entry::EntryKind;
use crate::disclosure::former::TagKey;
#[cfg(feature = "sqlite")]
use crate::disclosure::index::LogIndex;
use crate::disclosure::record::{CategoryDisclosure, ExchangeMode};
use crate::disclosure::storage::ReadError;
use crate::keys::{LoggedPerson, Pseudonym, SubjectPseudonyms};
use crate::traces::TraceId;
use crate::vocabulary::{Form, time_of};

/// Time after its beginning in which the first record of an exchange is sought.
const FIRST_RECORD: Duration = Duration::from_secs(24 * 60 * 60);

/// The effort of a search for one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEffort {
    /// Reads everything that can hold the decision, for operators.
    Exhaustive,
    /// Reads at most so many entries that no index covers, and the log of an earlier version only for decisions that are
    /// older than the log. For recipients, who choose the id.
    Bounded(u64),
}

impl SearchEffort {
    /// Returns the number of entries without an index that may be read.
    pub(in crate::disclosure) fn max_unindexed(self) -> u64 {
        match self {
            SearchEffort::Exhaustive => u64::MAX,
            SearchEffort::Bounded(max) => max,
        }
    }
}

/// Selects exchanges. Each member that is present narrows the selection.
#[derive(Clone, Debug, Default)]
pub struct ExchangeFilter {
    /// Only exchanges with this recipient.
    pub recipient: Option<String>,
    /// Only exchanges for this accepted purpose.
    pub purpose: Option<String>,
    /// Only exchanges that disclosed or withheld something about this person, given by each spelling of the id.
    pub subject: Option<(Vec<LoggedPerson>, SubjectPseudonyms)>,
    /// Only exchanges that began at or after this time.
    pub since: Option<Timestamp>,
}

/// An exchange by its decision's id.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundDecision {
    /// The exchange, as operators read it.
    pub record: Value,
    /// The person or the account that the caller was. `None` if the log does not say it.
    pub holder: Option<LoggedHolder>,
}

/// Returns one exchange by its decision's id, or `None` if the log does not contain it (any more). With an index that fits the
/// log, only the exchange's entries and those after the index are read; otherwise those since the time that the id contains.
///
/// # Errors
/// [`ReadError`].
pub fn decision(place: LogPlace<'_>, id: &str, running: bool) -> Result<Option<Value>, ReadError> {
    let found = sought_decision(place, id, running, SearchEffort::Exhaustive)?;
    Ok(found.map(|found| found.record))
}

/// Does the same as [`decision`] with some effort.
///
/// # Errors
/// [`ReadError`], also if a bounded search ends before the last entry.
pub(super) fn sought_decision(
    place: LogPlace<'_>,
    id: &str,
    running: bool,
    effort: SearchEffort,
) -> Result<Option<FoundDecision>, ReadError> {
    let LogPlace { folder, index, tags } = place;
    let Ok(id) = Ulid::from_string(id) else { return Ok(None) };
    let (mut found, mut began) = (None, None);
    if let Some(mut log) = decoded_log::open(folder)? {
        found = decision_in_entries(&mut log, index, id, effort.max_unindexed())?;
        if effort != SearchEffort::Exhaustive {
            began = log.begin_time()?;
        }
    }
    if found.is_none() && began.is_none_or(|began| earliest_record(time_of(id)) <= began) {
        found = decision_in_former(folder, id, tags)?;
    }
    if !running && let Some(exchange) = &mut found {
        exchange.outcome.get_or_insert_with(|| "aborted".to_owned());
    }
    Ok(found.map(|mut exchange| {
        let holder = exchange.head.holder.take();
        FoundDecision { record: exchange.into_json(), holder }
    }))
}

/// Collects the records of one exchange in a new log: those that the index has, and those since. Without an index: from
/// the time that the id contains to the end of the process. Reads at most `max` entries.
fn decision_in_entries(
    log: &mut DecodedLog,
    index: Option<&Path>,
    id: Ulid,
    max: u64,
) -> Result<Option<FoldedExchange>, ReadError> {
    let made = time_of(id);
    let (mut found, mut index) = match indexed_decision(log, index, id)? {
        Some(indexed) => indexed,
        None => (None, log.first_since(earliest_record(made))?),
    };
    let latest = made.checked_add(FIRST_RECORD).unwrap_or(Timestamp::MAX);
    // A clock that was ahead for a while leaves many entries with one and the same time.
    let mut clamped = None;
    let end = index.saturating_add(max);
    while let Some(entry) = log.entry(index)? {
        if index >= end {
            return Err(ReadError::NotIndexed(log.reader().folder().to_owned()));
        }
        let head = log.head(&entry)?;
        let mut next = index + 1;
        match &mut found {
            // A correction can follow as long as the process runs.
            Some(_) if head.kind == EntryKind::Start => return Ok(found.map(FoldedExchange::aborted)),
            Some(_) if head.id != Some(id) => {}
            None if head.id != Some(id) => {
                let time = log.place(index)?.day.time(&head);
                if time > latest && *clamped.get_or_insert(time) != time {
                    return Ok(None);
                }
            }
            found => {
                if let Some((record, after)) = log.exchange_record(index, &entry)? {
                    next = after;
                    FoldedExchange::collect(found, record);
                }
            }
        }
        index = next;
    }
    Ok(found)
}

/// Returns an exchange as far as the index reaches, and the number of indexed entries; `None` if no index fits the log.
#[cfg(feature = "sqlite")]
fn indexed_decision(
    log: &mut DecodedLog,
    index: Option<&Path>,
    id: Ulid,
) -> Result<Option<(Option<FoldedExchange>, u64)>, ReadError> {
    let Some(folder) = index else { return Ok(None) };
    let Some(index) = LogIndex::open_fitting(folder, log.reader())? else { return Ok(None) };
    let (entries, is_open) = match index.decision(id).and_then(|entries| Ok((entries, index.is_open(id)?))) {
        Ok(listed) => listed,
        Err(error) => {
            error.report();
            return Ok(None);
        }
    };
    let mut found = None;
    for entry in entries {
        let Some(read) = log.entry(entry)? else { continue };
        if let Some((record, _)) = log.exchange_record(entry, &read)? {
            FoldedExchange::collect(&mut found, record);
        }
    }
    let found = if is_open { found } else { found.map(FoldedExchange::aborted) };
    Ok(Some((found, index.state().size)))
}

/// There is no index.
#[cfg(not(feature = "sqlite"))]
fn indexed_decision(
    _: &mut DecodedLog,
    _: Option<&Path>,
    _: Ulid,
) -> Result<Option<(Option<FoldedExchange>, u64)>, ReadError> {
    Ok(None)
}

/// Collects the records of one exchange in an old log.
fn decision_in_former(
    folder: &Path,
    id: Ulid,
    tags: Option<TagKey>,
) -> Result<Option<FoldedExchange>, ReadError> {
    let mut found = None;
    let segments = former_records::segments(folder, Some(time_of(id)))?;
    // The first record is in that day's segment or the next one.
    for (read, segment) in segments.into_iter().enumerate() {
        if found.is_none() && read > 1 {
            break;
        }
        for record in FormerRecords::new(vec![segment], tags) {
            match (record?, &mut found) {
                (LoggedRecord::Exchange(record), found) if record.decision == id => {
                    FoldedExchange::collect(found, *record);
                }
                (LoggedRecord::Start(_), Some(exchange)) => {
                    exchange.outcome.get_or_insert_with(|| "aborted".to_owned());
                }
                (LoggedRecord::Exchange(_) | LoggedRecord::Start(_), _) => {}
            }
            if found.as_ref().is_some_and(|exchange: &FoldedExchange| exchange.outcome.is_some()) {
                return Ok(found);
            }
        }
    }
    // The process of an old log has ended when a new log is there.
    if let Some(exchange) = &mut found
        && decoded_log::open(folder)?.is_some()
    {
        exchange.outcome.get_or_insert_with(|| "aborted".to_owned());
    }
    Ok(found)
}

/// An exchange, as far as its records have been read.
pub(in crate::disclosure) struct FoldedExchange {
    pub(super) decision: Ulid,
    head: LoggedHead,
    outcome: Option<String>,
    position: u64,
    /// True if something was released on what was last known, because the ledger was stale.
    stale: bool,
    records: u64,
    withheld_records: u64,
    subjects: Vec<Pseudonym>,
    known_subjects: HashSet<Pseudonym>,
    /// Subjects about whom something personal left.
    released_subjects: HashSet<Pseudonym>,
    /// The days that determine the pseudonyms.
    days: Vec<Arc<str>>,
    categories: BTreeMap<Arc<str>, Vec<FoldedCategory>>,
    /// The first problem code with which enforcing would have refused.
    would_refuse: Option<String>,
    /// True if a detail was deleted.
    has_no_detail: bool,
}

/// One entry of an exchange's `categories`.
struct FoldedCategory {
    ruling: LoggedRuling,
    fields: u64,
}

impl FoldedExchange {
    /// Begins an exchange with a record that has its head.
    pub(super) fn new(decision: Ulid, head: LoggedHead) -> FoldedExchange {
        FoldedExchange {
            decision,
            head,
            outcome: None,
            position: 0,
            stale: false,
            records: 0,
            withheld_records: 0,
            subjects: Vec::new(),
            known_subjects: HashSet::new(),
            released_subjects: HashSet::new(),
            days: Vec::new(),
            categories: BTreeMap::new(),
            would_refuse: None,
            has_no_detail: false,
        }
    }

    /// Adds a record to the exchange, which it may begin.
    pub(in crate::disclosure) fn collect(
        found: &mut Option<FoldedExchange>,
        mut record: LoggedExchangeRecord,
    ) {
        if let (None, Some(head)) = (&found, record.head.take()) {
            *found = Some(FoldedExchange::new(record.decision, head));
        }
        if let Some(exchange) = found {
            exchange.add(record);
        }
    }

    /// Adds a record of the exchange. An outcome replaces an earlier one.
    pub(super) fn add(&mut self, record: LoggedExchangeRecord) {
        let LoggedExchangeRecord {
            time: _,
            decision: _,
            day,
            head: _,
            position,
            stale,
            disclosure,
            end,
            corrects: _,
            would_refuse,
            has_no_detail,
        } = record;
        self.has_no_detail |= has_no_detail;
        self.would_refuse = self.would_refuse.take().or(would_refuse);
        self.stale |= stale;
        self.position = self.position.max(position);
        self.outcome = end.or(self.outcome.take());
        let Some(disclosure) = disclosure else { return };
        let day = day.unwrap_or_else(|| day_of(self.head.time));
        if !self.days.contains(&day) {
            self.days.push(day);
        }
        self.add_disclosure(disclosure);
    }

    fn add_disclosure(&mut self, disclosure: LoggedDisclosure) {
        let LoggedDisclosure { records, withheld_records, categories, subjects, withheld_subjects } =
            disclosure;
        self.records += records;
        self.withheld_records += withheld_records;
        self.released_subjects.extend(subjects.iter().copied());
        for subject in subjects.into_iter().chain(withheld_subjects) {
            if self.known_subjects.insert(subject) {
                self.subjects.push(subject);
            }
        }
        for (ruling, fields) in categories {
            let entries = self.categories.entry(Arc::clone(&ruling.category)).or_default();
            match entries.iter_mut().find(|existing| existing.is_mergeable(&ruling)) {
                Some(existing) => existing.merge(&ruling, fields),
                None => entries.push(FoldedCategory { ruling: (*ruling).clone(), fields }),
            }
        }
    }

    /// Returns the number of the people about whom something was disclosed or withheld.
    pub(super) fn people(&self) -> usize {
        self.subjects.len()
    }

    /// Forgets the people. One stays, because the verdict on an exchange depends on there being some.
    pub(super) fn forget_people(&mut self) {
        self.subjects.truncate(1);
        self.subjects.shrink_to_fit();
        (self.known_subjects, self.released_subjects) = (HashSet::new(), HashSet::new());
    }

    /// Ends an exchange whose process has died.
    pub(in crate::disclosure) fn aborted(mut self) -> FoldedExchange {
        self.outcome.get_or_insert_with(|| "aborted".to_owned());
        self
    }

    pub(in crate::disclosure) fn into_json(self) -> Value {
        let FoldedExchange {
            decision,
            head,
            outcome,
            position,
            stale,
            records,
            withheld_records,
            subjects,
            known_subjects: _,
            released_subjects,
            days: _,
            categories,
            would_refuse,
            has_no_detail,
        } = self;
        let LoggedHead {
            time,
            recipient,
            actor,
            holder: _,
            purpose,
            declared,
            case,
            route,
            operation,
            policy,
            factors,
            gateway,
            mode,
            has_unchecked_tags,
            trace,
        } = head;
        let mut verdicts: Map<String, Value> =
            factors.iter().map(|(name, verdict)| (name.to_string(), (**verdict).into())).collect();
        let of_subjects = subject_verdict(outcome.as_deref(), subjects.is_empty(), records, withheld_records);
        verdicts.extend(of_subjects.map(|verdict| ("subjects".to_owned(), verdict.into())));
        // Enforcing withholds the whole answer for these, also if it was found out late.
        let refuses_all = matches!(would_refuse.as_deref(), Some("subject-withheld" | "not-found"));
        let categories = categories.into_iter().map(|(name, entries)| {
            let entries = if refuses_all { FoldedCategory::refused(entries) } else { entries };
            (name.to_string(), entries.into_iter().map(FoldedCategory::into_json).collect())
        });
        let mut folded = json!({
            "decision": decision.to_string(),
            "time": time,
            "recipient": &*recipient,
            "actor": actor.map(|actor| actor.to_string()),
            "purpose": &*purpose,
            "declared": declared,
            "case": case,
            "route": &*route,
            "operation": &*operation,
            "policy": &*policy,
            "position": position,
            "outcome": outcome,
            "records": records,
            "withheld_records": withheld_records,
            "subjects": names(subjects.iter()),
            "withheld_subjects": names(subjects.iter().filter(|one| !released_subjects.contains(*one))),
            "categories": categories.collect::<Map<_, _>>(),
            "factors": verdicts,
            "gateway": gateway.as_deref(),
            "mode": mode.name(),
        });
        let rare = [stale, has_unchecked_tags, has_no_detail];
        add_rare_members(&mut folded, rare, mode, would_refuse, trace);
        folded
    }
}

/// The factor `subjects`: something personal left of all records, of some, or of none. The members of `categories` state the
/// same by category. `None` if the exchange concerned nobody.
fn subject_verdict(
    outcome: Option<&str>,
    is_about_nobody: bool,
    records: u64,
    withheld: u64,
) -> Option<&'static str> {
    match withheld {
        _ if outcome == Some("refused:subject-withheld") => Some("refuses"),
        _ if is_about_nobody => None,
        0 => Some("permits"),
        _ if withheld == records => Some("refuses"),
        _ => Some("in-part"),
    }
}

fn names<'p>(people: impl Iterator<Item = &'p Pseudonym>) -> Vec<String> {
    people.map(ToString::to_string).collect()
}

/// Adds the members that few exchanges have.
fn add_rare_members(
    folded: &mut Value,
    [stale, has_unchecked_tags, has_no_detail]: [bool; 3],
    mode: ExchangeMode,
    would_refuse: Option<String>,
    trace: Option<TraceId>,
) {
    let Some(folded) = folded.as_object_mut() else { return };
    if stale {
        folded.insert("stale".to_owned(), true.into());
    }
    if has_unchecked_tags {
        folded.insert("tags_checked".to_owned(), false.into());
    }
    if has_no_detail {
        // People, numbers and categories are missing, and not none.
        folded.insert("detail".to_owned(), "deleted".into());
    }
    if let Some(trace) = trace {
        folded.insert("trace".to_owned(), trace.to_string().into());
    }
    if mode == ExchangeMode::Observe {
        let would = would_refuse.map(|code| json!({ "refused": code }));
        folded.insert("would".to_owned(), would.unwrap_or_default());
    }
}

/// Adds the names that a list does not have yet.
fn add_names(names: &mut Vec<Arc<str>>, more: &[Arc<str>]) {
    for name in more {
        if !names.contains(name) {
            names.push(Arc::clone(name));
        }
    }
}

/// Returns the day of a time: the UTC date.
pub(super) fn day_of(time: Timestamp) -> Arc<str> {
    time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string().into()
}

impl FoldedCategory {
    /// True if both can be shown as one entry: they left in the same form on the same basis, or were withheld for the
    /// same reason by the same rules. Fields withheld for different reasons stay separate.
    fn is_mergeable(&self, other: &LoggedRuling) -> bool {
        let LoggedRuling { category: _, form, basis, reason, rules, clauses: _, would } = &self.ruling;
        let removed = Form::Removed.name();
        let would_alike = match (would, &other.would) {
            (Some(would), Some(other)) => {
                (&would.form, &would.reason) == (&other.form, &other.reason)
                    && (*would.form != *removed || would.rules == other.rules)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let alike = *form == other.form && *basis == other.basis && *reason == other.reason;
        alike && would_alike && (**form != *removed || *rules == other.rules)
    }

    /// Returns the entries of a category of which enforcing would have released nothing, because it would have refused the
    /// exchange.
    fn refused(entries: Vec<FoldedCategory>) -> Vec<FoldedCategory> {
        let mut all: Vec<FoldedCategory> = Vec::with_capacity(entries.len());
        for FoldedCategory { mut ruling, fields } in entries {
            if let Some(would) = ruling.would.as_mut().filter(|would| *would.form != *Form::Removed.name()) {
                let is_unclassified = *ruling.category == *CategoryDisclosure::UNCLASSIFIED;
                let reason = if is_unclassified { Reason::Unclassified } else { Reason::NoRule };
                *would = LoggedWouldRelease {
                    form: Form::Removed.name().into(),
                    basis: would.basis.clone(),
                    reason: Some(reason.name().into()),
                    rules: Vec::new(),
                    clauses: Vec::new(),
                };
            }
            match all.iter_mut().find(|known| known.is_mergeable(&ruling)) {
                Some(known) => known.merge(&ruling, fields),
                None => all.push(FoldedCategory { ruling, fields }),
            }
        }
        all
    }

    fn merge(&mut self, other: &LoggedRuling, fields: u64) {
        self.fields += fields;
        let LoggedRuling { rules, clauses, would, .. } = &mut self.ruling;
        add_names(rules, &other.rules);
        add_names(clauses, &other.clauses);
        if let (Some(LoggedWouldRelease { rules, clauses, .. }), Some(more)) = (would, &other.would) {
            add_names(rules, &more.rules);
            add_names(clauses, &more.clauses);
        }
    }

    fn into_json(self) -> Value {
        let FoldedCategory {
            ruling: LoggedRuling { category: _, form, basis, reason, rules, clauses, would },
            fields,
        } = self;
        let texts = |texts: &[Arc<str>]| texts.iter().map(|text| Value::from(&**text)).collect::<Vec<_>>();
        let mut entry = json!({
            "form": &*form,
            "basis": basis.as_deref(),
            "rules": texts(&rules),
            "clauses": texts(&clauses),
            "fields": fields,
        });
        if let (Some(entry), Some(reason)) = (entry.as_object_mut(), reason) {
            entry.insert("reason".to_owned(), (*reason).into());
        }
        if let (Some(entry), Some(would)) = (entry.as_object_mut(), would) {
            entry.insert("would".to_owned(), would.to_json());
        }
        entry
    }
}

/// An [`ExchangeFilter`] in use. It caches the person's pseudonyms, which differ each day.
pub(super) struct FilterState<'f> {
    filter: &'f ExchangeFilter,
    pseudonyms: HashMap<Arc<str>, Vec<Pseudonym>>,
}

impl<'f> FilterState<'f> {
    pub(super) fn new(filter: &'f ExchangeFilter) -> FilterState<'f> {
        FilterState { filter, pseudonyms: HashMap::new() }
    }

    pub(super) fn matches(&mut self, exchange: &FoldedExchange) -> bool {
        let ExchangeFilter { recipient, purpose, subject, since } = self.filter;
        let head = &exchange.head;
        let is_selected = recipient.as_ref().is_none_or(|recipient| **recipient == *head.recipient)
            && purpose.as_ref().is_none_or(|purpose| **purpose == *head.purpose)
            && since.is_none_or(|since| head.time >= since);
        is_selected
            && subject.as_ref().is_none_or(|(person, pseudonyms)| {
                exchange.days.iter().any(|day| {
                    let names = self.pseudonyms.entry(Arc::clone(day));
                    let names = names.or_insert_with(|| pseudonyms_on(day, person, pseudonyms));
                    names.iter().any(|name| exchange.known_subjects.contains(name))
                })
            })
    }
}
