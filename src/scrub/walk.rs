//! The walk over a body: RFC 8259 checked byte by byte, everything decided as early as it can be.
//!
//! Refuses to keep what it need not. Outside of held values the document streams: what stays is
//! copied, what goes is skipped, and only a container whose staying depends on its content waits,
//! as the few bytes that open it. A value that must be whole before it is decided (a record above
//! all) is held and handed to [`super::unit`]. Invariant: no byte is written before the verdict it
//! stands under is known.

use std::sync::Arc;

use super::arbiter::{Arbiter, Removal};
use super::automaton::StateId;
use super::embedded::Expanded;
use super::evaluate::{Place, denoted};
use super::habits::{Habits, NewLead, Path};
use super::lex::{self, Scan};
use super::mapping::{DuplicateKeys, RemovedAs};
use super::names::{Names, Seen};
use super::plan::{Plan, UNCLASSIFIED};
use super::table::{Held, Node, Table};
use super::unit::{Common, Decision, Outside, Surroundings, Unit, after_comma, replacement};
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

/// What has come since the last text, or since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gap {
    #[default]
    Nothing,
    /// A line's end.
    Ended,
    /// In a sequence: the record separator that the next text needs.
    Separated,
}

/// Stands before each text of a sequence (RFC 7464, 2.2).
const RECORD_SEPARATOR: u8 = 0x1e;

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
    path: Path,
    seen: Seen,
}

impl Frame {
    /// What stands around the document: it has one element.
    fn document() -> Frame {
        Frame {
            array: true,
            mode: Mode::Outside,
            state: super::automaton::DEAD,
            node: None,
            index: 0,
            path: Path::document(),
            seen: Seen::default(),
        }
    }
}

/// What there is to know besides about a container that is decided member by member.
#[derive(Clone, Copy, Debug)]
struct Outer {
    /// Of what stands in it and is classified by nothing nearer.
    class: ClassId,
    /// Whether no child has come, and whether one was written.
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
    stays: bool,
    depth: usize,
}

/// The state of the walk. Places are offsets into the bytes that are here.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    framing: Framing,
    /// Of the document.
    root: StateId,
    /// The document is only noted, and never decided.
    notes: bool,
    /// Names are compared everywhere, or only where a record is read from them.
    refuses_duplicates: bool,
    expect: Expect,
    at: usize,
    /// How far the string at `at` was scanned, if it was.
    scanned: usize,
    escaped: bool,
    /// The innermost container that is open; the document itself where there is none.
    top: Frame,
    /// Those around it, the document first.
    frames: Vec<Frame>,
    /// For each of the outermost frames, those in [`Mode::Outside`].
    outer: Vec<Outer>,
    habits: Arc<Habits>,
    names: Names,
    /// The name that was read last: its place, and the state it leads to.
    name: usize,
    member: StateId,
    repeated: bool,
    /// Its hash, until its value comes.
    new_name: Option<u64>,
    /// Where the last child of the current container ended, or its bracket.
    after: usize,
    /// What stays from here up to there is not written yet: it is copied in one go.
    unwritten: usize,
    /// Openings that wait for something in them to stay.
    waiting: Vec<u8>,
    holding: Option<Holding>,
    passing: Option<Passing>,
    /// What has come since the last text.
    gap: Gap,
    table: Table,
    decision: Decision,
    unescaped: Vec<u8>,
}

type Read<T> = Result<T, Fault>;

impl Walk {
    /// What came in this body, for the next one of the plan.
    pub(super) fn habits(&self) -> &Arc<Habits> {
        &self.habits
    }

    pub(super) fn new(plan: &Plan, framing: Framing) -> Walk {
        Walk {
            framing,
            root: plan.automaton.root,
            notes: false,
            refuses_duplicates: plan.duplicate_keys == DuplicateKeys::Refuse,
            expect: Expect::Document,
            at: 0,
            scanned: 0,
            escaped: false,
            top: Frame::document(),
            frames: Vec::new(),
            outer: Vec::new(),
            habits: plan.usual.begin(),
            names: Names::default(),
            name: 0,
            member: super::automaton::DEAD,
            repeated: false,
            new_name: None,
            after: 0,
            unwritten: 0,
            waiting: Vec::new(),
            holding: None,
            passing: None,
            gap: Gap::default(),
            table: Table::default(),
            decision: Decision::default(),
            unescaped: Vec::new(),
        }
    }

    /// The table of a JSON text whose root is in this state. The text begins and ends with its value.
    pub(super) fn note_text(
        common: Common<'_>,
        root: StateId,
        text: &[u8],
        limits: Limits,
    ) -> Result<Table, Unreadable> {
        let mut walk = Walk { root, notes: true, ..Walk::new(common.plan, Framing::Document) };
        let mut outside = Outside::new(0);
        // Nobody is asked for a verdict, and nothing is written.
        let mut surround =
            Surround { common, limits, arbiter: &mut Removal, outside: &mut outside, out: &mut Vec::new() };
        walk.run(text, 0, true, &mut surround)?;
        if walk.is_complete() {
            Ok(walk.table)
        } else {
            Err(Unreadable { fault: Fault::Truncated, at: text.len() as u64 })
        }
    }

    /// Whether the body may end here.
    pub(super) fn is_complete(&self) -> bool {
        match self.expect {
            Expect::End => self.framing != Framing::Sequence || self.gap == Gap::Ended,
            Expect::Document => match self.framing {
                Framing::Document | Framing::Events => false,
                Framing::Lines => true,
                Framing::Sequence => self.gap != Gap::Separated,
            },
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
        self.unwritten = self.unwritten.saturating_sub(by);
        if let Some(holding) = &mut self.holding {
            holding.base -= by;
            holding.start -= by;
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
        let result = self.run_lines(bytes, base, surround).and_then(|()| {
            self.read(bytes, last, base == 0, surround)?;
            self.pause(bytes, surround)
        });
        // Whatever is wrong after the bound, the bound was passed before.
        let result = result.map_err(|fault| match self.check_kept(self.at, &surround.limits) {
            Ok(()) => fault,
            Err(passed) => passed,
        });
        if result.is_err() {
            self.write(bytes, self.after, surround.out);
        }
        result.map_err(|fault| Unreadable { fault, at: base + self.at as u64 })
    }

    /// Reads on up to the last line's end, where each is a text: who reads line by line finds no
    /// other texts than these.
    fn run_lines<A: Arbiter>(&mut self, bytes: &[u8], base: u64, surround: &mut Surround<'_, A>) -> Read<()> {
        if self.framing != Framing::Lines {
            return Ok(());
        }
        let from = self.at;
        for end in memchr::memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
            let end = from + end;
            let line = bytes.get(..=end).unwrap_or_default();
            self.read(line, false, base == 0, surround)?;
            self.pause(line, surround)?;
            if !self.is_complete() {
                return self.fail(end, Fault::Malformed);
            }
        }
        Ok(())
    }

    /// Whether a scalar that is a whole text may be read: in a sequence once the line feed is here
    /// without which it may have been cut short (RFC 7464, 2.4).
    fn is_ended(&mut self, bytes: &[u8], at: usize, last: bool) -> Read<bool> {
        let rest = bytes.get(at..).unwrap_or_default();
        match memchr::memchr2(b'\n', RECORD_SEPARATOR, rest) {
            Some(end) if rest.get(end) == Some(&b'\n') => Ok(true),
            Some(end) => self.fail(at + end, Fault::TrailingBytes),
            None if last => self.fail(bytes.len(), Fault::Truncated),
            None => Ok(false),
        }
    }

    /// The loop. A member runs straight through it: name, colon, value, comma; wherever the bytes end,
    /// what is expected there is kept for the next call. Place and expectation are in locals
    /// meanwhile: through memory, each token would wait for the one before.
    fn read<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        last: bool,
        beginning: bool,
        surround: &mut Surround<'_, A>,
    ) -> Read<()> {
        let mut at = self.at;
        let mut expect = self.expect;
        // Where the value before a member ended, if that was in these bytes.
        let mut lead = usize::MAX;
        loop {
            if lead == at && self.top.path.known && matches!(expect, Expect::Next | Expect::FirstName) {
                // Of an array's path no member comes next.
                let top = &mut self.top;
                if let Some(known) = self.habits.recognise(&mut top.path, top.state, bytes, at) {
                    (self.name, self.member) = (known.name, known.state);
                    (at, expect) = (known.value, Expect::Value);
                }
            }
            if expect == Expect::Next {
                at = lex::space(bytes, at);
                let Some(&byte) = bytes.get(at) else { return self.wait(at, expect) };
                at += 1;
                let array = self.top.array;
                expect = match byte {
                    b',' if array => self.next_element(),
                    b',' => Expect::Name,
                    b']' if array => self.close(bytes, at, surround)?,
                    b'}' if !array => self.close(bytes, at, surround)?,
                    _ => return self.fail(at - 1, Fault::Malformed),
                };
                if expect == Expect::Next {
                    lead = at;
                    continue;
                }
            }
            if matches!(expect, Expect::Name | Expect::FirstName) {
                at = lex::space(bytes, at);
                let Some(&byte) = bytes.get(at) else { return self.wait(at, expect) };
                if byte == b'"' {
                    let Some(end) = self.read_name(bytes, at, surround)? else {
                        return self.wait(at, expect);
                    };
                    at = end;
                    expect = Expect::Colon;
                } else if byte == b'}' && expect == Expect::FirstName {
                    at += 1;
                    expect = self.close(bytes, at, surround)?;
                    lead = at;
                    continue;
                } else {
                    return self.fail(at, Fault::Malformed);
                }
            }
            if expect == Expect::Colon {
                at = lex::space(bytes, at);
                match bytes.get(at) {
                    Some(b':') => at = lex::space(bytes, at + 1),
                    Some(_) => return self.fail(at, Fault::Malformed),
                    None => return self.wait(at, expect),
                }
                self.keep_name(bytes, lead, at);
                expect = Expect::Value;
            }
            if matches!(expect, Expect::Value | Expect::FirstElement) {
                at = lex::space(bytes, at);
                let Some(&byte) = bytes.get(at) else { return self.wait(at, expect) };
                if byte == b']' && expect == Expect::FirstElement {
                    at += 1;
                    expect = self.close(bytes, at, surround)?;
                } else {
                    let scalar = self.frames.is_empty() && !matches!(byte, b'{' | b'[');
                    if scalar && self.framing == Framing::Sequence && !self.is_ended(bytes, at, last)? {
                        return self.wait(at, expect);
                    }
                    match self.value(bytes, at, byte, last, surround)? {
                        Some((end, next)) => (at, expect) = (end, next),
                        None => return self.wait(at, expect),
                    }
                }
                lead = at;
            }
            if matches!(expect, Expect::Within | Expect::End | Expect::Document) {
                match self.seldom(bytes, at, expect, beginning)? {
                    Some(next) => (at, expect) = next,
                    None => return Ok(()),
                }
                lead = at;
            }
        }
    }

    /// What happens between texts and within long strings.
    #[cold]
    fn seldom(
        &mut self,
        bytes: &[u8],
        at: usize,
        expect: Expect,
        beginning: bool,
    ) -> Read<Option<(usize, Expect)>> {
        if expect == Expect::Within {
            return self.within(bytes, at);
        }
        let at = self.space_between(bytes, at, expect == Expect::Document);
        if at == bytes.len() {
            self.wait(at, expect)?;
            return Ok(None);
        }
        let first = expect == Expect::Document && at == 0 && beginning;
        if first && bytes.starts_with("\u{feff}".as_bytes()) {
            return self.fail(at, Fault::ByteOrderMark);
        }
        let may_begin = match self.framing {
            Framing::Document | Framing::Events => expect == Expect::Document,
            Framing::Lines => expect == Expect::Document || self.gap == Gap::Ended,
            Framing::Sequence => self.gap == Gap::Separated,
        };
        if may_begin {
            self.gap = Gap::Nothing;
            return Ok(Some((at, Expect::Value)));
        }
        self.fail(at, if expect == Expect::End { Fault::TrailingBytes } else { Fault::Malformed })
    }

    /// Past the white space between two texts, and past what separates them; notes what came.
    fn space_between(&mut self, bytes: &[u8], mut at: usize, first: bool) -> usize {
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'\n' if self.gap == Gap::Nothing => self.gap = Gap::Ended,
                // A text that no line feed ended may have been cut short (RFC 7464, 2.4).
                RECORD_SEPARATOR
                    if self.framing == Framing::Sequence && (first || self.gap != Gap::Nothing) =>
                {
                    self.gap = Gap::Separated;
                }
                byte if lex::is_space(byte) => {}
                _ => break,
            }
            at += 1;
        }
        at
    }

    /// The bytes end here.
    fn wait(&mut self, at: usize, expect: Expect) -> Read<()> {
        (self.at, self.expect) = (at, expect);
        Ok(())
    }

    #[cold]
    fn fail<T>(&mut self, at: usize, fault: Fault) -> Read<T> {
        self.at = at;
        Err(fault)
    }

    fn next_element(&mut self) -> Expect {
        self.top.index += 1;
        Expect::Value
    }

    /// What is expected after a value.
    fn after_value(&self) -> Expect {
        if self.frames.is_empty() { Expect::End } else { Expect::Next }
    }

    /// Writes what is decided of the bytes that are here, and checks what is kept of them.
    fn pause<A: Arbiter>(&mut self, bytes: &[u8], surround: &mut Surround<'_, A>) -> Read<()> {
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
    fn write(&mut self, bytes: &[u8], to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(bytes.get(self.unwritten..to).unwrap_or_default());
        self.unwritten = to;
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

    /// Reads the name at `start`. `None`: it is not whole.
    #[inline(never)]
    fn read_name<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        start: usize,
        surround: &mut Surround<'_, A>,
    ) -> Read<Option<usize>> {
        let mut escaped = self.escaped;
        let end = match lex::string(bytes, self.scanned.max(start + 1), &mut escaped) {
            Scan::Whole(end) => end,
            Scan::Partial(scanned) => {
                (self.scanned, self.escaped) = (scanned, escaped);
                let long = bytes.len() - start > surround.limits.name;
                return if long { self.fail(start, Fault::NameTooLong) } else { Ok(None) };
            }
            // In smaller chunks the bound would have been met first.
            Scan::Wrong(at) if at - start > surround.limits.name => {
                return self.fail(start, Fault::NameTooLong);
            }
            Scan::Wrong(at) => return self.fail(at, Fault::Malformed),
        };
        (self.scanned, self.escaped) = (0, false);
        if end - start > surround.limits.name {
            return self.fail(start, Fault::NameTooLong);
        }
        let mut name = bytes.get(start + 1..end - 1).unwrap_or_default();
        if escaped {
            self.unescaped.clear();
            if !lex::unescape(name, &mut self.unescaped) {
                return self.fail(start, Fault::LoneSurrogate);
            }
            name = &self.unescaped;
        }
        let hash = lex::hash(name);
        self.name = start;
        self.member = match self.top.mode {
            Mode::Still => super::automaton::DEAD,
            Mode::Outside | Mode::Noted => surround.common.plan.automaton.member(self.top.state, name, hash),
        };
        if self.top.path.known && !self.habits.has(&self.top.path, hash) {
            self.new_name = Some(hash);
            return Ok(Some(end));
        }
        self.leave_path();
        if self.compares() {
            self.repeated = self.names.note(&mut self.top.seen, hash);
            if self.repeated && self.refuses_duplicates {
                return self.fail(start, Fault::DuplicateName);
            }
            if self.names.count(&self.top.seen) > surround.limits.members {
                return self.fail(start, Fault::TooManyMembers);
            }
        }
        Ok(Some(end))
    }

    /// Whether the names of the innermost container are compared.
    fn compares(&self) -> bool {
        self.refuses_duplicates || self.top.mode == Mode::Noted
    }

    /// The value of the member whose name was read comes at `at`: its lead is kept to be recognised,
    /// if it came in one piece.
    #[inline(never)]
    fn keep_name(&mut self, bytes: &[u8], lead: usize, at: usize) {
        let Some(hash) = self.new_name.take() else { return };
        let whole = bytes.get(lead..at).filter(|_| at < bytes.len());
        let kept = whole.is_some_and(|text| {
            let (container, state) = (self.top.state, self.member);
            let new = NewLead { text, name: self.name - lead, hash, container, state };
            Arc::make_mut(&mut self.habits).learn(&mut self.top.path, new)
        });
        if !kept {
            self.leave_path();
            if self.compares() {
                self.names.note(&mut self.top.seen, hash);
            }
        }
    }

    /// From here on the innermost container's names are compared one by one.
    fn leave_path(&mut self) {
        if !std::mem::replace(&mut self.top.path.known, false) || !self.compares() {
            return;
        }
        for earlier in self.habits.names(&self.top.path) {
            self.names.note(&mut self.top.seen, earlier);
        }
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
    ) -> Read<Option<usize>> {
        let scan = match byte {
            b'"' => lex::string(bytes, self.scanned.max(start + 1), &mut false),
            // Only a document's own number may end with the body.
            b'-' | b'0'..=b'9' => match lex::number(bytes, start, last && self.frames.is_empty()) {
                Scan::Partial(_) if bytes.len() - start > limits.number => {
                    return self.fail(start, Fault::NumberTooLong);
                }
                // Whatever is wrong after the bound, the bound was passed before.
                Scan::Whole(end) | Scan::Wrong(end) if end - start > limits.number => {
                    return self.fail(start, Fault::NumberTooLong);
                }
                scan => scan,
            },
            b't' => lex::word(bytes, start, b"true"),
            b'f' => lex::word(bytes, start, b"false"),
            b'n' => lex::word(bytes, start, b"null"),
            _ => return self.fail(start, Fault::Malformed),
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
                self.fail(at, if at == bytes.len() { Fault::Truncated } else { Fault::Malformed })
            }
        }
    }

    /// Reads the value at `at`: where to go on, and what is expected there. `None`: more bytes must come.
    #[inline(always)]
    fn value<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        last: bool,
        surround: &mut Surround<'_, A>,
    ) -> Read<Option<(usize, Expect)>> {
        let mode = self.top.mode;
        let container = matches!(byte, b'{' | b'[');
        let end = if container { None } else { self.scalar(bytes, at, byte, last, &surround.limits)? };
        if mode == Mode::Outside {
            return match self.idle(bytes, at, byte, end, surround)? {
                Some(next) => Ok(Some(next)),
                None => self.outside(bytes, at, byte, end, surround),
            };
        }
        match end {
            Some(end) => {
                if mode == Mode::Noted {
                    self.note(at, Some(end), surround);
                }
                Ok(Some((end, Expect::Next)))
            }
            None if container => {
                let node = if mode == Mode::Noted { Some(self.note(at, None, surround)) } else { None };
                let inside = match node {
                    Some((_, true)) => Mode::Noted,
                    Some((_, false)) | None => Mode::Still,
                };
                self.open(at, byte, inside, node.map(|(node, _)| node), surround).map(Some)
            }
            None if byte == b'"' && self.holding.is_none() => Ok(Some(self.pass_string())),
            None => Ok(None),
        }
    }

    /// The state of the value that comes.
    fn state(&self, plan: &Plan) -> StateId {
        if !self.top.array {
            self.member
        } else if self.frames.is_empty() {
            self.root
        } else {
            plan.automaton.element(self.top.state, u32::try_from(self.top.index).unwrap_or(u32::MAX))
        }
    }

    /// Opens the container at `at`.
    #[inline(never)]
    fn open<A: Arbiter>(
        &mut self,
        at: usize,
        byte: u8,
        mode: Mode,
        node: Option<u32>,
        surround: &Surround<'_, A>,
    ) -> Read<(usize, Expect)> {
        if self.frames.len() >= surround.limits.depth {
            return self.fail(at, Fault::TooDeep);
        }
        let array = byte == b'[';
        let state = match mode {
            Mode::Outside | Mode::Noted => self.state(surround.common.plan),
            Mode::Still => super::automaton::DEAD,
        };
        let path = self.habits.within(&self.top.path, self.top.array);
        let inside = Frame { array, mode, state, node, index: 0, path, seen: self.names.open() };
        self.frames.push(std::mem::replace(&mut self.top, inside));
        Ok((at + 1, if array { Expect::FirstElement } else { Expect::FirstName }))
    }

    /// Closes the innermost container, whose bracket stands before `end`.
    #[inline(never)]
    fn close<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        end: usize,
        surround: &mut Surround<'_, A>,
    ) -> Read<Expect> {
        let Some(around) = self.frames.pop() else { return self.fail(end - 1, Fault::Malformed) };
        let frame = std::mem::replace(&mut self.top, around);
        self.names.close(&frame.seen);
        if let (Some(node), Some(holding)) = (frame.node, self.holding) {
            self.table.close(node, (end - holding.base) as u32);
        }
        match frame.mode {
            Mode::Outside => self.close_outside(frame, end, surround),
            Mode::Noted | Mode::Still => {
                if self.holding.is_some_and(|holding| holding.depth == self.frames.len()) {
                    self.decide(bytes, end, surround)?;
                } else {
                    self.end_passing(end);
                }
            }
        }
        Ok(self.after_value())
    }

    // What is held.

    /// Notes the value at `at` in the table: its node, and whether what is in it is noted too.
    #[inline(always)]
    fn note<A: Arbiter>(&mut self, at: usize, end: Option<usize>, surround: &Surround<'_, A>) -> (u32, bool) {
        let plan = surround.common.plan;
        let state = self.state(plan);
        let mark = plan.automaton.mark(state);
        let node = self.table.len();
        let base = self.holding.map_or(0, |holding| holding.base);
        let member = !self.top.array;
        let offset = |place: usize| place.wrapping_sub(base) as u32;
        self.table.nodes.push(Node {
            name: offset(if member { self.name } else { at }),
            start: offset(at),
            end: offset(end.unwrap_or(at)),
            next: node + 1,
            state,
        });
        if mark.embedded && end.is_some() {
            self.table.texts.push(node);
        }
        if mark.captures {
            let captures = &plan.automaton.state(state).captures;
            self.table.captures.extend(captures.iter().map(|&query| (query, node)));
        }
        if self.repeated {
            if let (true, Some(parent)) = (member, self.top.node) {
                self.table.repeated.push((node, parent));
            }
            self.repeated = false;
        }
        (node, mark.live || plan.notes_all)
    }

    fn hold<A: Arbiter>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        surround: &mut Surround<'_, A>,
    ) -> Read<(usize, Expect)> {
        let base = if self.top.array { at } else { self.name };
        self.holding = Some(Holding { base, start: at, depth: self.frames.len() });
        self.table.clear();
        self.repeated = false;
        let (node, noted) = self.note(at, end, surround);
        match end {
            Some(end) => {
                self.decide(bytes, end, surround)?;
                Ok((end, self.after_value()))
            }
            None => self.open(at, byte, if noted { Mode::Noted } else { Mode::Still }, Some(node), surround),
        }
    }

    /// The held value is whole.
    fn decide<A: Arbiter>(&mut self, bytes: &[u8], end: usize, surround: &mut Surround<'_, A>) -> Read<()> {
        let Some(holding) = self.holding.take() else { return Ok(()) };
        if end - holding.start > surround.limits.record {
            return self.fail(holding.start, Fault::TooLong);
        }
        if self.notes {
            return Ok(());
        }
        let plan = surround.common.plan;
        let held = Held { table: &self.table, bytes: bytes.get(holding.base..end).unwrap_or_default() };
        let expanded = Expanded::of(held, surround.common, surround.limits);
        let held = expanded.as_ref().map_or(held, Expanded::held);
        let root = held.table.node(0);
        let name = root.and_then(|root| held.name(root)).map(denoted);
        let around = Surroundings {
            class: self.outer.last().map_or(UNCLASSIFIED, |outer| outer.class),
            conditions: &plan.automaton.state(self.top.state).anchors,
            place: match &name {
                Some(name) => Place::Name(name),
                None => Place::Index(self.top.index),
            },
            root: self.frames.is_empty(),
        };
        let unit = Unit { common: surround.common, held, around };
        let mut opening = Opening {
            outer: &mut self.outer,
            waiting: &mut self.waiting,
            after: self.after,
            unwritten: &mut self.unwritten,
            removed_as: plan.removed_as,
        };
        let lead = |stays: bool, out: &mut Vec<u8>| {
            if stays {
                opening.stay(bytes, out);
                opening.write(bytes, holding.start, out);
            } else {
                opening.go(bytes, holding.start, out);
            }
        };
        let (decision, habits) = (&mut self.decision, &mut self.habits);
        let settled = unit.settle(decision, habits, surround.arbiter, surround.outside, surround.out, lead);
        if settled.is_err() {
            return self.fail(holding.start, Fault::TooCostly);
        }
        self.gone(end);
        Ok(())
    }

    // What streams.

    /// Decides a value of which nothing is selected and nothing captured: it leaves as what it stands in
    /// does. `None`: it is not such a value, or not here yet.
    #[inline]
    fn idle<A: Arbiter>(
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

    /// What was passed on or over ends, if it is that which ends here.
    fn end_passing(&mut self, end: usize) {
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
    fn gone(&mut self, end: usize) {
        (self.after, self.unwritten) = (end, end);
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

    /// Decides a value that stands outside of everything held.
    #[inline(never)]
    fn outside<A: Arbiter>(
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

    /// The string that was scanned just now is not whole, and need not be.
    fn pass_string(&mut self) -> (usize, Expect) {
        (std::mem::take(&mut self.scanned), Expect::Within)
    }

    fn within(&mut self, bytes: &[u8], at: usize) -> Read<Option<(usize, Expect)>> {
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

    fn close_outside<A: Arbiter>(&mut self, frame: Frame, end: usize, surround: &mut Surround<'_, A>) {
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
}

/// What stands between a container's last child and the next: the comma and the name.
struct Opening<'a> {
    outer: &'a mut Vec<Outer>,
    waiting: &'a mut Vec<u8>,
    after: usize,
    unwritten: &'a mut usize,
    removed_as: RemovedAs,
}

impl Opening<'_> {
    /// The value that comes stays: so does everything it stands in.
    #[inline(always)]
    fn stay(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            out.append(self.waiting);
            for outer in self.outer.iter_mut().rev().take_while(|outer| outer.waits.is_some()) {
                outer.waits = None;
            }
        }
        self.lead(bytes);
    }

    /// The value at `at` goes.
    fn go(&mut self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
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
    fn write(&mut self, bytes: &[u8], to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(bytes.get(*self.unwritten..to).unwrap_or_default());
        *self.unwritten = to;
    }
}
