//! Reads the records of exchanges of one log, old and new ones, in the order in which they were written.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use ulid::Ulid;

use super::decoded_log::{self, DecodedLog};
use super::former_records::{self, FormerRecords};
use super::model::{LoggedExchangeRecord, LoggedRecord};
use crate::disclosure::entry::EntryKind;
use crate::disclosure::former::TagKey;
use crate::disclosure::storage::ReadError;

/// Time by which a clock may have gone back between the arrival of a request and its first record.
const CLOCK_STEP: Duration = Duration::from_secs(5);

/// Returns the time of the first record that can belong to an exchange that began at `time`.
pub(super) fn earliest_record(time: Timestamp) -> Timestamp {
    time.checked_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN)
}

/// Reads the records of exchanges of one log.
///
/// A correction can follow an exchange that was recorded as released. The reader counts the corrections first, so that an
/// exchange ends with its last record and needs no memory afterwards.
pub(super) struct ExchangeRecords {
    former: FormerRecords,
    log: Option<DecodedLog>,
    next: u64,
    /// The size of the log when it was opened.
    end: u64,
    /// The number of corrections to come, by decision.
    corrections: HashMap<Ulid, u32>,
}

impl ExchangeRecords {
    /// Opens the log in a folder. With `since`, records of exchanges that ended before that time may be left out. `tags` is
    /// the key of an old log's tags, if it is known.
    ///
    /// # Errors
    /// [`ReadError`], also if the folder does not exist.
    pub(super) fn open(
        folder: &Path,
        since: Option<Timestamp>,
        tags: Option<TagKey>,
    ) -> Result<ExchangeRecords, ReadError> {
        let former = FormerRecords::new(former_records::segments(folder, since)?, tags);
        let mut records = ExchangeRecords { former, log: None, next: 0, end: 0, corrections: HashMap::new() };
        if let Some(mut log) = decoded_log::open(folder)? {
            records.end = log.reader().size();
            records.next = match since {
                Some(since) => log.first_since(earliest_record(since))?,
                None => log.reader().begin(),
            };
            records.corrections = count_corrections(&mut log, records.next, records.end)?;
            records.log = Some(log);
        }
        Ok(records)
    }

    /// Reads the next record of the new log.
    fn next_entry(&mut self) -> Result<Option<LoggedRecord>, ReadError> {
        let Some(log) = &mut self.log else { return Ok(None) };
        while self.next < self.end {
            let index = self.next;
            let Some(entry) = log.entry(index)? else {
                // Days were pruned meanwhile.
                self.next = log.reader().begin().max(index + 1);
                continue;
            };
            self.next += 1;
            let head = log.head(&entry)?;
            if head.kind == EntryKind::Start {
                return Ok(Some(LoggedRecord::Start(log.place(index)?.day.time(&head))));
            }
            if let Some((mut record, next)) = log.exchange_record(index, &entry)? {
                self.next = next;
                self.await_corrections(&mut record);
                return Ok(Some(LoggedRecord::Exchange(Box::new(record))));
            }
        }
        Ok(None)
    }

    /// Leaves the end of an exchange to its last correction.
    fn await_corrections(&mut self, record: &mut LoggedExchangeRecord) {
        let Some(left) = self.corrections.get_mut(&record.decision) else { return };
        *left = left.saturating_sub(u32::from(record.corrects));
        if *left > 0 {
            record.end = None;
        } else {
            self.corrections.remove(&record.decision);
        }
    }
}

/// Counts the corrections of each decision in a range of entries.
fn count_corrections(log: &mut DecodedLog, from: u64, end: u64) -> Result<HashMap<Ulid, u32>, ReadError> {
    let mut corrections: HashMap<Ulid, u32> = HashMap::new();
    for index in from..end {
        let Some(entry) = log.entry(index)? else { continue };
        let head = log.head(&entry)?;
        if let (EntryKind::Correction, Some(decision)) = (head.kind, head.id)
            && log.detail(head.kind, &entry)?.part() == 1
        {
            *corrections.entry(decision).or_default() += 1;
        }
    }
    Ok(corrections)
}

impl Iterator for ExchangeRecords {
    type Item = Result<LoggedRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.former.next().or_else(|| self.next_entry().transpose())
    }
}
