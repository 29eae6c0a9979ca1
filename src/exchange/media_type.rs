//! The media type of an upstream's response: the framing of its texts, and the name under which they leave.
//!
//! A media type is free text, and an API could put a person's name into it. Invariant: the field is read and never copied.
//! A response leaves under a name of the lists here or of the route's own list; any other JSON leaves as
//! `application/json`.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::exchange::upstream_fault::UpstreamFault;
use crate::scrub::Framing;

/// Media types of JSON documents that leave under their own name.
const JSON: [&str; 38] = [
    "application/activity+json",
    "application/calendar+json",
    "application/did+json",
    "application/feed+json",
    "application/fhir+json",
    "application/geo+json",
    "application/graphql-response+json",
    "application/hal+json",
    "application/hal-forms+json",
    "application/jose+json",
    "application/jrd+json",
    "application/json",
    "application/json-patch+json",
    "application/jwk+json",
    "application/jwk-set+json",
    "application/ld+json",
    "application/manifest+json",
    "application/merge-patch+json",
    "application/odata+json",
    "application/problem+json",
    "application/prs.hal-forms+json",
    "application/rdap+json",
    "application/reputon+json",
    "application/schema+json",
    "application/scim+json",
    "application/senml+json",
    "application/stix+json",
    "application/taxii+json",
    "application/vc+ld+json",
    "application/vcard+json",
    "application/vnd.api+json",
    "application/vnd.collection+json",
    "application/vnd.elasticsearch+json",
    "application/vnd.github+json",
    "application/vnd.github.v3+json",
    "application/vnd.oai.openapi+json",
    "application/vnd.siren+json",
    "text/json",
];

/// Media types of JSON texts, one a line, that leave under their own name.
const LINES: [&str; 17] = [
    "application/fhir+ndjson",
    "application/json-lines",
    "application/jsonl",
    "application/jsonlines",
    "application/ndjson",
    "application/stream+json",
    "application/vnd.elasticsearch+x-ndjson",
    "application/x-jsonl",
    "application/x-jsonlines",
    "application/x-ndjson",
    "text/json-lines",
    "text/jsonl",
    "text/jsonlines",
    "text/ndjson",
    "text/x-jsonl",
    "text/x-jsonlines",
    "text/x-ndjson",
];

/// Media types of JSON sequences (RFC 7464) that leave under their own name.
const SEQUENCES: [&str; 3] =
    ["application/geo+json-seq", "application/json-seq", "application/secevent+json-seq"];

const EVENTS: &str = "text/event-stream";

/// Media types that are not JSON and that the log names: often an error page or an export.
const OTHERS: [&str; 25] = [
    "application/atom+xml",
    "application/cbor",
    "application/gzip",
    "application/javascript",
    "application/msgpack",
    "application/octet-stream",
    "application/pdf",
    "application/problem+xml",
    "application/protobuf",
    "application/soap+xml",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/x-protobuf",
    "application/x-www-form-urlencoded",
    "application/x-yaml",
    "application/xhtml+xml",
    "application/xml",
    "application/yaml",
    "application/zip",
    "image/jpeg",
    "image/png",
    "text/csv",
    "text/html",
    "text/plain",
    "text/xml",
];

/// Media types of bodies that are one field, which leave under their own name.
const FIELDS: [&str; 38] = [
    "application/dicom",
    "application/gzip",
    "application/msword",
    "application/octet-stream",
    "application/pdf",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/zip",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "image/webp",
    "text/calendar",
    "text/csv",
    "text/plain",
    "text/vcard",
    "video/mp4",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// The media type of texts that can be scrubbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// The framing of the texts in the body.
    pub framing: Framing,
    /// The name in the lists of this module.
    name: Option<&'static str>,
    /// The position of the name in the route's own list.
    listed: Option<usize>,
    /// True if it names UTF-8 as its charset. JSON has no charset parameter, but some readers expect it.
    has_utf8_charset: bool,
}

/// The rules of a route for the media types of its responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaTypes {
    /// The framing of texts whose media type does not determine it.
    pub framing: Option<Framing>,
    /// Further media types, in lower case, that leave under their own name.
    pub listed: Vec<String>,
    /// True if `Cache-Control: no-transform` of the upstream has no effect.
    pub ignores_no_transform: bool,
}

impl MediaType {
    /// Reads the one `Content-Type` of a head.
    ///
    /// # Errors
    /// The [`UpstreamFault`]: such a response cannot be scrubbed.
    pub fn read(headers: &HeaderMap, route: &MediaTypes) -> Result<MediaType, UpstreamFault> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().map_err(|_| UpstreamFault::MediaType(None))?,
            (Some(_), Some(_)) => return Err(UpstreamFault::TwoMediaTypes),
            (None, _) => "",
        };
        // A comma separates two values in one field.
        if value.contains(',') {
            return Err(UpstreamFault::TwoMediaTypes);
        }
        let mut parts = value.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut media_type = MediaType {
            framing: Framing::Document,
            name: known(&essence),
            listed: route.listed.iter().position(|listed| *listed == essence),
            has_utf8_charset: false,
        };
        let (mut is_watch, mut has_header) = (false, true);
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "charset" => match value.to_ascii_lowercase().as_str() {
                    "utf-8" | "utf8" => media_type.has_utf8_charset = true,
                    // ASCII is a subset of UTF-8, and all bytes of the body are checked as UTF-8.
                    "us-ascii" | "ascii" => {}
                    _ => return Err(UpstreamFault::Charset),
                },
                // A watch of Kubernetes has one object per line.
                "stream" => is_watch = value.eq_ignore_ascii_case("watch"),
                // A parameter of `text/csv` (RFC 4180, 3).
                "header" => has_header = value.eq_ignore_ascii_case("present"),
                _ => {}
            }
        }
        media_type.framing = match (framing(&essence), route.framing) {
            (Some(Framing::Document), Some(Framing::Lines)) => Framing::Lines,
            (None, Some(framing)) => framing,
            (Some(Framing::Document), None) if is_watch => Framing::Lines,
            (Some(framing), _) => framing,
            (None, None) if essence.is_empty() => return Err(UpstreamFault::NoMediaType),
            (None, None) => return Err(UpstreamFault::MediaType(media_type.name)),
        };
        if media_type.framing == Framing::Rows && !has_header {
            return Err(UpstreamFault::NoTableHeader);
        }
        Ok(media_type)
    }

    /// True for a JSON document or a problem document (RFC 9457).
    pub fn is_plain_document(&self) -> bool {
        let is_plain = matches!(self.name, Some("application/json" | "application/problem+json"));
        is_plain && self.framing == Framing::Document
    }

    /// Returns the `Content-Type` that leaves.
    pub fn value(&self, route: &MediaTypes) -> Option<HeaderValue> {
        let listed = self.listed.and_then(|listed| route.listed.get(listed)).map(String::as_str);
        let named = self.name.filter(|name| framing(name).is_some());
        let name = listed.or(named).unwrap_or(match self.framing {
            Framing::Document => "application/json",
            Framing::Lines => "application/x-ndjson",
            Framing::Sequence => "application/json-seq",
            Framing::Events => EVENTS,
            Framing::Rows => "text/csv",
        });
        let charset = if self.has_utf8_charset { "; charset=utf-8" } else { "" };
        HeaderValue::try_from([name, charset].concat()).ok()
    }
}

/// Returns the `Content-Type` under which a body leaves that is one field: its own if the lists know it, otherwise
/// `application/octet-stream`. Types that a browser runs as a page of the origin, such as HTML and SVG, leave under their own name
/// only if the route lists them.
///
/// # Errors
/// [`UpstreamFault::TwoMediaTypes`].
pub fn of_field(headers: &HeaderMap, route: &MediaTypes) -> Result<HeaderValue, UpstreamFault> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    if values.next().is_some() || value.contains(',') {
        return Err(UpstreamFault::TwoMediaTypes);
    }
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let is_listed = route.listed.contains(&essence) || FIELDS.contains(&&*essence);
    if !is_listed && framing(&essence).is_none_or(|_| known(&essence).is_none()) {
        return Ok(HeaderValue::from_static("application/octet-stream"));
    }
    let is_utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
    };
    let charset = if parameters.split(';').any(is_utf8) { "; charset=utf-8" } else { "" };
    HeaderValue::try_from([&essence, charset].concat()).map_err(|_| UpstreamFault::MediaType(None))
}

/// Returns the equal name in the lists of this module.
fn known(essence: &str) -> Option<&'static str> {
    let lists: [&[&'static str]; 5] = [&JSON, &LINES, &SEQUENCES, &[EVENTS], &OTHERS];
    lists.into_iter().flatten().copied().find(|known| *known == essence)
}

/// Returns the framing of the texts of a media type (in lower case); `None` if it is not JSON.
fn framing(essence: &str) -> Option<Framing> {
    let subtype = match essence.strip_prefix("application/") {
        Some(subtype) => subtype,
        None if essence == "text/json" => return Some(Framing::Document),
        None if essence == EVENTS => return Some(Framing::Events),
        // No type of lines is registered, so APIs write either.
        None => return LINES.contains(&essence).then_some(Framing::Lines),
    };
    match subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix) {
        "ndjson" | "x-ndjson" | "jsonl" | "x-jsonl" | "jsonlines" | "x-jsonlines" | "json-lines" => {
            Some(Framing::Lines)
        }
        "json-seq" => Some(Framing::Sequence),
        "json" if subtype == "stream+json" => Some(Framing::Lines),
        "json" => Some(Framing::Document),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (CONTENT_TYPE, HeaderValue::from_str(value).unwrap())).collect()
    }

    /// Returns the framing and the media type that leaves.
    fn read(value: &str, route: &MediaTypes) -> Result<(Framing, String), UpstreamFault> {
        let read = MediaType::read(&headers(&[value]), route)?;
        Ok((read.framing, read.value(route).unwrap().to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_media_type_determines_the_framing() {
        for (value, framing, leaves) in [
            ("application/json", Framing::Document, "application/json"),
            ("Application/JSON;Charset=UTF8", Framing::Document, "application/json; charset=utf-8"),
            ("application/json; charset=\"utf-8\"", Framing::Document, "application/json; charset=utf-8"),
            ("application/json; charset=us-ascii", Framing::Document, "application/json"),
            (
                "application/json; charset=utf-8; owner=\"jane\"",
                Framing::Document,
                "application/json; charset=utf-8",
            ),
            ("application/scim+json", Framing::Document, "application/scim+json"),
            ("text/json", Framing::Document, "text/json"),
            ("application/x-ndjson", Framing::Lines, "application/x-ndjson"),
            ("application/ndjson", Framing::Lines, "application/ndjson"),
            ("application/fhir+ndjson", Framing::Lines, "application/fhir+ndjson"),
            ("application/vnd.jane+ndjson", Framing::Lines, "application/x-ndjson"),
            ("application/jsonl", Framing::Lines, "application/jsonl"),
            ("application/jsonlines", Framing::Lines, "application/jsonlines"),
            ("application/x-jsonlines", Framing::Lines, "application/x-jsonlines"),
            (
                "application/json-lines; charset=utf-8",
                Framing::Lines,
                "application/json-lines; charset=utf-8",
            ),
            ("application/stream+json", Framing::Lines, "application/stream+json"),
            ("text/x-ndjson", Framing::Lines, "text/x-ndjson"),
            ("Text/JSONL; charset=utf-8", Framing::Lines, "text/jsonl; charset=utf-8"),
            ("application/json;stream=watch", Framing::Lines, "application/json"),
            ("application/json-seq", Framing::Sequence, "application/json-seq"),
            ("application/geo+json-seq", Framing::Sequence, "application/geo+json-seq"),
            ("text/event-stream;charset=UTF-8", Framing::Events, "text/event-stream; charset=utf-8"),
        ] {
            assert_eq!(read(value, &MediaTypes::default()), Ok((framing, leaves.to_owned())), "{value}");
        }
    }

    #[test]
    fn unlisted_names_do_not_leave() {
        let none = MediaTypes::default();
        for value in [
            "application/canary-9431@example.org+json",
            "application/canary-9431 +json",
            "application/vnd.4915112349431+json",
            "application/problem.jane+json",
        ] {
            assert_eq!(read(value, &none), Ok((Framing::Document, "application/json".to_owned())), "{value}");
        }
        let listed = vec!["application/vnd.acme.order+json".to_owned()];
        let route = MediaTypes { listed, ..MediaTypes::default() };
        let own = "Application/vnd.Acme.order+json; charset=utf-8";
        let leaves = "application/vnd.acme.order+json; charset=utf-8".to_owned();
        assert_eq!(read(own, &route), Ok((Framing::Document, leaves)));
    }

    #[test]
    fn other_media_types_are_faults() {
        let none = MediaTypes::default();
        for (value, cause) in [
            ("text/csv", UpstreamFault::MediaType(Some("text/csv"))),
            ("text/ndjsonx", UpstreamFault::MediaType(None)),
            ("text/jane+ndjson", UpstreamFault::MediaType(None)),
            ("image/x-ndjson", UpstreamFault::MediaType(None)),
            ("application/json-sequence", UpstreamFault::MediaType(None)),
            ("jane@example.org", UpstreamFault::MediaType(None)),
            ("application/json; charset=utf-16", UpstreamFault::Charset),
            ("text/event-stream; charset=latin1", UpstreamFault::Charset),
            ("application/json, text/html", UpstreamFault::TwoMediaTypes),
            ("", UpstreamFault::NoMediaType),
        ] {
            assert_eq!(read(value, &none), Err(cause), "{value}");
        }
        assert_eq!(MediaType::read(&HeaderMap::new(), &none), Err(UpstreamFault::NoMediaType));
        let two = headers(&["application/json", "application/json"]);
        assert_eq!(MediaType::read(&two, &none), Err(UpstreamFault::TwoMediaTypes));
    }

    #[test]
    fn the_route_frames_texts_whose_media_type_does_not() {
        let lines = MediaTypes { framing: Some(Framing::Lines), ..MediaTypes::default() };
        for (value, framing, leaves) in [
            ("application/json", Framing::Lines, "application/json"),
            ("text/plain; charset=utf-8", Framing::Lines, "application/x-ndjson; charset=utf-8"),
            ("", Framing::Lines, "application/x-ndjson"),
            ("application/vnd.jane", Framing::Lines, "application/x-ndjson"),
            ("application/json-seq", Framing::Sequence, "application/json-seq"),
            ("text/event-stream", Framing::Events, "text/event-stream"),
        ] {
            assert_eq!(read(value, &lines), Ok((framing, leaves.to_owned())), "{value}");
        }
        assert_eq!(MediaType::read(&HeaderMap::new(), &lines).map(|read| read.framing), Ok(Framing::Lines));
        assert_eq!(read("text/plain; charset=latin1", &lines), Err(UpstreamFault::Charset));
    }

    #[test]
    fn a_route_of_tables_reads_any_media_type_but_json_as_a_table() {
        let csv = MediaTypes { framing: Some(Framing::Rows), ..MediaTypes::default() };
        for (value, framing, leaves) in [
            ("text/csv; header=present; charset=utf-8", Framing::Rows, "text/csv; charset=utf-8"),
            ("application/octet-stream", Framing::Rows, "text/csv"),
            ("", Framing::Rows, "text/csv"),
            ("application/json", Framing::Document, "application/json"),
            ("application/x-ndjson", Framing::Lines, "application/x-ndjson"),
            ("text/csv; Header=Present", Framing::Rows, "text/csv"),
            ("text/csv; charset=us-ascii; profile=jane", Framing::Rows, "text/csv"),
            ("application/json; header=absent", Framing::Document, "application/json"),
        ] {
            assert_eq!(read(value, &csv), Ok((framing, leaves.to_owned())), "{value}");
        }
        for (value, cause) in [
            ("text/csv; header=absent", UpstreamFault::NoTableHeader),
            ("text/csv;charset=utf-8;header=\"Absent\"", UpstreamFault::NoTableHeader),
            ("text/csv; header=", UpstreamFault::NoTableHeader),
            ("text/csv; charset=windows-1252", UpstreamFault::Charset),
            ("text/csv; charset=utf-16", UpstreamFault::Charset),
            ("text/csv, text/csv", UpstreamFault::TwoMediaTypes),
        ] {
            assert_eq!(read(value, &csv), Err(cause), "{value}");
        }
    }

    #[test]
    fn lists_are_sorted_and_framed_alike() {
        for (list, expected) in [
            (&JSON[..], Some(Framing::Document)),
            (&LINES, Some(Framing::Lines)),
            (&SEQUENCES, Some(Framing::Sequence)),
            (&OTHERS, None),
        ] {
            assert!(list.is_sorted(), "{list:?}");
            for name in list {
                assert_eq!(framing(name), expected, "{name}");
            }
        }
    }
}
