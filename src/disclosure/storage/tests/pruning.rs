//! Tests of pruning.

use super::*;

/// Writes three days and the beginning of a fourth.
fn days(folder: &Path) -> Storage {
    let (mut storage, _) = open(folder);
    for size in [1024, 70_144, 70_656] {
        grow(&mut storage, size);
        storage.end_day().unwrap();
    }
    grow(&mut storage, 70_700);
    storage
}

#[test]
fn what_is_left_after_pruning_is_still_proved() {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = days(folder.path());
    assert!(storage.prune(512).is_err(), "no checkpoint is kept there");
    let kept: Vec<PublishedCheckpoint> = [1024, 70_144, 70_656]
        .map(|size| std::fs::read(folder.path().join(kept_checkpoint_path(size))).unwrap())
        .map(|note| PublishedCheckpoint::parse(&note).unwrap())
        .into();
    for (below, days) in [(1024, vec![1024, 70_144, 70_656]), (70_144, vec![70_144, 70_656])] {
        storage.prune(below).unwrap();
        let mut reader = LogReader::open(folder.path()).unwrap();
        assert_eq!((reader.begin(), reader.days()), (below, days.as_slice()));
        assert_eq!(reader.entry(below - 1).unwrap(), None);
        assert!(reader.prove_inclusion(below - 1, 70_700).is_err());
        let root = tlog_tiles::Hash(reader.root(70_700).unwrap());
        for kept in &kept {
            let proof = reader.prove_consistency(kept.size, 70_700).unwrap();
            tlog_tiles::check_tree(&proof, 70_700, root, kept.size, tlog_tiles::Hash(kept.root)).unwrap();
        }
        check(folder.path(), 70_700);
    }
    let first =
        |prefix: &str| files(folder.path()).into_iter().find(|name| name.starts_with(prefix)).unwrap();
    assert_eq!(first("tile/0/"), "tile/0/274");
    assert_eq!(first("tile/entries/"), "tile/entries/274");
    assert_eq!(first("detail/"), "detail/274");
    assert_eq!(first("tile/1/"), "tile/1/000");
    drop(storage);
    let (mut storage, found) = open(folder.path());
    assert_eq!((found.size, found.kept_checkpoints), (70_700, 3));
    grow(&mut storage, 70_912);
    storage.end_day().unwrap();
    storage.prune(70_912).unwrap();
    storage.close().unwrap();
    let reader = LogReader::open(folder.path()).unwrap();
    assert_eq!((reader.begin(), reader.size(), reader.days()), (70_912, 70_912, [].as_slice()));
    let (mut storage, found) = open(folder.path());
    assert_eq!((found.size, found.day_start), (70_912, 70_912));
    grow(&mut storage, 71_000);
    check(folder.path(), 71_000);
}

#[test]
fn an_earlier_checkpoint_that_is_kept_elsewhere_stops_no_start() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut storage, _) = open(folder.path());
    grow(&mut storage, 700);
    let (pruned, of_other) = (elsewhere.path().join("pruned"), elsewhere.path().join("other"));
    std::fs::write(&pruned, &storage.checkpoint().unwrap().note).unwrap();
    let signer = Keys::random().unwrap().log_signing_key("gateway-1/of-before").unwrap();
    std::fs::write(&of_other, PublishedCheckpoint::sign(&signer, 9, [1; 32]).unwrap().note).unwrap();
    let reopened = || {
        let outside = vec![pruned.clone(), of_other.clone()];
        Storage::open(StorageSettings { outside, ..settings(folder.path()) })
    };
    grow(&mut storage, 1024);
    storage.end_day().unwrap();
    grow(&mut storage, 1400);
    storage.close().unwrap();
    drop(reopened().unwrap());
    let (mut storage, _) = open(folder.path());
    storage.prune(1024).unwrap();
    storage.close().unwrap();
    drop(reopened().unwrap());
    // A log that was replaced has none of its entries.
    std::fs::remove_dir_all(folder.path()).unwrap();
    assert!(matches!(reopened(), Err(OpenLogError::Inconsistent { .. })));
}

#[test]
fn entries_of_a_day_that_is_half_pruned_count_from_its_first_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, _) = open(folder.path());
    for size in [512, 1536] {
        grow(&mut storage, size);
        storage.end_day().unwrap();
    }
    grow(&mut storage, 1600);
    storage.prune(512).unwrap();
    std::fs::remove_file(folder.path().join("tile/entries/002")).unwrap();
    let mut reader = LogReader::open(folder.path()).unwrap();
    assert_eq!((reader.begin(), reader.days()), (768, [1536].as_slice()));
    assert_eq!((reader.day_start_of(800), reader.day_start_of(1599)), (512, 1536));
    assert_eq!(reader.entry(600).unwrap(), None);
}
