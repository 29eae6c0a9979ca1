//! The unclassified paths of one record set, as a tree of names.
//!
//! An object whose names vary is a map, and its names may be ids or names of people. So a name is shown only if at least half
//! of the objects have it, of which a few were seen; a name that [`crate::discover`] knows as that of a category is shown at
//! once. In an object whose members are alike, which a map is as well, only names of ordinary words are shown
//! ([`PathNode::likeness`]). All others become one step, `*`. Many members that are all objects or arrays are a map at once.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::UnclassifiedPath;
use super::name::looks_like_a_value;
use crate::discover::{is_name_of_category, is_ordinary_name};
use crate::scrub::{UnclassifiedType, UnclassifiedValue};

/// Maximum paths of a route.
pub(super) const MAX_PATHS: usize = 1000;
/// Maximum steps of a path.
const MAX_STEPS: usize = 32;
/// Maximum nodes of a tree.
const MAX_NODES: usize = 4 * MAX_PATHS;
/// Names of one object beyond which it is a map if they vary, or if all its members are objects or arrays.
const MAX_SIBLINGS: usize = 32;
/// Names of one object beyond which it is a map, whatever they are.
const MAX_NAMES: usize = 512;
/// Objects that must have been seen before their names are shown.
const MIN_OBJECTS: u64 = 4;

/// The paths below one root.
#[derive(Debug, Default)]
pub(super) struct PathTree {
    root: PathNode,
    leaves: usize,
    nodes: usize,
}

/// The values at one path, and the paths below it.
#[derive(Debug, Default)]
struct PathNode {
    /// The number of containers and values at the path.
    occurrences: u64,
    /// The values that end here.
    values: Option<LeafValues>,
    names: BTreeMap<Box<str>, PathNode>,
    /// The elements of arrays.
    elements: Option<Box<PathNode>>,
    /// Members whose name is not shown.
    unnamed: Option<Box<PathNode>>,
    /// True if no name of a member is shown any more.
    is_map: bool,
}

/// The values at one path.
#[derive(Clone, Copy, Debug)]
struct LeafValues {
    /// One bit for each type, by the position in [`UnclassifiedType::ALL`].
    types: u8,
    count: u64,
    first: Date,
    last: Date,
}

impl LeafValues {
    fn merge(self, other: LeafValues) -> LeafValues {
        LeafValues {
            types: self.types | other.types,
            count: self.count + other.count,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    fn types(self) -> impl Iterator<Item = UnclassifiedType> {
        UnclassifiedType::ALL.into_iter().filter(move |one| self.types & bit(*one) != 0)
    }
}

fn bit(value_type: UnclassifiedType) -> u8 {
    1 << (value_type as u8)
}

impl PathTree {
    /// Counts a record.
    pub(super) fn begin_record(&mut self) {
        self.root.occurrences += 1;
    }

    /// Returns the number of paths.
    pub(super) fn leaves(&self) -> usize {
        self.leaves
    }

    /// Adds a value. At most `room` further paths can be added. Returns false if the path of the value is not in the tree.
    pub(super) fn add(&mut self, value: &UnclassifiedValue<'_>, today: Date, room: usize) -> bool {
        if value.steps.len() > MAX_STEPS {
            return false;
        }
        let mut node = &mut self.root;
        let mut became_map = false;
        for (at, step) in value.steps.iter().enumerate() {
            let is_new = at >= value.known;
            let is_container = at + 1 < value.steps.len();
            let Some(child) = node.child(step.as_deref(), is_container, &mut became_map, &mut self.nodes)
            else {
                return false;
            };
            child.occurrences += u64::from(is_new);
            node = child;
        }
        let seen = LeafValues { types: bit(value.value_type), count: 1, first: today, last: today };
        let is_added = match node.values {
            Some(known) => {
                node.values = Some(known.merge(seen));
                true
            }
            None if room > 0 || became_map => {
                node.values = Some(seen);
                self.leaves += 1;
                true
            }
            None => false,
        };
        if became_map {
            (self.nodes, self.leaves) = (self.root.nodes(), self.root.leaves());
        }
        is_added
    }

    /// Returns all paths, in their order.
    pub(super) fn paths(&self, record: Option<usize>) -> Vec<UnclassifiedPath> {
        let mut paths = Vec::new();
        let anchor = if record.is_some() { "@" } else { "$" };
        self.root.list(anchor.to_owned(), 0, &mut |path, values: LeafValues| {
            paths.push(UnclassifiedPath {
                record,
                path,
                types: values.types().collect(),
                count: values.count,
                first: values.first,
                last: values.last,
            });
        });
        paths.sort_by(|one, other| one.path.cmp(&other.path));
        paths
    }
}

impl PathNode {
    /// Returns the child at a step. Adds it if there is none, unless the tree has too many nodes. `became_map` becomes true
    /// if the node's names are no longer shown from now on.
    fn child(
        &mut self,
        name: Option<&str>,
        is_container: bool,
        became_map: &mut bool,
        nodes: &mut usize,
    ) -> Option<&mut PathNode> {
        let Some(name) = name else { return add_child(&mut self.elements, nodes) };
        if self.is_map || looks_like_a_value(name) {
            return add_child(&mut self.unnamed, nodes);
        }
        if !self.names.contains_key(name) {
            if self.names.len() >= MAX_NAMES
                || (self.names.len() >= MAX_SIBLINGS && is_container && self.holds_containers())
            {
                *became_map = true;
                self.become_map();
                return add_child(&mut self.unnamed, nodes);
            }
            if *nodes >= MAX_NODES {
                return None;
            }
            *nodes += 1;
        }
        Some(self.names.entry(name.into()).or_default())
    }

    /// True if every named member is a container.
    fn holds_containers(&self) -> bool {
        self.names.values().all(|child| child.values.is_none())
    }

    fn become_map(&mut self) {
        self.is_map = true;
        for (_, child) in std::mem::take(&mut self.names) {
            self.unnamed.get_or_insert_default().merge(&child);
        }
    }

    /// Adds everything of another node.
    fn merge(&mut self, other: &PathNode) {
        self.occurrences += other.occurrences;
        self.values = match (self.values, other.values) {
            (Some(own), Some(others)) => Some(own.merge(others)),
            (own, others) => own.or(others),
        };
        self.is_map |= other.is_map;
        for (name, child) in &other.names {
            self.names.entry(name.clone()).or_default().merge(child);
        }
        for (own, others) in [(&mut self.elements, &other.elements), (&mut self.unnamed, &other.unnamed)] {
            if let Some(others) = others {
                own.get_or_insert_default().merge(others);
            }
        }
        let varies =
            self.names.len() > MAX_NAMES || (self.names.len() > MAX_SIBLINGS && self.holds_containers());
        if varies || self.is_map {
            self.become_map();
        }
    }

    fn children(&self) -> impl Iterator<Item = &PathNode> {
        self.names.values().chain(self.elements.as_deref()).chain(self.unnamed.as_deref())
    }

    /// Returns the number of nodes below this one.
    fn nodes(&self) -> usize {
        self.children().map(|child| 1 + child.nodes()).sum()
    }

    /// Returns the number of paths here and below.
    fn leaves(&self) -> usize {
        usize::from(self.values.is_some()) + self.children().map(PathNode::leaves).sum::<usize>()
    }

    /// Calls `list` for each path here and below. `depth` is the number of steps to this node.
    fn list(&self, path: String, depth: usize, list: &mut impl FnMut(String, LeafValues)) {
        if let Some(values) = self.values {
            list(path.clone(), values);
        }
        if let Some(elements) = &self.elements {
            elements.list(format!("{path}[*]"), depth + 1, list);
        }
        let mut unnamed = PathNode::default();
        self.unnamed.iter().for_each(|child| unnamed.merge(child));
        let likeness = self.likeness(depth);
        for (name, child) in &self.names {
            if self.shows(name, child, likeness) {
                child.list(format!("{path}{}", step(name)), depth + 1, list);
            } else {
                unnamed.merge(child);
            }
        }
        if unnamed.values.is_some() || unnamed.children().next().is_some() {
            unnamed.list(format!("{path}.*"), depth + 1, list);
        }
    }

    /// True if the name of this child is shown.
    fn shows(&self, name: &str, child: &PathNode, likeness: Likeness) -> bool {
        let is_common = |child: &PathNode| child.occurrences * 2 >= self.occurrences;
        let is_small = self.names.len() <= MAX_SIBLINGS;
        let common = || self.names.values().filter(|child| is_common(child)).count();
        let is_same_object = self.occurrences >= MIN_OBJECTS && (is_small || common() * 2 > self.names.len());
        let is_fixed = is_same_object && is_common(child);
        let is_of_category = is_small && is_name_of_category(name);
        if likeness == Likeness::None {
            return is_fixed || is_of_category;
        }
        // Somebody can have the name of an ordinary word.
        self.is_mostly_ordinary()
            && (is_of_category || (likeness == Likeness::Containers && is_fixed && is_ordinary_name(name)))
    }

    /// Compares the named members with each other.
    fn likeness(&self, depth: usize) -> Likeness {
        const SCALARS: [UnclassifiedType; 3] =
            [UnclassifiedType::String, UnclassifiedType::Number, UnclassifiedType::Boolean];
        let types = self.names.values().fold(0, |all, child| all | child.types());
        // Some programs write an empty map as an empty array.
        let containers = bit(UnclassifiedType::Object) | bit(UnclassifiedType::Array);
        if types.count_ones() > 1 && types != containers {
            return Likeness::None;
        }
        if types == 0 || SCALARS.iter().any(|scalar| types == bit(*scalar)) {
            // The members of a record itself are often texts alone.
            return if depth == 0 { Likeness::None } else { Likeness::Scalars };
        }
        let is_alike = types == bit(UnclassifiedType::Array) || self.has_similar_objects(depth);
        if self.names.len() > 1 && is_alike { Likeness::Containers } else { Likeness::None }
    }

    /// Returns the types of the values at the path but null, one bit for each. Values below it make it an object or an array.
    fn types(&self) -> u8 {
        let own = self.values.map_or(0, |values| values.types) & !bit(UnclassifiedType::Null);
        let is_object = self.unnamed.is_some() || !self.names.is_empty();
        let object = if is_object { bit(UnclassifiedType::Object) } else { 0 };
        let array = if self.elements.is_some() { bit(UnclassifiedType::Array) } else { 0 };
        own | object | array
    }

    /// True if at least half of the members of each object are those of the object that has most. Maps are similar to all, and
    /// so are arrays, which have no members.
    fn has_similar_objects(&self, depth: usize) -> bool {
        let is_map =
            |child: &PathNode| !child.is_mostly_ordinary() && child.likeness(depth + 1) != Likeness::None;
        let objects: Vec<&PathNode> = self.names.values().filter(|child| !is_map(child)).collect();
        let Some(largest) = objects.iter().max_by_key(|child| child.names.len()) else { return true };
        let shared =
            |child: &PathNode| child.names.keys().filter(|name| largest.names.contains_key(*name)).count();
        objects.iter().all(|child| shared(child) * 2 >= child.names.len())
    }

    /// True if at least half of the names are ordinary words.
    fn is_mostly_ordinary(&self) -> bool {
        let ordinary = self.names.keys().filter(|name| is_ordinary_name(name)).count();
        ordinary * 2 >= self.names.len()
    }
}

/// Likeness of the named members of an object, as the members of a map have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    None,
    /// All are scalars of one type.
    Scalars,
    /// All are arrays or objects, and the objects have mostly the same members.
    Containers,
}

/// Returns a child, which is added if there is none, unless the tree has too many nodes.
fn add_child<'n>(child: &'n mut Option<Box<PathNode>>, nodes: &mut usize) -> Option<&'n mut PathNode> {
    if child.is_none() {
        if *nodes >= MAX_NODES {
            return None;
        }
        *nodes += 1;
    }
    Some(child.get_or_insert_default())
}

/// Returns the step to a member, as RFC 9535 writes it.
fn step(name: &str) -> String {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let is_short = name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit());
    // Names that are shown have neither quotes nor backslashes.
    if is_short { format!(".{name}") } else { format!("['{name}']") }
}
