//! Figures about a ledger for an operator: how long the gateway may decide on what it knows, and what became of its store.
//!
//! Reading them takes no lock and asks no store, so a server that does not answer delays nobody who looks.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::Ledger;
use super::boot_clock::boot_time;
use super::membership::Membership;
use super::store::Position;

/// Figures about a ledger, as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerFigures {
    /// Last position that is durable and in force here.
    pub position: Position,
    /// Time until the knowledge of this gateway is stale. Zero if it is; `None` if it never becomes so.
    pub lease_remaining: Option<Duration>,
    /// Number of gateways that use the ledger, this one included.
    pub gateways: usize,
    /// True while a loss of events waits for acceptance.
    pub history_lost: bool,
    /// Number of operations of the store that failed since the start.
    pub store_failures: u64,
}

impl Ledger {
    /// Returns figures about the ledger.
    pub fn figures(&self) -> LedgerFigures {
        let core = &self.core;
        let lease = core.membership.get().map(Membership::lease);
        let lease_remaining = match (core.archive.store().shared(), lease) {
            (None, _) => None,
            (Some(_), None) => Some(Duration::ZERO),
            (Some(_), Some(lease)) => Some(lease.remaining(boot_time())),
        };
        let CountedFigures { others, history_lost, store_failures } = &core.counted;
        LedgerFigures {
            position: core.position(),
            lease_remaining,
            gateways: others.load(Ordering::Relaxed) + 1,
            history_lost: history_lost.load(Ordering::Relaxed),
            store_failures: store_failures.load(Ordering::Relaxed),
        }
    }
}

/// The figures that the ledger's threads keep.
#[derive(Debug, Default)]
pub(super) struct CountedFigures {
    others: AtomicUsize,
    history_lost: AtomicBool,
    store_failures: AtomicU64,
}

impl CountedFigures {
    /// Sets the number of other gateways whose lease may last.
    pub(super) fn set_others(&self, others: usize) {
        self.others.store(others, Ordering::Relaxed);
    }

    /// Sets if a loss of events waits for acceptance.
    pub(super) fn set_history_lost(&self, lost: bool) {
        self.history_lost.store(lost, Ordering::Relaxed);
    }

    /// Counts an operation of the store that failed.
    pub(super) fn count_failure(&self) {
        self.store_failures.fetch_add(1, Ordering::Relaxed);
    }
}
