//! Days begin and end, expired ones are removed, and a wrong clock removes none.

use super::*;
use crate::disclosure::detail_deletion::{DetailDeletionError, delete_details_at};
use crate::disclosure::entry::{Encoder, decode_detail};
use crate::disclosure::questions::tests::copy_folder;
use crate::disclosure::questions::{AnswerCursor, LogExtent, LogQuestion, QuestionedLog, answer};
use crate::disclosure::read::decoded_log::{self, DecodedLog};
use crate::disclosure::receipt::receipt;
use crate::disclosure::storage::layout::{push_framed, take_framed};
use crate::disclosure::storage::{Storage, StorageSettings};
use crate::disclosure::verify::{KnownLog, verify};
use crate::disclosure::{LogSource, account, accounting};
use crate::ledger::LedgerId;

/// Declares a clock of its own for a test: `at` sets it.
macro_rules! test_clock {
    ($at:ident, $clock:ident) => {
        static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
        fn $clock() -> Timestamp {
            NOW.lock().unwrap().unwrap()
        }
        let $at = |day: i64| {
            let first: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
            *NOW.lock().unwrap() = Some(first + (24 * day).hours());
        };
    };
}

/// Returns the dates of the days of a log.
fn dates(folder: &Path) -> Vec<String> {
    let mut dates = Vec::new();
    each_head(folder, |_, head| dates.extend(head.day().map(|day| day.to_string())));
    dates
}

#[tokio::test]
async fn a_day_ends_with_padding_and_a_kept_checkpoint() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at(0);
    let log = open_at(settings(&folder), &keys, clock);
    log.append(exchange(&keys, 1)).await.unwrap();
    at(1);
    log.append(exchange(&keys, 2)).await.unwrap();
    drop(log);
    let mut reader = LogReader::open(&folder.path).unwrap();
    assert_eq!(reader.days(), [0, 256]);
    assert!(folder.path.join("checkpoints/256").is_file());
    assert_eq!(dates(&folder.path), ["2026-01-01", "2026-01-02"]);
    check_names(&folder.path);
    let mut pseudonyms: Vec<[u8; 12]> = Vec::new();
    for entry in reader.entries(0) {
        let (_, entry) = entry.unwrap();
        let head = decode_head(&entry.leaf).unwrap();
        pseudonyms.extend(decode_detail(head.kind, &entry.detail).unwrap().unwrap().subjects);
    }
    let of = |day: &str| {
        person(&keys, "alice").pseudonym(&keys.subject_pseudonyms().epoch(day)).bytes().to_owned()
    };
    assert_eq!(pseudonyms, [of("2026-01-01"), of("2026-01-02")]);
    let mut kept = Vec::new();
    each_head(&folder.path, |_, head| kept.extend(head.day().map(|_| head.checkpoints)));
    assert_eq!(kept, [0, 1]);
}

/// The process would otherwise count names and pseudonyms from the day before.
#[tokio::test]
async fn a_log_without_the_checkpoint_of_a_day_is_not_continued() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for day in 0..3 {
        at(day);
        let log = open_at(settings(&folder), &keys, clock);
        for n in 0..300 {
            log.append_detached(close(n, Outcome::Released));
        }
        log.flush().await.unwrap();
    }
    let kept = LogReader::open(&folder.path).unwrap().days()[1..].to_vec();
    assert_eq!(kept, [512, 1024]);
    for first in kept {
        let (path, away) =
            (folder.path.join(format!("checkpoints/{first}")), folder.outer.path().join("kept"));
        std::fs::rename(&path, &away).unwrap();
        let opened = Log::open_with(settings(&folder), &keys, Arc::new(SystemFiles), clock).map(drop);
        assert!(matches!(opened, Err(OpenLogError::Inconsistent { .. })), "{first}: {opened:?}");
        std::fs::rename(&away, &path).unwrap();
    }
    drop(open_at(settings(&folder), &keys, clock));
}

/// The process died after it had written the end of a day, and the clock was set back until the next start.
#[tokio::test]
async fn a_day_whose_padding_is_written_is_over() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at(0);
    let log = open_at(settings(&folder), &keys, clock);
    log.append(exchange(&keys, 1)).await.unwrap();
    drop(log);
    let origin = LogReader::open(&folder.path).unwrap().origin().to_owned();
    let signer = keys.log_signing_key(&origin).unwrap();
    for padding in [5, 200] {
        let copy = Folder {
            path: folder.outer.path().join(format!("copy-{padding}")),
            outer: tempfile::tempdir().unwrap(),
        };
        copy_folder(&folder.path, &copy.path);
        let storage = StorageSettings {
            folder: copy.path.clone(),
            signer: keys.log_signing_key(&origin).unwrap(),
            outside: Vec::new(),
        };
        let (mut storage, found) = Storage::open(storage).unwrap();
        let mut encoder = Encoder::new(keys.subject_pseudonyms());
        let last = 12 * 3600 * 1000;
        encoder.continue_day("2026-01-01".parse().unwrap(), 0, last);
        let mut entries = Vec::new();
        // A part of it, or all of it.
        encoder.padding(if padding == 5 { 5 } else { 256 - found.size }, &mut entries);
        storage.append(&entries).unwrap();
        storage.sync().unwrap();
        drop(storage);
        let log = open_at(settings(&copy), &keys, clock);
        log.append(exchange(&keys, 2)).await.unwrap();
        drop(log);
        assert_eq!(dates(&copy.path), ["2026-01-01", "2026-01-02"]);
        let key = signer.verifier_key().parse().unwrap();
        let known = KnownLog { key: Some(&key), keys: Some(&keys), ..KnownLog::default() };
        assert_eq!(verify(&copy.path, known, &mut |_| ()).unwrap().findings, [] as [String; 0]);
    }
}

#[tokio::test]
async fn each_day_states_the_ledger() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let (one, other) = (LedgerId::from_bytes([1; 16]), LedgerId::from_bytes([2; 16]));
    for (day, ledger) in [(0, None), (1, Some(one)), (2, Some(one)), (3, Some(other))] {
        at(day);
        drop(open_at(LogSettings { ledger, ..settings(&folder) }, &keys, clock));
    }
    let mut stated = Vec::new();
    each_head(&folder.path, |_, head| stated.extend(head.day().map(|_| head.ledger)));
    assert_eq!(stated, [None, Some([1; 16]), Some([1; 16]), Some([2; 16])]);
    let fault = |ledger| LogExtent::of_people(&folder.path, ledger).unwrap().fault;
    assert!(fault(Some(one)).is_some_and(|fault| fault.contains("another ledger")));
    assert!(fault(None).is_some(), "one day is of a ledger that is not this one");
    std::fs::remove_dir_all(&folder.path).unwrap();
    at(0);
    drop(open_at(LogSettings { ledger: Some(one), ..settings(&folder) }, &keys, clock));
    assert_eq!((fault(Some(one)), fault(Some(other)).is_some()), (None, true));
}

#[tokio::test]
async fn details_of_days_that_are_over_can_be_deleted() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for day in 0..3 {
        at(day);
        let log = open_at(settings(&folder), &keys, clock);
        for number in 0..4 {
            log.append(exchange(&keys, 10 * u64::try_from(day).unwrap() + number)).await.unwrap();
        }
    }
    let days = |first: &str, last: &str| first.parse().unwrap()..=last.parse().unwrap();
    let delete = |days| delete_details_at(settings(&folder), &keys, &days, "order 7", clock());
    assert!(matches!(delete(days("2026-01-03", "2026-01-03")), Err(DetailDeletionError::Write(_))), "today");
    let root = || LogReader::open(&folder.path).unwrap().root(512).unwrap();
    let before = root();
    assert_eq!(delete(days("2026-01-02", "2026-01-02")).unwrap(), 4);
    assert_eq!(delete(days("2026-01-02", "2026-01-02")).unwrap(), 0, "there is nothing left to delete");
    assert_eq!(delete(days("2025-01-02", "2025-12-31")).unwrap(), 0, "no such day");
    assert_eq!(root(), before, "the tree is the same");
    let mut exchanges = Vec::new();
    for entry in LogReader::open(&folder.path).unwrap().entries(0) {
        let (index, entry) = entry.unwrap();
        let head = decode_head(&entry.leaf).unwrap();
        if head.kind == EntryKind::Exchange {
            exchanges.push((index / 256, entry.detail.is_empty()));
        } else {
            assert!(!entry.detail.is_empty());
        }
    }
    let expected = [(0, false), (1, true), (2, false)].map(|day| [day; 4]).concat();
    assert_eq!(exchanges, expected);
    let signer = keys.log_signing_key(LogReader::open(&folder.path).unwrap().origin()).unwrap();
    let key = signer.verifier_key().parse().unwrap();
    let known = KnownLog { key: Some(&key), keys: Some(&keys), ..KnownLog::default() };
    let report = verify(&folder.path, known, &mut |_| ()).unwrap();
    assert_eq!(report.findings, [] as [String; 0]);
    assert!(
        report.remarks[0].starts_with("entries 256 to 511: deleted details: 4, as entry"),
        "{:?}",
        report.remarks
    );
    // A log with deleted details is continued.
    let log = open_at(settings(&folder), &keys, clock);
    log.append(exchange(&keys, 99)).await.unwrap();
}

#[tokio::test]
async fn a_receipt_shows_no_number_of_people_after_the_details_were_deleted() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at(0);
    let log = open_at(settings(&folder), &keys, clock);
    let mut many = disclosure(&keys, "alice");
    many.subjects = (0..6000).map(|n| person(&keys, &n.to_string())).collect();
    log.append(Record::Exchange(head(1), many)).await.unwrap();
    drop(log);
    at(1);
    drop(open_at(settings(&folder), &keys, clock));
    let mut parts = Vec::new();
    each_head(&folder.path, |index, head| parts.extend((head.kind == EntryKind::Exchange).then_some(index)));
    assert!(parts.len() > 1);
    let shown = || {
        let mut log = LogReader::open(&folder.path).unwrap();
        receipt(&mut log, id(1), &parts).unwrap().unwrap().entries.len()
    };
    assert_eq!(shown(), 1);
    let day = "2026-01-01".parse().unwrap();
    delete_details_at(settings(&folder), &keys, &(day..=day), "order 7", clock()).unwrap();
    assert_eq!(shown(), 1);
}

/// A reader that has no use for them reads a log of years, or follows one as long as a gateway runs.
#[tokio::test]
async fn entries_without_details_are_remembered_only_for_who_takes_them() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for day in 0..2 {
        at(day);
        let log = open_at(settings(&folder), &keys, clock);
        log.append(exchange(&keys, 10 * u64::try_from(day).unwrap())).await.unwrap();
    }
    let day = "2026-01-01".parse().unwrap();
    assert_eq!(delete_details_at(settings(&folder), &keys, &(day..=day), "order 7", clock()).unwrap(), 1);
    let mut log = decoded_log::open(&folder.path).unwrap().unwrap();
    let size = log.reader().size();
    let read = |log: &mut DecodedLog| {
        let mut deleted = 0;
        for index in 0..size {
            let entry = log.entry(index).unwrap().unwrap();
            let record = log.exchange_record(index, &entry).unwrap();
            deleted += usize::from(record.is_some_and(|(record, _)| record.has_no_detail));
        }
        (deleted, log.take_without_detail().len())
    };
    assert_eq!(read(&mut log), (1, 0));
    log.collect_without_detail();
    assert_eq!([read(&mut log), read(&mut log)], [(1, 1); 2]);
}

/// Removes a detail of the first bundle without a statement.
fn remove_detail(folder: &Path, entry: usize) {
    let path = folder.join("detail/000");
    let bytes = std::fs::read(&path).unwrap();
    let (mut rest, mut kept) = (bytes.as_slice(), Vec::new());
    for at in 0..256 {
        let detail = take_framed(&mut rest).unwrap();
        push_framed(&mut kept, if at == entry { &[] } else { detail });
    }
    std::fs::write(path, kept).unwrap();
}

#[tokio::test]
async fn answers_say_which_details_were_deleted() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for day in 0..3 {
        at(day);
        let log = open_at(settings(&folder), &keys, clock);
        for number in 0..2 {
            log.append(exchange(&keys, 10 * u64::try_from(day).unwrap() + number)).await.unwrap();
        }
    }
    let [before, after] = ["before", "after"].map(|name| folder.outer.path().join(name));
    let index = |into: &Path| {
        crate::disclosure::index::build(into, &folder.path, |_, _| ()).unwrap();
    };
    index(&before);
    let days = "2026-01-02".parse().unwrap()..="2026-01-02".parse().unwrap();
    assert_eq!(delete_details_at(settings(&folder), &keys, &days, "order 7", clock()).unwrap(), 2);
    index(&after);
    let stated = "2 details of 2026-01-02 deleted on 2026-01-03, for a reason that the log states";
    for index in [None, Some(&before), Some(&after)] {
        let source = LogSource::new(&folder.path, &keys);
        let source = index.map_or(source.clone(), |index| source.with_index(index));
        let found = account(&source, &[person(&keys, "alice")]).unwrap();
        assert_eq!(found.exchanges.len(), 4, "{index:?}");
        let deleted: Vec<String> = found.deleted.iter().map(ToString::to_string).collect();
        assert_eq!(deleted, [stated], "{index:?}");
        let logs = [QuestionedLog { folder: folder.path.clone(), index: index.cloned(), running: false }];
        let asked = |question: &LogQuestion| answer(question, &logs, &AnswerCursor::default(), 100).unwrap();
        let all = asked(&LogQuestion::default());
        let without: Vec<bool> = all.exchanges.iter().map(|one| one["detail"] == "deleted").collect();
        assert_eq!(without, [false, false, true, true, false, false], "{index:?}");
        let fault = all.logs[0].fault.clone().unwrap();
        assert!(fault.contains("of 2026-01-02 deleted"), "{index:?}: {fault}");
        assert_eq!(fault == stated, index.is_some(), "{fault}");
        let since = Some("2026-01-03T00:00:00Z".parse().unwrap());
        assert_eq!(asked(&LogQuestion { since, ..LogQuestion::default() }).logs[0].fault, None);
        // Its case would be in the details.
        let case = Some("2026-017".to_owned());
        assert!(asked(&LogQuestion { case, ..LogQuestion::default() }).logs[0].fault.is_some(), "{index:?}");
    }
    // Somebody has removed one of the first day, and nobody has stated it.
    let mut reader = LogReader::open(&folder.path).unwrap();
    let first = reader
        .entries(0)
        .map(Result::unwrap)
        .find(|(_, entry)| decode_head(&entry.leaf).unwrap().kind == EntryKind::Exchange);
    remove_detail(&folder.path, usize::try_from(first.unwrap().0).unwrap());
    for index in [None, Some(&before), Some(&after)] {
        let source = LogSource::new(&folder.path, &keys);
        let source = index.map_or(source.clone(), |index| source.with_index(index));
        let found = account(&source, &[person(&keys, "alice")]).unwrap();
        let deleted: Vec<String> = found.deleted.iter().map(ToString::to_string).collect();
        assert_eq!((found.exchanges.len(), &*deleted[0]), (3, stated), "{index:?}");
        assert!(deleted[1].starts_with("1 detail of 2026-01-01 deleted: "), "{index:?}: {deleted:?}");
    }
}

#[tokio::test]
async fn a_new_log_begins_beside_one_whose_day_is_ahead_of_the_clock() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at(27_000);
    let log = open_at(settings(&folder), &keys, clock);
    log.append(exchange(&keys, 1)).await.unwrap();
    assert_eq!(log.day_ahead(clock()), Duration::ZERO);
    // The clock is right again. The day goes on.
    at(0);
    log.append(exchange(&keys, 2)).await.unwrap();
    assert!(log.day_ahead(clock()) > Duration::from_secs(26_999 * 24 * 3600));
    drop(log);
    let log = open_at(settings(&folder), &keys, clock);
    assert!(log.day_ahead(clock()) > Duration::from_secs(26_999 * 24 * 3600));
    drop(log);
    assert_eq!(dates(&folder.path).len(), 1);
    // The way out that the documentation names: the folder is moved, and read from there.
    let moved = folder.outer.path().join("audit-until-2026-01-01");
    std::fs::rename(&folder.path, &moved).unwrap();
    let log = open_at(settings(&folder), &keys, clock);
    log.append(exchange(&keys, 3)).await.unwrap();
    assert_eq!(log.day_ahead(clock()), Duration::ZERO);
    drop(log);
    assert_eq!(dates(&folder.path), ["2026-01-01"]);
    let found = [&moved, &folder.path]
        .map(|folder| accounting(&LogSource::new(folder, &keys), &[person(&keys, "alice")]).unwrap().len());
    assert_eq!(found, [2, 1]);
}

#[tokio::test]
async fn a_day_never_goes_back() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at(5);
    let log = open_at(settings(&folder), &keys, clock);
    at(3);
    log.append(exchange(&keys, 1)).await.unwrap();
    drop(log);
    let log = open_at(settings(&folder), &keys, clock);
    log.append(exchange(&keys, 2)).await.unwrap();
    at(6);
    log.append(exchange(&keys, 3)).await.unwrap();
    drop(log);
    assert_eq!(dates(&folder.path), ["2026-01-06", "2026-01-07"]);
    let mut last = (0, 0);
    each_head(&folder.path, |index, head| {
        let day = if index < 256 { 0 } else { 1 };
        assert!((day, head.time) >= last, "times never decrease within a day");
        last = (day, head.time);
    });
}

#[tokio::test]
async fn expired_days_are_removed_and_the_removal_is_on_record() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let ten_days = Duration::from_secs(10 * 24 * 60 * 60);
    let expiring = || LogSettings { retention: ten_days, ..settings(&folder) };
    at(0);
    let log = open_at(expiring(), &keys, clock);
    for n in 0..=14 {
        at(n);
        log.append(exchange(&keys, n as u64)).await.unwrap();
    }
    let reader = LogReader::open(&folder.path).unwrap();
    assert_eq!(reader.begin(), 4 * 256);
    assert_eq!(decisions(&folder.path).len(), 11, "today's and those of the ten days before");
    drop(log);
    for n in (16..=44).step_by(4) {
        at(n);
        let log = open_at(expiring(), &keys, clock);
        log.append(exchange(&keys, n as u64)).await.unwrap();
    }
    assert_eq!(decisions(&folder.path), [32, 36, 40, 44].map(id));
    let mut removed = Vec::new();
    each_head(&folder.path, |_, head| removed.extend(head.below));
    assert_eq!(removed.last(), Some(&LogReader::open(&folder.path).unwrap().begin()));
    assert_eq!(std::fs::read_dir(folder.path.join("checkpoints")).unwrap().count(), 22, "all are kept");
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_removes_nothing() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at(0);
    let log = open_at(settings(&folder), &keys, clock);
    for n in 0..3 {
        at(n);
        log.append(exchange(&keys, n as u64)).await.unwrap();
    }
    drop(log);
    for jump in [500, 501, 1000, 3] {
        at(jump);
        let log = open_at(settings(&folder), &keys, clock);
        log.append(exchange(&keys, jump as u64)).await.unwrap();
    }
    drop(open_at(settings(&folder), &keys, clock));
    assert_eq!(decisions(&folder.path), [0, 1, 2, 500, 501, 1000, 3].map(id), "nothing was removed");
}

/// Checks that a report and the questions name the exchange 1, which is about bob, and its end.
fn check_stream(folder: &Folder, keys: &Keys, index: Option<&Path>) {
    let source = LogSource::new(&folder.path, keys);
    let source = index.map_or(source.clone(), |index| source.with_index(index));
    let account = accounting(&source, &[person(keys, "bob")]).unwrap();
    let names: Vec<_> = account.iter().map(|one| [&*one.recipient, &*one.purpose, &*one.route]).collect();
    assert_eq!(names, [["acme", "support", "customers"]]);
    let (path, index) = (folder.path.clone(), index.map(Path::to_owned));
    let logs = [QuestionedLog { folder: path, index, running: true }];
    let (recipient, decision) = (Some("acme".to_owned()), Some(id(1)));
    let outcome = Some("released".to_owned());
    for question in [
        LogQuestion { decision, ..LogQuestion::default() },
        LogQuestion { recipient, outcome, ..LogQuestion::default() },
    ] {
        let answered = answer(&question, &logs, &AnswerCursor::default(), 100).unwrap();
        let is_it = |exchange: &&serde_json::Value| exchange["decision"] == id(1).to_string();
        let found: Vec<_> = answered.exchanges.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{question:?}");
        assert_eq!((&found[0]["route"], &found[0]["outcome"]), (&"customers".into(), &"released".into()));
    }
}

#[tokio::test]
async fn a_stream_over_midnight_keeps_its_recipient_when_its_first_day_is_removed() {
    test_clock!(at, clock);
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let ten_days = Duration::from_secs(10 * 24 * 60 * 60);
    at(0);
    let log = open_at(LogSettings { retention: ten_days, ..settings(&folder) }, &keys, clock);
    let first = Record::Window {
        exchange: ExchangeReference::First(head(1)),
        disclosure: disclosure(&keys, "alice"),
    };
    log.append(first).await.unwrap();
    // Nothing leaves on the third day.
    for day in [0, 1, 1, 3, 3] {
        at(day);
        log.append(later_window(&keys, 1)).await.unwrap();
    }
    log.append(close(1, Outcome::Released)).await.unwrap();
    let mut windows = Vec::new();
    each_head(&folder.path, |index, head| {
        if head.kind == EntryKind::Window {
            windows.push((index, head.has_circumstances(), head.continues));
        }
    });
    let indexes: Vec<u64> = windows.iter().map(|(index, ..)| *index).collect();
    let continued = [None, None, Some(indexes[0]), None, Some(indexes[2]), None];
    let expected = indexes.iter().zip(continued).enumerate();
    let expected = expected.map(|(at, (index, continues))| (*index, at % 2 == 0, continues));
    assert_eq!(windows, expected.collect::<Vec<_>>());
    check_names(&folder.path);
    let indexes = tempfile::tempdir().unwrap();
    let mut begins = Vec::new();
    for day in 4..=13 {
        at(day);
        log.append(exchange(&keys, 100 + u64::try_from(day).unwrap())).await.unwrap();
        log.flush().await.unwrap();
        begins.push(LogReader::open(&folder.path).unwrap().begin());
        check_stream(&folder, &keys, None);
        #[cfg(feature = "sqlite")]
        {
            crate::disclosure::index::build(indexes.path(), &folder.path, |_, _| ()).unwrap();
            check_stream(&folder, &keys, Some(indexes.path()));
        }
    }
    begins.dedup();
    // The second and the third time, one of the days is gone on which the stream ran.
    assert_eq!(begins, [0, 256, 512]);
    drop(log);
    let signer = keys.log_signing_key(LogReader::open(&folder.path).unwrap().origin()).unwrap();
    let key = signer.verifier_key().parse().unwrap();
    let known = KnownLog { key: Some(&key), keys: Some(&keys), ..KnownLog::default() };
    assert_eq!(verify(&folder.path, known, &mut |_| ()).unwrap().findings, [] as [String; 0]);
}
