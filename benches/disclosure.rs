//! The disclosure log alone: durable records a second, their latency against one `fdatasync`, and bytes an entry on disk.
//!
//! Prints one line a figure. The disk decides the figures, so that the log takes turns with a file to which as many bytes are
//! appended and synced. `DISCLOSURE_SECONDS` sets the length of a turn (default 4). `cargo test --all-targets` runs a short form,
//! whose figures say nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark may fail by panicking, and prints its figures"
)]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use purposegate::disclosure::entry::{Encoder, EntryKind, decode_detail, decode_head};
use purposegate::disclosure::record::{
    CategoryDisclosure, Disclosure, ExchangeHead, ExchangeMode, Record, Verdict,
};
use purposegate::disclosure::storage::read_origin;
use purposegate::disclosure::verify::{KnownLog, VerifierKey};
use purposegate::disclosure::{Durability, Log, LogSettings};
use purposegate::keys::{Keys, LogSecret, LoggedPerson};
use purposegate::ledger::Position;
use purposegate::vocabulary::{Basis, Form, Operation};
use ulid::Ulid;

/// Number of turns of the log and of the file.
const TURNS: usize = 3;

/// Number of bytes that the file is appended: a group of 256 entries.
const GROUP: usize = 256 * 330;

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    // Only `cargo bench` passes this argument.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (turn, encoded) =
        if is_bench { (Duration::from_secs(4), 300_000) } else { (Duration::from_millis(100), 3_000) };
    let seconds = std::env::var("DISCLOSURE_SECONDS").ok().and_then(|text| text.parse().ok());
    let turn = seconds.map_or(turn, Duration::from_secs);
    let folder = tempfile::tempdir_in(".").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let keys = Keys::random().unwrap();
    measure_coding(&keys, encoded);
    for (durability, appenders) in [
        (Durability::BeforeRelease, 1),
        (Durability::BeforeRelease, 16),
        (Durability::BeforeRelease, 256),
        (Durability::Batched, 256),
    ] {
        let path = folder.path().join(format!("{durability:?}-{appenders}"));
        let log = Arc::new(open(&path, &keys, durability));
        let (mut syncs, mut appends, mut took) = (Vec::new(), Vec::new(), Duration::ZERO);
        for number in 0..TURNS {
            syncs.extend(synced_appends(&folder.path().join(format!("raw-{number}")), turn / 4));
            let began = Instant::now();
            appends.extend(runtime.block_on(appended(&log, &keys, appenders, turn)));
            runtime.block_on(log.flush()).unwrap();
            took += began.elapsed();
        }
        let records = appends.len();
        drop(log);
        let (length, allocated) = size_of_folder(&path);
        let entries = entries(&path);
        let sync = quantile(&mut syncs, 0.5);
        let (p50, p99) = (quantile(&mut appends, 0.5), quantile(&mut appends, 0.99));
        println!(
            "{durability:?}, {appenders} appenders: {:.0} records/s, append p50 {p50:.2?}, p99 {p99:.2?}, p99 {:.1} x fdatasync p50 {sync:.2?}",
            records as f64 / took.as_secs_f64(),
            p99.as_secs_f64() / sync.as_secs_f64()
        );
        println!(
            "  {entries} entries: {:.0} bytes an entry with tiles and checkpoints, {:.0} allocated",
            length as f64 / entries as f64,
            allocated as f64 / entries as f64
        );
        verify(&path, &keys);
    }
}

/// Prints the time to encode an exchange about one person, and how many heads and details are decoded a second.
fn measure_coding(keys: &Keys, number: usize) {
    let (template, mut encoder) = (Template::new(keys), Encoder::new(keys.subject_pseudonyms()));
    let (record, now, mut entries) = (template.record(), Timestamp::now(), Vec::with_capacity(number + 32));
    encoder.continue_day(now.to_zoned(TimeZone::UTC).date(), 0, 0);
    let began = Instant::now();
    while entries.len() < number {
        encoder.encode(&record, now, 1 + entries.len() as u64, &mut entries);
    }
    let encoded = began.elapsed();
    let began = Instant::now();
    let kinds: Vec<EntryKind> = entries.iter().map(|entry| decode_head(&entry.leaf).unwrap().kind).collect();
    let heads = began.elapsed();
    let began = Instant::now();
    let decoded =
        entries.iter().zip(kinds).filter(|(entry, kind)| decode_detail(*kind, &entry.detail).is_ok());
    assert_eq!(decoded.count(), entries.len());
    let details = began.elapsed();
    let last = entries.last().unwrap();
    println!(
        "encoding: {:.0} ns an entry of {} bytes; decoding: {:.1} million heads/s, {:.1} million details/s",
        encoded.as_nanos() as f64 / entries.len() as f64,
        last.leaf.len() + last.detail.len() + 4,
        entries.len() as f64 / heads.as_micros() as f64,
        entries.len() as f64 / details.as_micros() as f64
    );
}

/// Prints the number of entries that are verified in a second.
fn verify(folder: &Path, keys: &Keys) {
    let origin = read_origin(folder).unwrap().unwrap();
    let key: VerifierKey = keys.log_signing_key(&origin).unwrap().verifier_key().parse().unwrap();
    let known = KnownLog { key: Some(&key), ..KnownLog::default() };
    let began = Instant::now();
    let report = purposegate::disclosure::verify::verify(folder, known, &mut |_| ()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    println!("  verified: {:.0} entries/s", report.entries as f64 / began.elapsed().as_secs_f64());
}

fn open(folder: &Path, keys: &Keys, durability: Durability) -> Log {
    let settings = LogSettings {
        folder: folder.to_owned(),
        gateway: "gateway-1".to_owned(),
        durability,
        retention: Duration::from_secs(90 * 86_400),
        origin: None,
        ledger: None,
        known_checkpoints: Vec::new(),
    };
    Log::open(settings, keys).unwrap()
}

/// Appends records from so many tasks and returns the latencies.
async fn appended(log: &Arc<Log>, keys: &Keys, appenders: usize, time: Duration) -> Vec<Duration> {
    let (stop, template) = (Arc::new(AtomicBool::new(false)), Arc::new(Template::new(keys)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..appenders {
        let (log, stop, template) = (Arc::clone(log), Arc::clone(&stop), Arc::clone(&template));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                log.append(template.record()).await.unwrap();
                latencies.push(began.elapsed());
                tokio::task::yield_now().await;
            }
            latencies
        });
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await.concat()
}

/// The parts that the records of one configuration share, as in a gateway.
struct Template {
    head: ExchangeHead,
    categories: Vec<CategoryDisclosure>,
    person: LoggedPerson,
}

impl Template {
    fn new(keys: &Keys) -> Template {
        let head = ExchangeHead {
            decision: Ulid::nil(),
            recipient: "acme-domains".into(),
            actor: None,
            holder: None,
            purpose: "domain-registration".into(),
            declared: Some("domain-registration".into()),
            case: None,
            route: "customers".into(),
            operation: Operation::Disclose,
            policy: "one-partner-360@3f2a91bc".into(),
            position: Position(1_234_567),
            stale: false,
            factors: [("registration", Verdict::Permits), ("agreement", Verdict::Permits)]
                .into_iter()
                .collect(),
            mode: ExchangeMode::Enforce,
            would_refuse: None,
            trace: None,
        };
        let names = [
            "name",
            "email",
            "phone",
            "postal-address",
            "date-of-birth",
            "ip-address",
            "billing",
            "service-data",
        ];
        let categories = names.map(|name| CategoryDisclosure {
            category: Some(name.into()),
            form: Form::Clear,
            basis: Some(Basis::Contract),
            reason: None,
            rules: [Arc::from(format!("{name}-for-registration"))].into(),
            clauses: [Arc::from("G-6.7d")].into(),
            fields: 2,
            would: None,
        });
        let fingerprint = keys.fingerprints().recipient("somebody");
        let person = LoggedPerson { fingerprint, secret: Some(LogSecret::from_bytes([7; 16])) };
        Template { head, categories: categories.into(), person }
    }

    fn record(&self) -> Record {
        let head = ExchangeHead { decision: Ulid::generate(), ..self.head.clone() };
        let disclosure = Disclosure {
            position: head.position,
            records: 1,
            subjects: [self.person].into_iter().collect(),
            categories: self.categories.clone(),
            ..Disclosure::default()
        };
        Record::Exchange(Arc::new(head), disclosure)
    }
}

/// Appends groups to a file, syncs each one, and returns the times of the syncs.
fn synced_appends(path: &Path, time: Duration) -> Vec<Duration> {
    let mut file = File::create(path).unwrap();
    let (group, began, mut syncs) = (vec![7; GROUP], Instant::now(), Vec::new());
    while began.elapsed() < time {
        file.write_all(&group).unwrap();
        let began = Instant::now();
        file.sync_data().unwrap();
        syncs.push(began.elapsed());
    }
    syncs
}

fn quantile(times: &mut [Duration], quantile: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * quantile) as usize]
}

/// Returns the lengths of all files in a folder, and the space that they take.
fn size_of_folder(folder: &Path) -> (u64, u64) {
    let (mut length, mut allocated) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let (within, taken) =
            if metadata.is_dir() { size_of_folder(&entry.path()) } else { (metadata.len(), 0) };
        length += within;
        allocated += taken + metadata.blocks() * 512;
    }
    (length, allocated)
}

/// Returns the number of entries that the log's checkpoint states.
fn entries(folder: &Path) -> u64 {
    let note = std::fs::read_to_string(folder.join("checkpoint")).unwrap();
    note.lines().nth(1).unwrap().parse().unwrap()
}
