//! Verification finds what was changed, removed, moved, inserted or rewritten.

use proptest::prelude::*;

use super::*;

#[test]
fn a_removed_end_is_found_by_the_head_and_by_a_checkpoint() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let reached = written(folder.path(), &keys);
    assert_eq!(check(folder.path(), &keys, Some(&reached)).findings, [] as [String; 0]);
    let file = only_file(folder.path());
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = text.lines().collect();
    std::fs::write(&file, kept[..kept.len() - 2].join("\n") + "\n").unwrap();
    let [finding] = &check(folder.path(), &keys, None).findings[..] else { panic!() };
    assert!(finding.contains("the head next to the folder says 17"), "{finding}");
    // A log without a head verifies: a log of version 0.1.0 or a copy.
    std::fs::remove_file(head::path(folder.path()).unwrap()).unwrap();
    let report = check(folder.path(), &keys, None);
    assert_eq!(report.findings, [] as [String; 0]);
    let remarks = report.remarks;
    assert!(remarks.iter().any(|remark| remark.contains("the end was removed")), "{remarks:?}");
    assert_eq!(check(folder.path(), &keys, Some(&reached)).findings.len(), 1);
}

#[test]
fn a_head_that_lags_or_is_unreadable_is_not_a_finding() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys);
    let head = head::path(folder.path()).unwrap();
    let old = std::fs::read(&head).unwrap();
    written(folder.path(), &keys);
    for content in [old.as_slice(), b"", b"{\"log\":", &[0; 256]] {
        std::fs::write(&head, content).unwrap();
        assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    }
}

#[test]
fn unexpected_files_in_the_folder_are_findings() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys);
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

#[test]
fn tampering_is_found_and_the_first_bad_record_is_named() {
    let keys = Keys::random().unwrap();
    let original = folder();
    written(original.path(), &keys);
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
    let forged = lines[5].replace("\"records\":1", "\"records\":2");
    assert_ne!(forged, lines[5]);
    let mut changed = lines.clone();
    changed[5] = &forged;
    assert!(first(&changed).contains("record 5: was changed"), "{}", first(&changed));
    let truncated = &lines[..lines.len() - 3];
    assert!(first(truncated).contains("the log ends after"), "{}", first(truncated));
    assert!(first(&lines[1..]).contains("does not begin with a header record"), "{}", first(&lines[1..]));
    assert!(first(&[]).contains("record 0: is not a record"), "{}", first(&[]));
}

#[test]
fn a_rewritten_log_is_found_by_its_key_and_by_a_checkpoint() {
    let (keys, forger) = (Keys::random().unwrap(), Keys::random().unwrap());
    let (original, anew) = (folder(), folder());
    written(original.path(), &keys);
    written(anew.path(), &forger);
    let checkpoint = check(original.path(), &keys, None).checkpoint.unwrap();
    assert!(check(anew.path(), &keys, None).findings[0].contains("was not written with this key"));
    let keyless = verified(anew.path(), None, Some(&checkpoint));
    assert!(keyless.findings[0].contains("differs from the checkpoint"), "{:?}", keyless.findings);
    assert!(verified(anew.path(), None, None).findings.is_empty(), "as the remark says");
}

#[test]
fn a_missing_segment_is_found() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for _ in 0..3 {
        written(folder.path(), &keys);
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
        written(folder.path(), &keys);
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
