//! A recipient that holds memory, connections or time uses up its own share, and others are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use crate::fixtures::{CUSTOMER_ROUTES, person};
use crate::gateway::{TestGateway, base, bearer, key, wait_until};
use crate::http;
use crate::upstream::{Upstream, answer};

const LIMITS: &str = "[limits]\nmemory = \"64MiB\"\nmemory-per-recipient = \"1MiB\"\n";

/// A route whose answers are held until they are whole.
const HELD: &str = r#"
[[route]]
name = "held"
upstream = "crm"
path = "/held/{id}"
schema = "customer"
withheld = "deny"
"#;

fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let gateway = TestGateway::start(&format!("{}{LIMITS}{CUSTOMER_ROUTES}{HELD}", base(upstream.address)));
    (upstream, gateway)
}

/// A record of about this many bytes of which nothing personal is to be released.
fn large(bytes: usize) -> String {
    format!(r#"{{"id": "p-1", "status": "{}"}}"#, "s".repeat(bytes))
}

/// Returns the bytes that the gateway holds for a recipient.
fn held_bytes(gateway: &TestGateway, recipient: &str) -> u64 {
    let metrics = gateway.metrics();
    let name = format!("purposegate_held_bytes{{recipient=\"{recipient}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

#[test]
fn an_answer_that_must_be_held_and_has_no_room_is_refused() {
    let (upstream, gateway) = start_gateway();
    upstream.json("/held/small", &large(100_000));
    upstream.json("/held/large", &large(2 << 20));
    assert_eq!(gateway.get("/held/small", "support", "customer-support").status, 200);
    let refused = gateway.get("/held/large", "support", "customer-support");
    assert_eq!(refused.outcome(), (503, "overloaded".to_owned()));
    assert!(refused.header("retry-after").is_some());
    wait_until(|| held_bytes(&gateway, "support") == 0);
}

/// Answers a path with a record of this length, whose last byte comes once something is sent to the channel.
fn hold_back(upstream: &Upstream, path: &str, length: usize) -> mpsc::Sender<()> {
    let (resume, resumed) = mpsc::channel::<()>();
    let resumed = Mutex::new(resumed);
    let whole = answer("200 OK", "content-type: application/json\r\n", large(length).as_bytes());
    upstream.script(path, move |_, stream| {
        let (last, first) = whole.split_last().unwrap();
        let _ = stream.write_all(first);
        let _ = resumed.lock().unwrap().recv();
        let _ = stream.write_all(&[*last]);
    });
    resume
}

#[test]
fn one_recipient_cannot_use_up_the_memory() {
    let (upstream, gateway) = start_gateway();
    let resume_most = hold_back(&upstream, "/held/most", 460_000);
    let resume_some = hold_back(&upstream, "/held/some", 90_000);
    let begin = |path| gateway.begin_get(path, "support", "customer-support");
    let mut held = vec![(begin("/held/most"), resume_most)];
    // It is held before and after it is read.
    wait_until(|| held_bytes(&gateway, "support") >= 920_000);
    held.push((begin("/held/some"), resume_some));
    wait_until(|| held_bytes(&gateway, "support") > 1 << 20);
    let third = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!(third.outcome(), (503, "overloaded".to_owned()));
    assert!(third.text().contains("as much memory"), "{}", third.text());
    assert_eq!(gateway.get("/customers/p-1", "reseller", "reseller-follow-up").status, 200);

    // What ends first makes room for the other.
    while let Some((mut stream, resume)) = held.pop() {
        resume.send(()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    wait_until(|| held_bytes(&gateway, "support") == 0);
    assert_eq!(gateway.get("/customers/p-1", "support", "customer-support").status, 200);
}

/// Recipients that do not read hold small windows, whatever the length of their answers.
#[test]
fn windows_shrink_when_many_recipients_do_not_read() {
    let upstream = Upstream::start();
    let items: Vec<String> = (0..60_000).map(|n| person(&format!("p-{n}"))).collect();
    let list = format!(r#"{{"items": [{}]}}"#, items.join(","));
    upstream.json("/customers", &list);
    let limits = "[limits]\nmemory = \"64MiB\"\n";
    let gateway = TestGateway::start(&format!("{}{limits}{CUSTOMER_ROUTES}", base(upstream.address)));
    let begin = |_| gateway.begin_get("/customers", "support", "customer-support");
    let readers: Vec<TcpStream> = (0..40).map(begin).collect();
    let mut most = 0;
    let mut last = 0;
    wait_until(|| {
        let held = held_bytes(&gateway, "support");
        most = most.max(held);
        // All answers have begun, and nothing moves any more.
        let is_still = upstream.requests() == 40 && held > 0 && held == last;
        last = held;
        is_still
    });
    // Half of the windows of 8 MiB, and 256 KiB for each.
    assert!(most <= (4 << 20) + 40 * (256 << 10), "{most}");
    drop(readers);
    wait_until(|| held_bytes(&gateway, "support") == 0);
}

/// Starts an upstream, and a gateway whose listener has these keys.
fn start_with_listener(keys: &str) -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let config = base(upstream.address)
        .replace("request-timeout = \"10s\"", keys)
        .replace("timeout = \"10s\"\n[[upstream]]", "timeout = \"60s\"\n[[upstream]]");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    (upstream, gateway)
}

fn keep_alive_request() -> String {
    let bearer = bearer("support");
    format!("GET /customers/p-1 HTTP/1.1\r\nhost: x\r\n{bearer}\r\ndata-purpose: customer-support\r\n\r\n")
}

/// Sends a request and reads its response, and not more. Returns the head.
fn exchange(stream: &mut TcpStream) -> String {
    stream.write_all(keep_alive_request().as_bytes()).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 4096];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&some[..length]);
        let answer = http::parse(&bytes);
        if answer.complete {
            assert_eq!(answer.status, 200);
            return answer.head.to_ascii_lowercase();
        }
    }
}

#[test]
fn a_connection_has_a_maximum_number_of_requests() {
    let (_upstream, gateway) = start_with_listener("max-requests-per-connection = 3");
    let mut stream = http::connect(gateway.address);
    assert!(!exchange(&mut stream).contains("connection: close"));
    assert!(!exchange(&mut stream).contains("connection: close"));
    assert!(exchange(&mut stream).contains("connection: close"));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_connection_has_a_maximum_age_and_its_exchange_ends_first() {
    let (upstream, gateway) = start_with_listener("max-connection-age = \"500ms\"");
    let body = person("p-1");
    upstream.script("/customers/p-1", move |_, stream| {
        std::thread::sleep(Duration::from_secs(1));
        let _ = stream.write_all(&answer("200 OK", "content-type: application/json\r\n", body.as_bytes()));
    });
    let mut stream = http::connect(gateway.address);
    assert!(exchange(&mut stream).contains("connection: close"));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    let mut idle = http::connect(gateway.address);
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0, "well before the 10 s for a head");
}

#[test]
fn a_request_body_has_to_arrive_at_the_lowest_rate() {
    let (_upstream, gateway) = start_with_listener("request-timeout = \"60s\"\nmin-body-rate = \"1KiB\"");
    let bearer = bearer("support");
    let head = format!(
        "POST /customers/p-1 HTTP/1.1\r\nhost: x\r\n{bearer}\r\ndata-purpose: customer-support\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n"
    );
    let mut stream = http::connect(gateway.address);
    stream.write_all(head.as_bytes()).unwrap();
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        while sending.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert_eq!(http::parse(&bytes).outcome(), (408, "request-timeout".to_owned()));
    drop(stream);
    sender.join().unwrap();
}

#[test]
fn a_response_has_a_total_time_unless_it_may_have_no_end() {
    const ROUTES: &str = r#"
[[route]]
name = "changes"
upstream = "crm"
path = "/changes"
subject = "@.id"
unknown-subject = "no-facts"
[route.fields]
"@.id" = "non-personal"
"#;
    let upstream = Upstream::start();
    for (path, kind, begin, item) in [
        ("/customers", "application/json", "{\"items\": [{}", ",{\"status\": \"active\"}"),
        ("/changes", "text/event-stream", "", "data: {\"id\": \"p-1\"}\n\n"),
    ] {
        upstream.script(path, move |_, stream| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{begin}");
            let mut written = stream.write_all(head.as_bytes());
            for _ in 0..15 {
                std::thread::sleep(Duration::from_millis(200));
                written = written.and_then(|()| stream.write_all(item.as_bytes()));
            }
            let _ = written.and_then(|()| stream.write_all(if begin.is_empty() { b"" } else { b"]}" }));
        });
    }
    let config =
        base(upstream.address).replace("request-timeout", "response-timeout = \"1s\"\nrequest-timeout");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}{ROUTES}"));
    let cut = gateway.get("/customers", "support", "customer-support");
    assert!(cut.status == 200 && !cut.complete && cut.text().contains("active"), "{}", cut.text());
    gateway.wait_for_log("\"aborted\"");
    let stream = gateway.get("/changes", "support", "customer-support");
    assert!(stream.complete, "{}", stream.text());
    assert_eq!(stream.text().matches("data:").count(), 15);
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The field block of a request, without Huffman coding and without the dynamic table (RFC 7541).
fn field_block(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    let key = key("support");
    let fields: [(&[u8], &str); 4] = [
        (b"\x04", path),
        (b"\x01", "x"),
        (b"\x00\x09x-api-key", &key),
        (b"\x00\x0cdata-purpose", "customer-support"),
    ];
    for (name, value) in fields {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// Rapid reset (CVE-2023-44487): requests whose streams are reset as soon as the upstream has them.
#[test]
fn a_recipient_that_cancels_over_and_over_is_paused() {
    let (upstream, gateway) = start_with_listener("");
    // Answers nothing, and ends when the gateway closes.
    upstream.script("/customers/slow", |_, stream| drop(std::io::copy(stream, &mut std::io::sink())));
    let block = field_block("/customers/slow");
    let mut stream = http::connect(gateway.address);
    stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat()).unwrap();
    let mut streams = (0..).map(|n| 2 * n + 1);
    for _ in 0..400 {
        if is_paused(&gateway) {
            break;
        }
        let before = upstream.requests();
        let batch: Vec<u32> = streams.by_ref().take(10).collect();
        let begun: Vec<u8> = batch.iter().flat_map(|&stream| frame(1, 0x5, stream, &block)).collect();
        stream.write_all(&begun).unwrap();
        wait_until(|| upstream.requests() > before || is_paused(&gateway));
        let reset: Vec<u8> =
            batch.iter().flat_map(|&stream| frame(3, 0, stream, &8u32.to_be_bytes())).collect();
        stream.write_all(&reset).unwrap();
    }
    assert!(is_paused(&gateway));
    assert_eq!(gateway.get("/customers/p-1", "reseller", "reseller-follow-up").status, 200);
    wait_until(|| gateway.get("/customers/p-1", "support", "customer-support").status == 200);
}

fn is_paused(gateway: &TestGateway) -> bool {
    gateway.metrics().contains("purposegate_refusals_total{code=\"too-many-requests\",recipient=\"support\"}")
}
