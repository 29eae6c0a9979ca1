//! Requests to the admin API: path, query, headers and body, each with a bound.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::problem::{AdminCode, AdminProblem};

/// Fetch Metadata: the site that had the browser send a request, how, and for which use.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// Time for a request's body to arrive.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(30);

/// The one parameter of the path, percent-decoded.
pub(in crate::gateway) struct PathText(pub(in crate::gateway) String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathText, AdminProblem> {
        let Path(text) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| AdminProblem::malformed("the path cannot be read"))?;
        Ok(PathText(text))
    }
}

/// Declares the parameters of paths for the description of the API. [`PathText`] reads them.
macro_rules! path_parameters {
    ($($name:ident: $description:literal, $parameter:ident $(, $pattern:literal)?;)+) => {$(
        #[derive(IntoParams)]
        #[into_params(parameter_in = Path)]
        #[allow(dead_code, reason = "describes a parameter that an extractor reads")]
        pub(super) struct $name {
            #[doc = $description]
            #[param(min_length = 1 $(, pattern = $pattern)?)]
            $parameter: String,
        }
    )+};
}

path_parameters! {
    PersonPath: "Id of the person.", id;
    AccountPath: "Id of the account.", id;
    RecipientPath: "Configured name of the recipient.", name;
    RoutePath: "Configured name of the route.", name;
    CasePath: "Id of the case.", id, "^[A-Za-z0-9._:/-]+$";
    DecisionPath: "Id of the decision.", id;
    NoticePath: "Id of the notice.", id;
}

/// The parameters of the query. A parameter that `T` does not have, or has once and the query twice, is refused.
pub(in crate::gateway) struct QueryOf<T>(pub(in crate::gateway) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<QueryOf<T>, AdminProblem> {
        let Query(query) = Query::try_from_uri(&parts.uri).map_err(|error| {
            // The error can repeat what the caller sent. It goes back to the caller and to no log.
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            AdminProblem::malformed(format!("the query cannot be read: {why}"))
        })?;
        Ok(QueryOf(query))
    }
}

/// The query of a resource without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct NoParameters {}

/// The query of a resource that shows what is on record about a person.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonQuery {
    /// Namespace of the id in the path.
    #[param(min_length = 1, nullable = false)]
    pub(super) namespace: Option<String>,
    /// Why the resource is used. Required where tokens or certificates are configured, and recorded.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        nullable = false
    )]
    pub(super) reason: Option<String>,
}

/// The query of a resource whose use is recorded.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonQuery {
    /// Why the resource is used; recorded. Required where tokens or certificates are configured, but for decisions,
    /// access evaluations, `/v1/cases` and `/v1/requests`.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        nullable = false
    )]
    pub(super) reason: Option<String>,
}

/// Instant at which the head of the request had arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received(pub(super) Instant);

impl<S: Send + Sync> FromRequestParts<S> for Received {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Received, AdminProblem> {
        Ok(parts.extensions.get().copied().unwrap_or_else(|| Received(Instant::now())))
    }
}

/// `Idempotency-Key`: the name of a request that can be repeated.
pub(super) struct IdempotencyKey(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IdempotencyKey, AdminProblem> {
        let mut keys = parts.headers.get_all("idempotency-key").iter();
        let key = keys.next().map(|value| value.to_str().map(str::to_owned));
        if keys.next().is_some() {
            return Err(AdminProblem::malformed("`idempotency-key` occurs twice"));
        }
        let key = key.transpose().map_err(|_| AdminProblem::malformed("`idempotency-key` is not ASCII"))?;
        Ok(IdempotencyKey(key))
    }
}

/// A body of at most `MAX` bytes, which arrives within [`REQUEST_TIME`].
pub(in crate::gateway) struct BoundedBody<const MAX: usize>(pub(in crate::gateway) Bytes);

impl<S: Send + Sync, const MAX: usize> FromRequest<S> for BoundedBody<MAX> {
    type Rejection = AdminProblem;

    async fn from_request(request: Request, _: &S) -> Result<BoundedBody<MAX>, AdminProblem> {
        let body = Limited::new(request.into_body(), MAX).collect();
        match tokio::time::timeout(REQUEST_TIME, body).await {
            Ok(Ok(body)) => Ok(BoundedBody(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(AdminProblem::new(AdminCode::BodyTooLarge, format!("the body has more than {MAX} bytes")))
            }
            Ok(Err(_)) => Err(AdminProblem::malformed("the body ended early")),
            Err(_) => Err(AdminProblem::new(AdminCode::RequestTimeout, "the body did not arrive in time")),
        }
    }
}

/// Refuses a request that a page of another site may have sent. A host name that somebody points at this address (DNS
/// rebinding) is neither an IP address, nor `localhost`, nor one of `authorities`; browsers name the origin of requests that
/// can change something; and of each request they say which site had it sent (Fetch Metadata): an image of another site is
/// enough to write an act in the name of a client certificate.
pub(in crate::gateway) fn refuse_cross_site(
    headers: &HeaderMap,
    is_encrypted: bool,
    authorities: &[String],
    navigation: Navigation,
) -> Result<(), AdminProblem> {
    let is_own = |host: &str| {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || authorities.iter().any(|own| own.eq_ignore_ascii_case(name))
    };
    let texts =
        |name| headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let scheme = scheme(is_encrypted);
    let own_origin = texts(HOST).next().map(|host| format!("{scheme}://{host}")).unwrap_or_default();
    if !texts(HOST).all(is_own) || !texts(ORIGIN).all(|origin| origin.eq_ignore_ascii_case(&own_origin)) {
        return Err(foreign());
    }
    // `none`: somebody typed the address, or opened a bookmark.
    let is_own_site = texts(FETCH_SITE).all(|site| matches!(site, "same-origin" | "none"));
    let is_followed_link = navigation == Navigation::FromAnySite
        && texts(FETCH_MODE).eq(["navigate"])
        && texts(FETCH_DEST).eq(["document"]);
    if is_own_site || is_followed_link { Ok(()) } else { Err(foreign()) }
}

/// The sites whose links may lead to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Navigation {
    /// Pages of this listener alone: the use of the resource is recorded, or it is no page.
    FromOwnPages,
    /// All: whoever follows the link sees the page, and nothing happens.
    FromAnySite,
}

fn foreign() -> AdminProblem {
    AdminProblem::new(
        AdminCode::RequestForeign,
        "address this listener by IP, as `localhost` or by one of its `authorities`, and not from a page of another site",
    )
}

/// Returns the scheme of the URLs of a listener.
pub(in crate::gateway) fn scheme(is_encrypted: bool) -> &'static str {
    if is_encrypted { "https" } else { "http" }
}
