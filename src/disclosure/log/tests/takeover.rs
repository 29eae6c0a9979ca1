//! A log of an earlier version in the folder is moved aside and continued.

use super::disk::DiskFiles;
use super::*;
use crate::disclosure::former;
use crate::disclosure::former::tests::old_log::OldLog;
use crate::disclosure::verify::{KnownLog, verify};

/// Writes an old log of five refusals. Returns the checkpoint of its end.
fn old_log(folder: &Folder, keys: &Keys) -> former::Checkpoint {
    let time = "2026-11-21T23:59:59.5Z".parse().unwrap();
    let mut log = OldLog::begin(&folder.path, keys, time);
    for n in 0..5 {
        log.refusal(&id(n).to_string(), time);
    }
    log.stop(time)
}

/// Returns the ends of old logs that start entries state.
fn ends(folder: &Path) -> Vec<(String, u64, String)> {
    let mut ends = Vec::new();
    each_head(folder, |_, head| {
        ends.extend(
            head.former_end()
                .map(|end| (end.log, end.records, blake3::Hash::from_bytes(end.chain).to_hex().to_string())),
        );
    });
    ends
}

fn segments(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, |files| {
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "jsonl")).count()
    })
}

#[test]
fn an_old_log_is_moved_aside_and_its_end_is_on_record() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let end = old_log(&folder, &keys);
    for _ in 0..2 {
        drop(open(&folder, &keys));
        assert_eq!(ends(&folder.path), [(end.log.clone(), end.records, end.chain.clone())]);
        assert_eq!((segments(&folder.path), segments(&folder.path.join("former"))), (0, 1));
        assert!(folder.path.join("former/head").is_file());
        assert!(!folder.outer.path().join("audit.head").exists());
    }
    let former = folder.path.join("former");
    let former = former::verify_former(&former, Some(former::TagKey::of(&keys)), Some(&end), &mut |_| ());
    assert_eq!(former.unwrap().checkpoint, Some(end));
}

#[test]
fn the_end_of_an_old_log_is_on_record_although_the_first_start_failed() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let end = old_log(&folder, &keys);
    let files = DiskFiles::with_room_for(1);
    let failed = Log::open_with(settings(&folder), &keys, Arc::new(files), Timestamp::now);
    assert!(failed.is_err());
    assert_eq!((kinds(&folder.path), ends(&folder.path)), (vec![EntryKind::Day], vec![]));
    for _ in 0..2 {
        drop(open(&folder, &keys));
        assert_eq!(ends(&folder.path), [(end.log.clone(), end.records, end.chain.clone())]);
    }
}

#[test]
fn an_old_log_is_examined_at_the_first_start_only() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let end = old_log(&folder, &keys);
    drop(open(&folder, &keys));
    let segment = folder.path.join("former/00000000000000000000.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("acme", "acmE", 1)).unwrap();
    drop(open(&folder, &keys));
    assert_eq!(ends(&folder.path), [(end.log, end.records, end.chain)]);
}

#[test]
fn a_move_that_was_interrupted_is_finished() {
    let (at, keys) = (folder(), Keys::random().unwrap());
    old_log(&at, &keys);
    // A second process began a second segment.
    let end = old_log(&at, &keys);
    assert_eq!(segments(&at.path), 2);
    let former_folder = at.path.join("former");
    for moved in 0..=2 {
        let copied = folder();
        copy(&at.path, &copied.path);
        std::fs::copy(at.outer.path().join("audit.head"), copied.outer.path().join("audit.head")).unwrap();
        let former_folder = copied.path.join("former");
        std::fs::create_dir(&former_folder).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(&at.path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in &names[..moved] {
            std::fs::rename(copied.path.join(name), former_folder.join(name)).unwrap();
        }
        drop(open(&copied, &keys));
        assert_eq!(ends(&copied.path), [(end.log.clone(), end.records, end.chain.clone())], "{moved}");
        assert_eq!((segments(&copied.path), segments(&former_folder)), (0, 2));
    }
    assert!(!former_folder.exists());
}

#[test]
fn an_old_log_that_does_not_verify_is_not_moved() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    old_log(&folder, &keys);
    let other = Log::open(settings(&folder), &Keys::random().unwrap());
    assert!(matches!(other, Err(OpenLogError::Former(former::FormerLogError::OtherKeys(_)))));
    let name = "00000000000000000000.jsonl";
    let text = std::fs::read_to_string(folder.path.join(name)).unwrap();
    std::fs::write(folder.path.join(name), text.replacen("acme", "acmE", 1)).unwrap();
    let changed = Log::open(settings(&folder), &keys);
    assert!(matches!(changed, Err(OpenLogError::Former(former::FormerLogError::Inconsistent { .. }))));
    assert_eq!(segments(&folder.path), 1);
}

#[test]
fn an_old_log_that_appears_later_is_refused() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    drop(open(&folder, &keys));
    std::fs::write(folder.path.join("00000000000000000000.jsonl"), "{}\n").unwrap();
    assert!(Log::open(settings(&folder), &keys).is_err());
    assert_eq!(segments(&folder.path), 1);
}

#[tokio::test]
async fn segments_of_an_old_log_expire_like_days() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let (folder, keys) = (folder(), Keys::random().unwrap());
    old_log(&folder, &keys);
    let began = Timestamp::now();
    let ten_days = Duration::from_secs(10 * 24 * 60 * 60);
    *NOW.lock().unwrap() = Some(began);
    let log = open_at(LogSettings { retention: ten_days, ..settings(&folder) }, &keys, clock);
    for day in 0..=11 {
        *NOW.lock().unwrap() = Some(began + (24 * day).hours());
        log.append(exchange(&keys, day as u64)).await.unwrap();
        assert_eq!(segments(&folder.path.join("former")), usize::from(day < 10), "{day}");
    }
    drop(log);
    assert!(!folder.path.join("former").exists());
    let mut removed = Vec::new();
    each_head(&folder.path, |_, head| removed.extend(head.below.map(|below| (below, head.former_segments))));
    assert_eq!(removed.first(), Some(&(0, 1)));
    assert_eq!(decisions(&folder.path).len(), 11, "the first day of the log goes a day later");
}

#[tokio::test]
async fn verification_compares_an_old_log_with_what_is_kept_of_it() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let began: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let mut old = OldLog::begin(&folder.path, &keys, began);
    for day in 1..3 {
        old.refusal(&id(day).to_string(), began);
        old.segment("rotation", began + (24 * i64::try_from(day).unwrap()).hours());
    }
    old.stop(began);
    let (former, saved) = (folder.path.join("former"), folder.outer.path().join("saved"));
    let findings = || {
        let signer = keys.log_signing_key(LogReader::open(&folder.path).unwrap().origin()).unwrap();
        let key = signer.verifier_key().parse().unwrap();
        let known = KnownLog { key: Some(&key), keys: Some(&keys), ..KnownLog::default() };
        verify(&folder.path, known, &mut |_| ()).unwrap().findings
    };
    let finds = |expected: &str| {
        let found = findings();
        assert!(found.iter().any(|finding| finding.contains(expected)), "{expected}: {found:?}");
    };
    let segment = |first: u64| format!("{first:020}.jsonl");
    let ten_days = Duration::from_secs(10 * 24 * 60 * 60);
    let (mut is_partly_kept, mut is_deleted, mut is_day_deleted) = (false, false, false);
    for day in 3..=16 {
        *NOW.lock().unwrap() = Some(began + (24 * day).hours());
        let log = open_at(LogSettings { retention: ten_days, ..settings(&folder) }, &keys, clock);
        log.append(exchange(&keys, u64::try_from(day).unwrap())).await.unwrap();
        assert_eq!(findings(), [] as [String; 0], "{day}");
        drop(log);
        assert_eq!(findings(), [] as [String; 0], "{day}");
        if day == 3 {
            copy(&former, &saved);
        }
        let begins = LogReader::open(&folder.path).unwrap().begin();
        if segments(&former) == 2 && !is_partly_kept {
            is_partly_kept = true;
            std::fs::copy(saved.join(segment(0)), former.join(segment(0))).unwrap();
            finds("former: records 0 to 1 are past their retention");
            std::fs::remove_file(former.join(segment(0))).unwrap();
            std::fs::remove_file(former.join(segment(2))).unwrap();
            finds("former: records 2 to 3 are missing");
            std::fs::copy(saved.join(segment(2)), former.join(segment(2))).unwrap();
        } else if !former.exists() && !is_deleted {
            (is_deleted, is_day_deleted) = (begins == 0, begins > 0);
            copy(&saved, &former);
            finds("former: an entry states that it was deleted");
            std::fs::remove_dir_all(&former).unwrap();
        } else if begins > 0 && !is_day_deleted {
            is_day_deleted = true;
            copy(&saved, &former);
            finds("former: is not part of the log");
            std::fs::remove_dir_all(&former).unwrap();
        }
    }
    assert_eq!((is_partly_kept, is_deleted, is_day_deleted), (true, true, true));
}
