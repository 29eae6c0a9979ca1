//! Tests of verification and of the end of a log.

pub(crate) mod old_log;
mod tampering;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::recovery::find_end;
use super::*;
use crate::keys::Keys;
use old_log::OldLog;

/// A folder for a log inside a temporary folder, in which the log's head stands.
struct Folder {
    path: PathBuf,
    _outer: tempfile::TempDir,
}

impl Folder {
    fn path(&self) -> &Path {
        &self.path
    }
}

fn folder() -> Folder {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("audit");
    std::fs::create_dir(&path).unwrap();
    Folder { path, _outer: outer }
}

fn id(n: u64) -> String {
    ulid::Ulid::from_parts(1_763_769_599_500, u128::from(n)).to_string()
}

/// Writes a log of five exchanges and closes it. If there is one, continues it.
fn written(folder: &Path, keys: &Keys) -> Checkpoint {
    let time = Timestamp::UNIX_EPOCH;
    let mut log = OldLog::begin(folder, keys, time);
    for n in 0..5 {
        log.intent(&id(n), time);
        log.window(&id(n), time, &["AAAAAAAAAAAAAAAA".to_owned()], &[]);
        log.close(&id(n), time, "released");
    }
    log.stop(time)
}

fn verified(folder: &Path, tags: Option<TagKey>, since: Option<&Checkpoint>) -> FormerVerification {
    verify_former(folder, tags, since, &mut |_| ()).unwrap()
}

fn check(folder: &Path, keys: &Keys, since: Option<&Checkpoint>) -> FormerVerification {
    verified(folder, Some(TagKey::of(keys)), since)
}

fn only_file(folder: &Path) -> PathBuf {
    let segments = segment::list_segments(folder).unwrap();
    assert_eq!(segments.len(), 1);
    segments[0].path.clone()
}

fn pseudonym_key(keys: &Keys) -> String {
    keys.pseudonym_check().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_end_of_a_log_is_found_and_what_a_crash_leaves_is_cut_off() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let reached = written(folder.path(), &keys);
    let end = || find_end(folder.path(), &keys.log_tags(), &pseudonym_key(&keys)).unwrap().unwrap();
    let is_reached = |end: recovery::ChainEnd| {
        assert_eq!(
            (end.log, end.number, end.chain.to_hex()),
            (reached.log.clone(), reached.records, reached.chain.clone())
        );
    };
    is_reached(end());
    let file = only_file(folder.path());
    let complete = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&complete[..], br#"{"n":17,"kind""#].concat()).unwrap();
    std::fs::write(folder.path().join(segment::file_name(17)), "{").unwrap();
    is_reached(end());
    assert_eq!(std::fs::read(only_file(folder.path())).unwrap(), complete);
    std::fs::write(&file, "{").unwrap();
    assert!(find_end(folder.path(), &keys.log_tags(), &pseudonym_key(&keys)).unwrap().is_none());
}

#[test]
fn a_broken_log_or_one_of_other_keys_is_not_continued() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys);
    let end = |keys: &Keys, pseudonyms: &Keys| {
        find_end(folder.path(), &keys.log_tags(), &pseudonym_key(pseudonyms)).err()
    };
    let others = Keys::random().unwrap();
    assert!(matches!(end(&others, &keys), Some(FormerLogError::OtherKeys(_))));
    assert!(matches!(end(&keys, &others), Some(FormerLogError::OtherPseudonyms(_))));
    let file = only_file(folder.path());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("released", "rejected", 1)).unwrap();
    let record = match end(&keys, &keys) {
        Some(FormerLogError::Inconsistent { record, .. }) => record,
        other => panic!("{other:?}"),
    };
    assert_eq!(record, 3);
}
