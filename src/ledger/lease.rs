//! The lease of a gateway on a shared ledger: how long its copy of the ledger counts as current.
//!
//! Times are readings of one clock of this machine that nobody sets and that goes on while the machine is suspended
//! (`CLOCK_BOOTTIME`). The lease knows no clock and no store: [`Follower`](super::follower::Follower) extends and ends it.
//!
//! Invariant: a lease that counts from a time is extended only after the store has confirmed that this gateway had applied
//! every event that was durable at that time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The age of a gateway's knowledge of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The gateway may decide on what it knows.
    Current,
    /// Events may exist that the gateway should have applied by now.
    Stale {
        /// Time since the last moment of which everything is known.
        age: Duration,
    },
    /// Nothing is known: the ledger has not been reached since the start, or its history was lost and nobody has accepted
    /// this yet.
    Unknown,
}

/// `Lease::current_at` without a lease.
const NO_LEASE: u64 = u64::MAX;

/// A lease. The follower extends it, every exchange reads it.
#[derive(Debug)]
pub(super) struct Lease {
    term: Duration,
    /// Nanoseconds of the clock at the last moment of which everything is known.
    current_at: AtomicU64,
}

impl Lease {
    /// Returns a lease that has not begun.
    pub(super) fn new(term: Duration) -> Lease {
        Lease { term, current_at: AtomicU64::new(NO_LEASE) }
    }

    /// Returns the term: the oldest knowledge on which the gateway decides.
    pub(super) fn term(&self) -> Duration {
        self.term
    }

    /// Returns how fresh the knowledge is. The caller reads the clock right before, and again before each hand-out.
    pub(super) fn freshness(&self, now: Duration) -> Freshness {
        let current_at = self.current_at.load(Ordering::SeqCst);
        if current_at == NO_LEASE {
            return Freshness::Unknown;
        }
        let age = now.saturating_sub(Duration::from_nanos(current_at));
        if age < self.term { Freshness::Current } else { Freshness::Stale { age } }
    }

    /// Returns the time until the knowledge is stale. Zero if it is, or if nothing is known.
    pub(super) fn remaining(&self, now: Duration) -> Duration {
        match self.current_at.load(Ordering::SeqCst) {
            NO_LEASE => Duration::ZERO,
            current_at => self.term.saturating_sub(now.saturating_sub(Duration::from_nanos(current_at))),
        }
    }

    /// True if the last moment of which everything is known is at least so long ago, or if there is none.
    pub(super) fn is_older(&self, than: Duration, now: Duration) -> bool {
        match self.current_at.load(Ordering::SeqCst) {
            NO_LEASE => true,
            current_at => now.saturating_sub(Duration::from_nanos(current_at)) >= than,
        }
    }

    /// Begins or extends the lease: everything that was durable at `asked` is known. Never shortens it.
    pub(super) fn extend(&self, asked: Duration) {
        let asked = u64::try_from(asked.as_nanos()).unwrap_or(NO_LEASE - 1);
        let later = |current_at| (current_at == NO_LEASE || current_at < asked).then_some(asked);
        // The closure declines a time before the present one; nothing is to be done then.
        let _ = self.current_at.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }

    /// Ends the lease at once. Nothing counts as known until it is extended again.
    pub(super) fn end(&self) {
        self.current_at.store(NO_LEASE, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_lease_counts_from_the_question_and_ends_with_its_term() {
        let lease = Lease::new(ms(2000));
        assert_eq!(lease.freshness(ms(0)), Freshness::Unknown);
        lease.extend(ms(500));
        assert_eq!(lease.freshness(ms(2499)), Freshness::Current);
        assert_eq!(lease.freshness(ms(2500)), Freshness::Stale { age: ms(2000) });
        assert_eq!(lease.freshness(ms(9500)), Freshness::Stale { age: ms(9000) });
    }

    #[test]
    fn the_remaining_time_ends_with_the_lease() {
        let lease = Lease::new(ms(2000));
        assert_eq!(lease.remaining(ms(0)), ms(0));
        lease.extend(ms(500));
        assert_eq!((lease.remaining(ms(700)), lease.remaining(ms(2499))), (ms(1800), ms(1)));
        assert_eq!((lease.remaining(ms(2500)), lease.remaining(ms(9500))), (ms(0), ms(0)));
        lease.end();
        assert_eq!(lease.remaining(ms(501)), ms(0));
    }

    #[test]
    fn a_late_answer_does_not_shorten_a_lease() {
        let lease = Lease::new(ms(2000));
        lease.extend(ms(500));
        lease.extend(ms(100));
        assert_eq!(lease.freshness(ms(2499)), Freshness::Current);
        // An answer that comes after the whole term gives no lease.
        let late = Lease::new(ms(2000));
        late.extend(ms(100));
        assert_eq!(late.freshness(ms(2100)), Freshness::Stale { age: ms(2000) });
    }

    #[test]
    fn after_its_end_nothing_is_known() {
        let lease = Lease::new(ms(2000));
        lease.extend(ms(500));
        lease.end();
        assert_eq!(lease.freshness(ms(501)), Freshness::Unknown);
        lease.extend(ms(600));
        assert_eq!(lease.freshness(ms(601)), Freshness::Current);
    }

    #[test]
    fn the_age_counts_from_the_question_too() {
        let lease = Lease::new(ms(2000));
        assert!(lease.is_older(ms(500), ms(0)));
        lease.extend(ms(100));
        assert!(!lease.is_older(ms(500), ms(599)));
        assert!(lease.is_older(ms(500), ms(600)));
    }

    #[test]
    fn a_clock_reading_from_before_the_lease_is_current() {
        let lease = Lease::new(ms(2000));
        lease.extend(ms(500));
        assert_eq!(lease.freshness(ms(400)), Freshness::Current);
    }
}
