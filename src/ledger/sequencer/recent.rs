//! The latest withholding events that are known here.
//!
//! A server that fails over to a standby which was behind has lost its last commits. A withdrawal among them was
//! acknowledged, so the gateways that know it record it again.

use std::collections::{HashSet, VecDeque};

use ulid::Ulid;

use crate::ledger::kinds;
use crate::ledger::store::EventRow;

/// Maximum number of events that are remembered. At 1,000 withdrawals a second they cover a minute.
const MAX_REMEMBERED: usize = 65_536;

/// The latest withholding events, oldest first.
#[derive(Default)]
pub(in crate::ledger) struct RecentWithholdings {
    rows: VecDeque<EventRow>,
    /// Ids of the rows: an own event may be read back before its append has returned.
    ids: HashSet<Ulid>,
}

impl RecentWithholdings {
    /// Remembers those of the rows that can withhold something.
    pub(in crate::ledger) fn remember(&mut self, rows: &[EventRow]) {
        for row in rows.iter().filter(|row| can_withhold(row)) {
            if !self.ids.insert(row.stored.id) {
                continue;
            }
            if self.rows.len() == MAX_REMEMBERED
                && let Some(oldest) = self.rows.pop_front()
            {
                self.ids.remove(&oldest.stored.id);
            }
            self.rows.push_back(row.clone());
        }
    }

    /// Returns the events, oldest first.
    pub(in crate::ledger) fn rows(&self) -> Vec<EventRow> {
        self.rows.iter().cloned().collect()
    }
}

/// True unless the event only grants. An event whose kind cannot be read counts as one that withholds.
fn can_withhold(row: &EventRow) -> bool {
    let json: Option<serde_json::Value> = serde_json::from_str(&row.stored.event).ok();
    let kind = json.as_ref().and_then(|json| json.get("kind")?.as_str());
    !kind.is_some_and(kinds::only_grants)
}
