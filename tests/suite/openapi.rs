//! The description of the admin API agrees with the API: requests, answers and problems are valid by it, and what it does
//! not allow is refused.

use std::collections::BTreeSet;

use purposegate::ledger::KINDS;
use serde_json::{Value, json};

use crate::documents;
use crate::fixtures::{CUSTOMER, CUSTOMER_ROUTES, CUSTOMER_SCHEMA};
use crate::gateway::{TestGateway, start_with_routes};
use crate::http::{self, Answer};
use crate::json_schema::{assert_valid, problems};
use crate::upstream::Upstream;

/// A gateway with its description.
struct DescribedGateway {
    gateway: TestGateway,
    upstream: Upstream,
    document: Value,
}

impl DescribedGateway {
    fn start() -> DescribedGateway {
        let (upstream, gateway) = start_with_routes(CUSTOMER_ROUTES);
        let document = gateway.get_admin("/openapi.json").json();
        DescribedGateway { gateway, upstream, document }
    }

    /// Sends a request to an operation, and checks the answer by the description. `path` begins with the path of the
    /// operation, in which `{}` stands for the parameter. A body that is accepted has to be valid.
    #[track_caller]
    fn call(&self, operation: (&str, &str), path: &str, body: Option<&Value>) -> Answer {
        let (method, template) = operation;
        let text = body.map(ToString::to_string).unwrap_or_default();
        let answer = http::send(self.gateway.admin, method, path, &[], text.as_bytes());
        let pointer = format!("/paths/{}/{}", template.replace('/', "~1"), method.to_lowercase());
        let described = self.document.pointer(&pointer).unwrap_or_else(|| panic!("no {method} {template}"));
        self.check_answer(described, &answer);
        if let Some(body) = body {
            let schema = &described["requestBody"]["content"]["application/json"]["schema"];
            assert!(schema.is_object(), "{method} {template} has no body");
            let found = problems(&self.document, schema, body);
            assert!(answer.status != 200 || found.is_empty(), "accepted, but: {found:#?}\n{body:#}");
            assert!(answer.status != 200 || problems(&self.document, schema, &json!([])) != [""; 0]);
        }
        answer
    }

    #[track_caller]
    fn check_answer(&self, operation: &Value, answer: &Answer) {
        let id = &operation["operationId"];
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{id} does not describe {}: {}", answer.status, answer.text());
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap().trim();
        let content = response["content"].get(media_type);
        let content = content.unwrap_or_else(|| panic!("{id} does not describe {media_type}: {response}"));
        if media_type.ends_with("json") && !media_type.ends_with("ndjson") {
            let found = problems(&self.document, &content["schema"], &answer.json());
            assert!(found.is_empty(), "{id} {}: {found:#?}\n{:#}", answer.status, answer.json());
        }
    }

    fn get(&self, template: &str, path: &str) -> Answer {
        self.call(("GET", template), path, None)
    }
}

const SUBJECT_EVENTS: (&str, &str) = ("POST", "/v1/subjects/{id}/events");

/// An event of each kind that has a path of its own, with the path.
fn events() -> Vec<((&'static str, &'static str), &'static str, Value)> {
    let subject = |event: Value| (SUBJECT_EVENTS, "/v1/subjects/p-1/events", event);
    let consent =
        |kind: &str| subject(json!({ "kind": kind, "purpose": "direct-marketing", "recipient": "support" }));
    let objection =
        |kind: &str| subject(json!({ "kind": kind, "purpose": "analytics", "evidence": "memo 7" }));
    let controller = ("POST", "/v1/controllers/{id}/events");
    let controller = move |event: Value| {
        (controller, "/v1/controllers/acme/events?namespace=default&wait=everywhere", event)
    };
    let recipient = ("POST", "/v1/recipients/{name}/events");
    let recipient = move |event: Value| (recipient, "/v1/recipients/reseller/events", event);
    let case = |suffix: &'static str| (("POST", suffix), suffix);
    let (approve, _) = case("/v1/cases/{id}/approve");
    let (end, _) = case("/v1/cases/{id}/end");
    vec![
        subject(json!({ "kind": "notice", "notice": "v1", "channel": "web", "at": "2026-01-01T00:00:00Z" })),
        subject(
            json!({ "kind": "consent-given", "purpose": "direct-marketing", "valid-until": "2999-01-01T00:00:00Z" }),
        ),
        subject(json!({ "kind": "consent-given", "purpose": "product-news", "recipient-kind": "employee" })),
        consent("consent-refused"),
        consent("consent-withdrawn"),
        subject(json!({ "kind": "consent-given", "purpose": "direct-marketing" })),
        objection("objection"),
        objection("objection-upheld"),
        objection("objection-overridden"),
        objection("objection-lifted"),
        subject(json!({ "kind": "opt-out", "recipient": "reseller" })),
        subject(json!({ "kind": "opt-out-lifted", "recipient": "reseller" })),
        subject(json!({ "kind": "opt-out", "recipient": "registrar" })),
        subject(json!({ "kind": "restriction" })),
        subject(json!({ "kind": "restriction-lifted" })),
        subject(json!({ "kind": "category-refused", "category": "photo" })),
        subject(json!({ "kind": "category-refused", "category": "phone" })),
        subject(json!({ "kind": "category-allowed", "category": "photo" })),
        subject(json!({ "kind": "relation", "relation": "domain-registrant", "recipient": "registrar" })),
        subject(json!({ "kind": "relation", "relation": "service-signup" })),
        subject(json!({ "kind": "relation-ended", "relation": "service-signup" })),
        subject(
            json!({ "kind": "fact", "facts": { "country": "FR", "region": null, "minor": false, "origin": { "email": "social" } } }),
        ),
        subject(
            json!({ "kind": "correction", "evidence": "form 3", "facts": { "region": "EEA", "transfer-consent": true } }),
        ),
        (("POST", "/v1/subjects/{id}/requests"), "/v1/subjects/p-1/requests", json!({ "right": "access" })),
        (("POST", "/v1/subjects/{id}/requests"), "/v1/subjects/p-1/requests", json!({ "right": "erasure" })),
        (
            ("POST", "/v1/subjects/{id}/answers"),
            "/v1/subjects/p-1/answers",
            json!({ "right": "access", "kind": "request-answered" }),
        ),
        controller(json!({ "kind": "instruction", "purpose": "invoicing" })),
        controller(json!({ "kind": "instruction-ended", "purpose": "invoicing" })),
        controller(json!({ "kind": "account-closed" })),
        recipient(json!({ "kind": "suspended" })),
        recipient(json!({ "kind": "resumed" })),
        (
            ("POST", "/v1/cases"),
            "/v1/cases",
            json!({
                "case": "c-1", "recipient": "police", "purpose": "law-enforcement", "subjects": ["p-1", 7, { "id": "x", "namespace": "default" }],
                "categories": ["name"], "end": "2999-01-01T00:00:00Z", "reference": "12 O 4", "confidential-until": "2027-01-01T00:00:00Z",
            }),
        ),
        (approve, "/v1/cases/c-1/approve", json!({ "approver": "ada" })),
        (approve, "/v1/cases/c-1/approve", json!({ "approver": "ben" })),
        (end, "/v1/cases/c-1/end", json!({})),
        (SUBJECT_EVENTS, "/v1/subjects/p-2/events", json!({ "kind": "erasure" })),
    ]
}

/// The kind of an event, from its body or from the path.
fn kind_of(path: &str, event: &Value) -> String {
    let of_path = [
        ("/requests", "request-received"),
        ("/answers", "request-answered"),
        ("/cases", "case-registered"),
        ("/approve", "case-approved"),
        ("/end", "case-ended"),
    ];
    let of_path = of_path.iter().find(|(end, _)| path.ends_with(end)).map(|(_, kind)| (*kind).to_owned());
    of_path.unwrap_or_else(|| event["kind"].as_str().unwrap().to_owned())
}

#[test]
fn every_kind_of_event_is_accepted_as_described_and_nothing_else_is() {
    let api = DescribedGateway::start();
    let mut kinds = BTreeSet::new();
    for (operation, path, event) in events() {
        let accepted = api.call(operation, path, Some(&event));
        assert_eq!(accepted.status, 200, "{event}: {}", accepted.text());
        kinds.insert(kind_of(path, &event));
        let schema = api.request_schema(operation);
        let mut wrong =
            vec![with(&event, "extra", &json!(1)), with(&event, "at", &json!("yesterday")), json!([event])];
        let members = event.as_object().unwrap().keys().filter(|name| {
            let mut without = event.clone();
            without.as_object_mut().unwrap().remove(*name);
            !problems(&api.document, schema, &without).is_empty()
        });
        wrong.extend(members.map(|name| {
            let mut without = event.clone();
            without.as_object_mut().unwrap().remove(name);
            without
        }));
        for wrong in wrong {
            assert_ne!(problems(&api.document, schema, &wrong), [""; 0], "{wrong}");
            let refused = api.call(operation, path, Some(&wrong));
            assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
        }
    }
    // Only the gateway records that it has deleted a log secret.
    let described = KINDS.iter().filter(|kind| **kind != "log-secret-erased");
    assert_eq!(kinds, described.map(|kind| (*kind).to_owned()).collect());
}

impl DescribedGateway {
    fn request_schema(&self, (method, template): (&str, &str)) -> &Value {
        &self.document["paths"][template][method.to_lowercase()]["requestBody"]["content"]["application/json"]
            ["schema"]
    }
}

/// Returns an object with one more member.
fn with(object: &Value, name: &str, value: &Value) -> Value {
    let mut object = object.clone();
    object[name] = value.clone();
    object
}

#[test]
fn every_answer_is_as_described() {
    let api = DescribedGateway::start();
    for (operation, path, event) in events() {
        assert_eq!(api.call(operation, path, Some(&event)).status, 200);
    }
    api.upstream.json("/customers/p-1", &CUSTOMER.replace("c-1", "p-1"));
    let released = api.gateway.get("/customers/p-1", "support", "direct-marketing");
    assert_eq!(released.status, 200, "{}", released.text());
    let decision = released.decision();
    let refused = api.gateway.get("/customers/p-1", "support", "no-such-purpose");
    let refused = refused.decision();

    for (template, path) in [
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/metrics", "/metrics"),
        ("/openapi.json", "/openapi.json"),
        ("/v1/policies", "/v1/policies"),
        ("/v1/recipients", "/v1/recipients"),
        ("/v1/recipients/{name}/page", "/v1/recipients/support/page?language=de"),
        ("/v1/routes", "/v1/routes"),
        ("/v1/routes/{name}/unclassified", "/v1/routes/customers/unclassified"),
        ("/v1/requests", "/v1/requests"),
        ("/v1/requests/answered", "/v1/requests/answered?limit=1"),
        ("/v1/notices", "/v1/notices?recipient=support"),
        ("/v1/cases", "/v1/cases"),
        ("/v1/cases/{id}", "/v1/cases/c-1"),
        ("/v1/subjects/{id}", "/v1/subjects/p-1"),
        ("/v1/subjects/{id}", "/v1/subjects/p-2?namespace=default"),
        ("/v1/subjects/{id}/events", "/v1/subjects/p-1/events"),
        ("/v1/subjects/{id}/disclosures", "/v1/subjects/p-1/disclosures"),
        ("/v1/subjects/{id}/disclosures", "/v1/subjects/p-1/disclosures?form=hipaa"),
        ("/v1/subjects/{id}/report", "/v1/subjects/p-1/report"),
        ("/v1/subjects/{id}/report", "/v1/subjects/p-1/report?format=html"),
        ("/v1/subjects/{id}/opt-out-link", "/v1/subjects/p-1/opt-out-link"),
        ("/v1/decisions", "/v1/decisions?recipient=support&limit=1"),
        ("/v1/decisions/{id}", &format!("/v1/decisions/{decision}")),
        ("/v1/decisions/{id}", &format!("/v1/decisions/{refused}")),
        ("/.well-known/authzen-configuration", "/.well-known/authzen-configuration"),
    ] {
        let answer = api.get(template, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    assert_eq!(
        api.get("/v1/subjects/{id}/disclosures", "/v1/subjects/p-1/disclosures").json()["disclosures"][0]["decision"],
        decision
    );
    for (template, path, status) in [
        ("/v1/subjects/{id}", "/v1/subjects/nobody", 404),
        ("/v1/subjects/{id}", "/v1/subjects/p-1?unknown=1", 400),
        ("/v1/subjects/{id}/events", "/v1/subjects/nobody/events", 404),
        ("/v1/decisions/{id}", "/v1/decisions/nothing", 404),
        ("/v1/cases/{id}", "/v1/cases/nothing", 404),
        ("/readyz", "/readyz?unknown=1", 400),
        ("/v1/recipients/{name}/page", "/v1/recipients/nobody/page", 404),
        ("/v1/recipients/{name}/page", "/v1/recipients/support/page?language=xx", 400),
        ("/v1/recipients/{name}/page", "/v1/recipients/support/page?purpose=hosting", 404),
        ("/v1/routes/{name}/unclassified", "/v1/routes/nothing/unclassified", 404),
        ("/v1/routes/{name}/unclassified", "/v1/routes/customers/unclassified?unknown=1", 400),
    ] {
        assert_eq!(api.get(template, path).status, status, "{path}");
    }
}

#[test]
fn evaluations_and_batches_are_as_described() {
    let api = DescribedGateway::start();
    api.gateway.record_event("p-1", r#"{"kind": "consent-given", "purpose": "direct-marketing"}"#);
    let question = |id: &str| {
        json!({
            "subject": { "type": "recipient", "id": "support" },
            "action": { "name": "direct-marketing" },
            "resource": { "type": "data-category", "id": "name", "properties": { "subject": id } },
        })
    };
    let one = ("POST", "/access/v1/evaluation");
    let several = ("POST", "/access/v1/evaluations");
    for (id, permits) in [("p-1", true), ("nobody", false)] {
        let answer = api.call(one, one.1, Some(&question(id)));
        assert_eq!(answer.json()["decision"], permits, "{}", answer.text());
    }
    let unknown = with(
        &question("p-1"),
        "action",
        &json!({ "name": "analytics", "properties": { "operation": "destroy" } }),
    );
    assert_eq!(api.call(one, one.1, Some(&unknown)).status, 200);
    assert_eq!(api.call(one, one.1, Some(&json!({}))).status, 400);
    let batch =
        json!({ "evaluations": [question("p-1"), {}], "options": { "evaluations_semantic": "execute_all" } });
    assert_eq!(api.call(several, several.1, Some(&batch)).json()["evaluations"].as_array().unwrap().len(), 2);
    let lines = "{\"subject\": 7, \"kind\": \"erasure\"}\n{\"kind\": \"erasure\"}\n";
    let answer = api.gateway.post_admin("/v1/events:batch?wait=everywhere&from=5", lines);
    let results: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 2);
    results.iter().for_each(|result| assert_valid(&api.document, "/components/schemas/LineResult", result));
    assert!(results[0]["in_force"] == "everywhere" && results[1]["error"].is_string(), "{results:#?}");
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_valid(&api.document, "/components/schemas/EventLine", &line);
    let line: Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
    assert_ne!(problems(&api.document, &api.document["components"]["schemas"]["EventLine"], &line), [""; 0]);
}

/// Returns every operation: its method and its path, with its description.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&'_ String, &'_ Value)| {
        let methods = item.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    let all = paths.iter().flat_map(of_path);
    all.map(|(method, path)| (method.to_uppercase(), path.clone(), &document["paths"][&path][&method]))
        .collect()
}

#[test]
fn paths_and_operation_ids_are_stable() {
    let api = DescribedGateway::start();
    assert_eq!(api.document["openapi"], "3.1.0");
    let operations = operations(&api.document);
    let ids: BTreeSet<&str> = operations.iter().map(|(.., op)| op["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "each operation has an id of its own");
    let tags: Vec<&str> =
        api.document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for (method, path, operation) in &operations {
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert!(tags.contains(&operation["tags"][0].as_str().unwrap()), "{method} {path}");
        // The router has what the document has, with these methods and no others.
        let served = http::send(api.gateway.admin, method, &path.replace(['{', '}'], ""), &[], b"");
        assert_ne!(served.status, 405, "{method} {path}");
        let other = http::send(api.gateway.admin, "PATCH", path.split('{').next().unwrap(), &[], b"");
        assert!([404, 405].contains(&other.status));
    }
    let listed: Vec<String> = operations
        .iter()
        .map(|(method, path, op)| format!("{method} {path} {}", op["operationId"].as_str().unwrap()))
        .collect();
    insta::assert_snapshot!(listed.join("\n"));
}

#[test]
fn every_reference_has_a_target_and_every_component_is_used() {
    let api = DescribedGateway::start();
    let text = api.document.to_string();
    let components = api.document["components"]["schemas"].as_object().unwrap();
    let prefix = "#/components/schemas/";
    let used: BTreeSet<&str> =
        text.split(prefix).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let known: BTreeSet<&str> = components.keys().map(String::as_str).collect();
    assert_eq!(used, known);
}

#[test]
fn every_problem_code_is_described() {
    let api = DescribedGateway::start();
    let mut described = BTreeSet::new();
    for (.., operation) in operations(&api.document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let schema = &response["content"]["application/problem+json"]["schema"];
            let codes = schema["allOf"][1]["properties"]["code"]["enum"].as_array();
            assert!(codes.is_some() || status == "200" || status == "503", "{status}: {response}");
            described.extend(codes.into_iter().flatten().map(|code| code.as_str().unwrap().to_owned()));
        }
    }
    // The router answers a method that a resource does not have: no operation does.
    described.insert("method-not-allowed".to_owned());
    let code = documents::read("src/gateway/admin/problem.rs");
    let declared = code.split(" => (\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    assert_eq!(described, declared.collect());
}

#[test]
fn names_of_recipients_and_routes_are_no_part_of_the_document() {
    let (_upstream, gateway) = start_with_routes(CUSTOMER_SCHEMA);
    let text = gateway.get_admin("/openapi.json").text();
    for name in ["registrar", "lapsed", "crm"] {
        assert!(!text.contains(&format!("\"{name}\"")), "{name}");
    }
    for term in ["direct-marketing", "domain-registrant", "reselling-partner", "photo"] {
        assert!(text.contains(&format!("\"{term}\"")), "{term}");
    }
}
