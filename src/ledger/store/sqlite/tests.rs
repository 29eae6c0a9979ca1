//! Tests of the SQLite store beyond the contract of [`Store`]: reopening, locking, upgrades, lost files.

use std::path::Path;

use super::schema::{EVENTS, VERSION, WITHOUT_CASES, WITHOUT_ID, WITHOUT_POLICIES, WITHOUT_SECRETS};
use super::*;
use crate::keys::LogSecret;
use crate::ledger::entity::Entity;
use crate::ledger::store::EventRow;
use crate::ledger::store::tests::{last, memory, new_event, positions, put, repeated, subject};

const CHECK: [u8; 16] = [1; 16];

#[test]
fn stored_events_survive_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/ledger.db");
    let (alice, crm_alice) = (subject(None, "alice"), subject(Some("crm"), "alice"));
    {
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        put(&store, &[new_event(alice.clone(), 1, Some([3; 16])), new_event(crm_alice.clone(), 2, None)])
            .unwrap();
        put(&store, &[new_event(alice.clone(), 3, None)]).unwrap();
    }
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!(last(&store), Position(3));
    assert_eq!(positions(&store, &alice), [1, 3]);
    assert_eq!(positions(&store, &crm_alice), [2]);
    assert_eq!(store.entity_ids(EntityKind::Subject, None).unwrap(), ["alice"]);
    assert_eq!(store.entity_ids(EntityKind::Subject, Some("crm")).unwrap(), ["alice"]);
    assert!(store.entity_ids(EntityKind::Controller, None).unwrap().is_empty());
    assert_eq!(repeated(&store, [3; 16]), Some(Position(1)));
    assert_eq!(repeated(&store, [4; 16]), None);
    let mut seen = Vec::new();
    store
        .scan(&mut |entity, kept| {
            seen.push((*entity == StoredEntity::of(&alice), kept.position.0));
            true
        })
        .unwrap();
    assert_eq!(seen, [(true, 1), (true, 3), (false, 2)]);
}

#[test]
fn the_first_version_is_upgraded_to_accept_cases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let (alice, case) = (subject(Some("crm"), "alice"), Entity::Case(Arc::from("C-7")));
    let before = [new_event(alice.clone(), 1, Some([3; 16])), new_event(subject(None, "bob"), 2, None)];
    put(&SqliteStore::open(&path, &CHECK).unwrap(), &before).unwrap();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP INDEX events_position; DROP INDEX events_once; ALTER TABLE events RENAME TO new_events",
    )
    .unwrap();
    old.execute_batch(&EVENTS.replace("BETWEEN 0 AND 3", "IN (0, 1, 2)")).unwrap();
    old.execute_batch("INSERT INTO events SELECT * FROM new_events; DROP TABLE new_events").unwrap();
    old.execute_batch(
        "DROP TABLE accepted; DROP TABLE policy_versions; DROP TABLE policy_places; DROP TABLE log_secrets; DROP TABLE notices",
    )
    .unwrap();
    old.pragma_update(None, "user_version", WITHOUT_CASES).unwrap();
    drop(old);

    let read = SqliteStore::open_read_only(&path, &CHECK).unwrap();
    assert_eq!((positions(&read, &alice).len(), last(&read)), (1, Position(2)));
    drop(read);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    put(&store, &[new_event(case.clone(), 3, None)]).unwrap();
    assert!(
        put(&store, &[new_event(case.clone(), 3, None)]).is_err(),
        "positions are unique, as before the upgrade"
    );
    drop(store);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!((last(&store), positions(&store, &alice).len()), (Position(3), 1));
    assert_eq!(repeated(&store, [3; 16]), Some(Position(1)));
    assert_eq!(store.case_ids().unwrap(), [Arc::from("C-7")]);
}

#[test]
fn an_accepted_loss_survives_a_reopen_and_its_positions_are_not_reused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    put(&store, &[new_event(subject(None, "alice"), 1, None)]).unwrap();
    store.accept_history(Position(20), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(last(&store), Position(20));
    drop(store);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!(last(&store), Position(20));
    put(&store, &[new_event(subject(None, "alice"), 21, None)]).unwrap();
    assert_eq!(last(&store), Position(21));
}

#[test]
fn policies_survive_a_reopen_and_times_of_first_sight_never_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert!(store.policies().unwrap().is_empty());
    store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
    store.remember_policies(&memory(2, 150, None, None)).unwrap();
    put(&store, &[new_event(subject(None, "alice"), 1, None)]).unwrap();
    drop(store);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!(store.policies().unwrap().places, memory(1, 100, None, Some("default")).places);
    // The second version replaces the first, whose texts are dropped.
    store.remember_policies(&memory(2, 200, Some("two"), Some("default"))).unwrap();
    let read = SqliteStore::open_read_only(&path, &CHECK).unwrap();
    let known = read.policies().unwrap();
    let seen = |digest: u8| known.first_seen.get(&[digest; 32]).map(|seen| seen.as_second());
    assert_eq!((seen(1), seen(2)), (Some(100), Some(150)));
    assert_eq!(known.texts.into_iter().collect::<Vec<_>>(), [([2; 32], "two".to_owned())]);
    assert!(read.remember_policies(&memory(3, 300, None, None)).is_err(), "the store is read-only");
}

#[test]
fn a_version_without_policies_has_an_empty_record_and_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    drop(SqliteStore::open(&path, &CHECK).unwrap());
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP TABLE policy_versions; DROP TABLE policy_places; DROP TABLE log_secrets; DROP TABLE notices",
    )
    .unwrap();
    old.pragma_update(None, "user_version", WITHOUT_POLICIES).unwrap();
    drop(old);
    assert!(SqliteStore::open_read_only(&path, &CHECK).unwrap().policies().unwrap().is_empty());
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
    assert_eq!(store.policies().unwrap().places.len(), 1);
}

/// Returns the outcome of a write after `meddle` has changed the files of a ledger with two events about Alice. `meddle`
/// gets the path of the ledger and that of an older copy.
fn write_after(
    meddle: impl FnOnce(&Path, &Path),
    write: impl FnOnce(&SqliteStore) -> Result<(), StoreError>,
) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let alice = subject(None, "alice");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    put(&store, &[new_event(alice.clone(), 1, None)]).unwrap();
    put(&store, &[new_event(alice.clone(), 2, None)]).unwrap();
    // An older state of the ledger, in one file.
    let old = folder.path().join("old.db");
    let other = SqliteStore::open(&old, &CHECK).unwrap();
    put(&other, &[new_event(alice.clone(), 1, None)]).unwrap();
    drop(other);
    meddle(&path, &old);
    let written = write(&store);
    assert_eq!(store.check_intact().is_err(), written.is_err(), "the change must not be taken for our own");
    written.map_err(|error| error.source.to_string())
}

fn append_after(meddle: impl FnOnce(&Path, &Path)) -> Result<(), String> {
    write_after(meddle, |store| {
        let looked = store.check_intact();
        let appended = put(store, &[new_event(subject(None, "alice"), 3, None)]);
        assert_eq!(looked.is_err(), appended.is_err());
        appended
    })
}

fn checkpoint(path: &Path) {
    let outside = Connection::open(path).unwrap();
    outside.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn beside(path: &Path, what: &str) -> PathBuf {
    PathBuf::from(format!("{}{what}", path.display()))
}

#[test]
fn an_append_to_files_that_were_removed_or_replaced_fails() {
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    let outcomes = [
        append_after(|path, _| remove(path)),
        append_after(|path, _| remove(&beside(path, "-wal"))),
        append_after(|path, _| {
            ["", "-wal", "-shm", ".lock"].iter().for_each(|what| remove(&beside(path, what)));
        }),
        append_after(|path, old| std::fs::rename(old, path).unwrap()),
        append_after(|path, old| {
            remove(path);
            std::fs::copy(old, path).unwrap();
        }),
        append_after(|path, _| std::fs::rename(path, beside(path, ".moved")).unwrap()),
    ];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert!(error.contains("was removed or replaced"), "{n}: {error}");
    }
}

#[test]
fn an_append_to_a_file_that_was_overwritten_in_place_fails() {
    let outcomes = [
        append_after(|path, old| {
            checkpoint(path);
            std::fs::write(path, std::fs::read(old).unwrap()).unwrap();
        }),
        append_after(|path, old| {
            std::fs::write(beside(path, "-wal"), "").unwrap();
            std::fs::write(path, std::fs::read(old).unwrap()).unwrap();
        }),
        append_after(|path, _| std::fs::write(beside(path, "-wal"), "").unwrap()),
        append_after(|path, _| std::fs::write(path, "").unwrap()),
    ];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert!(outcome.is_err(), "{n}");
    }
}

#[test]
fn every_write_to_a_file_that_was_overwritten_in_place_fails() {
    type Write = fn(&SqliteStore) -> Result<(), StoreError>;
    let writes: [Write; 4] = [
        |store| store.accept_history(Position(9), Timestamp::UNIX_EPOCH),
        |store| store.take_id(LedgerId::from_bytes([7; 16])),
        |store| store.remember_policies(&memory(1, 100, None, None)),
        |store| store.notice_store().write_notices(&[]).map(drop),
    ];
    for (n, write) in writes.into_iter().enumerate() {
        write_after(|_, _| {}, write).unwrap();
        let restore = |path: &Path, old: &Path| {
            checkpoint(path);
            std::fs::write(path, std::fs::read(old).unwrap()).unwrap();
        };
        let error = write_after(restore, write).unwrap_err();
        assert!(error.contains("was restored to another state"), "{n}: {error}");
    }
}

#[test]
fn a_checkpoint_by_another_process_is_harmless() {
    append_after(|path, _| checkpoint(path)).unwrap();
    append_after(|path, _| {
        assert_eq!(last(&SqliteStore::open_read_only(path, &CHECK).unwrap()), Position(2));
    })
    .unwrap();
}

#[test]
fn two_processes_cannot_open_a_file_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let first = SqliteStore::open(&path, &CHECK).unwrap();
    let error = SqliteStore::open(&path, &CHECK).unwrap_err();
    assert!(matches!(error, FileError::InUse(_)), "{error}");
    assert!(error.to_string().contains("a second gateway needs a `[ledger] url` of its own"), "{error}");
    drop(first);
    SqliteStore::open(&path, &CHECK).unwrap();
}

#[test]
fn a_ledger_in_use_can_be_read_but_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    assert!(matches!(SqliteStore::open_read_only(&path, &CHECK), Err(FileError::Missing(_))));
    let (store, alice) = (SqliteStore::open(&path, &CHECK).unwrap(), subject(None, "alice"));
    put(&store, &[new_event(alice.clone(), 1, None)]).unwrap();
    let beside = SqliteStore::open_read_only(&path, &CHECK).unwrap();
    put(&store, &[new_event(alice.clone(), 2, None)]).unwrap();
    assert_eq!(positions(&beside, &alice).len(), 2);
    assert!(put(&beside, &[new_event(alice, 3, None)]).is_err());
    assert!(matches!(SqliteStore::open_read_only(&path, &[2; 16]), Err(FileError::OtherKeys(_))));
}

#[test]
fn foreign_files_and_newer_versions_are_refused_and_not_modified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    std::fs::write(&path, "dear diary, this is not a database at all, whatever its name says").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path, &CHECK), Err(FileError::Foreign(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(SqliteStore::open(&other, &CHECK), Err(FileError::Foreign(_))));

    let newer = folder.path().join("newer.db");
    drop(SqliteStore::open(&newer, &CHECK).unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    let opened = SqliteStore::open(&newer, &CHECK);
    assert!(matches!(opened, Err(FileError::Version { found, .. }) if found == VERSION + 1));
}

#[test]
fn a_ledger_of_other_keys_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    drop(SqliteStore::open(&path, &CHECK).unwrap());
    assert!(matches!(SqliteStore::open(&path, &[2; 16]), Err(FileError::OtherKeys(_))));
}

#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("l.db"), &CHECK).unwrap();
    put(&store, &[new_event(subject(None, "alice"), 1, None)]).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn an_unwritable_directory_is_an_error() {
    let error = SqliteStore::open(Path::new("/proc/ledger.db"), &CHECK).unwrap_err();
    assert!(matches!(error, FileError::Io { .. }), "{error}");
}

#[test]
fn an_upgrade_makes_a_log_secret_for_each_person() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let (alice, bob) = (subject(Some("crm"), "alice"), subject(None, "bob"));
    let case = Entity::Case(Arc::from("bob"));
    let events = [&bob, &alice, &case, &alice].into_iter().cloned();
    let rows: Vec<EventRow> = (1..).zip(events).map(|(n, entity)| new_event(entity, n, None)).collect();
    put(&SqliteStore::open(&path, &CHECK).unwrap(), &rows).unwrap();
    let old = Connection::open(&path).unwrap();
    old.execute_batch("DROP TABLE log_secrets; DROP TABLE notices").unwrap();
    old.pragma_update(None, "user_version", WITHOUT_SECRETS).unwrap();
    drop(old);
    let everybody = [&alice, &bob, &case].map(StoredEntity::of);
    let read = SqliteStore::open_read_only(&path, &CHECK).unwrap();
    assert_eq!(read.log_secrets(&everybody).unwrap(), [None; 3]);
    drop(read);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    let made = store.log_secrets(&everybody).unwrap();
    let since: Vec<_> = made.iter().map(|stored| stored.map(|stored| stored.since.0)).collect();
    assert_eq!(since, [Some(2), Some(1), None]);
    assert_ne!(made[0].unwrap().secret, made[1].unwrap().secret);
    drop(store);
    assert_eq!(SqliteStore::open(&path, &CHECK).unwrap().log_secrets(&everybody).unwrap(), made);
}

#[test]
fn a_ledger_keeps_the_id_that_it_has_from_its_first_start_or_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let id_of = |name: &str| SqliteStore::open(&folder.path().join(name), &CHECK).unwrap().id().unwrap();
    let (one, other) = (id_of("one"), id_of("other"));
    assert!(one.is_some() && one != other);
    assert_eq!((id_of("one"), id_of("other")), (one, other));
    // A backup that is restored is the same ledger.
    std::fs::copy(folder.path().join("one"), folder.path().join("copy")).unwrap();
    assert_eq!(id_of("copy"), one);
    let old = Connection::open(folder.path().join("copy")).unwrap();
    old.execute_batch("DROP TABLE identity").unwrap();
    old.pragma_update(None, "user_version", WITHOUT_ID).unwrap();
    drop(old);
    let read = SqliteStore::open_read_only(&folder.path().join("copy"), &CHECK).unwrap();
    assert_eq!(read.id().unwrap(), None);
    drop(read);
    let upgraded = id_of("copy");
    assert!(upgraded.is_some() && upgraded != one);
    assert_eq!(id_of("copy"), upgraded);
}

/// Pseudo-random bytes that occur nowhere else in a file.
fn secret_of(number: u64, round: u64) -> LogSecret {
    let hash = blake3::hash(&[number.to_le_bytes(), round.to_le_bytes()].concat());
    LogSecret::from_bytes(*hash.as_bytes().first_chunk().unwrap())
}

/// Returns which of the secrets occur in a file of the ledger.
fn found(folder: &Path, secrets: &[LogSecret]) -> Vec<bool> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let mut windows = std::collections::HashSet::new();
    for file in files {
        windows.extend(file.windows(16).map(|bytes| <[u8; 16]>::try_from(bytes).unwrap()));
    }
    secrets.iter().map(|secret| windows.contains(secret.bytes())).collect()
}

#[test]
fn a_deleted_log_secret_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    let person =
        |number: u64| subject(None, &format!("person {:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut position = 0;
    let mut append = |people: std::ops::Range<u64>, change: &dyn Fn(u64, u64) -> SecretChange| {
        let rows: Vec<EventRow> = people
            .map(|number| {
                position += 1;
                let log_secret = change(number, position);
                EventRow { log_secret, ..new_event(person(number), position, None) }
            })
            .collect();
        put(&store, &rows).unwrap();
    };
    let make = |round: u64| {
        move |number: u64, position: u64| {
            SecretChange::Make(StoredSecret { secret: secret_of(number, round), since: Position(position) })
        }
    };
    let erase = |number: u64, _: u64| SecretChange::Erase(vec![StoredEntity::of(&person(number))]);
    for first in (0..1500).step_by(100) {
        append(first..first + 100, &make(1));
    }
    append(100..900, &erase);
    append(300..500, &make(2));
    append(350..400, &erase);
    let secrets: Vec<LogSecret> = (0..1500).map(|number| secret_of(number, 1)).collect();
    let expected: Vec<bool> = (0..1500).map(|number| !(100..900).contains(&number)).collect();
    assert_eq!(found(folder.path(), &secrets), expected);
    let again: Vec<LogSecret> = (300..500).map(|number| secret_of(number, 2)).collect();
    let expected: Vec<bool> = (300..500).map(|number| !(350..400).contains(&number)).collect();
    assert_eq!(found(folder.path(), &again), expected);

    // A reader of another process keeps the write-ahead log from being emptied. The next check empties it.
    let reading = Connection::open(&path).unwrap();
    reading.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    let alice = subject(None, "alice");
    let row = |position, log_secret| EventRow { log_secret, ..new_event(alice.clone(), position, None) };
    let next = last(&store).0 + 1;
    put(&store, &[row(next, make(1)(7000, next))]).unwrap();
    put(&store, &[row(next + 1, SecretChange::Erase(vec![StoredEntity::of(&alice)]))]).unwrap();
    assert_eq!(found(folder.path(), &[secret_of(7000, 1)]), [true]);
    reading.execute_batch("COMMIT").unwrap();
    store.check_intact().unwrap();
    assert_eq!(found(folder.path(), &[secret_of(7000, 1)]), [false]);
    put(&store, &[row(next + 2, SecretChange::Keep)]).unwrap();
}

/// Who had received data about an erased person is nowhere in the file or its journal once the inquiry is removed.
#[test]
fn a_removed_inquiry_leaves_nothing_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    let row = |number: u64, recipient: Option<&str>, state: &str| NoticeRow {
        id: Ulid::from_parts(number, 1),
        inquiry: Ulid::from_parts(1, 1),
        recipient: recipient.map(Arc::from),
        due: Timestamp::UNIX_EPOCH,
        open: true,
        version: 1,
        state: state.to_owned(),
    };
    let told = "told-person-42-known-as-pn-7";
    let store_notices = store.notice_store();
    assert!(store_notices.write_notices(&[row(1, None, told), row(2, Some("acme"), told)]).unwrap());
    let contains = || {
        let files = ["", "-wal"].map(|end| std::fs::read(beside(&path, end)).unwrap_or_default());
        files.iter().any(|file| file.windows(told.len()).any(|bytes| bytes == told.as_bytes()))
    };
    assert!(contains());
    store_notices.remove_inquiry(Ulid::from_parts(1, 1), 1, &[row(2, Some("acme"), "{}")]).unwrap();
    assert!(!contains());
    assert_eq!(store_notices.notices(None, None, 9).unwrap().len(), 1);
}
