//! The account of one response in transfer: bytes, waits, the report on withheld fields, and the outcome.
//!
//! Invariant: each granted response ends once, as released, aborted or refused. A transfer that is dropped before it
//! ends closes as aborted, because the recipient went away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus::IntCounter;

use super::Refusal;
use super::ended::EndedExchange;
use super::grant::Grant;
use super::pages::purposes::WithheldCounts;
use super::route::WithheldReport;
use super::upstream_fault::{ResponseError, UpstreamFault};
use super::window::WindowSummary;
use crate::disclosure::record::Outcome;
use crate::log_limit::LogLimit;
use crate::scrub::Framing;
use crate::vocabulary::Form;

/// The trailer that reports withheld records and fields.
pub(super) const WITHHELD: HeaderName = HeaderName::from_static("data-purpose-withheld");

/// The end of a response that may have no end, when the gateway drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainEnd {
    /// Server-sent events end regularly, after a whole event: their client connects again.
    Regular,
    /// Other texts are cut, because a regular end would tell the recipient that it has all of them. Those that the
    /// upstream sends without a pause can go on within the drain time.
    Cut,
}

/// One granted response in transfer to the recipient.
pub struct Transfer {
    pub(super) grant: Arc<Grant>,
    /// True if the response may have no end.
    endless: bool,
    /// The end of such a response when the gateway drains.
    at_drain: DrainEnd,
    withheld: WithheldCounts,
    /// Time spent waiting for the upstream.
    waited: Duration,
    /// Bytes that have left.
    sent: u64,
    /// These counters are resolved once, because bytes are counted for each chunk.
    bytes_in: IntCounter,
    bytes_out: IntCounter,
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("route", &self.grant.route().name).finish_non_exhaustive()
    }
}

impl Transfer {
    /// Begins the account of a response with a body in this framing.
    pub(super) fn new(grant: Arc<Grant>, framing: Option<Framing>) -> Transfer {
        let body_bytes = &grant.context.shared.metrics.body_bytes;
        let bytes = |direction| body_bytes.with_label_values(&[&*grant.route().name, direction]);
        let (bytes_in, bytes_out) = (bytes("in"), bytes("out"));
        Transfer {
            endless: framing.is_some_and(Framing::may_be_endless),
            at_drain: if framing == Some(Framing::Events) { DrainEnd::Regular } else { DrainEnd::Cut },
            withheld: WithheldCounts::default(),
            waited: Duration::ZERO,
            sent: 0,
            bytes_in,
            bytes_out,
            grant,
        }
    }

    /// Maximum wait for the next chunk of the upstream's body.
    pub fn idle_timeout(&self) -> Duration {
        self.grant.route().upstream_idle_timeout
    }

    /// True if the response may have no end.
    pub(super) fn is_endless(&self) -> bool {
        self.endless
    }

    /// Returns the end that the gateway's drain demands of the response, once it does. Never returns if the response has an
    /// end of its own.
    pub fn drain_end(&self) -> impl Future<Output = DrainEnd> + Send + use<> {
        let draining = self.endless.then(|| self.grant.context.shared.draining());
        let end = self.at_drain;
        async move {
            let Some(mut draining) = draining else { return std::future::pending().await };
            // An error cannot occur: the exchange holds the sender.
            let _ = draining.wait_for(|draining| *draining).await;
            end
        }
    }

    /// True if the response has to end now, regularly, because the gateway drains.
    pub fn ends_now(&self) -> bool {
        self.endless && self.at_drain == DrainEnd::Regular && *self.grant.context.shared.draining().borrow()
    }

    /// Checks that something may leave at this moment.
    ///
    /// # Errors
    /// The [`Refusal`] that cuts the response.
    pub fn may_leave(&self) -> Result<(), Refusal> {
        self.check_duration()?;
        self.grant.may_leave(self.endless)
    }

    /// Checks that the response is within its time. A response that may have no end has none.
    fn check_duration(&self) -> Result<(), Refusal> {
        let context = &self.grant.context;
        if self.endless || context.began.elapsed() <= context.listener.response_timeout {
            return Ok(());
        }
        // Before the first byte only the upstream can have taken so long.
        Err(if self.sent == 0 { Refusal::UpstreamTimeout } else { Refusal::RequestTimeout })
    }

    /// Lets the head of the response leave, unless nothing may leave at this moment.
    ///
    /// # Errors
    /// The [`Refusal`] for which it does not leave.
    pub async fn hand_out_head(&self) -> Result<(), Refusal> {
        self.check_duration()?;
        self.grant.hand_out_head(self.endless).await
    }

    /// Ends the exchange before anything of the response has left. The driver then answers with
    /// [`GrantedExchange::refuse`](super::GrantedExchange::refuse).
    pub fn refuse(&self, refusal: Refusal) {
        self.grant.end_refused(refusal);
    }

    /// Hands out a part of a body that passes unread, unless nothing may leave at this moment.
    ///
    /// # Errors
    /// The [`Refusal`] that cuts the response.
    pub async fn hand_out_unread(&self, part: Bytes) -> Result<Bytes, Refusal> {
        self.check_duration()?;
        self.grant.hand_out_as_it_came(self.endless, || part).await
    }

    /// Counts a wait for the upstream.
    ///
    /// # Errors
    /// [`UpstreamFault::BodyTimeout`] if all waits together are too long. A response that may have no end has no such
    /// bound.
    pub fn waited(&mut self, time: Duration) -> Result<(), UpstreamFault> {
        self.waited = self.waited.saturating_add(time);
        let is_too_long = !self.endless && self.waited > self.grant.route().upstream_body_timeout;
        if is_too_long { Err(UpstreamFault::BodyTimeout) } else { Ok(()) }
    }

    /// Counts bytes that came from the upstream.
    pub fn received(&mut self, bytes: usize) {
        self.bytes_in.inc_by(bytes as u64);
    }

    /// Counts bytes that have left.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.bytes_out.inc_by(bytes as u64);
    }

    /// True if the response ends in a trailer.
    pub(super) fn reports(&self) -> bool {
        self.grant.report != WithheldReport::None
    }

    /// Adds a window that has left to the report of what was withheld.
    pub(super) fn report(&mut self, window: &WindowSummary) {
        if !self.reports() {
            return;
        }
        self.withheld.add_records(window.withheld_records);
        for released in window.released.iter().filter(|released| released.release.form == Form::Removed) {
            self.withheld.add_fields(released.class, released.fields);
        }
    }

    /// The trailer that reports withheld records and fields.
    pub(super) fn trailer(&self) -> Option<HeaderMap> {
        let value = self.withheld.value(self.grant.report, self.grant.route().scrubbing.as_ref())?;
        Some(HeaderMap::from_iter([(WITHHELD, HeaderValue::try_from(value).ok()?)]))
    }

    /// Ends the exchange: everything has left.
    pub fn close(&mut self) {
        self.finish(Outcome::Released);
    }

    /// Ends the exchange: the response was cut while it was leaving.
    pub fn abort(&mut self, error: ResponseError) {
        static CUT: LogLimit = LogLimit::new();
        let (route, context) = (self.grant.route(), &self.grant.context);
        match error.fault {
            Some(fault) => {
                route.warn(fault, context.decision, context.trace_id());
            }
            None => {
                if let Some(count) = CUT.admit() {
                    tracing::warn!(
                        route = %route.name,
                        decision = %context.decision,
                        trace = context.trace_id().map(tracing::field::display),
                        code = error.refusal.code(),
                        count,
                        "answer cut"
                    );
                }
            }
        }
        self.finish(Outcome::Aborted);
    }

    /// Ends the exchange. False if it has ended.
    fn finish(&mut self, outcome: Outcome) -> bool {
        let grant = &self.grant;
        if !grant.end(outcome) {
            return false;
        }
        let ended = EndedExchange {
            context: &grant.context,
            recipient: Some(grant.recipient()),
            purpose: Some(&grant.purpose_name),
            route: Some(grant.route()),
            mode: grant.mode(),
            status: grant.status(),
            outcome,
            bytes: self.sent,
        };
        let overhead = ended.report().saturating_sub(self.waited);
        let of_route = grant.context.shared.metrics.overhead.with_label_values(&[&*grant.route().name]);
        of_route.observe(overhead.as_secs_f64());
        true
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if self.finish(Outcome::Aborted) {
            self.grant.count_cancellation();
        }
    }
}
