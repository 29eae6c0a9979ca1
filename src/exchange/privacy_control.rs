//! The Global Privacy Control (`Sec-GPC: 1`): sent by a data subject itself, it is an objection to marketing if the
//! policy pack enables it (G-4d). From any other caller it says nothing about the people whose data is requested.
//!
//! A browser sends it with every request. So a later choice of the person (lifting the objection, consenting) outweighs it.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use super::pages::opt_out;
use super::{Refusal, SharedState};
use crate::decision::Decisions;
use crate::exchange::caller::Identity;

const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
/// The event that is recorded.
const OBJECTION: &[u8] = br#"{"kind": "objection", "purpose": "marketing", "channel": "Sec-GPC"}"#;
const CHANNEL: &str = "Sec-GPC";

/// Records the objection of the request's signal, unless it is in force already or the person has chosen otherwise since. It
/// is in force when this returns.
///
/// # Errors
/// [`Refusal::LedgerUnavailable`]: the objection cannot be recorded.
pub(crate) async fn record_signal(
    identity: &Identity,
    decisions: &Decisions,
    shared: &SharedState,
) -> Result<(), Refusal> {
    let Some(subject) = identity.subject.as_ref() else { return Ok(()) };
    if !decisions.pack().manifest().switches.global_privacy_control {
        return Ok(());
    }
    let ledger = &shared.ledger;
    let marketing = opt_out::purpose(ledger)?;
    if opt_out::has_objected(ledger, marketing, subject) {
        return Ok(());
    }
    let overridden = ledger.has_overridden_signal(subject, marketing, CHANNEL, Timestamp::now()).await;
    if overridden.map_err(|_| Refusal::LedgerUnavailable)? {
        return Ok(());
    }
    // The token identifies the person, and its recipient has a rate limit of its own.
    opt_out::record_objection(shared, subject.clone(), OBJECTION, || Ok(())).await
}

/// True if the field occurs once and is `1`. Anything else is no signal.
pub(crate) fn is_set(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(SEC_GPC).iter();
    values.next().is_some_and(|value| value.as_bytes() == b"1") && values.next().is_none()
}
