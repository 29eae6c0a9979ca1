//! Tests of the SQLite store beyond the contract of [`Store`]: reopening, locking, upgrades, lost files.

use super::*;
use crate::ledger::entity::Entity;
use crate::ledger::store::tests::{memory, new_event, positions, subject};

const CHECK: [u8; 16] = [1; 16];

#[test]
fn what_was_kept_is_there_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/ledger.db");
    let (alice, crm_alice) = (subject(None, "alice"), subject(Some("crm"), "alice"));
    {
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        store
            .append(&[new_event(alice.clone(), 1, Some([3; 16])), new_event(crm_alice.clone(), 2, None)])
            .unwrap();
        store.append(&[new_event(alice.clone(), 3, None)]).unwrap();
    }
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!(store.last_position().unwrap(), Position(3));
    assert_eq!(positions(&store, &alice), [1, 3]);
    assert_eq!(positions(&store, &crm_alice), [2]);
    assert_eq!(store.entity_ids(EntityKind::Subject, None).unwrap(), ["alice"]);
    assert_eq!(store.entity_ids(EntityKind::Subject, Some("crm")).unwrap(), ["alice"]);
    assert!(store.entity_ids(EntityKind::Controller, None).unwrap().is_empty());
    assert_eq!(store.find_repeated(&[3; 16]).unwrap().unwrap().0.position, Position(1));
    assert!(store.find_repeated(&[4; 16]).unwrap().is_none());
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
fn a_ledger_from_before_there_were_cases_gets_room_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let (alice, case) = (subject(Some("crm"), "alice"), Entity::Case(Arc::from("C-7")));
    let before = [new_event(alice.clone(), 1, Some([3; 16])), new_event(subject(None, "bob"), 2, None)];
    SqliteStore::open(&path, &CHECK).unwrap().append(&before).unwrap();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP INDEX events_position; DROP INDEX events_once; ALTER TABLE events RENAME TO new_events",
    )
    .unwrap();
    old.execute_batch(&EVENTS.replace("BETWEEN 0 AND 3", "IN (0, 1, 2)")).unwrap();
    old.execute_batch("INSERT INTO events SELECT * FROM new_events; DROP TABLE new_events").unwrap();
    old.execute_batch("DROP TABLE accepted; DROP TABLE policy_versions; DROP TABLE policy_places").unwrap();
    old.pragma_update(None, "user_version", WITHOUT_CASES).unwrap();
    drop(old);

    let read = SqliteStore::open_read_only(&path, &CHECK).unwrap();
    assert_eq!(
        (read.history(&StoredEntity::of(&alice)).unwrap().len(), read.last_position().unwrap()),
        (1, Position(2))
    );
    drop(read);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    store.append(&[new_event(case.clone(), 3, None)]).unwrap();
    assert!(store.append(&[new_event(case.clone(), 3, None)]).is_err(), "positions are unique as before");
    drop(store);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!(
        (store.last_position().unwrap(), store.history(&StoredEntity::of(&alice)).unwrap().len()),
        (Position(3), 1)
    );
    assert_eq!(store.find_repeated(&[3; 16]).unwrap().unwrap().0.position, Position(1));
    assert_eq!(store.case_ids().unwrap(), [Arc::from("C-7")]);
}

#[test]
fn what_was_accepted_as_lost_stays_so_and_its_positions_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    store.append(&[new_event(subject(None, "alice"), 1, None)]).unwrap();
    store.accept_history(Position(20), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(store.last_position().unwrap(), Position(20));
    drop(store);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!(store.last_position().unwrap(), Position(20));
    store.append(&[new_event(subject(None, "alice"), 21, None)]).unwrap();
    assert_eq!(store.last_position().unwrap(), Position(21));
}

#[test]
fn policies_are_remembered_and_first_sights_never_move() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert!(store.policies().unwrap().is_empty());
    store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
    store.remember_policies(&memory(2, 150, None, None)).unwrap();
    store.append(&[new_event(subject(None, "alice"), 1, None)]).unwrap();
    drop(store);
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    assert_eq!(store.policies().unwrap().places, memory(1, 100, None, Some("default")).places);
    // The second version takes the place; the first is known since then, and its texts are dropped.
    store.remember_policies(&memory(2, 200, Some("two"), Some("default"))).unwrap();
    let read = SqliteStore::open_read_only(&path, &CHECK).unwrap();
    let known = read.policies().unwrap();
    let seen = |digest: u8| known.first_seen.get(&[digest; 32]).map(|seen| seen.as_second());
    assert_eq!((seen(1), seen(2)), (Some(100), Some(150)));
    assert_eq!(known.texts.into_iter().collect::<Vec<_>>(), [([2; 32], "two".to_owned())]);
    assert!(read.remember_policies(&memory(3, 300, None, None)).is_err(), "it only reads");
}

#[test]
fn a_ledger_from_before_policies_were_remembered_remembers_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    drop(SqliteStore::open(&path, &CHECK).unwrap());
    let old = Connection::open(&path).unwrap();
    old.execute_batch("DROP TABLE policy_versions; DROP TABLE policy_places").unwrap();
    old.pragma_update(None, "user_version", WITHOUT_POLICIES).unwrap();
    drop(old);
    assert!(SqliteStore::open_read_only(&path, &CHECK).unwrap().policies().unwrap().is_empty());
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
    assert_eq!(store.policies().unwrap().places.len(), 1);
}

/// What an appended event meets after somebody did something to the files.
fn append_after(meddle: impl FnOnce(&Path, &Path)) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let alice = subject(None, "alice");
    let store = SqliteStore::open(&path, &CHECK).unwrap();
    store.append(&[new_event(alice.clone(), 1, None)]).unwrap();
    store.append(&[new_event(alice.clone(), 2, None)]).unwrap();
    // An older state, whole in one file.
    let old = folder.path().join("old.db");
    let other = SqliteStore::open(&old, &CHECK).unwrap();
    other.append(&[new_event(alice.clone(), 1, None)]).unwrap();
    drop(other);
    meddle(&path, &old);
    let looked = store.check_intact();
    let appended = store.append(&[new_event(alice, 3, None)]);
    assert_eq!(looked.is_err(), appended.is_err());
    appended.map_err(|error| error.source.to_string())
}

fn checkpoint(path: &Path) {
    let outside = Connection::open(path).unwrap();
    outside.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn beside(path: &Path, what: &str) -> PathBuf {
    PathBuf::from(format!("{}{what}", path.display()))
}

#[test]
fn nothing_is_kept_in_files_that_are_gone() {
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
fn nothing_is_kept_in_a_file_that_was_put_back_where_it_lies() {
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
fn a_checkpoint_from_outside_loses_nothing() {
    append_after(|path, _| checkpoint(path)).unwrap();
    append_after(|path, _| {
        assert_eq!(SqliteStore::open_read_only(path, &CHECK).unwrap().last_position().unwrap(), Position(2))
    })
    .unwrap();
}

#[test]
fn two_processes_cannot_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let first = SqliteStore::open(&path, &CHECK).unwrap();
    assert!(matches!(SqliteStore::open(&path, &CHECK), Err(FileError::InUse(_))));
    drop(first);
    SqliteStore::open(&path, &CHECK).unwrap();
}

#[test]
fn a_ledger_in_use_can_be_read_beside_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    assert!(matches!(SqliteStore::open_read_only(&path, &CHECK), Err(FileError::Missing(_))));
    let (store, alice) = (SqliteStore::open(&path, &CHECK).unwrap(), subject(None, "alice"));
    store.append(&[new_event(alice.clone(), 1, None)]).unwrap();
    let beside = SqliteStore::open_read_only(&path, &CHECK).unwrap();
    store.append(&[new_event(alice.clone(), 2, None)]).unwrap();
    assert_eq!(beside.history(&StoredEntity::of(&alice)).unwrap().len(), 2);
    assert!(beside.append(&[new_event(alice, 3, None)]).is_err());
    assert!(matches!(SqliteStore::open_read_only(&path, &[2; 16]), Err(FileError::OtherKeys(_))));
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_alone() {
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
fn other_keys_do_not_open_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    drop(SqliteStore::open(&path, &CHECK).unwrap());
    assert!(matches!(SqliteStore::open(&path, &[2; 16]), Err(FileError::OtherKeys(_))));
}

#[test]
fn only_the_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("l.db"), &CHECK).unwrap();
    store.append(&[new_event(subject(None, "alice"), 1, None)]).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn a_place_where_nothing_can_be_written_is_an_error() {
    let error = SqliteStore::open(Path::new("/proc/ledger.db"), &CHECK).unwrap_err();
    assert!(matches!(error, FileError::Io { .. }), "{error}");
}
