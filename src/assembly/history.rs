//! Whether the ledger's history is as long as what is known of it.
//!
//! A ledger file that is lost or put back to an older state opens like any other, and what people
//! said since is forgotten. Two others remember how far it went: the disclosure log, whose records
//! name the ledger's position, and the mark beside the key file.

use std::path::Path;

use crate::config::Config;
use crate::disclosure;
use crate::ledger::{Position, PositionMark};

/// The ledger's history ends before what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger's history ends at position {held}, but {known} was acknowledged: its file was lost, or put back to an \
     older state, and what people said since is missing. Bring the right file back; or go on without what is missing: \
     `purposegate ledger accept-history`"
)]
pub struct HistoryTruncated {
    pub held: Position,
    pub known: Position,
}

/// Returns the last position of the ledger that anything knows of.
///
/// # Errors
/// Where the disclosure log cannot be read.
pub fn last_known_position(config: &Config) -> Result<Option<Position>, disclosure::ReadError> {
    last_known_position_in(&config.audit.directory, &config.keys.path, &config.ledger.path)
}

/// As [`known`], by the places of log, keys and ledger.
///
/// # Errors
/// Where the disclosure log cannot be read.
pub fn last_known_position_in(
    log: &Path,
    keys: &Path,
    ledger: &Path,
) -> Result<Option<Position>, disclosure::ReadError> {
    Ok(disclosure::last_position(log)?.max(PositionMark::read(keys, ledger)))
}

/// Compares the ledger's history with what is known of it.
///
/// # Errors
/// [`HistoryTruncated`].
pub fn compare(held: Position, known: Option<Position>) -> Result<(), HistoryTruncated> {
    match known {
        Some(known) if known > held => Err(HistoryTruncated { held, known }),
        _ => Ok(()),
    }
}
