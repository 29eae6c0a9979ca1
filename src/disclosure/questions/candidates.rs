//! Finds the exchanges of one log that may answer a question, newest first.
//!
//! Entries beyond the index are scanned from the end of the log; the rest comes from the index. Without an index the whole
//! log is scanned, also from the place on at which an index fails. Invariant: every exchange that answers the question is among
//! the candidates, with all of its entries; the caller compares the folded exchange.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::Date;
use ulid::Ulid;

use super::LogQuestion;
use crate::disclosure::entry::{DecodedHead, EntryKind, NameTable};
#[cfg(feature = "sqlite")]
use crate::disclosure::index::{IndexError, LogIndex};
use crate::disclosure::read::decoded_log::DecodedLog;
use crate::disclosure::read::model::LoggedExchangeRecord;
use crate::disclosure::storage::ReadError;
use crate::keys::Pseudonym;

/// Number of entries that are scanned at once: a bundle.
const SCANNED: u64 = 256;

/// An exchange that may answer the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::disclosure) struct Candidate {
    /// The decision.
    pub(in crate::disclosure) decision: Ulid,
    /// The exchange's entries, oldest first.
    pub(in crate::disclosure) entries: Vec<u64>,
    /// Time of the first entry.
    pub(in crate::disclosure) time: Timestamp,
    /// True if the process that wrote the first entry has ended.
    pub(in crate::disclosure) process_ended: bool,
}

impl Candidate {
    /// Reads the records of the exchange. The last one ends it, if it has ended.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(in crate::disclosure) fn records(
        &self,
        log: &mut DecodedLog,
    ) -> Result<Vec<LoggedExchangeRecord>, ReadError> {
        let mut records = Vec::with_capacity(self.entries.len());
        for index in &self.entries {
            // Pruned meanwhile.
            let Some(entry) = log.entry(*index)? else { continue };
            // A later part belongs to the record of the first one.
            let Some((record, _)) = log.exchange_record(*index, &entry)? else { continue };
            records.push(record);
        }
        if let Some((_, earlier)) = records.split_last_mut() {
            // A correction follows the end that it corrects.
            earlier.iter_mut().for_each(|record| record.end = None);
        }
        Ok(records)
    }
}

/// The place in a log at which a search goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::disclosure) struct SearchPlace {
    /// Only exchanges that begin below this entry are sought.
    pub(in crate::disclosure) below: u64,
    /// Entries that belong to no such exchange. They are not read again.
    pub(in crate::disclosure) unrelated: Range<u64>,
    /// True if a process has begun with one of these entries.
    pub(in crate::disclosure) has_later_start: bool,
}

impl SearchPlace {
    /// The place of the newest exchange.
    pub(in crate::disclosure) const NEWEST: SearchPlace =
        SearchPlace { below: u64::MAX, unrelated: 0..0, has_later_start: false };

    /// The place after the oldest exchange.
    pub(super) const END: SearchPlace = SearchPlace { below: 0, ..SearchPlace::NEWEST };

    pub(super) fn is_end(&self) -> bool {
        self.below == 0
    }
}

/// An error of one step of a search.
enum StepError {
    Log(ReadError),
    #[cfg(feature = "sqlite")]
    Index(IndexError),
}

impl From<ReadError> for StepError {
    fn from(error: ReadError) -> StepError {
        StepError::Log(error)
    }
}

#[cfg(feature = "sqlite")]
impl From<IndexError> for StepError {
    fn from(error: IndexError) -> StepError {
        StepError::Index(error)
    }
}

/// The result of one step of a search.
#[derive(Debug)]
pub(in crate::disclosure) enum CandidateStep {
    /// A candidate.
    Found(Candidate),
    /// The search has read as many entries as it may. It can go on below this entry.
    Paused(u64),
    /// There are no more candidates.
    End,
}

/// The place from which the next candidates come.
enum SearchStage {
    /// The entries below this one are scanned next.
    Scan(u64),
    /// Exchanges that begin with these entries, newest first.
    #[cfg(feature = "sqlite")]
    Listed(std::vec::IntoIter<u64>),
    /// Exchanges of these facets that begin below the entry.
    #[cfg(feature = "sqlite")]
    Facets {
        facets: Vec<i64>,
        below: u64,
    },
    /// The indexed entries below this one are scanned next.
    #[cfg(feature = "sqlite")]
    ScanIndexed(u64),
    End,
}

/// The pseudonyms of a person on a day.
pub(in crate::disclosure) type NamesOfDay<'n> = dyn Fn(Date) -> Vec<Pseudonym> + 'n;

/// Finds candidates in one log.
pub(in crate::disclosure) struct CandidateSearch<'l> {
    log: &'l mut DecodedLog,
    #[cfg(feature = "sqlite")]
    index: Option<LogIndex>,
    question: &'l LogQuestion,
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only an index is asked for a person"))]
    person: Option<&'l NamesOfDay<'l>>,
    begun: SearchPlace,
    /// The number of entries when the search began.
    size: u64,
    /// Only exchanges that begin below this entry are sought.
    below: u64,
    /// The exchanges that begin with this entry or later were returned.
    returned: u64,
    /// All entries from this one on were scanned, but for the unrelated ones.
    scanned: u64,
    stage: SearchStage,
    /// Entries of exchanges whose first entry was not reached yet, newest first.
    later: HashMap<Ulid, Vec<u64>>,
    /// First and last entries of the exchanges with several entries that begin in the part that was scanned last.
    spans: Vec<(u64, u64)>,
    /// The first entries of exchanges in the index that have later entries.
    #[cfg(feature = "sqlite")]
    unfinished: Vec<u64>,
    /// True if a process has begun after the entries that are scanned next.
    has_later_start: bool,
    /// The newest entry with which a process has begun, of those that were scanned.
    newest_start: Option<u64>,
    found: VecDeque<Candidate>,
    /// Number of entries that may still be read.
    budget: u64,
    /// Number of entries that may still be read although they were read for an earlier part of the answer.
    repetitions: u64,
}

impl<'l> CandidateSearch<'l> {
    /// Begins a search at a place. It pauses after so many entries. It fails if it would have to read as many entries again
    /// that were read to reach the place.
    pub(in crate::disclosure) fn new(
        log: &'l mut DecodedLog,
        #[cfg(feature = "sqlite")] index: Option<LogIndex>,
        question: &'l LogQuestion,
        person: Option<&'l NamesOfDay<'l>>,
        place: SearchPlace,
        budget: u64,
    ) -> CandidateSearch<'l> {
        #[cfg(feature = "sqlite")]
        let index = index.filter(|index| index.state().fits(log.reader()));
        let size = log.reader().size();
        let mut search = CandidateSearch {
            log,
            #[cfg(feature = "sqlite")]
            index,
            question,
            person,
            begun: SearchPlace::END,
            size,
            below: 0,
            returned: 0,
            scanned: size,
            stage: SearchStage::End,
            later: HashMap::new(),
            spans: Vec::new(),
            #[cfg(feature = "sqlite")]
            unfinished: Vec::new(),
            has_later_start: false,
            newest_start: None,
            found: VecDeque::new(),
            budget,
            repetitions: budget,
        };
        search.begin(place);
        search
    }

    /// Begins at a place.
    fn begin(&mut self, place: SearchPlace) {
        self.stage = if place.is_end() { SearchStage::End } else { SearchStage::Scan(self.size) };
        (self.below, self.returned, self.scanned) = (place.below, place.below, self.size);
        (self.has_later_start, self.newest_start) = (place.has_later_start, None);
        self.begun = place;
        self.later.clear();
        self.spans.clear();
        self.found.clear();
    }

    /// Returns the log.
    pub(in crate::disclosure) fn log(&mut self) -> &mut DecodedLog {
        self.log
    }

    /// Returns the place at which another search finds the exchanges that begin below an entry. The exchanges that begin there
    /// or later must have been found.
    pub(in crate::disclosure) fn place(&self, below: u64) -> SearchPlace {
        // Nothing was found: the entries above may not have been scanned.
        if below >= self.begun.below {
            return self.begun.clone();
        }
        let later = self.later.values().filter_map(|entries| entries.first().copied());
        let spans = self.spans.iter().filter(|(first, _)| *first < below).map(|(_, last)| *last);
        let needed = later.chain(spans).max().map_or(0, |last| last.saturating_add(1));
        let begins = self.newest_start.is_some_and(|start| start >= below);
        SearchPlace {
            below,
            unrelated: needed.max(self.scanned).max(below)..self.size,
            has_later_start: self.begun.has_later_start || begins,
        }
    }

    /// Returns the next candidate.
    ///
    /// # Errors
    /// [`ReadError`]. One of the index is reported: the search goes on without it.
    pub(in crate::disclosure) fn next(&mut self) -> Result<CandidateStep, ReadError> {
        match self.next_step() {
            Ok(step) => Ok(self.returned(step)),
            Err(StepError::Log(error)) => Err(error),
            #[cfg(feature = "sqlite")]
            Err(StepError::Index(error)) => {
                error.report();
                self.index = None;
                self.unfinished.clear();
                self.begin(self.place(self.returned));
                self.next()
            }
        }
    }

    /// Notes which candidates were returned.
    fn returned(&mut self, step: CandidateStep) -> CandidateStep {
        if let CandidateStep::Found(Candidate { entries, .. }) = &step {
            self.returned = entries.first().copied().unwrap_or(self.returned);
        }
        step
    }

    fn next_step(&mut self) -> Result<CandidateStep, StepError> {
        loop {
            if let Some(candidate) = self.found.pop_front() {
                // The times of entries never decrease, and no request arrived after its first entry was written.
                if self.question.since.is_some_and(|since| candidate.time < since) {
                    self.stage = SearchStage::End;
                    self.found.clear();
                    return Ok(CandidateStep::End);
                }
                return Ok(CandidateStep::Found(candidate));
            }
            if self.budget == 0
                && let Some(below) = self.reached()
            {
                return Ok(CandidateStep::Paused(below));
            }
            match std::mem::replace(&mut self.stage, SearchStage::End) {
                SearchStage::End => return Ok(CandidateStep::End),
                SearchStage::Scan(below) => self.scan(below)?,
                #[cfg(feature = "sqlite")]
                SearchStage::Listed(mut entries) => {
                    if let Some(entry) = entries.next() {
                        self.stage = SearchStage::Listed(entries);
                        self.add_indexed(entry)?;
                    }
                }
                #[cfg(feature = "sqlite")]
                SearchStage::Facets { facets, below } => self.read_facets(facets, below)?,
                #[cfg(feature = "sqlite")]
                SearchStage::ScanIndexed(below) => self.scan_indexed(below)?,
            }
        }
    }

    /// Returns the entry below which the next candidates begin; `None` at the end.
    fn reached(&self) -> Option<u64> {
        match &self.stage {
            SearchStage::Scan(below) => Some((*below).min(self.below)),
            #[cfg(feature = "sqlite")]
            SearchStage::Listed(entries) => entries.as_slice().first().map(|entry| entry.saturating_add(1)),
            #[cfg(feature = "sqlite")]
            SearchStage::Facets { below, .. } | SearchStage::ScanIndexed(below) => Some(*below),
            SearchStage::End => None,
        }
    }

    /// Scans the bundle below an entry.
    fn scan(&mut self, below: u64) -> Result<(), StepError> {
        let Range { start, end } = self.begun.unrelated;
        let (below, end) = if below <= end { (below.min(start), 0) } else { (below, end) };
        self.scanned = self.scanned.min(below);
        let lowest = self.log.reader().begin().max(self.indexed());
        let Some(last) = below.checked_sub(1).filter(|_| below > lowest) else { return self.end_scan() };
        let from = (last - last % SCANNED).max(lowest).max(end);
        let mut earliest = None;
        self.spans.clear();
        for index in (from..below).rev() {
            self.count(index)?;
            // Pruned meanwhile.
            let Some(entry) = self.log.entry(index)? else { continue };
            let head = self.log.head(&entry)?;
            if head.kind == EntryKind::Start {
                self.has_later_start = true;
                self.newest_start.get_or_insert(index);
            }
            earliest = Some(self.log.place(index)?.day.time(&head));
            let is_exchange = !matches!(head.kind, EntryKind::Act | EntryKind::Notice);
            let Some(decision) = head.id.filter(|_| is_exchange) else { continue };
            if !head.begins_exchange(self.log.reader().begin()) {
                self.later.entry(decision).or_default().push(index);
                continue;
            }
            let mut entries = self.later.remove(&decision).unwrap_or_default();
            self.spans.extend(entries.first().map(|last| (index, *last)));
            if index < self.below && self.matches(index, &head)? {
                entries.push(index);
                entries.reverse();
                let time = self.log.place(index)?.day.time(&head);
                let process_ended = self.has_later_start;
                self.found.push_back(Candidate { decision, entries, time, process_ended });
            }
        }
        self.scanned = from;
        self.stage = SearchStage::Scan(from);
        if self.question.since.zip(earliest).is_some_and(|(since, earliest)| earliest < since) {
            self.stage = SearchStage::End;
        }
        Ok(())
    }

    /// Counts an entry that is read.
    fn count(&mut self, index: u64) -> Result<(), ReadError> {
        if index < self.below {
            // The search pauses after the bundle.
            self.budget = self.budget.saturating_sub(1);
        } else {
            let left = self.repetitions.checked_sub(1);
            let not_indexed = || ReadError::NotIndexed(self.log.reader().folder().to_owned());
            self.repetitions = left.ok_or_else(not_indexed)?;
        }
        Ok(())
    }

    /// True if the names in the head of an exchange are those of the question.
    fn matches(&mut self, index: u64, head: &DecodedHead<'_>) -> Result<bool, StepError> {
        let LogQuestion { recipient, purpose, route, decision, .. } = self.question;
        if decision.is_some_and(|decision| head.id != Some(decision)) {
            return Ok(false);
        }
        for (wanted, table, number) in [
            (recipient, NameTable::Recipient, head.recipient),
            (purpose, NameTable::Purpose, head.purpose),
            (route, NameTable::Route, head.route),
        ] {
            let Some(wanted) = wanted else { continue };
            let is_it = match number {
                Some(number) => {
                    let place = self.log.place(index)?;
                    **wanted == *self.log.name(&place, head.base, table, number)?
                }
                None => wanted.is_empty(),
            };
            if !is_it {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the number of entries that are indexed.
    fn indexed(&self) -> u64 {
        #[cfg(feature = "sqlite")]
        return self.index.as_ref().map_or(0, |index| index.state().size);
        #[cfg(not(feature = "sqlite"))]
        0
    }

    #[cfg(not(feature = "sqlite"))]
    #[allow(clippy::unnecessary_wraps, reason = "an index can fail")]
    fn end_scan(&mut self) -> Result<(), StepError> {
        self.stage = SearchStage::End;
        Ok(())
    }

    /// Goes on with the index.
    #[cfg(feature = "sqlite")]
    fn end_scan(&mut self) -> Result<(), StepError> {
        let Some(index) = &self.index else { return Ok(()) };
        // Exchanges that begin in the index and go on beyond it: the index does not know all about them.
        let begin = self.log.reader().begin();
        let is_kept = |entry: &u64| *entry >= begin;
        for decision in self.later.keys() {
            self.unfinished.extend(index.decision(*decision)?.into_iter().find(is_kept));
        }
        // The process of open exchanges may have died.
        if self.question.outcome.is_some() {
            self.unfinished.extend(index.open_exchanges()?);
        }
        let mut listed = match (self.question.decision, self.person, &self.question.case) {
            // Of a decision the first entry only.
            (Some(decision), ..) => index.decision(decision)?.into_iter().find(is_kept).into_iter().collect(),
            (None, Some(names), _) => index.person(names)?,
            (None, None, Some(case)) => index.case(case)?,
            (None, None, None) => {
                let (filter, below) = (self.question.facets(), self.below.min(index.state().size));
                let facets = if filter.is_empty() { None } else { index.facets(&filter)? };
                self.stage = match facets {
                    Some(facets) => SearchStage::Facets { facets, below },
                    None => SearchStage::ScanIndexed(below),
                };
                return Ok(());
            }
        };
        listed.append(&mut self.unfinished);
        newest_first(&mut listed);
        self.stage = SearchStage::Listed(listed.into_iter());
        Ok(())
    }

    /// Scans the bundle below an entry for the first entries of exchanges. The index has the others.
    #[cfg(feature = "sqlite")]
    fn scan_indexed(&mut self, below: u64) -> Result<(), StepError> {
        let lowest = self.log.reader().begin();
        let Some(last) = below.checked_sub(1).filter(|_| below > lowest) else { return Ok(()) };
        let from = (last - last % SCANNED).max(lowest);
        for index in (from..below).rev() {
            self.add_indexed(index)?;
        }
        self.stage = SearchStage::ScanIndexed(from);
        Ok(())
    }

    #[cfg(feature = "sqlite")]
    fn read_facets(&mut self, facets: Vec<i64>, below: u64) -> Result<(), StepError> {
        let Some(index) = &self.index else { return Ok(()) };
        let (mut entries, next) = index.facet_entries(&facets, below)?;
        entries.extend(self.unfinished.extract_if(.., |entry| *entry >= next));
        newest_first(&mut entries);
        for entry in entries {
            self.add_indexed(entry)?;
        }
        if next > self.log.reader().begin() {
            self.stage = SearchStage::Facets { facets, below: next };
        }
        Ok(())
    }

    /// Adds the exchange that begins with an entry, if it may answer the question.
    #[cfg(feature = "sqlite")]
    fn add_indexed(&mut self, first: u64) -> Result<(), StepError> {
        self.budget = self.budget.saturating_sub(1);
        // Acts, and exchanges whose first entry was pruned.
        let Some(entry) = self.log.entry(first)?.filter(|_| first < self.below) else { return Ok(()) };
        let head = self.log.head(&entry)?;
        let begins = head.begins_exchange(self.log.reader().begin());
        let Some(decision) = head.id.filter(|_| begins) else { return Ok(()) };
        if !self.matches(first, &head)? {
            return Ok(());
        }
        let Some(index) = &self.index else { return Ok(()) };
        let mut entries = index.decision(decision)?;
        let process_ended = self.has_later_start || !index.is_open(decision)?;
        entries.extend(self.later.get(&decision).into_iter().flatten().rev());
        let time = self.log.place(first)?.day.time(&head);
        self.found.push_back(Candidate { decision, entries, time, process_ended });
        Ok(())
    }
}

#[cfg(feature = "sqlite")]
fn newest_first(entries: &mut Vec<u64>) {
    entries.sort_unstable_by(|one, other| other.cmp(one));
    entries.dedup();
}
