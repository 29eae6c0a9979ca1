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

/// A chunk of the upstream, as it came.
#[derive(Debug)]
struct WaitingChunk {
    bytes: Bytes,
    /// The number of decoded bytes up to its end; `None` while the decoder may hold back something of it.
    end: Option<u64>,
}

/// Bytes that wait for their judgement.
#[derive(Debug, Default)]
pub(super) struct ObservedBytes {
    waiting: VecDeque<WaitingChunk>,
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

    /// Adds a chunk. `is_decoded` is true if all of it was decoded.
    fn add(&mut self, bytes: Bytes, is_decoded: bool) {
        self.held += bytes.len();
        self.waiting.push_back(WaitingChunk { bytes, end: is_decoded.then_some(self.decoded) });
    }

    /// Notes that more bytes were decoded. Everything that the decoder held back of the waiting chunks is among them.
    fn decoded_more(&mut self, bytes: usize) {
        let end = self.decoded + bytes as u64;
        let held_back =
            self.waiting.iter_mut().rev().take_while(|waiting| bytes > 0 && waiting.end.is_none());
        held_back.for_each(|waiting| waiting.end = Some(end));
    }

    /// Returns the next chunk all of whose bytes are among the first `judged` decoded ones; the next one in any case if
    /// `judged` is `None`.
    fn next(&mut self, judged: Option<u64>) -> Option<Bytes> {
        let WaitingChunk { end, .. } = self.waiting.front()?;
        if !judged.is_none_or(|judged| end.is_some_and(|end| end <= judged)) {
            return None;
        }
        let WaitingChunk { bytes, .. } = self.waiting.pop_front()?;
        self.held -= bytes.len();
        Some(bytes)
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
            self.judge(decoded, last && (!self.empty || self.scrubber.is_field()))?;
        }
        if let Some(observed) = &mut self.observed {
            observed.add(chunk, self.decoder.is_drained());
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
        // That a person has no field is decided, too.
        let is_field = self.scrubber.is_field();
        let is_empty = self.empty && self.decoder.read() == 0;
        if self.reads() && (is_field || !is_empty) {
            let rest = if is_empty { Ok(Bytes::new()) } else { self.decoder.finish().map(Bytes::from) };
            let is_document = self.observed.as_ref().is_some_and(|observed| observed.decoded > 0);
            let has_rest = rest.as_ref().is_ok_and(|rest| !rest.is_empty());
            // A coded body without content is no document.
            if is_field || is_document || has_rest || rest.is_err() {
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
            Ok(decoded) => {
                if let Some(observed) = &mut self.observed {
                    observed.decoded_more(decoded.len());
                }
                self.try_judge(decoded, last)?
            }
            Err(Undecodable) => Some(UpstreamFault::Undecodable(self.decoder.coding())),
        };
        let grant = &self.transfer.grant;
        let read = self.observed.as_ref().map_or(0, |observed| observed.decoded);
        // Enforcing would hold the whole body.
        let too_long = grant.max_deny_body().filter(|max| read > *max as u64).map(UpstreamFault::TooLong);
        if let Some(fault) = too_long {
            grant.notes(fault.refusal());
        }
        // A body that is one field is judged only when it is whole.
        let fault = fault.or_else(|| too_long.filter(|_| self.scrubber.is_field()));
        let Some(fault) = fault else { return Ok(()) };
        grant.notes(fault.refusal());
        grant.route().warn_observed(fault, grant.context.decision, grant.context.trace_id());
        if let Some(observed) = &mut self.observed {
            observed.is_unreadable = true;
        }
        self.scrubber.abandon();
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
        let judged = is_judged.then(|| observed.decoded.saturating_sub(undecided));
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
