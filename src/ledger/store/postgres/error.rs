//! The failures of a PostgreSQL store.
//!
//! Invariant: no message holds a value of a row, a password or an address. A message of the server can quote any of
//! these, so its SQLSTATE is kept and its text is dropped.

use std::error::Error;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::tables::VERSION;
use crate::ledger::store::StoreError;

/// The failure of one operation on the server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresFailure {
    /// The server did not answer in time. The connection may be cut or the server stopped, and the outcome is unknown.
    #[error("PostgreSQL did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The server refused the operation.
    #[error("PostgreSQL answered with SQLSTATE {}{}", .0.code(), meaning(.0))]
    Refused(SqlState),
    /// The connection could not be made, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The server committed with a warning. It does so when somebody cancels the wait for a synchronous standby, and the
    /// commit is then not durable there.
    #[error("PostgreSQL committed with a warning, so that it is unknown where the commit is durable")]
    CommitWarning,
    /// The gateway has no row, and this process did not register it.
    #[error("the gateway is not registered with the ledger")]
    NotRegistered,
    /// A newer program migrated the schema while this one was running, in a way that this one does not understand.
    #[error(
        "the schema was migrated, and programs before its version {0} cannot use it; this program knows version {VERSION}"
    )]
    Migrated(i32),
    /// The content of the tables is inconsistent.
    #[error("the tables of the ledger are damaged: {0}")]
    Damaged(&'static str),
}

impl PostgresFailure {
    /// True if the operation may succeed later. False if waiting does not help: the tables are damaged, removed, or
    /// those of another version.
    pub fn is_transient(&self) -> bool {
        match self {
            PostgresFailure::TimedOut(_)
            | PostgresFailure::Connection(_)
            | PostgresFailure::CommitWarning
            | PostgresFailure::NotRegistered => true,
            PostgresFailure::Migrated(_) | PostgresFailure::Damaged(_) => false,
            PostgresFailure::Refused(state) => ![
                SqlState::DATA_CORRUPTED,
                SqlState::INDEX_CORRUPTED,
                SqlState::INVALID_SCHEMA_NAME,
                SqlState::UNDEFINED_COLUMN,
                SqlState::UNDEFINED_TABLE,
            ]
            .contains(state),
        }
    }

    /// True if other connections to the same server probably failed, too.
    pub(super) fn concerns_connection(&self) -> bool {
        matches!(self, PostgresFailure::TimedOut(_) | PostgresFailure::Connection(_))
    }

    /// Returns the error of a store's operation.
    pub(super) fn during(self, doing: &'static str) -> StoreError {
        if self.is_transient() { StoreError::transient(doing, self) } else { StoreError::new(doing, self) }
    }
}

impl From<tokio_postgres::Error> for PostgresFailure {
    fn from(error: tokio_postgres::Error) -> PostgresFailure {
        if let Some(state) = error.code() {
            return PostgresFailure::Refused(state.clone());
        }
        // The sources of other kinds are errors of sockets, of TLS and of conversions, none of which quotes a value.
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        PostgresFailure::Connection(message)
    }
}

/// Returns in words the SQLSTATEs that an operator can do something about.
fn meaning(state: &SqlState) -> &'static str {
    match state.code() {
        "25006" => ": it is read-only",
        "25P03" => ": it ended a transaction that waited for this process for too long",
        "28000" => ": its rules (pg_hba.conf) do not admit this role, from here, in this way",
        "28P01" => ": the password is wrong",
        "3D000" => ": there is no such database",
        "42501" => ": the role lacks a privilege",
        "42P01" | "42703" | "3F000" => ": a table of the ledger was removed or changed",
        "53100" => ": its disk is full",
        "53300" => ": it has too many connections",
        "55P03" => ": a lock could not be had in time",
        "57014" => ": the statement took too long",
        "57P01" | "57P02" => ": it is shutting down",
        "57P03" => ": it is starting up",
        "XX001" | "XX002" => ": its files are damaged",
        _ => "",
    }
}

/// An error that keeps a ledger in PostgreSQL from opening. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum PostgresError {
    /// The server cannot be reached, or does not admit the role.
    #[error("cannot connect to the PostgreSQL server of the ledger")]
    Unreachable(#[source] PostgresFailure),
    /// The server is a standby.
    #[error(
        "the PostgreSQL server of the ledger is a standby, which may be behind: give the address of the primary, or of all servers, separated by commas"
    )]
    Standby,
    /// The server, the database or the role is read-only.
    #[error(
        "the ledger's database is read-only: `default_transaction_read_only` is on for the server, the database or the role"
    )]
    ReadOnly,
    /// The server's version is not supported.
    #[error("the PostgreSQL server of the ledger has version {found}; purposegate needs version 15 or later")]
    ServerVersion { found: String },
    /// The encoding of the database cannot hold every id.
    #[error("the ledger's database has the encoding {found}: create one with `ENCODING 'UTF8'`")]
    Encoding { found: String },
    /// The server does not write durably.
    #[error(
        "the PostgreSQL server of the ledger runs with `fsync = off` and loses acknowledged events when its machine stops: set `fsync = on`"
    )]
    NotDurable,
    /// The database has no ledger.
    #[error("the database has no ledger: run `purposegate ledger migrate`, or set `migrate = true`")]
    NoLedger,
    /// The schema has an earlier version.
    #[error(
        "the ledger's schema has version {found}, and this program needs version {VERSION}: run `purposegate ledger migrate`, or set `migrate = true`"
    )]
    OlderVersion { found: i32 },
    /// The schema has a version that this program does not know.
    #[error(
        "the ledger's schema has version {found}, and programs before version {compatible_from} cannot use it; this program knows version {VERSION}: install the newer program"
    )]
    NewerVersion { found: i32, compatible_from: i32 },
    /// There is a schema of this name that is not a ledger.
    #[error(
        "the database has a schema `purposegate` that is not a ledger of purposegate: use another database"
    )]
    Foreign,
    /// The ledger was created under other keys.
    #[error("the ledger was made under other keys: restore its key file")]
    OtherKeys,
    /// Somebody changed a table.
    #[error(
        "the ledger's schema was changed: {object} {difference}; undo the change, or restore the schema from a backup"
    )]
    Changed { object: String, difference: String },
    /// The role lacks privileges.
    #[error("the role of purposegate lacks a privilege in the ledger's database: `{grant}`")]
    Privilege { grant: String },
    /// The lease term is out of bounds.
    #[error("the lease term is not between 0.1 s and 30 s")]
    LeaseTerm,
    /// The store's threads could not be started.
    #[error("cannot start the threads of the ledger's connections")]
    Threads(#[source] std::io::Error),
    /// An operation failed.
    #[error("PostgreSQL failed while {doing}")]
    Failed { doing: &'static str, source: PostgresFailure },
}

impl PostgresError {
    /// Returns a function that makes the error of an operation.
    pub(super) fn while_doing<E>(doing: &'static str) -> impl FnOnce(E) -> PostgresError
    where
        PostgresFailure: From<E>,
    {
        move |error| PostgresError::Failed { doing, source: error.into() }
    }
}
