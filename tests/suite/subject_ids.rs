//! A person has one id, in whatever spelling a record, a token, an event or a command gives it.

use serde_json::{Value, json};

use crate::fixtures::NOTICE;
use crate::gateway::{TestGateway, base};
use crate::http::{self, Answer};
use crate::token_issuer::Issuer;
use crate::upstream::Upstream;

const RULES: &str = r#"
[namespace.email]
normalise = ["trim", "lowercase", "nfc"]
[namespace.fhir]
extract = "^(?:(?:.*/)?Patient/)?([^/]+)(?:/_history/[^/]+)?$"
[namespace.account]
normalise = "lowercase"
[namespace.unused]
normalise = ["trim"]
"#;

const ROUTES: &str = r#"
[[route]]
name = "people"
upstream = "crm"
path = "/people"
record = "$[*]"
subject = { path = "@.email", namespace = "email" }
controller = { path = "@.account", namespace = "account" }
[route.fields]
"@.name" = "name"
"@.note" = "service-data"

[[route]]
name = "person"
upstream = "crm"
path = "/people/{email}"
subject = { path = "{email}", namespace = "email" }
[route.fields]
"@.name" = "name"

[[route]]
name = "observations"
upstream = "crm"
path = "/observations"
record = "$[*]"
subject = { path = "@.of", namespace = "fhir" }
[route.fields]
"@.name" = "name"
"#;

const GIVEN: &str = r#"{"kind": "consent-given", "purpose": "marketing"}"#;

fn config(upstream: &Upstream, rules: &str) -> String {
    format!("{}{rules}{ROUTES}", base(upstream.address))
}

fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let gateway = TestGateway::start(&config(&upstream, RULES));
    (upstream, gateway)
}

fn send_event(gateway: &TestGateway, namespace: &str, id: &str, event: &str) -> Answer {
    let path = format!("/v1/subjects/{id}/events?namespace={namespace}");
    gateway.post_admin(&path, event.as_bytes())
}

#[track_caller]
fn record(gateway: &TestGateway, namespace: &str, id: &str, event: &str) {
    let answer = send_event(gateway, namespace, id, event);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn names(gateway: &TestGateway, path: &str, purpose: &str) -> Vec<String> {
    let answer = gateway.get(path, "support", purpose);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let records = answer.json();
    let all: Vec<Value> = records.as_array().cloned().unwrap_or_else(|| vec![records]);
    all.iter().filter_map(|record| Some(record.get("name")?.as_str()?.to_owned())).collect()
}

#[test]
fn an_event_is_in_force_under_every_spelling_of_an_id() {
    let (upstream, gateway) = start_gateway();
    let records = json!([
        { "email": "ada@example.org", "name": "Ada" },
        { "email": "Bea@Example.org ", "name": "Bea" },
        { "email": "ZOE\u{308}@example.org", "name": "Zoe" },
    ]);
    upstream.json("/people", &records.to_string());
    for id in ["ada@example.org", "bea@example.org", "zo%C3%AB@example.org"] {
        record(&gateway, "email", id, GIVEN);
    }
    let released = || names(&gateway, "/people", "direct-marketing");
    assert_eq!(released(), ["Ada", "Bea", "Zoe"]);
    record(&gateway, "email", "Ada@Example.org", r#"{"kind": "consent-withdrawn", "purpose": "marketing"}"#);
    assert_eq!(released(), ["Bea", "Zoe"]);
    record(&gateway, "email", "%20Bea@Example.org", r#"{"kind": "erasure"}"#);
    assert_eq!(released(), ["Zoe"]);
    let line = r#"{"subject": "zoe\u0308@EXAMPLE.org", "namespace": "email", "kind": "restriction"}"#;
    let batch = gateway.post_admin("/v1/events:batch", line.as_bytes());
    assert!(batch.text().contains("position"), "{}", batch.text());
    assert_eq!(released(), Vec::<String>::new());
    let state = gateway.get_admin("/v1/subjects/ADA@example.org?namespace=email").json();
    assert_eq!(state["consents"]["marketing"], "withdrawn");
    let history = gateway.get_admin("/v1/subjects/zo%C3%AB@example.org/events?namespace=email").json();
    assert_eq!(history.as_array().unwrap().len(), 2);
    let report = gateway.get_admin("/v1/subjects/ADA@example.org/report?namespace=email").json();
    assert_eq!(report["subject"], "ada@example.org");
    assert_eq!(report["disclosures"].as_array().unwrap().len(), 1, "{report}");
    assert!(gateway.metrics().contains("purposegate_ledger_subjects 3"), "three people");
}

#[test]
fn links_evaluations_and_paths_read_ids_alike() {
    let (upstream, gateway) = start_gateway();
    upstream.json("/people/Ada@X.org", r#"{"name": "Ada"}"#);
    record(&gateway, "email", "ada@x.org", GIVEN);
    let released = || names(&gateway, "/people/Ada@X.org", "direct-marketing");
    assert_eq!(released(), ["Ada"]);
    let evaluate = || {
        let question = json!({
            "subject": { "type": "recipient", "id": "support" },
            "action": { "name": "direct-marketing" },
            "resource": { "type": "data-category", "id": "name", "properties": {
                "subject": { "id": "ADA@X.ORG", "namespace": "email" } } },
        });
        let body = question.to_string();
        gateway.post_admin("/access/v1/evaluation", body.as_bytes()).json()["decision"].clone()
    };
    assert_eq!(evaluate(), true);
    let link = gateway.get_admin("/v1/subjects/ADA@X.ORG/opt-out-link?namespace=email").json();
    let clicked = http::send(
        gateway.address,
        "POST",
        link["path"].as_str().unwrap(),
        &["content-type: application/x-www-form-urlencoded"],
        b"List-Unsubscribe=One-Click",
    );
    assert_eq!(clicked.status, 200);
    assert_eq!((released(), evaluate()), (Vec::new(), json!(false)));
}

#[test]
fn extract_reads_references_and_rejects_others() {
    let (upstream, gateway) = start_gateway();
    let of =
        ["17", "Patient/17", "https://fhir.example.org/r4/Patient/17", "Patient/17/_history/3", "Group/17"];
    let mut records: Vec<Value> = of.iter().map(|of| json!({ "of": of, "name": of })).collect();
    records.push(json!({ "of": 17, "name": "number" }));
    upstream.json("/observations", &Value::from(records).to_string());
    let known = || names(&gateway, "/observations", "customer-support").len();
    assert_eq!(known(), 0);
    record(&gateway, "fhir", "17", NOTICE);
    assert_eq!(known(), 5, "all but the group");
    let misfit = send_event(&gateway, "fhir", "Group%2F17", NOTICE);
    assert_eq!((misfit.status, &misfit.json()["code"]), (400, &json!("event-malformed")));
    assert!(misfit.text().contains("pattern of its namespace") && !misfit.text().contains("17"));
    let line = br#"{"subject": "Group/17", "namespace": "fhir", "kind": "erasure"}"#;
    let batch = gateway.post_admin("/v1/events:batch", line).text();
    assert!(batch.contains("pattern of its namespace") && !batch.contains("Group"), "{batch}");
    let question = json!({
        "subject": { "type": "recipient", "id": "support" },
        "action": { "name": "customer-support" },
        "resource": { "type": "data-category", "id": "name", "properties": {
            "subject": { "id": "Group/17", "namespace": "fhir" } } },
    });
    let answer = gateway.post_admin("/access/v1/evaluation", question.to_string().as_bytes());
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("pattern of its namespace") && !answer.text().contains("Group"));
    record(&gateway, "fhir", "Patient%2F17%2F_history%2F9", r#"{"kind": "erasure"}"#);
    assert_eq!(known(), 0);
}

#[test]
fn ids_of_controllers_are_normalised() {
    let (upstream, gateway) = start_gateway();
    upstream.json("/people", r#"[{"email": "ada@x.org", "account": "ACME", "name": "Ada", "note": "N"}]"#);
    record(&gateway, "email", "ada@x.org", NOTICE);
    let note = || gateway.get("/people", "support", "customer-support").json()[0].get("note").is_some();
    assert!(note());
    let closed = br#"{"kind": "account-closed", "at": "2020-01-01T00:00:00Z"}"#;
    let answer = gateway.post_admin("/v1/controllers/Acme/events?namespace=account", closed);
    assert_eq!(answer.status, 200);
    assert!(!note(), "data of a closed account are purged");
}

#[test]
fn token_claims_are_read_by_the_namespace_rule() {
    let upstream = Upstream::start();
    upstream
        .json("/people", r#"[{"email": "ada@X.org", "name": "Ada"}, {"email": "bea@x.org", "name": "Bea"}]"#);
    let issuer = Issuer::new();
    let portal = r#"
[[recipient]]
name = "portal"
kind = "data-subject"
purposes = ["data-subject-request"]
credentials = [{ jwt = { issuer = "https://id.test", claims = { azp = "portal" }, subject-claim = { claim = "email", namespace = "email" } } }]
"#;
    let gateway = TestGateway::start(&format!("{}{}{portal}", config(&upstream, RULES), issuer.section()));
    for id in ["ada@x.org", "bea@x.org"] {
        record(&gateway, "email", id, GIVEN);
    }
    assert_eq!(names(&gateway, "/people", "direct-marketing"), ["Ada", "Bea"]);
    let token = issuer.bearer(json!({ "azp": "portal", "email": "Ada@x.ORG" }));
    let own = http::get(gateway.address, "/people", &[&token, "data-purpose: access", "sec-gpc: 1"]);
    assert_eq!(own.json(), json!([{ "name": "Ada" }, {}]), "her own data, and nobody else's");
    assert_eq!(names(&gateway, "/people", "direct-marketing"), ["Bea"], "her signal is heeded");
    let nobody = issuer.bearer(json!({ "azp": "portal", "email": " " }));
    assert_eq!(http::get(gateway.address, "/people", &[&nobody, "data-purpose: access"]).status, 401);
}

#[test]
fn subjects_of_a_case_are_read_by_the_namespace_rule() {
    let (upstream, gateway) = start_gateway();
    upstream
        .json("/people", r#"[{"email": "ada@x.org", "name": "Ada"}, {"email": "bea@x.org", "name": "Bea"}]"#);
    for id in ["ada@x.org", "bea@x.org"] {
        record(&gateway, "email", id, NOTICE);
    }
    let case = json!({
        "case": "C-7", "recipient": "police", "purpose": "law-enforcement", "categories": ["name"],
        "subjects": [{ "id": "ADA@x.org", "namespace": "email" }], "end": "2999-01-01T00:00:00Z", "reference": "1 Js 7/26",
    });
    let post = |path: &str, body: &Value| gateway.post_admin(path, body.to_string().as_bytes());
    assert_eq!(post("/v1/cases", &case).status, 200);
    for approver in ["Kim", "Lee"] {
        assert_eq!(post("/v1/cases/C-7/approve", &json!({ "approver": approver })).status, 200);
    }
    let shown = gateway.get_admin("/v1/cases/C-7").json();
    assert_eq!(shown["subjects"], json!([{ "id": "ada@x.org", "namespace": "email" }]));
    let answer = gateway.get("/people", "police", "law-enforcement;case=\"C-7\"");
    assert_eq!(answer.json(), json!([{ "name": "Ada" }, {}]), "{}", answer.text());
    let mut misfit = case.clone();
    misfit["case"] = "C-8".into();
    misfit["subjects"] = json!([{ "id": "Group/17", "namespace": "fhir" }]);
    let refused = post("/v1/cases", &misfit);
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("pattern of its namespace") && !refused.text().contains("Group"));
}

/// Events recorded before a rule are read by it; histories and disclosures of ids that become equal are merged.
#[test]
fn a_namespace_rule_applies_to_earlier_events() {
    let upstream = Upstream::start();
    upstream.json("/people", r#"[{"email": "Ada@X.org", "name": "Ada"}]"#);
    let gateway = TestGateway::start(&config(&upstream, ""));
    let link = gateway.get_admin("/v1/subjects/ADA@x.org/opt-out-link?namespace=email").json();
    record(&gateway, "email", "ada@x.org", r#"{"kind": "objection", "purpose": "usage-analytics"}"#);
    record(&gateway, "email", "Ada@X.org", GIVEN);
    assert_eq!(names(&gateway, "/people", "direct-marketing"), ["Ada"], "under this spelling");
    record(&gateway, "email", "ada@x.org", r#"{"kind": "consent-withdrawn", "purpose": "marketing"}"#);
    record(&gateway, "email", "ADA@X.ORG", r#"{"kind": "request-received", "right": "access"}"#);
    assert_eq!(names(&gateway, "/people", "direct-marketing"), ["Ada"], "other spellings are others");
    gateway.wait_for_log("released");
    let folder = gateway.end();

    let gateway = TestGateway::start_in(folder, &config(&upstream, RULES));
    assert_eq!(names(&gateway, "/people", "direct-marketing"), Vec::<String>::new(), "it was withdrawn last");
    let ask = |path: &str| gateway.get_admin(&format!("/v1/subjects/aDa@x.org{path}?namespace=email")).json();
    let state = ask("");
    assert_eq!(
        (&state["consents"]["marketing"], &state["objections"]),
        (&json!("withdrawn"), &json!(["usage-analytics"]))
    );
    let kinds: Vec<Value> =
        ask("/events").as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["objection", "consent-given", "consent-withdrawn", "request-received"]);
    assert_eq!(ask("/disclosures")["disclosures"].as_array().unwrap().len(), 2, "under the old spelling");
    assert_eq!(ask("/report")["events"].as_array().unwrap().len(), 4);
    let requests = gateway.get_admin("/v1/requests").json();
    assert_eq!((requests.as_array().unwrap().len(), &requests[0]["subject"]), (1, &json!("ada@x.org")));
    assert!(gateway.metrics().contains("purposegate_ledger_subjects 1"));

    record(&gateway, "email", "Ada@X.org", GIVEN);
    assert_eq!(names(&gateway, "/people", "direct-marketing"), ["Ada"]);
    let form = ["content-type: application/x-www-form-urlencoded"];
    let path = link["path"].as_str().unwrap();
    assert_eq!(http::send(gateway.address, "POST", path, &form, b"List-Unsubscribe=One-Click").status, 200);
    assert_eq!(names(&gateway, "/people", "direct-marketing"), Vec::<String>::new(), "an old link works");
    drop(gateway.end());
}

/// Returns the codes of the errors in a configuration with these tables.
fn error_codes(tables: &str) -> Vec<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, format!("{}{tables}", base("127.0.0.1:9".parse().unwrap()))).unwrap();
    let (config, findings) = purposegate::config::load(&file);
    let errors: Vec<_> = findings.iter().filter(|finding| finding.is_error()).collect();
    assert_eq!(config.is_none(), !errors.is_empty());
    errors.into_iter().map(purposegate::finding::Finding::code).collect()
}

fn route(name: &str, subject: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nupstream = \"crm\"\npath = \"/{name}/{{id}}\"\nsubject = {subject}\n\
         fields = {{ \"@.name\" = \"name\" }}\n"
    )
}

#[test]
fn a_namespace_cannot_have_two_rules() {
    let lower = route("a", r#"{ path = "@.email", namespace = "email", normalise = "lowercase" }"#);
    let silent = route("b", r#"{ path = "@.mail", namespace = "email" }"#);
    let listed = route("c", r#"{ path = "@.id", namespace = "email", normalise = ["lowercase"] }"#);
    let exact = route("d", r#"{ path = "@.id", namespace = "email", normalise = "exact" }"#);
    let elsewhere = route("e", r#"{ path = "@.id", normalise = ["trim", "nfc"] }"#);
    let section = |rule: &str| format!("[namespace.email]\nnormalise = {rule}\n");
    assert!(error_codes(&format!("{lower}{silent}{listed}{elsewhere}")).is_empty());
    assert!(error_codes(&format!("{lower}{}", section(r#"["lowercase"]"#))).is_empty());
    assert!(error_codes(&format!("{lower}[namespace.email]\nextract = \"^(.+@.+)$\"\n")).is_empty());
    let differ = ["namespace-rules-differ"];
    assert_eq!(error_codes(&format!("{lower}{exact}")), differ);
    assert_eq!(error_codes(&format!("{lower}{}", section(r#"["lowercase", "trim"]"#))), differ);
    assert_eq!(error_codes(&format!("{elsewhere}[namespace.default]\nnormalise = \"trim\"\n")), differ);
    let records = r#"
[[route]]
name = "two"
upstream = "crm"
path = "/two"
[[route.records]]
path = "$.a[*]"
subject = { path = "@.id", namespace = "email", normalise = "nfc" }
fields = { "@.name" = "name" }
"#;
    assert_eq!(error_codes(&format!("{lower}{records}")), differ);
    for (section, code) in [
        ("[namespace.x]\nnormalise = \"upper\"\n", "unknown-value"),
        ("[namespace.x]\nnormalize = \"trim\"\n", "unknown-key"),
        ("[namespace.x]\nextract = \"17\"\n", "bad-id-pattern"),
        ("[namespace.x]\nextract = \"(a)(b)\"\n", "bad-id-pattern"),
        ("[namespace.x]\nextract = \"(\"\n", "bad-id-pattern"),
        ("[namespace.x]\nextract = \"(?=a)(b)\"\n", "bad-id-pattern"),
        ("[namespace.\"\"]\nnormalise = \"trim\"\n", "bad-namespace-name"),
    ] {
        let codes = error_codes(&format!("{silent}{section}"));
        assert_eq!(codes, [code], "{section}");
    }
}

#[test]
fn normalise_of_one_route_applies_to_its_whole_namespace() {
    let upstream = Upstream::start();
    upstream.json("/a/1", r#"{"email": "ADA@x.org", "name": "Ada"}"#);
    upstream.json("/b/1", r#"{"mail": "ADA@x.org", "name": "Ada"}"#);
    let routes = [
        route("a", r#"{ path = "@.email", namespace = "email", normalise = "lowercase" }"#),
        route("b", r#"{ path = "@.mail", namespace = "email" }"#),
    ];
    let gateway = TestGateway::start(&format!("{}{}", base(upstream.address), routes.concat()));
    record(&gateway, "email", "Ada@X.org", GIVEN);
    for path in ["/a/1", "/b/1"] {
        assert_eq!(names(&gateway, path, "direct-marketing"), ["Ada"], "{path}");
    }
}

#[test]
fn no_facts_needs_a_subject_outside_the_path() {
    let code = ["no-facts-by-path-alone"];
    let no_facts = |subject: &str| format!("{}unknown-subject = \"no-facts\"\n", route("a", subject));
    assert_eq!(error_codes(&no_facts(r#""{id}""#)), code);
    assert_eq!(error_codes(&no_facts(r#"[{ path = "{id}", namespace = "crm" }]"#)), code);
    // A record without the optional id has only that of the path.
    assert_eq!(error_codes(&no_facts(r#"["{id}", { path = "@.id", optional = true }]"#)), code);
    assert!(error_codes(&no_facts(r#"["{id}", "@.id"]"#)).is_empty());
    assert!(error_codes(&no_facts(r#"["{id}", { path = "@.id", optional = false }]"#)).is_empty());
    assert!(error_codes(&no_facts(r#""@.id""#)).is_empty());
    assert!(error_codes(&route("a", r#""{id}""#)).is_empty(), "unknown people are withheld");
    let with_records = |subject: &str, schema: &str| {
        format!(
            "{schema}[[route]]\nname = \"a\"\nupstream = \"crm\"\npath = \"/a/{{id}}\"\nunknown-subject = \"no-facts\"\n\
             [[route.records]]\npath = \"$.a\"\n{subject}\nfields = {{ \"@.name\" = \"name\" }}\n"
        )
    };
    assert_eq!(error_codes(&with_records("subject = \"{id}\"", "")), code);
    let schema = "[[schema]]\nname = \"s\"\nsubject = \"{id}\"\n";
    assert_eq!(error_codes(&with_records("schema = \"s\"", schema)), code);
    assert!(error_codes(&with_records("subject = [\"{id}\", \"@.id\"]", "")).is_empty());
}

#[test]
fn an_event_in_an_unknown_namespace_is_refused() {
    let (_upstream, gateway) = start_gateway();
    for (namespace, words) in [
        ("Email", "`namespace` is not a configured namespace; did you mean `email`?"),
        ("%20email", "`namespace` is not a configured namespace; did you mean `email`?"),
        (
            "default",
            "`namespace` is missing: all ids of the configuration are in `account`, `email`, `fhir`, `unused`",
        ),
    ] {
        let answer = send_event(&gateway, namespace, "ada@example.org", r#"{"kind": "erasure"}"#);
        assert_eq!(answer.status, 400, "{namespace}");
        assert_eq!(answer.json()["detail"], words, "{namespace}");
    }
    let answer = send_event(&gateway, "unused", "ada@example.org", r#"{"kind": "erasure"}"#);
    assert_eq!(answer.status, 200, "a section names it");
}
