//! `drain-notice` and `drain`: the end of the gateway.

use std::time::Duration;

use crate::config::Part;
use crate::finding::Finding;

/// Maximum time of each key. A service manager or an orchestrator kills the process long before.
const MAX_TIME: Duration = Duration::from_secs(60 * 60);

/// The times of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSection {
    /// Time for which the gateway is not ready but serves, before its listeners close.
    pub notice: Duration,
    /// Time for exchanges under way to end after the listeners have closed.
    pub exchanges: Duration,
}

pub(in crate::config) fn drain(part: &mut Part<'_>) -> DrainSection {
    let notice = part.fields.item("drain-notice");
    let exchanges = part.fields.item("drain");
    let read = |item: Option<crate::document::Item<'_>>, default: Duration| {
        let Some(item) = item else { return default };
        let time = item.duration().unwrap_or(default);
        if time > MAX_TIME {
            let finding = Finding::error("drain-too-long", "a stop cannot take that long");
            let hint = "at most `\"1h\"`; an exchange that takes longer is cut";
            part.fields.document().find(finding.label("too long").hint(hint), item.at());
        }
        time
    };
    DrainSection {
        notice: read(notice, Duration::from_secs(5)),
        exchanges: read(exchanges, Duration::from_secs(30)),
    }
}
