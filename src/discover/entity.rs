//! Decides what an object is about: a person, a record of one person, a thing, an organisation.
//!
//! The evidence is the object's own type (`"object": "customer"`, `resourceType`, the name of a schema), its name in the
//! object around it, its members, and at last the object around it.

use super::name::{NameReading, Noun, PhraseScope, noun_of_type};
use super::tree::Node;
use super::types::JsonType;
use super::value::ValueShape;

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

/// Phrases that only people have. One is enough.
const SIGNATURE: [&str; 34] = [
    "firstname",
    "lastname",
    "givenname",
    "familyname",
    "fullname",
    "surname",
    "forename",
    "middlename",
    "dob",
    "birthdate",
    "dateofbirth",
    "birthday",
    "vorname",
    "nachname",
    "geburtsdatum",
    "prenom",
    "nomdefamille",
    "apellido",
    "apellidos",
    "cognome",
    "voornaam",
    "achternaam",
    "geboortedatum",
    "sobrenome",
    "imie",
    "nazwisko",
    "realname",
    "nickname",
    "jobtitle",
    "maritalstatus",
    "gender",
    "username",
    "datenaissance",
    "fechanacimiento",
];

/// Names of which two together make a person.
const PAIRS: [&str; 22] = [
    "name",
    "email",
    "emailaddress",
    "mail",
    "login",
    "displayname",
    "avatar",
    "avatarurl",
    "picture",
    "photo",
    "userid",
    "accountid",
    "bio",
    "handle",
    "telecom",
    "emails",
    "emailaddresses",
    "nom",
    "nombre",
    "nome",
    "avatarurls",
    "profilepicture",
];

/// What an object is about, by itself: `None` if its type, its name and its members say nothing.
pub(super) fn own_entity(node: &Node, name: Option<&NameReading>) -> Option<About> {
    if let Some(about) = declared_type(node) {
        return Some(about);
    }
    let is_signed = has_signature(node);
    let named = name.and_then(NameReading::ends_in_noun).and_then(About::of_noun);
    match named {
        Some(About::Thing) if is_signed => Some(About::Person),
        Some(about) => Some(about),
        None if is_signed => Some(About::Person),
        None => None,
    }
}

/// Returns what the type of an object says.
fn declared_type(node: &Node) -> Option<About> {
    let title = node.schema.title.as_deref().and_then(noun_of_type).and_then(About::of_noun);
    if title.is_some() {
        return title;
    }
    TYPE_NAMES.iter().filter_map(|name| node.member(name)).find_map(|member| {
        let texts = member.elements.as_deref().unwrap_or(member);
        // Several types: a list of different objects, about which the first one of a person decides.
        let nouns: Vec<About> =
            texts.values.kept().filter_map(noun_of_type).filter_map(About::of_noun).collect();
        nouns.iter().copied().find(|about| about.is_personal()).or(nouns.first().copied())
    })
}

/// True if the members are those of a person.
fn has_signature(node: &Node) -> bool {
    let mut pairs = 0;
    for (name, member) in node.members() {
        let joined: String =
            name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        if SIGNATURE.contains(&joined.as_str()) {
            return true;
        }
        let is_state = member.types.contains(JsonType::Boolean);
        if PAIRS.contains(&joined.as_str()) && !is_state {
            pairs += 1;
        }
    }
    pairs >= 2
}

/// What an object without other evidence is about, by the people that its members name: a record if a member is the
/// reference or the contact of somebody it is about, also if somebody wrote it.
pub(super) fn by_references(node: &Node) -> About {
    let mut is_record = false;
    for (name, member) in node.members() {
        let reading = NameReading::new(name);
        let is_flag = member.types.contains(JsonType::Boolean) || reading.is_flag();
        let names_person = matches!(reading.noun(), Some((Noun::Person | Noun::Author, _)));
        let names_category = reading
            .category
            .is_some_and(|found| found.scope == PhraseScope::OfAnybody && reading.category_is_head());
        is_record |= !is_flag && (names_person || names_category);
        is_record |= member.values.mostly(ValueShape::Email) || member.values.mostly(ValueShape::Iban);
    }
    if is_record { About::Record } else { About::Open }
}

/// True if anything in a document is about a person.
pub(super) fn has_people(node: &Node, name: Option<&NameReading>) -> bool {
    let own =
        own_entity(node, name).is_some_and(About::is_personal) && (node.is_container() || name.is_some());
    let values = [ValueShape::Email, ValueShape::Iban, ValueShape::UserAgent, ValueShape::Avatar];
    own || values.into_iter().any(|shape| node.values.any(shape))
        || by_references(node) != About::Open
        || node.members().iter().any(|(name, member)| has_people(member, Some(&NameReading::new(name))))
        || node.elements.as_deref().is_some_and(|elements| has_people(elements, name))
        || node
            .map
            .as_ref()
            .is_some_and(|map| has_people(&map.values, name) || map.keys.any(ValueShape::Email))
}
