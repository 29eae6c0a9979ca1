//! Makes spans of exchanges, in the Protocol Buffers of OTLP (`opentelemetry.proto.collector.trace.v1`).
//!
//! An exchange becomes a span of kind server, and up to three children: the decision, the call of the upstream (kind client)
//! and the waits for the disclosure log. Attributes follow the semantic conventions of HTTP, without those that would hold a
//! path, a query or an address of the recipient (`url.path`, `url.full`, `client.address`); names of the configuration have the
//! prefix `purposegate.`.

use super::protobuf::MessageWriter;
use crate::keys::random;
use crate::traces::{
    CallerContext, ExchangeNames, FinishedExchange, LogWaits, SpanId, TraceIdentity, UpstreamCall,
};

/// The version of the semantic conventions that the attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Kinds of spans.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// The status of a span that failed.
const ERROR: u64 = 2;

/// Flags of a span or link: the context that it refers to is known to be remote, or known not to be.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
const SAMPLED: u32 = 1;

/// Outcomes of exchanges that are no problem codes.
const ANSWERED: &str = "answered";
const ABORTED: &str = "aborted";

/// Encodes a request with the spans of these exchanges. `resource` has the attributes of this process.
pub(super) fn encode(resource: &[(String, String)], exchanges: &[FinishedExchange]) -> Vec<u8> {
    let mut request = MessageWriter::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |message| {
            resource.iter().for_each(|(key, value)| text(message, 1, key, value));
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.bytes(1, b"purposegate");
                scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            exchanges.iter().for_each(|exchange| spans(scope_spans, exchange));
            scope_spans.bytes(3, SCHEMA.as_bytes());
        });
        resource_spans.bytes(3, SCHEMA.as_bytes());
    });
    request.into_bytes()
}

/// True unless the gateway answered with a page of its own.
fn has_decision(exchange: &FinishedExchange) -> bool {
    exchange.outcome != ANSWERED
}

/// Maximum number of spans of an exchange.
pub(super) const MAX_SPANS: u64 = 4;

/// Writes the spans of an exchange: at most [`MAX_SPANS`].
fn spans(out: &mut MessageWriter, exchange: &FinishedExchange) {
    out.message(2, |span| exchange_span(span, exchange));
    if has_decision(exchange) {
        let ended = exchange.decided.unwrap_or(exchange.duration);
        out.message(2, |span| begin(span, exchange, None, ("decision", INTERNAL), (0, ended)));
    }
    if let Some(call) = &exchange.call {
        out.message(2, |span| call_span(span, exchange, call));
    }
    if let Some(log) = &exchange.log {
        let LogWaits { began, ended, records, waited } = *log;
        out.message(2, |span| {
            begin(span, exchange, None, ("disclosure log", INTERNAL), (began, ended));
            number(span, "purposegate.log.records", u64::from(records));
            number(span, "purposegate.log.wait_microseconds", waited / 1000);
        });
    }
}

/// Writes what the children of an exchange have in common. Without an id, the span gets a random one.
fn begin(
    span: &mut MessageWriter,
    exchange: &FinishedExchange,
    id: Option<SpanId>,
    (name, kind): (&str, u64),
    (began, ended): (u64, u64),
) {
    let TraceIdentity { trace, span: parent, .. } = exchange.identity;
    let id = id.unwrap_or_else(|| SpanId::of_bits(random::bits().unwrap_or(0) as u64));
    span.bytes(1, &trace.bytes());
    span.bytes(2, &id.bytes());
    span.bytes(4, &parent.bytes());
    span.bytes(5, name.as_bytes());
    span.number(6, kind);
    span.fixed64(7, exchange.start.saturating_add(began));
    span.fixed64(8, exchange.start.saturating_add(ended));
    span.fixed32(16, SAMPLED | HAS_IS_REMOTE);
}

fn exchange_span(span: &mut MessageWriter, exchange: &FinishedExchange) {
    let FinishedExchange {
        identity, start, duration, method, scheme, version, status, outcome, names, ..
    } = exchange;
    let ExchangeNames { recipient, purpose, route, pattern, mode } = names;
    let TraceIdentity { trace, span: id, parent, link, .. } = identity;
    span.bytes(1, &trace.bytes());
    span.bytes(2, &id.bytes());
    if let Some(parent) = parent {
        span.bytes(4, &parent.bytes());
    }
    let method_name = if *method == "_OTHER" { "HTTP" } else { *method };
    match pattern {
        Some(pattern) => span.bytes(5, format!("{method_name} {pattern}").as_bytes()),
        None => span.bytes(5, method_name.as_bytes()),
    }
    span.number(6, SERVER);
    span.fixed64(7, *start);
    span.fixed64(8, start.saturating_add(*duration));
    attribute(span, "http.request.method", method);
    attribute(span, "network.protocol.version", version);
    let named = [
        ("url.scheme", *scheme),
        ("http.route", pattern.as_deref()),
        ("purposegate.recipient", recipient.as_deref()),
        ("purposegate.purpose", purpose.as_deref().filter(|purpose| !purpose.is_empty())),
        ("purposegate.route", route.as_deref()),
        ("purposegate.mode", *mode),
        ("purposegate.outcome", Some(*outcome)),
    ];
    for (key, value) in named {
        if let Some(value) = value {
            attribute(span, key, value);
        }
    }
    if let Some(status) = status {
        number(span, "http.response.status_code", u64::from(*status));
    }
    if *outcome == ABORTED || status.is_some_and(|status| status >= 500) {
        match status {
            // An answer of the upstream that left as it came.
            Some(status) if *outcome == "released" => attribute(span, "error.type", &status.to_string()),
            _ => attribute(span, "error.type", outcome),
        }
        span.message(15, |status| status.number(3, ERROR));
    }
    if let Some(CallerContext { trace, span: caller, sampled }) = link {
        span.message(13, |link| {
            link.bytes(1, &trace.bytes());
            link.bytes(2, &caller.bytes());
            link.fixed32(6, u32::from(*sampled) | HAS_IS_REMOTE | IS_REMOTE);
        });
    }
    let remote = if parent.is_some() { IS_REMOTE } else { 0 };
    span.fixed32(16, SAMPLED | HAS_IS_REMOTE | remote);
}

fn call_span(span: &mut MessageWriter, exchange: &FinishedExchange, call: &UpstreamCall) {
    let UpstreamCall { began, ended, upstream, server, status } = call;
    let method_name = if exchange.method == "_OTHER" { "HTTP" } else { exchange.method };
    let times = (*began, ended.unwrap_or(exchange.duration));
    begin(span, exchange, Some(exchange.identity.upstream_span), (method_name, CLIENT), times);
    attribute(span, "http.request.method", exchange.method);
    attribute(span, "purposegate.upstream", upstream);
    if let Some((host, port)) = server {
        attribute(span, "server.address", host);
        number(span, "server.port", u64::from(*port));
    }
    match status {
        Some(status) => {
            number(span, "http.response.status_code", u64::from(*status));
            if *status >= 400 {
                attribute(span, "error.type", &status.to_string());
            }
        }
        None => attribute(span, "error.type", exchange.outcome),
    }
    if status.is_none_or(|status| status >= 400) {
        span.message(15, |status| status.number(3, ERROR));
    }
}

/// Writes an attribute of a span.
fn attribute(span: &mut MessageWriter, key: &str, value: &str) {
    text(span, 9, key, value);
}

fn number(span: &mut MessageWriter, key: &str, value: u64) {
    span.message(9, |attribute| {
        attribute.bytes(1, key.as_bytes());
        attribute.message(2, |any| any.number(3, value));
    });
}

fn text(message: &mut MessageWriter, field: u64, key: &str, value: &str) {
    message.message(field, |attribute| {
        attribute.bytes(1, key.as_bytes());
        attribute.message(2, |any| any.bytes(1, value.as_bytes()));
    });
}
