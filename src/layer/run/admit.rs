//! What an exchange is asked before the upstream is: who it is, for what, and whether anything may leave at all.
//!
//! Refuses to know what comes back. Each thing that has to agree is taken down with what it said.

use std::sync::Arc;

use governor::clock::Clock;
use http::HeaderMap;
use http::request::Parts;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::Exchange;
use crate::decision::{AdmissionRequest, Admitted, Classes, Decisions, Denial, UnknownSubject};
use crate::disclosure::Verdict;
use crate::exchange::caller::{Caller, PeerCertificate};
use crate::exchange::grant::CitedCase;
use crate::exchange::ledger_policy::{LedgerPolicy, RouteTerms};
use crate::exchange::route::{MatchedRoute, QueryParameter, Route};
use crate::exchange::{Refusal, Rejection, ledger_policy as judgement, path, purpose};
use crate::ledger::Case;
use crate::scrub::PathIdentities;
use crate::vocabulary::{CategoryId, Form, NotAPurpose, Operation, PurposeId};

/// What admission asks, in its order, and how each says no.
const FACTORS_OF_ADMISSION: [(&str, &[Denial]); 4] = [
    ("registration", &[Denial::PurposeNotPermitted, Denial::RecipientSuspended]),
    ("agreement", &[Denial::AgreementNotInForce]),
    ("case", &[Denial::LegalReferenceMissing]),
    ("policy", &[Denial::NoRulePermits]),
];

/// What may be asked for, whoever it is about.
#[derive(Debug)]
pub(super) struct Admission {
    /// What may leave.
    pub(super) release: Arc<Admitted>,
    /// What may be done, where the request does something else than disclose.
    pub(super) operation: Option<Admitted>,
}

impl Exchange {
    pub(super) fn identify(&mut self, parts: &Parts) -> Result<Caller, Refusal> {
        let peer = parts.extensions.get::<PeerCertificate>();
        let caller = self.snapshot.credentials.identify(&parts.headers, peer, self.now)?;
        let recipient = self.snapshot.recipients.get(caller.recipient).ok_or(Refusal::CredentialInvalid)?;
        self.recipient = Some(Arc::clone(recipient));
        self.identity = caller.identity.clone();
        (self.credential_ends, self.locked) = (caller.valid_until, caller.locked_purpose);
        if let Some(rate) = &recipient.rate
            && let Err(early) = rate.check()
        {
            let wait = early.wait_time_from(rate.clock().now()).as_secs_f64().ceil();
            self.come_back = Some(wait.max(1.0) as u32);
            return Err(Refusal::TooManyRequests);
        }
        Ok(caller)
    }

    /// The purpose that counts: the declared one, which a locked credential must agree with or replaces.
    pub(super) fn declared_purpose(
        &mut self,
        headers: &HeaderMap,
        caller: &Caller,
        decisions: &Decisions,
    ) -> Result<PurposeId, Refusal> {
        let declared = self.read_purpose(headers, caller, decisions);
        let declared = self.weigh("purpose", declared)?;
        self.purpose = Some(declared);
        let agrees = caller.locked_purpose.is_none_or(|locked| locked == declared);
        self.weigh("credential", agrees.then_some(declared).ok_or(Refusal::PurposeNotPermitted))
    }

    fn read_purpose(
        &mut self,
        headers: &HeaderMap,
        caller: &Caller,
        decisions: &Decisions,
    ) -> Result<PurposeId, Refusal> {
        self.declared = purpose::declared(headers, &self.snapshot.purpose_header)?;
        let Some(declaration) = &self.declared else {
            return caller.locked_purpose.ok_or(Refusal::PurposeMissing);
        };
        decisions.pack().vocabulary().declared_purpose(&declaration.purpose).map_err(|not| match not {
            NotAPurpose::LegalBasis(_) => Refusal::LegalBasisAsPurpose,
            NotAPurpose::Unknown => Refusal::PurposeUnknown,
        })
    }

    /// The case that the request cites, where it is in force for who asks and for what. Any other
    /// `case` is only recorded.
    pub(super) fn cited_case(&mut self, purpose: PurposeId) -> Option<Arc<Case>> {
        let id = self.declared.as_ref()?.case.as_deref()?;
        let (recipient, ledger) = (self.recipient.as_ref()?, &self.gatehouse.ledger);
        let serves = |case: &Arc<Case>| case.serves(&recipient.name, purpose, ledger.terms(), self.now);
        let case = ledger.case(id).filter(serves)?;
        self.case = Some(CitedCase { id: Arc::from(id), fingerprint: ledger.fingerprints().case(id) });
        Some(case)
    }

    /// Everything that can be said before the upstream is called and does not depend on a subject.
    pub(super) fn admit(
        &mut self,
        route: &Route,
        purpose: PurposeId,
        case: Option<&Case>,
        decisions: &Decisions,
    ) -> Result<Admission, Refusal> {
        let recipient = self.recipient.clone().ok_or(Refusal::CredentialMissing)?;
        let served = route.serves_purpose(decisions.pack().vocabulary(), purpose);
        self.weigh("route", served.then_some(()).ok_or(Refusal::PurposeNotPermitted))?;
        let asking = AdmissionRequest {
            recipient: judgement::recipient_facts(&self.gatehouse.ledger, &recipient, self.now),
            purpose,
            operation: route.operation(&self.method),
            exporter_region: Arc::clone(&self.snapshot.exporter_region),
            upstream_backup: route.upstream_is_backup,
            legal_reference: judgement::legal_reference(case),
        };
        let classes = route.scrubbing.as_ref().map_or(Classes::unread(), |scrubbing| &scrubbing.classes);
        let admitted = decisions.admit(&asking, classes);
        // The pack checks one after the other; those before the one that refuses have agreed.
        for (factor, denials) in FACTORS_OF_ADMISSION {
            if let Some(denial) = admitted.as_ref().err().filter(|denial| denials.contains(denial)) {
                return self.weigh(factor, Err(denied(*denial)));
            }
            self.weigh(factor, Ok(()))?;
        }
        let release = Arc::new(admitted.map_err(denied)?);
        let operation = (asking.operation != Operation::Disclose)
            .then(|| decisions.admit_operation(&asking, classes).map_err(denied))
            .transpose()?;
        Ok(Admission { release, operation })
    }

    /// Judges an operation other than `disclose` by whom the path names, as the ledger knows them at this moment.
    pub(super) fn judge_operation(&self, admitted: &Admitted, found: &MatchedRoute) -> Result<(), Refusal> {
        let ledger = &self.gatehouse.ledger;
        if !ledger.healthy() {
            return Err(Refusal::LedgerUnavailable);
        }
        if self.recipient.as_ref().is_none_or(|recipient| ledger.is_suspended(&recipient.name)) {
            return Err(Refusal::RecipientSuspended);
        }
        let now = Timestamp::now();
        let case = self.case.as_ref().and_then(|cited| ledger.case(&cited.id));
        let case = case.filter(|case| case.is_in_force(now));
        let mapped = found.route.mapping();
        let of_route = mapped.map_or(UnknownSubject::Withhold, |mapped| mapped.unknown_subject);
        let unknown_subject = judgement::unknown_subject_for(found.route.operation(&self.method), of_route);
        // What may leave is not asked here.
        let terms = RouteTerms { unknown_subject, personal: &[] };
        let named = mapped
            .map_or_else(PathIdentities::default, |mapped| mapped.plan.path_identities(&found.parameters));
        let mut judgement = LedgerPolicy::new(ledger, admitted, &self.identity, terms, case, now);
        judgement.permits_operation(&named).then_some(()).ok_or(Refusal::SubjectWithheld)
    }

    /// Takes down what one factor says.
    fn weigh<T>(&mut self, factor: &'static str, said: Result<T, Refusal>) -> Result<T, Refusal> {
        self.factors.push((factor, if said.is_ok() { Verdict::Permits } else { Verdict::Refuses }));
        said
    }
}

/// Every parameter is listed by the route, with its value where the route lists values, and may tell the caller only
/// what it may see in clear.
pub(super) fn screen_query(route: &Route, query: Option<&str>, admitted: &Admitted) -> Result<(), Rejection> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(()) };
    // Some origins end a parameter at a `;`.
    if query.bytes().any(|byte| byte == b';' || !byte.is_ascii()) {
        return Err(Rejection::malformed("A query is ASCII and has no `;`: write `%3B`."));
    }
    let mut once: SmallVec<[&str; 4]> = SmallVec::new();
    for written in query.split('&') {
        let (name, value) = written.split_once('=').unwrap_or((written, ""));
        let known = route.query.get_key_value(&decoded(name)?);
        let (name, parameter) = known.ok_or(Refusal::QueryOnWithheldField)?;
        let categories: &[CategoryId] = match parameter {
            QueryParameter::Any(categories) => categories,
            QueryParameter::Listed(values) => {
                // Of two, one origin takes the first, one the last, and one joins them to a value that nobody listed.
                if once.contains(&name.as_str()) {
                    let detail = "A parameter whose values the route lists is sent once, with one of them.";
                    return Err(Rejection::new(Refusal::QueryOnWithheldField, detail));
                }
                once.push(name);
                values.get(&decoded(value)?).ok_or(Refusal::QueryOnWithheldField)?
            }
        };
        if categories.iter().any(|category| admitted.best(*category) != Form::Clear) {
            return Err(Refusal::QueryOnWithheldField.into());
        }
    }
    Ok(())
}

/// A name or a value of a query as an origin reads it (`application/x-www-form-urlencoded`).
fn decoded(text: &str) -> Result<String, Rejection> {
    let malformed = || Rejection::malformed("A query is percent-encoded UTF-8.");
    path::meaning(&text.replace('+', " ")).ok_or_else(malformed)
}

fn denied(denial: Denial) -> Refusal {
    match denial {
        Denial::PurposeNotPermitted => Refusal::PurposeNotPermitted,
        Denial::RecipientSuspended => Refusal::RecipientSuspended,
        Denial::AgreementNotInForce => Refusal::AgreementNotInForce,
        Denial::LegalReferenceMissing => Refusal::LegalReferenceMissing,
        Denial::NoRulePermits => Refusal::NoRulePermits,
    }
}
