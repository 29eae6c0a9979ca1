//! A copy of the last acknowledged position beside the key file. It reveals a loss of events even if the ledger and the
//! disclosure log are lost together.
//!
//! The mark is written after an event is durable, so it is never ahead of the ledger, except of one to which another is
//! being copied. After a loss of power it may be
//! behind, which weakens the check but causes no false alarm. If it cannot be written (keys on a read-only volume),
//! only the disclosure log reveals a loss.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::store::Position;

/// The number of digits in the file. It is fixed, so that a later position overwrites an earlier one.
const DIGITS: usize = 20;

/// The file with the last acknowledged position.
#[derive(Debug)]
pub struct PositionMark(File);

impl PositionMark {
    /// Opens the mark of the ledger with the name `ledger` beside the key file `keys`, or creates it.
    ///
    /// # Errors
    /// [`io::Error`] if the mark cannot be opened for writing.
    pub fn open(keys: &Path, ledger: &[u8]) -> io::Result<PositionMark> {
        let path = beside(keys, ledger);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(PositionMark(file))
    }

    /// Returns the position in the mark, or `None` if there is no readable mark.
    pub fn read(keys: &Path, ledger: &[u8]) -> Option<Position> {
        let mut text = String::new();
        let file = File::open(beside(keys, ledger)).ok()?;
        file.take(2 * DIGITS as u64).read_to_string(&mut text).ok()?;
        text.trim().parse().ok().map(Position)
    }

    /// Writes a position. A ledger that ends before it does not open.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be written.
    pub fn write(&self, position: Position) -> io::Result<()> {
        self.0.write_all_at(format!("{:0DIGITS$}\n", position.0).as_bytes(), 0)
    }
}

/// Returns the path of the mark. Each ledger has its own, because several ledgers may share a key file.
fn beside(keys: &Path, ledger: &[u8]) -> PathBuf {
    let digest = blake3::hash(ledger).to_hex();
    let mut path = keys.as_os_str().to_owned();
    path.push(format!(".position-{}", digest.get(..16).unwrap_or_default()));
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_keeps_the_last_position_of_its_own_ledger_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, ledger) = (folder.path().join("keys"), b"ledger.db");
        assert_eq!(PositionMark::read(&keys, ledger), None);
        let mark = PositionMark::open(&keys, ledger).unwrap();
        assert_eq!(PositionMark::read(&keys, ledger), None, "nothing was acknowledged");
        for position in [1, 999, 1000, 7] {
            mark.write(Position(position)).unwrap();
            assert_eq!(PositionMark::read(&keys, ledger), Some(Position(position)));
        }
        assert_eq!(PositionMark::read(&keys, b"other.db"), None);
        drop(PositionMark::open(&keys, ledger).unwrap());
        assert_eq!(PositionMark::read(&keys, ledger), Some(Position(7)), "kept over a restart");
    }
}
