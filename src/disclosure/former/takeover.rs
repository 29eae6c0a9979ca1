//! Moves a log of an earlier version aside, so that its folder can hold the log of this one.
//!
//! Its segments go to `former/`, and the file next to the folder that states its end to `former/head`. Each step can be
//! repeated: a process that dies in between leaves what the next one finishes.
//!
//! Invariants: a log is moved only if its end verifies; no file is overwritten; the chain value of its end is known until
//! the new log has recorded it.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use jiff::Timestamp;

use super::recovery::{find_end, warn_about_missing_tail};
use super::segment::{self, Segment};
use super::{FormerLogError, head};
use crate::disclosure::entry::FormerLogEnd;
use crate::keys::Keys;

/// Name of the folder in which the segments stand.
const FOLDER: &str = "former";

/// Name of the file in that folder that states the end of the log.
const HEAD: &str = "head";

/// Name of a copy that is being written.
const COPY: &str = "tmp";

/// Name of the file that only a log of this version has.
const ORIGIN: &str = "origin";

/// The segments of a log that was moved aside.
#[derive(Debug, Default)]
pub(in crate::disclosure) struct FormerSegments {
    /// Each segment with the time at which it began, oldest first.
    segments: VecDeque<(Segment, Timestamp)>,
}

impl FormerSegments {
    /// Lists the segments that were moved aside from a log's folder.
    ///
    /// # Errors
    /// [`FormerLogError`] if the folder or a segment cannot be read.
    pub(in crate::disclosure) fn list(folder: &Path) -> Result<FormerSegments, FormerLogError> {
        let former = folder.join(FOLDER);
        let segments = segments_in(&former)?.into_iter().map(|segment| {
            let header = segment::read_header(&segment).map_err(io_error(&segment.path, "read"))?;
            Ok((segment, header.time))
        });
        Ok(FormerSegments { segments: segments.collect::<Result<_, FormerLogError>>()? })
    }

    /// Returns the times at which the segments began, oldest first.
    pub(in crate::disclosure) fn begun(&self) -> impl Iterator<Item = Timestamp> {
        self.segments.iter().map(|(_, began)| *began)
    }

    /// Returns the number of segments.
    pub(in crate::disclosure) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Returns the number of the first record after the oldest segments; `None` if there are no others.
    pub(in crate::disclosure) fn first_after(&self, count: usize) -> Option<u64> {
        self.segments.get(count).map(|(segment, _)| segment.first)
    }

    /// Deletes the oldest segments, and the folder with the last one.
    pub(in crate::disclosure) fn remove_oldest(&mut self, count: usize) {
        let mut last = None;
        for (Segment { path, .. }, _) in self.segments.drain(..count.min(self.segments.len())) {
            if let Err(error) = fs::remove_file(&path) {
                // A segment that remains does no harm: the log records its removal.
                tracing::warn!(%error, path = %path.display(), "an expired segment could not be deleted");
            }
            last = Some(path);
        }
        if let (Some(folder), true) = (last.as_deref().and_then(Path::parent), self.segments.is_empty()) {
            let _ = fs::remove_file(folder.join(HEAD));
            // A folder with another file in it stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Moves a log of an earlier version in `folder` aside. Without one it does nothing.
///
/// # Errors
/// [`FormerLogError`], also if another process writes that log; nothing is moved then.
pub(in crate::disclosure) fn move_aside(folder: &Path, keys: &Keys) -> Result<(), FormerLogError> {
    let former = folder.join(FOLDER);
    let segments = segments_in(folder)?;
    let has_segments = !segments.is_empty();
    let head = head::path(folder).filter(|head| head.exists());
    if !has_segments && head.is_none() {
        return Ok(());
    }
    if let (Some(segment), true) = (segments.first(), folder.join(ORIGIN).exists()) {
        // An earlier version has written after this one.
        return Err(FormerLogError::Inconsistent { file: segment.path.clone(), record: segment.first });
    }
    let _lock = segment::lock_folder(folder)
        .map_err(io_error(folder, "opened"))?
        .ok_or_else(|| FormerLogError::InUse(folder.to_owned()))?;
    let create = fs::DirBuilder::new().mode(0o700).recursive(true).create(&former);
    create.map_err(io_error(&former, "created"))?;
    // After a crash the older segments are aside already; what is left ends in the same way.
    let end = find_end(if has_segments { folder } else { &former }, &keys.log_tags(), &pseudonym_key(keys))?;
    if let Some(end) = &end {
        warn_about_missing_tail(folder, end);
    }
    // The last segment goes last: until then the folder has the end of the log.
    for Segment { first, path } in segments_in(folder)? {
        move_file(&path, &former.join(segment::file_name(first)))?;
    }
    if let Some(head) = head {
        move_head(&head, &former, |from, to| fs::rename(from, to))?;
    }
    for changed in [&former, folder] {
        segment::sync_folder(changed).map_err(io_error(changed, "written to"))?;
    }
    tracing::info!(folder = %former.display(), "a disclosure log of an earlier version was moved aside");
    Ok(())
}

/// Returns the end of the log that was moved aside, for the first entry of the log that continues it.
///
/// # Errors
/// [`FormerLogError`] if its end does not verify.
pub(in crate::disclosure) fn end_of_former(
    folder: &Path,
    keys: &Keys,
) -> Result<Option<FormerLogEnd>, FormerLogError> {
    let former = folder.join(FOLDER);
    if segments_in(&former)?.is_empty() {
        return Ok(None);
    }
    let end = find_end(&former, &keys.log_tags(), &pseudonym_key(keys))?;
    Ok(end.map(|end| FormerLogEnd { log: end.log, records: end.number, chain: end.chain.to_bytes() }))
}

fn pseudonym_key(keys: &Keys) -> String {
    keys.pseudonym_check().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lists the segments in a folder, which may be missing.
fn segments_in(folder: &Path) -> Result<Vec<Segment>, FormerLogError> {
    match segment::list_segments(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(io_error(folder, "read")),
    }
}

/// Moves a file within a file system. It never replaces one.
fn move_file(from: &Path, to: &Path) -> Result<(), FormerLogError> {
    if to.exists() {
        return Err(io_error(to, "created")(ErrorKind::AlreadyExists.into()));
    }
    fs::rename(from, to).map_err(io_error(from, "moved"))
}

/// Moves the file that states the end of the log. It lies next to the log's folder, which may be another file system: the file
/// is copied then. If a process dies after the copy, the next one removes the original.
fn move_head(
    from: &Path,
    former: &Path,
    rename: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<(), FormerLogError> {
    let (to, copy) = (former.join(HEAD), former.join(COPY));
    if !to.exists() {
        match rename(from, &to) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {}
            renamed => return renamed.map_err(io_error(from, "moved")),
        }
        let content = fs::read(from).map_err(io_error(from, "read"))?;
        let copied = fs::write(&copy, content)
            .and_then(|()| fs::File::open(&copy)?.sync_all())
            .and_then(|()| fs::rename(&copy, &to))
            .and_then(|()| segment::sync_folder(former));
        copied.map_err(io_error(&to, "created"))?;
    } else if fs::read(from).ok() != fs::read(&to).ok() {
        return Err(io_error(&to, "created")(ErrorKind::AlreadyExists.into()));
    }
    fs::remove_file(from).map_err(io_error(from, "moved"))
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> FormerLogError {
    let folder = path.to_owned();
    move |source| FormerLogError::Io { folder, doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_copied_to_another_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let (from, former) = (folder.path().join("audit.head"), folder.path().join("former"));
        fs::create_dir(&former).unwrap();
        let move_away = || move_head(&from, &former, |_, _| Err(ErrorKind::CrossesDevices.into()));
        fs::write(&from, "end").unwrap();
        fs::write(former.join(COPY), "of a process that died").unwrap();
        move_away().unwrap();
        assert_eq!(
            (from.exists(), fs::read_to_string(former.join(HEAD)).unwrap()),
            (false, "end".to_owned())
        );
        assert!(!former.join(COPY).exists());
        // A process died before it removed the original.
        fs::write(&from, "end").unwrap();
        move_away().unwrap();
        assert!(!from.exists());
        fs::write(&from, "another end").unwrap();
        assert!(move_away().is_err() && from.exists());
    }
}
