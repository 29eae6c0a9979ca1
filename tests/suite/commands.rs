//! The commands `scrub` and `check`, run as a program.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::gateway::base;
use crate::program::{Run, run, run_with_input, write_config};
use crate::source;

const ROUTES: &str = r#"
[[route]]
name = "by-id"
upstream = "crm"
path = "/people/{id}"
subject = "{id}"
fields = { "@.name" = "name" }
[[route]]
name = "whole"
upstream = "crm"
path = "/whole"
subject = "@.id"
withheld = "deny"
max-deny-body = 40
fields = { "@.id" = "non-personal", "@.name" = "name" }
"#;

/// Writes the configuration with this route added.
fn config_with(route: &str) -> (TempDir, String) {
    let (folder, file) = write_config(&format!("{}{ROUTES}{route}", base("127.0.0.1:9".parse().unwrap())));
    (folder, file.to_str().unwrap().to_owned())
}

/// Runs `scrub` on a body, as the recipient `support`.
fn scrub(route: &str, purpose: &str, subject: Option<&str>, body: &str) -> Run {
    let (_folder, file) = config_with("");
    let mut arguments = vec!["scrub", "--config", &file, "--recipient", "support"];
    arguments.extend(["--route", route, "--purpose", purpose]);
    arguments.extend(subject.iter().flat_map(|json| ["--subject-json", *json]));
    run_with_input(arguments, body)
}

/// Standard error is on a full disk.
#[test]
fn an_error_that_cannot_be_written_sets_the_exit_code() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purposegate"));
    command.args(["scrub", "--remove", "$.a["]).stdin(Stdio::null());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stderr(full).status().unwrap().code(), Some(2));
}

#[test]
fn scrub_knows_the_subject_of_the_path() {
    let body = r#"{"name":"Jane"}"#;
    let (status, out, _) = scrub("by-id", "customer-support", Some("{}"), body);
    assert_eq!((status, out.as_str()), (0, body));
    // The ledger does not know the subject.
    assert_eq!(scrub("by-id", "customer-support", None, body).1, "{}");
}

#[test]
fn scrub_refuses_as_a_withheld_deny_route_does() {
    let body = r#"{"id":"p-1","name":"Jane"}"#;
    let given = r#"{"consents":{"direct-marketing":"given"}}"#;
    let (status, out, words) = scrub("whole", "direct-marketing", Some("{}"), body);
    assert_eq!((status, out.as_str(), words.as_str()), (1, "", "purposegate: refused: subject-withheld\n"));
    assert_eq!(scrub("whole", "direct-marketing", Some(given), body).1, body);
    let long = format!("{body}{}", " ".repeat(40));
    let (status, out, words) = scrub("whole", "direct-marketing", Some(given), &long);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(words.contains("more than 40 bytes"), "{words}");
}

const ASKED_FIRST: &str = r#"
[[route]]
name = "marketing-only"
upstream = "crm"
path = "/marketing/{id}"
purposes = ["direct-marketing"]
subject = "{id}"
fields = { "@.name" = "name" }
[[route]]
name = "changes"
upstream = "crm"
methods = ["PUT", "DELETE"]
path = "/changes/{id}"
subject = "{id}"
fields = { "@.name" = "name" }
"#;

#[test]
fn scrub_refuses_what_the_gateway_refuses_before_it_calls_the_upstream() {
    let (_folder, file) = config_with(ASKED_FIRST);
    let body = r#"{"name":"Jane"}"#;
    let (support, consents) = ("customer-support", r#"{"consents":{"direct-marketing":"given"}}"#);
    let request = |verb, (route, recipient, purpose)| {
        let names = ["--route", route, "--recipient", recipient, "--purpose", purpose];
        [&[verb, "--config", &file][..], &names].concat()
    };
    let scrub = |names, person: &[&str]| {
        let (status, out, words) = run_with_input([&request("scrub", names)[..], person].concat(), body);
        (status, out + &words)
    };
    let refused = |code: &str| (1, format!("purposegate: refused: {code}\n"));
    for (names, code) in [
        (("marketing-only", "support", support), "purpose-not-permitted"),
        (("by-id", "reseller", support), "purpose-not-permitted"),
        (("by-id", "lapsed", "reseller-follow-up"), "agreement-not-in-force"),
        (("by-id", "police", "law-enforcement"), "legal-reference-missing"),
        (("changes", "support", "direct-marketing"), "no-rule-permits"),
    ] {
        assert_eq!(scrub(names, &["--subject-json", consents]), refused(code), "{names:?}");
        let (status, explained, words) =
            run([&request("explain", names)[..], &["--format", "json"]].concat());
        let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
        assert_eq!((status, &explained["refused"][0]["code"]), (1, &code.into()), "{names:?} {words}");
    }
    for names in [("marketing-only", "support", "direct-marketing"), ("changes", "support", support)] {
        assert_eq!(scrub(names, &["--subject-json", consents]), (0, body.to_owned()), "{names:?}");
    }
    // The operation is judged by what is known about the person in the path.
    let changes = ("changes", "support", support);
    assert_eq!(scrub(changes, &["--subject-json", r#"{"erased":true}"#]), refused("subject-withheld"));
    assert_eq!(scrub(changes, &[]), refused("subject-withheld"), "the ledger does not know the person");
}

/// Runs a command on the configuration with this route added.
fn command_on(route: &str, arguments: &[&str]) -> Run {
    let (_folder, file) = config_with(route);
    run([arguments, &["--config", &file]].concat())
}

const NOT_PERSONAL: &str =
    "[[route]]\nname = \"open\"\nupstream = \"crm\"\npath = \"/open\"\npersonal = false\n";

#[test]
fn check_prints_findings_as_json() {
    let check = ["check", "--format", "json"];
    let (status, out, words) = command_on(NOT_PERSONAL, &check);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, words.as_str()), (0, ""));
    assert_eq!((&found["errors"], &found["warnings"]), (&0.into(), &1.into()), "{found}");
    let finding = &found["findings"][0];
    assert_eq!(finding["code"], "route-not-personal");
    assert_eq!(finding["severity"], "warning");
    assert!(finding["file"].as_str().unwrap().ends_with("purposegate.toml"), "{finding}");
    assert!(finding["line"].as_u64().unwrap() > 1 && finding["column"] == 12, "{finding}");
    assert!(finding["message"].is_string() && finding["hint"].is_string(), "{finding}");

    let (status, out, _) = command_on("[[route]]\nnme = \"x\"\n", &check);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let codes: Vec<&str> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert_eq!(status, 1);
    assert_eq!(codes, ["missing-key", "missing-key", "missing-key", "unknown-key"], "{found}");
    assert_eq!(found["errors"], 4);
}

#[test]
fn a_warning_can_be_acknowledged() {
    let (_, _, words) = command_on(NOT_PERSONAL, &["check"]);
    assert!(
        words.contains("route-not-personal") && words.contains("1 warning (3 more acknowledged)\n"),
        "{words}"
    );
    let acknowledged = format!("{NOT_PERSONAL}allow = [\"route-not-personal\"]\n");
    let (status, _, words) = command_on(&acknowledged, &["check"]);
    assert_eq!(status, 0);
    assert!(
        words.ends_with("3 routes, 5 recipients, 2 upstreams; 0 warnings (4 more acknowledged)\n"),
        "{words}"
    );
    assert!(!words.contains("route-not-personal"), "{words}");
    let (_, out, _) = command_on(&acknowledged, &["check", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["warnings"], &found["acknowledged"]), (&0.into(), &4.into()), "{found}");
    // An `allow` elsewhere does not acknowledge it.
    let (_, _, words) = command_on(&format!("allow = [\"route-not-personal\"]\n{NOT_PERSONAL}"), &["check"]);
    assert!(words.contains("allow-unused") && words.contains("route `open` is not personal"), "{words}");
    let (status, _, words) = command_on(&format!("{NOT_PERSONAL}allow = [\"unknown-key\"]\n"), &["check"]);
    assert!(status == 1 && words.contains("`unknown-key` is an error and cannot be acknowledged"), "{words}");
}

#[test]
fn only_check_and_serve_print_warnings() {
    for arguments in [&["consent", "export"][..], &["audit", "processing"], &["subject", "requests"]] {
        let (_, _, words) = command_on(NOT_PERSONAL, arguments);
        assert!(!words.contains("passes through unread"), "{arguments:?}: {words}");
    }
}

#[test]
fn other_verbs_print_the_errors_of_a_configuration_without_its_warnings() {
    let (_folder, file) = config_with(&format!("{NOT_PERSONAL}method = [\"GET\"]\n"));
    let both = ["passes through unread", "unknown key `method`"];
    for verb in ["check", "serve"] {
        let (_, _, words) = run([verb, "--config", &file]);
        assert!(both.iter().all(|part| words.contains(part)), "{verb}: {words}");
    }
    let nothing = "/dev/null";
    let request = ["--route", "by-id", "--recipient", "support", "--purpose", "billing"];
    let verbs: Vec<Vec<&str>> = vec![
        vec!["consent", "export"],
        vec!["subject", "requests"],
        vec!["case", "list"],
        vec!["ledger", "migrate"],
        vec!["audit", "show"],
        vec!["audit", "processing"],
        vec!["audit", "processing", "--from", "2026-01-01", "--to", "2026-01-31"],
        vec!["audit", "circumstances"],
        vec!["audit", "accept-loss", "--reason", "none"],
        vec!["audit", "index"],
        vec!["recipient", "page", "support"],
        vec!["recipient", "webhook-secret", "support"],
        vec!["openapi", nothing, "--recipient", "support", "--purpose", "billing"],
        vec!["discover", "--route", "by-id", "--sample", nothing],
        [&["explain"], &request[..]].concat(),
        [&["scrub"], &request[..]].concat(),
    ];
    let mut runs: Vec<(String, Run)> = Vec::new();
    for verb in &verbs {
        runs.push((verb.join(" "), run([&verb[..], &["--config", &file]].concat())));
    }
    let diff = ["policy", "diff", "--decisions", nothing, "--mapping", &file, &file];
    runs.push((diff.join(" "), run(diff)));
    for (verb, (status, out, words)) in runs {
        assert_eq!((status, out.as_str()), (2, ""), "{verb}: {words}");
        assert!(words.contains(both[1]) && !words.contains(both[0]), "{verb}: {words}");
    }
}

/// `check` and `serve` are in `run.rs`; every other verb takes the configuration, or its errors, from `findings.rs`.
#[test]
fn verbs_load_a_configuration_through_one_function() {
    let files = source::files(&source::root().join("cli")).into_iter();
    let loading = files.filter(|file| !file.ends_with("tests.rs")).filter_map(|file| {
        let calls = std::fs::read_to_string(&file).unwrap().matches("config::load").count();
        (calls > 0).then(|| (file.file_name().unwrap().to_str().unwrap().to_owned(), calls))
    });
    let loading: Vec<(String, usize)> = loading.collect();
    assert_eq!(loading, [("findings.rs".to_owned(), 1), ("run.rs".to_owned(), 2)]);
}

/// The limit "Member names" of docs/limits.md, and the way out.
#[test]
fn a_record_below_any_name_stays_empty_under_its_name() {
    let route = |keys: &str| {
        format!(
            "[[route]]\nname = \"team\"\nupstream = \"crm\"\npath = \"/team\"\nsubject = \"@.id\"\n{keys}\n"
        )
    };
    let scrubbed = |keys: &str| {
        let (_folder, file) = config_with(&route(keys));
        let request = ["--route", "team", "--recipient", "support", "--purpose", "customer-support"];
        let erased = ["--subject-json", r#"{"erased":true}"#, "--config", &file];
        let body = r#"{"id":"t-1","people":{"jane@example.org":{"id":"p-1","name":"Jane"}}}"#;
        let (status, out, words) = run_with_input([&["scrub"], &request[..], &erased].concat(), body);
        assert_eq!(status, 0, "{words}");
        out
    };
    let by_name = "record = \"$.people.*\"\nfields = { \"@.name\" = \"name\" }";
    assert_eq!(scrubbed(by_name), r#"{"people":{"jane@example.org":{}}}"#);
    assert_eq!(scrubbed("fields = { \"@.people\" = [\"email\", \"name\"] }"), "{}");
}

#[test]
fn scrub_reads_a_record_whose_second_person_is_null_if_that_one_is_optional() {
    let couple = |partner: &str| {
        format!(
            "[[route]]\nname = \"couple\"\nupstream = \"crm\"\npath = \"/couples\"\n\
             subject = [\"@.id\", {{ path = \"@.partner\"{partner} }}]\nfields = {{ \"@.name\" = \"name\" }}\n"
        )
    };
    let scrubbed = |partner: &str, body: &str| {
        let (_folder, file) = config_with(&couple(partner));
        let request = ["--route", "couple", "--recipient", "support", "--purpose", "customer-support"];
        let people = ["--subject-json", "{}", "--config", &file];
        let (status, out, words) = run_with_input([&["scrub"], &request[..], &people].concat(), body);
        assert_eq!(status, 0, "{words}");
        out
    };
    let two = r#"{"id":"p-1","partner":"p-2","name":"Jane"}"#;
    let name = r#"{"name":"Jane"}"#;
    for one in [r#"{"id":"p-1","partner":null,"name":"Jane"}"#, r#"{"id":"p-1","name":"Jane"}"#] {
        assert_eq!(scrubbed(", optional = true", one), name, "{one}");
        assert_eq!(scrubbed(", optional = false", one), "{}", "{one}");
        assert_eq!(scrubbed("", one), "{}", "{one}");
    }
    assert_eq!(scrubbed(", optional = true", two), name);
    let nobody = r#"{"id":null,"partner":"p-2","name":"Jane"}"#;
    assert_eq!(scrubbed(", optional = true", nobody), "{}", "the first person is not optional");
}
