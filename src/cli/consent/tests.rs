//! Tests of the verbs of `consent` on a ledger file.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use serde_json::json;

use super::import::read_chunk;
use super::*;
use crate::cli::admin_client::AdminServer;
use crate::cli::ledger_location::LedgerLocation;
use crate::config::LedgerSection;
use crate::keys::Keys;
use crate::ledger::VocabularyTerms;

#[derive(Parser)]
struct ConsentCommand {
    #[command(subcommand)]
    verb: ConsentVerb,
}

struct TestLedger {
    folder: tempfile::TempDir,
}

impl TestLedger {
    fn new() -> TestLedger {
        TestLedger { folder: tempfile::tempdir().unwrap() }
    }

    /// Runs a verb. Returns the exit status, the result and the messages.
    fn run(&self, arguments: &str) -> (u8, String, String) {
        let arguments = ["consent"].into_iter().chain(arguments.split_whitespace());
        let verb = ConsentCommand::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).verb;
        let ledger = LedgerSection::embedded(self.folder.path().join("ledger.db"));
        let keys = self.folder.path().join("keys");
        let place = LedgerAccess::Local(LedgerLocation {
            ledger: &ledger,
            keys: &keys,
            log: Path::new("/nowhere"),
            names: Arc::new(VocabularyTerms::standard()),
            recipients: vec![Arc::from("acme")],
            namespaces: ["default", "crm"].map(Arc::from).to_vec(),
            admin: AdminServer::configured("127.0.0.1:9".parse().unwrap(), false),
        });
        let (mut out, mut words) = (Vec::new(), Vec::new());
        let status = run(verb, &place, &mut out, &mut words).unwrap();
        (status, String::from_utf8(out).unwrap(), String::from_utf8(words).unwrap())
    }

    fn state(&self, subject: &str) -> Value {
        serde_json::from_str(&self.run(&format!("show {subject}")).1).unwrap()
    }
}

#[test]
fn the_command_line_is_well_formed() {
    <ConsentCommand as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn each_verb_records_its_event() {
    let ledger = TestLedger::new();
    let (status, answer, _) = ledger.run("give alice marketing --channel web");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["durable"]), (0, &json!(true)));
    assert!(answer["position"].is_string(), "{answer}");
    let state = ledger.state("alice");
    assert_eq!((&state["consents"], &state["position"]), (&json!({"marketing": "given"}), &json!(1)));
    for (arguments, pointer, expected) in [
        ("withdraw alice --purpose marketing", "/consents", json!({"marketing": "withdrawn"})),
        ("refuse alice survey --recipient acme", "/consents/survey:acme", json!("refused")),
        ("object alice analytics", "/objections", json!(["analytics"])),
        ("lift alice --objection analytics", "/objections", json!([])),
        ("opt-out alice acme", "/opt-outs", json!(["acme"])),
        ("lift alice --opt-out acme", "/opt-outs", json!([])),
        ("restrict alice", "/restricted", json!(true)),
        ("lift alice", "/restricted", json!(false)),
        ("fact alice region=EEA country=fr minor=true", "/minor", json!(true)),
        ("fact alice region=unknown", "/region", Value::Null),
        ("erase alice", "/erased", json!(true)),
    ] {
        let (status, _, words) = ledger.run(arguments);
        assert_eq!(status, 0, "{arguments}: {words}");
        let state = ledger.state("alice");
        assert_eq!(state.pointer(pointer).unwrap_or(&Value::Null), &expected, "{arguments}");
    }
    assert_eq!(ledger.state("alice")["country"], "FR");
}

#[test]
fn a_past_state_in_a_namespace_is_shown() {
    let ledger = TestLedger::new();
    ledger.run("give alice marketing --at 2026-01-01 --namespace crm");
    ledger.run("withdraw alice marketing --at 2026-03-01T00:00:00Z --namespace crm");
    let at = |time: &str| ledger.run(&format!("show alice --namespace crm --at {time}"));
    assert!(at("2026-02-01").1.contains(r#""marketing": "given""#));
    let (status, answer, words) = at("2025-12-31");
    assert_eq!((status, answer.as_str()), (1, ""));
    assert!(words.contains("does not know"), "{words}");
    assert_eq!(ledger.run("show alice").0, 1);
}

#[test]
fn refusals_and_unusable_input_have_different_statuses() {
    let ledger = TestLedger::new();
    let (status, _, words) = ledger.run("show alice");
    assert_eq!(status, 2, "no ledger yet: {words}");
    let (status, answer, words) = ledger.run("give alice world-domination");
    assert_eq!((status, answer.as_str()), (1, ""));
    assert!(words.contains("`purpose` is not a purpose of the vocabulary"), "{words}");
    let (status, _, words) = ledger.run("import /no/such/file");
    assert_eq!(status, 2);
    assert!(words.contains("/no/such/file"), "{words}");
    std::fs::remove_file(ledger.folder.path().join("keys")).unwrap();
    let (status, _, words) = ledger.run("give alice marketing");
    assert_eq!(status, 2, "{words}");
    assert!(words.contains("was written under one"), "{words}");
}

#[test]
fn a_process_without_an_admin_api_is_reported() {
    let ledger = TestLedger::new();
    ledger.run("give alice marketing");
    let keys = Keys::open(&ledger.folder.path().join("keys")).unwrap();
    let names = Arc::new(VocabularyTerms::standard());
    let held = crate::ledger::Ledger::open(&ledger.folder.path().join("ledger.db"), &keys, names).unwrap();
    let (status, _, words) = ledger.run("withdraw alice marketing");
    assert_eq!(status, 2);
    assert!(words.contains("127.0.0.1:9") && words.contains("--admin"), "{words}");
    assert_eq!(ledger.state("alice")["consents"], json!({"marketing": "given"}), "reading goes on");
    drop(held);
}

#[test]
fn an_import_reports_rejected_lines_and_can_be_repeated() {
    let ledger = TestLedger::new();
    let file = ledger.folder.path().join("events.ndjson");
    let good = |n: u64| format!(r#"{{"subject":"p{n}","kind":"consent-given","purpose":"marketing"}}"#);
    let long = format!(r#"{{"subject":"x","kind":"erasure","channel":"{}"}}"#, "y".repeat(40_000));
    let text = [good(1), String::new(), "nonsense".to_owned(), good(2), long, good(3)].join("\n");
    std::fs::write(&file, text).unwrap();
    let arguments = format!("import {}", file.display());
    let (status, answer, words) = ledger.run(&arguments);
    assert_eq!((status, answer.as_str()), (1, ""));
    assert!(words.contains("line 3: not a JSON object") && words.contains("line 5: "), "{words}");
    assert!(words.ends_with("3 recorded, 0 recorded before, 2 bad lines\n"), "{words}");
    assert!(ledger.run(&arguments).2.ends_with("0 recorded, 3 recorded before, 2 bad lines\n"));
    let (status, exported, _) = ledger.run("export");
    assert_eq!((status, exported.lines().count()), (0, 3));
}

#[test]
fn a_corrected_import_renews_no_consent() {
    let ledger = TestLedger::new();
    let file = ledger.folder.path().join("events.ndjson");
    let arguments = format!("import {}", file.display());
    let given = r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#;
    let until = r#"{"subject":"alice","kind":"consent-given","purpose":"analytics","valid-until":"2099-01-01T00:00:00Z"}"#;
    let asked = r#"{"subject":"carl","kind":"request-received","right":"access"}"#;
    std::fs::write(&file, ["nonsense", given, until, asked, ""].join("\n")).unwrap();
    ledger.run(&arguments);
    ledger.run("withdraw alice marketing");
    ledger.run("withdraw alice analytics");
    // Another line instead of the wrong one, and no line.
    let spaced = given.replace("\":", "\": ");
    for mended in [&[&given.replace("alice", "bob"), given, until][..], &[given, until], &[&spaced]] {
        std::fs::write(&file, mended.join("\n")).unwrap();
        ledger.run(&arguments);
        let consents = ledger.state("alice")["consents"].clone();
        assert_eq!(consents, json!({"marketing": "withdrawn", "analytics": "withdrawn"}));
    }
    assert_eq!(ledger.state("bob")["consents"], json!({"marketing": "given"}));
    let region = r#"{"subject":"alice","kind":"fact","facts":{"region":"EEA"}}"#;
    for said in [Some("fact alice region=US"), None] {
        std::fs::write(&file, region).unwrap();
        ledger.run(&arguments);
        assert_eq!(ledger.state("alice")["region"], "EEA", "of facts the last one counts");
        said.map(|said| ledger.run(said));
    }
    // Who asks again asks again.
    std::fs::write(&file, [asked, given].join("\n")).unwrap();
    assert!(ledger.run(&arguments).2.ends_with("1 recorded, 1 recorded before, 0 bad lines\n"));
}

#[test]
fn chunks_end_at_line_ends() {
    let line = format!("{}\n", "x".repeat(9_999));
    let text = line.repeat(250);
    let mut reader = BufReader::new(text.as_bytes());
    let (mut lines, mut parts) = (0, 0);
    loop {
        let (part, read) = read_chunk(&mut reader).unwrap();
        if part.is_empty() {
            break;
        }
        assert_eq!(part.len() as u64, read * 10_000);
        (lines, parts) = (lines + read, parts + 1);
    }
    assert_eq!((lines, parts), (250, 3));
}
