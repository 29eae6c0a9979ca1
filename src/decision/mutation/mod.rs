//! Mutation testing of a pack: finds the changes of its rules that no scenario detects, and writes a scenario for
//! each.
//!
//! A mutant that changes what leaves, or what is carried out, is detected by a scenario that passes on the pack
//! and fails on the mutant. Each scenario is run on the pack and on the mutant to verify this before it is
//! returned. Combinations of facts that no exchange can have do not count as a difference.

mod witness;

use std::ops::ControlFlow;
use std::sync::Arc;

use super::admission::needs_case;
use super::admitted::Decisions;
use super::scenario::{Scenario, UnmetExpectation};
use crate::finding::Source;
use crate::policy::cell_evaluator::Circumstances;
use crate::policy::mutation::comparison::{self, Comparison, JudgedField};
use crate::policy::mutation::{Mutant, PlannedMutation, planned_mutations};
use crate::policy::{AccountFact, ConsentFact, Fact, ObjectionFact, Pack, Rule, RuleIndex};
use crate::vocabulary::{CategoryId, Form, KindId, Operation, PurposeId};

/// Maximum number of scenarios that are tried for one question.
const MAX_SCENARIOS_TRIED: usize = 16;

/// A pack with its scenarios, on which mutants are tested.
#[derive(Debug)]
pub struct MutationTest<'a> {
    pack: &'a Arc<Pack>,
    scenarios: &'a [Scenario],
    /// The result of each scenario on the unchanged pack.
    baseline: Vec<Vec<UnmetExpectation>>,
    decisions: Decisions,
    fields: Vec<JudgedField>,
}

/// The outcome of testing one mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MutantOutcome {
    /// The mutant does not load.
    Refused,
    /// A scenario has another result.
    Killed,
    /// The mutant releases and carries out the same as the pack, for all facts.
    WithoutEffect,
    /// No scenario detects the mutant.
    Survives(Survivor),
}

/// A mutant that no scenario detects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The effect of the change, in words.
    pub difference: String,
    /// A scenario in TOML that detects it; `None` if none could be written.
    pub scenario: Option<String>,
}

/// Tests mutants one after another, and caches the evaluated cells of the pack.
#[derive(Debug)]
pub struct MutantRunner<'a> {
    trials: &'a MutationTest<'a>,
    comparison: Comparison<'a>,
}

impl<'a> MutationTest<'a> {
    /// Runs the scenarios on the unchanged pack.
    pub fn new(pack: &'a Arc<Pack>, scenarios: &'a [Scenario]) -> MutationTest<'a> {
        let decisions = Decisions::new(Arc::clone(pack));
        let baseline = scenarios.iter().map(|scenario| scenario.run(&decisions)).collect();
        MutationTest { pack, scenarios, baseline, decisions, fields: fields(pack) }
    }

    /// Creates a runner with a cache of its own.
    pub fn runner(&'a self) -> MutantRunner<'a> {
        MutantRunner { trials: self, comparison: Comparison::new(self.pack, &self.fields) }
    }

    /// True if a scenario has another result on the mutant.
    fn is_noticed(&self, mutant: &Mutant, mutated: &Decisions) -> bool {
        let rules = [self.decisions.pack(), mutated.pack()].map(|pack| pack.rulebook().rule(mutant.at));
        let rules: Vec<&Rule> = rules.into_iter().flatten().collect();
        let cites = |scenario: &Scenario| rules.iter().any(|rule| cites(rule, scenario));
        let concerned = |(scenario, _): &(&Scenario, _)| {
            rules.iter().any(|rule| scenario.concerns(rule, self.pack.vocabulary()))
        };
        let differs =
            |(scenario, usual): (&Scenario, &Vec<UnmetExpectation>)| scenario.run(mutated) != *usual;
        let all = || self.scenarios.iter().zip(&self.baseline).filter(concerned);
        // Scenarios of the rule's own clause are the likeliest to detect it.
        all().filter(|(scenario, _)| cites(scenario)).any(differs)
            || all().filter(|(scenario, _)| !cites(scenario)).any(differs)
    }
}

fn cites(rule: &Rule, scenario: &Scenario) -> bool {
    rule.clauses.iter().any(|clause| **clause == *scenario.clause)
}

impl<'a> MutantRunner<'a> {
    /// Loads the pack with a change and tests it.
    pub fn run(&mut self, planned: PlannedMutation) -> (Mutant, MutantOutcome) {
        let mutant = planned.load(self.trials.pack);
        let outcome = self.outcome(&mutant);
        (mutant, outcome)
    }

    fn outcome(&mut self, mutant: &Mutant) -> MutantOutcome {
        let Some(pack) = mutant.pack() else { return MutantOutcome::Refused };
        let mutated = Decisions::new(Arc::clone(pack));
        if self.trials.is_noticed(mutant, &mutated) {
            return MutantOutcome::Killed;
        }
        let pack = Arc::clone(self.trials.pack);
        let settled = |kind, purpose| facts_settled_by_admission(&pack, kind, purpose);
        // Continue if no scenario could be written for a difference.
        let mut unshown = None;
        let trials = self.trials;
        let mut visit = |found: &[comparison::MutantDifference<'_>]| {
            let mut found: Vec<_> =
                found.iter().filter(|difference| is_reachable(&pack, difference)).collect();
            found.sort_by_key(|difference| difference.circumstances.non_default().count());
            for difference in found.iter().take(MAX_SCENARIOS_TRIED) {
                if let Some(scenario) = trials.distinguishing_scenario(mutant, &mutated, difference) {
                    let difference = witness::describe(&pack, difference);
                    return ControlFlow::Break(Survivor { difference, scenario: Some(scenario) });
                }
            }
            if let Some(difference) = found.first() {
                unshown.get_or_insert_with(|| witness::describe(&pack, difference));
            }
            ControlFlow::Continue(())
        };
        let shown = self.comparison.differences(mutant, &settled, &mut visit).break_value();
        let unshown = unshown.map(|difference| Survivor { difference, scenario: None });
        shown.or(unshown).map_or(MutantOutcome::WithoutEffect, MutantOutcome::Survives)
    }
}

impl MutationTest<'_> {
    /// Returns the text of a scenario that passes on the pack and fails on the mutant.
    fn distinguishing_scenario(
        &self,
        mutant: &Mutant,
        mutated: &Decisions,
        difference: &comparison::MutantDifference<'_>,
    ) -> Option<String> {
        let clause = self.pack.rulebook().rule(mutant.at)?.clauses.first()?;
        // The response to an operation is judged separately, so every form is tried.
        let forms: &[Form] = match difference.operation {
            Operation::Disclose => &[difference.old],
            _ => Form::ALL,
        };
        forms.iter().find_map(|&form| {
            let text = witness::scenario(self.pack, clause, difference, form)?;
            let read = Scenario::read(&Source::new("scenario", text.as_str()), self.pack).ok()?;
            let passes = |decisions| read.iter().all(|scenario| scenario.run(decisions).is_empty());
            (!read.is_empty() && passes(&self.decisions) && !passes(mutated)).then_some(text)
        })
    }
}

/// Returns the fields by which packs are compared: each category by itself, leaves first, then each together with
/// service data.
fn fields(pack: &Pack) -> Vec<JudgedField> {
    let vocabulary = pack.vocabulary();
    let tree = vocabulary.categories();
    let is_leaf = |&id: &CategoryId| !tree.ids().any(|other| tree.parent(other) == Some(id));
    let (leaves, parents): (Vec<_>, Vec<_>) = tree.preorder().into_iter().partition(is_leaf);
    let categories: Vec<CategoryId> = leaves.into_iter().chain(parents).collect();
    let fixed = |known: Circumstances, fact, value: bool| known.with(fact, u8::from(value));
    let own = |category: CategoryId, with_service_data: bool| {
        let known = fixed(Circumstances::default(), Fact::WithServiceData, with_service_data);
        match witness::refusable(pack, category) {
            Some(_) => known,
            None => fixed(known, Fact::Refused, false),
        }
    };
    let field = |named: &[CategoryId], beside: Option<CategoryId>| {
        let with_service_data = named.iter().any(|&id| vocabulary.is_service_data(id));
        let facts = |category| {
            let known = own(category, with_service_data);
            match beside == Some(category) {
                // These facts are stated for single categories, so the service data have the default values.
                true => [Fact::Origin, Fact::Refused, Fact::PastRetention]
                    .into_iter()
                    .fold(known, |known, fact| known.with(fact, 0)),
                false => known,
            }
        };
        let categories =
            pack.judged_categories(named).into_iter().map(|category| (category, facts(category)));
        JudgedField { categories: categories.collect(), named: named.len() }
    };
    let mut all: Vec<JudgedField> = categories.iter().map(|&category| field(&[category], None)).collect();
    for &beside in categories.iter().filter(|&&category| vocabulary.is_service_data(category)) {
        let both = |&category: &CategoryId| field(&[category, beside], Some(beside));
        all.extend(categories.iter().filter(|&&category| vocabulary.is_personal(category)).map(both));
    }
    all
}

/// Returns the rules of a pack that can be removed without an effect on any disclosure or operation, whatever the
/// facts are.
pub fn without_effect(pack: &Arc<Pack>) -> Vec<RuleIndex> {
    let fields = fields(pack);
    let mut comparison = Comparison::new(pack, &fields);
    let settled = |kind, purpose| facts_settled_by_admission(pack, kind, purpose);
    let mut found = Vec::new();
    for planned in planned_mutations(pack).into_iter().filter(PlannedMutation::is_deletion) {
        let mutant = planned.load(pack);
        let mut visit = |differences: &[comparison::MutantDifference<'_>]| {
            let is_seen = differences.iter().any(|difference| is_reachable(pack, difference));
            if is_seen { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if mutant.pack().is_some() && comparison.differences(&mutant, &settled, &mut visit).is_continue() {
            found.push(mutant.at);
        }
    }
    found
}

/// Returns the facts that admission guarantees: a kind that needs a registered case receives nothing without one.
fn facts_settled_by_admission(pack: &Pack, kind: KindId, purpose: PurposeId) -> Circumstances {
    let known = Circumstances::default();
    match needs_case(pack.vocabulary(), kind, purpose) {
        true => known.with(Fact::LegalReference, 1),
        false => known,
    }
}

/// True if an exchange can have these facts together.
fn is_reachable(pack: &Pack, difference: &comparison::MutantDifference<'_>) -> bool {
    let Circumstances { facts, fixed } = difference.circumstances;
    let is = |fact: Fact, value: u8| fixed.contains(fact) && facts.get(fact) == value;
    let refused =
        is(Fact::Consent, ConsentFact::Refused as u8) || is(Fact::Consent, ConsentFact::Withdrawn as u8);
    let consented_since = is(Fact::ConsentedSinceRestriction, 1);
    // A refusal or a withdrawal counts as an objection.
    let refusal_objects = !(refused && is(Fact::Objection, ObjectionFact::None as u8));
    // A refusal ends a consent since the restriction. Without a restriction there is no such consent.
    let consent_is_valid = !(consented_since && (refused || is(Fact::Restricted, 0)));
    // An account can be due for purging only if the pack sets `account-closed-after`.
    let periods = &pack.manifest().account_closed_after;
    let has_period = [AccountFact::PurgeDue, AccountFact::PurgeOverdue]
        .into_iter()
        .enumerate()
        .all(|(at, account)| periods.len() > at || !is(Fact::Account, account as u8));
    let vocabulary = pack.vocabulary();
    let decides = |&(category, _): &(CategoryId, _)| vocabulary.governs_operations(category);
    let is_judged =
        difference.operation == Operation::Disclose || difference.field.categories.iter().any(decides);
    refusal_objects && consent_is_valid && is_judged && has_period
}

/// True if an operation other than `disclose` is carried out.
fn is_carried_out(form: Form) -> bool {
    form != Form::Removed
}

#[cfg(test)]
mod tests;
