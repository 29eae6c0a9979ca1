//! From the evidence about one leaf to its categories, a confidence and a reason.
//!
//! Order: the document's own word, the shape of the values, the name, the object around it. What stays unsure in an object
//! about a person takes a personal category with a confidence below 0.5. A reason quotes words of the dictionary and
//! never a value.

use std::collections::HashSet;

use super::entity::About;
use super::name::{Head, NameReading, Noun, PhraseScope};
use super::tree::Node;
use super::types::JsonType;
use super::value::{ValueShape, is_url, shape};

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

/// What is known about the object around a leaf.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) about: About,
    /// True if the document has people at all.
    pub(super) has_people: bool,
    /// True if an object above is about a person or a record of one.
    pub(super) below_person: bool,
    /// The category of the container, such as that of `emails[*].value`.
    pub(super) container: Option<&'static str>,
}

/// Classifies one leaf by its name, its values and its surroundings. `ids` are the values of ids of people.
pub(super) fn classify(
    name: &NameReading,
    node: &Node,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Classification {
    if !node.schema.categories.is_empty() {
        let reason = "the document declares it (x-data-category)".to_owned();
        return Classification { categories: node.schema.categories.clone(), confidence: 1.0, reason };
    }
    by_value(name, node, around)
        .or_else(|| by_boolean(name, node, around))
        .or_else(|| by_category(name, node, around))
        .or_else(|| by_reference(name, node, around, ids))
        .or_else(|| by_head(name, node, around))
        .unwrap_or_else(|| by_surroundings(name, node, around, ids))
}

/// Values that say what they are, whatever the name is.
fn by_value(name: &NameReading, node: &Node, around: &Surroundings) -> Option<Classification> {
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
    if values.mostly(ValueShape::CardNumber) && node.types.contains(JsonType::String) && !is_thing {
        return Some(Classification::of("payment-card-number", 0.8, "values are card numbers (Luhn)"));
    }
    if values.mostly(ValueShape::Phone)
        && !is_thing
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

/// Yes and no: the state of a record, but for what a person chose or is.
fn by_boolean(name: &NameReading, node: &Node, around: &Surroundings) -> Option<Classification> {
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
        Some(found) if is_boolean && counts(found.scope) && around.about != About::Thing => {
            let reason = format!("a choice or a trait of a person: \"{}\"", name.category_phrase());
            Some(Classification::of(found.category, 0.7, reason))
        }
        _ if is_boolean || node.types.is_within(&[JsonType::Boolean, JsonType::Null]) => {
            Some(Classification::not(0.85, "a state: yes or no"))
        }
        _ => None,
    }
}

/// A phrase of a category at the end of the name.
fn by_category(name: &NameReading, node: &Node, around: &Surroundings) -> Option<Classification> {
    let found = name.category?;
    if !name.category_is_head() {
        return None;
    }
    let phrase = name.category_phrase();
    let of_thing = matches!(name.category_noun(), Some(Noun::Thing | Noun::Organisation));
    let of_person = matches!(name.category_noun(), Some(Noun::Person | Noun::Author));
    if found.scope == PhraseScope::OfAnybody {
        let weak = ["location", "postal-address", "secret", "photo", "billing"];
        if !around.has_people && weak.contains(&found.category) {
            return (found.category != "billing").then(|| {
                Classification::of(
                    found.category,
                    0.4,
                    format!("the name says \"{phrase}\", and nothing says whose"),
                )
            });
        }
        let is_thing = matches!(around.about, About::Thing) && !around.below_person && !of_person;
        let confidence = if is_thing { 0.45 } else { 0.93 };
        return Some(Classification::of(found.category, confidence, format!("the name says \"{phrase}\"")));
    }
    if of_thing {
        return None;
    }
    let applies = match around.about {
        _ if of_person => true,
        About::Person => true,
        About::Record => applies_to_records(found.category, name),
        About::Thing | About::Organisation | About::Open => around.container.is_some_and(|category| {
            category == found.category || (category == "postal-address" && found.category == "country")
        }),
    };
    if !applies {
        return None;
    }
    if found.category == "subject-identifier"
        && (name.is_any(&["number", "code"]) || name.has_head(Head::Link))
    {
        return None;
    }
    let whose = if around.about == About::Record { "a record of a person" } else { "a person" };
    let mut category = found.category;
    if category == "name" && node.values.mostly(ValueShape::OpaqueId) {
        category = "subject-identifier";
    }
    let confidence = if around.about == About::Person { 0.85 } else { 0.6 };
    Some(Classification::of(category, confidence, format!("{category} of {whose}: \"{phrase}\"")))
}

/// True if a word has its meaning in a record about a person too: an order's `note`, but not its `title`.
fn applies_to_records(category: &str, name: &NameReading) -> bool {
    let never = [
        "job-title",
        "photo",
        "company",
        "username",
        "social-profile",
        "name",
        "secret",
        "product-usage",
        "time-zone",
    ];
    !never.contains(&category)
        && !(category == "postal-address"
            && name.is_any(&["state", "region", "line", "lines", "destination", "floor", "building"]))
}

/// Ids, references and links: those of people and of their records lead to a person.
fn by_reference(
    name: &NameReading,
    node: &Node,
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
    let is_id = rest.is_empty() && !is_measure(node)
        || name.has_head(Head::Id) && !name.has_head(Head::State)
        || rest.iter().any(|word| word == "id" || word == "ids");
    if !is_id || (noun != Noun::Context && rest.len() > 2) {
        return None;
    }
    match noun {
        Noun::Person | Noun::Author => {
            let is_name = node.values.mostly(ValueShape::Prose) && rest.is_empty();
            let category = if is_name { "name" } else { "subject-identifier" };
            Some(Classification::of(category, 0.9, "the reference or the id of a person"))
        }
        Noun::Record => {
            let confidence = if around.has_people { 0.6 } else { 0.4 };
            let is_text = rest.is_empty() && node.values.mostly(ValueShape::Prose);
            if is_text {
                return Some(Classification::of("message-content", 0.45, "a text of a person, by its name"));
            }
            Some(Classification::of("subject-identifier", confidence, "the id of a record about a person"))
        }
        Noun::Thing | Noun::Organisation => {
            Some(Classification::not(0.8, "the id of a thing or an organisation"))
        }
        Noun::Context => None,
    }
}

/// True if values are small numbers of which ids do not consist: fractions, negative numbers.
fn is_measure(node: &Node) -> bool {
    node.types.is_within(&[JsonType::Number, JsonType::Null])
        && node.values.kept().any(|text| text.contains(['.', '-']))
}

/// A link: it is personal if it contains an id of a person, or leads to a person or to a record of one.
fn by_link(
    name: &NameReading,
    node: &Node,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Option<Classification> {
    let links: Vec<&str> = node.values.kept().filter(|text| is_url(text)).collect();
    if links.is_empty() || !(node.values.mostly(ValueShape::Url)) {
        let is_reference = name.is_any(&["reference", "ref"]);
        let leads = is_reference.then(|| node.values.kept().find_map(target)).flatten();
        return match leads {
            Some(Noun::Person | Noun::Author) => {
                Some(Classification::of("subject-identifier", 0.9, "a reference to a person"))
            }
            Some(Noun::Record) => {
                Some(Classification::of("subject-identifier", 0.6, "a reference to a record about a person"))
            }
            Some(Noun::Thing | Noun::Organisation) => {
                Some(Classification::not(0.8, "a reference to a thing or an organisation"))
            }
            Some(Noun::Context) | None => None,
        };
    }
    if links.iter().any(|link| segments(link).any(|segment| ids.contains(segment))) {
        return Some(Classification::of(
            "subject-identifier",
            0.85,
            "a link that contains an id of a person or of a record about one",
        ));
    }
    let targets: Vec<Noun> = links.iter().filter_map(|link| target(link)).collect();
    if targets.iter().any(|noun| matches!(noun, Noun::Person | Noun::Author)) {
        return Some(Classification::of("subject-identifier", 0.85, "a link to a person"));
    }
    if targets.contains(&Noun::Record) {
        return Some(Classification::of("subject-identifier", 0.6, "a link to a record about a person"));
    }
    if !targets.is_empty() && around.about != About::Person {
        return Some(Classification::not(0.75, "a link to a thing"));
    }
    let is_pure = links.iter().all(|link| segments(link).all(|segment| !looks_like_id(segment)));
    if is_pure && around.about != About::Person {
        return Some(Classification::not(0.6, "a link without an id"));
    }
    None
}

/// The parts of a link between its separators.
fn segments(link: &str) -> impl Iterator<Item = &str> {
    link.split(['/', '?', '&', '=', '#', ':', '@', ',', ' '])
        .map(|part| part.split_once('.').map_or(part, |(stem, _)| stem))
        .filter(|part| !part.is_empty())
}

/// Returns what a link or a reference leads to: the last noun that an id follows.
fn target(link: &str) -> Option<Noun> {
    let parts: Vec<&str> = segments(link).collect();
    let pairs = parts.windows(2).filter_map(|pair| {
        let [noun, id] = pair else { return None };
        looks_like_id(id).then(|| super::name::noun_of_type(noun)).flatten()
    });
    // A record of a person below a thing, or the other way around: people count most.
    let nouns: Vec<Noun> = pairs.collect();
    nouns.iter().copied().find(|noun| matches!(noun, Noun::Person | Noun::Author)).or(nouns.last().copied())
}

fn looks_like_id(segment: &str) -> bool {
    matches!(
        shape(segment),
        ValueShape::Digits | ValueShape::Uuid | ValueShape::OpaqueId | ValueShape::CardNumber
    ) || segment.bytes().any(|byte| byte.is_ascii_digit()) && segment.len() > 3
        || segment.bytes().any(|byte| byte.is_ascii_digit()) && segment.contains('-')
}

/// Names that end in a count, a state or a time.
fn by_head(name: &NameReading, node: &Node, around: &Surroundings) -> Option<Classification> {
    let is_amount = name.has_head(Head::Amount) && !node.values.mostly(ValueShape::Prose);
    if is_amount && around.about.is_personal() && around.has_people && !name.is("value") {
        return Some(Classification::of("billing", 0.45, "an amount in a record about a person"));
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
    if name.has_head(Head::Time)
        && !has_dates
        && node.types.is_within(&numbers)
        && (!name.is_any(&["start", "end", "data", "le", "on"]) || around.about != About::Person)
    {
        return Some(Classification::not(0.8, "a time of a record"));
    }
    if node.schema.format.as_deref() == Some("date-time") && around.container.is_none() {
        return Some(Classification::not(0.7, "a time, by the schema's format"));
    }
    if name.has_head(Head::Count) && !has_dates && !node.values.mostly(ValueShape::Prose) && !is_text(node) {
        return Some(Classification::not(0.75, "a count or a measure"));
    }
    if name.has_head(Head::State) && !node.values.mostly(ValueShape::Prose) {
        return Some(Classification::not(0.75, "a state or a type"));
    }
    if name.has_head(Head::Amount) && !around.about.is_personal() && !name.is("value") {
        return Some(Classification::not(0.6, "an amount of a thing"));
    }
    None
}

/// True if values are texts that are neither numbers nor constants.
fn is_text(node: &Node) -> bool {
    node.values.mostly(ValueShape::Other) || node.values.mostly(ValueShape::Prose)
}

/// What is left: the object around it decides.
fn by_surroundings(
    name: &NameReading,
    node: &Node,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Classification {
    if let Some(category) = around.container {
        return Classification::of(category, 0.7, format!("part of a value of {category}"));
    }
    if node.values.kept().any(|text| ids.contains(text)) {
        return Classification::of(
            "subject-identifier",
            0.6,
            "repeats an id of a person or of a record about one",
        );
    }
    let is_id = name.has_head(Head::Id) || name.has_head(Head::Link);
    let is_prose = node.values.mostly(ValueShape::Prose);
    match around.about {
        About::Person if is_id => {
            Classification::of("subject-identifier", 0.7, "an id or a link in an object about a person")
        }
        About::Person if is_prose => {
            Classification::of("support-content", 0.45, "a text in an object about a person")
        }
        About::Person => Classification::of("profile", 0.4, "unsure: stands in an object about a person"),
        About::Record if is_id => {
            Classification::of("subject-identifier", 0.45, "an id or a link in a record about a person")
        }
        About::Record if is_prose || name.has_head(Head::Text) => {
            Classification::of("support-content", 0.45, "a text in a record about a person")
        }
        About::Record if node.values.mostly(ValueShape::Constant) => {
            Classification::not(0.55, "constants, as a state has them")
        }
        About::Record => Classification::of("profile", 0.3, "unsure: stands in a record about a person"),
        About::Open
            if around.has_people && (is_id || is_prose || name.has_head(Head::Text) || name.is("name")) =>
        {
            Classification::of("profile", 0.3, "unsure: the document is about people")
        }
        About::Open if around.has_people => {
            Classification::not(0.5, "nothing says that it is about a person")
        }
        About::Open => Classification::not(0.6, "nothing in the document is about a person"),
        About::Thing | About::Organisation => {
            Classification::not(0.7, "a property of a thing or an organisation")
        }
    }
}
