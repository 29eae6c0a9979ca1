//! Verifies a log offline: every file in its folder, every entry, the Merkle tree and its checkpoints.
//!
//! The checks read the files by themselves and trust nothing in the folder but what the caller's verifier key has signed. With
//! the key, every change of a file below the latest checkpoint is found. A removed end is found with a checkpoint that was
//! kept elsewhere. Without the key, only damage is found, because whoever can write the folder can make new checkpoints.
//! Entries after the latest checkpoint are authentic by the tags of the journal, which the keys verify; without the keys,
//! those of more than a minute are a finding, because a gateway signs every second.
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
mod unsigned;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub use note::{SignedCheckpoint, VerifierKey, VerifierKeyError, split_notes};
pub use report::{KnownLog, VerificationReport};

use self::pass::Pass;
use self::snapshot::LogSnapshot;
use crate::disclosure::former as former_log;
use crate::disclosure::storage::layout::MAX_NOTE_BYTES;

/// Time within which a process that writes a log publishes a checkpoint.
const PUBLICATION: Duration = Duration::from_secs(3);

/// Time between two looks at the checkpoint.
const LOOK: Duration = Duration::from_millis(20);

/// Verifies the log in a folder. Calls `progress` again and again with the number of entries that were read.
///
/// A process that writes the log replaces files meanwhile. A difference that this may explain is no finding, if the process publishes a
/// checkpoint during the verification or within three seconds: a lock on the log alone excuses nothing.
///
/// # Errors
/// If the folder cannot be read.
pub fn verify(
    folder: &Path,
    known: KnownLog<'_>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<VerificationReport> {
    verify_waiting(PUBLICATION, folder, known, progress)
}

fn verify_waiting(
    wait: Duration,
    folder: &Path,
    known: KnownLog<'_>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<VerificationReport> {
    let mut report = VerificationReport::default();
    // A second time, if a process may have pruned the log meanwhile, or replaced a file.
    for _ in 0..2 {
        let snapshot = LogSnapshot::take(folder)?;
        let (published, is_running) = (snapshot.published(), snapshot.is_running);
        report = verify_snapshot(folder, snapshot, known, progress)?;
        if !report.excused.is_empty() && publishes(folder, known, published, wait) {
            report.excuse();
        }
        if !is_running || (report.findings.is_empty() && report.excused.is_empty()) {
            break;
        }
    }
    let excused = std::mem::take(&mut report.excused);
    report.find_all(excused);
    Ok(report)
}

/// True if a process publishes a larger checkpoint within some time.
fn publishes(folder: &Path, known: KnownLog<'_>, size: u64, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    loop {
        let note = files::read(&folder.join("checkpoint"), MAX_NOTE_BYTES).ok().flatten();
        let checkpoint = note.and_then(|note| SignedCheckpoint::parse(&note).ok());
        let is_signed =
            |checkpoint: &SignedCheckpoint| known.key.is_none_or(|key| checkpoint.check(key).is_ok());
        if checkpoint.filter(is_signed).is_some_and(|checkpoint| checkpoint.size() > size) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(LOOK);
    }
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
