//! The response: judges the upstream's head, builds the head that leaves instead, and chooses the treatment of the
//! body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRAILER, VIA};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::flow::decode::{ContentCoding, Decoder};
use super::flow::{self, BodyFlow, Framed};
use super::grant::Grant;
use super::media_type::{self, MediaType};
use super::refuse::CONTROLLER;
use super::request_values::EchoedRequest;
use super::response::{self, BodyShape, ResponseKind};
use super::route::{Scrubbing, WithheldReport};
use super::transfer::{Transfer, WITHHELD};
use super::upstream_fault::{ResponseError, UpstreamFault};
use super::{Refusal, Rejection, observe, request_head};
use crate::scrub::Framing;

/// The response header that names the purpose of the release and the decision.
const PURPOSE_APPLIED: HeaderName = HeaderName::from_static("data-purpose-applied");

/// A response that hides existence leaves at a multiple of this time after the request. The time is many times the
/// difference in duration between a withheld record and one that does not exist.
const TICK: Duration = Duration::from_millis(5);

/// Phase 7: the exchange is granted. The upstream is called, and its response head is judged.
#[derive(Debug)]
pub struct GrantedExchange {
    pub(super) grant: Arc<Grant>,
    /// A copy of the request, if the route maps members of the upstream's errors.
    pub(super) request: Option<Arc<EchoedRequest>>,
}

/// The head that leaves, and the treatment of the body.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status and headers.
    pub head: Response<()>,
    /// The treatment of the upstream's body by the driver.
    pub body: BodyTreatment,
}

/// The treatment of the body of an upstream's response by the driver.
#[derive(Debug)]
pub enum BodyTreatment {
    /// No body leaves. The driver drains the upstream's body, then calls [`GrantedExchange::release_empty`].
    Empty,
    /// The body cannot be scrubbed. If it turns out to be empty, the treatment is that of [`BodyTreatment::Empty`];
    /// otherwise the exchange is refused for this fault.
    OnlyIfEmpty(UpstreamFault),
    /// The body is scrubbed, or an observed one read and handed out as it came. If this fails before anything has left, the driver abandons the flow
    /// ([`BodyFlow::refuse`]) and refuses the exchange. For a `HEAD` request nothing of the body leaves: the driver
    /// scrubs the first window, then closes the flow.
    Scrub(Box<BodyFlow>),
    /// The body passes unread. That it leaves is on record.
    PassThrough(Box<Transfer>),
}

impl GrantedExchange {
    pub(super) fn new(grant: Arc<Grant>, request: Option<Arc<EchoedRequest>>) -> GrantedExchange {
        GrantedExchange { grant, request }
    }

    /// Records that the exchange is about to happen, if its operation changes something or the log records every intent.
    /// Returns when the record is as durable as configured. An operation that is not permitted now gets no intent: its
    /// refusal is the only record.
    ///
    /// # Errors
    /// The [`Rejection`] to pass to [`GrantedExchange::refuse`]: the upstream is not called.
    pub async fn record_intent(&self) -> Result<(), Rejection> {
        if !self.grant.needs_intent() {
            return Ok(());
        }
        self.authorize_call()?;
        Ok(self.grant.record_intent().await?)
    }

    /// True if the request is `HEAD`: no body leaves.
    pub fn is_head_request(&self) -> bool {
        self.grant.context.method == Method::HEAD
    }

    /// Maximum wait for the next chunk of the upstream's body.
    pub fn idle_timeout(&self) -> Duration {
        self.grant.route().upstream_idle_timeout
    }

    /// Judges the head of the upstream's response. `length` is the exact length of the body, if it is known.
    ///
    /// # Errors
    /// The [`Rejection`] to pass to [`GrantedExchange::refuse`].
    pub async fn respond(&self, upstream: &Parts, length: Option<u64>) -> Result<ResponseHead, Rejection> {
        self.grant.may_leave(false)?;
        match &self.grant.route().scrubbing {
            Some(scrubbing) if self.grant.is_observed() => {
                self.respond_observed(upstream, length, scrubbing).await.map_err(Rejection::from)
            }
            Some(scrubbing) => self.respond_scrubbed(upstream, length, scrubbing),
            None => self.respond_unread(upstream, length).await.map_err(Rejection::from),
        }
    }

    /// Lets the response leave as it came. Its body is read only to record what is in it.
    async fn respond_observed(
        &self,
        upstream: &Parts,
        length: Option<u64>,
        scrubbing: &Scrubbing,
    ) -> Result<ResponseHead, ResponseError> {
        response::screen(upstream)?;
        let media_types = &self.grant.route().media_types;
        let classified = response::classify(upstream, media_types, shape(scrubbing, length));
        let (unread, framed) = match classified {
            Ok(ResponseKind::Json(media_type, coding)) if !self.is_head_request() => {
                let decoder = Decoder::new(coding).map_err(|_| UpstreamFault::Undecodable(coding))?;
                let has_length = response::has_length(upstream, coding);
                (None, Some(Framed { framing: media_type.framing, decoder, has_length }))
            }
            Ok(ResponseKind::Field(coding)) if !self.is_head_request() => (None, Some(framed_field(coding)?)),
            Ok(ResponseKind::Empty) => return Ok(self.respond_empty(upstream)),
            Ok(ResponseKind::Json(..) | ResponseKind::Field(_)) => (None, None),
            Ok(ResponseKind::Unreadable(UpstreamFault::NoMediaType)) if self.is_head_request() => {
                (None, None)
            }
            Ok(ResponseKind::Unreadable(_)) if length == Some(0) && !self.is_head_request() => (None, None),
            Ok(ResponseKind::Unreadable(fault)) => (Some(ResponseError::from(fault)), None),
            Err(error) => (Some(error), None),
        };
        let Some(framed) = framed else {
            if let Some(error) = unread {
                self.grant.notes(error.refusal);
                if let Some(fault) = error.fault {
                    let context = &self.grant.context;
                    self.grant.route().warn_observed(fault, context.decision, context.trace_id());
                }
            }
            return self.pass_unread(upstream, length, unread.is_some()).await;
        };
        let head = self.head_as_it_came(upstream);
        let body = self.scrub(framed, scrubbing);
        Ok(ResponseHead { head: self.finish_head(upstream.status, head), body })
    }

    /// Lets the head of an observed response without content leave. A body that comes all the same is not read, so it stays.
    fn respond_empty(&self, upstream: &Parts) -> ResponseHead {
        let head = self.head_as_it_came(upstream);
        ResponseHead { head: self.finish_head(upstream.status, head), body: BodyTreatment::Empty }
    }

    fn respond_scrubbed(
        &self,
        upstream: &Parts,
        length: Option<u64>,
        scrubbing: &Scrubbing,
    ) -> Result<ResponseHead, Rejection> {
        let Grant { context, report, .. } = &*self.grant;
        let route = self.grant.route();
        let classified = response::classify(upstream, &route.media_types, shape(scrubbing, length));
        let kind = classified.map_err(|error| {
            let is_status = matches!(error.refusal, Refusal::UpstreamRefused(_));
            let retry_after = is_status.then(|| response::retry_after(&upstream.headers, context.now));
            Rejection::from(error).retry_after(retry_after.flatten())
        })?;
        let mut head = response::head(&upstream.headers, &route.answer_headers, context.now);
        if *report != WithheldReport::None {
            head.insert(TRAILER, HeaderValue::from(WITHHELD));
        }
        head.insert(VIA, request_head::via(upstream.version));
        let is_read = route.depends_on_body() || !self.is_head_request();
        let body = match kind {
            ResponseKind::Json(media_type, coding) => {
                let name = media_type.value(&route.media_types);
                head.extend(name.map(|name| (CONTENT_TYPE, name)));
                if is_read {
                    let decoder = Decoder::new(coding).map_err(|_| UpstreamFault::Undecodable(coding))?;
                    let framed = Framed {
                        framing: media_type.framing,
                        decoder,
                        has_length: response::has_length(upstream, coding),
                    };
                    self.scrub(framed, scrubbing)
                } else {
                    BodyTreatment::Empty
                }
            }
            ResponseKind::Field(coding) => {
                flow::judge_field(&self.grant, scrubbing)?;
                head.insert(CONTENT_TYPE, media_type::of_field(&upstream.headers, &route.media_types)?);
                self.scrub(framed_field(coding)?, scrubbing)
            }
            ResponseKind::Unreadable(fault) if is_read => BodyTreatment::OnlyIfEmpty(fault),
            // A media type shows that the response to GET would have a body.
            ResponseKind::Unreadable(UpstreamFault::NoMediaType) | ResponseKind::Empty => {
                BodyTreatment::Empty
            }
            ResponseKind::Unreadable(fault) => return Err(fault.into()),
        };
        Ok(ResponseHead { head: self.finish_head(upstream.status, head), body })
    }

    fn scrub(&self, framed: Framed, scrubbing: &Scrubbing) -> BodyTreatment {
        let transfer = Transfer::new(Arc::clone(&self.grant), Some(framed.framing));
        BodyTreatment::Scrub(Box::new(BodyFlow::new(transfer, framed, scrubbing)))
    }

    /// Passes the body unread on a route that is not personal, under a new head and with new framing.
    async fn respond_unread(
        &self,
        upstream: &Parts,
        length: Option<u64>,
    ) -> Result<ResponseHead, ResponseError> {
        response::screen(upstream)?;
        self.pass_unread(upstream, length, false).await
    }

    /// Passes the body unread. `has_content` is true if an observed body would have to be read.
    async fn pass_unread(
        &self,
        upstream: &Parts,
        length: Option<u64>,
        has_content: bool,
    ) -> Result<ResponseHead, ResponseError> {
        let mut head = self.head_as_it_came(upstream);
        // The length is that of the body as it is read, and not the upstream's own field.
        if let Some(length) = length.filter(|length| *length > 0) {
            head.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let media_type = MediaType::read(&upstream.headers, &self.grant.route().media_types);
        let framing = media_type.ok().map(|media_type| media_type.framing);
        let has_content = has_content && !self.is_head_request() && length != Some(0);
        self.grant.record_unread(has_content).await?;
        let transfer = Transfer::new(Arc::clone(&self.grant), framing);
        let body = BodyTreatment::PassThrough(Box::new(transfer));
        Ok(ResponseHead { head: self.finish_head(upstream.status, head), body })
    }

    /// Builds the head of a response that leaves as it came: an observed one, or one of a route that is not personal. If an observed
    /// head can tell about a person, the next record says that it was not read.
    fn head_as_it_came(&self, upstream: &Parts) -> HeaderMap {
        let is_personal = self.grant.route().scrubbing.is_some();
        let mut head = match is_personal {
            true => response::observed_head(&upstream.headers),
            false => response::unread_head(&upstream.headers),
        };
        if is_personal && response::can_tell(&head) {
            self.grant.note_unread_head();
        }
        head.insert(VIA, request_head::via(upstream.version));
        head
    }

    /// Adds the fields of every response: purpose and decision, the controller's contact, and the origin that may read
    /// it.
    fn finish_head(&self, status: StatusCode, mut head: HeaderMap) -> Response<()> {
        self.grant.set_status(status);
        let Grant { context, purpose_name, .. } = &*self.grant;
        // `customer-support;decision="01J…"`.
        let mut buffer = [0; ulid::ULID_LEN];
        let decision = &*context.decision.array_to_str(&mut buffer);
        let purpose = observe::named_purpose(purpose_name, self.grant.mode());
        let observed = if self.grant.is_observed() { ";observed" } else { "" };
        let applied = [purpose, ";decision=\"", decision, "\"", observed].concat();
        if let Ok(applied) = HeaderValue::try_from(applied) {
            head.insert(PURPOSE_APPLIED, applied);
        }
        if let Some(controller) = self.grant.controller() {
            head.insert(CONTROLLER, controller);
        }
        if let Some(cross_origin) = &context.cross_origin {
            cross_origin.mark(&mut head);
        }
        if let Some(trace) = &context.trace {
            trace.hide(&mut head);
        }
        let mut response = Response::new(());
        (*response.status_mut(), *response.headers_mut()) = (status, head);
        response
    }

    /// Records that a response without a body leaves, and ends the exchange.
    ///
    /// # Errors
    /// The [`Refusal`] for which it does not leave.
    pub async fn release_empty(&self) -> Result<(), Refusal> {
        flow::judge_absence(&self.grant)?;
        self.grant.record_unread(false).await?;
        self.grant.hand_out_head(false).await?;
        Transfer::new(Arc::clone(&self.grant), None).close();
        Ok(())
    }

    /// Returns the recipient and the maximum size of the upstream's body if a refusal must not wait for its rest: the route hides
    /// existence and decides without the body, so the time for which the body comes would tell that there is one.
    pub fn refuses_at_once(&self) -> Option<(&Arc<str>, usize)> {
        let route = self.grant.route();
        let is_field = route.scrubbing.as_ref().is_some_and(|scrubbing| scrubbing.whole_body.is_some());
        let max = self.grant.max_deny_body().filter(|_| route.hide_existence && is_field)?;
        Some((self.grant.recipient(), max))
    }

    /// Refuses the exchange. If the route hides existence, waits for the next tick: judging a record takes longer than
    /// finding that there is none, and a recipient that repeats the request often enough could distinguish the two.
    pub async fn refuse(&self, rejection: Rejection) -> Response<Bytes> {
        let hides = self.grant.route().hide_existence;
        let is_hidden = hides && rejection.refusal.hiding_existence() == Refusal::NotFound;
        let refused = self.grant.refuse(rejection);
        if is_hidden {
            tokio::time::sleep(until_tick(self.grant.context.began.elapsed())).await;
        }
        refused.into_response()
    }
}

/// Returns the shape of the bodies of a route. `length` is the exact length of this one, if it is known.
fn shape(scrubbing: &Scrubbing, length: Option<u64>) -> BodyShape {
    match scrubbing.whole_body {
        Some(_) => BodyShape::Field { has_length: length.is_some() },
        None => BodyShape::Texts,
    }
}

/// Returns the framing of a body that is one field: it is one value, as a document is.
fn framed_field(coding: ContentCoding) -> Result<Framed, UpstreamFault> {
    let decoder = Decoder::new(coding).map_err(|_| UpstreamFault::Undecodable(coding))?;
    Ok(Framed { framing: Framing::Document, decoder, has_length: true })
}

/// Returns the time from `elapsed` to the next multiple of [`TICK`].
fn until_tick(elapsed: Duration) -> Duration {
    let over = elapsed.as_nanos() % TICK.as_nanos();
    TICK.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_refusal_leaves_at_the_next_tick() {
        let micros = Duration::from_micros;
        assert_eq!(until_tick(micros(700)), micros(4300));
        assert_eq!(until_tick(micros(900)), micros(4100));
        assert_eq!(until_tick(micros(12_000)), micros(3000));
        assert_eq!(until_tick(TICK), TICK);
    }
}
