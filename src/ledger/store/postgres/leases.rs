//! The coordination of gateways, in SQL: what `store::coordination` does in memory.
//!
//! A renewal takes a shared lock on the head row, which an append locks for itself. So each renewal is either visible to
//! the barrier of the event, or refused because the head has moved. Everything that a renewal depends on is in the head
//! row: after a wait for the lock the server reads this row anew, but no other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Client;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use ulid::Ulid;

use super::append::LedgerWriter;
use super::connection::Connections;
use super::error::PostgresFailure;
use super::events::{LedgerHead, head};
use super::rows::{bigint, digest, event_id, from_column, position, to_column};
use super::tables::VERSION;
use crate::ledger::boot_clock::boot_time;
use crate::ledger::store::coordination::{HistoryIdentity, LeaseOnRecord, LeaseTable};
use crate::ledger::store::lease_observer::LeaseObserver;
use crate::ledger::store::shared::{Application, GatewayDescription, MAX_LEASE, RegisteredGateway, Renewal};
use crate::ledger::store::{KnownHistory, LedgerTail, LossOfEvents, Position, StoreError};

/// The leases of all gateways, as this process sees them.
#[derive(Debug)]
pub(super) struct ObservedLeases {
    observed: Mutex<Observed>,
    /// The gateway that this process registered.
    registered: Mutex<Option<GatewayDescription>>,
}

#[derive(Debug)]
struct Observed {
    observer: LeaseObserver,
    /// The server process of which the observer knows the leases.
    server: ServerProcess,
    /// The shortest term of a gateway's leases.
    shortest: Duration,
}

/// A process of the server, between two losses of a connection to it. With each of them the server may have lost its
/// latest transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ServerProcess {
    started: String,
    breaks: u64,
}

/// Identifies the server and its history. The timeline is that of the write-ahead log at this moment: the control file
/// names the earlier one for some time after a failover. The object id of a table changes when the tables are restored from
/// a dump, on whichever server.
pub(super) const IDENTITY: &str = "
    SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || 'purposegate.ledger_head'::regclass::oid
               AS system_identifier,
           left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS timeline";

impl ObservedLeases {
    /// Returns an observer that has seen nothing.
    pub(super) fn new(lease: Duration) -> ObservedLeases {
        let observed = Observed {
            observer: LeaseObserver::new(MAX_LEASE),
            server: ServerProcess::default(),
            shortest: lease,
        };
        ObservedLeases { observed: observed.into(), registered: None.into() }
    }

    /// Returns the shortest term of a gateway's leases, as far as this process knows.
    pub(super) fn shortest_lease(&self) -> Duration {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).shortest
    }

    /// See [`SharedStore::register`](crate::ledger::store::shared::SharedStore::register).
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn register(
        &self,
        connections: &Connections,
        gateway: &GatewayDescription,
    ) -> Result<(), StoreError> {
        *self.registered.lock().unwrap_or_else(PoisonError::into_inner) = Some(gateway.clone());
        connections.operate("registering the gateway", connections.limits.exchange, async |client| {
            register(client, gateway).await
        })
    }

    /// See [`SharedStore::renew`](crate::ledger::store::shared::SharedStore::renew). A gateway whose row was lost with
    /// the server's last transactions, or was removed, is registered again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn renew(
        &self,
        connections: &Connections,
        instance: Ulid,
        applied: Position,
    ) -> Result<Renewal, StoreError> {
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let registered = registered.filter(|gateway| gateway.instance == instance);
        connections.operate("renewing the lease", connections.limits.exchange, async |client| {
            let warnings = connections.warnings();
            let mut renewal = renew(client, instance, applied).await?;
            if renewal.is_none()
                && let Some(gateway) = &registered
            {
                register(client, gateway).await?;
                renewal = renew(client, instance, applied).await?;
            }
            if connections.warnings() != warnings {
                return Err(PostgresFailure::CommitWarning);
            }
            renewal.ok_or(PostgresFailure::NotRegistered)
        })
    }

    /// See [`SharedStore::renew_excluding_writers`](crate::ledger::store::shared::SharedStore::renew_excluding_writers).
    ///
    /// # Errors
    /// [`StoreError`]; also that of `apply`.
    pub(super) fn renew_excluding_writers(
        &self,
        connections: &Connections,
        instance: Ulid,
        known: &KnownHistory,
        apply: &mut Application<'_>,
    ) -> Result<Renewal, StoreError> {
        let failed = |failure: PostgresFailure| failure.during("renewing the lease");
        let hold = self.shortest_lease() / 4;
        let mut writer = connections.wait(LedgerWriter::lock(connections, hold)).map_err(failed)?;
        if let Some(until) = writer.head.lost {
            connections.wait(writer.release());
            return Ok(Renewal::HistoryLost { until });
        }
        let Some(missed) = connections.wait(writer.missed(known)).map_err(failed)? else {
            connections.wait(writer.release());
            return Ok(Renewal::Behind);
        };
        if let Err(error) = apply(LedgerTail { last: writer.head.end.position, missed }) {
            connections.wait(writer.release());
            return Err(error);
        }
        let renewed = writer.commit_after(async |client, head| {
            let renew = "
                UPDATE purposegate.gateways SET applied = $2, renewals = renewals + 1, renewed = clock_timestamp()
                WHERE instance = $1";
            let parameters: [&(dyn ToSql + Sync); 2] = [&instance.to_string(), &bigint(head.end.position)];
            match client.execute(&client.prepare_cached(renew).await?, &parameters).await? {
                0 => Err(PostgresFailure::NotRegistered),
                _ => Ok(Renewal::Renewed),
            }
        });
        connections.wait(renewed).map_err(failed)
    }

    /// See [`SharedStore::leave`](crate::ledger::store::shared::SharedStore::leave).
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn leave(&self, connections: &Connections, instance: Ulid) -> Result<(), StoreError> {
        *self.registered.lock().unwrap_or_else(PoisonError::into_inner) = None;
        connections.operate("ending the lease", connections.limits.exchange, async |client| {
            let delete = "DELETE FROM purposegate.gateways WHERE instance = $1";
            client.execute(&client.prepare_cached(delete).await?, &[&instance.to_string()]).await?;
            Ok(())
        })
    }

    /// See [`SharedStore::confirmed`](crate::ledger::store::shared::SharedStore::confirmed).
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn confirmed(&self, connections: &Connections) -> Result<Position, StoreError> {
        let limit = connections.limits.exchange;
        let breaks = connections.breaks();
        let (table, shortest, started) =
            connections.operate("reading the leases", limit, async |client| lease_table(client).await)?;
        let server = ServerProcess { started, breaks };
        let now = boot_time();
        let (confirmed, settled, gone) = {
            let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
            observed.shortest = shortest.unwrap_or(observed.shortest);
            if observed.server != server {
                observed.server = server;
                observed.observer.forget();
            }
            let confirmed = observed.observer.confirmed(now, &table);
            let settled = observed.observer.settled(now).filter(|_| !table.settled);
            (confirmed, settled, observed.observer.gone(now))
        };
        if settled.is_some() || !gone.is_empty() {
            connections.operate("recording which leases are over", limit, async |client| {
                tidy(client, settled, &gone).await
            })?;
        }
        Ok(confirmed)
    }

    /// See [`SharedStore::identity`](crate::ledger::store::shared::SharedStore::identity).
    ///
    /// # Errors
    /// [`StoreError`].
    #[allow(clippy::unused_self, reason = "all coordination goes through this type")]
    pub(super) fn identity(&self, connections: &Connections) -> Result<u64, StoreError> {
        let limit = connections.limits.exchange;
        connections.operate("reading the identity of the server", limit, async |client| {
            let row = client.query_one(&client.prepare_cached(IDENTITY).await?, &[]).await?;
            Ok(history_identity(row.try_get(0)?, row.try_get(1)?))
        })
    }

    /// See [`SharedStore::gateways`](crate::ledger::store::shared::SharedStore::gateways).
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn gateways(&self, connections: &Connections) -> Result<Vec<RegisteredGateway>, StoreError> {
        // Observes the leases, too.
        self.confirmed(connections)?;
        let limit = connections.limits.exchange;
        let rows =
            connections.operate("reading the gateways", limit, async |client| gateways(client).await)?;
        let now = boot_time();
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let gateways = rows.into_iter().map(|(description, lease, renewed)| {
            let live = lease.renewals > 0 && observed.observer.may_last(now, &lease);
            RegisteredGateway { description, applied: lease.applied, renewed, live }
        });
        Ok(gateways.collect())
    }
}

/// Records a gateway. One that is on record keeps its lease, and the longest term that it ever had: a lease of that term
/// may still last.
async fn register(client: &Client, gateway: &GatewayDescription) -> Result<(), PostgresFailure> {
    let statement = "
        INSERT INTO purposegate.gateways (instance, name, version, namespaces, recipients, pack_titles, pack_revisions,
            lease_ms, longest_lease_ms, applied, renewals, renewed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 0, 0, clock_timestamp())
        ON CONFLICT (instance) DO UPDATE SET
            name = excluded.name, version = excluded.version, namespaces = excluded.namespaces,
            recipients = excluded.recipients, pack_titles = excluded.pack_titles,
            pack_revisions = excluded.pack_revisions, lease_ms = excluded.lease_ms,
            longest_lease_ms = greatest(gateways.longest_lease_ms, excluded.lease_ms)";
    let GatewayDescription { instance, name, lease, version, namespaces, recipients, packs } = gateway;
    let recipients: Vec<_> = recipients.iter().map(|name| to_column(name)).collect();
    let (titles, revisions): (Vec<_>, Vec<_>) =
        packs.iter().map(|(title, revision)| (to_column(title), to_column(revision))).unzip();
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let statement = client.prepare_cached(statement).await?;
    client
        .execute(
            &statement,
            &[
                &instance.to_string(),
                &to_column(name),
                &to_column(version),
                &namespaces.as_slice(),
                &recipients,
                &titles,
                &revisions,
                &lease,
            ],
        )
        .await?;
    Ok(())
}

/// Renews a lease. `None` if the gateway has no row.
async fn renew(
    client: &Client,
    instance: Ulid,
    applied: Position,
) -> Result<Option<Renewal>, PostgresFailure> {
    let statement = "
        WITH h AS MATERIALIZED (
            SELECT position FROM purposegate.ledger_head
            WHERE position = $2 AND lost IS NULL AND compatible_from <= $3 FOR SHARE
        )
        UPDATE purposegate.gateways SET applied = h.position, renewals = renewals + 1, renewed = clock_timestamp()
        FROM h WHERE instance = $1";
    let (instance, applied) = (instance.to_string(), bigint(applied));
    let statement = client.prepare_cached(statement).await?;
    if client.execute(&statement, &[&instance, &applied, &VERSION]).await? == 1 {
        return Ok(Some(Renewal::Renewed));
    }
    if let Some(until) = head(client).await?.lost {
        return Ok(Some(Renewal::HistoryLost { until }));
    }
    let query = "SELECT 1 FROM purposegate.gateways WHERE instance = $1";
    let row = client.query_opt(&client.prepare_cached(query).await?, &[&instance]).await?;
    Ok(row.map(|_| Renewal::Behind))
}

/// Reads all leases, the shortest term of any gateway, and when the server was started. Records the server if it is new.
async fn lease_table(client: &Client) -> Result<(LeaseTable, Option<Duration>, String), PostgresFailure> {
    let query = format!(
        "SELECT h.position, h.last_event_position, h.last_event_id, h.lost, h.compatible_from,
                i.system_identifier, i.timeline, s.settled,
                g.instance, g.applied, g.longest_lease_ms, g.renewals, g.lease_ms,
                pg_postmaster_start_time()::text
         FROM purposegate.ledger_head h CROSS JOIN ({IDENTITY}) i
         LEFT JOIN purposegate.servers s
             ON s.system_identifier = i.system_identifier AND s.timeline = i.timeline
         LEFT JOIN purposegate.gateways g ON true"
    );
    let rows = client.query(&client.prepare_cached(&query).await?, &[]).await?;
    let first = rows.first().ok_or(PostgresFailure::Damaged("the head row is missing"))?;
    let head = LedgerHead::read(first, 0)?.end.position;
    let identity = history_identity(first.try_get(5)?, first.try_get(6)?);
    let settled: Option<bool> = first.try_get(7)?;
    if settled.is_none() {
        record_server(client).await?;
    }
    let mut leases = Vec::new();
    let mut shortest: Option<Duration> = None;
    for row in &rows {
        if row.try_get::<_, Option<&str>>(8)?.is_some() {
            let lease = lease_on_record(row, 8)?;
            let term = milliseconds(row.try_get(12)?);
            shortest = Some(shortest.map_or(term, |shortest| shortest.min(term)));
            if lease.renewals > 0 {
                leases.push(lease);
            }
        }
    }
    let table = LeaseTable { identity, settled: settled.unwrap_or_default(), head, leases };
    Ok((table, shortest, first.try_get(13)?))
}

/// Returns a number that stands for the server and its timeline.
fn history_identity(system_identifier: &str, timeline: &str) -> HistoryIdentity {
    let digest = blake3::hash(format!("{system_identifier} {timeline}").as_bytes());
    let (first, _) = digest.as_bytes().split_at(8);
    u64::from_le_bytes(first.try_into().unwrap_or_default())
}

/// Records the server. The first one of a ledger is settled: no leases are older.
async fn record_server(client: &Client) -> Result<(), PostgresFailure> {
    let statement = format!(
        "INSERT INTO purposegate.servers (system_identifier, timeline, first_seen, settled)
         SELECT i.system_identifier, i.timeline, $1::text, false FROM ({IDENTITY}) i ON CONFLICT DO NOTHING"
    );
    let statement = client.prepare_cached(&statement).await?;
    if client.execute(&statement, &[&Timestamp::now().to_string()]).await? > 0 {
        tracing::warn!(
            "the ledger's PostgreSQL server is another one, or has another timeline: after a failover or a restore, \
             `in_force: everywhere` is not answered until all earlier leases are over"
        );
    }
    Ok(())
}

/// Records that earlier leases are over, and removes gateways that are gone.
async fn tidy(
    client: &Client,
    settled: Option<HistoryIdentity>,
    gone: &[(Ulid, u64)],
) -> Result<(), PostgresFailure> {
    if let Some(settled) = settled {
        let row = client.query_one(IDENTITY, &[]).await?;
        let (system_identifier, timeline): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        if history_identity(system_identifier, timeline) == settled {
            let update = "
                UPDATE purposegate.servers SET settled = true WHERE system_identifier = $1 AND timeline = $2";
            client.execute(update, &[&system_identifier, &timeline]).await?;
        }
    }
    for (instance, renewals) in gone {
        let delete = "DELETE FROM purposegate.gateways WHERE instance = $1 AND renewals = $2";
        let renewals = i64::try_from(*renewals).unwrap_or(i64::MAX);
        client.execute(delete, &[&instance.to_string(), &renewals]).await?;
    }
    Ok(())
}

async fn gateways(
    client: &Client,
) -> Result<Vec<(GatewayDescription, LeaseOnRecord, Timestamp)>, PostgresFailure> {
    let query = "
        SELECT instance, applied, longest_lease_ms, renewals,
               name, version, namespaces, recipients, pack_titles, pack_revisions, lease_ms,
               (extract(epoch FROM renewed) * 1000)::bigint
        FROM purposegate.gateways ORDER BY name, instance";
    let rows = client.query(&client.prepare_cached(query).await?, &[]).await?;
    rows.iter()
        .map(|row| {
            let lease = lease_on_record(row, 0)?;
            let text = |column: usize| Ok::<_, PostgresFailure>(Arc::from(from_column(row.try_get(column)?)));
            let texts = |column: usize| -> Result<Vec<Arc<str>>, PostgresFailure> {
                let texts: Vec<&str> = row.try_get(column)?;
                Ok(texts.into_iter().map(|text| Arc::from(from_column(text))).collect())
            };
            let description = GatewayDescription {
                instance: lease.instance,
                name: text(4)?,
                lease: milliseconds(row.try_get(10)?),
                version: text(5)?,
                namespaces: digest(row.try_get(6)?)?,
                recipients: texts(7)?,
                packs: texts(8)?.into_iter().zip(texts(9)?).collect(),
            };
            let renewed = Timestamp::from_millisecond(row.try_get(11)?).unwrap_or_default();
            Ok((description, lease, renewed))
        })
        .collect()
}

/// Reads the columns instance, applied, longest_lease_ms and renewals, which begin at column `first`.
fn lease_on_record(row: &Row, first: usize) -> Result<LeaseOnRecord, PostgresFailure> {
    Ok(LeaseOnRecord {
        instance: event_id(row.try_get(first)?)?,
        applied: position(row, first + 1)?,
        term: milliseconds(row.try_get(first + 2)?),
        renewals: u64::try_from(row.try_get::<_, i64>(first + 3)?).unwrap_or_default(),
    })
}

fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

/// Returns the losses of events, in the order in which they were recorded.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn losses(client: &Client) -> Result<Vec<LossOfEvents>, PostgresFailure> {
    let query = "SELECT behind, until, accepted FROM purposegate.losses ORDER BY number";
    let rows = client.query(&client.prepare_cached(query).await?, &[]).await?;
    let loss = |row: &Row| {
        let accepted: Option<&str> = row.try_get(2)?;
        let accepted = accepted.map(str::parse).transpose();
        Ok(LossOfEvents {
            behind: position(row, 0)?,
            until: position(row, 1)?,
            accepted: accepted.map_err(|_| PostgresFailure::Damaged("the time of a loss does not read"))?,
        })
    };
    rows.iter().map(loss).collect()
}

/// See [`SharedStore::report_loss`](crate::ledger::store::shared::SharedStore::report_loss).
///
/// # Errors
/// [`StoreError`].
pub(super) fn report_loss(
    connections: &Connections,
    hold: Duration,
    until: Position,
    now: Timestamp,
) -> Result<KnownHistory, StoreError> {
    let report = async {
        let writer = LedgerWriter::lock(connections, hold).await?;
        writer
            .commit_after(async |client, head| {
                let accepted =
                    "SELECT coalesce(max(until), 0) FROM purposegate.losses WHERE accepted IS NOT NULL";
                let accepted = position(&client.query_one(accepted, &[]).await?, 0)?;
                if head.lost.unwrap_or(accepted) >= until {
                    return Ok(head.end);
                }
                let end = KnownHistory {
                    position: Position(head.end.position.max(until).0.saturating_add(1)),
                    last_event: head.end.last_event,
                };
                let report = "
                    WITH reported AS (
                        INSERT INTO purposegate.losses (behind, until, reported) VALUES ($1, $2, $3)
                    )
                    UPDATE purposegate.ledger_head SET lost = $2, position = $2
                    RETURNING pg_notify('purposegate', '')";
                let parameters: [&(dyn ToSql + Sync); 3] =
                    [&bigint(head.end.position), &bigint(end.position), &now.to_string()];
                client.execute(report, &parameters).await?;
                Ok(end)
            })
            .await
    };
    connections.wait(report).map_err(|failure: PostgresFailure| failure.during("recording a loss of events"))
}

/// See [`Store::accept_history`](crate::ledger::store::Store::accept_history).
///
/// # Errors
/// [`StoreError`].
pub(super) fn accept_history(
    connections: &Connections,
    hold: Duration,
    until: Position,
    now: Timestamp,
) -> Result<(), StoreError> {
    let accept = async {
        let writer = LedgerWriter::lock(connections, hold).await?;
        writer
            .commit_after(async |client, head| {
                let (until, now, behind) = (bigint(until), now.to_string(), bigint(head.end.position));
                let accepted = "UPDATE purposegate.losses SET accepted = $2 WHERE accepted IS NULL AND until <= $1";
                if client.execute(accepted, &[&until, &now]).await? == 0 || behind < until {
                    let accepted = "
                        INSERT INTO purposegate.losses (behind, until, reported, accepted) VALUES ($1, $2, $3, $3)";
                    client.execute(accepted, &[&behind.min(until), &until, &now]).await?;
                }
                let advance = "
                    UPDATE purposegate.ledger_head SET
                        position = greatest(position, $1),
                        lost = (SELECT max(until) FROM purposegate.losses WHERE accepted IS NULL)
                    RETURNING pg_notify('purposegate', '')";
                client.execute(advance, &[&until]).await?;
                Ok(())
            })
            .await
    };
    connections.wait(accept).map_err(|failure: PostgresFailure| failure.during("recording the accepted loss"))
}

/// See [`SharedStore::begin_copy`](crate::ledger::store::shared::SharedStore::begin_copy). Everything is lost as long as the
/// copy is not whole.
///
/// # Errors
/// [`StoreError`]; also if the role may not end what this begins.
pub(super) fn begin_copy(connections: &Connections, hold: Duration, end: Position) -> Result<(), StoreError> {
    let begin = async {
        let writer = LedgerWriter::lock(connections, hold).await?;
        writer
            .commit_after(async |client, _| {
                client.execute("DELETE FROM purposegate.losses WHERE false", &[]).await?;
                let lost = "
                    WITH reported AS (
                        INSERT INTO purposegate.losses (behind, until, reported) VALUES (0, $1, $2)
                    )
                    UPDATE purposegate.ledger_head SET lost = $1 RETURNING pg_notify('purposegate', '')";
                let until = bigint(Position(end.0.saturating_add(1)));
                client.execute(lost, &[&until, &Timestamp::now().to_string()]).await?;
                Ok(())
            })
            .await
    };
    let failed = |failure: PostgresFailure| failure.during("beginning a copy");
    connections.wait(begin).map_err(failed)
}

/// See [`SharedStore::complete_copy`](crate::ledger::store::shared::SharedStore::complete_copy).
///
/// # Errors
/// [`StoreError`].
pub(super) fn complete_copy(
    connections: &Connections,
    hold: Duration,
    end: Position,
) -> Result<(), StoreError> {
    let complete = async {
        let writer = LedgerWriter::lock(connections, hold).await?;
        writer
            .commit_after(async |client, _| {
                let found = "
                    DELETE FROM purposegate.losses WHERE behind = 0 AND until = $1 AND accepted IS NULL";
                client.execute(found, &[&bigint(Position(end.0.saturating_add(1)))]).await?;
                let lost = "
                    UPDATE purposegate.ledger_head SET
                        lost = (SELECT max(until) FROM purposegate.losses WHERE accepted IS NULL)
                    RETURNING pg_notify('purposegate', '')";
                client.execute(lost, &[]).await?;
                Ok(())
            })
            .await
    };
    let failed = |failure: PostgresFailure| failure.during("completing a copy");
    connections.wait(complete).map_err(failed)
}
