//! The keys that a token issuer publishes, replaced while exchanges go on.
//!
//! The module fetches nothing: the gateway does, and puts the keys here. Invariants: without keys no token of the issuer is
//! valid; keys that were not confirmed for their lifetime are no longer used.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::key_set::KeySet;

/// Time by which the clock may be put back without a doubt about the age of keys.
const CLOCK_STEP: Duration = Duration::from_secs(60);

/// The keys of one issuer, as they were fetched last.
#[derive(Debug)]
pub struct PublishedKeys {
    lifetime: Duration,
    current: ArcSwapOption<FetchedKeySet>,
    /// Wakes the fetcher when a token names a key that is not known.
    unknown_key: Notify,
}

#[derive(Debug)]
struct FetchedKeySet {
    keys: Arc<KeySet>,
    confirmed: Timestamp,
}

impl FetchedKeySet {
    /// Returns the time since the keys were confirmed. After a step of the clock back it is not known, and the maximum.
    fn age(&self, now: Timestamp) -> Duration {
        let age = now.duration_since(self.confirmed);
        match Duration::try_from(age) {
            Ok(age) => age,
            Err(_) if age.unsigned_abs() <= CLOCK_STEP => Duration::ZERO,
            Err(_) => Duration::MAX,
        }
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

    /// Puts the keys in force that were fetched at `now`. Keys that are not among them are no longer valid.
    pub fn replace(&self, keys: KeySet, now: Timestamp) -> KeyChange {
        let before = self.current.load_full();
        let change = match &before {
            Some(before) if before.keys.is_same(&keys) => KeyChange::Confirmed,
            Some(_) | None => KeyChange::Changed,
        };
        self.current.store(Some(Arc::new(FetchedKeySet { keys: Arc::new(keys), confirmed: now })));
        change
    }

    /// Takes over the keys of an earlier configuration of the same issuer.
    pub fn adopt(&self, earlier: &PublishedKeys) {
        self.current.store(earlier.current.load_full());
    }

    /// Returns the time since the keys were fetched. `None` if there are none.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let current = self.current.load();
        Some(current.as_ref()?.age(now))
    }

    /// Returns the keys in force at `now`. `None` before the first, and after their lifetime.
    pub fn in_force(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let current = self.current.load();
        let fetched = &**current.as_ref()?;
        (fetched.age(now) < self.lifetime).then(|| Arc::clone(&fetched.keys))
    }

    /// Reports that a token names a key that is not known.
    pub(super) fn report_unknown_key(&self) {
        self.unknown_key.notify_one();
    }

    /// Returns once a token has named a key that is not known, since the last return. Cancel safety: a report is not lost.
    pub async fn unknown_key(&self) {
        self.unknown_key.notified().await;
    }
}
