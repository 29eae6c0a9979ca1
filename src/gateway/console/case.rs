//! One case: what it permits, who approved it, and after a recorded reason who it is about.
//!
//! Invariant: the page names a person only after the look at each of them is on record.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::cases::{PATH, case_chip};
use super::chrome::{Chrome, StateChip, html};
use super::event_table::{HistoryOf, HistoryQuery, event_page, event_table};
use super::filters;
use super::filters::encode;
use super::json_text::{named_actor, short_time, text, texts};
use super::list_page::ListPage;
use super::opened_people::random_text;
use super::pager::Pager;
use super::problem_page::{FormProblem, PageProblem};
use super::reason_form::{ReasonForm, ReasonQuestion};
use super::screen::FormOf;
use super::subject::{given, no_random};
use super::table::{DataTable, TableCell, TableColumn};
use super::visitor::Visitor;
use crate::gateway::admin::act::PendingAct;
use crate::gateway::admin::case::RegisteredCase;
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::{PathText, QueryOf};
use crate::ledger::{Approver, Case, CaseStatus, Entity, case_id};

#[derive(Template)]
#[template(path = "case.html")]
struct CasePage {
    chrome: Chrome,
    id: String,
    state: StateChip,
    recipient: String,
    members: Vec<(&'static str, String)>,
    categories: Vec<String>,
    /// The header by which a request cites the case.
    citation: String,
    approvers: Vec<StateChip>,
    steps: CaseSteps,
    /// Why the approval could not be asked about.
    problem: Option<String>,
    people_count: usize,
    people: CasePeople,
    history: DataTable,
    history_extent: String,
    history_pager: Pager,
    shows_recipient: bool,
}

/// The next steps of a case.
#[derive(Debug)]
struct CaseSteps {
    /// True if it waits for an approval.
    waits: bool,
    /// True if the visitor has approved it already.
    has_approved: bool,
    /// True if nobody is signed in, so that the approver has to be named.
    asks_approver: bool,
    has_ended: bool,
    /// The idempotency keys of the forms.
    once: [String; 2],
}

/// The people of a case.
enum CasePeople {
    /// Not shown yet: the form that asks for the reason.
    Asked(ReasonForm),
    Shown(ShownPeople),
}

/// A page of the people of a case, and the reason for which they are shown.
#[derive(Debug)]
struct ShownPeople {
    table: DataTable,
    extent: String,
    reason: String,
    /// The pages around this one, with the words of their buttons.
    around: Vec<(&'static str, usize)>,
}

impl ShownPeople {
    fn new(list: &ListPage<usize>, people: &[Value], reason: Option<String>) -> ShownPeople {
        let row = |person: &Value| {
            let (id, namespace) = match person {
                Value::String(id) => (id.clone(), String::new()),
                person => (text(person, "id"), text(person, "namespace")),
            };
            vec![TableCell::text(id), TableCell::text_or(namespace, "the default")]
        };
        let columns = vec![TableColumn::text("id"), TableColumn::text("namespace")];
        let [previous, next] = list.around();
        ShownPeople {
            table: DataTable::new(columns, people.iter().map(row).collect()),
            extent: list.extent(),
            reason: reason.unwrap_or_default(),
            around: previous
                .map(|page| ("Previous", page))
                .into_iter()
                .chain(next.map(|page| ("Next", page)))
                .collect(),
        }
    }
}

/// The form that asks who a case is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PeopleForm {
    reason: String,
    page: usize,
}

/// The parts of the page that depend on the request.
struct CaseView {
    people: CasePeople,
    /// The page of the history.
    history: usize,
    problem: Option<FormProblem>,
}

/// Shows a case without the people.
pub(super) async fn case(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(id): PathText,
    QueryOf(query): QueryOf<HistoryQuery>,
) -> Result<Response, PageProblem> {
    let case = console.admin.case_of(&id).await?;
    let people = CasePeople::Asked(console.reason_form(&visitor, people_question(&id), String::new(), None));
    let view = CaseView { people, history: query.history, problem: None };
    console.case_page(&visitor, id, &case, view).await
}

/// Shows a case with some of its people, after the look at each of them is on record.
pub(super) async fn show_people(
    State(console): State<Console>,
    visitor: Visitor,
    act: PendingAct,
    PathText(id): PathText,
    FormOf(form): FormOf<PeopleForm>,
) -> Result<Response, PageProblem> {
    let case = console.admin.case_of(&id).await?;
    let list = ListPage::of(0..case.people_count(), form.page, |number| number);
    let shown = list.rows.first().copied().unwrap_or(0)..list.rows.last().map_or(0, |last| last + 1);
    let reason = given(&form.reason);
    let people = match console.admin.look_at_people(&act, &case, shown, reason.as_deref()).await {
        Ok(people) => CasePeople::Shown(ShownPeople::new(&list, people, reason)),
        Err(problem) => {
            let words = FormProblem::of(problem)?.words;
            CasePeople::Asked(console.reason_form(&visitor, people_question(&id), form.reason, Some(words)))
        }
    };
    let view = CaseView { people, history: 0, problem: None };
    console.case_page(&visitor, id, &case, view).await
}

impl Console {
    /// Returns a case as decisions about records use it.
    pub(super) fn known_case(&self, id: &str) -> Result<Arc<Case>, AdminProblem> {
        self.admin.shared.ledger.case(id).ok_or_else(AdminProblem::not_found)
    }

    /// Shows a case again whose approval lacks the name of who approves.
    pub(super) async fn approval_again(
        &self,
        visitor: &Visitor,
        id: String,
        case: &RegisteredCase,
    ) -> Result<Response, PageProblem> {
        let problem = AdminProblem::new(AdminCode::EventMalformed, "Enter the name of who approves.");
        let people = CasePeople::Asked(self.reason_form(visitor, people_question(&id), String::new(), None));
        let view = CaseView { people, history: 0, problem: Some(FormProblem::of(problem)?) };
        self.case_page(visitor, id, case, view).await
    }

    async fn case_page(
        &self,
        visitor: &Visitor,
        id: String,
        case: &RegisteredCase,
        view: CaseView,
    ) -> Result<Response, PageProblem> {
        let events = self.admin.events_about(Entity::Case(case_id(&id).map_err(AdminProblem::from)?)).await?;
        let history = event_page(HistoryOf::Case, &events, view.history);
        let (known, now) = (self.known_case(&id)?, Timestamp::now());
        let outline = &case.outline;
        let purpose = text(outline, "purpose");
        let header = self.admin.shared.snapshot().purpose_header.clone();
        let people_problem = matches!(&view.people, CasePeople::Asked(form) if form.problem.is_some());
        let is_failed = view.problem.is_some() || people_problem;
        let title = if is_failed { format!("Error: Case {id}") } else { format!("Case {id}") };
        let path = format!("{PATH}/{}", encode(&id));
        let page = CasePage {
            chrome: self.chrome(visitor, title, PATH),
            state: case_chip(&known, now),
            recipient: text(outline, "recipient"),
            members: registered_members(outline),
            categories: texts(outline, "categories"),
            citation: format!("{header}: {purpose};case=\"{id}\""),
            approvers: approvers(outline)
                .map(|(name, is_verified)| StateChip::actor(Some((&*name, is_verified))))
                .collect(),
            steps: steps(visitor, known.status(now), outline).map_err(no_random)?,
            problem: view.problem.map(|problem| problem.words),
            people_count: case.people_count(),
            people: view.people,
            history_extent: history.extent(),
            history_pager: history
                .pager(["Newer", "Older"], |number| format!("{path}?history={number}#history")),
            history: event_table(HistoryOf::Case, history.rows),
            shows_recipient: visitor.may_see("/console/recipients/{name}"),
            id,
        };
        let status = if is_failed { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        Ok((status, html(&page)).into_response())
    }
}

fn people_question(id: &str) -> ReasonQuestion {
    ReasonQuestion {
        action: format!("{PATH}/{}/people#people", encode(id)),
        hint: "That you look at each of them, and why, is on record before they are shown.",
        button: "Show who they are",
    }
}

/// Returns the members of a registration that it has.
fn registered_members(outline: &Value) -> Vec<(&'static str, String)> {
    let mut members = vec![
        ("purpose", text(outline, "purpose")),
        ("in force until (UTC)", short_time(&text(outline, "end"))),
        ("reference", text(outline, "reference")),
        ("confidential until (UTC)", short_time(&text(outline, "confidential-until"))),
    ];
    members.retain(|(_, value)| !value.is_empty());
    members
}

/// Returns who approved a case: the name, and if it is verified.
fn approvers(case: &Value) -> impl Iterator<Item = (String, bool)> {
    let list = case.get("approvers").and_then(Value::as_array).into_iter().flatten();
    list.map(named_actor)
}

fn steps(visitor: &Visitor, status: CaseStatus, case: &Value) -> Result<CaseSteps, getrandom::Error> {
    let name = visitor.actor.as_ref().and_then(|actor| actor.name());
    let own = name.map(|name| Approver(name.clone()).normalized());
    // An approval under the name of somebody who was not signed in keeps nobody from approving.
    let is_own =
        |(name, is_verified): (String, bool)| is_verified && Some(Approver(name.into()).normalized()) == own;
    Ok(CaseSteps {
        waits: status == CaseStatus::Registered,
        has_approved: approvers(case).any(is_own),
        asks_approver: name.is_none(),
        has_ended: status == CaseStatus::Ended,
        once: [random_text::<16>()?, random_text::<16>()?],
    })
}
