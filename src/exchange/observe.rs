//! Observe mode: everything is decided and recorded, and nothing is withheld, for traffic that exists already.
//!
//! An exchange that enforcing would refuse goes on, and the refusal is noted. Invariant: only exchanges with the
//! controller's own organisation are observed, whatever route they are on.

use jiff::Timestamp;

use super::route::{Recipient, Route};
use super::snapshot::Snapshot;
use super::{Refusal, Rejection};
use crate::decision::{Decisions, Reason};
use crate::disclosure::record::ExchangeMode;

/// Label in place of a category, for exchanges that enforcing would refuse as a whole.
pub(crate) const WHOLE_EXCHANGE: &str = "";

/// Name in place of the purpose of an observed exchange without one that is known.
const NO_PURPOSE: &str = "none";

/// Returns the purpose of an exchange as its answer and the metrics name it. The logs have the empty name as it is.
pub(super) fn named_purpose(purpose: &str, mode: ExchangeMode) -> &str {
    match mode {
        ExchangeMode::Observe if purpose.is_empty() => NO_PURPOSE,
        ExchangeMode::Observe | ExchangeMode::Enforce => purpose,
    }
}

/// Returns the mode in which an exchange with a recipient that began at `now` is decided.
pub(super) fn mode(
    route: &Route,
    recipient: &Recipient,
    decisions: &Decisions,
    now: Timestamp,
) -> ExchangeMode {
    let is_own = || decisions.pack().vocabulary().is_own_organisation(recipient.in_agreement.kind);
    if route.observes(now) && is_own() { ExchangeMode::Observe } else { ExchangeMode::Enforce }
}

/// True if a request of the recipient on this route, which an earlier snapshot observed, would still be observed by the
/// present one. A route that was replaced by another, or a recipient that is gone, is not.
pub(super) fn still_observes(present: &Snapshot, route: &Route, recipient: &str, now: Timestamp) -> bool {
    let route = present.routes.named(&route.name).filter(|present| present.pattern == route.pattern);
    let recipient = present.recipients.iter().find(|present| *present.name == *recipient);
    route.zip(recipient).is_some_and(|(route, recipient)| {
        let decisions = present.packs.get(route.pack).and_then(|versions| versions.in_force(now));
        decisions.is_some_and(|decisions| mode(route, recipient, decisions, now) == ExchangeMode::Observe)
    })
}

/// True if an observed exchange goes on although enforcing would refuse it for this reason.
pub(super) fn is_noted(refusal: Refusal) -> bool {
    match refusal {
        Refusal::PurposeMissing
        | Refusal::PurposeMalformed
        | Refusal::PurposeUnknown
        | Refusal::LegalBasisAsPurpose
        | Refusal::PurposeNotPermitted
        | Refusal::AgreementNotInForce
        | Refusal::LegalReferenceMissing
        | Refusal::NoRulePermits
        | Refusal::SubjectWithheld
        | Refusal::QueryOnWithheldField
        | Refusal::LedgerStale
        | Refusal::UpstreamUnreadable
        | Refusal::UpstreamRefused(_) => true,
        Refusal::RequestMalformed
        | Refusal::CredentialMissing
        | Refusal::CredentialInvalid
        | Refusal::RecipientSuspended
        | Refusal::NotFound
        | Refusal::ReceiptPending
        | Refusal::MethodNotAllowed
        | Refusal::RequestTimeout
        | Refusal::DecisionPruned
        | Refusal::BodyTooLarge
        | Refusal::UriTooLong
        | Refusal::ExpectationFailed
        | Refusal::AuthorityNotServed
        | Refusal::TooManyRequests
        | Refusal::HeadersTooLarge
        | Refusal::MethodNotImplemented
        | Refusal::UpstreamUnreachable
        | Refusal::LedgerUnavailable
        | Refusal::AuditUnavailable
        | Refusal::Overloaded
        | Refusal::UpstreamTimeout => false,
    }
}

/// Returns the refusal that an observed exchange notes instead of being refused before the upstream is called.
///
/// # Errors
/// The rejection itself if the exchange is refused as always.
pub(super) fn noted(mode: ExchangeMode, rejection: Rejection) -> Result<Refusal, Rejection> {
    match mode {
        ExchangeMode::Observe if is_noted(rejection.refusal) => Ok(rejection.refusal),
        ExchangeMode::Observe | ExchangeMode::Enforce => Err(rejection),
    }
}

/// Returns the reason, of the closed list of `would_withhold_total`, for which enforcing would withhold a field.
pub(super) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Unclassified => "unclassified",
        Reason::NoSubject | Reason::UnknownSubject => "unknown-subject",
        Reason::NoRule => "no-rule",
        Reason::Prohibited => "prohibited",
        Reason::Refused => "refused",
        // The latest events about the person are not known.
        Reason::Unreadable | Reason::Stale => "unreadable",
    }
}

/// Returns the reason, of the same list, for which enforcing would refuse a whole exchange.
pub(super) fn reason_of_refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoRulePermits => "no-rule",
        Refusal::UpstreamUnreadable | Refusal::UpstreamRefused(_) | Refusal::LedgerStale => "unreadable",
        _ => "refused",
    }
}

/// Returns the reason for which each field of a refused exchange would be withheld.
pub(super) fn reason_of_fields(refusal: Refusal) -> Reason {
    if refusal == Refusal::LedgerStale { Reason::Stale } else { Reason::NoRule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_of_the_closed_list() {
        const LIST: [&str; 6] =
            ["unclassified", "unknown-subject", "no-rule", "prohibited", "refused", "unreadable"];
        assert!(Reason::ALL.iter().all(|one| LIST.contains(&reason(*one))));
        assert!(Refusal::ALL.iter().all(|one| LIST.contains(&reason_of_refusal(*one))));
    }

    #[test]
    fn a_fault_of_the_gateway_and_a_suspension_are_never_noted() {
        for refusal in [
            Refusal::RecipientSuspended,
            Refusal::AuditUnavailable,
            Refusal::Overloaded,
            Refusal::CredentialInvalid,
        ] {
            assert!(noted(ExchangeMode::Observe, refusal.into()).is_err(), "{refusal:?}");
        }
        let missing = || Rejection::from(Refusal::PurposeMissing);
        assert_eq!(noted(ExchangeMode::Observe, missing()), Ok(Refusal::PurposeMissing));
        assert_eq!(noted(ExchangeMode::Enforce, missing()), Err(missing()));
    }
}
