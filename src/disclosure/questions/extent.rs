//! States which logs were read for an answer or a report, and how far.

use std::path::Path;

use jiff::civil::Date;
use serde::Serialize;

use crate::disclosure::storage::{self, LogReader, ReadError};
use crate::disclosure::terms::TermCache;

/// The extent of a log that was read for an answer or a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogExtent {
    /// The log's origin; `None` if it could not be read, or has none because it is of an earlier version.
    pub origin: Option<String>,
    /// The number of entries up to which it was read.
    pub size: u64,
    /// The first day that it holds; `None` if it is empty, could not be read, or is of an earlier version.
    pub since: Option<Date>,
    /// Why it could not be read. Names files and nothing in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl LogExtent {
    /// Returns the extent of the log in a folder. A log of an earlier version has no origin.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn of_folder(folder: &Path) -> Result<LogExtent, ReadError> {
        let origin = storage::read_origin(folder);
        match origin.map_err(|source| ReadError::Io { path: folder.to_owned(), source })? {
            Some(_) => LogExtent::of(&mut LogReader::open(folder)?),
            None => Ok(LogExtent { origin: None, size: 0, since: None, fault: None }),
        }
    }

    /// Returns the extent of a log.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn of(log: &mut LogReader) -> Result<LogExtent, ReadError> {
        let first = log.begin();
        let since = match first < log.size() {
            true => Some(TermCache::default().place(log, first)?.day.date),
            false => None,
        };
        Ok(LogExtent { origin: Some(log.origin().to_owned()), size: log.size(), since, fault: None })
    }

    /// Returns the extent of a log that could not be read.
    pub fn unreadable(error: &dyn std::error::Error) -> LogExtent {
        LogExtent { origin: None, size: 0, since: None, fault: Some(error.to_string()) }
    }
}
