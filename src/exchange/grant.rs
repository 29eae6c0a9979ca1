//! The grant of one exchange, on which request and response rest until the end.
//!
//! It is made when the exchange is admitted. It holds the requester, the purpose, the route, the policy and the records of
//! the exchange on the log. Invariant: bytes leave only right after [`Grant::may_leave`] and, on a personal route,
//! [`Grant::hand_out`] permit this.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;

use super::concurrency::ConcurrencyPermit;
use super::exchange_head::exchange_head;
use super::ledger_policy::{LedgerPolicy, PermitSource, RouteTerms};
use super::record::{ExchangeRecord, Extent};
use super::refuse::RefusedExchange;
use super::route::{OnWithheld, Route, Scrubbing, WithheldReport};
use super::shared::IntentPolicy;
use super::stale::{Knowledge, WhileStale};
use super::window::WindowSummary;
use super::{
    AdmittedExchange, DeclaredPurpose, ExchangeContext, Refusal, Rejection, Requester, Routing, ended,
    observe,
};
use crate::circumstances::CountedExchange;
use crate::decision::{Admitted, ClassId, Permit, Reason};
use crate::disclosure::LogError;
use crate::disclosure::record::{ExchangeMode, Outcome};
use crate::keys::Fingerprint;
use crate::ledger::{Case, Epoch, Freshness, Ledger};
use crate::scrub::{Forms, Framing};
use crate::vocabulary::{BasisSet, Operation};

/// The case that an exchange rests on.
#[derive(Debug)]
pub(crate) struct CitedCase {
    pub(crate) id: Arc<str>,
    /// A change of the case invalidates decisions of the response, like a change of a person in it.
    pub(crate) fingerprint: Fingerprint,
}

impl CitedCase {
    /// Returns the case if it is in force at this moment.
    pub(crate) fn in_force(&self, ledger: &Ledger, now: Timestamp) -> Option<Arc<Case>> {
        ledger.case(&self.id).filter(|case| case.is_in_force(now))
    }
}

/// The permits of one exchange.
#[derive(Debug)]
enum GrantedPermits {
    /// Those of the policy.
    Admitted(Arc<Admitted>),
    /// Enforcing would refuse the observed exchange, so it would release nothing of any record.
    Refused(Permit),
}

/// The permission to release one response, and the facts that it was given for.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(super) context: ExchangeContext,
    pub(super) requester: Requester,
    pub(super) routing: Routing,
    purpose: DeclaredPurpose,
    /// The purpose's name.
    pub(super) purpose_name: Arc<str>,
    permits: GrantedPermits,
    /// The first reason for which enforcing would refuse the observed exchange.
    noted: OnceLock<Refusal>,
    /// The operation that may be carried out, if it is another than `disclose`.
    pub(super) operation: Option<Admitted>,
    pub(super) case: Option<CitedCase>,
    pub(super) report: WithheldReport,
    /// The records of the exchange on the log.
    record: ExchangeRecord,
    /// The status of the response, once its head is made.
    status: AtomicU16,
    /// Counts the exchange as under way.
    _permit: ConcurrencyPermit<Arc<str>>,
    /// The end of the agreement, the policy version or the credential, and the refusal from then on.
    ends: Option<(Timestamp, Refusal)>,
    /// The recipient in the ledger: its suspension invalidates decisions of the response, like a change of a person.
    recipient_fingerprint: Fingerprint,
    /// The releases that go on while the ledger is stale.
    pub(super) while_stale: WhileStale,
    /// True while the head of an observed response holds something that the log does not say yet.
    has_unread_head: AtomicBool,
    /// True once the log says of the response that some of it leaves while the ledger is stale.
    is_recorded_as_stale: AtomicBool,
}

impl Grant {
    pub(super) fn new(admitted: AdmittedExchange) -> Grant {
        let ends = ends(&admitted);
        let AdmittedExchange { context, requester, routing, mut purpose, admission, report, permit } =
            admitted;
        let factors = std::mem::take(&mut purpose.factors);
        let declaration = purpose.declaration.as_ref();
        let (route, decisions) = (&routing.matched.route, &routing.decisions);
        let mut head =
            exchange_head(&context, &requester, route, decisions, purpose.id, declaration, factors);
        head.stale = admission.knowledge != Knowledge::Current;
        head.would_refuse = purpose.noted.map(|refusal| logged_refusal(route, refusal).code());
        let classes = route.classes();
        let reason = purpose.noted.map_or(Reason::NoRule, observe::reason_of_fields);
        let withholding = || GrantedPermits::Refused(Permit::withholding(classes, reason));
        let noted = purpose.noted;
        let grant = Grant {
            purpose_name: Arc::clone(&head.purpose),
            permits: admission.release.map_or_else(withholding, GrantedPermits::Admitted),
            noted: OnceLock::new(),
            operation: admission.operation,
            case: admission.case,
            report,
            record: ExchangeRecord::new(Arc::clone(&context.shared), Arc::clone(&requester.recipient), head),
            status: AtomicU16::default(),
            _permit: permit,
            ends,
            while_stale: admission.while_stale,
            has_unread_head: AtomicBool::new(false),
            is_recorded_as_stale: AtomicBool::new(admission.knowledge != Knowledge::Current),
            recipient_fingerprint: context.shared.ledger.fingerprints().recipient(&requester.recipient.name),
            context,
            requester,
            routing,
            purpose,
        };
        if let Some(refusal) = noted {
            grant.note(refusal);
        }
        if let Some(trace) = &grant.context.trace {
            let (route, purpose) = (grant.route(), &grant.purpose_name);
            trace.name(|| ended::names(Some(grant.recipient()), Some(purpose), Some(route), grant.mode()));
        }
        grant
    }

    /// True if everything is decided and nothing is withheld.
    pub(super) fn is_observed(&self) -> bool {
        self.mode() == ExchangeMode::Observe
    }

    pub(super) fn mode(&self) -> ExchangeMode {
        self.routing.mode
    }

    /// Notes that enforcing would refuse the exchange for this reason. Returns false if the exchange is refused for it.
    pub(super) fn notes(&self, refusal: Refusal) -> bool {
        let is_noted = self.is_observed() && observe::is_noted(refusal);
        if is_noted {
            self.note(refusal);
        }
        is_noted
    }

    /// Notes the first reason for which enforcing would refuse the exchange, and counts it.
    fn note(&self, refusal: Refusal) {
        if self.noted.set(refusal).is_ok() {
            let labels = [&*self.route().name, observe::WHOLE_EXCHANGE, observe::reason_of_refusal(refusal)];
            self.context.shared.metrics.would_withhold.with_label_values(&labels).inc();
        }
    }

    /// The first reason for which enforcing would refuse the observed exchange.
    pub(super) fn noted(&self) -> Option<Refusal> {
        self.noted.get().copied()
    }

    /// The code on record with which enforcing would refuse the exchange.
    pub(super) fn would_refuse(&self) -> Option<&'static str> {
        self.noted().map(|refusal| logged_refusal(self.route(), refusal).code())
    }

    /// Says that the head of the observed response holds something that is not read.
    pub(super) fn note_unread_head(&self) {
        self.has_unread_head.store(true, Ordering::Relaxed);
    }

    /// True if the head of the observed response holds something that the log does not say yet.
    pub(super) fn has_unread_head(&self) -> bool {
        self.has_unread_head.load(Ordering::Relaxed)
    }

    /// Does the same; the log says it from now on.
    pub(super) fn takes_unread_head(&self) -> bool {
        self.has_unread_head.swap(false, Ordering::Relaxed)
    }

    /// Notes the status of the response.
    pub(super) fn set_status(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// The status of the response. Before its head is made, that of a response that does not come.
    pub(super) fn status(&self) -> StatusCode {
        let status = StatusCode::from_u16(self.status.load(Ordering::Relaxed));
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn route(&self) -> &Route {
        &self.routing.matched.route
    }

    /// The recipient's configured name.
    pub(super) fn recipient(&self) -> &Arc<str> {
        &self.requester.recipient.name
    }

    /// Counts the exchange as cancelled by the recipient.
    pub(super) fn count_cancellation(&self) {
        self.requester.recipient.cancellations.count();
    }

    /// The forms that fields leave in. Pseudonyms differ by recipient and by epoch of the pseudonyms.
    pub(super) fn forms(&self) -> Forms {
        let ExchangeContext { shared, snapshot, .. } = &self.context;
        shared.pseudonyms.epoch(snapshot.pseudonym_epoch.as_deref()).for_recipient(self.recipient())
    }

    /// Returns the knowledge of the ledger on which something may leave at this moment.
    ///
    /// # Errors
    /// [`Refusal::LedgerStale`]: nothing may leave.
    pub(super) fn knowledge(&self) -> Result<Knowledge, Refusal> {
        self.knowledge_at(self.context.shared.ledger.freshness())
    }

    /// Returns the knowledge at this freshness. An observed exchange goes on with what was last known, on which nothing would
    /// be released.
    fn knowledge_at(&self, freshness: Freshness) -> Result<Knowledge, Refusal> {
        match self.while_stale.knowledge(freshness) {
            // A ledger that was never known does not say who is suspended.
            Err(refusal) if freshness != Freshness::Unknown && self.notes(refusal) => {
                Ok(Knowledge::LastKnown(BasisSet::default()))
            }
            known => known,
        }
    }

    /// Returns the policy that judges the next chunk.
    ///
    /// # Errors
    /// [`Refusal::LedgerStale`] if nothing may leave at this moment; [`Refusal::UpstreamUnreadable`] on a route that is
    /// not personal.
    pub(super) fn policy(&self, now: Timestamp) -> Result<LedgerPolicy<'_>, Refusal> {
        let scrubbing = self.route().scrubbing.as_ref().ok_or(Refusal::UpstreamUnreadable)?;
        // Read before the ledger: an event that arrives afterwards changes the epoch.
        let knowledge = self.knowledge()?;
        let ledger = &self.context.shared.ledger;
        // Looked up for each chunk: a case can end while the response is in transfer.
        let case = self.case.as_ref().and_then(|cited| cited.in_force(ledger, now));
        let terms = RouteTerms {
            unknown_subject: scrubbing.unknown_subject,
            personal: &scrubbing.personal,
            knowledge,
            observed: self.is_observed(),
        };
        let source = match &self.permits {
            GrantedPermits::Admitted(admitted) => PermitSource::Admitted(admitted),
            GrantedPermits::Refused(permit) => PermitSource::Refused(permit),
        };
        let identity = &self.requester.caller.identity;
        Ok(LedgerPolicy::new(ledger, source, identity, terms, case, now))
    }

    /// The epoch of the ledger, which is read before records are judged.
    pub(super) fn epoch(&self) -> Epoch {
        self.context.shared.ledger.epoch()
    }

    /// Runs `leave` unless the state of somebody in this window has changed since the epoch (a withdrawal, an
    /// objection, …), a consent or the cited case has ended by itself, or the ledger has become stale. No such change is
    /// acknowledged while `leave` runs.
    pub(super) fn hand_out<T>(
        &self,
        since: Epoch,
        window: &WindowSummary,
        leave: impl FnOnce() -> T,
    ) -> Option<T> {
        if window.valid_until.is_some_and(|end| end <= Timestamp::now()) {
            return None;
        }
        let case = self.case.iter().map(|case| &case.fingerprint);
        let subjects = window.subjects.iter().map(|person| &person.fingerprint);
        let concerned = subjects.chain(&window.controllers).chain(case);
        let concerned = concerned.chain([&self.recipient_fingerprint]);
        let accepts = |freshness| match window.current {
            true => freshness == Freshness::Current,
            false => self.while_stale.knowledge(freshness).is_ok(),
        };
        self.context.shared.ledger.hand_out(since, concerned, accepts, leave)
    }

    /// True if the log has to have an intent before the upstream sees the request.
    pub(super) fn needs_intent(&self) -> bool {
        match self.context.shared.intents {
            IntentPolicy::Always => true,
            IntentPolicy::Changes => self.route().operation(&self.context.method) != Operation::Disclose,
        }
    }

    /// Records that the exchange is about to happen, so that a crash in between is visible.
    ///
    /// # Errors
    /// [`Refusal::AuditUnavailable`]: the upstream may not see the request.
    pub(super) async fn record_intent(&self) -> Result<(), Refusal> {
        self.observe_append(self.record.record_intent(self.would_refuse())).await
    }

    /// Records an answer of which no content is read: an empty one, or one that passes unread (`has_content`).
    ///
    /// # Errors
    /// [`Refusal::AuditUnavailable`] or [`Refusal::LedgerStale`]: the answer may not leave.
    pub(super) async fn record_unread(&self, has_content: bool) -> Result<(), Refusal> {
        let stale = self.knowledge()? != Knowledge::Current;
        let is_said = !stale || self.is_recorded_as_stale.load(Ordering::Relaxed);
        // Enforcing may refuse an observed exchange for a reason that the intent does not have yet.
        if self.record.is_begun() && is_said && !self.is_observed() {
            // The closing record says that it is released.
            return Ok(());
        }
        let unread = has_content && self.is_observed() && self.route().scrubbing.is_some();
        self.record(&WindowSummary { stale, unread, ..WindowSummary::default() }, Extent::Whole).await
    }

    /// Runs `leave`, which hands out a part of a body that passes unread or is observed, unless nothing may leave at this
    /// moment. The state of the people in it does not matter. That it leaves while the ledger is stale is on record first.
    ///
    /// # Errors
    /// The [`Refusal`] that cuts the response.
    pub(super) async fn hand_out_as_it_came<T>(
        &self,
        endless: bool,
        leave: impl FnOnce() -> T,
    ) -> Result<T, Refusal> {
        let since = self.epoch();
        self.may_leave(endless)?;
        if self.knowledge()? != Knowledge::Current && !self.is_recorded_as_stale.load(Ordering::Relaxed) {
            self.record(&WindowSummary { stale: true, ..WindowSummary::default() }, Extent::Part).await?;
        }
        let is_recorded = self.is_recorded_as_stale.load(Ordering::Relaxed);
        let accepts = |freshness| match self.knowledge_at(freshness) {
            Ok(Knowledge::Current) => true,
            Ok(Knowledge::LastKnown(_)) => is_recorded,
            Err(_) => false,
        };
        let ledger = &self.context.shared.ledger;
        let left = ledger.hand_out(since, [&self.recipient_fingerprint], accepts, leave);
        // The ledger changed within this call: the reason is that it has become stale or suspended the recipient.
        left.ok_or_else(|| self.may_leave(endless).err().unwrap_or(Refusal::LedgerStale))
    }

    /// Lets the head of a response leave, unless nothing may leave at this moment. Of an observed response, and on a route that is
    /// not personal, the head holds whatever the upstream wrote, so it leaves as a part of the body does.
    ///
    /// # Errors
    /// The [`Refusal`] for which it does not leave.
    pub(super) async fn hand_out_head(&self, endless: bool) -> Result<(), Refusal> {
        if self.route().scrubbing.is_some() && !self.is_observed() {
            return self.may_leave(endless);
        }
        self.hand_out_as_it_came(endless, || ()).await
    }

    /// Checks that something may leave at this moment: the ledger works and is current enough, the recipient is not suspended, and its
    /// agreement, its credential and the policy still hold. A reload ends a response that may have no end (`endless`).
    ///
    /// # Errors
    /// The [`Refusal`] that cuts the response.
    pub(super) fn may_leave(&self, endless: bool) -> Result<(), Refusal> {
        let ExchangeContext { shared, snapshot, .. } = &self.context;
        if !shared.ledger.healthy() {
            return Err(Refusal::LedgerUnavailable);
        }
        self.knowledge()?;
        if shared.ledger.is_suspended(self.recipient()) {
            return Err(Refusal::RecipientSuspended);
        }
        if endless && !Arc::ptr_eq(snapshot, &shared.snapshot()) {
            return Err(Refusal::Overloaded);
        }
        self.check_terms()
    }

    /// Checks that the terms still hold on which the exchange was admitted: the agreement, the credential and the policy, or
    /// the observation of the route.
    ///
    /// # Errors
    /// The [`Refusal`] from the end of the first of them.
    pub(super) fn check_terms(&self) -> Result<(), Refusal> {
        let ExchangeContext { shared, snapshot, .. } = &self.context;
        let now = shared.clock.now();
        if let Some((_, refusal)) = self.ends.filter(|(end, _)| *end <= now) {
            return Err(refusal);
        }
        if !self.is_observed() {
            return Ok(());
        }
        let present = shared.snapshot();
        let is_same = Arc::ptr_eq(snapshot, &present);
        let is_observed = is_same || observe::still_observes(&present, self.route(), self.recipient(), now);
        if is_observed { Ok(()) } else { Err(Refusal::Overloaded) }
    }

    /// True if something about a subject was withheld that a rule could have released.
    pub(super) fn withholds(&self, window: &WindowSummary) -> bool {
        // A refused exchange is not judged by its people.
        let GrantedPermits::Admitted(admitted) = &self.permits else { return false };
        window.released.iter().any(|released| {
            let class = u16::try_from(released.class).map(ClassId).ok();
            class.is_some_and(|class| admitted.withholds(class, released.release.form))
        })
    }

    /// Notes the refusal of an observed response that enforcing would withhold as a whole because of this window.
    pub(super) fn note_withheld(&self, window: &WindowSummary) {
        if self.is_all_or_nothing() && self.withholds(window) {
            self.notes(self.denial(window));
        }
    }

    /// Returns the refusal of a response that is withheld as a whole because of this window. On a route that hides
    /// existence it does not depend on the ledger: only a record that exists can be withheld as stale.
    pub(super) fn denial(&self, window: &WindowSummary) -> Refusal {
        let is_stale = window.withholds_as_stale() && !self.route().hide_existence;
        if is_stale { Refusal::LedgerStale } else { Refusal::SubjectWithheld }
    }

    /// Maximum bytes of a body that enforcing would hold whole; `None` on a route that releases in part.
    pub(super) fn max_deny_body(&self) -> Option<usize> {
        match self.route().scrubbing.as_ref()?.on_withheld {
            OnWithheld::Deny { max_body } => Some(max_body),
            OnWithheld::Strip => None,
        }
    }

    /// True if a response with a withheld field is withheld as a whole.
    pub(super) fn is_all_or_nothing(&self) -> bool {
        self.route().scrubbing.as_ref().is_some_and(Scrubbing::is_all_or_nothing)
    }

    /// Records a window on the disclosure log. Returns when the record is as durable as configured.
    ///
    /// # Errors
    /// [`Refusal::AuditUnavailable`]: the window may not leave.
    pub(super) async fn record(&self, window: &WindowSummary, extent: Extent) -> Result<(), Refusal> {
        self.count(window);
        self.observe_append(self.record.disclose(self.disclosure(window), extent)).await?;
        self.is_recorded_as_stale.fetch_or(window.stale, Ordering::Relaxed);
        Ok(())
    }

    /// Counts the circumstances of the records of a window.
    pub(super) fn count_circumstances(&self, window: &WindowSummary) {
        let ExchangeContext { shared, snapshot, method, .. } = &self.context;
        let admitted = match &self.permits {
            GrantedPermits::Admitted(admitted) => Some(admitted),
            GrantedPermits::Refused(_) => None,
        };
        let exchange = CountedExchange {
            admitted,
            route: &self.route().name,
            operation: self.route().operation(method),
            exporter_region: &snapshot.exporter_region,
        };
        shared.circumstances.count(exchange, &window.circumstances);
    }

    /// Records that less leaves than is on record, if one record says that the whole answer is released.
    pub(super) fn record_reduction(&self) {
        self.record.record_reduction();
    }

    /// True while the log has no record of the exchange.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.record.is_unrecorded()
    }

    /// Waits for an append, and observes its duration.
    async fn observe_append(
        &self,
        appended: impl Future<Output = Result<(), LogError>>,
    ) -> Result<(), Refusal> {
        let began = Instant::now();
        let appended = appended.await;
        self.context.shared.metrics.audit_append.observe(began.elapsed().as_secs_f64());
        if let Some(trace) = &self.context.trace {
            trace.logged(began);
        }
        appended.map_err(|_| Refusal::AuditUnavailable)
    }

    /// Records how the exchange ended. False if it had ended before.
    pub(super) fn end(&self, outcome: Outcome) -> bool {
        self.record.end(outcome)
    }

    /// Records that the exchange is refused, unless it has ended.
    pub(super) fn end_refused(&self, refusal: Refusal) {
        self.record.end(Outcome::Refused(logged_refusal(self.route(), refusal).code()));
    }

    /// Refuses the exchange. Nothing of the response has left.
    pub(super) fn refuse(&self, rejection: Rejection) -> Box<RefusedExchange> {
        self.end_refused(rejection.refusal);
        let mut refused = RefusedExchange::new(self.context.clone(), rejection);
        refused.requester = Some(self.requester.clone());
        refused.route = Some(Arc::clone(&self.routing.matched.route));
        refused.decisions = Some(Arc::clone(&self.routing.decisions));
        let DeclaredPurpose { id, declaration, .. } = &self.purpose;
        (refused.purpose, refused.declaration) = (*id, declaration.clone());
        refused.is_recorded = true;
        refused
    }

    /// The value of the header with the contact for entrusted data, if the response has this header.
    pub(super) fn controller(&self) -> Option<http::HeaderValue> {
        super::refuse::controller(self.route(), &self.routing.decisions, self.purpose.id)
    }

    /// Reads the beginning of the answer again for the paths that nothing classifies.
    pub(super) fn survey_unclassified<'b>(
        &self,
        framing: Framing,
        input: impl Iterator<Item = &'b Bytes> + Clone,
    ) {
        let route = self.route();
        let Some(scrubbing) = &route.scrubbing else { return };
        route.unclassified.survey(&scrubbing.plan, framing, input, self.context.shared.clock.now());
    }
}

/// Returns the refusal that the log gets: that which the recipient receives, because the recipient can read its own
/// decisions.
fn logged_refusal(route: &Route, refusal: Refusal) -> Refusal {
    if route.hide_existence { refusal.hiding_existence() } else { refusal }
}

/// Returns the instant at which the agreement, the version of the policy or the credential ends, whichever is first, and
/// the refusal from then on. An observed exchange ends with the observation instead of the agreement or the policy.
fn ends(admitted: &AdmittedExchange) -> Option<(Timestamp, Refusal)> {
    let AdmittedExchange { context, requester: Requester { recipient, caller }, routing, .. } = admitted;
    let credential = caller.valid_until.map(|end| (end, Refusal::CredentialInvalid));
    if routing.mode == ExchangeMode::Observe {
        let observation = routing.matched.route.observation_ends().map(|end| (end, Refusal::Overloaded));
        return observation.into_iter().chain(credential).min_by_key(|(end, _)| *end);
    }
    let agreement = recipient.agreement_ends(context.today()).map(|end| (end, Refusal::AgreementNotInForce));
    let versions = context.snapshot.packs.get(routing.matched.route.pack);
    // The response is cut when the next version comes into force; that version decides on the recipient's next request.
    let version = versions.and_then(|versions| versions.changes_after(context.now));
    let version = version.map(|end| (end, Refusal::Overloaded));
    agreement.into_iter().chain(version).chain(credential).min_by_key(|(end, _)| *end)
}
