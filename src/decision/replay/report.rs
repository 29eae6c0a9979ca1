//! The result of a replay, by recipient, purpose and route.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Serialize;

use super::{FieldOutcome, RecordOutcome, RemappedField, add, unstated};
use crate::decision::circumstance::SeenCircumstance;

/// The result of a replay.
#[derive(Debug, Default, Serialize)]
pub struct ReplayReport {
    /// Number of days on which records were counted.
    pub days: usize,
    /// Number of records that both versions decided on.
    pub records: u64,
    /// Number of these records of which a field leaves in another form.
    pub changed: u64,
    /// The fields whose categories differ, for a replay of mappings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Vec<RemappedField>>,
    /// The records by recipient, purpose and route: those with changes.
    pub groups: Vec<ReplayGroup>,
    /// Records whose circumstances were not told apart, by route.
    pub other: BTreeMap<String, u64>,
    /// Records of circumstances that too few have, by route.
    pub rare: BTreeMap<String, u64>,
    /// Records on which one of the versions cannot decide.
    pub unevaluated: Vec<UnevaluatedRecords>,
    /// Facts that a version compares and the gateway did not count, with the records for which they count as absent.
    pub unrecorded_facts: BTreeMap<String, u64>,
    /// Paths of the mappings that were not compared, by route.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub uncompared: BTreeMap<String, Vec<String>>,
    #[serde(skip)]
    pub(super) counting: CountedReplay,
}

/// The records of one recipient, purpose and route.
#[derive(Debug, Serialize)]
pub struct ReplayGroup {
    /// Name of the recipient.
    pub recipient: String,
    /// The purpose.
    pub purpose: String,
    /// Name of the route.
    pub route: String,
    /// Number of records that both versions decided on.
    pub records: u64,
    /// Number of these of which a field leaves in another form.
    pub changed: u64,
    /// The changes, most records first.
    pub changes: Vec<ReplayedChange>,
}

/// Fields that leave in another form.
#[derive(Debug, Serialize)]
pub struct ReplayedChange {
    /// Categories of the fields, or with two mappings their paths.
    pub fields: Vec<String>,
    /// The outcome of the old version.
    pub old: FieldOutcome,
    /// The outcome of the new version.
    pub new: FieldOutcome,
    /// True if the new version discloses more.
    pub more: bool,
    /// Number of records.
    pub records: u64,
    /// Number of records a day, rounded to a tenth.
    pub records_a_day: f64,
}

/// Records on which one of the versions cannot decide.
#[derive(Debug, Serialize)]
pub struct UnevaluatedRecords {
    /// The reason.
    pub reason: String,
    /// Number of records.
    pub records: u64,
}

/// The counts during a replay.
#[derive(Debug, Default)]
pub(super) struct CountedReplay {
    days: BTreeSet<Date>,
    groups: BTreeMap<(String, String, String), CountedGroup>,
    unevaluated: BTreeMap<String, u64>,
    /// Number of circumstances that were compared.
    compared: usize,
}

/// The counts of one group.
#[derive(Debug, Default)]
struct CountedGroup {
    records: u64,
    changed: u64,
    changes: BTreeMap<(String, FieldOutcome, FieldOutcome), CountedChange>,
}

/// The records in which one field changes in one way.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct CountedChange {
    records: u64,
    /// The numbers of their circumstances.
    circumstances: Vec<usize>,
}

impl ReplayReport {
    /// True if the replay shows that nothing changes: something could be compared, nothing of it differs, and nothing is missing
    /// that could differ. The records of `other` and `rare` are always missing.
    pub fn shows_no_change(&self) -> bool {
        let differs = self.changed > 0 || self.mapping.as_ref().is_some_and(|fields| !fields.is_empty());
        let is_complete =
            self.unevaluated.is_empty() && self.unrecorded_facts.is_empty() && self.uncompared.is_empty();
        self.records > 0 && is_complete && !differs
    }

    pub(super) fn add_day(&mut self, day: Date) {
        self.counting.days.insert(day);
    }

    pub(super) fn add_unevaluated(&mut self, reason: &str, records: u64) {
        add(self.counting.unevaluated.entry(reason.to_owned()).or_default(), records);
    }

    /// Counts records of which nothing changes.
    pub(super) fn add_unchanged(&mut self, seen: &SeenCircumstance, records: u64) {
        add(&mut self.records, records);
        add(&mut self.group(seen).records, records);
    }

    /// Compares the outcomes of two versions for the fields with these names.
    pub(super) fn compare(
        &mut self,
        seen: &SeenCircumstance,
        records: u64,
        fields: &[String],
        before: Result<RecordOutcome, String>,
        after: Result<RecordOutcome, String>,
    ) {
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(reason), _) => return self.add_unevaluated(&format!("old: {reason}"), records),
            (_, Err(reason)) => return self.add_unevaluated(&format!("new: {reason}"), records),
        };
        for name in unstated(seen, before.compared, after.compared) {
            add(self.unrecorded_facts.entry(name).or_default(), records);
        }
        self.add_unchanged(seen, records);
        self.counting.compared += 1;
        let circumstance = self.counting.compared;
        let group = self.group(seen);
        let mut is_changed = false;
        for (name, (old, new)) in fields.iter().zip(before.fields.into_iter().zip(after.fields)) {
            if old.form != new.form {
                is_changed = true;
                let change = group.changes.entry((name.clone(), old, new)).or_default();
                add(&mut change.records, records);
                change.circumstances.push(circumstance);
            }
        }
        if is_changed {
            add(&mut group.changed, records);
            add(&mut self.changed, records);
        }
    }

    fn group(&mut self, seen: &SeenCircumstance) -> &mut CountedGroup {
        let SeenCircumstance { recipient, purpose, route, .. } = seen;
        self.counting.groups.entry((recipient.clone(), purpose.clone(), route.clone())).or_default()
    }

    /// Turns the counts into the lists of the report.
    pub(super) fn finish(mut self) -> ReplayReport {
        let CountedReplay { days, groups, unevaluated, compared: _ } = std::mem::take(&mut self.counting);
        self.days = days.len();
        let changed = groups.into_iter().filter(|(_, group)| group.changed > 0);
        self.groups = changed.map(|(of, group)| replay_group(of, group, self.days)).collect();
        self.unevaluated =
            unevaluated.into_iter().map(|(reason, records)| UnevaluatedRecords { reason, records }).collect();
        self
    }
}

fn replay_group(
    (recipient, purpose, route): (String, String, String),
    group: CountedGroup,
    days: usize,
) -> ReplayGroup {
    let CountedGroup { records, changed, changes } = group;
    // Fields of the same records that change in the same way are one change.
    let mut alike: BTreeMap<(CountedChange, FieldOutcome, FieldOutcome), Vec<String>> = BTreeMap::new();
    for ((field, old, new), change) in changes {
        alike.entry((change, old, new)).or_default().push(field);
    }
    let change = |((of, old, new), fields): ((CountedChange, FieldOutcome, FieldOutcome), Vec<String>)| {
        let records = of.records;
        let tenths = (records.saturating_mul(10) as f64 / days.max(1) as f64).round();
        ReplayedChange { fields, more: new.form < old.form, old, new, records, records_a_day: tenths / 10.0 }
    };
    let changes = alike.into_iter().rev().map(change).collect();
    ReplayGroup { recipient, purpose, route, records, changed, changes }
}
