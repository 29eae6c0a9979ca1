//! The kinds of events: one row each, with its name, whom it concerns, what it can do and its members.
//!
//! Everything that follows from a kind alone is generated from this table. Rules that hold for one
//! kind only, and need more than its members, are in [`super::written`].

use jiff::Timestamp;
use serde_json::Value;

use super::event::{Facts, Registration, Right, Sort};
use super::member::{Approver, Member, RecipientName};
use super::members::Members;
use super::names::{Names, nearest_word};
use super::written::EventError;
use crate::decision::Addressee;
use crate::vocabulary::{CategoryId, PurposeId, RelationId};

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

/// Generates [`What`] and what follows from a kind alone. A row is: the variant, the word in an
/// event's `kind`, whom it concerns, its effect, and its members with their types, which know how
/// they are written ([`Member`]).
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $sort:ident, $effect:ident $({ $($member:ident: $type:ty),+ })?;)+) => {
        /// What happened.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum What {
            $($(#[$doc])* $kind $({ $($member: $type),+ })?),+
        }

        /// The word of every kind of event, for hints and help.
        pub const KINDS: &[&str] = &[$($name),+];

        /// Every kind, whom it concerns and its members, as `docs/events.md` lists them.
        pub const REFERENCE: &[(&str, Sort, &[&[&str]])] =
            &[$(($name, Sort::$sort, &[$($(<$type as Member>::NAMES,)+)?])),+];

        /// The members that one kind of event or another has.
        pub(super) const MEMBERS: &[&[&str]] = &[$($($(<$type as Member>::NAMES,)+)?)+];

        impl What {
            /// The word in an event's `kind`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(What::$kind { .. } => $name),+
                }
            }

            /// Whom this can happen to.
            pub fn concerns(&self) -> Sort {
                match self {
                    $(What::$kind { .. } => Sort::$sort),+
                }
            }

            /// The effect of its kind, whatever its members say.
            fn effect_of_its_kind(&self) -> Effect {
                match self {
                    $(What::$kind { .. } => Effect::$effect),+
                }
            }

            /// Takes the members that the kind of this name has.
            pub(super) fn read(
                kind: &str,
                members: &mut Members,
                names: &dyn Names,
            ) -> Result<What, EventError> {
                match kind {
                    $($name => Ok(What::$kind $({ $($member: Member::take(members, names)?),+ })?),)+
                    _ => Err(EventError::UnknownKind { nearest: nearest_word(kind, KINDS.iter().copied()) }),
                }
            }

            /// The recipient that it names.
            pub(super) fn recipient(&self) -> Option<&RecipientName> {
                match self {
                    $(What::$kind $({ $($member),+ })? => {
                        let named: &[Option<&RecipientName>] = &[$($(Member::recipient($member)),+)?];
                        named.iter().find_map(|name| *name)
                    })+
                }
            }

            /// Writes the members that the kind has.
            pub(super) fn write(&self, names: &dyn Names, put: &mut dyn FnMut(&str, Value)) {
                // Kinds without members use neither.
                let _ = (&names, &put);
                match self {
                    $(What::$kind $({ $($member),+ })? => {
                        $($(Member::put($member, names, put);)+)?
                    })+
                }
            }
        }

        /// The effect that the kind of this name has.
        fn effect_of_kind(kind: &str) -> Option<Effect> {
            match kind {
                $($name => Some(Effect::$effect),)+
                _ => None,
            }
        }
    };
}

kinds! {
    /// A version of the policy was shown (P-6g); it stands for no consent.
    Notice = "notice", Subject, Nothing;
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
    Fact = "fact", Subject, Either { facts: Facts };
    /// A fact that was recorded wrongly; from its `at` on it counts like a fact.
    Correction = "correction", Subject, Either { facts: Facts };
    /// The person asks for something (P-5); asked again while it is open, it is one request.
    RequestReceived = "request-received", Subject, Nothing { right: Right };
    RequestAnswered = "request-answered", Subject, Nothing { right: Right };
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

impl What {
    /// What this event can do: its kind's effect, but for what its members rule out or add.
    pub fn effect(&self) -> Effect {
        match self {
            // A consent that ends can take the place of one that does not.
            What::ConsentGiven { until: Some(_), .. } => Effect::Either,
            What::Fact { facts } | What::Correction { facts } if facts.only_withhold() => Effect::Restrictive,
            _ => self.effect_of_its_kind(),
        }
    }

    pub(super) fn is_fact(&self) -> bool {
        matches!(self, What::Fact { .. } | What::Correction { .. })
    }

    /// Whether an event tells that there is such a person: that they were shown a notice, consented,
    /// stand in a relation, or live somewhere. Saying no does not, nor does taking that back, nor a
    /// fact that only withholds: of somebody unknown nothing leaves, and none of these may change that.
    pub(super) fn makes_known(&self) -> bool {
        match self {
            What::Notice | What::ConsentGiven { .. } | What::Relation { .. } => true,
            What::Fact { facts } | What::Correction { facts } => !facts.make_nobody_known(),
            _ => false,
        }
    }
}

/// Whether events of this kind grant nothing, or nothing else, by the kind's name: for events whose
/// words are not in the vocabulary any more.
pub(super) fn only_grants(kind: &str) -> bool {
    matches!(effect_of_kind(kind), Some(Effect::Permissive | Effect::Nothing))
}
