//! The head of the upstream's response: its judgement, and the new head that leaves instead.
//!
//! The module does not read the body. Invariant: of the upstream's head only an allow-list is forwarded. hyper would
//! even re-emit the upstream's reason phrase, which can name a person.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, EXPIRES, PRAGMA, RETRY_AFTER, SERVER, TRANSFER_ENCODING, VIA, X_CONTENT_TYPE_OPTIONS,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::exchange::Refusal;
use crate::exchange::flow::decode::ContentCoding;
use crate::exchange::media_type::{MediaType, MediaTypes};
use crate::exchange::request_head;
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};

/// Maximum `Retry-After` that is passed on, in seconds: a day.
const MAX_RETRY_AFTER: i64 = 86_400;
/// Maximum number of languages of one response.
const MAX_LANGUAGES: usize = 3;

/// The body of an upstream's response, according to its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// Texts of this media type, in this content coding.
    Json(MediaType, ContentCoding),
    /// A body that is one field, in this content coding, or no body.
    Field(ContentCoding),
    /// No body.
    Empty,
    /// A body that cannot be scrubbed, because of this fault. The response can leave only if it has no body after all.
    Unreadable(UpstreamFault),
}

/// Judges the head of a response on a personal route.
///
/// # Errors
/// [`Refusal::UpstreamRefused`] for 4xx and 5xx; [`Refusal::UpstreamUnreadable`] for a status of a response that is not
/// whole.
pub fn classify(parts: &Parts, route: &MediaTypes, body: BodyShape) -> Result<ResponseKind, ResponseError> {
    let status = parts.status;
    screen(parts)?;
    if status == StatusCode::PRECONDITION_FAILED || status == StatusCode::RANGE_NOT_SATISFIABLE {
        // The conditions were removed from the request, so this status does not belong to the request that was sent.
        return Err(UpstreamFault::Status(status.as_u16()).into());
    }
    if status.is_client_error() || status.is_server_error() {
        return Err(Refusal::UpstreamRefused(status).into());
    }
    if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
        return Err(UpstreamFault::Status(status.as_u16()).into());
    }
    if let BodyShape::Field { has_length } = body {
        return classify_field(parts, route, has_length);
    }
    let empty = parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0")
        && !parts.headers.contains_key(TRANSFER_ENCODING);
    if empty || status == StatusCode::NO_CONTENT || status == StatusCode::RESET_CONTENT {
        return Ok(ResponseKind::Empty);
    }
    Ok(readable(&parts.headers, route).unwrap_or_else(ResponseKind::Unreadable))
}

/// The bodies of a route's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// Texts of JSON.
    Texts,
    /// One field, which is not read.
    Field {
        /// True if the length of this body is known, whatever its head says.
        has_length: bool,
    },
}

/// Judges the head of a response whose body is one field. It has to be whole, because nothing in it shows where it ends.
fn classify_field(
    parts: &Parts,
    route: &MediaTypes,
    is_length_known: bool,
) -> Result<ResponseKind, ResponseError> {
    let is_empty = parts.status == StatusCode::NO_CONTENT;
    if parts.status != StatusCode::OK && !is_empty {
        return Err(UpstreamFault::Status(parts.status.as_u16()).into());
    }
    let coding = coding(&parts.headers)?;
    if !is_empty && !is_length_known && !has_length(parts, coding) {
        return Err(UpstreamFault::NoLength.into());
    }
    match coding {
        ContentCoding::Identity => Ok(ResponseKind::Field(coding)),
        _ if forbids_transformation(&parts.headers, route) => Err(UpstreamFault::NoTransform.into()),
        _ => Ok(ResponseKind::Field(coding)),
    }
}

/// Checks the requirements of a response on any route.
///
/// # Errors
/// The [`UpstreamFault`]: a status below 200 or beyond 599 is not that of a final response, and a body in a transfer coding
/// other than `chunked` is not the content.
pub fn screen(parts: &Parts) -> Result<(), UpstreamFault> {
    let status = parts.status.as_u16();
    if !(200..600).contains(&status) {
        return Err(UpstreamFault::Status(status));
    }
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let is_plain = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_plain && codings.next().is_none() { Ok(()) } else { Err(UpstreamFault::TransferCoding) }
}

fn readable(headers: &HeaderMap, route: &MediaTypes) -> Result<ResponseKind, UpstreamFault> {
    if forbids_transformation(headers, route) {
        return Err(UpstreamFault::NoTransform);
    }
    Ok(ResponseKind::Json(MediaType::read(headers, route)?, coding(headers)?))
}

/// Builds the head that leaves: the few fields that disclose nothing about a person, and those that the route lists. The
/// upstream's `Date` is dropped: it could be any date, and the server writes its own.
pub fn head(upstream: &HeaderMap, allowed: &[HeaderName], now: Timestamp) -> HeaderMap {
    // Most heads fit: the media type and the gateway's own fields.
    let mut head = HeaderMap::with_capacity(6);
    let ends_here = request_head::ends_here(upstream);
    let passes = |name: &HeaderName| allowed.contains(name) && !ends_here(name);
    for (name, value) in upstream.iter().filter(|(name, _)| passes(name)) {
        head.append(name, value.clone());
    }
    if let Some(seconds) = retry_after(upstream, now) {
        head.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(languages) = upstream.get(CONTENT_LANGUAGE).filter(|value| are_languages(value)) {
        head.insert(CONTENT_LANGUAGE, languages.clone());
    }
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head
}

/// Builds the head of a response that passes unread: the upstream's fields, except those that frame its body, end at this
/// proxy, are the gateway's own, or name the software of the origin.
pub fn unread_head(upstream: &HeaderMap) -> HeaderMap {
    const OF_THE_ORIGIN: [HeaderName; 7] = [
        SERVER,
        VIA,
        HeaderName::from_static("x-aspnet-version"),
        HeaderName::from_static("x-aspnetmvc-version"),
        HeaderName::from_static("x-generator"),
        HeaderName::from_static("x-powered-by"),
        HeaderName::from_static("x-served-by"),
    ];
    let ends_here = request_head::ends_here(upstream);
    let stays = |name: &HeaderName| {
        *name != CONTENT_LENGTH && !ends_here(name) && !is_own(name) && !OF_THE_ORIGIN.contains(name)
    };
    let fields = upstream.iter().filter(|(name, _)| stays(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Builds the head of an observed response: that of a response that passes unread, except that no cache keeps it. A copy would
/// be handed out without a record, and after the end of the observation.
pub fn observed_head(upstream: &HeaderMap) -> HeaderMap {
    const OF_CACHES: [HeaderName; 4] = [
        EXPIRES,
        PRAGMA,
        HeaderName::from_static("surrogate-control"),
        HeaderName::from_static("x-accel-expires"),
    ];
    let mut head = unread_head(upstream);
    // Targeted fields (RFC 9213), such as `CDN-Cache-Control`, take precedence over `Cache-Control`.
    let is_of_caches =
        |name: &HeaderName| name.as_str().ends_with("cache-control") || OF_CACHES.contains(name);
    let names: Vec<HeaderName> = head.keys().filter(|name| is_of_caches(name)).cloned().collect();
    for name in names {
        head.remove(name);
    }
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head
}

/// True if a head has a field that can tell about a person: any but those that describe the message, its transfer, its
/// caching or the page that may use it.
pub fn can_tell(head: &HeaderMap) -> bool {
    const OF_THE_MESSAGE: [&str; 27] = [
        "accept-ranges",
        "age",
        "allow",
        "alt-svc",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "permissions-policy",
        "referrer-policy",
        "retry-after",
        "strict-transport-security",
        "traceparent",
        "traceresponse",
        "tracestate",
        "vary",
        "via",
        "x-content-type-options",
        "x-correlation-id",
        "x-frame-options",
        "x-request-id",
        "x-xss-protection",
    ];
    let is_of_the_message = |name: &str| {
        OF_THE_MESSAGE.contains(&name)
            || name.starts_with("access-control-")
            || name.starts_with("cross-origin-")
            || name.contains("ratelimit")
    };
    head.keys().any(|name| !is_of_the_message(name.as_str()))
}

/// True if the gateway writes the field itself.
fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with("data-purpose")
}

/// True if a route can list the field: it neither frames nor describes the body that the upstream had, and the gateway does
/// not write it itself.
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
    let own = [CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS].contains(name) || is_own(name);
    !own && !OF_THE_BODY.contains(name) && !request_head::is_hop_by_hop(name)
}

/// True if the value is up to [`MAX_LANGUAGES`] tags of a two-letter language (ISO 639-1), a script in use and a region.
/// APIs describe their texts so; any other word could name a person.
fn are_languages(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    text.split(',').count() <= MAX_LANGUAGES && text.split(',').all(|tag| is_language(tag.trim()))
}

fn is_language(tag: &str) -> bool {
    /// ISO 639-1.
    const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy \
                             da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu \
                             hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb \
                             lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om \
                             or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw \
                             ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";
    const SCRIPTS: [&str; 12] =
        ["arab", "cyrl", "deva", "grek", "hans", "hant", "hebr", "jpan", "kore", "latn", "thai", "tibt"];
    /// UN M.49: the world, Latin America.
    const AREAS: [&str; 2] = ["001", "419"];
    let tag = tag.to_ascii_lowercase();
    let mut parts = tag.split('-').peekable();
    let language = parts.next().unwrap_or_default();
    let _script = parts.next_if(|part| SCRIPTS.contains(part));
    let is_region = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let _region = parts.next_if(|part| is_region(part) || AREAS.contains(part));
    LANGUAGES.split_ascii_whitespace().any(|known| known == language) && parts.next().is_none()
}

/// Returns the upstream's `Retry-After` in seconds, if it is within a day.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u32> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()?
    } else {
        // A date (RFC 9110, 5.6.7) becomes the time until it.
        rfc2822::parse(text).ok()?.timestamp().as_second() - now.as_second()
    };
    (1..=MAX_RETRY_AFTER).contains(&seconds).then(|| u32::try_from(seconds).ok())?
}

/// True if the upstream forbids to change a body, and the route heeds it.
pub(super) fn forbids_transformation(headers: &HeaderMap, route: &MediaTypes) -> bool {
    let mut directives =
        headers.get_all(CACHE_CONTROL).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    !route.ignores_no_transform
        && directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// True if length, chunks, frames or coding tell where the body ends, so that a broken connection differs from the end. Members of
/// gzip and frames of Zstandard can follow each other (RFC 1952, 2.2; RFC 8878, 3), so that one more may be missing.
pub fn has_length(parts: &Parts, coding: ContentCoding) -> bool {
    matches!(coding, ContentCoding::Deflate | ContentCoding::Brotli)
        || parts.version >= Version::HTTP_2
        || parts.headers.contains_key(CONTENT_LENGTH)
        || parts.headers.contains_key(TRANSFER_ENCODING)
}

pub(super) fn coding(headers: &HeaderMap) -> Result<ContentCoding, UpstreamFault> {
    let mut coding = ContentCoding::Identity;
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().map_err(|_| UpstreamFault::ContentCoding)?.split(',') {
            coding = match (coding, ContentCoding::parse(name).ok_or(UpstreamFault::ContentCoding)?) {
                (one, ContentCoding::Identity) | (ContentCoding::Identity, one) => one,
                _ => return Err(UpstreamFault::ContentCoding),
            };
        }
    }
    Ok(coding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::Framing;
    use http::Response;
    use http::header::DATE;

    fn verdict(status: u16, headers: &[(&str, &str)]) -> Result<ResponseKind, Refusal> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let parts = response.body(()).unwrap().into_parts().0;
        classify(&parts, &MediaTypes::default(), BodyShape::Texts).map_err(|cut| cut.refusal)
    }

    fn now() -> Timestamp {
        "2026-11-20T23:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_route_can_ignore_no_transform() {
        let ignoring = MediaTypes { ignores_no_transform: true, ..MediaTypes::default() };
        let mut answer = Response::new(());
        for (name, value) in
            [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-transform"), (CONTENT_ENCODING, "gzip")]
        {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let parts = answer.into_parts().0;
        let field = BodyShape::Field { has_length: true };
        assert!(matches!(classify(&parts, &ignoring, BodyShape::Texts), Ok(ResponseKind::Json(..))));
        assert!(matches!(classify(&parts, &ignoring, field), Ok(ResponseKind::Field(_))));
        assert!(!forbids_transformation(&parts.headers, &ignoring));
        assert!(forbids_transformation(&parts.headers, &MediaTypes::default()));
        assert!(classify(&parts, &MediaTypes::default(), field).is_err());
    }

    #[test]
    fn only_bodies_that_can_be_scrubbed_are_read() {
        let json = ("content-type", "application/json");
        let read = |headers: &[(&str, &str)]| match verdict(200, headers) {
            Ok(ResponseKind::Json(media_type, coding)) => Ok((media_type.framing, coding)),
            other => Err(other),
        };
        assert_eq!(read(&[json]), Ok((Framing::Document, ContentCoding::Identity)));
        assert_eq!(
            read(&[("content-type", "text/event-stream")]),
            Ok((Framing::Events, ContentCoding::Identity))
        );
        for (coding, expected) in [
            ("gzip", ContentCoding::Gzip),
            ("BR", ContentCoding::Brotli),
            ("identity", ContentCoding::Identity),
            ("none", ContentCoding::Identity),
            ("", ContentCoding::Identity),
            (" ", ContentCoding::Identity),
            ("gzip, identity", ContentCoding::Gzip),
        ] {
            assert_eq!(
                read(&[json, ("content-encoding", coding)]),
                Ok((Framing::Document, expected)),
                "{coding:?}"
            );
        }
        assert_eq!(verdict(204, &[]), Ok(ResponseKind::Empty));
        assert_eq!(
            verdict(200, &[("content-length", "0"), ("content-type", "text/html")]),
            Ok(ResponseKind::Empty)
        );
        assert_eq!(verdict(404, &[json]), Err(Refusal::UpstreamRefused(StatusCode::NOT_FOUND)));
        // These leave only if there is no body after all.
        let unreadable: &[(&[(&str, &str)], UpstreamFault)] = &[
            (&[], UpstreamFault::NoMediaType),
            (&[("content-type", "text/csv")], UpstreamFault::MediaType(Some("text/csv"))),
            (&[json, json], UpstreamFault::TwoMediaTypes),
            (&[json, ("content-encoding", "gzip, br")], UpstreamFault::ContentCoding),
            (&[json, ("content-encoding", "compress")], UpstreamFault::ContentCoding),
            (
                &[json, ("content-encoding", "gzip"), ("content-encoding", "gzip")],
                UpstreamFault::ContentCoding,
            ),
            (&[json, ("cache-control", "public, no-transform")], UpstreamFault::NoTransform),
        ];
        for (headers, cause) in unreadable {
            assert_eq!(verdict(200, headers), Ok(ResponseKind::Unreadable(*cause)), "{headers:?}");
        }
        let chunked = ("transfer-encoding", "chunked");
        assert!(matches!(
            verdict(200, &[json, ("transfer-encoding", "Chunked")]),
            Ok(ResponseKind::Json(..))
        ));
        let refused: &[(u16, &[(&str, &str)])] = &[
            (101, &[]),
            (206, &[json]),
            (301, &[json]),
            (304, &[]),
            (412, &[json]),
            (416, &[json]),
            (600, &[json]),
            (999, &[json]),
            (200, &[json, ("transfer-encoding", "gzip, chunked")]),
            (404, &[json, ("transfer-encoding", "gzip")]),
            (200, &[json, chunked, chunked]),
        ];
        for (status, headers) in refused {
            assert_eq!(verdict(*status, headers), Err(Refusal::UpstreamUnreadable), "{status} {headers:?}");
        }
    }

    #[test]
    fn a_body_ends_where_its_length_its_chunks_or_its_coding_say() {
        let has_length = |headers: &[(&str, &str)], version, coding| {
            let mut response = Response::builder().version(version);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            has_length(&response.body(()).unwrap().into_parts().0, coding)
        };
        let of = |headers: &[(&str, &str)], coding| has_length(headers, Version::HTTP_11, coding);
        for coding in [ContentCoding::Identity, ContentCoding::Gzip, ContentCoding::Zstd] {
            assert!(
                of(&[("content-length", "5")], coding) && of(&[("transfer-encoding", "chunked")], coding)
            );
            assert!(!of(&[("content-type", "text/csv"), ("connection", "close")], coding));
            assert!(has_length(&[], Version::HTTP_2, coding));
        }
        assert!(of(&[], ContentCoding::Deflate) && of(&[], ContentCoding::Brotli));
    }

    #[test]
    fn listed_fields_pass_unless_they_are_hop_by_hop() {
        let listed = HeaderName::from_static("x-listed");
        let field = |name, value| (name, HeaderValue::from_static(value));
        let mut upstream = HeaderMap::from_iter([field(listed.clone(), "1")]);
        let passes =
            |upstream: &HeaderMap| head(upstream, std::slice::from_ref(&listed), now()).contains_key(&listed);
        assert!(passes(&upstream));
        upstream.extend([field(http::header::CONNECTION, "close, X-Listed")]);
        assert!(!passes(&upstream));
    }

    #[test]
    fn only_plain_delays_and_languages_pass() {
        let leaves = |name: &'static str, value: &str| {
            let upstream = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
            head(&upstream, &[], now()).get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        for (value, expected) in [
            ("120", Some("120")),
            ("86400", Some("86400")),
            ("Sat, 21 Nov 2026 00:00:00 GMT", Some("3600")),
            ("86401", None),
            ("4915112349431", None),
            ("Mon, 23 Nov 2026 00:00:00 GMT", None),
            ("Fri, 03 May 1985 00:00:00 GMT", None),
            ("jane@example.org", None),
            ("", None),
        ] {
            assert_eq!(leaves("retry-after", value).as_deref(), expected, "{value}");
        }
        for (value, pass) in [
            ("de", true),
            ("de-CH, zh-Hant-TW", true),
            ("es-419, en, pt-br", true),
            ("en, de, fr, it", false),
            ("de-Janine", false),
            ("jane doe", false),
            ("491-5112-3494-31", false),
            ("can-ary-9431", false),
            ("ka-nari-envo-gel", false),
            ("ja-nine", false),
            ("de-CH-1996", false),
            ("", false),
        ] {
            assert_eq!(leaves("content-language", value).is_some(), pass, "{value}");
        }
        assert_eq!(leaves(DATE.as_str(), "Sat, 21 Nov 2026 00:00:00 GMT"), None);
    }

    #[test]
    fn the_head_that_leaves_is_new() {
        let mut upstream = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("etag", "\"alice\""),
            ("set-cookie", "u=alice"),
            ("location", "/people/alice"),
            ("x-user", "alice"),
            ("server", "Alice/1.0"),
            ("data-purpose-withheld", "forged"),
            ("content-length", "12"),
            ("date", "Sat, 21 Nov 2026 00:00:00 GMT"),
        ] {
            upstream.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let head = head(&upstream, &[], now());
        let mut names: Vec<&str> = head.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "x-content-type-options"]);
        let unread = unread_head(&upstream);
        for gone in ["server", "data-purpose-withheld", "content-length"] {
            assert!(upstream.contains_key(gone) && !unread.contains_key(gone), "{gone}");
        }
        assert_eq!(unread.len(), upstream.len() - 3);
    }
}
