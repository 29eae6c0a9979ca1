//! Searches the disclosure logs for the recipients that had received data about a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::delivery;
use super::naming::{self, LoggedExchange};
use crate::disclosure::{self, Account, DeletedDetails, EndOfLog, LogSource, ReadError};
use crate::exchange::SharedState;
use crate::ledger::{KnownLogs, LogOnRecord, StoreError};
use crate::log_limit::LogLimit;
use crate::notices::{Inquiry, InquiryState, Naming, Receiver, SearchedLog};

/// The exchanges about a person in one log.
struct ReadLog {
    exchanges: Vec<LoggedExchange>,
    /// True if the log has everything that left before the event was in force.
    is_complete: bool,
    /// The origin and the size of the log.
    end: Option<(String, u64)>,
}

/// Returns the recipients that had received something before the event, and true if the logs of all gateways were read and
/// have everything that left before it. After the loss of a log that is never known. Blocks.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read.
pub(super) fn receivers(
    shared: &SharedState,
    inquiry: &Inquiry,
) -> Result<(Vec<Receiver>, bool), StoreError> {
    static UNREADABLE: LogLimit = LogLimit::new();
    // A gateway whose log is not listed may have released something, too. Read before the logs, which grow meanwhile.
    let known = shared.ledger.archive().known_logs()?.without(&shared.retired_logs);
    let mut is_complete = known.unstated().next().is_none();
    let (mut disclosed, mut ends) = (Vec::new(), Vec::new());
    for (number, log) in std::iter::once(shared.log.source()).chain(&shared.other_logs).enumerate() {
        match read(shared, &known, log, inquiry, number == 0)? {
            Ok(read) => {
                disclosed.extend(read.exchanges);
                is_complete &= read.is_complete;
                ends.extend(read.end);
            }
            Err(error) => {
                is_complete = false;
                if let Some(count) = UNREADABLE.admit() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        count,
                        error,
                        "a disclosure log cannot be read: who received data that were erased or corrected is not known"
                    );
                }
            }
        }
    }
    is_complete &= !is_any_missing(shared, &known, inquiry, &ends)?;
    disclosed.retain(|logged| is_before(&inquiry.state, logged));
    Ok((group(shared, inquiry, disclosed), is_complete))
}

/// True if a log that began before the event was not read, or its end is lost. A copy that ends early is left to
/// [`Notices::has_everything`](crate::notices::Notices::has_everything): what was recorded after the event does not matter.
fn is_any_missing(
    shared: &SharedState,
    known: &KnownLogs,
    inquiry: &Inquiry,
    ends: &[(String, u64)],
) -> Result<bool, StoreError> {
    let ends: Vec<_> = ends.iter().map(|(origin, size)| (origin.as_str(), *size)).collect();
    let day = inquiry.state.recorded.to_zoned(TimeZone::UTC).date();
    // A clock that is ahead must not let a log expire: what is not found now is not found later.
    let now = Timestamp::now().min(shared.notices.now()?);
    let is_read = |log: &LogOnRecord| ends.iter().any(|(origin, _)| *origin == log.origin);
    let mut beyond = known.beyond(&ends, now).into_iter();
    Ok(beyond.any(|log| log.since <= day && (log.lost.is_some() || !is_read(log))))
}

/// True unless the recipient received it in spite of the event.
fn is_before(state: &InquiryState, logged: &LoggedExchange) -> bool {
    !state.is_after(logged.exchange.time, logged.exchange.position)
}

/// Reads a log. Its end is read first: it has at least what is found there.
fn read(
    shared: &SharedState,
    known: &KnownLogs,
    log: &LogSource,
    inquiry: &Inquiry,
    is_own: bool,
) -> Result<Result<ReadLog, ReadError>, StoreError> {
    let end = match EndOfLog::of_folder(log.folder()) {
        Ok(end) => end,
        Err(error) => return Ok(Err(error)),
    };
    let (mut is_complete, mut naming, mut read_to) = (is_own, Naming::default(), None);
    if let Some(EndOfLog { origin, size, last, is_stopped }) = end {
        let searched = SearchedLog { origin, size, last, is_stopped };
        is_complete |= shared.notices.has_everything(&inquiry.state, &searched, known)?;
        naming = shared.notices.log_statement(&searched.origin)?.unwrap_or_default().naming;
        read_to = Some((searched.origin, size));
    }
    let persons = shared.ledger.archive().logged_persons(&inquiry.person, log.fingerprints())?;
    let naming = Arc::new(naming);
    let logged = |exchange| LoggedExchange { exchange, naming: Arc::clone(&naming) };
    Ok(disclosure::account(log, &persons).map(|Account { exchanges, deleted }| {
        // Details that the controller has deleted, and said so, are no reason to search again.
        is_complete &= deleted.iter().all(|deleted| deleted.stated.is_some());
        warn_about(&deleted);
        let exchanges = exchanges.into_iter().map(logged).collect();
        ReadLog { exchanges, is_complete, end: read_to }
    }))
}

/// Warns that recipients are not told of what deleted details said.
fn warn_about(deleted: &[DeletedDetails]) {
    static DELETED: LogLimit = LogLimit::new();
    for deleted in deleted {
        if let Some(count) = DELETED.admit() {
            tracing::warn!(
                count,
                %deleted,
                "details of a disclosure log were deleted: recipients of data that were erased or corrected may not be found"
            );
        }
    }
}

/// Puts the exchanges of each recipient together.
fn group(shared: &SharedState, inquiry: &Inquiry, disclosed: Vec<LoggedExchange>) -> Vec<Receiver> {
    let mut by_recipient: BTreeMap<String, Vec<LoggedExchange>> = BTreeMap::new();
    for logged in disclosed {
        by_recipient.entry(logged.exchange.recipient.clone()).or_default().push(logged);
    }
    let snapshot = shared.snapshot();
    let identity = |recipient: &str| {
        snapshot.recipients.iter().find(|known| *known.name == *recipient).map(|known| known.identity())
    };
    let settings = naming::settings(&snapshot);
    let receiver = |(recipient, logged): (String, Vec<LoggedExchange>)| {
        let times = || logged.iter().map(|logged| logged.exchange.time);
        let categories = logged.iter().flat_map(|logged| &logged.exchange.categories);
        let categories: BTreeSet<String> = categories.map(|left| left.category.clone()).collect();
        Some(Receiver {
            categories: categories.into_iter().collect(),
            first: times().min()?,
            last: times().max()?,
            name: naming::name(shared, &snapshot, &settings, &recipient, &inquiry.person, &logged),
            channel: delivery::configured(&snapshot, &recipient),
            identity: identity(&recipient),
            recipient: Arc::from(recipient),
        })
    };
    by_recipient.into_iter().filter_map(receiver).collect()
}
