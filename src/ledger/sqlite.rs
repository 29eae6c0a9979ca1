//! Events in one SQLite file: the embedded store.
//!
//! `events` is the truth; everything else can be worked out from it. Invariants: what is
//! acknowledged survives a loss of power (WAL with `synchronous=FULL`, both read back after they
//! were set); one process at a time has the file; a file of another kind, of a newer version, or
//! made under other keys is refused untouched.
//!
//! The lock is a file beside, not SQLite's exclusive mode: that would keep our own reading
//! connection out, and an append would wait for the commit before it just to read.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use smol_str::SmolStr;
use ulid::Ulid;

use super::event::Sort;
use super::files::{Files, Lost, Touched};
use super::policies::{self, POLICIES, PolicyMemory};
use super::store::{Asked, Entry, Kept, OnceKey, Position, Store, StoreError, StoredEntity};

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
    Lost { path: PathBuf, lost: Lost },
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
    written: Option<Written>,
}

/// What the process that writes a ledger knows of it.
#[derive(Debug)]
struct Written {
    files: Files,
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
            Found::Ledger => {}
            Found::Older(version) => {
                upgrade(&mut writer, version).map_err(sqlite("carrying it over to this version"))?;
            }
            Found::Nothing => create(&mut writer, key_check).map_err(sqlite("making its tables"))?,
        }
        let reader = open_reader(path).map_err(sqlite("opening it to read"))?;
        let contents = contents(&reader).map_err(sqlite("counting its events"))?;
        let files = Files::open(path).map_err(|lost| FileError::Lost { path: path.to_owned(), lost })?;
        Ok(SqliteStore {
            path: path.to_owned(),
            writer: writer.into(),
            reader: reader.into(),
            written: Some(Written { files, contents: contents.into(), _lock: lock }),
        })
    }

    /// Opens a ledger file that exists, also beside a process that writes it. Every append fails.
    pub fn open_to_read(path: &Path, key_check: &[u8; 16]) -> Result<SqliteStore, FileError> {
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
            Found::Ledger | Found::Older(_) => {}
            Found::Nothing => return Err(FileError::Foreign(path.to_owned())),
        }
        Ok(SqliteStore {
            path: path.to_owned(),
            writer: no_writer.into(),
            reader: reader.into(),
            written: None,
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

enum Found {
    Ledger,
    /// One of an earlier version.
    Older(i32),
    /// An empty file.
    Nothing,
}

/// Looks without touching: a foreign file stays as it is.
fn examine(path: &Path, connection: &Connection, key_check: &[u8; 16]) -> Result<Found, FileError> {
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
        (0, 0) if tables == 0 => return Ok(Found::Nothing),
        (APPLICATION_ID, VERSION) => Found::Ledger,
        (APPLICATION_ID, WITHOUT_CASES | WITHOUT_ACCEPTED | WITHOUT_POLICIES) => Found::Older(version),
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
    transaction.execute_batch(POLICIES)?;
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
    transaction.execute_batch(POLICIES)?;
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

impl Written {
    /// Whether the files still hold what this process put there.
    fn look(&self) -> Result<(), StoreError> {
        let lost = |lost: Lost| StoreError::new("looking whether its files are there", lost);
        match self.files.compare().map_err(lost)? {
            Touched::Nobody => Ok(()),
            Touched::Somebody => {
                let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
                // A connection of its own: others may hold pages of what was there before.
                let found = open_reader(self.files.database()).and_then(|fresh| self::contents(&fresh));
                if found.is_ok_and(|found| found == *contents) {
                    self.files.remember().map_err(lost)
                } else {
                    Err(lost(Lost::PutBack(self.files.database().to_owned())))
                }
            }
        }
    }

    /// Notes what was appended; an append to files that are not there any more is none.
    fn appended(&self, batch: &[Entry]) -> Result<(), StoreError> {
        if let Some(last) = batch.last() {
            let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
            contents.events += batch.len() as u64;
            contents.last = Some(last.kept.id.to_string());
        }
        self.files.remember().map_err(|lost| StoreError::new("looking whether its files are there", lost))
    }
}

impl Store for SqliteStore {
    fn append(&self, batch: &[Entry]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = &self.written {
            written.look()?;
        }
        insert(&mut writer, batch).map_err(|source| StoreError::new("appending events", source))?;
        match &self.written {
            Some(written) => written.appended(batch),
            None => Ok(()),
        }
    }

    fn intact(&self) -> Result<(), StoreError> {
        let Some(written) = &self.written else { return Ok(()) };
        // Nobody writes while it looks.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        written.look()
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        let behind = self.last()?;
        let position = |position: Position| i64::try_from(position.0).unwrap_or(i64::MAX);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer
            .execute(
                "INSERT INTO accepted (until, behind, at) VALUES (?1, ?2, ?3)",
                params![position(until), position(behind), now.to_string()],
            )
            .map_err(|source| StoreError::new("recording what is lost", source))?;
        match &self.written {
            Some(written) => written.appended(&[]),
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
        if let Some(written) = &self.written {
            written.look()?;
        }
        policies::write(&mut writer, memory)
            .map_err(|source| StoreError::new("recording which policies are in force", source))?;
        match &self.written {
            Some(written) => written.appended(&[]),
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

    fn history(&self, entity: &StoredEntity) -> Result<Vec<Kept>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || -> rusqlite::Result<Vec<Kept>> {
            let (sort, namespace, id) = key(entity);
            let mut query = reader.prepare_cached(
                "SELECT position, event_id, recorded, event FROM events
                 WHERE sort = ?1 AND namespace = ?2 AND id = ?3 ORDER BY position",
            )?;
            query.query_map(params![sort, namespace, id], |row| kept(row, 0))?.collect()
        };
        read().map_err(|source| StoreError::new("reading a history", source))
    }

    fn ids(&self, sort: Sort, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
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

    fn cases(&self) -> Result<Vec<Arc<str>>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || -> rusqlite::Result<Vec<Arc<str>>> {
            let mut query =
                reader.prepare_cached("SELECT DISTINCT id FROM events WHERE sort = 3 ORDER BY id")?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        read().map_err(|source| StoreError::new("reading the cases", source))
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, Kept) -> bool) -> Result<(), StoreError> {
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

    fn once(&self, key: &OnceKey) -> Result<Option<(Kept, Asked)>, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let mut query = reader.prepare_cached(
                "SELECT position, event_id, recorded, event, asked FROM events WHERE once = ?1",
            )?;
            query.query_row([key.as_slice()], |row| Ok((kept(row, 0)?, row.get(4)?))).optional()
        };
        read().map_err(|source| StoreError::new("looking up an idempotency key", source))
    }

    fn last(&self) -> Result<Position, StoreError> {
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

fn insert(writer: &mut Connection, batch: &[Entry]) -> rusqlite::Result<()> {
    let transaction = writer.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (sort, namespace, id, position, event_id, recorded, event, once, asked)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for Entry { entity, kept: Kept { position, id: event_id, recorded, event }, once } in batch {
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

fn number(sort: Sort) -> i64 {
    match sort {
        Sort::Subject => 0,
        Sort::Controller => 1,
        Sort::Recipient => 2,
        Sort::Case => 3,
    }
}

fn key(entity: &StoredEntity) -> (i64, &str, &str) {
    (number(entity.sort), entity.namespace.as_deref().unwrap_or_default(), &entity.id)
}

/// The row's entity; the one before is used again where it is the same, to spare its copies.
fn same_or_next(before: Option<StoredEntity>, row: &Row<'_>) -> rusqlite::Result<StoredEntity> {
    let (sort, namespace, id): (i64, &str, &str) =
        (row.get(0)?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
    if let Some(before) = before.filter(|before| key(before) == (sort, namespace, id)) {
        return Ok(before);
    }
    let sort = match sort {
        0 => Sort::Subject,
        1 => Sort::Controller,
        2 => Sort::Recipient,
        3 => Sort::Case,
        found => return Err(rusqlite::Error::IntegralValueOutOfRange(0, found)),
    };
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty()).map(Arc::from);
    Ok(StoredEntity { sort, namespace, id: SmolStr::new(id) })
}

fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    let found: i64 = row.get(column)?;
    u64::try_from(found).map(Position).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, found))
}

/// The columns position, event_id, recorded, event, from the `first` on.
fn kept(row: &Row<'_>, first: usize) -> rusqlite::Result<Kept> {
    let unreadable = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let (id, recorded) = (row.get_ref(first + 1)?.as_str()?, row.get_ref(first + 2)?.as_str()?);
    Ok(Kept {
        position: position(row, first)?,
        id: Ulid::from_string(id).map_err(|error| unreadable(first + 1, error.into()))?,
        recorded: recorded.parse::<Timestamp>().map_err(|error| unreadable(first + 2, error.into()))?,
        event: row.get(first + 3)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::ledger::PolicyPlace;
    use crate::ledger::event::Entity;
    use crate::vocabulary::Namespaces;

    fn subject(namespace: Option<&str>, id: &str) -> Entity {
        Entity::Subject(Namespaces::default().reader(namespace).read(id).unwrap())
    }

    fn entry(entity: Entity, position: u64, once: Option<OnceKey>) -> Entry {
        let kept = Kept {
            position: Position(position),
            id: Ulid::from_parts(position, 7),
            recorded: Timestamp::from_second(1_700_000_000).unwrap(),
            event: format!("{{\"n\":{position}}}"),
        };
        Entry { entity, kept, once: once.map(|key| (key, [9; 16])) }
    }

    const CHECK: [u8; 16] = [1; 16];

    #[test]
    fn what_was_kept_is_there_after_a_reopen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/ledger.db");
        let (alice, crm_alice) = (subject(None, "alice"), subject(Some("crm"), "alice"));
        {
            let store = SqliteStore::open(&path, &CHECK).unwrap();
            store
                .append(&[entry(alice.clone(), 1, Some([3; 16])), entry(crm_alice.clone(), 2, None)])
                .unwrap();
            store.append(&[entry(alice.clone(), 3, None)]).unwrap();
        }
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        assert_eq!(store.last().unwrap(), Position(3));
        let positions = |entity| {
            store
                .history(&StoredEntity::of(entity))
                .unwrap()
                .iter()
                .map(|kept| kept.position.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(positions(&alice), [1, 3]);
        assert_eq!(positions(&crm_alice), [2]);
        assert_eq!(store.ids(Sort::Subject, None).unwrap(), ["alice"]);
        assert_eq!(store.ids(Sort::Subject, Some("crm")).unwrap(), ["alice"]);
        assert!(store.ids(Sort::Controller, None).unwrap().is_empty());
        assert_eq!(store.once(&[3; 16]).unwrap().unwrap().0.position, Position(1));
        assert!(store.once(&[4; 16]).unwrap().is_none());
        let mut seen = Vec::new();
        store
            .scan(&mut |entity, kept| {
                seen.push((*entity == StoredEntity::of(&alice), kept.position.0));
                true
            })
            .unwrap();
        assert_eq!(seen, [(true, 1), (true, 3), (false, 2)]);
    }

    #[test]
    fn a_ledger_from_before_there_were_cases_gets_room_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let (alice, case) = (subject(Some("crm"), "alice"), Entity::Case(Arc::from("C-7")));
        let before = [entry(alice.clone(), 1, Some([3; 16])), entry(subject(None, "bob"), 2, None)];
        SqliteStore::open(&path, &CHECK).unwrap().append(&before).unwrap();
        let old = Connection::open(&path).unwrap();
        old.execute_batch(
            "DROP INDEX events_position; DROP INDEX events_once; ALTER TABLE events RENAME TO new_events",
        )
        .unwrap();
        old.execute_batch(&EVENTS.replace("BETWEEN 0 AND 3", "IN (0, 1, 2)")).unwrap();
        old.execute_batch("INSERT INTO events SELECT * FROM new_events; DROP TABLE new_events").unwrap();
        old.execute_batch("DROP TABLE accepted; DROP TABLE policy_versions; DROP TABLE policy_places")
            .unwrap();
        old.pragma_update(None, "user_version", WITHOUT_CASES).unwrap();
        drop(old);

        let read = SqliteStore::open_to_read(&path, &CHECK).unwrap();
        assert_eq!(
            (read.history(&StoredEntity::of(&alice)).unwrap().len(), read.last().unwrap()),
            (1, Position(2))
        );
        drop(read);
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        store.append(&[entry(case.clone(), 3, None)]).unwrap();
        assert!(store.append(&[entry(case.clone(), 3, None)]).is_err(), "positions are unique as before");
        drop(store);
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        assert_eq!(
            (store.last().unwrap(), store.history(&StoredEntity::of(&alice)).unwrap().len()),
            (Position(3), 1)
        );
        assert_eq!(store.once(&[3; 16]).unwrap().unwrap().0.position, Position(1));
        assert_eq!(store.cases().unwrap(), [Arc::from("C-7")]);
    }

    #[test]
    fn what_was_accepted_as_lost_stays_so_and_its_positions_are_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        store.append(&[entry(subject(None, "alice"), 1, None)]).unwrap();
        store.accept_history(Position(20), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(store.last().unwrap(), Position(20));
        drop(store);
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        assert_eq!(store.last().unwrap(), Position(20));
        store.append(&[entry(subject(None, "alice"), 21, None)]).unwrap();
        assert_eq!(store.last().unwrap(), Position(21));
    }

    /// A memory of one version at one place.
    fn memory(digest: u8, seen: i64, texts: Option<&str>, place: Option<&str>) -> PolicyMemory {
        let (digest, seen) = ([digest; 32], Timestamp::from_second(seen).unwrap());
        let versions = vec![(digest, jiff::civil::date(2026, 1, 5))];
        PolicyMemory {
            first_seen: [(digest, seen)].into(),
            texts: texts.map(|texts| (digest, texts.to_owned())).into_iter().collect(),
            places: place
                .map(|place| (place.to_owned(), PolicyPlace { loaded: seen, versions }))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn policies_are_remembered_and_first_sights_never_move() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        assert!(store.policies().unwrap().is_empty());
        store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
        store.remember_policies(&memory(2, 150, None, None)).unwrap();
        store.append(&[entry(subject(None, "alice"), 1, None)]).unwrap();
        drop(store);
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        assert_eq!(store.policies().unwrap().places, memory(1, 100, None, Some("default")).places);
        // The second version takes the place; the first is known since then, and its texts are dropped.
        store.remember_policies(&memory(2, 200, Some("two"), Some("default"))).unwrap();
        let read = SqliteStore::open_to_read(&path, &CHECK).unwrap();
        let known = read.policies().unwrap();
        let seen = |digest: u8| known.first_seen.get(&[digest; 32]).map(|seen| seen.as_second());
        assert_eq!((seen(1), seen(2)), (Some(100), Some(150)));
        assert_eq!(known.texts.into_iter().collect::<Vec<_>>(), [([2; 32], "two".to_owned())]);
        assert!(read.remember_policies(&memory(3, 300, None, None)).is_err(), "it only reads");
    }

    #[test]
    fn a_ledger_from_before_policies_were_remembered_remembers_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        drop(SqliteStore::open(&path, &CHECK).unwrap());
        let old = Connection::open(&path).unwrap();
        old.execute_batch("DROP TABLE policy_versions; DROP TABLE policy_places").unwrap();
        old.pragma_update(None, "user_version", WITHOUT_POLICIES).unwrap();
        drop(old);
        assert!(SqliteStore::open_to_read(&path, &CHECK).unwrap().policies().unwrap().is_empty());
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
        assert_eq!(store.policies().unwrap().places.len(), 1);
    }

    /// What an appended event meets after somebody did something to the files.
    fn append_after(meddle: impl FnOnce(&Path, &Path)) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let alice = subject(None, "alice");
        let store = SqliteStore::open(&path, &CHECK).unwrap();
        store.append(&[entry(alice.clone(), 1, None)]).unwrap();
        store.append(&[entry(alice.clone(), 2, None)]).unwrap();
        // An older state, whole in one file.
        let old = folder.path().join("old.db");
        let other = SqliteStore::open(&old, &CHECK).unwrap();
        other.append(&[entry(alice.clone(), 1, None)]).unwrap();
        drop(other);
        meddle(&path, &old);
        let looked = store.intact();
        let appended = store.append(&[entry(alice, 3, None)]);
        assert_eq!(looked.is_err(), appended.is_err());
        appended.map_err(|error| error.source.to_string())
    }

    fn checkpoint(path: &Path) {
        let outside = Connection::open(path).unwrap();
        outside.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }

    fn beside(path: &Path, what: &str) -> PathBuf {
        PathBuf::from(format!("{}{what}", path.display()))
    }

    #[test]
    fn nothing_is_kept_in_files_that_are_gone() {
        let remove = |path: &Path| std::fs::remove_file(path).unwrap();
        let outcomes = [
            append_after(|path, _| remove(path)),
            append_after(|path, _| remove(&beside(path, "-wal"))),
            append_after(|path, _| {
                ["", "-wal", "-shm", ".lock"].iter().for_each(|what| remove(&beside(path, what)));
            }),
            append_after(|path, old| std::fs::rename(old, path).unwrap()),
            append_after(|path, old| {
                remove(path);
                std::fs::copy(old, path).unwrap();
            }),
            append_after(|path, _| std::fs::rename(path, beside(path, ".moved")).unwrap()),
        ];
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.unwrap_err();
            assert!(error.contains("was removed or replaced"), "{n}: {error}");
        }
    }

    #[test]
    fn nothing_is_kept_in_a_file_that_was_put_back_where_it_lies() {
        let outcomes = [
            append_after(|path, old| {
                checkpoint(path);
                std::fs::write(path, std::fs::read(old).unwrap()).unwrap();
            }),
            append_after(|path, old| {
                std::fs::write(beside(path, "-wal"), "").unwrap();
                std::fs::write(path, std::fs::read(old).unwrap()).unwrap();
            }),
            append_after(|path, _| std::fs::write(beside(path, "-wal"), "").unwrap()),
            append_after(|path, _| std::fs::write(path, "").unwrap()),
        ];
        for (n, outcome) in outcomes.into_iter().enumerate() {
            assert!(outcome.is_err(), "{n}");
        }
    }

    #[test]
    fn a_checkpoint_from_outside_loses_nothing() {
        append_after(|path, _| checkpoint(path)).unwrap();
        append_after(|path, _| {
            assert_eq!(SqliteStore::open_to_read(path, &CHECK).unwrap().last().unwrap(), Position(2))
        })
        .unwrap();
    }

    #[test]
    fn recipients_are_found_wherever_an_event_names_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("l.db"), &CHECK).unwrap();
        let mut named = entry(subject(None, "alice"), 1, None);
        named.kept.event = r#"{"kind":"opt-out","recipient":"acme"}"#.to_owned();
        let about = entry(Entity::Recipient(Arc::from("globex")), 2, None);
        store.append(&[named, about, entry(subject(None, "bob"), 3, None)]).unwrap();
        assert_eq!(
            store.recipients().unwrap().into_iter().collect::<Vec<_>>(),
            [Arc::from("acme"), Arc::from("globex")]
        );
    }

    #[test]
    fn a_batch_is_kept_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("l.db"), &CHECK).unwrap();
        let alice = subject(None, "alice");
        store.append(&[entry(alice.clone(), 1, None)]).unwrap();
        // The second repeats a position.
        assert!(store.append(&[entry(alice.clone(), 2, None), entry(alice, 1, None)]).is_err());
        assert_eq!(store.last().unwrap(), Position(1));
    }

    #[test]
    fn two_processes_cannot_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let first = SqliteStore::open(&path, &CHECK).unwrap();
        assert!(matches!(SqliteStore::open(&path, &CHECK), Err(FileError::InUse(_))));
        drop(first);
        SqliteStore::open(&path, &CHECK).unwrap();
    }

    #[test]
    fn a_ledger_in_use_can_be_read_beside_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        assert!(matches!(SqliteStore::open_to_read(&path, &CHECK), Err(FileError::Missing(_))));
        let (store, alice) = (SqliteStore::open(&path, &CHECK).unwrap(), subject(None, "alice"));
        store.append(&[entry(alice.clone(), 1, None)]).unwrap();
        let beside = SqliteStore::open_to_read(&path, &CHECK).unwrap();
        store.append(&[entry(alice.clone(), 2, None)]).unwrap();
        assert_eq!(beside.history(&StoredEntity::of(&alice)).unwrap().len(), 2);
        assert!(beside.append(&[entry(alice, 3, None)]).is_err());
        assert!(matches!(SqliteStore::open_to_read(&path, &[2; 16]), Err(FileError::OtherKeys(_))));
    }

    #[test]
    fn files_that_are_not_ours_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        std::fs::write(&path, "dear diary, this is not a database at all, whatever its name says").unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(SqliteStore::open(&path, &CHECK), Err(FileError::Foreign(_))));
        assert_eq!(std::fs::read(&path).unwrap(), before);

        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(SqliteStore::open(&other, &CHECK), Err(FileError::Foreign(_))));

        let newer = folder.path().join("newer.db");
        drop(SqliteStore::open(&newer, &CHECK).unwrap());
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
        let opened = SqliteStore::open(&newer, &CHECK);
        assert!(matches!(opened, Err(FileError::Version { found, .. }) if found == VERSION + 1));
    }

    #[test]
    fn other_keys_do_not_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        drop(SqliteStore::open(&path, &CHECK).unwrap());
        assert!(matches!(SqliteStore::open(&path, &[2; 16]), Err(FileError::OtherKeys(_))));
    }

    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("l.db"), &CHECK).unwrap();
        store.append(&[entry(subject(None, "alice"), 1, None)]).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_place_where_nothing_can_be_written_is_an_error() {
        let error = SqliteStore::open(Path::new("/proc/ledger.db"), &CHECK).unwrap_err();
        assert!(matches!(error, FileError::Io { .. }), "{error}");
    }
}
