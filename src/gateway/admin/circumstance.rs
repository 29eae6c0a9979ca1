//! Counted circumstances, for `policy diff --decisions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use futures_util::{StreamExt, stream};
use http::HeaderName;
use http::header::CONTENT_TYPE;
use jiff::civil::Date;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminApi;
use super::openapi::PositionHeader;
use super::openapi::problems::ReadProblems;
use super::problem::AdminProblem;
use super::request::QueryOf;
use crate::exchange::SharedState;

/// The query of the counted circumstances.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CircumstancesQuery {
    /// Only from this day on (UTC).
    #[param(value_type = Option<String>, format = Date, nullable = false)]
    since: Option<Date>,
}

/// Returns under which circumstances this gateway decided on records, and how many on each day.
///
/// Thirty days are kept. The lines hold nobody's data: facts as rules compare them, and categories. Circumstances of fewer
/// than five records of a day are merged by route (`rare`), and so are those beyond ten thousand (`other`).
#[utoipa::path(
    get, path = "/v1/circumstances", operation_id = "listCircumstances", tag = "decisions",
    params(CircumstancesQuery, PositionHeader),
    responses((status = 200, description = "One line for the circumstances of each day.", body = ref("#/components/schemas/CircumstanceLines"), content_type = "application/x-ndjson"), ReadProblems)
)]
pub(super) async fn circumstances(
    State(admin): State<AdminApi>,
    QueryOf(CircumstancesQuery { since }): QueryOf<CircumstancesQuery>,
) -> Result<([(HeaderName, &'static str); 1], Body), AdminProblem> {
    let shared = Arc::clone(&admin.shared);
    let days = tokio::task::spawn_blocking(move || shared.circumstances.days()).await.unwrap_or_default();
    let wanted: Vec<Date> = days.into_iter().filter(|day| since.is_none_or(|since| *day >= since)).collect();
    // A day at a time: thirty days can be more than should be held at once.
    let texts = stream::iter(wanted).then(move |day| text_of_day(Arc::clone(&admin.shared), day));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(texts)))
}

/// Returns the lines of a day as text.
async fn text_of_day(shared: Arc<SharedState>, day: Date) -> Result<String, tokio::task::JoinError> {
    let text = move || {
        let lines = shared.circumstances.lines(day);
        lines.iter().map(|line| format!("{}\n", line.to_json())).collect()
    };
    tokio::task::spawn_blocking(text).await
}
