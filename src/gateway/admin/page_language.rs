//! The language of a page that somebody receives.

use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::AdminProblem;
use crate::texts::{PageLanguage, PageTexts};

/// Returns the language that a query names, or else the one that `Accept-Language` asks for.
///
/// # Errors
/// A problem if there is no such language.
pub(in crate::gateway) fn page_language(
    texts: &Arc<PageTexts>,
    named: Option<&str>,
    headers: &HeaderMap,
) -> Result<PageLanguage, AdminProblem> {
    if named.is_some() {
        return texts
            .named(named)
            .ok_or_else(|| AdminProblem::malformed("there are no pages in this language"));
    }
    let values = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    Ok(texts.for_header(&values.collect::<Vec<_>>().join(",")))
}

/// Returns the headers that state the language of a page.
pub(in crate::gateway) fn language_headers(language: &PageLanguage) -> [(HeaderName, HeaderValue); 2] {
    let tag = HeaderValue::from_str(language.tag()).unwrap_or(HeaderValue::from_static("en"));
    [(CONTENT_LANGUAGE, tag), (VARY, HeaderValue::from_static("accept-language"))]
}
