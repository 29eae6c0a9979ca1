//! The classes of the nodes at a path, without a body: a path is followed step by step, as a schema describes it.
//!
//! A path can lead to nodes in several states, because a position or an unknown name leaves open which states they are in.
//! All of them count, and so does a node that a condition selects and one that it does not select.

use std::collections::BTreeSet;

use super::class::UNCLASSIFIED;
use super::forms::{ValueKind, is_coarse_address_part};
use super::mapping::RemovedAs;
use super::plan::Plan;
use super::record_set::QueryRole;
use super::state::{RecordStart, StateId};
use crate::decision::ClassId;

/// The record that contains a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainingRecord {
    /// None.
    Outside,
    /// A record of the set with this number.
    Of(usize),
    /// It depends on a condition.
    Unknown,
}

/// A class and a record that a node at a path can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PossibleNode {
    /// The class.
    pub class: ClassId,
    /// The innermost record that contains the node; the node itself, if it is a record.
    pub record: ContainingRecord,
    state: u32,
}

/// A path that is followed in a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathCursor(BTreeSet<PossibleNode>);

impl PathCursor {
    /// Everything that a node at the path can be.
    pub fn nodes(&self) -> impl Iterator<Item = &PossibleNode> {
        self.0.iter()
    }
}

impl Plan {
    /// Returns the path of the document itself.
    pub fn document_path(&self) -> PathCursor {
        let outer = PossibleNode { class: UNCLASSIFIED, record: ContainingRecord::Outside, state: 0 };
        PathCursor(self.nodes_in(self.automaton.root, outer).collect())
    }

    /// Returns the path of a member.
    pub fn member_path(&self, path: &PathCursor, name: &str) -> PathCursor {
        self.follow(path, |plan, state| BTreeSet::from([plan.automaton.named_member(state, name)]))
    }

    /// Returns the path of a member whose name is unknown.
    pub fn any_member_path(&self, path: &PathCursor) -> PathCursor {
        self.follow(path, |plan, state| plan.automaton.members(state).collect())
    }

    /// Returns the path of an element.
    pub fn element_path(&self, path: &PathCursor) -> PathCursor {
        self.follow(path, |plan, state| plan.automaton.elements(state).collect())
    }

    /// True if containers at the path stay even if they are empty.
    pub fn is_structure(&self, path: &PathCursor) -> bool {
        let is_kept = |node: &PossibleNode| {
            let state = self.automaton.state(StateId(node.state));
            state.skeleton || state.start != RecordStart::None
        };
        path.0.iter().all(is_kept)
    }

    /// True if a path of the mapping continues below the path.
    pub fn continues_below(&self, path: &PathCursor) -> bool {
        path.0.iter().any(|node| self.automaton.state(StateId(node.state)).relevant_below)
    }

    /// True if a member with this name is a part of an address that the generalised form of the address does not keep.
    pub fn is_fine_address_part(&self, path: &PathCursor, name: &str) -> bool {
        let is_part = |node: &PossibleNode| {
            self.state_class(StateId(node.state)).is_none()
                && self.value_context(node.class, None).kind == ValueKind::Address
        };
        path.0.iter().all(is_part) && !is_coarse_address_part(name.as_bytes())
    }

    /// Returns the replacement of removed values.
    pub fn removed_as(&self) -> RemovedAs {
        self.options.removed_as
    }

    fn follow(&self, path: &PathCursor, step: impl Fn(&Plan, StateId) -> BTreeSet<StateId>) -> PathCursor {
        let reached = path.0.iter().flat_map(|from| {
            let states = step(self, StateId(from.state));
            states.into_iter().flat_map(|state| self.nodes_in(state, *from))
        });
        PathCursor(reached.collect())
    }

    /// Returns everything that a node in this state can be, whose container is `outer`.
    fn nodes_in(&self, id: StateId, outer: PossibleNode) -> impl Iterator<Item = PossibleNode> + use<> {
        let state = self.automaton.state(id);
        let own = self.state_class(id);
        let is_field = |query: &u16| matches!(self.role(*query), Some(QueryRole::Field { .. }));
        let maybe = state.maybe_fields.iter().copied().filter(is_field);
        let selected = (!state.maybe_fields.is_empty()).then(|| self.class_of(state, maybe));
        let record = match state.start {
            RecordStart::Of(set) => ContainingRecord::Of(set),
            // A record that two sets claim has no usable subject; nothing is said about it here.
            RecordStart::Disputed => ContainingRecord::Unknown,
            RecordStart::None if selected.is_some() => ContainingRecord::Unknown,
            RecordStart::None => outer.record,
        };
        let node = move |class| PossibleNode { class, record, state: id.0 };
        [Some(node(own.unwrap_or(outer.class))), selected.map(node)].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::{FieldMapping, Mapping, RecordMapping};
    use crate::vocabulary::{CategoryId, Vocabulary};

    fn plan(record: &str, fields: &[&str]) -> Plan {
        let field = |(number, path): (u32, &&str)| FieldMapping {
            path: (*path).to_owned(),
            categories: vec![CategoryId(number.try_into().unwrap())],
            embedded: false,
        };
        let records = vec![RecordMapping {
            path: record.to_owned(),
            fields: (1..).zip(fields).map(field).collect(),
            ..RecordMapping::default()
        }];
        Plan::compile(&Mapping { records, ..Mapping::default() }, &Vocabulary::standard()).unwrap()
    }

    /// Returns the categories and the record of each node that can be at a path; `[]` is an element, `*` any member.
    fn at(plan: &Plan, steps: &[&str]) -> Vec<(Vec<usize>, ContainingRecord)> {
        let path = steps.iter().fold(plan.document_path(), |path, step| match *step {
            "[]" => plan.element_path(&path),
            "*" => plan.any_member_path(&path),
            name => plan.member_path(&path, name),
        });
        let categories = |class: ClassId| {
            plan.classes()[usize::from(class.0)].categories.iter().map(|id| usize::from(id.0)).collect()
        };
        path.nodes().map(|node| (categories(node.class), node.record)).collect()
    }

    #[test]
    fn a_path_has_the_classes_that_the_scrubber_gives_to_its_nodes() {
        let plan = plan("$.items[*]", &["@.name", "@.address", "@.address.city", "$.total", "@.tags[0]"]);
        let record = ContainingRecord::Of(0);
        assert_eq!(at(&plan, &["total"]), [(vec![4], ContainingRecord::Outside)]);
        assert_eq!(at(&plan, &["other"]), [(vec![], ContainingRecord::Outside)]);
        assert_eq!(at(&plan, &["items", "[]", "name"]), [(vec![1], record)]);
        assert_eq!(at(&plan, &["items", "[]", "address", "zip"]), [(vec![2], record)]);
        assert_eq!(at(&plan, &["items", "[]", "address", "city"]), [(vec![3], record)]);
        let mut tags = at(&plan, &["items", "[]", "tags", "[]"]);
        tags.sort();
        assert_eq!(tags, [(vec![], record), (vec![5], record)]);
        assert!(at(&plan, &["items", "[]", "*"]).len() > 2);
        let items = plan.member_path(&plan.document_path(), "items");
        assert!(plan.is_structure(&items) && plan.continues_below(&items));
        assert!(!plan.is_structure(&plan.member_path(&plan.document_path(), "other")));
    }

    #[test]
    fn a_condition_leaves_both_results_open() {
        let plan = plan("$.items[?@.k == 1]", &["@.name"]);
        let mut name = at(&plan, &["items", "[]", "name"]);
        name.sort();
        assert_eq!(name, [(vec![], ContainingRecord::Unknown), (vec![1], ContainingRecord::Unknown)]);
    }
}
