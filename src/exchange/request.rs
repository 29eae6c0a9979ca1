//! The request as it came in, and as it goes to the upstream.
//!
//! What is ambiguous is refused rather than repaired: one authority, one spelling of the path, known
//! framing, no body where none has a meaning. What goes on is an allow-list, and what the gateway itself says of the
//! other end.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, EXPECT, FORWARDED, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT, VIA,
};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::{Peer, Refusal, Rejection, path};
use crate::exchange::caller::CREDENTIAL_HEADERS;
use crate::exchange::purpose::PREFETCH_HEADERS;

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

/// An origin that heeds one of them does something else than what was decided about.
static OVERRIDES: [HeaderName; 10] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-host"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// An origin that trusts its proxy believes them, so only a proxy may write them: addresses, names and certificates of
/// the other end.
static OF_A_PROXY: [HeaderName; 12] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-cluster-client-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("remote-user"),
    HeaderName::from_static("x-remote-user"),
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
    HeaderName::from_static("x-client-cert"),
    HeaderName::from_static("ssl-client-cert"),
];

/// Beginnings of such names.
const PREFIXES_OF_A_PROXY: [&str; 2] = ["x-forwarded-", "x-ssl-client-"];

/// Fields of a request that go on to every upstream. Whatever else a recipient sends stays here, unless the route lists it:
/// nobody knows what an origin makes of it.
pub static ALWAYS_FORWARDED: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CONTENT_TYPE,
    USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("x-request-id"),
];

/// Checks everything about a request head that does not depend on who asks.
///
/// # Errors
/// The refusal that fits: the method, and all of [`screen_message`].
pub fn screen(parts: &Parts, authorities: &[String]) -> Result<(), Rejection> {
    screen_method(&parts.method)?;
    screen_message(parts, authorities)
}

/// Checks everything but the method.
///
/// # Errors
/// The refusal that fits: the target's length, the header's size, the expectation, the framing, the authority, the path.
pub fn screen_message(parts: &Parts, authorities: &[String]) -> Result<(), Rejection> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > path::MAX_TARGET {
        return Err(Refusal::UriTooLong.into());
    }
    screen_fields(&parts.headers)?;
    screen_expectation(&parts.headers)?;
    screen_framing(&parts.headers)?;
    screen_authority(parts, authorities)?;
    path::screen(parts.uri.path())
        .map_err(|fault| Rejection::malformed(format!("The path is not accepted: {fault}.")))
}

fn screen_fields(headers: &HeaderMap) -> Result<(), Rejection> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_FIELDS || bytes > MAX_FIELD_BYTES {
        return Err(Refusal::HeadersTooLarge.into());
    }
    // `X_Api_Key` and `X-Api-Key` are one variable to a CGI-like origin.
    if headers.keys().any(|name| name.as_str().contains('_')) {
        return Err(Rejection::malformed("The name of a header field has no `_`: write `-`."));
    }
    // HTTP/1.1 strips them; HTTP/2 calls the message malformed (RFC 9113, 8.2.1) and its library does not.
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let has_blanks = |value: &HeaderValue| {
        let value = value.as_bytes();
        is_blank(value.first()) || is_blank(value.last())
    };
    if headers.values().any(has_blanks) {
        return Err(Rejection::malformed(
            "The value of a header field neither begins nor ends with a space or a tab.",
        ));
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

/// Checks that a request whose method gives its content no meaning (RFC 9110, 9.3.1) has none: one origin reads a query in
/// it, which nobody has screened, and another takes it for the next request.
///
/// # Errors
/// [`Refusal::RequestMalformed`] for a body of GET, HEAD or OPTIONS.
pub fn screen_body(method: &Method, has_body: bool) -> Result<(), Rejection> {
    let is_for_none = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_for_none && has_body {
        return Err(Rejection::malformed("A GET, HEAD or OPTIONS request has no body here."));
    }
    Ok(())
}

/// Checks the body of a request against its route.
///
/// # Errors
/// [`Refusal::RequestMalformed`] for a body of a DELETE that the route does not expect, and for one in a content coding
/// that the route does not hand on.
pub fn screen_content(
    parts: &Parts,
    has_body: bool,
    delete_body: bool,
    listed: &[HeaderName],
) -> Result<(), Rejection> {
    if !has_body {
        return Ok(());
    }
    if parts.method == Method::DELETE && !delete_body {
        return Err(Rejection::malformed("A DELETE request has no body on this route."));
    }
    if parts.headers.contains_key(CONTENT_ENCODING) && !listed.contains(&CONTENT_ENCODING) {
        return Err(Rejection::malformed("This route takes no `Content-Encoding`: send the body as it is."));
    }
    Ok(())
}

/// True if the recipient can read a trailer (RFC 9110, 6.5.1).
pub(crate) fn reads_trailers(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let mut codings = fields.flat_map(|value| value.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
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

/// The authority that a request names, in its target or in its `Host`.
fn authority(parts: &Parts) -> Option<&str> {
    let host = || parts.headers.get(HOST)?.to_str().ok();
    parts.uri.authority().map(Authority::as_str).or_else(host)
}

/// Exactly one authority, the same in the target and in `Host`, and one of ours where ours are listed.
fn screen_authority(parts: &Parts, authorities: &[String]) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str).transpose().map_err(|_| Refusal::RequestMalformed)?;
    if hosts.next().is_some() {
        return Err(Refusal::RequestMalformed);
    }
    match (parts.uri.authority().map(Authority::as_str), host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            return Err(Refusal::RequestMalformed);
        }
        (Some(_), None) if parts.version < Version::HTTP_2 => return Err(Refusal::RequestMalformed),
        _ => {}
    }
    let authority = authority(parts).ok_or(Refusal::RequestMalformed)?;
    let parsed: Authority = authority.parse().map_err(|_| Refusal::RequestMalformed)?;
    let port = authority.strip_prefix(parsed.host()).and_then(|rest| rest.strip_prefix(':'));
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let is_http = |scheme: &Scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
    if authority.contains('@')
        || !is_host(parsed.host())
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

/// Whether this can be a host's name or address. RFC 3986 allows more, which no name has and which would be a list or a
/// quotation where the upstream reads it in `X-Forwarded-Host` and `Forwarded`.
fn is_host(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !host.is_empty() && host.bytes().all(is_name)
        }
    }
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

/// Why a route cannot have a recipient's field go on to its upstream, if it cannot.
pub fn never_forwarded(name: &HeaderName, purpose_header: &HeaderName) -> Option<&'static str> {
    let is_purpose = |name: &str| name.starts_with("data-purpose") || name.starts_with("x-data-purpose");
    let text = name.as_str();
    if is_hop_by_hop(name) || *name == HOST || *name == CONTENT_LENGTH {
        Some("it frames or addresses the message, which the gateway does anew")
    } else if CREDENTIAL_HEADERS.contains(name) {
        Some("it carries the recipient's credential for the gateway")
    } else if name == purpose_header || PREFETCH_HEADERS.contains(name) || is_purpose(text) {
        Some("it states a purpose: `forward-purpose = true` hands on the accepted one")
    } else if OVERRIDES.contains(name) {
        Some("an origin that heeds it does something else than what was decided about")
    } else if OF_A_PROXY.contains(name) || PREFIXES_OF_A_PROXY.iter().any(|prefix| text.starts_with(prefix)) {
        Some("an origin that trusts its proxy believes it, so only the gateway may say it")
    } else if CONDITIONS.contains(name) {
        Some("it asks about the body that the upstream has, not the one that leaves")
    } else if text.contains('_') {
        Some("a request with `_` in the name of a field is refused")
    } else {
        None
    }
}

/// The header for the upstream: the recipient's fields that always go on or that the route lists, and
/// what the gateway says of the connection.
pub fn forwarded(parts: &Parts, listed: &[HeaderName], purpose_header: &HeaderName) -> HeaderMap {
    let ends_here = ends_here(&parts.headers);
    let passes = |name: &HeaderName| {
        (ALWAYS_FORWARDED.contains(name) || listed.contains(name))
            && name != purpose_header
            && !ends_here(name)
    };
    let mut forwarded = HeaderMap::with_capacity(12);
    for (name, value) in parts.headers.iter().filter(|(name, _)| passes(name)) {
        forwarded.append(name, value.clone());
    }
    forwarded.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    forwarded.insert(VIA, via(parts.version));
    add_forwarded(parts, &mut forwarded);
    forwarded
}

/// Says for whom the gateway asks, as far as it knows: `Forwarded` (RFC 7239) and what came before it.
fn add_forwarded(parts: &Parts, head: &mut HeaderMap) {
    let mut elements: Vec<String> = Vec::with_capacity(3);
    let mut say = |name: HeaderName, value: &str, element: String| {
        head.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        elements.push(element);
    };
    let peer = parts.extensions.get::<Peer>();
    if let Some(peer) = peer {
        let address = peer.address.to_canonical();
        let node = if address.is_ipv6() { format!("for=\"[{address}]\"") } else { format!("for={address}") };
        say(FORWARDED_FOR, &address.to_string(), node);
    }
    if let Some(authority) = authority(parts) {
        say(FORWARDED_HOST, authority, format!("host=\"{authority}\""));
    }
    if let Some(peer) = peer {
        let scheme = if peer.encrypted { "https" } else { "http" };
        say(FORWARDED_PROTO, scheme, format!("proto={scheme}"));
    }
    head.extend(HeaderValue::try_from(elements.join(";")).ok().map(|value| (FORWARDED, value)));
}

/// `Via` for a message that came in this version (RFC 9110, 7.6.3).
pub fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 purposegate",
        Version::HTTP_2 => "2.0 purposegate",
        Version::HTTP_3 => "3.0 purposegate",
        _ => "1.1 purposegate",
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::Request;

    use super::*;

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
    fn a_body_has_to_have_a_meaning() {
        let host = ("host", "api.example.org");
        let (none, some) = (false, true);
        for (method, refused) in [("GET", true), ("HEAD", true), ("POST", false), ("DELETE", false)] {
            let parts = parts(method, "/a", &[host]);
            assert_eq!(screen_body(&parts.method, none), Ok(()), "{method}");
            let screened = screen_body(&parts.method, some).map_err(|rejection| rejection.refusal);
            assert_eq!(screened.is_err(), refused, "{method}");
            assert!(screened.is_ok() || screened == Err(Refusal::RequestMalformed));
        }
        let delete = parts("DELETE", "/a", &[host]);
        assert!(screen_content(&delete, some, false, &[]).is_err());
        assert_eq!(screen_content(&delete, none, false, &[]), Ok(()));
        assert_eq!(screen_content(&delete, some, true, &[]), Ok(()));
        let coded = parts("POST", "/a", &[host, ("content-encoding", "gzip")]);
        assert!(screen_content(&coded, some, false, &[]).is_err());
        assert_eq!(screen_content(&coded, none, false, &[]), Ok(()));
        assert_eq!(screen_content(&coded, some, false, &[CONTENT_ENCODING]), Ok(()));
    }

    #[test]
    fn values_do_not_begin_or_end_with_blanks() {
        for value in [" b", "b\t", "\tb", "b ", " "] {
            let parts = parts("GET", "/a", &[("host", "api.example.org"), ("x-a", value)]);
            let screened = screen(&parts, &[]);
            assert_eq!(screened.unwrap_err().refusal, Refusal::RequestMalformed, "{value:?}");
        }
        let parts = parts("GET", "/a", &[("host", "api.example.org"), ("x-a", "b \tc"), ("x-b", "")]);
        assert_eq!(screen(&parts, &[]), Ok(()));
    }

    #[test]
    fn the_path_s_fault_is_told() {
        let parts = parts("GET", "/a%3Ab", &[("host", "api.example.org")]);
        let rejection = screen(&parts, &[]).unwrap_err();
        let told = "The path is not accepted: `%3A` is a second spelling in a path: write `:`.";
        assert_eq!(rejection, Rejection::malformed(told));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (host, accepted) in [
            ("api.example.org", true),
            ("my_service:8080", true),
            ("127.0.0.1", true),
            ("[::1]:8443", true),
            ("a,b", false),
            ("a;b", false),
            ("a'b", false),
            ("a%2e", false),
            ("[::1", false),
            ("[v1.x]", false),
        ] {
            let screened = screen_authority(&parts("GET", "/a", &[("host", host)]), &[]);
            assert_eq!(screened.is_ok(), accepted, "{host}");
        }
    }

    /// The fields that go on of a request with these, and of one route that lists `x-tenant` and `cookie`.
    fn goes_on(headers: &[(&str, &str)]) -> Vec<String> {
        let listed = ["x-tenant", "cookie"].map(HeaderName::from_static);
        let parts = parts("GET", "/a", headers);
        let forwarded = forwarded(&parts, &listed, &HeaderName::from_static("data-purpose"));
        let mut lines: Vec<String> =
            forwarded.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn only_what_is_listed_goes_on() {
        let lines = goes_on(&[
            ("host", "api.example.org"),
            ("connection", "x-hop, authorization"),
            ("x-hop", "1"),
            ("authorization", "Bearer k"),
            ("x-api-key", "k"),
            ("data-purpose", "billing"),
            ("data-purpose-applied", "billing"),
            ("x-data-purpose", "billing"),
            ("sec-purpose", "prefetch"),
            ("if-none-match", "\"e\""),
            ("range", "bytes=0-1"),
            ("accept-encoding", "gzip"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/b"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-user", "root"),
            ("forwarded", "for=9.9.9.9"),
            ("x-real-ip", "9.9.9.9"),
            ("remote-user", "root"),
            ("x-user-id", "1"),
            ("prefer", "return=representation"),
            ("via", "1.1 forged"),
            ("origin", "https://app.example.org"),
            ("referer", "https://app.example.org/people/ada"),
            ("content-encoding", "gzip"),
            ("accept", "application/json"),
            ("accept-language", "de"),
            ("content-type", "application/json"),
            ("user-agent", "u/1"),
            ("traceparent", "00-1-2-3"),
            ("tracestate", "a=b"),
            ("idempotency-key", "i"),
            ("x-request-id", "r"),
            ("x-tenant", "t"),
            ("cookie", "c=1"),
        ]);
        assert_eq!(
            lines,
            [
                "accept-encoding: identity",
                "accept-language: de",
                "accept: application/json",
                "content-type: application/json",
                "cookie: c=1",
                "forwarded: host=\"api.example.org\"",
                "idempotency-key: i",
                "traceparent: 00-1-2-3",
                "tracestate: a=b",
                "user-agent: u/1",
                "via: 1.1 purposegate",
                "x-forwarded-host: api.example.org",
                "x-request-id: r",
                "x-tenant: t",
            ]
        );
    }

    #[test]
    fn what_connection_names_does_not_go_on_though_it_is_listed() {
        let lines = goes_on(&[
            ("host", "x"),
            ("connection", "x-tenant, accept"),
            ("x-tenant", "t"),
            ("accept", "*/*"),
        ]);
        assert!(
            !lines.iter().any(|line| line.starts_with("x-tenant") || line.starts_with("accept:")),
            "{lines:?}"
        );
    }

    #[test]
    fn the_upstream_is_told_for_whom_the_gateway_asks() {
        let told = |address: &str, encrypted: bool| {
            let mut parts =
                parts("GET", "/a", &[("host", "api.example.org:8443"), ("forwarded", "for=9.9.9.9")]);
            parts.extensions.insert(Peer { address: address.parse().unwrap(), encrypted });
            parts.version = Version::HTTP_2;
            let forwarded = forwarded(&parts, &[], &HeaderName::from_static("data-purpose"));
            let names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via"];
            names.map(|name| forwarded.get(name).unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(
            told("192.0.2.1", true),
            [
                "for=192.0.2.1;host=\"api.example.org:8443\";proto=https",
                "192.0.2.1",
                "api.example.org:8443",
                "https",
                "2.0 purposegate",
            ]
        );
        assert_eq!(
            told("2001:db8::1", false)[0],
            "for=\"[2001:db8::1]\";host=\"api.example.org:8443\";proto=http"
        );
        assert_eq!(told("::ffff:192.0.2.1", false)[1], "192.0.2.1");
    }

    #[test]
    fn what_frames_authenticates_or_overrides_cannot_be_listed() {
        let purpose = HeaderName::from_static("x-my-purpose");
        let refused = |name: &str| never_forwarded(&name.parse().unwrap(), &purpose).is_some();
        for name in [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "authorization",
            "x-api-key",
            "proxy-authorization",
            "x-my-purpose",
            "data-purpose",
            "data-purpose-applied",
            "sec-purpose",
            "x-http-method-override",
            "x-original-url",
            "x-original-uri",
            "x-forwarded-for",
            "x-forwarded-uri",
            "x-forwarded-client-cert",
            "x-ssl-client-s-dn",
            "forwarded",
            "via",
            "x-real-ip",
            "remote-user",
            "range",
            "if-match",
            "accept-encoding",
            "x_tenant",
        ] {
            assert!(refused(name), "{name}");
        }
        for name in ["x-tenant", "cookie", "prefer", "content-encoding", "content-language", "accept"] {
            assert!(!refused(name), "{name}");
        }
    }
}
