//! Decides which data categories may leave to a recipient, for a purpose, about a data subject: once for the exchange
//! and once for each record.
//!
//! This module is pure: it takes values, `now` included, and returns values. The facts about a data subject are
//! passed in. Invariant: a [`Permit`] is constructed here and nowhere else.

mod admission;
mod admitted;
pub mod circumstance;
mod classes;
mod consent;
mod decision_key;
mod explain;
mod facts;
pub mod mutation;
mod operation;
mod permit;
pub mod replay;
pub mod scenario;
mod subject;

pub use admission::{AdmissionRequest, Denial, LegalReference, RecipientFacts};
pub use admitted::{Admitted, Decisions};
pub use classes::Classes;
pub use decision_key::{DecisionKey, PersonFacts};
pub use explain::{
    CategoryOutcome, DenialExplanation, Explanation, NearestRule, OperationExplanation, Question,
    RequiredChange, RequiredChanges, explain_only, no_rule_permits,
};
pub use facts::{OverdueData, Relationship};
pub use operation::{NamedAccount, OperationForecast, PathNames};
pub use permit::{ClassId, ClassRelease, Permit, Reason};
pub use subject::{
    Addressee, Consent, ConsentStatus, Controller, Extracted, Objection, Origins, RecordFacts, Relation,
    Subject, UnknownSubject,
};

#[cfg(test)]
pub(crate) mod testing {
    //! Policy packs for the tests of this module and of those above it.

    use std::sync::{Arc, OnceLock};

    use crate::finding::Source;
    use crate::policy::Pack;

    const ONE_PARTNER: [(&str, &str); 4] = [
        ("pack.toml", include_str!("../../policies/one-partner-360/pack.toml")),
        ("1.cedar", include_str!("../../policies/one-partner-360/1-prohibitions.cedar")),
        ("2.cedar", include_str!("../../policies/one-partner-360/2-own-organisation.cedar")),
        ("3.cedar", include_str!("../../policies/one-partner-360/3-others.cedar")),
    ];

    pub(crate) fn one_partner() -> Arc<Pack> {
        static PACK: OnceLock<Arc<Pack>> = OnceLock::new();
        Arc::clone(PACK.get_or_init(|| one_partner_and("")))
    }

    /// Returns the pack with one text of its `pack.toml` replaced.
    pub(crate) fn one_partner_saying(old: &str, new: &str) -> Arc<Pack> {
        let files = ONE_PARTNER.map(|(name, text)| {
            assert!(name != "pack.toml" || text.contains(old), "pack.toml has no `{old}`");
            Source::new(name, if name == "pack.toml" { text.replace(old, new) } else { text.to_owned() })
        });
        Arc::new(Pack::load(&files).unwrap())
    }

    /// Returns the pack with one more rule.
    pub(crate) fn one_partner_and(rule: &str) -> Arc<Pack> {
        let files = ONE_PARTNER.map(|(name, text)| Source::new(name, text));
        let more = Source::new("4.cedar", rule);
        Arc::new(Pack::load(&files.into_iter().chain([more]).collect::<Vec<_>>()).unwrap())
    }
}
