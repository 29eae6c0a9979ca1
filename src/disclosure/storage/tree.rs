//! The right edge of the Merkle tree: the hashes from which the root, the next tiles and the next root are computed.
//!
//! Invariant: the edge holds, for each level of tiles from 1, the hashes of the last tile of that level, which is not full.
//! Level 0 belongs to the open bundle, which is not part of the edge.

use tlog_tiles::{Hash, Tile, node_hash};

use super::layout::{BUNDLE, TILE_HEIGHT, tile_path};

/// Length of a hash in bytes.
pub(crate) const HASH: usize = 32;

/// Maximum number of levels of tiles above level 0: a log has less than 2^64 entries.
pub(crate) const MAX_LEVELS: usize = 7;

/// The hashes of the full tiles of level 0, folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RightEdge {
    /// Number of full tiles of level 0.
    bundles: u64,
    /// For each level from 1, the hashes of its last tile.
    levels: Vec<Vec<u8>>,
}

impl RightEdge {
    /// Makes the edge of a tree of so many full bundles; `None` if the widths of the levels do not fit that number.
    pub(crate) fn from_levels(bundles: u64, levels: Vec<Vec<u8>>) -> Option<RightEdge> {
        let mut rest = bundles;
        for level in &levels {
            if level.len() as u64 != (rest % BUNDLE) * HASH as u64 {
                return None;
            }
            rest /= BUNDLE;
        }
        (rest == 0 && levels.len() <= MAX_LEVELS).then_some(RightEdge { bundles, levels })
    }

    /// Returns the number of full bundles.
    pub(crate) fn bundles(&self) -> u64 {
        self.bundles
    }

    /// Returns the hashes of the last tile of each level from 1.
    pub(crate) fn levels(&self) -> &[Vec<u8>] {
        &self.levels
    }

    /// Adds a full tile of level 0 and returns the names and contents of the tiles that become full.
    pub(crate) fn push(&mut self, tile: &[u8]) -> Vec<(String, Vec<u8>)> {
        self.push_root(Tile::subtree_hash(tile))
    }

    /// As [`RightEdge::push`], for a tile of level 0 of which only the root is known.
    pub(crate) fn push_root(&mut self, mut hash: Hash) -> Vec<(String, Vec<u8>)> {
        let mut full = Vec::new();
        self.bundles += 1;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(level) else { break };
            hashes.extend_from_slice(&hash.0);
            if hashes.len() < BUNDLE as usize * HASH {
                break;
            }
            let hashes = std::mem::take(hashes);
            hash = Tile::subtree_hash(&hashes);
            let number = (self.bundles >> (usize::from(TILE_HEIGHT) * (level + 1))) - 1;
            full.push((tile_path(level_number(level), number, BUNDLE), hashes));
        }
        full
    }

    /// Returns the names and contents of the tiles that are not full, from level 1.
    pub(crate) fn partial_tiles(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()).map(|(level, hashes)| {
            let number = self.bundles >> (usize::from(TILE_HEIGHT) * (level + 1));
            let width = (hashes.len() / HASH) as u64;
            (tile_path(level_number(level), number, width), hashes.as_slice())
        })
    }

    /// Returns the root of the tree that ends with these leaf hashes.
    pub(crate) fn root(&self, leaves: &[u8]) -> [u8; HASH] {
        let mut peaks = Vec::new();
        for hashes in self.levels.iter().rev().map(Vec::as_slice).chain([leaves]) {
            push_peaks(&mut peaks, hashes);
        }
        let mut peaks = peaks.into_iter().rev();
        let Some(last) = peaks.next() else { return tlog_tiles::EMPTY_HASH.0 };
        peaks.fold(last, |right, left| node_hash(left, right)).0
    }
}

/// Appends the roots of the complete subtrees of one tile, the largest first.
fn push_peaks(peaks: &mut Vec<Hash>, mut hashes: &[u8]) {
    while let Some(count) = (hashes.len() / HASH).checked_ilog2() {
        let (subtree, rest) = hashes.split_at(HASH << count);
        peaks.push(Tile::subtree_hash(subtree));
        hashes = rest;
    }
}

/// Returns the level of tiles at this place of the edge.
fn level_number(place: usize) -> u8 {
    u8::try_from(place + 1).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::{HashReader, record_hash, stored_hashes, tree_hash};

    struct Stored(Vec<Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
            Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
        }
    }

    #[test]
    fn the_root_agrees_with_the_reference_at_every_size() {
        let (mut stored, mut edge, mut open) = (Stored(Vec::new()), RightEdge::default(), Vec::new());
        for index in 0..70_000_u64 {
            if index < 600 || index % 997 == 0 || (65_530..65_800).contains(&index) {
                assert_eq!(edge.root(&open), tree_hash(index, &stored).unwrap().0, "{index}");
            }
            let leaf = index.to_be_bytes();
            stored.0.extend(stored_hashes(index, &leaf, &stored).unwrap());
            open.extend_from_slice(&record_hash(&leaf).0);
            if open.len() == 256 * HASH {
                let full = edge.push(&std::mem::take(&mut open));
                assert_eq!(full.len(), usize::from(index == 65_535), "{index}");
            }
        }
        let again = RightEdge::from_levels(edge.bundles(), edge.levels().to_vec()).unwrap();
        assert_eq!(again, edge);
        assert!(RightEdge::from_levels(edge.bundles() + 1, edge.levels().to_vec()).is_none());
        let names: Vec<String> = edge.partial_tiles().map(|(name, _)| name).collect();
        assert_eq!(names, ["tile/1/001.p/17", "tile/2/000.p/1"]);
    }
}
