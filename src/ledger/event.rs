//! What can happen to a data subject, a controller, a recipient or a case, as the ledger records it.
//!
//! It knows what each kind of event means in words of the vocabulary and whether it can disclose
//! more or less. It refuses to know how events are written (see [`super::written`]) or kept.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::Addressee;
use crate::vocabulary::SubjectId;
use crate::vocabulary::{CategoryId, Origin, PurposeId, RelationId};

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
    pub fn sort(&self) -> Sort {
        match self {
            Entity::Subject(_) => Sort::Subject,
            Entity::Controller(_) => Sort::Controller,
            Entity::Recipient(_) => Sort::Recipient,
            Entity::Case(_) => Sort::Case,
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
pub enum Sort {
    Subject,
    Controller,
    Recipient,
    Case,
}

impl Sort {
    pub fn name(self) -> &'static str {
        match self {
            Sort::Subject => "data subject",
            Sort::Controller => "controller",
            Sort::Recipient => "recipient",
            Sort::Case => "case",
        }
    }
}

/// What a `fact` event says of one fact that can be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Said<T> {
    #[default]
    Nothing,
    Unknown,
    Known(T),
}

/// What a `fact` event says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub region: Said<Arc<str>>,
    pub country: Said<Arc<str>>,
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

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A version of the policy was shown (P-6g); it stands for no consent.
    Notice,
    ConsentGiven {
        purpose: PurposeId,
        to: Addressee,
        until: Option<Timestamp>,
    },
    ConsentRefused {
        purpose: PurposeId,
        to: Addressee,
    },
    ConsentWithdrawn {
        purpose: PurposeId,
        to: Addressee,
    },
    Objection {
        purpose: PurposeId,
    },
    ObjectionLifted {
        purpose: PurposeId,
    },
    ObjectionUpheld {
        purpose: PurposeId,
    },
    ObjectionOverridden {
        purpose: PurposeId,
    },
    OptOut {
        recipient: Arc<str>,
    },
    OptOutLifted {
        recipient: Arc<str>,
    },
    Restriction,
    RestrictionLifted,
    /// For good: nothing lifts an erasure.
    Erasure,
    CategoryRefused {
        category: CategoryId,
    },
    CategoryAllowed {
        category: CategoryId,
    },
    Relation {
        relation: RelationId,
        recipient: Option<Arc<str>>,
    },
    /// Without a recipient: every relation of this name, bound or not.
    RelationEnded {
        relation: RelationId,
        recipient: Option<Arc<str>>,
    },
    Fact(Facts),
    /// A fact that was recorded wrongly; from its `at` on it counts like a fact.
    Correction(Facts),
    /// The person asks for something (P-5); asked again while it is open, it is one request.
    RequestReceived {
        right: Right,
    },
    RequestAnswered {
        right: Right,
    },
    Instruction {
        purpose: PurposeId,
    },
    InstructionEnded {
        purpose: PurposeId,
    },
    AccountClosed,
    Suspended,
    Resumed,
    CaseRegistered(Box<Registration>),
    /// Counts once for each approver.
    CaseApproved {
        approver: Arc<str>,
    },
    /// For good, before its time.
    CaseEnded,
}

/// What an event can do to what may be disclosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It can only disclose more: in force when it is durable.
    Permissive,
    /// It can only disclose less: in force before it is durable.
    Restrictive,
    /// It can do either: what it can withhold is withheld first, what it grants comes when it is durable.
    Either,
    Nothing,
}

impl What {
    /// The word in an event's `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Notice => "notice",
            What::ConsentGiven { .. } => "consent-given",
            What::ConsentRefused { .. } => "consent-refused",
            What::ConsentWithdrawn { .. } => "consent-withdrawn",
            What::Objection { .. } => "objection",
            What::ObjectionLifted { .. } => "objection-lifted",
            What::ObjectionUpheld { .. } => "objection-upheld",
            What::ObjectionOverridden { .. } => "objection-overridden",
            What::OptOut { .. } => "opt-out",
            What::OptOutLifted { .. } => "opt-out-lifted",
            What::Restriction => "restriction",
            What::RestrictionLifted => "restriction-lifted",
            What::Erasure => "erasure",
            What::CategoryRefused { .. } => "category-refused",
            What::CategoryAllowed { .. } => "category-allowed",
            What::Relation { .. } => "relation",
            What::RelationEnded { .. } => "relation-ended",
            What::Fact(_) => "fact",
            What::Correction(_) => "correction",
            What::RequestReceived { .. } => "request-received",
            What::RequestAnswered { .. } => "request-answered",
            What::Instruction { .. } => "instruction",
            What::InstructionEnded { .. } => "instruction-ended",
            What::AccountClosed => "account-closed",
            What::Suspended => "suspended",
            What::Resumed => "resumed",
            What::CaseRegistered(_) => "case-registered",
            What::CaseApproved { .. } => "case-approved",
            What::CaseEnded => "case-ended",
        }
    }

    /// Whom this can happen to.
    pub fn concerns(&self) -> Sort {
        match self {
            What::Notice
            | What::ConsentGiven { .. }
            | What::ConsentRefused { .. }
            | What::ConsentWithdrawn { .. }
            | What::Objection { .. }
            | What::ObjectionLifted { .. }
            | What::ObjectionUpheld { .. }
            | What::ObjectionOverridden { .. }
            | What::OptOut { .. }
            | What::OptOutLifted { .. }
            | What::Restriction
            | What::RestrictionLifted
            | What::Erasure
            | What::CategoryRefused { .. }
            | What::CategoryAllowed { .. }
            | What::Relation { .. }
            | What::RelationEnded { .. }
            | What::Fact(_)
            | What::Correction(_)
            | What::RequestReceived { .. }
            | What::RequestAnswered { .. } => Sort::Subject,
            What::Instruction { .. } | What::InstructionEnded { .. } | What::AccountClosed => {
                Sort::Controller
            }
            What::Suspended | What::Resumed => Sort::Recipient,
            What::CaseRegistered(_) | What::CaseApproved { .. } | What::CaseEnded => Sort::Case,
        }
    }

    pub fn effect(&self) -> Effect {
        match self {
            What::Notice | What::RequestReceived { .. } | What::RequestAnswered { .. } => Effect::Nothing,
            // A consent that ends can take the place of one that does not.
            What::ConsentGiven { until: Some(_), .. } => Effect::Either,
            What::ConsentGiven { until: None, .. }
            | What::ObjectionLifted { .. }
            | What::ObjectionOverridden { .. }
            | What::OptOutLifted { .. }
            | What::RestrictionLifted
            | What::CategoryAllowed { .. }
            | What::Relation { .. }
            | What::Instruction { .. }
            | What::Resumed
            | What::CaseRegistered(_)
            | What::CaseApproved { .. } => Effect::Permissive,
            What::ConsentRefused { .. }
            | What::ConsentWithdrawn { .. }
            | What::Objection { .. }
            | What::ObjectionUpheld { .. }
            | What::OptOut { .. }
            | What::Restriction
            | What::Erasure
            | What::CategoryRefused { .. }
            | What::RelationEnded { .. }
            | What::InstructionEnded { .. }
            | What::AccountClosed
            | What::Suspended
            | What::CaseEnded => Effect::Restrictive,
            What::Fact(_) | What::Correction(_) => Effect::Either,
        }
    }
}

/// What an event carries along and no decision asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    pub notice: Option<Arc<str>>,
    pub channel: Option<Arc<str>>,
    pub evidence: Option<Arc<str>>,
}

/// An event as somebody reports it; without `at` it happens when it is recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    pub what: What,
    pub at: Option<Timestamp>,
    pub attached: Attached,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({})", self.what.kind())
    }
}

/// An event with its time.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub what: What,
    pub at: Timestamp,
    pub attached: Attached,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", self.what.kind())
    }
}

impl Event {
    /// The part of this event that is in force before it is durable: it can only withhold.
    pub(super) fn before_durable(&self) -> Option<Event> {
        match (&self.what, self.what.effect()) {
            (What::Fact(facts) | What::Correction(facts), _) => {
                Some(Event { what: What::Fact(facts.withholding()), ..self.clone() })
            }
            (_, Effect::Restrictive) => Some(self.clone()),
            (_, Effect::Permissive | Effect::Either | Effect::Nothing) => None,
        }
    }
}

impl Facts {
    /// Of each fact the value that discloses less than both the old and the new one: a minor, no
    /// consent to a transfer, an unknown place, data that somebody else gave.
    fn withholding(&self) -> Facts {
        let unknown = |said: &Said<Arc<str>>| match said {
            Said::Nothing => Said::Nothing,
            Said::Unknown | Said::Known(_) => Said::Unknown,
        };
        Facts {
            region: unknown(&self.region),
            country: unknown(&self.country),
            minor: self.minor.filter(|minor| *minor),
            transfer_consent: self.transfer_consent.filter(|consent| !*consent),
            origin: self.origin.map(|_| Origin::Referral),
            origin_of: self.origin_of.iter().map(|(category, _)| (*category, Origin::Referral)).collect(),
        }
    }
}
