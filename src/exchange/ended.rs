//! Reports the end of an exchange: to the access log, to the metrics of all exchanges, and to its trace.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;

use super::route::Route;
use super::{ExchangeContext, observe};
use crate::access_log::AccessLogLine;
use crate::disclosure::record::{ExchangeMode, Outcome};
use crate::traces::ExchangeNames;

/// An exchange that has ended. A name that is not known is `None`.
pub(super) struct EndedExchange<'e> {
    pub(super) context: &'e ExchangeContext,
    pub(super) recipient: Option<&'e Arc<str>>,
    pub(super) purpose: Option<&'e Arc<str>>,
    pub(super) route: Option<&'e Route>,
    pub(super) mode: ExchangeMode,
    /// The status of the response.
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
    /// Bytes of the upstream's body that have left.
    pub(super) bytes: u64,
}

impl EndedExchange<'_> {
    /// Reports the end. Returns the duration of the exchange.
    pub(super) fn report(&self) -> Duration {
        let EndedExchange { context, recipient, purpose, route, mode, status, outcome, bytes } = *self;
        let total = context.began.elapsed();
        let (recipient, purpose) = (label(recipient), label(purpose));
        let route = route.map_or("", |route| &*route.name);
        context.shared.access_log.write(&AccessLogLine {
            time: Timestamp::now(),
            decision: context.decision,
            trace: context.trace_id(),
            recipient,
            purpose,
            route,
            mode: mode.name(),
            method: method_name(&context.method),
            status: status.as_u16(),
            outcome: outcome.name(),
            milliseconds: u64::try_from(total.as_millis()).unwrap_or(u64::MAX),
            microseconds: u64::try_from(total.as_micros()).unwrap_or(u64::MAX),
            bytes,
        });
        let metrics = &context.shared.metrics;
        let counted_purpose = observe::named_purpose(purpose, mode);
        metrics.requests.with_label_values(&[route, recipient, counted_purpose, outcome.class()]).inc();
        metrics.request_duration.with_label_values(&[route]).observe(total.as_secs_f64());
        // The level is debug, because anybody can cause a refusal. Metrics and the access log count them for operators.
        tracing::debug!(
            decision = %context.decision,
            trace = context.trace_id().map(tracing::field::display),
            route,
            recipient,
            purpose,
            outcome = outcome.name(),
            "exchange"
        );
        if let Some(trace) = &context.trace {
            trace.name(|| names(self.recipient, self.purpose, self.route, mode));
            trace.end(Some(status.as_u16()), outcome.name());
        }
        total
    }
}

/// Returns the names of an exchange for its trace.
pub(super) fn names(
    recipient: Option<&Arc<str>>,
    purpose: Option<&Arc<str>>,
    route: Option<&Route>,
    mode: ExchangeMode,
) -> ExchangeNames {
    ExchangeNames {
        recipient: recipient.cloned(),
        purpose: purpose.cloned(),
        route: route.map(|route| Arc::clone(&route.name)),
        pattern: route.map(|route| route.pattern.clone()),
        mode: Some(mode.name()),
    }
}

/// Returns a name as it is in labels and log lines.
fn label(name: Option<&Arc<str>>) -> &str {
    name.map_or("", |name| &**name)
}

/// Returns the name of a method that HTTP defines (RFC 9110, RFC 5789); `_OTHER` for any other one, as the semantic
/// conventions of OpenTelemetry have it. A name that a recipient invents is on no record.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_http_does_not_define_is_not_named() {
        assert_eq!(method_name(&Method::PATCH), "PATCH");
        assert_eq!(method_name(&Method::from_bytes(b"ADA-EXAMPLE").unwrap()), "_OTHER");
    }
}
