//! Ids and names of entities in events: checked, and read by the rule of their namespace.

use std::sync::Arc;

use super::error::EventError;
use crate::ledger::terms::TermLookup;
use crate::vocabulary::{IdError, MAX_ID_BYTES, SubjectId};

/// The maximum length of the id of a disclosure case, in bytes. Requests cite the id in a header.
pub(super) const MAX_CASE_BYTES: usize = 128;

/// Reads the id of a person or controller by the rule of its namespace.
///
/// # Errors
/// [`EventError::InvalidMember`]: the id is empty, too long, or does not match the pattern of its namespace.
pub fn person(
    spelled: &str,
    namespace: Option<&str>,
    terms: &dyn TermLookup,
) -> Result<SubjectId, EventError> {
    check_namespace(namespace)?;
    terms.namespaces().reader(namespace).read(spelled).map_err(|error| match error {
        IdError::Length => EventError::invalid("subject", "is empty or longer than 512 bytes"),
        IdError::Pattern => EventError::invalid("subject", "does not fit the pattern of its namespace"),
    })
}

/// Checks the length of a namespace's name.
pub(super) fn check_namespace(namespace: Option<&str>) -> Result<(), EventError> {
    match namespace {
        Some(name) if name.is_empty() || name.len() > MAX_ID_BYTES => {
            Err(EventError::invalid("namespace", "is empty or longer than 512 bytes"))
        }
        _ => Ok(()),
    }
}

/// Checks the length of a recipient's name.
///
/// # Errors
/// [`EventError::InvalidMember`]: the name is empty or too long.
pub fn recipient_name(name: &str) -> Result<Arc<str>, EventError> {
    if name.is_empty() || name.len() > MAX_ID_BYTES {
        return Err(EventError::invalid("recipient", "is empty or longer than 512 bytes"));
    }
    Ok(Arc::from(name))
}

/// Checks the id of a case. It consists of letters, digits and `-._:/`, so that a header can cite it unescaped.
///
/// # Errors
/// [`EventError::InvalidMember`]: the id is empty, too long, or has another character.
pub fn case_id(id: &str) -> Result<Arc<str>, EventError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
    if id.is_empty() || id.len() > MAX_CASE_BYTES || !id.bytes().all(is_allowed) {
        return Err(EventError::invalid("case", "is not 1 to 128 letters, digits and `-._:/`"));
    }
    Ok(Arc::from(id))
}
