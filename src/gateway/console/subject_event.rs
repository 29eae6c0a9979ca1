//! Events about a person that somebody records in a form: the same as through the API, for the same roles.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;

use super::Console;
use super::confirm::{ConfirmQuestion, fixed};
use super::event_form::{EnteredFields, entered_event, form_key};
use super::json_text::text;
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::subject::STATE;
use super::visitor::Visitor;
use crate::gateway::admin::event::EventBody;
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::PathText;
use crate::ledger::Entity;
use crate::vocabulary::SubjectId;

/// The kind of event that no other event lifts.
const FINAL: &str = "erasure";
/// The consequences of an erasure.
const CONSEQUENCES: &[&str] = &[
    "The erasure is final: no event lifts it, and nobody can undo it.",
    "From now on the rules count the person's data as erased, and withhold what they withhold of erased data. This is in force on this gateway when the page answers. Other gateways of the ledger follow within seconds, or stop.",
    "Recipients that received data of the person are told to erase them (GDPR Art. 19).",
    "When they were told, or after `notice-limit` even if some or all could not be told, the secret is deleted under which the disclosure log names the person. Then nobody can find the person's disclosures any more, and no report can list them.",
    "The data themselves are in the API behind this gateway: erase them there.",
];

/// Records an event of any kind.
pub(super) async fn record(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(handle): PathText,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    console.record_entered(&visitor, handle, entered, None).await
}

/// Records a request of the person.
pub(super) async fn record_request(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(handle): PathText,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    console.record_entered(&visitor, handle, entered, Some("request-received")).await
}

/// Records the answer to a request of the person.
pub(super) async fn record_answer(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(handle): PathText,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    console.record_entered(&visitor, handle, entered, Some("request-answered")).await
}

impl Console {
    /// Records an event, or asks before one that cannot be undone. `kind` is the only one that the path takes.
    async fn record_entered(
        &self,
        visitor: &Visitor,
        handle: String,
        entered: EnteredFields,
        kind: Option<&str>,
    ) -> Result<Response, PageProblem> {
        let opened = self.opened(&handle, visitor)?;
        let event = entered_event(&entered);
        let entered_kind = event.get("kind").and_then(Value::as_str);
        if kind.is_some_and(|kind| entered_kind != Some(kind)) {
            return Err(AdminProblem::malformed("the form is for another kind of event").into());
        }
        let action = format!("/console/subjects/{handle}/events");
        if entered_kind == Some(FINAL) && !self.is_confirmed(visitor, &action, &entered) {
            // The page names the person.
            self.record_look(visitor, STATE, &opened.person, opened.reason.as_deref()).await?;
            return Ok(self.erasure_question(visitor, &opened.person, &event, (&handle, action), entered));
        }
        match self.record_form(visitor, &entered, &event, &Entity::Subject(opened.person.clone())).await {
            Ok(()) => Ok(Redirect::to(&format!("/console/subjects/{handle}#history")).into_response()),
            Err(problem) => Ok(self.form_again(visitor, (handle, opened), &entered, problem).await?),
        }
    }

    /// Records the event of a form. A form that is sent twice is one event.
    ///
    /// # Errors
    /// An [`AdminProblem`] as the API's for the same event.
    pub(super) async fn record_form(
        &self,
        visitor: &Visitor,
        entered: &EnteredFields,
        event: &Value,
        entity: &Entity,
    ) -> Result<(), AdminProblem> {
        let key = form_key(entered)
            .ok_or_else(|| AdminProblem::malformed("the form is incomplete: open its page again"))?;
        let actor = visitor.actor.clone().ok_or_else(AdminProblem::not_found)?;
        // The page is shown anew, so that the acknowledgement says nothing more.
        self.admin.record_form(EventBody::of_form(actor, key, event), entity).await.map(|_| ())
    }

    fn erasure_question(
        &self,
        visitor: &Visitor,
        person: &SubjectId,
        event: &Value,
        (handle, action): (&str, String),
        entered: EnteredFields,
    ) -> Response {
        let namespace = person.namespace().map(|name| ("namespace".to_owned(), name.to_string()));
        let entered_members = event.as_object().into_iter().flatten();
        let entered_members = entered_members.filter(|(name, _)| *name != "kind");
        let members = entered_members.map(|(name, _)| {
            let words = if name == "at" { "counts from (UTC)" } else { name };
            (words.to_owned(), text(event, name))
        });
        let about = std::iter::once(("person".to_owned(), person.id().to_string()));
        let question = ConfirmQuestion {
            path: "/console/subjects",
            question: "Record the erasure of this person?".to_owned(),
            about: about.chain(namespace).chain(members).collect(),
            consequences: fixed(CONSEQUENCES),
            action,
            button: "Record the erasure",
            back: format!("/console/subjects/{handle}"),
            asks_reason: false,
        };
        self.ask(visitor, question, entered, None)
    }
}
