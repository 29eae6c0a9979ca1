//! Errors of the upstream: the members that a route maps leave in the problem document, and nothing else does.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base, start_with_routes, wait};
use crate::http::Answer;
use crate::upstream::{Upstream, answer};

const ROUTES: &str = r#"
[[schema]]
name = "customer"
subject = ["{id}", "@.id"]
[schema.fields]
"@.id" = "subject-identifier"
"@.email" = "email"
"@.name" = "name"
"@.address.city" = "postal-address"

[[route]]
name = "customer"
upstream = "crm"
methods = ["GET", "POST"]
path = "/customers/{id}"
schema = "customer"
errors = { "$.errors[*].field" = "non-personal", "$.errors[*].code" = { category = "non-personal", codes = ["iban_checksum"] } }
query = { q = "name" }

[[route]]
name = "plain"
upstream = "crm"
methods = ["POST"]
path = "/plain/{id}"
schema = "customer"

[[route]]
name = "watched"
upstream = "crm"
path = "/watched/{id}"
schema = "customer"
purposes = ["customer-support"]
errors = { "$" = "non-personal" }
mode = "observe"
observe-until = 2999-12-31
allow = ["observe-mode"]
"#;

const JSON: &str = "content-type: application/json\r\n";
const REQUEST: &str = r#"{"email": "jane@example.org", "name": "Jane Doe", "address": {"city": "Kiel"}}"#;
const ERROR: &str = r#"{
    "title": "jane@example.org is taken by Anna Smith",
    "errors": [
        {"field": "email", "code": "already_exists", "message": "jane@example.org belongs to Anna Smith", "id": 4711},
        {"field": "address.city", "code": "Kiel"},
        {"field": "jane@example.org", "code": "Smith"},
        {"field": "name", "code": "iban_checksum"},
        {"field": "email@192.168.1.25", "code": "C-1042"},
        {"field": {"type": "Buffer", "data": [74, 97, 110, 101]}, "code": 24103},
        {"field": "iban_checksum", "code": {"iban_checksum": "required", "10043": "required"}}
    ]
}"#;

fn start() -> (Upstream, TestGateway) {
    let (upstream, gateway) = start_with_routes(ROUTES);
    gateway.record_event("c-1", KNOWN);
    (upstream, gateway)
}

fn mapped() -> Value {
    json!({"errors": [
        {"field": "email", "code": "already_exists"},
        {"field": "address.city"},
        {"field": "name", "code": "iban_checksum"},
    ]})
}

/// Sends the request, to which the upstream answers with this status, these headers and this body.
fn send(gateway: &TestGateway, upstream: &Upstream, method: &str, answers: (&str, &str, &[u8])) -> Answer {
    let (status, headers, body) = answers;
    upstream.raw("/customers/c-1", answer(status, headers, body));
    ask(gateway, method)
}

/// Sends a request, with a body if it is a POST.
fn ask(gateway: &TestGateway, method: &str) -> Answer {
    let (content_type, request): (&[&str], &[u8]) = match method {
        "POST" => (&["content-type: application/json"], REQUEST.as_bytes()),
        _ => (&[], b""),
    };
    gateway.send(method, "/customers/c-1", ("support", "customer-support"), content_type, request)
}

/// Returns the record of an answer's decision once it has this outcome. An answer can end before its closing record is written.
fn record_of(gateway: &TestGateway, answer: &Answer, outcome: &str) -> Value {
    let decision = answer.decision();
    wait(|| Some(gateway.decision(&decision)).filter(|record| record["outcome"] == outcome))
}

#[test]
fn mapped_members_leave_in_the_problem_document_and_are_on_record() {
    let (upstream, gateway) = start();
    for (status, reason) in [(409, "409 Jane"), (422, "422 Jane"), (500, "500 Jane")] {
        let answer = send(&gateway, &upstream, "POST", (reason, JSON, ERROR.as_bytes()));
        let problem = answer.json();
        assert_eq!(answer.outcome(), (status, "upstream-refused".to_owned()));
        assert_eq!(problem["upstream"], mapped(), "{problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        for personal in ["jane", "Jane", "Smith", "Kiel", "4711", "Buffer", "24103", "1042", "10043"] {
            assert!(!answer.text().contains(personal) && !answer.head.contains(personal), "{personal}");
        }
        let record = record_of(&gateway, &answer, "refused:upstream-refused");
        let fields = &record["categories"]["non-personal"][0];
        assert_eq!((&fields["form"], &fields["fields"]), (&json!("clear"), &json!(5)), "{record}");
    }
    assert!(!gateway.log().contains("jane@example.org"));
    assert!(gateway.metrics().contains(r#"category="non-personal",form="clear""#), "{}", gateway.metrics());
}

#[test]
fn what_the_gateway_adds_to_a_request_does_not_come_back() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("key"), "Bearer too_long\n").unwrap();
    let keyed = format!(
        "[[upstream]]\nname = \"keyed\"\nurl = \"http://{}\"\n\
         headers = {{ x-tenant-key = \"k-IBAN-checksum-8\", authorization = {{ file = \"key\" }} }}\n\
         [[route]]\nname = \"keyed\"\nupstream = \"keyed\"\npath = \"/keyed/{{id}}\"\nschema = \"customer\"\n\
         errors = {{ \"$.codes\" = {{ category = \"non-personal\", codes = [\"iban_checksum\"] }} }}\n",
        upstream.address
    );
    let routes =
        ROUTES.replace("\"$.errors[*].code\" =", "\"$.codes\" = \"non-personal\", \"$.errors[*].code\" =");
    let gateway = TestGateway::start_in(folder, &format!("{}{routes}{keyed}", base(upstream.address)));
    upstream.raw("*", answer("422 No", JSON, br#"{"codes": ["iban_checksum", "too_long", "required"]}"#));
    let codes = |path: &str| {
        let answer = gateway.get(path, "support", "customer-support");
        assert_eq!(answer.outcome(), (422, "upstream-refused".to_owned()), "{}", answer.text());
        answer.json()["upstream"]["codes"].clone()
    };
    assert_eq!(codes("/keyed/c-1"), json!(["required"]));
    assert_eq!(codes("/customers/c-1"), json!(["too_long", "required"]), "without the key");
    let seen = upstream.seen.lock().unwrap();
    assert!(seen.iter().any(|head| head.contains("x-tenant-key: k-IBAN-checksum-8")), "{seen:?}");
}

#[test]
fn an_error_without_members_is_refused_as_before() {
    let (upstream, gateway) = start();
    upstream.raw("/plain/c-1", answer("409 Conflict", JSON, ERROR.as_bytes()));
    let support = ("support", "customer-support");
    let plain =
        gateway.send("POST", "/plain/c-1", support, &["content-type: application/json"], REQUEST.as_bytes());
    let mut plain = plain.json();
    let long = format!(r#"{{"errors": [{{"field": "email"}}], "x": "{}"}}"#, "x".repeat(65_536));
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let coded = format!("{JSON}content-encoding: gzip\r\n");
    let cut = gzip(ERROR.as_bytes());
    for (name, headers, body) in [
        ("empty", JSON, &b""[..]),
        ("not JSON", JSON, b"email: required"),
        ("cut", JSON, br#"{"errors": [{"field": "email"}"#),
        ("two texts", JSON, br#"{"errors": [{"field": "email"}]} {}"#),
        ("nothing mapped", JSON, br#"{"field": "email"}"#),
        ("too long", JSON, long.as_bytes()),
        ("too long when decoded", &coded, &gzip(long.as_bytes())),
        ("a cut coding", &coded, &cut[..cut.len() - 4]),
        (
            "an unknown coding",
            "content-type: application/json\r\ncontent-encoding: compress\r\n",
            ERROR.as_bytes(),
        ),
        ("HTML", "content-type: text/html\r\n", ERROR.as_bytes()),
        ("no media type", "", ERROR.as_bytes()),
        ("other JSON", "content-type: application/vnd.api+json\r\n", ERROR.as_bytes()),
        ("lines", "content-type: application/x-ndjson\r\n", ERROR.as_bytes()),
        ("UTF-16", "content-type: application/json; charset=utf-16\r\n", ERROR.as_bytes()),
        (
            "two media types",
            "content-type: application/json\r\ncontent-type: application/json\r\n",
            ERROR.as_bytes(),
        ),
        (
            "no-transform",
            "content-type: application/json\r\ncache-control: no-transform\r\n",
            ERROR.as_bytes(),
        ),
    ] {
        let answer = send(&gateway, &upstream, "POST", ("409 Conflict", headers, body));
        let mut problem = answer.json();
        plain["decision"] = problem["decision"].take();
        problem["decision"] = plain["decision"].clone();
        assert_eq!(problem, plain, "{name}");
        let record = record_of(&gateway, &answer, "refused:upstream-refused");
        assert_eq!(record["categories"], json!({}), "{name}: {record}");
    }
}

#[test]
fn coded_problem_documents_and_errors_to_get_have_members() {
    let (upstream, gateway) = start();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(ERROR.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let headers = "content-type: application/problem+json; charset=utf-8\r\ncontent-encoding: gzip\r\n";
    let answer = send(&gateway, &upstream, "POST", ("400 Bad", headers, &gzip));
    assert_eq!(answer.json()["upstream"], mapped());
    // Without a body and a query the request has the id alone.
    let answer = send(
        &gateway,
        &upstream,
        "GET",
        ("404 None", JSON, br#"{"errors": [{"field": "id", "code": "not_found"}, {"code": "c-1"}]}"#),
    );
    assert_eq!(answer.json()["upstream"], json!({"errors": [{"field": "id", "code": "not_found"}]}));
    let record = record_of(&gateway, &answer, "refused:upstream-refused");
    assert_eq!(record["categories"]["non-personal"][0]["fields"], 2, "{record}");
    upstream.raw("/customers/c-1", answer_to_query());
    let answer = gateway.get("/customers/c-1?q=not+found", "support", "customer-support");
    assert_eq!(
        answer.json()["upstream"],
        json!({"errors": [{"field": "id"}]}),
        "a code of the query's words"
    );
}

fn answer_to_query() -> Vec<u8> {
    answer("404 None", JSON, br#"{"errors": [{"field": "id", "code": "not_found"}]}"#)
}

#[test]
fn requests_that_cannot_be_compared_have_no_members() {
    let (upstream, gateway) = start();
    upstream.raw("/customers/c-1", answer("400 Bad", JSON, ERROR.as_bytes()));
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(65_536));
    for (content_type, body) in [
        ("content-type: text/plain", REQUEST.as_bytes()),
        ("content-type: multipart/form-data; boundary=x", b"--x--"),
        ("content-type: application/json", b"{"),
        ("content-type: application/json", long.as_bytes()),
        ("content-type: application/x-www-form-urlencoded", b"name=%FF"),
    ] {
        let support = ("support", "customer-support");
        let answer = gateway.send("POST", "/customers/c-1", support, &[content_type], body);
        assert_eq!((answer.status, &answer.json()["upstream"]), (400, &Value::Null), "{content_type}");
    }
    let form = b"email=jane%40example.org&code=already_exists";
    let form_type = ["content-type: application/x-www-form-urlencoded"];
    let answer = gateway.send("POST", "/customers/c-1", ("support", "customer-support"), &form_type, form);
    let mapped = json!({"errors": [
        {"field": "email"},
        {"field": "address.city"},
        {"field": "name", "code": "iban_checksum"},
    ]});
    assert_eq!(answer.json()["upstream"], mapped, "the form sent the code");
}

#[test]
fn head_and_answers_that_are_not_whole_have_no_members() {
    let (upstream, gateway) = start();
    for status in ["304 Not Modified", "206 Partial Content", "302 Found", "412 Failed", "416 Range"] {
        let answer = send(&gateway, &upstream, "POST", (status, JSON, ERROR.as_bytes()));
        assert_eq!(answer.outcome(), (502, "upstream-unreadable".to_owned()), "{status}");
        assert_eq!(answer.json()["upstream"], Value::Null, "{status}");
    }
    upstream.raw(
        "/customers/c-1",
        "HTTP/1.1 409 Conflict\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n",
    );
    let answer = ask(&gateway, "HEAD");
    assert_eq!((answer.status, answer.text().as_str()), (409, ""));
}

#[test]
fn an_observed_error_leaves_as_it_came() {
    let (upstream, gateway) = start();
    upstream.raw("/watched/c-1", answer("409 Conflict", JSON, ERROR.as_bytes()));
    let answer = gateway.get("/watched/c-1", "support", "customer-support");
    assert_eq!((answer.status, answer.text().as_str()), (409, ERROR));
}

#[test]
fn nothing_of_an_error_leaves_to_a_recipient_that_was_suspended_meanwhile() {
    let (upstream, gateway) = start();
    let admin = gateway.admin;
    upstream.script("/customers/c-1", move |_, stream| {
        let suspended = r#"{"kind": "suspended"}"#;
        let answered =
            crate::http::send(admin, "POST", "/v1/recipients/support/events", &[], suspended.as_bytes());
        assert_eq!(answered.status, 200, "{}", answered.text());
        let _ = stream.write_all(&answer("409 Conflict", JSON, ERROR.as_bytes()));
    });
    let answer = ask(&gateway, "POST");
    assert_eq!(answer.outcome(), (403, "recipient-suspended".to_owned()));
    assert_eq!(answer.json()["upstream"], Value::Null);
}
