//! W3C Trace Context: ids of traces and spans, and the header field `traceparent`.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};

/// The header field with the context of a trace.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header field with what other systems add to the context.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The field of a response with the context of its trace (a draft of W3C).
pub(super) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// The id of a trace; not all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span; not all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Makes an id of random bits.
    pub fn of_bits(bits: u128) -> TraceId {
        TraceId(bits.max(1).to_be_bytes())
    }

    /// Makes an id of the bytes of one.
    pub fn of_bytes(bytes: [u8; 16]) -> TraceId {
        TraceId(bytes)
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// Makes an id of random bits.
    pub fn of_bits(bits: u64) -> SpanId {
        SpanId(bits.max(1).to_be_bytes())
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> [u8; 8] {
        self.0
    }
}

/// Prints lower-case hexadecimal digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Prints lower-case hexadecimal digits.
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The context that a caller sent: its trace, its span, and its decision to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerContext {
    /// The caller's trace.
    pub trace: TraceId,
    /// The caller's span.
    pub span: SpanId,
    /// True if the caller records the trace.
    pub sampled: bool,
}

impl CallerContext {
    /// Reads the context of a request. `None` if there is none, several, or one that is not valid.
    pub fn of(headers: &HeaderMap) -> Option<CallerContext> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let field = fields.next()?;
        if fields.next().is_some() {
            return None;
        }
        parse(field.to_str().ok()?)
    }
}

/// Reads `version-trace-span-flags`. Versions after 00 may add members.
fn parse(text: &str) -> Option<CallerContext> {
    let mut members = text.split('-');
    let (version, trace, span, flags) = (members.next()?, members.next()?, members.next()?, members.next()?);
    let [version] = hex::<1>(version)?;
    let has_more = members.next().is_some();
    if version == 0xff || (version == 0 && has_more) {
        return None;
    }
    let (trace, span, [flags]) = (hex::<16>(trace)?, hex::<8>(span)?, hex::<1>(flags)?);
    let is_valid = trace != [0; 16] && span != [0; 8];
    is_valid.then_some(CallerContext {
        trace: TraceId(trace),
        span: SpanId(span),
        sampled: flags & SAMPLED == SAMPLED,
    })
}

/// Reads exactly so many bytes in lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Returns the value of `traceparent` for a span of this gateway.
pub(super) fn traceparent(trace: TraceId, span: SpanId, sampled: bool) -> Option<HeaderValue> {
    let flags = if sampled { SAMPLED } else { 0 };
    HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(fields: &[&str]) -> Option<CallerContext> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(TRACEPARENT, HeaderValue::from_str(field).unwrap());
        }
        CallerContext::of(&headers)
    }

    #[test]
    fn a_context_is_read_and_written_alike() {
        let context = of(&[VALID]).unwrap();
        assert!(context.sampled);
        assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(traceparent(context.trace, context.span, true).unwrap(), VALID);
        let unsampled = VALID.replace("-01", "-00");
        assert!(!of(&[&unsampled]).unwrap().sampled);
        assert_eq!(traceparent(context.trace, context.span, false).unwrap(), unsampled.as_str());
        assert!(of(&["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more"]).unwrap().sampled);
    }

    #[test]
    fn a_context_that_is_not_valid_is_none() {
        for invalid in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-jane.doe@example.org-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(of(&[invalid]), None, "{invalid}");
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[VALID, VALID]), None, "two fields");
    }
}
