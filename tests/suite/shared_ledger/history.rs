//! The checker: a history of withdrawals and releases on one monotonic clock, and the promises that it must keep.
//!
//! Each person withdraws once. A release is judged by two times. The request was sent after an instant: then the decision
//! fell after it, and no margin is needed. The first byte of the body came after an instant: the margin covers the time that
//! the bytes and the test's threads were under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A withdrawal that a gateway acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Withdrawal {
    /// Index of the gateway.
    pub(super) gateway: usize,
    pub(super) acknowledged: Instant,
    /// True if the acknowledgement says `everywhere`.
    pub(super) everywhere: bool,
    /// The `Ledger-Position`.
    pub(super) position: String,
    /// The id of the event.
    pub(super) event: String,
}

/// An answer that contains the person's field.
#[derive(Clone, Debug)]
pub(super) struct Release {
    /// Index of the gateway.
    pub(super) gateway: usize,
    pub(super) person: String,
    /// Read before the connection was opened.
    pub(super) sent: Instant,
    /// Read after the first byte of the body.
    pub(super) first_byte: Instant,
    /// True if the request carried the position of the person's withdrawal.
    pub(super) with_position: bool,
}

/// A history.
pub(super) struct History {
    max_staleness: Duration,
    withdrawals: Mutex<BTreeMap<String, Withdrawal>>,
    releases: Mutex<Vec<Release>>,
    /// Number of answers by outcome.
    outcomes: Mutex<BTreeMap<String, usize>>,
    /// Persons whose withdrawal may be recorded without an acknowledgement.
    unknown: Mutex<BTreeSet<String>>,
}

impl History {
    pub(super) fn new(max_staleness: Duration) -> History {
        History {
            max_staleness,
            withdrawals: Mutex::default(),
            releases: Mutex::default(),
            outcomes: Mutex::default(),
            unknown: Mutex::default(),
        }
    }

    pub(super) fn attempt(&self, person: &str) {
        self.unknown.lock().unwrap().insert(person.to_owned());
    }

    pub(super) fn withdrawn(&self, person: &str, withdrawal: Withdrawal) {
        self.unknown.lock().unwrap().remove(person);
        self.withdrawals.lock().unwrap().insert(person.to_owned(), withdrawal);
    }

    pub(super) fn released(&self, release: Release) {
        self.releases.lock().unwrap().push(release);
    }

    pub(super) fn count(&self, outcome: &str) {
        *self.outcomes.lock().unwrap().entry(outcome.to_owned()).or_default() += 1;
    }

    pub(super) fn outcomes(&self) -> BTreeMap<String, usize> {
        self.outcomes.lock().unwrap().clone()
    }

    /// The acknowledged withdrawals, by person.
    pub(super) fn withdrawals(&self) -> BTreeMap<String, Withdrawal> {
        self.withdrawals.lock().unwrap().clone()
    }

    /// Returns the position of a person's acknowledged withdrawal.
    pub(super) fn position(&self, person: &str) -> Option<String> {
        self.withdrawals.lock().unwrap().get(person).map(|withdrawal| withdrawal.position.clone())
    }

    /// True if nobody tried to record a withdrawal of the person.
    pub(super) fn is_untouched(&self, person: &str) -> bool {
        !self.unknown.lock().unwrap().contains(person)
            && !self.withdrawals.lock().unwrap().contains_key(person)
    }

    /// Returns the releases that break a promise, each with its promise.
    pub(super) fn violations(&self, margin: Duration) -> Vec<String> {
        let withdrawals = self.withdrawals.lock().unwrap();
        let releases = self.releases.lock().unwrap();
        let broken = releases.iter().filter_map(|release| {
            let withdrawal = withdrawals.get(&release.person)?;
            let promise = self.broken_promise(release, withdrawal, margin)?;
            let after = |at: Instant| at.saturating_duration_since(withdrawal.acknowledged);
            let (sent, first_byte) = (after(release.sent), after(release.first_byte));
            Some(format!(
                "{promise}: sent {sent:?}, first byte {first_byte:?} after {withdrawal:?}: {release:?}"
            ))
        });
        broken.collect()
    }

    fn broken_promise(
        &self,
        release: &Release,
        withdrawal: &Withdrawal,
        margin: Duration,
    ) -> Option<&'static str> {
        let after = |time: Duration| {
            let until = withdrawal.acknowledged + time;
            release.sent > until || release.first_byte > until + margin
        };
        if release.with_position {
            return Some("P5, a request with the acknowledgement's position sees the withdrawal");
        }
        if release.gateway == withdrawal.gateway && after(Duration::ZERO) {
            return Some("P1, nothing leaves the acknowledging gateway");
        }
        if withdrawal.everywhere && after(Duration::ZERO) {
            return Some("P4, nothing leaves after `everywhere`");
        }
        after(self.max_staleness).then_some("P2 and P3, nothing leaves after `max-staleness`")
    }
}

/// Measures by how much threads of this process wake too late: a busy machine, not the gateway.
pub(super) struct Pulse(std::sync::Arc<Mutex<Option<Duration>>>);

impl Pulse {
    const BEAT: Duration = Duration::from_millis(5);

    pub(super) fn start() -> Pulse {
        let longest = std::sync::Arc::new(Mutex::new(Some(Duration::ZERO)));
        let measured = std::sync::Arc::clone(&longest);
        std::thread::spawn(move || {
            loop {
                let began = Instant::now();
                std::thread::sleep(Pulse::BEAT);
                let late = began.elapsed().saturating_sub(Pulse::BEAT);
                match &mut *measured.lock().unwrap() {
                    Some(longest) => *longest = late.max(*longest),
                    None => return,
                }
            }
        });
        Pulse(longest)
    }

    /// Returns the time by which an observation can be late.
    pub(super) fn margin(&self) -> Duration {
        Duration::from_millis(250) + 3 * self.0.lock().unwrap().unwrap_or_default()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = None;
    }
}

#[test]
fn the_checker_finds_every_broken_promise() {
    let staleness = Duration::from_secs(1);
    let ms = Duration::from_millis;
    let began = Instant::now();
    for (gateway, everywhere, with_position, sent, first_byte, broken) in [
        (0, false, false, 0, 240, None),
        (0, false, false, 110, 120, Some("P1")),
        (0, false, false, 0, 400, Some("P1")),
        (1, false, false, 1000, 1090, None),
        (1, false, false, 1110, 1120, Some("P2")),
        (1, false, false, 0, 1400, Some("P2")),
        (1, true, false, 110, 120, Some("P4")),
        (1, false, true, 0, 10, Some("P5")),
    ] {
        let history = History::new(staleness);
        let acknowledged = began + ms(100);
        let (position, event) = (String::new(), String::new());
        history.withdrawn("p", Withdrawal { gateway: 0, acknowledged, everywhere, position, event });
        let (sent, first_byte) = (began + ms(sent), began + ms(first_byte));
        history.released(Release { gateway, person: "p".to_owned(), sent, first_byte, with_position });
        let found = history.violations(ms(200));
        assert_eq!(found.first().and_then(|found| found.get(..2)), broken, "{found:?}");
    }
}
