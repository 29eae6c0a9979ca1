//! The times of notices: claims, repetitions, and the end of attempts.

use std::time::Duration;

use jiff::Timestamp;

/// Time for which a gateway has what it claimed to itself. It covers the search of the logs and the answer of a recipient.
pub(super) const CLAIM: Duration = Duration::from_secs(300);

/// Time for which a notice is sent again and again, or waits in a feed.
pub const MAX_DELIVERY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Time between an event and the first search: answers whose content the upstream had sent before the event are on record
/// by then.
pub(super) const MARGIN: Duration = Duration::from_secs(3);

/// Time after which an inquiry is looked at again whose event is not in force here yet.
pub(super) const NOT_IN_FORCE: Duration = Duration::from_secs(1);

/// Time after an event by which every gateway knows it or releases nothing that rests on the ledger. It is longer than the
/// longest lease (30.3 s), and than gateways' clocks differ.
pub(super) const SETTLED: Duration = Duration::from_secs(60);

/// Time after which an inquiry looks at its notices again. The end of a notice makes it look at once.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// Time for which an acknowledgement is answered again after everybody was told, from the beginning of that day on.
pub(super) const KEPT_AFTER_END: Duration = Duration::from_secs(8 * 24 * 3600);

/// Time to the first repetition of an attempt or a search; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// Longest time between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(6 * 3600);

/// Number of doublings of [`FIRST_WAIT`].
const MAX_DOUBLINGS: u32 = 12;

/// The time of what waits for a person.
pub(super) use crate::ledger::NEVER;

fn wait(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
    FIRST_WAIT.saturating_mul(1 << doublings).min(MAX_WAIT)
}

/// Returns the time to the next attempt to send a notice.
pub(super) fn next_attempt(attempts: u32) -> Duration {
    wait(attempts)
}

/// Returns the time to the next search of the logs.
pub(super) fn next_search(searches: u32) -> Duration {
    wait(searches)
}

/// Returns the time after `now`.
pub(super) fn after(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(NEVER)
}

/// Returns the time before `now`.
pub(super) fn before(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_sub(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns the beginning of the day (UTC) of a time.
pub(super) fn day_of(time: Timestamp) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(24 * 3600)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns the time from `since` to `now`; zero if the clock was set back.
pub(super) fn age(now: Timestamp, since: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
