//! The account of one window of an answer: what left, in which form, on which basis, about whom.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::decision::{Permit, Release};
use crate::keys::{Fingerprint, Spread};
use crate::vocabulary::Form;

/// Counts over some records, per class of fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) records: u64,
    /// Records of which nothing personal left though there was something.
    pub(super) withheld_records: u64,
    /// Records without a usable subject, or with one that the ledger has never heard of.
    pub(super) unknown_subjects: u64,
    pub(super) minors: u64,
    pub(super) closed_accounts: u64,
    pub(super) past_retention: u64,
    /// Indexed by class: each release that occurred, with the number of fields.
    pub(super) classes: Vec<Vec<(Release, u64)>>,
    /// When the first of them has to be decided again though nothing happens: a consent or the cited
    /// case ends.
    pub(super) ask_again: Option<Timestamp>,
    /// Everybody whose state was looked up.
    pub(super) subjects: Vec<Fingerprint>,
    /// Controllers whose instructions were looked up: a change of theirs concerns the account too.
    pub(super) controllers: Vec<Fingerprint>,
    /// Those of the subjects of whom something personal may leave.
    pub(super) touched: Vec<Fingerprint>,
}

impl Tally {
    /// Counts one record's fields under its permit. `personal` says of a class whether it counts as personal.
    pub(super) fn add_record(&mut self, permit: &Permit, fields: &[u32], personal: &[bool]) {
        self.records += 1;
        let mut held = false;
        let mut left = false;
        for ((count, release), personal) in fields.iter().zip(permit.releases()).zip(personal) {
            held |= personal & (*count > 0);
            left |= personal & (*count > 0) & (release.form != Form::Removed);
        }
        self.withheld_records += u64::from(held && !left);
        self.add_fields(permit, fields);
    }

    /// Counts fields under their permit.
    pub(super) fn add_fields(&mut self, permit: &Permit, fields: &[u32]) {
        if self.classes.len() < fields.len() {
            self.classes.resize(fields.len(), Vec::new());
        }
        for ((count, release), class) in fields.iter().zip(permit.releases()).zip(&mut self.classes) {
            if *count > 0 {
                add_release(class, release, u64::from(*count));
            }
        }
    }

    /// What was decided counts until then at most.
    pub(super) fn ask_again_at(&mut self, instant: Option<Timestamp>) {
        self.ask_again = self.ask_again.into_iter().chain(instant).min();
    }

    /// A controller was asked about; records of one account often follow each other.
    pub(super) fn concerns(&mut self, controller: Fingerprint) {
        if self.controllers.last() != Some(&controller) {
            self.controllers.push(controller);
        }
    }

    /// Whether this account says of anything or anybody more than that one does.
    pub(super) fn exceeds(&self, other: &Tally) -> bool {
        let known: HashSet<_, Spread> = other.touched.iter().collect();
        let counted = |class: usize, release: &Release| {
            let class = other.classes.get(class).map_or(&[][..], Vec::as_slice);
            class.iter().find(|(known, _)| known == release).map_or(0, |(_, count)| *count)
        };
        self.touched.iter().any(|person| !known.contains(person))
            || self.classes.iter().enumerate().any(|(class, releases)| {
                let mut left = releases.iter().filter(|(release, _)| release.form != Form::Removed);
                left.any(|(release, count)| *count > counted(class, release))
            })
    }

    /// Everybody of whom nothing personal leaves.
    pub(super) fn untouched(&self) -> Vec<Fingerprint> {
        let touched: HashSet<_, Spread> = self.touched.iter().collect();
        self.subjects.iter().filter(|subject| !touched.contains(subject)).copied().collect()
    }

    /// Adds another account to this one.
    pub(super) fn merge(&mut self, other: Tally) {
        self.records += other.records;
        self.withheld_records += other.withheld_records;
        self.unknown_subjects += other.unknown_subjects;
        self.minors += other.minors;
        self.closed_accounts += other.closed_accounts;
        self.past_retention += other.past_retention;
        self.ask_again_at(other.ask_again);
        if self.classes.len() < other.classes.len() {
            self.classes.resize(other.classes.len(), Vec::new());
        }
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            for (release, count) in theirs {
                add_release(mine, &release, count);
            }
        }
        self.subjects.extend(other.subjects);
        self.touched.extend(other.touched);
        self.controllers.extend(other.controllers);
    }
}

fn add_release(class: &mut Vec<(Release, u64)>, release: &Release, count: u64) {
    match class.iter_mut().find(|(known, _)| known == release) {
        Some((_, total)) => *total += count,
        None => class.push((release.clone(), count)),
    }
}
