//! A thread that writes and removes published files, so that appending does not wait for the file system.
//!
//! Creating a file may wait for a commit of the file system; the log's own thread must not. Invariants: steps are taken in
//! order, and a step that fails is repeated before the next one; nothing follows a failure of
//! [`FileStep::SyncEverything`], after which nobody knows what is on disk.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::checkpoint::PublishedCheckpoint;
use super::details;
use super::files::{FileOperations, remove_folder_if_present, remove_if_present, write_atomically};
use super::layout::{self, BUNDLE, CHECKPOINT, details_path, entries_path, tile_path};

/// Maximum length of the contents that wait to be written. Who plans more waits.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// A change of the files. Names are relative to the log's folder.
#[derive(Debug)]
pub(super) enum FileStep {
    /// Write a file that never changes.
    Write(String, Vec<u8>),
    /// Write the checkpoint.
    WriteCheckpoint(PublishedCheckpoint),
    /// Remove a file, if it exists.
    Remove(String),
    /// Remove a folder, if it exists.
    RemoveFolder(String),
    /// Wait until everything survives a power failure.
    SyncEverything,
    /// Remove the bundles and the tiles of level 0 below this size.
    Prune(u64),
    /// Delete the details about exchanges, acts and notices among these entries.
    DeleteDetails(Range<u64>),
}

impl FileStep {
    /// Takes the step. It can be repeated.
    pub(super) fn take(&self, files: &dyn FileOperations, folder: &Path) -> io::Result<()> {
        match self {
            FileStep::Write(name, content) => write_atomically(files, folder, name, content),
            FileStep::WriteCheckpoint(checkpoint) => {
                write_atomically(files, folder, CHECKPOINT, checkpoint.note.as_bytes())
            }
            FileStep::Remove(name) => remove_if_present(files, &folder.join(name)),
            FileStep::RemoveFolder(name) => remove_folder_if_present(files, &folder.join(name)),
            FileStep::SyncEverything => files.sync_everything(folder),
            FileStep::Prune(below) => remove_below(files, folder, *below),
            FileStep::DeleteDetails(entries) => details::delete(files, folder, entries),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            FileStep::Write(_, content) => content.len(),
            FileStep::WriteCheckpoint(_) | FileStep::Remove(_) | FileStep::RemoveFolder(_) => 0,
            FileStep::SyncEverything | FileStep::Prune(_) | FileStep::DeleteDetails(_) => 0,
        }
    }
}

/// The thread, and what it has to do.
pub(super) struct FileThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    files: Arc<dyn FileOperations>,
    folder: PathBuf,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    steps: VecDeque<FileStep>,
    bytes: usize,
    /// True while a step is taken, which is not in `steps` then.
    is_busy: bool,
    error: Option<io::Error>,
    /// True once a sync of everything has failed.
    failed: bool,
    stop: bool,
    published: Option<PublishedCheckpoint>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl FnMut(&mut Work) -> bool) -> MutexGuard<'_, Work> {
        self.changed.wait_while(self.lock(), condition).unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let has_nothing_to_do = |work: &mut Work| {
                !work.stop && (work.steps.is_empty() || work.error.is_some() || work.failed)
            };
            let mut work = self.wait_while(has_nothing_to_do);
            if work.stop {
                return;
            }
            let Some(step) = work.steps.pop_front() else { continue };
            work.is_busy = true;
            drop(work);
            let taken = step.take(&*self.files, &self.folder);
            let mut work = self.lock();
            work.is_busy = false;
            match taken {
                Ok(()) => {
                    work.bytes = work.bytes.saturating_sub(step.bytes());
                    if let FileStep::WriteCheckpoint(checkpoint) = step {
                        work.published = Some(checkpoint);
                    }
                }
                Err(error) => {
                    // The system may have dropped what it could not write, and says so only once.
                    work.failed |= matches!(step, FileStep::SyncEverything);
                    work.steps.push_front(step);
                    work.error = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }
}

impl FileThread {
    /// Starts the thread.
    pub(super) fn start(files: Arc<dyn FileOperations>, folder: &Path) -> io::Result<FileThread> {
        let (folder, work, changed) = (folder.to_owned(), Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { files, folder, work, changed });
        let running = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("disclosure-files".to_owned()).spawn(move || running.run())?;
        Ok(FileThread { shared, thread: Some(thread) })
    }

    /// Adds steps. Steps that have failed are repeated first. Waits while too much is to be written.
    ///
    /// # Errors
    /// The error of the last step, if it has failed since the last call. The steps are added nevertheless.
    pub(super) fn add(&self, steps: impl IntoIterator<Item = FileStep>) -> io::Result<()> {
        let is_full =
            |work: &mut Work| work.bytes > MAX_WAITING_BYTES && work.error.is_none() && !work.failed;
        let mut work = self.shared.wait_while(is_full);
        for step in steps {
            work.bytes += step.bytes();
            work.steps.push_back(step);
        }
        let error = work.error.take();
        drop(work);
        self.shared.changed.notify_all();
        error.map_or(Ok(()), Err)
    }

    /// Waits until every step was taken.
    ///
    /// # Errors
    /// The error of the first step that fails.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.shared.lock().error = None;
        self.shared.changed.notify_all();
        let is_working =
            |work: &mut Work| work.is_busy || !(work.steps.is_empty() || work.error.is_some() || work.failed);
        let mut work = self.shared.wait_while(is_working);
        if let Some(error) = work.error.take() {
            return Err(error);
        }
        if work.failed { Err(io::Error::other("published files may be lost")) } else { Ok(()) }
    }

    /// Returns the last checkpoint that was written.
    pub(super) fn published(&self) -> Option<PublishedCheckpoint> {
        self.shared.lock().published.clone()
    }

    /// Returns the number of bytes that wait to be written.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.shared.lock().bytes
    }

    /// True if published files may be lost.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.lock().failed
    }

    /// True if an old journal waits until everything survives a power failure.
    pub(super) fn is_to_sync(&self) -> bool {
        let work = self.shared.lock();
        let is_journal = |name: &String| name.starts_with(layout::JOURNALS);
        work.steps.iter().any(|step| matches!(step, FileStep::Remove(name) if is_journal(name)))
    }
}

impl Drop for FileThread {
    /// Ends the thread after its current step. The next start of the log takes the others.
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn remove_below(files: &dyn FileOperations, folder: &Path, below: u64) -> io::Result<()> {
    let mut first = u64::MAX;
    for series in [layout::ENTRIES, layout::DETAILS, layout::LEAF_TILES] {
        first = layout::first_bundle(&folder.join(series))?.map_or(first, |found| found.min(first));
    }
    for number in first..below / BUNDLE {
        // The bundle of entries goes first: a reader takes the log to begin with the first one.
        for name in [entries_path(number, BUNDLE), details_path(number, BUNDLE), tile_path(0, number, BUNDLE)]
        {
            let path = folder.join(&name);
            remove_if_present(files, &path)?;
            remove_empty_folders(folder, &path, number);
        }
    }
    Ok(())
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
