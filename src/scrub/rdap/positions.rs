//! The position of every node among its siblings, before and after redaction.

use super::tree::AnswerTree;
use crate::scrub::actions::Actions;
use crate::scrub::lex;
use crate::scrub::lex::denoted;

/// The position of one node.
#[derive(Clone, Copy, Default)]
pub(super) struct NodePosition {
    pub(super) parent: u32,
    /// The number of earlier siblings before redaction, and after it.
    pub(super) before: u32,
    pub(super) after: u32,
    /// True if the mapping contains every member name on the path to the node, so that the path discloses no other
    /// name.
    pub(super) has_mapped_path: bool,
}

impl AnswerTree<'_> {
    /// Returns the position of every node. Runs when the actions are final.
    pub(super) fn positions(&self, parents: &[u32], actions: &Actions) -> Vec<NodePosition> {
        let mut positions = vec![NodePosition { has_mapped_path: true, ..NodePosition::default() }];
        positions.resize(self.held.table.nodes.len(), NodePosition::default());
        // The number of children of each container that were counted so far, before redaction and after it.
        let mut counts = vec![(0, 0); positions.len()];
        for (at, node) in (0..).zip(&self.held.table.nodes).skip(1) {
            let parent = parents.get(at as usize).copied().unwrap_or(0);
            let around = positions.get(parent as usize).is_some_and(|position| position.has_mapped_path);
            let is_mapped = |name| {
                let name = denoted(name);
                self.plan.automaton.mentions(&name, lex::hash(&name))
            };
            let has_mapped_path = around && self.held.name(node).is_none_or(is_mapped);
            let Some((before, after)) = counts.get_mut(parent as usize) else { continue };
            if let Some(position) = positions.get_mut(at as usize) {
                *position = NodePosition { parent, before: *before, after: *after, has_mapped_path };
            }
            *before += 1;
            *after += u32::from(!actions.drops(at));
        }
        positions
    }
}
