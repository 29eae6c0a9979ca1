//! Checkpoints: short statements with which a copy of the log can be checked later without keeping the log.

use serde::{Deserialize, Serialize};

/// A short statement of the content of a log: two logs with the same checkpoint hold the same records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The log's random id.
    pub log: String,
    /// Number of records.
    pub records: u64,
    /// The chain value after the last record.
    pub chain: String,
}
