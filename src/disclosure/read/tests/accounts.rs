//! Accounts of disclosures, and acts.

use std::sync::Arc;

use ulid::Ulid;

use super::folder_log::FolderLog;
use crate::disclosure::entry::tests::samples::*;
use crate::disclosure::read::{ActFilter, LogPlace, LogSource, RecordedAct, accounting, acts, decision};
use crate::disclosure::record::*;
use crate::disclosure::storage::ReadError;
use crate::keys::{Keys, LogSecret, LoggedPerson};

fn exchange(log: &mut FolderLog, given: Disclosure) -> Ulid {
    let decision = log.id();
    log.push(&Record::Exchange(Arc::new(head(decision)), given));
    decision
}

fn accounted(log: &FolderLog, person: &[LoggedPerson]) -> Vec<(String, usize)> {
    let all = accounting(&log.source(), person).unwrap();
    all.into_iter().map(|one| (one.decision, one.people)).collect()
}

/// A person is found under the fingerprint of the days before the ledger knew them, and under the log secret afterwards;
/// without the secret, only the first remain.
#[test]
fn a_person_is_found_by_secret_and_by_fingerprint_each_day() {
    let mut log = FolderLog::new();
    let fingerprint = person(&log.keys, 1).fingerprint;
    let unknown = LoggedPerson::unknown(fingerprint);
    let known = LoggedPerson { fingerprint, secret: Some(LogSecret::from_bytes([7; 16])) };
    let mut expected = Vec::new();
    for person in [unknown, known, unknown, known] {
        expected.push(exchange(&mut log, disclosure([person], &["email"])).to_string());
        log.next_day();
    }
    let found = |person: LoggedPerson| -> Vec<String> {
        accounted(&log, &[person]).into_iter().map(|(decision, _)| decision).collect()
    };
    assert_eq!(found(known), expected);
    assert_eq!(found(unknown), [expected[0].clone(), expected[2].clone()]);
    let other = LoggedPerson { fingerprint, secret: Some(LogSecret::from_bytes([8; 16])) };
    assert_eq!(found(other), found(unknown), "another secret finds nothing");
}

/// Other people are counted over all parts of a disclosure, and the categories of the first part belong to all.
#[test]
fn a_person_in_a_later_part_has_the_categories_of_the_first() {
    let mut log = FolderLog::new();
    let keys = log.keys.clone();
    let everybody = (0..12_001).map(|number| person(&keys, number));
    let decision = exchange(&mut log, disclosure(everybody, &["email", "name"]));
    for number in [0, 6_000, 12_000] {
        let found = accounting(&log.source(), &[person(&keys, number)]).unwrap();
        assert_eq!(found.len(), 1, "{number}");
        assert_eq!((&found[0].decision, found[0].people), (&decision.to_string(), 12_001));
        let categories: Vec<&str> = found[0].categories.iter().map(|one| &*one.category).collect();
        assert_eq!(categories, ["email", "name"]);
    }
    assert!(accounted(&log, &[person(&keys, 99_999)]).is_empty());
}

/// A correction adds disclosures and takes none back; an exchange whose process died counts.
#[test]
fn an_account_says_at_least_what_left() {
    let mut log = FolderLog::new();
    let (ada, ben) = (person(&log.keys, 1), person(&log.keys, 2));
    let corrected = exchange(&mut log, disclosure([ada], &["email"]));
    let died = log.id();
    let exchange = ExchangeReference::First(Arc::new(head(died)));
    log.push(&Record::Window { exchange, disclosure: disclosure([ada], &["name"]) });
    let refused = log.id();
    log.push(&Record::Intent(Arc::new(head(refused))));
    let exchange = ExchangeReference::Later(refused);
    log.push(&Record::Window { exchange, disclosure: disclosure([ada], &["name"]) });
    let outcome = Outcome::Refused("subject-withheld");
    log.push(&Record::Close { decision: refused, outcome });
    let more = Some(disclosure([ben], &["phone"]));
    log.push(&Record::Correction { decision: corrected, outcome, disclosure: more });
    log.push(&Record::Correction { decision: corrected, outcome: Outcome::Aborted, disclosure: None });
    log.start();
    let expected = {
        let mut expected = [corrected, died].map(|decision| (decision.to_string(), 1));
        expected.sort();
        expected
    };
    assert_eq!(accounted(&log, &[ada]), expected);
    assert_eq!(accounted(&log, &[ben]), [(corrected.to_string(), 1)]);
}

#[test]
fn a_log_of_other_keys_is_no_log_without_disclosures() {
    let mut log = FolderLog::new();
    log.publish();
    let source = LogSource::new(log.path(), &Keys::random().unwrap());
    assert!(matches!(source.check(), Err(ReadError::OtherKeys(_))));
    assert!(matches!(accounting(&source, &[]), Err(ReadError::OtherKeys(_))));
    log.source().check().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let source = LogSource::new(empty.path(), &log.keys);
    assert!(matches!(source.check(), Err(ReadError::Empty(_))));
    let missing = LogSource::new(&empty.path().join("none"), &log.keys);
    assert!(matches!(missing.check(), Err(ReadError::Io { .. })));
}

#[test]
fn a_log_that_is_gone_in_part_is_no_log_without_disclosures() {
    let mut log = FolderLog::new();
    log.next_day();
    log.publish();
    let (source, origin) = (log.source(), log.path().join("origin"));
    let line = std::fs::read(&origin).unwrap();
    let is_damaged = |what: &str| {
        assert!(matches!(source.check(), Err(ReadError::Damaged(path)) if path == origin), "{what}");
        assert!(accounting(&source, &[]).is_err(), "{what}");
        let found = decision(LogPlace::unindexed(log.path()), &log.id().to_string(), true);
        assert!(matches!(found, Err(ReadError::Damaged(_))), "{what}");
    };
    // As a part of a line, and not at all.
    std::fs::write(&origin, &line[..4]).unwrap();
    is_damaged("torn");
    std::fs::remove_file(&origin).unwrap();
    is_damaged("missing");
    for rest in ["tile", "journal", "checkpoint", "checkpoints"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::rename(log.path().join(rest), folder.path().join(rest)).unwrap();
        let source = LogSource::new(folder.path(), &log.keys);
        assert!(matches!(source.check(), Err(ReadError::Damaged(_))), "{rest}");
    }
}

#[test]
fn acts_are_found_by_person_and_time() {
    let mut log = FolderLog::new();
    let (ada, ben) = (person(&log.keys, 1), person(&log.keys, 2));
    let mut written = Vec::new();
    for (subject, reason) in [(ada, Some("request \"17\"")), (ben, None), (ada, None)] {
        log.now += 1_000;
        let act = ActRecord {
            act: log.id(),
            actor: reason.map(|_| "kim".into()),
            role: Some("privacy"),
            resource: "/v1/subjects/{id}",
            subject: Some(subject),
            decision: None,
            reason: reason.map(Into::into),
        };
        written.push(act.act.to_string());
        log.push(&Record::Act(act));
        log.next_day();
    }
    let found = |filter: ActFilter| {
        let mut found: Vec<RecordedAct> = Vec::new();
        acts(LogPlace::unindexed(log.path()), &filter, |act| {
            found.push(act.clone());
            Ok(())
        })
        .unwrap();
        found
    };
    let ids = |filter| found(filter).into_iter().map(|act| act.act).collect::<Vec<_>>();
    assert_eq!(ids(ActFilter::default()), written);
    let of = |person| ActFilter {
        subject: Some((vec![person], log.keys.subject_pseudonyms())),
        ..ActFilter::default()
    };
    assert_eq!(ids(of(ada)), [written[0].clone(), written[2].clone()]);
    assert_eq!(ids(of(ben)), [written[1].clone()]);
    let since = found(ActFilter::default())[1].time;
    assert_eq!(ids(ActFilter { since: Some(since), ..ActFilter::default() }), written[1..]);
    let first = &found(ActFilter::default())[0];
    assert_eq!((first.actor.as_deref(), first.reason.as_deref()), (Some("kim"), Some("request \"17\"")));
    assert_eq!((first.gateway.as_deref(), &*first.resource), (Some("gateway-1"), "/v1/subjects/{id}"));
    assert!(log.folded(&crate::disclosure::ExchangeFilter::default(), true).is_empty(), "no exchange");
}
