//! Where events are kept: the one seam between the ledger and a database.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::event::Entity;

/// The place of an event in the ledger: 1 for the first, without holes but where lost events were
/// accepted as lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A digest of an entity and an `Idempotency-Key`.
pub type OnceKey = [u8; 16];

/// A digest of what was asked for under an `Idempotency-Key`.
pub type Asked = [u8; 16];

/// One event as it is kept.
#[derive(Clone)]
pub struct Kept {
    pub position: Position,
    pub id: Ulid,
    /// When the ledger took it; its `at` is in the event.
    pub recorded: Timestamp,
    /// The event as JSON, in the words of the vocabulary.
    pub event: String,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.position)
    }
}

/// One event to be kept.
#[derive(Clone, Debug)]
pub struct Entry {
    pub entity: Entity,
    pub kept: Kept,
    pub once: Option<(OnceKey, Asked)>,
}

/// Why a store failed. After a failed append nobody knows what is on disk: the ledger stops.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's store fails: {doing}")]
pub struct StoreError {
    pub doing: &'static str,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError { doing, source: source.into() }
    }
}

/// Keeps events. Readers may call while an append is under way and see what was durable before it.
pub trait Store: Send + Sync {
    /// Keeps all of a batch or nothing; when it returns, the batch survives a loss of power.
    fn append(&self, batch: &[Entry]) -> Result<(), StoreError>;

    /// The events of one entity.
    fn history(&self, entity: &Entity) -> Result<Vec<Kept>, StoreError>;

    /// The ids of all cases.
    fn cases(&self) -> Result<Vec<Arc<str>>, StoreError>;

    /// Every event, those of one entity together; ends early where `each` says `false`.
    fn scan(&self, each: &mut dyn FnMut(&Entity, Kept) -> bool) -> Result<(), StoreError>;

    /// The event recorded under an idempotency key, with the digest of what was asked for.
    fn once(&self, key: &OnceKey) -> Result<Option<(Kept, Asked)>, StoreError>;

    /// Whether everything that was kept is still there, as far as a look can tell. A file can be
    /// removed, replaced or put back under a running process.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    fn intact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The last durable position, or the last that was accepted as lost, whichever is later.
    fn last(&self) -> Result<Position, StoreError>;

    /// Goes on behind a position whose events are lost, for good.
    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError>;

    /// The recipients that any event names or is about.
    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError>;
}
