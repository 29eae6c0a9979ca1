//! A request of a page of another origin: preflights, and the headers that let the page read the response.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::cors::is_about_origins;
use super::route::{Route, Routes};

/// Seconds for which a browser may cache the response to a preflight. No browser caches longer than two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// True for a preflight: a browser asks if a page may send another request.
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
    /// The origin, if the route lists it.
    origin: Option<HeaderValue>,
}

impl CrossOrigin {
    /// Finds the route; `None` if it lists no origins.
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

    /// Adds the header with the origin that may read a response or a refusal, in place of the upstream's own CORS
    /// headers.
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
