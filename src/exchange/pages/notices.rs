//! The feed of notices to a recipient about data that were erased, corrected or restricted (GDPR Art. 19).
//!
//! A recipient reads only its own notices. It acknowledges each; until then the notice stays in the feed. A recipient whose
//! callers are many people or accounts has no feed.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::disclosure::LogError;
use crate::disclosure::record::{NoticeRecord, Record};
use crate::exchange::{Refusal, Requester, SharedState};
use crate::ledger::StoreError;
use crate::log_limit::LogLimit;
use crate::notices::{Notice, Notices, ToldNotice};

/// Path of the feed.
pub(super) const FEED: &str = "/.well-known/data-purposes/notices";

/// Maximum number of notices on a page.
const PAGE: usize = 100;

/// A request of a recipient to its feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FeedRequest {
    /// The notices after an id. The inner `None` is an id that does not read.
    Read(Option<Option<Ulid>>),
    /// The acknowledgement of one notice.
    Acknowledge(String),
}

impl FeedRequest {
    /// Returns the request at a path.
    pub(crate) fn at(path: &str, query: Option<&str>) -> Option<FeedRequest> {
        let rest = path.strip_prefix(FEED)?;
        if rest.is_empty() {
            let after = query.map(|query| Ulid::from_string(query.strip_prefix("after=")?).ok());
            return Some(FeedRequest::Read(after));
        }
        let id = rest.strip_prefix('/')?.strip_suffix("/acknowledge")?;
        Some(FeedRequest::Acknowledge(id.to_owned())).filter(|_| !id.is_empty() && !id.contains('/'))
    }
}

/// Answers a request of the feed.
///
/// # Errors
/// [`Refusal::NotFound`] for a notice that is not the caller's; [`Refusal::LedgerUnavailable`] if the ledger's store does not
/// answer; [`Refusal::AuditUnavailable`] if an acknowledgement cannot be recorded: then it is repeated.
pub(crate) async fn answer(
    shared: &Arc<SharedState>,
    requester: &Requester,
    request: FeedRequest,
) -> Result<Bytes, Refusal> {
    let (identity, recipient) = (requester.recipient.identity(), &requester.recipient.name);
    let name = Arc::clone(recipient);
    // A notice does not say which of a recipient's callers received the data.
    let is_own = |recipient: &str| requester.is_own(recipient, |_| false);
    match request {
        FeedRequest::Read(Some(None)) => Err(Refusal::RequestMalformed),
        // The place of the next page would be that of a notice about somebody else.
        FeedRequest::Read(_) if !is_own(recipient) => {
            Ok(Bytes::from(json!({ "notices": [], "next": null }).to_string()))
        }
        FeedRequest::Read(after) => {
            let read = move |notices: &Notices| notices.feed(&name, after.flatten(), PAGE);
            let (notices, next) = blocking(shared, recipient, read).await?;
            // Those of an earlier recipient with this name are about to be left to a person.
            let own =
                notices.iter().filter(|notice| is_own(&notice.recipient()) && notice.state.is_for(&identity));
            let listed: Vec<Value> = own.map(shown).collect();
            Ok(Bytes::from(json!({ "notices": listed, "next": next.map(|id| id.to_string()) }).to_string()))
        }
        FeedRequest::Acknowledge(id) => {
            let id = Ulid::from_string(&id).map_err(|_| Refusal::NotFound)?;
            is_own(recipient).then_some(()).ok_or(Refusal::NotFound)?;
            let acknowledge = move |notices: &Notices| notices.acknowledge(&name, id, notices.now()?);
            match blocking(shared, recipient, acknowledge).await?.ok_or(Refusal::NotFound)? {
                ToldNotice::Recorded => {}
                ToldNotice::Unrecorded(notice) => {
                    record_outcome(shared, &notice).await.map_err(|_| Refusal::AuditUnavailable)?;
                    blocking(shared, recipient, move |notices| notices.recorded(*notice, notices.now()?))
                        .await?;
                }
            }
            Ok(Bytes::from(json!({ "id": id.to_string(), "status": "acknowledged" }).to_string()))
        }
    }
}

fn shown(notice: &Notice) -> Value {
    let mut data = notice.state.data();
    if let Some(members) = data.as_object_mut() {
        members.insert("id".to_owned(), notice.id().to_string().into());
        members.insert("type".to_owned(), format!("data.{}", notice.state.event.name()).into());
    }
    data
}

async fn blocking<T: Send + 'static>(
    shared: &Arc<SharedState>,
    recipient: &Arc<str>,
    run: impl FnOnce(&Notices) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    static FAILURES: LogLimit = LogLimit::new();
    let _permit = shared.feed_requests.acquire(recipient).map_err(|_| Refusal::Overloaded)?;
    let notices = Arc::clone(&shared.notices);
    let done = tokio::task::spawn_blocking(move || run(&notices)).await;
    let done = done.map_err(|_| Refusal::LedgerUnavailable)?;
    done.map_err(|error| {
        if let Some(count) = FAILURES.admit() {
            tracing::warn!(count, error = &error as &dyn std::error::Error, "notices cannot be read");
        }
        Refusal::LedgerUnavailable
    })
}

/// Puts the outcome of a notice on the disclosure log. [`Notices::recorded`] comes next.
///
/// # Errors
/// [`LogError`] if the log does not have the record: it is written later.
pub(crate) async fn record_outcome(shared: &SharedState, notice: &Notice) -> Result<(), LogError> {
    let record = NoticeRecord {
        notice: notice.id(),
        recipient: notice.recipient(),
        event: notice.state.event.name(),
        channel: notice.state.channel.name(),
        outcome: notice.state.outcome(),
    };
    shared.log.append(Record::Notice(record)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_feed_names_what_is_asked() {
        let id = Ulid::from_parts(5, 7);
        let at = |path: &str, query| FeedRequest::at(&format!("/.well-known/data-purposes{path}"), query);
        assert_eq!(at("/notices", None), Some(FeedRequest::Read(None)));
        let after = format!("after={id}");
        assert_eq!(at("/notices", Some(&after)), Some(FeedRequest::Read(Some(Some(id)))));
        assert_eq!(at("/notices", Some("after=x")), Some(FeedRequest::Read(Some(None))));
        assert_eq!(at("/notices", Some("limit=3")), Some(FeedRequest::Read(Some(None))));
        assert_eq!(at("/notices/7/acknowledge", None), Some(FeedRequest::Acknowledge("7".to_owned())));
        for other in
            ["/noticesx", "/notices/", "/notices/7", "/notices//acknowledge", "/notices/a/b/acknowledge"]
        {
            assert_eq!(at(other, None), None, "{other}");
        }
    }
}
