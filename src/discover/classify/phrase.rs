//! Phrases of a category at the end of a name: the category of a person, or of a thing.

use super::{Classification, Surroundings, has_dates, is_position, is_word};
use crate::discover::entity::About;
use crate::discover::name::{Head, NameReading, Noun, PhraseScope};
use crate::discover::tree::SampleNode;
use crate::discover::types::JsonType;
use crate::discover::value::{ValueShape, is_path};

/// A phrase of a category at the end of the name.
pub(super) fn by_category(
    name: &NameReading,
    node: &SampleNode,
    around: &Surroundings,
) -> Option<Classification> {
    let found = name.category.filter(|_| name.category_is_head() && !name.is_time_or_state())?;
    match found.scope {
        PhraseScope::OfAnybody => by_phrase_of_anybody(name, found.category, node, around),
        PhraseScope::OfAPerson => by_phrase_of_a_person(name, found.category, node, around),
    }
}

/// Categories of which a date can be a value.
const HOLD_DATES: [&str; 9] = [
    "date-of-birth",
    "event-participation",
    "job-title",
    "government-id",
    "health",
    "payment-card-summary",
    "profile",
    "product-usage",
    "billing",
];

/// Categories that a thing has in its own right: a shop's telephone number, the address of a warehouse.
const ALSO_OF_THINGS: [&str; 14] = [
    "email",
    "phone",
    "name",
    "username",
    "date-of-birth",
    "government-id",
    "ip-address",
    "password",
    "secret",
    "postal-address",
    "location",
    "health",
    "subject-identifier",
    "payment-card-number",
];

/// Words of what one person has in a flight or at an event.
const SEATS: [&str; 10] =
    ["seat", "ticket", "eticket", "boarding", "pnr", "locator", "baggage", "bag", "companions", "companion"];

fn by_phrase_of_anybody(
    name: &NameReading,
    category: &str,
    node: &SampleNode,
    around: &Surroundings,
) -> Option<Classification> {
    let phrase = name.category_phrase();
    let is_constant = node.values.mostly(ValueShape::Constant) && around.about != About::Person;
    if is_constant && ["product-usage", "event-participation"].contains(&category) {
        return None;
    }
    // The relation of a link is no relation between people.
    if around.holds_links && name.is("relation") {
        return None;
    }
    let weak = [
        "location",
        "postal-address",
        "secret",
        "photo",
        "billing",
        "device",
        "message-content",
        "product-usage",
    ];
    if !around.has_people && weak.contains(&category) {
        let reason = format!("the name says \"{phrase}\", and nothing says whose");
        let is_kept = ["location", "postal-address", "secret"].contains(&category);
        return is_kept.then(|| Classification::of(category, 0.4, reason));
    }
    let of_person = matches!(name.category_noun(), Some(Noun::Person | Noun::Author));
    let is_thing = matches!(around.about, About::Thing | About::Organisation) && !of_person;
    // `owner/project` is a path, and nobody's name.
    if category == "name" && node.values.kept().any(is_path) {
        return None;
    }
    // The text on a line of an order is the customer's own.
    let is_written = category == "message-content" && around.below_person && around.is_line;
    // A flight is a thing, and the seat is the passenger's.
    let is_seat = category == "event-participation" && around.below_person && name.has_any_word(&SEATS);
    if is_thing && !is_written && !is_seat && !ALSO_OF_THINGS.contains(&category) {
        return None;
    }
    let confidence = if is_thing { 0.45 } else { 0.93 };
    Some(Classification::of(category, confidence, format!("the name says \"{phrase}\"")))
}

fn by_phrase_of_a_person(
    name: &NameReading,
    category: &str,
    node: &SampleNode,
    around: &Surroundings,
) -> Option<Classification> {
    if matches!(name.category_noun(), Some(Noun::Thing | Noun::Organisation)) {
        return None;
    }
    let of_person = matches!(name.category_noun(), Some(Noun::Person | Noun::Author));
    let in_container = around.container.is_some_and(|container| {
        container == category
            || (container == "postal-address" && ["country", "name", "phone"].contains(&category))
    });
    let applies = match around.about {
        _ if of_person || in_container => true,
        About::Person => applies_to_people(category, name, around),
        About::Record => applies_to_records(category, name, around),
        About::Thing | About::Organisation | About::Open => false,
    };
    if !HOLD_DATES.contains(&category) && has_dates(node) {
        return None;
    }
    // Positions in a text, such as those of a mention.
    if category == "event-participation" && is_position(node) {
        return None;
    }
    let is_text = ["support-content", "message-content"].contains(&category);
    let is_count = is_text && node.types.is_within(&[JsonType::Number]);
    let is_constant =
        node.values.mostly(ValueShape::Constant) && (name.is("reason") || category == "product-usage");
    if !applies || is_count || is_constant {
        return None;
    }
    if category == "subject-identifier" && (name.is_any(&["number", "code"]) || name.has_head(Head::Link)) {
        return None;
    }
    // A reference such as `main` names no one.
    if category == "subject-identifier" && around.about == About::Record && is_word(node) {
        return None;
    }
    let is_id = category == "name" && node.values.mostly(ValueShape::OpaqueId);
    let category = if is_id { "subject-identifier" } else { category };
    let whose = if around.about == About::Record { "a record of a person" } else { "a person" };
    let confidence = if around.about == About::Person { 0.85 } else { 0.6 };
    Some(Classification::of(
        category,
        confidence,
        format!("{category} of {whose}: \"{}\"", name.category_phrase()),
    ))
}

/// Names of places that are states of an account as well.
const PLACES_OR_STATES: [&str; 6] = ["state", "region", "district", "county", "destination", "province"];

fn applies_to_people(category: &str, name: &NameReading, around: &Surroundings) -> bool {
    let is_place =
        category != "postal-address" || !name.is_any(&PLACES_OR_STATES) || around.siblings.has_address;
    let is_of_image = around.siblings.has_width && name.is_any(&["height", "weight"]);
    is_place && !is_of_image
}

fn applies_to_records(category: &str, name: &NameReading, around: &Surroundings) -> bool {
    let never = [
        "job-title",
        "photo",
        "company",
        "username",
        "social-profile",
        "name",
        "secret",
        "product-usage",
        "health",
    ];
    match category {
        "language" => !around.siblings.has_text,
        "postal-address" => around.siblings.has_address || !name.is_any(&PLACES_OR_STATES),
        "event-participation" => around.is_event,
        "payment-card-summary" => true,
        other => !never.contains(&other),
    }
}
