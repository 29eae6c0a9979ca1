//! Tests of crashes, failing disks and files that somebody changed.

use std::sync::Mutex;

use super::files::{FileOperations, JournalFile, SystemFiles};
use super::*;

/// Copies a folder as a process that dies leaves it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// Operations that count, and fail from a given one on.
pub(super) struct Failing {
    pub(super) system: SystemFiles,
    pub(super) state: Arc<Mutex<Countdown>>,
}

pub(super) struct Countdown {
    /// Number of operations that still succeed.
    pub(super) left: usize,
    /// Number of operations that fail then.
    pub(super) failing: usize,
    pub(super) done: usize,
}

impl Countdown {
    fn step(state: &Mutex<Countdown>) -> io::Result<()> {
        let mut state = state.lock().unwrap();
        state.done += 1;
        if state.left > 0 {
            state.left -= 1;
            return Ok(());
        }
        if state.failing > 0 {
            state.failing -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl FileOperations for Failing {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        Countdown::step(&self.state)?;
        self.system.create_folder(path)
    }
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if let Err(error) = Countdown::step(&self.state) {
            self.system.write(path, &content[..content.len() / 2])?;
            return Err(error);
        }
        self.system.write(path, content)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Countdown::step(&self.state)?;
        self.system.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Countdown::step(&self.state)?;
        self.system.remove(path)
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        Countdown::step(&self.state)?;
        self.system.remove_folder(path)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        Countdown::step(&self.state)?;
        assert!(path.exists());
        Ok(())
    }
    fn sync_everything(&self, _: &Path) -> io::Result<()> {
        Countdown::step(&self.state)
    }
    fn open_journal(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        Countdown::step(&self.state)?;
        Ok(Box::new(FailingJournal { file: self.system.open_journal(path)?, state: Arc::clone(&self.state) }))
    }
}

struct FailingJournal {
    file: Box<dyn JournalFile>,
    state: Arc<Mutex<Countdown>>,
}

impl JournalFile for FailingJournal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = Countdown::step(&self.state) {
            self.file.write(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        Countdown::step(&self.state)
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        Countdown::step(&self.state)?;
        self.file.truncate(length)
    }
}

/// One run of a log: several publications, two journals, an end of a day and a pruning. Returns the number of entries that
/// were acknowledged, and stops at the first failure unless it goes on.
fn run(folder: &Path, state: &Arc<Mutex<Countdown>>, goes_on: bool) -> u64 {
    let files = || Arc::new(Failing { system: SystemFiles, state: Arc::clone(state) });
    let mut opened = Storage::open_with(settings(folder), files());
    if opened.is_err() && goes_on {
        opened = Storage::open_with(settings(folder), files());
    }
    let Ok((mut storage, _)) = opened else { return 0 };
    storage.journal_bytes = 6000;
    let (mut durable, mut pruned) = (storage.size(), false);
    for size in [100, 200, 300, 511, 512, 513, 760, 768, 1000, 1024, 1030] {
        let appended = storage.append(&entries(storage.size(), size));
        let acknowledged = appended.is_ok() && storage.sync().is_ok();
        if acknowledged {
            durable = storage.size();
        }
        let published = acknowledged && publish_bundles(&mut storage).is_ok() && storage.publish().is_ok();
        let ended = size != PRUNING || published && storage.size() == PRUNING && storage.end_day().is_ok();
        pruned |= storage.size() > PRUNING && published && storage.prune(PRUNING).is_ok();
        let ended = ended && (pruned || size <= PRUNING);
        if !(goes_on || published && ended) {
            return durable;
        }
    }
    let _ = storage.close();
    durable
}

fn countdown(left: usize, failing: usize) -> Arc<Mutex<Countdown>> {
    Arc::new(Mutex::new(Countdown { left, failing, done: 0 }))
}

/// Reopens the log, checks that nothing that was acknowledged is missing, and goes on writing.
fn check_reopened(folder: &Path, durable: u64, which: &str) {
    let (mut storage, found) = open(folder);
    assert!(found.size >= durable, "{which}: {} of {durable}", found.size);
    let size = found.size + 300;
    grow(&mut storage, size);
    storage.close().unwrap();
    check(folder, size);
    let leftover = files(folder).into_iter().find(|name| name.starts_with("tmp"));
    assert_eq!(leftover, None, "{which}");
    if found.size > PRUNING && found.kept_checkpoints > 0 {
        for series in [layout::ENTRIES, layout::DETAILS, layout::LEAF_TILES] {
            let first = layout::first_bundle(&folder.join(series)).unwrap();
            assert_eq!(first, Some(PRUNING / BUNDLE), "{which}: {series}");
        }
    }
    let journals = files(folder).iter().filter(|name| name.starts_with("journal/")).count();
    assert_eq!(journals, 1, "{which}");
    assert_eq!(partial_bundles(folder), u64::from(size % BUNDLE > 0) as usize, "{which}");
}

fn partial_bundles(folder: &Path) -> usize {
    files(folder).iter().filter(|name| name.starts_with("tile/entries/") && name.contains(".p/")).count()
}

#[test]
fn a_process_may_die_at_every_operation() {
    let folder = tempfile::tempdir().unwrap();
    let state = countdown(usize::MAX, 0);
    assert_eq!(run(&folder.path().join("whole"), &state, false), 1030);
    let operations = state.lock().unwrap().done;
    assert!(operations > 150, "{operations}");
    for left in 0..operations {
        let log = folder.path().join(left.to_string());
        // After its death a process does nothing any more.
        let durable = run(&log, &countdown(left, usize::MAX), false);
        check_reopened(&log, durable, &format!("operation {left}"));
        std::fs::remove_dir_all(log).unwrap();
    }
}

#[test]
fn every_operation_may_fail_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = countdown(usize::MAX, 0);
    run(&folder.path().join("whole"), &state, true);
    let operations = state.lock().unwrap().done;
    for left in 0..operations {
        let log = folder.path().join(left.to_string());
        let durable = run(&log, &countdown(left, 1), true);
        check_reopened(&log, durable, &format!("operation {left}"));
        std::fs::remove_dir_all(log).unwrap();
    }
}

#[test]
fn a_failed_write_is_undone_and_a_failed_sync_is_final() {
    let folder = tempfile::tempdir().unwrap();
    let state = countdown(usize::MAX, 0);
    let operations = Arc::new(Failing { system: SystemFiles, state: Arc::clone(&state) });
    let (mut storage, _) = Storage::open_with(settings(folder.path()), operations).unwrap();
    grow(&mut storage, 10);
    *state.lock().unwrap() = Countdown { left: 0, failing: 1, done: 0 };
    assert!(matches!(storage.append(&entries(10, 20)), Err(WriteFailure::RolledBack(_))));
    assert_eq!(storage.size(), 10);
    grow(&mut storage, 30);
    storage.check_room(1000).unwrap();
    check(folder.path(), 30);
    *state.lock().unwrap() = Countdown { left: 1, failing: 1, done: 0 };
    storage.append(&entries(30, 40)).unwrap();
    assert!(storage.sync().is_err());
    assert!(matches!(storage.append(&entries(40, 41)), Err(WriteFailure::Permanent(_))));
    assert!(storage.publish().is_err(), "entries that may be lost are not covered by a checkpoint");
    assert_eq!(storage.published(), 30);
    drop(storage);
    *state.lock().unwrap() = Countdown { left: 0, failing: 0, done: 0 };
    let (mut storage, _) = open(folder.path());
    *state.lock().unwrap() = Countdown { left: 0, failing: 2, done: 0 };
    storage.journal.file = Box::new(FailingJournal { file: storage.journal.file, state });
    let size = storage.size();
    assert!(matches!(storage.append(&entries(size, 50)), Err(WriteFailure::Permanent(_))));
}

#[test]
fn the_torn_end_of_a_journal_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let (mut storage, _) = open(&source);
    grow(&mut storage, 260);
    storage.append(&entries(260, 262)).unwrap();
    drop(storage);
    let journal = journal_path(0);
    let whole = std::fs::read(source.join(&journal)).unwrap();
    let published = {
        let (mut reader, _) = JournalReader::open(&source.join(&journal)).unwrap().unwrap();
        while reader.index() < 260 {
            reader.next().unwrap();
        }
        usize::try_from(reader.offset()).unwrap()
    };
    for cut in published..=whole.len() {
        let log = folder.path().join(cut.to_string());
        copy(&source, &log);
        std::fs::write(log.join(&journal), &whole[..cut]).unwrap();
        let (storage, found) = open(&log);
        assert_eq!(
            found.torn_bytes > 0,
            cut != whole.len() && cut != published && found.size != 261 || found.torn_bytes > 0
        );
        assert!((260..=262).contains(&found.size));
        drop(storage);
        check(&log, found.size);
    }
    // A shorter journal contradicts the checkpoint.
    std::fs::write(source.join(&journal), &whole[..published - 1]).unwrap();
    assert!(matches!(Storage::open(settings(&source)), Err(OpenLogError::Inconsistent { .. })));
}

#[test]
fn a_damaged_entry_before_whole_ones_is_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (mut storage, _) = open(folder.path());
    grow(&mut storage, 300);
    storage.append(&entries(300, 310)).unwrap();
    storage.sync().unwrap();
    drop(storage);
    let path = folder.path().join(journal_path(0));
    let (mut reader, _) = JournalReader::open(&path).unwrap().unwrap();
    while reader.index() < 303 {
        reader.next().unwrap();
    }
    let before = reader.offset();
    let mut changed = std::fs::read(&path).unwrap();
    changed[usize::try_from(before).unwrap() + 9] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    let error = Storage::open(settings(folder.path())).map(drop).unwrap_err();
    assert!(
        matches!(&error, OpenLogError::DamagedJournal { file, entry: 303, later: 304, bytes } if *file == path && *bytes == before),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), changed, "nothing was changed");
    let read = LogReader::open(folder.path()).map(drop);
    assert!(matches!(&read, Err(ReadError::Damaged(file)) if *file == path), "{read:?}");
    // As the error says.
    assert!(error.to_string().ends_with(&format!("`truncate -s {before} {}`", path.display())));
    File::options().write(true).open(&path).unwrap().set_len(before).unwrap();
    drop(open(folder.path()));
    check(folder.path(), 303);
}

#[test]
fn files_that_a_power_failure_may_lose_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let (mut storage, _) = open(&source);
    grow(&mut storage, 512);
    storage.close().unwrap();
    let (mut storage, _) = open(&source);
    grow(&mut storage, 1100);
    drop(storage);
    for name in files(&source) {
        let is_durable = name.starts_with("journal/")
            || name == layout::ORIGIN
            || name.ends_with("/000")
            || name.ends_with("/001");
        if is_durable {
            continue;
        }
        for content in [None, Some(&b""[..]), Some(&[0; 100][..])] {
            let log = folder.path().join("log");
            copy(&source, &log);
            match content {
                None => std::fs::remove_file(log.join(&name)).unwrap(),
                Some(content) => std::fs::write(log.join(&name), content).unwrap(),
            }
            drop(open(&log));
            check(&log, 1100);
            assert_eq!(files(&log), files(&source), "{name}");
            std::fs::remove_dir_all(&log).unwrap();
        }
    }
}

#[test]
fn logs_that_contradict_themselves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let (mut storage, _) = open(&source);
    grow(&mut storage, 512);
    storage.end_day().unwrap();
    storage.close().unwrap();
    let (mut storage, _) = open(&source);
    grow(&mut storage, 600);
    let outside = folder.path().join("outside");
    std::fs::write(&outside, &storage.checkpoint().unwrap().note).unwrap();
    drop(storage);
    let earlier = folder.path().join("earlier");
    copy(&source, &earlier);
    let journal = journal_path(512);
    type Change<'c> = &'c dyn Fn(&Path);
    let cases: [(&str, Change<'_>); 7] = [
        (&journal, &|log| std::fs::remove_file(log.join(&journal)).unwrap()),
        (&journal, &|log| std::fs::write(log.join(&journal), b"purposegate-jnl1").unwrap()),
        ("checkpoint", &|log| {
            let note = std::fs::read_to_string(log.join("checkpoint")).unwrap();
            std::fs::write(log.join("checkpoint"), note.replace("\n600\n", "\n599\n")).unwrap();
        }),
        ("checkpoints/512", &|log| {
            std::fs::copy(log.join("checkpoint"), log.join("checkpoints/512")).unwrap();
        }),
        ("tile/entries/001", &|log| {
            let mut bundle = std::fs::read(log.join("tile/entries/001")).unwrap();
            bundle[5] ^= 1;
            std::fs::write(log.join("tile/entries/001"), bundle).unwrap();
        }),
        ("tile/1/000", &|log| {
            let (mut storage, _) = open(log);
            grow(&mut storage, 65_536 + 512);
            storage.close().unwrap();
            let mut tile = std::fs::read(log.join("tile/1/000")).unwrap();
            tile[0] ^= 1;
            std::fs::write(log.join("tile/1/000"), tile).unwrap();
        }),
        (&journal, &|log| {
            let path = log.join(&journal);
            let length = std::fs::metadata(&path).unwrap().len();
            File::options().write(true).open(path).unwrap().set_len(length - 1).unwrap();
        }),
    ];
    for (name, change) in cases {
        let log = folder.path().join("log");
        copy(&source, &log);
        change(&log);
        match Storage::open(settings(&log)) {
            Err(OpenLogError::Inconsistent { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
        std::fs::remove_dir_all(&log).unwrap();
    }
    // An older copy is consistent, but shorter than the checkpoint elsewhere says.
    let (mut storage, _) = open(&source);
    grow(&mut storage, 700);
    std::fs::write(&outside, &storage.checkpoint().unwrap().note).unwrap();
    drop(storage);
    let with = |folder: &Path| {
        Storage::open(StorageSettings { outside: vec![outside.clone()], ..settings(folder) }).map(drop)
    };
    assert!(with(&source).is_ok());
    assert!(matches!(with(&earlier), Err(OpenLogError::Inconsistent { file, .. }) if file == outside));
}
