//! The latest changes that can withhold: what an answer under way asks before a part of it leaves.
//!
//! Every such change counts the epoch up, after it is in force. Whoever notes the epoch before
//! judging and finds it unchanged before handing out has missed nothing. The list is bounded; what
//! fell out of it counts as a change for everybody.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use crate::keys::Fingerprint;

/// How many changes are remembered: at 50,000 a second about a third of a second.
const MAX_REMEMBERED: usize = 16_384;

/// A moment in the sequence of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// See the module's text.
pub(super) struct Changes {
    epoch: AtomicU64,
    latest: Mutex<VecDeque<Fingerprint>>,
    handing_out: RwLock<()>,
}

impl Changes {
    pub(super) fn new() -> Changes {
        Changes { epoch: AtomicU64::new(0), latest: Mutex::default(), handing_out: RwLock::new(()) }
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// Records a change that is in force already.
    pub(super) fn push(&self, fingerprint: Fingerprint) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() == MAX_REMEMBERED {
            latest.pop_front();
        }
        latest.push_back(fingerprint);
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether one of these has changed since, or might have.
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

    /// Runs `leave` unless one of these has changed. A change is not acknowledged (see
    /// [`Changes::settle`]) while somebody who has not seen it is still within `leave`.
    pub(super) fn hand_out<'f, T>(
        &self,
        since: Epoch,
        concerned: impl IntoIterator<Item = &'f Fingerprint>,
        leave: impl FnOnce() -> T,
    ) -> Option<T> {
        let _passing = self.handing_out.read().unwrap_or_else(PoisonError::into_inner);
        (!self.changed_since(since, concerned)).then(leave)
    }

    /// Waits until everybody who asked before the latest change has handed out what they had.
    pub(super) fn wait_for_hand_outs(&self) {
        drop(self.handing_out.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::keys::Keys;

    #[test]
    fn a_change_concerns_whom_it_names() {
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
    fn what_is_no_longer_remembered_concerns_everybody() {
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
    }

    #[test]
    fn a_change_settles_only_after_what_was_being_handed_out() {
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
                    // Not settled while this runs.
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
