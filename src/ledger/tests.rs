//! The ledger as a whole: durability, the order of effects, and what happens when a disk fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Condvar;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::names::fixture::Fixture;
use super::*;
use crate::decision::ConsentStatus;

fn keys() -> Keys {
    Keys::random().unwrap()
}

fn open(path: &Path, keys: &Keys) -> Arc<Ledger> {
    Ledger::open(path, keys, Arc::new(Fixture)).unwrap()
}

fn id(name: &str) -> SubjectId {
    SubjectId { namespace: None, id: name.into() }
}

fn person(name: &str) -> Entity {
    Entity::Subject(id(name))
}

fn draft(text: &str) -> Draft {
    parse(text.as_bytes(), Sort::Subject, &Fixture).unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

const GIVE: &str = r#"{"kind":"consent-given","purpose":"marketing"}"#;
const WITHDRAW: &str = r#"{"kind":"consent-withdrawn","purpose":"marketing"}"#;

fn status(ledger: &Ledger, name: &str) -> Option<ConsentStatus> {
    ledger.subject(&id(name)).1.and_then(|subject| subject.consents.first().map(|consent| consent.status))
}

/// A store in memory whose disk can be held, counted and broken.
#[derive(Default)]
struct Disk {
    kept: Mutex<Vec<Entry>>,
    state: Mutex<DiskState>,
    changed: Condvar,
    commits: AtomicUsize,
}

#[derive(Default)]
struct DiskState {
    held: bool,
    /// An append has arrived and waits.
    waiting: bool,
    full: bool,
}

impl Disk {
    fn hold(&self) {
        self.state.lock().unwrap().held = true;
    }

    fn release(&self) {
        self.state.lock().unwrap().held = false;
        self.changed.notify_all();
    }

    fn fill(&self) {
        self.state.lock().unwrap().full = true;
    }

    /// Returns when an append has come as far as the disk.
    fn reached(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.waiting).unwrap());
    }
}

impl Store for Disk {
    fn append(&self, batch: &[Entry]) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        state.waiting = true;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.held).unwrap();
        state.waiting = false;
        if state.full {
            return Err(StoreError::new("appending events", "no space left on device"));
        }
        self.kept.lock().unwrap().extend(batch.iter().cloned());
        self.commits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn history(&self, entity: &Entity) -> Result<Vec<Kept>, StoreError> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.iter().filter(|entry| entry.entity == *entity).map(|entry| entry.kept.clone()).collect())
    }

    fn cases(&self) -> Result<Vec<Arc<str>>, StoreError> {
        let kept = self.kept.lock().unwrap();
        let mut ids: Vec<_> = kept
            .iter()
            .filter_map(|entry| match &entry.entity {
                Entity::Case(id) => Some(Arc::clone(id)),
                Entity::Subject(_) | Entity::Controller(_) | Entity::Recipient(_) => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn scan(&self, each: &mut dyn FnMut(&Entity, Kept) -> bool) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap().clone();
        kept.sort_by_key(|entry| format!("{:?}", desk::fingerprint(&keys().fingerprints(), &entry.entity)));
        kept.iter().all(|entry| each(&entry.entity, entry.kept.clone()));
        Ok(())
    }

    fn once(&self, key: &store::OnceKey) -> Result<Option<(Kept, store::Asked)>, StoreError> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.iter().find_map(|entry| {
            let (known, asked) = entry.once?;
            (known == *key).then(|| (entry.kept.clone(), asked))
        }))
    }

    fn last(&self) -> Result<Position, StoreError> {
        Ok(self.kept.lock().unwrap().last().map_or(Position(0), |entry| entry.kept.position))
    }
}

fn over(disk: &Arc<Disk>) -> Arc<Ledger> {
    Ledger::over(Arc::clone(disk) as Arc<dyn Store>, &keys(), Arc::new(Fixture)).unwrap()
}

fn append(
    ledger: &Arc<Ledger>,
    name: &str,
    text: &str,
) -> tokio::task::JoinHandle<Result<Recorded, AppendError>> {
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
    assert_eq!((ledger.position(), ledger.subjects()), (Position(2), 1));
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
    assert_eq!((revived.position(), revived.subjects()), (Position(20), 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_in_force_before_it_is_durable_and_a_consent_only_after() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();

    disk.hold();
    let before = ledger.epoch();
    let withdrawal = append(&ledger, "alice", WITHDRAW);
    let consent = append(&ledger, "bob", GIVE);
    until(|| status(&ledger, "alice") == Some(ConsentStatus::Withdrawn)).await;
    disk.reached();
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

    disk.release();
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
    disk.hold();
    let change = append(&ledger, "alice", r#"{"kind":"fact","facts":{"region":"US","minor":false}}"#);
    until(|| ledger.subject(&id("alice")).1.unwrap().region.is_none()).await;
    assert!(ledger.subject(&id("alice")).1.unwrap().minor);
    disk.release();
    change.await.unwrap().unwrap();
    let alice = ledger.subject(&id("alice")).1.unwrap();
    assert_eq!((alice.region.as_deref(), alice.minor), (Some("US"), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_share_a_commit() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    disk.hold();
    let first = append(&ledger, "p", GIVE);
    disk.reached();
    let rest: Vec<_> = (0..200).map(|n| append(&ledger, &format!("p{n}"), WITHDRAW)).collect();
    until(|| ledger.subjects() == 200).await;
    disk.release();
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
    assert_eq!(again, Recorded { again: true, ..first });
    assert_eq!(ledger.append(&alice, draft(WITHDRAW), Some("k"), now()).await, Err(AppendError::KeyReused));
    let bob = ledger.append(&person("bob"), draft(GIVE), Some("k"), now()).await.unwrap();
    assert!(!bob.again, "a key counts for one person");

    // Twice at once, neither durable yet: the second is acknowledged with the first, not before.
    disk.hold();
    let spawn = || {
        let (ledger, alice) = (Arc::clone(&ledger), alice.clone());
        tokio::spawn(async move { ledger.append(&alice, draft(WITHDRAW), Some("k2"), now()).await })
    };
    let one = spawn();
    disk.reached();
    let two = spawn();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!two.is_finished());
    disk.release();
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert_eq!((one.event, one.again, two.again), (two.event, false, true));
}

#[tokio::test]
async fn events_about_the_wrong_entity_or_from_the_future_are_refused() {
    let ledger = over(&Arc::default());
    let suspended = parse(br#"{"kind":"suspended"}"#, Sort::Recipient, &Fixture).unwrap();
    let error = ledger.append(&person("alice"), suspended.clone(), None, now()).await.unwrap_err();
    assert!(matches!(error, AppendError::Event(EventError::WrongSort { .. })));
    let future = Draft { at: Some(now() + SignedDuration::from_secs(61)), ..draft(WITHDRAW) };
    assert_eq!(ledger.append(&person("alice"), future, None, now()).await, Err(AppendError::Future));
    ledger.append(&Entity::Recipient("acme".into()), suspended, None, now()).await.unwrap();
    assert!(ledger.suspended("acme") && !ledger.suspended("globex"));
}

#[tokio::test]
async fn a_consent_from_a_clock_that_is_ahead_does_not_outlast_a_withdrawal() {
    let ledger = over(&Arc::default());
    let ahead = Draft { at: Some(now() + SignedDuration::from_secs(30)), ..draft(GIVE) };
    ledger.append(&person("alice"), ahead, None, now()).await.unwrap();
    let soon = now() + SignedDuration::from_secs(1);
    let withdrawal = Draft { at: Some(soon), ..draft(WITHDRAW) };
    ledger.append(&person("alice"), withdrawal, None, soon).await.unwrap();
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test]
async fn a_controller_has_its_own_facts() {
    let ledger = over(&Arc::default());
    let instruct =
        parse(br#"{"kind":"instruction","purpose":"invoicing"}"#, Sort::Controller, &Fixture).unwrap();
    ledger.append(&Entity::Controller(id("acct-1")), instruct, None, now()).await.unwrap();
    assert_eq!(ledger.controller(&id("acct-1")).1.unwrap().instructions.len(), 1);
    assert!(ledger.subject(&id("acct-1")).1.is_none() && ledger.controller(&id("acct-2")).1.is_none());
}

async fn import(ledger: &Ledger, text: &str, batch: Option<&str>, now: Timestamp) -> Vec<LineResult> {
    let mut results = Vec::new();
    ledger.import(text.as_bytes(), 1, batch, now, |result| results.push(result)).await;
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
    assert!(ledger.suspended("acme"));
    let later = now() + SignedDuration::from_hours(1);
    let again = import(&ledger, &file, None, later).await;
    assert!(again.iter().filter_map(|result| result.outcome.as_ref().ok()).all(|recorded| recorded.again));
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
    let again = |results: Vec<LineResult>| results[0].outcome.as_ref().unwrap().again;
    assert!(!again(import(&ledger, give, Some("file"), now()).await));
    assert!(!again(import(&ledger, withdraw, Some("other"), now()).await));
    assert!(again(import(&ledger, give, Some("file"), now()).await), "the same batch");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert!(!again(import(&ledger, give, Some("next month"), now()).await), "another batch");
    assert!(!again(import(&ledger, withdraw, Some("other"), now()).await), "each time");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test]
async fn a_state_is_shown_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.db"), &keys());
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let given = Draft { at: at("2026-01-01T00:00:00Z"), ..draft(GIVE) };
    let withdrawn = Draft { at: at("2026-03-01T00:00:00Z"), ..draft(WITHDRAW) };
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
    let entry = |position, event: &str| Entry {
        entity: person("alice"),
        kept: Kept {
            position: Position(position),
            id: Ulid::generate(),
            recorded: now(),
            event: event.to_owned(),
        },
        once: None,
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
    let error = Ledger::over(disk, &keys(), Arc::new(Fixture)).unwrap_err();
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

async fn tell(ledger: &Ledger, line: &str) -> Result<Recorded, AppendError> {
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
    assert!(again.iter().all(|result| result.outcome.as_ref().is_ok_and(|recorded| recorded.again)));
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
    assert_eq!(ledger.case("C-7").unwrap().standing(now()), Standing::Ended);
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
    assert_eq!((ledger.requests().len(), ledger.subjects()), (1, 0));
    assert!(ledger.subject(&id("alice")).1.is_none());
    drop(ledger);
    let ledger = open(&path, &keys);
    assert_eq!((ledger.requests().len(), ledger.subjects()), (1, 0));
    assert_eq!(ledger.archive().requests().unwrap(), ledger.requests());
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();
    assert_eq!((ledger.requests().len(), ledger.subjects()), (1, 1), "both are known now");
    tell(&ledger, &request("answered")).await.unwrap();
    assert_eq!((ledger.requests().len(), ledger.subjects()), (0, 1));
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Given));
    assert!(ledger.archive().requests().unwrap().is_empty());
}
