//! The commands `ledger migrate` and `ledger copy` on SQLite files.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::findings::SOUND;
use crate::gateway::pack;
use crate::program::{Run, run};

/// A folder with a configuration.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(section: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder };
        place.configure(section);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, section: &str) {
        let policy = pack("one-partner-360").display().to_string();
        std::fs::write(self.path("purposegate.toml"), format!("policy = {policy:?}\n{SOUND}{section}\n"))
            .unwrap();
    }

    /// Runs a command with the configuration.
    fn run(&self, arguments: &[&str]) -> Run {
        let config = self.path("purposegate.toml").display().to_string();
        run(arguments.iter().copied().chain(["--config", &config]))
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    fn copy(&self, from: &str, to: &str) -> Run {
        self.run(&["ledger", "copy", &self.url(from), &self.url(to)])
    }
}

fn execute(file: &Path, sql: &str) {
    Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

/// The statements that make a ledger file one of version 3.
const VERSION_3: &str = "DROP TABLE notices; DROP TABLE log_secrets; DROP TABLE policy_versions; DROP TABLE policy_places; DROP TABLE identity; PRAGMA user_version = 3;";

#[test]
fn a_ledger_is_created_and_migrated() {
    let place = Place::new("[ledger]\nmigrate = false");
    let (status, out, _) = place.run(&["ledger", "migrate"]);
    assert!(status == 0 && out.ends_with("ledger.db: created with version 6\n"), "{out}");
    let (status, out, _) = place.run(&["ledger", "migrate"]);
    assert!(status == 0 && out.ends_with("nothing to do, it has version 6\n"), "{out}");
    execute(&place.path("data/ledger.db"), VERSION_3);
    let (status, _, err) = place.run(&["consent", "give", "ada", "--purpose", "marketing"]);
    assert!(status == 2 && err.contains("has version 3") && err.contains("ledger migrate"), "{status} {err}");
    assert_eq!(place.run(&["consent", "show", "ada"]).0, 1, "reading needs no migration");
    let (status, out, _) = place.run(&["ledger", "migrate"]);
    assert!(status == 0 && out.ends_with("migrated from version 3 to version 6\n"), "{out}");
    assert_eq!(place.run(&["consent", "give", "ada", "--purpose", "marketing"]).0, 0);
    execute(&place.path("data/ledger.db"), VERSION_3);
    place.configure("");
    assert_eq!(
        place.run(&["consent", "give", "ada", "--purpose", "marketing"]).0,
        0,
        "migrated at the start"
    );
}

#[test]
fn a_copy_proves_that_it_holds_the_same() {
    let place = Place::new("");
    for person in ["ada", "ben"] {
        assert_eq!(place.run(&["consent", "give", person, "--purpose", "marketing"]).0, 0);
    }
    let (status, out, err) = place.copy("data/ledger.db", "copy/ledger.db");
    assert_eq!((status, err.as_str()), (0, "… 2 events\n"), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], "  events: 2, up to position 2; people and other entities: 2");
    assert_eq!(lines[1..4], lines[5..8], "both digests are printed");
    assert_eq!(lines[8], "both ledgers hold the same");
    assert!(!out.contains("ada"), "{out}");
    place.configure(&format!("[ledger]\nurl = {:?}", place.url("copy/ledger.db")));
    assert!(place.run(&["consent", "show", "ada"]).1.contains("given"));
    assert_eq!(place.run(&["consent", "withdraw", "ada", "--purpose", "marketing"]).0, 0);
}

#[test]
fn a_copy_is_refused_where_it_cannot_be_whole() {
    let place = Place::new("");
    for person in ["ada", "ben"] {
        assert_eq!(place.run(&["consent", "give", person, "--purpose", "marketing"]).0, 0);
    }
    for (from, to, words) in [
        ("data/ledger.db", "data/ledger.db", "to itself"),
        ("none.db", "copy.db", "no ledger at"),
        ("purposegate.toml", "copy.db", "not a ledger"),
        ("data/ledger.db", "purposegate.toml", "not a ledger"),
    ] {
        let (status, out, err) = place.copy(from, to);
        assert!(status != 0 && out.is_empty() && err.contains(words), "{from} {to}: {err}");
    }
    let (status, _, err) =
        place.run(&["ledger", "copy", &place.url("data/ledger.db"), "postgres://u:sesame@h/d?x"]);
    assert!(status == 2 && err.contains("parameter") && !err.contains("sesame"), "{err}");
    assert_eq!(place.copy("data/ledger.db", "copy.db").0, 0);
    let (status, _, err) = place.copy("data/ledger.db", "copy.db");
    assert!(status == 1 && err.contains("not empty") && err.contains("broke off"), "{err}");
}

#[test]
fn a_copy_that_broke_off_is_no_ledger_to_start_with() {
    let place = Place::new("");
    for person in ["ada", "ben"] {
        assert_eq!(place.run(&["consent", "give", person, "--purpose", "marketing"]).0, 0);
    }
    assert_eq!(place.copy("data/ledger.db", "copy.db").0, 0);
    execute(&place.path("copy.db"), "DELETE FROM events WHERE position = 2");
    place.configure(&format!("[ledger]\nurl = {:?}", place.url("copy.db")));
    let (status, _, err) = place.run(&["consent", "give", "ben", "--purpose", "marketing"]);
    assert!(status == 2 && err.contains("ends at position 1, but 2 was acknowledged"), "{err}");
}
