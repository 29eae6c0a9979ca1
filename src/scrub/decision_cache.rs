//! Records decided before, so that the next one of the same shape under the same forms is decided alike.
//!
//! Records of a list differ in what they say and hardly in how they are built. Where nothing but the
//! shape and the forms decides (no condition, nothing looked up in the text), fates and edits are
//! the same again. It refuses to know values: a precedent holds states and numbers of nodes. Invariant:
//! shapes are compared whole, so a precedent holds for exactly what it was made of.

use super::edit::Edit;
use super::node_table::Node;
use super::state::StateId;
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// Precedents of one plan; where records are of more kinds, the others are decided anew each time.
const MAX_DECISIONS: usize = 16;
/// Nodes of a record that becomes a precedent.
const MAX_NODES: usize = 512;

/// What a decision rests on besides the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheKey<'a> {
    /// The class around the record, and whether the record is the document.
    pub(super) class: ClassId,
    pub(super) root: bool,
    /// In which form each class leaves.
    pub(super) forms: &'a [Form],
}

/// A record that was decided.
#[derive(Clone, Debug)]
pub(super) struct CachedDecision {
    class: ClassId,
    root: bool,
    forms: Box<[Form]>,
    /// Each node's state, and the first node that is not in it.
    shape: Box<[(StateId, u32)]>,
    /// How many fields of each class there are.
    pub(super) fields: Box<[u32]>,
    pub(super) edits: Box<[Edit]>,
    pub(super) keep: bool,
}

impl CachedDecision {
    pub(super) fn new(
        circumstances: CacheKey<'_>,
        nodes: &[Node],
        fields: &[u32],
        edits: &[Edit],
        stays: bool,
    ) -> CachedDecision {
        let CacheKey { class, root, forms } = circumstances;
        CachedDecision {
            class,
            root,
            forms: forms.into(),
            shape: nodes.iter().map(|node| (node.state, node.next)).collect(),
            fields: fields.into(),
            edits: edits.into(),
            keep: stays,
        }
    }

    fn matches(&self, circumstances: CacheKey<'_>, nodes: &[Node]) -> bool {
        let own = CacheKey { class: self.class, root: self.root, forms: &self.forms };
        self.shape.len() == nodes.len()
            && own == circumstances
            && self.shape.iter().zip(nodes).all(|(own, node)| *own == (node.state, node.next))
    }
}

/// The precedents of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct DecisionCache(Vec<CachedDecision>);

impl DecisionCache {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a record with so many nodes may become one.
    pub(super) fn may_add(&self, nodes: usize) -> bool {
        self.0.len() < MAX_DECISIONS && nodes <= MAX_NODES
    }

    pub(super) fn find(&self, circumstances: CacheKey<'_>, nodes: &[Node]) -> Option<&CachedDecision> {
        self.0.iter().find(|precedent| precedent.matches(circumstances, nodes))
    }

    pub(super) fn add(&mut self, precedent: CachedDecision) {
        self.0.push(precedent);
    }
}
