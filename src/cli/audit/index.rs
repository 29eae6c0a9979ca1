//! `audit index`: builds the indexes of logs, or brings them up to date. A running gateway does so by itself.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::unusable;
use crate::cli::error::with_causes;
use crate::disclosure::index::{self, IndexError};

/// Indexes each log and prints the number of entries and the size of the index. An index that a gateway keeps is left to it.
///
/// # Errors
/// If writing fails.
pub(in crate::cli) fn build(
    folder: &Path,
    logs: &[PathBuf],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut status = 0;
    for log in logs {
        match index::build(folder, log, |_, _| {}) {
            Ok((entries, bytes)) => writeln!(out, "{}: {entries} entries, {bytes} bytes", log.display())?,
            Err(IndexError::InUse(_)) => {
                writeln!(err, "purposegate: {}: a running gateway keeps the index", log.display())?;
            }
            Err(error) => status = unusable(&with_causes(&error), err)?,
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disclosure::{Durability, Log, LogSettings};
    use crate::keys::Keys;

    #[test]
    fn an_index_is_built_for_each_log_that_can_be_read() {
        let (outer, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let (log, indexes) = (outer.path().join("audit"), outer.path().join("index"));
        let settings = LogSettings {
            folder: log.clone(),
            gateway: "g".to_owned(),
            durability: Durability::Batched,
            retention: std::time::Duration::MAX,
            origin: None,
            ledger: None,
            known_checkpoints: Vec::new(),
        };
        drop(Log::open(settings, &keys).unwrap());
        let run = |logs: &[PathBuf]| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let status = build(&indexes, logs, &mut out, &mut err).unwrap();
            (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
        };
        let (status, out, err) = run(std::slice::from_ref(&log));
        assert!(status == 0 && out.contains("3 entries"), "{out}{err}");
        let (status, out, err) = run(&[outer.path().join("none"), log]);
        assert_eq!((status, out.lines().count()), (2, 1), "{err}");
        assert!(err.contains("none"), "{err}");
    }
}
