//! Choice among the addresses of an upstream, and their ejection after failures: a state machine that is passed the time.
//!
//! Invariants: at most half of the addresses are ejected, so the only address never is; and if no address is usable, all
//! of them are used.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Failures in a row after which an address is ejected.
const EJECT_AFTER: u32 = 5;
/// Duration of the first ejection; the next ones last as many times longer as there were ejections.
const EJECTION: Duration = Duration::from_secs(30);
/// Maximum duration of an ejection, and the time without one after which earlier ejections no longer count.
const MAX_EJECTION: Duration = Duration::from_secs(300);

/// State of an address, as metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressState {
    Healthy,
    /// Not used for some time, after failures.
    Ejected,
    /// Not used until health checks pass.
    Unhealthy,
}

impl AddressState {
    pub(super) const ALL: [AddressState; 3] =
        [AddressState::Healthy, AddressState::Ejected, AddressState::Unhealthy];

    pub(super) fn name(self) -> &'static str {
        match self {
            AddressState::Healthy => "healthy",
            AddressState::Ejected => "ejected",
            AddressState::Unhealthy => "unhealthy",
        }
    }
}

/// State of one address, and the failures and checks that led to it.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressHealth {
    /// Failures of exchanges in a row.
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
    /// True after failed health checks.
    is_unhealthy: bool,
    /// Health checks in a row that contradict `is_unhealthy`.
    contradictions: u32,
}

impl AddressHealth {
    fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    fn state(&self, now: Instant) -> AddressState {
        match (self.is_ejected(now), self.is_unhealthy) {
            (true, _) => AddressState::Ejected,
            (false, true) => AddressState::Unhealthy,
            (false, false) => AddressState::Healthy,
        }
    }

    fn eject(&mut self, now: Instant) -> Duration {
        if self.ejected_until.is_some_and(|until| now.saturating_duration_since(until) >= MAX_EJECTION) {
            self.ejections = 0;
        }
        self.ejections = self.ejections.saturating_add(1);
        let duration = EJECTION.saturating_mul(self.ejections).min(MAX_EJECTION);
        self.failures = 0;
        self.ejected_until = Some(now + duration);
        duration
    }
}

/// Health checks in a row that change the state of an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckThresholds {
    pub(super) unhealthy_after: u32,
    pub(super) healthy_after: u32,
}

/// The addresses of an upstream, by their positions.
#[derive(Debug)]
pub(super) struct Balance {
    addresses: Vec<AddressHealth>,
}

impl Balance {
    pub(super) fn new(addresses: Vec<AddressHealth>) -> Balance {
        Balance { addresses }
    }

    /// Returns what is known about an address, for a list of addresses that replaces this one.
    pub(super) fn health(&self, address: usize) -> AddressHealth {
        self.addresses.get(address).cloned().unwrap_or_default()
    }

    pub(super) fn state(&self, address: usize, now: Instant) -> AddressState {
        self.addresses.get(address).map_or(AddressState::Healthy, |health| health.state(now))
    }

    /// Chooses the address with fewer requests under way of two random ones (power of two choices). Addresses that were
    /// tried already are not chosen. Ejected and unhealthy ones are chosen if there is no other.
    pub(super) fn choose(
        &self,
        load: impl Fn(usize) -> usize,
        random: u64,
        tried: &[usize],
        now: Instant,
    ) -> Option<usize> {
        let preferred = [AddressState::Healthy, AddressState::Ejected, AddressState::Unhealthy];
        preferred.into_iter().find_map(|state| {
            let is_candidate = |at: &usize| !tried.contains(at) && self.state(*at, now) == state;
            let candidates: SmallVec<[usize; 16]> = (0..self.addresses.len()).filter(is_candidate).collect();
            let count = candidates.len() as u64;
            let first = *candidates.get(usize::try_from(random.checked_rem(count)?).ok()?)?;
            let Some(further) = (random >> 32).checked_rem(count - 1) else { return Some(first) };
            let second = (random % count + 1 + further) % count;
            let second = *candidates.get(usize::try_from(second).ok()?)?;
            Some(if load(second) < load(first) { second } else { first })
        })
    }

    /// Notes that an exchange with an address succeeded.
    pub(super) fn succeeded(&mut self, address: usize) {
        if let Some(health) = self.addresses.get_mut(address) {
            health.failures = 0;
        }
    }

    /// Notes that an exchange with an address failed. Returns for how long the address is ejected, if it is ejected now.
    pub(super) fn failed(&mut self, address: usize, now: Instant) -> Option<Duration> {
        let ejected = self.addresses.iter().filter(|health| health.is_ejected(now)).count();
        let may_eject = (ejected + 1) * 2 <= self.addresses.len();
        let health = self.addresses.get_mut(address)?;
        if health.is_ejected(now) {
            return None;
        }
        health.failures = health.failures.saturating_add(1);
        (may_eject && health.failures >= EJECT_AFTER).then(|| health.eject(now))
    }

    /// Notes the result of a health check. Returns the new state if it changed: true if the address is used again.
    pub(super) fn checked(
        &mut self,
        address: usize,
        passed: bool,
        thresholds: CheckThresholds,
    ) -> Option<bool> {
        let health = self.addresses.get_mut(address)?;
        if passed != health.is_unhealthy {
            health.contradictions = 0;
            return None;
        }
        health.contradictions = health.contradictions.saturating_add(1);
        let needed = if passed { thresholds.healthy_after } else { thresholds.unhealthy_after };
        if health.contradictions < needed {
            return None;
        }
        health.contradictions = 0;
        health.is_unhealthy = !passed;
        if passed {
            health.failures = 0;
        }
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const THRESHOLDS: CheckThresholds = CheckThresholds { unhealthy_after: 3, healthy_after: 2 };

    fn balance(addresses: usize) -> Balance {
        Balance::new(vec![AddressHealth::default(); addresses])
    }

    /// Fails an address until it is ejected.
    fn eject(balance: &mut Balance, address: usize, now: Instant) -> Option<Duration> {
        (0..EJECT_AFTER).find_map(|_| balance.failed(address, now))
    }

    /// Returns all addresses that random numbers choose.
    fn chosen(balance: &Balance, tried: &[usize], now: Instant) -> BTreeSet<usize> {
        let random = (0..64_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.filter_map(|random| balance.choose(|_| 0, random, tried, now)).collect()
    }

    #[test]
    fn the_less_loaded_of_two_addresses_is_chosen() {
        let (two, now) = (balance(2), Instant::now());
        for random in 0..1000_u64 {
            let random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert_eq!(two.choose(|at| [7, 3][at], random, &[], now), Some(1));
            assert_eq!(two.choose(|at| [2, 3][at], random, &[], now), Some(0));
        }
        assert_eq!(chosen(&balance(5), &[], now), BTreeSet::from([0, 1, 2, 3, 4]));
        assert_eq!(chosen(&balance(3), &[0, 2], now), BTreeSet::from([1]));
        assert!(chosen(&balance(2), &[0, 1], now).is_empty() && chosen(&balance(0), &[], now).is_empty());
    }

    #[test]
    fn five_failures_in_a_row_eject_an_address_for_longer_each_time() {
        let (mut two, mut now) = (balance(2), Instant::now());
        for _ in 0..10 {
            for _ in 1..EJECT_AFTER {
                assert_eq!(two.failed(0, now), None);
            }
            two.succeeded(0);
        }
        for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            let duration = eject(&mut two, 0, now).unwrap();
            assert_eq!(duration, Duration::from_secs(seconds));
            assert_eq!(chosen(&two, &[], now), BTreeSet::from([1]));
            assert_eq!(two.state(0, now), AddressState::Ejected);
            assert_eq!(two.failed(0, now), None, "an ejected address is not ejected again");
            now += duration;
            assert_eq!(chosen(&two, &[], now), BTreeSet::from([0, 1]));
        }
        now += MAX_EJECTION;
        assert_eq!(eject(&mut two, 0, now), Some(EJECTION), "earlier ejections no longer count");
    }

    #[test]
    fn at_most_half_of_the_addresses_are_ejected() {
        let now = Instant::now();
        for (addresses, half) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
            let mut balance = balance(addresses);
            let ejected = (0..addresses).filter(|at| eject(&mut balance, *at, now).is_some()).count();
            assert_eq!(ejected, half, "of {addresses}");
            assert_eq!(chosen(&balance, &[], now).len(), addresses - half);
        }
    }

    #[test]
    fn an_ejected_address_is_tried_after_all_others() {
        let (mut two, now) = (balance(2), Instant::now());
        eject(&mut two, 0, now);
        assert_eq!(chosen(&two, &[1], now), BTreeSet::from([0]));
    }

    #[test]
    fn health_checks_change_a_state_after_several_in_a_row() {
        let (mut two, now) = (balance(2), Instant::now());
        let mut check = |passed| (two.checked(0, passed, THRESHOLDS), two.state(0, now));
        let (healthy, unhealthy) = (AddressState::Healthy, AddressState::Unhealthy);
        assert_eq!(check(false), (None, healthy));
        assert_eq!(check(false), (None, healthy));
        assert_eq!(check(true), (None, healthy), "not in a row");
        assert_eq!(check(false), (None, healthy));
        assert_eq!(check(false), (None, healthy));
        assert_eq!(check(false), (Some(false), unhealthy));
        assert_eq!(check(true), (None, unhealthy));
        assert_eq!(check(false), (None, unhealthy));
        assert_eq!(check(true), (None, unhealthy));
        assert_eq!(check(true), (Some(true), healthy));
    }

    #[test]
    fn if_no_address_is_healthy_all_are_used() {
        let now = Instant::now();
        for addresses in 1..4 {
            let mut balance = balance(addresses);
            for at in 0..addresses {
                for _ in 0..THRESHOLDS.unhealthy_after {
                    balance.checked(at, false, THRESHOLDS);
                }
            }
            assert_eq!(chosen(&balance, &[], now).len(), addresses);
        }
    }
}
