//! Versions of a policy pack: announced, waiting, in force (P-14).

use std::path::{Path, PathBuf};

use purposegate::config;
use purposegate::gateway::Gateway;
use tempfile::TempDir;

use crate::gateway::{TestGateway, base, pack};
use crate::program::run;
use crate::upstream::Upstream;

/// A rule that discloses more than version 1.
pub(crate) const MORE: &str = r#"
@id("maps-for-the-host") @clause("P-11") @basis("contract")
permit (principal in Kind::"hosting-provider", action == Action::"mapping", resource == Category::"name");
"#;
const LESS: &str = r#"
@id("no-hosting") @clause("P-11")
forbid (principal in Kind::"hosting-provider", action, resource);
"#;

/// Copies the pack with another version, other dates (announced, effective) and more rules.
pub(crate) fn version(folder: &Path, name: &str, dates: (&str, &str), rules: &str) -> PathBuf {
    let copy = folder.join(name);
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(pack("perspectium")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
    }
    let manifest = std::fs::read_to_string(copy.join("pack.toml")).unwrap();
    let manifest = manifest
        .replace("version = \"1\"", &format!("version = \"{name}\""))
        .replace("announced = 2026-01-05", &format!("announced = {}", dates.0))
        .replace("effective = 2026-01-05", &format!("effective = {}", dates.1));
    std::fs::write(copy.join("pack.toml"), manifest).unwrap();
    std::fs::write(copy.join("4-more.cedar"), rules).unwrap();
    copy
}

/// Returns a configuration with these versions of the policy.
pub(crate) fn config_of(versions: &[&Path], upstream: std::net::SocketAddr) -> String {
    let base = base(upstream);
    let (_, rest) = base.split_once('\n').unwrap();
    let list: Vec<String> = versions.iter().map(|version| format!("\"{}\"", version.display())).collect();
    format!(
        "policy = [{}]\n{rest}[[route]]\nname = \"r\"\nupstream = \"crm\"\npath = \"/r\"\n",
        list.join(", ")
    )
}

fn findings(versions: &[&Path], folder: &TempDir) -> String {
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, config_of(versions, "127.0.0.1:1".parse().unwrap())).unwrap();
    let (loaded, findings) = config::load(&file);
    let findings: Vec<String> =
        findings.iter().filter(|found| found.is_error()).map(ToString::to_string).collect();
    assert_eq!(loaded.is_none(), !findings.is_empty());
    findings.join("\n")
}

#[test]
fn a_future_version_is_loaded_but_not_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let first = pack("perspectium");
    let next = version(folder.path(), "2", ("2026-11-02", "2099-01-01"), MORE);
    let upstream = Upstream::start();
    // Versions are ordered by date, not as listed.
    let gateway = TestGateway::start(&config_of(&[&next, &first], upstream.address));
    let policies = gateway.get_admin("/v1/policies").json();
    assert_eq!((&policies[0]["version"], &policies[0]["in_force"]), (&"1".into(), &true.into()));
    assert_eq!((&policies[1]["version"], &policies[1]["in_force"]), (&"2".into(), &false.into()));
    assert!(gateway.metrics().contains("version=\"1\"") && !gateway.metrics().contains("version=\"2\""));
}

#[test]
fn a_version_that_discloses_more_needs_thirty_business_days_of_notice() {
    let folder = tempfile::tempdir().unwrap();
    let first = pack("perspectium");
    // 2026-01-06 is a Tuesday; thirty business days later is 2026-02-17.
    let late = version(folder.path(), "2", ("2026-01-06", "2026-02-16"), MORE);
    let found = findings(&[&first, &late], &folder);
    assert!(
        found.contains("version 2 releases what version 1 does not, and was announced 29 business days"),
        "{found}"
    );
    let in_time = version(folder.path(), "3", ("2026-01-06", "2026-02-17"), MORE);
    assert_eq!(findings(&[&first, &in_time], &folder), "");
    let less = version(folder.path(), "4", ("2026-01-06", "2026-01-06"), LESS);
    assert_eq!(findings(&[&first, &less], &folder), "");
}

#[test]
fn exactly_one_version_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let waiting = version(folder.path(), "2", ("2026-01-06", "2099-01-01"), "");
    let found = findings(&[&waiting], &folder);
    assert!(found.contains("no version of this pack is in force before 2099-01-01"), "{found}");
    let file = folder.path().join("purposegate.toml");
    let (_, out, _) = run(["check", "--format", "json", "--config", file.to_str().unwrap()]);
    assert!(out.contains("; today is 2") && out.contains(" by the clock of this machine"), "{out}");
    let same_day = version(folder.path(), "3", ("2026-01-05", "2026-01-05"), "");
    let found = findings(&[&pack("perspectium"), &same_day], &folder);
    assert!(found.contains("come into force on the same day"), "{found}");
}

/// Starts a gateway with these versions in this folder; returns the error if it does not start.
fn refusal(folder: &TempDir, versions: &[&Path]) -> Option<String> {
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, config_of(versions, "127.0.0.1:1".parse().unwrap())).unwrap();
    let (loaded, findings) = config::load(&file);
    let loaded = loaded.unwrap_or_else(|| panic!("{findings:#?}"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Gateway::bind(loaded)).err().map(|error| error.to_string())
}

/// Runs `check` on the configuration in a folder; returns its exit status and its findings.
fn check(folder: &TempDir) -> (i32, String) {
    let file = folder.path().join("purposegate.toml");
    let (status, _, findings) = run(["check", "--config", file.to_str().unwrap()]);
    (status, findings)
}

#[test]
fn restarts_and_backdated_announcements_do_not_avoid_the_notice() {
    let packs = tempfile::tempdir().unwrap();
    let first = version(packs.path(), "1", ("2025-01-06", "2026-01-05"), "");
    let upstream = Upstream::start();
    let gateway = TestGateway::start(&config_of(&[&first], upstream.address));
    let folder = gateway.end();
    // The pack is edited in place while no gateway runs.
    let rules = first.join("4-more.cedar");
    std::fs::write(&rules, MORE).unwrap();
    let why = refusal(&folder, &[&first]).unwrap();
    assert!(why.contains("change-not-announced: version 1 releases what version 1 does not"), "{why}");
    let (status, said) = check(&folder);
    assert!(status == 1 && said.contains("change-not-announced"), "{status}: {said}");
    let place = first.join("pack.toml").display().to_string();
    assert!(said.contains(&format!("{place}:")), "{said}");
    std::fs::write(&rules, LESS).unwrap();
    // Its announcement is dated long ago, but no gateway has seen it.
    let backdated = version(packs.path(), "2", ("2025-01-06", "2026-06-01"), MORE);
    let why = refusal(&folder, &[&first, &backdated]).unwrap();
    assert!(why.contains("was known to this gateway 0 business days ahead"), "{why}");
    // A change that discloses less takes effect at once; `check` agrees while the gateway holds the ledger.
    let gateway = TestGateway::start_in(folder, &config_of(&[&first], upstream.address));
    assert_eq!(check(&gateway.folder).0, 0);
    let folder = gateway.end();
    std::fs::write(&rules, "// Nothing more, and what was always there.\n").unwrap();
    assert!(refusal(&folder, &[&first]).unwrap().contains("change-not-announced"));
    // `check` reports that it cannot compare with a ledger that it cannot read.
    std::fs::remove_file(folder.path().join("data/keys")).unwrap();
    let (status, said) = check(&folder);
    assert!(said.contains("notice-not-compared"), "{said}");
    // Nor does `serve` start then.
    assert!(status == 1 && said.contains("bad-key-file") && said.contains("restore the key file"), "{said}");
    assert!(!folder.path().join("data/keys").exists(), "`check` makes no keys");
}
