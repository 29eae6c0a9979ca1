//! Logs of an earlier version: one JSON line a record, in a hash chain of segment files.
//!
//! Such a log is not written any more. It is moved aside when the gateway starts, stays readable and verifiable until its
//! segments are past their retention, and its last hash is in the first entry of the log that continues it.
//!
//! Invariant: a record that was changed, removed, moved or inserted is found by verification.

mod chain;
mod checkpoint;
mod head;
pub(super) mod records;
mod recovery;
pub(super) mod segment;
mod takeover;
#[cfg(test)]
pub(super) mod tests;
mod verify;

use std::path::PathBuf;

pub use checkpoint::Checkpoint;
pub(super) use takeover::{FormerSegments, end_of_former, move_aside};
pub use verify::{FormerVerification, log_bytes, log_id, verify_former};
pub(super) use verify::{MovedLog, verify_moved};

use crate::keys::Keys;

/// The remark about an old log that was read without the key of its tags.
pub const UNCHECKED_TAGS: &str =
    "without the key file the tags are not checked, and a log that was rewritten as a whole is not detected";

/// The key of the tags in an old log: only its holder can have written a line.
#[derive(Clone, Copy)]
pub struct TagKey([u8; 32]);

impl TagKey {
    /// Returns the key that a log has which was written with a key file.
    pub fn of(keys: &Keys) -> TagKey {
        TagKey(keys.log_tags())
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKey")
    }
}

/// An error that keeps a log from being opened. The messages name files and record numbers.
#[derive(Debug, thiserror::Error)]
pub enum FormerLogError {
    /// Another process holds the lock of this folder.
    #[error("the disclosure log {folder} is open in another process", folder = .0.display())]
    InUse(PathBuf),
    /// The folder or one of its files cannot be read or written.
    #[error("the disclosure log {folder} cannot be {doing}", folder = .folder.display())]
    Io {
        /// The folder or file.
        folder: PathBuf,
        /// The failed action, as a past participle ("read").
        doing: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The hash chain is broken at this record.
    #[error(
        "the disclosure log is inconsistent at record {record} in {file}: examine it with `purposegate audit verify`, then move the folder and the `.head` file next to it away to begin a new log",
        file = .file.display()
    )]
    Inconsistent {
        /// The segment.
        file: PathBuf,
        /// The number of the record.
        record: u64,
    },
    /// The records carry tags of another key.
    #[error("the disclosure log was written with other keys ({file}): restore its key file", file = .0.display())]
    OtherKeys(PathBuf),
    /// Recipients have received pseudonyms under another pseudonym key.
    #[error(
        "fields were released under another pseudonym key than the key file's ({file}): restore the key file, or move the folder and the `.head` file next to it away to begin a new log, with new pseudonyms",
        file = .0.display()
    )]
    OtherPseudonyms(PathBuf),
}
