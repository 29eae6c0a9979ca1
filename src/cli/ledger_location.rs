//! The location of the ledger, of its keys and of the gateway that may use it.

use std::path::Path;
use std::sync::Arc;

use super::admin_client::AdminServer;
use super::error::{CliError, unusable_error};
use crate::assembly::ledger_store;
use crate::config::LedgerSection;
use crate::keys::Keys;
use crate::ledger::{Archive, TermLookup};

/// The parts of a configuration that the verbs about the ledger need.
#[derive(Clone)]
pub(super) struct LedgerLocation<'p> {
    /// The place of the ledger.
    pub(super) ledger: &'p LedgerSection,
    /// The file of the keys.
    pub(super) keys: &'p Path,
    /// The folder of the disclosure log.
    pub(super) log: &'p Path,
    /// The terms that events may use.
    pub(super) names: Arc<dyn TermLookup>,
    /// The names of the configured recipients.
    pub(super) recipients: Vec<Arc<str>>,
    /// The names of the configured namespaces.
    pub(super) namespaces: Vec<Arc<str>>,
    /// The admin API of the gateway.
    pub(super) admin: AdminServer,
}

impl std::fmt::Debug for LedgerLocation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerLocation").field("ledger", &self.ledger.url).finish_non_exhaustive()
    }
}

impl LedgerLocation<'_> {
    /// Opens the ledger to read it, also while a gateway uses it.
    ///
    /// # Errors
    /// [`CliError::Unusable`].
    pub(super) fn archive(&self) -> Result<Archive, CliError> {
        let keys = Keys::open(self.keys).map_err(|error| unusable_error(&error))?;
        let store =
            ledger_store::open_read_only(self.ledger, &keys).map_err(|error| unusable_error(&error))?;
        Archive::new(store, Arc::clone(&self.names)).map_err(|error| unusable_error(&error))
    }
}
