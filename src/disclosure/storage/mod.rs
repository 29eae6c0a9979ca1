//! The files of the disclosure log: a journal for durability, and a Merkle tree in the format C2SP tlog-tiles for proof.
//!
//! An entry is durable when the journal is synced. Bundles, tiles and the signed checkpoint are written from memory
//! afterwards, without waiting for the disk; a journal is removed only when everything that was published from it survives a
//! power failure. After a crash the journal is published first.
//!
//! Invariants: a checkpoint covers only entries that are durable; the entries, once durable, are never changed; the
//! journal's header and the journal alone suffice to continue the tree. No checkpoint covers an entry that the holder of the
//! key file did not write: what a start publishes has a tag in the journal, or an earlier checkpoint covers it.

pub(crate) mod checkpoint;
mod details;
mod error;
mod file_thread;
mod files;
pub(crate) mod journal;
pub mod layout;
mod lock;
mod proof;
mod publication;
mod reader;
mod recovery;
pub(crate) mod tree;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

pub use checkpoint::PublishedCheckpoint;
pub use error::{OpenLogError, ReadError, WriteFailure};
pub(crate) use journal::JournalReader;
pub use lock::{is_open, read_origin};
pub(crate) use tree::RightEdge;

use file_thread::{FileStep, FileThread};
pub(super) use files::{FileOperations, JournalFile, SystemFiles};
use files::{remove_if_present, write_durably};
use layout::{BUNDLE, journal_path, kept_checkpoint_path};
use lock::{lock, prepare_origin};
use publication::Publisher;
pub use reader::LogReader;

use super::entry::Entry;
use crate::keys::LogSigner;

/// Size in bytes at which a new journal is begun.
const JOURNAL_BYTES: u64 = 32 << 20;

/// Maximum size in bytes of the entries that wait in memory for publication. Nothing is appended beyond it.
const MAX_UNPUBLISHED_BYTES: usize = 256 << 20;

/// The settings of a log's files.
#[derive(Debug)]
pub struct StorageSettings {
    /// The log's folder; it is created if it does not exist.
    pub folder: PathBuf,
    /// Signs the checkpoints and authenticates the journal; its origin is the log's.
    pub signer: LogSigner,
    /// Files outside the folder that may hold a checkpoint of the log.
    pub outside: Vec<PathBuf>,
}

/// The state in which a log was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Number of entries; 0 for a new log.
    pub size: u64,
    /// Index of the first entry of the last day; equal to `size` if that day has no entry yet.
    pub day_start: u64,
    /// Number of kept checkpoints.
    pub kept_checkpoints: u64,
    /// True if the last entry does not say that the log was closed.
    pub unclean: bool,
    /// Bytes of an incomplete write that were cut off.
    pub torn_bytes: u64,
}

/// The open journal.
struct OpenJournal {
    first: u64,
    bytes: u64,
    file: Box<dyn JournalFile>,
    unsynced: bool,
}

/// The files of a log, open for writing.
pub struct Storage {
    folder: PathBuf,
    files: Arc<dyn FileOperations>,
    signer: LogSigner,
    journal: OpenJournal,
    publisher: Publisher,
    /// Writes what is published. It ends before the lock is released.
    file_thread: FileThread,
    /// The lock on the origin, held as long as the log is open.
    _lock: File,
    size: u64,
    day_start: u64,
    /// Number of entries whose publication is planned.
    planned: u64,
    frames: Vec<u8>,
    journal_bytes: u64,
    max_unpublished: usize,
    failed: bool,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage")
            .field("folder", &self.folder)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Storage {
    /// Locks the folder, repairs what a crash left and publishes what the journal holds; or begins a new log.
    ///
    /// # Errors
    /// [`OpenLogError`]. An inconsistent log is not continued.
    pub fn open(settings: StorageSettings) -> Result<(Storage, Recovered), OpenLogError> {
        Storage::open_with(settings, Arc::new(SystemFiles))
    }

    pub(super) fn open_with(
        settings: StorageSettings,
        files: Arc<dyn FileOperations>,
    ) -> Result<(Storage, Recovered), OpenLogError> {
        let StorageSettings { folder, signer, outside } = settings;
        let io = |doing| {
            let path = folder.clone();
            move |source| OpenLogError::Io { path, doing, source }
        };
        files.create_folder(&folder).map_err(io("written"))?;
        let lock = lock(&folder).map_err(io("opened"))?.ok_or_else(|| OpenLogError::InUse(folder.clone()))?;
        prepare_origin(&folder, &lock, signer.origin(), &*files)?;
        for name in [layout::TEMPORARY, layout::DURABLE_TEMPORARY] {
            remove_if_present(&*files, &folder.join(name)).map_err(io("repaired"))?;
        }
        let found = recovery::recover(&folder, &*files, &signer, &outside)?;
        let path = folder.join(journal_path(found.first));
        let file = files.open_journal(&path).map_err(io("opened"))?;
        let journal = OpenJournal { first: found.first, bytes: found.bytes, file, unsynced: false };
        let mut storage = Storage {
            file_thread: FileThread::start(Arc::clone(&files), &folder).map_err(OpenLogError::Thread)?,
            folder: folder.clone(),
            _lock: lock,
            files,
            signer,
            journal,
            publisher: found.publisher,
            size: found.recovered.size,
            day_start: found.recovered.day_start,
            planned: 0,
            frames: Vec::new(),
            // No journal is begun before the earlier ones are removed: a journal reaches to the one that follows it.
            journal_bytes: u64::MAX,
            max_unpublished: MAX_UNPUBLISHED_BYTES,
            failed: false,
        };
        if storage.size > 0 {
            storage.publish().map_err(io("published"))?;
        }
        if !found.retired.is_empty() {
            let journals = found.retired.into_iter().map(|first| FileStep::Remove(journal_path(first)));
            storage
                .take_steps([FileStep::SyncEverything].into_iter().chain(journals))
                .map_err(io("repaired"))?;
        }
        storage.journal_bytes = JOURNAL_BYTES;
        if let Some(below) = found.pruned_below
            && let Err(error) = storage.take_steps([FileStep::Prune(below)])
        {
            tracing::warn!(%error, "expired days of the disclosure log could not be deleted yet");
        }
        Ok((storage, found.recovered))
    }

    /// Returns the number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the index of the first entry of the current day.
    pub fn day_start(&self) -> u64 {
        self.day_start
    }

    /// Returns the number of entries that the last checkpoint covers.
    pub fn published(&self) -> u64 {
        self.checkpoint().map_or(0, |published| published.size)
    }

    /// Returns the last published checkpoint.
    pub fn checkpoint(&self) -> Option<PublishedCheckpoint> {
        self.file_thread.published()
    }

    /// Returns the number of entries whose publication is complete or under way.
    pub fn planned(&self) -> u64 {
        self.planned
    }

    /// True if so much waits for publication that nothing can be appended.
    pub fn is_behind(&self) -> bool {
        self.publisher.waiting_bytes() + self.file_thread.waiting_bytes() >= self.max_unpublished
    }

    /// Sets the number of bytes that may wait for publication.
    #[cfg(test)]
    pub(super) fn limit_unpublished(&mut self, bytes: usize) {
        self.max_unpublished = bytes;
    }

    /// Appends entries: all of them or none. They are durable after the next [`Storage::sync`].
    ///
    /// # Errors
    /// [`WriteFailure`]. After a permanent failure nothing can be appended any more. While publication fails, memory grows;
    /// beyond a limit the entries are refused as if they had been rolled back.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), WriteFailure> {
        self.check_state().map_err(WriteFailure::Permanent)?;
        if entries.is_empty() {
            return Ok(());
        }
        if self.is_behind() {
            let error = io::Error::other("too much waits for its publication");
            return Err(WriteFailure::RolledBack(error));
        }
        self.frames.clear();
        for (index, entry) in (self.size..).zip(entries) {
            journal::push_frame(&mut self.frames, index, entry, self.signer.journal_tags())
                .map_err(WriteFailure::RolledBack)?;
        }
        if let Err(error) = self.journal.file.write(&self.frames) {
            return Err(match self.journal.file.truncate(self.journal.bytes) {
                Ok(()) => WriteFailure::RolledBack(error),
                Err(_) => {
                    self.failed = true;
                    WriteFailure::Permanent(error)
                }
            });
        }
        self.journal.unsynced = true;
        self.journal.bytes += self.frames.len() as u64;
        self.size += entries.len() as u64;
        entries.iter().for_each(|entry| self.publisher.push(entry));
        Ok(())
    }

    /// Checks that so many bytes can be written, and removes them again.
    ///
    /// # Errors
    /// [`WriteFailure`].
    pub fn check_room(&mut self, bytes: usize) -> Result<(), WriteFailure> {
        self.check_state().map_err(WriteFailure::Permanent)?;
        let written = self.journal.file.write(&vec![0; bytes]);
        if let Err(error) = self.journal.file.truncate(self.journal.bytes) {
            self.failed = true;
            return Err(WriteFailure::Permanent(error));
        }
        written.map_err(WriteFailure::RolledBack)
    }

    /// Waits until every entry survives a power failure.
    ///
    /// # Errors
    /// The system's error. Entries may be lost then, and nothing can be appended any more.
    pub fn sync(&mut self) -> io::Result<()> {
        self.check_state()?;
        if self.journal.unsynced {
            self.journal.file.sync().inspect_err(|_| self.failed = true)?;
            self.journal.unsynced = false;
        }
        Ok(())
    }

    /// Begins to publish every entry, and does not wait for the files. Syncs the journal first if necessary.
    ///
    /// # Errors
    /// The system's error, also one of an earlier publication, which is repeated with this one.
    pub fn publish_later(&mut self) -> io::Result<()> {
        // A checkpoint that covers entries which a power failure removes would contradict the log afterwards.
        self.sync()?;
        let mut steps = Vec::new();
        if self.planned != self.size {
            self.planned = self.publisher.plan(&self.signer, &mut steps)?;
        }
        self.file_thread.add(steps)?;
        if self.journal.bytes >= self.journal_bytes
            && !self.file_thread.is_to_sync()
            && let Err(error) = self.rotate()
        {
            tracing::warn!(%error, "no new journal of the disclosure log could be begun; the old one is continued");
        }
        Ok(())
    }

    /// True if a bundle is full and its publication has not begun.
    pub fn has_full_bundle(&self) -> bool {
        self.publisher.has_full()
    }

    /// Begins to publish the full bundles, and does not wait for the files. Syncs the journal first if necessary.
    ///
    /// # Errors
    /// As for [`Storage::publish_later`].
    pub fn publish_bundles_later(&mut self) -> io::Result<()> {
        self.sync()?;
        let mut steps = Vec::new();
        if self.publisher.has_full() {
            self.planned = self.publisher.plan_bundles(&self.signer, &mut steps)?;
        }
        self.file_thread.add(steps)
    }

    /// Publishes every entry: writes bundles, tiles and the signed checkpoint. Syncs the journal first if necessary.
    ///
    /// # Errors
    /// The system's error. The entries are in the journal, and publication can be repeated.
    pub fn publish(&mut self) -> io::Result<PublishedCheckpoint> {
        self.publish_later()?;
        self.file_thread.finish()?;
        self.checkpoint().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the log is empty"))
    }

    /// Publishes the log and keeps its checkpoint for good. The size must be a multiple of [`BUNDLE`]. The next entry is
    /// the first one of a new day.
    ///
    /// # Errors
    /// The system's error. The end of the day can be repeated.
    pub fn end_day(&mut self) -> io::Result<PublishedCheckpoint> {
        if self.size == 0 || !self.size.is_multiple_of(BUNDLE) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a day ends with a full bundle"));
        }
        let published = self.publish()?;
        write_durably(
            &*self.files,
            &self.folder,
            &kept_checkpoint_path(self.size),
            published.note.as_bytes(),
        )?;
        self.day_start = self.size;
        Ok(published)
    }

    /// Deletes the bundles and the tiles of level 0 below a kept checkpoint. The entry that says so must have been appended;
    /// it is durable and published before anything is deleted.
    ///
    /// # Errors
    /// The system's error. The rest is deleted with a later publication, or at the next start.
    pub fn prune(&mut self, below: u64) -> io::Result<()> {
        let kept = self.folder.join(kept_checkpoint_path(below));
        if !below.is_multiple_of(BUNDLE) || below > self.size || !kept.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no checkpoint is kept at this size"));
        }
        self.publish()?;
        self.take_steps([FileStep::SyncEverything, FileStep::Prune(below)])
    }

    /// Returns the number of details among these entries that can be deleted and were not. The entries are of earlier days.
    ///
    /// # Errors
    /// The system's error, also for entries of the current day.
    pub fn count_details(&self, entries: &Range<u64>) -> io::Result<u64> {
        self.check_earlier(entries)?;
        details::count(&self.folder, entries)
    }

    /// Deletes the details about exchanges, acts and notices among these entries of earlier days. The entry that says so must
    /// have been appended; it is durable and published before anything is deleted.
    ///
    /// # Errors
    /// The system's error. The deletion can be repeated.
    pub fn delete_details(&mut self, entries: Range<u64>) -> io::Result<()> {
        self.check_earlier(&entries)?;
        self.publish()?;
        // The journal that begins now holds no entry of an earlier day; the one before is removed.
        self.rotate()?;
        self.take_steps([
            FileStep::SyncEverything,
            FileStep::DeleteDetails(entries),
            FileStep::SyncEverything,
        ])
    }

    fn check_earlier(&self, entries: &Range<u64>) -> io::Result<()> {
        if entries.end > self.day_start {
            let error = "details of the current day cannot be deleted";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        Ok(())
    }

    /// Publishes everything and leaves a journal that holds no more than the last, incomplete bundle.
    ///
    /// # Errors
    /// The system's error. The next start publishes what the journals hold.
    pub fn close(mut self) -> io::Result<()> {
        if self.size > 0 {
            self.publish()?;
        }
        self.rotate()?;
        self.take_steps([FileStep::SyncEverything])
    }

    fn take_steps(&self, steps: impl IntoIterator<Item = FileStep>) -> io::Result<()> {
        self.file_thread.add(steps)?;
        self.file_thread.finish()
    }

    fn check_state(&self) -> io::Result<()> {
        if self.failed || self.file_thread.has_failed() {
            return Err(io::Error::other("the disclosure log has failed"));
        }
        Ok(())
    }

    /// Begins a new journal with the entries of the open bundle. The publication of everything must be planned. The old
    /// journal is removed when what was published survives a power failure.
    fn rotate(&mut self) -> io::Result<()> {
        let first = self.publisher.edge().bundles() * BUNDLE;
        if first == self.journal.first {
            return Ok(());
        }
        let mut content = journal::header(self.publisher.edge(), self.signer.journal_tags());
        for (index, entry) in (first..).zip(self.publisher.open_entries()) {
            journal::push_frame(&mut content, index, &entry, self.signer.journal_tags())?;
        }
        let name = journal_path(first);
        let path = self.folder.join(&name);
        let begun = write_durably(&*self.files, &self.folder, &name, &content)
            .and_then(|()| self.files.open_journal(&path));
        let file = match begun {
            Ok(file) => file,
            Err(error) => {
                // A journal that begins last must hold the end of the log.
                if remove_if_present(&*self.files, &path).is_err() {
                    self.failed = true;
                }
                return Err(error);
            }
        };
        let bytes = content.len() as u64;
        let old = std::mem::replace(&mut self.journal, OpenJournal { first, bytes, file, unsynced: false });
        self.file_thread.add([FileStep::SyncEverything, FileStep::Remove(journal_path(old.first))])
    }
}
