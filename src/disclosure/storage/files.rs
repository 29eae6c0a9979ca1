//! The operations on files that change a log. Tests replace them by operations that fail.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::layout::{DURABLE_TEMPORARY, TEMPORARY};

/// Changes files in the folder of a log.
pub(crate) trait FileOperations: Send + Sync {
    /// Creates a folder and those above it.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Writes a whole file, which replaces an existing one.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Renames a file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with its content.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Waits until a file or the names in a folder survive a power failure.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Waits until everything that was written in a folder survives a power failure.
    fn sync_everything(&self, folder: &Path) -> io::Result<()>;
    /// Opens a journal for appending.
    fn open_journal(&self, path: &Path) -> io::Result<Box<dyn JournalFile>>;
}

/// The open journal.
pub(crate) trait JournalFile: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Waits until everything written survives a power failure.
    fn sync(&mut self) -> io::Result<()>;
    /// Removes everything beyond this length in bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The operations of the operating system.
#[derive(Debug)]
pub(crate) struct SystemFiles;

impl FileOperations for SystemFiles {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(content)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn sync_everything(&self, folder: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(folder)?)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_everything(&self, folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.sync_everything(&entry.path())?;
            } else {
                self.sync(&entry.path())?;
            }
        }
        self.sync(folder)
    }

    fn open_journal(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Box::new(AppendedFile { file, path: path.to_owned() }))
    }
}

/// A journal in the log's folder.
struct AppendedFile {
    file: File,
    path: PathBuf,
}

impl JournalFile for AppendedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Fails if the file is no longer at its path: entries in a file that was removed or moved would be lost.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let (here, there) = (self.file.metadata()?, self.path.metadata()?);
        if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
            Ok(())
        } else {
            Err(io::Error::other("the journal was moved or removed"))
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_data()
    }
}

/// Writes a file in the log's folder so that it appears complete or not at all.
pub(crate) fn write_atomically(
    files: &dyn FileOperations,
    folder: &Path,
    name: &str,
    content: &[u8],
) -> io::Result<()> {
    write_temporary(files, &folder.join(TEMPORARY), content)?;
    rename_temporary(files, folder, TEMPORARY, name)
}

/// Writes a file in the log's folder so that it appears complete or not at all, and survives a power failure.
pub(crate) fn write_durably(
    files: &dyn FileOperations,
    folder: &Path,
    name: &str,
    content: &[u8],
) -> io::Result<()> {
    let temporary = folder.join(DURABLE_TEMPORARY);
    write_temporary(files, &temporary, content)?;
    files.sync(&temporary)?;
    rename_temporary(files, folder, DURABLE_TEMPORARY, name)?;
    let path = folder.join(name);
    files.sync(path.parent().unwrap_or(folder))?;
    // The folder itself may be new.
    files.sync(folder)
}

fn write_temporary(files: &dyn FileOperations, temporary: &Path, content: &[u8]) -> io::Result<()> {
    files.write(temporary, content).inspect_err(|_| {
        // A full disk keeps no part of the file. If it cannot be removed, the next write replaces it.
        let _ = files.remove(temporary);
    })
}

fn rename_temporary(
    files: &dyn FileOperations,
    folder: &Path,
    temporary: &str,
    name: &str,
) -> io::Result<()> {
    let (temporary, path) = (folder.join(temporary), folder.join(name));
    match files.rename(&temporary, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            files.create_folder(path.parent().unwrap_or(folder))?;
            files.rename(&temporary, &path)
        }
        renamed => renamed,
    }
}

/// Removes a file that may not exist.
pub(crate) fn remove_if_present(files: &dyn FileOperations, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes a folder that may not exist.
pub(crate) fn remove_folder_if_present(files: &dyn FileOperations, path: &Path) -> io::Result<()> {
    match files.remove_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
