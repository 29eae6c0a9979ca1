//! Guards the files of an open ledger.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::connection::open_reader;
use super::events::end;
use super::files::{FileComparison, LedgerFiles, LostFile};
use crate::ledger::store::{EventRow, KnownHistory, StoreError};

/// Detects changes to the ledger's files that this process did not make.
#[derive(Debug)]
pub(super) struct FileGuard {
    files: LedgerFiles,
    /// The history that this process wrote.
    written: Mutex<KnownHistory>,
    /// Held as long as the store is open.
    _lock: File,
}

impl FileGuard {
    /// Guards the files of an open database, whose history is `written`.
    pub(super) fn open(path: &Path, written: KnownHistory, lock: File) -> Result<FileGuard, LostFile> {
        Ok(FileGuard { files: LedgerFiles::open(path)?, written: written.into(), _lock: lock })
    }

    /// Checks that the files still have the content that this process wrote.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let lost = |lost: LostFile| StoreError::new("checking its files", lost);
        match self.files.compare().map_err(lost)? {
            FileComparison::Unchanged => Ok(()),
            FileComparison::Written => {
                let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                // A new connection: an old one may hold pages of the earlier content.
                let found = open_reader(self.files.database()).and_then(|fresh| end(&fresh));
                if found.is_ok_and(|found| found.last_event == written.last_event) {
                    self.files.remember().map_err(lost)
                } else {
                    Err(lost(LostFile::Restored(self.files.database().to_owned())))
                }
            }
        }
    }

    /// Notes the history after an append. Fails as [`FileGuard::remember`] does.
    pub(super) fn note_append(&self, rows: &[EventRow]) -> Result<(), StoreError> {
        if let Some(last) = rows.last() {
            *self.written.lock().unwrap_or_else(PoisonError::into_inner) =
                KnownHistory::ending_with(&last.stored);
        }
        self.remember()
    }

    /// Notes the state of the files after a write. Fails if they were removed or replaced during the write, because what
    /// was written is then lost.
    pub(super) fn remember(&self) -> Result<(), StoreError> {
        self.files.remember().map_err(|lost| StoreError::new("checking its files", lost))
    }
}
