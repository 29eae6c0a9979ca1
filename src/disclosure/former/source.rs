//! The logs that are read together: that of this gateway and those of others, each under its own keys.
//!
//! Invariant: a log that cannot be read, is empty, or was written under other keys is an error and never a log without
//! disclosures. A report would otherwise leave disclosures out.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::chain::SealedLine;
use super::fold::ReadError;
use super::segment::{self, SegmentLine};
use crate::keys::{Fingerprints, Keys, SubjectPseudonyms};

/// A log to read, with the keys under which it names people.
#[derive(Clone)]
pub struct LogSource {
    folder: PathBuf,
    fingerprints: Fingerprints,
    pseudonyms: SubjectPseudonyms,
    tags: [u8; 32],
    /// True for the log of this gateway, which has no record before the gateway's first start.
    can_be_empty: bool,
}

impl fmt::Debug for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSource").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl LogSource {
    /// Returns the log that this gateway writes.
    pub fn own(folder: &Path, keys: &Keys) -> LogSource {
        LogSource { can_be_empty: true, ..LogSource::other(folder, keys) }
    }

    /// Returns the log of another gateway, which writes it under these keys. An empty folder is an error when it is read:
    /// it looks like a file system that is not mounted.
    pub fn other(folder: &Path, keys: &Keys) -> LogSource {
        LogSource {
            folder: folder.to_owned(),
            fingerprints: keys.fingerprints(),
            pseudonyms: keys.subject_pseudonyms(),
            tags: keys.log_tags(),
            can_be_empty: false,
        }
    }

    /// Returns the folder of the log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the function for the fingerprints from which the log's pseudonyms are computed.
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// Returns the pseudonyms under which the log records data subjects.
    pub fn pseudonyms(&self) -> &SubjectPseudonyms {
        &self.pseudonyms
    }

    /// Checks that people can be found in the log: it can be read, and each of its segments was written under these keys.
    ///
    /// # Errors
    /// [`ReadError`], which names the folder or the segment.
    pub fn check(&self) -> Result<(), ReadError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ReadError::Io { path, source }
        };
        let segments = segment::list_segments(&self.folder).map_err(io(&self.folder))?;
        if segments.is_empty() && !self.can_be_empty {
            return Err(ReadError::Empty(self.folder.clone()));
        }
        for segment in segments {
            let mut lines = segment::read_lines(&segment.path).map_err(io(&segment.path))?;
            // A segment without a complete record is being begun, or its process died while it began it.
            let Some(SegmentLine::Complete(header)) = lines.next().map_err(io(&segment.path))? else {
                continue;
            };
            let header =
                SealedLine::parse(header).ok_or_else(|| ReadError::Unreadable(segment.path.clone()))?;
            if !header.is_tagged(&self.tags) {
                return Err(ReadError::OtherKeys(segment.path));
            }
        }
        Ok(())
    }
}

/// True if a segment was written under the key of these tags; `None` if it has no complete record.
pub(in crate::disclosure) fn has_tag_of(
    segment: &segment::Segment,
    tags: &[u8; 32],
) -> std::io::Result<Option<bool>> {
    let mut lines = segment::read_lines(&segment.path)?;
    // A segment without a complete record is being begun, or its process died while it began it.
    let Some(SegmentLine::Complete(header)) = lines.next()? else { return Ok(None) };
    let header = SealedLine::parse(header)
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "it begins with no record"))?;
    Ok(Some(header.is_tagged(tags)))
}

/// Returns two of the folders that are the same or of which one contains the other. Each record of such folders would be
/// read twice.
pub fn overlapping<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Option<(&'p Path, &'p Path)> {
    let folders: Vec<(&Path, PathBuf)> =
        folders.into_iter().map(|folder| (folder, resolved(folder))).collect();
    folders.iter().enumerate().find_map(|(at, (folder, path))| {
        let nested = |(_, other): &&(&Path, PathBuf)| path.starts_with(other) || other.starts_with(path);
        let (other, _) = folders.get(at + 1..)?.iter().find(nested)?;
        Some((*folder, *other))
    })
}

/// Returns the path without links and relative parts, as far as it exists.
pub fn resolved(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let existing = absolute.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let Some((part, found)) = existing else { return absolute };
    let missing = absolute.strip_prefix(part).unwrap_or(Path::new(""));
    missing.components().fold(found, |path, part| match part {
        Component::ParentDir => path.parent().map_or(path.clone(), Path::to_owned),
        part => path.join(part),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_equal_or_nested_overlap() {
        let outer = tempfile::tempdir().unwrap();
        let at = |name: &str| outer.path().join(name);
        for name in ["a/b", "ab", "c"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::os::unix::fs::symlink(at("c"), at("link")).unwrap();
        let overlap = |names: &[&str]| {
            let paths: Vec<PathBuf> = names.iter().map(|name| at(name)).collect();
            overlapping(paths.iter().map(PathBuf::as_path)).is_some()
        };
        for names in [
            &["a", "a"][..],
            &["a", "c", "a/b"],
            &["a/b/new/folder", "a/b"],
            &["link", "c"],
            &["link/x", "c"],
            &["a/../c", "c"],
            &["none", "none/"],
            &["none/../c", "c"],
            &["none/../new", "new"],
        ] {
            assert!(overlap(names), "{names:?}");
        }
        for names in [&["a", "ab", "c"][..], &["a/b", "a/c"], &["none", "none2"], &["c"], &[]] {
            assert!(!overlap(names), "{names:?}");
        }
    }
}
