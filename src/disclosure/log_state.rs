//! The state that a log and its thread share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::queue::LogQueue;

/// State shared between the log and its thread.
#[derive(Debug, Default)]
pub(super) struct LogState {
    pub(super) queue: LogQueue,
    /// True after a failure that may have lost a record; it stays true.
    failed: AtomicBool,
    /// True while nothing can be written and nothing was lost.
    paused: AtomicBool,
    /// Number of records written since the log was opened.
    written: AtomicU64,
    /// Number of refusals that were dropped since the log was opened.
    dropped: AtomicU64,
    /// Number of those that the log does not state yet.
    unstated: AtomicU64,
    /// Time of the first write that no published checkpoint covers.
    uncovered: Mutex<Option<Instant>>,
    /// The time until which a log that is being closed tries to write. `None` before it is closed.
    stop_by: Mutex<Option<Instant>>,
}

impl LogState {
    pub(super) fn count_written(&self, records: usize) {
        self.written.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Returns the number of records written since the log was opened.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Counts a refusal that is not recorded.
    pub(super) fn count_dropped_refusal(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.unstated.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of refusals that were dropped since the log was opened.
    pub(super) fn dropped_refusals(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes the number of dropped refusals that the log does not state yet.
    pub(super) fn take_unstated(&self) -> u64 {
        self.unstated.swap(0, Ordering::Relaxed)
    }

    /// Sets the time until which a log that is being closed tries to write.
    pub(super) fn set_stop_by(&self, until: Instant) {
        *self.stop_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Returns the time for which a log that is being closed still tries to write.
    pub(super) fn time_to_stop(&self) -> Duration {
        let until = *self.stop_by.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Returns the time for which the log has had entries that no published checkpoint covers.
    pub(super) fn uncovered_for(&self) -> Duration {
        let since = *self.uncovered.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes that entries were written, which no checkpoint covers.
    pub(super) fn set_uncovered(&self, since: Instant) {
        self.uncovered.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(since);
    }

    /// Notes that a checkpoint covers everything, or everything that was written before this time.
    pub(super) fn set_covered(&self, before: Option<Instant>) {
        *self.uncovered.lock().unwrap_or_else(PoisonError::into_inner) = before;
    }

    /// True if records can be written.
    pub(super) fn is_writable(&self) -> bool {
        !self.has_failed() && !self.paused.load(Ordering::SeqCst)
    }

    /// True after a failure that may have lost a record.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::SeqCst);
    }

    pub(super) fn set_failed(&self) {
        self.failed.store(true, Ordering::SeqCst);
        self.queue.close_room();
    }
}
