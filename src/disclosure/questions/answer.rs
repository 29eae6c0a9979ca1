//! Answers questions from one log or several, newest exchanges first.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use ulid::Ulid;

use super::candidates::{Candidate, CandidateSearch, CandidateStep, SearchPlace};
use super::{AnswerCursor, LogExtent, LogFork, LogQuestion, LogRelation};
#[cfg(feature = "sqlite")]
use crate::disclosure::index::LogIndex;
use crate::disclosure::read::decoded_log::DecodedLog;
use crate::disclosure::read::deleted_details::{DeletedDetails, Deletions};
use crate::disclosure::read::fold::{FoldedExchange, SearchEffort};
use crate::disclosure::storage::{LogReader, ReadError};
use crate::vocabulary::time_of;

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
/// is missing in the answer, which says so. The cursor keeps the place of a log that cannot be read for a while.
///
/// # Errors
/// [`ReadError`] if no log can be read, or none of those in which the answer goes on.
pub fn answer(
    question: &LogQuestion,
    logs: &[QuestionedLog],
    cursor: &AnswerCursor,
    limit: usize,
) -> Result<Answer, ReadError> {
    answer_within(MAX_READ, question, logs, cursor, limit)
}

/// Does the same as [`answer`], and reads at most so many entries of each log, and as many again that were read for an earlier
/// part of the answer.
pub(super) fn answer_within(
    max_read: u64,
    question: &LogQuestion,
    logs: &[QuestionedLog],
    cursor: &AnswerCursor,
    limit: usize,
) -> Result<Answer, ReadError> {
    let mut answer = Answer::default();
    let mut opened = Vec::new();
    let mut failure = None;
    let found: Vec<_> = logs.iter().map(OpenedLog::open).collect();
    let relations = LogRelation::of_logs(logs.iter().zip(&found).map(|(log, opened)| {
        let (_, extent) = opened.as_ref().ok()?;
        Some((&*log.folder, extent))
    }));
    for (log, LogRelation { fork, .. }) in found.into_iter().zip(relations).filter(|(_, log)| !log.is_copy) {
        match log {
            Ok((mut log, extent)) => {
                let place = answer.logs.len();
                log.fork.clone_from(&fork);
                answer.logs.push(extent.with_fork(fork));
                let unsearched = LogExtent::of_unsearched(log.log.reader_mut(), question.since);
                answer.logs.extend(unsearched.unwrap_or_else(|error| Some(LogExtent::unreadable(&error))));
                opened.push((log, place));
            }
            Err(error) => {
                answer.logs.push(LogExtent::unreadable(&error));
                failure = Some(error);
            }
        }
    }
    let has_unopened = failure.is_some();
    let mut sources: Vec<_> = opened
        .iter_mut()
        .map(|(log, extent)| ExchangeSource::begin(log, *extent, question, cursor, max_read))
        .collect();
    answer.exchanges = take_newest(&mut sources, limit.min(MAX_ANSWER));
    let mut progress = AnswerProgress::default();
    for source in sources {
        if let Some((extent, error)) = progress.add(source) {
            if let Some(extent) = answer.logs.get_mut(extent) {
                extent.fault = Some(error.to_string());
            }
            failure = Some(error);
        }
    }
    for (log, place) in &mut opened {
        let extent = answer.logs.get_mut(*place);
        let deleted = log.deleted_details(question);
        match (extent, deleted) {
            (Some(extent), Ok(deleted)) => *extent = extent.clone().without_details(&deleted),
            (Some(extent), Err(error)) => extent.fault = Some(error.to_string()),
            (None, _) => {}
        }
    }
    let AnswerProgress { mut next, mut has_more, is_read, has_moved } = progress;
    if has_unopened {
        has_more |= next.keep(cursor);
    }
    match failure {
        // Otherwise a caller who follows the cursors would ask without end.
        Some(error) if answer.exchanges.is_empty() && !(is_read && (has_moved || !has_more)) => Err(error),
        _ => {
            answer.next = has_more.then_some(next);
            Ok(answer)
        }
    }
}

/// Takes the newest exchanges of all logs, newest first.
fn take_newest(sources: &mut [ExchangeSource<'_>], limit: usize) -> Vec<Value> {
    let mut taken = Vec::new();
    while taken.len() < limit {
        // A log that has paused may hold exchanges that are newer than those of the others.
        if sources.iter().any(|source| matches!(source.next, NextExchange::Paused(_))) {
            break;
        }
        let newest = sources.iter_mut().filter(|source| source.time().is_some());
        let Some(source) = newest.max_by_key(|source| source.time()) else { break };
        taken.extend(source.take());
    }
    taken
}

/// How far an answer has come in the logs that were opened.
#[derive(Default)]
struct AnswerProgress {
    next: AnswerCursor,
    /// True if the answer goes on in one of them.
    has_more: bool,
    /// True if one of them was read without an error.
    is_read: bool,
    /// True if the answer goes on at another place in one of them than the one at which it began.
    has_moved: bool,
}

impl AnswerProgress {
    /// Adds a log. Returns the place of its extent and the error if it failed.
    fn add(&mut self, source: ExchangeSource<'_>) -> Option<(usize, ReadError)> {
        let place = source.place();
        self.has_moved |= place.below != source.begun.below;
        // Nothing was read of it.
        if place != SearchPlace::NEWEST {
            self.has_more |= !place.is_end();
            self.next.add(&source.cursor_name, place);
        }
        match source.next {
            NextExchange::Failed(error) => Some((source.extent, error)),
            NextExchange::Found { .. } | NextExchange::Paused(_) | NextExchange::End => {
                self.is_read = true;
                None
            }
        }
    }
}

/// Time by which a clock may have gone back between the arrival of a request and its first entry.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(5);

/// Opens a log and returns the entries of a decision, oldest first. Without an index, the entries since the time that the id
/// contains are scanned.
///
/// # Errors
/// [`ReadError`], also if a bounded search ends before the last entry.
pub(in crate::disclosure) fn entries_of(
    log: &QuestionedLog,
    decision: Ulid,
    effort: SearchEffort,
) -> Result<(LogReader, Vec<u64>), ReadError> {
    let (mut opened, _) = OpenedLog::open(log)?;
    let since = time_of(decision).checked_sub(CLOCK_STEP).ok();
    let question = LogQuestion { decision: Some(decision), since, ..LogQuestion::default() };
    let mut search = CandidateSearch::new(
        &mut opened.log,
        #[cfg(feature = "sqlite")]
        opened.index.take(),
        &question,
        None,
        SearchPlace::NEWEST,
        effort.max_unindexed(),
    );
    let entries = match search.next()? {
        CandidateStep::Found(candidate) => candidate.entries,
        CandidateStep::Paused(_) => {
            return Err(ReadError::NotIndexed(opened.log.reader().folder().to_owned()));
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
    /// Set if another log has the same origin, and other entries.
    fork: Option<LogFork>,
    /// The deletions of details that the index has, and the number of entries that it has.
    indexed: Option<(Deletions, u64)>,
}

impl OpenedLog {
    fn open(log: &QuestionedLog) -> Result<(OpenedLog, LogExtent), ReadError> {
        let mut reader = LogReader::open(&log.folder)?;
        let extent = LogExtent::of(&mut reader)?;
        #[cfg(feature = "sqlite")]
        let index = match &log.index {
            Some(folder) => LogIndex::open_fitting(folder, &reader)?,
            None => None,
        };
        #[cfg(not(feature = "sqlite"))]
        let indexed = None;
        #[cfg(feature = "sqlite")]
        let indexed = index.as_ref().and_then(|index| Some((Deletions::indexed(index)?, index.state().size)));
        let mut decoded = DecodedLog::new(reader);
        decoded.collect_without_detail();
        let opened = OpenedLog {
            log: decoded,
            #[cfg(feature = "sqlite")]
            index,
            running: log.running,
            fork: None,
            indexed,
        };
        Ok((opened, extent))
    }

    /// Returns the name by which cursors know the log. The origin is not enough if another log has it, too.
    fn cursor_name(&self) -> String {
        let reader = self.log.reader();
        match &self.fork {
            Some(_) => format!("{}\n{}", reader.origin(), reader.folder().display()),
            None => reader.origin().to_owned(),
        }
    }

    /// Returns the deletions of details that concern an answer, after it was read: of a question for a case all of them, because
    /// the case is in the details; of another one those of the exchanges that were read.
    fn deleted_details(&mut self, question: &LogQuestion) -> Result<Vec<DeletedDetails>, ReadError> {
        let (read, indexed) = (self.log.take_without_detail(), self.indexed.take());
        if read.is_empty() && question.case.is_none() {
            return Ok(Vec::new());
        }
        let mut deletions = Deletions::default();
        // Without an index, the statements of the log are not known.
        if let Some((known, size)) = indexed {
            deletions = known;
            let end = self.log.reader().size().min(size.saturating_add(MAX_READ));
            deletions.read(&mut self.log, size..end)?;
        }
        if question.case.is_none() {
            deletions.missing.clear();
        }
        read.iter().for_each(|entry| deletions.add(*entry));
        deletions.describe(&mut self.log, question.case.is_none().then_some(&read))
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
    /// The log cannot be read any further.
    Failed(ReadError),
}

/// The exchanges of one log that answer the question.
struct ExchangeSource<'l> {
    cursor_name: String,
    /// The entries below this one are read in another log.
    shared: u64,
    /// The place of the log's extent in the answer.
    extent: usize,
    search: CandidateSearch<'l>,
    question: &'l LogQuestion,
    running: bool,
    begun: SearchPlace,
    /// The exchanges that begin with this entry or later are in the answer, or do not answer the question.
    answered: u64,
    next: NextExchange,
}

impl<'l> ExchangeSource<'l> {
    fn begin(
        log: &'l mut OpenedLog,
        extent: usize,
        question: &'l LogQuestion,
        cursor: &AnswerCursor,
        max_read: u64,
    ) -> ExchangeSource<'l> {
        let (cursor_name, shared) = (log.cursor_name(), log.fork.as_ref().map_or(0, |fork| fork.shared));
        let begun = cursor.place(&cursor_name);
        let search = CandidateSearch::new(
            &mut log.log,
            #[cfg(feature = "sqlite")]
            log.index.take(),
            question,
            None,
            begun.clone(),
            max_read,
        );
        let (running, answered) = (log.running, begun.below);
        let next = NextExchange::End;
        let mut source =
            ExchangeSource { cursor_name, shared, extent, search, question, running, begun, answered, next };
        source.advance();
        source
    }

    fn time(&self) -> Option<Timestamp> {
        match &self.next {
            NextExchange::Found { time, .. } => Some(*time),
            NextExchange::Paused(_) | NextExchange::End | NextExchange::Failed(_) => None,
        }
    }

    /// Returns the place of the exchanges that were not taken.
    fn place(&self) -> SearchPlace {
        match &self.next {
            NextExchange::Found { first, .. } => self.search.place(first.saturating_add(1)),
            NextExchange::Paused(below) => self.search.place(*below),
            NextExchange::End => SearchPlace::END,
            NextExchange::Failed(_) => self.search.place(self.answered),
        }
    }

    /// Takes the next exchange.
    fn take(&mut self) -> Option<Value> {
        let NextExchange::Found { first, exchange, .. } =
            std::mem::replace(&mut self.next, NextExchange::End)
        else {
            return None;
        };
        self.answered = first;
        self.advance();
        Some(exchange)
    }

    fn advance(&mut self) {
        self.next = self.read().unwrap_or_else(NextExchange::Failed);
    }

    fn read(&mut self) -> Result<NextExchange, ReadError> {
        loop {
            let candidate = match self.search.next()? {
                CandidateStep::Found(candidate) => candidate,
                CandidateStep::Paused(below) => return Ok(NextExchange::Paused(below)),
                CandidateStep::End => return Ok(NextExchange::End),
            };
            let first = candidate.entries.first().copied().unwrap_or_default();
            let is_shared = candidate.entries.last().is_some_and(|last| *last < self.shared);
            if !is_shared && let Some(exchange) = folded(self.search.log(), &candidate, self.running)? {
                let exchange = exchange.into_json();
                if self.question.is_answered_by(&exchange) {
                    return Ok(NextExchange::Found { first, time: candidate.time, exchange });
                }
            }
            self.answered = first;
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
