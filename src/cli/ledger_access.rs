//! Where a verb works on the ledger: on the files of a configuration, or through the admin API of a gateway.

use super::admin_client::AdminServer;
use super::error::CliError;
use super::ledger_client::LedgerClient;
use super::ledger_location::LedgerLocation;

/// The place where a verb works.
#[derive(Debug)]
pub(super) enum LedgerAccess<'p> {
    /// The files of a configuration. Changes go through the gateway that uses the ledger, if there is one.
    Local(LedgerLocation<'p>),
    /// The admin API of a gateway. No file of the gateway is read.
    Remote(AdminServer),
}

impl LedgerAccess<'_> {
    /// Returns a client that changes the ledger.
    ///
    /// # Errors
    /// [`CliError::Unusable`].
    pub(super) fn client(&self) -> Result<Box<dyn LedgerClient>, CliError> {
        match self {
            LedgerAccess::Local(location) => location.client(),
            LedgerAccess::Remote(server) => Ok(Box::new(server.client()?)),
        }
    }

    /// Checks that a reason is given only where it goes on record.
    ///
    /// # Errors
    /// [`CliError::Unusable`] for a reason to read local files.
    pub(super) fn check_reason(&self, reason: Option<&str>) -> Result<(), CliError> {
        match (self, reason) {
            (LedgerAccess::Local(_), Some(_)) => Err(CliError::Unusable(
                "--reason needs --admin: a gateway records it, and reading its files leaves no record"
                    .to_owned(),
            )),
            (LedgerAccess::Local(_) | LedgerAccess::Remote(_), _) => Ok(()),
        }
    }
}
