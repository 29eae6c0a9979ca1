//! The files of a log: their names, and which of them a tree of some size has.
//!
//! Invariant: each name has one spelling, so that two files never claim to be the same tile.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::disclosure::storage::layout::{
    BUNDLE, MAX_BUNDLE_BYTES, details_path, entries_path, parse_size, tile_path,
};

/// Number of entries of a full bundle, and of hashes of a full tile.
pub(super) const WIDTH: u64 = BUNDLE;

/// Length of a hash in bytes.
pub(super) const HASH_LENGTH: u64 = 32;

/// Maximum level of a tile: a tree of 2⁶⁴ entries has no higher one.
const MAX_LEVEL: u8 = 7;

/// The kinds of files of which a log has one for 256 entries or hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Series {
    /// The tiles of a level.
    Tile(u8),
    /// The bundles of leaves.
    Entries,
    /// The bundles of details.
    Details,
}

impl Series {
    /// Every kind, tiles from the lowest level.
    pub(super) const ALL: [Series; MAX_LEVEL as usize + 3] = [
        Series::Entries,
        Series::Details,
        Series::Tile(0),
        Series::Tile(1),
        Series::Tile(2),
        Series::Tile(3),
        Series::Tile(4),
        Series::Tile(5),
        Series::Tile(6),
        Series::Tile(7),
    ];

    /// Returns the number of entries of the tree for which there is one element in a file.
    fn span_bits(self) -> u32 {
        match self {
            Series::Tile(level) => 8 * u32::from(level),
            Series::Entries | Series::Details => 0,
        }
    }

    /// Returns the number of elements of all files for a tree of `size` entries.
    pub(super) fn elements(self, size: u64) -> u64 {
        size.checked_shr(self.span_bits()).unwrap_or(0)
    }

    /// True if pruning removes files of this kind.
    pub(super) fn is_pruned(self) -> bool {
        self.span_bits() == 0
    }
}

/// A tile or a bundle. `width` is 256 for a full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TreeFile {
    pub(super) series: Series,
    pub(super) number: u64,
    pub(super) width: u64,
}

impl TreeFile {
    /// Returns the last, partial file of a series for a tree of `size` entries, if there is one.
    pub(super) fn partial(series: Series, size: u64) -> Option<TreeFile> {
        let elements = series.elements(size);
        let width = elements % WIDTH;
        (width > 0).then_some(TreeFile { series, number: elements / WIDTH, width })
    }

    /// Returns the path below the log's folder.
    pub(super) fn path(&self) -> String {
        let TreeFile { series, number, width } = *self;
        match series {
            Series::Tile(level) => tile_path(level, number, width),
            Series::Entries => entries_path(number, width),
            Series::Details => details_path(number, width),
        }
    }

    /// Parses a path below the log's folder.
    pub(super) fn parse(path: &str) -> Option<TreeFile> {
        let (series, rest) = if let Some(rest) = path.strip_prefix("detail/") {
            (Series::Details, rest)
        } else {
            let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            match level {
                "entries" => (Series::Entries, rest),
                level => (
                    Series::Tile(parse_size(level).filter(|level| *level <= u64::from(MAX_LEVEL))? as u8),
                    rest,
                ),
            }
        };
        let (name, width) = match rest.split_once(".p/") {
            Some((name, width)) => (name, parse_size(width).filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let mut number = 0_u64;
        for part in name.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            number =
                number.checked_mul(1000)?.checked_add(digits.parse().ok().filter(|part| *part < 1000)?)?;
        }
        let file = TreeFile { series, number, width };
        (file.path() == path).then_some(file)
    }

    /// True if a tree of `size` entries, of which those below `begin` were pruned, has this file.
    pub(super) fn belongs(&self, begin: u64, size: u64) -> bool {
        let elements = self.series.elements(size);
        let is_pruned = self.series.is_pruned() && self.number < begin / WIDTH;
        let width = elements.saturating_sub(self.number.saturating_mul(WIDTH)).min(WIDTH);
        !is_pruned && self.width == width
    }

    /// Returns the maximum length in bytes.
    pub(super) fn max_length(&self) -> u64 {
        match self.series {
            Series::Tile(_) => self.width * HASH_LENGTH,
            Series::Entries | Series::Details => MAX_BUNDLE_BYTES,
        }
    }
}

/// Reads a regular file. `None` if there is none.
///
/// # Errors
/// If the path is no regular file, the file is longer than `max` bytes, or it cannot be read.
pub(super) fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    // Asked first: to open a named pipe would wait for a writer.
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    if metadata.len() > max {
        return Err(io::Error::other("is longer than it can be"));
    }
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_one_name() {
        for (path, series, number, width) in [
            ("tile/0/000", Series::Tile(0), 0, 256),
            ("tile/7/x001/x234/067.p/8", Series::Tile(7), 1_234_067, 8),
            ("tile/entries/999.p/255", Series::Entries, 999, 255),
            ("detail/x001/000", Series::Details, 1000, 256),
            ("detail/x018/x446/x744/x073/x709/x551/615", Series::Details, u64::MAX, 256),
        ] {
            let file = TreeFile { series, number, width };
            assert_eq!((file.path().as_str(), TreeFile::parse(path)), (path, Some(file)), "{path}");
        }
        for path in [
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/00/000",
            "tile/8/000",
            "tile/-1/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/000/",
            "tile/0/x1/000",
            "tile/data/000",
            "detail/+01",
            "entries/000",
            "tile/0/000.p",
            "tile/0/",
            "tile/0/000.p/1.p/1",
            "detail/x018/x446/x744/x073/x709/x551/616",
        ] {
            assert_eq!(TreeFile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_tree_has_full_files_and_a_partial_one() {
        let files = |begin, size| {
            let mut files = Vec::new();
            for series in [Series::Tile(0), Series::Tile(1), Series::Entries] {
                for (number, width) in (0..3).flat_map(|number| [(number, 256), (number, 44), (number, 2)]) {
                    let file = TreeFile { series, number, width };
                    files.extend(file.belongs(begin, size).then(|| file.path()));
                }
            }
            files.join(" ")
        };
        assert_eq!(files(0, 0), "");
        assert_eq!(files(0, 256), "tile/0/000 tile/entries/000");
        assert_eq!(
            files(256, 556),
            "tile/0/001 tile/0/002.p/44 tile/1/000.p/2 tile/entries/001 tile/entries/002.p/44"
        );
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "12345").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!(read(&at("file"), 5).unwrap().unwrap(), b"12345");
        assert!(read(&at("none"), 5).unwrap().is_none());
        for (name, max) in [("file", 4), ("link", 5), (".", 5)] {
            assert!(read(&at(name), max).is_err(), "{name}");
        }
    }
}
