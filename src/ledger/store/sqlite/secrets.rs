//! The log secrets in a SQLite file.
//!
//! A row is never removed: its secret is overwritten in place with zeros of the same length. SQLite moves rows between
//! pages when it inserts in the middle of a table or deletes, and may leave copies in the unused part of a page. Here rows
//! are added only at the end of the table, and none is ever deleted or gets another length, so a secret has one copy in the
//! database. The copies in the write-ahead log end with its truncation.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{integer, key, position};
use crate::keys::LogSecret;
use crate::ledger::entity::EntityKind;
use crate::ledger::store::{SecretChanges, StoredEntity, StoredSecret};

pub(super) const TABLE: &str = "
    CREATE TABLE log_secrets (
        number INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,      -- '' is the default namespace
        id TEXT NOT NULL,
        secret BLOB NOT NULL CHECK (length(secret) = 16), -- zeros: it was deleted
        since INTEGER NOT NULL CHECK (since BETWEEN 0 AND 9223372036854775807) -- position of the event that made it
    ) STRICT;
    CREATE UNIQUE INDEX log_secrets_person ON log_secrets (namespace, id);
";

/// Makes a secret for each person who has events.
pub(super) const FILL: &str = "
    INSERT INTO log_secrets (namespace, id, secret, since)
    SELECT namespace, id, randomblob(16), min(position) FROM events WHERE sort = 0 GROUP BY namespace, id;
";

/// The secret of a person whose secret was deleted.
const ERASED: [u8; 16] = [0; 16];

/// Time that a truncation of the write-ahead log waits for readers.
const PATIENCE: Duration = Duration::from_millis(100);

/// Time that other operations wait for the locks of the file.
const USUAL_PATIENCE: Duration = Duration::from_secs(5);

/// True if the file has log secrets. A file of an earlier version lacks them if it is opened read-only.
fn has_secrets(connection: &Connection) -> rusqlite::Result<bool> {
    let mut query =
        connection.prepare_cached("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'log_secrets'")?;
    query.query_row([], |row| row.get(0))
}

/// Returns the secrets of people.
pub(super) fn read(
    connection: &Connection,
    entities: &[StoredEntity],
) -> rusqlite::Result<Vec<Option<StoredSecret>>> {
    if !has_secrets(connection)? {
        return Ok(vec![None; entities.len()]);
    }
    let mut query = connection
        .prepare_cached("SELECT secret, since FROM log_secrets WHERE namespace = ?1 AND id = ?2")?;
    let secret = |row: &Row<'_>| {
        let secret: [u8; 16] = row.get(0)?;
        let secret = StoredSecret { secret: LogSecret::from_bytes(secret), since: position(row, 1)? };
        Ok(Some(secret).filter(|stored| *stored.secret.bytes() != ERASED))
    };
    let mut secrets = Vec::with_capacity(entities.len());
    for entity in entities {
        let (_, namespace, id) = key(entity);
        secrets.push(match entity.kind {
            EntityKind::Subject => query.query_row([namespace, id], secret).optional()?.flatten(),
            EntityKind::Controller | EntityKind::Recipient | EntityKind::Case => None,
        });
    }
    Ok(secrets)
}

/// Deletes and adds secrets, within the caller's transaction.
pub(super) fn write(transaction: &Connection, changes: &SecretChanges<'_>) -> rusqlite::Result<()> {
    let mut erase =
        transaction.prepare_cached("UPDATE log_secrets SET secret = ?3 WHERE namespace = ?1 AND id = ?2")?;
    for entity in &changes.erased {
        let (_, namespace, id) = key(entity);
        erase.execute(params![namespace, id, ERASED])?;
    }
    let mut make = transaction.prepare_cached(
        "INSERT INTO log_secrets (namespace, id, secret, since) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (namespace, id) DO UPDATE SET secret = excluded.secret, since = excluded.since
         WHERE secret = ?5",
    )?;
    for (entity, StoredSecret { secret, since }) in &changes.made {
        let (_, namespace, id) = key(entity);
        make.execute(params![namespace, id, secret.bytes(), integer(*since), ERASED])?;
    }
    Ok(())
}

/// Writes the database and empties the write-ahead log. Returns false if a reader kept it from that.
pub(super) fn truncate_journal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(PATIENCE)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(USUAL_PATIENCE)?;
    busy.map(|busy| busy == 0)
}
