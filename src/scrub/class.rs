//! Classes: the distinct sets of data categories that nodes of a body can have.
//!
//! A permit gives one form for each class, so the classes are enumerated when a plan is compiled. Invariant: every
//! class a node can have is in the table, or is covered by a class of the table with a superset of its categories,
//! which is stricter. A permit for the classes of the table therefore covers every node.

use std::collections::{HashMap, HashSet};

use super::record_set::QueryRole;
use super::state::{State, StateId};
use crate::decision::ClassId;
use crate::vocabulary::CategoryId;

/// The greatest number of classes of one plan. A permit holds a `ClassRelease` for each.
const MAX_CLASSES: usize = 2048;
/// The greatest number of conditional fields of one state whose combinations are all enumerated.
const MAX_COMBINED: usize = 8;

/// One of a plan's distinct sets of data categories. The empty set is the class of unclassified nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Class {
    /// Sorted, without duplicates.
    pub categories: Vec<CategoryId>,
}

/// The class of nodes that no field of the mapping selects.
pub const UNCLASSIFIED: ClassId = ClassId(0);

/// A class that is in no permit. Nodes of it are removed.
const UNKNOWN_CLASS: ClassId = ClassId(u16::MAX);

/// The classes of a plan. [`ClassId`]s are positions in the list.
#[derive(Debug)]
pub(super) struct ClassTable {
    classes: Vec<Class>,
    ids: HashMap<Vec<CategoryId>, ClassId>,
    /// The class with all categories of the mapping, for sets that are not in the table.
    fallback: ClassId,
    /// For each state, the class that its unconditional fields give to a node.
    of_states: Vec<Option<ClassId>>,
}

impl ClassTable {
    /// Enumerates the classes that nodes in these states can have.
    pub(super) fn new(states: &[State], roles: &[QueryRole]) -> ClassTable {
        let classes = enumerate_classes(states, roles);
        let ids: HashMap<_, _> =
            (0..).map(ClassId).zip(&classes).map(|(id, class)| (class.categories.clone(), id)).collect();
        let all = union(roles.iter().filter_map(QueryRole::categories));
        let fallback = ids.get(&all).copied().unwrap_or(UNKNOWN_CLASS);
        let of_state = |state: &State| {
            let categories = union_of(roles, state.fields.iter().copied());
            (!state.fields.is_empty()).then(|| ids.get(&categories).copied().unwrap_or(fallback))
        };
        let of_states = states.iter().map(of_state).collect();
        ClassTable { classes, ids, fallback, of_states }
    }

    /// Returns all classes. The first is [`UNCLASSIFIED`].
    #[inline(always)]
    pub(super) fn all(&self) -> &[Class] {
        &self.classes
    }

    /// Returns the class that the unconditional fields of a state give to a node.
    #[inline(always)]
    pub(super) fn of_state(&self, state: StateId) -> Option<ClassId> {
        self.of_states.get(state.0 as usize).copied().flatten()
    }

    /// Returns the class of a node in this state if the queries `evaluated` select the node as well.
    pub(super) fn of_node(
        &self,
        roles: &[QueryRole],
        state: &State,
        evaluated: impl Iterator<Item = u16>,
    ) -> ClassId {
        let certain = state.fields.iter().copied();
        if let Some(class) = self.ids.get(&union_of(roles, certain.clone().chain(evaluated))) {
            return *class;
        }
        let superset = union_of(roles, certain.chain(state.maybe_fields.iter().copied()));
        self.ids.get(&superset).copied().unwrap_or(self.fallback)
    }
}

/// Returns the categories of these queries.
fn union_of(roles: &[QueryRole], queries: impl Iterator<Item = u16>) -> Vec<CategoryId> {
    union(queries.filter_map(|query| roles.get(usize::from(query))?.categories()))
}

/// Returns the union of sets of categories, sorted and without duplicates.
pub(super) fn union<'a>(sets: impl Iterator<Item = &'a [CategoryId]>) -> Vec<CategoryId> {
    let mut all: Vec<CategoryId> = sets.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Enumerates the classes of all states: the categories of a state's unconditional fields, united with those of a
/// combination of its conditional fields. For up to [`MAX_COMBINED`] conditional fields, every combination is
/// enumerated. For more, only single fields, pairs, and all fields together are enumerated; a node with any other
/// combination has the class of all fields together.
fn enumerate_classes(states: &[State], roles: &[QueryRole]) -> Vec<Class> {
    let mut list = ClassList::default();
    let mut seen = HashSet::new();
    for state in states {
        let certain = union_of(roles, state.fields.iter().copied());
        let maybe_fields = state.maybe_fields.iter();
        let mut maybe: Vec<&[CategoryId]> =
            maybe_fields.filter_map(|&query| roles.get(usize::from(query))?.categories()).collect();
        maybe.sort_unstable();
        maybe.dedup();
        if seen.insert((certain.clone(), maybe.clone())) {
            list.add_combinations(&certain, &maybe);
        }
    }
    list.finish(union(roles.iter().filter_map(QueryRole::categories)))
}

/// A list of distinct classes, bounded by [`MAX_CLASSES`].
struct ClassList {
    classes: Vec<Class>,
    known: HashSet<Vec<CategoryId>>,
    /// True if at least one class did not fit.
    full: bool,
}

impl Default for ClassList {
    fn default() -> Self {
        ClassList { classes: vec![Class::default()], known: HashSet::from([Vec::new()]), full: false }
    }
}

impl ClassList {
    /// Adds the classes of one state.
    fn add_combinations(&mut self, certain: &[CategoryId], maybe: &[&[CategoryId]]) {
        let with = |chosen: &[&[CategoryId]]| union(chosen.iter().copied().chain([certain]));
        self.add(with(&[]));
        self.add(with(maybe));
        if maybe.len() <= MAX_COMBINED {
            for choice in 1..1u32 << maybe.len() {
                let bits = maybe.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
                self.add(with(&bits.map(|(_, set)| *set).collect::<Vec<_>>()));
            }
            return;
        }
        maybe.iter().for_each(|one| self.add(with(&[one])));
        for (at, one) in maybe.iter().enumerate() {
            if self.full {
                break;
            }
            maybe.iter().skip(at + 1).for_each(|other| self.add(with(&[one, other])));
        }
    }

    fn add(&mut self, categories: Vec<CategoryId>) {
        // One place is reserved for the class that covers the rest.
        if self.classes.len() + 1 >= MAX_CLASSES {
            self.full |= !self.known.contains(&categories);
        } else if self.known.insert(categories.clone()) {
            self.classes.push(Class { categories });
        }
    }

    /// Ends the list. Adds the class of `all` categories if a class did not fit.
    fn finish(mut self, all: Vec<CategoryId>) -> Vec<Class> {
        if self.full && !self.known.contains(&all) {
            self.classes.push(Class { categories: all });
        }
        self.classes
    }
}
