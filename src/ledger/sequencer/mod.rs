//! The order of effects: what is in force while an event is on its way to the disk.
//!
//! Invariants: what withholds is in force before it is durable, what grants only after; positions
//! are given in the order in which events reach the committer; a state in force is always the fold
//! of the durable events and of what the pending ones withhold; a refusal reported now counts after
//! everything that is recorded, whatever the clocks of those who reported it said.

pub(in crate::ledger) mod thread;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp, ToSpan};
use ulid::Ulid;

use crate::keys::{Fingerprint, Fingerprints};
use crate::ledger::changes::Changes;
use crate::ledger::conflict::{self, Conflict};
use crate::ledger::entity::Entity;
use crate::ledger::entity_state::EntityState;
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::event_json;
use crate::ledger::idempotency::{self, Idempotency};
use crate::ledger::index::Index;
use crate::ledger::kinds::{EventEffect, EventKind};
use crate::ledger::store::{IdempotencyDigest, NewEvent, Position, RequestDigest, StoreError, StoredEvent};
use crate::ledger::terms::TermLookup;

/// How far the clock of a sender may be ahead of ours.
pub(in crate::ledger) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// What the desk puts in force, and where.
pub(in crate::ledger) struct LiveState<'l> {
    pub(in crate::ledger) index: &'l Index,
    pub(in crate::ledger) changes: &'l Changes,
    pub(in crate::ledger) terms: &'l dyn TermLookup,
    pub(in crate::ledger) fingerprints: &'l Fingerprints,
}

/// The entities with events on their way to the disk.
#[derive(Default)]
pub(in crate::ledger) struct Sequencer {
    last: Position,
    pending: HashMap<Entity, PendingEntity>,
    once: HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>,
}

/// An event that is handed in.
pub(in crate::ledger) struct EventReport<'r> {
    pub(in crate::ledger) entity: &'r Entity,
    pub(in crate::ledger) draft: EventDraft,
    /// What makes a repetition the same event, and the event recorded under it before.
    pub(in crate::ledger) once: Option<(Idempotency, Option<StoredEvent>)>,
    pub(in crate::ledger) now: Timestamp,
}

/// What became of it.
pub(in crate::ledger) enum Acceptance {
    /// It is to be made durable.
    New { entry: NewEvent, changed: bool },
    /// A repetition that is not recorded anew.
    Repeated(StoredEvent),
}

/// Why an event is not taken in.
#[derive(Debug)]
pub(in crate::ledger) enum AcceptError {
    Store(StoreError),
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

/// One of them: what is durable, and what waits.
struct PendingEntity {
    durable: Vec<Event>,
    waiting: Vec<(Position, Event)>,
}

impl Sequencer {
    pub(in crate::ledger) fn new(last: Position) -> Sequencer {
        Sequencer { last, ..Sequencer::default() }
    }

    /// An event under this key that is not durable yet.
    pub(in crate::ledger) fn find_repeated(
        &self,
        key: &IdempotencyDigest,
    ) -> Option<&(StoredEvent, RequestDigest)> {
        self.once.get(key)
    }

    /// Takes an event in: gives it its time and position, and puts in force what it withholds.
    /// `history` is asked for the entity's durable events where they are not at hand.
    pub(in crate::ledger) fn accept(
        &mut self,
        force: &LiveState<'_>,
        report: EventReport<'_>,
        history: impl FnOnce() -> Result<Vec<Event>, StoreError>,
    ) -> Result<Acceptance, AcceptError> {
        let entity = report.entity;
        let mut folder = match self.pending.remove(entity) {
            Some(folder) => folder,
            None => PendingEntity { durable: history()?, waiting: Vec::new() },
        };
        let taken = folder.accept(force, report, Position(self.last.0 + 1));
        if !folder.waiting.is_empty() {
            self.pending.insert(entity.clone(), folder);
        }
        if let Ok(Acceptance::New { entry, .. }) = &taken {
            self.last = entry.stored.position;
            if let Some((key, asked)) = entry.idempotency {
                self.once.insert(key, (entry.stored.clone(), asked));
            }
        }
        Ok(taken?)
    }

    /// The batch is durable: what it grants comes into force.
    pub(in crate::ledger) fn mark_durable(&mut self, force: &LiveState<'_>, batch: &[NewEvent]) {
        for entry in batch {
            if let Some((key, _)) = &entry.idempotency {
                self.once.remove(key);
            }
            let Some(folder) = self.pending.get_mut(&entry.entity) else { continue };
            let withholds = folder.mark_durable(entry.stored.position);
            folder.put_in_force(force, &entry.entity, withholds);
            if folder.waiting.is_empty() {
                self.pending.remove(&entry.entity);
            }
        }
    }
}

impl PendingEntity {
    fn accept(
        &mut self,
        force: &LiveState<'_>,
        report: EventReport<'_>,
        position: Position,
    ) -> Result<Acceptance, Conflict> {
        let EventReport { entity, draft: EventDraft { kind, at, provenance }, once, now } = report;
        let at = self.time(&kind, at, now);
        let event = Event { kind, at, provenance };
        let before = self.state(force, entity, None);
        let with = |event: &Event| self.state(force, entity, Some(event));
        let once = match once {
            Some((once, Some(before_this))) => {
                if !idempotency::must_record_again(&once, &event, &before, with) {
                    return Ok(Acceptance::Repeated(before_this));
                }
                // The key stays with the first.
                None
            }
            Some((once, None)) => Some((once.key, once.request)),
            None => None,
        };
        conflict::check(&event.kind, self.recorded())?;
        let changed = with(&event) != before;
        let text = serde_json::Value::Object(event_json::write(&event, force.terms)).to_string();
        let kept = StoredEvent { position, id: Ulid::generate(), recorded: now, event: text };
        let withholds = event.withholding_part().is_some();
        self.waiting.push((position, event));
        if withholds {
            self.put_in_force(force, entity, true);
        }
        Ok(Acceptance::New {
            entry: NewEvent { entity: entity.clone(), stored: kept, idempotency: once },
            changed,
        })
    }

    /// Everything that is recorded.
    fn recorded(&self) -> impl Iterator<Item = &Event> + Clone {
        self.durable.iter().chain(self.waiting.iter().map(|(_, event)| event))
    }

    /// What will be in force when everything recorded is durable, and this too.
    fn state(&self, force: &LiveState<'_>, entity: &Entity, event: Option<&Event>) -> EntityState {
        EntityState::fold(entity, self.recorded().chain(event), force.terms, force.fingerprints)
    }

    /// The time that counts for an event reported now.
    ///
    /// Clocks differ: a refusal dated about now, or later, counts after everything that is recorded,
    /// and no grant lies ahead of our own clock. Where our clock was wrong before (recorded events
    /// lie ahead of it), the order of reports is all that is known.
    fn time(&self, kind: &EventKind, at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let Some(at) = at else { return self.after_all(now) };
        let about_now = now.duration_since(at) <= CLOCK_TOLERANCE;
        let at = at.min(now);
        match kind.effect() {
            EventEffect::Restrictive if about_now || self.is_ahead_of(now, CLOCK_TOLERANCE) => {
                self.after_all(at)
            }
            EventEffect::Mixed
                if about_now && kind.is_fact() && self.is_ahead_of(now, SignedDuration::ZERO) =>
            {
                self.after_all(at)
            }
            EventEffect::Restrictive
            | EventEffect::Mixed
            | EventEffect::Permissive
            | EventEffect::Neutral => at,
        }
    }

    /// Whether something is recorded that lies further ahead of now than this.
    fn is_ahead_of(&self, now: Timestamp, tolerance: SignedDuration) -> bool {
        self.latest().is_some_and(|latest| latest.duration_since(now) > tolerance)
    }

    fn latest(&self) -> Option<Timestamp> {
        self.recorded().map(|event| event.at).max()
    }

    /// This time, but after everything else that is known: events without a time of their own happen
    /// in the order in which they come, even where an earlier one was written by a clock that is
    /// ahead.
    fn after_all(&self, at: Timestamp) -> Timestamp {
        match self.latest() {
            Some(latest) if latest >= at => latest.checked_add(1.microsecond()).unwrap_or(latest),
            _ => at,
        }
    }

    /// Moves an event from what waits to what is durable; says whether it can withhold.
    fn mark_durable(&mut self, position: Position) -> bool {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == position) else {
            return false;
        };
        let (_, event) = self.waiting.remove(at);
        let withholds = withholds(&event);
        self.durable.push(event);
        withholds
    }

    fn put_in_force(&self, force: &LiveState<'_>, entity: &Entity, withholds: bool) {
        let early: Vec<_> = self.waiting.iter().filter_map(|(_, event)| event.withholding_part()).collect();
        if early.is_empty() && self.durable.is_empty() {
            return;
        }
        put_in_force(force, entity, self.durable.iter().chain(&early), withholds);
    }
}

fn withholds(event: &Event) -> bool {
    match event.kind.effect() {
        EventEffect::Restrictive | EventEffect::Mixed => true,
        EventEffect::Permissive | EventEffect::Neutral => false,
    }
}

/// Folds an entity's events and puts the outcome in force. A change that can withhold is pushed
/// after it is in force, so that nobody who judged before it takes it for seen.
pub(in crate::ledger) fn put_in_force<'e>(
    force: &LiveState<'_>,
    entity: &Entity,
    events: impl Iterator<Item = &'e Event> + Clone,
    withholds: bool,
) {
    let fingerprint = fingerprint(force.fingerprints, entity);
    let changed = force.index.put(
        entity,
        fingerprint,
        EntityState::fold(entity, events, force.terms, force.fingerprints),
    );
    if changed && withholds {
        force.changes.push(fingerprint);
    }
}

pub(in crate::ledger) fn fingerprint(fingerprints: &Fingerprints, entity: &Entity) -> Fingerprint {
    match entity {
        Entity::Subject(person) => fingerprints.subject(person),
        Entity::Controller(person) => fingerprints.controller(person),
        Entity::Recipient(name) => fingerprints.recipient(name),
        Entity::Case(id) => fingerprints.case(id),
    }
}
