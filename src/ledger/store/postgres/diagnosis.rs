//! Examines the server and the role before anything is written.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Client, Row};

use super::connection::{Deadline, ServerConnector};
use super::error::{PostgresError, PostgresFailure};

/// The difference of clocks that is reported.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);

/// The first supported version of PostgreSQL, as `server_version_num` has it.
const MIN_SERVER_VERSION: i32 = 150_000;

/// Connects to a server that can hold the ledger.
///
/// # Errors
/// [`PostgresError`] says what is wrong with the servers.
pub(super) async fn connect(connector: &ServerConnector, limit: Duration) -> Result<Client, PostgresError> {
    let session = |connector: ServerConnector| async move {
        Deadline::after(limit).bound(async { Ok(connector.session().await?.0) }).await
    };
    let unreachable = match session(connector.clone()).await {
        Ok(client) => return Ok(client),
        Err(failure) => failure,
    };
    // Perhaps there is a server that does not accept writes.
    match session(connector.to_any_server()).await {
        Ok(client) => {
            examine(&client).await?;
            // It accepts them in the meantime.
            Err(PostgresError::Unreachable(unreachable))
        }
        Err(_) => Err(PostgresError::Unreachable(unreachable)),
    }
}

/// Checks that the server keeps what is written to it, and what is needed of the database.
///
/// # Errors
/// [`PostgresError`].
pub(super) async fn examine(client: &Client) -> Result<(), PostgresError> {
    let query = "
        SELECT current_setting('server_version_num')::int, current_setting('server_version'),
               pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,
               pg_encoding_to_char(encoding), current_setting('fsync')::bool,
               current_setting('full_page_writes')::bool, current_setting('synchronous_standby_names'),
               (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        FROM pg_database WHERE datname = current_database()";
    let asked = Timestamp::now();
    let row = client.query_one(query, &[]).await;
    let answered = Timestamp::now();
    let row = row.map_err(PostgresError::while_doing("reading the settings of the server"))?;
    let read = || -> Result<Result<(), PostgresError>, PostgresFailure> {
        if row.try_get::<_, i32>(0)? < MIN_SERVER_VERSION {
            return Ok(Err(PostgresError::ServerVersion { found: row.try_get(1)? }));
        }
        if row.try_get(2)? {
            return Ok(Err(PostgresError::Standby));
        }
        if row.try_get(3)? {
            return Ok(Err(PostgresError::ReadOnly));
        }
        let encoding: String = row.try_get(4)?;
        if encoding != "UTF8" {
            return Ok(Err(PostgresError::Encoding { found: encoding }));
        }
        if !row.try_get::<_, bool>(5)? {
            return Ok(Err(PostgresError::NotDurable));
        }
        warn(&row, asked, answered)?;
        Ok(Ok(()))
    };
    read().map_err(PostgresError::while_doing("reading the settings of the server"))?
}

/// Logs what an operator should know, although the ledger opens.
fn warn(row: &Row, asked: Timestamp, answered: Timestamp) -> Result<(), PostgresFailure> {
    if !row.try_get::<_, bool>(6)? {
        tracing::warn!(
            "the PostgreSQL server of the ledger runs with `full_page_writes = off`: a crash of its machine can damage \
             the ledger, unless the file system writes pages as a whole"
        );
    }
    if row.try_get::<_, &str>(7)?.is_empty() {
        tracing::warn!(
            "the PostgreSQL server of the ledger has no synchronous standby (`synchronous_standby_names` is empty): a \
             failover can lose acknowledged events"
        );
    }
    let server = Timestamp::from_millisecond(row.try_get(8)?).unwrap_or_default();
    let away = server.duration_since(answered).max(asked.duration_since(server));
    if away > MAX_CLOCK_DIFFERENCE.try_into().unwrap_or(jiff::SignedDuration::MAX) {
        tracing::warn!(
            seconds = away.as_secs(),
            "the clocks of this machine and of the PostgreSQL server of the ledger differ"
        );
    }
    Ok(())
}
