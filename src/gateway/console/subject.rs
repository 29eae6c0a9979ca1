//! A person: the state in force, history, disclosures, and the events that can be recorded.
//!
//! Invariant: each page writes its acts to the disclosure log, with the reason, before it reads anything about the person.
//! The person is named in bodies alone; a handle stands for the person in URLs.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, html};
use super::event_form::{EnteredFields, EventGroup, event_groups};
use super::event_table::{HistoryOf, event_page, event_table};
use super::filters;
use super::filters::encode;
use super::json_text::short_time;
use super::list_page::ListPage;
use super::opened_people::OpenedPerson;
use super::page_rule::resource;
use super::pager::Pager;
use super::problem_page::{FormProblem, PageProblem};
use super::screen::FormOf;
use super::state_lines::{StateLine, state_lines};
use super::table::{DataTable, TableCell, TableColumn};
use super::visitor::Visitor;
use crate::gateway::admin::act::{ActObject, PendingAct, check_reason};
use crate::gateway::admin::page_language::{language_headers, page_language};
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::{NoParameters, PathText, QueryOf};
use crate::ledger::Entity;
use crate::report::{DisclosureList, ReportedDisclosure};
use crate::vocabulary::SubjectId;

/// Resources of the API that the pages show.
pub(super) const STATE: &str = "/v1/subjects/{id}";
const EVENTS: &str = "/v1/subjects/{id}/events";
const DISCLOSURES: &str = "/v1/subjects/{id}/disclosures";
const REPORT: &str = "/v1/subjects/{id}/report";

#[derive(Template)]
#[template(path = "subjects.html")]
struct SubjectsPage {
    chrome: Chrome,
    /// True if a reason is required.
    needs_reason: bool,
    /// The fields as they were entered.
    form: OpenForm,
    problem: Option<FormProblem>,
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
    state: DataTable,
    history_total: usize,
    history: DataTable,
    history_pager: Pager,
    /// `None` without the role for it.
    disclosures: Option<Disclosed>,
    groups: Vec<EventGroup>,
    /// Why the form that was sent is not recorded.
    problem: Option<String>,
}

/// A page of the disclosures about the person.
struct Disclosed {
    is_complete: bool,
    total: usize,
    table: DataTable,
    pager: Pager,
}

/// Returns the row of a disclosure. `leads_to_decision`: its time is a link to the decision.
fn disclosure_row(reported: &ReportedDisclosure, leads_to_decision: bool) -> Vec<TableCell> {
    let exchange = &reported.disclosed;
    let decision = format!("/console/decisions/{}", encode(&exchange.decision));
    let kind = reported.recipient_kind.as_ref().map(|kind| kind.title.clone()).unwrap_or_default();
    let case = exchange.case.as_ref().map(|case| format!("case {case}")).unwrap_or_default();
    let people = match exchange.people {
        0 | 1 => String::new(),
        several => format!("the categories of {several} people that left together"),
    };
    let left = exchange.categories.iter().fold(TableCell::default(), |cell, category| {
        let basis = category.basis.clone().unwrap_or_else(|| "no basis".to_owned());
        cell.and_left((category.category.clone(), category.form.clone(), basis))
    });
    vec![
        TableCell::link_if(
            Some(decision).filter(|_| leads_to_decision),
            short_time(&exchange.time.to_string()),
        ),
        TableCell::text(&*reported.recipient_name).and_quiet_line(kind),
        TableCell::text(&*reported.purpose_title).and_quiet_line(case),
        left.and_quiet_line(people),
    ]
}

fn disclosure_columns() -> Vec<TableColumn> {
    vec![
        TableColumn::time("time (UTC)"),
        TableColumn::text("recipient"),
        TableColumn::text("purpose"),
        TableColumn::text("what left"),
    ]
}

/// Returns the table of the state in force.
fn state_table(lines: Vec<StateLine>) -> DataTable {
    let row = |line: StateLine| {
        vec![
            TableCell::text(line.term),
            TableCell::chip(line.state),
            TableCell::text(line.words),
            TableCell::quiet(if line.why.is_empty() { "see the history".to_owned() } else { line.why }),
        ]
    };
    let columns = vec![
        TableColumn::text("what"),
        TableColumn::text("state"),
        TableColumn::text("means"),
        TableColumn::text("from (UTC)"),
    ];
    DataTable::new(columns, lines.into_iter().map(row).collect())
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
    html(&console.subjects_page(&visitor, OpenForm::default(), None))
}

/// Opens a person for a reason, with which the pages record each look.
pub(super) async fn open(
    State(console): State<Console>,
    visitor: Visitor,
    FormOf(form): FormOf<OpenForm>,
) -> Result<Response, PageProblem> {
    match console.handle_of(&visitor, &form) {
        Ok(handle) => Ok(Redirect::to(&format!("/console/subjects/{handle}")).into_response()),
        Err(problem) => {
            let problem = FormProblem::of(problem)?;
            let status = problem.status;
            Ok((status, html(&console.subjects_page(&visitor, form, Some(problem)))).into_response())
        }
    }
}

/// Shows a person.
pub(super) async fn show(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(handle): PathText,
    QueryOf(query): QueryOf<SubjectQuery>,
) -> Result<Response, PageProblem> {
    let opened = console.opened(&handle, &visitor)?;
    let page = console.subject_page(&visitor, (handle, opened), &query, None).await?;
    Ok(html(&page))
}

/// Returns the report that the person receives, as a file: it has a style of its own, which no page of the console may have.
pub(super) async fn report(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(handle): PathText,
    _: QueryOf<NoParameters>,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let opened = console.opened(&handle, &visitor)?;
    let language = page_language(&console.admin.shared.snapshot().texts, None, &headers)?;
    console.record_look(&visitor, REPORT, &opened.person, opened.reason.as_deref()).await?;
    let headers = language_headers(&language);
    let page = console.admin.report_page_about(opened.person, language).await?;
    let disposition = [(CONTENT_DISPOSITION, "attachment; filename=\"report.html\"")];
    Ok((headers, disposition, Html(page)).into_response())
}

impl Console {
    fn subjects_page(&self, visitor: &Visitor, form: OpenForm, problem: Option<FormProblem>) -> SubjectsPage {
        let title = if problem.is_some() { "Error: Subjects" } else { "Subjects" };
        SubjectsPage {
            chrome: self.chrome(visitor, title, "/console/subjects"),
            needs_reason: self.admin.needs_credentials(),
            form,
            problem,
        }
    }

    /// Opens the pages of a person, and returns their handle. Nothing is shown yet: the pages record the acts.
    ///
    /// # Errors
    /// An [`AdminProblem`] as the API's for the same person and reason.
    fn handle_of(&self, visitor: &Visitor, form: &OpenForm) -> Result<String, AdminProblem> {
        let person = self.admin.person(form.subject.trim(), given(&form.namespace).as_deref())?;
        self.open_person(visitor, person, given(&form.reason))
    }

    /// Opens the pages of a person, and returns their handle.
    ///
    /// # Errors
    /// As [`Console::handle_of`].
    pub(super) fn open_person(
        &self,
        visitor: &Visitor,
        person: SubjectId,
        reason: Option<String>,
    ) -> Result<String, AdminProblem> {
        let PendingAct { actor, .. } = Console::pending_look(visitor, STATE)?;
        check_reason(&actor, ActObject::Person(&person), reason.as_deref())?;
        let (owner, now) = ((visitor.owner.clone(), actor.name().cloned()), self.memory.clock.now());
        self.opened_people().open(person, reason, owner, now).map_err(no_random)
    }

    /// Returns the page of a person, after its acts are on record. `failed`: a form that could not be recorded.
    ///
    /// # Errors
    /// An [`AdminProblem`] as the API's for the resources that the page shows.
    async fn subject_page(
        &self,
        visitor: &Visitor,
        (handle, opened): (String, OpenedPerson),
        query: &SubjectQuery,
        failed: Option<(&EnteredFields, FormProblem)>,
    ) -> Result<SubjectPage, AdminProblem> {
        let shows_disclosures = visitor.may("GET", DISCLOSURES);
        let shown = [Some(STATE), Some(EVENTS), shows_disclosures.then_some(DISCLOSURES)];
        for path in shown.into_iter().flatten() {
            self.record_look(visitor, path, &opened.person, opened.reason.as_deref()).await?;
        }
        let person = &opened.person;
        let state = self.admin.person_state(person.clone()).await?;
        let events = self.admin.events_about(Entity::Subject(person.clone())).await?;
        let disclosures = match shows_disclosures {
            true => Some(self.admin.disclosures_about(person.clone()).await?.0),
            false => None,
        };
        let mut groups = event_groups(self, visitor).map_err(no_random)?;
        if let Some((entered, problem)) = &failed {
            let kind = entered.get("kind").map(String::as_str).unwrap_or_default();
            groups.iter_mut().filter(|group| group.has(kind)).for_each(|group| group.fill(entered, problem));
        }
        let title = if failed.is_some() { "Error: Subject" } else { "Subject" };
        let history = event_page(HistoryOf::Person, &events, query.history);
        let disclosed = disclosures.map(|list| Console::disclosed(visitor, &list, query.disclosures));
        let number = disclosed.as_ref().map_or(0, |(_, page)| page.number());
        // A link of one list keeps the page of the other.
        let at = |history: usize, disclosures: usize, list: &str| {
            format!("/console/subjects/{handle}?history={history}&disclosures={disclosures}#{list}")
        };
        let report = visitor.may("GET", REPORT).then(|| format!("/console/subjects/{handle}/report"));
        let history_number = history.number();
        Ok(SubjectPage {
            chrome: self.chrome(visitor, title, "/console/subjects"),
            id: person.id().to_string(),
            namespace: person.namespace().map(ToString::to_string).unwrap_or_default(),
            reason: opened.reason.unwrap_or_default(),
            is_known: state.is_some(),
            state: state_table(state.map(|state| state_lines(&state, &events)).unwrap_or_default()),
            history_total: history.total,
            history_pager: history.pager(["Newer", "Older"], |page| at(page, number, "history")),
            history: event_table(HistoryOf::Person, history.rows),
            disclosures: disclosed.map(|(is_complete, page)| Disclosed {
                is_complete,
                total: page.total,
                pager: page
                    .pager(["Newer", "Older"], |page| at(history_number, page, "disclosures"))
                    .and(report, "Save the report that the person receives (GDPR Art. 15)"),
                table: DataTable::new(disclosure_columns(), page.rows),
            }),
            groups,
            problem: failed.map(|(_, problem)| problem.words),
            handle,
        })
    }

    /// Returns a page of the disclosures, newest first, and if the logs had all of them.
    fn disclosed(visitor: &Visitor, list: &DisclosureList, page: usize) -> (bool, ListPage<Vec<TableCell>>) {
        let leads_to_decisions = visitor.may_see("/console/decisions/{id}");
        let row = |reported| disclosure_row(reported, leads_to_decisions);
        (list.complete, ListPage::of(list.disclosures.iter().rev(), page, row))
    }

    /// Shows a person with a form that could not be recorded, as it was sent.
    ///
    /// # Errors
    /// The problem, if the form is not its cause; or as [`Console::subject_page`].
    pub(super) async fn form_again(
        &self,
        visitor: &Visitor,
        (handle, opened): (String, OpenedPerson),
        entered: &EnteredFields,
        problem: AdminProblem,
    ) -> Result<Response, AdminProblem> {
        let problem = FormProblem::of(problem)?;
        let (status, query) = (problem.status, SubjectQuery::default());
        let page = self.subject_page(visitor, (handle, opened), &query, Some((entered, problem))).await?;
        Ok((status, html(&page)).into_response())
    }

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
        let act = Console::pending_look(visitor, path)?;
        self.admin.record_act(&act, ActObject::Person(person), reason).await
    }

    /// Returns the use of a resource about a person, not yet on record.
    fn pending_look(visitor: &Visitor, path: &str) -> Result<PendingAct, AdminProblem> {
        let rule = resource("GET", path).ok_or_else(AdminProblem::not_found)?;
        let actor = visitor.actor.clone().ok_or_else(AdminProblem::not_found)?;
        Ok(PendingAct { role: actor.role_for(rule)?, actor, rule })
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
