//! Finds the last ledger position that the log mentions. If the ledger's own history is shorter, the ledger was
//! replaced by an older copy.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::decoded_log::{self, DecodedLog};
use super::former_records::{self, FormerRecords};
use crate::disclosure::storage::ReadError;
use crate::ledger::Position;

/// Time by which an entry may mention an earlier position than an older entry: exchanges read the position before they
/// are recorded.
const DISORDER: Duration = Duration::from_secs(60);

/// Returns the last ledger position in the log's folder, or `None` if no record has one. Reads only the latest entries,
/// which mention later positions than earlier ones.
///
/// # Errors
/// [`ReadError`] if a file cannot be read.
pub fn last_position(folder: &Path) -> Result<Option<Position>, ReadError> {
    if let Some(mut log) = decoded_log::open(folder)?
        && let Some(position) = last_in_entries(&mut log)?
    {
        return Ok(Some(position));
    }
    last_in_former(folder)
}

fn last_in_entries(log: &mut DecodedLog) -> Result<Option<Position>, ReadError> {
    let mut last: Option<(u64, Timestamp)> = None;
    for index in (log.reader().begin()..log.reader().size()).rev() {
        let Some(entry) = log.entry(index)? else { break };
        let head = log.head(&entry)?;
        let time = log.place(index)?.day.time(&head);
        if let Some((_, seen)) = last
            && time < seen.checked_sub(DISORDER).unwrap_or(Timestamp::MIN)
        {
            break;
        }
        let position = log.detail(head.kind, &entry)?.position;
        if position > 0 {
            let (latest, seen) = last.unwrap_or((position, time));
            last = Some((latest.max(position), seen));
        }
    }
    Ok(last.map(|(position, _)| Position(position)))
}

fn last_in_former(folder: &Path) -> Result<Option<Position>, ReadError> {
    #[derive(Deserialize)]
    struct Positioned {
        position: Option<u64>,
    }
    let segments = match former_records::segments(folder, None) {
        Err(ReadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        segments => segments?,
    };
    for segment in segments.into_iter().rev() {
        let path = segment.path.clone();
        let mut lines = FormerRecords::new(vec![segment], None);
        let mut last = None;
        while let Some(line) = lines.next_line() {
            let line: Positioned =
                serde_json::from_slice(&line?).map_err(|_| ReadError::Damaged(path.clone()))?;
            last = last.max(line.position);
        }
        if last.is_some() {
            return Ok(last.map(Position));
        }
    }
    Ok(None)
}
