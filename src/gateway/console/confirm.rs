//! The page that asks before something that cannot be undone, or that concerns many people.

use askama::Template;

use super::chrome::Chrome;
use super::event_form::EnteredFields;

/// The question, and the form that goes on.
#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub(super) struct ConfirmPage {
    pub(super) chrome: Chrome,
    pub(super) question: String,
    /// The consequences in words.
    pub(super) consequences: &'static [&'static str],
    /// Path that takes the form.
    pub(super) action: String,
    /// Fields that the form repeats.
    pub(super) fields: EnteredFields,
    pub(super) button: &'static str,
    /// The page to go back to.
    pub(super) back: String,
    /// True if the form asks for a reason.
    pub(super) asks_reason: bool,
}
