//! Outcomes of opening a ledger and of recording events.

use ulid::Ulid;

use super::archive::UnreadableEvent;
use super::conflict::Conflict;
use super::event_json::EventError;
#[cfg(feature = "sqlite")]
use super::store::sqlite::FileError;
use super::store::{Position, StoreError};
use crate::keys::KeysError;

/// The confirmation that an event is durable and in force in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Id of the event.
    pub event: Ulid,
    /// Position of the event in the ledger.
    pub position: Position,
    /// True if the event was recorded before, under the same idempotency key or from the same line of an import.
    pub repeated: bool,
    /// True if the event changed what is in force about its entity.
    pub changed: bool,
}

/// An error that keeps a ledger from opening.
#[derive(Debug, thiserror::Error)]
pub enum LedgerOpenError {
    /// The ledger file cannot be opened.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    File(#[from] FileError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event withholds something in terms that the vocabulary no longer has.
    #[error(transparent)]
    Unreadable(#[from] UnreadableEvent),
    /// The system cannot start a thread.
    #[error("the ledger's thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The system provides no random bytes.
    #[error(transparent)]
    Random(KeysError),
}

/// An error that keeps an event from being recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The event itself is invalid.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The event contradicts the events on record.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The event's time is further ahead of our clock than the tolerance for senders' clocks.
    #[error("`at` lies in the future")]
    Future,
    /// The idempotency key belongs to an event with other content.
    #[error("the idempotency key was used before for another event")]
    KeyReused,
    /// The store has failed, so that nothing is recorded any more.
    #[error("the ledger is not available: its store has failed")]
    Unavailable,
}
