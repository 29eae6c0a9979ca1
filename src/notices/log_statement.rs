//! The statements of gateways about their disclosure logs: how far a log is complete, and since when its gateway names people
//! as it does now.
//!
//! A log may be idle, or a copy of yesterday, so its end does not show that nothing is missing. A search asks the gateways for
//! the position of its event; each answers, once it has applied that position and everything that it released before is on
//! its log, with the size that the log has then. Invariant: a log counts as complete only if it has at least as many entries
//! as its gateway stated; and that of a gateway which does not run and has stated nothing about the event, only if it ends with the
//! stop or later than anything that was released in spite of the event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::Notices;
use super::clock::{self, SETTLED};
use super::state::{self, InquiryState};
use crate::ledger::{KnownLogs, StoreError, rewrite_row};

/// The row with the position that searches ask for.
const ASKED_POSITION: Ulid = Ulid(1);

/// A gateway's statement about its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatement {
    /// A position of the ledger: what was released before it was in force at this gateway is on the log.
    pub position: u64,
    /// The number of entries that the log had then.
    pub size: u64,
    /// How the gateway names people.
    pub naming: Naming,
}

/// The settings on which the name of a person in an answer depends, as digests, each with the time from which it is known to
/// be in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming(BTreeMap<String, NamingSetting>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NamingSetting {
    digest: String,
    since: Timestamp,
}

impl Naming {
    /// Returns the time since when a setting is known to be this one.
    pub fn since(&self, setting: &str, digest: &str) -> Option<Timestamp> {
        self.0.get(setting).filter(|known| known.digest == digest).map(|known| known.since)
    }

    /// Returns the settings of now: one that has not changed keeps its time.
    #[must_use]
    pub fn updated(&self, settings: &BTreeMap<String, String>, now: Timestamp) -> Naming {
        let since = |(setting, digest): (&String, &String)| {
            let since = self.since(setting, digest).unwrap_or(now);
            (setting.clone(), NamingSetting { digest: digest.clone(), since })
        };
        Naming(settings.iter().map(since).collect())
    }
}

/// The end of a log when it was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchedLog {
    /// The log's origin.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The time of the last entry; `None` without one.
    pub last: Option<Timestamp>,
    /// True if the last entry says that the gateway has stopped.
    pub is_stopped: bool,
}

/// The position that searches ask for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct AskedPosition {
    position: u64,
}

/// Returns the row of a log.
fn row_id(origin: &str) -> Ulid {
    let hash = blake3::derive_key("purposegate 2026 v1 log statement", origin.as_bytes());
    Ulid::from_parts(0, hash.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes)))
}

impl Notices {
    /// Returns what a gateway has stated about its log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log_statement(&self, origin: &str) -> Result<Option<LogStatement>, StoreError> {
        let row = self.ledger.notice_store().notice(row_id(origin))?;
        Ok(row.and_then(|row| serde_json::from_str(&row.state).ok()))
    }

    /// Replaces the statement about the own log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state_log(
        &self,
        origin: &str,
        change: impl Fn(&LogStatement) -> LogStatement,
    ) -> Result<(), StoreError> {
        self.rewrite_row(row_id(origin), |state| {
            let known: LogStatement =
                state.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            let stated = change(&known);
            (state.is_none() || stated != known).then(|| state::text(&stated))
        })
    }

    /// Asks all gateways for a statement about this position.
    pub(super) fn ask_for_statements(&self, position: u64) -> Result<(), StoreError> {
        self.rewrite_row(ASKED_POSITION, |state| {
            let asked: AskedPosition =
                state.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            (asked.position < position).then(|| state::text(&AskedPosition { position }))
        })
    }

    /// Returns the position that searches ask for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn asked_position(&self) -> Result<u64, StoreError> {
        let row = self.ledger.notice_store().notice(ASKED_POSITION)?;
        let asked = row.and_then(|row| serde_json::from_str::<AskedPosition>(&row.state).ok());
        Ok(asked.unwrap_or_default().position)
    }

    /// True if a log of another gateway has everything that the gateway released before the event of an inquiry was in force
    /// there. `known` was read before the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_everything(
        &self,
        state: &InquiryState,
        log: &SearchedLog,
        known: &KnownLogs,
    ) -> Result<bool, StoreError> {
        let stated = self.log_statement(&log.origin)?.unwrap_or_default();
        if log.size < stated.size {
            return Ok(false);
        }
        if stated.position >= state.position && stated.position > 0 {
            return Ok(true);
        }
        // A gateway that runs has to state it: its clock, which the end of the log shows, may be ahead.
        if known.may_run(&log.origin) {
            return Ok(false);
        }
        let is_later = log.last.is_some_and(|last| last > clock::after(state.recorded, SETTLED));
        let ended = known.logs.iter().find(|stated| stated.origin == log.origin);
        Ok((log.is_stopped || is_later) && ended.is_none_or(|ended| log.size >= ended.size))
    }

    /// Writes a row that no recipient and no inquiry has. `change` returns its new state, if that changes.
    fn rewrite_row(
        &self,
        id: Ulid,
        change: impl Fn(Option<&str>) -> Option<String>,
    ) -> Result<(), StoreError> {
        rewrite_row(self.ledger.notice_store(), id, "stating how far a log is complete", change)
    }
}
