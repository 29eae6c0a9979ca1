//! A route in observe mode, as operators and recipients of a running gateway see it.

use serde_json::{Value, json};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base, bearer, credential, wait};
use crate::http;
use crate::program::{run, run_with_input};
use crate::upstream::{Upstream, answer};

const ROUTES: &str = r#"
[[route]]
name = "customers"
upstream = "crm"
path = "/customers/{id}"
subject = "@.id"
purposes = ["customer-support"]
mode = "observe"
observe-until = 2999-01-31
fields = { "@.id" = "subject-identifier", "@.name" = "name", "@.card" = "payment-card-number" }

[[route]]
name = "enforced"
upstream = "crm"
path = "/enforced/{id}"
subject = "@.id"
fields = { "@.id" = "subject-identifier", "@.name" = "name" }
"#;

const BODY: &str = "{ \"id\": \"p-1\", \"name\": \"Ada\",\n  \"card\": \"4111\", \"note\": \"x\" }\n";

struct Observed {
    upstream: Upstream,
    gateway: TestGateway,
    logs: tempfile::TempDir,
}

fn start() -> Observed {
    let (upstream, logs) = (Upstream::start(), tempfile::tempdir().unwrap());
    let access_log = format!("[access-log]\ndirectory = {:?}\n", logs.path());
    let gateway = TestGateway::start(&format!("{}{ROUTES}{access_log}", base(upstream.address)));
    upstream.json("/customers/p-1", BODY);
    upstream.json("/enforced/p-1", BODY);
    gateway.record_event("p-1", KNOWN);
    Observed { upstream, gateway, logs }
}

/// Runs a command with the configuration of the gateway.
fn command(gateway: &TestGateway, arguments: &[&str]) -> (i32, String, String) {
    let file = gateway.folder.path().join("purposegate.toml").display().to_string();
    let (verb, rest) = arguments.split_first().unwrap();
    let words = if *verb == "audit" { 1 } else { 0 };
    let (before, after) = rest.split_at(words);
    run([&[*verb], before, &["--config", &file], after].concat())
}

#[test]
fn observe_mode_is_named_wherever_an_exchange_is() {
    let Observed { upstream: _upstream, gateway, logs } = start();
    let left = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!((left.status, left.text().as_str()), (200, BODY));
    let applied = left.header("data-purpose-applied").unwrap().to_owned();
    assert!(
        applied.starts_with("customer-support;decision=\"") && applied.ends_with("\";observed"),
        "{applied}"
    );
    let without = http::get(gateway.address, "/customers/p-1", &[&bearer("support")]);
    assert_eq!((without.status, without.text().as_str()), (200, BODY));
    assert!(without.header("data-purpose-applied").unwrap().starts_with("none;decision="));
    let enforced = gateway.get("/enforced/p-1", "support", "customer-support");
    assert!(!enforced.header("data-purpose-applied").unwrap().contains("observed"));

    let routes = gateway.get_admin("/v1/routes").json();
    let modes: Vec<(&Value, &Value)> =
        routes.as_array().unwrap().iter().map(|route| (&route["mode"], &route["observe_until"])).collect();
    assert_eq!(modes, [(&json!("observe"), &json!("2999-01-31")), (&json!("enforce"), &Value::Null)]);

    let record = gateway.decision(&left.decision());
    assert_eq!((&record["mode"], &record["would"]), (&json!("observe"), &Value::Null));
    let card = &record["categories"]["payment-card-number"][0];
    assert_eq!((&card["form"], &card["basis"]), (&json!("clear"), &Value::Null));
    assert_eq!(card["would"]["form"], "removed");

    let text = wait(|| {
        let file = std::fs::read_dir(logs.path()).unwrap().next()?.unwrap().path();
        std::fs::read_to_string(file).ok().filter(|text| text.lines().count() == 3)
    });
    let modes: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["mode"].clone()).collect();
    assert_eq!(modes, ["observe", "observe", "enforce"]);

    let metrics = gateway.metrics();
    for line in [
        r#"purposegate_would_withhold_total{category="",reason="refused",route="customers"} 1"#,
        r#"purposegate_would_withhold_total{category="unclassified",reason="unclassified",route="customers"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn the_commands_say_what_enforcing_would_have_done() {
    let Observed { upstream: _upstream, gateway, logs: _logs } = start();
    let left = gateway.get("/customers/p-1", "support", "customer-support");
    let without = http::get(gateway.address, "/customers/p-1", &[&bearer("support")]);
    let (status, shown, _) = command(&gateway, &["audit", "show", "--format", "json"]);
    assert_eq!(status, 0);
    let shown: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(shown.iter().all(|one| one["mode"] == "observe"), "{shown:#?}");
    assert_eq!(shown[1]["would"], json!({ "refused": "purpose-missing" }));
    let (_, text, _) = command(&gateway, &["audit", "show"]);
    for words in ["observed, would be refused: purpose-missing", "clear, 1 field; would be removed, "] {
        assert!(text.contains(words), "{words}: {text}");
    }

    let (status, text, words) = command(&gateway, &["explain", "--decision", &left.decision()]);
    assert_eq!(status, 0, "{words}");
    assert!(text.contains("the exchange was observed") && text.contains("removed"), "{text}");
    let (_, text, _) = command(&gateway, &["explain", "--decision", &without.decision()]);
    assert!(text.contains("purpose-missing"), "{text}");
    let question = ["--route", "customers", "--recipient", "support", "--purpose", "customer-support"];
    let (_, text, words) = command(&gateway, &[&["explain"], &question[..]].concat());
    assert!(text.contains("observed until 2999-01-31"), "{text} {words}");

    let file = gateway.folder.path().join("purposegate.toml").display().to_string();
    let scrub = [&["scrub", "--config", &file], &question[..]].concat();
    let (status, out, words) = run_with_input(scrub, BODY);
    assert_eq!(status, 0, "{words}");
    assert!(!out.contains("4111") && words.contains("observed until 2999-01-31"), "{out} {words}");
    // Exchanges with others are enforced.
    let question = ["--route", "customers", "--recipient", "reseller", "--purpose", "reseller-follow-up"];
    let scrub = [&["scrub", "--config", &file], &question[..]].concat();
    let (status, out, words) = run_with_input(scrub, BODY);
    let refused = "purposegate: refused: purpose-not-permitted\n";
    assert_eq!((status, out.as_str(), words.as_str()), (1, "", refused), "the route has another purpose");
}

#[test]
fn a_report_names_the_disclosure_without_a_basis() {
    let Observed { upstream, gateway, logs: _logs } = start();
    upstream.raw("/customers/p-1", answer("200 OK", "content-type: application/json\r\n", BODY.as_bytes()));
    http::get(gateway.address, "/customers/p-1", &[&bearer("support")]);
    let report = gateway.get_admin("/v1/subjects/p-1/report?reason=test").json();
    let disclosed = &report["disclosures"][0];
    assert_eq!(
        (&disclosed["recipient"], &disclosed["purpose"]),
        (&json!("support"), &json!("")),
        "{report:#}"
    );
    let categories = disclosed["categories"].as_array().unwrap();
    assert!(categories.iter().all(|one| one["basis"].is_null() && one["form"] == "clear"), "{categories:#?}");
    assert!(categories.iter().any(|one| one["category"] == "payment-card-number"), "{categories:#?}");
    let page = gateway.get_admin("/v1/subjects/p-1/report?reason=test&format=html").text();
    for words in [
        "Name, Card number, Subject identifier<br><span class=\"quiet\">no legal basis on record: our rules were not applied",
        "data that we had not classified<br><span class=\"quiet\">no legal basis on record: we had not classified these data",
        ">no purpose that we know was stated</td>",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn a_day_with_both_modes_verifies_and_states_no_basis_that_was_not_applied() {
    let Observed { upstream: _upstream, gateway, logs: _logs } = start();
    let observed = gateway.get("/customers/p-1", "support", "customer-support").decision();
    let enforced = gateway.get("/enforced/p-1", "support", "customer-support").decision();
    let without = http::get(gateway.address, "/customers/p-1", &[&bearer("support")]).decision();

    let report = gateway.get_admin("/v1/subjects/p-1/report?reason=test").json();
    let list = gateway.get_admin("/v1/subjects/p-1/disclosures?reason=test").json();
    assert_eq!(report["disclosures"], list["disclosures"]);
    let bases = |decision: &str| -> Vec<bool> {
        let all = list["disclosures"].as_array().unwrap();
        let one = all.iter().find(|one| one["decision"] == decision).unwrap_or_else(|| panic!("{list:#}"));
        one["categories"].as_array().unwrap().iter().map(|one| one["basis"].is_string()).collect()
    };
    for decision in [&observed, &without] {
        assert!(bases(decision).iter().all(|has_basis| !has_basis), "{list:#}");
        assert!(bases(decision).len() > 2, "the card left, too: {list:#}");
    }
    assert!(bases(&enforced).iter().all(|has_basis| *has_basis) && !bases(&enforced).is_empty(), "{list:#}");
    let accounting = gateway.get_admin("/v1/subjects/p-1/disclosures?reason=test&form=hipaa").json();
    let counted = accounting["disclosures"].as_array().unwrap().iter();
    assert_eq!(counted.map(|line| line["number"].as_u64().unwrap()).sum::<u64>(), 3, "{accounting:#}");
    let page = gateway.get_admin("/v1/subjects/p-1/report?reason=test&format=html");
    assert_eq!(page.status, 200);

    let file = gateway.folder.path().join("purposegate.toml");
    let (status, key, words) = run(["audit", "key", "--config", file.to_str().unwrap()]);
    assert_eq!(status, 0, "{words}");
    let folder = gateway.end();
    let log = folder.path().join("data/audit");
    let (status, _, words) = run(["audit", "verify", log.to_str().unwrap(), "--key", key.trim()]);
    assert_eq!(status, 0, "{words}");
}

#[test]
fn a_rectification_is_told_to_the_recipient_of_an_observed_disclosure() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", BODY);
    let desk = format!(
        "[[recipient]]\nname = \"desk\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\n\
         credentials = [{}]\nnotify = {{ feed = true }}\n",
        credential("desk")
    );
    let gateway = TestGateway::start(&format!("{}{desk}{ROUTES}", base(upstream.address)));
    gateway.record_event("p-1", KNOWN);
    // Without a purpose, so that enforcing would have refused the whole exchange.
    let left = http::get(gateway.address, "/customers/p-1", &[&bearer("desk")]);
    assert_eq!((left.status, left.text().as_str()), (200, BODY));
    gateway.record_event("p-1", r#"{"kind": "correction", "facts": {"country": "DE"}}"#);
    let notices = wait(|| {
        let feed = http::get(gateway.address, "/.well-known/data-purposes/notices", &[&bearer("desk")]);
        Some(feed.json()["notices"].clone()).filter(|notices| notices != &json!([]))
    });
    assert_eq!(notices.as_array().unwrap().len(), 1, "{notices:#}");
    let notice = &notices[0];
    assert_eq!(
        (&notice["type"], &notice["person"]["id"]),
        (&json!("data.correction"), &json!("p-1")),
        "{notice:#}"
    );
    let told = notice["categories"].as_array().unwrap();
    assert!(told.contains(&json!("name")) && told.contains(&json!("payment-card-number")), "{notice:#}");
}

#[test]
fn the_page_of_purposes_says_that_a_route_is_observed() {
    let Observed { upstream: _upstream, gateway, logs: _logs } = start();
    let page = |recipient: &str| {
        let page = http::get(gateway.address, "/.well-known/data-purposes", &[&bearer(recipient)]);
        assert_eq!(page.status, 200, "{}", page.text());
        page.json()["routes"].clone()
    };
    let of = |routes: &Value, name: &str| {
        let found = routes.as_array().unwrap().iter().find(|route| route["route"] == name).cloned();
        found.unwrap_or_else(|| panic!("{name}: {routes:#}"))
    };
    let routes = page("support");
    let observed = of(&routes, "customers");
    assert_eq!(
        (&observed["mode"], &observed["observe_until"]),
        (&json!("observe"), &json!("2999-01-31")),
        "{observed:#}"
    );
    assert_eq!(of(&routes, "enforced")["mode"], Value::Null);
    // Requests of anybody outside of the organisation are enforced.
    for outside in ["police", "lapsed"] {
        let all = page(outside);
        assert!(all.as_array().unwrap().iter().all(|route| route["mode"].is_null()), "{outside}: {all:#}");
    }
}
