//! Detects that the files of an open ledger were removed, replaced or modified by somebody else.
//!
//! SQLite would keep writing to a file that was removed or replaced under the running process, and the next process
//! would open another one. Before each append, and again before it is acknowledged, the ledger checks that the files
//! at their paths are the open ones and that nobody else wrote to them. If somebody did, counting the events tells a
//! harmless checkpoint by another process from a file that was restored to an earlier state.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file that the ledger has lost.
#[derive(Debug, thiserror::Error)]
pub enum LostFile {
    /// The file at the path is not the open one.
    #[error("its file {path} was removed or replaced", path = .0.display())]
    Replaced(PathBuf),
    /// The file has other content than this process wrote.
    #[error("its file {path} was restored to another state", path = .0.display())]
    Restored(PathBuf),
    /// The metadata of the file cannot be read.
    #[error("its file {path} cannot be examined", path = .path.display())]
    #[allow(missing_docs, reason = "the message says what the fields are")]
    Io { path: PathBuf, source: io::Error },
}

/// The database file and its journal, as this process knows them.
#[derive(Debug)]
pub(super) struct LedgerFiles {
    database: PathBuf,
    journal: PathBuf,
    last_state: Mutex<FileState>,
}

/// The files as this process last wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    database: FileStamp,
    /// SQLite keeps the journal as long as a connection is open.
    journal: Option<FileStamp>,
}

/// Identity, length and time of modification of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileStamp {
    fn is_same_file(&self, other: &FileStamp) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The result of comparing the files with their last known state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileComparison {
    Unchanged,
    /// Somebody else wrote to the files, so that their content must be checked.
    Written,
}

impl LedgerFiles {
    /// Records the state of the files of an open database.
    pub(super) fn open(database: &Path) -> Result<LedgerFiles, LostFile> {
        let mut journal = database.as_os_str().to_owned();
        journal.push("-wal");
        let (database, journal) = (database.to_owned(), PathBuf::from(journal));
        let seen = FileState { database: required_stamp(&database)?, journal: stamp(&journal)? };
        Ok(LedgerFiles { database, journal, last_state: Mutex::new(seen) })
    }

    /// Returns the path of the database.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Compares the files with the state in which this process left them.
    ///
    /// # Errors
    /// [`LostFile`] if a file is not the open one.
    pub(super) fn compare(&self) -> Result<FileComparison, LostFile> {
        let seen = *self.last_state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.current_state()?;
        if !now.database.is_same_file(&seen.database) {
            return Err(LostFile::Replaced(self.database.clone()));
        }
        let journal_is_open = match (&seen.journal, &now.journal) {
            (None, _) => true,
            (Some(seen), Some(now)) => now.is_same_file(seen),
            (Some(_), None) => false,
        };
        if !journal_is_open {
            return Err(LostFile::Replaced(self.journal.clone()));
        }
        Ok(if now == seen { FileComparison::Unchanged } else { FileComparison::Written })
    }

    /// Records the state in which this process leaves the files.
    ///
    /// # Errors
    /// [`LostFile`] if a file is not the open one.
    pub(super) fn remember(&self) -> Result<(), LostFile> {
        self.compare()?;
        let now = self.current_state()?;
        *self.last_state.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    fn current_state(&self) -> Result<FileState, LostFile> {
        Ok(FileState { database: required_stamp(&self.database)?, journal: stamp(&self.journal)? })
    }
}

fn required_stamp(path: &Path) -> Result<FileStamp, LostFile> {
    stamp(path)?.ok_or_else(|| LostFile::Replaced(path.to_owned()))
}

fn stamp(path: &Path) -> Result<Option<FileStamp>, LostFile> {
    let of = |metadata: Metadata| FileStamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    };
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(of(metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LostFile::Io { path: path.to_owned(), source }),
    }
}
