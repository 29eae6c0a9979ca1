//! The end of a window: it is recorded, and then handed out part by part.

use bytes::Bytes;
use http::Method;

use super::part::WindowPart;
use super::{BodyFlow, Gathered, judge_absence};
use crate::exchange::Refusal;
use crate::exchange::record::Extent;
use crate::exchange::route::OnWithheld;
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};
use crate::exchange::window::WindowSummary;

impl BodyFlow {
    /// Records the window on the disclosure log and begins the next one. After this, [`BodyFlow::hand_out`] returns the
    /// recorded window.
    ///
    /// # Errors
    /// [`AuditUnavailable`](Refusal::AuditUnavailable) if the record cannot be written. On a route with `withheld = "deny"`: an error
    /// if the body is not whole or too long, and [`SubjectWithheld`](Refusal::SubjectWithheld) if a field of a subject is
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
        // Also of an answer that is withheld as a whole, once each.
        let parts = self.parts.iter().skip(self.recorded);
        parts.for_each(|part| grant.count_circumstances(part.summary()));
        if let OnWithheld::Deny { max_body } = self.on_withheld {
            if !self.finished || gathered > max_body {
                return Err(UpstreamFault::TooLong(max_body).into());
            }
            if let Some(part) = self.parts.iter().find(|part| grant.withholds(part.summary())) {
                return Err(grant.denial(part.summary()).into());
            }
            if self.parts.iter().all(|part| part.summary().records == 0) {
                judge_absence(grant)?;
            }
            if self.scrubber.is_withheld() {
                // Some rule may release another form of the field, which cannot be made.
                return Err(Refusal::SubjectWithheld.into());
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
            if self.scrubber.is_withheld() && !grant.withholds(window) {
                grant.notes(Refusal::SubjectWithheld);
            }
        }
        // Of a response to `HEAD` nothing follows this window.
        let is_whole = self.finished || grant.context.method == Method::HEAD;
        let is_held = self.parts.iter().skip(self.recorded).all(WindowPart::is_held);
        // The first record is needed in any case, because the head leaves.
        let is_needed = grant.is_unrecorded() || grant.has_unread_head();
        if !is_held || window.records > 0 || judges_ahead || is_needed {
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
                match part.leave(&mut self.transfer).await? {
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
}
