//! Answers in pages: from logs and indexes that cannot be read for a while, and from logs without an index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::date;
use serde_json::Value;

use super::WrittenLog;
use crate::disclosure::questions::answer::answer_within;
use crate::disclosure::questions::{Answer, AnswerCursor, LogQuestion, QuestionedLog, answer};
use crate::disclosure::record::{Disclosure, ExchangeReference, Outcome, Record};
use crate::disclosure::storage::ReadError;

impl WrittenLog {
    fn questioned(&self, is_indexed: bool) -> QuestionedLog {
        let index = is_indexed.then(|| self.index.path().to_owned());
        QuestionedLog { folder: self.folder.path().to_owned(), index, running: true }
    }

    /// Writes an exchange that has ended, and returns its decision.
    fn exchange(&mut self, number: u128) -> String {
        self.now += SignedDuration::from_millis(2);
        let head = self.head("acme", number);
        let decision = head.decision.to_string();
        self.write(&Record::Exchange(Arc::new(head), Disclosure::default()));
        decision
    }

    /// Writes so many exchanges that have ended.
    pub(in crate::disclosure) fn exchanges(&mut self, count: u128) {
        let first = u128::from(self.now.as_millisecond().unsigned_abs()) << 16;
        (first..first + count).for_each(|number| drop(self.exchange(number)));
    }

    /// Begins an exchange with a window.
    fn window(&mut self, number: u128) -> ulid::Ulid {
        self.now += SignedDuration::from_millis(2);
        let head = self.head("stream", number);
        let decision = head.decision;
        let exchange = ExchangeReference::First(Arc::new(head));
        self.write(&Record::Window { exchange, disclosure: Disclosure::default() });
        decision
    }

    fn close(&mut self, decision: ulid::Ulid) {
        self.write(&Record::Close { decision, outcome: Outcome::Released });
    }
}

fn ask(log: &WrittenLog, cursor: &AnswerCursor, limit: usize) -> Answer {
    answer(&LogQuestion::default(), &[log.questioned(false)], cursor, limit).unwrap()
}

fn decisions(answer: &Answer) -> impl Iterator<Item = String> {
    answer.exchanges.iter().map(|exchange| exchange["decision"].as_str().unwrap().to_owned())
}

/// Returns the cursor after it was sent to somebody and back.
fn sent(cursor: &AnswerCursor) -> AnswerCursor {
    AnswerCursor::parse(&cursor.text()).unwrap()
}

/// Makes a log unreadable as long as it exists.
struct MovedAway(PathBuf, PathBuf);

impl MovedAway {
    /// Moves a file or folder away.
    fn make(path: &Path) -> MovedAway {
        let away = path.with_extension("away");
        std::fs::rename(path, &away).unwrap();
        MovedAway(path.to_owned(), away)
    }
}

impl Drop for MovedAway {
    fn drop(&mut self) {
        std::fs::rename(&self.1, &self.0).unwrap();
    }
}

/// Writes two logs of 600 exchanges, which alternate, and returns the decisions.
fn two_logs() -> ([WrittenLog; 2], Vec<String>) {
    let day = date(2026, 11, 27);
    let mut logs = [WrittenLog::begin_as("one/5f2c09ab", day), WrittenLog::begin_as("two/81d0c3fe", day)];
    let mut written = Vec::new();
    for number in 0..600 {
        for (other, log) in logs.iter_mut().enumerate() {
            log.now += SignedDuration::from_millis(1);
            written.push(log.exchange(2 * number + other as u128));
        }
    }
    for log in &mut logs {
        log.publish();
        #[cfg(feature = "sqlite")]
        log.update_index();
    }
    written.sort_unstable();
    (logs, written)
}

/// Asks two logs in pages. For one of the pages, a file of a log, or its folder, is away. Returns the decisions.
fn asked_with_a_fault(logs: &[QuestionedLog; 2], page: usize, file: &Path) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), AnswerCursor::default());
    for number in 0.. {
        let away = (number == page).then(|| MovedAway::make(file));
        let answered = answer(&LogQuestion::default(), logs, &cursor, 150);
        drop(away);
        let answered = match answered {
            Ok(answered) => answered,
            // Only that log has more: the caller asks again.
            Err(_) if number == page => continue,
            Err(error) => panic!("{error}"),
        };
        found.extend(decisions(&answered));
        assert!(number == page || answered.logs.iter().all(|log| log.fault.is_none()), "{:?}", answered.logs);
        let Some(next) = answered.next else { break };
        cursor = sent(&next);
    }
    found
}

#[test]
fn a_log_that_cannot_be_read_for_one_page_goes_on_where_it_was() {
    let (written, expected) = two_logs();
    for is_indexed in [false, true] {
        let logs = [written[0].questioned(is_indexed), written[1].questioned(is_indexed)];
        for folder in logs.each_ref().map(|log| &*log.folder) {
            // The second file is that of a bundle in the middle: the log is opened, and fails while it is read.
            for file in [folder.to_owned(), folder.join("tile/entries/001")] {
                for page in [0, 1, 4, 7] {
                    let mut found = asked_with_a_fault(&logs, page, &file);
                    found.sort_unstable();
                    assert_eq!(found, expected, "page {page} without {}", file.display());
                }
            }
        }
    }
}

#[test]
fn a_log_that_fails_while_it_is_read_is_a_fault_of_the_answer() {
    let (written, _) = two_logs();
    let logs = [written[0].questioned(false), written[1].questioned(false)];
    let _away = MovedAway::make(&logs[1].folder.join("tile/entries/001"));
    let answered = answer(&LogQuestion::default(), &logs, &AnswerCursor::default(), 450).unwrap();
    assert_eq!(answered.exchanges.len(), 450);
    assert!(answered.logs[0].fault.is_none());
    let fault = answered.logs[1].fault.as_ref().unwrap();
    assert!(fault.contains("tile/entries/001") && answered.logs[1].origin.is_some(), "{fault}");
    // The other log has 600 exchanges.
    let mut cursor = answered.next.unwrap();
    let rest = answer(&LogQuestion::default(), &logs, &sent(&cursor), 500).unwrap();
    cursor = rest.next.unwrap();
    let only_unreadable = answer(&LogQuestion::default(), &logs, &sent(&cursor), 500);
    assert!(matches!(only_unreadable, Err(ReadError::Io { .. })), "an answer without progress has no cursor");
}

#[test]
fn an_answer_ends_although_a_log_was_never_readable() {
    let (written, _) = two_logs();
    let logs = [written[0].questioned(false), written[1].questioned(false)];
    let _away = MovedAway::make(&logs[1].folder);
    let nobody = LogQuestion { recipient: Some("nobody".to_owned()), ..LogQuestion::default() };
    let answered = answer(&nobody, &logs, &AnswerCursor::default(), 10).unwrap();
    assert!(answered.next.is_none() && answered.exchanges.is_empty());
    assert!(answered.logs[1].fault.is_some());
}

/// Any of the tables that a question reads is missing, as it is in a file that was damaged.
#[test]
#[cfg(feature = "sqlite")]
fn an_index_that_fails_is_done_without() {
    use crate::disclosure::index;
    let mut log = WrittenLog::begin(date(2026, 11, 27));
    let open: Vec<_> = (0..3).map(|number| log.window(9000 + number)).collect();
    (0..700).for_each(|number| drop(log.exchange(number)));
    log.publish();
    log.update_index();
    log.close(open[0]);
    log.exchange(800);
    let database = index::file(log.index.path(), log.reader().origin());
    let database = rusqlite::Connection::open(database).unwrap();
    for table in ["decision", "open_exchange", "facet", "facet_entry"] {
        database.execute_batch(&format!("ALTER TABLE {table} RENAME TO missing")).unwrap();
        for (recipient, outcome) in [(None, None), (Some("stream"), None), (None, Some("released"))] {
            let [recipient, outcome] = [recipient, outcome].map(|name: Option<&str>| name.map(str::to_owned));
            let question = LogQuestion { recipient, outcome, ..LogQuestion::default() };
            let all = |is_indexed| {
                let (mut found, mut cursor) = (Vec::new(), AnswerCursor::default());
                loop {
                    let page = answer(&question, &[log.questioned(is_indexed)], &cursor, 300).unwrap();
                    assert_eq!(page.logs[0].fault, None);
                    found.extend(page.exchanges);
                    let Some(next) = page.next else { return found };
                    cursor = sent(&next);
                }
            };
            let found = all(true);
            assert!(!found.is_empty());
            assert_eq!(found, all(false), "without {table}: {question:?}");
        }
        database.execute_batch(&format!("ALTER TABLE missing RENAME TO {table}")).unwrap();
    }
}

/// With a bound of 300 entries, pages at the end of a log of 3,000 could not be read from its beginning.
#[test]
fn a_page_without_an_index_goes_on_without_reading_the_ones_before() {
    let mut log = WrittenLog::begin(date(2026, 11, 27));
    let mut expected = Vec::new();
    for number in 0..3000 {
        if number % 300 == 0 {
            let decision = log.window(10_000 + number);
            log.exchange(20_000 + number);
            log.close(decision);
        }
        expected.push(log.exchange(number));
    }
    let question = LogQuestion { recipient: Some("acme".to_owned()), ..LogQuestion::default() };
    let (mut found, mut cursor) = (Vec::new(), AnswerCursor::default());
    loop {
        let page = answer_within(300, &question, &[log.questioned(false)], &cursor, 70).unwrap();
        found.extend(decisions(&page));
        let Some(next) = page.next else { break };
        cursor = sent(&next);
        // The log grows meanwhile.
        log.exchange(30_000 + found.len() as u128);
    }
    assert_eq!(found.len(), 3010);
    found.sort_unstable();
    assert!(expected.iter().all(|decision| found.binary_search(decision).is_ok()));
}

/// Its last entry has to be read again for each page until its first one is reached.
#[test]
fn an_exchange_that_is_too_long_for_a_question_needs_an_index() {
    let mut log = WrittenLog::begin(date(2026, 11, 27));
    let long = log.window(1);
    (0..700).for_each(|number| drop(log.exchange(10 + number)));
    log.close(long);
    log.publish();
    let ask = |log: &WrittenLog, max, cursor: &AnswerCursor, is_indexed| {
        answer_within(max, &LogQuestion::default(), &[log.questioned(is_indexed)], cursor, 400)
    };
    let cursor = ask(&log, 1000, &AnswerCursor::default(), false).unwrap().next.unwrap();
    let failed = ask(&log, 300, &sent(&cursor), false);
    assert!(matches!(failed, Err(ReadError::NotIndexed(_))));
    let released = |answered: Answer| answered.exchanges.last().unwrap()["outcome"] == "released";
    assert!(released(ask(&log, 1000, &sent(&cursor), false).unwrap()));
    #[cfg(feature = "sqlite")]
    {
        log.update_index();
        assert!(released(ask(&log, 300, &sent(&cursor), true).unwrap()));
    }
}

/// A cursor leaves out entries that were read, and none that was written since.
#[test]
fn what_happens_between_two_pages_is_in_the_later_one() {
    let mut log = WrittenLog::begin(date(2026, 11, 27));
    let before_restart = log.window(1);
    log.restart();
    let [closed, open, aborted] = [2, 3, 4].map(|number| log.window(number));
    (0..600).for_each(|number| drop(log.exchange(10 + number)));
    let first = ask(&log, &AnswerCursor::default(), 300);
    log.close(closed);
    let second = ask(&log, &sent(&first.next.unwrap()), 290);
    log.close(open);
    log.restart();
    let third = ask(&log, &sent(&second.next.unwrap()), 300);
    let outcome = |decision: ulid::Ulid| {
        let is_it = |exchange: &&Value| exchange["decision"] == decision.to_string();
        third.exchanges.iter().find(is_it).map(|exchange| exchange["outcome"].clone())
    };
    assert_eq!(outcome(closed), Some("released".into()));
    assert_eq!(outcome(open), Some("released".into()));
    assert_eq!(outcome(aborted), Some("aborted".into()));
    assert_eq!(outcome(before_restart), Some("aborted".into()));
    assert!(third.next.is_none());
}

#[test]
fn an_exchange_before_a_start_that_was_read_is_not_under_way() {
    let mut log = WrittenLog::begin(date(2026, 11, 27));
    let old = log.window(1);
    log.restart();
    let open = log.window(2);
    (0..600).for_each(|number| drop(log.exchange(10 + number)));
    let mut cursor = AnswerCursor::default();
    for _ in 0..2 {
        cursor = sent(&ask(&log, &cursor, 300).next.unwrap());
    }
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let page = ask(&log, &cursor, 1);
        outcomes.push((page.exchanges[0]["decision"].clone(), page.exchanges[0]["outcome"].clone()));
        cursor = page.next.as_ref().map(sent).unwrap_or_default();
    }
    let expected = [(open, Value::Null), (old, "aborted".into())];
    assert_eq!(outcomes, expected.map(|(decision, outcome)| (decision.to_string().into(), outcome)));
}

#[test]
fn a_log_and_its_fork_are_read_and_what_both_have_once() {
    let mut log = WrittenLog::begin(date(2026, 11, 27));
    let mut expected: Vec<String> = (0..400).map(|number| log.exchange(number)).collect();
    let open = log.window(1000);
    log.publish();
    let mut fork = log.fork();
    fork.now += SignedDuration::from_millis(1);
    for number in 0..300 {
        expected.push(log.exchange(2000 + number));
        expected.push(fork.exchange(3000 + number));
    }
    fork.close(open);
    log.exchanges(10);
    let logs = [&fork, &log].map(|log| log.questioned(false));
    let question = LogQuestion::default();
    for (logs, is_swapped) in [(logs.clone(), false), ([logs[1].clone(), logs[0].clone()], true)] {
        let (mut found, mut cursor) = (Vec::new(), AnswerCursor::default());
        loop {
            let page = answer(&question, &logs, &cursor, 70).unwrap();
            let faults: Vec<_> = page.logs.iter().filter_map(|log| log.fault.as_ref()).collect();
            assert!(faults.len() == 2 && faults.iter().all(|fault| fault.contains("is no copy of it")));
            found.extend(decisions(&page));
            let Some(next) = page.next else { break };
            cursor = sent(&next);
        }
        assert!(expected.iter().all(|decision| found.contains(decision)), "swapped: {is_swapped}");
        let of_open = found.iter().filter(|decision| **decision == open.to_string()).count();
        assert_eq!((of_open, found.len()), (2, expected.len() + 12), "it goes on differently");
    }
}
