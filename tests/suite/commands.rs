//! Commands as somebody types them, of which the gateway has the say.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::gate::base;

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

/// What `scrub` says of a body: its status, what comes out, and its words.
fn scrub(route: &str, purpose: &str, subject: Option<&str>, body: &str) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, format!("{}{ROUTES}", base("127.0.0.1:9".parse().unwrap()))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_purposegate"));
    command.args(["scrub", "--route", route, "--recipient", "support", "--purpose", purpose, "--config"]);
    command.arg(&file).args(subject.iter().flat_map(|json| ["--subject-json", *json]));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// As the disk that takes the messages is full.
#[test]
fn an_error_that_cannot_be_written_is_told_by_the_exit_code() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purposegate"));
    command.args(["scrub", "--remove", "$.a["]).stdin(Stdio::null());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stderr(full).status().unwrap().code(), Some(2));
}

#[test]
fn whoever_the_path_names_is_somebody_in_a_trial() {
    let body = r#"{"name":"Jane"}"#;
    let (status, out, _) = scrub("by-id", "customer-support", Some("{}"), body);
    assert_eq!((status, out.as_str()), (0, body));
    // Of whom the ledger has never heard.
    assert_eq!(scrub("by-id", "customer-support", None, body).1, "{}");
}

#[test]
fn a_trial_is_all_or_nothing_where_the_route_is() {
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
