//! The ledger as a whole: durability, the order of effects, and what happens when a disk fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
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
use crate::decision::ConsentStatus;
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
    fn append(&self, batch: &[NewEvent]) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        state.waiting = true;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.blocked).unwrap();
        state.waiting = false;
        if state.full {
            return Err(StoreError::new("appending events", "no space left on device"));
        }
        self.store.append(batch)?;
        self.commits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn history(&self, entity: &StoredEntity) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.history(entity)
    }

    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        self.store.entity_ids(kind, namespace)
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        self.store.case_ids()
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        self.store.scan(each)
    }

    fn find_repeated(
        &self,
        key: &IdempotencyDigest,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError> {
        self.store.find_repeated(key)
    }

    fn last_position(&self) -> Result<Position, StoreError> {
        self.store.last_position()
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        self.store.accept_history(until, now)
    }

    fn policies(&self) -> Result<PolicyMemory, StoreError> {
        self.store.policies()
    }

    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        self.store.remember_policies(memory)
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
    panic!("it did not come about");
}

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
        assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn), "although `now` is the same");
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
async fn what_was_acknowledged_is_on_disk_when_the_process_dies() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let ledger = open(&path, &keys);
    for n in 0..20 {
        ledger.append(&person(&format!("p{n}")), draft(GIVE), None, now()).await.unwrap();
    }
    // The files as they are at this moment, nothing closed: what a killed process leaves.
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
    assert_eq!(ledger.hand_out(before, &[alice], || ()), None);
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
async fn facts_on_their_way_count_as_the_lesser_of_old_and_new() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    append(&ledger, "alice", r#"{"kind":"fact","facts":{"region":"EEA","minor":true}}"#)
        .await
        .unwrap()
        .unwrap();
    disk.block();
    let change = append(&ledger, "alice", r#"{"kind":"fact","facts":{"region":"US","minor":false}}"#);
    until(|| ledger.subject(&id("alice")).1.unwrap().region.is_none()).await;
    assert!(ledger.subject(&id("alice")).1.unwrap().minor);
    disk.unblock();
    change.await.unwrap().unwrap();
    let alice = ledger.subject(&id("alice")).1.unwrap();
    assert_eq!((alice.region.as_deref(), alice.minor), (Some("US"), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_share_a_commit() {
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
async fn a_full_disk_stops_the_ledger_for_good_and_what_withholds_stays_in_force() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();
    disk.fill();
    assert_eq!(append(&ledger, "alice", WITHDRAW).await.unwrap(), Err(AppendError::Unavailable));
    assert!(!ledger.healthy());
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    disk.state.lock().unwrap().full = false;
    assert_eq!(append(&ledger, "bob", GIVE).await.unwrap(), Err(AppendError::Unavailable), "room or not");
    assert!(ledger.subject(&id("bob")).1.is_none());
    assert_eq!(ledger.position(), Position(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_records_once() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    let alice = person("alice");
    let first = ledger.append(&alice, draft(GIVE), Some("k"), now()).await.unwrap();
    let later = now() + SignedDuration::from_secs(5);
    let again = ledger.append(&alice, draft(GIVE), Some("k"), later).await.unwrap();
    assert_eq!(again, Acknowledgement { repeated: true, changed: false, ..first });
    assert_eq!(ledger.append(&alice, draft(WITHDRAW), Some("k"), now()).await, Err(AppendError::KeyReused));
    let bob = ledger.append(&person("bob"), draft(GIVE), Some("k"), now()).await.unwrap();
    assert!(!bob.repeated, "a key counts for one person");

    // Twice at once, neither durable yet: the second is acknowledged with the first, not before.
    disk.block();
    let spawn = || {
        let (ledger, alice) = (Arc::clone(&ledger), alice.clone());
        tokio::spawn(async move { ledger.append(&alice, draft(WITHDRAW), Some("k2"), now()).await })
    };
    let one = spawn();
    disk.wait_for_append();
    let two = spawn();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!two.is_finished());
    disk.unblock();
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert_eq!((one.event, one.repeated, two.repeated), (two.event, false, true));
}

#[tokio::test]
async fn events_about_the_wrong_entity_or_from_the_future_are_refused() {
    let ledger = over(&Arc::default());
    let suspended = parse(br#"{"kind":"suspended"}"#, EntityKind::Recipient, &Fixture).unwrap();
    let error = ledger.append(&person("alice"), suspended.clone(), None, now()).await.unwrap_err();
    assert!(matches!(error, AppendError::Event(EventError::WrongEntityKind { .. })));
    let future = EventDraft { at: Some(now() + SignedDuration::from_secs(61)), ..draft(GIVE) };
    assert_eq!(ledger.append(&person("alice"), future, None, now()).await, Err(AppendError::Future));
    ledger.append(&Entity::Recipient("acme".into()), suspended, None, now()).await.unwrap();
    assert!(ledger.is_suspended("acme") && !ledger.is_suspended("globex"));
}

#[tokio::test]
async fn a_consent_from_a_clock_that_is_ahead_does_not_outlast_a_withdrawal() {
    let ledger = over(&Arc::default());
    let ahead = EventDraft { at: Some(now() + SignedDuration::from_secs(30)), ..draft(GIVE) };
    ledger.append(&person("alice"), ahead, None, now()).await.unwrap();
    let soon = now() + SignedDuration::from_secs(1);
    let withdrawal = EventDraft { at: Some(soon), ..draft(WITHDRAW) };
    ledger.append(&person("alice"), withdrawal, None, soon).await.unwrap();
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

fn seconds(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

#[tokio::test]
async fn a_withdrawal_is_in_force_whatever_the_clocks_of_reporters_said() {
    // When the consent was reported and dated, and the withdrawal.
    for (reported, given, asked, withdrawn) in [
        (0, Some(0), 1, Some(80)),
        (0, Some(0), 1, Some(3600 * 24 * 400)),
        (0, Some(55), 1, Some(0)),
        (0, None, 0, Some(-50)),
        (0, Some(0), 0, Some(-60)),
        // Our own clock was ahead before.
        (7200, None, 0, None),
        (7200, None, 0, Some(0)),
        (7200, Some(7200), 0, Some(-30)),
        (7200, None, 0, Some(-3600)),
        (7200, None, 0, Some(90)),
    ] {
        let ledger = over(&Arc::default());
        let give = EventDraft { at: given.map(seconds), ..draft(GIVE) };
        ledger.append(&person("alice"), give, None, seconds(reported)).await.unwrap();
        let withdraw = EventDraft { at: withdrawn.map(seconds), ..draft(WITHDRAW) };
        let recorded = ledger.append(&person("alice"), withdraw, None, seconds(asked)).await.unwrap();
        assert!(recorded.changed, "{reported} {given:?} {asked} {withdrawn:?}");
        assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    }
}

#[tokio::test]
async fn an_objection_beside_two_clocks_that_are_ahead_does_not_save_a_consent() {
    // A refusal dated ahead pushed the consent behind it ahead, and that outlasted a withdrawal dated now.
    let ledger = over(&Arc::default());
    let object =
        EventDraft { at: Some(seconds(55)), ..draft(r#"{"kind":"objection","purpose":"analytics"}"#) };
    ledger.append(&person("alice"), object, None, now()).await.unwrap();
    ledger.append(&person("alice"), draft(GIVE), None, now()).await.unwrap();
    let withdraw = EventDraft { at: Some(now()), ..draft(WITHDRAW) };
    assert!(ledger.append(&person("alice"), withdraw, None, now()).await.unwrap().changed);
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test]
async fn no_event_is_in_the_future_and_a_grant_may_be_late() {
    let ledger = over(&Arc::default());
    let at = |draft: &str, at: i64| EventDraft { at: Some(seconds(at)), ..self::draft(draft) };
    for (n, kind) in [WITHDRAW, r#"{"kind":"erasure"}"#, r#"{"kind":"fact","facts":{"minor":true}}"#]
        .into_iter()
        .enumerate()
    {
        let name = format!("p{n}");
        assert!(ledger.append(&person(&name), at(kind, 86_400), None, now()).await.unwrap().changed);
        let history = ledger.archive().history(&person(&name)).unwrap();
        assert_eq!(history[0].event.at, now());
    }
    for kind in [GIVE, r#"{"kind":"notice","notice":"n"}"#, r#"{"kind":"fact","facts":{"minor":false}}"#] {
        let refused = ledger.append(&person("bob"), at(kind, 61), None, now()).await;
        assert_eq!(refused, Err(AppendError::Future), "{kind}");
        ledger.append(&person("bob"), at(kind, 60), None, now()).await.unwrap();
    }
    assert!(ledger.archive().history(&person("bob")).unwrap().iter().all(|past| past.event.at <= now()));
    // A withdrawal of last week does not end a consent of yesterday, and says so.
    let recorded = ledger.append(&person("bob"), at(WITHDRAW, -600), None, now()).await.unwrap();
    assert!(!recorded.changed);
    assert_eq!(status(&ledger, "bob"), Some(ConsentStatus::Given));
}

#[tokio::test]
async fn an_acknowledgement_says_whether_anything_changed() {
    let ledger = over(&Arc::default());
    let alice = person("alice");
    for (text, changed) in [
        (r#"{"kind":"notice","notice":"n"}"#, true),
        (r#"{"kind":"notice","notice":"n"}"#, false),
        (GIVE, true),
        (GIVE, false),
        (r#"{"kind":"consent-given","purpose":"marketing","valid-until":"2027-01-01T00:00:00Z"}"#, true),
        (WITHDRAW, true),
        (WITHDRAW, false),
        (r#"{"kind":"objection-lifted","purpose":"marketing"}"#, false),
        (r#"{"kind":"opt-out","recipient":"acme"}"#, true),
        (r#"{"kind":"opt-out","recipient":"acme"}"#, false),
        (r#"{"kind":"fact","facts":{"region":"EEA","minor":false}}"#, true),
        (r#"{"kind":"correction","facts":{"region":"EEA"}}"#, false),
        (r#"{"kind":"fact","facts":{"region":"US"}}"#, true),
        (r#"{"kind":"relation-ended","relation":"domain-registrant"}"#, false),
        (r#"{"kind":"request-received","right":"access"}"#, true),
        (r#"{"kind":"request-received","right":"access"}"#, false),
        (r#"{"kind":"erasure"}"#, true),
        (r#"{"kind":"erasure"}"#, false),
    ] {
        let recorded = ledger.append(&alice, draft(text), None, now()).await.unwrap();
        assert_eq!(recorded.changed, changed, "{text}");
    }
    for (line, changed) in [
        (r#"{"recipient":"acme","kind":"resumed"}"#, false),
        (r#"{"recipient":"acme","kind":"suspended"}"#, true),
        (r#"{"recipient":"acme","kind":"suspended"}"#, false),
        (r#"{"controller":"c","kind":"instruction","purpose":"invoicing"}"#, true),
        (r#"{"controller":"c","kind":"account-closed"}"#, true),
        (r#"{"controller":"c","kind":"account-closed"}"#, false),
        (CASE, true),
        (r#"{"case":"C-7","kind":"case-approved","approver":"ada"}"#, true),
    ] {
        assert_eq!(tell(&ledger, line).await.unwrap().changed, changed, "{line}");
    }
}

#[tokio::test]
async fn a_repeated_idempotency_key_withholds_again_what_is_no_longer_withheld() {
    let ledger = over(&Arc::default());
    let alice = person("alice");
    let send =
        async |text: &str, key: Option<&str>| ledger.append(&alice, draft(text), key, now()).await.unwrap();
    let until = |time: &str| {
        format!(r#"{{"kind":"consent-given","purpose":"marketing","valid-until":"{time}T00:00:00Z"}}"#)
    };
    send(GIVE, Some("g")).await;
    let first = send(WITHDRAW, Some("w")).await;
    assert!(send(GIVE, Some("g")).await.repeated, "a consent is not given anew by a repetition");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    let again = send(WITHDRAW, Some("w")).await;
    assert_eq!((again.event, again.repeated, again.changed), (first.event, true, false));

    send(GIVE, None).await;
    let anew = send(WITHDRAW, Some("w")).await;
    assert!(!anew.repeated && anew.changed && anew.event != first.event);
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert!(send(WITHDRAW, Some("w")).await.repeated);

    // A consent that ends: where it shortens.
    assert!(send(&until("2027-06-01"), Some("u")).await.changed);
    send(&until("2027-01-01"), None).await;
    assert!(send(&until("2027-06-01"), Some("u")).await.repeated);
    send(GIVE, None).await;
    assert!(send(&until("2027-06-01"), Some("u")).await.changed);
    send(WITHDRAW, None).await;
    assert!(send(&until("2027-06-01"), Some("u")).await.repeated);

    // A fact: what is certain to withhold.
    let child = r#"{"kind":"fact","facts":{"minor":true,"country":"DE"}}"#;
    assert!(send(child, Some("f")).await.changed);
    assert!(send(child, Some("f")).await.repeated);
    send(r#"{"kind":"fact","facts":{"minor":false,"country":"US"}}"#, Some("f2")).await;
    assert!(send(child, Some("f")).await.changed);
    assert!(send(r#"{"kind":"fact","facts":{"minor":false,"country":"US"}}"#, Some("f2")).await.repeated);
    assert!(ledger.subject(&id("alice")).1.unwrap().minor);
}

#[tokio::test]
async fn what_only_withholds_makes_nobody_known() {
    let known = async |texts: &[&str]| {
        let ledger = over(&Arc::default());
        for text in texts {
            ledger.append(&person("alice"), draft(text), None, now()).await.unwrap();
        }
        ledger.subject(&id("alice")).1.is_some_and(|subject| !subject.only_refusals)
    };
    for text in [
        WITHDRAW,
        r#"{"kind":"objection","purpose":"marketing"}"#,
        r#"{"kind":"objection-lifted","purpose":"marketing"}"#,
        r#"{"kind":"opt-out","recipient":"acme"}"#,
        r#"{"kind":"opt-out-lifted","recipient":"acme"}"#,
        r#"{"kind":"restriction-lifted"}"#,
        r#"{"kind":"category-allowed","category":"phone"}"#,
        r#"{"kind":"relation-ended","relation":"domain-registrant"}"#,
        r#"{"kind":"fact","facts":{"transfer-consent":false}}"#,
        r#"{"kind":"fact","facts":{"region":null}}"#,
        r#"{"kind":"fact","facts":{"country":null,"minor":true}}"#,
        r#"{"kind":"correction","facts":{"minor":true}}"#,
        r#"{"kind":"fact","facts":{"origin":"referral"}}"#,
        r#"{"kind":"fact","facts":{"origin":{"email":"referral"}}}"#,
        r#"{"kind":"request-received","right":"access"}"#,
    ] {
        assert!(!known(&[text]).await, "{text}");
        assert!(!known(&[text, text]).await, "{text}");
    }
    assert!(
        !known(&[
            WITHDRAW,
            r#"{"kind":"objection","purpose":"analytics"}"#,
            r#"{"kind":"objection-lifted","purpose":"analytics"}"#
        ])
        .await
    );
    for text in [
        GIVE,
        r#"{"kind":"notice","notice":"n"}"#,
        r#"{"kind":"relation","relation":"domain-registrant"}"#,
        r#"{"kind":"fact","facts":{"region":"EEA"}}"#,
        r#"{"kind":"fact","facts":{"minor":false}}"#,
        r#"{"kind":"fact","facts":{"minor":true,"country":"DE"}}"#,
        r#"{"kind":"correction","facts":{"origin":"social"}}"#,
    ] {
        assert!(known(&[text]).await, "{text}");
    }
}

#[tokio::test]
async fn an_event_about_a_recipient_that_nobody_has_is_refused_and_an_export_is_restored() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    ledger.set_recipients([Arc::from("acme-news"), Arc::from("globex")]);
    let out = |name: &str| draft(&format!(r#"{{"kind":"opt-out","recipient":"{name}"}}"#));
    let refused = ledger.append(&person("alice"), out("Acme-News"), None, now()).await.unwrap_err();
    assert!(refused.to_string().contains("did you mean `acme-news`?"), "{refused}");
    ledger.append(&person("alice"), out("acme-news"), None, now()).await.unwrap();
    let lines = r#"{"subject":"bob","kind":"opt-out","recipient":"initech"}
{"subject":"bob","kind":"opt-out","recipient":"acme-news"}
{"recipient":"initech","kind":"suspended"}"#;
    let results = import(&ledger, lines, None, now()).await;
    assert_eq!(results.iter().map(|result| result.outcome.is_ok()).collect::<Vec<_>>(), [false, true, false]);
    let mut results = Vec::new();
    let batch = Batch { keep_unknown_recipients: true, ..Batch::default() };
    ledger.import(lines.as_bytes(), batch, now(), |result| results.push(result)).await;
    assert!(results.iter().all(|result| result.outcome.is_ok()));
    assert!(ledger.is_suspended("initech"));
    // What is recorded is read whatever it names.
    drop(ledger);
    let ledger = over(&disk);
    let named = |configured: &[&str]| {
        ledger.unregistered_recipients(&configured.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>())
    };
    assert_eq!(named(&["globex"]), [Arc::from("acme-news"), Arc::from("initech")]);
    assert_eq!(named(&["acme-news", "initech"]), []);
}

#[tokio::test]
async fn a_controller_has_its_own_facts() {
    let ledger = over(&Arc::default());
    let instruct =
        parse(br#"{"kind":"instruction","purpose":"invoicing"}"#, EntityKind::Controller, &Fixture).unwrap();
    ledger.append(&Entity::Controller(id("acct-1")), instruct, None, now()).await.unwrap();
    assert_eq!(ledger.controller(&id("acct-1")).1.unwrap().instructions.len(), 1);
    assert!(ledger.subject(&id("acct-1")).1.is_none() && ledger.controller(&id("acct-2")).1.is_none());
}

async fn import(ledger: &Ledger, text: &str, batch: Option<&str>, now: Timestamp) -> Vec<LineResult> {
    let mut results = Vec::new();
    let batch = Batch { name: batch, ..Batch::default() };
    ledger.import(text.as_bytes(), batch, now, |result| results.push(result)).await;
    results
}

#[tokio::test]
async fn an_import_tells_the_outcome_of_each_line_and_can_be_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let file = [
        r#"{"subject":"alice","kind":"consent-given","purpose":"marketing","at":"2026-01-01T00:00:00Z"}"#,
        "",
        r#"{"subject":"bob","kind":"consent-given","purpose":"world-domination"}"#,
        "not json",
        r#"{"controller":"acct","namespace":"crm","kind":"account-closed","at":"2026-02-01T00:00:00Z"}"#,
        r#"{"recipient":"acme","kind":"suspended","at":"2026-02-01T00:00:00Z"}"#,
        r#"{"subject":"alice","kind":"consent-withdrawn","purpose":"marketing","at":"2026-02-01T00:00:00Z"}"#,
    ]
    .join("\n");
    let ledger = open(&path, &keys);
    let first = import(&ledger, &file, None, now()).await;
    let lines: Vec<_> = first.iter().map(|result| (result.line, result.outcome.is_ok())).collect();
    assert_eq!(lines, [(1, true), (3, false), (4, false), (5, true), (6, true), (7, true)]);
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert!(ledger.is_suspended("acme"));
    let later = now() + SignedDuration::from_hours(1);
    let again = import(&ledger, &file, None, later).await;
    assert!(again.iter().filter_map(|result| result.outcome.as_ref().ok()).all(|recorded| recorded.repeated));
    assert_eq!(ledger.position(), Position(4));

    let mut exported = Vec::new();
    let write = |line: &str| {
        exported.push(line.to_owned());
        Ok(())
    };
    ledger.archive().export(write).unwrap().unwrap();
    assert_eq!(exported.len(), 4);
    let copy = open(&folder.path().join("copy.db"), &keys);
    assert!(
        import(&copy, &exported.join("\n"), None, later).await.iter().all(|result| result.outcome.is_ok())
    );
    assert!(copy.subject(&id("alice")).1 == ledger.subject(&id("alice")).1);
}

#[tokio::test]
async fn an_import_started_again_grants_nothing_anew_and_forgets_no_withdrawal() {
    let ledger = over(&Arc::default());
    let give = r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#;
    let withdraw = r#"{"subject":"alice","kind":"consent-withdrawn","purpose":"marketing"}"#;
    let again = |results: Vec<LineResult>| results[0].outcome.as_ref().unwrap().repeated;
    assert!(!again(import(&ledger, give, Some("file"), now()).await));
    assert!(!again(import(&ledger, withdraw, Some("other"), now()).await));
    assert!(again(import(&ledger, give, Some("file"), now()).await), "the same batch");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert!(!again(import(&ledger, give, Some("next month"), now()).await), "another batch");
    assert!(!again(import(&ledger, withdraw, Some("other"), now()).await), "each time");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test]
async fn a_file_from_windows_is_read() {
    let ledger = over(&Arc::default());
    let give = r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#;
    let results =
        import(&ledger, &format!("\u{feff}{give}\r\n\r\n{give}\r\n"), Some(FILE_BATCH), now()).await;
    let lines: Vec<_> = results.iter().map(|result| (result.line, result.outcome.is_ok())).collect();
    assert_eq!(lines, [(1, true), (3, true)]);
    assert_eq!(ledger.position(), Position(1), "the same line twice");
}

#[tokio::test(flavor = "current_thread")]
async fn lines_that_do_not_parse_keep_no_worker() {
    let ledger = over(&Arc::default());
    let turns = Arc::new(AtomicUsize::new(0));
    let counting = tokio::spawn({
        let turns = Arc::clone(&turns);
        async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let text = "nonsense\n".repeat(200_000);
    let mut bad = 0;
    ledger
        .import(text.as_bytes(), Batch::default(), now(), |result| {
            bad += usize::from(result.outcome.is_err())
        })
        .await;
    assert_eq!(bad, 200_000);
    assert!(turns.load(Ordering::SeqCst) > 3, "others had their turn");
    counting.abort();
}

/// Lines without a time about one person: everything that can be repeated, contradicted or taken back.
const LINES: &[&str] = &[
    r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#,
    r#"{"subject":"alice","kind":"consent-given","purpose":"marketing","valid-until":"2027-01-01T00:00:00Z"}"#,
    r#"{"subject":"alice","kind":"consent-given","purpose":"marketing","valid-until":"2028-01-01T00:00:00Z"}"#,
    r#"{"subject":"alice","kind":"consent-withdrawn","purpose":"marketing"}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"region":"EEA"}}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"region":"US","minor":false}}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"minor":true,"country":"DE"}}"#,
    r#"{"subject":"alice","kind":"correction","facts":{"origin":"referral"}}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"origin":"self","region":null}}"#,
    r#"{"subject":"alice","kind":"objection","purpose":"analytics"}"#,
    r#"{"subject":"alice","kind":"objection-lifted","purpose":"analytics"}"#,
    r#"{"subject":"alice","kind":"opt-out","recipient":"acme"}"#,
    r#"{"subject":"alice","kind":"opt-out-lifted","recipient":"acme"}"#,
    r#"{"subject":"alice","kind":"relation","relation":"domain-registrant"}"#,
    r#"{"subject":"alice","kind":"relation-ended","relation":"domain-registrant"}"#,
    r#"{"subject":"alice","kind":"restriction"}"#,
    r#"{"subject":"alice","kind":"restriction-lifted"}"#,
    r#"{"subject":"alice","kind":"request-received","right":"access"}"#,
    r#"{"subject":"alice","kind":"notice","notice":"n"}"#,
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(192))]

    #[test]
    fn importing_lines_equals_posting_them_but_for_grants_that_were_taken_back(
        lines in proptest::collection::vec((0..LINES.len(), proptest::bool::weighted(0.2)), 1..16)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (imported, posted) = (over(&Arc::default()), over(&Arc::default()));
            let state = |ledger: &Ledger| {
                let shown = ledger.archive().show(&id("alice"), None, now()).unwrap();
                shown.map(|mut shown| {
                    shown.remove("position");
                    shown
                })
            };
            let ends = |ledger: &Ledger| {
                let subject = ledger.subject(&id("alice")).1?;
                let given = subject.consents.iter().find(|consent| consent.status == ConsentStatus::Given)?;
                Some(given.until.unwrap_or(Timestamp::MAX))
            };
            let mut seen = std::collections::BTreeSet::new();
            let mut file = String::new();
            for (at, (line, is_last_of_its_file)) in lines.iter().enumerate() {
                let text = LINES[*line];
                file.push_str(&format!("{text}\n"));
                let (entity, draft) = parse_line(text.as_bytes(), &Fixture).unwrap();
                let repeated = !seen.insert(*line);
                let given_again = match (draft.kind.effect(), &draft.kind) {
                    (EventEffect::Permissive, _) => repeated,
                    (_, EventKind::ConsentGiven { until, .. }) => repeated && ends(&posted) <= *until,
                    _ => false,
                };
                if !given_again {
                    posted.append(&entity, draft, None, now()).await.unwrap();
                }
                if *is_last_of_its_file || at + 1 == lines.len() {
                    let name = format!("{FILE_BATCH}:{at}");
                    let results = import(&imported, &std::mem::take(&mut file), Some(&name), now()).await;
                    assert!(results.iter().all(|result| result.outcome.is_ok()));
                }
            }
            assert_eq!(state(&imported), state(&posted));
            assert_eq!(ends(&imported), ends(&posted));
            let rights = |ledger: &Ledger| ledger.requests().iter().map(|open| open.right).collect::<Vec<_>>();
            assert_eq!(rights(&imported), rights(&posted));
        });
    }
}

#[tokio::test]
async fn a_state_is_shown_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.db"), &keys());
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let given = EventDraft { at: at("2026-01-01T00:00:00Z"), ..draft(GIVE) };
    let withdrawn = EventDraft { at: at("2026-03-01T00:00:00Z"), ..draft(WITHDRAW) };
    ledger.append(&person("alice"), given, None, now()).await.unwrap();
    ledger.append(&person("alice"), withdrawn, None, now()).await.unwrap();
    let show = |time| ledger.archive().show(&id("alice"), time, now()).unwrap();
    assert!(show(at("2025-12-31T00:00:00Z")).is_none());
    let before = show(at("2026-02-01T00:00:00Z")).unwrap();
    assert_eq!((&before["consents"]["marketing"], &before["position"]), (&"given".into(), &1.into()));
    let today = show(None).unwrap();
    assert_eq!((&today["consents"]["marketing"], &today["position"]), (&"withdrawn".into(), &2.into()));
}

#[tokio::test]
async fn a_ledger_whose_words_are_gone_opens_only_if_nothing_is_forgotten() {
    let disk = Arc::new(Disk::default());
    let entry = |position, event: &str| NewEvent {
        entity: person("alice"),
        stored: StoredEvent {
            position: Position(position),
            id: Ulid::generate(),
            recorded: now(),
            event: event.to_owned(),
        },
        idempotency: None,
    };
    disk.append(&[entry(
        1,
        r#"{"kind":"consent-given","purpose":"cold-calls","at":"2026-01-01T00:00:00Z"}"#,
    )])
    .unwrap();
    let ledger = over(&disk);
    assert!(
        ledger.subject(&id("alice")).1.unwrap().consents.is_empty(),
        "a grant for an unknown purpose grants nothing"
    );
    drop(ledger);
    disk.append(&[entry(2, r#"{"kind":"objection","purpose":"cold-calls","at":"2026-01-01T00:00:00Z"}"#)])
        .unwrap();
    let error = Ledger::with_store(disk, &keys(), Arc::new(Fixture)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("position 2") && text.contains("cold-calls"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_record_is_handed_out_on_a_consent_whose_withdrawal_was_acknowledged() {
    // The race that the ledger exists for: judge, gather, hand out, while a withdrawal comes in.
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
            ledger.hand_out(epoch, &[fingerprint], || {
                assert!(!acknowledged.load(Ordering::SeqCst), "handed out after the acknowledgement");
            });
        }
        withdrawal.await.unwrap();
    }
}

const CASE: &str = r#"{"case":"C-7","kind":"case-registered","recipient":"court","purpose":"security","subjects":["alice"],"categories":["email"],"end":"2027-01-01T00:00:00Z","reference":"12 O 4/26"}"#;

async fn tell(ledger: &Ledger, line: &str) -> Result<Acknowledgement, AppendError> {
    let (entity, draft) = parse_line(line.as_bytes(), &Fixture).unwrap();
    ledger.append(&entity, draft, None, now()).await
}

fn approval(by: &str) -> String {
    format!(r#"{{"case":"C-7","kind":"case-approved","approver":"{by}"}}"#)
}

#[tokio::test]
async fn a_case_is_in_force_when_its_second_approval_is_acknowledged_and_survives() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let in_force = |ledger: &Ledger| ledger.case("C-7").is_some_and(|case| case.is_in_force(now()));
    let ledger = open(&path, &keys);
    tell(&ledger, CASE).await.unwrap();
    tell(&ledger, &approval("ada")).await.unwrap();
    assert!(!in_force(&ledger));
    tell(&ledger, &approval("ben")).await.unwrap();
    assert!(in_force(&ledger) && !in_force(&open(&folder.path().join("other.db"), &keys)));
    drop(ledger);
    let ledger = open(&path, &keys);
    assert!(in_force(&ledger));
    let shown = ledger.archive().cases(now()).unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["approvers"], serde_json::json!(["ada", "ben"]));
    assert_eq!(shown[0]["state"], "in-force");

    let mut lines = String::new();
    let write = |line: &str| {
        lines.push_str(&format!("{line}\n"));
        Ok(())
    };
    ledger.archive().export(write).unwrap().unwrap();
    let other = open(&folder.path().join("other.db"), &keys);
    let results = import(&other, &lines, None, now()).await;
    assert!(results.iter().all(|result| result.outcome.is_ok()), "{results:?}");
    assert!(in_force(&other));
    let again = import(&other, &lines, None, now()).await;
    assert!(again.iter().all(|result| result.outcome.as_ref().is_ok_and(|recorded| recorded.repeated)));
}

#[tokio::test]
async fn what_cannot_follow_is_refused_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.db"), &keys());
    assert_eq!(tell(&ledger, &approval("ada")).await, Err(AppendError::Conflict(Conflict::CaseUnknown)));
    let end = r#"{"case":"C-7","kind":"case-ended"}"#;
    assert_eq!(tell(&ledger, end).await, Err(AppendError::Conflict(Conflict::CaseUnknown)));
    tell(&ledger, CASE).await.unwrap();
    assert_eq!(tell(&ledger, CASE).await, Err(AppendError::Conflict(Conflict::CaseKnown)));
    tell(&ledger, &approval("Ada")).await.unwrap();
    let again = tell(&ledger, &approval("ada ")).await;
    assert_eq!(again, Err(AppendError::Conflict(Conflict::ApprovedBefore)));
    assert_eq!(tell(&ledger, &approval("Ada.")).await, again);
    for unlike in ["\u{410}da", "Ada\u{200b}", "J\u{fc}rgen", "..", "Ada (2)"] {
        let refused = tell(&ledger, &approval(unlike)).await;
        assert!(
            matches!(refused, Err(AppendError::Event(EventError::InvalidMember { member: "approver", .. }))),
            "{unlike}"
        );
    }
    assert_eq!(ledger.position(), Position(2));
}

#[tokio::test]
async fn the_end_of_a_case_is_a_change_and_its_approval_none() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.db"), &keys());
    tell(&ledger, CASE).await.unwrap();
    let case = [ledger.fingerprints().case("C-7")];
    let before = ledger.epoch();
    tell(&ledger, &approval("ada")).await.unwrap();
    tell(&ledger, &approval("ben")).await.unwrap();
    assert!(!ledger.changed_since(before, &case));
    tell(&ledger, r#"{"case":"C-7","kind":"case-ended"}"#).await.unwrap();
    assert!(ledger.changed_since(before, &case));
    assert_eq!(ledger.hand_out(before, &case, || ()), None);
    assert_eq!(ledger.case("C-7").unwrap().status(now()), CaseStatus::Ended);
}

#[tokio::test]
async fn requests_are_open_until_answered_and_make_nobody_known() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let ledger = open(&path, &keys);
    let request = |what: &str| format!(r#"{{"subject":"alice","kind":"request-{what}","right":"access"}}"#);
    let none = tell(&ledger, &request("answered")).await;
    assert_eq!(none, Err(AppendError::Conflict(Conflict::NoOpenRequest)));
    tell(&ledger, &request("received")).await.unwrap();
    tell(&ledger, &request("received")).await.unwrap();
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (1, 0));
    assert!(ledger.subject(&id("alice")).1.is_none());
    drop(ledger);
    let ledger = open(&path, &keys);
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (1, 0));
    assert_eq!(ledger.archive().requests().unwrap(), ledger.requests());
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (1, 1), "both are known now");
    tell(&ledger, &request("answered")).await.unwrap();
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (0, 1));
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Given));
    assert!(ledger.archive().requests().unwrap().is_empty());
}

/// Rules for the namespace `email`, or none.
fn language(lowercase: bool) -> Arc<VocabularyTerms> {
    let rule = IdRule::new(Normalization { lowercase, ..Normalization::default() }, None).unwrap();
    let namespaces = Namespaces::new([("email".into(), rule)]);
    Arc::new(VocabularyTerms::new(Arc::new(crate::vocabulary::Vocabulary::standard()), Arc::new(namespaces)))
}

#[tokio::test]
async fn histories_of_ids_that_become_one_are_one_history() {
    let (disk, keys) = (Arc::new(Disk::default()), keys());
    let over = |names: &Arc<VocabularyTerms>| {
        Ledger::with_store(
            Arc::clone(&disk) as Arc<dyn Store>,
            &keys,
            Arc::clone(names) as Arc<dyn TermLookup>,
        )
        .unwrap()
    };
    let email =
        |names: &VocabularyTerms, spelled| names.namespaces().reader(Some("email")).read(spelled).unwrap();
    let before = language(false);
    let ledger = over(&before);
    for (spelled, text) in [
        ("Ada", GIVE),
        ("ada", r#"{"kind":"request-received","right":"access"}"#),
        ("ADA", r#"{"kind":"objection","purpose":"analytics"}"#),
        ("bob", GIVE),
        ("ada", WITHDRAW),
    ] {
        let entity = Entity::Subject(email(&before, spelled));
        ledger
            .append(&entity, draft_in(&before, text), (spelled == "Ada").then_some("key"), now())
            .await
            .unwrap();
    }
    let mut exported = Vec::new();
    ledger
        .archive()
        .export(|line| {
            exported.push(line.to_owned());
            Ok(())
        })
        .unwrap()
        .unwrap();
    assert_eq!((ledger.subject_count(), exported.len()), (4, 5));
    drop(ledger);

    let today = language(true);
    let ledger = over(&today);
    let ada = email(&today, "aDa");
    assert_eq!(ledger.subject_count(), 2);
    let (fingerprint, state) = ledger.subject(&ada);
    let state = state.unwrap();
    assert_eq!(state.consents.first().map(|consent| consent.status), Some(ConsentStatus::Withdrawn));
    assert_eq!(state.objections.len(), 1);
    let entity = Entity::Subject(ada.clone());
    let history = ledger.archive().history(&entity).unwrap();
    let positions: Vec<u64> = history.iter().map(|past| past.position.0).collect();
    assert_eq!(positions, [1, 2, 3, 5]);
    assert_eq!(ledger.requests().len(), 1);
    assert_eq!(ledger.archive().requests().unwrap().len(), 1);
    let known = ledger.archive().fingerprints(&ada, ledger.fingerprints());
    assert_eq!(known.len(), 3);
    assert_eq!(known[0], fingerprint);
    assert!(known.contains(&ledger.fingerprints().subject(&email(&before, "Ada"))));
    let mut merged = Vec::new();
    ledger
        .archive()
        .export(|line| {
            merged.push(line.to_owned());
            Ok(())
        })
        .unwrap()
        .unwrap();
    assert_eq!(merged.iter().filter(|line| line.contains(r#""subject":"ada""#)).count(), 4);
    assert_eq!(merged.len(), 5);

    // What was recorded under a key is known under any spelling, and what comes is one person's.
    let again = ledger.append(&entity, draft_in(&today, GIVE), Some("key"), now()).await;
    assert!(again.is_ok_and(|recorded| recorded.repeated && recorded.position == Position(1)));
    ledger.append(&entity, draft_in(&today, GIVE), None, now()).await.unwrap();
    assert_eq!(ledger.archive().history(&entity).unwrap().len(), 5);
    drop(ledger);
    let ledger = over(&today);
    let state = ledger.subject(&ada).1.unwrap();
    assert_eq!(state.consents.first().map(|consent| consent.status), Some(ConsentStatus::Given));
    assert!(!ledger.uses_same_terms(&*before) && ledger.uses_same_terms(&*language(true)));
}

fn draft_in(names: &VocabularyTerms, text: &str) -> EventDraft {
    parse(text.as_bytes(), EntityKind::Subject, names).unwrap()
}
