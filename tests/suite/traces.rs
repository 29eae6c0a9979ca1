//! OpenTelemetry traces: the spans of an exchange at a collector, contexts of callers, and a collector that is not there.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{base, bearer, wait, wait_until};
use crate::http::{self, Answer};
use crate::process::ServeProcess;
use crate::upstream::{self, Upstream};

const CALLER: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An access log.
const LOGS: &str = "[access-log]\ndirectory = \"access\"\n";

/// A request to the collector.
#[derive(Clone, Debug)]
struct Export {
    head: String,
    body: Vec<u8>,
}

/// A server that takes OTLP over HTTP.
struct Collector {
    address: SocketAddr,
    exports: Arc<Mutex<Vec<Export>>>,
}

impl Collector {
    /// Answers with these statuses in turn, and with 200 afterwards.
    fn start(statuses: &'static [u16]) -> Collector {
        Collector::answering(statuses, b"")
    }

    /// Does the same, each time with this body.
    fn answering(statuses: &'static [u16], answer: &'static [u8]) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let exports: Arc<Mutex<Vec<Export>>> = Arc::default();
        let (kept, mut statuses) = (Arc::clone(&exports), statuses.iter().copied());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some((head, body)) = http::read_request(&stream) else { continue };
                let status = statuses.next().unwrap_or(200);
                kept.lock().unwrap().push(Export { head, body });
                let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", answer.len());
                let _ = stream.write_all(answer);
            }
        });
        Collector { address, exports }
    }

    /// The shell lines that make a gateway send its traces here soon.
    fn environment(&self, more: &str) -> String {
        let address = self.address;
        format!("export OTEL_EXPORTER_OTLP_ENDPOINT=http://{address} OTEL_BSP_SCHEDULE_DELAY=20 {more};")
    }

    fn exports(&self) -> Vec<Export> {
        self.exports.lock().unwrap().clone()
    }

    /// Waits for so many spans, and returns them.
    fn spans(&self, count: usize) -> Vec<Span> {
        wait(|| {
            let spans: Vec<Span> = self.exports().iter().flat_map(|export| spans(&export.body)).collect();
            (spans.len() >= count).then_some(spans)
        })
    }
}

/// A value of a field in Protocol Buffers.
#[derive(Clone, Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn number(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// Reads the fields of a message.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        let mut take = |length: usize| {
            let (taken, rest) = bytes.split_at(length);
            bytes = rest;
            taken.to_vec()
        };
        let field = match tag & 7 {
            1 => Field::Number(u64::from_le_bytes(take(8).try_into().unwrap())),
            5 => Field::Number(u64::from(u32::from_le_bytes(take(4).try_into().unwrap()))),
            0 => Field::Number(number(&mut bytes)),
            2 => {
                let length = number(&mut bytes);
                let (taken, rest) = bytes.split_at(length as usize);
                bytes = rest;
                Field::Bytes(taken.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, field));
    }
    found
}

/// Returns the messages in a field.
fn messages(message: &[u8], field: u64) -> Vec<Vec<u8>> {
    let of_field = |(number, value): (u64, Field)| match value {
        Field::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(of_field).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(message: &[u8], field: u64) -> HashMap<String, String> {
    let attribute = |attribute: Vec<u8>| {
        let key = String::from_utf8(messages(&attribute, 1).remove(0)).unwrap();
        let value = match fields(&messages(&attribute, 2)[0]).remove(0).1 {
            Field::Bytes(text) => String::from_utf8(text).unwrap(),
            Field::Number(number) => number.to_string(),
        };
        (key, value)
    };
    messages(message, field).into_iter().map(attribute).collect()
}

#[derive(Clone, Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    start: u64,
    end: u64,
    attributes: HashMap<String, String>,
    /// Trace and span of each link.
    links: Vec<(String, String)>,
    is_error: bool,
}

/// Reads the spans of a request to the collector.
fn spans(body: &[u8]) -> Vec<Span> {
    let scopes = messages(body, 1).into_iter().flat_map(|resource| messages(&resource, 2));
    scopes.flat_map(|scope| messages(&scope, 2)).map(|span| read_span(&span)).collect()
}

fn read_span(message: &[u8]) -> Span {
    let mut span = Span { attributes: attributes(message, 9), ..Span::default() };
    for (field, value) in fields(message) {
        match (field, value) {
            (1, Field::Bytes(id)) => span.trace = hex(&id),
            (2, Field::Bytes(id)) => span.id = hex(&id),
            (4, Field::Bytes(id)) => span.parent = hex(&id),
            (5, Field::Bytes(name)) => span.name = String::from_utf8(name).unwrap(),
            (6, Field::Number(kind)) => span.kind = kind,
            (7, Field::Number(time)) => span.start = time,
            (8, Field::Number(time)) => span.end = time,
            (13, Field::Bytes(link)) => {
                span.links.push((hex(&messages(&link, 1)[0]), hex(&messages(&link, 2)[0])));
            }
            (15, Field::Bytes(_)) => span.is_error = true,
            _ => {}
        }
    }
    span
}

/// A gateway whose environment has these shell lines.
fn start(upstream: &Upstream, environment: &str) -> ServeProcess {
    upstream.json("*", &person("p-secret-id"));
    let gateway =
        ServeProcess::start(&format!("{}{CUSTOMER_ROUTES}{LOGS}", base(upstream.address)), environment);
    let known = http::send(gateway.admin, "POST", "/v1/subjects/p-secret-id/events", &[], NOTICE.as_bytes());
    assert_eq!(known.status, 200, "{}", known.text());
    gateway
}

fn get(gateway: &ServeProcess, path: &str, recipient: &str, purpose: &str, headers: &[&str]) -> Answer {
    let (bearer, purpose) = (bearer(recipient), format!("data-purpose: {purpose}"));
    http::get(gateway.address, path, &[&[bearer.as_str(), &purpose], headers].concat())
}

fn support(gateway: &ServeProcess, headers: &[&str]) -> Answer {
    get(gateway, "/customers/p-secret-id", "support", "customer-support", headers)
}

/// Returns the fields of the last request to the upstream.
fn forwarded(upstream: &Upstream, name: &str) -> Option<String> {
    let head = upstream.seen.lock().unwrap().last().cloned().unwrap();
    head.lines().find_map(|line| Some(line.strip_prefix(&format!("{name}: "))?.to_owned()))
}

fn access_log(gateway: &ServeProcess) -> Vec<serde_json::Value> {
    let folder = std::fs::read_dir(gateway.folder.path().join("access")).unwrap();
    let files = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let text: String = files.collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn attribute<'s>(span: &'s Span, name: &str) -> &'s str {
    span.attributes.get(name).map_or("", String::as_str)
}

#[test]
fn an_exchange_is_a_span_with_children_under_its_configured_names() {
    let (upstream, collector) = (Upstream::start(), Collector::start(&[]));
    let gateway = start(&upstream, &collector.environment("OTEL_SERVICE_NAME=gate"));
    let answer = support(&gateway, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let spans = collector.spans(4);
    let [exchange, decision, call, log] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((exchange.name.as_str(), exchange.kind), ("GET /customers/{id}", 2));
    assert_eq!((exchange.parent.as_str(), exchange.links.len(), exchange.is_error), ("", 0, false));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/customers/{id}"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("purposegate.recipient", "support"),
        ("purposegate.purpose", "customer-support"),
        ("purposegate.route", "customer"),
        ("purposegate.mode", "enforce"),
        ("purposegate.outcome", "released"),
    ] {
        assert_eq!(attribute(exchange, name), value, "{name}");
    }
    assert_eq!((decision.name.as_str(), decision.kind), ("decision", 1));
    assert_eq!((call.name.as_str(), call.kind), ("GET", 3));
    assert_eq!(attribute(call, "purposegate.upstream"), "crm");
    assert_eq!(attribute(call, "server.address"), "127.0.0.1");
    assert_eq!(attribute(call, "server.port"), upstream.address.port().to_string());
    assert_eq!(attribute(call, "http.response.status_code"), "200");
    assert_eq!((log.name.as_str(), attribute(log, "purposegate.log.records")), ("disclosure log", "1"));
    for child in [decision, call, log] {
        assert_eq!((&child.trace, &child.parent), (&exchange.trace, &exchange.id));
        assert!(exchange.start <= child.start && child.start <= child.end && child.end <= exchange.end);
    }
    assert!(decision.end <= call.start && call.end <= log.start, "{spans:#?}");
    assert_eq!(forwarded(&upstream, "traceparent"), Some(format!("00-{}-{}-01", call.trace, call.id)));

    let export = collector.exports().remove(0);
    assert!(export.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", export.head);
    assert!(export.head.contains("content-type: application/x-protobuf\r\n"), "{}", export.head);
    let resource = attributes(&messages(&messages(&export.body, 1)[0], 1)[0], 1);
    assert_eq!(resource["service.name"], "gate");

    let decision = http::get(gateway.admin, &format!("/v1/decisions/{}", answer.decision()), &[]).json();
    assert_eq!(decision["trace"], json!(exchange.trace));
    assert_eq!(access_log(&gateway)[0]["trace"], json!(exchange.trace));
    wait_until(|| gateway.metric("purposegate_traced_exchanges_total{outcome=\"exported\"}") == 1.0);
}

#[test]
fn nothing_that_a_recipient_sends_or_receives_is_in_a_span() {
    let (upstream, collector) = (Upstream::start(), Collector::start(&[]));
    let gateway = start(&upstream, &collector.environment(""));
    let marked = [
        "x-request-id: secret-header",
        "user-agent: secret-agent",
        "tracestate: secret=1",
        "referer: secret",
    ];
    assert_eq!(support(&gateway, &marked).status, 200);
    let refused =
        get(&gateway, "/customers/p-secret-id?secret=secret", "support", "customer-support", &marked);
    assert_eq!(refused.status, 422);
    assert_eq!(get(&gateway, "/secret-path", "support", "customer-support", &marked).status, 404);
    assert_eq!(get(&gateway, "/customers/p-secret-id", "support", "secret", &marked).status, 400);
    assert_eq!(
        get(&gateway, "/customers/p-secret-id", "nobody-secret", "customer-support", &marked).status,
        401
    );
    let (bearer, purpose) = (bearer("support"), "data-purpose: customer-support");
    http::send(
        gateway.address,
        "POST",
        "/customers/p-secret-id",
        &[bearer.as_str(), purpose, "content-type: application/json"],
        b"{\"name\": \"secret\"}",
    );
    let other = http::send(
        gateway.address,
        "SECRETMETHOD",
        "/customers/p-secret-id",
        &[bearer.as_str(), purpose],
        b"",
    );
    assert!(other.status >= 400, "{}", other.text());
    let spans = wait(|| {
        let spans = collector.spans(1);
        (spans.iter().filter(|span| span.kind == 2).count() == 7).then_some(spans)
    });
    let outcome = |code: &str| spans.iter().any(|span| attribute(span, "purposegate.outcome") == code);
    assert!(
        outcome("query-on-withheld-field") && outcome("not-found") && outcome("credential-invalid"),
        "{spans:#?}"
    );
    assert!(spans.iter().any(|span| span.name == "HTTP"), "{spans:#?}");
    for export in collector.exports() {
        let received = String::from_utf8_lossy(&export.body).to_lowercase();
        let address = gateway.address.to_string();
        for value in ["secret", "name-p", "example.org", "pgk_", "referer", address.as_str()] {
            assert!(!received.contains(value), "{value}: {received}");
        }
        // An id in binary form.
        for decision in
            access_log(&gateway).iter().map(|line| line["decision"].as_str().unwrap().to_lowercase())
        {
            assert!(!received.contains(&decision), "{decision}");
        }
    }
}

#[test]
fn only_the_own_organisation_continues_its_traces() {
    let (upstream, collector) = (Upstream::start(), Collector::start(&[]));
    let gateway = start(&upstream, &collector.environment(""));
    let caller = [CALLER, "tracestate: vendor=1"];
    assert_eq!(support(&gateway, &caller).status, 200);
    let employee = collector.spans(4).remove(0);
    assert_eq!(employee.trace, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((employee.parent.as_str(), employee.links.len()), ("b7ad6b7169203331", 0));
    assert_eq!(forwarded(&upstream, "tracestate").as_deref(), Some("vendor=1"));

    upstream.raw("/open", upstream::answer("200 OK", "", b"open"));
    assert_eq!(get(&gateway, "/open", "registrar", "domain-registration", &caller).status, 200);
    let spans = wait(|| {
        let spans = collector.spans(5);
        spans.iter().any(|span| attribute(span, "purposegate.recipient") == "registrar").then_some(spans)
    });
    let of_partner = |span: &&Span| attribute(span, "purposegate.recipient") == "registrar";
    let span = spans.iter().find(of_partner).unwrap();
    assert_ne!(span.trace, "0af7651916cd43dd8448eb211c80319c");
    let link = ("0af7651916cd43dd8448eb211c80319c".to_owned(), "b7ad6b7169203331".to_owned());
    assert_eq!((span.parent.as_str(), &span.links), ("", &vec![link]));
    assert_eq!(forwarded(&upstream, "tracestate"), None);
    assert!(!forwarded(&upstream, "traceparent").unwrap().contains("b7ad6b7169203331"));
    let lines = access_log(&gateway);
    assert_eq!(lines.iter().map(|line| &line["trace"]).collect::<Vec<_>>(), [&employee.trace, &span.trace]);

    // A caller that does not record its trace decides for the own organisation alone.
    let unsampled = [CALLER.trim_end_matches("01").to_owned() + "00"];
    let unsampled = [unsampled[0].as_str()];
    assert_eq!(support(&gateway, &unsampled).status, 200);
    assert!(forwarded(&upstream, "traceparent").unwrap().ends_with("-00"));
    get(&gateway, "/customers/p-secret-id", "registrar", "domain-registration", &unsampled);
    let servers = |spans: &[Span], name: &str| {
        spans.iter().filter(|span| attribute(span, "purposegate.recipient") == name).count()
    };
    let spans = wait(|| Some(collector.spans(5)).filter(|spans| servers(spans, "registrar") == 2));
    assert_eq!(servers(&spans, "support"), 1);
}

#[test]
fn an_upstream_cannot_send_the_ids_of_a_trace_to_a_partner() {
    let (upstream, collector) = (Upstream::start(), Collector::start(&[]));
    let gateway = start(&upstream, &collector.environment(""));
    let echo = "traceparent: 00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=1\r\ntraceresponse: 00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx-other: 1\r\n";
    upstream.raw("/open", upstream::answer("200 OK", echo, b"open"));
    let answer = get(&gateway, "/open", "registrar", "domain-registration", &[CALLER]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-other"), Some("1"));
    for name in ["traceparent", "tracestate", "traceresponse"] {
        assert_eq!(answer.header(name), None, "{name}");
    }

    // An error of the upstream that leaves as it came.
    upstream.raw("/open", upstream::answer("503 Service Unavailable", "", b"open"));
    assert_eq!(get(&gateway, "/open", "registrar", "domain-registration", &[]).status, 503);
    let types = wait(|| {
        let servers = collector.spans(1).into_iter().filter(|span| span.kind == 2);
        Some(servers.map(|span| attribute(&span, "error.type").to_owned()).collect::<Vec<_>>())
            .filter(|types| types.len() == 2)
    });
    assert_eq!(types, ["", "503"]);
}

#[test]
fn without_an_endpoint_or_where_they_are_off_there_are_no_traces() {
    let (upstream, collector) = (Upstream::start(), Collector::start(&[]));
    for environment in [String::new(), collector.environment("OTEL_SDK_DISABLED=true")] {
        let mut gateway = start(&upstream, &environment);
        let answer = support(&gateway, &[CALLER, "tracestate: vendor=1"]);
        assert_eq!(answer.status, 200);
        assert_eq!(forwarded(&upstream, "traceparent").as_deref(), CALLER.strip_prefix("traceparent: "));
        assert_eq!(forwarded(&upstream, "tracestate").as_deref(), Some("vendor=1"));
        assert!(access_log(&gateway)[0].get("trace").is_none());
        let decision = http::get(gateway.admin, &format!("/v1/decisions/{}", answer.decision()), &[]).json();
        assert!(decision.get("trace").is_none(), "{decision}");
        gateway.signal("-TERM");
        gateway.child.wait().unwrap();
    }
    assert_eq!(collector.exports().len(), 0);
}

#[test]
fn a_collector_that_is_down_or_silent_holds_up_nothing() {
    let upstream = Upstream::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let environment = format!(
            "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{address} OTEL_BSP_MAX_QUEUE_SIZE=1 OTEL_BSP_SCHEDULE_DELAY=1;"
        );
        let mut gateway = start(&upstream, &environment);
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(support(&gateway, &[]).status, 200);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let full = "purposegate_traced_exchanges_total{outcome=\"queue-full\"}";
        wait_until(|| gateway.metric(full) >= 10.0);
        let stopping = Instant::now();
        gateway.signal("-TERM");
        gateway.child.wait().unwrap();
        assert!(stopping.elapsed() < Duration::from_secs(20), "{:?}", stopping.elapsed());
    }
}

#[test]
fn a_batch_is_sent_again_until_the_collector_takes_it() {
    let (upstream, collector) = (Upstream::start(), Collector::start(&[503, 200, 400]));
    let more = "OTEL_EXPORTER_OTLP_COMPRESSION=gzip OTEL_EXPORTER_OTLP_HEADERS=x-token=a%20secret";
    let gateway = start(&upstream, &collector.environment(more));
    let count = |outcome: &str| {
        gateway.metric(&format!("purposegate_traced_exchanges_total{{outcome=\"{outcome}\"}}"))
    };
    support(&gateway, &[]);
    wait_until(|| count("exported") == 1.0);
    let exports = collector.exports();
    assert_eq!((exports.len(), &exports[0].body), (2, &exports[1].body));
    assert!(exports[0].head.contains("x-token: a secret\r\n"), "{}", exports[0].head);
    assert!(exports[0].head.contains("content-encoding: gzip\r\n"), "{}", exports[0].head);
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(&exports[0].body[..]).read_to_end(&mut body).unwrap();
    assert_eq!(spans(&body).len(), 4);
    support(&gateway, &[]);
    wait_until(|| count("export-failed") == 1.0);
    assert_eq!(collector.exports().len(), 3, "a refused batch is not sent again");
    let log = gateway.log();
    assert!(log.contains("the collector does not take traces") && !log.contains("a secret"), "{log}");
}

#[test]
fn spans_that_the_collector_rejects_are_counted() {
    // Field 1, a message of 10 bytes: field 1 is 3, field 2 a message of the collector.
    let answer = b"\x0a\x0a\x08\x03\x12\x06secret";
    let (upstream, collector) = (Upstream::start(), Collector::answering(&[503], answer));
    let gateway = start(&upstream, &collector.environment(""));
    assert_eq!(gateway.metric("purposegate_rejected_spans_total"), 0.0);
    support(&gateway, &[]);
    wait_until(|| gateway.metric("purposegate_traced_exchanges_total{outcome=\"exported\"}") == 1.0);
    wait_until(|| gateway.log().contains("the collector rejects spans"));
    // Once, of the batch that it took.
    assert_eq!(gateway.metric("purposegate_rejected_spans_total"), 3.0);
    assert_eq!(collector.exports().len(), 2, "what it rejects is not sent again");
    assert!(!gateway.log().contains("secret"), "{}", gateway.log());
}

#[test]
fn a_stop_sends_what_is_queued() {
    let (upstream, collector) = (Upstream::start(), Collector::start(&[]));
    let environment = collector.environment("").replace("=20 ", "=600000 ");
    let mut gateway = start(&upstream, &environment);
    assert_eq!(support(&gateway, &[]).status, 200);
    assert_eq!(collector.exports().len(), 0);
    gateway.signal("-TERM");
    assert!(gateway.child.wait().unwrap().success());
    assert_eq!(collector.spans(4).len(), 4);
}

#[test]
fn a_setting_that_is_not_supported_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("purposegate.toml");
    let upstream = Upstream::start();
    std::fs::write(&file, format!("{}{CUSTOMER_ROUTES}", base(upstream.address))).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_purposegate"))
        .args(["serve", "--config"])
        .arg(&file)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && words.contains("http/protobuf"), "{words}");
}
