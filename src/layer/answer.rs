//! The upstream's answer, judged by its head; and the new head that leaves instead.
//!
//! Nothing of the upstream's head is forwarded but an allow-list: hyper would even re-emit the
//! upstream's reason phrase, which can name a person.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, DATE, ETAG, RETRY_AFTER, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::fmt::rfc2822;

use super::Refusal;
use super::encoding::Coding;
use super::request;
use crate::scrub::Framing;

/// What an upstream's head says about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// JSON, framed like this, in this content coding.
    Json(Framing, Coding),
    /// No body at all, and none is needed.
    Empty,
}

/// Judges the head of an answer on a personal route.
///
/// # Errors
/// [`Refusal::UpstreamRefused`] for 4xx and 5xx; [`Refusal::UpstreamUnreadable`] for whatever
/// cannot be scrubbed: other media types, unknown codings, redirects, ranges, `no-transform`.
pub fn judge(parts: &Parts) -> Result<Answer, Refusal> {
    let status = parts.status;
    if status == StatusCode::PRECONDITION_FAILED || status == StatusCode::RANGE_NOT_SATISFIABLE {
        // The conditions were taken from the request, so this answers something nobody asked.
        return Err(Refusal::UpstreamUnreadable);
    }
    if status.is_client_error() || status.is_server_error() {
        return Err(Refusal::UpstreamRefused(status));
    }
    if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
        return Err(Refusal::UpstreamUnreadable);
    }
    if forbids_transformation(&parts.headers) {
        return Err(Refusal::UpstreamUnreadable);
    }
    let empty = parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0")
        && !parts.headers.contains_key(TRANSFER_ENCODING);
    if empty || status == StatusCode::NO_CONTENT || status == StatusCode::RESET_CONTENT {
        return Ok(Answer::Empty);
    }
    let framing = framing(&parts.headers).ok_or(Refusal::UpstreamUnreadable)?;
    Ok(Answer::Json(framing, coding(&parts.headers)?))
}

/// The head that leaves: a new one, with the few fields that say nothing about a person. Of the media type the
/// parameters stay behind, but for `charset=utf-8`: JSON has none.
pub fn head(upstream: &HeaderMap, allowed: &[HeaderName], answer: Answer) -> HeaderMap {
    // Most heads fit: date, media type, and what the gateway adds.
    let mut head = HeaderMap::with_capacity(6);
    let ends_here = request::ends_here(upstream);
    let passes = |name: &HeaderName| allowed.contains(name) && !ends_here(name);
    for (name, value) in upstream.iter().filter(|(name, value)| passes(name) || is_plain(name, value)) {
        head.append(name, value.clone());
    }
    if let (Answer::Json(..), Some(content_type)) = (answer, upstream.get(CONTENT_TYPE)) {
        let mut parts = content_type.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let essence = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        let is_plain = parts.all(|parameter| parameter.eq_ignore_ascii_case(b"charset=utf-8"));
        let media_type = if is_plain { Ok(content_type.clone()) } else { essence };
        head.extend(media_type.ok().map(|media_type| (CONTENT_TYPE, media_type)));
    }
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head
}

/// Whether an upstream's field can be let through as it is: not what frames or describes the body that it had,
/// and none that the gateway writes.
pub fn can_pass(name: &HeaderName) -> bool {
    const OF_THE_BODY: [HeaderName; 10] = [
        ACCEPT_RANGES,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        ETAG,
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("repr-digest"),
    ];
    let own =
        [CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS].contains(name) || name.as_str().starts_with("data-purpose");
    !own && !OF_THE_BODY.contains(name) && !request::is_hop_by_hop(name)
}

/// Whether a field is a date, a delay or a language, and reads as one.
fn is_plain(name: &HeaderName, value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    // RFC 2822 has comments, HTTP's dates have not.
    let is_date =
        || text.len() == 29 && text.ends_with(" GMT") && !text.contains('(') && rfc2822::parse(text).is_ok();
    match *name {
        DATE => is_date(),
        RETRY_AFTER => text.bytes().all(|byte| byte.is_ascii_digit()) || is_date(),
        CONTENT_LANGUAGE => text.split(',').all(|tag| {
            let mut parts = tag.trim().split('-');
            let is_language = |part: &str| matches!(part.len(), 2 | 3);
            let is_part =
                |part: &str| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
            parts.clone().next().is_some_and(is_language) && parts.all(is_part)
        }),
        _ => false,
    }
}

/// The seconds after which an upstream asks to be asked again, where it says so in seconds of a day at most.
pub fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
    (1..=86_400).contains(&seconds).then_some(seconds)
}

fn forbids_transformation(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// How JSON is framed by the one `Content-Type` that there is, in UTF-8; `None` if it is no JSON.
fn framing(headers: &HeaderMap) -> Option<Framing> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let text = value.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let framing = match essence.strip_prefix("application/") {
        Some("x-ndjson" | "jsonl" | "json-lines") => Framing::Lines,
        Some(subtype) if subtype == "json-seq" || subtype.ends_with("+json-seq") => Framing::Sequence,
        Some(subtype) if subtype == "json" || subtype.ends_with("+json") => Framing::Document,
        None if essence == "text/json" => Framing::Document,
        None if essence == "text/event-stream" => Framing::Events,
        Some(_) | None => return None,
    };
    let in_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    // A comma is two values in one field; a line of its own for each would have been refused too.
    (!text.contains(',') && parts.all(in_utf8)).then_some(framing)
}

fn coding(headers: &HeaderMap) -> Result<Coding, Refusal> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(Coding::Identity),
        (Some(value), None) => value.to_str().ok().and_then(Coding::parse).ok_or(Refusal::UpstreamUnreadable),
        (Some(_), Some(_)) => Err(Refusal::UpstreamUnreadable),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::Response;

    fn verdict(status: u16, headers: &[(&str, &str)]) -> Result<Answer, Refusal> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        judge(&response.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_what_can_be_scrubbed_is_read() {
        let json = ("content-type", "application/json");
        assert_eq!(verdict(200, &[json]), Ok(Answer::Json(Framing::Document, Coding::Identity)));
        assert_eq!(
            verdict(201, &[("content-type", "application/scim+json; charset=UTF-8")]),
            Ok(Answer::Json(Framing::Document, Coding::Identity))
        );
        assert_eq!(
            verdict(200, &[json, ("content-encoding", "gzip")]),
            Ok(Answer::Json(Framing::Document, Coding::Gzip))
        );
        for (media_type, framing) in [
            ("application/x-ndjson", Framing::Lines),
            ("application/jsonl", Framing::Lines),
            ("application/json-lines; charset=utf-8", Framing::Lines),
            ("application/json-seq", Framing::Sequence),
            ("application/geo+json-seq", Framing::Sequence),
            ("text/event-stream;charset=UTF-8", Framing::Events),
            ("text/json", Framing::Document),
        ] {
            assert_eq!(
                verdict(200, &[("content-type", media_type)]),
                Ok(Answer::Json(framing, Coding::Identity))
            );
        }
        assert_eq!(verdict(204, &[]), Ok(Answer::Empty));
        assert_eq!(verdict(404, &[json]), Err(Refusal::UpstreamRefused(StatusCode::NOT_FOUND)));
        let unreadable: &[(u16, &[(&str, &str)])] = &[
            (200, &[]),
            (200, &[("content-type", "text/csv")]),
            (200, &[("content-type", "text/x-ndjson")]),
            (200, &[("content-type", "text/event-stream; charset=latin1")]),
            (200, &[("content-type", "application/json-sequence")]),
            (200, &[("content-type", "application/json; charset=utf-16")]),
            (200, &[("content-type", "application/json, text/html")]),
            (200, &[json, json]),
            (200, &[json, ("content-encoding", "gzip, br")]),
            (200, &[json, ("content-encoding", "compress")]),
            (200, &[json, ("content-encoding", "gzip"), ("content-encoding", "gzip")]),
            (200, &[json, ("cache-control", "public, no-transform")]),
            (101, &[]),
            (206, &[json]),
            (301, &[json]),
            (304, &[]),
            (412, &[json]),
            (416, &[json]),
        ];
        for (status, headers) in unreadable {
            assert_eq!(verdict(*status, headers), Err(Refusal::UpstreamUnreadable), "{status} {headers:?}");
        }
    }

    #[test]
    fn what_is_listed_passes_unless_it_is_for_this_hop() {
        let listed = HeaderName::from_static("x-listed");
        let field = |name, value| (name, HeaderValue::from_static(value));
        let mut upstream = HeaderMap::from_iter([field(listed.clone(), "1")]);
        let passes = |upstream: &HeaderMap| {
            head(upstream, std::slice::from_ref(&listed), Answer::Empty).contains_key(&listed)
        };
        assert!(passes(&upstream));
        upstream.extend([field(http::header::CONNECTION, "close, X-Listed")]);
        assert!(!passes(&upstream));
    }

    #[test]
    fn dates_delays_and_languages_pass_and_nothing_in_their_place() {
        let passes = |name: &'static str, value: &str| {
            let upstream = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
            head(&upstream, &[], Answer::Empty).contains_key(name)
        };
        assert!(passes("date", "Sat, 21 Nov 2026 00:00:00 GMT") && !passes("date", "Jane Doe GMT"));
        assert!(passes("retry-after", "120") && passes("retry-after", "Sat, 21 Nov 2026 00:00:00 GMT"));
        assert!(
            !passes("retry-after", "jane@example.org") && !passes("date", "1 Nov 26 00:00:00 (jane d) GMT")
        );
        for (value, pass) in [
            ("de", true),
            ("de-CH, zh-Hant-TW", true),
            ("de-Janine", false),
            ("jane doe", false),
            ("", false),
        ] {
            assert_eq!(passes("content-language", value), pass, "{value}");
        }
        let typed =
            HeaderMap::from_iter([(CONTENT_TYPE, "application/json; owner=\"jane\"".parse().unwrap())]);
        let head = head(&typed, &[], Answer::Json(Framing::Document, Coding::Identity));
        assert_eq!(head.get(CONTENT_TYPE).unwrap(), "application/json");
    }

    #[test]
    fn the_head_is_a_new_one() {
        let mut upstream = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("etag", "\"alice\""),
            ("set-cookie", "u=alice"),
            ("location", "/people/alice"),
            ("x-user", "alice"),
            ("content-length", "12"),
            ("date", "Sat, 21 Nov 2026 00:00:00 GMT"),
        ] {
            upstream.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let head = head(&upstream, &[], Answer::Json(Framing::Document, Coding::Identity));
        let mut names: Vec<&str> = head.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "content-type", "date", "x-content-type-options"]);
    }
}
