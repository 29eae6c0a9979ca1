//! Copies of ledgers, and digests of what they hold.

use rusqlite::Connection;

use super::*;
use crate::ledger::store::shared::{GatewayDescription, Renewal};

fn digest(store: &Arc<dyn Store>) -> LedgerDigest {
    LedgerDigest::of(store, Arc::new(Fixture), now()).unwrap()
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn file(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, &keys().ledger_check()).unwrap())
}

fn policies() -> PolicyMemory {
    let versions = vec![([2; 32], "2026-02-01".parse().unwrap()), ([1; 32], "2026-01-01".parse().unwrap())];
    PolicyMemory {
        first_seen: [([1; 32], now()), ([2; 32], now()), ([3; 32], now())].into(),
        texts: [([1; 32], "one".to_owned()), ([2; 32], "two".to_owned())].into(),
        places: [("default".to_owned(), PolicyPlace { loaded: now(), versions })].into(),
    }
}

/// Fills a store with events of every kind of entity, some under idempotency keys, and with two accepted losses, one of
/// them at the end.
async fn fill(store: &Arc<dyn Store>) {
    let open = || Ledger::with_store(Arc::clone(store), &keys(), Arc::new(Fixture)).unwrap();
    let ledger = open();
    tell(&ledger, CASE).await.unwrap();
    for (name, text) in [("alice", GIVE), ("bob", GIVE), ("alice", WITHDRAW)] {
        let key = format!("key of {name} {text}");
        ledger.append(&person(name), draft(text), Some(&key), now()).await.unwrap();
    }
    drop(ledger);
    store.accept_history(Position(9), now()).unwrap();
    let ledger = open();
    let suspended = r#"{"recipient":"court","kind":"suspended"}"#;
    tell(&ledger, suspended).await.unwrap();
    for number in 0..2000 {
        let line = format!(r#"{{"subject":"{number}","kind":"objection","purpose":"marketing"}}"#);
        tell(&ledger, &line).await.unwrap();
    }
    drop(ledger);
    store.accept_history(Position(5000), now()).unwrap();
    store.remember_policies(&policies()).unwrap();
}

#[tokio::test]
async fn a_copy_holds_the_same_and_goes_on_as_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let original = memory();
    fill(&original).await;
    let of_original = digest(&original);
    assert_eq!((of_original.events, of_original.end.position), (2005, Position(5000)));
    let (on_disk, back) = (file(&folder.path().join("ledger.db")), memory());
    for (from, to) in [(&original, &on_disk), (&on_disk, &back)] {
        let mut progress = Vec::new();
        let copied = copy(&**from, &**to, &mut |events| progress.push(events)).unwrap();
        assert_eq!(copied, from.history_end().unwrap());
        assert_eq!(progress, [1024, 2005], "page by page");
        assert_eq!(digest(to), of_original);
        assert_eq!(to.history_end().unwrap(), from.history_end().unwrap());
        assert_eq!(to.losses().unwrap(), from.losses().unwrap());
        assert!(
            to.id().unwrap().is_some() && to.id().unwrap() == from.id().unwrap(),
            "it is the same ledger"
        );
    }
    let ledger = Ledger::with_store(Arc::clone(&back), &keys(), Arc::new(Fixture)).unwrap();
    let key = format!("key of bob {GIVE}");
    let again = ledger.append(&person("bob"), draft(GIVE), Some(&key), now()).await.unwrap();
    assert!(again.repeated);
    let next = ledger.append(&person("bob"), draft(WITHDRAW), None, now()).await.unwrap();
    assert_eq!(next.position, Position(5001));
}

#[tokio::test]
async fn a_copy_needs_an_empty_target_and_a_history_without_holes() {
    let (from, to) = (memory(), memory());
    fill(&from).await;
    let stored = |position: u64| {
        let event = from.follow(&KnownHistory::default(), 1).unwrap();
        let Continuation::Continues { events, .. } = event else { panic!("it continues") };
        let mut row = events.into_iter().next().unwrap();
        row.stored.position = Position(position);
        row
    };
    to.append(&KnownHistory::default(), &mut |_| Ok(vec![stored(1)])).unwrap();
    let copied = copy(&*from, &*to, &mut |_| {});
    assert!(matches!(copied, Err(CopyError::NotEmpty(Position(1)))), "{copied:?}");
    let only_policies = memory();
    only_policies.remember_policies(&policies()).unwrap();
    assert!(matches!(copy(&*from, &*only_policies, &mut |_| {}), Err(CopyError::NotEmpty(_))));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let with_hole = file(&path);
    copy(&*from, &*with_hole, &mut |_| {}).unwrap();
    let connection = Connection::open(&path).unwrap();
    assert_eq!(connection.execute("DELETE FROM events WHERE position = 100", []).unwrap(), 1);
    let copied = copy(&*with_hole, &*memory(), &mut |_| {});
    assert!(matches!(copied, Err(CopyError::Missing(Position(100)))), "{copied:?}");
    // No gateway decides on a copy that broke off.
    let renewal = |store: &dyn Store| {
        let (shared, instance) = (store.shared().unwrap(), Ulid::generate());
        shared.register(&gateway(instance)).unwrap();
        shared.renew(instance, store.history_end().unwrap().position).unwrap()
    };
    let shared = || MemoryStore::shared_by_gateways();
    let (broken, whole) = (shared(), shared());
    copy(&*with_hole, &broken, &mut |_| {}).unwrap_err();
    assert_eq!(renewal(&broken), Renewal::HistoryLost { until: Position(5001) });
    copy(&*from, &whole, &mut |_| {}).unwrap();
    assert_eq!(renewal(&whole), Renewal::Renewed);
}

fn gateway(instance: Ulid) -> GatewayDescription {
    GatewayDescription {
        instance,
        name: Arc::from("one"),
        lease: Duration::from_secs(2),
        version: Arc::from("1"),
        namespaces: [0; 32],
        recipients: Vec::new(),
        packs: Vec::new(),
    }
}

#[tokio::test]
async fn a_digest_tells_ledgers_apart() {
    let full = memory();
    fill(&full).await;
    let before = digest(&full);
    let ledger = Ledger::with_store(Arc::clone(&full), &keys(), Arc::new(Fixture)).unwrap();
    ledger.append(&person("alice"), draft(WITHDRAW), None, now()).await.unwrap();
    drop(ledger);
    let repeated = digest(&full);
    assert_ne!(repeated.history, before.history);
    let ledger = Ledger::with_store(Arc::clone(&full), &keys(), Arc::new(Fixture)).unwrap();
    ledger.append(&person("alice"), draft(GIVE), None, now()).await.unwrap();
    drop(ledger);
    assert_ne!(digest(&full).states, repeated.states);
    let text = before.to_string();
    assert!(
        text.starts_with("  events: 2005, up to position 5000; people and other entities: 2004\n"),
        "{text}"
    );
}
