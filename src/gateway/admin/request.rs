//! Requests to the admin API: path, query, headers and body, each with a bound.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::problem::AdminProblem;
use crate::exchange::path;
use crate::ledger;
use crate::vocabulary::SubjectId;

/// Maximum size of an event, in bytes.
const MAX_EVENT: usize = ledger::MAX_EVENT_BYTES;
/// Time for a request's body to arrive.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(30);

/// The head of an admin request, read.
pub(super) struct AdminRequest {
    pub(super) received: Instant,
    pub(super) method: Method,
    /// Path segments, percent-decoded.
    pub(super) segments: Vec<String>,
    namespace: Option<String>,
    pub(super) wait_everywhere: bool,
    /// True if the response is an HTML page rather than JSON.
    pub(super) html: bool,
    /// Number of a batch's first line.
    pub(super) from: u64,
    /// True if events of a batch can name recipients that the configuration does not have.
    pub(super) keep_unknown_recipients: bool,
}

impl AdminRequest {
    pub(super) fn read(request: &Request<Incoming>) -> Result<AdminRequest, AdminProblem> {
        if is_cross_site(request.headers()) {
            return Err(AdminProblem::new(
                StatusCode::FORBIDDEN,
                "request-foreign",
                "address this listener by IP or as `localhost`, and not from a page of another site",
            ));
        }
        let malformed = || AdminProblem::malformed("the path or the query cannot be read");
        let decoded = |text: &str| path::meaning(text).ok_or_else(malformed);
        let segments = request.uri().path().split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
        let mut head = AdminRequest {
            received: Instant::now(),
            method: request.method().clone(),
            segments,
            namespace: None,
            wait_everywhere: false,
            html: false,
            from: 1,
            keep_unknown_recipients: false,
        };
        let query = request.uri().query().unwrap_or_default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("namespace", name)) => head.namespace = Some(decoded(name)?),
                Some(("wait", "everywhere")) => head.wait_everywhere = true,
                Some(("format", "html")) => head.html = true,
                Some(("format", "json")) => head.html = false,
                Some(("keep-unknown-recipients", "true")) => head.keep_unknown_recipients = true,
                Some(("from", number)) => head.from = number.parse().map_err(|_| malformed())?,
                _ => return Err(malformed()),
            }
        }
        Ok(head)
    }

    /// Reads an id of the path in the namespace that the query names.
    pub(super) fn person(&self, id: &str, terms: &dyn ledger::TermLookup) -> Result<SubjectId, AdminProblem> {
        Ok(ledger::person(id, self.namespace.as_deref(), terms)?)
    }

    /// Reads the idempotency key and the body of a request that records an event.
    pub(super) async fn event(
        &self,
        request: Request<Incoming>,
    ) -> Result<(Option<String>, Bytes), AdminProblem> {
        self.require_post()?;
        let key = text_header(request.headers(), "idempotency-key")?;
        Ok((key, read_body(request, MAX_EVENT).await?))
    }

    pub(super) fn require_post(&self) -> Result<(), AdminProblem> {
        if self.method == Method::POST {
            return Ok(());
        }
        Err(AdminProblem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "use POST at this path"))
    }
}

/// True if a page of another site may have sent the request. Browsers name its origin; and a host name that somebody
/// points at this address (DNS rebinding) is neither an IP address nor `localhost`.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let is_own = |host: &str| {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    };
    let texts =
        |name| headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let own_origin = texts(HOST).next().map(|host| format!("http://{host}")).unwrap_or_default();
    !texts(HOST).all(is_own) || !texts(ORIGIN).all(|origin| origin.eq_ignore_ascii_case(&own_origin))
}

/// Reads a body of at most `max` bytes.
pub(super) async fn read_body(request: Request<Incoming>, max: usize) -> Result<Bytes, AdminProblem> {
    let body = Limited::new(request.into_body(), max).collect();
    match tokio::time::timeout(REQUEST_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(AdminProblem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("the body has more than {max} bytes"),
        )),
        Ok(Err(_)) => Err(AdminProblem::malformed("the body ended early")),
        Err(_) => Err(AdminProblem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "the body did not arrive in time",
        )),
    }
}

pub(super) fn text_header(headers: &HeaderMap, name: &str) -> Result<Option<String>, AdminProblem> {
    let text = headers.get(name).map(|value| value.to_str().map(str::to_owned)).transpose();
    text.map_err(|_| AdminProblem::malformed(format!("`{name}` is not ASCII")))
}
