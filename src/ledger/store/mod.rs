//! Storage of events: the interface between the ledger and a database.
//!
//! [`Store`] is all that the ledger needs of a database. A new backend implements this trait and passes the tests
//! in `store/tests.rs`. A store does not read the events that it keeps, except for the recipients they name.

pub mod memory;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use smol_str::SmolStr;
use ulid::Ulid;

use super::entity::{Entity, EntityKind};
use super::policy_memory::PolicyMemory;
use crate::vocabulary::Namespaces;

/// The position of an event in the ledger. The first event has position 1; positions have no gaps, except where
/// an operator accepted the loss of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A digest of an entity and an `Idempotency-Key`.
pub type IdempotencyDigest = [u8; 16];

/// A digest of the event that was sent under an `Idempotency-Key`.
pub type RequestDigest = [u8; 16];

/// An event as a store keeps it. `Debug` prints the position only.
#[derive(Clone)]
pub struct StoredEvent {
    /// Position of the event in the ledger.
    pub position: Position,
    /// Id of the event.
    pub id: Ulid,
    /// The time at which the ledger accepted the event. The time from which it counts is in `event`.
    pub recorded: Timestamp,
    /// The event as JSON, in the terms of the vocabulary.
    pub event: String,
}

impl std::fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredEvent({})", self.position)
    }
}

/// An entity under its stored id: the id as the rules of that time normalized it when the event was recorded. The
/// present rules of the namespace may normalize it differently. `Debug` prints the type's name only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoredEntity {
    /// Kind of the entity.
    pub kind: EntityKind,
    /// Namespace of a person or controller; `None` is the default namespace.
    pub namespace: Option<Arc<str>>,
    /// Id of the entity; a recipient's is its name.
    pub id: SmolStr,
}

impl StoredEntity {
    /// Returns an entity as it is stored under the present rules for ids.
    pub fn of(entity: &Entity) -> StoredEntity {
        let kind = entity.kind();
        match entity {
            Entity::Subject(person) | Entity::Controller(person) => {
                StoredEntity { kind, namespace: person.namespace().cloned(), id: person.id().clone() }
            }
            Entity::Recipient(name) | Entity::Case(name) => {
                StoredEntity { kind, namespace: None, id: SmolStr::new(name) }
            }
        }
    }

    /// Returns the entity that the stored id denotes under the present rules for ids.
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

/// An event to append, with its position.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The entity that the event is about.
    pub entity: Entity,
    /// The event as it is to be stored.
    pub stored: StoredEvent,
    /// The idempotency key that the event is recorded under, and the digest of the request.
    pub idempotency: Option<(IdempotencyDigest, RequestDigest)>,
}

/// The failure of a store. After a failed append the content of the disk is unknown, so the ledger stops.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's store failed while {doing}")]
pub struct StoreError {
    /// The operation that failed, as a participle: "appending events".
    pub doing: &'static str,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Returns the failure of an operation.
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError { doing, source: source.into() }
    }
}

/// A durable, append-only store of events, with a record of the policies that were in force.
///
/// All methods block, so the runtime's workers do not call them. Readers may run beside an append; they see what
/// was durable before it. The ledger calls [`Store::append`] from one thread, with ascending positions.
///
/// # Errors
/// Every method returns [`StoreError`] if the database fails. The ledger then stops recording for good.
#[allow(clippy::missing_errors_doc, reason = "the errors of all methods are described at the trait")]
pub trait Store: Send + Sync {
    /// Appends all events of a batch or none. When this returns `Ok`, the batch survives a loss of power.
    fn append(&self, batch: &[NewEvent]) -> Result<(), StoreError>;

    /// Returns the events of one entity, ordered by position.
    fn history(&self, entity: &StoredEntity) -> Result<Vec<StoredEvent>, StoreError>;

    /// Returns the ids of all entities of a kind, in one namespace, that have events. Ordered by id.
    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError>;

    /// Returns the ids of all cases that have events, ordered.
    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError>;

    /// Passes every event to `each`, all events of one entity in a row and ordered by position. Stops when `each`
    /// returns `false`.
    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError>;

    /// Returns the event that was recorded under an idempotency key, with the digest of its request.
    fn find_repeated(
        &self,
        key: &IdempotencyDigest,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError>;

    /// Checks that everything that was stored is still there, as far as this is possible at low cost. A file can be
    /// removed, replaced or restored from a backup under a running process.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    fn check_intact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns the last durable position, or the last position that was accepted as lost if that is later.
    fn last_position(&self) -> Result<Position, StoreError>;

    /// Records that the events up to `until` are lost for good. Later positions follow `until`.
    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError>;

    /// Returns the record of the policies that were in force.
    fn policies(&self) -> Result<PolicyMemory, StoreError>;

    /// Merges `memory` into the record of policies. Times of first sight on record stay; the places that `memory`
    /// lists get its versions, other places keep theirs; texts of versions at no place are dropped.
    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError>;

    /// Returns the recipients that any event names or is about.
    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError>;
}
