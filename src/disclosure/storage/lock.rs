//! The origin of a log, and the lock that its writer holds on that file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::error::OpenLogError;
use super::files::FileOperations;
use super::layout::{self, CHECKPOINT, DETAILS, JOURNALS, KEPT_CHECKPOINTS, MAX_ORIGIN_BYTES, ORIGIN, TILES};

/// Number of attempts to lock a log, and the time between two.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// The files and folders of a log that exist only after its origin was written.
const AFTER_ORIGIN: [&str; 5] = [CHECKPOINT, KEPT_CHECKPOINTS, TILES, DETAILS, JOURNALS];

/// Returns the origin of the log in a folder; `None` if there is no log yet.
///
/// # Errors
/// If the file cannot be read or is not one line, or if it is missing and other files of a log are there.
pub fn read_origin(folder: &Path) -> io::Result<Option<String>> {
    let content = match layout::read_bounded(&folder.join(ORIGIN), MAX_ORIGIN_BYTES) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    // A process that dies while it begins a log leaves at most a part of the line, and nothing else.
    if !content.contains(&b'\n') {
        for name in AFTER_ORIGIN {
            if folder.join(name).try_exists()? {
                let error =
                    "the origin is missing or incomplete, although the folder has other files of a log";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        return Ok(None);
    }
    let line = String::from_utf8(content).ok().and_then(|text| text.strip_suffix('\n').map(str::to_owned));
    line.filter(|line| signed_note::is_key_name_valid(line) && !line.chars().any(char::is_control))
        .map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the origin is not one line"))
}

/// True if a process has the log open for writing.
///
/// # Errors
/// If the lock cannot be examined.
pub fn is_open(folder: &Path) -> io::Result<bool> {
    let file = match File::open(folder.join(ORIGIN)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Locks the log until the returned file is dropped; `None` if another process has locked it.
pub(super) fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(ORIGIN))?;
    for attempt in 1..=LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            // Somebody may be asking whether the log is open.
            Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => std::thread::sleep(LOCK_WAIT),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    Ok(None)
}

/// Writes the origin of a new log, or compares that of an existing one.
pub(super) fn prepare_origin(
    folder: &Path,
    mut lock: &File,
    expected: &str,
    files: &dyn FileOperations,
) -> Result<(), OpenLogError> {
    let io = |doing| move |source| OpenLogError::Io { path: folder.join(ORIGIN), doing, source };
    match read_origin(folder).map_err(io("read"))? {
        Some(found) if found == expected => Ok(()),
        Some(found) => {
            Err(OpenLogError::OtherOrigin { folder: folder.to_owned(), found, expected: expected.to_owned() })
        }
        None => {
            let line = format!("{expected}\n");
            lock.set_len(0)
                .and_then(|()| lock.write_all(line.as_bytes()))
                .and_then(|()| lock.sync_all())
                .and_then(|()| files.create_folder(&folder.join(KEPT_CHECKPOINTS)))
                .and_then(|()| files.sync(folder))
                .map_err(io("written"))
        }
    }
}
