//! The logs that are read together: that of this gateway and those of others, each under its own keys.
//!
//! Invariant: a log that cannot be read, is empty, or was written under other keys is an error and never a log without
//! disclosures. A report would otherwise leave disclosures out.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::decoded_log;
use super::former_records;
use crate::disclosure::former::TagKey;
use crate::disclosure::former::segment::has_tag_of;
use crate::disclosure::storage::ReadError;
use crate::keys::{
    EpochPseudonyms, Fingerprints, Keys, LoggedPerson, Pseudonym, SignatureState, SubjectPseudonyms,
};

/// The folders of a log and of its index, if there may be one.
#[derive(Clone, Copy, Debug)]
pub struct LogPlace<'p> {
    /// The folder of the log.
    pub folder: &'p Path,
    /// The folder of the index.
    pub index: Option<&'p Path>,
    /// The key of the tags that an old log in the folder has. Without it they are not checked.
    pub tags: Option<TagKey>,
}

impl<'p> LogPlace<'p> {
    /// Returns the place of a log without an index, whose keys are not known.
    pub fn unindexed(folder: &'p Path) -> LogPlace<'p> {
        LogPlace { folder, index: None, tags: None }
    }
}

/// A log to read, with the keys under which it names people.
#[derive(Clone)]
pub struct LogSource {
    folder: PathBuf,
    fingerprints: Fingerprints,
    pseudonyms: SubjectPseudonyms,
    keys: Keys,
    /// The folder of its index, if there may be one.
    index: Option<PathBuf>,
}

impl fmt::Debug for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSource").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl LogSource {
    /// Returns the log of a gateway, which writes it under these keys. An empty folder is an error when it is read: it looks
    /// like a file system that is not mounted.
    pub fn new(folder: &Path, keys: &Keys) -> LogSource {
        LogSource {
            folder: folder.to_owned(),
            fingerprints: keys.fingerprints(),
            pseudonyms: keys.subject_pseudonyms(),
            keys: keys.clone(),
            index: None,
        }
    }

    /// Sets the folder of the index with which people are found.
    #[must_use]
    pub fn with_index(self, folder: &Path) -> LogSource {
        LogSource { index: Some(folder.to_owned()), ..self }
    }

    /// Returns the folders of the log and of its index, and the key of the tags in an old log.
    pub fn place(&self) -> LogPlace<'_> {
        LogPlace { folder: &self.folder, index: self.index(), tags: Some(TagKey::of(&self.keys)) }
    }

    /// Returns the folder of the index, if there may be one.
    pub fn index(&self) -> Option<&Path> {
        self.index.as_deref()
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

    /// Returns the keys under which the log is written.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Checks that people can be found in the log: it can be read, and its checkpoint and each segment of an old log were
    /// written under these keys.
    ///
    /// # Errors
    /// [`ReadError`], which names the folder or the segment.
    pub fn check(&self) -> Result<(), ReadError> {
        let log = decoded_log::open(&self.folder)?;
        let segments = former_records::segments(&self.folder, None)?;
        if log.is_none() && segments.is_empty() {
            return Err(ReadError::Empty(self.folder.clone()));
        }
        if let Some(checkpoint) = log.as_ref().and_then(|log| log.reader().checkpoint()) {
            let signer = self.keys.log_signing_key(&checkpoint.origin);
            let state = signer.map(|signer| signer.check(checkpoint.note.as_bytes()));
            if state != Ok(SignatureState::Valid) {
                return Err(ReadError::OtherKeys(self.folder.clone()));
            }
        }
        let tags = TagKey::of(&self.keys);
        for segment in segments {
            match has_tag_of(&segment, tags.bytes()) {
                Ok(Some(true) | None) => {}
                Ok(Some(false)) => return Err(ReadError::OtherKeys(segment.path)),
                Err(source) => return Err(ReadError::Io { path: segment.path, source }),
            }
        }
        Ok(())
    }
}

/// Returns every pseudonym that people have on a day: by their log secrets, and by their fingerprints, under which they
/// were recorded before the ledger knew them.
pub(super) fn pseudonyms_on(
    day: &str,
    people: &[LoggedPerson],
    pseudonyms: &SubjectPseudonyms,
) -> Vec<Pseudonym> {
    pseudonyms_in(&pseudonyms.epoch(day), people)
}

/// Returns every pseudonym that people have in an epoch.
pub(super) fn pseudonyms_in(epoch: &EpochPseudonyms, people: &[LoggedPerson]) -> Vec<Pseudonym> {
    let names = people.iter().flat_map(|person| {
        [person.pseudonym(epoch), LoggedPerson::unknown(person.fingerprint).pseudonym(epoch)]
    });
    let mut names: Vec<Pseudonym> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
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
