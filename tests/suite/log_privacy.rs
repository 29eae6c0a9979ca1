//! An attacker who has everything that is left after an erasure: the disclosure log, the key file, the ledger, backups, and
//! every id that comes into question.

use std::collections::BTreeSet;
use std::path::Path;

use purposegate::keys::{Keys, LoggedPerson};
use purposegate::ledger::{EntityKind, SqliteStore, Store, StoredEntity};
use serde_json::json;

use crate::fixtures::{KNOWN, person, start_customer_gateway};
use crate::gateway::{TestGateway, wait_until};

/// Number of candidate ids.
const CANDIDATES: usize = 200;

fn ids() -> Vec<String> {
    (0..CANDIDATES).map(|number| format!("p-{number}")).collect()
}

/// Returns the contents of all files below a folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => contents.extend(files(&path)),
            false => contents.push(std::fs::read(path).unwrap_or_default()),
        }
    }
    contents
}

/// Returns the candidates of whom the log has an entry, as far as the attacker can compute their pseudonyms.
fn recovered(data: &Path) -> BTreeSet<String> {
    let keys = Keys::open(&data.join("keys")).unwrap();
    let store = SqliteStore::open_read_only(&data.join("ledger.db"), &keys.ledger_check()).unwrap();
    let stored =
        |id: &String| StoredEntity { kind: EntityKind::Subject, namespace: None, id: id.as_str().into() };
    let entities: Vec<StoredEntity> = ids().iter().map(stored).collect();
    let secrets = store.log_secrets(&entities).unwrap();
    let (fingerprints, pseudonyms) = (keys.fingerprints(), keys.subject_pseudonyms());
    let now = jiff::Timestamp::now();
    let days = [now, now.checked_sub(jiff::SignedDuration::from_hours(24)).unwrap()];
    let days = days.map(|time| pseudonyms.epoch(&time.strftime("%Y-%m-%d").to_string()));
    let logged: BTreeSet<[u8; 12]> = files(&data.join("audit"))
        .iter()
        .flat_map(|file| file.windows(12).map(|bytes| bytes.try_into().unwrap()).collect::<Vec<_>>())
        .collect();
    let is_logged = |(id, secret): (String, Option<purposegate::ledger::StoredSecret>)| {
        let fingerprint = fingerprints.subject_as_spelled(None, &id);
        let known = LoggedPerson { fingerprint, secret: secret.map(|stored| stored.secret) };
        let named = [known, LoggedPerson::unknown(fingerprint)];
        let mut names = named.iter().flat_map(|person| days.iter().map(|day| person.pseudonym(day)));
        names.any(|name| logged.contains(name.bytes())).then_some(id)
    };
    ids().into_iter().zip(secrets).filter_map(is_logged).collect()
}

/// Closes all open notices, as a person does who has told the recipients.
fn tell_recipients(gateway: &TestGateway) -> usize {
    let open = gateway.get_admin("/v1/notices").json();
    let notices = open["notices"].as_array().unwrap();
    for notice in notices {
        let id = notice["id"].as_str().unwrap();
        assert_eq!(gateway.post_admin(&format!("/v1/notices/{id}/delivered"), b"").status, 200);
    }
    notices.len()
}

fn set(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(|number| format!("p-{number}")).collect()
}

#[test]
fn erased_people_are_not_recovered_from_the_log() {
    let (upstream, gateway) = start_customer_gateway();
    for number in 0..12 {
        let id = format!("p-{number}");
        gateway.record_event(&id, KNOWN);
        upstream.json(&format!("/customers/{id}"), &person(&id));
        assert_eq!(gateway.get(&format!("/customers/{id}"), "support", "customer-support").status, 200);
    }
    // The fingerprint of somebody whom the ledger does not know stays computable until the day is pruned.
    upstream.json("/customers/p-100", &person("p-100"));
    gateway.get("/customers/p-100", "support", "customer-support");
    gateway.record_event("p-50", KNOWN);
    let data = gateway.folder.path().join("data");
    let everybody: BTreeSet<String> = set(0..12).into_iter().chain(["p-100".to_owned()]).collect();
    wait_until(|| recovered(&data) == everybody);
    let before: Vec<[u8; 16]> = secrets(&data, &set(0..5));
    assert_eq!(before.len(), 5);

    for number in 0..5 {
        gateway.record_event(&format!("p-{number}"), r#"{"kind": "erasure"}"#);
    }
    gateway.record_event("p-50", r#"{"kind": "erasure"}"#);
    // Whoever received nothing has to be told nothing; the others are told by a person.
    wait_until(|| gateway.get_admin("/v1/notices").json()["notices"].as_array().unwrap().len() == 5);
    wait_until(|| secrets(&data, &["p-50".to_owned()].into()).is_empty());
    assert_eq!(secrets(&data, &set(0..5)).len(), 5, "the recipients have not been told");
    let notice = gateway.get_admin("/v1/notices").json()["notices"][0].clone();
    assert_eq!(
        (&notice["recipient"], &notice["event"], &notice["channel"], &notice["known-as"]["id"]),
        (&json!("support"), &json!("erasure"), &json!("manual"), &notice["subject"])
    );
    assert_eq!(tell_recipients(&gateway), 5);
    wait_until(|| secrets(&data, &set(0..5)).is_empty());
    // Whatever asks about an erased person afterwards is not traced back either.
    gateway.get("/customers/p-3", "support", "customer-support");
    let folder = gateway.end();
    let data = folder.path().join("data");
    let left: BTreeSet<String> = set(5..12).into_iter().chain(["p-100".to_owned()]).collect();
    assert_eq!(recovered(&data), left);
    for file in files(&data) {
        assert!(!before.iter().any(|secret| file.windows(16).any(|bytes| bytes == secret)));
    }
    let log = crate::gateway::log_in(folder.path());
    assert!(log.contains("released"), "the records stay");
}

/// Returns the log secrets that the ledger has of some people.
fn secrets(data: &Path, people: &BTreeSet<String>) -> Vec<[u8; 16]> {
    let keys = Keys::open(&data.join("keys")).unwrap();
    let store = SqliteStore::open_read_only(&data.join("ledger.db"), &keys.ledger_check()).unwrap();
    let stored =
        |id: &String| StoredEntity { kind: EntityKind::Subject, namespace: None, id: id.as_str().into() };
    let entities: Vec<StoredEntity> = people.iter().map(stored).collect();
    let found = store.log_secrets(&entities).unwrap();
    found.into_iter().flatten().map(|stored| *stored.secret.bytes()).collect()
}
