//! Values that events carry beside their kind: facts, rights, registrations of cases, approvers, provenance.
//!
//! This module does not know about JSON (see [`super::event_json`]). [`super::kinds`] says which kind of event
//! carries which value.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::vocabulary::{CategoryId, Origin, PurposeId, SubjectId, terms};

/// The configured name of a recipient.
pub type RecipientName = Arc<str>;

/// A new value for one fact that can be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The event does not mention the fact.
    #[default]
    Unchanged,
    /// The event says that the fact is not known.
    Unknown,
    /// The event gives the fact this value.
    Known(T),
    /// The event is not durable: neither the old value nor the new one counts. No recorded event says this.
    Undecided,
}

/// The facts that a `fact` or `correction` event sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactPatch {
    /// Region of residence, as a label of the vocabulary.
    pub region: Patch<Arc<str>>,
    /// Country of residence, as a code of ISO 3166-1.
    pub country: Patch<Arc<str>>,
    /// True if the person is a minor.
    pub minor: Option<bool>,
    /// True if the person consents to transfers to third countries (GDPR Art. 49(1)(a)).
    pub transfer_consent: Option<bool>,
    /// Origin of all data about the person. It replaces the origins that earlier events gave to single categories.
    pub origin: Option<Origin>,
    /// Origins of single categories. They take precedence over an `origin` of an earlier event.
    pub origin_of: Vec<(CategoryId, Origin)>,
}

impl FactPatch {
    /// Returns, for each fact that the event mentions, a value that discloses no more than the old value and no more
    /// than the new one: a minor, no consent to a transfer, an undecided place, data from somebody else.
    pub(super) fn most_restrictive(&self) -> FactPatch {
        // If nothing counted as stated, a record could state a place that discloses more.
        let undecided = |patch: &Patch<Arc<str>>| match patch {
            Patch::Unchanged => Patch::Unchanged,
            Patch::Unknown | Patch::Known(_) | Patch::Undecided => Patch::Undecided,
        };
        FactPatch {
            region: undecided(&self.region),
            country: undecided(&self.country),
            minor: self.minor.filter(|minor| *minor),
            transfer_consent: self.transfer_consent.filter(|consent| !*consent),
            origin: self.origin.map(|_| Origin::Referral),
            origin_of: self.origin_of.iter().map(|(category, _)| (*category, Origin::Referral)).collect(),
        }
    }

    /// Returns the facts whose values disclose the least possible, whatever was known before: a minor, no
    /// consent to a transfer, data from somebody else.
    pub(super) fn certain_to_withhold(&self) -> FactPatch {
        let withholds = |origin: &Origin| *origin == Origin::Referral;
        FactPatch {
            region: Patch::Unchanged,
            country: Patch::Unchanged,
            minor: self.minor.filter(|minor| *minor),
            transfer_consent: self.transfer_consent.filter(|consent| !*consent),
            origin: self.origin.filter(withholds),
            origin_of: self.origin_of.iter().filter(|(_, origin)| withholds(origin)).copied().collect(),
        }
    }

    /// True if these facts can only reduce what is disclosed, whatever was known before.
    pub(super) fn is_restrictive(&self) -> bool {
        *self == self.certain_to_withhold()
    }

    /// True if these facts carry no knowledge about the person beyond restrictions. An unknown place is no
    /// knowledge either.
    pub(super) fn keeps_subject_unknown(&self) -> bool {
        let states = |place: &Patch<Arc<str>>| matches!(place, Patch::Known(_));
        let beside_places = FactPatch { region: Patch::Unchanged, country: Patch::Unchanged, ..self.clone() };
        !states(&self.region) && !states(&self.country) && beside_places.is_restrictive()
    }
}

terms!(
    /// A right that a data subject can exercise by a request (GDPR Art. 15 to 18, 20, 21).
    Right {
        /// Access (Art. 15).
        Access = "access",
        /// Rectification (Art. 16).
        Rectification = "rectification",
        /// Erasure (Art. 17).
        Erasure = "erasure",
        /// Restriction of processing (Art. 18).
        Restriction = "restriction",
        /// Data portability (Art. 20).
        Portability = "portability",
        /// Objection (Art. 21).
        Objection = "objection",
    }
);

/// The registration of a disclosure case.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The authority's configured name.
    pub recipient: Arc<str>,
    /// The purpose that the case permits disclosures for.
    pub purpose: PurposeId,
    /// The data subjects whose data may be disclosed.
    pub subjects: Vec<SubjectId>,
    /// The data categories that may be disclosed.
    pub categories: Vec<CategoryId>,
    /// The instant from which the case is no longer in force.
    pub end: Timestamp,
    /// The authority's own reference number.
    pub reference: Arc<str>,
    /// Until this instant, reports to the data subject omit disclosures under the case.
    pub confidential_until: Option<Timestamp>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration")
    }
}

/// A person who approved a disclosure case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver(pub Arc<str>);

impl Approver {
    /// True if the name consists of characters that cannot be confused: two approvals must come from two people, and
    /// look-alike letters of another alphabet, or invisible characters, would let one person approve under two names.
    /// Only new events are checked; recorded ones are accepted as they are.
    pub(crate) fn has_distinct_characters(&self) -> bool {
        let is_distinct = |byte: u8| byte.is_ascii_alphanumeric() || b"._@- ".contains(&byte);
        let name = self.0.trim_ascii();
        name.bytes().all(is_distinct) && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
    }

    /// True if a name means the same person.
    pub(super) fn is(&self, name: &str) -> bool {
        Approver(Arc::from(name)).normalized() == self.normalized()
    }

    /// Returns the name reduced to lowercase letters and digits. Two approvers are the same person if their
    /// normalized names are equal.
    pub(crate) fn normalized(&self) -> String {
        self.0.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    }
}

/// Evidence of how an event came about. No decision depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Version of the notice that the person was shown.
    pub notice: Option<Arc<str>>,
    /// Channel through which the event was reported.
    pub channel: Option<Arc<str>>,
    /// Reference to a proof, such as a form or a memo.
    pub evidence: Option<Arc<str>>,
    /// Who recorded the event.
    pub recorded_by: Option<RecordedBy>,
}

/// The person or program that recorded an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedBy {
    /// The name.
    pub name: Arc<str>,
    /// True if the name is that of a credential of the admin API; false if somebody only said it.
    pub verified: bool,
}
