//! Looking up one decision, exporting, merging, and the last ledger position.

use std::sync::Arc;

use serde_json::Value;
use ulid::Ulid;

use super::folder_log::{DAY_LENGTH, FolderLog};
use crate::disclosure::entry::tests::samples::*;
use crate::disclosure::read::{
    ExchangeFilter, LogPlace, LogSelection, SearchEffort, decision, export, find_decision, last_position,
    merge, repeated_decisions,
};
use crate::disclosure::record::*;
use crate::disclosure::storage::ReadError;
use crate::ledger::Position;

const EXHAUSTIVE: SearchEffort = SearchEffort::Exhaustive;

fn refuse(log: &mut FolderLog) -> Ulid {
    log.now += 1_000;
    let decision = log.id();
    log.push(&Record::Refusal(Arc::new(head(decision)), "no-rule-permits"));
    decision
}

#[test]
fn a_decision_is_found_in_any_day_and_process() {
    let mut log = FolderLog::new();
    let mut written = Vec::new();
    for round in 0..600 {
        written.push(refuse(&mut log));
        match round % 97 {
            0 => log.next_day(),
            1 => log.start(),
            2 => log.publish(),
            _ => {}
        }
    }
    for id in written {
        let found = decision(LogPlace::unindexed(log.path()), &id.to_string(), true).unwrap().unwrap();
        assert_eq!(found["decision"], id.to_string());
        assert_eq!(found["outcome"], "refused:no-rule-permits");
    }
    for other in [Ulid::generate(), log.id(), Ulid::nil(), Ulid::max()] {
        assert_eq!(decision(LogPlace::unindexed(log.path()), &other.to_string(), true).unwrap(), None);
    }
    assert_eq!(decision(LogPlace::unindexed(log.path()), "no-ulid", true).unwrap(), None);
}

/// A clock that was ahead leaves entries whose time is that of the jump.
#[test]
fn a_decision_is_found_after_the_clock_was_ahead() {
    let mut log = FolderLog::new();
    refuse(&mut log);
    log.now += 40 * DAY_LENGTH;
    refuse(&mut log);
    log.now -= 40 * DAY_LENGTH;
    let late: Vec<Ulid> = (0..300).map(|_| refuse(&mut log)).collect();
    for id in late {
        assert!(decision(LogPlace::unindexed(log.path()), &id.to_string(), true).unwrap().is_some());
    }
}

/// A correction is found however late it is, with an index and without one.
#[test]
fn a_late_correction_is_found() {
    let mut log = FolderLog::new();
    let index = tempfile::tempdir().unwrap();
    let decision = log.id();
    log.push(&Record::Exchange(Arc::new(head(decision)), disclosure([person(&log.keys, 1)], &["email"])));
    for _ in 0..3 {
        refuse(&mut log);
        log.next_day();
    }
    let check = |log: &FolderLog, expected: &str, people: usize| {
        for index in [None, Some(index.path())] {
            let place = LogPlace { folder: log.path(), index, tags: None };
            let found = find_decision(place, true, [], &decision.to_string(), EXHAUSTIVE).unwrap().unwrap();
            let found = found.record;
            let subjects = found["subjects"].as_array().unwrap().len();
            assert_eq!((&found["outcome"], subjects), (&Value::from(expected), people));
        }
    };
    check(&log, "released", 1);
    #[cfg(feature = "sqlite")]
    log.index(index.path());
    check(&log, "released", 1);
    let more = Some(disclosure([person(&log.keys, 2)], &["name"]));
    log.push(&Record::Correction { decision, outcome: Outcome::Aborted, disclosure: more });
    check(&log, "aborted", 2);
    #[cfg(feature = "sqlite")]
    log.index(index.path());
    check(&log, "aborted", 2);
    log.start();
    check(&log, "aborted", 2);
}

/// A bounded search reads no more than it may, and never says that there is no decision because it stopped.
#[test]
fn a_bounded_search_ends() {
    let mut log = FolderLog::new();
    let index = tempfile::tempdir().unwrap();
    let written: Vec<Ulid> = (0..600).map(|_| refuse(&mut log)).collect();
    let find = |log: &FolderLog, index, id: Ulid, max| {
        let place = LogPlace { folder: log.path(), index, tags: None };
        find_decision(place, true, [], &id.to_string(), SearchEffort::Bounded(max))
    };
    let unknown = Ulid::from_parts(written[100].timestamp_ms(), 7);
    assert_eq!(find(&log, None, unknown, 1000).unwrap(), None);
    assert!(matches!(find(&log, None, unknown, 400), Err(ReadError::NotIndexed(_))));
    assert!(matches!(find(&log, None, Ulid::nil(), 400), Ok(None)), "earlier than every entry");
    assert!(find(&log, None, written[500], 400).unwrap().is_some());
    #[cfg(feature = "sqlite")]
    {
        log.index(index.path());
        assert_eq!(find(&log, Some(index.path()), unknown, 400).unwrap(), None);
        assert!(find(&log, Some(index.path()), written[100], 400).unwrap().is_some());
    }
}

#[test]
fn an_exchange_of_a_process_that_died_is_aborted() {
    let mut log = FolderLog::new();
    let died = log.id();
    log.push(&Record::Intent(Arc::new(head(died))));
    log.start();
    let open = log.id();
    log.push(&Record::Intent(Arc::new(head(open))));
    for (running, outcome) in [(true, Value::Null), (false, "aborted".into())] {
        let of = |id: Ulid| {
            decision(LogPlace::unindexed(log.path()), &id.to_string(), running).unwrap().unwrap()["outcome"]
                .clone()
        };
        assert_eq!((of(died), of(open)), ("aborted".into(), outcome.clone()));
        let folded = log.folded(&ExchangeFilter::default(), running);
        let outcomes: Vec<Value> = folded.iter().map(|one| one["outcome"].clone()).collect();
        assert_eq!(outcomes, ["aborted".into(), outcome]);
    }
}

#[test]
fn filters_narrow_the_selection() {
    let mut log = FolderLog::new();
    let mut all = Vec::new();
    for (recipient, purpose) in [("acme", "support"), ("acme", ""), ("other", "support")] {
        log.now += 60_000;
        let decision = log.id();
        let given = ExchangeHead { recipient: recipient.into(), purpose: purpose.into(), ..head(decision) };
        log.push(&Record::Refusal(Arc::new(given), "no-rule-permits"));
        all.push((decision.to_string(), log.time()));
    }
    let found = |filter: ExchangeFilter| -> Vec<usize> {
        let place = |one: &Value| all.iter().position(|(id, _)| one["decision"] == **id).unwrap();
        log.folded(&filter, true).iter().map(place).collect()
    };
    let none = ExchangeFilter::default;
    assert_eq!(found(none()), [0, 1, 2]);
    assert_eq!(found(ExchangeFilter { recipient: Some("acme".into()), ..none() }), [0, 1]);
    assert_eq!(found(ExchangeFilter { purpose: Some("support".into()), ..none() }), [0, 2]);
    assert_eq!(found(ExchangeFilter { purpose: Some(String::new()), ..none() }), [1]);
    assert_eq!(found(ExchangeFilter { since: Some(all[1].1), ..none() }), [1, 2]);
    assert_eq!(found(ExchangeFilter { recipient: Some("nobody".into()), ..none() }), Vec::<usize>::new());
}

#[test]
fn each_entry_is_exported_once_with_names() {
    let mut log = FolderLog::new();
    let ada = person(&log.keys, 1);
    let decision = log.id();
    log.push(&Record::Exchange(Arc::new(head(decision)), disclosure([ada], &["email"])));
    log.push(&Record::SecretErasure { secrets: 3, reason: "delivered" });
    let notice = NoticeRecord {
        notice: log.id(),
        recipient: "acme".into(),
        event: "erasure",
        channel: "webhook",
        outcome: "delivered",
    };
    log.push(&Record::Notice(notice));
    log.resume();
    log.next_day();
    let refused = refuse(&mut log);
    let exported = |since| {
        let mut all: Vec<Value> = Vec::new();
        export(LogPlace::unindexed(log.path()), since, |line| {
            all.push(serde_json::from_slice(line).unwrap());
            Ok(())
        })
        .unwrap();
        all
    };
    let all = exported(None);
    let indexes: Vec<u64> = all.iter().map(|one| one["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..all.len() as u64).collect::<Vec<_>>(), "every entry, in order");
    let of_kind = |kind: &str| all.iter().find(|one| one["kind"] == kind).unwrap();
    let exchange = of_kind("exchange");
    for (member, expected) in [
        ("decision", Value::from(decision.to_string())),
        ("recipient", "acme".into()),
        ("purpose", "customer-support".into()),
        ("route", "customers".into()),
        ("operation", "disclose".into()),
        ("policy", "one-partner-360@3f2a91bc".into()),
        ("outcome", "released".into()),
        ("gateway", "gateway-1".into()),
        ("declared", "customer-support".into()),
        ("records", 1.into()),
        ("position", 123_457.into()),
    ] {
        assert_eq!(exchange[member], expected, "{member}");
    }
    let category = &exchange["categories"][0];
    assert_eq!((&category["category"], &category["basis"]), (&"email".into(), &"contract".into()));
    assert_eq!((&category["rules"][0], &category["fields"]), (&"rule-of-email".into(), &2.into()));
    assert_eq!(exchange["factors"]["route"], "permits");
    let epoch = log.keys.subject_pseudonyms().epoch(DAY);
    assert_eq!(exchange["subjects"][0], ada.pseudonym(&epoch).to_string());
    assert_eq!(of_kind("notice")["recipient"], "acme");
    assert_eq!((&of_kind("secret-erasure")["secrets"], &of_kind("day")["date"]), (&3.into(), &DAY.into()));
    assert!(all.iter().any(|one| one["table"] == "recipient" && one["text"] == "acme"));
    assert_eq!(of_kind("ruling")["form"], "clear");
    let last = exported(Some(log.time()));
    assert_eq!(last.last().unwrap()["decision"], refused.to_string());
    assert!(last.len() < 10, "since");
}

#[test]
fn several_logs_are_read_in_the_order_of_time() {
    let mut logs = [FolderLog::new(), FolderLog::new()];
    let mut written = Vec::new();
    for round in 0..40 {
        let now = logs[0].now.max(logs[1].now);
        let log = &mut logs[round % 3 % 2];
        log.now = now;
        written.push(refuse(log).to_string());
    }
    let selections: Vec<LogSelection> = logs
        .iter()
        .map(|log| LogSelection {
            folder: log.path().to_owned(),
            filter: ExchangeFilter::default(),
            running: true,
            tags: None,
        })
        .collect();
    let mut read = Vec::new();
    let repeated = merge(&selections, |one| {
        read.push(one["decision"].as_str().unwrap().to_owned());
        Ok(())
    });
    assert_eq!((read, repeated.unwrap()), (written.clone(), Vec::new()));
    let [one, other] = &mut logs;
    let decision: Ulid = Ulid::from_string(&written[39]).unwrap();
    for log in [&mut *one, &mut *other] {
        log.push(&Record::Refusal(Arc::new(head(decision)), "no-rule-permits"));
    }
    let repeated = repeated_decisions(&[one.path(), other.path()]).unwrap();
    assert_eq!(repeated[0].decision, written[39]);
    assert_eq!(repeated[0].folders, [one.path().to_owned(), other.path().to_owned()]);
    let place = LogPlace::unindexed;
    let found =
        find_decision(place(one.path()), true, [place(other.path())], &written[1], EXHAUSTIVE).unwrap();
    assert_eq!(found.unwrap().record["decision"], written[1]);
    let empty = tempfile::tempdir().unwrap();
    let unknown = Ulid::generate().to_string();
    for (own, other) in [(one.path(), empty.path()), (empty.path(), one.path())] {
        let missing = find_decision(place(own), true, [place(other)], &unknown, EXHAUSTIVE);
        assert!(matches!(missing, Err(ReadError::Empty(_))));
        let found = find_decision(place(own), true, [place(other)], &written[0], EXHAUSTIVE).unwrap();
        assert_eq!(found.unwrap().record["decision"], written[0]);
    }
}

#[test]
fn the_last_position_is_the_latest_in_a_short_disorder() {
    let mut log = FolderLog::new();
    assert_eq!(last_position(log.path()).unwrap(), None);
    for (position, since) in [(5, 1), (9, 20_000), (7, 20_000), (8, 10)] {
        log.now += since;
        let given = ExchangeHead { position: Position(position), ..head(log.id()) };
        log.push(&Record::Intent(Arc::new(given)));
    }
    log.push(&Record::SecretErasure { secrets: 1, reason: "delivered" });
    assert_eq!(last_position(log.path()).unwrap(), Some(Position(9)));
    log.next_day();
    log.start();
    assert_eq!(last_position(log.path()).unwrap(), Some(Position(9)), "of an earlier day");
    assert_eq!(last_position(&log.path().join("none")).unwrap(), None);
}
