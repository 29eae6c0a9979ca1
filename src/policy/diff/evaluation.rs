//! Evaluates the rules of two versions side by side.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::rc::Rc;

use super::{Change, DecidingRule, Role};
use crate::policy::cell_evaluator::{
    CellEvaluator, CellInput, CellKey, CellOutcome, Circumstances, EvaluatedCell, outcomes,
};
use crate::policy::pack::Pack;
use crate::policy::rulebook::RuleIndex;
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId, TermId, Tree};

/// A term of either vocabulary, with its id in each.
struct TermPair<I> {
    name: String,
    old: Option<I>,
    new: Option<I>,
}

/// A difference between two cells, and the simplest circumstances under which it occurs.
struct CellDifference {
    kind: DifferenceKind,
    when: Circumstances,
}

/// The kind of a difference between two cells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DifferenceKind {
    old: Form,
    new: Form,
    /// The old and the new basis; set only if the forms are equal.
    bases: Option<(Option<Basis>, Option<Basis>)>,
    cause: DecidingRule,
}

/// The differences for one kind, purpose and operation, each with its categories.
type Differences = BTreeMap<(DifferenceKind, String), Vec<String>>;

/// Returns every change from one version to another, by kind, purpose and operation.
pub(super) fn changes(old: &Pack, new: &Pack) -> Vec<Change> {
    let (of_old, of_new) = (old.vocabulary(), new.vocabulary());
    let kinds = words(of_old.kinds(), of_new.kinds());
    let purposes = words(of_old.purposes(), of_new.purposes());
    let categories = words(of_old.categories(), of_new.categories());
    let mut comparison = PackComparison::new(old, new);
    let mut changes = Vec::new();
    for kind in &kinds {
        for purpose in &purposes {
            for &operation in Operation::ALL {
                let mut found = Differences::new();
                for category in &categories {
                    for one in comparison.differences(operation, kind, purpose, category).iter() {
                        let when = one.when.describe(of_new);
                        found.entry((one.kind.clone(), when)).or_default().push(category.name.clone());
                    }
                }
                let change = |((how, when), categories): ((DifferenceKind, String), Vec<String>)| {
                    let DifferenceKind { old, new, bases, cause } = how;
                    let (old_basis, new_basis) = bases.unwrap_or_default();
                    let (kind, purpose) = (kind.name.clone(), purpose.name.clone());
                    Change {
                        kind,
                        purpose,
                        operation,
                        categories,
                        old,
                        new,
                        old_basis,
                        new_basis,
                        when,
                        cause,
                    }
                };
                changes.extend(found.into_iter().map(change));
            }
        }
    }
    changes
}

/// Returns every term of either version, those of the new one first.
fn words<I: TermId>(old: &Tree<I>, new: &Tree<I>) -> Vec<TermPair<I>> {
    let of_new = new.terms().map(|(id, term)| TermPair {
        name: term.id.to_string(),
        old: old.find(&term.id),
        new: Some(id),
    });
    let only_old = old.terms().filter(|(_, term)| new.find(&term.id).is_none());
    let only_old =
        only_old.map(|(id, term)| TermPair { name: term.id.to_string(), old: Some(id), new: None });
    of_new.chain(only_old).collect()
}

/// Compares two packs. Caches the comparisons of cells: most points share a few pairs of cells.
struct PackComparison<'p> {
    packs: [&'p Pack; 2],
    evaluators: [CellEvaluator<'p>; 2],
    known: HashMap<(CellKey, CellKey), Rc<[CellDifference]>>,
}

impl<'p> PackComparison<'p> {
    fn new(old: &'p Pack, new: &'p Pack) -> PackComparison<'p> {
        let evaluators = [CellEvaluator::new(old.rulebook()), CellEvaluator::new(new.rulebook())];
        PackComparison { packs: [old, new], evaluators, known: HashMap::new() }
    }

    fn differences(
        &mut self,
        operation: Operation,
        kind: &TermPair<KindId>,
        purpose: &TermPair<PurposeId>,
        category: &TermPair<CategoryId>,
    ) -> Rc<[CellDifference]> {
        let [in_old, in_new] = &mut self.evaluators;
        let before = evaluate(in_old, operation, (kind.old, purpose.old, category.old));
        let after = evaluate(in_new, operation, (kind.new, purpose.new, category.new));
        let key = (before.key(), after.key());
        if let Some(known) = self.known.get(&key) {
            return Rc::clone(known);
        }
        let found: Rc<[CellDifference]> = compare(self.packs, &before, &after).into();
        self.known.insert(key, Rc::clone(&found));
        found
    }
}

/// Evaluates the cell of a point. If the version lacks one of the terms, the cell releases nothing.
fn evaluate(
    evaluator: &mut CellEvaluator<'_>,
    operation: Operation,
    point: (Option<KindId>, Option<PurposeId>, Option<CategoryId>),
) -> EvaluatedCell {
    match point {
        (Some(kind), Some(purpose), Some(category)) => evaluator.cell_for(operation, kind, purpose, category),
        _ => EvaluatedCell::default(),
    }
}

/// Returns one difference of each kind, with its simplest circumstances.
fn compare(packs: [&Pack; 2], old: &EvaluatedCell, new: &EvaluatedCell) -> Vec<CellDifference> {
    if old.is_equivalent(new) {
        return Vec::new();
    }
    let mut found: Vec<CellDifference> = Vec::new();
    let mut visit = |circumstances: Circumstances, outcomes: &[CellOutcome]| {
        if let [before, after] = outcomes
            && let Some(kind) = difference_kind(packs, *before, *after)
        {
            let when = circumstances.non_default();
            match found.iter_mut().find(|known| known.kind == kind) {
                Some(known) if when.count() < known.when.count() => known.when = when,
                Some(_) => {}
                None => found.push(CellDifference { kind, when }),
            }
        }
        ControlFlow::<()>::Continue(())
    };
    let given = |cell| CellInput { cell, given: Circumstances::default() };
    let _ = outcomes(&[given(old), given(new)], Circumstances::default(), &mut visit);
    found
}

/// Returns the kind of the difference between two outcomes, with the rule that causes it. Returns `None` if they
/// do not differ.
fn difference_kind(
    [old, new]: [&Pack; 2],
    before: CellOutcome,
    after: CellOutcome,
) -> Option<DifferenceKind> {
    let basis = |pack: &Pack, outcome: CellOutcome| {
        let released = outcome.rule.filter(|_| outcome.form != Form::Removed)?;
        pack.rulebook().rule(released)?.basis
    };
    let (old_basis, new_basis) = (basis(old, before), basis(new, after));
    let (pack, rule, role) = match after.form.cmp(&before.form) {
        std::cmp::Ordering::Equal if old_basis == new_basis => return None,
        std::cmp::Ordering::Equal => (new, after.rule, Role::RestsOn),
        // If a prohibition of the old version had stayed, it would still withhold the category, whatever the new
        // version permits. So its removal is the cause.
        std::cmp::Ordering::Less => match before.rule.filter(|_| before.form == Form::Removed) {
            Some(forbid) => (old, Some(forbid), Role::WithheldBefore),
            None => (new, after.rule, Role::ReleasesNow),
        },
        std::cmp::Ordering::Greater => match after.rule.filter(|_| after.form == Form::Removed) {
            Some(forbid) => (new, Some(forbid), Role::WithholdsNow),
            None => (old, before.rule, Role::ReleasedBefore),
        },
    };
    let bases = (before.form == after.form).then_some((old_basis, new_basis));
    Some(DifferenceKind { old: before.form, new: after.form, bases, cause: cause(pack, rule, role) })
}

fn cause(pack: &Pack, rule: Option<RuleIndex>, role: Role) -> DecidingRule {
    match rule.and_then(|at| pack.rulebook().rule(at)) {
        Some(rule) => DecidingRule {
            role,
            rule: rule.id.to_string(),
            clauses: rule.clauses.iter().map(ToString::to_string).collect(),
        },
        // Unreachable: every release has a permit.
        None => DecidingRule { role, rule: "?".to_owned(), clauses: Vec::new() },
    }
}
