//! Decision records: unclassified fields, and the reason for which a field was withheld.

use serde_json::{Value, json};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, start_with_routes};
use crate::upstream::Upstream;

const ROUTES: &str = r#"
[[schema]]
name = "note"
subject = "@.id"
[schema.fields]
"@.id" = "non-personal"
"@.email" = "email"

[[route]]
name = "notes"
upstream = "crm"
path = "/notes"
record = "$[*]"
schema = "note"
unclassified = "release"

[[route]]
name = "noted"
upstream = "crm"
path = "/noted"
record = "$[*]"
schema = "note"
unclassified = "release"
unknown-subject = "no-facts"

[[route]]
name = "kept"
upstream = "crm"
path = "/kept"
record = "$[*]"
schema = "note"
"#;

fn start_gateway() -> (Upstream, TestGateway) {
    start_with_routes(ROUTES)
}

fn note(id: &str) -> String {
    format!(r#"{{"id": "{id}", "email": "{id}@example.org", "note": "note of {id}"}}"#)
}

fn list(ids: &[&str]) -> String {
    format!("[{}]", ids.iter().map(|id| note(id)).collect::<Vec<_>>().join(", "))
}

/// Returns an answer and the record of its decision.
fn answer_and_decision(gateway: &TestGateway, path: &str, purpose: &str) -> (String, Value) {
    let answer = gateway.get(path, "support", purpose);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.decision();
    let record = gateway.decision(&id);
    (answer.text(), record)
}

fn known(gateway: &TestGateway, id: &str) {
    gateway.record_event(id, KNOWN);
}

#[test]
fn unclassified_fields_of_withheld_subjects_do_not_leave() {
    let (upstream, gateway) = start_gateway();
    let ids = ["known", "erased", "restricted", "minor", "stranger", "refuses"];
    for path in ["/notes", "/noted"] {
        let without_subject = r#"{"email": "x@example.org", "note": "note of nobody"}"#;
        upstream.json(
            path,
            &list(&ids)
                .replace("\"note of refuses\"}]", &format!("\"note of refuses\"}}, {without_subject}]")),
        );
    }
    for id in &ids[..4] {
        known(&gateway, id);
    }
    gateway.record_event("erased", r#"{"kind": "erasure"}"#);
    gateway.record_event("restricted", r#"{"kind": "restriction"}"#);
    gateway.record_event("minor", r#"{"kind": "fact", "facts": {"minor": true}}"#);
    gateway.record_event("refuses", r#"{"kind": "objection", "purpose": "marketing"}"#);
    let left = |text: &str| -> Vec<String> {
        let who = ids.iter().chain(&["nobody"]);
        who.filter(|id| text.contains(&format!("note of {id}"))).map(|id| (*id).to_owned()).collect()
    };
    let (text, record) = answer_and_decision(&gateway, "/notes", "customer-support");
    assert_eq!(left(&text), ["known"]);
    let unclassified = record["categories"]["unclassified"].as_array().unwrap();
    let fields = |form: &str, reason: &Value| -> Option<&Value> {
        let found = unclassified.iter().find(|one| one["form"] == form && one["reason"] == *reason)?;
        Some(&found["fields"])
    };
    assert_eq!(fields("clear", &Value::Null), Some(&json!(1)), "{record}");
    assert_eq!(fields("removed", &json!("unknown-subject")), Some(&json!(2)), "{record}");
    assert_eq!(fields("removed", &json!("no-subject")), Some(&json!(1)), "{record}");
    let prohibited: u64 = unclassified
        .iter()
        .filter(|one| one["reason"] == "prohibited")
        .map(|one| one["fields"].as_u64().unwrap())
        .sum();
    assert_eq!(prohibited, 3, "{record}");
    assert_eq!(record["records"], 7);
    assert_eq!(record["withheld_records"], 6);

    let (text, _) = answer_and_decision(&gateway, "/noted", "customer-support");
    assert_eq!(left(&text), ["known", "stranger", "refuses"], "judged as somebody who has said nothing");

    let disclosures =
        |id: &str| gateway.get_admin(&format!("/v1/subjects/{id}/disclosures")).json()["disclosures"].clone();
    let known = disclosures("known");
    let categories = known[0]["categories"].as_array().unwrap();
    let unclassified = categories.iter().find(|one| one["category"] == "unclassified").unwrap();
    assert_eq!(*unclassified, json!({ "category": "unclassified", "form": "clear", "basis": null }));
    for withheld in ["erased", "restricted", "minor"] {
        assert_eq!(disclosures(withheld), json!([]), "{withheld}");
    }
    let page = gateway.get_admin("/v1/subjects/known/report?format=html").text();
    assert!(page.contains("no legal basis on record"), "{page}");
}

#[test]
fn each_withheld_field_is_recorded_with_its_own_reason() {
    let (upstream, gateway) = start_gateway();
    let strangers: Vec<String> = (0..10).map(|n| format!("stranger-{n}")).collect();
    let ids: Vec<&str> =
        ["stranger", "erased", "objects"].into_iter().chain(strangers.iter().map(String::as_str)).collect();
    upstream.json("/kept", &list(&ids));
    for id in ["erased", "objects"] {
        known(&gateway, id);
        gateway.record_event(id, r#"{"kind": "consent-given", "purpose": "direct-marketing"}"#);
    }
    gateway.record_event("erased", r#"{"kind": "erasure"}"#);
    gateway.record_event("objects", r#"{"kind": "objection", "purpose": "direct-marketing"}"#);
    let (_, record) = answer_and_decision(&gateway, "/kept", "direct-marketing");
    let entry = |reason: &str| -> Value {
        let email = record["categories"]["email"].as_array().unwrap();
        email
            .iter()
            .find(|one| one["reason"] == reason)
            .cloned()
            .unwrap_or_else(|| panic!("{reason}: {record}"))
    };
    let (erased, objects, unknown) = (entry("prohibited"), entry("refused"), entry("unknown-subject"));
    assert_eq!((&erased["fields"], &erased["rules"]), (&json!(1), &json!(["erased"])));
    assert_eq!(erased["clauses"], json!(["G-6.8c", "G-3e", "G-3f", "P-0b", "G-6.3c2", "G-pub"]));
    assert_eq!(objects["fields"], 1);
    assert_eq!(unknown["fields"], 11);
    assert_eq!(unknown["rules"], json!([]));
    let extra = &record["categories"]["unclassified"];
    assert_eq!((&extra[0]["reason"], &extra[0]["fields"]), (&json!("unclassified"), &json!(13)), "{record}");
}

fn evaluated(gateway: &TestGateway, route: Option<&str>, person: &str) -> Value {
    let mut question = json!({
        "subject": { "type": "recipient", "id": "support" },
        "action": { "name": "customer-support" },
        "resource": { "type": "data-category", "id": "email", "properties": { "subject": person } },
    });
    if let Some(route) = route {
        question["context"] = json!({ "route": route });
    }
    gateway.post_admin("/access/v1/evaluation", question.to_string().as_bytes()).json()
}

#[test]
fn an_access_evaluation_agrees_with_the_gateway_about_unknown_subjects() {
    let (upstream, gateway) = start_gateway();
    upstream.json("/kept", &list(&["77"]));
    upstream.json("/noted", &list(&["77"]));
    for event in [
        None,
        Some(r#"{"kind": "objection", "purpose": "marketing"}"#),
        Some(r#"{"kind": "opt-out", "recipient": "reseller"}"#),
        Some(r#"{"kind": "consent-refused", "purpose": "analytics"}"#),
    ] {
        if let Some(event) = event {
            gateway.record_event("77", event);
        }
        for (path, route) in [("/kept", Some("kept")), ("/kept", None), ("/noted", Some("noted"))] {
            let (text, _) = answer_and_decision(&gateway, path, "customer-support");
            let evaluation = evaluated(&gateway, route, "77");
            assert_eq!(
                evaluation["decision"],
                text.contains("77@example.org"),
                "{path} {event:?}: {evaluation}"
            );
            if path == "/kept" {
                assert_eq!(evaluation["context"]["reason"], "unknown-subject");
            }
        }
    }
}
