//! The settings of a log that is written.

use std::path::PathBuf;
use std::time::Duration;

use crate::ledger::LedgerId;

/// The condition under which a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The record survives a power failure.
    BeforeRelease,
    /// The record is queued for the log's thread, which makes it durable within about 50 ms.
    Batched,
}

/// The properties of a log that is opened for writing.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Folder of the log; it is created if necessary.
    pub folder: PathBuf,
    /// The gateway's name, which each day of the log states.
    pub gateway: String,
    /// The condition under which a record counts as written.
    pub durability: Durability,
    /// Age at which whole days are removed.
    pub retention: Duration,
    /// The origin of a new log, and the one that an existing log must have. `None`: a new log gets the gateway's name and
    /// random digits, and an existing log keeps its own.
    pub origin: Option<String>,
    /// The id of the ledger whose log secrets name people. Each day that begins states it.
    pub ledger: Option<LedgerId>,
    /// Files outside of the folder that hold an earlier checkpoint of the log, with which it is compared.
    pub known_checkpoints: Vec<PathBuf>,
}
