//! One rule: its citations, its legal basis, its reach, and its conditions on the facts.

use std::ops::Range;
use std::sync::Arc;

use cedar_policy::{Policy, PolicySet};

use super::cedar_model::CedarModel;
use super::facts::{FactSet, Facts};
use super::reach::{Coordinates, Mismatch, RELEASING_FORMS, Reach};
use crate::finding::Source;
use crate::vocabulary::{Basis, CategoryId, KindId, Operation, PurposeId};

/// Effect of a rule that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Releases data, unless a forbid applies as well.
    Permit,
    /// Withholds data, even if a permit applies.
    Forbid,
}

/// One rule of a pack.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The rule's `@id`.
    pub id: Arc<str>,
    /// The clauses that `@clause` lists, separated by commas.
    pub clauses: Vec<Arc<str>>,
    /// The rule's `@basis`. Every permit has one, no forbid has.
    pub basis: Option<Basis>,
    /// Permit or forbid.
    pub effect: Effect,
    /// The desugared rule, as Cedar evaluates it: the text of the pack with the implied conditions added.
    pub text: String,
    pub(super) reach: Reach,
    /// The conditions on the facts, all of which must hold.
    pub(super) conditions: Vec<Condition>,
    pub(super) policy: Policy,
    pub(super) location: RuleLocation,
}

/// Location of a rule in its file.
#[derive(Clone, Debug)]
pub struct RuleLocation {
    /// The file.
    pub source: Source,
    /// Byte range of the rule in it.
    pub span: Range<usize>,
}

/// One condition of a rule on the facts.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The condition in Cedar's syntax.
    pub text: String,
    /// Facts that it compares.
    pub mask: FactSet,
    pub(super) inputs: ConditionInputs,
    pub(super) probe: PolicySet,
}

/// The variables that a condition mentions besides the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConditionInputs {
    /// True if it mentions the recipient's kind (`principal`).
    pub kind: bool,
    /// True if it mentions the purpose (`action`).
    pub purpose: bool,
    /// True if it mentions the category (`resource`).
    pub category: bool,
}

impl Rule {
    /// Returns every fact that the rule's conditions compare.
    pub fn mask(&self) -> FactSet {
        self.conditions.iter().fold(FactSet::EMPTY, |mask, condition| mask.union(condition.mask))
    }

    /// Returns the conditions on the facts, all of which must hold.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Returns a predicate that is true for the kinds of recipients to which the rule can apply.
    pub fn kinds(&self) -> impl Fn(KindId) -> bool {
        |kind| self.reach.kinds.get(kind.index()).copied().unwrap_or(false)
    }

    /// Returns a predicate that is true for the purposes to which the rule can apply.
    pub fn purposes(&self) -> impl Fn(PurposeId) -> bool {
        |purpose| self.reach.purposes.get(purpose.index()).copied().unwrap_or(false)
    }

    /// Returns a predicate that is true for the categories to which the rule can apply.
    pub fn categories(&self) -> impl Fn(CategoryId) -> bool {
        |category| self.reach.categories.get(category.index()).copied().unwrap_or(false)
    }

    /// Returns the reasons why the rule cannot apply to a disclosure at a point, whatever the facts are.
    pub fn mismatch(&self, point: (KindId, PurposeId, CategoryId)) -> Mismatch {
        self.reach.mismatch(point)
    }

    /// Returns the location of the rule.
    pub fn location(&self) -> &RuleLocation {
        &self.location
    }

    /// Returns a predicate that is true for the operations to which the rule can apply.
    pub fn operations(&self) -> impl Fn(Operation) -> bool {
        |operation| self.reach.operations.get(operation as usize).copied().unwrap_or(false)
    }

    /// True if the rule can apply to this kind, purpose and operation, each by itself.
    pub(super) fn concerns(&self, kind: KindId, purpose: PurposeId, operation: Operation) -> bool {
        self.kinds()(kind) && self.purposes()(purpose) && self.operations()(operation)
    }

    /// True if the rule applies at these coordinates for some facts.
    pub(super) fn reaches(&self, point: Coordinates) -> bool {
        self.reach.holds(point)
    }

    /// True if the rule applies at this point for some facts and some form.
    pub(super) fn reaches_any_form(
        &self,
        (kind, purpose, category, operation): (KindId, PurposeId, CategoryId, Operation),
    ) -> bool {
        RELEASING_FORMS.iter().any(|&form| self.reaches((kind, purpose, category, operation, form)))
    }

    /// Returns the rule with an empty reach: it keeps its position in the pack and never applies.
    pub(super) fn disabled(&self) -> Rule {
        let mut rule = self.clone();
        rule.reach.clear();
        rule
    }

    /// True if the rule is a permit.
    pub fn is_permit(&self) -> bool {
        self.effect == Effect::Permit
    }
}

impl Condition {
    /// Returns the variables that the condition mentions besides the facts.
    pub fn inputs(&self) -> ConditionInputs {
        self.inputs
    }

    /// Evaluates the condition. Returns `None` if Cedar reports an error.
    pub(super) fn holds(
        &self,
        model: &CedarModel,
        point: (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> Option<bool> {
        let response = model.authorize(&self.probe, point, facts)?;
        let broken = response.diagnostics().errors().next().is_some();
        (!broken).then(|| response.decision() == cedar_policy::Decision::Allow)
    }
}

impl RuleLocation {
    /// Returns the span of the rule's first line.
    pub(super) fn head(&self) -> Range<usize> {
        let text = self.source.text().get(self.span.clone()).unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        self.span.start..self.span.start + first.len()
    }
}
