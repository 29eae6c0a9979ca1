//! Questions to the disclosure log of a running gateway: the list of decisions, and receipts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::{NOTICE, person, start_customer_gateway};
use crate::gateway::{TestGateway, bearer};
use crate::http::{self, Answer};

/// The list of decisions that a query selects, page by page.
fn decisions(gateway: &TestGateway, query: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.get_admin(&format!("/v1/decisions?limit={limit}{query}{cursor}"));
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        assert_eq!(page["complete"], true);
        let decisions = page["decisions"].as_array().unwrap();
        assert!(decisions.len() <= limit);
        found.extend(decisions.iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[test]
fn decisions_are_listed_by_recipient_purpose_outcome_and_case_before_and_after_they_are_indexed() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", NOTICE);
    let mut asked = Vec::new();
    for number in 0..7 {
        let purpose = format!("customer-support;case=\"T-{number}\"");
        asked.push(gateway.get("/customers/p-1", "support", &purpose).decision());
    }
    let refused = gateway.get("/customers/p-1", "support", "no-such-purpose").decision();
    asked.reverse();
    let ids = |found: Vec<Value>| -> Vec<Value> { found.iter().map(|one| one["decision"].clone()).collect() };
    let began = Instant::now();
    // The index follows the log within seconds.
    while began.elapsed() < Duration::from_secs(5) {
        for limit in [1, 3, 50] {
            assert_eq!(ids(decisions(&gateway, "&recipient=support&purpose=customer-support", limit)), asked);
        }
        assert_eq!(ids(decisions(&gateway, "&outcome=refused:purpose-unknown", 50)), [json!(refused)]);
        assert_eq!(ids(decisions(&gateway, "&case=T-3", 50)), [json!(asked[3])]);
        assert_eq!(decisions(&gateway, "&recipient=nobody", 50), Vec::<Value>::new());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(decisions(&gateway, "&case=T-3", 1)[0], gateway.decision(&asked[3]));
    for wrong in ["limit=0", "limit=501", "limit=x", "cursor=AAAA", "since=yesterday", "unknown=1"] {
        assert_eq!(gateway.get_admin(&format!("/v1/decisions?{wrong}")).status, 400, "{wrong}");
    }
    let metrics = gateway.metrics();
    assert!(metrics.contains("purposegate_recipient_people{recipient=\"support\"} 1"), "{metrics}");
    assert!(gateway.log().contains("/v1/decisions\""), "on record as an act");
}

fn receipt(gateway: &TestGateway, recipient: &str, id: &str) -> Answer {
    let path = format!("/.well-known/data-purposes/decisions/{id}/receipt");
    http::get(gateway.address, &path, &[&bearer(recipient)])
}

#[test]
fn a_recipient_gets_receipts_of_its_own_decisions() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", NOTICE);
    let id = gateway.get("/customers/p-1", "support", "customer-support").decision();
    let began = Instant::now();
    let receipt_of_own = loop {
        let answer = receipt(&gateway, "support", &id);
        if answer.status == 200 {
            break answer.json();
        }
        assert_eq!((answer.status, answer.header("retry-after")), (404, Some("1")), "{}", answer.text());
        assert_eq!(answer.json()["code"], "receipt-pending");
        assert!(began.elapsed() < Duration::from_secs(10), "a checkpoint is published every second");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(receipt_of_own["decision"], json!(id));
    let head = &receipt_of_own["entries"][0]["head"];
    assert_eq!((&head["recipient"], &head["outcome"]), (&json!("support"), &json!("released")));
    let origin = receipt_of_own["origin"].as_str().unwrap();
    assert!(receipt_of_own["checkpoint"].as_str().unwrap().starts_with(&format!("{origin}\n")));
    for hidden in ["subjects", "records", "factors", "actor"] {
        assert!(head.get(hidden).is_none(), "{head}");
    }
    let of_another = receipt(&gateway, "reseller", &id);
    assert_eq!((of_another.status, of_another.header("retry-after")), (404, None), "another's");
    for unknown in ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "x"] {
        assert_eq!(receipt(&gateway, "support", unknown).status, 404, "{unknown}");
        assert_eq!(gateway.get_admin(&format!("/v1/decisions/{unknown}/receipt")).status, 404, "{unknown}");
    }
    let by_administrator = gateway.get_admin(&format!("/v1/decisions/{id}/receipt")).json();
    assert_eq!(by_administrator["entries"][0]["leaf"], receipt_of_own["entries"][0]["leaf"]);
    assert_eq!(receipt(&gateway, "support", "").status, 400, "an empty segment");
}
