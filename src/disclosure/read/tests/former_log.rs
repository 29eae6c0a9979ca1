//! An old log is read before the new entries, wherever it is.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::folder_log::FolderLog;
use crate::disclosure::entry::tests::samples::*;
use crate::disclosure::former::TagKey;
use crate::disclosure::former::tests::old_log::OldLog;
use crate::disclosure::questions::{Answer, AnswerCursor, LogQuestion, MAX_ANSWER, QuestionedLog, answer};
use crate::disclosure::read::{
    ActFilter, ExchangeFilter, LogPlace, LogSelection, LogSource, SearchEffort, accounting, acts, decision,
    export, find_decision, fold, is_running, last_position, merge,
};
use crate::disclosure::record::*;
use crate::disclosure::storage::ReadError;
use crate::keys::{Keys, LogSecret, LoggedPerson};
use crate::ledger::Position;

fn time(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

const CLOSED: &str = "01KAKCP5P0AAAAAAAAAAAAAAA1";
const OPEN: &str = "01KAKCP5P0AAAAAAAAAAAAAAA2";
const REFUSED: &str = "01KAKCP5P0AAAAAAAAAAAAAAA3";

/// Writes an old log with a closed, an open and a refused exchange, and an act.
fn write_old(folder: &Path, keys: &Keys) -> LoggedPerson {
    let person = person(keys, 1);
    let pseudonym = person.pseudonym(&keys.subject_pseudonyms().epoch("2026-11-20")).to_string();
    let mut log = OldLog::begin(folder, keys, time("20T10:00:00"));
    log.intent(CLOSED, time("20T10:00:01"));
    log.window(CLOSED, time("20T10:00:02"), std::slice::from_ref(&pseudonym), &[]);
    log.intent(OPEN, time("20T10:00:03"));
    log.window(OPEN, time("20T10:00:04"), &["AAAAAAAAAAAAAAAA".to_owned()], std::slice::from_ref(&pseudonym));
    log.close(CLOSED, time("20T10:00:05"), "released");
    log.segment("rotation", time("21T00:00:00"));
    log.refusal(REFUSED, time("21T00:00:01"));
    let act = serde_json::json!({
        "act": "01KAKCP5P0AAAAAAAAAAAAAAA4", "resource": "/v1/subjects/{id}", "subject": pseudonym,
    });
    log.push("act", time("20T12:00:00"), act);
    log.stop(time("21T00:00:02"));
    person
}

fn folded(folder: &Path, running: bool) -> Vec<Value> {
    let mut all = Vec::new();
    fold(folder, &ExchangeFilter::default(), running, |one| {
        all.push(one);
        Ok(())
    })
    .unwrap();
    all
}

fn ids(folded: &[Value]) -> Vec<&str> {
    folded.iter().map(|one| one["decision"].as_str().unwrap()).collect()
}

/// Fails unless the exchanges of the old log are read.
fn check_old(folder: &Path, keys: &Keys, person: LoggedPerson) {
    let all = folded(folder, false);
    let old: Vec<&str> = ids(&all)[..3].to_vec();
    // The open exchange ends when the log, or its next process, says so.
    assert!(old.contains(&CLOSED) && old.contains(&OPEN) && old.contains(&REFUSED), "{old:?}");
    let closed = decision(LogPlace::unindexed(folder), CLOSED, false).unwrap().unwrap();
    assert_eq!((&closed["outcome"], &closed["recipient"]), (&"released".into(), &"acme".into()));
    assert_eq!((&closed["mode"], &closed["gateway"]), (&"enforce".into(), &"gateway-1".into()));
    assert_eq!(closed["categories"]["email"][0]["fields"], 2);
    assert_eq!(closed["factors"]["subjects"], "permits");
    assert_eq!(closed, all[0]);
    let open = decision(LogPlace::unindexed(folder), OPEN, false).unwrap().unwrap();
    assert_eq!(
        (&open["outcome"], &open["withheld_subjects"][0]),
        (&"aborted".into(), &closed["subjects"][0])
    );
    assert_eq!(
        decision(LogPlace::unindexed(folder), REFUSED, false).unwrap().unwrap()["outcome"],
        "refused:no-rule-permits"
    );
    // Under whatever secret the ledger has now: the old log knows fingerprints only.
    let known = LoggedPerson { secret: Some(LogSecret::from_bytes([3; 16])), ..person };
    let account = accounting(&LogSource::new(folder, keys), &[known]).unwrap();
    assert_eq!(account[0].decision, CLOSED);
    let mut found = 0;
    let filter = ActFilter { since: None, subject: Some((vec![known], keys.subject_pseudonyms())) };
    acts(LogPlace::unindexed(folder), &filter, |_| {
        found += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(found, 1);
}

#[test]
fn an_old_log_that_was_not_taken_over_is_read() {
    let (outer, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let folder = outer.path().join("audit");
    let person = write_old(&folder, &keys);
    check_old(&folder, &keys, person);
    assert!(!is_running(&folder));
    // Of the last segment that mentions one.
    assert_eq!(last_position(&folder).unwrap(), Some(Position(7)));
    let running = folded(&folder, true);
    assert_eq!(running.last().unwrap()["outcome"], Value::Null, "it may still end");
    LogSource::new(&folder, &keys).check().unwrap();
    assert!(LogSource::new(&folder, &Keys::random().unwrap()).check().is_err());
}

#[test]
fn an_old_log_is_read_before_the_new_entries() {
    let keys = Keys::random().unwrap();
    let mut log = FolderLog::in_folder(tempfile::tempdir().unwrap(), keys.clone());
    let person = write_old(&log.path().join("former"), &keys);
    let new = log.id();
    log.push(&Record::Exchange(Arc::new(head(new)), disclosure([person], &["email"])));
    check_old(log.path(), &keys, person);
    let all = folded(log.path(), true);
    assert_eq!(ids(&all), [CLOSED, REFUSED, OPEN, &new.to_string()]);
    assert!(all.iter().all(|one| one["outcome"] != Value::Null), "the old process has ended");
    assert_eq!(decision(LogPlace::unindexed(log.path()), OPEN, true).unwrap().unwrap()["outcome"], "aborted");
    let account = accounting(&log.source(), &[person]).unwrap();
    let found: Vec<&str> = account.iter().map(|one| &*one.decision).collect();
    assert_eq!(found, [CLOSED, &new.to_string()]);
    let mut kinds = Vec::new();
    export(LogPlace::unindexed(log.path()), None, |line| {
        let one: Value = serde_json::from_slice(line).unwrap();
        kinds.push(one["kind"].as_str().unwrap().to_owned());
        Ok(())
    })
    .unwrap();
    assert_eq!(kinds[..3], ["segment", "intent", "window"]);
    assert_eq!(kinds.iter().filter(|kind| *kind == "exchange").count(), 1);
    log.close();
}

/// An id that a recipient invents does not make the gateway parse the old log, unless it is of that time.
#[test]
fn a_bounded_search_reads_the_old_log_for_old_decisions_only() {
    let mut log = FolderLog::new();
    write_old(&log.path().join("former"), &log.keys);
    log.start();
    let find = |id: &str, effort| find_decision(LogPlace::unindexed(log.path()), true, [], id, effort);
    let bounded = SearchEffort::Bounded(1000);
    assert_eq!(find(CLOSED, bounded).unwrap().unwrap().record["outcome"], "released");
    let later = ulid::Ulid::from_parts(log.id().timestamp_ms() + 60_000, 7).to_string();
    assert_eq!(find(&later, SearchEffort::Exhaustive).unwrap(), None);
    for segment in std::fs::read_dir(log.path().join("former")).unwrap() {
        std::fs::write(segment.unwrap().path(), "no record\n").unwrap();
    }
    assert!(find(CLOSED, bounded).is_err() && find(&later, SearchEffort::Exhaustive).is_err());
    assert_eq!(find(&later, bounded).unwrap(), None);
}

#[test]
fn questions_say_that_an_old_log_is_not_searched() {
    let mut log = FolderLog::new();
    log.start();
    let new = log.id();
    log.push(&Record::Exchange(Arc::new(head(new)), disclosure([person(&log.keys, 1)], &["email"])));
    let asked = |log: &FolderLog, since| {
        let logs = [QuestionedLog { folder: log.path().to_owned(), index: None, running: true }];
        let question = LogQuestion { since, ..LogQuestion::default() };
        answer(&question, &logs, &AnswerCursor::default(), MAX_ANSWER).unwrap()
    };
    let faults = |answer: &Answer| answer.logs.iter().filter_map(|log| log.fault.clone()).collect::<Vec<_>>();
    assert_eq!(faults(&asked(&log, None)), [] as [&str; 0]);
    write_old(&log.path().join("former"), &log.keys);
    let answered = asked(&log, None);
    assert_eq!(ids(&answered.exchanges), [new.to_string()]);
    let folder = log.path().display().to_string();
    let fault = faults(&answered).pop().unwrap();
    assert!(fault.contains(&format!("purposegate audit show {folder}")), "{fault}");
    let (begun, later) = (log.time(), log.time() + SignedDuration::from_secs(60));
    assert_eq!(faults(&asked(&log, Some(begun))).len(), 1, "the clock may have gone back at the upgrade");
    assert_eq!(faults(&asked(&log, Some(later))), [] as [&str; 0], "the old log has ended before");
    log.close();
}

#[test]
fn an_old_log_that_was_changed_or_forged_is_an_error() {
    let log = FolderLog::new();
    let former = log.path().join("former");
    let person = write_old(&former, &log.keys);
    let account = || accounting(&log.source(), &[person]).map(|account| account.len());
    let fold_all = || fold(log.path(), &ExchangeFilter::default(), true, |_| Ok(()));
    assert_eq!(account().unwrap(), 1);
    let first = former.join("00000000000000000000.jsonl");
    let text = std::fs::read_to_string(&first).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let window = lines.iter().position(|line| line.contains("\"window\"")).unwrap();
    let changed = text.replacen("\"email\"", "\"phone\"", 1);
    let removed = [&lines[..window], &lines[window + 1..]].concat().join("\n") + "\n";
    for forged in [changed, removed] {
        std::fs::write(&first, forged).unwrap();
        assert!(matches!(account(), Err(ReadError::Damaged(path)) if path == first));
        assert!(matches!(fold_all(), Err(ReadError::Damaged(path)) if path == first));
    }
    // Lines that continue the log, and were written with another key.
    std::fs::write(&first, &text).unwrap();
    let forger = Keys::random().unwrap();
    OldLog::resume(&former, &forger).close(OPEN, time("21T00:00:03"), "refused:no-rule-permits");
    fold_all().unwrap();
    assert!(matches!(account(), Err(ReadError::Damaged(_))));
    check_readers_of_tags(&log, &forger);
    // A segment that is missing between two others.
    let log = FolderLog::new();
    let former = log.path().join("former");
    write_old(&former, &log.keys);
    OldLog::begin(&former, &log.keys, time("22T00:00:00")).stop(time("22T00:00:01"));
    let mut segments: Vec<_> = std::fs::read_dir(&former).unwrap().map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.sort();
    assert_eq!(segments.len(), 3);
    std::fs::remove_file(&segments[1]).unwrap();
    let folded = fold(log.path(), &ExchangeFilter::default(), true, |_| Ok(()));
    assert!(matches!(folded, Err(ReadError::Damaged(path)) if path == segments[2]));
}

/// Every reader refuses what was written with another key, if it has the key of the log, and else says what it did not check.
fn check_readers_of_tags(log: &FolderLog, forger: &Keys) {
    let with = |tags| LogPlace { tags, ..LogPlace::unindexed(log.path()) };
    let read = |tags| {
        let selection = LogSelection {
            folder: log.path().to_owned(),
            filter: ExchangeFilter::default(),
            running: true,
            tags,
        };
        let (mut exchanges, mut seen) = (Vec::new(), Vec::new());
        let outcomes = [
            merge(&[selection], |one| {
                exchanges.push(one);
                Ok(())
            })
            .map(drop),
            export(with(tags), None, |_| Ok(())),
            acts(with(tags), &ActFilter::default(), |act| {
                seen.push(act.tags_checked);
                Ok(())
            }),
            decision(with(tags), OPEN, true).map(|found| exchanges.extend(found)),
        ];
        (outcomes.map(|outcome| outcome.is_ok()), exchanges, seen)
    };
    for key in [&log.keys, forger] {
        assert_eq!(read(Some(TagKey::of(key))).0, [false; 4]);
    }
    let (outcomes, exchanges, seen) = read(None);
    assert_eq!((outcomes, seen), ([true; 4], vec![Some(false)]));
    let unchecked = exchanges.iter().filter(|one| one["tags_checked"] == false);
    let mut unchecked: Vec<_> = unchecked.map(|one| one["decision"].as_str().unwrap()).collect();
    unchecked.sort_unstable();
    assert_eq!(unchecked, [CLOSED, OPEN, OPEN, REFUSED]);
}
