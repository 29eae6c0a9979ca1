//! Finds the end of a log: how much of it is there, and until when it was written.

use std::path::Path;

use jiff::Timestamp;

use super::decoded_log;
use crate::disclosure::entry::EntryKind;
use crate::disclosure::storage::ReadError;

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOfLog {
    /// The log's origin.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The time of the last entry; `None` without one.
    pub last: Option<Timestamp>,
    /// True if the last entry says that the process has stopped.
    pub is_stopped: bool,
}

impl EndOfLog {
    /// Returns the end of the log in a folder; `None` if there is none, or only one of an earlier version.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn of_folder(folder: &Path) -> Result<Option<EndOfLog>, ReadError> {
        let Some(mut log) = decoded_log::open(folder)? else { return Ok(None) };
        let (origin, size) = (log.reader().origin().to_owned(), log.reader().size());
        let mut end = EndOfLog { origin, size, last: None, is_stopped: false };
        let last = size.checked_sub(1).filter(|last| *last >= log.reader().begin());
        if let Some(last) = last
            && let Some(entry) = log.entry(last)?
        {
            let head = log.head(&entry)?;
            end.last = Some(log.place(last)?.day.time(&head));
            end.is_stopped = head.kind == EntryKind::Stop;
        }
        Ok(Some(end))
    }
}
