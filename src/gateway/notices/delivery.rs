//! Sends notices. Each recipient gets one request at a time, beside those to others; one that does not answer gets the next
//! request later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::{Id, JoinSet};

use super::webhook::{Posting, WebhookClient, WebhookClientError};
use super::{DeliveryError, INTERVAL, blocking};
use crate::exchange::pages::notices::record_outcome;
use crate::exchange::route::{NoticeWebhook, Notify};
use crate::exchange::{SharedState, Snapshot};
use crate::log_limit::LogLimit;
use crate::notices::{Channel, Notice, NoticeStatus, Notices};

/// Maximum number of recipients to which requests are under way.
const MAX_RECIPIENTS: usize = 32;

/// Maximum number of notices to one recipient before another one may have its place.
const MAX_RUN: usize = 256;

/// Time without requests to a recipient that did not answer; it doubles with each further time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Longest time without requests to a recipient.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// Number of doublings of [`FIRST_PAUSE`].
const MAX_DOUBLINGS: u32 = 6;

/// The outcome of a run of notices to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunEnd {
    /// Nothing is due any more, or the run was long.
    Done,
    /// The recipient does not answer.
    Unreachable,
}

/// A recipient that did not answer.
#[derive(Clone, Copy, Debug)]
struct Pause {
    failures: u32,
    until: Instant,
}

/// The requests under way, and the recipients that get none for a while.
#[derive(Default)]
struct Deliveries {
    runs: JoinSet<Result<RunEnd, DeliveryError>>,
    recipients: HashMap<Id, Arc<str>>,
    /// Has the recipients that did not answer last time: recipients of the configuration, now or earlier.
    pauses: HashMap<Arc<str>, Pause>,
}

/// Sends the notices that are due.
pub(super) async fn run(shared: Arc<SharedState>) {
    let mut deliveries = Deliveries::default();
    loop {
        if let Err(error) = deliveries.begin_due(&shared).await {
            error.report();
        }
        deliveries.wait().await;
    }
}

impl Deliveries {
    /// Begins a run for each recipient that has notices which are due.
    async fn begin_due(&mut self, shared: &Arc<SharedState>) -> Result<(), DeliveryError> {
        while self.runs.len() < MAX_RECIPIENTS {
            let except = self.excepted(Instant::now());
            let find =
                move |_: &SharedState, notices: &Notices| notices.due_recipients(&except, notices.now()?);
            let due = blocking(shared, find).await?;
            if due.is_empty() {
                break;
            }
            for recipient in due.into_iter().take(MAX_RECIPIENTS.saturating_sub(self.runs.len())) {
                let run = tell(Arc::clone(shared), Arc::clone(&recipient));
                self.recipients.insert(self.runs.spawn(run).id(), recipient);
            }
        }
        Ok(())
    }

    /// Returns the recipients that have a request under way, or get none now.
    fn excepted(&self, now: Instant) -> Vec<Arc<str>> {
        let paused = self.pauses.iter().filter(|(_, pause)| pause.until > now).map(|(name, _)| name);
        self.recipients.values().chain(paused).cloned().collect()
    }

    /// Waits for the end of a run, at most until the next look.
    async fn wait(&mut self) {
        let next = Instant::now() + INTERVAL;
        while let Ok(Some(ended)) = tokio::time::timeout_at(next.into(), self.runs.join_next_with_id()).await
        {
            let (id, end) = match ended {
                Ok((id, end)) => (id, end),
                Err(error) => (error.id(), Err(error.into())),
            };
            if let Some(recipient) = self.recipients.remove(&id) {
                self.note_end(recipient, end);
            }
        }
        tokio::time::sleep_until(next.into()).await;
    }

    fn note_end(&mut self, recipient: Arc<str>, end: Result<RunEnd, DeliveryError>) {
        match end {
            Ok(RunEnd::Done) => drop(self.pauses.remove(&recipient)),
            Ok(RunEnd::Unreachable) => {
                let failures = self.pauses.get(&recipient).map_or(0, |pause| pause.failures) + 1;
                let until = Instant::now() + pause_after(failures);
                self.pauses.insert(recipient, Pause { failures, until });
            }
            Err(error) => error.report(),
        }
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(MAX_DOUBLINGS)).min(MAX_PAUSE)
}

/// Takes the next step of each notice to a recipient that is due.
async fn tell(shared: Arc<SharedState>, recipient: Arc<str>) -> Result<RunEnd, DeliveryError> {
    for _ in 0..MAX_RUN {
        let name = Arc::clone(&recipient);
        let claim = move |_: &SharedState, notices: &Notices| notices.claim_notice(&name, notices.now()?);
        let Some(notice) = blocking(&shared, claim).await? else { break };
        if take_step(&shared, notice).await? == RunEnd::Unreachable {
            return Ok(RunEnd::Unreachable);
        }
    }
    Ok(RunEnd::Done)
}

async fn take_step(shared: &Arc<SharedState>, notice: Notice) -> Result<RunEnd, DeliveryError> {
    let now = blocking(shared, |_, notices| notices.now()).await?;
    if notice.state.unrecorded {
        return record(shared, Some(notice)).await;
    }
    let snapshot = shared.snapshot();
    let channel = channel(&snapshot, &notice);
    if channel != notice.state.channel {
        let moved = blocking(shared, move |_, notices| notices.move_to(notice, channel, now)).await?;
        return record(shared, moved).await;
    }
    match (channel, webhook(&snapshot, &notice)) {
        (Channel::Webhook, Some(webhook)) if !Notices::is_expired(&notice, now) => {
            post(shared, webhook, notice).await
        }
        (Channel::Webhook | Channel::Feed, _) => {
            let expired = blocking(shared, move |_, notices| notices.expire(notice, now)).await?;
            record(shared, expired).await
        }
        // It is on record and waits for a person.
        (Channel::Manual, _) => {
            blocking(shared, move |_, notices| notices.recorded(notice, now)).await?;
            Ok(RunEnd::Done)
        }
    }
}

async fn post(
    shared: &Arc<SharedState>,
    webhook: &NoticeWebhook,
    notice: Notice,
) -> Result<RunEnd, DeliveryError> {
    static UNUSABLE: LogLimit = LogLimit::new();
    let (webhook, secrets, recipient) = (webhook.clone(), shared.webhook_secrets.clone(), notice.recipient());
    let client = move || {
        let secret = match (&webhook.secret, secrets) {
            (Some(secret), _) => secret.to_vec(),
            (None, Some(secrets)) => secrets.of(&recipient).to_vec(),
            (None, None) => return Err(WebhookClientError::NoSecret),
        };
        WebhookClient::new(&webhook, &secret)
    };
    let client = tokio::task::spawn_blocking(client).await?;
    let posting = match client {
        Ok(client) => client.post(&notice, Timestamp::now()).await,
        Err(error) => {
            if let Some(count) = UNUSABLE.admit() {
                let recipient = notice.recipient();
                tracing::warn!(count, %recipient, %error, "a notice cannot be sent: mend the webhook of the recipient; it is sent again");
            }
            Posting::Unreachable
        }
    };
    if posting == Posting::Accepted {
        let delivered = blocking(shared, move |_, notices| notices.delivered(notice, notices.now()?)).await?;
        return record(shared, delivered).await;
    }
    blocking(shared, move |_, notices| notices.failed(notice, notices.now()?)).await?;
    Ok(if posting == Posting::Unreachable { RunEnd::Unreachable } else { RunEnd::Done })
}

/// Puts the outcome of a notice on the disclosure log; `None`: another gateway does.
async fn record(shared: &Arc<SharedState>, notice: Option<Notice>) -> Result<RunEnd, DeliveryError> {
    if let Some(notice) = notice {
        record_outcome(shared, &notice).await.map_err(|_| DeliveryError::Log)?;
        blocking(shared, move |_, notices| notices.recorded(notice, notices.now()?)).await?;
    }
    Ok(RunEnd::Done)
}

/// Returns the channel of a notice by the present configuration.
pub(super) fn channel(snapshot: &Snapshot, notice: &Notice) -> Channel {
    if notice.state.name.is_none() || notice.state.status == NoticeStatus::Expired {
        return Channel::Manual;
    }
    // Another recipient with this name must not learn what the earlier one had received.
    let recipient = notice.recipient();
    let known = snapshot.recipients.iter().find(|known| *known.name == *recipient);
    if known.is_some_and(|known| !notice.state.is_for(&known.identity())) {
        return Channel::Manual;
    }
    configured(snapshot, &recipient)
}

/// Returns the channel of a recipient by the configuration.
pub(super) fn configured(snapshot: &Snapshot, recipient: &str) -> Channel {
    let known = snapshot.recipients.iter().find(|known| *known.name == *recipient);
    match known.map(|known| &known.notify) {
        Some(Notify::Webhook(_)) => Channel::Webhook,
        Some(Notify::Feed) => Channel::Feed,
        Some(Notify::Manual) | None => Channel::Manual,
    }
}

fn webhook<'s>(snapshot: &'s Snapshot, notice: &Notice) -> Option<&'s NoticeWebhook> {
    let recipient = snapshot.recipients.iter().find(|known| *known.name == *notice.recipient())?;
    match &recipient.notify {
        Notify::Webhook(webhook) => Some(webhook),
        Notify::Feed | Notify::Manual => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_that_does_not_answer_is_left_alone_for_a_longer_time_each_time() {
        let mut deliveries = Deliveries::default();
        let name: Arc<str> = Arc::from("acme");
        let pauses: Vec<u64> = (1..9).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
        deliveries.note_end(Arc::clone(&name), Ok(RunEnd::Unreachable));
        deliveries.note_end(Arc::clone(&name), Ok(RunEnd::Unreachable));
        let now = Instant::now();
        assert_eq!(deliveries.excepted(now), [Arc::clone(&name)]);
        assert_eq!(deliveries.excepted(now + Duration::from_secs(19)).len(), 1);
        assert_eq!(deliveries.excepted(now + Duration::from_secs(20)).len(), 0);
        deliveries.note_end(Arc::clone(&name), Ok(RunEnd::Done));
        deliveries.note_end(name, Ok(RunEnd::Unreachable));
        assert_eq!(deliveries.excepted(Instant::now() + Duration::from_secs(11)).len(), 0, "it begins anew");
    }
}
