//! The paths of a route that the gateway sees in answers and nothing classifies.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::AdminApi;
use super::openapi::PositionHeader;
use super::openapi::problems::RouteProblems;
use super::problem::AdminProblem;
use super::request::{NoParameters, PathText, QueryOf, RoutePath};
use crate::exchange::route::Route;
use crate::exchange::unclassified::{UnclassifiedPath, UnclassifiedReport};
use crate::scrub::UnclassifiedType;

/// Lists the paths of a route that nothing in its mapping classifies, with types and counts and without values.
///
/// They are of the answers that this gateway read again since it started, or since a reload changed the mapping: the first
/// thousand with unclassified fields, then some each second. At most 1,000 paths are listed; `others` counts the rest.
#[utoipa::path(
    get, path = "/v1/routes/{name}/unclassified", operation_id = "listUnclassifiedPaths", tag = "configuration",
    params(RoutePath, PositionHeader),
    responses((status = 200, description = "The paths.", body = ref("#/components/schemas/UnclassifiedPaths")), RouteProblems)
)]
pub(super) async fn unclassified(
    State(admin): State<AdminApi>,
    PathText(name): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    let snapshot = admin.shared.snapshot();
    let route = snapshot.routes.named(&name).ok_or_else(AdminProblem::not_found)?;
    Ok(Json(report(route)))
}

fn report(route: &Arc<Route>) -> Value {
    let UnclassifiedReport { since, records, paths, others } = route.unclassified.report();
    let sets = route.scrubbing.as_ref().map(|scrubbing| scrubbing.records.as_slice()).unwrap_or_default();
    let paths: Vec<Value> = paths
        .into_iter()
        .map(|UnclassifiedPath { record, path, types, count, first, last }| {
            let record = record.and_then(|set| sets.get(set)).map(|set| set.path.as_str());
            let types: Vec<&str> = types.into_iter().map(UnclassifiedType::name).collect();
            let (first, last) = (first.to_string(), last.to_string());
            json!({ "record": record, "path": path, "types": types, "count": count, "first": first, "last": last })
        })
        .collect();
    json!({
        "route": &*route.name,
        "since": since.to_string(),
        "records": records,
        "paths": paths,
        "others": others,
    })
}
