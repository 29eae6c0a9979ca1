//! Streams of JSON texts: each text is scrubbed as it arrives and leaves before the next one.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use crate::fixtures::{CONSENT, NOTICE, person};
use crate::gateway::{TestGateway, start_with_routes};
use crate::http;
use crate::upstream::{Upstream, answer};

const ROUTES: &str = r#"
[[route]]
name = "changes"
upstream = "crm"
path = "/changes"
subject = "@.id"
events = ["changed"]
[route.fields]
"@.id" = "non-personal"
"@.name" = "name"
"#;

fn start_gateway() -> (Upstream, TestGateway) {
    let (upstream, gateway) = start_with_routes(ROUTES);
    gateway.record_event("p-1", CONSENT);
    gateway.record_event("p-2", NOTICE);
    (upstream, gateway)
}

fn typed(media_type: &str, body: &str) -> Vec<u8> {
    answer("200 OK", &format!("content-type: {media_type}\r\n"), body.as_bytes())
}

#[test]
fn the_media_type_selects_the_framing() {
    let (upstream, gateway) = start_gateway();
    let (first, second) = (person("p-1"), person("p-2"));
    let released = r#"{"id": "p-1", "name": "Name-p-1"}"#;
    for (media_type, body, expected) in [
        (
            "application/x-ndjson",
            format!("{first}\n{second}\n"),
            format!("{released}\n{{\"id\": \"p-2\"}}\n"),
        ),
        ("application/jsonl", format!("{first}\n{second}"), format!("{released}\n{{\"id\": \"p-2\"}}")),
        (
            "application/json-seq",
            format!("\x1e{first}\n\x1e{second}\n"),
            format!("\x1e{released}\n\x1e{{\"id\": \"p-2\"}}\n"),
        ),
        (
            "text/event-stream",
            format!(
                ": p-1\nid: p-1\nevent: changed\ndata: {first}\n\ndata: {second}\n\nevent: p-1\ndata: {first}\n\n"
            ),
            format!(":\n\nevent: changed\ndata: {released}\n\ndata: {{\"id\": \"p-2\"}}\n\n"),
        ),
    ] {
        upstream.raw("/changes", typed(media_type, &body));
        let answer = gateway.get("/changes", "support", "direct-marketing");
        assert_eq!(answer.status, 200, "{media_type} {}", answer.text());
        assert_eq!(answer.text(), expected, "{media_type}");
        assert_eq!(answer.header("content-type"), Some(media_type));
    }
    assert!(
        gateway.metrics().contains(
            "purposegate_records_total{outcome=\"withheld\",purpose=\"direct-marketing\",route=\"changes\"} 4"
        ),
        "{}",
        gateway.metrics()
    );
}

#[test]
fn an_unreadable_stream_is_refused() {
    let (upstream, gateway) = start_gateway();
    let first = person("p-1");
    for (media_type, body) in [
        ("application/json", format!("{first}\n{first}")),
        ("application/x-ndjson", format!("{first} {first}")),
        ("application/json-seq", format!("{first}\n")),
        ("text/event-stream", "data: [done]\n\n".to_owned()),
        ("text/plain", first.clone()),
    ] {
        upstream.raw("/changes", typed(media_type, &body));
        let answer = gateway.get("/changes", "support", "direct-marketing");
        assert_eq!(answer.status, 502, "{media_type} {}", answer.text());
        assert!(!answer.text().contains("p-1"), "{media_type}");
    }
}

#[test]
fn an_event_leaves_before_the_next_one_comes() {
    let (upstream, gateway) = start_gateway();
    let (received, waits) = mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    upstream.script("/changes", move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(format!("{head}data: {}\n\ndata: {{\"id\":", person("p-1")).as_bytes());
        // Sends the rest only after the recipient has the first event.
        let seen = waits.lock().unwrap().recv_timeout(Duration::from_secs(20)).is_ok();
        let rest: &[u8] = if seen { b" \"p-2\"}\n\n" } else { b"too late" };
        let _ = stream.write_all(rest);
    });
    let mut stream = gateway.begin_get("/changes", "support", "direct-marketing");
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("Name-p-1") {
        let mut some = [0; 1024];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&some[..length]);
    }
    received.send(()).unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    let answer = http::parse(&bytes);
    assert!(answer.complete);
    assert_eq!(
        answer.text(),
        "data: {\"id\": \"p-1\", \"name\": \"Name-p-1\"}\n\ndata: {\"id\": \"p-2\"}\n\n"
    );
}
