//! The end of a log that no checkpoint covers: who can have written it, and what a lock on the log excuses.

use std::fs::File;

use super::*;
use crate::disclosure::storage::journal::{header, push_frame};

fn verified(folder: &Path, key: &VerifierKey, keys: Option<&Keys>) -> VerificationReport {
    let known = KnownLog { key: Some(key), keys, ..KnownLog::default() };
    verify_waiting(Duration::ZERO, folder, known, &mut |_| ()).unwrap()
}

/// Encodes a record at a time of the day.
fn forged_entry(writer: &mut Writer, reason: &'static str) -> Vec<Entry> {
    let (record, offset) = (Record::SecretErasure { secrets: 9, reason }, writer.storage.size());
    let mut entries = Vec::new();
    writer.encoder.encode(&record, now(day(1)), offset, &mut entries);
    entries
}

#[test]
fn entries_without_tags_that_no_checkpoint_covers_are_found() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    writer.exchange();
    writer.storage.publish().unwrap();
    let entries = forged_entry(&mut writer, "forged");
    drop(writer);
    let key = verifier(&keys);
    remove_tags(folder.path(), &[]);
    for keys in [None, Some(&keys)] {
        let report = verified(folder.path(), &key, keys);
        assert_eq!((report.findings.len(), report.unsigned), (0, 0), "a checkpoint covers all of them");
    }
    let first = remove_tags(folder.path(), &entries);
    let expected = format!("and no checkpoint covers its entries from {first} on");
    for keys in [None, Some(&keys)] {
        let found = verified(folder.path(), &key, keys).findings;
        assert!(found.len() == 1 && found[0].contains(&expected), "{found:?}");
    }
}

/// Replaces the second day of a log by another one, as somebody can who has no key: with the checkpoint of the first day's end,
/// and with these times of the day, in seconds.
fn rolled_back(folder: &Path, keys: &Keys, times: &[i64]) {
    let at =
        |seconds: i64| day(2).in_tz("UTC").unwrap().timestamp() + jiff::SignedDuration::from_secs(seconds);
    std::fs::copy(folder.join("checkpoints/256"), folder.join("checkpoint")).unwrap();
    for partial in ["tile/entries/001.p", "tile/0/001.p", "detail/001.p"] {
        std::fs::remove_dir_all(folder.join(partial)).unwrap();
    }
    let path = folder.join("journal/00000000000000000256");
    let (_, edge) = JournalReader::open(&path).unwrap().unwrap();
    let (mut encoder, mut entries) = (Encoder::new(keys.subject_pseudonyms()), Vec::new());
    let members = DayStart {
        first: 256,
        gateway: "gateway-1",
        checkpoints: 1,
        pseudonym_key: keys.pseudonym_check(),
        ledger: None,
    };
    encoder.begin_day(day(2), &members, &mut entries);
    for time in times {
        let (offset, record) = (entries.len() as u64, Record::SecretErasure { secrets: 1, reason: "forged" });
        encoder.encode(&record, at(*time), offset, &mut entries);
    }
    let forger = Keys::random().unwrap().log_signing_key(ORIGIN).unwrap();
    let mut journal = header(&edge, forger.journal_tags());
    for (index, entry) in (256..).zip(&entries) {
        push_frame(&mut journal, index, entry, forger.journal_tags()).unwrap();
    }
    std::fs::write(path, journal).unwrap();
}

#[test]
fn a_day_that_was_replaced_behind_an_earlier_checkpoint_is_found() {
    for (times, expected) in
        [(&[3600, 3610, 50_000][..], Some("and they span 50000 seconds")), (&[10, 20, 60][..], None)]
    {
        let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let mut writer = Writer::open(folder.path(), &keys, day(1), false);
        writer.exchange();
        writer.next_day(day(2));
        (0..20).for_each(|_| writer.exchange());
        writer.stop();
        rolled_back(folder.path(), &keys, times);
        let key = verifier(&keys);
        let without = verified(folder.path(), &key, None);
        assert_eq!(without.unsigned, times.len() as u64 + 1);
        match (expected, &without.findings[..]) {
            (Some(expected), [finding]) => assert!(finding.contains(expected), "{finding}"),
            (None, []) => assert!(without.remarks[0].ends_with("nothing has signed them"), "{without:?}"),
            other => panic!("{other:?}"),
        }
        let found = verified(folder.path(), &key, Some(&keys)).findings;
        assert_eq!(
            found[0], "journal/00000000000000000256: its header was not written with the log's keys",
            "{found:?}"
        );
    }
}

#[test]
fn unsigned_entries_of_the_gateway_may_span_any_time() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    writer.storage.publish().unwrap();
    writer.exchange();
    // The disk was full for an hour.
    let hour = now(day(1)) + jiff::SignedDuration::from_hours(1);
    let record = Record::SecretErasure { secrets: 1, reason: "delivered" };
    let offset = writer.storage.size();
    writer.append(|encoder, out| encoder.encode(&record, hour, offset, out));
    drop(writer);
    let key = verifier(&keys);
    let report = verified(folder.path(), &key, Some(&keys));
    assert_eq!(report.findings, [] as [String; 0]);
    assert!(report.remarks[0].ends_with("the tags show that the key file's holder wrote them"), "{report:?}");
    let found = verified(folder.path(), &key, None).findings;
    assert!(found.len() == 1 && found[0].contains("span 3600 seconds"), "{found:?}");
}

#[test]
fn damage_before_whole_entries_is_found_behind_the_checkpoint() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    writer.storage.publish().unwrap();
    let before = std::fs::metadata(last_journal(folder.path())).unwrap().len();
    let damaged = writer.storage.size();
    (0..3).for_each(|_| writer.exchange());
    drop(writer);
    let path = last_journal(folder.path());
    let mut content = std::fs::read(&path).unwrap();
    content[usize::try_from(before).unwrap() + 12] ^= 1;
    std::fs::write(path, content).unwrap();
    let found = verified(folder.path(), &verifier(&keys), Some(&keys)).findings;
    let expected = format!(
        "journal/00000000000000000000: entry {damaged} is damaged: whole entries follow it, among them entry {}, so it is no interrupted write",
        damaged + 1
    );
    assert_eq!(found, [expected]);
}

#[test]
fn a_lock_excuses_nothing_unless_checkpoints_follow() {
    let surplus = |folder: &Path| {
        std::fs::create_dir_all(folder.join("detail/000.p")).unwrap();
        std::fs::write(folder.join("detail/000.p/7"), "x").unwrap();
    };
    let (folder, keys) = written(&[3, 400]);
    surplus(folder.path());
    let lock = File::open(folder.path().join("origin")).unwrap();
    lock.lock().unwrap();
    let report = verified(folder.path(), &verifier(&keys), None);
    assert!(!report.partial);
    assert_eq!(
        report.findings,
        ["detail/000.p/7: does not belong to the checkpoint; start the gateway, or remove it"]
    );

    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    (0..400).for_each(|_| writer.exchange());
    writer.storage.publish().unwrap();
    surplus(folder.path());
    let key = verifier(&keys);
    let done = std::sync::atomic::AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                writer.exchange();
                writer.storage.publish().unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let report = check(folder.path(), &key);
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        report
    });
    assert_eq!(report.findings, [] as [String; 0]);
    assert!(report.partial, "{report:?}");
}
