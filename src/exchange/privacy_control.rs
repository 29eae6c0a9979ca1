//! `Sec-GPC: 1`, the Global Privacy Control: from the person itself it is an objection to marketing,
//! where the pack turns it on (G-4d). From anybody else it says nothing about whose data is asked for.
//!
//! A browser sends it with every request. What the person chose otherwise since, by lifting that
//! objection or by consenting, is their word and outweighs it.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use super::pages::opt_out;
use super::{Refusal, SharedState};
use crate::decision::Decisions;
use crate::exchange::caller::Identity;

const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
/// The event, as the ledger reads them from everybody.
const OBJECTION: &[u8] = br#"{"kind": "objection", "purpose": "marketing", "channel": "Sec-GPC"}"#;
const CHANNEL: &str = "Sec-GPC";

/// Records the objection that the request says unless it stands already, or the person has chosen
/// otherwise since; it is in force before the exchange goes on.
///
/// # Errors
/// [`Refusal::LedgerUnavailable`]: what the person said cannot be kept.
pub(crate) async fn record_signal(
    identity: &Identity,
    decisions: &Decisions,
    gatehouse: &SharedState,
) -> Result<(), Refusal> {
    let Some(subject) = identity.subject.as_ref() else { return Ok(()) };
    if !decisions.pack().manifest().switches.global_privacy_control {
        return Ok(());
    }
    let ledger = &gatehouse.ledger;
    let marketing = opt_out::purpose(ledger)?;
    if opt_out::has_objected(ledger, marketing, subject) {
        return Ok(());
    }
    let overridden = ledger.has_overridden_signal(subject, marketing, CHANNEL, Timestamp::now()).await;
    if overridden.map_err(|_| Refusal::LedgerUnavailable)? {
        return Ok(());
    }
    // The person is known by a token, whose recipient has a rate of its own.
    opt_out::record_objection(gatehouse, subject.clone(), OBJECTION, || Ok(())).await
}

/// The field is there once and holds `1`; anything else is no signal.
pub(crate) fn is_set(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(SEC_GPC).iter();
    values.next().is_some_and(|value| value.as_bytes() == b"1") && values.next().is_none()
}
