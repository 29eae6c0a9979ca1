//! The part that this process takes in a shared ledger: its description, its lease, and those who wait for the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

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
    /// The last position that is in force everywhere.
    confirmed: watch::Sender<Position>,
}

impl Membership {
    pub(super) fn new(lease: Arc<Lease>, description: GatewayDescription) -> Membership {
        let confirmed = watch::Sender::new(Position::default());
        let barrier = Barrier { waiting: AtomicUsize::new(0), sleep: Default::default(), confirmed };
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

    /// Returns when the position is confirmed. Cancel safety: dropping the future ends the wait.
    pub(super) async fn wait_until_confirmed(&self, position: Position) {
        let mut confirmed = self.barrier.confirmed.subscribe();
        self.barrier.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = CountedWait(&self.barrier.waiting);
        self.wake();
        // An error cannot occur: the sender lives as long as `self`.
        let _ = confirmed.wait_for(|confirmed| *confirmed >= position).await;
    }

    /// True if somebody waits for the others.
    pub(super) fn is_awaited(&self) -> bool {
        self.barrier.waiting.load(Ordering::SeqCst) > 0
    }

    /// Sleeps until somebody waits, or until `is_closing` returns true after [`Membership::wake`].
    pub(super) fn sleep_until_awaited(&self, is_closing: impl Fn() -> bool) {
        let sleeping = self.barrier.sleep.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |_: &mut ()| !self.is_awaited() && !is_closing();
        drop(self.barrier.sleep.1.wait_while(sleeping, idle));
    }

    /// Ends [`Membership::sleep_until_awaited`].
    pub(super) fn wake(&self) {
        drop(self.barrier.sleep.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.barrier.sleep.1.notify_all();
    }

    /// Publishes the last position that is in force everywhere.
    pub(super) fn confirm(&self, position: Position) {
        self.barrier.confirmed.send_if_modified(|known| std::mem::replace(known, position) != position);
    }
}

/// Counts somebody who waits, until it is dropped.
struct CountedWait<'m>(&'m AtomicUsize);

impl Drop for CountedWait<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
