//! Connections to a ledger file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::FileError;

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

/// Sets the options that durability depends on, and reads back the values that SQLite uses.
pub(super) fn make_durable(path: &Path, connection: &Connection) -> Result<(), FileError> {
    let sqlite = |doing| move |source| FileError::Sqlite { path: path.to_owned(), doing, source };
    let check = |pragma, required: &'static str, found: String| {
        if found.eq_ignore_ascii_case(required) {
            Ok(())
        } else {
            Err(FileError::NotDurable { path: path.to_owned(), pragma, required, found })
        }
    };
    let journal: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sqlite("setting its journal mode"))?;
    check("journal_mode", "wal", journal)?;
    // With synchronous=NORMAL, a power failure loses the last commits.
    for (pragma, value) in [
        ("synchronous", 2),
        ("fullfsync", 1),
        ("checkpoint_fullfsync", 1),
        ("wal_autocheckpoint", 4000),
        // Deleted content is overwritten with zeros.
        ("secure_delete", 1),
    ] {
        connection.pragma_update(None, pragma, value).map_err(sqlite("setting its write options"))?;
    }
    let synchronous: i64 = connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .map_err(sqlite("reading its write options"))?;
    check("synchronous", "2", synchronous.to_string())
}
