//! Explains a request that is refused before any data are considered.

use serde::Serialize;

use super::super::admission::{AdmissionRequest, Denial, check};
use super::changes::{RequiredChange, RequiredChanges, only_for};
use crate::policy::Pack;
use crate::vocabulary::{KindId, Operation, PurposeId};

/// Explains why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DenialExplanation {
    /// The reason.
    pub why: String,
    /// The changes that would let it be admitted.
    #[serde(flatten)]
    pub changes: RequiredChanges,
}

impl DenialExplanation {
    pub(super) fn of(pack: &Pack, request: &AdmissionRequest, denial: Denial) -> DenialExplanation {
        let purpose = pack.vocabulary().purposes().name(request.purpose);
        let (why, what, change) = match denial {
            Denial::PurposeNotPermitted => (
                format!("the recipient is not registered for `{purpose}`"),
                "registration",
                format!("`purposes` of the recipient: with `{purpose}`"),
            ),
            Denial::RecipientSuspended => {
                ("the recipient is suspended".to_owned(), "suspension", "the recipient resumed".to_owned())
            }
            Denial::AgreementNotInForce => (
                "no agreement with the recipient is in force".to_owned(),
                "agreement",
                "an agreement with the recipient that is in force".to_owned(),
            ),
            Denial::LegalReferenceMissing => (
                format!("the request cites no registered case, and `{purpose}` takes one"),
                "case",
                format!(
                    "a registered case for the recipient and `{purpose}`, approved by two people and not ended, that the request cites"
                ),
            ),
            Denial::NoRulePermits => {
                let (why, changes) =
                    no_rule_permits(pack, request.recipient.kind, request.purpose, request.operation);
                return DenialExplanation { why, changes };
            }
        };
        let own = RequiredChange::new(what, change);
        let better = request.without_obstacle(denial);
        let further = better.and_then(|better| {
            let denial = check(pack, &better).err()?;
            Some(DenialExplanation::of(pack, &better, denial).changes)
        });
        DenialExplanation { why, changes: further.unwrap_or_default().preceded_by(&own) }
    }
}

/// Explains why no rule can permit the request, and for which purposes rules do.
pub fn no_rule_permits(
    pack: &Pack,
    kind: KindId,
    purpose: PurposeId,
    operation: Operation,
) -> (String, RequiredChanges) {
    let (vocabulary, rulebook) = (pack.vocabulary(), pack.rulebook());
    let is_possible = |purpose: PurposeId, operation| rulebook.can_permit(kind, purpose, operation);
    // If rules can permit the operation itself, the request is refused because nothing in the response could be
    // disclosed.
    let missing = match is_possible(purpose, operation) {
        true => Operation::Disclose,
        false => operation,
    };
    let why = format!(
        "no rule permits `{}` to `{}` for `{}`",
        missing.name(),
        vocabulary.kinds().name(kind),
        vocabulary.purposes().name(purpose)
    );
    let is_admitted = |purpose| is_possible(purpose, operation) && is_possible(purpose, Operation::Disclose);
    let never = match operation {
        Operation::Disclose => only_for(pack, "releases anything to", is_admitted),
        other => only_for(pack, &format!("permits `{}` to", other.name()), is_admitted),
    };
    (why, RequiredChanges::never(never))
}
