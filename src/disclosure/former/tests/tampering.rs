//! Verification finds what was changed, removed, moved, inserted or rewritten.

use proptest::prelude::*;

use super::*;

/// Copies a log with its head to another folder.
fn copy(from: &Path, head: &Path) -> Folder {
    let copy = folder();
    for segment in segment::list_segments(from).unwrap() {
        std::fs::copy(&segment.path, copy.path().join(segment.path.file_name().unwrap())).unwrap();
    }
    std::fs::copy(head, head::path(copy.path()).unwrap()).unwrap();
    copy
}

#[tokio::test]
async fn a_removed_end_is_found_by_the_head_and_recorded_at_the_next_start() {
    let (original, keys) = (folder(), Keys::random().unwrap());
    for _ in 0..2 {
        written(original.path(), &keys).await;
    }
    let head = head::path(original.path()).unwrap();
    assert_eq!(check(original.path(), &keys, None).findings, [] as [String; 0]);
    let last = |folder: &Path| segment::list_segments(folder).unwrap().pop().unwrap().path;
    let cut = |folder: &Path, lines: usize| {
        let text = std::fs::read_to_string(last(folder)).unwrap();
        let kept: Vec<&str> = text.lines().collect();
        std::fs::write(last(folder), kept[..kept.len() - lines].join("\n") + "\n").unwrap();
    };
    for (what, damage) in [
        ("one line", &(|folder: &Path| cut(folder, 1)) as &dyn Fn(&Path)),
        ("many lines", &|folder| cut(folder, 7)),
        ("half a line", &|folder| {
            let text = std::fs::read(last(folder)).unwrap();
            std::fs::write(last(folder), &text[..text.len() - 9]).unwrap();
        }),
        ("the last file", &|folder| std::fs::remove_file(last(folder)).unwrap()),
        ("every file", &|folder| {
            for segment in segment::list_segments(folder).unwrap() {
                std::fs::remove_file(segment.path).unwrap();
            }
        }),
    ] {
        let damaged = copy(original.path(), &head);
        damage(damaged.path());
        let findings = check(damaged.path(), &keys, None).findings;
        assert!(findings.iter().any(|finding| finding.contains("head")), "{what}: {findings:?}");
        for restarts in 1..=2 {
            let log = open(damaged.path(), &keys);
            exchange(&log, &keys, 50 + restarts).await;
            drop(log);
            let findings = check(damaged.path(), &keys, None).findings;
            let [finding] = findings.as_slice() else { panic!("{what}: {findings:?}") };
            assert!(
                finding.contains("its end was removed") || finding.contains("another log with"),
                "{what}: {finding}"
            );
        }
    }
    // A log without a head verifies: a log of version 0.1.0 or a copy.
    std::fs::remove_file(head).unwrap();
    cut(original.path(), 1);
    drop(open(original.path(), &keys));
    let report = check(original.path(), &keys, None);
    assert_eq!(report.findings, [] as [String; 0]);
    assert!(
        report.remarks.iter().any(|remark| remark.contains("the end was removed")),
        "{:?}",
        report.remarks
    );
}

#[tokio::test]
async fn a_head_that_lags_or_is_unreadable_is_not_a_finding() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    let head = head::path(folder.path()).unwrap();
    let old = std::fs::read(&head).unwrap();
    written(folder.path(), &keys).await;
    for content in [old.as_slice(), b"", b"{\"log\":", &[0; 256]] {
        std::fs::write(&head, content).unwrap();
        assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
        drop(open(folder.path(), &keys));
        assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    }
}

#[tokio::test]
async fn unexpected_files_in_the_folder_are_findings() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    for allowed in ["index", "my-key", "cache.db", "cache.db-wal"] {
        std::fs::write(folder.path().join(allowed), "x").unwrap();
    }
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    for (unexpected, finding) in
        [("notes.txt", "notes.txt: not part of the log"), ("0.jsonl", "0.jsonl: not part of the log")]
    {
        let path = folder.path().join(unexpected);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(check(folder.path(), &keys, None).findings, [finding]);
        std::fs::remove_file(path).unwrap();
    }
    std::fs::create_dir(folder.path().join("old")).unwrap();
    assert_eq!(check(folder.path(), &keys, None).findings, ["old: not part of the log"]);
}

#[tokio::test]
async fn tampering_is_found_and_the_first_bad_record_is_named() {
    let keys = Keys::random().unwrap();
    let original = folder();
    written(original.path(), &keys).await;
    let name = only_file(original.path()).file_name().unwrap().to_owned();
    let text = std::fs::read_to_string(original.path().join(&name)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let checkpoint = check(original.path(), &keys, None).checkpoint.unwrap();
    assert_eq!(checkpoint.records, lines.len() as u64);

    let with = |lines: &[&str]| -> Vec<String> {
        let folder = folder();
        std::fs::write(folder.path().join(&name), lines.join("\n") + "\n").unwrap();
        check(folder.path(), &keys, Some(&checkpoint)).findings
    };
    assert_eq!(with(&lines), [] as [String; 0]);
    let first = |lines: &[&str]| with(lines).first().cloned().unwrap_or_default();

    let mut deleted = lines.clone();
    deleted.remove(4);
    assert!(first(&deleted).contains("records 4 to 4 are missing"), "{}", first(&deleted));
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    assert!(first(&swapped).contains("records 4 to 4 are missing"), "{}", first(&swapped));
    let mut replayed = lines.clone();
    replayed.insert(7, lines[4]);
    assert!(first(&replayed).contains("record 4: stands in the place of record 7"), "{}", first(&replayed));
    let forged = lines[5].replace("\"records\":2", "\"records\":1");
    assert_ne!(forged, lines[5]);
    let mut changed = lines.clone();
    changed[5] = &forged;
    assert!(first(&changed).contains("record 5: was changed"), "{}", first(&changed));
    let truncated = &lines[..lines.len() - 3];
    assert!(first(truncated).contains("the log ends after"), "{}", first(truncated));
    assert!(first(&lines[1..]).contains("does not begin with a header record"), "{}", first(&lines[1..]));
    assert!(first(&[]).contains("record 0: is not a record"), "{}", first(&[]));
}

#[tokio::test]
async fn a_rewritten_log_is_found_by_its_key_and_by_a_checkpoint() {
    let (keys, forger) = (Keys::random().unwrap(), Keys::random().unwrap());
    let (original, anew) = (folder(), folder());
    written(original.path(), &keys).await;
    written(anew.path(), &forger).await;
    let checkpoint = check(original.path(), &keys, None).checkpoint.unwrap();
    assert!(check(anew.path(), &keys, None).findings[0].contains("was not written with this key"));
    let keyless = verify(anew.path(), None, Some(&checkpoint)).unwrap();
    assert_eq!(keyless.findings, ["the checkpoint belongs to another log"]);
    assert!(verify(anew.path(), None, None).unwrap().findings.is_empty(), "as the remark says");
}

#[tokio::test]
async fn a_missing_segment_is_found() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for _ in 0..3 {
        written(folder.path(), &keys).await;
    }
    let segments = segment::list_segments(folder.path()).unwrap();
    let checkpoint = check(folder.path(), &keys, None).checkpoint.unwrap();
    for (at, segment) in segments.iter().enumerate() {
        let hidden = segment.path.with_extension("db");
        std::fs::rename(&segment.path, &hidden).unwrap();
        let findings = check(folder.path(), &keys, Some(&checkpoint)).findings;
        assert!(
            findings.iter().any(|finding| finding.contains("missing") || finding.contains("ends after")),
            "{at}: {findings:?}"
        );
        std::fs::rename(hidden, &segment.path).unwrap();
    }
}

/// Returns one log for all cases of the property below.
fn sample_log() -> &'static (Keys, String, Vec<u8>, Checkpoint) {
    static LOG: std::sync::OnceLock<(Keys, String, Vec<u8>, Checkpoint)> = std::sync::OnceLock::new();
    LOG.get_or_init(|| {
        let (folder, keys) = (folder(), Keys::random().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(written(folder.path(), &keys));
        let file = only_file(folder.path());
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let checkpoint = check(folder.path(), &keys, None).checkpoint.unwrap();
        (keys, name, std::fs::read(file).unwrap(), checkpoint)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_edit_after_a_checkpoint_is_found(
        edit in 0..4_u8, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (keys, name, bytes, checkpoint) = sample_log();
        let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
        let mut edited = bytes.clone();
        match edit {
            0 => edited[at] = byte,
            1 => { edited.remove(at); }
            2 => edited.insert(at, byte),
            _ => edited.truncate(at.max(other)),
        }
        prop_assume!(edited != *bytes);
        let folder = folder();
        std::fs::write(folder.path().join(name), &edited).unwrap();
        prop_assert!(!check(folder.path(), keys, Some(checkpoint)).findings.is_empty());
    }
}
