//! Reads the logs of several gateways as one, in the order of time.
//!
//! Each log is read once and in its own order; of each, one exchange waits for its turn. The memory that is needed depends
//! on the exchanges that were under way at the same time, and not on the length of the logs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use super::decoded_log;
use super::exchange_records::ExchangeRecords;
use super::fold::{
    ExchangeFilter, FilterState, FoldedExchange, FoundDecision, SearchEffort, sought_decision,
};
use super::former_records;
use super::model::{LoggedExchangeRecord, LoggedRecord};
use super::source::LogPlace;
use crate::disclosure::former::{TagKey, segment};
use crate::disclosure::storage::{self, ReadError};

/// Number of decisions that are remembered to find one that another log has, too. Copies of a record have the same time,
/// so a merge reads them close to each other.
const MAX_RECENT: usize = 1 << 16;

/// Maximum number of decisions in two logs that are reported.
const MAX_REPEATED: usize = 100;

/// A log, and the exchanges to select from it.
#[derive(Clone, Debug)]
pub struct LogSelection {
    /// The folder of the log.
    pub folder: PathBuf,
    /// The exchanges to select. Logs under different keys name a person differently.
    pub filter: ExchangeFilter,
    /// True if a gateway writes the log.
    pub running: bool,
    /// The key of the tags that an old log in the folder has. Without it they are not checked.
    pub tags: Option<TagKey>,
}

/// A decision that two logs have on record. A decision is made by one gateway, so one of the logs, or a part of it, is a
/// copy or an invention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedDecision {
    /// The decision's id.
    pub decision: String,
    /// The folders of the two logs.
    pub folders: [PathBuf; 2],
}

impl fmt::Display for RepeatedDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = &self.folders;
        write!(f, "the decision {} is in two logs: {} and {}", self.decision, one.display(), other.display())
    }
}

/// Folds the exchanges in a log's folder and passes each to `emit`, in the order in which they ended. The tags of an old log
/// are not checked.
///
/// An exchange without an outcome gets the outcome `aborted` if the process that began it has died. If the log is
/// `running`, its outcome is `null`, since it may still end.
///
/// # Errors
/// [`ReadError`]. Exchanges that were emitted before the error remain valid.
pub fn fold(
    folder: &Path,
    filter: &ExchangeFilter,
    running: bool,
    emit: impl FnMut(Value) -> io::Result<()>,
) -> Result<(), ReadError> {
    let (folder, filter) = (folder.to_owned(), filter.clone());
    merge(&[LogSelection { folder, filter, running, tags: None }], emit).map(drop)
}

/// Does the same as [`fold`] for several logs. Exchanges of different logs are ordered by the time at which they ended;
/// those of one log keep their order, whatever its clock said. Returns the decisions that two of the logs have.
///
/// # Errors
/// [`ReadError`]. Exchanges that were emitted before the error remain valid.
pub fn merge(
    logs: &[LogSelection],
    mut emit: impl FnMut(Value) -> io::Result<()>,
) -> Result<Vec<RepeatedDecision>, ReadError> {
    let readers = logs.iter().map(ExchangeReader::open).collect::<Result<Vec<_>, _>>()?;
    let mut recent = RecentDecisions::new(logs.iter().map(|log| &*log.folder));
    in_time_order(readers, |log, exchange: FoldedExchange| {
        recent.add(exchange.decision, log);
        emit(exchange.into_json()).map_err(ReadError::Output)
    })?;
    Ok(recent.repeated)
}

/// Returns decisions that two of the logs have on record, at most 100.
///
/// # Errors
/// [`ReadError`].
pub fn repeated_decisions(folders: &[&Path]) -> Result<Vec<RepeatedDecision>, ReadError> {
    let open = |folder: &&Path| Ok(DecisionReader { records: ExchangeRecords::open(folder, None, None)? });
    let readers = folders.iter().map(open).collect::<Result<Vec<_>, ReadError>>()?;
    let mut recent = RecentDecisions::new(folders.iter().copied());
    in_time_order(readers, |log, decision: Ulid| {
        recent.add(decision, log);
        Ok(())
    })?;
    Ok(recent.repeated)
}

/// Returns one exchange by its decision's id: from the first log, which a gateway writes if `running`, or else from the
/// others. The indexes of the logs make it quicker.
///
/// # Errors
/// [`ReadError`] for a log that cannot be read, is empty or was not read to its end, unless another log contains the exchange.
pub fn find_decision<'p>(
    own: LogPlace<'p>,
    running: bool,
    others: impl IntoIterator<Item = LogPlace<'p>>,
    id: &str,
    effort: SearchEffort,
) -> Result<Option<FoundDecision>, ReadError> {
    let sought = |place: LogPlace<'_>, running| match sought_decision(place, id, running, effort) {
        Ok(None) if is_empty(place.folder)? => Err(ReadError::Empty(place.folder.to_owned())),
        found => found,
    };
    let mut outcome = sought(own, running);
    for place in others {
        if let Ok(Some(_)) = outcome {
            break;
        }
        let found = sought(place, is_running(place.folder));
        // The first error is kept unless a later log has the exchange.
        if matches!(found, Ok(Some(_))) || outcome.is_ok() {
            outcome = found;
        }
    }
    outcome
}

/// True if a folder contains no log.
pub(super) fn is_empty(folder: &Path) -> Result<bool, ReadError> {
    Ok(decoded_log::open(folder)?.is_none() && former_records::segments(folder, None)?.is_empty())
}

/// True if a process writes the log in a folder, or if that cannot be found out.
pub fn is_running(folder: &Path) -> bool {
    in_use(folder).unwrap_or(true)
}

/// True if a process has locked a log, of this version or an earlier one, to write it.
///
/// # Errors
/// If the lock cannot be examined, also because the folder does not exist.
pub fn in_use(folder: &Path) -> io::Result<bool> {
    Ok(storage::is_open(folder)? || segment::in_use(folder)?)
}

/// Passes the items of all readers to `each`, with the number of their reader. The reader with the earliest item is next.
fn in_time_order<T>(
    mut readers: Vec<impl Iterator<Item = Result<(Timestamp, T), ReadError>>>,
    mut each: impl FnMut(usize, T) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let first = readers.iter_mut().map(|reader| reader.next().transpose());
    let mut heads = first.collect::<Result<Vec<_>, _>>()?;
    let earliest = |heads: &[Option<(Timestamp, T)>]| {
        let times = heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.0, at)));
        times.min().map(|(_, at)| at)
    };
    while let Some(at) = earliest(&heads) {
        let (Some(head), Some(reader)) = (heads.get_mut(at), readers.get_mut(at)) else { break };
        let following = reader.next().transpose()?;
        if let Some((_, item)) = std::mem::replace(head, following) {
            each(at, item)?;
        }
    }
    Ok(())
}

/// Reads the selected exchanges of one log in the order in which they ended, each with the time of its end.
struct ExchangeReader<'f> {
    records: ExchangeRecords,
    filter: FilterState<'f>,
    running: bool,
    open: BTreeMap<Ulid, FoldedExchange>,
    /// Exchanges that ended and were not returned yet.
    ended: VecDeque<(Timestamp, FoldedExchange)>,
    /// The latest time that was read.
    time: Timestamp,
    at_end: bool,
}

impl<'f> ExchangeReader<'f> {
    fn open(log: &'f LogSelection) -> Result<ExchangeReader<'f>, ReadError> {
        let LogSelection { folder, filter, running, tags } = log;
        Ok(ExchangeReader {
            records: ExchangeRecords::open(folder, filter.since, *tags)?,
            filter: FilterState::new(filter),
            running: *running,
            open: BTreeMap::new(),
            ended: VecDeque::new(),
            time: Timestamp::MIN,
            at_end: false,
        })
    }

    fn read(&mut self, record: LoggedRecord) {
        match record {
            LoggedRecord::Exchange(record) => self.read_exchange(*record),
            // The process that would have closed the open exchanges has died.
            LoggedRecord::Start(time) => {
                self.abort_open();
                self.time = time;
            }
        }
    }

    fn read_exchange(&mut self, mut record: LoggedExchangeRecord) {
        let (decision, has_ended) = (record.decision, record.end.is_some());
        // Windows of old logs have no time here.
        self.time = self.time.max(record.time);
        if let Some(head) = record.head.take() {
            self.open.entry(decision).or_insert_with(|| FoldedExchange::new(decision, head));
        }
        if let Some(exchange) = self.open.get_mut(&decision) {
            exchange.add(record);
        }
        if has_ended && let Some(exchange) = self.open.remove(&decision) {
            self.ended.push_back((self.time, exchange));
        }
    }

    fn abort_open(&mut self) {
        for (_, exchange) in std::mem::take(&mut self.open) {
            self.ended.push_back((self.time, exchange.aborted()));
        }
    }

    /// Ends the log: what is still open is under way, and comes after everything that has ended, or was aborted.
    fn finish(&mut self) {
        self.at_end = true;
        if self.running {
            let under_way = std::mem::take(&mut self.open).into_values();
            self.ended.extend(under_way.map(|exchange| (Timestamp::MAX, exchange)));
        } else {
            self.abort_open();
        }
    }
}

impl Iterator for ExchangeReader<'_> {
    type Item = Result<(Timestamp, FoldedExchange), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some((time, exchange)) = self.ended.pop_front() {
                if self.filter.matches(&exchange) {
                    return Some(Ok((time, exchange)));
                }
            }
            if self.at_end {
                return None;
            }
            match self.records.next() {
                Some(Ok(record)) => self.read(record),
                Some(Err(error)) => return Some(Err(error)),
                None => self.finish(),
            }
        }
    }
}

/// Reads the ids of the decisions of one log, each with the time at which its exchange began.
struct DecisionReader {
    records: ExchangeRecords,
}

impl Iterator for DecisionReader {
    type Item = Result<(Timestamp, Ulid), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(LoggedRecord::Exchange(record)) => {
                    if let Some(head) = record.head {
                        return Some(Ok((head.time, record.decision)));
                    }
                }
                Ok(LoggedRecord::Start(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Finds decisions that occur in two logs, as long as not too many others lie between.
struct RecentDecisions {
    folders: Vec<PathBuf>,
    /// The log of each decision.
    logs: HashMap<Ulid, usize>,
    order: VecDeque<Ulid>,
    repeated: Vec<RepeatedDecision>,
}

impl RecentDecisions {
    fn new<'p>(folders: impl Iterator<Item = &'p Path>) -> RecentDecisions {
        RecentDecisions {
            folders: folders.map(Path::to_owned).collect(),
            logs: HashMap::new(),
            order: VecDeque::new(),
            repeated: Vec::new(),
        }
    }

    fn add(&mut self, decision: Ulid, log: usize) {
        if self.folders.len() < 2 {
            return;
        }
        match self.logs.insert(decision, log) {
            None => self.order.push_back(decision),
            Some(other) if other != log && self.repeated.len() < MAX_REPEATED => {
                if let (Some(one), Some(two)) = (self.folders.get(other), self.folders.get(log)) {
                    let folders = [one.clone(), two.clone()];
                    self.repeated.push(RepeatedDecision { decision: decision.to_string(), folders });
                }
            }
            Some(_) => {}
        }
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.logs.remove(&oldest);
        }
    }
}
