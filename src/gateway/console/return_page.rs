//! The page that somebody returns to after signing in.
//!
//! Invariant: it is a page of this console, and no page of a person: those end with the session that opened them.

use axum::extract::Request;
use http::Method;
use http::uri::PathAndQuery;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Path of the page to sign in.
pub(super) const SIGN_IN: &str = "/sign-in";
const OVERVIEW: &str = "/";

/// Returns the path of the form to sign in. After it the page is shown that the request asks for.
pub(super) fn path_for(request: &Request) -> String {
    let page = request.uri().path_and_query().map_or(OVERVIEW, PathAndQuery::as_str);
    match returns_to(page) {
        OVERVIEW => SIGN_IN.to_owned(),
        _ if request.method() != Method::GET => SIGN_IN.to_owned(),
        page => format!("{SIGN_IN}?page={}", utf8_percent_encode(page, NON_ALPHANUMERIC)),
    }
}

/// Returns the page that is shown after signing in: the one that was asked for, if it may be, or the overview.
pub(super) fn returns_to(page: &str) -> &str {
    let is_own = page.starts_with("/console/") && page.parse::<PathAndQuery>().is_ok();
    if is_own && !page.starts_with("/console/subjects/") { page } else { OVERVIEW }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_console_are_returned_to() {
        for page in ["/console/decisions", "/console/decisions?route=a%20b&limit=1", "/console/subjects"] {
            assert_eq!(returns_to(page), page);
        }
        for page in [
            "",
            "/",
            "/v1/routes",
            "//evil.example/console/",
            "https://evil.example/console/",
            "console/decisions",
            "/console/\r\nset-cookie: x",
            "/console/decisions\u{e9}\u{0}",
            "/console/subjects/abc",
        ] {
            assert_eq!(returns_to(page), OVERVIEW, "{page:?}");
        }
    }
}
