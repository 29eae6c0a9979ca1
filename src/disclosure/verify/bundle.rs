//! Reads a bundle of leaves with its details and its tile, and compares the leaves with the tile.
//!
//! This is the part of a verification that needs no other bundle, so that it can run ahead in another thread.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tlog_tiles::{Hash, Tile, record_hash};

use super::files::{self, HASH_LENGTH, Series, TreeFile, WIDTH};

/// The tiles and bundles of a log at one moment.
#[derive(Debug)]
pub(super) struct LogFiles {
    folder: PathBuf,
    /// The size of the tree.
    size: u64,
    /// The partial files, read first: the process that writes the log replaces them.
    partial: HashMap<TreeFile, Vec<u8>>,
}

impl LogFiles {
    /// Reads the partial files of a tree of `size` entries. One that is missing or unreadable is found when it is needed.
    pub(super) fn open(folder: &Path, size: u64) -> LogFiles {
        let partial = Series::ALL.into_iter().filter_map(|series| {
            let file = TreeFile::partial(series, size)?;
            let bytes = files::read(&folder.join(file.path()), file.max_length()).ok()??;
            Some((file, bytes))
        });
        LogFiles { folder: folder.to_owned(), size, partial: partial.collect() }
    }

    /// Reads a file, or says what is wrong with it.
    pub(super) fn read(&self, file: TreeFile, findings: &mut Vec<String>) -> Option<Vec<u8>> {
        if let Some(bytes) = self.partial.get(&file) {
            return Some(bytes.clone());
        }
        match files::read(&self.folder.join(file.path()), file.max_length()) {
            Ok(Some(bytes)) => return Some(bytes),
            Ok(None) => findings.push(format!("{}: is missing", file.path())),
            Err(error) => findings.push(format!("{}: {error}", file.path())),
        }
        None
    }

    /// Reads the hashes of a tile, or says what is wrong with it.
    pub(super) fn tile(&self, file: TreeFile, findings: &mut Vec<String>) -> Option<Vec<u8>> {
        let tile = self.read(file, findings)?;
        if tile.len() as u64 != file.width * HASH_LENGTH {
            findings.push(format!("{}: does not consist of {} hashes", file.path(), file.width));
            return None;
        }
        Some(tile)
    }

    /// Reads the entries of a bundle, or says what is wrong with it.
    pub(super) fn frames(&self, file: TreeFile, findings: &mut Vec<String>) -> Option<BundleParts> {
        let frames = BundleParts::parse(self.read(file, findings)?, file.width);
        if frames.is_none() {
            findings.push(format!("{}: does not consist of {} entries", file.path(), file.width));
        }
        frames
    }

    /// Reads a bundle and compares its leaves with its tile.
    pub(super) fn bundle(&self, number: u64, width: u64) -> ReadBundle {
        let mut findings = Vec::new();
        let file = |series| TreeFile { series, number, width };
        let leaves = self.frames(file(Series::Entries), &mut findings);
        let details = self.frames(file(Series::Details), &mut findings);
        let tile = self.tile(file(Series::Tile(0)), &mut findings);
        let computed =
            leaves.as_ref().map(|leaves| leaves.iter().map(|leaf| record_hash(leaf).0).collect::<Vec<_>>());
        let computed = computed.map(|hashes| hashes.concat());
        if let Some(at) = first_difference(tile.as_deref(), computed.as_deref()) {
            let (entries, tile) = (file(Series::Entries).path(), file(Series::Tile(0)).path());
            findings.push(format!("{entries}: entry {} disagrees with {tile}", number * WIDTH + at));
        }
        let digests =
            details.iter().flat_map(BundleParts::iter).map(|detail| Sha256::digest(detail).into()).collect();
        let hashes = match (tile, computed) {
            (Some(tile), Some(computed)) if tile != computed && self.is_in_level_1(number, &computed) => {
                Some(computed)
            }
            (tile, computed) => tile.or(computed),
        };
        let root = hashes.as_ref().filter(|_| width == WIDTH).map(|hashes| Tile::subtree_hash(hashes));
        ReadBundle { number, width, leaves, details, digests, hashes, root, findings }
    }
}

impl LogFiles {
    /// True if the level above has the root of these leaves, so that it is the tile of the bundle which was changed.
    fn is_in_level_1(&self, number: u64, hashes: &[u8]) -> bool {
        let series = Series::Tile(1);
        let above = number / WIDTH;
        let width = series.elements(self.size).saturating_sub(above * WIDTH).min(WIDTH);
        let tile = self.tile(TreeFile { series, number: above, width }, &mut Vec::new());
        let at = usize::try_from(number % WIDTH).unwrap_or(0);
        hashes.len() as u64 == WIDTH * HASH_LENGTH
            && tile
                .is_some_and(|tile| tile.as_chunks::<32>().0.get(at) == Some(&Tile::subtree_hash(hashes).0))
    }
}

/// Returns the number of the first hash in which two tiles differ, if both are known.
pub(super) fn first_difference(one: Option<&[u8]>, other: Option<&[u8]>) -> Option<u64> {
    let (one, other) = (one?.as_chunks::<32>().0, other?.as_chunks::<32>().0);
    let at = one.iter().zip(other).position(|(one, other)| one != other)?;
    u64::try_from(at).ok()
}

/// A bundle that was read.
#[derive(Debug)]
pub(super) struct ReadBundle {
    pub(super) number: u64,
    pub(super) width: u64,
    /// The leaves, unless they cannot be read.
    pub(super) leaves: Option<BundleParts>,
    /// The details, unless they cannot be read.
    pub(super) details: Option<BundleParts>,
    /// The SHA-256 of each detail.
    pub(super) digests: Vec<[u8; 32]>,
    /// The hashes of the leaves, as in the tile if there is one.
    pub(super) hashes: Option<Vec<u8>>,
    /// The root of a full bundle.
    pub(super) root: Option<Hash>,
    pub(super) findings: Vec<String>,
}

/// The entries of a bundle: each with its length in two bytes before it, most significant first.
#[derive(Debug)]
pub(super) struct BundleParts {
    bytes: Vec<u8>,
    /// The end of each entry.
    ends: Vec<usize>,
}

impl BundleParts {
    /// Splits a bundle. `None` unless it consists of `width` entries.
    pub(super) fn parse(bytes: Vec<u8>, width: u64) -> Option<BundleParts> {
        let mut ends = Vec::with_capacity(usize::try_from(width).ok()?);
        let mut at = 0;
        for _ in 0..width {
            let length = bytes.get(at..)?.first_chunk::<2>()?;
            at += 2 + usize::from(u16::from_be_bytes(*length));
            ends.push(at);
        }
        (at == bytes.len()).then_some(BundleParts { bytes, ends })
    }

    /// Returns an entry. `None` beyond the last one.
    pub(super) fn get(&self, at: usize) -> Option<&[u8]> {
        let begin = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(begin + 2..*self.ends.get(at)?)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|at| self.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_consists_of_its_number_of_entries() {
        let bytes = b"\0\x01a\0\0\0\x02bc".to_vec();
        let frames = BundleParts::parse(bytes.clone(), 3).unwrap();
        assert_eq!(frames.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
        assert_eq!(frames.get(3), None);
        for (width, length) in [(2, 9), (4, 9), (3, 8), (3, 7), (3, 0)] {
            let bytes = bytes.iter().copied().take(length).collect();
            assert!(BundleParts::parse(bytes, width).is_none(), "{width} {length}");
        }
    }
}
