//! Compares a pack with its mutants: finds the effect of a change of one rule on disclosures and operations.
//!
//! The comparison is complete over the vocabulary and the facts: every point that either version of the rule
//! reaches is searched. Results can differ only where the two versions of the rule differ, so the search fixes the
//! facts of the changed rule first, and continues only where the versions differ.

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

/// A field and its categories. The field gets the least revealing of the forms of its categories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedField {
    /// The categories, each with the facts that follow from the field itself. The categories that a mapping names
    /// come first, then those that the field may also contain.
    pub categories: Vec<(CategoryId, Circumstances)>,
    /// Number of categories that a mapping names.
    pub named: usize,
}

/// A request for which the mutant's result differs from the pack's.
#[derive(Clone, Copy, Debug)]
pub struct MutantDifference<'f> {
    /// Operation of the request.
    pub operation: Operation,
    /// Recipient kind.
    pub kind: KindId,
    /// Purpose.
    pub purpose: PurposeId,
    /// The field whose result differs.
    pub field: &'f JudgedField,
    /// The facts that the difference needs; the others can have any value.
    pub circumstances: Circumstances,
    /// Result of the pack.
    pub old: Form,
    /// Result of the mutant.
    pub new: Form,
}

/// Compares a pack with its mutants. Caches the cells of the pack.
#[derive(Debug)]
pub struct Comparison<'a> {
    pack: &'a Pack,
    fields: &'a [JudgedField],
    evaluator: CellEvaluator<'a>,
    /// For each request, the index in `distinct_cells` of the cell of each category.
    cells: HashMap<RequestKey, Vec<usize>>,
    distinct_cells: Vec<Arc<EvaluatedCell>>,
    indices: HashMap<CellKey, usize>,
}

type RequestKey = (Operation, KindId, PurposeId);

/// A cell of the pack and the same cell of the mutant.
#[derive(Debug)]
struct CellPair {
    old: Arc<EvaluatedCell>,
    new: EvaluatedCell,
    /// The changed rule in either version, if it reaches the cell.
    rules: [Option<EvaluatedRule>; 2],
}

/// The pairs of cells of one mutant, without repetitions.
#[derive(Debug, Default)]
struct CellPairs {
    list: Vec<CellPair>,
    indices: HashMap<CellPairKey, usize>,
}

/// Index of the cell in the old pack, and the forms and conditions of the rule in the new one.
type CellPairKey = (usize, SmallVec<[Form; 4]>, Vec<usize>);

/// The cells of one request. `pair_indices` holds the index of each category's pair of cells, or `None` if neither
/// version releases anything. `permits_any` is true for each version that permits anything at all.
struct RequestCells {
    request: RequestKey,
    pair_indices: Vec<Option<usize>>,
    permits_any: [bool; 2],
}

impl<'a> Comparison<'a> {
    /// Makes a comparison over these fields, in their order.
    pub fn new(pack: &'a Pack, fields: &'a [JudgedField]) -> Comparison<'a> {
        Comparison {
            pack,
            fields,
            evaluator: CellEvaluator::new(pack.rulebook()),
            cells: HashMap::new(),
            distinct_cells: Vec::new(),
            indices: HashMap::new(),
        }
    }

    /// Calls `visit` for each group of differences between a mutant and the pack. `settled` returns the facts
    /// that are fixed for a kind and purpose before any rule is evaluated.
    ///
    /// # Errors
    /// Returns the value with which the visitor stopped.
    pub fn differences<B>(
        &mut self,
        mutant: &Mutant,
        settled: &dyn Fn(KindId, PurposeId) -> Circumstances,
        visit: &mut dyn FnMut(&[MutantDifference<'a>]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(mutated) = mutant.pack() else { return ControlFlow::Continue(()) };
        let mut all_pairs = CellPairs::default();
        let requests = self.request_cells(mutant.at, mutated, &mut all_pairs);
        let mut seen = HashSet::new();
        for field in self.fields {
            for RequestCells { request, pair_indices, permits_any } in &requests {
                let (operation, kind, purpose) = *request;
                let of =
                    |&(category, _): &(CategoryId, Circumstances)| *pair_indices.get(category.index())?;
                let indices: Option<SmallVec<[usize; 2]>> = field.categories.iter().map(of).collect();
                let Some(indices) = indices else { continue };
                let start = settled(kind, purpose);
                let given: SmallVec<[Circumstances; 2]> =
                    field.categories.iter().map(|&(_, given)| given).collect();
                let is_disclosed = operation == Operation::Disclose;
                if !seen.insert((is_disclosed, *permits_any, start, indices.clone(), given.clone())) {
                    continue;
                }
                let pairs = indices.iter().zip(given);
                let pairs = pairs.filter_map(|(&index, given)| Some((all_pairs.list.get(index)?, given)));
                let mut search = PairSearch { pairs: pairs.collect(), values: HashMap::new() };
                let mut found = Vec::new();
                let mut leaf = |circumstances, forms: [Form; 2]| {
                    // A version that permits nothing refuses the request.
                    let result = |(form, &permits_any)| if permits_any { form } else { Form::Removed };
                    let mut forms = forms.into_iter().zip(permits_any).map(result);
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
                search.visit(start, &mut leaf);
                if !found.is_empty() {
                    visit(&found)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Returns the requests that either version of a rule concerns and for which something can be released,
    /// disclosures first.
    fn request_cells(&mut self, at: RuleIndex, mutated: &Pack, pairs: &mut CellPairs) -> Vec<RequestCells> {
        let pack = self.pack;
        let rules = [pack, mutated].map(|pack| pack.rulebook().rule(at));
        let [Some(old), Some(new)] = rules else { return Vec::new() };
        let mut evaluator = CellEvaluator::new(mutated.rulebook());
        let words = pack.vocabulary();
        let mut requests = Vec::new();
        for &operation in Operation::ALL {
            for kind in words.kinds().preorder() {
                for purpose in words.purposes().preorder() {
                    let request = (operation, kind, purpose);
                    let concerned = |rule: &Rule| rule.concerns(kind, purpose, operation);
                    let is_changed = concerned(old) || concerned(new);
                    // The response to an operation is evaluated as a disclosure. If no disclosure is possible, the
                    // operation is refused.
                    let permits_any = [pack, mutated].map(|pack| {
                        let is_possible = |operation| pack.rulebook().can_permit(kind, purpose, operation);
                        is_possible(operation) && is_possible(Operation::Disclose)
                    });
                    if !is_changed || permits_any == [false; 2] {
                        continue;
                    }
                    let cells = self.cells(request).to_vec();
                    let pair_indices = cells.into_iter().zip(words.categories().ids());
                    let pair_indices = pair_indices.map(|(index, category)| {
                        let point = (kind, purpose, category);
                        let reached = new.reaches_any_form((kind, purpose, category, operation));
                        let rule = reached.then(|| evaluator.rule(at, new, point, operation));
                        pairs.intern(at, index, self.distinct_cells.get(index)?, rule)
                    });
                    let pair_indices: Vec<Option<usize>> = pair_indices.collect();
                    let differs = |index: &usize| pairs.list.get(*index).is_some_and(CellPair::may_differ);
                    if pair_indices.iter().flatten().any(differs) {
                        requests.push(RequestCells { request, pair_indices, permits_any });
                    }
                }
            }
        }
        requests
    }

    /// Returns the index in `distinct_cells` of each category's cell.
    fn cells(&mut self, request: RequestKey) -> &[usize] {
        let Comparison { pack, evaluator, cells, distinct_cells, indices, .. } = self;
        let (operation, kind, purpose) = request;
        cells.entry(request).or_insert_with(|| {
            let index = |category| {
                let evaluated = evaluator.full_cell(operation, (kind, purpose, category));
                *indices.entry(evaluated.key()).or_insert_with(|| {
                    distinct_cells.push(Arc::new(evaluated));
                    distinct_cells.len() - 1
                })
            };
            pack.vocabulary().categories().ids().map(index).collect()
        })
    }
}

impl CellPairs {
    /// Returns the index of the pair of a cell and the same cell with the changed rule. Returns `None` if neither
    /// version releases anything.
    fn intern(
        &mut self,
        at: RuleIndex,
        cell: usize,
        old: &Arc<EvaluatedCell>,
        rule: Option<EvaluatedRule>,
    ) -> Option<usize> {
        let tables = rule.iter().flat_map(|rule| &rule.conditions).map(|table| Arc::as_ptr(table) as usize);
        let forms = rule.as_ref().map(|rule| rule.forms.clone()).unwrap_or_default();
        let key = (cell, forms, tables.collect());
        let index = match self.indices.get(&key) {
            Some(&known) => known,
            None => {
                let others = old.rules.iter().filter(|other| other.at != at).cloned();
                let new = EvaluatedCell::new(others.chain(rule.clone()).collect());
                let rules = [old.rules.iter().find(|rule| rule.at == at).cloned(), rule];
                self.list.push(CellPair { old: Arc::clone(old), new, rules });
                self.indices.insert(key, self.list.len() - 1);
                self.list.len() - 1
            }
        };
        self.list.get(index).filter(|pair| !pair.never_releases()).map(|_| index)
    }
}

impl CellPair {
    /// True if neither version releases anything.
    fn never_releases(&self) -> bool {
        self.old.forms.is_empty() && self.new.forms.is_empty()
    }

    fn may_differ(&self) -> bool {
        self.rules.iter().any(Option::is_some)
    }
}

/// A search over the facts for differences between the cells of one field.
struct PairSearch<'p> {
    /// The cells of the field's categories, each with the facts given for it.
    pairs: Vec<(&'p CellPair, Circumstances)>,
    /// The values of a fact that lead to different results, once computed.
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
            for (pair, given) in &self.pairs {
                let known = with(known, *given);
                for (cell, form) in [&*pair.old, &pair.new].into_iter().zip(&mut forms) {
                    match cell.step(known) {
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

    /// Compares the two versions of the rule under the known facts.
    fn divergence(&self, known: Circumstances) -> Divergence {
        let mut parts = Divergence::Never;
        for (pair, given) in &self.pairs {
            let known = with(known, *given);
            let forms = pair.old.forms.iter().chain(&pair.new.forms);
            for &form in forms {
                let mut truths = [Truth::False; 2];
                for (rule, truth) in pair.rules.iter().zip(&mut truths) {
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

    /// Groups the values of a fact that lead to equal results in every cell, and returns one value of each group.
    fn values(&mut self, fact: Fact) -> Vec<u8> {
        let pairs = &self.pairs;
        let sorted = || {
            let cells = pairs.iter().flat_map(|(pair, _)| [&*pair.old, &pair.new]);
            let tables = cells.flat_map(|cell| &cell.rules).flat_map(|rule| &rule.conditions);
            let tables: Vec<_> = tables.filter(|table| table.facts.contains(fact)).collect();
            let mask = FactSet::of(fact);
            let mut classes: Vec<(Vec<(Facts, bool)>, u8)> = Vec::new();
            for value in 0..u8::try_from(fact.values().len()).unwrap_or(0) {
                let rows = tables.iter().flat_map(|table| &table.rows);
                let rows = rows.filter(|(facts, _)| facts.get(fact) == value);
                let class = rows.map(|&(facts, holds)| (facts.overlay(Facts::default(), mask), holds));
                let class: Vec<(Facts, bool)> = class.collect();
                if !classes.iter().any(|(known, _)| *known == class) {
                    classes.push((class, value));
                }
            }
            classes.into_iter().map(|(_, value)| value).collect()
        };
        self.values.entry(fact).or_insert_with(sorted).clone()
    }
}

/// The result of comparing two versions of a rule under partly known facts.
enum Divergence {
    /// The versions do not differ, whatever the unknown facts are.
    Never,
    /// The versions differ.
    Here,
    /// The result depends on this unknown fact.
    DependsOn(Fact),
}

/// Returns the circumstances with the facts given for one category.
fn with(known: Circumstances, Circumstances { facts, fixed }: Circumstances) -> Circumstances {
    Circumstances { facts: known.facts.overlay(facts, fixed), fixed: known.fixed.union(fixed) }
}
