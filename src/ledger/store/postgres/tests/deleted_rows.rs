//! Rows about people that were deleted leave the files of the tables.

use super::*;
use crate::ledger::store::postgres::table_file::{self, MarkedTable, Rewriting};

/// True if one of the server's table files holds these bytes.
fn is_in_a_table(server: &PostgresServer, bytes: &[u8]) -> bool {
    server.psql("postgres", "CHECKPOINT");
    let mut folders = vec![server.data().join("base")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if memchr::memmem::find(&std::fs::read(entry).unwrap_or_default(), bytes).is_some() {
                return true;
            }
        }
    }
    false
}

#[test]
fn a_deleted_log_secret_leaves_the_tables_of_the_server() {
    let Some(server) = PostgresServer::start(&["autovacuum=off"]) else { return };
    let database = server.create_database("");
    let store = open_patiently(&server, &database);
    let person = |number: u64| subject(None, &format!("person-{number}"));
    let secret = |number: u64| {
        let hash = blake3::hash(&number.to_le_bytes());
        LogSecret::from_bytes(*hash.as_bytes().first_chunk().unwrap())
    };
    let row = |number: u64, position: u64, log_secret| EventRow {
        log_secret,
        ..new_event(person(number), position, None)
    };
    let rows: Vec<EventRow> = (1..=100)
        .map(|number| {
            let made = StoredSecret { secret: secret(number), since: Position(number) };
            row(number, number, SecretChange::Make(made))
        })
        .collect();
    put(&store, &rows).unwrap();
    let deleted = [7, 99, 100];
    let erase = |(number, position)| {
        row(number, position, SecretChange::Erase(vec![StoredEntity::of(&person(number))]))
    };
    put(&store, &deleted.into_iter().zip(101..).map(erase).collect::<Vec<_>>()).unwrap();
    server.psql(&database, "VACUUM purposegate.log_secrets");
    assert!(is_in_a_table(&server, secret(100).bytes()), "VACUUM does not overwrite it");

    let (long, table) = (Duration::from_secs(20), table_file::LOG_SECRETS);
    let rewrite =
        |store: &PostgresStore, limit| rewrite(store, &table, marked(store, &table).unwrap(), limit);
    // While somebody reads the table, the file is not written again, and others wait no longer than the limit.
    let reading = store.connections.wait(async {
        let (client, _connection) = store.connections.connector().session().await.unwrap();
        client.batch_execute("BEGIN; SELECT FROM purposegate.log_secrets").await.unwrap();
        client
    });
    let refused = rewrite(&store, Duration::from_millis(200));
    assert!(matches!(refused, Err(PostgresFailure::Refused(_))), "{refused:?}");
    drop(reading);
    assert_eq!(rewrite(&store, long).unwrap(), Rewriting::Done);
    assert_eq!(marked(&store, &table), None);
    let remaining: Vec<u64> =
        (1..=100).filter(|number| is_in_a_table(&server, secret(*number).bytes())).collect();
    assert_eq!(remaining, (1..=100).filter(|number| !deleted.contains(number)).collect::<Vec<_>>());
    let people = [person(1), person(7)].map(|person| StoredEntity::of(&person));
    let read = store.log_secrets(&people).unwrap();
    assert_eq!(
        read.iter().map(|stored| stored.map(|stored| stored.secret)).collect::<Vec<_>>(),
        [Some(secret(1)), None]
    );

    server.psql(
        &database,
        "CREATE ROLE gateway LOGIN; GRANT USAGE ON SCHEMA purposegate TO gateway;
         GRANT ALL ON ALL TABLES IN SCHEMA purposegate TO gateway",
    );
    let mut of_gateway = options(&server, &database);
    of_gateway.server.user("gateway");
    let of_gateway = PostgresStore::open(of_gateway, &CHECK, false).unwrap();
    put(&store, &[erase((50, 104))]).unwrap();
    for _ in 0..2 {
        assert_eq!(rewrite(&of_gateway, long).unwrap(), Rewriting::NotOwner);
    }
    server.psql(&database, "VACUUM FULL purposegate.log_secrets");
    assert_eq!(rewrite(&of_gateway, long).unwrap(), Rewriting::Done, "the owner has done it");
    assert_eq!(marked(&of_gateway, &table), None);
    for store in [&store, &of_gateway] {
        assert_eq!(store.connections.warnings(), 0, "a warning would make a commit look doubtful");
    }
}

/// Returns the marked transaction of the last deletion from a table.
fn marked(store: &PostgresStore, table: &MarkedTable) -> Option<i64> {
    let found = store.connections.wait(async {
        let (client, _connection) = store.connections.connector().session().await.unwrap();
        table_file::look(&client, table).await
    });
    found.unwrap().map(|found| found.transaction)
}

fn rewrite(
    store: &PostgresStore,
    table: &MarkedTable,
    transaction: i64,
    limit: Duration,
) -> Result<Rewriting, PostgresFailure> {
    let (connector, exchange) = (store.connections.connector(), store.connections.limits.exchange);
    store.connections.wait(table_file::rewrite(connector, exchange, table, transaction, limit))
}

#[test]
fn a_gateway_that_starts_removes_what_one_that_stopped_has_deleted() {
    let Some(server) = PostgresServer::start(&["autovacuum=off"]) else { return };
    let database = server.create_database("");
    let secret = LogSecret::from_bytes(*b"0123456789abcdef");
    let row = |position, log_secret| EventRow { log_secret, ..alice(position) };
    let store = open_patiently(&server, &database);
    let made = SecretChange::Make(StoredSecret { secret, since: Position(1) });
    put(&store, &[row(1, made)]).unwrap();
    assert_eq!(marked(&store, &table_file::LOG_SECRETS), None);
    put(&store, &[row(2, SecretChange::Erase(vec![alice(1).entity]))]).unwrap();
    drop(store);
    assert!(is_in_a_table(&server, secret.bytes()));

    let next = open_patiently(&server, &database);
    let file = Arc::new(TableFile::without_settling(table_file::LOG_SECRETS));
    file.rewrite_if_due(&next.connections, Duration::from_secs(20));
    let began = Instant::now();
    while marked(&next, &table_file::LOG_SECRETS).is_some() {
        assert!(began.elapsed() < Duration::from_secs(60), "the file was not written again");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!is_in_a_table(&server, secret.bytes()));
}

#[test]
fn a_deletion_during_a_rewriting_stays_marked_and_two_gateways_do_not_rewrite_at_once() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = server.create_database("");
    let (store, table, long) =
        (open_patiently(server, &database), table_file::LOG_SECRETS, Duration::from_secs(20));
    let erase = |position| {
        let log_secret = SecretChange::Erase(vec![alice(1).entity]);
        put(&store, &[EventRow { log_secret, ..alice(position) }]).unwrap();
        marked(&store, &table).unwrap()
    };
    let (first, second) = (erase(1), erase(2));
    assert_ne!(first, second);
    assert_eq!(rewrite(&store, &table, first, long).unwrap(), Rewriting::Done);
    assert_eq!(marked(&store, &table), Some(second), "its rows may have been kept for an open transaction");
    let other = store.connections.wait(async {
        let (client, _connection) = store.connections.connector().session().await.unwrap();
        let lock = "SELECT pg_advisory_lock(hashtextextended('purposegate.log_secrets', 0))";
        client.batch_execute(lock).await.unwrap();
        client
    });
    assert_eq!(rewrite(&store, &table, second, long).unwrap(), Rewriting::Elsewhere);
    drop(other);
    let began = Instant::now();
    while rewrite(&store, &table, second, long).unwrap() != Rewriting::Done {
        assert!(began.elapsed() < Duration::from_secs(60), "the lock ends with the connection");
    }
    assert_eq!(marked(&store, &table), None);
    // A ledger of a version without marks may have deleted rows in both files.
    server.psql(
        &database,
        "ALTER TABLE purposegate.ledger DROP COLUMN log_secrets_deleted, DROP COLUMN notices_deleted;
         UPDATE purposegate.ledger SET version = 3",
    );
    let migrated = open_patiently(server, &database);
    assert!([&table, &table_file::NOTICES].iter().all(|table| marked(&migrated, table).is_some()));
}

/// The states of inquiries and notices name the person, also in the rows that later versions have replaced.
#[test]
fn what_an_inquiry_says_about_a_person_leaves_the_tables_of_the_server() {
    let Some(server) = PostgresServer::start(&["autovacuum=off"]) else { return };
    let database = server.create_database("");
    let store = open_patiently(&server, &database);
    let row = |inquiry: u128, recipient: Option<&str>, version, state: &str| NoticeRow {
        id: Ulid::from(inquiry + u128::from(recipient.is_some())),
        inquiry: Ulid::from(inquiry),
        recipient: recipient.map(Arc::from),
        due: Timestamp::UNIX_EPOCH,
        open: true,
        version,
        state: state.to_owned(),
    };
    let texts = ["person-of-the-inquiry", "person-of-the-notice", "person-of-its-next-version"];
    store.write_notices(&[row(10, None, 1, texts[0]), row(10, Some("acme"), 1, texts[1])]).unwrap();
    store.write_notices(&[row(10, Some("acme"), 2, texts[2])]).unwrap();
    store.write_notices(&[row(20, None, 1, "person-of-another-inquiry")]).unwrap();
    assert!(!store.remove_inquiry(Ulid::from(10_u128), 2, &[]).unwrap());
    assert!(store.remove_inquiry(Ulid::from(10_u128), 1, &[]).unwrap());
    assert!(texts.iter().all(|text| is_in_a_table(&server, text.as_bytes())));
    let table = table_file::NOTICES;
    let marked = marked(&store, &table).unwrap();
    assert_eq!(rewrite(&store, &table, marked, Duration::from_secs(20)).unwrap(), Rewriting::Done);
    assert!(!texts.iter().any(|text| is_in_a_table(&server, text.as_bytes())));
    assert!(is_in_a_table(&server, b"person-of-another-inquiry"));
    assert_eq!(store.notice(Ulid::from(20_u128)).unwrap().unwrap().state, "person-of-another-inquiry");
}
