//! The files of the disclosure log: a journal for durability, and a Merkle tree in the format C2SP tlog-tiles for proof.
//!
//! An entry is durable when the journal is synced. Bundles, tiles and the signed checkpoint are written from memory
//! afterwards, without waiting for the disk; a journal is removed only when everything that was published from it survives a
//! power failure. After a crash the journal is published first.
//!
//! Invariants: a checkpoint covers only entries that are durable; the entries, once durable, are never changed; the
//! journal's header and the journal alone suffice to continue the tree.

pub(crate) mod checkpoint;
mod files;
pub(crate) mod journal;
pub mod layout;
mod proof;
mod publication;
mod reader;
mod recovery;
pub(crate) mod tree;

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use checkpoint::PublishedCheckpoint;
pub(crate) use journal::JournalReader;
pub(crate) use tree::RightEdge;

pub(super) use files::{FileOperations, JournalFile, SystemFiles};
use files::{remove_if_present, write_durably};
use layout::{
    BUNDLE, KEPT_CHECKPOINTS, MAX_ORIGIN_BYTES, ORIGIN, details_path, entries_path, journal_path,
    kept_checkpoint_path, tile_path,
};
use publication::Publisher;
pub use reader::{LogReader, ReadError};

use super::entry::Entry;
use crate::keys::LogSigner;

/// Size in bytes at which a new journal is begun.
const JOURNAL_BYTES: u64 = 32 << 20;

/// Maximum size in bytes of the entries that wait in memory for publication. Nothing is appended beyond it.
const MAX_UNPUBLISHED_BYTES: usize = 256 << 20;

/// Number of attempts to lock a log, and the time between two.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// A failed write: one that can be retried, or one that cannot.
#[derive(Debug, thiserror::Error)]
pub enum WriteFailure {
    /// The write was undone and everything before it is intact: it can be retried.
    #[error("the write was undone")]
    RolledBack(#[source] io::Error),
    /// The content of the disk is not what was intended, or may not be.
    #[error("the log may be incomplete on disk")]
    Permanent(#[source] io::Error),
}

/// An error that keeps a log from being opened. The messages name files.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Another process writes the log.
    #[error("the disclosure log {folder} is open in another process", folder = .0.display())]
    InUse(PathBuf),
    /// A file or folder cannot be read or written.
    #[error("the disclosure log cannot be {doing} at {path}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failed action, as a past participle ("read").
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The files contradict each other, or a checkpoint.
    #[error(
        "the disclosure log is inconsistent at {file}: {problem}. Examine it with `purposegate audit verify`, then move the folder away to begin a new log",
        file = .file.display()
    )]
    Inconsistent {
        /// The file that contradicts the others.
        file: PathBuf,
        /// The contradiction.
        problem: &'static str,
    },
    /// A checkpoint is signed with another key.
    #[error("the disclosure log was written with other keys ({file}): restore its key file", file = .0.display())]
    OtherKeys(PathBuf),
    /// Recipients have received pseudonyms under another pseudonym key.
    #[error(
        "fields were released under another pseudonym key than the key file's ({folder}): restore the key file, or move the folder away to begin a new log, with new pseudonyms",
        folder = .0.display()
    )]
    OtherPseudonyms(PathBuf),
    /// The configured origin is not the name of a key.
    #[error("a disclosure log cannot have the origin `{0}`")]
    BadOrigin(String),
    /// The random part of the origin cannot be generated.
    #[error("the operating system provides no random bytes")]
    Random(#[source] getrandom::Error),
    /// The thread that writes the log cannot be started.
    #[error("the log's thread cannot be started")]
    Thread(#[source] io::Error),
    /// The log of an earlier version in the folder cannot be moved aside.
    #[error(transparent)]
    Former(#[from] super::former::FormerLogError),
    /// The log has another origin than the one that is configured.
    #[error("the disclosure log {folder} has the origin {found}, not {expected}", folder = .folder.display())]
    OtherOrigin {
        /// The log's folder.
        folder: PathBuf,
        /// The origin in the folder.
        found: String,
        /// The expected origin.
        expected: String,
    },
}

/// The settings of a log's files.
#[derive(Debug)]
pub struct StorageSettings {
    /// The log's folder; it is created if it does not exist.
    pub folder: PathBuf,
    /// Signs the checkpoints; its origin is the log's.
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

/// Journals that are removed when what was published from them survives a power failure.
struct RetiringJournals {
    paths: Vec<PathBuf>,
    sync: JoinHandle<io::Result<()>>,
}

/// The files of a log, open for writing.
pub struct Storage {
    folder: PathBuf,
    /// The lock on the origin, held as long as the log is open.
    _lock: File,
    files: Arc<dyn FileOperations>,
    signer: LogSigner,
    journal: OpenJournal,
    retiring: Option<RetiringJournals>,
    /// The size below which bundles are to be deleted and may still exist.
    unfinished_pruning: Option<u64>,
    /// Journals that are not needed and could not be removed yet, in order.
    unneeded: Vec<PathBuf>,
    publisher: Publisher,
    size: u64,
    day_start: u64,
    published: Option<PublishedCheckpoint>,
    frames: Vec<u8>,
    journal_bytes: u64,
    max_unpublished: usize,
    failed: bool,
}

impl From<ReadError> for OpenLogError {
    fn from(error: ReadError) -> OpenLogError {
        match error {
            ReadError::Io { path, source } => OpenLogError::Io { path, doing: "read", source },
            ReadError::Output(source) => OpenLogError::Io { path: PathBuf::new(), doing: "read", source },
            ReadError::Damaged(file) | ReadError::OtherKeys(file) | ReadError::Empty(file) => {
                OpenLogError::Inconsistent { file, problem: "the file is missing or damaged" }
            }
        }
    }
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
        remove_if_present(&*files, &folder.join(layout::TEMPORARY)).map_err(io("repaired"))?;
        let found = recovery::recover(&folder, &*files, &signer, &outside)?;
        let path = folder.join(journal_path(found.first));
        let file = files.open_journal(&path).map_err(io("opened"))?;
        let journal = OpenJournal { first: found.first, bytes: found.bytes, file, unsynced: false };
        let mut storage = Storage {
            folder: folder.clone(),
            _lock: lock,
            files,
            signer,
            journal,
            retiring: None,
            unfinished_pruning: found.pruned_below,
            unneeded: Vec::new(),
            publisher: found.publisher,
            size: found.recovered.size,
            day_start: found.recovered.day_start,
            published: None,
            frames: Vec::new(),
            journal_bytes: JOURNAL_BYTES,
            max_unpublished: MAX_UNPUBLISHED_BYTES,
            failed: false,
        };
        if storage.size > 0 {
            storage.publish_all().map_err(io("published"))?;
        }
        storage.retire_now(found.retired).map_err(io("repaired"))?;
        storage.retry_pruning();
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
        self.published.as_ref().map_or(0, |published| published.size)
    }

    /// Returns the last published checkpoint.
    pub fn checkpoint(&self) -> Option<&PublishedCheckpoint> {
        self.published.as_ref()
    }

    /// True if so much waits for publication that nothing can be appended.
    pub fn is_behind(&self) -> bool {
        self.publisher.waiting_bytes() >= self.max_unpublished
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
            journal::push_frame(&mut self.frames, index, entry).map_err(WriteFailure::RolledBack)?;
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

    /// Publishes every entry: writes bundles, tiles and the signed checkpoint. Syncs the journal first if necessary.
    ///
    /// # Errors
    /// The system's error. The entries are in the journal, and publication can be repeated.
    pub fn publish(&mut self) -> io::Result<PublishedCheckpoint> {
        let published = self.publish_all()?;
        self.finish_retiring(false)?;
        self.retry_pruning();
        if self.journal.bytes >= self.journal_bytes
            && self.retiring.is_none()
            && let Err(error) = self.rotate()
        {
            tracing::warn!(%error, "no new journal of the disclosure log could be begun; the old one is continued");
        }
        Ok(published)
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
    /// The system's error. What is left is deleted with a later publication, or at the next start.
    pub fn prune(&mut self, below: u64) -> io::Result<()> {
        let kept = self.folder.join(kept_checkpoint_path(below));
        if !below.is_multiple_of(BUNDLE) || below > self.size || !kept.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no checkpoint is kept at this size"));
        }
        self.unfinished_pruning = Some(below);
        self.publish_all()?;
        self.finish_pruning()
    }

    /// Publishes everything and leaves a journal that holds no more than the last, incomplete bundle.
    ///
    /// # Errors
    /// The system's error. The next start publishes what the journals hold.
    pub fn close(mut self) -> io::Result<()> {
        if self.size > 0 {
            self.publish_all()?;
        }
        self.finish_retiring(true)?;
        self.rotate()?;
        self.finish_retiring(true)?;
        self.files.sync_everything(&self.folder)
    }

    fn check_state(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("the disclosure log has failed")) } else { Ok(()) }
    }

    fn publish_all(&mut self) -> io::Result<PublishedCheckpoint> {
        // A checkpoint that covers entries which a power failure removes would contradict the log afterwards.
        self.sync()?;
        match &self.published {
            Some(published) if published.size == self.size => Ok(published.clone()),
            _ => {
                let published = self.publisher.publish(&*self.files, &self.folder, &self.signer)?;
                self.published = Some(published.clone());
                Ok(published)
            }
        }
    }

    /// Begins a new journal with the entries of the open bundle. Everything must have been published. The old journal is
    /// removed when what was published survives a power failure; a thread waits for that.
    fn rotate(&mut self) -> io::Result<()> {
        let first = self.publisher.edge().bundles() * BUNDLE;
        // The entry that says what was pruned stays in the journal until everything below is deleted.
        if first == self.journal.first || self.unfinished_pruning.is_some() {
            return Ok(());
        }
        let mut content = journal::header(self.publisher.edge());
        for (index, entry) in (first..).zip(self.publisher.open_entries()) {
            journal::push_frame(&mut content, index, &entry)?;
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
        let (files, folder) = (Arc::clone(&self.files), self.folder.clone());
        let sync = std::thread::Builder::new()
            .name("disclosure-sync".to_owned())
            .spawn(move || files.sync_everything(&folder))?;
        let mut paths = std::mem::take(&mut self.unneeded);
        paths.push(self.folder.join(journal_path(old.first)));
        self.retiring = Some(RetiringJournals { paths, sync });
        Ok(())
    }

    /// Removes the old journals if their content is known to survive a power failure.
    fn finish_retiring(&mut self, wait: bool) -> io::Result<()> {
        let Some(retiring) = self.retiring.take_if(|retiring| wait || retiring.sync.is_finished()) else {
            return Ok(());
        };
        let synced = retiring.sync.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
        // The system may have dropped what it could not write, and says so only once.
        synced.inspect_err(|_| self.failed = true)?;
        self.unneeded = retiring.paths;
        // In order: a journal reaches to the one that follows it.
        while let Some(path) = self.unneeded.first() {
            if let Err(error) = remove_if_present(&*self.files, path) {
                tracing::warn!(%error, "an old journal of the disclosure log could not be removed yet");
                break;
            }
            self.unneeded.remove(0);
        }
        Ok(())
    }

    /// Makes everything durable and removes the journals that a crash left behind.
    fn retire_now(&mut self, journals: Vec<PathBuf>) -> io::Result<()> {
        if !journals.is_empty() {
            self.files.sync_everything(&self.folder)?;
        }
        journals.iter().try_for_each(|path| remove_if_present(&*self.files, path))
    }

    /// Deletes what an entry says was pruned. The entry must be published.
    fn finish_pruning(&mut self) -> io::Result<()> {
        if let Some(below) = self.unfinished_pruning {
            self.files.sync_everything(&self.folder)?;
            self.remove_below(below)?;
            self.unfinished_pruning = None;
        }
        Ok(())
    }

    fn retry_pruning(&mut self) {
        if let Err(error) = self.finish_pruning() {
            tracing::warn!(%error, "expired days of the disclosure log could not be deleted yet");
        }
    }

    fn remove_below(&self, below: u64) -> io::Result<()> {
        let mut first = u64::MAX;
        for series in [layout::ENTRIES, layout::DETAILS, layout::LEAF_TILES] {
            first = layout::first_bundle(&self.folder.join(series))?.map_or(first, |found| found.min(first));
        }
        for number in first..below / BUNDLE {
            // The bundle of entries goes first: a reader takes the log to begin with the first one.
            for name in
                [entries_path(number, BUNDLE), details_path(number, BUNDLE), tile_path(0, number, BUNDLE)]
            {
                let path = self.folder.join(&name);
                remove_if_present(&*self.files, &path)?;
                remove_empty_folders(&self.folder, &path, number);
            }
        }
        Ok(())
    }
}

/// Removes the folders of a bundle that hold nothing any more.
fn remove_empty_folders(folder: &Path, path: &Path, number: u64) {
    // A folder is empty when the last bundle of its thousand is gone.
    if number % 1000 == 999 {
        for parent in path.ancestors().skip(1).take_while(|parent| *parent != folder) {
            let is_group =
                parent.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('x'));
            if !is_group || std::fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
}

/// Returns the origin of the log in a folder; `None` if there is none yet.
///
/// # Errors
/// If the file cannot be read or is not one line.
pub fn read_origin(folder: &Path) -> io::Result<Option<String>> {
    let content = match layout::read_bounded(&folder.join(ORIGIN), MAX_ORIGIN_BYTES) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // A process that dies while it begins a log leaves a part of the line.
    if !content.contains(&b'\n') && !folder.join(layout::JOURNALS).try_exists()? {
        return Ok(None);
    }
    let line = String::from_utf8(content).ok().and_then(|text| text.strip_suffix('\n').map(str::to_owned));
    line.filter(|line| signed_note::is_key_name_valid(line) && !line.chars().any(char::is_control))
        .map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the origin is not one line"))
}

/// True if a process has the log open for writing.
///
/// # Errors
/// If the lock cannot be examined.
pub fn is_open(folder: &Path) -> io::Result<bool> {
    let file = match File::open(folder.join(ORIGIN)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Locks the log until the returned file is dropped; `None` if another process has locked it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(ORIGIN))?;
    for attempt in 1..=LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            // Somebody may be asking whether the log is open.
            Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => std::thread::sleep(LOCK_WAIT),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    Ok(None)
}

/// Writes the origin of a new log, or compares that of an existing one.
fn prepare_origin(
    folder: &Path,
    mut lock: &File,
    expected: &str,
    files: &dyn FileOperations,
) -> Result<(), OpenLogError> {
    let io = |doing| move |source| OpenLogError::Io { path: folder.join(ORIGIN), doing, source };
    match read_origin(folder).map_err(io("read"))? {
        Some(found) if found == expected => Ok(()),
        Some(found) => {
            Err(OpenLogError::OtherOrigin { folder: folder.to_owned(), found, expected: expected.to_owned() })
        }
        None => {
            let line = format!("{expected}\n");
            lock.set_len(0)
                .and_then(|()| lock.write_all(line.as_bytes()))
                .and_then(|()| lock.sync_all())
                .and_then(|()| files.create_folder(&folder.join(KEPT_CHECKPOINTS)))
                .and_then(|()| files.sync(folder))
                .map_err(io("written"))
        }
    }
}
