//! The facts about people on which decisions depend: keys of the cache of decisions, and of counted circumstances.

use super::facts::{Overrides, PER_CATEGORY};
use crate::policy::{ConsentFact, Fact, FactSet, Facts, ObjectionFact};
use crate::vocabulary::CategoryId;

/// The facts on which a decision about one record depends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionKey {
    pub(super) facts: Facts,
    pub(super) overrides: Overrides,
}

/// The facts about one person on which the decision about a record depended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PersonFacts {
    /// The record has no usable subject.
    Nobody,
    /// The ledger does not know the person, and the route withholds then.
    Unknown,
    /// The facts on which rules decided.
    Known(DecisionKey),
    /// The facts of a person of whom the ledger knows refusals only. The stricter of this and [`PersonFacts::Unknown`]
    /// applied.
    OnlyRefusals(DecisionKey),
}

impl DecisionKey {
    /// Returns the facts for one category.
    pub(super) fn facts_of(&self, category: CategoryId) -> Facts {
        let per_category: FactSet = PER_CATEGORY.into_iter().collect();
        let own = self.overrides.iter().find(|(of, _)| *of == category);
        own.map_or(self.facts, |(_, own)| self.facts.overlay(*own, per_category))
    }

    /// Returns the key as if the person had not refused, withdrawn, objected or opted out. Returns `None` if the
    /// person did none of these.
    pub(super) fn without_refusals(&self) -> Option<DecisionKey> {
        let refuses = |fact| self.facts.get(fact) != 0;
        let consent = self.facts.get(Fact::Consent);
        let consent =
            [ConsentFact::Refused, ConsentFact::Withdrawn].into_iter().any(|no| no as u8 == consent);
        let categories = self.overrides.iter().any(|(_, own)| own.get(Fact::Refused) != 0);
        if !(consent || categories || refuses(Fact::Objection) || refuses(Fact::OptedOut)) {
            return None;
        }
        let facts = self.facts.with_objection(ObjectionFact::None).with_flag(Fact::OptedOut, false);
        let facts = if consent { facts.with_consent(ConsentFact::Given) } else { facts };
        let without_refusal =
            |(category, own): &(CategoryId, Facts)| (*category, own.with_flag(Fact::Refused, false));
        Some(DecisionKey { facts, overrides: self.overrides.iter().map(without_refusal).collect() })
    }
}
