//! What a decision comes to for the bytes: a list of edits between which everything is copied, commas
//! as they must be.
//!
//! Refuses to decide anything. Edits name nodes, not bytes, so that they serve every value of the
//! same shape. A member that stays owns the comma before it, unless it is the first that stays;
//! white space before a member goes with it.

use smallvec::SmallVec;

use super::{Decision, Unit};
use crate::decision::ClassId;
use crate::scrub::actions::NodeAction;
use crate::scrub::embedded;
use crate::scrub::evaluate::denoted;
use crate::scrub::lex;
use crate::scrub::mapping::RemovedAs;
use crate::scrub::table::{Embedded, Held};
use crate::vocabulary::Form;

/// One place where what is written is not what came. In the order of the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// A child goes, with what stands before it: the bytes from the edge to its end.
    Omit {
        from: Edge,
        node: u32,
    },
    /// The comma after the edge has nothing to separate: everything before it goes.
    Uncomma {
        from: Edge,
    },
    /// The value is written in a form of its class.
    Change {
        node: u32,
        form: Form,
        class: ClassId,
    },
    /// The value is written as [`Actions::text_of`](crate::scrub::actions::Actions::text_of) has it.
    Rewrite {
        node: u32,
    },
    /// What stands for a removed value is written.
    Replace {
        node: u32,
    },
    /// The value stood in a string, and all of it stays as it was spelled.
    Spell {
        node: u32,
    },
    /// A container that stood in a string begins, or ends: what is written of it is spelled as one.
    Begin {
        node: u32,
    },
    End {
        node: u32,
    },
    /// What is added to the container stands behind its last child.
    Add {
        from: Edge,
        node: u32,
        comma: bool,
    },
}

/// A place between two tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edge {
    /// Behind the bracket that opens the node.
    Bracket(u32),
    /// Behind the node.
    Behind(u32),
}

impl Edge {
    fn offset(self, held: &Held<'_>) -> usize {
        match self {
            Edge::Bracket(node) => held.table.node(node).map_or(0, |node| node.start as usize + 1),
            Edge::Behind(node) => held.table.node(node).map_or(0, |node| node.end as usize),
        }
    }
}

/// A container whose children are gone through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    node: u32,
    next: u32,
    /// Behind the last child, or the opening bracket.
    after: Edge,
    first: bool,
    written: bool,
}

impl Unit<'_> {
    /// Lists the edits that the fates of the nodes come to.
    pub(super) fn list_edits(&self, decision: &mut Decision) {
        let held = self.held;
        let mut edits = std::mem::take(&mut decision.edits);
        edits.clear();
        decision.open.clear();
        let mut at = 0;
        while let Some(node) = held.table.node(at) {
            while let Some(open) = decision.open.pop_if(|open| open.next <= at) {
                self.end(open, decision, &mut edits);
            }
            let fate = decision.actions.get(at);
            if let Some(parent) = decision.open.last_mut() {
                let goes = fate == NodeAction::Drop && self.common.plan.removed_as == RemovedAs::Omit;
                if goes {
                    edits.push(Edit::Omit { from: parent.after, node: at });
                } else if !parent.written && !parent.first {
                    edits.push(Edit::Uncomma { from: parent.after });
                }
                parent.after = Edge::Behind(at);
                parent.first = false;
                parent.written |= !goes;
                if goes {
                    at = node.next;
                    continue;
                }
            }
            let is_open = node.next > at + 1;
            let was_string = held.string_around(at).is_some();
            match fate {
                NodeAction::Keep if is_open => {
                    if was_string {
                        edits.push(Edit::Begin { node: at });
                    }
                    let after = Edge::Bracket(at);
                    decision.open.push(Open {
                        node: at,
                        next: node.next,
                        after,
                        first: true,
                        written: false,
                    });
                    at += 1;
                    continue;
                }
                NodeAction::Keep if was_string => edits.push(Edit::Spell { node: at }),
                NodeAction::Keep => {}
                NodeAction::Transform(form, class) => edits.push(Edit::Change { node: at, form, class }),
                NodeAction::Rewrite => edits.push(Edit::Rewrite { node: at }),
                NodeAction::Drop => edits.push(Edit::Replace { node: at }),
            }
            at = node.next;
        }
        while let Some(open) = decision.open.pop() {
            self.end(open, decision, &mut edits);
        }
        decision.edits = edits;
    }

    /// A container ends.
    fn end(&self, open: Open, decision: &Decision, edits: &mut Vec<Edit>) {
        if decision.actions.addition(open.node).is_some() {
            edits.push(Edit::Add { from: open.after, node: open.node, comma: open.written });
        }
        if self.held.string_around(open.node).is_some() {
            edits.push(Edit::End { node: open.node });
        }
    }

    /// Writes what stays of the value, from its first byte to its last.
    pub(super) fn write(&self, edits: &[Edit], decision: &Decision, out: &mut Vec<u8>) {
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
            if !matches!(edit, Edit::Spell { .. } | Edit::Begin { .. } | Edit::End { .. }) {
                mark_changed(&mut texts);
            }
            match *edit {
                Edit::Omit { from, node } => {
                    copy(done, from.offset(&held), out);
                    done = place(node).1;
                }
                Edit::Uncomma { from } => {
                    let from = from.offset(&held);
                    copy(done, from, out);
                    done = after_comma(held.bytes, from);
                }
                Edit::Change { node: at, form, class } => {
                    let Some(node) = held.table.node(at) else { continue };
                    copy(done, node.start as usize, out);
                    let name = held.name(node).map(denoted);
                    let kind = self.common.plan.value_context(class, name.as_deref());
                    in_string(held.string_around(at), out, |out| {
                        self.common.forms.write(form, kind, held.text(node), out);
                    });
                    done = node.end as usize;
                }
                Edit::Rewrite { node } => {
                    let (start, end) = place(node);
                    copy(done, start, out);
                    let text = decision.actions.text_of(node);
                    in_string(held.string_around(node), out, |out| out.extend_from_slice(text.as_bytes()));
                    done = end;
                }
                Edit::Replace { node } => {
                    let (start, end) = place(node);
                    copy(done, start, out);
                    let value = held.bytes.get(start..end).unwrap_or_default();
                    let value = held.string_around(node).map_or(value, |string| &*string.string);
                    out.extend_from_slice(replacement(self.common.plan.removed_as, value));
                    done = end;
                }
                Edit::Spell { node } => {
                    let (start, end) = place(node);
                    copy(done, start, out);
                    let string = held.string_around(node).map_or(&[][..], |string| &*string.string);
                    out.extend_from_slice(string);
                    done = end;
                }
                Edit::Begin { node } => {
                    let (start, _) = place(node);
                    copy(done, start, out);
                    done = start;
                    texts.push((out.len(), false));
                }
                Edit::End { node } => {
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
                        embedded::spell(out, from, string.times);
                        mark_changed(&mut texts);
                    }
                }
                Edit::Add { from, node, comma } => {
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
fn in_string(string: Option<&Embedded>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let from = out.len();
    write(out);
    embedded::spell(out, from, string.map_or(0, |string| string.times));
}

/// Past the comma that is the first thing but white space from `at` on.
pub(in crate::scrub) fn after_comma(bytes: &[u8], at: usize) -> usize {
    let comma = lex::space(bytes, at);
    if bytes.get(comma) == Some(&b',') { comma + 1 } else { at }
}

/// What stands for a value that went.
pub(in crate::scrub) fn replacement(removed_as: RemovedAs, value: &[u8]) -> &'static [u8] {
    match (removed_as, value.first()) {
        (RemovedAs::Empty, Some(b'"')) => b"\"\"",
        (RemovedAs::Empty, Some(b'[')) => b"[]",
        (RemovedAs::Empty, Some(b'{')) => b"{}",
        (RemovedAs::Omit | RemovedAs::Null | RemovedAs::Empty, _) => b"null",
    }
}
