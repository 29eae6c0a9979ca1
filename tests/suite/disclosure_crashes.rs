//! Crashes, full disks, exhausted descriptors and clocks that jump: every byte that a recipient received is on record. In `batched`
//! mode a crash can lose the last records, and no others.
//!
//! Recipients note which decision each answer names and how many people they received before the connection ended. That is
//! compared with the disclosure log afterwards. `PURPOSEGATE_CRASHES=1000 cargo test --release --test suite disclosure_crashes`
//! is the long form.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use purposegate::disclosure::entry::{decode_detail, decode_head};
use purposegate::disclosure::storage::LogReader;
use tempfile::TempDir;

use crate::fixtures::{CUSTOMER_ROUTES, person};
use crate::gateway::{base, bearer, wait_until};
use crate::http;
use crate::process::ServeProcess;
use crate::program::run;
use crate::shared_ledger::{WallClock, clock_library};
use crate::upstream::Upstream;

/// Number of recipients that ask at once.
const RECIPIENTS: usize = 4;

/// Number of crashes in the short form.
const CRASHES: u64 = 10;

/// Lets a write beyond the limit of a file's size fail. Otherwise a signal ends the process.
const IGNORE_LIMIT: &str = "trap '' XFSZ;";

/// Number of people in the list, which leaves in several windows.
const PEOPLE: usize = 12_000;

/// An answer that a recipient received, or the beginning of it.
#[derive(Clone, Copy, Debug)]
struct ReceivedAnswer {
    people: u64,
    /// The time at which the request was sent.
    asked: Instant,
    /// The time at which the answer had arrived.
    arrived: Instant,
}

/// The answers that recipients received, by decision.
type Received = Arc<Mutex<BTreeMap<String, ReceivedAnswer>>>;

/// A gateway whose data outlive its processes, and its recipients.
struct Site {
    _upstream: Upstream,
    data: TempDir,
    config: String,
    received: Received,
}

impl Site {
    fn new() -> Site {
        Site::with_durability("before-release")
    }

    fn with_durability(durability: &str) -> Site {
        let upstream = Upstream::start();
        upstream.json("/customers/p-1", &person("p-1"));
        let people: Vec<String> = (0..PEOPLE).map(|number| person(&format!("p-{number}"))).collect();
        upstream.json("/customers", &format!("{{\"items\": [{}]}}", people.join(",")));
        let data = tempfile::tempdir().unwrap();
        let path = data.path().display();
        let config = format!(
            "{}{CUSTOMER_ROUTES}[audit]\ndirectory = \"{path}/audit\"\ndurability = \"{durability}\"\n\
             [ledger]\nurl = \"sqlite:{path}/ledger.db\"\n[keys]\nfile = \"{path}/keys\"\n",
            base(upstream.address)
        );
        Site { _upstream: upstream, data, config, received: Received::default() }
    }

    fn log(&self) -> std::path::PathBuf {
        self.data.path().join("audit")
    }

    /// Lets recipients ask until the end.
    fn recipients(&self, address: SocketAddr, end: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
        let recipient = |number: usize| {
            let (received, end) = (Arc::clone(&self.received), Arc::clone(end));
            let path = if number == 0 { "/customers" } else { "/customers/p-1" };
            thread::spawn(move || {
                while !end.load(Ordering::SeqCst) {
                    ask_and_note(address, path, &received);
                }
            })
        };
        (0..RECIPIENTS).map(recipient).collect()
    }

    /// Ends a process in order, verifies the log, and compares it with what was received.
    fn check(&self, process: ServeProcess) {
        verify_after_stop(process);
        let recorded = recorded(&self.log());
        let received = self.received.lock().unwrap();
        for (decision, ReceivedAnswer { people, .. }) in &*received {
            let on_record = recorded.get(decision);
            assert!(
                on_record.is_some_and(|recorded| recorded >= people),
                "{decision}: {people}, {on_record:?}"
            );
        }
        assert!(received.len() > 20, "{} answers", received.len());
    }

    /// Compares the log with what was received from a process that was killed in `batched` mode: only the records of the last
    /// answers before it could write no more may be missing, in whole or in part. Returns the number of answers and of those
    /// without all of their records.
    fn check_batched(&self, stopped: Instant) -> (usize, usize) {
        let recorded = recorded(&self.log());
        let received = std::mem::take(&mut *self.received.lock().unwrap());
        let is_recorded = |(decision, answer): &(&String, &ReceivedAnswer)| {
            recorded.get(*decision).is_some_and(|recorded| *recorded >= answer.people)
        };
        let (kept, lost): (Vec<_>, Vec<_>) = received.iter().partition(is_recorded);
        let last_asked = kept.iter().map(|(_, answer)| answer.asked).max();
        for (decision, answer) in &lost {
            assert!(
                last_asked.is_none_or(|asked| asked <= answer.arrived),
                "{decision} has no record, and an exchange has one that began after its answer had arrived"
            );
        }
        // How long a write takes depends on the disk and on what else it does, so the age is reported and not asserted.
        let age =
            |(_, answer): &(&String, &ReceivedAnswer)| stopped.saturating_duration_since(answer.arrived);
        if let Some(oldest) = lost.iter().map(age).max() {
            eprintln!("the oldest of {} lost records was {oldest:?} old", lost.len());
        }
        (received.len(), lost.len())
    }
}

/// Ends a process in order, and verifies its log.
fn verify_after_stop(mut process: ServeProcess) {
    // A signal that comes earlier may end the start.
    wait_until(|| process.get("/customers/p-1", "customer-support").status == 200);
    process.signal("-TERM");
    assert!(process.child.wait().unwrap().success());
    let config = process.folder.path().join("purposegate.toml");
    let (status, out, words) = run(["audit", "verify", "--config", config.to_str().unwrap()]);
    assert_eq!(status, 0, "{out}{words}");
}

/// Sets a limit of a process, and leaves room to raise it again.
fn limit(process: &ServeProcess, limit: &str) {
    let process = process.child.id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &process, limit]).status();
    assert!(limited.unwrap().success());
}

/// Lets the journal grow by so many bytes at most: a write ends there, as it does on a full disk.
fn fill_disk(site: &Site, process: &ServeProcess, room: u64) {
    let journals = std::fs::read_dir(site.log().join("journal")).unwrap();
    // One that was removed meanwhile has no size.
    let sizes = journals.filter_map(|journal| Some(journal.unwrap().metadata().ok()?.len()));
    limit(process, &format!("--fsize={}:unlimited", sizes.max().unwrap_or(0) + room));
}

/// Asks once, and notes what arrived before the connection ended, however it ended.
fn ask_and_note(address: SocketAddr, path: &str, received: &Received) {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else {
        return thread::sleep(Duration::from_millis(5));
    };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\ndata-purpose: customer-support\r\n\r\n",
        bearer("support")
    );
    let (mut answer, mut part, asked) = (Vec::new(), [0; 16 << 10], Instant::now());
    if stream.write_all(request.as_bytes()).is_ok() {
        while let Ok(length @ 1..) = stream.read(&mut part) {
            answer.extend_from_slice(&part[..length]);
        }
    }
    note(&answer, asked, received);
}

/// Notes an answer, of which the end may be missing.
fn note(answer: &[u8], asked: Instant, received: &Received) {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return };
    let head = http::parse(&answer[..end + 4]);
    if head.status == 200 {
        let people = answer[end..].windows(5).filter(|window| *window == b"Name-").count();
        let noted = ReceivedAnswer { people: people as u64, asked, arrived: Instant::now() };
        received.lock().unwrap().insert(head.decision(), noted);
    }
}

/// Returns the number of people whose records each decision of the log releases.
fn recorded(log: &Path) -> BTreeMap<String, u64> {
    let mut reader = LogReader::open(log).unwrap();
    let mut recorded = BTreeMap::new();
    for entry in reader.entries(0) {
        let (index, entry) = entry.unwrap();
        let head = decode_head(&entry.leaf).unwrap_or_else(|error| panic!("entry {index}: {error}"));
        let detail = decode_detail(head.kind, &entry.detail).unwrap();
        if let Some(id) = head.id {
            *recorded.entry(id.to_string()).or_insert(0) += detail.map_or(0, |detail| detail.records);
        }
    }
    recorded
}

fn crashes() -> u64 {
    std::env::var("PURPOSEGATE_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(CRASHES)
}

/// Kills a process after recipients have asked for a while; with `full`, its disk is full for a moment before. Returns the time from
/// which on it could write no more.
fn kill_under_load(site: &Site, after: Duration, full: bool) -> Instant {
    let mut process = ServeProcess::start(&site.config, IGNORE_LIMIT);
    let end = Arc::new(AtomicBool::new(false));
    let recipients = site.recipients(process.address, &end);
    thread::sleep(after);
    let stopped = Instant::now();
    if full {
        fill_disk(site, &process, 1);
        thread::sleep(Duration::from_millis(200));
    }
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    end.store(true, Ordering::SeqCst);
    recipients.into_iter().for_each(|recipient| recipient.join().unwrap());
    stopped
}

#[test]
fn no_byte_was_delivered_without_its_record_after_crashes() {
    let site = Site::new();
    for crash in 0..crashes() {
        kill_under_load(&site, Duration::from_millis(20 + crash * 97 % 400), false);
    }
    site.check(ServeProcess::start(&site.config, ""));
}

/// In `batched` mode an answer leaves once its record is queued. While the disk is full, what is queued waits, and nothing leaves.
#[test]
fn a_crash_loses_only_the_last_records_in_batched_mode() {
    let site = Site::with_durability("batched");
    let (mut answers, mut lost) = (0, 0);
    for crash in 0..crashes() {
        let stopped = kill_under_load(&site, Duration::from_millis(20 + crash * 397 % 3000), crash % 3 == 2);
        let (received, missing) = site.check_batched(stopped);
        (answers, lost) = (answers + received, lost + missing);
    }
    assert!(answers > 20, "{answers} answers");
    eprintln!("{lost} of {answers} answers have lost records in {} crashes", crashes());
    verify_after_stop(ServeProcess::start(&site.config, ""));
}

#[test]
fn no_byte_was_delivered_without_its_record_on_a_full_disk() {
    let site = Site::new();
    let end = Arc::new(AtomicBool::new(false));
    for crash in 0..4 {
        let mut process = ServeProcess::start(&site.config, IGNORE_LIMIT);
        let recipients = site.recipients(process.address, &end);
        let ask = || process.get("/customers/p-1", "customer-support").outcome();
        for room in [1, 3000, 40_000] {
            wait_until(|| ask().0 == 200);
            fill_disk(&site, &process, room);
            wait_until(|| ask() == (503, "audit-unavailable".to_owned()));
            // The last one is killed while the disk is full.
            if crash % 2 == 0 || room < 40_000 {
                limit(&process, "--fsize=unlimited:unlimited");
            }
        }
        if crash == 3 {
            thread::sleep(Duration::from_millis(300));
        }
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        end.store(true, Ordering::SeqCst);
        recipients.into_iter().for_each(|recipient| recipient.join().unwrap());
        end.store(false, Ordering::SeqCst);
    }
    site.check(ServeProcess::start(&site.config, ""));
}

#[test]
fn no_byte_was_delivered_without_its_record_without_descriptors() {
    let site = Site::new();
    let process = ServeProcess::start(&site.config, "");
    // The connections exist before descriptors run out.
    let mut kept: Vec<_> = (0..3).map(|_| BufReader::new(http::connect(process.address))).collect();
    for descriptors in ["4096", "8", "4096"] {
        limit(&process, &format!("--nofile={descriptors}:4096"));
        for _ in 0..400 {
            for stream in &mut kept {
                let asked = Instant::now();
                note(&ask_again(stream), asked, &site.received);
            }
        }
    }
    drop(kept);
    wait_until(|| process.get("/customers/p-1", "customer-support").status == 200);
    site.check(process);
}

/// Asks over a connection that stays open, and returns the answer.
fn ask_again(stream: &mut BufReader<std::net::TcpStream>) -> Vec<u8> {
    let request = format!(
        "GET /customers/p-1 HTTP/1.1\r\nhost: x\r\n{}\r\ndata-purpose: customer-support\r\n\r\n",
        bearer("support")
    );
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "the connection stays open: {head}");
    }
    let length =
        http::parse(head.as_bytes()).header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    [head.as_bytes(), &body].concat()
}

#[test]
fn no_byte_was_delivered_without_its_record_while_the_clock_jumps() {
    let Some(library) = clock_library() else { return };
    let clock = WallClock::new(&library);
    let variables = clock.environment().into_iter().map(|(name, value)| format!("export {name}='{value}'; "));
    let site = Site::new();
    let process = ServeProcess::start(&site.config, &variables.collect::<String>());
    let end = Arc::new(AtomicBool::new(false));
    let recipients = site.recipients(process.address, &end);
    for offset in ["+25h", "-3h", "+26h", "+0", "+60h"] {
        clock.set(offset);
        thread::sleep(Duration::from_millis(700));
    }
    end.store(true, Ordering::SeqCst);
    recipients.into_iter().for_each(|recipient| recipient.join().unwrap());
    site.check(process);
    let reader = LogReader::open(&site.log()).unwrap();
    assert!(reader.days().len() >= 3, "{:?}", reader.days());
}
