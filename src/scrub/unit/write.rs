//! The spans of a decided value that stay, copied; what changes, in its form; commas as they must be.
//!
//! Refuses to decide anything. A member that stays owns the comma before it, unless it is the first
//! that stays; white space before a member goes with it.

use super::{Decision, Fate, Unit};
use crate::scrub::embedded;
use crate::scrub::evaluate::denoted;
use crate::scrub::lex;
use crate::scrub::mapping::RemovedAs;
use crate::scrub::table::Embedded;

/// A container that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    node: u32,
    next: u32,
    /// The end of the last child, or of the opening bracket.
    after: usize,
    first: bool,
    written: bool,
    /// Where its text begins in what is written, if it stood in a string.
    text: Option<usize>,
}

impl Unit<'_> {
    /// Writes what stays of the value, from its first byte to its last.
    pub(in crate::scrub) fn write(&self, decision: &mut Decision, out: &mut Vec<u8>) {
        let held = self.held;
        let Some(root) = held.table.node(0) else { return };
        let fate = |at: u32| decision.fates.get(at as usize).copied().unwrap_or(Fate::Goes);
        let copy = |from: usize, to: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(held.bytes.get(from..to).unwrap_or_default());
        };
        // Everything before is written or gone.
        let mut done = root.start as usize;
        decision.open.clear();
        let mut at = 0;
        while let Some(node) = held.table.node(at) {
            while let Some(open) = decision.open.pop_if(|open| open.next <= at) {
                done = self.close(open, decision, done, out);
            }
            let (start, end) = (node.start as usize, node.end as usize);
            let fate = fate(at);
            if let Some(parent) = decision.open.last_mut() {
                let goes = fate == Fate::Goes && self.common.plan.removed_as == RemovedAs::Omit;
                if goes {
                    copy(done, parent.after, out);
                    done = end;
                } else if !parent.written && !parent.first {
                    // The first that stays: the comma before it has nothing to separate.
                    copy(done, parent.after, out);
                    done = after_comma(held.bytes, parent.after);
                }
                parent.after = end;
                parent.first = false;
                parent.written |= !goes;
                if goes {
                    at = node.next;
                    continue;
                }
            }
            let open = node.next > at + 1;
            let string = held.string_around(at);
            match fate {
                Fate::Stays if open => {
                    let text = string.map(|_| {
                        copy(done, start, out);
                        done = start;
                        out.len()
                    });
                    let (next, after) = (node.next, start + 1);
                    decision.open.push(Open { node: at, next, after, first: true, written: false, text });
                    at += 1;
                }
                Fate::Stays => {
                    if let Some(string) = string {
                        copy(done, start, out);
                        out.extend_from_slice(&string.string);
                        done = end;
                    }
                    at += 1;
                }
                Fate::Changes(form, class) => {
                    copy(done, start, out);
                    let name = held.name(node).map(denoted);
                    let kind = self.common.plan.kind(class, name.as_deref());
                    in_string(string, out, |out| {
                        self.common.forms.write(form, kind, held.text(node), out);
                    });
                    done = end;
                    at = node.next;
                }
                Fate::Rewritten => {
                    copy(done, start, out);
                    let text = decision.text_of(at);
                    in_string(string, out, |out| out.extend_from_slice(text.as_bytes()));
                    done = end;
                    at = node.next;
                }
                Fate::Goes => {
                    copy(done, start, out);
                    let value = string.map_or_else(|| held.text(node), |string| &*string.string);
                    out.extend_from_slice(replacement(self.common.plan.removed_as, value));
                    done = end;
                    at = node.next;
                }
            }
        }
        while let Some(open) = decision.open.pop() {
            done = self.close(open, decision, done, out);
        }
        copy(done, root.end as usize, out);
    }

    /// A container ends. Returns up to where everything is written or gone.
    fn close(&self, open: Open, decision: &Decision, mut done: usize, out: &mut Vec<u8>) -> usize {
        for (_, addition) in decision.additions.iter().filter(|(node, _)| *node == open.node) {
            out.extend_from_slice(self.held.bytes.get(done..open.after).unwrap_or_default());
            done = open.after;
            out.extend_from_slice(if open.written { b"," } else { b"" });
            out.extend_from_slice(addition.as_bytes());
        }
        let held = self.held;
        let (Some(from), Some(node)) = (open.text, held.table.node(open.node)) else { return done };
        let end = node.end as usize;
        out.extend_from_slice(held.bytes.get(done..end).unwrap_or_default());
        if let Some(string) = held.string_around(open.node) {
            if out.get(from..) == Some(held.text(node)) {
                // All of it stays: as it was spelled.
                out.truncate(from);
                out.extend_from_slice(&string.string);
            } else {
                embedded::spell(out, from, string.times);
            }
        }
        end
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
