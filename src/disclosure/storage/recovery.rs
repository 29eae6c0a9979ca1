//! Finds where a log ends when a process opens it, and prepares what has to be published again.
//!
//! Repairs only what a crash leaves: an incomplete end of the last journal is cut off, unless whole entries follow it, and
//! files that are not full are written again. Invariants: a log that contradicts itself or a checkpoint is not continued, since
//! entries that are appended to it prove nothing; nothing of a journal is published that was not written with the log's key.
//!
//! A journal of the format without tags is continued if a signed checkpoint covers it to its end, as it does after a clean
//! stop; it is then written again with tags.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{FileOperations, write_durably};
use super::journal::{self, TagState};
use super::layout::{
    self, BUNDLE, CHECKPOINT, JOURNALS, KEPT_CHECKPOINTS, MAX_BUNDLE_BYTES, MAX_NOTE_BYTES, TILES,
    entries_path, journal_path, kept_checkpoint_path, read_bounded,
};
use super::proof::TileHashes;
use super::publication::{Publisher, RootFinder, bundle_hash, remove_partial_files};
use super::tree::HASH;
use super::{JournalReader, OpenLogError, PublishedCheckpoint, Recovered, RightEdge};
use crate::disclosure::entry::{Entry, EntryKind, decode_head};
use crate::keys::{JournalTags, LogSigner, SignatureState};

/// The end of a log.
pub(super) struct LogEnd {
    pub(super) recovered: Recovered,
    /// First index and length of the last journal.
    pub(super) first: u64,
    pub(super) bytes: u64,
    /// The tree with the entries that are to be published again.
    pub(super) publisher: Publisher,
    /// First indexes of the journals that are not needed after publication.
    pub(super) retired: Vec<u64>,
    /// The size below which the log was to be pruned.
    pub(super) pruned_below: Option<u64>,
}

/// The checkpoints of the log, by size, with the files that hold them.
type Checkpoints = BTreeMap<u64, Vec<(PathBuf, [u8; HASH])>>;

/// Returns the number of entries that a checkpoint covers.
fn covered_by(checkpoints: &Checkpoints) -> u64 {
    checkpoints.last_key_value().map_or(0, |(size, _)| *size)
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> OpenLogError {
    move |source| OpenLogError::Io { path: path.to_owned(), doing, source }
}

fn inconsistent(file: PathBuf, problem: &'static str) -> OpenLogError {
    OpenLogError::Inconsistent { file, problem }
}

/// Finds the end of the log, or begins one.
pub(super) fn recover(
    folder: &Path,
    files: &dyn FileOperations,
    signer: &LogSigner,
    outside: &[PathBuf],
) -> Result<LogEnd, OpenLogError> {
    let checkpoints = read_checkpoints(folder, signer, outside)?;
    let kept = layout::list_numbers(&folder.join(KEPT_CHECKPOINTS), layout::parse_size)
        .map_err(io_error(folder, "read"))?;
    let journals = layout::list_numbers(&folder.join(JOURNALS), layout::parse_journal_name)
        .map_err(io_error(folder, "read"))?;
    let Some((&last, earlier)) = journals.split_last() else {
        return begin(folder, files, &checkpoints, signer.journal_tags());
    };
    let tags = signer.journal_tags();
    let mut replay = Replay::run(folder, &journals, &checkpoints, tags)?;
    let before = check_before(folder, &checkpoints, outside, &replay.edge)?;
    let last_kind = if replay.is_empty() { before } else { replay.last };
    let path = folder.join(journal_path(last));
    match replay.has_tags {
        true => cut_torn_end(files, &path, &replay)?,
        false => replay.bytes = add_tags(folder, files, last, tags, &checkpoints)?,
    }
    let bundles = replay.edge.bundles()..=replay.size / BUNDLE;
    remove_partial_files(files, folder, bundles).map_err(io_error(folder, "repaired"))?;
    let publisher = publish_full(folder, files, &journals, tags, covered_by(&checkpoints))?;
    let day_start = kept.last().copied().unwrap_or(0);
    let recovered = Recovered {
        size: replay.size,
        day_start,
        kept_checkpoints: kept.len() as u64,
        unclean: replay.size > 0 && last_kind != Some(EntryKind::Stop),
        torn_bytes: replay.torn_bytes,
    };
    let retired = earlier.to_vec();
    let pruned_below = replay.pruned_below.filter(|below| kept.contains(below));
    Ok(LogEnd { recovered, first: last, bytes: replay.bytes, publisher, retired, pruned_below })
}

/// Begins a log in a folder that holds nothing yet.
fn begin(
    folder: &Path,
    files: &dyn FileOperations,
    checkpoints: &Checkpoints,
    tags: &JournalTags,
) -> Result<LogEnd, OpenLogError> {
    let path = folder.join(JOURNALS);
    let has_tiles = folder.join(TILES).try_exists().map_err(io_error(folder, "read"))?;
    if has_tiles || !checkpoints.is_empty() || folder.join(CHECKPOINT).exists() {
        return Err(inconsistent(path, "the journal is missing"));
    }
    let header = journal::header(&RightEdge::default(), tags);
    write_durably(files, folder, &journal_path(0), &header).map_err(io_error(&path, "written"))?;
    Ok(LogEnd {
        recovered: Recovered::default(),
        first: 0,
        bytes: header.len() as u64,
        publisher: Publisher::new(RightEdge::default()),
        retired: Vec::new(),
        pruned_below: None,
    })
}

/// Reads every checkpoint of the log and checks its signature.
fn read_checkpoints(
    folder: &Path,
    signer: &LogSigner,
    outside: &[PathBuf],
) -> Result<Checkpoints, OpenLogError> {
    let mut checkpoints = Checkpoints::new();
    let kept = folder.join(KEPT_CHECKPOINTS);
    for size in layout::list_numbers(&kept, layout::parse_size).map_err(io_error(&kept, "read"))? {
        let path = folder.join(kept_checkpoint_path(size));
        let Some(checkpoint) = read_checkpoint(&path, signer)? else {
            return Err(inconsistent(path, "it is not a checkpoint"));
        };
        if checkpoint.size != size {
            return Err(inconsistent(path, "the checkpoint has another size than its name says"));
        }
        checkpoints.entry(size).or_default().push((path, checkpoint.root));
    }
    // A power failure may leave any content in a file that was just written.
    for path in [folder.join(CHECKPOINT)].iter().chain(outside) {
        if outside.contains(path) && is_of_other_log(path, signer)? {
            tracing::warn!(path = %path.display(), "the file holds a checkpoint of another disclosure log");
            continue;
        }
        if let Some(checkpoint) = read_checkpoint(path, signer)? {
            checkpoints.entry(checkpoint.size).or_default().push((path.clone(), checkpoint.root));
        }
    }
    Ok(checkpoints)
}

/// True if a file outside of the folder holds a checkpoint with another origin: the operator has moved a log away.
fn is_of_other_log(path: &Path, signer: &LogSigner) -> Result<bool, OpenLogError> {
    let checkpoint = read_note(path)?.and_then(|note| PublishedCheckpoint::parse(&note));
    Ok(checkpoint.is_some_and(|checkpoint| checkpoint.origin != signer.origin()))
}

/// Reads a note. Returns `None` if the file does not exist.
fn read_note(path: &Path) -> Result<Option<Vec<u8>>, OpenLogError> {
    match read_bounded(path, MAX_NOTE_BYTES) {
        Ok(note) => Ok(Some(note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path, "read")(error)),
    }
}

/// Reads a checkpoint. Returns `None` if the file does not exist or holds none.
fn read_checkpoint(path: &Path, signer: &LogSigner) -> Result<Option<PublishedCheckpoint>, OpenLogError> {
    let Some(note) = read_note(path)? else { return Ok(None) };
    let Some(checkpoint) = PublishedCheckpoint::parse(&note) else { return Ok(None) };
    match signer.check(&note) {
        SignatureState::Valid if checkpoint.origin == signer.origin() => Ok(Some(checkpoint)),
        SignatureState::OtherKey => Err(OpenLogError::OtherKeys(path.to_owned())),
        SignatureState::Valid | SignatureState::Wrong => {
            Err(inconsistent(path.to_owned(), "the signature of the checkpoint is wrong"))
        }
    }
}

/// Reads the entries of consecutive journals, each one once, and checks that they were written with the log's key.
struct Journals<'f> {
    folder: &'f Path,
    firsts: &'f [u64],
    tags: &'f JournalTags,
    reader: JournalReader,
    path: PathBuf,
    /// The number of entries up to the end of the last part without a tag. Only a checkpoint can vouch for them.
    untagged: u64,
}

impl<'f> Journals<'f> {
    /// Opens the first journal and returns the tree before it.
    fn open(
        folder: &'f Path,
        firsts: &'f [u64],
        tags: &'f JournalTags,
    ) -> Result<(Journals<'f>, RightEdge), OpenLogError> {
        let (first, rest) = firsts.split_first().unwrap_or((&0, &[]));
        let (path, reader, edge) = open_journal(folder, *first)?;
        let mut journals = Journals { folder, firsts: rest, tags, reader, path, untagged: 0 };
        journals.check_tag(None)?;
        Ok((journals, edge))
    }

    /// Reads the next entry. Returns `None` at the first incomplete frame of the last journal.
    fn next(&mut self) -> Result<Option<Entry>, OpenLogError> {
        if let Some((first, rest)) = self.firsts.split_first()
            && *first == self.reader.index()
        {
            (self.path, self.reader, _) = open_journal(self.folder, *first)?;
            self.firsts = rest;
            self.check_tag(None)?;
        }
        let index = self.reader.index();
        let entry = self.reader.next().map_err(io_error(&self.path, "read"))?;
        match &entry {
            Some(_) => self.check_tag(Some(index))?,
            None if self.firsts.is_empty() => {}
            None => {
                return Err(inconsistent(self.path.clone(), "the journal ends before the next one begins"));
            }
        }
        Ok(entry)
    }

    /// Checks the tag of what was read last: of the header, or of the entry with this index.
    fn check_tag(&mut self, entry: Option<u64>) -> Result<(), OpenLogError> {
        match self.reader.tag_state(self.tags) {
            TagState::Valid => {}
            TagState::Absent => self.untagged = self.reader.index(),
            TagState::Wrong => {
                return Err(OpenLogError::ForeignJournal { file: self.path.clone(), entry });
            }
        }
        Ok(())
    }

    /// Checks that there are no more entries without a tag than these.
    fn check_untagged(&self, covered: u64) -> Result<(), OpenLogError> {
        if self.untagged > covered {
            return Err(OpenLogError::UntaggedJournal { file: self.path.clone(), covered });
        }
        Ok(())
    }
}

fn open_journal(folder: &Path, first: u64) -> Result<(PathBuf, JournalReader, RightEdge), OpenLogError> {
    let path = folder.join(journal_path(first));
    match JournalReader::open(&path).map_err(io_error(&path, "read"))? {
        Some((reader, edge)) if reader.index() == first => Ok((path, reader, edge)),
        _ => Err(inconsistent(path, "the header of the journal is damaged")),
    }
}

/// The state of the tree and of the last journal after all journals were read.
struct Replay {
    /// The tree before the first journal.
    edge: RightEdge,
    size: u64,
    /// The kind of the last entry.
    last: Option<EntryKind>,
    /// Length of the complete frames in the last journal.
    bytes: u64,
    torn_bytes: u64,
    /// False if the last journal has the format without tags.
    has_tags: bool,
    pruned_below: Option<u64>,
}

impl Replay {
    /// True if the journals hold no entry.
    fn is_empty(&self) -> bool {
        self.size == self.edge.bundles() * BUNDLE
    }

    /// Reads the journals, and compares the tree with the checkpoints and with the headers of the journals.
    fn run(
        folder: &Path,
        firsts: &[u64],
        checkpoints: &Checkpoints,
        tags: &JournalTags,
    ) -> Result<Replay, OpenLogError> {
        let (mut journals, edge) = Journals::open(folder, firsts, tags)?;
        let mut tree = RootFinder::new(edge.clone());
        let (mut last, mut pruned) = (None, None);
        compare(checkpoints, tree.size(), || tree.root())?;
        while let Some(entry) = journals.next()? {
            tree.push(&entry.leaf);
            compare(checkpoints, tree.size(), || tree.root())?;
            if firsts.contains(&tree.size()) {
                let (path, _, begins) = open_journal(folder, tree.size())?;
                if begins != *tree.edge() {
                    return Err(inconsistent(path, "the journal continues another tree"));
                }
            }
            // A head that cannot be decoded is a finding of verification.
            let head = decode_head(&entry.leaf).ok();
            last = head.as_ref().map(|head| head.kind);
            pruned =
                head.filter(|head| head.kind == EntryKind::Pruning).and_then(|head| head.below).max(pruned);
        }
        if let Some((_, claims)) = checkpoints.range(tree.size() + 1..).next() {
            let file = claims.first().map_or_else(|| folder.to_owned(), |(path, _)| path.clone());
            return Err(inconsistent(file, "the log is shorter than the checkpoint says"));
        }
        journals.check_untagged(covered_by(checkpoints))?;
        let (bytes, has_tags) = (journals.reader.offset(), journals.reader.has_tags());
        let length = std::fs::metadata(&journals.path).map_err(io_error(&journals.path, "read"))?.len();
        let torn_bytes = length.saturating_sub(bytes);
        if torn_bytes > 0 {
            let later = journals.reader.frame_behind(&journals.path, length);
            if let Some(later) = later.map_err(io_error(&journals.path, "read"))? {
                let (file, entry) = (journals.path, tree.size());
                return Err(OpenLogError::DamagedJournal { file, entry, later, bytes });
            }
        }
        Ok(Replay { edge, size: tree.size(), last, bytes, torn_bytes, has_tags, pruned_below: pruned })
    }
}

/// Compares the tree at this size with the checkpoints of this size.
fn compare(
    checkpoints: &Checkpoints,
    size: u64,
    root: impl FnOnce() -> [u8; HASH],
) -> Result<(), OpenLogError> {
    let Some(claims) = checkpoints.get(&size) else { return Ok(()) };
    let root = root();
    match claims.iter().find(|(_, claimed)| *claimed != root) {
        Some((path, _)) => {
            Err(inconsistent(path.clone(), "the entries have another root than the checkpoint"))
        }
        None => Ok(()),
    }
}

/// Compares the tiles before the first journal with the checkpoints and with the tree that the journal continues. Returns
/// the kind of the last entry before the journal.
fn check_before(
    folder: &Path,
    checkpoints: &Checkpoints,
    outside: &[PathBuf],
    edge: &RightEdge,
) -> Result<Option<EntryKind>, OpenLogError> {
    let first = edge.bundles() * BUNDLE;
    let tiles = TileHashes::new(folder);
    let existing =
        layout::first_bundle(&folder.join(layout::LEAF_TILES)).map_err(io_error(folder, "read"))?;
    let is_pruned = |size: u64| existing.is_none_or(|bundle| size < bundle * BUNDLE);
    for (size, claims) in checkpoints.range(..first).filter(|(size, _)| **size > 0) {
        let root = tiles.root(*size);
        if let (Err(_), Some((path, _))) = (&root, claims.first())
            && is_pruned(*size)
            && claims.iter().all(|(path, _)| outside.contains(path))
        {
            let path = path.display();
            tracing::warn!(%path, "the day of this checkpoint was pruned: the log cannot be compared with it");
            continue;
        }
        let root = root.map_err(|error| match OpenLogError::from(error) {
            OpenLogError::Inconsistent { file, .. } => inconsistent(file, "the tile is missing or damaged"),
            error => error,
        })?;
        compare(&Checkpoints::from([(*size, claims.clone())]), *size, || root)?;
    }
    let Some(number) = edge.bundles().checked_sub(1) else { return Ok(None) };
    let path = folder.join(entries_path(number, BUNDLE));
    let entries = match read_bounded(&path, MAX_BUNDLE_BYTES) {
        Ok(entries) => entries,
        // The day may have been pruned. Verification examines that.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(&path, "read")(error)),
    };
    let stored = edge.levels().first().and_then(|hashes| hashes.last_chunk::<HASH>());
    if stored.is_some_and(|stored| bundle_hash(&entries).as_ref() != Some(stored)) {
        return Err(inconsistent(path, "the bundle has another hash than the tree"));
    }
    let mut rest = entries.as_slice();
    let last = std::iter::from_fn(|| layout::take_framed(&mut rest)).last();
    Ok(last.and_then(|leaf| decode_head(leaf).ok()).map(|head| head.kind))
}

/// Cuts off the incomplete frames at the end of the last journal.
fn cut_torn_end(files: &dyn FileOperations, path: &Path, replay: &Replay) -> Result<(), OpenLogError> {
    if replay.torn_bytes > 0 {
        let mut journal = files.open_journal(path).map_err(io_error(path, "repaired"))?;
        journal.truncate(replay.bytes).map_err(io_error(path, "repaired"))?;
    }
    Ok(())
}

/// Writes a journal of the format without tags again, with tags, and without an incomplete end. Returns its new length.
/// The file may have been replaced since it was checked, so it is compared with the last checkpoint again.
fn add_tags(
    folder: &Path,
    files: &dyn FileOperations,
    first: u64,
    tags: &JournalTags,
    checkpoints: &Checkpoints,
) -> Result<u64, OpenLogError> {
    let (path, mut reader, edge) = open_journal(folder, first)?;
    let mut content = journal::header(&edge, tags);
    let mut tree = RootFinder::new(edge);
    while let Some(entry) = reader.next().map_err(io_error(&path, "read"))? {
        journal::push_frame(&mut content, tree.size(), &entry, tags).map_err(io_error(&path, "repaired"))?;
        tree.push(&entry.leaf);
    }
    if tree.size() > 0 && !checkpoints.contains_key(&tree.size()) {
        return Err(inconsistent(path, "the journal was changed meanwhile"));
    }
    compare(checkpoints, tree.size(), || tree.root())?;
    write_durably(files, folder, &journal_path(first), &content).map_err(io_error(&path, "repaired"))?;
    Ok(content.len() as u64)
}

/// Reads the journals again and writes their full bundles.
fn publish_full(
    folder: &Path,
    files: &dyn FileOperations,
    firsts: &[u64],
    tags: &JournalTags,
    covered: u64,
) -> Result<Publisher, OpenLogError> {
    let (mut journals, edge) = Journals::open(folder, firsts, tags)?;
    let (mut publisher, mut steps) = (Publisher::new(edge), Vec::new());
    while let Some(entry) = journals.next()? {
        publisher.push(&entry);
        publisher.plan_full(&mut steps);
        for step in steps.drain(..) {
            step.take(files, folder).map_err(io_error(folder, "written"))?;
        }
    }
    journals.check_untagged(covered)?;
    Ok(publisher)
}
