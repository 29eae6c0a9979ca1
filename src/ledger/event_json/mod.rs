//! Events as JSON: parsed once, where they enter the ledger, and written for the store, exports and display.
//!
//! Invariants: unknown members, repeated members, members that the kind does not have, and terms that the
//! vocabulary does not have are errors. An error names the member and never its value, which may be personal
//! data. A written event parses to an equal event.

mod error;
mod ids;
pub(in crate::ledger) mod member;
pub(in crate::ledger) mod reader;
mod value;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use error::{EventError, MAX_EVENT_BYTES};
pub use ids::{case_id, person, recipient_name};

use crate::ledger::entity::{Entity, EntityKind};
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::kinds::{EventKind, MEMBERS};
use crate::ledger::payload::Provenance;
use crate::ledger::terms::TermLookup;
use crate::vocabulary::SubjectId;
use reader::MemberReader;

/// Parses one event about a given sort of entity.
pub fn parse(text: &[u8], sort: EntityKind, names: &dyn TermLookup) -> Result<EventDraft, EventError> {
    about(sort, &mut MemberReader::read(text)?, names)
}

/// Parses an event as it was kept, about a given sort of entity. Ids in it may be older than the rules of
/// today.
pub(in crate::ledger) fn parse_stored(
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
    let expected = draft.kind.entity_kind();
    if expected != sort {
        return Err(EventError::WrongEntityKind { kind: draft.kind.name(), expected, actual: sort });
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
            return Err(EventError::invalid("namespace", "stands beside `case`, which has none"));
        }
        (None, None, Some(id)) => Entity::Case(case_id(&id)?),
        (Some(_), Some(_), _) => {
            return Err(EventError::invalid(
                "controller",
                "stands beside `subject`: an event is about one of them",
            ));
        }
        (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => {
            return Err(EventError::invalid("case", "stands beside a person: an event is about one of them"));
        }
        (None, None, None) => match members.text("recipient")? {
            Some(name) => Entity::Recipient(recipient_name(&name)?),
            None => return Err(EventError::Missing("subject")),
        },
    };
    let draft = about(entity.kind(), members, names)?;
    Ok((entity, draft))
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
    members.check_all_read(kind.name(), MEMBERS)?;
    Ok(EventDraft { kind, at, provenance })
}

/// Checks what law or policy ask of one kind of event beyond its members.
fn check(kind: &EventKind, provenance: &Provenance, names: &dyn TermLookup) -> Result<(), EventError> {
    let evidence_missing = provenance.evidence.is_none();
    match kind {
        EventKind::Notice if provenance.notice.is_none() => Err(EventError::Missing("notice")),
        EventKind::ObjectionOverridden { purpose } if names.objection_is_absolute(*purpose) => {
            Err(EventError::invalid(
                "purpose",
                "is one where an objection needs no balancing: it cannot be overridden",
            ))
        }
        EventKind::ObjectionOverridden { .. } if evidence_missing => Err(EventError::invalid(
            "evidence",
            "is missing: an objection is overridden with a recorded reason",
        )),
        // P-9: explicit, with evidence.
        EventKind::Fact { facts } | EventKind::Correction { facts }
            if facts.transfer_consent == Some(true) && evidence_missing =>
        {
            Err(EventError::invalid("evidence", "is missing: a consent to a transfer needs it"))
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
pub(in crate::ledger) fn write_line(
    entity: &Entity,
    event: &Event,
    names: &dyn TermLookup,
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
    line.extend(write(event, names));
    line
}

fn put_person(member: &str, person: &SubjectId, line: &mut Map<String, Value>) {
    line.insert(member.to_owned(), person.id().as_str().into());
    if let Some(namespace) = person.namespace() {
        line.insert("namespace".to_owned(), (&**namespace).into());
    }
}
