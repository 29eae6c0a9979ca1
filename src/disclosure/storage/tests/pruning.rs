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
