//! What a change of one rule does to what leaves and to what is carried out.
//!
//! Complete over the vocabulary and over the facts: every question that either version of the rule
//! reaches is searched. Only where the two versions of the rule part can an outcome, so the search
//! fixes the facts of the changed rule first and goes on only where they do.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::cell_evaluator::{
    CellEvaluator, CellKey, Circumstances, EvaluatedCell, EvaluatedRule, SearchStep, Truth,
};
use super::super::facts::{Fact, FactSet, Facts};
use super::super::pack::Pack;
use super::super::rule::Rule;
use super::super::rulebook::RuleIndex;
use super::Mutant;
use crate::vocabulary::{CategoryId, Form, KindId, Operation, PurposeId};

/// A field as it is judged: the least revealing form of its categories counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedField {
    /// Its categories, each with the facts that are settled for it by what the field is: first those that a
    /// mapping names, then what they may hold besides.
    pub categories: Vec<(CategoryId, Circumstances)>,
    /// How many of them a mapping names.
    pub named: usize,
}

/// A question that the mutant answers otherwise than the pack.
#[derive(Clone, Copy, Debug)]
pub struct MutantDifference<'f> {
    pub operation: Operation,
    pub kind: KindId,
    pub purpose: PurposeId,
    pub field: &'f JudgedField,
    /// The facts that matter; the others may be anything.
    pub circumstances: Circumstances,
    pub old: Form,
    pub new: Form,
}

/// Compares a pack with its mutants. It remembers the slices of the pack.
#[derive(Debug)]
pub struct Comparison<'a> {
    pack: &'a Pack,
    fields: &'a [JudgedField],
    search: CellEvaluator<'a>,
    /// The slice of each question and category among the distinct ones.
    slices: HashMap<RequestKey, Vec<usize>>,
    distinct: Vec<Arc<EvaluatedCell>>,
    numbers: HashMap<CellKey, usize>,
}

type RequestKey = (Operation, KindId, PurposeId);

/// A slice of the pack and of the mutant.
#[derive(Debug)]
struct CellPair {
    old: Arc<EvaluatedCell>,
    new: EvaluatedCell,
    /// The rule that differs, where it reaches the slice.
    rules: [Option<EvaluatedRule>; 2],
}

/// The slices that a mutant has, each pair of versions once.
#[derive(Debug, Default)]
struct CellPairs {
    list: Vec<CellPair>,
    numbers: HashMap<CellPairKey, usize>,
}

/// The number of the slice in the old pack, and the forms and conditions of the rule in the new one.
type CellPairKey = (usize, SmallVec<[Form; 4]>, Vec<usize>);

/// One question: its answer to each category as a number among the versions, none where nothing leaves in
/// either, and whether anything is answered at all.
struct RequestCells {
    question: RequestKey,
    versions: Vec<Option<usize>>,
    answered: [bool; 2],
}

impl<'a> Comparison<'a> {
    /// Compares by these fields, in their order.
    pub fn new(pack: &'a Pack, fields: &'a [JudgedField]) -> Comparison<'a> {
        Comparison {
            pack,
            fields,
            search: CellEvaluator::new(pack.rulebook()),
            slices: HashMap::new(),
            distinct: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// Visits, for each search of its own, where the mutant answers otherwise. `settled` says what is
    /// settled for a kind and purpose before any rule is asked.
    ///
    /// # Errors
    /// What the visitor broke off with.
    pub fn differences<B>(
        &mut self,
        mutant: &Mutant,
        settled: &dyn Fn(KindId, PurposeId) -> Circumstances,
        visit: &mut dyn FnMut(&[MutantDifference<'a>]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(mutated) = mutant.pack() else { return ControlFlow::Continue(()) };
        let mut changed = CellPairs::default();
        let rows = self.request_cells(mutant.at, mutated, &mut changed);
        let mut seen = HashSet::new();
        for field in self.fields {
            for RequestCells { question, versions, answered } in &rows {
                let (operation, kind, purpose) = *question;
                let of = |&(category, _): &(CategoryId, Circumstances)| *versions.get(category.index())?;
                let numbers: Option<SmallVec<[usize; 2]>> = field.categories.iter().map(of).collect();
                let Some(numbers) = numbers else { continue };
                let start = settled(kind, purpose);
                let given: SmallVec<[Circumstances; 2]> =
                    field.categories.iter().map(|&(_, given)| given).collect();
                let is_disclosed = operation == Operation::Disclose;
                if !seen.insert((is_disclosed, *answered, start, numbers.clone(), given.clone())) {
                    continue;
                }
                let pairs = numbers.iter().zip(given);
                let pairs = pairs.filter_map(|(&number, given)| Some((changed.list.get(number)?, given)));
                let mut walk = PairSearch { pairs: pairs.collect(), values: HashMap::new() };
                let mut found = Vec::new();
                let mut leaf = |circumstances, forms: [Form; 2]| {
                    // What is not answered is refused.
                    let seen = |(form, &answered)| if answered { form } else { Form::Removed };
                    let mut forms = forms.into_iter().zip(answered).map(seen);
                    let (Some(old), Some(new)) = (forms.next(), forms.next()) else { return };
                    if old != new {
                        found.push(MutantDifference {
                            operation,
                            kind,
                            purpose,
                            field,
                            circumstances,
                            old,
                            new,
                        });
                    }
                };
                walk.visit(start, &mut leaf);
                if !found.is_empty() {
                    visit(&found)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The questions that either version of a rule is about and that something can be released for,
    /// disclosures first.
    fn request_cells(&mut self, at: RuleIndex, mutated: &Pack, changed: &mut CellPairs) -> Vec<RequestCells> {
        let pack = self.pack;
        let rules = [pack, mutated].map(|pack| pack.rulebook().rule(at));
        let [Some(old), Some(new)] = rules else { return Vec::new() };
        let mut search = CellEvaluator::new(mutated.rulebook());
        let words = pack.vocabulary();
        let mut rows = Vec::new();
        for &operation in Operation::ALL {
            for kind in words.kinds().preorder() {
                for purpose in words.purposes().preorder() {
                    let question = (operation, kind, purpose);
                    let concerned = |rule: &Rule| rule.concerns(kind, purpose, operation);
                    let is_changed = concerned(old) || concerned(new);
                    // What comes back is judged as a disclosure: where none is possible nothing is carried out.
                    let answered = [pack, mutated].map(|pack| {
                        let is_possible = |operation| pack.rulebook().can_permit(kind, purpose, operation);
                        is_possible(operation) && is_possible(Operation::Disclose)
                    });
                    if !is_changed || answered == [false; 2] {
                        continue;
                    }
                    let slices = self.slices(question).to_vec();
                    let versions = slices.into_iter().zip(words.categories().ids());
                    let versions = versions.map(|(number, category)| {
                        let point = (kind, purpose, category);
                        let reached = new.reaches_any_form((kind, purpose, category, operation));
                        let rule = reached.then(|| search.rule(at, new, point, operation));
                        changed.number(at, number, self.distinct.get(number)?, rule)
                    });
                    let versions: Vec<Option<usize>> = versions.collect();
                    let differs =
                        |number: &usize| changed.list.get(*number).is_some_and(CellPair::may_differ);
                    if versions.iter().flatten().any(differs) {
                        rows.push(RequestCells { question, versions, answered });
                    }
                }
            }
        }
        rows
    }

    /// The slice of each category among the distinct ones.
    fn slices(&mut self, question: RequestKey) -> &[usize] {
        let Comparison { pack, search, slices, distinct, numbers, .. } = self;
        let (operation, kind, purpose) = question;
        slices.entry(question).or_insert_with(|| {
            let number = |category| {
                let worked = search.full_cell(operation, (kind, purpose, category));
                *numbers.entry(worked.key()).or_insert_with(|| {
                    distinct.push(Arc::new(worked));
                    distinct.len() - 1
                })
            };
            pack.vocabulary().categories().ids().map(number).collect()
        })
    }
}

impl CellPairs {
    /// The number of a slice with the changed rule; none where nothing leaves in either version.
    fn number(
        &mut self,
        at: RuleIndex,
        slice: usize,
        old: &Arc<EvaluatedCell>,
        rule: Option<EvaluatedRule>,
    ) -> Option<usize> {
        let tables = rule.iter().flat_map(|rule| &rule.conditions).map(|table| Arc::as_ptr(table) as usize);
        let forms = rule.as_ref().map(|rule| rule.forms.clone()).unwrap_or_default();
        let key = (slice, forms, tables.collect());
        let number = match self.numbers.get(&key) {
            Some(&known) => known,
            None => {
                let others = old.rules.iter().filter(|other| other.at != at).cloned();
                let new = EvaluatedCell::new(others.chain(rule.clone()).collect());
                let rules = [old.rules.iter().find(|rule| rule.at == at).cloned(), rule];
                self.list.push(CellPair { old: Arc::clone(old), new, rules });
                self.numbers.insert(key, self.list.len() - 1);
                self.list.len() - 1
            }
        };
        self.list.get(number).filter(|versions| !versions.is_closed()).map(|_| number)
    }
}

impl CellPair {
    /// True if nothing leaves in either version.
    fn is_closed(&self) -> bool {
        self.old.forms.is_empty() && self.new.forms.is_empty()
    }

    fn may_differ(&self) -> bool {
        self.rules.iter().any(Option::is_some)
    }
}

/// One search over the facts.
struct PairSearch<'p> {
    /// The categories of a field, each with what is given for it.
    pairs: Vec<(&'p CellPair, Circumstances)>,
    /// The values of a fact that make a difference.
    values: HashMap<Fact, Vec<u8>>,
}

impl PairSearch<'_> {
    fn visit(&mut self, known: Circumstances, leaf: &mut dyn FnMut(Circumstances, [Form; 2])) {
        let fact = match self.divergence(known) {
            Divergence::Never => return,
            Divergence::DependsOn(fact) => Some(fact),
            Divergence::Here => None,
        };
        let mut forms = [Form::Clear; 2];
        let fact = fact.or_else(|| {
            for (versions, given) in &self.pairs {
                let known = with(known, *given);
                for (slice, form) in [&*versions.old, &versions.new].into_iter().zip(&mut forms) {
                    match slice.step(known) {
                        SearchStep::Settled(outcome) => *form = outcome.form.max(*form),
                        SearchStep::Branch(fact) => return Some(fact),
                    }
                }
            }
            None
        });
        match fact {
            Some(fact) => {
                for value in self.values(fact) {
                    self.visit(known.with(fact, value), leaf);
                }
            }
            None if forms[0] != forms[1] => leaf(known, forms),
            None => {}
        }
    }

    /// Whether the two versions of the rule part.
    fn divergence(&self, known: Circumstances) -> Divergence {
        let mut parts = Divergence::Never;
        for (versions, given) in &self.pairs {
            let known = with(known, *given);
            let forms = versions.old.forms.iter().chain(&versions.new.forms);
            for &form in forms {
                let mut truths = [Truth::False; 2];
                for (rule, truth) in versions.rules.iter().zip(&mut truths) {
                    let Some(rule) = rule else { continue };
                    *truth = rule.truth(form, known);
                    if *truth == Truth::Unknown
                        && let Some(fact) = rule.undecided_fact(form, known)
                    {
                        return Divergence::DependsOn(fact);
                    }
                }
                if truths[0] != truths[1] {
                    parts = Divergence::Here;
                }
            }
        }
        parts
    }

    /// The values of a fact that make a difference to some slice, one of each sort.
    fn values(&mut self, fact: Fact) -> Vec<u8> {
        let pairs = &self.pairs;
        let sorted = || {
            let slices = pairs.iter().flat_map(|(versions, _)| [&*versions.old, &versions.new]);
            let tables = slices.flat_map(|slice| &slice.rules).flat_map(|rule| &rule.conditions);
            let tables: Vec<_> = tables.filter(|table| table.facts.contains(fact)).collect();
            let mask = FactSet::of(fact);
            let mut sorts: Vec<(Vec<(Facts, bool)>, u8)> = Vec::new();
            for value in 0..u8::try_from(fact.values().len()).unwrap_or(0) {
                let rows = tables.iter().flat_map(|table| &table.rows);
                let rows = rows.filter(|(facts, _)| facts.get(fact) == value);
                let sort = rows.map(|&(facts, holds)| (facts.overlay(Facts::default(), mask), holds));
                let sort: Vec<(Facts, bool)> = sort.collect();
                if !sorts.iter().any(|(known, _)| *known == sort) {
                    sorts.push((sort, value));
                }
            }
            sorts.into_iter().map(|(_, value)| value).collect()
        };
        self.values.entry(fact).or_insert_with(sorted).clone()
    }
}

/// Whether two versions of a rule say different things.
enum Divergence {
    /// They say the same.
    Never,
    Here,
    DependsOn(Fact),
}

/// The facts with what is given for one category.
fn with(known: Circumstances, Circumstances { facts, fixed }: Circumstances) -> Circumstances {
    Circumstances { facts: known.facts.overlay(facts, fixed), fixed: known.fixed.union(fixed) }
}
