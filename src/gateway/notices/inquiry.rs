//! Continues inquiries: searches the logs until these are complete, and deletes log secrets.

use std::sync::Arc;

use jiff::Timestamp;

use super::{DeliveryError, INTERVAL, blocking, search};
use crate::disclosure::record::Record;
use crate::exchange::SharedState;
use crate::ledger::AppendError;
use crate::log_limit::LogLimit;
use crate::notices::{Inquiry, InquiryStep};

/// Number of searches after which an inquiry that is not complete is logged. The gateways answer after the first.
const EXPECTED_SEARCHES: u32 = 3;

/// Continues the inquiries that are due, one after the other.
pub(super) async fn run(shared: Arc<SharedState>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        loop {
            let claimed = blocking(&shared, |_, notices| notices.claim_inquiry(notices.now()?)).await;
            let outcome = match claimed {
                Ok(None) => break,
                Ok(Some(inquiry)) => inquire(&shared, inquiry).await,
                Err(error) => {
                    error.report();
                    break;
                }
            };
            // One that fails does not keep the others from being continued.
            if let Err(error) = outcome {
                error.report();
            }
        }
    }
}

/// Continues an inquiry: searches the logs unless they are known to be complete, and ends it when everybody was told.
async fn inquire(shared: &Arc<SharedState>, mut inquiry: Inquiry) -> Result<(), DeliveryError> {
    if !inquiry.state.complete {
        let (continued, is_begun) = blocking(shared, move |_, notices| {
            let is_begun = notices.begin_search(&mut inquiry, notices.now()?)?;
            Ok((inquiry, is_begun))
        })
        .await?;
        if !is_begun {
            return Ok(());
        }
        inquiry = search(shared, continued).await?;
    }
    loop {
        let (step, continued) = blocking(shared, move |_, notices| {
            let step = notices.next_step(&mut inquiry, notices.now()?)?;
            Ok((step, inquiry))
        })
        .await?;
        inquiry = continued;
        let reason = match step {
            InquiryStep::Wait | InquiryStep::Ended => return Ok(()),
            InquiryStep::RecordErasure(reason) => reason,
            InquiryStep::EraseSecret(reason) => {
                let now = Timestamp::now();
                match shared.ledger.erase_log_secret(&inquiry.person, inquiry.id(), now).await {
                    Ok(_) => {
                        shared.metrics.count_event("log-secret-erased", None);
                        reason
                    }
                    // Another inquiry, or another gateway that continues this one, has deleted it at the same time and records
                    // it. If that one ends before, the next step of its inquiry is the record.
                    Err(AppendError::Conflict(_)) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let erased = Record::SecretErasure { secrets: 1, reason };
        shared.log.append(erased).await.map_err(|_| DeliveryError::Log)?;
        inquiry = blocking(shared, move |_, notices| {
            notices.secret_recorded(&mut inquiry, notices.now()?)?;
            Ok(inquiry)
        })
        .await?;
    }
}

/// Searches the logs, and begins notices to the recipients that are found.
async fn search(shared: &Arc<SharedState>, mut inquiry: Inquiry) -> Result<Inquiry, DeliveryError> {
    static INCOMPLETE: LogLimit = LogLimit::new();
    // The records of what left before the event have to be readable.
    let is_readable = shared.log.flush().await.is_ok();
    let inquiry = blocking(shared, move |shared, notices| {
        let (receivers, is_complete) = search::receivers(shared, &inquiry)?;
        notices.found(&mut inquiry, receivers, is_complete && is_readable, notices.now()?)?;
        Ok(inquiry)
    })
    .await?;
    let state = &inquiry.state;
    if !state.complete
        && state.searches >= EXPECTED_SEARCHES
        && let Some(count) = INCOMPLETE.admit()
    {
        let (event, searches) = (state.event.name(), state.searches);
        tracing::warn!(
            count,
            event,
            searches,
            "not all disclosure logs show yet who had received data: the search is repeated until they do, or until `notice-limit`"
        );
    }
    Ok(inquiry)
}
