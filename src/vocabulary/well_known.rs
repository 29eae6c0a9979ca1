//! The terms of the standard vocabulary that the program itself refers to, resolved once per vocabulary.
//!
//! Code that needs one of these terms takes its id from here, so that it looks up no name while it serves a
//! request. The module does not know which rules apply to a term. Invariant: the standard vocabulary has every
//! term named here (tested below), and a pack can remove none.

use super::{CategoryId, KindId, PurposeId, TermId, Tree};

/// The root of everything that is about a person.
pub(super) const PERSONAL: &str = "personal";
/// The root of what customers have entrusted to the service.
pub(super) const SERVICE_DATA: &str = "service-data";
/// Data that a person has published.
const PUBLISHED: &str = "published";
/// The purpose under which persons ask for their own data.
const DATA_SUBJECT_REQUEST: &str = "data-subject-request";

/// The purposes that the law requires, courts and authorities order, or somebody's life depends on.
const LEGAL: &str = "legal";
/// The purpose of keeping the service and its users safe.
const SECURITY: &str = "security";
/// The purpose of messages about a product that the person has.
const SERVICE_COMMUNICATION: &str = "service-communication";

/// The people whom the controller employs.
const EMPLOYEE: &str = "employee";
/// The people who work under the controller's authority without being employed.
const CONTRACTOR: &str = "contractor";

/// Ids of the terms that the program itself refers to.
#[derive(Clone, Copy, Debug)]
pub struct WellKnown {
    /// `personal`: everything that is about a person.
    pub personal: CategoryId,
    /// `service-data`: data that a customer has entrusted to the service.
    pub service_data: CategoryId,
    /// `published`: data that a person has made public.
    pub published: CategoryId,
    /// `data-subject-request`: a person asks for, corrects or moves their own data.
    pub data_subject_request: PurposeId,
    /// `legal`: legal obligations, court orders, law enforcement, legal claims and vital interests.
    pub legal: PurposeId,
    /// `security`: keeping the service and its users safe.
    pub security: PurposeId,
    /// `service-communication`: messages about a product that the person has.
    pub service_communication: PurposeId,
    /// `employee`: people whom the controller employs.
    pub employee: KindId,
    /// `contractor`: people who work under the controller's authority without being employed.
    pub contractor: KindId,
}

impl WellKnown {
    /// Resolves the terms in the trees of one vocabulary.
    pub(super) fn resolve(
        purposes: &Tree<PurposeId>,
        categories: &Tree<CategoryId>,
        kinds: &Tree<KindId>,
    ) -> WellKnown {
        WellKnown {
            personal: resolve(categories, PERSONAL),
            service_data: resolve(categories, SERVICE_DATA),
            published: resolve(categories, PUBLISHED),
            data_subject_request: resolve(purposes, DATA_SUBJECT_REQUEST),
            legal: resolve(purposes, LEGAL),
            security: resolve(purposes, SECURITY),
            service_communication: resolve(purposes, SERVICE_COMMUNICATION),
            employee: resolve(kinds, EMPLOYEE),
            contractor: resolve(kinds, CONTRACTOR),
        }
    }
}

/// Returns the id of a term. A missing one, which the test below rules out, gets an id that no term has.
fn resolve<I: TermId>(tree: &Tree<I>, name: &str) -> I {
    tree.find(name).unwrap_or_else(|| I::from_position(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Vocabulary;

    #[test]
    fn the_standard_vocabulary_has_every_well_known_term() {
        let vocabulary = Vocabulary::standard();
        let WellKnown {
            personal,
            service_data,
            published,
            data_subject_request,
            legal,
            security,
            service_communication,
            employee,
            contractor,
        } = vocabulary.well_known();
        let categories = [personal, service_data, published].map(|id| vocabulary.categories().name(id));
        assert_eq!(categories, [PERSONAL, SERVICE_DATA, PUBLISHED]);
        let purposes = [data_subject_request, legal, security, service_communication];
        let purposes = purposes.map(|id| vocabulary.purposes().name(id));
        assert_eq!(purposes, [DATA_SUBJECT_REQUEST, LEGAL, SECURITY, SERVICE_COMMUNICATION]);
        let kinds = [employee, contractor].map(|id| vocabulary.kinds().name(id));
        assert_eq!(kinds, [EMPLOYEE, CONTRACTOR]);
    }

    #[test]
    fn a_vital_interest_is_a_legal_purpose() {
        let vocabulary = Vocabulary::standard();
        let vital = vocabulary.purposes().find("vital-interest").unwrap();
        assert!(vocabulary.purposes().within(vital, vocabulary.well_known().legal));
    }
}
