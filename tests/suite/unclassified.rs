//! The paths that nothing classifies, as the running gateway sees them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::gateway::{TestGateway, start_with_routes};

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
        ("@.team.*.role", (vec!["string"], 8 * 52)),
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
