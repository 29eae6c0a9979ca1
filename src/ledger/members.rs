//! The members of an event as JSON: each is taken once, as what it should be, or is an error.
//!
//! It refuses to know which kind of event has which members (see [`super::written`]). Invariant: an
//! error names a member and never its value, which may be about a person.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::event::{FactPatch, Patch, Registration, Right};
use super::kinds;
use super::names::{TermList, TermLookup, nearest_term};
use super::written::{EventError, MAX_EVENT_BYTES, check_namespace, recipient_name, wrong};
use crate::decision::Addressee;
use crate::vocabulary::{CategoryId, IdError, Origin, PurposeId, SubjectId, date, region};

/// The longest `notice`, `channel` or `evidence`, in bytes.
const MAX_PROVENANCE_BYTES: usize = 4096;

/// The longest reference of a case and the longest name of an approver, in bytes.
const MAX_SHORT_TEXT_BYTES: usize = 512;

/// The members of an event that have not been read yet.
pub(super) struct MemberReader {
    left: Vec<(String, JsonValue)>,
    /// The event was recorded before, perhaps under other rules for ids.
    stored: bool,
}

/// JSON as far as events use it. serde_json's own map would hide a member that is there twice.
enum JsonValue {
    Text(String),
    /// Its digits. An id may be one.
    Integer(String),
    Flag(bool),
    Null,
    Object(Vec<(String, JsonValue)>),
    List(Vec<JsonValue>),
    Other,
}

/// The members that an event of any kind can have.
const COMMON: &[&str] = &["kind", "at", "notice", "channel", "evidence"];

impl MemberReader {
    pub(super) fn read(text: &[u8]) -> Result<MemberReader, EventError> {
        if text.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLong);
        }
        let Ok(JsonValue::Object(members)) = serde_json::from_slice(text) else {
            return Err(EventError::NotAnObject);
        };
        match repeated(&members) {
            Some(name) => Err(EventError::Repeated(presentable(name))),
            None => Ok(MemberReader { left: members, stored: false }),
        }
    }

    /// Of an event that was recorded before.
    pub(super) fn stored(self) -> MemberReader {
        MemberReader { stored: true, ..self }
    }

    /// With a kind that is known from elsewhere; one that is written too must agree.
    pub(super) fn with_kind(mut self, kind: &str) -> Result<MemberReader, EventError> {
        match self.text("kind")? {
            Some(written) if written != kind => Err(wrong("kind", "is another than the path says")),
            _ => {
                self.left.push(("kind".to_owned(), JsonValue::Text(kind.to_owned())));
                Ok(self)
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<JsonValue> {
        let at = self.left.iter().position(|(member, _)| member == name)?;
        Some(self.left.swap_remove(at).1)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, EventError> {
        match self.take(name) {
            None => Ok(None),
            Some(JsonValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "is not a string")),
        }
    }

    /// An id: `1` is the same as `"1"`.
    pub(super) fn id(&mut self, name: &'static str) -> Result<Option<String>, EventError> {
        match self.take(name) {
            None => Ok(None),
            Some(JsonValue::Text(id) | JsonValue::Integer(id)) => Ok(Some(id)),
            Some(_) => Err(wrong(name, "is neither a string nor an integer")),
        }
    }

    /// With this case where none is written.
    pub(super) fn or_case_id(mut self, id: String) -> MemberReader {
        if !self.left.iter().any(|(name, _)| name == "case") {
            self.left.push(("case".to_owned(), JsonValue::Text(id)));
        }
        self
    }

    fn required_text(&mut self, name: &'static str) -> Result<String, EventError> {
        self.text(name)?.ok_or(EventError::Missing(name))
    }

    pub(super) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, EventError> {
        self.instant(name, |text| text.parse().ok())
    }

    /// When something ends; the year 9999 is never.
    pub(super) fn end(&mut self, name: &'static str) -> Result<Option<Timestamp>, EventError> {
        self.instant(name, date::expiry)
    }

    fn instant(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Option<Timestamp>,
    ) -> Result<Option<Timestamp>, EventError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let time = read(&text).ok_or(wrong(name, "is not a time as in RFC 3339 (2026-11-21T09:30:00Z)"))?;
        Ok(Some(time))
    }

    pub(super) fn provenance(&mut self, name: &'static str) -> Result<Option<Arc<str>>, EventError> {
        match self.text(name)? {
            Some(text) if text.is_empty() || text.len() > MAX_PROVENANCE_BYTES => {
                Err(wrong(name, "is empty or longer than 4096 bytes"))
            }
            text => Ok(text.map(Arc::from)),
        }
    }

    pub(super) fn purpose(&mut self, names: &dyn TermLookup) -> Result<PurposeId, EventError> {
        let name = self.required_text("purpose")?;
        names.purpose(&name).ok_or_else(|| {
            unknown("purpose", "is not a purpose of the vocabulary", &name, TermList::Purposes, names)
        })
    }

    pub(super) fn right(&mut self) -> Result<Right, EventError> {
        let name = self.required_text("right")?;
        Right::parse(&name).ok_or(wrong(
            "right",
            "is none of access, rectification, erasure, restriction, portability, objection",
        ))
    }

    pub(super) fn relation(
        &mut self,
        names: &dyn TermLookup,
    ) -> Result<crate::vocabulary::RelationId, EventError> {
        let name = self.required_text("relation")?;
        names.relation(&name).ok_or_else(|| {
            unknown("relation", "is not a relation of the vocabulary", &name, TermList::Relations, names)
        })
    }

    /// The categories that a subject can refuse one by one (G-6.6b).
    pub(super) fn refusable(&mut self, names: &dyn TermLookup) -> Result<CategoryId, EventError> {
        let name = self.required_text("category")?;
        let category = names.category(&name).ok_or_else(|| {
            unknown(
                "category",
                "is not a data category of the vocabulary",
                &name,
                TermList::Categories,
                names,
            )
        })?;
        if !names.refusable(category) {
            return Err(wrong(
                "category",
                "cannot be refused by itself: only photo, phone, profile and what is below it",
            ));
        }
        Ok(category)
    }

    pub(super) fn recipient(&mut self) -> Result<Option<Arc<str>>, EventError> {
        self.text("recipient")?.map(|name| recipient_name(&name)).transpose()
    }

    pub(super) fn required_recipient(&mut self) -> Result<Arc<str>, EventError> {
        self.recipient()?.ok_or(EventError::Missing("recipient"))
    }

    pub(super) fn addressee(&mut self, names: &dyn TermLookup) -> Result<Addressee, EventError> {
        match (self.recipient()?, self.text("recipient-kind")?) {
            (None, None) => Ok(Addressee::Anyone),
            (Some(name), None) => Ok(Addressee::Recipient(name)),
            (None, Some(kind)) => names.kind(&kind).map(Addressee::Kind).ok_or_else(|| {
                let what = "is not a recipient kind of the vocabulary";
                unknown("recipient-kind", what, &kind, TermList::Kinds, names)
            }),
            (Some(_), Some(_)) => {
                Err(wrong("recipient-kind", "stands beside `recipient`: a consent is bound to one of them"))
            }
        }
    }

    pub(super) fn facts(&mut self, names: &dyn TermLookup) -> Result<FactPatch, EventError> {
        let written = match self.take("facts") {
            Some(JsonValue::Object(members)) if !members.is_empty() => members,
            None => return Err(EventError::Missing("facts")),
            Some(_) => return Err(wrong("facts", "is not an object with a fact in it")),
        };
        if let Some(name) = repeated(&written) {
            return Err(EventError::Repeated(presentable(name)));
        }
        let mut facts = FactPatch::default();
        for (name, value) in written {
            match name.as_str() {
                "region" => {
                    facts.region = place(value, |text| names.region(text)).ok_or(wrong(
                        "region",
                        "is neither `EEA`, a country code of ISO 3166-1, `APAC`, `LATAM`, `AMER`, `MENA`, `EMEA`, nor a region of \
                         the pack (null: unknown)",
                    ))?;
                }
                "country" => {
                    facts.country =
                        place(value, |text| region::country(text).map(Arc::from)).ok_or(wrong(
                            "country",
                            "is not an assigned country code of two letters, ISO 3166-1 (null: unknown)",
                        ))?;
                }
                "minor" => {
                    facts.minor = Some(flag(&value).ok_or(wrong("minor", "is neither true nor false"))?)
                }
                "transfer-consent" => {
                    facts.transfer_consent =
                        Some(flag(&value).ok_or(wrong("transfer-consent", "is neither true nor false"))?);
                }
                "origin" => read_origin(value, &mut facts, names)?,
                _ => return Err(EventError::UnknownMember(presentable(&name))),
            }
        }
        Ok(facts)
    }

    /// A short text that says something.
    pub(super) fn short_text(&mut self, name: &'static str) -> Result<Arc<str>, EventError> {
        let text = self.required_text(name)?;
        if text.trim().is_empty() || text.len() > MAX_SHORT_TEXT_BYTES {
            return Err(wrong(name, "is empty or longer than 512 bytes"));
        }
        Ok(Arc::from(text))
    }

    fn list(&mut self, name: &'static str) -> Result<Vec<JsonValue>, EventError> {
        match self.take(name) {
            None => Err(EventError::Missing(name)),
            Some(JsonValue::List(elements)) if !elements.is_empty() => Ok(elements),
            Some(_) => Err(wrong(name, "is not a list with something in it")),
        }
    }

    pub(super) fn registration(&mut self, names: &dyn TermLookup) -> Result<Registration, EventError> {
        let (subjects, kept) = (self.list("subjects")?, self.stored);
        let subjects = subjects.into_iter().map(|written| named_subject(written, kept, names));
        let categories = self.list("categories")?.into_iter().map(|written| {
            let what = "has one that is not in the vocabulary";
            let JsonValue::Text(name) = written else { return Err(wrong("categories", what)) };
            names
                .category(&name)
                .ok_or_else(|| unknown("categories", what, &name, TermList::Categories, names))
        });
        Ok(Registration {
            recipient: self.required_recipient()?,
            purpose: self.purpose(names)?,
            subjects: subjects.collect::<Result<_, _>>()?,
            categories: categories.collect::<Result<_, _>>()?,
            end: self.end("end")?.ok_or(EventError::Missing("end"))?,
            reference: self.short_text("reference")?,
            confidential_until: self.end("confidential-until")?,
        })
    }

    pub(super) fn check_all_read(&self, kind: &'static str) -> Result<(), EventError> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(match known().find(|known| known == name) {
                Some(member) => EventError::Misplaced { member, kind },
                None => EventError::UnknownMember(presentable(name)),
            }),
        }
    }
}

/// Every member that some kind of event has.
fn known() -> impl Iterator<Item = &'static str> {
    kinds::MEMBERS.iter().flat_map(|members| members.iter()).chain(COMMON).copied()
}

/// The error for a word that is not in its list, with the nearest that is.
fn unknown(
    member: &'static str,
    what: &'static str,
    word: &str,
    list: TermList,
    names: &dyn TermLookup,
) -> EventError {
    let words = names.terms(list);
    let nearest = nearest_term(word, words.iter().copied()).map(str::to_owned);
    EventError::UnknownWord { member, what, nearest }
}

/// A person in a list: an id, or an object of `id` and `namespace`.
fn named_subject(written: JsonValue, kept: bool, names: &dyn TermLookup) -> Result<SubjectId, EventError> {
    let read = |id: &str, namespace: Option<&str>| {
        check_namespace(namespace)?;
        let ids = names.namespaces().reader(namespace);
        if kept {
            return Ok(ids.read_recorded(id));
        }
        ids.read(id).map_err(|misfit| match misfit {
            IdError::Length => wrong("subjects", "has one that is empty or longer than 512 bytes"),
            IdError::Pattern => wrong("subjects", "has one that does not fit the pattern of its namespace"),
        })
    };
    let mut members = match written {
        JsonValue::Text(id) | JsonValue::Integer(id) => return read(&id, None),
        JsonValue::Object(left) if repeated(&left).is_none() => MemberReader { left, stored: kept },
        _ => {
            return Err(wrong("subjects", "has one that is neither an id nor `id` and `namespace`"));
        }
    };
    let id = members.id("id")?.ok_or(EventError::Missing("id"))?;
    let person = read(&id, members.text("namespace")?.as_deref())?;
    match members.left.first() {
        None => Ok(person),
        Some((name, _)) => Err(EventError::UnknownMember(presentable(name))),
    }
}

fn read_origin(value: JsonValue, facts: &mut FactPatch, names: &dyn TermLookup) -> Result<(), EventError> {
    const WHAT: &str = "is not an origin, nor an object of data categories and their origins";
    let unknown = || wrong("origin", WHAT);
    let read = |word: &str| {
        Origin::parse(word).ok_or_else(|| {
            let nearest = nearest_term(word, Origin::ALL.iter().map(|origin| origin.name()));
            EventError::UnknownWord { member: "origin", what: WHAT, nearest: nearest.map(str::to_owned) }
        })
    };
    match value {
        JsonValue::Text(name) => facts.origin = Some(read(&name)?),
        JsonValue::Object(members) if repeated(&members).is_none() && !members.is_empty() => {
            for (category, origin) in members {
                let category = names.category(&category).ok_or_else(unknown)?;
                let JsonValue::Text(origin) = origin else { return Err(unknown()) };
                facts.origin_of.push((category, read(&origin)?));
            }
            facts.origin_of.sort_unstable();
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

fn place(value: JsonValue, read: impl Fn(&str) -> Option<Arc<str>>) -> Option<Patch<Arc<str>>> {
    match value {
        JsonValue::Null => Some(Patch::Unknown),
        JsonValue::Text(text) => read(&text).map(Patch::Known),
        _ => None,
    }
}

fn flag(value: &JsonValue) -> Option<bool> {
    match value {
        JsonValue::Flag(flag) => Some(*flag),
        _ => None,
    }
}

fn repeated(members: &[(String, JsonValue)]) -> Option<&str> {
    let mut earlier = members.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    earlier.sort_unstable();
    earlier.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}

/// A member's name for an error; one that could be a value in the wrong place is not repeated.
fn presentable(name: &str) -> String {
    let word = name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_');
    if word { name.to_owned() } else { "…".to_owned() }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonValue, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = JsonValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_str<E>(self, text: &str) -> Result<JsonValue, E> {
                Ok(JsonValue::Text(text.to_owned()))
            }
            fn visit_string<E>(self, text: String) -> Result<JsonValue, E> {
                Ok(JsonValue::Text(text))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<JsonValue, E> {
                Ok(JsonValue::Flag(flag))
            }
            fn visit_unit<E>(self) -> Result<JsonValue, E> {
                Ok(JsonValue::Null)
            }
            fn visit_i64<E>(self, integer: i64) -> Result<JsonValue, E> {
                Ok(JsonValue::Integer(integer.to_string()))
            }
            fn visit_u64<E>(self, integer: u64) -> Result<JsonValue, E> {
                Ok(JsonValue::Integer(integer.to_string()))
            }
            fn visit_f64<E>(self, _: f64) -> Result<JsonValue, E> {
                Ok(JsonValue::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<JsonValue, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element()? {
                    list.push(element);
                }
                Ok(JsonValue::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonValue::Object(members))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
