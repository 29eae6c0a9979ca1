//! Days begin and end, expired ones are removed, and a wrong clock removes none.

use super::*;
use crate::disclosure::entry::decode_detail;

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
