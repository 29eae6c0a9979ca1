//! The history of the server of a shared ledger: failovers, restores from a backup, a full disk, upgrades of the schema.
//! Skipped, with a message, where PostgreSQL is not installed.

use std::time::{Duration, Instant};

use crate::fixtures::{CONSENT, KNOWN, NOTICE};
use crate::gateway::{TestGateway, wait_until};
use crate::ledger_sharers::{SharedLedger, WITHDRAWN, ask, everywhere, is_closed, is_marketed, run_in};
use crate::postgres_server::PostgresServer;

/// The position up to which events are lost and nobody has accepted it; empty if there is none.
const LOST: &str = "SELECT lost FROM purposegate.ledger_head";

/// The number of withdrawals, and the position of the first.
const WITHDRAWALS: &str =
    "SELECT count(*), min(position) FROM purposegate.events WHERE event LIKE '%consent-withdrawn%'";

/// The head, and the positions that several events have.
const POSITIONS: &str = "
    SELECT (SELECT position FROM purposegate.ledger_head),
           (SELECT count(*) FROM (SELECT position FROM purposegate.events GROUP BY 1 HAVING count(*) > 1) twice)";

/// Asserts that gateways release nothing for longer than a lease lasts.
#[track_caller]
fn assert_closed(gateways: &[TestGateway]) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert!(gateways.iter().all(is_closed));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until all gateways release what they may, and asserts that they release nothing of `p-1`.
fn wait_until_open(gateways: &[TestGateway]) {
    for gateway in gateways {
        wait_until(|| {
            assert!(!is_marketed(gateway, "p-1"));
            is_marketed(gateway, "p-2")
        });
    }
}

#[test]
fn after_a_failover_that_lost_a_withdrawal_nothing_leaves_until_the_loss_is_accepted() {
    let Some(primary) = PostgresServer::start(&[]) else { return };
    let standby = primary.start_follower();
    let ledger = SharedLedger::new(&[&primary, &standby]);
    let [one, two] = ledger.start_two();
    primary.wait_for_follower(&standby);
    standby.kill();
    everywhere(&one, "p-1", WITHDRAWN);
    let head = primary.psql(&ledger.database, "SELECT position FROM purposegate.ledger_head");
    primary.kill();
    standby.run();
    standby.promote();

    let psql = |sql: &str| standby.psql(&ledger.database, sql);
    let gateways = [one, two];
    wait_until(|| {
        assert!(gateways.iter().all(|gateway| !is_marketed(gateway, "p-1")));
        !psql(LOST).is_empty()
    });
    wait_until(|| psql(WITHDRAWALS).starts_with("1|"));
    assert_closed(&gateways);
    let [one, two] = gateways;
    let gateways = [ledger.restart(one, "gateway-1"), two];
    assert_closed(&gateways);
    let [one, two] = gateways;
    let gateways = [one, ledger.restart(two, "gateway-2")];
    assert_closed(&gateways);

    let (status, out, err) = run_in(&gateways[0].folder, &["ledger", "accept-history"]);
    assert!(status == 0 && out.contains("are lost; the gateways release again"), "{out}{err}");
    wait_until_open(&gateways);
    gateways[1].record_event("p-1", NOTICE);
    let again: u64 = psql(WITHDRAWALS).strip_prefix("1|").unwrap().parse().unwrap();
    assert!(again > head.parse().unwrap(), "no position is used twice: {again} {head}");
    assert!(psql(POSITIONS).ends_with("|0"));
    let (status, out, _) = run_in(&gateways[1].folder, &["ledger", "accept-history"]);
    assert!(status == 0 && out.contains("nothing is missing"), "{out}");
}

#[test]
fn after_a_failover_without_a_loss_gateways_go_on() {
    let Some(primary) = PostgresServer::start(&[]) else { return };
    let standby = primary.start_follower();
    let ledger = SharedLedger::new(&[&primary, &standby]);
    let gateways = ledger.start_two();
    everywhere(&gateways[0], "p-1", WITHDRAWN);
    primary.wait_for_follower(&standby);
    primary.kill();
    standby.promote();
    wait_until_open(&gateways);
    assert_eq!(standby.psql(&ledger.database, LOST), "");
    // Leases of the former server may be unknown, so nothing is said to be in force everywhere for half a minute.
    let event = gateways[1].record_event("p-2", WITHDRAWN);
    assert_eq!(event["in_force"], "here");
    wait_until(|| !is_marketed(&gateways[0], "p-2"));
    let servers = "SELECT count(*), count(*) FILTER (WHERE settled) FROM purposegate.servers";
    let (status, out, err) = run_in(&gateways[0].folder, &["ledger", "accept-history"]);
    assert!(status == 0 && out.contains("nothing is missing"), "{out}{err}");
    wait_until(|| standby.psql(&ledger.database, servers) == "2|1");
}

/// Returns the commands of a block in docs/backup.md that begins with this comment.
fn documented(comment: &str) -> String {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backup.md")).unwrap();
    let (_, block) = document.split_once(&format!("\n# {comment}\n")).expect(comment);
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_database_restored_from_an_older_backup_is_noticed_at_the_start_and_while_gateways_run() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let [one, two] = ledger.start_two();
    let backups = tempfile::tempdir().unwrap();
    let shell = |commands: &str| {
        server.run_shell(backups.path(), &format!("export PGDATABASE={}\n{commands}", ledger.database));
    };
    shell(&documented("Back up a ledger in PostgreSQL"));
    everywhere(&one, "p-1", WITHDRAWN);
    let stopped = two.end();
    // A gateway runs, which should not be.
    shell(&documented("Restore a ledger in PostgreSQL"));
    let psql = |sql: &str| server.psql(&ledger.database, sql);
    wait_until(|| !psql(LOST).is_empty());
    assert!(!is_marketed(&one, "p-1"));
    assert_closed(std::slice::from_ref(&one));
    wait_until(|| psql(WITHDRAWALS).starts_with("1|"));
    let two = TestGateway::start_in(stopped, &ledger.config("gateway-2"));
    let gateways = [one, two];
    assert_closed(&gateways);
    let (status, out, err) = run_in(&gateways[1].folder, &["ledger", "accept-history"]);
    assert_eq!(status, 0, "{out}{err}");
    wait_until_open(&gateways);

    let [one, two] = gateways.map(TestGateway::end);
    shell(&documented("Restore a ledger in PostgreSQL"));
    for (folder, name) in [(&one, "gateway-1"), (&two, "gateway-2")] {
        let (status, _, err) = run_in(folder, &["serve"]);
        assert!(status == 2 && err.contains("accept-history"), "{name}: {err}");
    }
    // Each witness is enough: the mark, the log.
    let mark = std::fs::read_dir(one.path().join("data")).unwrap().map(|entry| entry.unwrap().path());
    let mark = mark.filter(|path| path.display().to_string().contains("keys.position-"));
    mark.for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(run_in(&one, &["serve"]).2.contains("accept-history"), "the log knows the position");
    std::fs::remove_dir_all(two.path().join("data/audit")).unwrap();
    assert!(run_in(&two, &["serve"]).2.contains("accept-history"), "the mark knows the position");
    let (status, out, err) = run_in(&two, &["ledger", "accept-history"]);
    assert!(status == 0 && out.contains("are lost; the ledger continues at"), "{out}{err}");
    let (status, _, err) = run_in(&two, &["serve"]);
    assert!(status == 2 && err.contains("knows the disclosure log `gateway-2/"), "{err}");
    let (status, out, err) = run_in(&two, &["audit", "accept-loss", "--reason", "removed"]);
    assert!(status == 0 && out.contains("accepted: the log gateway-2/"), "{out}{err}");
    let gateway = TestGateway::start_in(two, &ledger.config("gateway-2"));
    wait_until(|| is_marketed(&gateway, "p-2"));
    everywhere_after_settling(server, &ledger, &gateway);
    assert!(psql(POSITIONS).ends_with("|0"));
}

/// Records an event once the leases from before a restore count as over, as half a minute later.
fn everywhere_after_settling(server: &PostgresServer, ledger: &SharedLedger, gateway: &TestGateway) {
    assert_eq!(gateway.record_event("p-2", NOTICE)["in_force"], "here");
    let unsettled = "SELECT count(*) FROM purposegate.servers WHERE NOT settled";
    wait_until(|| server.psql(&ledger.database, unsettled) == "1");
    server.psql(&ledger.database, "UPDATE purposegate.servers SET settled = true");
    everywhere(gateway, "p-1", WITHDRAWN);
}

#[test]
fn a_ledger_file_restored_from_an_older_backup_is_noticed_at_the_start() {
    let gateway = TestGateway::start(&crate::gateway::base("127.0.0.1:1".parse().unwrap()));
    gateway.record_event("p-1", NOTICE);
    gateway.record_event("p-1", CONSENT);
    let folder = gateway.end();
    let shell = |comment: &str| {
        let command = documented(comment);
        let run = std::process::Command::new("sh").args(["-ec", &command]).current_dir(&folder).status();
        assert!(run.unwrap().success(), "{command}");
    };
    shell("Back up a ledger in a file");
    let config = std::fs::read_to_string(folder.path().join("purposegate.toml")).unwrap();
    let gateway = TestGateway::start_in(folder, &config);
    gateway.record_event("p-1", WITHDRAWN);
    let folder = gateway.end();
    let shell = |comment: &str| {
        let command = documented(comment);
        let run = std::process::Command::new("sh").args(["-ec", &command]).current_dir(&folder).status();
        assert!(run.unwrap().success(), "{command}");
    };
    shell("Restore a ledger in a file");
    let (status, _, err) = run_in(&folder, &["serve"]);
    assert!(status == 2 && err.contains("accept-history"), "{err}");
    assert_eq!(run_in(&folder, &["ledger", "accept-history"]).0, 0);
    let gateway = TestGateway::start_in(folder, &config);
    let state = gateway.get_admin("/v1/subjects/p-1").text();
    assert!(state.contains("given"), "{state}");
}

#[test]
fn nothing_is_acknowledged_that_a_full_disk_does_not_hold_and_releases_stop_until_there_is_room() {
    let Some(server) = PostgresServer::start_on_small_disk(&["max_wal_size=16MB"], 96) else { return };
    let ledger = SharedLedger::new(&[&server]);
    let gateways = ledger.start_two();
    everywhere(&gateways[0], "p-1", WITHDRAWN);
    let filler = server.data().join("filler");
    let fill = || {
        let mut file = std::fs::File::options().append(true).create(true).open(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
    };
    fill();
    let mut acknowledged: Vec<String> = Vec::new();
    let began = Instant::now();
    loop {
        let id = format!("n-{}", acknowledged.len());
        let answer = gateways[0].post_admin(&format!("/v1/subjects/{id}/events"), KNOWN);
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{}", answer.text());
            break;
        }
        acknowledged.push(id);
        assert!(began.elapsed() < Duration::from_secs(60), "the disk does not become full");
    }
    // The write-ahead log needs room, too.
    wait_until(|| {
        fill();
        let _ = server.try_psql("postgres", "SELECT pg_switch_wal()");
        gateways.iter().all(is_closed)
    });
    assert_eq!(gateways[0].get_admin("/readyz").status, 503);
    std::fs::remove_file(&filler).unwrap();
    server.kill();
    server.run();
    wait_until_open(&gateways);
    let ids = server.psql(&ledger.database, "SELECT id FROM purposegate.events WHERE id LIKE 'n-%'");
    let ids: std::collections::BTreeSet<&str> = ids.lines().collect();
    assert!(acknowledged.iter().all(|id| ids.contains(id.as_str())), "{ids:?}");
    for id in ids {
        let known = |gateway: &TestGateway| gateway.get_admin(&format!("/v1/subjects/{id}")).status == 200;
        wait_until(|| gateways.iter().all(known));
    }
    everywhere(&gateways[1], "p-2", WITHDRAWN);
    assert!(!is_marketed(&gateways[0], "p-2"));
    assert_eq!(server.psql(&ledger.database, LOST), "");
}

#[test]
fn a_later_schema_is_used_if_it_lets_earlier_programs_and_otherwise_nothing_leaves() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let gateways = ledger.start_two();
    let psql = |sql: &str| server.psql(&ledger.database, sql);
    // As the migration of a later program does.
    psql(
        "BEGIN; SELECT FROM purposegate.ledger_head FOR UPDATE;
         ALTER TABLE purposegate.gateways ADD COLUMN zone text;
         ALTER TABLE purposegate.events ADD COLUMN origin text;
         UPDATE purposegate.ledger SET version = version + 1; COMMIT",
    );
    everywhere(&gateways[0], "p-1", WITHDRAWN);
    wait_until_open(&gateways);
    let [one, two] = gateways;
    let gateways = [one, ledger.restart(two, "gateway-2")];
    wait_until_open(&gateways);
    everywhere(&gateways[1], "p-1", CONSENT);
    assert!(gateways.iter().all(|gateway| is_marketed(gateway, "p-1")));
    let (status, out, _) = run_in(&gateways[0].folder, &["ledger", "migrate"]);
    assert!(status == 0 && out.contains("nothing to do, it has version 5"), "{out}");
    // The later program registers, with what this one does not know.
    psql("UPDATE purposegate.gateways SET zone = 'b'");
    assert!(gateways.iter().all(|gateway| is_marketed(gateway, "p-1")));

    psql("UPDATE purposegate.ledger_head SET compatible_from = (SELECT version FROM purposegate.ledger)");
    wait_until(|| gateways.iter().all(is_closed));
    assert_closed(&gateways);
    let before = psql("SELECT count(*) FROM purposegate.events");
    assert_eq!(gateways[0].post_admin("/v1/subjects/p-2/events", WITHDRAWN).status, 503);
    let [one, two] = gateways.map(TestGateway::end);
    for (folder, arguments) in
        [(&one, &["serve"][..]), (&two, &["ledger", "migrate"]), (&two, &["consent", "show", "p-1"])]
    {
        let (status, _, err) = run_in(folder, arguments);
        assert!(status == 2 && err.contains("install the newer program"), "{arguments:?}: {err}");
    }
    assert_eq!(psql("SELECT count(*) FROM purposegate.events"), before);
    assert_eq!(psql("SELECT count(*) FROM purposegate.gateways"), "0", "they have left");
    psql("UPDATE purposegate.ledger_head SET compatible_from = 1");
    let gateway = TestGateway::start_in(one, &ledger.config("gateway-1"));
    wait_until(|| ask(&gateway, "p-1").status == 200);
}
