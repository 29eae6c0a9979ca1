//! Compares the deleted details with the entries that state their deletion.
//!
//! A statement follows the details that it is about, so both are collected and compared at the end. Memory grows with the
//! number of ranges of deleted details, up to a bound.

use std::ops::Range;

use super::report::VerificationReport;
use crate::disclosure::entry::DecodedHead;

/// Maximum number of ranges of successive deleted details that are compared one by one.
const MAX_RANGES: usize = 1 << 16;

/// An entry that states the deletion of details.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StatedDeletion {
    /// The index of the entry.
    index: u64,
    /// The entries among which the details are.
    range: Range<u64>,
    /// The number of details.
    details: u64,
}

/// The deleted details, and the statements about them.
#[derive(Debug, Default)]
pub(super) struct DetailDeletions {
    /// The entries without a detail, in ascending order.
    deleted: Vec<Range<u64>>,
    stated: Vec<StatedDeletion>,
    /// True if there are more ranges than [`MAX_RANGES`].
    is_cut: bool,
}

impl DetailDeletions {
    /// Notes that the detail of an entry was deleted. Entries are noted in ascending order.
    pub(super) fn add(&mut self, index: u64) {
        let has_room = self.deleted.len() < MAX_RANGES;
        match self.deleted.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ if has_room => self.deleted.push(index..index.saturating_add(1)),
            _ => self.is_cut = true,
        }
    }

    /// Notes an entry that states the deletion of details.
    pub(super) fn state(&mut self, index: u64, head: &DecodedHead<'_>) {
        if let Some((from, below)) = head.from.zip(head.below) {
            self.stated.push(StatedDeletion { index, range: from..below, details: head.details });
        }
    }

    /// Compares both. The entries before `begin` were pruned.
    pub(super) fn check(mut self, begin: u64, report: &mut VerificationReport) {
        if self.is_cut {
            report.find(format!("details are deleted in more than {MAX_RANGES} places"));
        }
        self.stated.sort_by_key(|stated| (stated.range.start, stated.index));
        let mut stated = self.stated.into_iter().peekable();
        let mut rest = self.deleted;
        while let Some(first) = stated.next() {
            let mut group = StatementGroup::of(first);
            while let Some(next) = stated.next_if(|next| next.range.start < group.range.end) {
                group.add(next);
            }
            let found = take_within(&mut rest, &group.range);
            group.check(found, begin, report);
        }
        for range in rest {
            let entries = named(&range);
            report.find(format!("{entries}: details were deleted, and no entry states it"));
        }
    }
}

fn named(entries: &Range<u64>) -> String {
    let last = entries.end.saturating_sub(1);
    if entries.start == last {
        format!("entry {last}")
    } else {
        format!("entries {} to {last}", entries.start)
    }
}

/// Removes the part of the ranges that lies within another range, and returns its length.
fn take_within(ranges: &mut Vec<Range<u64>>, within: &Range<u64>) -> u64 {
    let (mut taken, mut left) = (0, Vec::with_capacity(ranges.len()));
    for range in ranges.drain(..) {
        let (start, end) = (range.start.max(within.start), range.end.min(within.end));
        if start >= end {
            left.push(range);
            continue;
        }
        taken += end - start;
        left.extend([range.start..start, end..range.end].into_iter().filter(|part| !part.is_empty()));
    }
    *ranges = left;
    taken
}

/// Statements whose ranges overlap: a deletion that broke off is stated and carried out again.
struct StatementGroup {
    /// The first of the entries that state it.
    index: u64,
    range: Range<u64>,
    /// The largest number of details that one of them states, and the sum.
    largest: u64,
    sum: u64,
}

impl StatementGroup {
    fn of(StatedDeletion { index, range, details }: StatedDeletion) -> StatementGroup {
        StatementGroup { index, range, largest: details, sum: details }
    }

    fn add(&mut self, StatedDeletion { index, range, details }: StatedDeletion) {
        self.index = self.index.min(index);
        self.range.end = self.range.end.max(range.end);
        self.largest = self.largest.max(details);
        self.sum = self.sum.saturating_add(details);
    }

    fn check(&self, found: u64, begin: u64, report: &mut VerificationReport) {
        let StatementGroup { index, range, largest, sum } = self;
        let entries = named(range);
        if found > *sum {
            report.find(format!("{entries}: deleted details: {found}; entry {index} states {sum}"));
        } else if found < *largest && range.start >= begin {
            report.find(format!(
                "{entries}: deleted details: {found}; entry {index} states {largest}: repeat the deletion"
            ));
        } else if found > 0 {
            report.remark(format!("{entries}: deleted details: {found}, as entry {index} states"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(deleted: &[u64], stated: &[(u64, Range<u64>, u64)], begin: u64) -> VerificationReport {
        let mut deletions = DetailDeletions::default();
        deleted.iter().for_each(|index| deletions.add(*index));
        let statement = |(index, range, details): &(u64, Range<u64>, u64)| StatedDeletion {
            index: *index,
            range: range.clone(),
            details: *details,
        };
        deletions.stated = stated.iter().map(statement).collect();
        let mut report = VerificationReport::default();
        deletions.check(begin, &mut report);
        report
    }

    #[test]
    fn stated_deletions_are_remarks_and_the_others_findings() {
        let none: [String; 0] = [];
        let report = checked(&[3, 4, 9], &[(600, 0..10, 3)], 0);
        assert_eq!((report.findings, report.remarks.len()), (none.to_vec(), 1));
        assert_eq!(report.remarks, ["entries 0 to 9: deleted details: 3, as entry 600 states"]);
        for (deleted, stated, finding) in [
            (&[3][..], vec![], "entry 3: details were deleted, and no entry states it"),
            (&[3, 4, 5], vec![], "entries 3 to 5: details were deleted, and no entry states it"),
            (&[3, 4, 5], vec![(600, 0..5, 2)], "entry 5: details were deleted, and no entry states it"),
            (&[3, 4, 5], vec![(600, 4..5, 1)], "entry 3: details were deleted, and no entry states it"),
            (&[3, 4, 5], vec![(600, 0..9, 2)], "entries 0 to 8: deleted details: 3; entry 600 states 2"),
            (
                &[3],
                vec![(600, 0..9, 2)],
                "entries 0 to 8: deleted details: 1; entry 600 states 2: repeat the deletion",
            ),
            (
                &[],
                vec![(600, 0..9, 2)],
                "entries 0 to 8: deleted details: 0; entry 600 states 2: repeat the deletion",
            ),
        ] {
            let found = checked(deleted, &stated, 0).findings;
            assert_eq!(found.first().map(String::as_str), Some(finding), "{found:?}");
        }
        // A deletion that broke off after two of five, and was repeated; and one of which a part is pruned.
        assert_eq!(checked(&[1, 2, 3, 4, 5], &[(600, 0..9, 5), (700, 0..9, 3)], 0).findings, none);
        assert_eq!(checked(&[300], &[(600, 0..400, 5)], 256).findings, none);
        assert_eq!(checked(&[1, 3, 5], &[(600, 0..4, 2), (601, 4..9, 1)], 0).remarks.len(), 2);
    }

    #[test]
    fn the_number_of_places_is_bounded() {
        let deleted: Vec<u64> = (0..=MAX_RANGES as u64).map(|place| place * 2).collect();
        let report = checked(&deleted, &[(1 << 40, 0..1 << 30, MAX_RANGES as u64)], 0);
        assert_eq!(report.findings, [format!("details are deleted in more than {MAX_RANGES} places")]);
    }
}
