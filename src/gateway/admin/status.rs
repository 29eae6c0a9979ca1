//! State of the gateway: readiness, metrics, and the loaded policies, recipients and routes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::AdminApi;
use super::openapi::PositionHeader;
use super::openapi::problems::{MetricsProblems, ProcessProblems, ReadProblems};
use super::problem::{AdminCode, AdminProblem};
use super::request::{NoParameters, QueryOf};
use crate::exchange::Versions;
use crate::ledger::{Freshness, LedgerFigures};

/// Tells that the process runs.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "process",
    responses((status = 200, description = "The process runs.", body = String, content_type = "text/plain"), ProcessProblems)
)]
pub(super) async fn healthz(_: QueryOf<NoParameters>) -> &'static str {
    "ok\n"
}

/// Tells if the gateway can serve exchanges.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "process",
    responses(
        (status = 200, description = "The gateway takes requests.", body = ref("#/components/schemas/Readiness")),
        (status = 503, description = "The gateway takes no requests.", body = ref("#/components/schemas/Readiness")), ProcessProblems)
)]
pub(super) async fn readyz(
    State(admin): State<AdminApi>,
    _: QueryOf<NoParameters>,
) -> (StatusCode, Json<Value>) {
    admin.readiness().await
}

/// Returns the exposition for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "process",
    responses((status = 200, description = "All metrics.", body = String, content_type = "text/plain"), MetricsProblems)
)]
pub(super) async fn metrics(
    State(admin): State<AdminApi>,
    _: QueryOf<NoParameters>,
) -> Result<([(HeaderName, &'static str); 1], String), AdminProblem> {
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics()?))
}

/// Lists the versions of all packs.
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "listPolicies", tag = "configuration",
    params(PositionHeader),
    responses((status = 200, description = "The versions of all packs.", body = ref("#/components/schemas/Policies")), ReadProblems)
)]
pub(super) async fn policies(State(admin): State<AdminApi>, _: QueryOf<NoParameters>) -> Json<Value> {
    Json(admin.policies())
}

/// Lists the configured recipients.
#[utoipa::path(
    get, path = "/v1/recipients", operation_id = "listRecipients", tag = "configuration",
    params(PositionHeader),
    responses((status = 200, description = "The recipients.", body = ref("#/components/schemas/Recipients")), ReadProblems)
)]
pub(super) async fn recipients(State(admin): State<AdminApi>, _: QueryOf<NoParameters>) -> Json<Value> {
    Json(admin.recipients())
}

/// Lists the configured routes.
#[utoipa::path(
    get, path = "/v1/routes", operation_id = "listRoutes", tag = "configuration",
    params(PositionHeader),
    responses((status = 200, description = "The routes.", body = ref("#/components/schemas/Routes")), ReadProblems)
)]
pub(super) async fn routes(State(admin): State<AdminApi>, _: QueryOf<NoParameters>) -> Json<Value> {
    Json(admin.routes())
}

impl AdminApi {
    async fn readiness(&self) -> (StatusCode, Json<Value>) {
        let ledger =
            self.shared.ledger.check_store().await && self.shared.ledger.freshness() == Freshness::Current;
        let log = self.shared.log.healthy();
        let draining = self.draining.load(Ordering::Relaxed);
        let ready = ledger && log && !draining;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body =
            json!({ "ready": ready, "ledger": ledger, "audit": log, "policy": true, "draining": draining });
        (status, Json(body))
    }

    /// Returns all metrics. Gauges that no event sets are set here.
    fn metrics(&self) -> Result<String, AdminProblem> {
        let metrics = &self.shared.metrics;
        let (requests, now) = (self.shared.ledger.requests(), Timestamp::now());
        let overdue = requests.iter().filter(|request| request.is_overdue(now)).count();
        metrics.subject_requests_open.set(i64::try_from(requests.len()).unwrap_or(i64::MAX));
        metrics.subject_requests_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
        metrics.policy_info.reset();
        let snapshot = self.shared.snapshot();
        for version in snapshot.packs.iter().filter_map(|pack| pack.in_force(Timestamp::now())) {
            let (manifest, revision) = (version.pack().manifest(), version.pack().revision());
            metrics.policy_info.with_label_values(&[&*manifest.title, &manifest.version, revision]).set(1);
        }
        let divergences = snapshot.packs.iter().flat_map(Versions::iter).map(|version| version.divergences());
        metrics.policy_divergences.set(i64::try_from(divergences.sum::<u64>()).unwrap_or(i64::MAX));
        self.set_ledger_figures();
        metrics.ledger_subjects.set(i64::try_from(self.shared.ledger.subject_count()).unwrap_or(i64::MAX));
        metrics.audit_records.reset();
        metrics.audit_records.inc_by(self.shared.log.records_written());
        metrics
            .expose()
            .map_err(|_| AdminProblem::new(AdminCode::MetricsUnavailable, "the metrics cannot be encoded"))
    }

    fn set_ledger_figures(&self) {
        let (metrics, ledger) = (&self.shared.metrics, &self.shared.ledger);
        let LedgerFigures { position, lease_remaining, gateways, history_lost, store_failures } =
            ledger.figures();
        metrics.ledger_staleness.set(staleness(ledger.freshness()));
        metrics.ledger_position.set(i64::try_from(position.0).unwrap_or(i64::MAX));
        metrics.ledger_lease_remaining.set(lease_remaining.map_or(f64::INFINITY, |time| time.as_secs_f64()));
        metrics.ledger_gateways.set(i64::try_from(gateways).unwrap_or(i64::MAX));
        metrics.ledger_history_lost.set(history_lost.into());
        metrics.ledger_store_failures.reset();
        metrics.ledger_store_failures.inc_by(store_failures);
    }

    /// Lists the versions of all packs.
    fn policies(&self) -> Value {
        let snapshot = self.shared.snapshot();
        let now = Timestamp::now();
        let mut versions = Vec::new();
        for pack in &snapshot.packs {
            let in_force = pack.in_force(now).map(|version| Arc::clone(version.pack()));
            versions.extend(pack.iter().map(|version| {
                let pack = version.pack();
                let manifest = pack.manifest();
                json!({
                    "pack": manifest.title,
                    "version": manifest.version,
                    "revision": &**pack.revision(),
                    "announced": manifest.announced.to_string(),
                    "effective": manifest.effective.to_string(),
                    "in_force": in_force.as_ref().is_some_and(|in_force| Arc::ptr_eq(in_force, pack)),
                    "contact": manifest.contact,
                })
            }));
        }
        Value::Array(versions)
    }

    /// Lists the configured recipients.
    fn recipients(&self) -> Value {
        let snapshot = self.shared.snapshot();
        let recipients = snapshot.recipients.iter().map(|recipient| {
            let until = recipient.agreement.as_ref().and_then(|agreement| agreement.until);
            json!({
                "name": &*recipient.name,
                "revision": &*snapshot.revision,
                "suspended": recipient.in_agreement.suspended || self.shared.ledger.is_suspended(&recipient.name),
                "agreement": recipient.agreement.is_some(),
                "agreement_until": until.map(|until| until.to_string()),
            })
        });
        recipients.collect()
    }

    /// Lists the configured routes.
    fn routes(&self) -> Value {
        let snapshot = self.shared.snapshot();
        let routes = snapshot.routes.iter().map(|route| {
            let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
            json!({
                "name": &*route.name,
                "revision": &*snapshot.revision,
                "path": route.pattern,
                "methods": methods,
                "upstream": &*route.upstream,
                "personal": route.scrubbing.is_some(),
            })
        });
        routes.collect()
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
