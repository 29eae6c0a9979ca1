//! Reads entries of a new log and replaces numbers by names.
//!
//! Invariant: a number that does not lead to the entry that defines it is an error. A report would otherwise leave
//! something out, or name somebody else.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::model::{LoggedDisclosure, LoggedExchangeRecord, LoggedFactors, LoggedHead, LoggedRuling};
use crate::disclosure::entry::{
    DecodedDetail, DecodedHead, Entry, EntryKind, NameTable, RecordedOutcome, decode_detail, decode_head,
};
use crate::disclosure::record::{CategoryDisclosure, time_of};
use crate::disclosure::storage::{LogReader, ReadError};
use crate::keys::Pseudonym;

/// Maximum number of terms of each kind that are kept in memory.
const MAX_TERMS: usize = 1 << 16;

/// Maximum number of entries that one record can consist of.
const MAX_PARTS: u64 = 1 << 20;

/// A day of the log.
#[derive(Clone, Debug)]
pub(in crate::disclosure) struct LoggedDay {
    /// The date, which determines the pseudonyms.
    pub(in crate::disclosure) name: Arc<str>,
    /// Its first instant, in milliseconds since 1970.
    begin: i64,
}

impl LoggedDay {
    /// Returns the time of an entry of the day.
    pub(in crate::disclosure) fn time(&self, head: &DecodedHead<'_>) -> Timestamp {
        let since = i64::try_from(head.time).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(self.begin.saturating_add(since)).unwrap_or(Timestamp::MAX)
    }
}

/// The place of an entry: its index, that of its day's first entry, and the day.
#[derive(Clone, Debug)]
pub(in crate::disclosure) struct EntryPlace {
    pub(in crate::disclosure) index: u64,
    pub(in crate::disclosure) day_start: u64,
    pub(in crate::disclosure) day: LoggedDay,
}

/// A log whose entries are decoded.
pub(in crate::disclosure) struct DecodedLog {
    reader: LogReader,
    /// Names of recipients, purposes, routes, policies, codes and gateways, by the index of the defining entry.
    names: HashMap<(Option<NameTable>, u64), Arc<str>>,
    rulings: HashMap<u64, Arc<LoggedRuling>>,
    factors: HashMap<u64, LoggedFactors>,
    /// By the index of the first entry.
    days: HashMap<u64, LoggedDay>,
}

impl DecodedLog {
    pub(in crate::disclosure) fn new(reader: LogReader) -> DecodedLog {
        DecodedLog {
            reader,
            names: HashMap::new(),
            rulings: HashMap::new(),
            factors: HashMap::new(),
            days: HashMap::new(),
        }
    }

    pub(in crate::disclosure) fn reader(&self) -> &LogReader {
        &self.reader
    }

    pub(in crate::disclosure) fn into_reader(self) -> LogReader {
        self.reader
    }

    /// Returns an entry that exists.
    fn required(&mut self, index: u64) -> Result<Entry, ReadError> {
        self.reader.entry(index)?.ok_or_else(|| self.damaged())
    }

    /// Returns an entry; `None` after the end, or if it was pruned.
    pub(in crate::disclosure) fn entry(&mut self, index: u64) -> Result<Option<Entry>, ReadError> {
        self.reader.entry(index)
    }

    pub(in crate::disclosure) fn damaged(&self) -> ReadError {
        ReadError::Damaged(self.reader.folder().to_owned())
    }

    pub(in crate::disclosure) fn head<'e>(&self, entry: &'e Entry) -> Result<DecodedHead<'e>, ReadError> {
        decode_head(&entry.leaf).map_err(|_| self.damaged())
    }

    /// Decodes the detail; that of an entry whose detail was deleted is empty.
    pub(in crate::disclosure) fn detail<'e>(
        &self,
        kind: EntryKind,
        entry: &'e Entry,
    ) -> Result<DecodedDetail<'e>, ReadError> {
        Ok(decode_detail(kind, &entry.detail).map_err(|_| self.damaged())?.unwrap_or_default())
    }

    /// Returns the place of an entry.
    pub(in crate::disclosure) fn place(&mut self, index: u64) -> Result<EntryPlace, ReadError> {
        let day_start = self.reader.day_start_of(index);
        if let Some(day) = self.days.get(&day_start) {
            return Ok(EntryPlace { index, day_start, day: day.clone() });
        }
        let first = self.required(day_start)?;
        let date: Date = self.head(&first)?.day().ok_or_else(|| self.damaged())?;
        let begin = date.to_zoned(TimeZone::UTC).map_err(|_| self.damaged())?;
        let day = LoggedDay { name: date.to_string().into(), begin: begin.timestamp().as_millisecond() };
        make_room(&mut self.days);
        self.days.insert(day_start, day.clone());
        Ok(EntryPlace { index, day_start, day })
    }

    /// Returns the index of the first entry that was written at or after a time.
    pub(in crate::disclosure) fn first_since(&mut self, time: Timestamp) -> Result<u64, ReadError> {
        let (mut low, mut high) = (self.reader.begin(), self.reader.size());
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.required(middle)?;
            let place = self.place(middle)?;
            if place.day.time(&self.head(&entry)?) < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Returns the index of the entry that defines a number.
    fn defining(&self, place: &EntryPlace, base: u64, number: u64) -> Result<u64, ReadError> {
        let index = place.day_start.checked_add(base).and_then(|base| base.checked_add(number));
        index.filter(|index| *index < place.index).ok_or_else(|| self.damaged())
    }

    /// Returns the name for which a number in an entry's head stands.
    pub(in crate::disclosure) fn name(
        &mut self,
        place: &EntryPlace,
        base: u64,
        table: NameTable,
        number: u64,
    ) -> Result<Arc<str>, ReadError> {
        let index = self.defining(place, base, number)?;
        if let Some(name) = self.names.get(&(Some(table), index)) {
            return Ok(Arc::clone(name));
        }
        let entry = self.required(index)?;
        let head = self.head(&entry)?;
        let text = head.text.filter(|_| head.table == Some(table)).ok_or_else(|| self.damaged())?;
        Ok(self.keep_name((Some(table), index), text))
    }

    fn keep_name(&mut self, key: (Option<NameTable>, u64), text: &str) -> Arc<str> {
        make_room(&mut self.names);
        let text: Arc<str> = text.into();
        self.names.insert(key, Arc::clone(&text));
        text
    }

    /// Returns the name of the gateway that wrote an entry: the entry at its base states it.
    pub(in crate::disclosure) fn gateway(
        &mut self,
        place: &EntryPlace,
        base: u64,
    ) -> Result<Arc<str>, ReadError> {
        let index = place.day_start.checked_add(base).ok_or_else(|| self.damaged())?;
        if let Some(name) = self.names.get(&(None, index)) {
            return Ok(Arc::clone(name));
        }
        let entry = self.required(index)?;
        let gateway = self.head(&entry)?.gateway.ok_or_else(|| self.damaged())?;
        Ok(self.keep_name((None, index), gateway))
    }

    /// Returns the ruling for which a number stands.
    pub(in crate::disclosure) fn ruling(
        &mut self,
        place: &EntryPlace,
        base: u64,
        number: u64,
    ) -> Result<Arc<LoggedRuling>, ReadError> {
        let index = self.defining(place, base, number)?;
        if let Some(ruling) = self.rulings.get(&index) {
            return Ok(Arc::clone(ruling));
        }
        let entry = self.required(index)?;
        let detail = self.defining_detail(EntryKind::Ruling, &entry)?;
        let texts = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect();
        let ruling = Arc::new(LoggedRuling {
            category: detail.category.unwrap_or(CategoryDisclosure::UNCLASSIFIED).into(),
            form: detail.form.ok_or_else(|| self.damaged())?.into(),
            basis: detail.basis.map(Arc::from),
            reason: detail.reason.map(Arc::from),
            rules: texts(&detail.rules),
            clauses: texts(&detail.clauses),
        });
        make_room(&mut self.rulings);
        self.rulings.insert(index, Arc::clone(&ruling));
        Ok(ruling)
    }

    /// Returns the list of factors for which a number stands.
    pub(in crate::disclosure) fn factors(
        &mut self,
        place: &EntryPlace,
        base: u64,
        number: u64,
    ) -> Result<LoggedFactors, ReadError> {
        let index = self.defining(place, base, number)?;
        if let Some(factors) = self.factors.get(&index) {
            return Ok(Arc::clone(factors));
        }
        let entry = self.required(index)?;
        let detail = self.defining_detail(EntryKind::Factors, &entry)?;
        let verdict = |permits| if permits { "permits" } else { "refuses" };
        let factors =
            detail.verdicts.iter().map(|(name, permits)| (Arc::from(*name), verdict(*permits).into()));
        let factors: LoggedFactors = factors.collect();
        make_room(&mut self.factors);
        self.factors.insert(index, Arc::clone(&factors));
        Ok(factors)
    }

    /// Decodes the detail of an entry that must be of this kind. Details of definitions are not deleted.
    fn defining_detail<'e>(&self, kind: EntryKind, entry: &'e Entry) -> Result<DecodedDetail<'e>, ReadError> {
        let found = self.head(entry)?.kind;
        let detail = decode_detail(kind, &entry.detail).ok().flatten();
        detail.filter(|_| found == kind).ok_or_else(|| self.damaged())
    }

    /// Returns the outcome of an entry in words.
    pub(in crate::disclosure) fn outcome(
        &mut self,
        place: &EntryPlace,
        head: &DecodedHead<'_>,
    ) -> Result<Option<String>, ReadError> {
        Ok(match head.outcome {
            None => None,
            Some(RecordedOutcome::Released) => Some("released".to_owned()),
            Some(RecordedOutcome::Aborted) => Some("aborted".to_owned()),
            Some(RecordedOutcome::Refused(code)) => {
                let code = self.name(place, head.base, NameTable::Code, code)?;
                Some(format!("refused:{code}"))
            }
        })
    }

    /// Returns the record that begins with the entry at an index, and the index after its last part. `None` if the entry
    /// is none of an exchange, or a later part.
    pub(in crate::disclosure) fn exchange_record(
        &mut self,
        index: u64,
        entry: &Entry,
    ) -> Result<Option<(LoggedExchangeRecord, u64)>, ReadError> {
        let head = self.head(entry)?;
        let is_of_exchange = matches!(
            head.kind,
            EntryKind::Exchange
                | EntryKind::Refusal
                | EntryKind::Intent
                | EntryKind::Window
                | EntryKind::Close
                | EntryKind::Correction
        );
        if !is_of_exchange {
            return Ok(None);
        }
        let detail = self.detail(head.kind, entry)?;
        if detail.part() > 1 || (head.kind == EntryKind::Exchange && !head.begins_exchange()) {
            return Ok(None);
        }
        let place = self.place(index)?;
        let decision = head.id.ok_or_else(|| self.damaged())?;
        let discloses = matches!(head.kind, EntryKind::Exchange | EntryKind::Window | EntryKind::Correction);
        let mut disclosure = discloses.then(LoggedDisclosure::default);
        let mut next = index + 1;
        if let Some(disclosure) = &mut disclosure {
            self.add_part(disclosure, &place, head.base, &detail)?;
            while next - index < detail.parts().min(MAX_PARTS) {
                let Some(entry) = self.entry(next)? else { break };
                let part = self.head(&entry)?;
                if (part.kind, part.id) != (head.kind, head.id) {
                    break;
                }
                let detail = self.detail(part.kind, &entry)?;
                if detail.part() != next - index + 1 {
                    break;
                }
                let place = EntryPlace { index: next, ..place.clone() };
                self.add_part(disclosure, &place, part.base, &detail)?;
                next += 1;
            }
        }
        let record = LoggedExchangeRecord {
            time: place.day.time(&head),
            decision,
            head: self.logged_head(&place, &head, &detail)?,
            position: detail.position,
            stale: detail.stale,
            disclosure,
            end: self.outcome(&place, &head)?,
            corrects: head.kind == EntryKind::Correction,
            day: Some(place.day.name),
        };
        Ok(Some((record, next)))
    }

    fn add_part(
        &mut self,
        disclosure: &mut LoggedDisclosure,
        place: &EntryPlace,
        base: u64,
        detail: &DecodedDetail<'_>,
    ) -> Result<(), ReadError> {
        disclosure.records += detail.records;
        disclosure.withheld_records += detail.withheld_records;
        for category in &detail.categories {
            let ruling = self.ruling(place, base, category.ruling)?;
            disclosure.categories.push((ruling, category.fields));
        }
        let people =
            |people: &[[u8; 12]]| people.iter().copied().map(Pseudonym::from_bytes).collect::<Vec<_>>();
        disclosure.subjects.extend(people(detail.subjects));
        disclosure.withheld_subjects.extend(people(detail.withheld_subjects));
        Ok(())
    }

    fn logged_head(
        &mut self,
        place: &EntryPlace,
        head: &DecodedHead<'_>,
        detail: &DecodedDetail<'_>,
    ) -> Result<Option<LoggedHead>, ReadError> {
        let (Some(id), Some(recipient), Some(route), Some(policy), Some(operation)) =
            (head.id, head.recipient, head.route, head.policy, head.operation)
        else {
            return Ok(None);
        };
        let mut name = |table, number| self.name(place, head.base, table, number);
        Ok(Some(LoggedHead {
            time: time_of(id),
            recipient: name(NameTable::Recipient, recipient)?,
            purpose: match head.purpose {
                Some(purpose) => name(NameTable::Purpose, purpose)?,
                None => "".into(),
            },
            route: name(NameTable::Route, route)?,
            policy: name(NameTable::Policy, policy)?,
            operation: operation.name().into(),
            actor: detail.actor,
            declared: detail.declared.map(str::to_owned),
            case: detail.case.map(str::to_owned),
            factors: match detail.factors {
                Some(factors) => self.factors(place, head.base, factors)?,
                None => [].into(),
            },
            gateway: Some(self.gateway(place, head.base)?),
        }))
    }
}

/// Forgets everything if a cache is full.
fn make_room<K, V>(cache: &mut HashMap<K, V>) {
    if cache.len() >= MAX_TERMS {
        cache.clear();
    }
}

/// Opens the new log in a folder; `None` if there is none.
pub(in crate::disclosure) fn open(folder: &Path) -> Result<Option<DecodedLog>, ReadError> {
    let origin = crate::disclosure::storage::read_origin(folder)
        .map_err(|source| ReadError::Io { path: folder.to_owned(), source })?;
    match origin {
        Some(_) => Ok(Some(DecodedLog::new(LogReader::open(folder)?))),
        None => Ok(None),
    }
}
