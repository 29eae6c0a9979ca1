//! Reads entries of a new log, with names in the place of numbers, and puts the parts of a record together.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::model::{
    LoggedDisclosure, LoggedExchangeRecord, LoggedFactors, LoggedHead, LoggedHolder, LoggedRuling,
};
use crate::disclosure::entry::{
    DecodedDetail, DecodedHead, Entry, EntryKind, NameTable, decode_detail, decode_head,
};
use crate::disclosure::storage::{LogReader, ReadError};
use crate::disclosure::terms::{EntryPlace, TermCache};
use crate::keys::Pseudonym;
use crate::traces::TraceId;
use crate::vocabulary::time_of;

/// Maximum number of entries that one record can consist of.
const MAX_PARTS: u64 = 1 << 20;

/// A log whose entries are decoded.
pub(in crate::disclosure) struct DecodedLog {
    reader: LogReader,
    terms: TermCache,
    /// The entries that were read and whose detail is gone. `None` for a reader that does not take them: it may read a log of years.
    without_detail: Option<BTreeSet<u64>>,
}

impl DecodedLog {
    pub(in crate::disclosure) fn new(reader: LogReader) -> DecodedLog {
        DecodedLog { reader, terms: TermCache::default(), without_detail: None }
    }

    /// Collects the entries of exchanges that are read from now on and whose detail is gone, for
    /// [`DecodedLog::take_without_detail`].
    pub(in crate::disclosure) fn collect_without_detail(&mut self) {
        self.without_detail.get_or_insert_default();
    }

    pub(in crate::disclosure) fn reader(&self) -> &LogReader {
        &self.reader
    }

    pub(in crate::disclosure) fn reader_mut(&mut self) -> &mut LogReader {
        &mut self.reader
    }

    /// Returns the entries that were collected.
    pub(in crate::disclosure) fn take_without_detail(&mut self) -> BTreeSet<u64> {
        self.without_detail.as_mut().map(std::mem::take).unwrap_or_default()
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
        self.terms.place(&mut self.reader, index)
    }

    /// Returns the time of the first entry that has one, the second: that of a day states the date only. `None` for an empty
    /// log.
    pub(in crate::disclosure) fn begin_time(&mut self) -> Result<Option<Timestamp>, ReadError> {
        let index = self.reader.begin().saturating_add(1);
        let Some(entry) = self.entry(index)? else { return Ok(None) };
        let place = self.place(index)?;
        Ok(Some(place.day.time(&self.head(&entry)?)))
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

    /// Returns the name for which a number in an entry's head stands.
    pub(in crate::disclosure) fn name(
        &mut self,
        place: &EntryPlace,
        base: u64,
        table: NameTable,
        number: u64,
    ) -> Result<Arc<str>, ReadError> {
        self.terms.name(&mut self.reader, place, base, table, number)
    }

    /// Returns the name of the gateway that wrote an entry.
    pub(in crate::disclosure) fn gateway(
        &mut self,
        place: &EntryPlace,
        base: u64,
    ) -> Result<Arc<str>, ReadError> {
        self.terms.gateway(&mut self.reader, place, base)
    }

    /// Returns the ruling for which a number stands.
    pub(in crate::disclosure) fn ruling(
        &mut self,
        place: &EntryPlace,
        base: u64,
        number: u64,
    ) -> Result<Arc<LoggedRuling>, ReadError> {
        self.terms.ruling(&mut self.reader, place, base, number)
    }

    /// Returns the list of factors for which a number stands.
    pub(in crate::disclosure) fn factors(
        &mut self,
        place: &EntryPlace,
        base: u64,
        number: u64,
    ) -> Result<LoggedFactors, ReadError> {
        self.terms.factors(&mut self.reader, place, base, number)
    }

    /// Returns the outcome of an entry in words.
    pub(in crate::disclosure) fn outcome(
        &mut self,
        place: &EntryPlace,
        head: &DecodedHead<'_>,
    ) -> Result<Option<String>, ReadError> {
        self.terms.outcome(&mut self.reader, place, head)
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
        let has_no_detail = entry.detail.is_empty() && head.kind.has_personal_detail();
        if has_no_detail && let Some(collected) = &mut self.without_detail {
            collected.insert(index);
        }
        let detail = self.detail(head.kind, entry)?;
        if detail.part() > 1 || (head.kind == EntryKind::Exchange && !head.has_circumstances()) {
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
                let place = place.at(next);
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
            would_refuse: detail.would.map(str::to_owned),
            has_no_detail,
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
            holder: detail
                .holder
                .map(|pseudonym| LoggedHolder { pseudonym, day: Arc::clone(&place.day.name) }),
            declared: detail.declared.map(str::to_owned),
            case: detail.case.map(str::to_owned),
            factors: match detail.factors {
                Some(factors) => self.factors(place, head.base, factors)?,
                None => [].into(),
            },
            gateway: Some(self.gateway(place, head.base)?),
            mode: detail.mode,
            has_unchecked_tags: false,
            trace: detail.trace.map(TraceId::of_bytes),
        }))
    }
}

/// Opens the new log in a folder; `None` if there is none.
pub(in crate::disclosure) fn open(folder: &Path) -> Result<Option<DecodedLog>, ReadError> {
    Ok(LogReader::open_if_begun(folder)?.map(DecodedLog::new))
}
