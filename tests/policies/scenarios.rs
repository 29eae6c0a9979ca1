//! `policy test`: reading, running and reporting scenarios.

use purposegate::cli::output::ExitStatus;

use super::{PACKS, pack, policy};

#[test]
fn a_failing_scenario_shows_the_expected_and_the_actual_form() {
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
fn an_invalid_scenario_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    let scenario = "[[scenario]]\nname = \"wrong\"\nclause = \"G-1\"\npurpose = \"data-sail\"\n\
        recipient = { kind = \"employe\", color = \"red\" }\n\
        subject = { refused-categories = [\"email\"], consents = { marketing = \"yes\" }, objections = [\"survey:maybe\"], relations-ended = [\"product-download\"] }\n\
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
        "`product-download` names no recipient for which the relation ended",
        "a scenario has `expect` or `refused`",
    ] {
        assert!(words.contains(mistake), "{mistake}\n{words}");
    }
}

#[test]
fn a_scenario_states_the_age_of_a_record_and_its_file_the_retention() {
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
fn a_scenario_needs_an_expected_form() {
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
fn a_scenario_states_if_an_operation_is_carried_out() {
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

#[test]
fn results_are_reported_as_junit_and_json() {
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

/// Name, attributes and text of an element.
type XmlElement = (String, Vec<(String, String)>, String);

/// Returns the elements of an XML text in the order of their start tags, each with its attributes and text. This
/// minimal parser is strict: it replaces entities, and malformed XML fails the test.
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
