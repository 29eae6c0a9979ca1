//! The form that asks for a reason before somebody is named.

use askama::Template;
use askama::filters::HtmlSafe;

use super::Console;
use super::filters;
use super::visitor::Visitor;

/// A form with a reason. It is shown again with what was entered if the reason cannot be accepted.
#[derive(Debug, Template)]
#[template(path = "reason_form.html")]
pub(super) struct ReasonForm {
    question: ReasonQuestion,
    form_token: String,
    needs_reason: bool,
    /// The reason as it was entered.
    reason: String,
    /// The problem with it, if it was sent before.
    pub(super) problem: Option<String>,
}

/// The words of a form with a reason, and where it is sent.
#[derive(Debug)]
pub(super) struct ReasonQuestion {
    pub(super) action: String,
    pub(super) hint: &'static str,
    pub(super) button: &'static str,
}

impl Console {
    /// Returns a form with a reason, as it was entered before, and the problem with it.
    pub(super) fn reason_form(
        &self,
        visitor: &Visitor,
        question: ReasonQuestion,
        reason: String,
        problem: Option<String>,
    ) -> ReasonForm {
        ReasonForm {
            question,
            form_token: self.memory.form_tokens.token(&visitor.owner),
            needs_reason: self.admin.needs_credentials(),
            reason,
            problem,
        }
    }
}

impl HtmlSafe for ReasonForm {}
