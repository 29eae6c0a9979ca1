//! The request as it came in, and as it goes to the upstream.
//!
//! What is ambiguous is refused rather than repaired: one authority, one spelling of the path, known
//! framing. What goes on is end-to-end, without credentials, purpose, conditions and ranges.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, RANGE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::identity::CREDENTIAL_HEADERS;
use super::purpose::LOOK_ALIKES;
use super::{Refusal, Rejection, path};

/// Most header fields of a request.
pub const MAX_FIELDS: usize = 64;
/// Most bytes of header names and values together.
pub const MAX_FIELD_BYTES: usize = 16 * 1024;

/// Ends at this proxy (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Would describe or cut the body that the upstream has, not the one that leaves.
const CONDITIONS: [HeaderName; 8] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    ACCEPT_ENCODING,
    ACCEPT_RANGES,
];

/// What it says was not asked about where the purpose has another header.
const DATA_PURPOSE: HeaderName = HeaderName::from_static("data-purpose");

/// An origin that heeds one of them does something else than what was decided about.
const OVERRIDES: [HeaderName; 5] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// Checks everything about a request head that does not depend on who asks.
///
/// # Errors
/// The refusal that fits: the target's length, the header's size, the method, the expectation,
/// the framing, the authority, the path.
pub fn screen(parts: &Parts, authorities: &[String]) -> Result<(), Rejection> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > path::MAX_TARGET {
        return Err(Refusal::UriTooLong.into());
    }
    screen_fields(&parts.headers)?;
    screen_method(&parts.method)?;
    screen_expectation(&parts.headers)?;
    screen_framing(&parts.headers)?;
    screen_authority(parts, authorities)?;
    path::screen(parts.uri.path())
        .map_err(|fault| Rejection::malformed(format!("The path is not accepted: {fault}.")))
}

fn screen_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_FIELDS || bytes > MAX_FIELD_BYTES {
        return Err(Refusal::HeadersTooLarge);
    }
    // `X_Api_Key` and `X-Api-Key` are one variable to a CGI-like origin.
    if headers.keys().any(|name| name.as_str().contains('_')) {
        return Err(Refusal::RequestMalformed);
    }
    Ok(())
}

fn screen_method(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => Ok(()),
        Method::OPTIONS | Method::TRACE => Err(Refusal::MethodNotAllowed),
        _ => Err(Refusal::MethodNotImplemented),
    }
}

fn screen_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let met =
        headers.get_all(EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if met { Ok(()) } else { Err(Refusal::ExpectationFailed) }
}

/// hyper accepts `gzip, chunked`, two `Transfer-Encoding` fields and more; origins differ on them.
fn screen_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Refusal::RequestMalformed);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let plain = coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if plain && codings.next().is_none() { Ok(()) } else { Err(Refusal::RequestMalformed) }
}

/// Exactly one authority, the same in the target and in `Host`, and one of ours where ours are listed.
fn screen_authority(parts: &Parts, authorities: &[String]) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str).transpose().map_err(|_| Refusal::RequestMalformed)?;
    if hosts.next().is_some() {
        return Err(Refusal::RequestMalformed);
    }
    let target = parts.uri.authority().map(Authority::as_str);
    let authority = match (target, host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            return Err(Refusal::RequestMalformed);
        }
        (Some(_), None) if parts.version < Version::HTTP_2 => return Err(Refusal::RequestMalformed),
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(Refusal::RequestMalformed),
    };
    let parsed: Authority = authority.parse().map_err(|_| Refusal::RequestMalformed)?;
    let port = authority.strip_prefix(parsed.host()).and_then(|rest| rest.strip_prefix(':'));
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let is_http = |scheme: &Scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
    if authority.contains('@')
        || parsed.host().is_empty()
        || !port.is_none_or(is_port)
        || !parts.uri.scheme().is_none_or(is_http)
    {
        return Err(Refusal::RequestMalformed);
    }
    let ours = authorities.is_empty()
        || authorities
            .iter()
            .any(|ours| ours.eq_ignore_ascii_case(authority) || ours.eq_ignore_ascii_case(parsed.host()));
    if ours { Ok(()) } else { Err(Refusal::AuthorityNotServed) }
}

/// Whether a field ends at this proxy.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Whether a field of these ends at this proxy, also because `Connection` names it (RFC 9110, 7.6.1).
pub fn ends_here(headers: &HeaderMap) -> impl Fn(&HeaderName) -> bool {
    let nominated: Vec<&str> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    move |name| {
        is_hop_by_hop(name) || nominated.iter().any(|nominated| nominated.eq_ignore_ascii_case(name.as_str()))
    }
}

/// The header for the upstream: end-to-end fields only, and none that the gateway answers for itself.
pub fn forwarded(headers: &HeaderMap, purpose_header: &HeaderName) -> HeaderMap {
    let ends_here = ends_here(headers);
    let stays = |name: &HeaderName| {
        !(ends_here(name)
            || CONDITIONS.contains(name)
            || CREDENTIAL_HEADERS.contains(name)
            || LOOK_ALIKES.contains(name)
            || OVERRIDES.contains(name)
            || *name == DATA_PURPOSE
            || name == purpose_header
            || *name == HOST)
    };
    let mut forwarded = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers.iter().filter(|(name, _)| stays(name)) {
        forwarded.append(name, value.clone());
    }
    forwarded.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    forwarded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let host = ("host", "api.example.org");
        let malformed = Err(Refusal::RequestMalformed);
        let cases: Vec<(Parts, Result<(), Refusal>)> = vec![
            (parts("GET", "/a", &[host]), Ok(())),
            (parts("GET", "http://api.example.org/a", &[host]), Ok(())),
            (parts("GET", "http://other.example.org/a", &[host]), malformed),
            (parts("GET", "/a", &[]), malformed),
            (parts("GET", "/a", &[host, host]), malformed),
            (parts("GET", "/a", &[("host", "u@api.example.org")]), malformed),
            (parts("GET", "/a", &[("host", "api.example.org:8443")]), Ok(())),
            (parts("GET", "/a", &[("host", "api.example.org:")]), Ok(())),
            (parts("GET", "/a", &[("host", "api.example.org:abc")]), malformed),
            (parts("GET", "/a", &[("host", "api.example.org:99999")]), malformed),
            (parts("GET", "ftp://api.example.org/a", &[host]), malformed),
            (parts("GET", "/a", &[("host", "evil.example")]), Err(Refusal::AuthorityNotServed)),
            (parts("GET", "/a/../b", &[host]), malformed),
            (parts("POST", "/a", &[host, ("transfer-encoding", "gzip, chunked")]), malformed),
            (
                parts(
                    "POST",
                    "/a",
                    &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                ),
                malformed,
            ),
            (parts("POST", "/a", &[host, ("content-length", "5"), ("content-length", "5")]), malformed),
            (parts("GET", "/a", &[host, ("x_api_key", "k")]), malformed),
            (parts("GET", "/a", &[host, ("expect", "tea")]), Err(Refusal::ExpectationFailed)),
            (parts("TRACE", "/a", &[host]), Err(Refusal::MethodNotAllowed)),
            (parts("get", "/a", &[host]), Err(Refusal::MethodNotImplemented)),
            (parts("CONNECT", "api.example.org:443", &[host]), Err(Refusal::MethodNotImplemented)),
            (parts("GET", &format!("/{}", "a".repeat(9000)), &[host]), Err(Refusal::UriTooLong)),
            (parts("GET", "/a", &[host, ("x-big", &"b".repeat(17_000))]), Err(Refusal::HeadersTooLarge)),
        ];
        for (parts, expected) in cases {
            let screened = screen(&parts, &["api.example.org".into()]);
            assert_eq!(screened.map_err(|rejection| rejection.refusal), expected, "{parts:?}");
        }
    }

    #[test]
    fn only_end_to_end_fields_go_on() {
        let request = parts(
            "GET",
            "/a",
            &[
                ("host", "x"),
                ("connection", "x-hop, authorization"),
                ("x-hop", "1"),
                ("authorization", "Bearer k"),
                ("x-api-key", "k"),
                ("data-purpose", "billing"),
                ("sec-purpose", "prefetch"),
                ("if-none-match", "\"e\""),
                ("range", "bytes=0-1"),
                ("accept-encoding", "gzip"),
                ("te", "trailers"),
                ("x-http-method-override", "DELETE"),
                ("x-original-url", "/b"),
                ("accept", "application/json"),
                ("traceparent", "00-1-2-3"),
            ],
        );
        let forwarded = forwarded(&request.headers, &HeaderName::from_static("data-purpose"));
        let mut names: Vec<&str> = forwarded.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "traceparent"]);
        assert_eq!(forwarded.get(ACCEPT_ENCODING).unwrap(), "identity");
    }
}
