//! The identity of a data subject or a controller, the same type at every door.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

/// The identity of a person or controller as a record spells it, normalised as the mapping says.
///
/// `Debug` prints the type's name only: an id never reaches a log.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SubjectId {
    /// `None` is the default namespace.
    pub namespace: Option<Arc<str>>,
    /// Short ones, as most are, are kept in place.
    pub id: SmolStr,
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectId")
    }
}
