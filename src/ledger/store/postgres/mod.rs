//! The shared store: events in a PostgreSQL database that several gateways use at the same time.
//!
//! The table `events` is the source of truth. Invariants: an acknowledged event survives a crash of the server, and of its
//! machine where the server is set up for it (`fsync`, `synchronous_commit`); positions have no gaps but those on record;
//! nothing is written to a database that is not the ledger's, or that somebody changed; every method ends within a time
//! limit.
//!
//! The gateways order their events by the lock on one row, `ledger_head`. Serial numbers would be given before the commit,
//! so that a reader could miss the number of a transaction that commits late.

mod append;
mod catalogue;
mod connection;
mod diagnosis;
mod error;
mod events;
mod leases;
mod listener;
mod migration;
mod notices;
mod policies;
mod rows;
mod table_file;
mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use connection::Connections;
pub use connection::PostgresOptions;
pub use error::{PostgresError, PostgresFailure};
use jiff::Timestamp;
use leases::ObservedLeases;
use listener::{NewEventsSignal, listen};
use smol_str::SmolStr;
use table_file::TableFile;
use tokio::time::timeout;
use ulid::Ulid;

use crate::ledger::entity::EntityKind;
use crate::ledger::ledger_id::LedgerId;
use crate::ledger::policy_memory::PolicyMemory;
use crate::ledger::store::shared::{
    Application, GatewayDescription, MAX_LEASE, RegisteredGateway, Renewal, SharedStore,
};
use crate::ledger::store::{
    Appended, Continuation, DueRows, IdempotencyDigest, KnownHistory, LossOfEvents, NoticeCounts, NoticeRow,
    NoticeStore, Position, RequestDigest, SchemaChange, Sequencing, Store, StoreError, StoredEntity,
    StoredEvent, StoredHistory, StoredSecret,
};

/// The shortest lease term that the time limits allow.
const MIN_LEASE: Duration = Duration::from_millis(100);

/// The time limit for opening a ledger, without a migration.
const OPENING: Duration = Duration::from_secs(10);

/// The time limit for a migration, which may rewrite tables.
const MIGRATING: Duration = Duration::from_secs(3600);

/// A [`Store`] in a PostgreSQL database.
pub struct PostgresStore {
    connections: Connections,
    leases: ObservedLeases,
    signal: Arc<NewEventsSignal>,
    key_check: [u8; 16],
    schema: SchemaChange,
    secrets_file: Arc<TableFile>,
    notices_file: Arc<TableFile>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the ledger in a database. `key_check` is stored in a new ledger; an existing one must have the same value,
    /// which proves that it was created under the same keys. With `migrate`, a missing ledger is created, and one of an
    /// earlier version is migrated.
    ///
    /// # Errors
    /// [`PostgresError`]. Nothing was written then.
    pub fn open(
        options: PostgresOptions,
        key_check: &[u8; 16],
        migrate: bool,
    ) -> Result<PostgresStore, PostgresError> {
        let lease = options.lease;
        if !(MIN_LEASE..=MAX_LEASE).contains(&lease) {
            return Err(PostgresError::LeaseTerm);
        }
        let connections = Connections::new(options)?;
        let schema = connections.wait(async {
            let mut client = diagnosis::connect(connections.connector(), OPENING).await?;
            let prepared = async {
                diagnosis::examine(&client).await?;
                migration::prepare(&mut client, key_check, migrate).await
            };
            let limit = if migrate { MIGRATING } else { OPENING };
            let too_late = |_| {
                let source = PostgresFailure::TimedOut(limit);
                Err(PostgresError::Failed { doing: "examining the ledger", source })
            };
            timeout(limit, prepared).await.unwrap_or_else(too_late)
        })?;
        let signal = Arc::new(NewEventsSignal::default());
        connections.spawn(listen(connections.connector().clone(), connections.limits, Arc::clone(&signal)));
        let leases = ObservedLeases::new(lease);
        let file = |table| Arc::new(TableFile::new(table));
        let (secrets_file, notices_file) = (file(table_file::LOG_SECRETS), file(table_file::NOTICES));
        let key_check = *key_check;
        Ok(PostgresStore { connections, leases, signal, key_check, schema, secrets_file, notices_file })
    }

    /// Returns the version of the schema before and after the ledger was opened. It is later than the program's if a newer
    /// program has migrated it in a way that this one can work with.
    pub fn schema(&self) -> SchemaChange {
        self.schema
    }

    /// Returns the time for which a writer may keep others out without doing anything: a quarter of the shortest lease.
    fn hold(&self) -> Duration {
        self.leases.shortest_lease() / 4
    }
}

impl Store for PostgresStore {
    fn append(&self, known: &KnownHistory, sequence: &mut Sequencing<'_>) -> Result<Appended, StoreError> {
        append::append(&self.connections, self.hold(), known, sequence)
    }

    fn follow(&self, known: &KnownHistory, limit: usize) -> Result<Continuation, StoreError> {
        self.connections.operate("following the ledger", self.connections.limits.exchange, async |client| {
            events::follow(client, known, limit).await
        })
    }

    fn id(&self) -> Result<Option<LedgerId>, StoreError> {
        self.connections.operate(
            "reading the id of the ledger",
            self.connections.limits.exchange,
            async |client| {
                let row = client.query_one("SELECT id FROM purposegate.ledger", &[]).await?;
                let id = row.try_get::<_, &[u8]>(0)?.try_into();
                id.map(|id| Some(LedgerId::from_bytes(id)))
                    .map_err(|_| PostgresFailure::Damaged("the id of the ledger does not have 16 bytes"))
            },
        )
    }

    fn take_id(&self, id: LedgerId) -> Result<(), StoreError> {
        self.connections.operate(
            "writing the id of the ledger",
            self.connections.limits.exchange,
            async |client| {
                client.execute("UPDATE purposegate.ledger SET id = $1", &[&id.bytes().as_slice()]).await?;
                Ok(())
            },
        )
    }

    fn log_secrets(&self, entities: &[StoredEntity]) -> Result<Vec<Option<StoredSecret>>, StoreError> {
        self.connections.operate("reading log secrets", self.connections.limits.batch, async |client| {
            events::log_secrets(client, entities).await
        })
    }

    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<StoredHistory>, StoreError> {
        if entities.is_empty() {
            return Ok(Vec::new());
        }
        self.connections.operate("reading histories", self.connections.limits.batch, async |client| {
            events::histories(client, entities).await
        })
    }

    fn find_repeated(
        &self,
        keys: &[IdempotencyDigest],
    ) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let doing = "looking up idempotency keys";
        self.connections.operate(doing, self.connections.limits.batch, async |client| {
            events::find_repeated(client, keys).await
        })
    }

    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        events::entity_ids(&self.connections, kind, namespace)
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        let ids = self.entity_ids(EntityKind::Case, None)?;
        Ok(ids.iter().map(|id| Arc::from(id.as_str())).collect())
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        events::scan(&self.connections, each)
    }

    fn events_with(
        &self,
        part: &str,
        from: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<(StoredEntity, StoredEvent)>, StoreError> {
        self.connections.operate("searching events", self.connections.limits.read, async |client| {
            events::with_part(client, part, (from, before), limit).await
        })
    }

    /// Checks that the database is the ledger of these keys, in a version that this program can use, and that it has the
    /// last event that its head names.
    fn check_intact(&self) -> Result<(), StoreError> {
        let limit = self.connections.limits.exchange;
        self.connections.operate("checking the ledger", limit, async |client| {
            events::check_intact(client, &self.key_check).await
        })
    }

    fn history_end(&self) -> Result<KnownHistory, StoreError> {
        let limit = self.connections.limits.exchange;
        self.connections.operate("reading the end of the ledger", limit, async |client| {
            Ok(events::head(client).await?.end)
        })
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        leases::accept_history(&self.connections, self.hold(), until, now)
    }

    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError> {
        let limit = self.connections.limits.exchange;
        self.connections.operate("reading the losses", limit, async |client| leases::losses(client).await)
    }

    fn notice_store(&self) -> &dyn NoticeStore {
        self
    }

    fn policies(&self) -> Result<PolicyMemory, StoreError> {
        let doing = "reading which policies were in force";
        self.connections.operate(doing, self.connections.limits.read, policies::read)
    }

    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        let doing = "recording which policies are in force";
        self.connections.operate(doing, self.connections.limits.read, async |client| {
            policies::write(client, memory).await
        })
    }

    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        let doing = "reading which recipients are named";
        self.connections
            .operate(doing, self.connections.limits.read, async |client| events::recipients(client).await)
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        Some(self)
    }
}

const READING_NOTICES: &str = "reading notices";
const RECORDING_NOTICES: &str = "recording notices";

impl NoticeStore for PostgresStore {
    fn notices(
        &self,
        recipient: Option<&str>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        self.connections.operate(READING_NOTICES, self.connections.limits.read, async |client| {
            notices::list(client, recipient, after, limit).await
        })
    }

    fn notice(&self, id: Ulid) -> Result<Option<NoticeRow>, StoreError> {
        let limit = self.connections.limits.read;
        self.connections.operate(READING_NOTICES, limit, async |client| notices::one(client, id).await)
    }

    fn notices_of(&self, inquiry: Ulid) -> Result<Vec<NoticeRow>, StoreError> {
        self.connections.operate(READING_NOTICES, self.connections.limits.read, async |client| {
            notices::of_inquiry(client, inquiry).await
        })
    }

    fn due_notices(
        &self,
        now: Timestamp,
        sought: DueRows<'_>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        self.connections.operate(READING_NOTICES, self.connections.limits.read, async |client| {
            notices::due(client, now, sought, limit).await
        })
    }

    fn count_notices(&self, before: Timestamp) -> Result<NoticeCounts, StoreError> {
        self.connections.operate(READING_NOTICES, self.connections.limits.read, async |client| {
            notices::count(client, before).await
        })
    }

    fn count_notices_to(&self) -> Result<BTreeMap<Arc<str>, u64>, StoreError> {
        self.connections.operate(READING_NOTICES, self.connections.limits.read, async |client| {
            notices::count_to(client).await
        })
    }

    fn write_notices(&self, rows: &[NoticeRow]) -> Result<bool, StoreError> {
        self.connections.operate(RECORDING_NOTICES, self.connections.limits.batch, async |client| {
            notices::write(client, rows).await
        })
    }

    fn remove_inquiry(&self, inquiry: Ulid, version: u64, rows: &[NoticeRow]) -> Result<bool, StoreError> {
        self.connections.operate(RECORDING_NOTICES, self.connections.limits.batch, async |client| {
            notices::remove(client, inquiry, version, rows).await
        })
    }
}

impl SharedStore for PostgresStore {
    fn register(&self, gateway: &GatewayDescription) -> Result<(), StoreError> {
        self.leases.register(&self.connections, gateway)
    }

    /// Renews the lease. Every gateway does so all the time, so this also looks after the files with deleted rows.
    fn renew(&self, instance: Ulid, applied: Position) -> Result<Renewal, StoreError> {
        for file in [&self.secrets_file, &self.notices_file] {
            file.rewrite_if_due(&self.connections, self.hold());
        }
        self.leases.renew(&self.connections, instance, applied)
    }

    fn renew_excluding_writers(
        &self,
        instance: Ulid,
        known: &KnownHistory,
        apply: &mut Application<'_>,
    ) -> Result<Renewal, StoreError> {
        self.leases.renew_excluding_writers(&self.connections, instance, known, apply)
    }

    fn leave(&self, instance: Ulid) -> Result<(), StoreError> {
        self.leases.leave(&self.connections, instance)
    }

    fn confirmed(&self) -> Result<Position, StoreError> {
        self.leases.confirmed(&self.connections)
    }

    fn identity(&self) -> Result<u64, StoreError> {
        self.leases.identity(&self.connections)
    }

    fn gateways(&self) -> Result<Vec<RegisteredGateway>, StoreError> {
        self.leases.gateways(&self.connections)
    }

    fn report_loss(&self, until: Position, now: Timestamp) -> Result<KnownHistory, StoreError> {
        leases::report_loss(&self.connections, self.hold(), until, now)
    }

    fn begin_copy(&self, end: Position) -> Result<(), StoreError> {
        leases::begin_copy(&self.connections, self.hold(), end)
    }

    fn complete_copy(&self, end: Position) -> Result<(), StoreError> {
        leases::complete_copy(&self.connections, self.hold(), end)
    }

    fn wait_for_events(&self, at_most: Duration) {
        self.signal.wait(at_most);
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "`tests/suite` and the benchmark of the ledger use the rest")]
pub(super) mod rig;
#[cfg(test)]
pub(super) mod tests;
