//! The limit of exchanges that a recipient cancels.
//!
//! A cancelled exchange costs the recipient nothing, and the gateway and the upstream the whole work: the recipient sends a
//! request and resets its stream at once, over and over (rapid reset, CVE-2023-44487). Each such exchange is on the
//! disclosure log. So a recipient that cancels faster than the limit is refused for a moment before that work begins.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota};

/// Exchanges that a recipient may cancel in a second.
const MAX_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);
/// Exchanges that it may cancel at once: when a connection with many of them breaks.
const MAX_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(499);
/// Time for which its requests are refused beyond that.
const PAUSE: Duration = Duration::from_secs(1);

/// The limit of exchanges that one recipient cancels.
#[derive(Debug)]
pub struct CancellationLimit {
    rate: DefaultDirectRateLimiter,
    /// The instant from which requests are accepted again.
    resumes: Mutex<Option<Instant>>,
}

impl Default for CancellationLimit {
    fn default() -> Self {
        let rate = Quota::per_second(MAX_PER_SECOND).allow_burst(MAX_AT_ONCE);
        CancellationLimit { rate: DefaultDirectRateLimiter::direct(rate), resumes: Mutex::default() }
    }
}

impl CancellationLimit {
    /// Counts an exchange that the recipient cancelled.
    pub(super) fn count(&self) {
        if self.rate.check().is_err() {
            let mut resumes = self.resumes.lock().unwrap_or_else(PoisonError::into_inner);
            *resumes = Some(Instant::now() + PAUSE);
        }
    }

    /// True if the recipient has cancelled more than it may, so that no more exchanges begin.
    pub(super) fn is_exceeded(&self, now: Instant) -> bool {
        let mut resumes = self.resumes.lock().unwrap_or_else(PoisonError::into_inner);
        *resumes = resumes.filter(|resumes| now < *resumes);
        resumes.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_that_cancels_too_much_is_paused() {
        let limit = CancellationLimit::default();
        let now = Instant::now();
        for _ in 0..MAX_AT_ONCE.get() {
            limit.count();
        }
        assert!(!limit.is_exceeded(now), "a broken connection is no attack");
        for _ in 0..MAX_AT_ONCE.get() {
            limit.count();
        }
        assert!(limit.is_exceeded(Instant::now()));
        assert!(!limit.is_exceeded(Instant::now() + PAUSE));
    }
}
