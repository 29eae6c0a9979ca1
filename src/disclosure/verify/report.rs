//! The input of a verification, and its result.

use super::note::{SignedCheckpoint, VerifierKey};
use crate::keys::Keys;

/// Maximum number of findings; more would not help.
const MAX_FINDINGS: usize = 100;

/// The knowledge about a log from outside of its folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownLog<'k> {
    /// The key that signs its checkpoints.
    pub key: Option<&'k VerifierKey>,
    /// Its origin.
    pub origin: Option<&'k str>,
    /// An earlier checkpoint that it must contain.
    pub since: Option<&'k SignedCheckpoint>,
    /// The keys under which it was written. They authenticate the entries that no checkpoint covers yet, and the old log that
    /// it continues.
    pub keys: Option<&'k Keys>,
}

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct VerificationReport {
    /// Everything that is wrong, with file and entry.
    pub findings: Vec<String>,
    /// Remarks about things that are not wrong.
    pub remarks: Vec<String>,
    /// The origin of the log; absent if it cannot be read.
    pub origin: Option<String>,
    /// Number of entries that were read.
    pub entries: u64,
    /// Number of those that no checkpoint covers.
    pub unsigned: u64,
    /// True if a process writes the log, and has excused by that what would be a finding otherwise.
    pub partial: bool,
    /// Differences that would be findings if no process wrote the log.
    pub(super) excused: Vec<String>,
    /// The latest checkpoint, a signed note, if its signature was verified.
    pub checkpoint: Option<String>,
}

impl VerificationReport {
    /// Adds a finding, unless there are too many.
    pub(super) fn find(&mut self, finding: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Adds findings, unless there are too many.
    pub(super) fn find_all(&mut self, findings: impl IntoIterator<Item = String>) {
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    /// Adds a finding, unless a process writes the log, which may change that at any moment.
    pub(super) fn find_unless(&mut self, is_running: bool, finding: String) {
        if !is_running {
            self.find(finding);
        } else if self.excused.len() < MAX_FINDINGS {
            self.excused.push(finding);
        }
    }

    /// Notes that a process which writes the log explains what was excused.
    pub(super) fn excuse(&mut self) {
        self.partial = true;
        self.excused.clear();
        self.remark(
            "files that the gateway replaces meanwhile were not all checked: verify a copy, or a stopped log",
        );
    }

    /// Adds a remark.
    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }
}
