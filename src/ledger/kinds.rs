//! The kinds of events: one row each, with its name, whom it concerns, what it can do and its members.
//!
//! Everything that follows from a kind alone is generated from this table. Rules that hold for one
//! kind only, and need more than its members, are in [`super::written`].

use jiff::Timestamp;
use serde_json::Value;

use super::entity::EntityKind;
use super::event_json::EventError;
use super::event_json::member::EventMember;
use super::event_json::reader::MemberReader;
use super::payload::{Approver, FactPatch, RecipientName, Registration, Right};
use super::terms::{TermLookup, nearest_term};
use crate::decision::Addressee;
use crate::vocabulary::{CategoryId, PurposeId, RelationId};

/// What an event can do to what may be disclosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventEffect {
    /// It can only disclose more: in force when it is durable.
    Permissive,
    /// It can only disclose less: in force before it is durable.
    Restrictive,
    /// It can do either: what it can withhold is withheld first, what it grants comes when it is durable.
    Mixed,
    Neutral,
}

/// Generates [`EventKind`] and what follows from a kind alone. A row is: the variant, the word in an
/// event's `kind`, whom it concerns, its effect, and its members with their types, which know how
/// they are written ([`EventMember`]).
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $entity:ident, $effect:ident $({ $($member:ident: $type:ty),+ })?;)+) => {
        /// What happened.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum EventKind {
            $($(#[$doc])* $kind $({ $($member: $type),+ })?),+
        }

        /// The word of every kind of event, for hints and help.
        pub const KINDS: &[&str] = &[$($name),+];

        /// Every kind, whom it concerns and its members, as `docs/events.md` lists them.
        pub const EVENT_REFERENCE: &[(&str, EntityKind, &[&[&str]])] =
            &[$(($name, EntityKind::$entity, &[$($(<$type as EventMember>::NAMES,)+)?])),+];

        /// The members that one kind of event or another has.
        pub(super) const MEMBERS: &[&[&str]] = &[$($($(<$type as EventMember>::NAMES,)+)?)+];

        impl EventKind {
            /// The word in an event's `kind`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(EventKind::$kind { .. } => $name),+
                }
            }

            /// Whom this can happen to.
            pub fn entity_kind(&self) -> EntityKind {
                match self {
                    $(EventKind::$kind { .. } => EntityKind::$entity),+
                }
            }

            /// The effect of its kind, whatever its members say.
            fn base_effect(&self) -> EventEffect {
                match self {
                    $(EventKind::$kind { .. } => EventEffect::$effect),+
                }
            }

            /// Takes the members that the kind of this name has.
            pub(super) fn read(
                kind: &str,
                members: &mut MemberReader,
                names: &dyn TermLookup,
            ) -> Result<EventKind, EventError> {
                match kind {
                    $($name => Ok(EventKind::$kind $({ $($member: EventMember::read(members, names)?),+ })?),)+
                    _ => Err(EventError::UnknownKind { nearest: nearest_term(kind, KINDS.iter().copied()), known: KINDS }),
                }
            }

            /// The recipient that it names.
            pub(super) fn recipient(&self) -> Option<&RecipientName> {
                match self {
                    $(EventKind::$kind $({ $($member),+ })? => {
                        let named: &[Option<&RecipientName>] = &[$($(EventMember::recipient($member)),+)?];
                        named.iter().find_map(|name| *name)
                    })+
                }
            }

            /// Writes the members that the kind has.
            pub(super) fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
                // Kinds without members use neither.
                let _ = (&names, &put);
                match self {
                    $(EventKind::$kind $({ $($member),+ })? => {
                        $($(EventMember::write($member, names, put);)+)?
                    })+
                }
            }
        }

        /// The effect that the kind of this name has.
        fn effect_of_kind(kind: &str) -> Option<EventEffect> {
            match kind {
                $($name => Some(EventEffect::$effect),)+
                _ => None,
            }
        }
    };
}

kinds! {
    /// A version of the policy was shown (P-6g); it stands for no consent.
    Notice = "notice", Subject, Neutral;
    ConsentGiven = "consent-given", Subject, Permissive { purpose: PurposeId, to: Addressee, until: Option<Timestamp> };
    ConsentRefused = "consent-refused", Subject, Restrictive { purpose: PurposeId, to: Addressee };
    ConsentWithdrawn = "consent-withdrawn", Subject, Restrictive { purpose: PurposeId, to: Addressee };
    Objection = "objection", Subject, Restrictive { purpose: PurposeId };
    ObjectionLifted = "objection-lifted", Subject, Permissive { purpose: PurposeId };
    ObjectionUpheld = "objection-upheld", Subject, Restrictive { purpose: PurposeId };
    ObjectionOverridden = "objection-overridden", Subject, Permissive { purpose: PurposeId };
    OptOut = "opt-out", Subject, Restrictive { recipient: RecipientName };
    OptOutLifted = "opt-out-lifted", Subject, Permissive { recipient: RecipientName };
    Restriction = "restriction", Subject, Restrictive;
    RestrictionLifted = "restriction-lifted", Subject, Permissive;
    /// For good: nothing lifts an erasure.
    Erasure = "erasure", Subject, Restrictive;
    CategoryRefused = "category-refused", Subject, Restrictive { category: CategoryId };
    CategoryAllowed = "category-allowed", Subject, Permissive { category: CategoryId };
    Relation = "relation", Subject, Permissive { relation: RelationId, recipient: Option<RecipientName> };
    /// Without a recipient: every relation of this name, bound or not.
    RelationEnded = "relation-ended", Subject, Restrictive { relation: RelationId, recipient: Option<RecipientName> };
    Fact = "fact", Subject, Mixed { facts: FactPatch };
    /// A fact that was recorded wrongly; from its `at` on it counts like a fact.
    Correction = "correction", Subject, Mixed { facts: FactPatch };
    /// The person asks for something (P-5); asked again while it is open, it is one request.
    RequestReceived = "request-received", Subject, Neutral { right: Right };
    RequestAnswered = "request-answered", Subject, Neutral { right: Right };
    Instruction = "instruction", Controller, Permissive { purpose: PurposeId };
    InstructionEnded = "instruction-ended", Controller, Restrictive { purpose: PurposeId };
    AccountClosed = "account-closed", Controller, Restrictive;
    Suspended = "suspended", Recipient, Restrictive;
    Resumed = "resumed", Recipient, Permissive;
    CaseRegistered = "case-registered", Case, Permissive { registration: Box<Registration> };
    /// Counts once for each approver.
    CaseApproved = "case-approved", Case, Permissive { approver: Approver };
    /// For good, before its time.
    CaseEnded = "case-ended", Case, Restrictive;
}

impl EventKind {
    /// What this event can do: its kind's effect, but for what its members rule out or add.
    pub fn effect(&self) -> EventEffect {
        match self {
            // A consent that ends can take the place of one that does not.
            EventKind::ConsentGiven { until: Some(_), .. } => EventEffect::Mixed,
            EventKind::Fact { facts } | EventKind::Correction { facts } if facts.is_restrictive() => {
                EventEffect::Restrictive
            }
            _ => self.base_effect(),
        }
    }

    pub(super) fn is_fact(&self) -> bool {
        matches!(self, EventKind::Fact { .. } | EventKind::Correction { .. })
    }

    /// Whether an event tells that there is such a person: that they were shown a notice, consented,
    /// stand in a relation, or live somewhere. Saying no does not, nor does taking that back, nor a
    /// fact that only withholds: of somebody unknown nothing leaves, and none of these may change that.
    pub(super) fn makes_known(&self) -> bool {
        match self {
            EventKind::Notice | EventKind::ConsentGiven { .. } | EventKind::Relation { .. } => true,
            EventKind::Fact { facts } | EventKind::Correction { facts } => !facts.keeps_subject_unknown(),
            _ => false,
        }
    }
}

/// Whether events of this kind grant nothing, or nothing else, by the kind's name: for events whose
/// words are not in the vocabulary any more.
pub(super) fn only_grants(kind: &str) -> bool {
    matches!(effect_of_kind(kind), Some(EventEffect::Permissive | EventEffect::Neutral))
}
