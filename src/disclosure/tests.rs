//! The log as a whole: what it promises, what happens when a disk fails or a process dies, and
//! what somebody who changes it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;
use std::io;
use std::sync::{Condvar, Mutex};

use jiff::ToSpan;
use proptest::prelude::*;
use serde_json::Value;

use super::record::tests::{left, sample};
use super::*;
use crate::keys::Fingerprint;
use crate::vocabulary::Form;

/// A folder for a log, in one of its own: the log's head stands beside it.
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

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn open(folder: &Path, keys: &Keys) -> Log {
    Log::open(folder, keys, Durability::BeforeRelease, YEAR).unwrap()
}

fn id(n: u64) -> String {
    ulid::Ulid::from_parts(1_763_769_599_500, u128::from(n)).to_string()
}

fn person(keys: &Keys, name: &str) -> Fingerprint {
    keys.fingerprints().recipient(name)
}

/// An entry that is as durable as configured.
fn intend(log: &Log, intent: Intent<'_>) -> impl Future<Output = Result<Entry, LogError>> + Send + use<> {
    let queued = log.intent(intent);
    async move {
        let (entry, queued) = queued.await?;
        queued.durable().await?;
        Ok(entry)
    }
}

fn window(keys: &Keys, people: &[&str], fields: u64) -> Window<'static> {
    Window {
        position: crate::ledger::Position(9),
        records: people.len() as u64,
        withheld_records: 1,
        withheld_subjects: Vec::new(),
        subjects: people.iter().map(|name| person(keys, name)).collect(),
        categories: vec![left("email", Form::Clear, fields), left("phone", Form::Removed, 1)],
    }
}

async fn exchange(log: &Log, keys: &Keys, n: u64) {
    let entry = intend(log, sample(&id(n))).await.unwrap();
    log.window(&entry, &window(keys, &["alice", "bob"], 2)).await.unwrap();
    log.close(entry, Outcome::Released).await.unwrap();
}

/// A log of five exchanges, closed.
async fn written(folder: &Path, keys: &Keys) {
    let log = open(folder, keys);
    for n in 0..5 {
        exchange(&log, keys, n).await;
    }
}

fn shown(folder: &Path, filter: &ExchangeFilter, running: bool) -> Vec<Value> {
    let mut shown = Vec::new();
    fold(folder, filter, running, |value| {
        shown.push(value);
        Ok(())
    })
    .unwrap();
    shown
}

fn check(folder: &Path, keys: &Keys, since: Option<&Checkpoint>) -> VerificationReport {
    verify(folder, Some(&keys.log_tags()), since).unwrap()
}

fn only_file(folder: &Path) -> PathBuf {
    let segments = segment::list_segments(folder).unwrap();
    assert_eq!(segments.len(), 1);
    segments[0].path.clone()
}

#[tokio::test]
async fn the_accounting_of_a_person_holds_what_left_in_their_parts_of_answers_and_nobody_else() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let entry = intend(&log, sample(&id(1))).await.unwrap();
    log.window(&entry, &window(&keys, &["alice", "bob", "alice"], 2)).await.unwrap();
    let carols = Window { categories: vec![left("name", Form::Masked, 1)], ..window(&keys, &["carol"], 1) };
    log.window(&entry, &carols).await.unwrap();
    log.close(entry, Outcome::Released).await.unwrap();
    let withheld = intend(&log, sample(&id(2))).await.unwrap();
    let nothing = Window { categories: vec![left("email", Form::Removed, 1)], ..window(&keys, &["bob"], 1) };
    log.window(&withheld, &nothing).await.unwrap();
    log.close(withheld, Outcome::Released).await.unwrap();
    let refused = intend(&log, sample(&id(3))).await.unwrap();
    log.window(&refused, &window(&keys, &["bob"], 1)).await.unwrap();
    log.close(refused, Outcome::Refused("recipient-suspended")).await.unwrap();
    let cut = intend(&log, Intent { case: Some("C-7".into()), ..sample(&id(4)) }).await.unwrap();
    log.window(&cut, &window(&keys, &["bob"], 1)).await.unwrap();
    log.close(cut, Outcome::Aborted).await.unwrap();
    let open = intend(&log, sample(&id(5))).await.unwrap();
    let of_alice =
        Window { withheld_subjects: vec![person(&keys, "bob")], ..window(&keys, &["alice", "bob"], 1) };
    log.window(&open, &of_alice).await.unwrap();
    log.flush().await;

    let of = |name: &str| accounting(folder.path(), &[person(&keys, name)], log.pseudonyms()).unwrap();
    let (alice, bob, carol) = (of("alice"), of("bob"), of("carol"));
    let decisions =
        |list: &[AccountedExchange]| list.iter().map(|one| one.decision.clone()).collect::<Vec<_>>();
    assert_eq!(decisions(&alice), [id(1), id(5)]);
    assert_eq!(decisions(&bob), [id(1), id(4)], "aborted, it may have left; refused, it did not");
    assert_eq!((alice[0].people, alice[1].people, carol[0].people), (2, 1, 1));
    let spellings = [person(&keys, "alice"), person(&keys, "bob")];
    let both = accounting(folder.path(), &spellings, log.pseudonyms()).unwrap();
    assert_eq!(decisions(&both), [id(1), id(4), id(5)], "under any spelling, and each exchange once");
    let folded = decision(folder.path(), &id(5), true).unwrap().unwrap();
    assert_eq!(folded["subjects"].as_array().unwrap().len(), 2);
    let bobs = log.pseudonyms().epoch("2026-11-21").of(person(&keys, "bob"));
    assert_eq!(folded["withheld_subjects"], serde_json::json!([bobs.as_str()]));
    let categories = |one: &AccountedExchange| {
        one.categories.iter().map(|left| (left.category.clone(), left.form.clone())).collect::<Vec<_>>()
    };
    assert_eq!(categories(&alice[0]), [("email".to_owned(), "clear".to_owned())]);
    assert_eq!(categories(&carol[0]), [("name".to_owned(), "masked".to_owned())]);
    assert_eq!(bob[1].case.as_deref(), Some("C-7"));
    assert_eq!(of("dora"), []);
}

#[tokio::test]
async fn an_exchange_is_shown_as_one_record() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let entry = intend(&log, sample(&id(1))).await.unwrap();
    log.window(&entry, &window(&keys, &["alice", "bob"], 2)).await.unwrap();
    log.window(&entry, &window(&keys, &["bob", "carol"], 3)).await.unwrap();
    let in_flight = decision(folder.path(), &id(1), true).unwrap().unwrap();
    assert_eq!(in_flight["outcome"], Value::Null);
    log.close_detached(entry, Outcome::Released);
    log.refused(&sample(&id(2)), "no-rule-permits");
    log.flush().await;

    let shown = shown(folder.path(), &ExchangeFilter::default(), true);
    assert_eq!(shown.len(), 2);
    let whole = &shown[0];
    assert_eq!(*whole, decision(folder.path(), &id(1), true).unwrap().unwrap());
    assert_eq!(whole["decision"], id(1));
    assert_eq!(whole["outcome"], "released");
    assert_eq!(
        (&whole["records"], &whole["withheld_records"], &whole["position"]),
        (&4.into(), &2.into(), &9.into())
    );
    assert_eq!(whole["subjects"].as_array().unwrap().len(), 3);
    let email = &whole["categories"]["email"];
    assert_eq!(
        (email.as_array().unwrap().len(), &email[0]["fields"], &email[0]["basis"]),
        (1, &5.into(), &"consent".into())
    );
    assert_eq!(whole["categories"]["phone"][0]["form"], "removed");
    assert_eq!((&shown[1]["outcome"], &shown[1]["records"]), (&"refused:no-rule-permits".into(), &0.into()));
    assert_eq!(decision(folder.path(), &id(3), true).unwrap(), None);
    assert_eq!(decision(folder.path(), "../../etc/passwd", true).unwrap(), None);
}

#[tokio::test]
async fn exchanges_are_found_by_recipient_purpose_person_and_time() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    exchange(&log, &keys, 1).await;
    let other = Intent {
        recipient: "globex".into(),
        time: "2026-11-22T00:00:01Z".parse().unwrap(),
        ..sample(&id(2))
    };
    let entry = intend(&log, other).await.unwrap();
    log.window(&entry, &window(&keys, &["alice"], 1)).await.unwrap();
    log.close(entry, Outcome::Released).await.unwrap();

    let count = |filter| shown(folder.path(), &filter, true).len();
    assert_eq!(count(ExchangeFilter::default()), 2);
    assert_eq!(
        count(ExchangeFilter { recipient: Some("globex".to_owned()), ..ExchangeFilter::default() }),
        1
    );
    assert_eq!(count(ExchangeFilter { purpose: Some("hosting".to_owned()), ..ExchangeFilter::default() }), 0);
    assert_eq!(
        count(ExchangeFilter {
            since: Some("2026-11-22T00:00:00Z".parse().unwrap()),
            ..ExchangeFilter::default()
        }),
        1
    );
    let about = |name| ExchangeFilter {
        subject: Some((vec![person(&keys, name)], keys.subject_pseudonyms())),
        ..ExchangeFilter::default()
    };
    assert_eq!(count(about("alice")), 2, "under another pseudonym each day");
    assert_eq!(count(about("bob")), 1);
    assert_eq!(count(about("carol")), 0);
}

#[tokio::test]
async fn what_was_acknowledged_is_on_disk_when_the_process_dies() {
    let (folder, left, keys) = (folder(), folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let entry = intend(&log, sample(&id(1))).await.unwrap();
    log.window(&entry, &window(&keys, &["alice"], 1)).await.unwrap();
    // The file as it is at this moment, with a record torn in the middle behind it.
    let file = only_file(folder.path());
    let copy = left.path().join(file.file_name().unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(br#"{"n":3,"kind":"clo"#);
    std::fs::write(&copy, bytes).unwrap();
    assert_eq!(check(left.path(), &keys, None).findings.len(), 1);

    let revived = open(left.path(), &keys);
    assert_eq!(
        shown(left.path(), &ExchangeFilter::default(), true)[0]["outcome"],
        "aborted",
        "its process is gone"
    );
    assert_eq!(decision(left.path(), &id(1), true).unwrap().unwrap()["outcome"], "aborted");
    exchange(&revived, &keys, 2).await;
    drop(revived);
    let report = check(left.path(), &keys, None);
    assert_eq!((report.findings.as_slice(), report.segments), (&[] as &[String], 2));
    let opening = segment::read_header(&segment::list_segments(left.path()).unwrap()[1]).unwrap();
    assert_eq!((opening.unclean, opening.torn_bytes), (true, Some(18)));
}

#[tokio::test]
async fn a_start_that_tore_its_own_segment_is_mended() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    let next = check(folder.path(), &keys, None).checkpoint.unwrap().records;
    std::fs::write(folder.path().join(segment::file_name(next)), b"{\"n\":").unwrap();
    drop(open(folder.path(), &keys));
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), false).len(), 5);
}

#[tokio::test]
async fn a_log_has_one_writer_and_one_set_of_keys() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let again = |keys: &Keys| Log::open(folder.path(), keys, Durability::Batched, YEAR).map(|_| ());
    assert!(matches!(again(&keys), Err(OpenLogError::InUse(_))));
    drop(log);
    assert!(matches!(again(&Keys::random().unwrap()), Err(OpenLogError::OtherKeys(_))));
    again(&keys).unwrap();
}

#[tokio::test]
async fn a_broken_log_is_not_continued() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    let file = only_file(folder.path());
    let text = std::fs::read_to_string(&file).unwrap().replacen("acme", "acmE", 1);
    std::fs::write(&file, text).unwrap();
    let error = Log::open(folder.path(), &keys, Durability::Batched, YEAR).unwrap_err();
    assert!(matches!(error, OpenLogError::Inconsistent { record: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_folder_where_nothing_can_be_written_is_an_error() {
    let keys = Keys::random().unwrap();
    let error = Log::open(Path::new("/proc/audit"), &keys, Durability::Batched, YEAR).unwrap_err();
    assert!(matches!(error, OpenLogError::Io { .. }), "{error}");
}

#[tokio::test]
async fn batched_records_are_taken_at_once_and_written_soon() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = Log::open(folder.path(), &keys, Durability::Batched, YEAR).unwrap();
    for n in 0..50 {
        exchange(&log, &keys, n).await;
    }
    drop(log);
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), false).len(), 50);
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
}

/// A disk that can be held and filled; one for each test thread's log.
#[derive(Default)]
struct Disk {
    state: Mutex<DiskState>,
    changed: Condvar,
}

#[derive(Default)]
struct DiskState {
    held: bool,
    full: bool,
    /// What was written cannot be taken back.
    stuck: bool,
    syncs: usize,
}

struct DiskFile(Arc<Disk>, std::fs::File);

impl segment::SegmentFile for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.0.state.lock().unwrap().full {
            // As a disk does, it takes what fits.
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
    Log::open_with(folder, keys, durability, YEAR, create, Timestamp::now).unwrap()
}

/// Returns when something is so; nothing tells of it.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came");
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable_and_what_waits_shares_a_sync() {
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
async fn a_segment_that_is_no_longer_in_its_place_takes_no_record() {
    for (at, rename) in [(1, true), (2, false)] {
        let (folder, keys) = (folder(), Keys::random().unwrap());
        let log = Log::open(folder.path(), &keys, Durability::BeforeRelease, YEAR).unwrap();
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
async fn after_a_write_that_cannot_be_taken_back_every_record_fails() {
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
        assert_eq!(log.window(&entry, &window(&keys, &["alice"], 1)).await, Err(LogError), "room or not");
        assert!(intend(&log, sample(&id(2))).await.is_err());
        log.close_detached(entry, Outcome::Aborted);
        drop(log);
        drop(open(folder.path(), &keys));
        assert_eq!(
            check(folder.path(), &keys, None).findings,
            [] as [String; 0],
            "what is there holds together once the torn end is cut off"
        );
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_log_until_there_is_room_again() {
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
        // What was taken before the disk was found full may have left: it is on record.
        assert_eq!(shown[0]["records"], i32::from(left.is_ok()), "{durability:?}");
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_made_is_made_later() {
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
    let log = Log::open_with(folder.path(), &keys, Durability::BeforeRelease, YEAR, create, clock).unwrap();
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
async fn a_log_that_cannot_be_written_still_ends() {
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
async fn a_log_that_is_dropped_does_not_wait_for_a_future_that_nobody_polls() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let unpolled = intend(&log, sample(&id(1)));
    drop(log);
    assert_eq!(unpolled.await.map(|_| ()), Err(LogError));
}

#[tokio::test]
async fn what_is_past_its_retention_is_removed_and_the_rest_still_verifies() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let day = |n: i64| {
        let time: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        *NOW.lock().unwrap() = Some(time + (24 * n).hours());
    };
    let ten_days = Duration::from_secs(10 * 24 * 60 * 60);
    day(0);
    let log =
        Log::open_with(folder.path(), &keys, Durability::BeforeRelease, ten_days, segment::create, clock)
            .unwrap();
    exchange(&log, &keys, 0).await;
    let old = check(folder.path(), &keys, None).checkpoint.unwrap();
    for n in 1..=14 {
        day(n);
        exchange(&log, &keys, n as u64).await;
    }
    let report = check(folder.path(), &keys, Some(&old));
    assert_eq!(report.findings, [] as [String; 0]);
    assert_eq!(report.segments, 11, "today's and those of the ten days before");
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), true).len(), 11);
    let kept = report.checkpoint.unwrap();
    drop(log);
    for n in (16..=44).step_by(4) {
        day(n);
        let log =
            Log::open_with(folder.path(), &keys, Durability::BeforeRelease, ten_days, segment::create, clock)
                .unwrap();
        exchange(&log, &keys, n as u64).await;
    }
    assert_eq!(segment::list_segments(folder.path()).unwrap().len(), 4, "of the days 32, 36, 40 and 44");
    assert_eq!(check(folder.path(), &keys, Some(&kept)).findings, [] as [String; 0]);
    // Gone without the log's own word for it.
    let first = segment::list_segments(folder.path()).unwrap()[0].clone();
    let lines = std::fs::read_to_string(&first.path).unwrap();
    let without: Vec<_> = lines.lines().filter(|line| !line.contains("\"kind\":\"cut\"")).collect();
    std::fs::write(&first.path, without.join("\n") + "\n").unwrap();
    assert!(!check(folder.path(), &keys, None).findings.is_empty());
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_removes_nothing() {
    static NOW: Mutex<Option<Timestamp>> = Mutex::new(None);
    fn clock() -> Timestamp {
        NOW.lock().unwrap().unwrap()
    }
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let day = |n: i64| {
        let time: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        *NOW.lock().unwrap() = Some(time + (24 * n).hours());
    };
    let open = || {
        let durability = Durability::BeforeRelease;
        Log::open_with(folder.path(), &keys, durability, YEAR, segment::create, clock).unwrap()
    };
    day(0);
    let log = open();
    for n in 0..3 {
        day(n);
        exchange(&log, &keys, n as u64).await;
    }
    drop(log);
    day(500);
    let log = open();
    exchange(&log, &keys, 500).await;
    day(501);
    exchange(&log, &keys, 501).await;
    drop(log);
    let log = open();
    day(1000);
    exchange(&log, &keys, 1000).await;
    day(3);
    exchange(&log, &keys, 3).await;
    drop(log);
    drop(open());
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), false).len(), 7, "nothing was removed");
    let report = check(folder.path(), &keys, None);
    assert_eq!(report.findings, [] as [String; 0]);
    assert!(!report.remarks.iter().any(|remark| remark.contains("removed")), "{:?}", report.remarks);
}

/// The log as it was at some time, copied to another folder with its head.
fn copy(from: &Path, head: &Path) -> Folder {
    let copy = folder();
    for segment in segment::list_segments(from).unwrap() {
        std::fs::copy(&segment.path, copy.path().join(segment.path.file_name().unwrap())).unwrap();
    }
    std::fs::copy(head, head::path(copy.path()).unwrap()).unwrap();
    copy
}

#[tokio::test]
async fn a_removed_end_is_found_by_the_head_and_told_after_the_next_start() {
    let (original, keys) = (folder(), Keys::random().unwrap());
    for _ in 0..2 {
        written(original.path(), &keys).await;
    }
    let head = head::path(original.path()).unwrap();
    assert_eq!(check(original.path(), &keys, None).findings, [] as [String; 0]);
    let last = |folder: &Path| segment::list_segments(folder).unwrap().pop().unwrap().path;
    let cut = |folder: &Path, lines: usize| {
        let text = std::fs::read_to_string(last(folder)).unwrap();
        let kept: Vec<&str> = text.lines().collect();
        std::fs::write(last(folder), kept[..kept.len() - lines].join("\n") + "\n").unwrap();
    };
    for (what, damage) in [
        ("one line", &(|folder: &Path| cut(folder, 1)) as &dyn Fn(&Path)),
        ("many lines", &|folder| cut(folder, 7)),
        ("half a line", &|folder| {
            let text = std::fs::read(last(folder)).unwrap();
            std::fs::write(last(folder), &text[..text.len() - 9]).unwrap();
        }),
        ("the last file", &|folder| std::fs::remove_file(last(folder)).unwrap()),
        ("every file", &|folder| {
            for segment in segment::list_segments(folder).unwrap() {
                std::fs::remove_file(segment.path).unwrap();
            }
        }),
    ] {
        let damaged = copy(original.path(), &head);
        damage(damaged.path());
        let findings = check(damaged.path(), &keys, None).findings;
        assert!(findings.iter().any(|finding| finding.contains("head")), "{what}: {findings:?}");
        for restarts in 1..=2 {
            let log = open(damaged.path(), &keys);
            exchange(&log, &keys, 50 + restarts).await;
            drop(log);
            let findings = check(damaged.path(), &keys, None).findings;
            let [finding] = findings.as_slice() else { panic!("{what}: {findings:?}") };
            assert!(
                finding.contains("its end was removed") || finding.contains("another log with"),
                "{what}: {finding}"
            );
        }
    }
    // A log without a head is as good: one of version 0.1.0, or a copy.
    std::fs::remove_file(head).unwrap();
    cut(original.path(), 1);
    drop(open(original.path(), &keys));
    let report = check(original.path(), &keys, None);
    assert_eq!(report.findings, [] as [String; 0]);
    assert!(
        report.remarks.iter().any(|remark| remark.contains("the tail was cut off")),
        "{:?}",
        report.remarks
    );
}

#[tokio::test]
async fn a_head_that_lags_or_cannot_be_read_is_no_finding() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    let head = head::path(folder.path()).unwrap();
    let old = std::fs::read(&head).unwrap();
    written(folder.path(), &keys).await;
    for content in [old.as_slice(), b"", b"{\"log\":", &[0; 256]] {
        std::fs::write(&head, content).unwrap();
        assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
        drop(open(folder.path(), &keys));
        assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    }
}

/// What version 0.1.0 wrote: no reasons, no key of pseudonyms, no head.
#[tokio::test]
async fn a_log_of_version_0_1_0_is_read_verified_and_continued() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let opening = format!(
        r#""kind":"segment","time":"2026-11-21T23:59:00Z","log":"ab","format":1,"previous":"{}","why":"start""#,
        chain::Chain::BEGIN.to_hex()
    );
    let withheld = |rules: &str, clauses: &str| {
        format!(
            r#"{{"category":"email","form":"removed","rules":[{rules}],"clauses":[{clauses}],"fields":1}}"#
        )
    };
    let window = format!(
        r#""kind":"window","decision":"{}","time":"2026-11-21T23:59:59.6Z","salt":"00","position":9,"records":2,"withheld_records":2,"categories":[{},{}],"subjects":["a","b"]"#,
        id(1),
        withheld(r#""erased""#, r#""G-6.8c","G-3f""#),
        withheld("", "")
    );
    let pseudonyms = keys.subject_pseudonyms().epoch("2026-11-21");
    let bodies = [
        opening.into_bytes(),
        record::intent(&sample(&id(1)), None, &pseudonyms),
        window.into_bytes(),
        record::close(&id(1), "2026-11-21T23:59:59.7Z".parse().unwrap(), Outcome::Released),
        br#""kind":"stop","time":"2026-11-21T23:59:59.8Z""#.to_vec(),
    ];
    let (mut lines, mut link) = (Vec::new(), chain::Chain::BEGIN);
    for (number, body) in (0..).zip(&bodies) {
        link = chain::seal(&mut lines, link, number, body, &keys.log_tags());
    }
    std::fs::write(folder.path().join(segment::file_name(0)), lines).unwrap();

    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    let shown = decision(folder.path(), &id(1), false).unwrap().unwrap();
    let entry = |rules: &[&str], clauses: &[&str]| serde_json::json!({ "form": "removed", "basis": null, "rules": rules, "clauses": clauses, "fields": 1 });
    let entries = serde_json::json!([entry(&["erased"], &["G-6.8c", "G-3f"]), entry(&[], &[])]);
    assert_eq!(shown["categories"]["email"], entries);
    let log = open(folder.path(), &keys);
    exchange(&log, &keys, 2).await;
    drop(log);
    let report = check(folder.path(), &keys, None);
    assert_eq!((report.findings.as_slice(), report.segments), (&[] as &[String], 2));
}

#[tokio::test]
async fn another_pseudonym_key_is_refused() {
    let (folder, outer) = (folder(), tempfile::tempdir().unwrap());
    let file = outer.path().join("keys");
    let keys = Keys::open_or_create(&file, &[]).unwrap();
    written(folder.path(), &keys).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.starts_with("pseudonym")).unwrap();
    std::fs::write(&file, text.replace(line, &format!("pseudonym = {}", "ab".repeat(32)))).unwrap();
    let exchanged = Keys::open(&file).unwrap();
    let error = Log::open(folder.path(), &exchanged, Durability::Batched, YEAR).unwrap_err();
    assert!(matches!(error, OpenLogError::OtherPseudonyms(_)), "{error}");
    std::fs::write(&file, text).unwrap();
    drop(open(folder.path(), &Keys::open(&file).unwrap()));
}

#[tokio::test]
async fn every_file_in_the_folder_is_accounted_for() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    for allowed in ["index", "my-key", "cache.db", "cache.db-wal"] {
        std::fs::write(folder.path().join(allowed), "x").unwrap();
    }
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    for (strange, finding) in
        [("notes.txt", "notes.txt: no part of the log"), ("0.jsonl", "0.jsonl: no part of the log")]
    {
        let path = folder.path().join(strange);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(check(folder.path(), &keys, None).findings, [finding]);
        std::fs::remove_file(path).unwrap();
    }
    std::fs::create_dir(folder.path().join("old")).unwrap();
    assert_eq!(check(folder.path(), &keys, None).findings, ["old: no part of the log"]);
}

#[tokio::test]
async fn tampering_is_found_and_the_first_bad_record_named() {
    let keys = Keys::random().unwrap();
    let original = folder();
    written(original.path(), &keys).await;
    let name = only_file(original.path()).file_name().unwrap().to_owned();
    let text = std::fs::read_to_string(original.path().join(&name)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let checkpoint = check(original.path(), &keys, None).checkpoint.unwrap();
    assert_eq!(checkpoint.records, lines.len() as u64);

    let with = |lines: &[&str]| -> Vec<String> {
        let folder = folder();
        std::fs::write(folder.path().join(&name), lines.join("\n") + "\n").unwrap();
        check(folder.path(), &keys, Some(&checkpoint)).findings
    };
    assert_eq!(with(&lines), [] as [String; 0]);
    let first = |lines: &[&str]| with(lines).first().cloned().unwrap_or_default();

    let mut deleted = lines.clone();
    deleted.remove(4);
    assert!(first(&deleted).contains("records 4 to 4 are missing"), "{}", first(&deleted));
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    assert!(first(&swapped).contains("records 4 to 4 are missing"), "{}", first(&swapped));
    let mut replayed = lines.clone();
    replayed.insert(7, lines[4]);
    assert!(first(&replayed).contains("record 4: stands where record 7 belongs"), "{}", first(&replayed));
    let forged = lines[5].replace("\"records\":2", "\"records\":1");
    assert_ne!(forged, lines[5]);
    let mut changed = lines.clone();
    changed[5] = &forged;
    assert!(first(&changed).contains("record 5: was changed"), "{}", first(&changed));
    let truncated = &lines[..lines.len() - 3];
    assert!(first(truncated).contains("the log ends after"), "{}", first(truncated));
    assert!(first(&lines[1..]).contains("does not begin with its own record"), "{}", first(&lines[1..]));
    assert!(first(&[]).contains("record 0: is no record"), "{}", first(&[]));
}

#[tokio::test]
async fn a_log_written_anew_is_found_by_its_key_and_by_a_checkpoint() {
    let (keys, forger) = (Keys::random().unwrap(), Keys::random().unwrap());
    let (original, anew) = (folder(), folder());
    written(original.path(), &keys).await;
    written(anew.path(), &forger).await;
    let checkpoint = check(original.path(), &keys, None).checkpoint.unwrap();
    assert!(check(anew.path(), &keys, None).findings[0].contains("was not written under this key"));
    let keyless = verify(anew.path(), None, Some(&checkpoint)).unwrap();
    assert_eq!(keyless.findings, ["the checkpoint is of another log"]);
    assert!(verify(anew.path(), None, None).unwrap().findings.is_empty(), "as the remark says");
}

#[tokio::test]
async fn a_missing_segment_is_found() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for _ in 0..3 {
        written(folder.path(), &keys).await;
    }
    let segments = segment::list_segments(folder.path()).unwrap();
    let checkpoint = check(folder.path(), &keys, None).checkpoint.unwrap();
    for (at, segment) in segments.iter().enumerate() {
        let hidden = segment.path.with_extension("db");
        std::fs::rename(&segment.path, &hidden).unwrap();
        let findings = check(folder.path(), &keys, Some(&checkpoint)).findings;
        assert!(
            findings.iter().any(|finding| finding.contains("missing") || finding.contains("ends after")),
            "{at}: {findings:?}"
        );
        std::fs::rename(hidden, &segment.path).unwrap();
    }
}

/// One log for all cases of the property below.
fn sample_log() -> &'static (Keys, String, Vec<u8>, Checkpoint) {
    static LOG: std::sync::OnceLock<(Keys, String, Vec<u8>, Checkpoint)> = std::sync::OnceLock::new();
    LOG.get_or_init(|| {
        let (folder, keys) = (folder(), Keys::random().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(written(folder.path(), &keys));
        let file = only_file(folder.path());
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let checkpoint = check(folder.path(), &keys, None).checkpoint.unwrap();
        (keys, name, std::fs::read(file).unwrap(), checkpoint)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_edit_after_a_checkpoint_is_found(
        edit in 0..4_u8, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (keys, name, bytes, checkpoint) = sample_log();
        let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
        let mut edited = bytes.clone();
        match edit {
            0 => edited[at] = byte,
            1 => { edited.remove(at); }
            2 => edited.insert(at, byte),
            _ => edited.truncate(at.max(other)),
        }
        prop_assume!(edited != *bytes);
        let folder = folder();
        std::fs::write(folder.path().join(name), &edited).unwrap();
        prop_assert!(!check(folder.path(), keys, Some(checkpoint)).findings.is_empty());
    }
}
