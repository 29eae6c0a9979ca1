//! Replaces the numbers of entries by what they stand for: names, rulings, lists of factors, and days.
//!
//! Invariant: a number that does not lead to the entry that defines it is an error. A report would otherwise leave
//! something out, or name somebody else.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::entry::{
    DecodedDetail, DecodedHead, Entry, EntryKind, NameTable, RecordedOutcome, decode_detail, decode_head,
};
use super::read::model::{LoggedFactors, LoggedRuling};
use super::storage::{LogReader, ReadError};

/// Maximum number of terms of each kind in memory. Terms that were forgotten are read again.
const MAX_TERMS: usize = 1 << 16;

/// A day of the log.
#[derive(Clone, Debug)]
pub(super) struct LoggedDay {
    /// The date, which determines the pseudonyms.
    pub(super) date: Date,
    /// The date as a text.
    pub(super) name: Arc<str>,
    /// Its first instant, in milliseconds since 1970.
    begin: i64,
}

impl LoggedDay {
    /// Returns its first instant.
    pub(super) fn begin(&self) -> Timestamp {
        Timestamp::from_millisecond(self.begin).unwrap_or(Timestamp::MAX)
    }

    /// Returns the time of an entry of the day.
    pub(super) fn time(&self, head: &DecodedHead<'_>) -> Timestamp {
        let since = i64::try_from(head.time).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(self.begin.saturating_add(since)).unwrap_or(Timestamp::MAX)
    }
}

/// The place of an entry: its index, that of its day's first entry, and the day.
#[derive(Clone, Debug)]
pub(super) struct EntryPlace {
    pub(super) index: u64,
    pub(super) day_start: u64,
    pub(super) day: LoggedDay,
}

impl EntryPlace {
    /// Returns the place of another entry of the same day.
    pub(super) fn at(&self, index: u64) -> EntryPlace {
        EntryPlace { index, ..self.clone() }
    }

    /// Returns the index of the entry that defines a number. It is an earlier one of the same day.
    pub(super) fn defining(&self, base: u64, number: u64) -> Option<u64> {
        let index = self.day_start.checked_add(base)?.checked_add(number)?;
        (index < self.index).then_some(index)
    }
}

/// The terms and days of one log that were read before. Those of another log would be wrong.
#[derive(Debug, Default)]
pub(super) struct TermCache {
    /// Names of recipients, purposes, routes, policies, codes and gateways, by the index of the defining entry. A gateway
    /// has no table.
    names: HashMap<(Option<NameTable>, u64), Arc<str>>,
    rulings: HashMap<u64, Arc<LoggedRuling>>,
    factors: HashMap<u64, LoggedFactors>,
    /// By the index of the first entry.
    days: HashMap<u64, LoggedDay>,
}

impl TermCache {
    /// Keeps the name that an entry defines, for a reader that passes it anyway.
    #[cfg(feature = "sqlite")]
    pub(super) fn keep_defined(&mut self, index: u64, head: &DecodedHead<'_>) {
        if let (Some(table), Some(text)) = (head.table, head.text) {
            keep(&mut self.names, (Some(table), index), Arc::from(text));
        }
    }

    /// Returns the place of an entry.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) fn place(&mut self, log: &mut LogReader, index: u64) -> Result<EntryPlace, ReadError> {
        let day_start = log.day_start_of(index);
        if let Some(day) = self.days.get(&day_start) {
            return Ok(EntryPlace { index, day_start, day: day.clone() });
        }
        let first = required(log, day_start)?;
        let date = head_of(log, &first)?.day().ok_or_else(|| damaged(log))?;
        let begin = date.to_zoned(TimeZone::UTC).map_err(|_| damaged(log))?.timestamp();
        let day = LoggedDay { date, name: date.to_string().into(), begin: begin.as_millisecond() };
        let day = keep(&mut self.days, day_start, day);
        Ok(EntryPlace { index, day_start, day })
    }

    /// Returns the name for which a number in an entry's head stands.
    ///
    /// # Errors
    /// [`ReadError`], also if the number stands for something else.
    pub(super) fn name(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        base: u64,
        table: NameTable,
        number: u64,
    ) -> Result<Arc<str>, ReadError> {
        let index = place.defining(base, number).ok_or_else(|| damaged(log))?;
        if let Some(name) = self.names.get(&(Some(table), index)) {
            return Ok(Arc::clone(name));
        }
        let entry = required(log, index)?;
        let head = head_of(log, &entry)?;
        let text = head.text.filter(|_| head.table == Some(table)).ok_or_else(|| damaged(log))?;
        Ok(keep(&mut self.names, (Some(table), index), Arc::from(text)))
    }

    /// Returns the name for which a number in an entry's head stands; an empty one if there is no number.
    ///
    /// # Errors
    /// [`ReadError`], also if the number stands for something else.
    pub(super) fn name_or_empty(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        base: u64,
        table: NameTable,
        number: Option<u64>,
    ) -> Result<Arc<str>, ReadError> {
        number.map_or_else(|| Ok("".into()), |number| self.name(log, place, base, table, number))
    }

    /// Returns the name of the gateway that wrote an entry: the entry at its base states it.
    ///
    /// # Errors
    /// [`ReadError`], also if the entry states no gateway.
    pub(super) fn gateway(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        base: u64,
    ) -> Result<Arc<str>, ReadError> {
        let index = place.day_start.checked_add(base).ok_or_else(|| damaged(log))?;
        if let Some(name) = self.names.get(&(None, index)) {
            return Ok(Arc::clone(name));
        }
        let entry = required(log, index)?;
        let gateway = head_of(log, &entry)?.gateway.ok_or_else(|| damaged(log))?;
        Ok(keep(&mut self.names, (None, index), Arc::from(gateway)))
    }

    /// Returns the ruling for which a number stands.
    ///
    /// # Errors
    /// [`ReadError`], also if the number stands for something else.
    pub(super) fn ruling(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        base: u64,
        number: u64,
    ) -> Result<Arc<LoggedRuling>, ReadError> {
        let index = place.defining(base, number).ok_or_else(|| damaged(log))?;
        if let Some(ruling) = self.rulings.get(&index) {
            return Ok(Arc::clone(ruling));
        }
        let entry = required(log, index)?;
        let detail = defining_detail(log, EntryKind::Ruling, &entry)?;
        let ruling = LoggedRuling::of(&detail).ok_or_else(|| damaged(log))?;
        Ok(keep(&mut self.rulings, index, Arc::new(ruling)))
    }

    /// Returns the list of factors for which a number stands.
    ///
    /// # Errors
    /// [`ReadError`], also if the number stands for something else.
    pub(super) fn factors(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        base: u64,
        number: u64,
    ) -> Result<LoggedFactors, ReadError> {
        let index = place.defining(base, number).ok_or_else(|| damaged(log))?;
        if let Some(factors) = self.factors.get(&index) {
            return Ok(Arc::clone(factors));
        }
        let entry = required(log, index)?;
        let detail = defining_detail(log, EntryKind::Factors, &entry)?;
        let verdict = |permits| if permits { "permits" } else { "refuses" };
        let factors =
            detail.verdicts.iter().map(|(name, permits)| (Arc::from(*name), verdict(*permits).into()));
        Ok(keep(&mut self.factors, index, factors.collect()))
    }

    /// Returns the outcome of an entry in words.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) fn outcome(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        head: &DecodedHead<'_>,
    ) -> Result<Option<String>, ReadError> {
        Ok(match head.outcome {
            None => None,
            Some(RecordedOutcome::Released) => Some("released".to_owned()),
            Some(RecordedOutcome::Aborted) => Some("aborted".to_owned()),
            Some(RecordedOutcome::Refused(code)) => {
                let code = self.name(log, place, head.base, NameTable::Code, code)?;
                Some(format!("refused:{code}"))
            }
        })
    }
}

/// Keeps a term and returns it. Forgets the others if there are too many.
fn keep<K: Eq + Hash, V: Clone>(cache: &mut HashMap<K, V>, key: K, value: V) -> V {
    if cache.len() >= MAX_TERMS {
        cache.clear();
    }
    cache.insert(key, value.clone());
    value
}

fn damaged(log: &LogReader) -> ReadError {
    ReadError::Damaged(log.folder().to_owned())
}

/// Returns an entry that exists.
fn required(log: &mut LogReader, index: u64) -> Result<Entry, ReadError> {
    log.entry(index)?.ok_or_else(|| damaged(log))
}

fn head_of<'e>(log: &LogReader, entry: &'e Entry) -> Result<DecodedHead<'e>, ReadError> {
    decode_head(&entry.leaf).map_err(|_| damaged(log))
}

/// Decodes the detail of an entry that must be of this kind. Details of definitions are not deleted.
fn defining_detail<'e>(
    log: &LogReader,
    kind: EntryKind,
    entry: &'e Entry,
) -> Result<DecodedDetail<'e>, ReadError> {
    let found = head_of(log, entry)?.kind;
    let detail = decode_detail(kind, &entry.detail).ok().flatten();
    detail.filter(|_| found == kind).ok_or_else(|| damaged(log))
}
