//! The disclosure logs that reports read: that of this gateway, and those of other gateways (`[audit] logs`).

use std::path::Path;

use crate::config::{GatewayLog, LogKey};
use crate::disclosure::LogSource;
use crate::keys::{Keys, KeysError};

/// Returns the logs of other gateways. One without a key file of its own names people under `keys`: the gateways of one
/// ledger have the same keys.
///
/// # Errors
/// [`KeysError`] if the key file of a log cannot be read.
pub fn of_other_gateways(logs: &[GatewayLog], keys: &Keys) -> Result<Vec<LogSource>, KeysError> {
    let source = |log: &GatewayLog| match &log.key {
        None | Some(LogKey::Verifier(_)) => Ok(LogSource::new(&log.path, keys)),
        Some(LogKey::File(file)) => Ok(LogSource::new(&log.path, &Keys::open(file)?)),
    };
    logs.iter().map(source).collect()
}

/// Returns the logs of all gateways, this one's first.
///
/// # Errors
/// As [`of_other_gateways`].
pub fn of_all_gateways(own: &Path, others: &[GatewayLog], keys: &Keys) -> Result<Vec<LogSource>, KeysError> {
    let others = of_other_gateways(others, keys)?;
    Ok([LogSource::new(own, keys)].into_iter().chain(others).collect())
}
