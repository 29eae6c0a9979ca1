//! Limits log lines that anybody can cause: at most one in a period, with the number of suppressed ones.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Minimum time between two lines of one kind.
const PERIOD: Duration = Duration::from_secs(10);

/// The limit of one kind of log line.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// Milliseconds after the first use of any limit from which the next line may be written.
    next: AtomicU64,
    /// Events since the last line.
    count: AtomicU64,
}

impl LogLimit {
    /// Creates a limit under which the first line is written at once.
    pub const fn new() -> LogLimit {
        LogLimit { next: AtomicU64::new(0), count: AtomicU64::new(0) }
    }

    /// Counts an event. If a line may be written now, returns the number of events since the last line, this one
    /// included.
    pub fn admit(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        self.admit_at(START.get_or_init(Instant::now).elapsed())
    }

    fn admit_at(&self, now: Duration) -> Option<u64> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = milliseconds(now);
        self.count.fetch_add(1, Ordering::Relaxed);
        let next = self.next.load(Ordering::Relaxed);
        if now < next {
            return None;
        }
        let after = now.saturating_add(milliseconds(PERIOD));
        // Only one of several concurrent threads writes the line.
        let won = self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        won.then(|| self.count.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_period_counts_the_suppressed_ones() {
        let limit = LogLimit::new();
        assert_eq!(limit.admit_at(Duration::ZERO), Some(1), "the first is written at once");
        for second in 0..10 {
            assert_eq!(limit.admit_at(Duration::from_secs(second)), None);
        }
        assert_eq!(limit.admit_at(Duration::from_secs(10)), Some(11));
        assert_eq!(limit.admit_at(Duration::from_secs(30)), Some(1));
    }
}
