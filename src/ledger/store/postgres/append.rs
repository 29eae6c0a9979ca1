//! Appending events.
//!
//! The head row excludes other writers: whoever holds its lock gives the next positions. Invariants: positions have no
//! gaps, except where a loss is on record; the head row is in the transaction of the events; a connection with an open
//! transaction never returns to the pool.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::{Client, Object};
use futures_util::future::join;
use serde::Deserialize;

use super::connection::{Connections, Deadline};
use super::error::PostgresFailure;
use super::events::{HEAD_COLUMNS, LedgerHead, follow, namespace};
use super::rows::{bigint, sort, to_column};
use super::table_file::LOG_SECRETS;
use crate::ledger::entity::EntityKind;
use crate::ledger::store::{
    Appended, Continuation, EventRow, KnownHistory, LedgerTail, MAX_MISSED, SecretChanges, Sequencing,
    StoreError, StoredEntity,
};

const DOING: &str = "appending events";

/// Appends the events that `sequence` determines. The server ends the transaction if this process holds the lock for
/// longer than `hold` without doing anything.
///
/// # Errors
/// [`StoreError`]; also that of `sequence`.
pub(super) fn append(
    connections: &Connections,
    hold: Duration,
    known: &KnownHistory,
    sequence: &mut Sequencing<'_>,
) -> Result<Appended, StoreError> {
    let failed = |failure: PostgresFailure| failure.during(DOING);
    let mut writer = connections.wait(LedgerWriter::lock(connections, hold)).map_err(failed)?;
    let Some(missed) = connections.wait(writer.missed(known)).map_err(failed)? else {
        connections.wait(writer.release());
        return Ok(Appended::Behind);
    };
    let last = writer.head.end.position;
    let sequenced = sequence(LedgerTail { last, missed }).and_then(|rows| {
        let has_no_gaps =
            (1..).zip(&rows).all(|(n, row)| last.0.checked_add(n) == Some(row.stored.position.0));
        let numbering = || StoreError::new(DOING, "the positions do not follow the end of the ledger");
        has_no_gaps.then_some(rows).ok_or_else(numbering)
    });
    match sequenced {
        Ok(rows) if !rows.is_empty() => connections.wait(writer.commit(&rows)).map_err(failed)?,
        Ok(_) => connections.wait(writer.release()),
        Err(error) => {
            connections.wait(writer.release());
            return Err(error);
        }
    }
    Ok(Appended::Durable)
}

/// A transaction that holds the lock on the head of the ledger.
pub(super) struct LedgerWriter<'c> {
    connections: &'c Connections,
    /// `None` when the transaction has ended.
    client: Option<Client>,
    /// The end of the ledger.
    pub(super) head: LedgerHead,
}

impl<'c> LedgerWriter<'c> {
    /// Begins a transaction and locks the head of the ledger.
    ///
    /// # Errors
    /// [`PostgresFailure`].
    pub(super) async fn lock(
        connections: &'c Connections,
        hold: Duration,
    ) -> Result<LedgerWriter<'c>, PostgresFailure> {
        let limits = connections.limits;
        let deadline = Deadline::after(limits.lock + limits.exchange);
        let client = connections.take(deadline).await?;
        let begin = format!(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL statement_timeout = {}",
            hold.as_millis().max(1),
            limits.batch.as_millis(),
        );
        let query = format!("SELECT {HEAD_COLUMNS} FROM purposegate.ledger_head FOR UPDATE");
        let locked = deadline.bound(async {
            let statement = client.prepare_cached(&query).await?;
            // The server gets both at once, so that the transaction begins with its lock.
            let (begun, row) = join(client.batch_execute(&begin), client.query_opt(&statement, &[])).await;
            begun?;
            LedgerHead::read(&row?.ok_or(PostgresFailure::Damaged("the head row is missing"))?, 0)
        });
        match locked.await {
            Ok(head) => Ok(LedgerWriter { connections, client: Some(client), head }),
            Err(failure) => {
                connections.discard(client, &failure);
                Err(failure)
            }
        }
    }

    /// Returns the events after `known`. `None` if there are too many, or if the history diverges.
    ///
    /// # Errors
    /// [`PostgresFailure`].
    pub(super) async fn missed(
        &mut self,
        known: &KnownHistory,
    ) -> Result<Option<Vec<EventRow>>, PostgresFailure> {
        if self.head.end == *known {
            return Ok(Some(Vec::new()));
        }
        let deadline = Deadline::after(self.connections.limits.batch);
        let followed = deadline.bound(follow(self.client()?, known, MAX_MISSED + 1)).await;
        match self.noted(followed)? {
            Continuation::Continues { events, .. } if events.len() <= MAX_MISSED => Ok(Some(events)),
            Continuation::Continues { .. } | Continuation::Diverges { .. } => Ok(None),
        }
    }

    /// Stores the events and ends the transaction. They are durable if this succeeds, and may be if it fails.
    ///
    /// # Errors
    /// [`PostgresFailure`].
    async fn commit(mut self, rows: &[EventRow]) -> Result<(), PostgresFailure> {
        let (warnings, deadline) =
            (self.connections.warnings(), Deadline::after(self.connections.limits.batch));
        let stored = deadline.bound(insert_and_commit(self.client()?, rows)).await;
        self.noted(stored)?;
        self.finish(warnings)
    }

    /// Runs statements and ends the transaction.
    ///
    /// # Errors
    /// [`PostgresFailure`].
    pub(super) async fn commit_after<T>(
        mut self,
        statements: impl AsyncFnOnce(&Client, &LedgerHead) -> Result<T, PostgresFailure>,
    ) -> Result<T, PostgresFailure> {
        let (warnings, deadline) =
            (self.connections.warnings(), Deadline::after(self.connections.limits.batch));
        let client = self.client()?;
        let done = deadline.bound(async {
            let value = statements(client, &self.head).await?;
            client.batch_execute("COMMIT").await?;
            Ok(value)
        });
        let done = done.await;
        let value = self.noted(done)?;
        self.finish(warnings)?;
        Ok(value)
    }

    /// Ends the transaction without a change.
    pub(super) async fn release(mut self) {
        let deadline = Deadline::after(self.connections.limits.exchange);
        let Ok(client) = self.client() else { return };
        let ended = deadline.bound(async { Ok(client.batch_execute("ROLLBACK").await?) }).await;
        if self.noted(ended).is_ok() {
            // Back to the pool, without a transaction.
            self.client = None;
        }
    }

    fn client(&self) -> Result<&Client, PostgresFailure> {
        self.client.as_ref().ok_or(PostgresFailure::Damaged("the transaction has ended"))
    }

    /// Ends the connection if an operation failed.
    fn noted<T>(&mut self, done: Result<T, PostgresFailure>) -> Result<T, PostgresFailure> {
        if let Err(failure) = &done
            && let Some(client) = self.client.take()
        {
            self.connections.discard(client, failure);
        }
        done
    }

    /// Returns the connection of a committed transaction to the pool.
    fn finish(mut self, warnings: u64) -> Result<(), PostgresFailure> {
        self.client = None;
        if self.connections.warnings() == warnings { Ok(()) } else { Err(PostgresFailure::CommitWarning) }
    }
}

impl Drop for LedgerWriter<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

/// Stores events, their idempotency keys and the recipients they name, moves the head and wakes the other gateways.
const INSERT: &str = "
    WITH rows AS MATERIALIZED (
        SELECT * FROM unnest($1::smallint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[],
                             $7::text[], $8::bytea[], $9::bytea[])
            AS r (sort, namespace, id, position, event_id, recorded, event, once, asked)
    ), stored AS (
        INSERT INTO purposegate.events (sort, namespace, id, position, event_id, recorded, event, once, asked)
        SELECT * FROM rows
    ), keys AS (
        INSERT INTO purposegate.event_keys (once, position) SELECT once, position FROM rows WHERE once IS NOT NULL
    ), secrets AS (
        INSERT INTO purposegate.log_secrets (namespace, id, secret, since)
        SELECT * FROM unnest($13::text[], $14::text[], $15::bytea[], $16::bigint[]) ON CONFLICT DO NOTHING
    ), named AS (
        INSERT INTO purposegate.recipients (name) SELECT unnest($10::text[]) ON CONFLICT DO NOTHING
    )
    UPDATE purposegate.ledger_head SET position = $11, last_event_position = $11, last_event_id = $12
    RETURNING pg_notify('purposegate', '')";

/// Deletes log secrets.
const ERASE: &str = "
    DELETE FROM purposegate.log_secrets s USING unnest($1::text[], $2::text[]) AS e (namespace, id)
    WHERE s.namespace = e.namespace AND s.id = e.id";

async fn erase_secrets(client: &Client, erased: &[&StoredEntity]) -> Result<(), PostgresFailure> {
    if erased.is_empty() {
        return Ok(());
    }
    let namespaces: Vec<_> = erased.iter().map(|entity| namespace(entity.namespace.as_deref())).collect();
    let ids: Vec<_> = erased.iter().map(|entity| to_column(&entity.id)).collect();
    client.execute(&client.prepare_cached(ERASE).await?, &[&namespaces, &ids]).await?;
    client.batch_execute(&LOG_SECRETS.marking()).await?;
    Ok(())
}

#[allow(clippy::too_many_lines, reason = "most lines are the parameters of one statement")]
async fn insert_and_commit(client: &Client, rows: &[EventRow]) -> Result<(), PostgresFailure> {
    let statement = client.prepare_cached(INSERT).await?;
    let SecretChanges { erased, made } = SecretChanges::of(rows);
    erase_secrets(client, &erased).await?;
    let secret_namespaces: Vec<_> =
        made.iter().map(|(entity, _)| namespace(entity.namespace.as_deref())).collect();
    let secret_ids: Vec<_> = made.iter().map(|(entity, _)| to_column(&entity.id)).collect();
    let secrets: Vec<&[u8]> = made.iter().map(|(_, made)| made.secret.bytes().as_slice()).collect();
    let since: Vec<i64> = made.iter().map(|(_, made)| bigint(made.since)).collect();
    let sorts: Vec<i16> = rows.iter().map(|row| sort(row.entity.kind)).collect();
    let namespaces: Vec<_> = rows.iter().map(|row| namespace(row.entity.namespace.as_deref())).collect();
    let ids: Vec<_> = rows.iter().map(|row| to_column(&row.entity.id)).collect();
    let positions: Vec<i64> = rows.iter().map(|row| bigint(row.stored.position)).collect();
    let event_ids: Vec<String> = rows.iter().map(|row| row.stored.id.to_string()).collect();
    let recorded: Vec<String> = rows.iter().map(|row| row.stored.recorded.to_string()).collect();
    let events: Vec<&str> = rows.iter().map(|row| row.stored.event.as_str()).collect();
    let keys = rows.iter().map(|row| row.idempotency.as_ref());
    let (once, asked): (Vec<_>, Vec<_>) =
        keys.map(|keys| keys.map(|(once, asked)| (once.as_slice(), asked.as_slice())).unzip()).unzip();
    let named = named_recipients(rows);
    let named: Vec<_> = named.iter().map(|name| to_column(name)).collect();
    let last = rows
        .last()
        .map_or((0, String::new()), |row| (bigint(row.stored.position), row.stored.id.to_string()));
    // The server gets both at once. If the first fails, it answers the second by a rollback.
    let (inserted, committed) = join(
        client.execute(
            &statement,
            &[
                &sorts,
                &namespaces,
                &ids,
                &positions,
                &event_ids,
                &recorded,
                &events,
                &once,
                &asked,
                &named,
                &last.0,
                &last.1,
                &secret_namespaces,
                &secret_ids,
                &secrets,
                &since,
            ],
        ),
        client.batch_execute("COMMIT"),
    )
    .await;
    inserted?;
    Ok(committed?)
}

/// An event, as far as a store reads it.
#[derive(Deserialize)]
struct NamedRecipient<'e> {
    #[serde(borrow)]
    recipient: Option<Cow<'e, str>>,
}

/// Returns the recipients that the events name or are about.
fn named_recipients(rows: &[EventRow]) -> BTreeSet<Cow<'_, str>> {
    let mut names = BTreeSet::new();
    for row in rows {
        if row.entity.kind == EntityKind::Recipient {
            names.insert(Cow::Borrowed(row.entity.id.as_str()));
        }
        let event: Result<NamedRecipient<'_>, _> = serde_json::from_str(&row.stored.event);
        names.extend(event.ok().and_then(|event| event.recipient));
    }
    names
}
