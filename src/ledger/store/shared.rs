//! The coordination of gateways that share one store.
//!
//! Each gateway holds a lease. It decides on its own copy of the ledger only while its lease lasts, and the store renews a
//! lease only for a gateway that has applied every event. So a gateway that cannot be reached stops by itself, and the
//! writer of an event knows when every other gateway has applied it or has stopped.
//!
//! Invariants of every implementation: a renewal and an append exclude each other, so that an append is either visible to
//! the renewal, which is then refused, or the renewal is visible to every later [`SharedStore::confirmed`]; a renewal
//! is durable before it is answered; leases are measured on each gateway's own clock there, and on the own clock of the
//! process that asks for [`SharedStore::confirmed`] here. Only the rates of the clocks have to agree, within
//! [`CLOCK_DRIFT`]. Nothing rests on the clock of the store's server, which somebody may set.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ulid::Ulid;

use super::{KnownHistory, LedgerTail, Position, StoreError};

/// The factor by which others consider a lease longer than its gateway does: clocks may differ in rate by 1 %.
pub const CLOCK_DRIFT: f64 = 1.01;

/// The longest lease. After a failover the store may not know all leases, so everybody waits this long.
pub const MAX_LEASE: Duration = Duration::from_secs(30);

/// A gateway as it registers with the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayDescription {
    /// Id of the process, made at its start.
    pub instance: Ulid,
    /// Name of the gateway. Two processes with one name are an error of configuration that a warning reports.
    pub name: Arc<str>,
    /// Term of its leases: the `max-staleness` of its configuration.
    pub lease: Duration,
    /// Version of the program.
    pub version: Arc<str>,
    /// Digest of the rules by which ids are normalized. All gateways of a ledger have the same.
    pub namespaces: [u8; 32],
    /// Names of the recipients in its configuration.
    pub recipients: Vec<Arc<str>>,
    /// The policy packs in its configuration: title and revision.
    pub packs: Vec<(Arc<str>, Arc<str>)>,
}

/// The answer to a request for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease counts from the moment at which the gateway began to ask for events.
    Renewed,
    /// The store has events that the gateway has not applied.
    Behind,
    /// Events were lost, and nobody has accepted it yet. No gateway gets a lease.
    HistoryLost {
        /// Last position that is known to be lost.
        until: Position,
    },
}

/// A gateway on record, as the others see it.
#[derive(Clone, Debug)]
pub struct RegisteredGateway {
    /// Its registration.
    pub description: GatewayDescription,
    /// Last position that it confirmed to have applied.
    pub applied: Position,
    /// Time of its last renewal, by the store's clock.
    pub renewed: Timestamp,
    /// True if its lease may still last. For information: no barrier rests on it.
    pub live: bool,
}

/// Applies the events at the end of the ledger that a gateway has missed.
pub type Application<'a> = dyn FnMut(LedgerTail) -> Result<(), StoreError> + 'a;

/// A store that several gateways use at the same time.
///
/// # Errors
/// Every method returns [`StoreError`] if the store fails or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "the errors of all methods are described at the trait")]
pub trait SharedStore: Send + Sync {
    /// Records what a gateway is, without a lease. Repeated when its configuration changes, and after a failure, since a
    /// server that failed may have lost it. A gateway that is on record keeps its lease, and the longer of both terms.
    fn register(&self, gateway: &GatewayDescription) -> Result<(), StoreError>;

    /// Renews the lease of a registered gateway, provided that `applied` is the last position of the ledger and no loss of
    /// events waits for acceptance.
    ///
    /// The gateway notes its own clock before it asks for the events that it applies; the lease counts from there. It
    /// confirms `applied` only when every decision on an earlier state was handed out or dropped. A gateway that is not on
    /// record is a transient error.
    fn renew(&self, instance: Ulid, applied: Position) -> Result<Renewal, StoreError>;

    /// Renews the lease of a registered gateway while no other writer can append, for a gateway that other writers always
    /// overtake. `apply` gets the events after `known`, applies them and waits as for [`SharedStore::renew`]; then the lease
    /// is renewed for [`LedgerTail::last`], in the same transaction.
    ///
    /// More than [`MAX_MISSED`](super::MAX_MISSED) events, or a history that diverges, are [`Renewal::Behind`], and `apply`
    /// is not called. Nor is it while a loss waits for acceptance. Its error ends the renewal.
    fn renew_excluding_writers(
        &self,
        instance: Ulid,
        known: &KnownHistory,
        apply: &mut Application<'_>,
    ) -> Result<Renewal, StoreError>;

    /// Ends the lease of a gateway that stops, so that nobody waits for it.
    fn leave(&self, instance: Ulid) -> Result<(), StoreError>;

    /// Returns the last position that is in force everywhere: every gateway has applied it, or its lease is over. Never
    /// more than the last position of the ledger. Zero while leases may last that a failover lost.
    ///
    /// A lease is over when this process has seen it for its term times [`CLOCK_DRIFT`] without a renewal.
    fn confirmed(&self) -> Result<Position, StoreError>;

    /// Returns a number that changes when the server is another one, or may have lost its last transactions in a failover.
    fn identity(&self) -> Result<u64, StoreError>;

    /// Returns all gateways on record.
    fn gateways(&self) -> Result<Vec<RegisteredGateway>, StoreError>;

    /// Reports that events up to `until` existed and are lost, and returns the history that ends with this record. From then
    /// on no gateway gets a lease until [`Store::accept_history`](super::Store::accept_history).
    ///
    /// The record takes a position of its own, after `until` and after the last one, without an event: the loss of the record
    /// itself is found as any other. That position is the one to accept. A loss up to a position that is on record as lost,
    /// or was accepted, is not recorded again; then the present end of the history is returned.
    fn report_loss(&self, until: Position, now: Timestamp) -> Result<KnownHistory, StoreError>;

    /// Keeps all gateways from getting a lease while the ledger is the target of a copy, which ends at `end`, until
    /// [`SharedStore::complete_copy`]. A copy that breaks off leaves it so: its ledger lacks events.
    fn begin_copy(&self, end: Position) -> Result<(), StoreError>;

    /// Ends what [`SharedStore::begin_copy`] with the same `end` has begun: the copy is whole.
    fn complete_copy(&self, end: Position) -> Result<(), StoreError>;

    /// Blocks until another process may have appended events, or until the time is over. Events may also be appended
    /// without ending the wait: it only saves time.
    fn wait_for_events(&self, at_most: Duration);
}
