//! One body on its way out: chunks in, bytes that may leave out.
//!
//! Keeps the bytes that are not decided yet, checks that they are UTF-8, and hands them to the
//! [`super::walk`]. Invariants: where the chunks are cut never matters; what is kept is bounded by
//! [`Limits::record`] and a constant; after a fault nothing more comes out.

use std::fmt;
use std::sync::Arc;

use super::events::EventStream;
use super::form_policy::{FixedRemoval, FormPolicy, PermitForms};
use super::forms::Forms;
use super::held_value::{OutsideRecords, RouteContext};
use super::parameters::Parameters;
use super::plan::{MappingError, Plan};
use super::record_policy::RecordPolicy;
use super::rows::Rows;
use super::unreadable::{BYTE_ORDER_MARK, BodyFault, Framing, Limits, RECORD_SEPARATOR, Unreadable};
use super::walk::{Walk, WalkContext};

/// Bytes taken from a chunk at a time, so that a large chunk is not kept twice.
const CHUNK: usize = 1 << 16;

/// Scrubs one body. A clone goes on from the same byte, so that a stretch of the body can be
/// scrubbed again with what is known by then.
#[derive(Clone)]
pub struct Scrubber {
    plan: Arc<Plan>,
    forms: Forms,
    parameters: Arc<Parameters>,
    limits: Limits,
    /// What is not decided yet, and what was not read yet.
    bytes: Vec<u8>,
    /// Bytes of the body before those.
    base: u64,
    /// Up to here they are known to be UTF-8.
    checked: usize,
    /// Whether a byte order mark may come: none of the body was read.
    may_be_marked: bool,
    walk: Walk,
    /// What takes an event stream apart, if the body is one.
    events: Option<Box<EventStream>>,
    /// What takes a table apart, if the body is one.
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
    /// A scrubber for one body of a route. `parameters` are the path parameters of the request,
    /// decoded; a subject that the mapping takes from one that is not there is unusable.
    pub fn new(
        plan: Arc<Plan>,
        forms: Forms,
        parameters: &[(&str, &str)],
        limits: Limits,
        framing: Framing,
    ) -> Scrubber {
        let parameters = Parameters::resolve(&plan, parameters);
        Scrubber::with(plan, forms, parameters, limits, framing)
    }

    /// A scrubber for a trial without a request: whoever its path would name is somebody.
    pub fn for_trial(plan: Arc<Plan>, forms: Forms, limits: Limits, framing: Framing) -> Scrubber {
        let parameters = Parameters::placeholders(&plan);
        Scrubber::with(plan, forms, parameters, limits, framing)
    }

    /// For a body whose end may be a break, as nothing says how long it is: what may be cut short does not count.
    #[must_use]
    pub fn of_unknown_length(mut self) -> Scrubber {
        // Of the others, a record that is cut is none.
        if let Some(rows) = &mut self.rows {
            rows.set_unknown_length();
        }
        self
    }

    fn with(
        plan: Arc<Plan>,
        forms: Forms,
        parameters: Parameters,
        limits: Limits,
        framing: Framing,
    ) -> Scrubber {
        let parameters = Arc::new(parameters);
        let events = (framing == Framing::Events).then(Box::default);
        let rows = (framing == Framing::Rows).then(Box::default);
        let walk = Walk::new(&plan, framing);
        Scrubber {
            plan,
            forms,
            parameters,
            limits,
            bytes: Vec::new(),
            base: 0,
            checked: 0,
            may_be_marked: true,
            walk,
            events,
            rows,
            failed: None,
        }
    }

    /// A scrubber for one text of this body.
    fn of_text(&self) -> Scrubber {
        Scrubber {
            plan: Arc::clone(&self.plan),
            forms: self.forms.clone(),
            parameters: Arc::clone(&self.parameters),
            limits: self.limits,
            bytes: Vec::new(),
            base: 0,
            checked: 0,
            may_be_marked: false,
            walk: Walk::new(&self.plan, Framing::Document),
            events: None,
            rows: None,
            failed: None,
        }
    }

    /// Takes the next bytes of the body, and appends to `out` what is decided by them.
    ///
    /// # Errors
    /// If the body cannot be read. What was appended then, before or now, was decided; nothing more
    /// ever comes out.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        judge: &mut impl RecordPolicy,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        self.process(chunk, false, &mut PermitForms(judge), out)
    }

    /// The body ends here.
    ///
    /// # Errors
    /// If it ends too early, or as [`Scrubber::feed`] does.
    pub fn finish(&mut self, judge: &mut impl RecordPolicy, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.process(&[], true, &mut PermitForms(judge), out)
    }

    fn process<A: FormPolicy>(
        &mut self,
        chunk: &[u8],
        last: bool,
        policy: &mut A,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if let Some(mut events) = self.events.take() {
            // An event that the body ends in is never dispatched.
            let done = events.feed(chunk, &self.plan.options.events, &self.limits, out, |text, out| {
                self.of_text().process(text, true, policy, out)
            });
            self.events = Some(events);
            self.failed = done.err();
            return done;
        }
        if let Some(mut rows) = self.rows.take() {
            let listed = (!self.plan.releases_unclassified()).then_some(&*self.plan.options.columns);
            let done = rows.feed(chunk, last, listed, &self.limits, out, |text, out| {
                self.of_text().process(text, true, policy, out)
            });
            self.rows = Some(rows);
            self.failed = done.err();
            return done;
        }
        let mut outside = OutsideRecords::new(self.plan.classes().len());
        let mut done = Ok(());
        let mut parts = chunk.chunks(CHUNK).peekable();
        loop {
            self.bytes.extend_from_slice(parts.next().unwrap_or_default());
            let last = last && parts.peek().is_none();
            done = done.and_then(|()| self.advance(last, policy, &mut outside, out));
            if done.is_err() || parts.peek().is_none() {
                break;
            }
        }
        outside.account(policy);
        if last && done.is_ok() {
            self.plan.shapes.store(self.walk.shapes());
        }
        self.failed = done.err();
        done
    }

    fn advance<A: FormPolicy>(
        &mut self,
        last: bool,
        policy: &mut A,
        outside: &mut OutsideRecords<A::Permit>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let wrong = self.check();
        self.skip_mark();
        // What stands before the wrong byte is read first: its faults come first.
        let readable = self.bytes.get(..self.checked).unwrap_or_default();
        let route = RouteContext { plan: &self.plan, forms: &self.forms, parameters: &self.parameters };
        let last = last && wrong.is_ok();
        let mut context = WalkContext { route, limits: self.limits, policy: policy, outside, out };
        self.walk.run(readable, self.base, last && self.checked == self.bytes.len(), &mut context)?;
        wrong?;
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

    /// Extends what is known to be UTF-8 over the bytes that came, up to a character that is not
    /// whole yet.
    fn check(&mut self) -> Result<(), Unreadable> {
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

    /// Drops the byte order mark that the body begins with, if it does.
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

/// Removes what queries select, from any amount of JSON texts: the walk without a judge. Of texts that stand one after
/// the other each leaves whole or not at all, up to the record bound; a longer one leaves as it is read.
#[derive(Debug)]
pub struct Remover {
    scrubber: Scrubber,
    /// What ends a text of many, in what comes out, or begins the next.
    between: Option<u8>,
    max_held: usize,
    /// What is decided of a text that is not over.
    held: Vec<u8>,
}

impl Remover {
    /// A remover of everything that one of these queries selects.
    ///
    /// # Errors
    /// Every query that does not load.
    pub fn new(queries: &[String], limits: Limits, framing: Framing) -> Result<Remover, Vec<MappingError>> {
        let plan = Arc::new(Plan::removing(queries)?);
        let scrubber = Scrubber::new(plan, Forms::without_pseudonyms(), &[], limits, framing);
        let between = match framing {
            Framing::Lines => Some(b'\n'),
            Framing::Sequence => Some(RECORD_SEPARATOR),
            // The one text is as large as it likes; an event is held as it is.
            Framing::Document | Framing::Events | Framing::Rows => None,
        };
        Ok(Remover { scrubber, between, max_held: limits.record, held: Vec::new() })
    }

    /// As [`Scrubber::feed`].
    ///
    /// # Errors
    /// As [`Scrubber::feed`].
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.process(chunk, false, out)
    }

    /// As [`Scrubber::finish`].
    ///
    /// # Errors
    /// As [`Scrubber::finish`].
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.process(&[], true, out)
    }

    fn process(&mut self, chunk: &[u8], last: bool, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let Some(between) = self.between else {
            return self.scrubber.process(chunk, last, &mut FixedRemoval, out);
        };
        let taken = self.scrubber.process(chunk, last, &mut FixedRemoval, &mut self.held);
        let is_over = taken.is_ok() && (last || self.held.len() > self.max_held);
        let whole = if is_over {
            self.held.len()
        } else {
            // A separator at the end of a text goes with it, one at its beginning waits with it.
            let at = memchr::memrchr(between, &self.held);
            at.map_or(0, |at| at + usize::from(between == b'\n'))
        };
        out.extend(self.held.drain(..whole));
        taken
    }
}
