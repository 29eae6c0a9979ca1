//! The releases of an exchange that go on while the gateway's knowledge of the ledger is stale.
//!
//! The rule is that nothing leaves. Legal purposes go on, and on a route with `stale = "contract"` so do `security` and
//! releases that rest on a contract, for a bounded time. They are judged on what was last known, are on record as stale,
//! and never rest on consent: the withdrawal may be among the events that the gateway does not know yet. A gateway that
//! has never known anything releases nothing at all.

use std::time::Duration;

use super::Refusal;
use super::route::Route;
use crate::ledger::Freshness;
use crate::vocabulary::{Basis, BasisSet, PurposeId, Vocabulary};

/// The bases that go on for legal purposes and for `security`. Unclassified fields, which rest on no basis, do not.
const ALL_BUT_CONSENT: BasisSet = BasisSet::ALL.without(Basis::Consent);

/// The bases that go on for other purposes.
const CONTRACT: BasisSet = BasisSet::of(&[Basis::Contract, Basis::NotPersonal]);

/// The knowledge of the ledger that data are judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// It is current.
    Current,
    /// It is what was last known. Only releases on these bases leave.
    LastKnown(BasisSet),
}

/// The releases of one exchange that go on while the ledger is stale. They follow from its route and purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhileStale {
    /// None.
    Nothing,
    /// Those for a legal purpose, however old the knowledge is. Other operations than `disclose` are carried out, too.
    Legal,
    /// Those for `security`, up to this age.
    Security(Duration),
    /// Those that rest on a contract, up to this age.
    Contract(Duration),
}

impl WhileStale {
    pub(crate) fn of(route: &Route, purpose: PurposeId, vocabulary: &Vocabulary) -> WhileStale {
        let well_known = vocabulary.well_known();
        let is_within = |root| vocabulary.purposes().within(purpose, root);
        if is_within(well_known.legal) {
            return WhileStale::Legal;
        }
        match route.stale_for {
            Some(age) if is_within(well_known.security) => WhileStale::Security(age),
            // An objection stops these messages, contract or not (G-6.6a).
            Some(_) if is_within(well_known.service_communication) => WhileStale::Nothing,
            // Nothing tells which basis a body rests on that passes unread.
            Some(age) if route.scrubbing.is_some() => WhileStale::Contract(age),
            Some(_) | None => WhileStale::Nothing,
        }
    }

    /// Returns the knowledge on which the exchange may release at this freshness.
    ///
    /// # Errors
    /// [`Refusal::LedgerStale`]: nothing may leave.
    pub(crate) fn knowledge(self, freshness: Freshness) -> Result<Knowledge, Refusal> {
        let is_accepted = |age| match self {
            WhileStale::Nothing => false,
            WhileStale::Legal => true,
            WhileStale::Security(max) | WhileStale::Contract(max) => age <= max,
        };
        match freshness {
            Freshness::Current => Ok(Knowledge::Current),
            Freshness::Stale { age } if is_accepted(age) => Ok(Knowledge::LastKnown(self.bases())),
            Freshness::Stale { .. } | Freshness::Unknown => Err(Refusal::LedgerStale),
        }
    }

    /// The bases on which releases go on.
    pub(crate) fn bases(self) -> BasisSet {
        match self {
            WhileStale::Nothing => BasisSet::default(),
            WhileStale::Legal | WhileStale::Security(_) => ALL_BUT_CONSENT,
            WhileStale::Contract(_) => CONTRACT,
        }
    }

    /// Returns the knowledge on which an operation other than `disclose` may be carried out at this freshness.
    ///
    /// # Errors
    /// [`Refusal::LedgerStale`]: it may not be carried out.
    pub(crate) fn operation_knowledge(self, freshness: Freshness) -> Result<Knowledge, Refusal> {
        match self {
            WhileStale::Legal => self.knowledge(freshness),
            WhileStale::Nothing | WhileStale::Security(_) | WhileStale::Contract(_) => {
                WhileStale::Nothing.knowledge(freshness)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_current_knowledge_releases_everything() {
        for terms in [
            WhileStale::Nothing,
            WhileStale::Legal,
            WhileStale::Security(SECOND),
            WhileStale::Contract(SECOND),
        ] {
            assert_eq!(terms.knowledge(Freshness::Current), Ok(Knowledge::Current));
            assert_eq!(terms.operation_knowledge(Freshness::Current), Ok(Knowledge::Current));
            assert_eq!(terms.knowledge(Freshness::Unknown), Err(Refusal::LedgerStale), "{terms:?}");
            assert_eq!(terms.operation_knowledge(Freshness::Unknown), Err(Refusal::LedgerStale));
        }
    }

    #[test]
    fn an_exception_goes_on_up_to_its_age_and_never_on_consent() {
        let young = Freshness::Stale { age: SECOND };
        let old = Freshness::Stale { age: SECOND + Duration::from_millis(1) };
        let all_but_consent = Ok(Knowledge::LastKnown(ALL_BUT_CONSENT));
        let stops = Err(Refusal::LedgerStale);
        for (terms, at_bound, beyond) in [
            (WhileStale::Nothing, stops, stops),
            (WhileStale::Legal, all_but_consent, all_but_consent),
            (WhileStale::Security(SECOND), all_but_consent, stops),
            (WhileStale::Contract(SECOND), Ok(Knowledge::LastKnown(CONTRACT)), stops),
        ] {
            assert_eq!((terms.knowledge(young), terms.knowledge(old)), (at_bound, beyond), "{terms:?}");
        }
        assert!(!ALL_BUT_CONSENT.contains(Basis::Consent) && !CONTRACT.contains(Basis::Consent));
    }

    #[test]
    fn only_a_legal_purpose_carries_out_operations() {
        let stale = Freshness::Stale { age: SECOND };
        for terms in [WhileStale::Nothing, WhileStale::Security(SECOND), WhileStale::Contract(SECOND)] {
            assert_eq!(terms.operation_knowledge(stale), Err(Refusal::LedgerStale), "{terms:?}");
        }
        assert!(WhileStale::Legal.operation_knowledge(stale).is_ok());
    }
}
