//! Checkpoints: the length and the last chain value of a log. A later state of the log can be checked against a
//! checkpoint without a copy of the earlier state.

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
