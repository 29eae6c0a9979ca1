//! Suspends and resumes a recipient: the same as through the API, for the same roles, and with a reason.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;

use super::Console;
use super::confirm::{ConfirmQuestion, fixed};
use super::event_form::EnteredFields;
use super::filters::encode;
use super::problem_page::PageProblem;
use super::recipients::PATH;
use super::screen::FormOf;
use super::subject::given;
use super::visitor::Visitor;
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::PathText;
use crate::ledger::Entity;

/// An event about a recipient, and the words of the page that asks before it.
struct RecipientChange {
    kind: &'static str,
    /// The question, without the name.
    question: &'static str,
    consequences: &'static [&'static str],
    button: &'static str,
}

const CHANGES: [RecipientChange; 2] = [
    RecipientChange {
        kind: "suspended",
        question: "Suspend",
        consequences: &[
            "It receives nothing any more: its requests are refused with `recipient-suspended`, and answers under way are cut. This is in force at once.",
            "It holds on every gateway that shares the ledger, for all of its credentials and purposes.",
            "It can still read notices about erasures, corrections and restrictions.",
            "Only an event that resumes it ends the suspension. Both are on record with your name and the reason.",
        ],
        button: "Suspend",
    },
    RecipientChange {
        kind: "resumed",
        question: "Resume",
        consequences: &[
            "Its requests are decided by the policy again: by its purposes, its agreement, and the people's choices as they are now.",
            "A suspension by the configuration stays: only a change of the configuration ends it.",
            "It is on record with your name and the reason.",
        ],
        button: "Resume",
    },
];

/// Records the event, or asks before it.
pub(super) async fn record(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(name): PathText,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    let recipient = console.admin.recipient(&name)?;
    let kind = entered.get("kind").map(String::as_str).unwrap_or_default();
    let change = CHANGES.iter().find(|change| change.kind == kind);
    let change = change.ok_or_else(|| AdminProblem::malformed("the form is for another kind of event"))?;
    let page = format!("{PATH}/{}", encode(&name));
    let question = ConfirmQuestion {
        path: PATH,
        question: format!("{} {name}?", change.question),
        about: Vec::new(),
        consequences: fixed(change.consequences),
        action: format!("{page}/events"),
        button: change.button,
        back: page.clone(),
        asks_reason: true,
    };
    if !console.is_confirmed(&visitor, &question.action, &entered) {
        return Ok(console.ask(&visitor, question, entered, None));
    }
    let recorded = match entered.get("reason").and_then(|reason| given(reason)) {
        None => Err(AdminProblem::new(AdminCode::ReasonMissing, format!("say why `{kind}` is recorded"))),
        Some(reason) => {
            let event = json!({ "kind": kind, "evidence": reason });
            console.record_form(&visitor, &entered, &event, &Entity::Recipient(recipient)).await
        }
    };
    match recorded {
        Ok(()) => Ok(Redirect::to(&format!("{page}#suspension")).into_response()),
        Err(problem) => console.ask_again(&visitor, question, entered, problem),
    }
}
