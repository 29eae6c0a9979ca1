//! Cross-origin requests of web pages (the CORS protocol of the Fetch standard), answered from the route's configuration.
//!
//! A route that lists origins lets their pages send requests and read responses and refusals. This gives no access to
//! data: each request still needs its credential and purpose. Invariants: the upstream never receives a preflight, and
//! its own CORS headers never leave; no response allows any origin (`*`) or the browser's own credentials.

use std::num::NonZeroU32;

use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method};

use crate::exchange::position::LEDGER_POSITION;
use crate::exchange::request_head;

/// Maximum number of preflights per second, of all callers together.
pub const MAX_PREFLIGHTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_999);

/// Response headers of the gateway that a page can read, beside those that every page can read.
static EXPOSED: [HeaderName; 3] = [
    HeaderName::from_static("data-purpose-applied"),
    HeaderName::from_static("data-purpose-controller"),
    RETRY_AFTER,
];

/// The origins that a route lists, and the headers that tell a browser about the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    pub(super) methods: HeaderValue,
    pub(super) headers: HeaderValue,
    pub(super) exposed: HeaderValue,
}

impl Cors {
    /// The rules of a route with these methods and headers for pages of these origins.
    pub fn new(
        origins: Vec<HeaderValue>,
        methods: &[Method],
        request_headers: &[HeaderName],
        answer_headers: &[HeaderName],
        purpose_header: &HeaderName,
    ) -> Cors {
        let mut served: Vec<&str> = methods.iter().map(Method::as_str).collect();
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            served.push(Method::HEAD.as_str());
        }
        let own = [
            purpose_header.clone(),
            AUTHORIZATION,
            HeaderName::from_static("x-api-key"),
            CONTENT_TYPE,
            LEDGER_POSITION,
        ];
        let sent = own.iter().chain(request_head::ALWAYS_FORWARDED.iter()).chain(request_headers);
        let read = EXPOSED.iter().chain(answer_headers).filter(|name| !is_about_origins(name));
        Cors {
            origins,
            methods: listed(served.into_iter()),
            headers: listed(sent.map(HeaderName::as_str)),
            exposed: listed(read.map(HeaderName::as_str)),
        }
    }

    /// True if the origin is listed. Origins are compared byte by byte, as browsers write them.
    pub fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin)
    }
}

/// Joins the words of a list field, each once.
fn listed<'w>(words: impl Iterator<Item = &'w str>) -> HeaderValue {
    let mut once: Vec<&str> = Vec::new();
    words.for_each(|word| {
        if !once.contains(&word) {
            once.push(word);
        }
    });
    // Methods and names of headers are tokens, so the value is always valid.
    HeaderValue::try_from(once.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// True for a response field that tells which origins may read the response.
pub fn is_about_origins(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}
