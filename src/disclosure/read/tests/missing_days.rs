//! A day whose checkpoint is missing is damage: its entries never count as those of the day before.

use std::path::Path;
use std::sync::Arc;

use super::folder_log::FolderLog;
use crate::disclosure::entry::tests::samples::*;
use crate::disclosure::read::{ExchangeFilter, accounting, fold};
use crate::disclosure::record::*;
use crate::disclosure::storage::{LogReader, ReadError};
use crate::keys::LoggedPerson;

fn exchange(log: &mut FolderLog, about: LoggedPerson) -> String {
    let decision = log.id();
    log.push(&Record::Exchange(Arc::new(head(decision)), disclosure([about], &["email"])));
    decision.to_string()
}

/// Calls a function while the checkpoint with which a day begins is missing.
fn without_checkpoint<T>(log: &Path, first: u64, look: impl FnOnce() -> T) -> T {
    let (kept, away) = (log.join(format!("checkpoints/{first}")), tempfile::tempdir().unwrap());
    std::fs::rename(&kept, away.path().join("kept")).unwrap();
    let found = look();
    std::fs::rename(away.path().join("kept"), kept).unwrap();
    found
}

#[test]
fn a_day_without_its_checkpoint_is_damage() {
    let mut log = FolderLog::new();
    let ada = person(&log.keys, 1);
    exchange(&mut log, ada);
    for _ in 0..2 {
        log.next_day();
        exchange(&mut log, ada);
    }
    for is_published in [false, true] {
        if is_published {
            log.publish();
        }
        for first in [256, 512] {
            let (account, folded) = without_checkpoint(log.path(), first, || {
                let folded = fold(log.path(), &ExchangeFilter::default(), true, |_| Ok(()));
                (accounting(&log.source(), &[ada]), folded)
            });
            let case = format!("{first}, published: {is_published}");
            assert!(matches!(account, Err(ReadError::Damaged(_))), "{case}: {account:?}");
            assert!(matches!(folded, Err(ReadError::Damaged(_))), "{case}");
        }
        assert_eq!(accounting(&log.source(), &[ada]).unwrap().len(), 3, "all of them are there again");
    }
    // The number of the earlier checkpoints is in the first entry of the last day, which is read at once.
    let opened = without_checkpoint(log.path(), 256, || LogReader::open(log.path()).map(drop));
    assert!(matches!(opened, Err(ReadError::Damaged(path)) if path == log.path().join("checkpoints")));
}

/// An exchange far behind the first entry of its day, which the index finds.
#[cfg(feature = "sqlite")]
#[test]
fn an_index_shows_that_a_day_is_missing() {
    use crate::disclosure::questions::{AnswerCursor, LogQuestion, QuestionedLog, answer};
    let (mut log, index) = (FolderLog::new(), tempfile::tempdir().unwrap());
    let ada = person(&log.keys, 1);
    log.next_day();
    for _ in 0..300 {
        let decision = log.id();
        log.push(&Record::Refusal(Arc::new(head(decision)), "no-rule-permits"));
    }
    let decision = exchange(&mut log, ada);
    log.index(index.path());
    let source = log.source().with_index(index.path());
    assert_eq!(accounting(&source, &[ada]).unwrap()[0].decision, decision);
    let questioned =
        QuestionedLog { folder: log.path().to_owned(), index: Some(index.path().to_owned()), running: true };
    let (question, logs) = (LogQuestion::default(), [questioned]);
    let ask = || answer(&question, &logs, &AnswerCursor::default(), 1);
    assert_eq!(ask().unwrap().exchanges.len(), 1);
    let (account, answered, found) = without_checkpoint(log.path(), 256, || {
        (accounting(&source, &[ada]), ask(), super::super::decision(source.place(), &decision, true))
    });
    let kept = log.path().join("checkpoints/256");
    assert!(matches!(account, Err(ReadError::Damaged(path)) if path == kept));
    assert!(matches!(found, Err(ReadError::Damaged(path)) if path == kept));
    assert!(answered.is_err(), "{answered:?}");
}
