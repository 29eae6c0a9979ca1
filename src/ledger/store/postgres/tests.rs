//! Tests of the PostgreSQL store beyond the contract of [`Store`]: several writers, leases, failures, refusals.

mod deleted_rows;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::rig::PostgresServer;
use super::tables::VERSION;
use super::*;
use crate::keys::LogSecret;
use crate::ledger::entity::Entity;
use crate::ledger::store::tests::{memory, new_event, positions, put, subject};
use crate::ledger::store::{EventRow, SecretChange};

const CHECK: [u8; 16] = [1; 16];
const LEASE: Duration = Duration::from_secs(2);

/// Returns the options for a database of a server, over its Unix socket.
fn options(server: &PostgresServer, database: &str) -> PostgresOptions {
    let mut config = tokio_postgres::Config::new();
    config.host_path(server.socket_folder()).port(server.port()).user("postgres").dbname(database);
    PostgresOptions { server: config, tls: None, lease: LEASE }
}

fn open(server: &PostgresServer, database: &str) -> PostgresStore {
    PostgresStore::open(options(server, database), &CHECK, true).unwrap()
}

/// Opens a ledger with long time limits, for tests of what the store does and not of how long it takes: a busy machine keeps
/// a thread waiting for longer than a short lease permits a transaction to pause.
fn open_patiently(server: &PostgresServer, database: &str) -> PostgresStore {
    let options = PostgresOptions { lease: MAX_LEASE, ..options(server, database) };
    PostgresStore::open(options, &CHECK, true).unwrap()
}

/// Opens an empty ledger on the shared server. `None` without PostgreSQL.
pub(in crate::ledger::store) fn open_empty() -> Option<PostgresStore> {
    let server = PostgresServer::shared()?;
    Some(open_patiently(server, &server.create_database("")))
}

fn alice(position: u64) -> EventRow {
    new_event(subject(None, "alice"), position, None)
}

fn gateway(instance: u128, lease: Duration) -> GatewayDescription {
    GatewayDescription {
        instance: Ulid::from(instance),
        name: Arc::from(format!("gw-{instance}")),
        lease,
        version: Arc::from("1.2.3"),
        namespaces: [7; 32],
        recipients: vec![Arc::from("acme"), Arc::from("globex")],
        packs: vec![(Arc::from("gdpr"), Arc::from("3"))],
    }
}

fn is_transient<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> bool {
    outcome.unwrap_err().transient
}

#[test]
#[allow(clippy::too_many_lines, reason = "writers, reader and checks share the same figures")]
fn several_writers_give_each_position_once_and_nobody_misses_an_event() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    drop(open(server, &database));
    let (writers, batches, size) = (4_u64, 25_u64, 3_u64);
    let done = AtomicBool::new(false);
    // Follows `known`, adds what a store hands over, and returns the new known history.
    let learn = |seen: &mut Vec<u64>, known: &mut KnownHistory, rows: &[EventRow]| {
        seen.extend(rows.iter().map(|row| row.stored.position.0));
        if let Some(last) = rows.last() {
            *known = KnownHistory::ending_with(&last.stored);
        }
    };
    let write = |writer: u64| -> Vec<u64> {
        let store = open_patiently(server, &database);
        let (mut seen, mut known) = (Vec::new(), KnownHistory::default());
        for batch in 0..batches {
            let (mut missed, mut own) = (Vec::new(), Vec::new());
            let appended = store.append(&known, &mut |tail| {
                let row = |n: u64| {
                    let mut row = new_event(
                        subject(None, &format!("{writer}-{batch}-{n}")),
                        tail.last.0 + n,
                        Some(u128::from(writer << 32 | batch << 8 | n).to_be_bytes()),
                    );
                    row.stored.id = Ulid::from(u128::from(writer << 32 | batch << 8 | n));
                    row
                };
                missed.clone_from(&tail.missed);
                own = (1..=size).map(row).collect();
                Ok(own.clone())
            });
            assert_eq!(appended.unwrap(), Appended::Durable);
            learn(&mut seen, &mut known, &missed);
            learn(&mut seen, &mut known, &own);
        }
        if let Continuation::Continues { events, .. } = store.follow(&known, 10_000).unwrap() {
            learn(&mut seen, &mut known, &events);
        }
        seen
    };
    let read = || -> Vec<u64> {
        let store = open_patiently(server, &database);
        let (mut seen, mut known) = (Vec::new(), KnownHistory::default());
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(120), "a writer ended early");
            let was_done = done.load(Ordering::SeqCst);
            let Continuation::Continues { events, .. } = store.follow(&known, 7).unwrap() else { panic!() };
            learn(&mut seen, &mut known, &events);
            if events.is_empty() && was_done {
                return seen;
            }
        }
    };
    let all: Vec<u64> = (1..=writers * batches * size).collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        let writers: Vec<_> = (0..writers).map(|writer| scope.spawn(move || write(writer))).collect();
        for writer in writers {
            let seen = writer.join().unwrap();
            assert!(
                seen.is_sorted() && all.starts_with(&seen),
                "a writer knows everything up to its last event"
            );
        }
        done.store(true, Ordering::SeqCst);
        assert_eq!(reader.join().unwrap(), all);
    });
    let store = open(server, &database);
    let mut scanned: Vec<u64> = Vec::new();
    store
        .scan(&mut |_, stored| {
            scanned.push(stored.position.0);
            // A scan may read the store.
            store.history_end().unwrap();
            true
        })
        .unwrap();
    scanned.sort_unstable();
    assert_eq!(scanned, all);
    assert_eq!(store.entity_ids(EntityKind::Subject, None).unwrap().len(), all.len());
}

#[test]
fn a_renewal_that_waited_for_an_append_is_refused() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let (store, instance) = (open(server, &database), Ulid::from(1_u128));
    store.register(&gateway(1, LEASE)).unwrap();
    put(&store, &[alice(1)]).unwrap();
    assert_eq!(store.renew(instance, Position(0)).unwrap(), Renewal::Behind);
    assert_eq!(store.renew(instance, Position(1)).unwrap(), Renewal::Renewed);
    assert_eq!(store.renew(instance, Position(2)).unwrap(), Renewal::Behind);
    // Another connection holds the lock of an append while the renewal begins, and commits afterwards.
    let while_locked = |change: &str, applied: u64| {
        let sql = format!(
            "BEGIN; SELECT FROM purposegate.ledger_head FOR UPDATE; SELECT pg_sleep(0.4); {change}; COMMIT"
        );
        std::thread::scope(|scope| {
            let append = scope.spawn(|| server.psql(&database, &sql));
            let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
            while server.psql(&database, held) != "1" {}
            let began = Instant::now();
            let renewal = store.renew(instance, Position(applied)).unwrap();
            assert!(began.elapsed() > Duration::from_millis(50), "the renewal did not wait");
            append.join().unwrap();
            renewal
        })
    };
    let append = "UPDATE purposegate.ledger_head SET position = 2";
    assert_eq!(while_locked(append, 1), Renewal::Behind);
    // The gateway has not confirmed the event, and its lease lasts.
    assert_eq!(store.confirmed().unwrap(), Position(1));
    assert_eq!(store.renew(instance, Position(2)).unwrap(), Renewal::Renewed);
    assert_eq!(store.confirmed().unwrap(), Position(2));
    // A loss that is reported meanwhile is seen, although the position does not change.
    let loss = "UPDATE purposegate.ledger_head SET lost = 2";
    assert_eq!(while_locked(loss, 2), Renewal::HistoryLost { until: Position(2) });
}

#[test]
fn an_event_is_in_force_everywhere_when_each_gateway_has_it_or_its_lease_is_over() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let (store, other) = (open(server, &database), open(server, &database));
    let lease = Duration::from_millis(600);
    let (first, second) = (Ulid::from(1_u128), Ulid::from(2_u128));
    store.register(&gateway(1, lease)).unwrap();
    other.register(&gateway(2, lease)).unwrap();
    put(&store, &[alice(1)]).unwrap();
    assert_eq!(store.confirmed().unwrap(), Position(1), "nobody has a lease");
    assert_eq!(store.renew(first, Position(1)).unwrap(), Renewal::Renewed);
    assert_eq!(other.renew(second, Position(1)).unwrap(), Renewal::Renewed);
    put(&store, &[alice(2)]).unwrap();
    assert_eq!(store.renew(first, Position(2)).unwrap(), Renewal::Renewed);
    let began = Instant::now();
    assert_eq!(store.confirmed().unwrap(), Position(1));
    let live: Vec<_> = store.gateways().unwrap().iter().map(|gateway| gateway.live).collect();
    assert_eq!(live, [true, true]);
    // The second gateway is gone. The first stays at the head.
    while store.confirmed().unwrap() < Position(2) {
        assert!(began.elapsed() < lease * 3);
        store.renew(first, Position(2)).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(began.elapsed() >= lease * 101 / 100, "{:?}", began.elapsed());
    let gateways = store.gateways().unwrap();
    assert_eq!(gateways[0].description, gateway(1, lease));
    assert_eq!((gateways[0].live, gateways[1].live), (true, false));
    assert_eq!((gateways[0].applied, gateways[1].applied), (Position(2), Position(1)));
    // It comes back, registers a shorter term, and leaves.
    assert_eq!(other.renew(second, Position(2)).unwrap(), Renewal::Renewed);
    other.register(&gateway(2, lease / 2)).unwrap();
    let longest = "SELECT lease_ms || ' ' || longest_lease_ms FROM purposegate.gateways WHERE name = 'gw-2'";
    assert_eq!(server.psql(&database, longest), "300 600");
    put(&store, &[alice(3)]).unwrap();
    store.renew(first, Position(3)).unwrap();
    assert_eq!(store.confirmed().unwrap(), Position(2));
    other.leave(second).unwrap();
    assert_eq!(store.confirmed().unwrap(), Position(3));
    assert!(is_transient(other.renew(second, Position(3))), "it is not registered any more");
    // The server lost the row of a gateway that goes on.
    server.psql(&database, "DELETE FROM purposegate.gateways");
    assert_eq!(store.renew(first, Position(3)).unwrap(), Renewal::Renewed);
}

#[test]
fn a_gateway_that_others_overtake_renews_while_it_excludes_them() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let (store, other, instance) = (open(server, &database), open(server, &database), Ulid::from(1_u128));
    put(&store, &[alice(1), alice(2)]).unwrap();
    let known = KnownHistory::default();
    assert!(is_transient(store.renew_excluding_writers(instance, &known, &mut |_| Ok(()))), "not registered");
    store.register(&gateway(1, LEASE)).unwrap();
    let mut applied = Vec::new();
    let renewed = std::thread::scope(|scope| {
        let mut append = None;
        let renewed = store.renew_excluding_writers(instance, &known, &mut |tail| {
            applied.extend(tail.missed.iter().map(|row| row.stored.position.0));
            append = Some(scope.spawn(|| other.append(&known, &mut |tail| Ok(vec![alice(tail.last.0 + 1)]))));
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(store.history_end().unwrap().position, Position(2));
            Ok(())
        });
        assert_eq!(append.unwrap().join().unwrap().unwrap(), Appended::Durable);
        renewed.unwrap()
    });
    assert_eq!((renewed, applied), (Renewal::Renewed, vec![1, 2]));
    assert_eq!(
        (store.confirmed().unwrap(), store.history_end().unwrap().position),
        (Position(2), Position(3))
    );
    let refused =
        store.renew_excluding_writers(instance, &known, &mut |_| Err(StoreError::new("testing", "no")));
    assert!(!is_transient(refused));
    assert_eq!(store.confirmed().unwrap(), Position(2));
    let diverges = KnownHistory { position: Position(9), last_event: None };
    let behind = store.renew_excluding_writers(instance, &diverges, &mut |_| panic!());
    assert_eq!(behind.unwrap(), Renewal::Behind);
    store.report_loss(Position(3), Timestamp::UNIX_EPOCH).unwrap();
    let lost = store.renew_excluding_writers(instance, &known, &mut |_| panic!());
    assert_eq!(lost.unwrap(), Renewal::HistoryLost { until: Position(4) });
}

#[test]
fn after_a_failover_nothing_is_confirmed_while_lost_leases_may_last() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let store = open(server, &database);
    put(&store, &[alice(1)]).unwrap();
    assert_eq!(store.confirmed().unwrap(), Position(1));
    // The timeline of the present server is unknown, as after a failover.
    server.psql(&database, "UPDATE purposegate.servers SET timeline = '000000FF'");
    assert_eq!(store.confirmed().unwrap(), Position(0));
    let servers = "SELECT count(*) FILTER (WHERE settled) || ' ' || count(*) FROM purposegate.servers";
    assert_eq!(server.psql(&database, servers), "1 2");
    assert_eq!(open(server, &database).confirmed().unwrap(), Position(0));
    // Somebody else has waited.
    server.psql(&database, "UPDATE purposegate.servers SET settled = true");
    assert_eq!(store.confirmed().unwrap(), Position(1));
}

#[test]
fn a_reported_loss_ends_all_leases_until_it_is_accepted() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let (store, instance, now) = (open(server, &database), Ulid::from(1_u128), Timestamp::UNIX_EPOCH);
    store.register(&gateway(1, LEASE)).unwrap();
    put(&store, &[alice(1)]).unwrap();
    let report = store.report_loss(Position(5), now).unwrap();
    let last_event = KnownHistory::ending_with(&alice(1).stored).last_event;
    assert_eq!(report, KnownHistory { position: Position(6), last_event }, "no position is used twice");
    for until in [5, 4] {
        assert_eq!(store.report_loss(Position(until), now).unwrap(), report, "others report it too");
    }
    assert_eq!(store.history_end().unwrap(), report);
    put(&store, &[alice(7)]).unwrap();
    let lost = Renewal::HistoryLost { until: Position(6) };
    assert_eq!(store.renew(instance, Position(7)).unwrap(), lost);
    store.accept_history(Position(5), now).unwrap();
    assert_eq!(store.renew(instance, Position(7)).unwrap(), lost);
    store.accept_history(Position(6), now).unwrap();
    assert_eq!(store.renew(instance, Position(7)).unwrap(), Renewal::Renewed);
    // A gateway that knew the same events reports them late; one that knew more has lost more.
    assert_eq!(store.report_loss(Position(5), now).unwrap().position, Position(7));
    assert_eq!(store.renew(instance, Position(7)).unwrap(), Renewal::Renewed);
    assert_eq!(store.report_loss(Position(7), now).unwrap().position, Position(8));
    assert_eq!(store.report_loss(Position(9), now).unwrap().position, Position(10));
    let lost = Renewal::HistoryLost { until: Position(10) };
    assert_eq!(store.renew(instance, Position(10)).unwrap(), lost);
    let Continuation::Continues { head, events } = store.follow(&KnownHistory::default(), 10).unwrap() else {
        panic!()
    };
    assert_eq!((head, events.len()), (Position(10), 2));
}

#[test]
fn missing_events_are_an_error_that_does_not_pass() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let store = open(server, &database);
    put(&store, &[alice(1), alice(2), alice(3)]).unwrap();
    store.check_intact().unwrap();
    for removed in [2, 3] {
        server.psql(&database, &format!("DELETE FROM purposegate.events WHERE position = {removed}"));
        let followed = store.follow(&KnownHistory::default(), 10);
        assert!(!is_transient(followed));
    }
    assert!(!is_transient(store.check_intact()), "the last event is missing");
    server.psql(&database, "UPDATE purposegate.ledger SET key_check = '\\x00'");
    assert!(!is_transient(store.check_intact()), "the ledger is another one");
}

#[test]
fn another_gateway_is_woken_by_an_append_also_after_its_connection_was_lost() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let (store, other) = (open(server, &database), open(server, &database));
    let long = Duration::from_secs(20);
    // The first connection wakes the waiting thread, too.
    other.wait_for_events(long);
    let wakes = |position| {
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| other.wait_for_events(long));
            put(&store, &[alice(position)]).unwrap();
        });
        assert!(began.elapsed() < long / 2);
    };
    wakes(1);
    let listeners = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE '%LISTEN%' AND pid <> pg_backend_pid()";
    assert_eq!(server.psql(&database, listeners), "2");
    other.wait_for_events(long);
    wakes(2);
    let began = Instant::now();
    other.wait_for_events(Duration::from_millis(50));
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Forwards bytes between clients and a server, until it is told to stop forwarding without closing anything.
struct Relay {
    port: u16,
    frozen: Arc<AtomicBool>,
}

impl Relay {
    fn to(target: u16) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, frozen) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let relay = Relay { port, frozen: Arc::clone(&frozen) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", target)).unwrap());
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let frozen = Arc::clone(&frozen);
                    std::thread::spawn(move || forward(from, to, &frozen));
                }
            }
        });
        relay
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, frozen: &AtomicBool) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while frozen.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_connection_that_froze_is_an_error_within_the_time_limit_and_is_replaced() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let relay = Relay::to(server.port());
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(relay.port).user("postgres").dbname(&database);
    let lease = Duration::from_secs(1);
    let options = PostgresOptions { server: config, tls: None, lease };
    let store = PostgresStore::open(options, &CHECK, true).unwrap();
    store.register(&gateway(1, lease)).unwrap();
    put(&store, &[alice(1)]).unwrap();
    let known = store.history_end().unwrap();
    relay.frozen.store(true, Ordering::SeqCst);
    for attempt in 0..2 {
        let began = Instant::now();
        assert!(is_transient(store.follow(&known, 10)), "attempt {attempt}");
        assert!(is_transient(store.renew(Ulid::from(1_u128), Position(1))));
        assert!(began.elapsed() < lease * 2, "{:?}", began.elapsed());
    }
    let began = Instant::now();
    assert!(is_transient(store.append(&known, &mut |_| Ok(vec![alice(2)]))));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    relay.frozen.store(false, Ordering::SeqCst);
    let began = Instant::now();
    while store.follow(&known, 10).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    put(&store, &[alice(2)]).unwrap();
}

#[test]
fn a_writer_that_stands_still_does_not_keep_others_out() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let (store, other) = (open(server, &database), open(server, &database));
    let known = KnownHistory::default();
    let locked = Mutex::new(false);
    std::thread::scope(|scope| {
        let frozen = scope.spawn(|| {
            store.append(&known, &mut |_| {
                *locked.lock().unwrap() = true;
                std::thread::sleep(LEASE / 2);
                Ok(vec![alice(1)])
            })
        });
        while !*locked.lock().unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = Instant::now();
        put(&other, &[new_event(subject(None, "bob"), 1, None)]).unwrap();
        assert!(began.elapsed() < LEASE / 2, "{:?}", began.elapsed());
        assert!(is_transient(frozen.join().unwrap()), "the server ended the transaction");
    });
    assert_eq!(positions(&store, &subject(None, "bob")), [1]);
    assert!(positions(&store, &subject(None, "alice")).is_empty());
}

#[test]
fn acknowledged_events_survive_kills_of_the_server() {
    let Some(server) = PostgresServer::start(&[]) else { return };
    let database = server.create_database("");
    let store = open(&server, &database);
    let acknowledged = Mutex::new(BTreeSet::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 0_u32;
            let began = Instant::now();
            while !done.load(Ordering::SeqCst) && began.elapsed() < Duration::from_secs(90) {
                next += 1;
                let id = format!("p{next}");
                let known = store.history_end();
                let appended = known.and_then(|known| {
                    store.append(&known, &mut |tail| {
                        let mut row = new_event(subject(None, &id), tail.last.0 + 1, None);
                        row.stored.id = Ulid::from(u128::from(next));
                        Ok(vec![row])
                    })
                });
                match appended {
                    Ok(Appended::Durable) => {
                        acknowledged.lock().unwrap().insert(SmolStr::new(&id));
                    }
                    Ok(Appended::Behind) => {}
                    Err(error) => {
                        assert!(error.transient, "{error:?}");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }
        });
        for _ in 0..3 {
            let before = acknowledged.lock().unwrap().len();
            let began = Instant::now();
            while acknowledged.lock().unwrap().len() < before + 20 {
                assert!(began.elapsed() < Duration::from_secs(30));
                std::thread::sleep(Duration::from_millis(5));
            }
            server.kill();
            server.run();
        }
        // A server that stands still is an error, too, and goes on afterwards.
        server.freeze();
        let began = Instant::now();
        assert!(is_transient(store.history_end()));
        assert!(began.elapsed() < LEASE * 2);
        server.thaw();
        done.store(true, Ordering::SeqCst);
    });
    let store = open(&server, &database);
    let there: BTreeSet<_> = store.entity_ids(EntityKind::Subject, None).unwrap().into_iter().collect();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.is_subset(&there), "lost: {:?}", acknowledged.difference(&there));
    let end = store.history_end().unwrap().position;
    assert_eq!(end.0, there.len() as u64);
}

#[test]
fn a_commit_whose_wait_for_the_standby_was_cancelled_is_not_acknowledged() {
    let Some(server) = PostgresServer::start(&[]) else { return };
    let database = server.create_database("");
    let store = open(&server, &database);
    store.register(&gateway(1, LEASE)).unwrap();
    let set = |standbys: &str| {
        server.psql(&database, &format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"));
        server.psql(&database, "SELECT pg_reload_conf()");
    };
    set("missing");
    let began = Instant::now();
    while server.psql(&database, "SHOW synchronous_standby_names") != "missing" {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    let cancel = || {
        let waiting =
            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let began = Instant::now();
        while server.psql(&database, waiting) == "0" {
            assert!(began.elapsed() < Duration::from_secs(10));
        }
    };
    std::thread::scope(|scope| {
        let append = scope.spawn(|| put(&store, &[alice(1)]));
        cancel();
        assert!(is_transient(append.join().unwrap()));
        let renewal = scope.spawn(|| store.renew(Ulid::from(1_u128), Position(1)));
        cancel();
        assert!(is_transient(renewal.join().unwrap()));
    });
    set("");
}

#[test]
fn ids_that_postgresql_cannot_hold_are_stored_under_other_characters() {
    let Some(store) = open_empty() else { return };
    let ids = ["a\0b", "a\u{1}b", "a", "a\0\u{1}\u{2}"];
    let rows: Vec<_> = (1..).zip(ids).map(|(n, id)| new_event(subject(Some("\0crm"), id), n, None)).collect();
    put(&store, &rows).unwrap();
    for (n, id) in (1..).zip(ids) {
        assert_eq!(positions(&store, &subject(Some("\0crm"), id)), [n]);
    }
    let mut sorted = ids;
    sorted.sort_unstable();
    assert_eq!(store.entity_ids(EntityKind::Subject, Some("\0crm")).unwrap(), sorted);
    let mut scanned = Vec::new();
    store
        .scan(&mut |entity, _| {
            scanned.push(entity.id.to_string());
            true
        })
        .unwrap();
    scanned.sort_unstable();
    assert_eq!(scanned, sorted);
    put(&store, &[new_event(Entity::Recipient(Arc::from("ac\0me")), 5, None)]).unwrap();
    assert_eq!(store.recipients().unwrap(), BTreeSet::from([Arc::from("ac\0me")]));
    store.remember_policies(&memory(1, 100, Some("on\0e"), Some("def\0ault"))).unwrap();
    assert_eq!(store.policies().unwrap(), memory(1, 100, Some("on\0e"), Some("def\0ault")));
}

#[test]
fn a_store_can_be_used_and_dropped_in_the_context_of_a_runtime() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    for mut runtime in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        let runtime = runtime.worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let store = open(server, &database);
            for _ in 0..300 {
                store.history_end().unwrap();
            }
            drop(store);
        });
    }
}

#[test]
fn several_gateways_may_create_the_ledger_at_the_same_time() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let changes: Vec<_> = std::thread::scope(|scope| {
        let open = || scope.spawn(|| open(server, &database).schema());
        let threads: Vec<_> = (0..4).map(|_| open()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(changes.iter().all(|change| change.to == VERSION));
    assert!(changes.iter().any(|change| change.from.is_none()));
}

fn refused(server: &PostgresServer, database: &str) -> PostgresError {
    PostgresStore::open(options(server, database), &CHECK, true).unwrap_err()
}

#[test]
fn a_ledger_of_other_keys_or_versions_is_refused_and_nothing_is_written() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let closed = |migrate| PostgresStore::open(options(server, &database), &CHECK, migrate).unwrap_err();
    assert!(matches!(closed(false), PostgresError::NoLedger));
    assert_eq!(server.psql(&database, "SELECT to_regnamespace('purposegate')"), "");
    let store = open(server, &database);
    assert_eq!(store.schema(), SchemaChange { from: None, to: VERSION });
    assert_eq!(open(server, &database).schema(), SchemaChange { from: Some(VERSION), to: VERSION });
    let other_keys = PostgresStore::open(options(server, &database), &[2; 16], true).unwrap_err();
    assert!(matches!(other_keys, PostgresError::OtherKeys));
    // A newer program has added a column and a table, which this one need not know.
    let newer = VERSION + 1;
    server.psql(
        &database,
        &format!(
            "ALTER TABLE purposegate.events ADD COLUMN later text; CREATE TABLE purposegate.later (x text);
         UPDATE purposegate.ledger SET version = {newer}"
        ),
    );
    put(&store, &[alice(1)]).unwrap();
    let beside = open(server, &database);
    assert_eq!(beside.schema(), SchemaChange { from: Some(newer), to: newer });
    put(&beside, &[alice(2)]).unwrap();
    assert_eq!(store.history_end().unwrap().position, Position(2));
    // One that changed the meaning of a column ends the running gateways of earlier versions, too.
    store.register(&gateway(1, LEASE)).unwrap();
    server.psql(&database, &format!("UPDATE purposegate.ledger_head SET compatible_from = {newer}"));
    assert!(!is_transient(store.append(&KnownHistory::default(), &mut |_| panic!())));
    assert!(!is_transient(store.renew(Ulid::from(1_u128), Position(2))));
    assert!(!is_transient(store.follow(&KnownHistory::default(), 1)));
    let error = closed(true);
    assert!(
        matches!(error, PostgresError::NewerVersion { found, compatible_from } if (found, compatible_from) == (newer, newer))
    );
    let earlier = format!(
        "UPDATE purposegate.ledger_head SET compatible_from = 0; UPDATE purposegate.ledger SET version = {}",
        VERSION - 1
    );
    server.psql(&database, &earlier);
    assert!(matches!(closed(false), PostgresError::OlderVersion { found } if found == VERSION - 1));
}

#[test]
fn a_migration_makes_a_log_secret_for_each_person() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let before = open(server, &database);
    put(&before, &[alice(1), alice(2)]).unwrap();
    let people = [alice(1).entity, StoredEntity::of(&subject(None, "nobody"))];
    assert_eq!(before.log_secrets(&people).unwrap(), [None, None]);
    server.psql(
        &database,
        "DROP TABLE purposegate.log_secrets; DROP TABLE purposegate.notices; UPDATE purposegate.ledger SET version = 1;
         UPDATE purposegate.ledger_head SET compatible_from = 1",
    );
    let after = open(server, &database);
    assert_eq!(after.schema(), SchemaChange { from: Some(1), to: VERSION });
    let made = after.log_secrets(&people).unwrap();
    assert_eq!(made[0].map(|stored| stored.since), Some(Position(1)));
    assert!(made[0].is_some_and(|stored| *stored.secret.bytes() != [0; 16]) && made[1].is_none());
    assert_eq!(server.psql(&database, "SELECT compatible_from FROM purposegate.ledger_head"), "2");
}

#[test]
fn a_ledger_keeps_its_id_and_a_migration_makes_one() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let id = open(server, &database).id().unwrap();
    assert!(id.is_some());
    assert_eq!(open(server, &database).id().unwrap(), id);
    assert_ne!(open(server, &server.create_database("")).id().unwrap(), id);
    server.psql(
        &database,
        "ALTER TABLE purposegate.ledger DROP COLUMN id; UPDATE purposegate.ledger SET version = 2",
    );
    let migrated = open(server, &database);
    assert_eq!(migrated.schema(), SchemaChange { from: Some(2), to: VERSION });
    let made = migrated.id().unwrap();
    assert!(made.is_some() && made != id);
    let taken = LedgerId::from_bytes([7; 16]);
    migrated.take_id(taken).unwrap();
    assert_eq!(open(server, &database).id().unwrap(), Some(taken));
}

#[test]
fn a_table_that_somebody_changed_is_refused() {
    let Some(server) = PostgresServer::shared() else { return };
    for (change, words) in [
        ("ALTER TABLE purposegate.ledger_head DROP COLUMN lost", "no column `lost`"),
        ("ALTER TABLE purposegate.losses ALTER until TYPE int", "type integer instead of bigint"),
        ("ALTER TABLE purposegate.events ADD COLUMN mine text", "a column `mine`"),
        ("ALTER TABLE purposegate.events ALTER event DROP NOT NULL", "without NOT NULL"),
        ("DROP INDEX purposegate.events_7_position", "no valid unique index on (position)"),
        ("ALTER TABLE purposegate.events DETACH PARTITION purposegate.events_3", "not a partition"),
        ("DROP TABLE purposegate.events_3", "is missing"),
        ("ALTER TABLE purposegate.event_keys DROP CONSTRAINT event_keys_pkey", "on (once)"),
        ("ALTER TABLE purposegate.gateways SET UNLOGGED", "UNLOGGED"),
        ("CREATE RULE mine AS ON INSERT TO purposegate.event_keys DO INSTEAD NOTHING", "a rule"),
        ("ALTER TABLE purposegate.recipients ENABLE ROW LEVEL SECURITY", "row security"),
    ] {
        let database = server.create_database("");
        drop(open(server, &database));
        server.psql(&database, change);
        let error = refused(server, &database);
        assert!(matches!(error, PostgresError::Changed { .. }), "{change}: {error:?}");
        assert!(error.to_string().contains(words), "{change}: {error}");
    }
    let database = server.create_database("");
    server.psql(&database, "CREATE SCHEMA purposegate; CREATE TABLE purposegate.diary (x text)");
    assert!(matches!(refused(server, &database), PostgresError::Foreign));
}

#[test]
fn servers_databases_and_roles_that_cannot_hold_a_ledger_are_refused() {
    let Some(server) = PostgresServer::shared() else { return };
    let latin = server.create_database("ENCODING 'LATIN1' TEMPLATE template0");
    assert!(matches!(refused(server, &latin), PostgresError::Encoding { found } if found == "LATIN1"));
    let read_only = server.create_database("");
    server.psql("postgres", &format!("ALTER DATABASE {read_only} SET default_transaction_read_only = on"));
    assert!(matches!(refused(server, &read_only), PostgresError::ReadOnly));
    let unreachable = refused(server, "no_such_database");
    assert!(
        matches!(unreachable, PostgresError::Unreachable(PostgresFailure::Refused(_))),
        "{unreachable:?}"
    );
    let mut options = options(server, "postgres");
    options.lease = Duration::from_secs(31);
    assert!(matches!(PostgresStore::open(options, &CHECK, true), Err(PostgresError::LeaseTerm)));
    if let Some(unsafe_server) = PostgresServer::start(&["fsync=off"]) {
        assert!(matches!(refused(&unsafe_server, "postgres"), PostgresError::NotDurable));
    }
    if let Some(standby) = PostgresServer::start_standby() {
        assert!(matches!(refused(&standby, "postgres"), PostgresError::Standby));
    }
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_configured() {
    let Some(server) = PostgresServer::shared() else { return };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.port()).user("postgres").dbname("postgres");
    let tls = Some(tokio_postgres_rustls::MakeRustlsConnect::new(tls));
    let refused = PostgresStore::open(PostgresOptions { server: config, tls, lease: LEASE }, &CHECK, true);
    assert!(
        matches!(refused, Err(PostgresError::Unreachable(PostgresFailure::Connection(_)))),
        "{refused:?}"
    );
}

#[test]
fn a_role_without_privileges_is_told_which_it_needs() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    server.psql("postgres", &format!("CREATE ROLE {database} LOGIN"));
    let refused = || {
        let mut options = options(server, &database);
        options.server.user(&database);
        match PostgresStore::open(options, &CHECK, true) {
            Err(PostgresError::Privilege { grant }) => grant,
            opened => panic!("{opened:?}"),
        }
    };
    assert!(refused().contains("CREATE ON DATABASE"));
    drop(open(server, &database));
    assert!(refused().contains("USAGE ON SCHEMA"));
    server.psql(&database, &format!("GRANT USAGE ON SCHEMA purposegate TO {database}"));
    assert!(refused().contains("SELECT ON purposegate.ledger"));
    let tables = format!("GRANT ALL ON ALL TABLES IN SCHEMA purposegate TO {database}");
    server.psql(&database, &format!("{tables}; REVOKE INSERT ON purposegate.events FROM {database}"));
    assert!(refused().contains("INSERT ON purposegate.events"));
    server.psql(&database, &tables);
    let mut options = options(server, &database);
    options.server.user(&database);
    let store = PostgresStore::open(options, &CHECK, true).unwrap();
    put(&store, &[alice(1)]).unwrap();
    store.report_loss(Position(2), Timestamp::UNIX_EPOCH).unwrap();
    store.accept_history(Position(3), Timestamp::UNIX_EPOCH).unwrap();
    store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
    store.register(&gateway(1, LEASE)).unwrap();
    assert_eq!(store.renew(Ulid::from(1_u128), Position(3)).unwrap(), Renewal::Renewed);
    assert_eq!(store.confirmed().unwrap(), Position(3));
    store.leave(Ulid::from(1_u128)).unwrap();
}

#[test]
fn no_message_repeats_what_the_server_says() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let store = open(server, &database);
    put(&store, &[new_event(subject(None, "alice@example.com"), 1, Some([3; 16]))]).unwrap();
    let again = put(&store, &[new_event(subject(None, "alice@example.com"), 2, Some([3; 16]))]).unwrap_err();
    let text = format!("{again} {again:?} {}", again.source);
    assert!(text.contains("23505") && !text.contains("alice") && !text.contains("once"), "{text}");
    let mut options = options(server, &database);
    options.server.password("s3cret");
    assert!(!format!("{options:?}").contains("s3cret"));
}
