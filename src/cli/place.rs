//! Where the ledger is, and the ways to it that every verb about the ledger shares.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::way::{self, Trouble, with_cause};
use crate::keys::Keys;
use crate::ledger::{Archive, Names};

/// Where the ledger is, and the gateway that may have it.
#[derive(Clone)]
pub struct Place<'p> {
    pub ledger: &'p Path,
    pub keys: &'p Path,
    /// The folder of the disclosure log.
    pub log: &'p Path,
    pub names: Arc<dyn Names>,
    /// The names of the recipients that the configuration has.
    pub recipients: Vec<Arc<str>>,
    /// The names of the namespaces that the configuration has.
    pub namespaces: Vec<Arc<str>>,
    pub admin: SocketAddr,
}

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Place<'_> {
    /// Opens the ledger to change it. One that is not there yet is made, and its keys too.
    pub(super) fn way(&self) -> Result<Box<dyn way::Way>, Trouble> {
        let keys = Keys::open_or_create(self.keys, &[self.ledger]).map_err(|error| unusable(&error))?;
        way::open(self, &keys)
    }

    /// Opens the ledger to read it, also beside a gateway that has it.
    pub(super) fn archive(&self) -> Result<Archive, Trouble> {
        let keys = Keys::open(self.keys).map_err(|error| unusable(&error))?;
        Archive::open(self.ledger, &keys, Arc::clone(&self.names)).map_err(|error| unusable(&error))
    }
}

/// Writes the answer to an event, and says in words where it had no effect.
///
/// # Errors
/// When writing fails.
pub(super) fn acknowledge(answer: &Value, out: &mut dyn Write, words: &mut dyn Write) -> io::Result<u8> {
    writeln!(out, "{answer}")?;
    if answer.get("changed").and_then(Value::as_bool) == Some(false) {
        writeln!(words, "purposegate: recorded; what is in force is as it was before")?;
    }
    Ok(0)
}

/// Why a verb ends early.
pub(super) enum Failure {
    Trouble(Trouble),
    Output(io::Error),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Failure::Trouble(trouble)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

pub(super) fn unusable(error: &dyn std::error::Error) -> Trouble {
    Trouble::Unusable(with_cause(error))
}

/// The exit status of what became of a verb; a trouble is told in words.
///
/// # Errors
/// When writing fails.
pub(super) fn tell(outcome: Result<u8, Failure>, words: &mut dyn Write) -> io::Result<u8> {
    match outcome {
        Ok(status) => Ok(status),
        Err(Failure::Output(error)) => Err(error),
        Err(Failure::Trouble(trouble)) => {
            writeln!(words, "purposegate: {trouble}")?;
            Ok(match trouble {
                Trouble::Refused(_) => 1,
                Trouble::Unusable(_) => 2,
            })
        }
    }
}
