//! Durability, the order of effects, and failures of the disk.

use super::*;

#[tokio::test]
async fn an_acknowledged_event_is_in_force_and_survives_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let first = {
        let ledger = open(&path, &keys);
        assert!(ledger.subject(&id("alice")).1.is_none());
        let first = ledger.append(&person("alice"), draft(GIVE), None, now()).await.unwrap();
        assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Given));
        let second = ledger.append(&person("alice"), draft(WITHDRAW), None, now()).await.unwrap();
        assert_eq!((first.position, second.position), (Position(1), Position(2)));
        assert_eq!(
            status(&ledger, "alice"),
            Some(ConsentStatus::Withdrawn),
            "although both have the same time"
        );
        assert_eq!(ledger.position(), Position(2));
        first
    };
    let ledger = open(&path, &keys);
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert_eq!((ledger.position(), ledger.subject_count()), (Position(2), 1));
    let history = ledger.archive().history(&person("alice")).unwrap();
    assert_eq!((history.len(), history[0].id), (2, first.event));
    assert!(ledger.subject(&id("bob")).1.is_none());
}

#[tokio::test]
async fn an_acknowledged_event_survives_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let ledger = open(&path, &keys);
    for n in 0..20 {
        ledger.append(&person(&format!("p{n}")), draft(GIVE), None, now()).await.unwrap();
    }
    // Copies of the files while the ledger is open, as a killed process leaves them.
    let left = tempfile::tempdir().unwrap();
    for file in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(folder.path().join(file), left.path().join(file)).unwrap();
    }
    let revived = open(&left.path().join("ledger.db"), &keys);
    assert_eq!((revived.position(), revived.subject_count()), (Position(20), 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_in_force_before_it_is_durable_and_a_consent_only_after() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();

    disk.block();
    let before = ledger.epoch();
    let withdrawal = append(&ledger, "alice", WITHDRAW);
    let consent = append(&ledger, "bob", GIVE);
    until(|| status(&ledger, "alice") == Some(ConsentStatus::Withdrawn)).await;
    disk.wait_for_append();
    let alice = ledger.fingerprints().subject(&id("alice"));
    assert!(ledger.changed_since(before, &[alice]));
    assert!(!ledger.changed_since(before, &[ledger.fingerprints().subject(&id("bob"))]));
    assert_eq!(ledger.hand_out(before, &[alice], |_| true, || ()), None);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(
        !withdrawal.is_finished() && !consent.is_finished(),
        "nothing is acknowledged before it is durable"
    );
    assert!(ledger.subject(&id("bob")).1.is_none(), "a consent is not in force before it is durable");
    assert_eq!(ledger.position(), Position(1));

    disk.unblock();
    withdrawal.await.unwrap().unwrap();
    consent.await.unwrap().unwrap();
    assert_eq!(status(&ledger, "bob"), Some(ConsentStatus::Given));
    assert_eq!(ledger.position(), Position(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_facts_count_as_the_more_restrictive_of_old_and_new() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    append(&ledger, "alice", r#"{"kind":"fact","facts":{"region":"EEA","minor":true}}"#)
        .await
        .unwrap()
        .unwrap();
    disk.block();
    let change = append(&ledger, "alice", r#"{"kind":"fact","facts":{"region":"US","minor":false}}"#);
    until(|| ledger.subject(&id("alice")).1.unwrap().region == Extracted::Unreadable).await;
    assert!(ledger.subject(&id("alice")).1.unwrap().minor);
    disk.unblock();
    change.await.unwrap().unwrap();
    let alice = ledger.subject(&id("alice")).1.unwrap();
    assert_eq!((&alice.region, alice.minor), (&Extracted::Known("US".into()), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_events_share_a_commit() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    disk.block();
    let first = append(&ledger, "p", GIVE);
    disk.wait_for_append();
    let rest: Vec<_> = (0..200).map(|n| append(&ledger, &format!("p{n}"), WITHDRAW)).collect();
    until(|| ledger.subject_count() == 200).await;
    disk.unblock();
    first.await.unwrap().unwrap();
    for one in rest {
        one.await.unwrap().unwrap();
    }
    assert_eq!(disk.commits.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_ledger_for_good_and_withdrawals_stay_in_force() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();
    disk.fill();
    assert_eq!(append(&ledger, "alice", WITHDRAW).await.unwrap(), Err(AppendError::Unavailable));
    assert!(!ledger.healthy());
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    disk.state.lock().unwrap().full = false;
    assert_eq!(
        append(&ledger, "bob", GIVE).await.unwrap(),
        Err(AppendError::Unavailable),
        "even if there is space again"
    );
    assert!(ledger.subject(&id("bob")).1.is_none());
    assert_eq!(ledger.position(), Position(1));
}

#[tokio::test]
async fn a_ledger_with_unknown_terms_opens_only_if_they_only_grant() {
    let disk = Arc::new(Disk::default());
    let put = |position, event: &str| {
        let stored = StoredEvent {
            position: Position(position),
            id: Ulid::generate(),
            recorded: now(),
            event: event.to_owned(),
        };
        let row = EventRow {
            entity: StoredEntity::of(&person("alice")),
            stored,
            idempotency: None,
            log_secret: SecretChange::Keep,
        };
        let known = disk.history_end().unwrap();
        disk.append(&known, &mut |_| Ok(vec![row.clone()])).unwrap();
    };
    put(1, r#"{"kind":"consent-given","purpose":"cold-calls","at":"2026-01-01T00:00:00Z"}"#);
    let ledger = over(&disk);
    assert!(
        ledger.subject(&id("alice")).1.unwrap().consents.is_empty(),
        "a grant for an unknown purpose grants nothing"
    );
    drop(ledger);
    put(2, r#"{"kind":"objection","purpose":"cold-calls","at":"2026-01-01T00:00:00Z"}"#);
    let error = Ledger::with_store(disk, &keys(), Arc::new(Fixture)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("position 2") && text.contains("cold-calls"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_record_is_handed_out_on_a_consent_whose_withdrawal_was_acknowledged() {
    // The race that the ledger must prevent: decide, collect, hand out, while a withdrawal comes in.
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    for round in 0..300 {
        let name = format!("p{round}");
        append(&ledger, &name, GIVE).await.unwrap().unwrap();
        let acknowledged = Arc::new(AtomicBool::new(false));
        let withdrawal = {
            let (ledger, entity, acknowledged) =
                (Arc::clone(&ledger), person(&name), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                ledger.append(&entity, draft(WITHDRAW), None, now()).await.unwrap();
                acknowledged.store(true, Ordering::SeqCst);
            })
        };
        let fingerprint = ledger.fingerprints().subject(&id(&name));
        loop {
            let epoch = ledger.epoch();
            let consented = status(&ledger, &name) == Some(ConsentStatus::Given);
            if !consented {
                break;
            }
            ledger.hand_out(
                epoch,
                &[fingerprint],
                |_| true,
                || {
                    assert!(!acknowledged.load(Ordering::SeqCst), "handed out after the acknowledgement");
                },
            );
        }
        withdrawal.await.unwrap();
    }
}
