//! The disclosure logs of the gateways that use a ledger, as far as the ledger knows them.
//!
//! A log cannot show that it is gone, or that its end is. So its gateway states it in the ledger: its origin, and the number of
//! entries. Invariants: the size on record is that of entries that are durable; a log stays on record as lost once somebody
//! has accepted that it is.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::store::{MAX_NOTICE_ROWS, NoticeStore, StoreError, rewrite_row};

/// The time in the ids of the rows about logs, in milliseconds. No notice was made then.
const ROWS: u64 = 1;

/// The state of a row about a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOnRecord {
    /// The log's origin.
    pub origin: String,
    /// The name of the gateway that wrote it.
    pub gateway: String,
    /// The folder of the log, as that gateway names it.
    pub folder: String,
    /// The number of entries.
    pub size: u64,
    /// The first day that the log held when its gateway last started.
    pub since: Date,
    /// The time at which the size was stated.
    pub until: Timestamp,
    /// Age in seconds at which days of the log are removed.
    pub retention: u64,
    /// The time at which somebody accepted that the log, or its end, is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Timestamp>,
}

impl LogOnRecord {
    /// True if every entry would have been removed by now.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let removed = self.until.checked_add(Duration::from_secs(self.retention));
        removed.is_ok_and(|removed| removed < now)
    }
}

/// Returns the logs on record.
///
/// # Errors
/// [`StoreError`].
pub fn logs_on_record(store: &dyn NoticeStore) -> Result<Vec<LogOnRecord>, StoreError> {
    let (mut found, mut after) = (Vec::new(), Ulid::from_parts(ROWS - 1, u128::MAX));
    loop {
        let rows = store.notices(Some(""), Some(after), MAX_NOTICE_ROWS)?;
        let logs = rows.iter().take_while(|row| row.id.timestamp_ms() == ROWS);
        // A state that does not read is that of a later version of the program.
        found.extend(logs.filter_map(|row| serde_json::from_str::<LogOnRecord>(&row.state).ok()));
        match rows.last().filter(|_| rows.len() == MAX_NOTICE_ROWS) {
            Some(last) if last.id.timestamp_ms() == ROWS => after = last.id,
            _ => return Ok(found),
        }
    }
}

/// Replaces what is on record about a log. `change` returns nothing if nothing changes.
///
/// # Errors
/// [`StoreError`].
pub fn record_log(
    store: &dyn NoticeStore,
    origin: &str,
    change: impl Fn(Option<LogOnRecord>) -> Option<LogOnRecord>,
) -> Result<(), StoreError> {
    let hash = blake3::derive_key("purposegate 2026 v1 log on record", origin.as_bytes());
    let id = Ulid::from_parts(ROWS, hash.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes)));
    rewrite_row(store, id, "stating which disclosure log there is", |state| {
        let known = state.and_then(|text| serde_json::from_str(text).ok());
        serde_json::to_string(&change(known)?).ok()
    })
}

/// Returns the logs on record that may hold something beyond the logs which were read, given by their origins and sizes. A log
/// that was read belongs to them only if its end is lost: a copy can end earlier.
pub fn missing_logs<'l>(
    on_record: &'l [LogOnRecord],
    read: &[(&str, u64)],
    now: Timestamp,
) -> Vec<&'l LogOnRecord> {
    let is_missing = |log: &&LogOnRecord| {
        let sizes = read.iter().filter(|(origin, _)| **origin == log.origin).map(|(_, size)| *size);
        let is_read = match (sizes.max(), log.lost) {
            (Some(size), Some(_)) => size >= log.size,
            (size, None) => size.is_some(),
            (None, Some(_)) => false,
        };
        !is_read && !log.is_expired(now)
    };
    on_record.iter().filter(is_missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Store;
    use crate::ledger::store::memory::MemoryStore;

    fn log(origin: &str, size: u64) -> LogOnRecord {
        LogOnRecord {
            origin: origin.to_owned(),
            gateway: "gateway-1".to_owned(),
            folder: "/data/audit".to_owned(),
            size,
            since: jiff::civil::date(2026, 11, 20),
            until: "2026-11-30T00:00:00Z".parse().unwrap(),
            retention: 86_400,
            lost: None,
        }
    }

    #[test]
    fn logs_are_on_record_by_their_origins() {
        let store = MemoryStore::new();
        let store = store.notice_store();
        assert_eq!(logs_on_record(store).unwrap(), []);
        for made in [log("gateway-1/a", 3), log("gateway-2/b", 4), log("gateway-1/a", 5)] {
            record_log(store, &made.origin.clone(), |known| {
                assert_eq!(known.is_some(), made.size == 5);
                Some(made.clone())
            })
            .unwrap();
        }
        record_log(store, "gateway-2/b", |_| None).unwrap();
        let mut found = logs_on_record(store).unwrap();
        found.sort_by_key(|log| log.size);
        assert_eq!(found, [log("gateway-2/b", 4), log("gateway-1/a", 5)]);
    }

    #[test]
    fn a_log_is_missing_until_it_was_read_or_has_expired() {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let lost = LogOnRecord { lost: Some(now), ..log("b", 5) };
        let on_record = [log("a", 5), lost];
        let missing = |read: &[(&str, u64)], now| {
            let found = missing_logs(&on_record, read, now);
            found.into_iter().map(|log| log.origin.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(missing(&[], now), ["a", "b"]);
        assert_eq!(missing(&[("a", 3), ("c", 9)], now), ["b"], "a copy may end earlier");
        assert_eq!(missing(&[("a", 5), ("b", 4)], now), ["b"], "its end is lost");
        assert_eq!(missing(&[("a", 5), ("b", 4), ("b", 5)], now), [] as [&str; 0]);
        assert_eq!(missing(&[], "2026-12-01T00:00:01Z".parse().unwrap()), [] as [&str; 0]);
    }
}
