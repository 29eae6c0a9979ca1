//! The reach of a rule: the kinds, purposes, categories, operations and forms to which it can apply, for some
//! values of the facts.
//!
//! The reach is evaluated once, when the pack is loaded: from the rule's scope, and from its conditions that
//! compare no fact other than the operation and the form.

use cedar_policy::PolicySet;
use serde_json::Value;

use super::cedar_model::CedarModel;
use super::expression::Mentions;
use super::facts::{Fact, Facts};
use crate::vocabulary::{CategoryId, Form, Group, KindId, Operation, PurposeId, TermId, Tree, Vocabulary};

/// Forms that are tried for a disclosure, most revealing first.
pub const RELEASING_FORMS: [Form; 4] = [Form::Clear, Form::Masked, Form::Generalised, Form::Pseudonymised];

/// A point at which rules are evaluated, without the facts: kind, purpose, category, operation and form.
pub(super) type Coordinates = (KindId, PurposeId, CategoryId, Operation, Form);

/// The kinds, purposes, categories, operations and forms to which a rule can apply, for some values of the facts.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) kinds: Vec<bool>,
    pub(super) purposes: Vec<bool>,
    pub(super) categories: Vec<bool>,
    pub(super) operations: Vec<bool>,
    forms: Vec<bool>,
    /// Conditions that mention two or more of these.
    joint: Vec<JointCondition>,
}

/// A condition on several of kind, purpose, category, operation and form, tabulated.
#[derive(Clone, Debug)]
struct JointCondition {
    table: Vec<bool>,
    sizes: [usize; 5],
}

impl Reach {
    /// Returns the reach that follows from the scope of a rule alone, given in Cedar's JSON form.
    pub(super) fn of_scope(policy: &Value, words: &Vocabulary) -> Reach {
        let (kinds, categories) = (words.kinds(), words.categories());
        let in_kind = |id: &str, kind: KindId| match kinds.find(id) {
            Some(outer) => kinds.within(kind, outer),
            None => is_member(words.kind_groups(), id, kind),
        };
        let in_category = |id: &str, category: CategoryId| match categories.find(id) {
            Some(outer) => categories.within(category, outer),
            None => is_member(words.category_groups(), id, category),
        };
        Reach {
            kinds: members(policy.get("principal"), kinds, in_kind),
            purposes: members(policy.get("action"), words.purposes(), |id, purpose| {
                words.purposes().find(id).is_some_and(|outer| words.purposes().within(purpose, outer))
            }),
            categories: members(policy.get("resource"), categories, in_category),
            operations: vec![true; Operation::ALL.len()],
            forms: vec![true; RELEASING_FORMS.len()],
            joint: Vec::new(),
        }
    }

    /// Restricts the reach to the points at which a condition holds. The condition must mention nothing except
    /// kind, purpose, category, operation and form.
    pub(super) fn narrow(
        &mut self,
        probe: &PolicySet,
        mentions: Mentions,
        model: &CedarModel,
        words: &Vocabulary,
    ) {
        let size = |mentioned: bool, all: usize| if mentioned { all } else { 1 };
        let sizes = [
            size(mentions.kind, words.kinds().len()),
            size(mentions.purpose, words.purposes().len()),
            size(mentions.category, words.categories().len()),
            size(mentions.facts.contains(Fact::Operation), Operation::ALL.len()),
            size(mentions.facts.contains(Fact::Form), RELEASING_FORMS.len()),
        ];
        let table: Vec<bool> = points(sizes).map(|point| applies(probe, model, point)).collect();
        let mentioned = sizes.iter().filter(|&&size| size > 1).count();
        let sets = [
            &mut self.kinds,
            &mut self.purposes,
            &mut self.categories,
            &mut self.operations,
            &mut self.forms,
        ];
        if mentioned > 1 {
            self.joint.push(JointCondition { table, sizes });
            return;
        }
        for (set, size) in sets.into_iter().zip(sizes) {
            if size > 1 {
                set.iter_mut().zip(&table).for_each(|(in_set, holds)| *in_set &= holds);
            } else if mentioned == 0 {
                // The condition is constant.
                set.iter_mut().for_each(|in_set| *in_set &= table.first().copied().unwrap_or(false));
            }
        }
    }

    /// Restricts the reach to nothing.
    pub(super) fn clear(&mut self) {
        self.kinds.fill(false);
    }

    pub(super) fn holds(&self, (kind, purpose, category, operation, form): Coordinates) -> bool {
        let at = [kind.index(), purpose.index(), category.index(), operation as usize, form as usize];
        let [kind, purpose, category, operation, form] = at;
        let holds = |set: &[bool], at: usize| set.get(at).copied().unwrap_or(false);
        holds(&self.categories, category)
            && holds(&self.kinds, kind)
            && holds(&self.purposes, purpose)
            && holds(&self.operations, operation)
            && holds(&self.forms, form)
            && self.joint.iter().all(|joint| joint.holds(at))
    }

    /// Returns which of kind, purpose, category and operation exclude a disclosure, each by itself.
    pub(super) fn mismatch(&self, (kind, purpose, category): (KindId, PurposeId, CategoryId)) -> Mismatch {
        let out = |set: &[bool], at: usize| !set.get(at).copied().unwrap_or(false);
        Mismatch {
            kind: out(&self.kinds, kind.index()),
            purpose: out(&self.purposes, purpose.index()),
            category: out(&self.categories, category.index()),
            operation: out(&self.operations, Operation::Disclose as usize),
            joint: !RELEASING_FORMS.iter().any(|&form| {
                let at = [
                    kind.index(),
                    purpose.index(),
                    category.index(),
                    Operation::Disclose as usize,
                    form as usize,
                ];
                self.joint.iter().all(|joint| joint.holds(at))
            }),
        }
    }
}

/// Reasons why a rule cannot apply to a disclosure, whatever the facts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The recipient kind.
    pub kind: bool,
    /// The purpose.
    pub purpose: bool,
    /// The category.
    pub category: bool,
    /// The operation.
    pub operation: bool,
    /// A combination of several of them, or of one of them with the form.
    pub joint: bool,
}

impl Mismatch {
    /// True if the rule can apply.
    pub fn is_none(self) -> bool {
        let Mismatch { kind, purpose, category, operation, joint } = self;
        !(kind || purpose || category || operation || joint)
    }
}

impl JointCondition {
    fn holds(&self, at: [usize; 5]) -> bool {
        self.position(at).and_then(|position| self.table.get(position).copied()).unwrap_or(false)
    }

    fn position(&self, at: [usize; 5]) -> Option<usize> {
        at.iter().zip(self.sizes).try_fold(0, |position, (&at, size)| {
            let at = if size == 1 { 0 } else { at };
            (at < size).then_some(position * size + at)
        })
    }
}

/// Returns every point of a table with these sizes, in the order of [`JointCondition::position`].
fn points(sizes: [usize; 5]) -> impl Iterator<Item = [usize; 5]> {
    (0..sizes.iter().product()).map(move |mut number: usize| {
        let mut point = [0; 5];
        for (at, size) in point.iter_mut().zip(sizes).rev() {
            *at = number % size;
            number /= size;
        }
        point
    })
}

fn applies(
    probe: &PolicySet,
    model: &CedarModel,
    [kind, purpose, category, operation, form]: [usize; 5],
) -> bool {
    fn id<I: TermId>(position: usize) -> I {
        I::from_position(u16::try_from(position).unwrap_or(u16::MAX))
    }
    let facts = Operation::ALL.get(operation).map(|&operation| Facts::default().with_operation(operation));
    let facts = facts.zip(RELEASING_FORMS.get(form)).map(|(facts, &form)| facts.with_form(form));
    let Some(facts) = facts else { return false };
    model
        .authorize(probe, (id(kind), id(purpose), id(category)), facts)
        .is_some_and(|response| response.decision() == cedar_policy::Decision::Allow)
}

fn is_member<I: PartialEq>(groups: &[Group<I>], name: &str, term: I) -> bool {
    groups.iter().any(|group| group.name == name && group.members.contains(&term))
}

/// Returns one boolean for each term of a tree: true if a scope constraint admits the term.
fn members<I: TermId>(
    constraint: Option<&Value>,
    tree: &Tree<I>,
    within: impl Fn(&str, I) -> bool,
) -> Vec<bool> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let id = |entity: &Value| text(entity.get("id")).unwrap_or_default();
    let operator = text(constraint.and_then(|constraint| constraint.get("op"))).unwrap_or_default();
    let entity = constraint.and_then(|constraint| constraint.get("entity"));
    let inner = constraint.and_then(|constraint| constraint.get("in")?.get("entity"));
    let several = constraint.and_then(|constraint| constraint.get("entities")?.as_array());
    let named: Vec<String> =
        entity.into_iter().chain(inner).chain(several.into_iter().flatten()).map(id).collect();
    tree.ids()
        .map(|term| match operator.as_str() {
            "==" => named.iter().any(|name| tree.name(term) == name),
            "in" => named.iter().any(|name| within(name, term)),
            "is" => named.is_empty() || named.iter().any(|name| within(name, term)),
            _ => true,
        })
        .collect()
}
