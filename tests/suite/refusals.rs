//! Every refusal of docs/problem-codes.md, through a real socket.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::fixtures::{CUSTOMER, CUSTOMER_SCHEMA, KNOWN};
use crate::gateway::{TestGateway, base, bearer, credential, key, start_with_routes, wait_until};
use crate::http::{self, Answer};
use crate::upstream::{Upstream, answer};

const ROUTES: &str = r#"
[[route]]
name = "customer"
upstream = "crm"
methods = ["GET", "POST", "PUT"]
path = "/customers/{id}"
schema = "customer"
max-request-body = 64
[route.query]
page = "non-personal"
email = "email"
phone = "phone"

[[route]]
name = "strict"
upstream = "crm"
path = "/strict/{id}"
schema = "customer"
withheld = "deny"
max-deny-body = 4096

[[route]]
name = "hidden"
upstream = "crm"
path = "/hidden/{id}"
schema = "customer"
withheld = "deny"
hide-existence = true

[[route]]
name = "quiet"
upstream = "crm"
path = "/quiet/{id}"
schema = "customer"
hide-existence = true

[[route]]
name = "orders"
upstream = "crm"
path = "/people/{id}/orders"
record = "$.items[*]"
subject = "{id}"
withheld = "deny"
hide-existence = true
[route.fields]
"@.for" = "name"

[[route]]
name = "all"
upstream = "crm"
path = "/all"
record = "$[*]"
subject = "@.id"
withheld = "deny"
[route.fields]
"@.id" = "subject-identifier"
"@.name" = "name"

[[route]]
name = "support-only"
upstream = "crm"
path = "/support-only"
purposes = ["customer-support"]
schema = "customer"

[[route]]
name = "dark"
upstream = "nowhere"
path = "/dark"
schema = "customer"
"#;

fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    upstream.json("/customers/c-1", CUSTOMER);
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_SCHEMA}{ROUTES}", base(upstream.address)));
    gateway.record_event("c-1", KNOWN);
    (upstream, gateway)
}

/// Asserts that an answer is this problem document and contains no value of the record.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}\n{}", answer.head, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let problem = answer.json();
    assert_eq!(problem["code"], code);
    assert_eq!(problem["type"], format!("urn:purposegate:problem:{code}"));
    assert_eq!(problem["status"], status);
    assert!(
        problem["title"].is_string() && problem["detail"].is_string() && problem["decision"].is_string(),
        "{problem}"
    );
    assert!(problem["contact"].is_string(), "{problem}");
    for value in ["Ada", "ada@example.org"] {
        assert!(!answer.text().contains(value) && !answer.head.contains(value), "{problem}");
    }
}

#[test]
fn a_missing_malformed_or_unknown_purpose_is_refused() {
    let (upstream, gateway) = start_gateway();
    let ask = |purpose: &[&str]| {
        let authorization = bearer("support");
        let mut headers = vec![authorization.as_str()];
        headers.extend(purpose);
        http::get(gateway.address, "/customers/c-1", &headers)
    };
    refused(&ask(&[]), 400, "purpose-missing");
    refused(&ask(&["purpose: customer-support", "sec-purpose: customer-support"]), 400, "purpose-missing");
    refused(&ask(&["data-purpose: customer-support, billing"]), 400, "purpose-malformed");
    refused(
        &ask(&["data-purpose: customer-support", "data-purpose: customer-support"]),
        400,
        "purpose-malformed",
    );
    refused(&ask(&["data-purpose: world-domination"]), 400, "purpose-unknown");
    for basis in ["consent", "contract", "legitimate-interest", "public-task", "\"dpv:Consent\""] {
        refused(&ask(&[&format!("data-purpose: {basis}")]), 400, "legal-basis-as-purpose");
    }
    assert_eq!(upstream.requests(), 0, "a refused request reaches no upstream");
    assert_eq!(ask(&["data-purpose: customer-support;case=\"C-1\""]).status, 200);
}

#[test]
fn a_malformed_request_is_refused_and_the_connection_closed() {
    let (upstream, gateway) = start_gateway();
    for target in [
        "/customers/../customers/c-1",
        "/customers//c-1",
        "/customers/%63-1",
        "/customers/c-1;x=1",
        "/customers/c%2f1",
    ] {
        let answer = gateway.get(target, "support", "customer-support");
        refused(&answer, 400, "request-malformed");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let two_hosts =
        format!("GET /customers/c-1 HTTP/1.1\r\nhost: a\r\nhost: b\r\n{}\r\n\r\n", bearer("support"));
    refused(&http::raw(gateway.address, two_hosts.as_bytes()), 400, "request-malformed");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn exactly_one_valid_credential_is_required() {
    let (_upstream, gateway) = start_gateway();
    let ask = |headers: &[&str]| {
        http::get(gateway.address, "/customers/c-1", &[headers, &["data-purpose: customer-support"]].concat())
    };
    refused(&ask(&[]), 401, "credential-missing");
    refused(&ask(&["authorization: Bearer pgk_nobody_0"]), 401, "credential-invalid");
    refused(
        &ask(&[&bearer("support"), &format!("x-api-key: {}", key("reseller"))]),
        401,
        "credential-invalid",
    );
    assert_eq!(ask(&[&format!("x-api-key: {}", key("support"))]).status, 200);
    assert!(ask(&[]).header("www-authenticate").is_some());
}

#[test]
fn refusals_known_in_advance_do_not_call_the_upstream() {
    let (upstream, gateway) = start_gateway();
    let wrong = gateway.get("/customers/c-1", "reseller", "customer-support");
    refused(&wrong, 403, "purpose-not-permitted");
    assert_eq!(wrong.json()["permitted_purposes"], serde_json::json!(["reseller-follow-up"]));
    refused(&gateway.get("/support-only", "support", "direct-marketing"), 403, "purpose-not-permitted");
    refused(&gateway.get("/customers/c-1", "lapsed", "reseller-follow-up"), 403, "agreement-not-in-force");
    refused(&gateway.get("/customers/c-1", "police", "law-enforcement"), 403, "legal-reference-missing");
    refused(&gateway.get("/customers/c-1", "support", "data-sale"), 403, "no-rule-permits");
    let alter = http::send(
        gateway.address,
        "PUT",
        "/customers/c-1",
        &[&bearer("registrar"), "data-purpose: domain-registration"],
        b"{}",
    );
    refused(&alter, 403, "no-rule-permits");
    let suspended = gateway.post_admin("/v1/recipients/reseller/events", br#"{"kind": "suspended"}"#);
    assert_eq!(suspended.status, 200, "{}", suspended.text());
    refused(&gateway.get("/customers/c-1", "reseller", "reseller-follow-up"), 403, "recipient-suspended");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn all_or_nothing_routes_release_nothing_when_a_subject_is_withheld() {
    let (upstream, gateway) = start_gateway();
    for path in ["/strict/c-1", "/hidden/c-1"] {
        upstream.json(path, CUSTOMER);
    }
    let released = gateway.get("/strict/c-1", "support", "customer-support");
    assert_eq!(released.json()["name"], "Ada Example");
    gateway.record_event("c-1", r#"{"kind": "restriction"}"#);
    refused(&gateway.get("/strict/c-1", "support", "customer-support"), 403, "subject-withheld");
    let withheld = gateway.get("/hidden/c-1", "support", "customer-support");
    refused(&withheld, 404, "not-found");
    let absent = gateway.get("/hidden/c-2", "support", "customer-support");
    refused(&absent, 404, "not-found");
    // The recipient's own decision does not distinguish the two either.
    let outcome = |answer: &Answer| {
        let id = answer.decision();
        let page = format!("/.well-known/data-purposes/decisions/{id}");
        http::get(gateway.address, &page, &[&bearer("support")]).json()["outcome"].clone()
    };
    assert_eq!(outcome(&withheld), outcome(&absent));
    upstream.json("/strict/long", &format!("{{\"id\": \"c-1\", \"pad\": \"{}\"}}", "x".repeat(5000)));
    refused(&gateway.get("/strict/long", "support", "customer-support"), 502, "upstream-unreadable");
}

#[test]
fn an_answer_without_a_record_is_hidden_as_the_record_would_be() {
    let (upstream, gateway) = start_gateway();
    let path = "/people/c-1/orders";
    let one = |body: &str| ("200 OK", "content-type: application/json\r\n", body.to_owned());
    let answers = [
        ("204 No Content", "", String::new()),
        ("200 OK", "", String::new()),
        one(r#"{"items": []}"#),
        one("[]"),
    ];
    let ask = |(status, head, body): &(&str, &str, String)| {
        upstream.raw(path, answer(status, head, body.as_bytes()));
        gateway.get(path, "support", "customer-support")
    };
    for known in &answers {
        assert!(known.0.starts_with(&ask(known).status.to_string()), "{known:?}");
    }
    gateway.record_event("c-1", r#"{"kind": "erasure"}"#);
    let order = one(r#"{"items": [{"for": "Ada"}]}"#);
    for hidden in answers.iter().chain([&order]) {
        refused(&ask(hidden), 404, "not-found");
    }
}

#[test]
fn max_deny_body_bounds_the_decoded_body() {
    let (upstream, gateway) = start_gateway();
    let ask = |path: &str| gateway.get(path, "support", "customer-support");
    let of =
        |padding: usize| format!("{{\"id\": \"c-1\", \"pad\": \"{}\"}}", "x".repeat(padding)).into_bytes();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    for (path, padding, coded) in [
        ("/strict/whole", 4000, false),
        ("/strict/too-long", 5000, false),
        ("/strict/coded", 4000, true),
        ("/strict/coded-too-long", 5000, true),
    ] {
        let mut body = of(padding);
        let mut head = head.to_owned();
        if coded {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(&body).unwrap();
            (body, head) = (gzip.finish().unwrap(), head + "content-encoding: gzip\r\n");
        }
        upstream
            .raw(path, [format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes(), body].concat());
        if padding > 4096 {
            refused(&ask(path), 502, "upstream-unreadable");
        } else {
            assert_eq!(ask(path).status, 200, "{path}");
        }
    }
    // One record that comes in two parts counts once.
    let body = of(4000);
    upstream.script("/strict/parts", move |_, stream| {
        let (one, two) = body.split_at(3000);
        let _ = stream.write_all(format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes());
        let _ = stream.write_all(one);
        std::thread::sleep(Duration::from_millis(100));
        let _ = stream.write_all(two);
    });
    assert_eq!(ask("/strict/parts").status, 200);
}

#[test]
fn a_subject_restricted_in_flight_is_withheld_on_deny_routes() {
    let (upstream, gateway) = start_gateway();
    gateway.record_event("c-2", KNOWN);
    let (resume, resumed) = std::sync::mpsc::channel::<()>();
    let resumed = std::sync::Mutex::new(resumed);
    upstream.script("/all", move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(format!("{head}[{{\"id\":\"c-1\",\"name\":\"Ada\"}},").as_bytes());
        resumed.lock().unwrap().recv().unwrap();
        let _ = stream.write_all(br#"{"id":"c-2","name":"Bob"}]"#);
    });
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| gateway.get("/all", "support", "customer-support"));
        // Gives the gateway time to read and judge the first record.
        std::thread::sleep(Duration::from_millis(200));
        gateway.record_event("c-1", r#"{"kind": "restriction"}"#);
        resume.send(()).unwrap();
        refused(&answer.join().unwrap(), 403, "subject-withheld");
    });
}

#[test]
fn head_reveals_no_more_than_get() {
    let (upstream, gateway) = start_gateway();
    let head = |path: &str| gateway.send("HEAD", path, ("support", "customer-support"), &[], b"").status;
    for path in ["/strict/c-1", "/hidden/c-1"] {
        upstream.json(path, CUSTOMER);
        assert_eq!(head(path), 200);
    }
    gateway.record_event("c-1", r#"{"kind": "restriction"}"#);
    assert_eq!((head("/strict/c-1"), head("/hidden/c-1"), head("/hidden/c-2")), (403, 404, 404));
    for gone in ["409 Conflict", "410 Gone", "423 Locked", "451 Unavailable"] {
        upstream.raw("/hidden/c-3", answer(gone, "", b""));
        refused(&gateway.get("/hidden/c-3", "support", "customer-support"), 404, "not-found");
    }
    for path in ["/hidden/c-4", "/quiet/c-4"] {
        upstream.raw(path, answer("200 OK", "content-type: application/json\r\n", b"{"));
        refused(&gateway.get(path, "support", "customer-support"), 404, "not-found");
        assert_eq!(head(path), 404, "{path}");
    }
    upstream.json("/quiet/c-1", CUSTOMER);
    assert_eq!(head("/quiet/c-1"), 200);
}

#[test]
fn a_recipient_that_disconnects_before_anything_leaves_is_not_on_record() {
    let (upstream, gateway) = start_gateway();
    upstream.script("/customers/c-1", |_, _| std::thread::sleep(Duration::from_millis(300)));
    for wait in [0, 1, 2, 5, 20] {
        let request = format!(
            "GET /customers/c-1 HTTP/1.1\r\nhost: x\r\n{}\r\ndata-purpose: customer-support;case=\"W-{wait}\"\r\n\r\n",
            bearer("support")
        );
        let mut stream = http::connect(gateway.address);
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(wait));
    }
    upstream.json("/customers/c-2", CUSTOMER);
    assert_eq!(gateway.get("/customers/c-2", "support", "customer-support;case=\"W-all\"").status, 200);
    gateway.wait_for_log("W-all");
    let log = gateway.log();
    assert_eq!(log.matches("\"case\":\"W-").count(), 1, "nothing was disclosed to the others: {log}");
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let (_upstream, gateway) = start_gateway();
    refused(&gateway.get("/elsewhere", "support", "customer-support"), 404, "not-found");
    let ask = |method| {
        http::send(
            gateway.address,
            method,
            "/customers/c-1",
            &[&bearer("support"), "data-purpose: customer-support"],
            b"",
        )
    };
    refused(&ask("DELETE"), 405, "method-not-allowed");
    for method in ["OPTIONS", "TRACE"] {
        let refusal = ask(method);
        refused(&refusal, 405, "method-not-allowed");
        assert_eq!(refusal.header("allow"), Some(""), "refused before the credential is read");
    }
    refused(&ask("BREW"), 501, "method-not-implemented");
    refused(&ask("get"), 501, "method-not-implemented");
}

#[test]
fn oversized_and_slow_requests_are_refused() {
    let (upstream, gateway) = start_gateway();
    let headers = [bearer("support"), "data-purpose: customer-support".to_owned()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let long = format!("/customers/{}", "a".repeat(9000));
    refused(&http::get(gateway.address, &long, &headers), 414, "uri-too-long");
    let big = format!("x-big: {}", "b".repeat(17_000));
    refused(
        &http::get(gateway.address, "/customers/c-1", &[&headers[..], &[&big]].concat()),
        431,
        "headers-too-large",
    );
    let many: Vec<String> = (0..70).map(|n| format!("x-{n}: 1")).collect();
    let many: Vec<&str> = headers.iter().copied().chain(many.iter().map(String::as_str)).collect();
    refused(&http::get(gateway.address, "/customers/c-1", &many), 431, "headers-too-large");
    refused(
        &http::send(gateway.address, "POST", "/customers/c-1", &headers, &[b'x'; 65]),
        413,
        "body-too-large",
    );
    refused(
        &http::get(gateway.address, "/customers/c-1", &[&headers[..], &["expect: tea"]].concat()),
        417,
        "expectation-failed",
    );
    // The body is announced with ten bytes, of which two are sent.
    let stalled = format!(
        "POST /customers/c-1 HTTP/1.1\r\nhost: x\r\n{}\r\n{}\r\ncontent-length: 10\r\n\r\nab",
        headers[0], headers[1]
    );
    let impatient =
        base(upstream.address).replace("request-timeout = \"10s\"", "request-timeout = \"300ms\"");
    let gateway = TestGateway::start(&format!("{impatient}{CUSTOMER_SCHEMA}{ROUTES}"));
    refused(&http::raw(gateway.address, stalled.as_bytes()), 408, "request-timeout");
}

#[test]
fn an_authority_that_is_not_listed_is_refused() {
    let upstream = Upstream::start();
    let config = base(upstream.address)
        .replace("request-timeout", "authorities = [\"api.example.org\"]\nrequest-timeout");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_SCHEMA}{ROUTES}"));
    let ask = |host: &str| {
        let request = format!(
            "GET /customers/c-1 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{}\r\ndata-purpose: customer-support\r\n\r\n",
            bearer("support")
        );
        http::raw(gateway.address, request.as_bytes())
    };
    refused(&ask("evil.example"), 421, "authority-not-served");
    assert_eq!(ask("api.example.org").status, 404, "the upstream has nothing there, and was asked");
}

#[test]
fn only_listed_and_visible_query_parameters_pass() {
    let (upstream, gateway) = start_gateway();
    let ask = |query: &str, recipient: &str, purpose: &str| {
        gateway.get(&format!("/customers/c-1{query}"), recipient, purpose)
    };
    refused(&ask("?sort=name", "support", "customer-support"), 422, "query-on-withheld-field");
    refused(&ask("?page=2&fields=email", "support", "customer-support"), 422, "query-on-withheld-field");
    refused(&ask("?page=2;email=ada", "support", "customer-support"), 400, "request-malformed");
    assert_eq!(upstream.requests(), 0);
    assert_eq!(ask("?page=2", "support", "customer-support").status, 200);
    assert_eq!(ask("?email=ada%40example.org", "support", "customer-support").status, 200);
}

#[test]
fn a_recipient_above_its_rate_is_refused() {
    let upstream = Upstream::start();
    upstream.json("/customers/c-1", CUSTOMER);
    let config = base(upstream.address)
        .replace("name = \"support\"", "name = \"support\"\nrate = { requests = 2, per = \"1h\" }");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_SCHEMA}{ROUTES}"));
    let ask = || gateway.get("/customers/c-1", "support", "customer-support");
    assert_eq!((ask().status, ask().status), (200, 200));
    let third = ask();
    refused(&third, 429, "too-many-requests");
    // A further request is permitted every half hour.
    let seconds: u32 = third.header("retry-after").unwrap().parse().unwrap();
    assert!((1_700..=1_800).contains(&seconds), "{seconds}");
    assert_eq!(third.json()["retry_after"], seconds);
}

#[test]
fn retry_after_of_the_upstream_passes_in_seconds() {
    let (upstream, gateway) = start_with_routes(&format!("{CUSTOMER_SCHEMA}{ROUTES}"));
    for (retry_after, passes) in [("7", Some("7")), ("soon, Jane", None), ("+5", None), ("4294967295", None)]
    {
        let head = format!("retry-after: {retry_after}\r\n");
        upstream.raw("/customers/c-1", answer("429 Too Many Requests", &head, b"{}"));
        let refusal = gateway.get("/customers/c-1", "support", "customer-support");
        refused(&refusal, 429, "upstream-refused");
        assert_eq!(refusal.header("retry-after"), passes);
    }
}

#[test]
fn a_hidden_refusal_has_no_retry_after() {
    let (upstream, gateway) = start_gateway();
    for status in ["403 Forbidden", "423 Locked"] {
        upstream.raw("/hidden/c-1", answer(status, "retry-after: 77\r\n", b"{}"));
        let refusal = gateway.get("/hidden/c-1", "support", "customer-support");
        refused(&refusal, 404, "not-found");
        assert!(refusal.header("retry-after").is_none() && refusal.json().get("retry_after").is_none());
    }
}

#[test]
fn a_method_that_is_not_served_gets_the_allow_header() {
    let (upstream, gateway) = start_with_routes(&format!("{CUSTOMER_SCHEMA}{ROUTES}"));
    let refusal = gateway.send("PATCH", "/customers/c-1", ("support", "customer-support"), &[], b"{}");
    refused(&refusal, 405, "method-not-allowed");
    assert!(refusal.header("allow").unwrap().starts_with("GET, HEAD"), "{}", refusal.head);
    upstream.raw("/customers/c-1", answer("405 Method Not Allowed", "allow: PURGE\r\n", b"{}"));
    let refusal = gateway.get("/customers/c-1", "support", "customer-support");
    refused(&refusal, 405, "upstream-refused");
    assert_eq!(refusal.header("allow"), Some(""));
}

#[test]
fn a_locked_credential_learns_only_its_own_purpose() {
    let upstream = Upstream::start();
    let locked = credential("support").replace('}', ", purpose = \"customer-support\" }");
    let config = base(upstream.address).replace(&credential("support"), &locked);
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_SCHEMA}{ROUTES}"));
    let refusal = gateway.get("/customers/c-1", "support", "account-management");
    refused(&refusal, 403, "purpose-not-permitted");
    assert_eq!(refusal.json()["permitted_purposes"], serde_json::json!(["customer-support"]));
    let page = http::get(gateway.address, "/.well-known/data-purposes", &[&bearer("support")]).json();
    assert_eq!(page["purposes"], serde_json::json!(["customer-support"]));
    let other =
        http::send(gateway.address, "PUT", "/.well-known/data-purposes", &[&bearer("support")], b"{}");
    refused(&other, 405, "method-not-allowed");
    assert_eq!(other.header("allow"), Some("GET, HEAD"));
}

#[test]
fn a_credential_can_be_locked_to_a_narrower_purpose() {
    let upstream = Upstream::start();
    let locked = credential("support").replace('}', ", purpose = \"direct-marketing\" }");
    let config = base(upstream.address).replace(&credential("support"), &locked).replacen(
        "purposes = [\"customer-support\", \"direct-marketing\"",
        "purposes = [\"customer-support\", \"marketing\"",
        1,
    );
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_SCHEMA}{ROUTES}"));
    let page = http::get(gateway.address, "/.well-known/data-purposes", &[&bearer("support")]).json();
    assert_eq!(page["purposes"], serde_json::json!(["direct-marketing"]));
}

#[test]
fn exchanges_above_max_exchanges_are_refused() {
    let upstream = Upstream::start();
    let (resume, resumed) = std::sync::mpsc::channel::<()>();
    let resumed = std::sync::Mutex::new(resumed);
    upstream.script("/customers/c-1", move |_, stream| {
        resumed.lock().unwrap().recv().unwrap();
        let _ =
            stream.write_all(&answer("200 OK", "content-type: application/json\r\n", CUSTOMER.as_bytes()));
    });
    let config = base(upstream.address).replace("request-timeout", "max-exchanges = 1\nrequest-timeout");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_SCHEMA}{ROUTES}"));
    let mut first = http::connect(gateway.address);
    let request = format!(
        "GET /customers/c-1 HTTP/1.1\r\nhost: x\r\n{}\r\ndata-purpose: customer-support\r\n\r\n",
        bearer("support")
    );
    first.write_all(request.as_bytes()).unwrap();
    wait_until(|| upstream.requests() > 0);
    let second = gateway.get("/customers/c-1", "support", "customer-support");
    refused(&second, 503, "overloaded");
    assert!(second.header("retry-after").is_some());
    resume.send(()).unwrap();
    let mut line = [0u8; 12];
    first.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 200");
}

#[test]
fn a_slow_upstream_times_out() {
    let upstream = Upstream::start();
    // Waits until the gateway closes the connection.
    upstream.script("/customers/c-1", |_, stream| drop(std::io::copy(stream, &mut std::io::sink())));
    let impatient = base(upstream.address).replace("\ntimeout = \"10s\"", "\ntimeout = \"300ms\"");
    let gateway = TestGateway::start(&format!("{impatient}{CUSTOMER_SCHEMA}{ROUTES}"));
    refused(&gateway.get("/customers/c-1", "support", "customer-support"), 504, "upstream-timeout");
}

#[test]
fn upstream_faults_are_refused_without_their_content() {
    let (upstream, gateway) = start_gateway();
    let ask = |path: &str| gateway.get(path, "support", "customer-support");
    let json = "content-type: application/json\r\n";
    let leaking = answer("404 ada@example.org not found", json, CUSTOMER.as_bytes());
    upstream.raw("/customers/c-2", leaking);
    let refusal = ask("/customers/c-2");
    refused(&refusal, 404, "upstream-refused");
    upstream.raw("/customers/c-3", answer("500 Oops", json, CUSTOMER.as_bytes()));
    refused(&ask("/customers/c-3"), 500, "upstream-refused");
    let padded =
        |size| answer("200 OK", &format!("{json}x-pad: {}\r\n", "x".repeat(size)), CUSTOMER.as_bytes());
    upstream.raw("/customers/c-1", padded(60_000));
    assert_eq!(ask("/customers/c-1").status, 200);
    let unreadable: Vec<(&str, Vec<u8>)> = vec![
        ("big-head", padded(66_000)),
        ("csv", answer("200 OK", "content-type: text/csv\r\n", b"ada@example.org")),
        ("untyped", answer("200 OK", "", CUSTOMER.as_bytes())),
        ("cut", answer("200 OK", json, &CUSTOMER.as_bytes()[..40])),
        ("two", answer("200 OK", json, format!("{CUSTOMER}{CUSTOMER}").as_bytes())),
        ("bom", answer("200 OK", json, "\u{feff}".as_bytes())),
        ("double", answer("200 OK", json, br#"{"id": "c-1", "name": "Ada", "name": "Ada"}"#)),
        ("coding", answer("200 OK", &format!("{json}content-encoding: compress\r\n"), CUSTOMER.as_bytes())),
        ("not-gzip", answer("200 OK", &format!("{json}content-encoding: gzip\r\n"), CUSTOMER.as_bytes())),
        (
            "no-transform",
            answer("200 OK", &format!("{json}cache-control: no-transform\r\n"), CUSTOMER.as_bytes()),
        ),
        ("moved", answer("302 Found", "location: /people/ada@example.org\r\n", b"")),
        ("partial", answer("206 Partial Content", json, CUSTOMER.as_bytes())),
        ("unmodified", answer("304 Not Modified", "", b"")),
        ("precondition", answer("412 Precondition Failed", json, b"{}")),
        ("range", answer("416 Range Not Satisfiable", json, b"{}")),
        ("garbage", b"ada@example.org\r\n\r\n".to_vec()),
        ("short", format!("HTTP/1.1 200 OK\r\n{json}content-length: 400\r\n\r\n{CUSTOMER}").into_bytes()),
        (
            "big-record",
            answer(
                "200 OK",
                json,
                format!("{{\"id\": \"c-1\", \"name\": \"{}\"}}", "x".repeat(2 << 20)).as_bytes(),
            ),
        ),
    ];
    for (name, bytes) in unreadable {
        let path = format!("/customers/{name}");
        upstream.raw(&path, bytes);
        let refusal = ask(&path);
        assert_eq!(refusal.status, 502, "{name}");
        refused(&refusal, 502, "upstream-unreadable");
    }
    refused(&ask("/dark"), 502, "upstream-unreachable");
    let log = gateway.log_bytes();
    assert!(!log.contains("ada@example.org") && !log.contains("Ada Example"));
}
