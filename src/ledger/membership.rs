//! The part that this process takes in a shared ledger: its description, its lease, and those who wait for the others.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use ulid::Ulid;

use super::lease::Lease;
use super::store::Position;
use super::store::shared::GatewayDescription;

/// The part of a gateway in a shared ledger.
pub(super) struct Membership {
    lease: Arc<Lease>,
    description: Mutex<GatewayDescription>,
    barrier: Barrier,
}

/// Waiting until an event is in force everywhere.
struct Barrier {
    waiting: AtomicUsize,
    /// Sleep of the thread that looks at the leases while nobody waits.
    sleep: (Mutex<()>, Condvar),
    /// Number of looks at the leases that have begun.
    looks: AtomicU64,
    /// The last look that has ended, and the last position that was in force everywhere then.
    confirmed: watch::Sender<(u64, Position)>,
}

impl Membership {
    pub(super) fn new(lease: Arc<Lease>, description: GatewayDescription) -> Membership {
        let confirmed = watch::Sender::new((0, Position::default()));
        let looks = AtomicU64::new(0);
        let barrier = Barrier { waiting: AtomicUsize::new(0), sleep: Default::default(), looks, confirmed };
        Membership { lease, description: description.into(), barrier }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Returns the description that the gateway registers.
    pub(super) fn description(&self) -> GatewayDescription {
        self.description.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the description. The gateway stays the same process.
    pub(super) fn describe(&self, gateway: GatewayDescription) {
        let mut description = self.description.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = description.instance;
        *description = GatewayDescription { instance, ..gateway };
    }

    /// Returns the id of this process.
    pub(super) fn instance(&self) -> Ulid {
        self.description.lock().unwrap_or_else(PoisonError::into_inner).instance
    }

    /// Returns when a look that begins after this call confirms the position: an earlier one may have seen a history that was
    /// lost since. Cancel safety: dropping the future ends the wait.
    pub(super) async fn wait_until_confirmed(&self, position: Position) {
        let earlier = self.barrier.looks.load(Ordering::SeqCst);
        let mut confirmed = self.barrier.confirmed.subscribe();
        self.barrier.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = CountedWait(&self.barrier.waiting);
        self.wake();
        // An error cannot occur: the sender lives as long as `self`.
        let _ = confirmed.wait_for(|(look, confirmed)| *look > earlier && *confirmed >= position).await;
    }

    /// True if somebody waits for the others.
    pub(super) fn is_awaited(&self) -> bool {
        self.barrier.waiting.load(Ordering::SeqCst) > 0
    }

    /// Sleeps until somebody waits, until the time is over, or until `is_closing` returns true after [`Membership::wake`].
    pub(super) fn sleep_until_awaited(&self, at_most: Duration, is_closing: impl Fn() -> bool) {
        let sleeping = self.barrier.sleep.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |_: &mut ()| !self.is_awaited() && !is_closing();
        drop(self.barrier.sleep.1.wait_timeout_while(sleeping, at_most, idle));
    }

    /// Ends [`Membership::sleep_until_awaited`].
    pub(super) fn wake(&self) {
        drop(self.barrier.sleep.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.barrier.sleep.1.notify_all();
    }

    /// Begins a look at the leases, and returns its number.
    pub(super) fn begin_look(&self) -> u64 {
        self.barrier.looks.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Publishes the last position that is in force everywhere, as a look has found it.
    pub(super) fn confirm(&self, look: u64, position: Position) {
        self.barrier.confirmed.send_replace((look, position));
    }
}

/// Counts somebody who waits, until it is dropped.
struct CountedWait<'m>(&'m AtomicUsize);

impl Drop for CountedWait<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_position_is_confirmed_only_by_a_look_that_began_after_the_wait() {
        let description = GatewayDescription {
            instance: Ulid::from(1_u128),
            name: Arc::from("one"),
            lease: Duration::from_secs(2),
            version: Arc::from("test"),
            namespaces: [0; 32],
            recipients: Vec::new(),
            packs: Vec::new(),
        };
        let membership = Membership::new(Arc::new(Lease::new(Duration::from_secs(2))), description);
        let earlier = membership.begin_look();
        let waits = membership.wait_until_confirmed(Position(7));
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending() && membership.is_awaited());
        // It may have seen position 7 of a history that was lost before this event got the position again.
        membership.confirm(earlier, Position(9));
        assert!(futures_util::poll!(&mut waits).is_pending());
        let later = membership.begin_look();
        membership.confirm(later, Position(6));
        assert!(futures_util::poll!(&mut waits).is_pending());
        membership.confirm(later, Position(7));
        assert!(futures_util::poll!(&mut waits).is_ready());
        assert!(!membership.is_awaited());
    }
}
