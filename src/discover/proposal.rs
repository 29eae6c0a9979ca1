//! From classified leaves to routes: the record sets, their data subjects and their fields.

use std::collections::{HashMap, HashSet};

use super::KnownRecords;
use super::effort;
use super::entity::About;
use super::name::{Head, NameReading};
use super::path::{PathStep, Steps, parse, render};
use super::subject::{path_subject, subject};
use super::tree::SampleNode;
use super::types::{JsonType, ProposedField, ProposedRoute};
use super::walk::{Leaf, ProposalWalk, walk};

mod output;

/// Wrappers that are opened to find the records of a document.
const MAX_WRAPPERS: usize = 6;

/// Members of an envelope that hold no records.
const ENVELOPE: [&str; 40] = [
    "meta",
    "metadata",
    "links",
    "_links",
    "link",
    "pagination",
    "paging",
    "page",
    "pageInfo",
    "page_info",
    "response_metadata",
    "search_criteria",
    "jsonapi",
    "included",
    "facets",
    "aggregations",
    "errors",
    "warnings",
    "extensions",
    "schemas",
    "_shards",
    "request",
    "params",
    "query",
    "stats",
    "summary",
    "cursor",
    "cursors",
    "info",
    "status",
    "error",
    "messages",
    "count",
    "item",
    "next",
    "previous",
    "total",
    "hasMore",
    "context",
    "rateLimit",
];

/// Facts about a route beside its answers.
#[derive(Default)]
pub(super) struct RouteHints {
    /// A word that says what the document is about, such as a tag.
    pub(super) title: Option<String>,
    pub(super) path: Option<String>,
    pub(super) methods: Vec<String>,
    /// True if the answers are tables, of which each row is a document.
    pub(super) is_table: bool,
    /// The route as it is configured.
    pub(super) known: Option<KnownRecords>,
    /// If it is given, only what is in it is proposed.
    pub(super) only: Option<SampleNode>,
}

/// Proposes the record sets and fields of one route.
pub(super) fn propose_route(root: &SampleNode, hints: &RouteHints) -> Vec<ProposedRoute> {
    propose_walked(root, &walk(root, hints.title.as_deref()), hints)
}

/// Proposes the record sets and fields of one route, of which the document was walked.
pub(super) fn propose_walked(
    root: &SampleNode,
    walk: &ProposalWalk,
    hints: &RouteHints,
) -> Vec<ProposedRoute> {
    let path = hints.known.as_ref().map(|known| &known.path).or(hints.path.as_ref()).cloned();
    let configured = hints.known.as_ref().map(|known| known.records.as_slice()).unwrap_or_default();
    let known_sets: Option<Vec<Steps>> = configured.iter().map(|(path, _)| parse(path)).collect();
    let sets = known_sets
        .filter(|sets| !sets.is_empty())
        .unwrap_or_else(|| record_sets(root, walk, path.as_deref()));
    let methods = hints.known.as_ref().map_or(&hints.methods, |known| &known.methods);
    let mut index = SetIndex::default();
    for (at, set) in sets.iter().enumerate() {
        index.insert(set, at);
    }
    let mut leaves: Vec<Vec<&Leaf>> = sets.iter().map(|_| Vec::new()).collect();
    let mut outside: Vec<&Leaf> = Vec::new();
    let is_wanted = |leaf: &&Leaf| hints.only.as_ref().is_none_or(|only| only.has_leaf(&leaf.steps));
    for leaf in walk.leaves.iter().filter(is_wanted) {
        match index.innermost(&leaf.steps).and_then(|at| leaves.get_mut(at)) {
            Some(inside) => inside.push(leaf),
            None => outside.push(leaf),
        }
    }
    let lists: HashMap<&Steps, About> = walk.lists.iter().map(|(steps, about)| (steps, *about)).collect();
    let about =
        |set: &Steps| if set.is_empty() { walk.root } else { lists.get(set).copied().unwrap_or(walk.root) };
    let mut outside = Some(outside).filter(|outside| !outside.is_empty());
    let mut in_order: Vec<(&Steps, Vec<&Leaf>)> = sets.iter().zip(leaves).collect();
    // In the order of the document, the outermost first.
    in_order.sort_by_key(|(set, _)| set.len());
    let route = |(set, inside): (&Steps, Vec<&Leaf>)| {
        let configured = configured.iter().find(|(path, _)| parse(path).as_ref() == Some(set));
        let subject = match configured {
            Some((_, subject)) => subject.clone(),
            None => subject(set, &inside, about(set)).or_else(|| path.as_deref().and_then(path_subject)),
        };
        let own = inside.iter().map(|leaf| field('@', leaf.steps.get(set.len()..).unwrap_or_default(), leaf));
        let mut fields = distinct(own);
        fields.extend(distinct(outside.take().iter().flatten().map(|leaf| field('$', &leaf.steps, leaf))));
        ProposedRoute {
            path: path.clone(),
            methods: methods.clone(),
            framing: hints.is_table.then_some("csv"),
            record: render('$', set),
            subject,
            fields: fields.into(),
        }
    };
    in_order.into_iter().map(route).collect()
}

/// Record sets by their paths.
#[derive(Default)]
struct SetIndex<'s> {
    set: Option<usize>,
    below: HashMap<&'s PathStep, SetIndex<'s>>,
}

impl<'s> SetIndex<'s> {
    fn insert(&mut self, steps: &'s [PathStep], set: usize) {
        let node = steps.iter().fold(self, |node, step| node.below.entry(step).or_default());
        node.set.get_or_insert(set);
    }

    /// Returns the innermost set in which a path lies: the one that governs it.
    fn innermost(&self, steps: &[PathStep]) -> Option<usize> {
        let (mut node, mut found) = (self, self.set);
        for step in steps {
            effort::count(1);
            let Some(below) = node.below.get(step) else { break };
            node = below;
            found = node.set.or(found);
        }
        found
    }
}

fn field(root: char, steps: &[PathStep], leaf: &Leaf) -> ProposedField {
    ProposedField {
        path: render(root, steps),
        categories: leaf.classification.categories.clone(),
        confidence: leaf.classification.confidence,
        reason: leaf.classification.reason.clone(),
    }
}

/// Leaves out paths that are there already.
fn distinct(fields: impl Iterator<Item = ProposedField>) -> Vec<ProposedField> {
    let mut seen = HashSet::new();
    fields.filter(|field| seen.insert(field.path.clone())).collect()
}

/// Finds the records of a document: the elements of a list, of the array in a pagination envelope, or the document itself.
/// People in lists inside something that is not about one person are records of their own.
fn record_sets(root: &SampleNode, walk: &ProposalWalk, path: Option<&str>) -> Vec<Steps> {
    let (main, about) = main_records(root, walk);
    let has_subject = || {
        let inside: Vec<&Leaf> = walk.leaves.iter().filter(|leaf| leaf.steps.starts_with(&main)).collect();
        subject(&main, &inside, about).is_some() || path.and_then(path_subject).is_some()
    };
    // A list of people makes a record of their group, which names no single person as its subject.
    let is_about_one = about == About::Person || about == About::Record && has_subject();
    let mut people: Vec<&Steps> = Vec::new();
    let mut index = SetIndex::default();
    for (steps, _) in walk.lists.iter().filter(|(_, about)| *about == About::Person) {
        let is_inside = steps.len() > main.len() && steps.starts_with(&main);
        let is_beside = !main.is_empty() && !steps.starts_with(&main) && steps.len() == 2;
        if index.innermost(steps).is_none() && (is_beside || is_inside && !is_about_one) {
            index.insert(steps, people.len());
            people.push(steps);
        }
    }
    let mut sets: Vec<Steps> = std::iter::once(&main).chain(people).cloned().collect();
    // An envelope without fields of its own is no record.
    if sets.len() > 1 && main.is_empty() && walk.root == About::Open && !has_own_fields(root) {
        sets.remove(0);
    }
    sets
}

/// Returns the path of the records, and what they are about.
fn main_records(root: &SampleNode, walk: &ProposalWalk) -> (Steps, About) {
    let (mut steps, mut node) = (Steps::new(), root);
    let about_list =
        |steps: &Steps| walk.lists.iter().find(|(list, _)| list == steps).map(|(_, about)| *about);
    for _ in 0..MAX_WRAPPERS {
        if node.elements.as_deref().is_some_and(SampleNode::has_members) {
            steps.push(PathStep::Elements);
            let about = about_list(&steps).unwrap_or(About::Open);
            return (steps, about);
        }
        if !node.has_members() || (!steps.is_empty() && has_own_fields(node)) {
            break;
        }
        let Some((name, inner)) = envelope_member(node) else { break };
        steps.push(PathStep::Member(name.into()));
        node = inner;
    }
    let is_object = !steps.is_empty() && node.has_members() && node.elements.is_none();
    if !is_object {
        return (Steps::new(), walk.root);
    }
    let inside =
        walk.leaves.iter().find(|leaf| leaf.steps.len() == steps.len() + 1 && leaf.steps.starts_with(&steps));
    let about = inside.map_or(walk.root, |leaf| leaf.about);
    (steps, about)
}

/// True if an object has more than one scalar member.
fn has_own_fields(node: &SampleNode) -> bool {
    let scalars = node
        .unordered_members()
        .filter(|(name, member)| !member.is_container() && !ENVELOPE.contains(name))
        .count();
    scalars > 1
}

/// Returns the one member that holds records, if the others only describe the envelope.
fn envelope_member(node: &SampleNode) -> Option<(&str, &SampleNode)> {
    let holds_objects = |member: &SampleNode| {
        let elements = member.elements.as_deref();
        member.has_members() || elements.is_some_and(SampleNode::has_members)
    };
    let all = node.members();
    let mut inner = all.iter().filter(|(name, member)| holds_objects(member) && !ENVELOPE.contains(name));
    let (name, member) = inner.next()?;
    let is_list = member.types.contains(JsonType::Array);
    let is_wrapper = !is_list
        && all.iter().all(|(other, member)| {
            other == name || ENVELOPE.contains(other) || member.is_container() && holds_objects(member)
        });
    if inner.next().is_some() || !(is_wrapper || is_list && is_envelope(node, name)) {
        return None;
    }
    Some((name, member))
}

/// True if the scalars beside a list are those of a page: counts, cursors, states.
fn is_envelope(node: &SampleNode, list: &str) -> bool {
    let mut own = 0;
    for (name, member) in node.unordered_members() {
        if name == list
            || ENVELOPE.contains(&name)
            || member.is_container()
            || member.types.contains(JsonType::Boolean)
        {
            continue;
        }
        let reading = NameReading::new(name);
        let is_page = reading.has_head(Head::Count)
            || reading.has_head(Head::State)
            || reading.has_head(Head::Time)
            || [
                "next", "prev", "cursor", "token", "page", "total", "first", "last", "request", "trace",
                "url", "context", "offset", "end", "start", "seite", "etag",
            ]
            .iter()
            .any(|word| reading.has_word(word));
        own += usize::from(!is_page);
    }
    own == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::{Proposal, Samples};

    fn propose(sample: &str) -> Proposal {
        let mut samples = Samples::default();
        samples.add(sample.as_bytes()).unwrap();
        samples.propose()
    }

    #[test]
    fn records_and_their_subjects_are_found() {
        for (sample, expected) in [
            (r#"{"id":7,"first_name":"Ada","last_name":"Example"}"#, vec![("$", Some("@.id"))]),
            (r#"[{"id":7,"first_name":"Ada","last_name":"E"}]"#, vec![("$[*]", Some("@.id"))]),
            (
                r#"{"data":[{"id":7,"first_name":"Ada","last_name":"E"}],"meta":{"page":1}}"#,
                vec![("$.data[*]", Some("@.id"))],
            ),
            (r#"{"customer":{"id":7,"email":"a@b.example"}}"#, vec![("$.customer", Some("@.id"))]),
            (
                r#"{"orders":[{"id":7,"customer_id":8,"total":1,"currency":"EUR"}]}"#,
                vec![("$.orders[*]", Some("@.customer_id"))],
            ),
            // People in something that is not about a person are records of their own.
            (
                r#"{"group":"x","name":"y","members":[{"id":7,"first_name":"Ada","last_name":"E"}]}"#,
                vec![("$", None), ("$.members[*]", Some("@.id"))],
            ),
            (r#"{"sku":"x","price":7}"#, vec![("$", None)]),
        ] {
            let proposal = propose(sample);
            let found: Vec<(&str, Option<&str>)> =
                proposal.routes.iter().map(|route| (&*route.record, route.subject.as_deref())).collect();
            assert_eq!(found, expected, "{sample}");
        }
    }

    #[test]
    fn the_innermost_record_set_governs_a_field() {
        let sets = ["$", "$.a[*]", "$.a[*].b[*]", "$.c"].map(|path| parse(path).unwrap());
        let mut index = SetIndex::default();
        sets.iter().enumerate().skip(1).for_each(|(at, set)| index.insert(set, at));
        let innermost = |index: &SetIndex<'_>, path: &str| index.innermost(&parse(path).unwrap());
        assert_eq!(innermost(&index, "$.x"), None);
        index.insert(&sets[0], 0);
        for (path, expected) in [
            ("$.x", 0),
            ("$.a", 0),
            ("$.a[*].x", 1),
            ("$.a[*].b", 1),
            ("$.a[*].b[*].x.y", 2),
            ("$.c", 3),
            ("$.cc", 0),
        ] {
            assert_eq!(innermost(&index, path), Some(expected), "{path}");
        }
    }
}
