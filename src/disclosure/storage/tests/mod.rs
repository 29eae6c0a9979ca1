//! Tests of the files of a log.

mod crashes;
mod foreign_journals;
mod pruning;

use std::path::Path;
use std::sync::OnceLock;

use super::*;
use crate::disclosure::entry::{Encoder, PruningRecord};
use crate::keys::Keys;

const ORIGIN_OF_TESTS: &str = "gateway-1/5f2c09ab";

/// Index of the entry that says that everything below it was pruned.
const PRUNING: u64 = 768;

fn pruning_entry() -> &'static Entry {
    static ENTRY: OnceLock<Entry> = OnceLock::new();
    ENTRY.get_or_init(|| {
        let mut out = Vec::new();
        let record = PruningRecord { below: PRUNING, ..PruningRecord::default() };
        Encoder::new(keys().subject_pseudonyms()).pruning(record, jiff::Timestamp::UNIX_EPOCH, &mut out);
        out.remove(0)
    })
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::random().unwrap())
}

fn settings(folder: &Path) -> StorageSettings {
    StorageSettings {
        folder: folder.to_owned(),
        signer: keys().log_signing_key(ORIGIN_OF_TESTS).unwrap(),
        outside: Vec::new(),
    }
}

fn open(folder: &Path) -> (Storage, Recovered) {
    Storage::open(settings(folder)).unwrap()
}

/// The entry with this index. Its length differs from that of its neighbours.
fn entry(index: u64) -> Entry {
    if index == PRUNING {
        return pruning_entry().clone();
    }
    let length = usize::try_from(index % 37).unwrap();
    Entry {
        leaf: format!("leaf {index}").into_bytes(),
        detail: vec![u8::try_from(index % 251).unwrap(); length],
    }
}

fn entries(from: u64, to: u64) -> Vec<Entry> {
    (from..to).map(entry).collect()
}

/// Appends the entries up to this size and publishes them.
fn grow(storage: &mut Storage, size: u64) {
    storage.append(&entries(storage.size(), size)).unwrap();
    storage.publish().unwrap();
}

/// Publishes the full bundles.
fn publish_bundles(storage: &mut Storage) -> io::Result<()> {
    storage.publish_bundles_later()?;
    storage.file_thread.finish()
}

/// Checks the whole log: every entry, every inclusion proof and the root.
fn check(folder: &Path, size: u64) {
    let mut reader = LogReader::open(folder).unwrap();
    assert_eq!(reader.size(), size);
    let begin = reader.begin();
    let found: Vec<(u64, Entry)> = reader.entries(0).map(Result::unwrap).collect();
    let expected: Vec<(u64, Entry)> = (begin..size).map(|index| (index, entry(index))).collect();
    assert!(found == expected, "{} entries from {begin}", found.len());
    let Some(checkpoint) = reader.checkpoint().cloned() else { return };
    assert_eq!(reader.root(checkpoint.size).unwrap(), checkpoint.root);
    for index in (begin..checkpoint.size).step_by(41).chain([checkpoint.size - 1]) {
        let proof = reader.prove_inclusion(index, checkpoint.size).unwrap();
        let leaf = tlog_tiles::record_hash(&entry(index).leaf);
        tlog_tiles::check_record(&proof, checkpoint.size, tlog_tiles::Hash(checkpoint.root), index, leaf)
            .unwrap();
    }
}

/// Returns the names of all files, relative to the folder.
fn files(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

#[test]
fn entries_are_read_from_bundles_and_from_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, found) = open(folder.path());
    assert_eq!((found.size, found.unclean, found.torn_bytes), (0, false, 0));
    check(folder.path(), 0);
    storage.append(&entries(0, 3)).unwrap();
    check(folder.path(), 3);
    for size in [4, 255, 256, 257, 511, 513, 700] {
        let before = storage.size();
        storage.append(&entries(before, size)).unwrap();
        check(folder.path(), size);
        assert_eq!(storage.publish().unwrap().size, size);
        check(folder.path(), size);
    }
    assert_eq!((storage.size(), storage.published()), (700, 700));
    assert_eq!(
        files(folder.path()),
        [
            "checkpoint",
            "detail/000",
            "detail/001",
            "detail/002.p/188",
            "journal/00000000000000000000",
            "origin",
            "tile/0/000",
            "tile/0/001",
            "tile/0/002.p/188",
            "tile/1/000.p/2",
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/188",
        ]
    );
}

#[test]
fn full_bundles_are_published_without_the_open_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, _) = open(folder.path());
    grow(&mut storage, 100);
    storage.append(&entries(100, 255)).unwrap();
    publish_bundles(&mut storage).unwrap();
    assert_eq!((storage.planned(), storage.published()), (100, 100), "no bundle is full");
    for (size, published) in [(256, 256), (300, 256), (511, 256), (1000, 768), (1024, 1024)] {
        storage.append(&entries(storage.size(), size)).unwrap();
        assert_eq!(storage.has_full_bundle(), size / BUNDLE * BUNDLE > storage.published());
        publish_bundles(&mut storage).unwrap();
        assert_eq!((storage.planned(), storage.published()), (published, published), "{size}");
        check(folder.path(), size);
        let open: Vec<String> =
            files(folder.path()).into_iter().filter(|name| name.contains(".p/")).collect();
        assert_eq!(open, [format!("tile/1/000.p/{}", published / BUNDLE)], "{size}");
    }
    grow(&mut storage, 1030);
    check(folder.path(), 1030);
}

#[test]
fn a_reader_follows_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, _) = open(folder.path());
    storage.journal_bytes = 4000;
    grow(&mut storage, 10);
    let mut reader = LogReader::open(folder.path()).unwrap();
    let writer = std::thread::spawn(move || {
        for size in (10..6000).step_by(13) {
            if size % 3 > 0 {
                storage.append(&entries(storage.size(), size)).unwrap();
                storage.publish_bundles_later().unwrap();
            } else {
                grow(&mut storage, size);
            }
        }
        storage.close().unwrap();
    });
    while !writer.is_finished() {
        reader.refresh().unwrap();
        for index in [0, reader.size() / 2, reader.size() - 1] {
            assert_eq!(reader.entry(index).unwrap(), Some(entry(index)));
        }
    }
    writer.join().unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.size(), 5990);
    assert_eq!(reader.entry(5990).unwrap(), None);
    check(folder.path(), 5990);
}

#[test]
fn a_closed_log_has_one_short_journal_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for size in [300, 512, 513, 1024, 1024] {
        let (mut storage, found) = open(folder.path());
        assert_eq!(found.torn_bytes, 0);
        grow(&mut storage, size);
        storage.close().unwrap();
        check(folder.path(), size);
        let journals: Vec<String> =
            files(folder.path()).into_iter().filter(|name| name.starts_with("journal/")).collect();
        assert_eq!(journals, [journal_path(size - size % BUNDLE)]);
    }
}

#[test]
fn large_journals_are_replaced_while_the_log_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, _) = open(folder.path());
    storage.journal_bytes = 10_000;
    for size in (50..20_000).step_by(50) {
        grow(&mut storage, size);
    }
    let journals = files(folder.path()).iter().filter(|name| name.starts_with("journal/")).count();
    assert!(journals <= 2, "{journals}");
    assert!(storage.journal.first > 1000);
    check(folder.path(), 19_950);
    drop(storage);
    let (storage, found) = open(folder.path());
    assert_eq!((found.size, found.unclean), (19_950, true));
    drop(storage);
    check(folder.path(), 19_950);
}

#[test]
fn two_processes_do_not_write_one_log() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!is_open(folder.path()).unwrap());
    let (storage, _) = open(folder.path());
    assert!(is_open(folder.path()).unwrap());
    assert!(matches!(Storage::open(settings(folder.path())), Err(OpenLogError::InUse(_))));
    drop(storage);
    assert!(!is_open(folder.path()).unwrap());
    assert_eq!(read_origin(folder.path()).unwrap().as_deref(), Some(ORIGIN_OF_TESTS));
}

#[test]
fn another_origin_and_other_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, _) = open(folder.path());
    grow(&mut storage, 10);
    drop(storage);
    let with = |signer| Storage::open(StorageSettings { signer, ..settings(folder.path()) }).map(drop);
    let other = keys().log_signing_key("gateway-2/00").unwrap();
    assert!(matches!(with(other), Err(OpenLogError::OtherOrigin { .. })));
    let other = Keys::random().unwrap().log_signing_key(ORIGIN_OF_TESTS).unwrap();
    assert!(matches!(with(other), Err(OpenLogError::OtherKeys(_))));
    check(folder.path(), 10);
}

#[test]
fn days_begin_after_kept_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, _) = open(folder.path());
    grow(&mut storage, 500);
    assert!(storage.end_day().is_err(), "the last bundle is not full");
    grow(&mut storage, 512);
    let kept = storage.end_day().unwrap();
    assert_eq!((kept.size, storage.day_start()), (512, 512));
    assert_eq!(LogReader::open(folder.path()).unwrap().days(), [0], "the new day has no entry yet");
    grow(&mut storage, 600);
    drop(storage);
    let (_storage, found) = open(folder.path());
    assert_eq!((found.day_start, found.kept_checkpoints), (512, 1));
    let reader = LogReader::open(folder.path()).unwrap();
    assert_eq!(reader.days(), [0, 512]);
    assert_eq!((reader.day_start_of(511), reader.day_start_of(512), reader.day_start_of(599)), (0, 512, 512));
    let proof = reader.prove_consistency(512, 600).unwrap();
    let roots = (reader.root(600).unwrap(), tlog_tiles::Hash(kept.root));
    tlog_tiles::check_tree(&proof, 600, tlog_tiles::Hash(roots.0), 512, roots.1).unwrap();
}
