//! `explain`: the reasons for which a field leaves or is withheld, with and without a running gateway, and for decisions
//! on the log.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixtures::{CONSENT, NOTICE};
use crate::gateway::{TestGateway, base, pack};
use crate::program::{Run, run};
use crate::upstream::Upstream;

const MANIFEST: &str = r#"
title = "A small pack"
version = "1"
announced = 2026-01-01
effective = 2026-01-01
contact = "dpo@example.org"
notice-business-days = 30
[bases]
contract = "the contract with the customer"
consent = "the person's consent"
not-personal = "is about nobody"
[[clauses]]
id = "C-1"
title = "Support sees what it needs"
kept = "by-rules"
[[clauses]]
id = "C-2"
title = "Marketing asks first"
kept = "by-rules"
[[clauses]]
id = "C-3"
title = "Partners follow up"
kept = "by-rules"
[[clauses]]
id = "C-4"
title = "What was erased, or is a child's, stays"
kept = "by-rules"
"#;

const RULES: &str = r#"
@id("support") @clause("C-1") @basis("contract")
permit (principal in Kind::"employee", action == Action::"customer-support", resource)
when { resource in [Category::"name", Category::"contact"] };
@id("marketing") @clause("C-2") @basis("consent")
permit (principal in Kind::"employee", action == Action::"direct-marketing", resource)
when { resource in [Category::"name", Category::"email"] };
@id("follow-up") @clause("C-3") @basis("contract")
permit (principal in Kind::"reselling-partner", action == Action::"reseller-follow-up", resource in Category::"name")
when { context.relation["product-download"] };
@id("invoices") @clause("C-3") @basis("contract")
permit (principal in Kind::"employee", action == Action::"customer-support", resource in Category::"service-data")
when { context.instructed };
@id("case") @clause("C-3") @basis("contract")
permit (principal in Kind::"public-authority", action in Action::"legal", resource in Category::"name")
when { context.legal_reference };
@id("corrections") @clause("C-1") @basis("contract")
permit (principal in Kind::"employee", action == Action::"customer-support", resource in Category::"name")
when { context.operation == "alter" };
@id("nobodys") @clause("C-1") @basis("not-personal")
permit (principal, action, resource)
when { action in [Action::"customer-support", Action::"direct-marketing", Action::"reseller-follow-up", Action::"legal"] }
when { resource in [Category::"aggregate", Category::"non-personal"] };
@id("erased-stays") @clause("C-4")
forbid (principal, action, resource in Category::"personal") when { context.erased };
@id("minors-stay") @clause("C-4")
forbid (principal, action, resource in Category::"personal") when { context.minor };
"#;

const ROUTES: &str = r#"
[[schema]]
name = "customer"
subject = "@.id"
controller = "@.account"
[schema.fields]
"@.id" = "non-personal"
"@.name" = "name"
"@.email" = "email"
"@.plan" = "usage"
"@.invoice" = ["service-data", "name"]
[schema.facts]
birth-date = "@.born"

[[route]]
name = "customer"
upstream = "crm"
methods = ["GET", "PATCH"]
path = "/customers/{id}"
schema = "customer"
subject = "{id}"

[[route]]
name = "notes"
upstream = "crm"
methods = ["GET", "PATCH"]
path = "/notes/{id}"
personal = false
subject = "{id}"

[[route]]
name = "customers"
upstream = "crm"
path = "/customers"
record = "$.items[*]"
schema = "customer"
[route.fields]
"$.total" = "aggregate"

[[route]]
name = "orders"
upstream = "crm"
path = "/orders"
[[route.records]]
path = "$.orders[*]"
subject = "@.buyer"
fields = { "@.address" = "postal-address" }
[[route.records]]
path = "$.contacts[*]"
fields = { "@.name" = "name" }

[[route]]
name = "whole"
upstream = "crm"
path = "/whole"
subject = "@.id"
withheld = "deny"
fields = { "@.email" = "email" }

[[route]]
name = "support-only"
upstream = "crm"
path = "/support"
purposes = ["customer-support"]
subject = "@.id"
fields = { "@.name" = "name" }
"#;

/// A configuration whose policy pack is in the folder `pack` beside it.
fn config(upstream: std::net::SocketAddr) -> String {
    let installed = format!("policy = \"{}\"", pack("one-partner-360").display());
    let text = base(upstream).replace(&installed, "policy = \"pack\"");
    assert!(text.contains("policy = \"pack\""), "{text}");
    text + ROUTES
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    std::fs::create_dir(&pack).unwrap();
    std::fs::write(pack.join("pack.toml"), MANIFEST).unwrap();
    std::fs::write(pack.join("rules.cedar"), RULES).unwrap();
    folder
}

fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let gateway = TestGateway::start_in(folder(), &config(upstream.address));
    (upstream, gateway)
}

/// Runs `explain` on the configuration in a folder.
fn explain_in(folder: &Path, arguments: &[&str]) -> Run {
    let file = folder.join("purposegate.toml");
    run([&["explain", "--config", file.to_str().unwrap()], arguments].concat())
}

/// Explains a route for the recipient `support`; returns the exit status and the JSON output.
fn explain_json(folder: &Path, route: &str, purpose: &str, more: &[&str]) -> (i32, Value) {
    let explain_json = ["--route", route, "--recipient", "support", "--purpose", purpose, "--format", "json"];
    let (status, out, words) = explain_in(folder, &[&explain_json, more].concat());
    let explained = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
    (status, explained)
}

/// The field of the first record with this path.
fn field<'t>(explained: &'t Value, path: &str) -> &'t Value {
    let fields = explained["records"][0]["fields"].as_array().unwrap();
    fields.iter().find(|field| field["path"] == path).unwrap_or_else(|| panic!("{path}: {explained}"))
}

/// Replaces revisions, decision ids and times, which differ from run to run, with ellipses.
fn stable(text: &str) -> String {
    let revision = without_word_after(text, "revision ");
    without_word_after(&revision, "decision ")
}

/// Replaces the word after each `before`, and the time of a decision that follows it, with ellipses.
fn without_word_after(text: &str, before: &str) -> String {
    let mut parts = text.split(before);
    let mut stable = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', ' ', '\n']).unwrap_or(part.len());
        let word = &part[..end];
        let is_name = word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        stable.push_str(before);
        stable.push_str(if is_name { "…" } else { word });
        let rest = &part[end..];
        // The time of a decision.
        let of_time = rest.strip_prefix(" of 20").filter(|_| is_name).and_then(|rest| rest.split_once(": "));
        match of_time {
            Some((_, rest)) => stable.push_str(&format!(" of …: {rest}")),
            None => stable.push_str(rest),
        }
    }
    stable
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

const PEOPLE: &str = r#"{"items": [
    {"id": "given", "name": "Name-given", "email": "given@example.org", "plan": "gold"},
    {"id": "withdrew", "name": "Name-withdrew", "email": "withdrew@example.org", "plan": "gold"},
    {"id": "nobody-knows", "name": "Name-nobody", "email": "nobody@example.org"},
    {"name": "Name-without", "secret": "s-1"},
    {"id": "child", "name": "Name-child", "born": "2020-01-01"},
    {"id": "withdrew", "name": "Name-again", "email": "again@example.org", "plan": "gold"}
], "total": 5}"#;

fn record_consents(gateway: &TestGateway) {
    gateway.record_event("given", CONSENT);
    gateway.record_event("withdrew", CONSENT);
    gateway.record_event("withdrew", r#"{"kind": "consent-withdrawn", "purpose": "direct-marketing"}"#);
    gateway.record_event("child", CONSENT);
}

#[test]
fn an_answer_is_explained_by_record_with_and_without_a_gateway() {
    let (_upstream, gateway) = start_gateway();
    record_consents(&gateway);
    let folder = gateway.folder.path();
    let file = write(folder, "answer.json", PEOPLE);
    let question = [
        "--route",
        "customers",
        "--recipient",
        "support",
        "--purpose",
        "direct-marketing",
        "--record",
        &file,
    ];
    let (status, beside, words) = explain_in(folder, &question);
    assert_eq!((status, words.as_str()), (0, ""), "{beside}");
    insta::assert_snapshot!(stable(&beside));
    for value in ["Name-", "example.org", "gold", "s-1", "withdrew", "2020-01-01"] {
        assert!(!beside.contains(value), "{value}: {beside}");
    }
    let folder = gateway.end();
    let (_, without, _) = explain_in(folder.path(), &question);
    assert_eq!(without, beside);
    // Only records about the subject that is asked about.
    let mut about_one = question.to_vec();
    about_one.extend(["--subject", "withdrew"]);
    let (_, out, _) = explain_in(folder.path(), &about_one);
    assert!(out.contains("record 2, 6 at $.items[*]") && out.contains("4 more records"), "{out}");
}

#[test]
fn each_field_has_its_form_or_the_reason_and_the_changes_needed() {
    let (_upstream, gateway) = start_gateway();
    record_consents(&gateway);
    let folder = gateway.folder.path();
    let (status, explained) = explain_json(folder, "customers", "direct-marketing", &["--subject", "given"]);
    assert_eq!(status, 0);
    let name = field(&explained, "@.name");
    assert_eq!(
        (&name["form"], &name["basis"], &name["clauses"]),
        (&json!("clear"), &json!("consent"), &json!(["C-2"]))
    );
    let plan = field(&explained, "@.plan");
    assert_eq!(
        (&plan["reason"], &plan["never"]),
        (&json!("no-rule"), &json!("no rule of this policy ever releases it to this kind"))
    );

    let (status, explained) =
        explain_json(folder, "customers", "direct-marketing", &["--subject", "withdrew"]);
    assert_eq!(status, 0, "what is about nobody leaves");
    let name = field(&explained, "@.name");
    assert_eq!(
        (&name["reason"], &name["changes"][0][0]["what"]),
        (&json!("refused"), &json!("consent")),
        "{explained}"
    );

    let (_, explained) = explain_json(folder, "customers", "direct-marketing", &["--subject", "stranger"]);
    assert_eq!(explained["records"][0]["person"], "the ledger does not know the person");
    let name = field(&explained, "@.name");
    let needs: Vec<&str> = name["changes"][0]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["what"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&name["reason"], needs),
        (&json!("unknown-subject"), vec!["person", "consent"]),
        "{explained}"
    );

    let (_, explained) = explain_json(folder, "customers", "customer-support", &["--subject", "given"]);
    let invoice = field(&explained, "@.invoice");
    assert_eq!(
        (&invoice["form"], &invoice["changes"][0][0]["what"]),
        (&json!("removed"), &json!("instruction")),
        "{explained}"
    );
    let account = gateway.post_admin(
        "/v1/controllers/acc-1/events",
        br#"{"kind": "instruction", "purpose": "customer-support"}"#,
    );
    assert_eq!(account.status, 200, "{}", account.text());
    let (_, explained) = explain_json(
        folder,
        "customers",
        "customer-support",
        &["--subject", "given", "--controller", "acc-1"],
    );
    assert_eq!(field(&explained, "@.invoice")["form"], "clear");
    // Without a subject, the explanation is for a person without recorded events.
    let (status, explained) = explain_json(folder, "customers", "customer-support", &[]);
    assert_eq!((status, &field(&explained, "@.email")["form"]), (0, &json!("clear")));
    assert!(explained["notes"].to_string().contains("no person is given"), "{explained}");
    assert_eq!(explained["outside"][0]["path"], "$.total");
}

#[test]
fn an_operation_is_judged_by_the_subject_of_the_path() {
    let (_upstream, gateway) = start_gateway();
    gateway.record_event("p-1", NOTICE);
    gateway.record_event("p-2", NOTICE);
    gateway.record_event("p-2", r#"{"kind": "erasure"}"#);
    let folder = gateway.folder.path();
    let (status, explained) = explain_json(folder, "/customers/p-1", "customer-support", &[]);
    assert_eq!((status, &field(&explained, "@.name")["form"]), (0, &json!("clear")), "{explained}");
    let (_, explained) = explain_json(folder, "/customers/{id}", "customer-support", &["--subject", "p-2"]);
    let name = field(&explained, "@.name");
    assert_eq!(
        (&name["reason"], &name["rules"]),
        (&json!("prohibited"), &json!(["erased-stays"])),
        "{explained}"
    );
    assert_eq!(name["changes"][0][0]["what"], "erasure");

    let alter = |person: &str| {
        explain_json(folder, "customer", "customer-support", &["--method", "PATCH", "--subject", person])
    };
    let (status, explained) = alter("p-1");
    assert_eq!(
        (status, &explained["operation"], &explained["refused"]),
        (0, &json!("alter"), &json!([])),
        "{explained}"
    );
    let (status, explained) = alter("p-2");
    assert_eq!((status, &explained["refused"][0]["code"]), (1, &json!("subject-withheld")), "{explained}");
    assert_eq!(explained["refused"][0]["changes"][0][0]["what"], "erasure");

    // Answers pass unread, but the path identifies the subject of an operation.
    for (path, refused) in [("/notes/p-1", json!([])), ("/notes/p-2", json!("subject-withheld"))] {
        let (_, explained) = explain_json(folder, path, "customer-support", &["--method", "PATCH"]);
        let code = explained["refused"].get(0).map_or(&explained["refused"], |refused| &refused["code"]);
        assert_eq!(*code, refused, "{explained}");
    }
}

#[test]
fn a_single_record_is_explained() {
    let folder = folder();
    std::fs::write(folder.path().join("purposegate.toml"), config("127.0.0.1:9".parse().unwrap())).unwrap();
    let alone = write(folder.path(), "one.json", r#"{"id": "p-1", "name": "Ada", "born": "yesterday"}"#);
    let (status, explained) =
        explain_json(folder.path(), "customers", "customer-support", &["--record", &alone]);
    assert_eq!(status, 0);
    assert_eq!(explained["records"][0]["numbers"], json!([1]));
    assert!(explained["notes"].to_string().contains("there is no ledger yet"), "{explained}");
    assert!(
        explained["records"][0]["notes"].to_string().contains("birth date cannot be read"),
        "{explained}"
    );
    let nameless = write(folder.path(), "nameless.json", r#"{"name": "Ada"}"#);
    let (_, explained) =
        explain_json(folder.path(), "customers", "customer-support", &["--record", &nameless]);
    let name = field(&explained, "@.name");
    assert_eq!(
        (&name["reason"], &name["changes"][0][0]["what"]),
        (&json!("no-subject"), &json!("subject")),
        "{explained}"
    );
}

#[test]
fn each_record_set_is_explained_separately() {
    let (_upstream, gateway) = start_gateway();
    gateway.record_event("p-1", NOTICE);
    let folder = gateway.folder.path();
    let answer = r#"{"orders": [{"buyer": "p-1", "address": "X"}, {"buyer": "p-9", "address": "Y"}], "contacts": [{"name": "Z"}]}"#;
    let file = write(folder, "orders.json", answer);
    let (_, explained) = explain_json(folder, "orders", "customer-support", &["--record", &file]);
    let records = explained["records"].as_array().unwrap();
    let of = |path: &str| records.iter().filter(move |record| record["path"] == path).collect::<Vec<_>>();
    assert_eq!((of("$.orders[*]").len(), of("$.contacts[*]").len()), (2, 1), "{explained}");
    assert_eq!(of("$.orders[*]")[0]["fields"][0]["form"], "clear");
    assert_eq!(of("$.orders[*]")[1]["fields"][0]["reason"], "unknown-subject");
    let contact = &of("$.contacts[*]")[0]["fields"][0];
    assert_eq!(
        (&contact["reason"], &contact["changes"][0][0]["what"]),
        (&json!("no-subject"), &json!("subject"))
    );
    // A single record could belong to either record set.
    let alone = write(folder, "alone.json", r#"{"buyer": "p-1", "address": "X"}"#);
    let question =
        ["--route", "orders", "--recipient", "support", "--purpose", "customer-support", "--record", &alone];
    let (status, _, words) = explain_in(folder, &question);
    assert_eq!(status, 2);
    assert!(
        words.contains("$.orders[*]") && words.contains("$.contacts[*]") && !words.contains("p-1"),
        "{words}"
    );
}

#[test]
fn a_refusal_is_explained_first_with_the_changes_needed() {
    let (_upstream, gateway) = start_gateway();
    gateway.record_event("p-1", NOTICE);
    let suspended = gateway.post_admin("/v1/recipients/reseller/events", br#"{"kind": "suspended"}"#);
    assert_eq!(suspended.status, 200, "{}", suspended.text());
    let folder = gateway.folder.path();
    let refused = |route: &str, recipient: &str, purpose: &str| {
        let question = [
            "--route",
            route,
            "--recipient",
            recipient,
            "--purpose",
            purpose,
            "--subject",
            "p-1",
            "--format",
            "json",
        ];
        let (status, out, words) = explain_in(folder, &question);
        let explained: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
        let codes: Vec<String> = explained["refused"]
            .as_array()
            .unwrap()
            .iter()
            .map(|refused| {
                let what = refused["changes"][0][0]["what"].as_str().unwrap_or("nothing");
                format!("{}: {what}", refused["code"].as_str().unwrap())
            })
            .collect();
        (status, codes, explained)
    };
    let codes = |route, recipient, purpose| {
        let (status, codes, _) = refused(route, recipient, purpose);
        (status, codes)
    };
    let one = |code: &str| (1, vec![code.to_owned()]);
    assert_eq!(codes("customers", "lapsed", "reseller-follow-up"), one("agreement-not-in-force: agreement"));
    assert_eq!(codes("customers", "reseller", "reseller-follow-up"), one("recipient-suspended: suspension"));
    assert_eq!(codes("customers", "police", "law-enforcement"), one("legal-reference-missing: case"));
    assert_eq!(codes("customers", "registrar", "domain-registration"), one("no-rule-permits: nothing"));
    assert_eq!(codes("whole", "support", "direct-marketing"), one("subject-withheld: consent"));
    assert_eq!(
        codes("support-only", "reseller", "customer-support"),
        (
            1,
            ["purpose-not-permitted: registration", "recipient-suspended: suspension"]
                .map(str::to_owned)
                .to_vec()
        )
    );
    assert_eq!(codes("support-only", "support", "direct-marketing"), one("purpose-not-permitted: route"));
    // Fields that would leave under a case are explained as if one were in force.
    let (_, _, explained) = refused("customers", "police", "law-enforcement");
    assert_eq!(field(&explained, "@.name")["form"], "clear", "{explained}");
    let (_, out, _) = explain_in(
        folder,
        &[
            "--route",
            "customers",
            "--recipient",
            "lapsed",
            "--purpose",
            "reseller-follow-up",
            "--subject",
            "p-1",
        ],
    );
    insta::assert_snapshot!(stable(&out));
}

#[test]
fn a_misspelt_argument_gets_the_nearest_name() {
    let folder = folder();
    std::fs::write(folder.path().join("purposegate.toml"), config("127.0.0.1:9".parse().unwrap())).unwrap();
    let says = |route: &str, recipient: &str, purpose: &str, more: &[&str]| {
        let question = ["--route", route, "--recipient", recipient, "--purpose", purpose];
        let (status, out, words) = explain_in(folder.path(), &[&question, more].concat());
        assert_eq!((status, out.as_str()), (2, ""), "{words}");
        words
    };
    let purpose = "customer-support";
    assert!(says("custmers", "support", purpose, &[]).contains("did you mean `customers`?"));
    assert!(says("customers", "suport", purpose, &[]).contains("did you mean `support`?"));
    assert!(
        says("customers", "support", "customer-suport", &[]).contains("did you mean `customer-support`?")
    );
    assert!(says("customers", "support", purpose, &["--record", "/no/such.json"]).contains("/no/such.json"));
    let endless = says("customers", "support", purpose, &["--record", "/dev/zero"]);
    assert!(endless.contains("/dev/zero: more than"), "{endless}");
    assert!(says("customers", "support", purpose, &["--method", "DELETE"]).contains("it serves GET"));
    let namespace = ["--subject", "p-1", "--namespace", "defalt"];
    assert!(says("customers", "support", purpose, &namespace).contains("did you mean `default`?"));
    let broken = write(folder.path(), "broken.json", r#"{"items": [{"id": "secret-id""#);
    let words = says("customers", "support", purpose, &["--record", &broken]);
    assert!(words.contains("broken.json") && !words.contains("secret-id"), "{words}");
}

#[test]
fn a_gateway_under_another_policy_revision_is_noted() {
    let (_upstream, gateway) = start_gateway();
    let admin = gateway.admin.to_string();
    let folder = gateway.folder.path();
    let notes = || {
        let (_, explained) =
            explain_json(folder, "customers", "customer-support", &["--subject", "p-1", "--admin", &admin]);
        explained["notes"].to_string()
    };
    assert!(!notes().contains("a reload brings it"), "{}", notes());
    std::fs::write(folder.join("pack/rules.cedar"), RULES.replace("minors-stay", "children-stay")).unwrap();
    assert!(notes().contains("a reload brings it into force"), "{}", notes());
    // A reload does not bring into force what the notice of changes refuses.
    let wider = RULES.replace("context.minor", "context.minor && context.erased");
    assert_ne!(wider, RULES);
    std::fs::write(folder.join("pack/rules.cedar"), wider).unwrap();
    let place = folder.join("pack/pack.toml").display().to_string();
    let refused = format!("these policies do not come into force: change-not-announced: {place}:");
    assert!(notes().contains("does not decide by this revision"), "{}", notes());
    assert!(notes().contains(&refused) && !notes().contains("a reload brings it"), "{}", notes());
    let folder = gateway.end();
    let (_, explained) = explain_json(folder.path(), "customers", "customer-support", &["--subject", "p-1"]);
    assert!(explained["notes"].to_string().contains(&refused), "{explained}");
}

#[test]
fn a_logged_decision_is_explained_with_and_without_a_gateway() {
    let (upstream, gateway) = start_gateway();
    record_consents(&gateway);
    upstream.json("/customers", PEOPLE);
    let answer = gateway.get("/customers", "support", "direct-marketing");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.decision();
    let admin = gateway.admin.to_string();
    let (status, beside, words) = explain_in(gateway.folder.path(), &["--decision", &id, "--admin", &admin]);
    assert_eq!((status, words.as_str()), (0, ""), "{beside}");
    assert!(
        beside.contains("released:"),
        "the gateway tells the end that the file may not have yet: {beside}"
    );
    insta::assert_snapshot!(stable(&beside));
    for value in ["Name-", "example.org", "withdrew"] {
        assert!(!beside.contains(value), "{value}: {beside}");
    }
    let refused = gateway.get("/customers", "lapsed", "reseller-follow-up");
    assert_eq!(refused.status, 403);
    let refused = refused.decision();
    let folder = gateway.end();
    let (_, without, _) = explain_in(folder.path(), &["--decision", &id]);
    assert_eq!(without, beside);

    let (status, out, _) = explain_in(folder.path(), &["--decision", &refused, "--format", "json"]);
    let explained: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &explained["refused"]["code"]), (0, &json!("agreement-not-in-force")), "{explained}");
    assert_eq!(explained["refused"]["changes"][0][0]["what"], "agreement");
    assert_eq!(
        (&explained["record"]["decision"], &explained["policy"]["loaded"]),
        (&json!(refused), &json!(true))
    );

    // The policy has changed since the decision.
    let rules = folder.path().join("pack/rules.cedar");
    std::fs::write(
        &rules,
        RULES.replace("marketing", "promotion").replace("direct-promotion", "direct-marketing"),
    )
    .unwrap();
    let (_, out, _) = explain_in(folder.path(), &["--decision", &id]);
    assert!(out.contains("which is not loaded\n") && out.contains("follow from the current rules"), "{out}");

    for strange in ["x", "01ARZ3NDEKTSV4RRFFQ69G5FA", "../../etc/passwd", ""] {
        let (status, _, words) = explain_in(folder.path(), &["--decision", strange]);
        assert_eq!(status, 2, "{strange}: {words}");
    }
    let (status, _, words) = explain_in(folder.path(), &["--decision", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert!(status == 1 && words.contains("no decision with this id"), "{words}");
    assert_eq!(explain_in(folder.path(), &["--decision", &id, "--route", "customers"]).0, 2);
    std::fs::remove_dir_all(folder.path().join("data/audit")).unwrap();
    assert_eq!(explain_in(folder.path(), &["--decision", &id]).0, 2);
}
