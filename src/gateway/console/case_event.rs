//! Approves and ends a case: the same as through the API, for the same roles, after a page that asks.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::Console;
use super::cases::PATH;
use super::confirm::{ConfirmQuestion, fixed};
use super::event_form::{EnteredFields, form_key};
use super::filters::encode;
use super::json_text::{short_time, text, texts};
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::subject::given;
use super::visitor::Visitor;
use crate::gateway::admin::case::RegisteredCase;
use crate::gateway::admin::event::{EventBody, EventQuery};
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::PathText;
use crate::ledger::{APPROVALS, Case};

/// The consequences of ending a case.
const END: &[&str] = &[
    "The recipient receives nothing under the case any more, and answers under way are cut. This is in force at once.",
    "The end is final: a case that has ended is never in force again. Register another one if it is needed.",
    "It is on record with your name and the reason.",
];

/// Approves a case, or asks before.
pub(super) async fn approve(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(id): PathText,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    let case = console.admin.case_of(&id).await?;
    let known = console.known_case(&id)?;
    let signed_in = visitor.actor.as_ref().and_then(|actor| actor.name()).map(ToString::to_string);
    let named = entered.get("approver").and_then(|name| given(name)).filter(|_| signed_in.is_none());
    let Some(approver) = signed_in.or_else(|| named.clone()) else {
        return console.approval_again(&visitor, id, &case).await;
    };
    let page = format!("{PATH}/{}", encode(&id));
    let question = ConfirmQuestion {
        path: PATH,
        question: format!("Approve case {id}?"),
        about: Vec::new(),
        consequences: consequences(&known, &case, &approver),
        action: format!("{page}/approve"),
        button: "Approve",
        back: page.clone(),
        asks_reason: false,
    };
    if !console.is_confirmed(&visitor, &question.action, &entered) {
        return Ok(console.ask(&visitor, question, entered, None));
    }
    let event = named.map_or_else(|| json!({}), |name| json!({ "approver": name }));
    let event = event_of(&visitor, &entered, &event)?;
    // The page is shown anew, so that the acknowledgement says nothing more.
    console.admin.approve_case(&id, &EventQuery::default(), event).await.map(|_| ())?;
    Ok(Redirect::to(&page).into_response())
}

/// Ends a case, or asks before.
pub(super) async fn end(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(id): PathText,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    console.admin.case_of(&id).await?;
    let page = format!("{PATH}/{}", encode(&id));
    let question = ConfirmQuestion {
        path: PATH,
        question: format!("End case {id}?"),
        about: Vec::new(),
        consequences: fixed(END),
        action: format!("{page}/end"),
        button: "End the case",
        back: page.clone(),
        asks_reason: true,
    };
    if !console.is_confirmed(&visitor, &question.action, &entered) {
        return Ok(console.ask(&visitor, question, entered, None));
    }
    let ended = match entered.get("reason").and_then(|reason| given(reason)) {
        None => Err(AdminProblem::new(AdminCode::ReasonMissing, "say why the case ends before its time")),
        Some(reason) => {
            let event = event_of(&visitor, &entered, &json!({ "evidence": reason }))?;
            console.admin.end_case(&id, &EventQuery::default(), event).await.map(|_| ())
        }
    };
    match ended {
        Ok(()) => Ok(Redirect::to(&page).into_response()),
        Err(problem) => console.ask_again(&visitor, question, entered, problem),
    }
}

/// Returns the event of a form about a case. A form that is sent twice is one event.
pub(super) fn event_of(
    visitor: &Visitor,
    entered: &EnteredFields,
    event: &Value,
) -> Result<EventBody, AdminProblem> {
    let key = form_key(entered)
        .ok_or_else(|| AdminProblem::malformed("the form is incomplete: open its page again"))?;
    let actor = visitor.actor.clone().ok_or_else(AdminProblem::not_found)?;
    Ok(EventBody::of_form(actor, key, event))
}

/// Returns the consequences of an approval of this case.
fn consequences(known: &Case, case: &RegisteredCase, approver: &str) -> Vec<String> {
    let outline = &case.outline;
    let (recipient, purpose) = (text(outline, "recipient"), text(outline, "purpose"));
    let (count, categories) = (case.people_count(), texts(outline, "categories").join(", "));
    let people = if count == 1 { "1 person".to_owned() } else { format!("{count} people") };
    let effect = match APPROVALS.saturating_sub(known.approvals()) {
        0 | 1 => "It is the second approval: the case is in force at once.",
        _ => {
            "It is the first of two approvals: nothing is in force before somebody else approves. The same person cannot approve twice."
        }
    };
    vec![
        effect.to_owned(),
        format!(
            "In force, it lets {recipient} receive these data of {people} for {purpose}: {categories}. It ends on {} UTC.",
            short_time(&text(outline, "end"))
        ),
        "An approval cannot be taken back. The case can be ended.".to_owned(),
        format!("It is on record as the approval of {approver}."),
    ]
}
