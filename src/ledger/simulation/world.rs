//! The surroundings of a simulated gateway: time, chance and the network.

use super::checker::Checker;
use super::database::{Flush, ReportedEvent, StoreAnswer, StoreCaller, StoreRequest};
use super::dice::{Agenda, Dice, Nanos};
use super::settings::Settings;
use crate::ledger::store::Position;

/// The number of people in a run.
pub(super) const SUBJECTS: usize = 3;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Happening {
    Request {
        connection: u64,
        caller: StoreCaller,
        request: StoreRequest,
    },
    Flush(Flush),
    Deadline(u64),
    Answer(StoreCaller, StoreAnswer),
    /// The caller gives up.
    Timeout(StoreCaller),
    Step {
        gateway: usize,
        process: u32,
        step: GatewayStep,
    },
    Notification(usize),
    /// Somebody reports an event to a gateway. True if the next report follows by itself.
    Report {
        gateway: usize,
        repeats: bool,
    },
    Fault,
    Operator,
    StartGateway(usize),
    StartServer,
    Heal,
    Quiet,
    End,
}

/// A step that a thread of a gateway takes by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum GatewayStep {
    FollowerNext,
    /// The wait with this number is over.
    FollowerWake(u64),
    Renew {
        applied: Position,
        waited: bool,
    },
    CatchUp {
        transaction: u64,
        last: Position,
        waited: bool,
    },
    WriterStart,
    WriterCommit {
        transaction: u64,
    },
    Acknowledge {
        waited: bool,
    },
    AskForLeases,
    Decide(usize),
    HandOut(usize),
    HandedOut(usize),
}

pub(super) struct World<'w> {
    pub(super) now: Nanos,
    pub(super) settings: &'w Settings,
    pub(super) dice: &'w mut Dice,
    pub(super) agenda: &'w mut Agenda<Happening>,
    pub(super) checker: &'w mut Checker,
    /// The time until which each gateway is cut off.
    pub(super) cut: &'w [Nanos],
    /// The start of the server that gateways are connected to.
    pub(super) connection: u64,
}

impl World<'_> {
    /// Returns the delay of a message between a gateway and the server, or `None` if it is lost.
    pub(super) fn network_delay(&mut self, gateway: usize) -> Option<Nanos> {
        let (least, most) = self.settings.delay;
        let delay = self.dice.between(least, most);
        if self.now >= self.settings.heal {
            return Some(delay);
        }
        let cut = self.cut[gateway].saturating_sub(self.now);
        if self.dice.chance(self.settings.losses) || (cut > 0 && self.dice.chance(500)) {
            return None;
        }
        let is_stalled = self.dice.chance(self.settings.stalls);
        let stall = if is_stalled { self.dice.below(self.settings.longest_stall) } else { 0 };
        Some(delay + cut + stall)
    }

    /// Returns the time that a thread takes for a step.
    fn step_delay(&mut self) -> Nanos {
        let usual = self.dice.between(1_000, 30_000);
        let is_stalled = self.now < self.settings.heal && self.dice.chance(self.settings.thread_stalls);
        usual + if is_stalled { self.dice.below(self.settings.longest_stall) } else { 0 }
    }

    /// Sends a request to the server.
    pub(super) fn ask(&mut self, caller: StoreCaller, request: StoreRequest) {
        let begin = self.now + self.step_delay();
        if let Some(delay) = self.network_delay(caller.gateway) {
            let connection = self.connection;
            self.agenda.add(begin + delay, Happening::Request { connection, caller, request });
        }
        let timeout = self.settings.gateways[caller.gateway].true_time(self.settings.timeout);
        self.agenda.add(begin + timeout, Happening::Timeout(caller));
    }

    /// Lets a gateway take a step after a delay.
    pub(super) fn step(&mut self, gateway: usize, process: u32, after: Nanos, step: GatewayStep) {
        let at = self.now + after + self.step_delay();
        self.agenda.add(at, Happening::Step { gateway, process, step });
    }

    /// Returns a new event about somebody.
    pub(super) fn report(&mut self) -> ReportedEvent {
        let subject = self.dice.below(SUBJECTS as u64) as usize;
        let number = self.checker.next_event();
        let reported = ReportedEvent { number, subject, grants: self.dice.chance(500) };
        self.checker.reported(reported);
        reported
    }
}
