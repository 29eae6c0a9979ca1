//! Removes deleted rows that name people, or under which people are found, from the files of their tables.
//!
//! A deleted row stays in the file. `VACUUM` only makes its space free: it moves the other rows of the page together, and
//! where the row was the last one of the page, nothing is written over it. `VACUUM FULL` writes a new file with the rows that
//! are left, and removes the old one. Nobody can use the table meanwhile, so the server cancels it when it takes longer than a
//! writer may keep others out.
//!
//! A deletion leaves a mark in the database, in its own transaction: the gateway that has deleted may stop before the file is
//! written, and any gateway that runs finds the mark. Invariants: the mark goes only after a new file was written; a failure
//! keeps nothing from being appended, is reported, and the file is written again later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio_postgres::Client;

use super::connection::{Connections, Deadline, ServerConnector};
use super::error::PostgresFailure;

/// Time that has to pass after a deletion was seen: transactions that began before it keep the row alive.
const SETTLING: Duration = Duration::from_secs(60);

/// Time between two looks at the mark.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Minimum time between two attempts.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Minimum time between two warnings.
const WARNING_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// A table from which rows about people are deleted.
#[derive(Debug)]
pub(super) struct MarkedTable {
    /// The name of the table.
    name: &'static str,
    /// The column of `purposegate.ledger` with the mark: the transaction of the last deletion, and the file of the table then.
    mark: &'static str,
}

/// The table of the log secrets.
pub(super) const LOG_SECRETS: MarkedTable =
    MarkedTable { name: "purposegate.log_secrets", mark: "log_secrets_deleted" };

/// The table of inquiries and notices.
pub(super) const NOTICES: MarkedTable = MarkedTable { name: "purposegate.notices", mark: "notices_deleted" };

impl MarkedTable {
    /// Returns the statement that leaves the mark, for the transaction of a deletion.
    pub(super) fn marking(&self) -> String {
        let MarkedTable { name, mark } = self;
        format!(
            "UPDATE purposegate.ledger SET {mark} =
                 ARRAY[pg_current_xact_id()::text::bigint, pg_relation_filenode('{name}')::bigint]"
        )
    }

    /// Returns the statement that reads the mark, the present file of the table, and true if the role may write a new one.
    fn looking(&self) -> String {
        let MarkedTable { name, mark } = self;
        format!(
            "SELECT l.{mark}, pg_relation_filenode(c.oid)::bigint, pg_has_role(c.relowner, 'USAGE')
             FROM purposegate.ledger l, pg_class c WHERE c.oid = to_regclass('{name}')"
        )
    }

    /// Returns the statement that removes the mark of a deletion. The mark of a later one stays: its rows may have been kept for
    /// transactions that were open, and moved to the present file.
    fn unmarking(&self) -> String {
        let MarkedTable { name, mark } = self;
        format!(
            "UPDATE purposegate.ledger SET {mark} = CASE WHEN {mark}[1] <> $1
                 THEN ARRAY[{mark}[1], pg_relation_filenode('{name}')::bigint] END
             WHERE {mark} IS NOT NULL"
        )
    }
}

/// A deletion whose rows may be in the file of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkedDeletion {
    /// The transaction.
    pub(super) transaction: i64,
    /// True if the table still has the file that it had then.
    is_in_file: bool,
    /// True if the role may write a new file.
    is_owner: bool,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewriting {
    /// A new file was written, by this process or by somebody else since the deletion.
    Done,
    /// The table belongs to another role.
    NotOwner,
    /// Another gateway writes the file.
    Elsewhere,
}

/// The deletion that was seen, and the looks and attempts so far.
#[derive(Debug, Default)]
struct RewritingState {
    looked: Option<Instant>,
    /// The last deletion that was seen, and when it was seen first.
    seen: Option<(i64, Instant)>,
    attempted: Option<Instant>,
    warned: Option<Instant>,
}

fn has_passed(since: Instant, now: Instant, time: Duration) -> bool {
    now.saturating_duration_since(since) >= time
}

impl RewritingState {
    /// True if it is time for a look, which begins now.
    fn begin_look(&mut self, now: Instant) -> bool {
        let is_due = self.looked.is_none_or(|looked| has_passed(looked, now, LOOK_INTERVAL));
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }

    /// Notes the deletion that a look has found. True if it is time for an attempt, which begins now.
    fn begin_attempt(&mut self, found: Option<i64>, now: Instant, settling: Duration) -> bool {
        let Some(found) = found else {
            self.seen = None;
            return false;
        };
        let since = self.seen.filter(|(seen, _)| *seen == found).map_or(now, |(_, since)| since);
        self.seen = Some((found, since));
        let is_due = has_passed(since, now, settling)
            && self.attempted.is_none_or(|attempted| has_passed(attempted, now, INTERVAL));
        if is_due {
            self.attempted = Some(now);
        }
        is_due
    }

    /// True if a warning is to be written, which counts as written.
    fn begin_warning(&mut self, now: Instant) -> bool {
        let is_due = self.warned.is_none_or(|warned| has_passed(warned, now, WARNING_PERIOD));
        if is_due {
            self.warned = Some(now);
        }
        is_due
    }
}

/// The file of a table from which rows about people are deleted.
#[derive(Debug)]
pub(super) struct TableFile {
    table: MarkedTable,
    settling: Duration,
    state: Mutex<RewritingState>,
}

impl TableFile {
    pub(super) fn new(table: MarkedTable) -> TableFile {
        TableFile { table, settling: SETTLING, state: Mutex::default() }
    }

    /// Does the same as [`TableFile::new`], and waits for no transactions after a deletion.
    #[cfg(test)]
    pub(super) fn without_settling(table: MarkedTable) -> TableFile {
        TableFile { settling: Duration::ZERO, ..TableFile::new(table) }
    }

    fn lock(&self) -> MutexGuard<'_, RewritingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the mark if it is time, and writes the file again if deleted rows may be in it. Does not wait. The server
    /// cancels it after `limit`.
    pub(super) fn rewrite_if_due(self: &Arc<Self>, connections: &Connections, limit: Duration) {
        if !self.lock().begin_look(Instant::now()) {
            return;
        }
        let (this, connector, pool) = (Arc::clone(self), connections.connector().clone(), connections.pool());
        let exchange = connections.limits.exchange;
        connections.spawn(async move {
            // A server that does not answer is reported by those who wait for it.
            let Ok(found) = look_from_pool(&pool, exchange, &this.table).await else { return };
            let transaction = found.map(|found| found.transaction);
            let is_due = this.lock().begin_attempt(transaction, Instant::now(), this.settling);
            let Some(transaction) = transaction.filter(|_| is_due) else { return };
            match rewrite(&connector, exchange, &this.table, transaction, limit).await {
                Ok(Rewriting::Done | Rewriting::Elsewhere) => {}
                Ok(Rewriting::NotOwner) => this.warn("the table belongs to another role"),
                Err(failure) => this.warn(&failure.to_string()),
            }
        });
    }

    fn warn(&self, why: &str) {
        if self.lock().begin_warning(Instant::now()) {
            tracing::warn!(
                why,
                table = self.table.name,
                "rows about people that were deleted are still in a file of PostgreSQL: run `VACUUM FULL` on the table as its owner"
            );
        }
    }
}

async fn look_from_pool(
    pool: &Pool,
    exchange: Duration,
    table: &MarkedTable,
) -> Result<Option<MarkedDeletion>, PostgresFailure> {
    let deadline = Deadline::after(exchange);
    let taken = deadline
        .bound(async { pool.get().await.map_err(|error| PostgresFailure::Connection(error.to_string())) });
    let client = taken.await?;
    let found = deadline.bound(look(&client, table)).await;
    if found.is_err() {
        drop(Object::take(client));
    }
    found
}

/// Returns the deletion whose mark the database has.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn look(
    client: &Client,
    table: &MarkedTable,
) -> Result<Option<MarkedDeletion>, PostgresFailure> {
    let row = client.query_one(&table.looking(), &[]).await?;
    let (mark, file): (Option<Vec<i64>>, i64) = (row.try_get(0)?, row.try_get(1)?);
    let is_owner = row.try_get(2)?;
    match mark.as_deref() {
        None => Ok(None),
        Some(&[transaction, then]) => {
            Ok(Some(MarkedDeletion { transaction, is_in_file: then == file, is_owner }))
        }
        Some(_) => Err(PostgresFailure::Damaged("the mark of a deletion does not read")),
    }
}

/// Writes a new file for the table, unless it got one since the marked deletion, and removes the mark of the deletion
/// `transaction`. `exchange` is the time limit of a question and its answer.
///
/// # Errors
/// [`PostgresFailure`]; also if the table cannot be locked and written within `limit`.
pub(super) async fn rewrite(
    connector: &ServerConnector,
    exchange: Duration,
    table: &MarkedTable,
    transaction: i64,
    limit: Duration,
) -> Result<Rewriting, PostgresFailure> {
    let deadline = Deadline::after(exchange + exchange + limit);
    let rewriting = async {
        // A connection of its own: the limit of its statements is another one, and its lock ends with it.
        let (client, _connection) = connector.session().await?;
        let locking = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        if !client.query_one(locking, &[&table.name]).await?.try_get::<_, bool>(0)? {
            return Ok(Rewriting::Elsewhere);
        }
        let Some(found) = look(&client, table).await? else { return Ok(Rewriting::Done) };
        if found.is_in_file {
            // The server would answer with a warning.
            if !found.is_owner {
                return Ok(Rewriting::NotOwner);
            }
            let limit = limit.as_millis().max(1);
            client.batch_execute(&format!("SET statement_timeout = {limit}")).await?;
            // Not in one message with another statement: it cannot run in a transaction.
            client.batch_execute(&format!("VACUUM (FULL) {}", table.name)).await?;
        }
        client.execute(&table.unmarking(), &[&transaction]).await?;
        Ok(Rewriting::Done)
    };
    deadline.bound(rewriting).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_waits_for_open_transactions_and_is_repeated_for_later_deletions() {
        let mut state = RewritingState::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let looks = [0, 1, 59, 60, 61, 119, 120].map(|seconds| state.begin_look(at(seconds)));
        assert_eq!(looks, [true, false, false, true, false, false, true], "at the start, and once a minute");
        let mut attempt = |found, seconds| state.begin_attempt(found, at(seconds), SETTLING);
        assert!(!attempt(None, 0), "nothing was deleted");
        assert!(!attempt(Some(7), 0) && !attempt(Some(7), 59));
        assert!(attempt(Some(7), 60));
        assert!(!attempt(Some(7), 120), "the attempt has failed, and the next one waits");
        assert!(!attempt(Some(8), 650), "another deletion");
        assert!(attempt(Some(8), 710));
        assert!(!attempt(None, 720) && !attempt(Some(9), 1300) && !attempt(Some(9), 1309));
        assert!(attempt(Some(9), 1360));
        let warnings = [0, 1, 86_399, 86_400, 90_000].map(|seconds| state.begin_warning(at(seconds)));
        assert_eq!(warnings, [true, false, false, true, false], "one a day");
    }
}
