//! The walk over a body: RFC 8259 checked byte by byte, everything decided as early as it can be.
//!
//! Refuses to keep what it need not. Outside of held values the document streams: what stays is
//! copied, what goes is skipped, and only a container whose staying depends on its content waits,
//! as the few bytes that open it. A value that must be whole before it is decided (a record above
//! all) is held and handed to [`super::unit`]. Invariant: no byte is written before the verdict it
//! stands under is known.

use super::arbiter::Arbiter;
use super::automaton::StateId;
use super::evaluate::{Place, denoted};
use super::lex::{self, Scan};
use super::mapping::{DuplicateKeys, RemovedAs};
use super::names::{Names, Seen};
use super::plan::{Plan, UNCLASSIFIED};
use super::table::{Held, Node, Table};
use super::unit::{Common, Outside, Scratch, Surroundings, Unit, after_comma, replacement};
use super::unreadable::{Fault, Framing, Limits, Unreadable};
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// What the walk needs from around it.
pub(super) struct Surround<'a, A: Arbiter> {
    pub(super) common: Common<'a>,
    pub(super) limits: Limits,
    pub(super) arbiter: &'a mut A,
    pub(super) outside: &'a mut Outside<A::Verdict>,
    pub(super) out: &'a mut Vec<u8>,
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
    Within,
    /// The end of the body (or a line's end, and another text).
    End,
}

/// How the inside of an open container is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Decided member by member.
    Outside,
    /// Part of a held value: noted in the table.
    Noted,
    /// Only checked: it shares the fate of its container.
    Still,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    array: bool,
    mode: Mode,
    state: StateId,
    /// Position of the next element.
    index: u64,
    seen: Seen,
    /// The node to close at the end; none where there is no table.
    node: Option<u32>,
    /// Of what stands in it and is classified by nothing nearer.
    class: ClassId,
    /// Whether a child has come, and whether one was written.
    first: bool,
    written: bool,
    /// Set while nothing in it has stayed: its opening waits.
    waits: Option<Wait>,
}

/// An opening that waits, as places in the waiting bytes.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Before the comma and the name.
    lead: usize,
    /// Before the bracket.
    bracket: usize,
    /// Whether the container around it had written a child before.
    written: bool,
}

/// The value that is held.
#[derive(Clone, Copy, Debug)]
struct Holding {
    /// Where its name begins, or itself.
    base: usize,
    start: usize,
    /// Frames around it.
    depth: usize,
}

/// A value that is passed on, or over, as it comes.
#[derive(Clone, Copy, Debug)]
struct Passing {
    /// From here on it is not written yet; none if it goes.
    from: Option<usize>,
    depth: usize,
}

/// The state of the walk. Places are offsets into the bytes that are here.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    framing: Framing,
    /// Names are compared everywhere, or only where a record is read from them.
    refuses_duplicates: bool,
    expect: Expect,
    at: usize,
    /// How far the string at `at` was scanned, if it was.
    scanned: usize,
    escaped: bool,
    frames: Vec<Frame>,
    names: Names,
    /// The name that was read last: its place, and the state it leads to.
    name: usize,
    member: StateId,
    repeated: bool,
    /// From here on nothing of the current container is written yet.
    after: usize,
    /// Openings that wait for something in them to stay.
    waiting: Vec<u8>,
    holding: Option<Holding>,
    passing: Option<Passing>,
    /// A line's end has come since the last text.
    line_ended: bool,
    table: Table,
    scratch: Scratch,
    unescaped: Vec<u8>,
}

type Read<T> = Result<T, Fault>;

/// Whether to go on, or to wait for more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Wait,
}

impl Walk {
    pub(super) fn new(plan: &Plan, framing: Framing) -> Walk {
        Walk {
            framing,
            refuses_duplicates: plan.duplicate_keys == DuplicateKeys::Refuse,
            expect: Expect::Document,
            at: 0,
            scanned: 0,
            escaped: false,
            frames: Vec::new(),
            names: Names::default(),
            name: 0,
            member: super::automaton::DEAD,
            repeated: false,
            after: 0,
            waiting: Vec::new(),
            holding: None,
            passing: None,
            line_ended: false,
            table: Table::default(),
            scratch: Scratch::default(),
            unescaped: Vec::new(),
        }
    }

    /// Whether the body may end here.
    pub(super) fn is_complete(&self) -> bool {
        match self.expect {
            Expect::End => true,
            Expect::Document => self.framing == Framing::Lines,
            Expect::FirstElement
            | Expect::FirstName
            | Expect::Name
            | Expect::Colon
            | Expect::Value
            | Expect::Next
            | Expect::Within => false,
        }
    }

    /// How many of the bytes are no longer needed.
    pub(super) fn decided(&self) -> usize {
        if self.passing.is_some() { self.at } else { self.after.min(self.at) }
    }

    /// The first `by` bytes were dropped.
    pub(super) fn shift(&mut self, by: usize) {
        self.at -= by;
        self.scanned = self.scanned.saturating_sub(by);
        self.name = self.name.saturating_sub(by);
        self.after = self.after.saturating_sub(by);
        if let Some(holding) = &mut self.holding {
            holding.base -= by;
            holding.start -= by;
        }
        if let Some(from) = self.passing.as_mut().and_then(|passing| passing.from.as_mut()) {
            *from -= by;
        }
    }

    /// Reads on over all of `bytes`. `last`: no more will come.
    pub(super) fn run<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        base: u64,
        last: bool,
        surround: &mut Surround<'_, A>,
    ) -> Result<(), Unreadable> {
        let result = match self.read(bytes, last, base == 0, surround) {
            Ok(()) => self.pause(bytes, surround),
            // Whatever is wrong after the bound, the bound was passed before.
            Err(fault) => self.check_kept(self.at, &surround.limits).and(Err(fault)),
        };
        result.map_err(|fault| Unreadable { fault, at: base + self.at as u64 })
    }

    fn read<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        last: bool,
        beginning: bool,
        surround: &mut Surround<'_, A>,
    ) -> Read<()> {
        loop {
            if self.expect == Expect::Within {
                if self.within(bytes, surround)? == Flow::Wait {
                    return Ok(());
                }
                continue;
            }
            self.at = lex::space(bytes, self.at);
            let Some(&byte) = bytes.get(self.at) else { return Ok(()) };
            let flow = match self.expect {
                Expect::Value => self.value(bytes, byte, last, surround)?,
                Expect::Name => self.read_name(bytes, byte, surround)?,
                Expect::Colon => {
                    if byte != b':' {
                        return Err(Fault::Malformed);
                    }
                    self.at += 1;
                    self.expect = Expect::Value;
                    Flow::On
                }
                Expect::Next => self.next(bytes, byte, surround)?,
                Expect::FirstName if byte == b'}' => self.close(bytes, surround)?,
                Expect::FirstName => self.read_name(bytes, byte, surround)?,
                Expect::FirstElement if byte == b']' => self.close(bytes, surround)?,
                Expect::FirstElement => self.value(bytes, byte, last, surround)?,
                Expect::Document => {
                    if self.at == 0 && beginning && bytes.starts_with("\u{feff}".as_bytes()) {
                        return Err(Fault::ByteOrderMark);
                    }
                    self.value(bytes, byte, last, surround)?
                }
                Expect::End => self.another_text(bytes)?,
                Expect::Within => Flow::On,
            };
            if flow == Flow::Wait {
                return Ok(());
            }
        }
    }

    /// Writes what is decided of the bytes that are here, and checks what is kept of them.
    fn pause<A: Arbiter>(&mut self, bytes: &[u8], surround: &mut Surround<'_, A>) -> Read<()> {
        if let Some(passing) = &mut self.passing {
            if let Some(from) = &mut passing.from {
                surround.out.extend_from_slice(bytes.get(*from..self.at).unwrap_or_default());
                *from = self.at;
            }
            return Ok(());
        }
        if self.expect == Expect::End || (self.expect == Expect::Document && self.framing == Framing::Lines) {
            let space = bytes.get(self.after..self.at).unwrap_or_default();
            self.line_ended |= space.contains(&b'\n');
            surround.out.extend_from_slice(space);
            self.after = self.at;
        }
        self.check_kept(bytes.len(), &surround.limits)
    }

    /// Whether what is kept of the bytes before `end` is within the bound.
    fn check_kept(&mut self, end: usize, limits: &Limits) -> Read<()> {
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

    fn another_text(&mut self, bytes: &[u8]) -> Read<Flow> {
        let between = bytes.get(self.after..self.at).unwrap_or_default();
        if self.framing == Framing::Document {
            return Err(Fault::TrailingBytes);
        }
        if !self.line_ended && !between.contains(&b'\n') {
            return Err(Fault::TrailingBytes);
        }
        self.line_ended = false;
        self.expect = Expect::Document;
        Ok(Flow::On)
    }

    #[inline(always)]
    fn next<A: Arbiter>(&mut self, bytes: &[u8], byte: u8, surround: &mut Surround<'_, A>) -> Read<Flow> {
        let Some(frame) = self.frames.last_mut() else { return Err(Fault::Malformed) };
        match (byte, frame.array) {
            (b',', true) => {
                frame.index += 1;
                self.expect = Expect::Value;
            }
            (b',', false) => self.expect = Expect::Name,
            (b']', true) | (b'}', false) => return self.close(bytes, surround),
            _ => return Err(Fault::Malformed),
        }
        self.at += 1;
        Ok(Flow::On)
    }

    #[inline(always)]
    fn read_name<A: Arbiter>(&mut self, bytes: &[u8], byte: u8, surround: &mut Surround<'_, A>) -> Read<Flow> {
        if byte != b'"' {
            return Err(Fault::Malformed);
        }
        let start = self.at;
        let from = self.scanned.max(start + 1);
        let end = match lex::string(bytes, from, &mut self.escaped) {
            Scan::Whole(end) => end,
            Scan::Partial(scanned) => {
                self.scanned = scanned;
                if bytes.len() - start > surround.limits.name {
                    return Err(Fault::NameTooLong);
                }
                return Ok(Flow::Wait);
            }
            Scan::Wrong(at) => {
                self.at = at;
                return Err(Fault::Malformed);
            }
        };
        if end - start > surround.limits.name {
            return Err(Fault::NameTooLong);
        }
        let spelled = bytes.get(start + 1..end - 1).unwrap_or_default();
        if self.escaped {
            self.unescaped.clear();
            if !lex::unescape(spelled, &mut self.unescaped) {
                return Err(Fault::LoneSurrogate);
            }
        }
        let name = if self.escaped { self.unescaped.as_slice() } else { spelled };
        let Some(frame) = self.frames.last_mut() else { return Err(Fault::Malformed) };
        let noted = frame.mode == Mode::Noted;
        if self.refuses_duplicates || noted || frame.mode == Mode::Outside {
            let hash = lex::hash(name);
            if self.refuses_duplicates || noted {
                self.repeated = self.names.note(&mut frame.seen, hash);
                if self.repeated && self.refuses_duplicates {
                    return Err(Fault::DuplicateName);
                }
                if self.names.count(&frame.seen) > surround.limits.members {
                    return Err(Fault::TooManyMembers);
                }
            }
            if frame.mode != Mode::Still {
                self.member = surround.common.plan.automaton.member(frame.state, name, hash);
            }
        }
        self.name = start;
        self.scanned = 0;
        self.escaped = false;
        self.at = end;
        self.expect = Expect::Colon;
        Ok(Flow::On)
    }

    /// Scans the scalar at `self.at`; `Wait` sets how far.
    #[inline(always)]
    fn scalar(&mut self, bytes: &[u8], byte: u8, last: bool, limits: &Limits) -> Read<Option<usize>> {
        let start = self.at;
        let scan = match byte {
            b'"' => lex::string(bytes, self.scanned.max(start + 1), &mut self.escaped),
            // Only a document's own number may end with the body.
            b'-' | b'0'..=b'9' => match lex::number(bytes, start, last && self.frames.is_empty()) {
                Scan::Partial(_) if bytes.len() - start > limits.number => return Err(Fault::NumberTooLong),
                Scan::Whole(end) if end - start > limits.number => return Err(Fault::NumberTooLong),
                scan => scan,
            },
            b't' => lex::word(bytes, start, b"true"),
            b'f' => lex::word(bytes, start, b"false"),
            b'n' => lex::word(bytes, start, b"null"),
            _ => return Err(Fault::Malformed),
        };
        match scan {
            Scan::Whole(end) => {
                self.scanned = 0;
                self.escaped = false;
                Ok(Some(end))
            }
            Scan::Partial(scanned) => {
                self.scanned = scanned;
                Ok(None)
            }
            Scan::Wrong(at) => {
                self.at = at;
                Err(if at == bytes.len() { Fault::Truncated } else { Fault::Malformed })
            }
        }
    }

    #[inline(always)]
    fn value<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        byte: u8,
        last: bool,
        surround: &mut Surround<'_, A>,
    ) -> Read<Flow> {
        let mode = self.frames.last().map_or(Mode::Outside, |frame| frame.mode);
        let container = matches!(byte, b'{' | b'[');
        let end = if container { None } else { self.scalar(bytes, byte, last, &surround.limits)? };
        let whole = container || end.is_some();
        match mode {
            Mode::Still if !whole => {
                if self.holding.is_none() && byte == b'"' {
                    self.pass_string();
                }
                return Ok(Flow::Wait);
            }
            Mode::Still if container => self.open(byte, Mode::Still, None, surround)?,
            Mode::Still => {}
            Mode::Noted if !whole => return Ok(Flow::Wait),
            Mode::Noted => self.note(byte, end, surround)?,
            Mode::Outside => return self.outside(bytes, byte, end, surround),
        }
        if let Some(end) = end {
            self.at = end;
            self.expect = Expect::Next;
        }
        Ok(Flow::On)
    }

    /// The state of the value at `self.at`.
    fn state(&self, plan: &Plan) -> StateId {
        match self.frames.last() {
            None => plan.automaton.root,
            Some(frame) if frame.array => {
                plan.automaton.element(frame.state, u32::try_from(frame.index).unwrap_or(u32::MAX))
            }
            Some(_) => self.member,
        }
    }

    /// Opens the container at `self.at`.
    #[inline(always)]
    fn open<A: Arbiter>(
        &mut self,
        byte: u8,
        mode: Mode,
        node: Option<u32>,
        surround: &Surround<'_, A>,
    ) -> Read<()> {
        if self.frames.len() >= surround.limits.depth {
            return Err(Fault::TooDeep);
        }
        let array = byte == b'[';
        let state = match mode {
            Mode::Outside | Mode::Noted => self.state(surround.common.plan),
            Mode::Still => super::automaton::DEAD,
        };
        self.frames.push(Frame {
            array,
            mode,
            state,
            index: 0,
            seen: self.names.open(),
            node,
            class: UNCLASSIFIED,
            first: true,
            written: false,
            waits: None,
        });
        self.at += 1;
        self.expect = if array { Expect::FirstElement } else { Expect::FirstName };
        Ok(())
    }

    /// Closes the innermost container, whose bracket stands at `self.at`.
    fn close<A: Arbiter>(&mut self, bytes: &[u8], surround: &mut Surround<'_, A>) -> Read<Flow> {
        let Some(frame) = self.frames.pop() else { return Err(Fault::Malformed) };
        self.names.close(&frame.seen);
        let end = self.at + 1;
        self.expect = if self.frames.is_empty() { Expect::End } else { Expect::Next };
        if let (Some(node), Some(holding)) = (frame.node, self.holding) {
            self.table.close(node, (end - holding.base) as u32);
        }
        match frame.mode {
            Mode::Outside => self.close_outside(bytes, frame, end, surround),
            Mode::Noted | Mode::Still => {
                if self.holding.is_some_and(|holding| holding.depth == self.frames.len()) {
                    self.decide(bytes, end, surround)?;
                } else if self.passing.is_some_and(|passing| passing.depth == self.frames.len()) {
                    self.passed(bytes, end, surround);
                }
            }
        }
        self.at = end;
        Ok(Flow::On)
    }

    // What is held.

    /// Notes the value at `self.at` in the table.
    #[inline(always)]
    fn note<A: Arbiter>(&mut self, byte: u8, end: Option<usize>, surround: &Surround<'_, A>) -> Read<()> {
        let Some(holding) = self.holding else { return Ok(()) };
        let plan = surround.common.plan;
        let state = self.state(plan);
        let known = plan.automaton.state(state);
        let at = self.table.len();
        let member = self.frames.last().is_some_and(|frame| !frame.array);
        let offset = |place: usize| place.wrapping_sub(holding.base) as u32;
        let name = if member { self.name } else { self.at };
        self.table.nodes.push(Node {
            name: offset(name),
            start: offset(self.at),
            end: offset(end.unwrap_or(self.at)),
            next: at + 1,
            state,
        });
        if !known.captures.is_empty() {
            self.table.captures.extend(known.captures.iter().map(|&query| (query, at)));
        }
        if self.repeated {
            self.repeated = false;
            if let (true, Some(parent)) = (member, self.frames.last().and_then(|frame| frame.node)) {
                self.table.repeated.push((at, parent));
            }
        }
        if end.is_none() {
            let mode = if known.live || plan.evaluates { Mode::Noted } else { Mode::Still };
            self.open(byte, mode, Some(at), surround)?;
        }
        Ok(())
    }

    fn hold<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        byte: u8,
        end: Option<usize>,
        surround: &mut Surround<'_, A>,
    ) -> Read<()> {
        let member = self.frames.last().is_some_and(|frame| !frame.array);
        let base = if member { self.name } else { self.at };
        self.holding = Some(Holding { base, start: self.at, depth: self.frames.len() });
        self.table.clear();
        self.repeated = false;
        self.note(byte, end, surround)?;
        match end {
            Some(end) => {
                self.decide(bytes, end, surround)?;
                self.at = end;
                self.expect = if self.frames.is_empty() { Expect::End } else { Expect::Next };
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The held value is whole.
    fn decide<A: Arbiter>(&mut self, bytes: &[u8], end: usize, surround: &mut Surround<'_, A>) -> Read<()> {
        let Some(holding) = self.holding.take() else { return Ok(()) };
        if end - holding.start > surround.limits.record {
            self.at = holding.start;
            return Err(Fault::TooLong);
        }
        let plan = surround.common.plan;
        let held =
            Held { table: &self.table, bytes: bytes.get(holding.base..end).unwrap_or_default() };
        let root = held.table.node(0);
        let name = root.and_then(|root| held.name(root)).map(denoted);
        let frame = self.frames.last();
        let around = Surroundings {
            class: frame.map_or(UNCLASSIFIED, |frame| frame.class),
            conditions: frame.map_or(&[], |frame| &plan.automaton.state(frame.state).anchors),
            place: match &name {
                Some(name) => Place::Name(name),
                None => Place::Index(frame.map_or(0, |frame| frame.index)),
            },
            root: frame.is_none(),
        };
        let decided = Unit::decide(
            surround.common,
            held,
            around,
            &mut self.scratch,
            surround.arbiter,
            surround.outside,
        );
        let Ok((unit, stays)) = decided else {
            self.at = holding.start;
            return Err(Fault::TooCostly);
        };
        let mut opening = Opening {
            frames: &mut self.frames,
            waiting: &mut self.waiting,
            after: self.after,
            removed_as: plan.removed_as,
        };
        if stays {
            opening.stay(bytes, holding.start, surround.out);
            unit.write(&mut self.scratch, surround.out);
        } else {
            opening.go(bytes, holding.start, surround.out);
        }
        unit.account(&self.scratch, surround.arbiter);
        self.after = end;
        Ok(())
    }

    // What streams.

    /// Decides a value that stands outside of everything held.
    fn outside<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        byte: u8,
        end: Option<usize>,
        surround: &mut Surround<'_, A>,
    ) -> Read<Flow> {
        if self.at - self.after > surround.limits.record {
            self.at = self.after;
            return Err(Fault::TooLong);
        }
        let plan = surround.common.plan;
        let state = self.state(plan);
        let known = plan.automaton.state(state);
        let container = matches!(byte, b'{' | b'[');
        let root = self.frames.is_empty();
        if known.held || (root && plan.whole) {
            if !container && end.is_none() {
                return Ok(Flow::Wait);
            }
            return self.hold(bytes, byte, end, surround).map(|()| Flow::On);
        }
        let own = plan.state_classes.get(state.0 as usize).copied().flatten();
        let class = own.or(self.frames.last().map(|frame| frame.class)).unwrap_or(UNCLASSIFIED);
        let form = {
            let verdict = surround.outside.verdict(surround.arbiter);
            surround.common.forms.feasible(surround.arbiter.form(verdict, class))
        };
        let changes = match form {
            Form::Masked | Form::Generalised | Form::Pseudonymised => true,
            Form::Clear | Form::Removed => false,
        };
        if changes && (container || end.is_some()) {
            return self.hold(bytes, byte, end, surround).map(|()| Flow::On);
        }
        if !container && end.is_none() && (changes || byte != b'"') {
            return Ok(Flow::Wait);
        }
        let bone = container && (known.structure || (root && own.is_none()));
        if own.is_some() || (class == UNCLASSIFIED && !bone && !(container && known.live)) {
            surround.outside.count(class);
        }
        let mut opening = Opening {
            frames: &mut self.frames,
            waiting: &mut self.waiting,
            after: self.after,
            removed_as: plan.removed_as,
        };
        let depth = opening.frames.len();
        if container && (bone || known.live) {
            let mut waits = None;
            if form == Form::Clear || bone {
                opening.stay(bytes, self.at, surround.out);
                surround.out.push(byte);
            } else {
                waits = Some(opening.wait(bytes, self.at, byte, surround.limits.record)?);
            }
            self.open(byte, Mode::Outside, None, surround)?;
            self.after = self.at;
            if let Some(frame) = self.frames.last_mut() {
                frame.class = class;
                frame.waits = waits;
            }
            return Ok(Flow::On);
        }
        let stays = form == Form::Clear;
        if stays {
            opening.stay(bytes, self.at, surround.out);
        } else if root {
            surround.out.extend_from_slice(bytes.get(self.after..self.at).unwrap_or_default());
            surround.out.extend_from_slice(b"null");
        } else {
            opening.go(bytes, self.at, surround.out);
        }
        self.passing = Some(Passing { from: stays.then_some(self.at), depth });
        match end {
            Some(end) => {
                self.passed(bytes, end, surround);
                self.at = end;
                self.expect = if root { Expect::End } else { Expect::Next };
                Ok(Flow::On)
            }
            None if container => self.open(byte, Mode::Still, None, surround).map(|()| Flow::On),
            None => {
                self.pass_string();
                Ok(Flow::Wait)
            }
        }
    }

    /// What was passed on or over ends.
    fn passed<A: Arbiter>(&mut self, bytes: &[u8], end: usize, surround: &mut Surround<'_, A>) {
        if let Some(from) = self.passing.take().and_then(|passing| passing.from) {
            surround.out.extend_from_slice(bytes.get(from..end).unwrap_or_default());
        }
        self.after = end;
    }

    /// The string at `self.at` is not whole, and need not be.
    fn pass_string(&mut self) {
        self.at = self.scanned;
        self.scanned = 0;
        self.expect = Expect::Within;
    }

    fn within<A: Arbiter>(&mut self, bytes: &[u8], surround: &mut Surround<'_, A>) -> Read<Flow> {
        match lex::string(bytes, self.at, &mut self.escaped) {
            Scan::Whole(end) => {
                self.escaped = false;
                if self.passing.is_some_and(|passing| passing.depth == self.frames.len()) {
                    self.passed(bytes, end, surround);
                }
                self.at = end;
                self.expect = if self.frames.is_empty() { Expect::End } else { Expect::Next };
                Ok(Flow::On)
            }
            Scan::Partial(scanned) => {
                self.at = scanned;
                Ok(Flow::Wait)
            }
            Scan::Wrong(at) => {
                self.at = at;
                Err(Fault::Malformed)
            }
        }
    }

    fn close_outside<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        frame: Frame,
        end: usize,
        surround: &mut Surround<'_, A>,
    ) {
        match frame.waits {
            None => {
                surround.out.extend_from_slice(bytes.get(self.after..end).unwrap_or_default());
            }
            Some(wait) => {
                let removed_as = surround.common.plan.removed_as;
                let root = self.frames.is_empty();
                if removed_as == RemovedAs::Omit && !root {
                    self.waiting.truncate(wait.lead);
                } else {
                    self.waiting.truncate(wait.bracket);
                    let bracket = if frame.array { b"[" } else { b"{" };
                    self.waiting.extend_from_slice(replacement(removed_as, bracket));
                }
                let parent = self.frames.last_mut();
                let waits = parent.as_ref().is_some_and(|parent| parent.waits.is_some());
                if let Some(parent) = parent {
                    parent.written = wait.written || removed_as != RemovedAs::Omit;
                }
                if !waits {
                    surround.out.append(&mut self.waiting);
                }
            }
        }
        self.after = end;
    }
}

/// Writes what stands between a container's last child and the next: the comma and the name.
struct Opening<'a> {
    frames: &'a mut Vec<Frame>,
    waiting: &'a mut Vec<u8>,
    after: usize,
    removed_as: RemovedAs,
}

impl Opening<'_> {
    /// The value at `at` stays: so does everything it stands in.
    fn stay(&mut self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            out.append(self.waiting);
            for frame in self.frames.iter_mut().rev().take_while(|frame| frame.waits.is_some()) {
                frame.waits = None;
            }
        }
        out.extend_from_slice(self.lead(bytes, at));
    }

    /// The value at `at` goes.
    fn go(&mut self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        if self.removed_as == RemovedAs::Omit {
            if let Some(frame) = self.frames.last_mut() {
                frame.first = false;
            }
            return;
        }
        let waits = self.frames.last().is_some_and(|frame| frame.waits.is_some());
        let replacement = replacement(self.removed_as, bytes.get(at..).unwrap_or_default());
        let lead = self.lead(bytes, at);
        let into = if waits { &mut *self.waiting } else { out };
        into.extend_from_slice(lead);
        into.extend_from_slice(replacement);
    }

    /// The container at `at` stays if something in it does.
    fn wait(&mut self, bytes: &[u8], at: usize, bracket: u8, most: usize) -> Read<Wait> {
        let written = self.frames.last().is_some_and(|frame| frame.written);
        let start = self.waiting.len();
        let lead = self.lead(bytes, at);
        self.waiting.extend_from_slice(lead);
        let wait = Wait { lead: start, bracket: self.waiting.len(), written };
        self.waiting.push(bracket);
        if self.waiting.len() > most { Err(Fault::TooLong) } else { Ok(wait) }
    }

    /// What comes before the value at `at`, now that it or something in its place is written.
    fn lead<'b>(&mut self, bytes: &'b [u8], at: usize) -> &'b [u8] {
        let from = match self.frames.last_mut() {
            // The first that is written: the comma before it has nothing to separate.
            Some(frame) if !frame.written && !frame.first => after_comma(bytes, self.after),
            Some(_) | None => self.after,
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.first = false;
            frame.written = true;
        }
        bytes.get(from..at).unwrap_or_default()
    }
}
