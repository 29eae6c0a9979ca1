//! The sequencer: gives events their times and their order, and orders their effects while they wait for the store.
//!
//! Invariants: an event that withholds is in force before it is durable, one that grants only afterwards; events are
//! appended in the order in which they were accepted; the state in force is always the fold of the durable events that are
//! known here and of the withholding parts of the waiting ones; a refusal reported now counts after everything that is
//! recorded, whatever the clocks of earlier senders said. Where other gateways append to the same ledger, an acceptance that
//! rests on a history which has grown since is repeated before the event is appended.

mod pending;
mod read_ahead;
mod recent;
pub(in crate::ledger) mod thread;

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use ulid::Ulid;

use crate::keys::{Fingerprint, Fingerprints, LogSecret};
use crate::ledger::archive::EntityHistory;
use crate::ledger::changes::Changes;
use crate::ledger::conflict::Conflict;
use crate::ledger::entity::Entity;
use crate::ledger::entity_state::EntityState;
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::follower::Follower;
use crate::ledger::idempotency::Idempotency;
use crate::ledger::index::{Index, SecretInForce};
use crate::ledger::outcome::{Acknowledgement, AppendError};
use crate::ledger::store::{
    EventRow, IdempotencyDigest, KnownHistory, Position, RequestDigest, SecretChange, StoreError,
    StoredEntity, StoredEvent, StoredSecret,
};
use crate::ledger::terms::TermLookup;
use crate::ledger::warming::Warming;
use pending::PendingEntity;
pub(in crate::ledger) use pending::WaitingEvent;
pub(in crate::ledger) use recent::RecentWithholdings;

/// The time by which a sender's clock may be ahead of ours.
pub(in crate::ledger) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// The state in memory that events change, and the means to fold events into it.
pub(in crate::ledger) struct LiveState<'l> {
    pub(in crate::ledger) index: &'l Index,
    pub(in crate::ledger) changes: &'l Changes,
    pub(in crate::ledger) warming: &'l Warming,
    pub(in crate::ledger) terms: &'l dyn TermLookup,
    pub(in crate::ledger) fingerprints: &'l Fingerprints,
}

/// The history that is known here, and the entities with reports under way.
pub(in crate::ledger) struct Sequencer {
    /// The history that is known and in force here, and the lease on it.
    pub(in crate::ledger) follower: Follower,
    /// The latest withholding events, to be recorded again if the store loses them.
    pub(in crate::ledger) withheld: RecentWithholdings,
    pending: HashMap<Entity, PendingEntity>,
    /// The waiting events with an idempotency key.
    by_key: HashMap<IdempotencyDigest, (WaitingEvent, RequestDigest)>,
    /// Entities whose last append ended without an answer: their events may be durable or not.
    unsettled: HashSet<Entity>,
    /// Entities whose durable events have not changed since they are being read, or were read, without the lock.
    read_ahead: HashSet<Entity>,
}

/// An event that a sender reports.
#[derive(Clone)]
pub(in crate::ledger) struct EventReport {
    pub(in crate::ledger) entity: Entity,
    pub(in crate::ledger) draft: EventDraft,
    pub(in crate::ledger) idempotency: Option<Idempotency>,
    pub(in crate::ledger) now: Timestamp,
}

/// The result of accepting a report. It holds until events of another gateway about the entity become known.
#[derive(Clone)]
pub(in crate::ledger) enum Acceptance {
    /// A new event, which the committer makes durable.
    New { event: WaitingEvent, changed: bool },
    /// The repetition of a recorded event. It is not recorded again.
    Repeated(WaitingEvent),
}

/// A report with its acceptance.
pub(in crate::ledger) struct AcceptedReport {
    report: EventReport,
    acceptance: Acceptance,
    /// The version of the entity's durable history that the acceptance rests on.
    basis: u64,
}

/// An accepted report that waits for the disk. The repetition of a recorded event waits in the same queue, so that its
/// acknowledgement does not overtake that of the first event.
pub(in crate::ledger) struct CommitJob {
    /// `None` only while the report is accepted anew.
    pub(in crate::ledger) accepted: Option<AcceptedReport>,
    pub(in crate::ledger) acknowledge: oneshot::Sender<Result<Acknowledgement, AppendError>>,
}

/// A job that cannot be accepted any more, because of what others have appended.
pub(in crate::ledger) type RefusedJob = (CommitJob, AcceptError);

/// An error that keeps a report from being accepted.
#[derive(Debug)]
pub(in crate::ledger) enum AcceptError {
    /// The store cannot be read.
    Store(StoreError),
    /// The event contradicts the recorded ones.
    Conflict(Conflict),
    /// The idempotency key belongs to an event with other content.
    KeyReused,
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

impl AcceptedReport {
    /// Returns the acknowledgement; `None` unless the event, or the one that it repeats, is known to be durable.
    pub(in crate::ledger) fn acknowledgement(&self) -> Option<Acknowledgement> {
        let (event, repeated, changed) = match &self.acceptance {
            Acceptance::New { event, changed } => (event, false, *changed),
            Acceptance::Repeated(event) => (event, true, false),
        };
        Some(Acknowledgement { event: event.id, position: event.position()?, repeated, changed })
    }

    /// Returns the event that is to be appended; `None` for a repetition.
    fn new_event(&self) -> Option<&WaitingEvent> {
        match &self.acceptance {
            Acceptance::New { event, .. } => Some(event),
            Acceptance::Repeated(_) => None,
        }
    }
}

/// Read access to what is durable, for the sequencer.
pub(in crate::ledger) trait DurableEvents {
    /// Returns the durable events of each entity, ordered by position. `None` for an entity without any.
    fn histories(&self, entities: &[&Entity]) -> Result<Vec<Option<EntityHistory>>, StoreError>;

    /// Returns all spellings under which the store may have the entity.
    fn spellings(&self, entity: &Entity) -> Vec<StoredEntity>;

    /// Returns the durable event that was recorded under the key or one of its former forms.
    fn find_repeated(
        &self,
        idempotency: &Idempotency,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError>;
}

impl Sequencer {
    /// Returns a sequencer that knows the history of its follower.
    pub(in crate::ledger) fn new(follower: Follower) -> Sequencer {
        Sequencer {
            follower,
            withheld: RecentWithholdings::default(),
            pending: HashMap::new(),
            by_key: HashMap::new(),
            unsettled: HashSet::new(),
            read_ahead: HashSet::new(),
        }
    }

    /// Returns the history that is known and in force here.
    pub(in crate::ledger) fn known(&self) -> KnownHistory {
        self.follower.known()
    }

    /// Notes that the store is going to be asked about some entities without the lock. Returns those whose histories are to
    /// be read, each once: the events of an entity with reports under way are known. Ends an earlier reading.
    fn begin_read_ahead<'e>(&mut self, entities: impl Iterator<Item = &'e Entity>) -> Vec<&'e Entity> {
        self.read_ahead.clear();
        let (pending, read_ahead) = (&self.pending, &mut self.read_ahead);
        let distinct = entities.filter(|entity| read_ahead.insert(Entity::clone(entity)));
        distinct.filter(|entity| !pending.contains_key(entity)).collect()
    }

    /// True if the durable events of the entity have not changed here since [`Sequencer::begin_read_ahead`].
    fn is_read_ahead(&self, entity: &Entity) -> bool {
        self.read_ahead.contains(entity)
    }

    /// Accepts a report: gives the event a time, and puts in force what it withholds. The event gets its position when it
    /// is appended.
    pub(in crate::ledger) fn accept(
        &mut self,
        live: &LiveState<'_>,
        report: EventReport,
        durable: &dyn DurableEvents,
    ) -> Result<AcceptedReport, AcceptError> {
        let first = self.find_repeated(&report, durable)?;
        let mut pending = match self.pending.remove(&report.entity) {
            Some(pending) => pending,
            None => PendingEntity::new(durable.histories(&[&report.entity])?.pop().flatten()),
        };
        let accepted = pending.accept(live, &report, first);
        let basis = pending.basis();
        if accepted.is_ok() {
            pending.begin();
        }
        if !pending.is_settled() {
            self.pending.insert(report.entity.clone(), pending);
        }
        let acceptance = accepted?;
        if let (Acceptance::New { event, .. }, Some(idempotency)) = (&acceptance, &report.idempotency)
            && let Some((key, request)) = event.idempotency
        {
            debug_assert_eq!((key, request), (idempotency.key, idempotency.request));
            self.by_key.insert(key, (event.clone(), request));
        }
        Ok(AcceptedReport { report, acceptance, basis })
    }

    /// Returns the event that was recorded, or waits, under the idempotency key of a report.
    fn find_repeated(
        &self,
        report: &EventReport,
        durable: &dyn DurableEvents,
    ) -> Result<Option<WaitingEvent>, AcceptError> {
        let Some(idempotency) = &report.idempotency else { return Ok(None) };
        let known = match self.by_key.get(&idempotency.key) {
            Some((waiting, request)) => Some((waiting.clone(), *request)),
            None => durable
                .find_repeated(idempotency)?
                .map(|(stored, request)| (WaitingEvent::durable(stored), request)),
        };
        match known {
            Some((_, request)) if request != idempotency.request => Err(AcceptError::KeyReused),
            known => Ok(known.map(|(event, _)| event)),
        }
    }

    /// Accepts a report again if events of others about its entity became known since, or if the event that it repeats was
    /// dropped since.
    fn renew(
        &mut self,
        live: &LiveState<'_>,
        accepted: AcceptedReport,
        durable: &dyn DurableEvents,
    ) -> Result<AcceptedReport, AcceptError> {
        let is_current = self
            .pending
            .get(&accepted.report.entity)
            .is_some_and(|pending| pending.basis() == accepted.basis);
        if is_current && self.holds(&accepted) {
            return Ok(accepted);
        }
        self.finish(live, &accepted, None);
        self.accept(live, accepted.report, durable)
    }

    /// True unless the report repeats an event that waits no longer and is not known to be durable: it was accepted again,
    /// as another event, or its append failed.
    fn holds(&self, accepted: &AcceptedReport) -> bool {
        let Acceptance::Repeated(first) = &accepted.acceptance else { return true };
        let key = accepted.report.idempotency.as_ref().map(|idempotency| &idempotency.key);
        let waiting = key.and_then(|key| self.by_key.get(key));
        first.position().is_some() || waiting.is_some_and(|(waiting, _)| waiting.id == first.id)
    }

    /// Ends a report: its event is durable as this row, or is not appended (`None`).
    fn finish(&mut self, live: &LiveState<'_>, accepted: &AcceptedReport, row: Option<&EventRow>) {
        let entity = &accepted.report.entity;
        self.read_ahead.remove(entity);
        let event = accepted.new_event();
        if let Some((key, _)) = event.and_then(|event| event.idempotency) {
            self.by_key.remove(&key);
        }
        let Some(pending) = self.pending.get_mut(entity) else { return };
        if let Some(event) = event {
            match row {
                Some(row) => pending.mark_durable(live, entity, event.id, row),
                None => pending.drop_waiting(event.id),
            }
        }
        pending.end();
        if pending.is_settled() {
            self.pending.remove(entity);
        }
    }

    /// Gives the accepted reports their positions, right before they are appended. Reports whose entity has events of
    /// others since are accepted again; those that fail then are returned with their error. Returns the rows to append.
    pub(in crate::ledger) fn sequence(
        &mut self,
        live: &LiveState<'_>,
        jobs: &mut Vec<CommitJob>,
        last: Position,
        durable: &dyn DurableEvents,
    ) -> Result<(Vec<EventRow>, Vec<RefusedJob>), StoreError> {
        let (mut rows, mut kept, mut failed) = (Vec::new(), Vec::with_capacity(jobs.len()), Vec::new());
        let mut next = last.0;
        for mut job in jobs.drain(..) {
            let Some(accepted) = job.accepted.take() else { continue };
            match self.renew(live, accepted, durable) {
                Ok(accepted) => {
                    if let Some(event) = accepted.new_event() {
                        next += 1;
                        let entity = &accepted.report.entity;
                        let log_secret = self.secret_change(entity, event, Position(next), durable)?;
                        rows.push(event.row(entity, Position(next), log_secret));
                    }
                    job.accepted = Some(accepted);
                    kept.push(job);
                }
                Err(error) => failed.push((job, error)),
            }
        }
        *jobs = kept;
        Ok((rows, failed))
    }

    /// Returns the change that an event makes to the log secret of its person.
    fn secret_change(
        &self,
        entity: &Entity,
        event: &WaitingEvent,
        position: Position,
        durable: &dyn DurableEvents,
    ) -> Result<SecretChange, StoreError> {
        let Entity::Subject(_) = entity else { return Ok(SecretChange::Keep) };
        let pending = self.pending.get(entity);
        let erases = pending.is_some_and(|pending| pending.erases_secret(event.id));
        if erases && !pending.is_some_and(PendingEntity::is_known_since_erasure) {
            return Ok(SecretChange::Erase(durable.spellings(entity)));
        }
        if !erases && pending.is_some_and(PendingEntity::keeps_secret) {
            return Ok(SecretChange::Keep);
        }
        let secret =
            LogSecret::random().map_err(|error| StoreError::transient("making a log secret", error))?;
        let made = StoredSecret { secret, since: position };
        Ok(match erases {
            true => SecretChange::Replace(durable.spellings(entity), made),
            false => SecretChange::Make(made),
        })
    }

    /// Completes reports whose events are durable: puts in force what they grant.
    pub(in crate::ledger) fn mark_durable(
        &mut self,
        live: &LiveState<'_>,
        jobs: &[CommitJob],
        rows: &[EventRow],
    ) {
        let mut rows_left = rows.iter();
        for accepted in jobs.iter().filter_map(|job| job.accepted.as_ref()) {
            let row = accepted.new_event().and_then(|event| {
                let row = rows_left.next()?;
                event.set_position(row.stored.position);
                Some(row)
            });
            self.finish(live, accepted, row);
        }
        self.withheld.remember(rows);
    }

    /// Ends reports whose append failed. Their events may be durable all the same. Whatever they withhold stays in force
    /// until the entity is read again.
    pub(in crate::ledger) fn abandon(&mut self, live: &LiveState<'_>, jobs: &[CommitJob]) {
        for accepted in jobs.iter().filter_map(|job| job.accepted.as_ref()) {
            if accepted.new_event().is_some() {
                self.unsettled.insert(accepted.report.entity.clone());
            }
            self.finish(live, accepted, None);
        }
    }

    /// Puts new events of others about some entities in force, and what is durable of the entities whose append had no answer. The caller notes in
    /// the follower that they are known.
    ///
    /// # Errors
    /// If the store cannot be read; the events are applied again with the next ones.
    pub(in crate::ledger) fn apply(
        &mut self,
        live: &LiveState<'_>,
        events: &[(Entity, Ulid)],
        durable: &dyn DurableEvents,
    ) -> Result<(), StoreError> {
        let touched: HashSet<&Entity> =
            events.iter().map(|(entity, _)| entity).chain(&self.unsettled).collect();
        if touched.is_empty() {
            return Ok(());
        }
        let touched: Vec<&Entity> = touched.into_iter().collect();
        for entity in &touched {
            self.read_ahead.remove(*entity);
        }
        let histories = durable.histories(&touched)?;
        check_complete(events, &touched, &histories)?;
        for (entity, history) in touched.iter().zip(histories) {
            match (self.pending.get_mut(*entity), history) {
                (Some(pending), history) => pending.replace_durable(live, entity, history),
                (None, Some(history)) => {
                    let events = history.events.iter().map(|past| &past.event);
                    put_in_force(live, entity, events, history.log_secret.into(), true);
                }
                (None, None) => forget(live, entity),
            }
        }
        self.unsettled.clear();
        Ok(())
    }

    /// Prepares for a state in force that is loaded anew: every entity with a report under way is read again first.
    pub(in crate::ledger) fn unsettle(&mut self) {
        self.read_ahead.clear();
        self.unsettled.extend(self.pending.keys().cloned());
    }

    /// True if the state of some entities is not settled since an append had no answer.
    pub(in crate::ledger) fn has_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }
}

/// Checks that the histories have the events that made them be read. A connection to a server that has been replaced may
/// still answer, without its successor's events.
fn check_complete(
    events: &[(Entity, Ulid)],
    entities: &[&Entity],
    histories: &[Option<EntityHistory>],
) -> Result<(), StoreError> {
    let by_entity: HashMap<&Entity, &EntityHistory> = entities
        .iter()
        .zip(histories)
        .filter_map(|(entity, history)| Some((*entity, history.as_ref()?)))
        .collect();
    let is_complete =
        events.iter().all(|(entity, id)| by_entity.get(entity).is_some_and(|history| history.contains(*id)));
    let incomplete = || StoreError::transient("reading a history", "it lacks an event that was appended");
    is_complete.then_some(()).ok_or_else(incomplete)
}

/// Folds the events of an entity and puts the result in force. A change that can withhold increments the epoch only
/// after it is in force. Otherwise a decision on the earlier state could have the epoch of the new one.
fn put_in_force<'e>(
    live: &LiveState<'_>,
    entity: &Entity,
    events: impl Iterator<Item = &'e Event> + Clone,
    log_secret: SecretInForce,
    withholds: bool,
) {
    let fingerprint = fingerprint(live.fingerprints, entity);
    live.warming.touch(fingerprint);
    let changed = load_state(live, entity, events, log_secret);
    if changed && withholds {
        live.changes.push(fingerprint);
    }
}

/// Folds the events of an entity and puts the result in force, as the start of the ledger does. Returns true if the state
/// changed.
pub(in crate::ledger) fn load_state<'e>(
    live: &LiveState<'_>,
    entity: &Entity,
    events: impl Iterator<Item = &'e Event> + Clone,
    log_secret: SecretInForce,
) -> bool {
    let state = EntityState::fold(entity, events, live.terms, live.fingerprints);
    live.index.put(entity, fingerprint(live.fingerprints, entity), state, log_secret)
}

/// Removes an entity from the state in force: nothing about it is durable after all. The epoch counts that as a change:
/// for a person that the ledger does not know, less may be released.
fn forget(live: &LiveState<'_>, entity: &Entity) {
    let fingerprint = fingerprint(live.fingerprints, entity);
    live.warming.touch(fingerprint);
    if live.index.put(entity, fingerprint, EntityState::nothing(entity), SecretInForce::NotMade) {
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
