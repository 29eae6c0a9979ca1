//! The events of one entity while some of them wait for the disk.

use jiff::{SignedDuration, Timestamp, ToSpan};
use ulid::Ulid;

use super::{Acceptance, CLOCK_TOLERANCE, EventReport, LiveState, put_in_force};
use crate::ledger::conflict::{self, Conflict};
use crate::ledger::entity::Entity;
use crate::ledger::entity_state::EntityState;
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::event_json;
use crate::ledger::idempotency;
use crate::ledger::kinds::{EventEffect, EventKind};
use crate::ledger::store::{NewEvent, Position, StoredEvent};

/// An entity with events that wait for the disk.
pub(super) struct PendingEntity {
    durable: Vec<Event>,
    waiting: Vec<(Position, Event)>,
}

impl PendingEntity {
    pub(super) fn new(durable: Vec<Event>) -> PendingEntity {
        PendingEntity { durable, waiting: Vec::new() }
    }

    /// True if no event waits for the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Accepts an event at a position, and puts in force what the event withholds.
    pub(super) fn accept(
        &mut self,
        live: &LiveState<'_>,
        report: EventReport<'_>,
        position: Position,
    ) -> Result<Acceptance, Conflict> {
        let EventReport { entity, draft: EventDraft { kind, at, provenance }, idempotency, now } = report;
        let at = self.time(&kind, at, now);
        let event = Event { kind, at, provenance };
        let before = self.state(live, entity, None);
        let with = |event: &Event| self.state(live, entity, Some(event));
        let idempotency = match idempotency {
            Some((idempotency, Some(first))) => {
                if !idempotency::must_record_again(&idempotency, &event, &before, with) {
                    return Ok(Acceptance::Repeated(first));
                }
                // The key stays with the first event.
                None
            }
            Some((idempotency, None)) => Some((idempotency.key, idempotency.request)),
            None => None,
        };
        conflict::check(&event.kind, self.recorded())?;
        let changed = with(&event) != before;
        let json = serde_json::Value::Object(event_json::write(&event, live.terms)).to_string();
        let stored = StoredEvent { position, id: Ulid::generate(), recorded: now, event: json };
        let withholds = event.withholding_part().is_some();
        self.waiting.push((position, event));
        if withholds {
            self.put_in_force(live, entity, true);
        }
        Ok(Acceptance::New { event: NewEvent { entity: entity.clone(), stored, idempotency }, changed })
    }

    /// Moves the event at a position from the waiting to the durable events, and puts the new state in force.
    pub(super) fn mark_durable(&mut self, live: &LiveState<'_>, entity: &Entity, position: Position) {
        let waiting = self.waiting.iter().position(|(waiting, _)| *waiting == position);
        let event = waiting.map(|index| self.waiting.remove(index).1);
        let withholds = event.as_ref().is_some_and(withholds);
        self.durable.extend(event);
        self.put_in_force(live, entity, withholds);
    }

    /// Returns all recorded events, durable or not.
    fn recorded(&self) -> impl Iterator<Item = &Event> + Clone {
        self.durable.iter().chain(self.waiting.iter().map(|(_, event)| event))
    }

    /// Returns the state that will be in force once all recorded events, and `event`, are durable.
    fn state(&self, live: &LiveState<'_>, entity: &Entity, event: Option<&Event>) -> EntityState {
        EntityState::fold(entity, self.recorded().chain(event), live.terms, live.fingerprints)
    }

    /// Returns the time from which an event reported now counts.
    ///
    /// An event without a time counts from `now`, and after everything that is recorded. A time after `now` becomes
    /// `now`, so that no grant lies ahead of our own clock.
    ///
    /// Clocks differ. Therefore a restrictive event that is not older than [`CLOCK_TOLERANCE`] counts after everything
    /// that is recorded. If recorded events lie ahead of our clock, their times prove no order: a recent fact then
    /// counts after everything that is recorded. So does every restrictive event if they lie ahead by more than the
    /// tolerance.
    fn time(&self, kind: &EventKind, at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let Some(at) = at else { return self.after_all(now) };
        let is_about_now = now.duration_since(at) <= CLOCK_TOLERANCE;
        let at = at.min(now);
        match kind.effect() {
            EventEffect::Restrictive if is_about_now || self.is_ahead_of(now, CLOCK_TOLERANCE) => {
                self.after_all(at)
            }
            EventEffect::Mixed
                if is_about_now && kind.is_fact() && self.is_ahead_of(now, SignedDuration::ZERO) =>
            {
                self.after_all(at)
            }
            EventEffect::Restrictive
            | EventEffect::Mixed
            | EventEffect::Permissive
            | EventEffect::Neutral => at,
        }
    }

    /// True if a recorded event lies ahead of `now` by more than `tolerance`.
    fn is_ahead_of(&self, now: Timestamp, tolerance: SignedDuration) -> bool {
        self.latest().is_some_and(|latest| latest.duration_since(now) > tolerance)
    }

    fn latest(&self) -> Option<Timestamp> {
        self.recorded().map(|event| event.at).max()
    }

    /// Returns `at`, or the first instant after all recorded events if that is later. Events without a time of their
    /// own thus count in the order in which they are reported, even if a fast clock dated an earlier one.
    fn after_all(&self, at: Timestamp) -> Timestamp {
        match self.latest() {
            Some(latest) if latest >= at => latest.checked_add(1.microsecond()).unwrap_or(latest),
            _ => at,
        }
    }

    /// Puts the durable events in force, together with the withholding parts of the waiting ones.
    fn put_in_force(&self, live: &LiveState<'_>, entity: &Entity, withholds: bool) {
        let early: Vec<_> = self.waiting.iter().filter_map(|(_, event)| event.withholding_part()).collect();
        if early.is_empty() && self.durable.is_empty() {
            return;
        }
        put_in_force(live, entity, self.durable.iter().chain(&early), withholds);
    }
}

fn withholds(event: &Event) -> bool {
    match event.kind.effect() {
        EventEffect::Restrictive | EventEffect::Mixed => true,
        EventEffect::Permissive | EventEffect::Neutral => false,
    }
}
