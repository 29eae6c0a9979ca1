//! The page of a request that the console does not serve.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Console;
use super::chrome::{Chrome, html};
use super::filters;
use super::visitor::Visitor;
use crate::gateway::admin::problem::AdminProblem;

/// A request that the console does not serve. [`Console::with_problem_page`] makes the page.
#[derive(Clone, Debug)]
pub(super) struct PageProblem(pub(super) AdminProblem);

impl From<AdminProblem> for PageProblem {
    fn from(problem: AdminProblem) -> PageProblem {
        PageProblem(problem)
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let mut response = self.0.clone().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    chrome: Chrome,
    code: &'a str,
    detail: &'a str,
    next: &'a str,
}

/// Answers an unknown path.
pub(super) async fn not_found() -> PageProblem {
    PageProblem(AdminProblem::not_found())
}

impl Console {
    /// Replaces the body of a problem by a page. Status and headers stay, but for the demand of a bearer token: browsers
    /// would show it as an error of their own.
    pub(super) fn with_problem_page(&self, mut response: Response, visitor: &Visitor) -> Response {
        let Some(PageProblem(problem)) = response.extensions_mut().remove() else { return response };
        let page = ProblemPage {
            chrome: self.chrome(visitor, "Not possible", ""),
            code: problem.code(),
            detail: problem.detail(),
            next: next(problem.code()),
        };
        let mut page = html(&page);
        *page.status_mut() = problem.status();
        for name in [http::header::ALLOW, http::header::RETRY_AFTER] {
            page.headers_mut().extend(response.headers().get(&name).map(|value| (name, value.clone())));
        }
        page
    }
}

/// A problem with what somebody entered in a form: the form is shown again, with the problem above it.
#[derive(Debug)]
pub(super) struct FormProblem {
    pub(super) status: StatusCode,
    /// The problem in words for somebody with a form. It repeats no value that was entered.
    pub(super) words: String,
}

impl FormProblem {
    /// Returns the problem of a form.
    ///
    /// # Errors
    /// The problem, if it is another one: what was entered may be right.
    pub(super) fn of(problem: AdminProblem) -> Result<FormProblem, AdminProblem> {
        let words = match problem.code() {
            "reason-missing" => "Give a reason. It is recorded.".to_owned(),
            "event-malformed" | "event-conflict" | "request-malformed" => problem.detail().to_owned(),
            "idempotency-key-reused" => "This form was recorded before, with other entries.".to_owned(),
            _ => return Err(problem),
        };
        Ok(FormProblem { status: problem.status(), words })
    }

    /// True if the problem names this field.
    pub(super) fn names(&self, field: &str) -> bool {
        self.words.contains(&format!("`{field}`"))
    }
}

/// Returns the next step of the person who reads the page.
fn next(code: &str) -> &'static str {
    match code {
        "audit-unavailable" => {
            "What is shown here must be on record first. See if the log's disk is full, and try again."
        }
        "credential-invalid" => {
            "Sign out, or open the console in a browser that does not present this client certificate."
        }
        "ledger-unavailable" | "ledger-stale" => {
            "The overview shows the state of the ledger. Try again when it is current."
        }
        "not-found" => "It may have been renamed, or its record pruned. Start from the overview.",
        "reason-missing" => "Go back, and give a reason. It is recorded.",
        "request-foreign" => {
            "Open the page from the navigation of the console, or type its address. Send its form from there."
        }
        "role-missing" => {
            "Ask who keeps the configuration: `[admin]` lists the roles of each token and certificate."
        }
        "too-many-requests" => "Wait for a minute.",
        _ => "Go back, and change what the message says.",
    }
}
