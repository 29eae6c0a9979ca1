//! The page that tells a partner how to receive data.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_SECURITY_POLICY;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminApi;
use super::answer_headers::SELF_CONTAINED;
use super::openapi::PositionHeader;
use super::openapi::problems::RouteProblems;
use super::page_language::{language_headers, page_language};
use super::problem::{AdminCode, AdminProblem};
use super::request::{PathText, QueryOf, RecipientPath};
use crate::exchange::pages::recipient_page::{self, PartnerPage};

/// The query of a recipient's page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipientPageQuery {
    /// The one purpose that the page is about; all purposes of the recipient without it.
    #[param(min_length = 1, nullable = false)]
    purpose: Option<String>,
    /// The language of the page, instead of the one that `Accept-Language` asks for.
    #[param(min_length = 1, max_length = 35, nullable = false)]
    language: Option<String>,
}

/// Returns the page that tells a recipient how to receive data: no secret, and nothing about another recipient.
#[utoipa::path(
    get, path = "/v1/recipients/{name}/page", operation_id = "getRecipientPage", tag = "configuration",
    params(RecipientPath, RecipientPageQuery, PositionHeader),
    responses((status = 200, description = "The page.", content((String = "text/html"))), RouteProblems)
)]
pub(super) async fn recipient_page(
    State(admin): State<AdminApi>,
    PathText(name): PathText,
    QueryOf(query): QueryOf<RecipientPageQuery>,
    headers: HeaderMap,
) -> Result<Response, AdminProblem> {
    let snapshot = admin.shared.snapshot();
    let found = snapshot.recipients.iter().enumerate().find(|(_, recipient)| *recipient.name == *name);
    let (position, recipient) = found.ok_or_else(AdminProblem::not_found)?;
    let language = page_language(&snapshot.texts, query.language.as_deref(), &headers)?;
    let words = snapshot.words();
    let purpose = query.purpose.map(|name| {
        let purpose = words.declared_purpose(&name).ok();
        let purpose = purpose.filter(|purpose| recipient.in_agreement.is_registered_for(&words, *purpose));
        purpose.ok_or_else(|| {
            AdminProblem::new(AdminCode::NotFound, "the recipient is not registered for this purpose")
        })
    });
    let purpose = purpose.transpose()?;
    let page = {
        let (snapshot, language) = (Arc::clone(&snapshot), language.clone());
        // The policy is evaluated for every field of every route.
        tokio::task::spawn_blocking(move || {
            let now = Timestamp::now();
            recipient_page::html(&PartnerPage {
                snapshot: &snapshot,
                position,
                purpose,
                language: &language,
                now,
            })
        })
    };
    let page = page.await.ok().flatten().ok_or_else(AdminProblem::not_found)?;
    let headers = (language_headers(&language), [(CONTENT_SECURITY_POLICY, SELF_CONTAINED)]);
    Ok((headers.0, headers.1, Html(page)).into_response())
}
