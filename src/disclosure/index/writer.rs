//! Writes an index.
//!
//! Entries are added in their order. Invariants: an entry counts as indexed only with everything before it, in the same
//! transaction; only one process writes an index.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension, params};
use smallvec::{SmallVec, smallvec};
use ulid::Ulid;

use super::schema::{self, BUNDLE, MAX_RUN, RUN_POSTINGS, from_sql, to_sql};
use super::{Facets, IndexError, IndexedState};
use crate::keys::Pseudonym;

/// The epoch from which the days of runs are counted.
const FIRST_DAY: Date = Date::constant(1970, 1, 1);

/// One entry, as far as questions look for it.
#[derive(Debug)]
pub(super) struct IndexedEntry<'e> {
    /// The index of the entry.
    pub(super) entry: u64,
    /// The decision of the exchange.
    pub(super) decision: Ulid,
    /// The entry's place in its exchange.
    pub(super) place: ExchangePlace,
    /// The case that the request cites.
    pub(super) case: Option<&'e str>,
    /// The people that the entry is about.
    pub(super) people: &'e [Pseudonym],
}

/// The place of an entry in its exchange.
#[derive(Debug)]
pub(super) enum ExchangePlace {
    /// The first entry. An open exchange has no outcome yet, and another entry ends it.
    Begins {
        /// The names; an empty outcome if the exchange is open.
        facets: Facets,
        /// True if another entry ends the exchange.
        open: bool,
    },
    /// The first entry of a later day, which has the names again. The exchange is found by it, too, because the entries before
    /// are pruned earlier.
    BeginsAgain(Facets),
    /// A further part or window.
    Continues,
    /// The entry that states an outcome.
    Ends(Arc<str>),
}

/// The entries with the names of an exchange: the first one of each day, ascending.
type Heads = SmallVec<[u64; 1]>;

/// An exchange that has not ended.
struct OpenRow {
    heads: Heads,
    facet: i64,
}

/// A run that is being filled.
struct CurrentRun {
    id: i64,
    postings: u64,
}

/// The index of one log, open for writing.
pub(super) struct IndexWriter {
    path: PathBuf,
    connection: Connection,
    run: Option<CurrentRun>,
    facets: HashMap<Facets, i64>,
    names: HashMap<i64, Facets>,
    open: HashMap<Ulid, OpenRow>,
    /// The last exchange that began: parts follow it.
    latest: Option<(Ulid, u64)>,
    postings: Vec<(i64, i64)>,
    facet_rows: HashMap<(i64, i64), Vec<u8>>,
    _lock: File,
}

impl std::fmt::Debug for IndexWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl IndexWriter {
    /// Opens the index at a path, or creates an empty one. A file that is not an index of this version is replaced.
    ///
    /// # Errors
    /// [`IndexError::InUse`] if another process writes it; [`IndexError`] if it cannot be written.
    pub(super) fn open(path: &Path) -> Result<IndexWriter, IndexError> {
        let lock = lock(path)?;
        let connection = match connect(path) {
            Ok(connection) => connection,
            Err(error) if is_unusable(&error) => {
                remove(path)?;
                connect(path).map_err(|error| IndexError::sqlite(path, error))?
            }
            Err(error) => return Err(IndexError::sqlite(path, error)),
        };
        let mut writer = IndexWriter {
            path: path.to_owned(),
            connection,
            run: None,
            facets: HashMap::new(),
            names: HashMap::new(),
            open: HashMap::new(),
            latest: None,
            postings: Vec::new(),
            facet_rows: HashMap::new(),
            _lock: lock,
        };
        writer.load().map_err(|error| IndexError::sqlite(path, error))?;
        Ok(writer)
    }

    /// Removes the content, to build the index again.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn clear(self) -> Result<IndexWriter, IndexError> {
        let IndexWriter { path, connection, _lock: lock, .. } = self;
        drop(connection);
        remove(&path)?;
        // The lock is released after the files are gone: another process that takes it creates the index anew.
        drop(lock);
        IndexWriter::open(&path)
    }

    /// Returns the origin and the extent of the indexed log; `None` for an empty index.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn state(&self) -> Result<Option<IndexedState>, IndexError> {
        super::reader::state(&self.connection).map_err(|error| self.failed(error))
    }

    fn load(&mut self) -> rusqlite::Result<()> {
        let latest = "SELECT id, postings FROM run ORDER BY id DESC LIMIT 1";
        let run =
            |row: &rusqlite::Row<'_>| Ok(CurrentRun { id: row.get(0)?, postings: from_sql(row.get(1)?) });
        self.run = self.connection.query_row(latest, [], run).optional()?;
        let mut statement = self.connection.prepare("SELECT decision FROM open_exchange")?;
        let open = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<[u8; 16]>>>()?;
        for decision in open.into_iter().map(Ulid::from_bytes) {
            let row = self.begun(decision)?;
            self.open.extend(row.map(|row| (decision, row)));
        }
        Ok(())
    }

    fn failed(&self, error: rusqlite::Error) -> IndexError {
        IndexError::sqlite(&self.path, error)
    }

    /// Begins a transaction. It ends with [`IndexWriter::commit`].
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn begin(&mut self) -> Result<(), IndexError> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| self.failed(error))
    }

    /// Begins a day at this entry.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn begin_day(&mut self, day: Date, entry: u64) -> Result<(), IndexError> {
        let days = day.duration_since(FIRST_DAY).as_hours() / 24;
        self.begin_run(days, entry).map_err(|error| self.failed(error))
    }

    /// Ends the open exchanges of a process that has died.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn abort_open(&mut self) -> Result<(), IndexError> {
        for (decision, row) in std::mem::take(&mut self.open) {
            self.end(decision, &row, "aborted".into()).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Adds an entry that states the deletion of details.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn add_deletion(&mut self, entry: u64) -> Result<(), IndexError> {
        let insert = "INSERT OR IGNORE INTO detail_deletion (entry) VALUES (?1)";
        let inserted = self.connection.execute(insert, [to_sql(entry)]);
        inserted.map(drop).map_err(|error| self.failed(error))
    }

    /// Adds an entry whose detail is gone.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn add_without_detail(&mut self, entry: u64) -> Result<(), IndexError> {
        let add = || -> rusqlite::Result<()> {
            let (entry, next) = (to_sql(entry), to_sql(entry.saturating_add(1)));
            let extend = "UPDATE without_detail SET below = ?2 \
                          WHERE first = (SELECT max(first) FROM without_detail) AND below = ?1";
            if self.connection.prepare_cached(extend)?.execute([entry, next])? == 0 {
                let insert = "INSERT OR IGNORE INTO without_detail (first, below) VALUES (?1, ?2)";
                self.connection.prepare_cached(insert)?.execute([entry, next])?;
            }
            Ok(())
        };
        add().map_err(|error| self.failed(error))
    }

    /// Adds one entry.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn add(&mut self, added: IndexedEntry<'_>) -> Result<(), IndexError> {
        self.add_rows(added).map_err(|error| self.failed(error))
    }

    fn add_rows(&mut self, added: IndexedEntry<'_>) -> rusqlite::Result<()> {
        let IndexedEntry { entry, decision, place, case, people } = added;
        for head in self.add_to_exchange(entry, decision, place)? {
            if let Some(case) = case {
                self.add_posting(schema::case_term(case), head)?;
            }
            for person in people {
                self.add_posting(schema::person_term(person), head)?;
            }
        }
        Ok(())
    }

    /// Returns the entries by which the exchange is found.
    fn add_to_exchange(
        &mut self,
        entry: u64,
        decision: Ulid,
        place: ExchangePlace,
    ) -> rusqlite::Result<Heads> {
        match place {
            ExchangePlace::Begins { facets, open } => {
                let facet = self.facet(facets)?;
                self.add_decision(decision, entry, Some(facet))?;
                self.add_facet_entry(facet, entry);
                self.latest = Some((decision, entry));
                if open {
                    self.add_open(decision, entry, facet)?;
                }
                Ok(smallvec![entry])
            }
            ExchangePlace::BeginsAgain(facets) => {
                let facet = self.facet(facets)?;
                self.add_decision(decision, entry, Some(facet))?;
                self.add_facet_entry(facet, entry);
                // The entries of the days before may be pruned.
                if !self.open.contains_key(&decision) {
                    self.add_open(decision, entry, facet)?;
                } else if let Some(row) = self.open.get_mut(&decision) {
                    row.heads.push(entry);
                }
                Ok(self.open.get(&decision).map_or_else(|| smallvec![entry], |row| row.heads.clone()))
            }
            ExchangePlace::Continues => {
                self.add_decision(decision, entry, None)?;
                if let Some(row) = self.open.get(&decision) {
                    return Ok(row.heads.clone());
                }
                if let Some((_, head)) = self.latest.filter(|(latest, _)| *latest == decision) {
                    return Ok(smallvec![head]);
                }
                Ok(self.begun(decision)?.map_or_else(|| smallvec![entry], |row| row.heads))
            }
            ExchangePlace::Ends(outcome) => {
                self.add_decision(decision, entry, None)?;
                let row = match self.open.remove(&decision) {
                    Some(row) => Some(row),
                    None => self.begun(decision)?,
                };
                // The first entry may have been pruned with its day.
                let Some(row) = row else { return Ok(smallvec![entry]) };
                self.end(decision, &row, outcome)?;
                Ok(row.heads)
            }
        }
    }

    /// Adds the exchange to the facet of its outcome.
    fn end(&mut self, decision: Ulid, row: &OpenRow, outcome: Arc<str>) -> rusqlite::Result<()> {
        let mut remove = self.connection.prepare_cached("DELETE FROM open_exchange WHERE decision = ?1")?;
        remove.execute(params![decision.to_bytes()])?;
        drop(remove);
        let facets = match self.names.get(&row.facet) {
            Some(facets) => facets.clone(),
            None => super::reader::facets_of(&self.connection, row.facet)?,
        };
        let facet = self.facet(Facets { outcome, ..facets })?;
        row.heads.iter().for_each(|head| self.add_facet_entry(facet, *head));
        Ok(())
    }

    /// Returns the entries with the names of an exchange that has begun.
    fn begun(&self, decision: Ulid) -> rusqlite::Result<Option<OpenRow>> {
        let select = "SELECT entry, facet FROM decision WHERE id = ?1 AND facet IS NOT NULL ORDER BY entry";
        let mut select = self.connection.prepare_cached(select)?;
        let rows = select.query_map(params![decision.to_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut begun: Option<OpenRow> = None;
        for row in rows {
            let (entry, facet) = row?;
            let begun = begun.get_or_insert_with(|| OpenRow { heads: Heads::new(), facet });
            begun.heads.push(from_sql(entry));
        }
        Ok(begun)
    }

    fn add_decision(&self, decision: Ulid, entry: u64, facet: Option<i64>) -> rusqlite::Result<()> {
        let insert = "INSERT OR IGNORE INTO decision (id, entry, facet) VALUES (?1, ?2, ?3)";
        let mut insert = self.connection.prepare_cached(insert)?;
        insert.execute(params![decision.to_bytes(), to_sql(entry), facet])?;
        Ok(())
    }

    fn add_open(&mut self, decision: Ulid, entry: u64, facet: i64) -> rusqlite::Result<()> {
        let insert = "INSERT OR REPLACE INTO open_exchange (decision, entry, facet) VALUES (?1, ?2, ?3)";
        let mut insert = self.connection.prepare_cached(insert)?;
        insert.execute(params![decision.to_bytes(), to_sql(entry), facet])?;
        self.open.insert(decision, OpenRow { heads: smallvec![entry], facet });
        Ok(())
    }

    fn add_facet_entry(&mut self, facet: i64, entry: u64) {
        let offset = u8::try_from(entry % BUNDLE).unwrap_or(u8::MAX);
        self.facet_rows.entry((facet, to_sql(entry / BUNDLE))).or_default().push(offset);
    }

    fn facet(&mut self, facets: Facets) -> rusqlite::Result<i64> {
        if let Some(id) = self.facets.get(&facets) {
            return Ok(*id);
        }
        let Facets { recipient, purpose, route, operation, outcome } = &facets;
        let names = params![recipient, purpose, route, operation, outcome];
        let insert = "INSERT OR IGNORE INTO facet (recipient, purpose, route, operation, outcome) \
                      VALUES (?1, ?2, ?3, ?4, ?5)";
        self.connection.prepare_cached(insert)?.execute(names)?;
        let select = "SELECT id FROM facet WHERE recipient = ?1 AND purpose = ?2 AND route = ?3 AND operation = ?4 \
                      AND outcome = ?5";
        let id = self.connection.prepare_cached(select)?.query_row(names, |row| row.get(0))?;
        self.names.insert(id, facets.clone());
        self.facets.insert(facets, id);
        Ok(id)
    }

    fn add_posting(&mut self, term: [u8; 8], entry: u64) -> rusqlite::Result<()> {
        if self.run.as_ref().is_some_and(|run| run.postings >= RUN_POSTINGS) {
            let day = "SELECT day FROM run ORDER BY id DESC LIMIT 1";
            let day = self.connection.query_row(day, [], |row| row.get(0))?;
            self.begin_run(day, entry)?;
        }
        // A log begins with a day. Postings before one belong to no run and would not be found.
        let Some(run) = &mut self.run else { return Err(rusqlite::Error::QueryReturnedNoRows) };
        run.postings += 1;
        self.postings.push((schema::posting_key(run.id, term), to_sql(entry)));
        Ok(())
    }

    fn begin_run(&mut self, day: i64, first: u64) -> rusqlite::Result<()> {
        self.store_run()?;
        let id = self.run.as_ref().map_or(0, |run| run.id + 1);
        if id > MAX_RUN {
            return Err(rusqlite::Error::IntegralValueOutOfRange(0, id));
        }
        let insert = "INSERT INTO run (id, day, first, postings) VALUES (?1, ?2, ?3, 0)";
        self.connection.execute(insert, params![id, day, to_sql(first)])?;
        self.run = Some(CurrentRun { id, postings: 0 });
        Ok(())
    }

    fn store_run(&self) -> rusqlite::Result<()> {
        let Some(CurrentRun { id, postings }) = &self.run else { return Ok(()) };
        let update = "UPDATE run SET postings = ?2 WHERE id = ?1";
        self.connection.prepare_cached(update)?.execute(params![id, to_sql(*postings)])?;
        Ok(())
    }

    /// Ends the transaction: the entries below `size` are indexed. A transaction that fails is rolled back when the writer is
    /// dropped.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn commit(&mut self, state: &IndexedState) -> Result<(), IndexError> {
        self.write_batch(state).map_err(|error| self.failed(error))
    }

    fn write_batch(&mut self, state: &IndexedState) -> rusqlite::Result<()> {
        let mut postings = std::mem::take(&mut self.postings);
        postings.sort_unstable();
        let mut insert =
            self.connection.prepare_cached("INSERT OR IGNORE INTO posting (key, entry) VALUES (?1, ?2)")?;
        for (key, entry) in &postings {
            insert.execute(params![key, entry])?;
        }
        drop(insert);
        let mut rows: Vec<_> = std::mem::take(&mut self.facet_rows).into_iter().collect();
        rows.sort_unstable();
        // The outcome of an exchange can be known much later than its beginning, so a row can exist.
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO facet_entry (facet, bundle, offsets) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET offsets = CAST(offsets || excluded.offsets AS BLOB)",
        )?;
        for ((facet, bundle), offsets) in rows {
            insert.execute(params![facet, bundle, offsets])?;
        }
        drop(insert);
        self.store_run()?;
        let IndexedState { origin, size, root, first } = state;
        self.connection.execute("DELETE FROM log", [])?;
        let insert = "INSERT INTO log (origin, size, root, first) VALUES (?1, ?2, ?3, ?4)";
        self.connection.execute(insert, params![origin, to_sql(*size), root, to_sql(*first)])?;
        self.connection.execute_batch("COMMIT")
    }

    /// Removes what only concerns entries below `first`, the first entry of the day `day`, and gives the space back.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn prune(&mut self, first: u64, day: Date) -> Result<(), IndexError> {
        self.prune_rows(first, day).map_err(|error| self.failed(error))
    }

    fn prune_rows(&mut self, first: u64, day: Date) -> rusqlite::Result<()> {
        let first = to_sql(first);
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        // The last run that begins at or before the entry is the first one to keep.
        let kept = "SELECT max(id) FROM run WHERE first <= ?1";
        let kept: Option<i64> = self.connection.query_row(kept, [first], |row| row.get(0))?;
        if let Some(kept) = kept {
            let below = [schema::first_key(kept)];
            self.connection.execute("DELETE FROM posting WHERE key < ?1", below)?;
            self.connection.execute("DELETE FROM run WHERE id < ?1", [kept])?;
        }
        // No id was made later than its entry was written. The ids are ordered by time.
        let midnight = day.duration_since(FIRST_DAY).as_millis();
        let bound = Ulid::from_parts(u64::try_from(midnight).unwrap_or(0), 0).to_bytes();
        self.connection
            .execute("DELETE FROM decision WHERE id < ?1 AND entry < ?2", params![bound, first])?;
        let facets = self
            .connection
            .prepare("SELECT id FROM facet")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        let bundle = first / to_sql(BUNDLE);
        let mut delete =
            self.connection.prepare("DELETE FROM facet_entry WHERE facet = ?1 AND bundle < ?2")?;
        for facet in facets {
            delete.execute([facet, bundle])?;
        }
        drop(delete);
        self.connection.execute("DELETE FROM detail_deletion WHERE entry < ?1", [first])?;
        self.connection.execute("DELETE FROM without_detail WHERE below <= ?1", [first])?;
        self.connection.execute("UPDATE log SET first = ?1", [first])?;
        self.connection.execute_batch("COMMIT")?;
        self.connection.execute_batch("PRAGMA incremental_vacuum")?;
        self.checkpoint()
    }

    /// Writes everything to the database file, so that pages with removed rows remain nowhere.
    fn checkpoint(&self) -> rusqlite::Result<()> {
        // Readers can keep it from finishing; the next one does.
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

fn lock(path: &Path) -> Result<File, IndexError> {
    let io = |source| IndexError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.with_extension("lock"))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(IndexError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Opens the database, or creates it with its tables.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).is_ok();
    let connection = super::reader::connect(path)?;
    schema::prepare(&connection)?;
    if created {
        schema::create(&connection)?;
    }
    match super::reader::version(&connection)? {
        schema::VERSION => Ok(connection),
        _ => Err(rusqlite::Error::InvalidQuery),
    }
}

/// True if the file is not an index that this version can write.
fn is_unusable(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error, rusqlite::Error::InvalidQuery)
        || matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Removes an index, unless another process writes it.
pub(super) fn remove_locked(path: &Path) -> Result<(), IndexError> {
    let _lock = lock(path)?;
    remove(path)
}

fn remove(path: &Path) -> Result<(), IndexError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(IndexError::Io { path: PathBuf::from(file), source: error });
            }
            _ => {}
        }
    }
    Ok(())
}
