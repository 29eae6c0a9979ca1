//! Tests of the verbs over one log and over several.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use smallvec::{SmallVec, smallvec};
use ulid::Ulid;

use super::*;
use crate::cli::admin_client::AdminServer;
use crate::disclosure::record::{CategoryDisclosure, Disclosure, ExchangeHead, ExchangeMode, Record};
use crate::disclosure::{Durability, Log, LogSettings, OldLog};
use crate::exchange::IntentPolicy;
use crate::keys::LoggedPerson;
use crate::ledger::Position;
use crate::vocabulary::{Basis, Form, IdReader, Operation};

#[derive(Parser)]
struct AuditCommand {
    #[command(subcommand)]
    verb: AuditVerb,
}

/// Returns a decision's id. A decision is found by its time, so that it is one of today.
fn decision_id(number: u128) -> String {
    static NOW: LazyLock<u64> = LazyLock::new(|| u64::try_from(Timestamp::now().as_second()).unwrap() * 1000);
    Ulid::from_parts(*NOW, number).to_string()
}

async fn log(folder: &Path, keys: &Keys) {
    log_of(folder, keys, "gateway-1", &decision_id(1)).await;
}

pub(super) fn settings(folder: &Path, gateway: &str) -> LogSettings {
    LogSettings {
        folder: folder.to_owned(),
        gateway: gateway.to_owned(),
        durability: Durability::BeforeRelease,
        retention: Duration::from_secs(1 << 30),
        origin: None,
        ledger: None,
        known_checkpoints: Vec::new(),
    }
}

async fn log_of(folder: &Path, keys: &Keys, gateway: &str, decision: &str) {
    let log = Log::open(settings(folder, gateway), keys).unwrap();
    let head = ExchangeHead {
        decision: decision.parse().unwrap(),
        recipient: "acme".into(),
        actor: None,
        holder: None,
        purpose: "direct-marketing".into(),
        declared: None,
        case: Some("2026-017".into()),
        route: "customers".into(),
        operation: Operation::Disclose,
        policy: "1".into(),
        position: Position(3),
        stale: false,
        factors: SmallVec::new(),
        mode: ExchangeMode::Enforce,
        would_refuse: None,
        trace: None,
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
            would: None,
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
    let log = |folder| AuditedLog { folder, keys: keys.cloned(), verifier: None, origin: None, index: None };
    let logs: Vec<_> = folders.into_iter().map(log).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&verb, &logs, configured.as_ref(), &mut out, &mut err).unwrap();
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_command_line_is_well_formed() {
    <AuditCommand as clap::CommandFactory>::command().debug_assert();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_that_lost_records_fails_against_its_checkpoint() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let (logs, shorter) = (folder.path().join("audit"), folder.path().join("shorter"));
    log(&logs, &keys).await;
    copy(&logs, &shorter);
    log_of(&logs, &keys, "gateway-1", &decision_id(2)).await;
    let (status, checkpoint, words) = audit("verify", &logs, Some(&keys));
    assert_eq!(status, 0, "{words}");
    let size = checkpoint.lines().nth(1).unwrap();
    assert_eq!(words, format!("{size} records, 0 findings\n"));
    let file = folder.path().join("checkpoint");
    std::fs::write(&file, &checkpoint).unwrap();
    let since = format!("verify --since {}", file.display());
    assert_eq!(audit(&since, &logs, Some(&keys)).0, 0);

    assert_eq!(audit("verify", &shorter, Some(&keys)).0, 0, "only a checkpoint shows it");
    let (status, out, words) = audit(&since, &shorter, Some(&keys));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(
        words.contains(&format!("finding: the earlier checkpoint: has {size} entries; the log ends after ")),
        "{words}"
    );

    let (status, _, words) = audit("verify --since /no/such", &logs, Some(&keys));
    assert_eq!(status, 2, "{words}");
    std::fs::write(&file, "no checkpoint").unwrap();
    assert_eq!(audit(&since, &logs, Some(&keys)).0, 2);
    assert_eq!(audit("verify", &folder.path().join("none"), Some(&keys)).0, 2);
}

#[tokio::test]
async fn the_key_of_a_log_comes_from_outside_of_its_folder() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let logs = folder.path().join("audit");
    log(&logs, &keys).await;
    let (status, key, words) = audit("key", &logs, Some(&keys));
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(key.starts_with("gateway-1/"), "{key}");
    assert_eq!(audit(&format!("verify --key {key}"), &logs, None).0, 0);
    let (status, out, words) = audit("verify", &logs, None);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains("finding: signatures were not checked"), "{words}");
    assert_eq!(audit("key", &logs, None).0, 2);
    assert_eq!(audit("key", &folder.path().join("none"), Some(&keys)).0, 2);

    let strange = Keys::random().unwrap();
    let (status, _, words) = audit("verify", &logs, Some(&strange));
    assert_eq!(status, 1);
    assert!(words.contains("finding: checkpoint: is not signed by the key of the log"), "{words}");
    let other = strange.log_signing_key("gateway-2/00").unwrap().verifier_key();
    let (status, _, words) = audit(&format!("verify --key {other}"), &logs, Some(&keys));
    assert_eq!(status, 1);
    assert!(words.contains("and the key is of another log"), "{words}");
    assert!(AuditCommand::try_parse_from(["audit", "verify", "--key", "gateway-1"]).is_err());
}

#[tokio::test]
async fn an_old_log_is_verified_with_the_log_that_continues_it() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let (logs, changed) = (folder.path().join("audit"), folder.path().join("changed"));
    let time = "2026-11-20T10:00:00Z".parse().unwrap();
    let mut old = OldLog::begin(&logs, &keys, time);
    (5..8).for_each(|number| old.refusal(&decision_id(number), time));
    old.stop(time);
    let verify = |folder: &Path| audit("verify", folder, Some(&keys));
    assert_eq!(verify(&logs).0, 0, "before the upgrade");
    log(&logs, &keys).await;
    let (status, checkpoint, words) = verify(&logs);
    assert_eq!((status, checkpoint.is_empty()), (0, false), "{words}");
    assert_eq!(words, format!("{} records, 0 findings\n", checkpoint.lines().nth(1).unwrap()));
    let (_, shown, _) = audit("show", &logs, Some(&keys));
    assert_eq!(shown.matches("refused:no-rule-permits").count(), 3, "{shown}");
    let key = audit("key", &logs, Some(&keys)).1;
    let (status, _, words) = audit(&format!("verify --key {key}"), &logs, None);
    assert_eq!(status, 0);
    assert!(words.contains("note: former: without the key file the tags are not checked"), "{words}");
    for (verb, lines) in [("show", 4), ("show --format json", 4), ("export", 5)] {
        let (status, out, words) = audit(verb, &logs, Some(&keys));
        assert!(status == 0 && words.is_empty(), "{words}");
        let (status, unchecked, words) = audit(verb, &logs, None);
        assert!(status == 0 && unchecked.lines().count() >= lines, "{unchecked}");
        assert_eq!(unchecked != out, verb.contains("json"), "{unchecked}");
        assert_eq!(
            unchecked.matches(r#""tags_checked":false"#).count(),
            if verb.contains("json") { 3 } else { 0 }
        );
        assert!(words.starts_with("note: ") && words.contains("the tags are not checked"), "{words}");
        let (status, _, words) = audit(verb, &logs, Some(&Keys::random().unwrap()));
        assert!(status == 2 && words.contains("former/00000000000000000000.jsonl"), "{words}");
    }

    let segment = |folder: &Path| folder.join("former/00000000000000000000.jsonl");
    let text = std::fs::read_to_string(segment(&logs)).unwrap();
    let without_end = text.rsplitn(3, '\n').last().unwrap().to_owned() + "\n";
    for (content, finding) in [
        (text.replacen("acme", "acmE", 1), "former: 00000000000000000000.jsonl: record 1: was changed"),
        (without_end, "former: the log ends after 4 records; "),
    ] {
        copy(&logs, &changed);
        std::fs::write(segment(&changed), content).unwrap();
        let (status, out, words) = verify(&changed);
        assert_eq!((status, out.as_str()), (1, ""));
        assert!(words.contains(&format!("finding: {finding}")), "{words}");
    }
    std::fs::remove_dir_all(changed.join("former")).unwrap();
    let (status, _, words) = verify(&changed);
    assert_eq!(status, 1);
    assert!(
        words.contains("finding: former: is missing, and no entry states that it was deleted"),
        "{words}"
    );

    let retention = Duration::from_millis(1);
    drop(Log::open(LogSettings { retention, ..settings(&logs, "gateway-1") }, &keys).unwrap());
    assert!(!logs.join("former").exists(), "its retention is over");
    let (status, checkpoint, words) = verify(&logs);
    assert_eq!((status, checkpoint.is_empty()), (0, false), "{words}");
    let (_, shown, _) = audit("show", &logs, Some(&keys));
    assert!(shown.contains(&decision_id(1)) && !shown.contains("refused:"), "{shown}");
}

#[tokio::test]
async fn exchanges_are_shown_as_text_or_as_json() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let logs = folder.path().join("audit");
    log(&logs, &keys).await;
    let shown = |arguments: &str| audit(arguments, &logs, Some(&keys));
    let (status, text, _) = shown("show");
    assert_eq!(status, 0);
    let decision = decision_id(1);
    let time =
        Timestamp::from_millisecond(Ulid::from_string(&decision).unwrap().timestamp_ms().try_into().unwrap())
            .unwrap();
    assert_eq!(
        text,
        format!(
            "{time}  {decision}  acme  direct-marketing  customers  released  1 record, 0 withheld, 1 person, case \"2026-017\"\n    \
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
    assert_eq!(shown(&format!("show --decision {decision} --format json")).1.lines().count(), 1);
    assert_eq!(shown("show --decision 01ARZ3NDEKTSV4RRFFQ69G5FAV").0, 1);
    assert_eq!(audit("show --subject alice", &logs, None).0, 2, "without keys");
    let exported = shown("export").1;
    assert_eq!(exported.matches("\"kind\":\"exchange\"").count(), 1, "{exported}");
}

/// Two logs of two gateways, and the arguments that name their folders.
async fn two_logs(outer: &tempfile::TempDir, keys: &Keys) -> (PathBuf, PathBuf, String) {
    let (one, other) = (outer.path().join("one"), outer.path().join("other"));
    log(&one, keys).await;
    log_of(&other, keys, "gateway-2", &decision_id(2)).await;
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
    let (_, shown, _) = run(&format!("show --decision {} {folders}", decision_id(2)));
    assert!(shown.contains("gateway-2"), "{shown}");
    assert_eq!(run(&format!("show --decision 01ARZ3NDEKTSV4RRFFQ69G5FAV {folders}")).0, 1);
    assert_eq!(run(&format!("export {folders}")).1.matches("\"kind\":\"exchange\"").count(), 2);

    let strange = Keys::random().unwrap();
    let (status, out, words) = audit(&format!("show --subject alice {folders}"), &one, Some(&strange));
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(words.contains("other keys"), "{words}");

    log_of(&other, &keys, "gateway-2", &decision_id(1)).await;
    let decision = decision_id(1);
    for arguments in ["show", &format!("show --decision {decision}")] {
        let (status, text, words) = run(&format!("{arguments} {folders}"));
        assert_eq!((status, text.matches(&decision).count()), (1, 2), "{text}");
        assert!(words.contains(&format!("finding: the decision {decision} is in two logs")), "{words}");
    }
}

#[tokio::test]
async fn several_logs_are_verified_and_compared_with_each_other() {
    let (outer, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let (one, other, folders) = two_logs(&outer, &keys).await;
    let run = |arguments: &str| audit(arguments, Path::new("/none"), Some(&keys));
    let (status, checkpoints, words) = run(&format!("verify {folders}"));
    assert_eq!((status, checkpoints.matches("— gateway-").count()), (0, 2), "{words}");
    for folder in [&one, &other] {
        assert!(words.contains(&format!("{}: ", folder.display())), "{words}");
    }
    let file = outer.path().join("checkpoints");
    std::fs::write(&file, &checkpoints).unwrap();
    let since = format!("--since {}", file.display());
    assert_eq!(run(&format!("verify {since} {folders}")).0, 0);
    assert_eq!(run(&format!("verify {since} {}", other.display())).0, 0, "the file has a note of it");

    // The other log was moved away: its checkpoint is left over.
    let third = outer.path().join("third");
    log_of(&third, &keys, "gateway-3", &decision_id(3)).await;
    let (status, out, words) = run(&format!("verify {since} {} {}", one.display(), third.display()));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains("finding: no log is that of the checkpoint"), "{words}");
    assert!(words.contains("note: ") && words.contains("has none of this log"), "{words}");

    log_of(&other, &keys, "gateway-2", &decision_id(1)).await;
    let (status, out, words) = run(&format!("verify {folders}"));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains(&format!("the decision {} is in two logs", decision_id(1))), "{words}");

    let second = outer.path().join("copy");
    copy(&one, &second);
    let (status, _, words) = run(&format!("verify {} {}", one.display(), second.display()));
    assert_eq!(status, 1);
    assert!(words.contains("hold the same log"), "{words}");

    std::fs::write(third.join("notes"), "x").unwrap();
    let (status, out, words) = run(&format!("verify {} {}", one.display(), third.display()));
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(words.contains(&format!("finding: {}: ", third.display())), "{words}");
    assert!(!words.contains(&format!("finding: {}: ", one.display())), "{words}");
}

#[test]
fn the_logs_of_a_configuration_are_read_with_their_keys_and_each_once() {
    let outer = tempfile::tempdir().unwrap();
    let at = |name: &str| outer.path().join(name);
    for name in ["own", "b", "c", "d"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let keys = Keys::random().unwrap();
    let keys_of_c = Keys::open_or_create(&at("keys-c"), &[]).unwrap();
    let verifier = keys_of_c.log_signing_key("gateway-4/00").unwrap().verifier_key();
    let audit = AuditSection {
        directory: at("own"),
        durability: Durability::Batched,
        retention: Duration::from_secs(1),
        intents: IntentPolicy::Changes,
        origin: Some("gateway-1/00".to_owned()),
        circumstances: None,
        index: at("own-index"),
        checkpoints: Vec::new(),
        push: None,
        notice_limit: Duration::from_secs(1),
        logs: vec![
            GatewayLog { path: at("b"), key: None },
            GatewayLog { path: at("c"), key: Some(LogKey::File(at("keys-c"))) },
            GatewayLog { path: at("d"), key: Some(LogKey::Verifier(verifier.clone())) },
        ],
        retired: Vec::new(),
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
    assert_eq!(all.iter().map(|log| log.folder.clone()).collect::<Vec<_>>(), ["own", "b", "c", "d"].map(at));
    assert_eq!(tags(&all), [own, own, of_c, own]);
    let origins: Vec<_> = all.iter().map(|log| log.origin.as_deref()).collect();
    assert_eq!(origins, [Some("gateway-1/00"), None, None, None]);
    let verifiers: Vec<_> = all.iter().map(|log| log.verifier.as_ref().map(ToString::to_string)).collect();
    assert_eq!(verifiers, [None, None, None, Some(verifier)]);
    let of_key = |log: &AuditedLog| log.verifier_of("gateway-9/00").unwrap().to_string();
    assert_eq!(of_key(&all[2]), keys_of_c.log_signing_key("gateway-9/00").unwrap().verifier_key());
    assert_eq!(tags(&logs(&["b/../c", "b"], configured).unwrap()), [of_c, own]);
    assert_eq!(tags(&logs(&["c"], None).unwrap()), [None]);
    for twice in [&["b", "c", "b"][..], &["b", "c/.."], &["own", "own/."]] {
        let words = logs(twice, configured).unwrap_err();
        assert!(words.contains("name each log once"), "{words}");
    }
    std::fs::remove_file(at("keys-c")).unwrap();
    assert!(logs(&[], configured).unwrap_err().contains("keys-c"));
}
