//! The lowest rate at which a recipient has to take a response.
//!
//! A recipient that takes a byte now and then keeps an exchange, its memory and its connection. So the rate is measured
//! over periods, and only while data is offered: a response whose upstream is slow is no fault of its recipient.

use std::time::Duration;

use tokio::time::Instant;

/// Time over which the rate is measured. A recipient may pause for about as long.
pub(super) const RATE_PERIOD: Duration = Duration::from_secs(60);

/// A lowest rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinimumRate {
    /// Bytes per second. With 0, at least one byte has to be taken in each period.
    pub(super) bytes_per_second: usize,
    /// Time over which the rate is measured.
    pub(super) period: Duration,
}

impl MinimumRate {
    /// A lowest rate, measured over [`RATE_PERIOD`].
    pub(super) fn of(bytes_per_second: usize) -> MinimumRate {
        MinimumRate { bytes_per_second, period: RATE_PERIOD }
    }

    /// Bytes that have to be taken in each period.
    fn bytes(self) -> u64 {
        let milliseconds = u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX);
        ((self.bytes_per_second as u64).saturating_mul(milliseconds) / 1000).max(1)
    }
}

/// Measures the rate at which offered data is taken.
#[derive(Debug)]
pub(super) struct RateMeter {
    minimum: MinimumRate,
    /// The instant since which data is offered and not taken.
    waiting: Option<Instant>,
    /// Time in this period for which data was offered before `waiting`.
    waited: Duration,
    /// Bytes that were taken in this period.
    taken: u64,
}

impl RateMeter {
    pub(super) fn new(minimum: MinimumRate) -> RateMeter {
        RateMeter { minimum, waiting: None, waited: Duration::ZERO, taken: 0 }
    }

    /// Data is offered and not taken yet.
    pub(super) fn offer(&mut self, now: Instant) {
        self.waiting.get_or_insert(now);
    }

    /// Some of the offered data was taken, or all of it.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) {
        self.waited +=
            self.waiting.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.taken = self.taken.saturating_add(bytes as u64);
        if self.waited >= self.minimum.period {
            self.begin_period();
        }
    }

    fn begin_period(&mut self) {
        (self.waited, self.taken) = (Duration::ZERO, 0);
    }

    /// The instant at which the recipient is too slow if nothing more is taken; `None` while nothing is offered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.map(|since| since + self.minimum.period.saturating_sub(self.waited))
    }

    /// True if the recipient took too little in the period that has ended now. Otherwise a new period begins.
    pub(super) fn is_too_slow(&mut self, now: Instant) -> bool {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return false;
        }
        if self.taken < self.minimum.bytes() {
            return true;
        }
        self.waiting = Some(now);
        self.begin_period();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A recipient that takes `bytes` every `pause`, whatever is offered. Returns the time after which it is too slow.
    fn too_slow_after(bytes: usize, pause: Duration, idle: Duration) -> Option<Duration> {
        let began = Instant::now();
        let mut now = began;
        let mut meter = RateMeter::new(MinimumRate::of(256));
        for _ in 0..10_000 {
            meter.offer(now);
            let taken = now + pause;
            while let Some(deadline) = meter.deadline().filter(|deadline| *deadline <= taken) {
                if meter.is_too_slow(deadline) {
                    return Some(deadline - began);
                }
            }
            meter.take(bytes, taken);
            now = taken + idle;
        }
        None
    }

    #[test]
    fn a_recipient_that_takes_a_byte_now_and_then_is_too_slow() {
        assert_eq!(too_slow_after(1, 100 * SECOND, Duration::ZERO), Some(60 * SECOND));
        assert_eq!(too_slow_after(1, SECOND, Duration::ZERO), Some(60 * SECOND));
        assert_eq!(too_slow_after(255, SECOND, Duration::ZERO), Some(60 * SECOND));
        assert_eq!(too_slow_after(300, SECOND, Duration::ZERO), None);
        assert_eq!(too_slow_after(16 << 10, 50 * SECOND, Duration::ZERO), None);
    }

    #[test]
    fn time_without_an_offer_does_not_count() {
        assert_eq!(too_slow_after(300, SECOND, 3600 * SECOND), None);
        assert_eq!(too_slow_after(1, Duration::ZERO, 3600 * SECOND), None, "a slow upstream");
    }

    #[test]
    fn without_a_rate_a_byte_a_period_suffices() {
        let minimum = MinimumRate { bytes_per_second: 0, period: 60 * SECOND };
        let mut meter = RateMeter::new(minimum);
        let began = Instant::now();
        meter.offer(began);
        meter.take(1, began + 59 * SECOND);
        meter.offer(began + 59 * SECOND);
        assert!(!meter.is_too_slow(began + 60 * SECOND));
        assert!(!meter.is_too_slow(began + 119 * SECOND));
        assert!(meter.is_too_slow(began + 120 * SECOND));
    }
}
