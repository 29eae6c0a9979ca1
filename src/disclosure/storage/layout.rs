//! The names of the files of a log (C2SP tlog-tiles, with a height of 8).
//!
//! Names are relative to the log's folder. Invariant: a name determines its content, except for `checkpoint` and the last
//! file in `journal/`, and except that details in `detail/` can be deleted: a log only grows.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;

pub use crate::disclosure::entry::BUNDLE;
use crate::disclosure::entry::MAX_ENTRY;

/// The height of a tile.
pub(crate) const TILE_HEIGHT: u8 = 8;

/// Maximum length of a file of entries or details in bytes.
pub(crate) const MAX_BUNDLE_BYTES: u64 = BUNDLE * (MAX_ENTRY as u64 + 2);

/// Maximum length of a signed note in bytes.
pub(crate) const MAX_NOTE_BYTES: u64 = 64 << 10;

/// Maximum length of the file `origin` in bytes.
pub(crate) const MAX_ORIGIN_BYTES: u64 = 1 << 10;

/// The origin of the log, and the file that its writer locks.
pub const ORIGIN: &str = "origin";
/// The last published checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The folder of the checkpoints at the ends of days.
pub const KEPT_CHECKPOINTS: &str = "checkpoints";
/// The folder of the tiles and of the bundles of leaves.
pub const TILES: &str = "tile";
/// The folder of the bundles of leaves.
pub const ENTRIES: &str = "tile/entries";
/// The folder of the tiles of level 0.
pub(crate) const LEAF_TILES: &str = "tile/0";
/// The folder of the bundles of details.
pub const DETAILS: &str = "detail";
/// The folder of the journals.
pub const JOURNALS: &str = "journal";
/// The names under which a file is written before it is renamed: published files, and those that are synced first.
pub const TEMPORARY: &str = "tmp";
pub(crate) const DURABLE_TEMPORARY: &str = "tmp-durable";

/// Returns a number as the last part of the name of a tile: `x001/x234/067`.
pub fn number_path(number: u64) -> String {
    let mut groups = vec![number % 1000];
    let mut rest = number / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    let mut path = String::with_capacity(groups.len() * 5);
    for (place, group) in groups.iter().enumerate().rev() {
        let _ = if place > 0 { write!(path, "x{group:03}/") } else { write!(path, "{group:03}") };
    }
    path
}

fn sized(folder: &str, number: u64, width: u64) -> String {
    let number = number_path(number);
    if width == BUNDLE { format!("{folder}/{number}") } else { format!("{folder}/{number}.p/{width}") }
}

/// Returns the name of a tile of hashes.
pub fn tile_path(level: u8, number: u64, width: u64) -> String {
    sized(&format!("{TILES}/{level}"), number, width)
}

/// Returns the name of a bundle of leaves.
pub fn entries_path(number: u64, width: u64) -> String {
    sized(ENTRIES, number, width)
}

/// Returns the name of a bundle of details.
pub fn details_path(number: u64, width: u64) -> String {
    sized(DETAILS, number, width)
}

/// Returns the name of the journal whose first entry has this index.
pub fn journal_path(first: u64) -> String {
    format!("{JOURNALS}/{first:020}")
}

/// Returns the name of the checkpoint that is kept at this size.
pub fn kept_checkpoint_path(size: u64) -> String {
    format!("{KEPT_CHECKPOINTS}/{size}")
}

/// Reads a decimal number without leading zeros.
pub fn parse_size(name: &str) -> Option<u64> {
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if plain { name.parse().ok() } else { None }
}

/// Reads the name of a journal in its folder.
pub fn parse_journal_name(name: &str) -> Option<u64> {
    let plain = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    if plain { name.parse().ok().filter(|first: &u64| first.is_multiple_of(BUNDLE)) } else { None }
}

/// Returns the numbers in a folder whose names this function reads, in ascending order. A folder that does not exist is
/// empty.
pub(crate) fn list_numbers(folder: &Path, parse: fn(&str) -> Option<u64>) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry?.file_name().to_str().and_then(parse));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Returns the number of the first full file in a folder of bundles or tiles.
pub(crate) fn first_bundle(folder: &Path) -> io::Result<Option<u64>> {
    // Names with n groups are in folders of depth n - 1.
    let mut prefixes = vec![(folder.to_owned(), 0_u64)];
    // 2^64 entries have 7 groups.
    for _ in 0..7 {
        let mut deeper = Vec::new();
        for (path, number) in &prefixes {
            if let Some(&first) = list_numbers(path, parse_group)?.first() {
                return Ok(number.checked_mul(1000).and_then(|number| number.checked_add(first)));
            }
            for group in list_numbers(path, |name| parse_group(name.strip_prefix('x')?))? {
                if let Some(number) = number.checked_mul(1000).and_then(|number| number.checked_add(group)) {
                    deeper.push((path.join(format!("x{group:03}")), number));
                }
            }
        }
        prefixes = deeper;
    }
    Ok(None)
}

fn parse_group(name: &str) -> Option<u64> {
    let plain = name.len() == 3 && name.bytes().all(|byte| byte.is_ascii_digit());
    if plain { name.parse().ok() } else { None }
}

/// Bytes of a buffer beyond the size of the file that is read into it: the end of the file is found by reading once more.
const READ_ROOM: usize = 32;

/// Reads a whole file of at most this length.
pub(crate) fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let expected = file.metadata()?.len().min(max);
    // With room for the end, `read_to_end` does not double the vector.
    let mut content = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + READ_ROOM);
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is longer than it may be"));
    }
    Ok(content)
}

/// Reads the first part of a bundle.
pub(crate) fn read_first_framed(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut length) = (std::fs::File::open(path)?, [0; 2]);
    file.read_exact(&mut length)?;
    let mut part = vec![0; u16::from_be_bytes(length).into()];
    file.read_exact(&mut part)?;
    Ok(part)
}

/// Appends one part with its length. The caller has checked the length.
pub(crate) fn push_framed(bundle: &mut Vec<u8>, part: &[u8]) {
    let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(part);
}

/// Takes the first part off a bundle; `None` if it is incomplete or the bundle is empty.
pub(crate) fn take_framed<'b>(bundle: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bundle.split_first_chunk::<2>()?;
    let (part, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *bundle = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(tile_path(0, 0, 256), "tile/0/000");
        assert_eq!(tile_path(1, 999, 5), "tile/1/999.p/5");
        assert_eq!(entries_path(1_234_067, 1), "tile/entries/x001/x234/067.p/1");
        assert_eq!(details_path(1000, 256), "detail/x001/000");
        assert_eq!(journal_path(256), "journal/00000000000000000256");
        assert_eq!(parse_journal_name("00000000000000000256"), Some(256));
        assert_eq!(parse_journal_name("00000000000000000255"), None);
        assert_eq!(
            (parse_size("0"), parse_size("01"), parse_size("+1"), parse_size("")),
            (Some(0), None, None, None)
        );
    }

    #[test]
    fn the_first_bundle_is_found_at_every_depth() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(first_bundle(&folder.path().join(ENTRIES)).unwrap(), None);
        for number in [2_001_500, 1_000_007, 1500, 1400, 777] {
            let path = folder.path().join(entries_path(number, BUNDLE));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
            assert_eq!(first_bundle(&folder.path().join(ENTRIES)).unwrap(), Some(number));
        }
    }

    #[test]
    fn incomplete_parts_are_not_taken() {
        let mut bundle = Vec::new();
        push_framed(&mut bundle, b"ab");
        push_framed(&mut bundle, b"");
        let mut rest = bundle.as_slice();
        assert_eq!(take_framed(&mut rest), Some(b"ab".as_slice()));
        assert_eq!(take_framed(&mut rest), Some(b"".as_slice()));
        assert_eq!(take_framed(&mut rest), None);
        assert_eq!(take_framed(&mut &bundle[..3]), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bundle).unwrap();
        assert_eq!(read_first_framed(file.path()).unwrap(), b"ab");
        std::fs::write(file.path(), &bundle[..3]).unwrap();
        assert!(read_first_framed(file.path()).is_err());
    }
}
