//! Finds the exchanges of one log that may answer a question, newest first.
//!
//! Entries beyond the index are scanned from the end of the log; the rest comes from the index. Without an index the whole
//! log is scanned. Invariant: every exchange that answers the question is among the candidates, with all of its entries; the
//! caller compares the folded exchange.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use jiff::civil::Date;
use ulid::Ulid;

use super::{LogQuestion, QuestionError};
use crate::disclosure::entry::{DecodedHead, EntryKind, NameTable};
#[cfg(feature = "sqlite")]
use crate::disclosure::index::LogIndex;
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
    /// Only exchanges that begin below this entry.
    below: u64,
    stage: SearchStage,
    /// Entries of exchanges whose first entry was not reached yet, newest first.
    later: HashMap<Ulid, Vec<u64>>,
    /// The first entries of exchanges in the index that have later entries.
    #[cfg(feature = "sqlite")]
    unfinished: Vec<u64>,
    /// True if a process has begun after the entries that are scanned next.
    has_later_start: bool,
    found: VecDeque<Candidate>,
    /// Number of entries that may still be read.
    budget: u64,
}

impl<'l> CandidateSearch<'l> {
    /// Begins a search for exchanges that begin below an entry. It pauses after so many entries.
    pub(in crate::disclosure) fn new(
        log: &'l mut DecodedLog,
        #[cfg(feature = "sqlite")] index: Option<LogIndex>,
        question: &'l LogQuestion,
        person: Option<&'l NamesOfDay<'l>>,
        below: u64,
        budget: u64,
    ) -> CandidateSearch<'l> {
        #[cfg(feature = "sqlite")]
        let index = index.filter(|index| index.state().fits(log.reader()));
        let stage = SearchStage::Scan(log.reader().size());
        CandidateSearch {
            log,
            #[cfg(feature = "sqlite")]
            index,
            question,
            person,
            below,
            stage,
            later: HashMap::new(),
            #[cfg(feature = "sqlite")]
            unfinished: Vec::new(),
            has_later_start: false,
            found: VecDeque::new(),
            budget,
        }
    }

    /// Returns the log.
    pub(in crate::disclosure) fn log(&mut self) -> &mut DecodedLog {
        self.log
    }

    /// Returns the next candidate.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub(in crate::disclosure) fn next(&mut self) -> Result<CandidateStep, QuestionError> {
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
    fn scan(&mut self, below: u64) -> Result<(), QuestionError> {
        let lowest = self.log.reader().begin().max(self.indexed());
        let Some(last) = below.checked_sub(1).filter(|_| below > lowest) else { return self.end_scan() };
        let from = (last - last % SCANNED).max(lowest);
        let mut earliest = None;
        for index in (from..below).rev() {
            // Entries above were counted for an earlier part of the answer.
            self.budget = self.budget.saturating_sub(u64::from(index < self.below));
            // Pruned meanwhile.
            let Some(entry) = self.log.entry(index)? else { continue };
            let head = self.log.head(&entry)?;
            self.has_later_start |= head.kind == EntryKind::Start;
            earliest = Some(self.log.place(index)?.day.time(&head));
            let is_exchange = !matches!(head.kind, EntryKind::Act | EntryKind::Notice);
            let Some(decision) = head.id.filter(|_| is_exchange) else { continue };
            let mut entries = match head.begins_exchange() {
                true => self.later.remove(&decision).unwrap_or_default(),
                false => {
                    self.later.entry(decision).or_default().push(index);
                    continue;
                }
            };
            if index < self.below && self.matches(index, &head)? {
                entries.push(index);
                entries.reverse();
                let time = self.log.place(index)?.day.time(&head);
                let process_ended = self.has_later_start;
                self.found.push_back(Candidate { decision, entries, time, process_ended });
            }
        }
        self.stage = SearchStage::Scan(from);
        if self.question.since.zip(earliest).is_some_and(|(since, earliest)| earliest < since) {
            self.stage = SearchStage::End;
        }
        Ok(())
    }

    /// True if the names in the head of an exchange are those of the question.
    fn matches(&mut self, index: u64, head: &DecodedHead<'_>) -> Result<bool, QuestionError> {
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
    fn end_scan(&mut self) -> Result<(), QuestionError> {
        self.stage = SearchStage::End;
        Ok(())
    }

    /// Goes on with the index.
    #[cfg(feature = "sqlite")]
    fn end_scan(&mut self) -> Result<(), QuestionError> {
        let Some(index) = &self.index else { return Ok(()) };
        // Exchanges that begin in the index and go on beyond it: the index does not know all about them.
        for decision in self.later.keys() {
            self.unfinished.extend(index.decision(*decision)?.first());
        }
        // The process of open exchanges may have died.
        if self.question.outcome.is_some() {
            self.unfinished.extend(index.open_exchanges()?);
        }
        let mut listed = match (self.question.decision, self.person, &self.question.case) {
            // Of a decision the first entry only.
            (Some(decision), ..) => index.decision(decision)?.into_iter().take(1).collect(),
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
    fn scan_indexed(&mut self, below: u64) -> Result<(), QuestionError> {
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
    fn read_facets(&mut self, facets: Vec<i64>, below: u64) -> Result<(), QuestionError> {
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
    fn add_indexed(&mut self, first: u64) -> Result<(), QuestionError> {
        self.budget = self.budget.saturating_sub(1);
        // Acts, and exchanges whose first entry was pruned.
        let Some(entry) = self.log.entry(first)?.filter(|_| first < self.below) else { return Ok(()) };
        let head = self.log.head(&entry)?;
        let Some(decision) = head.id.filter(|_| head.begins_exchange()) else { return Ok(()) };
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
