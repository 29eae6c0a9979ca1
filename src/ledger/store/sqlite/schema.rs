//! The tables of a ledger file and the versions of the file format.

use rusqlite::Connection;

use super::{notices, policies, secrets};

/// "pgle" in SQLite's header, by which `file` and auditors recognise a ledger.
pub(super) const APPLICATION_ID: i32 = 0x7067_6c65;

/// The present version of the file format.
pub(super) const VERSION: i32 = 6;

/// The version without disclosure cases, and without everything that later versions added.
pub(super) const WITHOUT_CASES: i32 = 1;

/// The version without a record of accepted losses.
pub(super) const WITHOUT_ACCEPTED: i32 = 2;

/// The version without a record of policies.
pub(super) const WITHOUT_POLICIES: i32 = 3;

/// The version without log secrets and notices.
pub(super) const WITHOUT_SECRETS: i32 = 4;

/// The version without an id of the ledger.
pub(super) const WITHOUT_ID: i32 = 5;

pub(super) const LEDGER: &str = "
    CREATE TABLE ledger (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        key_check BLOB NOT NULL
    ) STRICT;
";

/// Makes the id of the ledger.
pub(super) const IDENTITY: &str = "
    CREATE TABLE IF NOT EXISTS identity (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id BLOB NOT NULL CHECK (length(id) = 16)
    ) STRICT;
    INSERT OR IGNORE INTO identity (one, id) VALUES (1, randomblob(16));
";

pub(super) const ACCEPTED: &str = "
    CREATE TABLE accepted (
        until INTEGER NOT NULL, -- the last position whose event is lost
        behind INTEGER NOT NULL, -- the last position before the loss
        at TEXT NOT NULL
    ) STRICT;
";

pub(super) const EVENTS: &str = "
    CREATE TABLE events (
        sort INTEGER NOT NULL CHECK (sort BETWEEN 0 AND 3), -- data subject, controller, recipient, case
        namespace TEXT NOT NULL,                         -- '' is the default namespace
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

/// Creates the tables in an empty file.
pub(super) fn create_tables(connection: &mut Connection, key_check: &[u8; 16]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(LEDGER)?;
    transaction.execute_batch(EVENTS)?;
    transaction.execute_batch(ACCEPTED)?;
    transaction.execute_batch(policies::TABLES)?;
    transaction.execute_batch(secrets::TABLE)?;
    transaction.execute_batch(notices::TABLE)?;
    transaction.execute_batch(IDENTITY)?;
    transaction.execute("INSERT INTO ledger (one, key_check) VALUES (1, ?1)", [key_check.as_slice()])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Upgrades a file of an earlier version: moves the events of the first version into a table that also accepts cases,
/// adds the tables that the file lacks, and makes log secrets for the people that it knows, and an id.
pub(super) fn upgrade(connection: &mut Connection, from: i32) -> rusqlite::Result<()> {
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
    if from <= WITHOUT_POLICIES {
        transaction.execute_batch(policies::TABLES)?;
    }
    if from <= WITHOUT_SECRETS {
        transaction.execute_batch(secrets::TABLE)?;
        transaction.execute_batch(secrets::FILL)?;
        transaction.execute_batch(notices::TABLE)?;
    }
    transaction.execute_batch(IDENTITY)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
