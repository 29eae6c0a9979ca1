//! Opens a ledger file: locks it, recognises its format, and creates or upgrades its tables.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, OpenFlags};

use super::connection::{make_durable, open_reader};
use super::error::FileError;
use super::events::end;
use super::guard::FileGuard;
use super::schema::{APPLICATION_ID, VERSION, WITHOUT_CASES, WITHOUT_ID, create_tables, upgrade};
use super::{SqliteStore, secrets};
use crate::ledger::store::SchemaChange;

impl SqliteStore {
    /// Opens the ledger file at `path`, or creates it. Upgrades a file of an earlier version. `key_check` is stored in a
    /// new file; an existing file must have the same value, which proves that it was created under the same keys.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(path: &Path, key_check: &[u8; 16]) -> Result<SqliteStore, FileError> {
        SqliteStore::open_or_migrate(path, key_check, true)
    }

    /// Does the same as [`SqliteStore::open`]. Without `migrate`, a file of an earlier version is refused.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open_or_migrate(
        path: &Path,
        key_check: &[u8; 16],
        migrate: bool,
    ) -> Result<SqliteStore, FileError> {
        let lock = lock(path)?;
        create_file(path).map_err(|source| FileError::Io {
            path: path.to_owned(),
            operation: "create",
            source,
        })?;
        let sqlite = |doing| move |source| FileError::Sqlite { path: path.to_owned(), doing, source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer = Connection::open_with_flags(path, flags).map_err(sqlite("opening it"))?;
        let format = read_format(path, &writer, key_check)?;
        if let FileFormat::Older(found) = format
            && !migrate
        {
            return Err(FileError::Older { path: path.to_owned(), found });
        }
        make_durable(path, &writer)?;
        match format {
            FileFormat::Current => {}
            FileFormat::Older(version) => {
                upgrade(&mut writer, version).map_err(sqlite("upgrading it to the present version"))?;
            }
            FileFormat::Empty => {
                create_tables(&mut writer, key_check).map_err(sqlite("creating its tables"))?;
            }
        }
        let schema = match format {
            FileFormat::Current => SchemaChange { from: Some(VERSION), to: VERSION },
            FileFormat::Older(from) => SchemaChange { from: Some(from), to: VERSION },
            FileFormat::Empty => SchemaChange { from: None, to: VERSION },
        };
        // A process that ended at the wrong moment may have left the secrets of erased people in it.
        let is_empty = secrets::truncate_journal(&writer).map_err(sqlite("emptying its write-ahead log"))?;
        let reader = open_reader(path).map_err(sqlite("opening it for reading"))?;
        let written = end(&reader).map_err(sqlite("reading its last position"))?;
        let guard = FileGuard::open(path, written, lock)
            .map_err(|lost| FileError::Lost { path: path.to_owned(), lost })?;
        Ok(SqliteStore {
            path: path.to_owned(),
            writer: writer.into(),
            reader: reader.into(),
            guard: Some(guard),
            schema,
            has_erased_content: AtomicBool::new(!is_empty),
        })
    }

    /// Opens an existing ledger file for reading. Another process may write to it meanwhile. Every append fails.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open_read_only(path: &Path, key_check: &[u8; 16]) -> Result<SqliteStore, FileError> {
        if !path.exists() {
            return Err(FileError::Missing(path.to_owned()));
        }
        let open = || {
            open_reader(path).map_err(|source| FileError::Sqlite {
                path: path.to_owned(),
                doing: "opening it for reading",
                source,
            })
        };
        let (reader, read_only_writer) = (open()?, open()?);
        let version = match read_format(path, &reader, key_check)? {
            FileFormat::Current => VERSION,
            FileFormat::Older(version) => version,
            FileFormat::Empty => return Err(FileError::Foreign(path.to_owned())),
        };
        Ok(SqliteStore {
            path: path.to_owned(),
            writer: read_only_writer.into(),
            reader: reader.into(),
            guard: None,
            schema: SchemaChange { from: Some(version), to: version },
            has_erased_content: AtomicBool::new(false),
        })
    }

    /// True if a process has the ledger file at `path` open for writing.
    ///
    /// # Errors
    /// The lock exists and cannot be examined.
    pub fn is_in_use(path: &Path) -> std::io::Result<bool> {
        let lock = match File::open(lock_path(path)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The format of a file that is to be opened as a ledger.
enum FileFormat {
    /// A ledger of the present version.
    Current,
    /// A ledger of an earlier version.
    Older(i32),
    /// An empty file.
    Empty,
}

/// Determines the format of a file without writing to it, so that a foreign file stays unchanged.
fn read_format(path: &Path, connection: &Connection, key_check: &[u8; 16]) -> Result<FileFormat, FileError> {
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
        (APPLICATION_ID, WITHOUT_CASES..=WITHOUT_ID) => FileFormat::Older(version),
        (APPLICATION_ID, found) => return Err(FileError::Version { path: path.to_owned(), found }),
        _ => return Err(FileError::Foreign(path.to_owned())),
    };
    let known: Vec<u8> =
        connection.query_row("SELECT key_check FROM ledger", [], |row| row.get(0)).map_err(sqlite)?;
    if known == key_check { Ok(found) } else { Err(FileError::OtherKeys(path.to_owned())) }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    PathBuf::from(lock)
}

/// Locks the file `<path>.lock`, which it creates with the directory if necessary.
fn lock(path: &Path) -> Result<File, FileError> {
    let io = |operation| move |source| FileError::Io { path: path.to_owned(), operation, source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(io("create the directory of"))?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock_path(path))
        .map_err(io("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FileError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(io("lock")(source)),
    }
}

/// Creates an empty file that only its owner can read. SQLite gives its journal the same mode.
fn create_file(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
