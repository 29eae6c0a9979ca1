//! Details that were deleted before their time, whose entries say less than they said once.
//!
//! Invariant: an answer that would need a deleted detail says so. Statements of the log itself, of kind `detail-deletion`, give the
//! reason; a detail that is gone without one was removed by somebody else.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use jiff::civil::Date;

use super::decoded_log::DecodedLog;
use crate::disclosure::entry::EntryKind;
#[cfg(feature = "sqlite")]
use crate::disclosure::index::{IndexError, IndexedDeletions, LogIndex};
use crate::disclosure::storage::ReadError;

/// Details of a log that were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedDetails {
    /// The first day (UTC) of the entries.
    pub first: Date,
    /// The last day of the entries.
    pub last: Date,
    /// The number of details.
    pub details: u64,
    /// The day on which they were deleted, as the log states it; `None` if it does not.
    pub stated: Option<Date>,
}

impl fmt::Display for DeletedDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeletedDetails { first, last, details, stated } = self;
        let details = if *details == 1 { "1 detail".to_owned() } else { format!("{details} details") };
        match first == last {
            true => write!(f, "{details} of {first}")?,
            false => write!(f, "{details} of {first} to {last}")?,
        }
        match stated {
            // The reason is free text, which may name people, and answers about others show this.
            Some(day) => {
                write!(f, " deleted on {day}, for a reason that the log states")
            }
            None => f.write_str(" deleted: `purposegate audit verify` says if the log states it"),
        }
    }
}

/// The deletions in a log, as far as they are known.
#[derive(Debug, Default)]
pub(in crate::disclosure) struct Deletions {
    /// The entries that state one, in ascending order.
    pub(in crate::disclosure) statements: Vec<u64>,
    /// The entries whose detail is gone, in ascending order.
    pub(in crate::disclosure) missing: Vec<Range<u64>>,
}

impl Deletions {
    /// Returns the deletions that an index has. An index that cannot be read is reported.
    #[cfg(feature = "sqlite")]
    pub(in crate::disclosure) fn indexed(index: &LogIndex) -> Option<Deletions> {
        let IndexedDeletions { statements, missing } =
            index.deletions().inspect_err(IndexError::report).ok()?;
        Some(Deletions { statements, missing })
    }

    /// Finds the deletions of a whole log. Without an index that fits it, every entry is read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) fn of(
        log: &mut DecodedLog,
        #[cfg(feature = "sqlite")] index: Option<&LogIndex>,
    ) -> Result<Deletions, ReadError> {
        #[cfg(feature = "sqlite")]
        let indexed = index.and_then(|index| Some((Deletions::indexed(index)?, index.state().size)));
        #[cfg(feature = "sqlite")]
        let (mut deletions, indexed) = indexed.unwrap_or_default();
        #[cfg(not(feature = "sqlite"))]
        let (mut deletions, indexed) = (Deletions::default(), 0);
        let (begin, end) = (log.reader().begin().max(indexed), log.reader().size());
        deletions.read(log, begin..end)?;
        Ok(deletions)
    }

    /// Adds the deletions that these entries show.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(in crate::disclosure) fn read(
        &mut self,
        log: &mut DecodedLog,
        entries: Range<u64>,
    ) -> Result<(), ReadError> {
        for index in entries {
            // Pruned meanwhile.
            let Some(entry) = log.entry(index)? else { continue };
            let kind = log.head(&entry)?.kind;
            if kind == EntryKind::DetailDeletion {
                self.statements.push(index);
            } else if entry.detail.is_empty() && kind.has_personal_detail() {
                self.add(index);
            }
        }
        Ok(())
    }

    /// Adds an entry whose detail is gone.
    pub(in crate::disclosure) fn add(&mut self, index: u64) {
        match self.missing.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => self.missing.push(index..index.saturating_add(1)),
        }
    }

    /// Describes the deletions: first those that the log states, of all details or of those of some entries. Those of pruned days
    /// are left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(in crate::disclosure) fn describe(
        mut self,
        log: &mut DecodedLog,
        of: Option<&BTreeSet<u64>>,
    ) -> Result<Vec<DeletedDetails>, ReadError> {
        let begin = log.reader().begin();
        let (mut described, mut ranges) = (Vec::new(), Vec::new());
        for statement in &self.statements {
            let Some(entry) = log.entry(*statement)? else { continue };
            let head = log.head(&entry)?;
            let (from, below) = head.from.zip(head.below).ok_or_else(|| log.damaged())?;
            ranges.push(from..below);
            let from = from.max(begin);
            if from >= below || of.is_some_and(|of| of.range(from..below).next().is_none()) {
                continue;
            }
            let details = head.details;
            let stated = Some(log.place(*statement)?.day.date);
            let (first, last) = (log.place(from)?.day.date, log.place(below - 1)?.day.date);
            described.push(DeletedDetails { first, last, details, stated });
        }
        self.missing.retain(|range| range.start >= begin && !is_within(range, &ranges));
        let missing = merged(self.missing);
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            let (first, last) = (log.place(first.start)?.day.date, log.place(last.end - 1)?.day.date);
            let details = missing.iter().map(|range| range.end - range.start).sum();
            described.push(DeletedDetails { first, last, details, stated: None });
        }
        Ok(described)
    }
}

/// True if a range lies within those of others, which may overlap or follow each other.
fn is_within(range: &Range<u64>, others: &[Range<u64>]) -> bool {
    let mut at = range.start;
    while at < range.end {
        let Some(end) = others.iter().filter(|other| other.contains(&at)).map(|other| other.end).max() else {
            return false;
        };
        at = end;
    }
    true
}

/// Merges ranges that overlap.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_within_others_that_cover_it() {
        let others = [0..5, 3..10, 10..12, 20..30];
        for (range, expected) in
            [(1..4, true), (0..12, true), (11..13, false), (12..20, false), (25..30, true)]
        {
            assert_eq!(is_within(&range, &others), expected, "{range:?}");
        }
    }

    #[test]
    fn ranges_are_merged() {
        assert_eq!(merged(vec![7..9, 1..2, 2..4, 3..5, 8..9]), [1..5, 7..9]);
    }

    #[test]
    fn a_deletion_is_named_with_its_days_and_without_its_reason() {
        let day = |day: &str| day.parse::<Date>().unwrap();
        let (first, last) = (day("2026-01-02"), day("2026-01-04"));
        let stated = Some(day("2026-02-01"));
        let one = DeletedDetails { first, last: first, details: 1, stated };
        assert_eq!(
            one.to_string(),
            "1 detail of 2026-01-02 deleted on 2026-02-01, for a reason that the log states"
        );
        let other = DeletedDetails { first, last, details: 3, stated: None };
        assert_eq!(
            other.to_string(),
            "3 details of 2026-01-02 to 2026-01-04 deleted: `purposegate audit verify` says if the log states it"
        );
    }
}
