//! The scrubber of one body: takes chunks, and returns the bytes that may leave.
//!
//! It keeps the bytes that are not decided yet, checks that they are UTF-8, and passes them to the [`super::walk`]. For
//! an event stream it scrubs each event's data as a text of its own, and for a table each row as a line. Invariants: the output
//! does not depend on the chunks; the number of kept bytes is bounded by [`Limits::record`] and a constant; after a
//! fault nothing more comes out.

use std::fmt;
use std::sync::Arc;

use super::events::EventStream;
use super::form_policy::{FormPolicy, PermitForms};
use super::forms::Forms;
use super::held_value::{OutsideRecords, RouteContext};
use super::parameters::Parameters;
use super::plan::Plan;
use super::record_policy::RecordPolicy;
use super::rows::Rows;
use super::unreadable::{BYTE_ORDER_MARK, BodyFault, Framing, Limits, Unreadable};
use super::walk::{Walk, WalkContext};

/// The number of bytes that are taken from a chunk at a time, so that a large chunk is not copied as a whole.
const MAX_STEP: usize = 1 << 16;

/// The byte that begins each text of a JSON sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

/// Scrubs one body. A clone continues from the same byte, so that a part of the body can be scrubbed again after the
/// facts or the consent changed.
#[derive(Clone)]
pub struct Scrubber {
    plan: Arc<Plan>,
    forms: Forms,
    parameters: Arc<Parameters>,
    limits: Limits,
    /// The bytes that are not decided yet.
    bytes: Vec<u8>,
    /// The number of bytes of the body before `bytes`.
    base: u64,
    /// The offset up to which the bytes are known to be UTF-8.
    checked: usize,
    /// True if a byte order mark may come, because no byte of the body was read yet.
    may_be_marked: bool,
    /// True if the texts that are walked over are rows of a table.
    is_table: bool,
    walk: Walk,
    /// The parser of the event stream, if the body is one.
    events: Option<Box<EventStream>>,
    /// The parser of the table of comma-separated values, if the body is one.
    rows: Option<Box<Rows>>,
    failed: Option<Unreadable>,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber")
            .field("base", &self.base)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Scrubber {
    /// Creates a scrubber for one body of a route. `parameters` are the decoded path parameters of the request, as names
    /// and values. A data subject that the mapping takes from an absent parameter is unusable.
    pub fn new(
        plan: Arc<Plan>,
        forms: Forms,
        parameters: &[(&str, &str)],
        limits: Limits,
        framing: Framing,
    ) -> Scrubber {
        let parameters = Parameters::resolve(&plan, parameters);
        Scrubber::with_parameters(plan, forms, parameters, limits, framing)
    }

    /// Creates a scrubber for a trial without a request. Every path parameter has a placeholder id.
    pub fn for_trial(plan: Arc<Plan>, forms: Forms, limits: Limits, framing: Framing) -> Scrubber {
        let parameters = Parameters::placeholders(&plan);
        Scrubber::with_parameters(plan, forms, parameters, limits, framing)
    }

    /// Declares that the body has no known length, so that its end may be a broken connection. A last row that may be
    /// incomplete is then refused.
    #[must_use]
    pub fn of_unknown_length(mut self) -> Scrubber {
        // In the other framings, an incomplete record is malformed.
        if let Some(rows) = &mut self.rows {
            rows.set_unknown_length();
        }
        self
    }

    /// Returns the number of bytes that were taken and are not decided yet.
    pub fn undecided(&self) -> usize {
        let events = self.events.as_ref().map_or(0, |events| events.held());
        self.bytes.len() + events + self.rows.as_ref().map_or(0, |rows| rows.held())
    }

    /// Returns the number of bytes, counted from the first one that belongs to a name or a value, that are not decided yet.
    /// Separators in front of it tell nothing about anybody.
    pub fn undecided_content(&self) -> usize {
        let is_separator =
            |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | RECORD_SEPARATOR);
        self.undecided() - self.bytes.iter().take_while(is_separator).count()
    }

    fn with_parameters(
        plan: Arc<Plan>,
        forms: Forms,
        parameters: Parameters,
        limits: Limits,
        framing: Framing,
    ) -> Scrubber {
        let parameters = Arc::new(parameters);
        let events = (framing == Framing::Events).then(Box::default);
        let rows = (framing == Framing::Rows).then(Box::default);
        // Each row of a table is a line of its own.
        let walk_framing = if framing == Framing::Rows { Framing::Lines } else { framing };
        let removed_as = plan.removed_as_in(framing);
        let walk = Walk::new(&plan, walk_framing, removed_as);
        Scrubber {
            plan,
            forms,
            parameters,
            limits,
            bytes: Vec::new(),
            base: 0,
            checked: 0,
            may_be_marked: true,
            is_table: framing == Framing::Rows,
            walk,
            events,
            rows,
            failed: None,
        }
    }

    /// Creates a scrubber for one text of this body.
    fn for_text(&self) -> Scrubber {
        let removed_as = self.plan.removed_as_in(Framing::Document);
        Scrubber {
            plan: Arc::clone(&self.plan),
            forms: self.forms.clone(),
            parameters: Arc::clone(&self.parameters),
            limits: self.limits,
            bytes: Vec::new(),
            base: 0,
            checked: 0,
            may_be_marked: false,
            is_table: false,
            walk: Walk::new(&self.plan, Framing::Document, removed_as),
            events: None,
            rows: None,
            failed: None,
        }
    }

    /// Takes the next bytes of the body, and appends the bytes that may leave to `out`.
    ///
    /// # Errors
    /// Returns an error if the body cannot be read. The bytes that were appended, before or now, may leave; nothing more
    /// is ever appended.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        policy: &mut impl RecordPolicy,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        self.process(chunk, false, &mut PermitForms(policy), out)
    }

    /// Ends the body, and appends the last bytes that may leave to `out`.
    ///
    /// # Errors
    /// Returns an error if the body is truncated, and the errors of [`Scrubber::feed`].
    pub fn finish(&mut self, policy: &mut impl RecordPolicy, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.process(&[], true, &mut PermitForms(policy), out)
    }

    /// Takes the next bytes. `last` is true if the body ends with them.
    pub(super) fn process<A: FormPolicy>(
        &mut self,
        chunk: &[u8],
        last: bool,
        policy: &mut A,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let result = if let Some(events) = self.events.take() {
            self.process_events(chunk, events, policy, out)
        } else if let Some(rows) = self.rows.take() {
            self.process_rows(chunk, last, rows, policy, out)
        } else {
            self.process_texts(chunk, last, policy, out)
        };
        self.failed = result.err();
        result
    }

    fn process_events<A: FormPolicy>(
        &mut self,
        chunk: &[u8],
        mut events: Box<EventStream>,
        policy: &mut A,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        // The end of the body needs no treatment: an event is dispatched only by the empty line that ends it.
        let result = events.feed(chunk, &self.plan.options.events, &self.limits, out, |text, out| {
            self.for_text().process(text, true, policy, out)
        });
        self.events = Some(events);
        result
    }

    fn process_rows<A: FormPolicy>(
        &mut self,
        chunk: &[u8],
        last: bool,
        mut rows: Box<Rows>,
        policy: &mut A,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let plan = Arc::clone(&self.plan);
        let limits = self.limits;
        let fed = rows.feed(chunk, last, &plan.options.columns, &limits, out, |line, out| {
            self.process_texts(line, false, policy, out)
        });
        self.rows = Some(rows);
        fed?;
        // Every row was a whole line, so nothing is left to write.
        if last { self.process_texts(&[], true, policy, &mut Vec::new()) } else { Ok(()) }
    }

    fn process_texts<A: FormPolicy>(
        &mut self,
        chunk: &[u8],
        last: bool,
        policy: &mut A,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let mut outside = OutsideRecords::new(self.plan.classes().len());
        let mut result = Ok(());
        let mut parts = chunk.chunks(MAX_STEP).peekable();
        loop {
            self.bytes.extend_from_slice(parts.next().unwrap_or_default());
            let last = last && parts.peek().is_none();
            result = result.and_then(|()| self.advance(last, policy, &mut outside, out));
            if result.is_err() || parts.peek().is_none() {
                break;
            }
        }
        outside.account(policy);
        if last && result.is_ok() {
            self.plan.shapes.store(self.walk.shapes());
        }
        result
    }

    /// Walks over the bytes that have arrived.
    fn advance<A: FormPolicy>(
        &mut self,
        last: bool,
        policy: &mut A,
        outside: &mut OutsideRecords<A::Permit>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let checked = self.check_utf8();
        self.skip_mark();
        // The bytes before an invalid one are read first, so that their faults are reported first.
        let readable = self.bytes.get(..self.checked).unwrap_or_default();
        let (plan, forms, parameters) = (&*self.plan, &self.forms, &*self.parameters);
        let route = RouteContext { plan, forms, parameters, is_row: self.is_table };
        let last = last && checked.is_ok();
        let mut context = WalkContext { route, limits: self.limits, policy, outside, out };
        self.walk.run(readable, self.base, last && self.checked == self.bytes.len(), &mut context)?;
        checked?;
        if last {
            let end = self.base + self.bytes.len() as u64;
            return if self.checked == self.bytes.len() && self.walk.is_complete() {
                Ok(())
            } else {
                Err(Unreadable { fault: BodyFault::Truncated, at: end })
            };
        }
        self.drop_decided();
        Ok(())
    }

    /// Checks that the new bytes are UTF-8. An incomplete character at their end is checked with the next bytes.
    fn check_utf8(&mut self) -> Result<(), Unreadable> {
        let fresh = self.bytes.get(self.checked..).unwrap_or_default();
        match simdutf8::compat::from_utf8(fresh) {
            Ok(_) => {
                self.checked = self.bytes.len();
                Ok(())
            }
            Err(error) => {
                self.checked += error.valid_up_to();
                match error.error_len() {
                    None => Ok(()),
                    Some(_) => {
                        Err(Unreadable { fault: BodyFault::NotUtf8, at: self.base + self.checked as u64 })
                    }
                }
            }
        }
    }

    /// Drops the byte order mark at the beginning of the body.
    fn skip_mark(&mut self) {
        if self.checked == 0 || !std::mem::replace(&mut self.may_be_marked, false) {
            return;
        }
        let mark = BYTE_ORDER_MARK.len();
        if self.bytes.starts_with(BYTE_ORDER_MARK) {
            self.bytes.drain(..mark);
            self.base += mark as u64;
            self.checked -= mark;
        }
    }

    /// Drops the bytes that are decided.
    fn drop_decided(&mut self) {
        let decided = self.walk.decided();
        if decided > 0 {
            self.bytes.drain(..decided);
            self.base += decided as u64;
            self.checked -= decided;
            self.walk.shift(decided);
        }
    }
}
