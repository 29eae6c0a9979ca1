//! The clock of sessions.

use std::fmt;
use std::time::Duration;

use crate::ledger::boot_time;

/// A clock that nobody sets.
pub(in crate::gateway) struct ConsoleClock(Box<dyn Fn() -> Duration + Send + Sync>);

impl ConsoleClock {
    /// Returns the clock of the machine. It counts the time for which the machine is suspended: a session does not survive a
    /// night in a closed laptop.
    pub(in crate::gateway) fn of_machine() -> ConsoleClock {
        ConsoleClock(Box::new(boot_time))
    }

    /// Returns a clock that shows what a test says.
    #[cfg(test)]
    pub(in crate::gateway) fn of_test(read: impl Fn() -> Duration + Send + Sync + 'static) -> ConsoleClock {
        ConsoleClock(Box::new(read))
    }

    /// Returns the time since some instant before the process began.
    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for ConsoleClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleClock").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_suspension_counts() {
        let clock = ConsoleClock::of_machine();
        let before = boot_time();
        let now = clock.now();
        assert!(before <= now && now <= boot_time(), "{before:?} {now:?}");
    }
}
