//! The step from an admitted exchange to a recorded one: its intent is on the disclosure log.

use std::sync::Arc;

use super::grant::Grant;
use super::intent::{IntentError, OpenEntry, intent};
use super::respond::RecordedExchange;
use super::stale::Knowledge;
use super::{AdmittedExchange, Refusal, RefusedExchange};

impl AdmittedExchange {
    /// Records that the exchange is about to happen, so that a crash in between is visible. Returns when the record is
    /// as durable as configured.
    ///
    /// # Errors
    /// [`IntentError`] if the log does not take the record; pass it to [`AdmittedExchange::record`].
    pub async fn record_intent(&self) -> Result<OpenEntry, IntentError> {
        let AdmittedExchange { context, requester, routing, purpose, admission, .. } = self;
        let mut intent = intent(
            context,
            requester,
            &routing.matched.route,
            &routing.decisions,
            Some(purpose.id),
            purpose.declaration.as_ref(),
            &purpose.factors,
        );
        intent.stale = admission.knowledge != Knowledge::Current;
        let (entry, queued) = context.shared.log.intent(intent).await?;
        let entry = OpenEntry::new(Arc::clone(&context.shared), Arc::clone(&requester.recipient), entry);
        match queued.durable().await {
            Ok(()) => Ok(entry),
            Err(_) => Err(IntentError(Some(entry))),
        }
    }

    /// Goes on to the next phase with the outcome of [`AdmittedExchange::record_intent`].
    ///
    /// # Errors
    /// [`RefusedExchange`] if there is no intent on record: nothing may leave.
    pub fn record(
        self,
        intent: Result<OpenEntry, IntentError>,
    ) -> Result<RecordedExchange, Box<RefusedExchange>> {
        match intent {
            Ok(entry) => Ok(RecordedExchange::new(Arc::new(Grant::new(self, entry)))),
            Err(IntentError(entry)) => {
                let mut refused = self.refuse(Refusal::AuditUnavailable);
                refused.entry = entry;
                Err(refused)
            }
        }
    }
}
