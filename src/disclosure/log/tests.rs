//! Tests of the log that is written: its guarantees, its days, and what a crash or a disk does to it.

mod days;
pub(crate) mod disk;
mod takeover;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::ToSpan as _;
use smallvec::smallvec;
use ulid::Ulid;

use super::*;
use crate::decision::Reason;
use crate::disclosure::entry::{DecodedHead, EntryKind, decode_head};
use crate::disclosure::record::Verdict;
use crate::disclosure::record::{CategoryDisclosure, Disclosure, ExchangeMode, ExchangeReference, Outcome};
use crate::disclosure::storage::{LogReader, ReadError};
use crate::keys::LoggedPerson;
use crate::ledger::Position;
use crate::vocabulary::{Basis, Form, Operation};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A folder for a log inside a temporary folder.
struct Folder {
    path: PathBuf,
    outer: tempfile::TempDir,
}

fn folder() -> Folder {
    let outer = tempfile::tempdir().unwrap();
    Folder { path: outer.path().join("audit"), outer }
}

fn settings(folder: &Folder) -> LogSettings {
    LogSettings {
        folder: folder.path.clone(),
        gateway: "gateway-1".to_owned(),
        durability: Durability::BeforeRelease,
        retention: YEAR,
        origin: None,
        ledger: None,
        known_checkpoints: Vec::new(),
    }
}

fn open(folder: &Folder, keys: &Keys) -> Log {
    Log::open(settings(folder), keys).unwrap()
}

fn open_at(settings: LogSettings, keys: &Keys, clock: Clock) -> Log {
    Log::open_with(settings, keys, Arc::new(SystemFiles), clock).unwrap()
}

fn id(n: u64) -> Ulid {
    Ulid::from_parts(1_763_769_599_500, u128::from(n))
}

fn head(n: u64) -> Arc<ExchangeHead> {
    Arc::new(ExchangeHead {
        decision: id(n),
        recipient: "acme".into(),
        actor: None,
        holder: None,
        purpose: "support".into(),
        declared: None,
        case: None,
        route: "customers".into(),
        operation: Operation::Disclose,
        policy: "r1".into(),
        position: Position(3),
        stale: false,
        factors: smallvec![("recipient-known", Verdict::Permits)],
        mode: ExchangeMode::Enforce,
        would_refuse: None,
        trace: None,
    })
}

fn person(keys: &Keys, name: &str) -> LoggedPerson {
    LoggedPerson::unknown(keys.fingerprints().recipient(name))
}

fn disclosure(keys: &Keys, name: &str) -> Disclosure {
    let category = |name: &str, form, reason| CategoryDisclosure {
        category: Some(name.into()),
        form,
        basis: (form == Form::Clear).then_some(Basis::Consent),
        reason,
        rules: ["r".into()].into(),
        clauses: ["c".into()].into(),
        fields: 1,
        would: None,
    };
    Disclosure {
        records: 1,
        subjects: smallvec![person(keys, name)],
        categories: vec![
            category("email", Form::Clear, None),
            category("phone", Form::Removed, Some(Reason::NoRule)),
        ],
        ..Disclosure::default()
    }
}

fn exchange(keys: &Keys, n: u64) -> Record {
    Record::Exchange(head(n), disclosure(keys, "alice"))
}

fn later_window(keys: &Keys, n: u64) -> Record {
    Record::Window { exchange: ExchangeReference::Later(id(n)), disclosure: disclosure(keys, "bob") }
}

fn close(n: u64, outcome: Outcome) -> Record {
    Record::Close { decision: id(n), outcome }
}

/// Calls a function with the head of each entry that still exists.
fn each_head(folder: &Path, mut look: impl FnMut(u64, DecodedHead<'_>)) {
    let mut reader = LogReader::open(folder).unwrap();
    let begin = reader.begin();
    for entry in reader.entries(begin) {
        let (index, entry) = entry.unwrap();
        look(index, decode_head(&entry.leaf).unwrap());
    }
}

/// Returns the kinds of the entries, without padding.
fn kinds(folder: &Path) -> Vec<EntryKind> {
    let mut kinds = Vec::new();
    each_head(folder, |_, head| kinds.push(head.kind));
    kinds.retain(|kind| *kind != EntryKind::Padding);
    kinds
}

/// Returns the decisions on record, in their order and each as often as it occurs.
fn decisions(folder: &Path) -> Vec<Ulid> {
    let mut decisions = Vec::new();
    each_head(folder, |_, head| decisions.extend(head.id));
    decisions
}

/// Checks that each number in a head stands for the name of its table.
fn check_names(folder: &Path) {
    let mut reader = LogReader::open(folder).unwrap();
    let mut numbers = Vec::new();
    each_head(folder, |index, head| numbers.push((index, head.base, head.numbers().collect::<Vec<_>>())));
    for (index, base, numbers) in numbers {
        for (table, number) in numbers {
            let at = reader.day_start_of(index) + base + number;
            let entry = reader.entry(at).unwrap().unwrap();
            let name = decode_head(&entry.leaf).unwrap();
            assert_eq!((name.kind, name.table), (EntryKind::Name, Some(table)), "{index} refers to {at}");
        }
    }
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
async fn a_log_holds_what_was_recorded_between_start_and_stop() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(&folder, &keys);
    log.append(exchange(&keys, 1)).await.unwrap();
    log.append(later_window(&keys, 2)).await.unwrap();
    log.append_detached(close(2, Outcome::Released));
    log.refuse(head(3), "no-rule-permits");
    log.flush().await.unwrap();
    assert_eq!(decisions(&folder.path), [id(1), id(2), id(2), id(3)], "readable once it is flushed");
    assert_eq!((log.records_written(), log.healthy(), log.is_running()), (4, true, true));
    drop(log);
    let log = open(&folder, &keys);
    log.append(exchange(&keys, 4)).await.unwrap();
    drop(log);
    use EntryKind::{Close, Day, Exchange, Factors, Name, Refusal, Ruling, Start, Stop, Window};
    let names = [Name, Name, Name, Name, Factors, Ruling, Ruling];
    let first = [Day, Start].into_iter().chain(names).chain([Exchange, Window, Close, Name, Refusal, Stop]);
    let second = [Start].into_iter().chain(names).chain([Exchange, Stop]);
    assert_eq!(kinds(&folder.path), first.chain(second).collect::<Vec<_>>());
    check_names(&folder.path);
    let mut starts = Vec::new();
    each_head(&folder.path, |_, head| {
        starts.extend((head.kind == Start).then_some((head.unclean, head.torn_bytes)));
    });
    assert_eq!(starts, [(false, 0), (false, 0)]);
}

#[tokio::test]
async fn a_batched_record_is_written_without_anybody_who_waits() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = Log::open(LogSettings { durability: Durability::Batched, ..settings(&folder) }, &keys).unwrap();
    for n in 0..100 {
        log.append(exchange(&keys, n)).await.unwrap();
    }
    until(|| decisions(&folder.path).len() == 100).await;
    assert_eq!(decisions(&folder.path), (0..100).map(id).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_written_is_published_soon_and_at_the_end() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(&folder, &keys);
    let mut checkpoints = log.checkpoints();
    let first = checkpoints.borrow_and_update().clone().unwrap();
    assert_eq!((first.size, &*first.origin), (2, LogReader::open(&folder.path).unwrap().origin()));
    assert_eq!(log.uncovered_for(), Duration::ZERO);
    log.append(exchange(&keys, 1)).await.unwrap();
    assert!(log.uncovered_for() > Duration::ZERO);
    tokio::time::timeout(Duration::from_secs(20), checkpoints.changed()).await.unwrap().unwrap();
    let size = LogReader::open(&folder.path).unwrap().size();
    assert_eq!(checkpoints.borrow_and_update().as_ref().unwrap().size, size);
    assert_eq!(log.uncovered_for(), Duration::ZERO);
    for n in 0..256 {
        log.append_detached(close(n, Outcome::Released));
    }
    log.flush().await.unwrap();
    tokio::time::timeout(Duration::from_millis(900), checkpoints.changed()).await.unwrap().unwrap();
    drop(log);
    let reader = LogReader::open(&folder.path).unwrap();
    assert_eq!(reader.published(), reader.size());
    assert_eq!(checkpoints.borrow().as_ref().unwrap().size, reader.size());
}

#[tokio::test]
async fn dropping_the_log_does_not_wait_for_an_unpolled_future() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    for durability in [Durability::BeforeRelease, Durability::Batched] {
        let log = Log::open(LogSettings { durability, ..settings(&folder) }, &keys).unwrap();
        let unpolled = log.append(exchange(&keys, 1));
        drop(log);
        assert_eq!(unpolled.await, Err(LogError));
    }
    assert_eq!(decisions(&folder.path), []);
}

#[test]
fn a_log_is_opened_under_its_own_keys_and_origin_only() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let origin = Some("example.org/disclosures".to_owned());
    let named = LogSettings { origin: origin.clone(), ..settings(&folder) };
    drop(Log::open(named.clone(), &keys).unwrap());
    let held = Log::open(named, &keys).unwrap();
    assert!(matches!(Log::open(settings(&folder), &keys), Err(OpenLogError::InUse(_))));
    drop(held);
    let log = Log::open(settings(&folder), &keys).unwrap();
    assert_eq!(Some(&log.checkpoints().borrow().as_ref().unwrap().origin), origin.as_ref());
    drop(log);
    let other = LogSettings { origin: Some("other".to_owned()), ..settings(&folder) };
    assert!(matches!(Log::open(other, &keys), Err(OpenLogError::OtherOrigin { .. })));
    let unusable = LogSettings { origin: Some("a b".to_owned()), ..settings(&folder) };
    assert!(matches!(Log::open(unusable, &keys), Err(OpenLogError::BadOrigin(_))));
    let strange = Log::open(settings(&folder), &Keys::random().unwrap());
    assert!(matches!(strange, Err(OpenLogError::OtherKeys(_))), "{:?}", strange.map(drop));
}

#[tokio::test]
async fn a_log_is_compared_with_a_checkpoint_that_is_kept_elsewhere() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let kept = folder.outer.path().join("kept");
    let log = open(&folder, &keys);
    log.append(exchange(&keys, 1)).await.unwrap();
    let before = folder.outer.path().join("before");
    copy(&folder.path, &before);
    log.append(exchange(&keys, 2)).await.unwrap();
    let checkpoints = log.checkpoints();
    drop(log);
    std::fs::write(&kept, &checkpoints.borrow().as_ref().unwrap().note).unwrap();
    let compared = |folder: &Path| {
        let known_checkpoints = vec![kept.clone()];
        let shape = Folder { path: folder.to_owned(), outer: tempfile::tempdir().unwrap() };
        Log::open(LogSettings { known_checkpoints, ..settings(&shape) }, &keys).map(drop)
    };
    assert!(matches!(compared(&before), Err(OpenLogError::Inconsistent { .. })), "its end was cut off");
    compared(&folder.path).unwrap();
}

#[test]
fn an_open_log_that_is_gone_is_no_log_without_disclosures() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(&folder, &keys);
    log.source().check().unwrap();
    std::fs::rename(&folder.path, folder.outer.path().join("moved")).unwrap();
    assert!(matches!(log.source().check(), Err(ReadError::Io { .. })));
    // As a file system that is not mounted any more.
    std::fs::create_dir(&folder.path).unwrap();
    assert!(matches!(log.source().check(), Err(ReadError::Empty(_))));
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
