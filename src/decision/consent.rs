//! Derives the effective consent and objection for one purpose and one recipient from a person's consents, refusals
//! and objections.
//!
//! GDPR Art. 6(1)(a), 7(3), 21. The module handles purposes and the order of events, and does not know how rules
//! use the result. Invariant: an event that is not known to be later is taken as earlier if that discloses less.

use jiff::Timestamp;

use super::subject::{Addressee, Consent, ConsentStatus, Objection, Subject};
use crate::policy::{ConsentFact, ObjectionFact};
use crate::vocabulary::{KindId, PurposeId, Vocabulary};

/// The statements of one person as they apply to one recipient at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct EffectiveConsent<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) subject: &'a Subject,
    pub(super) recipient: &'a str,
    pub(super) kind: KindId,
    pub(super) now: Timestamp,
}

impl<'a> EffectiveConsent<'a> {
    /// Returns the effective consent for a purpose.
    pub(super) fn consent(&self, purpose: PurposeId) -> ConsentFact {
        if self.subject.consents.is_empty() {
            return ConsentFact::None;
        }
        if self.is_given(purpose) {
            return ConsentFact::Given;
        }
        let purposes = self.vocabulary.purposes();
        let refusal =
            self.refusals().filter(|refusal| purposes.on_same_branch(refusal.purpose, purpose)).last();
        match refusal.map(|refusal| refusal.status) {
            Some(ConsentStatus::Withdrawn) => ConsentFact::Withdrawn,
            Some(ConsentStatus::Refused) => ConsentFact::Refused,
            Some(ConsentStatus::Given | ConsentStatus::Expired) | None => {
                let over = |consent: &&Consent| {
                    purposes.within(purpose, consent.purpose)
                        && matches!(consent.status, ConsentStatus::Given | ConsentStatus::Expired)
                };
                if self.applicable().any(|consent| over(&consent)) {
                    ConsentFact::Expired
                } else {
                    ConsentFact::None
                }
            }
        }
    }

    /// Returns the effective objection to a purpose. A refusal or withdrawal of consent also counts as an
    /// objection, with the same time and the same addressees: the data of a person who refuses are not used on
    /// another legal basis.
    pub(super) fn objection(&self, purpose: PurposeId) -> ObjectionFact {
        let level = |objection: &Objection| match objection.upheld {
            true => ObjectionFact::Upheld,
            false => ObjectionFact::Raised,
        };
        let recorded = self.subject.objections.iter();
        let recorded = recorded.filter(|objection| self.opposes(objection.purpose, objection.order, purpose));
        let refusals = self.refusals().filter(|refusal| !refusal.overridden);
        let refusals = refusals.filter(|refusal| self.opposes(refusal.purpose, refusal.order, purpose));
        let levels = recorded.map(level).chain(refusals.map(|_| ObjectionFact::Raised));
        levels.max().unwrap_or(ObjectionFact::None)
    }

    /// True if an objection or refusal of one purpose counts as an objection to another.
    fn opposes(&self, said_to: PurposeId, order: Option<u32>, purpose: PurposeId) -> bool {
        let covers = self.vocabulary.objection_covers(said_to, purpose)
            // For a declared parent, an objection to any descendant counts as one to the parent.
            || self.vocabulary.purposes().within(said_to, purpose);
        covers && !self.is_superseded(said_to, order, purpose)
    }

    /// True if the person consented to the purpose after the restriction began and has not taken the consent back.
    pub(super) fn consented_since_restriction(&self, purpose: PurposeId) -> bool {
        let purposes = self.vocabulary.purposes();
        let mut since = self.subject.consents_since_restriction.iter();
        let refused = || self.refusals().any(|refusal| purposes.on_same_branch(refusal.purpose, purpose));
        since.any(|&at| purposes.within(purpose, at)) && (self.is_given(purpose) || !refused())
    }

    /// True if a consent to the purpose or to an ancestor is in force.
    fn is_given(&self, purpose: PurposeId) -> bool {
        let purposes = self.vocabulary.purposes();
        self.grants().any(|grant| purposes.within(purpose, grant.purpose) && !self.is_ended(grant, purpose))
    }

    /// True if a refusal or withdrawal ends a consent as far as the consent covers `purpose`.
    fn is_ended(&self, grant: &Consent, purpose: PurposeId) -> bool {
        let purposes = self.vocabulary.purposes();
        self.refusals().any(|refusal| {
            if purposes.within(grant.purpose, refusal.purpose) {
                // A refusal of the consent's own purpose, or of an ancestor, ends earlier consents.
                !is_later(grant.order, refusal.order)
            } else {
                // A consent to an ancestor never overrides a refusal of a more specific purpose. Only a later
                // consent to exactly that purpose does.
                purposes.within(refusal.purpose, grant.purpose)
                    && purposes.on_same_branch(refusal.purpose, purpose)
                    && !self.is_revoked(refusal)
            }
        })
    }

    /// True if a later consent to exactly the same purpose revoked a refusal.
    fn is_revoked(&self, refusal: &Consent) -> bool {
        let purposes = self.vocabulary.purposes();
        let from_above = |grant: &Consent| {
            let mut refusals = self.refusals();
            refusals.any(|over| {
                purposes.within(grant.purpose, over.purpose) && !is_later(grant.order, over.order)
            })
        };
        let mut grants = self.grants().filter(|grant| grant.purpose == refusal.purpose);
        grants.any(|grant| is_later(grant.order, refusal.order) && !from_above(grant))
    }

    /// True if a later consent to the same or a more specific purpose supersedes an objection to `said_to`.
    fn is_superseded(&self, said_to: PurposeId, order: Option<u32>, purpose: PurposeId) -> bool {
        let purposes = self.vocabulary.purposes();
        self.grants().filter(|grant| is_later(grant.order, order)).any(|grant| {
            let same = grant.purpose == said_to;
            let more_specific = self.vocabulary.objection_covers(said_to, grant.purpose)
                && purposes.within(purpose, grant.purpose);
            let used_for = if purposes.within(purpose, grant.purpose) { purpose } else { grant.purpose };
            (same || more_specific) && !self.is_ended(grant, used_for)
        })
    }

    /// Consents that are given and have not expired.
    fn grants(&self) -> impl Iterator<Item = &'a Consent> {
        let now = self.now;
        self.applicable().filter(move |consent| {
            consent.status == ConsentStatus::Given && consent.until.is_none_or(|until| now < until)
        })
    }

    /// Refusals and withdrawals.
    fn refusals(&self) -> impl Iterator<Item = &'a Consent> {
        self.applicable()
            .filter(|consent| matches!(consent.status, ConsentStatus::Refused | ConsentStatus::Withdrawn))
    }

    /// Statements that apply to this recipient: addressed to anyone, to its kind, or to it by name.
    fn applicable(&self) -> impl Iterator<Item = &'a Consent> {
        let EffectiveConsent { vocabulary, recipient, kind, .. } = *self;
        self.subject.consents.iter().filter(move |consent| match &consent.to {
            Addressee::Anyone => true,
            Addressee::Kind(bound) => vocabulary.kinds().within(kind, *bound),
            Addressee::Recipient(name) => **name == *recipient,
        })
    }
}

/// True if `a` is known to be later than `b`. At equal times the statement that discloses less counts.
fn is_later(a: Option<u32>, b: Option<u32>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a > b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vocabulary() -> &'static Vocabulary {
        static WORDS: std::sync::OnceLock<Vocabulary> = std::sync::OnceLock::new();
        WORDS.get_or_init(Vocabulary::standard)
    }

    fn purpose(name: &str) -> PurposeId {
        vocabulary().purposes().find(name).unwrap()
    }

    fn said(purpose_name: &str, status: ConsentStatus, order: Option<u32>) -> Consent {
        let (purpose, to) = (purpose(purpose_name), Addressee::Anyone);
        Consent { purpose, to, status, until: None, order, overridden: false }
    }

    fn objected(purpose_name: &str, order: Option<u32>) -> Objection {
        Objection { purpose: purpose(purpose_name), upheld: false, order }
    }

    fn standing(subject: &Subject) -> EffectiveConsent<'_> {
        let kind = vocabulary().kinds().find("marketing-partner").unwrap();
        EffectiveConsent {
            vocabulary: vocabulary(),
            subject,
            recipient: "acme",
            kind,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn consent(consents: Vec<Consent>, asked: &str) -> ConsentFact {
        let subject = Subject { consents, ..Subject::default() };
        standing(&subject).consent(purpose(asked))
    }

    use ConsentStatus::{Expired, Given, Refused, Withdrawn};

    #[test]
    fn a_consent_counts_for_descendants_and_not_for_the_parent() {
        assert_eq!(consent(vec![said("marketing", Given, None)], "product-news"), ConsentFact::Given);
        assert_eq!(consent(vec![said("product-news", Given, None)], "marketing"), ConsentFact::None);
        assert_eq!(consent(vec![said("product-news", Given, None)], "direct-marketing"), ConsentFact::None);
    }

    #[test]
    fn a_more_specific_refusal_outlasts_a_later_consent_above_it() {
        let said = |order| vec![said("direct-marketing", Refused, Some(1)), said("marketing", Given, order)];
        assert_eq!(consent(said(Some(2)), "direct-marketing"), ConsentFact::Refused);
        assert_eq!(consent(said(None), "direct-marketing"), ConsentFact::Refused);
        assert_eq!(consent(said(Some(2)), "product-news"), ConsentFact::Given);
        // For a declared parent a refusal of any descendant counts as one of the parent.
        assert_eq!(consent(said(Some(2)), "marketing"), ConsentFact::Refused);
    }

    #[test]
    fn a_refusal_ends_earlier_consents_to_its_purpose_and_its_descendants() {
        let both = |given, withdrawn| {
            vec![said("direct-marketing", Given, given), said("marketing", Withdrawn, withdrawn)]
        };
        assert_eq!(consent(both(Some(1), Some(2)), "direct-marketing"), ConsentFact::Withdrawn);
        assert_eq!(consent(both(Some(2), Some(1)), "direct-marketing"), ConsentFact::Given);
        assert_eq!(
            consent(both(Some(1), Some(1)), "direct-marketing"),
            ConsentFact::Withdrawn,
            "at equal times"
        );
        assert_eq!(consent(both(None, None), "direct-marketing"), ConsentFact::Withdrawn, "without times");
    }

    #[test]
    fn a_refusal_is_revoked_by_a_later_consent_to_the_same_purpose() {
        let again = vec![
            said("marketing", Given, Some(1)),
            said("direct-marketing", Refused, Some(2)),
            said("direct-marketing", Given, Some(3)),
        ];
        assert_eq!(consent(again.clone(), "direct-marketing"), ConsentFact::Given);
        assert_eq!(consent(again, "marketing"), ConsentFact::Given);
    }

    #[test]
    fn consent_expires_and_is_bound_to_a_recipient_or_a_kind() {
        let given = |to, until| Consent { to, until, ..said("direct-marketing", Given, None) };
        let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
        assert_eq!(consent(vec![given(Addressee::Anyone, at(1))], "direct-marketing"), ConsentFact::Given);
        assert_eq!(consent(vec![given(Addressee::Anyone, at(0))], "direct-marketing"), ConsentFact::Expired);
        assert_eq!(consent(vec![said("marketing", Expired, None)], "direct-marketing"), ConsentFact::Expired);
        let kind = |name| Addressee::Kind(vocabulary().kinds().find(name).unwrap());
        for (to, expected) in [
            (Addressee::Recipient("acme".into()), ConsentFact::Given),
            (Addressee::Recipient("other".into()), ConsentFact::None),
            (kind("marketing-partner"), ConsentFact::Given),
            (kind("service-provider"), ConsentFact::Given),
            (kind("email-provider"), ConsentFact::None),
        ] {
            assert_eq!(consent(vec![given(to.clone(), None)], "direct-marketing"), expected, "{to:?}");
        }
    }

    #[test]
    fn objections_cover_descendants_and_yield_to_a_later_equally_specific_consent() {
        let objection = |order, consents: Vec<Consent>, at: &str, asked: &str| {
            let subject = Subject { objections: vec![objected(at, order)], consents, ..Subject::default() };
            standing(&subject).objection(purpose(asked))
        };
        let raised = ObjectionFact::Raised;
        assert_eq!(objection(None, vec![], "marketing", "direct-marketing"), raised);
        assert_eq!(objection(None, vec![], "marketing", "reseller-follow-up"), raised);
        assert_eq!(objection(None, vec![], "direct-marketing", "marketing"), raised, "a declared parent");
        assert_eq!(objection(None, vec![], "direct-marketing", "product-news"), ObjectionFact::None);
        let later = |at| vec![said(at, Given, Some(2))];
        assert_eq!(
            objection(Some(1), later("direct-marketing"), "marketing", "direct-marketing"),
            ObjectionFact::None
        );
        assert_eq!(objection(Some(1), later("marketing"), "direct-marketing", "direct-marketing"), raised);
        assert_eq!(objection(Some(3), later("marketing"), "marketing", "direct-marketing"), raised);
        assert_eq!(
            objection(None, later("marketing"), "marketing", "direct-marketing"),
            raised,
            "no times are known"
        );
        assert_eq!(objection(Some(1), later("marketing"), "marketing", "prospecting"), ObjectionFact::None);
        let taken_back = vec![said("marketing", Given, Some(2)), said("marketing", Withdrawn, Some(3))];
        assert_eq!(objection(Some(1), taken_back, "marketing", "prospecting"), raised);
    }

    fn objection(consents: Vec<Consent>, asked: &str) -> ObjectionFact {
        let subject = Subject { consents, ..Subject::default() };
        standing(&subject).objection(purpose(asked))
    }

    #[test]
    fn a_refusal_and_a_withdrawal_count_as_objections_and_an_expiry_does_not() {
        use ObjectionFact::{None as Nothing, Raised};
        for status in [Refused, Withdrawn] {
            for order in [None, Some(1)] {
                let at = |at: &str, asked: &str| objection(vec![said(at, status, order)], asked);
                assert_eq!(at("survey", "survey"), Raised);
                assert_eq!(at("feedback", "survey"), Raised, "at a purpose that covers it");
                assert_eq!(at("survey", "feedback"), Raised, "for a declared parent");
                assert_eq!(at("usage-analytics", "website-statistics"), Nothing);
                assert_eq!(at("security", "fraud-prevention"), Raised, "which does not yield to it");
                for covered in ["prospecting", "reseller-follow-up", "product-news"] {
                    assert_eq!(at("marketing", covered), Raised, "{covered}");
                }
                assert_eq!(at("direct-marketing", "prospecting"), Nothing);
            }
        }
        for status in [Given, Expired] {
            assert_eq!(objection(vec![said("marketing", status, None)], "prospecting"), Nothing);
        }
    }

    #[test]
    fn a_later_equally_specific_consent_supersedes_a_refusal_like_an_objection() {
        use ObjectionFact::{None as Nothing, Raised};
        let then = |refused: &str, given: &str, orders: (Option<u32>, Option<u32>), asked: &str| {
            objection(vec![said(refused, Refused, orders.0), said(given, Given, orders.1)], asked)
        };
        let (later, earlier, unknown) = ((Some(1), Some(2)), (Some(2), Some(1)), (None, None));
        assert_eq!(then("marketing", "prospecting", later, "prospecting"), Nothing);
        assert_eq!(then("marketing", "prospecting", earlier, "prospecting"), Raised);
        assert_eq!(then("marketing", "prospecting", unknown, "prospecting"), Raised, "no times are known");
        assert_eq!(then("marketing", "prospecting", later, "reseller-follow-up"), Raised);
        assert_eq!(then("survey", "feedback", later, "survey"), Raised, "a consent above it");
        let taken_back = vec![
            said("marketing", Given, Some(1)),
            said("direct-marketing", Refused, Some(2)),
            Consent { to: Addressee::Recipient("acme".into()), ..said("direct-marketing", Given, Some(3)) },
        ];
        assert_eq!(objection(taken_back, "marketing"), Nothing);
    }

    #[test]
    fn a_refusal_counts_for_its_addressees_until_it_is_overridden() {
        let bound = |to, overridden| Consent { to, overridden, ..said("survey", Refused, Some(1)) };
        let kind = |name| Addressee::Kind(vocabulary().kinds().find(name).unwrap());
        for (to, expected) in [
            (Addressee::Recipient("acme".into()), ObjectionFact::Raised),
            (Addressee::Recipient("other".into()), ObjectionFact::None),
            (kind("service-provider"), ObjectionFact::Raised),
            (kind("email-provider"), ObjectionFact::None),
            (Addressee::Anyone, ObjectionFact::Raised),
        ] {
            assert_eq!(objection(vec![bound(to.clone(), false)], "survey"), expected, "{to:?}");
            let overridden = vec![bound(to.clone(), true)];
            assert_eq!(objection(overridden.clone(), "survey"), ObjectionFact::None, "{to:?}");
            let expected =
                if expected == ObjectionFact::Raised { ConsentFact::Refused } else { ConsentFact::None };
            assert_eq!(consent(overridden, "survey"), expected, "it is still no consent: {to:?}");
        }
        let upheld = Objection { upheld: true, ..objected("survey", Some(2)) };
        let subject = Subject {
            consents: vec![bound(Addressee::Anyone, true)],
            objections: vec![upheld],
            ..Subject::default()
        };
        assert_eq!(standing(&subject).objection(purpose("survey")), ObjectionFact::Upheld);
    }

    #[test]
    fn a_consent_since_the_restriction_counts_until_it_is_revoked() {
        let since = |consents| {
            let consents_since_restriction = vec![purpose("marketing")];
            let subject = Subject { consents, consents_since_restriction, ..Subject::default() };
            standing(&subject).consented_since_restriction(purpose("direct-marketing"))
        };
        assert!(since(vec![]));
        assert!(since(vec![said("marketing", Given, None)]));
        assert!(!since(vec![said("marketing", Withdrawn, None)]));
        assert!(!since(vec![said("direct-marketing", Refused, None)]));
    }

    fn any_said() -> impl Strategy<Value = Consent> {
        let purposes = prop::sample::select(vec!["marketing", "direct-marketing", "product-news", "survey"]);
        let status = prop::sample::select(vec![Given, Refused, Withdrawn, Expired]);
        (purposes, status, prop::option::of(0u32..5))
            .prop_map(|(purpose, status, order)| said(purpose, status, order))
    }

    proptest! {
        /// Adding a refusal or removing a consent never creates a consent.
        #[test]
        fn less_consent_never_gives_more(
            consents in prop::collection::vec(any_said(), 0..6),
            refused in any_said(),
            gone in 0usize..6,
            asked in prop::sample::select(vec!["marketing", "direct-marketing", "product-news", "prospecting"]),
        ) {
            let opposed = objection(consents.clone(), asked);
            for status in [Refused, Withdrawn] {
                let mut more = consents.clone();
                more.push(Consent { status, ..refused.clone() });
                prop_assert!(objection(more, asked) >= opposed, "a refusal never lifts an objection");
            }
            let before = consent(consents.clone(), asked);
            if before != ConsentFact::Given {
                let mut more = consents.clone();
                more.push(Consent { status: Refused, ..refused });
                prop_assert_ne!(consent(more, asked), ConsentFact::Given);
                let mut fewer = consents.clone();
                if fewer.get(gone).is_some_and(|said| said.status == Given) {
                    fewer.remove(gone);
                }
                prop_assert_ne!(consent(fewer, asked), ConsentFact::Given);
            }
        }
    }
}
