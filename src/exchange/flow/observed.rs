//! Observed bodies: the upstream's own bytes, which leave as they came once everything in them is judged and on record.
//!
//! The decoded bytes go through the scrubber, which decides and counts as for an enforced body; what it would let leave is
//! dropped. Invariant: a byte leaves after the record that it belongs to was judged, so that the log says whom it is about, or
//! after the body turned out to be unreadable, which the log says, too.

use std::collections::VecDeque;

use bytes::Bytes;

use super::decode::Undecodable;
use super::{BodyFlow, PART_SIZE};
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};

/// Bytes that wait for their judgement.
#[derive(Debug, Default)]
pub(super) struct ObservedBytes {
    /// The upstream's own chunks, each with the number of decoded bytes up to its end.
    waiting: VecDeque<(u64, Bytes)>,
    /// Bytes of all waiting chunks.
    held: usize,
    /// Number of decoded bytes.
    decoded: u64,
    /// True once the body cannot be read.
    is_unreadable: bool,
}

impl ObservedBytes {
    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Drops what is waiting.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.held = 0;
    }

    fn add(&mut self, chunk: Bytes) {
        self.held += chunk.len();
        self.waiting.push_back((self.decoded, chunk));
    }

    /// Returns the next chunk all of whose bytes are among the first `judged` decoded ones.
    fn next(&mut self, judged: u64) -> Option<Bytes> {
        self.waiting.front().filter(|(end, _)| *end <= judged)?;
        let (_, chunk) = self.waiting.pop_front()?;
        self.held -= chunk.len();
        Some(chunk)
    }
}

impl BodyFlow {
    /// Takes bytes of an observed body. `last` is true if an uncoded body ends with them.
    ///
    /// # Errors
    /// [`ResponseError`] if there is no memory for more, or if nothing may leave at this moment.
    pub(super) fn observe(&mut self, chunk: Bytes, last: bool) -> Result<(), ResponseError> {
        self.transfer.received(chunk.len());
        self.empty &= chunk.is_empty();
        self.check_room(chunk.len()).inspect_err(|error| self.failed = Some(*error))?;
        self.open_part(chunk.len());
        if self.reads() {
            let decoded = match self.decoder.is_identity() {
                true => Ok(chunk.clone()),
                false => self.decoder.feed(&chunk).map(Bytes::from),
            };
            self.judge(decoded, last && !self.empty)?;
        }
        if let Some(observed) = &mut self.observed {
            observed.add(chunk);
        }
        self.release(last);
        Ok(())
    }

    /// Judges the rest of an observed body when it ends.
    ///
    /// # Errors
    /// As [`BodyFlow::observe`].
    pub(super) fn finish_observed(&mut self) -> Result<(), ResponseError> {
        self.open_part(0);
        if self.reads() && !(self.empty && self.decoder.read() == 0) {
            let rest = self.decoder.finish().map(Bytes::from);
            let is_document = self.observed.as_ref().is_some_and(|observed| observed.decoded > 0);
            let has_rest = rest.as_ref().is_ok_and(|rest| !rest.is_empty());
            // A coded body without content is no document.
            if is_document || has_rest || rest.is_err() {
                self.judge(rest, true)?;
            }
        }
        self.release(true);
        Ok(())
    }

    /// True while the body can be read.
    fn reads(&self) -> bool {
        self.observed.as_ref().is_some_and(|observed| !observed.is_unreadable)
    }

    /// Judges decoded bytes. If they cannot be read, this is noted and the rest of the body passes unread.
    fn judge(&mut self, decoded: Result<Bytes, Undecodable>, last: bool) -> Result<(), ResponseError> {
        let fault = match decoded {
            Ok(decoded) => self.try_judge(decoded, last)?,
            Err(Undecodable) => Some(UpstreamFault::Undecodable(self.decoder.coding())),
        };
        let grant = &self.transfer.grant;
        let read = self.observed.as_ref().map_or(0, |observed| observed.decoded);
        // Enforcing would hold the whole body.
        if let Some(max) = grant.max_deny_body().filter(|max| read > *max as u64) {
            grant.notes(UpstreamFault::TooLong(max).refusal());
        }
        let Some(fault) = fault else { return Ok(()) };
        grant.notes(fault.refusal());
        grant.route().warn_observed(fault, grant.context.decision);
        if let Some(observed) = &mut self.observed {
            observed.is_unreadable = true;
        }
        Ok(())
    }

    /// Judges decoded bytes. Returns the fault if they cannot be read.
    fn try_judge(&mut self, mut decoded: Bytes, last: bool) -> Result<Option<UpstreamFault>, ResponseError> {
        loop {
            let piece = decoded.split_to(decoded.len().min(PART_SIZE));
            let (read, last) = (piece.len(), last && decoded.is_empty());
            let now = self.transfer.grant.context.shared.clock.now();
            let policy = self.transfer.grant.policy(now).inspect_err(|refusal| {
                self.failed = Some((*refusal).into());
            })?;
            let Some(part) = self.parts.back_mut() else { return Ok(None) };
            let judged = part.judge(&mut self.scrubber, policy, piece, last);
            self.gathered.read += read;
            if let Some(observed) = &mut self.observed {
                observed.decoded += read as u64;
            }
            match judged {
                Err(unreadable) => return Ok(Some(UpstreamFault::Body(unreadable))),
                Ok(()) if decoded.is_empty() => return Ok(None),
                Ok(()) => {}
            }
        }
    }

    /// Puts the chunks that are judged into the window; all of them at the end, and once the body cannot be read.
    fn release(&mut self, last: bool) {
        let undecided = self.scrubber.undecided_content() as u64;
        let (Some(observed), Some(part)) = (&mut self.observed, self.parts.back_mut()) else { return };
        let is_judged = !observed.is_unreadable && !last;
        let judged = if is_judged { observed.decoded.saturating_sub(undecided) } else { u64::MAX };
        while let Some(chunk) = observed.next(judged) {
            if observed.is_unreadable && !chunk.is_empty() {
                part.mark_unread();
            }
            part.pass(&chunk);
            self.gathered.written += chunk.len();
        }
        self.account();
    }
}
