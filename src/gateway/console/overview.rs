//! The overview: is it up, who is refused and what to do, what waits for a person.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;

use super::Console;
use super::chart::BarChart;
use super::chrome::{Chrome, StateChip, html};
use super::counted::{counted_by, total};
use super::filters;
use super::history::FigurePeriods;
use super::next_step::next_step;
use super::page_rule::{may, may_see};
use super::problem_page::PageProblem;
use super::recipients::is_suspended;
use super::visitor::Visitor;
use crate::exchange::SharedState;
use crate::exchange::observe::WHOLE_EXCHANGE;
use crate::gateway::admin::authentication::Actor;
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::{NoParameters, QueryOf};
use crate::ledger::{CaseStatus, Freshness, LedgerFigures};

/// Maximum number of refusals that are shown, the most frequent ones.
const MAX_REFUSALS: usize = 12;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    chrome: Chrome,
    readiness: Vec<StateChip>,
    is_ready: bool,
    tiles: Vec<FigureTile>,
    charts: Vec<BarChart>,
    /// `None` if the roles do not permit the figures.
    figures: Option<Attention>,
    observed: Vec<ObservedRoute>,
    shows_decisions: bool,
    shows_routes: bool,
}

/// A figure and where it leads.
#[derive(Debug)]
struct FigureTile {
    title: &'static str,
    figure: String,
    explanation: String,
    link: Option<&'static str>,
}

/// A route that is observed: nothing is withheld there.
#[derive(Debug)]
struct ObservedRoute {
    name: String,
    until: String,
    /// Fields that enforcing would have withheld, and exchanges that it would have refused as a whole.
    would_withhold: u64,
    would_refuse: u64,
}

/// Everything that somebody should look at.
#[derive(Debug)]
struct Attention {
    refusals: Vec<RefusalLine>,
    unclassified: Vec<(String, u64)>,
}

/// Refusals of one recipient with one code.
#[derive(Debug, PartialEq, Eq)]
struct RefusalLine {
    code: String,
    recipient: String,
    count: u64,
    next_step: &'static str,
}

/// Shows the overview.
pub(super) async fn overview(
    State(console): State<Console>,
    visitor: Visitor,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let (_, readiness) = console.admin.status.readiness().await;
    let is = |key: &str| readiness.get(key) == Some(&serde_json::Value::Bool(true));
    let Some(actor) = visitor.actor.clone() else {
        return Err(AdminProblem::not_found().into());
    };
    let shared = &console.admin.shared;
    let shows_figures = may(&actor, "GET", "/metrics");
    let page = OverviewPage {
        chrome: console.chrome(&visitor, "Overview", "/"),
        readiness: readiness_chips(shared, &is),
        is_ready: is("ready"),
        tiles: tiles(shared, &actor, shows_figures),
        charts: if shows_figures {
            charts(&console.history().periods(shared, Timestamp::now()))
        } else {
            Vec::new()
        },
        figures: shows_figures
            .then(|| Attention { refusals: refusal_lines(shared), unclassified: unclassified(shared) }),
        observed: if may_see(&actor, "/console/routes") {
            observed(shared, Timestamp::now())
        } else {
            Vec::new()
        },
        shows_decisions: may_see(&actor, "/console/decisions"),
        shows_routes: may_see(&actor, "/console/routes"),
    };
    Ok(html(&page))
}

/// Says for each part of `/readyz` what its state means.
fn readiness_chips(shared: &SharedState, is: &dyn Fn(&str) -> bool) -> Vec<StateChip> {
    let ledger = match (is("ledger"), shared.ledger.freshness()) {
        (true, _) => StateChip::good("The ledger is current."),
        (false, Freshness::Stale { age }) => StateChip::bad(format!(
            "The ledger is {} s old: nothing that rests on consent leaves.",
            age.as_secs()
        )),
        (false, _) => {
            StateChip::bad("The ledger's store does not answer: nothing that rests on consent leaves.")
        }
    };
    let log = match is("audit") {
        true => StateChip::good("The disclosure log is written."),
        false => {
            StateChip::bad("The disclosure log cannot be written: nothing leaves. See if its disk is full.")
        }
    };
    let draining =
        is("draining").then(|| StateChip::warn("The gateway is about to stop: new requests go elsewhere."));
    [ledger, log].into_iter().chain(draining).collect()
}

fn tiles(shared: &SharedState, actor: &Actor, shows_figures: bool) -> Vec<FigureTile> {
    let mut tiles = Vec::new();
    if shows_figures {
        tiles.extend(figure_tiles(shared, actor));
    }
    if may_see(actor, "/console/recipients") {
        tiles.push(recipient_tile(shared));
    }
    if may_see(actor, "/console/cases") {
        tiles.push(case_tile(shared));
    }
    if may(actor, "GET", "/v1/requests") {
        let (requests, now) = (shared.ledger.requests(), Timestamp::now());
        let overdue = requests.iter().filter(|request| request.is_overdue(now)).count();
        tiles.push(FigureTile {
            title: "Requests of people",
            figure: requests.len().to_string(),
            explanation: match overdue {
                0 => "open, none of them overdue".to_owned(),
                overdue => format!("open, {overdue} of them overdue"),
            },
            link: may_see(actor, "/console/requests").then_some("/console/requests"),
        });
    }
    tiles
}

fn recipient_tile(shared: &SharedState) -> FigureTile {
    let snapshot = shared.snapshot();
    let suspended = snapshot.recipients.iter().filter(|recipient| is_suspended(shared, recipient)).count();
    FigureTile {
        title: "Recipients",
        figure: snapshot.recipients.len().to_string(),
        explanation: match suspended {
            0 => "registered, none of them suspended".to_owned(),
            suspended => format!("registered, {suspended} of them suspended"),
        },
        link: Some("/console/recipients"),
    }
}

fn case_tile(shared: &SharedState) -> FigureTile {
    let (cases, now) = (shared.ledger.cases(), Timestamp::now());
    let count = |status| cases.iter().filter(|(_, case)| case.status(now) == status).count();
    FigureTile {
        title: "Cases",
        figure: count(CaseStatus::Registered).to_string(),
        explanation: format!("wait for an approval; {} in force", count(CaseStatus::InForce)),
        link: Some("/console/cases"),
    }
}

fn figure_tiles(shared: &SharedState, actor: &Actor) -> [FigureTile; 4] {
    let metrics = &shared.metrics;
    let LedgerFigures { position, gateways, .. } = shared.ledger.figures();
    let uncovered = shared.log.uncovered_for().as_secs();
    let overdue = metrics.notices_overdue.get();
    [
        FigureTile {
            title: "Exchanges",
            figure: total(&metrics.requests).to_string(),
            explanation: "since this gateway started".to_owned(),
            link: Some("#exchanges-heading"),
        },
        FigureTile {
            title: "Disclosure log",
            figure: shared.log.records_written().to_string(),
            explanation: match uncovered {
                0 => "records since the start; a checkpoint covers all".to_owned(),
                seconds => format!("records since the start; the last checkpoint is {seconds} s behind"),
            },
            link: may_see(actor, "/console/decisions").then_some("/console/decisions"),
        },
        FigureTile {
            title: "Ledger",
            figure: shared.ledger.subject_count().to_string(),
            explanation: match gateways {
                1 => format!("people known, at event {}, on this gateway alone", position.0),
                gateways => format!("people known, at event {}, on {gateways} gateways", position.0),
            },
            link: None,
        },
        FigureTile {
            title: "Notices",
            figure: metrics.notices_open.get().to_string(),
            explanation: match overdue {
                0 => "to recipients, not delivered yet".to_owned(),
                overdue => format!("to recipients, not delivered yet; {overdue} overdue"),
            },
            link: may_see(actor, "/console/notices").then_some("/console/notices"),
        },
    ]
}

/// Draws the charts.
fn charts(figures: &FigurePeriods) -> Vec<BarChart> {
    let FigurePeriods { length, periods } = figures;
    let exchanges: Vec<_> = periods.iter().map(|period| (period.at, period.exchanges)).collect();
    let records: Vec<_> = periods.iter().map(|period| (period.at, period.records)).collect();
    vec![
        BarChart::new(
            ("exchanges", "Exchanges"),
            [("released", "released"), ("refused", "refused"), ("aborted", "ended early")],
            &exchanges,
            *length,
        ),
        BarChart::new(
            ("records", "Records"),
            [("released", "released"), ("withheld", "withheld as a whole")],
            &records,
            *length,
        ),
    ]
}

/// Returns the most frequent refusals since the start.
fn refusal_lines(shared: &SharedState) -> Vec<RefusalLine> {
    let counted = counted_by(&shared.metrics.refusals, ["code", "recipient"]);
    let mut lines: Vec<RefusalLine> = counted
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|([code, recipient], count)| RefusalLine { next_step: next_step(&code), code, recipient, count })
        .collect();
    lines.sort_by_key(|line| Reverse(line.count));
    lines.truncate(MAX_REFUSALS);
    lines
}

/// Returns the routes with fields that nothing classifies, and the number of such fields since the start.
fn unclassified(shared: &SharedState) -> Vec<(String, u64)> {
    let counted = counted_by(&shared.metrics.unclassified_fields, ["route"]);
    counted.into_iter().filter(|(_, count)| *count > 0).map(|([route], count)| (route, count)).collect()
}

/// Returns the routes that are observed now, and what enforcing would have withheld since the start.
fn observed(shared: &SharedState, now: Timestamp) -> Vec<ObservedRoute> {
    let counted = counted_by(&shared.metrics.would_withhold, ["route", "category"]);
    let count = |route: &str, is_whole: bool| {
        let own = counted
            .iter()
            .filter(|([of, category], _)| of == route && (category == WHOLE_EXCHANGE) == is_whole);
        own.map(|(_, count)| count).sum()
    };
    let snapshot = shared.snapshot();
    let routes = snapshot.routes.iter().filter(|route| route.observes(now));
    let observed = routes.map(|route| ObservedRoute {
        name: route.name.to_string(),
        until: route.observe_until.map(|until| until.to_string()).unwrap_or_default(),
        would_withhold: count(&route.name, false),
        would_refuse: count(&route.name, true),
    });
    observed.collect()
}
