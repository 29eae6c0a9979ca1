//! The time of notices. It passes as time passes while gateways run, whatever their clocks say.
//!
//! A search is given up, a log secret is deleted and a notice expires after days. None of that can be undone, so none may rest
//! on one clock that somebody set. The gateways count the time together, in a row of the store: one that has seen the row
//! unchanged for a while, by a clock that nobody can set, adds that while. Invariants: the time on record never passes faster
//! than time does; it stands still while no gateway runs. So it can be behind the time of day, and is compared with itself only.
//!
//! Its first value is the only one that is read from a clock. It is also compared with the times of what earlier versions of the
//! program have begun by their clocks. So it begins with what the clock says only if that is close to the end of what is on
//! record, and else at that end. Then a clock that is behind puts off nothing, and one that is ahead makes nothing late. If no
//! gateway ran for days, what had begun before gets these days in addition: they cannot be told from a wrong clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::clock::{self, after};
use super::{InquiryState, Notices, WRITE_ATTEMPTS, state};
use crate::ledger::{MAX_NOTICE_ROWS, NoticeRow, NoticeStore, StoreError, boot_time};
use crate::vocabulary::time_of;

/// The row with the time.
const COUNTED_TIME: Ulid = Ulid(2);

/// Time that a gateway counts before it adds it to the row.
const STEP: Duration = Duration::from_secs(60);

/// Time after the end of what is on record in which the first clock is believed.
const CREDIBLE: Duration = Duration::from_secs(24 * 3600);

/// The state of the row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct TimeOnRecord {
    time: Timestamp,
}

/// The row as this process has seen it.
#[derive(Clone, Copy, Debug)]
struct SeenTime {
    version: u64,
    time: Timestamp,
    /// The time of the machine since when the row is known to have been this one.
    since: Duration,
}

impl SeenTime {
    fn at(&self, machine: Duration) -> Timestamp {
        after(self.time, machine.saturating_sub(self.since))
    }
}

/// The time of notices, as far as this process knows it.
#[derive(Debug, Default)]
pub(super) struct CountedTime(Mutex<Option<SeenTime>>);

impl CountedTime {
    fn seen(&self) -> Option<SeenTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, seen: SeenTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// Adds the time that has passed, if that is a step, and returns the time. `machine` returns the time of the machine. The time
    /// begins with what `first` returns.
    pub(super) fn count(
        &self,
        store: &dyn NoticeStore,
        machine: impl Fn() -> Duration,
        first: impl Fn() -> Result<Timestamp, StoreError>,
    ) -> Result<Timestamp, StoreError> {
        for _ in 0..WRITE_ATTEMPTS {
            let before = machine();
            let Some(row) = store.notice(COUNTED_TIME)? else {
                let first = first()?;
                if write(store, 1, first)? {
                    self.see(SeenTime { version: 1, time: first, since: before });
                    return Ok(first);
                }
                continue;
            };
            let TimeOnRecord { time } = serde_json::from_str(&row.state)
                .map_err(|error| StoreError::transient("reading the time of notices", error))?;
            let known = self.seen().filter(|seen| (seen.version, seen.time) == (row.version, time));
            let Some(seen) = known else {
                // Another gateway has written it at some time before this.
                self.see(SeenTime { version: row.version, time, since: machine() });
                return Ok(time);
            };
            if before.saturating_sub(seen.since) < STEP {
                return Ok(seen.at(machine()));
            }
            let (version, time) = (row.version + 1, seen.at(before));
            if write(store, version, time)? {
                self.see(SeenTime { version, time, since: before });
                return Ok(time);
            }
        }
        Err(StoreError::transient("counting the time of notices", "other gateways write the same row"))
    }
}

fn write(store: &dyn NoticeStore, version: u64, time: Timestamp) -> Result<bool, StoreError> {
    let (id, state) = (COUNTED_TIME, state::text(&TimeOnRecord { time }));
    let row = NoticeRow { id, inquiry: id, recipient: None, due: clock::NEVER, open: false, version, state };
    store.write_notices(&[row])
}

impl Notices {
    /// Returns the time of notices.
    ///
    /// # Errors
    /// [`StoreError`] if this process does not know it yet.
    pub fn now(&self) -> Result<Timestamp, StoreError> {
        match self.time.seen() {
            Some(seen) => Ok(seen.at(boot_time())),
            None => self.count_time(),
        }
    }

    /// Counts the time that has passed, and returns the time of notices. A gateway calls it every second.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_time(&self) -> Result<Timestamp, StoreError> {
        self.time.count(self.ledger.notice_store(), boot_time, || self.first_time(Timestamp::now()))
    }

    /// Returns the time with which the time of notices begins, by a clock that may be wrong.
    pub(super) fn first_time(&self, clock: Timestamp) -> Result<Timestamp, StoreError> {
        let event = self.ledger.history_end()?.last_event.map(|(_, event)| time_of(event));
        let newest = event.max(self.newest_begin()?);
        let is_credible = |end: &Timestamp| (*end..=after(*end, CREDIBLE)).contains(&clock);
        Ok(newest.filter(|end| !is_credible(end)).unwrap_or(clock))
    }

    /// Returns the time at which the inquiry into the last event began; `None` without an inquiry. An inquiry is open as long as
    /// its notices are. The last one is told by the position of its event: an earlier one may be of a time in which a clock was
    /// ahead.
    fn newest_begin(&self) -> Result<Option<Timestamp>, StoreError> {
        let (mut newest, mut after) = (None, None);
        loop {
            let rows = self.ledger.notice_store().notices(Some(""), after, MAX_NOTICE_ROWS)?;
            let states = rows.iter().filter_map(|row| serde_json::from_str::<InquiryState>(&row.state).ok());
            newest = newest.max(states.map(|state| (state.position, state.begun)).max());
            if rows.len() < MAX_NOTICE_ROWS {
                return Ok(newest.map(|(_, begun)| begun));
            }
            after = rows.last().map(|row| row.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Store as _;
    use crate::ledger::store::memory::MemoryStore;

    /// A gateway whose machine has run for a while, and whose clock may be wrong.
    struct TimedGateway {
        counted: CountedTime,
        clock: Timestamp,
        booted: u64,
    }

    impl TimedGateway {
        fn new(clock: Timestamp, booted: u64) -> TimedGateway {
            TimedGateway { counted: CountedTime::default(), clock, booted }
        }

        /// Looks at the time, so many seconds after the beginning.
        fn look(&self, store: &MemoryStore, second: u64) -> u64 {
            let machine = || Duration::from_secs(self.booted + second);
            let time = self.counted.count(store.notice_store(), machine, || Ok(self.clock)).unwrap();
            u64::try_from(time.duration_since(start()).as_secs()).unwrap()
        }
    }

    fn start() -> Timestamp {
        "2026-11-29T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn time_passes_as_it_passes_whatever_the_clocks_say() {
        let store = MemoryStore::new();
        let wrong = after(start(), Duration::from_secs(30 * 24 * 3600));
        let (one, two) = (TimedGateway::new(start(), 7), TimedGateway::new(wrong, 90_000));
        assert_eq!((one.look(&store, 0), two.look(&store, 0)), (0, 0));
        for second in 1..=600 {
            let seen = [one.look(&store, second), two.look(&store, second)];
            assert!(
                seen.iter().all(|seen| (second - 1..=second).contains(seen)),
                "{seen:?} after {second} s"
            );
        }
        // A gateway that begins knows the time up to the last step.
        let third = TimedGateway::new(wrong, 0);
        let seen = third.look(&store, 600);
        assert!((540..=600).contains(&seen), "{seen}");
        // The others are off, and an hour passes in which nobody counts.
        let fourth = TimedGateway::new(wrong, 0);
        assert_eq!(fourth.look(&store, 4_200), seen);
        assert_eq!(fourth.look(&store, 4_300), seen + 100);
        assert_eq!(third.look(&store, 4_301), seen + 100, "it has not seen the row since");
    }

    #[test]
    fn a_restored_ledger_goes_on_with_its_own_time() {
        let (store, one) = (MemoryStore::new(), TimedGateway::new(start(), 0));
        one.look(&store, 0);
        one.look(&store, 100);
        let restored = MemoryStore::new();
        assert!(write(restored.notice_store(), 1, start()).unwrap());
        assert_eq!((one.look(&restored, 200), one.look(&restored, 230)), (0, 30));
    }
}
