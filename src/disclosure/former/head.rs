//! The head of an old log: a small file next to its folder that states how far the log is durable.
//!
//! If the last records or files of a log were removed while no process wrote it, the rest looks like a complete log. The
//! head shows that records are missing. It is not proof: whoever can remove the records can also remove the head. After a
//! power failure it may lag behind the log, and it is never ahead of it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;

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
