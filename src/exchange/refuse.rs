//! Turns a refused exchange into a response, in one place: counts it, records it, and writes the problem document.

use std::borrow::Cow;
use std::sync::Arc;

use super::ended::EndedExchange;
use super::exchange_head::{Factors, exchange_head};
use super::purpose::Declaration;
use super::route::Route;
use super::{ExchangeContext, Refusal, Rejection, Requester, observe};
use crate::decision::Decisions;
use crate::disclosure::record::{ExchangeMode, Outcome};
use crate::finding::suggestion;
use crate::vocabulary::PurposeId;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The response header with the contact for data that a customer entrusted (P-3b).
pub(super) const CONTROLLER: HeaderName = HeaderName::from_static("data-purpose-controller");

/// An exchange that ended in a refusal: the reason, and the facts established before.
#[derive(Debug)]
pub struct RefusedExchange {
    context: ExchangeContext,
    rejection: Rejection,
    pub(super) requester: Option<Requester>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) decisions: Option<Arc<Decisions>>,
    pub(super) declaration: Option<Declaration>,
    pub(super) purpose: Option<PurposeId>,
    pub(super) factors: Factors,
    /// True if the refusal is on the log already.
    pub(super) is_recorded: bool,
}

impl RefusedExchange {
    pub(super) fn new(context: ExchangeContext, rejection: impl Into<Rejection>) -> Box<RefusedExchange> {
        Box::new(RefusedExchange {
            context,
            rejection: rejection.into(),
            requester: None,
            route: None,
            decisions: None,
            declaration: None,
            purpose: None,
            factors: Factors::default(),
            is_recorded: false,
        })
    }

    /// Counts and records the refusal, and returns its response.
    pub fn into_response(mut self: Box<Self>) -> Response<Bytes> {
        self.report_upstream_fault();
        let hides = self.route.as_ref().is_some_and(|route| route.hide_existence);
        let refusal = self.rejection.refusal;
        let refusal = if hides { refusal.hiding_existence() } else { refusal };
        self.count(refusal);
        self.record(refusal);
        // A `Retry-After` must not disclose a hidden record either.
        let retry_after = self.rejection.retry_after.filter(|_| refusal != Refusal::NotFound);
        let retry_after = retry_after.or(refusal.retry_after());
        let mut response = Response::new(Bytes::from(self.problem(refusal, retry_after)));
        *response.status_mut() = refusal.status();
        self.write_head(refusal, retry_after, response.headers_mut());
        response
    }

    /// Logs a fault of the upstream for the operator.
    fn report_upstream_fault(&self) {
        let Some(route) = &self.route else { return };
        let refusal = self.rejection.refusal;
        if Refusal::OF_UPSTREAM.contains(&refusal) {
            let failures = &self.context.shared.metrics.upstream_failures;
            failures.with_label_values(&[&*route.upstream, refusal.code()]).inc();
        }
        if let Some(fault) = self.rejection.fault {
            route.warn(fault, self.context.decision, self.context.trace_id());
        }
    }

    /// Writes the problem document.
    fn problem(&self, refusal: Refusal, retry_after: Option<u32>) -> Vec<u8> {
        let of_first_pack = || self.context.snapshot.packs.first()?.in_force(self.context.now).cloned();
        let decisions = self.decisions.clone().or_else(of_first_pack);
        let contact = decisions.as_ref().map(|decisions| self.contact(decisions));
        let permitted =
            refusal.is_about_purpose().then(|| self.permitted_purposes(decisions.as_deref())).flatten();
        let mut buffer = [0; ulid::ULID_LEN];
        let decision = &*self.context.decision.array_to_str(&mut buffer);
        let mut problem = refusal.problem(Some(decision), contact, permitted);
        problem.retry_after = retry_after;
        // A refusal that hides existence says nothing of the upstream's answer.
        let is_as_it_came = refusal == self.rejection.refusal;
        problem.upstream = self.rejection.upstream.as_deref().filter(|_| is_as_it_came);
        if let Some(detail) = &self.rejection.detail {
            problem.detail = Cow::Borrowed(&**detail);
        }
        let suggested =
            (refusal == Refusal::PurposeUnknown).then(|| self.suggested_purpose(decisions.as_deref()));
        if let Some(suggested) = suggested.flatten() {
            problem.detail = format!("{}; {suggested}", problem.detail.trim_end_matches('.')).into();
        }
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    fn write_head(&self, refusal: Refusal, retry_after: Option<u32>, head: &mut HeaderMap) {
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            head.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if refusal.status() == StatusCode::METHOD_NOT_ALLOWED {
            head.insert(ALLOW, self.allowed_methods());
        }
        if refusal.status() == StatusCode::UNAUTHORIZED {
            head.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if refusal.closes_connection() {
            head.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((route, decisions)) = self.route.as_ref().zip(self.decisions.as_ref())
            && let Some(controller) = controller(route, decisions, self.purpose)
        {
            head.insert(CONTROLLER, controller);
        }
        if let Some(cross_origin) = &self.context.cross_origin {
            cross_origin.mark(head);
        }
    }

    /// Returns the value of `Allow`, which each 405 has (RFC 9110, 15.5.6). It is empty where no method may be named: to a caller
    /// that is not identified, who could find routes by it, and where the upstream refused the method.
    fn allowed_methods(&self) -> HeaderValue {
        let methods = self.rejection.allow.as_deref().unwrap_or_default();
        HeaderValue::try_from(methods).unwrap_or(HeaderValue::from_static(""))
    }

    /// Returns the contact for a refused recipient; for data that a customer entrusted, the contact of the customers
    /// (P-3b).
    fn contact<'d>(&self, decisions: &'d Decisions) -> &'d str {
        let manifest = decisions.pack().manifest();
        let route = self.route.as_deref();
        match &manifest.controller_contact {
            Some(controller)
                if route.is_some_and(|route| concerns_entrusted_data(route, decisions, self.purpose)) =>
            {
                controller
            }
            _ => &manifest.contact,
        }
    }

    /// The purposes that the recipient may use with its credential.
    fn usable_purposes(&self, decisions: &Decisions) -> Option<Vec<PurposeId>> {
        let requester = self.requester.as_ref()?;
        let locked = requester.caller.locked_purpose;
        Some(requester.recipient.usable_purposes(locked, decisions.pack().vocabulary()))
    }

    fn permitted_purposes<'d>(&self, decisions: Option<&'d Decisions>) -> Option<Vec<&'d str>> {
        let decisions = decisions?;
        let tree = decisions.pack().vocabulary().purposes();
        let usable = self.usable_purposes(decisions)?;
        Some(usable.into_iter().map(|purpose| tree.name(purpose)).collect())
    }

    /// Returns the hint to an unknown purpose. It names only purposes that the recipient may use.
    fn suggested_purpose(&self, decisions: Option<&Decisions>) -> Option<String> {
        let decisions = decisions?;
        let tree = decisions.pack().vocabulary().purposes();
        let usable = self.usable_purposes(decisions)?;
        let is_usable = |purpose| usable.iter().any(|registered| tree.within(purpose, *registered));
        let known = tree.ids().filter(|purpose| is_usable(*purpose)).map(|purpose| tree.name(purpose));
        suggestion(&self.declaration.as_ref()?.purpose, known)
    }

    fn count(&self, refusal: Refusal) {
        let recipient = self.requester.as_ref().map(|requester| &requester.recipient.name);
        let label = recipient.map_or("", |name| &**name);
        self.context.shared.metrics.refusals.with_label_values(&[refusal.code(), label]).inc();
        let purpose = self.decisions.as_ref().zip(self.purpose);
        let purpose =
            purpose.map(|(decisions, purpose)| decisions.pack().vocabulary().purposes().shared_name(purpose));
        let ended = EndedExchange {
            context: &self.context,
            recipient,
            purpose: purpose.as_ref(),
            route: self.route.as_deref(),
            mode: self.mode(),
            status: refusal.status(),
            outcome: Outcome::Refused(refusal.code()),
            bytes: 0,
        };
        ended.report();
    }

    /// Returns the mode of the exchange; before its recipient and its route are known, it is enforced.
    fn mode(&self) -> ExchangeMode {
        match (&self.route, &self.requester, &self.decisions) {
            (Some(route), Some(requester), Some(decisions)) => {
                observe::mode(route, &requester.recipient, decisions, self.context.now)
            }
            _ => ExchangeMode::Enforce,
        }
    }

    /// Records the refusal of a known recipient on a known route, as a release is recorded.
    fn record(&mut self, refusal: Refusal) {
        let (Some(requester), Some(route), Some(decisions), false) =
            (&self.requester, &self.route, &self.decisions, self.is_recorded)
        else {
            return;
        };
        let (declaration, factors) = (self.declaration.as_ref(), std::mem::take(&mut self.factors));
        let head =
            exchange_head(&self.context, requester, route, decisions, self.purpose, declaration, factors);
        self.context.shared.log.refuse(Arc::new(head), refusal.code());
    }
}

/// The value of [`CONTROLLER`] if the response has one. It depends on route and purpose alone, so it discloses
/// nothing about anybody.
pub(super) fn controller(
    route: &Route,
    decisions: &Decisions,
    purpose: Option<PurposeId>,
) -> Option<HeaderValue> {
    let contact = decisions.pack().manifest().controller_contact.as_deref()?;
    concerns_entrusted_data(route, decisions, purpose).then(|| item(contact))?
}

/// True if a person requests their own data on a route that maps data entrusted by customers.
fn concerns_entrusted_data(route: &Route, decisions: &Decisions, purpose: Option<PurposeId>) -> bool {
    let vocabulary = decisions.pack().vocabulary();
    let request = vocabulary.well_known().data_subject_request;
    if purpose.is_none_or(|purpose| !vocabulary.purposes().within(purpose, request)) {
        return false;
    }
    let scrubbing = route.scrubbing.iter();
    let mut mapped = scrubbing.flat_map(|scrubbing| scrubbing.classes.sets()).flatten();
    mapped.any(|&category| vocabulary.is_service_data(category))
}

/// A text as an RFC 9651 Item: a String, or a Display String if it is not ASCII.
fn item(text: &str) -> Option<HeaderValue> {
    let is_string = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let mut value = String::with_capacity(text.len() + 3);
    value.push_str(if is_string { "\"" } else { "%\"" });
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' if is_string => value.extend(['\\', char::from(byte)]),
            b'"' | b'%' if !is_string => value.push_str(&format!("%{byte:02x}")),
            0x20..0x7f => value.push(char::from(byte)),
            _ => value.push_str(&format!("%{byte:02x}")),
        }
    }
    value.push('"');
    HeaderValue::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_a_structured_item_whatever_its_letters() {
        let item = |text| item(text).map(|value| value.to_str().unwrap_or("").to_owned());
        assert_eq!(item("Acme <dpo@acme.example>").as_deref(), Some("\"Acme <dpo@acme.example>\""));
        assert_eq!(item(r#"the "owner" \ you"#).as_deref(), Some(r#""the \"owner\" \\ you""#));
        assert_eq!(item("Müller 100% \"x\"").as_deref(), Some("%\"M%c3%bcller 100%25 %22x%22\""));
    }
}
