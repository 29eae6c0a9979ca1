//! Admission: may this recipient ask for this purpose at all?
//!
//! Everything that does not depend on a person is settled here, before the upstream is called.

use std::sync::Arc;

use crate::policy::Pack;
use crate::vocabulary::{CategoryId, KindId, Operation, PurposeId, Regions, Safeguard, Vocabulary};

/// What is known about a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientFacts {
    /// Its name in the configuration: what consents, opt-outs and relations are bound to.
    pub name: Arc<str>,
    pub kind: KindId,
    pub country: Option<Arc<str>>,
    /// Where it is given it counts, else the country's; where neither is known, or they contradict each
    /// other, the recipient is in no region.
    pub region: Option<Arc<str>>,
    /// The purposes it is registered for, each with its descendants.
    pub purposes: Vec<PurposeId>,
    /// An agreement is in force.
    pub agreement: bool,
    pub safeguard: Safeguard,
    pub suspended: bool,
}

impl RecipientFacts {
    /// The region it is in; `None` where that is not known, or where country and region contradict
    /// each other.
    pub(super) fn region(&self, regions: &Regions) -> Option<Arc<str>> {
        match (&self.country, &self.region) {
            (Some(country), Some(region)) if regions.contradict(country, region) => None,
            (_, Some(region)) => Some(Arc::clone(region)),
            (Some(country), None) => regions.of_country(country),
            (None, None) => None,
        }
    }

    /// Whether the registration covers a purpose: one for a child does not cover the parent.
    pub fn is_registered_for(&self, vocabulary: &Vocabulary, purpose: PurposeId) -> bool {
        self.purposes.iter().any(|&registered| vocabulary.purposes().within(purpose, registered))
    }
}

/// One request, as far as it is known before anything is read.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    pub recipient: Arc<RecipientFacts>,
    /// The purpose that the request declares.
    pub purpose: PurposeId,
    pub operation: Operation,
    /// Where this gateway exports from (`deployment.exporter-region`).
    pub exporter_region: Arc<str>,
    /// The upstream is a backup.
    pub upstream_backup: bool,
    /// What a registered case covers that is in force for this recipient and purpose.
    pub legal_reference: LegalReference,
}

impl AdmissionRequest {
    /// The request as it would be without what this refusal is about; `None` where no rule would permit it either.
    #[must_use]
    pub fn without_obstacle(&self, denial: Denial) -> Option<AdmissionRequest> {
        let mut recipient = RecipientFacts::clone(&self.recipient);
        let mut request = self.clone();
        match denial {
            Denial::PurposeNotPermitted => recipient.purposes.push(request.purpose),
            Denial::RecipientSuspended => recipient.suspended = false,
            Denial::AgreementNotInForce => recipient.agreement = true,
            Denial::LegalReferenceMissing => request.legal_reference = LegalReference::Everything,
            Denial::NoRulePermits => return None,
        }
        request.recipient = Arc::new(recipient);
        Some(request)
    }
}

/// What the case that a request cites covers; whom it names is said record by record
/// ([`super::Relationship`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LegalReference {
    /// No case is cited, or it is not in force for this recipient and purpose.
    #[default]
    None,
    Everything,
    /// These categories, each with those below it.
    Categories(Arc<[CategoryId]>),
}

impl LegalReference {
    pub(super) fn covers(&self, vocabulary: &Vocabulary, category: CategoryId) -> bool {
        match self {
            LegalReference::None => false,
            LegalReference::Everything => true,
            LegalReference::Categories(named) => {
                named.iter().any(|&named| vocabulary.categories().within(category, named))
            }
        }
    }
}

/// Why a request is refused before the upstream is called, in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    PurposeNotPermitted,
    RecipientSuspended,
    AgreementNotInForce,
    LegalReferenceMissing,
    /// Nothing at all could leave for this kind, purpose and operation.
    NoRulePermits,
}

impl Denial {
    pub const ALL: [Denial; 5] = [
        Denial::PurposeNotPermitted,
        Denial::RecipientSuspended,
        Denial::AgreementNotInForce,
        Denial::LegalReferenceMissing,
        Denial::NoRulePermits,
    ];

    /// The problem code.
    pub const fn code(self) -> &'static str {
        match self {
            Denial::PurposeNotPermitted => "purpose-not-permitted",
            Denial::RecipientSuspended => "recipient-suspended",
            Denial::AgreementNotInForce => "agreement-not-in-force",
            Denial::LegalReferenceMissing => "legal-reference-missing",
            Denial::NoRulePermits => "no-rule-permits",
        }
    }

    /// The denial with this problem code.
    pub fn parse(code: &str) -> Option<Denial> {
        Denial::ALL.into_iter().find(|denial| denial.code() == code)
    }
}

/// The checks, in order.
pub(super) fn check(pack: &Pack, request: &AdmissionRequest) -> Result<(), Denial> {
    let vocabulary = pack.vocabulary();
    let recipient = &request.recipient;
    if !recipient.is_registered_for(vocabulary, request.purpose) {
        return Err(Denial::PurposeNotPermitted);
    }
    if recipient.suspended {
        return Err(Denial::RecipientSuspended);
    }
    if !recipient.agreement && vocabulary.needs_agreement(recipient.kind) {
        return Err(Denial::AgreementNotInForce);
    }
    if needs_case(vocabulary, recipient.kind, request.purpose)
        && request.legal_reference == LegalReference::None
    {
        return Err(Denial::LegalReferenceMissing);
    }
    // What comes back is judged as a disclosure, so a rule for the operation alone is not enough.
    let possible = |operation| pack.rulebook().can_permit(recipient.kind, request.purpose, operation);
    if !possible(request.operation) || !possible(Operation::Disclose) {
        return Err(Denial::NoRulePermits);
    }
    Ok(())
}

/// Whether this kind asks for this purpose only under a registered case.
pub(super) fn needs_case(vocabulary: &Vocabulary, kind: KindId, purpose: PurposeId) -> bool {
    let case_for = vocabulary.legal_reference_for(kind);
    case_for.is_some_and(|root| vocabulary.purposes().within(purpose, root))
}
