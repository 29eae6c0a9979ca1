//! Opens ledgers in SQLite files, the embedded store.

use std::path::Path;
use std::sync::Arc;

use super::Ledger;
use super::archive::Archive;
use super::outcome::LedgerOpenError;
use super::store::sqlite::SqliteStore;
use super::terms::TermLookup;
use crate::keys::Keys;

impl Ledger {
    /// Opens the ledger file at `path`, or creates it, and loads what is in force.
    ///
    /// # Errors
    /// [`LedgerOpenError`].
    pub fn open(
        path: &Path,
        keys: &Keys,
        terms: Arc<dyn TermLookup>,
    ) -> Result<Arc<Ledger>, LedgerOpenError> {
        let store = SqliteStore::open(path, &keys.ledger_check())?;
        Ledger::with_store(Arc::new(store), keys, terms)
    }
}

impl Archive {
    /// Opens an existing ledger file for reading. Another process may write to it meanwhile.
    ///
    /// # Errors
    /// [`LedgerOpenError`].
    pub fn open(path: &Path, keys: &Keys, terms: Arc<dyn TermLookup>) -> Result<Archive, LedgerOpenError> {
        let store = SqliteStore::open_read_only(path, &keys.ledger_check())?;
        Ok(Archive::new(Arc::new(store), terms)?)
    }
}
