//! The rules of a pack, sliced by recipient kind, purpose, category and operation, and their evaluation.
//!
//! The slices, called cells, are computed once, when the pack is loaded (Cedar's term is policy slicing).
//! Invariant: a rule that a cell omits cannot apply to the cell, whatever the facts are. So evaluating the cell
//! gives the same result as evaluating the whole pack.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::PolicySet;
use smallvec::SmallVec;

use super::cedar_model::{CedarModel, rule_position};
use super::facts::{Fact, FactSet, Facts};
use super::reach::{Mismatch, RELEASING_FORMS};
use super::rule::{Condition, Rule};
use crate::vocabulary::{Basis, BasisSet, CategoryId, Form, KindId, Operation, PurposeId, Vocabulary};

/// Position of a rule in its pack.
pub type RuleIndex = u16;

/// The rules of one pack.
#[derive(Debug)]
pub struct Rulebook {
    model: Arc<CedarModel>,
    rules: Vec<Rule>,
    cells: Vec<Arc<Cell>>,
    /// The distinct rows.
    rows: Vec<CellRow>,
    /// Index of the row of each kind, purpose and operation, in this order.
    table: Vec<u16>,
    sizes: (usize, usize),
}

/// The cells of one kind, purpose and operation. Most combinations share a few rows.
#[derive(Clone, Debug)]
struct CellRow {
    /// Indices of the cells, by category.
    cells: Arc<[u16]>,
    /// True if some rule can permit some category.
    can_permit: bool,
}

/// The rules that can apply to one kind, purpose, category and operation. Many combinations share one cell.
#[derive(Debug)]
pub struct Cell {
    rules: Vec<RuleIndex>,
    policies: PolicySet,
    /// The facts that its rules compare, without the form.
    mask: FactSet,
    /// The forms that some permit of the cell releases.
    forms: SmallVec<[Form; 4]>,
    /// True if no condition on the facts mentions the category as well: the result is then the same for every
    /// category of the cell.
    is_uniform: bool,
}

/// The result of evaluating the rules for one category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleVerdict {
    /// Form in which the category is released.
    pub form: Form,
    /// Legal basis of the release; `None` if it is withheld.
    pub basis: Option<Basis>,
    /// The permits that released it, or the forbids that withheld it.
    pub rules: SmallVec<[RuleIndex; 2]>,
}

impl RuleVerdict {
    /// Returns a verdict that withholds, without a rule.
    pub fn withheld() -> RuleVerdict {
        RuleVerdict { form: Form::Removed, basis: None, rules: SmallVec::new() }
    }
}

impl Cell {
    /// Returns the rules that can apply to the cell.
    pub fn rules(&self) -> &[RuleIndex] {
        &self.rules
    }

    /// Returns the facts that its rules compare, without the form.
    pub fn mask(&self) -> FactSet {
        self.mask
    }

    /// True if the result depends on the facts alone and is the same for every category of the cell.
    pub fn is_uniform(&self) -> bool {
        self.is_uniform
    }

    /// True if the cell releases nothing, whatever the facts are.
    pub fn never_releases(&self) -> bool {
        self.forms.is_empty()
    }
}

impl Rulebook {
    pub(super) fn new(model: CedarModel, rules: Vec<Rule>, vocabulary: &Vocabulary) -> Rulebook {
        let sizes = (vocabulary.kinds().len(), vocabulary.purposes().len());
        let mut cells = CellInterner::default();
        let mut rows = RowInterner::default();
        let mut table = Vec::with_capacity(sizes.0 * sizes.1 * Operation::ALL.len());
        for kind in vocabulary.kinds().ids() {
            for purpose in vocabulary.purposes().ids() {
                for &operation in Operation::ALL {
                    let here = |rule: &Rule| rule.concerns(kind, purpose, operation);
                    let here = (0..).zip(&rules).filter(|(_, rule)| here(rule));
                    let here: Vec<(RuleIndex, &Rule)> = here.collect();
                    let categories = vocabulary.categories().ids();
                    let row =
                        categories.map(|category| cells.intern(&here, (kind, purpose, category, operation)));
                    let row: Vec<u16> = row.collect();
                    table.push(rows.intern(row, &cells.list));
                }
            }
        }
        let model = Arc::new(model);
        Rulebook { model, rules, cells: cells.list, rows: rows.list, table, sizes }
    }

    /// Returns the rules with one of them replaced. Only cells that the old or the new rule reaches are computed
    /// anew.
    pub(super) fn with_rule(&self, at: RuleIndex, rule: Rule, vocabulary: &Vocabulary) -> Rulebook {
        let mut rules = self.rules.clone();
        let mut replaced = vec![rule.clone()];
        if let Some(place) = rules.get_mut(usize::from(at)) {
            replaced.push(std::mem::replace(place, rule));
        }
        let mut cells = CellInterner::without(&self.cells, at);
        let mut rows = RowInterner::of_list(self.rows.clone());
        let mut table = Vec::with_capacity(self.table.len());
        for kind in vocabulary.kinds().ids() {
            for purpose in vocabulary.purposes().ids() {
                for &operation in Operation::ALL {
                    let concerned = |rule: &Rule| rule.concerns(kind, purpose, operation);
                    if !replaced.iter().any(concerned) {
                        table.push(self.row_index(kind, purpose, operation).unwrap_or(u16::MAX));
                        continue;
                    }
                    let here = (0..).zip(&rules).filter(|(_, rule)| concerned(rule));
                    let here: Vec<(RuleIndex, &Rule)> = here.collect();
                    let cell = |category| {
                        let point = (kind, purpose, category, operation);
                        let reached = replaced.iter().any(|rule| rule.reaches_any_form(point));
                        let kept = self.cell_index(operation, (kind, purpose, category)).filter(|_| !reached);
                        kept.and_then(|cell| u16::try_from(cell).ok())
                            .unwrap_or_else(|| cells.intern(&here, point))
                    };
                    let row: Vec<u16> = vocabulary.categories().ids().map(cell).collect();
                    table.push(rows.intern(row, &cells.list));
                }
            }
        }
        let model = Arc::clone(&self.model);
        Rulebook { model, rules, cells: cells.list, rows: rows.list, table, sizes: self.sizes }
    }

    pub(super) fn model(&self) -> &CedarModel {
        &self.model
    }

    /// Returns the rules in the order of the pack.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the rule at a position.
    pub fn rule(&self, at: RuleIndex) -> Option<&Rule> {
        self.rules.get(usize::from(at))
    }

    /// Returns the distinct cells.
    pub fn cells(&self) -> &[Arc<Cell>] {
        &self.cells
    }

    /// Returns the cell of one kind, purpose and category for `disclose`; `None` for ids of another vocabulary.
    pub fn cell(&self, kind: KindId, purpose: PurposeId, category: CategoryId) -> Option<&Cell> {
        self.cell_for(Operation::Disclose, (kind, purpose, category))
    }

    /// Returns the cell of one kind, purpose and category for an operation; `None` for ids of another vocabulary.
    pub fn cell_for(&self, operation: Operation, point: (KindId, PurposeId, CategoryId)) -> Option<&Cell> {
        self.cells.get(self.cell_index(operation, point)?).map(Arc::as_ref)
    }

    /// Returns the index in [`Rulebook::cells`] of the cell that [`Rulebook::cell_for`] returns.
    pub fn cell_index(
        &self,
        operation: Operation,
        (kind, purpose, category): (KindId, PurposeId, CategoryId),
    ) -> Option<usize> {
        self.row(kind, purpose, operation)?.cells.get(category.index()).map(|&cell| usize::from(cell))
    }

    fn row(&self, kind: KindId, purpose: PurposeId, operation: Operation) -> Option<&CellRow> {
        self.rows.get(usize::from(self.row_index(kind, purpose, operation)?))
    }

    fn row_index(&self, kind: KindId, purpose: PurposeId, operation: Operation) -> Option<u16> {
        let (kinds, purposes) = self.sizes;
        let known = kind.index() < kinds && purpose.index() < purposes;
        let at = (kind.index() * purposes + purpose.index()) * Operation::ALL.len() + operation as usize;
        self.table.get(at).filter(|_| known).copied()
    }

    /// Returns the most revealing form in which some rule could release this category, for some values of the
    /// facts.
    pub fn most_revealing_form(&self, kind: KindId, purpose: PurposeId, category: CategoryId) -> Form {
        let forms =
            self.cell(kind, purpose, category).filter(|cell| !cell.never_releases()).map(|cell| &cell.forms);
        forms.and_then(|forms| forms.iter().min().copied()).unwrap_or(Form::Removed)
    }

    /// Returns the most revealing form in which a rule on one of these bases can release a category, whatever the facts
    /// are.
    pub fn most_revealing_form_on(
        &self,
        bases: BasisSet,
        kind: KindId,
        purpose: PurposeId,
        category: CategoryId,
    ) -> Form {
        let cell = self.cell(kind, purpose, category).filter(|cell| !cell.never_releases());
        let Some(cell) = cell else { return Form::Removed };
        let permits = cell.rules().iter().filter_map(|&at| self.rule(at)).filter(|rule| rule.is_permit());
        let permits: SmallVec<[&Rule; 4]> =
            permits.filter(|rule| rule.basis.is_some_and(|basis| bases.contains(basis))).collect();
        let reaches = |form: &&Form| {
            permits.iter().any(|rule| rule.reaches((kind, purpose, category, Operation::Disclose, **form)))
        };
        cell.forms.iter().filter(reaches).min().copied().unwrap_or(Form::Removed)
    }

    /// True if some rule can permit something to this kind for this purpose and operation.
    pub fn can_permit(&self, kind: KindId, purpose: PurposeId, operation: Operation) -> bool {
        self.row(kind, purpose, operation).is_some_and(|row| row.can_permit)
    }

    /// Returns the facts on which the results for these categories depend, for this kind, purpose and operation.
    pub fn mask(
        &self,
        kind: KindId,
        purpose: PurposeId,
        operation: Operation,
        categories: impl Iterator<Item = CategoryId>,
    ) -> FactSet {
        let cell = |category| self.cell_for(operation, (kind, purpose, category));
        let masks = categories.filter_map(cell).map(Cell::mask);
        masks.fold(FactSet::EMPTY, FactSet::union)
    }

    /// Evaluates the rules for a disclosure. The forms are tried from the most revealing one; the result is the
    /// first form in which Cedar permits the release.
    ///
    /// If Cedar cannot evaluate a rule, the category is withheld.
    pub fn judge(&self, kind: KindId, purpose: PurposeId, category: CategoryId, facts: Facts) -> RuleVerdict {
        self.judge_operation(Operation::Disclose, (kind, purpose, category), facts)
    }

    /// Evaluates the rules for an operation. Operations other than `disclose` have the form `clear` only: they
    /// are permitted or refused ([`Form::Removed`]).
    ///
    /// If Cedar cannot evaluate a rule, the category is withheld.
    pub fn judge_operation(
        &self,
        operation: Operation,
        point: (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> RuleVerdict {
        let Some(cell) = self.cell_for(operation, point) else { return RuleVerdict::withheld() };
        let mut withheld = RuleVerdict::withheld();
        for &form in &cell.forms {
            let asked = facts.with_operation(operation).with_form(form);
            let Some(response) = self.model.authorize(&cell.policies, point, asked) else {
                return RuleVerdict::withheld();
            };
            if response.diagnostics().errors().next().is_some() {
                return RuleVerdict::withheld();
            }
            let rules = self.determining_rules(response.diagnostics().reason());
            if response.decision() == cedar_policy::Decision::Allow {
                let basis = rules.first().and_then(|&at| self.rule(at)).and_then(|rule| rule.basis);
                return RuleVerdict { form, basis, rules };
            }
            if withheld.rules.is_empty() {
                withheld.rules = rules;
            }
        }
        withheld
    }

    /// Returns the forbids that withhold a category in clear, whether or not a rule permits it.
    ///
    /// A condition that Cedar cannot evaluate counts as met.
    pub fn prohibitions(
        &self,
        kind: KindId,
        purpose: PurposeId,
        category: CategoryId,
        facts: Facts,
    ) -> SmallVec<[RuleIndex; 2]> {
        let point = (kind, purpose, category);
        let asked = facts.with_operation(Operation::Disclose).with_form(Form::Clear);
        let met = |condition: &Condition| condition.holds(&self.model, point, asked) != Some(false);
        let applying = self.forbids(point).filter(|(_, rule)| rule.conditions().iter().all(met));
        applying.map(|(at, _)| at).collect()
    }

    /// Returns the facts that [`Rulebook::prohibitions`] depends on.
    pub fn prohibition_mask(&self, kind: KindId, purpose: PurposeId, category: CategoryId) -> FactSet {
        self.forbids((kind, purpose, category))
            .fold(FactSet::EMPTY, |mask, (_, rule)| mask.union(rule.mask()))
    }

    fn forbids(
        &self,
        (kind, purpose, category): (KindId, PurposeId, CategoryId),
    ) -> impl Iterator<Item = (RuleIndex, &Rule)> {
        let point = (kind, purpose, category, Operation::Disclose, Form::Clear);
        (0..).zip(&self.rules).filter(move |(_, rule)| !rule.is_permit() && rule.reaches(point))
    }

    /// True if a condition holds. A condition that Cedar cannot evaluate counts as unmet.
    pub(super) fn holds(
        &self,
        condition: &Condition,
        point: (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> bool {
        condition.holds(&self.model, point, facts) == Some(true)
    }

    /// Returns the rules that determined Cedar's decision, in the order of the pack.
    fn determining_rules<'r>(
        &self,
        reason: impl Iterator<Item = &'r cedar_policy::PolicyId>,
    ) -> SmallVec<[RuleIndex; 2]> {
        let mut rules: SmallVec<[RuleIndex; 2]> =
            reason.filter_map(rule_position).filter_map(|at| RuleIndex::try_from(at).ok()).collect();
        rules.sort_unstable();
        rules
    }

    /// Returns why a rule does not apply to a category: the mismatch with its reach, and the indices of its unmet
    /// conditions.
    ///
    /// A condition that Cedar cannot evaluate counts as unmet.
    pub fn unmet(
        &self,
        rule: &Rule,
        (kind, purpose, category): (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> (Mismatch, Vec<usize>) {
        let asked = facts.with_operation(Operation::Disclose);
        // The rule is evaluated for the most revealing form that it applies to.
        let forms = RELEASING_FORMS
            .into_iter()
            .filter(|&form| rule.reaches((kind, purpose, category, Operation::Disclose, form)));
        let asked = asked.with_form(forms.min().unwrap_or(Form::Clear));
        let lacking = rule.conditions().iter().enumerate();
        let lacking = lacking.filter(|(_, condition)| {
            condition.holds(&self.model, (kind, purpose, category), asked) != Some(true)
        });
        (rule.mismatch((kind, purpose, category)), lacking.map(|(at, _)| at).collect())
    }
}

/// Collects the distinct cells.
#[derive(Debug, Default)]
struct CellInterner {
    list: Vec<Arc<Cell>>,
    known: HashMap<(Vec<RuleIndex>, SmallVec<[Form; 4]>), u16>,
}

/// Collects the distinct rows.
#[derive(Debug, Default)]
struct RowInterner {
    list: Vec<CellRow>,
    known: HashMap<Arc<[u16]>, u16>,
}

impl RowInterner {
    fn of_list(list: Vec<CellRow>) -> RowInterner {
        let known = (0..).zip(&list).map(|(number, row)| (Arc::clone(&row.cells), number)).collect();
        RowInterner { list, known }
    }

    fn intern(&mut self, row: Vec<u16>, cells: &[Arc<Cell>]) -> u16 {
        if let Some(&known) = self.known.get(row.as_slice()) {
            return known;
        }
        let mut here = row.iter().filter_map(|&cell| cells.get(usize::from(cell)));
        let is_possible = here.any(|cell| !cell.never_releases());
        let row: Arc<[u16]> = row.into();
        let number = u16::try_from(self.list.len()).unwrap_or(u16::MAX);
        self.list.push(CellRow { cells: Arc::clone(&row), can_permit: is_possible });
        self.known.insert(row, number);
        number
    }
}

impl CellInterner {
    /// Starts with these cells. Cells that contain the rule at position `at` keep their indices, but are not
    /// reused.
    fn without(list: &[Arc<Cell>], at: RuleIndex) -> CellInterner {
        let usable = (0..).zip(list).filter(|(_, cell)| !cell.rules.contains(&at));
        let known = usable.map(|(number, cell)| ((cell.rules.clone(), cell.forms.clone()), number));
        CellInterner { known: known.collect(), list: list.to_vec() }
    }

    fn intern(
        &mut self,
        rules: &[(RuleIndex, &Rule)],
        point: (KindId, PurposeId, CategoryId, Operation),
    ) -> u16 {
        let forms = permitted(rules, point);
        let is_open = !forms.is_empty();
        let here = |rule: &Rule| is_open && rule.reaches_any_form(point);
        let chosen = || rules.iter().filter(|(_, rule)| here(rule));
        let members: Vec<RuleIndex> = chosen().map(|(at, _)| *at).collect();
        // At another point, the same rules can apply to other forms, so the forms are part of the key.
        let key = (members, forms);
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let mut policies = PolicySet::new();
        for (_, rule) in chosen() {
            // Ids are positions and hence distinct, so this cannot fail.
            let _ = policies.add(rule.policy.clone());
        }
        let mask = chosen().fold(FactSet::EMPTY, |mask, (_, rule)| mask.union(rule.mask()));
        let mask = mask.difference(FactSet::of(Fact::Form));
        let alike =
            !chosen().any(|(_, rule)| rule.conditions().iter().any(|condition| condition.inputs().category));
        let number = u16::try_from(self.list.len()).unwrap_or(u16::MAX);
        let (rules, forms) = key.clone();
        self.list.push(Arc::new(Cell { rules, policies, mask, forms, is_uniform: alike }));
        self.known.insert(key, number);
        number
    }
}

/// Returns the forms that some permit releases at a point and that no unconditional forbid withholds.
fn permitted(
    rules: &[(RuleIndex, &Rule)],
    (kind, purpose, category, operation): (KindId, PurposeId, CategoryId, Operation),
) -> SmallVec<[Form; 4]> {
    let open = |&form: &Form| {
        let reaches = |rule: &Rule| rule.reaches((kind, purpose, category, operation, form));
        let final_forbid = |rule: &Rule| !rule.is_permit() && rule.conditions().is_empty();
        rules.iter().any(|(_, rule)| rule.is_permit() && reaches(rule))
            && !rules.iter().any(|(_, rule)| final_forbid(rule) && reaches(rule))
    };
    forms_of(operation).iter().copied().filter(open).collect()
}

/// Returns the forms that are tried for an operation. Only a disclosure has forms; other operations apply to the
/// data as a whole.
pub(super) const fn forms_of(operation: Operation) -> &'static [Form] {
    match operation {
        Operation::Disclose => &RELEASING_FORMS,
        Operation::Collect | Operation::Alter | Operation::Destroy => &[Form::Clear],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Source;
    use crate::policy::Pack;
    use crate::policy::cell_evaluator::CellEvaluator;

    const MANIFEST: &str = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-01\neffective = 2026-01-01\n\
        contact = \"c\"\n[bases]\ncontract = \"c\"\n[[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
    const RULES: &str = r#"
@id("reads") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"customer-support", resource in Category::"contact");
@id("changes") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"customer-support", resource == Category::"email")
when { ["alter", "destroy"].contains(context.operation) } when { context.own_data };
@id("in-another-form") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"customer-support", resource == Category::"name")
when { context.operation == "alter" } when { context.form == "masked" };
@id("erased") @clause("C") forbid (principal, action, resource) when { context.erased };
@id("not-destroyed-for-minors") @clause("C") forbid (principal, action, resource)
when { context.operation == "destroy" && context.minor };
"#;

    #[test]
    fn operations_are_evaluated_separately() {
        let pack =
            Pack::load(&[Source::new("pack.toml", MANIFEST), Source::new("rules.cedar", RULES)]).unwrap();
        let words = pack.vocabulary();
        let kind = words.kinds().find("employee").unwrap();
        let purpose = words.purposes().find("customer-support").unwrap();
        let category = |name: &str| words.categories().find(name).unwrap();
        let rulebook = pack.rulebook();
        let carried_out = |operation, name, facts| {
            rulebook.judge_operation(operation, (kind, purpose, category(name)), facts).form == Form::Clear
        };
        use Operation::{Alter, Collect, Destroy, Disclose};
        let facts = Facts::default();
        let own = facts.with_flag(Fact::OwnData, true);
        assert!(carried_out(Disclose, "phone", facts) && !carried_out(Alter, "phone", own));
        assert!(carried_out(Alter, "email", own) && !carried_out(Alter, "email", facts));
        assert!(
            !carried_out(Alter, "email", own.with_flag(Fact::Erased, true)),
            "a forbid applies to every operation"
        );
        let minor = own.with_flag(Fact::Minor, true);
        assert!(carried_out(Alter, "email", minor) && !carried_out(Destroy, "email", minor));
        assert!(!carried_out(Alter, "name", own), "an alteration has no form");
        let possible = |operation| rulebook.can_permit(kind, purpose, operation);
        assert_eq!([Disclose, Collect, Alter, Destroy].map(possible), [true, false, true, true]);
        assert!(rulebook.rows.len() < 6, "equal rows are kept once");

        let mut evaluator = CellEvaluator::new(rulebook);
        let mut releases = |operation, name: &str| {
            evaluator
                .cell_for(operation, kind, purpose, category(name))
                .releasing_circumstances()
                .map(|found| found.describe(words))
        };
        assert_eq!(releases(Disclose, "email").as_deref(), Some("erased = false"));
        assert_eq!(releases(Alter, "email").as_deref(), Some("erased = false, own data = true"));
        let destroys = releases(Destroy, "email");
        assert_eq!(destroys.as_deref(), Some("erased = false, minor = false, own data = true"));
        assert_eq!((releases(Collect, "email"), releases(Alter, "name")), (None, None));
    }
}
