//! Searches the disclosure logs for the recipients that had received data about a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::naming;
use crate::disclosure::{self, AccountedExchange, LogSource};
use crate::exchange::SharedState;
use crate::exchange::route::Notify;
use crate::ledger::StoreError;
use crate::log_limit::LogLimit;
use crate::notices::{Channel, Inquiry, Receiver};

/// Returns the recipients that had received something before the event, and true if all logs were read. Blocks.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read.
pub(super) fn receivers(
    shared: &SharedState,
    inquiry: &Inquiry,
) -> Result<(Vec<Receiver>, bool), StoreError> {
    static UNREADABLE: LogLimit = LogLimit::new();
    let (mut disclosed, mut is_complete) = (Vec::new(), true);
    for log in std::iter::once(shared.log.source()).chain(&shared.other_logs) {
        match read(shared, log, inquiry)? {
            Ok(exchanges) => disclosed.extend(exchanges),
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
    Ok((group(shared, inquiry, disclosed), is_complete))
}

fn read(
    shared: &SharedState,
    log: &LogSource,
    inquiry: &Inquiry,
) -> Result<Result<Vec<AccountedExchange>, disclosure::ReadError>, StoreError> {
    let persons = shared.ledger.archive().logged_persons(&inquiry.person, log.fingerprints())?;
    Ok(disclosure::accounting(log, &persons))
}

/// Puts the exchanges of each recipient together.
fn group(shared: &SharedState, inquiry: &Inquiry, disclosed: Vec<AccountedExchange>) -> Vec<Receiver> {
    let mut by_recipient: BTreeMap<String, Vec<AccountedExchange>> = BTreeMap::new();
    for exchange in disclosed {
        by_recipient.entry(exchange.recipient.clone()).or_default().push(exchange);
    }
    let snapshot = shared.snapshot();
    let receiver = |(recipient, exchanges): (String, Vec<AccountedExchange>)| {
        let first = exchanges.iter().map(|exchange| exchange.time).min()?;
        let last = exchanges.iter().map(|exchange| exchange.time).max()?;
        let categories = exchanges.iter().flat_map(|exchange| &exchange.categories);
        let categories: BTreeSet<String> = categories.map(|left| left.category.clone()).collect();
        let known = snapshot.recipients.iter().find(|known| *known.name == *recipient);
        Some(Receiver {
            categories: categories.into_iter().collect(),
            first,
            last,
            name: naming::name(shared, &snapshot, &recipient, &inquiry.person, &exchanges),
            channel: match known.map(|known| &known.notify) {
                Some(Notify::Webhook(_)) => Channel::Webhook,
                Some(Notify::Feed) => Channel::Feed,
                Some(Notify::Manual) | None => Channel::Manual,
            },
            recipient: Arc::from(recipient),
        })
    };
    by_recipient.into_iter().filter_map(receiver).collect()
}
