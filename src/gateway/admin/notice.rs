//! The notices to recipients that are open, among them those that a person has to see to.
//!
//! A notice links an erased person with recipients and categories, so who reads notices or closes one is on record.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;
use utoipa::IntoParams;

use super::AdminApi;
use super::act::{ActObject, PendingAct};
use super::openapi::problems::{NoticeProblems, StoredPeopleProblems};
use super::problem::AdminProblem;
use super::request::{NoticePath, PathText, QueryOf, ReasonQuery};
use crate::exchange::pages::notices::record_outcome;
use crate::ledger::{NoticeCounts, StoreError};
use crate::notices::{Notice, Notices, ToldNotice};

/// Maximum number of notices on a page.
const PAGE: usize = 200;

/// The query of the notices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct NoticesQuery {
    /// Configured name of the recipient.
    #[param(nullable = false)]
    recipient: Option<String>,
    /// The `next` of the page before.
    #[param(min_length = 26, max_length = 26, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$", nullable = false)]
    cursor: Option<String>,
    /// Why the notices are read. Required where tokens or certificates are configured, and recorded.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        nullable = false
    )]
    reason: Option<String>,
}

/// Lists the notices to recipients that are open (GDPR Art. 19). Those with the channel `manual` wait for a person.
#[utoipa::path(
    get, path = "/v1/notices", operation_id = "listNotices", tag = "subjects",
    params(NoticesQuery),
    responses((status = 200, description = "The notices, ordered by id.", body = ref("#/components/schemas/Notices")), StoredPeopleProblems)
)]
pub(super) async fn notices(
    State(admin): State<AdminApi>,
    act: PendingAct,
    QueryOf(query): QueryOf<NoticesQuery>,
) -> Result<Json<Value>, AdminProblem> {
    admin.record_act(&act, ActObject::People, query.reason.as_deref()).await?;
    let after = query.cursor.as_deref().map(notice_cursor).transpose()?;
    let (notices, next) = admin.open_notices(query.recipient, after, PAGE).await?;
    let notices: Vec<Value> = notices.iter().map(shown).collect();
    let complete = admin.shared.notices.is_complete();
    let next = next.map(|id| id.to_string());
    Ok(Json(json!({ "notices": notices, "next": next, "complete": complete })))
}

/// Records that a person has told the recipient, so that the notice is closed.
#[utoipa::path(
    post, path = "/v1/notices/{id}/delivered", operation_id = "closeNotice", tag = "subjects",
    params(NoticePath, ReasonQuery),
    responses((status = 200, description = "The notice is closed.", body = ref("#/components/schemas/ClosedNotice")), NoticeProblems)
)]
pub(super) async fn delivered(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<ReasonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    let notice = admin.open_notice(&id).await?;
    admin.close_notice(&act, &notice, query.reason.as_deref()).await?;
    Ok(Json(json!({ "id": notice.id().to_string(), "status": "delivered" })))
}

/// Reads the cursor of a page of notices.
pub(in crate::gateway) fn notice_cursor(text: &str) -> Result<Ulid, AdminProblem> {
    Ulid::from_string(text).map_err(|_| AdminProblem::malformed("`cursor` is not the `next` of a page"))
}

fn shown(notice: &Notice) -> Value {
    let state = &notice.state;
    let mut shown = json!({
        "id": notice.id().to_string(),
        "recipient": notice.recipient(),
        "event": state.event.name(),
        "time": state.at,
        "subject": state.subject,
        "channel": state.channel.name(),
        "status": state.status.name(),
        "attempts": state.attempts,
        "known-as": state.name,
        "categories": state.categories,
        "first": state.first,
        "last": state.last,
    });
    if let (Some(namespace), Some(members)) = (&state.namespace, shown.as_object_mut()) {
        members.insert("namespace".to_owned(), namespace.as_str().into());
    }
    shown
}

impl AdminApi {
    /// Counts the open notices to each recipient that has some. The numbers are about nobody.
    pub(in crate::gateway) async fn count_notices(&self) -> Result<BTreeMap<Arc<str>, u64>, AdminProblem> {
        self.with_notices(Notices::count_by_recipient).await
    }

    /// Counts the open notices, and those that are overdue. Also returns the time of notices, which tells their age.
    pub(in crate::gateway) async fn notice_counts(&self) -> Result<(NoticeCounts, Timestamp), AdminProblem> {
        self.with_notices(|notices| {
            let now = notices.now()?;
            Ok((notices.count(now)?, now))
        })
        .await
    }

    /// Returns the time of notices.
    pub(in crate::gateway) async fn time_of_notices(&self) -> Result<Timestamp, AdminProblem> {
        self.with_notices(Notices::now).await
    }

    /// Returns open notices, to all recipients or to one, and the id after which the list goes on. They name people.
    pub(in crate::gateway) async fn open_notices(
        &self,
        recipient: Option<String>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<(Vec<Notice>, Option<Ulid>), AdminProblem> {
        self.with_notices(move |notices| notices.list(recipient.as_deref(), after, limit)).await
    }

    /// Returns a notice whose inquiry has not ended. It names a person.
    pub(in crate::gateway) async fn open_notice(&self, id: &str) -> Result<Notice, AdminProblem> {
        let id = Ulid::from_string(id).map_err(|_| AdminProblem::not_found())?;
        let notice = self.with_notices(move |notices| notices.notice(id)).await?;
        notice.ok_or_else(AdminProblem::not_found)
    }

    /// Closes a notice because a person has told the recipient, after the act is on record.
    pub(in crate::gateway) async fn close_notice(
        &self,
        act: &PendingAct,
        notice: &Notice,
        reason: Option<&str>,
    ) -> Result<(), AdminProblem> {
        self.record_act(act, ActObject::People, reason).await?;
        let id = notice.id();
        let told = self.with_notices(move |notices| notices.told_by_person(id, notices.now()?)).await?;
        if let ToldNotice::Unrecorded(notice) = told.ok_or_else(AdminProblem::not_found)? {
            let recorded = record_outcome(&self.shared, &notice).await;
            recorded.map_err(|_| AdminProblem::audit_unavailable())?;
            self.with_notices(move |notices| notices.recorded(*notice, notices.now()?)).await?;
        }
        Ok(())
    }

    async fn with_notices<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Notices) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AdminProblem> {
        let notices = Arc::clone(&self.shared.notices);
        let done = tokio::task::spawn_blocking(move || run(&notices)).await;
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) | Err(_) => Err(AdminProblem::ledger_unavailable()),
        }
    }
}
