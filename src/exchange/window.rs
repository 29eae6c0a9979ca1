//! The summary of one window of a response: fields by category, form and basis, and the people concerned.
//!
//! It holds counts, fingerprints and log secrets, never a value.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::circumstances::WindowCircumstances;
use crate::decision::{ClassRelease, Permit, Reason};
use crate::keys::{BuildFingerprintHasher, Fingerprint, LoggedPerson};
use crate::scrub::UNCLASSIFIED;
use crate::vocabulary::Form;

/// Fields of one class that had one release.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseCount {
    pub(crate) class: usize,
    pub(crate) release: ClassRelease,
    pub(crate) fields: u64,
}

/// Some people. Most answers are about one.
pub(crate) type People = SmallVec<[LoggedPerson; 1]>;

/// Maximum number of permits whose fields are counted separately before they are added to the summary.
const MAX_PERMITS: usize = 4;

/// Counts of fields by permit and class. Consecutive records share few permits.
#[derive(Debug, Default)]
pub(crate) struct FieldCounts(SmallVec<[(Permit, SmallVec<[u64; 16]>); 1]>);

impl FieldCounts {
    /// Counts fields under their permit. Beyond [`MAX_PERMITS`], the counts of the oldest permit move into the summary.
    pub(crate) fn add(&mut self, permit: &Permit, fields: &[u32], summary: &mut WindowSummary) {
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
            summary.add_fields(&permit, &counts);
        }
        self.0.push((permit.clone(), fields.iter().copied().map(u64::from).collect()));
    }
}

/// The summary of some records.
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowSummary {
    /// Number of records.
    pub(crate) records: u64,
    /// Records whose personal fields were all withheld.
    pub(crate) withheld_records: u64,
    /// Records without a usable subject, or with one that the ledger does not know.
    pub(crate) unknown_subjects: u64,
    /// Records about a minor.
    pub(crate) minors: u64,
    /// Records of a closed account.
    pub(crate) closed_accounts: u64,
    /// Records past their retention.
    pub(crate) past_retention: u64,
    /// True if something was judged on current knowledge of the ledger. It may leave only while the knowledge is.
    pub(crate) current: bool,
    /// True if something was judged on what was last known, while the ledger was stale.
    pub(crate) stale: bool,
    /// True if something of an observed body was not read.
    pub(crate) unread: bool,
    /// Number of fields by class and release.
    pub(crate) released: Vec<ReleaseCount>,
    /// The first instant at which a decision ends by itself: a consent or the cited case ends.
    pub(crate) valid_until: Option<Timestamp>,
    /// Every subject whose state was looked up, once for each look-up, as the log named them at that moment.
    pub(crate) subjects: Vec<LoggedPerson>,
    /// Controllers whose instructions were looked up: their changes concern the window too.
    pub(crate) controllers: Vec<Fingerprint>,
    /// The subjects of records from which a personal field may leave.
    pub(crate) released_subjects: Vec<Fingerprint>,
    /// The records by their circumstances.
    pub(crate) circumstances: WindowCircumstances,
}

impl WindowSummary {
    /// Counts one record under its permit, but not its fields. `personal` is true for personal classes.
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

    /// Adds counted fields.
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

    /// True if there are fields that nothing classifies.
    pub(crate) fn has_unclassified(&self) -> bool {
        self.released.iter().any(|count| count.class == usize::from(UNCLASSIFIED.0))
    }

    /// Limits the validity of the decisions to this instant.
    pub(crate) fn limit_validity(&mut self, instant: Option<Timestamp>) {
        self.valid_until = self.valid_until.into_iter().chain(instant).min();
    }

    /// Adds a controller. Records of one account often follow each other.
    pub(crate) fn add_controller(&mut self, controller: Fingerprint) {
        if self.controllers.last() != Some(&controller) {
            self.controllers.push(controller);
        }
    }

    /// True if this summary discloses more than the other: more people, or more fields of a class and release.
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

    /// Returns the subjects that were looked up, each once, since all records of a list may be about one person: those of
    /// records from which a personal field may leave, and the others.
    pub(crate) fn people(&self) -> (People, People) {
        if let [only] = *self.subjects {
            let (only, nobody) = (People::from([only]), People::new());
            return if self.released_subjects.is_empty() { (nobody, only) } else { (only, nobody) };
        }
        let mut places: HashMap<Fingerprint, usize, BuildFingerprintHasher> =
            HashMap::with_capacity_and_hasher(self.subjects.len(), BuildFingerprintHasher::default());
        let mut people = People::new();
        for person in &self.subjects {
            let place = *places.entry(person.fingerprint).or_insert(people.len());
            match people.get_mut(place) {
                // The secret may have been made between two look-ups.
                Some(known) => known.secret = known.secret.or(person.secret),
                None => people.push(*person),
            }
        }
        let released: HashSet<_, BuildFingerprintHasher> = self.released_subjects.iter().collect();
        people.into_iter().partition(|person| released.contains(&person.fingerprint))
    }

    /// True if something was withheld because the ledger was stale.
    pub(crate) fn withholds_as_stale(&self) -> bool {
        self.released.iter().any(|released| released.release.reason == Some(Reason::Stale))
    }

    /// Adds another summary to this one.
    pub(crate) fn merge(&mut self, other: WindowSummary) {
        if self.is_empty() {
            let WindowSummary { valid_until, current, stale, unread, .. } = *self;
            *self = other;
            self.limit_validity(valid_until);
            self.current |= current;
            self.stale |= stale;
            self.unread |= unread;
            return;
        }
        self.current |= other.current;
        self.stale |= other.stale;
        self.unread |= other.unread;
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
        self.circumstances.merge(other.circumstances);
    }

    /// True if nothing was counted and nobody looked up.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Keys, LogSecret};

    #[test]
    fn each_person_counts_once_and_as_released_if_anything_may_leave() {
        let fingerprints = Keys::random().unwrap().fingerprints();
        let [ada, ben, cleo] = ["ada", "ben", "cleo"].map(|name| fingerprints.recipient(name));
        let people = |subjects: &[Fingerprint], released: &[Fingerprint]| {
            let summary = WindowSummary {
                subjects: subjects.iter().copied().map(LoggedPerson::unknown).collect(),
                released_subjects: released.to_vec(),
                ..WindowSummary::default()
            };
            let (released, withheld) = summary.people();
            let fingerprints = |people: People| people.iter().map(|person| person.fingerprint).collect();
            (fingerprints(released), fingerprints(withheld))
        };
        assert_eq!(people(&[], &[]), (vec![], vec![]));
        assert_eq!(people(&[ada], &[ada]), (vec![ada], vec![]));
        assert_eq!(people(&[ada], &[]), (vec![], vec![ada]));
        let (released, withheld) = people(&[ada, ben, ada, cleo, ben], &[ada, cleo, ada]);
        assert_eq!((released, withheld), (vec![ada, cleo], vec![ben]));
    }

    #[test]
    fn a_secret_that_was_known_at_one_look_up_names_the_person() {
        let fingerprint = Keys::random().unwrap().fingerprints().recipient("ada");
        let named = |secret: Option<u8>| LoggedPerson {
            fingerprint,
            secret: secret.map(|byte| LogSecret::from_bytes([byte; 16])),
        };
        for subjects in [vec![named(None), named(Some(1))], vec![named(Some(1)), named(None), named(None)]] {
            let summary = WindowSummary { subjects, ..WindowSummary::default() };
            assert_eq!(summary.people().1.as_slice(), [named(Some(1))]);
        }
    }
}
