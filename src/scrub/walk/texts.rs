//! The texts of a body: where one may begin, what stands between two, where the body may end.

use super::{Expect, Walk, WalkContext, WalkResult};
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex;
use crate::scrub::unreadable::{BodyFault, Framing, RECORD_SEPARATOR};

/// What has come since the last text, or since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gap {
    #[default]
    None,
    /// A line's end.
    LineFeed,
    /// In a sequence: the record separator that the next text needs.
    RecordSeparator,
}

impl Walk {
    /// Whether the body may end here.
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

    /// Reads on up to the last line's end, where each is a text: who reads line by line finds no
    /// other texts than these.
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

    /// Whether a scalar that is a whole text may be read: in a sequence once the line feed is here
    /// without which it may have been cut short (RFC 7464, 2.4).
    pub(super) fn is_ended(&mut self, bytes: &[u8], at: usize, last: bool) -> WalkResult<bool> {
        let rest = bytes.get(at..).unwrap_or_default();
        match memchr::memchr2(b'\n', RECORD_SEPARATOR, rest) {
            Some(end) if rest.get(end) == Some(&b'\n') => Ok(true),
            Some(end) => self.fail(at + end, BodyFault::TrailingBytes),
            None if last => self.fail(bytes.len(), BodyFault::Truncated),
            None => Ok(false),
        }
    }

    /// What happens between texts and within long strings.
    #[cold]
    pub(super) fn between_texts(
        &mut self,
        bytes: &[u8],
        at: usize,
        expect: Expect,
    ) -> WalkResult<Option<(usize, Expect)>> {
        if expect == Expect::InString {
            return self.continue_string(bytes, at);
        }
        let at = self.space_between(bytes, at, expect == Expect::Document);
        if at == bytes.len() {
            self.suspend(at, expect)?;
            return Ok(None);
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
        self.fail(at, if expect == Expect::End { BodyFault::TrailingBytes } else { BodyFault::Malformed })
    }

    /// Past the white space between two texts, and past what separates them; notes what came.
    fn space_between(&mut self, bytes: &[u8], mut at: usize, first: bool) -> usize {
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'\n' if self.gap == Gap::None => self.gap = Gap::LineFeed,
                // A text that no line feed ended may have been cut short (RFC 7464, 2.4).
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
