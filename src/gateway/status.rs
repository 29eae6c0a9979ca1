//! The state of the process, as `/healthz`, `/readyz` and `/metrics` tell it on the admin and on the probes listener.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::stage::Stage;
use crate::exchange::{SharedState, Versions};
use crate::ledger::{Freshness, LedgerFigures, boot_time};
use crate::metrics::MetricSet;

/// Time for the ledger's store to be checked. A prober gives up after a few seconds and learns nothing then.
const STORE_CHECK_TIME: Duration = Duration::from_secs(4);

/// The state of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ProcessStatus {
    shared: Arc<SharedState>,
    stage: watch::Receiver<Stage>,
}

/// The media type of [`ProcessStatus::exposition`].
pub(super) const EXPOSITION: &str = "text/plain; version=0.0.4";

impl ProcessStatus {
    pub(super) fn new(shared: Arc<SharedState>, stage: watch::Receiver<Stage>) -> ProcessStatus {
        ProcessStatus { shared, stage }
    }

    /// Returns status and text of `/healthz`: 503 if a thread of ledger or log has ended, which only a restart mends.
    pub(super) fn liveness(&self) -> (StatusCode, &'static str) {
        match self.is_alive() {
            true => (StatusCode::OK, "ok\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "a thread of the ledger or the log has ended\n"),
        }
    }

    /// True while the threads of ledger and log run.
    pub(super) fn is_alive(&self) -> bool {
        self.shared.ledger.is_running() && self.shared.log.is_running()
    }

    /// True if the threads of ledger and log run, and the log's thread does what it is asked to. Waits for it.
    pub(super) async fn responds(&self) -> bool {
        // A log that cannot be written answers, too.
        let _ = self.shared.log.flush().await;
        self.is_alive()
    }

    /// Returns status and JSON of `/readyz`: 200 if requests should come here.
    pub(super) async fn readiness(&self) -> (StatusCode, Value) {
        let ledger = &self.shared.ledger;
        let is_intact = tokio::time::timeout(STORE_CHECK_TIME, ledger.check_store()).await.unwrap_or(false);
        let ledger = is_intact && ledger.freshness() == Freshness::Current;
        let log = self.shared.log.healthy();
        let draining = *self.stage.borrow() > Stage::Serving;
        let ready = ledger && log && !draining;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (
            status,
            json!({ "ready": ready, "ledger": ledger, "audit": log, "policy": true, "draining": draining }),
        )
    }

    /// Returns all metrics as `/metrics` shows them.
    ///
    /// # Errors
    /// The metrics cannot be encoded.
    pub(super) fn exposition(&self) -> Result<String, prometheus::Error> {
        self.shared.metrics.expose(|metrics| self.set_figures(metrics))
    }

    /// Sets the metrics that no event sets.
    fn set_figures(&self, metrics: &MetricSet) {
        let (requests, now) = (self.shared.ledger.requests(), Timestamp::now());
        let overdue = requests.iter().filter(|request| request.is_overdue(now)).count();
        metrics.subject_requests_open.set(i64::try_from(requests.len()).unwrap_or(i64::MAX));
        metrics.subject_requests_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
        self.set_policy_figures(metrics, now);
        self.set_issuer_figures(metrics);
        self.set_ledger_figures(metrics);
        metrics.audit_records.reset();
        metrics.audit_records.inc_by(self.shared.log.records_written());
        metrics.audit_refusals_dropped.reset();
        metrics.audit_refusals_dropped.inc_by(self.shared.log.refusals_dropped());
        metrics.audit_checkpoint_age.set(self.shared.log.uncovered_for().as_secs_f64());
        metrics.audit_day_ahead.set(self.shared.log.day_ahead(Timestamp::now()).as_secs_f64());
    }

    fn set_policy_figures(&self, metrics: &MetricSet, now: Timestamp) {
        metrics.policy_info.reset();
        let snapshot = self.shared.snapshot();
        for version in snapshot.packs.iter().filter_map(|pack| pack.in_force(now)) {
            let (manifest, revision) = (version.pack().manifest(), version.pack().revision());
            metrics.policy_info.with_label_values(&[&*manifest.title, &manifest.version, revision]).set(1);
        }
        let divergences = snapshot.packs.iter().flat_map(Versions::iter).map(|version| version.divergences());
        metrics.policy_divergences.set(i64::try_from(divergences.sum::<u64>()).unwrap_or(i64::MAX));
    }

    fn set_issuer_figures(&self, metrics: &MetricSet) {
        let keys_age = &metrics.issuer_keys_age;
        keys_age.reset();
        for (issuer, age) in self.shared.snapshot().credentials.issuer_key_ages(boot_time()) {
            keys_age.with_label_values(&[issuer]).set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        }
    }

    fn set_ledger_figures(&self, metrics: &MetricSet) {
        let ledger = &self.shared.ledger;
        let LedgerFigures { position, lease_remaining, gateways, history_lost, store_failures } =
            ledger.figures();
        metrics.ledger_staleness.set(staleness(ledger.freshness()));
        metrics.ledger_position.set(i64::try_from(position.0).unwrap_or(i64::MAX));
        metrics.ledger_lease_remaining.set(lease_remaining.map_or(f64::INFINITY, |time| time.as_secs_f64()));
        metrics.ledger_gateways.set(i64::try_from(gateways).unwrap_or(i64::MAX));
        metrics.ledger_history_lost.set(history_lost.into());
        metrics.ledger_store_failures.reset();
        metrics.ledger_store_failures.inc_by(store_failures);
        metrics.ledger_subjects.set(i64::try_from(ledger.subject_count()).unwrap_or(i64::MAX));
    }
}

/// Returns the age of the knowledge of the ledger beyond `max-staleness`, in seconds.
fn staleness(freshness: Freshness) -> f64 {
    match freshness {
        Freshness::Current => 0.0,
        Freshness::Stale { age } => age.as_secs_f64(),
        Freshness::Unknown => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;
    use crate::disclosure::record::{ActRecord, Record};
    use crate::exchange::flow::tests::TestState;

    #[tokio::test]
    async fn scrapes_at_the_same_time_state_the_same() {
        let state = TestState::new("").await;
        let act = ActRecord {
            act: Ulid::generate(),
            actor: None,
            role: None,
            resource: "/v1/cases",
            subject: None,
            decision: None,
            reason: None,
        };
        state.shared.log.append(Record::Act(act)).await.unwrap();
        let stage = watch::Sender::new(Stage::Serving);
        let scrape = || {
            let text = ProcessStatus::new(Arc::clone(&state.shared), stage.subscribe()).exposition().unwrap();
            let stated = |line: &&str| {
                let names = ["purposegate_audit_records_total ", "purposegate_policy_info{"];
                names.iter().any(|name| line.starts_with(name))
            };
            text.lines().filter(stated).map(str::to_owned).collect::<Vec<_>>()
        };
        let alone = scrape();
        assert!(alone.len() == 2 && !alone.iter().any(|line| line.ends_with(" 0")), "{alone:?}");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| assert_eq!(scrape(), alone)));
            }
        });
    }
}
