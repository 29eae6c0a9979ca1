//! The queue between those who record and the thread that writes.
//!
//! Waking a thread costs more than writing a record. A record for which nobody waits therefore only enters the queue:
//! the thread looks by its own timer as long as there is traffic. A thread that is idle, or for which somebody waits, is
//! woken once.
//!
//! Invariants: the size of what is queued is bounded ([`QUEUE_KIB`], [`REFUSAL_QUEUE_KIB`], and one closing record for each
//! open exchange); the queue's lock is held for a few instructions; once the thread has ended, nothing waits in the queue.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::record::{Disclosure, Record};

/// An error of a log that cannot accept records, for the moment or for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disclosure log cannot be written")]
pub struct LogError;

/// Size of the queue of records that are not written yet, in KiB. A sender waits while the queue is full, so the
/// upstream's bytes are read no faster than the log is written.
const QUEUE_KIB: u32 = 32 << 10;

/// Size of the queue of refusals, in KiB. No personal data waits behind them.
const REFUSAL_QUEUE_KIB: u32 = 8 << 10;

/// A request to the thread, usually to write one record.
#[derive(Debug, Default)]
pub(super) struct QueuedRecord {
    /// The record; `None` to wait only until everything queued before is durable.
    pub(super) record: Option<Record>,
    /// Receives the outcome, if somebody waits.
    pub(super) acknowledge: Option<oneshot::Sender<Result<(), LogError>>>,
    /// Its share of the queue.
    pub(super) room: Room,
}

/// A record's share of the queue, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    records: u32,
    refusals: u32,
}

/// The events that end a wait of the thread before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Any record: the thread is idle.
    AnyRecord,
    /// A record that somebody waits for: the thread looks at the others by its timer.
    AwaitedRecord,
}

/// The queue.
#[derive(Debug)]
pub(super) struct LogQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
    /// Free space, in KiB; closed by a failure.
    room: Semaphore,
    /// Free space for refusals, in KiB. Nothing waits for a refusal to be written.
    refusal_room: Semaphore,
}

#[derive(Debug, Default)]
struct QueueState {
    records: Vec<QueuedRecord>,
    /// True if somebody waits for one of the records.
    is_awaited: bool,
    /// The condition under which the waiting thread has to be woken; `None` if it runs or was woken.
    wake: Option<Wake>,
    /// True once the log is being closed: the thread writes what is queued, and ends.
    stop: bool,
    /// True once nothing is accepted any more.
    closed: bool,
}

impl QueueState {
    fn is_due(&self, wake: Wake) -> bool {
        let is_due = match wake {
            Wake::AnyRecord => !self.records.is_empty(),
            Wake::AwaitedRecord => self.is_awaited,
        };
        is_due || self.stop || self.closed
    }
}

impl Default for LogQueue {
    fn default() -> LogQueue {
        LogQueue {
            state: Mutex::default(),
            changed: Condvar::new(),
            room: Semaphore::new(QUEUE_KIB as usize),
            refusal_room: Semaphore::new(REFUSAL_QUEUE_KIB as usize),
        }
    }
}

impl LogQueue {
    /// Waits until there is room for a record.
    ///
    /// Cancel safety: a caller that is dropped while it waits takes no room.
    ///
    /// # Errors
    /// [`LogError`] if the log has failed.
    pub(super) async fn room_for(&self, record: &Record) -> Result<Room, LogError> {
        let records = size_in_kib(record);
        self.room.acquire_many(records).await.map_err(|_| LogError)?.forget();
        Ok(Room { records, refusals: 0 })
    }

    /// Returns room for a refusal, or `None` if there is none.
    pub(super) fn room_for_refusal(&self, record: &Record) -> Option<Room> {
        let refusals = size_in_kib(record);
        self.refusal_room.try_acquire_many(refusals).ok()?.forget();
        Some(Room { records: 0, refusals })
    }

    /// Queues a record and wakes the thread if it has to be woken.
    ///
    /// # Errors
    /// [`LogError`] if the thread has ended.
    pub(super) fn push(&self, record: QueuedRecord) -> Result<(), LogError> {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            self.release(record.room);
            return Err(LogError);
        }
        state.is_awaited |= record.acknowledge.is_some();
        state.records.push(record);
        self.wake(state);
        Ok(())
    }

    /// Waits for records, at most for `time`, and moves them into the empty `records`. Returns true if they are the last
    /// ones, because the log is being closed.
    pub(super) fn take(&self, records: &mut Vec<QueuedRecord>, time: Duration, wake: Wake) -> bool {
        let mut state = self.lock();
        if !state.is_due(wake) {
            state.wake = Some(wake);
            let waited = self.changed.wait_timeout_while(state, time, |state| !state.is_due(wake));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.wake = None;
        }
        std::mem::swap(&mut state.records, records);
        state.is_awaited = false;
        // The thread ends after these records: a later one would be lost.
        state.closed |= state.stop;
        state.stop
    }

    /// Gives the room of written records back.
    pub(super) fn release(&self, Room { records, refusals }: Room) {
        self.room.add_permits(records as usize);
        self.refusal_room.add_permits(refusals as usize);
    }

    /// Lets nobody wait for room any more: the log has failed.
    pub(super) fn close_room(&self) {
        self.room.close();
    }

    /// Asks the thread to write what is queued, and to end.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stop = true;
        self.wake(state);
    }

    /// Accepts nothing any more, and drops what is queued: whoever waits for it learns that it is not written.
    pub(super) fn close(&self) {
        self.close_room();
        let mut state = self.lock();
        state.closed = true;
        let records = std::mem::take(&mut state.records);
        drop(state);
        drop(records);
    }

    fn wake(&self, mut state: MutexGuard<'_, QueueState>) {
        if state.wake.is_some_and(|wake| state.is_due(wake)) {
            // The others that queue a record until the thread runs need not wake it again.
            state.wake = None;
            drop(state);
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::AddAssign for Room {
    fn add_assign(&mut self, other: Room) {
        self.records = self.records.saturating_add(other.records);
        self.refusals = self.refusals.saturating_add(other.refusals);
    }
}

/// Returns the size of a record in memory, in KiB. A record larger than the queue counts as half of it.
fn size_in_kib(record: &Record) -> u32 {
    let disclosure = match record {
        Record::Exchange(_, disclosure) | Record::Window { disclosure, .. } => Some(disclosure),
        Record::Correction { disclosure, .. } => disclosure.as_ref(),
        Record::Intent(_)
        | Record::Close { .. }
        | Record::Refusal(..)
        | Record::Act(_)
        | Record::SecretErasure { .. }
        | Record::DroppedRefusals { .. }
        | Record::Notice(_) => None,
    };
    let bytes = size_of::<QueuedRecord>() + disclosure.map_or(0, size_of_disclosure);
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(QUEUE_KIB / 2)
}

fn size_of_disclosure(disclosure: &Disclosure) -> usize {
    size_of_val(disclosure.subjects.as_slice())
        + size_of_val(disclosure.withheld_subjects.as_slice())
        + size_of_val(disclosure.categories.as_slice())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::disclosure::record::ExchangeReference;
    use crate::keys::{Keys, LoggedPerson};

    const LONG: Duration = Duration::from_secs(60);

    fn erasure() -> Record {
        Record::SecretErasure { secrets: 1, reason: "delivered" }
    }

    fn unawaited() -> QueuedRecord {
        QueuedRecord { record: Some(erasure()), ..QueuedRecord::default() }
    }

    fn window(people: usize) -> Record {
        let person = LoggedPerson::unknown(Keys::random().unwrap().fingerprints().recipient("r"));
        let disclosure =
            Disclosure { subjects: std::iter::repeat_n(person, people).collect(), ..Disclosure::default() };
        Record::Window { exchange: ExchangeReference::Later(ulid::Ulid::nil()), disclosure }
    }

    #[test]
    fn a_thread_that_looks_by_its_timer_is_woken_by_an_awaited_record_only() {
        let queue = Arc::new(LogQueue::default());
        queue.push(unawaited()).unwrap();
        let mut taken = Vec::new();
        let began = Instant::now();
        assert!(!queue.take(&mut taken, Duration::from_millis(30), Wake::AwaitedRecord));
        assert!(began.elapsed() >= Duration::from_millis(30));
        assert_eq!(taken.len(), 1, "at the end of its time it takes every record");
        queue.push(unawaited()).unwrap();
        taken.clear();
        queue.take(&mut taken, LONG, Wake::AnyRecord);
        assert_eq!(taken.len(), 1, "an idle one is woken by any");
        let waiting = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut taken = Vec::new();
                queue.take(&mut taken, LONG, Wake::AwaitedRecord);
                taken.len()
            }
        });
        while queue.lock().wake.is_none() {
            std::thread::yield_now();
        }
        queue.push(unawaited()).unwrap();
        assert!(queue.lock().wake.is_some(), "it is not woken");
        let (acknowledge, _outcome) = oneshot::channel();
        queue.push(QueuedRecord { acknowledge: Some(acknowledge), ..unawaited() }).unwrap();
        assert_eq!(waiting.join().unwrap(), 2);
    }

    #[tokio::test]
    async fn senders_wait_while_the_queue_is_full() {
        let queue = LogQueue::default();
        let large = window(10_000_000);
        assert_eq!(size_in_kib(&large), QUEUE_KIB / 2);
        let first = queue.room_for(&large).await.unwrap();
        queue.room_for(&large).await.unwrap();
        let waits = tokio::time::timeout(Duration::from_millis(20), queue.room_for(&erasure())).await;
        assert!(waits.is_err());
        assert!(queue.room_for_refusal(&erasure()).is_some(), "refusals have room of their own");
        queue.release(first);
        queue.room_for(&erasure()).await.unwrap();
        queue.close();
        assert!(queue.room_for(&erasure()).await.is_err());
    }

    #[test]
    fn refusals_without_room_are_not_queued() {
        let queue = LogQueue::default();
        let mut held = Room::default();
        for _ in 0..REFUSAL_QUEUE_KIB {
            held += queue.room_for_refusal(&erasure()).unwrap();
        }
        assert!(queue.room_for_refusal(&erasure()).is_none());
        queue.release(held);
        assert!(queue.room_for_refusal(&erasure()).is_some());
    }

    #[test]
    fn whoever_waits_for_a_record_of_a_closed_queue_learns_it() {
        let queue = LogQueue::default();
        let (acknowledge, mut outcome) = oneshot::channel();
        queue.push(QueuedRecord { acknowledge: Some(acknowledge), ..unawaited() }).unwrap();
        queue.close();
        assert_eq!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(queue.push(unawaited()), Err(LogError));
        assert!(!queue.take(&mut Vec::new(), LONG, Wake::AnyRecord), "nobody waits for a closed queue");
    }
}
