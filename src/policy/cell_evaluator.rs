//! Exhaustive evaluation of a cell: every outcome that its rules can have, over all facts.
//!
//! Each condition is evaluated by Cedar for every combination of the facts that it compares, which gives a truth
//! table. The tables are then combined by Cedar's own rule: a permit releases unless a forbid applies. The search
//! fixes one fact after the other and stops as soon as the outcome is determined (three-valued logic: true, false,
//! unknown). So the search covers every combination without visiting each. Evaluation errors are not modelled: the
//! context is strict, so there are none.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::facts::{Fact, FactSet, Facts};
use super::reach::RELEASING_FORMS;
use super::rule::Rule;
use super::rulebook::{RuleIndex, Rulebook, forms_of};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId, Vocabulary};

/// Evaluates cells of one pack, and caches the truth tables of their conditions.
#[derive(Debug)]
pub struct CellEvaluator<'a> {
    rulebook: &'a Rulebook,
    tables: HashMap<TableKey, Arc<TruthTable>>,
    /// Equal tables are stored once, so that equal cells can be recognised by the addresses of their tables.
    interned_tables: HashSet<Arc<TruthTable>>,
}

/// Key of a truth table: a condition, and the parts of the request that the condition mentions.
type TableKey = (RuleIndex, usize, Option<KindId>, Option<PurposeId>, Option<CategoryId>, Option<Operation>);

/// The value of one condition for every combination of its facts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TruthTable {
    pub(super) facts: FactSet,
    pub(super) rows: Vec<(Facts, bool)>,
}

/// Identifies a cell within one evaluator: its rules, their forms, and the addresses of their truth tables.
pub(super) type CellKey = Vec<(RuleIndex, SmallVec<[Form; 4]>, Vec<usize>)>;

/// An evaluated cell. The default one releases nothing.
#[derive(Clone, Debug, Default)]
pub struct EvaluatedCell {
    /// The rules, forbids first: a forbid determines most outcomes.
    pub(super) rules: Vec<EvaluatedRule>,
    pub(super) forms: SmallVec<[Form; 4]>,
}

/// A rule of a cell, with the truth tables of its conditions.
#[derive(Clone, Debug)]
pub(super) struct EvaluatedRule {
    pub(super) at: RuleIndex,
    pub(super) is_permit: bool,
    basis: Option<Basis>,
    pub(super) forms: SmallVec<[Form; 4]>,
    pub(super) conditions: SmallVec<[Arc<TruthTable>; 4]>,
}

/// A partial assignment of the facts: some are fixed, the others can have any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Circumstances {
    /// Values of the facts; only those of fixed facts count.
    pub facts: Facts,
    /// Facts whose values are fixed.
    pub fixed: FactSet,
}

/// The result of a cell: the form, and the rule that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellOutcome {
    /// Form in which the category is released.
    pub form: Form,
    /// For a released category, the first permit that releases it. For a withheld one, the first forbid that
    /// applies, if there is one.
    pub rule: Option<RuleIndex>,
}

/// A cell with some of its facts given.
#[derive(Clone, Debug)]
pub struct CellInput<'w> {
    /// The cell.
    pub cell: &'w EvaluatedCell,
    /// Facts that are fixed for this cell only.
    pub given: Circumstances,
}

/// Value of three-valued logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Circumstances {
    /// Returns these circumstances with one more fact fixed.
    #[must_use]
    pub fn with(self, fact: Fact, value: u8) -> Circumstances {
        Circumstances { facts: self.facts.with(fact, value), fixed: self.fixed.union(FactSet::of(fact)) }
    }

    /// Keeps the fixed facts whose value is not 0.
    #[must_use]
    pub fn non_default(self) -> Circumstances {
        let unusual = self.fixed.facts().filter(|&fact| self.facts.get(fact) != 0);
        Circumstances { facts: self.facts, fixed: unusual.collect() }
    }

    /// Returns the number of fixed facts.
    pub fn count(&self) -> usize {
        self.fixed.facts().count()
    }

    /// Describes the fixed facts: `minor = true, consent = given`.
    pub fn describe(&self, vocabulary: &Vocabulary) -> String {
        let words = self.fixed.facts().map(|fact| {
            let name = match fact {
                Fact::Relation(relation) => vocabulary.relations().name(relation).to_owned(),
                other => other.name().replace('_', " "),
            };
            format!("{name} = {}", self.facts.value_name(fact))
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

impl<'a> CellEvaluator<'a> {
    /// Makes an evaluator with an empty cache.
    pub fn new(rulebook: &'a Rulebook) -> CellEvaluator<'a> {
        CellEvaluator { rulebook, tables: HashMap::new(), interned_tables: HashSet::new() }
    }

    /// Evaluates the cell of one kind, purpose and category for `disclose`.
    pub fn cell(&mut self, kind: KindId, purpose: PurposeId, category: CategoryId) -> EvaluatedCell {
        self.cell_for(Operation::Disclose, kind, purpose, category)
    }

    /// Evaluates the cell of one kind, purpose and category for an operation. Operations other than `disclose`
    /// have the form `clear` only: they are permitted or refused.
    pub fn cell_for(
        &mut self,
        operation: Operation,
        kind: KindId,
        purpose: PurposeId,
        category: CategoryId,
    ) -> EvaluatedCell {
        let rulebook = self.rulebook;
        let point = (kind, purpose, category);
        let Some(cell) = rulebook.cell_for(operation, point) else {
            return EvaluatedCell { rules: Vec::new(), forms: SmallVec::new() };
        };
        let mut rules: Vec<EvaluatedRule> = Vec::new();
        for &at in cell.rules() {
            if let Some(rule) = rulebook.rule(at) {
                rules.push(self.rule(at, rule, point, operation));
            }
        }
        EvaluatedCell::new(rules)
    }

    /// Evaluates every rule that reaches a point, even if none of them is a permit.
    pub(super) fn full_cell(
        &mut self,
        operation: Operation,
        point: (KindId, PurposeId, CategoryId),
    ) -> EvaluatedCell {
        let rulebook = self.rulebook;
        let (kind, purpose, category) = point;
        let reached = (0..).zip(rulebook.rules());
        let reached = reached.filter(|(_, rule)| rule.reaches_any_form((kind, purpose, category, operation)));
        EvaluatedCell::new(reached.map(|(at, rule)| self.rule(at, rule, point, operation)).collect())
    }

    pub(super) fn rule(
        &mut self,
        at: RuleIndex,
        rule: &Rule,
        point: (KindId, PurposeId, CategoryId),
        operation: Operation,
    ) -> EvaluatedRule {
        let (kind, purpose, category) = point;
        let reached = |form: &Form| rule.reaches((kind, purpose, category, operation, *form));
        let conditions = 0..rule.conditions().len();
        let conditions = conditions.map(|condition| self.table(at, rule, condition, point, operation));
        EvaluatedRule {
            at,
            is_permit: rule.is_permit(),
            basis: rule.basis,
            conditions: conditions.collect(),
            forms: forms_of(operation).iter().copied().filter(reached).collect(),
        }
    }

    /// True if a rule, permit or forbid, applies at a point under some circumstances, for some operation.
    pub fn can_apply(&mut self, at: RuleIndex, point: (KindId, PurposeId, CategoryId)) -> bool {
        Operation::ALL.iter().any(|&operation| self.can_apply_to(operation, at, point))
    }

    fn can_apply_to(
        &mut self,
        operation: Operation,
        at: RuleIndex,
        point: (KindId, PurposeId, CategoryId),
    ) -> bool {
        let Some(rule) = self.rulebook.rule(at) else { return false };
        let evaluated = self.rule(at, rule, point, operation);
        let forms = evaluated.forms.clone();
        // The rule is evaluated as if it were the only permit. It then applies exactly where it releases
        // something.
        let alone = EvaluatedRule { is_permit: true, ..evaluated };
        EvaluatedCell { rules: vec![alone], forms }.releasing_circumstances().is_some()
    }

    fn table(
        &mut self,
        at: RuleIndex,
        rule: &Rule,
        number: usize,
        point: (KindId, PurposeId, CategoryId),
        operation: Operation,
    ) -> Arc<TruthTable> {
        let (kind, purpose, category) = point;
        let Some(condition) = rule.conditions().get(number) else { return Arc::new(TruthTable::never()) };
        let looks = condition.inputs();
        let key = (
            at,
            number,
            looks.kind.then_some(kind),
            looks.purpose.then_some(purpose),
            looks.category.then_some(category),
            condition.mask.contains(Fact::Operation).then_some(operation),
        );
        if let Some(known) = self.tables.get(&key) {
            return Arc::clone(known);
        }
        // The operation is given, so it is not one of the facts to vary.
        let mask = condition.mask.difference(FactSet::of(Fact::Operation));
        let asked = |facts: Facts| facts.with_operation(operation);
        let rows =
            mask.assignments().map(|facts| (facts, self.rulebook.holds(condition, point, asked(facts))));
        let table = Arc::new(TruthTable { facts: mask, rows: rows.collect() });
        let table = self.interned_tables.get(&table).map(Arc::clone).unwrap_or(table);
        self.interned_tables.insert(Arc::clone(&table));
        self.tables.insert(key, Arc::clone(&table));
        table
    }

    /// Returns every distinct cell that can release something, each with one point at which it is evaluated.
    pub fn distinct_cells(
        &mut self,
        vocabulary: &Vocabulary,
    ) -> Vec<((KindId, PurposeId, CategoryId), EvaluatedCell)> {
        let mut seen = HashSet::new();
        let mut distinct = Vec::new();
        for kind in vocabulary.kinds().ids() {
            for purpose in vocabulary.purposes().ids() {
                for category in vocabulary.categories().ids() {
                    if self
                        .rulebook
                        .cell(kind, purpose, category)
                        .is_none_or(super::rulebook::Cell::never_releases)
                    {
                        continue;
                    }
                    let cell = self.cell(kind, purpose, category);
                    if seen.insert(cell.key()) {
                        distinct.push(((kind, purpose, category), cell));
                    }
                }
            }
        }
        distinct
    }
}

impl TruthTable {
    fn never() -> TruthTable {
        TruthTable { facts: FactSet::EMPTY, rows: vec![(Facts::default(), false)] }
    }

    fn truth(&self, known: Circumstances) -> Truth {
        let fixed = self.facts.intersection(known.fixed);
        let mut possible =
            self.rows.iter().filter(|(facts, _)| facts.masked(fixed) == known.facts.masked(fixed));
        let Some(&(_, first)) = possible.next() else { return Truth::False };
        if possible.any(|&(_, holds)| holds != first) {
            return Truth::Unknown;
        }
        if first { Truth::True } else { Truth::False }
    }
}

impl EvaluatedRule {
    pub(super) fn truth(&self, form: Form, known: Circumstances) -> Truth {
        if !self.forms.contains(&form) {
            return Truth::False;
        }
        let known = Circumstances {
            facts: known.facts.with_form(form),
            fixed: known.fixed.union(FactSet::of(Fact::Form)),
        };
        let mut truth = Truth::True;
        for condition in &self.conditions {
            match condition.truth(known) {
                Truth::False => return Truth::False,
                Truth::Unknown => truth = Truth::Unknown,
                Truth::True => {}
            }
        }
        truth
    }

    /// Returns a fact on which the value of the rule depends.
    pub(super) fn undecided_fact(&self, form: Form, known: Circumstances) -> Option<Fact> {
        let with_form = Circumstances {
            facts: known.facts.with_form(form),
            fixed: known.fixed.union(FactSet::of(Fact::Form)),
        };
        let open = self.conditions.iter().find(|condition| condition.truth(with_form) == Truth::Unknown)?;
        open.facts.difference(with_form.fixed).facts().next()
    }
}

impl EvaluatedCell {
    /// Makes a cell of these rules.
    pub(super) fn new(mut rules: Vec<EvaluatedRule>) -> EvaluatedCell {
        rules.sort_by_key(|rule| rule.is_permit);
        let mut forms: SmallVec<[Form; 4]> = RELEASING_FORMS.into_iter().collect();
        forms.retain(|form| rules.iter().any(|rule| rule.is_permit && rule.forms.contains(form)));
        EvaluatedCell { rules, forms }
    }

    /// Returns the key by which the cell is recognised within one evaluator.
    pub(super) fn key(&self) -> CellKey {
        let of = |rule: &EvaluatedRule| {
            let conditions = rule.conditions.iter().map(|table| Arc::as_ptr(table) as usize);
            (rule.at, rule.forms.clone(), conditions.collect())
        };
        self.rules.iter().map(of).collect()
    }

    /// True if two cells, which may belong to different packs, consist of equal rules.
    pub fn is_equivalent(&self, other: &EvaluatedCell) -> bool {
        let of = |cell: &EvaluatedCell| {
            let rule = |rule: &EvaluatedRule| {
                (rule.is_permit, rule.basis, rule.forms.clone(), rule.conditions.clone())
            };
            let mut rules: Vec<_> = cell.rules.iter().map(rule).collect();
            rules.sort_by_cached_key(|rule| format!("{rule:?}"));
            rules
        };
        self.rules.len() == other.rules.len() && of(self) == of(other)
    }

    /// True if the two cells differ in the released form under some circumstances.
    pub fn differs_from(&self, other: &EvaluatedCell) -> bool {
        if self.is_equivalent(other) {
            return false;
        }
        let mut visit = |_: Circumstances, outcomes: &[CellOutcome]| match outcomes {
            [one, other] if one.form != other.form => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let given = |cell| CellInput { cell, given: Circumstances::default() };
        outcomes(&[given(self), given(other)], Circumstances::default(), &mut visit).is_break()
    }

    /// Returns the cell with only those permits that `keep` accepts.
    #[must_use]
    pub fn with_permits(&self, keep: impl Fn(RuleIndex) -> bool) -> EvaluatedCell {
        let mut kept = self.clone();
        kept.rules.retain(|rule| !rule.is_permit || keep(rule.at));
        let permitted =
            |form: &Form| kept.rules.iter().any(|rule| rule.is_permit && rule.forms.contains(form));
        kept.forms = self.forms.iter().copied().filter(permitted).collect();
        kept
    }

    /// Returns circumstances under which something is released, if there are any.
    pub fn releasing_circumstances(&self) -> Option<Circumstances> {
        let mut visit = |circumstances, outcomes: &[CellOutcome]| match outcomes {
            [outcome] if outcome.form != Form::Removed => ControlFlow::Break(circumstances),
            _ => ControlFlow::Continue(()),
        };
        let given = CellInput { cell: self, given: Circumstances::default() };
        outcomes(&[given], Circumstances::default(), &mut visit).break_value()
    }
}

/// One step of the search: the outcome is determined, or depends on a fact.
pub(super) enum SearchStep {
    Settled(CellOutcome),
    Branch(Fact),
}

impl EvaluatedCell {
    /// Returns the outcome if it is determined, else a fact on which it depends.
    pub(super) fn step(&self, known: Circumstances) -> SearchStep {
        let mut forbidden_by = None;
        for &form in &self.forms {
            match self.released(form, known) {
                FormOutcome::Released(rule) => {
                    return SearchStep::Settled(CellOutcome { form, rule: Some(rule) });
                }
                FormOutcome::Withheld(rule) => forbidden_by = forbidden_by.or(rule),
                FormOutcome::DependsOn(fact) => return SearchStep::Branch(fact),
            }
        }
        SearchStep::Settled(CellOutcome { form: Form::Removed, rule: forbidden_by })
    }

    fn released(&self, form: Form, known: Circumstances) -> FormOutcome {
        let mut open = None;
        let mut permitted: Option<&EvaluatedRule> = None;
        let mut permit_open = None;
        // Undecided permits before the first permit that holds. If one of them holds as well and has another
        // basis, the verdict names that basis.
        let mut bases: SmallVec<[(Option<Basis>, Fact); 4]> = SmallVec::new();
        for rule in &self.rules {
            match (rule.truth(form, known), rule.is_permit) {
                (Truth::True, false) => return FormOutcome::Withheld(Some(rule.at)),
                (Truth::Unknown, false) => open = open.or_else(|| rule.undecided_fact(form, known)),
                (Truth::True, true) => permitted = permitted.or(Some(rule)),
                (Truth::Unknown, true) if permitted.is_none() => {
                    let fact = rule.undecided_fact(form, known);
                    permit_open = permit_open.or(fact);
                    bases.extend(fact.map(|fact| (rule.basis, fact)));
                }
                (Truth::Unknown, true) | (Truth::False, _) => {}
            }
        }
        match (permitted, permit_open, open) {
            // No permit can hold, so the forbids do not matter.
            (None, None, _) => FormOutcome::Withheld(None),
            (None, Some(fact), _) | (Some(_), _, Some(fact)) => FormOutcome::DependsOn(fact),
            (Some(rule), _, None) => match bases.iter().find(|(basis, _)| *basis != rule.basis) {
                Some(&(_, fact)) => FormOutcome::DependsOn(fact),
                None => FormOutcome::Released(rule.at),
            },
        }
    }

    /// Groups the values of a fact that lead to equal results, and returns one value of each group.
    fn distinguishing_values(&self, fact: Fact) -> Vec<u8> {
        let mut classes: Vec<(Vec<(Facts, bool)>, u8)> = Vec::new();
        let mask = FactSet::of(fact);
        let tables =
            self.rules.iter().flat_map(|rule| &rule.conditions).filter(|table| table.facts.contains(fact));
        let tables: Vec<&Arc<TruthTable>> = tables.collect();
        for value in 0..u8::try_from(fact.values().len()).unwrap_or(0) {
            let rows =
                tables.iter().flat_map(|table| &table.rows).filter(|(facts, _)| facts.get(fact) == value);
            let class: Vec<(Facts, bool)> =
                rows.map(|&(facts, holds)| (facts.overlay(Facts::default(), mask), holds)).collect();
            if !classes.iter().any(|(known, _)| *known == class) {
                classes.push((class, value));
            }
        }
        classes.into_iter().map(|(_, value)| value).collect()
    }
}

enum FormOutcome {
    Released(RuleIndex),
    /// Names the forbid that withholds, if one does.
    Withheld(Option<RuleIndex>),
    DependsOn(Fact),
}

/// Visits every combination of outcomes that the cells can have. The cells share all facts except those given for
/// a single cell.
///
/// # Errors
/// Returns the value with which the visitor stopped.
pub fn outcomes<B>(
    inputs: &[CellInput<'_>],
    start: Circumstances,
    visit: &mut dyn FnMut(Circumstances, &[CellOutcome]) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut settled: SmallVec<[CellOutcome; 2]> = SmallVec::new();
    for input in inputs {
        let CellInput { given, cell } = input;
        let facts = start.facts.overlay(given.facts, given.fixed);
        let known = Circumstances { facts, fixed: start.fixed.union(given.fixed) };
        match cell.step(known) {
            SearchStep::Settled(result) => settled.push(result),
            SearchStep::Branch(fact) => {
                for value in values(inputs, fact) {
                    outcomes(inputs, start.with(fact, value), visit)?;
                }
                return ControlFlow::Continue(());
            }
        }
    }
    visit(start, &settled)
}

/// Returns at least one value of a fact for each group of values that lead to equal results in every cell.
fn values(inputs: &[CellInput<'_>], fact: Fact) -> Vec<u8> {
    if let [only] = inputs {
        return only.cell.distinguishing_values(fact);
    }
    // Two values are equivalent only if they lead to equal results in every cell. Trying all values is simpler.
    (0..u8::try_from(fact.values().len()).unwrap_or(0)).collect()
}
