//! Commands on a ledger in PostgreSQL: migrations, copies, events, TLS and passwords. Skipped, with a message, where
//! PostgreSQL is not installed.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::findings::SOUND;
use crate::gateway::pack;
use crate::postgres_server::PostgresServer;
use crate::program::{Run, run};

/// The keys of a gateway, and configurations with them.
struct Place {
    folder: TempDir,
}

impl Place {
    /// Makes keys and an embedded ledger.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.configure("");
        assert_eq!(place.run(&["ledger", "migrate"]).0, 0);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, section: &str) {
        let policy = pack("one-partner-360").display().to_string();
        let text = format!("policy = {policy:?}\n{SOUND}{section}\n");
        std::fs::write(self.path("purposegate.toml"), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_in(&[], arguments)
    }

    /// Runs a command with the configuration and with these environment variables.
    fn run_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_purposegate"));
        command.args(arguments).arg("--config").arg(self.path("purposegate.toml"));
        command.env_remove("PGPASSWORD").env_remove("PGPASSFILE").envs(environment.iter().copied());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

/// Returns the URL of a new database, over the server's Unix socket.
fn new_database(server: &PostgresServer) -> String {
    let (database, port) = (server.create_database(""), server.port());
    format!("postgres://postgres@/{database}?host={}&port={port}", server.socket_folder().display())
}

#[test]
fn a_ledger_moves_to_postgresql_and_back() {
    let Some(server) = PostgresServer::shared() else { return };
    let (place, url) = (Place::new(), new_database(server));
    for person in ["ada", "ben", "eve"] {
        assert_eq!(place.run(&["consent", "give", person, "--purpose", "marketing"]).0, 0);
    }
    let embedded = format!("sqlite:{}", place.path("data/ledger.db").display());
    let (status, out, err) = place.run(&["ledger", "copy", &embedded, &url]);
    assert!(status == 0 && out.ends_with("both ledgers hold the same\n"), "{out}{err}");

    place.configure(&format!("[ledger]\nurl = {url:?}"));
    let (status, out, err) = place.run(&["ledger", "migrate"]);
    assert!(status == 0 && out.contains("nothing to do, it has version"), "{out}{err}");
    assert!(place.run(&["consent", "show", "ada"]).1.contains("given"));
    let (status, answer, err) = place.run(&["consent", "withdraw", "ada", "--purpose", "marketing"]);
    assert_eq!(status, 0, "{err}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["durable"], &answer["in_force"]), (&true.into(), &"everywhere".into()));
    assert!(place.run(&["consent", "show", "ada"]).1.contains("withdrawn"));
    assert_eq!(place.run(&["consent", "export"]).1.lines().count(), 4);
    let (status, _, err) = place.run(&["check"]);
    assert!(status == 0 && !err.contains("notice-not-compared"), "{err}");
    let (status, out, _) = place.run(&["ledger", "accept-history"]);
    assert!(status == 0 && out.contains("nothing is missing"), "{out}");

    let back = format!("sqlite:{}", place.path("back.db").display());
    let (status, out, err) = place.run(&["ledger", "copy", &url, &back]);
    assert!(status == 0 && out.ends_with("both ledgers hold the same\n"), "{out}{err}");
    let (status, _, err) = place.run(&["ledger", "copy", &back, &url]);
    assert!(status == 1 && err.contains("not empty") && err.contains("DROP SCHEMA"), "{err}");
    place.configure(&format!("[ledger]\nurl = {back:?}"));
    assert!(place.run(&["consent", "show", "ada"]).1.contains("withdrawn"));
}

#[test]
fn a_start_without_migration_says_what_to_do() {
    let Some(server) = PostgresServer::shared() else { return };
    let (place, url) = (Place::new(), new_database(server));
    place.configure(&format!("[ledger]\nurl = {url:?}\nmigrate = false"));
    let (status, _, err) = place.run(&["consent", "give", "ada", "--purpose", "marketing"]);
    assert!(status == 2 && err.contains("purposegate ledger migrate"), "{err}");
    let (status, out, err) = place.run(&["ledger", "migrate"]);
    assert!(status == 0 && out.contains("created with version"), "{out}{err}");
    assert_eq!(place.run(&["consent", "give", "ada", "--purpose", "marketing"]).0, 0);

    let other = Place::new();
    other.configure(&format!("[ledger]\nurl = {url:?}"));
    let (status, _, err) = other.run(&["consent", "show", "ada"]);
    assert!(status == 2 && err.contains("made under other keys"), "{err}");
}

#[test]
fn a_loss_that_gateways_reported_is_accepted() {
    let Some(server) = PostgresServer::shared() else { return };
    let (place, url) = (Place::new(), new_database(server));
    place.configure(&format!("[ledger]\nurl = {url:?}"));
    assert_eq!(place.run(&["consent", "give", "ada", "--purpose", "marketing"]).0, 0);
    let database = url.split(['/', '?']).nth(3).unwrap();
    let lose =
        "INSERT INTO purposegate.losses (behind, until, reported) VALUES (1, 7, '2026-11-21T12:00:00Z');
                UPDATE purposegate.ledger_head SET lost = 7, position = 7";
    server.psql(database, lose);
    let copy = format!("sqlite:{}", place.path("copy.db").display());
    let (status, _, err) = place.run(&["ledger", "copy", &url, &copy]);
    assert!(status == 1 && err.contains("accept the loss first"), "{err}");
    let (status, out, err) = place.run(&["ledger", "accept-history"]);
    assert!(status == 0 && out.contains("positions 2 to 7 are lost"), "{out}{err}");
    assert_eq!(place.run(&["consent", "give", "ben", "--purpose", "marketing"]).0, 0);
    std::fs::remove_file(place.path("copy.db")).unwrap();
    let (status, out, err) = place.run(&["ledger", "copy", &url, &copy]);
    assert!(status == 0 && out.contains("events: 2, up to position 8"), "{out}{err}");
}

#[test]
fn a_server_that_cannot_be_reached_is_a_finding_in_bounded_time() {
    let place = Place::new();
    // A port that accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for url in ["postgres://u@127.0.0.1:1/d".to_owned(), format!("postgres://u@127.0.0.1:{port}/d")] {
        place.configure(&format!("[ledger]\nurl = {url:?}"));
        let began = Instant::now();
        let (status, _, err) = place.run(&["check"]);
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert!(
            status == 0 && err.contains("notice-not-compared") && err.contains("cannot connect"),
            "{err}"
        );
    }
}

/// Copies a file for the server: into its folder, as its own file.
fn give(server: &PostgresServer, file: &Path, name: &str) -> String {
    let own = server.socket_folder().join(name);
    std::fs::copy(file, &own).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600)).unwrap();
    let owner = std::fs::metadata(server.socket_folder().join("data")).unwrap();
    chown(&own, Some(owner.uid()), Some(owner.gid())).unwrap();
    own.display().to_string()
}

/// Makes the server speak TLS with the certificate in a folder, and ask the role `ledger` for its password over TCP.
fn secure(server: &PostgresServer, certificates: &Path) {
    let certificate = give(server, &certificates.join("server.pem"), "server.pem");
    let key = give(server, &certificates.join("server.key"), "server.key");
    let rules = server.socket_folder().join("data/pg_hba.conf");
    let trusted = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("host all ledger all scram-sha-256\n{trusted}")).unwrap();
    for statement in [
        "CREATE ROLE ledger LOGIN PASSWORD 'sesame'",
        &format!("ALTER SYSTEM SET ssl_cert_file = '{certificate}'"),
        &format!("ALTER SYSTEM SET ssl_key_file = '{key}'"),
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        server.psql("postgres", statement);
    }
    let began = Instant::now();
    while server.psql("postgres", "SHOW ssl") != "on" {
        assert!(began.elapsed() < Duration::from_secs(20), "TLS stays off");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_server_is_verified_and_asked_with_the_password() {
    let Some(server) = PostgresServer::start(&[]) else { return };
    let place = Place::new();
    for (folder, name) in [("certs", "localhost"), ("others", "other.example")] {
        let folder = place.path(folder).display().to_string();
        assert_eq!(run(["certs", "dev", "--out", &folder, "--name", name]).0, 0);
    }
    secure(&server, &place.path("certs"));
    let database = server.create_database("OWNER ledger");
    let url = |host: &str, mode: &str| {
        format!("url = \"postgres://ledger@{host}:{}/{database}?sslmode={mode}\"\n", server.port())
    };
    let with_ca = |host: &str| format!("[ledger]\nca = \"certs/ca.pem\"\n{}", url(host, "require"));
    let password = place.path("password");
    std::fs::write(&password, "sesame\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let pgpass = place.path("pgpass");
    std::fs::write(&pgpass, format!("localhost:{}:*:ledger:sesame\n", server.port())).unwrap();
    std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o600)).unwrap();
    let pgpass = pgpass.display().to_string();

    place.configure(&with_ca("localhost"));
    let migrate = |environment: &[(&str, &str)]| place.run_in(environment, &["ledger", "migrate"]);
    for (environment, outcome) in [
        (&[][..], 2),
        (&[("PGPASSWORD", "sesam")], 2),
        (&[("PGPASSWORD", "sesame")], 0),
        (&[("PGPASSFILE", &pgpass)], 0),
    ] {
        let (status, out, err) = migrate(environment);
        assert_eq!(status, outcome, "{environment:?}: {out}{err}");
        assert!(!err.contains("sesam"), "{err}");
    }
    place.configure(&format!("{}password-file = \"password\"\n", with_ca("localhost")));
    assert_eq!(migrate(&[]).0, 0);

    let sesame = &[("PGPASSWORD", "sesame")][..];
    for (section, status) in [
        // Another name than the certificate's, another authority, the system's authorities.
        (with_ca("127.0.0.1"), 2),
        (with_ca("localhost").replace("certs/ca", "others/ca"), 2),
        (format!("[ledger]\n{}", url("localhost", "verify-full")), 2),
        (format!("[ledger]\n{}", url("127.0.0.1", "disable")), 0),
    ] {
        place.configure(&section);
        let (got, out, err) = migrate(sesame);
        assert_eq!(got, status, "{section}: {out}{err}");
    }
    let refuse = "host all ledger all reject\n";
    let rules = server.socket_folder().join("data/pg_hba.conf");
    let earlier = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("hostssl all ledger all scram-sha-256\n{refuse}{earlier}")).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    let began = Instant::now();
    while migrate(sesame).0 != 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "the server goes on accepting plaintext");
    }
    place.configure(&with_ca("localhost"));
    assert_eq!(migrate(sesame).0, 0, "the connection is encrypted");
}

/// Returns the statements of the SQL blocks under this heading of docs/postgresql.md.
fn documented_sql(heading: &str) -> Vec<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/postgresql.md");
    let document = std::fs::read_to_string(file).unwrap();
    let section = document.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks = section.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let statements = |block: &str| block.split_inclusive(";\n").map(str::to_owned).collect();
    blocks.map(statements).collect()
}

#[test]
fn the_documented_grants_are_enough_for_a_gateway_and_do_not_let_it_change_events() {
    let Some(server) = PostgresServer::shared() else { return };
    let [roles, grants] = &documented_sql("Roles and grants")[..] else { panic!("there are two blocks") };
    roles.iter().for_each(|statement| drop(server.psql("postgres", statement)));
    let place = Place::new();
    let configure = |role: &str, migrate: bool| {
        let address =
            format!("{role}@/purposegate?host={}&port={}", server.socket_folder().display(), server.port());
        place.configure(&format!("[ledger]\nurl = \"postgres://{address}\"\nmigrate = {migrate}"));
    };
    configure("purposegate_owner", true);
    let (status, out, err) = place.run(&["ledger", "migrate"]);
    assert!(status == 0 && out.contains("created with version"), "{out}{err}");
    configure("purposegate_gateway", false);
    let (status, _, err) = place.run(&["consent", "give", "ada", "--purpose", "marketing"]);
    assert!(status == 2 && err.contains("GRANT USAGE ON SCHEMA purposegate"), "{err}");
    for statement in grants {
        server.psql("purposegate", &format!("SET ROLE purposegate_owner; {statement}"));
    }
    for verb in ["give", "withdraw"] {
        let (status, answer, err) = place.run(&["consent", verb, "ada", "--purpose", "marketing"]);
        assert!(status == 0 && answer.contains("\"everywhere\""), "{answer}{err}");
    }
    let (status, out, err) = place.run(&["ledger", "accept-history"]);
    assert!(status == 0 && out.contains("nothing is missing"), "{out}{err}");
    for statement in [
        "DELETE FROM purposegate.events",
        "UPDATE purposegate.events SET event = ''",
        "TRUNCATE purposegate.events",
        "DROP TABLE purposegate.recipients",
        "CREATE TABLE purposegate.more ()",
    ] {
        let refused = server.try_psql("purposegate", &format!("SET ROLE purposegate_gateway; {statement}"));
        let error = refused.expect_err(statement);
        assert!(
            error.contains("permission denied") || error.contains("must be owner"),
            "{statement}: {error}"
        );
    }
}
