//! Checks the promises of the shared ledger against everything that happens in a run. It knows the true time.

use super::database::{RecordedEvent, ReportedEvent};
use super::dice::Nanos;
use crate::ledger::store::Position;

/// The number of withdrawals that are remembered for one consent.
const MAX_WITHDRAWALS: usize = 4;

/// The history of one event.
#[derive(Debug)]
struct EventFate {
    reported: ReportedEvent,
    /// The time at which it became durable in the present history.
    durable: Option<Nanos>,
    was_lost: bool,
    /// The gateway and process that acknowledged it, and when.
    acknowledged: Option<(Nanos, usize, u32)>,
    everywhere: Option<Nanos>,
    /// The withdrawals of this consent.
    withdrawn_by: Vec<usize>,
}

/// A part that a gateway hands out.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedRelease {
    pub(super) gateway: usize,
    pub(super) process: u32,
    /// The consent on which the gateway decided.
    pub(super) consent: usize,
    pub(super) begin: Nanos,
    /// The moment of this check: the begin or the end.
    pub(super) at: Nanos,
    /// True if the gateway's lease lasts at this moment.
    pub(super) has_lease: bool,
    /// The gateway's term in true time.
    pub(super) term: Nanos,
}

/// The totals of runs: a check that nothing reaches finds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) releases: u64,
    pub(super) acknowledged: u64,
    pub(super) everywhere: u64,
    pub(super) lost: u64,
    pub(super) recorded_again: u64,
    pub(super) settled: u64,
    pub(super) caught_up: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Totals) {
        let Totals { releases, acknowledged, everywhere, lost, recorded_again, settled, caught_up } = other;
        self.releases += releases;
        self.acknowledged += acknowledged;
        self.everywhere += everywhere;
        self.lost += lost;
        self.recorded_again += recorded_again;
        self.settled += settled;
        self.caught_up += caught_up;
    }
}

/// The checker of one run.
#[derive(Debug, Default)]
pub(super) struct Checker {
    fates: Vec<EventFate>,
    /// The time since which a loss of events waits for acceptance.
    closed: Option<Nanos>,
    /// Processes that found their history lost, with the last position that they knew.
    diverged: Vec<(usize, u32, Position)>,
    /// The last position whose loss an operator has accepted.
    accepted: Position,
    pub(super) violation: Option<String>,
    pub(super) totals: Totals,
}

impl Checker {
    /// Returns the number of the next event.
    pub(super) fn next_event(&self) -> usize {
        self.fates.len()
    }

    pub(super) fn reported(&mut self, reported: ReportedEvent) {
        self.fates.push(EventFate {
            reported,
            durable: None,
            was_lost: false,
            acknowledged: None,
            everywhere: None,
            withdrawn_by: Vec::new(),
        });
    }

    pub(super) fn violate(&mut self, promise: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(promise());
        }
    }

    /// Events became durable at the end of the history.
    pub(super) fn committed(&mut self, now: Nanos, events: &[RecordedEvent], history: &[RecordedEvent]) {
        for event in events {
            let number = event.reported.number;
            let fate = &mut self.fates[number];
            if fate.durable.replace(now).is_some() {
                self.violate(|| format!("durable: event {number} is recorded twice"));
            } else if fate.was_lost {
                self.totals.recorded_again += 1;
            }
            if event.reported.grants {
                continue;
            }
            let earlier = history.iter().take_while(|earlier| earlier.position < event.position);
            for consent in earlier.filter(|earlier| {
                earlier.reported.grants && earlier.reported.subject == event.reported.subject
            }) {
                let withdrawn_by = &mut self.fates[consent.reported.number].withdrawn_by;
                if withdrawn_by.len() < MAX_WITHDRAWALS && !withdrawn_by.contains(&number) {
                    withdrawn_by.push(number);
                }
            }
        }
    }

    /// A failover lost events.
    pub(super) fn lost(&mut self, events: &[RecordedEvent]) {
        for event in events {
            let fate = &mut self.fates[event.reported.number];
            fate.durable = None;
            fate.was_lost = true;
            fate.everywhere = None;
            self.totals.lost += 1;
        }
    }

    /// The server has a loss on record that waits for acceptance, or none.
    pub(super) fn loss_waits(&mut self, now: Nanos, waits: bool) {
        self.closed = waits.then(|| self.closed.unwrap_or(now));
    }

    /// A process found that events which it knew are lost.
    pub(super) fn diverged(&mut self, gateway: usize, process: u32, until: Position) {
        self.diverged.push((gateway, process, until));
    }

    /// An operator has accepted a loss.
    pub(super) fn accepted(&mut self, until: Option<Position>) {
        self.accepted = self.accepted.max(until.unwrap_or_default());
    }

    pub(super) fn acknowledged(&mut self, now: Nanos, gateway: usize, process: u32, number: usize) {
        self.totals.acknowledged += 1;
        let fate = &mut self.fates[number];
        fate.acknowledged = Some((now, gateway, process));
        if fate.durable.is_none() && !fate.was_lost {
            self.violate(|| format!("durable: event {number} is acknowledged and is not"));
        }
    }

    pub(super) fn in_force_everywhere(&mut self, now: Nanos, number: usize) {
        let fate = &mut self.fates[number];
        if fate.durable.is_some() {
            self.totals.everywhere += 1;
            fate.everywhere.get_or_insert(now);
        }
    }

    /// A gateway hands out a part. `knows` tells which events its process has applied.
    pub(super) fn released(&mut self, release: &SimulatedRelease, knows: impl Fn(usize) -> bool) {
        let SimulatedRelease { gateway, process, consent, begin, at, has_lease, term } = *release;
        self.totals.releases += 1;
        // A part that began under a lease may end a moment after it: the promise is about the begin then.
        let moment = if has_lease { at } else { begin };
        if self.closed.is_some_and(|closed| begin > closed + term) {
            self.violate(|| format!("loss: gateway {gateway} releases while one waits for acceptance"));
        }
        let is_lost = |(by, process_of, until): &(usize, u32, Position)| {
            (*by, *process_of) == (gateway, process) && *until > self.accepted
        };
        if begin == at && self.diverged.iter().any(is_lost) {
            self.violate(|| format!("loss: gateway {gateway} releases after one that nobody has accepted"));
        }
        let mut broken = None;
        for number in &self.fates[consent].withdrawn_by {
            let EventFate { durable, acknowledged, everywhere, .. } = &self.fates[*number];
            let by_itself = |(time, by, process_of): (Nanos, usize, u32)| {
                (by, process_of) == (gateway, process) && at > time
            };
            if acknowledged.is_some_and(by_itself) {
                broken = Some(("P1: the gateway has acknowledged the withdrawal", *number));
            } else if begin == at && knows(*number) {
                broken = Some(("P1: the gateway has applied the withdrawal", *number));
            } else if durable.is_some_and(|durable| begin > durable + term) {
                broken = Some(("P3: the withdrawal is older than the gateway's term", *number));
            } else if everywhere.is_some_and(|everywhere| moment > everywhere) {
                broken = Some(("P4: the withdrawal is in force everywhere", *number));
            }
        }
        if let Some((promise, number)) = broken {
            self.violate(|| {
                format!("{promise} (event {number}, consent {consent}, gateway {gateway}, {at})")
            });
        }
    }

    /// Checks at the end that no event is missing that was acknowledged. An event that a failover lost is to be there if it
    /// withholds and a process that knows it is still running.
    pub(super) fn check_durable(&mut self, is_known: impl Fn(usize) -> bool) {
        let missing = self.fates.iter().enumerate().find(|(number, fate)| {
            let promised = if fate.was_lost {
                !fate.reported.grants && is_known(*number)
            } else {
                fate.acknowledged.is_some()
            };
            promised && fate.durable.is_none()
        });
        if let Some((number, fate)) = missing {
            let what = format!("durable: event {number} is gone: {fate:?}");
            self.violate(|| what);
        }
    }
}
