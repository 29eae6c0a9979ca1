//! Deletes details in bundles. The leaves, and so the tree and its proofs, stay as they are.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::files::{FileOperations, write_atomically};
use super::layout::{
    BUNDLE, MAX_BUNDLE_BYTES, details_path, entries_path, push_framed, read_bounded, take_framed,
};
use crate::disclosure::entry::decode_head;

/// Returns the number of details in these full bundles that can be deleted and were not.
pub(super) fn count(folder: &Path, entries: &Range<u64>) -> io::Result<u64> {
    let mut count = 0;
    for number in bundles(entries) {
        count += without_details(folder, number, entries)?.map_or(0, |(deleted, _)| deleted);
    }
    Ok(count)
}

/// Deletes details in these full bundles. It can be repeated.
pub(super) fn delete(files: &dyn FileOperations, folder: &Path, entries: &Range<u64>) -> io::Result<()> {
    for number in bundles(entries) {
        if let Some((deleted, bundle)) = without_details(folder, number, entries)?
            && deleted > 0
        {
            write_atomically(files, folder, &details_path(number, BUNDLE), &bundle)?;
        }
    }
    Ok(())
}

fn bundles(entries: &Range<u64>) -> Range<u64> {
    entries.start / BUNDLE..entries.end.div_ceil(BUNDLE)
}

/// Returns the details of a bundle without those about people in a range, and their number. `None` for a bundle that was
/// pruned.
fn without_details(folder: &Path, number: u64, within: &Range<u64>) -> io::Result<Option<(u64, Vec<u8>)>> {
    let read = |name: String| match read_bounded(&folder.join(name), MAX_BUNDLE_BYTES) {
        Ok(bundle) => Ok(Some(bundle)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let Some(leaves) = read(entries_path(number, BUNDLE))? else { return Ok(None) };
    let Some(details) = read(details_path(number, BUNDLE))? else { return Ok(None) };
    let (mut leaves, mut details) = (leaves.as_slice(), details.as_slice());
    let (mut deleted, mut kept) = (0, Vec::with_capacity(details.len()));
    for index in number * BUNDLE..(number + 1) * BUNDLE {
        let (Some(leaf), Some(detail)) = (take_framed(&mut leaves), take_framed(&mut details)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a bundle is damaged"));
        };
        let is_deleted = within.contains(&index)
            && !detail.is_empty()
            && decode_head(leaf).is_ok_and(|head| head.kind.has_personal_detail());
        deleted += u64::from(is_deleted);
        push_framed(&mut kept, if is_deleted { &[] } else { detail });
    }
    Ok(Some((deleted, kept)))
}
