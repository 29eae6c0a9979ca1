//! What streams: decided member by member, copied in one go, or passed on or over as it comes.
//!
//! What stays is not written at once: [`Stream::write`] copies it together when something goes, when a
//! value was held or when the bytes end.

use super::{Expect, Mode, Walk, WalkContext, WalkResult};
use crate::decision::ClassId;
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex::{self, Scan};
use crate::scrub::mapping::RemovedAs;
use crate::scrub::unreadable::{BodyFault, Framing, Limits};

/// What there is to know besides about a container that is decided member by member.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamFrame {
    /// Of what stands in it and is classified by nothing nearer.
    pub(super) class: ClassId,
    /// Whether no child has come, and whether one was written.
    pub(super) first: bool,
    pub(super) written: bool,
    /// Set while nothing in it has stayed: its opening waits.
    pub(super) pending: Option<PendingOpening>,
}

/// An opening that waits, as places in the waiting bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingOpening {
    /// Before the comma and the name.
    prefix: usize,
    /// Before the bracket.
    bracket: usize,
    /// Whether the container around it had written a child before.
    written: bool,
}

/// A value that is passed on, or over, as it comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamedValue {
    pub(super) keep: bool,
    pub(super) depth: usize,
}

impl Walk {
    /// Decides a value that stands outside of everything held.
    #[inline(never)]
    pub(super) fn begin_value<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<Option<(usize, Expect)>> {
        if at - self.stream.child_end > context.limits.record {
            return self.fail(self.stream.child_end, BodyFault::TooLong);
        }
        let plan = context.route.plan;
        let state = self.value_state(plan);
        let known = plan.automaton.state(state);
        let container = matches!(byte, b'{' | b'[');
        let root = self.frames.is_empty();
        if known.held || (root && (plan.holds_document || self.index_only)) {
            if !container && end.is_none() {
                return Ok(None);
            }
            return self.hold(bytes, at, byte, end, context).map(Some);
        }
        let own = plan.state_class(state);
        let class = own.or(self.stream.class()).unwrap_or(UNCLASSIFIED);
        let stays = context.keeps(class);
        let changes = stays.is_none();
        if changes && (container || end.is_some()) {
            return self.hold(bytes, at, byte, end, context).map(Some);
        }
        if !container && end.is_none() && (changes || byte != b'"') {
            return Ok(None);
        }
        let bone = container && (known.skeleton || (root && own.is_none()));
        if own.is_some() || (class == UNCLASSIFIED && !bone && !(container && known.relevant_below)) {
            context.outside.count(class);
        }
        if !(container && (bone || known.relevant_below)) {
            return self.keep_or_drop(bytes, at, byte, end, stays == Some(true), context).map(Some);
        }
        let mut waits = None;
        if stays == Some(true) || bone {
            self.stream.keep(bytes, context.out);
        } else {
            waits = Some(self.stream.begin_pending(bytes, at, byte, context.out));
        }
        let opened = self.open(at, byte, Mode::PerMember, None, context)?;
        self.stream.push(opened.0, StreamFrame { class, first: true, written: false, pending: waits });
        Ok(Some(opened))
    }

    /// Lets a value stay or go whose content shares its fate. One that is not whole is passed on, or over,
    /// as it comes.
    #[inline(always)]
    fn keep_or_drop<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        stays: bool,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<(usize, Expect)> {
        if stays {
            self.stream.keep(bytes, context.out);
        } else if self.frames.is_empty() {
            self.stream.write(bytes, at, context.out);
            context.out.extend_from_slice(b"null");
        } else {
            self.stream.remove(bytes, at, context.out);
        }
        if let Some(end) = end {
            self.stream.end_value(end, stays);
            return Ok((end, self.after_value()));
        }
        self.streamed = Some(StreamedValue { keep: stays, depth: self.frames.depth() });
        match byte {
            b'{' | b'[' => self.open(at, byte, Mode::Validated, None, context),
            _ => Ok(self.suspend_string()),
        }
    }

    /// The string that was scanned just now is not whole, and need not be.
    pub(super) fn suspend_string(&mut self) -> (usize, Expect) {
        (std::mem::take(&mut self.scanned), Expect::InString)
    }

    pub(super) fn continue_string(&mut self, bytes: &[u8], at: usize) -> WalkResult<Option<(usize, Expect)>> {
        match lex::string(bytes, at, &mut false) {
            Scan::Whole(end) => {
                self.end_streamed(end);
                Ok(Some((end, self.after_value())))
            }
            Scan::Partial(scanned) => {
                self.suspend(scanned, Expect::InString)?;
                Ok(None)
            }
            Scan::Wrong(at) => self.fail(at, BodyFault::Malformed),
        }
    }

    /// What was passed on or over ends, if it is that which ends here.
    pub(super) fn end_streamed(&mut self, end: usize) {
        let depth = self.frames.depth();
        if let Some(passing) = self.streamed.take_if(|passing| passing.depth == depth) {
            self.stream.end_value(end, passing.keep);
        }
    }

    /// Writes what is decided of the bytes that are here, and checks what is kept of them.
    pub(super) fn write_and_check<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<()> {
        if let Some(passing) = self.streamed {
            if passing.keep {
                self.stream.write(bytes, self.at, context.out);
            }
            return Ok(());
        }
        let several = matches!(self.framing, Framing::Lines | Framing::Sequence);
        if self.expect == Expect::End || (self.expect == Expect::Document && several) {
            self.stream.child_end = self.at;
        }
        self.stream.write_decided(bytes, context.out);
        self.check_kept(bytes.len(), &context.limits)
    }

    /// Whether what is kept of the bytes before `end` is within the bound.
    pub(super) fn check_kept(&mut self, end: usize, limits: &Limits) -> WalkResult<()> {
        let kept_from = match (self.holding, self.streamed) {
            (Some(holding), _) => holding.start,
            (None, Some(_)) => self.at,
            (None, None) => self.stream.child_end,
        };
        if end.saturating_sub(kept_from) > limits.record {
            self.at = kept_from;
            return Err(BodyFault::TooLong);
        }
        if self.stream.pending.len() > limits.record { Err(BodyFault::TooLong) } else { Ok(()) }
    }
}

/// Where what streams goes: what is written of it, what is not yet, and what waits.
#[derive(Clone, Debug)]
pub(super) struct StreamWriter {
    /// For each of the outermost frames, those in [`Mode::Outside`].
    frames: Vec<StreamFrame>,
    /// Openings that wait for something in them to stay.
    pending: Vec<u8>,
    /// Where the last child of the current container ended, or its bracket.
    pub(super) child_end: usize,
    /// What stays from here up to there is not written yet: it is copied in one go.
    written_to: usize,
    removed_as: RemovedAs,
}

impl StreamWriter {
    pub(super) fn new(removed_as: RemovedAs) -> StreamWriter {
        StreamWriter { frames: Vec::new(), pending: Vec::new(), child_end: 0, written_to: 0, removed_as }
    }

    /// The class of what stands in the innermost container and has none of its own; `None` around the
    /// document.
    pub(super) fn class(&self) -> Option<ClassId> {
        self.frames.last().map(|outer| outer.class)
    }

    /// The first `by` bytes were dropped.
    pub(super) fn shift(&mut self, by: usize) {
        self.child_end = self.child_end.saturating_sub(by);
        self.written_to = self.written_to.saturating_sub(by);
    }

    /// The value that comes stays: so does everything it stands in.
    #[inline(always)]
    pub(super) fn keep(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            out.append(&mut self.pending);
            for outer in self.frames.iter_mut().rev().take_while(|outer| outer.pending.is_some()) {
                outer.pending = None;
            }
        }
        self.begin_child(bytes);
    }

    /// The value at `at` goes.
    pub(super) fn remove(&mut self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        self.write(bytes, self.child_end, out);
        if self.removed_as == RemovedAs::Omit {
            if let Some(outer) = self.frames.last_mut() {
                outer.first = false;
            }
            return;
        }
        let waits = self.frames.last().is_some_and(|outer| outer.pending.is_some());
        let replacement = self.removed_as.placeholder(bytes.get(at..).unwrap_or_default());
        self.begin_child(bytes);
        let lead = bytes.get(self.written_to..at).unwrap_or_default();
        let into = if waits { &mut self.pending } else { out };
        into.extend_from_slice(lead);
        into.extend_from_slice(replacement);
    }

    /// The container at `at` stays if something in it does.
    fn begin_pending(&mut self, bytes: &[u8], at: usize, bracket: u8, out: &mut Vec<u8>) -> PendingOpening {
        self.write(bytes, self.child_end, out);
        let written = self.frames.last().is_some_and(|outer| outer.written);
        let start = self.pending.len();
        self.begin_child(bytes);
        self.pending.extend_from_slice(bytes.get(self.written_to..at).unwrap_or_default());
        let wait = PendingOpening { prefix: start, bracket: self.pending.len(), written };
        self.pending.push(bracket);
        wait
    }

    /// A container was opened whose bracket stands before `at`.
    fn push(&mut self, at: usize, outer: StreamFrame) {
        if outer.pending.is_some() {
            self.skip_to(at);
        } else {
            self.child_end = at;
        }
        self.frames.push(outer);
    }

    /// The innermost container, an array or an object, ends before `end`.
    pub(super) fn close(&mut self, array: bool, end: usize, out: &mut Vec<u8>) {
        let Some(wait) = self.frames.pop().and_then(|outer| outer.pending) else {
            self.child_end = end;
            return;
        };
        if self.removed_as == RemovedAs::Omit && !self.frames.is_empty() {
            self.pending.truncate(wait.prefix);
        } else {
            self.pending.truncate(wait.bracket);
            let bracket = if array { b"[" } else { b"{" };
            self.pending.extend_from_slice(self.removed_as.placeholder(bracket));
        }
        let parent = self.frames.last_mut();
        let waits = parent.as_ref().is_some_and(|parent| parent.pending.is_some());
        if let Some(parent) = parent {
            parent.written = wait.written || self.removed_as != RemovedAs::Omit;
        }
        if !waits {
            out.append(&mut self.pending);
        }
        self.skip_to(end);
    }

    /// A value ends that stayed or went.
    pub(super) fn end_value(&mut self, end: usize, stays: bool) {
        if stays {
            self.child_end = end;
        } else {
            self.skip_to(end);
        }
    }

    /// Everything before `end` is written or gone.
    pub(super) fn skip_to(&mut self, end: usize) {
        (self.child_end, self.written_to) = (end, end);
    }

    /// Writes all that is decided.
    pub(super) fn write_decided(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.write(bytes, self.child_end, out);
    }

    /// What comes, or something in its place, is written.
    #[inline(always)]
    fn begin_child(&mut self, bytes: &[u8]) {
        let Some(outer) = self.frames.last_mut() else { return };
        if !outer.written && !outer.first {
            // The first that is written: the comma before it has nothing to separate.
            self.written_to = lex::after_comma(bytes, self.child_end);
        }
        outer.first = false;
        outer.written = true;
    }

    /// Writes what is not written yet, up to there.
    pub(super) fn write(&mut self, bytes: &[u8], to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(bytes.get(self.written_to..to).unwrap_or_default());
        self.written_to = to;
    }
}
