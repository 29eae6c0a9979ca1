//! The JSON texts of a body: where a text may begin, what separates two texts, and where the body may end.

use super::{Expect, NextToken, Walk, WalkContext, WalkResult};
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex;
use crate::scrub::unreadable::{BodyFault, Framing, RECORD_SEPARATOR};

/// The separator since the last text, or since the beginning of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gap {
    #[default]
    None,
    /// A line feed.
    LineFeed,
    /// A record separator, which must precede each text of a sequence.
    RecordSeparator,
}

impl Walk {
    /// True if the body may end here.
    pub(in crate::scrub) fn is_complete(&self) -> bool {
        match self.expect {
            Expect::End => self.framing != Framing::Sequence || self.gap == Gap::LineFeed,
            Expect::Document => match self.framing {
                Framing::Document | Framing::Events | Framing::Rows => false,
                Framing::Lines => true,
                Framing::Sequence => self.gap != Gap::RecordSeparator,
            },
            Expect::FirstElement
            | Expect::FirstName
            | Expect::Name
            | Expect::Colon
            | Expect::Value
            | Expect::Next
            | Expect::InString => false,
        }
    }

    /// Reads up to the last line feed, line by line, if each line is a text. Refuses a text that spans lines, because
    /// a recipient that splits at line feeds would find other texts.
    pub(super) fn run_lines<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<()> {
        if self.framing != Framing::Lines {
            return Ok(());
        }
        let from = self.at;
        for end in memchr::memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
            let end = from + end;
            let line = bytes.get(..=end).unwrap_or_default();
            self.read(line, false, context)?;
            self.write_and_check(line, context)?;
            if !self.is_complete() {
                return self.fail(end, BodyFault::Malformed);
            }
        }
        Ok(())
    }

    /// True if the scalar at `at`, which is a whole text of a sequence, is followed by a line feed; false if more
    /// bytes have to come. A scalar without the line feed may have been cut short (RFC 7464, 2.4), so it is refused.
    pub(super) fn is_ended_by_line_feed(&mut self, bytes: &[u8], at: usize, last: bool) -> WalkResult<bool> {
        let rest = bytes.get(at..).unwrap_or_default();
        match memchr::memchr2(b'\n', RECORD_SEPARATOR, rest) {
            Some(end) if rest.get(end) == Some(&b'\n') => Ok(true),
            Some(end) => self.fail(at + end, BodyFault::TrailingBytes),
            None if last => self.fail(bytes.len(), BodyFault::Truncated),
            None => Ok(false),
        }
    }

    /// Reads the bytes between two texts, or the rest of a streamed string.
    #[cold]
    pub(super) fn read_rarely(&mut self, bytes: &[u8], at: usize, expect: Expect) -> WalkResult<NextToken> {
        if expect == Expect::InString {
            return self.continue_string(bytes, at);
        }
        let at = self.space_between(bytes, at, expect == Expect::Document);
        if at == bytes.len() {
            return self.suspend(at, expect);
        }
        let may_begin = match self.framing {
            Framing::Document | Framing::Events | Framing::Rows => expect == Expect::Document,
            Framing::Lines => expect == Expect::Document || self.gap == Gap::LineFeed,
            Framing::Sequence => self.gap == Gap::RecordSeparator,
        };
        if may_begin {
            self.gap = Gap::None;
            return Ok(Some((at, Expect::Value)));
        }
        let is_trailing = expect == Expect::End;
        self.fail(at, if is_trailing { BodyFault::TrailingBytes } else { BodyFault::Malformed })
    }

    /// Skips white space and separators between two texts, and records the separator. Returns the next offset.
    fn space_between(&mut self, bytes: &[u8], mut at: usize, first: bool) -> usize {
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'\n' if self.gap == Gap::None => self.gap = Gap::LineFeed,
                // Between texts a separator counts only after a line feed: a text without one may have been cut short
                // (RFC 7464, 2.4).
                RECORD_SEPARATOR if self.framing == Framing::Sequence && (first || self.gap != Gap::None) => {
                    self.gap = Gap::RecordSeparator;
                }
                byte if lex::is_space(byte) => {}
                _ => break,
            }
            at += 1;
        }
        at
    }
}
