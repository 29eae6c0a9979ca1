//! Requests of people: those that nobody has answered yet, and those that were answered.
//!
//! Invariant: the lists name nobody. A token that only this process can make stands for each request in its form. The form
//! opens the pages of the person, and each look at them is on record with the request as its reason.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Console;
use super::chrome::{StateChip, html};
use super::json_text::short_time;
use super::list_page::{ListPage, PAGE};
use super::list_view::{FilterField, ListFilter, ListView, filtered};
use super::pager::Pager;
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::table::{DataTable, RowForm, TableCell, TableColumn};
use super::visitor::Visitor;
use crate::gateway::admin::person_request::answer_cursor;
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::QueryOf;
use crate::ledger::{AnsweredRequest, Freshness, OpenRequest, Position};
use crate::vocabulary::SubjectId;

/// Time before the due date from which the list warns.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Number of seconds of a day.
const DAY: i64 = 86_400;
/// The choices of the filter.
const OVERDUE: &str = "overdue";
const ANSWERED: &str = "answered";
const STATES: [(&str, &str); 3] = [("", "open"), (OVERDUE, "overdue"), (ANSWERED, "answered")];
const PATH: &str = "/console/requests";
/// Stands below each list.
const REMARK: &str = "The list names nobody. Opening the person puts the look on record, with the request as its reason, \
                      before anything is shown. The answer is recorded there.";

/// The filter, as the form sends it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequestFilter {
    /// One of [`STATES`].
    state: String,
    /// The page of the open requests.
    page: usize,
    /// The cursor of the answered requests.
    cursor: String,
}

/// The form that opens the person of a request.
#[derive(Debug, Deserialize)]
pub(super) struct RequestForm {
    /// The token of the request.
    request: String,
    /// Position of the answer, if the request was answered.
    answer: Option<u64>,
}

/// Shows the list.
pub(super) async fn requests(
    State(console): State<Console>,
    visitor: Visitor,
    QueryOf(filter): QueryOf<RequestFilter>,
) -> Result<Response, PageProblem> {
    let is_current = console.admin.shared.ledger.freshness() == Freshness::Current;
    let chrome = console.chrome(&visitor, "Requests", PATH);
    let view = ListView {
        chrome,
        lead: "what people asked for, and by when each must be answered (GDPR Art. 12)",
        filter: ListFilter {
            action: PATH,
            fields: vec![FilterField::choice("state", "State", &filter.state, STATES)],
        },
        banners: (!is_current).then(not_current).into_iter().collect(),
        heading: "",
        extent: String::new(),
        intro: TableCell::default(),
        table: DataTable::new(Vec::new(), Vec::new()),
        empty: TableCell::default(),
        remark: REMARK,
        pager: Pager::default(),
    };
    let view = match filter.state.as_str() {
        ANSWERED => console.answered_view(&visitor, &filter, view).await?,
        _ => console.open_view(&visitor, &filter, view),
    };
    Ok(html(&view))
}

fn not_current() -> (&'static str, String) {
    ("The ledger is not current.", "Requests may be missing, and answered ones may still be here.".to_owned())
}

impl Console {
    fn open_view(&self, visitor: &Visitor, filter: &RequestFilter, view: ListView) -> ListView {
        let (mut requests, now) = (self.admin.shared.ledger.requests(), Timestamp::now());
        let open = requests.len();
        let overdue = requests.iter().filter(|request| request.is_overdue(now)).count();
        requests.retain(|request| filter.state != OVERDUE || request.is_overdue(now));
        let may_open = visitor.may_see("/console/subjects");
        let list = ListPage::of(requests.into_iter(), filter.page, |request| {
            let (received, due) =
                (short_time(&request.received.to_string()), short_time(&request.due().to_string()));
            let label = format!("{}, received {received} UTC, due {due} UTC", request.right.name());
            let form = self.request_form(visitor, &token_bytes(&request), None, &label);
            let row = [
                TableCell::text(request.right.name()),
                TableCell::chip(due_chip(&request, now)),
                TableCell::text(received),
                TableCell::text(due),
            ];
            row.into_iter().chain(may_open.then_some(form)).collect::<Vec<TableCell>>()
        });
        let columns = [
            TableColumn::text("request"),
            TableColumn::text("state"),
            TableColumn::time("received (UTC)"),
            TableColumn::time("due (UTC)"),
        ];
        let columns = columns.into_iter().chain(may_open.then(|| TableColumn::text("answer")));
        ListView {
            heading: "Open requests",
            extent: format!("due first: {}", list.extent()),
            intro: intro(filter, open, overdue),
            pager: list.pager(["Previous", "Next"], |page| {
                filtered(PATH, &[("state", &filter.state), ("page", &page.to_string())])
            }),
            empty: match open {
                0 if may_open => {
                    TableCell::text("No request is open. Record one on the page of the person: ")
                        .and_link("/console/subjects", "open a person")
                        .and_text(".")
                }
                0 => TableCell::text("No request is open."),
                _ => TableCell::text("None is overdue."),
            },
            table: DataTable::new(columns.collect(), list.rows),
            ..view
        }
    }

    async fn answered_view(
        &self,
        visitor: &Visitor,
        filter: &RequestFilter,
        view: ListView,
    ) -> Result<ListView, AdminProblem> {
        let cursor = Some(filter.cursor.as_str()).filter(|cursor| !cursor.is_empty());
        let before = cursor.map(answer_cursor).transpose()?;
        let (answered, next) = self.admin.answered_requests(before, PAGE).await?;
        let may_open = visitor.may_see("/console/subjects");
        let row = |request: &AnsweredRequest| {
            let time = |time: Option<Timestamp>| time.map(|time| short_time(&time.to_string()));
            let answered = short_time(&request.answered.to_string());
            let label = format!("{}, answered {answered} UTC", request.right.name());
            let form = self.request_form(visitor, &answer_bytes(request), Some(request.position), &label);
            let recorder = request.recorded_by.as_ref().map(|by| (&*by.name, by.verified));
            let row = [
                TableCell::text(request.right.name()),
                TableCell::chip(answer_chip(request)),
                TableCell::text_or(time(request.received).unwrap_or_default(), "not known"),
                TableCell::text(answered),
                TableCell::chip(StateChip::actor(recorder)),
            ];
            row.into_iter().chain(may_open.then_some(form)).collect::<Vec<TableCell>>()
        };
        let columns = [
            TableColumn::text("request"),
            TableColumn::text("state"),
            TableColumn::time("received (UTC)"),
            TableColumn::time("answered (UTC)"),
            TableColumn::text("recorded by"),
        ];
        let columns = columns.into_iter().chain(may_open.then(|| TableColumn::text("person")));
        let path = |cursor: &str| filtered(PATH, &[("state", ANSWERED), ("cursor", cursor)]);
        Ok(ListView {
            heading: "Answered requests",
            extent: "last answer on record first".to_owned(),
            intro: TableCell::link(PATH, "Show those that are open"),
            empty: match next {
                None => TableCell::text(
                    "No answer is on record here. It is recorded on the page of the person who asked.",
                ),
                Some(_) => TableCell::text("There is none among these events: go on to older ones."),
            },
            table: DataTable::new(columns.collect(), answered.iter().map(row).collect()),
            pager: Pager::onward(
                (cursor.map(|_| path("")), next.map(|next| path(&next.to_string()))),
                ["Newest", "Older"],
            ),
            ..view
        })
    }

    /// Returns the form that opens the person of a request.
    fn request_form(
        &self,
        visitor: &Visitor,
        request: &[u8],
        answer: Option<Position>,
        label: &str,
    ) -> TableCell {
        let tokens = &self.memory.form_tokens;
        let token = ("request", tokens.token_for(&visitor.owner, request));
        let answer = answer.map(|position| ("answer", position.to_string()));
        TableCell::form(RowForm {
            action: PATH,
            form_token: tokens.token(&visitor.owner),
            fields: [token].into_iter().chain(answer).collect(),
            button: "Open the person",
            label: format!("Open the person: {label}"),
        })
    }
}

fn intro(filter: &RequestFilter, open: usize, overdue: usize) -> TableCell {
    let intro = TableCell::text(format!("{open} open, {overdue} of them overdue. "));
    let intro = match filter.state.as_str() {
        OVERDUE => intro.and_link(PATH, "Show all that are open").and_text(". "),
        _ if overdue > 0 => intro
            .and_link(filtered(PATH, &[("state", OVERDUE)]), "Show only those that are overdue")
            .and_text(". "),
        _ => intro,
    };
    intro.and_link(filtered(PATH, &[("state", ANSWERED)]), "Show those that were answered")
}

/// Says if a request was answered in time.
fn answer_chip(request: &AnsweredRequest) -> StateChip {
    match request.due() {
        None => StateChip::warn("dated before the request"),
        Some(due) if request.was_overdue() => {
            StateChip::bad(format!("{} late", days(request.answered.duration_since(due))))
        }
        Some(_) => StateChip::good("in time"),
    }
}

/// Returns a time in days.
pub(super) fn days(time: SignedDuration) -> String {
    match time.as_secs().abs() / DAY {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn due_chip(request: &OpenRequest, now: Timestamp) -> StateChip {
    let left = request.due().duration_since(now);
    let words = days(left);
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
    let tokens = &console.memory.form_tokens;
    let is_meant = |bytes: &[u8]| tokens.accepts_for(&visitor.owner, bytes, &form.request);
    let found: Option<(SubjectId, String)> = match form.answer {
        None => {
            let mut requests = console.admin.shared.ledger.requests().into_iter();
            let request = requests.find(|request| is_meant(&token_bytes(request)));
            request.map(|request| {
                let received = short_time(&request.received.to_string());
                (request.person, format!("{}, received {received} UTC", request.right.name()))
            })
        }
        Some(position) => {
            let before = Some(Position(position.saturating_add(1)));
            let (mut answered, _) = console.admin.answered_requests(before, 1).await?;
            let is_asked = |request: &AnsweredRequest| {
                request.position.0 == position && is_meant(&answer_bytes(request))
            };
            let request = answered.pop().filter(is_asked);
            request.map(|request| {
                let answered = short_time(&request.answered.to_string());
                (request.person, format!("{}, answered {answered} UTC", request.right.name()))
            })
        }
    };
    let (person, request) = found.ok_or_else(|| {
        AdminProblem::new(
            AdminCode::NotFound,
            "this request is not in the list any more: open the list again",
        )
    })?;
    let reason = format!("request of the person: {request}");
    let handle = console.open_person(&visitor, person, Some(reason))?;
    Ok(Redirect::to(&format!("/console/subjects/{handle}")).into_response())
}

/// Returns what the token of an open request is made of.
fn token_bytes(request: &OpenRequest) -> Vec<u8> {
    let OpenRequest { person, right, received } = request;
    shown_bytes("request of a person", person, [right.name(), &received.to_string()])
}

/// Returns what the token of an answered request is made of.
fn answer_bytes(request: &AnsweredRequest) -> Vec<u8> {
    let members = [request.right.name(), &request.position.to_string()];
    shown_bytes("answered request of a person", &request.person, members)
}

/// Returns the bytes of something about a person that a token stands for. Each text has its length before it: no two have the
/// same bytes.
fn shown_bytes(what: &str, person: &SubjectId, [first, second]: [&str; 2]) -> Vec<u8> {
    let namespace = person.namespace().map_or("", |namespace| namespace);
    let texts = [what, namespace, person.id(), first, second];
    texts.map(|text| [&text.len().to_be_bytes()[..], text.as_bytes()].concat()).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Right;
    use crate::vocabulary::IdReader;

    #[test]
    fn an_answer_is_in_time_late_or_dated_before_its_request() {
        let person = IdReader::default().read("ada").unwrap();
        let chip = |received: Option<&str>, answered: &str| {
            let request = AnsweredRequest {
                person: person.clone(),
                right: Right::Access,
                received: received.map(|time| time.parse().unwrap()),
                answered: answered.parse().unwrap(),
                position: Position(7),
                recorded_by: None,
            };
            let chip = answer_chip(&request);
            (chip.class, chip.text)
        };
        let received = Some("2026-01-01T00:00:00Z");
        assert_eq!(chip(received, "2026-01-31T00:00:00Z"), ("", "in time".to_owned()));
        assert_eq!(chip(received, "2026-01-31T00:00:01Z"), ("bad", "less than a day late".to_owned()));
        assert_eq!(chip(received, "2026-02-02T00:00:00Z"), ("bad", "2 days late".to_owned()));
        assert_eq!(chip(None, "2026-01-01T00:00:00Z").0, "warn");
    }

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
