//! Reads an index. Another process may write it meanwhile: each look-up sees a whole number of transactions.
//!
//! Everything it returns is a candidate: terms are shortened, and the outcome of an exchange can have changed. The caller
//! compares the entries themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::ToSpan as _;
use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use ulid::Ulid;

use super::schema::{self, BUNDLE, from_sql, to_sql};
use super::{FacetFilter, Facets, IndexError, IndexedDeletions, IndexedState};
use crate::disclosure::storage::layout::kept_checkpoint_path;
use crate::disclosure::storage::{LogReader, ReadError};
use crate::keys::Pseudonym;

/// Number of rows that are read at once of each facet.
const FACET_ROWS: i64 = 16;

/// Maximum number of facets that are read together. With more of them the log itself is read as quickly.
const MAX_FACETS: usize = 4096;

/// The index of one log, open for reading.
pub struct LogIndex {
    path: PathBuf,
    connection: Connection,
    state: IndexedState,
}

impl std::fmt::Debug for LogIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogIndex").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A part of a log with one set of terms, which lies within a day.
#[derive(Clone, Copy, Debug)]
struct Run {
    id: i64,
    day: Date,
}

impl LogIndex {
    /// Opens the index of a log. Returns `None` if there is none, or it is not of this version or empty.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open(folder: &Path, origin: &str) -> Result<Option<LogIndex>, IndexError> {
        let path = super::file(folder, origin);
        if !path.exists() {
            return Ok(None);
        }
        let read = || {
            let connection = connect(&path)?;
            connection.pragma_update(None, "query_only", true)?;
            if version(&connection)? != schema::VERSION {
                return Ok(None);
            }
            // One transaction: all look-ups see the same extent.
            connection.execute_batch("BEGIN")?;
            Ok(state(&connection)?.map(|state| (connection, state)))
        };
        let opened = read().map_err(|error| IndexError::sqlite(&path, error))?;
        let fits = opened.filter(|(_, state)| state.origin == origin);
        Ok(fits.map(|(connection, state)| LogIndex { path, connection, state }))
    }

    /// Opens the index of a log, if there is one that fits it. One that cannot be opened is reported: the log answers
    /// questions without it.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if the index has a day that the log's checkpoints do not show.
    pub fn open_fitting(folder: &Path, log: &LogReader) -> Result<Option<LogIndex>, ReadError> {
        let opened = LogIndex::open(folder, log.origin()).and_then(|index| {
            let Some(index) = index.filter(|index| index.state.fits(log)) else { return Ok(None) };
            let days = index.days().map_err(|error| index.failed(error))?;
            Ok(Some((index, days)))
        });
        let Some((index, days)) = opened.inspect_err(IndexError::report).ok().flatten() else {
            return Ok(None);
        };
        // The runs of a day that is being pruned may begin within it.
        let is_missing = |first: &u64| *first > log.begin() && !log.days().contains(first);
        match days.into_iter().find(is_missing) {
            Some(first) => Err(ReadError::Damaged(log.folder().join(kept_checkpoint_path(first)))),
            None => Ok(Some(index)),
        }
    }

    /// Returns the first entries of the days in the index.
    fn days(&self) -> rusqlite::Result<Vec<u64>> {
        let first = "SELECT first FROM run WHERE id IN (SELECT min(id) FROM run GROUP BY day)";
        let mut select = self.connection.prepare(first)?;
        select.query_map([], |row| row.get(0).map(from_sql))?.collect()
    }

    /// Returns the extent of the indexed log.
    pub fn state(&self) -> &IndexedState {
        &self.state
    }

    fn failed(&self, error: rusqlite::Error) -> IndexError {
        IndexError::sqlite(&self.path, error)
    }

    /// Returns the entries of a decision, ascending.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn decision(&self, id: Ulid) -> Result<Vec<u64>, IndexError> {
        let select = "SELECT entry FROM decision WHERE id = ?1 ORDER BY entry";
        let read = || {
            let mut select = self.connection.prepare_cached(select)?;
            let rows = select.query_map(params![id.to_bytes()], |row| row.get(0).map(from_sql))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// True if the exchange has not ended, and its process has not died, as far as the index reaches.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn is_open(&self, id: Ulid) -> Result<bool, IndexError> {
        let select = "SELECT EXISTS (SELECT 1 FROM open_exchange WHERE decision = ?1)";
        let read =
            || self.connection.prepare_cached(select)?.query_row(params![id.to_bytes()], |row| row.get(0));
        read().map_err(|error| self.failed(error))
    }

    /// Returns the first entries of the exchanges that have not ended, and those of later days that have the names again, as far
    /// as the index reaches.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open_exchanges(&self) -> Result<Vec<u64>, IndexError> {
        let heads = "SELECT decision.entry FROM open_exchange JOIN decision ON decision.id = open_exchange.decision \
                     WHERE decision.facet IS NOT NULL";
        let read = || {
            let mut select = self.connection.prepare_cached(heads)?;
            select.query_map([], |row| row.get(0).map(from_sql))?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Returns the first entries of the exchanges that may concern a person, newest first. `names` returns the person's
    /// pseudonyms on a day.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn person(&self, mut names: impl FnMut(Date) -> Vec<Pseudonym>) -> Result<Vec<u64>, IndexError> {
        let mut of_day: Option<(Date, Vec<[u8; 8]>)> = None;
        let terms = |run: &Run| match &of_day {
            Some((day, terms)) if *day == run.day => terms.clone(),
            _ => {
                let terms: Vec<_> = names(run.day).iter().map(schema::person_term).collect();
                of_day = Some((run.day, terms.clone()));
                terms
            }
        };
        self.postings(terms)
    }

    /// Returns the deletions of details, as far as the index reaches. Details that were deleted after their entries were indexed
    /// are among them only if an entry states it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(in crate::disclosure) fn deletions(&self) -> Result<IndexedDeletions, IndexError> {
        let read = || -> rusqlite::Result<IndexedDeletions> {
            let stated = "SELECT entry FROM detail_deletion ORDER BY entry";
            let mut select = self.connection.prepare_cached(stated)?;
            let entry = |row: &Row<'_>| row.get(0).map(from_sql);
            let statements = select.query_map([], entry)?.collect::<rusqlite::Result<_>>()?;
            let missing = "SELECT first, below FROM without_detail ORDER BY first";
            let mut select = self.connection.prepare_cached(missing)?;
            let range = |row: &Row<'_>| Ok(from_sql(row.get(0)?)..from_sql(row.get(1)?));
            let missing = select.query_map([], range)?.collect::<rusqlite::Result<_>>()?;
            Ok(IndexedDeletions { statements, missing })
        };
        read().map_err(|error| self.failed(error))
    }

    /// Returns the first entries of the exchanges that may cite a case, newest first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn case(&self, case: &str) -> Result<Vec<u64>, IndexError> {
        let term = schema::case_term(case);
        self.postings(|_| vec![term])
    }

    fn postings(&self, mut terms: impl FnMut(&Run) -> Vec<[u8; 8]>) -> Result<Vec<u64>, IndexError> {
        let mut read = || -> rusqlite::Result<Vec<u64>> {
            let mut select = self.connection.prepare_cached("SELECT entry FROM posting WHERE key = ?1")?;
            let mut found = Vec::new();
            for run in self.runs()? {
                for term in terms(&run) {
                    let rows = select.query_map([schema::posting_key(run.id, term)], |row| row.get(0))?;
                    for entry in rows {
                        found.push(from_sql(entry?));
                    }
                }
            }
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.dedup();
            Ok(found)
        };
        read().map_err(|error| self.failed(error))
    }

    fn runs(&self) -> rusqlite::Result<Vec<Run>> {
        let run = |row: &Row<'_>| {
            let days: i64 = row.get(1)?;
            let day = Date::constant(1970, 1, 1).checked_add(days.days());
            let day = day.map_err(|_| rusqlite::Error::IntegralValueOutOfRange(1, days))?;
            Ok(Run { id: row.get(0)?, day })
        };
        let mut select = self.connection.prepare_cached("SELECT id, day FROM run ORDER BY id DESC")?;
        select.query_map([], run)?.collect()
    }

    /// Returns the numbers of the facets that a filter selects; `None` if they are too many to be read together.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn facets(&self, filter: &FacetFilter) -> Result<Option<Vec<i64>>, IndexError> {
        let read = || -> rusqlite::Result<Option<Vec<i64>>> {
            let all = "SELECT recipient, purpose, route, operation, outcome, id FROM facet";
            let mut select = self.connection.prepare_cached(all)?;
            let mut rows = select.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                if filter.matches(&facets(row)?) {
                    found.push(row.get(5)?);
                    if found.len() > MAX_FACETS {
                        return Ok(None);
                    }
                }
            }
            Ok(Some(found))
        };
        read().map_err(|error| self.failed(error))
    }

    /// Returns some of the exchanges of facets that begin below an entry, newest first, and the entry below which the next
    /// ones are. It is 0 when there are no more.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn facet_entries(&self, facets: &[i64], below: u64) -> Result<(Vec<u64>, u64), IndexError> {
        self.read_facets(facets, below).map_err(|error| self.failed(error))
    }

    fn read_facets(&self, facets: &[i64], below: u64) -> rusqlite::Result<(Vec<u64>, u64)> {
        let rows = "SELECT bundle, offsets FROM facet_entry WHERE facet = ?1 AND bundle <= ?2 \
                    ORDER BY bundle DESC LIMIT ?3";
        let mut select = self.connection.prepare_cached(rows)?;
        let last = to_sql(below.saturating_sub(1) / BUNDLE);
        let mut bundles: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        // Bundles from this one on were read of all facets.
        let mut complete = 0;
        for facet in facets {
            let mut rows = select.query(params![facet, last, FACET_ROWS])?;
            let (mut count, mut lowest) = (0, 0);
            while let Some(row) = rows.next()? {
                lowest = from_sql(row.get(0)?);
                bundles.entry(lowest).or_default().extend(row.get_ref(1)?.as_blob()?);
                count += 1;
            }
            if count == FACET_ROWS {
                complete = complete.max(lowest);
            }
        }
        let mut found = Vec::new();
        for (bundle, offsets) in bundles.range_mut(complete..).rev() {
            offsets.sort_unstable_by(|a, b| b.cmp(a));
            offsets.dedup();
            let entries = offsets.iter().map(|offset| bundle * BUNDLE + u64::from(*offset));
            found.extend(entries.filter(|entry| *entry < below));
        }
        Ok((found, complete * BUNDLE))
    }
}

/// Opens a database that exists.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Returns the extent of the log whose index is in this file, and its last day; `None` for an empty index or one of another
/// version.
pub(super) fn extent(path: &Path) -> rusqlite::Result<Option<(IndexedState, Option<Date>)>> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    if version(&connection)? != schema::VERSION {
        return Ok(None);
    }
    let Some(state) = state(&connection)? else { return Ok(None) };
    let days: Option<i64> = connection.query_row("SELECT max(day) FROM run", [], |row| row.get(0))?;
    let day = days.and_then(|days| Date::constant(1970, 1, 1).checked_add(days.days()).ok());
    Ok(Some((state, day)))
}

/// Returns the extent of the indexed log; `None` for an empty index.
pub(super) fn state(connection: &Connection) -> rusqlite::Result<Option<IndexedState>> {
    let state = |row: &Row<'_>| {
        Ok(IndexedState {
            origin: row.get(0)?,
            size: from_sql(row.get(1)?),
            root: row.get(2)?,
            first: from_sql(row.get(3)?),
        })
    };
    connection.query_row("SELECT origin, size, root, first FROM log", [], state).optional()
}

/// Returns the names of a facet.
pub(super) fn facets_of(connection: &Connection, facet: i64) -> rusqlite::Result<Facets> {
    let select = "SELECT recipient, purpose, route, operation, outcome FROM facet WHERE id = ?1";
    connection.prepare_cached(select)?.query_row([facet], facets)
}

fn facets(row: &Row<'_>) -> rusqlite::Result<Facets> {
    Ok(Facets {
        recipient: row.get::<_, String>(0)?.into(),
        purpose: row.get::<_, String>(1)?.into(),
        route: row.get::<_, String>(2)?.into(),
        operation: row.get::<_, String>(3)?.into(),
        outcome: row.get::<_, String>(4)?.into(),
    })
}
