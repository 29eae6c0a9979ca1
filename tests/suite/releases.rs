//! Releases: each record by the consent of its subject, independent of the upstream's chunks and codings; their traces in
//! log and metrics.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person, start_customer_gateway};
use crate::gateway::{TestGateway, base, bearer, wait_until};
use crate::http;
use crate::upstream::{Upstream, answer};

fn given(purpose: &str) -> String {
    format!(r#"{{"kind": "consent-given", "purpose": "{purpose}", "notice": "v1"}}"#)
}

#[test]
fn a_wide_field_that_may_hold_never_released_data_is_withheld() {
    let upstream = Upstream::start();
    let routes =
        CUSTOMER_ROUTES.replace("\"@.name\" = \"name\"", "\"@.name\" = \"name\"\n\"@.card\" = \"payment\"");
    let gateway = TestGateway::start(&format!("{}{routes}", base(upstream.address)));
    upstream.json("/customers/p-1", r#"{"id": "p-1", "name": "Ada", "card": {"pan": "4111111111111111"}}"#);
    gateway.record_event("p-1", NOTICE);
    let answer = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!(answer.text(), r#"{"id": "p-1", "name": "Ada"}"#);
    let page = http::get(gateway.address, "/.well-known/data-purposes", &[&bearer("support")]).text();
    assert!(page.contains(".name"), "{page}");
    assert!(!page.contains("card"), "{page}");
}

#[test]
fn each_record_of_a_list_is_judged_by_its_own_subject() {
    let (upstream, gateway) = start_customer_gateway();
    let items: Vec<String> = ["p-1", "p-2", "p-3", "p-4"].iter().map(|id| person(id)).collect();
    upstream.json(
        "/customers",
        &format!(
            "{{ \"items\" : [ {} ], \"total\": 4.0, \"next\": \"/customers?after=p-4\" }}",
            items.join(" , ")
        ),
    );
    gateway.record_event("p-1", &given("direct-marketing"));
    gateway.record_event("p-2", &given("marketing"));
    gateway.record_event("p-2", r#"{"kind": "consent-withdrawn", "purpose": "direct-marketing"}"#);
    gateway.record_event("p-3", NOTICE);
    let answer = gateway.get("/customers", "support", "direct-marketing");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.text(),
        r#"{ "items" : [ {"id": "p-1", "name": "Name-p-1", "email": "p-1@example.org", "status": "active"} , {"id": "p-2", "status": "active"} , {"id": "p-3", "status": "active"} , {"id": "p-4", "status": "active"} ], "total": 4.0 }"#
    );
}

/// The gift is a record of its own, and nothing says whose: the consent of the customer does not release it.
#[test]
fn a_record_of_the_route_itself_is_nobodys_without_a_subject() {
    let of_orders = r#"
[[route]]
name = "orders"
upstream = "crm"
path = "/orders"
RECORD
[[route.records]]
path = "$.orders[*]"
subject = "@.customer.id"
fields = { "@.gift" = "name", "@.note" = "name" }
"#;
    let upstream = Upstream::start();
    upstream
        .json("/orders", r#"{"orders": [{"customer": {"id": "c-1"}, "note": "N", "gift": {"to": "Bob"}}]}"#);
    for (record, released) in [
        ("record = \"$.orders[*].gift\"", json!({"orders": [{"note": "N", "gift": {}}]})),
        ("", json!({"orders": [{"note": "N", "gift": {"to": "Bob"}}]})),
    ] {
        let config = format!("{}{}", base(upstream.address), of_orders.replace("RECORD", record));
        let gateway = TestGateway::start(&config);
        gateway.record_event("c-1", NOTICE);
        assert_eq!(gateway.get("/orders", "support", "customer-support").json(), released, "{record}");
    }
}

#[test]
fn a_withdrawal_is_in_force_with_its_acknowledgement() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    let ask = || gateway.get("/customers/p-1", "support", "direct-marketing").text();
    for _ in 0..20 {
        let recorded = gateway.record_event("p-1", &given("marketing"));
        assert_eq!(recorded["durable"], true);
        assert!(ask().contains("Name-p-1"));
        gateway.record_event("p-1", r#"{"kind": "consent-withdrawn", "purpose": "marketing"}"#);
        assert!(!ask().contains("Name-p-1"));
    }
}

#[test]
fn the_head_of_the_answer_is_built_by_the_gateway() {
    let (upstream, gateway) = start_customer_gateway();
    let headers = "content-type: application/json\r\nset-cookie: u=ada\r\netag: \"ada\"\r\nx-user: ada\r\nlink: </ada>\r\n";
    upstream.raw("/customers/p-1", answer("200 ada is here", headers, person("p-1").as_bytes()));
    gateway.record_event("p-1", NOTICE);
    let answer = gateway.get("/customers/p-1", "support", "customer-support;case=\"C-1\"");
    assert_eq!(
        answer.json(),
        json!({"id": "p-1", "name": "Name-p-1", "email": "p-1@example.org", "status": "active"})
    );
    assert!(!answer.head.contains("ada"), "{}", answer.head);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let applied = answer.header("data-purpose-applied").unwrap();
    assert!(applied.starts_with("customer-support;decision=\""), "{applied}");
    let head = http::send(
        gateway.address,
        "HEAD",
        "/customers/p-1",
        &[&bearer("support"), "data-purpose: customer-support"],
        b"",
    );
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), None);
}

#[test]
fn credentials_and_purposes_do_not_reach_the_upstream() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.get("/customers/p-1", "support", "customer-support");
    let seen = upstream.seen.lock().unwrap().concat().to_ascii_lowercase();
    for secret in ["authorization", "pgk_", "data-purpose"] {
        assert!(!seen.contains(secret), "{seen}");
    }
    assert!(seen.contains(&format!("host: {}", upstream.address)));
}

#[test]
fn content_codings_are_decoded() {
    let (upstream, gateway) = start_customer_gateway();
    gateway.record_event("p-1", NOTICE);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(person("p-1").as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(person("p-1").as_bytes(), 3).unwrap();
    for (coding, body) in [("gzip", &gzip), ("zstd", &zstd)] {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {coding}\r\n");
        upstream.raw("/customers/p-1", answer("200 OK", &headers, body));
        let answer = gateway.get("/customers/p-1", "support", "customer-support");
        assert_eq!(answer.json()["name"], "Name-p-1", "{coding}");
        assert_eq!(answer.header("content-encoding"), None);
        let cut = &body[..body.len() - 9];
        upstream.raw("/customers/p-1", self::answer("200 OK", &headers, cut));
        assert_eq!(
            gateway.get("/customers/p-1", "support", "customer-support").status,
            502,
            "{coding}, truncated"
        );
    }
}

#[test]
fn a_body_that_fails_late_is_cut() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.script("/customers", |_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"items\": [",
        );
        for n in 0..20_000 {
            let separator = if n == 0 { "" } else { "," };
            if stream.write_all(format!("{separator}{}", person(&format!("p-{n}"))).as_bytes()).is_err() {
                return;
            }
        }
        let _ = stream.write_all(b", {\"id\": \"p-late\", \"status\": \"SECRET-IN-A-BROKEN-RECORD\", } ]}");
    });
    let answer = gateway.get("/customers", "support", "customer-support");
    assert_eq!(answer.status, 200);
    assert!(!answer.complete, "the last chunk is missing");
    assert!(answer.text().contains("\"p-1\""));
    assert!(!answer.text().contains("SECRET-IN-A-BROKEN-RECORD"));
    gateway.wait_for_log("\"aborted\"");
    // HTTP/1.0 has no last chunk: a cut answer resets the connection instead of closing it.
    let old = |path: &str| {
        let mut stream = http::connect(gateway.address);
        let request = format!(
            "GET {path} HTTP/1.0\r\nhost: x\r\n{}\r\ndata-purpose: customer-support\r\n\r\n",
            bearer("support")
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        (stream.read_to_end(&mut answer).is_ok(), answer)
    };
    upstream.json("/customers/p-1", &person("p-1"));
    let (ended, answer) = old("/customers/p-1");
    assert!(ended && answer.ends_with(b"\"}"), "{}", String::from_utf8_lossy(&answer));
    assert!(!old("/customers").0);
}

#[test]
fn releases_are_logged_without_values() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", NOTICE);
    let answer = gateway.get("/customers/p-1", "support", "customer-support;case=\"C-77\"");
    let decision = answer.decision();
    let record = gateway.decision(&decision);
    assert_eq!(record["decision"], decision);
    assert_eq!(record["recipient"], "support");
    assert_eq!(record["purpose"], "customer-support");
    assert_eq!(record["case"], "C-77");
    assert!(record["gateway"].as_str().is_some_and(|name| !name.is_empty()), "{record}");
    assert_eq!(record["route"], "customer");
    assert_eq!(record["outcome"], "released");
    assert_eq!(record["records"], 1);
    assert_eq!(record["subjects"].as_array().map(Vec::len), Some(1));
    let name = record["categories"]["name"].clone();
    let name = if name.is_array() { name[0].clone() } else { name };
    assert_eq!((name["form"].as_str(), name["basis"].as_str()), (Some("clear"), Some("contract")));
    assert!(name["clauses"].as_array().is_some_and(|clauses| !clauses.is_empty()), "{record}");
    let password = record["categories"]["password"].clone();
    let password = if password.is_array() { password[0].clone() } else { password };
    assert_eq!(password["form"], "removed");
    assert_eq!(
        (&record["factors"]["purpose"], &record["factors"]["subjects"]),
        (&json!("permits"), &json!("permits"))
    );
    let everything = format!("{}{}{record}", gateway.log_bytes(), gateway.metrics());
    for value in ["Name-p-1", "p-1@example.org", "pw-p-1", "x-p-1", "\"p-1\"", "pgk_"] {
        assert!(!everything.contains(value), "{value}");
    }
}

#[test]
fn metrics_count_releases() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", NOTICE);
    gateway.get("/customers/p-1", "support", "customer-support");
    gateway.get("/customers/p-1", "support", "nonsense");
    let metrics = gateway.metrics();
    for line in [
        r#"purposegate_requests_total{outcome="released",purpose="customer-support",recipient="support",route="customer"} 1"#,
        r#"purposegate_fields_total{category="email",form="clear",purpose="customer-support",route="customer"} 1"#,
        r#"purposegate_fields_total{category="password",form="removed",purpose="customer-support",route="customer"} 1"#,
        r#"purposegate_unclassified_fields_total{route="customer"} 1"#,
        r#"purposegate_refusals_total{code="purpose-unknown",recipient="support"} 1"#,
        r#"purposegate_ledger_events_total{kind="notice"} 1"#,
        r#"purposegate_upstream_requests_total{status_class="2xx",upstream="crm"} 1"#,
        r#"purposegate_ledger_subjects 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert_eq!(gateway.get_admin("/healthz").status, 200);
    assert_eq!(gateway.get_admin("/readyz").json()["ready"], true);
}

#[test]
fn a_route_with_personal_false_passes_unread() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.raw("/open", answer("200 OK", "content-type: text/csv\r\nx-kept: 1\r\n", b"a,b\n1,2\n"));
    let answer = gateway.get("/open", "support", "customer-support");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a,b\n1,2\n"));
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!(http::get(gateway.address, "/open", &["data-purpose: customer-support"]).status, 401);
    // Hop-by-hop fields end at the gateway, and an upgrade of the protocol is refused.
    upstream.raw(
        "/open",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_vec(),
    );
    assert_eq!(gateway.get("/open", "support", "customer-support").status, 502);
    upstream.raw("/open", crate::upstream::answer("200 OK", "connection: x-hop\r\nx-hop: 1\r\n", b""));
    assert_eq!(gateway.get("/open", "support", "customer-support").header("x-hop"), None);
    upstream.raw("/open", crate::upstream::answer("200 OK", "content-type: text/csv\r\n", b""));
    assert_eq!(gateway.get("/open", "support", "customer-support").status, 200);
    let metrics = gateway.metrics();
    for line in [
        r#"purposegate_requests_total{outcome="released",purpose="customer-support",recipient="support",route="open"} 3"#,
        r#"purposegate_body_bytes_total{direction="in",route="open"} 8"#,
        r#"purposegate_body_bytes_total{direction="out",route="open"} 8"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(!metrics.contains(r#"outcome="aborted""#), "{metrics}");
}

#[test]
fn a_window_lists_each_subject_once() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers", &format!("{{\"items\": [{}]}}", vec![person("p-1"); 500].join(",")));
    assert_eq!(gateway.get("/customers", "support", "customer-support").json()["items"][499]["id"], "p-1");
    gateway.wait_for_log("\"released\"");
    let log = gateway.log();
    // One record, or several windows if the machine is busy and the body takes longer than 20 ms.
    let windows: Vec<&str> = log.lines().filter(|line| line.contains(r#""records":"#)).collect();
    let records = |window: &&str| {
        let (_, rest) = window.split_once(r#""records":"#).unwrap();
        rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap()].parse::<u32>().unwrap()
    };
    assert_eq!(windows.iter().map(records).sum::<u32>(), 500);
    assert!(windows.iter().all(|window| window.len() < 10_000), "{log}");
}

#[test]
fn every_log_record_is_counted() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.get("/customers/p-1", "support", "customer-support");
    gateway.get("/customers/p-1", "support", "nonsense");
    gateway.wait_for_log("\"released\"");
    gateway.wait_for_log("refused:");
    // Records about the log itself, such as the start of a process, are not counted.
    let records = gateway.log().lines().filter(|line| line.contains("\"decision\"")).count();
    assert!(gateway.log().contains(r#""factors":{"purpose":"refuses"}"#));
    assert_eq!(records, 2, "an exchange and a refusal");
    let counted = format!("purposegate_audit_records_total {records}\n");
    wait_until(|| gateway.metrics().contains(&counted));
}

#[test]
fn an_unread_body_is_cut_at_the_idle_timeout() {
    let upstream = Upstream::start();
    let config = base(upstream.address).replace("name = \"crm\"", "name = \"crm\"\nidle-timeout = \"200ms\"");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    upstream.script("/open", |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\na,b\n");
        // Waits until the gateway closes the connection.
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let answer = gateway.get("/open", "support", "customer-support");
    assert_eq!((answer.status, answer.complete, answer.text().as_str()), (200, false, "a,b\n"));
    gateway.wait_for_log("\"aborted\"");
}

#[test]
fn the_access_log_has_no_personal_values() {
    let (upstream, other) = start_customer_gateway();
    drop(other);
    let logs = tempfile::tempdir().unwrap();
    let section = format!("[access-log]\ndirectory = \"{}\"\n", logs.path().display());
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_ROUTES}{section}", base(upstream.address)));
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", NOTICE);
    let released = gateway.get("/customers/p-1", "support", "customer-support");
    gateway.get("/customers/p-1", "support", "nonsense");
    let file = std::fs::read_dir(logs.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!((&lines[0]["outcome"], &lines[0]["bytes"]), (&json!("released"), &json!(released.body.len())));
    assert_eq!(
        (&lines[1]["outcome"], &lines[1]["recipient"]),
        (&json!("purpose-unknown"), &json!("support"))
    );
    for (line, status) in lines.iter().zip([200, 400]) {
        assert_eq!((&line["method"], &line["status"]), (&json!("GET"), &json!(status)));
        let (milliseconds, microseconds) = (line["milliseconds"].as_u64(), line["microseconds"].as_u64());
        assert_eq!(milliseconds, microseconds.map(|microseconds| microseconds / 1000));
        assert!(microseconds > Some(0), "{line}");
    }
    for value in ["p-1", "Name", "customers/", "127.0.0.1", "pgk_"] {
        assert!(!text.contains(value), "{value}: {text}");
    }
}
