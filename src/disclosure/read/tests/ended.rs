//! Following a log: each exchange is handed on once it has ended, over restarts, and in bounds.

use std::sync::Arc;

use serde_json::Value;
use ulid::Ulid;

use super::folder_log::FolderLog;
use crate::disclosure::entry::tests::samples::*;
use crate::disclosure::read::ended::{
    BatchBounds, EndedBatch, ExchangeFollower, FollowedPlace, MAX_FOLLOWED_PEOPLE, without_people,
};
use crate::disclosure::read::{LogPlace, decision};
use crate::disclosure::record::*;

const BOUNDS: BatchBounds = BatchBounds { exchanges: 100, bytes: 1 << 20, entries: 100_000 };

fn follower(log: &FolderLog, place: FollowedPlace, with_people: bool) -> ExchangeFollower {
    ExchangeFollower::new(log.source(), place, with_people)
}

fn read(follower: &mut ExchangeFollower, log: &mut FolderLog) -> Vec<Value> {
    log.publish();
    lines(&follower.read(BOUNDS).unwrap())
}

fn lines(batch: &EndedBatch) -> Vec<Value> {
    batch.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn outcomes(exchanges: &[Value]) -> Vec<(String, String)> {
    let text = |exchange: &Value, member: &str| exchange[member].as_str().unwrap().to_owned();
    exchanges.iter().map(|exchange| (text(exchange, "decision"), text(exchange, "outcome"))).collect()
}

fn refuse(log: &mut FolderLog) -> Ulid {
    log.now += 1_000;
    let decision = log.id();
    log.push(&Record::Refusal(Arc::new(head(decision)), "no-rule-permits"));
    decision
}

/// Begins an exchange whose first window discloses something about these people.
fn begin(log: &mut FolderLog, people: std::ops::Range<u64>) -> Ulid {
    let decision = log.id();
    let people = people.map(|number| person(&log.keys, number)).collect::<Vec<_>>();
    let disclosure = disclosure(people, &["email"]);
    log.push(&Record::Window { exchange: ExchangeReference::First(Arc::new(head(decision))), disclosure });
    decision
}

fn close(log: &mut FolderLog, decision: Ulid) {
    log.push(&Record::Close { decision, outcome: Outcome::Released });
}

#[test]
fn an_exchange_is_handed_on_once_it_has_ended() {
    let mut log = FolderLog::new();
    let mut follower = follower(&log, FollowedPlace::default(), true);
    let refused = refuse(&mut log);
    let windowed = begin(&mut log, 0..3);
    assert_eq!(
        outcomes(&read(&mut follower, &mut log)),
        [(refused.to_string(), "refused:no-rule-permits".to_owned())]
    );
    assert_eq!(read(&mut follower, &mut log), Vec::<Value>::new());
    close(&mut log, windowed);
    let exchanges = read(&mut follower, &mut log);
    assert_eq!(outcomes(&exchanges), [(windowed.to_string(), "released".to_owned())]);
    let whole = decision(LogPlace::unindexed(log.path()), &windowed.to_string(), true).unwrap().unwrap();
    assert_eq!(exchanges, [whole]);
    assert_eq!(follower.place().under_way, [""; 0]);
}

#[test]
fn a_correction_hands_the_exchange_on_again() {
    let mut log = FolderLog::new();
    let mut follower = follower(&log, FollowedPlace::default(), false);
    let decision = log.id();
    log.push(&Record::Exchange(Arc::new(head(decision)), disclosure([person(&log.keys, 1)], &["email"])));
    assert_eq!(outcomes(&read(&mut follower, &mut log)), [(decision.to_string(), "released".to_owned())]);
    log.push(&Record::Correction { decision, outcome: Outcome::Aborted, disclosure: None });
    assert_eq!(outcomes(&read(&mut follower, &mut log)), [(decision.to_string(), "aborted".to_owned())]);
}

#[test]
fn nothing_is_missed_over_a_restart() {
    let mut log = FolderLog::new();
    let mut first = follower(&log, FollowedPlace::default(), false);
    let closed = begin(&mut log, 0..2);
    let killed = begin(&mut log, 0..2);
    refuse(&mut log);
    assert_eq!(read(&mut first, &mut log).len(), 1);
    let text = serde_json::to_string(&first.place()).unwrap();
    let place: FollowedPlace = serde_json::from_str(&text).unwrap();
    assert_eq!(place.under_way.len(), 2);

    close(&mut log, closed);
    log.start();
    let mut second = follower(&log, place, false);
    let exchanges = read(&mut second, &mut log);
    let expected = [(closed.to_string(), "released".to_owned()), (killed.to_string(), "aborted".to_owned())];
    assert_eq!(outcomes(&exchanges), expected);
    for exchange in &exchanges {
        let whole = exchange["decision"].as_str().unwrap();
        let mut whole = decision(LogPlace::unindexed(log.path()), whole, true).unwrap().unwrap();
        for member in ["actor", "subjects", "withheld_subjects", "case", "declared"] {
            whole.as_object_mut().unwrap().remove(member).unwrap();
        }
        assert_eq!(*exchange, whole, "without people and texts, and the same else");
    }
}

#[test]
fn a_batch_has_bounds_and_goes_on() {
    let mut log = FolderLog::new();
    let mut follower = follower(&log, FollowedPlace::default(), false);
    let all: Vec<String> = (0..50).map(|_| refuse(&mut log).to_string()).collect();
    log.publish();
    for bounds in [
        BatchBounds { exchanges: 7, ..BOUNDS },
        BatchBounds { bytes: 1, ..BOUNDS },
        BatchBounds { entries: 3, ..BOUNDS },
    ] {
        let mut follower = ExchangeFollower::new(log.source(), FollowedPlace::default(), false);
        let (mut found, mut more) = (Vec::new(), true);
        while more {
            let batch = follower.read(bounds).unwrap();
            assert!(batch.lines.len() <= 7);
            found.extend(outcomes(&lines(&batch)).into_iter().map(|(decision, _)| decision));
            more = batch.more;
        }
        assert_eq!(found, all);
    }
    assert_eq!(follower.read(BOUNDS).unwrap().lines.len(), 50);
}

#[test]
fn entries_that_were_deleted_are_counted_and_reading_goes_on() {
    let mut log = FolderLog::new();
    let mut follower = follower(&log, FollowedPlace::default(), false);
    refuse(&mut log);
    assert_eq!(read(&mut follower, &mut log).len(), 1);
    let behind = FollowedPlace { next: 0, ..follower.place() };
    refuse(&mut log);
    log.next_day();
    let kept = refuse(&mut log);
    log.prune();
    let mut follower = ExchangeFollower::new(log.source(), behind, false);
    let batch = follower.read(BOUNDS).unwrap();
    assert!(batch.deleted > 1, "{}", batch.deleted);
    assert_eq!(outcomes(&lines(&batch))[0].0, kept.to_string());
}

#[test]
fn another_log_is_read_from_its_beginning() {
    let mut log = FolderLog::new();
    let refused = refuse(&mut log);
    let under_way = vec![refused.to_string()];
    let place = FollowedPlace { origin: "another".to_owned(), next: 1_000, under_way, tree: None };
    let mut follower = follower(&log, place, false);
    assert_eq!(outcomes(&read(&mut follower, &mut log))[0].0, refused.to_string());
    assert_eq!(follower.place().under_way, [""; 0]);
}

#[test]
fn a_log_that_was_cut_off_and_has_grown_again_is_read_from_its_beginning() {
    let mut log = FolderLog::new();
    let mut first = follower(&log, FollowedPlace::default(), false);
    refuse(&mut log);
    assert_eq!(read(&mut first, &mut log).len(), 1);
    let place = first.place();
    refuse(&mut log);
    assert_eq!(read(&mut follower(&log, place.clone(), false), &mut log).len(), 1, "it only grew");

    // The same origin, other entries, and more of them than the place counts.
    let mut other = FolderLog::new();
    let refused: Vec<String> = (0..3).map(|_| refuse(&mut other).to_string()).collect();
    let origin = place.origin.clone();
    let mut second = follower(&other, place, false);
    let exchanges = read(&mut second, &mut other);
    assert_eq!(second.place().origin, origin);
    let read: Vec<String> = outcomes(&exchanges).into_iter().map(|(decision, _)| decision).collect();
    assert_eq!(read, refused);
}

#[test]
fn the_people_of_a_line_can_be_left_out_afterwards() {
    let mut log = FolderLog::new();
    let mut with_people = follower(&log, FollowedPlace::default(), true);
    let decision = begin(&mut log, 0..2);
    close(&mut log, decision);
    log.publish();
    let line = with_people.read(BOUNDS).unwrap().lines.remove(0);
    let without = without_people(&line).unwrap();
    let (before, after): (Value, Value) =
        (serde_json::from_str(&line).unwrap(), serde_json::from_str(&without).unwrap());
    assert_eq!(before["subjects"].as_array().unwrap().len(), 2);
    assert_eq!((&after["subjects"], &after["subjects_omitted"]), (&Value::Null, &true.into()));
    assert_eq!(before["decision"], after["decision"]);
    assert_eq!(without_people(&without), None, "it names nobody");
}

#[test]
fn an_exchange_about_too_many_people_names_none() {
    let mut log = FolderLog::new();
    let mut follower = follower(&log, FollowedPlace::default(), true);
    let many = begin(&mut log, 0..MAX_FOLLOWED_PEOPLE as u64 + 1);
    close(&mut log, many);
    let few = begin(&mut log, 0..2);
    close(&mut log, few);
    let exchanges = read(&mut follower, &mut log);
    assert_eq!((&exchanges[0]["subjects"], &exchanges[0]["subjects_omitted"]), (&Value::Null, &true.into()));
    assert_eq!(exchanges[0]["factors"]["subjects"], "permits");
    assert_eq!(exchanges[1]["subjects"].as_array().unwrap().len(), 2);
}

/// Reads everything in batches, each by a follower that begins at the place after the one before.
fn read_with_restarts(log: &FolderLog, place: FollowedPlace, bounds: BatchBounds) -> Vec<EndedBatch> {
    let (mut place, mut batches) = (place, Vec::new());
    loop {
        let mut follower = follower(log, place, false);
        let batch = follower.read(bounds).unwrap();
        place = serde_json::from_str(&serde_json::to_string(&follower.place()).unwrap()).unwrap();
        let more = batch.more;
        batches.push(batch);
        if !more {
            return batches;
        }
    }
}

#[test]
fn a_batch_has_no_more_bytes_than_its_bound_and_nothing_is_lost_at_it() {
    let mut log = FolderLog::new();
    let mut all: Vec<String> = (0..20).map(|_| refuse(&mut log).to_string()).collect();
    let windowed = begin(&mut log, 0..3);
    all.extend((0..3).map(|_| refuse(&mut log).to_string()));
    close(&mut log, windowed);
    all.push(windowed.to_string());
    log.publish();
    let line = follower(&log, FollowedPlace::default(), false).read(BOUNDS).unwrap().lines.remove(0);
    let bounds = BatchBounds { bytes: 3 * (line.len() + 1), ..BOUNDS };
    let in_memory = |bounds| {
        let mut follower = follower(&log, FollowedPlace::default(), false);
        let (mut batches, mut more) = (Vec::new(), true);
        while more {
            let batch = follower.read(bounds).unwrap();
            more = batch.more;
            batches.push(batch);
        }
        batches
    };
    for batches in [in_memory(bounds), read_with_restarts(&log, FollowedPlace::default(), bounds)] {
        for batch in &batches {
            let bytes = batch.lines.iter().map(|line| line.len() + 1).sum::<usize>();
            assert!(bytes <= bounds.bytes || batch.lines.len() == 1, "{bytes}");
        }
        assert!(batches.len() >= 8, "{}", batches.len());
        let found: Vec<String> =
            batches.iter().flat_map(|batch| outcomes(&lines(batch))).map(|(decision, _)| decision).collect();
        assert_eq!(found, all);
    }
}

#[test]
fn the_exchanges_of_a_dead_process_are_handed_on_in_bounds() {
    let mut log = FolderLog::new();
    let mut first = follower(&log, FollowedPlace::default(), false);
    let mut killed: Vec<String> = (0..20).map(|_| begin(&mut log, 0..2).to_string()).collect();
    killed.sort_unstable();
    assert_eq!(read(&mut first, &mut log), Vec::<Value>::new());
    let place = first.place();
    log.start();
    let after = refuse(&mut log);
    log.publish();
    let bounds = BatchBounds { exchanges: 7, ..BOUNDS };
    let mut remembered = Vec::new();
    while remembered.len() < 3 {
        remembered.push(first.read(bounds).unwrap());
    }
    for batches in [remembered, read_with_restarts(&log, place, bounds)] {
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.lines.len()).collect();
        assert_eq!(sizes, [7, 7, 7]);
        let found: Vec<String> =
            batches.iter().flat_map(|batch| outcomes(&lines(batch))).map(|(decision, _)| decision).collect();
        assert_eq!(found[..20], killed);
        assert_eq!(found[20], after.to_string());
    }
}

#[test]
fn what_is_before_a_part_that_cannot_be_read_is_handed_on() {
    let mut log = FolderLog::new();
    let all: Vec<String> = (0..600).map(|_| refuse(&mut log).to_string()).collect();
    log.publish();
    let mut follower = follower(&log, FollowedPlace::default(), false);
    let (second, away) = (log.path().join("tile/entries/001"), log.path().join("away"));
    std::fs::rename(&second, &away).unwrap();
    let bounds = BatchBounds { exchanges: 1_000, ..BOUNDS };
    let before = follower.read(bounds).unwrap();
    assert!(before.more && (200..256).contains(&before.lines.len()), "{}", before.lines.len());
    assert!(follower.read(bounds).is_err());
    assert!(follower.read(bounds).is_err());
    std::fs::rename(&away, &second).unwrap();
    let mut found = lines(&before);
    found.extend(lines(&follower.read(bounds).unwrap()));
    let found: Vec<String> = outcomes(&found).into_iter().map(|(decision, _)| decision).collect();
    assert_eq!(found, all);
}

#[test]
fn people_are_counted_once_and_not_collected_for_nobody() {
    let mut log = FolderLog::new();
    let (mut with, mut without) =
        (follower(&log, FollowedPlace::default(), true), follower(&log, FollowedPlace::default(), false));
    let most = MAX_FOLLOWED_PEOPLE as u64;
    let same = begin(&mut log, 0..most);
    let many = begin(&mut log, 0..most);
    let window = |log: &mut FolderLog, decision: Ulid, people: std::ops::Range<u64>| {
        let people = people.map(|number| person(&log.keys, number)).collect::<Vec<_>>();
        let disclosure = disclosure(people, &["email"]);
        log.push(&Record::Window { exchange: ExchangeReference::Later(decision), disclosure });
    };
    window(&mut log, same, 0..most);
    window(&mut log, many, most..most + 5);
    for people in 0..9 {
        window(&mut log, many, people * 20..people * 20 + 10);
    }
    for follower in [&mut with, &mut without] {
        assert_eq!(read(follower, &mut log), Vec::<Value>::new());
    }
    assert_eq!((with.people_in_memory(), without.people_in_memory()), (MAX_FOLLOWED_PEOPLE + 1, 2));
    close(&mut log, same);
    close(&mut log, many);
    let exchanges = read(&mut with, &mut log);
    assert_eq!(exchanges[0]["subjects"].as_array().unwrap().len(), MAX_FOLLOWED_PEOPLE);
    assert_eq!((&exchanges[1]["subjects"], &exchanges[1]["subjects_omitted"]), (&Value::Null, &true.into()));
    let exchanges = read(&mut without, &mut log);
    assert_eq!(exchanges[1]["factors"]["subjects"], "permits");
}
