//! What streams: decided member by member, copied in one go, or passed on or over as it comes.
//!
//! What stays is not written at once: [`Walk::write`] copies it together when something goes, when a
//! value was held or when the bytes end.

use super::{Expect, Frame, Mode, Read, Surround, Walk};
use crate::decision::ClassId;
use crate::scrub::arbiter::Arbiter;
use crate::scrub::lex::{self, Scan};
use crate::scrub::mapping::RemovedAs;
use crate::scrub::plan::UNCLASSIFIED;
use crate::scrub::unit::{after_comma, replacement};
use crate::scrub::unreadable::{Fault, Framing, Limits};
use crate::vocabulary::Form;

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
    /// Decides a value of which nothing is selected and nothing captured: it leaves as what it stands in
    /// does. `None`: it is not such a value, or not here yet.
    #[inline]
    pub(super) fn idle<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        surround: &mut Surround<'_, A>,
    ) -> Read<Option<(usize, Expect)>> {
        let plan = surround.common.plan;
        let container = matches!(byte, b'{' | b'[');
        let known = plan.automaton.mark(self.state(plan)).idle && at - self.after <= surround.limits.record;
        let waits = end.is_none() && !container && byte != b'"';
        let Some(class) = self.outer.last().map(|outer| outer.class).filter(|_| known && !waits) else {
            return Ok(None);
        };
        let stays = match surround.outside.form(class, surround.common, surround.arbiter) {
            Form::Clear if !plan.redacts(class) => true,
            Form::Removed => false,
            Form::Clear | Form::Masked | Form::Generalised | Form::Pseudonymised => return Ok(None),
        };
        if class == UNCLASSIFIED {
            surround.outside.count(class);
        }
        if stays {
            self.opening(plan.removed_as).stay(bytes, surround.out);
        } else {
            self.opening(plan.removed_as).go(bytes, at, surround.out);
        }
        let Some(end) = end else { return self.pass(at, byte, stays, surround).map(Some) };
        self.passed(end, stays);
        Ok(Some((end, Expect::Next)))
    }

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
        if at - self.after > surround.limits.record {
            return self.fail(self.after, Fault::TooLong);
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
        let class = own.or(self.outer.last().map(|outer| outer.class)).unwrap_or(UNCLASSIFIED);
        let form = surround.outside.form(class, surround.common, surround.arbiter);
        let changes = match form {
            Form::Masked | Form::Generalised | Form::Pseudonymised => true,
            Form::Clear => plan.redacts(class),
            Form::Removed => false,
        };
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
        let mut opening = self.opening(plan.removed_as);
        if container && (bone || known.live) {
            let mut waits = None;
            if form == Form::Clear || bone {
                opening.stay(bytes, surround.out);
            } else {
                waits = Some(opening.wait(bytes, at, byte, surround.out));
            }
            let opened = self.open(at, byte, Mode::Outside, None, surround)?;
            self.after = opened.0;
            if waits.is_some() {
                self.unwritten = opened.0;
            }
            self.outer.push(Outer { class, first: true, written: false, waits });
            return Ok(Some(opened));
        }
        let stays = form == Form::Clear;
        if stays {
            opening.stay(bytes, surround.out);
        } else if root {
            opening.write(bytes, at, surround.out);
            surround.out.extend_from_slice(b"null");
        } else {
            opening.go(bytes, at, surround.out);
        }
        let Some(end) = end else { return self.pass(at, byte, stays, surround).map(Some) };
        self.passed(end, stays);
        Ok(Some((end, self.after_value())))
    }

    /// The value at `at` is passed on, or over, as it comes.
    fn pass<A: Arbiter>(
        &mut self,
        at: usize,
        byte: u8,
        stays: bool,
        surround: &Surround<'_, A>,
    ) -> Read<(usize, Expect)> {
        self.passing = Some(Passing { stays, depth: self.frames.len() });
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
        let depth = self.frames.len();
        if let Some(passing) = self.passing.take_if(|passing| passing.depth == depth) {
            self.passed(end, passing.stays);
        }
    }

    /// A value outside of everything held ends.
    fn passed(&mut self, end: usize, stays: bool) {
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

    pub(super) fn close_outside<A: Arbiter>(
        &mut self,
        frame: Frame,
        end: usize,
        surround: &mut Surround<'_, A>,
    ) {
        let waits = self.outer.pop().and_then(|outer| outer.waits);
        match waits {
            None => self.after = end,
            Some(wait) => {
                let removed_as = surround.common.plan.removed_as;
                let root = self.outer.is_empty();
                if removed_as == RemovedAs::Omit && !root {
                    self.waiting.truncate(wait.lead);
                } else {
                    self.waiting.truncate(wait.bracket);
                    let bracket = if frame.array { b"[" } else { b"{" };
                    self.waiting.extend_from_slice(replacement(removed_as, bracket));
                }
                let parent = self.outer.last_mut();
                let waits = parent.as_ref().is_some_and(|parent| parent.waits.is_some());
                if let Some(parent) = parent {
                    parent.written = wait.written || removed_as != RemovedAs::Omit;
                }
                if !waits {
                    surround.out.append(&mut self.waiting);
                }
                self.gone(end);
            }
        }
    }

    fn opening(&mut self, removed_as: RemovedAs) -> Opening<'_> {
        Opening {
            outer: &mut self.outer,
            waiting: &mut self.waiting,
            after: self.after,
            unwritten: &mut self.unwritten,
            removed_as,
        }
    }

    /// Writes what is decided of the bytes that are here, and checks what is kept of them.
    pub(super) fn pause<A: Arbiter>(&mut self, bytes: &[u8], surround: &mut Surround<'_, A>) -> Read<()> {
        if let Some(passing) = self.passing {
            if passing.stays {
                self.write(bytes, self.at, surround.out);
            }
            return Ok(());
        }
        let several = matches!(self.framing, Framing::Lines | Framing::Sequence);
        if self.expect == Expect::End || (self.expect == Expect::Document && several) {
            self.after = self.at;
        }
        self.write(bytes, self.after, surround.out);
        self.check_kept(bytes.len(), &surround.limits)
    }

    /// Writes what is not written yet, up to there.
    pub(super) fn write(&mut self, bytes: &[u8], to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(bytes.get(self.unwritten..to).unwrap_or_default());
        self.unwritten = to;
    }

    /// Whether what is kept of the bytes before `end` is within the bound.
    pub(super) fn check_kept(&mut self, end: usize, limits: &Limits) -> Read<()> {
        let kept_from = match (self.holding, self.passing) {
            (Some(holding), _) => holding.start,
            (None, Some(_)) => self.at,
            (None, None) => self.after,
        };
        if end.saturating_sub(kept_from) > limits.record {
            self.at = kept_from;
            return Err(Fault::TooLong);
        }
        if self.waiting.len() > limits.record { Err(Fault::TooLong) } else { Ok(()) }
    }
}

/// What stands between a container's last child and the next: the comma and the name.
pub(super) struct Opening<'a> {
    pub(super) outer: &'a mut Vec<Outer>,
    pub(super) waiting: &'a mut Vec<u8>,
    pub(super) after: usize,
    pub(super) unwritten: &'a mut usize,
    pub(super) removed_as: RemovedAs,
}

impl Opening<'_> {
    /// The value that comes stays: so does everything it stands in.
    #[inline(always)]
    pub(super) fn stay(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            out.append(self.waiting);
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
        let lead = bytes.get(*self.unwritten..at).unwrap_or_default();
        let into = if waits { &mut *self.waiting } else { out };
        into.extend_from_slice(lead);
        into.extend_from_slice(replacement);
    }

    /// The container at `at` stays if something in it does.
    fn wait(&mut self, bytes: &[u8], at: usize, bracket: u8, out: &mut Vec<u8>) -> Wait {
        self.write(bytes, self.after, out);
        let written = self.outer.last().is_some_and(|outer| outer.written);
        let start = self.waiting.len();
        self.lead(bytes);
        self.waiting.extend_from_slice(bytes.get(*self.unwritten..at).unwrap_or_default());
        let wait = Wait { lead: start, bracket: self.waiting.len(), written };
        self.waiting.push(bracket);
        wait
    }

    /// What comes, or something in its place, is written.
    #[inline(always)]
    fn lead(&mut self, bytes: &[u8]) {
        let Some(outer) = self.outer.last_mut() else { return };
        if !outer.written && !outer.first {
            // The first that is written: the comma before it has nothing to separate.
            *self.unwritten = after_comma(bytes, self.after);
        }
        outer.first = false;
        outer.written = true;
    }

    /// Writes what is not written yet, up to there.
    pub(super) fn write(&mut self, bytes: &[u8], to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(bytes.get(*self.unwritten..to).unwrap_or_default());
        *self.unwritten = to;
    }
}
