//! Information for data subjects: the report about them, their disclosures, and their requests.

use serde_json::{Value, json};

use crate::fixtures::{NOTICE, person, start_customer_gateway};
use crate::gateway::TestGateway;

fn read_report(gateway: &TestGateway, subject: &str) -> Value {
    let answer = gateway.get_admin(&format!("/v1/subjects/{subject}/report"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn put_case_in_force(gateway: &TestGateway, id: &str, confidential_until: &str) {
    let case = json!({
        "case": id, "recipient": "police", "purpose": "law-enforcement", "subjects": ["p-1"],
        "categories": ["contact"], "end": "2099-01-01T00:00:00Z", "reference": "12 Js 4/26",
        "confidential-until": confidential_until,
    });
    let post = |path: &str, body: Value| {
        let answer = gateway.post_admin(path, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    post("/v1/cases", case);
    post(&format!("/v1/cases/{id}/approve"), json!({"approver": "ada"}));
    post(&format!("/v1/cases/{id}/approve"), json!({"approver": "ben"}));
}

#[test]
fn a_report_lists_disclosures_with_purpose_and_basis() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    upstream.json("/customers", &format!("{{\"items\": [{}, {}]}}", person("p-1"), person("p-2")));
    gateway.record_event("p-1", NOTICE);
    gateway.record_event("p-2", NOTICE);
    gateway
        .record_event("p-1", r#"{"kind": "consent-withdrawn", "purpose": "marketing", "channel": "phone"}"#);
    gateway.get("/customers/p-1", "support", "customer-support;case=\"T-7\"");
    gateway.get("/customers/p-1", "support", "direct-marketing");
    gateway.get("/customers", "support", "customer-support");
    gateway.record_event("p-2", r#"{"kind": "consent-given", "purpose": "marketing", "notice": "v1"}"#);
    assert!(gateway.get("/customers", "support", "direct-marketing").text().contains("Name-p-2"));

    let report = read_report(&gateway, "p-1");
    assert_eq!(report["state"]["consents"], json!({"marketing": "withdrawn"}));
    assert_eq!(report["events"][1]["channel"], "phone");
    let disclosures = report["disclosures"].as_array().unwrap();
    assert_eq!(disclosures.len(), 2, "nothing left for marketing: {disclosures:?}");
    let first = &disclosures[0];
    assert_eq!(
        (&first["recipient"], &first["purpose"], &first["case"], &first["people"]),
        (&json!("support"), &json!("customer-support"), &json!("T-7"), &json!(1))
    );
    assert_eq!(first["recipient_kind"]["id"], "employee");
    assert_eq!(
        first["categories"],
        json!([
            {"category": "email", "form": "clear", "basis": "contract"},
            {"category": "name", "form": "clear", "basis": "contract"},
        ])
    );
    assert_eq!(disclosures[1]["people"], 2);
    let marketing =
        report["processing"].as_array().unwrap().iter().find(|line| line["purpose"] == "marketing");
    let marketing = marketing.unwrap_or_else(|| panic!("{report}"));
    for member in ["basis", "categories", "recipients", "origin", "retention", "transfers"] {
        assert!(!marketing[member].is_null(), "{member}");
    }
    assert!(report["sources"].as_array().is_some_and(|sources| sources.len() > 5));
    assert!(!report.to_string().contains("p-2"), "nothing about anybody else");
    let list = gateway.get_admin("/v1/subjects/p-1/disclosures").json();
    assert_eq!((&list["disclosures"], &list["complete"]), (&report["disclosures"], &json!(true)));
    assert_eq!(list["logs"].as_array().unwrap().len(), 1);
    let accounting = gateway.get_admin("/v1/subjects/p-1/disclosures?form=hipaa").json();
    let lines = accounting["disclosures"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "{accounting}");
    assert_eq!(
        (&lines[0]["recipient"], &lines[0]["number"], &lines[0]["cases"]),
        (&json!("support"), &json!(2), &json!(["T-7"]))
    );
    assert_eq!((&lines[0]["first"], &lines[0]["last"]), (&disclosures[0]["time"], &disclosures[1]["time"]));
    assert_eq!(accounting["since"], accounting["logs"][0]["since"]);
}

#[test]
fn a_confidential_case_is_reported_after_its_confidentiality_ends() {
    let (upstream, gateway) = start_customer_gateway();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", NOTICE);
    put_case_in_force(&gateway, "C-secret", "2098-01-01T00:00:00Z");
    put_case_in_force(&gateway, "C-told", "2020-01-01T00:00:00Z");
    for case in ["C-secret", "C-told"] {
        let answer = gateway.get("/customers/p-1", "police", &format!("law-enforcement;case=\"{case}\""));
        assert!(answer.text().contains("p-1@example.org"), "{}", answer.text());
    }
    let report = read_report(&gateway, "p-1");
    let cases: Vec<_> = report["disclosures"].as_array().unwrap().iter().map(|one| &one["case"]).collect();
    assert_eq!(cases, [&json!("C-told")]);
    let page = gateway.get_admin("/v1/subjects/p-1/report?format=html");
    for text in [report.to_string(), page.text(), gateway.get_admin("/v1/subjects/p-1/disclosures").text()] {
        assert!(text.contains("C-told") && !text.contains("C-secret"), "{text}");
    }
}

#[test]
fn the_report_page_is_self_contained_and_escapes_text() {
    let (_upstream, gateway) = start_customer_gateway();
    gateway.record_event(
        "p-1",
        r#"{"kind": "notice", "notice": "<script>alert(1)</script>", "channel": "\"&"}"#,
    );
    let page = gateway.get_admin("/v1/subjects/p-1/report?format=html");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    assert!(text.contains("&lt;script&gt;") && !text.contains("<script"), "{text}");
    for outside in ["src=", "href=", "url(", "@import"] {
        assert!(!text.contains(outside), "{outside}");
    }
    assert!(text.contains("Nobody, as far as our records go back."));
}

#[test]
fn an_unknown_subject_has_no_report() {
    let (_upstream, gateway) = start_customer_gateway();
    assert_eq!(gateway.get_admin("/v1/subjects/nobody/report").status, 404);
    assert_eq!(gateway.get_admin("/v1/subjects/nobody/disclosures").json()["disclosures"], json!([]));
    assert_eq!(gateway.get_admin("/v1/subjects/p-1/report?format=pdf").status, 400);
}

#[test]
fn subject_requests_are_counted_until_they_are_answered() {
    let (_upstream, gateway) = start_customer_gateway();
    let post = |path: &str, body: &str| gateway.post_admin(path, body.as_bytes());
    let gauges = |open: u32, overdue: u32| {
        let metrics = gateway.metrics();
        for line in [
            format!("purposegate_subject_requests_open {open}"),
            format!("purposegate_subject_requests_overdue {overdue}"),
        ] {
            assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
        }
    };
    gauges(0, 0);
    assert_eq!(post("/v1/subjects/p-1/requests", r#"{"right": "access"}"#).status, 200);
    let late = r#"{"right": "erasure", "at": "2020-01-01T00:00:00Z", "channel": "letter"}"#;
    assert_eq!(post("/v1/subjects/p-2/requests", late).status, 200);
    gauges(2, 1);
    let open = gateway.get_admin("/v1/requests").json();
    assert_eq!(open.as_array().map(Vec::len), Some(2));
    assert_eq!(
        open[0],
        json!({"subject": "p-2", "right": "erasure", "received": "2020-01-01T00:00:00Z", "due": "2020-01-31T00:00:00Z", "overdue": true})
    );
    assert_eq!(post("/v1/subjects/p-2/answers", r#"{"right": "erasure"}"#).status, 200);
    gauges(1, 0);
    let again = post("/v1/subjects/p-2/answers", r#"{"right": "erasure"}"#);
    assert_eq!((again.status, again.json()["code"].as_str()), (409, Some("event-conflict")));
    for wrong in [r#"{}"#, r#"{"right": "everything"}"#, r#"{"right": "access", "kind": "erasure"}"#] {
        assert_eq!(post("/v1/subjects/p-1/requests", wrong).status, 400, "{wrong}");
    }
    assert_eq!(read_report(&gateway, "p-1")["events"][0]["right"], "access");
}
