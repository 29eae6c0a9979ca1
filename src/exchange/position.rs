//! `Ledger-Position`: the event that a request's decision must know. A caller that recorded an event hands the position
//! of its acknowledgement on to whoever asks next, at any gateway of the ledger.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::concurrency::ConcurrencyPermit;
use super::{ExchangeContext, Refusal, Rejection};
use crate::ledger::{Ledger, Position};

/// The request header with the position of an acknowledgement.
pub(crate) const LEDGER_POSITION: HeaderName = HeaderName::from_static("ledger-position");

/// The header is repeated, or is not the position of an acknowledgement of this ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Ledger-Position` is sent once, with the `position` of an acknowledgement, unchanged.")]
pub(crate) struct MalformedPosition;

/// Returns the position that the request's headers name.
///
/// # Errors
/// [`MalformedPosition`].
pub(crate) fn required(headers: &HeaderMap, ledger: &Ledger) -> Result<Option<Position>, MalformedPosition> {
    let mut values = headers.get_all(LEDGER_POSITION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let position = ledger.read_position_token(value.as_bytes()).filter(|_| values.next().is_none());
    position.map(Some).ok_or(MalformedPosition)
}

/// Waits until this gateway knows the event that the request names, for at most `max-staleness`. The request counts as
/// one of the recipient's concurrent exchanges meanwhile, which bounds the number of waits. `None` if the request names
/// no event.
///
/// # Errors
/// The [`Rejection`] of a malformed header, of too many exchanges, or [`Refusal::LedgerStale`].
pub(super) async fn reach(
    context: &ExchangeContext,
    recipient: &Arc<str>,
    headers: &HeaderMap,
) -> Result<Option<ConcurrencyPermit<Arc<str>>>, Rejection> {
    let ledger = &context.shared.ledger;
    let required =
        required(headers, ledger).map_err(|malformed| Rejection::malformed(malformed.to_string()))?;
    let Some(position) = required else { return Ok(None) };
    let permit = context.acquire(recipient)?;
    if ledger.reach(position, context.snapshot.max_staleness).await {
        Ok(Some(permit))
    } else {
        Err(Refusal::LedgerStale.into())
    }
}
