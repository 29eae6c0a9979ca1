//! Acknowledgements of events, and ledgers whose file is missing or lacks acknowledged events.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{TestGateway, base, bearer};
use crate::http::{self, Answer};
use crate::program::run;
use crate::upstream::Upstream;

const ROUTES: &str = r#"
[[route]]
name = "people"
upstream = "crm"
path = "/people"
record = "$[*]"
subject = "@.id"
fields = { "@.name" = "name" }
"#;

fn gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    upstream.json("/people", r#"[{"id": "1", "name": "Ada Example"}]"#);
    let gateway = TestGateway::start(&format!("{}{ROUTES}", base(upstream.address)));
    (upstream, gateway)
}

fn post(gateway: &TestGateway, path: &str, headers: &[&str], body: &str) -> Answer {
    http::send(gateway.admin, "POST", path, headers, body.as_bytes())
}

fn is_released(gateway: &TestGateway) -> bool {
    gateway.get("/people", "support", "direct-marketing").text().contains("Ada Example")
}

const EVENTS: &str = "/v1/subjects/1/events";
const GIVEN: &str = r#"{"kind": "consent-given", "purpose": "marketing"}"#;
const WITHDRAWN: &str = r#"{"kind": "consent-withdrawn", "purpose": "marketing"}"#;

#[test]
fn an_acknowledgement_reports_changes_and_repetitions() {
    let (_upstream, gateway) = gateway();
    assert_eq!(gateway.record_event("1", GIVEN)["changed"], true);
    assert_eq!(gateway.record_event("1", GIVEN)["changed"], false);
    let key = ["idempotency-key: k-1"];
    let first = post(&gateway, EVENTS, &key, WITHDRAWN).json();
    assert_eq!((&first["changed"], first.get("again")), (&json!(true), None));
    let again = post(&gateway, EVENTS, &key, WITHDRAWN).json();
    assert_eq!((&again["changed"], &again["again"]), (&json!(false), &json!(true)));
    assert_eq!(again["event"], first["event"]);
    gateway.record_event("1", GIVEN);
    assert!(is_released(&gateway));
    let anew = post(&gateway, EVENTS, &key, WITHDRAWN).json();
    assert_eq!((&anew["changed"], anew.get("again")), (&json!(true), None));
    assert!(!is_released(&gateway));

    let lines = format!("{}\n{0}\n", r#"{"subject": "1", "kind": "restriction"}"#);
    let results = post(&gateway, "/v1/events:batch", &[], &lines).text();
    let changed: Vec<Value> =
        results.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["changed"].clone()).collect();
    assert_eq!(changed, [json!(true), json!(false)]);
    let appended = results.lines().filter(|line| !line.contains("\"again\":true")).count();
    let metrics = gateway.metrics();
    let counts = |kind: &str, count: usize| {
        metrics.contains(&format!("purposegate_ledger_events_total{{kind=\"{kind}\"}} {count}\n"))
    };
    assert!(counts("consent-withdrawn", 2), "a repetition appends nothing: {metrics}");
    assert!(counts("restriction", appended), "lines of a batch are counted: {metrics}");
    assert!(metrics.contains(&format!("purposegate_withdrawal_effect_seconds_count {}\n", 2 + appended)));
}

#[test]
fn an_acknowledged_position_can_be_handed_on() {
    let (_upstream, gateway) = gateway();
    let acknowledged = gateway.record_event("1", GIVEN);
    let position = acknowledged["position"].as_str().unwrap();
    let line = r#"{"subject": "1", "kind": "notice", "notice": "n"}"#;
    let imported = post(&gateway, "/v1/events:batch", &[], line).json();
    assert_ne!(imported["position"], position);
    let headers = |position: &str| {
        [
            format!("ledger-position: {position}"),
            bearer("support"),
            "data-purpose: direct-marketing".to_owned(),
        ]
    };
    let get = |position: &str| {
        let headers = headers(position);
        http::send(gateway.address, "GET", "/people", &headers.each_ref().map(String::as_str), b"")
    };
    for position in [position, imported["position"].as_str().unwrap()] {
        assert!(get(position).text().contains("Ada Example"));
        let header = format!("ledger-position: {position}");
        let state = http::send(gateway.admin, "GET", "/v1/subjects/1", &[&header], b"").json();
        assert_eq!(state["position"], 2, "the state has the place in the ledger");
    }
    for position in ["2", "", &position[1..], "x"] {
        assert_eq!(get(position).json()["code"], "request-malformed", "{position}");
        let header = format!("ledger-position: {position}");
        let refused = http::send(gateway.admin, "GET", "/v1/subjects/1", &[&header], b"");
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("request-malformed")));
        assert_eq!(http::send(gateway.admin, "GET", "/healthz", &[&header], b"").status, 200);
    }
}

#[test]
fn with_one_gateway_an_event_is_in_force_everywhere_at_once() {
    let (_upstream, gateway) = gateway();
    let post = |path: &str, body: &str| post(&gateway, path, &[], body).json();
    assert_eq!(post(EVENTS, GIVEN)["in_force"], "here");
    assert_eq!(post(&format!("{EVENTS}?wait=everywhere"), WITHDRAWN)["in_force"], "everywhere");
    let line = r#"{"subject": "1", "kind": "restriction"}"#;
    assert_eq!(post("/v1/events:batch", line).get("in_force"), None);
    assert_eq!(post("/v1/events:batch?wait=everywhere", line)["in_force"], "everywhere");
}

#[test]
fn a_withdrawal_dated_in_the_future_is_in_force_at_once() {
    let (_upstream, gateway) = gateway();
    gateway.record_event("1", GIVEN);
    assert!(is_released(&gateway));
    let event = r#"{"kind": "consent-withdrawn", "purpose": "marketing", "at": "2199-01-01T00:00:00Z"}"#;
    assert_eq!(gateway.record_event("1", event)["changed"], true);
    assert!(!is_released(&gateway));
    let ahead = event.replace("withdrawn", "given");
    assert_eq!(post(&gateway, EVENTS, &[], &ahead).status, 400);
}

#[test]
fn an_event_about_an_unknown_recipient_is_refused_with_the_nearest_name() {
    let (_upstream, gateway) = gateway();
    for name in ["Support", "support ", "SUPPORT", "suport", "supp"] {
        for event in [
            json!({ "kind": "opt-out", "recipient": name }),
            json!({ "kind": "consent-withdrawn", "purpose": "marketing", "recipient": name }),
            json!({ "kind": "relation", "relation": "integration-enabled", "recipient": name }),
        ] {
            let answer = post(&gateway, EVENTS, &[], &event.to_string());
            assert_eq!(answer.status, 400, "{event}");
            assert!(answer.text().contains("did you mean `support`?"), "{}", answer.text());
        }
        let line = json!({ "recipient": name, "kind": "suspended" }).to_string();
        assert!(post(&gateway, "/v1/events:batch", &[], &line).text().contains("did you mean `support`?"));
    }
    let suspended = post(&gateway, "/v1/recipients/Support/events", &[], r#"{"kind": "suspended"}"#);
    assert_eq!(suspended.status, 404);
    assert!(suspended.text().contains("did you mean `support`?"));
    let line = r#"{"subject": "1", "kind": "opt-out", "recipient": "former"}"#;
    let kept = post(&gateway, "/v1/events:batch?keep-unknown-recipients=true", &[], line);
    assert!(kept.text().contains("\"changed\":true"), "{}", kept.text());
}

#[test]
fn a_removed_ledger_acknowledges_no_event() {
    let (_upstream, gateway) = gateway();
    gateway.record_event("1", GIVEN);
    let ready = || gateway.get_admin("/readyz");
    assert_eq!(ready().status, 200);
    let data = gateway.folder.path().join("data");
    for file in std::fs::read_dir(&data).unwrap().map(|file| file.unwrap().path()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with("ledger.db") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let answer = post(&gateway, EVENTS, &[], WITHDRAWN);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("ledger-unavailable")));
    assert_eq!(ready().status, 503);
    assert_eq!(ready().json()["ledger"], false);
    assert!(!is_released(&gateway));
}

#[test]
fn a_replaced_ledger_makes_the_gateway_not_ready() {
    let (_upstream, gateway) = gateway();
    gateway.record_event("1", GIVEN);
    let file = gateway.folder.path().join("data/ledger.db");
    let copy = gateway.folder.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    std::fs::rename(copy, file).unwrap();
    assert_eq!(gateway.get_admin("/readyz").status, 503);
}

/// Runs a command on the configuration in a folder; returns its exit status and all its output.
fn run_in(folder: &TempDir, arguments: &[&str]) -> (i32, String) {
    let file = folder.path().join("purposegate.toml");
    let (status, out, words) = run([arguments, &["--config", file.to_str().unwrap()]].concat());
    (status, out + &words)
}

fn remove(folder: &Path, begins: &str) {
    for file in std::fs::read_dir(folder.join("data")).unwrap().map(|file| file.unwrap().path()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with(begins) {
            std::fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_shortened_history_must_be_accepted_before_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{}{ROUTES}", base("127.0.0.1:9".parse().unwrap()));
    std::fs::write(folder.path().join("purposegate.toml"), config).unwrap();
    let give = ["consent", "give", "1", "marketing"];
    for arguments in [give, ["consent", "withdraw", "1", "marketing"], give] {
        let (status, words) = run_in(&folder, &arguments);
        assert_eq!(status, 0, "{words}");
    }
    assert!(run_in(&folder, &["ledger", "accept-history"]).1.contains("nothing is missing"));
    remove(folder.path(), "ledger.db");
    for arguments in [&["serve"][..], &give] {
        let (status, words) = run_in(&folder, arguments);
        assert_eq!(status, 2, "{words}");
        assert!(words.contains("purposegate ledger accept-history"), "{words}");
        assert!(words.contains("ends at position 0, but 3 was"), "{words}");
    }
    let (status, words) = run_in(&folder, &["ledger", "accept-history"]);
    assert_eq!(status, 0, "{words}");
    assert!(words.contains("positions 1 to 3 are lost"), "{words}");
    assert!(run_in(&folder, &["ledger", "accept-history"]).1.contains("nothing is missing"));
    let (status, words) = run_in(&folder, &give);
    assert_eq!(status, 0, "{words}");
    let (_, words) = run_in(&folder, &["consent", "show", "1"]);
    assert!(words.contains("\"position\": 4"), "{words}");
}

#[test]
fn the_disclosure_log_proves_the_ledger_position() {
    let upstream = Upstream::start();
    upstream.json("/people", r#"[{"id": "1", "name": "Ada Example"}]"#);
    let config = format!("{}{ROUTES}", base(upstream.address));
    let gateway = TestGateway::start(&config);
    gateway.record_event("1", GIVEN);
    gateway.record_event("1", r#"{"kind": "notice", "notice": "n"}"#);
    assert!(is_released(&gateway));
    gateway.wait_for_log("\"released\"");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("purposegate.toml"), &config).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(gateway.folder.path().join("data"))
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(copied.success());
    drop(gateway);
    // Neither the mark beside the key file nor the ledger is left.
    remove(folder.path(), "ledger.db");
    remove(folder.path(), "keys.position");
    let (status, words) = run_in(&folder, &["serve"]);
    assert_eq!(status, 2, "{words}");
    assert!(words.contains("but 2 was") && words.contains("accept-history"), "{words}");
}

#[test]
fn check_finds_a_key_file_with_which_serve_does_not_start() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("purposegate.toml"), base("127.0.0.1:9".parse().unwrap())).unwrap();
    assert_eq!(run_in(&folder, &["check"]).0, 0);
    assert!(!folder.path().join("data").exists(), "`check` makes nothing");
    assert_eq!(run_in(&folder, &["ledger", "migrate"]).0, 0);
    assert_eq!(run_in(&folder, &["check"]).0, 0);
    let keys = folder.path().join("data/keys");
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o644)).unwrap();
    let (status, words) = run_in(&folder, &["check", "--format", "json"]);
    assert!(status == 1 && words.contains("\"bad-key-file\"") && words.contains("\"errors\": 1"), "{words}");
    assert!(words.contains("keys`; `serve` does not start before that"), "{words}");
    assert_eq!(run_in(&folder, &["serve"]).0, 2);
}

#[test]
fn a_start_names_the_section_whose_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{}[probes]\naddress = \"{address}\"\n", base("127.0.0.1:9".parse().unwrap()));
    std::fs::write(folder.path().join("purposegate.toml"), config).unwrap();
    let (status, words) = run_in(&folder, &["serve"]);
    let expected =
        format!("cannot listen on {address}, the address of `[probes]`: another process has the port");
    assert!(status == 2 && words.contains(&expected), "{words}");
}

#[test]
fn recipients_known_to_the_ledger_only_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{}{ROUTES}", base("127.0.0.1:9".parse().unwrap()));
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, &config).unwrap();
    let (status, words) = run_in(&folder, &["consent", "opt-out", "1", "Reseller"]);
    assert_eq!(status, 1);
    assert!(words.contains("did you mean `reseller`?"), "{words}");
    let (status, words) = run_in(&folder, &["consent", "opt-out", "1", "reseller"]);
    assert_eq!(status, 0, "{words}");
    assert!(!run_in(&folder, &["check"]).1.contains("`reseller`"));
    std::fs::write(&file, config.replace("name = \"reseller\"", "name = \"renamed\"")).unwrap();
    let (status, words) = run_in(&folder, &["check"]);
    assert_eq!(status, 0, "{words}");
    assert!(words.contains("`reseller`"), "{words}");

    let export = run_in(&folder, &["consent", "export"]).1;
    let exported = folder.path().join("export.ndjson");
    std::fs::write(&exported, export).unwrap();
    remove(folder.path(), "");
    let exported = exported.to_str().unwrap();
    let (status, words) = run_in(&folder, &["consent", "import", exported]);
    assert_eq!(status, 1);
    assert!(words.contains("line 1: `recipient` is not a configured recipient"), "{words}");
    let (status, words) = run_in(&folder, &["consent", "import", exported, "--keep-unknown-recipients"]);
    assert_eq!(status, 0, "{words}");
    assert!(words.contains("1 recorded"), "{words}");
}
