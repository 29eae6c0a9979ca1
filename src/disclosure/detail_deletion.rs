//! Deletes the details of a log that no gateway writes, where a duty to delete comes before the end of the retention period.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::entry_writer::EntryWriter;
use super::log_settings::LogSettings;
use super::storage::{OpenLogError, SystemFiles, WriteFailure};
use crate::keys::Keys;

/// An error that keeps details from being deleted.
#[derive(Debug, thiserror::Error)]
pub enum DetailDeletionError {
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenLogError),
    /// The deletion cannot be recorded or carried out. Afterwards `audit verify` says if a part was deleted: repeat it then.
    #[error("the details cannot be deleted")]
    Write(#[source] io::Error),
}

/// Deletes the details about exchanges, acts and notices of these days (UTC): people, categories, counts, actors and cases. The
/// leaves stay, so receipts and proofs stay valid: recipient, purpose, route, outcome and time. An entry states the deletion
/// and its reason. Returns the number of details.
///
/// Nobody may write the log meanwhile, and the days must be over. An index of the log still has the pseudonyms: delete its folder
/// too; it is built again.
///
/// # Errors
/// [`DetailDeletionError`]. The deletion can be repeated.
pub fn delete_details(
    settings: LogSettings,
    keys: &Keys,
    days: &RangeInclusive<Date>,
    reason: &str,
) -> Result<u64, DetailDeletionError> {
    delete_details_at(settings, keys, days, reason, Timestamp::now())
}

pub(super) fn delete_details_at(
    settings: LogSettings,
    keys: &Keys,
    days: &RangeInclusive<Date>,
    reason: &str,
    now: Timestamp,
) -> Result<u64, DetailDeletionError> {
    let write = |failure| match failure {
        WriteFailure::RolledBack(error) | WriteFailure::Permanent(error) => DetailDeletionError::Write(error),
    };
    let mut writer = EntryWriter::open(settings, keys, Arc::new(SystemFiles), now)?;
    let deleted = writer.delete_details(days, reason, now).map_err(write);
    writer.stop(now).map_err(write)?;
    writer.close().map_err(DetailDeletionError::Write)?;
    deleted
}
