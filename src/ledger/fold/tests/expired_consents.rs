//! Consents that have ended, as decisions see them: under the rules of a real pack.

use std::sync::OnceLock;

use super::*;
use crate::decision::testing::one_partner;
use crate::decision::{
    AdmissionRequest, Admitted, ClassId, Classes, Decisions, LegalReference, RecipientFacts, RecordFacts,
    Relationship,
};
use crate::ledger::VocabularyTerms;
use crate::vocabulary::{EEA, Form, KindId, Operation, Safeguard, Vocabulary};

/// Recipient kinds with a purpose and a category that they receive on a consent, or unless the person says no.
const CELLS: [(&str, &str, &str); 9] = [
    ("employee", "marketing", "email"),
    ("employee", "direct-marketing", "email"),
    ("marketing-partner", "direct-marketing", "email"),
    ("marketing-partner", "product-news", "email"),
    ("employee", "prospecting", "email"),
    ("reselling-partner", "reseller-follow-up", "email"),
    ("employee", "service-communication", "email"),
    ("employee", "essential-notice", "email"),
    ("employee", "survey", "email"),
];

const PURPOSES: [&str; 9] = [
    "marketing",
    "direct-marketing",
    "product-news",
    "prospecting",
    "reseller-follow-up",
    "service-communication",
    "essential-notice",
    "feedback",
    "survey",
];

fn words() -> Arc<Vocabulary> {
    Arc::clone(one_partner().vocabulary())
}

fn terms() -> &'static VocabularyTerms {
    static TERMS: OnceLock<VocabularyTerms> = OnceLock::new();
    TERMS.get_or_init(|| VocabularyTerms::new(words(), Arc::default()))
}

fn admit((kind, purpose, category): (&str, &str, &str)) -> Admitted {
    let words = words();
    let purpose = words.purposes().find(purpose).unwrap();
    let recipient = RecipientFacts {
        name: "acme".into(),
        kind: words.kinds().find(kind).unwrap(),
        country: None,
        region: Some(EEA.into()),
        purposes: vec![purpose],
        agreement: true,
        safeguard: Safeguard::None,
        suspended: false,
    };
    let request = AdmissionRequest {
        recipient: Arc::new(recipient),
        purpose,
        operation: Operation::Disclose,
        exporter_region: EEA.into(),
        upstream_backup: false,
        legal_reference: LegalReference::None,
    };
    let classes = Classes::new(vec![vec![words.categories().find(category).unwrap()]], false);
    Decisions::new(one_partner()).admit(&request, &classes).unwrap()
}

/// Returns for each of [`CELLS`] the form in which acme receives the data after these events.
fn received(events: &[Event], now: Timestamp) -> [Form; CELLS.len()] {
    static ADMITTED: OnceLock<[Admitted; CELLS.len()]> = OnceLock::new();
    let known = Subject { region: Extracted::Known(EEA.into()), ..subject(events, terms()) };
    let (controller, record) = (Controller::default(), RecordFacts::default());
    ADMITTED.get_or_init(|| CELLS.map(admit)).each_ref().map(|admitted| {
        admitted.judge(&known, &controller, &record, Relationship::default(), now).form(ClassId(0))
    })
}

/// A customer who asked for a download.
const DOWNLOAD: &str = r#"{"kind":"relation","relation":"product-download"}"#;

/// Returns what acme receives while the consents with an end last, and afterwards.
fn received_until_and_after(cell: (&str, &str), texts: &[&str]) -> (bool, bool) {
    let draft = |text: &&str| event_json::parse(text.as_bytes(), EntityKind::Subject, terms()).unwrap();
    let events: Vec<Event> = (0..)
        .zip(texts)
        .map(|(n, text)| Event { kind: draft(text).kind, at: at(n), provenance: Provenance::default() })
        .collect();
    let place = CELLS.iter().position(|(kind, purpose, _)| (*kind, *purpose) == cell).unwrap();
    let leaves = |now: &str| received(&events, now.parse().unwrap())[place] != Form::Removed;
    (leaves("2029-12-31T00:00:00Z"), leaves("2030-01-01T00:00:00Z"))
}

fn said(kind: &str, purpose: &str, more: &str) -> String {
    format!(r#"{{"kind":"consent-{kind}","purpose":"{purpose}"{more}}}"#)
}

const UNTIL: &str = r#","valid-until":"2030-01-01T00:00:00Z""#;

#[test]
fn a_refusal_counts_again_once_the_consent_after_it_has_ended() {
    let marketing = said("given", "marketing", "");
    // A consent above the refusal does not cover it.
    let refused = said("refused", "direct-marketing", "");
    let again = said("given", "direct-marketing", UNTIL);
    for kind in ["employee", "marketing-partner"] {
        let texts = [&*marketing, &refused, &again];
        assert_eq!(received_until_and_after((kind, "direct-marketing"), &texts), (true, false), "{kind}");
    }
    let texts = [&*marketing, &refused, &again];
    assert_eq!(received_until_and_after(("employee", "marketing"), &texts), (true, false));
    assert_eq!(received_until_and_after(("marketing-partner", "product-news"), &texts), (true, true));
    let for_good = said("given", "direct-marketing", "");
    let texts = [&*marketing, &refused, &again, &for_good];
    assert_eq!(received_until_and_after(("employee", "direct-marketing"), &texts), (true, true));
}

#[test]
fn a_withdrawal_is_an_objection_again_once_the_consent_after_it_has_ended() {
    let withdrawn = said("withdrawn", "marketing", "");
    let again = said("given", "marketing", UNTIL);
    for cell in [("employee", "prospecting"), ("reselling-partner", "reseller-follow-up")] {
        assert_eq!(
            received_until_and_after(cell, &[DOWNLOAD, &withdrawn, &again]),
            (true, false),
            "{cell:?}"
        );
        assert_eq!(
            received_until_and_after(cell, &[DOWNLOAD, &again]),
            (true, true),
            "an expiry is no objection"
        );
    }
    let (withdrawn, again) =
        (said("withdrawn", "service-communication", ""), said("given", "service-communication", UNTIL));
    let cell = ("employee", "service-communication");
    assert_eq!(received_until_and_after(cell, &[&withdrawn, &again]), (true, false));
}

#[test]
fn a_withdrawal_towards_a_kind_holds_for_named_recipients_once_the_consent_after_it_has_ended() {
    let acme = said("given", "marketing", r#","recipient":"acme""#);
    let kind = |what: &str, until: &str| {
        said(what, "marketing", &format!(r#","recipient-kind":"marketing-partner"{until}"#))
    };
    let (withdrawn, open, ending) = (kind("withdrawn", ""), kind("given", ""), kind("given", UNTIL));
    let cell = ("marketing-partner", "direct-marketing");
    assert_eq!(received_until_and_after(cell, &[&acme, &withdrawn, &ending]), (true, false));
    assert_eq!(received_until_and_after(cell, &[&acme, &withdrawn, &open]), (true, true));
    assert_eq!(received_until_and_after(cell, &[&acme, &withdrawn, &open, &ending]), (true, false));
}

fn any_statement() -> impl Strategy<Value = EventKind> {
    let purpose = prop::sample::select(PURPOSES.to_vec()).prop_map(|name| terms().purpose(name).unwrap());
    let kind = |name: &str| words().kinds().find(name).unwrap();
    let kinds: Vec<KindId> =
        ["employee", "marketing-partner", "service-provider"].into_iter().map(kind).collect();
    let to = prop_oneof![
        3 => Just(Addressee::Anyone),
        1 => Just(Addressee::Recipient("acme".into())),
        1 => prop::sample::select(kinds).prop_map(Addressee::Kind),
    ];
    let until = prop::option::of((0_i64..20).prop_map(at));
    let on = move || (purpose.clone(), to.clone());
    prop_oneof![
        4 => (on(), until).prop_map(|((purpose, to), until)| EventKind::ConsentGiven { purpose, to, until }),
        2 => on().prop_map(|(purpose, to)| EventKind::ConsentRefused { purpose, to }),
        2 => on().prop_map(|(purpose, to)| EventKind::ConsentWithdrawn { purpose, to }),
        1 => on().prop_map(|(purpose, _)| EventKind::Objection { purpose }),
        1 => on().prop_map(|(purpose, _)| EventKind::ObjectionOverridden { purpose }),
        1 => Just(EventKind::Restriction),
        1 => Just(EventKind::Relation { relation: terms().relation("product-download").unwrap(), recipient: None }),
    ]
}

proptest! {
    #[test]
    fn an_expired_consent_never_discloses_more_than_the_same_history_without_it(
        kinds in prop::collection::vec((any_statement(), 0_i64..8), 0..10),
        (kind, given) in (any_statement(), 0_i64..8),
        (until, since) in (0_i64..20, 0_i64..20),
    ) {
        let event = |(kind, second)| Event { kind, at: at(second), provenance: Provenance::default() };
        let mut events: Vec<Event> = kinds.into_iter().map(event).collect();
        let now = at(until + since);
        let without = received(&events, now);
        let kind = match kind {
            EventKind::ConsentGiven { purpose, to, .. }
            | EventKind::ConsentRefused { purpose, to }
            | EventKind::ConsentWithdrawn { purpose, to } => {
                EventKind::ConsentGiven { purpose, to, until: Some(at(until)) }
            }
            _ => return Ok(()),
        };
        events.push(event((kind, given)));
        for (cell, (with, without)) in CELLS.iter().zip(received(&events, now).into_iter().zip(without)) {
            prop_assert!(with == Form::Removed || with == without, "{cell:?}");
        }
    }
}
