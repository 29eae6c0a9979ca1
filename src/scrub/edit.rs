//! Edits: the differences between the bytes that leave and the bytes that arrived.
//!
//! An edit refers to nodes, not to byte offsets, so that the edits of a cached decision apply to every value of the
//! same shape. Between two edits the bytes are copied.

use super::node_table::HeldJson;
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// One difference. Edits are listed in the order of the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// A child is removed: all bytes from the edge to the end of the child, including the comma and the name before
    /// it.
    Omit { from: TokenEdge, node: u32 },
    /// The comma after the edge is removed, because no child is written before it.
    DropComma { from: TokenEdge },
    /// The value is written in a form of its class.
    Transform { node: u32, form: Form, class: ClassId },
    /// The value is replaced by the text in [`Actions::text_of`](super::actions::Actions::text_of).
    Rewrite { node: u32 },
    /// The value is replaced by [`RemovedAs::placeholder`](super::mapping::RemovedAs::placeholder).
    Placeholder { node: u32 },
    /// The value was embedded in a string and is kept whole: the string is written as it was spelled.
    KeepString { node: u32 },
    /// A container that was embedded in a string begins. Its text is quoted as a string at [`Edit::EndString`].
    BeginString { node: u32 },
    /// The container that was embedded in a string ends.
    EndString { node: u32 },
    /// Text is appended to the container, after its last child.
    Append { from: TokenEdge, node: u32, comma: bool },
}

/// A place between two tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum TokenEdge {
    /// After the bracket that opens the node.
    AfterOpening(u32),
    /// After the node.
    After(u32),
}

impl TokenEdge {
    /// Returns the byte offset of the edge in a held value.
    pub(super) fn offset(self, held: &HeldJson<'_>) -> usize {
        match self {
            TokenEdge::AfterOpening(node) => held.table.node(node).map_or(0, |node| node.start as usize + 1),
            TokenEdge::After(node) => held.table.node(node).map_or(0, |node| node.end as usize),
        }
    }
}

/// A container whose children are being visited.
#[derive(Clone, Copy, Debug)]
pub(super) struct EditFrame {
    pub(super) node: u32,
    /// The first node after the container.
    pub(super) next: u32,
    /// The end of the last child, or of the opening bracket.
    pub(super) child_end: TokenEdge,
    /// True until the first child is visited.
    pub(super) first: bool,
    /// True if at least one child is written.
    pub(super) written: bool,
}
