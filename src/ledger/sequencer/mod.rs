//! The sequencer: gives events their positions and times, and orders their effects while they wait for the disk.
//!
//! Invariants: an event that withholds is in force before it is durable, one that grants only afterwards; positions
//! are given in the order in which events reach the committer; the state in force is always the fold of the durable
//! events and of the withholding parts of the waiting ones; a refusal reported now counts after everything that is
//! recorded, whatever the clocks of earlier senders said.

mod pending;
pub(in crate::ledger) mod thread;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::keys::{Fingerprint, Fingerprints};
use crate::ledger::changes::Changes;
use crate::ledger::conflict::Conflict;
use crate::ledger::entity::Entity;
use crate::ledger::entity_state::EntityState;
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::idempotency::Idempotency;
use crate::ledger::index::Index;
use crate::ledger::store::{IdempotencyDigest, NewEvent, Position, RequestDigest, StoreError, StoredEvent};
use crate::ledger::terms::TermLookup;
use pending::PendingEntity;

/// The time by which a sender's clock may be ahead of ours.
pub(in crate::ledger) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// The state in memory that events change, and the means to fold events into it.
pub(in crate::ledger) struct LiveState<'l> {
    pub(in crate::ledger) index: &'l Index,
    pub(in crate::ledger) changes: &'l Changes,
    pub(in crate::ledger) terms: &'l dyn TermLookup,
    pub(in crate::ledger) fingerprints: &'l Fingerprints,
}

/// The last position given, and the entities with events that wait for the disk.
#[derive(Default)]
pub(in crate::ledger) struct Sequencer {
    last: Position,
    pending: HashMap<Entity, PendingEntity>,
    /// The waiting events with an idempotency key.
    by_key: HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>,
}

/// An event that a sender reports.
pub(in crate::ledger) struct EventReport<'r> {
    pub(in crate::ledger) entity: &'r Entity,
    pub(in crate::ledger) draft: EventDraft,
    /// The idempotency key, and the event that was recorded under it before.
    pub(in crate::ledger) idempotency: Option<(Idempotency, Option<StoredEvent>)>,
    pub(in crate::ledger) now: Timestamp,
}

/// The result of accepting a report.
pub(in crate::ledger) enum Acceptance {
    /// A new event, which the committer makes durable.
    New { event: NewEvent, changed: bool },
    /// The repetition of a recorded event. It is not recorded again.
    Repeated(StoredEvent),
}

/// An error that keeps a report from being accepted.
#[derive(Debug)]
pub(in crate::ledger) enum AcceptError {
    /// The store cannot be read.
    Store(StoreError),
    /// The event contradicts the recorded ones.
    Conflict(Conflict),
}

impl From<StoreError> for AcceptError {
    fn from(error: StoreError) -> Self {
        AcceptError::Store(error)
    }
}

impl From<Conflict> for AcceptError {
    fn from(conflict: Conflict) -> Self {
        AcceptError::Conflict(conflict)
    }
}

impl Sequencer {
    /// Returns a sequencer whose first event follows `last`.
    pub(in crate::ledger) fn new(last: Position) -> Sequencer {
        Sequencer { last, ..Sequencer::default() }
    }

    /// Returns the waiting event with this idempotency key.
    pub(in crate::ledger) fn find_repeated(
        &self,
        key: &IdempotencyDigest,
    ) -> Option<&(StoredEvent, RequestDigest)> {
        self.by_key.get(key)
    }

    /// Accepts an event: gives it a time and a position, and puts in force what it withholds. `history` reads the
    /// durable events of the entity; it is called only if no event of the entity is waiting.
    pub(in crate::ledger) fn accept(
        &mut self,
        live: &LiveState<'_>,
        report: EventReport<'_>,
        history: impl FnOnce() -> Result<Vec<Event>, StoreError>,
    ) -> Result<Acceptance, AcceptError> {
        let entity = report.entity;
        let mut pending = match self.pending.remove(entity) {
            Some(pending) => pending,
            None => PendingEntity::new(history()?),
        };
        let acceptance = pending.accept(live, report, Position(self.last.0 + 1));
        if !pending.is_settled() {
            self.pending.insert(entity.clone(), pending);
        }
        if let Ok(Acceptance::New { event, .. }) = &acceptance {
            self.last = event.stored.position;
            if let Some((key, request)) = event.idempotency {
                self.by_key.insert(key, (event.stored.clone(), request));
            }
        }
        Ok(acceptance?)
    }

    /// Puts in force what a batch grants, once the batch is durable.
    pub(in crate::ledger) fn mark_durable(&mut self, live: &LiveState<'_>, batch: &[NewEvent]) {
        for event in batch {
            if let Some((key, _)) = &event.idempotency {
                self.by_key.remove(key);
            }
            let Some(pending) = self.pending.get_mut(&event.entity) else { continue };
            pending.mark_durable(live, &event.entity, event.stored.position);
            if pending.is_settled() {
                self.pending.remove(&event.entity);
            }
        }
    }
}

/// Folds the events of an entity and puts the result in force. A change that can withhold increments the epoch only
/// after it is in force. Otherwise a decision on the earlier state could have the epoch of the new one.
pub(in crate::ledger) fn put_in_force<'e>(
    live: &LiveState<'_>,
    entity: &Entity,
    events: impl Iterator<Item = &'e Event> + Clone,
    withholds: bool,
) {
    let fingerprint = fingerprint(live.fingerprints, entity);
    let state = EntityState::fold(entity, events, live.terms, live.fingerprints);
    let changed = live.index.put(entity, fingerprint, state);
    if changed && withholds {
        live.changes.push(fingerprint);
    }
}

/// Returns the fingerprint of an entity.
pub(in crate::ledger) fn fingerprint(fingerprints: &Fingerprints, entity: &Entity) -> Fingerprint {
    match entity {
        Entity::Subject(person) => fingerprints.subject(person),
        Entity::Controller(person) => fingerprints.controller(person),
        Entity::Recipient(name) => fingerprints.recipient(name),
        Entity::Case(id) => fingerprints.case(id),
    }
}
