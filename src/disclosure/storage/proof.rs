//! Roots and proofs, computed from the tiles in a folder.
//!
//! Invariant: the tiles are only read, not trusted. Who gives a proof away checks it against a root first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use tlog_tiles::{Hash, HashReader, RecordProof, Tile, TreeProof};

use super::error::ReadError;
use super::layout::{BUNDLE, TILE_HEIGHT, list_numbers, parse_size, read_bounded, tile_path};
use super::tree::HASH;

/// Maximum number of tiles that are kept in memory.
const MAX_TILES: usize = 1024;

/// Reads hashes of the tree from the tiles in a folder. Keeps the tiles that it has read.
#[derive(Debug)]
pub(super) struct TileHashes<'f> {
    folder: &'f Path,
    tiles: RefCell<HashMap<(u8, u64), Vec<u8>>>,
    failure: RefCell<Option<ReadError>>,
}

impl<'f> TileHashes<'f> {
    /// Reads the tiles of this log.
    pub(super) fn new(folder: &'f Path) -> TileHashes<'f> {
        TileHashes { folder, tiles: RefCell::default(), failure: RefCell::default() }
    }

    /// Returns the root of the tree of this size.
    pub(super) fn root(&self, size: u64) -> Result<[u8; HASH], ReadError> {
        tlog_tiles::tree_hash(size, self).map(|hash| hash.0).map_err(|_| self.failure())
    }

    /// Proves that an entry is in the tree of this size.
    pub(super) fn prove_inclusion(&self, index: u64, size: u64) -> Result<RecordProof, ReadError> {
        tlog_tiles::prove_record(size, index, self).map_err(|_| self.failure())
    }

    /// Proves that the tree of this size continues the one of the earlier size.
    pub(super) fn prove_consistency(&self, earlier: u64, size: u64) -> Result<TreeProof, ReadError> {
        tlog_tiles::prove_tree(size, earlier, self).map_err(|_| self.failure())
    }

    fn failure(&self) -> ReadError {
        self.failure.take().unwrap_or_else(|| ReadError::Damaged(self.folder.to_owned()))
    }

    /// Returns the hash of the subtree at this place.
    fn hash(&self, index: u64) -> Result<Hash, ReadError> {
        let (level, number) = tlog_tiles::split_stored_hash_index(index);
        let (tile_level, within) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = number << within;
        let (tile, place) = (first / BUNDLE, first % BUNDLE);
        let width = place + (1 << within);
        let mut tiles = self.tiles.borrow_mut();
        let known =
            tiles.get(&(tile_level, tile)).is_some_and(|hashes| hashes.len() as u64 >= width * HASH as u64);
        if !known {
            if tiles.len() >= MAX_TILES {
                tiles.clear();
            }
            tiles.insert((tile_level, tile), read_tile(self.folder, tile_level, tile, width)?);
        }
        let skipped = usize::try_from(place).unwrap_or(usize::MAX).saturating_mul(HASH);
        let hashes = tiles.get(&(tile_level, tile)).and_then(|hashes| hashes.get(skipped..));
        let hashes = hashes.and_then(|hashes| hashes.get(..HASH << within));
        let damaged = || ReadError::Damaged(self.folder.join(tile_path(tile_level, tile, BUNDLE)));
        hashes.map(Tile::subtree_hash).ok_or_else(damaged)
    }
}

impl HashReader for TileHashes<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let hashes: Result<Vec<Hash>, ReadError> = indexes.iter().map(|index| self.hash(*index)).collect();
        hashes.map_err(|error| {
            self.failure.replace(Some(error));
            tlog_tiles::Error::InvalidTile
        })
    }
}

/// Reads a tile that has at least this number of hashes: the full one, or the widest that exists.
fn read_tile(folder: &Path, level: u8, number: u64, width: u64) -> Result<Vec<u8>, ReadError> {
    let full = folder.join(tile_path(level, number, BUNDLE));
    let read = |path: PathBuf, width: u64| match read_bounded(&path, BUNDLE * HASH as u64) {
        Ok(hashes) if hashes.len() as u64 == width * HASH as u64 => Ok(hashes),
        Ok(_) => Err(ReadError::Damaged(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReadError::Damaged(path)),
        Err(source) => Err(ReadError::Io { path, source }),
    };
    if full.exists() {
        return read(full, BUNDLE);
    }
    let mut partial = full.clone().into_os_string();
    partial.push(".p");
    let partial = PathBuf::from(partial);
    let widths = list_numbers(&partial, parse_size)
        .map_err(|source| ReadError::Io { path: partial.clone(), source })?;
    match widths.last() {
        Some(widest) if (width..BUNDLE).contains(widest) => read(partial.join(widest.to_string()), *widest),
        _ => Err(ReadError::Damaged(full)),
    }
}
