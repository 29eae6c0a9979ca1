//! The rules of a pack, sliced by who asks for what and why, and asked.
//!
//! Slices are worked out once, when the pack is loaded. Invariant: what a slice leaves out could not
//! have applied, whatever the facts; so asking the slice is asking the pack.

use std::collections::HashMap;

use cedar_policy::PolicySet;
use smallvec::SmallVec;

use super::facts::{Fact, Facts, Mask};
use super::reach::{FORMS, Misses};
use super::rule::{Condition, Rule};
use super::world::{World, position};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId, Vocabulary};

/// Position of a rule in its pack.
pub type RuleAt = u16;

/// The rules of one pack.
#[derive(Debug)]
pub struct Rulebook {
    world: World,
    rules: Vec<Rule>,
    cells: Vec<Cell>,
    /// The cell of each kind, purpose and category, for `disclose`.
    table: Vec<u16>,
    sizes: (usize, usize, usize),
    /// Whether anything at all can be permitted, by kind, purpose and operation.
    possible: Vec<bool>,
}

/// The rules that can apply to one kind, purpose and category. Many share one.
#[derive(Debug)]
pub struct Cell {
    rules: Vec<RuleAt>,
    policies: PolicySet,
    /// The facts that decide.
    mask: Mask,
    /// The forms that some permit of the cell releases.
    forms: SmallVec<[Form; 4]>,
    /// No condition on the facts looks at the category besides: what holds of one category of the
    /// cell holds of every.
    alike: bool,
}

/// What the rules say of one category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub form: Form,
    pub basis: Option<Basis>,
    /// The permits that released it, or the forbids that withheld it.
    pub rules: SmallVec<[RuleAt; 2]>,
}

impl Verdict {
    /// Withheld because no rule releases it.
    pub fn nothing() -> Verdict {
        Verdict { form: Form::Removed, basis: None, rules: SmallVec::new() }
    }
}

impl Cell {
    /// The rules that can apply here.
    pub fn rules(&self) -> &[RuleAt] {
        &self.rules
    }

    /// The facts that its rules compare, without the form that is asked for.
    pub fn mask(&self) -> Mask {
        self.mask
    }

    /// Whether the facts alone decide, the same for every category of the cell.
    pub fn is_alike(&self) -> bool {
        self.alike
    }

    /// Whether nothing here is ever released.
    pub fn is_closed(&self) -> bool {
        self.forms.is_empty()
    }
}

impl Rulebook {
    pub(super) fn new(world: World, rules: Vec<Rule>, vocabulary: &Vocabulary) -> Rulebook {
        let sizes = (vocabulary.kinds().len(), vocabulary.purposes().len(), vocabulary.categories().len());
        let mut cells = Cells::default();
        let mut table = Vec::with_capacity(sizes.0 * sizes.1 * sizes.2);
        let mut possible = Vec::with_capacity(sizes.0 * sizes.1 * Operation::ALL.len());
        for kind in vocabulary.kinds().ids() {
            for purpose in vocabulary.purposes().ids() {
                let here = (0..).zip(&rules).filter(|(_, rule)| rule.concerns(kind, purpose));
                let here: Vec<(RuleAt, &Rule)> = here.collect();
                let point = |category, operation| (kind, purpose, category, operation);
                for category in vocabulary.categories().ids() {
                    table.push(cells.of(&here, point(category, Operation::Disclose)));
                }
                for &operation in Operation::ALL {
                    let mut categories = vocabulary.categories().ids();
                    possible.push(
                        categories.any(|category| !permitted(&here, point(category, operation)).is_empty()),
                    );
                }
            }
        }
        Rulebook { world, rules, cells: cells.list, table, sizes, possible }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn rule(&self, at: RuleAt) -> Option<&Rule> {
        self.rules.get(usize::from(at))
    }

    /// Every distinct slice.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The slice of one kind, purpose and category; `None` for ids of another vocabulary.
    pub fn cell(&self, kind: KindId, purpose: PurposeId, category: CategoryId) -> Option<&Cell> {
        self.cells.get(self.cell_at(kind, purpose, category)?)
    }

    /// The number of that slice among [`Rulebook::cells`].
    pub fn cell_at(&self, kind: KindId, purpose: PurposeId, category: CategoryId) -> Option<usize> {
        let (kinds, purposes, categories) = self.sizes;
        let known = kind.index() < kinds && purpose.index() < purposes && category.index() < categories;
        let at = (kind.index() * purposes + purpose.index()) * categories + category.index();
        self.table.get(at).filter(|_| known).map(|&cell| usize::from(cell))
    }

    /// The most revealing form that some rule could release this category in, whatever the facts.
    pub fn best(&self, kind: KindId, purpose: PurposeId, category: CategoryId) -> Form {
        let forms =
            self.cell(kind, purpose, category).filter(|cell| !cell.is_closed()).map(|cell| &cell.forms);
        forms.and_then(|forms| forms.iter().min().copied()).unwrap_or(Form::Removed)
    }

    /// Whether some rule could permit anything to this kind for this purpose and operation.
    pub fn is_possible(&self, kind: KindId, purpose: PurposeId, operation: Operation) -> bool {
        let (kinds, purposes, _) = self.sizes;
        let known = kind.index() < kinds && purpose.index() < purposes;
        let at = (kind.index() * purposes + purpose.index()) * Operation::ALL.len() + operation as usize;
        known && self.possible.get(at).copied().unwrap_or(false)
    }

    /// The facts that decide anything for this kind and purpose.
    pub fn mask(
        &self,
        kind: KindId,
        purpose: PurposeId,
        categories: impl Iterator<Item = CategoryId>,
    ) -> Mask {
        let masks = categories.filter_map(|category| self.cell(kind, purpose, category)).map(Cell::mask);
        masks.fold(Mask::NONE, Mask::and)
    }

    /// Asks the rules: the first form, from clear downwards, that a satisfied rule permits.
    ///
    /// Whatever Cedar cannot evaluate withholds.
    pub fn judge(&self, kind: KindId, purpose: PurposeId, category: CategoryId, facts: Facts) -> Verdict {
        let Some(cell) = self.cell(kind, purpose, category) else { return Verdict::nothing() };
        let mut withheld = Verdict::nothing();
        for &form in &cell.forms {
            let asked = facts.with_operation(Operation::Disclose).with_form(form);
            let Some(response) = self.world.ask(&cell.policies, (kind, purpose, category), asked) else {
                return Verdict::nothing();
            };
            if response.diagnostics().errors().next().is_some() {
                return Verdict::nothing();
            }
            let rules = self.decided(response.diagnostics().reason());
            if response.decision() == cedar_policy::Decision::Allow {
                let basis = rules.first().and_then(|&at| self.rule(at)).and_then(|rule| rule.basis);
                return Verdict { form, basis, rules };
            }
            if withheld.rules.is_empty() {
                withheld.rules = rules;
            }
        }
        withheld
    }

    /// The forbids that withhold a category in clear, whether a rule permits it or not.
    ///
    /// A condition that cannot be evaluated counts as met.
    pub fn prohibitions(
        &self,
        kind: KindId,
        purpose: PurposeId,
        category: CategoryId,
        facts: Facts,
    ) -> SmallVec<[RuleAt; 2]> {
        let point = (kind, purpose, category);
        let asked = facts.with_operation(Operation::Disclose).with_form(Form::Clear);
        let met = |condition: &Condition| condition.holds(&self.world, point, asked) != Some(false);
        let applying = self.forbids(point).filter(|(_, rule)| rule.conditions().iter().all(met));
        applying.map(|(at, _)| at).collect()
    }

    /// The facts that [`Rulebook::prohibitions`] look at.
    pub fn prohibition_mask(&self, kind: KindId, purpose: PurposeId, category: CategoryId) -> Mask {
        self.forbids((kind, purpose, category)).fold(Mask::NONE, |mask, (_, rule)| mask.and(rule.mask()))
    }

    fn forbids(
        &self,
        (kind, purpose, category): (KindId, PurposeId, CategoryId),
    ) -> impl Iterator<Item = (RuleAt, &Rule)> {
        let point = (kind, purpose, category, Operation::Disclose, Form::Clear);
        (0..).zip(&self.rules).filter(move |(_, rule)| !rule.is_permit() && rule.reaches(point))
    }

    /// Whether one condition holds; what Cedar cannot say does not.
    pub(super) fn holds(
        &self,
        condition: &Condition,
        point: (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> bool {
        condition.holds(&self.world, point, facts) == Some(true)
    }

    /// The rules that Cedar names, in the order of the pack.
    fn decided<'r>(&self, reason: impl Iterator<Item = &'r cedar_policy::PolicyId>) -> SmallVec<[RuleAt; 2]> {
        let mut rules: SmallVec<[RuleAt; 2]> =
            reason.filter_map(position).filter_map(|at| RuleAt::try_from(at).ok()).collect();
        rules.sort_unstable();
        rules
    }

    /// What a rule lacks for a category: what of its reach, and which of its conditions.
    ///
    /// A condition that cannot be evaluated counts as lacking.
    pub fn lacks(
        &self,
        rule: &Rule,
        (kind, purpose, category): (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> (Misses, Vec<usize>) {
        let asked = facts.with_operation(Operation::Disclose);
        // A form other than clear is asked for where the rule is about one.
        let forms = FORMS
            .into_iter()
            .filter(|&form| rule.reaches((kind, purpose, category, Operation::Disclose, form)));
        let asked = asked.with_form(forms.min().unwrap_or(Form::Clear));
        let lacking = rule.conditions().iter().enumerate();
        let lacking = lacking.filter(|(_, condition)| {
            condition.holds(&self.world, (kind, purpose, category), asked) != Some(true)
        });
        (rule.misses((kind, purpose, category)), lacking.map(|(at, _)| at).collect())
    }
}

/// The distinct cells while they are collected.
#[derive(Debug, Default)]
struct Cells {
    list: Vec<Cell>,
    known: HashMap<Vec<RuleAt>, u16>,
}

impl Cells {
    fn of(&mut self, rules: &[(RuleAt, &Rule)], point: (KindId, PurposeId, CategoryId, Operation)) -> u16 {
        let forms = permitted(rules, point);
        let here = |rule: &Rule| !forms.is_empty() && rule.reaches_any_form(point);
        let chosen = || rules.iter().filter(|(_, rule)| here(rule));
        let members: Vec<RuleAt> = chosen().map(|(at, _)| *at).collect();
        if let Some(&known) = self.known.get(&members) {
            return known;
        }
        let mut policies = PolicySet::new();
        for (_, rule) in chosen() {
            // Ids are positions, hence distinct: adding cannot fail.
            let _ = policies.add(rule.policy.clone());
        }
        let mask = chosen().fold(Mask::NONE, |mask, (_, rule)| mask.and(rule.mask()));
        let mask = mask.without(Mask::of(Fact::Form));
        let alike = !chosen()
            .any(|(_, rule)| rule.conditions().iter().any(|condition| condition.looks_at().category));
        let number = u16::try_from(self.list.len()).unwrap_or(u16::MAX);
        self.list.push(Cell { rules: members.clone(), policies, mask, forms, alike });
        self.known.insert(members, number);
        number
    }
}

/// The forms that some permit releases there and that no forbid withholds whatever the facts.
fn permitted(
    rules: &[(RuleAt, &Rule)],
    (kind, purpose, category, operation): (KindId, PurposeId, CategoryId, Operation),
) -> SmallVec<[Form; 4]> {
    let open = |&form: &Form| {
        let reaches = |rule: &Rule| rule.reaches((kind, purpose, category, operation, form));
        let final_forbid = |rule: &Rule| !rule.is_permit() && rule.conditions().is_empty();
        rules.iter().any(|(_, rule)| rule.is_permit() && reaches(rule))
            && !rules.iter().any(|(_, rule)| final_forbid(rule) && reaches(rule))
    };
    FORMS.iter().copied().filter(open).collect()
}
