//! A person: the state in force, history, disclosures, and the events that can be recorded.
//!
//! Invariant: each page writes its acts to the disclosure log, with the reason, before it reads anything about the person.
//! The person is named in bodies alone; a handle stands for the person in URLs.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::header::CONTENT_DISPOSITION;
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::event_form::{EventGroup, event_groups};
use super::filters;
use super::json_text::{short_time, text};
use super::opened_people::OpenedPerson;
use super::page_rule::{may, may_see, resource};
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::state_lines::{StateLine, state_lines};
use super::visitor::Visitor;
use crate::gateway::admin::act::{ActObject, PendingAct};
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::{NoParameters, PathText, QueryOf};
use crate::ledger::Entity;
use crate::report::{self, ReportedDisclosure};
use crate::vocabulary::SubjectId;

/// Resources of the API that the pages show.
const STATE: &str = "/v1/subjects/{id}";
const EVENTS: &str = "/v1/subjects/{id}/events";
const DISCLOSURES: &str = "/v1/subjects/{id}/disclosures";
const REPORT: &str = "/v1/subjects/{id}/report";
const REQUESTS: &str = "/v1/subjects/{id}/requests";
/// Number of events, and of disclosures, on a page.
const PAGE: usize = 50;
/// Members of an event that the page shows in columns of their own, or not at all.
const OWN_COLUMNS: [&str; 8] =
    ["kind", "at", "event", "position", "recorded-by", "channel", "notice", "evidence"];

#[derive(Template)]
#[template(path = "subjects.html")]
struct SubjectsPage {
    chrome: Chrome,
    /// True if a reason is required.
    needs_reason: bool,
}

/// The person to open.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OpenForm {
    subject: String,
    namespace: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "subject.html")]
struct SubjectPage {
    chrome: Chrome,
    handle: String,
    id: String,
    namespace: String,
    reason: String,
    is_known: bool,
    state: Vec<StateLine>,
    history: ListPage<HistoryRow>,
    /// `None` without the role for it.
    disclosures: Option<Disclosed>,
    groups: Vec<EventGroup>,
    shows_report: bool,
    shows_decisions: bool,
}

/// Disclosures about the person.
struct Disclosed {
    is_complete: bool,
    rows: ListPage<DisclosureRow>,
}

/// One page of a list, newest first.
struct ListPage<R> {
    rows: Vec<R>,
    total: usize,
    /// Number of the page with newer, and with older rows.
    newer: Option<usize>,
    older: Option<usize>,
}

impl<R> ListPage<R> {
    /// Returns a page of a list whose last item is the newest. The first page is 0.
    fn of<T>(items: &[T], page: usize, row: impl Fn(&T) -> R) -> ListPage<R> {
        let skipped = page.saturating_mul(PAGE);
        ListPage {
            rows: items.iter().rev().skip(skipped).take(PAGE).map(row).collect(),
            total: items.len(),
            newer: page.checked_sub(1),
            older: (skipped.saturating_add(PAGE) < items.len()).then(|| page.saturating_add(1)),
        }
    }
}

/// An event of the history.
struct HistoryRow {
    at: String,
    kind: String,
    /// Names and values of the members that only such events have.
    particulars: Vec<(String, String)>,
    /// Channel, notice and evidence.
    provenance: String,
    recorded_by: StateChip,
}

impl HistoryRow {
    fn of(event: &Value) -> HistoryRow {
        let members = event.as_object().into_iter().flatten();
        let own = members.filter(|(name, _)| !OWN_COLUMNS.contains(&name.as_str()));
        let provenance = ["channel", "notice", "evidence"].map(|name| (name, text(event, name)));
        let provenance = provenance.iter().filter(|(_, value)| !value.is_empty());
        HistoryRow {
            at: short_time(&text(event, "at")),
            kind: text(event, "kind"),
            particulars: own.map(|(name, _)| (name.clone(), text(event, name))).collect(),
            provenance: provenance
                .map(|(name, value)| format!("{name}: {value}"))
                .collect::<Vec<_>>()
                .join("; "),
            recorded_by: recorded_by(event),
        }
    }
}

/// Returns who recorded an event.
pub(super) fn recorded_by(event: &Value) -> StateChip {
    match event.get("recorded-by") {
        Some(by) if by.get("verified").and_then(Value::as_bool) == Some(true) => {
            StateChip::good(text(by, "name"))
        }
        Some(by) => StateChip::warn(format!("{}, unverified", text(by, "name"))),
        None => StateChip::warn("nobody signed in"),
    }
}

/// A disclosure about the person.
struct DisclosureRow {
    time: String,
    recipient: String,
    kind: String,
    purpose: String,
    /// Categories with form and basis.
    categories: Vec<(String, String, String)>,
    people: usize,
    decision: String,
    case: String,
}

impl DisclosureRow {
    fn of(reported: &ReportedDisclosure) -> DisclosureRow {
        let exchange = &reported.disclosed;
        let categories = exchange.categories.iter().map(|category| {
            let basis = category.basis.clone().unwrap_or_else(|| "no basis".to_owned());
            (category.category.clone(), category.form.clone(), basis)
        });
        DisclosureRow {
            time: short_time(&exchange.time.to_string()),
            recipient: reported.recipient_name.clone(),
            kind: reported.recipient_kind.as_ref().map(|kind| kind.title.clone()).unwrap_or_default(),
            purpose: reported.purpose_title.clone(),
            categories: categories.collect(),
            people: exchange.people,
            decision: exchange.decision.clone(),
            case: exchange.case.clone().unwrap_or_default(),
        }
    }
}

/// Numbers of the pages of both lists.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SubjectQuery {
    history: usize,
    disclosures: usize,
}

/// Shows the form that opens a person.
pub(super) async fn form(
    State(console): State<Console>,
    visitor: Visitor,
    _: QueryOf<NoParameters>,
) -> Response {
    html(&SubjectsPage {
        chrome: console.chrome(&visitor, "Subjects", "/console/subjects"),
        needs_reason: console.admin.needs_credentials(),
    })
}

/// Opens a person, after the act is on record with its reason.
pub(super) async fn open(
    State(console): State<Console>,
    visitor: Visitor,
    FormOf(form): FormOf<OpenForm>,
) -> Result<Response, PageProblem> {
    let person = console.admin.person(form.subject.trim(), given(&form.namespace).as_deref())?;
    let reason = given(&form.reason);
    console.record_look(&visitor, STATE, &person, reason.as_deref()).await?;
    let now = console.memory.clock.now();
    let handle = console.opened_people().open(person, reason, visitor.owner, now).map_err(no_random)?;
    Ok(Redirect::to(&format!("/console/subjects/{handle}")).into_response())
}

/// Shows a person.
pub(super) async fn show(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(handle): PathText,
    QueryOf(query): QueryOf<SubjectQuery>,
) -> Result<Response, PageProblem> {
    let opened = console.opened(&handle, &visitor)?;
    let permits = |method, path| visitor.actor.as_ref().is_some_and(|actor| may(actor, method, path));
    let shown = [Some(STATE), Some(EVENTS), permits("GET", DISCLOSURES).then_some(DISCLOSURES)];
    for path in shown.into_iter().flatten() {
        console.record_look(&visitor, path, &opened.person, opened.reason.as_deref()).await?;
    }
    let person = &opened.person;
    let state = console.admin.person_state(person.clone()).await?;
    let events = console.admin.events_about(Entity::Subject(person.clone())).await?;
    let disclosures = match permits("GET", DISCLOSURES) {
        true => Some(console.admin.disclosures_about(person.clone()).await?.0),
        false => None,
    };
    let groups = event_groups(&console, permits("POST", EVENTS), permits("POST", REQUESTS));
    Ok(html(&SubjectPage {
        chrome: console.chrome(&visitor, "Subject", "/console/subjects"),
        id: person.id().to_string(),
        namespace: person.namespace().map(ToString::to_string).unwrap_or_default(),
        reason: opened.reason.unwrap_or_default(),
        is_known: state.is_some(),
        state: state.map(|state| state_lines(&state, &events)).unwrap_or_default(),
        history: ListPage::of(&events, query.history, HistoryRow::of),
        disclosures: disclosures.map(|list| Disclosed {
            is_complete: list.complete,
            rows: ListPage::of(&list.disclosures, query.disclosures, DisclosureRow::of),
        }),
        groups: groups.map_err(no_random)?,
        shows_report: permits("GET", REPORT),
        shows_decisions: visitor
            .actor
            .as_ref()
            .is_some_and(|actor| may_see(actor, "/console/decisions/{id}")),
        handle,
    }))
}

/// Returns the report that the person receives, as a file: it has a style of its own, which no page of the console may have.
pub(super) async fn report(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(handle): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let opened = console.opened(&handle, &visitor)?;
    console.record_look(&visitor, REPORT, &opened.person, opened.reason.as_deref()).await?;
    let report = console.admin.report_about(opened.person).await?;
    let disposition = [(CONTENT_DISPOSITION, "attachment; filename=\"report.html\"")];
    Ok((disposition, Html(report::html(&report))).into_response())
}

impl Console {
    /// Returns the person whose pages the visitor has opened.
    pub(super) fn opened(&self, handle: &str, visitor: &Visitor) -> Result<OpenedPerson, AdminProblem> {
        let opened = self.opened_people().find(handle, &visitor.owner, self.memory.clock.now());
        opened.ok_or_else(|| {
            AdminProblem::new(
                AdminCode::NotFound,
                "these pages are closed, or were never open in your session: open the person again",
            )
        })
    }

    /// Writes the use of a resource about a person to the disclosure log, as the API does.
    ///
    /// # Errors
    /// An [`AdminProblem`] as the API's for the same resource and person.
    pub(super) async fn record_look(
        &self,
        visitor: &Visitor,
        path: &str,
        person: &SubjectId,
        reason: Option<&str>,
    ) -> Result<(), AdminProblem> {
        let rule = resource("GET", path).ok_or_else(AdminProblem::not_found)?;
        let actor = visitor.actor.clone().ok_or_else(AdminProblem::not_found)?;
        let act = PendingAct { role: actor.role_for(rule)?, actor, rule };
        self.admin.record_act(&act, ActObject::Person(person), reason).await
    }
}

/// Returns what was entered in a field; `None` if it was left empty.
pub(super) fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Answers if the system has no random numbers.
#[allow(clippy::needless_pass_by_value, reason = "the signature that `map_err` needs")]
pub(super) fn no_random(_: getrandom::Error) -> AdminProblem {
    AdminProblem::new(AdminCode::ReportUnavailable, "the system has no random numbers")
}
