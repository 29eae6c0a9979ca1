//! A store in memory, for tests and for gateways without a ledger file.
//!
//! It behaves like the durable stores, except that its events end with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use smol_str::SmolStr;
use ulid::Ulid;

use super::coordination::Coordination;
use super::lease_observer::LeaseObserver;
use super::shared::{Application, GatewayDescription, MAX_LEASE, RegisteredGateway, Renewal, SharedStore};
use super::{
    Appended, Continuation, DueRows, EventRow, IdempotencyDigest, KnownHistory, LedgerTail, LossOfEvents,
    MAX_MISSED, MAX_NOTICE_ROWS, NoticeCounts, NoticeRow, NoticeStore, Position, RequestDigest, SecretChange,
    SecretChanges, Sequencing, Store, StoreError, StoredEntity, StoredEvent, StoredHistory, StoredSecret,
    first_id,
};
use crate::ledger::boot_clock::boot_time;
use crate::ledger::entity::EntityKind;
use crate::ledger::ledger_id::LedgerId;
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
    /// Held during an append and during a renewal, which exclude each other.
    writing: Mutex<()>,
    contents: Mutex<MemoryContents>,
    /// Notified of each append.
    appended: Condvar,
    /// The leases of others, as the callers of [`SharedStore::confirmed`] see them. `None` if the store is not shared.
    observer: Option<Mutex<LeaseObserver>>,
}

#[derive(Default)]
struct MemoryContents {
    events: BTreeMap<Position, EventRow>,
    by_entity: HashMap<StoredEntity, Vec<Position>>,
    by_key: HashMap<IdempotencyDigest, Position>,
    log_secrets: HashMap<StoredEntity, StoredSecret>,
    notices: BTreeMap<Ulid, NoticeRow>,
    losses: Vec<LossOfEvents>,
    policies: PolicyMemory,
    /// Made when it is asked for.
    id: Option<LedgerId>,
    /// The leases, if several gateways share the store.
    coordination: Option<Coordination>,
    /// The descriptions that gateways registered.
    gateways: BTreeMap<Ulid, GatewayDescription>,
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

    /// Returns an empty store that several ledgers of this process share, as gateways share a server.
    pub fn shared_by_gateways() -> MemoryStore {
        let coordination = Some(Coordination::new(1, Position::default()));
        MemoryStore {
            contents: MemoryContents { coordination, ..MemoryContents::default() }.into(),
            observer: Some(Mutex::new(LeaseObserver::new(MAX_LEASE))),
            ..MemoryStore::default()
        }
    }

    fn coordinate<T>(&self, change: impl FnOnce(&mut Coordination) -> T) -> Result<T, StoreError> {
        let not_shared = || StoreError::new("coordinating gateways", "the store is not shared");
        self.contents().coordination.as_mut().map(change).ok_or_else(not_shared)
    }

    fn contents(&self) -> MutexGuard<'_, MemoryContents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryContents {
    fn append(&mut self, rows: Vec<EventRow>) -> Result<(), StoreError> {
        self.check_unique(&rows)?;
        let SecretChanges { erased, made } = SecretChanges::of(&rows);
        for entity in erased {
            self.log_secrets.remove(entity);
        }
        for (entity, secret) in made {
            self.log_secrets.entry(entity.clone()).or_insert(secret);
        }
        for row in rows {
            let position = row.stored.position;
            self.by_entity.entry(row.entity.clone()).or_default().push(position);
            self.by_key.extend(row.idempotency.map(|(key, _)| (key, position)));
            self.events.insert(position, EventRow { log_secret: SecretChange::Keep, ..row });
            if let Some(coordination) = &mut self.coordination {
                coordination.appended(position);
            }
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
        let head = self.coordination.as_ref().map(Coordination::head).unwrap_or_default();
        let position = self.losses.iter().fold(last.position.max(head), |end, loss| end.max(loss.until));
        KnownHistory { position, ..last }
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
    fn id(&self) -> Result<Option<LedgerId>, StoreError> {
        let mut contents = self.contents();
        if contents.id.is_none() {
            let made =
                LedgerId::random().map_err(|error| StoreError::new("making the id of the ledger", error))?;
            contents.id = Some(made);
        }
        Ok(contents.id)
    }

    fn take_id(&self, id: LedgerId) -> Result<(), StoreError> {
        self.contents().id = Some(id);
        Ok(())
    }

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
                self.appended.notify_all();
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

    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<StoredHistory>, StoreError> {
        let contents = self.contents();
        let history = |entity: &StoredEntity| {
            let positions = contents.by_entity.get(entity).map_or(&[][..], Vec::as_slice);
            let rows = positions.iter().filter_map(|position| contents.events.get(position));
            let events = rows.map(|row| row.stored.clone()).collect();
            StoredHistory { events, log_secret: contents.log_secrets.get(entity).copied() }
        };
        Ok(entities.iter().map(history).collect())
    }

    fn log_secrets(&self, entities: &[StoredEntity]) -> Result<Vec<Option<StoredSecret>>, StoreError> {
        let contents = self.contents();
        Ok(entities.iter().map(|entity| contents.log_secrets.get(entity).copied()).collect())
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

    fn events_with(
        &self,
        part: &str,
        from: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<(StoredEntity, StoredEvent)>, StoreError> {
        let contents = self.contents();
        let range = contents.events.range(from.min(before)..before).rev().map(|(_, row)| row);
        let found = range
            .filter(|row| row.entity.kind == EntityKind::Subject && row.stored.event.contains(part))
            .map(|row| (row.entity.clone(), row.stored.clone()));
        Ok(found.take(limit).collect())
    }

    fn history_end(&self) -> Result<KnownHistory, StoreError> {
        Ok(self.contents().end())
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        let mut contents = self.contents();
        let behind = contents.end().position;
        contents.losses.push(LossOfEvents { behind, until, accepted: Some(now) });
        if let Some(coordination) = &mut contents.coordination {
            coordination.accept_history(until);
        }
        Ok(())
    }

    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError> {
        Ok(self.contents().losses.clone())
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        self.observer.is_some().then_some(self as &dyn SharedStore)
    }

    fn notice_store(&self) -> &dyn NoticeStore {
        self
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

impl NoticeStore for MemoryStore {
    fn notices(
        &self,
        recipient: Option<&str>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let contents = self.contents();
        let later = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let is_asked = |row: &&NoticeRow| {
            recipient.is_none_or(|recipient| row.recipient.as_deref().unwrap_or_default() == recipient)
        };
        let rows = contents.notices.range(later).map(|(_, row)| row).filter(is_asked);
        Ok(rows.take(limit.min(MAX_NOTICE_ROWS)).cloned().collect())
    }

    fn notice(&self, id: Ulid) -> Result<Option<NoticeRow>, StoreError> {
        Ok(self.contents().notices.get(&id).cloned())
    }

    fn notices_of(&self, inquiry: Ulid) -> Result<Vec<NoticeRow>, StoreError> {
        let contents = self.contents();
        Ok(contents.notices.values().filter(|row| row.inquiry == inquiry).cloned().collect())
    }

    fn due_notices(
        &self,
        now: Timestamp,
        sought: DueRows<'_>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let contents = self.contents();
        let is_due =
            |row: &&NoticeRow| row.open && row.due <= now && sought.contain(row.recipient.as_deref());
        let due = contents.notices.values().filter(is_due);
        let mut due: Vec<NoticeRow> = due.cloned().collect();
        due.sort_by_key(|row| row.due);
        due.truncate(limit.min(MAX_NOTICE_ROWS));
        Ok(due)
    }

    fn count_notices(&self, before: Timestamp) -> Result<NoticeCounts, StoreError> {
        let contents = self.contents();
        let (mut counts, before) = (NoticeCounts::default(), first_id(before));
        for row in contents.notices.values().filter(|row| row.open && row.recipient.is_some()) {
            counts.open += 1;
            counts.overdue += u64::from(row.id < before);
        }
        Ok(counts)
    }

    fn count_notices_to(&self) -> Result<BTreeMap<Arc<str>, u64>, StoreError> {
        let (contents, mut counts) = (self.contents(), BTreeMap::new());
        for row in contents.notices.values().filter(|row| row.open) {
            row.recipient.iter().for_each(|to| *counts.entry(Arc::clone(to)).or_default() += 1);
        }
        Ok(counts)
    }

    fn write_notices(&self, rows: &[NoticeRow]) -> Result<bool, StoreError> {
        let notices = &mut self.contents().notices;
        let known = |row: &NoticeRow| notices.get(&row.id).map_or(0, |known| known.version);
        let is_next = rows.iter().all(|row| known(row) + 1 == row.version);
        if is_next {
            notices.extend(rows.iter().map(|row| (row.id, row.clone())));
        }
        Ok(is_next)
    }

    fn remove_inquiry(&self, inquiry: Ulid, version: u64, rows: &[NoticeRow]) -> Result<bool, StoreError> {
        let notices = &mut self.contents().notices;
        if notices.get(&inquiry).is_none_or(|row| row.version != version) {
            return Ok(false);
        }
        notices.retain(|_, row| row.inquiry != inquiry);
        notices.extend(rows.iter().map(|row| (row.id, row.clone())));
        Ok(true)
    }
}

impl SharedStore for MemoryStore {
    fn register(&self, gateway: &GatewayDescription) -> Result<(), StoreError> {
        self.coordinate(|coordination| coordination.register(gateway.instance, gateway.lease))?;
        self.contents().gateways.insert(gateway.instance, gateway.clone());
        Ok(())
    }

    fn renew(&self, instance: Ulid, applied: Position) -> Result<Renewal, StoreError> {
        let _excluding = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let renewal = self.coordinate(|coordination| coordination.renew(instance, applied))?;
        renewal.ok_or_else(|| StoreError::transient("renewing a lease", "the gateway is not registered"))
    }

    fn renew_excluding_writers(
        &self,
        instance: Ulid,
        known: &KnownHistory,
        apply: &mut Application<'_>,
    ) -> Result<Renewal, StoreError> {
        let _excluding = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (missed, last) = {
            let contents = self.contents();
            (contents.after(known, MAX_MISSED + 1), contents.end().position)
        };
        let Some(missed) = missed.filter(|missed| missed.len() <= MAX_MISSED) else {
            return Ok(Renewal::Behind);
        };
        if let Some(until) = self.coordinate(|coordination| coordination.lost())? {
            return Ok(Renewal::HistoryLost { until });
        }
        apply(LedgerTail { last, missed })?;
        let renewal = self.coordinate(|coordination| coordination.renew(instance, last))?;
        renewal.ok_or_else(|| StoreError::transient("renewing a lease", "the gateway is not registered"))
    }

    fn leave(&self, instance: Ulid) -> Result<(), StoreError> {
        self.coordinate(|coordination| coordination.leave(instance))?;
        self.contents().gateways.remove(&instance);
        Ok(())
    }

    fn confirmed(&self) -> Result<Position, StoreError> {
        let leases = self.coordinate(|coordination| coordination.leases())?;
        let Some(observer) = &self.observer else { return Ok(leases.head) };
        let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
        let now = boot_time();
        let confirmed = observer.confirmed(now, &leases);
        let (settled, gone) = (observer.settled(now).filter(|_| !leases.settled), observer.gone(now));
        self.coordinate(|coordination| {
            settled.into_iter().for_each(|identity| coordination.settle(identity));
            gone.into_iter().for_each(|(instance, renewals)| coordination.remove(instance, renewals));
        })?;
        Ok(confirmed)
    }

    fn identity(&self) -> Result<u64, StoreError> {
        Ok(self.coordinate(|coordination| coordination.leases())?.identity)
    }

    fn gateways(&self) -> Result<Vec<RegisteredGateway>, StoreError> {
        let leases = self.coordinate(|coordination| coordination.leases())?.leases;
        let contents = self.contents();
        let registered = contents.gateways.values().map(|description| {
            let lease = leases.iter().find(|lease| lease.instance == description.instance);
            RegisteredGateway {
                description: description.clone(),
                applied: lease.map(|lease| lease.applied).unwrap_or_default(),
                renewed: Timestamp::now(),
                live: lease.is_some(),
            }
        });
        Ok(registered.collect())
    }

    fn report_loss(&self, until: Position, _now: Timestamp) -> Result<KnownHistory, StoreError> {
        let _excluding = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.coordinate(|coordination| coordination.report_loss(until))?;
        Ok(self.contents().end())
    }

    fn begin_copy(&self, end: Position) -> Result<(), StoreError> {
        self.coordinate(|coordination| coordination.begin_copy(end))
    }

    fn complete_copy(&self, _end: Position) -> Result<(), StoreError> {
        self.coordinate(Coordination::complete_copy)
    }

    fn wait_for_events(&self, at_most: Duration) {
        let contents = self.contents();
        drop(self.appended.wait_timeout(contents, at_most));
    }
}

#[cfg(test)]
impl MemoryStore {
    /// Becomes another server that has everything.
    pub(crate) fn fail_over(&self) {
        if let Some(coordination) = &mut self.contents().coordination {
            coordination.change_identity(7);
            coordination.settle(7);
        }
    }

    /// Loses the events after a position, as a failover to a standby does that was behind. The leases of the lost time are
    /// taken as over.
    pub(crate) fn lose_after(&self, last: Position) {
        let mut contents = self.contents();
        let lost = contents.events.split_off(&Position(last.0 + 1));
        for row in lost.values() {
            if let Some(positions) = contents.by_entity.get_mut(&row.entity) {
                positions.retain(|position| *position <= last);
            }
        }
        contents.by_entity.retain(|_, positions| !positions.is_empty());
        contents.by_key.retain(|_, position| *position <= last);
        contents.log_secrets.retain(|_, secret| secret.since <= last);
        let gateways = std::mem::take(&mut contents.gateways);
        let mut coordination = Coordination::new(1, last);
        coordination.change_identity(2);
        coordination.settle(2);
        for gateway in gateways.values() {
            coordination.register(gateway.instance, gateway.lease);
        }
        contents.gateways = gateways;
        contents.coordination = Some(coordination);
    }
}
