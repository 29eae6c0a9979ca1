//! Runs the mechanism of a shared ledger in simulated time: several gateways with the real
//! [`Follower`](super::follower::Follower) and [`LeaseObserver`](super::store::lease_observer::LeaseObserver), and one database
//! with the real [`Coordination`](super::store::coordination::Coordination). All that happens follows from a seed.
//!
//! Per seed: messages are delayed, lost and stalled for up to three lease terms; gateways are cut off, killed, stopped and
//! paused; each thread is stalled between any two steps; clocks differ in rate by 1 %; the server restarts, and fails over
//! to a copy that lacks its latest transactions, with events, leases and registrations in them. Only the short time between
//! the last check of a part and its hand-out is not interrupted: no mechanism can see a pause there.
//!
//! The checker knows the true time and holds the promises: a gateway that has acknowledged or applied a withdrawal hands out
//! nothing on the withdrawn consent (P1); nobody does later than its term after the withdrawal became durable (P3); nobody
//! does after it was said to be in force everywhere (P4); while a loss of events waits for acceptance, everything closes; no
//! acknowledged event is gone except by a failover, and a withdrawal that a running gateway knows not even then. When
//! everything is healed, all gateways become current, apply exactly the committed events, and every barrier ends. Each
//! [`MechanismVariant`] is the mechanism with one mistake, among them the first design, and the same checker must find it.
//!
//! Two things are assumed: at most one server takes writes at a time, so that a server that was replaced no longer does; and
//! an event that a failover lost before any running gateway knew it leaves no trace, unless replication is synchronous.
//!
//! turmoil would have run real tasks and sockets. A run of three gateways took 350 ms with it, 5 ms are enough here, and it
//! has neither rates of clocks nor pauses of threads.

mod checker;
mod database;
mod dice;
mod gateway;
mod settings;
mod world;

use checker::{Checker, Totals};
use database::{Database, ServerEffect, StoreAnswer};
use dice::{Agenda, Dice, MILLISECOND, Nanos};
use gateway::SimulatedGateway;
use settings::{MechanismVariant, Settings};
use world::{Happening, World};

use super::lease::Freshness;

/// One run.
struct Simulation {
    settings: Settings,
    now: Nanos,
    dice: Dice,
    agenda: Agenda<Happening>,
    checker: Checker,
    database: Database,
    gateways: Vec<SimulatedGateway>,
    cut: Vec<Nanos>,
}

/// Makes a [`World`] from the fields of the simulation that a gateway may touch.
macro_rules! world {
    ($simulation:ident) => {
        World {
            now: $simulation.now,
            settings: &$simulation.settings,
            dice: &mut $simulation.dice,
            agenda: &mut $simulation.agenda,
            checker: &mut $simulation.checker,
            cut: &$simulation.cut,
            connection: $simulation.database.connection(),
        }
    };
}

impl Simulation {
    fn new(seed: u64, variant: MechanismVariant) -> Simulation {
        let mut dice = Dice::new(seed);
        let settings = Settings::draw(&mut dice);
        let gateways = settings.gateways.iter().enumerate();
        Simulation {
            now: 0,
            dice,
            agenda: Agenda::new(),
            checker: Checker::default(),
            database: Database::new(variant),
            gateways: gateways.map(|(number, of)| SimulatedGateway::new(number, *of, variant)).collect(),
            cut: vec![0; settings.gateways.len()],
            settings,
        }
    }

    /// Runs until the end or the first violation.
    fn run(mut self) -> Checker {
        for number in 0..self.gateways.len() {
            self.agenda.add(0, Happening::StartGateway(number));
            let at = self.dice.below(self.settings.report_gap);
            self.agenda.add(at, Happening::Report { gateway: number, repeats: true });
        }
        if self.settings.saturated {
            self.agenda.add(0, Happening::Report { gateway: 0, repeats: false });
        }
        self.agenda.add(0, Happening::Fault);
        self.agenda.add(0, Happening::Operator);
        self.agenda.add(self.settings.heal, Happening::Heal);
        self.agenda.add(self.settings.quiet, Happening::Quiet);
        self.agenda.add(self.settings.end, Happening::End);
        while let Some((at, happening)) = self.agenda.next() {
            self.now = at;
            if self.checker.violation.is_some() || self.happens(happening) {
                break;
            }
        }
        self.checker
    }

    /// Lets something happen. True at the end of the run.
    fn happens(&mut self, happening: Happening) -> bool {
        if let Some(gateway) = receiver(&happening) {
            let paused_until = self.gateways[gateway].paused_until;
            if paused_until > self.now {
                self.agenda.add(paused_until, happening);
                return false;
            }
        }
        match happening {
            Happening::Request { connection, caller, request } => {
                self.database.receive(self.now, &mut self.dice, connection, caller, request);
                self.take_effects();
            }
            Happening::Flush(flush) => {
                self.database.flushed(self.now, flush);
                self.take_effects();
            }
            Happening::Deadline(transaction) => {
                self.database.deadline(self.now, transaction);
                self.take_effects();
            }
            Happening::Answer(caller, answer) => {
                let gateway = &mut self.gateways[caller.gateway];
                if gateway.is_process(caller.process) {
                    gateway.answered(&mut world!(self), caller, answer);
                }
            }
            Happening::Timeout(caller) => {
                let gateway = &mut self.gateways[caller.gateway];
                if gateway.is_process(caller.process) {
                    gateway.answered(&mut world!(self), caller, StoreAnswer::Failed);
                }
            }
            Happening::Step { gateway, process, step } => {
                if self.gateways[gateway].is_process(process) {
                    self.gateways[gateway].take(&mut world!(self), step);
                }
            }
            Happening::Notification(gateway) => {
                if self.gateways[gateway].is_alive {
                    self.gateways[gateway].notify(&mut world!(self));
                }
            }
            Happening::Report { gateway, repeats } => self.report(gateway, repeats),
            Happening::Fault => self.fault(),
            Happening::Operator => self.operate(),
            Happening::StartGateway(gateway) => {
                if !self.gateways[gateway].is_alive {
                    self.gateways[gateway].start(&mut world!(self));
                }
            }
            Happening::StartServer => self.database.start(),
            Happening::Heal => self.cut.fill(0),
            Happening::Quiet => self.check_current("while events are reported"),
            Happening::End => {
                self.check_end();
                return true;
            }
        }
        false
    }

    /// Sends the answers of the server on their way.
    fn take_effects(&mut self) {
        for effect in std::mem::take(&mut self.database.effects) {
            match effect {
                ServerEffect::Answer(caller, answer) => {
                    if let Some(delay) = world!(self).network_delay(caller.gateway) {
                        self.agenda.add(self.now + delay, Happening::Answer(caller, answer));
                    }
                }
                ServerEffect::Flush { at, flush } => self.agenda.add(at, Happening::Flush(flush)),
                ServerEffect::Deadline { at, transaction } => {
                    self.agenda.add(at, Happening::Deadline(transaction));
                }
                ServerEffect::Committed(events) => {
                    self.checker.committed(self.now, &events, self.database.events());
                    for gateway in 0..self.gateways.len() {
                        if let Some(delay) = world!(self).network_delay(gateway) {
                            self.agenda.add(self.now + delay, Happening::Notification(gateway));
                        }
                    }
                }
            }
        }
        self.checker.loss_waits(self.now, self.database.lost().is_some());
    }

    fn report(&mut self, gateway: usize, repeats: bool) {
        if self.now >= self.settings.quiet {
            return;
        }
        if self.gateways[gateway].is_alive {
            let reported = world!(self).report();
            self.gateways[gateway].report(&mut world!(self), reported);
        } else if !repeats {
            self.agenda.add(self.now + 50 * MILLISECOND, Happening::Report { gateway, repeats });
        }
        if repeats {
            let after = self.dice.below(self.settings.report_gap);
            self.agenda.add(self.now + after, Happening::Report { gateway, repeats });
        }
    }

    /// Something fails, or has failed for so long that it comes back.
    fn fault(&mut self) {
        if self.settings.fault_gap == 0 || self.now >= self.settings.heal {
            return;
        }
        let after = self.dice.below(2 * self.settings.fault_gap);
        self.agenda.add(self.now + after, Happening::Fault);
        let longest = self.settings.longest_lease.as_nanos() as u64;
        let until = |dice: &mut Dice, most: Nanos| dice.between(1, most).saturating_add(self.now);
        let number = self.dice.below(self.gateways.len() as u64) as usize;
        let fault = if self.dice.chance(self.settings.failovers) { 7 } else { self.dice.below(9) };
        match fault {
            0 | 1 => {
                // A process that stops in order says so; one that is killed does not.
                let instance = self.gateways[number].instance();
                self.gateways[number].kill();
                if self.dice.chance(300) {
                    self.database.leave(instance);
                }
                let at = until(&mut self.dice, 2 * longest).min(self.settings.heal);
                self.agenda.add(at, Happening::StartGateway(number));
            }
            2 | 3 => {
                let at = until(&mut self.dice, 3 * longest).min(self.settings.heal);
                self.gateways[number].pause(self.now, at);
            }
            4 | 5 => self.cut[number] = until(&mut self.dice, 3 * longest).min(self.settings.heal),
            6 => {
                self.database.stop();
                let at = until(&mut self.dice, longest).min(self.settings.heal);
                self.agenda.add(at, Happening::StartServer);
            }
            7 => {
                let lost_transactions = self.dice.below(9) as usize;
                let lost = self.database.fail_over(lost_transactions);
                self.checker.lost(&lost);
                self.checker.loss_waits(self.now, self.database.lost().is_some());
                let at = until(&mut self.dice, longest).min(self.settings.heal);
                self.agenda.add(at, Happening::StartServer);
            }
            _ => self.database.step_clock(3_600_000 * MILLISECOND),
        }
    }

    /// An operator looks after the ledger.
    fn operate(&mut self) {
        if self.now >= self.settings.heal || self.dice.chance(300) {
            let accepted = self.database.accept_history();
            self.checker.accepted(accepted);
            self.checker.loss_waits(self.now, self.database.lost().is_some());
        }
        self.agenda.add(self.now + 60 * MILLISECOND, Happening::Operator);
    }

    fn check_current(&mut self, when: &str) {
        let mut gateways = self.gateways.iter().enumerate();
        let stale = gateways.find(|(_, gateway)| gateway.freshness(self.now) != Freshness::Current);
        if let Some((number, gateway)) = stale {
            let freshness = gateway.freshness(self.now);
            self.checker.violate(|| format!("liveness: gateway {number} is {freshness:?} {when}"));
        }
    }

    fn check_end(&mut self) {
        self.check_current("at the end");
        for (number, gateway) in self.gateways.iter().enumerate() {
            if gateway.applied() != self.database.events() {
                self.checker.violate(|| format!("feed: gateway {number} has not applied what is committed"));
            }
            if gateway.awaits_everywhere() {
                self.checker.violate(|| format!("liveness: a barrier of gateway {number} does not end"));
            }
        }
        let gateways = &self.gateways;
        self.checker.check_durable(|event| gateways.iter().any(|gateway| gateway.knows(event)));
    }
}

/// Returns the gateway that something happens to.
fn receiver(happening: &Happening) -> Option<usize> {
    match happening {
        Happening::Answer(caller, _) | Happening::Timeout(caller) => Some(caller.gateway),
        Happening::Step { gateway, .. } | Happening::Report { gateway, .. } => Some(*gateway),
        Happening::Notification(gateway) => Some(*gateway),
        _ => None,
    }
}

/// The number of seeds of a test.
const SEEDS: u64 = 20_000;

/// Runs seeds on all processors until one is violated. Returns it with the violation, and the totals of all.
fn explore(variant: MechanismVariant, seeds: std::ops::Range<u64>) -> (Option<(u64, String)>, Totals) {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let found = std::sync::Mutex::new((None::<(u64, String)>, Totals::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut totals = Totals::default();
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end || found.lock().unwrap().0.is_some() {
                        break;
                    }
                    let checker = Simulation::new(seed, variant).run();
                    totals.add(&checker.totals);
                    if let Some(violation) = checker.violation {
                        found.lock().unwrap().0.get_or_insert((seed, violation));
                    }
                }
                found.lock().unwrap().1.add(&totals);
            });
        }
    });
    found.into_inner().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of seeds, or as many as the variable asks for.
    fn seeds(usual: u64) -> u64 {
        std::env::var("PURPOSEGATE_SIMULATION").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
    }

    #[test]
    fn the_promises_hold_under_every_seed() {
        let (violation, totals) = explore(MechanismVariant::Correct, 0..seeds(SEEDS));
        assert_eq!(violation, None);
        let Totals { releases, acknowledged, everywhere, lost, recorded_again, settled, caught_up } = totals;
        let counts = [releases, acknowledged, everywhere, lost, recorded_again, settled, caught_up];
        assert!(counts.iter().all(|count| *count > 0), "{totals:?}");
    }

    /// Checks that the checker finds a mistake under some seed, and calls it by its name. The first seeds may be left out
    /// to save time, if none of them finds it.
    fn finds(variant: MechanismVariant, first: u64, promise: &str) {
        let (violation, _) = explore(variant, first..first + SEEDS);
        let (seed, violation) = violation.unwrap_or_else(|| panic!("{variant:?} is not found"));
        assert!(violation.starts_with(promise), "{variant:?}, seed {seed}: {violation}");
    }

    #[test]
    fn the_first_design_is_found() {
        finds(MechanismVariant::RenewalWithoutComparison, 800, "P4");
    }

    #[test]
    fn a_lease_that_counts_from_the_answer_is_found() {
        finds(MechanismVariant::LeaseFromAnswer, 0, "P");
    }

    #[test]
    fn a_barrier_that_trusts_the_rates_of_clocks_is_found() {
        finds(MechanismVariant::BarrierWithoutDrift, 4_900, "P4");
    }

    #[test]
    fn a_confirmation_during_hand_outs_is_found() {
        finds(MechanismVariant::ConfirmationBeforeHandOuts, 0, "P4");
    }

    #[test]
    fn an_acknowledgement_during_hand_outs_is_found() {
        finds(MechanismVariant::AcknowledgementBeforeHandOuts, 0, "P1");
    }

    #[test]
    fn a_clock_that_is_read_too_early_is_found() {
        finds(MechanismVariant::ObservationBeforeReading, 0, "P4");
    }

    #[test]
    fn a_barrier_on_the_clock_of_the_server_is_found() {
        finds(MechanismVariant::ServerClock, 0, "P4");
    }

    #[test]
    fn a_registration_that_ends_a_lease_is_found() {
        finds(MechanismVariant::RegistrationEndsLease, 0, "P4");
    }

    #[test]
    fn a_barrier_that_ignores_lost_registrations_is_found() {
        finds(MechanismVariant::FailoverIsSettled, 350, "P4");
    }

    #[test]
    fn an_observer_that_does_not_forget_is_found() {
        finds(MechanismVariant::ObserverRemembersFailover, 0, "P4");
    }

    #[test]
    fn a_barrier_for_an_event_that_is_lost_is_found() {
        finds(MechanismVariant::EventIsNotVerified, 1_200, "P4");
    }

    #[test]
    fn a_history_with_a_gap_that_is_not_compared_is_found() {
        finds(MechanismVariant::GapsAreNotCompared, 0, "");
    }

    #[test]
    fn an_answer_of_a_lost_history_is_found() {
        finds(MechanismVariant::AnswersOfLostHistory, 15_300, "");
    }

    #[test]
    fn a_delayed_answer_of_another_history_is_found() {
        finds(MechanismVariant::DelayedAnswersAreApplied, 15_300, "");
    }

    #[test]
    fn a_loss_that_is_not_reported_is_found() {
        finds(MechanismVariant::LossIsNotReported, 0, "loss");
    }

    #[test]
    fn a_report_that_is_lost_is_found() {
        finds(MechanismVariant::ReportIsNotLookedFor, 0, "");
    }

    #[test]
    fn a_withdrawal_that_is_not_recorded_again_is_found() {
        finds(MechanismVariant::NothingIsRecordedAgain, 0, "");
    }

    #[test]
    fn an_id_that_is_used_again_is_found() {
        finds(MechanismVariant::RecordedAgainWithSameId, 10_600, "");
    }

    #[test]
    fn a_gateway_that_is_always_overtaken_is_found() {
        finds(MechanismVariant::WithoutCatchUp, 0, "liveness");
    }

    #[test]
    fn a_lease_that_is_checked_once_is_found() {
        finds(MechanismVariant::LeaseCheckedOnce, 0, "");
    }

    #[test]
    fn a_change_that_is_not_looked_for_is_found() {
        finds(MechanismVariant::ChangesNotChecked, 0, "P1");
    }
}
