//! A description reads back as the same facts and the same decision, and holds nothing of the person.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::decision::testing::one_partner;
use crate::decision::{
    Addressee, AdmissionRequest, Admitted, Classes, Consent, ConsentStatus, Controller, Decisions, Extracted,
    LegalReference, Objection, Permit, RecipientFacts, RecordFacts, Relation, Relationship, Subject,
    UnknownSubject,
};
use crate::vocabulary::{CategoryId, EEA, Operation, Origin, Safeguard};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Each kind with a purpose that it can ask for.
const ASKED: [(&str, &str); 8] = [
    ("employee", "customer-support"),
    ("employee", "direct-marketing"),
    ("marketing-partner", "direct-marketing"),
    ("reselling-partner", "reseller-follow-up"),
    ("domain-registrar", "domain-registration"),
    ("public-authority", "law-enforcement"),
    ("data-subject", "access"),
    ("customer-administrator", "data-subject-request"),
];

const FIELDS: [&[&str]; 7] = [
    &["name"],
    &["email"],
    &["phone"],
    &["billing", "service-data"],
    &["service-data"],
    &["non-personal"],
    &[],
];

fn decisions() -> &'static Decisions {
    static DECISIONS: std::sync::OnceLock<Decisions> = std::sync::OnceLock::new();
    DECISIONS.get_or_init(|| Decisions::new(one_partner()))
}

fn classes() -> Classes {
    static CLASSES: std::sync::OnceLock<Classes> = std::sync::OnceLock::new();
    let tree = one_partner().vocabulary().categories().clone();
    let category = |name: &&str| tree.find(name).unwrap();
    let sets =
        || FIELDS.iter().map(|set| set.iter().map(category).collect()).collect::<Vec<Vec<CategoryId>>>();
    CLASSES.get_or_init(|| Classes::new(sets(), false)).clone()
}

fn admit(
    (kind, purpose): (&str, &str),
    country: Option<&str>,
    safeguard: Safeguard,
    case: bool,
) -> Option<Admitted> {
    let pack = one_partner();
    let vocabulary = pack.vocabulary();
    let purpose = vocabulary.purposes().find(purpose).unwrap();
    let covered = ["name", "email"].map(|name| vocabulary.categories().find(name).unwrap());
    let recipient = RecipientFacts {
        name: "acme".into(),
        kind: vocabulary.kinds().find(kind).unwrap(),
        country: country.map(Arc::from),
        region: None,
        purposes: vec![purpose],
        agreement: true,
        safeguard,
        suspended: false,
    };
    let request = AdmissionRequest {
        recipient: Arc::new(recipient),
        purpose,
        operation: Operation::Disclose,
        exporter_region: EEA.into(),
        upstream_backup: false,
        legal_reference: if case { LegalReference::Categories(covered.into()) } else { LegalReference::None },
    };
    decisions().admit(&request, &classes()).ok()
}

fn outcome(permit: &Permit) -> Vec<(crate::vocabulary::Form, Vec<Arc<str>>)> {
    permit.releases().iter().map(|release| (release.form, release.rules.to_vec())).collect()
}

/// Any state of a person; `FR` and the days are values that must not occur in a description.
fn subjects() -> impl Strategy<Value = Subject> {
    let statuses = select(vec![
        None,
        Some(ConsentStatus::Given),
        Some(ConsentStatus::Withdrawn),
        Some(ConsentStatus::Expired),
    ]);
    let flags = prop::array::uniform6(any::<bool>());
    let asked = select(ASKED.to_vec());
    let relation = select(vec![None, Some("domain-registrant"), Some("reseller-referral")]);
    let origin = select(vec![Origin::OwnStatement, Origin::Referral, Origin::FederatedSignIn]);
    (statuses, flags, asked, relation, origin).prop_map(|(status, flags, (_, purpose), relation, origin)| {
        let pack = one_partner();
        let words = pack.vocabulary();
        let purpose = words.purposes().find(purpose).unwrap();
        let [objects, opted_out, restricted, minor, transfer, abroad] = flags;
        let consent = status.map(|status| Consent {
            purpose,
            to: Addressee::Anyone,
            status,
            until: None,
            order: Some(1),
            overridden: false,
        });
        let objection = Objection { purpose, upheld: false, order: Some(2) };
        let relation = relation.and_then(|name| words.relations().find(name));
        let mut subject = Subject {
            consents: consent.into_iter().collect(),
            objections: objects.then_some(objection).into_iter().collect(),
            opt_outs: opted_out.then(|| "acme".into()).into_iter().collect(),
            restricted,
            minor,
            transfer_consent: transfer,
            country: Extracted::Known(if abroad { "AU" } else { "FR" }.into()),
            relations: relation
                .map(|relation| Relation { relation, recipient: Some("acme".into()) })
                .into_iter()
                .collect(),
            ..Subject::default()
        };
        subject.origins.default = origin;
        subject
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_description_decides_alike_and_names_no_value(
        subject in subjects(),
        asked in select(ASKED.to_vec()),
        country in select(vec![None, Some("DE"), Some("US"), Some("AU")]),
        safeguard in select(Safeguard::ALL.to_vec()),
        (case, named, own) in any::<(bool, bool, bool)>(),
        closed in select(vec![None, Some(1), Some(100), Some(1000)]),
        created in select(vec![None, Some(3), Some(4000)]),
    ) {
        let Some(admitted) = admit(asked, country, safeguard, case) else { return Ok(()) };
        let ago = |days: i64| NOW - SignedDuration::from_hours(24 * days);
        let controller = Controller { closed_since: closed.map(ago), ..Controller::default() };
        let created = created.map_or(Extracted::Absent, |days| Extracted::Known(ago(days)));
        let record = RecordFacts { created, country: Extracted::Known("FR".into()), ..RecordFacts::default() };
        let relationship = Relationship {
            subject_is_recipient: own,
            controller_is_recipient: own,
            named_in_case: case && named,
        };
        let (unknown, route) = (UnknownSubject::Withhold, "customers");
        let (permit, person) =
            admitted.judge_person_with_facts(Some(&subject), unknown, &controller, &record, relationship, NOW);
        let fields = ClassSet::of(&[1; FIELDS.len()]);
        let described = admitted.describe(route, Operation::Disclose, EEA, &[person], fields);
        let described = described.ok_or_else(|| TestCaseError::fail("no keys state these facts"))?;
        let text = serde_json::to_string(&described).unwrap();
        prop_assert!(!text.contains("FR") && !text.contains("1970"), "{text}");
        prop_assert_eq!(&serde_json::from_str::<SeenCircumstance>(&text).unwrap(), &described);
        let read = ReadCircumstance::read(&one_partner(), &described).map_err(TestCaseError::fail)?;
        let again = decisions().admit(&read.request, &classes()).map_err(|denial| TestCaseError::fail(denial.name()))?;
        prop_assert_eq!(outcome(&read.judge(&again)), outcome(&permit), "{}", text);
    }
}

#[test]
fn records_about_nobody_unknown_and_several_people_are_described() {
    let admitted = admit(ASKED[0], Some("DE"), Safeguard::None, false).unwrap();
    let describe = |people: &[PersonFacts]| {
        let fields = ClassSet::of(&[0, 1, 0, 2, 0, 0, 1]);
        admitted.describe("customers", Operation::Alter, "US", people, fields).unwrap()
    };
    let judge = |known: Option<&Subject>| {
        let (controller, record) = (Controller::default(), RecordFacts::default());
        let relationship = Relationship::default();
        admitted
            .judge_person_with_facts(known, UnknownSubject::Withhold, &controller, &record, relationship, NOW)
            .1
    };
    let nobody = describe(&[PersonFacts::Nobody]);
    assert_eq!(nobody.subject, None);
    assert_eq!(nobody.categories, ["billing+service-data", "email", UNCLASSIFIED]);
    assert_eq!(nobody.operation, "alter");
    assert_eq!(
        serde_json::to_value(&nobody.request).unwrap(),
        serde_json::json!({"operation": "alter", "exporter-region": "US"})
    );
    let unknown = describe(&[judge(None)]);
    assert_eq!(serde_json::to_value(&unknown.subject).unwrap(), serde_json::json!({"unknown": true}));
    let refuses = Subject { only_refusals: true, erased: true, ..Subject::default() };
    let erased = Subject { erased: true, ..Subject::default() };
    let several = describe(&[judge(Some(&refuses)), judge(Some(&erased)), judge(None)]);
    assert_eq!(several.also.len(), 2);
    let states: BTreeSet<String> =
        several.also.iter().map(|person| serde_json::to_string(&person.subject).unwrap()).collect();
    assert!(states.contains(r#"{"unknown":true}"#), "{states:?}");
    assert_eq!(several.subject.unwrap()["only-refusals"], true);
    assert_eq!(admitted.describe("customers", Operation::Disclose, EEA, &[], ClassSet::default()), None);
}

#[test]
fn classes_beyond_the_bound_are_in_no_set() {
    let mut fields = vec![0; 200];
    (fields[0], fields[127], fields[128]) = (1, 3, 1);
    let set = ClassSet::of(&fields);
    let found: Vec<usize> = (0..200).filter(|class| set.contains(*class)).collect();
    assert_eq!(found, [0, 127]);
}
