//! Recipients that only the ledger knows: `check` and the log name them, and the file can acknowledge it.

use std::path::Path;

use serde_json::Value;

use crate::fixtures::CUSTOMER_ROUTES;
use crate::gateway::{base, wait_until};
use crate::http;
use crate::process::ServeProcess;
use crate::program::{run, write_config};

/// The message of the log about such a recipient.
const LOGGED: &str = "the ledger has events about a recipient that the configuration does not have";

/// A configuration with this `allow` at its top.
fn config(allow: &str) -> String {
    format!("allow = {allow}\n{}{CUSTOMER_ROUTES}", base("127.0.0.1:9".parse().unwrap()))
}

/// Runs `check`. Returns its exit status, the codes of its findings with their messages, and the number of acknowledged ones.
fn check(file: &Path) -> (i32, Vec<(String, String)>, u64) {
    let (status, out, words) = run(["check", "--format", "json", "--config", file.to_str().unwrap()]);
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{words}"));
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap().to_owned();
    let findings = found["findings"].as_array().unwrap().iter();
    let findings = findings.map(|finding| (text(finding, "code"), text(finding, "message")));
    // The route that is not personal is part of all configurations here.
    let findings = findings.filter(|(code, _)| code != "route-not-personal");
    (status, findings.collect(), found["acknowledged"].as_u64().unwrap())
}

fn codes(findings: &[(String, String)]) -> Vec<&str> {
    findings.iter().map(|(code, _)| code.as_str()).collect()
}

/// Returns the findings without the one about the key file, with which `check` fails.
fn beside_key_file((status, mut findings, _): (i32, Vec<(String, String)>, u64)) -> Vec<(String, String)> {
    let all = findings.len();
    findings.retain(|(code, _)| code != "bad-key-file");
    assert_eq!(status == 0, findings.len() == all, "{findings:?}");
    findings
}

#[test]
fn check_and_the_log_name_recipients_that_only_the_ledger_knows_unless_that_is_acknowledged() {
    let process = ServeProcess::start(&config("[]"), "");
    let file = process.folder.path().join("purposegate.toml");
    let (status, findings, acknowledged_before) = check(&file);
    assert_eq!((status, codes(&findings)), (0, vec![]));
    let line = br#"{"subject": "1", "kind": "opt-out", "recipient": "former-partner"}"#;
    let kept = http::send(process.admin, "POST", "/v1/events:batch?keep-unknown-recipients=true", &[], line);
    assert!(kept.text().contains("\"changed\":true"), "{}", kept.text());

    let loaded = || process.metric("purposegate_policy_reload_total{outcome=\"loaded\"}");
    let before = loaded();
    process.rewrite(&config("[\"recipient-only-in-ledger\"]"));
    process.signal("-HUP");
    wait_until(|| loaded() > before);
    assert!(!process.log().contains(LOGGED), "{}", process.log());
    let (status, findings, acknowledged) = check(&file);
    assert_eq!((status, codes(&findings), acknowledged), (0, vec![], acknowledged_before + 1));

    process.rewrite(&config("[]"));
    process.signal("-HUP");
    wait_until(|| process.log().contains(LOGGED));
    let line = process.log().lines().find(|line| line.contains(LOGGED)).unwrap().to_owned();
    assert!(line.contains("\"recipient\":\"former-partner\"") && line.contains("WARN"), "{line}");
    let (status, findings, _) = check(&file);
    assert_eq!((status, codes(&findings)), (0, vec!["recipient-only-in-ledger"]));
    assert!(findings[0].1.contains("`former-partner`"), "{findings:?}");
}

#[test]
fn an_allow_of_a_warning_about_the_ledger_or_a_log_is_unused_only_if_check_has_looked() {
    let all =
        r#"["recipient-only-in-ledger", "notice-not-compared", "log-unreadable", "other-logs-missing"]"#;
    let (folder, file) = write_config(&config(all));
    let unused = |file: &Path| {
        let words = beside_key_file(check(file)).into_iter().map(|(code, message)| {
            assert_eq!(code, "allow-unused", "{message}");
            message.split('`').nth(1).unwrap().to_owned()
        });
        words.collect::<Vec<_>>()
    };
    let of_logs = ["log-unreadable", "other-logs-missing"];
    assert_eq!(unused(&file), of_logs, "there is no ledger to read");
    let path = file.to_str().unwrap();
    let (status, _, words) = run(["consent", "give", "1", "--purpose", "marketing", "--config", path]);
    assert_eq!(status, 0, "{words}");
    let of_ledger = ["recipient-only-in-ledger", "notice-not-compared"];
    assert_eq!(unused(&file), [&of_ledger[..], &of_logs[..]].concat());
    // A ledger that cannot be read may know other recipients.
    std::fs::remove_file(folder.path().join("data/keys")).unwrap();
    assert_eq!(unused(&file), of_logs);
    std::fs::write(&file, config("[]")).unwrap();
    assert_eq!(codes(&beside_key_file(check(&file))), ["notice-not-compared"]);
    // A table that the warning is not about does not acknowledge it, and neither does another file.
    let in_route = config("[]") + "allow = [\"notice-not-compared\"]\n";
    std::fs::write(&file, in_route).unwrap();
    assert_eq!(codes(&beside_key_file(check(&file))), ["allow-unused", "notice-not-compared"]);
    let included = format!("include = [\"more.toml\"]\n{}", config("[]"));
    std::fs::write(folder.path().join("more.toml"), "allow = [\"notice-not-compared\"]\n").unwrap();
    std::fs::write(&file, included).unwrap();
    assert_eq!(codes(&beside_key_file(check(&file))), ["allow-unused", "notice-not-compared"]);
}

#[test]
fn warnings_about_the_logs_of_other_gateways_can_be_acknowledged() {
    let log = "[audit]\nlogs = [{ path = \"nowhere\" }]\n";
    let (folder, file) = write_config(&format!("{}{log}", config("[]")));
    let (status, findings, before) = check(&file);
    assert_eq!((status, codes(&findings)), (0, vec!["log-unreadable"]));
    std::fs::write(&file, format!("{}{log}", config("[\"log-unreadable\"]"))).unwrap();
    assert_eq!(check(&file), (0, vec![], before + 1));
    let server = "[ledger]\nurl = \"postgres://ledger@127.0.0.1:1/d\"\n";
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/keys"), "no keys").unwrap();
    std::fs::write(&file, format!("{}{server}", config("[]"))).unwrap();
    let (status, findings, before) = check(&file);
    let mut found = codes(&findings);
    found.sort_unstable();
    assert_eq!((status, found), (1, vec!["bad-key-file", "notice-not-compared", "other-logs-missing"]));
    let allowed = config("[\"notice-not-compared\", \"other-logs-missing\"]");
    std::fs::write(&file, format!("{allowed}{server}")).unwrap();
    let (_, findings, acknowledged) = check(&file);
    assert_eq!((codes(&findings), acknowledged), (vec!["bad-key-file"], before + 2));
}
