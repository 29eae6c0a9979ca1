//! The table of the nodes of a held value: offsets in the bytes, without copies of them.
//!
//! The table does not know the meaning of a node. Nodes are in document order, so a container comes before its
//! content, and the nodes of a subtree are consecutive. A node is addressed by its position in the table.

use super::state::StateId;

/// One node. Offsets count from the first byte of the held value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The offset of the opening quote of the member's name. For an element, the same as `start`.
    pub(super) name: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    /// The first node after this node's subtree.
    pub(super) next: u32,
    pub(super) state: StateId,
}

/// The nodes of one held value. The first node is the value itself.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeTable {
    pub(super) nodes: Vec<Node>,
    /// Nodes that captures select, found by the automaton, as pairs of query and node in document order.
    pub(super) captures: Vec<(u16, u32)>,
    /// Members whose name occurred before in their object, as pairs of member and object.
    pub(super) duplicates: Vec<(u32, u32)>,
    /// Scalars that are embedded JSON if they are strings, and are not decoded yet.
    pub(super) json_strings: Vec<u32>,
    /// Values that were embedded in a string, in document order.
    pub(super) embedded: Vec<EmbeddedValue>,
    /// Strings that should be embedded JSON and cannot be decoded, in document order.
    pub(super) undecodable: Vec<u32>,
}

/// A value that was embedded in a string.
#[derive(Clone, Debug)]
pub(super) struct EmbeddedValue {
    pub(super) node: u32,
    /// The original string as it was spelled, with its quotes.
    pub(super) string: Box<[u8]>,
    /// The number of times that the value is quoted: more than once if the text of a string is itself a string.
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

    /// Returns the number of nodes.
    pub(super) fn len(&self) -> u32 {
        // A node takes at least one byte, and a held value is shorter than 4 GiB.
        self.nodes.len() as u32
    }

    pub(super) fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    /// Closes a container, which ends before the offset `end`. Later nodes are not in it.
    pub(super) fn close(&mut self, at: u32, end: u32) {
        let next = self.len();
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.end = end;
            node.next = next;
        }
    }
}

/// A held JSON value: its bytes and the table of its nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldJson<'a> {
    pub(super) table: &'a NodeTable,
    pub(super) bytes: &'a [u8],
}

impl<'a> HeldJson<'a> {
    /// Returns the bytes of a node's value.
    pub(super) fn text(&self, node: &Node) -> &'a [u8] {
        self.bytes.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// Returns the string in which a node was embedded; `None` if the node was not embedded.
    pub(super) fn string_around(&self, at: u32) -> Option<&'a EmbeddedValue> {
        let embedded = &self.table.embedded;
        if embedded.is_empty() {
            return None;
        }
        let found = embedded.binary_search_by_key(&at, |embedded| embedded.node).ok()?;
        embedded.get(found)
    }

    /// True if a node was embedded in a string, or is inside of such a node.
    pub(super) fn is_embedded(&self, at: u32) -> bool {
        let next = |at: u32| self.table.node(at).map_or(0, |node| node.next);
        self.table.embedded.iter().any(|embedded| (embedded.node..next(embedded.node)).contains(&at))
    }

    /// True if a node is a string that was neither decoded as embedded JSON nor found to be undecodable.
    pub(super) fn is_unread_string(&self, at: u32) -> bool {
        let text = self.table.node(at).map(|node| self.text(node)).unwrap_or_default();
        text.first() == Some(&b'"')
            && self.string_around(at).is_none()
            && self.table.undecodable.binary_search(&at).is_err()
    }

    /// Returns the text between the quotes of a member's name; `None` for an element.
    pub(super) fn name(&self, node: &Node) -> Option<&'a [u8]> {
        if node.name == node.start {
            return None;
        }
        let rest = self.bytes.get(node.name as usize + 1..node.start as usize)?;
        // Between the name and the value there are a quote, a colon and white space.
        let close = rest.iter().rposition(|&byte| byte == b'"')?;
        rest.get(..close)
    }

    /// Returns the children of a node, with their numbers.
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
