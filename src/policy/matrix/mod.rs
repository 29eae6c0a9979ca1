//! A pack at a glance: recipient kinds × purposes × data categories.

mod html;
mod table;

use serde::Serialize;

pub use html::html;
pub use table::table;

use std::ops::ControlFlow;

use super::cell_evaluator::{CellEvaluator, CellInput, CellOutcome, Circumstances, EvaluatedCell, outcomes};
use super::facts::{Fact, FactSet, Facts};
use super::pack::Pack;
use crate::vocabulary::{CategoryId, Form, KindId, Operation, PurposeId, Tree, Vocabulary};

/// Everything a pack ever releases.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    pub title: String,
    pub version: String,
    /// What is not shown, in words.
    pub left_out: String,
    /// One for each kind, or for several kinds that receive the same.
    pub sections: Vec<Section>,
    pub clauses: Vec<CitedClause>,
}

/// What the recipients of some kinds receive.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub kinds: Vec<String>,
    /// The categories that any purpose releases to them, beyond what is not personal.
    pub categories: Vec<String>,
    pub rows: Vec<Row>,
}

/// One purpose, and what leaves for it or what may be done for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub purpose: String,
    /// `disclose`, or the operations that may be carried out alike.
    pub operations: Vec<&'static str>,
    /// In the order of the section's categories.
    pub entries: Vec<Option<MatrixEntry>>,
}

/// What leaves of one category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatrixEntry {
    pub category: String,
    /// The most revealing form.
    pub form: Form,
    pub basis: Option<&'static str>,
    pub rules: Vec<String>,
    pub clauses: Vec<String>,
    /// What has to hold of the person or the request, with every alternative; empty where it leaves unless
    /// something stands against it.
    pub needs: String,
    /// Categories below this one that do not leave as it does.
    pub except: Vec<String>,
}

impl Row {
    /// True if the row is about what leaves.
    pub(super) fn is_disclosure(&self) -> bool {
        self.operations == [Operation::Disclose.name()]
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct CitedClause {
    pub id: String,
    pub title: String,
}

/// Works the matrix out. What is about no person, and leaves for every purpose alike, is left out.
pub fn matrix(pack: &Pack) -> Matrix {
    let words = pack.vocabulary();
    let mut search = CellEvaluator::new(pack.rulebook());
    let mut sections: Vec<Section> = Vec::new();
    for kind in words.kinds().preorder() {
        let section = section(pack, &mut search, kind);
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

/// What a matrix leaves out.
fn left_out(pack: &Pack) -> String {
    let tree = pack.vocabulary().categories();
    let free = tree
        .preorder()
        .into_iter()
        .filter(|&id| !pack.vocabulary().governs_operations(id))
        .map(|id| tree.name(id));
    let free: Vec<&str> = free.collect();
    format!(
        "what is about no person ({}), which may leave for other purposes, too; and what withholds whatever \
         stands here: an objection, an erasure, a restriction, an opt-out and the other prohibitions.",
        free.join(", ")
    )
}

fn section(pack: &Pack, search: &mut CellEvaluator<'_>, kind: KindId) -> Section {
    let words = pack.vocabulary();
    let personal: Vec<CategoryId> =
        words.categories().preorder().into_iter().filter(|&id| words.governs_operations(id)).collect();
    let mut rows: Vec<Row> = Vec::new();
    for purpose in words.purposes().preorder() {
        // Operations that may be carried out alike share a row.
        let mut of_purpose: Vec<Row> = Vec::new();
        for &operation in Operation::ALL {
            let entries = entries(pack, search, &personal, (operation, kind, purpose));
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
    Section {
        kinds: vec![words.kinds().name(kind).to_owned()],
        rows,
        categories: categories.map(|(&category, _)| words.categories().name(category).to_owned()).collect(),
    }
}

/// What leaves, or may be done, of each category.
fn entries(
    pack: &Pack,
    search: &mut CellEvaluator<'_>,
    categories: &[CategoryId],
    (operation, kind, purpose): (Operation, KindId, PurposeId),
) -> Vec<Option<MatrixEntry>> {
    let entry = |&category: &CategoryId| entry(pack, search, operation, (kind, purpose, category));
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

/// The outermost categories below one that are not as it is.
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
    search: &mut CellEvaluator<'_>,
    operation: Operation,
    point: (KindId, PurposeId, CategoryId),
) -> Option<MatrixEntry> {
    let (kind, purpose, category) = point;
    let words = pack.vocabulary();
    let rulebook = pack.rulebook();
    let slice: EvaluatedCell = search.cell_for(operation, kind, purpose, category);
    let usual = rulebook.judge_operation(operation, point, Facts::default());
    let (form, alternatives) = alternatives(&slice)?;
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
        basis: verdict.basis.map(|basis| basis.name()),
        rules: rules.iter().map(|rule| rule.id.to_string()).collect(),
        clauses,
        needs,
        except: Vec::new(),
    })
}

/// The most revealing form in which something leaves, and the fewest facts that each way to it needs.
fn alternatives(slice: &EvaluatedCell) -> Option<(Form, Vec<Circumstances>)> {
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
    let given = CellInput { cell: slice, given: Circumstances::default() };
    let _ = outcomes(&[given], Circumstances::default(), &mut visit);
    (best != Form::Removed).then_some((best, found))
}

/// True if all that the one asks for the other asks for, too.
fn is_part(part: &Circumstances, whole: &Circumstances) -> bool {
    part.fixed.is_subset(whole.fixed) && part.facts.masked(part.fixed) == whole.facts.masked(part.fixed)
}

/// What every alternative needs, then what each needs besides: `same region; service-signup or product-download`.
fn in_words(alternatives: &[Circumstances], words: &Vocabulary) -> String {
    let said = |circumstances: &Circumstances| circumstances.describe(words).replace(" = true", "");
    let Some((first, others)) = alternatives.split_first() else { return String::new() };
    let common = |fact: &Fact| others.iter().all(|other| is_part(&only(first, FactSet::of(*fact)), other));
    let common: FactSet = first.fixed.facts().filter(common).collect();
    let rest = alternatives.iter().map(|each| said(&only(each, each.fixed.difference(common))));
    let rest: Vec<String> = rest.filter(|words| !words.is_empty()).collect();
    let parts = [said(&only(first, common)), rest.join(" or ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn only(circumstances: &Circumstances, mask: FactSet) -> Circumstances {
    Circumstances { facts: circumstances.facts.masked(mask), fixed: mask }
}

/// The letter of a form, for those who see no colours.
pub(super) const fn letter(form: Form) -> &'static str {
    match form {
        Form::Clear => "C",
        Form::Masked => "M",
        Form::Generalised => "G",
        Form::Pseudonymised => "P",
        Form::Removed => "–",
    }
}
