//! Verifies a log offline: every file in its folder, every record and the chain.
//!
//! Accidental damage is found without a key. With the log's key, a log that somebody rewrote as a whole is found, too.
//! A removed or replaced end is found with a checkpoint printed earlier, with the head next to the folder, and with the
//! header record that the log wrote when it was opened again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::chain::{Chain, SealedLine};
use super::checkpoint::Checkpoint;
use super::head;
use super::segment::{self, Segment, SegmentHeader, SegmentLine};
use super::{TagKey, UNCHECKED_TAGS};

/// Maximum number of findings; more would not help.
const MAX_FINDINGS: usize = 100;
/// Number of records between two reports of progress.
const RECORDS_PER_PROGRESS: u64 = 1024;

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct FormerVerification {
    /// Everything that is wrong, with file and record, in the order of the log.
    pub findings: Vec<String>,
    /// Remarks about things that are not wrong.
    pub remarks: Vec<String>,
    /// Number of segments.
    pub segments: usize,
    /// Number of records that were read.
    pub records: u64,
    /// The current state of the log; absent if nothing in it is readable.
    pub checkpoint: Option<Checkpoint>,
}

/// Returns the size of the segments of the log in a folder, in bytes.
///
/// # Errors
/// If the folder cannot be read.
pub fn log_bytes(folder: &Path) -> io::Result<u64> {
    segment::list_segments(folder)?.iter().map(|segment| Ok(segment.path.metadata()?.len())).sum()
}

/// Verifies the log in a folder, with the key of its tags and an earlier checkpoint if they are given. Calls `progress` again
/// and again with the number of bytes that were read.
///
/// # Errors
/// If the folder or a file cannot be read.
pub fn verify_former(
    folder: &Path,
    tags: Option<TagKey>,
    since: Option<&Checkpoint>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<FormerVerification> {
    // Read first: a running gateway only appends beyond it.
    let head = head::read(folder);
    verify_against(folder, tags, &[(since, CHECKPOINT), (head.as_ref(), HEAD)], None, progress)
}

/// Verifies a log that was moved aside.
///
/// # Errors
/// If the folder or a file cannot be read.
pub(in crate::disclosure) fn verify_moved(
    folder: &Path,
    tags: Option<TagKey>,
    moved: MovedLog<'_>,
) -> io::Result<FormerVerification> {
    let head = head::read_file(&folder.join(MOVED_HEAD));
    let known = [(moved.end, STATED_END), (head.as_ref(), MOVED_HEAD)];
    verify_against(folder, tags, &known, Some(moved), &mut |_| ())
}

fn verify_against(
    folder: &Path,
    tags: Option<TagKey>,
    known: &[(Option<&Checkpoint>, &'static str)],
    moved: Option<MovedLog<'_>>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<FormerVerification> {
    let running = segment::in_use(folder)?;
    let known = known.iter().filter_map(|(at, name)| Some(KnownState { at: (*at)?, name, reached: false }));
    let mut check = LogVerifier {
        tags,
        moved,
        known: known.collect(),
        running,
        report: FormerVerification::default(),
        bytes_read: 0,
        log: None,
        expected: None,
        missing: BTreeMap::new(),
        cuts: BTreeMap::new(),
        stopped: false,
    };
    check.check_files(folder)?;
    let segments = segment::list_segments(folder)?;
    check.report.segments = segments.len();
    for (at, segment) in segments.iter().enumerate() {
        check.check_segment(segment, at + 1 == segments.len(), progress)?;
    }
    Ok(check.finish())
}

/// Returns the random id of the log in a folder. `None` if no segment of it can be read.
pub fn log_id(folder: &Path) -> Option<String> {
    let segments = segment::list_segments(folder).ok()?;
    segments.iter().find_map(|segment| Some(segment::read_header(segment).ok()?.log))
}

/// Names of the earlier states in findings.
const CHECKPOINT: &str = "the checkpoint";
const HEAD: &str = "the head next to the folder";
const MOVED_HEAD: &str = "head";
const STATED_END: &str = "the start of the log that continues it";

/// A log that was moved aside, as the log that continues it states it.
#[derive(Clone, Copy, Debug)]
pub(in crate::disclosure) struct MovedLog<'c> {
    /// Its end.
    pub(in crate::disclosure) end: Option<&'c Checkpoint>,
    /// The first record that is kept; 0 if nothing was deleted since.
    pub(in crate::disclosure) first: u64,
    /// True if a process writes the log that continues it, and may be about to delete the records before.
    pub(in crate::disclosure) is_running: bool,
}

/// An earlier state of the log that it must contain.
struct KnownState<'c> {
    at: &'c Checkpoint,
    name: &'static str,
    /// True after the last record of this state was read.
    reached: bool,
}

struct LogVerifier<'c> {
    tags: Option<TagKey>,
    moved: Option<MovedLog<'c>>,
    known: Vec<KnownState<'c>>,
    running: bool,
    report: FormerVerification,
    bytes_read: u64,
    log: Option<String>,
    /// The number of the next record and the chain before it; `None` before the first record.
    expected: Option<(u64, Chain)>,
    /// Missing records, as `begin -> (end, the chain before the end)`.
    missing: BTreeMap<u64, (u64, String)>,
    /// The recorded removals of expired records, as `below -> previous` (see the members of a `cut` record).
    cuts: BTreeMap<u64, String>,
    stopped: bool,
}

impl LogVerifier<'_> {
    fn add_finding(&mut self, finding: String) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(finding);
        }
    }

    fn check_files(&mut self, folder: &Path) -> io::Result<()> {
        let mut unexpected = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_head = self.moved.is_some() && name == MOVED_HEAD;
            let is_ignored =
                is_head || name.contains("index") || name.contains("key") || name.contains(".db");
            let is_segment = segment::parse_file_name(&name).is_some() && entry.file_type()?.is_file();
            if !is_ignored && !is_segment {
                unexpected.push(name);
            }
        }
        unexpected.sort();
        for name in unexpected {
            self.add_finding(format!("{name}: not part of the log"));
        }
        Ok(())
    }

    fn check_segment(
        &mut self,
        segment: &Segment,
        last: bool,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        let name = segment::file_name(segment.first);
        let mut lines = segment::read_lines(&segment.path)?;
        let mut first = true;
        while let Some(piece) = lines.next()? {
            match piece {
                SegmentLine::Complete(line) => {
                    self.check_line(&name, segment, line, first);
                    self.bytes_read += line.len() as u64 + 1;
                    if self.report.records.is_multiple_of(RECORDS_PER_PROGRESS) {
                        progress(self.bytes_read);
                    }
                }
                SegmentLine::Torn(bytes) if last && self.running => {
                    self.report.remarks.push(format!("{name}: {bytes} bytes are being written"));
                }
                SegmentLine::Torn(bytes) => {
                    self.add_finding(format!("{name}: ends within a record ({bytes} bytes of it)"));
                }
            }
            first = false;
        }
        progress(self.bytes_read);
        if first && !(last && self.running) {
            self.add_finding(format!("{name}: is empty"));
        }
        Ok(())
    }

    fn check_line(&mut self, name: &str, segment: &Segment, line: &[u8], first: bool) {
        let next = self.expected.map_or(segment.first, |(number, _)| number);
        let Some(sealed) = SealedLine::parse(line) else {
            self.add_finding(format!("{name}: record {next}: is not a record"));
            return;
        };
        let internal = InternalRecord::parse(line);
        let header = match (&internal, first) {
            (InternalRecord::Header(header), true) => Some(header.clone()),
            (_, true) => {
                self.add_finding(format!(
                    "{name}: record {}: the segment does not begin with a header record",
                    sealed.number
                ));
                None
            }
            (InternalRecord::Header(_), false) => {
                self.add_finding(format!(
                    "{name}: record {}: a header record stands within a segment",
                    sealed.number
                ));
                None
            }
            (InternalRecord::Cut { .. } | InternalRecord::Stop | InternalRecord::Other, false) => None,
        };
        let before = match &header {
            Some(header) => self.check_header(name, segment, &sealed, header),
            None => self.check_position(name, &sealed),
        };
        if before.is_some_and(|before| !sealed.follows(before)) {
            self.add_finding(format!(
                "{name}: record {}: was changed, or does not follow the previous record",
                sealed.number
            ));
        }
        if self.tags.is_some_and(|key| !sealed.is_tagged(key.bytes())) {
            self.add_finding(format!("{name}: record {}: was not written with this key", sealed.number));
        }
        self.stopped = matches!(internal, InternalRecord::Stop);
        if let InternalRecord::Cut { below, previous } = internal {
            self.cuts.insert(below, previous);
        }
        // Continue from what the line itself states, so that one finding does not repeat until the end.
        self.expected = Some((sealed.number.saturating_add(1), sealed.chain));
        self.report.records += 1;
        self.compare_with_known(name, &sealed);
    }

    /// Checks a header record: its log, its number and its chain. Returns the chain that must precede it.
    fn check_header(
        &mut self,
        name: &str,
        segment: &Segment,
        sealed: &SealedLine<'_>,
        header: &SegmentHeader,
    ) -> Option<Chain> {
        let number = sealed.number;
        if number != segment.first {
            self.add_finding(format!("{name}: record {number}: the file name says {}", segment.first));
        }
        if header.format != segment::FORMAT {
            self.add_finding(format!("{name}: record {number}: has format {}", header.format));
        }
        match &self.log {
            Some(log) if *log != header.log => {
                self.add_finding(format!("{name}: record {number}: belongs to another log"));
            }
            Some(_) => {}
            None => self.log = Some(header.log.clone()),
        }
        if let Some(missing) = &header.missing {
            let records = missing.records;
            self.add_finding(match missing.log == header.log {
                true => format!(
                    "{name}: record {number}: the log had {records} records before it was opened here; its end was removed"
                ),
                false => format!(
                    "{name}: record {number}: another log with {records} records was here before ({})",
                    missing.log
                ),
            });
        }
        if header.unclean || header.torn_bytes.is_some() {
            let torn = header.torn_bytes.map_or(String::new(), |bytes| {
                format!("; {bytes} bytes of an unfinished record were cut off")
            });
            self.report.remarks.push(format!(
                "{name}: record {number}: the previous process died without a stop record, or the end was removed{torn}"
            ));
        }
        let stated = Chain::parse(&header.previous);
        match self.expected {
            Some((expected, chain)) if expected == number => return Some(chain),
            Some((expected, _)) if expected > number => {
                self.add_finding(format!("{name}: record {number}: is repeated"));
            }
            Some((expected, _)) => {
                self.missing.insert(expected, (number, header.previous.clone()));
            }
            None if number > 0 => {
                self.missing.insert(0, (number, header.previous.clone()));
            }
            None => return Some(Chain::BEGIN),
        }
        stated
    }

    fn check_position(&mut self, name: &str, sealed: &SealedLine<'_>) -> Option<Chain> {
        let (expected, chain) = self.expected?;
        let number = sealed.number;
        if number > expected {
            self.add_finding(format!("{name}: records {expected} to {} are missing", number - 1));
        } else if number < expected {
            self.add_finding(format!("{name}: record {number}: stands in the place of record {expected}"));
        }
        Some(chain)
    }

    fn compare_with_known(&mut self, name: &str, sealed: &SealedLine<'_>) {
        let mut findings = Vec::new();
        for known in self.known.iter_mut().filter(|known| self.log.as_ref() == Some(&known.at.log)) {
            if sealed.number.saturating_add(1) == known.at.records {
                known.reached = true;
                if sealed.chain.to_hex() != known.at.chain {
                    findings.push(format!(
                        "{name}: record {}: the log up to here differs from {}",
                        sealed.number, known.name
                    ));
                }
            }
        }
        findings.into_iter().for_each(|finding| self.add_finding(finding));
    }

    fn finish(mut self) -> FormerVerification {
        let kept = self.moved.map_or(0, |moved| moved.first);
        let begins = self.missing.get(&0).map_or(0, |(end, _)| *end);
        if begins < kept && self.report.segments > 0 && self.moved.is_some_and(|moved| !moved.is_running) {
            self.add_finding(format!(
                "records {begins} to {} are past their retention: start the gateway, which removes them",
                kept - 1
            ));
        }
        for (begin, (end, previous)) in std::mem::take(&mut self.missing) {
            // Expired records are removed only from the beginning, and a log records it: this one, or that which continues it.
            if begin == 0 && (end <= kept || self.cuts.get(&end) == Some(&previous)) {
                self.report
                    .remarks
                    .push(format!("records 0 to {} are past their retention and removed", end - 1));
            } else {
                let begin = if begin == 0 { kept } else { begin };
                self.add_finding(format!("records {begin} to {} are missing", end - 1));
            }
        }
        if self.report.segments == 0 {
            self.add_finding("the folder contains no log".to_owned());
        }
        self.compare_end();
        if self.tags.is_none() {
            self.report.remarks.push(UNCHECKED_TAGS.to_owned());
        }
        if self.running {
            self.report.remarks.push("a gateway is writing this log".to_owned());
        } else if !self.stopped && self.report.segments > 0 {
            let remark = "the log does not end with a stop record: the process died, or the end was removed (compare with a checkpoint, --since)";
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
        let kept = self.moved.map_or(0, |moved| moved.first);
        for KnownState { at, name, reached } in std::mem::take(&mut self.known) {
            if self.log.as_ref().is_some_and(|log| *log != at.log) {
                self.add_finding(format!("{name} belongs to another log"));
            } else if held < at.records {
                self.add_finding(format!("the log ends after {held} records; {name} says {}", at.records));
            } else if !reached && at.records > kept && !self.cuts.keys().any(|below| *below >= at.records) {
                self.add_finding(format!("the record that {name} ends with ({}) is missing", at.records - 1));
            }
        }
    }
}

/// A record that the log wrote about itself.
enum InternalRecord {
    Header(SegmentHeader),
    Cut { below: u64, previous: String },
    Stop,
    Other,
}

impl InternalRecord {
    fn parse(line: &[u8]) -> InternalRecord {
        #[derive(Deserialize)]
        struct CutMembers {
            below: u64,
            previous: String,
        }
        if segment::has_kind(line, SegmentHeader::KIND) {
            return serde_json::from_slice(line).map_or(InternalRecord::Other, InternalRecord::Header);
        }
        if segment::has_kind(line, "cut") {
            return serde_json::from_slice(line).map_or(
                InternalRecord::Other,
                |CutMembers { below, previous }| InternalRecord::Cut { below, previous },
            );
        }
        if segment::has_kind(line, "stop") { InternalRecord::Stop } else { InternalRecord::Other }
    }
}
