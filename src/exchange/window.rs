//! The account of one window of an answer: what left, in which form, on which basis, about whom.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::decision::{ClassRelease, Permit};
use crate::keys::{BuildFingerprintHasher, Fingerprint};
use crate::vocabulary::Form;

/// Fields of one class that had one release.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseCount {
    pub(crate) class: usize,
    pub(crate) release: ClassRelease,
    pub(crate) fields: u64,
}

/// Permits under which fields are counted before they are added to the tally.
const MAX_PERMITS: usize = 4;

/// Fields counted by permit, class by class: records that follow each other share few.
#[derive(Debug, Default)]
pub(crate) struct FieldCounts(SmallVec<[(Permit, SmallVec<[u64; 16]>); 1]>);

impl FieldCounts {
    /// Counts fields under their permit. What is counted under the oldest goes into the tally where that is one
    /// permit too many.
    pub(crate) fn add(&mut self, permit: &Permit, fields: &[u32], tally: &mut WindowSummary) {
        let known = self.0.iter_mut().find(|(known, _)| known.is_same_instance(permit));
        if let Some((_, counts)) = known {
            if counts.len() < fields.len() {
                counts.resize(fields.len(), 0);
            }
            counts.iter_mut().zip(fields).for_each(|(count, more)| *count += u64::from(*more));
            return;
        }
        if self.0.len() == MAX_PERMITS {
            let (permit, counts) = self.0.remove(0);
            tally.add_fields(&permit, &counts);
        }
        self.0.push((permit.clone(), fields.iter().copied().map(u64::from).collect()));
    }
}

/// Counts over some records, per class of fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowSummary {
    pub(crate) records: u64,
    /// Records of which nothing personal left though there was something.
    pub(crate) withheld_records: u64,
    /// Records without a usable subject, or with one that the ledger has never heard of.
    pub(crate) unknown_subjects: u64,
    pub(crate) minors: u64,
    pub(crate) closed_accounts: u64,
    pub(crate) past_retention: u64,
    /// Each class with each release that occurred, and the number of fields.
    pub(crate) released: Vec<ReleaseCount>,
    /// When the first of them has to be decided again though nothing happens: a consent or the cited
    /// case ends.
    pub(crate) valid_until: Option<Timestamp>,
    /// Everybody whose state was looked up, each time that it was.
    pub(crate) subjects: Vec<Fingerprint>,
    /// Controllers whose instructions were looked up: a change of theirs concerns the account too.
    pub(crate) controllers: Vec<Fingerprint>,
    /// Those of the subjects of whom something personal may leave.
    pub(crate) released_subjects: Vec<Fingerprint>,
}

impl WindowSummary {
    /// Counts one record under its permit, its fields apart. `personal` says of a class whether it counts as
    /// personal.
    pub(crate) fn add_record(&mut self, permit: &Permit, fields: &[u32], personal: &[bool]) {
        self.records += 1;
        let mut held = false;
        let mut left = false;
        for ((count, release), personal) in fields.iter().zip(permit.releases()).zip(personal) {
            held |= personal & (*count > 0);
            left |= personal & (*count > 0) & (release.form != Form::Removed);
        }
        self.withheld_records += u64::from(held && !left);
    }

    /// Adds fields that were counted.
    pub(crate) fn add_field_counts(&mut self, counted: FieldCounts) {
        for (permit, fields) in counted.0 {
            self.add_fields(&permit, &fields);
        }
    }

    fn add_fields(&mut self, permit: &Permit, fields: &[u64]) {
        for (class, (count, release)) in fields.iter().zip(permit.releases()).enumerate() {
            if *count > 0 {
                self.add(class, release, *count);
            }
        }
    }

    /// What was decided counts until then at most.
    pub(crate) fn limit_validity(&mut self, instant: Option<Timestamp>) {
        self.valid_until = self.valid_until.into_iter().chain(instant).min();
    }

    /// A controller was asked about; records of one account often follow each other.
    pub(crate) fn add_controller(&mut self, controller: Fingerprint) {
        if self.controllers.last() != Some(&controller) {
            self.controllers.push(controller);
        }
    }

    /// Whether this account says of anything or anybody more than that one does.
    pub(crate) fn discloses_more_than(&self, other: &WindowSummary) -> bool {
        let known: HashSet<_, BuildFingerprintHasher> = other.released_subjects.iter().collect();
        let counted = |class: usize, release: &ClassRelease| {
            let known = other.released.iter().find(|known| known.class == class && known.release == *release);
            known.map_or(0, |known| known.fields)
        };
        let mut left = self.released.iter().filter(|one| one.release.form != Form::Removed);
        self.released_subjects.iter().any(|person| !known.contains(person))
            || left.any(|one| one.fields > counted(one.class, &one.release))
    }

    /// Everybody whose state was looked up, each once: a list may be of one person.
    pub(crate) fn distinct_subjects(&self) -> Cow<'_, [Fingerprint]> {
        if self.subjects.len() < 2 {
            return self.subjects.as_slice().into();
        }
        let mut known =
            HashSet::with_capacity_and_hasher(self.subjects.len(), BuildFingerprintHasher::default());
        self.subjects.iter().filter(|subject| known.insert(*subject)).copied().collect()
    }

    /// Those people of whom nothing personal leaves.
    pub(crate) fn withheld_subjects(&self, people: &[Fingerprint]) -> Vec<Fingerprint> {
        let touched: HashSet<_, BuildFingerprintHasher> = self.released_subjects.iter().collect();
        people.iter().filter(|subject| !touched.contains(subject)).copied().collect()
    }

    /// Adds another account to this one.
    pub(crate) fn merge(&mut self, other: WindowSummary) {
        if self.is_empty() {
            let ask_again = self.valid_until;
            *self = other;
            self.limit_validity(ask_again);
            return;
        }
        self.records += other.records;
        self.withheld_records += other.withheld_records;
        self.unknown_subjects += other.unknown_subjects;
        self.minors += other.minors;
        self.closed_accounts += other.closed_accounts;
        self.past_retention += other.past_retention;
        self.limit_validity(other.valid_until);
        for ReleaseCount { class, release, fields } in other.released {
            self.add(class, &release, fields);
        }
        self.subjects.extend(other.subjects);
        self.released_subjects.extend(other.released_subjects);
        self.controllers.extend(other.controllers);
    }

    /// Nothing was counted and nobody looked up.
    fn is_empty(&self) -> bool {
        self.records == 0
            && self.released.is_empty()
            && self.subjects.is_empty()
            && self.controllers.is_empty()
    }

    fn add(&mut self, class: usize, release: &ClassRelease, fields: u64) {
        let same = |known: &&mut ReleaseCount| known.class == class && known.release == *release;
        match self.released.iter_mut().find(same) {
            Some(known) => known.fields += fields,
            None => self.released.push(ReleaseCount { class, release: release.clone(), fields }),
        }
    }
}
