//! Finds the last ledger position that the log mentions. If the ledger's own history is shorter, the ledger was
//! replaced by an older copy.

use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::fold::ReadError;
use super::segment::{self, SegmentLine};
use crate::ledger::Position;

/// Returns the last ledger position in the log's folder, or `None` if no record has one. Reads only the latest
/// segments, which mention later positions than earlier ones.
///
/// # Errors
/// [`ReadError`] if a segment cannot be read.
pub fn last_position(folder: &Path) -> Result<Option<Position>, ReadError> {
    #[derive(Deserialize)]
    struct Positioned {
        position: Option<u64>,
    }
    let segments = match segment::list_segments(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        segments => segments.map_err(|source| ReadError::Io { path: folder.to_owned(), source })?,
    };
    for segment in segments.iter().rev() {
        let io = |source| ReadError::Io { path: segment.path.clone(), source };
        let mut lines = segment::read_lines(&segment.path).map_err(io)?;
        let mut last = None;
        while let Some(SegmentLine::Complete(line)) = lines.next().map_err(io)? {
            let line: Positioned =
                serde_json::from_slice(line).map_err(|_| ReadError::Unreadable(segment.path.clone()))?;
            last = last.max(line.position);
        }
        if last.is_some() {
            return Ok(last.map(Position));
        }
    }
    Ok(None)
}
