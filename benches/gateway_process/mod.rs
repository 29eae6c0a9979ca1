//! A gateway in a process of its own, an upstream and a client: used by benchmarks that look at a gateway from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

/// The program.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_purposegate");

fn person(n: usize) -> String {
    format!(
        r#"{{"id": "c-{n}", "name": "Person Number {n}", "email": "person{n}@example.org", "status": "active", "notes": "{}"}}"#,
        "called about an invoice; ".repeat(20)
    )
}

/// Bytes of the long list, about.
const LIST: usize = 10 << 20;

/// Serves the API with a thread for each connection, and accepts whatever is posted, as a collector does. Returns its address.
pub(crate) fn start_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let items: Vec<String> = (0..LIST / person(0).len()).map(person).collect();
    let list: Arc<str> = format!(r#"{{"items": [{}]}}"#, items.join(",")).into();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let list = Arc::clone(&list);
            std::thread::Builder::new().stack_size(128 << 10).spawn(move || serve(stream, &list)).unwrap();
        }
    });
    address
}

fn serve(mut stream: TcpStream, list: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut line, mut request_line, mut length) = (String::new(), String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if request_line.is_empty() {
                request_line.clone_from(&line);
            }
            let field = line.to_ascii_lowercase();
            length = field
                .strip_prefix("content-length:")
                .map_or(length, |value| value.trim().parse().unwrap_or(0));
        }
        if std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).is_err() {
            return;
        }
        let one = person(1);
        let body = match request_line.split(' ').collect::<Vec<_>>()[..] {
            ["POST", ..] => "",
            [_, "/people", ..] => list,
            _ => &one,
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let sent = match body.len() {
            // A small answer is one packet.
            ..4096 => stream.write_all(format!("{head}{body}").as_bytes()),
            _ => stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A gateway in a process of its own.
pub(crate) struct GatewayProcess {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The folder of the configuration and of the data.
    #[allow(dead_code, reason = "one of the benchmarks looks into it")]
    pub(crate) folder: TempDir,
}

impl GatewayProcess {
    /// Starts a gateway with this configuration by a command that executes the program, and waits until it listens.
    pub(crate) fn start(mut command: Command, configuration: &str) -> GatewayProcess {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("purposegate.toml");
        std::fs::write(&file, configuration).unwrap();
        let mut child = command
            .args(["serve", "--config"])
            .arg(&file)
            .env("PURPOSEGATE_LOG_FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.by_ref().find(|line| line.contains("\"message\":\"listening\""));
        let line: serde_json::Value = serde_json::from_str(&line.expect("the gateway starts")).unwrap();
        let address = line["fields"]["address"].as_str().unwrap().parse().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        GatewayProcess { child, address, folder }
    }

    /// A file of the process under `/proc`.
    pub(crate) fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    /// Processor time so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = self.proc_file("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 on Linux.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request on the connection, which is opened if there is none, and reads a response of status 200.
pub(crate) fn exchange(stream: &mut Option<TcpStream>, address: SocketAddr, request: &[u8]) -> Option<()> {
    if stream.is_none() {
        let connected = TcpStream::connect(address).ok()?;
        connected.set_nodelay(true).ok()?;
        connected.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        *stream = Some(connected);
    }
    let stream = stream.as_mut()?;
    stream.write_all(request).ok()?;
    let mut answer = Vec::new();
    let mut some = [0; 8192];
    loop {
        let length = stream.read(&mut some).ok().filter(|length| *length > 0)?;
        answer.extend_from_slice(&some[..length]);
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if answer.len() >= end + 4 + length.unwrap_or(0) {
            return head.starts_with("http/1.1 200").then_some(());
        }
    }
}
