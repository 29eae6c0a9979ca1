//! How an exchange says no: counted, on record, and told as a problem document.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use jiff::Timestamp;

use super::Exchange;
use crate::access_log::AccessLogLine;
use crate::decision::Decisions;
use crate::disclosure::Outcome;
use crate::exchange::Refusal;
use crate::finding::suggestion;
use crate::layer::body::ResponseBody;

impl Exchange {
    /// The one way out that is not the release.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> Response<ResponseBody> {
        if let Some(route) = self.route.as_ref().filter(|_| Refusal::OF_UPSTREAM.contains(&refusal)) {
            let failures = &self.gatehouse.metrics.upstream_failures;
            failures.with_label_values(&[&*route.upstream, refusal.code()]).inc();
        }
        let hides = self.route.as_ref().is_some_and(|route| route.hide_existence);
        if let (Some(route), Some(cause)) = (&self.route, self.cause) {
            route.warn(cause, Some(&self.decision));
        }
        let refusal = if hides { refusal.hiding_existence() } else { refusal };
        self.count(refusal);
        self.log_refusal(refusal);
        let decisions = self
            .route
            .as_ref()
            .and_then(|route| self.decisions(route).ok())
            .or_else(|| self.snapshot.packs.first()?.in_force(self.now).cloned());
        let contact = decisions.as_ref().map(|decisions| self.contact(decisions));
        let permitted =
            refusal.is_about_purpose().then(|| self.permitted_purposes(decisions.as_deref())).flatten();
        let meant = (refusal == Refusal::PurposeUnknown).then(|| self.meant(decisions.as_deref())).flatten();
        // What is hidden is not told by how long to wait for it either.
        let come_back = self.come_back.filter(|_| refusal != Refusal::NotFound).or(refusal.retry_after());
        let mut problem = refusal.problem(Some(&self.decision), contact, permitted);
        problem.retry_after = come_back;
        if let Some(detail) = &self.detail {
            problem.detail = Cow::Borrowed(&**detail);
        }
        if let Some(meant) = meant {
            problem.detail = format!("{}; {meant}", problem.detail.trim_end_matches('.')).into();
        }
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(ResponseBody::whole(Bytes::from(body)));
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = come_back {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = HeaderValue::try_from(&*self.allow).ok().filter(|allow| !allow.is_empty()) {
            headers.insert(ALLOW, allow);
        }
        if refusal.status() == http::StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if refusal.closes_connection() {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Whom a refused recipient can turn to: about data that a customer entrusted, that customer (P-3b).
    fn contact<'d>(&self, decisions: &'d Decisions) -> &'d str {
        let manifest = decisions.pack().manifest();
        match &manifest.controller_contact {
            Some(controller) if self.concerns_entrusted_data(decisions) => controller,
            _ => &manifest.contact,
        }
    }

    /// The value of [`super::CONTROLLER`] where the answer has one. It hangs on route and purpose alone, so it says
    /// nothing of anybody.
    pub(super) fn controller(&self) -> Option<HeaderValue> {
        let decisions = self.decisions(self.route.as_ref()?).ok()?;
        let contact = decisions.pack().manifest().controller_contact.as_deref()?;
        self.concerns_entrusted_data(&decisions).then(|| item(contact))?
    }

    /// Whether somebody asks about itself on a route that maps what customers entrusted.
    fn concerns_entrusted_data(&self, decisions: &Decisions) -> bool {
        let words = decisions.pack().vocabulary();
        let request = words.well_known().data_subject_request;
        if self.purpose.is_none_or(|asked| !words.purposes().within(asked, request)) {
            return false;
        }
        let scrubbing = self.route.as_ref().and_then(|route| route.scrubbing.as_ref());
        let mut mapped = scrubbing.into_iter().flat_map(|scrubbing| scrubbing.classes.sets()).flatten();
        mapped.any(|&category| words.is_service_data(category))
    }

    fn permitted_purposes<'d>(&self, decisions: Option<&'d Decisions>) -> Option<Vec<&'d str>> {
        let vocabulary = decisions?.pack().vocabulary();
        let usable = self.recipient.as_ref()?.usable_purposes(self.locked, vocabulary);
        Some(usable.into_iter().map(|purpose| vocabulary.purposes().name(purpose)).collect())
    }

    /// The hint to an unknown purpose: of those that the recipient may use, and no other's.
    fn meant(&self, decisions: Option<&Decisions>) -> Option<String> {
        let vocabulary = decisions?.pack().vocabulary();
        let tree = vocabulary.purposes();
        let usable = self.recipient.as_ref()?.usable_purposes(self.locked, vocabulary);
        let is_usable = |purpose| usable.iter().any(|registered| tree.within(purpose, *registered));
        let known = tree.ids().filter(|purpose| is_usable(*purpose)).map(|purpose| tree.name(purpose));
        suggestion(&self.declared.as_ref()?.purpose, known)
    }

    fn count(&self, refusal: Refusal) {
        let metrics = &self.gatehouse.metrics;
        let recipient = self.recipient.as_ref().map_or("", |recipient| &*recipient.name);
        metrics.refusals.with_label_values(&[refusal.code(), recipient]).inc();
        let route = self.route.as_ref().map_or("", |route| &*route.name);
        let decisions = self.route.as_ref().and_then(|route| self.decisions(route).ok());
        let purpose = decisions
            .as_ref()
            .zip(self.purpose)
            .map_or("", |(decisions, purpose)| decisions.pack().vocabulary().purposes().name(purpose));
        metrics.requests.with_label_values(&[route, recipient, purpose, "refused"]).inc();
        metrics.request_duration.with_label_values(&[route]).observe(self.began.elapsed().as_secs_f64());
        self.gatehouse.access_log.write(&AccessLogLine {
            time: Timestamp::now(),
            decision: &self.decision,
            recipient,
            purpose,
            route,
            outcome: refusal.code(),
            milliseconds: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes: 0,
        });
        // Anybody can cause it: `refusals_total` and the access log count it for operators.
        tracing::debug!(decision = %self.decision, route, recipient, purpose, code = refusal.code(), "refused");
    }

    /// A refusal of a known recipient is on record like a release.
    fn log_refusal(&mut self, refusal: Refusal) {
        match self.take_entry() {
            Some(entry) => self.gatehouse.log.close_detached(entry, Outcome::Refused(refusal.code())),
            None if self.on_record => {}
            None => {
                if let Some(intent) = self.intent() {
                    self.gatehouse.log.refused(&intent, refusal.code());
                }
            }
        }
    }
}

/// A text as an RFC 9651 Item: a String, or a Display String where it is not ASCII.
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
