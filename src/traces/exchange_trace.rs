//! The trace of one exchange, from its head to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{HeaderMap, Version};
use jiff::Timestamp;

use super::Tracer;
use super::context::{CallerContext, SpanId, TRACEPARENT, TRACERESPONSE, TRACESTATE, TraceId, traceparent};
use crate::keys::random;

/// The ids of an exchange in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIdentity {
    /// The trace.
    pub trace: TraceId,
    /// The span of the exchange.
    pub span: SpanId,
    /// The span of the call of the upstream.
    pub upstream_span: SpanId,
    /// The caller's span, if the exchange continues the caller's trace.
    pub parent: Option<SpanId>,
    /// The caller's context, if the exchange has a trace of its own.
    pub link: Option<CallerContext>,
    /// True if the exchange is traced.
    pub sampled: bool,
}

/// The configured names of an exchange, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeNames {
    /// The recipient.
    pub recipient: Option<Arc<str>>,
    /// The accepted purpose.
    pub purpose: Option<Arc<str>>,
    /// The route.
    pub route: Option<Arc<str>>,
    /// The route's path with its parameters' names.
    pub pattern: Option<String>,
    /// `enforce` or `observe`.
    pub mode: Option<&'static str>,
}

/// The call of the upstream. Times are in nanoseconds since the start of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamCall {
    /// Start of the call.
    pub began: u64,
    /// Arrival of the response's head; `None` if there was none.
    pub ended: Option<u64>,
    /// The upstream's configured name.
    pub upstream: Arc<str>,
    /// Host and port of its address, if it has one address.
    pub server: Option<(Arc<str>, u16)>,
    /// The status of the response.
    pub status: Option<u16>,
}

/// The waits for the disclosure log. Times are in nanoseconds since the start of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogWaits {
    /// Start of the first one.
    pub began: u64,
    /// End of the last one.
    pub ended: u64,
    /// Their number.
    pub records: u32,
    /// Their total time, in nanoseconds.
    pub waited: u64,
}

/// An exchange that has ended, for the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedExchange {
    /// Its ids.
    pub identity: TraceIdentity,
    /// Its start, in nanoseconds since 1970.
    pub start: u64,
    /// Its duration, in nanoseconds.
    pub duration: u64,
    /// The method; `_OTHER` for one that HTTP does not define.
    pub method: &'static str,
    /// `http` or `https`, if it came through a listener.
    pub scheme: Option<&'static str>,
    /// The version of HTTP.
    pub version: &'static str,
    /// The status of the response, if one was begun.
    pub status: Option<u16>,
    /// `released`, `aborted`, `answered` for a page of the gateway itself, or the code of a refusal.
    pub outcome: &'static str,
    /// The configured names.
    pub names: ExchangeNames,
    /// End of the decision that depends on no record, in nanoseconds since the start; `None` if it lasted until the end.
    pub decided: Option<u64>,
    /// The call of the upstream, if there was one.
    pub call: Option<UpstreamCall>,
    /// The waits for the disclosure log, if there were any.
    pub log: Option<LogWaits>,
}

/// The properties of a request that its trace has.
#[derive(Clone, Copy, Debug)]
pub struct TracedRequest {
    /// The method; `_OTHER` for one that HTTP does not define.
    pub method: &'static str,
    /// `http` or `https`, if it came through a listener.
    pub scheme: Option<&'static str>,
    /// The version of HTTP.
    pub version: Version,
}

/// The trace of an exchange under way. If it is dropped before [`ExchangeTrace::end`], the exchange ended as aborted.
#[derive(Debug)]
pub struct ExchangeTrace {
    tracer: Arc<Tracer>,
    began: Instant,
    /// `None` once it is queued.
    open: Mutex<Option<FinishedExchange>>,
    identity: Mutex<TraceIdentity>,
}

impl ExchangeTrace {
    /// Begins a trace with a link to the caller's, if the request has one. `None` if the system has no random bits.
    pub fn begin(
        tracer: &Arc<Tracer>,
        headers: &HeaderMap,
        request: TracedRequest,
        began: Instant,
        now: Timestamp,
    ) -> Option<Arc<ExchangeTrace>> {
        let TracedRequest { method, scheme, version } = request;
        let (trace, spans) = (TraceId::of_bits(random::bits().ok()?), random::bits().ok()?);
        let identity = TraceIdentity {
            trace,
            span: SpanId::of_bits(spans as u64),
            upstream_span: SpanId::of_bits((spans >> 64) as u64),
            parent: None,
            link: CallerContext::of(headers),
            sampled: tracer.sampler().samples(trace),
        };
        let open = FinishedExchange {
            identity,
            start: u64::try_from(now.as_nanosecond()).unwrap_or(0),
            duration: 0,
            method,
            scheme,
            version: version_number(version),
            status: None,
            outcome: "",
            names: ExchangeNames::default(),
            decided: None,
            call: None,
            log: None,
        };
        let (identity, open) = (Mutex::new(identity), Mutex::new(Some(open)));
        Some(Arc::new(ExchangeTrace { tracer: Arc::clone(tracer), began, open, identity }))
    }

    /// Continues the caller's trace, if the request has one, instead of linking to it. Call it before the ids are used.
    pub fn continue_caller(&self) {
        let mut identity = self.lock_identity();
        if let Some(caller) = identity.link.take() {
            identity.trace = caller.trace;
            identity.parent = Some(caller.span);
            identity.sampled = self.tracer.sampler().samples_continued(caller.trace, caller.sampled);
        }
    }

    /// Returns the id of the trace.
    pub fn id(&self) -> TraceId {
        self.lock_identity().trace
    }

    /// Makes the context of a request to the upstream that of this trace. Members that other systems added to the caller's
    /// context stay if the trace is continued.
    pub fn propagate(&self, headers: &mut HeaderMap) {
        let TraceIdentity { trace, upstream_span, parent, sampled, .. } = *self.lock_identity();
        headers.remove(TRACEPARENT);
        if parent.is_none() {
            headers.remove(TRACESTATE);
        }
        headers.extend(traceparent(trace, upstream_span, sampled).map(|value| (TRACEPARENT, value)));
    }

    /// Removes the ids of this trace, which an upstream can send back, from a response, unless the caller continues it.
    pub fn hide(&self, headers: &mut HeaderMap) {
        if self.lock_identity().parent.is_none() {
            for name in [TRACEPARENT, TRACESTATE, TRACERESPONSE] {
                headers.remove(name);
            }
        }
    }

    /// Notes the names of the exchange, unless it has some.
    pub fn name(&self, names: impl FnOnce() -> ExchangeNames) {
        self.note(|open, _| {
            if open.names == ExchangeNames::default() {
                open.names = names();
            }
        });
    }

    /// Notes that everything is decided that depends on no record.
    pub fn decided(&self) {
        self.note(|open, time| open.decided = Some(time));
    }

    /// Notes that the call of the upstream begins.
    pub fn call_begins(&self, upstream: &Arc<str>, server: Option<&(Arc<str>, u16)>) {
        self.note(|open, began| {
            let (upstream, server) = (Arc::clone(upstream), server.cloned());
            open.call = Some(UpstreamCall { began, ended: None, upstream, server, status: None });
        });
    }

    /// Notes that the call has ended, with the status of the response if there is one.
    pub fn call_ends(&self, status: Option<u16>) {
        self.note(|open, time| {
            if let Some(call) = &mut open.call {
                (call.ended, call.status) = (Some(time), status);
            }
        });
    }

    /// Notes a wait for the disclosure log that began at this instant and is over.
    pub fn logged(&self, began: Instant) {
        self.note(|open, ended| {
            let began = nanoseconds(began.saturating_duration_since(self.began));
            let first = LogWaits { began, ended, records: 0, waited: 0 };
            let LogWaits { began: first, records, waited, .. } = open.log.unwrap_or(first);
            let waited = waited.saturating_add(ended.saturating_sub(began));
            open.log = Some(LogWaits { began: first, ended, records: records.saturating_add(1), waited });
        });
    }

    /// Ends the exchange and queues it for the exporter. Has no effect once it has ended.
    pub fn end(&self, status: Option<u16>, outcome: &'static str) {
        let Some(mut finished) = self.lock_open().take() else { return };
        finished.identity = *self.lock_identity();
        if finished.identity.sampled {
            (finished.status, finished.outcome) = (status, outcome);
            finished.duration = nanoseconds(self.began.elapsed());
            self.tracer.queue(finished);
        }
    }

    /// Changes what is known of an exchange that is traced; `note` gets the time since its start.
    fn note(&self, note: impl FnOnce(&mut FinishedExchange, u64)) {
        if !self.lock_identity().sampled {
            return;
        }
        if let Some(open) = &mut *self.lock_open() {
            note(open, nanoseconds(self.began.elapsed()));
        }
    }

    fn lock_open(&self) -> MutexGuard<'_, Option<FinishedExchange>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_identity(&self) -> MutexGuard<'_, TraceIdentity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExchangeTrace {
    fn drop(&mut self) {
        self.end(None, "aborted");
    }
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the version as the semantic conventions write it.
fn version_number(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use prometheus::IntCounter;

    use super::*;
    use crate::traces::{FinishedExchanges, QueueBounds, Sampler};

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    struct Traced {
        tracer: Arc<Tracer>,
        finished: FinishedExchanges,
        dropped: IntCounter,
    }

    fn traced(sampler: &str, queue: usize) -> Traced {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let sampler = Sampler::named(sampler, None).unwrap();
        let bounds = QueueBounds { capacity: queue, batch: queue };
        let (tracer, finished) = Tracer::new(sampler, bounds, dropped.clone());
        Traced { tracer, finished, dropped }
    }

    fn headers(traceparent: Option<&'static str>) -> HeaderMap {
        let field = traceparent.map(|value| (TRACEPARENT, HeaderValue::from_static(value)));
        let mut headers: HeaderMap = field.into_iter().collect();
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        headers
    }

    impl Traced {
        fn begin(&self, traceparent: Option<&'static str>) -> Arc<ExchangeTrace> {
            let request = TracedRequest { method: "GET", scheme: Some("https"), version: Version::HTTP_11 };
            let now = Timestamp::from_second(1).unwrap();
            ExchangeTrace::begin(&self.tracer, &headers(traceparent), request, Instant::now(), now).unwrap()
        }
    }

    fn propagated(trace: &ExchangeTrace) -> (String, bool) {
        let mut headers = headers(Some(CALLER));
        trace.propagate(&mut headers);
        (headers[TRACEPARENT].to_str().unwrap().to_owned(), headers.contains_key(TRACESTATE))
    }

    #[test]
    fn a_trace_links_to_the_callers_unless_it_continues_it() {
        let mut traced = traced("parentbased_always_on", 4);
        let linked = traced.begin(Some(CALLER));
        let (field, has_state) = propagated(&linked);
        assert!(!field.contains("0af7651916cd43dd8448eb211c80319c") && !has_state, "{field}");
        let mut answered = headers(Some(CALLER));
        linked.hide(&mut answered);
        assert!(answered.is_empty(), "an upstream sends the ids back");
        assert_eq!(field, format!("00-{}-{}-01", linked.id(), linked.lock_identity().upstream_span));
        linked.end(Some(200), "released");
        let FinishedExchange { identity, .. } = traced.finished.take().unwrap();
        assert_eq!(identity.link.unwrap().span.to_string(), "b7ad6b7169203331");
        assert_eq!(identity.parent, None);

        let continued = traced.begin(Some(CALLER));
        continued.continue_caller();
        let (field, has_state) = propagated(&continued);
        assert!(field.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && has_state, "{field}");
        let mut answered = headers(Some(CALLER));
        continued.hide(&mut answered);
        assert!(answered.contains_key(TRACEPARENT), "the caller's own");
        continued.end(Some(200), "released");
        let FinishedExchange { identity, .. } = traced.finished.take().unwrap();
        assert_eq!(
            (identity.link, identity.parent.unwrap().to_string().as_str()),
            (None, "b7ad6b7169203331")
        );
    }

    #[test]
    fn only_a_caller_whose_trace_is_continued_decides_what_is_recorded() {
        let mut traced = traced("parentbased_always_on", 4);
        traced.begin(Some(UNSAMPLED)).end(Some(200), "released");
        assert!(traced.finished.take().is_some(), "linked");
        let continued = traced.begin(Some(UNSAMPLED));
        continued.continue_caller();
        assert!(propagated(&continued).0.ends_with("-00"));
        continued.end(Some(200), "released");
        assert!(traced.finished.take().is_none());
        let alone = traced.begin(None);
        alone.continue_caller();
        alone.end(Some(200), "released");
        assert!(traced.finished.take().is_some(), "there is nothing to continue");
    }

    #[test]
    fn an_exchange_is_queued_once_and_a_full_queue_drops() {
        let mut traced = traced("always_on", 1);
        let trace = traced.begin(None);
        trace.end(Some(403), "no-rule-permits");
        trace.end(Some(200), "released");
        drop(trace);
        drop(traced.begin(None));
        assert_eq!(traced.dropped.get(), 1, "there is room for one");
        let finished = traced.finished.take().unwrap();
        assert_eq!((finished.status, finished.outcome), (Some(403), "no-rule-permits"));
        drop(traced.begin(None));
        let finished = traced.finished.take().unwrap();
        assert_eq!((finished.status, finished.outcome), (None, "aborted"), "nobody ended it");
    }

    #[test]
    fn an_exchange_that_nobody_ends_has_the_names_that_were_known() {
        let mut traced = traced("always_on", 1);
        let trace = traced.begin(None);
        let named = |name: &str| ExchangeNames { route: Some(name.into()), ..ExchangeNames::default() };
        trace.name(|| named("first"));
        trace.name(|| named("second"));
        drop(trace);
        assert_eq!(traced.finished.take().unwrap().names, named("first"));
    }

    #[test]
    fn waits_for_the_log_add_up() {
        let mut traced = traced("always_on", 1);
        let trace = traced.begin(None);
        trace.logged(Instant::now());
        trace.logged(Instant::now());
        trace.end(Some(200), "released");
        let log = traced.finished.take().unwrap().log.unwrap();
        assert_eq!(log.records, 2);
        assert!(log.began <= log.ended && log.waited <= log.ended - log.began, "{log:?}");
    }
}
