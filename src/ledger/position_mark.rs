//! The last acknowledged position, beside the key file: where ledger and disclosure log are lost
//! together, it still tells.
//!
//! It is never ahead of the ledger, since it is written after an event is durable; after a loss of
//! power it may be behind, which says less and nothing wrong. Where it cannot be written (keys on a
//! read-only volume) the disclosure log is left to tell.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::store::Position;

/// Digits of a position, so that a later one overwrites an earlier one.
const DIGITS: usize = 20;

/// See the module's text.
#[derive(Debug)]
pub struct PositionMark(File);

impl PositionMark {
    /// Opens the mark of a ledger's file, beside a key file; makes one where there is none.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn open(keys: &Path, ledger: &Path) -> io::Result<PositionMark> {
        let path = beside(keys, ledger)?;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(PositionMark(file))
    }

    /// The position that a mark names; `None` where there is none, or it does not read.
    pub fn read(keys: &Path, ledger: &Path) -> Option<Position> {
        let mut text = String::new();
        let file = File::open(beside(keys, ledger).ok()?).ok()?;
        file.take(2 * DIGITS as u64).read_to_string(&mut text).ok()?;
        text.trim().parse().ok().map(Position)
    }

    /// Names a position from now on.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn write(&self, position: Position) -> io::Result<()> {
        self.0.write_all_at(format!("{:0DIGITS$}\n", position.0).as_bytes(), 0)
    }
}

/// One for each ledger: several may share a key file.
fn beside(keys: &Path, ledger: &Path) -> io::Result<PathBuf> {
    let ledger = std::path::absolute(ledger)?;
    let digest = blake3::hash(ledger.as_os_str().as_encoded_bytes()).to_hex();
    let mut path = keys.as_os_str().to_owned();
    path.push(format!(".position-{}", digest.get(..16).unwrap_or_default()));
    Ok(PathBuf::from(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_the_last_position_of_its_own_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, ledger) = (folder.path().join("keys"), folder.path().join("ledger.db"));
        assert_eq!(PositionMark::read(&keys, &ledger), None);
        let mark = PositionMark::open(&keys, &ledger).unwrap();
        assert_eq!(PositionMark::read(&keys, &ledger), None, "nothing was acknowledged");
        for position in [1, 999, 1000, 7] {
            mark.write(Position(position)).unwrap();
            assert_eq!(PositionMark::read(&keys, &ledger), Some(Position(position)));
        }
        assert_eq!(PositionMark::read(&keys, &folder.path().join("other.db")), None);
        drop(PositionMark::open(&keys, &ledger).unwrap());
        assert_eq!(PositionMark::read(&keys, &ledger), Some(Position(7)), "kept over a restart");
    }
}
