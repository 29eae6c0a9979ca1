//! The end of a gateway: the drain notice, the drain, and the word that the service manager gets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::fixtures::{CUSTOMER_ROUTES, KNOWN, person};
use crate::gateway::{TestGateway, base, bearer, log_in, wait_until};
use crate::http::{self, Answer};
use crate::process::ServeProcess;
use crate::upstream::Upstream;

/// Starts a gateway whose drain notice is longer than any test.
fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let config = base(upstream.address).replace("drain-notice = \"0s\"", "drain-notice = \"10m\"");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    gateway.record_event("p-1", KNOWN);
    (upstream, gateway)
}

/// An HTTP/1.1 connection that is kept open.
struct KeptConnection(BufReader<TcpStream>);

impl KeptConnection {
    fn open(address: SocketAddr) -> KeptConnection {
        KeptConnection(BufReader::new(http::connect(address)))
    }

    fn get(&mut self) -> Answer {
        let request = format!(
            "GET /customers/p-1 HTTP/1.1\r\nhost: x\r\n{}\r\ndata-purpose: customer-support\r\n\r\n",
            bearer("support")
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "closed after {head:?}");
        }
        let length = http::parse(head.as_bytes()).header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        http::parse(&[head.as_bytes(), &body].concat())
    }

    /// True if the other side has closed the connection within this time.
    fn is_closed_within(&mut self, time: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(time)).unwrap();
        matches!(self.0.read(&mut [0; 1]), Ok(0))
    }
}

#[test]
fn during_the_notice_everything_is_served_and_clients_are_told_to_leave() {
    let (_upstream, gateway) = start_gateway();
    let (mut used, mut idle) = (KeptConnection::open(gateway.address), KeptConnection::open(gateway.address));
    assert_eq!(used.get().header("connection"), None);
    assert_eq!(idle.get().header("connection"), None);
    gateway.stop.announce();
    wait_until(|| gateway.get_admin("/readyz").status == 503);
    let readiness = gateway.get_admin("/readyz").json();
    assert_eq!((&readiness["ready"], &readiness["draining"]), (&false.into(), &true.into()));
    assert_eq!(gateway.get_admin("/healthz").status, 200);

    assert!(!idle.is_closed_within(Duration::from_millis(300)), "an idle connection is not cut");
    let told = used.get();
    assert_eq!((told.status, told.header("connection")), (200, Some("close")));
    assert!(used.is_closed_within(Duration::from_secs(10)));
    let mut new = KeptConnection::open(gateway.address);
    let told = new.get();
    assert_eq!((told.status, told.header("connection")), (200, Some("close")));
    gateway.record_event("p-1", KNOWN);

    let address = gateway.address;
    gateway.stop.stop();
    assert!(idle.is_closed_within(Duration::from_secs(10)), "the notice is over");
    gateway.end();
    assert!(TcpStream::connect(address).is_err());
}

/// The first request of a connection may be on the way when the listener closes.
#[test]
fn the_first_request_of_an_accepted_connection_is_answered() {
    let (_upstream, gateway) = start_gateway();
    let mut new = KeptConnection::open(gateway.address);
    // A later connection is answered: the earlier one is accepted, too.
    KeptConnection::open(gateway.address).get();
    gateway.stop.stop();
    wait_until(|| TcpStream::connect(gateway.address).is_err());
    let told = new.get();
    assert_eq!((told.status, told.header("connection")), (200, Some("close")));
    let silent = Instant::now();
    gateway.end();
    assert!(silent.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_connection_of_http2_is_told_at_the_start_of_the_notice() {
    let (_upstream, gateway) = start_gateway();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let request = || {
            ::http::Request::get("http://x/customers/p-1")
                .header("authorization", bearer("support").split_once(": ").unwrap().1)
                .header("data-purpose", "customer-support")
                .body(Empty::<Bytes>::new())
                .unwrap()
        };
        let connect = async || {
            let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
            let executor = TokioExecutor::new();
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap()
        };
        let (mut sender, connection) = connect().await;
        let told = tokio::spawn(connection);
        let answer = sender.send_request(request()).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
        gateway.stop.announce();
        // GOAWAY ends the connection without an error.
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap().unwrap();
        assert!(sender.ready().await.is_err());
        // A connection that begins during the notice serves its first request.
        let (mut sender, connection) = connect().await;
        let told = tokio::spawn(connection);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = sender.send_request(request()).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap().unwrap();
    });
}

const STREAM_ROUTES: &str = r#"
[[route]]
name = "changes"
upstream = "crm"
path = "/changes"
subject = "@.id"
[route.fields]
"@.id" = "non-personal"
[[route]]
name = "ticks"
upstream = "crm"
path = "/ticks"
personal = false
"#;

/// Starts a gateway whose upstream sends the beginning of a stream, and the rest when the test says so.
fn start_stream(
    media_type: &'static str,
    begin: &'static str,
) -> (Upstream, TestGateway, mpsc::Sender<String>) {
    let upstream = Upstream::start();
    let (send, rest) = mpsc::channel::<String>();
    let rest = std::sync::Mutex::new(rest);
    upstream.script("*", move |_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{begin}\r\n",
            begin.len()
        );
        let _ = stream.write_all(head.as_bytes());
        while let Ok(chunk) = rest.lock().unwrap().recv_timeout(Duration::from_secs(60)) {
            let _ = stream.write_all(chunk.as_bytes());
        }
    });
    let config = base(upstream.address)
        .replace("timeout = \"10s\"\n[[upstream]]", "idle-timeout = \"1h\"\n[[upstream]]");
    let gateway = TestGateway::start(&format!("{config}{STREAM_ROUTES}"));
    (upstream, gateway, send)
}

/// Reads a response until it contains a text.
fn read_until(stream: &mut TcpStream, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(text) {
        let mut some = [0; 1024];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&some[..length]);
    }
    bytes
}

/// Stops the gateway while it answers this path, and returns the whole response and its outcome on the log.
fn response_at_stop(gateway: TestGateway, path: &str, first: &str) -> (Answer, String) {
    let mut stream = gateway.begin_get(path, "support", "customer-support");
    let mut bytes = read_until(&mut stream, first);
    gateway.stop.stop();
    let _ = stream.read_to_end(&mut bytes);
    let folder = gateway.end();
    let log = log_in(folder.path());
    let close = log.lines().rfind(|line| line.contains("\"outcome\"")).unwrap();
    let record: serde_json::Value = serde_json::from_str(close).unwrap();
    (http::parse(&bytes), record["outcome"].as_str().unwrap().to_owned())
}

#[test]
fn a_stream_of_events_ends_after_a_whole_event_when_the_drain_begins() {
    for path in ["/changes", "/ticks"] {
        let began = Instant::now();
        let events = "data: {\"id\": 1}\n\ndata: {\"id\":";
        let (_upstream, gateway, _send) = start_stream("text/event-stream", events);
        let (answer, outcome) = response_at_stop(gateway, path, "data: {\"id\": 1}");
        assert!(answer.complete, "the last chunk is there");
        assert_eq!(outcome, "released");
        if path == "/changes" {
            assert_eq!(answer.text(), "data: {\"id\": 1}\n\n");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the drain does not wait for it");
    }
}

#[test]
fn a_stream_of_lines_is_cut_when_it_pauses_and_goes_on_while_it_does_not() {
    let (_upstream, gateway, _send) = start_stream("application/x-ndjson", "{\"id\": 1}\n");
    let (answer, outcome) = response_at_stop(gateway, "/changes", "{\"id\": 1}");
    assert!(!answer.complete, "a regular end would say that these were all");
    assert_eq!((answer.text().as_str(), outcome.as_str()), ("{\"id\": 1}\n", "aborted"));

    // A long export ends within the drain time.
    let (_upstream, gateway, send) = start_stream("application/x-ndjson", "{\"id\": 1}\n");
    std::thread::spawn(move || {
        for _ in 0..15 {
            std::thread::sleep(Duration::from_millis(100));
            let _ = send.send("a\r\n{\"id\": 2}\n\r\n".to_owned());
        }
        let _ = send.send("0\r\n\r\n".to_owned());
    });
    let (answer, outcome) = response_at_stop(gateway, "/changes", "{\"id\": 1}");
    assert!(answer.complete, "{}", answer.text());
    assert_eq!((answer.text().matches("2").count(), outcome.as_str()), (15, "released"));
}

fn process_config(upstream: &Upstream, notice: &str) -> String {
    let config =
        base(upstream.address).replace("drain-notice = \"0s\"", &format!("drain-notice = \"{notice}\""));
    format!("{config}{CUSTOMER_ROUTES}")
}

#[test]
fn sigterm_gives_notice_and_a_second_signal_ends_it() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let mut process = ServeProcess::start(&process_config(&upstream, "10m"), "");
    process.signal("-TERM");
    wait_until(|| http::get(process.admin, "/readyz", &[]).status == 503);
    assert_eq!(process.get("/customers/p-1", "customer-support").status, 200);
    process.signal("-INT");
    assert!(process.child.wait().unwrap().success());

    let mut process = ServeProcess::start(&process_config(&upstream, "300ms"), "");
    let asked = Instant::now();
    process.signal("-TERM");
    assert!(process.child.wait().unwrap().success());
    assert!(asked.elapsed() >= Duration::from_millis(300), "the notice is given in full");
}

/// A service manager's side of the notifications.
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl NotifySocket {
    pub(crate) fn bind() -> NotifySocket {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        NotifySocket { socket, folder }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The shell line by which a process is told of the socket.
    fn preamble(&self) -> String {
        format!("NOTIFY_SOCKET={}; export NOTIFY_SOCKET;", self.path().display())
    }

    /// Returns the next notification with this line, without those before it.
    #[track_caller]
    pub(crate) fn wait_for(&self, line: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{line}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.lines().any(|found| found == line) {
                return text;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_end() {
    let upstream = Upstream::start();
    let manager = NotifySocket::bind();
    let config = process_config(&upstream, "100ms");
    let mut process = ServeProcess::start(&config, &manager.preamble());
    manager.wait_for("READY=1");
    process.signal("-HUP");
    let reloading = manager.wait_for("RELOADING=1");
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(time.parse::<u64>().unwrap() > 0);
    assert!(manager.wait_for("READY=1").contains("STATUS=serving\n"));
    let file = process.folder.path().join("purposegate.toml");
    std::fs::write(&file, "policy = 1").unwrap();
    process.signal("-HUP");
    manager.wait_for("RELOADING=1");
    assert!(manager.wait_for("READY=1").contains("the last reload failed"));
    process.signal("-TERM");
    let stopping = manager.wait_for("STOPPING=1");
    assert!(
        stopping.contains("STATUS=drain notice") && stopping.contains("EXTEND_TIMEOUT_USEC="),
        "{stopping}"
    );
    manager.wait_for("STATUS=draining: exchanges under way end");
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn the_watchdog_is_reset_while_the_gateway_works() {
    let upstream = Upstream::start();
    let manager = NotifySocket::bind();
    let watchdog = "WATCHDOG_USEC=400000; export WATCHDOG_USEC;";
    let process =
        ServeProcess::start(&process_config(&upstream, "0s"), &format!("{}{watchdog}", manager.preamble()));
    manager.wait_for("READY=1");
    let began = Instant::now();
    (0..4).for_each(|_| drop(manager.wait_for("WATCHDOG=1")));
    assert!(began.elapsed() < Duration::from_secs(30));
    // A process that is stopped resets nothing.
    process.signal("-STOP");
    manager.socket.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    while manager.socket.recv(&mut [0; 4096]).is_ok_and(|_| began.elapsed() < Duration::from_secs(30)) {}
    assert!(manager.socket.recv(&mut [0; 4096]).is_err());
    process.signal("-CONT");
    manager.socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    manager.wait_for("WATCHDOG=1");
}
