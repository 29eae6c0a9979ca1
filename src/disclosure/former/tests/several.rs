//! Tests of logs that are read together.

use super::*;

/// Two logs under the same keys.
fn two_folders() -> (Folder, Folder, Keys) {
    (folder(), folder(), Keys::random().unwrap())
}

fn selection(folder: &Folder, filter: &ExchangeFilter) -> LogSelection {
    LogSelection {
        folder: folder.path().to_owned(),
        filter: filter.clone(),
        running: is_running(folder.path()),
    }
}

fn merged(logs: &[LogSelection]) -> (Vec<Value>, Vec<RepeatedDecision>) {
    let mut shown = Vec::new();
    let repeated = merge(logs, |value| {
        shown.push(value);
        Ok(())
    });
    (shown, repeated.unwrap())
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn shown_ids(shown: &[Value]) -> Vec<&str> {
    shown.iter().map(|exchange| exchange["decision"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn exchanges_of_two_logs_are_merged_in_the_order_of_their_ends() {
    let (one, other, keys) = two_folders();
    let logs = [
        open(one.path(), &keys),
        Log::open(other.path(), &keys, "gateway-2", Durability::BeforeRelease, YEAR).unwrap(),
    ];
    let under_way = intend(&logs[0], sample(&id(9))).await.unwrap();
    for (n, log) in [(5, 0), (2, 1), (4, 0), (1, 1), (3, 1)] {
        // Two exchanges that end in the same millisecond have no order.
        tokio::time::sleep(Duration::from_millis(2)).await;
        exchange(&logs[log], &keys, n).await;
    }
    let all = ExchangeFilter::default();
    let selected = [selection(&other, &all), selection(&one, &all)];
    let (shown, repeated) = merged(&selected);
    assert_eq!(shown_ids(&shown), [id(5), id(2), id(4), id(1), id(3), id(9)], "the open one last");
    assert_eq!(repeated, []);
    let names: Vec<_> = shown.iter().map(|exchange| exchange["gateway"].as_str().unwrap()).collect();
    assert_eq!(names, [GATEWAY, "gateway-2", GATEWAY, "gateway-2", "gateway-2", GATEWAY]);
    assert_eq!(shown[5]["outcome"], Value::Null);

    let of_bob = ExchangeFilter {
        subject: Some((vec![person(&keys, "bob")], keys.subject_pseudonyms())),
        ..ExchangeFilter::default()
    };
    let (shown, _) = merged(&[selection(&one, &of_bob), selection(&other, &of_bob)]);
    assert_eq!(shown_ids(&shown), [id(5), id(2), id(4), id(1), id(3)]);

    let [log, _] = logs;
    drop((log, under_way));
    let (shown, _) = merged(&[selection(&one, &all), selection(&other, &all)]);
    let aborted = shown.iter().find(|exchange| exchange["decision"] == id(9)).unwrap();
    assert_eq!(aborted["outcome"], "aborted", "its gateway stopped");
}

#[tokio::test]
async fn a_decision_in_two_logs_is_reported() {
    let (one, other, keys) = two_folders();
    written(one.path(), &keys).await;
    let log = open(other.path(), &keys);
    exchange(&log, &keys, 8).await;
    drop(log);
    let all = ExchangeFilter::default();
    let folders = [one.path(), other.path()];
    assert_eq!(repeated_decisions(&folders).unwrap(), []);

    let log = open(other.path(), &keys);
    exchange(&log, &keys, 3).await;
    log.refused(&sample(&id(4)), "no-rule-permits");
    drop(log);
    let ids = |repeated: &[RepeatedDecision]| {
        let mut ids: Vec<_> = repeated.iter().map(|repeated| repeated.decision.clone()).collect();
        ids.sort();
        ids
    };
    let repeated = repeated_decisions(&folders).unwrap();
    assert_eq!(ids(&repeated), [id(3), id(4)]);
    let words = repeated[0].to_string();
    assert!(folders.iter().all(|folder| words.contains(folder.to_str().unwrap())), "{words}");
    let (shown, repeated) = merged(&[selection(&one, &all), selection(&other, &all)]);
    assert_eq!((shown.len(), ids(&repeated)), (8, vec![id(3), id(4)]));
}

#[tokio::test]
async fn a_decision_is_found_in_the_log_of_another_gateway() {
    let (one, other, keys) = two_folders();
    let own = open(one.path(), &keys);
    exchange(&own, &keys, 1).await;
    let log = open(other.path(), &keys);
    exchange(&log, &keys, 2).await;
    drop(log);
    let find = |others: &[&Path], n| find_decision(one.path(), true, others.iter().copied(), &id(n));
    let missing = other.path().join("missing");
    assert_eq!(find(&[other.path()], 1).unwrap().unwrap()["decision"], id(1));
    assert_eq!(find(&[other.path()], 2).unwrap().unwrap()["decision"], id(2));
    assert_eq!(find(&[other.path()], 3).unwrap(), None);
    assert_eq!(find(&[], 2).unwrap(), None);
    // A log that cannot be read may have the decision.
    assert!(find(&[&missing, other.path()], 2).unwrap().is_some());
    assert!(find(&[&missing], 1).unwrap().is_some());
    let error = find(&[&missing, other.path()], 3).unwrap_err();
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    std::fs::create_dir(&missing).unwrap();
    assert!(matches!(find(&[other.path(), &missing], 3), Err(ReadError::Empty(_))), "not mounted");
}

#[tokio::test]
async fn an_accounting_reads_another_log_under_its_keys_or_fails() {
    let (one, other, keys) = two_folders();
    written(one.path(), &keys).await;
    let account = |log: &LogSource, keys: &Keys| accounting(log, &[person(keys, "alice")]);
    assert_eq!(account(&LogSource::other(one.path(), &keys), &keys).unwrap().len(), 5);

    let other_keys = Keys::random().unwrap();
    let wrong = LogSource::other(one.path(), &other_keys);
    assert!(matches!(account(&wrong, &other_keys), Err(ReadError::OtherKeys(_))));
    assert!(!format!("{wrong:?}").contains("tags"), "no key is printed");
    let empty = LogSource::other(other.path(), &keys);
    assert!(matches!(account(&empty, &keys), Err(ReadError::Empty(_))));
    assert_eq!(account(&LogSource::own(other.path(), &keys), &keys).unwrap(), [], "not started yet");
    let missing = LogSource::own(&other.path().join("missing"), &keys);
    assert!(matches!(account(&missing, &keys), Err(ReadError::Io { .. })));

    // A segment that its gateway is just beginning has no complete record.
    copy(one.path(), other.path());
    std::fs::write(other.path().join(segment::file_name(999)), "{\"n\":9").unwrap();
    assert_eq!(account(&empty, &keys).unwrap().len(), 5);
}
