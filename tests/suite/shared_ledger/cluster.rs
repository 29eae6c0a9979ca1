//! Gateways in processes of their own over one ledger in PostgreSQL, each behind a relay of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::history::{History, Pulse, Release, Withdrawal};
use super::relay::Relay;
use crate::gateway::{bearer, credential, wait};
use crate::http::{self, Answer};
use crate::postgres_server::PostgresServer;
use crate::upstream::{Upstream, answer};

/// `max-staleness` of the gateways.
pub(super) const MAX_STALENESS: Duration = Duration::from_secs(1);
/// Time within which a gateway is current again after a fault, more often than not: the machine may be busy.
const RETURN_TIME: Duration = Duration::from_secs(1);
/// Time after which a test fails whatever the machine does.
const PATIENCE: Duration = Duration::from_secs(15);
/// Number of gateways in a cluster.
pub(super) const GATEWAYS: usize = 3;
/// The words of a gateway that does not start, because the server did not answer in time.
const LATE_SERVER: &str = "PostgreSQL did not answer within";
/// A person who consents and never withdraws.
pub(super) const FAITHFUL: &str = "p-0";

const PACK: &str = r#"
title = "A pack"
version = "1"
announced = 2026-01-05
effective = 2026-01-05
contact = "Data Protection Officer"
[bases]
contract = "Needed for what the person ordered"
consent = "The person agreed"
legal-obligation = "Required by law"
not-personal = "About nobody"
[[clauses]]
id = "A-1"
title = "Everything"
kept = "by-rules"
"#;

/// Each rule of the pack: id, basis, purpose, category.
const RULES: [(&str, &str, &str, &str); 4] = [
    ("order", "contract", " in Action::\"order-fulfilment\"", "name"),
    ("news", "consent", " in Action::\"direct-marketing\"", "email"),
    ("law", "legal-obligation", " in Action::\"legal\"", "name"),
    ("anonymous", "not-personal", "", "non-personal"),
];

const ROUTES: &str = r#"
[[schema]]
name = "person"
subject = "@.id"
[schema.fields]
"@.id" = "non-personal"
"@.name" = "name"
"@.email" = "email"

[[route]]
name = "person"
upstream = "crm"
path = "/people/{id}"
schema = "person"

[[route]]
name = "everybody"
upstream = "crm"
path = "/everybody"
record = "$[*]"
schema = "person"

[[route]]
name = "order"
upstream = "crm"
path = "/orders/{id}"
schema = "person"
stale = "contract"
stale-for = "1m"
"#;

/// A gateway, which can be ended and started again.
struct Member {
    name: String,
    folder: TempDir,
    relay: Relay,
    process: Mutex<Option<Running>>,
    /// Variables of the environment of the process.
    environment: Vec<(String, String)>,
    /// Number of starts so far; each has a log of its own.
    starts: AtomicUsize,
}

struct Running {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gateways over one ledger, and the history of what they answered.
pub(super) struct Cluster<'s> {
    server: &'s PostgresServer,
    database: String,
    upstream: Upstream,
    shared: TempDir,
    gateways: Vec<Member>,
    pub(super) history: History,
    pub(super) pulse: Pulse,
    people: Arc<AtomicUsize>,
    /// Times from the end of a fault until a gateway was current.
    returns: Mutex<Vec<Duration>>,
}

impl<'s> Cluster<'s> {
    /// Starts gateways over a new database. `environment` returns the variables of each, by its index.
    pub(super) fn start(
        server: &'s PostgresServer,
        environment: impl Fn(usize) -> Vec<(String, String)>,
    ) -> Cluster<'s> {
        let mut cluster = Cluster {
            server,
            database: server.create_database(""),
            upstream: Upstream::start(),
            shared: tempfile::tempdir().unwrap(),
            gateways: Vec::new(),
            history: History::new(MAX_STALENESS),
            pulse: Pulse::start(),
            people: Arc::new(AtomicUsize::new(1)),
            returns: Mutex::default(),
        };
        serve_people(&cluster.upstream, Arc::clone(&cluster.people));
        cluster.write_shared_files();
        for index in 0..GATEWAYS {
            let member = cluster.member(&format!("gateway-{index}"), environment(index));
            member.start();
            cluster.gateways.push(member);
        }
        cluster.record(0, FAITHFUL);
        for gateway in 0..GATEWAYS {
            wait(|| cluster.releases(gateway, FAITHFUL).then_some(()));
        }
        cluster
    }

    fn write_shared_files(&self) {
        let write = |name: &str, text: &str| std::fs::write(self.shared.path().join(name), text).unwrap();
        std::fs::create_dir(self.shared.path().join("pack")).unwrap();
        write("pack/pack.toml", PACK);
        let rule = |(id, basis, action, category): (&str, &str, &str, &str)| {
            format!(
                "@id(\"{id}\") @clause(\"A-1\") @basis(\"{basis}\")\n\
                 permit (principal, action{action}, resource in Category::\"{category}\")\n\
                 when {{ [\"disclose\", \"collect\"].contains(context.operation) }};\n"
            )
        };
        write("pack/rules.cedar", &RULES.map(rule).concat());
        let keys = ["pseudonym", "ledger", "log"].map(|key| format!("{key} = {}\n", "5a".repeat(32)));
        write("keys", &format!("purposegate keys 1\n{}", keys.concat()));
    }

    /// Prepares a gateway that is not running.
    fn member(&self, name: &str, environment: Vec<(String, String)>) -> Member {
        let (folder, relay) = (tempfile::tempdir().unwrap(), Relay::start(self.server.port()));
        let keys = folder.path().join("keys");
        std::fs::copy(self.shared.path().join("keys"), &keys).unwrap();
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&keys, owner_only).unwrap();
        let config = format!(
            r#"policy = {pack:?}
[deployment]
name = "{name}"
[keys]
file = "keys"
[listener]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[ledger]
url = "postgres://postgres@{relay}/{database}?sslmode=disable"
max-staleness = "{staleness}ms"
[[upstream]]
name = "crm"
url = "http://{upstream}"
timeout = "10s"
[[recipient]]
name = "support"
kind = "employee"
country = "DE"
purposes = ["order-fulfilment", "direct-marketing", "legal"]
credentials = [{credential}]
{ROUTES}"#,
            pack = self.shared.path().join("pack"),
            relay = relay.address,
            database = self.database,
            staleness = MAX_STALENESS.as_millis(),
            upstream = self.upstream.address,
            credential = credential("support"),
        );
        std::fs::write(folder.path().join("purposegate.toml"), config).unwrap();
        let (process, starts) = (Mutex::new(None), AtomicUsize::new(0));
        Member { name: name.to_owned(), folder, relay, process, environment, starts }
    }

    /// Ends a gateway at once (SIGKILL).
    pub(super) fn kill(&self, gateway: usize) {
        drop(self.gateways[gateway].process.lock().unwrap().take());
    }

    /// Starts a gateway after [`Cluster::kill`], and waits until it listens.
    pub(super) fn start_again(&self, gateway: usize) {
        self.gateways[gateway].start();
    }

    pub(super) fn signal(&self, gateway: usize, signal: &str) {
        let id = self.gateways[gateway].process.lock().unwrap().as_ref().unwrap().child.id();
        assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
    }

    /// Returns the time at which a person consented, in seconds since the Unix epoch.
    pub(super) fn consented_at(&self, person: usize) -> i64 {
        let path = format!("/v1/subjects/p-{person}/events");
        let events = http::get(self.gateways[0].admin().unwrap(), &path, &[]).json();
        events[0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
    }

    /// The relay between a gateway and the server.
    pub(super) fn relay(&self, gateway: usize) -> &Relay {
        &self.gateways[gateway].relay
    }

    /// Records the consents of new people at the first gateway, and returns their range.
    pub(super) fn add_people(&self, number: usize) -> std::ops::Range<usize> {
        let first = self.people.fetch_add(number, Ordering::SeqCst);
        let line = |person| format!("{{\"subject\": \"p-{person}\", {GIVEN}}}\n");
        let lines: String = (first..first + number).map(line).collect();
        let admin = self.gateways[0].admin().unwrap();
        // Again if the server did not answer in time: a line is recorded once.
        wait(|| {
            let path = "/v1/events:batch?wait=everywhere";
            let imported = http::send(admin, "POST", path, &[], lines.as_bytes());
            (imported.status == 200 && !imported.text().contains("\"error\"")).then_some(())
        });
        first..first + number
    }

    fn record(&self, gateway: usize, person: &str) {
        let event = format!("{{{GIVEN}}}");
        let admin = self.gateways[gateway].admin().unwrap();
        let path = format!("/v1/subjects/{person}/events");
        assert_eq!(http::send(admin, "POST", &path, &[], event.as_bytes()).status, 200);
    }

    /// Tries once to record a person's withdrawal. Returns true if it was acknowledged.
    pub(super) fn withdraw(&self, gateway: usize, person: &str, everywhere: bool) -> bool {
        self.history.attempt(person);
        let Some(admin) = self.gateways[gateway].admin() else { return false };
        let (query, at_most) = match everywhere {
            true => ("?wait=everywhere", 4 * MAX_STALENESS),
            false => ("", MAX_STALENESS / 2),
        };
        let key = format!("idempotency-key: withdrawal-{person}");
        let path = format!("/v1/subjects/{person}/events{query}");
        let answered = exchange(admin, "POST", &path, &[&key], WITHDRAWN.as_bytes(), at_most);
        let Some((answer, _)) = answered.filter(|(answer, _)| answer.status == 200 && answer.complete) else {
            return false;
        };
        let acknowledged = Instant::now();
        let answer = answer.json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let everywhere = answer["in_force"] == "everywhere";
        let (position, event) = (text("position"), text("event"));
        self.history.withdrawn(person, Withdrawal { gateway, acknowledged, everywhere, position, event });
        true
    }

    /// Asks a gateway for a person's data on their consent, and notes the answer. `position` is the request's
    /// `Ledger-Position`. Returns the outcome.
    pub(super) fn ask(&self, gateway: usize, person: &str, position: Option<&str>) -> String {
        let position = position.map(|position| format!("ledger-position: {position}"));
        let more: Vec<&str> = position.iter().map(String::as_str).collect();
        let sent = Instant::now();
        let answered = self.send(gateway, &format!("/people/{person}"), "direct-marketing", &more);
        let Some((answer, first_byte)) = answered else { return self.count("no answer") };
        if answer.text().contains(&format!("\"{person}@example.org\"")) {
            let (person, with_position) = (person.to_owned(), position.is_some());
            self.history.released(Release { gateway, person, sent, first_byte, with_position });
            return self.count("released");
        }
        match answer.outcome() {
            (200, _) => self.count("withheld"),
            (status, code) => self.count(&format!("{status} {code}")),
        }
    }

    fn count(&self, outcome: &str) -> String {
        self.history.count(outcome);
        outcome.to_owned()
    }

    fn send(&self, gateway: usize, path: &str, purpose: &str, more: &[&str]) -> Option<(Answer, Instant)> {
        let address = self.gateways[gateway].address()?;
        let (key, purpose) = (bearer("support"), format!("data-purpose: {purpose}"));
        let headers = [&[key.as_str(), purpose.as_str()], more].concat();
        exchange(address, "GET", path, &headers, b"", Duration::from_secs(20))
    }

    /// True if a gateway releases a person's data on their consent.
    pub(super) fn releases(&self, gateway: usize, person: &str) -> bool {
        self.ask(gateway, person, None) == "released"
    }

    /// Waits until a gateway releases nothing on consent because its ledger is stale. It heard nothing from the server
    /// `since`. Legal operations go on, and on a route that says so those on a contract, which are on record as stale.
    pub(super) fn expect_stale(&self, gateway: usize, since: Instant) {
        loop {
            let sent = since.elapsed();
            match self.ask(gateway, FAITHFUL, None).as_str() {
                "503 ledger-stale" => break,
                "released" => assert!(sent <= MAX_STALENESS, "released after {sent:?}"),
                _ => {}
            }
            assert!(sent < PATIENCE, "{}", self.log(gateway));
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = |path: &str, purpose: &str| self.send(gateway, path, purpose, &[]).unwrap().0.outcome();
        assert_eq!(status("/people/p-0", "legal"), (200, String::new()));
        assert_eq!(status("/people/p-0", "order-fulfilment"), (503, "ledger-stale".to_owned()));
        assert_eq!(status("/orders/p-0", "direct-marketing"), (503, "ledger-stale".to_owned()));
        let (ordered, _) = self.send(gateway, "/orders/p-0", "order-fulfilment", &[]).unwrap();
        assert!(ordered.status == 200 && ordered.text().contains("Name-p-0"), "{}", ordered.text());
        let admin = self.gateways[gateway].admin().unwrap();
        let path = format!("/v1/decisions/{}", ordered.decision());
        assert_eq!(http::get(admin, &path, &[]).json()["stale"], true);
    }

    /// Waits until a gateway releases on consent again, and notes how long that took.
    pub(super) fn expect_current(&self, gateway: usize, healed: Instant) {
        while !self.releases(gateway, FAITHFUL) {
            assert!(healed.elapsed() < PATIENCE, "{}", self.log(gateway));
            std::thread::sleep(Duration::from_millis(5));
        }
        self.returns.lock().unwrap().push(healed.elapsed());
    }

    /// Waits until a gateway records an event again, and notes how long that took.
    pub(super) fn expect_records(&self, gateway: usize, healed: Instant) {
        let path = format!("/v1/subjects/{FAITHFUL}/events");
        let notice = br#"{"kind": "notice", "notice": "n"}"#;
        let record = || {
            let admin = self.gateways[gateway].admin()?;
            exchange(admin, "POST", &path, &[], notice, PATIENCE).filter(|(answer, _)| answer.status == 200)
        };
        while record().is_none() {
            assert!(healed.elapsed() < PATIENCE, "{}", self.log(gateway));
            std::thread::sleep(Duration::from_millis(5));
        }
        self.returns.lock().unwrap().push(healed.elapsed());
    }

    /// Checks the promises, and that every gateway and a new one know the same, every acknowledged event included.
    pub(super) fn check(&self) {
        // In force everywhere, and with it all events before it.
        self.add_people(1);
        let violations = self.history.violations(self.pulse.margin());
        assert!(violations.is_empty(), "{} violations, the first: {}", violations.len(), violations[0]);
        let fresh = self.member("fresh", Vec::new());
        fresh.start();
        let withdrawals = self.history.withdrawals();
        for (person, withdrawal) in &withdrawals {
            let path = format!("/v1/subjects/{person}/events");
            let events = http::get(fresh.admin().unwrap(), &path, &[]).json();
            let is_there = |event: &Value| event["event"] == withdrawal.event.as_str();
            assert!(events.as_array().unwrap().iter().any(is_there), "lost: {withdrawal:?} of {events}");
        }
        let states = everybody(&fresh);
        assert!(states[FAITHFUL]);
        for person in withdrawals.keys() {
            assert!(!states[person], "{person} withdrew");
        }
        for (person, is_released) in &states {
            assert!(*is_released || !self.history.is_untouched(person), "{person} consents");
        }
        for gateway in &self.gateways {
            assert_eq!(everybody(gateway), states, "{}", gateway.name);
        }
        for log in self.gateways.iter().flat_map(Member::logs).chain(fresh.logs()) {
            let is_fatal = |line: &str| line.contains("\"level\":\"ERROR\"") && !line.contains(LATE_SERVER);
            assert!(!log.lines().any(is_fatal) && !log.contains("panicked"), "{log}");
        }
        let mut returns = self.returns.lock().unwrap().clone();
        returns.sort();
        eprintln!("{} withdrawals, {:?}, back after {returns:?}", withdrawals.len(), self.history.outcomes());
        let median = returns.get(returns.len() / 2).copied().unwrap_or_default();
        assert!(median < RETURN_TIME + self.pulse.margin(), "back after {returns:?}");
    }

    fn log(&self, gateway: usize) -> String {
        self.gateways[gateway].logs().concat()
    }
}

const GIVEN: &str = r#""kind": "consent-given", "purpose": "direct-marketing""#;
const WITHDRAWN: &str = r#"{"kind": "consent-withdrawn", "purpose": "direct-marketing"}"#;

/// Returns for each person if a gateway releases their data on their consent.
fn everybody(member: &Member) -> BTreeMap<String, bool> {
    let answer = wait(|| {
        let headers = [&bearer("support"), "data-purpose: direct-marketing"];
        let answer = http::get(member.address()?, "/everybody", &headers);
        (answer.status == 200 && answer.complete).then_some(answer)
    });
    let people = answer.json();
    let person = |person: &Value| (person["id"].as_str().unwrap().to_owned(), person.get("email").is_some());
    people.as_array().unwrap().iter().map(person).collect()
}

/// Makes the upstream answer with the record of any person, and with the list of all.
fn serve_people(upstream: &Upstream, people: Arc<AtomicUsize>) {
    let record = |id: &str| format!(r#"{{"id": "{id}", "name": "Name-{id}", "email": "{id}@example.org"}}"#);
    let json = "content-type: application/json\r\n";
    upstream.script("*", move |head, stream| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let body = record(path.rsplit('/').next().unwrap_or_default());
        let _ = stream.write_all(&answer("200 OK", json, body.as_bytes()));
    });
    upstream.script("/everybody", move |_, stream| {
        let records = (0..people.load(Ordering::SeqCst)).map(|person| record(&format!("p-{person}")));
        let body = format!("[{}]", records.collect::<Vec<_>>().join(","));
        let _ = stream.write_all(&answer("200 OK", json, body.as_bytes()));
    });
}

/// Sends a request. Returns the answer, and the time after the first byte of its body; `None` if there is none in time.
fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
    at_most: Duration,
) -> Option<(Answer, Instant)> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(at_most)).unwrap();
    stream.write_all(&[request.as_bytes(), body].concat()).ok()?;
    let (mut bytes, mut buffer, mut first_byte) = (Vec::new(), [0; 16 * 1024], None);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            // What came before the connection ended has left, too.
            Err(_) if first_byte.is_some() => break,
            Err(_) => return None,
        }
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if first_byte.is_none() && head.is_some_and(|head| bytes.len() > head + 4) {
            first_byte = Some(Instant::now());
        }
    }
    Some((http::parse(&bytes), first_byte?))
}

impl Member {
    /// Starts the process and waits until it listens.
    fn start(&self) {
        let log = self.log_file(self.starts.fetch_add(1, Ordering::SeqCst));
        let mut command = Command::new(env!("CARGO_BIN_EXE_purposegate"));
        command.args(["serve", "--config"]).arg(self.folder.path().join("purposegate.toml"));
        command.env("PURPOSEGATE_LOG_FORMAT", "json").env("PURPOSEGATE_LOG", "purposegate=debug");
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let (address, admin) = wait(|| {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Some(ended) = child.try_wait().unwrap() {
                // On a busy machine the server may be late. An operator's supervisor starts the gateway again, too.
                assert!(text.contains(LATE_SERVER), "{} ended with {ended:?}: {text}", self.name);
                child = command.spawn().unwrap();
            }
            Some((logged_address(&text, "listening")?, logged_address(&text, "admin listening")?))
        });
        *self.process.lock().unwrap() = Some(Running { child, address, admin });
    }

    fn address(&self) -> Option<SocketAddr> {
        self.process.lock().unwrap().as_ref().map(|running| running.address)
    }

    fn admin(&self) -> Option<SocketAddr> {
        self.process.lock().unwrap().as_ref().map(|running| running.admin)
    }

    fn log_file(&self, start: usize) -> PathBuf {
        self.folder.path().join(format!("log-{start}"))
    }

    /// The logs of all starts.
    fn logs(&self) -> Vec<String> {
        let read = |file: &Path| std::fs::read_to_string(file).unwrap();
        (0..self.starts.load(Ordering::SeqCst)).map(|start| read(&self.log_file(start))).collect()
    }
}

/// Returns the address in the log line with this message.
fn logged_address(log: &str, message: &str) -> Option<SocketAddr> {
    let field = format!("\"message\":\"{message}\"");
    let line = log.split_inclusive('\n').find(|line| line.contains(&field) && line.ends_with('\n'))?;
    let value: Value = serde_json::from_str(line).unwrap();
    value["fields"]["address"].as_str()?.parse().ok()
}
