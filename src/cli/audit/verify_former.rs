//! `audit verify` of a log that an earlier version wrote, as long as no gateway of this version has continued it.

use std::io;

use super::AuditedLog;
use crate::cli::findings::counted;
use crate::cli::progress::{Progress, WorkUnit};
use crate::disclosure::{self, Checkpoint, FormerVerification, TagKey};

/// The result of the verification of one log.
pub(super) struct VerifiedLog {
    pub(super) findings: Vec<String>,
    pub(super) remarks: Vec<String>,
    /// The size, in words.
    pub(super) extent: String,
    /// The origin of the log, or the id of an old one.
    pub(super) identity: Option<String>,
    /// The checkpoint, as it is printed.
    pub(super) checkpoint: Option<String>,
}

/// Checkpoints of old logs, and which of them were compared with a log.
#[derive(Default)]
pub(super) struct FormerCheckpoints {
    checkpoints: Vec<Checkpoint>,
    compared: Vec<Checkpoint>,
}

impl FormerCheckpoints {
    /// Parses checkpoints, one a line.
    pub(super) fn parse(text: &str) -> Option<FormerCheckpoints> {
        let checkpoints =
            serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().ok()?;
        Some(FormerCheckpoints { checkpoints, compared: Vec::new() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.checkpoints.is_empty()
    }

    /// Returns the number of checkpoints that were compared with a log.
    pub(super) fn compared(&self) -> usize {
        self.compared.len()
    }

    /// Returns the checkpoint to compare a log with. A single checkpoint and a single log belong together.
    fn of(&mut self, log: &AuditedLog, logs: usize) -> Option<Checkpoint> {
        let found = match self.checkpoints.as_slice() {
            [only] if logs == 1 => only,
            checkpoints => {
                let id = disclosure::log_id(&log.folder)?;
                checkpoints.iter().find(|checkpoint| checkpoint.log == id)?
            }
        };
        self.compared.push(found.clone());
        Some(found.clone())
    }

    /// Returns what is wrong with checkpoints that were not compared with any log.
    pub(super) fn lost(&self) -> impl Iterator<Item = String> {
        let lost = self.checkpoints.iter().filter(|checkpoint| !self.compared.contains(checkpoint));
        lost.map(|Checkpoint { log, records, chain: _ }| {
            format!("no log is that of the checkpoint {log}, which had {records} records")
        })
    }
}

/// Verifies an old log.
///
/// # Errors
/// If it cannot be read.
pub(super) fn verify(
    log: &AuditedLog,
    logs: usize,
    earlier: Option<&mut FormerCheckpoints>,
) -> io::Result<VerifiedLog> {
    let has_earlier = earlier.is_some();
    let since = earlier.and_then(|earlier| earlier.of(log, logs));
    let tags = log.keys.as_ref().map(TagKey::of);
    let bar = Progress::begin(WorkUnit::Bytes, Some(disclosure::log_bytes(&log.folder)?));
    let report = disclosure::verify_former(&log.folder, tags, since.as_ref(), &mut |read| bar.set(read))?;
    drop(bar);
    let FormerVerification { findings, mut remarks, segments, records, checkpoint } = report;
    if has_earlier && since.is_none() {
        remarks.push("the file of checkpoints has none of this log".to_owned());
    }
    let records = counted(usize::try_from(records).unwrap_or(usize::MAX), "record");
    let printed = checkpoint.as_ref().map(|checkpoint| Ok(serde_json::to_string(checkpoint)? + "\n"));
    Ok(VerifiedLog {
        findings,
        remarks,
        extent: format!("{records} in {}", counted(segments, "file")),
        identity: checkpoint.as_ref().map(|checkpoint| checkpoint.log.clone()),
        checkpoint: printed.transpose().map_err(|error: serde_json::Error| io::Error::other(error))?,
    })
}
