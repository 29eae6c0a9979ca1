//! The paths that nothing classifies, as the running gateway sees them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::gateway::{TestGateway, start_with_routes};
use crate::program::run;

const ROUTES: &str = r#"
[[route]]
name = "customers"
upstream = "crm"
path = "/customers"
record = "$.items[*]"
subject = "@.id"
[route.fields]
"@.id" = "non-personal"
"@.name" = "name"

[[route]]
name = "other"
upstream = "crm"
path = "/other"
[route.fields]
"@.name" = "non-personal"
"#;

fn report(gateway: &TestGateway, route: &str) -> Value {
    let answer = gateway.get_admin(&format!("/v1/routes/{route}/unclassified"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns path, types and count of each path.
fn paths(report: &Value) -> BTreeMap<&str, (Vec<&str>, u64)> {
    let mut paths = BTreeMap::new();
    for path in report["paths"].as_array().unwrap() {
        let types = path["types"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        paths.insert(path["path"].as_str().unwrap(), (types, path["count"].as_u64().unwrap()));
    }
    paths
}

#[test]
fn paths_are_listed_with_types_and_counts_and_without_values() {
    let (upstream, gateway) = start_with_routes(ROUTES);
    assert_eq!(report(&gateway, "customers")["paths"], json!([]));
    let members: serde_json::Map<String, Value> = ('a'..='z')
        .chain('A'..='Z')
        .map(|letter| (format!("person{letter}"), json!({ "role": "role-v" })))
        .collect();
    let customer = |id: &str, phone: Value| {
        json!({
            "id": id, "name": "Ada-v", "phone": phone, "home": { "city": "city-v", "rooms": [1, 2] },
            "by-mail": { "ada@example.org": true, "2026-11-29": "day-v", "018f4c1e-7a3b-7c7e-9d55-0a1b2c3d4e5f": null },
            "team": members,
        })
    };
    let body =
        json!({ "items": [customer("p-1", json!("+49-v")), customer("p-2", json!(17))], "next": "next-v" });
    upstream.json("/customers", &body.to_string());
    for _ in 0..4 {
        let answer = gateway.get("/customers", "support", "customer-support");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let report = report(&gateway, "customers");
    let text = report.to_string();
    assert!(!text.contains("-v\"") && !text.contains("example.org") && !text.contains("person"), "{text}");
    assert_eq!(
        (&report["route"], &report["records"], &report["others"]),
        (&json!("customers"), &json!(8), &json!(0))
    );
    let expected = BTreeMap::from([
        ("$.next", (vec!["string"], 4)),
        ("@.phone", (vec!["string", "number"], 8)),
        ("@.home.city", (vec!["string"], 8)),
        ("@.home.rooms[*]", (vec!["number"], 16)),
        ("@['by-mail'].*", (vec!["string", "boolean", "null"], 24)),
        ("@.team.*.*", (vec!["string"], 8 * 52)),
    ]);
    assert_eq!(paths(&report), expected);
    let record = |path: &str| {
        let all = report["paths"].as_array().unwrap();
        all.iter().find(|one| one["path"] == path).unwrap()["record"].clone()
    };
    assert_eq!((record("$.next"), record("@.phone")), (Value::Null, json!("$.items[*]")));
    assert_eq!(paths(&self::report(&gateway, "other")), BTreeMap::new());
    assert_eq!(gateway.get_admin("/v1/routes/nothing/unclassified").status, 404);
}

#[test]
fn discover_proposes_a_mapping_for_what_the_running_gateway_saw() {
    let (upstream, gateway) = start_with_routes(ROUTES);
    let admin = gateway.admin.to_string();
    let traffic = |more: &[&str]| {
        let arguments = ["discover", "--traffic", "--admin", &admin, "--route", "customers"];
        run([&arguments[..], more].concat())
    };
    let (status, nothing, _) = traffic(&["--format", "json"]);
    assert_eq!(status, 0, "{nothing}");
    assert!(!nothing.contains("\"path\": \"@"), "{nothing}");

    let customer = |id: &str| {
        json!({
            "id": id, "name": "Ada-v", "email": "ada-v@example.org", "phones": ["+49-v"],
            "orders": [{ "id": "o-v", "total": 7 }],
        })
    };
    upstream.json(
        "/customers",
        &json!({ "items": [customer("p-1"), customer("p-2")], "next": "next-v" }).to_string(),
    );
    // Names of objects that were seen less often are not shown.
    for _ in 0..4 {
        assert_eq!(gateway.get("/customers", "support", "customer-support").status, 200);
    }
    let (status, out, words) = traffic(&["--format", "json"]);
    assert_eq!(status, 0, "{words}");
    assert!(!out.contains("-v"), "a value: {out}");
    let proposal: Value = serde_json::from_str(&out).unwrap();
    let [route] = proposal["routes"].as_array().unwrap().as_slice() else { panic!("{out}") };
    assert_eq!(
        (&route["path"], &route["record"], &route["subject"]),
        (&json!("/customers"), &json!("$.items[*]"), &Value::Null)
    );
    let category = |path: &str| {
        let fields = route["fields"].as_array().unwrap();
        let found = fields.iter().find(|field| field["path"] == path);
        found.unwrap_or_else(|| panic!("{path}: {out}"))["category"].clone()
    };
    assert_eq!(category("@.email"), json!("email"));
    assert_eq!(category("@.phones[*]"), json!("phone"));
    assert_ne!(category("@.orders[*].id"), json!("non-personal"));
    assert_eq!(category("$.next"), json!("non-personal"));
    assert!(!out.contains("\"@.name\""), "the mapping classifies it: {out}");

    // The configuration names the data subject, which the gateway does not tell.
    let config = gateway.folder.path().join("purposegate.toml").display().to_string();
    let (status, out, words) = traffic(&["--config", &config]);
    assert_eq!(status, 0, "{words}");
    assert!(out.contains("subject = \"@.id\"") && out.contains("\"@.email\" = \"email\""), "{out}");

    let (status, out, words) = run(["discover", "--traffic", "--admin", &admin, "--route", "nothing"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains("no route `nothing`"), "{words}");
}
