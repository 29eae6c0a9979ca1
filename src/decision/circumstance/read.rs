//! Reads the keys of a scenario back into a request and the facts about people.

use jiff::Timestamp;
use toml::Value;

use super::{ONLY_REFUSALS, ScenarioTable, SeenCircumstance, SeenPerson, UNKNOWN};
use crate::decision::admission::AdmissionRequest;
use crate::decision::admitted::Admitted;
use crate::decision::decision_key::{DecisionKey, PersonFacts};
use crate::decision::facts::{RecordContext, Relationship, RequestFacts};
use crate::decision::permit::Permit;
use crate::decision::scenario::{ScenarioFacts, ScenarioReader};
use crate::decision::subject::UnknownSubject;
use crate::document::Document;
use crate::finding::{Finding, Source};
use crate::policy::Pack;

/// The time at which circumstances are judged. They state ages, so no outcome depends on it.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A request, and the people of a record.
#[derive(Clone, Debug)]
pub(in crate::decision) struct ReadCircumstance {
    pub(in crate::decision) request: AdmissionRequest,
    people: Vec<ReadPerson>,
}

/// One person of a record.
#[derive(Clone, Debug)]
enum ReadPerson {
    Nobody,
    Unknown,
    Known(Box<ScenarioFacts>),
    OnlyRefusals(Box<ScenarioFacts>),
}

impl ReadCircumstance {
    /// Reads circumstances with the terms of a pack.
    ///
    /// # Errors
    /// The first reason why the pack cannot decide on them: it lacks a term.
    pub(in crate::decision) fn read(
        pack: &Pack,
        seen: &SeenCircumstance,
    ) -> Result<ReadCircumstance, String> {
        let (request, first) = read_person(pack, seen, seen.subject.as_ref(), &seen.request)?;
        let mut people = vec![first];
        for SeenPerson { subject, request } in &seen.also {
            people.push(read_person(pack, seen, subject.as_ref(), request)?.1);
        }
        Ok(ReadCircumstance { request, people })
    }

    /// Decides what the record may disclose.
    pub(in crate::decision) fn judge(&self, admitted: &Admitted) -> Permit {
        let judge = |facts: &ScenarioFacts| {
            let ScenarioFacts { subject, controller, record, relationship } = facts;
            admitted.judge(subject, controller, record, *relationship, NOW)
        };
        let unknown = || {
            let ScenarioFacts { controller, record, .. } = ScenarioFacts::default();
            let relationship = Relationship::default();
            admitted.judge_person(None, UnknownSubject::Withhold, &controller, &record, relationship, NOW)
        };
        let permits = self.people.iter().map(|person| match person {
            ReadPerson::Nobody => admitted.no_subject(),
            ReadPerson::Unknown => unknown(),
            ReadPerson::Known(facts) => judge(facts),
            ReadPerson::OnlyRefusals(facts) => Permit::strictest(&[judge(facts), unknown()]),
        });
        Permit::strictest(&permits.collect::<Vec<_>>())
    }
}

impl Admitted {
    /// True if the description reads as these facts.
    pub(super) fn reads_as(&self, seen: &SeenCircumstance, people: &[PersonFacts]) -> bool {
        let Ok(read) = ReadCircumstance::read(&self.pack, seen) else { return false };
        let request = RequestFacts::new(&self.pack, &read.request);
        let is_same = |read: &ScenarioFacts, key: &DecisionKey| {
            let ScenarioFacts { subject, controller, record, relationship } = read;
            let about = RecordContext { subject, controller, record, relationship: *relationship, now: NOW };
            let other = self.slice.key(&self.pack, &request, &about);
            // A fact that differs by category is compared there: two keys can state it differently.
            let compared = |key: &DecisionKey, category| key.facts_of(category).masked(self.slice.mask());
            let mut categories = self.slice.categories.iter();
            categories.all(|category| compared(&other, *category) == compared(key, *category))
        };
        read.people.len() == people.len()
            && read.people.iter().zip(people).all(|(read, person)| match (read, person) {
                (ReadPerson::Nobody, PersonFacts::Nobody) | (ReadPerson::Unknown, PersonFacts::Unknown) => {
                    true
                }
                (ReadPerson::Known(read), PersonFacts::Known(key))
                | (ReadPerson::OnlyRefusals(read), PersonFacts::OnlyRefusals(key)) => is_same(read, key),
                _ => false,
            })
    }
}

/// Reads one person, and the request that is about them.
fn read_person(
    pack: &Pack,
    seen: &SeenCircumstance,
    subject: Option<&ScenarioTable>,
    request: &ScenarioTable,
) -> Result<(AdmissionRequest, ReadPerson), String> {
    let is_set = |key| subject.is_some_and(|subject| subject.get(key).is_some_and(|flag| flag == true));
    let (is_unknown, only_refusals) = (is_set(UNKNOWN), is_set(ONLY_REFUSALS));
    let known = subject.map(|subject| {
        let keys = subject.iter().filter(|(key, _)| *key != UNKNOWN && *key != ONLY_REFUSALS);
        keys.map(|(key, value)| (key.clone(), value.clone())).collect::<ScenarioTable>()
    });
    let recipient = recipient_table(pack, seen);
    let source = source(seen, &recipient, known.as_ref(), request)?;
    let document = Document::parse(&source);
    let reader = ScenarioReader::new(pack, &document, NOW);
    let mut fields = document.root("circumstances");
    let purpose = fields.needed_text("purpose").and_then(|purpose| reader.purpose(&purpose));
    let recipient = fields.fields("recipient", "`recipient`");
    let recipient = recipient.and_then(|recipient| reader.recipient(recipient, purpose, None));
    let subject = fields.fields("subject", "`subject`");
    let mut facts = subject.map(|subject| reader.subject(subject)).unwrap_or_default();
    let request = fields.fields("request", "`request`");
    fields.end();
    let request = recipient
        .zip(purpose)
        .map(|(recipient, purpose)| reader.request(recipient, purpose, request, &mut facts));
    let findings = document.into_findings();
    let request = match (request, findings.iter().find(|finding| finding.is_error())) {
        (Some(request), None) => request,
        (_, finding) => return Err(finding.map_or_else(String::new, Finding::to_string)),
    };
    let person = match known {
        None => ReadPerson::Nobody,
        Some(_) if is_unknown => ReadPerson::Unknown,
        Some(_) if only_refusals => {
            facts.subject.only_refusals = true;
            ReadPerson::OnlyRefusals(Box::new(facts))
        }
        Some(_) => ReadPerson::Known(Box::new(facts)),
    };
    Ok((request, person))
}

/// Returns the keys of `recipient`. A purpose that the pack no longer has permits nothing, so it is left out.
fn recipient_table(pack: &Pack, seen: &SeenCircumstance) -> ScenarioTable {
    let mut recipient = seen.recipient_facts.clone();
    if let Some(purposes) = recipient.get_mut("purposes").and_then(serde_json::Value::as_array_mut) {
        let tree = pack.vocabulary().purposes();
        purposes.retain(|name| name.as_str().is_none_or(|name| tree.find(name).is_some()));
    }
    recipient.insert("name".to_owned(), seen.recipient.clone().into());
    recipient.insert("kind".to_owned(), seen.kind.clone().into());
    recipient
}

/// Returns the circumstances as the document that the reader of scenarios reads.
fn source(
    seen: &SeenCircumstance,
    recipient: &ScenarioTable,
    subject: Option<&ScenarioTable>,
    request: &ScenarioTable,
) -> Result<Source, String> {
    let table = |keys: &ScenarioTable| Value::try_from(keys).map_err(|error| error.to_string());
    let mut document = toml::Table::new();
    document.insert("purpose".to_owned(), Value::String(seen.purpose.clone()));
    document.insert("recipient".to_owned(), table(recipient)?);
    document.insert("request".to_owned(), table(request)?);
    if let Some(subject) = subject {
        document.insert("subject".to_owned(), table(subject)?);
    }
    let text = toml::to_string(&document).map_err(|error| error.to_string())?;
    Ok(Source::new("circumstances", text))
}
