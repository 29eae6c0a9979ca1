//! Tests of the ledger as a whole. This file has the fixtures; each other file tests one subject.

mod acknowledgement;
mod archive;
mod case;
mod clocks;
mod copy;
mod durability;
mod import;
mod log_secret;
mod shared;
mod warming;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use jiff::SignedDuration;

use smol_str::SmolStr;
use ulid::Ulid;

use super::store::memory::MemoryStore;
use super::terms::fixture::Fixture;
use super::*;
use crate::decision::{ConsentStatus, Extracted};
use crate::vocabulary::{IdReader, IdRule, Namespaces, Normalization};

fn keys() -> Keys {
    Keys::random().unwrap()
}

fn open(path: &Path, keys: &Keys) -> Arc<Ledger> {
    Ledger::open(path, keys, Arc::new(Fixture)).unwrap()
}

fn id(name: &str) -> SubjectId {
    IdReader::default().read(name).unwrap()
}

fn person(name: &str) -> Entity {
    Entity::Subject(id(name))
}

fn draft(text: &str) -> EventDraft {
    parse(text.as_bytes(), EntityKind::Subject, &Fixture).unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

const GIVE: &str = r#"{"kind":"consent-given","purpose":"marketing"}"#;
const WITHDRAW: &str = r#"{"kind":"consent-withdrawn","purpose":"marketing"}"#;

fn status(ledger: &Ledger, name: &str) -> Option<ConsentStatus> {
    ledger.subject(&id(name)).1.and_then(|subject| subject.consents.first().map(|consent| consent.status))
}

/// A store in memory whose disk can be blocked, counted and filled up.
#[derive(Default)]
struct Disk {
    store: MemoryStore,
    state: Mutex<DiskState>,
    changed: Condvar,
    commits: AtomicUsize,
}

#[derive(Default)]
struct DiskState {
    blocked: bool,
    /// An append has arrived and waits.
    waiting: bool,
    full: bool,
    /// A scan waits before its first event.
    scan_blocked: bool,
    /// Number of scans that fail for the time being.
    failing_scans: usize,
    /// Histories cannot be read for the time being.
    unreadable: bool,
}

impl Disk {
    fn block(&self) {
        self.state.lock().unwrap().blocked = true;
    }

    fn unblock(&self) {
        self.state.lock().unwrap().blocked = false;
        self.changed.notify_all();
    }

    fn fill(&self) {
        self.state.lock().unwrap().full = true;
    }

    /// Returns when an append has reached the disk.
    fn wait_for_append(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.waiting).unwrap());
    }
}

impl Store for Disk {
    fn id(&self) -> Result<Option<LedgerId>, StoreError> {
        self.store.id()
    }

    fn take_id(&self, id: LedgerId) -> Result<(), StoreError> {
        self.store.take_id(id)
    }

    fn append(&self, known: &KnownHistory, sequence: &mut Sequencing<'_>) -> Result<Appended, StoreError> {
        self.store.append(known, &mut |tail| {
            let rows = sequence(tail)?;
            let mut state = self.state.lock().unwrap();
            state.waiting = true;
            self.changed.notify_all();
            let mut state = self.changed.wait_while(state, |state| state.blocked).unwrap();
            state.waiting = false;
            if state.full {
                return Err(StoreError::new("appending events", "no space left on device"));
            }
            if !rows.is_empty() {
                self.commits.fetch_add(1, Ordering::SeqCst);
            }
            Ok(rows)
        })
    }

    fn follow(&self, known: &KnownHistory, limit: usize) -> Result<Continuation, StoreError> {
        self.store.follow(known, limit)
    }

    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<StoredHistory>, StoreError> {
        if self.state.lock().unwrap().unreadable {
            return Err(StoreError::transient("reading a history", "no answer"));
        }
        self.store.histories(entities)
    }

    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        self.store.entity_ids(kind, namespace)
    }

    fn events_with(
        &self,
        part: &str,
        from: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<(StoredEntity, StoredEvent)>, StoreError> {
        self.store.events_with(part, from, before, limit)
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        self.store.case_ids()
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        // The snapshot is taken before the wait.
        let mut events = Vec::new();
        self.store.scan(&mut |entity, stored| {
            events.push((entity.clone(), stored));
            true
        })?;
        let state = self.state.lock().unwrap();
        let mut state = self.changed.wait_while(state, |state| state.scan_blocked).unwrap();
        if let Some(left) = state.failing_scans.checked_sub(1) {
            state.failing_scans = left;
            return Err(StoreError::transient("reading all events", "no answer"));
        }
        drop(state);
        for (entity, stored) in events {
            if !each(&entity, stored) {
                break;
            }
        }
        Ok(())
    }

    fn log_secrets(&self, entities: &[StoredEntity]) -> Result<Vec<Option<StoredSecret>>, StoreError> {
        self.store.log_secrets(entities)
    }

    fn find_repeated(
        &self,
        keys: &[IdempotencyDigest],
    ) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, StoreError> {
        self.store.find_repeated(keys)
    }

    fn history_end(&self) -> Result<KnownHistory, StoreError> {
        self.store.history_end()
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        self.store.accept_history(until, now)
    }

    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError> {
        self.store.losses()
    }

    fn policies(&self) -> Result<PolicyMemory, StoreError> {
        self.store.policies()
    }

    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        self.store.remember_policies(memory)
    }

    fn notice_store(&self) -> &dyn NoticeStore {
        self.store.notice_store()
    }

    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        self.store.recipients()
    }
}

fn over(disk: &Arc<Disk>) -> Arc<Ledger> {
    Ledger::with_store(Arc::clone(disk) as Arc<dyn Store>, &keys(), Arc::new(Fixture)).unwrap()
}

fn append(
    ledger: &Arc<Ledger>,
    name: &str,
    text: &str,
) -> tokio::task::JoinHandle<Result<Acknowledgement, AppendError>> {
    let (ledger, entity, draft) = (Arc::clone(ledger), person(name), draft(text));
    tokio::spawn(async move { ledger.append(&entity, draft, None, now()).await })
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the condition did not become true in time");
}

async fn import(ledger: &Ledger, text: &str, batch: Option<&str>, now: Timestamp) -> Vec<LineResult> {
    let mut results = Vec::new();
    let batch = Batch { name: batch, ..Batch::default() };
    ledger.import(text.as_bytes(), batch, now, |result| results.push(result)).await;
    results
}

const CASE: &str = r#"{"case":"C-7","kind":"case-registered","recipient":"court","purpose":"security","subjects":["alice"],"categories":["email"],"end":"2027-01-01T00:00:00Z","reference":"12 O 4/26"}"#;

async fn tell(ledger: &Ledger, line: &str) -> Result<Acknowledgement, AppendError> {
    let (entity, draft) = parse_line(line.as_bytes(), &Fixture).unwrap();
    ledger.append(&entity, draft, None, now()).await
}
