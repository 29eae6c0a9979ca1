//! The account of one window of an answer: what left, in which form, on which basis, about whom.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::decision::{Permit, Release};
use crate::keys::Fingerprint;
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
    /// Indexed by class: each release that occurred, with the number of fields.
    pub(super) classes: Vec<Vec<(Release, u64)>>,
    /// When the first of them has to be decided again though nothing happens: a consent or the cited
    /// case ends.
    pub(super) ask_again: Option<Timestamp>,
    /// Everybody whose state was looked up.
    pub(super) subjects: Vec<Fingerprint>,
    /// Those of them of whom something personal may leave.
    pub(super) touched: Vec<Fingerprint>,
}

impl Tally {
    /// Counts one record's fields under its permit. `personal` says of a class whether it counts as personal.
    pub(super) fn add(&mut self, permit: &Permit, fields: &[u32], personal: &[bool]) {
        self.records += 1;
        if self.classes.len() < fields.len() {
            self.classes.resize(fields.len(), Vec::new());
        }
        let mut held = false;
        let mut left = false;
        let releases = permit.releases().iter();
        for (((count, release), class), personal) in
            fields.iter().zip(releases).zip(&mut self.classes).zip(personal)
        {
            if *count == 0 {
                continue;
            }
            held |= personal;
            left |= personal & (release.form != Form::Removed);
            add_release(class, release, u64::from(*count));
        }
        self.withheld_records += u64::from(held && !left);
    }

    /// What was decided counts until then at most.
    pub(super) fn ask_again_at(&mut self, instant: Option<Timestamp>) {
        self.ask_again = self.ask_again.into_iter().chain(instant).min();
    }

    /// Everybody of whom nothing personal leaves.
    pub(super) fn untouched(&self) -> Vec<Fingerprint> {
        let touched: HashSet<_> = self.touched.iter().collect();
        self.subjects.iter().filter(|subject| !touched.contains(subject)).copied().collect()
    }

    /// Adds another account to this one.
    pub(super) fn merge(&mut self, other: Tally) {
        self.records += other.records;
        self.withheld_records += other.withheld_records;
        self.unknown_subjects += other.unknown_subjects;
        self.minors += other.minors;
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
    }
}

fn add_release(class: &mut Vec<(Release, u64)>, release: &Release, count: u64) {
    match class.iter_mut().find(|(known, _)| known == release) {
        Some((_, total)) => *total += count,
        None => class.push((release.clone(), count)),
    }
}
