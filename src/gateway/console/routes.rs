//! The routes: which data each has, and what nobody has classified.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::Method;
use jiff::Timestamp;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::counted::counted_by;
use super::filters;
use super::problem_page::PageProblem;
use super::visitor::Visitor;
use crate::exchange::route::Route;
use crate::gateway::admin::request::{NoParameters, QueryOf};

#[derive(Template)]
#[template(path = "routes.html")]
struct RoutesPage {
    chrome: Chrome,
    rows: Vec<RouteRow>,
}

/// One route of the list.
#[derive(Debug)]
struct RouteRow {
    name: String,
    methods: String,
    pattern: String,
    upstream: String,
    /// Number of mapped fields; `None` for a route whose answers pass unread.
    fields: Option<usize>,
    unclassified: u64,
    mode: StateChip,
}

/// Returns the methods of a route in one line.
pub(super) fn methods(route: &Route) -> String {
    route.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

/// Returns the chip of a route's mode.
pub(super) fn mode(route: &Route, now: Timestamp) -> StateChip {
    match route.observe_until.filter(|_| route.observes(now)) {
        Some(until) => StateChip::warn(format!("observed until {until}")),
        None => StateChip::good("enforced"),
    }
}

/// Shows the list.
pub(super) async fn routes(
    State(console): State<Console>,
    visitor: Visitor,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let shared = &console.admin.shared;
    let unclassified = counted_by(&shared.metrics.unclassified_fields, ["route"]);
    let (snapshot, now) = (shared.snapshot(), Timestamp::now());
    let rows = snapshot.routes.iter().map(|route| RouteRow {
        name: route.name.to_string(),
        methods: methods(route),
        pattern: route.pattern.clone(),
        upstream: route.upstream.to_string(),
        fields: route.scrubbing.as_ref().map(|scrubbing| scrubbing.fields.len()),
        unclassified: unclassified.get(&[route.name.to_string()]).copied().unwrap_or(0),
        mode: mode(route, now),
    });
    let page =
        RoutesPage { chrome: console.chrome(&visitor, "Routes", "/console/routes"), rows: rows.collect() };
    Ok(html(&page))
}
