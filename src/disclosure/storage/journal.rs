//! The journal: the entries that are not yet in bundles that survive a power failure.
//!
//! ```text
//! header    "purposegate-jnl2", index of the first entry (8 bytes),
//!           number of levels (1 byte), for each level from 1 the width of its last tile (1 byte) and its hashes,
//!           tag (32 bytes), checksum (8 bytes)
//! frame     length of the content (4 bytes), leaf with its length (2 bytes), detail with its length (2 bytes),
//!           tag (32 bytes), checksum over index, content and tag (8 bytes)
//! ```
//! Numbers are big-endian; a checksum is the beginning of a BLAKE3 hash. The header holds the right edge of the tree before
//! the first entry, so that the tree can be continued from the journal alone.
//!
//! A *checksum* has no key: everybody can tell a torn write from a whole one. A *tag* is a keyed hash over the header, or
//! over index and content ([`JournalTags`]): only the holder of the key file can make one. The next start signs what the
//! journal holds, so it accepts no entry without its tag. The checksum covers the tag: where it is right and the tag is
//! wrong, no write was torn, and somebody without the key has written.
//!
//! Journals of the first format ("purposegate-jnl1") have no tags. They are read, and recovery accepts those entries that a
//! signed checkpoint covers.
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
use crate::keys::JournalTags;

const MAGIC: &[u8; 16] = b"purposegate-jnl2";
const MAGIC_UNTAGGED: &[u8; 16] = b"purposegate-jnl1";
const TAG: usize = blake3::OUT_LEN;
const CHECKSUM: usize = 8;
const MAX_CONTENT: usize = 2 * (MAX_ENTRY + 2);

/// Maximum number of bytes behind the last entry that are searched for a whole frame.
const MAX_SEARCHED: u64 = 64 << 20;

/// Number of entries that may be missing without a trace before a frame that is found.
const MAX_MISSING: u64 = 4096;

/// Maximum number of bytes over which checksums are computed in a search. The rest of an interrupted write looks like a frame
/// nowhere, so only a file that was made to keep the search busy comes near.
const MAX_HASHED: usize = 256 << 20;

/// Returns the header of a journal that begins after these full bundles.
pub(crate) fn header(edge: &RightEdge, tags: &JournalTags) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    push_edge(&mut header, edge);
    let tag = tags.header(&header);
    header.extend_from_slice(tag.as_bytes());
    push_checksum(&mut header);
    header
}

fn push_edge(header: &mut Vec<u8>, edge: &RightEdge) {
    header.extend_from_slice(&(edge.bundles() * BUNDLE).to_be_bytes());
    header.push(u8::try_from(edge.levels().len()).unwrap_or(u8::MAX));
    for level in edge.levels() {
        header.push(u8::try_from(level.len() / HASH).unwrap_or(u8::MAX));
        header.extend_from_slice(level);
    }
}

fn push_checksum(header: &mut Vec<u8>) {
    let checksum = blake3::hash(header);
    header.extend(checksum.as_bytes().iter().take(CHECKSUM));
}

/// Appends the frame of an entry.
///
/// # Errors
/// If the leaf or the detail is longer than [`MAX_ENTRY`].
pub(crate) fn push_frame(
    frames: &mut Vec<u8>,
    index: u64,
    entry: &Entry,
    tags: &JournalTags,
) -> io::Result<()> {
    let content = push_content(frames, entry)?;
    let tag = tags.frame(index, frames.get(content..).unwrap_or_default());
    frames.extend_from_slice(tag.as_bytes());
    let checksum = checksum(index, frames.get(content..).unwrap_or_default());
    frames.extend_from_slice(&checksum);
    Ok(())
}

/// Appends the content of a frame with its length, and returns its offset.
fn push_content(frames: &mut Vec<u8>, entry: &Entry) -> io::Result<usize> {
    if entry.leaf.len() > MAX_ENTRY || entry.detail.len() > MAX_ENTRY {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an entry is longer than the format allows"));
    }
    let length = entry.leaf.len() + entry.detail.len() + 4;
    frames.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    let content = frames.len();
    push_framed(frames, &entry.leaf);
    push_framed(frames, &entry.detail);
    Ok(content)
}

/// Returns the checksum of a content and its tag.
fn checksum(index: u64, tagged: &[u8]) -> [u8; CHECKSUM] {
    let hash = blake3::Hasher::new().update(&index.to_be_bytes()).update(tagged).finalize();
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The state of the tag of a header or a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagState {
    /// Made with the log's key.
    Valid,
    /// Not made with the log's key.
    Wrong,
    /// The journal has the format without tags.
    Absent,
}

/// Reads the frames of a journal in order.
#[derive(Debug)]
pub(crate) struct JournalReader {
    from: BufReader<File>,
    /// The index of the next entry.
    index: u64,
    /// The offset of the next frame.
    offset: u64,
    /// Length of a tag in this journal: 0 in the format without tags.
    tag_length: usize,
    /// The part that was read last, with its tag, and the index of its entry; `None` for the header.
    tagged: Vec<u8>,
    tagged_index: Option<u64>,
}

impl JournalReader {
    /// Opens a journal and reads its header. Returns `None` if the header is damaged.
    pub(crate) fn open(path: &Path) -> io::Result<Option<(JournalReader, RightEdge)>> {
        let mut from = BufReader::with_capacity(1 << 17, File::open(path)?);
        let Some((edge, tagged, tag_length)) = read_header(&mut from)? else { return Ok(None) };
        let (index, offset) = (edge.bundles() * BUNDLE, (tagged.len() + CHECKSUM) as u64);
        Ok(Some((JournalReader { from, index, offset, tag_length, tagged, tagged_index: None }, edge)))
    }

    /// Opens a journal at a frame that was read before.
    pub(crate) fn open_at(path: &Path, index: u64, offset: u64) -> io::Result<JournalReader> {
        let mut file = File::open(path)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        let no_journal = || io::Error::new(io::ErrorKind::InvalidData, "the file is not a journal");
        let tag_length = tag_length(&magic).ok_or_else(no_journal)?;
        file.seek(SeekFrom::Start(offset))?;
        let from = BufReader::with_capacity(1 << 17, file);
        Ok(JournalReader { from, index, offset, tag_length, tagged: Vec::new(), tagged_index: None })
    }

    /// Returns the index of the next entry.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Returns the offset of the next frame, which is the number of valid bytes that were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the state of the tag of the entry that was read last; before the first one, of the header.
    pub(crate) fn tag_state(&self, tags: &JournalTags) -> TagState {
        if !self.has_tags() {
            return TagState::Absent;
        }
        let Some((content, stored)) = self.tagged.split_last_chunk::<TAG>() else { return TagState::Wrong };
        let expected = match self.tagged_index {
            Some(index) => tags.frame(index, content),
            None => tags.header(content),
        };
        if expected == *stored { TagState::Valid } else { TagState::Wrong }
    }

    /// False for a journal of the format without tags.
    pub(crate) fn has_tags(&self) -> bool {
        self.tag_length > 0
    }

    /// Reads the next entry. Returns `None` at the first frame that is incomplete or damaged. Checks no tag.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(length) = self.frame_length()? else { return Ok(None) };
        self.tagged.resize(length + self.tag_length + CHECKSUM, 0);
        if !read_all(&mut self.from, &mut self.tagged)? {
            return Ok(None);
        }
        let Some((tagged, stored)) = self.tagged.split_last_chunk::<CHECKSUM>() else { return Ok(None) };
        if *stored != checksum(self.index, tagged) {
            return Ok(None);
        }
        let mut rest = tagged.get(..length).unwrap_or_default();
        let entry = match (take_framed(&mut rest), take_framed(&mut rest)) {
            (Some(leaf), Some(detail)) if rest.is_empty() => {
                Entry { leaf: leaf.to_vec(), detail: detail.to_vec() }
            }
            _ => return Ok(None),
        };
        self.tagged.truncate(length + self.tag_length);
        self.tagged_index = Some(self.index);
        self.advance(length);
        Ok(Some(entry))
    }

    /// Skips a frame by its length, without checking it. Returns false at the end.
    pub(crate) fn skip(&mut self) -> io::Result<bool> {
        let Some(length) = self.frame_length()? else { return Ok(false) };
        let rest = length + self.tag_length + CHECKSUM;
        self.from.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX))?;
        self.advance(length);
        Ok(true)
    }

    /// Searches the bytes from the place at which the reading ended up to `length`, in the journal at a path, for a whole frame, and
    /// returns the index of its entry. An interrupted write leaves none behind it: if there is one, the bytes before it were
    /// damaged.
    pub(crate) fn frame_behind(&self, path: &Path, length: u64) -> io::Result<Option<u64>> {
        let (mut file, mut bytes) = (File::open(path)?, Vec::new());
        file.seek(SeekFrom::Start(self.offset))?;
        file.take(length.saturating_sub(self.offset).min(MAX_SEARCHED)).read_to_end(&mut bytes)?;
        let shortest = 8 + self.tag_length + CHECKSUM;
        let mut hashed = 0;
        for at in 0..bytes.len() {
            let Some((tagged, stored)) = self.frame_at(bytes.get(at..).unwrap_or_default()) else { continue };
            let latest = self.index.saturating_add((at / shortest) as u64).saturating_add(MAX_MISSING);
            for index in self.index..=latest {
                hashed += tagged.len();
                if hashed > MAX_HASHED || checksum(index, tagged) == *stored {
                    return Ok(Some(index));
                }
            }
        }
        Ok(None)
    }

    /// Returns the content with its tag, and the checksum, of the frame with which these bytes may begin.
    fn frame_at<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8; CHECKSUM])> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if length > MAX_CONTENT {
            return None;
        }
        let (tagged, rest) = rest.split_at_checked(length + self.tag_length)?;
        let mut content = tagged.get(..length)?;
        take_framed(&mut content)?;
        take_framed(&mut content)?;
        content.is_empty().then_some((tagged, rest.first_chunk()?))
    }

    fn advance(&mut self, length: usize) {
        self.index += 1;
        self.offset += (length + self.tag_length + CHECKSUM + 4) as u64;
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

/// Returns the length of a tag in a journal that begins with these bytes; `None` if they begin no journal.
fn tag_length(magic: &[u8]) -> Option<usize> {
    if magic == MAGIC {
        Some(TAG)
    } else if magic == MAGIC_UNTAGGED {
        Some(0)
    } else {
        None
    }
}

/// Reads the header. Returns the edge, the header with its tag and without its checksum, and the length of a tag.
fn read_header(from: &mut impl Read) -> io::Result<Option<(RightEdge, Vec<u8>, usize)>> {
    let mut header = vec![0; MAGIC.len() + 9];
    if !read_all(from, &mut header)? {
        return Ok(None);
    }
    let (magic, rest) = header.split_at(MAGIC.len());
    let Some(tag_length) = tag_length(magic) else { return Ok(None) };
    let first = rest.first_chunk().copied().map(u64::from_be_bytes);
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
    let (mut tag, mut stored) = (vec![0; tag_length], [0; CHECKSUM]);
    if !read_all(from, &mut tag)? || !read_all(from, &mut stored)? {
        return Ok(None);
    }
    header.extend_from_slice(&tag);
    if !blake3::hash(&header).as_bytes().starts_with(&stored) {
        return Ok(None);
    }
    let edge = first.filter(|first| first.is_multiple_of(BUNDLE));
    let edge = edge.and_then(|first| RightEdge::from_levels(first / BUNDLE, levels));
    Ok(edge.map(|edge| (edge, header, tag_length)))
}

/// Fills the buffer. Returns false if the file ends before.
fn read_all(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns a journal of the format without tags.
#[cfg(test)]
pub(crate) fn untagged_journal(edge: &RightEdge, entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut journal = MAGIC_UNTAGGED.to_vec();
    push_edge(&mut journal, edge);
    push_checksum(&mut journal);
    for (index, entry) in (edge.bundles() * BUNDLE..).zip(entries) {
        let content = push_content(&mut journal, &entry).unwrap();
        let checksum = checksum(index, &journal[content..]);
        journal.extend_from_slice(&checksum);
    }
    journal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    fn entry(byte: u8) -> Entry {
        Entry { leaf: vec![byte; 10], detail: vec![byte; usize::from(byte)] }
    }

    fn tags() -> JournalTags {
        static TAGS: std::sync::OnceLock<JournalTags> = std::sync::OnceLock::new();
        TAGS.get_or_init(random_tags).clone()
    }

    fn random_tags() -> JournalTags {
        Keys::random().unwrap().log_signing_key("gateway-1/00").unwrap().journal_tags().clone()
    }

    fn journal(edge: &RightEdge, entries: u8) -> Vec<u8> {
        let mut journal = header(edge, &tags());
        for byte in 0..entries {
            let index = edge.bundles() * BUNDLE + u64::from(byte);
            push_frame(&mut journal, index, &entry(byte), &tags()).unwrap();
        }
        journal
    }

    fn untagged(edge: &RightEdge, entries: u8) -> Vec<u8> {
        untagged_journal(edge, (0..entries).map(entry))
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
        let head = header(&edge(), &tags()).len();
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
        for whole in [journal(&edge(), 2), untagged(&edge(), 2)] {
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
    }

    #[test]
    fn whole_frames_are_found_behind_damage_and_not_behind_an_interrupted_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let behind = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            let (mut reader, _) = JournalReader::open(&path).unwrap().unwrap();
            while reader.next().unwrap().is_some() {}
            reader.frame_behind(&path, content.len() as u64).unwrap()
        };
        type Make = fn(&RightEdge, u8) -> Vec<u8>;
        for make in [journal as Make, untagged as Make] {
            let (two, three, whole) = (make(&edge(), 2).len(), make(&edge(), 3).len(), make(&edge(), 5));
            for cut in two..=whole.len() {
                assert_eq!(behind(&whole[..cut]), None, "{cut}");
                assert_eq!(behind(&[&whole[..cut], &[0; 5000]].concat()), None, "{cut}");
            }
            for at in two..three {
                let mut changed = whole.clone();
                changed[at] ^= 0x10;
                assert_eq!(behind(&changed), Some(771), "{at}");
            }
            // Bytes that are missing, and some that are too many.
            assert_eq!(behind(&[&whole[..two], &whole[three..]].concat()), Some(771));
            assert_eq!(behind(&[&whole[..two], &whole[three - 7..]].concat()), Some(771));
            assert_eq!(behind(&[&whole[..two], b"abc", &whole[two..]].concat()), Some(770));
            // The frame of another place is none of this one.
            assert_eq!(behind(&[&whole[..], &whole[two..three]].concat()), None);
        }
    }

    #[test]
    fn reading_continues_at_a_known_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        for content in [journal(&edge(), 4), untagged(&edge(), 4)] {
            std::fs::write(&path, content).unwrap();
            let (mut reader, _) = JournalReader::open(&path).unwrap().unwrap();
            assert!(reader.skip().unwrap() && reader.skip().unwrap());
            let mut later = JournalReader::open_at(&path, reader.index(), reader.offset()).unwrap();
            assert_eq!(later.next().unwrap(), Some(entry(2)));
            assert_eq!(reader.next().unwrap(), Some(entry(2)));
        }
        std::fs::write(&path, b"purposegate-jnl3, and more").unwrap();
        assert!(JournalReader::open_at(&path, 0, 17).is_err());
    }

    /// The states of the tags of a journal, of the header first.
    fn states(content: &[u8], tags: &JournalTags) -> Vec<TagState> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        std::fs::write(&path, content).unwrap();
        let (mut reader, _) = JournalReader::open(&path).unwrap().unwrap();
        let mut states = vec![reader.tag_state(tags)];
        while reader.next().unwrap().is_some() {
            states.push(reader.tag_state(tags));
        }
        states
    }

    #[test]
    fn a_tag_is_valid_under_the_key_with_which_it_was_made() {
        use TagState::{Absent, Valid, Wrong};
        let others = random_tags();
        let mut mixed = journal(&edge(), 2);
        push_frame(&mut mixed, 770, &entry(2), &others).unwrap();
        push_frame(&mut mixed, 771, &entry(3), &tags()).unwrap();
        assert_eq!(states(&mixed, &tags()), [Valid, Valid, Valid, Wrong, Valid]);
        assert_eq!(states(&mixed, &others), [Wrong, Wrong, Wrong, Valid, Wrong]);
        assert_eq!(states(&untagged(&edge(), 2), &tags()), [Absent; 3]);
        // A tag of another frame.
        let (head, one) = (header(&edge(), &tags()).len(), journal(&edge(), 1).len());
        let (content, end) = (head + 4, one - CHECKSUM);
        let mut copied = journal(&edge(), 1);
        let other = tags().frame(769, &copied[content..end - TAG]);
        copied[end - TAG..end].copy_from_slice(other.as_bytes());
        let checksum = checksum(768, &copied[content..end]);
        copied[end..].copy_from_slice(&checksum);
        assert_eq!(states(&copied, &tags()), [Valid, Wrong]);
    }

    #[test]
    fn entries_that_are_too_long_are_refused() {
        let long = Entry { leaf: vec![0; MAX_ENTRY + 1], detail: Vec::new() };
        assert!(push_frame(&mut Vec::new(), 0, &long, &tags()).is_err());
        let longest = Entry { leaf: vec![0; MAX_ENTRY], detail: vec![0; MAX_ENTRY] };
        assert!(push_frame(&mut Vec::new(), 0, &longest, &tags()).is_ok());
    }
}
