//! Tells recipients of erasures, corrections and restrictions of what they received (GDPR Art. 19), and deletes the log secrets
//! of erased people.
//!
//! One task does what [`Notices`] says is due: it searches the logs, sends requests, and writes the outcome to the disclosure
//! log. Invariants: what another gateway has claimed is left to it; a request that fails is repeated; nothing about a person
//! is logged.

mod naming;
mod search;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use self::webhook::WebhookClient;
use crate::disclosure::record::Record;
use crate::exchange::SharedState;
use crate::exchange::pages::notices::notice_record;
use crate::exchange::route::Notify;
use crate::ledger::{AppendError, StoreError};
use crate::log_limit::LogLimit;
use crate::notices::{Channel, Claimed, Inquiry, InquiryStep, Notice, Notices};

/// Time between two looks at what is due.
const INTERVAL: Duration = Duration::from_secs(1);

/// The task. It ends when this is dropped: whatever it has claimed is done later, by this gateway or another one.
#[derive(Debug)]
pub(super) struct NoticeTask {
    _tasks: JoinSet<()>,
}

/// An error that leaves a step to be done again.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("a task ended early")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("the disclosure log cannot be written")]
    Log,
}

impl NoticeTask {
    /// Starts the task. Events that are recorded from now on are told.
    pub(super) async fn start(shared: Arc<SharedState>) -> NoticeTask {
        let watched = blocking(&shared, |_, notices| notices.watch(Timestamp::now())).await;
        if let Err(error) = watched {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the ledger's store does not answer: notices to recipients begin later");
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(run(shared));
        NoticeTask { _tasks: tasks }
    }
}

async fn run(shared: Arc<SharedState>) {
    static FAILURES: LogLimit = LogLimit::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = look(&shared).await
            && let Some(count) = FAILURES.admit()
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(count, error, "notices to recipients wait: a step failed and is repeated");
        }
    }
}

/// Runs something that blocks.
async fn blocking<T: Send + 'static>(
    shared: &Arc<SharedState>,
    run: impl FnOnce(&SharedState, &Notices) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, DeliveryError> {
    let shared = Arc::clone(shared);
    Ok(tokio::task::spawn_blocking(move || run(&shared, &shared.notices)).await??)
}

/// Does what is due.
async fn look(shared: &Arc<SharedState>) -> Result<(), DeliveryError> {
    let now = Timestamp::now();
    let claimed = blocking(shared, move |shared, notices| {
        notices.watch(now)?;
        let claimed = notices.claim(now)?;
        let counts = notices.count(now)?;
        shared.metrics.notices_open.set(i64::try_from(counts.open).unwrap_or(i64::MAX));
        shared.metrics.notices_overdue.set(i64::try_from(counts.overdue).unwrap_or(i64::MAX));
        Ok(claimed)
    });
    let mut outcome = Ok(());
    for claimed in claimed.await? {
        let done = match claimed {
            Claimed::Inquiry(inquiry) => inquire(shared, inquiry).await,
            Claimed::Notice(notice) => send(shared, notice).await,
        };
        // One that fails does not keep the others from being done.
        outcome = outcome.and(done);
    }
    outcome
}

/// Continues an inquiry: searches the logs unless they were all read, and ends it when everybody was told.
async fn inquire(shared: &Arc<SharedState>, mut inquiry: Inquiry) -> Result<(), DeliveryError> {
    if !inquiry.state.complete {
        // The records of what left before the event have to be readable.
        shared.log.flush().await;
        let (continued, begun) = blocking(shared, move |shared, notices| {
            let (receivers, is_complete) = search::receivers(shared, &inquiry)?;
            let begun = notices.found(&mut inquiry, receivers, is_complete, Timestamp::now())?;
            Ok((inquiry, begun))
        })
        .await?;
        inquiry = continued;
        for notice in begun.iter().filter(|notice| notice.state.channel == Channel::Manual) {
            record(shared, notice, "manual").await?;
        }
    }
    loop {
        let now = Timestamp::now();
        let (step, continued) = blocking(shared, move |_, notices| {
            let step = notices.next_step(&mut inquiry, now)?;
            Ok((step, inquiry))
        })
        .await?;
        inquiry = continued;
        match step {
            InquiryStep::Wait | InquiryStep::Ended => return Ok(()),
            InquiryStep::EraseSecret(reason) => {
                match shared.ledger.erase_log_secret(&inquiry.person, now).await {
                    // A conflict: it was deleted, and this process or another one ended before it wrote that down.
                    Ok(_) | Err(AppendError::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                let erased = Record::SecretErasure { secrets: 1, reason };
                shared.log.append(erased).await.map_err(|_| DeliveryError::Log)?;
                inquiry = blocking(shared, move |_, notices| {
                    notices.secret_erased(&mut inquiry, now)?;
                    Ok(inquiry)
                })
                .await?;
            }
        }
    }
}

/// Sends a notice, and writes the outcome down.
async fn send(shared: &Arc<SharedState>, notice: Notice) -> Result<(), DeliveryError> {
    let snapshot = shared.snapshot();
    let recipient = snapshot.recipients.iter().find(|known| *known.name == *notice.recipient());
    let webhook = match recipient.map(|recipient| &recipient.notify) {
        Some(Notify::Webhook(webhook)) => Some(webhook.clone()),
        // The configuration has changed since. It may come back; else a person tells the recipient in the end.
        Some(Notify::Manual | Notify::Feed) | None => None,
    };
    let is_delivered = match webhook {
        Some(webhook) => {
            let client = tokio::task::spawn_blocking(move || WebhookClient::new(&webhook)).await?;
            match client {
                Some(client) => client.post(&notice, Timestamp::now()).await,
                None => false,
            }
        }
        None => false,
    };
    let now = Timestamp::now();
    let settled = blocking(shared, move |_, notices| notices.attempted(notice, is_delivered, now)).await?;
    match settled {
        Some(notice) => record(shared, &notice, notice.state.status.name()).await,
        None => Ok(()),
    }
}

/// Puts the outcome of a notice on the disclosure log.
async fn record(shared: &SharedState, notice: &Notice, outcome: &'static str) -> Result<(), DeliveryError> {
    shared.log.append(notice_record(shared, notice, outcome)).await.map_err(|_| DeliveryError::Log)
}
