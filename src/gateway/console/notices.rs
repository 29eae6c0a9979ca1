//! The notices to recipients that are open (GDPR Art. 19): whom somebody still has to tell.
//!
//! Invariant: the list names nobody whom a notice is about.

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::Console;
use super::chrome::{StateChip, html};
use super::event_form::offered_recipients;
use super::filters::encode;
use super::json_text::short_time;
use super::list_page::PAGE;
use super::list_view::{FilterField, ListFilter, ListView, filtered};
use super::pager::Pager;
use super::problem_page::PageProblem;
use super::requests::days;
use super::table::{DataTable, TableCell, TableColumn};
use super::visitor::Visitor;
use crate::gateway::admin::notice::notice_cursor;
use crate::gateway::admin::request::QueryOf;
use crate::notices::{Channel, Notice, NoticeStatus};

pub(super) const PATH: &str = "/console/notices";
/// Stands above the list while the search for recipients goes on.
const INCOMPLETE: &str = "A disclosure log does not show yet who had received data, so that more recipients may have to be \
                          told. The gateway goes on searching until `notice-limit`.";
/// Stands below the list.
const REMARK: &str =
    "The list names nobody. The page of a notice says whom it is about, after a reason, and closes it.";

/// The filter, as the form sends it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NoticeFilter {
    recipient: String,
    cursor: String,
}

/// Shows the list.
pub(super) async fn notices(
    State(console): State<Console>,
    visitor: Visitor,
    QueryOf(filter): QueryOf<NoticeFilter>,
) -> Result<Response, PageProblem> {
    let cursor = Some(filter.cursor.as_str()).filter(|cursor| !cursor.is_empty());
    let after = cursor.map(notice_cursor).transpose()?;
    let recipient = Some(filter.recipient.clone()).filter(|name| !name.is_empty());
    let is_filtered = recipient.is_some();
    let (notices, next) = console.admin.open_notices(recipient, after, PAGE).await?;
    let (counts, now) = console.admin.notice_counts().await?;
    let is_complete = console.admin.shared.notices.is_complete();
    let shows_recipients = visitor.may_see("/console/recipients/{name}");
    let rows = notices.iter().map(|notice| row(&console, notice, now, shows_recipients));
    let path = |cursor: &str| filtered(PATH, &[("recipient", &filter.recipient), ("cursor", cursor)]);
    Ok(html(&ListView {
        chrome: console.chrome(&visitor, "Notices", PATH),
        lead: "what recipients must still be told about people (GDPR Art. 19)",
        filter: ListFilter {
            action: PATH,
            fields: vec![FilterField::name(
                "recipient",
                "Recipient",
                &filter.recipient,
                &offered_recipients(&console, &visitor),
            )],
        },
        banners: (!is_complete).then(|| ("There may be more.", INCOMPLETE.to_owned())).into_iter().collect(),
        heading: "Open notices",
        extent: "oldest first".to_owned(),
        intro: TableCell::text(format!(
            "{} open to all recipients, {} of them overdue.",
            counts.open, counts.overdue
        )),
        table: DataTable::new(columns(), rows.collect()),
        empty: match () {
            () if cursor.is_some() => TableCell::text("There is no later one."),
            () if is_filtered => {
                TableCell::text("No notice to this recipient is open. ").and_link(PATH, "Show all")
            }
            () => TableCell::text(NONE),
        },
        remark: REMARK,
        pager: Pager::onward(
            (cursor.map(|_| path("")), next.map(|next| path(&next.to_string()))),
            ["Oldest", "Later"],
        ),
    }))
}

/// Stands in place of the list if no notice is open.
const NONE: &str = "No notice is open. When data of a person are erased, corrected or restricted, there is one for each \
                    recipient that had received something about the person.";

fn columns() -> Vec<TableColumn> {
    vec![
        TableColumn::text("about (UTC)"),
        TableColumn::text("recipient"),
        TableColumn::time("open since (UTC)"),
        TableColumn::text("state"),
        TableColumn::text("delivery"),
        TableColumn::text("categories"),
    ]
}

fn row(console: &Console, notice: &Notice, now: Timestamp, shows_recipients: bool) -> Vec<TableCell> {
    let recipient = notice.recipient();
    let page = format!("/console/recipients/{}", encode(&recipient));
    let state = &notice.state;
    let about = format!("{} of {}", state.event.name(), short_time(&state.at.to_string()));
    vec![
        TableCell::link(format!("{PATH}/{}", notice.id()), about),
        TableCell::link_if(Some(page).filter(|_| shows_recipients), &*recipient),
        TableCell::text(short_time(&notice.since().to_string())),
        TableCell::chip(console.age_chip(notice, now)),
        TableCell::chip(delivery_chip(notice)),
        TableCell::lines(state.categories.iter().cloned()),
    ]
}

impl Console {
    /// Says for how long a notice is open, and if it is overdue. `now` is the time of notices.
    pub(super) fn age_chip(&self, notice: &Notice, now: Timestamp) -> StateChip {
        let age = days(now.duration_since(notice.since()));
        match self.admin.shared.notices.is_overdue(notice, now) {
            true => StateChip::bad(format!("overdue, open for {age}")),
            false => StateChip::good(format!("open for {age}")),
        }
    }
}

/// Says how far the delivery of a notice is, and who has to act.
pub(super) fn delivery_chip(notice: &Notice) -> StateChip {
    let state = &notice.state;
    match (state.status, state.channel) {
        (NoticeStatus::Delivered | NoticeStatus::Acknowledged, _) => StateChip::good("told"),
        (NoticeStatus::Expired, _) => StateChip::bad("not accepted in time: tell it yourself"),
        (NoticeStatus::Waiting, Channel::Manual) => StateChip::bad("tell it yourself"),
        (NoticeStatus::Waiting, Channel::Feed) => StateChip::good("waits in its feed"),
        (NoticeStatus::Waiting, Channel::Webhook) => match state.attempts {
            0 => StateChip::good("on its way to its webhook"),
            1 => StateChip::warn("1 attempt failed: the gateway tries again"),
            failed => StateChip::warn(format!("{failed} attempts failed: the gateway tries again")),
        },
    }
}
