//! Where events are kept: the one seam between the ledger and a database.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use smol_str::SmolStr;
use ulid::Ulid;

use super::event::{Entity, EntityKind};
use super::policies::PolicyMemory;
use crate::vocabulary::Namespaces;

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
pub type IdempotencyDigest = [u8; 16];

/// A digest of what was asked for under an `Idempotency-Key`.
pub type RequestDigest = [u8; 16];

/// One event as it is kept.
#[derive(Clone)]
pub struct StoredEvent {
    pub position: Position,
    pub id: Ulid,
    /// When the ledger took it; its `at` is in the event.
    pub recorded: Timestamp,
    /// The event as JSON, in the words of the vocabulary.
    pub event: String,
}

impl std::fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredEvent({})", self.position)
    }
}

/// An entity as it stands in the store: by the id that it had when its events were recorded, which an
/// earlier rule of its namespace may have read. `Debug` prints the type's name only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoredEntity {
    pub kind: EntityKind,
    /// Of a person or controller; `None` is the default one.
    pub namespace: Option<Arc<str>>,
    pub id: SmolStr,
}

impl StoredEntity {
    /// How an entity is stored today.
    pub fn of(entity: &Entity) -> StoredEntity {
        let sort = entity.kind();
        match entity {
            Entity::Subject(person) | Entity::Controller(person) => {
                StoredEntity { kind: sort, namespace: person.namespace().cloned(), id: person.id().clone() }
            }
            Entity::Recipient(name) | Entity::Case(name) => {
                StoredEntity { kind: sort, namespace: None, id: SmolStr::new(name) }
            }
        }
    }

    /// Whom the rules of today mean by it.
    pub fn entity(&self, namespaces: &Namespaces) -> Entity {
        let person = || namespaces.reader(self.namespace.as_deref()).read_recorded(&self.id);
        match self.kind {
            EntityKind::Subject => Entity::Subject(person()),
            EntityKind::Controller => Entity::Controller(person()),
            EntityKind::Recipient => Entity::Recipient(Arc::from(self.id.as_str())),
            EntityKind::Case => Entity::Case(Arc::from(self.id.as_str())),
        }
    }
}

impl std::fmt::Debug for StoredEntity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredEntity")
    }
}

/// One event to be kept.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub entity: Entity,
    pub stored: StoredEvent,
    pub idempotency: Option<(IdempotencyDigest, RequestDigest)>,
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
    fn append(&self, batch: &[NewEvent]) -> Result<(), StoreError>;

    /// The events of one entity, in the order of their positions.
    fn history(&self, entity: &StoredEntity) -> Result<Vec<StoredEvent>, StoreError>;

    /// Every id of a sort in a namespace that has events.
    fn entity_ids(&self, sort: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError>;

    /// The ids of all cases.
    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError>;

    /// Every event, those of one entity together; ends early where `each` says `false`.
    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError>;

    /// The event recorded under an idempotency key, with the digest of what was asked for.
    fn find_repeated(
        &self,
        key: &IdempotencyDigest,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError>;

    /// Whether everything that was kept is still there, as far as a look can tell. A file can be
    /// removed, replaced or put back under a running process.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    fn check_intact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The last durable position, or the last that was accepted as lost, whichever is later.
    fn last_position(&self) -> Result<Position, StoreError>;

    /// Goes on behind a position whose events are lost, for good.
    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError>;

    /// What is remembered of the policies.
    fn policies(&self) -> Result<PolicyMemory, StoreError>;

    /// Adds to that: a first sight that is on record stays, the places that `memory` names get its
    /// versions, others keep theirs.
    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError>;

    /// The recipients that any event names or is about.
    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError>;
}
