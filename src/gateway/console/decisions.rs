//! The list of decisions: what the log holds, newest first.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::event_form::offered_recipients;
use super::filters;
use super::json_text::{number, short_time, text};
use super::problem_page::PageProblem;
use super::visitor::Visitor;
use crate::gateway::admin::act::PendingAct;
use crate::gateway::admin::decision::DecisionsQuery;
use crate::gateway::admin::request::QueryOf;

/// Number of decisions of a page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "decisions.html")]
struct DecisionsPage {
    chrome: Chrome,
    filter: DecisionFilter,
    /// Names to choose from; empty if the roles do not permit the list, or there are too many.
    recipients: Vec<String>,
    routes: Vec<String>,
    rows: Vec<DecisionRow>,
    /// Faults of logs that could not be read.
    faults: Vec<String>,
    /// The query of the next page.
    next: Option<String>,
}

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

    fn is_empty(&self) -> bool {
        let DecisionFilter { recipient, purpose, route, outcome, case, cursor } = self;
        [recipient, purpose, route, outcome, case, cursor].into_iter().all(String::is_empty)
    }
}

/// One decision of the list.
#[derive(Debug)]
struct DecisionRow {
    id: String,
    time: String,
    recipient: String,
    purpose: String,
    route: String,
    outcome: StateChip,
    records: u64,
    withheld_records: u64,
}

impl DecisionRow {
    fn of(record: &Value) -> DecisionRow {
        DecisionRow {
            id: text(record, "decision"),
            time: short_time(&text(record, "time")),
            recipient: text(record, "recipient"),
            purpose: text(record, "purpose"),
            route: text(record, "route"),
            outcome: outcome_chip(&text(record, "outcome")),
            records: number(record, "records"),
            withheld_records: number(record, "withheld_records"),
        }
    }
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
    let next = answer.next.map(|cursor| DecisionFilter { cursor: cursor.text(), ..filter.clone() });
    let page = DecisionsPage {
        chrome: console.chrome(&visitor, "Decisions", "/console/decisions"),
        recipients: offered_recipients(&console, &visitor),
        routes: routes.filter(|_| visitor.may("GET", "/v1/routes")).collect(),
        rows: answer.exchanges.iter().map(DecisionRow::of).collect(),
        faults: answer.logs.into_iter().filter_map(|log| log.fault).collect(),
        next: next.map(|filter| query_text(&filter)),
        filter,
    };
    Ok(html(&page))
}

/// Returns the query of a filter. All of its texts are names of the configuration, codes and cursors.
fn query_text(filter: &DecisionFilter) -> String {
    let DecisionFilter { recipient, purpose, route, outcome, case, cursor } = filter;
    let members = [
        ("recipient", recipient),
        ("purpose", purpose),
        ("route", route),
        ("outcome", outcome),
        ("case", case),
        ("cursor", cursor),
    ];
    let encoded = members
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", filters::encode(value)));
    encoded.collect::<Vec<_>>().join("&")
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
        assert_eq!(query_text(&filter), "recipient=a%26b&outcome=refused%3Ano%2Drule%2Dpermits");
        let query = filter.query();
        assert_eq!((query.recipient.as_deref(), query.purpose, query.cursor), (Some("a&b"), None, None));
    }
}
