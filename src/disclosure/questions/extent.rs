//! States which logs were read for an answer or a report, and how far.

use std::path::Path;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::disclosure::DeletedDetails;
use crate::disclosure::entry::decode_head;
use crate::disclosure::read::former_records;
use crate::disclosure::storage::{self, LogReader, ReadError};
use crate::disclosure::terms::TermCache;
use crate::ledger::{KnownLogs, LedgerId, LogOnRecord};

/// Time by which a clock may have gone back when a gateway was upgraded.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(5);

/// Maximum number of deletions of details that an extent names.
const MAX_DELETIONS: usize = 16;

/// The extent of a log that was read for an answer or a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogExtent {
    /// The log's origin; `None` if it could not be read, or has none because it is of an earlier version.
    pub origin: Option<String>,
    /// The number of entries up to which it was read.
    pub size: u64,
    /// The first day that it holds; `None` if it is empty, could not be read, or is of an earlier version.
    pub since: Option<Date>,
    /// Why it was not read, or why people may not be found in it: names files, and the days whose details were deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// True if it could not be read: it is not known which log it is.
    #[serde(skip)]
    is_unread: bool,
}

impl LogExtent {
    /// Returns the extent of the log in a folder. A log of an earlier version has no origin.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn of_folder(folder: &Path) -> Result<LogExtent, ReadError> {
        let origin = storage::read_origin(folder);
        match origin.map_err(|source| ReadError::Io { path: folder.to_owned(), source })? {
            Some(_) => LogExtent::of(&mut LogReader::open(folder)?),
            None => Ok(LogExtent::without_origin(None)),
        }
    }

    /// Returns the extent of a log.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn of(log: &mut LogReader) -> Result<LogExtent, ReadError> {
        let first = log.begin();
        let since = match first < log.size() {
            true => Some(TermCache::default().place(log, first)?.day.date),
            false => None,
        };
        Ok(LogExtent { size: log.size(), since, ..LogExtent::of_origin(log.origin()) })
    }

    fn of_origin(origin: &str) -> LogExtent {
        LogExtent { origin: Some(origin.to_owned()), ..LogExtent::without_origin(None) }
    }

    /// Returns the extent of something that is no log of this version.
    pub fn without_origin(fault: Option<String>) -> LogExtent {
        LogExtent { origin: None, size: 0, since: None, fault, is_unread: false }
    }

    /// Returns an extent for the log of an earlier version that a log continues, unless all its exchanges began before `since`.
    /// Questions do not search it: it has no index, and its segments can only be read from the beginning to the end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) fn of_unsearched(
        log: &mut LogReader,
        since: Option<Timestamp>,
    ) -> Result<Option<LogExtent>, ReadError> {
        let folder = log.folder().to_owned();
        if former_records::segments(&folder, None)?.is_empty() {
            return Ok(None);
        }
        let ended = begin_of(log)?.and_then(|begin| begin.checked_add(CLOCK_STEP).ok());
        if since.zip(ended).is_some_and(|(since, ended)| since >= ended) {
            return Ok(None);
        }
        let folder = folder.display();
        let fault = format!(
            "{folder}/former has exchanges of an earlier version, which are not searched: \
             `purposegate audit show {folder}` shows them"
        );
        Ok(Some(LogExtent::without_origin(Some(fault))))
    }

    /// Returns the extent of the log in a folder, in which people are sought by the log secrets of this ledger. In a log that
    /// states another ledger they have other secrets, so nobody is found who is known there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn of_people(folder: &Path, ledger: Option<LedgerId>) -> Result<LogExtent, ReadError> {
        let extent = LogExtent::of_folder(folder)?;
        if extent.origin.is_none() {
            return Ok(extent);
        }
        let mut log = LogReader::open(folder)?;
        for first in log.days().to_vec() {
            // Pruned meanwhile.
            let Some(entry) = log.entry(first)? else { continue };
            let head = decode_head(&entry.leaf).map_err(|_| ReadError::Damaged(folder.to_owned()))?;
            let stated = head.ledger.map(LedgerId::from_bytes);
            if stated.is_some() && stated != ledger {
                let fault =
                    "its gateway uses another ledger: people whom that ledger knows are not found in it";
                return Ok(LogExtent { fault: Some(fault.to_owned()), ..extent });
            }
        }
        Ok(extent)
    }

    /// Compares the logs that were read with what the ledger knew before. States the fault of a log that ends before what its
    /// gateway has stated, and adds those that are lost or were not read, and the gateways that run and have no log on record.
    /// With `since`, logs that end before do not matter. After a log that could not be read, it is not known which others were
    /// not read.
    pub fn compare(read: &mut Vec<LogExtent>, known: &KnownLogs, since: Option<Timestamp>, now: Timestamp) {
        let has_unread = read.iter().any(|log| log.is_unread);
        let ends: Vec<(&str, u64)> =
            read.iter().filter_map(|log| Some((log.origin.as_deref()?, log.size))).collect();
        let mut faults = Vec::new();
        for log in known.beyond(&ends, now) {
            let is_read = ends.iter().any(|(origin, _)| *origin == log.origin);
            let is_sought = since.is_none_or(|since| since <= log.until);
            if is_sought && (is_read || log.lost.is_some() || !has_unread) {
                faults.push(LogExtent::of_lost(log, &ends));
            }
        }
        let unstated = known.unstated().map(|name| {
            let fault =
                format!("the gateway `{name}` runs, and has not stated which disclosure log it writes");
            LogExtent::without_origin(Some(fault))
        });
        faults.extend(unstated);
        for missing in faults {
            match read.iter_mut().find(|log| log.origin.is_some() && log.origin == missing.origin) {
                Some(log) if log.fault.is_none() => log.fault = missing.fault,
                Some(_) => {}
                None => read.push(missing),
            }
        }
    }

    fn of_lost(log: &LogOnRecord, ends: &[(&str, u64)]) -> LogExtent {
        let LogOnRecord { origin, gateway, size, since, until, lost, .. } = log;
        let held = ends.iter().filter(|(read, _)| read == origin).map(|(_, size)| *size).max();
        let held = held.unwrap_or(0);
        let which = format!(
            "the disclosure log `{origin}` of gateway `{gateway}`, {size} entries from {since} to {until},"
        );
        let fault = match lost {
            None if held == 0 => format!("{which} was not read: list it in `[audit] logs`"),
            None => format!("{which} was read up to entry {held}: a copy has to be brought up to date"),
            Some(accepted) if held == 0 => format!("{which} is lost, which was accepted on {accepted}"),
            Some(accepted) => {
                format!("{which} is lost from entry {held} on, which was accepted on {accepted}")
            }
        };
        LogExtent { size: held, fault: Some(fault), ..LogExtent::of_origin(origin) }
    }

    /// Adds that details were deleted: what they said is missing.
    #[must_use]
    pub fn without_details(self, deleted: &[DeletedDetails]) -> LogExtent {
        let (named, more) = (deleted.iter().take(MAX_DELETIONS), deleted.len().saturating_sub(MAX_DELETIONS));
        let mut faults: Vec<String> = named.map(ToString::to_string).collect();
        if more > 0 {
            faults.push(format!("{more} further deletions of details"));
        }
        self.with_faults(faults)
    }

    pub(super) fn with_faults(self, more: impl IntoIterator<Item = String>) -> LogExtent {
        let faults: Vec<String> = self.fault.into_iter().chain(more).collect();
        let fault = (!faults.is_empty()).then(|| faults.join("; "));
        LogExtent { fault, ..self }
    }

    /// Returns the extent of a log that could not be read.
    pub fn unreadable(error: &dyn std::error::Error) -> LogExtent {
        LogExtent { is_unread: true, ..LogExtent::without_origin(Some(error.to_string())) }
    }
}

/// Returns the time of the entry that follows the first one of a log, which is that of the day; `None` for an empty log.
fn begin_of(log: &mut LogReader) -> Result<Option<Timestamp>, ReadError> {
    let index = log.begin().saturating_add(1);
    let Some(entry) = log.entry(index)? else { return Ok(None) };
    let head = decode_head(&entry.leaf).map_err(|_| ReadError::Damaged(log.folder().to_owned()))?;
    Ok(Some(TermCache::default().place(log, index)?.day.time(&head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_were_not_read_are_named_beside_one_of_an_earlier_version() {
        let on_record = LogOnRecord {
            origin: "gateway-2/b".to_owned(),
            gateway: "gateway-2".to_owned(),
            folder: "/data/audit".to_owned(),
            size: 7,
            since: jiff::civil::date(2026, 11, 20),
            until: "2026-11-30T00:00:00Z".parse().unwrap(),
            retention: u64::MAX,
            lost: None,
            former: false,
        };
        let known = KnownLogs { logs: vec![on_record], ..KnownLogs::default() };
        let named = |beside: LogExtent| {
            let mut logs = vec![LogExtent { size: 5, ..LogExtent::of_origin("gateway-1/a") }, beside];
            LogExtent::compare(&mut logs, &known, None, "2026-11-30T12:00:00Z".parse().unwrap());
            logs.into_iter().skip(2).filter_map(|log| log.fault).collect::<Vec<_>>()
        };
        let expected =
            ["the disclosure log `gateway-2/b` of gateway `gateway-2`, 7 entries from 2026-11-20 to \
            2026-11-30T00:00:00Z, was not read: list it in `[audit] logs`"];
        assert_eq!(
            named(LogExtent::without_origin(Some("former exchanges are not searched".to_owned()))),
            expected
        );
        assert_eq!(named(LogExtent::without_origin(None)), expected);
        let unread = LogExtent::unreadable(&std::io::Error::other("no permission"));
        assert_eq!(named(unread), [""; 0], "it may be that one");
    }
}
