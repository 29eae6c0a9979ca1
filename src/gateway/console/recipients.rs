//! The recipients: who is registered, on which agreement, and who is suspended.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::Console;
use super::chrome::{StateChip, html};
use super::filters::encode;
use super::json_text::short_time;
use super::list_page::ListPage;
use super::list_view::{FilterField, ListFilter, ListView, filtered};
use super::problem_page::PageProblem;
use super::table::{DataTable, TableCell, TableColumn};
use super::visitor::Visitor;
use crate::exchange::SharedState;
use crate::exchange::route::{Agreement, Recipient};
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::QueryOf;
use crate::ledger::{Event, Freshness};
use crate::vocabulary::Vocabulary;

/// Number of days before the end of an agreement from which the pages warn.
const NOTICE_DAYS: i32 = 30;
/// Maximum number of purposes of a recipient in the list.
const MAX_PURPOSES: usize = 5;
/// The choices of the filter's `state`.
const SUSPENDED: &str = "suspended";
const AGREEMENT: &str = "agreement";
const STATES: [(&str, &str); 3] =
    [("", "all"), (SUSPENDED, "suspended"), (AGREEMENT, "agreement ended, or ends within 30 days")];
pub(super) const PATH: &str = "/console/recipients";
const NOT_KNOWN: &str = "Since when recipients are suspended, or how many notices are open, is not known.";

/// The filter, as the form sends it. A field that is left empty does not narrow the list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RecipientFilter {
    /// A part of the name, or of the name in law.
    name: String,
    kind: String,
    state: String,
    page: usize,
}

impl RecipientFilter {
    fn keeps(&self, recipient: &Recipient, words: &Vocabulary, shared: &SharedState, today: Date) -> bool {
        let sought = self.name.trim().to_lowercase();
        let has_name = |name: &str| name.to_lowercase().contains(&sought);
        let is_named = sought.is_empty()
            || has_name(&recipient.name)
            || recipient.contact.legal_name.as_deref().is_some_and(has_name);
        let kinds = words.kinds();
        let is_of_kind = self.kind.is_empty()
            || kinds.find(&self.kind).is_some_and(|kind| kinds.within(recipient.in_agreement.kind, kind));
        let is_in_state = match self.state.as_str() {
            SUSPENDED => is_suspended(shared, recipient),
            AGREEMENT => {
                agreement_chip(recipient.agreement.as_ref(), today).is_some_and(|chip| !chip.class.is_empty())
            }
            _ => true,
        };
        is_named && is_of_kind && is_in_state
    }
}

/// The state of recipients in the ledger, as far as its store answers.
#[derive(Debug, Default)]
pub(super) struct RecipientStates {
    /// The events since which recipients are suspended. `None`: not known.
    pub(super) suspended: Option<BTreeMap<Arc<str>, Event>>,
    /// Numbers of open notices. `None`: not known.
    pub(super) notices: Option<BTreeMap<Arc<str>, u64>>,
}

impl RecipientStates {
    pub(super) fn open_notices(&self, name: &str) -> Option<u64> {
        self.notices.as_ref().map(|notices| notices.get(name).copied().unwrap_or(0))
    }

    pub(super) fn since(&self, name: &str) -> Option<&Event> {
        self.suspended.as_ref()?.get(name)
    }

    pub(super) fn is_partial(&self) -> bool {
        self.suspended.is_none() || self.notices.is_none()
    }
}

/// Returns the row of a recipient.
fn row(
    recipient: &Recipient,
    words: &Vocabulary,
    shared: &SharedState,
    states: &RecipientStates,
    leads_to_notices: bool,
) -> Vec<TableCell> {
    let facts = &recipient.in_agreement;
    let purposes = facts.purposes.iter().map(|purpose| words.purposes().name(*purpose).to_owned());
    let purposes = match facts.purposes.len() {
        0 => TableCell::quiet("none"),
        count if count > MAX_PURPOSES => TableCell::lines(purposes.take(MAX_PURPOSES))
            .and_quiet_line(format!("and {} more", count - MAX_PURPOSES)),
        _ => TableCell::lines(purposes),
    };
    let agreement = agreement_chip(recipient.agreement.as_ref(), today());
    let since = since_text(states.since(&recipient.name));
    let since = if since.is_empty() { since } else { format!("since {since} UTC") };
    vec![
        TableCell::link(format!("{PATH}/{}", encode(&recipient.name)), &*recipient.name)
            .and_quiet_line(recipient.contact.legal_name.as_deref().unwrap_or_default()),
        TableCell::text(words.kinds().name(facts.kind)),
        TableCell::text_or(facts.country.as_deref().unwrap_or_default(), "not stated"),
        purposes,
        agreement.map_or_else(|| TableCell::quiet("none"), TableCell::chip),
        TableCell::chip(suspension_chip(shared, recipient)).and_quiet_line(since),
        notices_cell(&recipient.name, states.open_notices(&recipient.name), leads_to_notices),
    ]
}

/// Returns the number of open notices to a recipient; it leads to them, if there are any.
pub(super) fn notices_cell(recipient: &str, open: Option<u64>, leads_to_them: bool) -> TableCell {
    match open {
        None => TableCell::quiet("not known"),
        Some(count) => {
            let path = filtered("/console/notices", &[("recipient", recipient)]);
            TableCell::link_if(Some(path).filter(|_| leads_to_them && count > 0), count.to_string())
        }
    }
}

fn columns() -> Vec<TableColumn> {
    vec![
        TableColumn::text("recipient"),
        TableColumn::text("kind"),
        TableColumn::text("country"),
        TableColumn::text("purposes"),
        TableColumn::text("agreement"),
        TableColumn::text("state"),
        TableColumn::number("open notices"),
    ]
}

/// Shows the list.
pub(super) async fn recipients(
    State(console): State<Console>,
    visitor: Visitor,
    QueryOf(filter): QueryOf<RecipientFilter>,
) -> Result<Response, PageProblem> {
    let shared = &console.admin.shared;
    let (snapshot, today) = (shared.snapshot(), today());
    let words = snapshot.words();
    let kept: Vec<&Arc<Recipient>> = snapshot
        .recipients
        .iter()
        .filter(|recipient| filter.keeps(recipient, &words, shared, today))
        .collect();
    let list = ListPage::of(kept.into_iter(), filter.page, Arc::clone);
    let names = list.rows.iter().map(|recipient| Arc::clone(&recipient.name)).collect();
    let states = console.recipient_states(names).await;
    let may_see_notices = visitor.may_see("/console/notices");
    let rows = list.rows.iter().map(|recipient| row(recipient, &words, shared, &states, may_see_notices));
    let table = DataTable::new(columns(), rows.collect());
    Ok(html(&ListView {
        chrome: console.chrome(&visitor, "Recipients", PATH),
        lead: "who is registered, on which agreement, and who is suspended",
        filter: ListFilter {
            action: PATH,
            fields: vec![
                FilterField::text("name", "Part of the name", &filter.name),
                FilterField::name("kind", "Kind", &filter.kind, &kinds(&snapshot.recipients, &words)),
                FilterField::choice("state", "State", &filter.state, STATES),
            ],
        },
        banners: states
            .is_partial()
            .then_some(("The ledger's store does not answer.", NOT_KNOWN.to_owned()))
            .into_iter()
            .collect(),
        heading: "Recipients",
        extent: list.extent(),
        intro: TableCell::default(),
        table,
        empty: match snapshot.recipients.is_empty() {
            true => TableCell::text("No recipient is registered: every request is refused. Each ")
                .and_code("[[recipient]]")
                .and_text(" of the configuration is one."),
            false => TableCell::text("No recipient is like that. ").and_link(PATH, "Show all"),
        },
        remark: "",
        pager: list.pager(["Previous", "Next"], |page| {
            let page = page.to_string();
            let (name, kind, state) = (&filter.name, &filter.kind, &filter.state);
            filtered(PATH, &[("name", name), ("kind", kind), ("state", state), ("page", &page)])
        }),
    }))
}

/// Returns the present day (UTC).
pub(super) fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// Returns the kinds that recipients have, sorted.
fn kinds(recipients: &[Arc<Recipient>], words: &Vocabulary) -> Vec<String> {
    let mut kinds: Vec<_> = recipients.iter().map(|recipient| recipient.in_agreement.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut names: Vec<String> = kinds.into_iter().map(|kind| words.kinds().name(kind).to_owned()).collect();
    names.sort();
    names
}

/// True if the configuration or an event suspends the recipient.
pub(super) fn is_suspended(shared: &SharedState, recipient: &Recipient) -> bool {
    recipient.in_agreement.suspended || shared.ledger.is_suspended(&recipient.name)
}

/// Returns the chip of a recipient's suspension.
pub(super) fn suspension_chip(shared: &SharedState, recipient: &Recipient) -> StateChip {
    match shared.ledger.freshness() {
        _ if is_suspended(shared, recipient) => StateChip::bad("suspended"),
        // A ledger that was never known does not say who is suspended.
        Freshness::Unknown => StateChip::warn("not known"),
        Freshness::Current | Freshness::Stale { .. } => StateChip::good("not suspended"),
    }
}

/// Returns the time since which a recipient is suspended; empty if it is not.
pub(super) fn since_text(since: Option<&Event>) -> String {
    since.map(|event| short_time(&event.at.to_string())).unwrap_or_default()
}

/// Returns the chip of a recipient's agreement; `None` if there is none.
pub(super) fn agreement_chip(agreement: Option<&Agreement>, today: Date) -> Option<StateChip> {
    let Some(until) = agreement?.until else { return Some(StateChip::good("in force, without an end")) };
    // A span between days that jiff cannot express lies far in the future.
    let left = today.until(until).map_or(i32::MAX, |span| span.get_days());
    Some(match left {
        ..0 => StateChip::bad(format!("ended with {until}")),
        0 => StateChip::warn("ends today"),
        1 => StateChip::warn("ends tomorrow"),
        2..=NOTICE_DAYS => StateChip::warn(format!("ends with {until}, in {left} days")),
        _ => StateChip::good(format!("in force until {until}")),
    })
}

impl Console {
    /// Returns the states of these recipients in the ledger, as far as its store answers.
    pub(super) async fn recipient_states(&self, names: Vec<Arc<str>>) -> RecipientStates {
        let suspended = self.admin.read_ledger(move |archive| archive.suspensions(&names)).await;
        let notices = self.admin.count_notices().await;
        let known = |problem: AdminProblem| {
            tracing::debug!(code = problem.code(), "the state of recipients is not known");
        };
        RecipientStates { suspended: suspended.map_err(known).ok(), notices: notices.map_err(known).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agreement_warns_before_its_end_and_after_it() {
        let chip = |until: Option<&str>| {
            let until = until.map(|until| until.parse().unwrap());
            let agreement = Agreement { agreement_type: None, reference: None, until };
            let chip = agreement_chip(Some(&agreement), "2026-06-15".parse().unwrap()).unwrap();
            (chip.class, chip.text)
        };
        assert_eq!(chip(None), ("", "in force, without an end".to_owned()));
        assert_eq!(chip(Some("2026-06-14")), ("bad", "ended with 2026-06-14".to_owned()));
        assert_eq!(chip(Some("2026-06-15")), ("warn", "ends today".to_owned()));
        assert_eq!(chip(Some("2026-06-16")), ("warn", "ends tomorrow".to_owned()));
        assert_eq!(chip(Some("2026-07-15")), ("warn", "ends with 2026-07-15, in 30 days".to_owned()));
        assert_eq!(chip(Some("2026-07-16")), ("", "in force until 2026-07-16".to_owned()));
        assert_eq!(chip(Some("9999-12-31")).0, "");
        assert!(agreement_chip(None, "2026-06-15".parse().unwrap()).is_none());
    }
}
