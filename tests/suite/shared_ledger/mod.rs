//! Faults of a shared ledger with real gateways and a real PostgreSQL server: processes that are killed or stopped, connections
//! that are cut or frozen, wall clocks that jump. Meanwhile people withdraw their consent at one gateway and recipients ask
//! another; [`history`] checks the promises.
//!
//! Each scenario takes seconds. `PURPOSEGATE_FAULTS=600 cargo test --test suite shared_ledger` repeats the faults of each
//! for as many seconds. Skipped, with a message, where PostgreSQL is not installed.

mod cluster;
mod history;
mod relay;

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Cluster, GATEWAYS, MAX_STALENESS};
use relay::Relay;

use crate::gateway::wait_until;
use crate::postgres_server::PostgresServer;

/// Number of people whose withdrawals one round of faults can use up.
const PEOPLE: usize = 600;
/// Time between two withdrawals of a writer.
const PAUSE: Duration = Duration::from_millis(25);

/// Returns a random number below `limit`.
fn random(limit: usize) -> usize {
    // The standard library seeds each of these at random.
    let random = RandomState::new().hash_one(0_u8);
    usize::try_from(random % limit as u64).unwrap()
}

fn sleep_up_to(milliseconds: usize) {
    thread::sleep(Duration::from_millis(random(milliseconds) as u64));
}

/// Ends the load when it is dropped, also by a failed assertion.
struct Ending<'l>(&'l AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs faults while people withdraw at random gateways and recipients ask for their data at every gateway; repeats this in
/// the long form.
fn under_load(cluster: &Cluster<'_>, faults: impl Fn()) {
    let seconds = std::env::var("PURPOSEGATE_FAULTS").ok().and_then(|seconds| seconds.parse().ok());
    let (began, long) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(0)));
    loop {
        let (people, ended, next) = (cluster.add_people(PEOPLE), AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let _ending = Ending(&ended);
            for everywhere in [true, false, false] {
                let (people, next, ended) = (&people, &next, &ended);
                scope.spawn(move || withdraw_all(cluster, everywhere, people, next, ended));
            }
            for gateway in 0..GATEWAYS {
                let (people, next, ended) = (&people, &next, &ended);
                scope.spawn(move || ask_for_all(cluster, gateway, people, next, ended));
            }
            faults();
        });
        cluster.check();
        if began.elapsed() >= long {
            return;
        }
    }
}

/// A writer: people withdraw one after the other, at random gateways. One who is not answered tries again elsewhere.
fn withdraw_all(
    cluster: &Cluster<'_>,
    everywhere: bool,
    people: &Range<usize>,
    next: &AtomicUsize,
    ended: &AtomicBool,
) {
    while !ended.load(Ordering::SeqCst) {
        let person = people.start + next.fetch_add(1, Ordering::SeqCst);
        if !people.contains(&person) {
            return;
        }
        let person = format!("p-{person}");
        while !cluster.withdraw(random(GATEWAYS), &person, everywhere) && !ended.load(Ordering::SeqCst) {
            thread::sleep(PAUSE);
        }
        thread::sleep(PAUSE);
    }
}

/// A recipient: asks one gateway for people who withdrew, withdraw or are about to, at times with the position of the
/// acknowledgement.
fn ask_for_all(
    cluster: &Cluster<'_>,
    gateway: usize,
    people: &Range<usize>,
    next: &AtomicUsize,
    ended: &AtomicBool,
) {
    while !ended.load(Ordering::SeqCst) {
        let near = people.start + next.load(Ordering::SeqCst) + random(12);
        let person = format!("p-{}", near.saturating_sub(8).clamp(people.start, people.end - 1));
        let position = cluster.history.position(&person).filter(|_| random(3) == 0);
        cluster.ask(gateway, &person, position.as_deref());
        thread::sleep(Duration::from_millis(2));
    }
}

fn all_are_current(cluster: &Cluster<'_>, healed: Instant) {
    for gateway in 0..GATEWAYS {
        cluster.expect_current(gateway, healed);
    }
}

#[test]
fn gateways_that_are_killed_break_no_promise() {
    let Some(server) = PostgresServer::shared() else { return };
    let cluster = Cluster::start(server, |_| Vec::new());
    under_load(&cluster, || {
        for _ in 0..4 {
            sleep_up_to(600);
            let gateway = random(GATEWAYS);
            cluster.kill(gateway);
            sleep_up_to(400);
            cluster.start_again(gateway);
            cluster.expect_current(gateway, Instant::now());
        }
    });
}

#[test]
fn a_server_that_is_killed_or_stopped_breaks_no_promise() {
    let Some(server) = PostgresServer::start(&[]) else { return };
    let cluster = Cluster::start(&server, |_| Vec::new());
    under_load(&cluster, || {
        for _ in 0..3 {
            sleep_up_to(800);
            server.kill();
            sleep_up_to(300);
            server.run();
            let healed = Instant::now();
            all_are_current(&cluster, healed);
            (0..GATEWAYS).for_each(|gateway| cluster.expect_records(gateway, healed));
        }
        server.freeze();
        let frozen = Instant::now();
        for gateway in 0..GATEWAYS {
            cluster.expect_stale(gateway, frozen);
        }
        thread::sleep(MAX_STALENESS / 2);
        server.thaw();
        let healed = Instant::now();
        all_are_current(&cluster, healed);
        (0..GATEWAYS).for_each(|gateway| cluster.expect_records(gateway, healed));
    });
}

#[test]
fn a_gateway_without_connection_stops_and_returns() {
    let Some(server) = PostgresServer::shared() else { return };
    let cluster = Cluster::start(server, |_| Vec::new());
    under_load(&cluster, || {
        for fault in [Relay::cut, Relay::stall, Relay::stall_answers] {
            let gateway = random(GATEWAYS);
            fault(cluster.relay(gateway));
            cluster.expect_stale(gateway, Instant::now());
            thread::sleep(MAX_STALENESS / 2);
            cluster.relay(gateway).heal();
            cluster.expect_current(gateway, Instant::now());
        }
        // For less than the bound: nobody notices.
        for gateway in 0..GATEWAYS {
            cluster.relay(gateway).stall();
            sleep_up_to(300);
            cluster.relay(gateway).heal();
            cluster.relay(gateway).cut();
            cluster.relay(gateway).heal();
        }
        all_are_current(&cluster, Instant::now());
    });
}

#[test]
fn a_gateway_that_was_stopped_releases_nothing_on_what_it_knew() {
    let Some(server) = PostgresServer::shared() else { return };
    let cluster = Cluster::start(server, |_| Vec::new());
    under_load(&cluster, || {
        let people = cluster.add_people(12);
        let gateway = random(GATEWAYS);
        let other = (gateway + 1) % GATEWAYS;
        cluster.signal(gateway, "-STOP");
        thread::scope(|scope| {
            // These requests wait in the socket of the stopped gateway.
            for person in people.clone() {
                let cluster = &cluster;
                scope.spawn(move || cluster.ask(gateway, &format!("p-{person}"), None));
            }
            let began = Instant::now();
            for person in people {
                wait_until(|| cluster.withdraw(other, &format!("p-{person}"), true));
            }
            // A barrier that waits for more than its lease would take as long for each person.
            assert!(began.elapsed() < 10 * MAX_STALENESS, "{:?}", began.elapsed());
            thread::sleep(MAX_STALENESS);
            cluster.signal(gateway, "-CONT");
            cluster.expect_current(gateway, Instant::now());
        });
    });
}

/// Returns the library that fakes the wall clock of a process, or says that the test is skipped.
pub(crate) fn clock_library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten();
    let library = |folder: &Path| folder.join("faketime/libfaketimeMT.so.1");
    let found = folders.map(|folder| library(&folder.unwrap().path())).find(|library| library.exists());
    if found.is_none() {
        // Directly, because the test harness keeps what `eprintln!` prints.
        let message =
            "SKIPPED: wall clocks that jump, because libfaketime (Debian's package faketime) is missing\n";
        std::io::stderr().write_all(message.as_bytes()).unwrap();
    }
    found
}

/// The wall clock of a process, which a file sets. Monotonic clocks are left alone.
pub(crate) struct WallClock {
    file: tempfile::NamedTempFile,
    library: PathBuf,
}

impl WallClock {
    pub(crate) fn new(library: &Path) -> WallClock {
        let file = tempfile::NamedTempFile::new().unwrap();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable).unwrap();
        let clock = WallClock { file, library: library.to_owned() };
        clock.set("+0");
        clock
    }

    /// Sets the clock so far from the real one.
    pub(crate) fn set(&self, offset: &str) {
        std::fs::write(self.file.path(), offset).unwrap();
    }

    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(self.file.path())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

#[test]
fn a_wall_clock_that_jumps_breaks_no_promise() {
    let Some(library) = clock_library() else { return };
    let clocks = [WallClock::new(&library), WallClock::new(&library)];
    let [of_server, of_gateway] = &clocks;
    let Some(server) = PostgresServer::start_in(&[], of_server.environment()) else { return };
    let environment = |gateway| if gateway == 0 { of_gateway.environment() } else { Vec::new() };
    let cluster = Cluster::start(&server, environment);
    under_load(&cluster, || {
        for (offset, hours) in [("+1h", 1), ("+0", 0), ("-1h", -1)] {
            let people = cluster.add_people(6);
            for clock in &clocks {
                clock.set(offset);
                all_are_current(&cluster, Instant::now());
            }
            let seconds = server.psql("postgres", "SELECT extract(epoch FROM clock_timestamp())::bigint");
            assert_eq!(hours_from_now(seconds.parse().unwrap()), hours, "the server's clock");
            // Consents by one clock are withdrawn by another, both ways.
            let late = cluster.add_people(6);
            assert_eq!(hours_from_now(cluster.consented_at(late.start)), hours, "the gateway's clock");
            for (person, gateway) in people.chain(late).zip((0..GATEWAYS).cycle()) {
                wait_until(|| cluster.withdraw(gateway, &format!("p-{person}"), true));
                (0..GATEWAYS).for_each(|gateway| drop(cluster.ask(gateway, &format!("p-{person}"), None)));
            }
        }
        a_jump_ends_no_lease(&cluster, of_server);
    });
}

/// By the server's clock, the lease of a gateway whose connection is frozen is over. The gateway goes on releasing, so a
/// withdrawal is not in force everywhere before it stops.
fn a_jump_ends_no_lease(cluster: &Cluster<'_>, of_server: &WallClock) {
    of_server.set("+0");
    let person = format!("p-{}", cluster.add_people(1).start);
    cluster.relay(2).stall();
    cluster.ask(2, &person, None);
    of_server.set("+1h");
    while !cluster.withdraw(1, &person, true) {}
    assert_eq!(cluster.ask(2, &person, None), "503 ledger-stale");
    cluster.relay(2).heal();
    cluster.expect_current(2, Instant::now());
    of_server.set("+0");
}

fn hours_from_now(seconds: i64) -> i64 {
    (seconds - jiff::Timestamp::now().as_second() + 1800).div_euclid(3600)
}
