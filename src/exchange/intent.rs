//! The intent of an exchange: the record of a disclosure on the log before it happens.

use std::sync::Arc;

use super::purpose::Declaration;
use super::route::{Recipient, Route};
use super::{ExchangeContext, Refusal, Requester, SharedState};
use crate::decision::Decisions;
use crate::disclosure::{Entry, Intent, LogError, Outcome, Verdict};
use crate::vocabulary::PurposeId;

/// The verdict of each factor of an admission, in the order of evaluation.
#[derive(Clone, Debug)]
pub(super) struct Factors(Vec<(&'static str, Verdict)>);

impl Default for Factors {
    fn default() -> Factors {
        Factors(Vec::with_capacity(8))
    }
}

impl Factors {
    /// Records the verdict of one factor and returns the result.
    pub(super) fn weigh<T>(
        &mut self,
        factor: &'static str,
        result: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.0.push((factor, if result.is_ok() { Verdict::Permits } else { Verdict::Refuses }));
        result
    }
}

/// Describes an exchange for the log.
pub(super) fn intent<'a>(
    context: &ExchangeContext,
    requester: &Requester,
    route: &Route,
    decisions: &Decisions,
    purpose: Option<PurposeId>,
    declaration: Option<&'a Declaration>,
    factors: &'a Factors,
) -> Intent<'a> {
    let purposes = decisions.pack().vocabulary().purposes();
    let ledger = &context.shared.ledger;
    let actor = requester.caller.identity.actor.as_ref();
    Intent {
        decision: context.decision.clone(),
        time: context.now,
        recipient: Arc::clone(&requester.recipient.name),
        actor: actor.map(|actor| ledger.fingerprints().actor(actor)),
        purpose: purpose.map(|purpose| purposes.name(purpose).to_owned()).unwrap_or_default(),
        declared: declaration.map(|declaration| declaration.purpose.as_str().into()),
        case: declaration.and_then(|declaration| declaration.case.as_deref()).map(Into::into),
        route: Arc::clone(&route.name),
        operation: route.operation(&context.method),
        policy: Arc::clone(decisions.pack().revision()),
        position: ledger.position(),
        stale: false,
        factors: factors.0.as_slice().into(),
    }
}

/// An entry of the log that is not closed. If it is dropped, the exchange closes as aborted, because the recipient went
/// away.
#[derive(Debug)]
pub struct OpenEntry {
    shared: Arc<SharedState>,
    recipient: Arc<Recipient>,
    entry: Option<Entry>,
}

impl OpenEntry {
    pub(super) fn new(shared: Arc<SharedState>, recipient: Arc<Recipient>, entry: Entry) -> OpenEntry {
        OpenEntry { shared, recipient, entry: Some(entry) }
    }

    /// Takes the entry. The caller closes it.
    pub(super) fn take(&mut self) -> Option<Entry> {
        self.entry.take()
    }

    pub(super) fn get(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.recipient.cancellations.count();
            self.shared.log.close_detached(entry, Outcome::Aborted);
        }
    }
}

/// The intent is not on record.
#[derive(Debug)]
pub struct IntentError(
    /// The entry, if it was queued but is not durable.
    pub(super) Option<OpenEntry>,
);

impl From<LogError> for IntentError {
    fn from(_: LogError) -> IntentError {
        IntentError(None)
    }
}
