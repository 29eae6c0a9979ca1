//! The disclosure cases: which wait for an approval, are in force, have ended.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::Console;
use super::chrome::{StateChip, html};
use super::filters::encode;
use super::json_text::{short_time, text};
use super::list_page::ListPage;
use super::list_view::{FilterField, ListFilter, ListView, filtered};
use super::problem_page::PageProblem;
use super::table::{DataTable, TableCell, TableColumn};
use super::visitor::Visitor;
use crate::gateway::admin::case::RegisteredCase;
use crate::gateway::admin::request::QueryOf;
use crate::ledger::{APPROVALS, Case, CaseStatus};

/// The states of the filter: names, and words for people.
const STATES: [(&str, &str); 4] =
    [("", "all"), ("registered", "waits for approval"), ("in-force", "in force"), ("ended", "ended")];
pub(super) const PATH: &str = "/console/cases";
/// Stands in place of the list if no case was ever registered.
const NO_CASE: &str = "There is none. An authority receives data under a case alone: register one with the people and \
                       the categories that its order names, and have two people approve it.";

/// The filter, as the form sends it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CaseFilter {
    /// The name of a status; empty for all.
    state: String,
    page: usize,
}

fn row(id: &str, known: &Case, case: &RegisteredCase) -> Vec<TableCell> {
    let outline = &case.outline;
    let name = TableCell::link(format!("/console/cases/{}", encode(id)), id);
    vec![
        name.and_quiet_line(text(outline, "reference")),
        TableCell::chip(case_chip(known, Timestamp::now())),
        TableCell::text(text(outline, "recipient")),
        TableCell::text(text(outline, "purpose")),
        TableCell::text(case.people_count().to_string()),
        TableCell::text(short_time(&text(outline, "end"))),
    ]
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

/// Shows the list. Who the cases are about stands on no list.
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
    let stored = console.admin.cases_of(ids).await?;
    let rows = list.rows.iter().zip(stored);
    let rows = rows.filter_map(|((id, known), case)| Some(row(id, known, &case?)));
    let may_register = visitor.may_see("/console/new-case");
    Ok(html(&ListView {
        chrome: console.chrome(&visitor, "Cases", PATH),
        lead: "what authorities may receive, and who has approved it",
        filter: ListFilter {
            action: PATH,
            fields: vec![FilterField::choice("state", "State", &filter.state, STATES)],
        },
        banners: Vec::new(),
        heading: "Cases",
        extent: list.extent(),
        intro: if may_register {
            TableCell::link("/console/new-case", "Register a case")
        } else {
            TableCell::default()
        },
        table: DataTable::new(columns(), rows.collect()),
        empty: match is_empty {
            true => TableCell::text(NO_CASE),
            false => TableCell::text("No case is in this state. ").and_link(PATH, "Show all"),
        },
        remark: "",
        pager: list.pager(["Previous", "Next"], |page| {
            filtered(PATH, &[("state", &filter.state), ("page", &page.to_string())])
        }),
    }))
}

fn columns() -> Vec<TableColumn> {
    vec![
        TableColumn::text("case"),
        TableColumn::text("state"),
        TableColumn::text("recipient"),
        TableColumn::text("purpose"),
        TableColumn::number("people"),
        TableColumn::time("in force until (UTC)"),
    ]
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
