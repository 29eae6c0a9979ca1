//! What a decision comes to for the bytes: a list of edits between which everything is copied, commas
//! as they must be.
//!
//! Refuses to decide anything. Edits name nodes, not bytes, so that they serve every value of the
//! same shape. A member that stays owns the comma before it, unless it is the first that stays;
//! white space before a member goes with it.

use smallvec::SmallVec;

use super::{HeldValue, ValueDecision};
use crate::scrub::actions::NodeAction;
use crate::scrub::edit::{Edit, TokenEdge};
use crate::scrub::lex;
use crate::scrub::lex::denoted;
use crate::scrub::mapping::RemovedAs;
use crate::scrub::node_table::EmbeddedValue;

/// A container whose children are gone through.
#[derive(Clone, Copy, Debug)]
pub(super) struct EditFrame {
    node: u32,
    next: u32,
    /// Behind the last child, or the opening bracket.
    child_end: TokenEdge,
    first: bool,
    written: bool,
}

impl HeldValue<'_> {
    /// Lists the edits that the fates of the nodes come to.
    pub(super) fn list_edits(&self, decision: &mut ValueDecision) {
        let held = self.held;
        let mut edits = std::mem::take(&mut decision.edits);
        edits.clear();
        decision.edit_stack.clear();
        let mut at = 0;
        while let Some(node) = held.table.node(at) {
            while let Some(open) = decision.edit_stack.pop_if(|open| open.next <= at) {
                self.close_container(open, decision, &mut edits);
            }
            let action = decision.actions.get(at);
            if let Some(parent) = decision.edit_stack.last_mut() {
                let goes =
                    action == NodeAction::Drop && self.route.plan.options.removed_as == RemovedAs::Omit;
                if goes {
                    edits.push(Edit::Omit { from: parent.child_end, node: at });
                } else if !parent.written && !parent.first {
                    edits.push(Edit::DropComma { from: parent.child_end });
                }
                parent.child_end = TokenEdge::After(at);
                parent.first = false;
                parent.written |= !goes;
                if goes {
                    at = node.next;
                    continue;
                }
            }
            let is_open = node.next > at + 1;
            let was_string = held.string_around(at).is_some();
            match action {
                NodeAction::Keep if is_open => {
                    if was_string {
                        edits.push(Edit::BeginString { node: at });
                    }
                    let after = TokenEdge::AfterOpening(at);
                    decision.edit_stack.push(EditFrame {
                        node: at,
                        next: node.next,
                        child_end: after,
                        first: true,
                        written: false,
                    });
                    at += 1;
                    continue;
                }
                NodeAction::Keep if was_string => edits.push(Edit::KeepString { node: at }),
                NodeAction::Keep => {}
                NodeAction::Transform(form, class) => edits.push(Edit::Transform { node: at, form, class }),
                NodeAction::Rewrite => edits.push(Edit::Rewrite { node: at }),
                NodeAction::Drop => edits.push(Edit::Placeholder { node: at }),
            }
            at = node.next;
        }
        while let Some(open) = decision.edit_stack.pop() {
            self.close_container(open, decision, &mut edits);
        }
        decision.edits = edits;
    }

    /// A container ends.
    fn close_container(&self, open: EditFrame, decision: &ValueDecision, edits: &mut Vec<Edit>) {
        if decision.actions.addition(open.node).is_some() {
            edits.push(Edit::Append { from: open.child_end, node: open.node, comma: open.written });
        }
        if self.held.string_around(open.node).is_some() {
            edits.push(Edit::EndString { node: open.node });
        }
    }

    /// Writes what stays of the value, from its first byte to its last.
    pub(super) fn write_edits(&self, edits: &[Edit], decision: &ValueDecision, out: &mut Vec<u8>) {
        let held = self.held;
        let Some(root) = held.table.node(0) else { return };
        let copy = |from: usize, to: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(held.bytes.get(from..to).unwrap_or_default());
        };
        let place =
            |at: u32| held.table.node(at).map_or((0, 0), |node| (node.start as usize, node.end as usize));
        // Everything before is written or gone.
        let mut done = root.start as usize;
        // Where what is written of strings begins, and whether anything in them changes.
        let mut texts: SmallVec<[(usize, bool); 4]> = SmallVec::new();
        for edit in edits {
            if !matches!(edit, Edit::KeepString { .. } | Edit::BeginString { .. } | Edit::EndString { .. }) {
                mark_changed(&mut texts);
            }
            match *edit {
                Edit::Omit { from, node } => {
                    copy(done, from.offset(&held), out);
                    done = place(node).1;
                }
                Edit::DropComma { from } => {
                    let from = from.offset(&held);
                    copy(done, from, out);
                    done = lex::after_comma(held.bytes, from);
                }
                Edit::Transform { node: at, form, class } => {
                    let Some(node) = held.table.node(at) else { continue };
                    copy(done, node.start as usize, out);
                    let name = held.name(node).map(denoted);
                    let kind = self.route.plan.value_context(class, name.as_deref());
                    write_in_string(held.string_around(at), out, |out| {
                        self.route.forms.write(form, kind, held.text(node), out);
                    });
                    done = node.end as usize;
                }
                Edit::Rewrite { node } => {
                    let (start, end) = place(node);
                    copy(done, start, out);
                    let text = decision.actions.text_of(node);
                    write_in_string(held.string_around(node), out, |out| {
                        out.extend_from_slice(text.as_bytes())
                    });
                    done = end;
                }
                Edit::Placeholder { node } => {
                    let (start, end) = place(node);
                    copy(done, start, out);
                    let value = held.bytes.get(start..end).unwrap_or_default();
                    let value = held.string_around(node).map_or(value, |string| &*string.string);
                    out.extend_from_slice(self.route.plan.options.removed_as.placeholder(value));
                    done = end;
                }
                Edit::KeepString { node } => {
                    let (start, end) = place(node);
                    copy(done, start, out);
                    let string = held.string_around(node).map_or(&[][..], |string| &*string.string);
                    out.extend_from_slice(string);
                    done = end;
                }
                Edit::BeginString { node } => {
                    let (start, _) = place(node);
                    copy(done, start, out);
                    done = start;
                    texts.push((out.len(), false));
                }
                Edit::EndString { node } => {
                    let (start, end) = place(node);
                    copy(done, end, out);
                    done = end;
                    let Some(((from, changes), string)) = texts.pop().zip(held.string_around(node)) else {
                        continue;
                    };
                    if !changes || out.get(from..) == held.bytes.get(start..end) {
                        // All of it stays: as it was spelled.
                        out.truncate(from);
                        out.extend_from_slice(&string.string);
                    } else {
                        lex::quote(out, from, string.times);
                        mark_changed(&mut texts);
                    }
                }
                Edit::Append { from, node, comma } => {
                    let from = from.offset(&held);
                    copy(done, from, out);
                    done = from;
                    out.extend_from_slice(if comma { b"," } else { b"" });
                    let addition = decision.actions.addition(node).unwrap_or_default();
                    out.extend_from_slice(addition.as_bytes());
                }
            }
        }
        copy(done, root.end as usize, out);
    }
}

/// Something changes in the innermost of the strings that are being written.
fn mark_changed(texts: &mut [(usize, bool)]) {
    if let Some((_, changes)) = texts.last_mut() {
        *changes = true;
    }
}

/// Writes a JSON text, spelled as a string if it stands in one.
fn write_in_string(string: Option<&EmbeddedValue>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let from = out.len();
    write(out);
    lex::quote(out, from, string.map_or(0, |string| string.times));
}
