//! Variants of upstream answers: empty bodies, media types of JSON, byte order marks, padding, reused connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base, wait_until};
use crate::http::Answer;
use crate::upstream::{Upstream, answer};

const PERSON: &str = r#"{"id": "c-1", "name": "Ada Example", "secret": "x", "status": "active"}"#;
const RELEASED: &str = r#"{"id": "c-1", "name": "Ada Example", "status": "active"}"#;

const ROUTES: &str = r#"
[[schema]]
name = "customer"
subject = "@.id"
[schema.fields]
"@.id" = "subject-identifier"
"@.name" = "name"
"@.status" = "non-personal"

[[route]]
name = "customer"
upstream = "crm"
methods = ["GET", "POST"]
path = "/customers/{id}"
schema = "customer"
answer-headers = ["location"]

[[route]]
name = "lines"
upstream = "crm"
path = "/lines"
schema = "customer"
framing = "lines"
media-types = ["application/vnd.acme.customers"]

[[route]]
name = "table"
upstream = "crm"
path = "/table"
schema = "customer"
framing = "csv"

[[route]]
name = "observed-table"
upstream = "crm"
path = "/observed-table"
schema = "customer"
framing = "csv"
purposes = ["customer-support"]
mode = "observe"
observe-until = 2999-01-31

[[route]]
name = "strict"
upstream = "crm"
path = "/strict/{id}"
schema = "customer"
withheld = "deny"
hide-existence = true

[[route]]
name = "open"
upstream = "crm"
methods = ["GET", "POST"]
path = "/open"
personal = false
"#;

fn start_gateway_with(upstream_keys: &str) -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let config =
        base(upstream.address).replace("name = \"crm\"\n", &format!("name = \"crm\"\n{upstream_keys}\n"));
    let gateway = TestGateway::start(&format!("{config}{ROUTES}"));
    gateway.record_event("c-1", KNOWN);
    (upstream, gateway)
}

fn start_gateway() -> (Upstream, TestGateway) {
    start_gateway_with("")
}

fn answer_of(headers: &str, body: &[u8]) -> Vec<u8> {
    answer("200 OK", headers, body)
}

fn ask(gateway: &TestGateway, method: &str, path: &str) -> Answer {
    let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
    gateway.send(method, path, ("support", "customer-support"), &[], body)
}

#[test]
fn an_empty_body_is_released_under_every_framing() {
    // The upstream closes after each of these answers, and a POST that was sent is not sent again.
    let (upstream, gateway) = start_gateway_with("reuse = false");
    let mut nothing = GzEncoder::new(Vec::new(), Compression::default());
    nothing.write_all(b"").unwrap();
    let gzip = nothing.finish().unwrap();
    let chunked = "transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let json = "content-type: application/json\r\n";
    for (name, status, bytes) in [
        ("length", 201, "HTTP/1.1 201 Created\r\nlocation: /c/2\r\ncontent-length: 0\r\n\r\n".to_owned()),
        ("node", 201, format!("HTTP/1.1 201 Created\r\nlocation: /c/2\r\n{chunked}")),
        (
            "trailer",
            200,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-ada: 1\r\n\r\n".to_owned(),
        ),
        ("close", 202, "HTTP/1.1 202 Accepted\r\nconnection: close\r\n\r\n".to_owned()),
        ("json", 200, format!("HTTP/1.1 200 OK\r\n{json}{chunked}")),
        ("json-close", 200, format!("HTTP/1.1 200 OK\r\n{json}\r\n")),
        ("gzip", 200, format!("HTTP/1.1 200 OK\r\n{json}content-encoding: gzip\r\n{chunked}")),
        ("html", 203, format!("HTTP/1.1 203 Other\r\ncontent-type: text/html\r\n{chunked}")),
        ("unknown-coding", 200, format!("HTTP/1.1 200 OK\r\n{json}content-encoding: compress\r\n{chunked}")),
        ("lines", 200, format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n{chunked}")),
        ("events", 200, format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{chunked}")),
        ("multi-status", 207, format!("HTTP/1.1 207 Multi\r\n{json}{chunked}")),
        ("no-content", 204, "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        ("reset", 205, "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n".to_owned()),
    ] {
        let path = format!("/customers/{name}");
        upstream.raw(&path, bytes);
        for method in ["GET", "POST"] {
            let answer = ask(&gateway, method, &path);
            assert_eq!((answer.status, answer.text().as_str()), (status, ""), "{method} {name}");
            assert!(answer.complete && !answer.head.contains("ada"), "{name}: {}", answer.head);
            if status == 201 {
                assert_eq!(answer.header("location"), Some("/c/2"), "{name}");
            }
        }
    }
    upstream.raw("/customers/coded", answer_of(&format!("{json}content-encoding: gzip\r\n"), &gzip));
    assert_eq!(ask(&gateway, "GET", "/customers/coded").status, 200);
    gateway.wait_for_log("\"released\"");
    assert!(!gateway.metrics().contains(r#"outcome="refused""#), "{}", gateway.metrics());
    // Also on a route with `withheld = "deny"`.
    upstream.raw("/strict/none", answer("200 OK", json, b""));
    assert_eq!(ask(&gateway, "GET", "/strict/none").status, 200);
}

#[test]
fn a_body_that_cannot_be_read_is_unreadable() {
    let (upstream, gateway) = start_gateway();
    for (name, headers, body) in [
        ("blank", "content-type: application/json\r\n", &b" \n"[..]),
        ("mark", "content-type: application/json\r\n", b"\xef\xbb\xbf"),
        ("untyped", "", b"Ada"),
        ("html", "content-type: text/html\r\n", b"Ada"),
        ("gzip", "content-type: application/json\r\ncontent-encoding: gzip\r\n", b"\x1f\x8b\x08"),
    ] {
        let path = format!("/customers/{name}");
        upstream.raw(&path, answer_of(headers, body));
        let answer = ask(&gateway, "POST", &path);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (502, Some("upstream-unreadable")),
            "{name}"
        );
    }
    // The announced bytes never arrive.
    upstream.raw("/customers/short", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(ask(&gateway, "GET", "/customers/short").status, 502);
}

#[test]
fn json_is_recognised_under_its_charsets_codings_and_marks() {
    let (upstream, gateway) = start_gateway();
    let marked = [b"\xef\xbb\xbf", PERSON.as_bytes()].concat();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(PERSON.as_bytes()).unwrap();
    let padded = [gzip.finish().unwrap(), vec![0; 512]].concat();
    for (name, headers, body) in [
        ("mark", "content-type: application/json\r\n", &marked[..]),
        ("charset", "content-type: application/json; charset=UTF8\r\n", PERSON.as_bytes()),
        ("ascii", "content-type: application/json; charset=\"us-ascii\"\r\n", PERSON.as_bytes()),
        ("none", "content-type: application/json\r\ncontent-encoding: none\r\n", PERSON.as_bytes()),
        ("no-word", "content-type: application/json\r\ncontent-encoding:\r\n", PERSON.as_bytes()),
        ("padded", "content-type: application/json\r\ncontent-encoding: gzip\r\n", &padded[..]),
        ("named", "content-type: application/canary-9431@example.org+json\r\n", PERSON.as_bytes()),
        ("late", "content-type: application/json\r\nretry-after: 4915112349431\r\n", PERSON.as_bytes()),
        ("spoken", "content-type: application/json\r\ncontent-language: ka-nary-9431\r\n", PERSON.as_bytes()),
        (
            "old",
            "content-type: application/json\r\ndate: Fri, 03 May 1985 00:00:00 GMT\r\n",
            PERSON.as_bytes(),
        ),
    ] {
        let path = format!("/customers/{name}");
        upstream.raw(&path, answer_of(headers, body));
        let answer = ask(&gateway, "GET", &path);
        assert_eq!((answer.status, answer.text().as_str()), (200, RELEASED), "{name}");
        for word in ["canary", "9431", "1985", "retry-after", "content-language"] {
            assert!(!answer.head.contains(word), "{name}: {}", answer.head);
        }
        let media_type = answer.header("content-type").unwrap();
        assert!(
            ["application/json", "application/json; charset=utf-8"].contains(&media_type),
            "{name}: {media_type}"
        );
        assert_eq!(answer.head.matches("date: ").count(), 1, "{}", answer.head);
    }
}

#[test]
fn a_route_can_frame_its_answers_as_lines() {
    let (upstream, gateway) = start_gateway();
    let body = format!("{PERSON}\n{PERSON}\n");
    for (headers, media_type) in [
        ("content-type: application/json\r\n", "application/json"),
        ("content-type: text/plain\r\n", "application/x-ndjson"),
        ("", "application/x-ndjson"),
        ("content-type: application/vnd.acme.customers\r\n", "application/vnd.acme.customers"),
        ("content-type: application/fhir+ndjson\r\n", "application/fhir+ndjson"),
    ] {
        upstream.raw("/lines", answer_of(headers, body.as_bytes()));
        let answer = ask(&gateway, "GET", "/lines");
        assert_eq!((answer.status, answer.text()), (200, format!("{RELEASED}\n{RELEASED}\n")), "{headers}");
        assert_eq!(answer.header("content-type"), Some(media_type));
    }
}

#[test]
fn a_route_scrubs_csv_row_by_row() {
    let (upstream, gateway) = start_gateway();
    let body = "status,secret,name,id\r\nactive,x,\"Example, Ada\",c-1\r\nactive,y,Bob,c-2\r\n";
    upstream.raw("/table", answer_of("content-type: text/csv; charset=utf-8\r\n", body.as_bytes()));
    let answer = ask(&gateway, "GET", "/table");
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    // The ledger does not know the second person.
    let released = "status,name,id\r\nactive,\"Example, Ada\",c-1\r\nactive,,\r\n";
    assert_eq!((answer.status, answer.text().as_str()), (200, released));
    gateway.wait_for_log("\"records\":2");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    let coded = "content-type: text/csv\r\ncontent-encoding: gzip\r\n";
    upstream.raw("/table", answer_of(coded, &gzip.finish().unwrap()));
    let answer = ask(&gateway, "GET", "/table");
    assert_eq!((answer.status, answer.text().as_str()), (200, released));
    assert_eq!((answer.header("content-type"), answer.header("content-encoding")), (Some("text/csv"), None));
    // Nothing has left yet: the answer is refused.
    let typed = "content-type: text/csv\r\n";
    for (headers, body) in [
        (typed, "status,id,name\nactive,c-1\n"),
        (typed, "id,name\nc-1,Ada\n"),
        (typed, "status,id,name,id\nactive,c-1,Ada,c-2\n"),
        (typed, "status;id;name\nactive;c-1;Ada\n"),
        (typed, ""),
        ("content-type: text/csv; header=absent\r\n", "status,id,name\nactive,c-1,Ada\n"),
        ("content-type: text/csv; charset=iso-8859-1\r\n", "status,id,name\nactive,c-1,Ada\n"),
    ] {
        upstream.raw("/table", answer_of(headers, body.as_bytes()));
        let refused = ask(&gateway, "GET", "/table");
        let expected = if body.is_empty() { 200 } else { 502 };
        assert_eq!(refused.status, expected, "{headers}{body}");
        assert!(!refused.text().contains("Ada") && !refused.text().contains("c-1"), "{}", refused.text());
    }
    upstream.raw("/customers/table", answer_of("content-type: text/csv\r\n", body.as_bytes()));
    assert_eq!(ask(&gateway, "GET", "/customers/table").status, 502);
}

#[test]
fn an_observed_table_leaves_as_it_came_and_is_recorded_by_row() {
    let (upstream, gateway) = start_gateway();
    let body = "\u{feff}\"status\",secret,name,id\r\nactive,x,\"Example, Ada\",c-1\r\n,y,Bob,c-2";
    let cut = "status,secret,name,id\nactive,x,Ada,c-1\nactive,x\n";
    for (text, records) in [(body, 2), (cut, 1)] {
        upstream
            .raw("/observed-table", answer_of("content-type: text/csv; header=present\r\n", text.as_bytes()));
        let answer = ask(&gateway, "GET", "/observed-table");
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
        assert!(answer.complete);
        let record = gateway.decision(&answer.decision());
        assert_eq!((&record["mode"], &record["records"]), (&json!("observe"), &json!(records)), "{record:#}");
    }
}

/// Answers `/table` with a first piece and, once `between` was called after a row about Ada has left, with the rest.
fn table_in_two_pieces(
    (upstream, gateway): (&Upstream, &TestGateway),
    first: &'static str,
    rest: &'static str,
    between: impl FnOnce(),
) -> Answer {
    let (seen, waits) = std::sync::mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    upstream.script("/table", move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let _ = stream.write_all((head.to_owned() + &chunk(first)).as_bytes());
        if waits.lock().unwrap().recv_timeout(std::time::Duration::from_secs(20)).is_ok() {
            let _ = stream.write_all((chunk(rest) + "0\r\n\r\n").as_bytes());
        }
    });
    let mut stream = gateway.begin_get("/table", "support", "customer-support");
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("Ada") {
        let mut some = [0; 1024];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&some[..length]);
    }
    between();
    seen.send(()).unwrap();
    let _ = stream.read_to_end(&mut bytes);
    crate::http::parse(&bytes)
}

#[test]
fn a_table_is_cut_at_a_row_that_cannot_be_read() {
    let (upstream, gateway) = start_gateway();
    let first = "status,id,name\nactive,c-1,Ada\nactive,c-1,";
    for rest in [
        "\nactive,c-1\nactive,c-1,Eve\n",
        "Eve,x\n",
        "E\"ve\n",
        "\"Eve\n",
        "E\0ve\n",
        "\"Eve\"x\n",
        "Eve\rx\n",
    ] {
        let aborted = || gateway.log().matches("\"aborted\"").count();
        let before = aborted();
        let cut = table_in_two_pieces((&upstream, &gateway), first, rest, || ());
        assert!(cut.status == 200 && !cut.complete && !cut.text().contains("Eve"), "{rest:?} {}", cut.text());
        wait_until(|| aborted() > before);
    }
}

#[test]
fn a_row_is_judged_by_the_events_up_to_the_moment_at_which_it_leaves() {
    let (upstream, gateway) = start_gateway();
    let first = "status,id,name\nactive,c-1,Ada\nactive,c-1,";
    let erase = || drop(gateway.record_event("c-1", r#"{"kind": "erasure"}"#));
    let answer = table_in_two_pieces((&upstream, &gateway), first, "Eve\n", erase);
    assert!(answer.complete);
    let text = answer.text();
    assert!(text.starts_with("status,id,name\nactive,c-1,Ada\n") && text.ends_with(",,\n"), "{text}");
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn an_answer_that_is_not_personal_is_framed_anew() {
    let (upstream, gateway) = start_gateway();
    let chunked = "transfer-encoding: chunked\r\n";
    let ten = "a\r\n0123456789\r\n0\r\n\r\n";
    for (name, head, body) in [
        ("longer", format!("200 OK\r\n{chunked}content-length: 3\r\n"), ten),
        ("shorter", format!("200 OK\r\n{chunked}content-length: 300\r\n"), ten),
        ("twice", "200 OK\r\ncontent-length: 10, 10\r\n".to_owned(), "0123456789"),
        ("plain", "404 Not Found\r\ncontent-length: 10\r\n".to_owned(), "0123456789"),
    ] {
        let own = "connection: close\r\nserver: Ada/1\r\nx-powered-by: Ada\r\ndata-purpose-withheld: forged\r\nx-kept: 1\r\n";
        upstream.raw("/open", format!("HTTP/1.1 {head}{own}\r\n{body}"));
        let answer = ask(&gateway, "GET", "/open");
        assert!(answer.complete, "{name}: {}", answer.head);
        assert_eq!((answer.text().as_str(), answer.header("x-kept")), ("0123456789", Some("1")), "{name}");
        assert!(!answer.head.contains("Ada") && !answer.head.contains("forged"), "{}", answer.head);
    }
    for head in [
        format!("200 OK\r\n{chunked}{chunked}"),
        "200 OK\r\ntransfer-encoding: gzip, chunked\r\n".to_owned(),
        format!("600 Odd\r\n{chunked}"),
        format!("999 Odd\r\n{chunked}"),
    ] {
        upstream.raw("/open", format!("HTTP/1.1 {head}connection: close\r\n\r\n{ten}"));
        assert_eq!(ask(&gateway, "GET", "/open").status, 502, "{head}");
    }
}

/// Sends these answers over one connection; `None` closes it. The head of the first request was read already.
fn serve_connection(stream: &mut TcpStream, answers: &[Option<Vec<u8>>], served: &AtomicUsize) {
    for (number, answer) in answers.iter().enumerate() {
        if number > 0 && !read_head(stream) {
            return;
        }
        served.fetch_add(1, Ordering::SeqCst);
        match answer {
            Some(bytes) => drop(stream.write_all(bytes)),
            None => return,
        }
    }
}

fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn keep_alive_answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let json = "content-type: application/json\r\n";
    format!("HTTP/1.1 {status}\r\n{json}{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Answers every connection for a path like this; returns a counter of the requests that were read.
fn script(upstream: &Upstream, path: &str, answers: Vec<Option<Vec<u8>>>) -> Arc<AtomicUsize> {
    let served = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&served);
    upstream.script(path, move |_, stream| serve_connection(stream, &answers, &counted));
    served
}

#[test]
fn a_safe_request_is_retried_once_on_a_closed_connection() {
    let (upstream, gateway) = start_gateway();
    // The upstream reads the second request of each connection and closes it without an answer.
    let served =
        script(&upstream, "/customers/c-1", vec![Some(keep_alive_answer("200 OK", "", PERSON)), None]);
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "GET", "/customers/c-1").text(), RELEASED);
    }
    assert_eq!(upstream.requests(), 3, "a connection each");
    assert_eq!(served.load(Ordering::SeqCst), 5, "and two requests that were sent twice");
    // A request that may have had an effect is not sent again.
    assert_eq!(ask(&gateway, "POST", "/customers/c-1").status, 502);
    assert_eq!(ask(&gateway, "GET", "/customers/c-1").status, 200);
    assert_eq!(ask(&gateway, "HEAD", "/customers/c-1").status, 200);
    // Neither is one with a partial answer.
    let part = b"HTTP/1.1 200 OK\r\ncontent-".to_vec();
    script(&upstream, "/customers/part", vec![Some(keep_alive_answer("200 OK", "", PERSON)), Some(part)]);
    assert_eq!(ask(&gateway, "GET", "/customers/part").status, 200);
    assert_eq!(ask(&gateway, "GET", "/customers/part").status, 502);
    // A new connection that is closed is not retried.
    upstream.script("/customers/c-2", |_, _| {});
    let before = upstream.requests();
    assert_eq!(ask(&gateway, "GET", "/customers/c-2").status, 502);
    assert_eq!(upstream.requests(), before + 1);
}

#[test]
fn a_refused_answer_is_drained_and_its_connection_reused() {
    let (upstream, gateway) = start_gateway();
    let unreadable = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\nAda";
    let broken = keep_alive_answer("200 OK", "", "{\"id\": 1, \"id\": 1, \"and\": \"more\"}");
    let answers = vec![
        Some(keep_alive_answer("404 Not Found", "", "{\"detail\": \"Ada is not here\"}")),
        Some(keep_alive_answer("500 Oops", "", "{\"detail\": \"Ada\"}")),
        Some(unreadable.into()),
        Some(keep_alive_answer("302 Found", "location: /ada\r\n", "moved")),
        Some(broken),
        Some(keep_alive_answer("200 OK", "", PERSON)),
        None,
    ];
    script(&upstream, "/strict/c-1", answers);
    let statuses: Vec<u16> = (0..6).map(|_| ask(&gateway, "GET", "/strict/c-1").status).collect();
    assert_eq!(statuses, [404, 500, 404, 404, 404, 200]);
    assert_eq!(upstream.requests(), 1, "one connection served them all");
    // The gateway does not wait for a body that does not end.
    upstream.script("/strict/c-2", |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nAda");
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    assert_eq!(ask(&gateway, "GET", "/strict/c-2").status, 404);
}

#[test]
fn reuse_false_opens_a_connection_for_each_request() {
    let (upstream, gateway) = start_gateway_with("reuse = false");
    script(&upstream, "/customers/c-1", vec![Some(keep_alive_answer("200 OK", "", PERSON)); 2]);
    for _ in 0..2 {
        assert_eq!(ask(&gateway, "GET", "/customers/c-1").status, 200);
    }
    assert_eq!(upstream.requests(), 2);
    assert!(upstream.seen.lock().unwrap().iter().all(|head| head.contains("connection: close")));
}

#[test]
fn keep_alive_of_the_upstream_limits_reuse() {
    let (upstream, gateway) = start_gateway();
    script(
        &upstream,
        "/customers/c-1",
        vec![Some(keep_alive_answer("200 OK", "keep-alive: timeout=1\r\n", PERSON)); 2],
    );
    for _ in 0..2 {
        assert_eq!(ask(&gateway, "GET", "/customers/c-1").status, 200);
    }
    assert_eq!(upstream.requests(), 2, "none is idle for less than a second");
}

#[test]
fn interim_answers_are_bounded() {
    let (upstream, gateway) = start_gateway();
    let hints = |count: usize| "HTTP/1.1 103 Early Hints\r\nlink: </ada>\r\n\r\n".repeat(count).into_bytes();
    let whole = answer_of("content-type: application/json\r\n", PERSON.as_bytes());
    upstream.raw("/customers/few", [hints(5), whole.clone()].concat());
    upstream.raw("/customers/many", [hints(1000), whole].concat());
    assert_eq!(ask(&gateway, "GET", "/customers/few").text(), RELEASED);
    assert_eq!(ask(&gateway, "GET", "/customers/many").status, 502);
}

#[test]
fn body_timeout_bounds_the_whole_body() {
    let (upstream, gateway) = start_gateway_with("body-timeout = \"300ms\"");
    let drip = |head: &'static str| {
        move |_: &str, stream: &mut TcpStream| {
            let _ = stream.write_all(head.as_bytes());
            // Sends blanks until the gateway closes the connection.
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    };
    upstream.script("/customers/c-1", drip("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"));
    upstream.script("/open", drip("HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\n\r\n"));
    assert_eq!(ask(&gateway, "GET", "/customers/c-1").status, 504);
    assert!(!ask(&gateway, "GET", "/open").complete);
    wait_until(|| gateway.log().contains("\"aborted\""));
}
