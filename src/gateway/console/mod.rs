//! The console: pages of the admin listener for people.
//!
//! A page reads what a resource of the admin API reads, with the same functions, for the same roles, and with the same act on
//! record ([`page_rule`]): there is no second way to anything. Everything works with forms and links.
//!
//! Invariants: each form comes from a page of this process and of this session ([`screen`]); every answer forbids scripts,
//! styles and frames from elsewhere; no id or value of a person stands in a URL or a title.

mod case;
mod case_event;
mod case_form;
mod cases;
mod chart;
mod chrome;
mod clause_words;
mod clock;
mod computations;
mod confirm;
mod counted;
mod decision;
mod decisions;
mod event_form;
mod event_table;
mod filters;
mod form_token;
mod hand_facts;
mod history;
mod icon;
mod json_text;
mod list_page;
mod list_view;
mod matrix;
mod next_step;
mod notice;
mod notices;
mod opened_people;
mod overview;
mod packs;
mod page_rule;
mod pager;
mod problem_page;
mod reason_form;
mod recipient;
mod recipient_event;
mod recipients;
mod requests;
mod return_page;
mod route;
mod routes;
mod screen;
mod session;
mod sign_in;
mod state_lines;
mod style_sheet;
mod subject;
mod subject_event;
mod table;
#[cfg(test)]
mod tests;
mod trial;
mod try_decision;
mod unclassified;
mod visitor;
mod withheld_step;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio::sync::watch;

pub(super) use self::clock::ConsoleClock;
use self::computations::{Computed, PageThreads};
use self::form_token::FormTokens;
use self::history::{FigureHistory, SAMPLE_INTERVAL};
use self::opened_people::OpenedPeople;
use self::session::Sessions;
use super::admin::{AdminApi, answer_headers};
use super::stage::{Stage, reached};
use crate::finding::Finding;
use crate::policy::diff::Difference;
use crate::policy::matrix::Matrix;

/// The console of a gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Console {
    admin: AdminApi,
    memory: Arc<ConsoleMemory>,
}

/// The state of the console: it is lost with the process.
#[derive(Debug)]
struct ConsoleMemory {
    clock: ConsoleClock,
    sessions: Mutex<Sessions>,
    form_tokens: FormTokens,
    history: Mutex<FigureHistory>,
    threads: PageThreads,
    matrices: Computed<Matrix>,
    differences: Computed<Result<Difference, Finding>>,
    opened_people: Mutex<OpenedPeople>,
}

impl Console {
    /// Makes the console of an admin API. Sessions end by the clock.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn new(admin: AdminApi, clock: ConsoleClock) -> Result<Console, getrandom::Error> {
        let memory = ConsoleMemory {
            clock,
            sessions: Mutex::default(),
            form_tokens: FormTokens::new()?,
            history: Mutex::default(),
            threads: PageThreads::default(),
            matrices: Computed::default(),
            differences: Computed::default(),
            opened_people: Mutex::default(),
        };
        Ok(Console { admin, memory: Arc::new(memory) })
    }

    /// Keeps the figures of the charts until the gateway closes.
    pub(super) async fn keep_history(self, mut stage: watch::Receiver<Stage>) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.history().take_sample(&self.admin.shared),
                () = reached(&mut stage, Stage::Closing) => return,
            }
        }
    }

    /// Returns the pages.
    pub(super) fn router(self) -> Router {
        let pages = Router::new()
            .route("/", get(overview::overview))
            .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
            .route("/sign-out", post(sign_in::sign_out))
            .route("/console/decisions", get(decisions::decisions))
            .route("/console/decisions/{id}", get(decision::decision))
            .route("/console/routes", get(routes::routes))
            .route("/console/routes/{name}", get(route::route))
            .route("/console/matrix", get(matrix::first))
            .route("/console/matrix/{pack}", get(matrix::show))
            .route("/console/packs", get(packs::packs))
            .route("/console/packs/{name}", get(packs::pack))
            .route("/console/recipients", get(recipients::recipients))
            .route("/console/recipients/{name}", get(recipient::recipient))
            .route("/console/recipients/{name}/events", post(recipient_event::record))
            .route("/console/try", get(try_decision::form).post(try_decision::decide))
            .route("/console/requests", get(requests::requests).post(requests::open))
            .route("/console/notices", get(notices::notices))
            .route("/console/notices/{id}", get(notice::notice))
            .route("/console/notices/{id}/person", post(notice::show_person))
            .route("/console/notices/{id}/delivered", post(notice::delivered))
            .route("/console/cases", get(cases::cases))
            .route("/console/new-case", get(case_form::form).post(case_form::register))
            .route("/console/cases/{id}", get(case::case))
            .route("/console/cases/{id}/people", post(case::show_people))
            .route("/console/cases/{id}/approve", post(case_event::approve))
            .route("/console/cases/{id}/end", post(case_event::end))
            .route("/console/subjects", get(subject::form).post(subject::open))
            .route("/console/subjects/{handle}", get(subject::show))
            .route("/console/subjects/{handle}/report", get(subject::report))
            .route("/console/subjects/{handle}/events", post(subject_event::record))
            .route("/console/subjects/{handle}/requests", post(subject_event::record_request))
            .route("/console/subjects/{handle}/answers", post(subject_event::record_answer))
            .route("/console/{*path}", get(problem_page::not_found));
        pages
            .layer(middleware::from_fn_with_state(self.clone(), screen::screen))
            .route("/console.css", get(style_sheet::style_sheet))
            .route("/console.svg", get(icon::icon))
            .layer(middleware::map_response(answer_headers::add))
            .with_state(self)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.memory.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened_people(&self) -> MutexGuard<'_, OpenedPeople> {
        self.memory.opened_people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history(&self) -> MutexGuard<'_, FigureHistory> {
        self.memory.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
