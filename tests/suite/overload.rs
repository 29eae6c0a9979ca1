//! Memory under load: a recipient whose answers are held uses up its own share, and others are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};

use crate::fixtures::{CUSTOMER_ROUTES, person};
use crate::gateway::{TestGateway, base, wait_until};
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

#[test]
fn one_recipient_cannot_use_up_the_memory() {
    let (upstream, gateway) = start_gateway();
    let (resume, resumed) = mpsc::channel::<()>();
    let resumed = Arc::new(Mutex::new(resumed));
    // Of an answer that comes in part, and is held before and after it is read.
    for (path, length) in [("/held/most", 460_000), ("/held/some", 90_000)] {
        let whole = answer("200 OK", "content-type: application/json\r\n", large(length).as_bytes());
        let resumed = Arc::clone(&resumed);
        upstream.script(path, move |_, stream| {
            let (last, first) = whole.split_last().unwrap();
            let _ = stream.write_all(first);
            let _ = resumed.lock().unwrap().recv();
            let _ = stream.write_all(&[*last]);
        });
    }
    let begin = |path| gateway.begin_get(path, "support", "customer-support");
    let mut held: Vec<TcpStream> = vec![begin("/held/most")];
    wait_until(|| held_bytes(&gateway, "support") >= 920_000);
    held.push(begin("/held/some"));
    wait_until(|| held_bytes(&gateway, "support") > 1 << 20);
    let third = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!(third.outcome(), (503, "overloaded".to_owned()));
    assert!(third.text().contains("as much memory"), "{}", third.text());
    assert_eq!(gateway.get("/customers/p-1", "reseller", "reseller-follow-up").status, 200);

    for _ in &held {
        resume.send(()).unwrap();
    }
    for mut stream in held {
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
    // Half of the windows of 16 MiB, and 256 KiB for each.
    assert!(most <= (8 << 20) + 40 * (256 << 10), "{most}");
    drop(readers);
    wait_until(|| held_bytes(&gateway, "support") == 0);
}
