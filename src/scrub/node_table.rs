//! A value that is held, as a table of its nodes: places in the bytes, no copies.
//!
//! Refuses to know what the nodes mean. Nodes stand in document order, a container before what is
//! in it; `next` leads past a node's subtree.

use super::state::StateId;

/// One node. Offsets are relative to the first byte of the value held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Where the member's name begins (its quote); the value's own start for an element.
    pub(super) name: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    /// The first node that is not in this one's subtree.
    pub(super) next: u32,
    pub(super) state: StateId,
}

/// The nodes of one held value; the first is the value itself.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeTable {
    pub(super) nodes: Vec<Node>,
    /// Nodes that a walked capture selects, as (query, node), in document order.
    pub(super) captures: Vec<(u16, u32)>,
    /// Members whose name had occurred before in their object, each with that object.
    pub(super) duplicates: Vec<(u32, u32)>,
    /// Scalars that might be JSON in a string and were not looked at yet.
    pub(super) json_strings: Vec<u32>,
    /// Values that stood in a string.
    pub(super) embedded: Vec<EmbeddedValue>,
    /// Strings that should be JSON and are not.
    pub(super) undecodable: Vec<u32>,
}

/// A value that stood in a string.
#[derive(Clone, Debug)]
pub(super) struct EmbeddedValue {
    pub(super) node: u32,
    /// The string, as it was spelled.
    pub(super) string: Box<[u8]>,
    /// How many strings there were, each the whole text of the one around it.
    pub(super) times: u8,
}

impl NodeTable {
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.captures.clear();
        self.duplicates.clear();
        self.json_strings.clear();
        self.embedded.clear();
        self.undecodable.clear();
    }

    pub(super) fn len(&self) -> u32 {
        // A node takes a byte at least and a value that is held less than 4 GiB.
        self.nodes.len() as u32
    }

    pub(super) fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    /// Closes a container: it ends before `end`, and what follows is no more in it.
    pub(super) fn close(&mut self, at: u32, end: u32) {
        let next = self.len();
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.end = end;
            node.next = next;
        }
    }
}

/// A held value: its table and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldJson<'a> {
    pub(super) table: &'a NodeTable,
    pub(super) bytes: &'a [u8],
}

impl<'a> HeldJson<'a> {
    /// The value's text.
    pub(super) fn text(&self, node: &Node) -> &'a [u8] {
        self.bytes.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// What a value stood in, if it was a string.
    pub(super) fn string_around(&self, at: u32) -> Option<&'a EmbeddedValue> {
        let embedded = &self.table.embedded;
        if embedded.is_empty() {
            return None;
        }
        let found = embedded.binary_search_by_key(&at, |embedded| embedded.node).ok()?;
        embedded.get(found)
    }

    /// Whether a node is in a value that stood in a string, or is one.
    pub(super) fn is_embedded(&self, at: u32) -> bool {
        let next = |at: u32| self.table.node(at).map_or(0, |node| node.next);
        self.table.embedded.iter().any(|embedded| (embedded.node..next(embedded.node)).contains(&at))
    }

    /// Whether a node is a string that was not looked at: neither read as JSON nor found not to be.
    pub(super) fn is_unread_string(&self, at: u32) -> bool {
        let text = self.table.node(at).map(|node| self.text(node)).unwrap_or_default();
        text.first() == Some(&b'"')
            && self.string_around(at).is_none()
            && self.table.undecodable.binary_search(&at).is_err()
    }

    /// The name's text between its quotes, for a member.
    pub(super) fn name(&self, node: &Node) -> Option<&'a [u8]> {
        if node.name == node.start {
            return None;
        }
        let rest = self.bytes.get(node.name as usize + 1..node.start as usize)?;
        // Between the name and the value stand a quote, a colon and white space.
        let close = rest.iter().rposition(|&byte| byte == b'"')?;
        rest.get(..close)
    }

    /// The children of a node.
    pub(super) fn children(&self, at: u32) -> impl Iterator<Item = (u32, &'a Node)> + use<'a> {
        let table = self.table;
        let end = table.node(at).map_or(0, |node| node.next);
        let mut child = at + 1;
        std::iter::from_fn(move || {
            let node = table.node(child).filter(|_| child < end)?;
            let here = child;
            child = node.next.max(child + 1);
            Some((here, node))
        })
    }
}
