//! Detects a ledger that lacks events which were acknowledged.
//!
//! A ledger file that was lost or restored from an older state opens like any other, but lacks later events, possibly
//! withdrawals. Two other files have the ledger's last position: the disclosure log, whose records name it, and the mark
//! beside the key file.

use std::path::Path;

use crate::config::Config;
use crate::disclosure;
use crate::ledger::{Position, PositionMark};

/// The ledger's history ends before its last known position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger's history ends at position {held}, but {known} was acknowledged: the ledger was lost, or put back to an \
     older state, and what people said since is missing. Restore the right state; or accept the loss of these events: \
     `purposegate ledger accept-history`"
)]
pub struct HistoryTruncated {
    /// Last position in the ledger.
    pub held: Position,
    /// Last position that the disclosure log or the mark has.
    pub known: Position,
}

/// Returns the last position of the ledger according to the disclosure log and the mark. `None` if neither exists.
///
/// # Errors
/// The disclosure log cannot be read.
pub fn last_known_position(config: &Config) -> Result<Option<Position>, disclosure::ReadError> {
    last_known_position_in(&config.audit.directory, &config.keys.path, &config.ledger.url.mark_name())
}

/// Does the same as [`last_known_position`] for the paths of log and keys, and the name by which the mark tells the ledger
/// from others.
///
/// # Errors
/// The disclosure log cannot be read.
pub fn last_known_position_in(
    log: &Path,
    keys: &Path,
    ledger: &[u8],
) -> Result<Option<Position>, disclosure::ReadError> {
    Ok(disclosure::last_position(log)?.max(PositionMark::read(keys, ledger)))
}

/// Compares the ledger's last position with the last known one.
///
/// # Errors
/// [`HistoryTruncated`] if the ledger ends earlier.
pub fn compare(held: Position, known: Option<Position>) -> Result<(), HistoryTruncated> {
    match known {
        Some(known) if known > held => Err(HistoryTruncated { held, known }),
        _ => Ok(()),
    }
}
