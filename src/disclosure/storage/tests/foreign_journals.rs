//! Tests of journals that were not written with the log's keys, and of those of the format without tags.

use super::journal::{push_frame, untagged_journal};
use super::*;

/// Writes a log that has published so many entries and was not closed. Returns the path of its journal.
fn interrupted(folder: &Path, size: u64) -> PathBuf {
    let (mut storage, _) = open(folder);
    grow(&mut storage, size);
    drop(storage);
    folder.join(journal_path(0))
}

fn appended(path: &Path, index: u64, keys: &Keys, origin: &str) {
    let mut content = std::fs::read(path).unwrap();
    let signer = keys.log_signing_key(origin).unwrap();
    push_frame(&mut content, index, &entry(index), signer.journal_tags()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Opens a log that must be refused, and checks that nothing was changed.
fn refused(folder: &Path) -> OpenLogError {
    let read = || files(folder).into_iter().map(|name| (std::fs::read(folder.join(&name)).unwrap(), name));
    let before: Vec<_> = read().collect();
    let error = Storage::open(settings(folder)).map(drop).unwrap_err();
    assert!(before == read().collect::<Vec<_>>(), "{error}");
    error
}

#[test]
fn an_entry_that_was_appended_without_the_key_is_never_signed() {
    for (keys, origin) in [(&Keys::random().unwrap(), ORIGIN_OF_TESTS), (keys(), "gateway-2/00")] {
        let folder = tempfile::tempdir().unwrap();
        let path = interrupted(folder.path(), 300);
        appended(&path, 300, keys, origin);
        let error = refused(folder.path());
        assert!(
            matches!(&error, OpenLogError::ForeignJournal { file, entry: Some(300) } if *file == path),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.starts_with("entry 300 of the journal ") && text.contains(path.to_str().unwrap()));
        // Neither does it hide behind an entry of the log, nor in the torn end.
        appended(&path, 301, super::keys(), ORIGIN_OF_TESTS);
        assert!(matches!(refused(folder.path()), OpenLogError::ForeignJournal { entry: Some(300), .. }));
    }
    // The holder of the key can append: that is how an entry gets there.
    let folder = tempfile::tempdir().unwrap();
    let path = interrupted(folder.path(), 300);
    appended(&path, 300, keys(), ORIGIN_OF_TESTS);
    drop(open(folder.path()));
    check(folder.path(), 301);
}

#[test]
fn a_frame_of_another_place_is_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = interrupted(folder.path(), 300);
    let whole = std::fs::read(&path).unwrap();
    let (mut reader, _) = JournalReader::open(&path).unwrap().unwrap();
    while reader.index() < 299 {
        reader.next().unwrap();
    }
    let last = usize::try_from(reader.offset()).unwrap();
    // The last frame again: its checksum covers the index.
    std::fs::write(&path, [&whole, &whole[last..]].concat()).unwrap();
    let (storage, found) = open(folder.path());
    assert_eq!((found.size, found.torn_bytes), (300, (whole.len() - last) as u64));
    drop(storage);
    check(folder.path(), 300);
}

#[test]
fn a_tree_that_was_made_up_without_the_key_is_never_signed() {
    let folder = tempfile::tempdir().unwrap();
    let forger = Keys::random().unwrap().log_signing_key(ORIGIN_OF_TESTS).unwrap();
    let mut edge = RightEdge::default();
    edge.push(&[7; 256 * 32]);
    drop(open(folder.path()));
    std::fs::remove_file(folder.path().join(journal_path(0))).unwrap();
    let path = folder.path().join(journal_path(256));
    for (header, is_tagged) in [
        (journal::header(&edge, forger.journal_tags()), true),
        (untagged_journal(&edge, std::iter::empty()), false),
    ] {
        std::fs::write(&path, header).unwrap();
        let error = Storage::open(settings(folder.path())).map(drop).unwrap_err();
        match error {
            OpenLogError::ForeignJournal { file, entry: None } => assert!(is_tagged && file == path),
            OpenLogError::UntaggedJournal { file, covered: 0 } => assert!(!is_tagged && file == path),
            other => panic!("{other}"),
        }
    }
}

/// Writes the last journal of a log in the format without tags, with these further entries.
fn without_tags(folder: &Path, more: u64) -> PathBuf {
    let first = layout::list_numbers(&folder.join(layout::JOURNALS), layout::parse_journal_name).unwrap();
    let path = folder.join(journal_path(*first.last().unwrap()));
    let (mut reader, edge) = JournalReader::open(&path).unwrap().unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        entries.push(entry);
    }
    entries.extend((reader.index()..reader.index() + more).map(entry));
    std::fs::write(&path, untagged_journal(&edge, entries)).unwrap();
    path
}

#[test]
fn a_log_without_tags_is_continued_after_a_clean_stop_and_gets_tags() {
    for size in [0, 3, 256, 300, 512, 700] {
        let folder = tempfile::tempdir().unwrap();
        let (mut storage, _) = open(folder.path());
        if size > 0 {
            grow(&mut storage, size);
        }
        storage.close().unwrap();
        let path = without_tags(folder.path(), 0);
        // An incomplete end is cut off, as in any journal.
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(&[0, 0, 0, 9, 1]);
        std::fs::write(&path, torn).unwrap();
        check(folder.path(), size);
        let (mut storage, found) = open(folder.path());
        assert_eq!((found.size, found.torn_bytes), (size, 5));
        grow(&mut storage, size + 20);
        drop(storage);
        let (mut reader, _) = JournalReader::open(&path).unwrap().unwrap();
        while reader.next().unwrap().is_some() {
            assert!(reader.has_tags());
        }
        assert_eq!(reader.index(), size + 20, "the entries stay in the journal");
        drop(open(folder.path()));
        check(folder.path(), size + 20);
    }
}

#[test]
fn a_log_without_tags_is_refused_with_entries_that_no_checkpoint_covers() {
    let folder = tempfile::tempdir().unwrap();
    interrupted(folder.path(), 300);
    let path = without_tags(folder.path(), 1);
    let error = refused(folder.path());
    assert!(
        matches!(&error, OpenLogError::UntaggedJournal { file, covered: 300 } if *file == path),
        "{error}"
    );
    assert!(error.to_string().contains("Start that version and stop it"), "{error}");
    // Without its checkpoint, the log could have any entries.
    std::fs::remove_file(folder.path().join("checkpoint")).unwrap();
    without_tags(folder.path(), 0);
    assert!(matches!(refused(folder.path()), OpenLogError::UntaggedJournal { covered: 0, .. }));
}

#[test]
fn tags_may_be_added_again_after_a_crash_at_every_operation() {
    use super::crashes::{Countdown, Failing};
    for left in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let (mut storage, _) = open(folder.path());
        grow(&mut storage, 300);
        storage.close().unwrap();
        without_tags(folder.path(), 0);
        let state = Arc::new(std::sync::Mutex::new(Countdown { left, failing: usize::MAX, done: 0 }));
        let files = Arc::new(Failing { system: SystemFiles, state });
        let opened = Storage::open_with(settings(folder.path()), files).map(drop);
        assert!(left > 0 || opened.is_err());
        drop(open(folder.path()));
        check(folder.path(), 300);
    }
}
