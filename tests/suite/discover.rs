//! `discover`: the classification of payloads against written expectations, and the command.
//!
//! `tests/discover` has payloads with their expectations: `tuning.toml` was before the eyes of those who wrote the rules,
//! `held_out.toml` was first measured when the rules stood, `second.toml` when those had been mended, `third.toml`, which
//! others wrote, after that, and `fourth.toml` at last. The bodies of `payloads.toml` are kept beside the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use purposegate::discover::{JsonType, ObservedPath, Proposal, Samples, propose};
use serde_json::Value;
use serde_json_path::{JsonPath, LocatedNode, NormalizedPath};
use toml::Table;

use crate::program::{run, run_with_input, write_config};

/// Share of the personal leaves that are found, in per cent, at least.
const FOUND: usize = 98;
/// Share of the other leaves that are called personal, in per cent, at most: in the third set, of whose leaves a fifth has names
/// that tell nothing (`c07`).
const OVERCAUTIOUS: usize = 15;

/// A payload with the expected categories by path.
struct ExpectedPayload {
    name: String,
    body: String,
    expect: Vec<(String, String)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/discover")
}

fn table(name: &str) -> Table {
    std::fs::read_to_string(folder().join(name)).unwrap().parse().unwrap()
}

fn expectations(table: &Table) -> Vec<(String, String)> {
    table.iter().map(|(path, category)| (path.clone(), category.as_str().unwrap().to_owned())).collect()
}

/// Reads payloads whose bodies are in the file.
fn written(name: &str) -> Vec<ExpectedPayload> {
    let file = table(name);
    let payloads = file["payload"].as_array().unwrap().iter().map(|payload| payload.as_table().unwrap());
    let read = |payload: &Table| ExpectedPayload {
        name: payload["name"].as_str().unwrap().to_owned(),
        body: payload["body"].as_str().unwrap().to_owned(),
        expect: payload.get("expect").and_then(toml::Value::as_table).map(expectations).unwrap_or_default(),
    };
    payloads.map(read).collect()
}

/// Nodes by the steps to them.
type Categories = BTreeMap<Vec<String>, Vec<String>>;

fn steps(path: &NormalizedPath<'_>) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}

fn select(document: &Value, path: &str) -> Vec<Vec<String>> {
    let query = JsonPath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    query.query_located(document).iter().map(LocatedNode::location).map(steps).collect()
}

/// Collects the scalars and the empty containers.
fn leaves(value: &Value, at: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    if members.is_empty() {
        found.push(at.clone());
    }
    for (name, value) in members {
        at.push(name);
        leaves(value, at, found);
        at.pop();
    }
}

/// Returns the categories of the nearest node above a leaf, or of the leaf.
fn nearest<'c>(categories: &'c Categories, leaf: &[String]) -> Option<&'c [String]> {
    (0..=leaf.len()).rev().find_map(|length| categories.get(&leaf[..length])).map(Vec::as_slice)
}

fn proposed(document: &Value, proposal: &Proposal) -> Categories {
    let mut categories = Categories::new();
    for route in &proposal.routes {
        for field in route.fields.iter() {
            let path = match field.path.strip_prefix('@') {
                Some(rest) => format!("{}{rest}", route.record),
                None => field.path.clone(),
            };
            for node in select(document, &path) {
                categories.entry(node).or_default().extend(field.categories.clone());
            }
        }
    }
    categories
}

/// The result of a comparison. Leaves of different elements of one array count once.
#[derive(Default)]
struct Comparison {
    personal: usize,
    missed: Vec<String>,
    other: usize,
    overcautious: usize,
    uncovered: Vec<String>,
}

impl Comparison {
    fn add(&mut self, payload: &ExpectedPayload) {
        let ExpectedPayload { name, body, expect } = payload;
        let document: Value = serde_json::from_str(body).unwrap();
        let mut expected = Categories::new();
        let mut shortest_first: Vec<_> = expect.iter().collect();
        shortest_first.sort_by_key(|(path, _)| path.len());
        for (path, category) in shortest_first {
            for node in select(&document, path) {
                expected.insert(node, vec![category.clone()]);
            }
        }
        let mut samples = Samples::default();
        samples.add(body.as_bytes()).unwrap();
        let categories = proposed(&document, &samples.propose());
        let mut found = Vec::new();
        leaves(&document, &mut Vec::new(), &mut found);
        let mut seen = BTreeSet::new();
        for leaf in found {
            let position = |step: &String| {
                if step.bytes().all(|byte| byte.is_ascii_digit()) { "*".to_owned() } else { step.clone() }
            };
            let merged: Vec<String> = leaf.iter().map(position).collect();
            if !seen.insert(merged.clone()) {
                continue;
            }
            let label = format!("{name}: {}", merged.join("."));
            let personal =
                nearest(&categories, &leaf).map(|names| names.iter().any(|name| name != "non-personal"));
            if personal.is_none() {
                self.uncovered.push(label.clone());
            }
            match nearest(&expected, &leaf).map_or("non-personal", |names| &names[0]) {
                "either" => {}
                "non-personal" => {
                    self.other += 1;
                    self.overcautious += usize::from(personal == Some(true));
                }
                _ => {
                    self.personal += 1;
                    if personal != Some(true) {
                        self.missed.push(label);
                    }
                }
            }
        }
    }

    fn assert_aims(&self, set: &str, may_miss: bool, most: usize) {
        let Comparison { personal, missed, other, overcautious, uncovered } = self;
        let found = personal - missed.len();
        eprintln!(
            "{set}: {found} of {personal} personal leaves found, {overcautious} of {other} others called personal"
        );
        assert!(*personal > 200 && *other > 200, "{set}: are the payloads still read?");
        assert_eq!(uncovered, &Vec::<String>::new(), "{set}: leaves without a proposal");
        assert!(found * 100 >= personal * FOUND, "{set}: missed {missed:#?}");
        assert!(may_miss || missed.is_empty(), "{set}: missed {missed:#?}");
        assert!(overcautious * 100 <= other * most, "{set}: {overcautious} of {other}");
    }
}

#[test]
fn leaves_of_payloads_are_classified_as_expected() {
    let sets = [
        ("tuning", false, 8),
        ("held_out", false, 10),
        ("second", false, 9),
        ("third", true, OVERCAUTIOUS),
        ("fourth", true, 11),
    ];
    for (set, may_miss, most) in sets {
        let mut comparison = Comparison::default();
        written(&format!("{set}.toml")).iter().for_each(|payload| comparison.add(payload));
        comparison.assert_aims(set, may_miss, most);
    }
}

#[test]
fn leaves_of_well_known_apis_are_classified_as_expected() {
    let bodies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/payloads");
    if !bodies.is_dir() {
        eprintln!("skipped: there is no folder {}", bodies.display());
        return;
    }
    let mut comparison = Comparison::default();
    for (name, expect) in table("payloads.toml") {
        let body = std::fs::read_to_string(bodies.join(format!("{name}.json"))).unwrap();
        comparison.add(&ExpectedPayload { name, body, expect: expectations(expect.as_table().unwrap()) });
    }
    comparison.assert_aims("payloads", false, 4);
}

#[test]
fn no_reason_quotes_a_value() {
    for payload in ["tuning", "held_out", "second", "third", "fourth"]
        .iter()
        .flat_map(|set| written(&format!("{set}.toml")))
    {
        let document: Value = serde_json::from_str(&payload.body).unwrap();
        let mut samples = Samples::default();
        samples.add(payload.body.as_bytes()).unwrap();
        let proposal = samples.propose();
        let reasons: String = proposal
            .routes
            .iter()
            .flat_map(|route| route.fields.iter())
            .map(|field| field.reason.clone() + "\n")
            .collect();
        let mut values = Vec::new();
        strings(&document, &mut values);
        for value in
            values.iter().filter(|value| value.len() > 7 && value.contains(|c: char| !c.is_ascii_lowercase()))
        {
            assert!(!reasons.contains(value), "{}: {value}", payload.name);
        }
    }
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(elements) => elements.iter().for_each(|element| strings(element, found)),
        Value::Object(members) => members.values().for_each(|member| strings(member, found)),
        _ => {}
    }
}

#[test]
fn paths_without_values_are_enough() {
    let observed = |path: &str, kind| ObservedPath {
        path: path.to_owned(),
        types: [kind].into_iter().collect(),
        count: 3,
    };
    let proposal = propose(&[
        observed("$['items'][0]['customer']['id']", JsonType::Number),
        observed("$.items[*].customer.email", JsonType::String),
        observed("$.items[*].quantity", JsonType::Number),
        observed("$.items[?@.a]", JsonType::Number),
    ]);
    let [route] = proposal.routes.as_slice() else { panic!("{proposal:?}") };
    let fields: Vec<_> = route.fields.iter().map(|field| (&*field.path, &*field.categories[0])).collect();
    assert_eq!(route.record, "$.items[*]");
    assert_eq!(route.subject.as_deref(), Some("@.customer.id"));
    assert_eq!(
        fields,
        [
            ("@.customer.id", "subject-identifier"),
            ("@.customer.email", "email"),
            ("@.quantity", "non-personal")
        ]
    );
}

const PEOPLE: &str = r#"{"items":[{"id":"p-1","name":"Ada Example","email":"ada@example.org","status":"active","by_account":{"0a1c7d5e-11aa-4a5b-9c1d-2f3e4d5c6b7a":{"email":"a@example.org"}}}],"total":1}"#;

#[test]
fn a_sample_becomes_a_mapping_in_json() {
    let (status, out, words) = run_with_input(["discover", "--sample", "-", "--format", "json"], PEOPLE);
    assert_eq!((status, words.as_str()), (0, ""));
    let proposal: Value = serde_json::from_str(&out).unwrap();
    let route = &proposal["routes"][0];
    assert_eq!(
        (&route["path"], &route["record"], &route["subject"]),
        (&Value::Null, &"$.items[*]".into(), &"@.id".into())
    );
    let category = |path: &str| {
        let field = route["fields"].as_array().unwrap().iter().find(|field| field["path"] == path);
        field.unwrap_or_else(|| panic!("{path}: {out}"))["category"].clone()
    };
    for (path, expected) in [
        ("@.id", "subject-identifier"),
        ("@.name", "name"),
        ("@.email", "email"),
        ("@.status", "non-personal"),
        ("@.by_account", "subject-identifier"),
        ("@.by_account.*.email", "email"),
        ("$.total", "non-personal"),
    ] {
        assert_eq!(category(path), expected, "{path}");
    }
    assert!(!out.contains("ada@example.org") && !out.contains("Ada"), "{out}");
}

#[test]
fn the_mapping_in_toml_loads() {
    let (status, out, _) = run_with_input(["discover", "--sample", "-"], PEOPLE);
    assert_eq!(status, 0);
    let routes = out
        .replace("upstream = \"upstream\"", "upstream = \"crm\"")
        .replace("path = \"/\"", "path = \"/people\"");
    let config = format!("{}\n{routes}", crate::gateway::base("127.0.0.1:9".parse().unwrap()));
    let (_folder, file) = write_config(&config);
    let (status, _, words) = run(["check", "--config", file.to_str().unwrap()]);
    assert!(status == 0 || !words.contains("error["), "{words}\n{config}");
    let (status, scrubbed, words) = run_with_input(
        [
            "scrub",
            "--config",
            file.to_str().unwrap(),
            "--route",
            "proposed",
            "--recipient",
            "support",
            "--purpose",
            "customer-support",
            "--subject-json",
            "{}",
        ],
        PEOPLE,
    );
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(scrubbed.contains("ada@example.org"), "{scrubbed}");
}

#[test]
fn a_mapping_with_its_path_and_upstream_loads_as_it_is() {
    let options = ["discover", "--sample", "-", "--path", "/people", "--upstream", "crm"];
    let (status, routes, words) = run_with_input(options, PEOPLE);
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(routes.contains("name = \"people\"\nupstream = \"crm\"\npath = \"/people\"\n"), "{routes}");
    let config = format!("{}\n{routes}", crate::gateway::base("127.0.0.1:9".parse().unwrap()));
    let (_folder, file) = write_config(&config);
    let (status, _, words) = run(["check", "--config", file.to_str().unwrap()]);
    assert!(status == 0 && !words.contains("error["), "{words}\n{config}");
    let (status, out, _) = run_with_input([&options[..], &["--format", "json"]].concat(), PEOPLE);
    let proposal: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &proposal["routes"][0]["path"]), (0, &"/people".into()));
    // A configured route has a path already.
    let (status, ..) = run_with_input([&options[..], &["--route", "people"]].concat(), PEOPLE);
    assert_eq!(status, 2);
}

#[test]
fn a_configuration_that_would_not_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.yaml");
    std::fs::write(&file, SHOP).unwrap();
    let document = ["--openapi", file.to_str().unwrap()];
    for source in [&document[..], &["--sample", "-"], &["--sample", "-", "--path", "/people"]] {
        for config in
            [&["--config", "/nowhere.toml"][..], &["--config", "/nowhere.toml", "--route", "people"]]
        {
            let (status, out, words) = run_with_input([&["discover"], source, config].concat(), PEOPLE);
            assert_eq!((status, out.as_str()), (2, ""), "{source:?} {config:?}");
            assert!(words.contains("--config") || words.contains("/nowhere.toml"), "{words}");
        }
    }
}

#[test]
fn a_mapping_of_a_document_has_the_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.yaml");
    std::fs::write(&file, SHOP).unwrap();
    let (status, out, words) = run(["discover", "--openapi", file.to_str().unwrap(), "--upstream", "c\"rm"]);
    assert_eq!((status, words.as_str()), (0, ""));
    let routes = out.parse::<Table>().unwrap();
    let routes = routes["route"].as_array().unwrap();
    assert!(routes.iter().all(|route| route["upstream"].as_str() == Some("c\"rm")), "{out}");
}

#[test]
fn what_a_route_classifies_is_not_proposed_again() {
    let route = r#"
[[route]]
name = "people"
upstream = "crm"
path = "/people"
record = "$.items[*]"
subject = "@.id"
fields = { "@.id" = "subject-identifier", "@.email" = "email", "@.by_account" = "subject-identifier", "$.total" = "aggregate" }
"#;
    let (_folder, file) =
        write_config(&format!("{}{route}", crate::gateway::base("127.0.0.1:9".parse().unwrap())));
    let file = file.to_str().unwrap();
    let (status, out, words) = run_with_input(
        ["discover", "--config", file, "--route", "people", "--sample", "-", "--format", "json"],
        PEOPLE,
    );
    assert_eq!((status, words.as_str()), (0, ""));
    let proposal: Value = serde_json::from_str(&out).unwrap();
    let fields = proposal["routes"][0]["fields"].as_array().unwrap();
    let paths: Vec<&str> = fields.iter().map(|field| field["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["@.name", "@.status"]);
    assert_eq!(
        (&proposal["routes"][0]["path"], &proposal["routes"][0]["methods"]),
        (&"/people".into(), &serde_json::json!(["GET"]))
    );
    let (status, _, words) =
        run_with_input(["discover", "--config", file, "--route", "peopel", "--sample", "-"], PEOPLE);
    assert_eq!(status, 2);
    assert!(words.contains("people"), "{words}");
}

#[test]
fn a_mapping_is_proposed_for_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.CSV");
    let table =
        "id,first name,email,status\r\n7,Ada,ada@example.org,active\r\n8,\"Ben, B\",ben@example.org,\r\n";
    std::fs::write(&file, table).unwrap();
    let options = ["--path", "/people", "--upstream", "crm"];
    let sample = file.to_str().unwrap();
    let (status, routes, words) = run([&["discover", "--sample", sample][..], &options].concat());
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(routes.contains("framing = \"csv\"\nsubject = \"@.id\"\n[route.fields]\n"), "{routes}");
    assert!(
        routes.contains("\"@.email\" = \"email\"") && routes.contains("\"@['first name']\" = "),
        "{routes}"
    );
    let config = format!("{}\n{routes}", crate::gateway::base("127.0.0.1:9".parse().unwrap()));
    let (_folder, config) = write_config(&config);
    let (status, _, words) = run(["check", "--config", config.to_str().unwrap()]);
    assert!(status == 0 && !words.contains("not-a-column"), "{words}");
    let from_stdin = run_with_input([&["discover", "--csv", "--sample", "-"][..], &options].concat(), table);
    assert_eq!(from_stdin.1, routes);
    // The scrubber reads the input as the route does.
    let route =
        ["scrub", "--config", config.to_str().unwrap(), "--route", "people", "--recipient", "support"];
    let asked = ["--purpose", "customer-support", "--subject-json", "{}"];
    let (status, scrubbed, words) = run_with_input([&route[..], &asked].concat(), table);
    assert_eq!((status, words.as_str()), (0, ""));
    assert_eq!(scrubbed.lines().next(), table.lines().next());
    assert!(scrubbed.contains("ada@example.org") && scrubbed.lines().count() == 3, "{scrubbed}");
    let (status, emptied, _) = run_with_input(["scrub", "--csv", "--remove", "$.email"], table);
    assert_eq!((status, emptied), (0, table.replace("ada@example.org", "").replace("ben@example.org", "")));
    let (status, _, words) = run_with_input(["scrub", "--csv", "--remove", "$.email"], "id,email\n7\n");
    assert!(status == 2 && words.contains("malformed at byte 9"), "{words}");
    // A route that classifies a column is not proposed it again.
    let known = ["discover", "--config", config.to_str().unwrap(), "--route", "people", "--sample", sample];
    let (status, out, words) = run([&known[..], &["--format", "json"]].concat());
    assert_eq!((status, words.as_str()), (0, ""));
    let proposal: Value = serde_json::from_str(&out).unwrap();
    let fields =
        proposal["routes"].as_array().unwrap().iter().flat_map(|route| route["fields"].as_array().unwrap());
    assert_eq!(fields.count(), 0, "{out}");
}

#[test]
fn unusable_samples_are_reported() {
    for (input, expected) in
        [("{\"a\": nothing}", "line 1, column"), ("42", "single value"), ("", "not JSON")]
    {
        let (status, out, words) = run_with_input(["discover", "--sample", "-"], input);
        assert_eq!((status, out.as_str()), (2, ""), "{input}");
        assert!(words.contains(expected) && !words.contains("nothing"), "{words}");
    }
    let (status, _, words) = run(["discover", "--sample", "no/such/file.json"]);
    assert_eq!(status, 2);
    assert!(words.contains("no/such/file.json"), "{words}");
}

const SHOP: &str = r#"openapi: 3.1.0
info: {title: Shop, version: '1'}
paths:
  /customers/{id}:
    get:
      responses:
        '200':
          description: one customer
          content:
            application/json:
              schema:
                $ref: '#/components/schemas/Customer'
        '404':
          description: none
          content:
            application/json: {schema: {type: object, properties: {email: {type: string}}}}
  /customers:
    get:
      responses:
        2XX:
          $ref: '#/components/responses/CustomerPage'
    delete:
      responses:
        '204': {description: gone}
  /products:
    get:
      responses:
        '200':
          description: products
          content:
            application/vnd.shop+json:
              schema: {type: array, items: {$ref: '#/components/schemas/Product'}}
components:
  responses:
    CustomerPage:
      description: a page
      content:
        application/json:
          schema:
            type: object
            properties:
              total: {type: integer}
              items:
                type: array
                items: {$ref: '#/components/schemas/Customer'}
  schemas:
    Contact:
      type: object
      properties:
        email:
          type: string
          format: email
        phone: {type: [string, 'null']}
    Customer:
      allOf:
        - $ref: '#/components/schemas/Contact'
        - type: object
          properties:
            # The number in the shop.
            id:
              type: integer
            name:
              type: string
            shoe:
              type: string
              x-data-category: [preferences, health]
            referred_by:
              $ref: '#/components/schemas/Customer'
            addresses:
              type: object
              additionalProperties:
                oneOf:
                  - type: object
                    properties: {street: {type: string}}
                  - type: object
                    properties: {po_box: {type: string}}
    Product:
      type: object
      properties:
        sku: {type: string}
        price: {type: number}
"#;

/// Runs `discover` on an OpenAPI document in a folder of its own. Returns the status, the output and the messages.
fn openapi(name: &str, document: &str, options: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, document).unwrap();
    run([&["discover", "--openapi", file.to_str().unwrap()], options].concat())
}

/// Returns the categories by route, record and path.
fn categories(json: &str) -> BTreeMap<(String, String, String), Value> {
    let proposal: Value = serde_json::from_str(json).unwrap();
    let mut found = BTreeMap::new();
    for route in proposal["routes"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for field in route["fields"].as_array().unwrap() {
            found.insert(
                (text(&route["path"]), text(&route["record"]), text(&field["path"])),
                field["category"].clone(),
            );
        }
    }
    found
}

#[test]
fn an_openapi_document_gives_a_route_for_each_operation() {
    let (status, out, words) = openapi("shop.yaml", SHOP, &["--format", "json"]);
    assert_eq!((status, words.as_str()), (0, ""));
    let found = categories(&out);
    let category = |path: &str, record: &str, field: &str| {
        let key = (path.to_owned(), record.to_owned(), field.to_owned());
        found.get(&key).cloned().unwrap_or_else(|| panic!("{key:?}: {out}"))
    };
    for (path, record) in [("/customers/{id}", "$"), ("/customers", "$.items[*]")] {
        assert_eq!(category(path, record, "@.id"), "subject-identifier");
        assert_eq!(category(path, record, "@.email"), "email");
        assert_eq!(category(path, record, "@.phone"), "phone");
        assert_eq!(category(path, record, "@.name"), "name");
        assert_eq!(category(path, record, "@.shoe"), serde_json::json!(["preferences", "health"]));
        assert_eq!(category(path, record, "@.addresses.*.street"), "postal-address");
        assert_eq!(category(path, record, "@.addresses.*.po_box"), "postal-address");
        assert_eq!(category(path, record, "@.referred_by..email"), "email");
    }
    assert_eq!(category("/customers", "$.items[*]", "$.total"), "non-personal");
    assert_eq!(category("/products", "$[*]", "@.sku"), "non-personal");
    assert_eq!(category("/products", "$[*]", "@.price"), "non-personal");
    let proposal: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(proposal["routes"].as_array().unwrap().len(), 3, "{out}");
    assert_eq!(proposal["routes"][0]["subject"], "@.id");
}

/// Returns the number of fields of a proposal with a confidence below 0.5.
fn guesses(out: &str) -> usize {
    let proposal: Value = serde_json::from_str(out).unwrap();
    let routes = proposal["routes"].as_array().unwrap().iter();
    let fields = routes.flat_map(|route| route["fields"].as_array().unwrap());
    fields.filter(|field| field["confidence"].as_f64().unwrap() < 0.5).count()
}

#[test]
fn an_annotated_document_keeps_its_text_and_proposes_the_same() {
    let json = serde_json::to_string_pretty(&serde_json::json!({"openapi": "3.0.3", "paths": {"/users": {"get": {"responses": {"200": {
        "description": "ü", "content": {"application/json": {"schema": {"type": "object", "properties": {
            "email": {"type": "string"}, "status": {}, "tags": {"type": "array", "items": {"type": "string"}}}}}}}}}}}}))
    .unwrap();
    for (name, document) in [("shop.yaml", SHOP), ("users.json", json.as_str())] {
        let proposed = openapi(name, document, &["--format", "json"]).1;
        let (before, before_guesses) = (categories(&proposed), guesses(&proposed));
        let (status, annotated, words) = openapi(name, document, &["--annotate"]);
        assert_eq!(status, 0, "{name}");
        // A guess stays a guess.
        assert_eq!(words.contains("it would be a guess"), before_guesses > 0, "{name}: {words}");
        assert!(annotated.contains("x-data-category") && annotated.len() > document.len());
        let proposed = openapi(name, &annotated, &["--format", "json"]).1;
        let after = categories(&proposed);
        assert_eq!(guesses(&proposed), before_guesses, "{name}: {annotated}");
        assert_eq!(before, after, "{name}: {annotated}");
        assert_eq!(openapi(name, &annotated, &["--annotate"]).1, annotated, "{name}: twice");
        // Everything that was there is there, in the same order.
        let mut rest = annotated.as_str();
        for line in document.lines().map(str::trim).filter(|line| !line.contains('{')) {
            let at = rest.find(line).unwrap_or_else(|| panic!("{name}: {line}\n{annotated}"));
            rest = &rest[at + line.len()..];
        }
    }
}

#[test]
fn references_stay_below_the_folder_of_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("api");
    std::fs::create_dir_all(below.join("parts")).unwrap();
    std::fs::write(folder.path().join("secret.yaml"), "type: object\nproperties: {hidden: {type: string}}\n")
        .unwrap();
    std::fs::write(
        below.join("parts/person.yaml"),
        "type: object\nproperties:\n  email: {type: string}\n  boss: {$ref: 'person.yaml'}\n",
    )
    .unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret.yaml"), below.join("link.yaml")).unwrap();
    let document = |reference: &str| {
        format!(
            "openapi: 3.0.0\npaths:\n  /p:\n    get:\n      responses:\n        '200':\n          description: p\n          content:\n            application/json:\n              schema: {{$ref: '{reference}'}}\n"
        )
    };
    let propose = |reference: &str| {
        let file = below.join("api.yaml");
        std::fs::write(&file, document(reference)).unwrap();
        run(["discover", "--openapi", file.to_str().unwrap(), "--format", "json"])
    };
    let (status, out, words) = propose("parts/person.yaml");
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(out.contains("@.email") && out.contains("@.boss..email"), "{out}");
    let outside = folder.path().join("secret.yaml");
    for (reference, expected) in [
        ("../secret.yaml", "not below the folder"),
        ("link.yaml", "not below the folder"),
        (outside.to_str().unwrap(), "not below the folder"),
        ("https://example.org/person.yaml", "nothing is fetched"),
        ("parts/missing.yaml", "parts/missing.yaml"),
    ] {
        let (status, out, words) = propose(reference);
        assert_eq!((status, out.as_str()), (2, ""), "{reference}");
        assert!(words.contains(expected) && !words.contains("hidden"), "{reference}: {words}");
    }
}

#[test]
fn a_document_refers_to_itself_by_its_name_and_not_by_what_is_in_its_examples() {
    let folder = tempfile::tempdir().unwrap();
    let document = "openapi: 3.0.0\npaths:\n  /p:\n    get:\n      responses:\n        '200':\n          description: p\n          \
                    content:\n            application/json:\n              example: {$ref: 'https://example.org/x'}\n              \
                    schema: {$ref: 'api.yaml#/components/schemas/P'}\ncomponents:\n  schemas:\n    P:\n      type: object\n      \
                    example: {$ref: missing.yaml}\n      properties:\n        email: {type: string}\n        \
                    boss: {$ref: './api.yaml#/components/schemas/P'}\n";
    std::fs::write(folder.path().join("api.yaml"), document).unwrap();
    std::os::unix::fs::symlink("api.yaml", folder.path().join("latest.yaml")).unwrap();
    for name in ["api.yaml", "latest.yaml"] {
        let file = folder.path().join(name).display().to_string();
        let (status, out, words) = run(["discover", "--openapi", &file, "--format", "json"]);
        assert_eq!((status, words.as_str()), (0, ""), "{name}");
        assert!(out.contains("\"@.email\"") && out.contains("\"@.boss..email\""), "{name}: {out}");
        // A schema of another file would get no annotation.
        let (status, annotated, words) = run(["discover", "--openapi", &file, "--annotate"]);
        assert_eq!((status, words.as_str()), (0, ""), "{name}");
        assert!(annotated.contains("x-data-category: email"), "{name}: {annotated}");
    }
}

#[test]
fn documents_that_are_no_openapi_are_reported() {
    for (document, expected) in [
        ("swagger: '2.0'\n", "no OpenAPI document"),
        ("openapi: 3.0.0\npaths: {}\n", "no successful answer"),
        ("openapi: [3\n", "not YAML: line"),
        ("{\"openapi\": \"3.0.0\"", "not JSON: line"),
        ("a: *b\n", "YAML"),
    ] {
        let (status, out, words) = openapi("a.yaml", document, &[]);
        assert_eq!((status, out.as_str()), (2, ""), "{document}");
        assert!(words.contains(expected), "{document}: {words}");
    }
}

#[test]
fn a_document_whose_schemas_multiply_stays_bounded() {
    let mut document = String::from(
        "openapi: 3.0.0\npaths:\n  /a:\n    get:\n      responses:\n        '200':\n          description: a\n          content: {application/json: {schema: {$ref: '#/components/schemas/S0'}}}\ncomponents:\n  schemas:\n",
    );
    for level in 0..30 {
        document += &format!(
            "    S{level}: {{type: object, properties: {{a: {{$ref: '#/components/schemas/S{0}'}}, b: {{$ref: '#/components/schemas/S{0}'}}, email: {{type: string}}}}}}\n",
            level + 1
        );
    }
    document += "    S30: {type: object, properties: {name: {type: string}}}\n";
    let (status, out, words) = openapi("a.yaml", &document, &["--format", "json"]);
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(out.contains("\"@.a.b.email\"") && out.len() < 4 << 20, "{}", out.len());
}
