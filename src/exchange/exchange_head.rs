//! The circumstances of an exchange, as its first record on the disclosure log says them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::purpose::Declaration;
use super::route::Route;
use super::{ExchangeContext, Refusal, Requester, observe};
use crate::decision::Decisions;
use crate::disclosure::record::{ExchangeHead, Verdict};
use crate::keys::LoggedPerson;
use crate::vocabulary::PurposeId;

/// The verdict of each factor of an admission, in the order of evaluation.
#[derive(Clone, Debug, Default)]
pub(super) struct Factors(SmallVec<[(&'static str, Verdict); 12]>);

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
pub(super) fn exchange_head(
    context: &ExchangeContext,
    requester: &Requester,
    route: &Route,
    decisions: &Decisions,
    purpose: Option<PurposeId>,
    declaration: Option<&Declaration>,
    factors: Factors,
) -> ExchangeHead {
    let purposes = decisions.pack().vocabulary().purposes();
    let ledger = &context.shared.ledger;
    let actor = requester.caller.identity.actor.as_ref();
    ExchangeHead {
        decision: context.decision,
        recipient: Arc::clone(&requester.recipient.name),
        actor: actor.map(|actor| LoggedPerson::unknown(ledger.fingerprints().actor(actor))),
        holder: requester.holder().map(|holder| holder.logged(ledger)),
        purpose: purpose.map_or_else(|| Arc::from(""), |purpose| purposes.shared_name(purpose)),
        declared: declaration.map(|declaration| Arc::clone(&declaration.purpose)),
        case: declaration.and_then(|declaration| declaration.case.clone()),
        route: Arc::clone(&route.name),
        operation: route.operation(&context.method),
        policy: Arc::clone(decisions.pack().revision()),
        position: ledger.position(),
        stale: false,
        factors: factors.0,
        mode: observe::mode(route, &requester.recipient, decisions, context.now),
        would_refuse: None,
        trace: context.trace_id(),
    }
}
