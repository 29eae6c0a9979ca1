//! Opens the store that a configuration names, for the gateway and for commands.
//!
//! Invariants: with PostgreSQL no key file is created, because each gateway of a ledger would have its own; no error
//! holds a password.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::postgres_options::{self, PostgresOptionsError};
use crate::config::{LedgerSection, LedgerUrl};
use crate::keys::{Keys, KeysError};
#[cfg(feature = "sqlite")]
use crate::ledger::{FileError, SqliteStore};
#[cfg(feature = "postgres")]
use crate::ledger::{PostgresError, PostgresStore};
use crate::ledger::{SchemaChange, Store};

/// The reason why the store of a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The ledger file cannot be opened.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    File(#[from] FileError),
    /// The database cannot be reached, or is no ledger that can be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The password or a file for TLS cannot be read.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Options(#[from] PostgresOptionsError),
    /// The program was built without the store.
    #[error("this program cannot open {0}: it was built without the store")]
    NotBuilt(LedgerUrl),
}

/// Opens the store of a ledger for reading and writing. Creates a SQLite file that does not exist. Upgrades the schema of
/// an earlier version if the configuration lets it.
///
/// # Errors
/// [`OpenStoreError`].
pub fn open(ledger: &LedgerSection, keys: &Keys) -> Result<Arc<dyn Store>, OpenStoreError> {
    Ok(open_with_schema(ledger, keys)?.0)
}

/// Opens the store of a ledger, creates its schema or upgrades it to the present version, whatever `migrate` says in the
/// configuration, and returns the versions.
///
/// # Errors
/// [`OpenStoreError`].
pub fn migrate(
    ledger: &LedgerSection,
    keys: &Keys,
) -> Result<(Arc<dyn Store>, SchemaChange), OpenStoreError> {
    open_with_schema(&LedgerSection { migrate: true, ..ledger.clone() }, keys)
}

#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(unused_variables, reason = "without a store there is nothing to open")
)]
fn open_with_schema(
    ledger: &LedgerSection,
    keys: &Keys,
) -> Result<(Arc<dyn Store>, SchemaChange), OpenStoreError> {
    match &ledger.url {
        #[cfg(feature = "sqlite")]
        LedgerUrl::Sqlite(file) => {
            let store = SqliteStore::open_or_migrate(file, &keys.ledger_check(), ledger.migrate)?;
            let schema = store.schema();
            Ok((Arc::new(store), schema))
        }
        #[cfg(feature = "postgres")]
        LedgerUrl::Postgres(server) => {
            let options = postgres_options::read(server, ledger.max_staleness)?;
            let store = PostgresStore::open(options, &keys.ledger_check(), ledger.migrate)?;
            let schema = store.schema();
            Ok((Arc::new(store), schema))
        }
        #[allow(unreachable_patterns, reason = "reached without the features of the stores")]
        url => Err(OpenStoreError::NotBuilt(url.clone())),
    }
}

/// Opens the store of a ledger for reading, also while gateways use it. Creates and upgrades nothing.
///
/// # Errors
/// [`OpenStoreError`].
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(unused_variables, reason = "without a store there is nothing to open")
)]
pub fn open_read_only(ledger: &LedgerSection, keys: &Keys) -> Result<Arc<dyn Store>, OpenStoreError> {
    match &ledger.url {
        #[cfg(feature = "sqlite")]
        LedgerUrl::Sqlite(file) => Ok(Arc::new(SqliteStore::open_read_only(file, &keys.ledger_check())?)),
        #[cfg(feature = "postgres")]
        LedgerUrl::Postgres(_) => open(&LedgerSection { migrate: false, ..ledger.clone() }, keys),
        #[allow(unreachable_patterns, reason = "reached without the features of the stores")]
        url => Err(OpenStoreError::NotBuilt(url.clone())),
    }
}

/// Reads the key file of a ledger and a disclosure log. With an embedded ledger it is created if neither it nor the ledger
/// nor the log exists.
///
/// # Errors
/// [`KeysError`].
pub fn open_keys(keys: &Path, ledger: &LedgerUrl, log: &Path) -> Result<Keys, KeysError> {
    match ledger {
        LedgerUrl::Sqlite(file) => Keys::open_or_create(keys, &[file, log]),
        LedgerUrl::Postgres(_) => Keys::open(keys),
    }
}

/// Checks that [`open_keys`] would return keys. Creates nothing.
///
/// # Errors
/// [`KeysError`].
pub fn check_keys(keys: &Path, ledger: &LedgerUrl, log: &Path) -> Result<(), KeysError> {
    match ledger {
        LedgerUrl::Sqlite(file) => Keys::open_unless_new(keys, &[file, log]).map(drop),
        LedgerUrl::Postgres(_) => Keys::open(keys).map(drop),
    }
}
