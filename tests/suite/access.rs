//! OpenID AuthZEN 1.0 on the admin listener.

use serde_json::{Value, json};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base};
use crate::http;
use crate::upstream::Upstream;

fn start_gateway() -> TestGateway {
    let upstream = Upstream::start();
    let route = r#"
[[route]]
name = "support-only"
upstream = "crm"
path = "/support"
purposes = ["customer-support"]
"#;
    let gateway = TestGateway::start(&format!("{}{route}", base(upstream.address)));
    gateway.record_event("c-1", KNOWN);
    gateway.record_event(
        "c-1",
        r#"{"kind": "consent-given", "purpose": "direct-marketing", "valid-until": "2999-01-01T00:00:00Z"}"#,
    );
    gateway
}

fn question(recipient: &str, purpose: &str, category: &str, person: &str) -> Value {
    json!({
        "subject": { "type": "recipient", "id": recipient },
        "action": { "name": purpose },
        "resource": { "type": "data-category", "id": category, "properties": { "subject": person } },
    })
}

fn post(gateway: &TestGateway, path: &str, body: &Value) -> http::Answer {
    http::send(gateway.admin, "POST", path, &["x-request-id: r-1"], body.to_string().as_bytes())
}

fn evaluate(gateway: &TestGateway, question: &Value) -> Value {
    let answer = post(gateway, "/access/v1/evaluation", question);
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("r-1")), "{}", answer.text());
    answer.json()
}

#[test]
fn a_permit_carries_form_basis_and_clauses() {
    let gateway = start_gateway();
    let answer = evaluate(&gateway, &question("support", "direct-marketing", "email", "c-1"));
    assert_eq!(answer["decision"], true);
    let context = &answer["context"];
    assert_eq!((&context["form"], &context["basis"]), (&json!("clear"), &json!("consent")));
    assert!(context["clauses"].as_array().unwrap().contains(&json!("G-6.4b")), "{context}");
    assert_eq!(context["ask_again_at"], "2999-01-01T00:00:00Z");
    assert!(context.get("obligations").is_none());
}

#[test]
fn a_denial_names_the_reason_and_a_clear_release_no_obligation() {
    let gateway = start_gateway();
    let masked = evaluate(&gateway, &question("support", "customer-support", "email", "c-1"));
    assert_eq!(masked["context"]["form"], "clear");
    let withheld = evaluate(&gateway, &question("support", "customer-support", "ip-address", "c-1"));
    assert_eq!(withheld["decision"], false);
    assert!(withheld["context"]["reason_admin"]["en"].is_string(), "{withheld}");
}

#[test]
fn a_denial_states_the_missing_condition() {
    let gateway = start_gateway();
    gateway.record_event("c-1", r#"{"kind": "consent-withdrawn", "purpose": "direct-marketing"}"#);
    let denied = evaluate(&gateway, &question("support", "direct-marketing", "email", "c-1"));
    assert_eq!((&denied["decision"], &denied["context"]["form"]), (&json!(false), &json!("removed")));
    let reason = denied["context"]["reason_admin"]["en"].as_str().unwrap();
    assert!(reason.contains("needs consent for `direct-marketing`; it is withdrawn"), "{reason}");
    for (recipient, purpose, category, person, why) in [
        ("nobody", "customer-support", "email", "c-1", "no such recipient"),
        ("support", "no-purpose", "email", "c-1", "no such purpose"),
        ("support", "customer-support", "no-category", "c-1", "no such category"),
        ("suport", "customer-support", "email", "c-1", "did you mean `support`?"),
        ("support", "Customer-Support", "email", "c-1", "did you mean `customer-support`?"),
        ("support", "customer-support", "e-mail", "c-1", "did you mean `email`?"),
        ("support", "customer-support", "email", "c-9", "no such person"),
        ("support", "billing", "email", "c-1", "purpose-not-permitted"),
        ("lapsed", "reseller-follow-up", "email", "c-1", "agreement-not-in-force"),
        ("police", "law-enforcement", "email", "c-1", "legal-reference-missing"),
    ] {
        let answer = evaluate(&gateway, &question(recipient, purpose, category, person));
        assert_eq!(answer["decision"], false, "{answer}");
        assert!(answer["context"]["reason_admin"]["en"].as_str().unwrap().contains(why), "{why}: {answer}");
    }
    let mut of_route = question("support", "direct-marketing", "email", "c-1");
    of_route["context"] = json!({ "route": "support-only" });
    assert!(evaluate(&gateway, &of_route).to_string().contains("does not serve this purpose"));
}

#[test]
fn a_batch_shares_members_and_can_end_early() {
    let gateway = start_gateway();
    let batch = |semantic: &str| {
        json!({
            "subject": { "type": "recipient", "id": "support" },
            "action": { "name": "customer-support" },
            "evaluations": [
                { "resource": { "type": "data-category", "id": "email", "properties": { "subject": "c-1" } } },
                { "resource": { "type": "data-category", "id": "password", "properties": { "subject": "c-1" } } },
                { "action": { "name": "customer-support" } },
            ],
            "options": { "evaluations_semantic": semantic },
        })
    };
    let decisions = |semantic: &str| -> Vec<bool> {
        let answer = post(&gateway, "/access/v1/evaluations", &batch(semantic)).json();
        let answers = answer["evaluations"].as_array().unwrap().clone();
        answers.iter().map(|answer| answer["decision"].as_bool().unwrap()).collect()
    };
    assert_eq!(decisions("execute_all"), [true, false, false]);
    assert_eq!(decisions("deny_on_first_deny"), [true, false]);
    assert_eq!(decisions("permit_on_first_permit"), [true]);
    let alone =
        post(&gateway, "/access/v1/evaluations", &question("support", "customer-support", "email", "c-1"));
    assert_eq!(alone.json()["decision"], true);
}

#[test]
fn a_malformed_evaluation_is_refused() {
    let gateway = start_gateway();
    let mut untyped = question("support", "customer-support", "email", "c-1");
    untyped["resource"]["properties"]["subject"] = json!(["c-1"]);
    // A name that nobody has does not hide a mistake elsewhere.
    let mut of_nobody = question("nobody", "customer-support", "email", "c-1");
    of_nobody["context"] = json!({ "case": {} });
    for malformed in [json!({}), json!([]), json!({ "subject": "support" }), untyped, of_nobody] {
        let answer = post(&gateway, "/access/v1/evaluation", &malformed);
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("request-malformed")),
            "{malformed}"
        );
    }
    assert_eq!(gateway.get_admin("/access/v1/evaluation").status, 405);
    let configuration = gateway.get_admin("/.well-known/authzen-configuration").json();
    let endpoint = configuration["access_evaluation_endpoint"].as_str().unwrap();
    assert_eq!(endpoint, format!("http://{}/access/v1/evaluation", gateway.admin));
}
