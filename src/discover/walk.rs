//! Walks the structure of a document, and classifies each leaf in its surroundings.

use std::collections::HashSet;

use super::classify::{Classification, NON_PERSONAL, Surroundings, classify, leads_elsewhere, looks_like_id};
use super::effort;
use super::entity::{self, About, Siblings};
use super::name::{NameReading, Noun, PhraseScope};
use super::path::{PathStep, Steps};
use super::tree::{Map, SampleNode};
use super::types::JsonType;
use super::value::ValueShape;

/// Maximum depth of a document.
const MAX_DEPTH: usize = 128;
/// Shortest id that is sought in links.
const MIN_ID: usize = 3;
/// Confidence from which on an id is sought in links.
const MIN_ID_CONFIDENCE: f64 = 0.6;

/// Confidence of a reference whose value names a person.
const REFERENCE_CONFIDENCE: f64 = 0.9;
/// Maximum number of fields of one document that are repeated: as many as it has, within these bounds.
const REPEATED: std::ops::RangeInclusive<usize> = 150..=1000;
/// Number of fields that are looked at for each one that can be repeated.
const LOOKS_PER_REPEATED: usize = 4;

/// A classified leaf.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) steps: Steps,
    pub(super) reading: NameReading,
    pub(super) classification: Classification,
    /// The entity that the object around it is about.
    pub(super) about: About,
    /// True if a step above names a person whom the record is about.
    pub(super) names_person: bool,
    /// True if it has no value but null and empty ones.
    pub(super) is_empty: bool,
    /// True if it is a map, whose names are classified.
    pub(super) is_container: bool,
}

/// The classified leaves of a document, and what its objects are about.
pub(super) struct ProposalWalk {
    pub(super) leaves: Vec<Leaf>,
    /// The arrays whose elements are objects, with what these are about.
    pub(super) lists: Vec<(Steps, About)>,
    pub(super) root: About,
}

/// Classifies all leaves of a document. `title` is a word that says what the root is about.
pub(super) fn walk(root: &SampleNode, title: Option<&str>) -> ProposalWalk {
    let title = title.map(NameReading::new);
    let has_people = entity::has_people(root, title.as_ref());
    // Ids are sought in links, so the first pass only finds the ids.
    let first = Walker::run(root, title.as_ref(), has_people, &HashSet::new());
    let ids = sought_ids(root, &first);
    // Without ids the second pass would find the same.
    if ids.is_empty() { first } else { Walker::run(root, title.as_ref(), has_people, &ids) }
}

/// Returns the values of the ids and user names of people that are sought in links and texts.
fn sought_ids(root: &SampleNode, walk: &ProposalWalk) -> HashSet<String> {
    let mut ids = HashSet::new();
    for leaf in &walk.leaves {
        let is_id = leaf
            .classification
            .categories
            .iter()
            .any(|name| name == "subject-identifier" || name == "username");
        if is_id && leaf.classification.confidence >= MIN_ID_CONFIDENCE {
            let node = root.at(&leaf.steps);
            let values = node.into_iter().flat_map(|node| node.values.kept());
            let is_username = leaf.classification.categories.iter().any(|name| name == "username");
            let is_sought = |value: &&str| {
                value.len() >= MIN_ID && !value.contains(['/', ' ']) && (is_username || looks_like_id(value))
            };
            ids.extend(values.filter(is_sought).map(str::to_owned));
        }
    }
    ids
}

struct Walker<'w> {
    ids: &'w HashSet<String>,
    steps: Steps,
    found: ProposalWalk,
    /// For each node from the root to the present one, the number of leaves that were found before it.
    found_before: Vec<usize>,
    repeats: Vec<Repeat>,
}

/// A node at which the structure of an object above begins again.
struct Repeat {
    steps: Steps,
    /// The depth of the object above.
    depth: usize,
    /// The place of its first leaf. Its other leaves follow one after the other.
    first_leaf: usize,
}

impl Walker<'_> {
    fn run(
        root: &SampleNode,
        title: Option<&NameReading>,
        has_people: bool,
        ids: &HashSet<String>,
    ) -> ProposalWalk {
        let found = ProposalWalk { leaves: Vec::new(), lists: Vec::new(), root: About::Open };
        let mut walker =
            Walker { ids, steps: Vec::new(), found, found_before: Vec::new(), repeats: Vec::new() };
        let around = Surroundings {
            about: About::Open,
            has_people,
            below_person: false,
            container: None,
            is_event: false,
            is_line: false,
            is_field: false,
            holds_links: false,
            leads_elsewhere: false,
            siblings: Siblings::default(),
        };
        walker.found.root = enter(root, title, &around).about;
        let reading = title.cloned().unwrap_or_else(|| NameReading::new(""));
        walker.node(root, &reading, &around, false);
        walker.repeat();
        walker.found
    }

    /// Adds the fields of an object to each place below it where its structure begins again: personal ones with `..`, so that
    /// they hold at every depth, others for one level, because a path with `..` would release whatever has such a name.
    /// An object of which not all fields fit is left out.
    fn repeat(&mut self) {
        let mut added: Vec<Leaf> = Vec::new();
        let limit = self.found.leaves.len().clamp(*REPEATED.start(), *REPEATED.end());
        let mut looks = limit * LOOKS_PER_REPEATED;
        for Repeat { steps, depth, first_leaf } in &self.repeats {
            let room = limit - added.len();
            if room == 0 || looks == 0 {
                break;
            }
            let above = steps.get(..*depth).unwrap_or_default();
            let from_there = self.found.leaves.get(*first_leaf..).unwrap_or_default().iter();
            let inside = from_there.take_while(|leaf| {
                effort::count(1);
                leaf.steps.starts_with(above)
            });
            let fields: Vec<&Leaf> =
                inside.filter(|leaf| leaf.steps.len() > *depth).take(room.saturating_add(1)).collect();
            looks = looks.saturating_sub(fields.len().max(1));
            if fields.len() > room {
                continue;
            }
            for leaf in fields {
                let below = leaf.steps.get(*depth..).unwrap_or_default();
                let descend = (!leaf.classification.is_non_personal()).then_some(PathStep::Descend);
                let steps = steps.iter().cloned().chain(descend).chain(below.iter().cloned()).collect();
                added.push(Leaf { steps, ..leaf.clone() });
            }
        }
        self.found.leaves.extend(added);
    }

    fn node(&mut self, node: &SampleNode, name: &NameReading, around: &Surroundings, names_person: bool) {
        if self.steps.len() > MAX_DEPTH {
            return;
        }
        effort::count(1);
        self.found_before.truncate(self.steps.len());
        self.found_before.push(self.found.leaves.len());
        // Of a document of which nothing was seen nothing is proposed.
        let is_seen = !self.steps.is_empty() || !node.types.is_empty();
        let holds_values = is_seen && node.has_scalars() && (!node.is_container() || !node.types.is_empty());
        let is_empty_member = node.has_empty && !self.steps.is_empty();
        if holds_values || is_empty_member || !node.schema.categories.is_empty() {
            self.leaf(node, name, around, names_person);
        }
        if let Some(levels) = node.schema.repeats {
            let depth = self.steps.len().saturating_sub(levels);
            let first_leaf = self.found_before.get(depth).copied().unwrap_or_default();
            self.repeats.push(Repeat { steps: self.steps.clone(), depth, first_leaf });
        }
        if !node.is_container() {
            return;
        }
        let inside = enter(node, Some(name), around);
        let is_subject = matches!(name.ends_in_noun(), Some(Noun::Person));
        let names_person = names_person || (is_subject && inside.about == About::Person);
        for (member, below) in node.members() {
            self.steps.push(PathStep::Member(member.into()));
            self.node(below, &NameReading::new(member), &inside, names_person);
            self.steps.pop();
        }
        if let Some(elements) = node.elements.as_deref() {
            self.steps.push(PathStep::Elements);
            // Elements have the name of their array.
            let about = enter(elements, Some(name), around).about;
            if elements.has_members() {
                self.found.lists.push((self.steps.clone(), about));
            }
            self.node(elements, name, around, names_person);
            self.steps.pop();
        }
        if let Some(map) = &node.map {
            self.map(map, name, around, names_person);
        }
    }

    fn map(&mut self, map: &Map, name: &NameReading, around: &Surroundings, names_person: bool) {
        let inside = enter(&map.values, Some(name), around);
        if let Some(classification) = classify_keys(map, &inside) {
            self.push(name, classification, &inside, names_person, false);
            if let Some(leaf) = self.found.leaves.last_mut() {
                leaf.is_container = true;
            }
        }
        self.steps.push(PathStep::Values);
        self.node(&map.values, name, around, names_person);
        self.steps.pop();
    }

    fn leaf(&mut self, node: &SampleNode, name: &NameReading, around: &Surroundings, names_person: bool) {
        let mut around = around.clone();
        if node.has_empty {
            around.container = container_category(name, node, About::Open, &around).or(around.container);
        }
        let around = &around;
        let classification = classify(name, node, around, self.ids);
        // A category holds for everything below, so what is not described must not be released.
        if node.schema.is_open && classification.is_non_personal() {
            return;
        }
        self.push(name, classification, around, names_person, node.values.is_empty());
    }

    fn push(
        &mut self,
        name: &NameReading,
        classification: Classification,
        around: &Surroundings,
        names_person: bool,
        is_empty: bool,
    ) {
        let is_reference = name.is("reference") && classification.confidence >= REFERENCE_CONFIDENCE;
        let names_person = names_person || is_reference || matches!(name.noun(), Some((Noun::Person, _)));
        let leaf = Leaf {
            steps: self.steps.clone(),
            reading: name.clone(),
            classification,
            about: around.about,
            names_person,
            is_empty,
            is_container: false,
        };
        self.found.leaves.push(leaf);
    }
}

impl Classification {
    fn is_non_personal(&self) -> bool {
        self.categories.iter().all(|category| category == NON_PERSONAL)
    }
}

/// Classifies the names of a map, if they are personal.
fn classify_keys(map: &Map, inside: &Surroundings) -> Option<Classification> {
    let of = |category: &str, confidence, reason: &str| Classification {
        categories: vec![category.to_owned()],
        confidence,
        reason: reason.to_owned(),
    };
    if map.keys.any(ValueShape::Email) {
        return Some(of("email", 0.95, "names of the map are e-mail addresses"));
    }
    if map.keys.any(ValueShape::IpAddress) {
        return Some(of("ip-address", 0.9, "names of the map are IP addresses"));
    }
    if map.keys.mostly(ValueShape::Phone) {
        return Some(of("phone", 0.85, "names of the map are telephone numbers"));
    }
    let is_date = map.keys.mostly(ValueShape::Date) || map.keys.mostly(ValueShape::BirthDate);
    let values_are_objects = map.values.types.contains(JsonType::Object);
    if is_date || !values_are_objects || !inside.about.is_personal() {
        return None;
    }
    let confidence = if map.keys.is_empty() { 0.4 } else { 0.7 };
    Some(of("subject-identifier", confidence, "names of the map are ids of people or of records about one"))
}

/// Returns the surroundings of what a container holds.
fn enter(node: &SampleNode, name: Option<&NameReading>, around: &Surroundings) -> Surroundings {
    let is_choice = || around.container.is_none() && name.is_some_and(|name| entity::is_choice(node, name));
    let own = entity::own_entity(node, name).or_else(|| is_choice().then_some(About::Thing));
    let membership = name.and_then(|name| name.category).map(|found| found.category);
    let is_membership = around.about == About::Person && matches!(membership, Some("job-title" | "company"));
    let about = match own {
        Some(About::Thing | About::Organisation) if is_membership => About::Person,
        Some(About::Organisation) if around.about == About::Person => About::Person,
        Some(about) => about,
        None if around.about != About::Open => around.about,
        None if around.has_people && node.has_members() => entity::by_references(node),
        None => About::Open,
    };
    let container = name.and_then(|name| container_category(name, node, about, around));
    let holds_links = name.is_some_and(|name| name.is_any(&["links", "link"]));
    let is_event = name.is_some_and(|name| EVENTS.iter().any(|word| name.has_word(word)))
        || node
            .schema
            .title
            .as_deref()
            .is_some_and(|title| EVENTS.iter().any(|word| NameReading::new(title).has_word(word)))
        || entity::type_words(node).any(|word| EVENTS.iter().any(|event| word.has_word(event)))
        || node.unordered_members().any(|(name, _)| is_event_name(name));
    Surroundings {
        about,
        has_people: around.has_people,
        below_person: around.below_person || about.is_personal(),
        container: container.or(around.container.filter(|_| own.is_none() || is_membership)),
        is_event: is_event || (around.is_event && own != Some(About::Thing)),
        is_line: name.is_some_and(|name| {
            name.has_any_word(&["line", "lines", "item", "items"])
                || (around.is_line && name.ends_in_noun() == Some(Noun::Context))
        }),
        is_field: node.member("value").is_some()
            && name.is_some_and(|name| name.has_any_word(&["fields", "attributes", "variables"])),
        holds_links,
        leads_elsewhere: name.is_some_and(|name| around.holds_links && leads_elsewhere(name))
            || holds_links && has_relation_elsewhere(node),
        siblings: Siblings::of(node),
    }
}

/// True if a member of a link says that it leads elsewhere: `{"rel": "next", "href": …}`.
fn has_relation_elsewhere(node: &SampleNode) -> bool {
    let relation = ["rel", "relation"].into_iter().find_map(|name| node.member(name));
    relation.is_some_and(|relation| {
        !relation.values.is_empty()
            && relation.values.kept().all(|relation| leads_elsewhere(&NameReading::new(relation)))
    })
}

/// Nouns of events in a person's life.
const EVENTS: [&str; 45] = [
    "ride",
    "rides",
    "corrida",
    "corridas",
    "viaje",
    "viajes",
    "viaggio",
    "viaggi",
    "viagem",
    "viagens",
    "fahrt",
    "fahrten",
    "trajet",
    "trajets",
    "rdv",
    "appuntamento",
    "consulta",
    "wizyta",
    "cita",
    "citas",
    "activity",
    "activities",
    "termin",
    "termine",
    "afspraak",
    "appointment",
    "appointments",
    "booking",
    "bookings",
    "reservation",
    "reservations",
    "encounter",
    "encounters",
    "visit",
    "visits",
    "trip",
    "trips",
    "stay",
    "journey",
    "absence",
    "absences",
    "meeting",
    "meetings",
    "shift",
    "shifts",
];

/// Names of the objects that hold when an event begins and ends.
const BOUNDS_OF_EVENTS: [&str; 10] =
    ["start", "end", "begin", "beginn", "ende", "debut", "fin", "inicio", "inizio", "fine"];

/// True if a name of a member is one that only events of people have.
fn is_event_name(name: &str) -> bool {
    let reading = NameReading::new(name);
    reading.category_is_head()
        && reading.category.is_some_and(|found| {
            found.category == "event-participation" && found.scope == PhraseScope::OfAnybody
        })
}

/// Lists whose elements have a name and a value that a person can have written.
const OPEN_FIELDS: [&str; 16] = [
    "properties",
    "customfields",
    "customattributes",
    "metadata",
    "metafields",
    "noteattributes",
    "attributes",
    "additionalinformation",
    "personalization",
    "personalisation",
    "answers",
    "responses",
    "formfields",
    "questions",
    "inputs",
    "variables",
];

/// Returns the category of everything in a container with this name, such as `emails` or `billing_address`.
fn container_category(
    name: &NameReading,
    node: &SampleNode,
    about: About,
    around: &Surroundings,
) -> Option<&'static str> {
    let elements = node.elements.as_deref();
    let is_pair = |node: &SampleNode| {
        node.member("value").is_some()
            && ["name", "key", "label"].iter().any(|name| node.member(name).is_some())
    };
    if around.below_person
        && name.is_any(&OPEN_FIELDS)
        && (is_pair(node) || elements.is_some_and(is_pair) || (node.has_empty && !node.is_container()))
    {
        return Some("support-content");
    }
    if around.about.is_personal()
        && name.is_amount()
        && (node.member("value").is_some() || node.member("amount").is_some())
    {
        return Some("billing");
    }
    let is_event = around.is_event && around.about.is_personal();
    if is_event && node.has_members() && name.is_any(&BOUNDS_OF_EVENTS) {
        return Some("event-participation");
    }
    let found = name.category.filter(|_| name.category_is_head() && !name.is_time_or_state())?;
    // The preview of a page is called a card, too.
    if found.category == "payment-card-summary" && node.member("title").is_some() {
        return None;
    }
    // Containers with these names hold fields of several categories.
    let open = [
        "profile",
        "preferences",
        "subject-identifier",
        "message-content",
        "event-participation",
        "device",
        "username",
        "product-usage",
        "referrer",
        "secret",
    ];
    let is_open = open.contains(&found.category) && found.scope == PhraseScope::OfAPerson;
    // A record with a number in its name, such as a file of a case, holds more than its number.
    if found.category == "subject-identifier" && about == About::Record && node.has_members() {
        return None;
    }
    let is_thing = matches!(about, About::Thing)
        && found.scope == PhraseScope::OfAnybody
        && !["email", "phone", "name"].contains(&found.category);
    if is_thing {
        return None;
    }
    let applies = match found.scope {
        PhraseScope::OfAnybody => around.has_people,
        PhraseScope::OfAPerson => {
            around.about.is_personal() || (about.is_personal() && found.category == "postal-address")
        }
    };
    (applies && !is_open).then_some(found.category).filter(|category| *category != NON_PERSONAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::observe;
    use crate::discover::path::render;

    fn tree(sample: &str) -> SampleNode {
        let mut node = observe(sample.as_bytes()).unwrap();
        node.collapse_maps();
        node
    }

    fn paths(walk: &ProposalWalk) -> Vec<String> {
        walk.leaves.iter().map(|leaf| render('$', &leaf.steps)).collect()
    }

    #[test]
    fn scalars_empty_containers_and_maps_with_personal_names_are_leaves() {
        let found =
            walk(&tree(r#"{"a":{"b":1,"c":[]},"d":[{"e":null},[2]],"f":{"ada@example.org":{"g":1}}}"#), None);
        assert_eq!(paths(&found), ["$.a.b", "$.a.c", "$.d[*].e", "$.d[*][*]", "$.f", "$.f.*.g"]);
        let of_map = found.leaves.iter().find(|leaf| leaf.is_container).unwrap();
        assert_eq!(of_map.classification.categories, ["email"]);
        assert_eq!(found.lists.len(), 1);
    }

    #[test]
    fn the_title_says_what_the_root_is_about() {
        let root = tree(r#"{"x":"Qux"}"#);
        assert_eq!(walk(&root, Some("customers")).root, About::Person);
        assert_eq!(walk(&root, Some("products")).root, About::Thing);
        assert_eq!(walk(&root, None).root, About::Open);
    }

    #[test]
    fn the_fields_of_an_object_are_repeated_where_its_structure_begins_again() {
        let mut root = tree(r#"{"before":1,"person":{"name":"Ada","boss":{},"team":{"lead":{}}},"after":2}"#);
        let person = root.member_mut("person");
        person.member_mut("boss").schema.repeats = Some(1);
        person.member_mut("team").member_mut("lead").schema.repeats = Some(2);
        let all = paths(&walk(&root, None));
        let repeated: Vec<&str> = all.iter().filter(|path| path.contains("..")).map(String::as_str).collect();
        let below = ["name", "boss", "team.lead"];
        let expected: Vec<String> = ["boss", "team.lead"]
            .iter()
            .flat_map(|at| below.map(|path| format!("$.person.{at}..{path}")))
            .collect();
        assert_eq!(repeated, expected);
    }

    #[test]
    fn the_dictionary_knows_the_events() {
        // A title of unknown words says nothing, so that bodies under such titles are walked once.
        for event in EVENTS {
            assert!(crate::discover::name::is_known(event), "{event}");
        }
    }

    #[test]
    fn repeated_fields_are_bounded() {
        let repeated = |fields: usize| {
            let mut root = tree(r#"{"person":{}}"#);
            let person = root.member_mut("person");
            for number in 0..fields {
                person.member_mut(&format!("email{number}")).types.insert(JsonType::String);
            }
            for number in 0..300 {
                let boss = person.member_mut(&format!("boss{number}"));
                boss.schema.repeats = Some(1);
                boss.types.insert(JsonType::Object);
            }
            paths(&walk(&root, None)).iter().filter(|path| path.contains("..")).count()
        };
        // Three fields are repeated as long as all three fit, and 1001 never.
        assert_eq!((repeated(3), repeated(1001)), (150, 0));
        assert_eq!(repeated(149), 149, "a second repetition would be cut");
    }

    #[test]
    fn fields_that_are_not_personal_are_repeated_for_one_level() {
        let mut root = tree(r#"{"product":{"sku":"x","email":"ada@example.org"}}"#);
        let part = root.member_mut("product").member_mut("part");
        part.schema.repeats = Some(1);
        part.types.insert(JsonType::Object);
        let all = paths(&walk(&root, None));
        assert!(all.iter().any(|path| path == "$.product.part..email"), "{all:?}");
        assert!(all.iter().any(|path| path == "$.product.part.sku"), "{all:?}");
        assert!(!all.iter().any(|path| path.ends_with("..sku")), "{all:?}");
    }

    #[test]
    fn a_walk_ends_at_the_greatest_depth() {
        let mut root = SampleNode::default();
        let mut node = &mut root;
        for _ in 0..2 * MAX_DEPTH {
            node.types.insert(JsonType::Object);
            node = node.member_mut("a");
        }
        node.member_mut("email").types.insert(JsonType::String);
        assert!(walk(&root, None).leaves.is_empty());
    }
}
