//! The files of a log at one moment.
//!
//! A process that writes the log replaces partial files and journals. The snapshot reads the partial files and opens the
//! journals first, between two readings of the checkpoint that agree. Full files never change, so the rest can take its time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::bundle::LogFiles;
use super::files;
use super::inventory::{Inventory, first_bundle, journals_in};
use super::note::SignedCheckpoint;
use crate::disclosure::is_origin;
use crate::disclosure::storage::journal::JournalReader;
use crate::disclosure::storage::layout::{MAX_NOTE_BYTES, MAX_ORIGIN_BYTES, journal_path};
use crate::disclosure::storage::tree::RightEdge;

/// Number of attempts to read the files of one checkpoint, and the time between two.
const ATTEMPTS: u32 = 100;
const WAIT: Duration = Duration::from_millis(2);

/// A journal that is read from its beginning.
#[derive(Debug)]
pub(super) struct ReadJournal {
    /// The first entry, as in the name.
    pub(super) first: u64,
    /// Reads the entries; comes with the tree before them. `None` if the header is damaged.
    pub(super) content: Option<(JournalReader, RightEdge)>,
    /// The length in bytes when it was opened. Entries that a process appends afterwards belong to a later moment.
    pub(super) length: u64,
}

/// The files of a log at one moment.
#[derive(Debug)]
pub(super) struct LogSnapshot {
    /// The content of the file with the origin, without its line feed.
    pub(super) origin: Result<String, String>,
    /// The latest checkpoint; `None` if nothing is published yet.
    pub(super) checkpoint: Option<Result<SignedCheckpoint, String>>,
    pub(super) files: Arc<LogFiles>,
    pub(super) inventory: Inventory,
    /// The index of the first entry that was not pruned.
    pub(super) begin: u64,
    /// The journals in order.
    pub(super) journals: Vec<ReadJournal>,
    /// True if a process writes the log.
    pub(super) is_running: bool,
}

impl LogSnapshot {
    /// Reads a folder.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) fn take(folder: &Path) -> io::Result<LogSnapshot> {
        let is_running = is_running(folder);
        let mut attempts = 0;
        let (checkpoint, files, journals) = loop {
            let bytes = files::read(&folder.join("checkpoint"), MAX_NOTE_BYTES);
            let checkpoint = match &bytes {
                Ok(None) => None,
                Ok(Some(bytes)) => Some(SignedCheckpoint::parse(bytes).map_err(str::to_owned)),
                Err(error) => Some(Err(error.to_string())),
            };
            let files = LogFiles::open(folder, size_of(checkpoint.as_ref()));
            let journals = open_journals(folder)?;
            let again = files::read(&folder.join("checkpoint"), MAX_NOTE_BYTES);
            attempts += 1;
            if bytes.ok() == again.ok() || attempts == ATTEMPTS {
                break (checkpoint, files, journals);
            }
            std::thread::sleep(WAIT);
        };
        let size = size_of(checkpoint.as_ref());
        let begin = first_bundle(folder)?.unwrap_or(0).min(size / files::WIDTH) * files::WIDTH;
        let inventory = Inventory::list(folder, begin, size)?;
        let (origin, files) = (read_origin(folder), Arc::new(files));
        Ok(LogSnapshot { origin, checkpoint, files, inventory, begin, journals, is_running })
    }

    /// Returns the size of the tree that was published.
    pub(super) fn published(&self) -> u64 {
        size_of(self.checkpoint.as_ref())
    }
}

fn size_of(checkpoint: Option<&Result<SignedCheckpoint, String>>) -> u64 {
    match checkpoint {
        Some(Ok(checkpoint)) => checkpoint.size(),
        Some(Err(_)) | None => 0,
    }
}

/// Opens the journals in order. Everything else in their folder is in the inventory.
fn open_journals(folder: &Path) -> io::Result<Vec<ReadJournal>> {
    let mut journals = Vec::new();
    for first in journals_in(folder)? {
        let path = folder.join(journal_path(first));
        let opened = JournalReader::open(&path).and_then(|content| Ok((content, path.metadata()?.len())));
        match opened {
            Ok((content, length)) => journals.push(ReadJournal { first, content, length }),
            // It was deleted after the folder was listed; then the checkpoint is another one, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(journals)
}

fn read_origin(folder: &Path) -> Result<String, String> {
    let bytes = match files::read(&folder.join("origin"), MAX_ORIGIN_BYTES) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err("is missing".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let origin = text.strip_suffix('\n').filter(|origin| is_origin(origin));
    origin.map(str::to_owned).ok_or_else(|| "is not one line with the name of a key".to_owned())
}

/// True if a process has locked the log to write it.
fn is_running(folder: &Path) -> bool {
    let locked = File::open(folder.join("origin")).map(|file| file.try_lock_shared());
    matches!(locked, Ok(Err(TryLockError::WouldBlock)))
}
