//! The history of a person's log secret, as events and stored rows tell it.

use jiff::Timestamp;

use super::event::Event;
use super::kinds::EventKind;
use super::store::StoredSecret;
use crate::vocabulary::SubjectId;

/// A person whose data were erased and whose log secret was not deleted yet.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingErasure {
    /// The person.
    pub person: SubjectId,
    /// The time of the first erasure since the secret was last deleted.
    pub erased: Timestamp,
}

impl std::fmt::Debug for PendingErasure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingErasure")
    }
}

/// Returns the time of the first erasure after which the log secret was not deleted, given the events of a person in the
/// order in which they were recorded.
pub(super) fn erased_since<'e>(events: impl Iterator<Item = &'e Event>) -> Option<Timestamp> {
    events.fold(None, |since, event| match event.kind {
        EventKind::Erasure => since.or(Some(event.at)),
        EventKind::LogSecretErased => None,
        _ => since,
    })
}

/// True if an event follows the last erasure, other than the deletion of the log secret: the person has come back, or data
/// about the person go on to be used.
pub(super) fn is_known_since_erasure<'e>(events: impl Iterator<Item = &'e Event>) -> bool {
    events.fold(false, |is_known, event| match event.kind {
        EventKind::Erasure => false,
        EventKind::LogSecretErased => is_known,
        _ => true,
    })
}

/// Returns the secret of a person with several spellings: the oldest. A later event under another spelling does not change
/// it.
pub(super) fn oldest(secrets: impl Iterator<Item = Option<StoredSecret>>) -> Option<StoredSecret> {
    secrets.flatten().min_by_key(|stored| stored.since)
}
