//! The start and the end of a session.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use http::header::{RETRY_AFTER, SET_COOKIE};
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, html};
use super::form_token::FormOwner;
use super::problem_page::PageProblem;
use super::return_page::{SIGN_IN, returns_to};
use super::screen::FormOf;
use super::session;
use super::visitor::Visitor;
use crate::gateway::admin::authentication::AdminPeer;
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::QueryOf;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    chrome: Chrome,
    /// Why there is no session: the last one has ended, or the last attempt failed.
    problem: Option<&'static str>,
    /// True if the last attempt failed.
    is_refused: bool,
    /// The page that is shown afterwards.
    page: &'a str,
}

/// The form to sign in.
#[derive(Deserialize)]
pub(super) struct SignInForm {
    token: String,
    #[serde(default)]
    page: String,
}

/// The page that somebody asked for without a session.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SignInQuery {
    page: String,
}

/// Shows the form to sign in. Somebody who needs no form is led to the page.
pub(super) async fn form(
    State(console): State<Console>,
    Extension(peer): Extension<AdminPeer>,
    visitor: Visitor,
    headers: HeaderMap,
    QueryOf(SignInQuery { page }): QueryOf<SignInQuery>,
) -> Response {
    let page = returns_to(&page);
    if visitor.actor.is_some() {
        return Redirect::to(page).into_response();
    }
    let had_session = session::id_of(&headers, peer.is_encrypted).is_some();
    html(&SignInPage {
        chrome: console.chrome(&visitor, "Sign in", SIGN_IN),
        problem: had_session
            .then_some("Your session has ended. If you have just sent a form, nothing of it was recorded."),
        is_refused: false,
        page,
    })
}

/// Begins a session.
pub(super) async fn sign_in(
    State(console): State<Console>,
    Extension(peer): Extension<AdminPeer>,
    visitor: Visitor,
    headers: HeaderMap,
    FormOf(SignInForm { token, page }): FormOf<SignInForm>,
) -> Result<Response, PageProblem> {
    let page = returns_to(&page);
    if !console.admin.needs_credentials() {
        return Ok(Redirect::to(page).into_response());
    }
    let signed_in = console.admin.access.load().sign_in(token.trim(), &peer);
    let (token, _) = match signed_in {
        Ok(signed_in) => signed_in,
        Err(problem) => return Ok(console.failed(&problem, &visitor, page)),
    };
    // A session that the browser had ends: its id may be known to somebody else.
    let now = console.memory.clock.now();
    let mut sessions = console.sessions();
    if let Some((key, _)) = session::id_of(&headers, peer.is_encrypted).and_then(|id| sessions.find(id, now))
    {
        sessions.end(&key);
    }
    let id = sessions.begin(token, now);
    drop(sessions);
    let id = id.map_err(|_| AdminProblem::malformed("the system has no random numbers"))?;
    Ok(([(SET_COOKIE, session::cookie(&id, peer.is_encrypted))], Redirect::to(page)).into_response())
}

/// Ends a session.
pub(super) async fn sign_out(
    State(console): State<Console>,
    Extension(peer): Extension<AdminPeer>,
    visitor: Visitor,
) -> Response {
    if let FormOwner::Session(key) = &visitor.owner {
        console.sessions().end(key);
    }
    ([(SET_COOKIE, session::cookie("", peer.is_encrypted))], Redirect::to(SIGN_IN)).into_response()
}

impl Console {
    /// Shows the form again. It tells no more than that the token opens nothing.
    fn failed(&self, problem: &AdminProblem, visitor: &Visitor, page: &str) -> Response {
        self.admin.shared.metrics.admin_refusals.with_label_values(&[problem.code()]).inc();
        let text = match problem.code() {
            "too-many-requests" => "Too many attempts. Wait for a minute.",
            _ => "No one is registered under this token.",
        };
        let chrome = self.chrome(visitor, "Error: Sign in", SIGN_IN);
        let mut response = html(&SignInPage { chrome, problem: Some(text), is_refused: true, page });
        *response.status_mut() = problem.status();
        let wait = problem.clone().into_response().headers().get(RETRY_AFTER).cloned();
        response.headers_mut().extend(wait.map(|wait| (RETRY_AFTER, wait)));
        response
    }
}
