//! The section `[ledger]` of a gateway whose ledger is in PostgreSQL: what `check` says about it, and what it never shows.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use purposegate::config::ledger::postgres_url::PostgresUrl;
use purposegate::config::{self, LedgerUrl};
use purposegate::finding::Finding;
use tempfile::TempDir;

use crate::findings::{SOUND, folder, rendered};
use crate::gateway::pack;
use crate::program::run;

/// Makes a folder with a configuration that has this section, the keys, certificates and a password file.
fn configured(section: &str) -> TempDir {
    let top = format!("policy = {:?}\n", pack("one-partner-360").display().to_string());
    let text = format!("{top}{SOUND}[ledger]\n{section}\n");
    let folder = folder(&[("purposegate.toml", &text), ("data/keys", "keys"), ("password", "sesame\n")]);
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("password"), mode).unwrap();
    let certificates = folder.path().join("certs").display().to_string();
    assert_eq!(run(["certs", "dev", "--out", &certificates]).0, 0);
    folder
}

/// Loads a configuration. Returns the database that it names, and the findings about the ledger.
fn load(folder: &Path) -> (Option<PostgresUrl>, Vec<Finding>) {
    let (config, mut findings) = config::load(&folder.join("purposegate.toml"));
    findings.retain(|finding| !["no-route", "few-open-files"].contains(&finding.code()));
    let server = config.and_then(|config| match config.ledger.url {
        LedgerUrl::Postgres(server) => Some(*server),
        LedgerUrl::Sqlite(_) => None,
    });
    (server, findings)
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(Finding::code).collect()
}

#[test]
fn the_keys_of_a_ledger_in_postgresql_are_read() {
    let folder = configured(
        "url = \"postgresql://ledger@db1,db2:6432/pg\"\npassword-file = \"password\"\nca = \"certs/ca.pem\"\n\
         client-certificate = \"certs/client.pem\"\nclient-key = \"certs/client.key\"\nmigrate = false\n\
         max-staleness = \"500ms\"",
    );
    let (server, findings) = load(folder.path());
    assert!(findings.is_empty(), "{}", rendered(&findings, folder.path()));
    let server = server.unwrap();
    assert_eq!(server.host_list(), "db1:5432,db2:6432");
    let password = server.find_password(|_| None).unwrap().unwrap();
    assert_eq!(password.reveal(), "sesame");
    let tls = server.tls.unwrap();
    assert_eq!(tls.ca, Some(folder.path().join("certs/ca.pem")));
    assert_eq!(tls.identity.unwrap().1, folder.path().join("certs/client.key"));
}

#[test]
fn mistakes_about_a_ledger_in_postgresql_are_found() {
    let url = "url = \"postgres://ledger@db/pg\"\n";
    let local = "url = \"postgres://ledger@localhost/pg\"\n";
    for (section, expected) in [
        (url.to_owned(), &[][..]),
        (format!("{url}ca = \"certs/none.pem\""), &["no-such-file"]),
        (format!("{url}ca = \"certs/server.key\""), &["bad-tls"]),
        (format!("{url}client-certificate = \"certs/client.pem\""), &["missing-key"]),
        (format!("{url}client-key = \"certs/client.key\""), &["missing-key"]),
        (
            format!("{url}client-certificate = \"certs/client.pem\"\nclient-key = \"certs/server.key\""),
            &["bad-tls"],
        ),
        (format!("{url}password-file = \"none\""), &["no-such-file"]),
        (local.to_owned(), &[]),
        (format!("{local}ca = \"certs/ca.pem\""), &["misplaced-key"]),
        ("url = \"postgres://ledger@db/pg?sslmode=disable\"".to_owned(), &["plaintext-ledger"]),
        ("url = \"postgres://ledger@db/pg?sslmode=prefer\"".to_owned(), &["bad-ledger-url"]),
        ("url = \"postgres://db/pg\"\npassword-file = \"password\"".to_owned(), &["bad-ledger-url"]),
        ("url = \"postgres://ledger:sesame@db/pg\"".to_owned(), &["password-in-config"]),
        (
            "allow = [\"password-in-config\"]\nurl = \"postgres://ledger:sesame@db/pg\"".to_owned(),
            &["password-in-config"],
        ),
        (
            "url = \"postgres://ledger:sesame@db/pg\"\npassword-file = \"password\"".to_owned(),
            &["bad-ledger-url"],
        ),
    ] {
        let folder = configured(&section);
        let (_, findings) = load(folder.path());
        assert_eq!(codes(&findings), expected, "{section}\n{}", rendered(&findings, folder.path()));
        assert!(!findings.iter().any(|finding| finding.is_warning() && section.starts_with("allow")));
    }
}

#[test]
fn the_keys_must_exist_and_the_password_be_its_owners() {
    let folder = configured("url = \"postgres://ledger@db/pg\"\npassword-file = \"password\"");
    std::fs::remove_file(folder.path().join("data/keys")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.path().join("password"), mode).unwrap();
    let (server, findings) = load(folder.path());
    assert!(server.is_none());
    let mut codes = codes(&findings);
    codes.sort_unstable();
    assert_eq!(codes, ["exposed-password-file", "no-such-file"], "{}", rendered(&findings, folder.path()));
}

#[test]
fn no_excerpt_shows_a_password() {
    for section in [
        "url = \"postgres://ledger:sesame@db/pg?sslmode=nonsense\"\nmax-stalness = 1",
        "max-staleness = 1\nurl = \"postgres://ledger:se/same?sesame@db/pg\"",
        "url = \"postgre://ledger:sesame@db/pg\"",
        "url = \"postgres://ledger@db/pg?password=sesame\"",
        "url = \"postgres://ledger@db/pg\"\npassword = \"sesame\"",
    ] {
        let folder = configured(section);
        let (_, findings) = load(folder.path());
        let text = rendered(&findings, folder.path());
        assert!(!findings.is_empty() && text.contains("ledger"), "{text}");
        assert!(!text.contains("sesame") && !text.contains("same?"), "{text}");
        let file = folder.path().join("purposegate.toml").display().to_string();
        for format in ["text", "json"] {
            let printed = format!("{:?}", run(["check", "--config", &file, "--format", format]));
            assert!(!printed.contains("sesame"), "{printed}");
        }
    }
}
