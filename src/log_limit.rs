//! Rate limits for log lines that anybody can cause: a maximum number of lines in a period. The next line states how
//! many events happened since the previous line.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The period of [`LogLimit::new`].
const PERIOD: Duration = Duration::from_secs(10);

/// The limit of one kind of log line.
#[derive(Debug)]
pub struct LogLimit {
    max_lines: u32,
    period: Duration,
    state: Mutex<LimitState>,
}

#[derive(Debug)]
struct LimitState {
    /// The start of the current period.
    began: Option<Instant>,
    /// Lines written in the current period.
    lines: u32,
    /// Events since the last line.
    events: u64,
}

impl Default for LogLimit {
    fn default() -> LogLimit {
        LogLimit::new()
    }
}

impl LogLimit {
    /// Returns a limit of one line in ten seconds.
    pub const fn new() -> LogLimit {
        LogLimit::per_period(1, PERIOD)
    }

    /// Returns a limit of `max_lines` lines in each period. A period begins with the first event after the end of the
    /// previous period.
    pub const fn per_period(max_lines: u32, period: Duration) -> LogLimit {
        LogLimit { max_lines, period, state: Mutex::new(LimitState { began: None, lines: 0, events: 0 }) }
    }

    /// Counts an event. If a line may be written now, returns the number of events since the last line, this one
    /// included; otherwise `None`.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        if state.began.is_none_or(|began| now.saturating_duration_since(began) >= self.period) {
            (state.began, state.lines) = (Some(now), 0);
        }
        if state.lines == self.max_lines {
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_period_tells_the_number_of_events() {
        let limit = LogLimit::new();
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(limit.admit_at(began), Some(1), "the first line is written at once");
        for second in 0..10 {
            assert_eq!(limit.admit_at(after(second)), None);
        }
        assert_eq!(limit.admit_at(after(10)), Some(11));
        assert_eq!(limit.admit_at(after(30)), Some(1));
    }

    #[test]
    fn several_lines_in_a_period_are_followed_by_a_count_of_those_left_out() {
        let period = Duration::from_secs(60);
        let limit = LogLimit::per_period(10, period);
        let began = Instant::now();
        for _ in 0..10 {
            assert_eq!(limit.admit_at(began), Some(1));
        }
        assert_eq!((limit.admit_at(began), limit.admit_at(began + period / 2)), (None, None));
        assert_eq!(limit.admit_at(began + period), Some(3));
        assert_eq!(limit.admit_at(began + period), Some(1));
    }
}
