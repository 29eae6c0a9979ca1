//! One rule: what it cites and rests on, where it applies, and what has to hold of the facts.

use std::ops::Range;
use std::sync::Arc;

use cedar_policy::{Policy, PolicySet};

use super::cedar_model::CedarModel;
use super::facts::{FactSet, Facts};
use super::reach::{Coordinates, Mismatch, RELEASING_FORMS, Reach};
use crate::finding::Source;
use crate::vocabulary::{Basis, CategoryId, KindId, Operation, PurposeId};

/// What a rule does when it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Releases, unless a forbid applies too.
    Permit,
    /// Withholds, whatever permits.
    Forbid,
}

/// One rule of a pack.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `@id`.
    pub id: Arc<str>,
    /// `@clause`, several separated by commas.
    pub clauses: Vec<Arc<str>>,
    /// `@basis`; every permit has one, no forbid has.
    pub basis: Option<Basis>,
    pub effect: Effect,
    /// The rule as Cedar runs it, with everything that was added to what the pack says.
    pub text: String,
    pub(super) reach: Reach,
    /// What has to hold of the facts, one condition each.
    pub(super) conditions: Vec<Condition>,
    pub(super) policy: Policy,
    pub(super) location: RuleLocation,
}

/// Where a rule stands.
#[derive(Clone, Debug)]
pub struct RuleLocation {
    pub source: Source,
    pub span: Range<usize>,
}

/// One condition of a rule on the facts.
#[derive(Clone, Debug)]
pub struct Condition {
    /// As Cedar writes it.
    pub text: String,
    /// The facts that it compares.
    pub mask: FactSet,
    pub(super) inputs: ConditionInputs,
    pub(super) probe: PolicySet,
}

/// What a condition looks at besides the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConditionInputs {
    pub kind: bool,
    pub purpose: bool,
    pub category: bool,
}

impl Rule {
    /// Every fact that the rule's conditions compare.
    pub fn mask(&self) -> FactSet {
        self.conditions.iter().fold(FactSet::EMPTY, |mask, condition| mask.union(condition.mask))
    }

    /// What has to hold of the facts.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Whether it is about recipients of this kind.
    pub fn kinds(&self) -> impl Fn(KindId) -> bool {
        |kind| self.reach.kinds.get(kind.index()).copied().unwrap_or(false)
    }

    /// Whether it is about this purpose.
    pub fn purposes(&self) -> impl Fn(PurposeId) -> bool {
        |purpose| self.reach.purposes.get(purpose.index()).copied().unwrap_or(false)
    }

    /// Whether it is about this category.
    pub fn categories(&self) -> impl Fn(CategoryId) -> bool {
        |category| self.reach.categories.get(category.index()).copied().unwrap_or(false)
    }

    /// What keeps it from a question before any fact is looked at.
    pub fn mismatch(&self, point: (KindId, PurposeId, CategoryId)) -> Mismatch {
        self.reach.mismatch(point)
    }

    pub fn location(&self) -> &RuleLocation {
        &self.location
    }

    /// Whether it is about this operation.
    pub fn operations(&self) -> impl Fn(Operation) -> bool {
        |operation| self.reach.operations.get(operation as usize).copied().unwrap_or(false)
    }

    /// Whether it can apply to this kind, purpose and operation, for some category.
    pub(super) fn concerns(&self, kind: KindId, purpose: PurposeId, operation: Operation) -> bool {
        self.kinds()(kind) && self.purposes()(purpose) && self.operations()(operation)
    }

    /// Whether the rule applies there, for some facts.
    pub(super) fn reaches(&self, point: Coordinates) -> bool {
        self.reach.holds(point)
    }

    /// Whether the rule applies there for any of the releasing forms.
    pub(super) fn reaches_any_form(
        &self,
        (kind, purpose, category, operation): (KindId, PurposeId, CategoryId, Operation),
    ) -> bool {
        RELEASING_FORMS.iter().any(|&form| self.reaches((kind, purpose, category, operation, form)))
    }

    /// A rule in the place of this one that applies nowhere.
    pub(super) fn disabled(&self) -> Rule {
        let mut rule = self.clone();
        rule.reach.clear();
        rule
    }

    pub fn is_permit(&self) -> bool {
        self.effect == Effect::Permit
    }
}

impl Condition {
    /// What it looks at besides the facts.
    pub fn inputs(&self) -> ConditionInputs {
        self.inputs
    }

    /// Whether it holds; `None` where Cedar could not say.
    pub(super) fn holds(
        &self,
        world: &CedarModel,
        point: (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> Option<bool> {
        let response = world.authorize(&self.probe, point, facts)?;
        let broken = response.diagnostics().errors().next().is_some();
        (!broken).then(|| response.decision() == cedar_policy::Decision::Allow)
    }
}

impl RuleLocation {
    /// The first line of the rule.
    pub(super) fn head(&self) -> Range<usize> {
        let text = self.source.text().get(self.span.clone()).unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        self.span.start..self.span.start + first.len()
    }
}
