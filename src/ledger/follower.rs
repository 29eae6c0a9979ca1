//! The follower of a shared ledger: decides what its thread does next so that this gateway knows every event, and holds the
//! lease on that knowledge.
//!
//! It is pure: it reads no clock and calls no store. A thread drives it in a loop: it reads the clock, takes
//! [`Follower::next`], does the step, and reports the outcome. The thread that appends events reports what it applied with
//! [`Follower::appended`]. Both hold a lock around these calls, and around the application of events to the replica; no lock
//! is held while the store is asked.
//!
//! Invariants: the lease counts from a clock reading before the question after which the store confirmed that nothing was
//! missing. A history that was lost ends the lease at once, and only the store's next confirmation begins it again.

use std::sync::Arc;
use std::time::Duration;

use ulid::Ulid;

use super::lease::Lease;
use super::store::shared::Renewal;
use super::store::{KnownHistory, Position};

/// The time between two questions for new events. Notifications make it shorter; the question is the truth.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// The wait after the first failure of the store. It doubles with each further failure.
const MIN_BACK_OFF: Duration = Duration::from_millis(20);

/// The longest wait after a failure of the store, so that the gateway is back soon after the store is.
const MAX_BACK_OFF: Duration = Duration::from_millis(320);

/// The number of renewals in a row that other writers overtake before the next one keeps them out. Once half of the term has
/// passed, a single one is enough.
const MAX_OVERTAKEN: u32 = 3;

/// The next step of the follower's thread. After a step that fails, the thread calls [`Follower::failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FollowerStep {
    /// Register this gateway with the store, then call [`Follower::registered`].
    Register,
    /// Ask for the events after this history and apply those that are not applied yet ([`Follower::applied_of`]), then call
    /// [`Follower::followed`]. If the history diverges, call [`Follower::diverged`].
    Follow(KnownHistory),
    /// Wait until every hand-out that has begun is over, then renew the lease for this position, then call
    /// [`Follower::renewed`].
    Renew {
        /// The last position that is applied.
        applied: Position,
    },
    /// Renew the lease while other writers are kept out: read the events after this history, apply them, report them with
    /// [`Follower::appended`], wait until every hand-out that has begun is over, and renew for the end of the ledger, in
    /// one transaction. Then call [`Follower::renewed`]. If too many events are missing, renew nothing and report
    /// [`Renewal::Behind`].
    ///
    /// Under a constant load of other writers an event would come between each [`FollowerStep::Follow`] and its
    /// [`FollowerStep::Renew`], and the gateway would lose its lease though it knows all but the last milliseconds.
    CatchUp(KnownHistory),
    /// Report to the store that events were lost, then call [`Follower::loss_reported`] with the history that it returns.
    ReportLoss {
        /// Last position that this gateway knew.
        until: Position,
    },
    /// Record the withholding events again that this gateway knows and the store does not, load the ledger anew, count every
    /// entity as changed, then call [`Follower::reloaded`].
    ///
    /// An event that is recorded again gets a new id. Two histories could otherwise end with the same event and differ before
    /// it, after two losses.
    Reload,
    /// Ask if the store's history continues this one, and apply nothing. If it does, call [`Follower::verified`]; if it
    /// diverges, [`Follower::diverged`]: then the record of the loss was lost itself.
    Verify(KnownHistory),
    /// Wait for events, at most for this time.
    Wait(Duration),
    /// Wait for this time: the store has failed.
    BackOff(Duration),
}

/// The sequence of histories that this gateway knew: it grows when one is lost. An answer of the store that belongs to an
/// earlier one is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The recovery from a lost history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    Report {
        until: Position,
    },
    /// With the position up to which events were lost, and the history that ends with the record of it.
    Reload {
        until: Position,
        report: KnownHistory,
    },
    Verify {
        until: Position,
        report: KnownHistory,
    },
}

/// The next question to the store while there is nothing to recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FollowerQuestion {
    Follow,
    Renew,
}

/// A wait before the next question.
#[derive(Clone, Copy, Debug)]
enum FollowerPause {
    /// For events, at most for this time.
    Wait(Duration),
    /// For this time: the store has failed.
    BackOff(Duration),
}

/// The state of the follower.
#[derive(Debug)]
pub(super) struct Follower {
    lease: Arc<Lease>,
    known: KnownHistory,
    generation: Generation,
    /// The last position that the store has on record as applied here.
    confirmed: Option<Position>,
    /// The clock before the latest question for events.
    asked: Duration,
    registered: bool,
    recovery: Option<Recovery>,
    question: FollowerQuestion,
    overtaken: u32,
    /// True if the present renewal keeps other writers out.
    keeps_out: bool,
    pause: Option<FollowerPause>,
    /// The wait after the latest failure. Zero after a success.
    back_off: Duration,
    /// Last position that is known to be lost, while nobody has accepted it.
    lost: Option<Position>,
}

impl Follower {
    /// Returns the follower of a gateway that has applied `known` and has no lease.
    pub(super) fn new(term: Duration, known: KnownHistory) -> Follower {
        Follower {
            lease: Arc::new(Lease::new(term)),
            known,
            generation: Generation::default(),
            confirmed: None,
            asked: Duration::ZERO,
            registered: false,
            recovery: None,
            question: FollowerQuestion::Follow,
            overtaken: 0,
            keeps_out: false,
            pause: None,
            back_off: Duration::ZERO,
            lost: None,
        }
    }

    /// Returns the lease, to be read by exchanges.
    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Returns the history that is applied.
    pub(super) fn known(&self) -> KnownHistory {
        self.known
    }

    /// Returns the number of the present history. A writer reads it together with [`Follower::known`].
    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns the last position that is known to be lost, while nobody has accepted the loss.
    pub(super) fn lost(&self) -> Option<Position> {
        self.lost
    }

    /// Returns the next step. `now` was read from the clock right before the call.
    pub(super) fn next(&mut self, now: Duration) -> FollowerStep {
        match self.pause.take() {
            Some(FollowerPause::Wait(at_most)) => return FollowerStep::Wait(at_most),
            Some(FollowerPause::BackOff(time)) => return FollowerStep::BackOff(time),
            None => {}
        }
        if !self.registered {
            return FollowerStep::Register;
        }
        match (self.recovery, self.question) {
            (Some(Recovery::Report { until }), _) => FollowerStep::ReportLoss { until },
            (Some(Recovery::Reload { .. }), _) => FollowerStep::Reload,
            (Some(Recovery::Verify { report, .. }), _) => FollowerStep::Verify(report),
            (None, FollowerQuestion::Renew) => FollowerStep::Renew { applied: self.known.position },
            (None, FollowerQuestion::Follow) => {
                self.asked = now;
                let is_urgent = self.lease.is_older(self.lease.term() / 2, now);
                self.keeps_out = self.overtaken >= if is_urgent { 1 } else { MAX_OVERTAKEN };
                if self.keeps_out {
                    FollowerStep::CatchUp(self.known)
                } else {
                    FollowerStep::Follow(self.known)
                }
            }
        }
    }

    /// Returns the number of events at the beginning of an answer that are applied already; the rest is to be applied. `None`
    /// if the answer belongs to another history than what another thread has applied since the store was asked: then
    /// nothing is applied, and the store is asked again. Delayed answers of a server that has been replaced do this.
    ///
    /// `base` is the known history that the store was asked for, `head` the last position that the answer had, and `events`
    /// are the positions and ids of its events.
    pub(super) fn applied_of(
        &self,
        base: &KnownHistory,
        head: Position,
        events: impl Iterator<Item = (Position, Ulid)>,
    ) -> Option<usize> {
        let applied = events.take_while(|(position, _)| *position <= self.known.position);
        let (count, last) = applied.fold((0, base.last_event), |(count, _), event| (count + 1, Some(event)));
        let has_news = head > self.known.position;
        (self.known == *base || !has_news || last == self.known.last_event).then_some(count)
    }

    /// The store has this gateway on record.
    pub(super) fn registered(&mut self) {
        self.registered = true;
    }

    /// The gateway has another description now.
    pub(super) fn described_anew(&mut self) {
        self.registered = false;
    }

    /// The events after the known history are applied, or were applied before.
    ///
    /// `head` is the store's last position, `last_event` the last event that was read. The page is `complete` if it had all
    /// events up to `head`; then `head` may be after the last event, where the loss of events was accepted.
    pub(super) fn followed(&mut self, head: Position, last_event: Option<(Position, Ulid)>, complete: bool) {
        self.back_off = Duration::ZERO;
        let read = last_event.map_or(self.known.position, |(position, _)| position);
        let position = if complete { head } else { read };
        if position > self.known.position {
            self.known = KnownHistory { position, last_event: last_event.or(self.known.last_event) };
        }
        if !complete {
            return;
        }
        if self.confirmed != Some(self.known.position)
            || self.lease.is_older(self.lease.term() / 4, self.asked)
        {
            self.question = FollowerQuestion::Renew;
        } else {
            self.pause = Some(FollowerPause::Wait(POLL));
        }
    }

    /// Another thread appended events: everything up to `known` is durable and applied. `generation` was read before the
    /// store was asked.
    ///
    /// Returns `false` if the history was lost in between. The events may be lost with it, so they are not acknowledged.
    /// Nor are own events if the known history is no longer the one that they were appended to, unless the feed has brought
    /// exactly these events meanwhile.
    #[must_use]
    pub(super) fn appended(&mut self, generation: Generation, known: KnownHistory) -> bool {
        if generation != self.generation {
            return false;
        }
        if known.position > self.known.position {
            self.known = known;
        }
        true
    }

    /// The store answered a request for a lease. `applied` is the position that it was asked for.
    pub(super) fn renewed(&mut self, applied: Position, renewal: Renewal) {
        self.back_off = Duration::ZERO;
        self.question = FollowerQuestion::Follow;
        match renewal {
            Renewal::Renewed => {
                self.lease.extend(self.asked);
                self.confirmed = Some(applied);
                self.overtaken = 0;
                self.lost = None;
                // The writer's thread may have appended meanwhile. Others wait for the confirmation.
                if self.known.position == applied {
                    self.pause = Some(FollowerPause::Wait(POLL));
                }
            }
            Renewal::Behind => {
                // After a renewal that kept writers out, so many events are missing that they are read in pages first.
                self.overtaken = if self.keeps_out { 0 } else { self.overtaken + 1 };
            }
            Renewal::HistoryLost { until } => {
                self.lease.end();
                self.confirmed = None;
                self.lost = Some(until);
                self.pause = Some(FollowerPause::Wait(POLL));
            }
        }
    }

    /// The store's history is not a continuation of the known one.
    pub(super) fn diverged(&mut self) {
        self.leave_history();
        let until = match self.recovery {
            Some(Recovery::Verify { until, .. }) => until.max(self.known.position),
            _ => self.known.position,
        };
        self.lost = Some(until);
        self.recovery = Some(Recovery::Report { until });
    }

    /// The store's server is another one, or failed over. Its history may lack events that were read ahead of the known
    /// position, so the ledger is loaded anew; then the known history is looked for.
    pub(super) fn server_changed(&mut self) {
        if self.recovery.is_some() {
            return;
        }
        self.leave_history();
        self.recovery = Some(Recovery::Reload { until: self.known.position, report: self.known });
    }

    /// Ends the lease and makes answers void that belong to the known history: it may not be the store's.
    fn leave_history(&mut self) {
        self.lease.end();
        self.generation = Generation(self.generation.0 + 1);
        self.confirmed = None;
        self.overtaken = 0;
        self.question = FollowerQuestion::Follow;
    }

    /// The store has the loss on record, at the end of this history: no gateway gets a lease until somebody accepts it.
    pub(super) fn loss_reported(&mut self, report: KnownHistory) {
        if let Some(Recovery::Report { until }) = self.recovery {
            self.recovery = Some(Recovery::Reload { until, report });
        }
    }

    /// The ledger is loaded anew up to `known`. The next step finds out if the record of the loss is still there.
    pub(super) fn reloaded(&mut self, known: KnownHistory) {
        if let Some(Recovery::Reload { until, report }) = self.recovery {
            self.known = known;
            self.recovery = Some(Recovery::Verify { until, report });
        }
    }

    /// The record of the loss is still there. The next question finds out the same of the history that was loaded.
    pub(super) fn verified(&mut self) {
        self.recovery = None;
    }

    /// The step failed. The lease goes on: it only says what was known.
    ///
    /// The gateway registers again afterwards, since a server that failed may have lost it.
    pub(super) fn failed(&mut self) {
        self.registered = false;
        self.question = FollowerQuestion::Follow;
        self.overtaken = 0;
        self.back_off = (self.back_off * 2).clamp(MIN_BACK_OFF, MAX_BACK_OFF);
        self.pause = Some(FollowerPause::BackOff(self.back_off));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::lease::Freshness;

    const TERM: Duration = Duration::from_secs(2);

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn history(position: u64) -> KnownHistory {
        KnownHistory { position: Position(position), last_event: Some(event(position)) }
    }

    fn event(position: u64) -> (Position, Ulid) {
        (Position(position), Ulid::from(u128::from(position)))
    }

    /// Returns a follower that has registered and knows the events up to a position.
    fn registered(position: u64) -> Follower {
        let mut follower = Follower::new(TERM, history(position));
        assert_eq!(follower.next(ms(0)), FollowerStep::Register);
        follower.registered();
        follower
    }

    /// Asks for events at `asked` and finds none.
    fn poll(follower: &mut Follower, asked: Duration) {
        let known = follower.known();
        assert_eq!(follower.next(asked), FollowerStep::Follow(known));
        follower.followed(known.position, None, true);
    }

    /// Polls and renews.
    fn renew(follower: &mut Follower, asked: Duration) {
        poll(follower, asked);
        let applied = follower.known().position;
        assert_eq!(follower.next(asked + ms(1)), FollowerStep::Renew { applied });
        follower.renewed(applied, Renewal::Renewed);
    }

    #[test]
    fn the_lease_counts_from_before_the_question_for_events() {
        let mut follower = registered(7);
        poll(&mut follower, ms(100));
        assert_eq!(follower.lease().freshness(ms(100)), Freshness::Unknown);
        assert_eq!(follower.next(ms(900)), FollowerStep::Renew { applied: Position(7) });
        follower.renewed(Position(7), Renewal::Renewed);
        assert_eq!(follower.lease().freshness(ms(2099)), Freshness::Current);
        assert_eq!(follower.lease().freshness(ms(2100)), Freshness::Stale { age: TERM });
    }

    #[test]
    fn a_lease_is_renewed_when_something_was_applied_or_a_quarter_has_passed() {
        let mut follower = registered(7);
        renew(&mut follower, ms(100));
        assert_eq!(follower.next(ms(110)), FollowerStep::Wait(POLL));
        poll(&mut follower, ms(210));
        assert_eq!(follower.next(ms(210)), FollowerStep::Wait(POLL));
        poll(&mut follower, ms(600));
        assert_eq!(follower.next(ms(600)), FollowerStep::Renew { applied: Position(7) });
        follower.renewed(Position(7), Renewal::Renewed);
        assert_eq!(follower.next(ms(610)), FollowerStep::Wait(POLL));
        assert_eq!(follower.next(ms(620)), FollowerStep::Follow(history(7)));
        follower.followed(Position(9), Some(event(9)), true);
        assert_eq!(follower.next(ms(621)), FollowerStep::Renew { applied: Position(9) });
    }

    #[test]
    fn a_page_that_is_not_the_last_is_followed_by_the_next_one() {
        let mut follower = registered(0);
        assert_eq!(follower.next(ms(10)), FollowerStep::Follow(history(0)));
        follower.followed(Position(9), Some(event(4)), false);
        assert_eq!(follower.next(ms(20)), FollowerStep::Follow(history(4)));
        follower.followed(Position(9), Some(event(9)), true);
        assert_eq!(follower.next(ms(30)), FollowerStep::Renew { applied: Position(9) });
        follower.renewed(Position(9), Renewal::Renewed);
        // The first page had not seen everything, so the lease counts from the second.
        assert_eq!(follower.lease().freshness(ms(2019)), Freshness::Current);
        assert_eq!(follower.lease().freshness(ms(2020)), Freshness::Stale { age: TERM });
    }

    #[test]
    fn positions_that_were_accepted_as_lost_are_known_without_events() {
        let mut follower = registered(7);
        assert_eq!(follower.next(ms(10)), FollowerStep::Follow(history(7)));
        follower.followed(Position(12), None, true);
        assert_eq!(follower.known(), KnownHistory { position: Position(12), last_event: Some(event(7)) });
    }

    #[test]
    fn own_events_count_as_known_and_are_confirmed_soon() {
        let mut follower = registered(7);
        renew(&mut follower, ms(100));
        assert_eq!(follower.next(ms(110)), FollowerStep::Wait(POLL));
        assert!(follower.appended(follower.generation(), history(8)));
        poll(&mut follower, ms(120));
        assert_eq!(follower.next(ms(121)), FollowerStep::Renew { applied: Position(8) });
        // One more while the store is asked: it is confirmed without a wait.
        assert!(follower.appended(follower.generation(), history(9)));
        follower.renewed(Position(8), Renewal::Renewed);
        poll(&mut follower, ms(130));
        assert_eq!(follower.next(ms(131)), FollowerStep::Renew { applied: Position(9) });
    }

    #[test]
    fn events_that_the_writer_applied_first_are_not_forgotten() {
        let mut follower = registered(7);
        assert_eq!(follower.next(ms(10)), FollowerStep::Follow(history(7)));
        assert!(follower.appended(follower.generation(), history(9)));
        follower.followed(Position(8), Some(event(8)), true);
        assert_eq!(follower.known(), history(9));
    }

    #[test]
    fn an_answer_of_another_history_is_not_applied() {
        let base = history(7);
        let lost = KnownHistory { position: Position(9), last_event: Some(event(7)) };
        let known = |known: KnownHistory| Follower::new(TERM, known);
        let of = |follower: &Follower, head: u64, positions: &[u64]| {
            follower.applied_of(&base, Position(head), positions.iter().map(|position| event(*position)))
        };
        assert_eq!(of(&known(base), 9, &[8, 9]), Some(0));
        assert_eq!(of(&known(history(8)), 10, &[8, 9, 10]), Some(1));
        assert_eq!(of(&known(history(9)), 9, &[8, 9]), Some(2));
        assert_eq!(of(&known(history(9)), 8, &[8]), Some(1), "an answer that is older than what is known");
        assert_eq!(of(&known(lost), 11, &[10, 11]), Some(0));
        // Position 8 was lost in the history that is known, or has another event.
        assert_eq!(of(&known(lost), 11, &[8, 10]), None);
        let other =
            KnownHistory { position: Position(8), last_event: Some((Position(8), Ulid::from(80_u128))) };
        assert_eq!(of(&known(other), 10, &[8, 9]), None);
        // In the answer's history it was lost.
        assert_eq!(of(&known(history(8)), 10, &[10]), None);
    }

    #[test]
    fn a_refused_renewal_gives_no_lease_and_is_repeated_at_once() {
        let mut follower = registered(7);
        renew(&mut follower, ms(0));
        assert_eq!(follower.next(ms(5)), FollowerStep::Wait(POLL));
        poll(&mut follower, ms(600));
        assert_eq!(follower.next(ms(600)), FollowerStep::Renew { applied: Position(7) });
        follower.renewed(Position(7), Renewal::Behind);
        assert_eq!(follower.lease().freshness(ms(2000)), Freshness::Stale { age: TERM });
        assert_eq!(follower.next(ms(601)), FollowerStep::Follow(history(7)));
    }

    #[test]
    fn a_gateway_that_is_always_overtaken_keeps_writers_out_once() {
        let mut follower = registered(7);
        renew(&mut follower, ms(0));
        assert_eq!(follower.next(ms(5)), FollowerStep::Wait(POLL));
        assert!(follower.appended(follower.generation(), history(8)));
        for _ in 0..MAX_OVERTAKEN {
            poll(&mut follower, ms(10));
            assert_eq!(follower.next(ms(10)), FollowerStep::Renew { applied: Position(8) });
            follower.renewed(Position(8), Renewal::Behind);
        }
        assert_eq!(follower.next(ms(20)), FollowerStep::CatchUp(history(8)));
        assert!(follower.appended(follower.generation(), history(30)));
        follower.renewed(Position(30), Renewal::Renewed);
        assert_eq!(follower.lease().freshness(ms(2019)), Freshness::Current);
        assert_eq!(follower.lease().freshness(ms(2020)), Freshness::Stale { age: TERM });
        assert_eq!(follower.next(ms(21)), FollowerStep::Wait(POLL));
        assert_eq!(follower.next(ms(22)), FollowerStep::Follow(history(30)));
    }

    #[test]
    fn after_half_of_the_term_it_keeps_writers_out_at_the_second_attempt() {
        let mut follower = registered(7);
        renew(&mut follower, ms(0));
        assert_eq!(follower.next(ms(5)), FollowerStep::Wait(POLL));
        poll(&mut follower, ms(990));
        assert_eq!(follower.next(ms(991)), FollowerStep::Renew { applied: Position(7) });
        follower.renewed(Position(7), Renewal::Behind);
        assert_eq!(follower.next(ms(1000)), FollowerStep::CatchUp(history(7)));
    }

    #[test]
    fn too_many_missing_events_are_read_in_pages_first() {
        let mut follower = registered(7);
        poll(&mut follower, ms(10));
        assert_eq!(follower.next(ms(10)), FollowerStep::Renew { applied: Position(7) });
        follower.renewed(Position(7), Renewal::Behind);
        assert_eq!(follower.next(ms(20)), FollowerStep::CatchUp(history(7)));
        follower.renewed(Position(7), Renewal::Behind);
        assert_eq!(follower.next(ms(21)), FollowerStep::Follow(history(7)));
    }

    #[test]
    fn a_lost_history_ends_the_lease_and_is_recovered_in_order() {
        let mut follower = registered(9);
        renew(&mut follower, ms(100));
        assert_eq!(follower.next(ms(110)), FollowerStep::Wait(POLL));
        assert_eq!(follower.next(ms(200)), FollowerStep::Follow(history(9)));
        let before = follower.generation();
        follower.diverged();
        assert_eq!(follower.lease().freshness(ms(201)), Freshness::Unknown);
        assert_eq!(follower.lost(), Some(Position(9)));
        assert!(!follower.appended(before, history(10)), "an event of the lost history");
        assert_eq!(follower.next(ms(202)), FollowerStep::ReportLoss { until: Position(9) });
        // A failure does not lose the place.
        follower.failed();
        assert_eq!(follower.next(ms(203)), FollowerStep::BackOff(MIN_BACK_OFF));
        assert_eq!(follower.next(ms(223)), FollowerStep::Register);
        follower.registered();
        assert_eq!(follower.next(ms(224)), FollowerStep::ReportLoss { until: Position(9) });
        let report = KnownHistory { position: Position(10), last_event: Some(event(6)) };
        follower.loss_reported(report);
        assert_eq!(follower.next(ms(225)), FollowerStep::Reload);
        follower.reloaded(history(11));
        assert_eq!(follower.next(ms(229)), FollowerStep::Verify(report));
        follower.verified();
        poll(&mut follower, ms(230));
        assert_eq!(follower.next(ms(231)), FollowerStep::Renew { applied: Position(11) });
        follower.renewed(Position(11), Renewal::HistoryLost { until: Position(10) });
        assert_eq!(follower.next(ms(232)), FollowerStep::Wait(POLL));
        renew(&mut follower, ms(332));
        assert_eq!(follower.lost(), None);
        assert_eq!(follower.lease().freshness(ms(333)), Freshness::Current);
    }

    #[test]
    fn another_server_ends_the_lease_until_the_ledger_is_loaded_and_its_history_found() {
        let mut follower = registered(9);
        renew(&mut follower, ms(100));
        assert_eq!(follower.next(ms(110)), FollowerStep::Wait(POLL));
        let before = follower.generation();
        follower.server_changed();
        assert_eq!(follower.lease().freshness(ms(111)), Freshness::Unknown);
        assert!(!follower.appended(before, history(10)), "an append to the former server");
        assert_eq!(follower.next(ms(112)), FollowerStep::Reload);
        follower.reloaded(history(12));
        assert_eq!(follower.next(ms(113)), FollowerStep::Verify(history(9)));
        follower.verified();
        assert_eq!(follower.lost(), None);
        renew(&mut follower, ms(120));
        assert_eq!(follower.lease().freshness(ms(121)), Freshness::Current);
        // The new server lacks the known history: that is a loss.
        follower.server_changed();
        assert_eq!(follower.next(ms(130)), FollowerStep::Wait(POLL));
        assert_eq!(follower.next(ms(131)), FollowerStep::Reload);
        follower.reloaded(history(8));
        assert_eq!(follower.next(ms(132)), FollowerStep::Verify(history(12)));
        follower.diverged();
        assert_eq!(follower.next(ms(133)), FollowerStep::ReportLoss { until: Position(12) });
    }

    #[test]
    fn a_report_that_is_lost_itself_is_repeated() {
        let mut follower = registered(9);
        assert_eq!(follower.next(ms(10)), FollowerStep::Follow(history(9)));
        follower.diverged();
        assert_eq!(follower.next(ms(11)), FollowerStep::ReportLoss { until: Position(9) });
        let report = KnownHistory { position: Position(10), last_event: Some(event(6)) };
        follower.loss_reported(report);
        assert_eq!(follower.next(ms(12)), FollowerStep::Reload);
        // Another failover: the report is lost, and the ledger that was loaded knows nothing of it.
        follower.reloaded(history(7));
        assert_eq!(follower.next(ms(13)), FollowerStep::Verify(report));
        follower.diverged();
        assert_eq!(follower.next(ms(14)), FollowerStep::ReportLoss { until: Position(9) });
    }

    #[test]
    fn a_loss_that_another_gateway_reported_ends_the_lease() {
        let mut follower = registered(7);
        renew(&mut follower, ms(100));
        assert_eq!(follower.next(ms(110)), FollowerStep::Wait(POLL));
        poll(&mut follower, ms(700));
        assert_eq!(follower.next(ms(701)), FollowerStep::Renew { applied: Position(7) });
        follower.renewed(Position(7), Renewal::HistoryLost { until: Position(12) });
        assert_eq!(follower.lease().freshness(ms(702)), Freshness::Unknown);
        assert_eq!(follower.lost(), Some(Position(12)));
        // It is asked again at every poll.
        assert_eq!(follower.next(ms(703)), FollowerStep::Wait(POLL));
        poll(&mut follower, ms(803));
        assert_eq!(follower.next(ms(804)), FollowerStep::Renew { applied: Position(7) });
    }

    #[test]
    fn the_wait_after_a_failure_is_bounded_and_the_lease_goes_on() {
        let mut follower = registered(7);
        renew(&mut follower, ms(100));
        assert_eq!(follower.next(ms(110)), FollowerStep::Wait(POLL));
        let mut waits = Vec::new();
        for _ in 0..7 {
            follower.failed();
            match follower.next(ms(120)) {
                FollowerStep::BackOff(wait) => waits.push(wait),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(waits, [ms(20), ms(40), ms(80), ms(160), ms(320), ms(320), ms(320)]);
        assert_eq!(follower.lease().freshness(ms(2099)), Freshness::Current);
        assert_eq!(follower.next(ms(2200)), FollowerStep::Register);
        follower.registered();
        renew(&mut follower, ms(2210));
        follower.failed();
        assert_eq!(follower.next(ms(2220)), FollowerStep::BackOff(MIN_BACK_OFF));
    }
}
