//! One exchange, read downwards: who asks, for what, where to, may it at all, what came back, what
//! of it leaves. Every branch that is not the last one ends in a refusal.

mod admit;
mod call;
mod refuse;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tower::Service;
use ulid::Ulid;

use self::admit::Admission;
use crate::decision::{Admitted, Decisions};
use crate::disclosure::{Entry, Intent, Outcome, Verdict};
use crate::exchange::Snapshot;
use crate::exchange::caller::Identity;
use crate::exchange::concurrency::ConcurrencyPermit;
use crate::exchange::cors::CrossOrigin;
use crate::exchange::flow::decode::{ContentCoding, Decoder};
use crate::exchange::grant::{CitedCase, Grant, WITHHELD};
use crate::exchange::media_type::MediaType;
use crate::exchange::pages::purposes::{self, Page};
use crate::exchange::purpose::Declaration;
use crate::exchange::route::{MatchedRoute, OnWithheld, Recipient, Route, Scrubbing, WithheldReport};
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};
use crate::exchange::{Refusal, Rejection, SharedState, cors, privacy_control, request, response as answer};
use crate::keys::random;
use crate::layer::body;
use crate::layer::body::{Pump, ResponseBody as AnswerBody};
use crate::layer::request_body::RequestBody;
use crate::layer::upstream::UpstreamFailure;
use crate::scrub::{Forms, Framing, Scrubber};
use crate::vocabulary::PurposeId;

/// The answer's header that names the purpose it was released for.
const PURPOSE_APPLIED: HeaderName = HeaderName::from_static("data-purpose-applied");

/// The answer's header that names whom people ask about what a customer entrusted (P-3b).
const CONTROLLER: HeaderName = HeaderName::from_static("data-purpose-controller");

/// An answer that hides whether something exists leaves at a multiple of this time from the request on: many times the
/// difference between a record that is withheld and one that is not there.
const TICK: Duration = Duration::from_millis(5);

/// What is known of an exchange so far: for the problem document, the metrics and the log.
pub(super) struct Exchange {
    gatehouse: Arc<SharedState>,
    snapshot: Arc<Snapshot>,
    decision: String,
    began: Instant,
    now: Timestamp,
    method: Method,
    recipient: Option<Arc<Recipient>>,
    identity: Identity,
    route: Option<Arc<Route>>,
    purpose: Option<PurposeId>,
    declared: Option<Declaration>,
    /// The case that the request cites, where it is in force for this recipient and purpose.
    case: Option<CitedCase>,
    /// When the credential stops to count.
    credential_ends: Option<Timestamp>,
    /// The one purpose that it is locked to.
    locked: Option<PurposeId>,
    /// Why an answer of the upstream does not leave.
    cause: Option<UpstreamFault>,
    /// Seconds until a recipient that asked too often, or that the upstream sends away, may ask again.
    come_back: Option<u32>,
    /// The methods that the path knows, for who asked with another.
    allow: String,
    /// What a refusal says in place of its usual detail.
    detail: Option<Cow<'static, str>>,
    /// Set where the route lists the origins whose pages may ask.
    cross_origin: Option<CrossOrigin>,
    /// The answer is many texts one after the other, and may have no end.
    endless: bool,
    /// What the recipient is told in a trailer of what was withheld.
    report: WithheldReport,
    /// What each thing that has to agree has said so far.
    factors: Vec<(&'static str, Verdict)>,
    /// Set as soon as the intent is on record, also while the upstream is still asked.
    entry: Mutex<Option<Entry>>,
    /// One of the exchanges that may be under way.
    place: Option<ConcurrencyPermit<Arc<str>>>,
    /// Whether the log has an intent of this exchange.
    on_record: bool,
}

impl Exchange {
    pub(super) fn new(gatehouse: Arc<SharedState>) -> Exchange {
        let snapshot = gatehouse.snapshot();
        let now = Timestamp::now();
        Exchange {
            gatehouse,
            snapshot,
            decision: decision_id(now),
            began: Instant::now(),
            now,
            method: Method::GET,
            recipient: None,
            identity: Identity::default(),
            route: None,
            purpose: None,
            declared: None,
            case: None,
            credential_ends: None,
            locked: None,
            cause: None,
            come_back: None,
            allow: String::new(),
            detail: None,
            cross_origin: None,
            endless: false,
            report: WithheldReport::None,
            factors: Vec::with_capacity(8),
            entry: Mutex::new(None),
            place: None,
            on_record: false,
        }
    }

    /// Runs the exchange. Whatever stops it becomes a problem document.
    pub(super) async fn run<S, B, U>(&mut self, upstream: S, incoming: Request<B>) -> Response<AnswerBody>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<U>, Error = UpstreamFailure>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        U: Body<Data = Bytes> + Send + 'static,
    {
        let (parts, body) = incoming.into_parts();
        self.cross_origin = CrossOrigin::of(&self.snapshot.routes, &parts);
        if cors::is_preflight(&parts) {
            return self.preflight(&parts, &body).unwrap_or_else(|refusal| self.refuse(refusal));
        }
        let attempt = self.attempt(upstream, parts, body).await;
        let mut response = match attempt {
            Ok(response) => response,
            Err(refusal) => {
                self.even_out(refusal).await;
                self.refuse(refusal)
            }
        };
        if let Some(controller) = self.controller() {
            response.headers_mut().insert(CONTROLLER, controller);
        }
        if let Some(cross_origin) = &self.cross_origin {
            cross_origin.mark(response.headers_mut());
        }
        response
    }

    /// Waits where a route hides what exists: judging a record takes longer than hearing that there is none, and whoever asks
    /// often enough could tell the two apart.
    async fn even_out(&self, refusal: Refusal) {
        let hides = self.route.as_ref().is_some_and(|route| route.hide_existence);
        if hides && self.on_record && refusal.hiding_existence() == Refusal::NotFound {
            tokio::time::sleep(until_tick(self.began.elapsed())).await;
        }
    }

    /// Answers a browser that asks whether a page may send a request. It has no credential to ask with, and what it learns
    /// stands in the route's configuration.
    fn preflight(&mut self, parts: &Parts, body: &impl Body) -> Result<Response<AnswerBody>, Refusal> {
        let listening = self.gatehouse.listener(&parts.extensions);
        request::screen_message(parts, &listening.authorities)
            .and_then(|()| request::screen_body(&parts.method, body))
            .map_err(|rejection| self.explained(rejection))?;
        let permitted = self.cross_origin.as_ref().and_then(CrossOrigin::permission);
        let permission = permitted.ok_or(Refusal::MethodNotAllowed)?;
        self.gatehouse.preflights.check().map_err(|_| Refusal::TooManyRequests)?;
        tracing::debug!(route = self.cross_origin.as_ref().map(CrossOrigin::route), "preflight");
        let mut response = Response::new(AnswerBody::empty());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        *response.headers_mut() = permission;
        Ok(response)
    }

    /// The refusal of a rejection, whose own words the problem document will have.
    fn explained(&mut self, rejection: Rejection) -> Refusal {
        self.detail = rejection.detail;
        rejection.refusal
    }

    async fn attempt<S, B, U>(
        &mut self,
        upstream: S,
        parts: Parts,
        body: B,
    ) -> Result<Response<AnswerBody>, Refusal>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<U>, Error = UpstreamFailure>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        U: Body<Data = Bytes> + Send + 'static,
    {
        self.method = parts.method.clone();
        let listening = self.gatehouse.listener(&parts.extensions);
        request::screen(&parts, &listening.authorities)
            .and_then(|()| request::screen_body(&parts.method, &body))
            .map_err(|rejection| self.explained(rejection))?;
        let caller = self.identify(&parts)?;
        if let Some(page) = Page::at(parts.uri.path()) {
            return Box::pin(self.page(page, &parts.method)).await;
        }
        let found = self.snapshot.routes.find(parts.uri.path(), &parts.method).inspect_err(|refusal| {
            if *refusal == Refusal::MethodNotAllowed {
                self.allow = self.snapshot.routes.allowed_methods(parts.uri.path());
            }
        })?;
        self.route = Some(Arc::clone(&found.route));
        let decisions = self.decisions(&found.route)?;
        let purpose = self.declared_purpose(&parts.headers, &caller, &decisions)?;
        // Whatever the route refuses, it refuses for a purpose: to a person's own request it says whom to ask (P-3b).
        request::screen_content(&parts, &body, found.route.delete_body, &found.route.request_headers)
            .map_err(|rejection| self.explained(rejection))?;
        let case = self.cited_case(purpose);
        let Admission { release: admitted, operation } =
            self.admit(&found.route, purpose, case.as_deref(), &decisions)?;
        admit::screen_query(&found.route, parts.uri.query(), &admitted)
            .map_err(|rejection| self.explained(rejection))?;
        self.gatehouse.ledger.healthy().then_some(()).ok_or(Refusal::LedgerUnavailable)?;
        // The upstream is called beside the intent: where none can be written it is not.
        self.gatehouse.log.healthy().then_some(()).ok_or(Refusal::AuditUnavailable)?;
        // Whatever is refused before takes no time and no memory that would have to be shared out.
        self.place = self.recipient.as_ref().map(|recipient| listening.begin(&recipient.name)).transpose()?;
        if privacy_control::is_set(&parts.headers) {
            Box::pin(privacy_control::record_signal(&self.identity, &decisions, &self.gatehouse)).await?;
        }

        let inbound = RequestBody::new(body, found.route.max_request_body, listening.request_timeout);
        let mut forwarded = self.forwarded(&parts, &found.route, inbound);
        let scrubbing = found.route.scrubbing.as_ref();
        let hangs_on_body =
            scrubbing.is_some_and(|scrubbing| scrubbing.is_all_or_nothing() || found.route.hide_existence);
        if hangs_on_body && parts.method == Method::HEAD {
            // Whether GET would be refused is to be seen from its answer only.
            *forwarded.method_mut() = Method::GET;
        }
        // The log's write hides behind the upstream's answer.
        let called = self.call(upstream, forwarded, &found, operation.as_ref());
        let (intended, answered) = tokio::join!(self.intend(), called);
        intended?;
        self.on_record = true;
        let (upstream_parts, upstream_body) =
            answered.map_err(|failure| self.not_called(failure))?.into_parts();

        let Some(scrubbing) = &found.route.scrubbing else {
            return self.pass_through(&upstream_parts, upstream_body, admitted).await;
        };
        let verdict = match answer::classify(&upstream_parts, &found.route.media_types) {
            Ok(verdict) => verdict,
            Err(cut) => {
                if matches!(cut.refusal, Refusal::UpstreamRefused(_)) {
                    self.come_back = answer::retry_after(&upstream_parts.headers, self.now);
                }
                body::drain(pin!(upstream_body)).await;
                return Err(self.cut(cut));
            }
        };
        let mut head = answer::head(&upstream_parts.headers, &found.route.answer_headers, self.now);
        self.report = self.wanted_report(&parts.headers);
        if self.report != WithheldReport::None {
            head.insert(TRAILER, HeaderValue::from(WITHHELD));
        }
        head.insert(VIA, request::via(upstream_parts.version));
        let mut response = self.respond(upstream_parts.status, head)?;
        let has_body = hangs_on_body || parts.method != Method::HEAD;
        match verdict {
            answer::ResponseKind::Json(media_type, coding) => {
                let name = media_type.value(&found.route.media_types);
                response.headers_mut().extend(name.map(|name| (CONTENT_TYPE, name)));
                if !has_body {
                    self.release(admitted)?.close();
                    return Ok(response.map(|()| AnswerBody::empty()));
                }
                self.endless = media_type.framing.may_be_endless();
                let release = self.release(admitted)?;
                let closing = (parts.method == Method::HEAD).then(|| Arc::clone(&release));
                let forms = self.forms();
                let framed = Framed {
                    framing: media_type.framing,
                    coding,
                    has_length: answer::has_length(&upstream_parts.headers, coding),
                };
                let scrubbed = scrubbed(upstream_body, framed, release, forms, &found, scrubbing);
                let body = scrubbed.await.map_err(|cut| self.cut(cut))?;
                if let Some(release) = closing {
                    release.close();
                    return Ok(response.map(|()| AnswerBody::empty()));
                }
                if body.is_end_stream() {
                    // Nothing has no media type.
                    response.headers_mut().remove(CONTENT_TYPE);
                }
                Ok(response.map(|()| body))
            }
            answer::ResponseKind::Unreadable(cause) => {
                let idle = found.route.upstream_idle_timeout;
                let is_empty = if has_body {
                    body::is_empty(upstream_body, idle).await.map_err(|cause| self.cut(cause.into()))?
                } else {
                    // A type says that there would be a body.
                    cause == UpstreamFault::NoMediaType
                };
                if !is_empty {
                    return Err(self.cut(cause.into()));
                }
                self.release(admitted)?.close();
                Ok(response.map(|()| AnswerBody::empty()))
            }
            answer::ResponseKind::Empty => {
                body::drain(pin!(upstream_body)).await;
                self.release(admitted)?.close();
                Ok(response.map(|()| AnswerBody::empty()))
            }
        }
    }

    /// Keeps why an answer of the upstream does not leave, for the log.
    fn cut(&mut self, cut: ResponseError) -> Refusal {
        self.cause = cut.cause;
        cut.refusal
    }

    /// What the recipient asks about itself; nothing of it is anybody's data.
    async fn page(&mut self, page: Page, method: &Method) -> Result<Response<AnswerBody>, Refusal> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            self.allow = "GET, HEAD".to_owned();
            return Err(Refusal::MethodNotAllowed);
        }
        let recipient = self.recipient.as_ref().ok_or(Refusal::CredentialMissing)?;
        let told = match page {
            Page::Purposes => {
                let facts = recipient.facts(self.today());
                if facts.suspended || self.gatehouse.ledger.is_suspended(&recipient.name) {
                    return Err(Refusal::RecipientSuspended);
                }
                purposes::purposes_page(&self.snapshot, recipient, facts, self.locked, self.now)
            }
            Page::Decision(id) => {
                let told = purposes::decision_page(&self.gatehouse, &self.snapshot, recipient, id).await?;
                Bytes::from(told.to_string())
            }
        };
        let mut response = Response::new(AnswerBody::whole(told));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// What the registration asks for, where the recipient can read a trailer (RFC 9110, 6.5.1).
    fn wanted_report(&self, headers: &HeaderMap) -> WithheldReport {
        let fields = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
        let mut codings = fields.flat_map(|value| value.split(','));
        let reads_trailers = codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
        let report = self.recipient.as_ref().map_or(WithheldReport::None, |recipient| recipient.report);
        if reads_trailers { report } else { WithheldReport::None }
    }

    fn decisions(&self, route: &Route) -> Result<Arc<Decisions>, Refusal> {
        let versions = self.snapshot.packs.get(route.pack);
        versions.and_then(|versions| versions.in_force(self.now)).cloned().ok_or(Refusal::NoRulePermits)
    }

    /// What forms are made with: pseudonyms are the recipient's own, and the epoch's.
    fn forms(&self) -> Forms {
        let epoch = self.gatehouse.pseudonyms.epoch(self.snapshot.pseudonym_epoch.as_deref());
        epoch.for_recipient(self.recipient.as_ref().map_or("", |recipient| &recipient.name))
    }

    /// The day of the exchange, UTC.
    fn today(&self) -> Date {
        self.now.to_zoned(TimeZone::UTC).date()
    }

    /// The exchange as the log knows it; `None` before there is a recipient and a route.
    fn intent(&self) -> Option<Intent<'_>> {
        let (recipient, route) = (self.recipient.as_ref()?, self.route.as_ref()?);
        let decisions = self.decisions(route).ok()?;
        let purposes = decisions.pack().vocabulary().purposes();
        let ledger = &self.gatehouse.ledger;
        let purpose = self.purpose.map(|purpose| purposes.name(purpose).to_owned());
        let declared = self.declared.as_ref();
        Some(Intent {
            decision: self.decision.clone(),
            time: self.now,
            recipient: Arc::clone(&recipient.name),
            actor: self.identity.actor.as_ref().map(|actor| ledger.fingerprints().actor(actor)),
            purpose: purpose.unwrap_or_default(),
            declared: declared.map(|declaration| declaration.purpose.as_str().into()),
            case: declared.and_then(|declaration| declaration.case.as_deref()).map(Into::into),
            route: Arc::clone(&route.name),
            operation: route.operation(&self.method),
            policy: Arc::clone(decisions.pack().revision()),
            position: ledger.position(),
            factors: self.factors.as_slice().into(),
        })
    }

    /// Records that this is about to happen, so that a crash in between is visible.
    async fn intend(&self) -> Result<(), Refusal> {
        let intent = self.intent().ok_or(Refusal::AuditUnavailable)?;
        let queued = self.gatehouse.log.intent(intent).await;
        let (entry, queued) = queued.map_err(|_| Refusal::AuditUnavailable)?;
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        queued.durable().await.map_err(|_| Refusal::AuditUnavailable)
    }

    fn take_entry(&self) -> Option<Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn release(&mut self, admitted: Arc<Admitted>) -> Result<Arc<Grant>, Refusal> {
        let (Some(recipient), Some(route), Some(purpose), Some(entry), Some(place)) =
            (&self.recipient, self.route.clone(), self.purpose, self.take_entry(), self.place.take())
        else {
            return Err(Refusal::AuditUnavailable);
        };
        let decisions = self.decisions(&route)?;
        let purpose = Arc::from(decisions.pack().vocabulary().purposes().name(purpose));
        let agreement = recipient.agreement_ends(self.today()).map(|end| (end, Refusal::AgreementNotInForce));
        let versions = self.snapshot.packs.get(route.pack);
        // Whoever comes back is decided by the next version.
        let version = versions.and_then(|versions| versions.changes_after(self.now));
        let version = version.map(|end| (end, Refusal::Overloaded));
        let credential = self.credential_ends.map(|end| (end, Refusal::CredentialInvalid));
        let ends = agreement.into_iter().chain(version).chain(credential).min_by_key(|(end, _)| *end);
        Ok(Arc::new(Grant::new(
            Arc::clone(&self.gatehouse),
            route,
            Arc::clone(&recipient.name),
            purpose,
            decisions,
            admitted,
            self.case.take(),
            entry,
            place,
            self.began,
            std::mem::take(&mut self.identity),
            ends,
            self.report,
            self.endless.then(|| Arc::clone(&self.snapshot)),
        )))
    }

    fn respond(&self, status: http::StatusCode, mut head: HeaderMap) -> Result<Response<()>, Refusal> {
        if let Some(applied) = self.purpose_value(Some(&self.decision)) {
            head.insert(PURPOSE_APPLIED, applied);
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = head;
        Ok(response)
    }

    /// `customer-support;decision="01J…"`.
    fn purpose_value(&self, decision: Option<&str>) -> Option<HeaderValue> {
        let decisions = self.decisions(self.route.as_ref()?).ok()?;
        let name = decisions.pack().vocabulary().purposes().name(self.purpose?);
        let Some(decision) = decision else { return HeaderValue::from_str(name).ok() };
        HeaderValue::try_from([name, ";decision=\"", decision, "\""].concat()).ok()
    }

    /// A route that is not personal: the body passes unread, under a new head and framed anew.
    async fn pass_through<U>(
        &mut self,
        upstream: &http::response::Parts,
        body: U,
        admitted: Arc<Admitted>,
    ) -> Result<Response<AnswerBody>, Refusal>
    where
        U: Body<Data = Bytes> + Send + 'static,
    {
        let route = self.route.clone().ok_or(Refusal::AuditUnavailable)?;
        if let Err(cause) = answer::screen(upstream) {
            body::drain(pin!(body)).await;
            return Err(self.cut(cause.into()));
        }
        let mut head = answer::unread_head(&upstream.headers);
        head.insert(VIA, request::via(upstream.version));
        // The one length that counts is the one by which the body was read.
        if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
            head.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let media_type = MediaType::read(&upstream.headers, &route.media_types);
        self.endless = media_type.is_ok_and(|media_type| media_type.framing.may_be_endless());
        let response = self.respond(upstream.status, head)?;
        let release = self.release(admitted)?;
        Ok(response.map(|()| AnswerBody::passing(body, release)))
    }
}

/// The recipient went away before there was an answer.
impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(entry) = self.take_entry() {
            self.gatehouse.log.close_detached(entry, Outcome::Aborted);
        }
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug)]
struct Framed {
    framing: Framing,
    coding: ContentCoding,
    /// Whether something says where it ends.
    has_length: bool,
}

/// Scrubs until something can leave; a body that is whole by then leaves with its length.
async fn scrubbed<U>(
    upstream: U,
    framed: Framed,
    release: Arc<Grant>,
    forms: Forms,
    found: &MatchedRoute,
    scrubbing: &Scrubbing,
) -> Result<AnswerBody, ResponseError>
where
    U: Body<Data = Bytes> + Send + 'static,
{
    let refused = |cut: ResponseError| {
        // As it is told: the recipient can read its own decisions.
        let hides = found.route.hide_existence;
        release.refused(if hides { cut.refusal.hiding_existence() } else { cut.refusal });
        cut
    };
    let Framed { framing, coding, has_length } = framed;
    let decoder = Decoder::new(coding).map_err(|_| refused(UpstreamFault::Undecodable(coding).into()))?;
    let parameters: Vec<(&str, &str)> =
        found.parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
    let plan = Arc::clone(&scrubbing.plan);
    let scrubber = Scrubber::new(plan, forms, &parameters, scrubbing.limits, framing);
    let scrubber = if has_length { scrubber } else { scrubber.of_unknown_length() };
    let mut pump = Pump::new(upstream, decoder, scrubber, Arc::clone(&release));
    let filled = match scrubbing.on_withheld {
        OnWithheld::Strip => pump.fill().await,
        OnWithheld::Deny { max_body } => pump.fill_whole(max_body).await,
    };
    if let Err(cut) = filled {
        // What broke or stalled is not waited for again.
        if !matches!(
            cut.cause,
            Some(UpstreamFault::Broken | UpstreamFault::IdleTimeout | UpstreamFault::BodyTimeout)
        ) {
            pump.drain().await;
        }
        return Err(refused(cut));
    }
    pump.into_answer().await.map_err(refused)
}

/// A ULID: it says when the exchange began. Without randomness only its time tells it from others.
fn decision_id(now: Timestamp) -> String {
    let millisecond = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Ulid::from_parts(millisecond, random::bits().unwrap_or(0)).to_string()
}

/// The time from here to the next multiple of [`TICK`].
fn until_tick(elapsed: Duration) -> Duration {
    let over = elapsed.as_nanos() % TICK.as_nanos();
    TICK.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_something_leaves_at_the_next_tick() {
        let micros = Duration::from_micros;
        assert_eq!(until_tick(micros(700)), micros(4300));
        assert_eq!(until_tick(micros(900)), micros(4100));
        assert_eq!(until_tick(micros(12_000)), micros(3000));
        assert_eq!(until_tick(TICK), TICK);
    }
}
