//! Where the ledger is, and the ways to it that every verb about the ledger shares.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::error::{CliError, with_causes};
use crate::keys::Keys;
use crate::ledger::{Archive, TermLookup};

/// Where the ledger is, and the gateway that may have it.
#[derive(Clone)]
pub struct LedgerLocation<'p> {
    pub ledger: &'p Path,
    pub keys: &'p Path,
    /// The folder of the disclosure log.
    pub log: &'p Path,
    pub names: Arc<dyn TermLookup>,
    /// The names of the recipients that the configuration has.
    pub recipients: Vec<Arc<str>>,
    /// The names of the namespaces that the configuration has.
    pub namespaces: Vec<Arc<str>>,
    pub admin: SocketAddr,
}

impl std::fmt::Debug for LedgerLocation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerLocation").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl LedgerLocation<'_> {
    /// Opens the ledger to read it, also beside a gateway that has it.
    pub(super) fn archive(&self) -> Result<Archive, CliError> {
        let keys = Keys::open(self.keys).map_err(|error| unusable_error(&error))?;
        Archive::open(self.ledger, &keys, Arc::clone(&self.names)).map_err(|error| unusable_error(&error))
    }
}

/// Writes the answer to an event, and says in words where it had no effect.
///
/// # Errors
/// When writing fails.
pub(super) fn print_answer(answer: &Value, out: &mut dyn Write, words: &mut dyn Write) -> io::Result<u8> {
    writeln!(out, "{answer}")?;
    if answer.get("changed").and_then(Value::as_bool) == Some(false) {
        writeln!(words, "purposegate: recorded; what is in force is as it was before")?;
    }
    Ok(0)
}

/// Why a verb ends early.
pub(super) enum VerbError {
    Cli(CliError),
    Output(io::Error),
}

impl From<CliError> for VerbError {
    fn from(error: CliError) -> Self {
        VerbError::Cli(error)
    }
}

impl From<io::Error> for VerbError {
    fn from(error: io::Error) -> Self {
        VerbError::Output(error)
    }
}

pub(super) fn unusable_error(error: &dyn std::error::Error) -> CliError {
    CliError::Unusable(with_causes(error))
}

/// The exit status of what became of a verb; a error is told in words.
///
/// # Errors
/// When writing fails.
pub(super) fn exit_status(outcome: Result<u8, VerbError>, words: &mut dyn Write) -> io::Result<u8> {
    match outcome {
        Ok(status) => Ok(status),
        Err(VerbError::Output(error)) => Err(error),
        Err(VerbError::Cli(error)) => {
            writeln!(words, "purposegate: {error}")?;
            Ok(match error {
                CliError::Refused(_) => 1,
                CliError::Unusable(_) => 2,
            })
        }
    }
}
