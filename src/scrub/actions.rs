//! The action that the scrubber takes on each node of a held value: keep it, drop it, or write something else.
//!
//! The module records actions and does not decide them. Nodes are addressed by their position in the
//! `NodeTable`.

use std::collections::BTreeMap;

use crate::decision::ClassId;
use crate::vocabulary::Form;

/// The action on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeAction {
    /// The node leaves as it came. Nodes in a container have actions of their own.
    Keep,
    /// The value leaves in another form of its class.
    Transform(Form, ClassId),
    /// The text that [`Actions::text_of`] returns replaces the value.
    Rewrite,
    /// The node does not leave.
    Drop,
}

/// The actions on all nodes of a value. The buffers are reused for the next value.
#[derive(Clone, Debug, Default)]
pub(super) struct Actions {
    nodes: Vec<NodeAction>,
    /// The class of each node. Filled only for plans that list what they redacted.
    pub(super) classes: Vec<ClassId>,
    /// Kept nodes whose text is searched for personal identifiers, in ascending order.
    pub(super) redacted: Vec<u32>,
    /// The texts of the nodes with the action [`NodeAction::Rewrite`].
    rewritten: BTreeMap<u32, String>,
    /// Members or elements to append to containers that are kept, by container.
    additions: BTreeMap<u32, String>,
}

impl Actions {
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.classes.clear();
        self.redacted.clear();
        self.rewritten.clear();
        self.additions.clear();
    }

    pub(super) fn reserve(&mut self, nodes: usize) {
        self.nodes.reserve(nodes);
    }

    /// Sets the action of the next node in document order.
    #[inline]
    pub(super) fn push(&mut self, action: NodeAction) {
        self.nodes.push(action);
    }

    /// Returns the action on a node. A node without one is dropped.
    pub(super) fn get(&self, at: u32) -> NodeAction {
        self.nodes.get(at as usize).copied().unwrap_or(NodeAction::Drop)
    }

    /// True if the node leaves as it came.
    pub(super) fn keeps(&self, at: u32) -> bool {
        self.get(at) == NodeAction::Keep
    }

    /// True if the node does not leave.
    pub(super) fn drops(&self, at: u32) -> bool {
        self.get(at) == NodeAction::Drop
    }

    /// True if the node leaves in a generalised form.
    pub(super) fn generalises(&self, at: u32) -> bool {
        matches!(self.get(at), NodeAction::Transform(Form::Generalised, _))
    }

    pub(super) fn set(&mut self, at: u32, action: NodeAction) {
        if let Some(known) = self.nodes.get_mut(at as usize) {
            *known = action;
        }
    }

    /// Replaces the text of a node.
    pub(super) fn rewrite(&mut self, at: u32, text: String) {
        self.set(at, NodeAction::Rewrite);
        self.rewritten.insert(at, text);
    }

    /// Appends a member or an element to a container that is kept, after the children that are kept.
    pub(super) fn append(&mut self, at: u32, text: &str) {
        let addition = self.additions.entry(at).or_default();
        addition.push_str(if addition.is_empty() { "" } else { "," });
        addition.push_str(text);
    }

    /// Returns the text that replaces a rewritten node.
    pub(super) fn text_of(&self, at: u32) -> &str {
        self.rewritten.get(&at).map_or("null", String::as_str)
    }

    /// Returns the members or elements to append to a container.
    pub(super) fn addition(&self, at: u32) -> Option<&str> {
        self.additions.get(&at).map(String::as_str)
    }
}
