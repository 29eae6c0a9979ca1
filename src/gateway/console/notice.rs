//! One open notice: what the recipient has to be told, and after a recorded reason about whom.
//!
//! Invariant: the page names the person only after the look is on record.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::confirm::{ConfirmQuestion, fixed};
use super::event_form::EnteredFields;
use super::filters;
use super::filters::encode;
use super::json_text::short_time;
use super::notices::{PATH, delivery_chip};
use super::problem_page::{FormProblem, PageProblem};
use super::reason_form::{ReasonForm, ReasonQuestion};
use super::screen::FormOf;
use super::subject::given;
use super::visitor::Visitor;
use crate::gateway::admin::act::{ActObject, PendingAct};
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::{NoParameters, PathText, QueryOf};
use crate::notices::{Notice, NoticeEvent, PersonName};

/// The consequences of closing a notice.
const CLOSE: &[&str] = &[
    "The notice is closed: the gateway does not send it, and does not remind you of it, any more. This cannot be undone.",
    "Your name and the reason are on record, and in the disclosure log that the recipient was told.",
];
/// The consequence of the last notice about an erasure.
const LAST: &str = "When each recipient was told of the erasure, nobody can find the person's disclosures in the log any more.";

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage {
    chrome: Chrome,
    id: String,
    recipient: String,
    shows_recipient: bool,
    age: StateChip,
    delivery: StateChip,
    members: Vec<(&'static str, String)>,
    categories: Vec<String>,
    person: NoticePerson,
    may_close: bool,
}

/// The person whom a notice is about.
enum NoticePerson {
    /// Not shown yet: the form that asks for the reason.
    Asked(ReasonForm),
    Shown {
        reason: String,
        members: Vec<(&'static str, String)>,
    },
}

/// The form that asks whom a notice is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PersonForm {
    reason: String,
}

/// Shows a notice without its person.
pub(super) async fn notice(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(id): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let notice = console.admin.open_notice(&id).await?;
    let now = console.admin.time_of_notices().await?;
    let form = console.reason_form(&visitor, person_question(&notice), String::new(), None);
    Ok(html(&console.notice_page(&visitor, (&notice, now), NoticePerson::Asked(form))))
}

/// Shows a notice with its person, after the look is on record.
pub(super) async fn show_person(
    State(console): State<Console>,
    visitor: Visitor,
    act: PendingAct,
    PathText(id): PathText,
    FormOf(form): FormOf<PersonForm>,
) -> Result<Response, PageProblem> {
    let notice = console.admin.open_notice(&id).await?;
    let now = console.admin.time_of_notices().await?;
    let (reason, person) = (given(&form.reason), console.admin.shared.notices.person_of(&notice));
    let recorded = console.admin.record_act(&act, ActObject::Person(&person), reason.as_deref()).await;
    if let Err(problem) = recorded {
        let problem = FormProblem::of(problem)?;
        let status = problem.status;
        let form = console.reason_form(&visitor, person_question(&notice), form.reason, Some(problem.words));
        let page = console.notice_page(&visitor, (&notice, now), NoticePerson::Asked(form));
        return Ok((status, html(&page)).into_response());
    }
    let known_as = match &notice.state.name {
        Some(PersonName::Id(id)) => format!("the id {id}"),
        Some(PersonName::Pseudonym(pseudonym)) => format!("the pseudonym {pseudonym}"),
        None => "not certain: find out from what it received".to_owned(),
    };
    let mut members = vec![("id", person.id().to_string())];
    members.extend(person.namespace().map(|name| ("namespace", name.to_string())));
    members.push(("the recipient knows the person by", known_as));
    let shown = NoticePerson::Shown { reason: reason.unwrap_or_default(), members };
    Ok(html(&console.notice_page(&visitor, (&notice, now), shown)))
}

/// Closes a notice whose recipient was told, or asks before.
pub(super) async fn delivered(
    State(console): State<Console>,
    visitor: Visitor,
    act: PendingAct,
    PathText(id): PathText,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    let notice = console.admin.open_notice(&id).await?;
    let page = format!("{PATH}/{}", encode(&id));
    let mut consequences = fixed(CLOSE);
    if notice.state.event == NoticeEvent::Erasure {
        consequences.push(LAST.to_owned());
    }
    let question = ConfirmQuestion {
        path: PATH,
        question: format!("Have you told {}?", notice.recipient()),
        about: vec![("event".to_owned(), notice.state.event.name().to_owned())],
        consequences,
        action: format!("{page}/delivered"),
        button: "Close the notice",
        back: page,
        asks_reason: true,
    };
    if !console.is_confirmed(&visitor, &question.action, &entered) {
        return Ok(console.ask(&visitor, question, entered, None));
    }
    let reason = entered.get("reason").and_then(|reason| given(reason));
    let closed = match &reason {
        None => Err(AdminProblem::new(AdminCode::ReasonMissing, "say how the recipient was told")),
        Some(reason) => console.admin.close_notice(&act, &notice, Some(reason.as_str())).await,
    };
    match closed {
        Ok(()) => Ok(Redirect::to(PATH).into_response()),
        Err(problem) => console.ask_again(&visitor, question, entered, problem),
    }
}

fn person_question(notice: &Notice) -> ReasonQuestion {
    ReasonQuestion {
        action: format!("{PATH}/{}/person#person", notice.id()),
        hint: "That you look, and why, is on record before the person is shown.",
        button: "Show who it is",
    }
}

impl Console {
    /// `now` is the time of notices.
    fn notice_page(
        &self,
        visitor: &Visitor,
        (notice, now): (&Notice, Timestamp),
        person: NoticePerson,
    ) -> NoticePage {
        let state = &notice.state;
        let is_failed = matches!(&person, NoticePerson::Asked(form) if form.problem.is_some());
        let time = |time: Timestamp| short_time(&time.to_string());
        NoticePage {
            chrome: self.chrome(visitor, if is_failed { "Error: Notice" } else { "Notice" }, PATH),
            id: notice.id().to_string(),
            recipient: notice.recipient().to_string(),
            shows_recipient: visitor.may_see("/console/recipients/{name}"),
            age: self.age_chip(notice, now),
            delivery: delivery_chip(notice),
            members: vec![
                ("event", state.event.name().to_owned()),
                ("time of the event (UTC)", time(state.at)),
                ("open since (UTC)", time(notice.since())),
                ("first received (UTC)", time(state.first)),
                ("last received (UTC)", time(state.last)),
            ],
            categories: state.categories.clone(),
            person,
            may_close: notice.is_open() && visitor.may("POST", "/v1/notices/{id}/delivered"),
        }
    }
}
