//! The head of the log: how far it reached, in a small file beside its folder.
//!
//! A log whose last records or files were removed while nobody wrote it looks like one that never had
//! them. The head says that it did. It is no proof (whoever can remove the one can remove the other) and
//! nothing waits for it: it is written when records are durable, and made durable itself when a segment
//! begins and when the log is closed. So after a loss of power it may lag behind the log, and is never
//! ahead of it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::verify::Checkpoint;

/// Longer than any checkpoint; the rest of the file is blank, so that a shorter text hides a longer one.
const LENGTH: usize = 256;

/// The open head of a log that is being written.
pub(super) struct Head {
    /// `None` where it cannot be written: the log goes on without.
    file: Option<File>,
}

/// Where the head of the log in this folder is.
pub(super) fn path(folder: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(folder.file_name()?);
    name.push(".head");
    Some(folder.with_file_name(name))
}

/// What the head says, if there is one that can be read.
pub(super) fn read(folder: &Path) -> Option<Checkpoint> {
    let path = path(folder)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the head of the disclosure log cannot be read");
            return None;
        }
    };
    let head = serde_json::from_str(text.trim());
    if head.is_err() {
        tracing::warn!(path = %path.display(), "the head of the disclosure log is not one");
    }
    head.ok()
}

impl Head {
    /// Opens the head for writing, or makes one. Without one the log is as good, but a removed end of it
    /// goes unnoticed: then a warning says so.
    pub(super) fn open(folder: &Path) -> Head {
        let open = || {
            let path = path(folder).ok_or(ErrorKind::InvalidFilename)?;
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
        };
        let file = open().inspect_err(|error: &io::Error| {
            tracing::warn!(
                folder = %folder.display(), %error,
                "no head can be written beside the disclosure log: it will not be noticed when its end is removed"
            );
        });
        Head { file: file.ok() }
    }

    /// Takes down how far the log is durable.
    pub(super) fn write(&self, reached: &Checkpoint) {
        let Some(file) = &self.file else { return };
        let mut text = serde_json::to_vec(reached).unwrap_or_default();
        text.resize(LENGTH.max(text.len()), b' ');
        if let Err(error) = file.write_all_at(&text, 0) {
            tracing::warn!(%error, "the head of the disclosure log cannot be written");
        }
    }

    /// Makes what was taken down durable.
    pub(super) fn sync(&self) {
        if let Some(Err(error)) = self.file.as_ref().map(File::sync_data) {
            tracing::warn!(%error, "the head of the disclosure log cannot be made durable");
        }
    }
}
