//! Expired segments are removed, and a wrong clock removes none.

use std::sync::Mutex;

use jiff::ToSpan;

use super::*;

#[tokio::test]
async fn expired_segments_are_removed_and_the_rest_still_verifies() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let day = |n: i64| {
        let time: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        *NOW.lock().unwrap() = Some(time + (24 * n).hours());
    };
    let ten_days = Duration::from_secs(10 * 24 * 60 * 60);
    day(0);
    let log = Log::open_with(
        folder.path(),
        &keys,
        GATEWAY,
        Durability::BeforeRelease,
        ten_days,
        segment::create,
        clock,
    )
    .unwrap();
    exchange(&log, &keys, 0).await;
    let old = check(folder.path(), &keys, None).checkpoint.unwrap();
    for n in 1..=14 {
        day(n);
        exchange(&log, &keys, n as u64).await;
    }
    let report = check(folder.path(), &keys, Some(&old));
    assert_eq!(report.findings, [] as [String; 0]);
    assert_eq!(report.segments, 11, "today's and those of the ten days before");
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), true).len(), 11);
    let kept = report.checkpoint.unwrap();
    drop(log);
    for n in (16..=44).step_by(4) {
        day(n);
        let log = Log::open_with(
            folder.path(),
            &keys,
            GATEWAY,
            Durability::BeforeRelease,
            ten_days,
            segment::create,
            clock,
        )
        .unwrap();
        exchange(&log, &keys, n as u64).await;
    }
    assert_eq!(segment::list_segments(folder.path()).unwrap().len(), 4, "of the days 32, 36, 40 and 44");
    assert_eq!(check(folder.path(), &keys, Some(&kept)).findings, [] as [String; 0]);
    // Without the record of the removal the missing segments are a finding.
    let first = segment::list_segments(folder.path()).unwrap()[0].clone();
    let lines = std::fs::read_to_string(&first.path).unwrap();
    let without: Vec<_> = lines.lines().filter(|line| !line.contains("\"kind\":\"cut\"")).collect();
    std::fs::write(&first.path, without.join("\n") + "\n").unwrap();
    assert!(!check(folder.path(), &keys, None).findings.is_empty());
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_removes_nothing() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let day = |n: i64| {
        let time: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        *NOW.lock().unwrap() = Some(time + (24 * n).hours());
    };
    let open = || {
        let durability = Durability::BeforeRelease;
        Log::open_with(folder.path(), &keys, GATEWAY, durability, YEAR, segment::create, clock).unwrap()
    };
    day(0);
    let log = open();
    for n in 0..3 {
        day(n);
        exchange(&log, &keys, n as u64).await;
    }
    drop(log);
    day(500);
    let log = open();
    exchange(&log, &keys, 500).await;
    day(501);
    exchange(&log, &keys, 501).await;
    drop(log);
    let log = open();
    day(1000);
    exchange(&log, &keys, 1000).await;
    day(3);
    exchange(&log, &keys, 3).await;
    drop(log);
    drop(open());
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), false).len(), 7, "nothing was removed");
    let report = check(folder.path(), &keys, None);
    assert_eq!(report.findings, [] as [String; 0]);
    assert!(!report.remarks.iter().any(|remark| remark.contains("removed")), "{:?}", report.remarks);
}
