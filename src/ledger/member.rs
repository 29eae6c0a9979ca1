//! The members of events as types: each knows its name in JSON, how it is read and how written.
//!
//! [`super::kinds`] says which kind of event has which of them.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::event::{FactPatch, Registration, Right};
use super::members::MemberReader;
use super::names::TermLookup;
use super::written::{EventError, put_addressee, put_registration, write_facts, wrong};
use crate::decision::Addressee;
use crate::vocabulary::{CategoryId, PurposeId, RelationId};

/// The configured name of a recipient.
pub type RecipientName = Arc<str>;

/// Who approved a disclosure case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver(pub Arc<str>);

impl Approver {
    /// Checks that the name can be told from another's by looking at it: two approvals are of two
    /// people, and a letter of another alphabet, or one that is not seen, would make two of one. What
    /// is recorded already is read whatever it holds.
    ///
    /// # Errors
    /// [`EventError::Member`].
    pub(super) fn check(&self) -> Result<(), EventError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@- ".contains(&byte);
        let name = self.0.trim_ascii();
        if name.bytes().all(fits) && name.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(());
        }
        Err(wrong("approver", "has other characters than the letters a to z, digits, spaces and `._@-`"))
    }

    /// The person, as two approvers are compared: letters and digits alone, in small letters.
    pub(super) fn normalized(&self) -> String {
        self.0.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    }
}

/// A member of an event.
pub(super) trait EventMember: Sized {
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
