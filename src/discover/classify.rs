//! From the evidence about one leaf to its categories, a confidence and a reason.
//!
//! Order: the document's own word, the shape of the values, the name, the object around it. A leaf that stays unsure in an object
//! about a person takes a personal category with a confidence below 0.5; beside people, and if it looks like a state, it takes
//! `non-personal` with such a confidence. A reason quotes words of the dictionary and
//! never a value.

use std::collections::HashSet;

use super::entity::{About, Siblings};
use super::name::{Head, NameReading, Noun, PhraseScope};
use super::tree::SampleNode;
use super::types::JsonType;
use super::value::{ValueShape, shape};

mod link;
mod phrase;

use link::by_link;
pub(super) use link::{leads_elsewhere, looks_like_id};
use phrase::by_category;

/// The category of what is not about a person.
pub(super) const NON_PERSONAL: &str = "non-personal";

/// The categories of a leaf.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Classification {
    pub(super) categories: Vec<String>,
    pub(super) confidence: f64,
    pub(super) reason: String,
}

impl Classification {
    fn of(category: &str, confidence: f64, reason: impl Into<String>) -> Classification {
        Classification { categories: vec![category.to_owned()], confidence, reason: reason.into() }
    }

    fn not(confidence: f64, reason: impl Into<String>) -> Classification {
        Classification::of(NON_PERSONAL, confidence, reason)
    }
}

/// Facts about the object around a leaf.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) about: About,
    /// True if the document has people at all.
    pub(super) has_people: bool,
    /// True if an object above is about a person or a record of one.
    pub(super) below_person: bool,
    /// The category of the container, such as that of `emails[*].value`.
    pub(super) container: Option<&'static str>,
    /// True if an object above is an appointment, a journey or another event of a person.
    pub(super) is_event: bool,
    /// True if the object is a line of an order, of an invoice or of another record.
    pub(super) is_line: bool,
    /// True if the object is a field with its value, of a list of such.
    pub(super) is_field: bool,
    /// True if the members are links, or relations with a link each.
    pub(super) holds_links: bool,
    /// True if the object is a link to another page, to a list or to a document.
    pub(super) leads_elsewhere: bool,
    pub(super) siblings: Siblings,
}

/// Classifies one leaf by its name, its values and its surroundings. `ids` are the values of ids of people.
pub(super) fn classify(
    name: &NameReading,
    node: &SampleNode,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Classification {
    let declared = &node.schema.categories;
    if declared.is_empty() {
        return by_evidence(name, node, around, ids);
    }
    if !node.schema.is_declared_in_part {
        let reason = "the document declares it (x-data-category)".to_owned();
        return Classification { categories: declared.clone(), confidence: 1.0, reason };
    }
    let Classification { categories, confidence, reason } = by_evidence(name, node, around, ids);
    let more = categories.into_iter().filter(|category| !declared.contains(category));
    let categories = declared.iter().cloned().chain(more).collect();
    let reason = format!("the document declares it (x-data-category) for some alternatives only; {reason}");
    Classification { categories, confidence, reason }
}

/// Classifies one leaf by what its values, its name and its surroundings say.
fn by_evidence(
    name: &NameReading,
    node: &SampleNode,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Classification {
    by_value(name, node, around)
        .or_else(|| by_exchange(name, node, around))
        .or_else(|| by_part(name, node, around))
        .or_else(|| by_boolean(name, node, around))
        .or_else(|| by_amount(name, node, around))
        .or_else(|| by_category(name, node, around))
        .or_else(|| by_reference(name, node, around, ids))
        .or_else(|| by_head(name, node, around))
        .unwrap_or_else(|| by_surroundings(name, node, around, ids))
}

/// Values that say what they are, whatever the name is.
fn by_value(name: &NameReading, node: &SampleNode, around: &Surroundings) -> Option<Classification> {
    let values = &node.values;
    let shapes = [
        (ValueShape::Email, "email", "values are e-mail addresses"),
        (ValueShape::Iban, "billing", "values are bank accounts (IBAN)"),
        (ValueShape::Token, "secret", "values are signed tokens"),
        (ValueShape::UserAgent, "device", "values are user agents"),
        (ValueShape::Avatar, "photo", "values are addresses of portraits"),
    ];
    if let Some((_, category, reason)) = shapes.iter().find(|(shape, _, _)| values.any(*shape)) {
        let named =
            name.category.filter(|found| name.category_is_head() && found.scope == PhraseScope::OfAnybody);
        let category = named.map_or(*category, |found| found.category);
        return Some(Classification::of(category, 0.96, *reason));
    }
    if values.mostly(ValueShape::IpAddress) && !name.has_word("version") && !name.has_word("build") {
        return Some(Classification::of("ip-address", 0.9, "values are IP addresses"));
    }
    let is_thing = matches!(around.about, About::Thing) && !around.below_person;
    if values.mostly(ValueShape::Equipment) && node.types.contains(JsonType::String) {
        return Some(Classification::of("device", 0.7, "values are numbers of mobile devices (IMEI)"));
    }
    if values.mostly(ValueShape::Coordinates) && around.about.is_personal() {
        return Some(Classification::of("location", 0.8, "values are coordinates"));
    }
    if values.mostly(ValueShape::CardNumber) && node.types.contains(JsonType::String) && !is_thing {
        return Some(Classification::of("payment-card-number", 0.8, "values are card numbers (Luhn)"));
    }
    let is_organisation = around.about == About::Organisation && !around.below_person;
    if values.mostly(ValueShape::Phone)
        && !is_thing
        && !is_organisation
        && name.category.is_none_or(|found| found.category == "phone")
    {
        return Some(Classification::of("phone", 0.85, "values are telephone numbers"));
    }
    match node.schema.format.as_deref() {
        Some("email" | "idn-email") => {
            Some(Classification::of("email", 0.97, "the schema's format is `email`"))
        }
        Some("ipv4" | "ipv6") => {
            Some(Classification::of("ip-address", 0.9, "the schema's format is an IP address"))
        }
        Some("password") => Some(Classification::of("password", 0.95, "the schema's format is `password`")),
        _ => None,
    }
}

/// Words of the exchange that brought the document.
const EXCHANGE: [&str; 12] = [
    "request",
    "trace",
    "correlation",
    "correlatie",
    "span",
    "cursor",
    "sync",
    "etag",
    "api",
    "schema",
    "next",
    "continuation",
];

/// Ids and tokens of the exchange: they lead to the place in a list, or into the log of a service.
fn by_exchange(name: &NameReading, node: &SampleNode, around: &Surroundings) -> Option<Classification> {
    if around.siblings.has_offset && name.is_any(&["limit", "count", "total", "size"]) {
        return Some(Classification::not(0.7, "a part of the place in a list"));
    }
    let is_mark = name.has_head(Head::Id) || name.is_any(&EXCHANGE) || name.has_head(Head::Count);
    let is_one = !node.values.mostly(ValueShape::Url) && !node.values.mostly(ValueShape::Prose);
    let is_of_person = name.category.is_some_and(|found| found.scope == PhraseScope::OfAnybody)
        || matches!(name.noun(), Some((Noun::Person | Noun::Author | Noun::Record, _)));
    (is_mark && is_one && name.has_any_word(&EXCHANGE) && !is_of_person)
        .then(|| Classification::not(0.7, "a mark of the exchange"))
}

/// Parts of pictures, texts, fields and references: their neighbours or the object around them say what they are.
fn by_part(name: &NameReading, node: &SampleNode, around: &Surroundings) -> Option<Classification> {
    if around.siblings.has_width && name.is_any(&["height", "width"]) && around.about != About::Thing {
        return Some(Classification::not(0.8, "the size of a picture"));
    }
    if name.is_any(&["start", "end"]) && is_position(node) {
        return Some(Classification::not(0.6, "a position in a text"));
    }
    // The id of what somebody works for or where something is, beside its name.
    if matches!(around.container, Some("company" | "location")) && name.is("id") {
        return Some(Classification::not(0.6, "the id of an organisation or of a place"));
    }
    if around.is_field && name.is_any(&["id", "fieldid", "attributeid"]) {
        return Some(Classification::not(0.6, "the id of the definition of a field"));
    }
    None
}

/// Words of a yes or no that describes the person, and no record.
const FLAGS_OF_PEOPLE: [&str; 4] = ["banned", "pfaendung", "lohnpfaendung", "garnishment"];

/// Words of a yes or no that is the state of an account, a place in a list or a setting of a program, and no trait of a person.
const STATES_OF_ACCOUNTS: [&str; 26] = [
    "optional",
    "blocked",
    "suspended",
    "protected",
    "shared",
    "boosted",
    "embeddable",
    "restricted",
    "frozen",
    "expired",
    "revoked",
    "approved",
    "rejected",
    "deprecated",
    "mandatory",
    "editable",
    "readonly",
    "promoted",
    "synced",
    "trusted",
    "onboarded",
    "searchable",
    "recurring",
    "billable",
    "totp",
    "provisioned",
];

/// Yes and no: the state of a record, but for what a person chose or is.
fn by_boolean(name: &NameReading, node: &SampleNode, around: &Surroundings) -> Option<Classification> {
    let is_boolean =
        node.types.contains(JsonType::Boolean) && node.types.is_within(&[JsonType::Boolean, JsonType::Null]);
    if !is_boolean && !name.is_flag() {
        return None;
    }
    let about_people = [
        "preferences",
        "health",
        "profile",
        "beliefs",
        "union-membership",
        "sexual-life",
        "criminal-offence",
        "ethnic-origin",
        "biometric",
        "event-participation",
        "job-title",
    ];
    let told =
        name.category.filter(|found| about_people.contains(&found.category) && name.category_is_head());
    let counts = |scope| scope == PhraseScope::OfAnybody || around.about == About::Person;
    match told {
        Some(found) if counts(found.scope) && around.about != About::Thing => {
            let reason = format!("a choice or a trait of a person: \"{}\"", name.category_phrase());
            Some(Classification::of(found.category, 0.7, reason))
        }
        None if is_boolean
            && around.container.is_some_and(|container| about_people.contains(&container))
            && (matches!(name.noun(), Some((Noun::Person, _)))
                || matches!(name.noun(), Some((Noun::Author, _)))
                    && around.container != Some("event-participation")) =>
        {
            let container = around.container.unwrap_or_default();
            Some(Classification::of(container, 0.5, format!("part of a value of {container}")))
        }
        // Not of the account alone.
        None if is_boolean && around.about == About::Person && name.has_any_word(&FLAGS_OF_PEOPLE) => {
            Some(Classification::of("profile", 0.5, "a yes or no about a person"))
        }
        // A word that no state has describes the person, such as `smoker`.
        None if is_boolean
            && around.about == About::Person
            && name.is_unknown()
            && !name.has_any_word(&STATES_OF_ACCOUNTS) =>
        {
            Some(Classification::of("profile", 0.4, "a trait of a person, by an unknown name"))
        }
        _ if is_boolean || node.types.is_within(&[JsonType::Boolean, JsonType::Null]) => {
            Some(Classification::not(0.85, "a state: yes or no"))
        }
        _ => None,
    }
}

/// An amount of money in a record about a person.
fn by_amount(name: &NameReading, node: &SampleNode, around: &Surroundings) -> Option<Classification> {
    let is_number = node.types.is_within(&[JsonType::Number, JsonType::Null, JsonType::String])
        && node.values.kept().all(|text| text.parse::<f64>().is_ok());
    let is_amount = name.is_amount() && (!name.is("total") || around.siblings.has_money);
    if !is_number || !is_amount || !around.has_people {
        return None;
    }
    match around.about {
        About::Person | About::Record => {
            Some(Classification::of("billing", 0.45, "an amount in a record about a person"))
        }
        About::Open if around.container == Some("billing") => {
            Some(Classification::of("billing", 0.45, "an amount in a record about a person"))
        }
        About::Thing | About::Organisation | About::Open => {
            Some(Classification::not(0.6, "an amount of a thing"))
        }
    }
}

/// True if most values are dates.
fn has_dates(node: &SampleNode) -> bool {
    [ValueShape::Date, ValueShape::BirthDate].into_iter().any(|shape| node.values.mostly(shape))
}

/// Maximum length of the number of a position in a text.
const MAX_POSITION: usize = 6;

/// True if all values are small whole numbers.
fn is_position(node: &SampleNode) -> bool {
    let is_small = |text: &str| text.len() <= MAX_POSITION && text.bytes().all(|byte| byte.is_ascii_digit());
    !node.values.is_empty()
        && node.types.is_within(&[JsonType::Number, JsonType::Null])
        && node.values.kept().all(is_small)
}

/// True if all values are words in letters alone, as ids are not.
fn is_word(node: &SampleNode) -> bool {
    let is_letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    !node.values.is_empty() && node.values.kept().all(is_letters)
}

/// Things that each person has alone: the id of one leads to the person, other than that of a plan or a product.
const OWN_THINGS: [&str; 14] = [
    "permission",
    "permissions",
    "application",
    "applications",
    "connection",
    "connections",
    "license",
    "licenses",
    "network",
    "machine",
    "vehicle",
    "vehicles",
    "certificate",
    "sensor",
];

/// Ids, references and links: those of people and of their records lead to a person.
fn by_reference(
    name: &NameReading,
    node: &SampleNode,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Option<Classification> {
    if let Some(classification) = by_link(name, node, around, ids) {
        return Some(classification);
    }
    if node.types.contains(JsonType::Boolean) {
        return None;
    }
    let (noun, rest) = name.noun()?;
    if noun == Noun::Thing && around.about.is_personal() && rest.last().is_some_and(|word| word == "token") {
        return Some(Classification::of("secret", 0.5, "a token in an object about a person"));
    }
    if around.about == About::Person && name.is_any(&["role", "roles"]) {
        return Some(Classification::of("profile", 0.5, "the role of a person"));
    }
    if name.is_time_or_state() || noun == Noun::Context {
        return None;
    }
    let is_bare = rest.is_empty() && !is_measure(node);
    let has_id = name.has_head(Head::Id) && !name.has_head(Head::State)
        || rest.iter().any(|word| word == "id" || word == "ids");
    if !(is_bare || has_id) || rest.len() > 2 {
        return None;
    }
    match noun {
        Noun::Person | Noun::Author
            if name.has_word("total") && node.types.is_within(&[JsonType::Number]) =>
        {
            Some(Classification::not(0.75, "a count of people"))
        }
        Noun::Person | Noun::Author => {
            let is_name = node.values.mostly(ValueShape::Prose) && is_bare;
            let category = if is_name { "name" } else { "subject-identifier" };
            Some(Classification::of(category, 0.9, "the reference or the id of a person"))
        }
        Noun::Record => by_record_noun(name, node, around, is_bare && !has_id),
        Noun::Thing if around.below_person && has_id && name.has_any_word(&["line", "item"]) => {
            Some(Classification::of("subject-identifier", 0.4, "the id of a line in a record about a person"))
        }
        Noun::Thing if has_id && around.about.is_personal() && name.has_any_word(&OWN_THINGS) => {
            let reason = "the id of something that one person has";
            Some(Classification::of("subject-identifier", 0.45, reason))
        }
        Noun::Thing | Noun::Organisation if around.container.is_none() => {
            Some(Classification::not(0.8, "the id of a thing or an organisation"))
        }
        Noun::Thing | Noun::Organisation | Noun::Context => None,
    }
}

/// The id of a record, a count of records, their text, or a state with the name of a record.
fn by_record_noun(
    name: &NameReading,
    node: &SampleNode,
    around: &Surroundings,
    is_bare: bool,
) -> Option<Classification> {
    let is_count = is_bare && node.types.is_within(&[JsonType::Number]) && name.is_plural();
    if is_count {
        return Some(Classification::not(0.75, "a count of records"));
    }
    if is_bare && !node.values.is_empty() && node.values.kept().all(is_state_word) {
        return Some(Classification::not(0.6, "a state"));
    }
    if is_bare && name.is_plural() && is_word(node) {
        return Some(Classification::not(0.45, "unsure: words, as labels are"));
    }
    if is_bare && has_dates(node) {
        return Some(Classification::not(0.75, "a time of a record"));
    }
    if is_bare && node.values.mostly(ValueShape::Prose) {
        return Some(Classification::of("message-content", 0.45, "a text of a person, by its name"));
    }
    let confidence = if around.has_people { 0.6 } else { 0.4 };
    Some(Classification::of("subject-identifier", confidence, "the id of a record about a person"))
}

/// True for a word such as `active` or `pending`.
fn is_state_word(text: &str) -> bool {
    shape(text) == ValueShape::Constant && NameReading::new(text).has_head(Head::State)
}

/// True if values are small numbers of which ids do not consist: fractions, negative numbers.
fn is_measure(node: &SampleNode) -> bool {
    node.types.is_within(&[JsonType::Number, JsonType::Null])
        && node.values.kept().any(|text| text.contains(['.', '-']))
}

/// Names that end in a count, a state or a time.
fn by_head(name: &NameReading, node: &SampleNode, around: &Surroundings) -> Option<Classification> {
    if around.siblings.has_card
        && (name.has_word("exp") || name.has_word("expiry") || name.has_word("expiration"))
    {
        return Some(Classification::of("payment-card-summary", 0.8, "the expiry of a card"));
    }
    let numbers = [JsonType::Number, JsonType::Null, JsonType::String];
    let has_dates = matches!(
        around.container,
        Some(
            "date-of-birth"
                | "government-id"
                | "health"
                | "event-participation"
                | "payment-card-summary"
                | "profile"
        )
    );
    let begins = ["start", "started", "begin", "beginn", "hora", "uhrzeit", "departure"];
    if around.is_event
        && around.about.is_personal()
        && name.has_head(Head::Time)
        && name.has_any_word(&begins)
    {
        return Some(Classification::of("event-participation", 0.6, "the time of an event of a person"));
    }
    if name.has_head(Head::Time)
        && !has_dates
        && node.types.is_within(&numbers)
        && (!name.is_any(&["start", "end", "data", "le", "on", "startdate", "enddate"])
            || around.about != About::Person)
    {
        return Some(Classification::not(0.8, "a time of a record"));
    }
    // A date of unknown meaning in an object about a person can describe that person.
    let is_date_time = node.schema.format.as_deref() == Some("date-time");
    if is_date_time && around.container.is_none() && !around.about.is_personal() {
        return Some(Classification::not(0.7, "a time, by the schema's format"));
    }
    let is_measure_of_person = matches!(
        around.container,
        Some("date-of-birth" | "health" | "payment-card-summary" | "government-id" | "profile")
    );
    // A fraction is text by its shape.
    let is_rate =
        node.types.is_within(&[JsonType::Number, JsonType::Null]) && !name.has_any_word(&["amount", "total"]);
    let is_word = around.about == About::Person && node.values.mostly(ValueShape::Constant);
    if name.has_head(Head::Count)
        && !is_measure_of_person
        && !is_word
        && !node.values.mostly(ValueShape::Prose)
        && (!is_text(node) || is_rate)
    {
        return Some(Classification::not(0.75, "a count or a measure"));
    }
    if name.has_head(Head::State)
        && around.container != Some("profile")
        && !node.values.mostly(ValueShape::Prose)
    {
        return Some(Classification::not(0.75, "a state or a type"));
    }
    None
}

/// True if values are texts that are neither numbers nor constants.
fn is_text(node: &SampleNode) -> bool {
    node.values.mostly(ValueShape::Other) || node.values.mostly(ValueShape::Prose)
}

/// Classifies the leaves that are left by the object around them.
fn by_surroundings(
    name: &NameReading,
    node: &SampleNode,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Classification {
    if let Some(category) = around.container {
        return Classification::of(category, 0.7, format!("part of a value of {category}"));
    }
    if node.values.kept().any(|text| text.split(['/', ':']).any(|part| ids.contains(part))) {
        return Classification::of(
            "subject-identifier",
            0.6,
            "repeats an id of a person or of a record about one",
        );
    }
    let is_line = around.about == About::Thing && around.below_person && around.is_line;
    if is_line && name.is("id") {
        return Classification::of("subject-identifier", 0.4, "the id of a line in a record about a person");
    }
    let is_id = name.has_head(Head::Id) || name.has_head(Head::Link);
    let is_prose = node.values.mostly(ValueShape::Prose);
    match around.about {
        About::Person if is_id => {
            Classification::of("subject-identifier", 0.7, "an id or a link in an object about a person")
        }
        About::Person if has_id_values(node) => {
            Classification::of("subject-identifier", 0.6, "values are ids, in an object about a person")
        }
        About::Person if is_prose => {
            Classification::of("support-content", 0.45, "a text in an object about a person")
        }
        About::Person => Classification::of("profile", 0.4, "unsure: stands in an object about a person"),
        About::Record
            if node.values.mostly(ValueShape::Constant)
                && !name.has_head(Head::Text)
                && !name.is_opaque() =>
        {
            Classification::not(0.45, "unsure: constants, as a state has them, in a record about a person")
        }
        About::Record if name.is_opaque() && is_column_of_states(node) => {
            Classification::not(0.45, "unsure: states or units, in a record about a person")
        }
        About::Record if !around.is_event && is_moment(node) => {
            Classification::not(0.45, "unsure: a time, in a record about a person")
        }
        About::Record if is_id => {
            Classification::of("subject-identifier", 0.45, "an id or a link in a record about a person")
        }
        About::Record if is_prose || name.has_head(Head::Text) => {
            Classification::of("support-content", 0.45, "a text in a record about a person")
        }
        About::Record => Classification::of("profile", 0.3, "unsure: stands in a record about a person"),
        About::Open
            if around.has_people && (is_id || is_prose || name.has_head(Head::Text) || name.is("name")) =>
        {
            Classification::of("profile", 0.3, "unsure: the document is about people")
        }
        About::Open if around.has_people => Classification::not(
            0.45,
            "unsure: nothing says that it is about a person, and the document is about people",
        ),
        About::Open => Classification::not(0.6, "nothing in the document is about a person"),
        About::Thing | About::Organisation => {
            Classification::not(0.7, "a property of a thing or an organisation")
        }
    }
}

/// Letters of a date without a time.
const DATE_LETTERS: usize = 10;

/// True if all values are dates with a time of day, as records have them.
fn is_moment(node: &SampleNode) -> bool {
    !node.values.is_empty()
        && node.values.kept().all(|text| shape(text) == ValueShape::Date && text.len() > DATE_LETTERS)
}

/// True if all values are states or units.
fn is_column_of_states(node: &SampleNode) -> bool {
    let is_plain = |text: &str| {
        shape(text) == ValueShape::Constant
            && (NameReading::new(text).is_ordinary_word() || NameReading::new(text).has_head(Head::State))
    };
    !node.values.is_empty() && node.values.kept().all(is_plain)
}

/// True if most values are ids of some sort.
fn has_id_values(node: &SampleNode) -> bool {
    [ValueShape::Uuid, ValueShape::OpaqueId].into_iter().any(|shape| node.values.mostly(shape))
}

#[cfg(test)]
mod tests;
