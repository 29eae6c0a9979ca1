//! A disclosure log that is gone, or whose end is, is missed at the next start, and reports say what they lack.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, wait_until};
use crate::program::run;
use crate::upstream::Upstream;

/// The upstream and the configuration of a gateway.
fn site() -> (Upstream, String) {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let config = format!("{}{CUSTOMER_ROUTES}[deployment]\nname = \"gateway-1\"\n", base(upstream.address));
    (upstream, config)
}

fn release(gateway: &TestGateway) -> String {
    gateway.get("/customers/p-1", "support", "customer-support").decision()
}

/// Runs a gateway that releases something, and builds the index of its log.
fn serve(folder: TempDir, config: &str) -> TempDir {
    let gateway = TestGateway::start_in(folder, config);
    gateway.record_event("p-1", NOTICE);
    release(&gateway);
    let folder = gateway.end();
    let (status, words) = run_in(&folder, &["audit", "index"]);
    assert_eq!(status, 0, "{words}");
    folder
}

/// Runs a command on the configuration in a folder; returns its exit status and all its output.
fn run_in(folder: &TempDir, arguments: &[&str]) -> (i32, String) {
    let file = folder.path().join("purposegate.toml");
    let (status, out, words) = run([arguments, &["--config", file.to_str().unwrap()]].concat());
    (status, out + &words)
}

/// Checks that the gateway does not start, and that the message has these parts.
fn refuses(folder: &TempDir, parts: &[&str]) {
    let (status, words) = run_in(folder, &["serve"]);
    assert_eq!(status, 2, "{words}");
    for part in parts.iter().chain(&["purposegate audit accept-loss"]) {
        assert!(words.contains(part), "{part}: {words}");
    }
}

/// Replaces a file or a folder by a copy of another.
fn replace(from: &Path, to: &Path) {
    let commands = [("rm", "-rf", vec![to]), ("cp", "-r", vec![from, to])];
    for (program, option, paths) in commands {
        assert!(Command::new(program).arg(option).args(paths).status().unwrap().success());
    }
}

/// Removes the ledger, and the mark of its last position.
fn remove_ledger(data: &Path) {
    for file in std::fs::read_dir(data).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("ledger.db") || name.starts_with("keys.position") {
            std::fs::remove_file(file).unwrap();
        }
    }
}

fn indexes(data: &Path) -> usize {
    let files = std::fs::read_dir(data.join("audit-index")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|end| end == "db")).count()
}

/// Returns the faults that an answer of the admin API states, which are why it is not complete.
fn faults(answer: &Value) -> Vec<String> {
    let logs = answer["logs"].as_array().unwrap().iter();
    let faults: Vec<_> = logs.filter_map(|log| log["fault"].as_str().map(str::to_owned)).collect();
    assert_eq!(answer["complete"], faults.is_empty(), "{answer}");
    faults
}

#[test]
fn a_log_that_is_gone_keeps_the_gateway_from_starting_until_the_loss_is_accepted() {
    let (_upstream, config) = site();
    let folder = serve(tempfile::tempdir().unwrap(), &config);
    assert!(run_in(&folder, &["audit", "accept-loss", "--reason", "none"]).1.contains("nothing is missing"));
    let (data, log) = (folder.path().join("data"), folder.path().join("data/audit"));
    std::fs::rename(&log, folder.path().join("gone")).unwrap();
    // The mount point of a volume that is not mounted.
    std::fs::create_dir(&log).unwrap();
    refuses(&folder, &[log.to_str().unwrap(), "holds no disclosure log", "the ledger knows", "`gateway-1/"]);
    assert_eq!((std::fs::read_dir(&log).unwrap().count(), indexes(&data)), (0, 1), "nothing was begun");
    assert_eq!(run_in(&folder, &["audit", "accept-loss", "--reason", " "]).0, 2);
    assert_eq!(run_in(&folder, &["audit", "accept-loss", "--reason", " the disk failed"]).0, 2);
    let (status, words) = run_in(&folder, &["audit", "accept-loss", "--reason", "the disk failed"]);
    assert!(status == 0 && words.contains("accepted: the log gateway-1/"), "{words}");
    assert_eq!(indexes(&data), 0, "nobody would remove its pseudonyms");
    assert!(run_in(&folder, &["audit", "accept-loss", "--reason", "again"]).1.contains("nothing is missing"));
    let (_, acts) = run_in(&folder, &["audit", "show", "--acts"]);
    assert!(acts.contains("audit accept-loss") && acts.contains("the disk failed"), "{acts}");

    let gateway = TestGateway::start_in(folder, &config);
    let decision = release(&gateway);
    for path in ["disclosures", "report"] {
        let list = gateway.get_admin(&format!("/v1/subjects/p-1/{path}")).json();
        assert_eq!(list["disclosures"][0]["decision"], decision.as_str(), "{list}");
        let [fault] = &faults(&list)[..] else { panic!("{list}") };
        assert!(fault.contains("`gateway-1/") && fault.contains("is lost"), "{fault}");
    }
    let page = gateway.get_admin("/v1/subjects/p-1/report?format=html").text();
    assert!(page.contains("This list is not complete."), "{page}");
    let list = gateway.get_admin("/v1/decisions").json();
    assert!(faults(&list)[0].contains("is lost"), "{list}");
    let now = jiff::Timestamp::now();
    let later = gateway.get_admin(&format!("/v1/decisions?since={now}")).json();
    assert!(faults(&later).is_empty(), "the lost log had ended: {later}");
    // Who had received the data is not known any more.
    gateway.record_event("p-1", r#"{"kind": "erasure"}"#);
    wait_until(|| gateway.metrics().contains("purposegate_notice_searches_incomplete 1"));
    // The new log is missed as the old one.
    let folder = gateway.end();
    replace(&folder.path().join("gone"), &log);
    refuses(&folder, &["holds the disclosure log `gateway-1/", "the ledger knows"]);
}

#[test]
fn a_log_that_was_cut_off_is_not_continued_and_its_rest_stays_readable() {
    let (_upstream, config) = site();
    let folder = serve(tempfile::tempdir().unwrap(), &config);
    let (log, copy) = (folder.path().join("data/audit"), folder.path().join("copy"));
    replace(&log, &copy);
    let folder = serve(folder, &config);
    replace(&copy, &log);
    refuses(&folder, &["holds the disclosure log `gateway-1/", " entries, but the ledger knows"]);
    let accept =
        || run_in(&folder, &["audit", "accept-loss", "--reason", "restored from the copy of Monday"]);
    let (status, words) = accept();
    assert!(status == 1 && words.contains("move the folder away"), "{words}");

    std::fs::remove_dir_all(&log).unwrap();
    let config = format!("{config}[audit]\nlogs = [{{ path = {copy:?} }}]\n");
    std::fs::write(folder.path().join("purposegate.toml"), &config).unwrap();
    refuses(&folder, &["holds no disclosure log"]);
    let (status, words) = accept();
    assert_eq!(status, 0, "{words}");
    let gateway = TestGateway::start_in(folder, &config);
    let list = gateway.get_admin("/v1/subjects/p-1/disclosures").json();
    assert_eq!(list["disclosures"].as_array().unwrap().len(), 1, "{list}");
    assert!(faults(&list)[0].contains("is lost from entry "), "{list}");
}

#[test]
fn a_log_that_was_moved_or_restored_is_not_lost() {
    let (_upstream, config) = site();
    let folder = serve(tempfile::tempdir().unwrap(), &config);
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    replace(&data, &copy);
    // Everything is newer than the copy, and then everything as old.
    let folder = serve(folder, &config);
    replace(&copy, &data);
    let folder = serve(folder, &config);
    // The ledger and the index are those of the copy, and the log is newer.
    remove_ledger(&data);
    for file in std::fs::read_dir(&copy).unwrap().map(|file| file.unwrap().file_name()) {
        let name = file.to_str().unwrap();
        if name.starts_with("ledger.db") || name == "audit-index" {
            replace(&copy.join(name), &data.join(name));
        }
    }
    let (status, words) = run_in(&folder, &["ledger", "accept-history"]);
    assert_eq!(status, 0, "{words}");
    let folder = serve(folder, &config);
    // An index can be built again.
    std::fs::remove_dir_all(data.join("audit-index")).unwrap();
    let folder = serve(folder, &config);

    let moved = folder.path().join("moved");
    std::fs::rename(data.join("audit"), &moved).unwrap();
    refuses(&folder, &["holds no disclosure log"]);
    let config = format!("{config}[audit]\nlogs = [{{ path = {moved:?} }}]\n");
    let gateway = TestGateway::start_in(folder, &config);
    let list = gateway.get_admin("/v1/subjects/p-1/disclosures").json();
    assert_eq!(faults(&list), [] as [&str; 0]);
    assert!(!list["disclosures"].as_array().unwrap().is_empty(), "{list}");
}

#[test]
fn the_index_and_a_kept_checkpoint_know_a_log_without_the_ledger() {
    let (_upstream, config) = site();
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("checkpoint");
    let config = format!("{config}[audit]\ncheckpoints = [{{ file = {file:?} }}]\n");
    let folder = serve(tempfile::tempdir().unwrap(), &config);
    let data = folder.path().join("data");
    remove_ledger(&data);
    std::fs::rename(data.join("audit"), folder.path().join("gone")).unwrap();
    let note = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    refuses(&folder, &["its index in "]);
    std::fs::remove_dir_all(data.join("audit-index")).unwrap();
    std::fs::write(&file, note).unwrap();
    refuses(&folder, &["its checkpoint ", file.to_str().unwrap()]);
    let (status, words) = run_in(&folder, &["audit", "accept-loss", "--reason", "the machine burned"]);
    assert!(status == 0 && words.contains("known to its checkpoint"), "{words}");
    let gateway = TestGateway::start_in(folder, &config);
    let list = gateway.get_admin("/v1/decisions").json();
    assert!(faults(&list)[0].contains("is lost"), "{list}");
}

#[test]
fn a_new_log_does_not_get_the_origin_of_another_one() {
    let (_upstream, config) = site();
    let settings = |more: &str| format!("{config}[audit]\norigin = \"gateway-1/fixed\"\n{more}");
    let folder = serve(tempfile::tempdir().unwrap(), &settings(""));
    let (log, moved) = (folder.path().join("data/audit"), folder.path().join("moved"));
    let write = |folder: &TempDir, config: &str| {
        std::fs::write(folder.path().join("purposegate.toml"), config).unwrap();
    };
    std::fs::rename(&log, &moved).unwrap();
    write(&folder, &settings(""));
    refuses(&folder, &["holds no disclosure log"]);
    let listed = format!("logs = [{{ path = {moved:?} }}]\n");
    // Nothing was written, so the second run says the same.
    for (more, arguments) in [
        ("", &["audit", "accept-loss", "--reason", "the disk failed"][..]),
        ("", &["audit", "accept-loss", "--reason", "the disk failed"]),
        (&listed, &["serve"]),
    ] {
        write(&folder, &settings(more));
        let (status, words) = run_in(&folder, arguments);
        assert!(status == 2 && words.contains("choose another `origin`, or remove it"), "{words}");
        assert!(!log.join("origin").exists());
    }
    let gateway = TestGateway::start_in(folder, &format!("{config}[audit]\n{listed}"));
    release(&gateway);
    let list = gateway.get_admin("/v1/subjects/p-1/disclosures").json();
    assert_eq!((faults(&list).len(), list["disclosures"].as_array().unwrap().len()), (0, 2), "{list}");
}

#[test]
fn an_acceptance_that_fails_leaves_the_loss_on_record() {
    let (_upstream, config) = site();
    let folder = serve(tempfile::tempdir().unwrap(), &config);
    let data = folder.path().join("data");
    remove_ledger(&data);
    let log = data.join("audit");
    std::fs::rename(&log, folder.path().join("gone")).unwrap();
    std::fs::create_dir(&log).unwrap();
    let accept = || run_in(&folder, &["audit", "accept-loss", "--reason", "the disk failed"]);
    let lock = std::fs::File::create(log.join("origin")).unwrap();
    lock.lock().unwrap();
    let (status, words) = accept();
    assert_eq!(status, 2, "{words}");
    drop(lock);
    // The index knew the log. It is another one's index once there is another log.
    std::fs::remove_dir_all(data.join("audit-index")).unwrap();
    refuses(&folder, &["the ledger knows"]);
    let (status, words) = accept();
    assert!(status == 0 && words.contains("known to the ledger"), "{words}");
}
