//! The members of events as types: each type knows its names in JSON, how it is read and how it is written.
//!
//! [`crate::ledger::kinds`] says which kind of event has which members.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::error::EventError;
use super::member_schema::{self, MemberSchema, reference};
use super::reader::MemberReader;
use crate::decision::Addressee;
use crate::ledger::payload::{Approver, FactPatch, Patch, RecipientName, Registration, Right};
use crate::ledger::terms::TermLookup;
use crate::vocabulary::{CategoryId, PurposeId, RelationId, SubjectId};

/// A member of an event, or a group of members that belong together.
pub(in crate::ledger) trait EventMember: Sized {
    /// Names in JSON. An event has one of them (an addressee) or all (a registration).
    const NAMES: &'static [&'static str];

    /// Reads the value from the members of an event.
    fn read(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<Self, EventError>;

    /// Writes the value in the form in which it is read. `put` receives the name and the value of each member.
    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value));

    /// Returns the JSON schema of what `read` accepts.
    fn schema() -> MemberSchema;

    /// Returns the recipient that the value names.
    fn recipient(&self) -> Option<&RecipientName> {
        None
    }
}

impl EventMember for PurposeId {
    const NAMES: &'static [&'static str] = &["purpose"];

    fn read(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<PurposeId, EventError> {
        members.purpose(terms)
    }

    fn schema() -> MemberSchema {
        MemberSchema::required(Self::NAMES, reference("Purpose"))
    }

    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("purpose", terms.purpose_name(*self).into());
    }
}

impl EventMember for Addressee {
    const NAMES: &'static [&'static str] = &["recipient", "recipient-kind"];

    fn read(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<Addressee, EventError> {
        members.addressee(terms)
    }

    fn schema() -> MemberSchema {
        let properties =
            vec![("recipient", reference("RecipientName")), ("recipient-kind", reference("RecipientKind"))];
        let condition = Some(json!({ "not": { "required": Self::NAMES } }));
        MemberSchema { properties, required: &[], condition }
    }

    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        match self {
            Addressee::Anyone => {}
            Addressee::Kind(kind) => put("recipient-kind", terms.kind_name(*kind).into()),
            Addressee::Recipient(name) => put("recipient", (&**name).into()),
        }
    }

    fn recipient(&self) -> Option<&RecipientName> {
        match self {
            Addressee::Recipient(name) => Some(name),
            Addressee::Anyone | Addressee::Kind(_) => None,
        }
    }
}

/// The instant at which a consent ends by itself.
impl EventMember for Option<Timestamp> {
    const NAMES: &'static [&'static str] = &["valid-until"];

    fn read(members: &mut MemberReader, _: &dyn TermLookup) -> Result<Option<Timestamp>, EventError> {
        members.end("valid-until")
    }

    fn schema() -> MemberSchema {
        MemberSchema::optional(Self::NAMES, member_schema::time())
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

    fn schema() -> MemberSchema {
        MemberSchema::required(Self::NAMES, reference("RecipientName"))
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

    fn schema() -> MemberSchema {
        MemberSchema::optional(Self::NAMES, reference("RecipientName"))
    }

    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        if let Some(recipient) = self {
            recipient.write(terms, put);
        }
    }

    fn recipient(&self) -> Option<&RecipientName> {
        self.as_ref()
    }
}

/// A data category that a person can refuse separately.
impl EventMember for CategoryId {
    const NAMES: &'static [&'static str] = &["category"];

    fn read(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<CategoryId, EventError> {
        members.refusable(terms)
    }

    fn schema() -> MemberSchema {
        MemberSchema::required(Self::NAMES, reference("RefusableCategory"))
    }

    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("category", terms.category_name(*self).into());
    }
}

impl EventMember for RelationId {
    const NAMES: &'static [&'static str] = &["relation"];

    fn read(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<RelationId, EventError> {
        members.relation(terms)
    }

    fn schema() -> MemberSchema {
        MemberSchema::required(Self::NAMES, reference("Relation"))
    }

    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("relation", terms.relation_name(*self).into());
    }
}

impl EventMember for FactPatch {
    const NAMES: &'static [&'static str] = &["facts"];

    fn read(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<FactPatch, EventError> {
        members.facts(terms)
    }

    fn schema() -> MemberSchema {
        MemberSchema::required(Self::NAMES, reference("Facts"))
    }

    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("facts", write_facts(self, terms));
    }
}

impl EventMember for Right {
    const NAMES: &'static [&'static str] = &["right"];

    fn read(members: &mut MemberReader, _: &dyn TermLookup) -> Result<Right, EventError> {
        members.right()
    }

    fn schema() -> MemberSchema {
        MemberSchema::required(Self::NAMES, reference("Right"))
    }

    fn write(&self, _: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("right", self.name().into());
    }
}

impl EventMember for Box<Registration> {
    const NAMES: &'static [&'static str] =
        &["recipient", "purpose", "subjects", "categories", "end", "reference", "confidential-until"];

    fn read(members: &mut MemberReader, terms: &dyn TermLookup) -> Result<Box<Registration>, EventError> {
        members.registration(terms).map(Box::new)
    }

    fn schema() -> MemberSchema {
        let list = |element: &str| json!({ "type": "array", "minItems": 1, "items": reference(element) });
        let properties = vec![
            ("recipient", reference("RecipientName")),
            ("purpose", reference("Purpose")),
            ("subjects", list("PersonOfCase")),
            ("categories", list("Category")),
            ("end", member_schema::time()),
            ("reference", member_schema::short_text()),
            ("confidential-until", member_schema::time()),
        ];
        let required = &["recipient", "purpose", "subjects", "categories", "end", "reference"];
        MemberSchema { properties, required, condition: None }
    }

    fn write(&self, terms: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        write_registration(self, terms, put);
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

    fn schema() -> MemberSchema {
        MemberSchema::required(Self::NAMES, member_schema::approver())
    }

    fn write(&self, _: &dyn TermLookup, put: &mut dyn FnMut(&str, Value)) {
        put("approver", (&*self.0).into());
    }
}

/// Writes the members of a registration. `put` receives the name and the value of each.
pub(in crate::ledger) fn write_registration(
    registration: &Registration,
    terms: &dyn TermLookup,
    put: &mut dyn FnMut(&str, Value),
) {
    let Registration { recipient, purpose, subjects, categories, end, reference, confidential_until } =
        registration;
    put("recipient", (&**recipient).into());
    put("purpose", terms.purpose_name(*purpose).into());
    put("subjects", subjects.iter().map(write_person).collect());
    put("categories", categories.iter().map(|category| terms.category_name(*category)).collect());
    put("end", end.to_string().into());
    put("reference", (&**reference).into());
    if let Some(until) = confidential_until {
        put("confidential-until", until.to_string().into());
    }
}

fn write_person(person: &SubjectId) -> Value {
    match person.namespace() {
        None => person.id().as_str().into(),
        Some(namespace) => json!({ "id": person.id().as_str(), "namespace": &**namespace }),
    }
}

fn write_facts(facts: &FactPatch, terms: &dyn TermLookup) -> Value {
    let FactPatch { region, country, minor, transfer_consent, origin, origin_of } = facts;
    let mut members = Map::new();
    for (name, patch) in [("region", region), ("country", country)] {
        match patch {
            Patch::Unchanged => None,
            Patch::Unknown | Patch::Undecided => members.insert(name.to_owned(), Value::Null),
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
            (terms.category_name(*category).to_owned(), Value::from(origin.name()))
        });
        members.insert("origin".to_owned(), Value::Object(of.collect()));
    }
    Value::Object(members)
}
