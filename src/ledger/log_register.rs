//! The disclosure logs of the gateways that use a ledger, as far as the ledger knows them.
//!
//! A log cannot show that it is gone, or that its end is. So its gateway states it in the ledger: its origin, and the number of
//! entries. Invariants: the size on record is that of entries that are durable; a log stays on record as lost once somebody
//! has accepted that it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::store::{MAX_NOTICE_ROWS, NoticeStore, StoreError, rewrite_row};

/// The time in the ids of the rows about logs, in milliseconds. No notice was made then, and inquiries that have ended have 2.
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
    /// True if the gateway has begun to write another log since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub former: bool,
}

impl LogOnRecord {
    /// True if every entry would have been removed by now.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let removed = self.until.checked_add(Duration::from_secs(self.retention));
        removed.is_ok_and(|removed| removed < now)
    }
}

/// The knowledge of a ledger about the disclosure logs of its gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownLogs {
    /// The logs on record.
    pub logs: Vec<LogOnRecord>,
    /// The names of the gateways that run; none for an embedded ledger.
    pub running: BTreeSet<Arc<str>>,
    /// True if gateways share the ledger: those that are not in `running` do not run.
    pub is_shared: bool,
}

impl KnownLogs {
    /// Leaves out the logs of these origins.
    #[must_use]
    pub fn without(mut self, retired: &[String]) -> KnownLogs {
        self.logs.retain(|log| !retired.contains(&log.origin));
        self
    }

    /// Returns the names of the gateways that run and have no log on record that they write.
    pub fn unstated(&self) -> impl Iterator<Item = &Arc<str>> {
        let has_log = |name: &Arc<str>| self.logs.iter().any(|log| *log.gateway == **name && !log.former);
        self.running.iter().filter(move |name| !has_log(name))
    }

    /// True unless the gateway that writes a log is known not to run, or to write another one now.
    pub fn may_run(&self, origin: &str) -> bool {
        match self.logs.iter().find(|log| log.origin == origin) {
            Some(log) => !log.former && self.running.contains(&*log.gateway),
            None => self.unstated().next().is_some(),
        }
    }

    /// True if a log with so many entries is whole, and the gateway that wrote it is known to write it no more.
    pub fn has_ended(&self, origin: &str, size: u64) -> bool {
        let ends =
            |log: &LogOnRecord| log.former || (self.is_shared && !self.running.contains(&*log.gateway));
        self.logs.iter().any(|log| log.origin == origin && log.size <= size && ends(log))
    }

    /// Returns the logs that may hold something beyond the logs which were read, given by their origins and sizes: those that
    /// were not read, and those of which a copy was read that ends before what the gateway has stated.
    pub fn beyond(&self, read: &[(&str, u64)], now: Timestamp) -> Vec<&LogOnRecord> {
        let is_beyond = |log: &&LogOnRecord| {
            let sizes = read.iter().filter(|(origin, _)| **origin == log.origin).map(|(_, size)| *size);
            sizes.max().is_none_or(|size| size < log.size) && !log.is_expired(now)
        };
        self.logs.iter().filter(is_beyond).collect()
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

/// Notes that a gateway writes the log of this origin, and its other ones no more. The times on record do not tell which it
/// writes: a clock may have been ahead.
///
/// # Errors
/// [`StoreError`].
pub fn mark_former_logs(store: &dyn NoticeStore, gateway: &str, origin: &str) -> Result<(), StoreError> {
    let is_left = |log: &LogOnRecord| log.gateway == gateway && log.origin != origin && !log.former;
    for log in logs_on_record(store)?.iter().filter(|log| is_left(log)) {
        record_log(store, &log.origin, |known| {
            known.filter(is_left).map(|known| LogOnRecord { former: true, ..known })
        })?;
    }
    Ok(())
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
            former: false,
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
    fn a_gateway_writes_the_log_that_it_stated_last() {
        let store = MemoryStore::new();
        let store = store.notice_store();
        let other = LogOnRecord { gateway: "gateway-2".to_owned(), ..log("c", 3) };
        // The first one was written while the clock was ahead.
        let behind = LogOnRecord { until: "2026-11-01T00:00:00Z".parse().unwrap(), ..log("b", 2) };
        for made in [log("a", 1), behind, other] {
            record_log(store, &made.origin.clone(), |_| Some(made.clone())).unwrap();
        }
        mark_former_logs(store, "gateway-1", "b").unwrap();
        let running = BTreeSet::from(["gateway-1", "gateway-2"].map(Arc::from));
        let known = KnownLogs { logs: logs_on_record(store).unwrap(), running, is_shared: true };
        assert_eq!(["a", "b", "c"].map(|origin| known.may_run(origin)), [false, true, true]);
    }

    #[test]
    fn a_log_is_missing_until_it_was_read_or_has_expired() {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let lost = LogOnRecord { lost: Some(now), ..log("b", 5) };
        let known = KnownLogs { logs: vec![log("a", 5), lost], ..KnownLogs::default() };
        let missing = |read: &[(&str, u64)], now| {
            let found = known.beyond(read, now);
            found.into_iter().map(|log| log.origin.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(missing(&[], now), ["a", "b"]);
        assert_eq!(missing(&[("a", 3), ("c", 9)], now), ["a", "b"], "a copy that ends earlier");
        assert_eq!(missing(&[("a", 5), ("b", 4)], now), ["b"], "its end is lost");
        assert_eq!(known.clone().without(&["a".to_owned()]).beyond(&[], now), [&known.logs[1]]);
        assert_eq!(missing(&[("a", 5), ("b", 4), ("b", 5)], now), [] as [&str; 0]);
        assert_eq!(missing(&[], "2026-12-01T00:00:01Z".parse().unwrap()), [] as [&str; 0]);
    }

    #[test]
    fn a_gateway_that_runs_has_a_log() {
        let two = LogOnRecord { gateway: "gateway-2".to_owned(), ..log("b", 5) };
        let running = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        let known = |names: &[&str]| {
            let logs = vec![log("a", 5), two.clone()];
            KnownLogs { logs, running: running(names), is_shared: true }
        };
        let unstated = |known: &KnownLogs| known.unstated().map(ToString::to_string).collect::<Vec<_>>();
        let one = known(&["gateway-1"]);
        assert_eq!((unstated(&one), one.may_run("a"), one.may_run("b")), (vec![], true, false));
        assert!(!one.may_run("c"), "nobody writes it");
        let mut moved = one.clone();
        moved.logs[0].former = true;
        assert_eq!(unstated(&moved), ["gateway-1"], "the log that it writes now is left out");
        moved.logs.push(LogOnRecord { until: "2026-11-01T00:00:00Z".parse().unwrap(), ..log("d", 1) });
        assert_eq!((unstated(&moved), moved.may_run("a"), moved.may_run("d")), (vec![], false, true));
        let three = known(&["gateway-1", "gateway-3"]);
        assert_eq!((unstated(&three), three.may_run("c")), (vec!["gateway-3".to_owned()], true));
        let retired = one.without(&["a".to_owned()]);
        assert_eq!(unstated(&retired), ["gateway-1"], "a gateway that runs cannot be left out");
    }

    #[test]
    fn a_log_has_ended_whose_gateway_does_not_run_or_writes_another_one() {
        let left = LogOnRecord { former: true, ..log("b", 5) };
        let other = LogOnRecord { gateway: "gateway-2".to_owned(), ..log("c", 5) };
        let (logs, running) = (vec![log("a", 5), left, other], BTreeSet::from(["gateway-1".into()]));
        let shared = KnownLogs { logs, running, is_shared: true };
        let ended =
            |known: &KnownLogs, size| ["a", "b", "c", "d"].map(|origin| known.has_ended(origin, size));
        assert_eq!(ended(&shared, 5), [false, true, true, false]);
        assert_eq!(ended(&shared, 4), [false; 4], "its end is missing");
        let stopped = KnownLogs { running: BTreeSet::new(), ..shared };
        assert_eq!(ended(&stopped, 6), [true, true, true, false]);
        let embedded = KnownLogs { is_shared: false, ..stopped };
        assert_eq!(ended(&embedded, 6), [false, true, false, false], "it is not known which gateways run");
    }
}
