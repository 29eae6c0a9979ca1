//! The walk over the bytes of a body. It checks them against RFC 8259 and decides everything as early as possible.
//!
//! Outside of held values the document is streamed: kept bytes are copied, and removed bytes are skipped. A container
//! that is kept only if something in it is kept is pending: the few bytes that open it are buffered ([`outside`]). A
//! value that has to be whole before it is decided, usually a record, is held and handed to [`super::held_value`]
//! ([`holding`]). The walk buffers no other bytes. Invariant: no byte is written before the permit that covers it is
//! known.
//!
//! [`Expect`] is the state of the tokenizer:
//!
//! ```text
//! Document ────────────────> Value
//! Value ──── { ────────────> FirstName
//!       ──── [ ────────────> FirstElement    as Value, or ] as in Next
//!       ──── scalar ───────> Next
//!       ──── " ────────────> InString ─ " ─> Next    a long string that is streamed
//! FirstName ─ string ──────> Colon ─── : ──> Value   or } as in Next
//! Name ────── string ──────> Colon
//! Next ────── , ───────────> Name in an object, Value in an array
//!      ────── } or ] ──────> Next              or End, if this was the outermost container
//! End ─────── separator ───> Value             if the body has several texts
//! ```

mod frames;
mod holding;
mod names;
mod outside;
mod run;
mod stream;
mod texts;

use std::sync::Arc;

use self::frames::{Frame, Frames, Mode};
use self::holding::Holding;
use self::outside::StreamedValue;
use self::stream::StreamWriter;
use self::texts::Gap;
use super::form_policy::{FixedRemoval, FormPolicy};
use super::held_value::{OutsideRecords, RouteContext, ValueDecision};
use super::lex::{self, Scan};
use super::mapping::{DuplicateKeys, RemovedAs};
use super::member_names::MemberNames;
use super::node_table::NodeTable;
use super::plan::Plan;
use super::shape_cache::ShapeCache;
use super::state::{DEAD, StateId};
use super::unreadable::{BodyFault, Framing, Limits, Unreadable};
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// Everything that the walk uses and does not own.
pub(super) struct WalkContext<'a, A: FormPolicy> {
    pub(super) route: RouteContext<'a>,
    pub(super) limits: Limits,
    pub(super) policy: &'a mut A,
    pub(super) outside: &'a mut OutsideRecords<A::Permit>,
    pub(super) out: &'a mut Vec<u8>,
}

impl<A: FormPolicy> WalkContext<'_, A> {
    /// Returns true if a value of this class outside of records is kept, and false if it is removed. Returns `None`
    /// if it has to be held, because it leaves in another form or its text is searched.
    #[inline(always)]
    fn keeps(&mut self, class: ClassId) -> Option<bool> {
        match self.outside.form(class, self.route, self.policy) {
            Form::Clear if !self.route.plan.redacts(class) => Some(true),
            Form::Removed => Some(false),
            Form::Clear | Form::Masked | Form::Generalised | Form::Pseudonymised => None,
        }
    }
}

/// The token that is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A JSON text.
    Document,
    /// The first element, or the end of the array.
    FirstElement,
    /// The first name, or the end of the object.
    FirstName,
    Name,
    Colon,
    Value,
    /// A comma, or the end of the container.
    Next,
    /// The rest of a string that is streamed.
    InString,
    /// The end of the body, or a separator and another text.
    End,
}

/// The state of the walk. Offsets count from the first byte that is kept.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    framing: Framing,
    /// The state of the document's root.
    root: StateId,
    /// True if the document is only put in a table, and no action is decided.
    index_only: bool,
    /// True if duplicate names are refused everywhere. If false, names are compared in indexed objects only.
    refuses_duplicates: bool,
    expect: Expect,
    at: usize,
    /// The offset up to which the string at `at` was scanned; zero if no part of it was scanned.
    scanned: usize,
    /// True if the scanned part of the current name contains an escape.
    escaped: bool,
    frames: Frames,
    stream: StreamWriter,
    shapes: Arc<ShapeCache>,
    names: MemberNames,
    /// The offset of the last name that was read.
    name_start: usize,
    /// The state of the member with that name.
    member_state: StateId,
    /// True if that name occurred earlier in its object.
    duplicate: bool,
    /// The hash of the name, while its prefix may have to be added to the shape cache.
    new_name: Option<u64>,
    holding: Option<Holding>,
    streamed: Option<StreamedValue>,
    /// The separator since the last text.
    gap: Gap,
    table: NodeTable,
    decision: ValueDecision,
    /// A buffer for names with escapes.
    unescaped: Vec<u8>,
}

type WalkResult<T> = Result<T, BodyFault>;

/// An offset, and the token that is expected there. `None` if more bytes have to come, in which case the walk is
/// suspended.
type NextToken = Option<(usize, Expect)>;

impl Walk {
    pub(super) fn new(plan: &Plan, framing: Framing, removed_as: RemovedAs) -> Walk {
        Walk {
            framing,
            root: plan.automaton.root,
            index_only: false,
            refuses_duplicates: plan.options.duplicate_keys == DuplicateKeys::Refuse,
            expect: Expect::Document,
            at: 0,
            scanned: 0,
            escaped: false,
            frames: Frames::new(),
            stream: StreamWriter::new(removed_as),
            shapes: plan.shapes.load(),
            names: MemberNames::default(),
            name_start: 0,
            member_state: DEAD,
            duplicate: false,
            new_name: None,
            holding: None,
            streamed: None,
            gap: Gap::default(),
            table: NodeTable::default(),
            decision: ValueDecision::default(),
            unescaped: Vec::new(),
        }
    }

    /// Returns the shapes of the objects in this body, to start the next body with.
    pub(super) fn shapes(&self) -> &Arc<ShapeCache> {
        &self.shapes
    }

    /// Returns the table of a JSON text without white space around it, whose root is in the state `root`.
    pub(super) fn index_text(
        route: RouteContext<'_>,
        root: StateId,
        text: &[u8],
        limits: Limits,
    ) -> Result<NodeTable, Unreadable> {
        let mut walk = Walk {
            root,
            index_only: true,
            ..Walk::new(route.plan, Framing::Document, route.plan.options.removed_as)
        };
        let mut outside = OutsideRecords::new(0);
        // No permit is requested, and nothing is written.
        let mut context = WalkContext {
            route,
            limits,
            policy: &mut FixedRemoval,
            outside: &mut outside,
            out: &mut Vec::new(),
        };
        walk.run(text, 0, true, &mut context)?;
        if walk.is_complete() {
            Ok(walk.table)
        } else {
            Err(Unreadable { fault: BodyFault::Truncated, at: text.len() as u64 })
        }
    }

    /// Returns the number of bytes that are no longer needed.
    pub(super) fn decided(&self) -> usize {
        if self.streamed.is_some() { self.at } else { self.stream.child_end.min(self.at) }
    }

    /// Adjusts all offsets after the first `by` bytes were dropped.
    pub(super) fn shift(&mut self, by: usize) {
        self.at -= by;
        self.scanned = self.scanned.saturating_sub(by);
        self.name_start = self.name_start.saturating_sub(by);
        self.stream.shift(by);
        if let Some(holding) = &mut self.holding {
            holding.base -= by;
            holding.start -= by;
        }
    }

    /// Reads all of `bytes`, whose first byte has the offset `base` in the body. `last` is true if no more bytes will
    /// come.
    pub(super) fn run<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        base: u64,
        last: bool,
        context: &mut WalkContext<'_, A>,
    ) -> Result<(), Unreadable> {
        let result = self.run_lines(bytes, context).and_then(|()| {
            self.read(bytes, last, context)?;
            self.write_and_check(bytes, context)
        });
        // A value that is too long is reported first, so that the fault does not depend on the chunks.
        let result = result.map_err(|fault| match self.check_kept(self.at, &context.limits) {
            Ok(()) => fault,
            Err(too_long) => too_long,
        });
        if result.is_err() {
            self.stream.write_decided(bytes, context.out);
        }
        result.map_err(|fault| Unreadable { fault, at: base + self.at as u64 })
    }

    /// Reads token after token until the bytes end. The steps of the loop follow the order of a member, so one
    /// iteration reads one member: comma, name, colon, value.
    ///
    /// The offset and the expected token are local variables here. If they were fields of `self`, each token would
    /// wait for the stores of the token before it.
    fn read<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        last: bool,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<()> {
        let mut at = self.at;
        let mut expect = self.expect;
        // The end of the previous value or opening bracket, if it is in these bytes. The prefix of the next member
        // starts here. A run may start here as well.
        let mut prefix_start = usize::MAX;
        loop {
            if prefix_start == at {
                (at, expect) = self.run_on(bytes, at, expect, context)?;
                prefix_start = at;
            }
            if expect == Expect::Next {
                let Some(next) = self.read_separator(bytes, at, context)? else { return Ok(()) };
                (at, expect) = next;
                if expect == Expect::Next {
                    prefix_start = at;
                    continue;
                }
            }
            if matches!(expect, Expect::Name | Expect::FirstName) {
                let Some(next) = self.read_member(bytes, at, expect, context)? else { return Ok(()) };
                (at, expect) = next;
                if expect != Expect::Colon {
                    prefix_start = at;
                    continue;
                }
            }
            if expect == Expect::Colon {
                let Some(next) = self.read_colon(bytes, at, prefix_start)? else { return Ok(()) };
                (at, expect) = next;
            }
            if matches!(expect, Expect::Value | Expect::FirstElement) {
                let Some(next) = self.read_value(bytes, at, expect, last, context)? else { return Ok(()) };
                (at, expect) = next;
                prefix_start = at;
            }
            if matches!(expect, Expect::InString | Expect::End | Expect::Document) {
                let Some(next) = self.read_rarely(bytes, at, expect)? else { return Ok(()) };
                (at, expect) = next;
                prefix_start = at;
            }
        }
    }

    /// Suspends the walk at the end of the bytes.
    fn suspend(&mut self, at: usize, expect: Expect) -> WalkResult<NextToken> {
        (self.at, self.expect) = (at, expect);
        Ok(None)
    }

    #[cold]
    fn fail<T>(&mut self, at: usize, fault: BodyFault) -> WalkResult<T> {
        self.at = at;
        Err(fault)
    }

    /// Reads a comma, or the end of the innermost container.
    #[inline(always)]
    fn read_separator<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<NextToken> {
        let at = lex::space(bytes, at);
        let Some(&byte) = bytes.get(at) else { return self.suspend(at, Expect::Next) };
        let array = self.frames.top().array;
        let expect = match byte {
            b',' if array => self.next_element(),
            b',' => Expect::Name,
            b']' if array => self.close(bytes, at + 1, context)?,
            b'}' if !array => self.close(bytes, at + 1, context)?,
            _ => return self.fail(at, BodyFault::Malformed),
        };
        Ok(Some((at + 1, expect)))
    }

    /// Reads the name of a member, or the end of an empty object.
    #[inline(always)]
    fn read_member<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        expect: Expect,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<NextToken> {
        let at = lex::space(bytes, at);
        match bytes.get(at) {
            Some(b'"') => match self.read_name(bytes, at, context)? {
                Some(end) => Ok(Some((end, Expect::Colon))),
                None => self.suspend(at, expect),
            },
            Some(b'}') if expect == Expect::FirstName => {
                let expect = self.close(bytes, at + 1, context)?;
                Ok(Some((at + 1, expect)))
            }
            Some(_) => self.fail(at, BodyFault::Malformed),
            None => self.suspend(at, expect),
        }
    }

    /// Reads the colon of the member whose prefix starts at `prefix_start`.
    #[inline(always)]
    fn read_colon(&mut self, bytes: &[u8], at: usize, prefix_start: usize) -> WalkResult<NextToken> {
        let at = lex::space(bytes, at);
        match bytes.get(at) {
            Some(b':') => {
                let at = lex::space(bytes, at + 1);
                self.cache_prefix(bytes, prefix_start, at);
                Ok(Some((at, Expect::Value)))
            }
            Some(_) => self.fail(at, BodyFault::Malformed),
            None => self.suspend(at, Expect::Colon),
        }
    }

    /// Reads a value, or the end of an empty array.
    #[inline(always)]
    fn read_value<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        expect: Expect,
        last: bool,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<NextToken> {
        let at = lex::space(bytes, at);
        let Some(&byte) = bytes.get(at) else { return self.suspend(at, expect) };
        if byte == b']' && expect == Expect::FirstElement {
            let expect = self.close(bytes, at + 1, context)?;
            return Ok(Some((at + 1, expect)));
        }
        let is_scalar_text = self.frames.is_empty() && !matches!(byte, b'{' | b'[');
        if is_scalar_text
            && self.framing == Framing::Sequence
            && !self.is_ended_by_line_feed(bytes, at, last)?
        {
            return self.suspend(at, expect);
        }
        match self.value(bytes, at, byte, last, context)? {
            Some(next) => Ok(Some(next)),
            None => self.suspend(at, expect),
        }
    }

    fn next_element(&mut self) -> Expect {
        self.frames.top_mut().index += 1;
        Expect::Value
    }

    /// Returns the token that is expected after a value.
    fn after_value(&self) -> Expect {
        if self.frames.is_empty() { Expect::End } else { Expect::Next }
    }

    /// Scans the scalar at `start`. Returns its end, or `None` if it is not whole.
    #[inline(always)]
    fn scalar(
        &mut self,
        bytes: &[u8],
        start: usize,
        byte: u8,
        last: bool,
        limits: &Limits,
    ) -> WalkResult<Option<usize>> {
        let scan = match byte {
            b'"' => lex::string(bytes, self.scanned.max(start + 1), &mut false),
            // A number can end with the body only if it is the whole document.
            b'-' | b'0'..=b'9' => match lex::number(bytes, start, last && self.frames.is_empty()) {
                Scan::Partial(_) if bytes.len() - start > limits.number => {
                    return self.fail(start, BodyFault::NumberTooLong);
                }
                // A number that is too long is reported first, so that the fault does not depend on the chunks.
                Scan::Whole(end) | Scan::Wrong(end) if end - start > limits.number => {
                    return self.fail(start, BodyFault::NumberTooLong);
                }
                scan => scan,
            },
            _ => match lex::word(bytes, start, byte) {
                Some(scan) => scan,
                None => return self.fail(start, BodyFault::Malformed),
            },
        };
        match scan {
            Scan::Whole(end) => {
                self.scanned = 0;
                Ok(Some(end))
            }
            Scan::Partial(scanned) => {
                self.scanned = scanned;
                Ok(None)
            }
            Scan::Wrong(at) => {
                self.fail(at, if at == bytes.len() { BodyFault::Truncated } else { BodyFault::Malformed })
            }
        }
    }

    /// Reads the value at `at`. Returns `None`, without suspending the walk, if more bytes have to come.
    #[inline(always)]
    fn value<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        last: bool,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<NextToken> {
        let mode = self.frames.top().mode;
        let container = matches!(byte, b'{' | b'[');
        let end = if container { None } else { self.scalar(bytes, at, byte, last, &context.limits)? };
        if mode == Mode::PerMember {
            return self.begin_value(bytes, at, byte, end, context);
        }
        match end {
            Some(end) => {
                if mode == Mode::Indexed {
                    self.index_node(at, Some(end), context);
                }
                Ok(Some((end, Expect::Next)))
            }
            None if container => {
                let node =
                    if mode == Mode::Indexed { Some(self.index_node(at, None, context)) } else { None };
                let inside = match node {
                    Some((_, true)) => Mode::Indexed,
                    Some((_, false)) | None => Mode::Validated,
                };
                self.open(at, byte, inside, node.map(|(node, _)| node), context).map(Some)
            }
            None if byte == b'"' && self.holding.is_none() => Ok(Some(self.suspend_string())),
            None => Ok(None),
        }
    }

    /// Returns the state of the value that comes next.
    fn value_state(&self, plan: &Plan) -> StateId {
        let top = self.frames.top();
        if !top.array {
            self.member_state
        } else if self.frames.is_empty() {
            self.root
        } else {
            plan.automaton.element(top.state, u32::try_from(top.index).unwrap_or(u32::MAX))
        }
    }

    /// Opens the container at `at`.
    #[inline(never)]
    fn open<A: FormPolicy>(
        &mut self,
        at: usize,
        byte: u8,
        mode: Mode,
        node: Option<u32>,
        context: &WalkContext<'_, A>,
    ) -> WalkResult<(usize, Expect)> {
        if self.frames.depth() >= context.limits.depth {
            return self.fail(at, BodyFault::TooDeep);
        }
        let array = byte == b'[';
        let state = match mode {
            Mode::PerMember | Mode::Indexed => self.value_state(context.route.plan),
            Mode::Validated => DEAD,
        };
        let parent = self.frames.top();
        let shape_path = self.shapes.child_path(&parent.shape_path, parent.array);
        let names = self.names.open();
        self.frames.push(Frame { array, mode, state, node, index: 0, shape_path, names });
        Ok((at + 1, if array { Expect::FirstElement } else { Expect::FirstName }))
    }

    /// Closes the innermost container, whose bracket is the byte before `end`.
    #[inline(never)]
    fn close<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        end: usize,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<Expect> {
        let Some(frame) = self.frames.pop() else { return self.fail(end - 1, BodyFault::Malformed) };
        self.names.close(&frame.names);
        if let (Some(node), Some(holding)) = (frame.node, self.holding) {
            self.table.close(node, (end - holding.base) as u32);
        }
        match frame.mode {
            Mode::PerMember => self.stream.close(frame.array, end, context.out),
            Mode::Indexed | Mode::Validated => {
                if self.holding.is_some_and(|holding| holding.depth == self.frames.depth()) {
                    self.finish_held(bytes, end, context)?;
                } else {
                    self.end_streamed(end);
                }
            }
        }
        Ok(self.after_value())
    }
}
