//! The request as it goes to an upstream: its address, its configured fields, and its body.
//!
//! Invariants: fields that the configuration sets have no other value; a copy of a request has no body.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::layer::request_body::{RequestBody, RequestBodyError};

/// The body of a request to an upstream.
#[derive(Debug)]
pub(super) struct OutgoingBody {
    body: RequestBody<Incoming>,
    /// Dropped with the body. Over HTTP/2 a body can still be under way when its response has ended.
    under_way: Option<Arc<()>>,
}

impl OutgoingBody {
    pub(super) fn new(body: RequestBody<Incoming>) -> OutgoingBody {
        OutgoingBody { body, under_way: None }
    }

    pub(super) fn none() -> OutgoingBody {
        OutgoingBody::new(RequestBody::none())
    }

    /// Returns a reference that is alive while this body is; `None` if there is no body.
    pub(super) fn watch(&mut self) -> Option<Weak<()>> {
        (!self.is_end_stream()).then(|| Arc::downgrade(self.under_way.insert(Arc::default())))
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Adds the upstream's path prefix and its configured fields. The bytes of path and query are unchanged.
pub(super) fn prepare(
    request: Request<RequestBody<Incoming>>,
    prefix: &str,
    headers: &[(HeaderName, HeaderValue)],
) -> Option<Request<OutgoingBody>> {
    headers.iter().for_each(|(_, value)| request.body().comes_with(value));
    let mut request = request.map(OutgoingBody::new);
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if !prefix.is_empty() || request.uri().authority().is_some() {
        *request.uri_mut() = Uri::try_from(format!("{prefix}{target}")).ok()?;
    }
    for (name, value) in headers {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    Some(request)
}

/// Addresses a request for an HTTP/1.1 connection.
pub(super) fn for_http1(request: &mut Request<OutgoingBody>, host: &HeaderValue, reuse: bool) {
    if request.uri().authority().is_some() {
        // It was addressed for HTTP/2 before.
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().insert(HOST, host.clone());
    if !reuse {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Addresses a request for an HTTP/2 connection, which has no fields about the connection (RFC 9113, 8.2.2).
pub(super) fn for_http2(request: &mut Request<OutgoingBody>, authority: &Authority) -> Option<()> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(authority.clone());
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(CONNECTION);
    Some(())
}

/// A copy of a request without a body, in case that it has to be sent again.
#[derive(Debug)]
pub(super) struct RequestCopy {
    request: Request<OutgoingBody>,
}

impl RequestCopy {
    /// Copies a request that has no body.
    pub(super) fn of(request: &Request<OutgoingBody>) -> Option<RequestCopy> {
        request.body().is_end_stream().then(|| {
            let mut copy = Request::new(OutgoingBody::none());
            *copy.method_mut() = request.method().clone();
            *copy.uri_mut() = request.uri().clone();
            *copy.version_mut() = request.version();
            *copy.headers_mut() = request.headers().clone();
            RequestCopy { request: copy }
        })
    }

    /// Copies a GET or HEAD without a body: processed twice, it has the effect of one.
    pub(super) fn of_safe(request: &Request<OutgoingBody>) -> Option<RequestCopy> {
        is_safe(request).then(|| RequestCopy::of(request)).flatten()
    }

    /// True for a GET or HEAD.
    pub(super) fn is_safe(&self) -> bool {
        is_safe(&self.request)
    }

    pub(super) fn into_request(self) -> Request<OutgoingBody> {
        self.request
    }
}

fn is_safe(request: &Request<OutgoingBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> Request<RequestBody<Incoming>> {
        let request = Request::builder().uri(uri).header("x-key", "recipient's").header("x-key", "second");
        request.body(RequestBody::none()).unwrap()
    }

    #[test]
    fn a_request_is_addressed_for_either_version_from_either() {
        let host = HeaderValue::from_static("crm:8443");
        let authority: Authority = "crm:8443".parse().unwrap();
        let mut request = prepare(request("https://gateway/a%20b?c=d"), "/api", &[]).unwrap();
        for _ in 0..2 {
            for_http1(&mut request, &host, true);
            assert_eq!(request.uri(), "/api/a%20b?c=d");
            assert_eq!(request.headers().get(HOST), Some(&host));
            assert!(!request.headers().contains_key(CONNECTION));
            for_http2(&mut request, &authority).unwrap();
            assert_eq!(request.uri(), "https://crm:8443/api/a%20b?c=d");
            assert!(!request.headers().contains_key(HOST));
        }
        for_http1(&mut request, &host, false);
        assert_eq!(request.headers()[CONNECTION], "close");
    }

    #[test]
    fn configured_fields_replace_those_of_the_recipient() {
        let name = HeaderName::from_static("x-key");
        let prepared =
            prepare(request("/a"), "", &[(name.clone(), HeaderValue::from_static("own"))]).unwrap();
        let values: Vec<_> = prepared.headers().get_all(name).iter().collect();
        assert_eq!(
            (values.as_slice(), prepared.uri().path()),
            (&[&HeaderValue::from_static("own")][..], "/a")
        );
    }

    #[test]
    fn a_copy_is_made_only_of_requests_without_a_body() {
        for (method, is_safe) in [("GET", true), ("HEAD", true), ("DELETE", false), ("POST", false)] {
            let mut request = request("/a").map(OutgoingBody::new);
            *request.method_mut() = method.parse().unwrap();
            assert_eq!(RequestCopy::of(&request).unwrap().is_safe(), is_safe, "{method}");
            assert_eq!(RequestCopy::of_safe(&request).is_some(), is_safe, "{method}");
        }
    }
}
