//! Errors of opening a log, of writing to it and of reading it.

use std::io;
use std::path::{Path, PathBuf};

use crate::disclosure::former;

/// A failed write: one that can be retried, or one that cannot.
#[derive(Debug, thiserror::Error)]
pub enum WriteFailure {
    /// The write was undone and everything before it is intact: it can be retried.
    #[error("the write was undone")]
    RolledBack(#[source] io::Error),
    /// The content of the disk is not what was intended, or may not be.
    #[error("the log may be incomplete on disk")]
    Permanent(#[source] io::Error),
}

/// An error that keeps a log from being opened. The messages name files.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Another process writes the log.
    #[error("the disclosure log {folder} is open in another process", folder = .0.display())]
    InUse(PathBuf),
    /// A file or folder cannot be read or written.
    #[error("the disclosure log cannot be {doing} at {path}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failed action, as a past participle ("read").
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The files contradict each other, or a checkpoint.
    #[error(
        "the disclosure log is inconsistent at {file}: {problem}. Examine it with `purposegate audit verify`, then move the folder away to begin a new log",
        file = .file.display()
    )]
    Inconsistent {
        /// The file that contradicts the others.
        file: PathBuf,
        /// The contradiction.
        problem: &'static str,
    },
    /// A part of a journal has no tag of the log's key.
    #[error(
        "{part} of the journal {file} was not written with the log's keys. Restore the key file if it was replaced. Otherwise somebody else has written to the folder: keep a copy, examine it with `purposegate audit verify`, then move the folder away to begin a new log",
        part = entry.map_or_else(|| "the header".to_owned(), |index| format!("entry {index}")), file = .file.display()
    )]
    ForeignJournal {
        /// The journal.
        file: PathBuf,
        /// The entry; `None` for the header.
        entry: Option<u64>,
    },
    /// A journal without tags holds more entries than a checkpoint covers.
    #[error(
        "the journal {file} is that of an earlier version, and no checkpoint covers its entries from {covered} on. Start that version and stop it, which publishes them, then start this one. If it was stopped in the usual way, it has published everything, and somebody else has written these entries: move the folder away to begin a new log",
        file = .file.display()
    )]
    UntaggedJournal {
        /// The journal.
        file: PathBuf,
        /// The number of entries that a checkpoint covers.
        covered: u64,
    },
    /// A journal has whole entries behind one that does not read.
    #[error(
        "entry {entry} of the journal {file} is damaged: whole entries follow it, among them entry {later}, so it is no interrupted write. Keep a copy of the folder. Restore the file, or give up entry {entry} and what follows: `truncate -s {bytes} {file}`",
        file = .file.display()
    )]
    DamagedJournal {
        /// The journal.
        file: PathBuf,
        /// The first entry that does not read.
        entry: u64,
        /// An entry behind it.
        later: u64,
        /// The length of the journal before the damage.
        bytes: u64,
    },
    /// A checkpoint is signed with another key.
    #[error("the disclosure log was written with other keys ({file}): restore its key file", file = .0.display())]
    OtherKeys(PathBuf),
    /// Recipients have received pseudonyms under another pseudonym key.
    #[error(
        "fields were released under another pseudonym key than the key file's ({folder}): restore the key file, or move the folder away to begin a new log, with new pseudonyms",
        folder = .0.display()
    )]
    OtherPseudonyms(PathBuf),
    /// The configured origin is not the name of a key.
    #[error("a disclosure log cannot have the origin `{0}`")]
    BadOrigin(String),
    /// The random part of the origin cannot be generated.
    #[error("the operating system provides no random bytes")]
    Random(#[source] getrandom::Error),
    /// The thread that writes the log cannot be started.
    #[error("the log's thread cannot be started")]
    Thread(#[source] io::Error),
    /// The log of an earlier version in the folder cannot be moved aside.
    #[error(transparent)]
    Former(#[from] former::FormerLogError),
    /// The log has another origin than the one that is configured.
    #[error("the disclosure log {folder} has the origin {found}, not {expected}", folder = .folder.display())]
    OtherOrigin {
        /// The log's folder.
        folder: PathBuf,
        /// The origin in the folder.
        found: String,
        /// The expected origin.
        expected: String,
    },
}

impl From<ReadError> for OpenLogError {
    fn from(error: ReadError) -> OpenLogError {
        match error {
            ReadError::Io { path, source } => OpenLogError::Io { path, doing: "read", source },
            ReadError::Output(source) => OpenLogError::Io { path: PathBuf::new(), doing: "read", source },
            ReadError::Damaged(file)
            | ReadError::OtherKeys(file)
            | ReadError::Empty(file)
            | ReadError::NotIndexed(file)
            | ReadError::Unwritten(file) => {
                OpenLogError::Inconsistent { file, problem: "the file is missing or damaged" }
            }
        }
    }
}

/// An error of a log that cannot be read. The messages name files.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or folder cannot be read.
    #[error("the disclosure log cannot be read at {path}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is missing or does not have the content that it must have.
    #[error("the disclosure log is damaged at {path}: examine it with `purposegate audit verify`", path = .0.display())]
    Damaged(PathBuf),
    /// People have other pseudonyms in the log.
    #[error("{path} was written under other keys than those with which it is read: name its key file (`key` in `[audit] logs`)", path = .0.display())]
    OtherKeys(PathBuf),
    /// The folder of a log has none.
    #[error("{path} contains no disclosure log: is its file system mounted?", path = .0.display())]
    Empty(PathBuf),
    /// The log has so many entries without an index that a bounded search ended before the last one.
    #[error("{path} has too many entries without an index: build it with `purposegate audit index`", path = .0.display())]
    NotIndexed(PathBuf),
    /// The log of a gateway that runs cannot be written, so records of what has left may wait in memory.
    #[error("the disclosure log {path} cannot be written: records may wait that are not readable yet", path = .0.display())]
    Unwritten(PathBuf),
    /// The caller's output failed.
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
}

impl ReadError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> ReadError {
        move |source| ReadError::Io { path: path.to_owned(), source }
    }

    /// True if a file did not exist. That happens when the log changes meanwhile.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
