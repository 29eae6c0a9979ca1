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
use crate::ledger::payload::{FactPatch, Patch, RecordedBy, Registration, Right};
use crate::ledger::terms::{TermList, TermLookup, nearest_term};
use crate::vocabulary::{CategoryId, IdError, Origin, PurposeId, RelationId, SubjectId, date, region};

/// The maximum length of `notice`, `channel` and `evidence`, in bytes.
pub(super) const MAX_PROVENANCE_BYTES: usize = 4096;

/// The maximum length of a case's reference and of an approver's name, in bytes.
pub(super) const MAX_SHORT_TEXT_BYTES: usize = 512;

/// The members of an event that have not been read yet. Each method removes the member that it reads.
pub(in crate::ledger) struct MemberReader {
    left: Vec<(String, JsonValue)>,
    /// True if the event comes from the store. Its ids may predate the present rules for ids.
    stored: bool,
}

/// The members that events of all kinds can have.
const COMMON: &[&str] = &["kind", "at", "notice", "channel", "evidence", "recorded-by"];

impl MemberReader {
    /// Parses a JSON object.
    pub(in crate::ledger) fn new(text: &[u8]) -> Result<MemberReader, EventError> {
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

    /// Marks the event as one that comes from the store.
    pub(in crate::ledger) fn stored(self) -> MemberReader {
        MemberReader { stored: true, ..self }
    }

    /// Sets the member `kind`. An event that has this member already must have the same value.
    pub(in crate::ledger) fn with_kind(mut self, kind: &str) -> Result<MemberReader, EventError> {
        match self.text("kind")? {
            Some(given) if given != kind => {
                Err(EventError::invalid("kind", "differs from the kind in the path"))
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

    /// Reads a string.
    pub(in crate::ledger) fn text(&mut self, name: &'static str) -> Result<Option<String>, EventError> {
        match self.take(name) {
            None => Ok(None),
            Some(JsonValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(EventError::invalid(name, "is not a string")),
        }
    }

    /// Reads an id. The integer `1` is the same id as `"1"`.
    pub(in crate::ledger) fn id(&mut self, name: &'static str) -> Result<Option<String>, EventError> {
        match self.take(name) {
            None => Ok(None),
            Some(JsonValue::Text(id) | JsonValue::Integer(id)) => Ok(Some(id)),
            Some(_) => Err(EventError::invalid(name, "is neither a string nor an integer")),
        }
    }

    /// Sets the member `case` if the event has none.
    pub(in crate::ledger) fn or_case_id(mut self, id: String) -> MemberReader {
        if !self.left.iter().any(|(name, _)| name == "case") {
            self.left.push(("case".to_owned(), JsonValue::Text(id)));
        }
        self
    }

    fn required_text(&mut self, name: &'static str) -> Result<String, EventError> {
        self.text(name)?.ok_or(EventError::Missing(name))
    }

    /// Reads an instant in RFC 3339.
    pub(in crate::ledger) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, EventError> {
        self.instant(name, |text| text.parse().ok())
    }

    /// Reads the instant at which something ends. The year 9999 means never.
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

    /// Reads a member of [`crate::ledger::Provenance`].
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

    /// Reads the member `recorded-by`: an object of `name` and `verified`.
    pub(in crate::ledger) fn recorded_by(&mut self) -> Result<Option<RecordedBy>, EventError> {
        let malformed = || EventError::invalid("recorded-by", "is not an object of `name` and `verified`");
        let mut members = match self.take("recorded-by") {
            None => return Ok(None),
            Some(JsonValue::Object(left)) if repeated_member(&left).is_none() => {
                MemberReader { left, stored: self.stored }
            }
            Some(_) => return Err(malformed()),
        };
        let name = members.short_text("name").map_err(|_| malformed())?;
        let verified = members.take("verified").as_ref().and_then(flag).ok_or_else(malformed)?;
        if members.left.is_empty() { Ok(Some(RecordedBy { name, verified })) } else { Err(malformed()) }
    }

    /// Sets the member `approver` if the event has none.
    pub(in crate::ledger) fn or_approver(mut self, name: &str) -> MemberReader {
        if !self.left.iter().any(|(member, _)| member == "approver") {
            self.left.push(("approver".to_owned(), JsonValue::Text(name.to_owned())));
        }
        self
    }

    /// Reads a purpose of the vocabulary.
    pub(in crate::ledger) fn purpose(&mut self, terms: &dyn TermLookup) -> Result<PurposeId, EventError> {
        let name = self.required_text("purpose")?;
        terms.purpose(&name).ok_or_else(|| {
            unknown_term("purpose", "is not a purpose of the vocabulary", &name, TermList::Purposes, terms)
        })
    }

    /// Reads a right of data subjects.
    pub(in crate::ledger) fn right(&mut self) -> Result<Right, EventError> {
        let name = self.required_text("right")?;
        Right::parse(&name).ok_or(EventError::invalid(
            "right",
            "is not one of access, rectification, erasure, restriction, portability, objection",
        ))
    }

    /// Reads a relation of the vocabulary.
    pub(in crate::ledger) fn relation(&mut self, terms: &dyn TermLookup) -> Result<RelationId, EventError> {
        let name = self.required_text("relation")?;
        terms.relation(&name).ok_or_else(|| {
            unknown_term("relation", "is not a relation of the vocabulary", &name, TermList::Relations, terms)
        })
    }

    /// Reads a data category that a person can refuse separately (G-6.6b).
    pub(in crate::ledger) fn refusable(&mut self, terms: &dyn TermLookup) -> Result<CategoryId, EventError> {
        let name = self.required_text("category")?;
        let category = terms.category(&name).ok_or_else(|| {
            unknown_term(
                "category",
                "is not a data category of the vocabulary",
                &name,
                TermList::Categories,
                terms,
            )
        })?;
        if !terms.refusable(category) {
            return Err(EventError::invalid(
                "category",
                "cannot be refused separately: only photo, phone, profile and the categories below profile can",
            ));
        }
        Ok(category)
    }

    /// Reads the name of a recipient, if there is one.
    pub(in crate::ledger) fn recipient(&mut self) -> Result<Option<Arc<str>>, EventError> {
        self.text("recipient")?.map(|name| recipient_name(&name)).transpose()
    }

    /// Reads the name of a recipient.
    pub(in crate::ledger) fn required_recipient(&mut self) -> Result<Arc<str>, EventError> {
        self.recipient()?.ok_or(EventError::Missing("recipient"))
    }

    /// Reads the addressee of a consent: a recipient, a recipient kind, or anyone.
    pub(in crate::ledger) fn addressee(&mut self, terms: &dyn TermLookup) -> Result<Addressee, EventError> {
        match (self.recipient()?, self.text("recipient-kind")?) {
            (None, None) => Ok(Addressee::Anyone),
            (Some(name), None) => Ok(Addressee::Recipient(name)),
            (None, Some(kind)) => terms.kind(&kind).map(Addressee::Kind).ok_or_else(|| {
                let problem = "is not a recipient kind of the vocabulary";
                unknown_term("recipient-kind", problem, &kind, TermList::Kinds, terms)
            }),
            (Some(_), Some(_)) => Err(EventError::invalid(
                "recipient-kind",
                "cannot be combined with `recipient`: a consent is bound to one of them",
            )),
        }
    }

    /// Reads the object `facts`.
    pub(in crate::ledger) fn facts(&mut self, terms: &dyn TermLookup) -> Result<FactPatch, EventError> {
        let members = match self.take("facts") {
            Some(JsonValue::Object(members)) if !members.is_empty() => members,
            None => return Err(EventError::Missing("facts")),
            Some(_) => return Err(EventError::invalid("facts", "is not an object with at least one fact")),
        };
        if let Some(name) = repeated_member(&members) {
            return Err(EventError::Repeated(presentable(name)));
        }
        let mut facts = FactPatch::default();
        for (name, value) in members {
            match name.as_str() {
                "region" => {
                    facts.region = place(value, |text| terms.region(text)).ok_or(EventError::invalid(
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
                        Some(flag(&value).ok_or(EventError::invalid("minor", "is neither true nor false"))?);
                }
                "transfer-consent" => {
                    facts.transfer_consent = Some(
                        flag(&value)
                            .ok_or(EventError::invalid("transfer-consent", "is neither true nor false"))?,
                    );
                }
                "origin" => read_origin(value, &mut facts, terms)?,
                _ => return Err(EventError::UnknownMember(presentable(&name))),
            }
        }
        Ok(facts)
    }

    /// Reads a short text that is not blank.
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
            Some(_) => Err(EventError::invalid(name, "is not a list with at least one element")),
        }
    }

    /// Reads the members of a case's registration.
    pub(in crate::ledger) fn registration(
        &mut self,
        terms: &dyn TermLookup,
    ) -> Result<Registration, EventError> {
        let (subjects, stored) = (self.list("subjects")?, self.stored);
        let subjects = subjects.into_iter().map(|value| read_subject(value, stored, terms));
        let categories = self.list("categories")?.into_iter().map(|value| {
            let problem = "contains a data category that is not in the vocabulary";
            let JsonValue::Text(name) = value else {
                return Err(EventError::invalid("categories", problem));
            };
            terms
                .category(&name)
                .ok_or_else(|| unknown_term("categories", problem, &name, TermList::Categories, terms))
        });
        Ok(Registration {
            recipient: self.required_recipient()?,
            purpose: self.purpose(terms)?,
            subjects: subjects.collect::<Result<_, _>>()?,
            categories: categories.collect::<Result<_, _>>()?,
            end: self.end("end")?.ok_or(EventError::Missing("end"))?,
            reference: self.short_text("reference")?,
            confidential_until: self.end("confidential-until")?,
        })
    }

    /// Checks that every member was read. `of_any_kind` lists the members of all kinds, to tell a misplaced member
    /// from an unknown one.
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

/// Returns the error for a word that is not a term of `list`, with the nearest term as a hint.
fn unknown_term(
    member: &'static str,
    problem: &'static str,
    word: &str,
    list: TermList,
    terms: &dyn TermLookup,
) -> EventError {
    let known = terms.all_terms(list);
    let nearest = nearest_term(word, known.iter().copied()).map(str::to_owned);
    EventError::UnknownTerm { member, problem, nearest }
}

/// Reads a person in a list: an id, or an object of `id` and `namespace`.
fn read_subject(value: JsonValue, stored: bool, terms: &dyn TermLookup) -> Result<SubjectId, EventError> {
    let read = |id: &str, namespace: Option<&str>| {
        check_namespace(namespace)?;
        let ids = terms.namespaces().reader(namespace);
        if stored {
            return Ok(ids.read_recorded(id));
        }
        ids.read(id).map_err(|error| match error {
            IdError::Length => {
                EventError::invalid("subjects", "contains an id that is empty or longer than 512 bytes")
            }
            IdError::Pattern => EventError::invalid(
                "subjects",
                "contains an id that does not fit the pattern of its namespace",
            ),
        })
    };
    let mut members = match value {
        JsonValue::Text(id) | JsonValue::Integer(id) => return read(&id, None),
        JsonValue::Object(left) if repeated_member(&left).is_none() => MemberReader { left, stored },
        _ => {
            return Err(EventError::invalid(
                "subjects",
                "contains an element that is neither an id nor an object of `id` and `namespace`",
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

/// Reads an origin, or an object of data categories and their origins.
fn read_origin(value: JsonValue, facts: &mut FactPatch, terms: &dyn TermLookup) -> Result<(), EventError> {
    const PROBLEM: &str = "is not an origin, nor an object of data categories and their origins";
    const UNKNOWN_CATEGORY: &str = "has a member that is not a data category of the vocabulary";
    let unknown = || EventError::invalid("origin", PROBLEM);
    let read = |word: &str| {
        Origin::parse(word).ok_or_else(|| {
            let nearest = nearest_term(word, Origin::ALL.iter().map(|origin| origin.name()));
            nearest.map_or_else(unknown, |nearest| EventError::UnknownTerm {
                member: "origin",
                problem: PROBLEM,
                nearest: Some(nearest.to_owned()),
            })
        })
    };
    match value {
        JsonValue::Text(name) => facts.origin = Some(read(&name)?),
        JsonValue::Object(members) if repeated_member(&members).is_none() && !members.is_empty() => {
            for (name, origin) in members {
                let category = terms.category(&name).ok_or_else(|| {
                    unknown_term("origin", UNKNOWN_CATEGORY, &name, TermList::Categories, terms)
                })?;
                let JsonValue::Text(origin) = origin else { return Err(unknown()) };
                facts.origin_of.push((category, read(&origin)?));
            }
            facts.origin_of.sort_unstable();
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

/// Reads a place; `null` says that it is unknown. Returns `None` for a place that `read` does not accept.
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

/// Returns a member's name for an error, or `…` for a name that may be a value in the wrong place.
fn presentable(name: &str) -> String {
    let is_word = name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_');
    if is_word { name.to_owned() } else { "…".to_owned() }
}
