//! Bodies of any media type that are one field of the person whom the path names.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, start_with_routes, wait};
use crate::http::Answer;
use crate::upstream::{Upstream, answer};

const ROUTES: &str = r#"
[namespace.member]
normalise = ["trim", "lowercase"]

[[route]]
name = "photo"
upstream = "crm"
path = "/photos/{id}"
body = "photo"
subject = "{id}"
max-deny-body = "300KiB"
media-types = ["image/svg+xml"]

[[route]]
name = "hidden"
upstream = "crm"
path = "/hidden/{id}"
body = "photo"
subject = { path = "{id}", namespace = "member" }
hide-existence = true

[[route]]
name = "watched"
upstream = "crm"
path = "/watched/{id}"
body = "photo"
subject = "{id}"
purposes = ["customer-support"]
max-deny-body = "300KiB"
mode = "observe"
observe-until = 2999-12-31
allow = ["observe-mode"]
"#;

const JPEG: &str = "content-type: image/jpeg\r\n";
const RESTRICTED: &str = r#"{"kind": "restriction"}"#;

/// Bytes that are neither UTF-8 nor JSON.
fn photo(length: usize) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe1Exif\0\0Kiel 54.32N".to_vec();
    bytes.extend((0..length).map(|at| u8::try_from(at % 251).unwrap()));
    bytes
}

fn start() -> (Upstream, TestGateway) {
    let (upstream, gateway) = start_with_routes(ROUTES);
    gateway.record_event("c-1", KNOWN);
    gateway.record_event("c-2", KNOWN);
    gateway.record_event("c-2", RESTRICTED);
    (upstream, gateway)
}

fn get(gateway: &TestGateway, path: &str) -> Answer {
    gateway.get(path, "support", "customer-support")
}

/// Returns the record of an answer's decision once it has this outcome. An answer can end before its closing record is written.
fn record_of(gateway: &TestGateway, answer: &Answer, outcome: &str) -> Value {
    let decision = answer.decision();
    wait(|| Some(gateway.decision(&decision)).filter(|record| record["outcome"] == outcome))
}

#[test]
fn a_photo_leaves_whole_or_is_refused() {
    let (upstream, gateway) = start();
    let [small, large] = [photo(100), photo(250_000)];
    for bytes in [&small, &large] {
        upstream.raw("/photos/c-1", answer("200 OK", JPEG, bytes));
        upstream.raw("/photos/c-2", answer("200 OK", JPEG, bytes));
        upstream.raw("/photos/stranger", answer("200 OK", JPEG, bytes));
        let answer = get(&gateway, "/photos/c-1");
        assert_eq!((answer.status, answer.complete), (200, true));
        assert!(answer.body == *bytes, "{} bytes of {}", answer.body.len(), bytes.len());
        assert_eq!(answer.header("content-type"), Some("image/jpeg"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let record = record_of(&gateway, &answer, "released");
        assert_eq!((&record["records"], &record["withheld_records"]), (&json!(1), &json!(0)), "{record}");
        assert_eq!(record["subjects"].as_array().map(Vec::len), Some(1), "{record}");
        assert_eq!(record["categories"]["photo"][0]["form"], "clear", "{record}");
        for withheld in ["/photos/c-2", "/photos/stranger"] {
            let answer = get(&gateway, withheld);
            assert_eq!(answer.outcome(), (403, "subject-withheld".to_owned()), "{withheld}");
            record_of(&gateway, &answer, "refused:subject-withheld");
        }
    }
    let disclosures = gateway.get_admin("/v1/subjects/c-1/disclosures").text();
    assert!(disclosures.contains("photo"), "{disclosures}");
}

#[test]
fn nothing_but_the_body_and_its_media_type_comes_back() {
    let (upstream, gateway) = start();
    let headers = "content-type: image/png; name=\"jane-doe.png\"\r\ncontent-disposition: inline; filename=\"jane-doe.png\"\r\n\
                   etag: \"jane\"\r\nlast-modified: Mon, 30 Nov 2026 10:00:00 GMT\r\naccept-ranges: bytes\r\n\
                   x-owner: jane\r\ncache-control: public, no-transform\r\n";
    upstream.raw("/photos/c-1", answer("200 Jane", headers, b"\x89PNG"));
    let conditions = [
        "range: bytes=0-1",
        "if-range: \"jane\"",
        "if-none-match: \"jane\"",
        "if-modified-since: Mon, 30 Nov 2026 10:00:00 GMT",
    ];
    let answer = gateway.send("GET", "/photos/c-1", ("support", "customer-support"), &conditions, b"");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\x89PNG"[..]));
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let head = answer.head.to_ascii_lowercase();
    for gone in ["jane", "disposition", "etag", "last-modified", "accept-ranges", "x-owner"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    let seen = upstream.seen.lock().unwrap().last().unwrap().to_ascii_lowercase();
    assert!(!seen.contains("range:") && !seen.contains("if-"), "{seen}");
}

#[test]
fn media_types_that_nobody_knows_leave_as_bytes() {
    let (upstream, gateway) = start();
    for (written, leaves) in [
        ("content-type: Application/PDF\r\n", "application/pdf"),
        ("content-type: text/plain; charset=\"UTF-8\"\r\n", "text/plain; charset=utf-8"),
        ("content-type: text/plain; charset=latin1\r\n", "text/plain"),
        ("content-type: application/json\r\n", "application/json"),
        ("content-type: image/svg+xml\r\n", "image/svg+xml"),
        ("content-type: text/html\r\n", "application/octet-stream"),
        ("content-type: image/jane-doe\r\n", "application/octet-stream"),
        ("content-type: application/jane+json\r\n", "application/octet-stream"),
        ("content-type: multipart/byteranges; boundary=x\r\n", "application/octet-stream"),
        ("content-type: jane@example.org\r\n", "application/octet-stream"),
        ("", "application/octet-stream"),
    ] {
        upstream.raw("/photos/c-1", answer("200 OK", written, b"{ not json"));
        let answer = get(&gateway, "/photos/c-1");
        assert_eq!((answer.status, answer.text().as_str()), (200, "{ not json"), "{written}");
        assert_eq!(answer.header("content-type"), Some(leaves), "{written}");
    }
}

#[test]
fn only_whole_answers_leave() {
    let (upstream, gateway) = start();
    let two = "content-type: image/png\r\ncontent-type: image/jpeg\r\n";
    let coded = "content-type: image/png\r\ncontent-encoding: gzip\r\n";
    for (name, bytes) in [
        (
            "206",
            answer("206 Partial Content", "content-type: image/png\r\ncontent-range: bytes 0-1/9\r\n", b"12"),
        ),
        ("201", answer("201 Created", JPEG, b"12")),
        ("203", answer("203 Other", JPEG, b"12")),
        ("302", answer("302 Found", "location: /jane.jpg\r\n", b"")),
        ("304", answer("304 Not Modified", "", b"")),
        ("412", answer("412 Failed", JPEG, b"12")),
        ("416", answer("416 Range", "", b"")),
        ("two types", answer("200 OK", two, b"12")),
        ("unknown coding", answer("200 OK", "content-encoding: compress\r\n", b"12")),
        ("unknown coding, empty", answer("200 OK", "content-encoding: compress\r\n", b"")),
        ("not gzip", answer("200 OK", coded, b"12")),
        ("no-transform", answer("200 OK", &format!("{coded}cache-control: no-transform\r\n"), b"12")),
        ("no length", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n12".to_vec()),
        ("cut", b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\n12".to_vec()),
        ("too long", answer("200 OK", JPEG, &photo(310 * 1024))),
    ] {
        upstream.raw("/photos/c-1", bytes);
        let answer = get(&gateway, "/photos/c-1");
        assert_eq!(answer.outcome(), (502, "upstream-unreadable".to_owned()), "{name}");
        let record = record_of(&gateway, &answer, "refused:upstream-unreadable");
        assert_eq!(record["categories"], json!({}), "{name}: {record}");
    }
    for (status, expected) in [("404 Jane", 404), ("500 Jane", 500)] {
        upstream.raw("/photos/c-1", answer(status, JPEG, b"12"));
        assert_eq!(get(&gateway, "/photos/c-1").outcome(), (expected, "upstream-refused".to_owned()));
    }
}

#[test]
fn a_coded_or_chunked_body_leaves_decoded() {
    let (upstream, gateway) = start();
    let bytes = photo(5_000);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&bytes).unwrap();
    let gzip = encoder.finish().unwrap();
    upstream.raw("/photos/c-1", answer("200 OK", &format!("{JPEG}content-encoding: gzip\r\n"), &gzip));
    let answer = get(&gateway, "/photos/c-1");
    assert!(answer.status == 200 && answer.body == bytes && answer.header("content-encoding").is_none());
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: image/png\r\n\r\n3\r\nabc\r\n2\r\n\xff\x00\r\n0\r\n\r\n";
    upstream.raw("/photos/c-1", chunked.to_vec());
    assert_eq!(get(&gateway, "/photos/c-1").body, b"abc\xff\x00");
}

#[test]
fn head_is_answered_as_get_without_its_body() {
    let (upstream, gateway) = start();
    let head = |path: &str| gateway.send("HEAD", path, ("support", "customer-support"), &[], b"");
    upstream.raw("/photos/c-1", answer("200 OK", JPEG, b"12"));
    upstream.raw("/photos/c-2", answer("200 OK", JPEG, b"12"));
    let released = head("/photos/c-1");
    assert_eq!((released.status, released.text().as_str()), (200, ""));
    assert_eq!(released.header("content-type"), Some("image/jpeg"));
    assert_eq!(head("/photos/c-2").status, 403);
    assert!(upstream.seen.lock().unwrap().iter().all(|seen| seen.starts_with("GET ")));
}

#[test]
fn that_somebody_has_no_photo_is_decided_too() {
    let (upstream, gateway) = start();
    let none = ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"];
    for (empty, status) in none.into_iter().zip([204, 200]) {
        upstream.raw("/photos/c-1", empty);
        upstream.raw("/photos/c-2", empty);
        let answer = get(&gateway, "/photos/c-1");
        assert_eq!((answer.status, answer.text().as_str()), (status, ""));
        assert_eq!(answer.header("content-type"), None);
        let record = record_of(&gateway, &answer, "released");
        assert_eq!(record["categories"]["photo"][0]["fields"], 1, "{record}");
        assert_eq!(get(&gateway, "/photos/c-2").outcome(), (403, "subject-withheld".to_owned()));
    }
}

/// A gateway that knows `m-1`, whose photo leaves, and `m-2`, whose photo does not.
fn start_hidden() -> (Upstream, TestGateway) {
    let (upstream, gateway) = start();
    for (id, event) in [("m-1", KNOWN), ("m-2", KNOWN), ("m-2", RESTRICTED)] {
        let path = format!("/v1/subjects/{id}/events?namespace=member");
        assert_eq!(gateway.post_admin(&path, event).status, 200);
    }
    (upstream, gateway)
}

/// Returns the head of an answer without its time, and its body without the id of the decision.
fn told(answer: &Answer) -> (String, Value) {
    let lines = answer.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    let mut body = answer.json();
    body["decision"].take();
    (lines.collect::<Vec<_>>().join("\n"), body)
}

#[test]
fn a_hidden_photo_is_one_that_does_not_exist() {
    let (upstream, gateway) = start_hidden();
    upstream.raw("*", answer("200 OK", JPEG, b"12"));
    // The id is read by the rules of its namespace.
    assert_eq!(get(&gateway, "/hidden/m-1").text(), "12");
    assert_eq!(get(&gateway, "/hidden/M-1").text(), "12");
    upstream
        .raw("/hidden/m-3", answer("404 None", &format!("{JPEG}retry-after: 7\r\nx-owner: jane\r\n"), b"12"));
    let (withheld, absent) = (get(&gateway, "/hidden/M-2"), get(&gateway, "/hidden/m-3"));
    assert_ne!(withheld.decision(), absent.decision());
    assert_eq!(told(&withheld), told(&absent));
    assert_eq!(withheld.outcome(), (404, "not-found".to_owned()));
    let [of_withheld, of_absent] = [&withheld, &absent].map(|answer| {
        let mut record = record_of(&gateway, answer, "refused:not-found");
        for own in ["decision", "time"] {
            record[own].take();
        }
        record
    });
    assert_eq!(of_withheld, of_absent);
    let count = r#"purposegate_refusals_total{code="not-found",recipient="support"}"#;
    assert!(gateway.metrics().lines().any(|line| line == format!("{count} 2")), "{}", gateway.metrics());
}

#[test]
fn the_answer_about_a_hidden_photo_does_not_wait_for_it() {
    let (upstream, gateway) = start_hidden();
    for framing in ["content-length: 900000", "transfer-encoding: chunked"] {
        let (closes, closed) = mpsc::channel();
        upstream.script("/hidden/m-2", move |_, stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{JPEG}{framing}\r\n\r\n");
            // The photo never comes: the gateway gives up.
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let _ = stream.read_exact(&mut [0]);
            closes.send(Instant::now()).unwrap();
        });
        let began = Instant::now();
        assert_eq!(get(&gateway, "/hidden/m-2").outcome(), (404, "not-found".to_owned()));
        let answered = Instant::now();
        assert!(answered - began < Duration::from_secs(10), "{framing}");
        // A short photo would be read to its end, so the connection is kept for a moment. The answer does not wait for that either.
        let closed = closed.recv().unwrap();
        assert!(answered < closed || framing.starts_with("content-length"), "{framing}");
    }
}

#[test]
fn an_observed_photo_leaves_and_its_record_says_what_enforcing_would_do() {
    let (upstream, gateway) = start();
    for bytes in [photo(100), photo(250_000)] {
        upstream.raw("/watched/c-2", answer("200 OK", JPEG, &bytes));
        let answer = get(&gateway, "/watched/c-2");
        assert!(answer.status == 200 && answer.body == bytes);
        let record = record_of(&gateway, &answer, "released");
        assert_eq!(record["categories"]["photo"][0]["form"], "clear", "{record}");
        assert_eq!(record["would"]["refused"], "subject-withheld", "{record}");
    }
    for empty in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] {
        upstream.raw("/watched/c-2", empty);
        let answer = get(&gateway, "/watched/c-2");
        assert_eq!(answer.text(), "");
        let record = record_of(&gateway, &answer, "released");
        assert_eq!(record["would"]["refused"], "subject-withheld", "that there is none: {record}");
    }
    let long = photo(400 * 1024);
    upstream.raw("/watched/c-2", answer("200 OK", JPEG, &long));
    let answer = get(&gateway, "/watched/c-2");
    assert!(answer.status == 200 && answer.body == long);
    let record = record_of(&gateway, &answer, "released");
    assert_eq!(record["would"]["refused"], "upstream-unreadable", "{record}");
}

#[test]
fn a_restriction_while_the_photo_is_on_its_way_withholds_it() {
    let (upstream, gateway) = start();
    let admin = gateway.admin;
    upstream.script("/photos/c-1", move |_, stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\n12");
        let answered =
            crate::http::send(admin, "POST", "/v1/subjects/c-1/events", &[], RESTRICTED.as_bytes());
        assert_eq!(answered.status, 200, "{}", answered.text());
        let _ = stream.write_all(b"34");
    });
    assert_eq!(get(&gateway, "/photos/c-1").outcome(), (403, "subject-withheld".to_owned()));
}

#[test]
fn pages_show_the_body_as_one_field() {
    let (_upstream, gateway) = start();
    let page = gateway.get("/.well-known/data-purposes", "support", "customer-support").json();
    let routes = page["routes"].as_array().unwrap();
    let route = routes.iter().find(|route| route["route"] == "photo").unwrap();
    let purposes = route["purposes"].as_array().unwrap();
    let support = purposes.iter().find(|purpose| purpose["purpose"] == "customer-support").unwrap();
    assert_eq!(support["fields"], json!([{"path": "$", "form": "clear"}]));
    assert!(gateway.get_admin("/v1/routes").text().contains("photo"));
    assert_eq!(gateway.get_admin("/v1/routes/photo/unclassified").status, 200);
}
