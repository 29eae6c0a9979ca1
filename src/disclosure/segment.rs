//! The log's folder: its lock, its segment files and their names.
//!
//! A segment is named by the number of its first record, `00000000000000000042.jsonl`, and begins
//! with a record of its own: the log's origin, the chain so far, and how the segment came about.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::verify::Checkpoint;

/// The version of the format, in every segment.
pub(super) const FORMAT: u32 = 1;

/// The longest line that is read, in bytes: a window's record with about four million people.
pub(super) const MAX_LINE: usize = 96 << 20;

/// A segment file that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// The record a segment begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentHeader {
    pub(super) kind: String,
    pub(super) time: Timestamp,
    /// Random, made with the log's first record.
    pub(super) log: String,
    pub(super) format: u32,
    /// The chain before this record.
    pub(super) previous: String,
    /// Why a new segment.
    pub(super) why: String,
    /// Whether the segment before ended without a stop: the process died.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unclean: bool,
    /// Bytes of an incomplete last line that were cut off at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) torn_bytes: Option<u64>,
    /// What the log's head said, where the folder does not hold it: the end of the log was removed, or all
    /// of it, while nobody wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<Checkpoint>,
    /// Tells the key of the pseudonyms that fields leave as, without being one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pseudonym_key: Option<String>,
}

impl SegmentHeader {
    pub(super) const KIND: &'static str = "segment";
    /// A process began to write.
    pub(super) const START: &'static str = "start";
    /// The segment before was full, or its day over.
    pub(super) const ROTATION: &'static str = "rotation";
}

pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

/// The number in a segment's name.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The segments in a folder, in order.
pub(super) fn list_segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(parse_file_name) {
            segments.push(Segment { first, path: entry.path() });
        }
    }
    segments.sort();
    Ok(segments)
}

/// Makes the folder where there is none, and takes it for this process as long as the lock lives.
/// `None`: another process has it.
pub(super) fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // The folder itself is locked: a lock file would be one more file to account for.
    let lock = File::open(folder)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a process is writing the log in this folder now.
///
/// # Errors
/// Where the folder cannot be opened.
pub fn in_use(folder: &Path) -> io::Result<bool> {
    match File::open(folder)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Reads the first record of a segment.
pub(super) fn read_header(segment: &Segment) -> io::Result<SegmentHeader> {
    let mut lines = read_lines(&segment.path)?;
    match lines.next()? {
        Some(SegmentLine::Complete(line)) => serde_json::from_slice(line).map_err(io::Error::other),
        Some(SegmentLine::Torn(_)) | None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Makes the entries of a folder durable: a new file is not there after a loss of power otherwise.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Where a segment's bytes go. A test's can fail.
pub(super) trait SegmentFile: Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything written survives a loss of power.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes back what was written beyond this length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A segment in the folder.
struct FileInFolder {
    file: File,
    path: PathBuf,
}

impl SegmentFile for FileInFolder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// What is written to a file that was removed or moved away is on no record.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let (here, there) = (self.file.metadata()?, self.path.metadata()?);
        if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
            Ok(())
        } else {
            Err(io::Error::other("the segment is no longer in its place"))
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_data()
    }
}

/// Makes the file of a new segment; never over an existing one.
pub(super) fn create(path: &Path) -> io::Result<Box<dyn SegmentFile>> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    Ok(Box::new(FileInFolder { file, path: path.to_owned() }))
}

/// Reads a file line by line: each whole line without its end, then what is left without one.
pub(super) fn read_lines(path: &Path) -> io::Result<LineReader> {
    Ok(LineReader { from: BufReader::with_capacity(1 << 18, File::open(path)?), line: Vec::new(), read: 0 })
}

pub(super) struct LineReader {
    from: BufReader<File>,
    line: Vec<u8>,
    read: u64,
}

/// A piece of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentLine<'l> {
    Complete(&'l [u8]),
    /// The end of the file, not the end of a line: how many bytes.
    Torn(u64),
}

impl LineReader {
    pub(super) fn next(&mut self) -> io::Result<Option<SegmentLine<'_>>> {
        self.line.clear();
        let limit = MAX_LINE as u64 + 1;
        let got = io::Read::take(&mut self.from, limit).read_until(b'\n', &mut self.line)?;
        if got == 0 {
            return Ok(None);
        }
        match self.line.split_last() {
            Some((b'\n', line)) => {
                self.read += got as u64;
                Ok(Some(SegmentLine::Complete(line)))
            }
            _ if self.line.len() > MAX_LINE => Err(io::Error::other("a line is longer than any record")),
            _ => Ok(Some(SegmentLine::Torn(got as u64))),
        }
    }

    /// The bytes of the whole lines so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_and_back() {
        assert_eq!(parse_file_name(&file_name(42)), Some(42));
        assert_eq!(parse_file_name(&file_name(u64::MAX)), Some(u64::MAX));
        for other in [
            "42.jsonl",
            "00000000000000000042.json",
            "x0000000000000000042.jsonl",
            "99999999999999999999.jsonl",
        ] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let lock = lock_folder(&path).unwrap().unwrap();
        assert!(lock_folder(&path).unwrap().is_none());
        assert!(in_use(&path).unwrap());
        drop(lock);
        assert!(!in_use(&path).unwrap());
        assert!(lock_folder(&path).unwrap().is_some());
    }

    #[test]
    fn lines_and_what_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "one\n\ntwo\nthr").unwrap();
        let mut lines = read_lines(&path).unwrap();
        assert_eq!(lines.next().unwrap(), Some(SegmentLine::Complete(b"one")));
        assert_eq!(lines.next().unwrap(), Some(SegmentLine::Complete(b"")));
        assert_eq!(lines.next().unwrap(), Some(SegmentLine::Complete(b"two")));
        assert_eq!(lines.next().unwrap(), Some(SegmentLine::Torn(3)));
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!(lines.bytes_read(), 9);
    }
}
