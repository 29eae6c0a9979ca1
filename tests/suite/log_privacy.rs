//! An attacker who has everything that is left after an erasure: the disclosure log, the key file, the ledger, backups, and
//! every id that comes into question.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use purposegate::disclosure::{self, LogPlace};
use purposegate::keys::{Keys, LoggedPerson};
use purposegate::ledger::{EntityKind, SqliteStore, Store, StoredEntity};
use serde_json::{Value, json};
use ulid::Ulid;

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
    let now = Timestamp::now();
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

/// Time in seconds between an event of the ledger and an entry of the log that was written because of it.
const CLOSE: f64 = 3.0;

/// Returns the times of the events about a person that the ledger keeps.
fn event_times(data: &Path, id: &str) -> Vec<Timestamp> {
    let ledger = rusqlite::Connection::open(data.join("ledger.db")).unwrap();
    let mut select = ledger.prepare("SELECT recorded FROM events WHERE id = ?1").unwrap();
    let times = select.query_map([id], |row| row.get::<_, String>(0)).unwrap();
    times.map(|time| time.unwrap().parse().unwrap()).collect()
}

/// The entries of the log, as everybody can read them.
fn exported(data: &Path) -> Vec<Value> {
    let mut entries = Vec::new();
    let folder = data.join("audit");
    disclosure::export(LogPlace::unindexed(&folder), None, |line| {
        entries.push(serde_json::from_slice(line).unwrap());
        Ok(())
    })
    .unwrap();
    entries
}

/// Joins the events of the ledger with the entries that follow from what was done about a person: those of notices and acts, by
/// their times and by those in their ids. Returns the number of entries that are close to an event, and the disclosures of
/// the pseudonyms in them.
fn joined(data: &Path, id: &str) -> (usize, Vec<Value>) {
    let (times, entries) = (event_times(data, id), exported(data));
    let is_close =
        |time: Timestamp| times.iter().any(|event| time.duration_since(*event).abs().as_secs_f64() < CLOSE);
    let made = |id: &Value| {
        let millisecond = Ulid::from_string(id.as_str()?).ok()?.timestamp_ms();
        Timestamp::from_millisecond(i64::try_from(millisecond).ok()?).ok()
    };
    let follows = |entry: &&Value| {
        let written = entry["time"].as_str().and_then(|time| time.parse().ok());
        let times = [written, made(&entry["act"]), made(&entry["notice"])];
        ["act", "notice"].contains(&entry["kind"].as_str().unwrap())
            && times.into_iter().flatten().any(is_close)
    };
    let close: Vec<&Value> = entries.iter().filter(follows).collect();
    let names: Vec<&Value> = close.iter().filter_map(|entry| entry.get("subject")).collect();
    let has_name = |entry: &&Value| {
        entry["subjects"].as_array().is_some_and(|people| people.iter().any(|person| names.contains(&person)))
    };
    let disclosed = entries.iter().filter(|entry| entry["kind"] == "exchange").filter(has_name);
    (close.len(), disclosed.cloned().collect())
}

#[test]
fn the_times_of_the_ledger_lead_to_no_disclosure() {
    let (upstream, gateway) = start_customer_gateway();
    let ids = ["p-0", "p-1", "p-2"];
    for id in ids {
        gateway.record_event(id, KNOWN);
        upstream.json(&format!("/customers/{id}"), &person(id));
        assert_eq!(gateway.get(&format!("/customers/{id}"), "support", "customer-support").status, 200);
    }
    for id in ids {
        // Whoever erases a person looks at what is on record before.
        assert_eq!(gateway.get_admin(&format!("/v1/subjects/{id}/disclosures")).status, 200);
        gateway.record_event(id, r#"{"kind": "erasure"}"#);
    }
    wait_until(|| gateway.get_admin("/v1/notices").json()["notices"].as_array().unwrap().len() == 3);
    assert_eq!(tell_recipients(&gateway), 3);
    let data = gateway.folder.path().join("data");
    wait_until(|| secrets(&data, &set(0..3)).is_empty());
    let folder = gateway.end();
    let data = folder.path().join("data");
    for id in ids {
        let (close, disclosed) = joined(&data, id);
        assert!(close >= 2, "an act and a notice are close to the events about {id}: {close}");
        assert_eq!(disclosed, [] as [Value; 0], "{id}");
    }
    for entry in exported(&data).iter().filter(|entry| entry["kind"] == "notice") {
        let made = Ulid::from_string(entry["notice"].as_str().unwrap()).unwrap().timestamp_ms();
        assert_eq!(made % (24 * 3600 * 1000), 0, "the id of a notice has the day only");
    }
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
