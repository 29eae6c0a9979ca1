//! The segment files of the log: their names, headers and lines, and the lock of their folder.
//!
//! A segment is named after the number of its first record, `00000000000000000042.jsonl`. It begins with a header
//! record that states the log's id, the chain value before it, and the reason for which the segment was started.

use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::chain::SealedLine;
use super::checkpoint::Checkpoint;

/// Version of the format, stated in every header.
pub(super) const FORMAT: u32 = 1;

/// Maximum length of a line in bytes: a window's record with about four million people.
pub(super) const MAX_LINE: usize = 96 << 20;

/// Number of attempts to lock the folder of a log, and the time between two.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// An existing segment file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::disclosure) struct Segment {
    /// The number of its first record.
    pub(super) first: u64,
    pub(in crate::disclosure) path: PathBuf,
}

/// The record with which a segment begins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct SegmentHeader {
    pub(super) kind: String,
    pub(super) time: Timestamp,
    /// The log's random id, generated with its first record.
    pub(super) log: String,
    pub(super) format: u32,
    /// The chain value before this record.
    pub(super) previous: String,
    /// Reason for which the segment was started: [`SegmentHeader::START`] or `rotation`.
    pub(super) why: String,
    /// True if the previous segment ended without a stop record, because the process died.
    #[serde(default)]
    pub(super) unclean: bool,
    /// Bytes of an incomplete last line that were cut off when the log was opened.
    pub(super) torn_bytes: Option<u64>,
    /// The checkpoint in the log's head, if the log in the folder ends before it or differs from it: the end of the
    /// log, or all of it, was removed while no process wrote it.
    pub(super) missing: Option<Checkpoint>,
    /// Identifies the key of the pseudonyms that recipients receive, without revealing it.
    pub(super) pseudonym_key: Option<String>,
}

impl SegmentHeader {
    pub(super) const KIND: &'static str = "segment";
    /// A process began to write.
    pub(super) const START: &'static str = "start";
}

/// Returns the file name of the segment that begins with this record.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

/// Returns the number in a segment's file name.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Lists the segments in a folder in order.
pub(in crate::disclosure) fn list_segments(folder: &Path) -> io::Result<Vec<Segment>> {
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

/// Creates the folder if necessary and locks it for this process until the returned file is dropped. Returns `None`
/// if another process has locked it.
pub(super) fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // The lock is on the folder itself: a lock file would be one more file to account for.
    let lock = File::open(folder)?;
    // Readers hold the lock for an instant ([`in_use`]), a writer as long as it runs.
    for attempt in 0..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) if attempt + 1 < LOCK_ATTEMPTS => std::thread::sleep(LOCK_WAIT),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// True if a process has locked the folder to write the log.
///
/// # Errors
/// If the folder cannot be opened.
pub(in crate::disclosure) fn in_use(folder: &Path) -> io::Result<bool> {
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

/// True if a line is a record of this kind. Every record begins with its number and its kind, so this needs no parsing.
pub(in crate::disclosure) fn has_kind(line: &[u8], kind: &str) -> bool {
    let after = memchr::memchr(b',', line).and_then(|at| line.get(at..));
    let named = after.and_then(|after| after.strip_prefix(b",\"kind\":\""));
    named.and_then(|named| named.strip_prefix(kind.as_bytes())).is_some_and(|rest| rest.starts_with(b"\""))
}

/// Makes the directory entries durable; without it a new file may be missing after a power failure.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// True if a segment was written under the key of these tags; `None` if it has no complete record.
///
/// # Errors
/// If the segment cannot be read, or does not begin with a record.
pub(in crate::disclosure) fn has_tag_of(segment: &Segment, tags: &[u8; 32]) -> io::Result<Option<bool>> {
    let mut lines = read_lines(&segment.path)?;
    // A segment without a complete record is being begun, or its process died while it began it.
    let Some(SegmentLine::Complete(header)) = lines.next()? else { return Ok(None) };
    let header = SealedLine::parse(header)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it begins with no record"))?;
    Ok(Some(header.is_tagged(tags)))
}

/// Opens a file for reading line by line.
pub(super) fn read_lines(path: &Path) -> io::Result<LineReader> {
    Ok(LineReader { from: BufReader::with_capacity(1 << 18, File::open(path)?), line: Vec::new(), read: 0 })
}

/// Reads the lines of a segment file.
pub(super) struct LineReader {
    from: BufReader<File>,
    line: Vec<u8>,
    read: u64,
}

/// A line of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentLine<'l> {
    /// A line, without its line feed.
    Complete(&'l [u8]),
    /// An incomplete last line of so many bytes.
    Torn(u64),
}

impl LineReader {
    /// Reads the next line.
    ///
    /// # Errors
    /// If reading fails or a line is longer than [`MAX_LINE`].
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
            _ if self.line.len() > MAX_LINE => {
                Err(io::Error::other("a line is longer than any record can be"))
            }
            _ => Ok(Some(SegmentLine::Torn(got as u64))),
        }
    }

    /// Returns the number of bytes in the complete lines read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_and_numbers_convert_both_ways() {
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
    fn a_folder_is_locked_by_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let lock = lock_folder(&path).unwrap().unwrap();
        assert!(lock_folder(&path).unwrap().is_none());
        assert!(in_use(&path).unwrap());
        drop(lock);
        assert!(!in_use(&path).unwrap());
        let reader = File::open(&path).unwrap();
        reader.lock_shared().unwrap();
        let reading = std::thread::spawn(move || {
            std::thread::sleep(LOCK_WAIT);
            drop(reader);
        });
        assert!(lock_folder(&path).unwrap().is_some(), "a reader is gone in an instant");
        reading.join().unwrap();
    }

    #[test]
    fn an_incomplete_last_line_is_torn() {
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
