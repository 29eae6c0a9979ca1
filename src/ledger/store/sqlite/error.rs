//! The errors that keep a ledger file from opening.

use std::path::PathBuf;

use super::files::LostFile;
use super::schema::VERSION;

/// An error that keeps a ledger file from opening. The messages name the file and nothing in it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum FileError {
    /// Another process has the file open for writing.
    #[error(
        "the ledger {path} is in use by another process. A running gateway changes it through its admin API; a second gateway \
         needs a `[ledger] url` of its own",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The file does not exist.
    #[error("there is no ledger at {path}", path = .0.display())]
    Missing(PathBuf),
    /// The file is not a ledger.
    #[error("{path} is not a ledger of purposegate", path = .0.display())]
    Foreign(PathBuf),
    /// The file has a version of the format that this program does not know.
    #[error("the ledger {path} has version {found}; this program reads versions up to {VERSION}", path = .path.display())]
    Version { path: PathBuf, found: i32 },
    /// The file has an earlier version of the format, and an upgrade is not wanted.
    #[error(
        "the ledger {path} has version {found}; this program needs version {VERSION}: run `purposegate ledger migrate`, or \
         set `migrate = true`",
        path = .path.display()
    )]
    Older { path: PathBuf, found: i32 },
    /// The file was created under other keys.
    #[error("the ledger {path} was made under other keys: restore its key file", path = .0.display())]
    OtherKeys(PathBuf),
    /// SQLite does not accept a setting that durability depends on.
    #[error("the ledger {path}: SQLite keeps `{pragma}` at `{found}`; events are only durable with `{required}`", path = .path.display())]
    NotDurable { path: PathBuf, pragma: &'static str, required: &'static str, found: String },
    /// A file of the ledger disappeared while it was being opened.
    #[error("the ledger {path}: {lost}", path = .path.display())]
    Lost { path: PathBuf, lost: LostFile },
    /// An operation on a file failed.
    #[error("cannot {operation} the ledger {path}", path = .path.display())]
    Io { path: PathBuf, operation: &'static str, source: std::io::Error },
    /// An operation of SQLite failed.
    #[error("the ledger {path}: SQLite failed while {doing}", path = .path.display())]
    Sqlite { path: PathBuf, doing: &'static str, source: rusqlite::Error },
}
