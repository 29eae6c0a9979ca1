//! Follows a log and hands on each exchange once it has ended, folded into one JSON object.
//!
//! The place is kept by whoever takes the exchanges ([`FollowedPlace`]), so that nothing is missed over restarts: it names the
//! entry that is read next and the exchanges that were under way before it. Invariants: only published entries are read, which
//! never change; an exchange that a later record corrects is handed on again; an exchange whose process died is handed on as
//! aborted. Reading has bounds: of exchanges and bytes in a batch, and of people in an exchange.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use super::decoded_log::{self, DecodedLog};
use super::fold::{self, FoldedExchange};
use super::model::LoggedExchangeRecord;
use super::source::LogSource;
use crate::disclosure::entry::EntryKind;
use crate::disclosure::storage::{LogReader, PublishedCheckpoint, ReadError};

/// Maximum number of people whose pseudonyms an exchange is handed on with.
pub const MAX_FOLLOWED_PEOPLE: usize = 10_000;

/// Members of an exchange that name people, by pseudonyms.
const PEOPLE: [&str; 3] = ["actor", "subjects", "withheld_subjects"];

/// Members that a recipient wrote, and that can name somebody.
const TEXTS: [&str; 2] = ["case", "declared"];

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
    /// The tree of the log when it was read. `None` if it had no checkpoint, and for a place of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<FollowedTree>,
}

/// The tree of a log at one size, by which the same log is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowedTree {
    /// Number of entries.
    pub size: u64,
    /// The root hash in base64.
    pub root: String,
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
    /// The bytes of the lines and of their ends.
    bytes: usize,
}

/// Bounds of a batch. A batch has at least one exchange, however long.
#[derive(Clone, Copy, Debug)]
pub struct BatchBounds {
    /// Maximum number of exchanges.
    pub exchanges: usize,
    /// Maximum number of bytes, with a line end after each exchange.
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
    /// The tree of the log when it was last read.
    tree: Option<FollowedTree>,
    /// The exchanges under way; `None` for those whose first records were read by an earlier process.
    under_way: BTreeMap<Ulid, Option<UnderWay>>,
    /// An exchange that has ended, and for which the last batch had no room.
    held: Option<HeldExchange>,
}

/// An exchange that has ended.
struct Ended {
    decision: Ulid,
    line: String,
    /// The time of the record that ended it.
    time: Timestamp,
}

/// An exchange that waits for the next batch.
struct HeldExchange {
    ended: Ended,
    /// The entry that ended it.
    entry: u64,
}

/// An exchange under way, as far as its records have been read.
struct UnderWay {
    folded: Option<FoldedExchange>,
    /// True if its people are left out, because they are too many.
    omits_people: bool,
}

impl std::fmt::Debug for ExchangeFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExchangeFollower").field("next", &self.next).finish_non_exhaustive()
    }
}

impl ExchangeFollower {
    /// Follows a log from a place on, or from its beginning.
    pub fn new(source: LogSource, place: FollowedPlace, with_people: bool) -> ExchangeFollower {
        let FollowedPlace { origin, next, under_way, tree } = place;
        let ids = under_way.iter().filter_map(|id| Ulid::from_string(id).ok());
        ExchangeFollower {
            source,
            with_people,
            log: None,
            origin,
            next,
            tree,
            under_way: ids.map(|id| (id, None)).collect(),
            held: None,
        }
    }

    /// Returns the number of people in memory.
    #[cfg(test)]
    pub(super) fn people_in_memory(&self) -> usize {
        let folded = self.under_way.values().flatten().filter_map(|known| known.folded.as_ref());
        folded.map(FoldedExchange::people).sum()
    }

    /// Returns the place after the last batch.
    pub fn place(&self) -> FollowedPlace {
        let mut under_way: Vec<String> = self.under_way.keys().map(Ulid::to_string).collect();
        // The entry that ended it is read again, and its records before that entry are looked up.
        under_way.extend(self.held.iter().map(|held| held.ended.decision.to_string()));
        let next = self.held.as_ref().map_or(self.next, |held| held.entry);
        FollowedPlace { origin: self.origin.clone(), next, under_way, tree: self.tree.clone() }
    }

    /// Reads the exchanges that have ended since the last batch.
    ///
    /// # Errors
    /// [`ReadError`], once everything before it was handed on. The next call reads the same again.
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
        if let Some(HeldExchange { ended, entry: _ }) = self.held.take() {
            batch.push(ended);
        }
        while self.next < last && batch.lines.len() < bounds.exchanges && self.held.is_none() {
            let entry = self.next;
            match self.read_entry(&mut log, &mut batch.deleted) {
                Ok(None) => {}
                Ok(Some(ended)) if batch.has_room(&ended, bounds) => batch.push(ended),
                Ok(Some(ended)) => self.held = Some(HeldExchange { ended, entry }),
                Err(error) if batch.lines.is_empty() && batch.deleted == 0 => return Err(error),
                Err(_) => {
                    batch.more = true;
                    return Ok(batch);
                }
            }
        }
        batch.more = self.next < end || self.held.is_some();
        self.tree = log.reader().checkpoint().map(FollowedTree::of);
        self.log = Some(log);
        Ok(batch)
    }

    /// Opens the log, or looks what was added. `None` if there is none yet.
    fn open(&mut self) -> Result<Option<DecodedLog>, ReadError> {
        // After an error, the files are opened again.
        let (log, is_continued) = match self.log.take() {
            Some(mut log) => {
                log.reader_mut().refresh()?;
                (log, true)
            }
            None => match decoded_log::open(self.source.folder())? {
                Some(log) => {
                    let is_continued = self.tree.as_ref().is_none_or(|tree| tree.is_part_of(log.reader()));
                    (log, is_continued)
                }
                None => return Ok(None),
            },
        };
        let origin = log.reader().origin();
        if self.origin != origin || self.next > log.reader().size() || !is_continued {
            // Another log, or one that lost entries: none of its exchanges counts as handed on.
            (self.origin, self.next) = (origin.to_owned(), log.reader().begin());
            self.under_way.clear();
            self.held = None;
        }
        Ok(Some(log))
    }

    /// Reads the next entry, and returns the exchange that it ends. An entry that begins a process ends several: it is the next
    /// one until all are handed on. Nothing has changed after an error.
    fn read_entry(&mut self, log: &mut DecodedLog, deleted: &mut u64) -> Result<Option<Ended>, ReadError> {
        let index = self.next;
        let Some(entry) = log.entry(index)? else {
            // Days were pruned meanwhile.
            let begin = log.reader().begin().max(index + 1);
            *deleted += begin - index;
            self.next = begin;
            return Ok(None);
        };
        let head = log.head(&entry)?;
        if head.kind == EntryKind::Start && !self.under_way.is_empty() {
            let time = log.place(index)?.day.time(&head);
            return self.abort_one(time);
        }
        if let Some((record, next)) = log.exchange_record(index, &entry)? {
            let ended = self.add(record)?;
            self.next = next;
            return Ok(ended);
        }
        self.next = index + 1;
        Ok(None)
    }

    /// Returns the first of the exchanges whose process has died.
    fn abort_one(&mut self, time: Timestamp) -> Result<Option<Ended>, ReadError> {
        let Some((&decision, known)) = self.under_way.first_key_value() else { return Ok(None) };
        let looked_up = if known.is_none() { self.look_up(decision)? } else { None };
        let line = match self.under_way.remove(&decision).flatten() {
            Some(UnderWay { folded, omits_people }) => {
                folded.map(|folded| self.line(folded.aborted().into_json(), omits_people))
            }
            None => looked_up,
        };
        Ok(line.map(|line| Ended { decision, line, time }))
    }

    /// Adds a record to its exchange, which is returned if it has ended.
    fn add(&mut self, record: LoggedExchangeRecord) -> Result<Option<Ended>, ReadError> {
        let (decision, time, has_ended) = (record.decision, record.time, record.end.is_some());
        let is_unread = self.under_way.get(&decision).is_some_and(Option::is_none);
        let begins = record.head.is_some() && !self.under_way.contains_key(&decision);
        if record.corrects || is_unread || (!begins && !self.under_way.contains_key(&decision)) {
            // Its first records are not in memory.
            if !has_ended {
                self.under_way.entry(decision).or_default();
                return Ok(None);
            }
            let line = self.look_up(decision)?;
            self.under_way.remove(&decision);
            return Ok(line.map(|line| Ended { decision, line, time }));
        }
        let known = self.under_way.remove(&decision).flatten();
        let mut known = known.unwrap_or(UnderWay { folded: None, omits_people: false });
        FoldedExchange::collect(&mut known.folded, record);
        self.bound_people(&mut known);
        if !has_ended {
            self.under_way.insert(decision, Some(known));
            return Ok(None);
        }
        let line = known.folded.map(|folded| self.line(folded.into_json(), known.omits_people));
        Ok(line.map(|line| Ended { decision, line, time }))
    }

    /// Forgets people whom nobody will read, so that an exchange that goes on for days does not collect them.
    fn bound_people(&self, known: &mut UnderWay) {
        let Some(folded) = &mut known.folded else { return };
        known.omits_people |= folded.people() > MAX_FOLLOWED_PEOPLE;
        if known.omits_people || !self.with_people {
            folded.forget_people();
        }
    }

    /// Reads an exchange again from its first record on. `None` if the log no longer has it.
    fn look_up(&self, id: Ulid) -> Result<Option<String>, ReadError> {
        let found = fold::decision(self.source.place(), &id.to_string(), true)?;
        Ok(found.map(|exchange| {
            let people = exchange.get("subjects").and_then(Value::as_array).map_or(0, Vec::len);
            self.line(exchange, people > MAX_FOLLOWED_PEOPLE)
        }))
    }

    /// Writes an exchange as one line.
    fn line(&self, mut exchange: Value, omits_people: bool) -> String {
        if let Some(members) = exchange.as_object_mut() {
            if !self.with_people {
                members.retain(|name, _| !PEOPLE.contains(&&**name) && !TEXTS.contains(&&**name));
            } else if omits_people {
                omit_people(members);
            }
        }
        exchange.to_string()
    }
}

impl FollowedTree {
    fn of(checkpoint: &PublishedCheckpoint) -> FollowedTree {
        FollowedTree { size: checkpoint.size, root: STANDARD.encode(checkpoint.root) }
    }

    /// True if a log only grew since it had this tree. One whose tiles cannot be read is taken for the same: `verify` says what
    /// is wrong with it.
    fn is_part_of(&self, reader: &LogReader) -> bool {
        self.size <= reader.published()
            && reader.root(self.size).map_or(true, |root| STANDARD.encode(root) == self.root)
    }
}

/// Writes the line of an exchange without the people in it, for a server to which it is too large. `None` if it names nobody.
pub fn without_people(line: &str) -> Option<String> {
    let mut exchange: Map<String, Value> = serde_json::from_str(line).ok()?;
    if !PEOPLE.iter().any(|name| exchange.contains_key(*name)) {
        return None;
    }
    omit_people(&mut exchange);
    serde_json::to_string(&exchange).ok()
}

/// Removes the members that name people, and says so.
fn omit_people(exchange: &mut Map<String, Value>) {
    exchange.retain(|name, _| !PEOPLE.contains(&&**name));
    exchange.insert(OMITTED.to_owned(), true.into());
}

impl EndedBatch {
    /// True if an exchange fits, or is the first.
    fn has_room(&self, Ended { line, .. }: &Ended, bounds: BatchBounds) -> bool {
        self.lines.is_empty() || self.bytes + line.len() < bounds.bytes
    }

    fn push(&mut self, Ended { decision: _, line, time }: Ended) {
        self.bytes += line.len() + 1;
        self.lines.push(line);
        self.oldest.get_or_insert(time);
    }
}
