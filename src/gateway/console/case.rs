//! One case: what it permits, who approved it, and after a recorded reason who it is about.
//!
//! Invariant: the page names a person only after the look at each of them is on record.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::cases::{case_chip, people};
use super::chrome::{Chrome, StateChip, html};
use super::filters;
use super::json_text::{short_time, text, texts};
use super::list_page::ListPage;
use super::opened_people::random_text;
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::subject::{given, no_random, recorded_by};
use super::visitor::Visitor;
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::{NoParameters, PathText, QueryOf};
use crate::ledger::{Approver, Case, CaseStatus, Entity, case_id};

/// The resource of the API that shows a case.
const CASE: &str = "/v1/cases/{id}";

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
    people: usize,
    /// The people; `None` until the look at them is on record.
    shown: Option<ShownPeople>,
    history: Vec<CaseEventRow>,
    needs_reason: bool,
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

/// A page of the people of a case, and the reason for which they are shown.
#[derive(Debug)]
struct ShownPeople {
    list: ListPage<CasePerson>,
    reason: String,
}

/// A person of a case.
#[derive(Clone, Debug)]
struct CasePerson {
    id: String,
    namespace: String,
}

impl CasePerson {
    fn of(person: &Value) -> CasePerson {
        match person {
            Value::String(id) => CasePerson { id: id.clone(), namespace: String::new() },
            person => CasePerson { id: text(person, "id"), namespace: text(person, "namespace") },
        }
    }
}

/// An event of a case. It names nobody whom the case is about.
#[derive(Debug)]
struct CaseEventRow {
    at: String,
    words: String,
    reason: String,
    recorded_by: StateChip,
}

impl CaseEventRow {
    fn of(event: &Value) -> CaseEventRow {
        let words = match text(event, "kind").as_str() {
            "case-registered" => "registered".to_owned(),
            "case-approved" => format!("approved by {}", text(event, "approver")),
            "case-ended" => "ended before its time".to_owned(),
            other => other.to_owned(),
        };
        CaseEventRow {
            at: short_time(&text(event, "at")),
            words,
            reason: text(event, "evidence"),
            recorded_by: recorded_by(event),
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

/// Shows a case without the people.
pub(super) async fn case(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(id): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let case = console.admin.case_of(&id).await?;
    console.case_page(&visitor, id, &case, None).await
}

/// Shows a case with some of its people, after the look at each of them is on record.
pub(super) async fn show_people(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(id): PathText,
    FormOf(form): FormOf<PeopleForm>,
) -> Result<Response, PageProblem> {
    let case = console.admin.case_of(&id).await?;
    let list = ListPage::of(people(&case).iter(), form.page, CasePerson::of);
    let reason = given(&form.reason);
    for person in &list.rows {
        let person = console.admin.recorded_person(&person.id, given(&person.namespace).as_deref());
        console.record_look(&visitor, CASE, &person, reason.as_deref()).await?;
    }
    let shown = ShownPeople { list, reason: reason.unwrap_or_default() };
    console.case_page(&visitor, id, &case, Some(shown)).await
}

impl Console {
    /// Returns a case as decisions about records use it.
    pub(super) fn known_case(&self, id: &str) -> Result<Arc<Case>, AdminProblem> {
        self.admin.shared.ledger.case(id).ok_or_else(AdminProblem::not_found)
    }

    async fn case_page(
        &self,
        visitor: &Visitor,
        id: String,
        case: &Value,
        shown: Option<ShownPeople>,
    ) -> Result<Response, PageProblem> {
        let events = self.admin.events_about(Entity::Case(case_id(&id).map_err(AdminProblem::from)?)).await?;
        let known = self.known_case(&id)?;
        let status = known.status(Timestamp::now());
        let purpose = text(case, "purpose");
        let header = self.admin.shared.snapshot().purpose_header.clone();
        let mut members = vec![
            ("purpose", purpose.clone()),
            ("in force until (UTC)", short_time(&text(case, "end"))),
            ("reference", text(case, "reference")),
            ("confidential until (UTC)", short_time(&text(case, "confidential-until"))),
        ];
        members.retain(|(_, value)| !value.is_empty());
        Ok(html(&CasePage {
            chrome: self.chrome(visitor, format!("Case {id}"), "/console/cases"),
            state: case_chip(&known, Timestamp::now()),
            recipient: text(case, "recipient"),
            members,
            categories: texts(case, "categories"),
            citation: format!("{header}: {purpose};case=\"{id}\""),
            approvers: approvers(case).map(|(name, is_verified)| approver_chip(name, is_verified)).collect(),
            steps: steps(visitor, status, case).map_err(no_random)?,
            people: people(case).len(),
            shown,
            history: events.iter().rev().map(CaseEventRow::of).collect(),
            needs_reason: self.admin.needs_credentials(),
            shows_recipient: visitor.may_see("/console/recipients/{name}"),
            id,
        }))
    }
}

/// Returns who approved a case: the name, and if it is verified.
fn approvers(case: &Value) -> impl Iterator<Item = (String, bool)> {
    let list = case.get("approvers").and_then(Value::as_array).into_iter().flatten();
    list.map(|approver| (text(approver, "name"), approver.get("verified") == Some(&Value::Bool(true))))
}

fn approver_chip(name: String, is_verified: bool) -> StateChip {
    if is_verified { StateChip::good(name) } else { StateChip::warn(format!("{name}, unverified")) }
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
