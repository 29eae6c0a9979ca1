//! The race between an answer in flight and a withdrawal. It corresponds to the "new enemy" problem of Zanzibar and
//! SpiceDB: data released on the old consent must not leave after the withdrawal was acknowledged.

use std::io::{Read, Write};

use crate::fixtures::{CONSENT, person, start_customer_gateway};
use crate::gateway::{TestGateway, start_with_routes};
use crate::http;
use crate::upstream::Upstream;

/// Number of records; far more than the buffers between gateway and recipient hold.
const PEOPLE: usize = 60_000;

fn serve_list(upstream: &Upstream) {
    upstream.script("/customers", |_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"items\": [",
        );
        let mut chunk = String::new();
        for n in 0..PEOPLE {
            if n > 0 {
                chunk.push(',');
            }
            chunk.push_str(&person(&format!("p-{n}")));
            if chunk.len() > 32 * 1024 || n + 1 == PEOPLE {
                if stream.write_all(chunk.as_bytes()).is_err() {
                    return;
                }
                chunk.clear();
            }
        }
        let _ = stream.write_all(b"]}");
    });
}

fn record_consents(gateway: &TestGateway) {
    record_all(gateway, 0..PEOPLE, "consent-given");
}

fn record_all(gateway: &TestGateway, people: impl Iterator<Item = usize>, kind: &str) {
    let lines: String = people
        .map(|n| format!("{{\"subject\": \"p-{n}\", \"kind\": \"{kind}\", \"purpose\": \"direct-marketing\", \"notice\": \"v1\"}}\n"))
        .collect();
    let answer = gateway.post_admin("/v1/events:batch", lines.as_bytes());
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("error"), "{}", &answer.text()[..500]);
}

#[test]
fn nothing_leaves_after_a_withdrawal_is_acknowledged() {
    let (upstream, gateway) = start_customer_gateway();
    serve_list(&upstream);
    record_consents(&gateway);
    let (mut stream, mut bytes) = begin(&gateway, "/customers");
    assert!(String::from_utf8_lossy(&bytes).contains("Name-p-1\""), "those who consent are in it");

    let withdrawing = format!("p-{}", PEOPLE - 10);
    gateway.record_event(&withdrawing, r#"{"kind": "consent-withdrawn", "purpose": "marketing"}"#);
    stream.read_to_end(&mut bytes).unwrap();

    let answer = http::parse(&bytes);
    assert!(answer.complete);
    let text = answer.text();
    assert!(
        !text.contains(&format!("Name-{withdrawing}\""))
            && !text.contains(&format!("{withdrawing}@example.org"))
    );
    let items = answer.json();
    let items = items["items"].as_array().unwrap();
    assert_eq!(items.len(), PEOPLE);
    assert_eq!(items[PEOPLE - 10], serde_json::json!({"id": withdrawing, "status": "active"}));
    assert_eq!(items[PEOPLE - 9]["name"], format!("Name-p-{}", PEOPLE - 9));
}

/// Sends a request and reads only the beginning of the answer.
fn begin(gateway: &TestGateway, path: &str) -> (std::net::TcpStream, Vec<u8>) {
    let mut stream = gateway.begin_get(path, "support", "direct-marketing");
    let mut bytes = vec![0u8; 64 * 1024];
    stream.read_exact(&mut bytes).unwrap();
    (stream, bytes)
}

#[test]
fn data_scrubbed_again_are_logged_before_they_leave() {
    let (upstream, gateway) = start_customer_gateway();
    serve_list(&upstream);
    record_all(&gateway, (0..PEOPLE).step_by(2), "consent-given");
    let (mut stream, mut bytes) = begin(&gateway, "/customers");
    // While logged data wait for the recipient, the other half consents and some of the first half withdraw.
    record_all(&gateway, (1..PEOPLE).step_by(2), "consent-given");
    record_all(&gateway, (0..PEOPLE).step_by(100), "consent-withdrawn");
    stream.read_to_end(&mut bytes).unwrap();

    let answer = http::parse(&bytes);
    assert!(answer.complete);
    let left = answer.text().matches("\"Name-p-").count() as u64;
    let decision = answer.decision();
    let record = gateway.decision(&decision);
    let names =
        record["categories"]["name"].as_array().unwrap().iter().filter(|left| left["form"] == "clear");
    let logged: u64 = names.map(|left| left["fields"].as_u64().unwrap()).sum();
    assert!(logged >= left, "{left} names left, {logged} are on record");
}

/// The ledger is read again within the record: the part that left cannot be recalled, but the rest is withheld.
#[test]
fn a_large_record_is_cut_when_its_subject_withdraws() {
    const ROUTE: &str = r#"
[[route]]
name = "portrait"
upstream = "crm"
path = "/portraits/{id}"
subject = "$.id"
max-record = "32MiB"
[route.fields]
"$.id" = "non-personal"
"$.name" = "name"
"#;
    let (upstream, gateway) = start_with_routes(ROUTE);
    let name = "n".repeat(24 << 20);
    upstream.json("/portraits/p-1", &format!(r#"{{"id": "p-1", "name": "{name}"}}"#));
    gateway.record_event("p-1", CONSENT);
    let (mut stream, mut bytes) = begin(&gateway, "/portraits/p-1");
    assert!(bytes.ends_with(b"nnnn"), "who consents is in it");

    gateway.record_event("p-1", r#"{"kind": "consent-withdrawn", "purpose": "marketing"}"#);
    stream.read_to_end(&mut bytes).unwrap();

    let answer = http::parse(&bytes);
    assert!(!answer.complete && answer.body.len() < name.len(), "{} bytes left", answer.body.len());
    gateway.wait_for_log("\"aborted\"");
}

/// A withheld record that is not an object leaves nothing in the list, not even a comma. The part after one that is
/// scrubbed again therefore depends on the new output of that part.
#[test]
fn a_list_of_values_stays_valid_json_after_withdrawals() {
    const ROUTE: &str = r#"
[[route]]
name = "emails"
upstream = "crm"
path = "/emails"
record = "$.emails[*]"
subject = "@"
[route.fields]
"@" = "email"
"#;
    let (upstream, gateway) = start_with_routes(ROUTE);
    let email = |n: usize| format!("p-{n}@{}.example", "x".repeat(100));
    let list: Vec<String> = (0..PEOPLE).map(email).collect();
    upstream.json("/emails", &serde_json::json!({ "emails": list }).to_string());
    let record_all = |people: &mut dyn Iterator<Item = usize>, kind: &str| {
        let line = |n| {
            format!(
                "{{\"subject\": \"{}\", \"kind\": \"{kind}\", \"purpose\": \"direct-marketing\", \"notice\": \"v1\"}}\n",
                email(n)
            )
        };
        let lines: String = people.map(line).collect();
        assert_eq!(gateway.post_admin("/v1/events:batch", lines.as_bytes()).status, 200);
    };
    // The first hundred do not consent, so a part of the answer starts without an element before it.
    record_all(&mut (100..PEOPLE), "consent-given");
    let (mut stream, mut bytes) = begin(&gateway, "/emails");
    record_all(&mut (PEOPLE / 2..PEOPLE).filter(|n| n % 700 > 2), "consent-withdrawn");
    stream.read_to_end(&mut bytes).unwrap();

    let answer = http::parse(&bytes);
    assert!(answer.complete);
    let left = answer.json()["emails"].as_array().unwrap().clone();
    let expected: Vec<usize> = (100..PEOPLE).filter(|&n| n < PEOPLE / 2 || n % 700 <= 2).collect();
    let expected_last: Vec<serde_json::Value> =
        expected.iter().rev().take(50).map(|&n| email(n).into()).collect();
    assert_eq!(left.iter().rev().take(50).cloned().collect::<Vec<_>>(), expected_last);
}
