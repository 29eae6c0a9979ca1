//! The disclosure cases: which wait for an approval, are in force, have ended.

use std::cmp::Reverse;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::filters;
use super::json_text::{short_time, text};
use super::list_page::ListPage;
use super::problem_page::PageProblem;
use super::visitor::Visitor;
use crate::gateway::admin::request::QueryOf;
use crate::ledger::{APPROVALS, Case, CaseStatus};

/// The states of the filter: names, and words for people.
const STATES: [(&str, &str); 3] =
    [("registered", "waits for approval"), ("in-force", "in force"), ("ended", "ended")];

#[derive(Template)]
#[template(path = "cases.html")]
struct CasesPage {
    chrome: Chrome,
    filter: CaseFilter,
    list: ListPage<CaseRow>,
    /// True if no case was ever registered.
    is_empty: bool,
    may_register: bool,
}

/// The filter, as the form sends it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CaseFilter {
    /// The name of a status; empty for all.
    state: String,
    page: usize,
}

/// A case of the list. Who it is about stands on no list.
#[derive(Debug)]
struct CaseRow {
    id: String,
    reference: String,
    recipient: String,
    purpose: String,
    people: usize,
    end: String,
    state: StateChip,
}

impl CaseRow {
    fn of(id: &str, known: &Case, case: &Value) -> CaseRow {
        CaseRow {
            id: id.to_owned(),
            reference: text(case, "reference"),
            recipient: text(case, "recipient"),
            purpose: text(case, "purpose"),
            people: people(case).len(),
            end: short_time(&text(case, "end")),
            state: case_chip(known, Timestamp::now()),
        }
    }
}

/// Returns the people of a case as its registration names them.
pub(super) fn people(case: &Value) -> &[Value] {
    case.get("subjects").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the chip of a case's state.
pub(super) fn case_chip(case: &Case, now: Timestamp) -> StateChip {
    match case.status(now) {
        CaseStatus::InForce => StateChip::good("in force"),
        CaseStatus::Registered => {
            StateChip::bad(format!("waits for approval: {} of {APPROVALS}", case.approvals()))
        }
        CaseStatus::Ended => StateChip::warn("ended"),
    }
}

/// Shows the list.
pub(super) async fn cases(
    State(console): State<Console>,
    visitor: Visitor,
    QueryOf(filter): QueryOf<CaseFilter>,
) -> Result<Response, PageProblem> {
    let mut known = console.admin.shared.ledger.cases();
    let (is_empty, now) = (known.is_empty(), Timestamp::now());
    known.retain(|(_, case)| filter.state.is_empty() || case.status(now).name() == filter.state);
    known.sort_by_cached_key(|(id, case)| (urgency(case, now), Arc::clone(id)));
    let list = ListPage::of(known.into_iter(), filter.page, |known| known);
    let ids = list.rows.iter().map(|(id, _)| Arc::clone(id)).collect();
    let rows = console.admin.cases_of(ids).await?;
    let mut rows = rows.into_iter();
    let page = CasesPage {
        chrome: console.chrome(&visitor, "Cases", "/console/cases"),
        is_empty,
        may_register: visitor.may_see("/console/new-case"),
        list: list.map(|(id, known)| CaseRow::of(&id, &known, &rows.next().unwrap_or_default())),
        filter,
    };
    Ok(html(&page))
}

/// Orders cases: those that wait for somebody, then those that end next, then those that ended last.
fn urgency(case: &Case, now: Timestamp) -> (u8, Timestamp, Reverse<Timestamp>) {
    let never = (Timestamp::MAX, Reverse(Timestamp::MIN));
    match case.status(now) {
        CaseStatus::Registered => (0, case.end, never.1),
        CaseStatus::InForce => (1, case.end, never.1),
        CaseStatus::Ended => (2, never.0, Reverse(case.end)),
    }
}
