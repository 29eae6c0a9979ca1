//! Brings an index up to date with its log.
//!
//! Only published entries are indexed: what a crash can take back is not in an index.

use std::path::Path;

use super::writer::{ExchangePlace, IndexWriter, IndexedEntry};
use super::{Facets, IndexError, IndexedState};
use crate::disclosure::entry::{DecodedHead, Entry, EntryKind, NameTable, decode_detail, decode_head};
use crate::disclosure::storage::{LogReader, ReadError};
use crate::disclosure::terms::TermCache;
use crate::keys::Pseudonym;

/// Maximum number of entries of a transaction. Their postings are sorted in memory.
const BATCH: u64 = 1 << 16;

/// Appends the entries of a log to its index.
#[derive(Debug)]
pub struct Indexer {
    writer: IndexWriter,
    state: Option<IndexedState>,
    terms: TermCache,
}

impl Indexer {
    /// Opens the index of a log in the folder of indexes, or creates it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open(folder: &Path, log: &LogReader) -> Result<Indexer, IndexError> {
        let writer = IndexWriter::open(&super::file(folder, log.origin()))?;
        let state = writer.state()?;
        Ok(Indexer { writer, state, terms: TermCache::default() })
    }

    /// Removes everything from the index. The next [`Indexer::update`] builds it again.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn clear(self) -> Result<Indexer, IndexError> {
        Ok(Indexer { writer: self.writer.clear()?, state: None, terms: TermCache::default() })
    }

    /// Returns the number of entries that the index covers.
    pub fn size(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.size)
    }

    /// Indexes what the log has published since, at most one batch. Begins again if the index does not fit the log. Returns
    /// true if there is more.
    ///
    /// # Errors
    /// [`IndexError`]. The indexer cannot be used any more.
    pub fn update(mut self, log: &mut LogReader) -> Result<(Indexer, bool), IndexError> {
        if self.state.as_ref().is_some_and(|state| !state.fits(log)) {
            tracing::info!(log = %log.folder().display(), "the index does not fit the disclosure log and is built again");
            self = self.clear()?;
        }
        if let Some(state) = self.state.as_mut().filter(|state| state.first < log.begin()) {
            let begin = log.begin();
            let day = self.terms.place(log, begin)?.day.date;
            self.writer.prune(begin, day)?;
            state.first = log.begin();
        }
        let (from, published) = (self.size().max(log.begin()), log.published());
        if from >= published {
            return Ok((self, false));
        }
        let to = published.min(from.saturating_add(BATCH));
        self.add_entries(log, from, to)?;
        Ok((self, to < published))
    }

    fn add_entries(&mut self, log: &mut LogReader, from: u64, to: u64) -> Result<(), IndexError> {
        self.writer.begin()?;
        for index in from..to {
            // A pruning that happens meanwhile is noticed at the next update.
            if let Some(entry) = log.entry(index)? {
                self.add(log, index, &entry)?;
            }
        }
        let first = self.state.as_ref().map_or(log.begin(), |state| state.first);
        let state = IndexedState { origin: log.origin().to_owned(), size: to, root: log.root(to)?, first };
        self.writer.commit(&state)?;
        self.state = Some(state);
        Ok(())
    }

    fn add(&mut self, log: &mut LogReader, index: u64, entry: &Entry) -> Result<(), IndexError> {
        let damaged = |log: &LogReader| ReadError::Damaged(log.folder().to_owned());
        let head = decode_head(&entry.leaf).map_err(|_| damaged(log))?;
        if entry.detail.is_empty() && head.kind.has_personal_detail() {
            self.writer.add_without_detail(index)?;
        }
        match head.kind {
            EntryKind::Day => {
                return self.writer.begin_day(head.day().ok_or_else(|| damaged(log))?, index);
            }
            EntryKind::Start => return self.writer.abort_open(),
            EntryKind::DetailDeletion => return self.writer.add_deletion(index),
            EntryKind::Name => {
                self.terms.keep_defined(index, &head);
                return Ok(());
            }
            EntryKind::Padding
            | EntryKind::Stop
            | EntryKind::Ruling
            | EntryKind::Factors
            | EntryKind::SecretErasure
            | EntryKind::Pruning
            | EntryKind::Resume
            | EntryKind::DroppedRefusals
            // Nobody asks for these by person or case.
            | EntryKind::Act
            | EntryKind::Notice => return Ok(()),
            EntryKind::Exchange
            | EntryKind::Refusal
            | EntryKind::Intent
            | EntryKind::Window
            | EntryKind::Close
            | EntryKind::Correction => {}
        }
        let detail = decode_detail(head.kind, &entry.detail).map_err(|_| damaged(log))?.unwrap_or_default();
        let people: Vec<Pseudonym> = detail
            .subjects
            .iter()
            .chain(detail.withheld_subjects)
            .map(|bytes| Pseudonym::from_bytes(*bytes))
            .collect();
        let place = self.place(log, index, &head, detail.part())?;
        let decision = head.id.ok_or_else(|| damaged(log))?;
        self.writer.add(IndexedEntry { entry: index, decision, place, case: detail.case, people: &people })
    }

    fn place(
        &mut self,
        log: &mut LogReader,
        index: u64,
        head: &DecodedHead<'_>,
        part: u64,
    ) -> Result<ExchangePlace, IndexError> {
        let place = self.terms.place(log, index)?;
        let outcome = self.terms.outcome(log, &place, head)?;
        if !head.has_circumstances() {
            // Of the parts of a correction, the first one ends the exchange.
            return Ok(match outcome.filter(|_| part == 1 && head.kind != EntryKind::Exchange) {
                Some(outcome) => ExchangePlace::Ends(outcome.into()),
                None => ExchangePlace::Continues,
            });
        }
        let mut name = |table, number| self.terms.name_or_empty(log, &place, head.base, table, number);
        let facets = Facets {
            recipient: name(NameTable::Recipient, head.recipient)?,
            purpose: name(NameTable::Purpose, head.purpose)?,
            route: name(NameTable::Route, head.route)?,
            operation: head.operation.map_or("", |operation| operation.name()).into(),
            outcome: outcome.as_deref().unwrap_or_default().into(),
        };
        Ok(match head.continues {
            Some(_) => ExchangePlace::BeginsAgain(facets),
            None => ExchangePlace::Begins { facets, open: outcome.is_none() },
        })
    }
}

impl IndexedState {
    /// True if the index was made of this log, or of a log of which this one is the continuation.
    pub fn fits(&self, log: &LogReader) -> bool {
        let IndexedState { origin, size, root, first } = self;
        // Pruned entries that were not indexed cannot be indexed any more, and those that follow need a day to begin with.
        origin == log.origin()
            && (log.begin()..=log.published()).contains(size)
            && *first <= log.begin()
            && log.root(*size).is_ok_and(|found| found == *root)
    }
}
