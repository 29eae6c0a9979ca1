//! Lists the folder of a log and sorts out each file that the log does not have.
//!
//! Invariant: memory does not grow with the number of tiles and bundles, only with the number of days and of surplus files.

use std::fs::FileType;
use std::io;
use std::path::Path;

use super::files::{TreeFile, WIDTH};
use crate::disclosure::storage::layout::{parse_journal_name, parse_size};

/// Maximum depth of a path: `tile`, level, at most seven parts of the number, the width.
const MAX_DEPTH: usize = 10;

/// Maximum number of surplus files that are remembered.
const MAX_SURPLUS: usize = 1000;

/// The folder of the bundles of leaves.
const ENTRIES: &str = "tile/entries";

/// The folder of the old log that this log continues.
pub(super) const FORMER: &str = "former";

/// The files of a log's folder, except the tiles and bundles that a tree of its size has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    /// The sizes in the names of the kept checkpoints, in ascending order.
    pub(super) kept: Vec<u64>,
    /// Tiles and bundles that the tree does not have.
    pub(super) surplus: Vec<TreeFile>,
    /// Paths that are no part of a log.
    pub(super) unknown: Vec<String>,
}

impl Inventory {
    /// Lists a folder whose tree has `size` entries, of which those below `begin` were pruned.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) fn list(folder: &Path, begin: u64, size: u64) -> io::Result<Inventory> {
        let mut found = Inventory::default();
        walk(folder, "", 0, &mut |path, file_type| found.add(path, file_type, begin, size))?;
        found.kept.sort_unstable();
        found.surplus.sort();
        found.unknown.sort();
        Ok(found)
    }

    /// Sorts a path in. Returns true for a folder whose content belongs to the log.
    fn add(&mut self, path: &str, file_type: FileType, begin: u64, size: u64) -> bool {
        // An old log is verified on its own.
        if file_type.is_dir() && path == FORMER {
            return false;
        }
        if file_type.is_dir() {
            let is_known = is_folder(path);
            if !is_known && !is_ignored(path) {
                self.add_unknown(path);
            }
            return is_known;
        }
        match classify(path).filter(|_| file_type.is_file()) {
            Some(LogFile::Fixed | LogFile::Journal) => {}
            Some(LogFile::Kept(at)) => self.kept.push(at),
            Some(LogFile::Tree(file)) if file.belongs(begin, size) => {}
            Some(LogFile::Tree(file)) => {
                if self.surplus.len() < MAX_SURPLUS {
                    self.surplus.push(file);
                }
            }
            None if is_ignored(path) => {}
            None => self.add_unknown(path),
        }
        false
    }

    fn add_unknown(&mut self, path: &str) {
        if self.unknown.len() < MAX_SURPLUS {
            self.unknown.push(path.to_owned());
        }
    }
}

/// A file of a log.
enum LogFile {
    /// The origin or the checkpoint.
    Fixed,
    /// A kept checkpoint.
    Kept(u64),
    Journal,
    Tree(TreeFile),
}

fn classify(path: &str) -> Option<LogFile> {
    if path == "origin" || path == "checkpoint" {
        return Some(LogFile::Fixed);
    }
    if let Some(name) = path.strip_prefix("checkpoints/") {
        return parse_size(name).filter(|size| *size > 0 && size.is_multiple_of(WIDTH)).map(LogFile::Kept);
    }
    if path.starts_with("journal/") {
        return parse_journal(path).map(|_| LogFile::Journal);
    }
    TreeFile::parse(path).map(LogFile::Tree)
}

fn parse_journal(path: &str) -> Option<u64> {
    path.strip_prefix("journal/").and_then(parse_journal_name)
}

/// Returns the first entries of the journals of a log, in ascending order.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn journals_in(folder: &Path) -> io::Result<Vec<u64>> {
    let mut journals = Vec::new();
    if folder.join("journal").is_dir() {
        walk(folder, "journal", MAX_DEPTH, &mut |path, file_type| {
            journals.extend(parse_journal(path).filter(|_| file_type.is_file()));
            false
        })?;
    }
    journals.sort_unstable();
    Ok(journals)
}

/// True for a path at the top of the folder that may belong to an index or a key file.
fn is_ignored(path: &str) -> bool {
    !path.contains('/') && (path.contains("index") || path.contains("key") || path.contains(".db"))
}

/// True for a folder in which a log has files.
fn is_folder(path: &str) -> bool {
    if ["checkpoints", "journal", "tile", "detail"].contains(&path) {
        return true;
    }
    let Some(below) = path.strip_prefix("tile/").or_else(|| path.strip_prefix("detail/")) else {
        return false;
    };
    if path.starts_with("tile/") && !below.contains('/') {
        return below == "entries" || TreeFile::parse(&format!("tile/{below}/000")).is_some();
    }
    // The folder of partial files is that of a full file's name; another one holds files whose numbers have more parts.
    match path.strip_suffix(".p") {
        Some(full) => TreeFile::parse(full).is_some(),
        None => TreeFile::parse(&format!("{path}/000")).is_some(),
    }
}

/// Calls `visit` for everything below a folder. Folders for which it returns false are not entered.
fn walk(
    folder: &Path,
    path: &str,
    depth: usize,
    visit: &mut dyn FnMut(&str, FileType) -> bool,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder.join(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let below = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
        if visit(&below, entry.file_type()?) && depth < MAX_DEPTH {
            walk(folder, &below, depth + 1, visit)?;
        }
    }
    Ok(())
}

/// Returns the number of the first bundle of leaves in a folder. Earlier ones were pruned, or are missing.
///
/// # Errors
/// If a folder cannot be read.
pub(super) fn first_bundle(folder: &Path) -> io::Result<Option<u64>> {
    let mut first: Option<u64> = None;
    if !folder.join(ENTRIES).is_dir() {
        return Ok(None);
    }
    walk(folder, ENTRIES, 2, &mut |path, file_type| {
        if let Some(file) = TreeFile::parse(path) {
            first = Some(first.map_or(file.number, |first| first.min(file.number)));
        }
        file_type.is_dir() && is_folder(path)
    })?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_part_of_the_log_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let list = || Inventory::list(folder.path(), 256, 600).unwrap();
        for path in [
            "origin",
            "checkpoint",
            "checkpoints/256",
            "journal/00000000000000000512",
            "tile/0/001",
            "tile/0/002.p/88",
            "tile/1/000.p/2",
            "tile/entries/001",
            "tile/entries/002.p/88",
            "detail/001",
            "detail/002.p/88",
            "index.db-wal",
            "key",
        ] {
            make(path);
        }
        std::fs::create_dir_all(folder.path().join("detail/x001")).unwrap();
        std::fs::create_dir_all(folder.path().join("index/x")).unwrap();
        let clean = Inventory { kept: vec![256], ..Inventory::default() };
        assert_eq!(list(), clean);
        assert_eq!(journals_in(folder.path()).unwrap(), [512]);
        assert_eq!(first_bundle(folder.path()).unwrap(), Some(1));
        assert_eq!(first_bundle(&folder.path().join("detail")).unwrap(), None);

        for path in ["tile/0/000", "tile/entries/002.p/87", "detail/003", "tile/2/000.p/1"] {
            make(path);
            let found = list();
            assert_eq!(found.surplus, [TreeFile::parse(path).unwrap()], "{path}");
            assert_eq!(Inventory { surplus: Vec::new(), ..found }, clean, "{path}");
            std::fs::remove_file(folder.path().join(path)).unwrap();
        }
        for path in [
            "notes",
            "checkpoint.tmp",
            "checkpoints/0256",
            "checkpoints/255",
            "checkpoints/0",
            "journal/512",
            "journal/00000000000000000511",
            "tile/0/000.p/257",
            "tile/x",
            "detail/0",
            "detail/key",
            "tile/0/001.db",
        ] {
            make(path);
            let found = list();
            assert_eq!(found.unknown, [path], "{path}");
            std::fs::remove_file(folder.path().join(path)).unwrap();
        }
        for path in ["old", "tile/8", "tile/0/x1", "detail/001.q", "checkpoints/x"] {
            std::fs::create_dir(folder.path().join(path)).unwrap();
            assert_eq!(list().unknown, [path], "{path}");
            std::fs::remove_dir(folder.path().join(path)).unwrap();
        }
        std::os::unix::fs::symlink("001", folder.path().join("detail/000")).unwrap();
        assert_eq!(list().unknown, ["detail/000"]);
    }
}
