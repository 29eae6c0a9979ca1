//! What a person's consents, refusals and objections come to for one purpose and one recipient.
//!
//! GDPR Art. 6(1)(a), 7(3), 21. It knows purposes and the order of events; what a rule makes of the
//! outcome it does not know. Invariant: whatever is not known to be later is taken as earlier where
//! that discloses less.

use jiff::Timestamp;

use super::subject::{Addressee, Consent, ConsentStatus, Objection, Subject};
use crate::policy::{ConsentFact, ObjectionFact};
use crate::vocabulary::{KindId, PurposeId, Vocabulary};

/// One person's word, as far as it concerns one recipient at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) words: &'a Vocabulary,
    pub(super) subject: &'a Subject,
    pub(super) recipient: &'a str,
    pub(super) kind: KindId,
    pub(super) now: Timestamp,
}

impl<'a> Standing<'a> {
    /// What the person's consent for a purpose comes to.
    pub(super) fn consent(&self, purpose: PurposeId) -> ConsentFact {
        if self.subject.consents.is_empty() {
            return ConsentFact::None;
        }
        if self.is_given(purpose) {
            return ConsentFact::Given;
        }
        let purposes = self.words.purposes();
        let refusal = self.refusals().filter(|refusal| purposes.related(refusal.purpose, purpose)).last();
        match refusal.map(|refusal| refusal.status) {
            Some(ConsentStatus::Withdrawn) => ConsentFact::Withdrawn,
            Some(ConsentStatus::Refused) => ConsentFact::Refused,
            Some(ConsentStatus::Given | ConsentStatus::Expired) | None => {
                let over = |consent: &&Consent| {
                    purposes.within(purpose, consent.purpose)
                        && matches!(consent.status, ConsentStatus::Given | ConsentStatus::Expired)
                };
                if self.concerning().any(|consent| over(&consent)) {
                    ConsentFact::Expired
                } else {
                    ConsentFact::None
                }
            }
        }
    }

    /// What the person's objections to a purpose come to.
    pub(super) fn objection(&self, purpose: PurposeId) -> ObjectionFact {
        let holds = |objection: &&Objection| {
            let covers = self.words.objection_covers(objection.purpose, purpose)
                // For a declared parent, an objection at any descendant counts as one at the parent.
                || self.words.purposes().within(objection.purpose, purpose);
            covers && !self.is_superseded(objection, purpose)
        };
        let level = |objection: &Objection| match objection.upheld {
            true => ObjectionFact::Upheld,
            false => ObjectionFact::Raised,
        };
        self.subject.objections.iter().filter(holds).map(level).max().unwrap_or(ObjectionFact::None)
    }

    /// Whether the person consented to the purpose after the restriction began, and has not taken it back.
    pub(super) fn consented_since_restriction(&self, purpose: PurposeId) -> bool {
        let purposes = self.words.purposes();
        let mut since = self.subject.consents_since_restriction.iter();
        let refused = || self.refusals().any(|refusal| purposes.related(refusal.purpose, purpose));
        since.any(|&at| purposes.within(purpose, at)) && (self.is_given(purpose) || !refused())
    }

    /// Whether some consent counts for the purpose: one at it or above it that nothing has ended.
    fn is_given(&self, purpose: PurposeId) -> bool {
        let purposes = self.words.purposes();
        self.grants().any(|grant| purposes.within(purpose, grant.purpose) && !self.is_ended(grant, purpose))
    }

    /// Whether a refusal or withdrawal stands against a consent where it is used for a purpose.
    fn is_ended(&self, grant: &Consent, purpose: PurposeId) -> bool {
        let purposes = self.words.purposes();
        self.refusals().any(|refusal| {
            if purposes.within(grant.purpose, refusal.purpose) {
                // At the consent's own purpose or above: it ends what came before it.
                !is_later(grant.order, refusal.order)
            } else {
                // At a more specific purpose: never overridden from above, only taken back in place.
                purposes.within(refusal.purpose, grant.purpose)
                    && purposes.related(refusal.purpose, purpose)
                    && !self.is_taken_back(refusal)
            }
        })
    }

    /// Whether a later consent at the very same purpose took a refusal back.
    fn is_taken_back(&self, refusal: &Consent) -> bool {
        let purposes = self.words.purposes();
        let from_above = |grant: &Consent| {
            let mut refusals = self.refusals();
            refusals.any(|over| {
                purposes.within(grant.purpose, over.purpose) && !is_later(grant.order, over.order)
            })
        };
        let mut grants = self.grants().filter(|grant| grant.purpose == refusal.purpose);
        grants.any(|grant| is_later(grant.order, refusal.order) && !from_above(grant))
    }

    /// Whether a later consent to the same or a more specific purpose supersedes an objection.
    fn is_superseded(&self, objection: &Objection, purpose: PurposeId) -> bool {
        let purposes = self.words.purposes();
        self.grants().filter(|grant| is_later(grant.order, objection.order)).any(|grant| {
            let same = grant.purpose == objection.purpose;
            let more_specific = self.words.objection_covers(objection.purpose, grant.purpose)
                && purposes.within(purpose, grant.purpose);
            let used_for = if purposes.within(purpose, grant.purpose) { purpose } else { grant.purpose };
            (same || more_specific) && !self.is_ended(grant, used_for)
        })
    }

    fn grants(&self) -> impl Iterator<Item = &'a Consent> {
        let now = self.now;
        self.concerning().filter(move |consent| {
            consent.status == ConsentStatus::Given && consent.until.is_none_or(|until| now < until)
        })
    }

    fn refusals(&self) -> impl Iterator<Item = &'a Consent> {
        self.concerning()
            .filter(|consent| matches!(consent.status, ConsentStatus::Refused | ConsentStatus::Withdrawn))
    }

    /// What concerns this recipient: said to anyone, to its kind, or to it by name.
    fn concerning(&self) -> impl Iterator<Item = &'a Consent> {
        let Standing { words, recipient, kind, .. } = *self;
        self.subject.consents.iter().filter(move |consent| match &consent.to {
            Addressee::Anyone => true,
            Addressee::Kind(bound) => words.kinds().within(kind, *bound),
            Addressee::Recipient(name) => **name == *recipient,
        })
    }
}

/// Whether `a` is known to have come after `b`. At equal times the one that discloses less counts.
fn is_later(a: Option<u32>, b: Option<u32>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a > b)
}
