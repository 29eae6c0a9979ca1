//! What the record of a decision says: what left without a classification, and why a field was withheld.

use serde_json::{Value, json};

use crate::gate::{Gate, base};
use crate::http;
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

fn house() -> (Upstream, Gate) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{}{ROUTES}", base(upstream.address)));
    (upstream, gate)
}

fn note(id: &str) -> String {
    format!(r#"{{"id": "{id}", "email": "{id}@example.org", "note": "note of {id}"}}"#)
}

fn list(ids: &[&str]) -> String {
    format!("[{}]", ids.iter().map(|id| note(id)).collect::<Vec<_>>().join(", "))
}

/// An answer and the record of its decision.
fn asked(gate: &Gate, path: &str, purpose: &str) -> (String, Value) {
    let answer = gate.get(path, "support", purpose);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let applied = answer.header("data-purpose-applied").unwrap();
    let id = applied.split('"').nth(1).unwrap().to_owned();
    let record = http::get(gate.admin, &format!("/v1/decisions/{id}"), &[]).json();
    (answer.text(), record)
}

fn known(gate: &Gate, id: &str) {
    gate.tell(id, r#"{"kind": "fact", "facts": {"region": "EEA"}}"#);
}

#[test]
fn what_nothing_classifies_leaves_of_nobody_whose_data_are_withheld() {
    let (upstream, gate) = house();
    let ids = ["known", "erased", "restricted", "minor", "stranger", "refuses"];
    for path in ["/notes", "/noted"] {
        let nobodys = r#"{"email": "x@example.org", "note": "note of nobody"}"#;
        upstream.json(
            path,
            &list(&ids).replace("\"note of refuses\"}]", &format!("\"note of refuses\"}}, {nobodys}]")),
        );
    }
    for id in &ids[..4] {
        known(&gate, id);
    }
    gate.tell("erased", r#"{"kind": "erasure"}"#);
    gate.tell("restricted", r#"{"kind": "restriction"}"#);
    gate.tell("minor", r#"{"kind": "fact", "facts": {"minor": true}}"#);
    gate.tell("refuses", r#"{"kind": "objection", "purpose": "marketing"}"#);
    let left = |text: &str| -> Vec<String> {
        let who = ids.iter().chain(&["nobody"]);
        who.filter(|id| text.contains(&format!("note of {id}"))).map(|id| (*id).to_owned()).collect()
    };
    let (text, record) = asked(&gate, "/notes", "customer-support");
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

    let (text, _) = asked(&gate, "/noted", "customer-support");
    assert_eq!(left(&text), ["known", "stranger", "refuses"], "judged as somebody who has said nothing");

    let told = |id: &str| http::get(gate.admin, &format!("/v1/subjects/{id}/disclosures"), &[]).json();
    let known = told("known");
    let categories = known[0]["categories"].as_array().unwrap();
    let unclassified = categories.iter().find(|one| one["category"] == "unclassified").unwrap();
    assert_eq!(*unclassified, json!({ "category": "unclassified", "form": "clear", "basis": null }));
    for withheld in ["erased", "restricted", "minor"] {
        assert_eq!(told(withheld), json!([]), "{withheld}");
    }
    let page = http::get(gate.admin, "/v1/subjects/known/report?format=html", &[]).text();
    assert!(page.contains("no legal basis on record"), "{page}");
}

#[test]
fn each_withheld_field_says_why_and_nobody_is_said_to_be_what_they_are_not() {
    let (upstream, gate) = house();
    let strangers: Vec<String> = (0..10).map(|n| format!("stranger-{n}")).collect();
    let ids: Vec<&str> =
        ["stranger", "erased", "objects"].into_iter().chain(strangers.iter().map(String::as_str)).collect();
    upstream.json("/kept", &list(&ids));
    for id in ["erased", "objects"] {
        known(&gate, id);
        gate.tell(id, r#"{"kind": "consent-given", "purpose": "direct-marketing"}"#);
    }
    gate.tell("erased", r#"{"kind": "erasure"}"#);
    gate.tell("objects", r#"{"kind": "objection", "purpose": "direct-marketing"}"#);
    let (_, record) = asked(&gate, "/kept", "direct-marketing");
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

fn evaluated(gate: &Gate, route: Option<&str>, person: &str) -> Value {
    let mut question = json!({
        "subject": { "type": "recipient", "id": "support" },
        "action": { "name": "customer-support" },
        "resource": { "type": "data-category", "id": "email", "properties": { "subject": person } },
    });
    if let Some(route) = route {
        question["context"] = json!({ "route": route });
    }
    http::send(gate.admin, "POST", "/access/v1/evaluation", &[], question.to_string().as_bytes()).json()
}

#[test]
fn an_access_evaluation_knows_people_as_the_gateway_does() {
    let (upstream, gate) = house();
    upstream.json("/kept", &list(&["77"]));
    upstream.json("/noted", &list(&["77"]));
    for event in [
        None,
        Some(r#"{"kind": "objection", "purpose": "marketing"}"#),
        Some(r#"{"kind": "opt-out", "recipient": "reseller"}"#),
        Some(r#"{"kind": "consent-refused", "purpose": "analytics"}"#),
    ] {
        if let Some(event) = event {
            gate.tell("77", event);
        }
        for (path, route) in [("/kept", Some("kept")), ("/kept", None), ("/noted", Some("noted"))] {
            let (text, _) = asked(&gate, path, "customer-support");
            let evaluation = evaluated(&gate, route, "77");
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
