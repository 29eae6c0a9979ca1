//! `purposegate serve` as a process: signals, reloads, logs, a full disk, memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use purposegate::config::roots;
use purposegate::credentials::development::{self, ClientName};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;

use crate::admin_access::token_hash;
use crate::fixtures::{CUSTOMER_ROUTES, person};
use crate::gateway::{base, bearer, wait, wait_until};
use crate::http::{self, Answer};
use crate::upstream::{Upstream, answer};
use crate::versions;

/// A gateway in a process of its own.
pub(crate) struct ServeProcess {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: TempDir,
    pub(crate) log: Arc<Mutex<String>>,
    /// True once stderr is to be closed instead of read.
    close_stderr: Arc<AtomicBool>,
    /// While this lock is held, stderr is not read.
    pause: Arc<Mutex<()>>,
    reader: JoinHandle<()>,
}

impl ServeProcess {
    /// Starts `purposegate serve`, under a shell with this preamble.
    pub(crate) fn start(config: &str, preamble: &str) -> ServeProcess {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("purposegate.toml");
        std::fs::write(&file, config).unwrap();
        let command = format!("{preamble} exec \"$0\" serve --config \"$1\"");
        let mut child = Command::new("sh")
            .args(["-c", &command, env!("CARGO_BIN_EXE_purposegate")])
            .arg(&file)
            .env("PURPOSEGATE_LOG_FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log: Arc<Mutex<String>> = Arc::default();
        let stderr = child.stderr.take().unwrap();
        let close_stderr = Arc::new(AtomicBool::new(false));
        let pause: Arc<Mutex<()>> = Arc::default();
        let (kept, closing, paused) = (Arc::clone(&log), Arc::clone(&close_stderr), Arc::clone(&pause));
        // The log is written beside the configuration: each line changes a watched folder.
        let mut beside = std::fs::File::create(folder.path().join("gateway.log")).unwrap();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            for line in lines.take_while(|_| !closing.load(Ordering::SeqCst)) {
                let _paused = paused.lock();
                let _ = writeln!(beside, "{line}");
                kept.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let address = logged_address(&log, "listening");
        let admin = logged_address(&log, "admin listening");
        ServeProcess { child, address, admin, folder, log, close_stderr, pause, reader }
    }

    pub(crate) fn get(&self, path: &str, purpose: &str) -> Answer {
        http::get(self.address, path, &[&bearer("support"), &format!("data-purpose: {purpose}")])
    }

    pub(crate) fn rewrite(&self, config: &str) {
        std::fs::write(self.folder.path().join("purposegate.toml"), config).unwrap();
    }

    /// Returns what was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = http::get(self.admin, "/metrics", &[]).text();
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// Returns the peak memory of the process in KiB.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the log line with this message and returns its address.
fn logged_address(log: &Mutex<String>, message: &str) -> SocketAddr {
    let field = format!("\"message\":\"{message}\"");
    wait(|| {
        let log = log.lock().unwrap();
        let line = log.lines().find(|line| line.contains(&field))?;
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["fields"]["address"].as_str()?.parse().ok()
    })
}

#[test]
fn a_reload_replaces_everything_or_nothing() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let config = format!("{}{CUSTOMER_ROUTES}[deployment]\nname = \"gateway-1\"\n", base(upstream.address));
    let process = ServeProcess::start(&config, "");
    assert!(process.log.lock().unwrap().contains("\"gateway\":\"gateway-1\""));
    assert_eq!(process.get("/customers/p-1", "customer-support").status, 200);

    let mut reloads = process.metric("purposegate_policy_reload_total{outcome=\"failed\"}");
    process.rewrite(&config.replace("upstream = \"crm\"", "upstraem = \"crm\""));
    process.signal("-HUP");
    wait_until(|| process.metric("purposegate_policy_reload_total{outcome=\"failed\"}") > reloads);
    assert_eq!(
        process.get("/customers/p-1", "customer-support").status,
        200,
        "what was loaded stays in force"
    );

    reloads = process.metric("purposegate_policy_reload_total{outcome=\"loaded\"}");
    process.rewrite(&config.replace("[\"customer-support\", ", "[").replace("gateway-1", "gateway-2"));
    process.signal("-HUP");
    wait_until(|| process.metric("purposegate_policy_reload_total{outcome=\"loaded\"}") > reloads);
    let refused = process.get("/customers/p-1", "customer-support");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("purpose-not-permitted")));
    assert!(process.log.lock().unwrap().contains("\"section\":\"deployment.name\""), "it needs a restart");
}

#[test]
fn a_reload_replaces_the_actors() {
    let upstream = Upstream::start();
    let token = |name: &str| {
        format!(
            "[admin]\ntokens = [{{ name = \"{name}\", hash = \"{}\", roles = [\"operator\"] }}]",
            token_hash(&format!("pga_{name}"))
        )
    };
    let config = base(upstream.address);
    let process = ServeProcess::start(&config.replace("[admin]", &token("one")), "");
    let status = |name: &str| {
        let bearer = format!("authorization: Bearer pga_{name}");
        http::get(process.admin, "/metrics", &[&bearer]).status
    };
    assert_eq!((status("one"), status("two")), (200, 401));
    process.rewrite(&config.replace("[admin]", &token("two")));
    process.signal("-HUP");
    wait_until(|| status("two") == 200);
    assert_eq!(status("one"), 401);
}

/// The file is replaced, as certbot and Kubernetes do.
#[test]
fn a_renewed_certificate_is_reloaded() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let tls = folder.path().join("tls");
    development::make(&tls, &[]).unwrap();
    let (certificate, key) = (tls.join("server.pem"), tls.join("server.key"));
    let listener = format!("[listener]\ntls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let config = base(upstream.address).replace("[listener]", &listener);
    let process = ServeProcess::start(&format!("{config}{CUSTOMER_ROUTES}"), "");
    let loaded = "purposegate_policy_reload_total{outcome=\"loaded\"}";
    let before = process.metric(loaded);
    let renewed = tls.join("renewed");
    std::fs::copy(&certificate, &renewed).unwrap();
    std::fs::rename(&renewed, &certificate).unwrap();
    wait_until(|| process.metric(loaded) > before);
}

/// The configuration names each folder before it has a file that is included. A reload names the second one, and a reload that
/// fails the third one.
#[test]
fn folders_of_includes_are_watched_at_the_start_and_after_each_reload() {
    let upstream = Upstream::start();
    let folders = tempfile::tempdir().unwrap();
    let pattern = |name: &str| {
        let folder = folders.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("*.inc").display().to_string()
    };
    let patterns = ["one", "two", "three"].map(pattern);
    let config = |count: usize| {
        format!("include = {:?}\n{}{CUSTOMER_ROUTES}", &patterns[..count], base(upstream.address))
    };
    let process = ServeProcess::start(&config(1), "");
    let write = |name: &str, text: &str| {
        std::fs::write(folders.path().join(name).join("routes.inc"), text).unwrap();
    };
    let write_route = |name: &str| {
        upstream.json(&format!("/{name}"), "{}");
        let allow = "allow = [\"route-not-personal\"]";
        let route = format!("[[route]]\nname = \"{name}\"\nupstream = \"crm\"\npath = \"/{name}\"\n");
        write(name, &format!("{route}personal = false\n{allow}\n"));
        wait_until(|| process.get(&format!("/{name}"), "customer-support").status == 200);
    };
    let count =
        |outcome: &str| process.metric(&format!("purposegate_policy_reload_total{{outcome=\"{outcome}\"}}"));
    write_route("one");

    let loaded = count("loaded");
    process.rewrite(&config(2));
    wait_until(|| count("loaded") > loaded);
    write_route("two");

    write("three", "[[ruote]]\n");
    let failed = count("failed");
    process.rewrite(&config(3));
    wait_until(|| count("failed") > failed);
    write_route("three");
}

#[test]
fn a_pack_edited_in_place_needs_notice() {
    let upstream = Upstream::start();
    let packs = tempfile::tempdir().unwrap();
    // The announcement does not cover rules that are added later.
    let pack = versions::version(packs.path(), "1", ("2025-01-06", "2026-01-05"), "");
    let process = ServeProcess::start(&versions::config_of(&[&pack], upstream.address), "");
    let revision = || http::get(process.admin, "/v1/policies", &[]).json()[0]["revision"].clone();
    let before = revision();
    let reload = |outcome: &str| {
        let name = format!("purposegate_policy_reload_total{{outcome=\"{outcome}\"}}");
        let counted = process.metric(&name);
        process.signal("-HUP");
        wait_until(|| process.metric(&name) > counted);
    };
    let rules = pack.join("4-more.cedar");
    std::fs::write(&rules, versions::MORE).unwrap();
    reload("failed");
    assert_eq!(revision(), before, "what was loaded stays in force");
    std::fs::write(&rules, "// Nothing more.\n").unwrap();
    reload("loaded");
    // The reload that was counted may have read the file while it was empty.
    wait_until(|| revision() != before);
}

#[test]
fn the_gateway_survives_a_closed_stderr() {
    let upstream = Upstream::start();
    let debug = "PURPOSEGATE_LOG=debug; export PURPOSEGATE_LOG;";
    let process = ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)), debug);
    process.close_stderr.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(http::get(process.address, "/customers/p-1", &[]).status, 401);
        // The reader ends, and closes the pipe, at the next line.
        wait_until(|| process.reader.is_finished());
    }
}

/// The lines exceed the buffers of pipe and reader: a blocking writer would never continue.
#[test]
fn an_unread_stderr_does_not_block_the_gateway() {
    let upstream = Upstream::start();
    let debug = "PURPOSEGATE_LOG=debug; export PURPOSEGATE_LOG;";
    let process = ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)), debug);
    let paused = process.pause.lock().unwrap();
    for _ in 0..1000 {
        assert_eq!(http::get(process.address, "/customers/p-1", &[]).status, 401);
    }
    assert_eq!(http::get(process.admin, "/healthz", &[]).status, 200);
    let event = br#"{"kind": "consent-withdrawn", "purpose": "marketing"}"#;
    assert_eq!(http::send(process.admin, "POST", "/v1/subjects/p-1/events", &[], event).status, 200);
    drop(paused);
    process.signal("-HUP");
    wait_until(|| process.log.lock().unwrap().contains("\"message\":\"reload\""));
}

#[test]
fn refusals_are_not_logged_at_info() {
    let upstream = Upstream::start();
    let process = ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)), "");
    let is_reload = |line: &str| line.contains("\"message\":\"reload\"");
    let reloads = || process.log.lock().unwrap().lines().filter(|line| is_reload(line)).count();
    process.signal("-HUP");
    wait_until(|| reloads() == 1);
    for _ in 0..20 {
        assert_eq!(http::get(process.address, "/customers/p-1", &[]).status, 401);
    }
    process.signal("-HUP");
    wait_until(|| reloads() == 2);
    let log = process.log.lock().unwrap().clone();
    // A reload logs the findings of the configuration, and one line that it was loaded.
    let after_first = log.lines().skip_while(|line| !is_reload(line)).skip(1);
    let between = after_first.take_while(|line| !is_reload(line)).filter(|line| !line.contains("\"code\":"));
    assert_eq!(between.count(), 0, "{log}");
}

#[test]
fn connections_are_bounded_below_the_file_limit() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let config = format!("{}{CUSTOMER_ROUTES}", base(upstream.address));
    let process = ServeProcess::start(&config, "ulimit -n 200;");
    let refused = "purposegate_connections_refused_total{listener=\"127.0.0.1:0\"}";
    let idle: Vec<_> = (0..150).map(|_| std::net::TcpStream::connect(process.address)).collect();
    wait_until(|| process.metric(refused) > 0.0);
    assert_eq!(http::get(process.admin, "/readyz", &[]).status, 200, "there are some left for the others");
    drop(idle);
    wait_until(|| {
        let mut stream = std::net::TcpStream::connect(process.address).unwrap();
        let _ = stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 401")
    });
    assert_eq!(process.get("/customers/p-1", "customer-support").status, 200);
    let log = process.log.lock().unwrap().clone();
    assert!(log.contains("few-open-files") && log.contains("connections refused"), "{log}");
}

#[test]
fn the_open_file_limit_is_raised_to_the_hard_limit() {
    if !Path::new("/proc/self/limits").exists() {
        eprintln!("skipped: there is no /proc here to read limits from");
        return;
    }
    let upstream = Upstream::start();
    let config = format!("{}{CUSTOMER_ROUTES}", base(upstream.address));
    let process = ServeProcess::start(&config, "ulimit -Sn 256; ulimit -Hn 4096;");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["4096", "4096"], "{line}");
}

/// The stream has no end; the old CA signed the certificate of its client.
#[test]
fn a_new_client_ca_ends_connections_of_the_old_one() {
    const PARTNER: &str = "spiffe://example.org/partner";
    let upstream = Upstream::start();
    upstream.script("/changes", |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(format!("{head}data: {{\"id\": \"p-1\"}}\n\n").as_bytes());
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let certificates = tempfile::tempdir().unwrap();
    let (old, new) = (certificates.path().join("old"), certificates.path().join("new"));
    for authority in [&old, &new] {
        development::make(authority, &[ClientName { file: "partner", uri: PARTNER }]).unwrap();
    }
    let client_ca = certificates.path().join("clients.pem");
    std::fs::copy(old.join("ca.pem"), &client_ca).unwrap();
    let (certificate, key) = (old.join("server.pem"), old.join("server.key"));
    let listener = format!(
        "[listener]\ntls = {{ certificate = {certificate:?}, key = {key:?}, client-ca = {client_ca:?} }}"
    );
    let config = base(upstream.address)
        .replace("[listener]", &listener)
        .replace("timeout = \"10s\"\n[[upstream]]", "timeout = \"10s\"\nidle-timeout = \"1h\"\n[[upstream]]");
    let partner = format!(
        "[[recipient]]\nname = \"partner\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\ncredentials = [{{ certificate = \"{PARTNER}\" }}]\n"
    );
    let route = "[[route]]\nname = \"changes\"\nupstream = \"crm\"\npath = \"/changes\"\npersonal = false\n";
    let process = ServeProcess::start(&format!("{config}{partner}{CUSTOMER_ROUTES}{route}"), "");
    let connect = |authority: &Path| {
        let chain = vec![CertificateDer::from_pem_file(authority.join("partner.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(authority.join("partner.key")).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&old.join("ca.pem")).unwrap())
            .with_client_auth_cert(chain, key)
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        rustls::StreamOwned::new(connection, http::connect(process.address))
    };
    let mut stream = connect(&old);
    stream.sock.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
        .write_all(b"GET /changes HTTP/1.1\r\nhost: localhost\r\ndata-purpose: customer-support\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let renewed = certificates.path().join("renewed");
    std::fs::copy(new.join("ca.pem"), &renewed).unwrap();
    std::fs::rename(&renewed, &client_ca).unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it goes on");

    for (authority, accepted) in [(&old, false), (&new, true)] {
        let mut stream = connect(authority);
        let request = "GET /changes HTTP/1.1\r\nhost: localhost\r\ndata-purpose: customer-support\r\n\r\n";
        let mut answer = [0; 12];
        let answered = stream.write_all(request.as_bytes()).and_then(|()| stream.read_exact(&mut answer));
        assert_eq!(answered.is_ok() && answer == *b"HTTP/1.1 200", accepted, "{answered:?}");
    }
}

#[test]
fn sigterm_drains_exchanges_and_exits_cleanly() {
    let upstream = Upstream::start();
    upstream.script("/customers/p-1", |_, stream| {
        std::thread::sleep(Duration::from_millis(300));
        let _ = stream.write_all(&answer(
            "200 OK",
            "content-type: application/json\r\n",
            person("p-1").as_bytes(),
        ));
    });
    let mut process = ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)), "");
    let (address, authorization) = (process.address, bearer("support"));
    let answer = std::thread::spawn(move || {
        http::get(address, "/customers/p-1", &[&authorization, "data-purpose: customer-support"])
    });
    wait_until(|| upstream.requests() > 0);
    process.signal("-TERM");
    assert_eq!(answer.join().unwrap().status, 200);
    assert!(process.child.wait().unwrap().success());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_failed_start_names_the_cause() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("purposegate.toml");
    // A folder below a file cannot be created; the message includes the reason from the system.
    let config = format!(
        "{}{CUSTOMER_ROUTES}[audit]\ndirectory = \"purposegate.toml/audit\"\n",
        base(upstream.address)
    );
    std::fs::write(&file, config).unwrap();
    let started = Command::new(env!("CARGO_BIN_EXE_purposegate"))
        .args(["serve", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(2), "{words}");
    assert!(words.contains("the disclosure log") && words.contains("Not a directory"), "{words}");
}

#[test]
fn an_access_log_line_that_does_not_fit_is_dropped_whole() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let access = tempfile::tempdir().unwrap();
    // Files are limited to 256 KiB: the first line would cross the limit.
    let almost = "x".repeat((256 << 10) - 41) + "\n";
    let now = jiff::Timestamp::now();
    for hours in [0, 24] {
        let date = (now + jiff::SignedDuration::from_hours(hours)).to_zoned(jiff::tz::TimeZone::UTC).date();
        std::fs::write(access.path().join(format!("access-{date}.ndjson")), &almost).unwrap();
    }
    let config =
        format!("{}{CUSTOMER_ROUTES}[access-log]\ndirectory = {:?}\n", base(upstream.address), access.path());
    let process = ServeProcess::start(&config, "trap '' XFSZ; ulimit -f 512;");
    assert_eq!(process.get("/customers/p-1", "customer-support").status, 200);
    wait_until(|| process.log.lock().unwrap().contains("lines of the access log were dropped"));
    for entry in std::fs::read_dir(access.path()).unwrap() {
        assert_eq!(std::fs::read_to_string(entry.unwrap().path()).unwrap(), almost);
    }
}

#[test]
fn a_full_disk_stops_all_releases() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    // Files are limited to 256 KiB: a write beyond fails as on a full disk.
    let process = ServeProcess::start(
        &format!("{}{CUSTOMER_ROUTES}", base(upstream.address)),
        "trap '' XFSZ; ulimit -f 512;",
    );
    let mut last = process.get("/customers/p-1", "customer-support");
    assert_eq!(last.status, 200);
    for _ in 0..2000 {
        last = process.get("/customers/p-1", "customer-support");
        if last.status != 200 {
            break;
        }
    }
    assert_eq!((last.status, last.json()["code"].as_str()), (503, Some("audit-unavailable")));
    assert!(last.header("retry-after").is_some());
    assert!(!last.text().contains("Name-p-1"));
    assert_eq!(process.get("/customers/p-1", "customer-support").status, 503, "and it stays so");
    assert_eq!(http::get(process.admin, "/readyz", &[]).status, 503);
    // The ledger's file reaches the same limit; then every request is refused.
    let mut status = 200;
    for n in 0..5000 {
        let event = format!("{{\"kind\": \"notice\", \"notice\": \"{}\"}}", "n".repeat(200));
        status =
            http::send(process.admin, "POST", &format!("/v1/subjects/s-{n}/events"), &[], event.as_bytes())
                .status;
        if status != 200 {
            break;
        }
    }
    assert_eq!(status, 503);
    let refused = process.get("/customers/p-1", "customer-support");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("ledger-unavailable")));
}

#[test]
fn no_personal_value_reaches_the_logs_of_the_process() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    upstream.raw(
        "/customers/p-2",
        answer("500 Name-p-2", "content-type: application/json\r\n", person("p-2").as_bytes()),
    );
    upstream.raw(
        "/customers/p-3",
        answer("200 OK", "content-type: application/json\r\n", &person("p-3").as_bytes()[..30]),
    );
    let process = ServeProcess::start(
        &format!("{}{CUSTOMER_ROUTES}", base(upstream.address)),
        "PURPOSEGATE_LOG=trace; export PURPOSEGATE_LOG;",
    );
    for path in
        ["/customers/p-1", "/customers/p-2", "/customers/p-3", "/customers/p-4?email=canary@example.org"]
    {
        process.get(path, "customer-support");
    }
    let event = br#"{"kind": "consent-given", "purpose": "canary-purpose"}"#;
    http::send(process.admin, "POST", "/v1/subjects/p-1/events", &[], event);
    let ours =
        |log: &str| -> String { log.lines().filter(|line| !line.contains("\"target\":\"hyper")).collect() };
    // The log is read on a thread of its own.
    wait_until(|| ours(&process.log.lock().unwrap()).contains("refused"));
    let log = process.log.lock().unwrap().clone();
    let ours = ours(&log);
    assert!(!log.contains("inotify"), "the log, which lies in a watched folder, feeds itself");
    for value in ["Name-p", "@example.org", "pw-p", "pgk_"] {
        assert!(!ours.contains(value), "{value}: {ours}");
    }
}

/// Memory is bounded by a record and a window, not by the body.
#[test]
fn a_gibibyte_streams_within_64_mebibytes_of_memory() {
    if !Path::new("/proc/self/status").exists() {
        eprintln!("skipped: there is no /proc here to read the peak of memory from");
        return;
    }
    const GIBIBYTE: usize = 1 << 30;
    let upstream = Upstream::start();
    upstream.script("/customers", |_, stream| {
        let mut block = String::new();
        for n in 0..200 {
            block.push_str(&person(&format!("p-{n}")));
            block.push(',');
        }
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"items\": [",
        );
        for _ in 0..GIBIBYTE / block.len() {
            if stream.write_all(block.as_bytes()).is_err() {
                return;
            }
        }
        let _ = stream.write_all(format!("{}]}}", person("p-last")).as_bytes());
    });
    let process = ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)), "");
    let mut stream = http::connect(process.address);
    let request = format!(
        "GET /customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\ndata-purpose: customer-support\r\n\r\n",
        bearer("support")
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut received, mut tail, mut buffer) = (0usize, Vec::new(), vec![0u8; 1 << 20]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        received += read;
        tail.extend_from_slice(&buffer[..read]);
        tail.drain(..tail.len().saturating_sub(200));
    }
    let end = String::from_utf8_lossy(&tail).into_owned();
    assert!(end.contains("\"p-last\"") && end.ends_with("]}\r\n0\r\n\r\n"), "{end}");
    assert!(received > GIBIBYTE / 4, "{received}");
    let peak = process.peak_memory();
    assert!(peak < 64 * 1024, "{peak} KiB");
}

#[test]
fn the_log_names_the_cause_of_an_unreadable_answer() {
    let upstream = Upstream::start();
    let mut routes = CUSTOMER_ROUTES.to_owned();
    routes
        .push_str("[[route]]\nname = \"dark\"\nupstream = \"nowhere\"\npath = \"/dark\"\npersonal = false\n");
    let process = ServeProcess::start(&format!("{}{routes}", base(upstream.address)), "");
    let html = "content-type: text/html\r\n";
    let unknown = "content-type: application/canary-9431\r\n";
    let json = "content-type: application/json\r\n";
    for (path, bytes, cause) in [
        ("/customers/1", answer("200 OK", html, b"canary-9431"), "media type text/html"),
        ("/customers/2", answer("200 OK", unknown, b"canary-9431"), "another media type"),
        ("/customers/3", answer("200 OK", json, b"{canary-9431"), "the body is malformed at byte 1"),
        (
            "/customers/4",
            answer("200 OK", &format!("{json}content-encoding: gzip\r\n"), b"canary-9431"),
            "the content coding gzip cannot be undone",
        ),
        ("/customers/5", answer("302 canary-9431", "location: /canary-9431\r\n", b""), "status 302"),
        ("/customers/6", b"canary-9431\r\n\r\n".to_vec(), "the head is not HTTP, or too large"),
        (
            "/customers/7",
            Vec::new(),
            "the connection was closed before an answer; if the API speaks TLS, write `https://`",
        ),
        ("/dark", Vec::new(), "the connection was refused"),
    ] {
        upstream.raw(path, bytes);
        assert_eq!(process.get(path, "customer-support").status, 502, "{path}");
        let quoted = format!("\"cause\":\"{cause}\"");
        wait_until(|| process.log.lock().unwrap().contains(&quoted));
    }
    for _ in 0..20 {
        process.get("/customers/1", "customer-support");
    }
    let log = process.log.lock().unwrap();
    assert!(log.contains("\"upstream\":\"nowhere\"") && log.contains("\"route\":\"dark\""), "{log}");
    assert!(!log.contains("canary") && !log.contains("9431"), "{log}");
    assert!(log.matches("does not leave").count() <= 10, "so many of a route: {log}");
    let of_dark = log.lines().find(|line| line.contains("the connection was refused")).unwrap();
    assert!(of_dark.contains("the upstream gives no answer"), "{of_dark}");
}

#[test]
fn a_log_begins_with_the_addresses_and_has_a_checkpoint_at_the_stop() {
    let upstream = Upstream::start();
    let mut process = ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)), "");
    let signed = process.folder.path().join("data/audit/checkpoint");
    wait_until(|| signed.exists());
    process.signal("-TERM");
    assert!(process.child.wait().unwrap().success());
    let checkpoint = "checkpoint of the disclosure log";
    wait_until(|| process.log().contains(checkpoint));
    let log = process.log();
    let place = |words: &str| log.lines().position(|line| line.contains(words));
    assert!(place(checkpoint) > place("draining") && place("draining").is_some(), "{log}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_has_metrics_of_its_own() {
    let upstream = Upstream::start();
    let process = ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)), "");
    for name in [
        "process_resident_memory_bytes ",
        "process_virtual_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_threads ",
        "process_start_time_seconds ",
    ] {
        assert!(process.metric(name) > 0.0, "{name}");
    }
    let metrics = http::get(process.admin, "/metrics", &[]).text();
    assert!(metrics.contains("# TYPE process_cpu_seconds_total counter"), "{metrics}");
}
