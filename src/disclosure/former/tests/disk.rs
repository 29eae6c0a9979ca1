//! Disks that are slow, full or broken.

use std::cell::Cell;
use std::io;
use std::sync::{Condvar, Mutex};

use super::*;

/// A disk that can be blocked and filled; each test thread's log has its own.
#[derive(Default)]
struct Disk {
    state: Mutex<DiskState>,
    changed: Condvar,
}

#[derive(Default)]
struct DiskState {
    held: bool,
    full: bool,
    /// Writes cannot be rolled back.
    stuck: bool,
    syncs: usize,
}

struct DiskFile(Arc<Disk>, std::fs::File);

impl segment::SegmentFile for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.0.state.lock().unwrap().full {
            // Writes what fits, as a real disk does.
            io::Write::write_all(&mut self.1, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        io::Write::write_all(&mut self.1, bytes)
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
        self.1.set_len(length)
    }
}

thread_local! {
    static DISK: Cell<Option<Arc<Disk>>> = const { Cell::new(None) };
}

fn over(disk: &Arc<Disk>, folder: &Path, keys: &Keys, durability: Durability) -> Log {
    DISK.set(Some(Arc::clone(disk)));
    fn create(path: &Path) -> io::Result<Box<dyn segment::SegmentFile>> {
        let disk = DISK.take().unwrap();
        let file = std::fs::File::options().append(true).create_new(true).open(path)?;
        Ok(Box::new(DiskFile(disk, file)))
    }
    Log::open_with(folder, keys, GATEWAY, durability, YEAR, create, Timestamp::now).unwrap()
}

/// Polls until a condition holds, for conditions without a notification.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the condition never became true");
}

#[tokio::test]
async fn records_are_acknowledged_when_durable_and_waiting_records_share_a_sync() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = Arc::new(over(&disk, folder.path(), &keys, Durability::BeforeRelease));
    let before = disk.state.lock().unwrap().syncs;
    disk.state.lock().unwrap().held = true;
    let intents: Vec<_> = (0..100).map(|n| tokio::spawn(intend(&log, sample(&id(n))))).collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(intents.iter().all(|intent| !intent.is_finished()));
    disk.state.lock().unwrap().held = false;
    disk.changed.notify_all();
    for intent in intents {
        intent.await.unwrap().unwrap();
    }
    assert!(disk.state.lock().unwrap().syncs - before <= 10, "a hundred records, a few syncs");
}

#[tokio::test]
async fn a_segment_file_that_was_moved_or_removed_accepts_no_record() {
    for (at, rename) in [(1, true), (2, false)] {
        let (folder, keys) = (folder(), Keys::random().unwrap());
        let log = Log::open(folder.path(), &keys, GATEWAY, Durability::BeforeRelease, YEAR).unwrap();
        let entry = intend(&log, sample(&id(at))).await.unwrap();
        let segment = segment::list_segments(folder.path()).unwrap().remove(0).path;
        if rename {
            std::fs::rename(&segment, segment.with_extension("away")).unwrap();
        } else {
            std::fs::remove_file(&segment).unwrap();
        }
        assert_eq!(log.window(&entry, &window(&keys, &["alice"], 1)).await, Err(LogError));
        assert!(!log.healthy());
    }
}

#[tokio::test]
async fn after_a_write_that_cannot_be_rolled_back_every_record_fails() {
    for durability in [Durability::BeforeRelease, Durability::Batched] {
        let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
        let log = over(&disk, folder.path(), &keys, durability);
        let entry = intend(&log, sample(&id(1))).await.unwrap();
        log.flush().await;
        (disk.state.lock().unwrap().full, disk.state.lock().unwrap().stuck) = (true, true);
        let first = log.window(&entry, &window(&keys, &["alice"], 1)).await;
        if durability == Durability::BeforeRelease {
            assert_eq!(first, Err(LogError));
        }
        log.flush().await;
        assert!(!log.healthy());
        (disk.state.lock().unwrap().full, disk.state.lock().unwrap().stuck) = (false, false);
        assert_eq!(
            log.window(&entry, &window(&keys, &["alice"], 1)).await,
            Err(LogError),
            "even if there is space again"
        );
        assert!(intend(&log, sample(&id(2))).await.is_err());
        log.close_detached(entry, Outcome::Aborted);
        drop(log);
        drop(open(folder.path(), &keys));
        assert_eq!(
            check(folder.path(), &keys, None).findings,
            [] as [String; 0],
            "the rest is consistent once the incomplete line is cut off"
        );
    }
}

#[tokio::test]
async fn a_full_disk_pauses_the_log_until_there_is_space_again() {
    for durability in [Durability::BeforeRelease, Durability::Batched] {
        let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
        let log = over(&disk, folder.path(), &keys, durability);
        let entry = intend(&log, sample(&id(1))).await.unwrap();
        log.flush().await;
        disk.state.lock().unwrap().full = true;
        let left = log.window(&entry, &window(&keys, &["alice"], 1)).await;
        log.flush().await;
        assert!(!log.healthy());
        assert_eq!(log.window(&entry, &window(&keys, &["carol"], 1)).await, Err(LogError));
        assert!(intend(&log, sample(&id(2))).await.is_err());
        log.close_detached(entry, Outcome::Aborted);
        disk.state.lock().unwrap().full = false;
        until(|| log.healthy()).await;
        exchange(&log, &keys, 3).await;
        drop(log);
        assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
        let shown = shown(folder.path(), &ExchangeFilter::default(), false);
        let ends: Vec<_> =
            shown.iter().map(|one| (one["decision"].clone(), one["outcome"].clone())).collect();
        assert_eq!(ends, [(id(1).into(), "aborted".into()), (id(3).into(), "released".into())]);
        // A window accepted before the disk was found full may have left: it is recorded.
        assert_eq!(shown[0]["records"], i32::from(left.is_ok()), "{durability:?}");
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_created_is_created_later() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    static NO_FILES: AtomicBool = AtomicBool::new(false);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    fn create(path: &Path) -> io::Result<Box<dyn segment::SegmentFile>> {
        match NO_FILES.load(Ordering::SeqCst) {
            true => Err(io::Error::other("too many open files")),
            false => segment::create(path),
        }
    }
    let at = |time: &str| *NOW.lock().unwrap() = Some(time.parse().unwrap());
    let (folder, keys) = (folder(), Keys::random().unwrap());
    at("2026-01-01T23:59:00Z");
    let log = Log::open_with(folder.path(), &keys, GATEWAY, Durability::BeforeRelease, YEAR, create, clock)
        .unwrap();
    exchange(&log, &keys, 1).await;
    NO_FILES.store(true, Ordering::SeqCst);
    at("2026-01-02T00:00:01Z");
    assert!(intend(&log, sample(&id(2))).await.is_err());
    assert!(!log.healthy());
    NO_FILES.store(false, Ordering::SeqCst);
    until(|| log.healthy()).await;
    exchange(&log, &keys, 3).await;
    drop(log);
    let report = check(folder.path(), &keys, None);
    assert_eq!((report.findings, report.segments), (Vec::new(), 2));
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), false).len(), 2);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_can_be_closed() {
    let (folder, keys, disk) = (folder(), Keys::random().unwrap(), Arc::new(Disk::default()));
    let log = over(&disk, folder.path(), &keys, Durability::BeforeRelease);
    disk.state.lock().unwrap().full = true;
    let unpolled = log.intent(sample(&id(1)));
    assert!(intend(&log, sample(&id(2))).await.is_err());
    drop(log);
    assert!(unpolled.await.is_err());
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
}

#[tokio::test]
async fn dropping_the_log_does_not_wait_for_an_unpolled_future() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let unpolled = intend(&log, sample(&id(1)));
    drop(log);
    assert_eq!(unpolled.await.map(|_| ()), Err(LogError));
}
