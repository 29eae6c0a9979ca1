//! Finds the data subject of a record: the path of the id of the person whom the record is about.

use super::entity::About;
use super::name::{Head, NameReading, Noun};
use super::path::{PathStep, Steps, render};
use super::walk::Leaf;

/// Words of people whom a record is about, rather than of people who handle it.
const PARTIES: [&str; 24] = [
    "customer",
    "patient",
    "client",
    "guest",
    "student",
    "member",
    "buyer",
    "payer",
    "employee",
    "subscriber",
    "applicant",
    "requester",
    "contact",
    "person",
    "athlete",
    "holder",
    "passenger",
    "subject",
    "kunde",
    "cliente",
    "klant",
    "tomador",
    "beneficiary",
    "recipient",
];
/// Names of ids.
const IDS: [&str; 9] = ["id", "uuid", "sub", "guid", "sid", "ref", "reference", "value", "identifier"];

/// Returns the path of the data subject's id in a record, or of an e-mail address if there is no id.
pub(super) fn subject(set: &Steps, leaves: &[&Leaf], about: About) -> Option<String> {
    let below = |leaf: &Leaf| leaf.steps.get(set.len()..).unwrap_or_default().to_vec();
    let single: Vec<(&Leaf, Steps)> = leaves
        .iter()
        .map(|leaf| (*leaf, below(leaf)))
        .filter(|(_, steps)| steps.iter().all(|step| matches!(step, PathStep::Member(_))))
        .filter(|(leaf, _)| !leaf.is_container)
        .collect();
    let by_id = single.iter().filter_map(|(leaf, steps)| Some((rank(leaf, steps, about)?, steps)));
    let by_email = || {
        let emails = single.iter().filter(|(leaf, _)| is(leaf, "email") && about.is_personal());
        emails.min_by_key(|(leaf, steps)| (leaf.is_empty, steps.len())).map(|(_, steps)| steps)
    };
    let best = by_id.min_by_key(|(rank, _)| *rank).map(|(_, steps)| steps).or_else(by_email);
    best.map(|steps| render('@', steps))
}

fn is(leaf: &Leaf, category: &str) -> bool {
    leaf.classification.categories.iter().any(|name| name == category)
}

/// Returns the rank of a leaf as the subject's id. The least rank is the best.
fn rank(leaf: &Leaf, steps: &[PathStep], about: About) -> Option<(usize, usize)> {
    if !is(leaf, "subject-identifier") || leaf.reading.has_head(Head::Link) || leaf.reading.is_plural() {
        return None;
    }
    let is_id = leaf.reading.is_any(&IDS);
    let readings = steps.iter().filter_map(|step| match step {
        PathStep::Member(name) => Some(NameReading::new(name)),
        PathStep::Elements | PathStep::Values | PathStep::Descend => None,
    });
    let is_party = readings.into_iter().any(|reading| PARTIES.iter().any(|word| reading.has_word(word)));
    let is_record = matches!(leaf.reading.noun(), Some((Noun::Record | Noun::Thing, _)));
    let base = match about {
        About::Person if steps.len() == 1 && is_id => 0,
        About::Person if steps.len() == 1 && !is_record => 10,
        About::Person if is_id && !is_record => 20,
        _ if !leaf.names_person || is_record => return None,
        _ if is_party => 0,
        _ => 10,
    };
    // A field without a value tells less, whatever its name is.
    let penalty = if leaf.is_empty && about != About::Person { 5 } else { 0 };
    Some((base + penalty, steps.len()))
}

/// Returns the path parameter that names a person: `/customers/{id}` or `{customer_id}`.
pub(super) fn path_subject(path: &str) -> Option<String> {
    let noun = |text: &str| NameReading::new(text).noun().map(|(noun, _)| noun);
    let mut before = "";
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if let Some(parameter) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let of_collection =
                noun(before) == Some(Noun::Person) && parameter.to_ascii_lowercase().ends_with("id");
            if noun(parameter) == Some(Noun::Person) || of_collection {
                return Some(segment.to_owned());
            }
        }
        before = segment;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_names_a_person_by_itself_or_by_its_collection() {
        for (path, expected) in [
            ("/customers/{id}", Some("{id}")),
            ("/v1/orders/{order_id}/buyers/{buyer_id}", Some("{buyer_id}")),
            ("/products/{id}", None),
            ("/customers", None),
        ] {
            assert_eq!(path_subject(path).as_deref(), expected, "{path}");
        }
    }
}
