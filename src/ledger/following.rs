//! The thread that follows a shared ledger: it does the steps of the [`Follower`](super::follower::Follower) with the real clock
//! and the real store.
//!
//! Without this thread a shared ledger is never current: such a process (the command line) may append and read, but
//! nothing is released on its knowledge.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ulid::Ulid;

use super::Ledger;
use super::boot_clock::boot_time;
use super::core::LedgerCore;
use super::entity::EntityKind;
use super::follower::{Follower, FollowerStep};
use super::lease::Freshness;
use super::loading;
use super::membership::Membership;
use super::outcome::{Acknowledgement, LedgerOpenError};
use super::store::shared::{GatewayDescription, RegisteredGateway, Renewal, SharedStore};
use super::store::{
    Continuation, EventRow, KnownHistory, LedgerTail, Position, SecretChange, StoreError, StoredEntity,
    StoredEvent, StoredSecret,
};
use crate::keys::LogSecret;

/// Number of events that are asked for at a time.
const PAGE: usize = 4096;

/// Longest sleep of a thread, after which it looks if the ledger is being dropped.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// Time between two looks at the leases of others while somebody waits for them.
const BARRIER_INTERVAL: Duration = Duration::from_millis(4);

/// Time between two looks at the gateways on record.
const OTHERS_INTERVAL: Duration = Duration::from_secs(1);

/// Number of events per look-up when events that the store has lost are recorded again.
const RECORD_AGAIN_CHUNK: usize = 512;

/// Taking part in a shared ledger.
impl Ledger {
    /// Returns the gateways that share the ledger, this one excepted. Empty for an embedded ledger.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn other_gateways(&self) -> Result<Vec<RegisteredGateway>, StoreError> {
        let gateways = self.core.archive.gateways()?;
        let own = self.core.membership.get().map(Membership::instance);
        Ok(gateways.into_iter().filter(|gateway| Some(gateway.description.instance) != own).collect())
    }

    /// Returns the name of a recipient if another gateway that shares the ledger and runs has it in its configuration.
    pub fn recipient_of_others(&self, name: &str) -> Option<Arc<str>> {
        self.core.known_recipients.of_others(name)
    }

    /// Makes this process one of the gateways that share the ledger: from now on it follows the events of the others and
    /// holds a lease. No effect on an embedded ledger, and after the first call.
    ///
    /// # Errors
    /// [`LedgerOpenError`] if the store cannot record the gateway, or a thread cannot be started.
    pub fn join(&self, gateway: GatewayDescription) -> Result<(), LedgerOpenError> {
        let Some(shared) = self.core.archive.store().shared() else { return Ok(()) };
        if self.core.membership.get().is_some() {
            return Ok(());
        }
        shared.register(&gateway)?;
        let lease = {
            let mut sequencer = self.core.sequencer();
            sequencer.follower = Follower::new(gateway.lease, sequencer.known());
            Arc::clone(sequencer.follower.lease())
        };
        if self.core.membership.set(Membership::new(lease, gateway)).is_err() {
            return Ok(());
        }
        self.start("ledger-follower", Box::new(run))?;
        self.start("ledger-others", Box::new(watch_others))
    }

    /// Returns the position up to which the loss of events waits for acceptance, as far as this gateway knows.
    #[cfg(test)]
    pub(crate) fn lost_history(&self) -> Option<Position> {
        self.core.sequencer().follower.lost()
    }

    /// Tells the other gateways that the configuration has changed.
    pub fn describe(&self, gateway: GatewayDescription) {
        let Some(membership) = self.core.membership.get() else { return };
        membership.describe(gateway);
        self.core.sequencer().follower.described_anew();
    }
}

impl LedgerCore {
    /// Returns how fresh this gateway's knowledge of the ledger is.
    pub(super) fn freshness(&self) -> Freshness {
        match (self.archive.store().shared(), self.membership.get()) {
            (None, _) => Freshness::Current,
            (Some(_), None) => Freshness::Unknown,
            (Some(_), Some(membership)) => membership.lease().freshness(boot_time()),
        }
    }

    /// Waits until every gateway has applied an event, or may release nothing until it has. Returns `false` if the event was
    /// lost meanwhile: after a failover, other events reach its position.
    pub(super) async fn in_force_everywhere(self: Arc<Self>, recorded: Acknowledgement) -> bool {
        let Some(membership) = self.membership.get() else { return true };
        membership.wait_until_confirmed(recorded.position).await;
        let core = Arc::clone(&self);
        let is_there = tokio::task::spawn_blocking(move || {
            let last_event = Some((recorded.position, recorded.event));
            let known = KnownHistory { position: recorded.position, last_event };
            core.archive.store().follow(&known, 1)
        });
        matches!(is_there.await, Ok(Ok(Continuation::Continues { .. })))
    }
}

/// Looks at the other gateways: at their leases as long as somebody waits for them, and at their descriptions from time to
/// time. The body of a thread; a slow answer delays nobody's lease.
fn watch_others(core: &Arc<LedgerCore>) {
    let (Some(membership), Some(shared)) = (core.membership.get(), core.archive.store().shared()) else {
        return;
    };
    let mut described: Option<Duration> = None;
    while !core.is_closing() {
        membership.sleep_until_awaited(OTHERS_INTERVAL, || core.is_closing());
        let now = boot_time();
        if described.is_none_or(|described| now.saturating_sub(described) >= OTHERS_INTERVAL) {
            described = Some(now);
            if let Err(error) = look_at_others(core, membership, shared) {
                tracing::debug!(error = &error as &dyn std::error::Error, "the gateways cannot be read");
            }
        }
        if !membership.is_awaited() {
            continue;
        }
        let look = membership.begin_look();
        match shared.confirmed() {
            Ok(position) => {
                membership.confirm(look, position);
                std::thread::sleep(BARRIER_INTERVAL);
            }
            Err(error) => {
                core.counted.count_failure();
                tracing::debug!(error = &error as &dyn std::error::Error, "the leases cannot be read");
                std::thread::sleep(MAX_SLEEP);
            }
        }
    }
}

/// Takes note of the recipients that only other gateways know, and stops this gateway if one that started earlier reads ids
/// by other rules.
fn look_at_others(
    core: &LedgerCore,
    membership: &Membership,
    shared: &dyn SharedStore,
) -> Result<(), StoreError> {
    let own = membership.description();
    let mut others = shared.gateways()?;
    others.retain(|other| other.live && other.description.instance != own.instance);
    let reads_ids_otherwise = |other: &RegisteredGateway| {
        other.description.namespaces != own.namespaces && other.description.instance < own.instance
    };
    if let Some(other) = others.iter().find(|other| reads_ids_otherwise(other)) {
        tracing::error!(
            gateway = &*other.description.name,
            "a gateway of this ledger that started earlier reads ids by other rules, so one person would have several \
             ids: this gateway stops; give all gateways the same `[namespace]`"
        );
        core.stop();
    }
    core.counted.set_others(others.len());
    let known: BTreeSet<Arc<str>> =
        others.into_iter().flat_map(|other| other.description.recipients).collect();
    core.known_recipients.set_of_others(known);
    Ok(())
}

/// Follows the ledger until it is dropped. The body of a thread.
fn run(core: &Arc<LedgerCore>) {
    let (Some(membership), Some(shared)) = (core.membership.get(), core.archive.store().shared()) else {
        return;
    };
    let mut thread =
        FollowerThread { core, membership, shared, server: None, is_loaded_since_loss: false, reached: true };
    while !core.is_closing() {
        let step = {
            let mut sequencer = core.sequencer();
            core.counted.set_history_lost(sequencer.follower.lost().is_some());
            sequencer.follower.next(boot_time())
        };
        if let Err(error) = thread.perform(step) {
            thread.note_failure(&error);
            core.sequencer().follower.failed();
        }
    }
    if let Err(error) = shared.leave(membership.instance()) {
        tracing::info!(
            error = &error as &dyn std::error::Error,
            "the gateway cannot give up its lease: others wait for it until the lease is over"
        );
    }
}

struct FollowerThread<'c> {
    core: &'c LedgerCore,
    membership: &'c Membership,
    shared: &'c dyn SharedStore,
    /// Identity of the server and its history.
    server: Option<u64>,
    /// True if the ledger was loaded anew after a loss that waits for acceptance.
    is_loaded_since_loss: bool,
    /// True unless the last step failed.
    reached: bool,
}

impl FollowerThread<'_> {
    /// Does one step and reports its outcome to the follower.
    fn perform(&mut self, step: FollowerStep) -> Result<(), StoreError> {
        let FollowerThread { core, shared, .. } = *self;
        match step {
            FollowerStep::Register => self.register()?,
            FollowerStep::Follow(known) => self.follow(&known)?,
            FollowerStep::Renew { applied } => self.renew(applied)?,
            FollowerStep::CatchUp(known) => self.catch_up(&known)?,
            FollowerStep::ReportLoss { until } => {
                let report = shared.report_loss(until, Timestamp::now())?;
                core.sequencer().follower.loss_reported(report);
            }
            FollowerStep::Reload => self.reload()?,
            FollowerStep::Verify(report) => match core.archive.store().follow(&report, 1)? {
                Continuation::Continues { .. } => core.sequencer().follower.verified(),
                Continuation::Diverges { .. } => core.sequencer().follower.diverged(),
            },
            FollowerStep::Wait(at_most) => shared.wait_for_events(at_most),
            FollowerStep::BackOff(time) => std::thread::sleep(time.min(MAX_SLEEP)),
        }
        Ok(())
    }

    fn register(&mut self) -> Result<(), StoreError> {
        let FollowerThread { core, shared, .. } = *self;
        shared.register(&self.membership.description())?;
        let server = Some(shared.identity()?);
        let is_another = self.server.is_some() && self.server != server;
        let mut sequencer = core.sequencer();
        if is_another {
            tracing::warn!("the ledger's server is another one, or failed over: the ledger is loaded anew");
            sequencer.follower.server_changed();
        }
        sequencer.follower.registered();
        drop(sequencer);
        self.server = server;
        core.note_answer();
        Ok(())
    }

    /// Applies the events after `known`.
    fn follow(&self, known: &KnownHistory) -> Result<(), StoreError> {
        let core = self.core;
        match core.archive.store().follow(known, PAGE)? {
            Continuation::Continues { head, events } => {
                let mut sequencer = core.sequencer();
                if core.apply(&mut sequencer, known, head, &events)? {
                    let last_event = events.last().map(|row| (row.stored.position, row.stored.id));
                    sequencer.follower.followed(head, last_event, events.len() < PAGE);
                    core.publish(&sequencer);
                }
            }
            Continuation::Diverges { head } => {
                core.sequencer().follower.diverged();
                tracing::error!(
                    known = known.position.0,
                    head = head.0,
                    "the ledger's history went back: events that were acknowledged are missing. Nothing that rests \
                     on the ledger is released until `purposegate ledger accept-history`"
                );
            }
        }
        Ok(())
    }

    fn renew(&mut self, applied: Position) -> Result<(), StoreError> {
        self.load_after_loss()?;
        self.core.changes.wait_for_hand_outs();
        let renewal = self.shared.renew(self.membership.instance(), applied)?;
        self.note_renewal(applied, renewal);
        Ok(())
    }

    /// Applies the events after `known` and renews the lease while other writers are kept out.
    fn catch_up(&mut self, known: &KnownHistory) -> Result<(), StoreError> {
        self.load_after_loss()?;
        let core = self.core;
        let generation = core.sequencer().follower.generation();
        let mut applied = known.position;
        let renewal =
            self.shared.renew_excluding_writers(self.membership.instance(), known, &mut |tail| {
                applied = tail.last;
                core.apply_tail(&mut core.sequencer(), known, generation, &tail)?;
                core.changes.wait_for_hand_outs();
                Ok(())
            })?;
        self.note_renewal(applied, renewal);
        Ok(())
    }

    fn note_renewal(&mut self, applied: Position, renewal: Renewal) {
        let was_lost = {
            let mut sequencer = self.core.sequencer();
            let was_lost = sequencer.follower.lost();
            sequencer.follower.renewed(applied, renewal);
            was_lost
        };
        if renewal == Renewal::Renewed {
            self.is_loaded_since_loss = false;
        }
        match renewal {
            Renewal::HistoryLost { until } if was_lost.is_none() => tracing::error!(
                until = until.0,
                "another gateway reports that events of the ledger were lost. Nothing that rests on the ledger is \
                 released until `purposegate ledger accept-history`"
            ),
            Renewal::Renewed if was_lost.is_some() => {
                tracing::warn!("the loss of events was accepted: going on");
            }
            Renewal::HistoryLost { .. } | Renewal::Renewed | Renewal::Behind => {}
        }
        if !std::mem::replace(&mut self.reached, true) {
            tracing::info!("the ledger's store answers again");
        }
    }

    fn note_failure(&mut self, error: &StoreError) {
        self.core.counted.count_failure();
        if std::mem::replace(&mut self.reached, false) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the ledger cannot be followed: releases stop when the gateway's knowledge is too old"
            );
        }
    }

    /// Loads the ledger anew before a lease is asked for, if a loss is known and it was not loaded since: states are read with
    /// everything that is durable at that moment, lost events among it. A load that fails is begun again.
    fn load_after_loss(&mut self) -> Result<(), StoreError> {
        let is_lost = self.core.sequencer().follower.lost().is_some();
        if is_lost && !self.is_loaded_since_loss { self.reload() } else { Ok(()) }
    }

    /// Loads the state in force anew. If events are known to be lost, first records those again that withheld.
    fn reload(&mut self) -> Result<(), StoreError> {
        let core = self.core;
        // Only after the loss is on record: before that, the new events would get the positions of the lost ones.
        let is_lost = core.sequencer().follower.lost().is_some();
        let recorded = if is_lost { record_again(core)? } else { 0 };
        if recorded > 0 {
            tracing::warn!(
                events = recorded,
                "withholding events that the store had lost were recorded again"
            );
        }
        let known = core.archive.store().history_end()?;
        {
            let mut sequencer = core.sequencer();
            core.warming.restart();
            core.index.clear();
            core.changes.push_everybody();
            sequencer.unsettle();
        }
        core.load_recipients_and_cases()
            .map_err(|error| StoreError::transient("loading the ledger anew", error.to_string()))?;
        loading::reload(core)?;
        let mut sequencer = core.sequencer();
        let present = sequencer.known();
        core.apply(&mut sequencer, &present, present.position, &[])?;
        core.changes.push_everybody();
        sequencer.follower.reloaded(known);
        core.publish(&sequencer);
        self.is_loaded_since_loss = true;
        Ok(())
    }
}

/// Records the withholding events again that this gateway knows and the store does not have. Returns their number.
fn record_again(core: &LedgerCore) -> Result<usize, StoreError> {
    let remembered = core.sequencer().withheld.rows();
    let mut recorded = 0;
    for chunk in remembered.chunks(RECORD_AGAIN_CHUNK) {
        if missing(core, chunk)?.is_empty() {
            continue;
        }
        let end = core.archive.store().history_end()?;
        core.archive.store().append(&end, &mut |LedgerTail { last, .. }| {
            // Looked up again while other writers are kept out: another gateway may have recorded them.
            let mut rows = missing(core, chunk)?;
            for (position, row) in (last.0 + 1..).zip(&mut rows) {
                // A new id: two histories must not end with the same event and differ before it.
                row.stored =
                    StoredEvent { position: Position(position), id: Ulid::generate(), ..row.stored.clone() };
                row.idempotency = None;
                row.log_secret = secret_again(&row.entity, row.stored.position)?;
            }
            recorded += rows.len();
            Ok(rows)
        })?;
    }
    Ok(recorded)
}

/// Makes a log secret for a person whose secret was lost with the events.
fn secret_again(entity: &StoredEntity, since: Position) -> Result<SecretChange, StoreError> {
    if entity.kind != EntityKind::Subject {
        return Ok(SecretChange::Keep);
    }
    let secret = LogSecret::random().map_err(|error| StoreError::transient("making a log secret", error))?;
    Ok(SecretChange::Make(StoredSecret { secret, since }))
}

/// Returns those of the events that the store does not have.
fn missing(core: &LedgerCore, rows: &[EventRow]) -> Result<Vec<EventRow>, StoreError> {
    let entities: Vec<StoredEntity> = rows.iter().map(|row| row.entity.clone()).collect();
    let histories = core.archive.store().histories(&entities)?;
    let mut missing: Vec<EventRow> = Vec::new();
    for (row, history) in rows.iter().zip(histories) {
        let is_stored = history.events.iter().any(|stored| is_same_report(stored, &row.stored));
        let is_listed = missing
            .iter()
            .any(|listed| listed.entity == row.entity && is_same_report(&listed.stored, &row.stored));
        if !is_stored && !is_listed {
            missing.push(row.clone());
        }
    }
    Ok(missing)
}

/// True if two events are one report, which may have been recorded twice.
fn is_same_report(one: &StoredEvent, other: &StoredEvent) -> bool {
    one.recorded == other.recorded && one.event == other.event
}
