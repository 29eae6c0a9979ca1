//! A simulated gateway: the real [`Follower`] and [`LeaseObserver`], with a model of the replica, of the writer's thread and of
//! exchanges that decide and hand out as [`Changes`](crate::ledger::changes::Changes) has them do.

use std::collections::VecDeque;

use ulid::Ulid;

use super::checker::SimulatedRelease;
use super::database::{GatewayThread, RecordedEvent, ReportedEvent, StoreAnswer, StoreCaller, StoreRequest};
use super::dice::{MILLISECOND, Nanos};
use super::settings::{GatewaySettings, MechanismVariant};
use super::world::{GatewayStep, Happening, SUBJECTS, World};
use crate::ledger::follower::{Follower, FollowerStep, Generation};
use crate::ledger::lease::Freshness;
use crate::ledger::store::lease_observer::LeaseObserver;
use crate::ledger::store::shared::Renewal;
use crate::ledger::store::{KnownHistory, Position};

/// The number of exchanges that run at the same time.
const EXCHANGES: usize = 2;

/// The number of events that are appended together.
const MAX_GROUP: usize = 4;

/// The number of times that the writer tries again after it was behind.
const MAX_RETRIES: u32 = 20;

/// A withdrawal that is in force and not durable.
#[derive(Clone, Copy, Debug)]
struct PendingWithdrawal {
    reported: ReportedEvent,
    /// The number of the failure after which its outcome is unknown.
    failure: Option<u64>,
}

/// The applied events and the state in force.
#[derive(Debug, Default)]
struct ModelReplica {
    applied: Vec<RecordedEvent>,
    consents: [Option<usize>; SUBJECTS],
    pending: Vec<PendingWithdrawal>,
    epoch: u64,
    /// The epoch of the latest change of each subject that can withhold.
    changed: [u64; SUBJECTS],
}

impl ModelReplica {
    fn apply(&mut self, event: &RecordedEvent) {
        if self.applied.last().is_some_and(|last| last.position >= event.position) {
            return;
        }
        self.applied.push(*event);
        self.pending.retain(|pending| pending.reported != event.reported);
        let ReportedEvent { number, subject, grants } = event.reported;
        self.consents[subject] = grants.then_some(number);
        if !grants {
            self.change(subject);
        }
    }

    fn withhold(&mut self, reported: ReportedEvent) {
        self.pending.push(PendingWithdrawal { reported, failure: None });
        self.change(reported.subject);
    }

    fn change(&mut self, subject: usize) {
        self.epoch += 1;
        self.changed[subject] = self.epoch;
    }

    fn consent(&self, subject: usize) -> Option<usize> {
        let is_withheld = self.pending.iter().any(|pending| pending.reported.subject == subject);
        self.consents[subject].filter(|_| !is_withheld)
    }

    fn contains(&self, reported: &ReportedEvent) -> bool {
        self.applied.iter().any(|event| event.reported == *reported)
    }
}

/// A decision of an exchange that is not handed out yet.
#[derive(Clone, Copy, Debug, Default)]
struct ModelDecision {
    subject: usize,
    consent: usize,
    epoch: u64,
    begin: Nanos,
    end: Nanos,
}

/// The question that the follower's thread has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FollowerTask {
    Register,
    /// With the number of failures before.
    Follow(u64, KnownHistory),
    Renew(Position),
    CatchUp(KnownHistory),
    ConfirmCatchUp(Position),
    Report,
    Verify,
    ReloadPage,
    ReloadBegin,
    ReloadCommit,
}

/// The events that the writer's thread appends.
#[derive(Debug)]
struct WriterBatch {
    events: Vec<ReportedEvent>,
    recorded: Vec<RecordedEvent>,
    generation: Generation,
    known: KnownHistory,
}

/// An acknowledged event for which somebody waits until it is in force everywhere.
#[derive(Clone, Copy, Debug)]
struct AwaitedEvent {
    number: usize,
    position: Position,
    id: Ulid,
}

pub(super) struct SimulatedGateway {
    number: usize,
    process: u32,
    pub(super) is_alive: bool,
    pub(super) paused_until: Nanos,
    settings: GatewaySettings,
    variant: MechanismVariant,
    follower: Follower,
    observer: LeaseObserver,
    replica: ModelReplica,
    /// Events by number that this process has applied.
    knows: Vec<bool>,
    /// The ends of the hand-outs in progress.
    hand_outs: Vec<Nanos>,
    decisions: [ModelDecision; EXCHANGES],
    calls: u64,
    follower_call: u64,
    task: FollowerTask,
    /// The number of the present wait for events. Zero if the follower does not wait.
    wait: u64,
    /// The replica that is loaded anew, and its history.
    fresh: (ModelReplica, KnownHistory),
    writer_call: u64,
    reports: VecDeque<ReportedEvent>,
    batch: Option<WriterBatch>,
    is_writing: bool,
    retries: u32,
    failures: u64,
    barrier_call: u64,
    awaited: Vec<AwaitedEvent>,
    asks_for_leases: bool,
    /// The position that the latest leases confirm.
    confirmed: Position,
    /// The clock when the leases were asked for.
    asked_for_leases: std::time::Duration,
}

/// Returns the history after more events were read up to `last`.
fn continued(known: KnownHistory, last: Position, events: &[RecordedEvent]) -> KnownHistory {
    let last_event = events.last().map(|event| (event.position, event.id));
    KnownHistory { position: last, last_event: last_event.or(known.last_event) }
}

/// Life of the process, and the dispatch of what happens to it.
impl SimulatedGateway {
    pub(super) fn new(
        number: usize,
        settings: GatewaySettings,
        variant: MechanismVariant,
    ) -> SimulatedGateway {
        SimulatedGateway {
            number,
            process: 0,
            is_alive: false,
            paused_until: 0,
            settings,
            variant,
            follower: Follower::new(settings.term, KnownHistory::default()),
            observer: LeaseObserver::new(settings.term),
            replica: ModelReplica::default(),
            knows: Vec::new(),
            hand_outs: Vec::new(),
            decisions: Default::default(),
            calls: 0,
            follower_call: 0,
            task: FollowerTask::Register,
            wait: 0,
            fresh: Default::default(),
            writer_call: 0,
            reports: VecDeque::new(),
            batch: None,
            is_writing: false,
            retries: 0,
            failures: 0,
            barrier_call: 0,
            awaited: Vec::new(),
            asks_for_leases: false,
            confirmed: Position(0),
            asked_for_leases: std::time::Duration::ZERO,
        }
    }

    pub(super) fn start(&mut self, world: &mut World<'_>) {
        let process = self.process + 1;
        let calls = self.calls;
        *self = SimulatedGateway::new(self.number, self.settings, self.variant);
        self.process = process;
        self.calls = calls;
        self.is_alive = true;
        self.observer = LeaseObserver::new(world.settings.longest_lease);
        self.step(world, 0, GatewayStep::FollowerNext);
        for exchange in 0..EXCHANGES {
            self.step(world, 0, GatewayStep::Decide(exchange));
        }
    }

    pub(super) fn instance(&self) -> Ulid {
        Ulid::from(((self.number as u128) << 64) | u128::from(self.process))
    }

    pub(super) fn is_process(&self, process: u32) -> bool {
        self.is_alive && self.process == process
    }

    pub(super) fn freshness(&self, now: Nanos) -> Freshness {
        self.follower.lease().freshness(self.settings.clock(now))
    }

    pub(super) fn applied(&self) -> &[RecordedEvent] {
        &self.replica.applied
    }

    pub(super) fn knows(&self, number: usize) -> bool {
        self.knows.get(number).copied().unwrap_or(false)
    }

    pub(super) fn awaits_everywhere(&self) -> bool {
        !self.awaited.is_empty()
    }

    pub(super) fn kill(&mut self) {
        self.is_alive = false;
    }

    /// Stops the process until then, but not between the check of a part and its hand-out: no mechanism can see such a pause.
    pub(super) fn pause(&mut self, now: Nanos, until: Nanos) -> bool {
        if self.hand_outs.iter().all(|end| *end <= now) {
            self.paused_until = until;
        }
        self.paused_until == until
    }

    fn step(&self, world: &mut World<'_>, after: Nanos, step: GatewayStep) {
        world.step(self.number, self.process, after, step);
    }

    fn call(&mut self, world: &mut World<'_>, thread: GatewayThread, request: StoreRequest) {
        self.calls += 1;
        let call = self.calls;
        match thread {
            GatewayThread::Follower => self.follower_call = call,
            GatewayThread::Writer => self.writer_call = call,
            GatewayThread::Barrier => self.barrier_call = call,
        }
        world.ask(StoreCaller { gateway: self.number, process: self.process, thread, call }, request);
    }

    /// Receives the answer to a question, or the time-out of one.
    pub(super) fn answered(&mut self, world: &mut World<'_>, caller: StoreCaller, answer: StoreAnswer) {
        let call = match caller.thread {
            GatewayThread::Follower => &mut self.follower_call,
            GatewayThread::Writer => &mut self.writer_call,
            GatewayThread::Barrier => &mut self.barrier_call,
        };
        if *call != caller.call {
            return;
        }
        *call = 0;
        match caller.thread {
            GatewayThread::Follower => self.follower_answered(world, answer),
            GatewayThread::Writer => self.writer_answered(world, answer),
            GatewayThread::Barrier => self.barrier_answered(world, answer),
        }
    }

    pub(super) fn take(&mut self, world: &mut World<'_>, step: GatewayStep) {
        match step {
            GatewayStep::FollowerNext => self.follower_next(world),
            GatewayStep::FollowerWake(wait) if self.wait == wait => self.follower_next(world),
            GatewayStep::FollowerWake(_) => {}
            GatewayStep::Renew { applied, waited } => {
                let skips = self.variant == MechanismVariant::ConfirmationBeforeHandOuts;
                let again = GatewayStep::Renew { applied, waited: true };
                if waited || skips || !self.waits_for_hand_outs(world, again) {
                    self.task = FollowerTask::Renew(applied);
                    let instance = self.instance();
                    self.call(world, GatewayThread::Follower, StoreRequest::Renew { instance, applied });
                }
            }
            GatewayStep::CatchUp { transaction, last, waited } => {
                let again = GatewayStep::CatchUp { transaction, last, waited: true };
                if waited || !self.waits_for_hand_outs(world, again) {
                    self.task = FollowerTask::ConfirmCatchUp(last);
                    let instance = self.instance();
                    let request = StoreRequest::CommitRenewal { transaction, instance };
                    self.call(world, GatewayThread::Follower, request);
                }
            }
            GatewayStep::WriterStart => self.writer_start(world),
            GatewayStep::WriterCommit { transaction } => {
                let events = self.batch.as_ref().unwrap().events.clone();
                self.call(world, GatewayThread::Writer, StoreRequest::Commit { transaction, events });
            }
            GatewayStep::Acknowledge { waited } => {
                let skips = self.variant == MechanismVariant::AcknowledgementBeforeHandOuts;
                let again = GatewayStep::Acknowledge { waited: true };
                if waited || skips || !self.waits_for_hand_outs(world, again) {
                    self.acknowledge(world);
                }
            }
            GatewayStep::AskForLeases => {
                self.asked_for_leases = self.settings.clock(world.now);
                self.call(world, GatewayThread::Barrier, StoreRequest::Leases);
            }
            GatewayStep::Decide(exchange) => self.decide(world, exchange),
            GatewayStep::HandOut(exchange) => self.hand_out(world, exchange),
            GatewayStep::HandedOut(exchange) => self.handed_out(world, exchange),
        }
    }

    /// Takes the step again when every hand-out that has begun is over. `false` if none is in progress.
    fn waits_for_hand_outs(&self, world: &mut World<'_>, again: GatewayStep) -> bool {
        let end = self.hand_outs.iter().copied().max().filter(|end| *end >= world.now);
        if let Some(end) = end {
            self.step(world, end - world.now, again);
        }
        end.is_some()
    }
}

/// The follower's thread.
impl SimulatedGateway {
    /// Another process may have appended events.
    pub(super) fn notify(&mut self, world: &mut World<'_>) {
        if self.wait > 0 {
            self.follower_next(world);
        }
    }

    fn follower_next(&mut self, world: &mut World<'_>) {
        self.wait = 0;
        let (task, request) = match self.follower.next(self.settings.clock(world.now)) {
            FollowerStep::Register => {
                let term = self.settings.term;
                (FollowerTask::Register, StoreRequest::Register { instance: self.instance(), term })
            }
            FollowerStep::Follow(known) => {
                (FollowerTask::Follow(self.failures, known), StoreRequest::Follow(known))
            }
            FollowerStep::CatchUp(known) if self.variant == MechanismVariant::WithoutCatchUp => {
                (FollowerTask::Follow(self.failures, known), StoreRequest::Follow(known))
            }
            FollowerStep::CatchUp(known) => (FollowerTask::CatchUp(known), StoreRequest::Begin(known)),
            FollowerStep::Renew { applied } => {
                return self.step(world, 0, GatewayStep::Renew { applied, waited: false });
            }
            FollowerStep::ReportLoss { .. } if self.variant == MechanismVariant::LossIsNotReported => {
                self.follower.loss_reported(KnownHistory::default());
                return self.step(world, 0, GatewayStep::FollowerNext);
            }
            FollowerStep::ReportLoss { until } => (FollowerTask::Report, StoreRequest::ReportLoss(until)),
            FollowerStep::Verify(report) => (FollowerTask::Verify, StoreRequest::Follow(report)),
            FollowerStep::Reload => {
                self.fresh = Default::default();
                (FollowerTask::ReloadPage, StoreRequest::Follow(KnownHistory::default()))
            }
            FollowerStep::Wait(time) => {
                self.calls += 1;
                self.wait = self.calls;
                let after = self.settings.true_time(time);
                return self.step(world, after, GatewayStep::FollowerWake(self.wait));
            }
            FollowerStep::BackOff(time) => {
                let after = self.settings.true_time(time);
                return self.step(world, after, GatewayStep::FollowerNext);
            }
        };
        self.task = task;
        self.call(world, GatewayThread::Follower, request);
    }

    fn follower_answered(&mut self, world: &mut World<'_>, answer: StoreAnswer) {
        match (self.task, answer) {
            (FollowerTask::Register, StoreAnswer::Done) => self.follower.registered(),
            (FollowerTask::Follow(failures, base), StoreAnswer::Page { head, events, complete }) => {
                let last = events.last().map(|event| (event.position, event.id));
                let read = last.map_or(base.position, |(position, _)| position);
                if self.apply(&base, if complete { head } else { read }, &events) {
                    self.follower.followed(head, last, complete);
                    if complete {
                        let is_open = |pending: &PendingWithdrawal| {
                            pending.failure.is_none_or(|failure| failure > failures)
                        };
                        self.replica.pending.retain(is_open);
                    }
                }
            }
            (FollowerTask::Verify, StoreAnswer::Page { .. }) => self.follower.verified(),
            (FollowerTask::Follow(..) | FollowerTask::Verify, StoreAnswer::Diverges) => {
                self.follower.diverged();
                if let Some(until) = self.follower.lost() {
                    world.checker.diverged(self.number, self.process, until);
                }
            }
            (FollowerTask::Renew(applied), StoreAnswer::Renewal(renewal)) => {
                self.follower.renewed(applied, renewal);
                if self.variant == MechanismVariant::LeaseFromAnswer
                    && self.freshness(world.now) != Freshness::Unknown
                {
                    self.follower.lease().extend(self.settings.clock(world.now));
                }
            }
            (FollowerTask::CatchUp(base), StoreAnswer::Tail { transaction, last, missed }) => {
                if self.apply(&base, last, &missed) {
                    let generation = self.follower.generation();
                    assert!(self.follower.appended(generation, continued(base, last, &missed)));
                    return self.step(world, 0, GatewayStep::CatchUp { transaction, last, waited: false });
                }
                self.follower.failed();
            }
            (FollowerTask::CatchUp(_), StoreAnswer::Behind) => {
                let known = self.follower.known().position;
                self.follower.renewed(known, Renewal::Behind);
            }
            (FollowerTask::ConfirmCatchUp(last), StoreAnswer::Renewal(renewal)) => {
                world.checker.totals.caught_up += 1;
                self.follower.renewed(last, renewal);
            }
            (FollowerTask::Report, StoreAnswer::Reported(_))
                if self.variant == MechanismVariant::ReportIsNotLookedFor =>
            {
                self.follower.loss_reported(KnownHistory::default());
            }
            (FollowerTask::Report, StoreAnswer::Reported(report)) => self.follower.loss_reported(report),
            (
                FollowerTask::ReloadPage | FollowerTask::ReloadBegin | FollowerTask::ReloadCommit,
                answer @ (StoreAnswer::Page { .. } | StoreAnswer::Tail { .. } | StoreAnswer::Durable(_)),
            ) => return self.reload(world, answer),
            (_, StoreAnswer::Failed | StoreAnswer::Behind | StoreAnswer::Diverges) => self.follower.failed(),
            (task, answer) => panic!("{answer:?} is no answer to {task:?}"),
        }
        self.step(world, 0, GatewayStep::FollowerNext);
    }

    /// Applies the events of an answer that are not applied yet. `false` if the answer belongs to another history.
    fn apply(&mut self, base: &KnownHistory, head: Position, events: &[RecordedEvent]) -> bool {
        let ids = events.iter().map(|event| (event.position, event.id));
        let applied = match self.variant {
            MechanismVariant::DelayedAnswersAreApplied => Some(
                events.iter().take_while(|event| event.position <= self.follower.known().position).count(),
            ),
            _ => self.follower.applied_of(base, head, ids),
        };
        for event in events.iter().skip(applied.unwrap_or(events.len())) {
            self.replica.apply(event);
            self.know(event);
        }
        applied.is_some()
    }

    fn know(&mut self, event: &RecordedEvent) {
        let number = event.reported.number;
        if self.knows.len() <= number {
            self.knows.resize(number + 1, false);
        }
        self.knows[number] = true;
    }

    /// Loads the ledger anew, page by page, then records the withdrawals again that it lacks.
    fn reload(&mut self, world: &mut World<'_>, answer: StoreAnswer) {
        let (last, events, complete, transaction) = match answer {
            StoreAnswer::Page { head, events, complete } => (head, events, complete, None),
            StoreAnswer::Tail { transaction, last, missed } => (last, missed, true, Some(transaction)),
            StoreAnswer::Durable(events) => {
                (events.last().map_or(self.fresh.1.position, |event| event.position), events, true, None)
            }
            other => panic!("{other:?} does not continue the loading"),
        };
        events.iter().for_each(|event| self.fresh.0.apply(event));
        let read = events.last().map_or(self.fresh.1.position, |event| event.position);
        self.fresh.1 = continued(self.fresh.1, if complete { last } else { read }, &events);
        let known = self.fresh.1;
        let is_missing = |event: &ReportedEvent| !event.grants && !self.fresh.0.contains(event);
        let own = self.replica.applied.iter().map(|event| event.reported);
        let missing: Vec<ReportedEvent> = match self.variant {
            MechanismVariant::NothingIsRecordedAgain => Vec::new(),
            _ => own.filter(is_missing).collect(),
        };
        let request = match (complete, transaction) {
            (false, _) => StoreRequest::Follow(known),
            (true, Some(transaction)) => {
                self.task = FollowerTask::ReloadCommit;
                StoreRequest::Commit { transaction, events: missing }
            }
            (true, None) if self.task == FollowerTask::ReloadPage && !missing.is_empty() => {
                self.task = FollowerTask::ReloadBegin;
                StoreRequest::Begin(known)
            }
            (true, None) => {
                self.replace_replica();
                return self.step(world, 0, GatewayStep::FollowerNext);
            }
        };
        self.call(world, GatewayThread::Follower, request);
    }

    fn replace_replica(&mut self) {
        let (fresh, known) = std::mem::take(&mut self.fresh);
        fresh.applied.iter().for_each(|event| self.know(event));
        let epoch = self.replica.epoch + 1;
        let pending = std::mem::take(&mut self.replica.pending);
        self.replica = ModelReplica { epoch, changed: [epoch; SUBJECTS], pending, ..fresh };
        self.follower.reloaded(known);
    }
}

/// The writer's thread and the barrier.
impl SimulatedGateway {
    pub(super) fn report(&mut self, world: &mut World<'_>, reported: ReportedEvent) {
        self.reports.push_back(reported);
        if !self.is_writing {
            self.is_writing = true;
            self.step(world, 0, GatewayStep::WriterStart);
        }
    }

    fn writer_start(&mut self, world: &mut World<'_>) {
        let count = self.reports.len().min(MAX_GROUP);
        let events: Vec<_> = self.reports.drain(..count).collect();
        if events.is_empty() {
            self.is_writing = false;
            return;
        }
        let (generation, known) = (self.follower.generation(), self.follower.known());
        self.batch = Some(WriterBatch { events, recorded: Vec::new(), generation, known });
        self.call(world, GatewayThread::Writer, StoreRequest::Begin(known));
    }

    fn writer_answered(&mut self, world: &mut World<'_>, answer: StoreAnswer) {
        let batch = self.batch.as_mut().unwrap();
        if self.variant == MechanismVariant::AnswersOfLostHistory {
            batch.generation = self.follower.generation();
        }
        let is_present = batch.generation == self.follower.generation();
        match answer {
            StoreAnswer::Tail { transaction, last, missed } if is_present => {
                let (base, generation, events) = (batch.known, batch.generation, batch.events.clone());
                batch.known = continued(base, last, &missed);
                let known = batch.known;
                if !self.apply(&base, last, &missed) || self.follower.known().position > last {
                    return self.writer_failed(world);
                }
                assert!(self.follower.appended(generation, known));
                for reported in events.iter().filter(|reported| !reported.grants) {
                    self.replica.withhold(*reported);
                }
                self.step(world, 0, GatewayStep::WriterCommit { transaction });
            }
            StoreAnswer::Behind if self.retries < MAX_RETRIES => {
                self.retries += 1;
                let batch = self.batch.take().unwrap();
                batch.events.into_iter().rev().for_each(|event| self.reports.push_front(event));
                self.step(world, 20 * MILLISECOND, GatewayStep::WriterStart);
            }
            StoreAnswer::Durable(recorded) if is_present => {
                let (base, generation) = (batch.known, batch.generation);
                batch.recorded.clone_from(&recorded);
                let last = recorded.last().unwrap().position;
                let is_next = self.follower.known() == base;
                let is_applied = recorded.iter().all(|event| self.replica.applied.contains(event));
                let ignores =
                    [MechanismVariant::DelayedAnswersAreApplied, MechanismVariant::AnswersOfLostHistory]
                        .contains(&self.variant);
                if !is_next && !is_applied && !ignores {
                    return self.writer_failed(world);
                }
                self.apply(&base, last, &recorded);
                assert!(self.follower.appended(generation, continued(base, last, &recorded)));
                self.step(world, 0, GatewayStep::Acknowledge { waited: false });
            }
            _ => self.writer_failed(world),
        }
    }

    /// The outcome of an append is unknown: the events are not acknowledged, and count as soon as the feed brings them.
    fn writer_failed(&mut self, world: &mut World<'_>) {
        self.retries = 0;
        self.failures += 1;
        let batch = self.batch.take().unwrap();
        for pending in &mut self.replica.pending {
            if batch.events.contains(&pending.reported) {
                pending.failure = Some(self.failures);
            }
        }
        self.step(world, 20 * MILLISECOND, GatewayStep::WriterStart);
        self.report_again(world);
    }

    fn acknowledge(&mut self, world: &mut World<'_>) {
        self.retries = 0;
        let batch = self.batch.take().unwrap();
        for event in &batch.recorded {
            let number = event.reported.number;
            world.checker.acknowledged(world.now, self.number, self.process, number);
            self.awaited.push(AwaitedEvent { number, position: event.position, id: event.id });
        }
        if !self.asks_for_leases {
            self.asks_for_leases = true;
            self.step(world, 0, GatewayStep::AskForLeases);
        }
        self.step(world, 0, GatewayStep::WriterStart);
        self.report_again(world);
    }

    fn report_again(&self, world: &mut World<'_>) {
        if world.settings.saturated && self.number == 0 {
            world.agenda.add(world.now, Happening::Report { gateway: 0, repeats: false });
        }
    }

    fn barrier_answered(&mut self, world: &mut World<'_>, answer: StoreAnswer) {
        match answer {
            StoreAnswer::Table(mut table) => {
                let mut now = self.settings.clock(world.now);
                if self.variant == MechanismVariant::ObservationBeforeReading {
                    now = self.asked_for_leases;
                }
                if self.variant == MechanismVariant::BarrierWithoutDrift {
                    table.leases.iter_mut().for_each(|lease| lease.term = lease.term.div_f64(1.01));
                }
                if self.variant == MechanismVariant::ServerClock {
                    self.observer.forget();
                }
                self.confirmed = self.observer.confirmed(now, &table);
                let confirmed = self.awaited.iter().filter(|awaited| awaited.position <= self.confirmed);
                if let Some(last) = confirmed.max_by_key(|awaited| awaited.position) {
                    if self.variant == MechanismVariant::EventIsNotVerified {
                        self.everywhere(world);
                    } else {
                        let last_event = Some((last.position, last.id));
                        let known = KnownHistory { position: last.position, last_event };
                        return self.call(world, GatewayThread::Barrier, StoreRequest::Follow(known));
                    }
                }
                if let (false, Some(identity)) = (table.settled, self.observer.settled(now)) {
                    world.checker.totals.settled += 1;
                    return self.call(world, GatewayThread::Barrier, StoreRequest::Settle(identity));
                }
            }
            // The event is in the history for which the leases were read.
            StoreAnswer::Page { .. } => self.everywhere(world),
            // The latest one is lost. The others are asked for again.
            StoreAnswer::Diverges => {
                let confirmed = self.awaited.iter().filter(|awaited| awaited.position <= self.confirmed);
                let lost = confirmed.max_by_key(|awaited| awaited.position).map(|awaited| awaited.id);
                self.awaited.retain(|awaited| Some(awaited.id) != lost);
            }
            StoreAnswer::Done => {}
            _ if self.variant == MechanismVariant::ObserverRemembersFailover => {}
            _ => self.observer.forget(),
        }
        self.asks_for_leases = !self.awaited.is_empty();
        if self.asks_for_leases {
            let after = world.dice.between(1, 20) * MILLISECOND;
            self.step(world, after, GatewayStep::AskForLeases);
        }
    }

    /// Answers everybody who waits for a position that is confirmed.
    fn everywhere(&mut self, world: &mut World<'_>) {
        for awaited in self.awaited.iter().filter(|awaited| awaited.position <= self.confirmed) {
            world.checker.in_force_everywhere(world.now, awaited.number);
        }
        self.awaited.retain(|awaited| awaited.position > self.confirmed);
    }
}

/// Exchanges.
impl SimulatedGateway {
    fn gap(&self, world: &mut World<'_>) -> Nanos {
        world.dice.below(world.settings.exchange_gap)
    }

    fn decide(&mut self, world: &mut World<'_>, exchange: usize) {
        let subject = world.dice.below(SUBJECTS as u64) as usize;
        let is_current = self.freshness(world.now) == Freshness::Current;
        let consent = self.replica.consent(subject).filter(|_| is_current);
        let after = self.gap(world);
        let Some(consent) = consent else {
            return self.step(world, after, GatewayStep::Decide(exchange));
        };
        let epoch = self.replica.epoch;
        self.decisions[exchange] = ModelDecision { subject, consent, epoch, begin: 0, end: 0 };
        self.step(world, after, GatewayStep::HandOut(exchange));
    }

    fn hand_out(&mut self, world: &mut World<'_>, exchange: usize) {
        let ModelDecision { subject, epoch, .. } = self.decisions[exchange];
        let has_changed =
            self.replica.changed[subject] > epoch && self.variant != MechanismVariant::ChangesNotChecked;
        let is_current = self.freshness(world.now) == Freshness::Current
            || self.variant == MechanismVariant::LeaseCheckedOnce;
        if has_changed || !is_current {
            return self.decide(world, exchange);
        }
        let end = world.now + world.dice.below(world.settings.hand_out);
        self.hand_outs.push(end);
        self.decisions[exchange].begin = world.now;
        self.decisions[exchange].end = end;
        self.released(world, exchange);
        let (gateway, process, step) = (self.number, self.process, GatewayStep::HandedOut(exchange));
        world.agenda.add(end, Happening::Step { gateway, process, step });
    }

    fn handed_out(&mut self, world: &mut World<'_>, exchange: usize) {
        self.released(world, exchange);
        let end = self.decisions[exchange].end;
        if let Some(place) = self.hand_outs.iter().position(|other| *other == end) {
            self.hand_outs.remove(place);
        }
        let after = self.gap(world);
        self.step(world, after, GatewayStep::Decide(exchange));
    }

    fn released(&self, world: &mut World<'_>, exchange: usize) {
        let ModelDecision { consent, begin, .. } = self.decisions[exchange];
        let release = SimulatedRelease {
            gateway: self.number,
            process: self.process,
            consent,
            begin,
            at: world.now,
            has_lease: self.freshness(world.now) == Freshness::Current,
            term: self.settings.true_time(self.settings.term),
        };
        world.checker.released(&release, |number| self.knows(number));
    }
}
