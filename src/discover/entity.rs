//! Decides what an object is about: a person, a record of one person, a thing, an organisation.
//!
//! The evidence is the object's own type (`"object": "customer"`, `resourceType`, the name of a schema), its name in the
//! object around it, its members, and at last the object around it.

use super::name::{Evidence, Head, NameReading, Noun, PhraseScope, noun_of_type};
use super::tree::SampleNode;
use super::types::JsonType;
use super::value::{ValueShape, is_path, looks_like_name};

/// The entity that an object is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Person,
    /// A record about one person, or made by one: an order, a ticket, a message.
    Record,
    Thing,
    Organisation,
    /// Nothing says what it is about.
    Open,
}

impl About {
    fn of_noun(noun: Noun) -> Option<About> {
        match noun {
            Noun::Person | Noun::Author => Some(About::Person),
            Noun::Record => Some(About::Record),
            Noun::Thing => Some(About::Thing),
            Noun::Organisation => Some(About::Organisation),
            Noun::Context => None,
        }
    }

    /// True if what the object holds describes a person.
    pub(super) fn is_personal(self) -> bool {
        matches!(self, About::Person | About::Record)
    }
}

/// Members whose value names the type of the object.
const TYPE_NAMES: [&str; 14] = [
    "object",
    "type",
    "resourceType",
    "@type",
    "_type",
    "kind",
    "__typename",
    "objectType",
    "resource_type",
    "objectClassName",
    "entity_type",
    "record_type",
    "objectclass",
    "schemas",
];

/// Types of envelopes.
const LISTS: [&str; 7] = ["list", "lists", "collection", "array", "Bundle", "page", "object"];

/// Categories that only people have. Others, such as places and devices, are those of things as well.
const OF_PEOPLE_ALONE: [&str; 13] = [
    "email",
    "phone",
    "name",
    "username",
    "date-of-birth",
    "government-id",
    "password",
    "ip-address",
    "payment-card-number",
    "payment-card-summary",
    "subject-identifier",
    "social-profile",
    "health",
];

/// The evidence of the members of an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Signature {
    None,
    /// Two members that people and things have, such as a name and a picture.
    Weak,
    /// A member that only people have, such as a family name.
    Strong,
}

/// Returns the entity that an object is about by itself: `None` if its type, its name and its members say nothing.
pub(super) fn own_entity(node: &SampleNode, name: Option<&NameReading>) -> Option<About> {
    let signature = signature(node);
    let declared = declared_type(node);
    if let Some(about) = declared.filter(|about| signature != Signature::Strong || about.is_personal()) {
        let is_record = about == About::Thing && has_holder(node);
        return Some(if is_record { About::Record } else { about });
    }
    // The tax of an order is an amount, and no thing.
    let named =
        name.filter(|name| !name.is_amount()).and_then(|name| name.ends_in_noun()).and_then(About::of_noun);
    match named {
        Some(About::Thing | About::Organisation) if signature == Signature::Strong => Some(About::Person),
        Some(About::Person | About::Record) if signature != Signature::Strong && is_registered(node) => {
            Some(About::Organisation)
        }
        // A list of items can be one of people.
        Some(About::Thing)
            if signature == Signature::Weak
                && name.is_some_and(|name| name.is_any(&["item", "items", "rows"])) =>
        {
            Some(About::Person)
        }
        Some(About::Thing) if has_subject(node) || has_holder(node) => Some(About::Record),
        Some(About::Thing)
            if name
                .is_some_and(|name| is_generic(name) && (is_answered(node) || has_people_inside(node))) =>
        {
            Some(About::Record)
        }
        // A component, a medium or a service that is one value belongs to the object around it.
        Some(About::Thing) if is_value(node) => None,
        Some(about) => Some(about),
        None if signature != Signature::Strong && is_registered(node) => Some(About::Organisation),
        None if signature == Signature::Weak
            && name.is_some_and(|name| name.category.is_none())
            && is_venue(node) =>
        {
            Some(About::Thing)
        }
        None if signature > Signature::None => Some(About::Person),
        None if is_answered(node) => Some(About::Record),
        None => part(node).or_else(|| by_unknown_name(node, name?)),
    }
}

/// Returns what an object is about whose name tells of no entity.
fn by_unknown_name(node: &SampleNode, name: &NameReading) -> Option<About> {
    if is_state(name, node) {
        return Some(About::Thing);
    }
    (name.noun().is_none() && has_subject(node)).then_some(About::Record)
}

/// Names of the label of something.
const LABELS: [&str; 13] = [
    "name",
    "label",
    "display",
    "bezeichnung",
    "libelle",
    "intitule",
    "nom",
    "nombre",
    "nome",
    "denominazione",
    "naam",
    "nazwa",
    "namn",
];
/// Members of a value from a code system: it says something about the object around it.
const CODE_SYSTEM: [&str; 3] = ["system", "codesystem", "vocabulary"];
/// Maximum number of members of an entry of a list of choices.
const MAX_CHOICE: usize = 8;

/// True for an entry of a list of choices, such as a priority or a plan: under a name that tells of no entity, a key and a label
/// that is no name of a person.
pub(super) fn is_choice(node: &SampleNode, name: &NameReading) -> bool {
    if name.noun().is_some() || name.category.is_some() {
        return false;
    }
    let (mut has_key, mut has_label, mut size) = (false, false, 0);
    for (name, member) in node.unordered_members() {
        let reading = NameReading::new(name);
        let is_label = reading.is_any(&LABELS);
        let of_somebody = reading.is_any(&CODE_SYSTEM)
            || matches!(reading.noun(), Some((Noun::Person | Noun::Author, _)))
            || reading.category.is_some_and(|found| found.scope == PhraseScope::OfAnybody)
            || is_label && !is_label_of_thing(member);
        if of_somebody {
            return false;
        }
        has_label |= is_label;
        has_key |= !is_label && !member.is_container() && reading.has_head(Head::Id);
        size += 1;
    }
    has_key && has_label && size <= MAX_CHOICE
}

/// True for a place that people use: a name and an address, and nothing that only people have.
fn is_venue(node: &SampleNode) -> bool {
    let names_of_places =
        ["city", "address", "adresse", "direccion", "indirizzo", "endereco", "adres", "adress"];
    let (mut has_label, mut has_place) = (false, false);
    for (name, member) in node.unordered_members() {
        let reading = NameReading::new(name);
        let is_label = reading.is_any(&LABELS);
        let is_place = reading.is_any(&names_of_places);
        let is_other = is_place || reading.is_any(&["language", "locale", "timezone"]);
        if is_label && !is_label_of_thing(member) || reading.evidence().is_some() && !is_label && !is_other {
            return false;
        }
        has_label |= is_label;
        has_place |= is_place && !member.is_container();
    }
    has_label && has_place
}

/// True if a label has values of which none looks like the name of a person.
fn is_label_of_thing(label: &SampleNode) -> bool {
    !label.values.is_empty() && !label.values.kept().any(looks_like_name)
}

/// Returns what the type of an object says.
fn declared_type(node: &SampleNode) -> Option<About> {
    let title = node.schema.title.as_deref().and_then(noun_of_type).and_then(About::of_noun);
    if title.is_some() {
        return title;
    }
    TYPE_NAMES.iter().filter_map(|name| node.member(name)).find_map(|member| {
        let texts = member.elements.as_deref().unwrap_or(member);
        // Several types: a list of different objects, about which the first one of a person decides.
        let nouns: Vec<About> = texts
            .values
            .kept()
            .filter(|word| !LISTS.contains(word))
            .filter_map(noun_of_type)
            .filter_map(About::of_noun)
            .collect();
        nouns.iter().copied().find(|about| about.is_personal()).or(nouns.first().copied())
    })
}

/// Returns the words that name the type of an object.
pub(super) fn type_words(node: &SampleNode) -> impl Iterator<Item = NameReading> {
    TYPE_NAMES
        .iter()
        .filter_map(|name| node.member(name))
        .flat_map(|member| member.values.kept())
        .map(NameReading::new)
}

/// Returns what the members say.
fn signature(node: &SampleNode) -> Signature {
    let mut weak = 0;
    for (name, member) in node.unordered_members() {
        let is_state = member.types.contains(JsonType::Boolean);
        let reading = NameReading::new(name);
        match reading.evidence() {
            // The full name of a project is a path.
            Some(Evidence::Strong) if reading.is("fullname") && member.values.kept().any(is_path) => {}
            Some(Evidence::Strong) => return Signature::Strong,
            Some(Evidence::Weak) if !is_state => weak += 1,
            Some(Evidence::Weak) | None => {}
        }
    }
    if weak >= 2 { Signature::Weak } else { Signature::None }
}

/// True if a member is the number of a company in a register, or its registered name.
fn is_registered(node: &SampleNode) -> bool {
    let names = [
        "ragionesociale",
        "raisonsociale",
        "razonsocial",
        "razaosocial",
        "handelsnaam",
        "siret",
        "siren",
        "codeuai",
        "kvknummer",
        "kvk",
        "krs",
        "nip",
        "cnpj",
        "cif",
        "orgnr",
        "orgnummer",
        "organisationsnummer",
        "handelsregisternummer",
        "betriebsnummer",
        "companynumber",
        "companyregistration",
        "registrationnumber",
        "lei",
        "partitaiva",
    ];
    node.unordered_members()
        .any(|(name, member)| !member.is_container() && NameReading::new(name).is_any(&names))
}

/// Returns what a part is about that belongs to the object itself: `profile`, `attributes`, or the resource in an entry.
fn part(node: &SampleNode) -> Option<About> {
    let parts = [
        "profile",
        "properties",
        "attributes",
        "personal",
        "personalinfo",
        "demographics",
        "fields",
        "resource",
        "node",
        "source",
        "document",
    ];
    node.members().iter().find_map(|(name, member)| {
        let is_part = NameReading::new(name).is_any(&parts) && member.has_members();
        let about = || match signature(member) {
            Signature::Strong => Some(About::Person),
            Signature::Weak | Signature::None => declared_type(member).filter(|about| about.is_personal()),
        };
        is_part.then(about).flatten()
    })
}

/// True if the object names somebody whom it is about.
fn has_subject(node: &SampleNode) -> bool {
    node.unordered_members().any(|(name, member)| {
        let reading = NameReading::new(name);
        let is_flag = member.types.contains(JsonType::Boolean) || reading.is_flag();
        let is_one = !reading.is_plural() && !is_list_of_objects(member);
        !is_flag && is_one && matches!(reading.ends_in_noun(), Some(Noun::Person))
    })
}

/// True for a list of objects: in whatever language its name is, those are several, and no one whom the object is about.
fn is_list_of_objects(member: &SampleNode) -> bool {
    member.elements.as_deref().is_some_and(SampleNode::has_members)
}

/// True if a thing lists people who hold it, or people in a member whose name says nothing else, as a domain lists those who
/// registered it.
fn has_holder(node: &SampleNode) -> bool {
    let is_open = |name: &str| {
        let reading = NameReading::new(name);
        reading.noun().is_none()
            || reading.is_any(&["holders", "registrants", "beneficiaries", "policyholders", "residents"])
    };
    let holds = |member: &SampleNode| signature(member) == Signature::Strong;
    node.unordered_members()
        .any(|(name, member)| is_open(name) && holds(member.elements.as_deref().unwrap_or(member)))
}

/// True if a member is an object or a list about people in a part that its name tells: the organizer, the attendees.
fn has_people_inside(node: &SampleNode) -> bool {
    node.unordered_members().any(|(name, member)| {
        let inside = member.elements.as_deref().unwrap_or(member);
        let is_part = matches!(NameReading::new(name).ends_in_noun(), Some(Noun::Person | Noun::Author));
        is_part && (signature(inside) > Signature::None || inside.member("email").is_some())
    })
}

/// True for a name of elements that tells nothing about them.
fn is_generic(name: &NameReading) -> bool {
    name.is_any(&["item", "items", "rows"])
}

/// True if somebody answered: the object holds answers, or it was submitted, and is no question itself.
fn is_answered(node: &SampleNode) -> bool {
    let has = |names: &[&str]| node.unordered_members().any(|(name, _)| NameReading::new(name).is_any(names));
    has(&["answers", "submittedat", "responseid", "submissionid", "respondentid"])
        && !has(&["question", "questions"])
}

/// True if an object is a value with its kind: `{"kind": "surname", "value": …}`.
fn is_value(node: &SampleNode) -> bool {
    let is_scalar = node.member("value").is_some_and(|value| !value.is_container());
    is_scalar && node.member("id").is_none()
}

/// True if a container holds states or counts: requirements, capabilities, errors.
fn is_state(name: &NameReading, node: &SampleNode) -> bool {
    !name.category_is_head() && name.has_head(Head::State) && signature(node) == Signature::None
}

/// Shapes of values that identify somebody, so that the object is a record of that person.
const OF_SOMEBODY: [ValueShape; 3] = [ValueShape::Email, ValueShape::Iban, ValueShape::Equipment];

/// Returns the entity of an object without other evidence, by the people that its members name: a record if a member is the
/// reference or the contact of somebody it is about, also if somebody wrote it.
pub(super) fn by_references(node: &SampleNode) -> About {
    let is_record = node.unordered_members().any(|(name, member)| {
        let reading = NameReading::new(name);
        let is_flag =
            member.types.contains(JsonType::Boolean) || reading.is_flag() || reading.is_time_or_state();
        let names_person =
            matches!(reading.noun(), Some((Noun::Person | Noun::Author, _))) && !is_list_of_objects(member);
        let names_category = reading.category.is_some_and(|found| {
            found.scope == PhraseScope::OfAnybody
                && reading.category_is_head()
                && OF_PEOPLE_ALONE.contains(&found.category)
        });
        let has_values = OF_SOMEBODY.into_iter().any(|shape| member.values.mostly(shape));
        has_values || !is_flag && (names_person || names_category)
    });
    if is_record { About::Record } else { About::Open }
}

/// True if anything in a document is about a person.
pub(super) fn has_people(node: &SampleNode, name: Option<&NameReading>) -> bool {
    let own = own_entity(node, name).is_some_and(About::is_personal) && node.is_container();
    let values = [
        ValueShape::Email,
        ValueShape::Iban,
        ValueShape::Equipment,
        ValueShape::UserAgent,
        ValueShape::Avatar,
    ];
    own || values.into_iter().any(|shape| node.values.any(shape))
        || by_references(node) != About::Open
        || node.unordered_members().any(|(name, member)| has_people(member, Some(&NameReading::new(name))))
        || node.elements.as_deref().is_some_and(|elements| has_people(elements, name))
        || node
            .map
            .as_ref()
            .is_some_and(|map| has_people(&map.values, name) || map.keys.any(ValueShape::Email))
}

/// Evidence that the members of one object give about each other.
#[derive(Clone, Copy, Default)]
pub(super) struct Siblings {
    /// One is a currency, a price or a tax, so that a total is an amount.
    pub(super) has_money: bool,
    /// One is a street, a city or a postal code, so that a state is a place.
    pub(super) has_address: bool,
    /// One is a width, so that a height is that of a picture.
    pub(super) has_width: bool,
    /// One is a card number or its last digits, so that a brand and an expiry are those of a card.
    pub(super) has_card: bool,
    /// One is a place in a list, so that a limit is that of a page.
    pub(super) has_offset: bool,
    /// One is a text, so that a language is that of the text.
    pub(super) has_text: bool,
}

impl Siblings {
    pub(super) fn of(node: &SampleNode) -> Siblings {
        let mut siblings = Siblings::default();
        for (name, member) in node.unordered_members() {
            let reading = NameReading::new(name);
            siblings.has_money |=
                ["currency", "price", "tax", "subtotal", "amount", "discount", "fee", "moneda", "waehrung"]
                    .iter()
                    .any(|word| reading.has_word(word));
            let places = [
                "city", "town", "zip", "street", "postcode", "postal", "locality", "address", "stadt", "plz",
                "ville", "ciudad",
            ];
            siblings.has_address |= !member.is_container() && reading.has_any_word(&places);
            siblings.has_width |= reading.has_word("width");
            siblings.has_text |= reading.is_any(&["content", "text", "body", "notices", "title", "summary"]);
            siblings.has_offset |= reading.is_any(&["offset", "startat", "perpage", "pagesize"]);
            siblings.has_card |= reading.category.is_some_and(|found| {
                found.category.starts_with("payment-card") && found.scope == PhraseScope::OfAnybody
            });
        }
        siblings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::observe;

    /// Returns what a sample is about by itself. A list counts by its elements.
    fn about(name: &str, sample: &str) -> Option<About> {
        let node = observe(sample.as_bytes()).unwrap();
        let reading = Some(name).filter(|name| !name.is_empty()).map(NameReading::new);
        own_entity(node.elements.as_deref().unwrap_or(&node), reading.as_ref())
    }

    #[test]
    fn the_type_the_name_and_the_members_say_what_an_object_is_about() {
        for (name, sample, expected) in [
            ("", r#"{"object":"customer","id":"x"}"#, Some(About::Person)),
            ("", r#"{"resourceType":"Patient"}"#, Some(About::Person)),
            ("", r#"{"type":"product","title":"x"}"#, Some(About::Thing)),
            ("", r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]}"#, Some(About::Person)),
            // An envelope says nothing.
            ("", r#"{"object":"list","data":[]}"#, None),
            ("customer", r#"{"x":1}"#, Some(About::Person)),
            ("product", r#"{"x":1}"#, Some(About::Thing)),
            ("order", r#"{"x":1}"#, Some(About::Record)),
            ("company", r#"{"x":1}"#, Some(About::Organisation)),
            // A family name makes a person, whatever the name is.
            ("product", r#"{"first_name":"Ada","last_name":"Example"}"#, Some(About::Person)),
            // A thing with a person whom it is about is a record of that person.
            ("device", r#"{"serial":"x","customer":{"id":7}}"#, Some(About::Record)),
            // An amount is no thing.
            ("tax", r#"{"x":1}"#, None),
            ("", r#"{"x":1}"#, None),
            // A thing whose list of unknown name holds people is a record of them.
            ("", r#"{"type":"domain","entities":[{"last_name":"Brandt"}]}"#, Some(About::Record)),
            ("domain", r#"{"holders":[{"last_name":"Brandt"}]}"#, Some(About::Record)),
            ("", r#"{"type":"project","members":[{"last_name":"Brandt"}]}"#, Some(About::Thing)),
            ("item", r#"{"answers":[{"x":1}]}"#, Some(About::Record)),
            ("item", r#"{"question":"x","answers":["y"]}"#, Some(About::Thing)),
            ("component", r#"{"kind":"surname","value":"x"}"#, None),
        ] {
            assert_eq!(about(name, sample), expected, "{name} {sample}");
        }
    }

    #[test]
    fn an_object_that_refers_to_people_is_a_record() {
        let by = |sample: &str| by_references(&observe(sample.as_bytes()).unwrap());
        assert_eq!(by(r#"{"customer_id":7,"x":1}"#), About::Record);
        assert_eq!(by(r#"{"contact_email":null}"#), About::Record);
        assert_eq!(by(r#"{"x":"ada@example.org"}"#), About::Record);
        for nobody in [r#"{"x":1}"#, r#"{"has_customer":true}"#, r#"{"product_id":7}"#] {
            assert_eq!(by(nobody), About::Open, "{nobody}");
        }
    }

    #[test]
    fn a_document_has_people_at_any_depth() {
        let has = |sample: &str| has_people(&observe(sample.as_bytes()).unwrap(), None);
        for sample in [
            r#"{"a":[{"b":{"email":"x"}}]}"#,
            r#"{"a":[{"b":"ada@example.org"}]}"#,
            r#"{"data":{"user":{"x":1}}}"#,
        ] {
            assert!(has(sample), "{sample}");
        }
        for sample in [r#"{"a":[{"b":{"c":"x"}}]}"#, r#"{"product":{"sku":"x","price":7}}"#, "[]"] {
            assert!(!has(sample), "{sample}");
        }
    }

    #[test]
    fn members_are_evidence_about_their_neighbours() {
        let of = |sample: &str| Siblings::of(&observe(sample.as_bytes()).unwrap());
        assert!(of(r#"{"total":7,"currency":"EUR"}"#).has_money);
        assert!(of(r#"{"state":"x","city":"Bonn"}"#).has_address);
        assert!(of(r#"{"height":7,"width":7}"#).has_width);
        assert!(of(r#"{"brand":"visa","card_number":"x"}"#).has_card);
        let none = of(r#"{"total":7,"state":"x","height":7,"brand":"visa"}"#);
        assert!(!none.has_money && !none.has_address && !none.has_width && !none.has_card);
    }
}
