//! The list of decisions: what the log holds, newest first.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::chrome::{StateChip, html};
use super::event_form::offered_recipients;
use super::filters::encode;
use super::json_text::{number, short_time, text};
use super::list_page::PAGE;
use super::list_view::{FilterField, ListFilter, ListView, filtered};
use super::pager::Pager;
use super::problem_page::PageProblem;
use super::table::{DataTable, TableCell, TableColumn};
use super::visitor::Visitor;
use crate::exchange::Refusal;
use crate::gateway::admin::act::PendingAct;
use crate::gateway::admin::decision::DecisionsQuery;
use crate::gateway::admin::request::QueryOf;

const PATH: &str = "/console/decisions";
/// Stands in place of the list if the log is empty.
const NO_DECISION: &str =
    "The log has no decision yet. Each request of a recipient to a listener of this gateway adds one.";

/// The filter, as the form sends it. A field that is left empty does not narrow the list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DecisionFilter {
    recipient: String,
    purpose: String,
    route: String,
    outcome: String,
    case: String,
    cursor: String,
}

impl DecisionFilter {
    fn query(self) -> DecisionsQuery {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let DecisionFilter { recipient, purpose, route, outcome, case, cursor } = self;
        DecisionsQuery {
            recipient: given(recipient),
            purpose: given(purpose),
            route: given(route),
            outcome: given(outcome),
            case: given(case),
            limit: Some(PAGE),
            cursor: given(cursor),
            ..DecisionsQuery::default()
        }
    }

    /// Returns the path of the list after a cursor; an empty one stands for the newest.
    fn path(&self, cursor: &str) -> String {
        let DecisionFilter { recipient, purpose, route, outcome, case, cursor: _ } = self;
        filtered(
            PATH,
            &[
                ("recipient", recipient),
                ("purpose", purpose),
                ("route", route),
                ("outcome", outcome),
                ("case", case),
                ("cursor", cursor),
            ],
        )
    }

    fn is_empty(&self) -> bool {
        self.cursor.is_empty() && self.path("") == PATH
    }
}

fn row(record: &Value) -> Vec<TableCell> {
    let path = format!("{PATH}/{}", encode(&text(record, "decision")));
    vec![
        TableCell::link(path, short_time(&text(record, "time"))),
        TableCell::text(text(record, "recipient")),
        TableCell::text(text(record, "purpose")),
        TableCell::text(text(record, "route")),
        TableCell::chip(outcome_chip(&text(record, "outcome"))),
        TableCell::text(number(record, "records").to_string()),
        TableCell::text(number(record, "withheld_records").to_string()),
    ]
}

fn columns() -> Vec<TableColumn> {
    vec![
        TableColumn::time("time (UTC)"),
        TableColumn::text("recipient"),
        TableColumn::text("purpose"),
        TableColumn::text("route"),
        TableColumn::text("outcome"),
        TableColumn::number("records"),
        TableColumn::number("records withheld"),
    ]
}

/// Returns the chip of an outcome.
pub(super) fn outcome_chip(outcome: &str) -> StateChip {
    match outcome {
        "released" => StateChip::good("released"),
        "" => StateChip::warn("under way"),
        "aborted" => StateChip::warn("ended early"),
        refused => StateChip::bad(refused.replacen(':', ": ", 1)),
    }
}

/// Returns the outcomes to choose from, with their words.
fn outcomes() -> Vec<(String, String)> {
    let refused = Refusal::codes().map(|code| format!("refused:{code}"));
    let refused: BTreeSet<String> = refused.collect();
    let ended = ["released", "aborted"].map(str::to_owned).into_iter().chain(refused);
    let all = (String::new(), "all".to_owned());
    std::iter::once(all).chain(ended.map(|outcome| (outcome.clone(), outcome_chip(&outcome).text))).collect()
}

/// Shows the list.
pub(super) async fn decisions(
    State(console): State<Console>,
    visitor: Visitor,
    act: PendingAct,
    QueryOf(filter): QueryOf<DecisionFilter>,
) -> Result<Response, PageProblem> {
    let answer = console.admin.list_decisions(&act, filter.clone().query()).await?;
    let snapshot = console.admin.shared.snapshot();
    let routes = snapshot.routes.iter().map(|route| route.name.to_string());
    let routes: Vec<String> = routes.filter(|_| visitor.may("GET", "/v1/routes")).collect();
    let recipients = offered_recipients(&console, &visitor);
    let faults = answer.logs.into_iter().filter_map(|log| log.fault);
    let newest = (!filter.cursor.is_empty()).then(|| filter.path(""));
    let older = answer.next.map(|cursor| filter.path(&cursor.text()));
    Ok(html(&ListView {
        chrome: console.chrome(&visitor, "Decisions", PATH),
        lead: "what the disclosure log holds, newest first",
        filter: ListFilter {
            action: PATH,
            fields: vec![
                FilterField::name("recipient", "Recipient", &filter.recipient, &recipients),
                FilterField::name("route", "Route", &filter.route, &routes),
                FilterField::text("purpose", "Purpose", &filter.purpose),
                FilterField::choice("outcome", "Outcome", &filter.outcome, outcomes()),
                FilterField::text("case", "Case", &filter.case),
            ],
        },
        banners: faults
            .map(|fault| ("A log could not be read.", format!("The list is incomplete: {fault}")))
            .collect(),
        heading: "Decisions",
        extent: String::new(),
        intro: TableCell::default(),
        table: DataTable::new(columns(), answer.exchanges.iter().map(row).collect()),
        empty: match filter.is_empty() {
            true => TableCell::text(NO_DECISION),
            false => TableCell::text("The log has no such decision. ").and_link(PATH, "Show all"),
        },
        remark: "",
        pager: Pager::onward((newest, older), ["Newest", "Older"]),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_keeps_what_is_given() {
        let filter = DecisionFilter {
            recipient: "a&b".to_owned(),
            outcome: "refused:no-rule-permits".to_owned(),
            ..DecisionFilter::default()
        };
        let path = "/console/decisions?recipient=a%26b&outcome=refused%3Ano%2Drule%2Dpermits";
        assert_eq!(filter.path(""), path);
        assert!(!filter.is_empty() && DecisionFilter::default().is_empty());
        let query = filter.query();
        assert_eq!((query.recipient.as_deref(), query.purpose, query.cursor), (Some("a&b"), None, None));
    }
}
