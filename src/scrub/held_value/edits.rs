//! Turns the actions on nodes into edits of the bytes, and applies the edits.
//!
//! The module decides nothing. A kept member owns the comma before it, unless it is the first that is kept; white
//! space before a removed member is removed as well.

use smallvec::SmallVec;

use super::{HeldValue, ValueDecision};
use crate::decision::ClassId;
use crate::scrub::actions::NodeAction;
use crate::scrub::edit::{Edit, EditFrame, TokenEdge};
use crate::scrub::lex::{self, denoted};
use crate::scrub::mapping::RemovedAs;
use crate::scrub::node_table::{HeldJson, Node};
use crate::vocabulary::Form;

impl HeldValue<'_> {
    /// Lists the edits that the actions need.
    pub(super) fn list_edits(&self, decision: &mut ValueDecision) {
        let mut edits = std::mem::take(&mut decision.edits);
        edits.clear();
        decision.edit_stack.clear();
        let mut at = 0;
        while let Some(node) = self.held.table.node(at) {
            while let Some(frame) = decision.edit_stack.pop_if(|frame| frame.next <= at) {
                self.close_container(frame, decision, &mut edits);
            }
            let action = decision.actions.get(at);
            let is_omitted = decision
                .edit_stack
                .last_mut()
                .is_some_and(|parent| self.enter_child(at, action, parent, &mut edits));
            if action == NodeAction::Keep && node.next > at + 1 {
                self.open_container(at, node, decision, &mut edits);
                at += 1;
                continue;
            }
            if !is_omitted {
                edits.extend(self.value_edit(at, action));
            }
            at = node.next;
        }
        while let Some(frame) = decision.edit_stack.pop() {
            self.close_container(frame, decision, &mut edits);
        }
        decision.edits = edits;
    }

    fn removed_as(&self) -> RemovedAs {
        self.route.plan.options.removed_as
    }

    /// Lists the edits before a child: the comma, or the whole child if it is omitted. Returns true if the child is
    /// omitted.
    fn enter_child(
        &self,
        at: u32,
        action: NodeAction,
        parent: &mut EditFrame,
        edits: &mut Vec<Edit>,
    ) -> bool {
        // A withheld cell is empty, like one that had no value.
        let is_cell = self.route.is_row && self.placement.is_document && parent.node == 0;
        let is_omitted = action == NodeAction::Drop && (is_cell || self.removed_as() == RemovedAs::Omit);
        if is_omitted {
            edits.push(Edit::Omit { from: parent.child_end, node: at });
        } else if !parent.written && !parent.first {
            edits.push(Edit::DropComma { from: parent.child_end });
        }
        parent.child_end = TokenEdge::After(at);
        parent.first = false;
        parent.written |= !is_omitted;
        is_omitted
    }

    fn open_container(&self, at: u32, node: &Node, decision: &mut ValueDecision, edits: &mut Vec<Edit>) {
        if self.held.string_around(at).is_some() {
            edits.push(Edit::BeginString { node: at });
        }
        let child_end = TokenEdge::AfterOpening(at);
        decision.edit_stack.push(EditFrame {
            node: at,
            next: node.next,
            child_end,
            first: true,
            written: false,
        });
    }

    fn close_container(&self, frame: EditFrame, decision: &ValueDecision, edits: &mut Vec<Edit>) {
        if decision.actions.addition(frame.node).is_some() {
            edits.push(Edit::Append { from: frame.child_end, node: frame.node, comma: frame.written });
        }
        if self.held.string_around(frame.node).is_some() {
            edits.push(Edit::EndString { node: frame.node });
        }
    }

    /// Returns the edit of a node whose children are not visited.
    fn value_edit(&self, at: u32, action: NodeAction) -> Option<Edit> {
        match action {
            NodeAction::Keep if self.held.string_around(at).is_some() => Some(Edit::KeepString { node: at }),
            NodeAction::Keep => None,
            NodeAction::Transform(form, class) => Some(Edit::Transform { node: at, form, class }),
            NodeAction::Rewrite => Some(Edit::Rewrite { node: at }),
            NodeAction::Drop => Some(Edit::Placeholder { node: at }),
        }
    }

    /// Writes the value with these edits, from its first byte to its last.
    pub(super) fn write_edits(&self, edits: &[Edit], decision: &ValueDecision, out: &mut Vec<u8>) {
        let Some(root) = self.held.table.node(0) else { return };
        let (value, held) = (self, self.held);
        let mut writer =
            EditWriter { value, held, decision, out, done: root.start as usize, strings: SmallVec::new() };
        for edit in edits {
            writer.apply(*edit);
        }
        writer.copy_to(root.end as usize);
    }
}

/// The text of an embedded container that is being written.
struct OpenString {
    /// The offset in the output where the text begins.
    from: usize,
    /// True if the text differs from the original.
    changed: bool,
}

/// Writes a value, edit by edit.
struct EditWriter<'a> {
    value: &'a HeldValue<'a>,
    held: HeldJson<'a>,
    decision: &'a ValueDecision,
    out: &'a mut Vec<u8>,
    /// The offset up to which the bytes of the value are written or removed.
    done: usize,
    /// The embedded containers that are open, the innermost last.
    strings: SmallVec<[OpenString; 4]>,
}

impl EditWriter<'_> {
    #[inline]
    fn apply(&mut self, edit: Edit) {
        if !matches!(edit, Edit::KeepString { .. } | Edit::BeginString { .. } | Edit::EndString { .. }) {
            self.mark_changed();
        }
        match edit {
            Edit::Omit { from, node } => {
                self.copy_to(from.offset(&self.held));
                self.done = self.span(node).1;
            }
            Edit::DropComma { from } => {
                let from = from.offset(&self.held);
                self.copy_to(from);
                self.done = lex::after_comma(self.held.bytes, from);
            }
            Edit::Transform { node, form, class } => self.transform(node, form, class),
            Edit::Rewrite { node } => {
                let text = self.decision.actions.text_of(node);
                self.replace(node, |out| out.extend_from_slice(text.as_bytes()));
            }
            Edit::Placeholder { node } => self.write_placeholder(node),
            Edit::KeepString { node } => {
                let (start, end) = self.span(node);
                self.copy_to(start);
                let string = self.held.string_around(node).map_or(&[][..], |string| &*string.string);
                self.out.extend_from_slice(string);
                self.done = end;
            }
            Edit::BeginString { node } => {
                self.copy_to(self.span(node).0);
                self.strings.push(OpenString { from: self.out.len(), changed: false });
            }
            Edit::EndString { node } => self.end_string(node),
            Edit::Append { from, node, comma } => {
                self.copy_to(from.offset(&self.held));
                self.out.extend_from_slice(if comma { b"," } else { b"" });
                let addition = self.decision.actions.addition(node).unwrap_or_default();
                self.out.extend_from_slice(addition.as_bytes());
            }
        }
    }

    /// Copies the bytes before this offset that are not yet written or removed.
    #[inline]
    fn copy_to(&mut self, to: usize) {
        self.out.extend_from_slice(self.held.bytes.get(self.done..to).unwrap_or_default());
        self.done = to;
    }

    /// Returns the offsets where the bytes of a node begin and end.
    #[inline]
    fn span(&self, at: u32) -> (usize, usize) {
        self.held.table.node(at).map_or((0, 0), |node| (node.start as usize, node.end as usize))
    }

    /// Marks the innermost open string as changed.
    fn mark_changed(&mut self) {
        if let Some(string) = self.strings.last_mut() {
            string.changed = true;
        }
    }

    /// Writes other JSON in place of a node, quoted as a string if the node was embedded in one.
    fn replace(&mut self, at: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let (start, end) = self.span(at);
        self.copy_to(start);
        let from = self.out.len();
        write(self.out);
        lex::quote(self.out, from, self.held.string_around(at).map_or(0, |string| string.times));
        self.done = end;
    }

    fn transform(&mut self, at: u32, form: Form, class: ClassId) {
        let (value, held) = (self.value, self.held);
        let Some(node) = held.table.node(at) else { return };
        let name = held.name(node).map(denoted);
        let context = value.route.plan.value_context(class, name.as_deref());
        self.replace(at, |out| value.route.forms.write(form, context, held.text(node), out));
    }

    fn write_placeholder(&mut self, at: u32) {
        let (start, end) = self.span(at);
        self.copy_to(start);
        let value = self.held.bytes.get(start..end).unwrap_or_default();
        let value = self.held.string_around(at).map_or(value, |string| &*string.string);
        self.out.extend_from_slice(self.value.removed_as().placeholder(value));
        self.done = end;
    }

    /// Ends an embedded container. The original string is written if nothing in it changed, so that it is spelled as
    /// before.
    fn end_string(&mut self, at: u32) {
        let (start, end) = self.span(at);
        self.copy_to(end);
        let Some((open, string)) = self.strings.pop().zip(self.held.string_around(at)) else { return };
        if !open.changed || self.out.get(open.from..) == self.held.bytes.get(start..end) {
            self.out.truncate(open.from);
            self.out.extend_from_slice(&string.string);
        } else {
            lex::quote(self.out, open.from, string.times);
            self.mark_changed();
        }
    }
}
