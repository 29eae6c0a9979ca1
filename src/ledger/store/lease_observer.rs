//! Measures on the clock of this process how long the leases of other gateways may last.
//!
//! A lease counts on the clock of its gateway from before the renewal that gave it. An observer that reads the lease and
//! then waits for the term and a little more ([`CLOCK_DRIFT`]) on its own clock knows that the lease is over, unless it was
//! renewed, and then it is another lease. So no two clocks need to show the same time, and the clock of the store's server,
//! which somebody may set, is not read at all. A gateway that is gone delays a barrier only once: the observer remembers that
//! its lease is over.
//!
//! Invariant: the observer reads its clock after it has read the leases, so that a lease is never older than it looks.

use std::collections::HashMap;
use std::time::Duration;

use ulid::Ulid;

use super::Position;
use super::coordination::{HistoryIdentity, LeaseOnRecord, LeaseTable};
use super::shared::CLOCK_DRIFT;

/// A gateway whose lease has not been renewed for this time is removed from the record.
const REMOVE_AFTER: Duration = Duration::from_secs(3600);

/// A lease, and the time at which this process first saw it.
#[derive(Clone, Copy, Debug)]
struct SeenLease {
    renewals: u64,
    since: Duration,
}

/// The leases that this process has seen.
#[derive(Debug)]
pub(in crate::ledger) struct LeaseObserver {
    /// The longest lease that a gateway may have: [`MAX_LEASE`](super::shared::MAX_LEASE).
    longest_lease: Duration,
    /// The identity of the latest table, and the time of its first sight.
    identity: Option<(HistoryIdentity, Duration)>,
    seen: HashMap<Ulid, SeenLease>,
}

impl LeaseObserver {
    /// Returns an observer that has seen nothing.
    pub(in crate::ledger) fn new(longest_lease: Duration) -> LeaseObserver {
        LeaseObserver { longest_lease, identity: None, seen: HashMap::new() }
    }

    /// Returns the last position that is in force on every gateway that may hold a lease. Zero while leases may exist that
    /// are not on record.
    ///
    /// `now` was read from the clock after the table was read from the store.
    pub(in crate::ledger) fn confirmed(&mut self, now: Duration, table: &LeaseTable) -> Position {
        self.observe(now, table);
        if !table.settled && self.settled(now).is_none() {
            return Position::default();
        }
        let live = table.leases.iter().filter(|lease| self.may_last(now, lease));
        live.map(|lease| lease.applied).min().map_or(table.head, |least| least.min(table.head))
    }

    /// True if the lease may last. `now` is as for [`LeaseObserver::confirmed`], which has seen the lease before.
    pub(in crate::ledger) fn may_last(&self, now: Duration, lease: &LeaseOnRecord) -> bool {
        let over = |seen: &SeenLease| now.saturating_sub(seen.since) >= longest(lease.term);
        !self.seen.get(&lease.instance).is_some_and(|seen| seen.renewals == lease.renewals && over(seen))
    }

    /// Returns the identity before which no lease can last any more, to be recorded with
    /// [`Coordination::settle`](super::coordination::Coordination::settle) if the latest table had it unsettled.
    pub(in crate::ledger) fn settled(&self, now: Duration) -> Option<HistoryIdentity> {
        let (identity, since) = self.identity?;
        (now.saturating_sub(since) >= longest(self.longest_lease)).then_some(identity)
    }

    /// Returns the gateways that are gone, each with its last renewal, to be removed from the record.
    pub(in crate::ledger) fn gone(&self, now: Duration) -> Vec<(Ulid, u64)> {
        let gone = self.seen.iter().filter(|(_, seen)| now.saturating_sub(seen.since) >= REMOVE_AFTER);
        gone.map(|(instance, seen)| (*instance, seen.renewals)).collect()
    }

    /// Forgets all leases: the connection to the server was lost, and with the server's last transactions a renewal may be
    /// lost that gave the same lease a second time.
    pub(in crate::ledger) fn forget(&mut self) {
        self.seen.clear();
    }

    fn observe(&mut self, now: Duration, table: &LeaseTable) {
        if self.identity.is_none_or(|(identity, _)| identity != table.identity) {
            self.identity = Some((table.identity, now));
            self.forget();
        }
        self.seen.retain(|instance, _| table.leases.iter().any(|lease| lease.instance == *instance));
        for lease in &table.leases {
            let first = SeenLease { renewals: lease.renewals, since: now };
            let seen = self.seen.entry(lease.instance).or_insert(first);
            if seen.renewals != lease.renewals {
                *seen = first;
            }
        }
    }
}

/// Returns the time after which a lease of this term is over, on a clock whose rate differs by the permitted drift.
fn longest(term: Duration) -> Duration {
    Duration::try_from_secs_f64(term.as_secs_f64() * CLOCK_DRIFT).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::store::shared::MAX_LEASE;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn lease(instance: u128, applied: u64, renewals: u64) -> LeaseOnRecord {
        LeaseOnRecord { instance: Ulid::from(instance), applied: Position(applied), term: ms(2000), renewals }
    }

    fn table(head: u64, leases: &[LeaseOnRecord]) -> LeaseTable {
        LeaseTable { identity: 1, settled: true, head: Position(head), leases: leases.to_vec() }
    }

    #[test]
    fn the_gateway_that_has_applied_least_decides() {
        let mut observer = LeaseObserver::new(MAX_LEASE);
        assert_eq!(observer.confirmed(ms(0), &table(9, &[lease(1, 8, 4), lease(2, 7, 4)])), Position(7));
        assert_eq!(observer.confirmed(ms(5), &table(9, &[lease(1, 9, 5), lease(2, 8, 5)])), Position(8));
        assert_eq!(observer.confirmed(ms(6), &table(9, &[lease(1, 9, 5)])), Position(9));
        assert_eq!(observer.confirmed(ms(7), &table(9, &[])), Position(9));
    }

    #[test]
    fn a_lease_that_is_not_renewed_is_over_after_its_term_and_the_drift() {
        let mut observer = LeaseObserver::new(MAX_LEASE);
        let frozen = [lease(1, 9, 4), lease(2, 7, 4)];
        assert_eq!(observer.confirmed(ms(100), &table(9, &frozen)), Position(7));
        assert_eq!(observer.confirmed(ms(2119), &table(9, &frozen)), Position(7));
        assert_eq!(observer.confirmed(ms(2120), &table(9, &frozen)), Position(9));
        // It is remembered, so the next event need not wait.
        assert_eq!(observer.confirmed(ms(2121), &table(10, &[lease(1, 10, 5), frozen[1]])), Position(10));
    }

    #[test]
    fn a_renewal_is_another_lease() {
        let mut observer = LeaseObserver::new(MAX_LEASE);
        assert_eq!(observer.confirmed(ms(0), &table(7, &[lease(1, 7, 4)])), Position(7));
        assert_eq!(observer.confirmed(ms(2100), &table(8, &[lease(1, 7, 5)])), Position(7));
        assert_eq!(observer.confirmed(ms(4119), &table(8, &[lease(1, 7, 5)])), Position(7));
        assert_eq!(observer.confirmed(ms(4120), &table(8, &[lease(1, 7, 5)])), Position(8));
        // An earlier number, after the server lost a renewal, is another lease too.
        assert_eq!(observer.confirmed(ms(4121), &table(8, &[lease(1, 7, 4)])), Position(7));
    }

    #[test]
    fn after_the_connection_was_lost_leases_count_anew() {
        let mut observer = LeaseObserver::new(MAX_LEASE);
        let gone = table(8, &[lease(1, 7, 4)]);
        observer.confirmed(ms(0), &gone);
        assert_eq!(observer.confirmed(ms(2020), &gone), Position(8));
        observer.forget();
        assert_eq!(observer.confirmed(ms(2021), &gone), Position(7));
        assert_eq!(observer.confirmed(ms(4041), &gone), Position(8));
    }

    #[test]
    fn after_a_failover_nothing_is_confirmed_until_every_lost_lease_is_over() {
        let mut observer = LeaseObserver::new(MAX_LEASE);
        let before = table(7, &[lease(1, 6, 4)]);
        observer.confirmed(ms(0), &before);
        assert_eq!(observer.confirmed(ms(2020), &before), Position(7));
        let after = LeaseTable { identity: 2, settled: false, ..before };
        assert_eq!(observer.confirmed(ms(3000), &after), Position(0));
        assert_eq!(observer.confirmed(ms(33_299), &after), Position(0));
        assert_eq!(observer.settled(ms(33_299)), None);
        assert_eq!(observer.settled(ms(33_300)), Some(2));
        assert_eq!(observer.confirmed(ms(33_300), &after), Position(7));
        // Somebody else may have waited before; then only the leases on record count.
        let mut late = LeaseObserver::new(MAX_LEASE);
        let settled = LeaseTable { settled: true, ..after };
        assert_eq!(late.confirmed(ms(0), &settled), Position(6));
        assert_eq!(late.confirmed(ms(2020), &settled), Position(7));
    }

    #[test]
    fn a_gateway_that_is_gone_for_an_hour_is_removed() {
        let mut observer = LeaseObserver::new(MAX_LEASE);
        observer.confirmed(ms(0), &table(7, &[lease(1, 7, 4), lease(2, 7, 9)]));
        observer.confirmed(ms(10), &table(7, &[lease(1, 7, 5), lease(2, 7, 9)]));
        assert_eq!(observer.gone(ms(3_599_999)), []);
        assert_eq!(observer.gone(ms(3_600_000)), [(Ulid::from(2_u128), 9)]);
    }
}
