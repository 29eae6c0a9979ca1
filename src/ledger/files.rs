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
pub enum Lost {
    #[error("its file {path} was removed or replaced", path = .0.display())]
    Replaced(PathBuf),
    #[error("its file {path} was put back to another state", path = .0.display())]
    PutBack(PathBuf),
    #[error("its file {path} cannot be looked at", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Files {
    database: PathBuf,
    journal: PathBuf,
    seen: Mutex<Seen>,
}

/// The files as this process last left them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    database: Stamp,
    /// SQLite keeps it as long as a connection is open.
    journal: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn is_same_file(&self, other: &Stamp) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// What somebody else has done to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    Nobody,
    /// They were written to: what is in them has to be looked at.
    Somebody,
}

impl Files {
    /// Remembers the files of a database that is open.
    pub(super) fn open(database: &Path) -> Result<Files, Lost> {
        let mut journal = database.as_os_str().to_owned();
        journal.push("-wal");
        let (database, journal) = (database.to_owned(), PathBuf::from(journal));
        let seen = Seen { database: needed(&database)?, journal: stamp(&journal)? };
        Ok(Files { database, journal, seen: Mutex::new(seen) })
    }

    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Compares the files with how this process left them.
    ///
    /// # Errors
    /// [`Lost`]: they are not the open ones.
    pub(super) fn compare(&self) -> Result<Touched, Lost> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.look()?;
        if !now.database.is_same_file(&seen.database) {
            return Err(Lost::Replaced(self.database.clone()));
        }
        let journal_is_open = match (&seen.journal, &now.journal) {
            (None, _) => true,
            (Some(seen), Some(now)) => now.is_same_file(seen),
            (Some(_), None) => false,
        };
        if !journal_is_open {
            return Err(Lost::Replaced(self.journal.clone()));
        }
        Ok(if now == seen { Touched::Nobody } else { Touched::Somebody })
    }

    /// Remembers the files as this process left them; they must be the open ones.
    ///
    /// # Errors
    /// [`Lost`].
    pub(super) fn remember(&self) -> Result<(), Lost> {
        self.compare()?;
        let now = self.look()?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    fn look(&self) -> Result<Seen, Lost> {
        Ok(Seen { database: needed(&self.database)?, journal: stamp(&self.journal)? })
    }
}

fn needed(path: &Path) -> Result<Stamp, Lost> {
    stamp(path)?.ok_or_else(|| Lost::Replaced(path.to_owned()))
}

fn stamp(path: &Path) -> Result<Option<Stamp>, Lost> {
    let of = |metadata: Metadata| Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    };
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(of(metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Lost::Io { path: path.to_owned(), source }),
    }
}
