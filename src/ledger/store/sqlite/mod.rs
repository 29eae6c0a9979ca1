//! Events in one SQLite file: the embedded store.
//!
//! `events` is the truth; everything else can be worked out from it. Invariants: what is
//! acknowledged survives a loss of power (WAL with `synchronous=FULL`, both read back after they
//! were set); one process at a time has the file; a file of another kind, of a newer version, or
//! made under other keys is refused untouched.
//!
//! The lock is a file beside, not SQLite's exclusive mode: that would keep our own reading
//! connection out, and an append would wait for the commit before it just to read.

mod files;
mod policies;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use files::LostFile;
use files::{FileComparison, LedgerFiles};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use smol_str::SmolStr;
use ulid::Ulid;

use crate::ledger::entity::EntityKind;
use crate::ledger::policy_memory::PolicyMemory;
use crate::ledger::store::{
    IdempotencyDigest, NewEvent, Position, RequestDigest, Store, StoreError, StoredEntity, StoredEvent,
};

/// "pgle", in SQLite's header: `file` and auditors can tell what it is.
const APPLICATION_ID: i32 = 0x7067_6c65;
const VERSION: i32 = 4;

/// A ledger of this version knows no cases, and nothing of what later ones know.
const WITHOUT_CASES: i32 = 1;

/// A ledger of this version has no place for accepted losses.
const WITHOUT_ACCEPTED: i32 = 2;

/// A ledger of this version remembers no policy.
const WITHOUT_POLICIES: i32 = 3;

const LEDGER: &str = "
    CREATE TABLE ledger (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        key_check BLOB NOT NULL
    ) STRICT;
";

const ACCEPTED: &str = "
    CREATE TABLE accepted (
        until INTEGER NOT NULL, -- the last position whose event is lost
        behind INTEGER NOT NULL, -- the last position before the loss
        at TEXT NOT NULL
    ) STRICT;
";

const EVENTS: &str = "
    CREATE TABLE events (
        sort INTEGER NOT NULL CHECK (sort BETWEEN 0 AND 3), -- data subject, controller, recipient, case
        namespace TEXT NOT NULL,                         -- '' is the default one
        id TEXT NOT NULL,
        position INTEGER NOT NULL,
        event_id TEXT NOT NULL,
        recorded TEXT NOT NULL,
        event TEXT NOT NULL,
        once BLOB,
        asked BLOB,
        PRIMARY KEY (sort, namespace, id, position)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX events_position ON events (position);
    CREATE UNIQUE INDEX events_once ON events (once) WHERE once IS NOT NULL;
";

/// Why a ledger file does not open. Names the file, nothing in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the ledger {path} is open in another process; a running gateway changes it through its admin API", path = .0.display())]
    InUse(PathBuf),
    #[error("there is no ledger at {path}", path = .0.display())]
    Missing(PathBuf),
    #[error("{path} is not a ledger of purposegate", path = .0.display())]
    Foreign(PathBuf),
    #[error("the ledger {path} has version {found}; this program knows version {VERSION}", path = .path.display())]
    Version { path: PathBuf, found: i32 },
    #[error("the ledger {path} was made under other keys: bring back its key file", path = .0.display())]
    OtherKeys(PathBuf),
    #[error("the ledger {path}: SQLite keeps `{pragma}` at `{found}`, and without `{wanted}` nothing is durable", path = .path.display())]
    NotDurable { path: PathBuf, pragma: &'static str, wanted: &'static str, found: String },
    #[error("the ledger {path}: {lost}", path = .path.display())]
    Lost { path: PathBuf, lost: LostFile },
    #[error("the ledger {path} cannot be {doing}", path = .path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error("the ledger {path}: {doing} fails", path = .path.display())]
    Sqlite { path: PathBuf, doing: &'static str, source: rusqlite::Error },
}

/// See the module's text.
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// Absent where it only reads.
    guard: Option<FileGuard>,
}

/// What the process that writes a ledger knows of it.
#[derive(Debug)]
struct FileGuard {
    files: LedgerFiles,
    contents: Mutex<Contents>,
    /// Held as long as the store is.
    _lock: File,
}

/// What is in the ledger, to tell it from another state of the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    events: u64,
    last: Option<String>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the ledger file, or makes one. `key_check` tells whether it was made under these keys.
    pub fn open(path: &Path, key_check: &[u8; 16]) -> Result<SqliteStore, FileError> {
        let lock = lock(path)?;
        make(path).map_err(|source| FileError::Io { path: path.to_owned(), doing: "made", source })?;
        let sqlite = |doing| move |source| FileError::Sqlite { path: path.to_owned(), doing, source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer = Connection::open_with_flags(path, flags).map_err(sqlite("opening it"))?;
        let found = examine(path, &writer, key_check)?;
        make_durable(path, &writer)?;
        match found {
            FileFormat::Current => {}
            FileFormat::Older(version) => {
                upgrade(&mut writer, version).map_err(sqlite("carrying it over to this version"))?;
            }
            FileFormat::Empty => create(&mut writer, key_check).map_err(sqlite("making its tables"))?,
        }
        let reader = open_reader(path).map_err(sqlite("opening it to read"))?;
        let contents = contents(&reader).map_err(sqlite("counting its events"))?;
        let files =
            LedgerFiles::open(path).map_err(|lost| FileError::Lost { path: path.to_owned(), lost })?;
        Ok(SqliteStore {
            path: path.to_owned(),
            writer: writer.into(),
            reader: reader.into(),
            guard: Some(FileGuard { files, contents: contents.into(), _lock: lock }),
        })
    }

    /// Opens a ledger file that exists, also beside a process that writes it. Every append fails.
    pub fn open_read_only(path: &Path, key_check: &[u8; 16]) -> Result<SqliteStore, FileError> {
        if !path.exists() {
            return Err(FileError::Missing(path.to_owned()));
        }
        let open = || {
            open_reader(path).map_err(|source| FileError::Sqlite {
                path: path.to_owned(),
                doing: "opening it to read",
                source,
            })
        };
        let (reader, no_writer) = (open()?, open()?);
        match examine(path, &reader, key_check)? {
            FileFormat::Current | FileFormat::Older(_) => {}
            FileFormat::Empty => return Err(FileError::Foreign(path.to_owned())),
        }
        Ok(SqliteStore {
            path: path.to_owned(),
            writer: no_writer.into(),
            reader: reader.into(),
            guard: None,
        })
    }
}

fn lock(path: &Path) -> Result<File, FileError> {
    let io = |doing| move |source| FileError::Io { path: path.to_owned(), doing, source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(io("made: its folder cannot be made"))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(PathBuf::from(beside))
        .map_err(io("locked"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FileError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(io("locked")(source)),
    }
}

/// An empty file that only its owner reads; SQLite gives its journal the same mode.
fn make(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

enum FileFormat {
    Current,
    /// One of an earlier version.
    Older(i32),
    /// An empty file.
    Empty,
}

/// Looks without touching: a foreign file stays as it is.
fn examine(path: &Path, connection: &Connection, key_check: &[u8; 16]) -> Result<FileFormat, FileError> {
    let sqlite = |source| FileError::Sqlite { path: path.to_owned(), doing: "reading it", source };
    let read = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let application = match read("application_id") {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(FileError::Foreign(path.to_owned()));
        }
        read => read.map_err(sqlite)?,
    };
    let version = read("user_version").map_err(sqlite)?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(count, [], |row| row.get(0)).map_err(sqlite)?;
    let found = match (application, version) {
        (0, 0) if tables == 0 => return Ok(FileFormat::Empty),
        (APPLICATION_ID, VERSION) => FileFormat::Current,
        (APPLICATION_ID, WITHOUT_CASES | WITHOUT_ACCEPTED | WITHOUT_POLICIES) => FileFormat::Older(version),
        (APPLICATION_ID, found) => return Err(FileError::Version { path: path.to_owned(), found }),
        _ => return Err(FileError::Foreign(path.to_owned())),
    };
    let known: Vec<u8> =
        connection.query_row("SELECT key_check FROM ledger", [], |row| row.get(0)).map_err(sqlite)?;
    if known == key_check { Ok(found) } else { Err(FileError::OtherKeys(path.to_owned())) }
}

/// Sets what durability rests on and reads back what SQLite made of it.
fn make_durable(path: &Path, connection: &Connection) -> Result<(), FileError> {
    let sqlite = |doing| move |source| FileError::Sqlite { path: path.to_owned(), doing, source };
    let check = |pragma, wanted: &'static str, found: String| {
        if found.eq_ignore_ascii_case(wanted) {
            Ok(())
        } else {
            Err(FileError::NotDurable { path: path.to_owned(), pragma, wanted, found })
        }
    };
    let journal: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sqlite("setting its journal"))?;
    check("journal_mode", "wal", journal)?;
    // NORMAL loses the last commits when the power fails.
    for (pragma, value) in
        [("synchronous", 2), ("fullfsync", 1), ("checkpoint_fullfsync", 1), ("wal_autocheckpoint", 4000)]
    {
        connection.pragma_update(None, pragma, value).map_err(sqlite("setting how it writes"))?;
    }
    let synchronous: i64 = connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .map_err(sqlite("reading how it writes"))?;
    check("synchronous", "2", synchronous.to_string())
}

fn create(connection: &mut Connection, key_check: &[u8; 16]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(LEDGER)?;
    transaction.execute_batch(EVENTS)?;
    transaction.execute_batch(ACCEPTED)?;
    transaction.execute_batch(policies::TABLES)?;
    transaction.execute("INSERT INTO ledger (one, key_check) VALUES (1, ?1)", [key_check.as_slice()])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Every event of the first version moves into a table that has room for cases too; later ones get the
/// tables that they lack.
fn upgrade(connection: &mut Connection, from: i32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    if from == WITHOUT_CASES {
        transaction.execute_batch(
            "DROP INDEX events_position; DROP INDEX events_once; ALTER TABLE events RENAME TO old_events;",
        )?;
        transaction.execute_batch(EVENTS)?;
        transaction.execute_batch("INSERT INTO events SELECT * FROM old_events; DROP TABLE old_events;")?;
    }
    if from <= WITHOUT_ACCEPTED {
        transaction.execute_batch(ACCEPTED)?;
    }
    transaction.execute_batch(policies::TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

fn contents(reader: &Connection) -> rusqlite::Result<Contents> {
    let events: i64 = reader.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
    let last = "SELECT event_id FROM events ORDER BY position DESC LIMIT 1";
    let last = reader.query_row(last, [], |row| row.get(0)).optional()?;
    Ok(Contents { events: u64::try_from(events).unwrap_or_default(), last })
}

impl FileGuard {
    /// Whether the files still hold what this process put there.
    fn check(&self) -> Result<(), StoreError> {
        let lost = |lost: LostFile| StoreError::new("looking whether its files are there", lost);
        match self.files.compare().map_err(lost)? {
            FileComparison::Unchanged => Ok(()),
            FileComparison::Written => {
                let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
                // A connection of its own: others may hold pages of what was there before.
                let found = open_reader(self.files.database()).and_then(|fresh| self::contents(&fresh));
                if found.is_ok_and(|found| found == *contents) {
                    self.files.remember().map_err(lost)
                } else {
                    Err(lost(LostFile::PutBack(self.files.database().to_owned())))
                }
            }
        }
    }

    /// Notes what was appended; an append to files that are not there any more is none.
    fn note_append(&self, batch: &[NewEvent]) -> Result<(), StoreError> {
        if let Some(last) = batch.last() {
            let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
            contents.events += batch.len() as u64;
            contents.last = Some(last.stored.id.to_string());
        }
        self.files.remember().map_err(|lost| StoreError::new("looking whether its files are there", lost))
    }
}

impl Store for SqliteStore {
    fn append(&self, batch: &[NewEvent]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = &self.guard {
            written.check()?;
        }
        insert(&mut writer, batch).map_err(|source| StoreError::new("appending events", source))?;
        match &self.guard {
            Some(written) => written.note_append(batch),
            None => Ok(()),
        }
    }

    fn check_intact(&self) -> Result<(), StoreError> {
        let Some(written) = &self.guard else { return Ok(()) };
        // Nobody writes while it looks.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        written.check()
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        let behind = self.last_position()?;
        let position = |position: Position| i64::try_from(position.0).unwrap_or(i64::MAX);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer
            .execute(
                "INSERT INTO accepted (until, behind, at) VALUES (?1, ?2, ?3)",
                params![position(until), position(behind), now.to_string()],
            )
            .map_err(|source| StoreError::new("recording what is lost", source))?;
        match &self.guard {
            Some(written) => written.note_append(&[]),
            None => Ok(()),
        }
    }

    fn policies(&self) -> Result<PolicyMemory, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        policies::read(&reader)
            .map_err(|source| StoreError::new("reading which policies were in force", source))
    }

    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = &self.guard {
            written.check()?;
        }
        policies::write(&mut writer, memory)
            .map_err(|source| StoreError::new("recording which policies are in force", source))?;
        match &self.guard {
            Some(written) => written.note_append(&[]),
            None => Ok(()),
        }
    }

    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || -> rusqlite::Result<BTreeSet<Arc<str>>> {
            let mut query = reader.prepare(
                "SELECT DISTINCT json_extract(event, '$.recipient') FROM events
                 WHERE json_extract(event, '$.recipient') IS NOT NULL
                 UNION SELECT id FROM events WHERE sort = 2",
            )?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        read().map_err(|source| StoreError::new("reading which recipients are named", source))
    }

    fn history(&self, entity: &StoredEntity) -> Result<Vec<StoredEvent>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || -> rusqlite::Result<Vec<StoredEvent>> {
            let (sort, namespace, id) = key(entity);
            let mut query = reader.prepare_cached(
                "SELECT position, event_id, recorded, event FROM events
                 WHERE sort = ?1 AND namespace = ?2 AND id = ?3 ORDER BY position",
            )?;
            query.query_map(params![sort, namespace, id], |row| kept(row, 0))?.collect()
        };
        read().map_err(|source| StoreError::new("reading a history", source))
    }

    fn entity_ids(&self, sort: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || -> rusqlite::Result<Vec<SmolStr>> {
            let mut query = reader.prepare_cached(
                "SELECT DISTINCT id FROM events WHERE sort = ?1 AND namespace = ?2 ORDER BY id",
            )?;
            let id = |row: &Row<'_>| Ok(SmolStr::new(row.get_ref(0)?.as_str()?));
            query.query_map(params![number(sort), namespace.unwrap_or_default()], id)?.collect()
        };
        read().map_err(|source| StoreError::new("reading the ids of a namespace", source))
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || -> rusqlite::Result<Vec<Arc<str>>> {
            let mut query =
                reader.prepare_cached("SELECT DISTINCT id FROM events WHERE sort = 3 ORDER BY id")?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        read().map_err(|source| StoreError::new("reading the cases", source))
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        // A connection of its own: a long scan keeps nobody from reading histories.
        let mut scan = || -> rusqlite::Result<()> {
            let connection = open_reader(&self.path)?;
            connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
            let mut query = connection.prepare(
                "SELECT sort, namespace, id, position, event_id, recorded, event FROM events
                 ORDER BY sort, namespace, id, position",
            )?;
            let mut rows = query.query([])?;
            let mut known = None;
            while let Some(row) = rows.next()? {
                let entity = same_or_next(known.take(), row)?;
                if !each(&entity, kept(row, 3)?) {
                    break;
                }
                known = Some(entity);
            }
            Ok(())
        };
        scan().map_err(|source| StoreError::new("reading all events", source))
    }

    fn find_repeated(
        &self,
        key: &IdempotencyDigest,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let mut query = reader.prepare_cached(
                "SELECT position, event_id, recorded, event, asked FROM events WHERE once = ?1",
            )?;
            query.query_row([key.as_slice()], |row| Ok((kept(row, 0)?, row.get(4)?))).optional()
        };
        read().map_err(|source| StoreError::new("looking up an idempotency key", source))
    }

    fn last_position(&self) -> Result<Position, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let has_accepted = "SELECT count(*) FROM sqlite_schema WHERE name = 'accepted'";
        let read = || {
            let last = |query| reader.query_row(query, [], |row| position(row, 0));
            let last_event = last("SELECT coalesce(max(position), 0) FROM events")?;
            // One of an earlier version is only read.
            if reader.query_row(has_accepted, [], |row| row.get::<_, i64>(0))? == 0 {
                return Ok(last_event);
            }
            Ok(last_event.max(last("SELECT coalesce(max(until), 0) FROM accepted")?))
        };
        read().map_err(|source: rusqlite::Error| StoreError::new("reading the last position", source))
    }
}

fn insert(writer: &mut Connection, batch: &[NewEvent]) -> rusqlite::Result<()> {
    let transaction = writer.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (sort, namespace, id, position, event_id, recorded, event, once, asked)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for NewEvent {
            entity,
            stored: StoredEvent { position, id: event_id, recorded, event },
            idempotency: once,
        } in batch
        {
            let entity = StoredEntity::of(entity);
            let (sort, namespace, id) = key(&entity);
            let (once, asked) =
                once.as_ref().map(|(once, asked)| (once.as_slice(), asked.as_slice())).unzip();
            let (event_id, recorded) = (event_id.to_string(), recorded.to_string());
            // SQLite counts to 2^63; beyond it the constraint on positions fails.
            let position = i64::try_from(position.0).unwrap_or(i64::MAX);
            insert.execute(params![sort, namespace, id, position, event_id, recorded, event, once, asked])?;
        }
    }
    transaction.commit()
}

fn number(sort: EntityKind) -> i64 {
    match sort {
        EntityKind::Subject => 0,
        EntityKind::Controller => 1,
        EntityKind::Recipient => 2,
        EntityKind::Case => 3,
    }
}

fn key(entity: &StoredEntity) -> (i64, &str, &str) {
    (number(entity.kind), entity.namespace.as_deref().unwrap_or_default(), &entity.id)
}

/// The row's entity; the one before is used again where it is the same, to spare its copies.
fn same_or_next(before: Option<StoredEntity>, row: &Row<'_>) -> rusqlite::Result<StoredEntity> {
    let (sort, namespace, id): (i64, &str, &str) =
        (row.get(0)?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
    if let Some(before) = before.filter(|before| key(before) == (sort, namespace, id)) {
        return Ok(before);
    }
    let sort = match sort {
        0 => EntityKind::Subject,
        1 => EntityKind::Controller,
        2 => EntityKind::Recipient,
        3 => EntityKind::Case,
        found => return Err(rusqlite::Error::IntegralValueOutOfRange(0, found)),
    };
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty()).map(Arc::from);
    Ok(StoredEntity { kind: sort, namespace, id: SmolStr::new(id) })
}

fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    let found: i64 = row.get(column)?;
    u64::try_from(found).map(Position).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, found))
}

/// The columns position, event_id, recorded, event, from the `first` on.
fn kept(row: &Row<'_>, first: usize) -> rusqlite::Result<StoredEvent> {
    let unreadable = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let (id, recorded) = (row.get_ref(first + 1)?.as_str()?, row.get_ref(first + 2)?.as_str()?);
    Ok(StoredEvent {
        position: position(row, first)?,
        id: Ulid::from_string(id).map_err(|error| unreadable(first + 1, error.into()))?,
        recorded: recorded.parse::<Timestamp>().map_err(|error| unreadable(first + 2, error.into()))?,
        event: row.get(first + 3)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
