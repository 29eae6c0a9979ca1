//! The simulated database: events and the real [`Coordination`], behind a lock as in PostgreSQL, with a server that restarts and
//! fails over to a copy without the latest transactions.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ulid::Ulid;

use super::dice::{Dice, MILLISECOND, Nanos};
use super::settings::MechanismVariant;
use crate::ledger::store::coordination::{Coordination, HistoryIdentity, LeaseTable};
use crate::ledger::store::shared::{CLOCK_DRIFT, Renewal};
use crate::ledger::store::{KnownHistory, Position};

/// The number of events in a page of the feed.
const PAGE: usize = 16;

/// The number of missed events that a transaction passes on.
const MAX_MISSED_HERE: usize = 20;

/// The number of transactions that a failover may lose.
const MAX_LOST: usize = 10;

/// The wait for the lock after which the server gives up.
const LOCK_TIMEOUT: Nanos = 150 * MILLISECOND;

/// The time for which a client may hold the lock.
const IDLE_TIMEOUT: Nanos = 40 * MILLISECOND;

/// An event that somebody reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportedEvent {
    /// Counts the events of the run.
    pub(super) number: usize,
    pub(super) subject: usize,
    /// True if it grants consent, false if it withdraws it.
    pub(super) grants: bool,
}

/// An event on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordedEvent {
    pub(super) position: Position,
    /// The id under which it is recorded. An event that is recorded again gets another one.
    pub(super) id: Ulid,
    pub(super) reported: ReportedEvent,
}

/// A thread of a gateway that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoreCaller {
    pub(super) gateway: usize,
    pub(super) process: u32,
    pub(super) thread: GatewayThread,
    pub(super) call: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GatewayThread {
    Follower,
    Writer,
    Barrier,
}

#[derive(Clone, Debug)]
pub(super) enum StoreRequest {
    Register {
        instance: Ulid,
        term: Duration,
    },
    Follow(KnownHistory),
    Renew {
        instance: Ulid,
        applied: Position,
    },
    /// Takes the lock and reads the end of the ledger.
    Begin(KnownHistory),
    Commit {
        transaction: u64,
        events: Vec<ReportedEvent>,
    },
    CommitRenewal {
        transaction: u64,
        instance: Ulid,
    },
    Leases,
    Settle(HistoryIdentity),
    ReportLoss(Position),
}

#[derive(Clone, Debug)]
pub(super) enum StoreAnswer {
    Done,
    Page { head: Position, events: Vec<RecordedEvent>, complete: bool },
    Diverges,
    Renewal(Renewal),
    Tail { transaction: u64, last: Position, missed: Vec<RecordedEvent> },
    Behind,
    Durable(Vec<RecordedEvent>),
    Reported(KnownHistory),
    Table(LeaseTable),
    Failed,
}

/// An effect of a request, at its time.
#[derive(Debug)]
pub(super) enum ServerEffect {
    Answer(StoreCaller, StoreAnswer),
    /// The transaction is written to the disk until then.
    Flush {
        at: Nanos,
        flush: Flush,
    },
    /// The lock or the wait for it ends then.
    Deadline {
        at: Nanos,
        transaction: u64,
    },
    Committed(Vec<RecordedEvent>),
}

/// A transaction that is being written to the disk.
#[derive(Clone, Debug)]
pub(super) struct Flush {
    connection: u64,
    transaction: u64,
    caller: StoreCaller,
    events: Vec<ReportedEvent>,
}

#[derive(Debug)]
struct Contents {
    events: Vec<RecordedEvent>,
    coordination: Coordination,
}

pub(super) struct Database {
    contents: Contents,
    /// The number of events and the coordination before each of the latest transactions.
    earlier: VecDeque<(usize, Coordination)>,
    variant: MechanismVariant,
    /// Number of starts of the server. A request that was sent to an earlier one does not arrive.
    connection: u64,
    is_up: bool,
    identity: HistoryIdentity,
    /// The transaction that holds the lock, and true while it is written to the disk.
    lock: Option<(u64, bool)>,
    last_transaction: u64,
    /// Number of events that were ever recorded, lost ones too.
    records: u128,
    waiting: VecDeque<(u64, StoreCaller, StoreRequest)>,
    /// The server's clock, relative to the true time, and the last renewals by this clock.
    clock_step: Nanos,
    renewed: HashMap<Ulid, Nanos>,
    pub(super) effects: Vec<ServerEffect>,
}

impl Database {
    pub(super) fn new(variant: MechanismVariant) -> Database {
        Database {
            contents: Contents { events: Vec::new(), coordination: Coordination::new(1, Position(0)) },
            earlier: VecDeque::new(),
            variant,
            connection: 1,
            is_up: true,
            identity: 1,
            lock: None,
            last_transaction: 0,
            records: 0,
            waiting: VecDeque::new(),
            clock_step: 0,
            renewed: HashMap::new(),
            effects: Vec::new(),
        }
    }

    pub(super) fn events(&self) -> &[RecordedEvent] {
        &self.contents.events
    }

    pub(super) fn connection(&self) -> u64 {
        self.connection
    }

    pub(super) fn lost(&self) -> Option<Position> {
        self.contents.coordination.lost()
    }

    /// Receives a request that was sent to a start of the server.
    pub(super) fn receive(
        &mut self,
        now: Nanos,
        dice: &mut Dice,
        connection: u64,
        caller: StoreCaller,
        request: StoreRequest,
    ) {
        if !self.is_up || connection != self.connection {
            return;
        }
        let answer = match request {
            StoreRequest::Register { instance, term } => {
                let variant = self.variant;
                let coordination = &mut self.change().coordination;
                if variant == MechanismVariant::RegistrationEndsLease {
                    coordination.leave(instance);
                }
                coordination.register(instance, term);
                StoreAnswer::Done
            }
            StoreRequest::Follow(known) => self.follow(&known),
            StoreRequest::Leases => StoreAnswer::Table(self.leases(now)),
            StoreRequest::Settle(identity) => {
                self.change().coordination.settle(identity);
                StoreAnswer::Done
            }
            StoreRequest::Commit { transaction, events } => {
                if self.lock != Some((transaction, false)) {
                    self.effects.push(ServerEffect::Answer(caller, StoreAnswer::Failed));
                    return;
                }
                self.lock = Some((transaction, true));
                let flush = Flush { connection, transaction, caller, events };
                let at = now + dice.between(50_000, 3 * MILLISECOND);
                self.effects.push(ServerEffect::Flush { at, flush });
                return;
            }
            StoreRequest::CommitRenewal { transaction, instance } => {
                if self.lock != Some((transaction, false)) {
                    self.effects.push(ServerEffect::Answer(caller, StoreAnswer::Failed));
                    return;
                }
                self.lock = None;
                let head = self.contents.coordination.head();
                self.renew(now, instance, head)
            }
            StoreRequest::Renew { .. } | StoreRequest::Begin(_) | StoreRequest::ReportLoss(_) => {
                self.last_transaction += 1;
                let at = now + LOCK_TIMEOUT;
                self.waiting.push_back((self.last_transaction, caller, request));
                self.effects.push(ServerEffect::Deadline { at, transaction: self.last_transaction });
                self.grant_lock(now);
                return;
            }
        };
        self.effects.push(ServerEffect::Answer(caller, answer));
        self.grant_lock(now);
    }

    /// Lets waiting requests have the lock, one after the other.
    fn grant_lock(&mut self, now: Nanos) {
        while self.lock.is_none() {
            let Some((transaction, caller, request)) = self.waiting.pop_front() else { return };
            let answer = match request {
                StoreRequest::Renew { instance, applied } => self.renew(now, instance, applied),
                StoreRequest::ReportLoss(until) => {
                    let contents = self.change();
                    let position = contents.coordination.report_loss(until);
                    let last_event = contents.events.last().map(|event| (event.position, event.id));
                    StoreAnswer::Reported(KnownHistory { position, last_event })
                }
                StoreRequest::Begin(known) => match self.after(&known).map(<[RecordedEvent]>::to_vec) {
                    Some(missed) if missed.len() <= MAX_MISSED_HERE => {
                        self.lock = Some((transaction, false));
                        let at = now + IDLE_TIMEOUT;
                        self.effects.push(ServerEffect::Deadline { at, transaction });
                        let last = self.contents.coordination.head();
                        StoreAnswer::Tail { transaction, last, missed }
                    }
                    _ => StoreAnswer::Behind,
                },
                other => panic!("{other:?} does not wait for the lock"),
            };
            self.effects.push(ServerEffect::Answer(caller, answer));
        }
    }

    /// The transaction is on the disk.
    pub(super) fn flushed(&mut self, now: Nanos, flush: Flush) {
        let Flush { connection, transaction, caller, events } = flush;
        if connection != self.connection || self.lock != Some((transaction, true)) {
            return;
        }
        self.lock = None;
        let (variant, mut records) = (self.variant, self.records);
        let contents = self.change();
        let mut recorded = Vec::new();
        for reported in events {
            let position = Position(contents.coordination.head().0 + 1);
            records += 1;
            let id = match variant {
                MechanismVariant::RecordedAgainWithSameId => Ulid::from(reported.number as u128),
                _ => Ulid::from(records),
            };
            let event = RecordedEvent { position, id, reported };
            contents.events.push(event);
            contents.coordination.appended(position);
            recorded.push(event);
        }
        self.records = records;
        self.effects.push(ServerEffect::Committed(recorded.clone()));
        self.effects.push(ServerEffect::Answer(caller, StoreAnswer::Durable(recorded)));
        self.grant_lock(now);
    }

    /// The time of a transaction is over.
    pub(super) fn deadline(&mut self, now: Nanos, transaction: u64) {
        if let Some(place) = self.waiting.iter().position(|waiting| waiting.0 == transaction) {
            if let Some((_, caller, _)) = self.waiting.remove(place) {
                self.effects.push(ServerEffect::Answer(caller, StoreAnswer::Failed));
            }
        } else if self.lock == Some((transaction, false)) {
            self.lock = None;
            self.grant_lock(now);
        }
    }

    /// Stops the server. Everything that is not on the disk is gone.
    pub(super) fn stop(&mut self) {
        self.is_up = false;
        self.connection += 1;
        self.lock = None;
        self.waiting.clear();
    }

    pub(super) fn start(&mut self) {
        self.is_up = true;
    }

    /// Another server with the contents before the latest transactions takes over. Returns the events that are lost.
    pub(super) fn fail_over(&mut self, lost_transactions: usize) -> Vec<RecordedEvent> {
        self.stop();
        let mut lost = Vec::new();
        for _ in 0..lost_transactions {
            if let Some((count, coordination)) = self.earlier.pop_back() {
                lost.extend(self.contents.events.drain(count..));
                self.contents.coordination = coordination;
            }
        }
        self.identity += 1;
        self.contents.coordination.change_identity(self.identity);
        lost
    }

    /// A gateway that stops in order ends its lease.
    pub(super) fn leave(&mut self, instance: Ulid) {
        if self.is_up {
            self.change().coordination.leave(instance);
        }
    }

    /// Sets the server's clock forward.
    pub(super) fn step_clock(&mut self, by: Nanos) {
        self.clock_step += by;
    }

    /// An operator accepts that events are lost, if some are. Returns their last position.
    pub(super) fn accept_history(&mut self) -> Option<Position> {
        let until = self.lost().filter(|_| self.is_up)?;
        self.change().coordination.accept_history(until);
        Some(until)
    }

    /// Returns the contents, to be changed by one transaction.
    fn change(&mut self) -> &mut Contents {
        if self.earlier.len() == MAX_LOST {
            self.earlier.pop_front();
        }
        let Contents { events, coordination } = &self.contents;
        self.earlier.push_back((events.len(), coordination.clone()));
        &mut self.contents
    }

    fn renew(&mut self, now: Nanos, instance: Ulid, applied: Position) -> StoreAnswer {
        let variant = self.variant;
        let coordination = &mut self.change().coordination;
        let renewal = if variant == MechanismVariant::RenewalWithoutComparison {
            coordination.renew_without_comparison(instance, applied)
        } else {
            coordination.renew(instance, applied)
        };
        if renewal == Some(Renewal::Renewed) {
            self.renewed.insert(instance, now + self.clock_step);
        }
        renewal.map_or(StoreAnswer::Failed, StoreAnswer::Renewal)
    }

    fn leases(&self, now: Nanos) -> LeaseTable {
        let mut table = self.contents.coordination.leases();
        if self.variant == MechanismVariant::ServerClock {
            table.leases.retain(|lease| {
                let renewed = self.renewed.get(&lease.instance).copied().unwrap_or_default();
                now + self.clock_step < renewed + lease.term.mul_f64(CLOCK_DRIFT).as_nanos() as u64
            });
        }
        if self.variant == MechanismVariant::FailoverIsSettled {
            table.settled = true;
        }
        if self.variant == MechanismVariant::ObserverRemembersFailover {
            table.settled = true;
            table.identity = 1;
        }
        table
    }

    fn follow(&self, known: &KnownHistory) -> StoreAnswer {
        let head = self.contents.coordination.head();
        self.after(known).map_or(StoreAnswer::Diverges, |later| StoreAnswer::Page {
            head,
            events: later.iter().take(PAGE).copied().collect(),
            complete: later.len() <= PAGE,
        })
    }

    /// Returns the events after a known history. `None` if the history is another one.
    fn after(&self, known: &KnownHistory) -> Option<&[RecordedEvent]> {
        let events = &self.contents.events;
        let count = events.partition_point(|event| event.position <= known.position);
        let last = events[..count].last().map(|event| (event.position, event.id));
        let is_known = match (self.variant, known.last_event) {
            (MechanismVariant::GapsAreNotCompared, Some((position, id))) => {
                events.iter().any(|event| event.position == position && event.id == id)
            }
            (MechanismVariant::GapsAreNotCompared, None) => true,
            (_, last_event) => last == last_event,
        };
        let reaches = known.position <= self.contents.coordination.head();
        (is_known && reaches).then(|| &events[count..])
    }
}
