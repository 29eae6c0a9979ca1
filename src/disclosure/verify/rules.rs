//! The rules that the entries of a log keep among each other.
//!
//! Entries are fed in order. Memory grows with the number of names that are defined since the last start or day: eight bytes
//! for each.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::deletions::DetailDeletions;
use super::report::VerificationReport;
use crate::disclosure::entry::{
    DecodedDetail, DecodedHead, EntryKind, FormerLogEnd, NameTable, decode_detail, decode_head,
};

/// Number of bits of a packed definition that hold the kind of the term.
const TERM_BITS: u32 = 4;

/// The kind of a term that a number can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberedTerm {
    Name(NameTable),
    Ruling,
    Factors,
}

impl NumberedTerm {
    fn packed(self) -> u64 {
        match self {
            NumberedTerm::Ruling => 0,
            NumberedTerm::Factors => 1,
            NumberedTerm::Name(table) => 2 + u64::from(table.number()),
        }
    }
}

/// The state of the process that writes the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Process {
    /// No entry tells it.
    #[default]
    Unknown,
    Runs,
    Stopped,
}

/// The parts of a disclosure of which some are still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenParts {
    kind: EntryKind,
    id: Option<ulid::Ulid>,
    next: u64,
    of: u64,
}

/// An entry that states which entries are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatedPruning {
    /// The index of the entry.
    pub(super) index: u64,
    /// The first entry that is not deleted.
    pub(super) below: u64,
}

/// Checks entries one after the other.
#[derive(Debug, Default)]
pub(super) struct EntryRules {
    /// The index of the first entry.
    first: u64,
    /// The index of the next entry.
    next: u64,
    /// The index of the day's first entry; `None` if the entries before are not known.
    day: Option<u64>,
    date: Option<jiff::civil::Date>,
    time: u64,
    /// The entry from which numbers count, as an offset from the day's first; `None` if it is not known.
    base: Option<u64>,
    /// The terms that are defined since then: their numbers, packed with their kinds, in ascending order.
    terms: Vec<u64>,
    process: Process,
    parts: Option<OpenParts>,
    /// True after a padding entry: only padding or a new day follows.
    padded: bool,
    /// The first entries of the days.
    pub(super) days: Vec<u64>,
    /// The number of kept checkpoints that the first entry of each day states, as pairs of the entry and the number.
    pub(super) stated_checkpoints: Vec<(u64, u64)>,
    pub(super) prunings: Vec<StatedPruning>,
    pub(super) deletions: DetailDeletions,
    /// The first record of the old log that is kept, as the last entry states that is about its deletion: `Some(None)` if
    /// none is kept.
    pub(super) former_first: Option<Option<u64>>,
    /// The end of the old log, as the first start entry states it.
    pub(super) former: Option<FormerLogEnd>,
}

impl EntryRules {
    /// Begins at an entry, with which a day begins.
    pub(super) fn begin(first: u64) -> EntryRules {
        EntryRules { first, next: first, ..EntryRules::default() }
    }

    /// Returns the index of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the time of the last entry, if the day is known.
    pub(super) fn time(&self) -> Option<Timestamp> {
        let midnight = self.date?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        midnight.checked_add(SignedDuration::from_millis(i64::try_from(self.time).ok()?)).ok()
    }

    /// True if the process that wrote the log has stopped, and nothing follows.
    pub(super) fn is_stopped(&self) -> bool {
        self.process == Process::Stopped
    }

    /// Goes on behind entries that cannot be read.
    pub(super) fn skip_to(&mut self, next: u64) {
        self.next = next;
        self.day = None;
        self.base = None;
        self.terms.clear();
        self.process = Process::Unknown;
        self.parts = None;
        self.padded = false;
    }

    /// Checks an entry. `detail` is absent if it cannot be read; `digest` is its SHA-256.
    pub(super) fn check(
        &mut self,
        leaf: &[u8],
        detail: Option<(&[u8], &[u8; 32])>,
        report: &mut VerificationReport,
    ) {
        let index = self.next;
        self.next += 1;
        let head = match decode_head(leaf) {
            Ok(head) => head,
            Err(error) => {
                report.find(format!("entry {index}: {error}"));
                // Nothing is known about what it defines or begins.
                self.skip_to(index + 1);
                return;
            }
        };
        let mut faults = Faults { index, report };
        self.check_sequence(&head, &mut faults);
        self.check_numbers(index, &head, &mut faults);
        let part =
            detail.and_then(|(detail, digest)| self.check_detail(index, &head, detail, digest, &mut faults));
        self.check_parts(&head, part, &mut faults);
        self.define(index, &head);
    }

    /// Checks the order of days, processes and times.
    fn check_sequence(&mut self, head: &DecodedHead<'_>, faults: &mut Faults<'_>) {
        let index = faults.index;
        match head.kind {
            EntryKind::Day => self.begin_day(head, faults),
            _ if index == self.first => faults.find("the log does not begin with the first entry of a day"),
            _ => {}
        }
        if head.kind == EntryKind::Padding {
            self.padded = true;
        } else if self.padded && head.kind != EntryKind::Day {
            faults.find("follows the end of its day");
            self.padded = false;
        }
        if head.time < self.time {
            faults.find("is older than the entry before it");
        }
        self.time = head.time;
        match head.kind {
            EntryKind::Start => self.begin_process(head, faults),
            EntryKind::Resume if self.process == Process::Stopped => faults.find("follows a stop"),
            EntryKind::Resume => self.set_base(index),
            EntryKind::Stop => self.process = Process::Stopped,
            EntryKind::Pruning => {
                self.prunings.extend(head.below.map(|below| StatedPruning { index, below }));
                if head.former_segments > 0 {
                    self.former_first = Some(head.former_first);
                }
                if head.below.is_some_and(|below| self.day.is_some_and(|day| below > day)) {
                    faults.find("states the deletion of its own day");
                }
            }
            EntryKind::DetailDeletion => {
                self.deletions.state(index, head);
                if head.below.is_some_and(|below| self.day.is_some_and(|day| below > day)) {
                    faults.find("states the deletion of details of its own day");
                }
            }
            EntryKind::Day | EntryKind::Padding => {}
            _ if self.process == Process::Stopped => faults.find("follows a stop without a start"),
            _ => {}
        }
    }

    fn begin_day(&mut self, head: &DecodedHead<'_>, faults: &mut Faults<'_>) {
        let index = faults.index;
        if !index.is_multiple_of(crate::disclosure::entry::BUNDLE) {
            faults.find("begins a day within a bundle");
        }
        if self.date.zip(head.day()).is_some_and(|(last, day)| day <= last) {
            faults.find("begins a day that is not after the last one");
        }
        self.date = head.day();
        self.day = Some(index);
        self.days.push(index);
        self.stated_checkpoints.push((index, head.checkpoints));
        self.time = 0;
        self.padded = false;
        self.set_base(index);
    }

    fn begin_process(&mut self, head: &DecodedHead<'_>, faults: &mut Faults<'_>) {
        let index = faults.index;
        if self.process == Process::Runs {
            if head.unclean {
                let torn = match head.torn_bytes {
                    0 => String::new(),
                    bytes => format!("; {bytes} bytes of an unfinished write were cut off"),
                };
                faults.report.remark(format!(
                    "entry {index}: the process before it died without a stop, or the end was removed{torn}"
                ));
            } else {
                faults.find("begins a process although the one before it had not stopped");
            }
        }
        if let Some(end) = head.former_end() {
            if self.former.is_some() || self.days != [0] {
                faults.find("names an old log, which only the first start does");
            } else {
                self.former = Some(end);
            }
        }
        self.process = Process::Runs;
        // A process that begins with the day counts from the day's first entry.
        match self.day {
            Some(day) if index == day + 1 => self.set_base(day),
            _ => self.set_base(index),
        }
    }

    fn set_base(&mut self, index: u64) {
        self.base = self.day.map(|day| index - day);
        self.terms.clear();
    }

    /// Checks that the parts of a disclosure follow each other. `part` is the entry's number among the parts, and their number;
    /// `None` if its detail cannot be read.
    fn check_parts(&mut self, head: &DecodedHead<'_>, part: Option<(u64, u64)>, faults: &mut Faults<'_>) {
        let has_parts = matches!(head.kind, EntryKind::Exchange | EntryKind::Window | EntryKind::Correction);
        let Some((number, of)) = part.or((!has_parts).then_some((1, 1))) else {
            self.parts = None;
            return;
        };
        let next = OpenParts { kind: head.kind, id: head.id, next: number, of };
        if let Some(open) = self.parts.take() {
            if open == next {
                self.parts = (open.next < open.of).then_some(OpenParts { next: open.next + 1, ..open });
                return;
            }
            let (missing, of) = (open.next, open.of);
            // A power failure can leave some parts of a write. Nothing of what they describe has left.
            if head.kind == EntryKind::Start && head.unclean {
                let index = faults.index;
                faults.report.remark(format!(
                    "entry {index}: part {missing} of {of} of the disclosure before it was not written, because the process died"
                ));
            } else {
                faults.find(&format!("part {missing} of {of} of the disclosure before it is missing"));
            }
        }
        if next.of > 1 {
            if next.next != 1 {
                faults.find("the first part of the disclosure is missing");
            }
            self.parts = (next.next < next.of).then_some(OpenParts { next: next.next + 1, ..next });
        }
    }

    /// Checks that each number in the head stands for a name of the right table.
    fn check_numbers(&self, index: u64, head: &DecodedHead<'_>, faults: &mut Faults<'_>) {
        let Some(base) = self.base.filter(|_| is_numbered(head.kind)) else { return };
        if head.base != base {
            faults.find("its numbers count from another entry than that of its process");
            return;
        }
        if head.continues.zip(self.day).is_some_and(|(entry, day)| entry >= day) {
            faults.find("repeats the circumstances of an exchange of its own day");
        }
        for (table, number) in head.numbers() {
            if !self.is_defined(NumberedTerm::Name(table), number) {
                faults.find(&format!("number {number} does not stand for a {}", table.name()));
            }
        }
        debug_assert!(index >= base, "the base is an earlier entry");
    }

    fn is_defined(&self, term: NumberedTerm, number: u64) -> bool {
        number
            .checked_mul(1 << TERM_BITS)
            .is_some_and(|shifted| self.terms.binary_search(&(shifted | term.packed())).is_ok())
    }

    fn check_detail(
        &mut self,
        index: u64,
        head: &DecodedHead<'_>,
        detail: &[u8],
        digest: &[u8; 32],
        faults: &mut Faults<'_>,
    ) -> Option<(u64, u64)> {
        if detail.is_empty() {
            match head.kind.has_personal_detail() {
                true => self.deletions.add(index),
                false => faults.find("its detail was deleted, although other entries may need it"),
            }
            return None;
        }
        if *digest != head.commitment {
            faults.find("its detail is not the one to which the leaf commits");
            return None;
        }
        match decode_detail(head.kind, detail) {
            Ok(detail) => detail.map(|detail| {
                self.check_detail_numbers(&detail, faults);
                (detail.part(), detail.parts())
            }),
            Err(error) => {
                faults.report.find(format!("entry {index}: {error}"));
                None
            }
        }
    }

    fn check_detail_numbers(&self, detail: &DecodedDetail<'_>, faults: &mut Faults<'_>) {
        if self.base.is_none() {
            return;
        }
        let rulings = detail.categories.iter().map(|category| (NumberedTerm::Ruling, category.ruling));
        let factors = detail.factors.map(|number| (NumberedTerm::Factors, number));
        for (term, number) in rulings.chain(factors) {
            if !self.is_defined(term, number) {
                let name = if term == NumberedTerm::Ruling { "ruling" } else { "list of factors" };
                faults.find(&format!("number {number} does not stand for a {name}"));
            }
        }
    }

    /// Remembers the number of an entry that defines a term.
    fn define(&mut self, index: u64, head: &DecodedHead<'_>) {
        let term = match head.kind {
            EntryKind::Name => head.table.map(NumberedTerm::Name),
            EntryKind::Ruling => Some(NumberedTerm::Ruling),
            EntryKind::Factors => Some(NumberedTerm::Factors),
            _ => None,
        };
        let begin = self.day.zip(self.base).map(|(day, base)| day + base);
        if let (Some(term), Some(begin)) = (term, begin) {
            self.terms.push(((index - begin) << TERM_BITS) | term.packed());
        }
    }

    /// Checks what must not be open at the end of the log.
    pub(super) fn finish(&mut self, is_running: bool, report: &mut VerificationReport) {
        let Some(open) = self.parts.take() else { return };
        let (missing, of) = (open.next, open.of);
        let entry = self.next;
        let finding = format!("entry {entry}: part {missing} of {of} of the last disclosure is not written");
        report.find_unless(is_running, finding);
    }
}

/// True for kinds whose members or details contain numbers of terms.
fn is_numbered(kind: EntryKind) -> bool {
    match kind {
        EntryKind::Exchange
        | EntryKind::Refusal
        | EntryKind::Intent
        | EntryKind::Window
        | EntryKind::Close
        | EntryKind::Correction
        | EntryKind::Notice => true,
        EntryKind::Padding
        | EntryKind::Day
        | EntryKind::Start
        | EntryKind::Stop
        | EntryKind::Name
        | EntryKind::Ruling
        | EntryKind::Factors
        | EntryKind::Act
        | EntryKind::SecretErasure
        | EntryKind::Pruning
        | EntryKind::Resume
        | EntryKind::DetailDeletion
        | EntryKind::DroppedRefusals => false,
    }
}

/// Collects what is wrong with one entry.
struct Faults<'r> {
    index: u64,
    report: &'r mut VerificationReport,
}

impl Faults<'_> {
    fn find(&mut self, fault: &str) {
        self.report.find(format!("entry {}: {fault}", self.index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disclosure::entry::tests::samples::head;
    use crate::disclosure::entry::{DayStart, Encoder, ProcessStart};
    use crate::disclosure::record::{Disclosure, ExchangeReference, Record};

    #[test]
    fn circumstances_are_repeated_on_a_later_day_only() {
        let keys = crate::keys::Keys::random().unwrap();
        let (day, now) = (jiff::civil::date(2026, 11, 29), Timestamp::UNIX_EPOCH);
        // The second pair is not where the days begin.
        for (firsts, findings) in [([0, 256], 0), ([1000, 2000], 1)] {
            let (mut encoder, mut entries) = (Encoder::new(keys.subject_pseudonyms()), Vec::new());
            let members = firsts.map(|first| DayStart {
                first,
                gateway: "g",
                checkpoints: 0,
                pseudonym_key: [0; 16],
                ledger: None,
            });
            let given = head(ulid::Ulid::generate());
            let later = ExchangeReference::Later(given.decision);
            let window = |exchange| Record::Window { exchange, disclosure: Disclosure::default() };
            let start =
                ProcessStart { gateway: "g", version: "0", unclean: false, torn_bytes: 0, former: None };
            encoder.begin_day(day, &members[0], &mut entries);
            encoder.start(1, &start, now, &mut entries);
            encoder.encode(&window(ExchangeReference::First(given.into())), now, 2, &mut entries);
            encoder.padding(256 - entries.len() as u64, &mut entries);
            encoder.begin_day(day.tomorrow().unwrap(), &members[1], &mut entries);
            encoder.encode(&window(later), now, 1, &mut entries);
            let (mut rules, mut report) = (EntryRules::begin(0), VerificationReport::default());
            entries.iter().for_each(|entry| rules.check(&entry.leaf, None, &mut report));
            assert_eq!(report.findings.len(), findings, "{:?}", report.findings);
        }
    }

    #[test]
    fn a_number_too_large_for_any_index_is_not_defined() {
        let term = NumberedTerm::Name(NameTable::Route);
        let rules = EntryRules { terms: vec![(7 << TERM_BITS) | term.packed()], ..EntryRules::default() };
        assert!(rules.is_defined(term, 7));
        for other in [8, (1 << 60) + 7, u64::MAX - (1 << 60) + 8] {
            assert!(!rules.is_defined(term, other), "{other}");
        }
    }
}
