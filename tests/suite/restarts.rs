//! Restarts without a gap: a successor starts beside its predecessor over the same listening sockets, and takes ledger and
//! log over. No request fails, every answer is on record, and every acknowledged withdrawal stays in force.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;

use crate::drain::NotifySocket;
use crate::fixtures::{CONSENT, CUSTOMER_ROUTES, KNOWN, person};
use crate::gateway::{base, bearer, log_in};
use crate::http;
use crate::ledger_sharers::SharedLedger;
use crate::postgres_server::PostgresServer;
use crate::upstream::Upstream;

/// Number of connections of the load. Each is used more often than once in a drain notice.
const CONNECTIONS: u32 = 16;

/// Listening sockets, and the gateways that serve them one after the other.
struct Sockets {
    public: TcpListener,
    admin: TcpListener,
    manager: NotifySocket,
    file: PathBuf,
    log: PathBuf,
}

impl Sockets {
    fn address(&self) -> SocketAddr {
        self.public.local_addr().unwrap()
    }

    /// Starts a gateway over the sockets. They become the descriptors 3 and 4 of the process.
    fn start(&self) -> Child {
        let pass = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
        let script = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; \
                      exec \"$0\" serve --config \"$1\"";
        let log = File::options().append(true).create(true).open(&self.log).unwrap();
        Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_purposegate")])
            .arg(&self.file)
            .env("NOTIFY_SOCKET", self.manager.path())
            .stdin(pass(&self.public))
            .stdout(pass(&self.admin))
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Ends a gateway when it is dropped.
struct Running(Child);

impl Running {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Requests and their outcomes.
#[derive(Default)]
struct Tally {
    requests: usize,
    failures: Vec<String>,
    decisions: BTreeSet<String>,
    longest: Duration,
}

impl Tally {
    fn note(tally: &Mutex<Tally>, began: Instant, outcome: Result<String, String>) {
        let mut tally = tally.lock().unwrap();
        tally.requests += 1;
        tally.longest = tally.longest.max(began.elapsed());
        match outcome {
            Ok(decision) => drop(tally.decisions.insert(decision)),
            Err(why) => tally.failures.push(why),
        }
    }
}

/// An HTTP/1.1 connection that is used until the other side says `Connection: close`.
struct Kept {
    address: SocketAddr,
    open: Option<BufReader<TcpStream>>,
}

impl Kept {
    fn get(&mut self, path: &str, purpose: &str) -> Result<http::Answer, String> {
        let mut stream = match self.open.take() {
            Some(open) => open,
            None => BufReader::new(http::connect(self.address)),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\n{}\r\ndata-purpose: {purpose}\r\n\r\n",
            bearer("support")
        );
        stream.get_mut().write_all(request.as_bytes()).map_err(|error| format!("write: {error}"))?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match stream.read_line(&mut head) {
                Ok(0) => return Err(format!("closed after {head:?}")),
                Ok(_) => {}
                Err(error) => return Err(format!("read: {error}")),
            }
        }
        let parsed = http::parse(head.as_bytes());
        let length = parsed.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).map_err(|error| format!("read the body: {error}"))?;
        if parsed.header("connection") != Some("close") {
            self.open = Some(stream);
        }
        Ok(http::parse(&[head.as_bytes(), &body].concat()))
    }
}

/// Sends requests at a rate over HTTP/1.1 until the end.
fn load(
    address: SocketAddr,
    every: Duration,
    tally: Arc<Mutex<Tally>>,
    end: Arc<AtomicBool>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut kept = Kept { address, open: None };
        let mut next = Instant::now();
        while !end.load(Ordering::SeqCst) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += every;
            let began = Instant::now();
            let outcome = match kept.get("/customers/p-1", "customer-support") {
                Ok(answer) if answer.status == 200 => Ok(answer.decision()),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
                Err(why) => Err(why),
            };
            Tally::note(&tally, began, outcome);
        }
    })
}

/// Sends requests at a rate over HTTP/2 until the end, on a new connection after each GOAWAY.
fn load_http2(
    address: SocketAddr,
    every: Duration,
    tally: Arc<Mutex<Tally>>,
    end: Arc<AtomicBool>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut sender = connect_http2(address).await;
            let mut ticks = tokio::time::interval(every);
            while !end.load(Ordering::SeqCst) {
                ticks.tick().await;
                let began = Instant::now();
                let outcome = loop {
                    if sender.ready().await.is_err() {
                        sender = connect_http2(address).await;
                        continue;
                    }
                    match request_http2(&mut sender).await {
                        // The connection has ended before the request was sent.
                        Err(error) if error.is_canceled() => sender = connect_http2(address).await,
                        Err(error) => break Err(format!("HTTP/2: {error:?}")),
                        Ok((200, decision)) => break Ok(decision),
                        Ok((status, _)) => break Err(format!("HTTP/2: {status}")),
                    }
                };
                Tally::note(&tally, began, outcome);
            }
        });
    })
}

async fn connect_http2(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn request_http2(sender: &mut SendRequest<Empty<Bytes>>) -> hyper::Result<(u16, String)> {
    let request = ::http::Request::get("http://x/customers/p-1")
        .header("authorization", bearer("support").split_once(": ").unwrap().1)
        .header("data-purpose", "customer-support")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await?;
    let applied =
        answer.headers().get("data-purpose-applied").map(|value| value.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    answer.into_body().collect().await?;
    Ok((status, applied.and_then(|applied| Some(applied.split('"').nth(1)?.to_owned())).unwrap_or_default()))
}

/// Gives and withdraws the consents of one person after the other. Right after an acknowledged withdrawal, and at the end,
/// nothing may be released on the consent. Returns the people whose withdrawal was acknowledged.
fn withdraw(
    (address, admin): (SocketAddr, SocketAddr),
    every: Duration,
    tally: Arc<Mutex<Tally>>,
    end: Arc<AtomicBool>,
) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut kept = Kept { address, open: None };
        let mut withdrawn = Vec::new();
        while !end.load(Ordering::SeqCst) {
            let subject = format!("w-{}", withdrawn.len());
            let path = format!("/v1/subjects/{subject}/events");
            let withdrawal = CONSENT.replace("consent-given", "consent-withdrawn");
            for event in [CONSENT, &withdrawal] {
                let began = Instant::now();
                let answer = http::send(admin, "POST", &path, &[], event.as_bytes());
                let outcome = match answer.status {
                    200 => Ok(String::new()),
                    status => Err(format!("event: {status} {}", answer.text())),
                };
                Tally::note(&tally, began, outcome);
            }
            let began = Instant::now();
            let outcome = match kept.get(&format!("/customers/{subject}"), "direct-marketing") {
                Ok(answer) if answer.text().contains("Name-") => {
                    Err("released after the withdrawal".to_owned())
                }
                Ok(answer) if answer.status == 200 => Ok(answer.decision()),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
                Err(why) => Err(why),
            };
            Tally::note(&tally, began, outcome);
            withdrawn.push(subject);
            std::thread::sleep(every);
        }
        withdrawn
    })
}

/// The decisions in the disclosure log whose exchange is closed as released.
fn recorded(folder: &Path) -> BTreeSet<String> {
    let log = log_in(folder);
    let released = log.lines().filter(|line| line.contains("\"released\""));
    let record = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    released.filter_map(|line| record(line)["decision"].as_str().map(str::to_owned)).collect()
}

/// Starts an upstream, and a folder for a gateway with an embedded ledger.
fn embedded() -> (Upstream, TempDir, String) {
    let upstream = Upstream::start();
    let config = format!("{}{CUSTOMER_ROUTES}", base(upstream.address));
    (upstream, tempfile::tempdir().unwrap(), config)
}

/// Restarts a gateway under load, and prints the figures.
fn restart_under_load(
    (upstream, folder, config): (&Upstream, &TempDir, String),
    restarts: u32,
    rate: u32,
    notice: &str,
) {
    upstream.script("*", |head, stream| {
        let id = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap();
        let body = person(id);
        let typed = "content-type: application/json\r\n";
        let _ = stream.write_all(&crate::upstream::answer("200 OK", typed, body.as_bytes()));
    });
    let (file, log) = (folder.path().join("purposegate.toml"), folder.path().join("gateway.log"));
    let config = config
        .replace("drain-notice = \"0s\"", &format!("drain-notice = \"{notice}\""))
        .replace("request-timeout", "max-exchanges-per-recipient = 1024\nrequest-timeout");
    std::fs::write(&file, config).unwrap();
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
    let sockets = Sockets { public: bind(), admin: bind(), manager: NotifySocket::bind(), file, log };
    let (address, admin) = (sockets.address(), sockets.admin.local_addr().unwrap());
    let mut gateway = Running(sockets.start());
    sockets.manager.wait_for("READY=1");
    assert_eq!(http::send(admin, "POST", "/v1/subjects/p-1/events", &[], KNOWN.as_bytes()).status, 200);

    let (tally, end): (Arc<Mutex<Tally>>, Arc<AtomicBool>) = Default::default();
    let every = Duration::from_secs(1) * CONNECTIONS / rate;
    let mut loads: Vec<JoinHandle<()>> =
        (1..CONNECTIONS).map(|_| load(address, every, Arc::clone(&tally), Arc::clone(&end))).collect();
    loads.push(load_http2(address, every, Arc::clone(&tally), Arc::clone(&end)));
    let pause = Duration::from_millis(20);
    let withdrawals = withdraw((address, admin), pause, Arc::clone(&tally), Arc::clone(&end));
    let began = Instant::now();
    for _ in 0..restarts {
        std::thread::sleep(Duration::from_millis(500));
        let successor = Running(sockets.start());
        sockets.manager.wait_for("STATUS=waiting for the predecessor");
        gateway.signal("-TERM");
        sockets.manager.wait_for("STOPPING=1");
        assert!(gateway.0.wait().unwrap().success(), "{}", sockets.words());
        gateway = successor;
        sockets.manager.wait_for("READY=1");
    }
    std::thread::sleep(Duration::from_millis(500));
    end.store(true, Ordering::SeqCst);
    loads.into_iter().for_each(|load| load.join().unwrap());
    let withdrawn = withdrawals.join().unwrap();
    let took = began.elapsed();

    for subject in &withdrawn {
        let state = http::get(admin, &format!("/v1/subjects/{subject}"), &[]).json();
        assert_eq!(state["consents"]["direct-marketing"], "withdrawn", "{subject} {state}");
    }
    gateway.signal("-TERM");
    assert!(gateway.0.wait().unwrap().success(), "{}", sockets.words());
    let tally = tally.lock().unwrap();
    let answered: BTreeSet<String> = tally.decisions.iter().filter(|id| !id.is_empty()).cloned().collect();
    let records = recorded(folder.path());
    let unrecorded: Vec<&String> = answered.difference(&records).collect();
    eprintln!(
        "{restarts} restarts in {took:.1?}: {} requests ({:.0} a second), {} failed, {} unrecorded, {} withdrawals, \
         longest wait {:.0?}",
        tally.requests,
        tally.requests as f64 / took.as_secs_f64(),
        tally.failures.len(),
        unrecorded.len(),
        withdrawn.len(),
        tally.longest,
    );
    assert!(tally.failures.is_empty(), "{:#?}\n{}", tally.failures, sockets.words());
    assert!(unrecorded.is_empty(), "{unrecorded:?}");
    assert!(answered.len() > (restarts * rate / 2) as usize && !withdrawn.is_empty(), "{}", answered.len());
}

/// `PURPOSEGATE_RESTARTS=10` restarts ten times at 500 requests a second; `benches/README.md` has the figures.
#[test]
fn no_request_fails_and_none_is_unrecorded_through_restarts() {
    let (upstream, folder, config) = embedded();
    match std::env::var("PURPOSEGATE_RESTARTS").ok().and_then(|count| count.parse().ok()) {
        Some(restarts) => restart_under_load((&upstream, &folder, config), restarts, 500, "1s"),
        None => restart_under_load((&upstream, &folder, config), 3, 100, "400ms"),
    }
}

/// A successor of the same name in the same folder, over a ledger in PostgreSQL. Skipped, with a message, where PostgreSQL is
/// not installed.
#[test]
fn a_gateway_with_a_shared_ledger_restarts_without_a_gap() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let config = ledger.config("gateway-1");
    restart_under_load((&ledger.upstream, &ledger.folder(), config), 2, 60, "400ms");
}

/// Starts `serve` with one socket at an address, and returns its exit status and its words.
fn serve_with_socket(config: &str, socket: &TcpListener) -> (Option<i32>, String) {
    let (_folder, file) = crate::program::write_config(config);
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" serve --config \"$1\"";
    let started = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_purposegate")])
        .arg(&file)
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())))
        .output()
        .unwrap();
    (started.status.code(), String::from_utf8_lossy(&started.stderr).into_owned())
}

#[test]
fn a_socket_of_no_section_is_an_error_at_the_start() {
    let socket = TcpListener::bind("127.0.0.2:0").unwrap();
    let config = format!("{}{CUSTOMER_ROUTES}", base("127.0.0.1:9".parse().unwrap()));
    let (status, words) = serve_with_socket(&config, &socket);
    assert_eq!(status, Some(2), "{words}");
    let address = socket.local_addr().unwrap().to_string();
    assert!(words.contains(&address) && words.contains("127.0.0.1:0"), "{words}");
}
