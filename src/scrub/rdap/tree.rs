//! Access to the nodes of an answer in terms of JSON: members, elements, strings.

use crate::scrub::lex::{denoted, unquoted};
use crate::scrub::node_table::{HeldJson, Node};
use crate::scrub::plan::Plan;

/// The nodes of one answer, and the plan of its route.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerTree<'a> {
    pub(super) plan: &'a Plan,
    pub(super) held: HeldJson<'a>,
}

impl<'a> AnswerTree<'a> {
    /// True if the node is a member of this name.
    pub(super) fn is_named(&self, node: &Node, name: &[u8]) -> bool {
        self.held.name(node).is_some_and(|own| &*denoted(own) == name)
    }

    /// Returns the first member of this name.
    pub(super) fn member(&self, object: u32, name: &[u8]) -> Option<(u32, &'a Node)> {
        self.held.children(object).find(|(_, node)| self.is_named(node, name))
    }

    /// Returns the content of a string. It is empty for any other value.
    pub(super) fn string(&self, at: u32) -> Vec<u8> {
        let text = self.held.table.node(at).map_or(&[][..], |node| self.held.text(node));
        if text.first() == Some(&b'"') { unquoted(text).into_owned() } else { Vec::new() }
    }

    /// Returns the members of an object or the elements of an array.
    pub(super) fn children(&self, at: u32) -> Vec<u32> {
        self.held.children(at).map(|(child, _)| child).collect()
    }

    /// Returns the elements of an array. There are none in any other value.
    pub(super) fn elements(&self, at: u32) -> Vec<u32> {
        if self.begins(at) == Some(b'[') { self.children(at) } else { Vec::new() }
    }

    /// Returns the first byte of a value, which determines its JSON type.
    pub(super) fn begins(&self, at: u32) -> Option<u8> {
        self.held.table.node(at).and_then(|node| self.held.text(node).first().copied())
    }

    /// True if the value is neither an object nor an array.
    pub(super) fn is_scalar(&self, at: u32) -> bool {
        !matches!(self.begins(at), Some(b'{' | b'[') | None)
    }
}
