//! The matrix of a pack: who can receive what for which purpose, with the words of the clauses.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, html};
use super::clause_words::ClauseWords;
use super::filters;
use super::packs::{find, shown};
use super::problem_page::PageProblem;
use super::visitor::Visitor;
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::{PathText, QueryOf};
use crate::policy::Pack;
use crate::policy::matrix::{Matrix, MatrixEntry, MatrixSection, Row, matrix};

#[derive(Template)]
#[template(path = "matrix.html")]
struct MatrixPage {
    chrome: Chrome,
    pack: String,
    version: String,
    left_out: String,
    /// For each kind its name, and if its section is shown.
    kinds: Vec<(String, bool)>,
    alike: String,
    rows: Vec<PurposeView>,
}

/// One purpose of a section.
#[derive(Debug)]
struct PurposeView {
    purpose: String,
    operations: String,
    entries: Vec<EntryLine>,
}

/// Categories that leave in the same way.
#[derive(Debug)]
struct EntryLine {
    categories: String,
    form: &'static str,
    basis: &'static str,
    needs: String,
    rules: String,
    clauses: Vec<(String, String)>,
}

/// The kind of recipient that is shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MatrixQuery {
    kind: Option<String>,
}

/// Shows a matrix, for one kind of recipient at a time.
pub(super) async fn show(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(name): PathText,
    QueryOf(MatrixQuery { kind }): QueryOf<MatrixQuery>,
) -> Result<Response, PageProblem> {
    let snapshot = console.admin.shared.snapshot();
    let now = Timestamp::now();
    let pack = shown(find(&snapshot, &name, now)?, now).ok_or_else(AdminProblem::not_found)?;
    let computed = console.matrix(pack).await?;
    let section = section(&computed, kind.as_deref()).ok_or_else(AdminProblem::not_found)?;
    let words = ClauseWords::of_packs([pack]);
    let kinds = computed.sections.iter().flat_map(|known| known.kinds.iter().map(move |kind| (known, kind)));
    let chosen = kind.as_deref().or(section.kinds.first().map(String::as_str)).unwrap_or_default().to_owned();
    let page = MatrixPage {
        chrome: console.chrome(&visitor, format!("Matrix of {}", computed.title), "/console/matrix"),
        pack: computed.title.clone(),
        version: computed.version.clone(),
        left_out: computed.left_out.clone(),
        kinds: kinds.map(|(_, kind)| (kind.clone(), *kind == chosen)).collect(),
        alike: section.kinds.iter().filter(|kind| **kind != chosen).cloned().collect::<Vec<_>>().join(", "),
        rows: section.rows.iter().map(|row| purpose_view(row, &words)).collect(),
    };
    Ok(html(&page))
}

/// Leads to the matrix of the first pack.
pub(super) async fn first(State(console): State<Console>) -> Result<Response, PageProblem> {
    let snapshot = console.admin.shared.snapshot();
    let first = snapshot.packs.first().and_then(|versions| shown(versions, Timestamp::now()));
    let title = &first.ok_or_else(AdminProblem::not_found)?.manifest().title;
    let name = percent_encoding::utf8_percent_encode(title, percent_encoding::NON_ALPHANUMERIC);
    Ok(Redirect::to(&format!("/console/matrix/{name}")).into_response())
}

/// Returns the section of a kind; without one, the first section with anything in it.
fn section<'m>(computed: &'m Matrix, kind: Option<&str>) -> Option<&'m MatrixSection> {
    let mut sections = computed.sections.iter();
    match kind {
        Some(kind) => sections.find(|section| section.kinds.iter().any(|known| known == kind)),
        None => sections.find(|section| !section.rows.is_empty()).or(computed.sections.first()),
    }
}

fn purpose_view(row: &Row, words: &ClauseWords) -> PurposeView {
    let mut lines: Vec<(&MatrixEntry, EntryLine)> = Vec::new();
    for entry in row.entries.iter().flatten() {
        let name = match entry.except.is_empty() {
            true => entry.category.clone(),
            false => format!("{} (but {})", entry.category, entry.except.join(", ")),
        };
        let is_alike = |known: &MatrixEntry| {
            (known.form, known.basis, &known.rules, &known.needs)
                == (entry.form, entry.basis, &entry.rules, &entry.needs)
        };
        match lines.iter_mut().find(|(known, _)| is_alike(known)) {
            Some((_, line)) => line.categories = format!("{}, {name}", line.categories),
            None => lines.push((
                entry,
                EntryLine {
                    categories: name,
                    form: entry.form.name(),
                    basis: entry.basis.unwrap_or_default(),
                    needs: entry.needs.clone(),
                    rules: entry.rules.join(", "),
                    clauses: words.of(&entry.clauses),
                },
            )),
        }
    }
    PurposeView {
        purpose: row.purpose.clone(),
        operations: row.operations.join(", "),
        entries: lines.into_iter().map(|(_, line)| line).collect(),
    }
}

impl Console {
    /// Returns the matrix of a pack, computed once: it takes seconds.
    async fn matrix(&self, pack: &Arc<Pack>) -> Result<Arc<Matrix>, AdminProblem> {
        let (memory, computing) = (&self.memory, Arc::clone(pack));
        memory.matrices.get(pack.revision(), &memory.threads, move || matrix(&computing)).await
    }
}
