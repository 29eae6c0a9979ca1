//! `audit verify`: verifies each log, and that no record is in two of them.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use super::verify_former::{self, FormerCheckpoints, VerifiedLog};
use super::{AuditedLog, unusable};
use crate::cli::error::with_causes;
use crate::cli::findings::counted;
use crate::cli::progress::{Progress, WorkUnit};
use crate::disclosure::verify::{
    self as verification, KnownLog, SignedCheckpoint, VerificationReport, VerifierKey,
};
use crate::disclosure::{self, storage};

/// The checkpoints of earlier runs. Each is compared with the log to which it belongs.
#[derive(Default)]
struct EarlierCheckpoints {
    notes: Vec<SignedCheckpoint>,
    former: FormerCheckpoints,
    /// The origins of the notes that were compared.
    compared: Vec<String>,
}

/// Verifies logs and prints the checkpoint of each, unless there is a finding: the checkpoint of a log that was changed would
/// replace a good one.
///
/// # Errors
/// If writing fails.
pub(super) fn verify(
    logs: &[AuditedLog],
    keys: &[VerifierKey],
    since: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut earlier = match since.map(EarlierCheckpoints::read).transpose() {
        Ok(earlier) => earlier,
        Err(why) => return unusable(&why, err),
    };
    let mut verified = Verified { several: logs.len() > 1, found: 0, logs: Vec::new() };
    for log in logs {
        let result = match verification::is_former(&log.folder) {
            true => {
                let former = earlier.as_mut().map(|earlier| &mut earlier.former);
                verify_former::verify(log, logs.len(), former)
            }
            false => verify_log(log, logs.len(), keys, earlier.as_mut()),
        };
        match result {
            Ok(result) => verified.print(&log.folder, result, err)?,
            Err(error) => return unusable(&format!("{}: {error}", log.folder.display()), err),
        }
    }
    for lost in earlier.iter().flat_map(|earlier| earlier.lost(logs.len())) {
        verified.find(&lost, err)?;
    }
    for key in keys.iter().filter(|_| logs.len() > 1) {
        if !verified.has(key.name()) {
            verified.find(&format!("no log has the origin `{}` of the key", key.name()), err)?;
        }
    }
    verified.compare(logs, err)?;
    if verified.found > 0 {
        return Ok(1);
    }
    for (_, VerifiedLog { checkpoint, .. }) in verified.logs {
        out.write_all(checkpoint.unwrap_or_default().as_bytes())?;
    }
    Ok(0)
}

fn verify_log(
    log: &AuditedLog,
    logs: usize,
    keys: &[VerifierKey],
    earlier: Option<&mut EarlierCheckpoints>,
) -> io::Result<VerifiedLog> {
    // An origin that cannot be read is a finding.
    let origin = storage::read_origin(&log.folder).ok().flatten();
    let key = match keys {
        // A single key and a single log belong together: with another origin, the log was replaced.
        [only] if logs == 1 => Some(only.clone()),
        keys => {
            let given = keys.iter().find(|key| origin.as_deref() == Some(key.name())).cloned();
            given.or_else(|| log.verifier_of(log.origin.as_deref().or(origin.as_deref())?))
        }
    };
    let has_earlier = earlier.is_some();
    let since = earlier.and_then(|earlier| earlier.of(origin.as_deref(), logs));
    let entries = verification::published_entries(&log.folder);
    let bar = Progress::begin(WorkUnit::Entries, entries);
    let known = KnownLog {
        key: key.as_ref(),
        origin: log.origin.as_deref(),
        since: since.as_ref(),
        keys: log.keys.as_ref(),
    };
    let mut report = verification::verify(&log.folder, known, &mut |read| bar.set(read))?;
    if has_earlier && since.is_none() {
        report.remarks.push("the file of checkpoints has none of this log".to_owned());
    }
    let extent = extent(&report);
    Ok(VerifiedLog {
        findings: report.findings,
        remarks: report.remarks,
        extent,
        identity: report.origin,
        checkpoint: report.checkpoint,
    })
}

/// Says how many entries were read, and what the result does not vouch for.
fn extent(report: &VerificationReport) -> String {
    let mut words = counted(usize::try_from(report.entries).unwrap_or(usize::MAX), "record");
    if report.unsigned > 0 {
        let _ = write!(words, ", {} unsigned", report.unsigned);
    }
    if report.partial {
        words.push_str(", partly checked because a gateway writes the log");
    }
    words
}

/// The logs that were verified so far.
struct Verified<'l> {
    /// True if each line needs the folder that it is about.
    several: bool,
    found: usize,
    logs: Vec<(&'l Path, VerifiedLog)>,
}

impl<'l> Verified<'l> {
    fn find(&mut self, finding: &str, err: &mut dyn Write) -> io::Result<()> {
        self.found += 1;
        writeln!(err, "finding: {finding}")
    }

    fn print(&mut self, folder: &'l Path, log: VerifiedLog, err: &mut dyn Write) -> io::Result<()> {
        let named = if self.several { format!("{}: ", folder.display()) } else { String::new() };
        for finding in &log.findings {
            self.find(&format!("{named}{finding}"), err)?;
        }
        for remark in &log.remarks {
            writeln!(err, "note: {named}{remark}")?;
        }
        writeln!(err, "{named}{}, {}", log.extent, counted(log.findings.len(), "finding"))?;
        self.logs.push((folder, log));
        Ok(())
    }

    fn has(&self, identity: &str) -> bool {
        self.logs.iter().any(|(_, log)| log.identity.as_deref() == Some(identity))
    }

    /// Compares the logs with each other: none is a copy of another one, and no decision is in two.
    fn compare(&mut self, logs: &[AuditedLog], err: &mut dyn Write) -> io::Result<()> {
        let mut copies = Vec::new();
        for (at, (folder, log)) in self.logs.iter().enumerate() {
            let Some(identity) = &log.identity else { continue };
            let mut earlier = self.logs.iter().take(at);
            if let Some((other, _)) = earlier.find(|(_, earlier)| earlier.identity.as_ref() == Some(identity))
            {
                copies.push(format!(
                    "{} and {} hold the same log ({identity})",
                    other.display(),
                    folder.display()
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

impl EarlierCheckpoints {
    /// Reads the checkpoints that an earlier run printed: signed notes, and one line for each old log.
    fn read(file: &Path) -> Result<EarlierCheckpoints, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let (lines, notes): (Vec<&str>, Vec<&str>) =
            text.split_inclusive('\n').partition(|line| line.starts_with('{'));
        let notes = notes.concat();
        let parsed = verification::split_notes(&notes).into_iter().map(|note| {
            let fault = |fault| format!("{}: a checkpoint {fault}", file.display());
            SignedCheckpoint::parse(note.as_bytes()).map_err(fault)
        });
        let notes: Vec<_> = parsed.collect::<Result<_, _>>()?;
        let former = FormerCheckpoints::parse(&lines.concat())
            .ok_or_else(|| format!("{} is not a checkpoint of `audit verify`", file.display()))?;
        if notes.is_empty() && former.is_empty() {
            return Err(format!("{} has no checkpoint", file.display()));
        }
        Ok(EarlierCheckpoints { notes, former, compared: Vec::new() })
    }

    /// Returns the checkpoint to compare a log with. A single checkpoint and a single log belong together: with another
    /// origin, the log was replaced.
    fn of(&mut self, origin: Option<&str>, logs: usize) -> Option<SignedCheckpoint> {
        let found = match self.notes.as_slice() {
            [only] if logs == 1 => only,
            notes => notes.iter().find(|note| Some(note.origin()) == origin)?,
        };
        self.compared.push(found.origin().to_owned());
        Some(found.clone())
    }

    /// Returns what is wrong with checkpoints that were not compared with any log.
    fn lost(&self, logs: usize) -> Vec<String> {
        let compared = self.compared.len() + self.former.compared();
        if logs == 1 && compared > 0 {
            return Vec::new();
        }
        let notes =
            self.notes.iter().filter(|note| !self.compared.iter().any(|origin| origin == note.origin()));
        let words = notes.map(|note| {
            format!(
                "no log is that of the checkpoint of `{}`, which had {} entries",
                note.origin(),
                note.size()
            )
        });
        words.chain(self.former.lost()).collect()
    }
}
