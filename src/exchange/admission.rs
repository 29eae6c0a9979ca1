//! Admission: decides, before the upstream is called, if anything may leave at all.
//!
//! It depends on the recipient, the purpose, the route and the cited case, never on a data subject. The verdict of each
//! factor is kept for the log.

use std::sync::Arc;

use smallvec::SmallVec;

use super::grant::CitedCase;
use super::route::{QueryParameter, Route, RouteRequest};
use super::stale::{Knowledge, WhileStale};
use super::{
    DeclaredExchange, DeclaredPurpose, Refusal, Rejection, SharedState, ledger_policy, observe, path,
};
use crate::decision::{Admitted, Denial};
use crate::disclosure::record::ExchangeMode;
use crate::ledger::{Case, Freshness};
use crate::vocabulary::{BasisSet, CategoryId, Form, Operation, PurposeId};

/// The factors that the policy decides on, in the order of its checks, and the denials of each factor.
const FACTORS_OF_ADMISSION: [(&str, &[Denial]); 4] = [
    ("registration", &[Denial::PurposeNotPermitted, Denial::RecipientSuspended]),
    ("agreement", &[Denial::AgreementNotInForce]),
    ("case", &[Denial::LegalReferenceMissing]),
    ("policy", &[Denial::NoRulePermits]),
];

/// The outcome of an admission: an upper bound for every data subject.
#[derive(Debug)]
pub(super) struct Admission {
    /// The categories and forms that may leave; `None` in an observed exchange that enforcing would refuse.
    pub(super) release: Option<Arc<Admitted>>,
    /// The operation that may be carried out, if it is another than `disclose`.
    pub(super) operation: Option<Admitted>,
    /// The case that the request cites, if it is in force for this recipient and purpose.
    pub(super) case: Option<CitedCase>,
    /// The knowledge of the ledger that the admission rests on.
    pub(super) knowledge: Knowledge,
    /// The releases that go on if the ledger becomes stale.
    pub(super) while_stale: WhileStale,
}

impl DeclaredExchange {
    /// Returns the case that the request cites, if it is in force for this recipient and purpose. Any other `case` is
    /// only recorded.
    fn cited_case(&self, purpose: PurposeId) -> Option<(Arc<Case>, CitedCase)> {
        let id = self.purpose.declaration.as_ref()?.case.as_deref()?;
        let (recipient, ledger) = (&self.requester.recipient, &self.context.shared.ledger);
        let serves =
            |case: &Arc<Case>| case.serves(&recipient.name, purpose, ledger.terms(), self.context.now);
        let case = ledger.case(id).filter(serves)?;
        let cited = CitedCase { id: Arc::from(id), fingerprint: ledger.fingerprints().case(id) };
        Some((case, cited))
    }

    /// Decides what may leave. An observed exchange that enforcing would refuse goes on, and the refusal is noted.
    ///
    /// # Errors
    /// The [`Rejection`] of the exchange.
    pub(super) fn weigh(&mut self, route: &Route, query: Option<&str>) -> Result<Admission, Rejection> {
        let weighed = self.weigh_admission(route).map_err(Rejection::from);
        let weighed = weighed.and_then(|mut admission| {
            admission.screen_query(route, query)?;
            Ok(admission)
        });
        match (weighed, self.routing.mode) {
            (Err(rejection), ExchangeMode::Observe) => self.observe(route, rejection),
            (weighed, ExchangeMode::Observe | ExchangeMode::Enforce) => weighed,
        }
    }

    /// Goes on with an observed exchange that enforcing would refuse.
    fn observe(&mut self, route: &Route, rejection: Rejection) -> Result<Admission, Rejection> {
        let SharedState { ledger, .. } = &*self.context.shared;
        let freshness = ledger.freshness();
        // Of the request only the query is read here, and nothing is decided by it.
        let is_about_query = rejection.refusal == Refusal::RequestMalformed;
        // A ledger that was never known does not say who is suspended.
        if !(is_about_query || observe::is_noted(rejection.refusal)) || freshness == Freshness::Unknown {
            return Err(rejection);
        }
        if ledger_policy::recipient_facts(ledger, &self.requester.recipient, self.context.now).suspended {
            return Err(Refusal::RecipientSuspended.into());
        }
        self.purpose.noted.get_or_insert(rejection.refusal);
        let vocabulary = self.routing.decisions.pack().vocabulary();
        let while_stale = self.purpose.id.map(|purpose| WhileStale::of(route, purpose, vocabulary));
        let is_current = freshness == Freshness::Current;
        Ok(Admission {
            release: None,
            operation: None,
            case: None,
            knowledge: if is_current {
                Knowledge::Current
            } else {
                Knowledge::LastKnown(BasisSet::default())
            },
            while_stale: while_stale.unwrap_or(WhileStale::Nothing),
        })
    }

    /// Evaluates the policy, factor by factor.
    fn weigh_admission(&mut self, route: &Route) -> Result<Admission, Refusal> {
        let purpose = match self.purpose {
            DeclaredPurpose { noted: Some(refusal), .. } => return Err(refusal),
            DeclaredPurpose { id, .. } => id.ok_or(Refusal::PurposeMissing)?,
        };
        // First, because the checks below rest on the ledger, too: it knows suspensions and cases.
        let (while_stale, knowledge) = self.judge_freshness(route, purpose)?;
        let (case, cited) = self.cited_case(purpose).unzip();
        let (context, decisions, factors) =
            (&self.context, &self.routing.decisions, &mut self.purpose.factors);
        let ledger = &context.shared.ledger;
        let request = RouteRequest {
            recipient: ledger_policy::recipient_facts(ledger, &self.requester.recipient, context.now),
            purpose,
            method: &context.method,
            exporter_region: &context.snapshot.exporter_region,
            legal_reference: ledger_policy::legal_reference(case.as_deref()),
        };
        let asking = route.admission_request(decisions.pack().vocabulary(), request);
        let asking = factors.weigh("route", asking.map_err(denied))?;
        let classes = route.classes();
        let admitted = decisions.admit(&asking, classes);
        // The pack checks one factor after the other: the factors before the refusing one permitted the exchange.
        for (factor, denials) in FACTORS_OF_ADMISSION {
            if let Some(denial) = admitted.as_ref().err().filter(|denial| denials.contains(denial)) {
                return factors.weigh(factor, Err(denied(*denial)));
            }
            factors.weigh(factor, Ok(()))?;
        }
        let release = Arc::new(admitted.map_err(denied)?);
        let operation = (asking.operation != Operation::Disclose)
            .then(|| decisions.admit_operation(&asking, classes).map_err(denied))
            .transpose()?;
        if let (WhileStale::Contract(_), Knowledge::LastKnown(bases)) = (while_stale, knowledge)
            && !release.can_rest_on(bases)
        {
            return Err(Refusal::LedgerStale);
        }
        Ok(Admission { release: Some(release), operation, case: cited, knowledge, while_stale })
    }

    /// Returns the knowledge of the ledger on which the exchange may go on.
    fn judge_freshness(&self, route: &Route, purpose: PurposeId) -> Result<(WhileStale, Knowledge), Refusal> {
        let vocabulary = self.routing.decisions.pack().vocabulary();
        let while_stale = WhileStale::of(route, purpose, vocabulary);
        let freshness = self.context.shared.ledger.freshness();
        let knowledge = match route.operation(&self.context.method) {
            Operation::Disclose => while_stale.knowledge(freshness),
            Operation::Collect | Operation::Alter | Operation::Destroy => {
                while_stale.operation_knowledge(freshness)
            }
        };
        Ok((while_stale, knowledge?))
    }
}

impl Admission {
    /// Checks the query: the route must list every parameter, and the value if it lists values. A parameter may disclose
    /// only categories that the recipient may see in clear.
    ///
    /// # Errors
    /// The [`Rejection`] of the first parameter that does not pass.
    pub(super) fn screen_query(&mut self, route: &Route, query: Option<&str>) -> Result<(), Rejection> {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(()) };
        // Some origins treat `;` as the end of a parameter.
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
                    // If a parameter occurs twice, one origin takes the first value, another the last, and a third joins
                    // both to a value that is not listed.
                    if once.contains(&name.as_str()) {
                        let detail =
                            "A parameter whose values the route lists is sent once, with one of them.";
                        return Err(Rejection::new(Refusal::QueryOnWithheldField, detail));
                    }
                    once.push(name);
                    values.get(&decoded(value)?).ok_or(Refusal::QueryOnWithheldField)?
                }
            };
            categories.iter().try_for_each(|category| self.screen_queried(*category))?;
        }
        Ok(())
    }

    /// Checks that the recipient may see a category in clear. If it may see it on consent only, nothing leaves while the
    /// ledger is stale: the records that the upstream selects tell about the category.
    fn screen_queried(&mut self, category: CategoryId) -> Result<(), Refusal> {
        let release = self.release.as_ref().ok_or(Refusal::QueryOnWithheldField)?;
        if release.best(category) != Form::Clear {
            return Err(Refusal::QueryOnWithheldField);
        }
        let bases = self.while_stale.bases();
        if bases.is_empty() || release.best_on(bases, category) == Form::Clear {
            return Ok(());
        }
        self.while_stale = WhileStale::Nothing;
        match self.knowledge {
            Knowledge::Current => Ok(()),
            Knowledge::LastKnown(_) => Err(Refusal::LedgerStale),
        }
    }
}

/// Decodes a name or a value of a query as an origin does (`application/x-www-form-urlencoded`).
fn decoded(text: &str) -> Result<String, Rejection> {
    let malformed = || Rejection::malformed("A query is percent-encoded UTF-8.");
    path::form_meaning(text).ok_or_else(malformed)
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
