//! Decides about each value outside of held values: it is held, opened, or kept or removed as a whole.

use super::frames::Mode;
use super::stream::StreamFrame;
use super::{Expect, NextToken, Walk, WalkContext, WalkResult};
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex::{self, Scan};
use crate::scrub::unreadable::{BodyFault, Framing, Limits};

/// A value that is copied or skipped as a whole while its bytes arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamedValue {
    keep: bool,
    /// The number of containers around the value.
    depth: usize,
}

impl Walk {
    /// Decides about a value outside of held values. `end` is its end if it is a whole scalar. Returns `None` if more
    /// bytes have to come.
    #[inline(never)]
    pub(super) fn begin_value<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<NextToken> {
        if at - self.stream.child_end > context.limits.record {
            return self.fail(self.stream.child_end, BodyFault::TooLong);
        }
        let plan = context.route.plan;
        let state_id = self.value_state(plan);
        let state = plan.automaton.state(state_id);
        let is_container = matches!(byte, b'{' | b'[');
        let is_document = self.frames.is_empty();
        if state.held || (is_document && (plan.holds_document || self.index_only)) {
            if !is_container && end.is_none() {
                return Ok(None);
            }
            return self.hold(bytes, at, byte, end, context).map(Some);
        }
        let own_class = plan.state_class(state_id);
        let class = own_class.or(self.stream.class()).unwrap_or(UNCLASSIFIED);
        let keep = context.keeps(class);
        let is_changed = keep.is_none();
        if is_changed && (is_container || end.is_some()) {
            return self.hold(bytes, at, byte, end, context).map(Some);
        }
        if !is_container && end.is_none() && (is_changed || byte != b'"') {
            return Ok(None);
        }
        let keep = keep == Some(true);
        let is_skeleton = is_container && (state.skeleton || (is_document && own_class.is_none()));
        let is_opened = is_container && (is_skeleton || state.relevant_below);
        if own_class.is_some() || (class == UNCLASSIFIED && !is_opened) {
            context.outside.count(class);
        }
        if !is_opened {
            return self.keep_or_drop(bytes, at, byte, end, keep, context).map(Some);
        }
        let mut pending = None;
        if keep || is_skeleton {
            self.stream.keep(bytes, context.out);
        } else {
            pending = Some(self.stream.begin_pending(bytes, at, byte, context.out));
        }
        let opened = self.open(at, byte, Mode::PerMember, None, context)?;
        self.stream.push(opened.0, StreamFrame { class, first: true, written: false, pending });
        Ok(Some(opened))
    }

    /// Keeps or removes a value together with everything in it. A value that is not whole is copied or skipped while
    /// its bytes arrive.
    #[inline(always)]
    fn keep_or_drop<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        keep: bool,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<(usize, Expect)> {
        if keep {
            self.stream.keep(bytes, context.out);
        } else if self.frames.is_empty() {
            self.stream.write(bytes, at, context.out);
            context.out.extend_from_slice(b"null");
        } else {
            self.stream.remove(bytes, at, context.out);
        }
        if let Some(end) = end {
            self.stream.end_value(end, keep);
            return Ok((end, self.after_value()));
        }
        self.streamed = Some(StreamedValue { keep, depth: self.frames.depth() });
        match byte {
            b'{' | b'[' => self.open(at, byte, Mode::Validated, None, context),
            _ => Ok(self.suspend_string()),
        }
    }

    /// Returns the offset up to which an incomplete string was scanned, and the token that continues it. A streamed
    /// string need not be whole.
    pub(super) fn suspend_string(&mut self) -> (usize, Expect) {
        (std::mem::take(&mut self.scanned), Expect::InString)
    }

    /// Reads the rest of a streamed string.
    pub(super) fn continue_string(&mut self, bytes: &[u8], at: usize) -> WalkResult<NextToken> {
        match lex::string(bytes, at, &mut false) {
            Scan::Whole(end) => {
                self.end_streamed(end);
                Ok(Some((end, self.after_value())))
            }
            Scan::Partial(scanned) => self.suspend(scanned, Expect::InString),
            Scan::Wrong(at) => self.fail(at, BodyFault::Malformed),
        }
    }

    /// Ends the streamed value, if the value that ends at `end` is the streamed one.
    pub(super) fn end_streamed(&mut self, end: usize) {
        let depth = self.frames.depth();
        if let Some(streamed) = self.streamed.take_if(|streamed| streamed.depth == depth) {
            self.stream.end_value(end, streamed.keep);
        }
    }

    /// Writes the decided bytes, and checks the number of bytes that stay buffered.
    pub(super) fn write_and_check<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<()> {
        if let Some(streamed) = self.streamed {
            if streamed.keep {
                self.stream.write(bytes, self.at, context.out);
            }
            return Ok(());
        }
        let has_texts = matches!(self.framing, Framing::Lines | Framing::Sequence);
        if self.expect == Expect::End || (self.expect == Expect::Document && has_texts) {
            self.stream.child_end = self.at;
        }
        self.stream.write_decided(bytes, context.out);
        self.check_kept(bytes.len(), &context.limits)
    }

    /// Checks that the number of bytes before `end` that have to stay buffered is within the bound.
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
        if self.stream.pending_bytes() > limits.record { Err(BodyFault::TooLong) } else { Ok(()) }
    }
}
