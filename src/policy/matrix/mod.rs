//! The matrix of a pack: everything that it releases or permits, by recipient kind, purpose and data category.
//!
//! The matrix is computed by evaluation, and rendered as text ([`table`]) or as a page ([`html`]).

mod html;
mod table;

use serde::Serialize;

pub use html::html;
pub use table::table;

use std::ops::ControlFlow;

use super::cell_evaluator::{CellEvaluator, CellInput, CellOutcome, Circumstances, EvaluatedCell, outcomes};
use super::facts::{Fact, FactSet, Facts};
use super::pack::Pack;
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId, Tree, Vocabulary};

/// Everything that a pack releases or permits.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// Title of the pack.
    pub title: String,
    /// Version of the pack.
    pub version: String,
    /// Describes what the matrix does not show.
    pub left_out: String,
    /// One section for each kind, or for several kinds with equal content.
    pub sections: Vec<MatrixSection>,
    /// The pack's clauses.
    pub clauses: Vec<CitedClause>,
}

/// The part of a matrix for recipients of some kinds.
#[derive(Clone, Debug, Serialize)]
pub struct MatrixSection {
    /// Recipient kinds.
    pub kinds: Vec<String>,
    /// The personal and service-data categories that these kinds receive or may process, for at least one purpose.
    pub categories: Vec<String>,
    /// One row for each purpose and set of operations.
    pub rows: Vec<Row>,
}

/// One purpose, with the categories that are released or may be processed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Purpose.
    pub purpose: String,
    /// `disclose`, or the operations that are permitted for the same categories.
    pub operations: Vec<&'static str>,
    /// Entries in the order of the section's categories; `None` where nothing is released.
    pub entries: Vec<Option<MatrixEntry>>,
}

/// One category, and how it is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatrixEntry {
    /// Category.
    pub category: String,
    /// The most revealing form in which it is released.
    pub form: Form,
    /// Legal basis of the release.
    pub basis: Option<&'static str>,
    /// Ids of the permits that release it.
    pub rules: Vec<String>,
    /// Clauses that these rules cite.
    pub clauses: Vec<String>,
    /// The facts about the person and the request that the release requires, with every alternative. Empty if the
    /// category is released unless a prohibition applies.
    pub needs: String,
    /// Categories below this one whose entry differs.
    pub except: Vec<String>,
}

impl Row {
    /// True if the row is about disclosures.
    pub(super) fn is_disclosure(&self) -> bool {
        self.operations == [Operation::Disclose.name()]
    }
}

/// A clause of the pack, for the legend.
#[derive(Clone, Debug, Serialize)]
pub struct CitedClause {
    /// Id of the clause.
    pub id: String,
    /// Summary of the clause.
    pub title: String,
}

/// Computes the matrix. Categories that are not about a person, and are therefore released for every purpose, are
/// left out.
pub fn matrix(pack: &Pack) -> Matrix {
    let words = pack.vocabulary();
    let mut evaluator = CellEvaluator::new(pack.rulebook());
    let mut sections: Vec<MatrixSection> = Vec::new();
    for kind in words.kinds().preorder() {
        let section = section(pack, &mut evaluator, kind);
        match sections
            .iter_mut()
            .find(|known| known.rows == section.rows && known.categories == section.categories)
        {
            Some(known) => known.kinds.extend(section.kinds),
            None => sections.push(section),
        }
    }
    let clause =
        |clause: &super::Clause| CitedClause { id: clause.id.to_string(), title: clause.title.clone() };
    Matrix {
        title: pack.manifest().title.clone(),
        version: pack.manifest().version.clone(),
        left_out: left_out(pack),
        sections,
        clauses: pack.manifest().clauses.iter().map(clause).collect(),
    }
}

/// Describes what a matrix leaves out.
fn left_out(pack: &Pack) -> String {
    let tree = pack.vocabulary().categories();
    let free = tree
        .preorder()
        .into_iter()
        .filter(|&id| !pack.vocabulary().governs_operations(id))
        .map(|id| tree.name(id));
    let free: Vec<&str> = free.collect();
    format!(
        "categories that are not about a person ({}), which may also be released for other purposes; and everything \
         that withholds what is shown here: an objection, an erasure, a restriction, an opt-out and the other prohibitions.",
        free.join(", ")
    )
}

fn section(pack: &Pack, evaluator: &mut CellEvaluator<'_>, kind: KindId) -> MatrixSection {
    let words = pack.vocabulary();
    let personal: Vec<CategoryId> =
        words.categories().preorder().into_iter().filter(|&id| words.governs_operations(id)).collect();
    let mut rows: Vec<Row> = Vec::new();
    for purpose in words.purposes().preorder() {
        // Operations with equal entries share a row.
        let mut of_purpose: Vec<Row> = Vec::new();
        for &operation in Operation::ALL {
            let entries = entries(pack, evaluator, &personal, (operation, kind, purpose));
            if entries.iter().all(Option::is_none) {
                continue;
            }
            let same = |row: &&mut Row| !row.is_disclosure() && row.entries == entries;
            match of_purpose.iter_mut().find(same) {
                Some(row) => row.operations.push(operation.name()),
                None => of_purpose.push(Row {
                    purpose: words.purposes().name(purpose).to_owned(),
                    operations: vec![operation.name()],
                    entries,
                }),
            }
        }
        rows.extend(of_purpose);
    }
    let used: Vec<bool> = (0..personal.len())
        .map(|at| rows.iter().any(|row| row.entries.get(at).is_some_and(Option::is_some)))
        .collect();
    for row in &mut rows {
        let mut used = used.iter();
        row.entries.retain(|_| used.next().copied().unwrap_or(false));
    }
    let categories = personal.iter().zip(&used).filter(|(_, used)| **used);
    MatrixSection {
        kinds: vec![words.kinds().name(kind).to_owned()],
        rows,
        categories: categories.map(|(&category, _)| words.categories().name(category).to_owned()).collect(),
    }
}

/// Returns the entry of each category.
fn entries(
    pack: &Pack,
    evaluator: &mut CellEvaluator<'_>,
    categories: &[CategoryId],
    (operation, kind, purpose): (Operation, KindId, PurposeId),
) -> Vec<Option<MatrixEntry>> {
    let entry = |&category: &CategoryId| entry(pack, evaluator, operation, (kind, purpose, category));
    let mut entries: Vec<Option<MatrixEntry>> = categories.iter().map(entry).collect();
    let tree = pack.vocabulary().categories();
    let known: Vec<Option<(Form, String)>> =
        entries.iter().map(|entry| entry.as_ref().map(|entry| (entry.form, entry.needs.clone()))).collect();
    for ((entry, &category), own) in entries.iter_mut().zip(categories).zip(&known) {
        let is_alike = |other| {
            let at = categories.iter().position(|&known| known == other);
            at.and_then(|at| known.get(at)) == Some(own)
        };
        if let Some(entry) = entry {
            let except = except(tree, category, &is_alike);
            entry.except = except.into_iter().map(|id| tree.name(id).to_owned()).collect();
        }
    }
    entries
}

/// Returns the outermost categories below `category` whose entry differs from that of `category`.
fn except(
    tree: &Tree<CategoryId>,
    category: CategoryId,
    is_alike: &dyn Fn(CategoryId) -> bool,
) -> Vec<CategoryId> {
    let children = tree.preorder().into_iter().filter(|&id| tree.parent(id) == Some(category));
    let of_child = |child| match is_alike(child) {
        true => except(tree, child, is_alike),
        false => vec![child],
    };
    children.flat_map(of_child).collect()
}

fn entry(
    pack: &Pack,
    evaluator: &mut CellEvaluator<'_>,
    operation: Operation,
    point: (KindId, PurposeId, CategoryId),
) -> Option<MatrixEntry> {
    let (kind, purpose, category) = point;
    let words = pack.vocabulary();
    let rulebook = pack.rulebook();
    let cell: EvaluatedCell = evaluator.cell_for(operation, kind, purpose, category);
    let usual = rulebook.judge_operation(operation, point, Facts::default());
    let (form, alternatives) = alternatives(&cell)?;
    let verdict = match alternatives.first() {
        Some(first) if usual.form != form => rulebook.judge_operation(operation, point, first.facts),
        _ => usual,
    };
    let needs = in_words(&alternatives, words);
    let rules: Vec<_> = verdict.rules.iter().filter_map(|&at| rulebook.rule(at)).collect();
    let mut clauses: Vec<String> =
        rules.iter().flat_map(|rule| &rule.clauses).map(ToString::to_string).collect();
    clauses.dedup();
    Some(MatrixEntry {
        category: words.categories().name(category).to_owned(),
        form: verdict.form,
        basis: verdict.basis.map(Basis::name),
        rules: rules.iter().map(|rule| rule.id.to_string()).collect(),
        clauses,
        needs,
        except: Vec::new(),
    })
}

/// Returns the most revealing form in which the cell can release its category, and each minimal set of facts that
/// leads to this form.
fn alternatives(cell: &EvaluatedCell) -> Option<(Form, Vec<Circumstances>)> {
    let mut best = Form::Removed;
    let mut found: Vec<Circumstances> = Vec::new();
    let mut visit = |circumstances: Circumstances, outcomes: &[CellOutcome]| {
        let form = outcomes.first().map_or(Form::Removed, |outcome| outcome.form);
        if form < best {
            best = form;
            found.clear();
        }
        let plain = circumstances.non_default();
        if form == best && form != Form::Removed && !found.iter().any(|known| is_part(known, &plain)) {
            found.retain(|known| !is_part(&plain, known));
            found.push(plain);
        }
        ControlFlow::<()>::Continue(())
    };
    let given = CellInput { cell, given: Circumstances::default() };
    let _ = outcomes(&[given], Circumstances::default(), &mut visit);
    (best != Form::Removed).then_some((best, found))
}

/// True if `whole` fixes every fact that `part` fixes, to the same value.
fn is_part(part: &Circumstances, whole: &Circumstances) -> bool {
    part.fixed.is_subset(whole.fixed) && part.facts.masked(part.fixed) == whole.facts.masked(part.fixed)
}

/// Describes the facts that all alternatives need, then the further facts of each alternative: `same region;
/// service-signup or product-download`.
fn in_words(alternatives: &[Circumstances], words: &Vocabulary) -> String {
    let describe = |circumstances: &Circumstances| circumstances.describe(words).replace(" = true", "");
    let Some((first, others)) = alternatives.split_first() else { return String::new() };
    let common = |fact: &Fact| others.iter().all(|other| is_part(&only(first, FactSet::of(*fact)), other));
    let common: FactSet = first.fixed.facts().filter(common).collect();
    let rest = alternatives.iter().map(|each| describe(&only(each, each.fixed.difference(common))));
    let rest: Vec<String> = rest.filter(|words| !words.is_empty()).collect();
    let parts = [describe(&only(first, common)), rest.join(" or ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn only(circumstances: &Circumstances, mask: FactSet) -> Circumstances {
    Circumstances { facts: circumstances.facts.masked(mask), fixed: mask }
}

/// Letter of a form, so that the matrix is readable without colours.
pub(super) const fn letter(form: Form) -> &'static str {
    match form {
        Form::Clear => "C",
        Form::Masked => "M",
        Form::Generalised => "G",
        Form::Pseudonymised => "P",
        Form::Removed => "–",
    }
}
