//! The progress of loading the state in force into memory, behind a ledger that already answers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::index::Index;
use super::outcome::LedgerOpenError;
use crate::keys::Fingerprint;

/// Time that opening a ledger waits for the scan, so that a small ledger is complete when it is open.
const FOREGROUND: Duration = Duration::from_millis(500);

/// Something that needs the whole state in force.
type Afterwards = Box<dyn FnOnce(&Index) + Send>;

/// The number of a scan. A later scan makes the earlier ones void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanNumber(u64);

/// The progress of the scan.
#[derive(Default)]
pub(super) struct Warming {
    complete: AtomicBool,
    /// The present scan.
    scan: Mutex<ScanNumber>,
    /// Held while a state is read from the store and put into memory.
    reading: RwLock<()>,
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

    /// Begins anew, with the next scan: the state in force is no longer in memory. The earlier scan puts nothing more in force.
    /// Waits for those who are reading from the store: they may put a state into memory that is void, too.
    ///
    /// The caller holds the lock of the sequencer until the memory is cleared.
    pub(super) fn restart(&self) {
        {
            let mut scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
            scan.0 += 1;
            self.complete.store(false, Ordering::SeqCst);
        }
        // An entity that was changed before is cleared, too, so that the next scan has to load it.
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.reading.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns the present scan.
    pub(super) fn scan(&self) -> ScanNumber {
        *self.scan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces that a state is read from the store and put into memory, until the guard is dropped.
    pub(super) fn begin_reading(&self) -> RwLockReadGuard<'_, ()> {
        self.reading.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into memory if everything is there, and stays there meanwhile; `None` otherwise.
    pub(super) fn while_complete<T>(&self, look: impl FnOnce() -> T) -> Option<T> {
        // [`Warming::restart`] waits for the guard before memory is cleared.
        let _reading = self.begin_reading();
        self.is_complete().then(look)
    }

    /// Notes the end of a scan, and runs what waits for it. No effect if there is a later scan.
    pub(super) fn end(&self, number: ScanNumber, index: &Index, outcome: Result<(), LedgerOpenError>) {
        let scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        if *scan != number {
            return;
        }
        if outcome.is_ok() {
            let mut afterwards = self.afterwards.lock().unwrap_or_else(PoisonError::into_inner);
            self.complete.store(true, Ordering::SeqCst);
            drop(scan);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn the_end_of_an_earlier_scan_does_not_count() {
        let (warming, index) = (Warming::default(), Index::new());
        let first = warming.scan();
        warming.restart();
        warming.end(first, &index, Ok(()));
        assert!(!warming.is_complete());
        warming.end(warming.scan(), &index, Ok(()));
        assert!(warming.is_complete());
    }

    #[test]
    fn the_next_scan_loads_what_was_changed_during_the_one_before() {
        let warming = Warming::default();
        let person = Keys::random().unwrap().fingerprints().recipient("alice");
        warming.touch(person);
        assert!(warming.is_touched(person));
        warming.restart();
        assert!(!warming.is_touched(person));
    }

    #[test]
    fn memory_is_looked_into_as_a_whole_only_between_scans() {
        let (warming, index) = (Warming::default(), Index::new());
        assert_eq!(warming.while_complete(|| ()), None);
        warming.end(warming.scan(), &index, Ok(()));
        assert_eq!(warming.while_complete(|| ()), Some(()));
        warming.restart();
        assert_eq!(warming.while_complete(|| ()), None);
    }

    #[test]
    fn a_restart_waits_for_those_who_read_from_the_store() {
        let warming = Warming::default();
        std::thread::scope(|scope| {
            let reading = warming.begin_reading();
            let restarted = scope.spawn(|| warming.restart());
            while warming.scan() == ScanNumber::default() {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(20));
            assert!(!restarted.is_finished());
            drop(reading);
            restarted.join().unwrap();
        });
    }
}
