//! One-click opt-out of marketing: each person has a link that needs no credential and is in force at once.

use serde_json::json;

use crate::fixtures::{CONSENT, CUSTOMER_ROUTES, NOTICE, person, start_customer_gateway};
use crate::gateway::{TestGateway, base, bearer};
use crate::http;

const ONE_CLICK: &str = "List-Unsubscribe=One-Click";
const FORM: &str = "content-type: application/x-www-form-urlencoded";

/// Starts a gateway with a person who consents to marketing; returns their link, too.
fn start_with_consent() -> (crate::upstream::Upstream, TestGateway, String) {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", CONSENT);
    let link = link(&gateway, "p-1");
    (upstream, gateway, link)
}

fn link(gateway: &TestGateway, subject: &str) -> String {
    let answer = gateway.get_admin(&format!("/v1/subjects/{subject}/opt-out-link")).json();
    assert_eq!(answer["list-unsubscribe-post"], ONE_CLICK);
    answer["path"].as_str().unwrap().to_owned()
}

fn click(gateway: &TestGateway, link: &str) -> http::Answer {
    http::send(gateway.address, "POST", link, &[FORM], ONE_CLICK.as_bytes())
}

fn is_released_for_marketing(gateway: &TestGateway) -> bool {
    gateway.get("/customers/p-1", "support", "direct-marketing").text().contains("Name-p-1")
}

fn events(gateway: &TestGateway) -> usize {
    gateway.get_admin("/v1/subjects/p-1/events").json().as_array().map_or(0, Vec::len)
}

#[test]
fn a_click_is_an_objection_in_force_with_its_answer() {
    let (_upstream, gateway, link) = start_with_consent();
    for _ in 0..10 {
        assert!(is_released_for_marketing(&gateway));
        let answer = click(&gateway, &link);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!is_released_for_marketing(&gateway));
        gateway.record_event("p-1", CONSENT);
    }
    click(&gateway, &link);
    let last = gateway.get_admin("/v1/subjects/p-1/events").json();
    let last = last.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["purpose"], &last["channel"]),
        (&json!("objection"), &json!("marketing"), &json!("one-click"))
    );
    let support = gateway.get("/customers/p-1", "support", "customer-support");
    assert!(support.text().contains("Name-p-1"), "what a contract needs goes on");
}

#[test]
fn withdrawals_and_refusals_stop_legitimate_interest_like_objections() {
    let (upstream, gateway) = start_customer_gateway();
    let said = |kind: &str, purpose: &str| format!(r#"{{"kind": "{kind}", "purpose": "{purpose}"}}"#);
    let follows_up = |id: &str| {
        gateway.get(&format!("/customers/{id}"), "reseller", "reseller-follow-up").text().contains("Name-")
    };
    for (id, kind) in [
        ("p-1", None),
        ("p-2", Some("objection")),
        ("p-3", Some("consent-withdrawn")),
        ("p-4", Some("consent-refused")),
    ] {
        upstream.json(&format!("/customers/{id}"), &person(id));
        gateway.record_event(id, r#"{"kind": "fact", "facts": {"country": "DE"}}"#);
        gateway.record_event(id, r#"{"kind": "relation", "relation": "product-download"}"#);
        gateway.record_event(id, &said("consent-given", "marketing"));
        assert!(follows_up(id), "{kind:?}");
        match kind {
            None => assert_eq!(click(&gateway, &link(&gateway, id)).status, 200),
            Some(kind) => drop(gateway.record_event(id, &said(kind, "marketing"))),
        }
        assert!(!follows_up(id), "{kind:?}");
        gateway.record_event(id, &said("consent-given", "product-news"));
        assert!(!follows_up(id), "a consent to something else: {kind:?}");
        gateway.record_event(id, &said("consent-given", "reseller-follow-up"));
        assert!(follows_up(id), "a later consent to it: {kind:?}");
    }
}

#[test]
fn an_override_applies_to_a_refusal() {
    let upstream = crate::upstream::Upstream::start();
    let config = base(upstream.address).replace(r#""data-sale""#, r#""data-sale", "survey""#);
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    upstream.json("/customers/p-1", &person("p-1"));
    let is_released = || gateway.get("/customers/p-1", "support", "survey").text().contains("Name-");
    let refused = r#"{"kind": "consent-refused", "purpose": "survey"}"#;
    let overridden = r#"{"kind": "objection-overridden", "purpose": "survey", "evidence": "memo 7"}"#;
    gateway.record_event("p-1", NOTICE);
    assert!(is_released());
    gateway.record_event("p-1", refused);
    assert!(!is_released());
    gateway.record_event("p-1", overridden);
    assert!(is_released());
    gateway.record_event("p-1", refused);
    assert!(!is_released(), "said again after it was overridden");
}

#[test]
fn a_second_click_changes_nothing() {
    let (_upstream, gateway, link) = start_with_consent();
    let first = click(&gateway, &link);
    let known = events(&gateway);
    for _ in 0..5 {
        let again = click(&gateway, &link);
        assert_eq!((again.status, again.text()), (first.status, first.text()));
    }
    assert_eq!(events(&gateway), known);
    let stranger = click(&gateway, &self::link(&gateway, "somebody-nobody-knows"));
    assert_eq!((stranger.status, stranger.text()), (first.status, first.text()), "nor whether one is known");
}

#[test]
fn other_requests_to_the_link_change_nothing() {
    let (_upstream, gateway, link) = start_with_consent();
    let known = events(&gateway);
    let page = http::get(gateway.address, &link, &[]);
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")));
    assert!(page.text().contains("<form method=\"post\">") && page.text().contains("One-Click"));
    assert!(!page.text().contains("p-1"), "a page in a browser's history names nobody");
    let head = http::send(gateway.address, "HEAD", &link, &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let send = |method: &str, headers: &[&str], body: &str| {
        http::send(gateway.address, method, &link, headers, body.as_bytes()).status
    };
    assert_eq!(send("POST", &[FORM], ""), 400);
    assert_eq!(send("POST", &[FORM], "List-Unsubscribe=Maybe"), 400);
    assert_eq!(send("POST", &[FORM], &"x".repeat(5000)), 413);
    assert_eq!(send("PUT", &[FORM], ONE_CLICK), 405);
    assert_eq!(send("DELETE", &[], ""), 405);
    assert_eq!(send("POST", &["data-purpose: direct-marketing", &bearer("support")], ""), 400);
    assert_eq!(send("GET", &[FORM], ONE_CLICK), 200);
    assert_eq!(events(&gateway), known);
    assert!(is_released_for_marketing(&gateway));
}

#[test]
fn a_click_can_be_multipart() {
    let (_upstream, gateway, link) = start_with_consent();
    let body =
        "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    let headers = ["content-type: multipart/form-data; boundary=b"];
    assert_eq!(http::send(gateway.address, "POST", &link, &headers, body.as_bytes()).status, 200);
    assert!(!is_released_for_marketing(&gateway));
}

#[test]
fn a_forged_link_is_not_found_and_changes_nothing() {
    let (_upstream, gateway, link) = start_with_consent();
    let (_other_upstream, other, others) = start_with_consent();
    let known = events(&gateway);
    let token = link.rsplit('/').next().unwrap();
    assert!(!token.contains("p-1"));
    let swapped = if link.ends_with('A') { 'B' } else { 'A' };
    let changed = format!("{}{swapped}", &link[..link.len() - 1]);
    let middle = link.len() - 30;
    let replaced = if link.as_bytes()[middle] == b'x' { "y" } else { "x" };
    let tampered = format!("{}{replaced}{}", &link[..middle], &link[middle + 1..]);
    let cut = &link[..link.len() - 8];
    let empty = link.replace(token, "");
    for wrong in [changed.as_str(), &tampered, cut, &empty, &others, &format!("{link}/x")] {
        for answer in [click(&gateway, wrong), http::get(gateway.address, wrong, &[])] {
            assert_eq!(answer.status, 404, "{wrong}");
            let text = answer.text();
            assert!(text.contains("cannot be read") && text.contains("Data Protection Officer"), "{text}");
        }
    }
    assert_eq!(events(&gateway), known);
    assert_eq!(click(&other, &others).status, 200);
}
