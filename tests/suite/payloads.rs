//! Answers in the shapes of well-known APIs, through a gateway. The recipient receives exactly what [`super::oracle`]
//! computes from the mapping and the policy, and every released scalar has its original spelling.
//!
//! The payloads are kept beside the repository. Tests without them print a note and pass.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use serde_json_path::JsonPath;
use toml::Table;

use crate::gateway::{self, TestGateway};
use crate::http;
use crate::oracle::RouteMapping;
use crate::upstream::Upstream;

/// Categories that P-0b releases to everybody.
const NOT_PERSONAL: [&str; 4] = ["non-personal", "aggregate", "de-identified", "published"];

/// Categories that staff do not see for support (the sharing table's "all").
#[rustfmt::skip]
const NEVER_FOR_SUPPORT: [&str; 19] = [
    "password", "security-question", "secret", "payment-card-number", "health", "biometric", "genetic", "ethnic-origin",
    "beliefs", "union-membership", "sexual-life", "criminal-offence", "location", "ip-address", "domain-name",
    "cookie-identifier", "device", "referrer", "device-content",
];

fn for_nobody(category: &str) -> bool {
    NOT_PERSONAL.contains(&category)
}

/// True for categories that P-0b releases of erased people, and of records without a usable subject.
fn for_the_erased(category: &str) -> bool {
    for_nobody(category) && category != "published"
}

fn for_support(category: &str) -> bool {
    !NEVER_FOR_SUPPORT.contains(&category)
}

fn for_payment(category: &str) -> bool {
    for_nobody(category) || category == "billing" || category == "payment-card-summary"
}

fn for_registration(category: &str) -> bool {
    for_nobody(category) || ["name", "email", "phone", "postal-address"].contains(&category)
}

/// Reads a folder of payloads beside the repository, by file stem. Prints a note and returns `None` if it is missing.
fn read_payloads(folder: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(folder);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: there is no folder {}", folder.display());
        return None;
    };
    let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(json).collect();
    files.sort();
    let read = |path: PathBuf| {
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    Some(files.into_iter().map(read).collect())
}

/// Reads the configuration in a folder under `tests/` and joins its files.
fn written(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let main = read("purposegate.toml");
    let includes = main.parse::<Table>().unwrap().get("include").and_then(toml::Value::as_array).cloned();
    let included = includes.into_iter().flatten().map(|name| read(name.as_str().unwrap()));
    included.fold(main, |whole, part| whole + "\n" + &part)
}

/// Adapts a configuration to this machine: paths, ports, and keys that the test knows.
fn adapt(written: &str, upstream: &Upstream) -> String {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut name = "";
    let mut text = String::new();
    for line in written.lines().filter(|line| !line.starts_with("include")) {
        name = line.strip_prefix("name = ").map_or(name, |name| name.trim_matches('"'));
        match line.split_once(" = ") {
            Some(("credentials", _)) => {
                text.push_str(&format!("credentials = [{}]", gateway::credential(name)));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text = text.replace("../../policies", &policies.display().to_string());
    text = text.replace("http://127.0.0.1:9000", &format!("http://{}", upstream.address));
    text + "[admin]\naddress = \"127.0.0.1:0\"\n"
}

/// Returns the text of every scalar in order: strings with quotation marks, numbers in their spelling.
fn scalars(json: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let length = match byte {
            b'"' => {
                let mut end = at + 1;
                while json[end] != b'"' {
                    end += if json[end] == b'\\' { 2 } else { 1 };
                }
                end + 1 - at
            }
            b' ' | b'\n' | b'\r' | b'\t' | b',' | b':' | b'[' | b']' | b'{' | b'}' => {
                at += 1;
                continue;
            }
            _ => json[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
                .count(),
        };
        found.push(&json[at..at + length]);
        at += length;
    }
    found
}

/// True if the scalars of `left` are a subsequence of those of `whole`, each in its spelling.
fn is_left_of(left: &[u8], whole: &[u8]) -> bool {
    let mut whole = scalars(whole).into_iter();
    scalars(left).into_iter().all(|scalar| whole.any(|candidate| candidate == scalar))
}

/// A recipient with its purpose, and the categories that it may receive.
struct RecipientView {
    recipient: &'static str,
    purpose: &'static str,
    leaves: fn(&str) -> bool,
}

/// One payload that the upstream serves.
struct ServedPayload<'a> {
    route: &'a str,
    method: &'a str,
    target: String,
    payload: &'a [u8],
}

/// Requests a payload and compares the answer with the oracle.
fn compare(gateway: &TestGateway, mapping: &Table, served: &ServedPayload<'_>, view: &RecipientView) {
    let ServedPayload { route, method, target, payload } = served;
    let headers = [gateway::bearer(view.recipient), format!("data-purpose: {}", view.purpose)];
    let answer = http::send(gateway.address, method, target, &headers.each_ref().map(String::as_str), b"");
    let what = format!("{target} for {} by {}", view.purpose, view.recipient);
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    let document: Value = serde_json::from_slice(payload).unwrap();
    let expected = RouteMapping::of(mapping, route).kept(&document, &view.leaves, &for_the_erased);
    assert_eq!(answer.json(), expected, "{what}");
    assert!(is_left_of(&answer.body, payload), "{what}: something was spelt anew: {}", answer.text());
}

/// Returns the subjects of these payloads, as members of a ledger event.
fn subjects(mapping: &Table, served: &[ServedPayload<'_>]) -> Vec<Value> {
    let of = |served: &ServedPayload<'_>| {
        RouteMapping::of(mapping, served.route)
            .subjects(&serde_json::from_slice(served.payload).unwrap(), "p-1")
    };
    served.iter().flat_map(of).collect()
}

/// Records the same event about all subjects.
fn record_for_all(gateway: &TestGateway, subjects: &[Value], event: &Value) {
    let line = |subject: &Value| {
        let mut line = subject.clone();
        line.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        format!("{line}\n")
    };
    let lines: String = subjects.iter().map(line).collect();
    let answer = gateway.post_admin("/v1/events:batch", lines.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("\"error\""), "{}", answer.text());
}

#[test]
fn payloads_of_well_known_apis() {
    let Some(payloads) = read_payloads("payloads") else { return };
    let upstream = Upstream::start();
    let written = written("payloads");
    let mapping: Table = written
        .lines()
        .filter(|line| !line.starts_with("include"))
        .collect::<Vec<_>>()
        .join("\n")
        .parse()
        .unwrap();
    assert_eq!(
        payloads.len(),
        mapping["route"].as_array().unwrap().len(),
        "each payload has a mapping and the other way round"
    );
    let served: Vec<ServedPayload<'_>> = payloads
        .iter()
        .map(|(route, payload)| {
            let method = if route.contains("post_response") { "POST" } else { "GET" };
            let target = target(&mapping, route);
            upstream.json(&target, std::str::from_utf8(payload).unwrap());
            ServedPayload { route, method, target, payload }
        })
        .collect();
    let gateway = TestGateway::start(&adapt(&written, &upstream));
    let subjects = subjects(&mapping, &served);

    record_for_all(&gateway, &subjects, &json!({"kind": "notice", "notice": "n1"}));
    for served in &served {
        compare(
            &gateway,
            &mapping,
            served,
            &RecipientView { recipient: "service-desk", purpose: "customer-support", leaves: for_support },
        );
        if served.method == "GET" {
            compare(
                &gateway,
                &mapping,
                served,
                &RecipientView { recipient: "service-desk", purpose: "direct-marketing", leaves: for_nobody },
            );
            compare(
                &gateway,
                &mapping,
                served,
                &RecipientView { recipient: "processor", purpose: "payment-processing", leaves: for_payment },
            );
        }
    }
    record_for_all(&gateway, &subjects, &json!({"kind": "erasure"}));
    for served in &served {
        compare(
            &gateway,
            &mapping,
            served,
            &RecipientView { recipient: "service-desk", purpose: "customer-support", leaves: for_the_erased },
        );
    }
}

#[test]
fn registration_data_in_rdap() {
    let Some(payloads) = read_payloads("rdap") else { return };
    let upstream = Upstream::start();
    let written = written("rdap");
    let mapping: Table = written.parse().unwrap();
    let served: Vec<ServedPayload<'_>> = payloads
        .iter()
        .map(|(name, payload)| {
            let document: Value = serde_json::from_slice(payload).unwrap();
            let kind = if document["objectClassName"] == "entity" { "entity" } else { "object" };
            let target = format!("/rdap/{kind}/{name}");
            upstream.json(&target, std::str::from_utf8(payload).unwrap());
            let route = if kind == "entity" { "rdap-entity" } else { "rdap-object" };
            ServedPayload { route, method: "GET", target, payload }
        })
        .collect();
    let gateway = TestGateway::start(&adapt(&written, &upstream));
    let subjects = subjects(&mapping, &served);
    let view = |leaves| RecipientView { recipient: "registrar", purpose: "domain-registration", leaves };

    record_for_all(&gateway, &subjects, &json!({"kind": "notice", "notice": "n1"}));
    for served in &served {
        compare(&gateway, &mapping, served, &view(for_nobody));
    }
    record_for_all(&gateway, &subjects, &json!({"kind": "relation", "relation": "domain-registrant"}));
    for served in &served {
        compare(&gateway, &mapping, served, &view(for_registration));
    }
}

#[test]
fn rdap_answers_describe_their_redactions() {
    let Some(payloads) = read_payloads("rdap") else { return };
    let upstream = Upstream::start();
    let settings = "redaction = \"rfc9537\"\nunknown-subject = \"withhold\"\npath = \"/rdap/";
    let gateway =
        TestGateway::start(&adapt(&written("rdap").replace("path = \"/rdap/", settings), &upstream));
    let mut explained = 0;
    for (name, payload) in &payloads {
        let before: Value = serde_json::from_slice(payload).unwrap();
        let kind = if before["objectClassName"] == "entity" { "entity" } else { "object" };
        let target = format!("/rdap/{kind}/{name}");
        upstream.json(&target, std::str::from_utf8(payload).unwrap());
        let answer = gateway.get(&target, "registrar", "domain-registration");
        assert_eq!(answer.status, 200, "{name} {}", answer.text());
        let after = answer.json();
        let listed_before = before["redacted"].as_array().cloned().unwrap_or_default();
        let listed = after["redacted"].as_array().cloned().unwrap_or_default();
        assert_eq!(listed[..listed_before.len()], listed_before, "{name}");
        let says = after["rdapConformance"].to_string().contains("\"redacted\"");
        assert_eq!(says, !listed.is_empty(), "{name}");
        explained += usize::from(listed.len() > listed_before.len());
        for entry in &listed[listed_before.len()..] {
            let (document, path) = match entry.get("prePath") {
                Some(path) => (&before, path),
                None => (&after, &entry["postPath"]),
            };
            let path = JsonPath::parse(path.as_str().unwrap()).unwrap();
            let found = path.query(document).all();
            assert!(!found.is_empty(), "{name} {entry}");
            assert!(entry["method"] != "removal" || path.query(&after).is_empty(), "{name} {entry}");
            // A removed address or number occurs nowhere else.
            for property in found.iter().filter(|found| found[0] == "email" || found[0] == "tel") {
                let value = property[3].as_str().unwrap_or("@");
                assert!(!answer.text().contains(value), "{name} {property}");
            }
        }
    }
    assert!(explained > payloads.len() / 2, "{explained}");
}

/// Returns the path of a route with a person's id as its parameter.
fn target(mapping: &Table, route: &str) -> String {
    let routes = mapping["route"].as_array().unwrap();
    let route = routes.iter().find(|table| table["name"].as_str() == Some(route)).unwrap();
    route["path"].as_str().unwrap().replace("{customer}", "p-1")
}

#[test]
fn a_respelt_scalar_is_detected() {
    let whole = br#"{"a": 1.50, "b": [true, "x\"y"], "c": null}"#;
    assert!(is_left_of(br#"{"a":1.50,"b":["x\"y"]}"#, whole));
    assert!(!is_left_of(br#"{"a": 1.5}"#, whole));
    assert!(!is_left_of(br#"{"b": ["x\u0022y"]}"#, whole));
}
