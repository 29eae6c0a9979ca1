//! The leases of the gateways that share a store, as the store keeps them.
//!
//! It is pure, and each method is one transaction. A store in memory uses it as it is, a database does the same in SQL.
//!
//! Invariants: a lease is renewed only for a gateway that has applied the last position, and never while a loss of events
//! waits for acceptance. No position is used twice by histories that the store knows of. Nothing here reads a clock:
//! [`LeaseObserver`](super::lease_observer::LeaseObserver) measures how long a lease may last, on the clock of the process that
//! asks. So it does not matter if somebody sets the clock of the store's server.

use std::collections::BTreeMap;
use std::time::Duration;

use ulid::Ulid;

use super::Position;
use super::shared::Renewal;

/// Identifies a server and its history. It changes with each failover and each restore, when the server may have lost
/// its latest transactions, leases among them. PostgreSQL has its system identifier and timeline for this.
pub(in crate::ledger) type HistoryIdentity = u64;

/// A gateway on record.
#[derive(Clone, Debug)]
struct GatewayRow {
    /// The longest term of its leases.
    term: Duration,
    /// Last position that it confirmed to have applied.
    applied: Position,
    /// Number of renewals. Zero if it has had no lease.
    renewals: u64,
}

/// A lease on record, as of the moment of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct LeaseOnRecord {
    pub(in crate::ledger) instance: Ulid,
    /// Last position that the gateway confirmed to have applied.
    pub(in crate::ledger) applied: Position,
    pub(in crate::ledger) term: Duration,
    /// Number of renewals: each one makes it another lease.
    pub(in crate::ledger) renewals: u64,
}

/// All leases on record, read in one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct LeaseTable {
    pub(in crate::ledger) identity: HistoryIdentity,
    /// True if no lease from before this identity can last any more (see [`Coordination::settle`]).
    pub(in crate::ledger) settled: bool,
    /// Last position of the ledger.
    pub(in crate::ledger) head: Position,
    pub(in crate::ledger) leases: Vec<LeaseOnRecord>,
}

/// The end of the ledger and the leases of its gateways.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Coordination {
    head: Position,
    /// Last position that is known to be lost, while nobody has accepted it.
    lost: Option<Position>,
    /// Last position whose loss was accepted.
    accepted: Position,
    identity: HistoryIdentity,
    /// The identity before which no lease can last any more.
    settled: HistoryIdentity,
    gateways: BTreeMap<Ulid, GatewayRow>,
}

impl Coordination {
    /// Returns the coordination of a ledger that ends at `head` and has had no leases.
    pub(in crate::ledger) fn new(identity: HistoryIdentity, head: Position) -> Coordination {
        Coordination {
            head,
            lost: None,
            accepted: Position::default(),
            identity,
            settled: identity,
            gateways: BTreeMap::new(),
        }
    }

    /// Returns the last position: the next event gets the one after it.
    pub(in crate::ledger) fn head(&self) -> Position {
        self.head
    }

    /// Returns the last position that is known to be lost, while nobody has accepted it.
    pub(in crate::ledger) fn lost(&self) -> Option<Position> {
        self.lost
    }

    /// Events up to `last` are appended.
    pub(in crate::ledger) fn appended(&mut self, last: Position) {
        self.head = self.head.max(last);
    }

    /// Records a gateway, without a lease. A gateway that is on record keeps its lease, and the longer of both terms.
    pub(in crate::ledger) fn register(&mut self, instance: Ulid, term: Duration) {
        let new = GatewayRow { term, applied: Position::default(), renewals: 0 };
        let row = self.gateways.entry(instance).or_insert(new);
        row.term = row.term.max(term);
    }

    /// Renews the lease of a gateway that has applied the last position. `None` if the gateway is not on record: it
    /// registers first.
    pub(in crate::ledger) fn renew(&mut self, instance: Ulid, applied: Position) -> Option<Renewal> {
        let row = self.gateways.get_mut(&instance)?;
        Some(if let Some(until) = self.lost {
            Renewal::HistoryLost { until }
        } else if applied == self.head {
            row.applied = applied;
            row.renewals += 1;
            Renewal::Renewed
        } else {
            Renewal::Behind
        })
    }

    /// Renews as the first design did: whatever the gateway has applied. The simulation finds the hole in it.
    #[cfg(test)]
    pub(in crate::ledger) fn renew_without_comparison(
        &mut self,
        instance: Ulid,
        applied: Position,
    ) -> Option<Renewal> {
        let head = std::mem::replace(&mut self.head, applied);
        let renewal = self.renew(instance, applied);
        self.head = head;
        renewal
    }

    /// Ends the lease of a gateway that hands out nothing any more.
    pub(in crate::ledger) fn leave(&mut self, instance: Ulid) {
        self.gateways.remove(&instance);
    }

    /// Removes a gateway that is gone, unless it has renewed its lease since.
    pub(in crate::ledger) fn remove(&mut self, instance: Ulid, renewals: u64) {
        if self.gateways.get(&instance).is_some_and(|row| row.renewals == renewals) {
            self.gateways.remove(&instance);
        }
    }

    /// Returns all leases on record.
    pub(in crate::ledger) fn leases(&self) -> LeaseTable {
        let lease = |(instance, row): (&Ulid, &GatewayRow)| {
            let GatewayRow { term, applied, renewals } = *row;
            (renewals > 0).then_some(LeaseOnRecord { instance: *instance, applied, term, renewals })
        };
        LeaseTable {
            identity: self.identity,
            settled: self.settled == self.identity,
            head: self.head,
            leases: self.gateways.iter().filter_map(lease).collect(),
        }
    }

    /// Records that events up to `until` are lost, and returns the last position. From then on no gateway gets a lease until
    /// [`Coordination::accept_history`].
    ///
    /// The record takes a position of its own after all others, without an event. So a history in which the record itself was
    /// lost is another one than that of the gateways that have seen it. A loss that is on record, or was accepted, is not
    /// recorded again: each gateway that knew the events reports them.
    pub(in crate::ledger) fn report_loss(&mut self, until: Position) -> Position {
        if self.lost.unwrap_or(self.accepted) < until {
            self.head = Position(self.head.max(until).0.saturating_add(1));
            self.lost = Some(self.head);
        }
        self.head
    }

    /// Accepts that the events up to `until` that are not there are lost.
    pub(in crate::ledger) fn accept_history(&mut self, until: Position) {
        self.accepted = self.accepted.max(until);
        self.head = self.head.max(until);
        self.lost = self.lost.filter(|lost| *lost > self.accepted);
    }

    /// The ledger is the target of a copy that ends at `end`: until it is whole it lacks events.
    pub(in crate::ledger) fn begin_copy(&mut self, end: Position) {
        self.lost = Some(Position(end.0.saturating_add(1)));
    }

    /// The copy is whole.
    pub(in crate::ledger) fn complete_copy(&mut self) {
        self.lost = None;
    }

    /// The server is another one now, or has another history. Leases from before may be missing.
    #[cfg(test)]
    pub(in crate::ledger) fn change_identity(&mut self, identity: HistoryIdentity) {
        self.identity = identity;
    }

    /// Records that no lease from before this identity can last any more.
    pub(in crate::ledger) fn settle(&mut self, identity: HistoryIdentity) {
        if identity == self.identity {
            self.settled = identity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(2);

    fn gateway(number: u128) -> Ulid {
        Ulid::from(number)
    }

    /// Returns a ledger with 7 events and two gateways that have applied them.
    fn two_gateways() -> Coordination {
        let mut coordination = Coordination::new(1, Position(7));
        for number in [1, 2] {
            coordination.register(gateway(number), TERM);
            assert_eq!(coordination.renew(gateway(number), Position(7)), Some(Renewal::Renewed));
        }
        coordination
    }

    #[test]
    fn only_a_gateway_at_the_end_of_the_ledger_gets_a_lease() {
        let mut coordination = two_gateways();
        coordination.appended(Position(8));
        assert_eq!(coordination.renew(gateway(1), Position(7)), Some(Renewal::Behind));
        assert_eq!(coordination.leases().leases[0].applied, Position(7));
        assert_eq!(coordination.leases().leases[0].renewals, 1);
        assert_eq!(coordination.renew(gateway(1), Position(8)), Some(Renewal::Renewed));
        assert_eq!(coordination.leases().leases[0].applied, Position(8));
        assert_eq!(coordination.leases().leases[0].renewals, 2);
        assert_eq!(coordination.renew(gateway(3), Position(8)), None, "it is not registered");
    }

    #[test]
    fn a_registered_gateway_has_no_lease_and_a_second_registration_ends_none() {
        let mut coordination = two_gateways();
        coordination.register(gateway(3), TERM);
        assert_eq!(coordination.leases().leases.len(), 2);
        coordination.register(gateway(1), TERM / 2);
        assert_eq!(
            coordination.leases().leases[0],
            LeaseOnRecord { instance: gateway(1), applied: Position(7), term: TERM, renewals: 1 }
        );
        coordination.leave(gateway(1));
        assert_eq!(coordination.leases().leases.len(), 1);
    }

    #[test]
    fn a_gateway_that_has_renewed_is_not_removed() {
        let mut coordination = two_gateways();
        assert_eq!(coordination.renew(gateway(1), Position(7)), Some(Renewal::Renewed));
        coordination.remove(gateway(1), 1);
        coordination.remove(gateway(2), 1);
        let left: Vec<Ulid> = coordination.leases().leases.iter().map(|lease| lease.instance).collect();
        assert_eq!(left, [gateway(1)]);
    }

    #[test]
    fn after_a_loss_nobody_gets_a_lease_until_it_is_accepted() {
        let mut coordination = two_gateways();
        assert_eq!(coordination.report_loss(Position(9)), Position(10), "no position is used twice");
        let lost = Some(Renewal::HistoryLost { until: Position(10) });
        assert_eq!(coordination.renew(gateway(1), Position(10)), lost);
        // The gateways that knew less report it too.
        assert_eq!(coordination.report_loss(Position(8)), Position(10));
        coordination.accept_history(Position(9));
        assert_eq!(coordination.renew(gateway(1), Position(10)), lost);
        coordination.accept_history(Position(10));
        assert_eq!(coordination.renew(gateway(1), Position(10)), Some(Renewal::Renewed));
        // Some report it late.
        coordination.report_loss(Position(8));
        assert_eq!(coordination.lost(), None);
        // One that knew more has lost more.
        assert_eq!(coordination.report_loss(Position(12)), Position(13));
        assert_eq!(coordination.lost(), Some(Position(13)));
    }

    #[test]
    fn a_loss_that_is_found_late_takes_a_position_too() {
        let mut coordination = two_gateways();
        assert_eq!(coordination.report_loss(Position(5)), Position(8));
        assert_eq!(coordination.lost(), Some(Position(8)));
    }

    #[test]
    fn another_identity_is_settled_only_for_itself() {
        let mut coordination = two_gateways();
        assert!(coordination.leases().settled, "a new ledger has had no leases");
        coordination.change_identity(2);
        assert!(!coordination.leases().settled);
        coordination.settle(1);
        assert!(!coordination.leases().settled);
        coordination.settle(2);
        assert!(coordination.leases().settled);
    }
}
