//! Circumstances are counted while a gateway serves, survive a restart, hold nothing of a record, and show what a change of a
//! policy or a mapping does.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{CUSTOMER_ROUTES, KNOWN, person};
use crate::gateway::{TestGateway, base, pack};
use crate::program::{Run, run};
use crate::upstream::Upstream;

/// Ids that occur nowhere but in records.
const PEOPLE: [&str; 6] = ["zz-ada", "zz-ben", "zz-cleo", "zz-dora", "zz-emil", "zz-fay"];

/// A list of all people; the ledger knows the first five.
fn list() -> String {
    format!("{{\"items\": [{}], \"total\": 6}}", PEOPLE.map(person).join(","))
}

fn lines(gateway: &TestGateway) -> Vec<Value> {
    let answer = gateway.get_admin("/v1/circumstances");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs the program and returns its output as lines of JSON.
fn program_lines(folder: &Path) -> Vec<Value> {
    let config = folder.join("purposegate.toml");
    let (status, out, err) = run(["audit", "circumstances", "--config", config.to_str().unwrap()]);
    assert_eq!(status, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(gateway: &TestGateway, times: usize) {
    for _ in 0..times {
        let answer = gateway.get("/customers", "support", "customer-support");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Returns a copy of the pack with one more rule.
fn pack_with(rule: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(pack("one-partner-360")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    std::fs::write(folder.path().join("9-more.cedar"), rule).unwrap();
    folder
}

fn diff(arguments: &[&str]) -> Run {
    run([&["policy", "diff"], arguments].concat())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes the configuration with another mapping of the name beside the first one.
fn remapped(folder: &Path, config: &str) -> PathBuf {
    let other = folder.join("next.toml");
    let changed =
        config.replacen("\"@.name\" = \"name\"", "\"@.name\" = \"password\"\n\"@.extra\" = \"email\"", 1);
    assert_ne!(changed, config);
    std::fs::write(&other, changed).unwrap();
    other
}

#[test]
fn counts_are_kept_and_replayed() {
    let upstream = Upstream::start();
    upstream.json("/customers", &list());
    let config = format!("{}{CUSTOMER_ROUTES}", base(upstream.address));
    let gateway = TestGateway::start(&config);
    for person in &PEOPLE[..5] {
        gateway.record_event(person, KNOWN);
    }
    ask(&gateway, 3);
    let counted = lines(&gateway);
    let [known, rare] = counted.as_slice() else { panic!("{counted:#?}") };
    assert_eq!(known["records"], 15);
    assert_eq!(known["recipient"], "support");
    assert_eq!(known["purpose"], "customer-support");
    assert_eq!(known["categories"], json!(["email", "name", "non-personal", "password", "unclassified"]));
    assert_eq!((&rare["rare"], &rare["route"]), (&json!(3), &json!("customers")));
    assert_eq!(gateway.get_admin("/v1/circumstances?since=2999-01-01").text(), "");

    // A restart goes on, and the unknown person's records are enough now.
    let gateway = TestGateway::start_in(gateway.end(), &config);
    ask(&gateway, 2);
    let counted = lines(&gateway);
    let of: Vec<u64> = counted.iter().map(|line| line["records"].as_u64().unwrap()).collect();
    assert_eq!(of.iter().sum::<u64>(), 30, "{counted:#?}");
    assert!(counted.iter().any(|line| line["subject"] == json!({ "unknown": true }) && line["records"] == 5));
    let folder = gateway.end();
    assert_eq!(program_lines(folder.path()), counted);

    // No value of a record is in the files.
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path().join("data/audit-circumstances")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("zz-") && !text.contains("Name-") && !text.contains("example.org"), "{text}");
        files += 1;
    }
    assert_eq!(files, 1);

    let seen = folder.path().join("seen.ndjson");
    let written: String = counted.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&seen, written).unwrap();
    let old = pack("one-partner-360");
    let rule = r#"@id("no-email") @clause("G-3b") forbid (principal in Kind::"employee", action, resource in Category::"email");"#;
    let new = pack_with(rule);
    let arguments = [text(&old), text(new.path()), "--decisions", text(&seen)];
    let (status, out, err) = diff(&arguments);
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.contains("support for customer-support on customers: 25 of 30 records"), "{out}");
    assert!(out.contains("- email  clear -> removed  25 records, 25 a day"), "{out}");
    assert!(out.contains("new: `no-email` (G-3b)"), "{out}");
    let (status, out, err) = diff(&[text(&old), text(&old), "--decisions", text(&seen), "--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &report["records"], &report["changed"]), (0, &json!(30), &json!(0)), "{err}");

    let config = folder.path().join("purposegate.toml");
    let next = remapped(folder.path(), &std::fs::read_to_string(&config).unwrap());
    let (status, out, err) = diff(&["--mapping", text(&config), text(&next), "--decisions", text(&seen)]);
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.contains("customers: $.items[*].extra  unclassified -> email"), "{out}");
    assert!(out.contains("- $.items[*].name (name -> password)  clear -> removed  25 records"), "{out}");
    assert!(
        out.contains("+ $.items[*].extra (unclassified -> email)  removed -> clear  25 records"),
        "{out}"
    );
}

#[test]
fn mappings_are_compared_by_what_their_paths_select() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen.ndjson");
    let line = json!({
        "day": "2026-11-28", "route": "customers", "recipient": "support", "kind": "employee",
        "purpose": "customer-support", "operation": "disclose", "pack": "1 Partner 360 Security: Global Privacy Policy", "subject": {},
        "request": {}, "recipient_facts": { "purposes": ["customer-support"], "country": "DE" },
        "categories": ["email", "name", "non-personal"], "records": 30,
    });
    std::fs::write(&seen, line.to_string()).unwrap();
    let write = |name: &str, fields: &str| {
        let config = format!(
            "{}[[route]]\nname = \"customers\"\nupstream = \"crm\"\npath = \"/customers\"\nrecord = \"$.items[*]\"\n\
             subject = \"@.id\"\n[route.fields]\n\"@.id\" = \"non-personal\"\n{fields}\n",
            base("127.0.0.1:9".parse().unwrap())
        );
        let file = folder.path().join(name);
        std::fs::write(&file, config).unwrap();
        file
    };
    let mapping = |old: &str, new: &str| {
        let (old, new) = (write("old.toml", old), write("new.toml", new));
        let (status, out, err) =
            diff(&["--mapping", text(&old), text(&new), "--decisions", text(&seen), "--format", "json"]);
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
        let fields = report["mapping"].as_array().unwrap().iter();
        let fields = fields.map(|field| {
            let member = |name: &str| field[name].as_str().unwrap().to_owned();
            format!("{} {} -> {}", member("path"), member("old"), member("new"))
        });
        (status, fields.collect::<Vec<_>>(), report)
    };
    let (_, fields, _) =
        mapping("\"@.*\" = \"non-personal\"", "\"@.*\" = \"non-personal\"\n\"@.email\" = \"email\"");
    assert_eq!(fields, ["$.items[*].email non-personal -> email+non-personal"], "matches at one node add up");
    let (_, fields, report) = mapping("\"@.email\" = \"email\"", "\"@['email']\" = \"email\"");
    assert_eq!((fields, report.get("uncompared")), (vec![], None), "another spelling");
    let (_, fields, _) =
        mapping("\"@.contact\" = \"email\"", "\"@.contact\" = \"email\"\n\"@.contact.*\" = \"name\"");
    assert_eq!(
        fields,
        ["$.items[*].contact.* email -> name"],
        "the nearest ancestor counts without an own match"
    );
    let (status, fields, report) = mapping("\"@.email\" = \"email\"", "\"@..email\" = \"email\"");
    assert_eq!((status, fields), (1, vec![]));
    assert_eq!(report["uncompared"], json!({ "customers": ["$.items[*]..email"] }));
    let (_, fields, report) =
        mapping("\"@..email\" = \"email\"", "\"@..email\" = \"email\"\n\"@.email\" = \"name\"");
    assert_eq!(
        (fields, report.get("uncompared")),
        (vec!["$.items[*].email email -> email+name".to_owned()], None)
    );
}

#[test]
fn counting_can_be_turned_off_and_a_bad_file_is_refused() {
    let upstream = Upstream::start();
    upstream.json("/customers", &list());
    let config = format!("{}[audit]\ncircumstances = false\n{CUSTOMER_ROUTES}", base(upstream.address));
    let gateway = TestGateway::start(&config);
    ask(&gateway, 1);
    assert!(lines(&gateway).is_empty());
    let folder = gateway.end();
    assert!(!folder.path().join("data/audit-circumstances").exists());
    let config = folder.path().join("purposegate.toml");
    let (status, _, err) = run(["audit", "circumstances", "--config", text(&config)]);
    assert!(status == 2 && err.contains("counts no circumstances"), "{err}");

    let old = pack("one-partner-360");
    let bad = folder.path().join("bad.ndjson");
    std::fs::write(&bad, "{\"day\": \"2026-11-29\"}\n").unwrap();
    let (status, _, err) = diff(&[text(&old), text(&old), "--decisions", text(&bad)]);
    assert!(status == 2 && err.contains("bad-decisions") && err.contains("line 1"), "{err}");
    let (status, _, err) = diff(&["--mapping", text(&config), text(&config)]);
    assert!(status == 2 && err.contains("--decisions"), "{err}");
}
