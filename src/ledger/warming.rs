//! The progress of loading the state in force into memory, behind a ledger that already answers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::index::Index;
use super::outcome::LedgerOpenError;
use crate::keys::Fingerprint;

/// Time that opening a ledger waits for the scan, so that a small ledger is complete when it is open.
const FOREGROUND: Duration = Duration::from_millis(500);

/// Something that needs the whole state in force.
type Afterwards = Box<dyn FnOnce(&Index) + Send>;

/// The progress of the scan.
#[derive(Default)]
pub(super) struct Warming {
    complete: AtomicBool,
    ended: Mutex<Option<Result<(), LedgerOpenError>>>,
    change: Condvar,
    /// Entities that events have changed since the start. Used while the scan runs.
    touched: Mutex<HashSet<Fingerprint>>,
    /// Run when the scan is complete.
    afterwards: Mutex<Vec<Afterwards>>,
}

impl Warming {
    /// True once everything is in memory.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::SeqCst)
    }

    /// Notes that an event has changed the state of an entity.
    pub(super) fn touch(&self, fingerprint: Fingerprint) {
        if !self.is_complete() {
            self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint);
        }
    }

    /// True if an event has changed the entity since the start.
    pub(super) fn is_touched(&self, fingerprint: Fingerprint) -> bool {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).contains(&fingerprint)
    }

    /// Runs `then` once everything is in memory: now, or on the thread that loads it.
    pub(super) fn once_complete(&self, index: &Index, then: impl FnOnce(&Index) + Send + 'static) {
        let mut afterwards = self.afterwards.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_complete() {
            drop(afterwards);
            then(index);
        } else {
            afterwards.push(Box::new(then));
        }
    }

    /// Begins anew: the state in force is no longer in memory.
    pub(super) fn restart(&self) {
        self.complete.store(false, Ordering::SeqCst);
    }

    /// Notes the end of the scan, and runs what waits for it.
    pub(super) fn end(&self, index: &Index, outcome: Result<(), LedgerOpenError>) {
        if outcome.is_ok() {
            let mut afterwards = self.afterwards.lock().unwrap_or_else(PoisonError::into_inner);
            self.complete.store(true, Ordering::SeqCst);
            let afterwards = std::mem::take(&mut *afterwards);
            *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = HashSet::new();
            afterwards.into_iter().for_each(|then| then(index));
        }
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.change.notify_all();
    }

    /// Waits a short time for the scan, and returns its error if it failed by then.
    pub(super) fn wait_in_foreground(&self) -> Result<(), LedgerOpenError> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.change.wait_timeout_while(ended, FOREGROUND, |ended| ended.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take().unwrap_or(Ok(()))
    }
}
