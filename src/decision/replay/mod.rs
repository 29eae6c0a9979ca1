//! Replays counted circumstances under two versions of a policy, or of a mapping: which records would leave otherwise, in
//! which form, and by which rules.
//!
//! Invariant: a circumstance is decided by the same code as an exchange. Those that cannot be decided are counted, never guessed.

mod report;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

pub use self::report::{ReplayGroup, ReplayReport, ReplayedChange, UnevaluatedRecords};
use super::admitted::{Admitted, Decisions};
use super::circumstance::line::{CircumstanceLine, LineOf};
use super::circumstance::{ReadCircumstance, SeenCircumstance, UNCLASSIFIED};
use super::classes::Classes;
use super::permit::{ClassRelease, Reason};
use crate::policy::{Facts, Pack};
use crate::vocabulary::{CategoryId, Form};

/// Maximum number of sets of categories that are kept for reuse. A full cache is cleared.
const MAX_CLASSES_KEPT: usize = 1024;

/// Decides on counted circumstances by one version of a pack.
#[derive(Debug)]
pub struct PolicyReplay {
    decisions: Decisions,
    /// Classes by the names of their categories: the cache of decisions is keyed by their address.
    classes: HashMap<(Vec<String>, bool), Classes>,
}

/// The outcome for one field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FieldOutcome {
    /// The form in which it leaves.
    pub form: Form,
    /// The reason why it is withheld: that of a record or of a refused request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Ids of the rules that decided.
    pub rules: Vec<Arc<str>>,
    /// The clauses that they cite.
    pub clauses: Vec<Arc<str>>,
}

/// The outcome for all fields of a record.
struct RecordOutcome {
    /// One for each field, in the order of the question.
    fields: Vec<FieldOutcome>,
    /// The names of the facts about people that the rules compare.
    compared: BTreeSet<String>,
}

/// A field whose categories differ between two mappings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RemappedField {
    /// Name of the route.
    pub route: String,
    /// Path from the root of the document.
    pub path: String,
    /// The categories by the old mapping, joined by `+`.
    pub old: String,
    /// The categories by the new mapping.
    pub new: String,
}

/// The treatment of a route by two configurations.
#[derive(Clone, Debug)]
pub struct RemappedRoute {
    /// The fields whose categories differ.
    pub fields: Vec<RemappedField>,
    /// Paths of one of the mappings of which it is not known what they select, or what the other mapping says about it.
    pub uncompared: Vec<String>,
    /// The packs of the route, as positions in the lists of [`replay_mapping`]. `None` if one mapping passes the answers
    /// unread, or no pack is in force.
    pub packs: Option<[usize; 2]>,
    /// True if the new mapping releases fields that nothing classifies.
    pub releases_unclassified: bool,
}

impl PolicyReplay {
    /// Replays under this pack.
    pub fn new(pack: Arc<Pack>) -> PolicyReplay {
        PolicyReplay { decisions: Decisions::new(pack), classes: HashMap::new() }
    }

    /// The pack's title.
    pub fn title(&self) -> &str {
        &self.decisions.pack().manifest().title
    }

    /// Decides on some fields of a record under the circumstances.
    fn decide(
        &mut self,
        seen: &SeenCircumstance,
        fields: &[String],
        releases_unclassified: bool,
    ) -> Result<RecordOutcome, String> {
        let classes = self.classes(fields, releases_unclassified)?;
        let read = ReadCircumstance::read(self.decisions.pack(), seen)?;
        Ok(match self.decisions.admit(&read.request, &classes) {
            Ok(admitted) => {
                let permit = read.judge(&admitted);
                let releases = permit.releases().iter().zip(classes.sets());
                let outcome = |(release, set): (&ClassRelease, &Vec<CategoryId>)| {
                    FieldOutcome::of(release).with_constant_prohibitions(&admitted, set)
                };
                RecordOutcome { fields: releases.map(outcome).collect(), compared: admitted.compared_facts() }
            }
            Err(denial) => RecordOutcome {
                fields: vec![FieldOutcome::refused(denial.name()); fields.len()],
                compared: BTreeSet::new(),
            },
        })
    }

    fn classes(&mut self, fields: &[String], releases_unclassified: bool) -> Result<Classes, String> {
        let key = (fields.to_vec(), releases_unclassified);
        if let Some(known) = self.classes.get(&key) {
            return Ok(known.clone());
        }
        let sets = fields.iter().map(|field| self.categories(field)).collect::<Result<Vec<_>, _>>()?;
        if self.classes.len() >= MAX_CLASSES_KEPT {
            self.classes.clear();
        }
        let classes = Classes::new(sets, releases_unclassified);
        self.classes.insert(key, classes.clone());
        Ok(classes)
    }

    /// Returns the categories of a field.
    fn categories(&self, field: &str) -> Result<Vec<CategoryId>, String> {
        if field == UNCLASSIFIED {
            return Ok(Vec::new());
        }
        let tree = self.decisions.pack().vocabulary().categories();
        let find = |name: &str| tree.find(name).ok_or_else(|| format!("unknown category `{name}`"));
        field.split('+').map(find).collect()
    }
}

impl FieldOutcome {
    fn of(release: &ClassRelease) -> FieldOutcome {
        FieldOutcome {
            form: release.form,
            reason: release.reason.map(Reason::name),
            rules: release.rules.to_vec(),
            clauses: release.clauses.to_vec(),
        }
    }

    /// Names the prohibitions without conditions where no rule is named: a category that one of them withholds from everybody
    /// is not evaluated.
    fn with_constant_prohibitions(mut self, admitted: &Admitted, categories: &[CategoryId]) -> FieldOutcome {
        if self.reason != Some(Reason::NoRule.name()) || !self.rules.is_empty() {
            return self;
        }
        let (rulebook, slice) = (admitted.pack.rulebook(), &admitted.slice);
        let prohibitions = |category: &CategoryId| {
            rulebook.prohibitions(slice.kind, slice.purpose, *category, Facts::default())
        };
        let found = categories.iter().flat_map(prohibitions).filter_map(|at| rulebook.rule(at));
        for rule in found.filter(|rule| rule.conditions().is_empty()) {
            self.reason = Some(Reason::Prohibited.name());
            self.rules.push(Arc::clone(&rule.id));
            self.clauses.extend(rule.clauses.iter().cloned());
        }
        self
    }

    fn refused(code: &'static str) -> FieldOutcome {
        FieldOutcome { form: Form::Removed, reason: Some(code), rules: Vec::new(), clauses: Vec::new() }
    }
}

/// Replays circumstances under two versions of a pack. Circumstances that another pack decided on are counted only.
pub fn replay_policies(
    old: Arc<Pack>,
    new: Arc<Pack>,
    lines: impl IntoIterator<Item = CircumstanceLine>,
) -> ReplayReport {
    let mut replays = [PolicyReplay::new(old), PolicyReplay::new(new)];
    let mut report = ReplayReport::default();
    for (seen, records) in distinct(lines, &mut report) {
        if replays.iter().all(|replay| replay.title() != seen.pack) {
            report.add_unevaluated(&format!("decided by the pack \"{}\"", seen.pack), records);
            continue;
        }
        let [before, after] = replays
            .each_mut()
            .map(|replay| replay.decide(&seen, &seen.categories, seen.releases_unclassified));
        report.compare(&seen, records, &seen.categories, before, after);
    }
    report.finish()
}

/// Replays circumstances under two mappings: of each record, the fields whose categories differ. `packs` are those of both
/// configurations.
pub fn replay_mapping(
    packs: [&[Arc<Pack>]; 2],
    routes: &BTreeMap<String, RemappedRoute>,
    lines: impl IntoIterator<Item = CircumstanceLine>,
) -> ReplayReport {
    let start = |packs: &[Arc<Pack>]| packs.iter().cloned().map(PolicyReplay::new).collect::<Vec<_>>();
    let [mut old, mut new] = packs.map(start);
    let mut report = ReplayReport {
        mapping: Some(routes.values().flat_map(|route| route.fields.iter().cloned()).collect()),
        uncompared: routes
            .iter()
            .map(|(name, route)| (name.clone(), route.uncompared.clone()))
            .filter(|(_, paths)| !paths.is_empty())
            .collect(),
        ..ReplayReport::default()
    };
    for (seen, records) in distinct(lines, &mut report) {
        let Some(route) = routes.get(&seen.route) else {
            let reason = format!("the route `{}` is not in both configurations", seen.route);
            report.add_unevaluated(&reason, records);
            continue;
        };
        if route.fields.is_empty() {
            report.add_unchanged(&seen, records);
            continue;
        }
        // A record has the field only if it has fields of the old categories.
        let present = route.fields.iter().filter(|field| seen.categories.contains(&field.old));
        let present: Vec<&RemappedField> = present.collect();
        let packs = route.packs.and_then(|[before, after]| old.get_mut(before).zip(new.get_mut(after)));
        let Some((old, new)) = packs else {
            report.add_unevaluated("one mapping passes the answers unread, or no pack is in force", records);
            continue;
        };
        let named =
            |side: fn(&RemappedField) -> &String| present.iter().map(|field| side(field).clone()).collect();
        let (before, after): (Vec<String>, Vec<String>) =
            (named(|field| &field.old), named(|field| &field.new));
        let labels: Vec<String> =
            present.iter().map(|field| format!("{} ({} -> {})", field.path, field.old, field.new)).collect();
        let before = old.decide(&seen, &before, seen.releases_unclassified);
        let after = new.decide(&seen, &after, route.releases_unclassified);
        report.compare(&seen, records, &labels, before, after);
    }
    report.finish()
}

/// Returns each of the circumstances once, with their records of all days. Those that are not told apart are counted in the
/// report.
fn distinct(
    lines: impl IntoIterator<Item = CircumstanceLine>,
    report: &mut ReplayReport,
) -> Vec<(SeenCircumstance, u64)> {
    let mut known: HashMap<String, (SeenCircumstance, u64)> = HashMap::new();
    for CircumstanceLine { day, records, of } in lines {
        report.add_day(day);
        match of {
            LineOf::Other(route) => add(report.other.entry(route).or_default(), records),
            LineOf::Rare(route) => add(report.rare.entry(route).or_default(), records),
            LineOf::Seen(seen) => {
                let key = serde_json::to_string(&seen).unwrap_or_default();
                add(&mut known.entry(key).or_insert_with(|| (*seen, 0)).1, records);
            }
        }
    }
    let mut all: Vec<_> = known.into_iter().collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all.into_iter().map(|(_, counted)| counted).collect()
}

/// Adds records. The counts come from a file, which can state any number.
fn add(count: &mut u64, records: u64) {
    *count = count.saturating_add(records);
}

/// Returns the names of the facts that one of the versions compares and that the circumstances do not state. Those of an earlier
/// version of the gateway do not say which they state; then the old version counts as the one that was in force.
fn unstated(
    seen: &SeenCircumstance,
    before: BTreeSet<String>,
    after: BTreeSet<String>,
) -> impl Iterator<Item = String> {
    let (stated, compared) = match &seen.compares {
        Some(stated) => (stated.clone(), before.into_iter().chain(after).collect()),
        None => (before, after),
    };
    compared.into_iter().filter(move |name| !stated.contains(name))
}

#[cfg(test)]
mod tests;
