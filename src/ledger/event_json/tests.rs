use std::sync::Arc;

use super::ids::MAX_CASE_BYTES;
use super::*;
use crate::ledger::kinds::KINDS;
use crate::ledger::payload::Patch;
use crate::ledger::terms::fixture::Fixture;
use crate::vocabulary::MAX_ID_BYTES;

fn subject(text: &str) -> Result<EventDraft, EventError> {
    parse(text.as_bytes(), EntityKind::Subject, &Fixture)
}

fn unknown(member: &'static str, problem: &'static str, nearest: Option<&str>) -> EventError {
    EventError::UnknownTerm { member, problem, nearest: nearest.map(str::to_owned) }
}

#[test]
fn a_place_is_an_assigned_country_code_or_a_known_region() {
    let read = |facts: &str| subject(&format!(r#"{{"kind":"fact","facts":{facts}}}"#));
    let known = |facts: &str| match read(facts).unwrap().kind {
        EventKind::Fact { facts } => (facts.region, facts.country),
        other => panic!("{other:?}"),
    };
    let said = |word: &str| Patch::Known(Arc::from(word));
    assert_eq!(known(r#"{"region":"eu","country":"de "}"#), (said("EEA"), said("DE")));
    assert_eq!(known(r#"{"region":"apac","country":null}"#), (said("APAC"), Patch::Unknown));
    for wrong in ["Germany", "UK", "ZZ", "XX", ""] {
        assert!(read(&format!(r#"{{"country":"{wrong}"}}"#)).is_err(), "{wrong}");
    }
    for wrong in ["Europe", "UK", "ZZ", "nowhere", ""] {
        assert!(read(&format!(r#"{{"region":"{wrong}"}}"#)).is_err(), "{wrong}");
    }
}

#[test]
fn an_end_in_the_year_9999_means_never() {
    let read = |until: &str| {
        subject(&format!(r#"{{"kind":"consent-given","purpose":"marketing","valid-until":"{until}"}}"#))
    };
    for never in ["9999-12-31T23:59:59Z", "9999-12-31T00:00:00+01:00"] {
        let EventKind::ConsentGiven { until, .. } = read(never).unwrap().kind else { panic!("{never}") };
        assert_eq!(until, Some(jiff::Timestamp::MAX));
    }
    assert!(read("9999-12-31").is_err());
}

#[test]
fn a_written_event_of_every_kind_equals_the_parsed_json() {
    let events = [
        (EntityKind::Subject, r#"{"kind":"notice","notice":"privacy-2026-01"}"#),
        (EntityKind::Subject, r#"{"kind":"consent-given","purpose":"marketing"}"#),
        (
            EntityKind::Subject,
            r#"{"kind":"consent-given","purpose":"marketing","recipient":"acme","valid-until":"2027-01-01T00:00:00Z","channel":"web","notice":"n","evidence":"e"}"#,
        ),
        (
            EntityKind::Subject,
            r#"{"kind":"consent-refused","purpose":"marketing","recipient-kind":"employee"}"#,
        ),
        (EntityKind::Subject, r#"{"kind":"consent-withdrawn","purpose":"direct-marketing"}"#),
        (EntityKind::Subject, r#"{"kind":"objection","purpose":"analytics"}"#),
        (EntityKind::Subject, r#"{"kind":"objection-lifted","purpose":"analytics"}"#),
        (EntityKind::Subject, r#"{"kind":"objection-upheld","purpose":"security"}"#),
        (EntityKind::Subject, r#"{"kind":"objection-overridden","purpose":"analytics","evidence":"memo 7"}"#),
        (EntityKind::Subject, r#"{"kind":"opt-out","recipient":"acme"}"#),
        (EntityKind::Subject, r#"{"kind":"opt-out-lifted","recipient":"acme"}"#),
        (EntityKind::Subject, r#"{"kind":"restriction"}"#),
        (EntityKind::Subject, r#"{"kind":"restriction-lifted"}"#),
        (EntityKind::Subject, r#"{"kind":"erasure"}"#),
        (EntityKind::Subject, r#"{"kind":"category-refused","category":"company"}"#),
        (EntityKind::Subject, r#"{"kind":"category-allowed","category":"photo"}"#),
        (EntityKind::Subject, r#"{"kind":"relation","relation":"domain-registrant"}"#),
        (
            EntityKind::Subject,
            r#"{"kind":"relation-ended","relation":"integration-enabled","recipient":"acme"}"#,
        ),
        (
            EntityKind::Subject,
            r#"{"kind":"fact","facts":{"region":"EEA","country":null,"minor":true,"transfer-consent":true,"origin":"referral"},"evidence":"e"}"#,
        ),
        (
            EntityKind::Subject,
            r#"{"kind":"correction","facts":{"origin":{"email":"social","photo":"self"}}}"#,
        ),
        (EntityKind::Subject, r#"{"kind":"request-received","right":"access","channel":"letter"}"#),
        (EntityKind::Subject, r#"{"kind":"request-answered","right":"portability"}"#),
        (EntityKind::Subject, r#"{"kind":"log-secret-erased"}"#),
        (EntityKind::Controller, r#"{"kind":"instruction","purpose":"invoicing"}"#),
        (EntityKind::Controller, r#"{"kind":"instruction-ended","purpose":"invoicing"}"#),
        (EntityKind::Controller, r#"{"kind":"account-closed"}"#),
        (EntityKind::Recipient, r#"{"kind":"suspended"}"#),
        (EntityKind::Recipient, r#"{"kind":"resumed"}"#),
        (
            EntityKind::Case,
            r#"{"kind":"case-registered","recipient":"court","purpose":"security","subjects":["a",{"id":"b","namespace":"crm"}],"categories":["email","phone"],"end":"2027-01-01T00:00:00Z","reference":"12 O 4/26","confidential-until":"2027-06-01T00:00:00Z","evidence":"scan 7"}"#,
        ),
        (EntityKind::Case, r#"{"kind":"case-approved","approver":"Ada"}"#),
        (EntityKind::Case, r#"{"kind":"case-ended"}"#),
    ];
    let mut kinds = std::collections::BTreeSet::new();
    for (sort, text) in events {
        let draft = parse(text.as_bytes(), sort, &Fixture).unwrap_or_else(|error| panic!("{text}: {error}"));
        kinds.insert(draft.kind.name());
        let at = "2026-11-21T09:30:00Z".parse().unwrap();
        let event = Event { kind: draft.kind, at, provenance: draft.provenance };
        let mut written = write(&event, &Fixture);
        assert_eq!(written.remove("at"), Some("2026-11-21T09:30:00Z".into()));
        assert_eq!(Value::Object(written), serde_json::from_str::<Value>(text).unwrap());
    }
    assert_eq!(kinds, KINDS.iter().copied().collect(), "every kind has a case here");
}

#[test]
fn a_line_names_its_entity_and_is_written_as_it_was_read() {
    for text in [
        r#"{"subject":"c-1","kind":"erasure","at":"2026-01-01T00:00:00Z"}"#,
        r#"{"controller":"c-1","namespace":"crm","kind":"account-closed","at":"2026-01-01T00:00:00Z"}"#,
        r#"{"recipient":"acme","kind":"suspended","at":"2026-01-01T00:00:00Z"}"#,
        r#"{"subject":"c-1","kind":"opt-out","recipient":"acme","at":"2026-01-01T00:00:00Z"}"#,
        r#"{"case":"C-7","kind":"case-approved","approver":"Ada","at":"2026-01-01T00:00:00Z"}"#,
    ] {
        let (entity, draft) = parse_line(text.as_bytes(), &Fixture).unwrap();
        let event = Event { kind: draft.kind, at: draft.at.unwrap(), provenance: draft.provenance };
        let written = Value::Object(write_line(&entity, &event, &Fixture));
        assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
    }
}

#[test]
fn ids_are_read_by_the_rule_of_their_namespace() {
    let line = |subject: &str, namespace: &str| {
        let text = format!(r#"{{"subject":"{subject}","namespace":"{namespace}","kind":"erasure"}}"#);
        parse_line(text.as_bytes(), &Fixture).map(|(entity, _)| entity)
    };
    assert_eq!(line("Ada@X.org", "email"), line("ada@x.org", "email"));
    assert_ne!(line("Ada", "crm"), line("ada", "crm"));
    assert_eq!(line("https://x/Patient/17", "fhir"), line("17", "fhir"));
    let misfit = EventError::invalid("subject", "does not fit the pattern of its namespace");
    assert_eq!(line("Group/17", "fhir"), Err(misfit.clone()));
    assert!(!misfit.to_string().contains("17"));
    let case = |subject: &str, kept: bool| {
        let text = format!(
            r#"{{"kind":"case-registered","recipient":"court","purpose":"security","subjects":[{{"id":"{subject}","namespace":"fhir"}}],
                "categories":["email"],"end":"2027-01-01T00:00:00Z","reference":"12 O 4/26"}}"#
        );
        let read = if kept { parse_stored } else { parse };
        let EventKind::CaseRegistered { registration } =
            read(text.as_bytes(), EntityKind::Case, &Fixture)?.kind
        else {
            panic!()
        };
        Ok(registration.subjects[0].id().to_string())
    };
    assert_eq!(case("Patient/17", false).as_deref(), Ok("17"));
    assert_eq!(
        case("Group/17", false),
        Err(EventError::invalid("subjects", "contains an id that does not fit the pattern of its namespace"))
    );
    assert_eq!(case("Patient/17", true).as_deref(), Ok("17"));
    assert_eq!(case("Group/17", true).as_deref(), Ok("Group/17"), "what is on record is read");
}

#[test]
fn a_structural_error_names_the_member_and_no_value() {
    let cases = [
        ("[]", EventError::NotAnObject),
        (r#"{"kind":"erasure""#, EventError::NotAnObject),
        (r#"{"kind":"erasure"} x"#, EventError::NotAnObject),
        (r#"{}"#, EventError::Missing("kind")),
        (r#"{"kind":"forget"}"#, EventError::UnknownKind { nearest: None, known: KINDS }),
        (
            r#"{"kind":"consent-givn"}"#,
            EventError::UnknownKind { nearest: Some("consent-given"), known: KINDS },
        ),
        (r#"{"kind":"erasure","kind":"erasure"}"#, EventError::Repeated("kind".into())),
        (r#"{"kind":"erasure","reason":"x"}"#, EventError::UnknownMember("reason".into())),
        (r#"{"kind":"erasure","alice@example.org":"x"}"#, EventError::UnknownMember("…".into())),
        (
            r#"{"kind":"erasure","purpose":"marketing"}"#,
            EventError::Misplaced { member: "purpose", kind: "erasure" },
        ),
        (r#"{"kind":"consent-given"}"#, EventError::Missing("purpose")),
        (r#"{"kind":"consent-given","purpose":7}"#, EventError::invalid("purpose", "is not a string")),
        (
            r#"{"kind":"erasure","at":"yesterday"}"#,
            EventError::invalid("at", "is not a time as in RFC 3339 (2026-11-21T09:30:00Z)"),
        ),
        (
            r#"{"kind":"erasure","at":"2026-11-21T09:30:00"}"#,
            EventError::invalid("at", "is not a time as in RFC 3339 (2026-11-21T09:30:00Z)"),
        ),
        (
            r#"{"kind":"fact","facts":{"transfer-consent":true}}"#,
            EventError::invalid("evidence", "is missing: a consent to a transfer needs evidence"),
        ),
        (
            r#"{"kind":"fact","facts":{"minor":"yes"}}"#,
            EventError::invalid("minor", "is neither true nor false"),
        ),
        (r#"{"kind":"fact","facts":{"minor":true,"minor":false}}"#, EventError::Repeated("minor".into())),
        (
            r#"{"kind":"fact","facts":{}}"#,
            EventError::invalid("facts", "is not an object with at least one fact"),
        ),
        (r#"{"kind":"fact","facts":{"age":12}}"#, EventError::UnknownMember("age".into())),
        (r#"{"kind":"notice"}"#, EventError::Missing("notice")),
        (r#"{"kind":"request-received"}"#, EventError::Missing("right")),
        (
            r#"{"kind":"request-answered","right":"everything"}"#,
            EventError::invalid(
                "right",
                "is not one of access, rectification, erasure, restriction, portability, objection",
            ),
        ),
        (
            r#"{"kind":"suspended"}"#,
            EventError::WrongEntityKind {
                kind: "suspended",
                expected: EntityKind::Recipient,
                actual: EntityKind::Subject,
            },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(subject(text), Err(expected), "{text}");
    }
}

#[test]
fn an_unknown_term_is_an_error_with_the_nearest_term() {
    let cases = [
        (
            r#"{"kind":"consent-given","purpose":"alice"}"#,
            unknown("purpose", "is not a purpose of the vocabulary", None),
        ),
        (
            r#"{"kind":"consent-given","purpose":"Marketting"}"#,
            unknown("purpose", "is not a purpose of the vocabulary", Some("marketing")),
        ),
        (
            r#"{"kind":"consent-given","purpose":"marketing","recipient-kind":"employe"}"#,
            unknown("recipient-kind", "is not a recipient kind of the vocabulary", Some("employee")),
        ),
        (
            r#"{"kind":"category-refused","category":"fhone"}"#,
            unknown("category", "is not a data category of the vocabulary", Some("phone")),
        ),
        (
            r#"{"kind":"relation","relation":"domain registrant"}"#,
            unknown("relation", "is not a relation of the vocabulary", Some("domain-registrant")),
        ),
        (
            r#"{"kind":"fact","facts":{"origin":"referal"}}"#,
            unknown(
                "origin",
                "is not an origin, nor an object of data categories and their origins",
                Some("referral"),
            ),
        ),
        (
            r#"{"kind":"correction","facts":{"origin":{"photo":"self","e-mail":"social"}}}"#,
            unknown("origin", "has a member that is not a data category of the vocabulary", Some("email")),
        ),
        (
            r#"{"kind":"fact","facts":{"origin":{"alice":"self"}}}"#,
            unknown("origin", "has a member that is not a data category of the vocabulary", None),
        ),
        (
            r#"{"kind":"fact","facts":{"origin":{"email":"socail"}}}"#,
            unknown(
                "origin",
                "is not an origin, nor an object of data categories and their origins",
                Some("social"),
            ),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(subject(text), Err(expected), "{text}");
    }
    let words = |text: &str| subject(text).unwrap_err().to_string();
    let listed = words(r#"{"kind":"consent-given","purpose":"alice"}"#);
    assert!(
        listed.ends_with("`purposegate policy vocabulary --policy DIR --format text` lists what there is")
    );
    let closed = words(r#"{"kind":"fact","facts":{"origin":"alice"}}"#);
    assert!(!closed.contains("policy vocabulary"), "origins are no terms of the vocabulary: {closed}");
}

#[test]
fn events_that_law_or_policy_forbids_are_errors() {
    for purpose in ["marketing", "direct-marketing", "prospecting", "reseller-follow-up"] {
        let text = format!(r#"{{"kind":"objection-overridden","purpose":"{purpose}","evidence":"x"}}"#);
        assert!(matches!(subject(&text), Err(EventError::InvalidMember { member: "purpose", .. })), "{text}");
    }
    let no_reason = r#"{"kind":"objection-overridden","purpose":"analytics"}"#;
    assert!(matches!(subject(no_reason), Err(EventError::InvalidMember { member: "evidence", .. })));
    let email = r#"{"kind":"category-refused","category":"email"}"#;
    assert!(matches!(subject(email), Err(EventError::InvalidMember { member: "category", .. })));
    let both =
        r#"{"kind":"consent-given","purpose":"marketing","recipient":"a","recipient-kind":"employee"}"#;
    assert!(matches!(subject(both), Err(EventError::InvalidMember { member: "recipient-kind", .. })));
}

#[test]
fn a_registration_needs_all_of_its_members() {
    let whole = serde_json::json!({
        "kind": "case-registered", "recipient": "court", "purpose": "security", "subjects": ["a"],
        "categories": ["email"], "end": "2027-01-01T00:00:00Z", "reference": "12 O 4/26",
    });
    let read = |event: &Value| parse(event.to_string().as_bytes(), EntityKind::Case, &Fixture);
    assert!(read(&whole).is_ok());
    for member in ["recipient", "purpose", "subjects", "categories", "end", "reference"] {
        let mut event = whole.clone();
        event.as_object_mut().unwrap().remove(member);
        assert_eq!(read(&event), Err(EventError::Missing(member)));
    }
    for (member, value) in [
        ("subjects", serde_json::json!([])),
        ("subjects", serde_json::json!("a")),
        ("subjects", serde_json::json!([7.5])),
        ("subjects", serde_json::json!([""])),
        ("subjects", serde_json::json!([{"namespace": "crm"}])),
        ("subjects", serde_json::json!([{"id": "a", "name": "Ada"}])),
        ("categories", serde_json::json!([])),
        ("categories", serde_json::json!(["e-mail"])),
        ("categories", serde_json::json!([["email"]])),
        ("purpose", serde_json::json!("curiosity")),
        ("end", serde_json::json!("some day")),
        ("reference", serde_json::json!(" ")),
    ] {
        let mut event = whole.clone();
        event[member] = value.clone();
        assert!(read(&event).is_err(), "{member}: {value}");
    }
    let mut event = whole.clone();
    event["subjects"] = serde_json::json!([7, {"id": -7, "namespace": "crm"}]);
    let EventKind::CaseRegistered { registration } = read(&event).unwrap().kind else { panic!() };
    assert_eq!(registration.subjects[0], person("7", None, &Fixture).unwrap());
    assert_eq!(registration.subjects[1], person("-7", Some("crm"), &Fixture).unwrap());
    assert!(case_id("C-1/2026:x_.").is_ok());
    for id in ["", "a b", "\"", "ü", &"x".repeat(MAX_CASE_BYTES + 1)] {
        assert!(case_id(id).is_err(), "{id}");
    }
    let parse_case = |event: &Value| parse_case(event.to_string().as_bytes(), "C-8".to_owned(), &Fixture);
    assert_eq!(parse_case(&whole).unwrap().0, Entity::Case(Arc::from("C-8")));
    event = whole.clone();
    event["case"] = "C-7".into();
    assert_eq!(parse_case(&event).unwrap().0, Entity::Case(Arc::from("C-7")));
    let beside = r#"{"case":"C-7","subject":"a","kind":"case-ended"}"#;
    assert!(parse_line(beside.as_bytes(), &Fixture).is_err());
}

#[test]
fn events_and_ids_that_are_too_long_or_too_deep_are_errors() {
    let long = format!(r#"{{"kind":"erasure","channel":"{}"}}"#, "x".repeat(5000));
    assert!(matches!(subject(&long), Err(EventError::InvalidMember { member: "channel", .. })));
    assert_eq!(subject(&" ".repeat(MAX_EVENT_BYTES + 1)), Err(EventError::TooLong));
    assert!(person("", None, &Fixture).is_err());
    assert!(person(&"x".repeat(MAX_ID_BYTES + 1), None, &Fixture).is_err());
    let deep = format!(r#"{{"kind":{}"#, "[".repeat(10_000));
    assert_eq!(subject(&deep), Err(EventError::NotAnObject));
}
