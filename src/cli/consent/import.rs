//! `consent import`: records the events of a file, chunk by chunk.
//!
//! An import that was interrupted can be repeated: the batch has a name that follows from the content of the file, and the
//! ledger records no line of a batch twice.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::error::{CliError, VerbError};
use crate::cli::ledger_access::LedgerAccess;
use crate::cli::ledger_client::{ImportedLine, LineOutcome};
use crate::cli::progress::{Progress, WorkUnit};
use crate::ledger::{self, Batch, FILE_BATCH};
use crate::vocabulary::MAX_ID_BYTES;

/// Bytes of a file that are sent at a time, up to the length of one line more.
const CHUNK_BYTES: usize = 1 << 20;
/// Time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Imports a file, or the standard input for `-`, and prints rejected lines and the totals to `err`. Returns the exit
/// status: 1 if a line was rejected.
///
/// # Errors
/// If the file cannot be read, the ledger is not available, or writing fails.
pub(super) fn import(
    file: &Path,
    keep_unknown_recipients: bool,
    access: &LedgerAccess<'_>,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let unreadable = |error: io::Error| CliError::Unusable(format!("{}: {error}", file.display()));
    let ImportFile { mut lines, batch, bytes } = open(file).map_err(unreadable)?;
    let mut client = access.client()?;
    let mut progress = ImportProgress::new();
    let mut written = Ok(());
    let bar = Progress::begin(WorkUnit::Bytes, bytes);
    let mut bytes_read = 0;
    loop {
        let from = progress.lines + 1;
        let (chunk, read) = read_chunk(&mut *lines).map_err(unreadable)?;
        if chunk.is_empty() {
            break;
        }
        progress.lines += read;
        bytes_read += chunk.len() as u64;
        let mut report = |line: u64, outcome: LineOutcome| {
            if let Err(error) = progress.add(outcome) {
                let print = |()| bar.suspend(|| writeln!(err, "line {line}: {error}"));
                written = std::mem::replace(&mut written, Ok(())).and_then(print);
            }
        };
        let batch = Batch { from, name: Some(&batch), keep_unknown_recipients, ..Batch::default() };
        client.import(&chunk, batch, &mut report)?;
        bar.set(bytes_read);
        if !bar.is_drawn() {
            progress.report(err)?;
        }
    }
    drop(bar);
    written?;
    if progress.without_effect > 0 {
        writeln!(err, "{} of the recorded events do not change the state in force", progress.without_effect)?;
    }
    writeln!(err, "{progress}")?;
    Ok(u8::from(progress.rejected > 0))
}

/// A file to import.
struct ImportFile {
    lines: Box<dyn BufRead>,
    /// The name of the batch.
    batch: String,
    /// The size of the file. `None` for a pipe.
    bytes: Option<u64>,
}

/// Opens a file, or the standard input for `-`.
fn open(file: &Path) -> io::Result<ImportFile> {
    if file == Path::new("-") {
        let lines = Box::new(BufReader::new(io::stdin()));
        return Ok(ImportFile { lines, batch: FILE_BATCH.to_owned(), bytes: None });
    }
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    // A pipe, even one with a path, can be read only once, so its content gives no name.
    let batch = match metadata.is_file() {
        true => format!("{FILE_BATCH}:{}", digest(file)?),
        false => FILE_BATCH.to_owned(),
    };
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok(ImportFile { lines: Box::new(BufReader::new(opened)), batch, bytes })
}

/// Returns the BLAKE3 digest of a file in hexadecimal digits.
fn digest(file: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Reads complete lines of about [`CHUNK_BYTES`], and returns them with their number. A line that is longer than any event
/// is cut, so the ledger rejects it.
pub(super) fn read_chunk(lines: &mut dyn BufRead) -> io::Result<(Vec<u8>, u64)> {
    let (mut chunk, mut read) = (Vec::new(), 0);
    let bound = ledger::MAX_EVENT_BYTES + 2 * MAX_ID_BYTES;
    while chunk.len() < CHUNK_BYTES {
        let begin = chunk.len();
        let got = (&mut *lines).take(bound as u64).read_until(b'\n', &mut chunk)?;
        if got == 0 {
            break;
        }
        read += 1;
        if chunk.last() != Some(&b'\n') {
            if chunk.len() - begin == bound {
                skip_line(lines)?;
            }
            chunk.push(b'\n');
        }
    }
    Ok((chunk, read))
}

fn skip_line(lines: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let read = lines.fill_buf()?;
        let end = read.iter().position(|byte| *byte == b'\n');
        let skip = end.map_or(read.len(), |at| at + 1);
        lines.consume(skip);
        if end.is_some() || skip == 0 {
            return Ok(());
        }
    }
}

/// Counts of an import.
struct ImportProgress {
    lines: u64,
    recorded: u64,
    /// Recorded events that do not change the state in force.
    without_effect: u64,
    repeated: u64,
    rejected: u64,
    last_report: Instant,
}

impl ImportProgress {
    fn new() -> ImportProgress {
        ImportProgress {
            lines: 0,
            recorded: 0,
            without_effect: 0,
            repeated: 0,
            rejected: 0,
            last_report: Instant::now(),
        }
    }

    fn add(&mut self, outcome: LineOutcome) -> LineOutcome {
        match &outcome {
            Ok(ImportedLine { again: true, .. }) => self.repeated += 1,
            Ok(ImportedLine { again: false, changed }) => {
                self.recorded += 1;
                self.without_effect += u64::from(!changed);
            }
            Err(_) => self.rejected += 1,
        }
        outcome
    }

    /// Prints the number of lines, if the last report was [`PROGRESS_INTERVAL`] ago.
    fn report(&mut self, err: &mut dyn Write) -> io::Result<()> {
        if self.last_report.elapsed() < PROGRESS_INTERVAL {
            return Ok(());
        }
        self.last_report = Instant::now();
        writeln!(err, "… {} lines", self.lines)
    }
}

impl std::fmt::Display for ImportProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ImportProgress { lines: _, recorded, without_effect: _, repeated, rejected, last_report: _ } =
            self;
        write!(f, "{recorded} recorded, {repeated} recorded before, {rejected} bad lines")
    }
}
