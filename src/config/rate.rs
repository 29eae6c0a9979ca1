//! Reads a rate: `{ requests = 100, per = "1s" }`.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

use crate::document::Fields;
use crate::finding::Finding;

/// Reads a burst of that many requests, refilled over that time.
pub(super) fn quota(mut fields: Fields<'_>) -> Option<Quota> {
    let (document, at) = (fields.document(), fields.at());
    let requests = fields.number("requests");
    let per = fields.duration("per").unwrap_or(Duration::from_secs(1));
    fields.end();
    let quota = requests.and_then(|requests| {
        let requests = NonZeroU32::new(requests.value)?;
        Some(Quota::with_period(per / requests.get())?.allow_burst(requests))
    });
    if quota.is_none() {
        let finding = Finding::error("bad-rate", "this is not a rate").label("lets nothing through");
        document.find(finding.hint("write `rate = { requests = 100, per = \"1s\" }`"), at);
    }
    quota
}
