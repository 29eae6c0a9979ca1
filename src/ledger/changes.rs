//! The latest changes that can withhold. An answer checks them before each of its windows leaves.
//!
//! Every such change increments the epoch after it is in force. A reader that takes the epoch before its decisions and
//! finds it unchanged before it hands out has missed no change. The list is bounded: if more changes than it holds
//! happened since an epoch, every entity counts as changed.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use crate::keys::Fingerprint;

/// The number of changes in the list. At 50,000 changes a second they cover about a third of a second.
const MAX_REMEMBERED: usize = 16_384;

/// A position in the sequence of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// The latest changes that can withhold.
pub(super) struct Changes {
    epoch: AtomicU64,
    latest: Mutex<VecDeque<Fingerprint>>,
    handing_out: RwLock<()>,
}

impl Changes {
    pub(super) fn new() -> Changes {
        Changes { epoch: AtomicU64::new(0), latest: Mutex::default(), handing_out: RwLock::new(()) }
    }

    /// Returns the present epoch.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// Adds a change that is already in force.
    pub(super) fn push(&self, fingerprint: Fingerprint) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() == MAX_REMEMBERED {
            latest.pop_front();
        }
        latest.push_back(fingerprint);
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Adds a change that may concern everybody.
    pub(super) fn push_everybody(&self) {
        let beyond_the_list = MAX_REMEMBERED as u64 + 1;
        self.epoch.fetch_add(beyond_the_list, Ordering::SeqCst);
    }

    /// True if one of these entities has changed since `since`, or if the list no longer reaches back to `since`.
    pub(super) fn changed_since<'f>(
        &self,
        since: Epoch,
        concerned: impl IntoIterator<Item = &'f Fingerprint>,
    ) -> bool {
        if self.epoch() == since {
            return false;
        }
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = usize::try_from(self.epoch.load(Ordering::SeqCst) - since.0).unwrap_or(usize::MAX);
        if missed > latest.len() {
            return true;
        }
        let changed: HashSet<_> = latest.iter().rev().take(missed).copied().collect();
        drop(latest);
        concerned.into_iter().any(|fingerprint| changed.contains(fingerprint))
    }

    /// Runs `leave` unless [`Changes::changed_since`] is true. No change is acknowledged before every `leave` that
    /// started before the change has returned (see [`Changes::wait_for_hand_outs`]).
    pub(super) fn hand_out<'f, T>(
        &self,
        since: Epoch,
        concerned: impl IntoIterator<Item = &'f Fingerprint>,
        leave: impl FnOnce() -> T,
    ) -> Option<T> {
        let _passing = self.handing_out.read().unwrap_or_else(PoisonError::into_inner);
        (!self.changed_since(since, concerned)).then(leave)
    }

    /// Waits until every `leave` that started before the latest change has returned.
    pub(super) fn wait_for_hand_outs(&self) {
        drop(self.handing_out.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::keys::Keys;

    #[test]
    fn a_change_concerns_only_the_entity_that_it_names() {
        let changes = Changes::new();
        let fingerprints = Keys::random().unwrap().fingerprints();
        let (alice, bob) = (fingerprints.recipient("alice"), fingerprints.recipient("bob"));
        let before = changes.epoch();
        assert!(!changes.changed_since(before, &[alice, bob]));
        changes.push(alice);
        assert!(changes.changed_since(before, &[bob, alice]));
        assert!(!changes.changed_since(before, &[bob]));
        assert!(!changes.changed_since(changes.epoch(), &[alice]));
        assert_eq!(changes.hand_out(before, &[alice], || ()), None);
        assert_eq!(changes.hand_out(before, &[bob], || 7), Some(7));
    }

    #[test]
    fn more_changes_than_the_list_holds_concern_everybody() {
        let changes = Changes::new();
        let fingerprints = Keys::random().unwrap().fingerprints();
        let (alice, bob) = (fingerprints.recipient("alice"), fingerprints.recipient("bob"));
        let before = changes.epoch();
        for _ in 0..MAX_REMEMBERED {
            changes.push(alice);
        }
        assert!(!changes.changed_since(before, &[bob]));
        changes.push(alice);
        assert!(changes.changed_since(before, &[bob]));

        let before = changes.epoch();
        changes.push_everybody();
        assert!(changes.changed_since(before, &[bob]) && !changes.changed_since(changes.epoch(), &[bob]));
    }

    #[test]
    fn a_change_waits_for_the_windows_that_are_being_handed_out() {
        let changes = Changes::new();
        let alice = Keys::random().unwrap().fingerprints().recipient("alice");
        let before = changes.epoch();
        let (within, entered) = mpsc::channel();
        let (settled, outcome) = mpsc::channel();
        std::thread::scope(|scope| {
            let changes = &changes;
            let handed_out = scope.spawn(move || {
                changes.hand_out(before, &[alice], || {
                    within.send(()).unwrap();
                    // The change does not return while this runs.
                    outcome.recv_timeout(std::time::Duration::from_millis(50)).is_err()
                })
            });
            entered.recv().unwrap();
            changes.push(alice);
            changes.wait_for_hand_outs();
            let _ = settled.send(());
            assert_eq!(handed_out.join().unwrap(), Some(true));
        });
    }
}
