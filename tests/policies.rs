//! The two packs, whole: their own scenarios pass, and nothing in them is left uncovered.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use purposegate::cli::output::ExitStatus;
use purposegate::cli::policy::{PolicyVerb, run};

fn pack(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)
}

/// Runs a verb as the command line would; its outcome, what it answered and what it said.
fn policy(arguments: &[&str]) -> (ExitStatus, String, String) {
    #[derive(clap::Parser)]
    struct Arguments {
        #[command(subcommand)]
        verb: PolicyVerb,
    }
    let arguments = <Arguments as clap::Parser>::parse_from(["policy"].iter().chain(arguments));
    let (mut out, mut words) = (Vec::new(), Vec::new());
    let outcome = run(&arguments.verb, &mut out, &mut words).unwrap();
    (outcome, String::from_utf8(out).unwrap(), String::from_utf8(words).unwrap())
}

const PACKS: [&str; 2] = ["one-partner-360", "perspectium"];

#[test]
fn every_scenario_of_both_packs_passes() {
    for name in PACKS {
        let (outcome, out, words) = policy(&["test", "--policy", pack(name).to_str().unwrap()]);
        let failed: Vec<&str> = out.lines().filter(|line| !line.starts_with("pass")).collect();
        assert_eq!(outcome, ExitStatus::Success, "{name}: {failed:#?}\n{words}");
        assert!(out.lines().count() > 100, "{name}");
    }
}

#[test]
fn every_clause_has_its_rule_and_scenarios_and_no_rule_is_dead() {
    for name in PACKS {
        let (outcome, out, words) = policy(&["coverage", "--policy", pack(name).to_str().unwrap()]);
        assert_eq!(outcome, ExitStatus::Success, "{name}: {out}{words}");
    }
}

#[test]
fn a_failing_scenario_shows_what_was_expected_and_what_came() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    let scenario = "[[scenario]]\nname = \"wrong\"\nclause = \"G-1\"\npurpose = \"data-sale\"\n\
        recipient = { kind = \"employee\" }\nexpect = { name = \"clear\", email = [\"removed\", \"masked\"] }\n";
    std::fs::write(&file, scenario).unwrap();
    let (outcome, out, _) =
        policy(&["test", "--policy", pack(PACKS[0]).to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(out.contains("name: expected clear, got removed (refused: no-rule-permits)"), "{out}");
    assert!(!out.contains("email:"), "{out}");
    assert!(out.ends_with("0 passed, 1 failed\n"), "{out}");
}

#[test]
fn a_scenario_that_is_not_understood_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    let scenario = "[[scenario]]\nname = \"wrong\"\nclause = \"G-1\"\npurpose = \"data-sail\"\n\
        recipient = { kind = \"employe\", color = \"red\" }\n\
        subject = { refused-categories = [\"email\"], consents = { marketing = \"yes\" }, objections = [\"survey:maybe\"] }\n\
        request = { operation = \"read\" }\nrefused = \"because\"\nexpect = { nmae = \"clear\" }\n";
    std::fs::write(&file, scenario).unwrap();
    let (outcome, out, words) =
        policy(&["test", "--policy", pack(PACKS[0]).to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!((outcome, out.as_str()), (ExitStatus::Unusable, ""));
    for mistake in [
        "unknown purpose `data-sail`",
        "unknown recipient kind `employe`",
        "unknown key `color`",
        "`email` is not optional",
        "`yes` is not understood",
        "an objection is not `maybe`",
        "a scenario has `expect` or `refused`",
    ] {
        assert!(words.contains(mistake), "{mistake}\n{words}");
    }
}

#[test]
fn a_wide_category_is_explained_by_what_it_may_hold() {
    let (_, out, words) = policy(&[
        "explain",
        "--policy",
        pack(PACKS[0]).to_str().unwrap(),
        "--recipient-kind",
        "payment-processor",
        "--purpose",
        "payment",
        "--format",
        "json",
    ]);
    let explained: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
    let of = |name: &str| {
        let mut lines = explained["categories"].as_array().unwrap().iter();
        lines.find(|line| line["category"] == name).unwrap().clone()
    };
    let (wide, narrow) = (of("payment"), of("billing"));
    assert_eq!((&wide["form"], &wide["may_hold"]), (&"removed".into(), &"payment-card-number".into()));
    assert_eq!((&narrow["form"], &narrow["may_hold"]), (&"clear".into(), &serde_json::Value::Null));
}

#[test]
fn a_scenario_says_how_old_a_record_is_and_its_file_how_long_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = |age: u32, recipient: &str, purpose: &str, expect: &str| {
        format!(
            "[[scenario]]\nname = \"{purpose} {age}\"\nclause = \"G-3f\"\npurpose = \"{purpose}\"\n\
             recipient = {{ kind = \"{recipient}\" }}\nsubject = {{ age-days = {age} }}\nexpect = {{ {expect} }}\n"
        )
    };
    let young = scenario(30, "employee", "analytics", "usage = \"clear\", website-activity = \"clear\"");
    let old = [
        scenario(31, "employee", "analytics", "usage = \"removed\", website-activity = \"removed\""),
        scenario(31, "employee", "customer-support", "email = \"clear\", usage = \"removed\""),
        scenario(9999, "employee", "customer-support", "email = \"clear\", aggregate = \"clear\""),
        scenario(31, "employee", "legal-obligation", "usage = \"clear\""),
    ];
    let forever = scenario(9999, "employee", "analytics", "usage = \"clear\"");
    let run = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let (outcome, out, words) =
            policy(&["test", "--policy", pack(PACKS[0]).to_str().unwrap(), file.to_str().unwrap()]);
        assert_eq!(outcome, ExitStatus::Success, "{out}{words}");
    };
    run("kept.toml", &format!("[retention]\nusage = \"30d\"\n{young}{}", old.concat()));
    run("forever.toml", &forever);
}

#[test]
fn a_scenario_expects_some_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.toml");
    let scenario = "[[scenario]]\nname = \"empty\"\nclause = \"G-1\"\npurpose = \"marketing\"\n\
        recipient = { kind = \"employee\" }\nexpect = { name = [] }\n";
    std::fs::write(&file, scenario).unwrap();
    let (outcome, _, words) =
        policy(&["test", "--policy", pack(PACKS[0]).to_str().unwrap(), file.to_str().unwrap()]);
    assert!(outcome == ExitStatus::Unusable && words.contains("no form is expected"), "{words}");
}

#[test]
fn a_scenario_says_whether_an_operation_is_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let play = |scenarios: &[(&str, &str)]| {
        let file = folder.path().join("operations.toml");
        let scenario = |(name, rest): &(&str, &str)| {
            format!("[[scenario]]\nname = \"{name}\"\nclause = \"G-6.8b\"\n{rest}\n")
        };
        std::fs::write(&file, scenarios.iter().map(scenario).collect::<String>()).unwrap();
        policy(&["test", "--policy", pack(PACKS[0]).to_str().unwrap(), file.to_str().unwrap()])
    };
    let person = |who: &str, rest: &str| {
        format!(
            "purpose = \"rectification\"\nrecipient = {{ kind = \"data-subject\" }}\n\
             request = {{ operation = \"alter\", subject-is-recipient = {who} }}\n{rest}"
        )
    };
    let staff = |operation: &str, rest: &str| {
        format!(
            "purpose = \"customer-support\"\nrecipient = {{ kind = \"employee\" }}\n\
             request = {{ operation = \"{operation}\" }}\n{rest}"
        )
    };
    let (outcome, out, words) = play(&[
        ("own", &person("true", "carried-out = true")),
        ("another's", &person("false", "carried-out = false")),
        ("a category alone", &person("true", "expect = { email = \"clear\" }\ncarried-out = true")),
        (
            "with another's",
            &person("true", "expect = { \"email+service-data\" = \"removed\" }\ncarried-out = false"),
        ),
        ("about nobody", &person("false", "expect = { non-personal = \"clear\" }\ncarried-out = false")),
        ("staff", &staff("destroy", "carried-out = true")),
        ("of a minor", &staff("alter", "subject = { minor = true }\ncarried-out = false")),
        ("of somebody erased", &staff("alter", "subject = { erased = true }\ncarried-out = false")),
        (
            "refused",
            "purpose = \"survey\"\nrecipient = { kind = \"employee\" }\nrequest = { operation = \"destroy\" }\n\
             refused = \"no-rule-permits\"\ncarried-out = false",
        ),
    ]);
    assert_eq!(outcome, ExitStatus::Success, "{out}{words}");

    let (outcome, out, _) = play(&[
        ("another's", &person("false", "carried-out = true")),
        (
            "refused",
            "purpose = \"survey\"\nrecipient = { kind = \"employee\" }\nrequest = { operation = \"alter\" }\ncarried-out = true",
        ),
    ]);
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(out.contains("carried-out: expected true, got false\n"), "{out}");
    assert!(out.contains("carried-out: expected true, got false (refused: no-rule-permits)"), "{out}");

    let (outcome, _, words) = play(&[("what leaves", &staff("disclose", "carried-out = true"))]);
    assert!(
        outcome == ExitStatus::Unusable && words.contains("`carried-out` does not apply to `disclose`"),
        "{words}"
    );
}

#[test]
fn days_count_from_today_in_an_explanation() {
    let form = |days: u32| {
        let subject = format!("{{\"account-closed-days\":{days}}}");
        let folder = pack("one-partner-360");
        let (_, out, words) = policy(&[
            "explain",
            "--policy",
            folder.to_str().unwrap(),
            "--recipient-kind",
            "employee",
            "--purpose",
            "customer-support",
            "--subject-json",
            &subject,
            "--format",
            "json",
        ]);
        let explained: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
        let categories = explained["categories"].as_array().unwrap().iter();
        let mut own = categories.filter(|one| one["category"] == "service-data");
        own.next().unwrap()["form"].as_str().unwrap().to_owned()
    };
    assert_eq!([form(0), form(89), form(91)], ["clear", "clear", "removed"]);
}

#[test]
fn explain_names_the_nearest_rule_and_what_it_lacked() {
    let (outcome, out, _) = policy(&[
        "explain",
        "--policy",
        pack(PACKS[0]).to_str().unwrap(),
        "--recipient-kind",
        "marketing-partner",
        "--purpose",
        "dpv:DirectMarketing",
        "--format",
        "json",
    ]);
    assert_eq!(outcome, ExitStatus::Success);
    let explanation: serde_json::Value = serde_json::from_str(&out).unwrap();
    let of = |name: &str| {
        let categories = explanation["categories"].as_array().unwrap();
        categories.iter().find(|line| line["category"] == name).unwrap().clone()
    };
    assert_eq!(of("email")["form"], "removed");
    assert_eq!(of("email")["nearest"][0]["rule"], "marketing-partner");
    assert_eq!(
        of("email")["nearest"][0]["lacks"][0],
        "needs consent for `direct-marketing`; the ledger has none"
    );
    assert_eq!(of("aggregate")["basis"], "not-personal");
    let lacks = of("phone")["nearest"][0]["lacks"].to_string();
    assert!(lacks.contains("is for `staff`"), "{lacks}");
}

/// `policy explain` in words, with these arguments besides.
fn explained(kind: &str, purpose: &str, more: &[&str]) -> (ExitStatus, String, String) {
    let folder = pack(PACKS[0]);
    let arguments =
        ["explain", "--policy", folder.to_str().unwrap(), "--recipient-kind", kind, "--purpose", purpose];
    policy(&[&arguments, more].concat())
}

#[test]
fn an_explanation_names_rules_of_the_same_kind_or_purpose_and_groups_equal_lines() {
    let (outcome, out, _) = explained("reselling-partner", "reseller-follow-up", &[]);
    assert_eq!(outcome, ExitStatus::Success);
    assert!(!out.contains("staff"), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    let at = lines.iter().position(|line| line.contains("`name`, `contact`, `company`")).unwrap();
    assert!(lines[at].starts_with("removed"), "{out}");
    assert!(lines[at + 1].contains("near: reseller ["), "{out}");
    assert!(
        lines[at + 2].contains(
            "would have to change: the relation `product-download`; or the relation `service-signup`"
        ),
        "{out}"
    );
    assert!(out.contains("no rule for this kind or for this purpose releases `personal` but"), "{out}");
    assert!(lines.len() < 10, "{out}");

    // Declared for another purpose: the rules of this kind are near, the one for staff is, too, and nothing is enough.
    let (_, out, _) = explained("reselling-partner", "customer-support", &["--category", "email"]);
    assert!(out.contains("removed       `email`"), "{out}");
    assert!(
        out.contains(
            "nothing: no rule releases it to this kind for this purpose, only for `reseller-follow-up`"
        ),
        "{out}"
    );
}

#[test]
fn only_the_categories_that_were_asked_for_are_explained() {
    let (_, out, _) =
        explained("employee", "direct-marketing", &["--category", "location", "--category", "email"]);
    assert!(out.contains("`location`") && out.contains("`email`") && !out.contains("`usage`"), "{out}");
    let json = ["--category", "email", "--format", "json"];
    let (_, out, _) = explained("employee", "direct-marketing", &json);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["categories"].as_array().unwrap().len(), 1);
    let changes = &told["categories"][0]["changes"];
    assert_eq!(changes[0][0]["what"], "consent", "{told}");
    let (outcome, _, words) = explained("employee", "direct-marketing", &["--category", "emial"]);
    assert_eq!(outcome, ExitStatus::Unusable);
    assert!(words.contains("did you mean `email`?"), "{words}");
}

/// What is named as enough is enough: the facts that it names are put in and asked for.
#[test]
fn what_would_have_to_change_takes_several_facts_where_it_has_to() {
    let person = r#"{"erased":false,"restricted":true,"region":"EEA","consents":{"marketing":"withdrawn"}}"#;
    let recipient = r#"{"country":"US"}"#;
    let facts =
        ["--subject-json", person, "--recipient-json", recipient, "--format", "json", "--category", "email"];
    let (_, out, words) = explained("marketing-partner", "direct-marketing", &facts);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
    let alternatives = told["categories"][0]["changes"].as_array().unwrap();
    let kinds = |changes: &serde_json::Value| -> Vec<String> {
        changes.as_array().unwrap().iter().map(|change| change["what"].as_str().unwrap().to_owned()).collect()
    };
    let kinds: Vec<Vec<String>> = alternatives.iter().map(kinds).collect();
    assert_eq!(kinds, [["consent", "region"], ["consent", "safeguard"]]);
    assert!(alternatives[0][0]["text"].as_str().unwrap().contains("after the restriction began"), "{told}");
    let enough = [
        "--subject-json",
        r#"{"region":"EEA","consents":{"marketing":"given"}}"#,
        "--recipient-json",
        r#"{"country":"US","safeguard":"standard-contractual-clauses"}"#,
        "--category",
        "email",
    ];
    let (_, out, _) = explained("marketing-partner", "direct-marketing", &enough);
    assert!(out.contains("clear         `email`: consent"), "{out}");
}

#[test]
fn a_wide_category_that_may_hold_what_never_leaves_wants_a_narrower_one() {
    let (_, out, _) = explained("payment-processor", "payment", &["--category", "payment"]);
    assert!(
        out.contains("a narrower category in the mapping") && out.contains("`payment-card-number`"),
        "{out}"
    );
}

#[test]
fn a_kind_that_is_none_is_answered_with_one_that_is() {
    let (outcome, _, words) = explained("reseller", "reseller-follow-up", &[]);
    assert_eq!(outcome, ExitStatus::Unusable);
    assert!(words.contains("did you mean `reselling-partner`?"), "{words}");
    let (_, _, words) = explained("staff", "customer-support", &[]);
    assert!(
        words.contains("`staff` is a group") && words.contains("`employee`, `contractor`, `affiliate`"),
        "{words}"
    );
}

#[test]
fn a_pack_does_not_differ_from_itself_and_does_from_the_other() {
    let [one, other] = PACKS.map(pack);
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    let (outcome, out, _) = policy(&["diff", one, one]);
    assert_eq!((outcome, out.as_str()), (ExitStatus::Success, "0 more, 0 less\n"));
    let (outcome, out, _) = policy(&["diff", one, other]);
    assert_eq!(outcome, ExitStatus::Findings);
    let acquirer = "    acquirer for corporate-transaction:";
    assert!(out.lines().any(|line| line.starts_with(acquirer) && line.contains("removed -> clear")), "{out}");
    let (_, json, _) = policy(&["diff", one, other, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let count = format!("{} more, {} less\n", json["more"], json["less"]);
    assert!(out.ends_with(&count), "{out}");
    let (changes, blocks) =
        (json["changes"].as_array().unwrap().len(), json["groups"].as_array().unwrap().len());
    assert!(changes > 300 && blocks < 150, "{changes} changes, {blocks} groups");
}

#[test]
fn the_matrix_is_one_page_and_the_vocabulary_has_two_notations() {
    let folder = pack(PACKS[0]);
    let folder = folder.to_str().unwrap();
    let (_, html, _) = policy(&["matrix", "--policy", folder, "--format", "html"]);
    assert!(
        html.starts_with("<!doctype html>")
            && html.contains("href=\"#G-6.7d\"")
            && html.contains("id=\"G-6.7d\"")
    );
    assert!(!html.contains("http://") && !html.contains("https://"), "it needs nothing else");
    let (_, table, _) = policy(&["matrix", "--policy", folder]);
    assert!(table.contains("\n  domain-registration\n    C name, contact if domain-registrant\n"), "{table}");
    assert!(
        table.contains("C name, contact, company if same region; service-signup or product-download"),
        "{table}"
    );
    assert!(table.contains("\n  rectification (alter)\n") && table.contains("Left out: "), "{table}");
    assert!(
        table.contains("personal but ") && table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(html.contains("<i>alter</i>") && html.contains("not all that is below it"), "{html}");
    let (_, json, _) = policy(&["vocabulary"]);
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    let (_, turtle, _) = policy(&["vocabulary", "--policy", folder, "--format", "ttl"]);
    assert!(turtle.contains("skos:exactMatch <https://w3id.org/dpv#DirectMarketing>"));
}

#[test]
fn an_operation_is_explained_beside_what_comes_back() {
    let alter = |request: &str, person: &str| {
        explained(
            "data-subject",
            "rectification",
            &["--request-json", request, "--subject-json", person, "--category", "email"],
        )
    };
    let own = r#"{"operation":"alter","subject-is-recipient":true}"#;
    let (outcome, out, _) = alter(own, "{}");
    assert_eq!(outcome, ExitStatus::Success, "{out}");
    assert!(out.contains("`alter` is carried out"), "{out}");
    let (outcome, out, _) = alter(r#"{"operation":"alter"}"#, "{}");
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(
        out.contains("`alter` is not carried out")
            && out.contains("a request by the person whom the record is about"),
        "{out}"
    );
    let (_, out, _) = explained(
        "event-organiser",
        "event-management",
        &["--request-json", r#"{"operation":"destroy"}"#, "--category", "email"],
    );
    assert!(
        out.contains("no-rule-permits")
            && out.contains("nothing: no rule of this policy ever permits `destroy`"),
        "{out}"
    );
}

#[test]
fn an_operation_that_no_rule_permits_here_names_the_purposes_for_which_one_does() {
    let destroy = r#"{"operation":"destroy","subject-is-recipient":true}"#;
    for (kind, purpose, elsewhere) in [
        ("data-subject", "access", "`erasure`"),
        ("employee", "security", "`service-provision`"),
        ("customer-administrator", "access", "`service-provision`"),
    ] {
        for category in [&["--category", "name"][..], &[]] {
            let (outcome, out, _) =
                explained(kind, purpose, &[&["--request-json", destroy], category].concat());
            assert_eq!(outcome, ExitStatus::Findings);
            let told: Vec<&str> = out
                .lines()
                .filter(|line| line.contains("permits `destroy`") && line.contains("nothing: "))
                .collect();
            assert!(!told.is_empty() && !out.contains("policy ever permits"), "{out}");
            for line in told {
                assert!(line.contains("for this purpose, only for ") && line.contains(elsewhere), "{out}");
            }
        }
    }
}

#[test]
fn a_refusal_before_the_rules_says_what_would_have_to_change_and_blames_no_prohibition() {
    let destroy = r#"{"operation":"destroy","subject-is-recipient":true}"#;
    for (kind, purpose) in [("data-subject", "access"), ("employee", "security")] {
        let (_, out, _) = explained(kind, purpose, &["--request-json", destroy, "--category", "name"]);
        assert!(out.contains(": would release, but the request is refused: no-rule-permits"), "{out}");
        assert!(!out.contains("a prohibition wins"), "{out}");
    }
    let (_, out, _) = explained("public-authority", "court-order", &["--category", "aggregate"]);
    assert!(out.contains("refused before anything is read: legal-reference-missing: "), "{out}");
    assert!(out.contains("would have to change: a registered case"), "{out}");
    assert!(out.contains(": would release, but the request is refused: legal-reference-missing"), "{out}");
    // One refusal after the other, and a purpose for which there is no rule behind them.
    let refused = |kind, purpose, recipient| {
        let (_, out, _) = explained(kind, purpose, &["--recipient-json", recipient, "--format", "json"]);
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let told = refused("public-authority", "court-order", r#"{"suspended":true}"#);
    assert_eq!(told["refused"], "recipient-suspended");
    let changes = told["refusal"]["changes"][0].as_array().unwrap();
    let changes: Vec<&str> = changes.iter().map(|change| change["what"].as_str().unwrap()).collect();
    assert_eq!(changes, ["suspension", "case"]);
    // Of an operation that the rules permit the refusal alone is in the way.
    let alter = ["--request-json", r#"{"operation":"alter"}"#, "--recipient-json", r#"{"suspended":true}"#];
    let (_, out, _) =
        explained("employee", "account-management", &[&alter[..], &["--category", "name"]].concat());
    assert_eq!(out.matches("would have to change").count(), 1, "{out}");
    let (_, out, _) = explained("employee", "account-management", &alter);
    assert!(!out.contains("a narrower category"), "{out}");
    // What a prohibition does withhold is still said to be prohibited.
    let (_, out, _) = explained("employee", "account-management", &["--category", "password"]);
    assert!(out.contains("would release, but a prohibition wins"), "{out}");
}

#[test]
fn an_operation_is_explained_by_what_is_known_of_the_person_rather_than_by_the_mapping() {
    for (fact, reason) in [
        ("erased", "no erasure of"),
        ("restricted", "the restriction of"),
        ("minor", "a person who is of age"),
    ] {
        let person = format!("{{\"{fact}\":true}}");
        let alter = ["--request-json", r#"{"operation":"alter"}"#, "--subject-json", &person];
        for category in [&["--category", "name"][..], &[]] {
            let (outcome, out, _) = explained("employee", "account-management", &[&alter, category].concat());
            assert_eq!(outcome, ExitStatus::Findings);
            let why = out.lines().skip_while(|line| !line.contains("`alter` is not carried out")).nth(1);
            assert!(why.unwrap().contains(&format!("would have to change: {reason}")), "{out}");
        }
    }
}

#[test]
fn an_operation_is_about_the_categories_that_were_asked_for() {
    let alter = |categories: &[&str]| {
        let request = ["--request-json", r#"{"operation":"alter"}"#];
        explained("employee", "account-management", &[&request, categories].concat())
    };
    let (outcome, out, _) = alter(&["--category", "password"]);
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(
        out.contains("`alter` is not carried out")
            && out.contains("nothing: no rule of this policy ever permits `alter` of these categories"),
        "{out}"
    );
    for categories in
        [&["--category", "password", "--category", "name"][..], &["--category", "aggregate"], &[]]
    {
        let (outcome, out, _) = alter(categories);
        assert_eq!(outcome, ExitStatus::Success, "{out}");
        assert!(out.contains("`alter` is carried out"), "{out}");
    }
}

/// Name, attributes and text.
type XmlElement = (String, Vec<(String, String)>, String);

/// Elements of an XML text in the order of their starts, each with its attributes and text: as little as reading a
/// report takes, and strict. Entities are replaced; anything that is not well-formed fails the test.
fn xml_elements(text: &str) -> Vec<XmlElement> {
    fn unescaped(text: &str) -> String {
        assert!(!text.contains('<'), "{text}");
        let mut parts = text.split('&');
        let mut plain = parts.next().unwrap().to_owned();
        for part in parts {
            let (entity, rest) = part.split_once(';').unwrap();
            plain.push(match entity {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                number => char::from_u32(number.strip_prefix('#').unwrap().parse().unwrap()).unwrap(),
            });
            plain.push_str(rest);
        }
        plain
    }
    let mut rest = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap();
    let (mut elements, mut open) =
        (Vec::<(String, Vec<(String, String)>, String)>::new(), Vec::<usize>::new());
    while let Some((before, after)) = rest.split_once('<') {
        match open.last() {
            Some(&at) => elements[at].2.push_str(&unescaped(before)),
            None => assert_eq!(before.trim(), ""),
        }
        let (tag, next) = after.split_once('>').unwrap();
        rest = next;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(elements[open.pop().unwrap()].0, name);
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut read = Vec::new();
        while let Some((key, after)) = attributes.split_once("=\"") {
            let (value, next) = after.split_once('"').unwrap();
            read.push((key.trim().to_owned(), unescaped(value)));
            attributes = next;
        }
        assert_eq!(attributes.trim(), "", "{tag}");
        elements.push((name.to_owned(), read, String::new()));
        if !is_empty {
            open.push(elements.len() - 1);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty());
    elements
}

#[test]
fn a_build_server_and_a_program_can_read_what_passed_and_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mixed.toml");
    let head = "clause = \"G-1\"\npurpose = \"data-sale\"\nrecipient = { kind = \"employee\" }\n";
    let scenarios = format!(
        "[[scenario]]\nname = \"a <b> & \\\"c\\\"\\nd\"\n{head}expect = {{ name = \"clear\", email = \"clear\" }}\n\
         [[scenario]]\nname = \"right\"\n{head}refused = \"no-rule-permits\"\n"
    );
    std::fs::write(&file, scenarios).unwrap();
    let (pack, path) = (pack(PACKS[0]), file.to_str().unwrap());
    let run = |format: &str| policy(&["test", "--policy", pack.to_str().unwrap(), "--format", format, path]);

    let (outcome, out, words) = run("junit");
    assert_eq!((outcome, words.as_str()), (ExitStatus::Findings, ""));
    let elements = xml_elements(&out);
    let names: Vec<&str> = elements.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["testsuites", "testsuite", "testcase", "failure", "testcase"]);
    let of = |at: usize, key: &str| {
        elements[at].1.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap()
    };
    for totals in [0, 1] {
        assert_eq!([of(totals, "tests"), of(totals, "failures"), of(totals, "errors")], ["2", "1", "0"]);
    }
    assert_eq!(of(1, "name"), path);
    assert_eq!([of(2, "classname"), of(2, "name"), of(2, "file")], ["G-1", "a <b> & \"c\"\nd", path]);
    assert!(of(3, "message").starts_with("email: expected clear, got removed"), "{out}");
    assert_eq!(elements[3].2.lines().count(), 2, "a line for each difference: {out}");
    assert_eq!(of(4, "name"), "right");

    let (outcome, out, _) = run("json");
    assert_eq!(outcome, ExitStatus::Findings);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&1.into(), &1.into()));
    assert_eq!(report["scenarios"][0]["differences"][0]["what"], "email");
    assert_eq!(report["scenarios"][1]["passed"], true);
}

#[test]
fn a_scenario_of_an_unknown_clause_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clause.toml");
    let scenario = "[[scenario]]\nname = \"n\"\nclause = \"G-6.7dd\"\npurpose = \"data-sale\"\n\
        recipient = { kind = \"employee\" }\nrefused = \"no-rule-permits\"\n";
    std::fs::write(&file, scenario).unwrap();
    let (outcome, out, words) =
        policy(&["test", "--policy", pack(PACKS[0]).to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!((outcome, out.as_str()), (ExitStatus::Unusable, ""));
    assert!(words.contains("unknown-clause") && words.contains("unknown clause `G-6.7dd`"), "{words}");
    assert!(words.contains("did you mean `G-6.7d`?") && words.contains("clause.toml:3"), "{words}");
}

/// A pack in a folder of its own: rules, and one file of scenarios.
fn small_pack(rules: &str, scenarios: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-01\neffective = 2026-01-01\ncontact = \"c\"\n\
        [bases]\ncontract = \"c\"\n[[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n\
        [[clauses]]\nid = \"D\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
    std::fs::create_dir(folder.path().join("scenarios")).unwrap();
    for (name, text) in [("pack.toml", manifest), ("rules.cedar", rules), ("scenarios/all.toml", scenarios)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const SUPPORT: &str = r#"
@id("support") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"technical-support", resource in Category::"email");
"#;

fn scenario(clause: &str, kind: &str, expect: &str) -> String {
    let name = expect.replace('"', "");
    format!(
        "[[scenario]]\nname = \"{kind}: {name}\"\nclause = \"{clause}\"\npurpose = \"technical-support\"\n\
         recipient = {{ kind = \"{kind}\" }}\nexpect = {{ {expect} }}\n"
    )
}

#[test]
fn coverage_finds_rules_that_do_nothing_and_scenarios_that_show_nothing() {
    let rules = format!(
        r#"{SUPPORT}
@id("support-again") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"technical-support", resource == Category::"email");
@id("never") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"technical-support", resource in Category::"location");
@id("no-location") @clause("D") forbid (principal, action, resource in Category::"location");
"#
    );
    let scenarios = [
        scenario("C", "employee", "email = \"clear\""),
        scenario("C", "employee", "name = \"removed\""),
        scenario("D", "employee", "location = \"removed\""),
        scenario("D", "employee", "email = \"clear\""),
        scenario("C", "collaborator", "non-personal = \"removed\"").replace("technical-support", "mapping"),
    ];
    let folder = small_pack(&rules, &scenarios.concat());
    let (outcome, _, words) = policy(&["coverage", "--policy", folder.path().to_str().unwrap()]);
    assert_eq!(outcome, ExitStatus::Findings);
    for finding in [
        "`never` is a permit that a prohibition always overrides",
        "the rule `support` has no effect",
        "the rule `support-again` has no effect",
        "clause `D` prohibits, and 1 of its scenarios withhold; 2 should",
        "`collaborator: non-personal = removed` cites clause `C` but exercises none of its",
    ] {
        assert!(words.contains(finding), "{finding}\n{words}");
    }
}

#[test]
fn coverage_finds_periods_that_no_rule_looks_at() {
    let folder = small_pack(SUPPORT, &scenario("C", "employee", "email = \"clear\""));
    let manifest = folder.path().join("pack.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let with = |rules: &str| {
        let text = format!("account-closed-after = [\"90d\"]\n{text}[retention]\nemail = \"30d\"\n");
        std::fs::write(&manifest, text).unwrap();
        std::fs::write(folder.path().join("rules.cedar"), format!("{SUPPORT}{rules}")).unwrap();
        policy(&["coverage", "--policy", folder.path().to_str().unwrap()]).2
    };
    let words = with("");
    for key in ["account-closed-after", "retention"] {
        assert!(
            words.contains(&format!("`{key}` has no effect: no rule reads the fact that it defines")),
            "{key}: {words}"
        );
    }
    let words = with(
        r#"@id("purged") @clause("D") forbid (principal, action, resource) when { context.account == "purge-due" };
        @id("kept") @clause("D") forbid (principal, action, resource) when { context.past_retention };"#,
    );
    assert!(!words.contains("has no effect: no rule"), "{words}");
}

#[test]
fn survivors_are_printed_with_scenarios_to_paste() {
    let shown = scenario("C", "employee", "email = \"clear\"");
    let folder = small_pack(SUPPORT, &shown);
    let mutate = |format: &str| {
        policy(&["coverage", "--policy", folder.path().to_str().unwrap(), "--mutate", "--format", format])
    };
    let (outcome, out, _) = mutate("text");
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(
        out.contains("rules.cedar:3: support: replace `action == Action::\"technical-support\"` by"),
        "{out}"
    );
    assert!(out.ends_with("4 mutants, 1 killed, 0 without effect, 3 survive\n"), "{out}");
    let (_, json, _) = mutate("json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["mutation"]["mutants"], &json["mutation"]["survive"]), (&4.into(), &3.into()));
    // Comments and scenarios together are a file of scenarios; with it nothing survives.
    let pasted: Vec<&str> = out.lines().take_while(|line| !line.contains(" clauses, ")).collect();
    std::fs::write(folder.path().join("scenarios/more.toml"), pasted.join("\n")).unwrap();
    let (_, out, _) = mutate("text");
    assert!(out.ends_with("4 mutants, 4 killed, 0 without effect, 0 survive\n"), "{out}");
}

#[test]
fn no_change_of_a_rule_goes_unnoticed() {
    for name in PACKS {
        let (outcome, out, words) =
            policy(&["coverage", "--policy", pack(name).to_str().unwrap(), "--mutate"]);
        assert_eq!(outcome, ExitStatus::Success, "{name}: {out}{words}");
        assert!(out.ends_with(", 0 survive\n"), "{name}: {out}");
    }
}
