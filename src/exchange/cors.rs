//! Cross-origin requests of web pages (the CORS protocol of the Fetch standard), answered from the route's configuration.
//!
//! A route that lists origins lets their pages send requests and read responses and refusals. This grants no data: each
//! request still needs its credential and purpose. Invariants: the upstream is never asked about origins, and its own
//! CORS headers never leave; no response allows any origin (`*`) or the browser's own credentials.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION,
    CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::exchange::request_head;
use crate::exchange::route::{Route, Routes};

/// Maximum number of preflights per second, of all callers together.
pub const MAX_PREFLIGHTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_999);

/// Seconds for which a browser may cache the response to a preflight. No browser caches longer than two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Response headers of the gateway that a page can read, beside those that every page can.
static EXPOSED: [HeaderName; 3] = [
    HeaderName::from_static("data-purpose-applied"),
    HeaderName::from_static("data-purpose-controller"),
    RETRY_AFTER,
];

/// The origins that a route lists, and the headers that tell a browser about the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    methods: HeaderValue,
    headers: HeaderValue,
    exposed: HeaderValue,
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
        let own = [purpose_header.clone(), AUTHORIZATION, HeaderName::from_static("x-api-key"), CONTENT_TYPE];
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

/// True for a preflight: a browser asks whether a page may send another request.
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && asked_method(parts).is_some() && origin(parts).is_some()
}

fn asked_method(parts: &Parts) -> Option<Method> {
    Method::from_bytes(only(&parts.headers, &ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

fn origin(parts: &Parts) -> Option<&HeaderValue> {
    only(&parts.headers, &ORIGIN)
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// A request to a route that lists origins.
#[derive(Clone, Debug)]
pub(crate) struct CrossOrigin {
    route: Arc<Route>,
    /// The origin, where the route lists it.
    origin: Option<HeaderValue>,
}

impl CrossOrigin {
    /// Finds the route; `None` where it lists no origins.
    pub(crate) fn of(routes: &Routes, parts: &Parts) -> Option<CrossOrigin> {
        let asked = if is_preflight(parts) { asked_method(parts) } else { None };
        let origin = origin(parts);
        let route =
            routes.cross_origin_route(parts.uri.path(), asked.as_ref().unwrap_or(&parts.method), origin)?;
        let cors = route.cors.as_ref()?;
        let origin = origin.filter(|origin| cors.lists(origin)).cloned();
        Some(CrossOrigin { route: Arc::clone(route), origin })
    }

    pub(crate) fn route(&self) -> &str {
        &self.route.name
    }

    /// Returns the headers that permit a preflight; `None` for an origin that is not listed.
    pub(crate) fn permission(&self) -> Option<HeaderMap> {
        let (cors, origin) = self.route.cors.as_ref().zip(self.origin.as_ref())?;
        Some(HeaderMap::from_iter([
            (VARY, HeaderValue::from_static("Origin")),
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone()),
            (ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.clone()),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ]))
    }

    /// Writes on a response or a refusal which origin may read it, in place of the upstream's own CORS headers.
    pub(crate) fn mark(&self, head: &mut HeaderMap) {
        let of_upstream: Vec<HeaderName> =
            head.keys().filter(|name| is_about_origins(name)).cloned().collect();
        for name in of_upstream {
            head.remove(name);
        }
        head.append(VARY, HeaderValue::from_static("Origin"));
        if let (Some(origin), Some(cors)) = (&self.origin, &self.route.cors) {
            head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            head.insert(ACCESS_CONTROL_EXPOSE_HEADERS, cors.exposed.clone());
        }
    }
}
