//! A digest of a whole ledger: of its events, and of the states that follow from them. Two ledgers with equal digests hold
//! the same.
//!
//! The ledger is read page by page, so memory has a bound. Invariant: a digest does not depend on the order in which a
//! store returns entities.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::archive::Archive;
use super::entity::Entity;
use super::event::Event;
use super::outcome::LedgerOpenError;
use super::policy_memory::{PolicyMemory, PolicyPlace};
use super::store::{Continuation, EventRow, KnownHistory, LossOfEvents, Store, StoreError, StoredEntity};
use super::terms::TermLookup;
use super::{case, fold, request, state_json};

/// Number of events that are in memory at a time.
const PAGE: usize = 1024;

/// A digest of a ledger. `Display` prints it in three lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerDigest {
    /// The history that the digest covers.
    pub end: KnownHistory,
    /// Number of events.
    pub events: u64,
    /// Number of people and other entities with events.
    pub entities: u64,
    /// Digest of all events with their positions, ids, times and idempotency keys, of the log secrets, of the losses and of
    /// the policies.
    pub history: [u8; 32],
    /// Digest of the state of every entity.
    pub states: [u8; 32],
}

impl std::fmt::Display for LedgerDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = |digest: &[u8; 32]| blake3::Hash::from_bytes(*digest).to_hex();
        let LedgerDigest { end, events, entities, history, states } = self;
        writeln!(
            f,
            "  events: {events}, up to position {}; people and other entities: {entities}",
            end.position
        )?;
        writeln!(f, "  history {}", hex(history))?;
        write!(f, "  states  {}", hex(states))
    }
}

impl LedgerDigest {
    /// Reads the whole ledger. States are those at `now`.
    ///
    /// # Errors
    /// [`LedgerOpenError`] if the store cannot be read, or an event not with these terms.
    pub fn of(
        store: &Arc<dyn Store>,
        terms: Arc<dyn TermLookup>,
        now: Timestamp,
    ) -> Result<LedgerDigest, LedgerOpenError> {
        let (end, events, history) = history(&**store)?;
        let (entities, states) = states(&Archive::new(Arc::clone(store), terms)?, now)?;
        Ok(LedgerDigest { end, events, entities, history, states })
    }
}

/// Passes all events to `each`, page by page. Returns the history that was read.
///
/// # Errors
/// [`StoreError`] if the store cannot be read or its history changes, or the error of `each`.
pub(super) fn pages<E: From<StoreError>>(
    store: &dyn Store,
    each: &mut dyn FnMut(Vec<EventRow>) -> Result<(), E>,
) -> Result<KnownHistory, E> {
    let mut known = KnownHistory::default();
    loop {
        let Continuation::Continues { head, events } = store.follow(&known, PAGE)? else {
            return Err(StoreError::new("reading all events", "its history changed meanwhile").into());
        };
        match events.last() {
            None => return Ok(KnownHistory { position: head, ..known }),
            Some(last) => known = KnownHistory::ending_with(&last.stored),
        }
        each(events)?;
    }
}

/// A hasher of fields of any length.
#[derive(Default)]
struct FieldHasher(blake3::Hasher);

impl FieldHasher {
    fn field(&mut self, bytes: &[u8]) -> &mut FieldHasher {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        self
    }

    fn number(&mut self, number: u64) -> &mut FieldHasher {
        self.field(&number.to_le_bytes())
    }

    fn entity(&mut self, entity: &StoredEntity) -> &mut FieldHasher {
        let StoredEntity { kind, namespace, id } = entity;
        self.field(kind.name().as_bytes()).field(namespace.as_deref().unwrap_or_default().as_bytes());
        self.field(id.as_bytes())
    }

    fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

fn history(store: &dyn Store) -> Result<(KnownHistory, u64, [u8; 32]), StoreError> {
    let (mut hasher, mut events) = (FieldHasher::default(), 0);
    let end = pages(store, &mut |rows: Vec<EventRow>| {
        let entities: Vec<StoredEntity> = rows.iter().map(|row| row.entity.clone()).collect();
        let secrets = store.log_secrets(&entities)?;
        for (EventRow { entity, stored, idempotency, log_secret: _ }, secret) in rows.into_iter().zip(secrets)
        {
            let (key, request) = idempotency.unzip();
            hasher.entity(&entity).number(stored.position.0).field(stored.id.to_string().as_bytes());
            hasher.field(stored.recorded.to_string().as_bytes()).field(stored.event.as_bytes());
            hasher.field(key.as_ref().map_or(&[], |key| key.as_slice()));
            hasher.field(request.as_ref().map_or(&[], |digest| digest.as_slice()));
            hasher.field(secret.as_ref().map_or(&[], |stored| stored.secret.bytes().as_slice()));
            events += 1;
        }
        Ok::<_, StoreError>(())
    })?;
    for LossOfEvents { behind, until, accepted } in store.losses()? {
        let accepted = accepted.map(|accepted| accepted.to_string()).unwrap_or_default();
        hasher.number(behind.0).number(until.0).field(accepted.as_bytes());
    }
    hash_policies(&mut hasher, &store.policies()?);
    Ok((end, events, hasher.finish()))
}

fn hash_policies(hasher: &mut FieldHasher, memory: &PolicyMemory) {
    let PolicyMemory { first_seen, texts, places } = memory;
    for (digest, seen) in first_seen {
        hasher.field(digest).field(seen.to_string().as_bytes());
    }
    for (digest, text) in texts {
        hasher.field(digest).field(text.as_bytes());
    }
    for (place, PolicyPlace { loaded, versions }) in places {
        hasher.field(place.as_bytes()).field(loaded.to_string().as_bytes());
        let mut versions = versions.clone();
        versions.sort_unstable();
        for (digest, effective) in versions {
            hasher.field(&digest).field(effective.to_string().as_bytes());
        }
    }
}

/// The sum of the digests of entities, which does not depend on their order.
#[derive(Default)]
struct StateSum {
    entities: u64,
    lanes: [u64; 4],
}

impl StateSum {
    fn add(&mut self, entity: &Entity, events: &[Event], now: Timestamp, terms: &dyn TermLookup) {
        let mut hasher = FieldHasher::default();
        hasher.entity(&StoredEntity::of(entity));
        hasher.field(state(entity, events, now, terms).to_string().as_bytes());
        for (lane, bytes) in self.lanes.iter_mut().zip(hasher.finish().as_chunks::<8>().0) {
            *lane = lane.wrapping_add(u64::from_le_bytes(*bytes));
        }
        self.entities += 1;
    }
}

fn states(archive: &Archive, now: Timestamp) -> Result<(u64, [u8; 32]), LedgerOpenError> {
    let mut sum = StateSum::default();
    let mut group: Option<(Entity, Vec<Event>)> = None;
    let mut close = |group: Option<(Entity, Vec<Event>)>| {
        if let Some((entity, events)) = group {
            sum.add(&entity, &events, now, archive.terms());
        }
    };
    let unreadable = archive.scan(|entity, event| {
        match &mut group {
            Some((known, events)) if known == entity => events.extend(event),
            _ => close(group.replace((entity.clone(), event.into_iter().collect()))),
        }
        true
    })?;
    close(group);
    if let Some(error) = unreadable {
        return Err(error.into());
    }
    let mut hasher = FieldHasher::default();
    for lane in sum.lanes {
        hasher.number(lane);
    }
    Ok((sum.entities, hasher.number(sum.entities).finish()))
}

/// Returns everything that follows from the events of an entity.
fn state(entity: &Entity, events: &[Event], now: Timestamp, terms: &dyn TermLookup) -> Value {
    match entity {
        Entity::Subject(person) => {
            let subject = fold::subject(events, terms);
            let requests: Vec<_> = request::open(person, events).iter().map(|open| open.json(now)).collect();
            let state = state_json::subject_json(&subject, now, terms);
            json!({ "state": state, "only-refusals": subject.only_refusals, "requests": requests })
        }
        Entity::Controller(_) => {
            state_json::controller_json(&fold::controller(events, terms), now, terms).into()
        }
        Entity::Recipient(_) => fold::suspended(events).into(),
        Entity::Case(id) => case::json(id, events, now, terms).into(),
    }
}
