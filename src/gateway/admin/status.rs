//! State of the process, and the loaded policies, recipients and routes.

use std::sync::Arc;

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
use crate::disclosure::record::ExchangeMode;
use crate::gateway::status::EXPOSITION;
use crate::vocabulary::Operation;

/// Tells that the process works.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "process",
    responses(
        (status = 200, description = "The process works.", body = String, content_type = "text/plain"),
        (status = 503, description = "Only a restart helps.", body = String, content_type = "text/plain"), ProcessProblems)
)]
pub(super) async fn healthz(
    State(admin): State<AdminApi>,
    _: QueryOf<NoParameters>,
) -> (StatusCode, &'static str) {
    admin.status.liveness()
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
    let (status, state) = admin.status.readiness().await;
    (status, Json(state))
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
    let text = admin.status.exposition();
    let text =
        text.map_err(|_| AdminProblem::new(AdminCode::MetricsUnavailable, "the metrics cannot be encoded"))?;
    Ok(([(CONTENT_TYPE, EXPOSITION)], text))
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
        let words = snapshot.words();
        let recipients = snapshot.recipients.iter().map(|recipient| {
            let until = recipient.agreement.as_ref().and_then(|agreement| agreement.until);
            let facts = &recipient.in_agreement;
            let purposes = facts.purposes.iter().map(|purpose| words.purposes().name(*purpose));
            json!({
                "name": &*recipient.name,
                "revision": &*snapshot.revision,
                "kind": words.kinds().name(facts.kind),
                "purposes": purposes.collect::<Vec<_>>(),
                "legal_name": recipient.contact.legal_name,
                "country": facts.country,
                "region": facts.region,
                "safeguard": facts.safeguard.name(),
                "report": recipient.report.name(),
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
        let now = Timestamp::now();
        let words = snapshot.words();
        let routes = snapshot.routes.iter().map(|route| {
            let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
            json!({
                "name": &*route.name,
                "revision": &*snapshot.revision,
                "path": route.pattern,
                "methods": methods,
                "upstream": &*route.upstream,
                "purposes": route.purposes.as_ref().map(|purposes| {
                    purposes.iter().map(|purpose| words.purposes().name(*purpose)).collect::<Vec<_>>()
                }),
                "operation": route.operation.map(Operation::name),
                "personal": route.scrubbing.is_some(),
                "mode": if route.observes(now) { ExchangeMode::Observe } else { ExchangeMode::Enforce }.name(),
                "observe_until": route.observe_until.map(|until| until.to_string()),
            })
        });
        routes.collect()
    }
}
