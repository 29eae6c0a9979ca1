//! Errors in the JSON of an event.

use crate::ledger::entity::EntityKind;
use crate::vocabulary::VOCABULARY_HINT;

/// The maximum length of an event's JSON, in bytes.
pub const MAX_EVENT_BYTES: usize = 16 * 1024;

/// An error in an event. It names members, never values: a value may be personal data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum EventError {
    /// The text is not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// The text is longer than [`MAX_EVENT_BYTES`].
    #[error("longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// A member that the kind needs is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A member occurs more than once.
    #[error("`{0}` occurs more than once")]
    Repeated(String),
    /// No kind of event has a member of this name.
    #[error("`{0}` is not a member of an event")]
    UnknownMember(String),
    /// Other kinds of events have this member, this one does not.
    #[error("`{member}` is not a member of a `{kind}` event")]
    Misplaced { member: &'static str, kind: &'static str },
    /// The value of `kind` is not a kind of event; `known` lists all kinds.
    #[error("`kind` is not a kind of event{hint}", hint = hint_or_list(*nearest, known))]
    UnknownKind { nearest: Option<&'static str>, known: &'static [&'static str] },
    /// A term that the vocabulary does not have.
    #[error("`{member}` {problem}{hint}", hint = hint_or_vocabulary(nearest.as_deref()))]
    UnknownTerm { member: &'static str, problem: &'static str, nearest: Option<String> },
    /// A recipient that the configuration does not have.
    #[error("`recipient` is not a configured recipient{hint}", hint = hint(nearest.as_deref()))]
    UnknownRecipient { nearest: Option<String> },
    /// A namespace that the configuration does not have.
    #[error("`namespace` is not a configured namespace{hint}", hint = hint(nearest.as_deref()))]
    UnknownNamespace { nearest: Option<String> },
    /// The event has no namespace, and the configuration has no ids in the default one.
    #[error("`namespace` is missing: all ids of the configuration are in `{known}`")]
    NamespaceMissing { known: String },
    /// The event is about another kind of entity than its kind of event requires.
    #[error(
        "a `{kind}` event is about a {expected}, not about a {actual}",
        expected = expected.name(),
        actual = actual.name()
    )]
    WrongEntityKind { kind: &'static str, expected: EntityKind, actual: EntityKind },
    /// A member has a value that it cannot have.
    #[error("`{member}` {problem}")]
    InvalidMember { member: &'static str, problem: &'static str },
}

impl EventError {
    /// Returns the error for a member with an invalid value. `problem` completes the sentence that begins with
    /// the member's name.
    pub(in crate::ledger) fn invalid(member: &'static str, problem: &'static str) -> EventError {
        EventError::InvalidMember { member, problem }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

fn hint_or_vocabulary(nearest: Option<&str>) -> String {
    match nearest {
        None => format!("; {VOCABULARY_HINT}"),
        nearest => hint(nearest),
    }
}

fn hint_or_list(nearest: Option<&str>, known: &[&str]) -> String {
    match nearest {
        None => format!(": {}", known.join(", ")),
        nearest => hint(nearest),
    }
}
