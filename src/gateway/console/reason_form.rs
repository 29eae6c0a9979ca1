//! The form that asks for a reason before somebody is named.

use askama::Template;
use askama::filters::HtmlSafe;

use super::filters;

/// A form with a reason. It is shown again with what was entered if the reason cannot be accepted.
#[derive(Debug, Template)]
#[template(path = "reason_form.html")]
pub(super) struct ReasonForm {
    pub(super) action: String,
    pub(super) form_token: String,
    pub(super) needs_reason: bool,
    /// The reason as it was entered.
    pub(super) reason: String,
    /// The problem with it, if it was sent before.
    pub(super) problem: Option<String>,
    pub(super) hint: &'static str,
    pub(super) button: &'static str,
}

impl HtmlSafe for ReasonForm {}
