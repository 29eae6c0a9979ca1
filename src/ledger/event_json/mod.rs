//! Events as JSON: parsed once, where they enter the ledger, and written for the store, exports and display.
//!
//! Invariants: unknown members, repeated members, members that the kind does not have, and terms that the
//! vocabulary does not have are errors. An error names the member and never its value, which may be personal
//! data. A written event parses to an equal event.

mod error;
mod ids;
pub(in crate::ledger) mod member;
pub(in crate::ledger) mod member_schema;
pub(in crate::ledger) mod reader;
mod schema;
mod value;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use error::{EventError, MAX_EVENT_BYTES};
pub use ids::{case_id, person, recipient_name};
pub use schema::{EventForm, any_event, component_name, event_components, term_components};

use crate::ledger::entity::{Entity, EntityKind};
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::kinds::{EventKind, MEMBERS};
use crate::ledger::payload::{Provenance, RecordedBy};
use crate::ledger::terms::TermLookup;
use crate::vocabulary::SubjectId;
use reader::MemberReader;

/// Parses an event about an entity of the given kind.
///
/// # Errors
/// [`EventError`] for the first error found.
pub fn parse(text: &[u8], entity: EntityKind, terms: &dyn TermLookup) -> Result<EventDraft, EventError> {
    draft_about(entity, &mut MemberReader::new(text)?, terms)
}

/// Parses a stored event about an entity of the given kind. Its ids may predate the present rules for ids.
pub(in crate::ledger) fn parse_stored(
    text: &[u8],
    entity: EntityKind,
    terms: &dyn TermLookup,
) -> Result<EventDraft, EventError> {
    draft_about(entity, &mut MemberReader::new(text)?.stored(), terms)
}

/// Parses an event whose kind is given outside of the JSON, for example by a request's path.
///
/// # Errors
/// As of [`parse`]; also if the JSON names another kind.
pub fn parse_of_kind(
    text: &[u8],
    kind: &str,
    entity: EntityKind,
    terms: &dyn TermLookup,
) -> Result<EventDraft, EventError> {
    draft_about(entity, &mut MemberReader::new(text)?.with_kind(kind)?, terms)
}

/// Parses a line of an import: an event that names its entity by `subject` or `controller`, each with an optional
/// `namespace`, by `case`, or by `recipient`.
///
/// # Errors
/// [`EventError`] for the first error found.
pub fn parse_line(text: &[u8], terms: &dyn TermLookup) -> Result<(Entity, EventDraft), EventError> {
    read_line(&mut MemberReader::new(text)?, terms)
}

/// Parses the registration of a case. A registration without `case` gets `fresh_id`.
///
/// # Errors
/// [`EventError`] for the first error found.
pub fn parse_case(
    text: &[u8],
    fresh_id: String,
    terms: &dyn TermLookup,
) -> Result<(Entity, EventDraft), EventError> {
    read_line(&mut MemberReader::new(text)?.with_kind("case-registered")?.or_case_id(fresh_id), terms)
}

/// Parses the approval of a case. An approval without `approver` is by `signed_in`.
///
/// # Errors
/// [`EventError`] for the first error found.
pub fn parse_approval(
    text: &[u8],
    signed_in: Option<&str>,
    terms: &dyn TermLookup,
) -> Result<EventDraft, EventError> {
    let mut members = MemberReader::new(text)?.with_kind("case-approved")?;
    if let Some(name) = signed_in {
        members = members.or_approver(name);
    }
    draft_about(EntityKind::Case, &mut members, terms)
}

/// Reads an event and checks that it is about an entity of the given kind.
fn draft_about(
    entity: EntityKind,
    members: &mut MemberReader,
    terms: &dyn TermLookup,
) -> Result<EventDraft, EventError> {
    let draft = read_draft(members, terms)?;
    let expected = draft.kind.entity_kind();
    if expected != entity {
        return Err(EventError::WrongEntityKind { kind: draft.kind.name(), expected, actual: entity });
    }
    Ok(draft)
}

/// Reads an event that names its entity.
fn read_line(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<(Entity, EventDraft), EventError> {
    let subject = members.id("subject")?;
    let controller = members.id("controller")?;
    let case = members.text("case")?;
    let namespace = members.text("namespace")?;
    let entity = match (subject, controller, case) {
        (Some(id), None, None) => Entity::Subject(person(&id, namespace.as_deref(), terms)?),
        (None, Some(id), None) => Entity::Controller(person(&id, namespace.as_deref(), terms)?),
        (None, None, Some(_)) if namespace.is_some() => {
            return Err(EventError::invalid(
                "namespace",
                "cannot be combined with `case`: the ids of cases have no namespace",
            ));
        }
        (None, None, Some(id)) => Entity::Case(case_id(&id)?),
        (Some(_), Some(_), _) => {
            return Err(EventError::invalid(
                "controller",
                "cannot be combined with `subject`: an event is about one of them",
            ));
        }
        (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => {
            return Err(EventError::invalid(
                "case",
                "cannot be combined with `subject` or `controller`: an event is about one of them",
            ));
        }
        (None, None, None) => match members.text("recipient")? {
            Some(name) => Entity::Recipient(recipient_name(&name)?),
            None => return Err(EventError::Missing("subject")),
        },
    };
    let draft = draft_about(entity.kind(), members, terms)?;
    Ok((entity, draft))
}

fn read_draft(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<EventDraft, EventError> {
    let name = members.text("kind")?.ok_or(EventError::Missing("kind"))?;
    let at = members.time("at")?;
    let provenance = Provenance {
        notice: members.provenance("notice")?,
        channel: members.provenance("channel")?,
        evidence: members.provenance("evidence")?,
        recorded_by: members.recorded_by()?,
    };
    let kind = EventKind::read(&name, members, terms)?;
    check(&kind, &provenance, terms)?;
    members.check_all_read(kind.name(), MEMBERS)?;
    Ok(EventDraft { kind, at, provenance })
}

/// Checks the conditions that law and policy put on single kinds of events.
fn check(kind: &EventKind, provenance: &Provenance, terms: &dyn TermLookup) -> Result<(), EventError> {
    let evidence_missing = provenance.evidence.is_none();
    match kind {
        EventKind::Notice if provenance.notice.is_none() => Err(EventError::Missing("notice")),
        EventKind::ObjectionOverridden { purpose } if terms.objection_is_absolute(*purpose) => {
            Err(EventError::invalid(
                "purpose",
                "is a purpose to which objections are absolute: they cannot be overridden",
            ))
        }
        EventKind::ObjectionOverridden { .. } if evidence_missing => Err(EventError::invalid(
            "evidence",
            "is missing: overriding an objection needs a recorded reason",
        )),
        // P-9: a consent to a transfer is explicit and has evidence.
        EventKind::Fact { facts } | EventKind::Correction { facts }
            if facts.transfer_consent == Some(true) && evidence_missing =>
        {
            Err(EventError::invalid("evidence", "is missing: a consent to a transfer needs evidence"))
        }
        _ => Ok(()),
    }
}

/// Writes an event with the members that it was parsed from.
pub fn write(event: &Event, terms: &dyn TermLookup) -> Map<String, Value> {
    let Event { kind, at, provenance: Provenance { notice, channel, evidence, recorded_by } } = event;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("kind", kind.name().into());
    put("at", at.to_string().into());
    kind.write(terms, &mut put);
    for (name, value) in [("notice", notice), ("channel", channel), ("evidence", evidence)] {
        if let Some(value) = value {
            put(name, (&**value).into());
        }
    }
    if let Some(RecordedBy { name, verified }) = recorded_by {
        put("recorded-by", json!({ "name": &**name, "verified": verified }));
    }
    members
}

/// Writes an event as a line of an export. An import can read the line.
pub(in crate::ledger) fn write_line(
    entity: &Entity,
    event: &Event,
    terms: &dyn TermLookup,
) -> Map<String, Value> {
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
    line.extend(write(event, terms));
    line
}

fn put_person(member: &str, person: &SubjectId, line: &mut Map<String, Value>) {
    line.insert(member.to_owned(), person.id().as_str().into());
    if let Some(namespace) = person.namespace() {
        line.insert("namespace".to_owned(), (&**namespace).into());
    }
}
