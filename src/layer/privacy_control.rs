//! `Sec-GPC: 1`, the Global Privacy Control: from the person itself it is an objection to marketing,
//! where the pack turns it on (G-4d). From anybody else it says nothing about whose data is asked for.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use super::Refusal;
use super::identity::Identity;
use crate::decision::Decisions;
use crate::ledger::{self, Entity, Ledger, Sort};

const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
const PURPOSE: &str = "marketing";
/// The event, as the ledger reads them from everybody.
const OBJECTION: &[u8] = br#"{"kind": "objection", "purpose": "marketing", "channel": "Sec-GPC"}"#;

/// Records the objection, once; it is in force before the exchange goes on.
///
/// # Errors
/// [`Refusal::LedgerUnavailable`]: what the person said cannot be kept.
pub(super) async fn heed(
    headers: &HeaderMap,
    identity: &Identity,
    decisions: &Decisions,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(subject) = identity.subject.as_ref().filter(|_| is_set(headers)) else { return Ok(()) };
    if !decisions.pack().manifest().switches.global_privacy_control {
        return Ok(());
    }
    let marketing = decisions.pack().vocabulary().purposes().find(PURPOSE);
    let (_, known) = ledger.subject(subject);
    let objects = |objection: &crate::decision::Objection| Some(objection.purpose) == marketing;
    if known.is_some_and(|known| known.objections.iter().any(objects)) {
        return Ok(());
    }
    let recorded = async {
        let draft = ledger::parse(OBJECTION, Sort::Subject, ledger.names()).ok()?;
        ledger.append(&Entity::Subject(subject.clone()), draft, None, now).await.ok()
    };
    recorded.await.map(drop).ok_or(Refusal::LedgerUnavailable)
}

/// The field is there once and holds `1`; anything else is no signal.
fn is_set(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(SEC_GPC).iter();
    values.next().is_some_and(|value| value.as_bytes() == b"1") && values.next().is_none()
}
