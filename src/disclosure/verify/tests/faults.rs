//! Each fault with the words that name it.

use super::*;
use crate::disclosure::entry::{DetailDeletionRecord, EntryKind, decode_head};
use crate::disclosure::storage::LogReader;
use crate::disclosure::storage::journal::push_frame;
use crate::disclosure::storage::layout::{push_framed, take_framed};

/// Applies a change to a log that was written anew and returns the findings.
fn findings(days: &[usize], change: impl FnOnce(&Path, &Keys)) -> Vec<String> {
    let (folder, keys) = written(days);
    change(folder.path(), &keys);
    check(folder.path(), &verifier(&keys)).findings
}

fn flip(folder: &Path, path: &str, at: usize) {
    let path = folder.join(path);
    let mut content = std::fs::read(&path).unwrap();
    content[at] ^= 1;
    std::fs::write(path, content).unwrap();
}

/// Writes a log of these entries, whose details and commitments fit. Nothing else is checked.
fn forged(change: impl FnOnce(&mut Writer)) -> VerificationReport {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    change(&mut writer);
    writer.stop();
    check(folder.path(), &verifier(&keys))
}

#[test]
fn the_first_entry_that_disagrees_with_its_tile_is_named() {
    let found = findings(&[300], |folder, _| flip(folder, "tile/entries/000", 5000));
    assert!(found[0].starts_with("tile/entries/000: entry "), "{found:?}");
    assert!(found[0].ends_with(" disagrees with tile/0/000"), "{found:?}");
    assert!(found.iter().all(|finding| !finding.starts_with("checkpoint")), "the tree is intact: {found:?}");
    let found = findings(&[300], |folder, _| flip(folder, "tile/0/000", 32 * 17));
    assert_eq!(found, ["tile/entries/000: entry 17 disagrees with tile/0/000"]);
    let found = findings(&[300], |folder, _| {
        let bundle = std::fs::read(folder.join("detail/000")).unwrap();
        // The salt of the first detail.
        assert_eq!(bundle[..2], [0, 17]);
        flip(folder, "detail/000", 2);
    });
    assert_eq!(found, ["entry 0: its detail is not the one to which the leaf commits"]);
}

#[test]
fn a_rewritten_day_lies_between_two_checkpoints() {
    // Another log of the same origin and key: the second day is another one.
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    writer.exchange();
    writer.next_day(day(2));
    let copy = tempfile::tempdir().unwrap();
    copy_log(folder.path(), copy.path());
    (0..3).for_each(|_| writer.exchange());
    writer.next_day(day(3));
    writer.stop();
    let mut other = Writer::open(copy.path(), &keys, day(2), true);
    (0..3).for_each(|_| other.exchange());
    other.next_day(day(3));
    other.stop();
    let kept = "checkpoints/512";
    std::fs::copy(copy.path().join(kept), folder.path().join(kept)).unwrap();
    let found = check(folder.path(), &verifier(&keys)).findings;
    assert_eq!(
        found,
        [
            "checkpoints/512: entries 256 to 511 are not those for which it was made; the entries before them are"
        ]
    );
}

fn copy_log(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_log(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn an_earlier_checkpoint_must_be_contained() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    let mut earlier = Vec::new();
    for _ in 0..20 {
        writer.exchange();
        let note = writer.storage.publish().unwrap().note;
        earlier.push(SignedCheckpoint::parse(note.as_bytes()).unwrap());
    }
    let shorter = tempfile::tempdir().unwrap();
    copy_log(folder.path(), shorter.path());
    (0..300).for_each(|_| writer.exchange());
    writer.stop();
    let key = verifier(&keys);
    let since = |folder: &Path, since| {
        let known = KnownLog { key: Some(&key), since: Some(since), origin: Some(ORIGIN), keys: None };
        verify(folder, known, &mut |_| ()).unwrap().findings
    };
    for checkpoint in &earlier {
        assert_eq!(since(folder.path(), checkpoint), [] as [String; 0]);
    }
    let report = check(folder.path(), &key);
    let last = SignedCheckpoint::parse(report.checkpoint.unwrap().as_bytes()).unwrap();
    assert_eq!(check(shorter.path(), &key).findings, [] as [String; 0], "the removed end does not show");
    let expected = format!("the earlier checkpoint: has {} entries; the log ends after ", last.size());
    let found = since(shorter.path(), &last);
    assert!(found[0].starts_with(&expected), "{found:?}");

    let other = written(&[20]);
    let found = since(other.0.path(), &earlier[5]);
    assert!(found.contains(&"checkpoint: is not signed by the key of the log".to_owned()), "{found:?}");
    assert!(
        found.iter().any(|finding| finding.starts_with("the earlier checkpoint: entries 0 to ")),
        "{found:?}"
    );
}

/// Writes a log of three days, of which the first is pruned, and returns its keys with checkpoints of the first day.
fn pruned(folder: &Path, keys: &Keys, exchanges: usize) -> Vec<SignedCheckpoint> {
    let mut writer = Writer::open(folder, keys, day(1), false);
    let mut earlier = Vec::new();
    for _ in 0..exchanges {
        writer.exchange();
        let note = writer.storage.publish().unwrap().note;
        earlier.push(SignedCheckpoint::parse(note.as_bytes()).unwrap());
    }
    writer.next_day(day(2));
    let note = std::fs::read(folder.join("checkpoint")).unwrap();
    earlier.push(SignedCheckpoint::parse(&note).unwrap());
    let below = writer.storage.day_start();
    writer.exchange();
    writer.next_day(day(3));
    writer.prune(below);
    writer.stop();
    earlier
}

#[test]
fn an_earlier_checkpoint_within_the_pruned_part_is_not_taken_for_compared() {
    let (folder, other, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut earlier = pruned(folder.path(), &keys, 5);
    pruned(other.path(), &keys, 7);
    let (key, end) = (verifier(&keys), earlier.pop().unwrap());
    assert_eq!(end.size(), BUNDLE);
    let since = |folder: &Path, since| {
        let known = KnownLog { key: Some(&key), since: Some(since), ..KnownLog::default() };
        verify(folder, known, &mut |_| ()).unwrap().findings
    };
    // Both logs are intact. That of the end of the day can be compared, the earlier ones cannot.
    assert_eq!(since(folder.path(), &end), [] as [String; 0]);
    let found = since(other.path(), &end);
    assert!(found[0].starts_with("the earlier checkpoint: entries 0 to 255 are not those"), "{found:?}");
    for checkpoint in &earlier {
        let size = checkpoint.size();
        let expected = format!(
            "the earlier checkpoint: cannot be compared: it has {size} entries, and those up to 256 are deleted; use one of the end of a day, or one with 256 entries or more"
        );
        assert_eq!(since(folder.path(), checkpoint), [expected.as_str()]);
        assert_eq!(since(other.path(), checkpoint), [expected.as_str()]);
    }
}

#[test]
fn signatures_and_the_origin_are_checked_against_what_the_caller_knows() {
    let (folder, keys) = written(&[3]);
    let report = verify(folder.path(), KnownLog::default(), &mut |_| ()).unwrap();
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert!(finding.starts_with("signatures were not checked"), "{finding}");
    assert_eq!(report.checkpoint, None, "a checkpoint that nobody verified is not handed out");
    let strange = verifier(&Keys::random().unwrap());
    assert_eq!(check(folder.path(), &strange).findings, ["checkpoint: is not signed by the key of the log"]);
    let other = keys.log_signing_key("gateway-2/00").unwrap().verifier_key().parse().unwrap();
    assert_eq!(
        check(folder.path(), &other).findings[0],
        format!("origin: is `{ORIGIN}`, and the key is of another log")
    );
    let key = verifier(&keys);
    let known = KnownLog { key: Some(&key), origin: Some("gateway-2/00"), ..KnownLog::default() };
    let found = verify(folder.path(), known, &mut |_| ()).unwrap().findings;
    assert_eq!(found, [format!("origin: is `{ORIGIN}`, where `gateway-2/00` is expected")]);
}

#[test]
fn missing_and_surplus_files_are_named() {
    let remove =
        |path: &'static str| move |folder: &Path, _: &Keys| std::fs::remove_file(folder.join(path)).unwrap();
    for (path, expected) in [
        ("origin", "origin: is missing"),
        ("checkpoint", "checkpoint: is missing"),
        ("tile/0/000", "tile/0/000: is missing"),
        ("tile/1/000.p/2", "tile/1/000.p/2: is missing"),
        ("detail/001", "detail/001: is missing"),
        ("checkpoints/256", "checkpoints/256: is missing, although a day begins at entry 256"),
        ("tile/entries/001", "tile/entries/001: is missing"),
        ("tile/entries/000", "entries 0 to 255 are missing, and no entry states that they were deleted"),
    ] {
        let found = findings(&[3, 400], remove(path));
        assert!(found.iter().any(|finding| finding == expected), "{path}: {found:?}");
    }
    for (path, expected) in [
        (
            "tmp",
            "tmp: not part of the log: it is left over from a write that was interrupted; start the gateway, or remove it",
        ),
        ("notes.txt", "notes.txt: not part of the log"),
        (
            "detail/000.p/7",
            "detail/000.p/7: does not belong to the checkpoint; start the gateway, or remove it",
        ),
        ("checkpoints/1024", "checkpoints/1024: is not a signed note"),
    ] {
        let found = findings(&[3, 400], |folder, _| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        });
        assert!(found.iter().any(|finding| finding == expected), "{path}: {found:?}");
    }
}

#[test]
fn a_forged_size_does_not_keep_the_verification_busy() {
    let (folder, keys) = written(&[3]);
    for size in [u64::MAX, 1 << 40] {
        let forger = Keys::random().unwrap().log_signing_key(ORIGIN).unwrap();
        let note = forger.sign(&format!("{ORIGIN}\n{size}\n{}\n", tlog_tiles::EMPTY_HASH)).unwrap();
        std::fs::write(folder.path().join("checkpoint"), note).unwrap();
        let found = check(folder.path(), &verifier(&keys)).findings;
        assert_eq!(found[0], "checkpoint: is not signed by the key of the log");
        assert!(
            found
                .iter()
                .any(|finding| finding.contains("too many bundles are missing")
                    || finding.ends_with("is missing")),
            "{found:?}"
        );
    }
}

#[test]
fn a_log_whose_process_died_verifies_with_remarks() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    (0..400).for_each(|_| writer.exchange());
    writer.storage.publish().unwrap();
    (0..5).for_each(|_| writer.exchange());
    let running = check(folder.path(), &verifier(&keys));
    assert_eq!(running.findings, [] as [String; 0]);
    assert_eq!(
        running.remarks,
        [
            "5 entries are not covered by a checkpoint yet: nothing has signed them",
            "a gateway is writing this log"
        ]
    );
    drop(writer);
    let journal = folder.path().join("journal/00000000000000000000");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend_from_slice(&[0, 0, 0, 90, 1, 2, 3]);
    std::fs::write(&journal, bytes).unwrap();
    let died = check(folder.path(), &verifier(&keys));
    assert_eq!(died.findings, [] as [String; 0]);
    assert!(died.remarks[0].contains("ends with 7 bytes of an unfinished write"), "{:?}", died.remarks);
    assert!(died.remarks[2].starts_with("the log does not end with a stop"), "{:?}", died.remarks);
    let mut writer = Writer::open(folder.path(), &keys, day(1), true);
    writer.exchange();
    writer.stop();
    let again = check(folder.path(), &verifier(&keys));
    assert_eq!(again.findings, [] as [String; 0]);
    let [remark] = again.remarks.as_slice() else { panic!("{:?}", again.remarks) };
    assert!(
        remark.contains("died without a stop") && remark.contains("; 7 bytes of an unfinished"),
        "{remark}"
    );
}

/// Deletes the details of some entries of a bundle.
fn delete_details(folder: &Path, bundle: &str, entries: &[usize]) {
    let path = folder.join(bundle);
    let bytes = std::fs::read(&path).unwrap();
    let (mut rest, mut kept) = (bytes.as_slice(), Vec::new());
    for at in 0.. {
        let Some(detail) = take_framed(&mut rest) else { break };
        push_framed(&mut kept, if entries.contains(&at) { &[] } else { detail });
    }
    std::fs::write(path, kept).unwrap();
}

#[test]
fn the_deletion_of_details_must_be_stated() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    writer.each_shape();
    (0..5).for_each(|_| writer.exchange());
    writer.next_day(day(2));
    let first = LogReader::open(folder.path()).unwrap().entries(0).map(Result::unwrap).collect::<Vec<_>>();
    let exchanges: Vec<usize> = first
        .iter()
        .filter(|(_, entry)| decode_head(&entry.leaf).unwrap().kind == EntryKind::Exchange)
        .map(|(index, _)| usize::try_from(*index).unwrap())
        .collect();
    let ruling =
        first.iter().position(|(_, entry)| decode_head(&entry.leaf).unwrap().kind == EntryKind::Ruling);
    let deleted = exchanges[1..4].to_vec();
    let record = DetailDeletionRecord { from: 0, below: 256, details: 3, reason: "a court order" };
    writer.append(|encoder, out| encoder.detail_deletion(record, now(day(2)), out));
    writer.stop();
    let check_without = |entries: &[usize]| {
        let copy = tempfile::tempdir().unwrap();
        copy_log(folder.path(), copy.path());
        delete_details(copy.path(), "detail/000", entries);
        check(copy.path(), &verifier(&keys))
    };
    let report = check_without(&deleted);
    assert_eq!(report.findings, [] as [String; 0]);
    assert_eq!(report.remarks, ["entries 0 to 255: deleted details: 3, as entry 257 states"]);
    let found = check_without(&exchanges).findings;
    assert_eq!(
        found,
        [format!("entries 0 to 255: deleted details: {}; entry 257 states 3", exchanges.len())]
    );
    let found = check_without(&deleted[..2]).findings;
    assert_eq!(found, ["entries 0 to 255: deleted details: 2; entry 257 states 3: repeat the deletion"]);
    let found = check_without(&[&deleted[..], &[ruling.unwrap()]].concat()).findings;
    assert!(found[0].ends_with("its detail was deleted, although other entries may need it"), "{found:?}");
    // A log without the statement, and one that states the deletion of details of its own day.
    let found = findings(&[3, 5], |folder, _| delete_details(folder, "detail/000", &deleted));
    assert!(
        found.iter().any(|finding| finding.ends_with("details were deleted, and no entry states it")),
        "{found:?}"
    );
    let own_day = forged(|writer| {
        let record = DetailDeletionRecord { from: 0, below: 3, details: 1, reason: "x" };
        writer.append(|encoder, out| encoder.detail_deletion(record, now(day(1)), out));
    });
    assert!(own_day.findings[0].ends_with("states the deletion of details of its own day"), "{own_day:?}");
}

#[test]
fn entries_that_somebody_else_appended_are_found_with_the_key_file() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    writer.exchange();
    writer.storage.publish().unwrap();
    let mut entries = Vec::new();
    let (record, offset) = (Record::SecretErasure { secrets: 9, reason: "forged" }, writer.storage.size());
    writer.encoder.encode(&record, now(day(1)), offset, &mut entries);
    drop(writer);
    let forger = Keys::random().unwrap().log_signing_key(ORIGIN).unwrap();
    let path = folder.path().join("journal/00000000000000000000");
    let mut journal = std::fs::read(&path).unwrap();
    for (index, entry) in (offset..).zip(&entries) {
        push_frame(&mut journal, index, entry, forger.journal_tags()).unwrap();
    }
    std::fs::write(&path, journal).unwrap();
    let key = verifier(&keys);
    let verified = |keys| {
        let known = KnownLog { key: Some(&key), keys, ..KnownLog::default() };
        verify(folder.path(), known, &mut |_| ()).unwrap()
    };
    let without = verified(None);
    assert_eq!(without.findings, [] as [String; 0]);
    assert_eq!(without.remarks[0], "1 entry is not covered by a checkpoint yet: nothing has signed it");
    let expected =
        format!("journal/00000000000000000000: entry {offset} was not written with the log's keys");
    assert_eq!(verified(Some(&keys)).findings, [expected]);
    let others = Keys::random().unwrap();
    assert_eq!(verified(Some(&others)).findings, [] as [String; 0], "the keys of another log tell nothing");
}

#[test]
fn a_log_is_verified_while_it_is_written() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    writer.storage.publish().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2..6 {
                for _ in 0..150 {
                    writer.exchange();
                    writer.storage.publish().unwrap();
                }
                writer.next_day(day(number));
                // A gateway signs the beginning of a day within a second, and not at noon with the first exchange.
                writer.storage.publish().unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut runs = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) || runs < 3 {
            let report = check(folder.path(), &verifier(&keys));
            assert_eq!(report.findings, [] as [String; 0], "after {runs} runs");
            runs += 1;
        }
    });
}

#[test]
fn missing_parts_are_found() {
    let cut = |keep: std::ops::Range<usize>| {
        forged(|writer| {
            let decision = writer.head().decision;
            let disclosure = writer.disclosure(12_000);
            let record = Record::Window { exchange: ExchangeReference::Later(decision), disclosure };
            let offset = writer.storage.size();
            writer.append(|encoder, out| {
                encoder.encode(&record, now(day(1)), offset, out);
                let parts = out.split_off(out.len() - 3);
                out.extend(parts[keep].iter().cloned());
            });
        })
    };
    assert_eq!(cut(0..3).findings, [] as [String; 0]);
    let found = cut(0..2).findings;
    assert!(found[0].ends_with("part 3 of 3 of the disclosure before it is missing"), "{found:?}");
    let found = cut(1..3).findings;
    assert!(found[0].ends_with("the first part of the disclosure is missing"), "{found:?}");
}

#[test]
fn numbers_must_stand_for_names() {
    let report = forged(|writer| {
        let (head, disclosure) = (writer.head(), writer.disclosure(1));
        let record = Record::Exchange(head, disclosure);
        let offset = writer.storage.size();
        writer.append(|encoder, out| {
            encoder.encode(&record, now(day(1)), offset, out);
            // The first two entries define names of different tables.
            out.swap(0, 1);
        });
    });
    assert!(
        report.findings.iter().any(|finding| finding.contains("does not stand for a ")),
        "{:?}",
        report.findings
    );
}

#[test]
fn the_order_of_days_processes_and_times_is_checked() {
    let stop_and_go = |writer: &mut Writer| {
        writer.append(|encoder, out| encoder.stop(now(day(1)), out));
        writer.exchange();
    };
    let second_start = |writer: &mut Writer| {
        let members =
            ProcessStart { gateway: "g", version: "1", unclean: false, torn_bytes: 0, former: None };
        let offset = writer.storage.size();
        writer.append(|encoder, out| encoder.start(offset, &members, now(day(1)), out));
    };
    let second_day = |writer: &mut Writer| {
        let members =
            DayStart { first: 0, gateway: "g", checkpoints: 0, pseudonym_key: [0; 16], ledger: None };
        writer.append(|encoder, out| encoder.begin_day(day(1), &members, out));
    };
    let padding = |writer: &mut Writer| {
        writer.append(|encoder, out| encoder.padding(1, out));
        writer.exchange();
    };
    let own_day = |writer: &mut Writer| {
        writer.append(|encoder, out| {
            encoder.pruning(PruningRecord { below: 256, ..PruningRecord::default() }, now(day(1)), out);
        });
    };
    let earlier = |writer: &mut Writer| {
        let keys = writer.keys.clone();
        writer.append(|_, out| {
            let mut other = Encoder::new(keys.subject_pseudonyms());
            other.continue_day(day(1), 0, 5);
            other.encode(&Record::SecretErasure { secrets: 1, reason: "x" }, Timestamp::UNIX_EPOCH, 2, out);
        });
    };
    type Change<'c> = &'c dyn Fn(&mut Writer);
    let cases: [(Change<'_>, &str); 6] = [
        (&stop_and_go, "follows a stop without a start"),
        (&second_start, "begins a process although the one before it had not stopped"),
        (&second_day, "begins a day within a bundle"),
        (&padding, "follows the end of its day"),
        (&own_day, "states the deletion of its own day"),
        (&earlier, "is older than the entry before it"),
    ];
    for (change, expected) in cases {
        let found = forged(|writer| change(writer)).findings;
        assert!(found.iter().any(|finding| finding.ends_with(expected)), "{expected}: {found:?}");
    }
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(2), false);
    writer.kept = 5;
    writer.next_day(day(2));
    writer.stop();
    assert_eq!(
        check(folder.path(), &verifier(&keys)).findings,
        [
            "entry 256: begins a day that is not after the last one",
            "entry 256: states that 6 checkpoints are kept; there are 1 up to it"
        ]
    );
}
