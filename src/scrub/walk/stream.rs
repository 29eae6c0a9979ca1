//! Writes the streamed part of the document, which is outside of held values, member by member.
//!
//! Kept bytes are not written at once. They are copied together when something is removed, when a value was held, or
//! when the bytes end. A container that is kept only if something in it is kept is *pending* until then: its comma,
//! name and bracket are buffered.

use crate::decision::ClassId;
use crate::scrub::lex;
use crate::scrub::mapping::RemovedAs;

/// A container whose children are decided one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamFrame {
    /// The class of the nodes in it that have no class of their own.
    pub(super) class: ClassId,
    /// True until the first child is visited.
    pub(super) first: bool,
    /// True if at least one child is written.
    pub(super) written: bool,
    /// The container's opening, if it is pending.
    pub(super) pending: Option<PendingOpening>,
}

/// A pending opening, as offsets in the buffer of pending bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingOpening {
    /// The offset of the comma and the name.
    prefix: usize,
    /// The offset of the bracket.
    bracket: usize,
    /// True if the enclosing container had a written child before this one.
    written: bool,
}

/// The writer's state. Offsets are those of the walk.
#[derive(Clone, Debug)]
pub(super) struct StreamWriter {
    /// The open containers whose children are decided one by one. All other open containers are inside of these.
    frames: Vec<StreamFrame>,
    /// The openings of pending containers.
    pending: Vec<u8>,
    /// The end of the last child of the innermost container, or of its opening bracket.
    pub(super) child_end: usize,
    /// The offset up to which the bytes are written or removed. The bytes from here to `child_end` are kept and not
    /// yet written.
    written_to: usize,
    removed_as: RemovedAs,
}

impl StreamWriter {
    pub(super) fn new(removed_as: RemovedAs) -> StreamWriter {
        StreamWriter { frames: Vec::new(), pending: Vec::new(), child_end: 0, written_to: 0, removed_as }
    }

    /// Returns the class of the nodes in the innermost container that have no class of their own; `None` for the
    /// document.
    pub(super) fn class(&self) -> Option<ClassId> {
        self.frames.last().map(|frame| frame.class)
    }

    /// Returns the number of buffered bytes of pending openings.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Adjusts all offsets after the first `by` bytes were dropped.
    pub(super) fn shift(&mut self, by: usize) {
        self.child_end = self.child_end.saturating_sub(by);
        self.written_to = self.written_to.saturating_sub(by);
    }

    /// Keeps the next value, and with it all containers around it.
    #[inline(always)]
    pub(super) fn keep(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            out.append(&mut self.pending);
            for frame in self.frames.iter_mut().rev().take_while(|frame| frame.pending.is_some()) {
                frame.pending = None;
            }
        }
        self.begin_child(bytes);
    }

    /// Removes the value at `at`, or writes a placeholder for it.
    pub(super) fn remove(&mut self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        self.write(bytes, self.child_end, out);
        if self.removed_as == RemovedAs::Omit {
            if let Some(frame) = self.frames.last_mut() {
                frame.first = false;
            }
            return;
        }
        let is_pending = self.frames.last().is_some_and(|frame| frame.pending.is_some());
        let placeholder = self.removed_as.placeholder(bytes.get(at..).unwrap_or_default());
        self.begin_child(bytes);
        let prefix = bytes.get(self.written_to..at).unwrap_or_default();
        let into = if is_pending { &mut self.pending } else { out };
        into.extend_from_slice(prefix);
        into.extend_from_slice(placeholder);
    }

    /// Begins a pending container at `at`, which is kept if something in it is kept.
    pub(super) fn begin_pending(
        &mut self,
        bytes: &[u8],
        at: usize,
        bracket: u8,
        out: &mut Vec<u8>,
    ) -> PendingOpening {
        self.write(bytes, self.child_end, out);
        let written = self.frames.last().is_some_and(|frame| frame.written);
        let prefix = self.pending.len();
        self.begin_child(bytes);
        self.pending.extend_from_slice(bytes.get(self.written_to..at).unwrap_or_default());
        let opening = PendingOpening { prefix, bracket: self.pending.len(), written };
        self.pending.push(bracket);
        opening
    }

    /// Opens a container whose bracket is the byte before `at`.
    pub(super) fn push(&mut self, at: usize, frame: StreamFrame) {
        if frame.pending.is_some() {
            self.skip_to(at);
        } else {
            self.child_end = at;
        }
        self.frames.push(frame);
    }

    /// Closes the innermost container, an array or an object, which ends before `end`.
    pub(super) fn close(&mut self, array: bool, end: usize, out: &mut Vec<u8>) {
        let Some(opening) = self.frames.pop().and_then(|frame| frame.pending) else {
            self.child_end = end;
            return;
        };
        if self.removed_as == RemovedAs::Omit && !self.frames.is_empty() {
            self.pending.truncate(opening.prefix);
        } else {
            self.pending.truncate(opening.bracket);
            let bracket = if array { b"[" } else { b"{" };
            self.pending.extend_from_slice(self.removed_as.placeholder(bracket));
        }
        let parent = self.frames.last_mut();
        let is_pending = parent.as_ref().is_some_and(|parent| parent.pending.is_some());
        if let Some(parent) = parent {
            parent.written = opening.written || self.removed_as != RemovedAs::Omit;
        }
        if !is_pending {
            out.append(&mut self.pending);
        }
        self.skip_to(end);
    }

    /// Ends a value that was kept or removed.
    pub(super) fn end_value(&mut self, end: usize, keep: bool) {
        if keep {
            self.child_end = end;
        } else {
            self.skip_to(end);
        }
    }

    /// Marks all bytes before `end` as written or removed.
    pub(super) fn skip_to(&mut self, end: usize) {
        (self.child_end, self.written_to) = (end, end);
    }

    /// Writes all kept bytes.
    pub(super) fn write_decided(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.write(bytes, self.child_end, out);
    }

    /// Prepares the innermost container for a child that is written, as it is or as a placeholder.
    #[inline(always)]
    fn begin_child(&mut self, bytes: &[u8]) {
        let Some(frame) = self.frames.last_mut() else { return };
        if !frame.written && !frame.first {
            // No earlier child is written, so the comma before this child is skipped.
            self.written_to = lex::after_comma(bytes, self.child_end);
        }
        frame.first = false;
        frame.written = true;
    }

    /// Writes the kept bytes up to this offset.
    pub(super) fn write(&mut self, bytes: &[u8], to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(bytes.get(self.written_to..to).unwrap_or_default());
        self.written_to = to;
    }
}
