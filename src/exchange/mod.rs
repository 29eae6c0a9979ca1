//! One exchange: one request and its response, from the request head to the last byte that leaves.
//!
//! This module decides; it does not transport. It knows heads, bytes and time, but no tower service, no body trait and
//! no socket. A *driver* (today the tower layer in `crate::layer`) does the I/O and runs an exchange in four steps:
//!
//! 1. [`begin`] takes the request head. It returns the response of an exchange that ends here, or the head that goes on
//!    to the upstream together with a [`GrantedExchange`].
//! 2. Before the driver calls the upstream, it awaits [`GrantedExchange::record_intent`]. Right before the call, it
//!    calls [`GrantedExchange::authorize_call`].
//! 3. [`GrantedExchange::respond`] takes the upstream's response head and returns the head that leaves and the treatment
//!    of the body.
//! 4. A body that is scrubbed goes through a [`flow::BodyFlow`].
//!
//! The phases of an exchange are types. Each consumes the previous phase and owns the facts established so far;
//! [`ReceivedExchange::proceed`] runs them in order. A phase that refuses yields a [`RefusedExchange`], which becomes a
//! response in one place (`refuse`). Invariant: a response of the upstream leaves only through a grant, or a refusal
//! replaces it.

mod admission;
pub mod caller;
pub mod cancellation;
pub mod concurrency;
pub mod cors;
mod cross_origin;
mod declare;
mod disclosed;
mod ended;
mod error_body;
pub mod error_mapping;
mod exchange_head;
pub mod flow;
mod forward;
pub mod forwarded;
pub(crate) mod grant;
pub(crate) mod ledger_policy;
pub mod media_type;
pub mod memory;
pub(crate) mod observe;
pub mod pages;
pub mod path;
mod peer;
pub(crate) mod position;
pub(crate) mod privacy_control;
pub mod purpose;
mod record;
mod refusal;
mod refuse;
mod rejection;
pub mod request_head;
pub mod request_values;
mod respond;
pub mod response;
pub mod route;
mod screen;
mod shared;
mod snapshot;
pub(crate) mod stale;
mod transfer;
pub mod unclassified;
pub mod upstream_fault;
pub(crate) mod window;

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use governor::clock::Clock;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ulid::Ulid;

use self::admission::Admission;
use self::caller::{Caller, HolderKind, Identity, PeerCertificate};
use self::concurrency::{ConcurrencyPermit, LimitReached};
use self::cross_origin::CrossOrigin;
use self::exchange_head::Factors;
use self::grant::Grant;
use self::pages::notices::{self, FeedRequest};
use self::pages::purposes::{self, Page};
use self::purpose::Declaration;
use self::route::{MatchedRoute, Recipient, Route, WithheldReport};
use crate::decision::Decisions;
use crate::disclosure::record::ExchangeMode;
use crate::keys::{LoggedPerson, random};
use crate::ledger::Ledger;
use crate::traces::{ExchangeTrace, TraceId, TracedRequest};
use crate::vocabulary::{PurposeId, SubjectId};

pub use error_body::ErrorBody;
pub use forward::RequestBodyLimits;
pub use pages::cache::PurposePages;
pub use peer::{Peer, TrustedProxies};
pub use refusal::{Problem, Refusal};
pub use refuse::RefusedExchange;
pub use rejection::Rejection;
pub use respond::{BodyTreatment, GrantedExchange, ResponseHead};
#[cfg(test)]
pub(crate) use shared::ExchangeClock;
pub use shared::{IntentPolicy, ListenerContext, MAX_EXCHANGES, SharedState, exchanges_per_recipient};
pub use snapshot::{Snapshot, Versions};
pub use transfer::{DrainEnd, Transfer};

const CANCELLED: &str = "You cancelled too many requests whose answers were under way. Come back later.";
const OWN_EXCHANGES: &str =
    "You have as many requests under way as one recipient may have. Wait for answers before you send more.";
const OWN_MEMORY: &str = "Your answers under way hold as much memory as one recipient may use. Read them faster, or send fewer requests at a time.";

/// The next step of an exchange after its request head.
pub enum ExchangeStart {
    /// The exchange ends here: this is its response.
    Answered(Response<Bytes>),
    /// The upstream is called with this head.
    Forward(GrantedExchange, http::Request<()>),
}

/// Omits both heads: a path or a header can hold personal data.
impl Debug for ExchangeStart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeStart::Answered(response) => write!(f, "Answered({})", response.status()),
            ExchangeStart::Forward(granted, _) => f.debug_tuple("Forward").field(granted).finish(),
        }
    }
}

/// Begins an exchange with the head of a request. `has_body` is true if content follows the head.
pub async fn begin(shared: &Arc<SharedState>, parts: &Parts, has_body: bool) -> ExchangeStart {
    let received = ReceivedExchange::new(Arc::clone(shared), parts);
    let trace = received.context.trace.clone();
    let start = if cross_origin::is_preflight(parts) {
        ExchangeStart::Answered(received.answer_preflight(parts, has_body))
    } else {
        match received.proceed(parts, has_body).await {
            Ok(start) => start,
            Err(refused) => ExchangeStart::Answered(refused.into_response()),
        }
    };
    if let Some(trace) = trace {
        match &start {
            // A page of the gateway: a refusal has ended the trace already.
            ExchangeStart::Answered(response) => trace.end(Some(response.status().as_u16()), "answered"),
            ExchangeStart::Forward(..) => trace.decided(),
        }
    }
    start
}

/// Values that are constant for an exchange from its beginning.
#[derive(Clone)]
pub(crate) struct ExchangeContext {
    pub(crate) shared: Arc<SharedState>,
    pub(crate) snapshot: Arc<Snapshot>,
    listener: Arc<ListenerContext>,
    /// The id of the decision.
    decision: Ulid,
    began: Instant,
    now: Timestamp,
    method: Method,
    /// Present if the route lists the origins whose pages may send requests.
    cross_origin: Option<CrossOrigin>,
    /// `None` unless exchanges are traced.
    trace: Option<Arc<ExchangeTrace>>,
}

/// Prints the id of the decision alone.
impl Debug for ExchangeContext {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeContext")
            .field("decision", &format_args!("{}", self.decision))
            .finish_non_exhaustive()
    }
}

impl ExchangeContext {
    /// The day of the exchange, UTC.
    fn today(&self) -> Date {
        self.now.to_zoned(TimeZone::UTC).date()
    }

    /// Returns the id of the trace, if exchanges are traced.
    fn trace_id(&self) -> Option<TraceId> {
        self.trace.as_ref().map(|trace| trace.id())
    }

    /// Continues the caller's trace if the recipient belongs to the controller's own organisation: only its systems decide
    /// which of the gateway's traces are recorded, and see what belongs together.
    fn continue_trace(&self, recipient: &Recipient) {
        let Some(trace) = &self.trace else { return };
        if self.snapshot.words().is_own_organisation(recipient.in_agreement.kind) {
            trace.continue_caller();
        }
    }

    /// Takes a permit for one more exchange of a recipient.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] if the gateway or the recipient has as many exchanges under way, or holds as many bytes,
    /// as it may.
    fn acquire(&self, recipient: &Arc<str>) -> Result<ConcurrencyPermit<Arc<str>>, Rejection> {
        let overloaded = |own: &'static str| {
            move |limit| match limit {
                LimitReached::Total => Rejection::from(Refusal::Overloaded),
                LimitReached::PerHolder => Rejection::new(Refusal::Overloaded, own),
            }
        };
        self.shared.memory.admit(recipient).map_err(overloaded(OWN_MEMORY))?;
        self.listener.exchanges.acquire(recipient).map_err(overloaded(OWN_EXCHANGES))
    }

    /// Returns the version of the route's policy pack that is in force.
    fn decisions(&self, route: &Route) -> Option<Arc<Decisions>> {
        self.snapshot.packs.get(route.pack)?.in_force(self.now).cloned()
    }
}

/// The requester: a recipient, and the caller that its credentials identify.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    pub(crate) recipient: Arc<Recipient>,
    pub(crate) caller: Caller,
}

impl Requester {
    /// Returns the person or the account that the caller is; `None` if the recipient's callers are one recipient.
    fn holder(&self) -> Option<Holder<'_>> {
        let Identity { subject, controller, actor: _ } = &self.caller.identity;
        match self.recipient.holder {
            HolderKind::DataSubject => subject.as_ref().map(Holder::Person),
            HolderKind::CustomerAdministrator => controller.as_ref().map(Holder::Account),
            HolderKind::Other => None,
        }
    }

    /// True if something that belongs to a recipient is the caller's own. If each caller of the recipient is another person or
    /// account, `is_holders` says if it is that of this one; without a holder it is nobody's.
    fn is_own(&self, recipient: &str, is_holders: impl FnOnce(Holder<'_>) -> bool) -> bool {
        *self.recipient.name == *recipient
            && match self.recipient.holder {
                HolderKind::DataSubject | HolderKind::CustomerAdministrator => {
                    self.holder().is_some_and(is_holders)
                }
                HolderKind::Other => true,
            }
    }
}

/// The person or the account that a caller is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder<'i> {
    /// A data subject.
    Person(&'i SubjectId),
    /// The account of a controller.
    Account(&'i SubjectId),
}

impl Holder<'_> {
    /// Returns the holder as the disclosure log names it now.
    fn logged(self, ledger: &Ledger) -> LoggedPerson {
        match self {
            Holder::Person(id) => ledger.person(id).0,
            Holder::Account(id) => LoggedPerson::unknown(ledger.fingerprints().controller(id)),
        }
    }
}

/// The destination of a request: its route, and the version of the policy that decides on it.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) matched: MatchedRoute,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) mode: ExchangeMode,
}

/// The purpose of an exchange, and its declaration.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredPurpose {
    /// `None` in an observed exchange without a purpose that is known.
    pub(crate) id: Option<PurposeId>,
    /// `None` if the purpose is that of a locked credential.
    pub(crate) declaration: Option<Declaration>,
    /// The verdict of each factor so far.
    factors: Factors,
    /// The first reason for which enforcing would refuse the observed exchange.
    noted: Option<Refusal>,
}

/// Phase 1: a request head has been received.
#[derive(Debug)]
struct ReceivedExchange {
    context: ExchangeContext,
}

/// Phase 2: the request is unambiguous.
#[derive(Debug)]
struct ScreenedExchange {
    context: ExchangeContext,
}

/// Phase 3: the recipient is known and within its rate.
#[derive(Debug)]
struct IdentifiedExchange {
    context: ExchangeContext,
    requester: Requester,
}

/// Phase 4: the route is known.
#[derive(Debug)]
struct RoutedExchange {
    context: ExchangeContext,
    requester: Requester,
    routing: Routing,
}

/// Phase 5: the purpose is known, and the credential covers it.
#[derive(Debug)]
struct DeclaredExchange {
    context: ExchangeContext,
    requester: Requester,
    routing: Routing,
    purpose: DeclaredPurpose,
    /// Present if the request has waited for the ledger: the wait already counted as an exchange.
    permit: Option<ConcurrencyPermit<Arc<str>>>,
}

/// Phase 6: the upstream may be called. Everything that does not depend on a data subject is decided.
#[derive(Debug)]
struct AdmittedExchange {
    context: ExchangeContext,
    requester: Requester,
    routing: Routing,
    purpose: DeclaredPurpose,
    admission: Admission,
    /// The detail in which a trailer reports withheld fields to the recipient.
    report: WithheldReport,
    permit: ConcurrencyPermit<Arc<str>>,
}

impl ReceivedExchange {
    fn new(shared: Arc<SharedState>, parts: &Parts) -> ReceivedExchange {
        let snapshot = shared.snapshot();
        let (now, began) = (shared.clock.now(), Instant::now());
        let trace = shared.tracer().and_then(|tracer| {
            let scheme = parts.extensions.get::<Peer>().map(Peer::scheme);
            let method = ended::method_name(&parts.method);
            let request = TracedRequest { method, scheme, version: parts.version };
            ExchangeTrace::begin(tracer, &parts.headers, request, began, now)
        });
        let context = ExchangeContext {
            listener: shared.listener(&parts.extensions),
            cross_origin: CrossOrigin::of(&snapshot.routes, parts),
            decision: decision_id(now),
            began,
            now,
            method: parts.method.clone(),
            trace,
            shared,
            snapshot,
        };
        ReceivedExchange { context }
    }

    /// Runs all phases up to the call of the upstream.
    async fn proceed(self, parts: &Parts, has_body: bool) -> Result<ExchangeStart, Box<RefusedExchange>> {
        let identified = self.screen(parts, has_body)?.identify(parts)?;
        if let Some(page) = Page::at(parts.uri.path(), parts.uri.query()) {
            let answered = Box::pin(identified.answer_page(page, &parts.headers)).await;
            return Ok(ExchangeStart::Answered(answered?));
        }
        let declared = identified.route(parts)?.declare_purpose(&parts.headers)?;
        let declared = declared.reach_position(&parts.headers).await?;
        let admitted = declared.admit(parts, has_body)?.record_privacy_signal(&parts.headers).await?;
        let head = admitted.request_head(parts);
        let request = admitted.request_copy(parts, head.headers()).map(Arc::new);
        Ok(ExchangeStart::Forward(GrantedExchange::new(Arc::new(Grant::new(admitted)), request), head))
    }

    /// Refuses an ambiguous request.
    fn screen(self, parts: &Parts, has_body: bool) -> Result<ScreenedExchange, Box<RefusedExchange>> {
        let screened = screen::screen(parts, &self.context.listener.authorities)
            .and_then(|()| screen::screen_body(&parts.method, has_body));
        match screened {
            Ok(()) => Ok(ScreenedExchange { context: self.context }),
            Err(rejection) => Err(RefusedExchange::new(self.context, rejection)),
        }
    }

    /// Answers a preflight, in which a browser asks if a page may send a request. A preflight carries no credential,
    /// and its response discloses only the route's configuration.
    fn answer_preflight(mut self, parts: &Parts, has_body: bool) -> Response<Bytes> {
        let cross_origin = self.context.cross_origin.take();
        match self.permit_preflight(cross_origin, parts, has_body) {
            Ok(permission) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                *response.headers_mut() = permission;
                response
            }
            Err(rejection) => RefusedExchange::new(self.context, rejection).into_response(),
        }
    }

    fn permit_preflight(
        &self,
        cross_origin: Option<CrossOrigin>,
        parts: &Parts,
        has_body: bool,
    ) -> Result<HeaderMap, Rejection> {
        screen::screen_message(parts, &self.context.listener.authorities)?;
        screen::screen_body(&parts.method, has_body)?;
        let permission = cross_origin.as_ref().and_then(CrossOrigin::permission);
        let permission = permission.ok_or(Refusal::MethodNotAllowed)?;
        self.context.shared.preflights.check().map_err(|_| Refusal::TooManyRequests)?;
        tracing::debug!(route = cross_origin.as_ref().map(CrossOrigin::route), "preflight");
        Ok(permission)
    }
}

impl ScreenedExchange {
    /// Identifies the recipient by its credentials, and applies its rate limit.
    fn identify(self, parts: &Parts) -> Result<IdentifiedExchange, Box<RefusedExchange>> {
        let ScreenedExchange { context } = self;
        let requester = match find_requester(&context, parts) {
            Ok(requester) => requester,
            Err(refusal) => return Err(RefusedExchange::new(context, refusal)),
        };
        context.continue_trace(&requester.recipient);
        let identified = IdentifiedExchange { context, requester };
        let recipient = &identified.requester.recipient;
        if let Some(seconds) = seconds_until_permitted(recipient) {
            let rejection = Rejection::from(Refusal::TooManyRequests).retry_after(Some(seconds));
            return Err(identified.refuse(rejection));
        }
        if recipient.cancellations.is_exceeded(identified.context.began) {
            return Err(identified.refuse(Rejection::new(Refusal::TooManyRequests, CANCELLED)));
        }
        Ok(identified)
    }
}

fn find_requester(context: &ExchangeContext, parts: &Parts) -> Result<Requester, Refusal> {
    let peer = parts.extensions.get::<PeerCertificate>();
    let caller = context.snapshot.credentials.identify(&parts.headers, peer, context.now)?;
    let recipient = context.snapshot.recipients.get(caller.recipient).ok_or(Refusal::CredentialInvalid)?;
    Ok(Requester { recipient: Arc::clone(recipient), caller })
}

/// Counts one request against the recipient's rate. Returns the wait in seconds if it exceeds the rate.
fn seconds_until_permitted(recipient: &Recipient) -> Option<u32> {
    let rate = recipient.rate.as_ref()?;
    let early = rate.check().err()?;
    let wait = early.wait_time_from(rate.clock().now()).as_secs_f64().ceil();
    Some(wait.max(1.0) as u32)
}

impl IdentifiedExchange {
    fn refuse(self, rejection: impl Into<Rejection>) -> Box<RefusedExchange> {
        let mut refused = RefusedExchange::new(self.context, rejection);
        refused.requester = Some(self.requester);
        refused
    }

    /// Answers with a page about the recipient itself. The pages hold no personal data.
    async fn answer_page(
        self,
        page: Page,
        headers: &HeaderMap,
    ) -> Result<Response<Bytes>, Box<RefusedExchange>> {
        let content = match self.page_content(page, headers).await {
            Ok(content) => content,
            Err(rejection) => return Err(self.refuse(rejection)),
        };
        let mut response = Response::new(content);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(cross_origin) = &self.context.cross_origin {
            cross_origin.mark(headers);
        }
        Ok(response)
    }

    async fn page_content(&self, page: Page, headers: &HeaderMap) -> Result<Bytes, Rejection> {
        let IdentifiedExchange { context, requester } = self;
        let Requester { recipient, caller } = requester;
        let acknowledges = matches!(page, Page::Notices(FeedRequest::Acknowledge(_)));
        let is_permitted = match context.method {
            Method::GET | Method::HEAD => !acknowledges,
            Method::POST => acknowledges,
            _ => false,
        };
        if !is_permitted {
            let allowed = if acknowledges { "POST" } else { "GET, HEAD" };
            return Err(Rejection::from(Refusal::MethodNotAllowed).allow(allowed.to_owned()));
        }
        let _permit = position::reach(context, &recipient.name, headers).await?;
        match page {
            Page::Purposes => {
                let facts = recipient.facts(context.today());
                if facts.suspended || context.shared.ledger.is_suspended(&recipient.name) {
                    return Err(Refusal::RecipientSuspended.into());
                }
                let locked = caller.locked_purpose;
                Ok(purposes::purposes_page(&context.snapshot, recipient, facts, locked, context.now))
            }
            Page::Notices(request) => Ok(notices::answer(&context.shared, requester, request).await?),
            Page::Decision(id) => {
                let page = purposes::decision_page(&context.shared, &context.snapshot, requester, id).await?;
                Ok(Bytes::from(page.to_string()))
            }
            Page::Receipt(id) => Ok(purposes::receipt_page(&context.shared, requester, id).await?),
        }
    }

    /// Finds the route, and the version of its policy that is in force.
    fn route(self, parts: &Parts) -> Result<RoutedExchange, Box<RefusedExchange>> {
        let routes = &self.context.snapshot.routes;
        let matched = match routes.find(parts.uri.path(), &parts.method) {
            Ok(matched) => matched,
            Err(refusal @ Refusal::MethodNotAllowed) => {
                let rejection = Rejection::from(refusal).allow(routes.allowed_methods(parts.uri.path()));
                return Err(self.refuse(rejection));
            }
            Err(refusal) => return Err(self.refuse(refusal)),
        };
        let Some(decisions) = self.context.decisions(&matched.route) else {
            let mut refused = self.refuse(Refusal::NoRulePermits);
            refused.route = Some(matched.route);
            return Err(refused);
        };
        let IdentifiedExchange { context, requester } = self;
        let mode = observe::mode(&matched.route, &requester.recipient, &decisions, context.now);
        Ok(RoutedExchange { context, requester, routing: Routing { matched, decisions, mode } })
    }
}

impl RoutedExchange {
    fn refuse(self, rejection: impl Into<Rejection>) -> Box<RefusedExchange> {
        let RoutedExchange { context, requester, routing } = self;
        let mut refused = IdentifiedExchange { context, requester }.refuse(rejection);
        refused.route = Some(routing.matched.route);
        refused.decisions = Some(routing.decisions);
        refused
    }
}

impl DeclaredExchange {
    fn refuse(self, rejection: impl Into<Rejection>) -> Box<RefusedExchange> {
        let DeclaredExchange { context, requester, routing, purpose, permit: _ } = self;
        let mut refused = RoutedExchange { context, requester, routing }.refuse(rejection);
        refused.declaration = purpose.declaration;
        refused.purpose = purpose.id;
        refused.factors = purpose.factors;
        refused
    }

    /// Waits until this gateway knows the event that the request's `Ledger-Position` names.
    async fn reach_position(mut self, headers: &HeaderMap) -> Result<Self, Box<RefusedExchange>> {
        match position::reach(&self.context, &self.requester.recipient.name, headers).await {
            Ok(permit) => {
                self.permit = permit;
                Ok(self)
            }
            Err(rejection) => Err(self.refuse(rejection)),
        }
    }

    /// Decides everything that can be decided before the upstream is called and does not depend on a data subject.
    fn admit(mut self, parts: &Parts, has_body: bool) -> Result<AdmittedExchange, Box<RefusedExchange>> {
        match self.try_admit(parts, has_body) {
            Ok((admission, permit)) => {
                let report = self.requester.recipient.report;
                let is_enforced = self.routing.mode == ExchangeMode::Enforce;
                let is_reported = is_enforced && request_head::reads_trailers(&parts.headers);
                let report = if is_reported { report } else { WithheldReport::None };
                let DeclaredExchange { context, requester, routing, purpose, permit: _ } = self;
                Ok(AdmittedExchange { context, requester, routing, purpose, admission, report, permit })
            }
            Err(rejection) => Err(self.refuse(rejection)),
        }
    }

    fn try_admit(
        &mut self,
        parts: &Parts,
        has_body: bool,
    ) -> Result<(Admission, ConcurrencyPermit<Arc<str>>), Rejection> {
        let route = Arc::clone(&self.routing.matched.route);
        // The purpose is known by now, so the refusal of a person's own request can name the contact (P-3b).
        screen::screen_content(parts, has_body, route.delete_body, &route.request_headers)?;
        let admission = self.weigh(&route, parts.uri.query())?;
        let SharedState { ledger, log, .. } = &*self.context.shared;
        ledger.healthy().then_some(()).ok_or(Refusal::LedgerUnavailable)?;
        // Without its record nothing of the answer leaves. If the log is not healthy, the upstream is not called.
        log.healthy().then_some(()).ok_or(Refusal::AuditUnavailable)?;
        // The permit is taken last, so a refused request takes none.
        let permit = match self.permit.take() {
            Some(permit) => permit,
            None => self.context.acquire(&self.requester.recipient.name)?,
        };
        Ok((admission, permit))
    }
}

impl AdmittedExchange {
    fn refuse(self, rejection: impl Into<Rejection>) -> Box<RefusedExchange> {
        let AdmittedExchange { context, requester, routing, purpose, .. } = self;
        DeclaredExchange { context, requester, routing, purpose, permit: None }.refuse(rejection)
    }

    /// Records the objection that `Sec-GPC: 1` stands for; it is in force before the upstream is called.
    async fn record_privacy_signal(self, headers: &HeaderMap) -> Result<Self, Box<RefusedExchange>> {
        if !privacy_control::is_set(headers) {
            return Ok(self);
        }
        let identity = &self.requester.caller.identity;
        let recorded =
            privacy_control::record_signal(identity, &self.routing.decisions, &self.context.shared);
        match Box::pin(recorded).await {
            Ok(()) => Ok(self),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }
}

/// Returns a new ULID. Its first part is the time at which the exchange began. If no random bits are available, only
/// this time distinguishes it.
fn decision_id(now: Timestamp) -> Ulid {
    let millisecond = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Ulid::from_parts(millisecond, random::bits().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::RecipientFacts;
    use crate::exchange::route::{Notify, RecipientContact};
    use crate::vocabulary::{KindId, Namespaces, Safeguard};

    fn requester(holder: HolderKind, identity: Identity) -> Requester {
        let facts = Arc::new(RecipientFacts {
            name: "portal".into(),
            kind: KindId(0),
            country: None,
            region: None,
            purposes: Vec::new(),
            agreement: true,
            safeguard: Safeguard::None,
            suspended: false,
        });
        let recipient = Recipient {
            name: "portal".into(),
            holder,
            in_agreement: Arc::clone(&facts),
            without_agreement: facts,
            agreement: None,
            report: WithheldReport::None,
            rate: None,
            cancellations: cancellation::CancellationLimit::default(),
            notify: Notify::Manual,
            contact: RecipientContact { legal_name: None, address: None, contact: None },
        };
        Requester { recipient: Arc::new(recipient), caller: Caller { identity, ..Caller::default() } }
    }

    #[test]
    fn what_does_not_say_whose_it_is_is_the_own_of_no_person_and_no_account() {
        let id = |text: &str| Namespaces::default().reader(None).read(text).unwrap();
        let identity = Identity { subject: Some(id("p-1")), controller: Some(id("a-1")), actor: None };
        let person = requester(HolderKind::DataSubject, identity.clone());
        let account = requester(HolderKind::CustomerAdministrator, identity.clone());
        let nobody = requester(HolderKind::CustomerAdministrator, Identity::default());
        let whole = requester(HolderKind::Other, identity);
        assert!(matches!(person.holder(), Some(Holder::Person(id)) if id.id() == "p-1"));
        assert!(matches!(account.holder(), Some(Holder::Account(id)) if id.id() == "a-1"));
        assert!(nobody.holder().is_none() && whole.holder().is_none());
        for (requester, of_holder, of_nobody) in
            [(&person, true, false), (&account, true, false), (&nobody, false, false), (&whole, true, true)]
        {
            assert_eq!(requester.is_own("portal", |_| true), of_holder);
            assert_eq!(requester.is_own("portal", |_| false), of_nobody);
            assert!(!requester.is_own("another", |_| true));
        }
    }
}
