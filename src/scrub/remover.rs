//! Removes what queries select, from any number of JSON texts: `scrub --remove`.

use std::sync::Arc;

use super::form_policy::FixedRemoval;
use super::forms::Forms;
use super::plan::{MappingError, Plan};
use super::scrubber::Scrubber;
use super::unreadable::{Framing, Limits, RECORD_SEPARATOR, Unreadable};

/// Removes everything that queries select. It is a scrubber without a [`RecordPolicy`](super::RecordPolicy).
///
/// If a body has several texts, each text leaves as a whole or not at all, up to the limit for records. A longer text
/// leaves while it is read.
#[derive(Debug)]
pub struct Remover {
    scrubber: Scrubber,
    /// The byte that ends a text in the output, or begins the next one. `None` if the body is one text.
    separator: Option<u8>,
    max_held: usize,
    /// The output of a text that is not complete.
    held: Vec<u8>,
}

impl Remover {
    /// Creates a remover of everything that at least one of these queries selects.
    ///
    /// # Errors
    /// Returns every query that does not load.
    pub fn new(queries: &[String], limits: Limits, framing: Framing) -> Result<Remover, Vec<MappingError>> {
        let plan = Arc::new(Plan::removing(queries)?);
        let scrubber = Scrubber::new(plan, Forms::without_pseudonyms(), &[], limits, framing);
        let separator = match framing {
            Framing::Lines => Some(b'\n'),
            Framing::Sequence => Some(RECORD_SEPARATOR),
            // A single text may be of any length. Events and rows are held by their parsers.
            Framing::Document | Framing::Events | Framing::Rows => None,
        };
        Ok(Remover { scrubber, separator, max_held: limits.record, held: Vec::new() })
    }

    /// Takes the next bytes, like [`Scrubber::feed`].
    ///
    /// # Errors
    /// Returns the errors of [`Scrubber::feed`].
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.process(chunk, false, out)
    }

    /// Ends the body, like [`Scrubber::finish`].
    ///
    /// # Errors
    /// Returns the errors of [`Scrubber::finish`].
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.process(&[], true, out)
    }

    fn process(&mut self, chunk: &[u8], last: bool, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let Some(separator) = self.separator else {
            return self.scrubber.process(chunk, last, &mut FixedRemoval, out);
        };
        let result = self.scrubber.process(chunk, last, &mut FixedRemoval, &mut self.held);
        let releases_all = result.is_ok() && (last || self.held.len() > self.max_held);
        let released = if releases_all {
            self.held.len()
        } else {
            // A line feed leaves with the text before it, a record separator with the text after it.
            let at = memchr::memrchr(separator, &self.held);
            at.map_or(0, |at| at + usize::from(separator == b'\n'))
        };
        out.extend(self.held.drain(..released));
        result
    }
}
