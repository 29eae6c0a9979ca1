//! A store in memory, for tests and for gateways without a ledger file.
//!
//! It behaves like the durable stores, except that its events end with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use smol_str::SmolStr;

use super::{
    Appended, Continuation, EventRow, IdempotencyDigest, KnownHistory, LedgerTail, LossOfEvents, MAX_MISSED,
    Position, RequestDigest, Sequencing, Store, StoreError, StoredEntity, StoredEvent,
};
use crate::ledger::entity::EntityKind;
use crate::ledger::policy_memory::PolicyMemory;

/// A [`Store`] that keeps its events in memory.
///
/// ```
/// use std::sync::Arc;
///
/// use purposegate::keys::Keys;
/// use purposegate::ledger::store::memory::MemoryStore;
/// use purposegate::ledger::{Ledger, VocabularyTerms, parse_line};
/// use purposegate::vocabulary::{Namespaces, Vocabulary};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let terms = VocabularyTerms::new(Arc::new(Vocabulary::standard()), Arc::new(Namespaces::default()));
/// let ledger = Ledger::with_store(Arc::new(MemoryStore::new()), &Keys::random()?, Arc::new(terms))?;
/// let line = br#"{"subject": "42", "kind": "objection", "purpose": "marketing"}"#;
/// let (person, event) = parse_line(line, ledger.terms())?;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let acknowledged = ledger.append(&person, event, None, jiff::Timestamp::now()).await?;
/// assert!(acknowledged.changed);
/// # Ok::<(), purposegate::ledger::AppendError>(())
/// # })?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct MemoryStore {
    /// Held during an append, so that the events of others are complete.
    writing: Mutex<()>,
    contents: Mutex<MemoryContents>,
}

#[derive(Default)]
struct MemoryContents {
    events: BTreeMap<Position, EventRow>,
    by_entity: HashMap<StoredEntity, Vec<Position>>,
    by_key: HashMap<IdempotencyDigest, Position>,
    losses: Vec<LossOfEvents>,
    policies: PolicyMemory,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryStore")
    }
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn contents(&self) -> MutexGuard<'_, MemoryContents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryContents {
    fn append(&mut self, rows: Vec<EventRow>) -> Result<(), StoreError> {
        self.check_unique(&rows)?;
        for row in rows {
            let position = row.stored.position;
            self.by_entity.entry(row.entity.clone()).or_default().push(position);
            self.by_key.extend(row.idempotency.map(|(key, _)| (key, position)));
            self.events.insert(position, row);
        }
        Ok(())
    }

    /// Checks that the positions continue those of the store, and that no idempotency key is taken.
    fn check_unique(&self, rows: &[EventRow]) -> Result<(), StoreError> {
        let mut keys = HashSet::new();
        let continues =
            (self.end().position.0 + 1..).zip(rows).all(|(next, row)| row.stored.position.0 == next);
        let is_unique = rows
            .iter()
            .filter_map(|row| row.idempotency)
            .all(|(key, _)| !self.by_key.contains_key(&key) && keys.insert(key));
        let taken = || StoreError::new("appending events", "a position or an idempotency key is taken");
        (continues && is_unique).then_some(()).ok_or_else(taken)
    }

    fn end(&self) -> KnownHistory {
        let last = self.events.last_key_value().map(|(_, row)| KnownHistory::ending_with(&row.stored));
        let last = last.unwrap_or_default();
        KnownHistory {
            position: self.losses.iter().fold(last.position, |end, loss| end.max(loss.until)),
            ..last
        }
    }

    /// Returns the events after a known history, at most `limit`; `None` if the history is another one.
    fn after(&self, known: &KnownHistory, limit: usize) -> Option<Vec<EventRow>> {
        let last = self.events.range(..=known.position).next_back();
        let is_known = last.map(|(position, row)| (*position, row.stored.id)) == known.last_event;
        let later = (Bound::Excluded(known.position), Bound::Unbounded);
        let events = || self.events.range(later).take(limit).map(|(_, row)| row.clone()).collect();
        (is_known && known.position <= self.end().position).then(events)
    }
}

impl Store for MemoryStore {
    fn append(&self, known: &KnownHistory, sequence: &mut Sequencing<'_>) -> Result<Appended, StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (missed, last) = {
            let contents = self.contents();
            (contents.after(known, MAX_MISSED + 1), contents.end().position)
        };
        match missed {
            Some(missed) if missed.len() <= MAX_MISSED => {
                let rows = sequence(LedgerTail { last, missed })?;
                self.contents().append(rows)?;
                Ok(Appended::Durable)
            }
            _ => Ok(Appended::Behind),
        }
    }

    fn follow(&self, known: &KnownHistory, limit: usize) -> Result<Continuation, StoreError> {
        let contents = self.contents();
        let head = contents.end().position;
        Ok(match contents.after(known, limit) {
            Some(events) => Continuation::Continues { head, events },
            None => Continuation::Diverges { head },
        })
    }

    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<Vec<StoredEvent>>, StoreError> {
        let contents = self.contents();
        let history = |entity: &StoredEntity| {
            let positions = contents.by_entity.get(entity).map_or(&[][..], Vec::as_slice);
            let rows = positions.iter().filter_map(|position| contents.events.get(position));
            rows.map(|row| row.stored.clone()).collect()
        };
        Ok(entities.iter().map(history).collect())
    }

    fn find_repeated(
        &self,
        keys: &[IdempotencyDigest],
    ) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, StoreError> {
        let contents = self.contents();
        let found = keys.iter().filter_map(|key| {
            let row = contents.events.get(contents.by_key.get(key)?)?;
            Some((*key, (row.stored.clone(), row.idempotency?.1)))
        });
        Ok(found.collect())
    }

    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        let contents = self.contents();
        let entities = contents.by_entity.keys();
        let mut ids: Vec<SmolStr> = entities
            .filter(|entity| entity.kind == kind && entity.namespace.as_deref() == namespace)
            .map(|entity| entity.id.clone())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        let ids = self.entity_ids(EntityKind::Case, None)?;
        Ok(ids.iter().map(|id| Arc::from(id.as_str())).collect())
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        let sort_key = |entity: &StoredEntity| {
            (entity.kind.name(), entity.namespace.as_deref().map(str::to_owned), entity.id.clone())
        };
        // A copy: `each` may ask the store for histories.
        let mut events: Vec<_> =
            self.contents().events.values().map(|row| (row.entity.clone(), row.stored.clone())).collect();
        events.sort_by_cached_key(|(entity, stored)| (sort_key(entity), stored.position));
        for (entity, stored) in events {
            if !each(&entity, stored) {
                break;
            }
        }
        Ok(())
    }

    fn history_end(&self) -> Result<KnownHistory, StoreError> {
        Ok(self.contents().end())
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        let mut contents = self.contents();
        let behind = contents.end().position;
        contents.losses.push(LossOfEvents { behind, until, accepted: Some(now) });
        Ok(())
    }

    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError> {
        Ok(self.contents().losses.clone())
    }

    fn policies(&self) -> Result<PolicyMemory, StoreError> {
        Ok(self.contents().policies.clone())
    }

    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        let PolicyMemory { first_seen, texts, places } = &mut self.contents().policies;
        for (digest, seen) in &memory.first_seen {
            first_seen.entry(*digest).or_insert(*seen);
            texts.extend(memory.texts.get(digest).map(|text| (*digest, text.clone())));
        }
        places.extend(memory.places.clone());
        texts.retain(|digest, _| {
            places.values().any(|place| place.versions.iter().any(|(known, _)| known == digest))
        });
        Ok(())
    }

    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        let contents = self.contents();
        let mut recipients = BTreeSet::new();
        for event in contents.events.values() {
            if event.entity.kind == EntityKind::Recipient {
                recipients.insert(Arc::from(event.entity.id.as_str()));
            }
            let json: Option<serde_json::Value> = serde_json::from_str(&event.stored.event).ok();
            let named = json.as_ref().and_then(|json| json.get("recipient")?.as_str());
            recipients.extend(named.map(Arc::from));
        }
        Ok(recipients)
    }
}
