//! Tests of the verbs over one log and over several.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use super::*;
use crate::cli::admin_client::AdminServer;
use crate::disclosure::record::{CategoryDisclosure, Disclosure, ExchangeHead, Record};
use crate::disclosure::{Durability, Log, LogSettings};
use crate::exchange::IntentPolicy;
use crate::keys::LoggedPerson;
use crate::ledger::Position;
use crate::vocabulary::{Basis, Form, IdReader, Operation};

#[derive(Parser)]
struct AuditCommand {
    #[command(subcommand)]
    verb: AuditVerb,
}

const DECISION: &str = "01M7YZMHG00000000000000001";

async fn log(folder: &Path, keys: &Keys) {
    log_of(folder, keys, "gateway-1", DECISION).await;
}

async fn log_of(folder: &Path, keys: &Keys, gateway: &str, decision: &str) {
    let settings = LogSettings {
        folder: folder.to_owned(),
        gateway: gateway.to_owned(),
        durability: Durability::BeforeRelease,
        retention: Duration::from_secs(1 << 30),
        origin: None,
        known_checkpoints: Vec::new(),
    };
    let log = Log::open(settings, keys).unwrap();
    let head = ExchangeHead {
        decision: decision.parse().unwrap(),
        recipient: "acme".into(),
        actor: None,
        purpose: "direct-marketing".into(),
        declared: None,
        case: Some("2026-017".into()),
        route: "customers".into(),
        operation: Operation::Disclose,
        policy: "1".into(),
        position: Position(3),
        stale: false,
        factors: SmallVec::new(),
    };
    let alice = IdReader::default().read("alice").unwrap();
    let disclosure = Disclosure {
        position: Position(3),
        records: 1,
        subjects: smallvec![LoggedPerson::unknown(keys.fingerprints().subject(&alice))],
        categories: vec![CategoryDisclosure {
            category: Some("email".into()),
            form: Form::Clear,
            basis: Some(Basis::Consent),
            reason: None,
            rules: Arc::new(["marketing".into()]),
            clauses: Arc::new(["G-6.4b".into()]),
            fields: 1,
        }],
        ..Disclosure::default()
    };
    log.append(Record::Exchange(Arc::new(head), disclosure)).await.unwrap();
}

fn audit(arguments: &str, folder: &Path, keys: Option<&Keys>) -> (u8, String, String) {
    let ledger = crate::config::LedgerSection::embedded("/no/ledger".into());
    let configured = keys.map(|_| AuditContext {
        location: LedgerLocation {
            ledger: &ledger,
            log: Path::new("/no/log"),
            keys: Path::new("/no/keys"),
            names: Arc::new(ledger::VocabularyTerms::standard()),
            recipients: vec!["acme".into(), "globex".into()],
            namespaces: vec![Arc::from("default")],
            admin: AdminServer::configured("127.0.0.1:9".parse().unwrap(), false),
        },
        vocabulary: Arc::new(Vocabulary::standard()),
    });
    let arguments = ["audit"].into_iter().chain(arguments.split_whitespace());
    let verb = AuditCommand::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).verb;
    let given = verb.log_location().map(|at| at.folders.clone()).unwrap_or_default();
    let folders = if given.is_empty() { vec![folder.to_owned()] } else { given };
    let log = |folder| AuditedLog { folder, keys: keys.cloned(), verifier: None, origin: None };
    let logs: Vec<_> = folders.into_iter().map(log).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&verb, &logs, configured.as_ref(), &mut out, &mut err).unwrap();
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_command_line_is_well_formed() {
    <AuditCommand as clap::CommandFactory>::command().debug_assert();
}

#[tokio::test]
async fn a_log_that_lost_records_fails_against_its_checkpoint() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let logs = folder.path().join("audit");
    log(&logs, &keys).await;
    let (status, checkpoint, words) = audit("verify", &logs, Some(&keys));
    assert_eq!(status, 0, "{words}");
    assert_eq!(words, "5 records in 1 file, 0 findings\n");
    let file = folder.path().join("checkpoint");
    std::fs::write(&file, &checkpoint).unwrap();
    let since = format!("verify --since {}", file.display());
    assert_eq!(audit(&since, &logs, None).0, 0);

    let segment = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&segment).unwrap();
    let shorter: Vec<_> = text.lines().take(3).collect();
    std::fs::write(&segment, shorter.join("\n") + "\n").unwrap();
    let (status, out, words) = audit(&since, &logs, Some(&keys));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains("finding: the log ends after 3 records; the checkpoint says 5"), "{words}");

    let (status, _, words) = audit("verify --since /no/such", &logs, Some(&keys));
    assert_eq!(status, 2, "{words}");
    assert_eq!(audit("verify", &folder.path().join("none"), Some(&keys)).0, 2);
}

#[tokio::test]
async fn exchanges_are_shown_as_text_or_as_json() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let logs = folder.path().join("audit");
    log(&logs, &keys).await;
    let shown = |arguments: &str| audit(arguments, &logs, Some(&keys));
    let (status, text, _) = shown("show");
    assert_eq!(status, 0);
    assert_eq!(
        text,
        format!(
            "2026-11-21T12:00:00Z  {DECISION}  acme  direct-marketing  customers  released  1 record, 0 withheld, 1 person, case \"2026-017\"\n    \
             email: clear, consent, 1 field (G-6.4b)\n"
        )
    );
    let (_, json, _) = shown("show --format json --subject alice");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["categories"]["email"][0]["rules"][0], "marketing");
    assert!(!json.to_string().contains("alice"));
    for (nothing, status, note) in [
        ("--subject bob", 0, "no exchange in the log"),
        ("--recipient globex", 0, "no exchange in the log"),
        ("--recipient nobody", 2, "there is no recipient `nobody`"),
        ("--recipient globix", 2, "did you mean `globex`?"),
        ("--purpose marketing", 0, "no exchange in the log"),
        ("--purpose direct-marketting", 2, "did you mean `direct-marketing`?"),
    ] {
        let (is, out, words) = shown(&format!("show {nothing}"));
        assert_eq!((is, out.as_str()), (status, ""), "{nothing}");
        assert!(words.contains(note), "{nothing}: {words}");
    }
    assert_eq!(shown("show --purpose dpv:DirectMarketing").1, text);
    let (status, _, words) = audit("show --recipient nobody", &logs, None);
    assert_eq!(status, 0);
    assert!(words.contains("no exchange in the log"), "{words}");
    assert_eq!(shown(&format!("show --decision {DECISION} --format json")).1.lines().count(), 1);
    assert_eq!(shown("show --decision 01ARZ3NDEKTSV4RRFFQ69G5FAV").0, 1);
    assert_eq!(audit("show --subject alice", &logs, None).0, 2, "without keys");
    assert_eq!(shown("export").1.lines().count(), 5);
}

/// Two logs of two gateways, and the arguments that name their folders.
async fn two_logs(outer: &tempfile::TempDir, keys: &Keys) -> (PathBuf, PathBuf, String) {
    let (one, other) = (outer.path().join("one"), outer.path().join("other"));
    log(&one, keys).await;
    log_of(&other, keys, "gateway-2", "01M7YZMHG00000000000000002").await;
    let folders = format!("{} {}", one.display(), other.display());
    (one, other, folders)
}

#[tokio::test]
async fn several_logs_are_shown_and_exported_together() {
    let (outer, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let (one, other, folders) = two_logs(&outer, &keys).await;
    let run = |arguments: &str| audit(arguments, Path::new("/none"), Some(&keys));
    let (status, text, words) = run(&format!("show {folders}"));
    assert_eq!((status, words.as_str()), (0, ""));
    let heads: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert!(heads[0].ends_with("1 person, case \"2026-017\", gateway gateway-1"), "{text}");
    assert!(heads[1].ends_with("gateway gateway-2"), "{text}");
    let (_, json, _) = run(&format!("show --subject alice --format json {folders}"));
    let names: Vec<Value> =
        json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["gateway"].clone()).collect();
    assert_eq!(names, ["gateway-1", "gateway-2"]);
    let (_, shown, _) = run(&format!("show --decision 01M7YZMHG00000000000000002 {folders}"));
    assert!(shown.contains("gateway-2"), "{shown}");
    assert_eq!(run(&format!("show --decision 01ARZ3NDEKTSV4RRFFQ69G5FAV {folders}")).0, 1);
    assert_eq!(run(&format!("export {folders}")).1.lines().count(), 10);

    let strange = Keys::random().unwrap();
    let (status, out, words) = audit(&format!("show --subject alice {folders}"), &one, Some(&strange));
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(words.contains("other keys"), "{words}");

    log_of(&other, &keys, "gateway-2", DECISION).await;
    for arguments in ["show", &format!("show --decision {DECISION}")] {
        let (status, text, words) = run(&format!("{arguments} {folders}"));
        assert_eq!((status, text.matches(DECISION).count()), (1, 2), "{text}");
        assert!(words.contains(&format!("finding: the decision {DECISION} is in two logs")), "{words}");
    }
}

#[tokio::test]
async fn several_logs_are_verified_and_compared_with_each_other() {
    let (outer, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let (one, other, folders) = two_logs(&outer, &keys).await;
    let run = |arguments: &str| audit(arguments, Path::new("/none"), Some(&keys));
    let (status, checkpoints, words) = run(&format!("verify {folders}"));
    assert_eq!((status, checkpoints.lines().count()), (0, 2), "{words}");
    for folder in [&one, &other] {
        assert!(words.contains(&format!("{}: 5 records in 1 file, 0 findings", folder.display())), "{words}");
    }
    let file = outer.path().join("checkpoints");
    std::fs::write(&file, &checkpoints).unwrap();
    let since = format!("--since {}", file.display());
    assert_eq!(run(&format!("verify {since} {folders}")).0, 0);
    assert_eq!(run(&format!("verify {since} {}", other.display())).0, 0, "the file has a line of it");

    // The other log was moved away: its checkpoint is left over.
    let third = outer.path().join("third");
    log_of(&third, &keys, "gateway-3", "01M7YZMHG00000000000000003").await;
    let (status, out, words) = run(&format!("verify {since} {} {}", one.display(), third.display()));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains("finding: no log is that of the checkpoint"), "{words}");
    assert!(words.contains("note: ") && words.contains("has none of this log"), "{words}");

    log_of(&other, &keys, "gateway-2", DECISION).await;
    let (status, out, words) = run(&format!("verify {folders}"));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains(&format!("the decision {DECISION} is in two logs")), "{words}");

    let copy = outer.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&one).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let (status, _, words) = run(&format!("verify {} {}", one.display(), copy.display()));
    assert_eq!(status, 1);
    assert!(words.contains("hold the same log"), "{words}");

    let segment = std::fs::read_dir(&third).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&segment, std::fs::read_to_string(&segment).unwrap().replacen("acme", "acmE", 1)).unwrap();
    let (status, out, words) = run(&format!("verify {} {}", one.display(), third.display()));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains(&format!("finding: {}: ", third.display())), "{words}");
    assert!(!words.contains(&format!("finding: {}: ", one.display())), "{words}");
}

#[test]
fn the_logs_of_a_configuration_are_read_with_their_keys_and_each_once() {
    let outer = tempfile::tempdir().unwrap();
    let at = |name: &str| outer.path().join(name);
    for name in ["own", "b", "c"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let keys = Keys::random().unwrap();
    let keys_of_c = Keys::open_or_create(&at("keys-c"), &[]).unwrap();
    let audit = AuditSection {
        directory: at("own"),
        durability: Durability::Batched,
        retention: Duration::from_secs(1),
        intents: IntentPolicy::Changes,
        origin: None,
        index: at("own-index"),
        checkpoints: Vec::new(),
        notice_limit: Duration::from_secs(1),
        logs: vec![
            GatewayLog { path: at("b"), key: None },
            GatewayLog { path: at("c"), key: Some(LogKey::File(at("keys-c"))) },
        ],
    };
    let logs = |folders: &[&str], configured| {
        LogLocation { folders: folders.iter().map(|name| at(name)).collect(), config: None }.logs(configured)
    };
    let tags = |logs: &[AuditedLog]| -> Vec<_> {
        logs.iter().map(|log| log.keys.as_ref().map(Keys::log_tags)).collect()
    };
    let (own, of_c) = (Some(keys.log_tags()), Some(keys_of_c.log_tags()));
    let configured = Some((&audit, &keys));
    let all = logs(&[], configured).unwrap();
    assert_eq!(all.iter().map(|log| log.folder.clone()).collect::<Vec<_>>(), [at("own"), at("b"), at("c")]);
    assert_eq!(tags(&all), [own, own, of_c]);
    assert_eq!(tags(&logs(&["b/../c", "b"], configured).unwrap()), [of_c, own]);
    assert_eq!(tags(&logs(&["c"], None).unwrap()), [None]);
    for twice in [&["b", "c", "b"][..], &["b", "c/.."], &["own", "own/."]] {
        let words = logs(twice, configured).unwrap_err();
        assert!(words.contains("name each log once"), "{words}");
    }
    std::fs::remove_file(at("keys-c")).unwrap();
    assert!(logs(&[], configured).unwrap_err().contains("keys-c"));
}
