//! The events of one entity while some of them wait for the disk.

use std::sync::{Arc, OnceLock};

use jiff::{Timestamp, ToSpan};
use ulid::Ulid;

use super::{Acceptance, CLOCK_TOLERANCE, EventReport, LiveState, put_in_force};
use crate::keys::LogSecret;
use crate::ledger::archive::{EntityHistory, PastEvent};
use crate::ledger::conflict::{self, Conflict};
use crate::ledger::entity::Entity;
use crate::ledger::entity_state::EntityState;
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::event_json;
use crate::ledger::idempotency;
use crate::ledger::index::SecretInForce;
use crate::ledger::kinds::{EventEffect, EventKind};
use crate::ledger::secret_history;
use crate::ledger::store::{
    EventRow, IdempotencyDigest, Position, RequestDigest, SecretChange, StoredEntity, StoredEvent,
};

/// An event that waits for the store, or that became durable while a report about it was under way.
#[derive(Clone)]
pub(in crate::ledger) struct WaitingEvent {
    pub(in crate::ledger) id: Ulid,
    pub(super) idempotency: Option<(IdempotencyDigest, RequestDigest)>,
    recorded: Timestamp,
    json: Arc<str>,
    /// Shared with the repetitions of the event; set when the event is durable.
    position: Arc<OnceLock<Position>>,
}

impl WaitingEvent {
    /// Returns an event that is durable.
    pub(super) fn durable(stored: StoredEvent) -> WaitingEvent {
        WaitingEvent {
            id: stored.id,
            idempotency: None,
            recorded: stored.recorded,
            json: Arc::from(stored.event),
            position: Arc::new(OnceLock::from(stored.position)),
        }
    }

    /// Returns the position of the event; `None` while it is not known to be durable.
    pub(super) fn position(&self) -> Option<Position> {
        self.position.get().copied()
    }

    pub(super) fn set_position(&self, position: Position) {
        // Set once: an event is appended once.
        let _ = self.position.set(position);
    }

    /// Returns the row to append at a position.
    pub(super) fn row(&self, entity: &Entity, position: Position, log_secret: SecretChange) -> EventRow {
        let stored =
            StoredEvent { position, id: self.id, recorded: self.recorded, event: self.json.to_string() };
        EventRow { entity: StoredEntity::of(entity), stored, idempotency: self.idempotency, log_secret }
    }
}

/// An event of an entity with reports under way that waits for the store.
struct UnstoredEvent {
    id: Ulid,
    /// The time at which it was reported, on our clock.
    recorded: Timestamp,
    event: Event,
}

/// An entity with reports under way.
pub(super) struct PendingEntity {
    durable: Vec<PastEvent>,
    /// True if the store has events about the entity. They may all be unreadable, which leaves `durable` empty.
    known: bool,
    /// The person's log secret, as far as it is durable.
    log_secret: Option<LogSecret>,
    waiting: Vec<UnstoredEvent>,
    /// Number of reports under way.
    reports: usize,
    /// The number of times that the durable history was replaced.
    basis: u64,
}

impl PendingEntity {
    /// Returns an entity with these durable events; `None` if the store has none.
    pub(super) fn new(durable: Option<EntityHistory>) -> PendingEntity {
        let known = durable.is_some();
        let EntityHistory { events: durable, log_secret, .. } = durable.unwrap_or_default();
        PendingEntity { durable, known, log_secret, waiting: Vec::new(), reports: 0, basis: 0 }
    }

    /// True if no report is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.reports == 0
    }

    /// Returns the version of the durable history.
    pub(super) fn basis(&self) -> u64 {
        self.basis
    }

    /// Counts a report as under way.
    pub(super) fn begin(&mut self) {
        self.reports += 1;
    }

    /// Counts a report as ended.
    pub(super) fn end(&mut self) {
        self.reports = self.reports.saturating_sub(1);
    }

    /// Accepts a report, and puts in force what its event withholds. `first` is the event that was recorded under its
    /// idempotency key before.
    pub(super) fn accept(
        &mut self,
        live: &LiveState<'_>,
        report: &EventReport,
        first: Option<WaitingEvent>,
    ) -> Result<Acceptance, Conflict> {
        let EventReport { entity, draft, idempotency, now } = report;
        let EventDraft { kind, at, provenance } = draft.clone();
        let at = self.time(&kind, at, *now);
        let event = Event { kind, at, provenance };
        let before = self.state(live, entity, None);
        let with = |event: &Event| self.state(live, entity, Some(event));
        let idempotency = match (idempotency, first) {
            (Some(idempotency), Some(first)) => {
                if !idempotency::must_record_again(idempotency, &event, &before, with) {
                    return Ok(Acceptance::Repeated(first));
                }
                // The key stays with the first event.
                None
            }
            (idempotency, _) => {
                idempotency.as_ref().map(|idempotency| (idempotency.key, idempotency.request))
            }
        };
        let event = Event { at: self.beside_overrides(&event), ..event };
        conflict::check(&event, self.recorded())?;
        let changed = with(&event) != before;
        let json = serde_json::Value::Object(event_json::write(&event, live.terms)).to_string();
        let id = Ulid::generate();
        let withholds = event.withholding_part().is_some();
        self.waiting.push(UnstoredEvent { id, recorded: *now, event });
        if withholds {
            self.put_in_force(live, entity, true);
        }
        let event =
            WaitingEvent { id, idempotency, recorded: *now, json: Arc::from(json), position: Arc::default() };
        Ok(Acceptance::New { event, changed })
    }

    /// Moves an event from the waiting to the durable ones, and puts the new state in force.
    pub(super) fn mark_durable(&mut self, live: &LiveState<'_>, entity: &Entity, id: Ulid, row: &EventRow) {
        // Absent if the event was read back from the store before its append had returned.
        let Some(index) = self.waiting.iter().position(|waiting| waiting.id == id) else { return };
        let UnstoredEvent { recorded, event, .. } = self.waiting.remove(index);
        self.known = true;
        let withholds = withholds(&event);
        match &row.log_secret {
            SecretChange::Keep => {}
            SecretChange::Make(made) => self.log_secret = self.log_secret.or(Some(made.secret)),
            SecretChange::Erase(_) => self.log_secret = None,
            SecretChange::Replace(_, made) => self.log_secret = Some(made.secret),
        }
        self.durable.push(PastEvent { id, position: row.stored.position, recorded, event });
        self.put_in_force(live, entity, withholds);
    }

    /// Removes an event that is not appended. Its withholding part stays in force until the state is next put in force.
    pub(super) fn drop_waiting(&mut self, id: Ulid) {
        self.waiting.retain(|waiting| waiting.id != id);
    }

    /// Replaces the durable events by those that the store has now, and puts the new state in force.
    pub(super) fn replace_durable(
        &mut self,
        live: &LiveState<'_>,
        entity: &Entity,
        durable: Option<EntityHistory>,
    ) {
        self.known = durable.is_some();
        let durable = durable.unwrap_or_default();
        self.log_secret = durable.log_secret;
        self.durable = durable.events;
        self.waiting.retain(|waiting| !self.durable.iter().any(|past| past.id == waiting.id));
        self.basis += 1;
        if self.known || !self.waiting.is_empty() {
            self.put_in_force(live, entity, true);
        } else {
            super::forget(live, entity);
        }
    }

    /// True if this waiting event deletes the person's log secret.
    pub(super) fn erases_secret(&self, id: Ulid) -> bool {
        let found = self.waiting.iter().find(|waiting| waiting.id == id);
        found.is_some_and(|waiting| waiting.event.kind == EventKind::LogSecretErased)
    }

    /// True if the person goes on to be known after the last erasure: an event that follows it is recorded.
    pub(super) fn is_known_since_erasure(&self) -> bool {
        secret_history::is_known_since_erasure(self.recorded())
    }

    /// True if the person has a log secret that no waiting event deletes.
    pub(super) fn keeps_secret(&self) -> bool {
        let is_erased = self.waiting.iter().any(|waiting| waiting.event.kind == EventKind::LogSecretErased);
        self.log_secret.is_some() && !is_erased
    }

    /// Returns all recorded events, durable or not.
    fn recorded(&self) -> impl Iterator<Item = &Event> + Clone {
        self.durable.iter().map(|past| &past.event).chain(self.waiting.iter().map(|waiting| &waiting.event))
    }

    /// Returns the state that will be in force once all recorded events, and `event`, are durable.
    fn state(&self, live: &LiveState<'_>, entity: &Entity, event: Option<&Event>) -> EntityState {
        EntityState::fold(entity, self.recorded().chain(event), live.terms, live.fingerprints)
    }

    /// Returns the time from which an event reported now counts.
    ///
    /// An event without a time counts from `now`, and after everything that is recorded. A time after `now` becomes
    /// `now`, so that no grant lies ahead of our own clock. A fact with such a time counts after the recorded facts, as if
    /// it had no time: it does not contradict a fact of the same instant.
    ///
    /// Clocks differ. Therefore a restrictive event that is not older than [`CLOCK_TOLERANCE`] counts after everything
    /// that is recorded. So does every restrictive event if recorded events lie ahead of our clock by more than the
    /// tolerance: their times prove no order. Nor do those of events that a clock ahead of ours recorded: in either case, a
    /// recent fact counts after everything that is recorded.
    ///
    /// A closed account is never moved: periods run from its time, and a later one discloses for longer. Nothing reopens an
    /// account, so that no order is needed.
    fn time(&self, kind: &EventKind, at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        if *kind == EventKind::AccountClosed {
            return at.map_or(now, |at| at.min(now));
        }
        let Some(at) = at else { return self.after_all(now) };
        let is_about_now = now.duration_since(at) <= CLOCK_TOLERANCE;
        let at = at.min(now);
        match kind.effect() {
            EventEffect::Restrictive if is_about_now || self.is_ahead_of(now) => self.after_all(at),
            EventEffect::Mixed
                if kind.is_fact()
                    && (at == now && self.has_fact_since(now)
                        || is_about_now && (self.was_recorded_after(now) || self.is_ahead_of(now))) =>
            {
                self.after_all(at)
            }
            EventEffect::Restrictive
            | EventEffect::Mixed
            | EventEffect::Permissive
            | EventEffect::Neutral => at,
        }
    }

    /// Returns the time from which an event counts beside the recorded overrides. An override states the reason why the
    /// objections and refusals that were on record do not count. One that is recorded later, with an earlier time, was not
    /// weighed: it counts from the time of the override, unless the person took it back in the meantime.
    fn beside_overrides(&self, event: &Event) -> Timestamp {
        let (purpose, can_be_lifted) = match &event.kind {
            EventKind::Objection { purpose } | EventKind::ObjectionUpheld { purpose } => (*purpose, true),
            EventKind::ConsentRefused { purpose, .. } | EventKind::ConsentWithdrawn { purpose, .. } => {
                (*purpose, false)
            }
            _ => return event.at,
        };
        let later = || self.recorded().filter(|past| past.at > event.at);
        let is_lifting = |past: &Event| past.kind == EventKind::ObjectionLifted { purpose };
        if can_be_lifted && later().any(is_lifting) {
            return event.at;
        }
        let overrides = later().filter(|past| past.kind == EventKind::ObjectionOverridden { purpose });
        overrides.map(|past| past.at).max().unwrap_or(event.at)
    }

    /// True if a recorded fact counts from `time` or later.
    fn has_fact_since(&self, time: Timestamp) -> bool {
        self.recorded().any(|event| event.kind.is_fact() && event.at >= time)
    }

    /// True if a recorded event lies ahead of `now` by more than [`CLOCK_TOLERANCE`].
    fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.latest().is_some_and(|latest| latest.duration_since(now) > CLOCK_TOLERANCE)
    }

    /// True if an event that counts from after `now` was recorded after it, by the clock at that time. The times of the events alone do
    /// not show that: those of one instant are put one after the other. Nor does the clock alone: an import has one `now`, and an
    /// event with an earlier time can be recorded meanwhile.
    fn was_recorded_after(&self, now: Timestamp) -> bool {
        let waiting = self.waiting.iter().map(|waiting| (waiting.recorded, waiting.event.at));
        let durable = self.durable.iter().map(|past| (past.recorded, past.event.at));
        durable.chain(waiting).any(|(recorded, at)| recorded > now && at > now)
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
        let early: Vec<_> =
            self.waiting.iter().filter_map(|waiting| waiting.event.withholding_part()).collect();
        if early.is_empty() && !self.known {
            return;
        }
        let durable = self.durable.iter().map(|past| &past.event);
        // The first event is in force before it is durable: the secret is made with it.
        let log_secret = if self.known { self.log_secret.into() } else { SecretInForce::NotMade };
        put_in_force(live, entity, durable.chain(&early), log_secret, withholds);
    }
}

fn withholds(event: &Event) -> bool {
    match event.kind.effect() {
        EventEffect::Restrictive | EventEffect::Mixed => true,
        EventEffect::Permissive | EventEffect::Neutral => false,
    }
}
