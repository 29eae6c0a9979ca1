//! Events as JSON: parsed once, at the edge, and written for the store, for export and for display.
//!
//! Invariants: an unknown member, a member twice, a member that the kind does not have, or a name
//! that the vocabulary does not have is an error; an error names the member and never its value,
//! which may be about a person. What is written is parsed to the same event.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::event::{Entity, EntityKind, Event, EventDraft, FactPatch, Patch, Provenance, Registration};
use super::kinds::{EventKind, KINDS};
use super::members::MemberReader;
use super::names::TermLookup;
use crate::decision::Addressee;
use crate::vocabulary::{IdError, MAX_ID_BYTES, SubjectId};

/// The longest event that is read, in bytes.
pub const MAX_EVENT_BYTES: usize = 16 * 1024;

/// The longest id of a disclosure case, in bytes: it is cited in a header.
const MAX_CASE_BYTES: usize = 128;

/// What is wrong with an event. Names members, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("not a JSON object")]
    NotAnObject,
    #[error("longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is there twice")]
    Repeated(String),
    #[error("`{0}` is no member of an event")]
    UnknownMember(String),
    #[error("`{member}` is no member of a `{kind}` event")]
    Misplaced { member: &'static str, kind: &'static str },
    #[error("`kind` is none of the ledger's kinds of event{hint}", hint = hint_at_kind(*nearest))]
    UnknownKind { nearest: Option<&'static str> },
    /// One that the vocabulary does not have.
    #[error("`{member}` {what}{hint}", hint = hint(nearest.as_deref()))]
    UnknownWord { member: &'static str, what: &'static str, nearest: Option<String> },
    #[error("`recipient` is none of the configured recipients{hint}", hint = hint(nearest.as_deref()))]
    UnknownRecipient { nearest: Option<String> },
    #[error("`namespace` is none that the configuration has{hint}", hint = hint(nearest.as_deref()))]
    UnknownNamespace { nearest: Option<String> },
    /// Nobody is in the default one.
    #[error("`namespace` is missing: the configuration has ids in `{known}` alone")]
    NamespaceMissing { known: String },
    #[error("a `{kind}` event is about a {wanted}, not about a {got}", wanted = wanted.name(), got = got.name())]
    WrongEntityKind { kind: &'static str, wanted: EntityKind, got: EntityKind },
    #[error("`{member}` {what}")]
    InvalidMember { member: &'static str, what: &'static str },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

fn hint_at_kind(nearest: Option<&str>) -> String {
    match nearest {
        None => format!(": {}", KINDS.join(", ")),
        nearest => hint(nearest),
    }
}

pub(super) fn wrong(member: &'static str, what: &'static str) -> EventError {
    EventError::InvalidMember { member, what }
}

/// Parses one event about a given sort of entity.
pub fn parse(text: &[u8], sort: EntityKind, names: &dyn TermLookup) -> Result<EventDraft, EventError> {
    about(sort, &mut MemberReader::read(text)?, names)
}

/// Parses an event as it was kept, about a given sort of entity. Ids in it may be older than the rules of
/// today.
pub(super) fn parse_stored(
    text: &[u8],
    sort: EntityKind,
    names: &dyn TermLookup,
) -> Result<EventDraft, EventError> {
    about(sort, &mut MemberReader::read(text)?.stored(), names)
}

/// As [`parse`], where it is known already which kind of event it is.
pub fn parse_of_kind(
    text: &[u8],
    kind: &str,
    sort: EntityKind,
    names: &dyn TermLookup,
) -> Result<EventDraft, EventError> {
    about(sort, &mut MemberReader::read(text)?.with_kind(kind)?, names)
}

/// Parses one line of an import: an event that says whom it is about (`subject` or `controller`,
/// with `namespace`; `case`; a recipient's event names the `recipient`).
pub fn parse_line(text: &[u8], names: &dyn TermLookup) -> Result<(Entity, EventDraft), EventError> {
    line(&mut MemberReader::read(text)?, names)
}

/// The registration of a case; one without a `case` gets this id.
pub fn parse_case(
    text: &[u8],
    fresh: String,
    names: &dyn TermLookup,
) -> Result<(Entity, EventDraft), EventError> {
    line(&mut MemberReader::read(text)?.with_kind("case-registered")?.or_case_id(fresh), names)
}

fn about(
    sort: EntityKind,
    members: &mut MemberReader,
    names: &dyn TermLookup,
) -> Result<EventDraft, EventError> {
    let draft = draft(members, names)?;
    let wanted = draft.kind.entity_kind();
    if wanted != sort {
        return Err(EventError::WrongEntityKind { kind: draft.kind.name(), wanted, got: sort });
    }
    Ok(draft)
}

fn line(members: &mut MemberReader, names: &dyn TermLookup) -> Result<(Entity, EventDraft), EventError> {
    let subject = members.id("subject")?;
    let controller = members.id("controller")?;
    let case = members.text("case")?;
    let namespace = members.text("namespace")?;
    let entity = match (subject, controller, case) {
        (Some(id), None, None) => Entity::Subject(person(&id, namespace.as_deref(), names)?),
        (None, Some(id), None) => Entity::Controller(person(&id, namespace.as_deref(), names)?),
        (None, None, Some(_)) if namespace.is_some() => {
            return Err(wrong("namespace", "stands beside `case`, which has none"));
        }
        (None, None, Some(id)) => Entity::Case(case_id(&id)?),
        (Some(_), Some(_), _) => {
            return Err(wrong("controller", "stands beside `subject`: an event is about one of them"));
        }
        (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => {
            return Err(wrong("case", "stands beside a person: an event is about one of them"));
        }
        (None, None, None) => match members.text("recipient")? {
            Some(name) => Entity::Recipient(recipient_name(&name)?),
            None => return Err(EventError::Missing("subject")),
        },
    };
    let draft = about(entity.kind(), members, names)?;
    Ok((entity, draft))
}

/// Whom an id means: read by the rule of its namespace.
///
/// # Errors
/// [`EventError::Member`]: it is empty, too long or outside the namespace's pattern.
pub fn person(
    spelled: &str,
    namespace: Option<&str>,
    names: &dyn TermLookup,
) -> Result<SubjectId, EventError> {
    check_namespace(namespace)?;
    names.namespaces().reader(namespace).read(spelled).map_err(|misfit| match misfit {
        IdError::Length => wrong("subject", "is empty or longer than 512 bytes"),
        IdError::Pattern => wrong("subject", "does not fit the pattern of its namespace"),
    })
}

pub(super) fn check_namespace(namespace: Option<&str>) -> Result<(), EventError> {
    match namespace {
        Some(name) if name.is_empty() || name.len() > MAX_ID_BYTES => {
            Err(wrong("namespace", "is empty or longer than 512 bytes"))
        }
        _ => Ok(()),
    }
}

/// A recipient's name: not empty, not too long.
pub fn recipient_name(name: &str) -> Result<Arc<str>, EventError> {
    if name.is_empty() || name.len() > MAX_ID_BYTES {
        return Err(wrong("recipient", "is empty or longer than 512 bytes"));
    }
    Ok(Arc::from(name))
}

/// The id of a case: letters, digits and `-._:/`, so that a header can cite it as it is.
pub fn case_id(id: &str) -> Result<Arc<str>, EventError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
    if id.is_empty() || id.len() > MAX_CASE_BYTES || !id.bytes().all(fits) {
        return Err(wrong("case", "is not 1 to 128 letters, digits and `-._:/`"));
    }
    Ok(Arc::from(id))
}

fn draft(members: &mut MemberReader, names: &dyn TermLookup) -> Result<EventDraft, EventError> {
    let name = members.text("kind")?.ok_or(EventError::Missing("kind"))?;
    let at = members.time("at")?;
    let provenance = Provenance {
        notice: members.provenance("notice")?,
        channel: members.provenance("channel")?,
        evidence: members.provenance("evidence")?,
    };
    let kind = EventKind::read(&name, members, names)?;
    check(&kind, &provenance, names)?;
    members.check_all_read(kind.name())?;
    Ok(EventDraft { kind, at, provenance })
}

/// Checks what law or policy ask of one kind of event beyond its members.
fn check(kind: &EventKind, provenance: &Provenance, names: &dyn TermLookup) -> Result<(), EventError> {
    let evidence_missing = provenance.evidence.is_none();
    match kind {
        EventKind::Notice if provenance.notice.is_none() => Err(EventError::Missing("notice")),
        EventKind::ObjectionOverridden { purpose } if names.objection_is_absolute(*purpose) => {
            Err(wrong("purpose", "is one where an objection needs no balancing: it cannot be overridden"))
        }
        EventKind::ObjectionOverridden { .. } if evidence_missing => {
            Err(wrong("evidence", "is missing: an objection is overridden with a recorded reason"))
        }
        // P-9: explicit, with evidence.
        EventKind::Fact { facts } | EventKind::Correction { facts }
            if facts.transfer_consent == Some(true) && evidence_missing =>
        {
            Err(wrong("evidence", "is missing: a consent to a transfer needs it"))
        }
        _ => Ok(()),
    }
}

/// Writes an event with the members it was parsed from.
pub fn write(event: &Event, names: &dyn TermLookup) -> Map<String, Value> {
    let Event { kind, at, provenance: Provenance { notice, channel, evidence } } = event;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("kind", kind.name().into());
    put("at", at.to_string().into());
    kind.write(names, &mut put);
    for (name, value) in [("notice", notice), ("channel", channel), ("evidence", evidence)] {
        if let Some(value) = value {
            put(name, (&**value).into());
        }
    }
    members
}

/// Writes an event as a line of an export, which an import reads.
pub(super) fn write_line(entity: &Entity, event: &Event, names: &dyn TermLookup) -> Map<String, Value> {
    let mut line = Map::new();
    match entity {
        Entity::Subject(person) => put_person("subject", person, &mut line),
        Entity::Controller(person) => put_person("controller", person, &mut line),
        Entity::Recipient(name) => {
            line.insert("recipient".to_owned(), (&**name).into());
        }
        Entity::Case(id) => {
            line.insert("case".to_owned(), (&**id).into());
        }
    }
    line.extend(write(event, names));
    line
}

fn put_person(member: &str, person: &SubjectId, line: &mut Map<String, Value>) {
    line.insert(member.to_owned(), person.id().as_str().into());
    if let Some(namespace) = person.namespace() {
        line.insert("namespace".to_owned(), (&**namespace).into());
    }
}

pub(super) fn put_addressee(to: &Addressee, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
    match to {
        Addressee::Anyone => {}
        Addressee::Kind(kind) => put("recipient-kind", names.kind_name(*kind).into()),
        Addressee::Recipient(name) => put("recipient", (&**name).into()),
    }
}

/// Writes a registration's members.
pub(super) fn put_registration(
    registration: &Registration,
    names: &dyn TermLookup,
    put: &mut dyn FnMut(&str, Value),
) {
    let Registration { recipient, purpose, subjects, categories, end, reference, confidential_until } =
        registration;
    put("recipient", (&**recipient).into());
    put("purpose", names.purpose_name(*purpose).into());
    put("subjects", subjects.iter().map(write_person).collect());
    put("categories", categories.iter().map(|category| names.category_name(*category)).collect());
    put("end", end.to_string().into());
    put("reference", (&**reference).into());
    if let Some(until) = confidential_until {
        put("confidential-until", until.to_string().into());
    }
}

fn write_person(person: &SubjectId) -> Value {
    match person.namespace() {
        None => person.id().as_str().into(),
        Some(namespace) => serde_json::json!({ "id": person.id().as_str(), "namespace": &**namespace }),
    }
}

pub(super) fn write_facts(facts: &FactPatch, names: &dyn TermLookup) -> Value {
    let FactPatch { region, country, minor, transfer_consent, origin, origin_of } = facts;
    let mut members = Map::new();
    for (name, said) in [("region", region), ("country", country)] {
        match said {
            Patch::Unchanged => None,
            Patch::Unknown => members.insert(name.to_owned(), Value::Null),
            Patch::Known(place) => members.insert(name.to_owned(), (&**place).into()),
        };
    }
    for (name, flag) in [("minor", minor), ("transfer-consent", transfer_consent)] {
        if let Some(flag) = flag {
            members.insert(name.to_owned(), (*flag).into());
        }
    }
    if let Some(origin) = origin {
        members.insert("origin".to_owned(), origin.name().into());
    } else if !origin_of.is_empty() {
        let of = origin_of.iter().map(|(category, origin)| {
            (names.category_name(*category).to_owned(), Value::from(origin.name()))
        });
        members.insert("origin".to_owned(), Value::Object(of.collect()));
    }
    Value::Object(members)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::ledger::names::fixture::Fixture;

    fn subject(text: &str) -> Result<EventDraft, EventError> {
        parse(text.as_bytes(), EntityKind::Subject, &Fixture)
    }

    fn unknown(member: &'static str, what: &'static str, nearest: Option<&str>) -> EventError {
        EventError::UnknownWord { member, what, nearest: nearest.map(str::to_owned) }
    }

    #[test]
    fn places_are_assigned_codes_and_known_labels() {
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
    fn an_end_in_the_year_9999_is_never() {
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
    fn every_kind_is_written_as_it_was_read() {
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
            (
                EntityKind::Subject,
                r#"{"kind":"objection-overridden","purpose":"analytics","evidence":"memo 7"}"#,
            ),
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
            let draft =
                parse(text.as_bytes(), sort, &Fixture).unwrap_or_else(|error| panic!("{text}: {error}"));
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
    fn a_line_says_whom_it_is_about() {
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
        let misfit = wrong("subject", "does not fit the pattern of its namespace");
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
            Err(wrong("subjects", "has one that does not fit the pattern of its namespace"))
        );
        assert_eq!(case("Patient/17", true).as_deref(), Ok("17"));
        assert_eq!(case("Group/17", true).as_deref(), Ok("Group/17"), "what is on record is read");
    }

    #[test]
    fn what_is_wrong_names_the_member_and_no_value() {
        let cases = [
            ("[]", EventError::NotAnObject),
            (r#"{"kind":"erasure""#, EventError::NotAnObject),
            (r#"{"kind":"erasure"} x"#, EventError::NotAnObject),
            (r#"{}"#, EventError::Missing("kind")),
            (r#"{"kind":"forget"}"#, EventError::UnknownKind { nearest: None }),
            (r#"{"kind":"consent-givn"}"#, EventError::UnknownKind { nearest: Some("consent-given") }),
            (r#"{"kind":"erasure","kind":"erasure"}"#, EventError::Repeated("kind".into())),
            (r#"{"kind":"erasure","reason":"x"}"#, EventError::UnknownMember("reason".into())),
            (r#"{"kind":"erasure","alice@example.org":"x"}"#, EventError::UnknownMember("…".into())),
            (
                r#"{"kind":"erasure","purpose":"marketing"}"#,
                EventError::Misplaced { member: "purpose", kind: "erasure" },
            ),
            (r#"{"kind":"consent-given"}"#, EventError::Missing("purpose")),
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
            (r#"{"kind":"consent-given","purpose":7}"#, wrong("purpose", "is not a string")),
            (
                r#"{"kind":"erasure","at":"yesterday"}"#,
                wrong("at", "is not a time as in RFC 3339 (2026-11-21T09:30:00Z)"),
            ),
            (
                r#"{"kind":"erasure","at":"2026-11-21T09:30:00"}"#,
                wrong("at", "is not a time as in RFC 3339 (2026-11-21T09:30:00Z)"),
            ),
            (
                r#"{"kind":"fact","facts":{"transfer-consent":true}}"#,
                wrong("evidence", "is missing: a consent to a transfer needs it"),
            ),
            (r#"{"kind":"fact","facts":{"minor":"yes"}}"#, wrong("minor", "is neither true nor false")),
            (r#"{"kind":"fact","facts":{"minor":true,"minor":false}}"#, EventError::Repeated("minor".into())),
            (r#"{"kind":"fact","facts":{}}"#, wrong("facts", "is not an object with a fact in it")),
            (r#"{"kind":"fact","facts":{"age":12}}"#, EventError::UnknownMember("age".into())),
            (r#"{"kind":"notice"}"#, EventError::Missing("notice")),
            (r#"{"kind":"request-received"}"#, EventError::Missing("right")),
            (
                r#"{"kind":"request-answered","right":"everything"}"#,
                wrong(
                    "right",
                    "is none of access, rectification, erasure, restriction, portability, objection",
                ),
            ),
            (
                r#"{"kind":"suspended"}"#,
                EventError::WrongEntityKind {
                    kind: "suspended",
                    wanted: EntityKind::Recipient,
                    got: EntityKind::Subject,
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(subject(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_law_or_policy_does_not_allow_is_not_recorded() {
        for purpose in ["marketing", "direct-marketing", "prospecting", "reseller-follow-up"] {
            let text = format!(r#"{{"kind":"objection-overridden","purpose":"{purpose}","evidence":"x"}}"#);
            assert!(
                matches!(subject(&text), Err(EventError::InvalidMember { member: "purpose", .. })),
                "{text}"
            );
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
    fn a_case_says_everything_that_it_is_judged_by() {
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
    fn bounds_hold() {
        let long = format!(r#"{{"kind":"erasure","channel":"{}"}}"#, "x".repeat(5000));
        assert!(matches!(subject(&long), Err(EventError::InvalidMember { member: "channel", .. })));
        assert_eq!(subject(&" ".repeat(MAX_EVENT_BYTES + 1)), Err(EventError::TooLong));
        assert!(person("", None, &Fixture).is_err());
        assert!(person(&"x".repeat(MAX_ID_BYTES + 1), None, &Fixture).is_err());
        let deep = format!(r#"{{"kind":{}"#, "[".repeat(10_000));
        assert_eq!(subject(&deep), Err(EventError::NotAnObject));
    }
}
