//! The index of a log: a SQLite database that answers questions about people, recipients, purposes, routes, cases and
//! decisions without reading the log.
//!
//! The index lies outside of the log's folder, and everything in it is in the log: it can be deleted and built again. It
//! holds no id of a person, only parts of the pseudonyms of each day. Entries beyond the index are read from the log itself.
//!
//! Invariants:
//! * An index that does not fit its log is not used: it names the log's origin, its own size, and the root of the tree at
//!   this size.
//! * A look-up returns every entry that it should return, and perhaps others; the caller compares the entries.
//! * Days that were pruned from the log leave the index.

mod extend;
mod follower;
mod reader;
mod schema;
mod writer;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;

pub use extend::Indexer;
pub use follower::{IndexFollower, PeopleReport, build};
pub use reader::LogIndex;

use super::storage::ReadError;
use crate::log_limit::LogLimit;

/// An error of an index. Questions can be answered without it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Another process writes the index.
    #[error("the index {path} is kept by another process", path = .0.display())]
    InUse(PathBuf),
    /// A file of the index cannot be read or written.
    #[error("the index {path} cannot be read or written", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// An operation of SQLite failed.
    #[error("the index {path} cannot be used: delete it, or build it again with `purposegate audit index`", path = .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
}

impl IndexError {
    /// Warns that questions are answered without an index.
    pub(super) fn report(&self) {
        static UNUSABLE: LogLimit = LogLimit::new();
        if let Some(count) = UNUSABLE.admit() {
            tracing::warn!(
                count,
                error = self as &dyn std::error::Error,
                "the index of a disclosure log cannot be read: questions read the log itself"
            );
        }
    }

    fn sqlite(path: &Path, source: rusqlite::Error) -> IndexError {
        IndexError::Sqlite { path: path.to_owned(), source }
    }
}

/// The extent of an indexed log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedState {
    /// The origin of the log.
    pub origin: String,
    /// The entries below this one are indexed.
    pub size: u64,
    /// The root of the tree at this size.
    pub root: [u8; 32],
    /// The first entry that was not pruned.
    pub first: u64,
}

/// The deletions of details in an indexed log.
#[derive(Debug)]
pub(in crate::disclosure) struct IndexedDeletions {
    /// The entries that state one, in ascending order.
    pub(in crate::disclosure) statements: Vec<u64>,
    /// The entries whose detail was gone when they were indexed, in ascending order.
    pub(in crate::disclosure) missing: Vec<Range<u64>>,
}

/// The names by which exchanges are found, and the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Facets {
    pub(super) recipient: Arc<str>,
    pub(super) purpose: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) operation: Arc<str>,
    /// Empty as long as the exchange is open.
    pub(super) outcome: Arc<str>,
}

/// Selects facets. Each member that is present narrows the selection.
#[derive(Clone, Debug, Default)]
pub struct FacetFilter {
    /// The recipient's configured name.
    pub recipient: Option<String>,
    /// The accepted purpose.
    pub purpose: Option<String>,
    /// The route's configured name.
    pub route: Option<String>,
    /// The outcome.
    pub outcome: Option<String>,
}

impl FacetFilter {
    /// True if nothing narrows the selection.
    pub fn is_empty(&self) -> bool {
        let FacetFilter { recipient, purpose, route, outcome } = self;
        [recipient, purpose, route, outcome].iter().all(|name| name.is_none())
    }

    fn matches(&self, facets: &Facets) -> bool {
        let FacetFilter { recipient, purpose, route, outcome } = self;
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        is(recipient, &facets.recipient)
            && is(purpose, &facets.purpose)
            && is(route, &facets.route)
            && is(outcome, &facets.outcome)
    }
}

/// Returns the extents of the logs whose indexes are in a folder, each with the last day that it has. An index that cannot be
/// read is left out: it can be built again.
pub fn indexed_logs(folder: &Path) -> Vec<(IndexedState, Option<Date>)> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let indexes =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "db"));
    indexes.filter_map(|path| reader::extent(&path).ok().flatten()).collect()
}

/// Removes the index of a log that is lost: nobody would remove the pseudonyms of its days.
///
/// # Errors
/// [`IndexError`], also if another process writes it.
pub fn remove_index(folder: &Path, origin: &str) -> Result<(), IndexError> {
    writer::remove_locked(&file(folder, origin))
}

/// Returns the path of a log's index in the folder of indexes. Several logs can share the folder.
pub fn file(folder: &Path, origin: &str) -> PathBuf {
    let hash = blake3::hash(origin.as_bytes()).to_hex();
    folder.join(format!("{}.db", hash.get(..16).unwrap_or_default()))
}
