//! The circumstances of one simulated run, drawn from its seed, and the mistakes that the checker must find.

use std::time::Duration;

use super::dice::{Dice, MILLISECOND, Nanos};

/// The mechanism as it is, or with one mistake in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MechanismVariant {
    Correct,
    /// The first design: a renewal is granted for whatever was applied.
    RenewalWithoutComparison,
    /// The lease counts from the answer of the store.
    LeaseFromAnswer,
    /// Others consider a lease as long as the gateway does, though clocks differ in rate.
    BarrierWithoutDrift,
    /// A position is confirmed while hand-outs of earlier decisions go on.
    ConfirmationBeforeHandOuts,
    /// An event is acknowledged while hand-outs of earlier decisions go on.
    AcknowledgementBeforeHandOuts,
    /// The observer reads its clock before it reads the leases.
    ObservationBeforeReading,
    /// Leases are measured on the server's clock, which somebody sets.
    ServerClock,
    /// A second registration ends the lease on record.
    RegistrationEndsLease,
    /// After a failover only the leases on record count.
    FailoverIsSettled,
    /// Others remember that a lease is over when the server fails over to a copy that lacks its latest renewal.
    ObserverRemembersFailover,
    /// An event is said to be in force everywhere by its position, though it may be lost.
    EventIsNotVerified,
    /// Of a known history only its last event is compared, and not that nothing else is where positions were lost.
    GapsAreNotCompared,
    /// An answer is applied though another thread has applied another history since.
    DelayedAnswersAreApplied,
    /// An answer that belongs to a lost history counts as durable.
    AnswersOfLostHistory,
    /// A loss of events is not reported, and the gateway loads the ledger anew.
    LossIsNotReported,
    /// The record of a loss may be lost itself, and nobody looks.
    ReportIsNotLookedFor,
    /// Withholding events that were lost are not recorded again.
    NothingIsRecordedAgain,
    /// An event that is recorded again keeps its id.
    RecordedAgainWithSameId,
    /// A gateway that other writers overtake tries the same again.
    WithoutCatchUp,
    /// The lease is checked at the decision only.
    LeaseCheckedOnce,
    /// Changes are not looked for before a hand-out.
    ChangesNotChecked,
}

/// One gateway of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct GatewaySettings {
    pub(super) term: Duration,
    /// The rate of its clock, in millionths of the true rate.
    pub(super) rate: u64,
    /// The reading of its clock at the beginning.
    pub(super) offset: Nanos,
}

impl GatewaySettings {
    pub(super) fn clock(&self, now: Nanos) -> Duration {
        Duration::from_nanos(
            self.offset + now / 1_000_000 * self.rate + now % 1_000_000 * self.rate / 1_000_000,
        )
    }

    /// Returns the true time in which the gateway's clock advances by a duration, rounded up.
    pub(super) fn true_time(&self, duration: Duration) -> Nanos {
        (duration.as_nanos() as u64).saturating_mul(1_000_000) / self.rate + 2
    }
}

/// The circumstances of a run.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) gateways: Vec<GatewaySettings>,
    /// The least and the longest delay of a message that is not stalled.
    pub(super) delay: (Nanos, Nanos),
    /// The share of messages that are stalled, in thousandths, and the longest stall.
    pub(super) stalls: u64,
    pub(super) longest_stall: Nanos,
    /// The share of messages that are lost, in thousandths.
    pub(super) losses: u64,
    /// The share of steps before which a thread is stalled, in thousandths.
    pub(super) thread_stalls: u64,
    /// The time after which a gateway gives up a question to the store.
    pub(super) timeout: Duration,
    /// The longest time between two reports to a gateway.
    pub(super) report_gap: Nanos,
    /// True if the first gateway appends without a pause.
    pub(super) saturated: bool,
    /// The longest time between two decisions of one exchange.
    pub(super) exchange_gap: Nanos,
    /// The longest time in which one part is handed out.
    pub(super) hand_out: Nanos,
    /// The longest lease that a gateway may have.
    pub(super) longest_lease: Duration,
    /// The share of faults that are failovers for certain, in thousandths.
    pub(super) failovers: u64,
    /// Mean time between two faults. Zero for a run without any.
    pub(super) fault_gap: Nanos,
    /// From then on nothing fails any more.
    pub(super) heal: Nanos,
    /// From then on nothing is reported any more.
    pub(super) quiet: Nanos,
    pub(super) end: Nanos,
}

impl Settings {
    pub(super) fn draw(dice: &mut Dice) -> Settings {
        let common = dice.between(400, 900);
        let gateway = |dice: &mut Dice| {
            let term = if dice.chance(300) { dice.between(400, 900) } else { common };
            // The rates differ by at most 1 %.
            let rate = if dice.chance(700) {
                dice.pick(&[995_030, 1_004_970])
            } else {
                dice.between(995_030, 1_004_970)
            };
            let term = Duration::from_millis(term);
            GatewaySettings { term, rate, offset: dice.below(1 << 40) }
        };
        let gateways: Vec<_> = (0..dice.between(2, 4)).map(|_| gateway(dice)).collect();
        let longest_lease = gateways.iter().map(|gateway| gateway.term).max().unwrap();
        let longest = longest_lease.as_nanos() as u64;
        let delay = dice.pick(&[100_000, 500_000, 2 * MILLISECOND, 10 * MILLISECOND]);
        let heal = 4 * longest + dice.between(0, 1000) * MILLISECOND;
        let longest_stall = dice.between(longest / 4, 3 * longest);
        let timeout = dice.pick(&[longest / 2, longest, 2 * longest]);
        // The last thread that was stalled may have asked in vain.
        let quiet = heal + longest_stall + timeout + 1600 * MILLISECOND;
        Settings {
            gateways,
            delay: (delay / 10, delay),
            stalls: dice.pick(&[0, 0, 5, 20, 60]),
            longest_stall,
            losses: dice.pick(&[0, 0, 5, 30]),
            thread_stalls: dice.pick(&[0, 0, 1, 5]),
            timeout: Duration::from_nanos(timeout),
            report_gap: dice.pick(&[60, 100, 300, 600]) * MILLISECOND.max(delay / 8),
            saturated: dice.chance(100),
            exchange_gap: dice.pick(&[2, 10, 30]) * MILLISECOND,
            hand_out: dice.pick(&[10_000, 300_000, 4 * MILLISECOND]),
            longest_lease,
            failovers: dice.pick(&[0, 0, 0, 500]),
            fault_gap: dice.pick(&[0, 100, 200, 400, 800]) * MILLISECOND,
            heal,
            quiet,
            end: quiet + longest + 600 * MILLISECOND,
        }
    }
}
