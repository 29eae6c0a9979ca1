//! The request head that goes on to the upstream: an allow-list, and the gateway's own fields about the connection.
//!
//! The module does not decide if the request is forwarded. Invariant: no declared purpose and no field that overrides the
//! decision reaches an upstream, and no credential unless the route forwards it.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE,
    EXPECT, FORWARDED, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT, VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::caller::CREDENTIAL_HEADERS;
use super::peer::Peer;
use super::position::LEDGER_POSITION;
use super::purpose::PREFETCH_HEADERS;
use super::screen::authority;

/// Fields that end at this proxy (RFC 9110, 7.6.1).
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

/// Fields with conditions and codings, which would apply to the upstream's body and not to the body that leaves.
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

/// Fields that override method, path or host: an origin that follows one of them executes another request than the one
/// decided on.
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

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Addresses, names and certificates of the peer. An origin that trusts its proxy believes these fields, so only the proxy
/// may write them.
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

/// Prefixes of the names of further fields that only a proxy may write.
const PREFIXES_OF_A_PROXY: [&str; 2] = ["x-forwarded-", "x-ssl-client-"];

/// Request fields that are forwarded to every upstream. Any other field is dropped unless the route lists it: its
/// effect on an origin is unknown.
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

/// True if the recipient accepts trailers (RFC 9110, 6.5.1).
pub(crate) fn reads_trailers(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let mut codings = fields.flat_map(|value| value.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// True if a field ends at this proxy.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Returns a predicate that is true for a field of this head that ends at this proxy, including the fields that
/// `Connection` names (RFC 9110, 7.6.1).
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

/// True for a field that states a purpose, or that looks like one that does.
fn states_purpose(name: &HeaderName, purpose_header: &HeaderName) -> bool {
    let text = name.as_str();
    name == purpose_header
        || PREFETCH_HEADERS.contains(name)
        || text.starts_with("data-purpose")
        || text.starts_with("x-data-purpose")
}

/// Returns the reason why the configuration of an upstream cannot set a field; `None` if it can. Credentials and names of
/// users can be set: they are the gateway's own.
pub fn never_configured(name: &HeaderName, purpose_header: &HeaderName) -> Option<&'static str> {
    if is_hop_by_hop(name) || *name == HOST || *name == CONTENT_LENGTH {
        Some("it frames or addresses the message, and the gateway writes its own")
    } else if *name == VIA || *name == FORWARDED || name.as_str().starts_with("x-forwarded-") {
        Some("the gateway writes its own")
    } else if states_purpose(name, purpose_header) {
        Some("it states a purpose: `forward-purpose = true` on a route forwards the accepted one")
    } else if OVERRIDES.contains(name) {
        Some("an origin that follows it does something else than was decided")
    } else if CONDITIONS.contains(name) {
        Some("it asks about the body that the upstream has, not the one that leaves")
    } else {
        None
    }
}

/// Returns the reason why a route cannot list a recipient's field to be forwarded; `None` if it can.
pub fn never_forwarded(name: &HeaderName, purpose_header: &HeaderName) -> Option<&'static str> {
    let text = name.as_str();
    if is_hop_by_hop(name) || *name == HOST || *name == CONTENT_LENGTH {
        Some("it frames or addresses the message, and the gateway writes its own")
    } else if CREDENTIAL_HEADERS.contains(name) {
        Some(
            "it carries the recipient's credential for the gateway: `forward-credential = true` on a route forwards it",
        )
    } else if *name == LEDGER_POSITION {
        Some("it is for the gateway, which waits for the event that it names")
    } else if states_purpose(name, purpose_header) {
        Some("it states a purpose: `forward-purpose = true` forwards the accepted one")
    } else if OVERRIDES.contains(name) {
        Some("an origin that follows it does something else than was decided")
    } else if OF_A_PROXY.contains(name) || PREFIXES_OF_A_PROXY.iter().any(|prefix| text.starts_with(prefix)) {
        Some("an origin that trusts its proxy believes it, so only the gateway may write it")
    } else if CONDITIONS.contains(name) {
        Some("it asks about the body that the upstream has, not the one that leaves")
    } else if text.contains('_') {
        Some("a request with `_` in the name of a field is refused")
    } else {
        None
    }
}

/// Builds the head for the upstream: the recipient's fields that are always forwarded or that the route lists, its credential if
/// the route forwards it, and the gateway's own fields about the connection.
pub fn forwarded(
    parts: &Parts,
    listed: &[HeaderName],
    forward_credential: bool,
    purpose_header: &HeaderName,
) -> HeaderMap {
    let ends_here = ends_here(&parts.headers);
    let is_credential = |name: &HeaderName| {
        forward_credential && CREDENTIAL_HEADERS.contains(name) && *name != PROXY_AUTHORIZATION
    };
    let passes = |name: &HeaderName| {
        (ALWAYS_FORWARDED.contains(name) || listed.contains(name) || is_credential(name))
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

/// Adds the fields that tell the upstream on whose behalf the gateway sends the request: `Forwarded` (RFC 7239) and its
/// predecessors `X-Forwarded-*`.
fn add_forwarded(parts: &Parts, head: &mut HeaderMap) {
    let mut elements: Vec<String> = Vec::with_capacity(3);
    let mut add = |name: HeaderName, value: &str, element: String| {
        head.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        elements.push(element);
    };
    let peer = parts.extensions.get::<Peer>();
    if let Some(peer) = peer {
        let address = peer.address.to_canonical();
        let node = if address.is_ipv6() { format!("for=\"[{address}]\"") } else { format!("for={address}") };
        add(FORWARDED_FOR, &address.to_string(), node);
    }
    if let Some(authority) = authority(parts) {
        add(FORWARDED_HOST, authority, format!("host=\"{authority}\""));
    }
    if let Some(peer) = peer {
        let scheme = peer.scheme();
        add(FORWARDED_PROTO, scheme, format!("proto={scheme}"));
    }
    head.extend(HeaderValue::try_from(elements.join(";")).ok().map(|value| (FORWARDED, value)));
}

/// Returns `Via` for a message that came in this HTTP version (RFC 9110, 7.6.3).
pub fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 purposegate",
        Version::HTTP_2 => "2.0 purposegate",
        Version::HTTP_3 => "3.0 purposegate",
        _ => "1.1 purposegate",
    })
}

#[cfg(test)]
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

    /// Returns the fields that are forwarded of a request with these fields, on a route that lists `x-tenant` and `cookie`.
    fn forwarded_lines(headers: &[(&str, &str)]) -> Vec<String> {
        let listed = ["x-tenant", "cookie"].map(HeaderName::from_static);
        let parts = parts("GET", "/a", headers);
        let forwarded = forwarded(&parts, &listed, false, &HeaderName::from_static("data-purpose"));
        let mut lines: Vec<String> =
            forwarded.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn only_listed_fields_are_forwarded() {
        let lines = forwarded_lines(&[
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
    fn the_credential_is_forwarded_where_the_route_says_so() {
        let sent = [
            ("connection", "x-api-key"),
            ("authorization", "Bearer k"),
            ("x-api-key", "k"),
            ("proxy-authorization", "Basic k"),
            ("data-purpose", "billing"),
        ];
        let forwarded =
            forwarded(&parts("GET", "/a", &sent), &[], true, &HeaderName::from_static("data-purpose"));
        let names: Vec<&str> = forwarded.keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            ["authorization", "accept-encoding", "via", "forwarded"],
            "`X-Api-Key` ends at this hop"
        );
        assert_eq!(forwarded["authorization"], "Bearer k");
    }

    #[test]
    fn listed_fields_named_by_connection_are_not_forwarded() {
        let lines = forwarded_lines(&[
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
    fn the_upstream_learns_for_whom_the_gateway_asks() {
        let fields = |address: &str, encrypted: bool| {
            let mut parts =
                parts("GET", "/a", &[("host", "api.example.org:8443"), ("forwarded", "for=9.9.9.9")]);
            parts.extensions.insert(Peer::connected(address.parse().unwrap(), encrypted));
            parts.version = Version::HTTP_2;
            let forwarded = forwarded(&parts, &[], false, &HeaderName::from_static("data-purpose"));
            let names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via"];
            names.map(|name| forwarded.get(name).unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(
            fields("192.0.2.1", true),
            [
                "for=192.0.2.1;host=\"api.example.org:8443\";proto=https",
                "192.0.2.1",
                "api.example.org:8443",
                "https",
                "2.0 purposegate",
            ]
        );
        assert_eq!(
            fields("2001:db8::1", false)[0],
            "for=\"[2001:db8::1]\";host=\"api.example.org:8443\";proto=http"
        );
        assert_eq!(fields("::ffff:192.0.2.1", false)[1], "192.0.2.1");
    }

    #[test]
    fn fields_that_frame_authenticate_or_override_cannot_be_listed() {
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

    #[test]
    fn an_upstream_can_be_sent_credentials_but_no_framing() {
        let purpose = HeaderName::from_static("x-my-purpose");
        let refused = |name: &str| never_configured(&name.parse().unwrap(), &purpose).is_some();
        for name in [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "te",
            "via",
            "forwarded",
            "x-forwarded-for",
            "x-my-purpose",
            "data-purpose",
            "sec-purpose",
            "x-http-method-override",
            "accept-encoding",
            "if-none-match",
        ] {
            assert!(refused(name), "{name}");
        }
        for name in ["authorization", "x-api-key", "x-env", "cookie", "remote-user", "user-agent"] {
            assert!(!refused(name), "{name}");
        }
    }
}
