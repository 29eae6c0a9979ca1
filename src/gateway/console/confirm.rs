//! The page that asks before something that cannot be undone, or that concerns many people.
//!
//! Invariant: the answer counts for the fields that the page has shown, and for nothing else.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Console;
use super::chrome::{Chrome, html};
use super::event_form::EnteredFields;
use super::filters;
use super::problem_page::{FormProblem, PageProblem};
use super::visitor::Visitor;
use crate::gateway::admin::problem::AdminProblem;

/// Name of the field with the answer: it is bound to all that the page has shown.
const CONFIRMED: &str = "confirmed";
/// Name of the field that the page asks for.
const REASON: &str = "reason";
/// Fields that the page does not repeat, or asks for itself.
const OWN_FIELDS: [&str; 3] = ["form-token", REASON, CONFIRMED];

/// Something that is asked before it happens.
#[derive(Debug)]
pub(super) struct ConfirmQuestion {
    /// Path of the entry in the navigation.
    pub(super) path: &'static str,
    pub(super) question: String,
    /// Names and values of what the question is about.
    pub(super) about: Vec<(String, String)>,
    /// The consequences in words.
    pub(super) consequences: Vec<String>,
    /// Path that takes the form.
    pub(super) action: String,
    pub(super) button: &'static str,
    /// The page to go back to.
    pub(super) back: String,
    /// True if the form asks for a reason.
    pub(super) asks_reason: bool,
}

/// The question, and the form that goes on.
#[derive(Debug, Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    chrome: Chrome,
    question: ConfirmQuestion,
    /// Fields that the form repeats: those of [`Console::repeated`].
    fields: EnteredFields,
    /// The reason as it was entered.
    reason: String,
    /// Why the answer could not be recorded.
    problem: Option<FormProblem>,
}

/// Returns consequences that are always the same.
pub(super) fn fixed(consequences: &[&str]) -> Vec<String> {
    consequences.iter().map(|text| (*text).to_owned()).collect()
}

impl Console {
    /// Shows the page that asks. `problem`: it was answered, and that could not be recorded.
    pub(super) fn ask(
        &self,
        visitor: &Visitor,
        question: ConfirmQuestion,
        entered: EnteredFields,
        problem: Option<FormProblem>,
    ) -> Response {
        let status = problem.as_ref().map_or(StatusCode::OK, |problem| problem.status);
        let title = if problem.is_some() { "Error: Confirm" } else { "Confirm" };
        let reason = entered.get(REASON).cloned().unwrap_or_default();
        let page = ConfirmPage {
            chrome: self.chrome(visitor, title, question.path),
            fields: self.repeated(visitor, &question.action, entered),
            question,
            reason,
            problem,
        };
        (status, html(&page)).into_response()
    }

    /// Shows the page that asks again, with what was entered, and why that could not be recorded.
    ///
    /// # Errors
    /// The problem, if what was entered is not its cause.
    pub(super) fn ask_again(
        &self,
        visitor: &Visitor,
        question: ConfirmQuestion,
        entered: EnteredFields,
        problem: AdminProblem,
    ) -> Result<Response, PageProblem> {
        Ok(self.ask(visitor, question, entered, Some(FormProblem::of(problem)?)))
    }

    /// Returns the fields that the page which asks repeats, with the answer to its question.
    fn repeated(&self, visitor: &Visitor, action: &str, mut entered: EnteredFields) -> EnteredFields {
        entered.retain(|name, _| !OWN_FIELDS.contains(&name.as_str()));
        let answer = self.memory.form_tokens.token_for(&visitor.owner, &shown(action, &entered));
        entered.insert(CONFIRMED.to_owned(), answer);
        entered
    }

    /// True if a form for this path comes from the page that asks, with the fields that it has shown.
    pub(super) fn is_confirmed(&self, visitor: &Visitor, action: &str, entered: &EnteredFields) -> bool {
        let answer = entered.get(CONFIRMED).map(String::as_str).unwrap_or_default();
        self.memory.form_tokens.accepts_for(&visitor.owner, &shown(action, entered), answer)
    }
}

/// Returns path and fields as bytes. Each text has its length before it: no two forms have the same bytes.
fn shown(action: &str, entered: &EnteredFields) -> Vec<u8> {
    let repeated = entered.iter().filter(|(name, _)| !OWN_FIELDS.contains(&name.as_str()));
    let texts = repeated.flat_map(|(name, value)| [name.as_str(), value]);
    let texts = std::iter::once(action).chain(texts);
    texts.flat_map(|text| [&text.len().to_be_bytes()[..], text.as_bytes()].concat()).collect()
}
