//! How current this gateway's knowledge of the ledger is, and waiting until it, or every gateway, knows an event.
//!
//! A gateway that owns its ledger knows every event when it is acknowledged. One that shares it knows what it follows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Ledger;
use super::lease::Freshness;
use super::outcome::Acknowledgement;
use super::store::Position;

/// Time between two looks at the position while a request waits for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

impl Ledger {
    /// Returns how current this gateway's knowledge of the ledger is.
    pub fn freshness(&self) -> Freshness {
        #[cfg(test)]
        if let Some(assumed) = self.assumed.freshness() {
            return assumed;
        }
        self.core.freshness()
    }

    /// Waits until this gateway has applied every event up to a position. Returns `false` if this takes longer than
    /// `at_most`.
    pub async fn reach(&self, position: Position, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        while self.position() < position {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            tokio::time::sleep(left.min(LOOK_INTERVAL)).await;
        }
        true
    }

    /// Waits until every gateway has applied the event of an acknowledgement that this gateway gave, or may release nothing
    /// that rests on the ledger until it has. Returns `false` if the event was lost meanwhile, with the server's last
    /// transactions.
    ///
    /// The wait has no bound of its own. Cancel safety: dropping the future ends the wait.
    pub async fn in_force_everywhere(&self, recorded: Acknowledgement) -> bool {
        #[cfg(test)]
        self.assumed.others().await;
        Arc::clone(&self.core).in_force_everywhere(recorded).await
    }
}

#[cfg(test)]
pub(super) use assumed::Assumed;

#[cfg(test)]
mod assumed {
    //! Assumptions of a test about the ledger and about other gateways.

    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};

    use crate::ledger::{Freshness, Ledger};

    /// The assumptions of a test.
    #[derive(Debug, Default)]
    pub(in crate::ledger) struct Assumed {
        freshness: Mutex<Option<Freshness>>,
        /// True while another gateway confirms nothing.
        unconfirmed: AtomicBool,
    }

    impl Assumed {
        pub(super) fn freshness(&self) -> Option<Freshness> {
            *self.freshness.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(super) async fn others(&self) {
            if self.unconfirmed.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
        }
    }

    impl Ledger {
        /// Makes [`Ledger::freshness`] return this from now on.
        pub(crate) fn assume_freshness(&self, freshness: Freshness) {
            *self.assumed.freshness.lock().unwrap_or_else(PoisonError::into_inner) = Some(freshness);
        }

        /// Makes [`Ledger::in_force_everywhere`] wait for ever from now on.
        pub(crate) fn assume_unconfirmed(&self) {
            self.assumed.unconfirmed.store(true, Ordering::SeqCst);
        }
    }
}
