//! Approves and ends a case: the same as through the API, for the same roles, after a page that asks.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::Console;
use super::cases::people;
use super::chrome::html;
use super::confirm::{ConfirmPage, fixed};
use super::event_form::{EnteredFields, form_key};
use super::filters::encode;
use super::json_text::{short_time, text, texts};
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::subject::given;
use super::visitor::Visitor;
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
        return Err(AdminProblem::new(AdminCode::EventMalformed, "enter the name of who approves").into());
    };
    let page = format!("/console/cases/{}", encode(&id));
    let action = format!("{page}/approve");
    if !console.is_confirmed(&visitor, &action, &entered) {
        return Ok(html(&ConfirmPage {
            chrome: console.chrome(&visitor, "Confirm", "/console/cases"),
            question: format!("Approve case {id}?"),
            consequences: consequences(&known, &case, &approver),
            about: Vec::new(),
            fields: console.repeated(&visitor, &action, entered),
            action,
            button: "Approve",
            back: page,
            asks_reason: false,
        }));
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
    let page = format!("/console/cases/{}", encode(&id));
    let action = format!("{page}/end");
    if !console.is_confirmed(&visitor, &action, &entered) {
        return Ok(html(&ConfirmPage {
            chrome: console.chrome(&visitor, "Confirm", "/console/cases"),
            question: format!("End case {id}?"),
            consequences: fixed(END),
            about: Vec::new(),
            fields: console.repeated(&visitor, &action, entered),
            action,
            button: "End the case",
            back: page,
            asks_reason: true,
        }));
    }
    let reason = entered.get("reason").and_then(|reason| given(reason));
    let reason = reason.ok_or_else(|| {
        AdminProblem::new(AdminCode::ReasonMissing, "say why the case ends before its time")
    })?;
    let event = event_of(&visitor, &entered, &json!({ "evidence": reason }))?;
    console.admin.end_case(&id, &EventQuery::default(), event).await.map(|_| ())?;
    Ok(Redirect::to(&page).into_response())
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
fn consequences(known: &Case, case: &Value, approver: &str) -> Vec<String> {
    let (recipient, purpose) = (text(case, "recipient"), text(case, "purpose"));
    let (count, categories) = (people(case).len(), texts(case, "categories").join(", "));
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
            short_time(&text(case, "end"))
        ),
        "An approval cannot be taken back. The case can be ended.".to_owned(),
        format!("It is on record as the approval of {approver}."),
    ]
}
