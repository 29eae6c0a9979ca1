//! The frame of every page: title, navigation, the state of the gateway, and who looks.

use std::borrow::Cow;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use super::Console;
use super::form_token::FormOwner;
use super::page_rule::{may, may_see};
use super::visitor::Visitor;
use crate::gateway::admin::authentication::Actor;
use crate::ledger::Freshness;

/// The pages of the navigation: heading, and for each page its path and its name.
const NAVIGATION: [(&str, &[(&str, &str)]); 3] = [
    ("Now", &[("/", "Overview"), ("/console/decisions", "Decisions"), ("/console/routes", "Routes")]),
    (
        "Policy",
        &[("/console/matrix", "Matrix"), ("/console/try", "Try a decision"), ("/console/packs", "Packs")],
    ),
    (
        "People and recipients",
        &[
            ("/console/subjects", "Subjects"),
            ("/console/requests", "Requests"),
            ("/console/notices", "Notices"),
            ("/console/cases", "Cases"),
            ("/console/recipients", "Recipients"),
        ],
    ),
];

/// The frame of a page.
#[derive(Debug)]
pub(super) struct Chrome {
    /// The title. It can have a name of the configuration, and nothing about a person.
    pub(super) title: Cow<'static, str>,
    pub(super) groups: Vec<NavigationGroup>,
    /// The name under which acts are recorded, if somebody has signed in.
    pub(super) name: Option<String>,
    /// True if there are no credentials: everybody who reaches the listener may do everything.
    pub(super) is_open: bool,
    /// True if there is a session that can be ended.
    pub(super) has_session: bool,
    pub(super) chips: Vec<StateChip>,
    pub(super) form_token: String,
}

/// Pages under one heading.
#[derive(Debug)]
pub(super) struct NavigationGroup {
    pub(super) heading: &'static str,
    pub(super) entries: Vec<NavigationEntry>,
}

/// A page in the navigation.
#[derive(Debug)]
pub(super) struct NavigationEntry {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) is_current: bool,
}

/// A state in a few words, with a shape of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateChip {
    /// The class of the shape: empty (a disc), `warn` (a square) or `bad` (a triangle).
    pub(super) class: &'static str,
    pub(super) text: String,
}

impl StateChip {
    pub(super) fn good(text: impl Into<String>) -> StateChip {
        StateChip { class: "", text: text.into() }
    }

    pub(super) fn warn(text: impl Into<String>) -> StateChip {
        StateChip { class: "warn", text: text.into() }
    }

    pub(super) fn bad(text: impl Into<String>) -> StateChip {
        StateChip { class: "bad", text: text.into() }
    }

    /// Says under which name somebody acted, and if it is verified; `None`: nobody was signed in.
    pub(super) fn actor(actor: Option<(&str, bool)>) -> StateChip {
        match actor {
            Some((name, true)) => StateChip::good(name),
            Some((name, false)) => StateChip::warn(format!("{name}, unverified")),
            None => StateChip::warn("nobody signed in"),
        }
    }
}

impl Console {
    /// Returns the frame of a page. `path` is that of its entry in the navigation.
    pub(super) fn chrome(
        &self,
        visitor: &Visitor,
        title: impl Into<Cow<'static, str>>,
        path: &str,
    ) -> Chrome {
        let actor = visitor.actor.as_ref();
        Chrome {
            title: title.into(),
            groups: actor.map_or_else(Vec::new, |actor| navigation(actor, path)),
            name: actor.and_then(Actor::name).map(ToString::to_string),
            is_open: !self.admin.needs_credentials(),
            has_session: matches!(visitor.owner, FormOwner::Session(_)),
            chips: actor.map_or_else(Vec::new, |actor| self.state_chips(may(actor, "GET", "/v1/routes"))),
            form_token: self.memory.form_tokens.token(&visitor.owner),
        }
    }

    /// Returns the state of ledger and log, as `/readyz` tells it to everybody, and the number of observed routes to those who
    /// may see the routes.
    fn state_chips(&self, shows_routes: bool) -> Vec<StateChip> {
        let shared = &self.admin.shared;
        let ledger = match shared.ledger.freshness() {
            Freshness::Current => StateChip::good("ledger current"),
            Freshness::Stale { age } => StateChip::bad(format!("ledger stale, {} s old", age.as_secs())),
            Freshness::Unknown => StateChip::bad("ledger unknown"),
        };
        let log = match shared.log.healthy() {
            true => StateChip::good("log written"),
            false => StateChip::bad("log not written"),
        };
        let now = jiff::Timestamp::now();
        let snapshot = shared.snapshot();
        let observed = snapshot.routes.iter().filter(|route| shows_routes && route.observes(now)).count();
        let observed = match observed {
            0 => None,
            1 => Some(StateChip::warn("1 route observed")),
            several => Some(StateChip::warn(format!("{several} routes observed"))),
        };
        [ledger, log].into_iter().chain(observed).collect()
    }
}

fn navigation(actor: &Actor, current: &str) -> Vec<NavigationGroup> {
    let groups = NAVIGATION.iter().map(|(heading, pages)| {
        let seen = pages.iter().filter(|(path, _)| may_see(actor, path));
        let entries = seen.map(|(path, name)| NavigationEntry { path, name, is_current: *path == current });
        NavigationGroup { heading, entries: entries.collect() }
    });
    groups.filter(|group| !group.entries.is_empty()).collect()
}

/// Renders a page.
pub(super) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the console cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be rendered\n").into_response()
        }
    }
}
