//! The ledger: durable events, imports, look-ups, the start of a large one, and events that reach other gateways.
//!
//! Prints one line a figure. `LEDGER_SUBJECTS` and `LEDGER_IMPORT` set the sizes (default 1,000,000 and 200,000). The rows
//! with PostgreSQL need an installed server, which runs on the same disk as the files here. `cargo test --all-targets` runs a
//! short form, whose figures say nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a benchmark may fail by panicking, and prints its figures"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use purposegate::keys::Keys;
use purposegate::ledger::store::shared::GatewayDescription;
use purposegate::ledger::{
    Batch, Freshness, Ledger, PostgresOptions, PostgresStore, Store, VocabularyTerms, parse_line,
};
use purposegate::vocabulary::{IdReader, Namespaces, SubjectId, Vocabulary};
use ulid::Ulid;

#[path = "../src/ledger/store/postgres/rig.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest of it")]
mod rig;

/// The lease of the gateways, as `max-staleness` has it by default.
const LEASE: Duration = Duration::from_secs(2);

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let Scale { subjects, lines, time, .. } = Scale::of_arguments();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let keys = Keys::random().unwrap();

    let raw = appended_with_fdatasync(&folder.path().join("raw"), time / 2);
    println!("append and fdatasync of 170 bytes, 1 writer: {raw:.0}/s");
    let file = |name: &str| Ledger::open(&folder.path().join(name), &keys, terms()).unwrap();
    for writers in [1, 16, 256] {
        let ledger = file(&format!("writers-{writers}.db"));
        let (rate, p50, p99) = runtime.block_on(durable_events(&ledger, writers, time));
        println!("SQLite, durable events, {writers} in flight: {rate:.0}/s, p50 {p50:?}, p99 {p99:?}");
    }
    let ledger = file("import.db");
    let took = runtime.block_on(import(&ledger, lines));
    println!("SQLite, import of {lines} lines: {took:.1?}, {:.0}/s", lines as f64 / took.as_secs_f64());
    drop(ledger);

    large_ledger(&runtime, &folder.path().join("large.db"), &keys, subjects);
    match rig::PostgresServer::start_on(&std::env::temp_dir(), &[]) {
        Some(server) => shared_ledger(&runtime, &server, &keys, Scale::of_arguments()),
        None => eprintln!("no PostgreSQL: the rows of the shared ledger are missing"),
    }
}

/// The sizes of what is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// People in the large ledger.
    subjects: usize,
    /// Lines of an import.
    lines: usize,
    /// Time for which events are recorded.
    time: Duration,
    /// Withdrawals that reach other gateways.
    withdrawn: usize,
}

impl Scale {
    /// Only `cargo bench` passes `--bench`.
    fn of_arguments() -> Scale {
        let scale = if std::env::args().any(|argument| argument == "--bench") {
            Scale { subjects: 1_000_000, lines: 200_000, time: Duration::from_secs(4), withdrawn: 300 }
        } else {
            Scale { subjects: 10_000, lines: 2_000, time: Duration::from_millis(200), withdrawn: 10 }
        };
        let subjects = size("LEDGER_SUBJECTS", scale.subjects);
        Scale { subjects, lines: size("LEDGER_IMPORT", scale.lines), ..scale }
    }
}

fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn terms() -> Arc<VocabularyTerms> {
    Arc::new(VocabularyTerms::new(Arc::new(Vocabulary::standard()), Arc::new(Namespaces::default())))
}

fn person(n: usize) -> SubjectId {
    IdReader::default().read(&format!("person-{n:09}")).unwrap()
}

fn line(n: usize, kind: &str) -> String {
    format!(
        r#"{{"subject":"person-{n:09}","kind":"{kind}","purpose":"marketing","at":"2026-01-05T08:00:00Z"}}"#
    )
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Returns the number of durable appends a second to a plain file.
fn appended_with_fdatasync(path: &Path, time: Duration) -> f64 {
    let mut file = std::fs::File::create(path).unwrap();
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < time {
        file.write_all(&[7; 170]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// Records events with a number of senders that each wait for the acknowledgement. Returns events a second and latencies.
async fn durable_events(ledger: &Arc<Ledger>, writers: usize, time: Duration) -> (f64, Duration, Duration) {
    let began = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut n = writer;
                while began.elapsed() < time {
                    let (entity, draft) =
                        parse_line(line(n, "consent-given").as_bytes(), ledger.terms()).unwrap();
                    let sent = Instant::now();
                    ledger.append(&entity, draft, None, Timestamp::now()).await.unwrap();
                    latencies.push(sent.elapsed());
                    n += writers;
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let rate = latencies.len() as f64 / began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    (rate, percentile(&latencies, 0.5), percentile(&latencies, 0.99))
}

async fn import(ledger: &Ledger, lines: usize) -> Duration {
    let mut text = String::new();
    for n in 0..lines {
        writeln!(text, "{}", line(n, "consent-given")).unwrap();
    }
    let began = Instant::now();
    let mut refused = 0;
    let report = |result: purposegate::ledger::LineResult| refused += usize::from(result.outcome.is_err());
    ledger.import(text.as_bytes(), Batch::default(), Timestamp::now(), report).await;
    assert_eq!(refused, 0);
    began.elapsed()
}

/// Measures look-ups in memory and from the file, and the start of a ledger with many people.
fn large_ledger(runtime: &tokio::runtime::Runtime, path: &Path, keys: &Keys, subjects: usize) {
    let ledger = Ledger::open(path, keys, terms()).unwrap();
    runtime.block_on(import(&ledger, subjects));
    let people: Vec<_> = (0..100_000).map(|n| person(n * 7919 % subjects)).collect();
    let (p50, p99) = looked_up(&ledger, &people);
    println!("{subjects} people in memory, look-up: p50 {p50:?}, p99 {p99:?}");
    drop(ledger);

    let before = resident();
    let began = Instant::now();
    let ledger = Ledger::open(path, keys, terms()).unwrap();
    let opened = began.elapsed();
    assert!(ledger.subject(&people[0]).1.is_some());
    let first = began.elapsed();
    let (p50, p99) = looked_up(&ledger, &people[1..2_000]);
    let loaded = ledger.subject_count() == subjects;
    println!("start with {subjects} people: open {opened:.1?}, first decision {first:.1?}");
    println!(
        "look-up right after the start: p50 {p50:?}, p99 {p99:?}{}",
        if loaded { " (all in memory)" } else { "" }
    );
    while ledger.subject_count() < subjects {
        std::thread::sleep(Duration::from_millis(10));
    }
    let bytes = resident().saturating_sub(before) as f64 / subjects as f64;
    println!("everything in memory after {:.1?}, about {bytes:.0} bytes a person", began.elapsed());
}

fn looked_up(ledger: &Ledger, people: &[SubjectId]) -> (Duration, Duration) {
    let mut latencies: Vec<_> = people
        .iter()
        .map(|person| {
            let began = Instant::now();
            let known = std::hint::black_box(ledger.subject(person)).1.is_some();
            let took = began.elapsed();
            assert!(known);
            took
        })
        .collect();
    latencies.sort_unstable();
    (percentile(&latencies, 0.5), percentile(&latencies, 0.99))
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn gateway(server: &rig::PostgresServer, database: &str, keys: &Keys, name: &str) -> Arc<Ledger> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(server.socket_folder()).port(server.port()).user("postgres").dbname(database);
    let options = PostgresOptions { server: config, tls: None, lease: LEASE };
    let store = PostgresStore::open(options, &keys.ledger_check(), true).unwrap();
    let ledger = Ledger::with_store(Arc::new(store) as Arc<dyn Store>, keys, terms()).unwrap();
    let description = GatewayDescription {
        instance: Ulid::generate(),
        name: Arc::from(name),
        lease: LEASE,
        version: Arc::from("bench"),
        namespaces: [0; 32],
        recipients: Vec::new(),
        packs: Vec::new(),
    };
    ledger.join(description).unwrap();
    while ledger.freshness() != Freshness::Current {
        std::thread::sleep(Duration::from_millis(5));
    }
    ledger
}

fn shared_ledger(
    runtime: &tokio::runtime::Runtime,
    server: &rig::PostgresServer,
    keys: &Keys,
    Scale { lines, time, withdrawn, .. }: Scale,
) {
    let database = server.create_database("");
    let gateways: Vec<_> =
        ["one", "two", "three"].iter().map(|name| gateway(server, &database, keys, name)).collect();
    for writers in [16, 256] {
        let (rate, p50, p99) = runtime.block_on(durable_events(&gateways[0], writers, time));
        println!("PostgreSQL, durable events, {writers} in flight: {rate:.0}/s, p50 {p50:?}, p99 {p99:?}");
    }
    let database = server.create_database("");
    let importer = gateway(server, &database, keys, "importer");
    let took = runtime.block_on(import(&importer, lines));
    println!("PostgreSQL, import of {lines} lines: {took:.1?}, {:.0}/s", lines as f64 / took.as_secs_f64());
    drop(importer);
    runtime.block_on(withdrawals(&gateways, withdrawn));
    frozen(server, &gateways);
}

/// Measures the time from the acknowledgement of a withdrawal until the other gateways have it in force, while each gateway
/// decides and hands out 333 times a second.
async fn withdrawals(gateways: &[Arc<Ledger>], count: usize) {
    let ended = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = gateways
        .iter()
        .map(|ledger| {
            let (ledger, ended) = (Arc::clone(ledger), Arc::clone(&ended));
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(3));
                let mut n = 0;
                while !ended.load(Ordering::SeqCst) {
                    ticks.tick().await;
                    let epoch = ledger.epoch();
                    let (fingerprint, known) = ledger.subject(&person(n % 1000));
                    std::hint::black_box(known);
                    let current = |freshness| freshness == Freshness::Current;
                    std::hint::black_box(ledger.hand_out(epoch, [&fingerprint], current, || ()));
                    n += 1;
                }
            })
        })
        .collect();
    let (mut elsewhere, mut everywhere) = (Vec::new(), Vec::new());
    for n in 0..count {
        let text =
            line(n, "consent-withdrawn").replace("\"at\":\"2026-01-05T08:00:00Z\"", "\"channel\":\"bench\"");
        let (entity, draft) = parse_line(text.as_bytes(), gateways[0].terms()).unwrap();
        let recorded = gateways[0].append(&entity, draft, None, Timestamp::now()).await.unwrap();
        let acknowledged = Instant::now();
        for other in &gateways[1..] {
            while other.position() < recorded.position {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        elsewhere.push(acknowledged.elapsed());
        assert!(gateways[0].in_force_everywhere(recorded).await);
        everywhere.push(acknowledged.elapsed());
    }
    ended.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    elsewhere.sort_unstable();
    everywhere.sort_unstable();
    for (what, sorted) in [("applied on 3 gateways", elsewhere), ("confirmed everywhere", everywhere)] {
        let (p50, p99) = (percentile(&sorted, 0.5), percentile(&sorted, 0.99));
        println!("a withdrawal after its acknowledgement, {what}: p50 {p50:?}, p99 {p99:?}");
    }
}

/// Measures the time until gateways stop after the server has stopped answering, and until they are back.
fn frozen(server: &rig::PostgresServer, gateways: &[Arc<Ledger>]) {
    let current = || gateways.iter().filter(|ledger| ledger.freshness() == Freshness::Current).count();
    server.freeze();
    let began = Instant::now();
    while current() > 0 {
        std::thread::sleep(Duration::from_micros(500));
    }
    println!("server frozen, term {LEASE:?}: the last gateway stops after {:.3?}", began.elapsed());
    server.thaw();
    let began = Instant::now();
    while current() < gateways.len() {
        std::thread::sleep(Duration::from_micros(500));
    }
    println!("server goes on: every gateway is back after {:.3?}", began.elapsed());
}
