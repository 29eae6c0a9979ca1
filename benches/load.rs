//! The load table: a good client beside attackers, and beside the same senders aimed at a sink.
//!
//! Each row starts a gateway as a process of its own. A good client sends 50 requests a second on one connection, while
//! attackers on other addresses of the loopback do what the row says. The same senders are then aimed at a sink, a socket
//! that accepts and reads: what the good client loses there, the senders take from the machine and not from the gateway.
//!
//! `cargo bench --bench load -- [ROW…]` runs the rows whose names contain a word. `LOAD_SECONDS` is the duration of an
//! attack, 10 by default.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "a benchmark may fail by panicking, and prints its table"
)]

mod gateway_process;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::time::{interval, sleep};

use crate::gateway_process::{GATEWAY, GatewayProcess, exchange, start_upstream};

const GOOD_KEY: &str = "pgk_load_good_0123456789abcdef";
const ATTACKER_KEY: &str = "pgk_load_attacker_0123456789abcdef";
/// Requests of the good client in a second.
const GOOD_RATE: u32 = 50;

/// One row of the table.
struct Row {
    name: &'static str,
    attack: fn(Target) -> Vec<Attacker>,
}

/// The socket that attackers are aimed at.
#[derive(Clone, Copy)]
struct Target {
    address: SocketAddr,
}

type Attacker = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

const ROWS: &[Row] = &[
    Row { name: "none", attack: |_| Vec::new() },
    Row { name: "slowloris, 1,000 half heads", attack: |target| many(1000, move |_| half_head(target)) },
    Row { name: "`P` byte, 1,200 connections a second", attack: |target| many(12, move |_| p_bytes(target)) },
    Row {
        name: "rapid reset x4, registered",
        attack: |target| many(4, move |n| rapid_reset(target, n, Some(ATTACKER_KEY))),
    },
    Row {
        name: "rapid reset x4, no credential",
        attack: |target| many(4, move |n| rapid_reset(target, n, None)),
    },
    Row { name: "made you reset x4", attack: |target| many(4, move |n| made_you_reset(target, n)) },
    Row {
        name: "ping flood x4",
        attack: |target| many(4, move |n| flood(target, n, frame(6, 0, 0, &[0; 8]))),
    },
    Row {
        name: "settings flood x4",
        attack: |target| many(4, move |n| flood(target, n, frame(4, 0, 0, &[]))),
    },
    Row { name: "200 slow readers x 10 MB", attack: |target| many(200, move |_| slow_reader(target)) },
    Row {
        name: "h2 window 0, 200 streams, pings answered",
        attack: |target| many(2, move |n| window_zero(target, n)),
    },
    Row { name: "200 POST bodies, a byte a second", attack: |target| many(200, move |_| slow_post(target)) },
    Row {
        name: "300 x HEADERS without END_HEADERS",
        attack: |target| many(300, move |_| endless_head(target)),
    },
];

fn many<A>(number: usize, attacker: impl Fn(usize) -> A) -> Vec<Attacker>
where
    A: Future<Output = ()> + Send + 'static,
{
    (0..number).map(|n| Box::pin(attacker(n)) as Attacker).collect()
}

// ---- attackers -------------------------------------------------------------------------------------------------------

/// Connects from an address of the loopback that only attackers use.
async fn connect(target: Target, n: usize) -> Option<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    let own = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(n % 200).unwrap_or(0));
    socket.bind((own, 0).into()).ok()?;
    let stream = socket.connect(target.address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Waits before the next attempt after a refused connection.
async fn pause() {
    sleep(Duration::from_millis(100)).await;
}

async fn half_head(target: Target) {
    loop {
        let Some(mut stream) = connect(target, 0).await else {
            pause().await;
            continue;
        };
        let _ = stream.write_all(b"GET /people/c-1 HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
        loop {
            let mut some = [0; 64];
            tokio::select! {
                read = stream.read(&mut some) => if matches!(read, Ok(0) | Err(_)) { break },
                () = sleep(Duration::from_secs(1)) => if stream.write_all(b"x").await.is_err() { break },
            }
        }
    }
}

/// Opens a hundred connections a second, and keeps each until the other side closes it.
async fn p_bytes(target: Target) {
    let mut ticks = interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        tokio::spawn(async move {
            let Some(mut stream) = connect(target, 0).await else { return };
            let _ = stream.write_all(b"P").await;
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        });
    }
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field block of a request, without Huffman coding and without the dynamic table (RFC 7541).
fn field_block(path: &str, key: Option<&str>) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    let mut text = |first: &[u8], value: &str| {
        block.extend_from_slice(first);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    };
    text(&[0x04], path);
    text(&[0x01], "x");
    if let Some(key) = key {
        text(b"\x00\x09x-api-key", key);
    }
    text(b"\x00\x0cdata-purpose", "customer-support");
    block
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Begins an HTTP/2 connection with these settings; everything that comes is read and dropped.
async fn begin_http2(target: Target, n: usize, settings: &[u8]) -> Option<tokio::net::tcp::OwnedWriteHalf> {
    let (mut reading, mut writing) = connect(target, n).await?.into_split();
    tokio::spawn(async move {
        let mut some = [0; 16 << 10];
        while matches!(reading.read(&mut some).await, Ok(1..)) {}
    });
    let hello = [PREFACE, &frame(4, 0, 0, settings)].concat();
    writing.write_all(&hello).await.ok()?;
    Some(writing)
}

/// Sends 2,000 requests a second and resets each 5 ms later.
async fn rapid_reset(target: Target, n: usize, key: Option<&'static str>) {
    let block = field_block("/people/c-1", key);
    loop {
        let Some(mut writing) = begin_http2(target, n, &[]).await else {
            pause().await;
            continue;
        };
        let mut ticks = interval(Duration::from_millis(5));
        let mut next = 1;
        loop {
            ticks.tick().await;
            let mut bytes = Vec::new();
            for stream in (0..10).map(|n| next + 2 * n) {
                if stream > 20 {
                    bytes.extend(frame(3, 0, stream - 20, &8u32.to_be_bytes()));
                }
                bytes.extend(frame(1, 0x5, stream, &block));
            }
            next += 20;
            if writing.write_all(&bytes).await.is_err() {
                break;
            }
        }
    }
}

/// Opens 2,000 streams a second and makes the other side reset each: a window grows by nothing.
async fn made_you_reset(target: Target, n: usize) {
    let block = field_block("/people/c-1", Some(ATTACKER_KEY));
    loop {
        let Some(mut writing) = begin_http2(target, n, &[]).await else {
            pause().await;
            continue;
        };
        let mut ticks = interval(Duration::from_millis(5));
        let mut next = 1;
        loop {
            ticks.tick().await;
            let mut bytes = Vec::new();
            for stream in (0..10).map(|n| next + 2 * n) {
                bytes.extend(frame(1, 0x5, stream, &block));
                bytes.extend(frame(8, 0, stream, &[0; 4]));
            }
            next += 20;
            if writing.write_all(&bytes).await.is_err() {
                break;
            }
        }
    }
}

/// Sends the same frame 10,000 times a second.
async fn flood(target: Target, n: usize, frame: Vec<u8>) {
    let hundred = frame.repeat(100);
    loop {
        let Some(mut writing) = begin_http2(target, n, &[]).await else {
            pause().await;
            continue;
        };
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            if writing.write_all(&hundred).await.is_err() {
                break;
            }
        }
    }
}

/// Requests the long list and reads a kibibyte a second.
async fn slow_reader(target: Target) {
    loop {
        let Some(mut stream) = connect(target, 0).await else {
            pause().await;
            continue;
        };
        let request = format!(
            "GET /people HTTP/1.1\r\nhost: x\r\nx-api-key: {ATTACKER_KEY}\r\ndata-purpose: customer-support\r\n\r\n"
        );
        let _ = stream.write_all(request.as_bytes()).await;
        let mut some = [0; 1024];
        while matches!(stream.read(&mut some).await, Ok(1..)) {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Requests the long list on 100 streams whose windows stay closed, and answers pings.
async fn window_zero(target: Target, n: usize) {
    let block = field_block("/people", Some(ATTACKER_KEY));
    loop {
        let Some(stream) = connect(target, n).await else {
            pause().await;
            continue;
        };
        let (reading, mut writing) = stream.into_split();
        // SETTINGS_INITIAL_WINDOW_SIZE is 0.
        let mut hello = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
        for stream in 0..100 {
            hello.extend(frame(1, 0x5, 2 * stream + 1, &block));
        }
        let _ = writing.write_all(&hello).await;
        answer_pings(reading, writing).await;
        pause().await;
    }
}

async fn answer_pings(
    mut reading: tokio::net::tcp::OwnedReadHalf,
    mut writing: tokio::net::tcp::OwnedWriteHalf,
) {
    let mut head = [0; 9];
    while reading.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if reading.read_exact(&mut payload).await.is_err() {
            return;
        }
        let answer = match (head[3], head[4] & 1) {
            (6, 0) => frame(6, 1, 0, &payload),
            (4, 0) => frame(4, 1, 0, &[]),
            _ => continue,
        };
        if writing.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn slow_post(target: Target) {
    loop {
        let Some(mut stream) = connect(target, 0).await else {
            pause().await;
            continue;
        };
        let request = format!(
            "POST /people HTTP/1.1\r\nhost: x\r\nx-api-key: {ATTACKER_KEY}\r\ndata-purpose: customer-support\r\n\
             content-type: application/json\r\ncontent-length: 100000\r\n\r\n"
        );
        let _ = stream.write_all(request.as_bytes()).await;
        let mut some = [0; 1024];
        loop {
            tokio::select! {
                read = stream.read(&mut some) => if matches!(read, Ok(0) | Err(_)) { break },
                () = sleep(Duration::from_secs(1)) => if stream.write_all(b" ").await.is_err() { break },
            }
        }
        pause().await;
    }
}

async fn endless_head(target: Target) {
    let block = field_block("/people/c-1", Some(ATTACKER_KEY));
    loop {
        if let Some(mut writing) = begin_http2(target, 0, &[]).await {
            // HEADERS without END_HEADERS, and CONTINUATION frames that add little.
            let _ = writing.write_all(&frame(1, 0x1, 1, &block)).await;
            while writing.write_all(&frame(9, 0, 1, b"\x00\x01a\x01b")).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        }
        pause().await;
    }
}

/// A socket that accepts and reads.
async fn sink() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut some = vec![0; 16 << 10];
                while matches!(stream.read(&mut some).await, Ok(1..)) {}
            });
        }
    });
    address
}

// ---- gateway and good client -------------------------------------------------------------------------------

const ROUTES: &str = r#"
[[schema]]
name = "person"
subject = "@.id"
[schema.fields]
"@.id" = "subject-identifier"
"@.name" = "name"
"@.email" = "email"
"@.status" = "non-personal"
"@.notes" = "non-personal"
[[route]]
name = "person"
upstream = "crm"
path = "/people/{id}"
schema = "person"
unknown-subject = "no-facts"
[[route]]
name = "people"
upstream = "crm"
path = "/people"
methods = ["GET", "POST"]
record = "$.items[*]"
schema = "person"
unknown-subject = "no-facts"
"#;

fn configuration(upstream: SocketAddr) -> String {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
    let mut text = format!(
        "policy = {:?}\n[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [audit]\ndurability = \"batched\"\n[[upstream]]\nname = \"crm\"\nurl = \"http://{upstream}\"\n",
        pack.display().to_string()
    );
    for (name, key) in [("good", GOOD_KEY), ("attacker", ATTACKER_KEY)] {
        let hash = purposegate::credentials::hash(key.as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!(
            "[[recipient]]\nname = \"{name}\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\n\
             credentials = [{{ api-key = \"sha256:{hash}\" }}]\n"
        ));
    }
    text + ROUTES
}

/// Resident memory, in bytes.
fn resident_memory(gateway: &GatewayProcess) -> u64 {
    let status = gateway.proc_file("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Bytes of the disclosure log.
fn log_bytes(gateway: &GatewayProcess) -> u64 {
    let (mut folders, mut bytes) = (vec![gateway.folder.path().join("data/audit")], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                // A file may have been replaced meanwhile.
                false => bytes += entry.metadata().map_or(0, |file| file.len()),
            }
        }
    }
    bytes
}

/// Latencies of a good client, from the moment at which each request is due.
struct GoodClient {
    latencies: Vec<Duration>,
    failed: usize,
}

impl GoodClient {
    /// Sends requests until `stop`.
    fn run(address: SocketAddr, stop: &AtomicBool) -> GoodClient {
        let request = format!(
            "GET /people/c-1 HTTP/1.1\r\nhost: x\r\nx-api-key: {GOOD_KEY}\r\ndata-purpose: customer-support\r\n\r\n"
        );
        let mut client = GoodClient { latencies: Vec::new(), failed: 0 };
        let mut stream = None;
        let began = Instant::now();
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let due = began + Duration::from_secs(1) * n / GOOD_RATE;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if exchange(&mut stream, address, request.as_bytes()).is_some() {
                client.latencies.push(due.elapsed());
            } else {
                stream = None;
                client.failed += 1;
            }
        }
        client.latencies.sort_unstable();
        client
    }

    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.latencies.len().saturating_sub(1)) * percent / 100;
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }
}

// ---- the table -------------------------------------------------------------------------------------------------------

/// The figures of one row.
struct Measured {
    good: GoodClient,
    /// Growth of the gateway's resident memory at its peak, in bytes.
    memory: u64,
    /// Processors that the gateway used.
    cores: f64,
    /// Growth of the disclosure log, in bytes.
    log: u64,
}

/// Runs the good client beside the attackers of a row, aimed at the gateway or at a sink.
fn measure(
    runtime: &Runtime,
    upstream: SocketAddr,
    row: &Row,
    at_sink: bool,
    duration: Duration,
) -> Measured {
    let gateway = GatewayProcess::start(Command::new(GATEWAY), &configuration(upstream));
    let (warm, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let warming = scope.spawn(|| GoodClient::run(gateway.address, &warm));
        std::thread::sleep(Duration::from_secs(1));
        warm.store(true, Ordering::Relaxed);
        warming.join().unwrap();

        let (memory, time, log) = (resident_memory(&gateway), gateway.processor_time(), log_bytes(&gateway));
        let began = Instant::now();
        let good = scope.spawn(|| GoodClient::run(gateway.address, &stop));
        let address = if at_sink { runtime.block_on(sink()) } else { gateway.address };
        let attackers = (row.attack)(Target { address });
        let attackers: Vec<_> = attackers.into_iter().map(|attacker| runtime.spawn(attacker)).collect();
        let mut peak = memory;
        while began.elapsed() < duration {
            std::thread::sleep(Duration::from_millis(50));
            peak = peak.max(resident_memory(&gateway));
        }
        stop.store(true, Ordering::Relaxed);
        let good = good.join().unwrap();
        attackers.iter().for_each(tokio::task::JoinHandle::abort);
        Measured {
            good,
            memory: peak.saturating_sub(memory),
            cores: (gateway.processor_time() - time).as_secs_f64() / began.elapsed().as_secs_f64(),
            log: log_bytes(&gateway).saturating_sub(log),
        }
    })
}

fn main() {
    // `cargo test --all-targets` runs the benchmarks, too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") && std::env::var_os("LOAD_SECONDS").is_none() {
        return;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let seconds = std::env::var("LOAD_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(10);
    let duration = Duration::from_secs(seconds);
    let upstream = start_upstream();
    println!(
        "| attack | good client, p50 / p99 / max ms | beside a sink | p99, times | gateway: memory, cores, log |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for row in ROWS {
        if !wanted.is_empty() && !wanted.iter().any(|word| row.name.contains(word.as_str())) {
            continue;
        }
        // A runtime for each measurement: dropping it ends what attackers have started.
        let measured = |at_sink| {
            let runtime = Runtime::new().unwrap();
            let measured = measure(&runtime, upstream, row, at_sink, duration);
            runtime.shutdown_background();
            measured
        };
        let (sink, gateway) = (measured(true), measured(false));
        let latencies = |Measured { good, .. }: &Measured| {
            let failed = if good.failed == 0 { String::new() } else { format!(", {} failed", good.failed) };
            let [p50, p99, max] = [50, 99, 100].map(|percent| good.percentile(percent));
            format!("{p50:.1} / {p99:.1} / {max:.0}{failed}")
        };
        println!(
            "| {} | {} | {} | {:.1} | +{} MiB, {:.2}, {:.1} MB |",
            row.name,
            latencies(&gateway),
            latencies(&sink),
            gateway.good.percentile(99) / sink.good.percentile(99),
            gateway.memory >> 20,
            gateway.cores,
            gateway.log as f64 / 1e6,
        );
    }
}
