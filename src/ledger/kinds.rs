//! The table of event kinds: for each kind its name, the kind of entity it is about, its effect and its members.
//!
//! Everything that follows from the kind alone is generated from the table. Rules for single kinds that also depend
//! on other parts of the event are in [`super::event_json`].

use jiff::Timestamp;
use serde_json::Value;

use super::entity::EntityKind;
use super::event_json::EventError;
use super::event_json::member::EventMember;
use super::event_json::member_schema::MemberSchema;
use super::event_json::reader::MemberReader;
use super::payload::{Approver, FactPatch, RecipientName, Registration, Right};
use super::terms::{TermLookup, nearest_term};
use crate::decision::Addressee;
use crate::vocabulary::{CategoryId, PurposeId, RelationId};

/// The effect of an event on what may be disclosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventEffect {
    /// The event can only permit more. It is in force once it is durable.
    Permissive,
    /// The event can only withhold more. It is in force before it is durable.
    Restrictive,
    /// The event can do both. The part that withholds is in force before the event is durable, the rest afterwards.
    Mixed,
    /// The event changes nothing about disclosures.
    Neutral,
}

/// The schema of one kind of event, without the members that all kinds have.
pub(super) struct KindSchema {
    pub(super) name: &'static str,
    pub(super) entity: EntityKind,
    /// Text that describes the kind.
    pub(super) description: &'static str,
    pub(super) members: Vec<MemberSchema>,
}

/// Generates [`EventKind`] and everything that follows from a kind alone. A row consists of the variant, the value of
/// the member `kind` in JSON, the kind of entity, the effect, and the members with their types. The types know how
/// they are read and written ([`EventMember`]).
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal, $entity:ident, $effect:ident $({ $($member:ident: $type:ty),+ })?;)+) => {
        /// The kind of an event, with the members that only events of this kind have.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the types of the members say what they are")]
        pub enum EventKind {
            $($(#[doc = $doc])* $kind $({ $($member: $type),+ })?),+
        }

        /// Names of all kinds of events, for hints and help texts.
        pub const KINDS: &[&str] = &[$($name),+];

        /// All kinds of events with the kind of entity they are about and their members, as in `docs/events.md`.
        pub const EVENT_REFERENCE: &[(&str, EntityKind, &[&[&str]])] =
            &[$(($name, EntityKind::$entity, &[$($(<$type as EventMember>::NAMES,)+)?])),+];

        /// The members of all kinds, one list for each type of member.
        pub(super) const MEMBERS: &[&[&str]] = &[$($($(<$type as EventMember>::NAMES,)+)?)+];

        /// Returns the schemas of the members of all kinds.
        pub(super) fn kind_schemas() -> Vec<KindSchema> {
            vec![$(KindSchema {
                name: $name,
                entity: EntityKind::$entity,
                description: concat!($($doc),*).trim_ascii(),
                members: vec![$($(<$type as EventMember>::schema()),+)?],
            }),+]
        }

        impl EventKind {
            /// Returns the name of the kind, as in the member `kind` of an event.
            pub fn name(&self) -> &'static str {
                match self {
                    $(EventKind::$kind { .. } => $name),+
                }
            }

            /// Returns the kind of entity that such an event is about.
            pub fn entity_kind(&self) -> EntityKind {
                match self {
                    $(EventKind::$kind { .. } => EntityKind::$entity),+
                }
            }

            /// Returns the effect of the kind, regardless of the members.
            fn base_effect(&self) -> EventEffect {
                match self {
                    $(EventKind::$kind { .. } => EventEffect::$effect),+
                }
            }

            /// Reads the members that the kind of this name has.
            pub(super) fn read(
                kind: &str,
                members: &mut MemberReader,
                terms: &dyn TermLookup,
            ) -> Result<EventKind, EventError> {
                match kind {
                    $($name => Ok(EventKind::$kind $({ $($member: EventMember::read(members, terms)?),+ })?),)+
                    _ => Err(EventError::UnknownKind { nearest: nearest_term(kind, KINDS.iter().copied()), known: KINDS }),
                }
            }

            /// Returns the recipient that the event names.
            pub(super) fn recipient(&self) -> Option<&RecipientName> {
                match self {
                    $(EventKind::$kind $({ $($member),+ })? => {
                        let named: &[Option<&RecipientName>] = &[$($(EventMember::recipient($member)),+)?];
                        named.iter().find_map(|name| *name)
                    })+
                }
            }

            /// Writes the members that the kind has. `put` receives the name and the value of each.
            pub(super) fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
                // Arms of kinds without members use neither argument.
                let _ = (&terms, &put);
                match self {
                    $(EventKind::$kind $({ $($member),+ })? => {
                        $($(EventMember::write($member, terms, put);)+)?
                    })+
                }
            }
        }

        /// Returns the effect of the kind of this name.
        fn effect_of_kind(kind: &str) -> Option<EventEffect> {
            match kind {
                $($name => Some(EventEffect::$effect),)+
                _ => None,
            }
        }
    };
}

kinds! {
    /// The person was shown a version of the privacy notice (P-6g). This is not a consent.
    Notice = "notice", Subject, Neutral;
    /// The person consented. With `until`, the consent ends at that time without another event.
    ConsentGiven = "consent-given", Subject, Permissive { purpose: PurposeId, to: Addressee, until: Option<Timestamp> };
    /// The person refused to consent.
    ConsentRefused = "consent-refused", Subject, Restrictive { purpose: PurposeId, to: Addressee };
    /// The person withdrew a consent (GDPR Art. 7(3)).
    ConsentWithdrawn = "consent-withdrawn", Subject, Restrictive { purpose: PurposeId, to: Addressee };
    /// The person objected to a purpose (GDPR Art. 21).
    Objection = "objection", Subject, Restrictive { purpose: PurposeId };
    /// The person took an objection back.
    ObjectionLifted = "objection-lifted", Subject, Permissive { purpose: PurposeId };
    /// The controller examined the objection and accepted it.
    ObjectionUpheld = "objection-upheld", Subject, Restrictive { purpose: PurposeId };
    /// The controller demonstrated compelling legitimate grounds (GDPR Art. 21(1)).
    ObjectionOverridden = "objection-overridden", Subject, Permissive { purpose: PurposeId };
    /// The person opted out of disclosures to one recipient.
    OptOut = "opt-out", Subject, Restrictive { recipient: RecipientName };
    /// The person took an opt-out back.
    OptOutLifted = "opt-out-lifted", Subject, Permissive { recipient: RecipientName };
    /// Processing is restricted (GDPR Art. 18).
    Restriction = "restriction", Subject, Restrictive;
    /// The restriction of processing ended.
    RestrictionLifted = "restriction-lifted", Subject, Permissive;
    /// The person's data are erased (GDPR Art. 17). This is final: no event lifts an erasure.
    Erasure = "erasure", Subject, Restrictive;
    /// The secret was deleted under which the disclosure log names the person. The gateway records it after an erasure.
    LogSecretErased = "log-secret-erased", Subject, Neutral;
    /// The person refused the disclosure of one data category.
    CategoryRefused = "category-refused", Subject, Restrictive { category: CategoryId };
    /// The person took the refusal of a data category back.
    CategoryAllowed = "category-allowed", Subject, Permissive { category: CategoryId };
    /// The person stands in a relation, to the controller or to one recipient.
    Relation = "relation", Subject, Permissive { relation: RelationId, recipient: Option<RecipientName> };
    /// A relation ended. Without a recipient, this ends every relation of this name.
    RelationEnded = "relation-ended", Subject, Restrictive { relation: RelationId, recipient: Option<RecipientName> };
    /// Facts about the person became known.
    Fact = "fact", Subject, Mixed { facts: FactPatch };
    /// Facts were recorded wrongly. From its `at` on, a correction counts like a fact.
    Correction = "correction", Subject, Mixed { facts: FactPatch };
    /// The person exercised a right (P-5). A repetition while the request is open is the same request.
    RequestReceived = "request-received", Subject, Neutral { right: Right };
    /// The controller answered a request.
    RequestAnswered = "request-answered", Subject, Neutral { right: Right };
    /// The controller instructed us to process data for a purpose (GDPR Art. 28(3)(a)).
    Instruction = "instruction", Controller, Permissive { purpose: PurposeId };
    /// An instruction ended, for the purpose and those below it.
    InstructionEnded = "instruction-ended", Controller, Restrictive { purpose: PurposeId };
    /// The controller's account was closed. This is final.
    AccountClosed = "account-closed", Controller, Restrictive;
    /// Disclosures to the recipient are suspended.
    Suspended = "suspended", Recipient, Restrictive;
    /// Disclosures to the recipient are permitted again.
    Resumed = "resumed", Recipient, Permissive;
    /// A disclosure case was registered.
    CaseRegistered = "case-registered", Case, Permissive { registration: Box<Registration> };
    /// A person approved the case. Each approver counts once.
    CaseApproved = "case-approved", Case, Permissive { approver: Approver };
    /// The case ended before its time. This is final.
    CaseEnded = "case-ended", Case, Restrictive;
}

impl EventKind {
    /// Returns the effect of this event: the effect of its kind, narrowed or widened by the members.
    pub fn effect(&self) -> EventEffect {
        match self {
            // A consent with an end can replace one without.
            EventKind::ConsentGiven { until: Some(_), .. } => EventEffect::Mixed,
            EventKind::Fact { facts } | EventKind::Correction { facts } if facts.is_restrictive() => {
                EventEffect::Restrictive
            }
            _ => self.base_effect(),
        }
    }

    /// True if less can be disclosed once the event is in force.
    pub fn withholds(&self) -> bool {
        !matches!(self.effect(), EventEffect::Permissive | EventEffect::Neutral)
    }

    /// True for facts and corrections.
    pub(super) fn is_fact(&self) -> bool {
        matches!(self, EventKind::Fact { .. } | EventKind::Correction { .. })
    }

    /// True if the event proves that the person exists: they were shown a notice, consented, stand in a relation, or
    /// live somewhere. Refusals, the withdrawal of refusals, and facts that only withhold do not prove it. Nothing is
    /// disclosed about an unknown person, so an event that only withholds must not make a person known.
    pub(super) fn makes_known(&self) -> bool {
        match self {
            EventKind::Notice | EventKind::ConsentGiven { .. } | EventKind::Relation { .. } => true,
            EventKind::Fact { facts } | EventKind::Correction { facts } => !facts.keeps_subject_unknown(),
            _ => false,
        }
    }
}

/// True if events of this kind only grant, or have no effect. Used for stored events whose terms the vocabulary no
/// longer has.
pub(super) fn only_grants(kind: &str) -> bool {
    matches!(effect_of_kind(kind), Some(EventEffect::Permissive | EventEffect::Neutral))
}
