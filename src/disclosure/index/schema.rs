//! The tables of an index.
//!
//! A posting is a pair of a term (the pseudonym of a person, or a case) and the entry with which the exchange begins. Terms
//! are shortened to 40 bits: a reader compares the entry itself. Pseudonyms are random, so each posting would change
//! another page of a large table. Postings are therefore grouped in runs: a run is part of one day and has about
//! [`RUN_POSTINGS`] postings, which stay in the cache of pages while it grows, and a pruned day is a range of keys.
//!
//! Exchanges with the same recipient, purpose, route, operation and outcome share a facet. For each facet and bundle of 256
//! entries there is one row with the offsets of the exchanges in the bundle: about two bytes an exchange.

use rusqlite::Connection;

/// Version of the tables, in SQLite's `user_version`. An index of another version is built again.
pub(super) const VERSION: i32 = 2;

/// Number of postings after which a run ends.
pub(super) const RUN_POSTINGS: u64 = 1 << 20;

/// Bits of a posting's key that a term has. The number of the run is above them.
const TERM_BITS: u32 = 40;

/// Maximum number of a run.
pub(super) const MAX_RUN: i64 = (1 << (63 - TERM_BITS)) - 1;

/// Number of entries of a bundle.
pub(super) const BUNDLE: u64 = 256;

const TABLES: &str = "
CREATE TABLE log (
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    first INTEGER NOT NULL
) STRICT;
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    first INTEGER NOT NULL,
    postings INTEGER NOT NULL
) STRICT;
CREATE TABLE posting (
    key INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (key, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE decision (
    id BLOB NOT NULL,
    entry INTEGER NOT NULL,
    facet INTEGER,
    PRIMARY KEY (id, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE facet (
    id INTEGER PRIMARY KEY,
    recipient TEXT NOT NULL,
    purpose TEXT NOT NULL,
    route TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    UNIQUE (recipient, purpose, route, operation, outcome)
) STRICT;
CREATE TABLE facet_entry (
    facet INTEGER NOT NULL,
    bundle INTEGER NOT NULL,
    offsets BLOB NOT NULL,
    PRIMARY KEY (facet, bundle)
) STRICT, WITHOUT ROWID;
CREATE TABLE detail_deletion (
    entry INTEGER PRIMARY KEY -- states that details were deleted
) STRICT;
CREATE TABLE without_detail (
    first INTEGER PRIMARY KEY, -- the first of consecutive entries without a detail
    below INTEGER NOT NULL
) STRICT;
CREATE TABLE open_exchange (
    decision BLOB PRIMARY KEY,
    entry INTEGER NOT NULL,
    facet INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Creates the tables in an empty database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// Sets the options of a connection that writes. An index can be built again, so nothing waits for the disk; WAL keeps it
/// consistent when the process dies, and `synchronous=NORMAL` also after a power failure, with a sync for each checkpoint of
/// the WAL only.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Before the first table is created: later it has no effect.
    connection.pragma_update(None, "auto_vacuum", 2)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    for (pragma, value) in [
        ("synchronous", 1),
        // In pages: 64 MiB.
        ("wal_autocheckpoint", 1 << 14),
        // In KiB, since it is negative. The gateway holds it as long as it runs.
        ("cache_size", -2048),
        // Pruned days leave no pseudonym behind in free space.
        ("secure_delete", 1),
    ] {
        connection.pragma_update(None, pragma, value)?;
    }
    Ok(())
}

/// Returns the key of a term in a run.
pub(super) fn posting_key(run: i64, term: [u8; 8]) -> i64 {
    let shortened = u64::from_be_bytes(term) >> (u64::BITS - TERM_BITS);
    // At most 40 bits.
    run << TERM_BITS | shortened.cast_signed()
}

/// Returns the lowest key of a run.
pub(super) fn first_key(run: i64) -> i64 {
    posting_key(run, [0; 8])
}

/// Returns the first bytes of a pseudonym.
pub(super) fn person_term(pseudonym: &crate::keys::Pseudonym) -> [u8; 8] {
    let mut term = [0; 8];
    term.iter_mut().zip(pseudonym.bytes()).for_each(|(place, byte)| *place = *byte);
    term
}

/// Returns the first bytes of the hash of a case.
pub(super) fn case_term(case: &str) -> [u8; 8] {
    let mut term = [0; 8];
    let hash = blake3::hash(case.as_bytes());
    term.iter_mut().zip(hash.as_bytes()).for_each(|(place, byte)| *place = *byte);
    term
}

/// Converts an index or a size for SQLite. A log has far fewer entries than an `i64` can count.
pub(super) fn to_sql(entry: u64) -> i64 {
    i64::try_from(entry).unwrap_or(i64::MAX)
}

/// Converts a number of SQLite back.
pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
