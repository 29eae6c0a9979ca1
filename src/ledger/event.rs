//! What can happen to a data subject, a controller, a recipient or a case, as the ledger records it.
//!
//! It knows the parts of an event that every kind shares; the kinds are in [`super::kinds`]. It
//! refuses to know how events are written (see [`super::written`]) or kept.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::kinds::{EventEffect, EventKind};
use crate::vocabulary::SubjectId;
use crate::vocabulary::{CategoryId, Origin, PurposeId};

/// Whom an event is about. `Debug` prints the type's name only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Entity {
    Subject(SubjectId),
    Controller(SubjectId),
    /// A recipient by its configured name.
    Recipient(Arc<str>),
    /// A disclosure case by its id.
    Case(Arc<str>),
}

impl Entity {
    pub fn kind(&self) -> EntityKind {
        match self {
            Entity::Subject(_) => EntityKind::Subject,
            Entity::Controller(_) => EntityKind::Controller,
            Entity::Recipient(_) => EntityKind::Recipient,
            Entity::Case(_) => EntityKind::Case,
        }
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entity")
    }
}

/// The sorts of [`Entity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityKind {
    Subject,
    Controller,
    Recipient,
    Case,
}

impl EntityKind {
    pub fn name(self) -> &'static str {
        match self {
            EntityKind::Subject => "data subject",
            EntityKind::Controller => "controller",
            EntityKind::Recipient => "recipient",
            EntityKind::Case => "case",
        }
    }
}

/// What a `fact` event says of one fact that can be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    #[default]
    Unchanged,
    Unknown,
    Known(T),
}

/// What a `fact` event says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactPatch {
    pub region: Patch<Arc<str>>,
    pub country: Patch<Arc<str>>,
    pub minor: Option<bool>,
    pub transfer_consent: Option<bool>,
    /// The origin of everything that `origin_of` does not name later or more exactly.
    pub origin: Option<Origin>,
    pub origin_of: Vec<(CategoryId, Origin)>,
}

/// What a data subject can ask for (GDPR Art. 15 to 18, 20, 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    Access,
    Rectification,
    Erasure,
    Restriction,
    Portability,
    Objection,
}

impl Right {
    pub const ALL: [Right; 6] = [
        Right::Access,
        Right::Rectification,
        Right::Erasure,
        Right::Restriction,
        Right::Portability,
        Right::Objection,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Right::Access => "access",
            Right::Rectification => "rectification",
            Right::Erasure => "erasure",
            Right::Restriction => "restriction",
            Right::Portability => "portability",
            Right::Objection => "objection",
        }
    }

    /// The right of this name.
    pub fn parse(name: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.name() == name)
    }
}

/// A disclosure case as it is registered.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The authority's configured name.
    pub recipient: Arc<str>,
    pub purpose: PurposeId,
    pub subjects: Vec<SubjectId>,
    pub categories: Vec<CategoryId>,
    /// From this instant on it is not in force.
    pub end: Timestamp,
    /// What the authority calls it.
    pub reference: Arc<str>,
    /// Until then disclosures under the case are left out of what the person is told.
    pub confidential_until: Option<Timestamp>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration")
    }
}

/// What an event carries along and no decision asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    pub notice: Option<Arc<str>>,
    pub channel: Option<Arc<str>>,
    pub evidence: Option<Arc<str>>,
}

/// An event as somebody reports it; without `at` it happens when it is recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct EventDraft {
    pub kind: EventKind,
    pub at: Option<Timestamp>,
    pub provenance: Provenance,
}

impl fmt::Debug for EventDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventDraft({})", self.kind.name())
    }
}

/// An event with its time.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub at: Timestamp,
    pub provenance: Provenance,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", self.kind.name())
    }
}

impl Event {
    /// The part of this event that is in force before it is durable: it can only withhold.
    pub(super) fn withholding_part(&self) -> Option<Event> {
        match (&self.kind, self.kind.effect()) {
            (EventKind::Fact { facts } | EventKind::Correction { facts }, _) => {
                Some(Event { kind: EventKind::Fact { facts: facts.most_restrictive() }, ..self.clone() })
            }
            (_, EventEffect::Restrictive) => Some(self.clone()),
            (_, EventEffect::Permissive | EventEffect::Mixed | EventEffect::Neutral) => None,
        }
    }
}

impl FactPatch {
    /// Of each fact the value that discloses less than both the old and the new one: a minor, no
    /// consent to a transfer, an unknown place, data that somebody else gave.
    fn most_restrictive(&self) -> FactPatch {
        let unknown = |said: &Patch<Arc<str>>| match said {
            Patch::Unchanged => Patch::Unchanged,
            Patch::Unknown | Patch::Known(_) => Patch::Unknown,
        };
        FactPatch {
            region: unknown(&self.region),
            country: unknown(&self.country),
            minor: self.minor.filter(|minor| *minor),
            transfer_consent: self.transfer_consent.filter(|consent| !*consent),
            origin: self.origin.map(|_| Origin::Referral),
            origin_of: self.origin_of.iter().map(|(category, _)| (*category, Origin::Referral)).collect(),
        }
    }

    /// The facts whose values disclose the least there is, whatever was known before: a minor, no
    /// consent to a transfer, data that somebody else gave.
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

    /// Whether these facts can only withhold, whatever was known before.
    pub(super) fn is_restrictive(&self) -> bool {
        *self == self.certain_to_withhold()
    }

    /// Whether they say of a person nothing but what withholds: a place that is not known is no
    /// knowledge either.
    pub(super) fn keeps_subject_unknown(&self) -> bool {
        *self == self.most_restrictive()
    }
}
