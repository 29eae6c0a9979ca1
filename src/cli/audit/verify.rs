//! `audit verify`: verifies each log, and that no record is in two of them.

use std::io::{self, Write};
use std::path::Path;

use super::{AuditedLog, unusable};
use crate::cli::error::with_causes;
use crate::cli::findings::counted;
use crate::cli::progress::{Progress, WorkUnit};
use crate::disclosure::{self, Checkpoint, VerificationReport};
use crate::keys::Keys;

/// Verifies logs and prints a checkpoint of each, unless there is a finding: a checkpoint of a log that was changed would
/// replace a good one.
///
/// # Errors
/// If writing fails.
pub(super) fn verify(
    logs: &[AuditedLog],
    since: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let known = match since.map(checkpoints).transpose() {
        Ok(known) => known,
        Err(why) => return unusable(&why, err),
    };
    let mut verified = Verified { several: logs.len() > 1, found: 0, checkpoints: Vec::new() };
    let mut compared = Vec::new();
    // A folder that cannot be read is reported below.
    let bytes = logs.iter().map(|log| disclosure::log_bytes(&log.folder).unwrap_or(0)).sum();
    let bar = Progress::begin(WorkUnit::Bytes, Some(bytes));
    let mut bytes_before = 0;
    for log in logs {
        let since = known.as_deref().and_then(|known| checkpoint_of(&log.folder, logs.len(), known));
        let tags = log.keys.as_ref().map(Keys::log_tags);
        let mut bytes_read = 0;
        let mut progress = |bytes| {
            bytes_read = bytes;
            bar.set(bytes_before + bytes);
        };
        let verification = disclosure::verify_with_progress(&log.folder, tags.as_ref(), since, &mut progress);
        bytes_before += bytes_read;
        let mut report = match verification {
            Ok(report) => report,
            Err(error) => return unusable(&format!("{}: {error}", log.folder.display()), err),
        };
        if known.is_some() && since.is_none() {
            report.remarks.push("the file of checkpoints has none of this log".to_owned());
        }
        compared.extend(since);
        bar.suspend(|| verified.print(&log.folder, report, err))?;
    }
    drop(bar);
    let is_lost = |known: &&Checkpoint| !compared.contains(known) && (logs.len() > 1 || compared.is_empty());
    for Checkpoint { log, records, chain: _ } in known.iter().flatten().filter(is_lost) {
        verified
            .find(&format!("no log is that of the checkpoint {log}, which had {records} records"), err)?;
    }
    verified.compare(logs, err)?;
    if verified.found > 0 {
        return Ok(1);
    }
    for (_, checkpoint) in verified.checkpoints {
        writeln!(out, "{}", serde_json::to_string(&checkpoint)?)?;
    }
    Ok(0)
}

/// The logs that were verified so far.
struct Verified<'l> {
    /// True if each line needs the folder that it is about.
    several: bool,
    found: usize,
    checkpoints: Vec<(&'l Path, Checkpoint)>,
}

impl<'l> Verified<'l> {
    fn find(&mut self, finding: &str, err: &mut dyn Write) -> io::Result<()> {
        self.found += 1;
        writeln!(err, "finding: {finding}")
    }

    fn print(&mut self, folder: &'l Path, report: VerificationReport, err: &mut dyn Write) -> io::Result<()> {
        let VerificationReport { findings, remarks, segments, records, checkpoint } = report;
        let named = if self.several { format!("{}: ", folder.display()) } else { String::new() };
        for finding in &findings {
            self.find(&format!("{named}{finding}"), err)?;
        }
        for remark in &remarks {
            writeln!(err, "note: {named}{remark}")?;
        }
        let records = counted(usize::try_from(records).unwrap_or(usize::MAX), "record");
        let (files, found) = (counted(segments, "file"), counted(findings.len(), "finding"));
        writeln!(err, "{named}{records} in {files}, {found}")?;
        self.checkpoints.extend(checkpoint.map(|checkpoint| (folder, checkpoint)));
        Ok(())
    }

    /// Compares the logs with each other: none is a copy of another one, and no decision is in two.
    fn compare(&mut self, logs: &[AuditedLog], err: &mut dyn Write) -> io::Result<()> {
        let mut copies = Vec::new();
        for (at, (folder, checkpoint)) in self.checkpoints.iter().enumerate() {
            let mut earlier = self.checkpoints.iter().take(at);
            if let Some((other, _)) = earlier.find(|(_, earlier)| earlier.log == checkpoint.log) {
                copies.push(format!(
                    "{} and {} hold the same log ({})",
                    other.display(),
                    folder.display(),
                    checkpoint.log
                ));
            }
        }
        for copy in &copies {
            self.find(copy, err)?;
        }
        if !self.several || self.found > 0 {
            return Ok(());
        }
        let folders: Vec<&Path> = logs.iter().map(|log| &*log.folder).collect();
        match disclosure::repeated_decisions(&folders) {
            Ok(repeated) => repeated.iter().try_for_each(|repeated| self.find(&repeated.to_string(), err)),
            Err(error) => self.find(&format!("the logs were not compared: {}", with_causes(&error)), err),
        }
    }
}

/// Returns the checkpoint to compare a log with. A single checkpoint and a single log belong together: with another id,
/// the log was replaced.
fn checkpoint_of<'c>(folder: &Path, logs: usize, known: &'c [Checkpoint]) -> Option<&'c Checkpoint> {
    match known {
        [only] if logs == 1 => Some(only),
        known => {
            let id = disclosure::log_id(folder)?;
            known.iter().find(|checkpoint| checkpoint.log == id)
        }
    }
}

/// Reads the checkpoints that an earlier run printed, one a line.
fn checkpoints(file: &Path) -> Result<Vec<Checkpoint>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let unreadable = |_| format!("{} is not a checkpoint of `audit verify`", file.display());
    let read = serde_json::Deserializer::from_str(&text).into_iter();
    let read: Vec<Checkpoint> = read.collect::<Result<_, _>>().map_err(unreadable)?;
    match read.is_empty() {
        true => Err(format!("{} has no checkpoint", file.display())),
        false => Ok(read),
    }
}
