//! Removes deleted rows that name people, or under which people are found, from the files of their tables.
//!
//! A deleted row stays in the file. `VACUUM` only makes its space free: it moves the other rows of the page together, and
//! where the row was the last one of the page, nothing is written over it. `VACUUM FULL` writes a new file with the rows that
//! are left, and removes the old one. Nobody can use the table meanwhile, so the server cancels it when it takes longer than a
//! writer may keep others out.
//!
//! Invariant: a failure keeps nothing from being appended; it is reported, and the file is written again later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connections, Deadline, ServerConnector};
use super::error::PostgresFailure;

/// Time that has to pass after a deletion: transactions that began before it keep the row alive.
const SETTLING: Duration = Duration::from_secs(60);

/// Minimum time between two attempts.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Minimum time between two warnings.
const WARNING_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns the file of a table, and true if the role may write a new one.
const EXAMINE: &str = "
    SELECT pg_relation_filenode(c.oid)::bigint, pg_has_role(c.relowner, 'USAGE')
    FROM pg_class c WHERE c.oid = to_regclass($1)";

/// The table of the log secrets.
pub(super) const LOG_SECRETS: &str = "purposegate.log_secrets";

/// The table of inquiries and notices.
pub(super) const NOTICES: &str = "purposegate.notices";

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewriting {
    /// A new file was written, by this process or by somebody else since the file was seen.
    Done,
    /// The table belongs to another role. This is its file.
    NotOwner(i64),
}

/// The deletions whose rows may still be in the file.
#[derive(Clone, Copy, Debug)]
struct PendingDeletions {
    first: Instant,
    last: Instant,
    /// The file in which they are, if it was seen.
    file: Option<i64>,
}

/// Deletions and attempts so far.
#[derive(Debug, Default)]
struct RewritingState {
    pending: Option<PendingDeletions>,
    attempted: Option<Instant>,
    warned: Option<Instant>,
}

fn has_passed(since: Instant, now: Instant, time: Duration) -> bool {
    now.saturating_duration_since(since) >= time
}

impl RewritingState {
    fn note_deletion(&mut self, now: Instant) {
        let pending = self.pending.get_or_insert(PendingDeletions { first: now, last: now, file: None });
        pending.last = now;
    }

    /// Returns the pending deletions if it is time for an attempt, which begins now.
    fn begin_attempt(&mut self, now: Instant) -> Option<PendingDeletions> {
        let pending = self.pending.filter(|pending| has_passed(pending.first, now, SETTLING))?;
        if self.attempted.is_some_and(|attempted| !has_passed(attempted, now, INTERVAL)) {
            return None;
        }
        self.attempted = Some(now);
        Some(pending)
    }

    /// Notes how the attempt ended that began at `began`.
    fn end_attempt(&mut self, began: Instant, outcome: Rewriting) {
        let Some(pending) = &mut self.pending else { return };
        match outcome {
            Rewriting::NotOwner(file) => pending.file = Some(file),
            // The rows of later deletions were perhaps kept for transactions that were open.
            Rewriting::Done if !has_passed(pending.last, began, SETTLING) => {
                *pending = PendingDeletions { first: pending.last, file: None, ..*pending };
            }
            Rewriting::Done => self.pending = None,
        }
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

/// The file of a table, as far as this process has deleted rows.
#[derive(Debug)]
pub(super) struct TableFile {
    table: &'static str,
    state: Mutex<RewritingState>,
}

impl TableFile {
    pub(super) fn new(table: &'static str) -> TableFile {
        TableFile { table, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, RewritingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if deleted rows may be in the file.
    #[cfg(test)]
    pub(super) fn is_pending(&self) -> bool {
        self.lock().pending.is_some()
    }

    /// Notes that rows were deleted, or perhaps were.
    pub(super) fn note_deletion(&self) {
        self.lock().note_deletion(Instant::now());
    }

    /// Begins to write the file again if deleted rows may be in it and it is time. Does not wait. The server cancels it
    /// after `limit`.
    pub(super) fn rewrite_if_due(self: &Arc<Self>, connections: &Connections, limit: Duration) {
        let began = Instant::now();
        let Some(pending) = self.lock().begin_attempt(began) else { return };
        let (this, connector) = (Arc::clone(self), connections.connector().clone());
        let exchange = connections.limits.exchange;
        connections.spawn(async move {
            match rewrite(&connector, exchange, this.table, pending.file, limit).await {
                Ok(outcome) => {
                    this.lock().end_attempt(began, outcome);
                    if matches!(outcome, Rewriting::NotOwner(_)) {
                        this.warn("the table belongs to another role");
                    }
                }
                Err(failure) => this.warn(&failure.to_string()),
            }
        });
    }

    fn warn(&self, why: &str) {
        if self.lock().begin_warning(Instant::now()) {
            tracing::warn!(
                why,
                table = self.table,
                "rows about people that were deleted are still in a file of PostgreSQL: run `VACUUM FULL` on the table as its owner"
            );
        }
    }
}

/// Writes a new file for the table, unless the table has another file than `seen`. `exchange` is the time limit of a question and
/// its answer.
///
/// # Errors
/// [`PostgresFailure`]; also if the table cannot be locked and written within `limit`.
pub(super) async fn rewrite(
    connector: &ServerConnector,
    exchange: Duration,
    table: &str,
    seen: Option<i64>,
    limit: Duration,
) -> Result<Rewriting, PostgresFailure> {
    let deadline = Deadline::after(exchange + exchange + limit);
    let rewriting = async {
        // A connection of its own: the limit of its statements is another one.
        let (client, _connection) = connector.session().await?;
        let row = client.query_one(EXAMINE, &[&table]).await?;
        let (file, is_owner): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        if seen.is_some_and(|seen| seen != file) {
            return Ok(Rewriting::Done);
        }
        // The server would answer with a warning.
        if !is_owner {
            return Ok(Rewriting::NotOwner(file));
        }
        client.batch_execute(&format!("SET statement_timeout = {}", limit.as_millis().max(1))).await?;
        // Not in one message with another statement: it cannot run in a transaction.
        client.batch_execute(&format!("VACUUM (FULL) {table}")).await?;
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
        assert!(state.begin_attempt(at(0)).is_none(), "nothing was deleted");
        state.note_deletion(at(0));
        assert!(state.begin_attempt(at(59)).is_none());
        assert!(state.begin_attempt(at(60)).is_some());
        assert!(state.begin_attempt(at(70)).is_none(), "the attempt has failed, and the next one waits");
        state.note_deletion(at(650));
        assert!(state.begin_attempt(at(660)).is_some());
        state.end_attempt(at(660), Rewriting::Done);
        assert!(state.begin_attempt(at(1259)).is_none());
        assert!(state.begin_attempt(at(1260)).is_some(), "for the second deletion");
        state.end_attempt(at(1260), Rewriting::NotOwner(7));
        let again = state.begin_attempt(at(1900)).unwrap();
        assert_eq!(again.file, Some(7), "the owner may write another one");
        state.end_attempt(at(1900), Rewriting::Done);
        assert!(state.begin_attempt(at(9999)).is_none());
        let warnings = [0, 1, 86_399, 86_400, 90_000].map(|seconds| state.begin_warning(at(seconds)));
        assert_eq!(warnings, [true, false, false, true, false], "one a day");
    }
}
