//! Names that entries refer to by numbers, and the days in which entries lie.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::entry::decode_head;
#[cfg(feature = "sqlite")]
use super::entry::{DecodedHead, RecordedOutcome};
use super::storage::{LogReader, ReadError};

/// Maximum number of names in memory. Names that were forgotten are read again.
const MAX_NAMES: usize = 1 << 16;

/// The names and days of a log that were read before.
#[derive(Debug, Default)]
pub(super) struct NameCache {
    /// The names by the indexes of the entries that define them.
    names: HashMap<u64, Arc<str>>,
    /// The last day that was asked for, by its first entry, with its beginning in milliseconds since 1970.
    day: Option<(u64, Date, i64)>,
}

impl NameCache {
    /// Keeps the name that an entry defines.
    pub(super) fn add(&mut self, index: u64, name: &str) -> Arc<str> {
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        let name = Arc::from(name);
        self.names.insert(index, Arc::clone(&name));
        name
    }

    /// Returns the name for which a number of the entry at `index` stands.
    ///
    /// # Errors
    /// [`ReadError`], also if the number stands for something else.
    pub(super) fn name(
        &mut self,
        log: &mut LogReader,
        index: u64,
        base: u64,
        number: u64,
    ) -> Result<Arc<str>, ReadError> {
        let damaged = |log: &LogReader| ReadError::Damaged(log.folder().to_owned());
        let day = log.day_start_of(index);
        let defined = day.checked_add(base).and_then(|base| base.checked_add(number));
        let defined = defined.filter(|defined| *defined < index).ok_or_else(|| damaged(log))?;
        if let Some(name) = self.names.get(&defined) {
            return Ok(Arc::clone(name));
        }
        let entry = log.entry(defined)?.ok_or_else(|| damaged(log))?;
        let head = decode_head(&entry.leaf).map_err(|_| damaged(log))?;
        let text = head.text.ok_or_else(|| damaged(log))?;
        Ok(self.add(defined, text))
    }

    /// Returns the outcome that a head states, in words.
    ///
    /// # Errors
    /// [`ReadError`].
    #[cfg(feature = "sqlite")]
    pub(super) fn outcome(
        &mut self,
        log: &mut LogReader,
        index: u64,
        head: &DecodedHead<'_>,
    ) -> Result<Option<Arc<str>>, ReadError> {
        Ok(match head.outcome {
            None => None,
            Some(RecordedOutcome::Released) => Some("released".into()),
            Some(RecordedOutcome::Aborted) => Some("aborted".into()),
            Some(RecordedOutcome::Refused(code)) => {
                Some(format!("refused:{}", self.name(log, index, head.base, code)?).into())
            }
        })
    }

    /// Returns the day in which an entry lies.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) fn day(&mut self, log: &mut LogReader, index: u64) -> Result<Date, ReadError> {
        self.read_day(log, index).map(|(day, _)| day)
    }

    /// Returns the time of an entry whose head states these milliseconds.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) fn time(
        &mut self,
        log: &mut LogReader,
        index: u64,
        milliseconds: u64,
    ) -> Result<Timestamp, ReadError> {
        let (_, midnight) = self.read_day(log, index)?;
        let time = i64::try_from(milliseconds).ok().and_then(|since| midnight.checked_add(since));
        let time = time.and_then(|time| Timestamp::from_millisecond(time).ok());
        time.ok_or_else(|| ReadError::Damaged(log.folder().to_owned()))
    }

    fn read_day(&mut self, log: &mut LogReader, index: u64) -> Result<(Date, i64), ReadError> {
        let first = log.day_start_of(index);
        if let Some((_, day, midnight)) = self.day.filter(|(known, ..)| *known == first) {
            return Ok((day, midnight));
        }
        let damaged = |log: &LogReader| ReadError::Damaged(log.folder().to_owned());
        let entry = log.entry(first)?.ok_or_else(|| damaged(log))?;
        let day = decode_head(&entry.leaf).ok().and_then(|head| head.day()).ok_or_else(|| damaged(log))?;
        let midnight = day.to_zoned(TimeZone::UTC).map_err(|_| damaged(log))?.timestamp().as_millisecond();
        self.day = Some((first, day, midnight));
        Ok((day, midnight))
    }
}
