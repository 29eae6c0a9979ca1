//! Verifies a log offline: every file in its folder, every entry, the Merkle tree and its checkpoints.
//!
//! The checks read the files by themselves and trust nothing in the folder but what the caller's verifier key has signed. With
//! the key, every change of a file below the latest checkpoint is found. A removed end is found with a checkpoint that was
//! kept elsewhere. Without the key, only damage is found, because whoever can write the folder can make new checkpoints.
//!
//! Invariant: memory does not grow with the number of entries, except for the names that are defined on one day.

mod bundle;
mod deletions;
mod files;
mod former;
mod inventory;
mod journals;
mod note;
mod pass;
mod report;
mod rules;
mod snapshot;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

pub use note::{SignedCheckpoint, VerifierKey, VerifierKeyError, split_notes};
pub use report::{KnownLog, VerificationReport};

use self::pass::Pass;
use self::snapshot::LogSnapshot;
use crate::disclosure::former as former_log;
use crate::disclosure::storage::layout::MAX_NOTE_BYTES;

/// Verifies the log in a folder. Calls `progress` again and again with the number of entries that were read.
///
/// # Errors
/// If the folder cannot be read.
pub fn verify(
    folder: &Path,
    known: KnownLog<'_>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<VerificationReport> {
    let snapshot = LogSnapshot::take(folder)?;
    let was_running = snapshot.is_running;
    let report = verify_snapshot(folder, snapshot, known, progress)?;
    if report.findings.is_empty() || !was_running {
        return Ok(report);
    }
    // The process may have pruned the log meanwhile.
    verify_snapshot(folder, LogSnapshot::take(folder)?, known, progress)
}

/// Returns the number of entries of the log in a folder, as its checkpoint states it.
pub fn published_entries(folder: &Path) -> Option<u64> {
    let bytes = files::read(&folder.join("checkpoint"), MAX_NOTE_BYTES).ok()??;
    Some(SignedCheckpoint::parse(&bytes).ok()?.size())
}

/// True if a folder holds a log of an earlier version, which no gateway of this version has continued yet.
pub fn is_former(folder: &Path) -> bool {
    !folder.join("origin").exists() && former_log::log_bytes(folder).is_ok_and(|bytes| bytes > 0)
}

fn verify_snapshot(
    folder: &Path,
    snapshot: LogSnapshot,
    known: KnownLog<'_>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<VerificationReport> {
    let mut pass = Pass::begin(folder, snapshot, known);
    pass.check_names();
    pass.check_notes();
    pass.check_published(progress);
    pass.check_journals()?;
    pass.check_former()?;
    Ok(pass.finish())
}
