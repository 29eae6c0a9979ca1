//! Tests of log secrets: made with the first event, used by every gateway, deleted after an erasure.

use super::shared::{Member, two};
use super::*;
use crate::keys::{LogSecret, LoggedPerson};

const ERASE: &str = r#"{"kind":"erasure"}"#;
const ASK: &str = r#"{"kind":"request-received","right":"access"}"#;
const ANSWER: &str = r#"{"kind":"request-answered","right":"access"}"#;

fn logged(ledger: &Ledger, name: &str) -> LoggedPerson {
    ledger.person(&id(name)).0
}

fn secret(ledger: &Ledger, name: &str) -> Option<LogSecret> {
    logged(ledger, name).secret
}

/// Returns the secret that the store has.
fn stored(ledger: &Ledger, name: &str) -> Option<LogSecret> {
    ledger.archive().log_secrets(&[&person(name)]).unwrap().pop().flatten()
}

fn pending(ledger: &Ledger) -> Vec<String> {
    ledger.pending_erasures().iter().map(|pending| pending.person.id().to_string()).collect()
}

async fn tell_of(ledger: &Arc<Ledger>, name: &str, text: &str) {
    append(ledger, name, text).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_secret_is_made_with_the_first_event_and_deleted_after_an_erasure() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let ledger = open(&path, &keys);
    assert_eq!(logged(&ledger, "alice").secret, None);
    tell_of(&ledger, "alice", WITHDRAW).await;
    tell_of(&ledger, "bob", GIVE).await;
    let (alice, bob) = (secret(&ledger, "alice"), secret(&ledger, "bob"));
    assert!(alice.is_some() && alice != bob && alice == stored(&ledger, "alice"));
    tell_of(&ledger, "alice", GIVE).await;
    assert_eq!(secret(&ledger, "alice"), alice, "one secret for all events");
    assert_eq!(
        ledger.erase_log_secret(&id("alice"), Ulid::nil(), now()).await,
        Err(AppendError::Conflict(Conflict::NoErasure))
    );
    tell_of(&ledger, "alice", ERASE).await;
    assert_eq!((pending(&ledger), secret(&ledger, "alice")), (vec!["alice".to_owned()], alice));
    drop(ledger);

    // The next process goes on with the deletion.
    let ledger = open(&path, &keys);
    assert_eq!((pending(&ledger), secret(&ledger, "alice")), (vec!["alice".to_owned()], alice));
    assert_eq!(secret(&ledger, "bob"), bob);
    ledger.erase_log_secret(&id("alice"), Ulid::nil(), now()).await.unwrap();
    assert_eq!((pending(&ledger), stored(&ledger, "alice")), (vec![], None));
    let unstored = secret(&ledger, "alice");
    assert!(unstored.is_some() && unstored != alice, "neither the fingerprint nor the deleted secret");
    assert!(ledger.subject(&id("alice")).1.unwrap().erased);
    drop(ledger);

    let ledger = open(&path, &keys);
    assert!(![None, alice, unstored].contains(&secret(&ledger, "alice")), "another one in each process");
    assert_eq!(pending(&ledger).len(), 0);
    // A person who comes back gets a new secret, and a second erasure deletes it.
    tell_of(&ledger, "alice", GIVE).await;
    let again = secret(&ledger, "alice");
    assert!(again.is_some() && again != alice && again == stored(&ledger, "alice"));
    tell_of(&ledger, "alice", ERASE).await;
    ledger.erase_log_secret(&id("alice"), Ulid::nil(), now()).await.unwrap();
    assert_eq!((stored(&ledger, "alice"), secret(&ledger, "bob")), (None, bob));
}

/// Disclosures about a person who has come back are found, and the next erasure deletes the new secret, too.
#[tokio::test]
async fn a_person_who_came_back_before_the_deletion_gets_another_secret_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let ledger = open(&path, &keys);
    for event in [GIVE, ERASE, GIVE] {
        tell_of(&ledger, "alice", event).await;
    }
    let first = secret(&ledger, "alice");
    ledger.erase_log_secret(&id("alice"), Ulid::nil(), now()).await.unwrap();
    let second = secret(&ledger, "alice");
    assert!(second.is_some() && second != first && second == stored(&ledger, "alice"));
    assert_eq!(pending(&ledger).len(), 0);
    drop(ledger);
    let ledger = open(&path, &keys);
    assert_eq!(secret(&ledger, "alice"), second, "the same in each process");
    tell_of(&ledger, "alice", GIVE).await;
    assert_eq!(secret(&ledger, "alice"), second);
    tell_of(&ledger, "alice", ERASE).await;
    ledger.erase_log_secret(&id("alice"), Ulid::nil(), now()).await.unwrap();
    assert_eq!(stored(&ledger, "alice"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_and_later_events_in_one_transaction_leave_one_new_secret() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    tell_of(&ledger, "alice", GIVE).await;
    let first = secret(&ledger, "alice");
    tell_of(&ledger, "alice", ERASE).await;
    disk.block();
    let blocking = append(&ledger, "bob", GIVE);
    disk.wait_for_append();
    let (erasing, alice) = (Arc::clone(&ledger), id("alice"));
    let erased = tokio::spawn(async move { erasing.erase_log_secret(&alice, Ulid::nil(), now()).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let later = [append(&ledger, "alice", WITHDRAW), append(&ledger, "alice", GIVE)];
    tokio::time::sleep(Duration::from_millis(20)).await;
    disk.unblock();
    blocking.await.unwrap().unwrap();
    erased.await.unwrap().unwrap();
    for event in later {
        event.await.unwrap().unwrap();
    }
    let second = secret(&ledger, "alice");
    assert!(second.is_some() && second != first && second == stored(&ledger, "alice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_first_event_is_not_durable_yet_is_logged_as_unknown() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    disk.block();
    let blocking = append(&ledger, "bob", GIVE);
    disk.wait_for_append();
    let first = append(&ledger, "alice", WITHDRAW);
    while ledger.subject(&id("alice")).1.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let fingerprint = ledger.fingerprints().subject(&id("alice"));
    assert_eq!(
        logged(&ledger, "alice"),
        LoggedPerson::unknown(fingerprint),
        "a report finds the fingerprint"
    );
    disk.unblock();
    blocking.await.unwrap().unwrap();
    first.await.unwrap().unwrap();
    assert!(secret(&ledger, "alice").is_some());
    assert_eq!(secret(&ledger, "alice"), stored(&ledger, "alice"));
}

#[tokio::test]
async fn a_person_who_only_asked_is_unknown_and_keeps_one_secret() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    tell_of(&ledger, "alice", ASK).await;
    tell_of(&ledger, "alice", ANSWER).await;
    let asked = secret(&ledger, "alice");
    assert!(asked.is_some() && ledger.subject(&id("alice")).1.is_none());
    tell_of(&ledger, "alice", GIVE).await;
    assert_eq!((secret(&ledger, "alice"), stored(&ledger, "alice")), (asked, asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judged_person_keeps_the_name_when_memory_is_cleared_before_the_record() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    tell_of(&ledger, "alice", GIVE).await;
    tell_of(&ledger, "bob", ASK).await;
    tell_of(&ledger, "carol", ERASE).await;
    ledger.erase_log_secret(&id("carol"), Ulid::nil(), now()).await.unwrap();
    let judged = ["alice", "bob", "carol", "nobody"].map(|name| logged(&ledger, name));
    assert_eq!(judged.map(|person| person.secret.is_some()), [true, true, true, false]);
    {
        // As a follower does that loads the ledger anew.
        let _order = ledger.core.sequencer();
        ledger.core.warming.restart();
        ledger.core.index.clear();
    }
    assert_eq!(judged.map(|person| ledger.logged_person(person)), judged);
    assert_eq!(["alice", "bob", "carol", "nobody"].map(|name| logged(&ledger, name)), judged, "also anew");
    // A secret that was deleted since the decision is not used any more.
    let alice = judged[0];
    tell_of(&ledger, "alice", ERASE).await;
    ledger.erase_log_secret(&id("alice"), Ulid::nil(), now()).await.unwrap();
    let after = ledger.logged_person(alice);
    assert!(after.secret.is_some() && after.secret != alice.secret);
}

#[tokio::test]
async fn a_secret_is_deleted_only_by_the_ledger_itself() {
    let ledger = over(&Arc::new(Disk::default()));
    tell_of(&ledger, "alice", ERASE).await;
    let line = r#"{"subject":"alice","kind":"log-secret-erased"}"#;
    assert!(matches!(tell(&ledger, line).await, Err(AppendError::Event(_))));
    let results = import(&ledger, line, None, now()).await;
    assert!(results[0].outcome.is_err());
    assert_eq!(pending(&ledger), ["alice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_gateways_use_one_secret_and_none_of_them_after_its_deletion() {
    let (store, one, two) = two().await;
    // Both report the first event about one person at once.
    for round in 0..20 {
        let name = format!("p{round}");
        let (a, b) = (append(&one.ledger, &name, GIVE), append(&two.ledger, &name, WITHDRAW));
        for recorded in [a.await.unwrap().unwrap(), b.await.unwrap().unwrap()] {
            assert!(one.ledger.in_force_everywhere(recorded).await);
        }
        let known = secret(&one.ledger, &name);
        assert!(known.is_some() && known == secret(&two.ledger, &name));
        assert_eq!(known, stored(&one.ledger, &name));
    }
    let before = secret(&two.ledger, "p3");
    tell_of(&one.ledger, "p3", ERASE).await;
    let erased = two.ledger.erase_log_secret(&id("p3"), Ulid::nil(), now()).await.unwrap();
    assert!(two.ledger.in_force_everywhere(erased).await);
    let after = [secret(&one.ledger, "p3"), secret(&two.ledger, "p3")];
    assert!(after[0] != before && after[1] != before && after[0] != after[1]);
    assert_eq!(pending(&one.ledger).len() + pending(&two.ledger).len(), 0);
    let back = append(&one.ledger, "p3", GIVE).await.unwrap().unwrap();
    assert!(one.ledger.in_force_everywhere(back).await);
    assert_eq!(secret(&one.ledger, "p3"), secret(&two.ledger, "p3"));
    // A gateway that starts later reads them, here under other keys: secrets do not depend on the key file.
    let late = Member::join(&store, &keys(), "late");
    late.until_current().await;
    for name in ["p3", "p4"] {
        assert_eq!(stored(&late.ledger, name), secret(&one.ledger, name));
        assert_eq!(secret(&late.ledger, name), secret(&one.ledger, name));
    }
}
