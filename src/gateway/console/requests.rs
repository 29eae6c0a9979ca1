//! Requests of people that nobody has answered yet.
//!
//! Invariant: the list names nobody. A token that only this process can make stands for each request in its form. The form
//! opens the pages of the person, and each look at them is on record with the request as its reason.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::counted::counted_by;
use super::filters;
use super::json_text::short_time;
use super::list_page::ListPage;
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::visitor::Visitor;
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::QueryOf;
use crate::ledger::{Freshness, OpenRequest};

/// Time before the due date from which the list warns.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Number of seconds of a day.
const DAY: i64 = 86_400;
/// The choice of the filter for requests that are overdue.
const OVERDUE: &str = "overdue";

#[derive(Template)]
#[template(path = "requests.html")]
struct RequestsPage {
    chrome: Chrome,
    filter: RequestFilter,
    list: ListPage<RequestRow>,
    /// Number of all open requests, and of those that are overdue.
    open: usize,
    overdue: usize,
    /// Number of answers that were recorded through this gateway since it started.
    answered: u64,
    is_current: bool,
    may_open: bool,
}

/// The filter, as its links send it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequestFilter {
    /// `overdue`, or empty for all.
    state: String,
    page: usize,
}

/// A request of the list.
#[derive(Debug)]
struct RequestRow {
    right: &'static str,
    received: String,
    due: String,
    state: StateChip,
    /// The token of the form that opens the person's pages.
    token: String,
}

/// The form that opens the person of a request.
#[derive(Debug, Deserialize)]
pub(super) struct RequestForm {
    /// The token of the request.
    request: String,
}

/// Shows the list.
pub(super) async fn requests(
    State(console): State<Console>,
    visitor: Visitor,
    QueryOf(filter): QueryOf<RequestFilter>,
) -> Result<Response, PageProblem> {
    let shared = &console.admin.shared;
    let (mut requests, now) = (shared.ledger.requests(), Timestamp::now());
    let open = requests.len();
    let overdue = requests.iter().filter(|request| request.is_overdue(now)).count();
    requests.retain(|request| filter.state != OVERDUE || request.is_overdue(now));
    let tokens = &console.memory.form_tokens;
    let list = ListPage::of(requests.into_iter(), filter.page, |request| RequestRow {
        right: request.right.name(),
        received: short_time(&request.received.to_string()),
        due: short_time(&request.due().to_string()),
        state: due_chip(&request, now),
        token: tokens.token_for(&visitor.owner, &token_bytes(&request)),
    });
    let answers = counted_by(&shared.metrics.ledger_events, ["kind"]);
    let page = RequestsPage {
        chrome: console.chrome(&visitor, "Requests", "/console/requests"),
        list,
        open,
        overdue,
        answered: answers.get(&["request-answered".to_owned()]).copied().unwrap_or(0),
        is_current: shared.ledger.freshness() == Freshness::Current,
        may_open: visitor.may_see("/console/subjects"),
        filter,
    };
    Ok(html(&page))
}

fn due_chip(request: &OpenRequest, now: Timestamp) -> StateChip {
    let left = request.due().duration_since(now);
    let days = left.as_secs().abs() / DAY;
    let words = match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    match () {
        () if request.is_overdue(now) => StateChip::bad(format!("overdue by {words}")),
        () if left <= SOON => StateChip::warn(format!("due in {words}")),
        () => StateChip::good(format!("due in {words}")),
    }
}

/// Opens the pages of the person who sent a request. Nothing is shown yet: the pages record the acts.
pub(super) async fn open(
    State(console): State<Console>,
    visitor: Visitor,
    FormOf(form): FormOf<RequestForm>,
) -> Result<Response, PageProblem> {
    let requests = console.admin.shared.ledger.requests();
    let tokens = &console.memory.form_tokens;
    let is_meant =
        |request: &OpenRequest| tokens.accepts_for(&visitor.owner, &token_bytes(request), &form.request);
    let request = requests.into_iter().find(is_meant);
    let request = request.ok_or_else(|| {
        AdminProblem::new(AdminCode::NotFound, "this request is not open any more: open the list again")
    })?;
    let received = short_time(&request.received.to_string());
    let reason = format!("request of the person: {}, received {received} UTC", request.right.name());
    let handle = console.open_person(&visitor, request.person, Some(reason))?;
    Ok(Redirect::to(&format!("/console/subjects/{handle}")).into_response())
}

/// Returns what the token of a request is made of. Each text has its length before it: no two requests have the same bytes.
fn token_bytes(request: &OpenRequest) -> Vec<u8> {
    let OpenRequest { person, right, received } = request;
    let texts = [
        "request of a person",
        person.namespace().map_or("", |namespace| namespace),
        person.id(),
        right.name(),
        &received.to_string(),
    ];
    texts.map(|text| [&text.len().to_be_bytes()[..], text.as_bytes()].concat()).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Right;
    use crate::vocabulary::IdReader;

    #[test]
    fn a_request_warns_before_it_is_due() {
        let person = IdReader::default().read("ada").unwrap();
        let received = "2026-01-01T00:00:00Z".parse().unwrap();
        let request = OpenRequest { person, right: Right::Access, received };
        let chip = |now: &str| {
            let chip = due_chip(&request, now.parse().unwrap());
            (chip.class, chip.text)
        };
        assert_eq!(chip("2026-01-01T00:00:00Z"), ("", "due in 30 days".to_owned()));
        assert_eq!(chip("2026-01-23T23:00:00Z"), ("", "due in 7 days".to_owned()));
        assert_eq!(chip("2026-01-24T00:00:00Z"), ("warn", "due in 7 days".to_owned()));
        assert_eq!(chip("2026-01-30T23:00:00Z"), ("warn", "due in less than a day".to_owned()));
        assert_eq!(chip("2026-01-31T00:00:01Z"), ("bad", "overdue by less than a day".to_owned()));
        assert_eq!(chip("2026-02-02T00:00:00Z"), ("bad", "overdue by 2 days".to_owned()));
    }
}
