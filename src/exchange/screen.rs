//! Screening: a request that is ambiguous is refused, never repaired.
//!
//! It accepts one authority, one spelling of the path, known framing, and no body where the method gives it no meaning.
//! It does not look at the recipient and does not change the request.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::{Refusal, Rejection, path};

/// Maximum number of header fields of a request.
pub(super) const MAX_FIELDS: usize = 64;
/// Maximum bytes of header names and values together.
pub(super) const MAX_FIELD_BYTES: usize = 16 * 1024;

/// Checks everything about a request head that does not depend on the recipient.
///
/// # Errors
/// The [`Rejection`] of the method, and all of [`screen_message`].
pub(super) fn screen(parts: &Parts, authorities: &[String]) -> Result<(), Rejection> {
    screen_method(&parts.method)?;
    screen_message(parts, authorities)
}

/// Checks a request head, except its method.
///
/// # Errors
/// The [`Rejection`] of the first thing that is not accepted: the length of the target, the size of the header, the
/// expectation, the framing, the authority, the path.
pub(super) fn screen_message(parts: &Parts, authorities: &[String]) -> Result<(), Rejection> {
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
    // To a CGI-like origin `X_Api_Key` and `X-Api-Key` are the same variable.
    if headers.keys().any(|name| name.as_str().contains('_')) {
        return Err(Rejection::malformed("The name of a header field has no `_`: write `-`."));
    }
    // HTTP/1.1 parsers strip leading and trailing blanks. HTTP/2 calls such a message malformed (RFC 9113, 8.2.1), but
    // the library accepts it.
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

/// Checks that a request has no content where its method gives content no meaning (RFC 9110, 9.3.1). One origin would
/// read a query in it that nobody has screened; another would take it for the next request.
///
/// # Errors
/// [`Refusal::RequestMalformed`] for a body of GET, HEAD or OPTIONS.
pub(super) fn screen_body(method: &Method, has_body: bool) -> Result<(), Rejection> {
    let is_for_none = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_for_none && has_body {
        return Err(Rejection::malformed("A GET, HEAD or OPTIONS request has no body here."));
    }
    Ok(())
}

/// Checks the body of a request against the rules of its route.
///
/// # Errors
/// [`Refusal::RequestMalformed`] for the body of a DELETE that the route does not expect, and for a body in a content
/// coding if the route does not forward `Content-Encoding`.
pub(super) fn screen_content(
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

fn screen_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let met =
        headers.get_all(EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if met { Ok(()) } else { Err(Refusal::ExpectationFailed) }
}

/// Accepts one `Content-Length` and the transfer coding `chunked` alone. hyper accepts more (`gzip, chunked`, two
/// fields), on which origins disagree.
fn screen_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Refusal::RequestMalformed);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let plain = coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if plain && codings.next().is_none() { Ok(()) } else { Err(Refusal::RequestMalformed) }
}

/// Returns the authority that a request names, in its target or in its `Host`.
pub(super) fn authority(parts: &Parts) -> Option<&str> {
    let host = || parts.headers.get(HOST)?.to_str().ok();
    parts.uri.authority().map(Authority::as_str).or_else(host)
}

/// Accepts exactly one authority, the same in the target and in `Host`. If the listener lists authorities, it must be
/// one of them.
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

/// True if this can be the name or the address of a host. RFC 3986 allows more characters. No host name has these
/// characters, and in `X-Forwarded-Host` and `Forwarded` the upstream would read them as a list or a quotation.
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
    fn a_body_is_refused_where_the_method_gives_it_no_meaning() {
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
    fn field_values_with_outer_blanks_are_refused() {
        for value in [" b", "b\t", "\tb", "b ", " "] {
            let parts = parts("GET", "/a", &[("host", "api.example.org"), ("x-a", value)]);
            let screened = screen(&parts, &[]);
            assert_eq!(screened.unwrap_err().refusal, Refusal::RequestMalformed, "{value:?}");
        }
        let parts = parts("GET", "/a", &[("host", "api.example.org"), ("x-a", "b \tc"), ("x-b", "")]);
        assert_eq!(screen(&parts, &[]), Ok(()));
    }

    #[test]
    fn the_detail_names_the_fault_of_the_path() {
        let parts = parts("GET", "/a%3Ab", &[("host", "api.example.org")]);
        let rejection = screen(&parts, &[]).unwrap_err();
        let detail = "The path is not accepted: `%3A` is a second spelling in a path: write `:`.";
        assert_eq!(rejection, Rejection::malformed(detail));
    }

    #[test]
    fn malformed_hosts_are_refused() {
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
}
