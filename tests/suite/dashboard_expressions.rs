//! Each expression of the dashboards and of the alert rules, evaluated by Prometheus, which scrapes a gateway that has traffic
//! and failures of all kinds. It has to return a series, unless its panel says what it needs. Where there is no Prometheus,
//! this is skipped aloud.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use purposegate::credentials::development;
use serde_json::{Value, json};

use crate::client_certificates::Authority;
use crate::dashboards::{DASHBOARDS, NEEDS, charts, dashboard, labels_of, targets, title};
use crate::documents;
use crate::expired_data::{PEOPLE, PEOPLE_ROUTE, with_retention};
use crate::fixtures::{CUSTOMER_ROUTES, KNOWN, person};
use crate::gateway::{base, bearer, wait, wait_until};
use crate::http;
use crate::process::ServeProcess;
use crate::prometheus::{PrometheusServer, Series};
use crate::token_issuer::SECTION;
use crate::upstream::{Upstream, answer};

/// The time between two scrapes, in seconds.
const SCRAPE_INTERVAL: u64 = 1;

/// Panels that are empty while recipients are chosen, because nothing of what they show happened to one.
const EMPTY_IF_CHOSEN: [&str; 1] = ["operators: Refusals because of the gateway"];

/// Number of people in a list: more than the alert of enumeration allows for a recipient without a past.
const MANY: u32 = 25;

/// A pack with a retention period; two listeners, one with TLS and a revocation list; and servers that do not answer.
fn configuration(upstream: &Upstream, folder: &Path) -> String {
    let policy = folder.join("pack");
    std::fs::create_dir(&policy).unwrap();
    with_retention(&policy);
    development::make(folder, &[]).unwrap();
    let root = Authority::root("root");
    std::fs::write(folder.join("clients.pem"), &root.pem).unwrap();
    root.revoke(&folder.join("root.crl"), &[], SystemTime::now() + Duration::from_secs(86_400));
    let base = base(upstream.address);
    let (_, base) = base.split_once('\n').unwrap();
    let base = base.replacen("[listener]", "[[listener]]", 1);
    let file = |name: &str| folder.join(name);
    format!(
        r#"policy = {policy:?}
{base}
[[listener]]
address = "127.0.0.2:0"
tls = {{ certificate = {:?}, key = {:?}, client-ca = {:?}, crl = [{:?}] }}

[audit]
checkpoints = [{{ webhook = "http://127.0.0.1:9/checkpoint" }}]
push = {{ url = "http://127.0.0.1:9/records" }}

{SECTION}jwks-uri = "http://127.0.0.1:9/jwks"

{CUSTOMER_ROUTES}

[[route]]
name = "observed"
upstream = "crm"
path = "/observed/{{id}}"
subject = "@.id"
purposes = ["customer-support"]
mode = "observe"
observe-until = 2999-01-31
fields = {{ "@.id" = "subject-identifier", "@.name" = "name", "@.card" = "payment-card-number" }}

{PEOPLE_ROUTE}
[[route]]
name = "stopped"
upstream = "nowhere"
path = "/stopped"
subject = "@.id"
"#,
        file("server.pem"),
        file("server.key"),
        file("clients.pem"),
        file("root.crl"),
    )
}

/// Posts JSON to the admin API.
fn post(process: &ServeProcess, path: &str, body: &Value) {
    let headers = ["content-type: application/json"];
    let answer = http::send(process.admin, "POST", path, &headers, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

fn record_event(process: &ServeProcess, person: &str, event: &str) {
    post(process, &format!("/v1/subjects/{person}/events"), &serde_json::from_str(event).unwrap());
}

/// People of whom the support receives something.
fn many() -> impl Iterator<Item = String> {
    (1..=MANY).map(|number| format!("p-{number}"))
}

/// Records facts about people, and gives the upstream its answers.
fn prepare(process: &ServeProcess, upstream: &Upstream) {
    let today = jiff::Timestamp::now().strftime("%F").to_string();
    upstream.json("/people", &PEOPLE.replace("2999-01-01", &today));
    let items: Vec<String> = many().map(|id| person(&id)).collect();
    upstream.json("/customers", &format!(r#"{{"items": [{}], "total": {MANY}}}"#, items.join(", ")));
    upstream.json("/customers/p-1", &person("p-1"));
    upstream.json("/customers/stranger", &person("stranger"));
    upstream.json("/observed/p-1", r#"{"id": "p-1", "name": "Ada", "card": "4111", "note": "x"}"#);
    upstream.raw("/customers/p-2", answer("200 OK", "content-type: text/csv\r\n", b"a,b"));
    let known = many().chain(["adult", "child", "former", "old"].map(str::to_owned));
    known.for_each(|id| record_event(process, &id, KNOWN));
    let closed = json!({ "kind": "account-closed", "at": "2020-01-01T00:00:00Z" });
    post(process, "/v1/controllers/2/events", &closed);
}

/// Exchanges of all outcomes, events of all sorts, connections that fail.
fn make_traffic(process: &ServeProcess, tls: SocketAddr, round: u32) {
    let get = |path: &str, recipient: &str, purpose: &str| {
        let purpose = format!("data-purpose: {purpose}");
        http::get(process.address, path, &[&bearer(recipient), &purpose]).outcome()
    };
    let support = |path: &str| get(path, "support", "customer-support");
    for path in ["/customers", "/customers/p-1", "/customers/stranger", "/observed/p-1", "/people"] {
        assert_eq!(support(path).0, 200, "{path}");
    }
    assert_eq!(support("/customers/p-2"), (502, "upstream-unreadable".to_owned()));
    assert_eq!(support("/stopped"), (502, "upstream-unreachable".to_owned()));
    assert_eq!(get("/customers/p-1", "reseller", "customer-support").1, "purpose-not-permitted");
    assert_eq!(get("/customers/p-1", "support", "nonsense").1, "purpose-unknown");
    assert_eq!(get("/customers/p-1", "police", "law-enforcement").1, "legal-reference-missing");
    assert_eq!(get("/customers/p-1", "lapsed", "reseller-follow-up").1, "agreement-not-in-force");
    assert_eq!(http::get(process.address, "/customers/p-1", &[]).status, 401);
    let without = http::get(process.address, "/observed/p-1", &[&bearer("support")]);
    assert_eq!(without.status, 200, "it is observed");
    // Another host's name.
    let elsewhere = b"GET /v1/policies HTTP/1.1\r\nhost: elsewhere.example\r\nconnection: close\r\n\r\n";
    assert!(http::raw(process.admin, elsewhere).status >= 400);
    // Plaintext for a port with TLS.
    let mut plain = http::connect(tls);
    let _ = plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let _ = plain.read(&mut [0; 64]);
    for event in [
        json!({ "kind": "notice", "notice": "v1" }),
        json!({ "kind": "consent-given", "purpose": "direct-marketing", "notice": "v1" }),
        json!({ "kind": "consent-withdrawn", "purpose": "direct-marketing" }),
        json!({ "kind": "request-received", "right": "access", "at": "2020-01-01T00:00:00Z" }),
    ] {
        post(process, "/v1/subjects/p-3/events?wait=everywhere", &event);
    }
    // The support has received something about this person, and a person has to tell it.
    record_event(process, &format!("p-{}", 10 + round), r#"{"kind": "erasure"}"#);
    let case = json!({
        "case": format!("2026-{round}"), "recipient": "police", "purpose": "law-enforcement", "subjects": ["p-1"],
        "categories": ["contact"], "end": "2099-01-01T00:00:00Z", "reference": "12 Js 4/26",
    });
    post(process, "/v1/cases", &case);
    if round == 1 {
        let file = process.folder.path().join("purposegate.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        process.rewrite(&config.replacen("upstream = \"crm\"", "upstraem = \"crm\"", 1));
        process.signal("-HUP");
    }
}

/// Starts a gateway, its traffic, and a Prometheus that has scraped it before, while and after.
fn scraped_gateway(upstream: &Upstream, folder: &Path) -> Option<(ServeProcess, PrometheusServer)> {
    let collector = "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 OTEL_BSP_SCHEDULE_DELAY=20;";
    let process = ServeProcess::start(&configuration(upstream, folder), collector);
    let tls: SocketAddr = wait(|| {
        let (log, begins) = (process.log(), "\"address\":\"127.0.0.2:");
        let port = log.split(begins).nth(1)?.split('"').next()?;
        format!("127.0.0.2:{port}").parse().ok()
    });
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus-rules.yml");
    let prometheus = PrometheusServer::start(process.admin, &rules)?;
    // Increases begin with a value before the first event.
    wait_until(|| prometheus.scrapes() >= 2);
    prepare(&process, upstream);
    for round in 0..4 {
        make_traffic(&process, tls, round);
        let before = prometheus.scrapes();
        wait_until(|| prometheus.scrapes() > before);
    }
    // The search for recipients to tell begins three seconds after an erasure, and the index counts people every two.
    for (name, least) in [
        ("purposegate_notices_open", 1.0),
        ("purposegate_recipient_people{recipient=\"support\"}", f64::from(MANY)),
        ("purposegate_audit_checkpoint_sink_failures_total", 1.0),
        ("purposegate_policy_reload_total{outcome=\"failed\"}", 1.0),
        ("purposegate_push_failures_total", 1.0),
    ] {
        wait_until(|| process.metric(name) >= least);
    }
    let before = prometheus.scrapes();
    wait_until(|| prometheus.scrapes() > before + 1);
    Some((process, prometheus))
}

/// Replaces the variables of an expression as Grafana does.
fn substituted(expression: &str, prometheus: &PrometheusServer, values: &BTreeMap<&str, String>) -> String {
    let range = jiff::Timestamp::now().as_duration().as_secs_f64() - prometheus.began;
    // Grafana takes four scrape intervals, or a step and one if that is more; the step here is one.
    let rate_interval = 4 * SCRAPE_INTERVAL;
    let mut text = expression
        .replace("$__rate_interval", &format!("{rate_interval}s"))
        .replace("$__range", &format!("{}s", range.round()));
    for (name, value) in values {
        text = text.replace(&format!("${name}"), value);
    }
    assert!(!text.contains('$'), "{text}");
    text
}

/// The expression that stands for several chosen values, as Grafana writes it.
fn alternatives(values: &[String]) -> String {
    let escaped = |value: &String| {
        let special = |c: char| "\\^$*{}[]'+?.()|".contains(c);
        value.chars().map(|c| if special(c) { format!("\\\\{c}") } else { c.to_string() }).collect::<String>()
    };
    format!("({})", values.iter().map(escaped).collect::<Vec<_>>().join("|"))
}

/// Asks for the values of a variable as Grafana does.
fn values_of(variable: &Value, prometheus: &PrometheusServer) -> Vec<String> {
    let query = variable["query"]["query"].as_str().unwrap();
    let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
    let (metric, label) = arguments.split_once(", ").unwrap();
    assert!(labels_of(metric).is_some_and(|labels| labels.contains(label)), "{query}");
    let data = prometheus.ask(&format!("/api/v1/label/{label}/values"), &[("match[]", metric)]).unwrap();
    data.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// Checks that the labels of a legend are those of the series.
fn check_legend(place: &str, legend: &str, found: &[Series]) {
    for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim()) {
        for one in found {
            // Prometheus leaves out a label that is empty.
            let may_be_empty = ["route", "recipient", "purpose", "category"].contains(&label);
            assert!(one.labels.contains_key(label) || may_be_empty, "{place}: no label {label}: {one:?}");
        }
    }
}

fn check_dashboard(name: &str, prometheus: &PrometheusServer, faults: &mut Vec<String>) {
    let dashboard = dashboard(name);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let queries = variables.iter().filter(|variable| variable["type"] == "query");
    let known: BTreeMap<&str, Vec<String>> = queries
        .map(|variable| (variable["name"].as_str().unwrap(), values_of(variable, prometheus)))
        .collect();
    assert!(known.values().all(|values| !values.is_empty()), "{known:?}");
    let all: BTreeMap<&str, String> = known.keys().map(|name| (*name, ".*".to_owned())).collect();
    let chosen: BTreeMap<&str, String> =
        known.iter().map(|(name, values)| (*name, alternatives(values))).collect();
    let mut evaluated = 0;
    for panel in charts(&dashboard) {
        let place = format!("{name}: {}", title(panel));
        // A total of the time range is asked for at its end. Anything else has to return a number at some time.
        let evaluate = |expression: &str, values: &BTreeMap<&str, String>| {
            let text = substituted(expression, prometheus, values);
            if expression.contains("$__range") { prometheus.instant(&text) } else { prometheus.range(&text) }
        };
        let (mut missing, mut missing_if_chosen) = (Vec::new(), Vec::new());
        for (expression, legend) in targets(panel) {
            evaluated += 1;
            match evaluate(expression, &all) {
                Err(error) => faults.push(format!("{place}: {error}: {expression}")),
                Ok(found) => {
                    check_legend(&place, legend, &found);
                    if !found.iter().any(|one| one.has_number) {
                        missing.push(format!("{expression}: {found:?}"));
                    }
                }
            }
            match evaluate(expression, &chosen) {
                Err(error) => faults.push(format!("{place}, with chosen values: {error}: {expression}")),
                Ok(found) if found.iter().any(|one| one.has_number) => {}
                Ok(found) => missing_if_chosen.push(format!("{expression}: {found:?}")),
            }
        }
        let needs = panel["description"].as_str().unwrap().contains(NEEDS);
        let is_exempt = EMPTY_IF_CHOSEN.contains(&&*place);
        if (needs || is_exempt) == missing_if_chosen.is_empty() {
            faults.push(format!("{place}: with chosen values: exempt: {is_exempt}: {missing_if_chosen:#?}"));
        }
        if needs == missing.is_empty() {
            faults.push(format!(
                "{place}: says that it needs something: {needs}; returns nothing: {missing:#?}"
            ));
        }
    }
    assert!(evaluated >= 40, "{name}: {evaluated}");
}

/// What an alert compares: each side of its comparisons, and what it joins by `and` and `or`. Constants are left out, as is
/// `absent`, which returns nothing while the gateway is there. Subqueries get the steps that suit the scrape interval of the tests,
/// and days of the past become seconds. Prometheus writes seven days as a week.
fn compared(expression: &str) -> Vec<String> {
    let text = [(":30s]", ":1s]"), (":1m]", ":1s]"), ("[4w:1d]", "[20s:1s]"), ("offset 13d", "offset 1s")];
    let text = text.iter().fold(expression.to_owned(), |text, (from, to)| text.replace(from, to));
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        let operator = [" > ", " < ", " == ", " and on (recipient) ", " and ", " or "];
        let operator = operator.into_iter().find(|operator| depth == 0 && text[at..].starts_with(operator));
        if let Some(operator) = operator.filter(|_| at >= begin) {
            parts.push(&text[begin..at]);
            begin = at + operator.len();
        }
    }
    parts.push(&text[begin..]);
    let of_part = |part: &str| {
        let part = part.trim();
        // A factor of what is in brackets.
        let inner = part.split_once(" * (").filter(|(factor, _)| factor.parse::<f64>().is_ok());
        match inner.and_then(|(_, rest)| rest.strip_suffix(')')) {
            Some(inner) => compared(inner),
            None if part.starts_with("absent(") || !part.contains("purposegate") => Vec::new(),
            None => vec![part.to_owned()],
        }
    };
    parts.into_iter().flat_map(of_part).collect()
}

/// Checks each alert rule, and that those of what happened fire.
fn check_rules(prometheus: &PrometheusServer, faults: &mut Vec<String>) {
    let groups = prometheus.ask("/api/v1/rules", &[]).unwrap();
    let rules = groups["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), documents::alerts().len());
    for rule in &rules {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        if rule["health"] != "ok" {
            faults.push(format!("{name}: {rule}"));
        }
        let sides = compared(query);
        assert!(!sides.is_empty(), "{name}: {query}");
        // A week before has to be days long: the tests of the rules have it.
        for side in sides.iter().filter(|side| !side.contains("offset 1w")) {
            match prometheus.range(side) {
                Ok(found) if found.iter().any(|one| one.has_number) => {}
                other => faults.push(format!("{name}: {side}: {other:?}")),
            }
        }
    }
    let alerts = prometheus.ask("/api/v1/alerts", &[]).unwrap();
    let active: BTreeSet<&str> = alerts["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["labels"]["alertname"].as_str().unwrap())
        .collect();
    for expected in [
        "PurposegateBeyondRegistration",
        "PurposegateCheckpointSinkFails",
        "PurposegateClosedAccounts",
        "PurposegateEnumeration",
        "PurposegateMinors",
        "PurposegateReloadFailed",
        "PurposegateRequestsOverdue",
        "PurposegateRetention",
        "PurposegateUnclassifiedFields",
        "PurposegateUnknownSubjects",
    ] {
        if !active.contains(expected) {
            faults.push(format!("{expected} is not active: {active:?}"));
        }
    }
    // A gateway that is slow to answer a scrape counts as down for a moment, so that alert is not here.
    for quiet in ["PurposegateReleasesStopped", "PurposegatePolicyDivergence", "PurposegateLedgerStale"] {
        assert!(!active.contains(quiet), "{quiet}");
    }
}

#[test]
fn every_expression_returns_a_series_of_a_gateway_or_says_what_it_needs() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().unwrap());
    let Some((_process, prometheus)) = scraped_gateway(&upstream, folder.path()) else { return };
    let mut faults = Vec::new();
    for (name, _) in DASHBOARDS {
        check_dashboard(name, &prometheus, &mut faults);
    }
    check_rules(&prometheus, &mut faults);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
