//! `audit accept-loss`: goes on without a disclosure log that is lost.

use std::io::{self, Write};

use jiff::Timestamp;

use super::unusable;
use crate::assembly::own_log::{self, AcceptLossError, LogMissing};
use crate::cli::error::{EXIT_FINDINGS, with_causes};
use crate::config::Config;
use crate::disclosure::record::check_reason;

/// Accepts the loss of the logs of the gateway that are missing.
///
/// # Errors
/// If writing fails.
pub(in crate::cli) fn accept(
    config: &Config,
    reason: &str,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    if let Err(unfit) = check_reason(reason) {
        return unusable(&format!("`--reason` {unfit}"), err);
    }
    match own_log::accept(config, reason, now) {
        Ok(lost) if lost.is_empty() => {
            writeln!(out, "nothing is missing: {}", config.audit.directory.display())?;
            Ok(0)
        }
        Ok(lost) => {
            for LogMissing { origin, size, witness, .. } in lost {
                writeln!(out, "accepted: the log {origin} with {size} entries, known to {witness}, is lost")?;
            }
            writeln!(out, "the acceptance is on record in {}", config.audit.directory.display())?;
            Ok(0)
        }
        Err(error @ AcceptLossError::IsShorter { .. }) => {
            writeln!(err, "purposegate: {error}")?;
            Ok(EXIT_FINDINGS)
        }
        Err(error) => unusable(&with_causes(&error), err),
    }
}
