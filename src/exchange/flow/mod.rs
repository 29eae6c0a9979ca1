//! The flow of one response body: it takes the upstream's bytes and returns the bytes that may leave. On a personal
//! route it is the only way from the upstream's bytes to the recipient.
//!
//! A driver (see [`crate::exchange`]) reads the upstream's body and calls the flow:
//!
//! 1. While [`BodyFlow::wants_more`], push ([`BodyFlow::push`], [`BodyFlow::resume`], [`BodyFlow::finish`]). The bytes
//!    are decoded, scrubbed and gathered in a window, whose size depends on the memory that there is. The driver closes
//!    the window early after [`BodyFlow::window_time`].
//! 2. [`BodyFlow::record`] puts the window on the disclosure log before any of it leaves.
//! 3. [`BodyFlow::hand_out`] returns the window part by part. Right before a part leaves, the ledger is asked if the
//!    state of somebody in it has changed since it was judged. If so, the same input is scrubbed again.
//!
//! The flow has no timers and does not read: the driver waits, keeps the deadlines and drains. Invariants, whatever the
//! order in which a driver calls: a byte leaves only after its window is on the log, and only while the facts that it was
//! judged on are in force; nothing leaves after an error. Chunk boundaries have no effect on the output.

pub mod decode;
mod observed;
mod part;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use self::decode::{Decoder, Undecodable};
use self::observed::ObservedBytes;
use self::part::WindowPart;
use super::Refusal;
use super::memory::HeldBytes;
use super::record::Extent;
use super::route::{OnWithheld, Scrubbing};
use super::transfer::Transfer;
use super::upstream_fault::{ResponseError, UpstreamFault};
use super::window::WindowSummary;
use crate::scrub::{Framing, Scrubber};

/// Maximum time that scrubbed bytes wait for their window to fill.
const WINDOW_TIME: Duration = Duration::from_millis(20);
/// Maximum time that the head of a response waits for the first decision about its document.
const HEAD_TIME: Duration = Duration::from_secs(1);
/// Bytes after which a part is closed: the ledger is asked again before the next part leaves.
pub const PART_SIZE: usize = 64 * 1024;
/// Maximum bytes that are handed out at once, from a part that one large record makes larger than [`PART_SIZE`]. It
/// bounds the bytes that cannot be recalled from a connection whose recipient reads slowly.
const MAX_HANDED_OUT: usize = 2 * PART_SIZE;
/// Coded bytes that are decoded at a time.
const CODED_SLICE: usize = 16 * 1024;

/// The framing, decoder and delimitation of a body.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) framing: Framing,
    pub(super) decoder: Decoder,
    /// True if a length, chunks or a coding tell where the body ends.
    pub(super) has_length: bool,
}

/// Bytes that were gathered in the current window.
#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    /// Bytes that went into the scrubber, decoded.
    read: usize,
    /// Bytes that came out of it.
    written: usize,
}

/// Scrubs one body.
pub struct BodyFlow {
    transfer: Transfer,
    on_withheld: OnWithheld,
    /// Maximum bytes of one record that are held until it is whole.
    max_held: usize,
    framing: Framing,
    decoder: Decoder,
    /// Bytes that were pushed and are not decoded yet: decoding may expand them.
    coded: Bytes,
    scrubber: Scrubber,
    parts: VecDeque<WindowPart>,
    /// Number of parts at the front that are on the disclosure log. Only these leave.
    recorded: usize,
    gathered: Gathered,
    /// The account of all bytes that the flow holds.
    held: HeldBytes,
    /// The error of an earlier call. After it nothing more leaves, whatever the driver calls.
    failed: Option<ResponseError>,
    /// True after the end of the body.
    finished: bool,
    /// True until the first byte of the document arrives.
    empty: bool,
    /// True while nothing of the response has left, not even its head.
    is_first_window: bool,
    /// The bytes of an observed body that wait for their judgement; `None` if the body is enforced.
    observed: Option<ObservedBytes>,
}

impl std::fmt::Debug for BodyFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyFlow").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl BodyFlow {
    pub(super) fn new(transfer: Transfer, framed: Framed, scrubbing: &Scrubbing) -> BodyFlow {
        let Framed { framing, decoder, has_length } = framed;
        let parameters = transfer.grant.routing.matched.parameters.iter();
        let parameters: Vec<(&str, &str)> = parameters.map(|(name, value)| (&**name, &**value)).collect();
        let forms = transfer.grant.forms();
        let scrubber =
            Scrubber::new(Arc::clone(&scrubbing.plan), forms, &parameters, scrubbing.limits, framing);
        let is_observed = transfer.grant.is_observed();
        let on_withheld = if is_observed { OnWithheld::Strip } else { scrubbing.on_withheld };
        let is_streamed = on_withheld == OnWithheld::Strip;
        let memory = &transfer.grant.context.shared.memory;
        BodyFlow {
            held: memory.hold(transfer.grant.recipient(), is_streamed),
            on_withheld,
            max_held: scrubbing.limits.record,
            framing,
            decoder,
            coded: Bytes::new(),
            scrubber: if has_length { scrubber } else { scrubber.of_unknown_length() },
            // Most bodies are one part.
            parts: VecDeque::with_capacity(1),
            recorded: 0,
            gathered: Gathered::default(),
            failed: None,
            finished: false,
            empty: true,
            is_first_window: true,
            observed: is_observed.then(ObservedBytes::default),
            transfer,
        }
    }

    /// Abandons the flow before anything has left, and ends the exchange on the log as refused. The driver then
    /// answers with [`GrantedExchange::refuse`](super::GrantedExchange::refuse).
    pub fn refuse(self, error: ResponseError) {
        self.transfer.grant.end_refused(error.refusal);
    }

    /// The account of the response.
    pub fn transfer(&mut self) -> &mut Transfer {
        &mut self.transfer
    }

    /// True if the window has room and the body has not ended.
    pub fn wants_more(&self) -> bool {
        let bound = match self.on_withheld {
            OnWithheld::Deny { max_body } => max_body.saturating_add(1),
            // While nothing can leave, a refusal can still replace the response.
            OnWithheld::Strip if self.holds_head() => self.held.max_window().saturating_add(self.max_held),
            OnWithheld::Strip => self.held.max_window(),
        };
        !self.finished && self.gathered() < bound
    }

    /// The bytes that went into the window or the bytes that came out, whichever number is larger: both are held until
    /// they leave.
    pub fn gathered(&self) -> usize {
        self.gathered.read.max(self.gathered.written)
    }

    /// The time after which the driver closes the window even if it has room, counted from the last change of this
    /// value; `None` while the window has no deadline.
    pub fn window_time(&self) -> Option<Duration> {
        match self.on_withheld {
            OnWithheld::Deny { .. } => None,
            OnWithheld::Strip if self.gathered() == 0 => None,
            OnWithheld::Strip if self.holds_head() => Some(HEAD_TIME),
            OnWithheld::Strip => Some(WINDOW_TIME),
        }
    }

    /// True if all bytes read so far are held, most likely as part of one record; then the head is held too. The head
    /// of a response that may have no end is not held, because its recipient waits for it.
    fn holds_head(&self) -> bool {
        self.is_first_window && !self.transfer.is_endless() && self.parts.iter().all(WindowPart::is_held)
    }

    /// True after the end of the body. The gathered bytes may still have to be recorded and handed out.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Waits until the next bytes may be scrubbed: a recipient has a few turns at a time. The driver drops the turn after
    /// [`BodyFlow::push`] or [`BodyFlow::resume`].
    pub fn turn(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        self.held.turn()
    }

    /// Scrubs the next bytes of the body. `last` is true if the driver knows that the body ends with these bytes.
    ///
    /// A chunk in a content coding is decoded in slices: while [`BodyFlow::has_coded`] is true, [`BodyFlow::resume`]
    /// decodes the next slice.
    ///
    /// # Errors
    /// [`ResponseError`] if the body cannot be read, or if more of it would have to be held than there is memory for.
    pub fn push(&mut self, chunk: Bytes, last: bool) -> Result<(), ResponseError> {
        if self.decoder.is_identity() && self.observed.is_some() {
            self.finished = last;
            return self.observe(chunk, last);
        }
        if self.decoder.is_identity() {
            // `last` tells that the body has ended, so the driver need not wait for an end of stream.
            self.finished = last;
            self.transfer.received(chunk.len());
            return self.scrub(chunk, last);
        }
        // Only the decoder knows if the coded body is complete: `finish` asks it.
        self.coded = chunk;
        self.resume()
    }

    /// True if bytes were pushed that are not decoded yet.
    pub fn has_coded(&self) -> bool {
        !self.coded.is_empty()
    }

    /// Decodes and scrubs the next slice of the pushed bytes.
    ///
    /// # Errors
    /// As [`BodyFlow::push`].
    pub fn resume(&mut self) -> Result<(), ResponseError> {
        let slice = self.coded.split_to(self.coded.len().min(CODED_SLICE));
        if self.observed.is_some() {
            return self.observe(slice, false);
        }
        self.transfer.received(slice.len());
        let mut decoded = Bytes::from(self.decode(|decoder| decoder.feed(&slice))?);
        while !decoded.is_empty() {
            self.scrub(decoded.split_to(decoded.len().min(PART_SIZE)), false)?;
        }
        Ok(())
    }

    /// Scrubs the rest when the body ends. An empty body is no document, and leaves as an empty body.
    ///
    /// # Errors
    /// As [`BodyFlow::push`].
    pub fn finish(&mut self) -> Result<(), ResponseError> {
        self.finished = true;
        if self.observed.is_some() {
            return self.finish_observed();
        }
        if self.empty && self.decoder.read() == 0 {
            return Ok(());
        }
        let rest = self.decode(Decoder::finish)?;
        if self.empty && rest.is_empty() {
            return Ok(());
        }
        self.scrub(Bytes::from(rest), true)
    }

    /// Ends the body before its end, because the gateway drains. Bytes of an incomplete text do not leave.
    pub fn end_early(&mut self) {
        self.finished = true;
        self.coded = Bytes::new();
        if let Some(observed) = &mut self.observed {
            observed.clear();
        }
    }

    fn decode(
        &mut self,
        decode: impl FnOnce(&mut Decoder) -> Result<Vec<u8>, Undecodable>,
    ) -> Result<Vec<u8>, ResponseError> {
        decode(&mut self.decoder).map_err(|Undecodable| {
            let error = ResponseError::from(UpstreamFault::Undecodable(self.decoder.coding()));
            self.failed = Some(error);
            error
        })
    }

    fn scrub(&mut self, input: Bytes, last: bool) -> Result<(), ResponseError> {
        self.empty &= input.is_empty();
        self.check_room(input.len()).inspect_err(|error| self.failed = Some(*error))?;
        self.open_part(input.len());
        let Some(part) = self.parts.back_mut() else { return Ok(()) };
        self.gathered.read += input.len();
        let policy = self.transfer.grant.policy(Timestamp::now()).inspect_err(|refusal| {
            self.failed = Some((*refusal).into());
        })?;
        let written = part.scrub(&mut self.scrubber, policy, input, last).inspect_err(|error| {
            self.failed = Some(*error);
        })?;
        self.gathered.written += written;
        self.account();
        Ok(())
    }

    /// Begins a part for this many bytes, unless the last one has room.
    fn open_part(&mut self, capacity: usize) {
        let judged_at = self.transfer.grant.epoch();
        // Held input is one part, even if it is large, because each part keeps a copy of the scrubber.
        let is_open = self.parts.len() > self.recorded && self.parts.back().is_some_and(WindowPart::has_room);
        if !is_open {
            self.parts.push_back(WindowPart::new(&self.scrubber, capacity, judged_at));
        }
    }

    /// Checks that there is memory for more input if nothing of the window can leave without it.
    fn check_room(&self, more: usize) -> Result<(), ResponseError> {
        let can_leave = || self.parts.iter().any(|part| !part.is_held());
        match self.on_withheld {
            OnWithheld::Strip if can_leave() => Ok(()),
            OnWithheld::Strip | OnWithheld::Deny { .. } => {
                self.held.check_room(more).map_err(|_| Refusal::Overloaded.into())
            }
        }
    }

    /// Accounts for the bytes that the flow holds now.
    fn account(&mut self) {
        let in_parts: usize = self.parts.iter().map(WindowPart::held_bytes).sum();
        let waiting = self.observed.as_ref().map_or(0, ObservedBytes::held);
        self.held.set(in_parts + self.coded.len() + self.scrubber.undecided() + waiting);
    }

    fn check_usable(&self) -> Result<(), ResponseError> {
        self.failed.map_or(Ok(()), Err)
    }

    /// Records the window on the disclosure log and begins the next one. After this, [`BodyFlow::hand_out`] returns the
    /// recorded window.
    ///
    /// # Errors
    /// [`Refusal::AuditUnavailable`] if the record cannot be written. On a route with `withheld = "deny"`: an error
    /// if the body is not whole or too long, and [`Refusal::SubjectWithheld`] if a field of a subject is
    /// withheld.
    pub async fn record(&mut self) -> Result<(), ResponseError> {
        self.check_usable()?;
        self.try_record().await.inspect_err(|error| self.failed = Some(*error))
    }

    async fn try_record(&mut self) -> Result<(), ResponseError> {
        let gathered = self.gathered();
        self.gathered = Gathered::default();
        let is_first_window = std::mem::replace(&mut self.is_first_window, false);
        let grant = &self.transfer.grant;
        if let OnWithheld::Deny { max_body } = self.on_withheld {
            if !self.finished || gathered > max_body {
                return Err(UpstreamFault::TooLong(max_body).into());
            }
            if let Some(part) = self.parts.iter().find(|part| grant.withholds(part.summary())) {
                return Err(grant.denial(part.summary()).into());
            }
        }
        let mut together = WindowSummary::default();
        let mut parts = self.parts.iter().skip(self.recorded);
        let window = match (parts.next(), parts.len()) {
            (Some(only), 0) => only.summary(),
            _ => {
                let parts = self.parts.iter().skip(self.recorded);
                parts.for_each(|part| together.merge(part.summary().clone()));
                &together
            }
        };
        // Bytes of an observed body can leave in a later window than the one in which they are judged.
        let judges_ahead = self.observed.is_some() && !window.released.is_empty();
        if self.observed.is_some() {
            grant.note_withheld(window);
        }
        // Of a response to `HEAD` nothing follows this window.
        let is_whole = self.finished || grant.context.method == Method::HEAD;
        let is_held = self.parts.iter().skip(self.recorded).all(WindowPart::is_held);
        // The first record is needed in any case, because the head leaves.
        if !is_held || window.records > 0 || judges_ahead || grant.is_unrecorded() {
            grant.record(window, if is_whole { Extent::Whole } else { Extent::Part }).await?;
        }
        if is_first_window && window.has_unclassified() {
            let input = self.parts.iter().flat_map(WindowPart::input);
            grant.survey_unclassified(self.framing, input);
        }
        self.recorded = self.parts.len();
        Ok(())
    }

    /// Returns the next bytes of the recorded window that may leave now; `None` after the last ones.
    ///
    /// # Errors
    /// [`ResponseError`] if nothing more may leave: the response is cut.
    pub async fn hand_out(&mut self) -> Result<Option<Bytes>, ResponseError> {
        self.check_usable()?;
        let handed_out = self.try_hand_out().await;
        self.account();
        handed_out.inspect_err(|error| self.failed = Some(*error))
    }

    async fn try_hand_out(&mut self) -> Result<Option<Bytes>, ResponseError> {
        while self.recorded > 0 {
            let Some(mut part) = self.parts.pop_front() else { break };
            self.recorded -= 1;
            let output = loop {
                match part.leave(&mut self.transfer)? {
                    Some(output) => break output,
                    None => self.scrub_again(&mut part).await?,
                }
            };
            if part.has_rest() {
                self.parts.push_front(part);
                self.recorded += 1;
            }
            if !output.is_empty() {
                return Ok(Some(output));
            }
        }
        Ok(None)
    }

    /// Scrubs a part again. The state in which it ends may differ now (for example, an array may have no element yet). So the
    /// part after it starts from the new state, and is scrubbed again in its turn.
    async fn scrub_again(&mut self, part: &mut WindowPart) -> Result<(), ResponseError> {
        let after = part.scrub_again(&self.transfer.grant).await?;
        match self.parts.front_mut() {
            Some(next) => next.restart_from(after),
            None => self.scrubber = after,
        }
        Ok(())
    }

    /// True if the whole body is recorded and can leave at once, with its length and without a trailer.
    pub fn is_whole(&self) -> bool {
        let is_large = self.parts.front().is_some_and(|part| part.output_len() > MAX_HANDED_OUT);
        self.finished && self.parts.len() <= 1 && !is_large && !self.transfer.reports()
    }

    /// The trailer that the response ends in, if it has one.
    pub fn trailer(&self) -> Option<HeaderMap> {
        self.transfer.trailer()
    }
}

#[cfg(test)]
pub(crate) mod tests;
