//! Caches decisions by the shape of a record: the states and the nesting of its nodes.
//!
//! Records of a list differ in their values and rarely in their shape. If the edits depend only on the shape and the
//! forms (no condition, no text search), they are the same for every record of that shape. A cached decision holds
//! states and node numbers, and no values. Invariant: shapes are compared as a whole, so a decision is reused only
//! for a record of exactly the same shape.

use super::edit::Edit;
use super::node_table::Node;
use super::state::StateId;
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// The greatest number of cached decisions of one plan. Records of any other shape are decided anew each time.
const MAX_DECISIONS: usize = 16;
/// The greatest number of nodes of a record whose decision is cached.
const MAX_NODES: usize = 512;

/// Everything that a decision depends on, apart from the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheKey<'a> {
    /// The class that the record inherits from the container around it.
    pub(super) class: ClassId,
    /// True if the record is the whole document.
    pub(super) is_document: bool,
    /// The form of each class.
    pub(super) forms: &'a [Form],
    /// True for a row of a table, which has no placeholders.
    pub(super) is_row: bool,
}

/// The decision about all records of one shape.
#[derive(Clone, Debug)]
pub(super) struct ShapeDecision {
    class: ClassId,
    is_document: bool,
    forms: Box<[Form]>,
    is_row: bool,
    /// The state of each node, and the first node after its subtree.
    shape: Box<[(StateId, u32)]>,
    /// The number of fields of each class.
    pub(super) counts: Box<[u32]>,
    pub(super) edits: Box<[Edit]>,
    /// True if the record is kept.
    pub(super) keep: bool,
}

impl ShapeDecision {
    pub(super) fn new(
        key: CacheKey<'_>,
        nodes: &[Node],
        counts: &[u32],
        edits: &[Edit],
        keep: bool,
    ) -> ShapeDecision {
        let CacheKey { class, is_document, forms, is_row } = key;
        ShapeDecision {
            class,
            is_document,
            forms: forms.into(),
            is_row,
            shape: nodes.iter().map(|node| (node.state, node.next)).collect(),
            counts: counts.into(),
            edits: edits.into(),
            keep,
        }
    }

    fn matches(&self, key: CacheKey<'_>, nodes: &[Node]) -> bool {
        let ShapeDecision { class, is_document, is_row, .. } = *self;
        let own = CacheKey { class, is_document, forms: &self.forms, is_row };
        self.shape.len() == nodes.len()
            && own == key
            && self.shape.iter().zip(nodes).all(|(own, node)| *own == (node.state, node.next))
    }
}

/// The cached decisions of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct DecisionCache(Vec<ShapeDecision>);

impl DecisionCache {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is room for the decision about a record with this number of nodes.
    pub(super) fn may_add(&self, nodes: usize) -> bool {
        self.0.len() < MAX_DECISIONS && nodes <= MAX_NODES
    }

    pub(super) fn find(&self, key: CacheKey<'_>, nodes: &[Node]) -> Option<&ShapeDecision> {
        self.0.iter().find(|decision| decision.matches(key, nodes))
    }

    pub(super) fn add(&mut self, decision: ShapeDecision) {
        self.0.push(decision);
    }
}
