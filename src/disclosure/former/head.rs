//! The head of the log: a small file next to its folder that states how far the log is durable.
//!
//! If the last records or files of a log are removed while no process writes it, the rest looks like a complete log.
//! The head shows that records are missing. It is not proof: whoever can remove the records can also remove the head.
//! No record waits until the head is durable. The head is written when records become durable, and synced when a
//! segment begins and when the log is closed. After a power failure it may lag behind the log, and it is never ahead of
//! it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;

/// Size of the file in bytes: longer than any checkpoint, padded with spaces so that a shorter checkpoint overwrites
/// a longer one.
const LENGTH: usize = 256;

/// The open head file of a log that is being written.
pub(super) struct Head {
    /// `None` if the file cannot be written: the log continues without a head.
    file: Option<File>,
}

/// Returns the path of the head for the log in this folder.
pub(super) fn path(folder: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(folder.file_name()?);
    name.push(".head");
    Some(folder.with_file_name(name))
}

/// Reads the head, if there is a readable one.
pub(super) fn read(folder: &Path) -> Option<Checkpoint> {
    read_file(&path(folder)?)
}

/// Reads a head at this path, if there is a readable one.
pub(super) fn read_file(path: &Path) -> Option<Checkpoint> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the head of the disclosure log cannot be read");
            return None;
        }
    };
    let head = serde_json::from_str(text.trim());
    if head.is_err() {
        tracing::warn!(path = %path.display(), "the head of the disclosure log is not valid");
    }
    head.ok()
}

impl Head {
    /// Opens or creates the head for writing. The log works without one, but then the removal of its end goes
    /// unnoticed; a warning says so.
    pub(super) fn open(folder: &Path) -> Head {
        let open = || {
            let path = path(folder).ok_or(ErrorKind::InvalidFilename)?;
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
        };
        let file = open().inspect_err(|error: &io::Error| {
            tracing::warn!(
                folder = %folder.display(), %error,
                "no head can be written next to the disclosure log: the removal of its last records will not be noticed"
            );
        });
        Head { file: file.ok() }
    }

    /// Writes how far the log is durable.
    pub(super) fn write(&self, reached: &Checkpoint) {
        let Some(file) = &self.file else { return };
        let mut text = serde_json::to_vec(reached).unwrap_or_default();
        text.resize(LENGTH.max(text.len()), b' ');
        if let Err(error) = file.write_all_at(&text, 0) {
            tracing::warn!(%error, "the head of the disclosure log cannot be written");
        }
    }

    /// Makes the written head durable.
    pub(super) fn sync(&self) {
        if let Some(Err(error)) = self.file.as_ref().map(File::sync_data) {
            tracing::warn!(%error, "the head of the disclosure log cannot be made durable");
        }
    }
}
