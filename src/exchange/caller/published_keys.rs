//! The keys that a token issuer publishes, replaced while exchanges go on.
//!
//! The module fetches nothing: the gateway does, and puts the keys here. Ages are measured by the time of the machine
//! since its start (`ledger::boot_time`), which nobody can set and which counts a suspension. Invariants: without keys no token
//! of the issuer is valid; keys that were not confirmed for their lifetime are no longer used.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::key_set::KeySet;

/// The keys of one issuer, as they were fetched last.
#[derive(Debug)]
pub struct PublishedKeys {
    lifetime: Duration,
    current: ArcSwapOption<FetchedKeySet>,
    /// Wakes the fetcher when the key of a token is not among the keys in force.
    unknown_key: Notify,
}

#[derive(Debug)]
struct FetchedKeySet {
    keys: Arc<KeySet>,
    /// The time of the machine at which the keys were fetched last.
    confirmed: Duration,
}

impl FetchedKeySet {
    fn age(&self, machine: Duration) -> Duration {
        machine.saturating_sub(self.confirmed)
    }
}

/// The effect of fetched keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// They differ from the keys before, or there were none.
    Changed,
    /// They are the keys that were known.
    Confirmed,
}

impl PublishedKeys {
    /// No keys yet. Keys are used for `lifetime` after they were fetched.
    pub fn new(lifetime: Duration) -> PublishedKeys {
        PublishedKeys { lifetime, current: ArcSwapOption::empty(), unknown_key: Notify::new() }
    }

    /// Puts the keys in force that were fetched at this time of the machine. Keys that are not among them are no longer valid.
    pub fn replace(&self, keys: KeySet, machine: Duration) -> KeyChange {
        let before = self.current.load_full();
        let change = match &before {
            Some(before) if before.keys.is_same(&keys) => KeyChange::Confirmed,
            Some(_) | None => KeyChange::Changed,
        };
        self.current.store(Some(Arc::new(FetchedKeySet { keys: Arc::new(keys), confirmed: machine })));
        change
    }

    /// Takes over the keys of an earlier configuration of the same issuer.
    pub fn adopt(&self, earlier: &PublishedKeys) {
        self.current.store(earlier.current.load_full());
    }

    /// Returns the time since the keys were fetched. `None` if there are none.
    pub fn age(&self, machine: Duration) -> Option<Duration> {
        let current = self.current.load();
        Some(current.as_ref()?.age(machine))
    }

    /// Returns the keys in force at this time of the machine. `None` before the first, and after their lifetime.
    pub fn in_force(&self, machine: Duration) -> Option<Arc<KeySet>> {
        let current = self.current.load();
        let fetched = &**current.as_ref()?;
        (fetched.age(machine) < self.lifetime).then(|| Arc::clone(&fetched.keys))
    }

    /// Reports that the key of a token is not among the keys in force, or that there are none.
    pub(super) fn report_unknown_key(&self) {
        self.unknown_key.notify_one();
    }

    /// Returns once the key of a token was not in force, since the last return. Cancel safety: a report is not lost.
    pub async fn unknown_key(&self) {
        self.unknown_key.notified().await;
    }
}
