//! Whether the files of an open ledger are still those that were opened.
//!
//! A file can be removed, replaced or put back under a running process, and SQLite would go on
//! writing to one that nobody opens again. What counts is looked at before each append, and again
//! before it is acknowledged: the files at their paths are the open ones, and nobody else wrote to
//! them. Whoever did (a checkpoint from outside) is told from a file that was put back by counting.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum LostFile {
    #[error("its file {path} was removed or replaced", path = .0.display())]
    Replaced(PathBuf),
    #[error("its file {path} was put back to another state", path = .0.display())]
    PutBack(PathBuf),
    #[error("its file {path} cannot be looked at", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// See the module's text.
#[derive(Debug)]
pub(in crate::ledger) struct LedgerFiles {
    database: PathBuf,
    journal: PathBuf,
    last_state: Mutex<FileState>,
}

/// The files as this process last left them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    database: FileStamp,
    /// SQLite keeps it as long as a connection is open.
    journal: Option<FileStamp>,
}

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

/// What somebody else has done to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum FileComparison {
    Unchanged,
    /// They were written to: what is in them has to be looked at.
    Written,
}

impl LedgerFiles {
    /// Remembers the files of a database that is open.
    pub(in crate::ledger) fn open(database: &Path) -> Result<LedgerFiles, LostFile> {
        let mut journal = database.as_os_str().to_owned();
        journal.push("-wal");
        let (database, journal) = (database.to_owned(), PathBuf::from(journal));
        let seen = FileState { database: required_stamp(&database)?, journal: stamp(&journal)? };
        Ok(LedgerFiles { database, journal, last_state: Mutex::new(seen) })
    }

    pub(in crate::ledger) fn database(&self) -> &Path {
        &self.database
    }

    /// Compares the files with how this process left them.
    ///
    /// # Errors
    /// [`Lost`]: they are not the open ones.
    pub(in crate::ledger) fn compare(&self) -> Result<FileComparison, LostFile> {
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

    /// Remembers the files as this process left them; they must be the open ones.
    ///
    /// # Errors
    /// [`Lost`].
    pub(in crate::ledger) fn remember(&self) -> Result<(), LostFile> {
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
