//! The call of the upstream: the head that goes on to it, and the last check before the call.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use jiff::Timestamp;

use super::grant::Grant;
use super::ledger_policy::{self, LedgerPolicy, PermitSource, RouteTerms};
use super::{AdmittedExchange, GrantedExchange, ListenerContext, Refusal, Rejection, request_head};
use crate::decision::{Admitted, UnknownSubject};
use crate::disclosure::record::ExchangeMode;
use crate::scrub::PathIdentities;
use crate::vocabulary::Operation;

/// The detail of a refusal before the upstream is called, because of the people that the path names.
const NOT_CARRIED_OUT: &str = "You may not carry out this operation on the data of the people that the path names, or the path names nobody. The API was not called.";

/// The bounds of a request's body.
#[derive(Clone, Copy, Debug)]
pub struct RequestBodyLimits {
    /// Maximum bytes.
    pub max_bytes: usize,
    /// Time for the body to arrive.
    pub time: Duration,
    /// Lowest rate at which it has to arrive, in bytes per second; 0: none.
    pub min_rate: usize,
}

impl AdmittedExchange {
    /// Builds the head that goes on to the upstream.
    pub(super) fn request_head(&self, parts: &Parts) -> Request<()> {
        let (route, snapshot) = (&self.routing.matched.route, &self.context.snapshot);
        let mut head = Request::new(());
        *head.method_mut() = parts.method.clone();
        let is_enforced = self.routing.mode == ExchangeMode::Enforce;
        if parts.method == Method::HEAD && route.depends_on_body() && is_enforced {
            // The upstream is called with GET: only the body of the response tells if a GET would be refused.
            *head.method_mut() = Method::GET;
        }
        *head.uri_mut() = parts.uri.clone();
        *head.headers_mut() = request_head::forwarded(
            parts,
            &route.request_headers,
            route.forward_credential,
            &snapshot.purpose_header,
        );
        let purposes = self.routing.decisions.pack().vocabulary().purposes();
        let purpose = self.purpose.id.filter(|_| route.forward_purpose);
        if let Some(purpose) = purpose.and_then(|id| HeaderValue::from_str(purposes.name(id)).ok()) {
            head.headers_mut().insert(snapshot.purpose_header.clone(), purpose);
        }
        if let Some(name) = &route.recipient_header {
            // Removed first: no other value of this name goes on, whatever the recipient sent.
            head.headers_mut().remove(name);
            let recipient = HeaderValue::from_str(&self.requester.recipient.name).ok();
            head.headers_mut().extend(recipient.map(|recipient| (name.clone(), recipient)));
        }
        if let Some(trace) = &self.context.trace {
            trace.propagate(head.headers_mut());
        }
        head
    }
}

impl GrantedExchange {
    /// The name of the upstream to call.
    pub fn upstream(&self) -> &Arc<str> {
        &self.grant.route().upstream
    }

    /// The bounds of the request's body.
    pub fn request_body_limits(&self) -> RequestBodyLimits {
        let ListenerContext { request_timeout, min_body_rate, .. } = *self.grant.context.listener;
        let max_bytes = self.grant.route().max_request_body;
        RequestBodyLimits { max_bytes, time: request_timeout, min_rate: min_body_rate }
    }

    /// True for an operation other than `disclose`, which is judged again when it is carried out.
    pub fn is_operation(&self) -> bool {
        self.grant.route().operation(&self.grant.context.method) != Operation::Disclose
    }

    /// Decides right before the call whether the upstream may be called. An operation other than `disclose` is judged
    /// by the present state in the ledger of the people that the path names.
    ///
    /// # Errors
    /// The [`Rejection`]: the upstream is not called.
    pub fn authorize_call(&self) -> Result<(), Rejection> {
        // An observed operation that enforcing would refuse has none: its people are not judged.
        let operation = self.grant.operation.as_ref().filter(|_| self.is_operation());
        match operation.map_or(Ok(()), |operation| self.grant.judge_operation(operation)) {
            Err(refusal) if self.grant.notes(refusal) => {}
            Err(Refusal::SubjectWithheld) if !self.grant.route().hide_existence => {
                return Err(Rejection::new(Refusal::SubjectWithheld, NOT_CARRIED_OUT));
            }
            judged => judged?,
        }
        Ok(self.grant.may_reach_upstream()?)
    }

    /// Notes that the call of the upstream begins.
    pub fn call_begins(&self) {
        if let Some(trace) = &self.grant.context.trace {
            let route = self.grant.route();
            trace.call_begins(&route.upstream, route.upstream_server.as_ref());
        }
    }

    /// Notes that the call of the upstream has ended, with the status of its response if there was one.
    pub fn call_ends(&self, status: Option<StatusCode>) {
        if let Some(trace) = &self.grant.context.trace {
            trace.call_ends(status.map(|status| status.as_u16()));
        }
    }

    /// Counts a call of the upstream by the status of its response; `None` if there was no response, and that is a fault of the
    /// upstream.
    pub fn count_call(&self, status: Option<StatusCode>) {
        let class = match status.map(|status| status.as_u16() / 100) {
            None => "error",
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
        };
        let requests = &self.grant.context.shared.metrics.upstream_requests;
        requests.with_label_values(&[&**self.upstream(), class]).inc();
    }
}

impl Grant {
    /// Checks that what the exchange was admitted on still holds. The request can take long to arrive: an agreement, the
    /// policy or the observation of the route can end meanwhile.
    fn may_reach_upstream(&self) -> Result<(), Refusal> {
        if self.is_observed() {
            return self.may_leave(false);
        }
        let changes = self.route().operation(&self.context.method) != Operation::Disclose;
        // An answer is judged before it leaves.
        if changes { self.check_terms() } else { Ok(()) }
    }

    fn judge_operation(&self, operation: &Admitted) -> Result<(), Refusal> {
        let ledger = &self.context.shared.ledger;
        if !ledger.healthy() {
            return Err(Refusal::LedgerUnavailable);
        }
        let knowledge = self.while_stale.operation_knowledge(ledger.freshness())?;
        if ledger.is_suspended(self.recipient()) {
            return Err(Refusal::RecipientSuspended);
        }
        let failed_reads = ledger.failed_reads();
        let now = Timestamp::now();
        let case = self.case.as_ref().and_then(|cited| cited.in_force(ledger, now));
        let matched = &self.routing.matched;
        let mapping = matched.route.mapping();
        let of_route = mapping.map_or(UnknownSubject::Withhold, |mapping| mapping.unknown_subject);
        let operation_kind = matched.route.operation(&self.context.method);
        let unknown_subject = ledger_policy::unknown_subject_for(operation_kind, of_route);
        // No field leaves by this decision, so no class is personal.
        let terms = RouteTerms { unknown_subject, personal: &[], knowledge, observed: false };
        let named = mapping.map_or_else(PathIdentities::default, |mapping| {
            mapping.plan.path_identities(&matched.parameters)
        });
        let identity = &self.requester.caller.identity;
        let admitted = PermitSource::Admitted(operation);
        let mut policy = LedgerPolicy::new(ledger, admitted, identity, terms, case, now);
        let is_permitted = policy.permits_operation(&named);
        // Somebody whose state could not be read was judged as unknown.
        if ledger.failed_reads() != failed_reads {
            return Err(Refusal::LedgerUnavailable);
        }
        is_permitted.then_some(()).ok_or(Refusal::SubjectWithheld)
    }
}
