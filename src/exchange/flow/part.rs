//! One part of a window: its input, its scrubbed output, and the facts that it was judged on.

use bytes::Bytes;
use jiff::Timestamp;

use super::content::ContentScrubber;
use super::{MAX_HANDED_OUT, PART_SIZE};
use crate::disclosure::record::ExchangeMode;
use crate::exchange::Refusal;
use crate::exchange::grant::Grant;
use crate::exchange::ledger_policy::LedgerPolicy;
use crate::exchange::record::Extent;
use crate::exchange::transfer::Transfer;
use crate::exchange::upstream_fault::ResponseError;
use crate::exchange::window::WindowSummary;
use crate::ledger::Epoch;
use crate::scrub::Unreadable;

/// One part of a window.
pub(super) struct WindowPart {
    /// The scrubber before this input, to scrub the input again.
    before: Box<ContentScrubber>,
    /// The upstream's own chunks, not copied.
    input: Vec<Bytes>,
    /// Bytes of all chunks.
    read: usize,
    /// True if the document ends with this input.
    last: bool,
    output: Vec<u8>,
    /// The rest of the output once some of it has left.
    rest: Bytes,
    /// The summary on the log. A change of a person in it makes it necessary to scrub this part again.
    summary: WindowSummary,
    /// The summary of the last scrub, if the part was scrubbed again.
    rescrubbed: Option<WindowSummary>,
    judged_at: Epoch,
    /// True if the part before was scrubbed again: this output continues a state that no longer holds.
    is_stale: bool,
}

impl WindowPart {
    /// An empty part that begins at the scrubber's present state.
    pub(super) fn new(scrubber: &ContentScrubber, capacity: usize, judged_at: Epoch) -> WindowPart {
        WindowPart {
            before: Box::new(scrubber.clone()),
            input: Vec::new(),
            read: 0,
            last: false,
            output: Vec::with_capacity(capacity),
            rest: Bytes::new(),
            summary: WindowSummary::default(),
            rescrubbed: None,
            judged_at,
            is_stale: false,
        }
    }

    /// True if all of the input is held: nothing has come out yet.
    pub(super) fn is_held(&self) -> bool {
        self.output.is_empty()
    }

    /// True if more input belongs to this part.
    pub(super) fn has_room(&self) -> bool {
        self.is_held() || self.output.len().max(self.read) < PART_SIZE
    }

    /// True if some of the output has left and some has not.
    pub(super) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    pub(super) fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Bytes that the part keeps in memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.read + self.output.capacity() + self.rest.len()
    }

    /// The upstream's bytes, decoded.
    pub(super) fn input(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.input.iter()
    }

    pub(super) fn summary(&self) -> &WindowSummary {
        &self.summary
    }

    /// Scrubs more input. Returns the bytes that came out.
    pub(super) fn scrub(
        &mut self,
        scrubber: &mut ContentScrubber,
        mut policy: LedgerPolicy<'_>,
        input: Bytes,
        last: bool,
    ) -> Result<usize, ResponseError> {
        self.read += input.len();
        self.last = last;
        let before = self.output.len();
        scrubber.feed(&input, &mut policy, &mut self.output)?;
        if last {
            scrubber.finish(&mut policy, &mut self.output)?;
        }
        self.summary.merge(policy.into_summary());
        self.input.push(input);
        Ok(self.output.len() - before)
    }

    /// Judges decoded input of an observed body. Nothing of what the scrubber would let leave is kept.
    pub(super) fn judge(
        &mut self,
        scrubber: &mut ContentScrubber,
        mut policy: LedgerPolicy<'_>,
        input: Bytes,
        last: bool,
    ) -> Result<(), Unreadable> {
        let mut released = Vec::new();
        let mut fed = scrubber.feed(&input, &mut policy, &mut released);
        if last && fed.is_ok() {
            fed = scrubber.finish(&mut policy, &mut released);
        }
        self.summary.merge(policy.into_summary());
        self.read += input.len();
        self.input.push(input);
        fed
    }

    /// Adds bytes of an observed body, as they came.
    pub(super) fn pass(&mut self, input: &[u8]) {
        self.output.extend_from_slice(input);
    }

    /// Says that something in the part was not read.
    pub(super) fn mark_unread(&mut self) {
        self.summary.unread = true;
    }

    /// Returns the next bytes that leave; `None` if the part has to be scrubbed again, because the state of somebody
    /// in it has changed since it was judged, or the ledger has become stale.
    pub(super) async fn leave(&mut self, transfer: &mut Transfer) -> Result<Option<Bytes>, ResponseError> {
        if self.is_stale {
            return Ok(None);
        }
        transfer.may_leave()?;
        let (output, rest) = (&mut self.output, &mut self.rest);
        let begins = rest.is_empty();
        let leave = || {
            if begins {
                *rest = Bytes::from(std::mem::take(output));
            }
            rest.split_to(rest.len().min(MAX_HANDED_OUT))
        };
        let grant = &transfer.grant;
        let bytes = match grant.mode() {
            ExchangeMode::Enforce => grant.hand_out(self.judged_at, &self.summary, leave),
            ExchangeMode::Observe => Some(grant.hand_out_as_it_came(transfer.is_endless(), leave).await?),
        };
        if let Some(bytes) = &bytes {
            if begins {
                transfer.report(self.rescrubbed.as_ref().unwrap_or(&self.summary));
            }
            transfer.sent(bytes.len());
        }
        Ok(bytes)
    }

    /// Scrubs the input again under the facts now in force. Records the part again if more would leave than is
    /// recorded. Returns the scrubber at the end of the part.
    pub(super) async fn scrub_again(&mut self, grant: &Grant) -> Result<ContentScrubber, ResponseError> {
        if self.has_rest() {
            // The beginning of the part has left.
            return Err(Refusal::SubjectWithheld.into());
        }
        self.judged_at = grant.epoch();
        self.is_stale = false;
        self.output.clear();
        let mut scrubber = (*self.before).clone();
        let mut policy = grant.policy(Timestamp::now())?;
        for chunk in &self.input {
            scrubber.feed(chunk, &mut policy, &mut self.output)?;
        }
        if self.last {
            scrubber.finish(&mut policy, &mut self.output)?;
        }
        let rescrubbed = policy.into_summary();
        let is_withheld = grant.withholds(&rescrubbed) || scrubber.is_withheld();
        if grant.is_all_or_nothing() && is_withheld {
            return Err(grant.denial(&rescrubbed).into());
        }
        let WindowSummary { valid_until, current, stale, .. } = rescrubbed;
        if rescrubbed.discloses_more_than(&self.summary) {
            grant.record(&rescrubbed, Extent::Part).await?;
            self.summary.merge(rescrubbed.clone());
        } else if stale && !self.summary.stale {
            grant.record(&WindowSummary { stale, ..WindowSummary::default() }, Extent::Part).await?;
        } else if self.summary.discloses_more_than(&rescrubbed) {
            grant.record_reduction();
        }
        self.summary.valid_until = valid_until;
        self.summary.current = current;
        self.summary.stale |= stale;
        self.rescrubbed = Some(rescrubbed);
        Ok(scrubber)
    }

    /// Continues from another state: the part before this one was scrubbed again.
    pub(super) fn restart_from(&mut self, before: ContentScrubber) {
        *self.before = before;
        self.is_stale = true;
    }
}
