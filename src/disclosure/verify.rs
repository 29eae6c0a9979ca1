//! Whether a log is what was written: offline, over every file in its folder.
//!
//! It needs no key to find an accident; with the log's key it also finds a log that somebody wrote
//! anew. A tail that was cut off or replaced is found with a checkpoint printed earlier, with the head
//! beside the folder where it is still there, and by what the log said itself when it was opened again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Sealed};
use super::folder::{self, Opening, Piece, Segment};
use super::head;

/// More findings than this say no more.
const MAX_FINDINGS: usize = 100;

/// A short statement of what a log held: two logs with the same one hold the same records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The log's origin.
    pub log: String,
    /// How many records it held.
    pub records: u64,
    /// The chain after the last of them.
    pub chain: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong, with file and record; in the order of the log.
    pub findings: Vec<String>,
    /// What is worth knowing and nothing wrong.
    pub remarks: Vec<String>,
    pub segments: usize,
    /// Records that were read.
    pub records: u64,
    /// What the log holds now; absent where it holds nothing readable.
    pub checkpoint: Option<Checkpoint>,
}

/// Verifies the log in a folder.
///
/// # Errors
/// Where the folder or a file cannot be read.
pub fn verify(folder: &Path, tags: Option<&[u8; 32]>, since: Option<&Checkpoint>) -> io::Result<Report> {
    // Read first: what is written meanwhile is beyond it.
    let head = head::read(folder);
    let running = folder::in_use(folder)?;
    let known = [(since, CHECKPOINT), (head.as_ref(), HEAD)];
    let known = known.into_iter().filter_map(|(at, name)| Some(Known { at: at?, name, reached: false }));
    let mut check = Check {
        tags,
        known: known.collect(),
        running,
        report: Report::default(),
        log: None,
        expected: None,
        missing: BTreeMap::new(),
        cuts: BTreeMap::new(),
        stopped: false,
    };
    check.account_for_files(folder)?;
    let segments = folder::segments(folder)?;
    check.report.segments = segments.len();
    for (at, segment) in segments.iter().enumerate() {
        check.segment(segment, at + 1 == segments.len())?;
    }
    Ok(check.finish())
}

/// What the statements about an earlier state of the log are called.
const CHECKPOINT: &str = "the checkpoint";
const HEAD: &str = "the head beside the folder";

/// A statement about an earlier state of the log.
struct Known<'c> {
    at: &'c Checkpoint,
    name: &'static str,
    /// Whether its last record was seen.
    reached: bool,
}

struct Check<'c> {
    tags: Option<&'c [u8; 32]>,
    known: Vec<Known<'c>>,
    running: bool,
    report: Report,
    log: Option<String>,
    /// The next number and the chain before it; `None` before the first record.
    expected: Option<(u64, Chain)>,
    /// Records that are not there, as `begin -> (end, the chain before the end)`.
    missing: BTreeMap<u64, (u64, String)>,
    /// `below -> previous` of each record that says what was removed.
    cuts: BTreeMap<u64, String>,
    stopped: bool,
}

impl Check<'_> {
    fn find(&mut self, finding: String) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(finding);
        }
    }

    fn account_for_files(&mut self, folder: &Path) -> io::Result<()> {
        let mut strange = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let left_out = name.contains("index") || name.contains("key") || name.contains(".db");
            let is_segment = folder::number(&name).is_some() && entry.file_type()?.is_file();
            if !left_out && !is_segment {
                strange.push(name);
            }
        }
        strange.sort();
        for name in strange {
            self.find(format!("{name}: no part of the log"));
        }
        Ok(())
    }

    fn segment(&mut self, segment: &Segment, last: bool) -> io::Result<()> {
        let name = folder::name(segment.first);
        let mut lines = folder::lines(&segment.path)?;
        let mut first = true;
        while let Some(piece) = lines.next()? {
            match piece {
                Piece::Line(line) => self.line(&name, segment, line, first),
                Piece::Torn(bytes) if last && self.running => {
                    self.report.remarks.push(format!("{name}: {bytes} bytes are being written"));
                }
                Piece::Torn(bytes) => {
                    self.find(format!("{name}: ends within a record ({bytes} bytes of it)"))
                }
            }
            first = false;
        }
        if first && !(last && self.running) {
            self.find(format!("{name}: is empty"));
        }
        Ok(())
    }

    fn line(&mut self, name: &str, segment: &Segment, line: &[u8], first: bool) {
        let next = self.expected.map_or(segment.first, |(number, _)| number);
        let Some(sealed) = Sealed::parse(line) else {
            self.find(format!("{name}: record {next}: is no record"));
            return;
        };
        let own = Own::parse(line);
        let opening = match (&own, first) {
            (Own::Opening(opening), true) => Some(opening.clone()),
            (_, true) => {
                self.find(format!(
                    "{name}: record {}: a segment does not begin with its own record",
                    sealed.number
                ));
                None
            }
            (Own::Opening(_), false) => {
                self.find(format!("{name}: record {}: a segment begins within another", sealed.number));
                None
            }
            (Own::Cut { .. } | Own::Stop | Own::Other, false) => None,
        };
        let before = match &opening {
            Some(opening) => self.opening(name, segment, &sealed, opening),
            None => self.within(name, &sealed),
        };
        if before.is_some_and(|before| !sealed.follows(before)) {
            self.find(format!(
                "{name}: record {}: was changed, or does not follow the one before it",
                sealed.number
            ));
        }
        if self.tags.is_some_and(|key| !sealed.is_tagged(key)) {
            self.find(format!("{name}: record {}: was not written under this key", sealed.number));
        }
        self.stopped = matches!(own, Own::Stop);
        if let Own::Cut { below, previous } = own {
            self.cuts.insert(below, previous);
        }
        // Go on from what the line says of itself, so that one finding does not repeat to the end.
        self.expected = Some((sealed.number.saturating_add(1), sealed.chain));
        self.report.records += 1;
        self.compare(name, &sealed);
    }

    /// A segment's first record: the same log, the right name, the chain where it was left.
    fn opening(
        &mut self,
        name: &str,
        segment: &Segment,
        sealed: &Sealed<'_>,
        opening: &Opening,
    ) -> Option<Chain> {
        let number = sealed.number;
        if number != segment.first {
            self.find(format!("{name}: record {number}: the file's name says {}", segment.first));
        }
        if opening.format != folder::FORMAT {
            self.find(format!("{name}: record {number}: has format {}", opening.format));
        }
        match &self.log {
            Some(log) if *log != opening.log => {
                self.find(format!("{name}: record {number}: belongs to another log"))
            }
            Some(_) => {}
            None => self.log = Some(opening.log.clone()),
        }
        if let Some(missing) = &opening.missing {
            let records = missing.records;
            self.find(match missing.log == opening.log {
                true => format!(
                    "{name}: record {number}: the log had {records} records before it was opened here: its end was removed"
                ),
                false => format!(
                    "{name}: record {number}: another log with {records} records was here before ({})",
                    missing.log
                ),
            });
        }
        if opening.unclean || opening.torn_bytes.is_some() {
            let torn = opening.torn_bytes.map_or(String::new(), |bytes| {
                format!("; {bytes} bytes of an unfinished record were cut off")
            });
            self.report.remarks.push(format!(
                "{name}: record {number}: the process before died without a stop, or the tail was cut off{torn}"
            ));
        }
        let stated = Chain::parse(&opening.previous);
        match self.expected {
            Some((expected, chain)) if expected == number => return Some(chain),
            Some((expected, _)) if expected > number => {
                self.find(format!("{name}: record {number}: comes again"));
            }
            Some((expected, _)) => {
                self.missing.insert(expected, (number, opening.previous.clone()));
            }
            None if number > 0 => {
                self.missing.insert(0, (number, opening.previous.clone()));
            }
            None => return Some(Chain::BEGIN),
        }
        stated
    }

    fn within(&mut self, name: &str, sealed: &Sealed<'_>) -> Option<Chain> {
        let (expected, chain) = self.expected?;
        let number = sealed.number;
        if number > expected {
            self.find(format!("{name}: records {expected} to {} are missing", number - 1));
        } else if number < expected {
            self.find(format!("{name}: record {number}: stands where record {expected} belongs"));
        }
        Some(chain)
    }

    fn compare(&mut self, name: &str, sealed: &Sealed<'_>) {
        let mut findings = Vec::new();
        for known in self.known.iter_mut().filter(|known| self.log.as_ref() == Some(&known.at.log)) {
            if sealed.number.saturating_add(1) == known.at.records {
                known.reached = true;
                if sealed.chain.to_hex() != known.at.chain {
                    findings.push(format!(
                        "{name}: record {}: the log up to here is not the one of {}",
                        sealed.number, known.name
                    ));
                }
            }
        }
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    fn finish(mut self) -> Report {
        for (begin, (end, previous)) in std::mem::take(&mut self.missing) {
            // Only from the beginning are records ever removed, and the log says so.
            if begin == 0 && self.cuts.get(&end) == Some(&previous) {
                self.report
                    .remarks
                    .push(format!("records 0 to {} are past their retention and removed", end - 1));
            } else {
                self.find(format!("records {begin} to {} are missing", end - 1));
            }
        }
        if self.report.segments == 0 {
            self.find("there is no log here".to_owned());
        }
        self.compare_end();
        if self.tags.is_none() {
            self.report
                .remarks
                .push("without the key file a log that somebody wrote anew does not show".to_owned());
        }
        if self.running {
            self.report.remarks.push("a gateway is writing this log".to_owned());
        } else if !self.stopped && self.report.segments > 0 {
            let remark = "the log does not end with a stop: the process died, or the tail was cut off (compare with a checkpoint, --since)";
            self.report.remarks.push(remark.to_owned());
        }
        self.report.checkpoint = self.log.zip(self.expected).map(|(log, (records, chain))| Checkpoint {
            log,
            records,
            chain: chain.to_hex(),
        });
        self.report
    }

    fn compare_end(&mut self) {
        let held = self.expected.map_or(0, |(records, _)| records);
        for Known { at, name, reached } in std::mem::take(&mut self.known) {
            if self.log.as_ref().is_some_and(|log| *log != at.log) {
                self.find(format!("{name} is of another log"));
            } else if held < at.records {
                self.find(format!("the log ends after {held} records; {name} says {}", at.records));
            } else if !reached && at.records > 0 && !self.cuts.keys().any(|below| *below >= at.records) {
                self.find(format!("the record that {name} ends with ({}) is missing", at.records - 1));
            }
        }
    }
}

/// A record that the log wrote for itself.
enum Own {
    Opening(Opening),
    Cut { below: u64, previous: String },
    Stop,
    Other,
}

impl Own {
    fn parse(line: &[u8]) -> Own {
        #[derive(Deserialize)]
        struct Cut {
            below: u64,
            previous: String,
        }
        // Every record begins with its number and its kind; most need no parsing.
        let begins = |kind: &str| {
            let after = line.iter().position(|byte| *byte == b',').and_then(|at| line.get(at..));
            after.is_some_and(|after| after.starts_with(format!(",\"kind\":\"{kind}\"").as_bytes()))
        };
        if begins(Opening::KIND) {
            return serde_json::from_slice(line).map_or(Own::Other, Own::Opening);
        }
        if begins("cut") {
            return serde_json::from_slice(line)
                .map_or(Own::Other, |Cut { below, previous }| Own::Cut { below, previous });
        }
        if begins("stop") { Own::Stop } else { Own::Other }
    }
}
