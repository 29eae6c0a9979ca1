//! Follows a log and hands on each exchange once it has ended, folded into one JSON object.
//!
//! The place is kept by whoever takes the exchanges ([`FollowedPlace`]), so that nothing is missed over restarts: it names the
//! entry that is read next and the exchanges that were under way before it. Invariants: only published entries are read, which
//! never change; an exchange that a later record corrects is handed on again; an exchange whose process died is handed on as
//! aborted. Reading has bounds: of exchanges and bytes in a batch, and of people in an exchange.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;

use super::decoded_log::{self, DecodedLog};
use super::fold::{self, FoldedExchange};
use super::model::LoggedExchangeRecord;
use super::source::LogSource;
use crate::disclosure::entry::EntryKind;
use crate::disclosure::storage::ReadError;

/// Maximum number of people whose pseudonyms an exchange is handed on with.
pub const MAX_FOLLOWED_PEOPLE: usize = 10_000;

/// Members of an exchange that name people, by pseudonyms.
const PEOPLE: [&str; 3] = ["actor", "subjects", "withheld_subjects"];

/// The member in place of those in [`PEOPLE`] if they are too many.
const OMITTED: &str = "subjects_omitted";

/// The place in a log up to which exchanges were handed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowedPlace {
    /// The log's origin.
    pub origin: String,
    /// The entry that is read next.
    pub next: u64,
    /// The exchanges that had begun before that entry, and had not ended.
    pub under_way: Vec<String>,
}

/// The exchanges that have ended since the last batch.
#[derive(Debug, Default)]
pub struct EndedBatch {
    /// Each as one line of JSON.
    pub lines: Vec<String>,
    /// The time of the record that ended the first of them.
    pub oldest: Option<Timestamp>,
    /// Entries that were deleted before they were read.
    pub deleted: u64,
    /// True if there is more to read.
    pub more: bool,
}

/// Bounds of a batch. A batch has at least one exchange, however long.
#[derive(Clone, Copy, Debug)]
pub struct BatchBounds {
    /// Maximum number of exchanges.
    pub exchanges: usize,
    /// Number of bytes after which a batch is full.
    pub bytes: usize,
    /// Maximum number of entries that are read.
    pub entries: u64,
}

/// Follows one log.
pub struct ExchangeFollower {
    source: LogSource,
    /// True if exchanges keep the pseudonyms of people.
    with_people: bool,
    log: Option<DecodedLog>,
    origin: String,
    next: u64,
    /// The exchanges under way; `None` for those whose first records were read by an earlier process.
    under_way: HashMap<Ulid, Option<UnderWay>>,
}

/// An exchange under way, as far as its records have been read.
struct UnderWay {
    folded: Option<FoldedExchange>,
    people: usize,
}

impl std::fmt::Debug for ExchangeFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExchangeFollower").field("next", &self.next).finish_non_exhaustive()
    }
}

impl ExchangeFollower {
    /// Follows a log from a place on, or from its beginning.
    pub fn new(source: LogSource, place: FollowedPlace, with_people: bool) -> ExchangeFollower {
        let FollowedPlace { origin, next, under_way } = place;
        let ids = under_way.iter().filter_map(|id| Ulid::from_string(id).ok());
        ExchangeFollower {
            source,
            with_people,
            log: None,
            origin,
            next,
            under_way: ids.map(|id| (id, None)).collect(),
        }
    }

    /// Returns the place after the last batch.
    pub fn place(&self) -> FollowedPlace {
        let mut under_way: Vec<String> = self.under_way.keys().map(Ulid::to_string).collect();
        under_way.sort_unstable();
        FollowedPlace { origin: self.origin.clone(), next: self.next, under_way }
    }

    /// Reads the exchanges that have ended since the last batch.
    ///
    /// # Errors
    /// [`ReadError`]. The exchanges that were read before it are lost: begin again at the last place.
    pub fn read(&mut self, bounds: BatchBounds) -> Result<EndedBatch, ReadError> {
        let mut batch = EndedBatch::default();
        let Some(mut log) = self.open()? else { return Ok(batch) };
        let begin = log.reader().begin();
        if self.next < begin {
            batch.deleted = begin - self.next;
            self.next = begin;
        }
        let end = log.reader().published();
        let last = end.min(self.next.saturating_add(bounds.entries));
        let mut bytes = 0;
        while self.next < last && batch.lines.len() < bounds.exchanges && bytes < bounds.bytes {
            let before = batch.lines.len();
            self.read_entry(&mut log, &mut batch)?;
            bytes += batch.lines.iter().skip(before).map(String::len).sum::<usize>();
        }
        batch.more = self.next < end;
        self.log = Some(log);
        Ok(batch)
    }

    /// Opens the log, or looks what was added. `None` if there is none yet.
    fn open(&mut self) -> Result<Option<DecodedLog>, ReadError> {
        // After an error, the files are opened again.
        let log = match self.log.take() {
            Some(mut log) => {
                log.reader_mut().refresh()?;
                log
            }
            None => match decoded_log::open(self.source.folder())? {
                Some(log) => log,
                None => return Ok(None),
            },
        };
        let origin = log.reader().origin();
        if self.origin != origin || self.next > log.reader().size() {
            // Another log, or one that lost entries: none of its exchanges counts as handed on.
            (self.origin, self.next) = (origin.to_owned(), log.reader().begin());
            self.under_way.clear();
        }
        Ok(Some(log))
    }

    fn read_entry(&mut self, log: &mut DecodedLog, batch: &mut EndedBatch) -> Result<(), ReadError> {
        let index = self.next;
        let Some(entry) = log.entry(index)? else {
            // Days were pruned meanwhile.
            let begin = log.reader().begin().max(index + 1);
            batch.deleted += begin - index;
            self.next = begin;
            return Ok(());
        };
        let head = log.head(&entry)?;
        if head.kind == EntryKind::Start {
            let time = log.place(index)?.day.time(&head);
            self.abort_all(time, batch)?;
        } else if let Some((record, next)) = log.exchange_record(index, &entry)? {
            self.add(record, batch)?;
            self.next = next;
            return Ok(());
        }
        self.next = index + 1;
        Ok(())
    }

    /// Hands on the exchanges whose process has died.
    fn abort_all(&mut self, time: Timestamp, batch: &mut EndedBatch) -> Result<(), ReadError> {
        let mut ids: Vec<Ulid> = self.under_way.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let known = self.under_way.remove(&id).flatten();
            let exchange = match known {
                Some(UnderWay { folded, people }) => {
                    folded.map(|folded| self.line(folded.aborted().into_json(), people))
                }
                None => self.look_up(id)?,
            };
            batch.push(exchange, time);
        }
        Ok(())
    }

    /// Adds a record to its exchange, and hands that on if it has ended.
    fn add(&mut self, mut record: LoggedExchangeRecord, batch: &mut EndedBatch) -> Result<(), ReadError> {
        let (id, time, has_ended) = (record.decision, record.time, record.end.is_some());
        let is_unread = self.under_way.get(&id).is_some_and(Option::is_none);
        let begins = record.head.is_some() && !self.under_way.contains_key(&id);
        if record.corrects || is_unread || (!begins && !self.under_way.contains_key(&id)) {
            // Its first records are not in memory.
            if has_ended {
                self.under_way.remove(&id);
                let exchange = self.look_up(id)?;
                batch.push(exchange, time);
            } else {
                self.under_way.entry(id).or_default();
            }
            return Ok(());
        }
        let known = self.under_way.remove(&id).flatten();
        let mut known = known.unwrap_or(UnderWay { folded: None, people: 0 });
        self.bound_people(&mut record, &mut known.people);
        FoldedExchange::collect(&mut known.folded, record);
        if !has_ended {
            self.under_way.insert(id, Some(known));
        } else if let Some(folded) = known.folded {
            batch.push(Some(self.line(folded.into_json(), known.people)), time);
        }
        Ok(())
    }

    /// Leaves out people whom nobody will read. One stays in each list, because the verdict on an exchange depends on there
    /// being some.
    fn bound_people(&self, record: &mut LoggedExchangeRecord, people: &mut usize) {
        let Some(disclosure) = &mut record.disclosure else { return };
        *people += disclosure.subjects.len() + disclosure.withheld_subjects.len();
        if !self.with_people || *people > MAX_FOLLOWED_PEOPLE {
            disclosure.subjects.truncate(1);
            disclosure.withheld_subjects.truncate(1);
        }
    }

    /// Reads an exchange again from its first record on. `None` if the log no longer has it.
    fn look_up(&self, id: Ulid) -> Result<Option<String>, ReadError> {
        let found = fold::decision(self.source.place(), &id.to_string(), true)?;
        Ok(found.map(|exchange| {
            let people = |member: &str| exchange.get(member).and_then(Value::as_array).map_or(0, Vec::len);
            let people = people("subjects");
            self.line(exchange, people)
        }))
    }

    /// Writes an exchange as one line.
    fn line(&self, mut exchange: Value, people: usize) -> String {
        if let Some(members) = exchange.as_object_mut()
            && (!self.with_people || people > MAX_FOLLOWED_PEOPLE)
        {
            PEOPLE.iter().for_each(|member| drop(members.remove(*member)));
            if self.with_people {
                members.insert(OMITTED.to_owned(), true.into());
            }
        }
        exchange.to_string()
    }
}

impl EndedBatch {
    fn push(&mut self, line: Option<String>, time: Timestamp) {
        if let Some(line) = line {
            self.lines.push(line);
            self.oldest.get_or_insert(time);
        }
    }
}
