//! Storage of events: the interface between the ledger and a database.
//!
//! [`Store`] is all that the ledger needs of a database. A new backend implements this trait and passes the tests
//! in `store/tests.rs`. A store does not read the events that it keeps, except for the recipients they name.

pub(super) mod coordination;
pub(super) mod lease_observer;
pub mod memory;
mod notice;
#[cfg(feature = "postgres")]
pub(super) mod postgres;
pub mod shared;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use smol_str::SmolStr;
use ulid::Ulid;

pub(super) use notice::first_id;
pub use notice::{DueRows, MAX_NOTICE_ROWS, NEVER, NoticeCounts, NoticeRow, NoticeStore, rewrite_row};

use super::entity::{Entity, EntityKind};
use super::ledger_id::LedgerId;
use super::policy_memory::PolicyMemory;
use crate::keys::LogSecret;
use crate::vocabulary::Namespaces;
use shared::SharedStore;

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

/// An event with everything that a store keeps about it.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// The entity that the event is about, under the id that the event was recorded with.
    pub entity: StoredEntity,
    /// The event itself.
    pub stored: StoredEvent,
    /// The idempotency key that the event is recorded under, and the digest of the request.
    pub idempotency: Option<(IdempotencyDigest, RequestDigest)>,
    /// The change of the person's log secret that is made in the same transaction. A row that was read says
    /// [`SecretChange::Keep`].
    pub log_secret: SecretChange,
}

/// A log secret as a store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret.
    pub secret: LogSecret,
    /// Position of the event that made it.
    pub since: Position,
}

/// The effect of an event on the log secret of the person that it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretChange {
    /// The person keeps the secret.
    #[default]
    Keep,
    /// The person gets this secret, unless there is one.
    Make(StoredSecret),
    /// The secrets under these spellings of the person's id are deleted.
    Erase(Vec<StoredEntity>),
    /// The secrets under these spellings are deleted, and the person gets another one.
    Replace(Vec<StoredEntity>, StoredSecret),
}

/// The changes that an append makes to the log secrets: those to delete first, then those to add where there is none, in
/// order.
#[derive(Debug, Default)]
pub(super) struct SecretChanges<'r> {
    pub(super) erased: Vec<&'r StoredEntity>,
    pub(super) made: Vec<(&'r StoredEntity, StoredSecret)>,
}

impl<'r> SecretChanges<'r> {
    /// Returns the outcome of the rows, in their order.
    pub(super) fn of(rows: &'r [EventRow]) -> SecretChanges<'r> {
        let mut changes = SecretChanges::default();
        for row in rows {
            match &row.log_secret {
                SecretChange::Keep => {}
                SecretChange::Make(secret) => changes.made.push((&row.entity, *secret)),
                SecretChange::Erase(spellings) => changes.erase(spellings),
                SecretChange::Replace(spellings, secret) => {
                    changes.erase(spellings);
                    changes.made.push((&row.entity, *secret));
                }
            }
        }
        changes
    }

    fn erase(&mut self, spellings: &'r [StoredEntity]) {
        self.made.retain(|(made, _)| !spellings.contains(made));
        self.erased.extend(spellings);
    }
}

/// The content of a store about one entity.
#[derive(Clone, Debug, Default)]
pub struct StoredHistory {
    /// The events, ordered by position.
    pub events: Vec<StoredEvent>,
    /// The log secret; `None` if it was deleted, and for an entity that is not a person.
    pub log_secret: Option<StoredSecret>,
}

/// The part of the ledger that a reader knows: everything up to a position. The id of the last event tells two histories
/// with the same positions apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownHistory {
    /// Last position that the reader knows.
    pub position: Position,
    /// Position and id of the last event up to `position`; `None` if there is no event. It is before `position` where the
    /// positions in between were lost. A store that has another event there has another history.
    pub last_event: Option<(Position, Ulid)>,
}

impl KnownHistory {
    /// Returns the history that ends with this event.
    pub fn ending_with(event: &StoredEvent) -> KnownHistory {
        KnownHistory { position: event.position, last_event: Some((event.position, event.id)) }
    }
}

/// The events after a known history.
#[derive(Clone, Debug)]
pub enum Continuation {
    /// The known history is the beginning of the store's.
    Continues {
        /// Last position of the store at the moment of reading.
        head: Position,
        /// The events after the known history, ordered by position. If there are more than the reader asked for, the
        /// rest is missing, and the last event is before `head`.
        events: Vec<EventRow>,
    },
    /// The store's history ends before the known one, or has another event in its place: the store was put back to an
    /// older state.
    Diverges {
        /// Last position of the store.
        head: Position,
    },
}

/// The end of the ledger while an append keeps other writers out.
#[derive(Clone, Debug)]
pub struct LedgerTail {
    /// Last position. The first event to append gets the next one.
    pub last: Position,
    /// The events that other writers appended after the known history, ordered by position.
    pub missed: Vec<EventRow>,
}

/// Determines the events to append, given the end of the ledger.
pub type Sequencing<'s> = dyn FnMut(LedgerTail) -> Result<Vec<EventRow>, StoreError> + 's;

/// The outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The events are durable.
    Durable,
    /// Nothing was appended: more than [`MAX_MISSED`] events were missed, or the history diverges. The writer follows the
    /// ledger first and tries again.
    Behind,
}

/// Maximum number of missed events that an append passes to its sequencing.
pub const MAX_MISSED: usize = 4096;

/// The version of a store's schema before and after the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    /// The version that was found; `None` if there was no ledger.
    pub from: Option<i32>,
    /// The version that the schema has now.
    pub to: i32,
}

/// A loss of events that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossOfEvents {
    /// Last position before the loss.
    pub behind: Position,
    /// Last position that is lost.
    pub until: Position,
    /// The time at which an operator accepted it; `None` while nobody has.
    pub accepted: Option<Timestamp>,
}

/// The failure of a store.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's store failed while {doing}")]
pub struct StoreError {
    /// The operation that failed, as a participle: "appending events".
    pub doing: &'static str,
    /// True if the operation may succeed later: a server cannot be reached, or ended a transaction. It is unknown then
    /// whether an append became durable. False if the store is lost to this process: after a failed write to a disk, its
    /// content is unknown, and a retry would only hide that.
    pub transient: bool,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Returns the failure of an operation after which the store is lost to this process.
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError { doing, transient: false, source: source.into() }
    }

    /// Returns the failure of an operation that may succeed later.
    pub fn transient(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError { doing, transient: true, source: source.into() }
    }
}

/// A durable, append-only store of events, with a record of the policies that were in force.
///
/// All methods block, so the runtime's workers do not call them. Readers may run beside an append; they see what
/// was durable before it.
///
/// # Errors
/// Every method returns [`StoreError`] if the database fails.
#[allow(clippy::missing_errors_doc, reason = "the errors of all methods are described at the trait")]
pub trait Store: Send + Sync {
    /// Appends events at the end of the ledger, all or none. When this returns [`Appended::Durable`], they survive a loss
    /// of power.
    ///
    /// No other writer appends from the moment at which the store reads the end of the ledger until the events are durable
    /// or the append fails. Between the two, `sequence` is called once with the end of the ledger. It returns the events,
    /// numbered without gaps from the position after [`LedgerTail::last`]; no events are a success. Its error ends the
    /// append, and nothing is appended. `sequence` may read the store.
    ///
    /// The changes of log secrets are made in the order of the rows, in the same transaction. A secret that is deleted is
    /// in no file of the store afterwards, as far as the store can see to it.
    fn append(&self, known: &KnownHistory, sequence: &mut Sequencing<'_>) -> Result<Appended, StoreError>;

    /// Returns the events after `known`, at most `limit`.
    fn follow(&self, known: &KnownHistory, limit: usize) -> Result<Continuation, StoreError>;

    /// Returns the events of each entity, ordered by position, and the log secrets of people.
    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<StoredHistory>, StoreError>;

    /// Returns the log secrets of people.
    fn log_secrets(&self, entities: &[StoredEntity]) -> Result<Vec<Option<StoredSecret>>, StoreError>;

    /// Returns the events that were recorded under these idempotency keys, with the digests of their requests.
    fn find_repeated(
        &self,
        keys: &[IdempotencyDigest],
    ) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, StoreError>;

    /// Returns the ids of all entities of a kind, in one namespace, that have events. Ordered by id.
    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError>;

    /// Returns the ids of all cases that have events, ordered.
    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError>;

    /// Passes every event to `each`, all events of one entity in a row and ordered by position. Stops when `each`
    /// returns `false`. `each` may read the store.
    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError>;

    /// Returns the events about people whose text contains `part`, newest first: those from position `from` up to the one
    /// before `before`. At most `limit`.
    fn events_with(
        &self,
        part: &str,
        from: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<(StoredEntity, StoredEvent)>, StoreError>;

    /// Checks that everything that was stored is still there, as far as this is possible at low cost. A file can be
    /// removed, replaced or restored from a backup under a running process.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    fn check_intact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns the id of the ledger; `None` if the store has an earlier version, which can only be read.
    fn id(&self) -> Result<Option<LedgerId>, StoreError>;

    /// Gives a store the id of the ledger that is copied to it.
    fn take_id(&self, id: LedgerId) -> Result<(), StoreError>;

    /// Returns the history that the store has.
    fn history_end(&self) -> Result<KnownHistory, StoreError>;

    /// Records that the events up to `until` are lost for good. Later positions follow `until`.
    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError>;

    /// Returns the losses of events, in the order in which they were recorded.
    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError>;

    /// Returns the record of the policies that were in force.
    fn policies(&self) -> Result<PolicyMemory, StoreError>;

    /// Merges `memory` into the record of policies. Times of first sight on record stay; the places that `memory`
    /// lists get its versions, other places keep theirs; texts of versions at no place are dropped.
    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError>;

    /// Returns the recipients that any event names or is about.
    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError>;

    /// Returns the notices.
    fn notice_store(&self) -> &dyn NoticeStore;

    /// Returns the means by which several gateways use this store together. `None` if this process is the only writer,
    /// so that it knows everything that is recorded.
    fn shared(&self) -> Option<&dyn SharedStore> {
        None
    }
}
