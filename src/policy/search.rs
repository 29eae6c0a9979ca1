//! Every outcome that a slice of the rules can have, over all facts.
//!
//! Each condition is asked of Cedar for every value of the facts it compares; what remains is
//! Cedar's own rule that a permit releases unless a forbid applies. The search fixes one fact after
//! the other and stops as soon as the outcome is settled, so it covers every combination without
//! trying each. What it cannot see is an evaluation error: the context is strict, so there are none.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::facts::{Fact, Facts, Mask};
use super::reach::FORMS;
use super::rule::Rule;
use super::rulebook::{RuleAt, Rulebook, forms_of};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId, Vocabulary};

/// Works out slices of one pack; what it has asked of Cedar it remembers.
#[derive(Debug)]
pub struct Search<'a> {
    rulebook: &'a Rulebook,
    tables: HashMap<TableKey, Arc<Table>>,
    /// Equal tables are kept once, so that equal slices are known by their addresses.
    contents: HashSet<Arc<Table>>,
}

/// A condition, and of the question only what the condition looks at.
type TableKey = (RuleAt, usize, Option<KindId>, Option<PurposeId>, Option<CategoryId>, Option<Operation>);

/// One condition for every value of its facts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    pub(super) mask: Mask,
    pub(super) rows: Vec<(Facts, bool)>,
}

/// The rules of a slice, with their forms and the addresses of their conditions' tables.
pub(super) type Identity = Vec<(RuleAt, SmallVec<[Form; 4]>, Vec<usize>)>;

/// A slice of the rules, worked out. The default one releases nothing.
#[derive(Clone, Debug, Default)]
pub struct Worked {
    /// Forbids first: they settle most.
    pub(super) rules: Vec<WorkedRule>,
    pub(super) forms: SmallVec<[Form; 4]>,
}

/// A rule of a slice, with its conditions for every value of their facts.
#[derive(Clone, Debug)]
pub(super) struct WorkedRule {
    pub(super) at: RuleAt,
    pub(super) permits: bool,
    basis: Option<Basis>,
    pub(super) forms: SmallVec<[Form; 4]>,
    pub(super) conditions: SmallVec<[Arc<Table>; 4]>,
}

/// Facts of which some are fixed; the others may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Circumstances {
    pub facts: Facts,
    pub fixed: Mask,
}

/// What leaves, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub form: Form,
    /// The first permit that releases it; of what is withheld the first forbid that applies, if one does.
    pub rule: Option<RuleAt>,
}

/// A slice with some of its facts given.
#[derive(Clone, Debug)]
pub struct Given<'w> {
    pub slice: &'w Worked,
    pub given: Circumstances,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Open,
}

impl Circumstances {
    /// These circumstances with one fact fixed.
    #[must_use]
    pub fn with(self, fact: Fact, value: u8) -> Circumstances {
        Circumstances { facts: self.facts.with(fact, value), fixed: self.fixed.and(Mask::of(fact)) }
    }

    /// Only what is not as of a person nothing is known about.
    #[must_use]
    pub fn unusual(self) -> Circumstances {
        let unusual = self.fixed.facts().filter(|&fact| self.facts.get(fact) != 0);
        Circumstances { facts: self.facts, fixed: unusual.collect() }
    }

    /// How many facts are fixed.
    pub fn count(&self) -> usize {
        self.fixed.facts().count()
    }

    /// In words: `minor = true, consent = given`.
    pub fn words(&self, vocabulary: &Vocabulary) -> String {
        let words = self.fixed.facts().map(|fact| {
            let name = match fact {
                Fact::Relation(relation) => vocabulary.relations().name(relation).to_owned(),
                other => other.name().replace('_', " "),
            };
            format!("{name} = {}", self.facts.word(fact))
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

impl<'a> Search<'a> {
    pub fn new(rulebook: &'a Rulebook) -> Search<'a> {
        Search { rulebook, tables: HashMap::new(), contents: HashSet::new() }
    }

    /// The slice of one kind, purpose and category, for `disclose`.
    pub fn slice(&mut self, kind: KindId, purpose: PurposeId, category: CategoryId) -> Worked {
        self.slice_for(Operation::Disclose, kind, purpose, category)
    }

    /// The slice of one kind, purpose and category for an operation. The one form of an operation other than
    /// `disclose` is `clear`: it is carried out or not.
    pub fn slice_for(
        &mut self,
        operation: Operation,
        kind: KindId,
        purpose: PurposeId,
        category: CategoryId,
    ) -> Worked {
        let rulebook = self.rulebook;
        let point = (kind, purpose, category);
        let Some(cell) = rulebook.cell_for(operation, point) else {
            return Worked { rules: Vec::new(), forms: SmallVec::new() };
        };
        let mut rules: Vec<WorkedRule> = Vec::new();
        for &at in cell.rules() {
            if let Some(rule) = rulebook.rule(at) {
                rules.push(self.rule(at, rule, point, operation));
            }
        }
        Worked::of(rules)
    }

    /// The slice of a question with every rule that reaches it, also where no permit does.
    pub(super) fn whole(&mut self, operation: Operation, point: (KindId, PurposeId, CategoryId)) -> Worked {
        let rulebook = self.rulebook;
        let (kind, purpose, category) = point;
        let reached = (0..).zip(rulebook.rules());
        let reached = reached.filter(|(_, rule)| rule.reaches_any_form((kind, purpose, category, operation)));
        Worked::of(reached.map(|(at, rule)| self.rule(at, rule, point, operation)).collect())
    }

    pub(super) fn rule(
        &mut self,
        at: RuleAt,
        rule: &Rule,
        point: (KindId, PurposeId, CategoryId),
        operation: Operation,
    ) -> WorkedRule {
        let (kind, purpose, category) = point;
        let reached = |form: &Form| rule.reaches((kind, purpose, category, operation, *form));
        let conditions = 0..rule.conditions().len();
        let conditions = conditions.map(|condition| self.table(at, rule, condition, point, operation));
        WorkedRule {
            at,
            permits: rule.is_permit(),
            basis: rule.basis,
            conditions: conditions.collect(),
            forms: forms_of(operation).iter().copied().filter(reached).collect(),
        }
    }

    /// Whether a rule, permit or forbid, applies to a question under some circumstances, whatever the operation.
    pub fn can_apply(&mut self, at: RuleAt, point: (KindId, PurposeId, CategoryId)) -> bool {
        Operation::ALL.iter().any(|&operation| self.can_apply_to(operation, at, point))
    }

    fn can_apply_to(
        &mut self,
        operation: Operation,
        at: RuleAt,
        point: (KindId, PurposeId, CategoryId),
    ) -> bool {
        let Some(rule) = self.rulebook.rule(at) else { return false };
        let worked = self.rule(at, rule, point, operation);
        let forms = worked.forms.clone();
        // As a permit that stands alone: it applies where it releases.
        let alone = WorkedRule { permits: true, ..worked };
        Worked { rules: vec![alone], forms }.releases().is_some()
    }

    fn table(
        &mut self,
        at: RuleAt,
        rule: &Rule,
        number: usize,
        point: (KindId, PurposeId, CategoryId),
        operation: Operation,
    ) -> Arc<Table> {
        let (kind, purpose, category) = point;
        let Some(condition) = rule.conditions().get(number) else { return Arc::new(Table::never()) };
        let looks = condition.looks_at();
        let key = (
            at,
            number,
            looks.kind.then_some(kind),
            looks.purpose.then_some(purpose),
            looks.category.then_some(category),
            condition.mask.holds(Fact::Operation).then_some(operation),
        );
        if let Some(known) = self.tables.get(&key) {
            return Arc::clone(known);
        }
        // The operation is given, hence none of the facts that may be anything.
        let mask = condition.mask.without(Mask::of(Fact::Operation));
        let asked = |facts: Facts| facts.with_operation(operation);
        let rows = mask.every().map(|facts| (facts, self.rulebook.holds(condition, point, asked(facts))));
        let table = Arc::new(Table { mask, rows: rows.collect() });
        let table = self.contents.get(&table).map(Arc::clone).unwrap_or(table);
        self.contents.insert(Arc::clone(&table));
        self.tables.insert(key, Arc::clone(&table));
        table
    }

    /// One question for each slice that differs from every other, with the slice; closed ones are left out.
    pub fn distinct(&mut self, vocabulary: &Vocabulary) -> Vec<((KindId, PurposeId, CategoryId), Worked)> {
        let mut seen = HashSet::new();
        let mut distinct = Vec::new();
        for kind in vocabulary.kinds().ids() {
            for purpose in vocabulary.purposes().ids() {
                for category in vocabulary.categories().ids() {
                    if self
                        .rulebook
                        .cell(kind, purpose, category)
                        .is_none_or(super::rulebook::Cell::is_closed)
                    {
                        continue;
                    }
                    let slice = self.slice(kind, purpose, category);
                    if seen.insert(slice.identity()) {
                        distinct.push(((kind, purpose, category), slice));
                    }
                }
            }
        }
        distinct
    }
}

impl Table {
    fn never() -> Table {
        Table { mask: Mask::NONE, rows: vec![(Facts::default(), false)] }
    }

    fn truth(&self, known: Circumstances) -> Truth {
        let fixed = self.mask.both(known.fixed);
        let mut possible = self.rows.iter().filter(|(facts, _)| facts.only(fixed) == known.facts.only(fixed));
        let Some(&(_, first)) = possible.next() else { return Truth::No };
        if possible.any(|&(_, holds)| holds != first) {
            return Truth::Open;
        }
        if first { Truth::Yes } else { Truth::No }
    }
}

impl WorkedRule {
    pub(super) fn truth(&self, form: Form, known: Circumstances) -> Truth {
        if !self.forms.contains(&form) {
            return Truth::No;
        }
        let known = Circumstances {
            facts: known.facts.with_form(form),
            fixed: known.fixed.and(Mask::of(Fact::Form)),
        };
        let mut truth = Truth::Yes;
        for condition in &self.conditions {
            match condition.truth(known) {
                Truth::No => return Truth::No,
                Truth::Open => truth = Truth::Open,
                Truth::Yes => {}
            }
        }
        truth
    }

    /// A fact that keeps it open.
    pub(super) fn open_fact(&self, form: Form, known: Circumstances) -> Option<Fact> {
        let with_form = Circumstances {
            facts: known.facts.with_form(form),
            fixed: known.fixed.and(Mask::of(Fact::Form)),
        };
        let open = self.conditions.iter().find(|condition| condition.truth(with_form) == Truth::Open)?;
        open.mask.without(with_form.fixed).facts().next()
    }
}

impl Worked {
    /// A slice of these rules.
    pub(super) fn of(mut rules: Vec<WorkedRule>) -> Worked {
        rules.sort_by_key(|rule| rule.permits);
        let mut forms: SmallVec<[Form; 4]> = FORMS.into_iter().collect();
        forms.retain(|form| rules.iter().any(|rule| rule.permits && rule.forms.contains(form)));
        Worked { rules, forms }
    }

    /// What makes it the same as another of the same search: its rules, their forms, their conditions.
    pub(super) fn identity(&self) -> Identity {
        let of = |rule: &WorkedRule| {
            let conditions = rule.conditions.iter().map(|table| Arc::as_ptr(table) as usize);
            (rule.at, rule.forms.clone(), conditions.collect())
        };
        self.rules.iter().map(of).collect()
    }

    /// Whether two slices, also of different packs, say the same in the same way.
    pub fn is_same_as(&self, other: &Worked) -> bool {
        let of = |slice: &Worked| {
            let rule =
                |rule: &WorkedRule| (rule.permits, rule.basis, rule.forms.clone(), rule.conditions.clone());
            let mut rules: Vec<_> = slice.rules.iter().map(rule).collect();
            rules.sort_by_cached_key(|rule| format!("{rule:?}"));
            rules
        };
        self.rules.len() == other.rules.len() && of(self) == of(other)
    }

    /// Whether something leaves in another form than by the other slice, under some circumstances.
    pub fn differs_from(&self, other: &Worked) -> bool {
        if self.is_same_as(other) {
            return false;
        }
        let mut visit = |_: Circumstances, outcomes: &[Outcome]| match outcomes {
            [one, other] if one.form != other.form => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let given = |slice| Given { slice, given: Circumstances::default() };
        outcomes(&[given(self), given(other)], Circumstances::default(), &mut visit).is_break()
    }

    /// The slice with only some of its permits.
    #[must_use]
    pub fn with_permits(&self, keep: impl Fn(RuleAt) -> bool) -> Worked {
        let mut kept = self.clone();
        kept.rules.retain(|rule| !rule.permits || keep(rule.at));
        let permitted = |form: &Form| kept.rules.iter().any(|rule| rule.permits && rule.forms.contains(form));
        kept.forms = self.forms.iter().copied().filter(permitted).collect();
        kept
    }

    /// Circumstances under which something leaves, if there are any.
    pub fn releases(&self) -> Option<Circumstances> {
        let mut visit = |circumstances, outcomes: &[Outcome]| match outcomes {
            [outcome] if outcome.form != Form::Removed => ControlFlow::Break(circumstances),
            _ => ControlFlow::Continue(()),
        };
        let given = Given { slice: self, given: Circumstances::default() };
        outcomes(&[given], Circumstances::default(), &mut visit).break_value()
    }
}

/// Settled, or the fact to fix next.
pub(super) enum Step {
    Settled(Outcome),
    Fix(Fact),
}

impl Worked {
    /// The outcome where it is settled; else a fact on which it depends.
    pub(super) fn step(&self, known: Circumstances) -> Step {
        let mut forbidden_by = None;
        for &form in &self.forms {
            match self.released(form, known) {
                Released::By(rule) => return Step::Settled(Outcome { form, rule: Some(rule) }),
                Released::Not(rule) => forbidden_by = forbidden_by.or(rule),
                Released::DependsOn(fact) => return Step::Fix(fact),
            }
        }
        Step::Settled(Outcome { form: Form::Removed, rule: forbidden_by })
    }

    fn released(&self, form: Form, known: Circumstances) -> Released {
        let mut open = None;
        let mut permitted: Option<&WorkedRule> = None;
        let mut permit_open = None;
        // Permits before the one that holds: with another basis, they would name it.
        let mut bases: SmallVec<[(Option<Basis>, Fact); 4]> = SmallVec::new();
        for rule in &self.rules {
            match (rule.truth(form, known), rule.permits) {
                (Truth::Yes, false) => return Released::Not(Some(rule.at)),
                (Truth::Open, false) => open = open.or_else(|| rule.open_fact(form, known)),
                (Truth::Yes, true) => permitted = permitted.or(Some(rule)),
                (Truth::Open, true) if permitted.is_none() => {
                    let fact = rule.open_fact(form, known);
                    permit_open = permit_open.or(fact);
                    bases.extend(fact.map(|fact| (rule.basis, fact)));
                }
                (Truth::Open, true) | (Truth::No, _) => {}
            }
        }
        match (permitted, permit_open, open) {
            // No permit can come true: the forbids do not matter.
            (None, None, _) => Released::Not(None),
            (None, Some(fact), _) | (Some(_), _, Some(fact)) => Released::DependsOn(fact),
            (Some(rule), _, None) => match bases.iter().find(|(basis, _)| *basis != rule.basis) {
                Some(&(_, fact)) => Released::DependsOn(fact),
                None => Released::By(rule.at),
            },
        }
    }

    /// The values of a fact that make a difference, one of each sort.
    fn values(&self, fact: Fact) -> Vec<u8> {
        let mut sorts: Vec<(Vec<(Facts, bool)>, u8)> = Vec::new();
        let mask = Mask::of(fact);
        let tables =
            self.rules.iter().flat_map(|rule| &rule.conditions).filter(|table| table.mask.holds(fact));
        let tables: Vec<&Arc<Table>> = tables.collect();
        for value in 0..u8::try_from(fact.values().len()).unwrap_or(0) {
            let rows =
                tables.iter().flat_map(|table| &table.rows).filter(|(facts, _)| facts.get(fact) == value);
            let sort: Vec<(Facts, bool)> =
                rows.map(|&(facts, holds)| (facts.overlaid(Facts::default(), mask), holds)).collect();
            if !sorts.iter().any(|(known, _)| *known == sort) {
                sorts.push((sort, value));
            }
        }
        sorts.into_iter().map(|(_, value)| value).collect()
    }
}

enum Released {
    By(RuleAt),
    /// With the forbid that withholds, if it is one.
    Not(Option<RuleAt>),
    DependsOn(Fact),
}

/// Visits every outcome that the slices can have together: they share their facts but for what each is given.
///
/// # Errors
/// What the visitor broke off with.
pub fn outcomes<B>(
    slices: &[Given<'_>],
    start: Circumstances,
    visit: &mut dyn FnMut(Circumstances, &[Outcome]) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut settled: SmallVec<[Outcome; 2]> = SmallVec::new();
    for slice in slices {
        let Given { given, slice } = slice;
        let facts = start.facts.overlaid(given.facts, given.fixed);
        let known = Circumstances { facts, fixed: start.fixed.and(given.fixed) };
        match slice.step(known) {
            Step::Settled(result) => settled.push(result),
            Step::Fix(fact) => {
                for value in values(slices, fact) {
                    outcomes(slices, start.with(fact, value), visit)?;
                }
                return ControlFlow::Continue(());
            }
        }
    }
    visit(start, &settled)
}

/// The values that make a difference to any of the slices.
fn values(slices: &[Given<'_>], fact: Fact) -> Vec<u8> {
    if let [only] = slices {
        return only.slice.values(fact);
    }
    // Two values are of one sort only where they are for every slice; trying all of them is simpler.
    (0..u8::try_from(fact.values().len()).unwrap_or(0)).collect()
}
