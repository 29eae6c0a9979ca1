//! The walk over a body: RFC 8259 checked byte by byte, everything decided as early as it can be.
//!
//! Refuses to keep what it need not. Outside of held values the document streams: what stays is
//! copied, what goes is skipped, and only a container whose staying depends on its content waits,
//! as the few bytes that open it. A value that must be whole before it is decided (a record above
//! all) is held and handed to [`super::held_value`]. Invariant: no byte is written before the verdict it
//! stands under is known.

mod holding;
mod names;
mod outside;
mod run;
mod texts;

use std::sync::Arc;

use self::holding::Holding;
use self::outside::{StreamWriter, StreamedValue};
use self::texts::Gap;
use super::form_policy::{FixedRemoval, FormPolicy};
use super::held_value::{OutsideRecords, RouteContext, ValueDecision};
use super::lex::{self, Scan};
use super::mapping::DuplicateKeys;
use super::member_names::{MemberNames, ObjectNames};
use super::node_table::NodeTable;
use super::plan::Plan;
use super::shape_cache::{ShapeCache, ShapePath};
use super::state::{DEAD, StateId};
use super::unreadable::{BodyFault, Framing, Limits, Unreadable};
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// What the walk needs from around it.
pub(super) struct WalkContext<'a, A: FormPolicy> {
    pub(super) route: RouteContext<'a>,
    pub(super) limits: Limits,
    pub(super) policy: &'a mut A,
    pub(super) outside: &'a mut OutsideRecords<A::Permit>,
    pub(super) out: &'a mut Vec<u8>,
}

impl<A: FormPolicy> WalkContext<'_, A> {
    /// Whether what no record holds stays or goes; `None` where it leaves in another form, or has to be looked
    /// through.
    #[inline(always)]
    fn keeps(&mut self, class: ClassId) -> Option<bool> {
        match self.outside.form(class, self.route, self.policy) {
            Form::Clear if !self.route.plan.redacts(class) => Some(true),
            Form::Removed => Some(false),
            Form::Clear | Form::Masked | Form::Generalised | Form::Pseudonymised => None,
        }
    }
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A JSON text.
    Document,
    /// The first element, or the end of the array.
    FirstElement,
    /// The first member, or the end of the object.
    FirstName,
    Name,
    Colon,
    Value,
    /// A comma, or the end of the container.
    Next,
    /// More of a string that is passed on or over in pieces.
    InString,
    /// The end of the body (or a line's end, and another text).
    End,
}

/// How the inside of an open container is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Decided member by member.
    PerMember,
    /// Part of a held value: noted in the table.
    Indexed,
    /// Only checked: it shares the fate of its container.
    Validated,
}

/// A container that is open.
#[derive(Clone, Copy, Debug)]
struct Frame {
    array: bool,
    mode: Mode,
    state: StateId,
    /// The node to close at the end; none where there is no table.
    node: Option<u32>,
    /// Position of the next element.
    index: u64,
    /// The names it has had: along the tree of what is known, or one by one.
    shape_path: ShapePath,
    names: ObjectNames,
}

impl Frame {
    /// What stands around the document: it has one element.
    fn document() -> Frame {
        Frame {
            array: true,
            mode: Mode::PerMember,
            state: DEAD,
            node: None,
            index: 0,
            shape_path: ShapePath::document(),
            names: ObjectNames::default(),
        }
    }
}

/// The containers that are open.
#[derive(Clone, Debug)]
struct Frames {
    /// What stands around them.
    document: Frame,
    /// The innermost last.
    open: Vec<Frame>,
}

impl Frames {
    fn new() -> Frames {
        Frames { document: Frame::document(), open: Vec::new() }
    }

    fn depth(&self) -> usize {
        self.open.len()
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The innermost; the document where there is none.
    #[inline(always)]
    fn top(&self) -> &Frame {
        self.open.last().unwrap_or(&self.document)
    }

    #[inline(always)]
    fn top_mut(&mut self) -> &mut Frame {
        self.open.last_mut().unwrap_or(&mut self.document)
    }
}

/// The state of the walk. Places are offsets into the bytes that are here.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    framing: Framing,
    /// Of the document.
    root: StateId,
    /// The document is only noted, and never decided.
    index_only: bool,
    /// Names are compared everywhere, or only where a record is read from them.
    refuses_duplicates: bool,
    expect: Expect,
    at: usize,
    /// How far the string at `at` was scanned, if it was.
    scanned: usize,
    escaped: bool,
    frames: Frames,
    stream: StreamWriter,
    shapes: Arc<ShapeCache>,
    names: MemberNames,
    /// The name that was read last: its place, and the state it leads to.
    name_start: usize,
    member_state: StateId,
    duplicate: bool,
    /// Its hash, until its value comes.
    new_name: Option<u64>,
    holding: Option<Holding>,
    streamed: Option<StreamedValue>,
    /// What has come since the last text.
    gap: Gap,
    table: NodeTable,
    decision: ValueDecision,
    unescaped: Vec<u8>,
}

type WalkResult<T> = Result<T, BodyFault>;

impl Walk {
    /// What came in this body, for the next one of the plan.
    pub(super) fn shapes(&self) -> &Arc<ShapeCache> {
        &self.shapes
    }

    pub(super) fn new(plan: &Plan, framing: Framing) -> Walk {
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
            stream: StreamWriter::new(plan.options.removed_as),
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

    /// The table of a JSON text whose root is in this state. The text begins and ends with its value.
    pub(super) fn index_text(
        route: RouteContext<'_>,
        root: StateId,
        text: &[u8],
        limits: Limits,
    ) -> Result<NodeTable, Unreadable> {
        let mut walk = Walk { root, index_only: true, ..Walk::new(route.plan, Framing::Document) };
        let mut outside = OutsideRecords::new(0);
        // Nobody is asked for a verdict, and nothing is written.
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

    /// How many of the bytes are no longer needed.
    pub(super) fn decided(&self) -> usize {
        if self.streamed.is_some() { self.at } else { self.stream.child_end.min(self.at) }
    }

    /// The first `by` bytes were dropped.
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

    /// Reads on over all of `bytes`. `last`: no more will come.
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
        // Whatever is wrong after the bound, the bound was passed before.
        let result = result.map_err(|fault| match self.check_kept(self.at, &context.limits) {
            Ok(()) => fault,
            Err(passed) => passed,
        });
        if result.is_err() {
            self.stream.write_decided(bytes, context.out);
        }
        result.map_err(|fault| Unreadable { fault, at: base + self.at as u64 })
    }

    /// The loop. A member runs straight through it: name, colon, value, comma; wherever the bytes end,
    /// what is expected there is kept for the next call. Place and expectation are in locals
    /// meanwhile: through memory, each token would wait for the one before.
    fn read<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        last: bool,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<()> {
        let mut at = self.at;
        let mut expect = self.expect;
        // Where a value, or a bracket, ended in these bytes: what comes there may be a run, and a name that comes
        // there has its lead from there.
        let mut lead = usize::MAX;
        loop {
            if lead == at {
                (at, expect) = self.run_on(bytes, at, expect, context)?;
                lead = at;
            }
            if expect == Expect::Next {
                at = lex::space(bytes, at);
                let Some(&byte) = bytes.get(at) else { return self.suspend(at, expect) };
                at += 1;
                let array = self.frames.top().array;
                expect = match byte {
                    b',' if array => self.next_element(),
                    b',' => Expect::Name,
                    b']' if array => self.close(bytes, at, context)?,
                    b'}' if !array => self.close(bytes, at, context)?,
                    _ => return self.fail(at - 1, BodyFault::Malformed),
                };
                if expect == Expect::Next {
                    lead = at;
                    continue;
                }
            }
            if matches!(expect, Expect::Name | Expect::FirstName) {
                at = lex::space(bytes, at);
                let Some(&byte) = bytes.get(at) else { return self.suspend(at, expect) };
                if byte == b'"' {
                    let Some(end) = self.read_name(bytes, at, context)? else {
                        return self.suspend(at, expect);
                    };
                    at = end;
                    expect = Expect::Colon;
                } else if byte == b'}' && expect == Expect::FirstName {
                    at += 1;
                    expect = self.close(bytes, at, context)?;
                    lead = at;
                    continue;
                } else {
                    return self.fail(at, BodyFault::Malformed);
                }
            }
            if expect == Expect::Colon {
                at = lex::space(bytes, at);
                match bytes.get(at) {
                    Some(b':') => at = lex::space(bytes, at + 1),
                    Some(_) => return self.fail(at, BodyFault::Malformed),
                    None => return self.suspend(at, expect),
                }
                self.cache_prefix(bytes, lead, at);
                expect = Expect::Value;
            }
            if matches!(expect, Expect::Value | Expect::FirstElement) {
                at = lex::space(bytes, at);
                let Some(&byte) = bytes.get(at) else { return self.suspend(at, expect) };
                if byte == b']' && expect == Expect::FirstElement {
                    at += 1;
                    expect = self.close(bytes, at, context)?;
                } else {
                    let scalar = self.frames.is_empty() && !matches!(byte, b'{' | b'[');
                    if scalar && self.framing == Framing::Sequence && !self.is_ended(bytes, at, last)? {
                        return self.suspend(at, expect);
                    }
                    match self.value(bytes, at, byte, last, context)? {
                        Some((end, next)) => (at, expect) = (end, next),
                        None => return self.suspend(at, expect),
                    }
                }
                lead = at;
            }
            if matches!(expect, Expect::InString | Expect::End | Expect::Document) {
                match self.between_texts(bytes, at, expect)? {
                    Some(next) => (at, expect) = next,
                    None => return Ok(()),
                }
                lead = at;
            }
        }
    }

    /// The bytes end here.
    fn suspend(&mut self, at: usize, expect: Expect) -> WalkResult<()> {
        (self.at, self.expect) = (at, expect);
        Ok(())
    }

    #[cold]
    fn fail<T>(&mut self, at: usize, fault: BodyFault) -> WalkResult<T> {
        self.at = at;
        Err(fault)
    }

    fn next_element(&mut self) -> Expect {
        self.frames.top_mut().index += 1;
        Expect::Value
    }

    /// What is expected after a value.
    fn after_value(&self) -> Expect {
        if self.frames.is_empty() { Expect::End } else { Expect::Next }
    }

    /// Scans the scalar at `start`. `None`: it is not whole.
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
            // Only a document's own number may end with the body.
            b'-' | b'0'..=b'9' => match lex::number(bytes, start, last && self.frames.is_empty()) {
                Scan::Partial(_) if bytes.len() - start > limits.number => {
                    return self.fail(start, BodyFault::NumberTooLong);
                }
                // Whatever is wrong after the bound, the bound was passed before.
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

    /// Reads the value at `at`: where to go on, and what is expected there. `None`: more bytes must come.
    #[inline(always)]
    fn value<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        last: bool,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<Option<(usize, Expect)>> {
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

    /// The state of the value that comes.
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
        let around = self.frames.top();
        let path = self.shapes.child_path(&around.shape_path, around.array);
        let inside = Frame { array, mode, state, node, index: 0, shape_path: path, names: self.names.open() };
        self.frames.open.push(inside);
        Ok((at + 1, if array { Expect::FirstElement } else { Expect::FirstName }))
    }

    /// Closes the innermost container, whose bracket stands before `end`.
    #[inline(never)]
    fn close<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        end: usize,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<Expect> {
        let Some(frame) = self.frames.open.pop() else { return self.fail(end - 1, BodyFault::Malformed) };
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
