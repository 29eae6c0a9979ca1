//! The journal: the entries that are not yet in bundles that survive a power failure.
//!
//! ```text
//! header    "purposegate-jnl1", index of the first entry (8 bytes),
//!           number of levels (1 byte), for each level from 1 the width of its last tile (1 byte) and its hashes,
//!           checksum (8 bytes)
//! frame     length of the content (4 bytes), leaf with its length (2 bytes), detail with its length (2 bytes),
//!           checksum over index and content (8 bytes)
//! ```
//! Numbers are big-endian; a checksum is the beginning of a BLAKE3 hash. The header holds the right edge of the tree before
//! the first entry, so that the tree can be continued from the journal alone.
//!
//! Invariant: the journal that begins last holds every entry from its first one to the end of the log. An earlier journal
//! exists only while it is not known that what was published from it survives a power failure; it reaches at least to the
//! first entry of the next one.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::layout::{BUNDLE, push_framed, take_framed};
use super::tree::{HASH, MAX_LEVELS, RightEdge};
use crate::disclosure::entry::{Entry, MAX_ENTRY};

const MAGIC: &[u8; 16] = b"purposegate-jnl1";
const CHECKSUM: usize = 8;
const MAX_CONTENT: usize = 2 * (MAX_ENTRY + 2);

/// Returns the header of a journal that begins after these full bundles.
pub(crate) fn header(edge: &RightEdge) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&(edge.bundles() * BUNDLE).to_be_bytes());
    header.push(u8::try_from(edge.levels().len()).unwrap_or(u8::MAX));
    for level in edge.levels() {
        header.push(u8::try_from(level.len() / HASH).unwrap_or(u8::MAX));
        header.extend_from_slice(level);
    }
    let checksum = blake3::hash(&header);
    header.extend(checksum.as_bytes().iter().take(CHECKSUM));
    header
}

/// Appends the frame of an entry.
///
/// # Errors
/// If the leaf or the detail is longer than [`MAX_ENTRY`].
pub(crate) fn push_frame(frames: &mut Vec<u8>, index: u64, entry: &Entry) -> io::Result<()> {
    if entry.leaf.len() > MAX_ENTRY || entry.detail.len() > MAX_ENTRY {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an entry is longer than the format allows"));
    }
    let length = entry.leaf.len() + entry.detail.len() + 4;
    frames.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    let content = frames.len();
    push_framed(frames, &entry.leaf);
    push_framed(frames, &entry.detail);
    let checksum = checksum(index, frames.get(content..).unwrap_or_default());
    frames.extend_from_slice(&checksum);
    Ok(())
}

fn checksum(index: u64, content: &[u8]) -> [u8; CHECKSUM] {
    let hash = blake3::Hasher::new().update(&index.to_be_bytes()).update(content).finalize();
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Reads the frames of a journal in order.
#[derive(Debug)]
pub(crate) struct JournalReader {
    from: BufReader<File>,
    /// The index of the next entry.
    index: u64,
    /// The offset of the next frame.
    offset: u64,
    content: Vec<u8>,
}

impl JournalReader {
    /// Opens a journal and reads its header. Returns `None` if the header is damaged.
    pub(crate) fn open(path: &Path) -> io::Result<Option<(JournalReader, RightEdge)>> {
        let mut from = BufReader::with_capacity(1 << 17, File::open(path)?);
        let Some((edge, offset)) = read_header(&mut from)? else { return Ok(None) };
        let index = edge.bundles() * BUNDLE;
        Ok(Some((JournalReader { from, index, offset, content: Vec::new() }, edge)))
    }

    /// Opens a journal at a frame that was read before.
    pub(crate) fn open_at(path: &Path, index: u64, offset: u64) -> io::Result<JournalReader> {
        let mut from = BufReader::with_capacity(1 << 17, File::open(path)?);
        from.seek(SeekFrom::Start(offset))?;
        Ok(JournalReader { from, index, offset, content: Vec::new() })
    }

    /// Returns the index of the next entry.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Returns the offset of the next frame, which is the number of valid bytes that were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next entry. Returns `None` at the first frame that is incomplete or damaged.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(length) = self.frame_length()? else { return Ok(None) };
        self.content.resize(length + CHECKSUM, 0);
        if !read_all(&mut self.from, &mut self.content)? {
            return Ok(None);
        }
        let Some((content, stored)) = self.content.split_last_chunk::<CHECKSUM>() else { return Ok(None) };
        if *stored != checksum(self.index, content) {
            return Ok(None);
        }
        let mut rest = content;
        let entry = match (take_framed(&mut rest), take_framed(&mut rest)) {
            (Some(leaf), Some(detail)) if rest.is_empty() => {
                Entry { leaf: leaf.to_vec(), detail: detail.to_vec() }
            }
            _ => return Ok(None),
        };
        self.advance(length);
        Ok(Some(entry))
    }

    /// Skips a frame by its length, without checking it. Returns false at the end.
    pub(crate) fn skip(&mut self) -> io::Result<bool> {
        let Some(length) = self.frame_length()? else { return Ok(false) };
        self.from.seek_relative(i64::try_from(length + CHECKSUM).unwrap_or(i64::MAX))?;
        self.advance(length);
        Ok(true)
    }

    fn advance(&mut self, length: usize) {
        self.index += 1;
        self.offset += (length + CHECKSUM + 4) as u64;
    }

    fn frame_length(&mut self) -> io::Result<Option<usize>> {
        let mut length = [0; 4];
        if !read_all(&mut self.from, &mut length)? {
            return Ok(None);
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        Ok((4..=MAX_CONTENT).contains(&length).then_some(length))
    }
}

/// Reads the header and returns the edge and the header's length.
fn read_header(from: &mut impl Read) -> io::Result<Option<(RightEdge, u64)>> {
    let mut header = vec![0; MAGIC.len() + 9];
    if !read_all(from, &mut header)? || !header.starts_with(MAGIC) {
        return Ok(None);
    }
    let first =
        header.get(MAGIC.len()..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_be_bytes);
    let count = usize::from(header.last().copied().unwrap_or(u8::MAX));
    if count > MAX_LEVELS {
        return Ok(None);
    }
    let mut levels = Vec::with_capacity(count);
    for _ in 0..count {
        let mut width = [0];
        if !read_all(from, &mut width)? {
            return Ok(None);
        }
        let mut hashes = vec![0; usize::from(width[0]) * HASH];
        if !read_all(from, &mut hashes)? {
            return Ok(None);
        }
        header.extend_from_slice(&width);
        header.extend_from_slice(&hashes);
        levels.push(hashes);
    }
    let mut stored = [0; CHECKSUM];
    if !read_all(from, &mut stored)? || !blake3::hash(&header).as_bytes().starts_with(&stored) {
        return Ok(None);
    }
    let edge = first.filter(|first| first.is_multiple_of(BUNDLE));
    let edge = edge.and_then(|first| RightEdge::from_levels(first / BUNDLE, levels));
    Ok(edge.map(|edge| (edge, (header.len() + CHECKSUM) as u64)))
}

/// Fills the buffer. Returns false if the file ends before.
fn read_all(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(byte: u8) -> Entry {
        Entry { leaf: vec![byte; 10], detail: vec![byte; usize::from(byte)] }
    }

    fn journal(edge: &RightEdge, entries: u8) -> Vec<u8> {
        let mut journal = header(edge);
        for byte in 0..entries {
            push_frame(&mut journal, edge.bundles() * BUNDLE + u64::from(byte), &entry(byte)).unwrap();
        }
        journal
    }

    fn edge() -> RightEdge {
        let mut edge = RightEdge::default();
        for byte in 0..3 {
            edge.push(&[byte; 256 * HASH]);
        }
        edge
    }

    #[test]
    fn every_cut_yields_the_complete_frames_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let whole = journal(&edge(), 4);
        let head = header(&edge()).len();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let Some((mut reader, read)) = JournalReader::open(&path).unwrap() else {
                assert!(cut < head);
                continue;
            };
            assert_eq!((read, reader.index()), (edge(), 768));
            let mut read = 0;
            while let Some(found) = reader.next().unwrap() {
                assert_eq!(found, entry(read));
                read += 1;
            }
            assert_eq!(reader.offset(), journal(&edge(), read).len() as u64);
            assert!(journal(&edge(), read + 1).len() > cut || read == 4, "{cut}");
        }
    }

    #[test]
    fn every_changed_byte_ends_the_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let whole = journal(&edge(), 2);
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            std::fs::write(&path, changed).unwrap();
            let Some((mut reader, _)) = JournalReader::open(&path).unwrap() else { continue };
            let mut read = 0;
            while reader.next().unwrap().is_some() {
                read += 1;
            }
            assert!(read < 2, "{place}");
        }
    }

    #[test]
    fn reading_continues_at_a_known_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        std::fs::write(&path, journal(&edge(), 4)).unwrap();
        let (mut reader, _) = JournalReader::open(&path).unwrap().unwrap();
        assert!(reader.skip().unwrap() && reader.skip().unwrap());
        let mut later = JournalReader::open_at(&path, reader.index(), reader.offset()).unwrap();
        assert_eq!(later.next().unwrap(), Some(entry(2)));
        assert_eq!(reader.next().unwrap(), Some(entry(2)));
    }

    #[test]
    fn entries_that_are_too_long_are_refused() {
        let long = Entry { leaf: vec![0; MAX_ENTRY + 1], detail: Vec::new() };
        assert!(push_frame(&mut Vec::new(), 0, &long).is_err());
        let longest = Entry { leaf: vec![0; MAX_ENTRY], detail: vec![0; MAX_ENTRY] };
        assert!(push_frame(&mut Vec::new(), 0, &longest).is_ok());
    }
}
