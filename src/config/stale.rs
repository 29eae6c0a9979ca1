//! Reads `stale` and `stale-for` of a `[[route]]`: what it goes on to release while the ledger is stale.

use std::time::Duration;

use crate::document::Fields;
use crate::exchange::route::Route;
use crate::finding::Finding;

/// Default of `stale-for`.
const STALE_FOR: Duration = Duration::from_secs(600);
/// Upper bound of `stale-for`.
const MAX_STALE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads both keys. `None`: the route stops with the ledger.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<Duration> {
    let document = fields.document();
    let goes_on = fields.choice("stale", &[("stop", false), ("contract", true)]) == Some(true);
    let Some(item) = fields.item("stale-for") else { return goes_on.then_some(STALE_FOR) };
    let age = item.duration().unwrap_or(STALE_FOR);
    if age > MAX_STALE_FOR {
        let finding = Finding::error("stale-for-too-long", "`stale-for` must be at most a day");
        let hint = "after a day without the ledger nobody knows what people have refused meanwhile";
        document.find(finding.label("longer than a day").hint(hint), item.at());
    }
    if !goes_on {
        let finding = Finding::warning("stale-without-effect", "`stale-for` has no effect on this route");
        let hint = "add `stale = \"contract\"`, or take it out: the route releases nothing while the ledger is stale";
        document.find(finding.label("without `stale = \"contract\"`").hint(hint), item.at());
    }
    goes_on.then_some(age)
}

/// Warns about a time that is over when the ledger becomes stale.
pub(super) fn check(fields: &mut Fields<'_>, route: &Route, max_staleness: Duration) {
    if route.stale_for.is_none_or(|age| age > max_staleness) {
        return;
    }
    let Some(item) = fields.item("stale-for") else { return };
    let finding = Finding::warning("stale-without-effect", "`stale-for` is not longer than `max-staleness`");
    let hint = "the ledger is stale only when its age exceeds `max-staleness`: write a longer time";
    fields.document().find(finding.label("over when the ledger becomes stale").hint(hint), item.at());
}
