//! A store in memory, for tests and for gateways without a ledger file.
//!
//! It behaves like the durable stores, except that its events end with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use smol_str::SmolStr;

use super::{
    IdempotencyDigest, NewEvent, Position, RequestDigest, Store, StoreError, StoredEntity, StoredEvent,
};
use crate::ledger::entity::{Entity, EntityKind};
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
    contents: Mutex<MemoryContents>,
}

#[derive(Default)]
struct MemoryContents {
    events: BTreeMap<Position, NewEvent>,
    by_entity: HashMap<StoredEntity, Vec<Position>>,
    by_key: HashMap<IdempotencyDigest, Position>,
    /// The last position that was accepted as lost.
    accepted: Position,
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
    fn append(&mut self, batch: &[NewEvent]) -> Result<(), StoreError> {
        self.check_unique(batch)?;
        for event in batch {
            let position = event.stored.position;
            self.by_entity.entry(StoredEntity::of(&event.entity)).or_default().push(position);
            self.by_key.extend(event.idempotency.map(|(key, _)| (key, position)));
            self.events.insert(position, event.clone());
        }
        Ok(())
    }

    /// Checks that no other event has the position or the idempotency key of one in the batch.
    fn check_unique(&self, batch: &[NewEvent]) -> Result<(), StoreError> {
        let (mut positions, mut keys) = (HashSet::new(), HashSet::new());
        let is_unique = batch.iter().all(|event| {
            let (position, key) = (event.stored.position, event.idempotency.map(|(key, _)| key));
            let is_new_key = |key| !self.by_key.contains_key(&key) && keys.insert(key);
            !self.events.contains_key(&position) && positions.insert(position) && key.is_none_or(is_new_key)
        });
        let taken = || StoreError::new("appending events", "a position or an idempotency key is taken");
        is_unique.then_some(()).ok_or_else(taken)
    }
}

impl Store for MemoryStore {
    fn append(&self, batch: &[NewEvent]) -> Result<(), StoreError> {
        self.contents().append(batch)
    }

    fn history(&self, entity: &StoredEntity) -> Result<Vec<StoredEvent>, StoreError> {
        let contents = self.contents();
        let positions = contents.by_entity.get(entity).map_or(&[][..], Vec::as_slice);
        let events = positions.iter().filter_map(|position| contents.events.get(position));
        let mut history: Vec<_> = events.map(|event| event.stored.clone()).collect();
        history.sort_by_key(|stored| stored.position);
        Ok(history)
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
        let mut events: Vec<_> = self
            .contents()
            .events
            .values()
            .map(|event| (StoredEntity::of(&event.entity), event.stored.clone()))
            .collect();
        events.sort_by_cached_key(|(entity, stored)| (sort_key(entity), stored.position));
        for (entity, stored) in events {
            if !each(&entity, stored) {
                break;
            }
        }
        Ok(())
    }

    fn find_repeated(
        &self,
        key: &IdempotencyDigest,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError> {
        let contents = self.contents();
        let event = contents.by_key.get(key).and_then(|position| contents.events.get(position));
        Ok(event.and_then(|event| Some((event.stored.clone(), event.idempotency?.1))))
    }

    fn last_position(&self) -> Result<Position, StoreError> {
        let contents = self.contents();
        let last = contents.events.last_key_value().map(|(position, _)| *position);
        Ok(last.unwrap_or_default().max(contents.accepted))
    }

    fn accept_history(&self, until: Position, _now: Timestamp) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.accepted = contents.accepted.max(until);
        Ok(())
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
            if let Entity::Recipient(name) = &event.entity {
                recipients.insert(Arc::clone(name));
            }
            let json: Option<serde_json::Value> = serde_json::from_str(&event.stored.event).ok();
            let named = json.as_ref().and_then(|json| json.get("recipient")?.as_str());
            recipients.extend(named.map(Arc::from));
        }
        Ok(recipients)
    }
}
