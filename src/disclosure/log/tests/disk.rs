//! Disks that are slow, full or broken.

use std::io;
use std::sync::Condvar;

use super::*;
use crate::disclosure::entry::Entry;
use crate::disclosure::entry_writer::EntryWriter;
use crate::disclosure::storage::{JournalFile, WriteFailure};

/// A disk that can be blocked and filled.
#[derive(Default)]
pub(crate) struct Disk {
    state: Mutex<DiskState>,
    changed: Condvar,
}

#[derive(Default)]
struct DiskState {
    held: bool,
    full: bool,
    /// Writes cannot be rolled back.
    stuck: bool,
    /// Files besides the journal cannot be written.
    unpublishable: bool,
    /// Number of writes to the journal after which the disk is full.
    writes_left: Option<usize>,
    syncs: usize,
}

pub(super) struct DiskFiles(Arc<Disk>);

struct DiskJournal(Arc<Disk>, Box<dyn JournalFile>);

impl DiskFiles {
    /// A disk that is full after so many writes to the journal.
    pub(super) fn with_room_for(writes: usize) -> DiskFiles {
        let disk = Disk::default();
        disk.state.lock().unwrap().writes_left = Some(writes);
        DiskFiles(Arc::new(disk))
    }

    fn check(&self) -> io::Result<()> {
        let state = self.0.state.lock().unwrap();
        if state.full || state.unpublishable { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl FileOperations for DiskFiles {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        SystemFiles.create_folder(path)
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.check()?;
        SystemFiles.write(path, content)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        SystemFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemFiles.remove(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        SystemFiles.remove_folder(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        SystemFiles.sync(path)
    }

    fn sync_everything(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.sync_everything(folder)
    }

    fn open_journal(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        Ok(Box::new(DiskJournal(Arc::clone(&self.0), SystemFiles.open_journal(path)?)))
    }
}

impl JournalFile for DiskJournal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.state.lock().unwrap();
        let is_full = state.full || state.writes_left == Some(0);
        state.writes_left = state.writes_left.map(|left| left.saturating_sub(1));
        drop(state);
        if is_full {
            // Writes what fits, as a real disk does.
            self.1.write(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let state = self.0.state.lock().unwrap();
        let mut state = self.0.changed.wait_while(state, |state| state.held).unwrap();
        state.syncs += 1;
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.0.state.lock().unwrap().stuck {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1.truncate(length)
    }
}

impl Log {
    /// Opens a log on this disk.
    pub(crate) fn open_on(disk: &Arc<Disk>, settings: LogSettings, keys: &Keys) -> Log {
        Log::open_with(settings, keys, Arc::new(DiskFiles(Arc::clone(disk))), Timestamp::now).unwrap()
    }
}

impl Disk {
    /// Fills the disk, or makes room.
    pub(crate) fn set_full(&self, full: bool) {
        set(self, |state| state.full = full);
    }
}

fn over(disk: &Arc<Disk>, folder: &Folder, keys: &Keys, durability: Durability) -> Log {
    let settings = LogSettings { durability, ..settings(folder) };
    Log::open_on(disk, settings, keys)
}

fn set(disk: &Disk, change: impl FnOnce(&mut DiskState)) {
    change(&mut disk.state.lock().unwrap());
    disk.changed.notify_all();
}

#[tokio::test]
async fn records_are_acknowledged_when_durable_and_waiting_records_share_a_sync() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = over(&disk, &folder, &keys, Durability::BeforeRelease);
    let before = disk.state.lock().unwrap().syncs;
    set(&disk, |state| state.held = true);
    let waiting: Vec<_> = (0..100).map(|n| tokio::spawn(log.append(exchange(&keys, n)))).collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(waiting.iter().all(|record| !record.is_finished()));
    set(&disk, |state| state.held = false);
    for record in waiting {
        record.await.unwrap().unwrap();
    }
    assert!(disk.state.lock().unwrap().syncs - before <= 10, "a hundred records, a few syncs");
}

#[tokio::test]
async fn a_journal_that_was_moved_or_removed_accepts_no_record() {
    for rename in [true, false] {
        let (folder, keys) = (folder(), Keys::random().unwrap());
        let log = open(&folder, &keys);
        log.append(exchange(&keys, 1)).await.unwrap();
        let mut journals = std::fs::read_dir(folder.path.join("journal")).unwrap();
        let journal = journals.next().unwrap().unwrap().path();
        if rename {
            std::fs::rename(&journal, folder.outer.path().join("away")).unwrap();
        } else {
            std::fs::remove_file(&journal).unwrap();
        }
        assert_eq!(log.append(exchange(&keys, 2)).await, Err(LogError));
        assert!(!log.healthy() && log.is_running());
    }
}

#[tokio::test]
async fn after_a_write_that_cannot_be_rolled_back_every_record_fails() {
    for durability in [Durability::BeforeRelease, Durability::Batched] {
        let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
        let log = over(&disk, &folder, &keys, durability);
        log.append(exchange(&keys, 1)).await.unwrap();
        log.flush().await.unwrap();
        set(&disk, |state| (state.full, state.stuck) = (true, true));
        let first = log.append(exchange(&keys, 2)).await;
        if durability == Durability::BeforeRelease {
            assert_eq!(first, Err(LogError));
        }
        assert_eq!(log.flush().await, Err(LogError));
        assert!(!log.healthy());
        set(&disk, |state| (state.full, state.stuck) = (false, false));
        assert_eq!(log.append(exchange(&keys, 3)).await, Err(LogError), "even if there is space again");
        log.append_detached(close(1, Outcome::Aborted));
        drop(log);
        drop(open(&folder, &keys));
        assert_eq!(decisions(&folder.path), [id(1)], "the incomplete write is cut off");
        check_names(&folder.path);
        let mut unclean = Vec::new();
        each_head(&folder.path, |_, head| {
            unclean.extend((head.kind == EntryKind::Start).then_some((head.unclean, head.torn_bytes > 0)));
        });
        assert_eq!(unclean, [(false, false), (true, true)]);
    }
}

#[tokio::test]
async fn a_full_disk_pauses_the_log_until_there_is_space_again() {
    for durability in [Durability::BeforeRelease, Durability::Batched] {
        let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
        let log = over(&disk, &folder, &keys, durability);
        log.append(exchange(&keys, 1)).await.unwrap();
        log.flush().await.unwrap();
        set(&disk, |state| state.full = true);
        // Its names are lost with it.
        let mut other = ExchangeHead::clone(&head(2));
        other.recipient = "other".into();
        let left = log.append(Record::Exchange(Arc::new(other.clone()), disclosure(&keys, "carol"))).await;
        assert_eq!(log.flush().await, Err(LogError));
        assert!(!log.healthy());
        assert_eq!(log.append(exchange(&keys, 3)).await, Err(LogError));
        log.append_detached(close(1, Outcome::Aborted));
        set(&disk, |state| state.full = false);
        until(|| log.healthy()).await;
        other.decision = id(4);
        log.append(Record::Exchange(Arc::new(other), disclosure(&keys, "carol"))).await.unwrap();
        drop(log);
        check_names(&folder.path);
        // A record that was accepted before the disk was found full may describe what has left: it is kept.
        let accepted = left.is_ok().then_some(id(2));
        let expected: Vec<_> = [id(1)].into_iter().chain(accepted).chain([id(1), id(4)]).collect();
        assert_eq!(decisions(&folder.path), expected, "{durability:?}");
        assert!(kinds(&folder.path).contains(&EntryKind::Resume));
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_can_be_closed() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = over(&disk, &folder, &keys, Durability::BeforeRelease);
    set(&disk, |state| state.full = true);
    let unpolled = log.append(exchange(&keys, 1));
    assert!(log.append(exchange(&keys, 2)).await.is_err());
    drop(log);
    assert!(unpolled.await.is_err());
    drop(open(&folder, &keys));
    assert_eq!(decisions(&folder.path), []);
}

#[tokio::test]
async fn records_that_were_accepted_are_written_while_a_stop_has_time() {
    for (time, expected) in [(Duration::from_secs(60), vec![id(1)]), (Duration::ZERO, vec![])] {
        let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
        let log = over(&disk, &folder, &keys, Durability::Batched);
        let accepted = log.prepare(exchange(&keys, 1), Durability::Batched).await.unwrap();
        set(&disk, |state| state.full = true);
        assert!(accepted.append().await.is_ok());
        let closing = std::thread::spawn(move || log.close_by(Instant::now() + time));
        // More than one attempt fails.
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(closing.is_finished(), expected.is_empty());
        set(&disk, |state| state.full = false);
        closing.join().unwrap();
        assert_eq!(decisions(&folder.path), expected);
    }
}

#[tokio::test]
async fn the_number_of_refusals_that_found_no_room_is_on_record() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = over(&disk, &folder, &keys, Durability::BeforeRelease);
    set(&disk, |state| state.held = true);
    let waiting = tokio::spawn(log.append(exchange(&keys, 1)));
    // The queue of refusals has 8 MiB, and a refusal takes 1 KiB of it.
    for n in 0..9_000 {
        log.refuse(head(n), "purpose-not-permitted");
    }
    set(&disk, |state| state.held = false);
    waiting.await.unwrap().unwrap();
    until(|| log.records_written() > 8_000).await;
    log.flush().await.unwrap();
    let dropped = log.refusals_dropped();
    assert!(dropped >= 700, "{dropped}");
    drop(log);
    let (mut refusals, mut stated) = (0, 0);
    each_head(&folder.path, |_, head| {
        refusals += u64::from(head.kind == EntryKind::Refusal);
        stated += head.refusals;
    });
    assert_eq!((refusals + stated, stated), (9_000, dropped));
}

#[tokio::test]
async fn records_are_accepted_while_nothing_can_be_published() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = over(&disk, &folder, &keys, Durability::BeforeRelease);
    set(&disk, |state| state.unpublishable = true);
    for n in 0..600 {
        log.append(exchange(&keys, n)).await.unwrap();
    }
    assert!(log.healthy() && log.uncovered_for() > Duration::ZERO);
    set(&disk, |state| state.unpublishable = false);
    until(|| log.uncovered_for() == Duration::ZERO).await;
    drop(log);
    assert_eq!(decisions(&folder.path).len(), 600);
}

#[tokio::test]
async fn a_day_that_cannot_be_ended_is_ended_later() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let at = |time: &str| *NOW.lock().unwrap() = Some(time.parse().unwrap());
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    at("2026-01-01T23:59:00Z");
    let files = Arc::new(DiskFiles(Arc::clone(&disk)));
    let log = Log::open_with(settings(&folder), &keys, files, clock).unwrap();
    log.append(exchange(&keys, 1)).await.unwrap();
    set(&disk, |state| state.unpublishable = true);
    at("2026-01-02T00:00:01Z");
    assert!(log.append(exchange(&keys, 2)).await.is_err());
    assert!(!log.healthy());
    at("2026-01-01T23:59:59Z");
    set(&disk, |state| state.unpublishable = false);
    until(|| log.healthy()).await;
    log.append(exchange(&keys, 3)).await.unwrap();
    drop(log);
    check_names(&folder.path);
    assert_eq!(decisions(&folder.path), [id(1), id(3)]);
    assert_eq!(LogReader::open(&folder.path).unwrap().days(), [0, 256]);
}

#[tokio::test]
async fn a_record_can_be_durable_although_the_log_is_batched() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = over(&disk, &folder, &keys, Durability::Batched);
    set(&disk, |state| state.held = true);
    let intent = log.prepare(Record::Intent(head(1)), Durability::BeforeRelease).await.unwrap();
    let waiting = tokio::spawn(intent.append());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    set(&disk, |state| state.held = false);
    waiting.await.unwrap().unwrap();
    assert_eq!(decisions(&folder.path), [id(1)]);
}

#[tokio::test]
async fn a_record_that_is_kept_while_the_log_is_paused_counts_as_accepted() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = over(&disk, &folder, &keys, Durability::Batched);
    let accepted = log.prepare(exchange(&keys, 1), Durability::Batched).await.unwrap();
    let dropped = log.prepare(exchange(&keys, 2), Durability::Batched).await.unwrap();
    set(&disk, |state| state.full = true);
    log.append_detached(close(3, Outcome::Aborted));
    until(|| !log.healthy()).await;
    accepted.append().await.unwrap();
    drop(dropped);
    assert!(log.prepare(exchange(&keys, 4), Durability::Batched).await.is_err());
    assert_eq!(log.flush().await, Err(LogError), "what was accepted is not readable");
    set(&disk, |state| state.full = false);
    until(|| log.healthy()).await;
    log.flush().await.unwrap();
    drop(log);
    assert_eq!(decisions(&folder.path), [id(3), id(1)]);
}

#[tokio::test]
async fn an_idle_log_that_cannot_begin_a_day_tries_again_without_haste() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    static ASKED: AtomicU64 = AtomicU64::new(0);
    fn clock() -> Timestamp {
        ASKED.fetch_add(1, Ordering::SeqCst);
        NOW.lock().unwrap().unwrap()
    }
    let at = |time: &str| *NOW.lock().unwrap() = Some(time.parse().unwrap());
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    at("2026-01-01T23:59:59Z");
    let files = Arc::new(DiskFiles(Arc::clone(&disk)));
    let log = Log::open_with(settings(&folder), &keys, files, clock).unwrap();
    log.append(exchange(&keys, 1)).await.unwrap();
    set(&disk, |state| state.unpublishable = true);
    at("2026-01-02T00:00:01Z");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = ASKED.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let asked = ASKED.load(Ordering::SeqCst) - before;
    assert!((1..=3).contains(&asked), "{asked} attempts in a second and a half");
    set(&disk, |state| state.unpublishable = false);
    until(|| LogReader::open(&folder.path).unwrap().days() == [0, 256]).await;
    assert!(log.healthy());
}

#[tokio::test]
async fn an_idle_log_begins_a_day_when_it_begins() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let at = |time: &str| *NOW.lock().unwrap() = Some(time.parse().unwrap());
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at("2026-01-01T23:59:59Z");
    let log = open_at(settings(&folder), &keys, clock);
    at("2026-01-02T00:00:00Z");
    until(|| LogReader::open(&folder.path).unwrap().days() == [0, 256]).await;
    drop(log);
}

#[tokio::test]
async fn a_process_that_ends_after_its_last_day_begins_one_first() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let at = |time: &str| *NOW.lock().unwrap() = Some(time.parse().unwrap());
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at("2026-01-01T23:59:59Z");
    let storage = EntryWriter::open(settings(&folder), &keys, Arc::new(SystemFiles), clock());
    let mut writer = storage.unwrap();
    at("2026-01-02T00:00:01Z");
    writer.stop(clock()).unwrap();
    writer.close().unwrap();
    drop(open_at(settings(&folder), &keys, clock));
    use EntryKind::{Day, Start, Stop};
    assert_eq!(kinds(&folder.path), [Day, Start, Day, Stop, Start, Stop]);
}

#[tokio::test]
async fn a_log_that_cannot_be_published_for_long_pauses() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let settings = settings(&folder);
    let files = Arc::new(DiskFiles(Arc::clone(&disk)));
    let mut writer = EntryWriter::open(settings, &keys, files, Timestamp::now()).unwrap();
    writer.limit_unpublished(200_000);
    set(&disk, |state| state.unpublishable = true);
    let record = exchange(&keys, 1);
    let mut write = || writer.write(std::iter::repeat_n(&record, 100), Timestamp::now());
    let written = (0..100).take_while(|_| write().is_ok()).count();
    assert!((3..20).contains(&written), "{written} times a hundred records");
    assert!(matches!(write(), Err(WriteFailure::RolledBack(_))));
    let resume = |writer: &mut EntryWriter| {
        let now = Timestamp::now();
        writer.resume(std::iter::once(&record), now, now)
    };
    assert!(matches!(resume(&mut writer), Err(WriteFailure::RolledBack(_))));
    set(&disk, |state| state.unpublishable = false);
    resume(&mut writer).unwrap();
    writer.write(std::iter::once(&record), Timestamp::now()).unwrap();
    writer.close().unwrap();
    assert_eq!(decisions(&folder.path).len(), written * 100 + 2);
    check_names(&folder.path);
}

#[test]
fn entries_without_random_salt_are_not_written() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let mut writer =
        EntryWriter::open(settings(&folder), &keys, Arc::new(SystemFiles), Timestamp::now()).unwrap();
    let unsalted = Entry { leaf: vec![0xa0], detail: vec![0; 17] };
    let failed = writer.append(&[unsalted]);
    assert!(matches!(failed, Err(WriteFailure::RolledBack(_))), "{failed:?}");
    writer.close().unwrap();
    assert_eq!(kinds(&folder.path), [EntryKind::Day, EntryKind::Start]);
}

#[tokio::test]
async fn a_log_whose_thread_has_panicked_is_not_healthy() {
    static BROKEN: AtomicBool = AtomicBool::new(false);
    fn clock() -> Timestamp {
        assert!(!BROKEN.load(Ordering::SeqCst), "the clock is broken");
        Timestamp::now()
    }
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open_at(settings(&folder), &keys, clock);
    assert!(log.healthy());
    BROKEN.store(true, Ordering::SeqCst);
    assert_eq!(log.append(exchange(&keys, 1)).await, Err(LogError));
    until(|| !log.is_running()).await;
    assert!(!log.healthy());
}
