//! Admission: decides whether this recipient may ask for this purpose at all.
//!
//! Everything that does not depend on a person is decided here, before the upstream is called.

use std::sync::Arc;

use crate::policy::Pack;
use crate::vocabulary::{CategoryId, KindId, Operation, PurposeId, Regions, Safeguard, Vocabulary, terms};

/// Facts about a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientFacts {
    /// Its name in the configuration; consents, opt-outs and relations are bound to it.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: KindId,
    /// The ISO code of its country.
    pub country: Option<Arc<str>>,
    /// Its region, if stated; otherwise the country's region counts. If neither is known, or they contradict each
    /// other, the recipient is in no region.
    pub region: Option<Arc<str>>,
    /// The purposes for which it is registered, each including its descendants.
    pub purposes: Vec<PurposeId>,
    /// True if an agreement with it is in force.
    pub agreement: bool,
    /// The safeguard for transfers to third countries.
    pub safeguard: Safeguard,
    /// True if the recipient is suspended.
    pub suspended: bool,
}

impl RecipientFacts {
    /// Returns the recipient's region, or `None` if it is unknown or contradicts the country.
    pub(super) fn region(&self, regions: &Regions) -> Option<Arc<str>> {
        match (&self.country, &self.region) {
            (Some(country), Some(region)) if regions.contradict(country, region) => None,
            (_, Some(region)) => Some(Arc::clone(region)),
            (Some(country), None) => regions.of_country(country),
            (None, None) => None,
        }
    }

    /// True if the registration covers a purpose. A registration for a child does not cover the parent.
    pub fn is_registered_for(&self, vocabulary: &Vocabulary, purpose: PurposeId) -> bool {
        self.purposes.iter().any(|&registered| vocabulary.purposes().within(purpose, registered))
    }
}

/// A request, as far as it is known before the upstream is called.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    /// The recipient.
    pub recipient: Arc<RecipientFacts>,
    /// The purpose that the request declares.
    pub purpose: PurposeId,
    /// The operation that the request performs on the data.
    pub operation: Operation,
    /// The region from which this gateway exports (`deployment.exporter-region`).
    pub exporter_region: Arc<str>,
    /// True if the upstream is a backup.
    pub upstream_backup: bool,
    /// The scope of the cited case, if it is in force for this recipient and purpose.
    pub legal_reference: LegalReference,
}

impl AdmissionRequest {
    /// Returns a copy of the request without the cause of this denial, for example with the recipient registered
    /// for the purpose. Returns `None` for [`Denial::NoRulePermits`].
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

/// The scope of the case that a request cites. [`super::Relationship`] states for each record whether the case names
/// the person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LegalReference {
    /// No case is cited, or it is not in force for this recipient and purpose.
    #[default]
    None,
    /// The case covers every category.
    Everything,
    /// The case covers these categories, each including its descendants.
    Categories(Arc<[CategoryId]>),
}

impl LegalReference {
    /// Returns the scope that lets the most leave: a case that covers everything if this kind needs a case for this purpose, and
    /// else none. It is for pages that say what could leave at best.
    pub fn widest(vocabulary: &Vocabulary, kind: KindId, purpose: PurposeId) -> LegalReference {
        match needs_case(vocabulary, kind, purpose) {
            true => LegalReference::Everything,
            false => LegalReference::None,
        }
    }

    /// True if the case covers a category.
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

terms!(
    /// The reason why a request is refused before the upstream is called, in the order of the checks. Its name is the
    /// problem code.
    Denial {
        /// The recipient is not registered for the purpose.
        PurposeNotPermitted = "purpose-not-permitted",
        /// The recipient is suspended.
        RecipientSuspended = "recipient-suspended",
        /// The recipient's kind needs an agreement, and none is in force.
        AgreementNotInForce = "agreement-not-in-force",
        /// The kind needs a registered case for this purpose, and none is cited.
        LegalReferenceMissing = "legal-reference-missing",
        /// No rule could release anything for this kind, purpose and operation.
        NoRulePermits = "no-rule-permits",
    }
);

/// Performs the checks in order.
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
    // The response is judged as a disclosure, so a rule that permits only the operation is not enough.
    let possible = |operation| pack.rulebook().can_permit(recipient.kind, request.purpose, operation);
    if !possible(request.operation) || !possible(Operation::Disclose) {
        return Err(Denial::NoRulePermits);
    }
    Ok(())
}

/// True if this kind may ask for this purpose only under a registered case.
pub(super) fn needs_case(vocabulary: &Vocabulary, kind: KindId, purpose: PurposeId) -> bool {
    let case_for = vocabulary.legal_reference_for(kind);
    case_for.is_some_and(|root| vocabulary.purposes().within(purpose, root))
}
