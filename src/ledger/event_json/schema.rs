//! JSON schemas of events (JSON Schema 2020-12), for the components of an OpenAPI document.
//!
//! They are generated from the table of kinds ([`crate::ledger::kinds`]) and the terms that are loaded. A schema accepts
//! what [`super::parse`] accepts, with three differences: it lists the names of terms and not the names that other
//! vocabularies give them; it cannot know which recipients are configured; and it does not count bytes.

use serde_json::{Map, Value, json};

use super::ids::MAX_CASE_BYTES;
use super::member_schema::reference;
use super::reader::MAX_PROVENANCE_BYTES;
use crate::ledger::entity::EntityKind;
use crate::ledger::kinds::{KindSchema, kind_schemas};
use crate::ledger::payload::Right;
use crate::ledger::terms::{TermList, TermLookup};
use crate::vocabulary::{MAX_ID_BYTES, Origin};

/// The places where an event occurs. They differ in the members beside those of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventForm {
    /// The body of a request. The path names the entity.
    Body,
    /// A line of an import, which names its entity.
    Line,
    /// An event of a history, with its id and its position.
    Recorded,
}

impl EventForm {
    /// Prefix of the names of the components.
    fn prefix(self) -> &'static str {
        match self {
            EventForm::Body => "Event",
            EventForm::Line => "Line",
            EventForm::Recorded => "Recorded",
        }
    }

    /// Returns the members beside those of the kind, and the names of those that are required.
    fn members(self, entity: EntityKind) -> (Vec<(&'static str, Value)>, Vec<&'static str>) {
        match (self, entity) {
            (EventForm::Body, _) => (Vec::new(), Vec::new()),
            (EventForm::Line, EntityKind::Subject) => {
                (vec![("subject", reference("Id")), ("namespace", reference("Namespace"))], vec!["subject"])
            }
            (EventForm::Line, EntityKind::Controller) => (
                vec![("controller", reference("Id")), ("namespace", reference("Namespace"))],
                vec!["controller"],
            ),
            (EventForm::Line, EntityKind::Recipient) => {
                (vec![("recipient", reference("RecipientName"))], vec!["recipient"])
            }
            (EventForm::Line, EntityKind::Case) => (vec![("case", reference("CaseId"))], vec!["case"]),
            (EventForm::Recorded, _) => (
                vec![("event", reference("EventId")), ("position", reference("LedgerPlace"))],
                vec!["at", "event", "position"],
            ),
        }
    }
}

/// Kind of the events that only the gateway records.
const OWN_KIND: &str = "log-secret-erased";

/// Returns the kinds of events about some kinds of entities that occur in a place.
fn kinds(form: EventForm, entities: &[EntityKind]) -> impl Iterator<Item = KindSchema> {
    let is_there = move |kind: &KindSchema| form == EventForm::Recorded || kind.name != OWN_KIND;
    kind_schemas().into_iter().filter(move |kind| entities.contains(&kind.entity) && is_there(kind))
}

/// Returns the name of the component of one kind: `EventConsentGiven`.
pub fn component_name(form: EventForm, kind: &str) -> String {
    let words = kind.split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_ascii_uppercase() + rest
    });
    words.fold(form.prefix().to_owned(), |name, word| name + &word)
}

/// Returns the component of each kind of event about an entity of this kind: its name, and its schema.
pub fn event_components(form: EventForm, entity: EntityKind) -> Vec<(String, Value)> {
    kinds(form, &[entity])
        .map(|kind| (component_name(form, kind.name), event_component(form, kind)))
        .collect()
}

/// Returns the schema of any of some kinds of events, told apart by `kind`.
pub fn any_event(form: EventForm, entities: &[EntityKind]) -> Value {
    let (mut variants, mut mapping) = (Vec::new(), Map::new());
    for kind in kinds(form, entities) {
        let component = component_name(form, kind.name);
        mapping.insert(kind.name.to_owned(), format!("#/components/schemas/{component}").into());
        variants.push(reference(&component));
    }
    json!({ "oneOf": variants, "discriminator": { "propertyName": "kind", "mapping": mapping } })
}

fn event_component(form: EventForm, kind: KindSchema) -> Value {
    let KindSchema { name, entity, description, members } = kind;
    let (own, mut required) = form.members(entity);
    let mut properties = Map::new();
    properties.insert("kind".to_owned(), json!({ "const": name }));
    let mut put = |name: &str, schema: Value| properties.insert(name.to_owned(), schema);
    put(
        "at",
        json!({ "type": "string", "format": "date-time", "description": "Time of the event; the default is now." }),
    );
    for (name, description) in [
        ("notice", "Version of the privacy notice that the person was shown."),
        ("channel", "Channel through which the event was reported, such as `letter`."),
        ("evidence", "Reference to the proof of the statement."),
    ] {
        let bound = MAX_PROVENANCE_BYTES;
        put(
            name,
            json!({ "type": "string", "minLength": 1, "maxLength": bound, "description": description }),
        );
    }
    put(
        "recorded-by",
        json!({
            "type": "object",
            "description": "Who recorded the event. The gateway sets it to the actor that is signed in, and otherwise `verified` to false.",
            "properties": {
                "name": super::member_schema::short_text(),
                "verified": { "type": "boolean", "description": "True if the name is that of a credential." },
            },
            "required": ["name", "verified"],
            "additionalProperties": false,
        }),
    );
    required.insert(0, "kind");
    let mut conditions: Vec<Value> = Vec::new();
    for member in members {
        member.properties.into_iter().for_each(|(name, schema)| {
            put(name, schema);
        });
        required.extend(member.required);
        conditions.extend(member.condition);
    }
    own.into_iter().for_each(|(name, schema)| {
        put(name, schema);
    });
    // Recorded events may predate a condition.
    if form != EventForm::Recorded {
        conditions.extend(condition_of_kind(name));
    }
    let mut schema = json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if let (Some(schema), false) = (schema.as_object_mut(), conditions.is_empty()) {
        schema.insert("allOf".to_owned(), conditions.into());
    }
    schema
}

/// Returns the condition that [`super::check`] puts on events of a kind.
fn condition_of_kind(kind: &str) -> Option<Value> {
    match kind {
        "notice" => Some(json!({ "required": ["notice"] })),
        "objection-overridden" => Some(json!({ "required": ["evidence"] })),
        "fact" | "correction" => {
            let consents = json!({ "properties": { "transfer-consent": { "const": true } }, "required": ["transfer-consent"] });
            let consents = json!({ "properties": { "facts": consents }, "required": ["facts"] });
            Some(json!({ "if": consents, "then": { "required": ["evidence"] } }))
        }
        _ => None,
    }
}

/// Returns the components that the schemas of events refer to: terms of the vocabulary, ids, places.
pub fn term_components(terms: &dyn TermLookup) -> Vec<(&'static str, Value)> {
    let list = |list: TermList, description: &str| json!({ "type": "string", "enum": terms.all_terms(list), "description": description });
    let categories = terms.all_terms(TermList::Categories).into_iter();
    let refusable = |name: &&str| terms.category(name).is_some_and(|category| terms.refusable(category));
    let refusable: Vec<&str> = categories.filter(refusable).collect();
    let origins: Vec<&str> = Origin::ALL.iter().map(|origin| origin.name()).collect();
    let rights: Vec<&str> = Right::ALL.iter().map(|right| right.name()).collect();
    let bound = MAX_ID_BYTES;
    vec![
        (
            "Purpose",
            list(
                TermList::Purposes,
                "A purpose of the vocabulary. Requests can also use its names in DPV and fideslang.",
            ),
        ),
        ("Category", list(TermList::Categories, "A data category of the vocabulary.")),
        (
            "RefusableCategory",
            json!({ "type": "string", "enum": refusable, "description": "A data category that a person can refuse separately." }),
        ),
        ("RecipientKind", list(TermList::Kinds, "A recipient kind of the vocabulary.")),
        ("Relation", list(TermList::Relations, "A relation of the vocabulary.")),
        ("Origin", json!({ "type": "string", "enum": origins, "description": "Origin of data." })),
        (
            "Right",
            json!({ "type": "string", "enum": rights, "description": "A right of data subjects (GDPR Art. 15 to 18, 20, 21)." }),
        ),
        ("Facts", facts()),
        (
            "RecipientName",
            json!({ "type": "string", "minLength": 1, "maxLength": bound, "description": "The configured name of a recipient." }),
        ),
        (
            "Namespace",
            json!({ "type": "string", "minLength": 1, "maxLength": bound, "description": "Namespace of an id." }),
        ),
        ("Id", id()),
        ("PersonOfCase", person_of_case()),
        (
            "CaseId",
            json!({ "type": "string", "minLength": 1, "maxLength": MAX_CASE_BYTES, "pattern": "^[A-Za-z0-9._:/-]+$" }),
        ),
        (
            "EventId",
            json!({ "type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$", "description": "Id of an event, a ULID." }),
        ),
        (
            "LedgerPlace",
            json!({ "type": "integer", "minimum": 0, "description": "Place of an event in the ledger. It is not accepted as `Ledger-Position`." }),
        ),
    ]
}

fn id() -> Value {
    json!({
        "description": "Id of a person or a controller. The integer 1 is the same id as the text \"1\".",
        "anyOf": [
            { "type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES },
            { "type": "integer", "minimum": i64::MIN, "maximum": u64::MAX },
        ],
    })
}

fn person_of_case() -> Value {
    let named = json!({
        "type": "object",
        "properties": { "id": reference("Id"), "namespace": reference("Namespace") },
        "required": ["id"],
        "additionalProperties": false,
    });
    json!({ "description": "A person: an id of the default namespace, or an id and its namespace.", "anyOf": [reference("Id"), named] })
}

fn facts() -> Value {
    let place = |description: &str| json!({ "type": ["string", "null"], "description": description });
    let origins = json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": reference("Category"),
        "additionalProperties": reference("Origin"),
    });
    json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "region": place("`EEA`, a country code of ISO 3166-1, or a region of the pack; null: unknown."),
            "country": place("An assigned country code of ISO 3166-1 alpha-2; null: unknown."),
            "minor": { "type": "boolean" },
            "transfer-consent": {
                "type": "boolean",
                "description": "Consent to transfers to third countries (GDPR Art. 49(1)(a)).",
            },
            "origin": {
                "description": "One origin for all data, or an origin for each category.",
                "anyOf": [reference("Origin"), origins],
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::kinds::EVENT_REFERENCE;
    use crate::ledger::terms::VocabularyTerms;

    #[test]
    fn every_kind_has_a_component_with_its_members() {
        let recorded = event_components(EventForm::Recorded, EntityKind::Subject);
        assert!(recorded.iter().any(|(name, _)| name == "RecordedLogSecretErased"));
        for (kind, entity, members) in EVENT_REFERENCE {
            if *kind == OWN_KIND {
                continue;
            }
            let components = event_components(EventForm::Body, *entity);
            let name = component_name(EventForm::Body, kind);
            let (_, schema) = components.iter().find(|(component, _)| *component == name).unwrap();
            assert_eq!(schema["properties"]["kind"]["const"], *kind);
            assert_eq!(schema["additionalProperties"], false);
            let described = schema["properties"].as_object().unwrap();
            let mut expected: Vec<&str> = members.concat();
            expected.extend(["kind", "at", "notice", "channel", "evidence", "recorded-by"]);
            expected.sort_unstable();
            let mut found: Vec<&str> = described.keys().map(String::as_str).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{kind}");
            assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{kind}");
        }
    }

    #[test]
    fn every_condition_is_about_a_kind_and_every_reference_has_a_target() {
        for kind in ["notice", "objection-overridden", "fact", "correction"] {
            assert!(condition_of_kind(kind).is_some());
            assert!(EVENT_REFERENCE.iter().any(|(known, ..)| *known == kind), "{kind}");
        }
        let terms = VocabularyTerms::standard();
        let known: Vec<&str> = term_components(&terms).iter().map(|(name, _)| *name).collect();
        let all = [EventForm::Body, EventForm::Line, EventForm::Recorded].into_iter().flat_map(|form| {
            [EntityKind::Subject, EntityKind::Controller, EntityKind::Recipient, EntityKind::Case]
                .into_iter()
                .flat_map(move |entity| event_components(form, entity))
        });
        for (name, schema) in all {
            for reference in schema.to_string().split("#/components/schemas/").skip(1) {
                let target = reference.split('"').next().unwrap();
                assert!(known.contains(&target), "{name} refers to {target}");
            }
        }
    }
}
