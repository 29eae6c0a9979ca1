//! Runs: scalars one after the other, as members or as elements, of which each is settled at once.
//!
//! Refuses whatever is out of the ordinary. A run ends before the first value that is a container, is not whole,
//! is wrong, stands behind a name that has not come there before (or is not recognised so near to the end of the
//! bytes), or of which more is asked than its class; [`Walk::read`] goes on from that place as if there had been no
//! run. So nothing is read here that would be read otherwise there. Containers that end straight after a run are
//! closed as they are there.

use super::{Expect, Mode, Walk, WalkContext, WalkResult};
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex::{self, Scan};

impl Walk {
    /// Reads on from `at`, straight after a value or an opening bracket: where the run ends, and what is
    /// expected there.
    #[inline(always)]
    pub(super) fn run_on<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut expect: Expect,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<(usize, Expect)> {
        loop {
            (at, expect) = match (self.frames.top().array, expect) {
                (false, Expect::Next | Expect::FirstName) => self.run_members(bytes, at, expect, context),
                (true, Expect::Next | Expect::FirstElement) => self.run_elements(bytes, at, expect, context),
                _ => return Ok((at, expect)),
            };
            let bracket = if self.frames.top().array { b']' } else { b'}' };
            let may_end = matches!(expect, Expect::Next | Expect::FirstName | Expect::FirstElement);
            if !may_end || bytes.get(at) != Some(&bracket) {
                return Ok((at, expect));
            }
            at += 1;
            expect = self.close(bytes, at, context)?;
        }
    }

    #[inline(always)]
    fn run_members<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut expect: Expect,
        context: &mut WalkContext<'_, A>,
    ) -> (usize, Expect) {
        if !self.frames.top().shape_path.cached {
            return (at, expect);
        }
        let mode = self.frames.top().mode;
        loop {
            let top = self.frames.top_mut();
            let Some(known) = self.shapes.match_prefix(&mut top.shape_path, top.state, bytes, at) else {
                return (at, expect);
            };
            let value = known.value;
            (self.name_start, self.member_state) = (known.name, known.state);
            let Some(end) = scalar(bytes, value, context.limits.number) else {
                return (value, Expect::Value);
            };
            let settled = match mode {
                Mode::Validated => true,
                Mode::Indexed => {
                    self.index_node(value, Some(end), context);
                    true
                }
                Mode::PerMember => self.keep_or_drop_scalar(bytes, value, end, context),
            };
            if !settled {
                return (value, Expect::Value);
            }
            (at, expect) = (end, Expect::Next);
        }
    }

    #[inline(always)]
    fn run_elements<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut expect: Expect,
        context: &WalkContext<'_, A>,
    ) -> (usize, Expect) {
        let mode = self.frames.top().mode;
        // Elements that are decided one by one are few: records have members.
        if mode == Mode::PerMember {
            return (at, expect);
        }
        loop {
            let start = match (expect, bytes.get(at)) {
                (Expect::FirstElement, _) => at,
                (_, Some(b',')) => lex::space(bytes, at + 1),
                _ => return (at, expect),
            };
            let Some(end) = scalar(bytes, start, context.limits.number) else { return (at, expect) };
            if expect == Expect::Next {
                self.frames.top_mut().index += 1;
            }
            if mode == Mode::Indexed {
                self.index_node(start, Some(end), context);
            }
            (at, expect) = (end, Expect::Next);
        }
    }

    /// Lets the scalar member at `at` stay or go, as [`Walk::outside`] would. `false`: it is held, or leaves otherwise.
    #[inline(always)]
    fn keep_or_drop_scalar<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        end: usize,
        context: &mut WalkContext<'_, A>,
    ) -> bool {
        let plan = context.route.plan;
        if plan.automaton.flags(self.member_state).held || at - self.stream.child_end > context.limits.record
        {
            return false;
        }
        let own = plan.state_class(self.member_state);
        let class = own.or(self.stream.class()).unwrap_or(UNCLASSIFIED);
        let Some(stays) = context.keeps(class) else { return false };
        if own.is_some() || class == UNCLASSIFIED {
            context.outside.count(class);
        }
        if stays {
            self.stream.keep(bytes, context.out);
        } else {
            self.stream.remove(bytes, at, context.out);
        }
        self.stream.end_value(end, stays);
        true
    }
}

/// The end of the scalar at `start`; `None` if it is none, not whole, too long, or wrong.
#[inline(always)]
fn scalar(bytes: &[u8], start: usize, longest_number: usize) -> Option<usize> {
    let scan = match *bytes.get(start)? {
        b'"' => lex::string(bytes, start + 1, &mut false),
        b'-' | b'0'..=b'9' => match lex::number(bytes, start, false) {
            Scan::Whole(end) if end - start > longest_number => return None,
            scan => scan,
        },
        first => lex::word(bytes, start, first)?,
    };
    match scan {
        Scan::Whole(end) => Some(end),
        Scan::Partial(_) | Scan::Wrong(_) => None,
    }
}
