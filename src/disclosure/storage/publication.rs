//! Plans the files of bundles, tiles and checkpoints.
//!
//! Invariants: a plan writes the checkpoint after every file that it covers, and removes a file that the checkpoint before
//! needs only after that. The steps of all plans are taken in order, each one until it succeeds.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;

use tlog_tiles::{Tile, record_hash};

use super::checkpoint::PublishedCheckpoint;
use super::file_thread::FileStep;
use super::files::{FileOperations, remove_folder_if_present};
use super::layout::{BUNDLE, TILE_HEIGHT, details_path, entries_path, push_framed, take_framed, tile_path};
use super::tree::{HASH, RightEdge};
use crate::disclosure::entry::Entry;
use crate::keys::LogSigner;

/// The contents of a bundle of entries, and of its tile.
#[derive(Debug, Default)]
struct Bundle {
    entries: Vec<u8>,
    details: Vec<u8>,
    /// The leaf hashes of the entries up to `hashed`.
    hashes: Vec<u8>,
    /// Length of the entries whose hashes are computed.
    hashed: usize,
    count: u64,
}

impl Bundle {
    fn push(&mut self, entry: &Entry) {
        push_framed(&mut self.entries, &entry.leaf);
        push_framed(&mut self.details, &entry.detail);
        self.count += 1;
    }

    /// Computes the leaf hashes that are missing.
    fn hash(&mut self) {
        let mut rest = self.entries.get(self.hashed..).unwrap_or_default();
        while let Some(leaf) = take_framed(&mut rest) {
            self.hashes.extend_from_slice(&record_hash(leaf).0);
        }
        self.hashed = self.entries.len();
    }
}

/// The entries that no plan has published, and the right edge of the tree.
#[derive(Debug)]
pub(super) struct Publisher {
    edge: RightEdge,
    /// Full bundles that are not in the edge yet.
    full: VecDeque<Bundle>,
    open: Bundle,
    /// The files that are not full and that the last plan needs.
    partial: BTreeSet<String>,
}

impl Publisher {
    /// Continues a tree.
    pub(super) fn new(edge: RightEdge) -> Publisher {
        Publisher { edge, full: VecDeque::new(), open: Bundle::default(), partial: BTreeSet::new() }
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: &Entry) {
        self.open.push(entry);
        if self.open.count == BUNDLE {
            self.full.push_back(std::mem::take(&mut self.open));
        }
    }

    /// Returns the number of bytes of full bundles that are not planned yet.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.full.iter().map(|bundle| bundle.entries.len() + bundle.details.len()).sum()
    }

    /// Returns the edge before the open bundle. All full bundles must have been planned.
    pub(super) fn edge(&self) -> &RightEdge {
        &self.edge
    }

    /// Returns the entries of the open bundle.
    pub(super) fn open_entries(&self) -> impl Iterator<Item = Entry> {
        let (mut leaves, mut details) = (self.open.entries.as_slice(), self.open.details.as_slice());
        std::iter::from_fn(move || {
            let (leaf, detail) = (take_framed(&mut leaves)?, take_framed(&mut details)?);
            Some(Entry { leaf: leaf.to_vec(), detail: detail.to_vec() })
        })
    }

    /// Plans the full bundles and the tiles that are full.
    pub(super) fn plan_full(&mut self, steps: &mut Vec<FileStep>) {
        while let Some(mut bundle) = self.full.pop_front() {
            bundle.hash();
            let number = self.edge.bundles();
            let upper = self.edge.push(&bundle.hashes);
            steps.push(FileStep::Write(entries_path(number, BUNDLE), bundle.entries));
            steps.push(FileStep::Write(details_path(number, BUNDLE), bundle.details));
            steps.push(FileStep::Write(tile_path(0, number, BUNDLE), bundle.hashes));
            steps.extend(upper.into_iter().map(|(name, hashes)| FileStep::Write(name, hashes)));
        }
    }

    /// True if a bundle is full and not planned.
    pub(super) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Plans everything up to the last entry, and the checkpoint. Returns the checkpoint's size.
    pub(super) fn plan(&mut self, signer: &LogSigner, steps: &mut Vec<FileStep>) -> io::Result<u64> {
        self.plan_full(steps);
        self.open.hash();
        self.plan_checkpoint(signer, true, steps)
    }

    /// Plans the full bundles, and a checkpoint that covers no more. The files of a bundle that is not full are written to be
    /// removed again: under load that costs more than everything else that is published. Returns the checkpoint's size.
    pub(super) fn plan_bundles(&mut self, signer: &LogSigner, steps: &mut Vec<FileStep>) -> io::Result<u64> {
        self.plan_full(steps);
        self.plan_checkpoint(signer, false, steps)
    }

    /// Plans a checkpoint at the end of the open bundle or before it, and the files that are not full and that it needs.
    fn plan_checkpoint(
        &mut self,
        signer: &LogSigner,
        covers_open: bool,
        steps: &mut Vec<FileStep>,
    ) -> io::Result<u64> {
        let none = Bundle::default();
        let open = if covers_open { &self.open } else { &none };
        let needed = self.plan_partial(open, steps);
        let size = self.edge.bundles() * BUNDLE + open.count;
        let checkpoint = PublishedCheckpoint::sign(signer, size, self.edge.root(&open.hashes))
            .ok_or_else(|| io::Error::other("the checkpoint cannot be signed"))?;
        steps.push(FileStep::WriteCheckpoint(checkpoint));
        for name in self.partial.difference(&needed) {
            let parent = parent_of(name);
            if needed.iter().any(|name| parent_of(name) == parent) {
                steps.push(FileStep::Remove(name.clone()));
            } else {
                steps.push(FileStep::RemoveFolder(parent.to_owned()));
            }
        }
        self.partial = needed;
        Ok(size)
    }

    /// Plans the files that are not full and returns their names.
    fn plan_partial(&self, open: &Bundle, steps: &mut Vec<FileStep>) -> BTreeSet<String> {
        let (number, width) = (self.edge.bundles(), open.count);
        let mut contents: Vec<(String, &[u8])> = self.edge.partial_tiles().collect();
        if width > 0 {
            contents.push((entries_path(number, width), &open.entries));
            contents.push((details_path(number, width), &open.details));
            contents.push((tile_path(0, number, width), &open.hashes));
        }
        for (name, content) in &contents {
            if !self.partial.contains(name) {
                steps.push(FileStep::Write(name.clone(), content.to_vec()));
            }
        }
        contents.into_iter().map(|(name, _)| name).collect()
    }
}

/// Returns the name of the folder that holds a file.
fn parent_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Removes every file that is not full of these bundles and of the tiles above them. After a crash nobody knows which exist.
pub(super) fn remove_partial_files(
    files: &dyn FileOperations,
    folder: &Path,
    bundles: std::ops::RangeInclusive<u64>,
) -> io::Result<()> {
    let remove = |full: String| remove_folder_if_present(files, &folder.join(full + ".p"));
    for number in bundles.clone() {
        remove(entries_path(number, BUNDLE))?;
        remove(details_path(number, BUNDLE))?;
        remove(tile_path(0, number, BUNDLE))?;
    }
    let (mut first, mut last) = (*bundles.start(), *bundles.end());
    for level in 1.. {
        (first, last) = (first >> TILE_HEIGHT, last >> TILE_HEIGHT);
        for number in first..=last {
            remove(tile_path(level, number, BUNDLE))?;
        }
        if last == 0 {
            break;
        }
    }
    Ok(())
}

/// Computes the roots of a tree at given sizes, while its entries pass.
#[derive(Debug)]
pub(super) struct RootFinder {
    edge: RightEdge,
    open: Vec<u8>,
}

impl RootFinder {
    /// Continues a tree.
    pub(super) fn new(edge: RightEdge) -> RootFinder {
        RootFinder { edge, open: Vec::new() }
    }

    /// Returns the number of entries.
    pub(super) fn size(&self) -> u64 {
        self.edge.bundles() * BUNDLE + (self.open.len() / HASH) as u64
    }

    /// Returns the root of the tree.
    pub(super) fn root(&self) -> [u8; HASH] {
        self.edge.root(&self.open)
    }

    /// Adds a leaf.
    pub(super) fn push(&mut self, leaf: &[u8]) {
        self.open.extend_from_slice(&record_hash(leaf).0);
        if self.open.len() == BUNDLE as usize * HASH {
            self.edge.push(&std::mem::take(&mut self.open));
        }
    }

    /// Returns the edge before the open bundle.
    pub(super) fn edge(&self) -> &RightEdge {
        &self.edge
    }
}

/// Returns the hash of the subtree above a bundle of leaves; `None` if the bundle is not complete.
pub(super) fn bundle_hash(entries: &[u8]) -> Option<[u8; HASH]> {
    let (mut rest, mut hashes) = (entries, Vec::with_capacity(BUNDLE as usize * HASH));
    while let Some(leaf) = take_framed(&mut rest) {
        hashes.extend_from_slice(&record_hash(leaf).0);
    }
    let complete = rest.is_empty() && hashes.len() == BUNDLE as usize * HASH;
    complete.then(|| Tile::subtree_hash(&hashes).0)
}
