mod expired_consents;

use proptest::prelude::*;

use super::*;
use crate::ledger::entity::EntityKind;
use crate::ledger::event_json;
use crate::ledger::payload::Provenance;
use crate::ledger::terms::fixture::Fixture;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// Events as JSON without `at`; they happen one second apart.
fn events(sort: EntityKind, texts: &[&str]) -> Vec<Event> {
    let draft = |text: &str| event_json::parse(text.as_bytes(), sort, &Fixture).unwrap();
    (0..)
        .zip(texts)
        .map(|(n, text)| {
            let draft = draft(text);
            Event { kind: draft.kind, at: draft.at.unwrap_or(at(n)), provenance: draft.provenance }
        })
        .collect()
}

fn state(texts: &[&str]) -> Subject {
    subject(&events(EntityKind::Subject, texts), &Fixture)
}

fn purpose(name: &str) -> PurposeId {
    Fixture.purpose(name).unwrap()
}

fn statuses(subject: &Subject) -> Vec<(&str, ConsentStatus)> {
    subject.consents.iter().map(|consent| (Fixture.purpose_name(consent.purpose), consent.status)).collect()
}

const GIVE: &str = r#"{"kind":"consent-given","purpose":"direct-marketing"}"#;
const GIVE_PARENT: &str = r#"{"kind":"consent-given","purpose":"marketing"}"#;
const GIVE_PARENT_UNTIL: &str =
    r#"{"kind":"consent-given","purpose":"marketing","valid-until":"2030-01-01T00:00:00Z"}"#;
const WITHDRAW: &str = r#"{"kind":"consent-withdrawn","purpose":"direct-marketing"}"#;
const WITHDRAW_PARENT: &str = r#"{"kind":"consent-withdrawn","purpose":"marketing"}"#;
const OBJECT: &str = r#"{"kind":"objection","purpose":"marketing"}"#;

#[test]
fn a_withdrawal_ends_earlier_grants_at_its_purpose_and_below() {
    use ConsentStatus::{Given, Withdrawn};
    assert_eq!(statuses(&state(&[GIVE, WITHDRAW])), [("direct-marketing", Withdrawn)]);
    assert_eq!(statuses(&state(&[GIVE, WITHDRAW_PARENT])), [("marketing", Withdrawn)]);
    let later = state(&[WITHDRAW_PARENT, GIVE]);
    assert_eq!(statuses(&later), [("marketing", Withdrawn), ("direct-marketing", Given)]);
    assert!(later.consents[1].order > later.consents[0].order);
    let more_specific = state(&[GIVE, WITHDRAW, GIVE_PARENT]);
    assert_eq!(statuses(&more_specific), [("marketing", Given), ("direct-marketing", Withdrawn)]);
}

#[test]
fn an_ended_grant_does_not_come_back_when_the_withdrawal_is_replaced() {
    use ConsentStatus::{Given, Withdrawn};
    let ended = state(&[GIVE, WITHDRAW_PARENT, GIVE_PARENT_UNTIL]);
    assert_eq!(statuses(&ended), [("marketing", Withdrawn), ("marketing", Given)]);
    assert!(ended.consents[1].until.is_some());
    assert_eq!(statuses(&state(&[GIVE, WITHDRAW_PARENT, GIVE_PARENT])), [("marketing", Given)]);
}

#[test]
fn a_refusal_stays_beside_a_consent_that_ends_until_one_without_an_end() {
    use ConsentStatus::{Given, Withdrawn};
    let both = [("marketing", Withdrawn), ("marketing", Given)];
    let kept = state(&[WITHDRAW_PARENT, GIVE_PARENT_UNTIL]);
    assert_eq!(statuses(&kept), both);
    assert!(kept.consents[1].order > kept.consents[0].order);
    assert_eq!(statuses(&state(&[WITHDRAW_PARENT, GIVE_PARENT_UNTIL, GIVE_PARENT_UNTIL])), both);
    assert_eq!(statuses(&state(&[WITHDRAW_PARENT, GIVE_PARENT_UNTIL, WITHDRAW_PARENT])), both[..1]);
    assert_eq!(statuses(&state(&[WITHDRAW_PARENT, GIVE_PARENT_UNTIL, GIVE_PARENT])), both[1..]);
    // At equal times the consent with the end counts, and does not lift the refusal.
    let mut at_once = events(EntityKind::Subject, &[WITHDRAW_PARENT, GIVE_PARENT, GIVE_PARENT_UNTIL]);
    at_once[2].at = at_once[1].at;
    assert_eq!(statuses(&subject(&at_once, &Fixture)), both);
    // A refusal towards one addressee goes on to hold back what was given to everybody before.
    let to_acme = |kind| format!(r#"{{"kind":"{kind}","purpose":"marketing","recipient":"acme"}}"#);
    let (not_acme, acme) = (to_acme("consent-withdrawn"), to_acme("consent-given"));
    let statuses_of = |texts: &[&str]| {
        state(texts)
            .consents
            .iter()
            .map(|said| (said.to != Addressee::Anyone, said.status))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        statuses_of(&[GIVE_PARENT, &not_acme, &acme]),
        [(false, Given), (true, Withdrawn), (true, Given)]
    );
}

#[test]
fn at_equal_times_the_one_that_discloses_less_counts() {
    let mut both = events(EntityKind::Subject, &[WITHDRAW, GIVE]);
    both[1].at = both[0].at;
    assert_eq!(statuses(&subject(&both, &Fixture)), [("direct-marketing", ConsentStatus::Withdrawn)]);
    let mut objected = events(EntityKind::Subject, &[OBJECT, GIVE]);
    objected[1].at = objected[0].at;
    let state = subject(&objected, &Fixture);
    assert!(state.objections[0].order > state.consents[0].order);
}

#[test]
fn a_consent_after_an_objection_ranks_above_it_and_one_before_below() {
    let after = state(&[OBJECT, GIVE]);
    assert!(after.consents[0].order > after.objections[0].order);
    let before = state(&[GIVE, OBJECT]);
    assert!(before.consents[0].order < before.objections[0].order);
    let again = state(&[OBJECT, GIVE, OBJECT]);
    assert!(again.consents[0].order < again.objections[0].order);
}

#[test]
fn people_with_the_same_decisions_at_other_times_have_equal_states() {
    let news = r#"{"kind":"consent-given","purpose":"product-news"}"#;
    assert!(state(&[GIVE, news]) == state(&[news, r#"{"kind":"notice","notice":"2"}"#, GIVE]));
    assert!(state(&[GIVE, OBJECT]) != state(&[OBJECT, GIVE]));
}

#[test]
fn consents_to_one_addressee_and_to_anyone_are_kept_separately() {
    let acme = r#"{"kind":"consent-given","purpose":"marketing","recipient":"acme"}"#;
    let not_acme = r#"{"kind":"consent-withdrawn","purpose":"marketing","recipient":"acme"}"#;
    assert_eq!(state(&[GIVE_PARENT, not_acme]).consents.len(), 2);
    assert_eq!(state(&[acme, WITHDRAW_PARENT]).consents.len(), 1, "a general withdrawal ends bound grants");
    let kind = r#"{"kind":"consent-given","purpose":"marketing","recipient-kind":"marketing-partner"}"#;
    let no_providers =
        r#"{"kind":"consent-refused","purpose":"marketing","recipient-kind":"service-provider"}"#;
    assert_eq!(statuses(&state(&[kind, no_providers])), [("marketing", ConsentStatus::Refused)]);
}

#[test]
fn objections_are_lifted_overridden_and_upheld_at_their_own_purpose() {
    let upheld = r#"{"kind":"objection-upheld","purpose":"security"}"#;
    let state_of =
        |texts: &[&str]| state(texts).objections.iter().map(|o| (o.purpose, o.upheld)).collect::<Vec<_>>();
    assert_eq!(state_of(&[upheld]), [(purpose("security"), true)]);
    let again = r#"{"kind":"objection","purpose":"security"}"#;
    assert_eq!(state_of(&[upheld, again]), [(purpose("security"), true)]);
    let analytics = r#"{"kind":"objection","purpose":"analytics"}"#;
    let usage = r#"{"kind":"objection","purpose":"usage-analytics"}"#;
    let overridden = r#"{"kind":"objection-overridden","purpose":"analytics","evidence":"memo"}"#;
    assert_eq!(state_of(&[analytics, usage, overridden]), [(purpose("usage-analytics"), false)]);
    assert_eq!(state_of(&[OBJECT, r#"{"kind":"objection-lifted","purpose":"marketing"}"#]), []);
}

#[test]
fn an_override_covers_the_earlier_refusals_at_its_own_purpose() {
    let refused = r#"{"kind":"consent-refused","purpose":"analytics"}"#;
    let below = r#"{"kind":"consent-refused","purpose":"usage-analytics","recipient":"acme"}"#;
    let given = r#"{"kind":"consent-given","purpose":"analytics"}"#;
    let overridden = r#"{"kind":"objection-overridden","purpose":"analytics","evidence":"memo"}"#;
    let lifted = r#"{"kind":"objection-lifted","purpose":"analytics"}"#;
    let of = |texts: &[&str]| {
        let state = state(texts);
        let consents = state.consents.iter();
        consents.map(|c| (c.purpose, c.status, c.overridden)).collect::<Vec<_>>()
    };
    let (analytics, usage) = (purpose("analytics"), purpose("usage-analytics"));
    use ConsentStatus::{Given, Refused};
    assert_eq!(of(&[refused, below, overridden]), [(analytics, Refused, true), (usage, Refused, false)]);
    assert_eq!(of(&[overridden, refused]), [(analytics, Refused, false)]);
    assert_eq!(of(&[refused, overridden, refused]), [(analytics, Refused, false)], "said again");
    assert_eq!(of(&[refused, overridden, given]), [(analytics, Given, false)]);
    assert_eq!(of(&[refused, lifted]), [(analytics, Refused, false)], "no objection was recorded");
    let mut at_once = events(EntityKind::Subject, &[refused, overridden]);
    at_once[1].at = at_once[0].at;
    assert!(!subject(&at_once, &Fixture).consents[0].overridden, "at equal times");
}

#[test]
fn only_consents_after_the_restriction_open_a_purpose() {
    let restrict = r#"{"kind":"restriction"}"#;
    assert_eq!(state(&[GIVE, restrict]).consents_since_restriction, []);
    assert_eq!(state(&[restrict, GIVE]).consents_since_restriction, [purpose("direct-marketing")]);
    assert_eq!(state(&[restrict, GIVE, restrict]).consents_since_restriction, []);
    assert_eq!(state(&[restrict, GIVE, WITHDRAW_PARENT]).consents_since_restriction, []);
    let bound = r#"{"kind":"consent-given","purpose":"marketing","recipient":"acme"}"#;
    assert_eq!(state(&[restrict, bound]).consents_since_restriction, []);
    let lifted = state(&[restrict, GIVE, r#"{"kind":"restriction-lifted"}"#]);
    assert!(!lifted.restricted && lifted.consents_since_restriction.is_empty());
}

#[test]
fn relations_opt_outs_and_refused_categories_can_be_taken_back() {
    let registrant = r#"{"kind":"relation","relation":"domain-registrant"}"#;
    let bound = r#"{"kind":"relation","relation":"domain-registrant","recipient":"acme"}"#;
    let ended = r#"{"kind":"relation-ended","relation":"domain-registrant"}"#;
    let bound_ended = r#"{"kind":"relation-ended","relation":"domain-registrant","recipient":"acme"}"#;
    assert_eq!(state(&[registrant, bound]).relations.len(), 2);
    assert_eq!(state(&[registrant, bound, bound_ended]).relations.len(), 1);
    assert_eq!(state(&[registrant, bound, ended]).relations, []);
    // The end of a relation to one recipient is an exception from one to none, until there is one to it again.
    let exceptions =
        |texts: &[&str]| state(texts).ended_relations.into_iter().map(|r| r.recipient).collect::<Vec<_>>();
    let acme = [Some("acme".into())];
    assert_eq!(exceptions(&[registrant, bound_ended]), acme);
    assert_eq!(exceptions(&[bound_ended, bound_ended, registrant, registrant]), acme);
    assert_eq!(exceptions(&[registrant, bound_ended, bound]), []);
    assert_eq!(exceptions(&[bound, bound_ended]), [], "there is nothing to except from");
    assert_eq!(exceptions(&[registrant, bound_ended, ended]), []);
    let out = r#"{"kind":"opt-out","recipient":"acme"}"#;
    assert_eq!(state(&[out, out]).opt_outs, ["acme".into()]);
    assert_eq!(state(&[out, r#"{"kind":"opt-out-lifted","recipient":"acme"}"#]).opt_outs, []);
    let photo = r#"{"kind":"category-refused","category":"photo"}"#;
    assert_eq!(state(&[photo]).refused_categories.len(), 1);
    assert_eq!(state(&[photo, r#"{"kind":"category-allowed","category":"photo"}"#]).refused_categories, []);
    assert!(state(&[r#"{"kind":"erasure"}"#, GIVE]).erased);
}

#[test]
fn the_latest_fact_counts_and_contradictions_become_the_most_restrictive_value() {
    let fact =
        |at: &str, facts: &str| format!(r#"{{"kind":"fact","at":"{at}","facts":{facts},"evidence":"e"}}"#);
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    let folded = |texts: &[String]| state(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let moved = folded(&[fact(late, r#"{"region":"US"}"#), fact(early, r#"{"region":"EEA","minor":true}"#)]);
    assert_eq!((moved.region, moved.minor), (Extracted::Known("US".into()), true));
    let torn = folded(&[
        fact(early, r#"{"region":"US","minor":false,"transfer-consent":true,"origin":"self"}"#),
        fact(early, r#"{"region":"EEA","minor":true,"transfer-consent":false,"origin":"social"}"#),
    ]);
    assert_eq!((torn.region, torn.minor, torn.transfer_consent), (Extracted::Unreadable, true, false));
    assert_eq!(torn.origins.default, Origin::Referral);
    let of = folded(&[fact(early, r#"{"origin":{"email":"social"}}"#), fact(late, r#"{"origin":"event"}"#)]);
    assert_eq!(of.origins, Origins { default: Origin::Event, by_category: vec![] });
    let exact =
        folded(&[fact(early, r#"{"origin":"event"}"#), fact(late, r#"{"origin":{"email":"social"}}"#)]);
    assert_eq!(exact.origins.by_category, [(Fixture.category("email").unwrap(), Origin::Social)]);
    // An origin that equals the general one counts beside another one of an ancestor.
    let beside = folded(&[
        fact(early, r#"{"origin":"referral"}"#),
        fact(late, r#"{"origin":{"personal":"self","email":"referral"}}"#),
    ]);
    let email = (Fixture.category("email").unwrap(), Origin::Referral);
    assert!(beside.origins.by_category.contains(&email));
    let apart = folded(&[fact(early, r#"{"region":"US"}"#), fact(late, r#"{"country":"CA"}"#)]);
    assert!(apart.is_place_of_two_times);
    let agreed = folded(&[fact(early, r#"{"region":"EEA"}"#), fact(late, r#"{"country":"FR"}"#)]);
    assert!(!agreed.is_place_of_two_times);
    let at_once = folded(&[fact(early, r#"{"region":"US","country":"US"}"#)]);
    assert!(!at_once.is_place_of_two_times && !folded(&[GIVE.to_owned()]).is_place_of_two_times);
}

#[test]
fn instructions_closings_and_suspensions_are_folded() {
    let folded = |texts: &[&str]| controller(&events(EntityKind::Controller, texts), &Fixture);
    let instruct = r#"{"kind":"instruction","purpose":"invoicing"}"#;
    assert_eq!(folded(&[instruct, instruct]).instructions, [purpose("invoicing")]);
    let ended = r#"{"kind":"instruction-ended","purpose":"service-provision"}"#;
    assert_eq!(folded(&[instruct, ended]).instructions, []);
    let closed = r#"{"kind":"account-closed"}"#;
    let campaigns_ended = r#"{"kind":"instruction-ended","purpose":"campaign-delivery"}"#;
    let services = r#"{"kind":"instruction","purpose":"service-provision"}"#;
    let campaigns = r#"{"kind":"instruction","purpose":"campaign-delivery"}"#;
    let of = |texts: &[&str]| folded(texts).instructions;
    let (invoicing, all) = (purpose("invoicing"), purpose("service-provision"));
    assert_eq!(of(&[services, campaigns_ended]), [invoicing], "an end below the instruction");
    assert_eq!(of(&[services, campaigns_ended, services]), [invoicing], "instructed again as a whole");
    assert_eq!(of(&[campaigns_ended, services]), [invoicing]);
    assert_eq!(of(&[services, campaigns_ended, campaigns]), [all, purpose("campaign-delivery")]);
    assert_eq!(of(&[services, campaigns_ended, ended]), []);
    assert_eq!(of(&[services, ended, campaigns]), [purpose("campaign-delivery")], "a more specific one");
    let invoices_ended = r#"{"kind":"instruction-ended","purpose":"invoicing"}"#;
    assert_eq!(of(&[services, campaigns_ended, invoices_ended]), [], "nothing of it is left");
    assert_eq!(folded(&[closed, instruct, closed]).closed_since, Some(at(0)));
    let recipient = |texts: &[&str]| suspended(&events(EntityKind::Recipient, texts));
    assert!(recipient(&[r#"{"kind":"suspended"}"#]));
    assert!(!recipient(&[r#"{"kind":"suspended"}"#, r#"{"kind":"resumed"}"#]));
}

const REGISTRANT: crate::vocabulary::RelationId = crate::vocabulary::RelationId(0);

fn acme_or_none() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::option::of(Just(Arc::from("acme")))
}

/// True if a person stands in the relation to this recipient.
fn is_related(state: &Subject, recipient: &str) -> bool {
    let to = |of: &[Relation], to: Option<&str>| of.iter().any(|known| known.recipient.as_deref() == to);
    let is_ended = to(&state.ended_relations, Some(recipient));
    to(&state.relations, Some(recipient)) || (to(&state.relations, None) && !is_ended)
}

fn any_kind() -> impl Strategy<Value = EventKind> {
    let purpose = (0_u16..11).prop_map(PurposeId);
    let to = prop_oneof![
        3 => Just(Addressee::Anyone),
        1 => Just(Addressee::Recipient("acme".into())),
        1 => (0_u16..3).prop_map(|kind| Addressee::Kind(crate::vocabulary::KindId(kind))),
    ];
    let until = prop::option::of((0_i64..20).prop_map(at));
    let origin = prop::sample::select(Origin::ALL);
    let place = prop_oneof![
        Just(Patch::Unchanged),
        Just(Patch::Unknown),
        Just(Patch::Known(Arc::from("EEA"))),
        Just(Patch::Known(Arc::from("US")))
    ];
    prop_oneof![
        (purpose.clone(), to.clone(), until).prop_map(|(purpose, to, until)| EventKind::ConsentGiven {
            purpose,
            to,
            until
        }),
        (purpose.clone(), to.clone()).prop_map(|(purpose, to)| EventKind::ConsentRefused { purpose, to }),
        (purpose.clone(), to).prop_map(|(purpose, to)| EventKind::ConsentWithdrawn { purpose, to }),
        purpose.clone().prop_map(|purpose| EventKind::Objection { purpose }),
        purpose.clone().prop_map(|purpose| EventKind::ObjectionLifted { purpose }),
        purpose.clone().prop_map(|purpose| EventKind::ObjectionUpheld { purpose }),
        purpose.prop_map(|purpose| EventKind::ObjectionOverridden { purpose }),
        Just(EventKind::OptOut { recipient: "acme".into() }),
        Just(EventKind::OptOutLifted { recipient: "acme".into() }),
        Just(EventKind::Restriction),
        Just(EventKind::RestrictionLifted),
        Just(EventKind::Erasure),
        (0_u16..6).prop_map(|category| EventKind::CategoryRefused { category: CategoryId(category) }),
        (0_u16..6).prop_map(|category| EventKind::CategoryAllowed { category: CategoryId(category) }),
        acme_or_none().prop_map(|recipient| EventKind::Relation { relation: REGISTRANT, recipient }),
        acme_or_none().prop_map(|recipient| EventKind::RelationEnded { relation: REGISTRANT, recipient }),
        (
            place.clone(),
            place,
            any::<Option<bool>>(),
            any::<Option<bool>>(),
            prop::option::of(origin.clone()),
            origin
        )
            .prop_map(|(region, country, minor, transfer_consent, origin, of)| EventKind::Fact {
                facts: FactPatch {
                    region,
                    country,
                    minor,
                    transfer_consent,
                    origin,
                    origin_of: vec![(CategoryId(5), of)],
                }
            }),
    ]
}

/// Few instants, so that ties are common.
fn any_events() -> impl Strategy<Value = Vec<Event>> {
    let event = (any_kind(), 0_i64..8).prop_map(|(kind, second)| Event {
        kind,
        at: at(second),
        provenance: Provenance::default(),
    });
    prop::collection::vec(event, 0..14)
}

/// A naive reading of "is this purpose consented to, for this recipient, at the end of time?"
/// on the state: the least that any decision may make of it.
fn consented(state: &Subject, asked: PurposeId) -> bool {
    let granted = state.consents.iter().any(|consent| {
        consent.status == ConsentStatus::Given
            && consent.until.is_none()
            && consent.to == Addressee::Anyone
            && Fixture.purpose_within(asked, consent.purpose)
            && !state.consents.iter().any(|other| {
                other.status != ConsentStatus::Given
                    && other.to == Addressee::Anyone
                    && Fixture.purpose_within(asked, other.purpose)
                    && (other.order >= consent.order
                        || Fixture.purpose_within(other.purpose, consent.purpose)
                            && other.purpose != consent.purpose)
            })
            && !state.objections.iter().any(|objection| {
                Fixture.purpose_within(asked, objection.purpose)
                    && (objection.order >= consent.order
                        || !Fixture.purpose_within(consent.purpose, objection.purpose))
            })
    });
    granted && !state.erased && !state.minor
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(events in any_events(), seed in any::<u64>()) {
        let mut shuffled = events.clone();
        let mut state_of = seed;
        for i in (1..shuffled.len()).rev() {
            state_of = state_of.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(i, (state_of >> 33) as usize % (i + 1));
        }
        prop_assert!(subject(&events, &Fixture) == subject(&shuffled, &Fixture));
    }

    #[test]
    fn one_more_restrictive_event_never_discloses_more(
        events in any_events(), kind in any_kind(), second in 0_i64..8,
    ) {
        let more = Event { kind, at: at(second), provenance: Provenance::default() };
        let Some(more) = more.withholding_part() else { return Ok(()) };
        let before = subject(&events, &Fixture);
        let mut events = events;
        events.push(more);
        let after = subject(&events, &Fixture);
        for n in 0..11 {
            let asked = PurposeId(n);
            prop_assert!(consented(&before, asked) || !consented(&after, asked), "purpose {n}");
            let upheld = |state: &Subject| state.objections.iter().any(|o| o.purpose == asked && o.upheld);
            prop_assert!(!upheld(&before) || upheld(&after));
            let opposed = |state: &Subject| state.consents.iter().any(|c| {
                c.purpose == asked && c.status != ConsentStatus::Given && !c.overridden
            });
            prop_assert!(!opposed(&before) || opposed(&after), "a refusal is still heard, purpose {n}");
            prop_assert!(before.objections.iter().all(|o| after.objections.iter().any(|p| p.purpose == o.purpose)));
        }
        prop_assert!(after.erased >= before.erased && after.minor >= before.minor);
        prop_assert!(after.restricted >= before.restricted);
        prop_assert!(after.transfer_consent <= before.transfer_consent);
        prop_assert!(after.relations.iter().all(|relation| before.relations.contains(relation)));
        for recipient in ["acme", "other"] {
            prop_assert!(is_related(&before, recipient) || !is_related(&after, recipient), "{recipient}");
        }
        prop_assert!(before.opt_outs.iter().all(|out| after.opt_outs.contains(out)));
        prop_assert!(before.refused_categories.iter().all(|c| after.refused_categories.contains(c)));
        let opened = |purpose: &PurposeId| before.consents_since_restriction.contains(purpose);
        prop_assert!(!before.restricted || after.consents_since_restriction.iter().all(opened));
        prop_assert!(after.region == before.region || after.region == Extracted::Unreadable);
    }

    #[test]
    fn one_more_end_of_an_instruction_never_instructs_more(
        said in prop::collection::vec((0_u16..11, any::<bool>(), 0_i64..8), 0..10),
        (end, second) in (0_u16..11, 0_i64..8),
        seed in any::<prop::sample::Index>(),
    ) {
        let event = |(purpose, ends, second): (u16, bool, i64)| {
            let purpose = PurposeId(purpose);
            let kind = if ends { EventKind::InstructionEnded { purpose } } else { EventKind::Instruction { purpose } };
            Event { kind, at: at(second), provenance: Provenance::default() }
        };
        let mut events: Vec<Event> = said.into_iter().map(event).collect();
        let before = controller(&events, &Fixture);
        events.push(event((end, true, second)));
        let after = controller(&events, &Fixture);
        let covers = |state: &Controller, asked: PurposeId| {
            state.instructions.iter().any(|instructed| Fixture.purpose_within(asked, *instructed))
        };
        for asked in (0..11).map(PurposeId) {
            prop_assert!(covers(&before, asked) || !covers(&after, asked), "purpose {asked:?}");
        }
        let at = seed.index(events.len());
        events.rotate_left(at);
        prop_assert!(controller(&events, &Fixture) == after, "the order of arrival does not matter");
    }
}
