//! The circumstances of a record: everything on which the decision about it depended, and nothing else of it.
//!
//! They are facts as rules compare them ([`DecisionKey`](super::DecisionKey)) and the categories that the record has. They
//! hold no id, no value of a field and no date. [`SeenCircumstance`] states them with the keys of a scenario, so that another version of a pack
//! can decide on them. Invariant: what a [`SeenCircumstance`] states reads back as the same facts; circumstances for which
//! that is impossible are not described.

mod describe;
pub mod line;
mod read;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smallvec::SmallVec;

pub(in crate::decision) use self::read::ReadCircumstance;
use super::decision_key::PersonFacts;

/// Name of the category of fields that nothing classifies.
pub const UNCLASSIFIED: &str = "unclassified";

/// Key of a person whom the ledger does not know, among the keys of a scenario's `subject`.
const UNKNOWN: &str = "unknown";

/// Key of a person of whom the ledger knows refusals only.
const ONLY_REFUSALS: &str = "only-refusals";

/// The people of one record, each once, in order. Most records are about one person.
pub type RecordPeople = SmallVec<[PersonFacts; 1]>;

/// A set of classes of fields, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassSet(u128);

impl ClassSet {
    /// Maximum number of classes of a route. Circumstances of a route with more are not told apart.
    pub const MAX_CLASSES: usize = u128::BITS as usize;

    /// Returns the classes of which a record has fields. `fields` holds the number of fields of each class.
    pub fn of(fields: &[u32]) -> ClassSet {
        let bit = |class: usize, count: u32| u128::from(count > 0).unbounded_shl(class as u32);
        ClassSet(fields.iter().enumerate().fold(0, |set, (class, count)| set | bit(class, *count)))
    }

    /// True if the class is in the set.
    pub fn contains(self, class: usize) -> bool {
        class < ClassSet::MAX_CLASSES && self.0 >> class & 1 == 1
    }
}

/// The keys of a scenario's `subject`, `request` or `recipient`, with their values.
pub type ScenarioTable = Map<String, Value>;

/// The circumstances of some records, with the keys of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenCircumstance {
    /// Configured name of the route.
    pub route: String,
    /// Configured name of the recipient.
    pub recipient: String,
    /// Kind of the recipient.
    pub kind: String,
    /// The purpose.
    pub purpose: String,
    /// The operation of the request. The answer was judged as a disclosure.
    pub operation: String,
    /// Title of the policy pack that decided.
    pub pack: String,
    /// The person: `null` for a record without a usable subject; with `unknown` for a person whom the ledger does not know,
    /// and with `only-refusals` for one of whom it knows nothing else, where the route withholds then.
    pub subject: Option<ScenarioTable>,
    /// The request, and how the recipient relates to the person.
    pub request: ScenarioTable,
    /// Everybody else that the record is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<SeenPerson>,
    /// The recipient.
    pub recipient_facts: ScenarioTable,
    /// The categories of the record's fields. Those of a field with several are joined by `+`; [`UNCLASSIFIED`] stands for
    /// fields that nothing classifies.
    pub categories: Vec<String>,
    /// True if the route releases fields that nothing classifies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub releases_unclassified: bool,
    /// The facts about people that the rules compared which were in force, by name. The circumstances state no others: a fact
    /// that is not listed can have been anything. `None` if a gateway of an earlier version counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compares: Option<BTreeSet<String>>,
}

/// One more person of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenPerson {
    /// As [`SeenCircumstance::subject`].
    pub subject: Option<ScenarioTable>,
    /// As [`SeenCircumstance::request`].
    pub request: ScenarioTable,
}

#[cfg(test)]
mod tests;
