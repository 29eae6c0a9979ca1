//! Answers questions from one log or several, newest exchanges first.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use ulid::Ulid;

use super::candidates::{Candidate, CandidateSearch, CandidateStep};
use super::{AnswerCursor, LogExtent, LogQuestion, QuestionError};
#[cfg(feature = "sqlite")]
use crate::disclosure::index::LogIndex;
use crate::disclosure::read::decoded_log::DecodedLog;
use crate::disclosure::read::fold::{FoldedExchange, SearchEffort};
use crate::disclosure::record::time_of;
use crate::disclosure::storage::{LogReader, ReadError};

/// Maximum number of exchanges of an answer.
pub const MAX_ANSWER: usize = 500;

/// Maximum number of entries that are read of each log for an answer. An answer that ends there has a cursor.
const MAX_READ: u64 = 1 << 18;

/// A log of which a question is asked.
#[derive(Clone, Debug)]
pub struct QuestionedLog {
    /// The folder of the log.
    pub folder: PathBuf,
    /// The folder of its index, if there may be one.
    pub index: Option<PathBuf>,
    /// True if a gateway writes the log.
    pub running: bool,
}

/// An answer, or a part of it.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The exchanges as `audit show` has them, newest first.
    pub exchanges: Vec<Value>,
    /// The place at which the answer goes on; `None` at its end.
    pub next: Option<AnswerCursor>,
    /// The logs that were read.
    pub logs: Vec<LogExtent>,
}

/// Answers a question with at most `limit` exchanges from a cursor on. A log that cannot be read, and one of an earlier version,
/// is missing in the answer, which says so.
///
/// # Errors
/// [`QuestionError`] if no log can be read.
pub fn answer(
    question: &LogQuestion,
    logs: &[QuestionedLog],
    cursor: &AnswerCursor,
    limit: usize,
) -> Result<Answer, QuestionError> {
    let mut answer = Answer::default();
    let mut opened = Vec::new();
    let mut failure = None;
    for log in logs {
        match OpenedLog::open(log) {
            Ok((mut log, extent)) => {
                answer.logs.push(extent);
                let unsearched = LogExtent::of_unsearched(log.log.reader_mut(), question.since);
                answer.logs.extend(unsearched.unwrap_or_else(|error| Some(LogExtent::unreadable(&error))));
                opened.push(log);
            }
            Err(error) => {
                answer.logs.push(LogExtent::unreadable(&error));
                failure = Some(error);
            }
        }
    }
    if let Some(error) = failure.filter(|_| opened.is_empty()) {
        return Err(error);
    }
    let mut readers = Vec::new();
    for log in &mut opened {
        let below = cursor.below(log.log.reader().origin());
        readers.push(ExchangeSource::begin(log, question, below)?);
    }
    while answer.exchanges.len() < limit.min(MAX_ANSWER) {
        // A log that has paused may hold exchanges that are newer than those of the others.
        if readers.iter().any(|reader| matches!(reader.next, NextExchange::Paused(_))) {
            break;
        }
        let newest = readers.iter_mut().filter(|reader| reader.time().is_some());
        let Some(reader) = newest.max_by_key(|reader| reader.time()) else { break };
        if let NextExchange::Found { exchange, .. } = reader.take()? {
            answer.exchanges.push(exchange);
        }
    }
    let mut next = AnswerCursor::default();
    for reader in &readers {
        next.add(&reader.origin, reader.below());
    }
    let has_more = readers.iter().any(|reader| !matches!(reader.next, NextExchange::End));
    answer.next = has_more.then_some(next);
    Ok(answer)
}

/// Time by which a clock may have gone back between the arrival of a request and its first entry.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(5);

/// Opens a log and returns the entries of a decision, oldest first. Without an index, the entries since the time that the id
/// contains are scanned.
///
/// # Errors
/// [`QuestionError`], also if a bounded search ends before the last entry.
pub(in crate::disclosure) fn entries_of(
    log: &QuestionedLog,
    decision: Ulid,
    effort: SearchEffort,
) -> Result<(LogReader, Vec<u64>), QuestionError> {
    let sought = sought_entries(OpenedLog::open(log)?.0, decision, effort);
    #[cfg(feature = "sqlite")]
    if let Err(QuestionError::Index(error)) = &sought {
        error.report();
        let (opened, _) = OpenedLog::open(log)?;
        return sought_entries(OpenedLog { index: None, ..opened }, decision, effort);
    }
    sought
}

fn sought_entries(
    mut opened: OpenedLog,
    decision: Ulid,
    effort: SearchEffort,
) -> Result<(LogReader, Vec<u64>), QuestionError> {
    let since = time_of(decision).checked_sub(CLOCK_STEP).ok();
    let question = LogQuestion { decision: Some(decision), since, ..LogQuestion::default() };
    let mut search = CandidateSearch::new(
        &mut opened.log,
        #[cfg(feature = "sqlite")]
        opened.index.take(),
        &question,
        None,
        u64::MAX,
        effort.max_unindexed(),
    );
    let entries = match search.next()? {
        CandidateStep::Found(candidate) => candidate.entries,
        CandidateStep::Paused(_) => {
            return Err(ReadError::NotIndexed(opened.log.reader().folder().to_owned()).into());
        }
        CandidateStep::End => Vec::new(),
    };
    Ok((opened.log.into_reader(), entries))
}

/// The files of a log.
struct OpenedLog {
    log: DecodedLog,
    #[cfg(feature = "sqlite")]
    index: Option<LogIndex>,
    running: bool,
}

impl OpenedLog {
    fn open(log: &QuestionedLog) -> Result<(OpenedLog, LogExtent), QuestionError> {
        let mut reader = LogReader::open(&log.folder)?;
        let extent = LogExtent::of(&mut reader)?;
        #[cfg(feature = "sqlite")]
        let index = log.index.as_ref().and_then(|folder| LogIndex::open_fitting(folder, &reader));
        let opened = OpenedLog {
            log: DecodedLog::new(reader),
            #[cfg(feature = "sqlite")]
            index,
            running: log.running,
        };
        Ok((opened, extent))
    }
}

/// The next exchange of a log.
enum NextExchange {
    Found {
        first: u64,
        time: Timestamp,
        exchange: Value,
    },
    /// So many entries were read that the answer ends here.
    Paused(u64),
    End,
}

/// The exchanges of one log that answer the question.
struct ExchangeSource<'l> {
    origin: String,
    search: CandidateSearch<'l>,
    question: &'l LogQuestion,
    running: bool,
    next: NextExchange,
}

impl<'l> ExchangeSource<'l> {
    fn begin(
        log: &'l mut OpenedLog,
        question: &'l LogQuestion,
        below: u64,
    ) -> Result<ExchangeSource<'l>, QuestionError> {
        let origin = log.log.reader().origin().to_owned();
        let search = CandidateSearch::new(
            &mut log.log,
            #[cfg(feature = "sqlite")]
            log.index.take(),
            question,
            None,
            below,
            MAX_READ,
        );
        let running = log.running;
        let mut source = ExchangeSource { origin, search, question, running, next: NextExchange::End };
        source.next = source.read()?;
        Ok(source)
    }

    fn time(&self) -> Option<Timestamp> {
        match &self.next {
            NextExchange::Found { time, .. } => Some(*time),
            NextExchange::Paused(_) | NextExchange::End => None,
        }
    }

    /// Returns the entry below which the exchanges begin that were not taken.
    fn below(&self) -> u64 {
        match &self.next {
            NextExchange::Found { first, .. } => first.saturating_add(1),
            NextExchange::Paused(below) => *below,
            NextExchange::End => 0,
        }
    }

    fn take(&mut self) -> Result<NextExchange, QuestionError> {
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn read(&mut self) -> Result<NextExchange, QuestionError> {
        loop {
            let candidate = match self.search.next()? {
                CandidateStep::Found(candidate) => candidate,
                CandidateStep::Paused(below) => return Ok(NextExchange::Paused(below)),
                CandidateStep::End => return Ok(NextExchange::End),
            };
            let Some(exchange) = folded(self.search.log(), &candidate, self.running)? else { continue };
            let exchange = exchange.into_json();
            if self.question.is_answered_by(&exchange) {
                let first = candidate.entries.first().copied().unwrap_or_default();
                return Ok(NextExchange::Found { first, time: candidate.time, exchange });
            }
        }
    }
}

/// Folds the records of an exchange.
fn folded(
    log: &mut DecodedLog,
    candidate: &Candidate,
    running: bool,
) -> Result<Option<FoldedExchange>, ReadError> {
    let mut found = None;
    for record in candidate.records(log)? {
        FoldedExchange::collect(&mut found, record);
    }
    let is_over = candidate.process_ended || !running;
    Ok(found.map(|exchange| if is_over { exchange.aborted() } else { exchange }))
}

impl LogQuestion {
    /// True if a folded exchange answers the question.
    fn is_answered_by(&self, exchange: &Value) -> bool {
        let LogQuestion { recipient, purpose, route, case, outcome, decision, since, until } = self;
        let is = |wanted: &Option<String>, member: &str| {
            let found = exchange.get(member).and_then(Value::as_str);
            wanted.as_ref().is_none_or(|wanted| Some(&**wanted) == found)
        };
        let time = exchange.get("time").and_then(Value::as_str).and_then(|time| time.parse().ok());
        let time: Timestamp = time.unwrap_or_default();
        is(recipient, "recipient")
            && is(purpose, "purpose")
            && is(route, "route")
            && is(case, "case")
            && is(outcome, "outcome")
            && is(&decision.map(|decision| decision.to_string()), "decision")
            && since.is_none_or(|since| time >= since)
            && until.is_none_or(|until| time < until)
    }
}
