//! Reads the entries of a log, also while a process writes it.
//!
//! Published entries are read from bundles, the later ones from the journal. Invariant: what a reader has seen below
//! [`LogReader::published`] never changes; the entries after that are those of the last refresh.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use tlog_tiles::{RecordProof, TreeProof};

use super::checkpoint::PublishedCheckpoint;
use super::error::ReadError;
use super::journal::JournalReader;
use super::layout::{
    self, BUNDLE, CHECKPOINT, JOURNALS, KEPT_CHECKPOINTS, MAX_BUNDLE_BYTES, MAX_NOTE_BYTES, ORIGIN,
    details_path, entries_path, journal_path, kept_checkpoint_path, read_bounded,
};
use super::lock::read_origin;
use super::proof::TileHashes;
use crate::disclosure::entry::{Entry, EntryKind, decode_head};

/// Maximum number of bundles that a reader keeps in memory.
const MAX_BUNDLES: usize = 4;

/// Maximum size of these bundles in bytes, if they are more than one. A gateway that answers for many people at once writes
/// bundles of half a mebibyte and more, and keeps a reader for its index as long as it runs.
const MAX_BUNDLE_MEMORY: usize = 1 << 20;

/// Number of attempts to read a log that changes meanwhile.
const ATTEMPTS: usize = 20;

/// The entries of a bundle in memory, as they are in the files.
#[derive(Debug)]
struct LoadedBundle {
    number: u64,
    leaves: Vec<u8>,
    details: Vec<u8>,
    /// The offsets of each entry in `leaves` and in `details`.
    offsets: Vec<(usize, usize)>,
}

impl LoadedBundle {
    /// Finds the entries in the contents of both files. `None` if one of them is not complete.
    fn parse(number: u64, leaves: Vec<u8>, details: Vec<u8>) -> Option<LoadedBundle> {
        let mut offsets = Vec::with_capacity(BUNDLE as usize);
        let (mut rest_of_leaves, mut rest_of_details) = (leaves.as_slice(), details.as_slice());
        while !rest_of_leaves.is_empty() {
            offsets.push((leaves.len() - rest_of_leaves.len(), details.len() - rest_of_details.len()));
            layout::take_framed(&mut rest_of_leaves)?;
            layout::take_framed(&mut rest_of_details)?;
        }
        rest_of_details.is_empty().then_some(LoadedBundle { number, leaves, details, offsets })
    }

    fn width(&self) -> u64 {
        self.offsets.len() as u64
    }

    fn bytes(&self) -> usize {
        self.leaves.len() + self.details.len()
    }

    fn entry(&self, place: usize) -> Option<Entry> {
        let (leaf, detail) = *self.offsets.get(place)?;
        let (mut leaves, mut details) = (self.leaves.get(leaf..)?, self.details.get(detail..)?);
        let (leaf, detail) = (layout::take_framed(&mut leaves)?, layout::take_framed(&mut details)?);
        Some(Entry { leaf: leaf.to_vec(), detail: detail.to_vec() })
    }
}

/// A place in a journal from which reading can continue.
#[derive(Clone, Copy, Debug)]
struct JournalPlace {
    first: u64,
    index: u64,
    offset: u64,
}

/// Reads the folder of a log.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    origin: String,
    begin: u64,
    checkpoint: Option<PublishedCheckpoint>,
    days: Vec<u64>,
    /// The first entry of the day in which `begin` lies.
    first_day: u64,
    /// The last day whose first entry was compared with the number of kept checkpoints, and this number.
    counted: Option<(u64, u64)>,
    /// The entries that are not published.
    tail: Vec<Entry>,
    place: Option<JournalPlace>,
    bundles: VecDeque<LoadedBundle>,
}

impl LogReader {
    /// Opens the log in a folder.
    ///
    /// # Errors
    /// [`ReadError`], also if there is no log.
    pub fn open(folder: &Path) -> Result<LogReader, ReadError> {
        let missing = || ReadError::io(&folder.join(ORIGIN))(io::ErrorKind::NotFound.into());
        LogReader::open_if_begun(folder)?.ok_or_else(missing)
    }

    /// Opens the log in a folder; `None` if the folder does not exist, or has no log of this version.
    ///
    /// # Errors
    /// [`ReadError`], also if there is a part of a log.
    pub fn open_if_begun(folder: &Path) -> Result<Option<LogReader>, ReadError> {
        let path = folder.join(ORIGIN);
        let origin = read_origin(folder).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => ReadError::Damaged(path.clone()),
            _ => ReadError::io(&path)(error),
        })?;
        let Some(origin) = origin else { return Ok(None) };
        let mut reader = LogReader {
            folder: folder.to_owned(),
            origin,
            begin: 0,
            checkpoint: None,
            days: Vec::new(),
            first_day: 0,
            counted: None,
            tail: Vec::new(),
            place: None,
            bundles: VecDeque::new(),
        };
        reader.refresh()?;
        Ok(Some(reader))
    }

    /// Returns the log's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the log's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of entries, those that are not published included.
    pub fn size(&self) -> u64 {
        self.published() + self.tail.len() as u64
    }

    /// Returns the index of the first entry that was not pruned.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// Returns the number of entries that the checkpoint covers.
    pub fn published(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size)
    }

    /// Returns the last checkpoint. Its signatures are not checked.
    pub fn checkpoint(&self) -> Option<&PublishedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// Returns the index of the first entry of each day that was not pruned, in ascending order.
    pub fn days(&self) -> &[u64] {
        &self.days
    }

    /// Returns the index of the first entry of the day in which an entry lies. While a day is being pruned, or after a crash
    /// in between, its first entry may not exist any more: names that were defined there cannot be read.
    pub fn day_start_of(&self, index: u64) -> u64 {
        let after = self.days.partition_point(|start| *start <= index);
        after.checked_sub(1).and_then(|day| self.days.get(day)).copied().unwrap_or(self.first_day)
    }

    /// Reads what was written since.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.refresh_once() {
                // A file was renamed or removed between two steps.
                Err(ReadError::Damaged(_)) if attempts < ATTEMPTS => std::thread::yield_now(),
                Err(error) if error.is_missing() && attempts < ATTEMPTS => std::thread::yield_now(),
                refreshed => return refreshed,
            }
        }
    }

    fn refresh_once(&mut self) -> Result<(), ReadError> {
        let checkpoint = self.read_checkpoint()?;
        let published = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        if self.checkpoint != checkpoint || self.place.is_none() {
            self.begin = self.find_begin(published)?;
        }
        let (place, later) = self.find_place(published)?;
        let tail = self.read_tail(place, &later)?;
        (self.checkpoint, self.place, self.tail) = (checkpoint, Some(place), tail);
        // The last bundle may have grown.
        self.bundles.retain(|bundle| bundle.width() == BUNDLE);
        self.find_days()
    }

    /// Finds the days. The checkpoint with which a day begins is written before the day's first entry, so the checkpoints of
    /// all entries that were read are there.
    fn find_days(&mut self) -> Result<(), ReadError> {
        let folder = self.folder.join(KEPT_CHECKPOINTS);
        let kept = layout::list_numbers(&folder, layout::parse_size).map_err(ReadError::io(&folder))?;
        let (begin, size) = (self.begin, self.size());
        let starts = [0].into_iter().chain(kept.iter().copied());
        self.first_day = starts.clone().filter(|start| *start <= begin).max().unwrap_or(0);
        self.days = starts.filter(|start| (begin..size).contains(start)).collect();
        for (index, entry) in (self.published()..).zip(&self.tail) {
            self.check_day_of(index, &entry.leaf)?;
        }
        let Some(last) = self.days.last().copied().or((begin < size).then_some(begin)) else { return Ok(()) };
        let up_to_last = kept.iter().filter(|start| **start <= last).count() as u64;
        if self.counted == Some((last, up_to_last)) {
            return Ok(());
        }
        let first = self.first_entry(last)?;
        let stated = first.as_ref().and_then(|entry| decode_head(&entry.leaf).ok());
        if stated.is_some_and(|head| head.kind == EntryKind::Day && head.checkpoints != up_to_last) {
            return Err(ReadError::Damaged(folder));
        }
        self.counted = Some((last, up_to_last));
        Ok(())
    }

    /// Checks that the checkpoint with which a day begins is there, if this is the first entry of a day. Without it, the
    /// entries of the day would count as those of the day before: under other dates, with other names and pseudonyms.
    fn check_day_of(&self, index: u64, leaf: &[u8]) -> Result<(), ReadError> {
        let is_known = !index.is_multiple_of(BUNDLE) || index < self.begin || self.days.contains(&index);
        if !is_known && decode_head(leaf).is_ok_and(|head| head.kind == EntryKind::Day) {
            return Err(ReadError::Damaged(self.folder.join(kept_checkpoint_path(index))));
        }
        Ok(())
    }

    /// Checks that no day begins after the last known one. Only the process that writes the log calls it: the files of another
    /// process's log may change meanwhile.
    pub(in crate::disclosure) fn check_last_day(&self) -> Result<(), ReadError> {
        let last = self.days.last().copied().unwrap_or(self.begin);
        for number in last / BUNDLE + 1..self.published().div_ceil(BUNDLE) {
            let path = self.folder.join(entries_path(number, self.width(number)));
            let leaf = layout::read_first_framed(&path).map_err(ReadError::io(&path))?;
            self.check_day_of(number * BUNDLE, &leaf)?;
        }
        Ok(())
    }

    /// Returns the first entry of a day.
    fn first_entry(&mut self, first: u64) -> Result<Option<Entry>, ReadError> {
        let place = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        match first.checked_sub(self.published()) {
            Some(index) => Ok(self.tail.get(place(index)).cloned()),
            None => Ok(self.bundle(first / BUNDLE)?.entry(place(first % BUNDLE))),
        }
    }

    fn read_checkpoint(&self) -> Result<Option<PublishedCheckpoint>, ReadError> {
        let path = self.folder.join(CHECKPOINT);
        match read_bounded(&path, MAX_NOTE_BYTES) {
            Ok(note) => match PublishedCheckpoint::parse(&note).filter(|found| found.origin == self.origin) {
                Some(checkpoint) => Ok(Some(checkpoint)),
                None => Err(ReadError::Damaged(path)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReadError::io(&path)(error)),
        }
    }

    /// Returns the first entry that was not pruned. Without a full bundle that is the first entry of the open one.
    fn find_begin(&self, published: u64) -> Result<u64, ReadError> {
        let known = self.folder.join(entries_path(self.begin / BUNDLE, BUNDLE));
        if self.place.is_some() && known.exists() {
            return Ok(self.begin);
        }
        let first =
            layout::first_bundle(&self.folder.join(layout::ENTRIES)).map_err(ReadError::io(&self.folder))?;
        Ok(first.map_or(published - published % BUNDLE, |first| first.saturating_mul(BUNDLE)))
    }

    /// Reads the entries from a place to the end, through this journal and the later ones.
    fn read_tail(&self, place: JournalPlace, later: &[u64]) -> Result<Vec<Entry>, ReadError> {
        let path = self.folder.join(journal_path(place.first));
        let mut journal =
            JournalReader::open_at(&path, place.index, place.offset).map_err(ReadError::io(&path))?;
        let mut tail = read_to_end(&mut journal, &path)?;
        for first in later {
            let path = self.folder.join(journal_path(*first));
            let mut next = self.open_journal(*first)?;
            while next.index() < journal.index() && next.skip().map_err(ReadError::io(&path))? {}
            // An earlier journal reaches to the next one. The rest of that one may not be visible yet.
            if next.index() == journal.index() {
                tail.extend(read_to_end(&mut next, &path)?);
                journal = next;
            }
        }
        Ok(tail)
    }

    fn open_journal(&self, first: u64) -> Result<JournalReader, ReadError> {
        let path = self.folder.join(journal_path(first));
        let opened = JournalReader::open(&path).map_err(ReadError::io(&path))?;
        let journal = opened.map(|(journal, _)| journal).filter(|journal| journal.index() == first);
        journal.ok_or(ReadError::Damaged(path))
    }

    /// Returns the place of the first entry in the journals that is not published, and the journals after that place.
    fn find_place(&self, published: u64) -> Result<(JournalPlace, Vec<u64>), ReadError> {
        let folder = self.folder.join(JOURNALS);
        let firsts =
            layout::list_numbers(&folder, layout::parse_journal_name).map_err(ReadError::io(&folder))?;
        let (before, later) = firsts.split_at(firsts.partition_point(|first| *first <= published));
        let first = *before.last().ok_or(ReadError::Damaged(folder))?;
        let path = self.folder.join(journal_path(first));
        let known = self.place.filter(|place| place.first == first && place.index <= published);
        let mut journal = match known {
            Some(place) => {
                JournalReader::open_at(&path, place.index, place.offset).map_err(ReadError::io(&path))?
            }
            None => self.open_journal(first)?,
        };
        while journal.index() < published {
            if !journal.skip().map_err(ReadError::io(&path))? {
                return Err(ReadError::Damaged(path));
            }
        }
        let place = JournalPlace { first, index: journal.index(), offset: journal.offset() };
        Ok((place, later.to_vec()))
    }

    /// Returns an entry; `None` if it does not exist, or was pruned.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entry(&mut self, index: u64) -> Result<Option<Entry>, ReadError> {
        if index < self.begin || index >= self.size() {
            return Ok(None);
        }
        let published = self.published();
        if let Some(place) = index.checked_sub(published) {
            return Ok(usize::try_from(place).ok().and_then(|place| self.tail.get(place)).cloned());
        }
        let place = usize::try_from(index % BUNDLE).unwrap_or(usize::MAX);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.bundle(index / BUNDLE) {
                Ok(bundle) => return Ok(bundle.entry(place)),
                // The bundle has grown, or was pruned.
                Err(error) if error.is_missing() && attempts < ATTEMPTS => {
                    self.refresh()?;
                    self.begin = self.find_begin(self.published())?;
                    if index < self.begin {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the entries from an index to the end, with their indexes.
    pub fn entries(&mut self, from: u64) -> impl Iterator<Item = Result<(u64, Entry), ReadError>> {
        let mut next = from.max(self.begin);
        std::iter::from_fn(move || {
            let entry = self.entry(next).transpose()?;
            let index = next;
            next += 1;
            Some(entry.map(|entry| (index, entry)))
        })
    }

    fn bundle(&mut self, number: u64) -> Result<&LoadedBundle, ReadError> {
        let found = self.bundles.iter().position(|bundle| bundle.number == number);
        let bundle = match found.and_then(|place| self.bundles.remove(place)) {
            Some(bundle) => bundle,
            None => self.load(number)?,
        };
        self.bundles.push_front(bundle);
        while self.bundles.len() > 1
            && (self.bundles.len() > MAX_BUNDLES || self.bundle_bytes() > MAX_BUNDLE_MEMORY)
        {
            self.bundles.pop_back();
        }
        self.bundles.front().ok_or_else(|| ReadError::Damaged(self.folder.clone()))
    }

    fn load(&self, number: u64) -> Result<LoadedBundle, ReadError> {
        let width = self.width(number);
        let read = |name: String| {
            let path = self.folder.join(name);
            read_bounded(&path, MAX_BUNDLE_BYTES).map_err(ReadError::io(&path))
        };
        let (leaves, details) = (read(entries_path(number, width))?, read(details_path(number, width))?);
        let bundle = LoadedBundle::parse(number, leaves, details).filter(|bundle| bundle.width() == width);
        let bundle =
            bundle.ok_or_else(|| ReadError::Damaged(self.folder.join(entries_path(number, width))))?;
        if let Some(first) = bundle.entry(0) {
            self.check_day_of(number * BUNDLE, &first.leaf)?;
        }
        Ok(bundle)
    }

    /// Returns the number of published entries in a bundle.
    fn width(&self, number: u64) -> u64 {
        self.published().saturating_sub(number * BUNDLE).min(BUNDLE)
    }

    fn bundle_bytes(&self) -> usize {
        self.bundles.iter().map(LoadedBundle::bytes).sum()
    }

    /// Returns the root of the tree at a size up to [`LogReader::published`].
    ///
    /// # Errors
    /// [`ReadError`], also if the tiles are pruned.
    pub fn root(&self, size: u64) -> Result<[u8; 32], ReadError> {
        TileHashes::new(&self.folder).root(size)
    }

    /// Proves that an entry is in the tree of a size up to [`LogReader::published`].
    ///
    /// # Errors
    /// [`ReadError`], also if the entry was pruned.
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<RecordProof, ReadError> {
        TileHashes::new(&self.folder).prove_inclusion(index, size)
    }

    /// Proves that the tree of a size up to [`LogReader::published`] continues that of an earlier size, which is not 0.
    ///
    /// # Errors
    /// [`ReadError`], also if the tiles are pruned.
    pub fn prove_consistency(&self, earlier: u64, size: u64) -> Result<TreeProof, ReadError> {
        TileHashes::new(&self.folder).prove_consistency(earlier, size)
    }
}

fn read_to_end(journal: &mut JournalReader, path: &Path) -> Result<Vec<Entry>, ReadError> {
    let mut entries = Vec::new();
    while let Some(entry) = journal.next().map_err(ReadError::io(path))? {
        entries.push(entry);
    }
    check_end(journal, path)?;
    Ok(entries)
}

/// Checks that nothing follows the last entry but a write that was interrupted, or one that is under way.
fn check_end(journal: &JournalReader, path: &Path) -> Result<(), ReadError> {
    let length = path.metadata().map_err(ReadError::io(path))?.len();
    if length <= journal.offset()
        || journal.frame_behind(path, length).map_err(ReadError::io(path))?.is_none()
    {
        return Ok(());
    }
    // The write may have been under way when the frame was read.
    let again = JournalReader::open_at(path, journal.index(), journal.offset());
    match again.and_then(|mut journal| journal.next()).map_err(ReadError::io(path))? {
        Some(_) => Ok(()),
        None => Err(ReadError::Damaged(path.to_owned())),
    }
}
