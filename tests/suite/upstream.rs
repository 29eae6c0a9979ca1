//! An upstream that answers with exactly the bytes a test gives it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Answers a request, given its head.
type Script = Arc<dyn Fn(&str, &mut TcpStream) + Send + Sync>;

/// A server on the loopback with one thread for each connection; it closes the connection after each answer.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
    /// Heads of all requests so far.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub(crate) fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scripts: Arc<Mutex<HashMap<String, Script>>> = Arc::default();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (shared, log) = (Arc::clone(&scripts), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (scripts, seen) = (Arc::clone(&shared), Arc::clone(&log));
                thread::spawn(move || serve(stream, &scripts, &seen));
            }
        });
        Upstream { address, scripts, seen }
    }

    /// Answers `path` with what the script writes. `*` is the script for paths without one of their own.
    pub(crate) fn script(&self, path: &str, script: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) {
        self.scripts.lock().unwrap().insert(path.to_owned(), Arc::new(script));
    }

    /// Answers `path` with these bytes.
    pub(crate) fn raw(&self, path: &str, answer: impl Into<Vec<u8>>) {
        let answer = answer.into();
        self.script(path, move |_, stream| drop(stream.write_all(&answer)));
    }

    /// Answers `path` with JSON.
    pub(crate) fn json(&self, path: &str, body: &str) {
        self.raw(path, answer("200 OK", "content-type: application/json\r\n", body.as_bytes()));
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// An HTTP/1.1 answer with a length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn serve(stream: TcpStream, scripts: &Mutex<HashMap<String, Script>>, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    drain_body(&head, &mut reader);
    seen.lock().unwrap().push(head.clone());
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let scripts = scripts.lock().unwrap();
    let script = scripts.get(path).or_else(|| scripts.get("*")).cloned();
    drop(scripts);
    let mut stream = stream;
    match script {
        Some(script) => script(&head, &mut stream),
        None => drop(stream.write_all(&answer("404 Not Found", "", b""))),
    }
}

fn drain_body(head: &str, reader: &mut impl Read) {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    });
    let _ = std::io::copy(&mut reader.take(length.unwrap_or(0)), &mut std::io::sink());
}
