//! Creates the schema and brings it to the present version.

use jiff::Timestamp;
use tokio_postgres::Client;

use super::catalogue::{check_privileges, compare};
use super::error::{PostgresError, PostgresFailure};
use super::leases::IDENTITY;
use super::tables::{STEPS, VERSION};
use crate::ledger::store::SchemaChange;

/// The state of the schema in the database.
enum FoundSchema {
    /// There is no ledger, but perhaps an empty schema.
    Absent { has_schema: bool },
    /// There is a ledger of this version.
    Version(i32),
}

/// Checks the schema, and creates or migrates it if this is permitted. If there is an error, nothing has been written.
///
/// # Errors
/// [`PostgresError`].
pub(super) async fn prepare(
    client: &mut Client,
    key_check: &[u8; 16],
    migrate: bool,
) -> Result<SchemaChange, PostgresError> {
    let found = find(client, key_check).await?;
    let from = match found {
        FoundSchema::Version(version) if version >= VERSION => {
            check_privileges(client).await?;
            compare(client, version > VERSION).await?;
            return Ok(SchemaChange { from: Some(version), to: version });
        }
        FoundSchema::Version(found) if !migrate => return Err(PostgresError::OlderVersion { found }),
        FoundSchema::Absent { .. } if !migrate => return Err(PostgresError::NoLedger),
        FoundSchema::Version(version) => Some(version),
        FoundSchema::Absent { .. } => None,
    };
    let to = run_steps(client, key_check).await?;
    Ok(SchemaChange { from, to })
}

/// Finds out which schema the database has, without writing.
async fn find(client: &Client, key_check: &[u8; 16]) -> Result<FoundSchema, PostgresError> {
    let reading = "reading the version of the schema";
    let query = "
        SELECT n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), true),
               EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid),
               count(c.oid) FILTER (WHERE c.relname IN ('ledger', 'ledger_head')) = 2,
               coalesce(bool_and(has_table_privilege(c.oid, 'SELECT'))
                   FILTER (WHERE c.relname IN ('ledger', 'ledger_head')), true)
        FROM (SELECT) one LEFT JOIN pg_namespace n ON n.nspname = 'purposegate'
        LEFT JOIN pg_class c ON c.relnamespace = n.oid GROUP BY n.oid";
    let row = client.query_one(query, &[]).await.map_err(PostgresError::while_doing(reading))?;
    let read = |column: usize| row.try_get::<_, bool>(column).map_err(PostgresError::while_doing(reading));
    let (has_schema, may_use, has_relations, has_ledger) = (read(0)?, read(1)?, read(2)?, read(3)?);
    if !may_use {
        return Err(PostgresError::Privilege {
            grant: "GRANT USAGE ON SCHEMA purposegate TO …".to_owned()
        });
    }
    if !has_ledger {
        let absent = FoundSchema::Absent { has_schema };
        return if has_relations { Err(PostgresError::Foreign) } else { Ok(absent) };
    }
    if !read(4)? {
        let grant = "GRANT SELECT ON purposegate.ledger, purposegate.ledger_head TO …".to_owned();
        return Err(PostgresError::Privilege { grant });
    }
    let query = "SELECT l.key_check, l.version, h.compatible_from FROM purposegate.ledger l, purposegate.ledger_head h";
    let row = client.query_opt(query, &[]).await.map_err(PostgresError::while_doing(reading))?;
    let Some(row) = row else { return Err(PostgresError::Foreign) };
    let read = || -> Result<_, PostgresFailure> {
        Ok((row.try_get::<_, &[u8]>(0)?, row.try_get::<_, i32>(1)?, row.try_get::<_, i32>(2)?))
    };
    let (known, found, compatible_from) = read().map_err(PostgresError::while_doing(reading))?;
    if compatible_from > VERSION {
        return Err(PostgresError::NewerVersion { found, compatible_from });
    }
    if known != key_check.as_slice() {
        return Err(PostgresError::OtherKeys);
    }
    Ok(FoundSchema::Version(found))
}

/// Runs the missing steps in one transaction, while no other program does.
async fn run_steps(client: &mut Client, key_check: &[u8; 16]) -> Result<i32, PostgresError> {
    let migrating = "migrating the schema";
    let failed = || PostgresError::while_doing::<tokio_postgres::Error>(migrating);
    // The limits of a connection follow from the lease: too little for the steps of a machine that has just started.
    client
        .batch_execute(
            "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = 0;
             SET LOCAL idle_in_transaction_session_timeout = '30s'",
        )
        .await
        .map_err(failed())?;
    // The number is "purposeg" in ASCII. A program that waits here finds the schema that the other has made.
    client.batch_execute("SELECT pg_advisory_xact_lock(8103508931754812775)").await.map_err(failed())?;
    let found = match find(client, key_check).await? {
        FoundSchema::Version(version) => version,
        FoundSchema::Absent { has_schema } => {
            if !has_schema {
                create_schema(client).await?;
            }
            0
        }
    };
    if found > 0 {
        // Keeps appends and renewals out, so that each sees either the old version or the new one.
        client.batch_execute("SELECT FROM purposegate.ledger_head FOR UPDATE").await.map_err(failed())?;
    }
    for step in STEPS.iter().filter(|step| step.version > found) {
        client.batch_execute(step.statements).await.map_err(failed())?;
        if step.version == 1 {
            fill(client, key_check).await.map_err(PostgresError::while_doing(migrating))?;
        }
        let advance = "
            WITH v AS (UPDATE purposegate.ledger SET version = $1)
            UPDATE purposegate.ledger_head SET compatible_from = $2";
        client.execute(advance, &[&step.version, &step.compatible_from]).await.map_err(failed())?;
    }
    check_privileges(client).await?;
    compare(client, found > VERSION).await?;
    client.batch_execute("COMMIT").await.map_err(failed())?;
    Ok(found.max(VERSION))
}

async fn create_schema(client: &Client) -> Result<(), PostgresError> {
    let query = "SELECT has_database_privilege(current_database(), 'CREATE'), current_database()::text";
    let doing = "creating the schema";
    let row = client.query_one(query, &[]).await.map_err(PostgresError::while_doing(doing))?;
    let may_create: bool = row.try_get(0).map_err(PostgresError::while_doing(doing))?;
    if !may_create {
        return Err(PostgresError::Privilege {
            grant: "GRANT CREATE ON DATABASE … TO …, or CREATE SCHEMA purposegate AUTHORIZATION …".to_owned(),
        });
    }
    client.batch_execute("CREATE SCHEMA purposegate").await.map_err(PostgresError::while_doing(doing))
}

/// Fills the tables of a new ledger. No leases are older than the ledger, so its first server is settled.
async fn fill(client: &Client, key_check: &[u8; 16]) -> Result<(), PostgresFailure> {
    let ledger = "INSERT INTO purposegate.ledger (key_check, version) VALUES ($1, 0)";
    client.execute(ledger, &[&key_check.as_slice()]).await?;
    let head = "
        INSERT INTO purposegate.ledger_head (position, last_event_position, compatible_from) VALUES (0, 0, 0)";
    client.execute(head, &[]).await?;
    let server = format!(
        "INSERT INTO purposegate.servers (system_identifier, timeline, first_seen, settled)
         SELECT i.system_identifier, i.timeline, $1::text, true FROM ({IDENTITY}) i"
    );
    client.execute(&server, &[&Timestamp::now().to_string()]).await?;
    Ok(())
}
