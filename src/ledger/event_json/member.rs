//! The members of events as types: each type knows its names in JSON, how it is read and how it is written.
//!
//! [`crate::ledger::kinds`] says which kind of event has which members.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::error::EventError;
use super::reader::MemberReader;
use crate::decision::Addressee;
use crate::ledger::payload::{Approver, FactPatch, Patch, RecipientName, Registration, Right};
use crate::ledger::terms::TermLookup;
use crate::vocabulary::{CategoryId, PurposeId, RelationId, SubjectId};

/// A member of an event.
pub(in crate::ledger) trait EventMember: Sized {
    /// Its names in JSON; an addressee has one of two.
    const NAMES: &'static [&'static str];

    /// Takes it from the members that were written.
    fn read(members: &mut MemberReader, names: &dyn TermLookup) -> Result<Self, EventError>;

    /// Writes it as it is read.
    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value));

    /// The recipient that it names.
    fn recipient(&self) -> Option<&RecipientName> {
        None
    }
}

impl EventMember for PurposeId {
    const NAMES: &'static [&'static str] = &["purpose"];

    fn read(members: &mut MemberReader, names: &dyn TermLookup) -> Result<PurposeId, EventError> {
        members.purpose(names)
    }

    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("purpose", names.purpose_name(*self).into());
    }
}

impl EventMember for Addressee {
    const NAMES: &'static [&'static str] = &["recipient", "recipient-kind"];

    fn read(members: &mut MemberReader, names: &dyn TermLookup) -> Result<Addressee, EventError> {
        members.addressee(names)
    }

    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put_addressee(self, names, put);
    }

    fn recipient(&self) -> Option<&RecipientName> {
        match self {
            Addressee::Recipient(name) => Some(name),
            Addressee::Anyone | Addressee::Kind(_) => None,
        }
    }
}

/// When a consent ends by itself.
impl EventMember for Option<Timestamp> {
    const NAMES: &'static [&'static str] = &["valid-until"];

    fn read(members: &mut MemberReader, _: &dyn TermLookup) -> Result<Option<Timestamp>, EventError> {
        members.end("valid-until")
    }

    fn write(&self, _: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        if let Some(until) = self {
            put("valid-until", until.to_string().into());
        }
    }
}

impl EventMember for RecipientName {
    const NAMES: &'static [&'static str] = &["recipient"];

    fn read(members: &mut MemberReader, _: &dyn TermLookup) -> Result<RecipientName, EventError> {
        members.required_recipient()
    }

    fn write(&self, _: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("recipient", (&**self).into());
    }

    fn recipient(&self) -> Option<&RecipientName> {
        Some(self)
    }
}

impl EventMember for Option<RecipientName> {
    const NAMES: &'static [&'static str] = &["recipient"];

    fn read(members: &mut MemberReader, _: &dyn TermLookup) -> Result<Option<RecipientName>, EventError> {
        members.recipient()
    }

    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        if let Some(recipient) = self {
            recipient.write(names, put);
        }
    }

    fn recipient(&self) -> Option<&RecipientName> {
        self.as_ref()
    }
}

/// One that a person can refuse by itself.
impl EventMember for CategoryId {
    const NAMES: &'static [&'static str] = &["category"];

    fn read(members: &mut MemberReader, names: &dyn TermLookup) -> Result<CategoryId, EventError> {
        members.refusable(names)
    }

    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("category", names.category_name(*self).into());
    }
}

impl EventMember for RelationId {
    const NAMES: &'static [&'static str] = &["relation"];

    fn read(members: &mut MemberReader, names: &dyn TermLookup) -> Result<RelationId, EventError> {
        members.relation(names)
    }

    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("relation", names.relation_name(*self).into());
    }
}

impl EventMember for FactPatch {
    const NAMES: &'static [&'static str] = &["facts"];

    fn read(members: &mut MemberReader, names: &dyn TermLookup) -> Result<FactPatch, EventError> {
        members.facts(names)
    }

    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("facts", write_facts(self, names));
    }
}

impl EventMember for Right {
    const NAMES: &'static [&'static str] = &["right"];

    fn read(members: &mut MemberReader, _: &dyn TermLookup) -> Result<Right, EventError> {
        members.right()
    }

    fn write(&self, _: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("right", self.name().into());
    }
}

impl EventMember for Box<Registration> {
    const NAMES: &'static [&'static str] =
        &["recipient", "purpose", "subjects", "categories", "end", "reference", "confidential-until"];

    fn read(members: &mut MemberReader, names: &dyn TermLookup) -> Result<Box<Registration>, EventError> {
        members.registration(names).map(Box::new)
    }

    fn write(&self, names: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put_registration(self, names, put);
    }

    fn recipient(&self) -> Option<&RecipientName> {
        Some(&self.recipient)
    }
}

impl EventMember for Approver {
    const NAMES: &'static [&'static str] = &["approver"];

    fn read(members: &mut MemberReader, _: &dyn TermLookup) -> Result<Approver, EventError> {
        members.short_text("approver").map(Approver)
    }

    fn write(&self, _: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("approver", (&*self.0).into());
    }
}

pub(in crate::ledger) fn put_addressee(
    to: &Addressee,
    names: &dyn TermLookup,
    put: &mut dyn FnMut(&str, Value),
) {
    match to {
        Addressee::Anyone => {}
        Addressee::Kind(kind) => put("recipient-kind", names.kind_name(*kind).into()),
        Addressee::Recipient(name) => put("recipient", (&**name).into()),
    }
}

/// Writes a registration's members.
pub(in crate::ledger) fn put_registration(
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

pub(in crate::ledger) fn write_facts(facts: &FactPatch, names: &dyn TermLookup) -> Value {
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
