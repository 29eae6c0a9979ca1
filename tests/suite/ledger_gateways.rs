//! Two gateways over one ledger in PostgreSQL: differences between them, and everything that they share. Skipped, with a
//! message, where PostgreSQL is not installed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{CONSENT, NOTICE};
use crate::gateway::{TestGateway, credential, wait_until};
use crate::http;
use crate::ledger_sharers::{SharedLedger, WITHDRAWN, everywhere, is_closed, is_marketed, run_in, write};
use crate::postgres_server::PostgresServer;
use crate::token_issuer::Issuer;
use crate::versions;

/// `purposegate serve` with its log in a file. It is killed when it is dropped.
struct ServedGateway {
    child: Child,
    folder: TempDir,
}

impl ServedGateway {
    fn start(ledger: &SharedLedger, config: &str) -> ServedGateway {
        let folder = ledger.folder();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_purposegate"));
        serve.args(["serve", "--config"]).arg(write(&folder, config)).stdin(Stdio::null());
        ServedGateway { child: serve.stdout(Stdio::null()).stderr(log).spawn().unwrap(), folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for ServedGateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const COURT: &str = "[[recipient]]\nname = \"court\"\nkind = \"public-authority\"\ncountry = \"DE\"\npurposes = [\"legal\"]\n";

#[test]
fn a_gateway_with_other_rules_for_ids_or_other_keys_does_not_start_beside_one_that_runs() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let other_rules =
        format!("{}[namespace.default]\nnormalise = [\"lowercase\"]\n", ledger.config("gateway-2"));
    let leases = || {
        let live = "SELECT count(*) FROM purposegate.gateways WHERE renewals > 0";
        server.psql(&ledger.database, live).parse::<u32>().unwrap()
    };
    let running = ServedGateway::start(&ledger, &ledger.config("gateway-1"));
    wait_until(|| {
        server.try_psql(&ledger.database, "SELECT FROM purposegate.gateways").is_ok() && leases() == 1
    });
    let folder = ledger.folder();
    write(&folder, &other_rules);
    let began = Instant::now();
    let (status, _, err) = run_in(&folder, &["serve"]);
    assert!(status == 2 && err.contains("read ids by other rules (`gateway-1`)"), "{err}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(leases(), 1, "it had no lease");
    // The keys are those of another ledger.
    let other_keys = tempfile::tempdir().unwrap();
    write(&other_keys, &ledger.config("gateway-2"));
    assert!(run_in(&other_keys, &["serve"]).2.contains("keys"));
    purposegate::keys::Keys::open_or_create(&other_keys.path().join("data/keys"), &[]).unwrap();
    let (status, _, err) = run_in(&other_keys, &["serve"]);
    assert!(status == 2 && err.contains("made under other keys: restore its key file"), "{err}");
    // Killed, so its lease stays on record.
    drop(running);
    assert_eq!(leases(), 1);
    let _changed = ServedGateway::start(&ledger, &other_rules);
    wait_until(|| leases() == 2);
}

#[test]
fn other_differences_are_told_and_a_recipient_of_any_gateway_is_known() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let court = format!("{COURT}credentials = [{}]\n", credential("court"));
    let one = TestGateway::start_in(ledger.folder(), &format!("{}{court}", ledger.config("gateway-1")));
    let packs = tempfile::tempdir().unwrap();
    let other_pack = versions::version(packs.path(), "1", ("2025-01-06", "2026-01-05"), "");
    let config = ledger.config("gateway-1");
    let (_, rest) = config.split_once('\n').unwrap();
    let two =
        ServedGateway::start(&ledger, &format!("policy = {:?}\n{rest}", other_pack.display().to_string()));
    for told in [
        "another process runs as gateway `gateway-1`",
        "this gateway does not have these recipients of gateway `gateway-1`: `court`",
        "differs: ",
    ] {
        wait_until(|| two.log().contains(told));
    }
    drop(two);
    let two = ledger.start("gateway-2");
    let about = |recipient: &str| json!({ "kind": "opt-out", "recipient": recipient }).to_string();
    wait_until(|| two.post_admin("/v1/subjects/p-1/events", about("court")).status == 200);
    let unknown = two.post_admin("/v1/subjects/p-1/events", about("curt"));
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    let given = ["consent", "give", "p-1", "--purpose", "marketing", "--recipient"];
    for (recipient, outcome) in [("court", 0), ("curt", 1)] {
        let (status, _, err) = run_in(&two.folder, &[&given[..], &[recipient]].concat());
        assert_eq!(status, outcome, "{recipient}: {err}");
    }
    let suspended = two.post_admin("/v1/recipients/court/events", r#"{"kind": "suspended"}"#);
    assert_eq!(suspended.status, 200, "{}", suspended.text());
    let is_suspended = || {
        let recipients = one.get_admin("/v1/recipients").json();
        recipients.as_array().unwrap().iter().any(|one| one["name"] == "court" && one["suspended"] == true)
    };
    wait_until(is_suspended);

    let unregistered = |folder: &TempDir| {
        let (status, out, err) = run_in(folder, &["check", "--format", "json"]);
        assert_eq!(status, 0, "{err}");
        out.contains("recipient-only-in-ledger") && out.contains("`court`")
    };
    assert!(!unregistered(&two.folder), "another gateway has it");
    let logged = "the ledger has events about a recipient that the configuration does not have";
    let three = ServedGateway::start(&ledger, &ledger.config("gateway-3"));
    wait_until(|| three.log().contains("listening"));
    assert!(!three.log().contains(logged), "{}", three.log());
    // The configuration of the gateway that has it, about to lose it.
    let changed = ledger.folder();
    write(&changed, &ledger.config("gateway-1"));
    assert!(unregistered(&changed));
    drop(one.end());
    assert!(unregistered(&two.folder));
    let four = ServedGateway::start(&ledger, &ledger.config("gateway-4"));
    wait_until(|| four.log().contains(logged));
}

#[test]
fn a_policy_that_one_gateway_has_announced_counts_for_the_others() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let packs = tempfile::tempdir().unwrap();
    let first = versions::version(packs.path(), "1", ("2025-01-06", "2026-01-05"), "");
    let more = versions::version(packs.path(), "2", ("2025-01-06", "2026-06-01"), versions::MORE);
    let config = |versions: &[&Path]| {
        format!("{}{}", versions::config_of(versions, ledger.upstream.address), ledger.section())
    };
    let _one = TestGateway::start_in(ledger.folder(), &config(&[&first]));
    let other = ledger.folder();
    write(&other, &config(&[&first, &more]));
    let (status, _, err) = run_in(&other, &["serve"]);
    assert!(status == 2 && err.contains("change-not-announced"), "{err}");
    // As if a gateway had seen the version in time.
    server
        .psql(&ledger.database, "UPDATE purposegate.policy_versions SET first_seen = '2026-01-10T00:00:00Z'");
    drop(TestGateway::start_in(ledger.folder(), &config(&[&first, &more])));
    let narrower = ledger.folder();
    write(&narrower, &config(&[&first]));
    assert_eq!(run_in(&narrower, &["check"]).0, 0, "it discloses less");
}

#[test]
fn what_is_recorded_at_one_gateway_counts_at_the_other() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let issuer = Issuer::new();
    let portal = format!(
        "{}[[recipient]]\nname = \"portal\"\nkind = \"data-subject\"\npurposes = [\"data-subject-request\"]\n\
         credentials = [{{ jwt = {{ issuer = \"https://id.test\", claims = {{ azp = \"portal\" }}, subject-claim = \"sub\" }} }}]\n",
        issuer.section()
    );
    let start =
        |name: &str| TestGateway::start_in(ledger.folder(), &format!("{}{portal}", ledger.config(name)));
    let (one, two) = (start("gateway-1"), start("gateway-2"));
    for id in ["p-1", "p-2"] {
        one.record_event(id, NOTICE);
        everywhere(&one, id, CONSENT);
    }
    let post = |gateway: &TestGateway, path: &str, body: &Value| {
        let answer = gateway.post_admin(path, body.to_string());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    suspensions_are_shared(&one, &two, &post);
    cases_are_shared(&one, &two, &post);
    requests_are_shared(&one, &two, &post);

    // A link to opt out that one gateway made, followed at the other.
    let link = one.get_admin("/v1/subjects/p-1/opt-out-link").json();
    let form = "content-type: application/x-www-form-urlencoded";
    let path = link["path"].as_str().unwrap();
    let clicked = http::send(two.address, "POST", path, &[form], b"List-Unsubscribe=One-Click");
    assert_eq!(clicked.status, 200, "{}", clicked.text());
    assert!(!is_marketed(&two, "p-1"));
    wait_until(|| !is_marketed(&one, "p-1"));

    // The signal of a person's browser (GPC).
    assert!(is_marketed(&two, "p-2"));
    let token = issuer.bearer(json!({ "azp": "portal", "sub": "p-2" }));
    let headers = [token.as_str(), "data-purpose: access", "sec-gpc: 1"];
    assert_eq!(http::get(one.address, "/customers/p-2", &headers).status, 200);
    wait_until(|| !is_marketed(&two, "p-2"));

    // An idempotency key.
    let keyed = |gateway: &TestGateway| {
        let path = "/v1/subjects/p-9/events?wait=everywhere";
        http::send(gateway.admin, "POST", path, &["idempotency-key: k-1"], WITHDRAWN.as_bytes()).json()
    };
    let (first, again) = (keyed(&one), keyed(&two));
    assert_eq!((&first["event"], &again["again"]), (&again["event"], &json!(true)), "{again}");
}

type Post<'p> = &'p dyn Fn(&TestGateway, &str, &Value) -> Value;

fn suspensions_are_shared(one: &TestGateway, two: &TestGateway, post: Post<'_>) {
    wait_until(|| is_marketed(one, "p-1") && is_marketed(two, "p-1"));
    post(one, "/v1/recipients/support/events?wait=everywhere", &json!({ "kind": "suspended" }));
    assert!(!is_marketed(one, "p-1") && !is_marketed(two, "p-1"));
    post(two, "/v1/recipients/support/events?wait=everywhere", &json!({ "kind": "resumed" }));
    assert!(is_marketed(one, "p-1") && is_marketed(two, "p-1"));
}

fn cases_are_shared(one: &TestGateway, two: &TestGateway, post: Post<'_>) {
    let case = json!({
        "case": "C-1", "recipient": "police", "purpose": "law-enforcement", "subjects": ["p-1"],
        "categories": ["contact"], "end": "2099-01-01T00:00:00Z", "reference": "12 Js 4/26",
    });
    let released = |gateway: &TestGateway| {
        let answer = gateway.get("/customers/p-1", "police", "law-enforcement;case=\"C-1\"");
        answer.text().contains("p-1@example.org")
    };
    post(one, "/v1/cases", &case);
    wait_until(|| two.get_admin("/v1/cases/C-1").status == 200);
    post(two, "/v1/cases/C-1/approve", &json!({ "approver": "ada" }));
    assert!(!released(one) && !released(two));
    post(one, "/v1/cases/C-1/approve", &json!({ "approver": "ben" }));
    wait_until(|| released(one) && released(two));
    post(two, "/v1/cases/C-1/end", &json!({}));
    wait_until(|| !released(one) && !released(two));
}

fn requests_are_shared(one: &TestGateway, two: &TestGateway, post: Post<'_>) {
    let open = |gateway: &TestGateway| gateway.get_admin("/v1/requests").json().as_array().unwrap().len();
    post(one, "/v1/subjects/p-1/requests", &json!({ "right": "access" }));
    wait_until(|| open(two) == 1);
    post(two, "/v1/subjects/p-1/answers", &json!({ "right": "access" }));
    wait_until(|| open(one) == 0);
}

#[test]
fn a_ledger_that_a_gateway_uses_is_not_copied_and_a_copy_that_broke_off_is_not_used() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let url = |database: &str| {
        let (folder, port) = (server.socket_folder().display(), server.port());
        format!("postgres://postgres@/{database}?host={folder}&port={port}")
    };
    let running = ServedGateway::start(&ledger, &ledger.config("gateway-1"));
    let renewals = "SELECT coalesce(sum(renewals), 0) FROM purposegate.gateways";
    wait_until(|| server.try_psql(&ledger.database, renewals).is_ok_and(|renewals| renewals != "0"));
    let folder = ledger.folder();
    write(&folder, &ledger.config("copier"));
    let give = |id: &str| run_in(&folder, &["consent", "give", id, "--purpose", "marketing"]);
    for id in ["ada", "ben"] {
        let (status, _, err) = give(id);
        assert_eq!(status, 0, "{err}");
    }
    let file = format!("sqlite:{}", folder.path().join("copy.db").display());
    let copy = |from: &str, to: &str| run_in(&folder, &["ledger", "copy", from, to]);
    let (status, _, err) = copy(&url(&ledger.database), &file);
    assert!(status == 1 && err.contains("(gateway-1): stop them before the copy"), "{err}");
    drop(running);
    let (status, out, err) = copy(&url(&ledger.database), &file);
    assert!(status == 0 && out.ends_with("both ledgers hold the same\n"), "{out}{err}");
    assert!(err.contains("waiting until they show that they run"), "{err}");

    // A gateway over the file.
    let target = url(&server.create_database(""));
    let config = ledger.config("gateway-1").replace(&ledger.section(), "");
    let embedded = ledger.folder();
    std::fs::copy(folder.path().join("copy.db"), embedded.path().join("data/ledger.db")).unwrap();
    let embedded = TestGateway::start_in(embedded, &config);
    let source = format!("sqlite:{}", embedded.folder.path().join("data/ledger.db").display());
    let (status, _, err) = run_in(&embedded.folder, &["ledger", "copy", &source, &target]);
    assert!(status == 1 && err.contains("stop it before the copy"), "{err}");
    let (status, _, err) = run_in(&embedded.folder, &["ledger", "copy", &target, &source]);
    assert!(status == 1 && err.contains("stop it before the copy"), "{err}");

    // A copy that breaks off: its source lacks an event.
    let embedded = embedded.end();
    let remove = rusqlite::Connection::open(embedded.path().join("data/ledger.db")).unwrap();
    assert_eq!(remove.execute("DELETE FROM events WHERE position = 1", []).unwrap(), 1);
    drop(remove);
    let (status, _, err) = run_in(&embedded, &["ledger", "copy", &source, &target]);
    assert!(status != 0 && err.contains("no event at position 1"), "{err}");
    let section = format!("[ledger]\nurl = {target:?}\nmax-staleness = \"1s\"\n");
    // On another machine, where no mark has the position of the source.
    let closed = TestGateway::start_in(ledger.folder(), &format!("{config}{section}"));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert!(is_closed(&closed));
        std::thread::sleep(Duration::from_millis(50));
    }
}
