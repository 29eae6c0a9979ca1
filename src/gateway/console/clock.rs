//! The clock of sessions: the time since the process began.

use std::time::{Duration, Instant};

/// A clock that nobody sets. A test can move it forward.
#[derive(Debug)]
pub(super) struct ConsoleClock {
    start: Instant,
    #[cfg(test)]
    moved: std::sync::atomic::AtomicU64,
}

impl ConsoleClock {
    /// Starts a clock.
    pub(super) fn start() -> ConsoleClock {
        ConsoleClock {
            start: Instant::now(),
            #[cfg(test)]
            moved: std::sync::atomic::AtomicU64::default(),
        }
    }

    /// Returns the time since the start.
    #[cfg(not(test))]
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the time since the start, and by how much it was moved.
    #[cfg(test)]
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed() + Duration::from_secs(self.moved.load(std::sync::atomic::Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(super) fn move_forward(&self, time: Duration) {
        self.moved.fetch_add(time.as_secs(), std::sync::atomic::Ordering::Relaxed);
    }
}
