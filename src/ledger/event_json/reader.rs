//! Reads the members of an event's JSON object: each member once, as the type that it must have.
//!
//! The reader does not know which kind of event has which members (see [`crate::ledger::kinds`]). Invariant: an
//! error names a member and never its value, which may be personal data.

use std::sync::Arc;

use jiff::Timestamp;

use super::error::{EventError, MAX_EVENT_BYTES};
use super::ids::{check_namespace, recipient_name};
use super::value::{JsonValue, repeated_member};
use crate::decision::Addressee;
use crate::ledger::payload::{FactPatch, Patch, Registration, Right};
use crate::ledger::terms::{TermList, TermLookup, nearest_term};
use crate::vocabulary::{CategoryId, IdError, Origin, PurposeId, RelationId, SubjectId, date, region};

/// The longest `notice`, `channel` or `evidence`, in bytes.
const MAX_PROVENANCE_BYTES: usize = 4096;

/// The longest reference of a case and the longest name of an approver, in bytes.
const MAX_SHORT_TEXT_BYTES: usize = 512;

/// The members of an event that have not been read yet.
pub(in crate::ledger) struct MemberReader {
    left: Vec<(String, JsonValue)>,
    /// The event was recorded before, perhaps under other rules for ids.
    stored: bool,
}

/// The members that an event of any kind can have.
const COMMON: &[&str] = &["kind", "at", "notice", "channel", "evidence"];

impl MemberReader {
    pub(in crate::ledger) fn read(text: &[u8]) -> Result<MemberReader, EventError> {
        if text.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLong);
        }
        let Ok(JsonValue::Object(members)) = serde_json::from_slice(text) else {
            return Err(EventError::NotAnObject);
        };
        match repeated_member(&members) {
            Some(name) => Err(EventError::Repeated(presentable(name))),
            None => Ok(MemberReader { left: members, stored: false }),
        }
    }

    /// Of an event that was recorded before.
    pub(in crate::ledger) fn stored(self) -> MemberReader {
        MemberReader { stored: true, ..self }
    }

    /// With a kind that is known from elsewhere; one that is written too must agree.
    pub(in crate::ledger) fn with_kind(mut self, kind: &str) -> Result<MemberReader, EventError> {
        match self.text("kind")? {
            Some(written) if written != kind => {
                Err(EventError::invalid("kind", "is another than the path says"))
            }
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

    pub(in crate::ledger) fn text(&mut self, name: &'static str) -> Result<Option<String>, EventError> {
        match self.take(name) {
            None => Ok(None),
            Some(JsonValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(EventError::invalid(name, "is not a string")),
        }
    }

    /// An id: `1` is the same as `"1"`.
    pub(in crate::ledger) fn id(&mut self, name: &'static str) -> Result<Option<String>, EventError> {
        match self.take(name) {
            None => Ok(None),
            Some(JsonValue::Text(id) | JsonValue::Integer(id)) => Ok(Some(id)),
            Some(_) => Err(EventError::invalid(name, "is neither a string nor an integer")),
        }
    }

    /// With this case where none is written.
    pub(in crate::ledger) fn or_case_id(mut self, id: String) -> MemberReader {
        if !self.left.iter().any(|(name, _)| name == "case") {
            self.left.push(("case".to_owned(), JsonValue::Text(id)));
        }
        self
    }

    fn required_text(&mut self, name: &'static str) -> Result<String, EventError> {
        self.text(name)?.ok_or(EventError::Missing(name))
    }

    pub(in crate::ledger) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, EventError> {
        self.instant(name, |text| text.parse().ok())
    }

    /// When something ends; the year 9999 is never.
    pub(in crate::ledger) fn end(&mut self, name: &'static str) -> Result<Option<Timestamp>, EventError> {
        self.instant(name, date::expiry)
    }

    fn instant(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Option<Timestamp>,
    ) -> Result<Option<Timestamp>, EventError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let time = read(&text)
            .ok_or(EventError::invalid(name, "is not a time as in RFC 3339 (2026-11-21T09:30:00Z)"))?;
        Ok(Some(time))
    }

    pub(in crate::ledger) fn provenance(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Arc<str>>, EventError> {
        match self.text(name)? {
            Some(text) if text.is_empty() || text.len() > MAX_PROVENANCE_BYTES => {
                Err(EventError::invalid(name, "is empty or longer than 4096 bytes"))
            }
            text => Ok(text.map(Arc::from)),
        }
    }

    pub(in crate::ledger) fn purpose(&mut self, names: &dyn TermLookup) -> Result<PurposeId, EventError> {
        let name = self.required_text("purpose")?;
        names.purpose(&name).ok_or_else(|| {
            unknown("purpose", "is not a purpose of the vocabulary", &name, TermList::Purposes, names)
        })
    }

    pub(in crate::ledger) fn right(&mut self) -> Result<Right, EventError> {
        let name = self.required_text("right")?;
        Right::parse(&name).ok_or(EventError::invalid(
            "right",
            "is none of access, rectification, erasure, restriction, portability, objection",
        ))
    }

    pub(in crate::ledger) fn relation(&mut self, names: &dyn TermLookup) -> Result<RelationId, EventError> {
        let name = self.required_text("relation")?;
        names.relation(&name).ok_or_else(|| {
            unknown("relation", "is not a relation of the vocabulary", &name, TermList::Relations, names)
        })
    }

    /// The categories that a subject can refuse one by one (G-6.6b).
    pub(in crate::ledger) fn refusable(&mut self, names: &dyn TermLookup) -> Result<CategoryId, EventError> {
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
            return Err(EventError::invalid(
                "category",
                "cannot be refused by itself: only photo, phone, profile and what is below it",
            ));
        }
        Ok(category)
    }

    pub(in crate::ledger) fn recipient(&mut self) -> Result<Option<Arc<str>>, EventError> {
        self.text("recipient")?.map(|name| recipient_name(&name)).transpose()
    }

    pub(in crate::ledger) fn required_recipient(&mut self) -> Result<Arc<str>, EventError> {
        self.recipient()?.ok_or(EventError::Missing("recipient"))
    }

    pub(in crate::ledger) fn addressee(&mut self, names: &dyn TermLookup) -> Result<Addressee, EventError> {
        match (self.recipient()?, self.text("recipient-kind")?) {
            (None, None) => Ok(Addressee::Anyone),
            (Some(name), None) => Ok(Addressee::Recipient(name)),
            (None, Some(kind)) => names.kind(&kind).map(Addressee::Kind).ok_or_else(|| {
                let problem = "is not a recipient kind of the vocabulary";
                unknown("recipient-kind", problem, &kind, TermList::Kinds, names)
            }),
            (Some(_), Some(_)) => Err(EventError::invalid(
                "recipient-kind",
                "stands beside `recipient`: a consent is bound to one of them",
            )),
        }
    }

    pub(in crate::ledger) fn facts(&mut self, names: &dyn TermLookup) -> Result<FactPatch, EventError> {
        let written = match self.take("facts") {
            Some(JsonValue::Object(members)) if !members.is_empty() => members,
            None => return Err(EventError::Missing("facts")),
            Some(_) => return Err(EventError::invalid("facts", "is not an object with a fact in it")),
        };
        if let Some(name) = repeated_member(&written) {
            return Err(EventError::Repeated(presentable(name)));
        }
        let mut facts = FactPatch::default();
        for (name, value) in written {
            match name.as_str() {
                "region" => {
                    facts.region = place(value, |text| names.region(text)).ok_or(EventError::invalid(
                        "region",
                        "is neither `EEA`, a country code of ISO 3166-1, `APAC`, `LATAM`, `AMER`, `MENA`, `EMEA`, nor a region of \
                         the pack (null: unknown)",
                    ))?;
                }
                "country" => {
                    facts.country = place(value, |text| region::country(text).map(Arc::from)).ok_or(
                        EventError::invalid(
                            "country",
                            "is not an assigned country code of two letters, ISO 3166-1 (null: unknown)",
                        ),
                    )?;
                }
                "minor" => {
                    facts.minor =
                        Some(flag(&value).ok_or(EventError::invalid("minor", "is neither true nor false"))?)
                }
                "transfer-consent" => {
                    facts.transfer_consent = Some(
                        flag(&value)
                            .ok_or(EventError::invalid("transfer-consent", "is neither true nor false"))?,
                    );
                }
                "origin" => read_origin(value, &mut facts, names)?,
                _ => return Err(EventError::UnknownMember(presentable(&name))),
            }
        }
        Ok(facts)
    }

    /// A short text that says something.
    pub(in crate::ledger) fn short_text(&mut self, name: &'static str) -> Result<Arc<str>, EventError> {
        let text = self.required_text(name)?;
        if text.trim().is_empty() || text.len() > MAX_SHORT_TEXT_BYTES {
            return Err(EventError::invalid(name, "is empty or longer than 512 bytes"));
        }
        Ok(Arc::from(text))
    }

    fn list(&mut self, name: &'static str) -> Result<Vec<JsonValue>, EventError> {
        match self.take(name) {
            None => Err(EventError::Missing(name)),
            Some(JsonValue::List(elements)) if !elements.is_empty() => Ok(elements),
            Some(_) => Err(EventError::invalid(name, "is not a list with something in it")),
        }
    }

    pub(in crate::ledger) fn registration(
        &mut self,
        names: &dyn TermLookup,
    ) -> Result<Registration, EventError> {
        let (subjects, kept) = (self.list("subjects")?, self.stored);
        let subjects = subjects.into_iter().map(|written| named_subject(written, kept, names));
        let categories = self.list("categories")?.into_iter().map(|written| {
            let problem = "has one that is not in the vocabulary";
            let JsonValue::Text(name) = written else {
                return Err(EventError::invalid("categories", problem));
            };
            names
                .category(&name)
                .ok_or_else(|| unknown("categories", problem, &name, TermList::Categories, names))
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

    pub(in crate::ledger) fn check_all_read(
        &self,
        kind: &'static str,
        of_any_kind: &[&[&'static str]],
    ) -> Result<(), EventError> {
        let mut known = of_any_kind.iter().copied().flatten().chain(COMMON).copied();
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(match known.find(|known| known == name) {
                Some(member) => EventError::Misplaced { member, kind },
                None => EventError::UnknownMember(presentable(name)),
            }),
        }
    }
}

/// The error for a word that is not in its list, with the nearest that is.
fn unknown(
    member: &'static str,
    problem: &'static str,
    word: &str,
    list: TermList,
    names: &dyn TermLookup,
) -> EventError {
    let words = names.terms(list);
    let nearest = nearest_term(word, words.iter().copied()).map(str::to_owned);
    EventError::UnknownTerm { member, problem, nearest }
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
            IdError::Length => {
                EventError::invalid("subjects", "has one that is empty or longer than 512 bytes")
            }
            IdError::Pattern => {
                EventError::invalid("subjects", "has one that does not fit the pattern of its namespace")
            }
        })
    };
    let mut members = match written {
        JsonValue::Text(id) | JsonValue::Integer(id) => return read(&id, None),
        JsonValue::Object(left) if repeated_member(&left).is_none() => MemberReader { left, stored: kept },
        _ => {
            return Err(EventError::invalid(
                "subjects",
                "has one that is neither an id nor `id` and `namespace`",
            ));
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
    const PROBLEM: &str = "is not an origin, nor an object of data categories and their origins";
    let unknown = || EventError::invalid("origin", PROBLEM);
    let read = |word: &str| {
        Origin::parse(word).ok_or_else(|| {
            let nearest = nearest_term(word, Origin::ALL.iter().map(|origin| origin.name()));
            EventError::UnknownTerm {
                member: "origin",
                problem: PROBLEM,
                nearest: nearest.map(str::to_owned),
            }
        })
    };
    match value {
        JsonValue::Text(name) => facts.origin = Some(read(&name)?),
        JsonValue::Object(members) if repeated_member(&members).is_none() && !members.is_empty() => {
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

/// A member's name for an error; one that could be a value in the wrong place is not repeated.
fn presentable(name: &str) -> String {
    let word = name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_');
    if word { name.to_owned() } else { "…".to_owned() }
}
