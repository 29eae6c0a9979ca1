//! Metrics that alerts rely on, and the help that recipients get: permitted purposes in refusals, and the methods that
//! work on the purpose page.

use serde_json::{Value, json};

use crate::fixtures::{CUSTOMER_ROUTES, person, start_customer_gateway};
use crate::gateway::{TestGateway, base, bearer};
use crate::http;
use crate::upstream::Upstream;

fn refused(gateway: &TestGateway, recipient: &str, purpose: &[&str]) -> Value {
    let bearer = bearer(recipient);
    let answer = http::get(gateway.address, "/customers", &[&[bearer.as_str()], purpose].concat());
    assert_eq!(answer.status, 400, "{}", answer.text());
    answer.json()
}

#[test]
fn a_refused_purpose_lists_the_permitted_ones() {
    let (_upstream, gateway) = start_customer_gateway();
    let own = json!(["customer-support", "direct-marketing", "data-sale", "account-management"]);
    let missing = refused(&gateway, "support", &[]);
    assert_eq!((&missing["code"], &missing["permitted_purposes"]), (&json!("purpose-missing"), &own));
    let unknown = refused(&gateway, "support", &["data-purpose: Customer-Support"]);
    assert_eq!((&unknown["code"], &unknown["permitted_purposes"]), (&json!("purpose-unknown"), &own));
    let detail = unknown["detail"].as_str().unwrap();
    assert!(detail.ends_with("did you mean `customer-support`?"), "{detail}");
    let basis = refused(&gateway, "support", &["data-purpose: consent"]);
    assert_eq!((&basis["code"], &basis["permitted_purposes"]), (&json!("legal-basis-as-purpose"), &own));
    // Purposes of other recipients are not disclosed, not even as the nearest name.
    let other = refused(&gateway, "support", &["data-purpose: reseller-follow-upp"]);
    assert!(!other.to_string().contains("reseller-follow-up"), "{other}");
    assert_eq!(refused(&gateway, "reseller", &[])["permitted_purposes"], json!(["reseller-follow-up"]));
    // An unidentified caller learns no purpose.
    let nobody = http::get(gateway.address, "/customers", &[]);
    assert!(nobody.status == 401 && !nobody.text().contains("customer-support"), "{}", nobody.text());
}

#[test]
fn counters_used_by_alerts_start_at_zero() {
    let upstream = Upstream::start();
    let nowhere = "[[route]]\nname = \"far\"\nupstream = \"nowhere\"\npath = \"/far\"\nsubject = \"@.id\"\n";
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_ROUTES}{nowhere}", base(upstream.address)));
    let metrics = gateway.metrics();
    for series in [
        "purposegate_policy_reload_total{outcome=\"failed\"} 0",
        "purposegate_policy_reload_total{outcome=\"loaded\"} 0",
        "purposegate_refusals_total{code=\"ledger-unavailable\",recipient=\"\"} 0",
        "purposegate_refusals_total{code=\"overloaded\",recipient=\"\"} 0",
        "purposegate_refusals_total{code=\"upstream-refused\",recipient=\"\"} 0",
        "purposegate_upstream_failures_total{code=\"upstream-unreachable\",upstream=\"nowhere\"} 0",
        "purposegate_upstream_failures_total{code=\"upstream-timeout\",upstream=\"crm\"} 0",
        "purposegate_upstream_requests_total{status_class=\"error\",upstream=\"crm\"} 0",
        "purposegate_minor_records_total{route=\"customers\"} 0",
        "purposegate_closed_account_records_total{route=\"customers\"} 0",
        "purposegate_retention_withheld_total{route=\"customers\"} 0",
        "purposegate_unclassified_fields_total{route=\"customers\"} 0",
        "purposegate_unknown_subjects_total{route=\"customers\"} 0",
        "purposegate_ledger_events_total{kind=\"case-registered\"} 0",
        "purposegate_ledger_events_total{kind=\"erasure\"} 0",
        "purposegate_ledger_store_failures_total 0",
        "purposegate_circumstances_write_failures_total 0",
        "purposegate_ledger_history_lost 0",
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series}\n{metrics}");
    }
    upstream.raw("/customers", "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ncontent-length: 1\r\n\r\nx");
    assert_eq!(gateway.get("/far", "support", "customer-support").status, 502);
    assert_eq!(gateway.get("/customers", "support", "customer-support").status, 502);
    let metrics = gateway.metrics();
    for series in [
        "purposegate_upstream_failures_total{code=\"upstream-unreachable\",upstream=\"nowhere\"} 1",
        "purposegate_upstream_failures_total{code=\"upstream-unreadable\",upstream=\"crm\"} 1",
        "purposegate_upstream_failures_total{code=\"upstream-unreachable\",upstream=\"crm\"} 0",
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series}\n{metrics}");
    }
}

#[test]
fn the_ledger_has_metrics_of_its_position_its_lease_and_its_gateways() {
    let (_upstream, gateway) = start_customer_gateway();
    let has = |line: &str| gateway.metrics().lines().any(|found| found == line);
    assert!(has("purposegate_everywhere_effect_seconds_count 0"));
    let body = br#"{"kind": "consent-given", "purpose": "marketing"}"#;
    let json = "content-type: application/json";
    for (path, waits) in [("/v1/subjects/p-9/events?wait=everywhere", 1), ("/v1/subjects/p-8/events", 1)] {
        let answer = http::send(gateway.admin, "POST", path, &[json], body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(has(&format!("purposegate_everywhere_effect_seconds_count {waits}")), "{path}");
    }
    assert!(has("purposegate_ledger_lease_remaining_seconds inf"), "{}", gateway.metrics());
    assert!(has("purposegate_ledger_gateways 1"));
    let position = gateway.metrics();
    let position = position.lines().find_map(|line| line.strip_prefix("purposegate_ledger_position "));
    assert!(position.unwrap().parse::<u64>().unwrap() >= 2);
}

#[test]
fn the_expiry_of_a_certificate_is_a_metric() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    purposegate::credentials::development::make(folder.path(), &[]).unwrap();
    let path = folder.path().display();
    let tls =
        format!("[listener.tls]\ncertificate = \"{path}/server.pem\"\nkey = \"{path}/server.key\"\n[admin]");
    let gateway =
        TestGateway::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address).replace("[admin]", &tls)));
    let metrics = gateway.metrics();
    let name = "purposegate_certificate_not_after_timestamp_seconds{listener=\"127.0.0.1:0\"} ";
    let ends: f64 = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    assert!(ends > 1_750_000_000.0, "{ends}");
}

#[test]
fn the_purpose_page_lists_the_methods_that_work() {
    let upstream = Upstream::start();
    upstream.json("/both/p-1", &person("p-1"));
    let both = "[[route]]\nname = \"both\"\nupstream = \"crm\"\nmethods = [\"GET\", \"PATCH\"]\npath = \"/both/{id}\"\nschema = \"customer\"\n";
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_ROUTES}{both}", base(upstream.address)));
    let page = |recipient: &str| {
        http::get(gateway.address, "/.well-known/data-purposes", &[&bearer(recipient)]).json()
    };
    for (recipient, purposes) in
        [("support", &["customer-support", "account-management"][..]), ("reseller", &["reseller-follow-up"])]
    {
        let page = page(recipient);
        let listed =
            page["routes"].as_array().unwrap().iter().find(|route| route["route"] == "both").unwrap();
        for purpose in purposes {
            let entry =
                listed["purposes"].as_array().unwrap().iter().find(|entry| entry["purpose"] == **purpose);
            for method in ["GET", "PATCH"] {
                let (bearer, purpose) = (bearer(recipient), format!("data-purpose: {purpose}"));
                let answer = http::send(gateway.address, method, "/both/p-1", &[&bearer, &purpose], b"");
                let works = answer.status != 403;
                let listed_method =
                    entry.is_some_and(|entry| entry["methods"].as_array().unwrap().contains(&json!(method)));
                assert_eq!(listed_method, works, "{recipient} {purpose} {method}: {}", answer.text());
            }
        }
    }
    assert_eq!(
        page("reseller")["routes"].as_array().unwrap().iter().find(|route| route["route"] == "both").unwrap()
            ["methods"],
        json!(["GET"])
    );
    // The recipient is registered for this purpose, but no rule permits it.
    let purposes = page("support")["purposes"].clone();
    assert!(!purposes.as_array().unwrap().contains(&json!("data-sale")), "{purposes}");
}
