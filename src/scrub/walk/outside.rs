//! What streams: decided member by member, copied in one go, or passed on or over as it comes.
//!
//! What stays is not written at once: [`Stream::write`] copies it together when something goes, when a
//! value was held or when the bytes end.

use super::{Expect, Mode, Read, Surround, Walk};
use crate::decision::ClassId;
use crate::scrub::arbiter::Arbiter;
use crate::scrub::lex::{self, Scan};
use crate::scrub::mapping::RemovedAs;
use crate::scrub::plan::UNCLASSIFIED;
use crate::scrub::unit::{after_comma, replacement};
use crate::scrub::unreadable::{Fault, Framing, Limits};

/// What there is to know besides about a container that is decided member by member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outer {
    /// Of what stands in it and is classified by nothing nearer.
    pub(super) class: ClassId,
    /// Whether no child has come, and whether one was written.
    pub(super) first: bool,
    pub(super) written: bool,
    /// Set while nothing in it has stayed: its opening waits.
    pub(super) waits: Option<Wait>,
}

/// An opening that waits, as places in the waiting bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// Before the comma and the name.
    lead: usize,
    /// Before the bracket.
    bracket: usize,
    /// Whether the container around it had written a child before.
    written: bool,
}

/// A value that is passed on, or over, as it comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    pub(super) stays: bool,
    pub(super) depth: usize,
}

impl Walk {
    /// Decides a value that stands outside of everything held.
    #[inline(never)]
    pub(super) fn outside<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        surround: &mut Surround<'_, A>,
    ) -> Read<Option<(usize, Expect)>> {
        if at - self.stream.after > surround.limits.record {
            return self.fail(self.stream.after, Fault::TooLong);
        }
        let plan = surround.common.plan;
        let state = self.state(plan);
        let known = plan.automaton.state(state);
        let container = matches!(byte, b'{' | b'[');
        let root = self.frames.is_empty();
        if known.held || (root && (plan.whole || self.notes)) {
            if !container && end.is_none() {
                return Ok(None);
            }
            return self.hold(bytes, at, byte, end, surround).map(Some);
        }
        let own = plan.state_class(state);
        let class = own.or(self.stream.class()).unwrap_or(UNCLASSIFIED);
        let stays = surround.stays(class);
        let changes = stays.is_none();
        if changes && (container || end.is_some()) {
            return self.hold(bytes, at, byte, end, surround).map(Some);
        }
        if !container && end.is_none() && (changes || byte != b'"') {
            return Ok(None);
        }
        let bone = container && (known.structure || (root && own.is_none()));
        if own.is_some() || (class == UNCLASSIFIED && !bone && !(container && known.live)) {
            surround.outside.count(class);
        }
        if !(container && (bone || known.live)) {
            return self.settle(bytes, at, byte, end, stays == Some(true), surround).map(Some);
        }
        let mut waits = None;
        if stays == Some(true) || bone {
            self.stream.stay(bytes, surround.out);
        } else {
            waits = Some(self.stream.wait(bytes, at, byte, surround.out));
        }
        let opened = self.open(at, byte, Mode::Outside, None, surround)?;
        self.stream.opened(opened.0, Outer { class, first: true, written: false, waits });
        Ok(Some(opened))
    }

    /// Lets a value stay or go whose content shares its fate. One that is not whole is passed on, or over,
    /// as it comes.
    #[inline(always)]
    fn settle<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        stays: bool,
        surround: &mut Surround<'_, A>,
    ) -> Read<(usize, Expect)> {
        if stays {
            self.stream.stay(bytes, surround.out);
        } else if self.frames.is_empty() {
            self.stream.write(bytes, at, surround.out);
            surround.out.extend_from_slice(b"null");
        } else {
            self.stream.go(bytes, at, surround.out);
        }
        if let Some(end) = end {
            self.stream.passed(end, stays);
            return Ok((end, self.after_value()));
        }
        self.passing = Some(Passing { stays, depth: self.frames.depth() });
        match byte {
            b'{' | b'[' => self.open(at, byte, Mode::Still, None, surround),
            _ => Ok(self.pass_string()),
        }
    }

    /// The string that was scanned just now is not whole, and need not be.
    pub(super) fn pass_string(&mut self) -> (usize, Expect) {
        (std::mem::take(&mut self.scanned), Expect::Within)
    }

    pub(super) fn within(&mut self, bytes: &[u8], at: usize) -> Read<Option<(usize, Expect)>> {
        match lex::string(bytes, at, &mut false) {
            Scan::Whole(end) => {
                self.end_passing(end);
                Ok(Some((end, self.after_value())))
            }
            Scan::Partial(scanned) => {
                self.wait(scanned, Expect::Within)?;
                Ok(None)
            }
            Scan::Wrong(at) => self.fail(at, Fault::Malformed),
        }
    }

    /// What was passed on or over ends, if it is that which ends here.
    pub(super) fn end_passing(&mut self, end: usize) {
        let depth = self.frames.depth();
        if let Some(passing) = self.passing.take_if(|passing| passing.depth == depth) {
            self.stream.passed(end, passing.stays);
        }
    }

    /// Writes what is decided of the bytes that are here, and checks what is kept of them.
    pub(super) fn pause<A: Arbiter>(&mut self, bytes: &[u8], surround: &mut Surround<'_, A>) -> Read<()> {
        if let Some(passing) = self.passing {
            if passing.stays {
                self.stream.write(bytes, self.at, surround.out);
            }
            return Ok(());
        }
        let several = matches!(self.framing, Framing::Lines | Framing::Sequence);
        if self.expect == Expect::End || (self.expect == Expect::Document && several) {
            self.stream.after = self.at;
        }
        self.stream.write_decided(bytes, surround.out);
        self.check_kept(bytes.len(), &surround.limits)
    }

    /// Whether what is kept of the bytes before `end` is within the bound.
    pub(super) fn check_kept(&mut self, end: usize, limits: &Limits) -> Read<()> {
        let kept_from = match (self.holding, self.passing) {
            (Some(holding), _) => holding.start,
            (None, Some(_)) => self.at,
            (None, None) => self.stream.after,
        };
        if end.saturating_sub(kept_from) > limits.record {
            self.at = kept_from;
            return Err(Fault::TooLong);
        }
        if self.stream.waiting.len() > limits.record { Err(Fault::TooLong) } else { Ok(()) }
    }
}

/// Where what streams goes: what is written of it, what is not yet, and what waits.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// For each of the outermost frames, those in [`Mode::Outside`].
    outer: Vec<Outer>,
    /// Openings that wait for something in them to stay.
    waiting: Vec<u8>,
    /// Where the last child of the current container ended, or its bracket.
    pub(super) after: usize,
    /// What stays from here up to there is not written yet: it is copied in one go.
    unwritten: usize,
    removed_as: RemovedAs,
}

impl Stream {
    pub(super) fn new(removed_as: RemovedAs) -> Stream {
        Stream { outer: Vec::new(), waiting: Vec::new(), after: 0, unwritten: 0, removed_as }
    }

    /// The class of what stands in the innermost container and has none of its own; `None` around the
    /// document.
    pub(super) fn class(&self) -> Option<ClassId> {
        self.outer.last().map(|outer| outer.class)
    }

    /// The first `by` bytes were dropped.
    pub(super) fn shift(&mut self, by: usize) {
        self.after = self.after.saturating_sub(by);
        self.unwritten = self.unwritten.saturating_sub(by);
    }

    /// The value that comes stays: so does everything it stands in.
    #[inline(always)]
    pub(super) fn stay(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            out.append(&mut self.waiting);
            for outer in self.outer.iter_mut().rev().take_while(|outer| outer.waits.is_some()) {
                outer.waits = None;
            }
        }
        self.lead(bytes);
    }

    /// The value at `at` goes.
    pub(super) fn go(&mut self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        self.write(bytes, self.after, out);
        if self.removed_as == RemovedAs::Omit {
            if let Some(outer) = self.outer.last_mut() {
                outer.first = false;
            }
            return;
        }
        let waits = self.outer.last().is_some_and(|outer| outer.waits.is_some());
        let replacement = replacement(self.removed_as, bytes.get(at..).unwrap_or_default());
        self.lead(bytes);
        let lead = bytes.get(self.unwritten..at).unwrap_or_default();
        let into = if waits { &mut self.waiting } else { out };
        into.extend_from_slice(lead);
        into.extend_from_slice(replacement);
    }

    /// The container at `at` stays if something in it does.
    fn wait(&mut self, bytes: &[u8], at: usize, bracket: u8, out: &mut Vec<u8>) -> Wait {
        self.write(bytes, self.after, out);
        let written = self.outer.last().is_some_and(|outer| outer.written);
        let start = self.waiting.len();
        self.lead(bytes);
        self.waiting.extend_from_slice(bytes.get(self.unwritten..at).unwrap_or_default());
        let wait = Wait { lead: start, bracket: self.waiting.len(), written };
        self.waiting.push(bracket);
        wait
    }

    /// A container was opened whose bracket stands before `at`.
    fn opened(&mut self, at: usize, outer: Outer) {
        if outer.waits.is_some() {
            self.gone(at);
        } else {
            self.after = at;
        }
        self.outer.push(outer);
    }

    /// The innermost container, an array or an object, ends before `end`.
    pub(super) fn close(&mut self, array: bool, end: usize, out: &mut Vec<u8>) {
        let Some(wait) = self.outer.pop().and_then(|outer| outer.waits) else {
            self.after = end;
            return;
        };
        if self.removed_as == RemovedAs::Omit && !self.outer.is_empty() {
            self.waiting.truncate(wait.lead);
        } else {
            self.waiting.truncate(wait.bracket);
            let bracket = if array { b"[" } else { b"{" };
            self.waiting.extend_from_slice(replacement(self.removed_as, bracket));
        }
        let parent = self.outer.last_mut();
        let waits = parent.as_ref().is_some_and(|parent| parent.waits.is_some());
        if let Some(parent) = parent {
            parent.written = wait.written || self.removed_as != RemovedAs::Omit;
        }
        if !waits {
            out.append(&mut self.waiting);
        }
        self.gone(end);
    }

    /// A value ends that stayed or went.
    pub(super) fn passed(&mut self, end: usize, stays: bool) {
        if stays {
            self.after = end;
        } else {
            self.gone(end);
        }
    }

    /// Everything before `end` is written or gone.
    pub(super) fn gone(&mut self, end: usize) {
        (self.after, self.unwritten) = (end, end);
    }

    /// Writes all that is decided.
    pub(super) fn write_decided(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.write(bytes, self.after, out);
    }

    /// What comes, or something in its place, is written.
    #[inline(always)]
    fn lead(&mut self, bytes: &[u8]) {
        let Some(outer) = self.outer.last_mut() else { return };
        if !outer.written && !outer.first {
            // The first that is written: the comma before it has nothing to separate.
            self.unwritten = after_comma(bytes, self.after);
        }
        outer.first = false;
        outer.written = true;
    }

    /// Writes what is not written yet, up to there.
    pub(super) fn write(&mut self, bytes: &[u8], to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(bytes.get(self.unwritten..to).unwrap_or_default());
        self.unwritten = to;
    }
}
