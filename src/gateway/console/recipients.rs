//! The recipients: who is registered, on which agreement, and who is suspended.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::filters;
use super::json_text::short_time;
use super::list_page::ListPage;
use super::problem_page::PageProblem;
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

#[derive(Template)]
#[template(path = "recipients.html")]
struct RecipientsPage {
    chrome: Chrome,
    filter: RecipientFilter,
    kinds: Vec<String>,
    list: ListPage<RecipientRow>,
    /// True if no recipient is configured at all.
    is_empty: bool,
    /// True if the ledger's store did not answer.
    is_partial: bool,
}

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

/// A recipient of the list.
#[derive(Debug)]
struct RecipientRow {
    name: String,
    legal_name: String,
    kind: String,
    country: String,
    /// The first purposes, and the number of the others.
    purposes: Vec<String>,
    more_purposes: usize,
    /// `None`: there is no agreement.
    agreement: Option<StateChip>,
    state: StateChip,
    /// Time since which it is suspended; empty if it is not, or nobody knows.
    since: String,
    /// Number of open notices; `None` if it is not known.
    notices: Option<u64>,
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

impl RecipientRow {
    fn of(
        recipient: &Recipient,
        words: &Vocabulary,
        shared: &SharedState,
        states: &RecipientStates,
        today: Date,
    ) -> RecipientRow {
        let facts = &recipient.in_agreement;
        let purposes = facts.purposes.iter().map(|purpose| words.purposes().name(*purpose).to_owned());
        RecipientRow {
            name: recipient.name.to_string(),
            legal_name: recipient.contact.legal_name.as_deref().unwrap_or_default().to_owned(),
            kind: words.kinds().name(facts.kind).to_owned(),
            country: facts.country.as_deref().unwrap_or_default().to_owned(),
            purposes: purposes.take(MAX_PURPOSES).collect(),
            more_purposes: facts.purposes.len().saturating_sub(MAX_PURPOSES),
            agreement: agreement_chip(recipient.agreement.as_ref(), today),
            state: suspension_chip(shared, recipient),
            since: since_text(states.since(&recipient.name)),
            notices: states.open_notices(&recipient.name),
        }
    }
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
    let page = RecipientsPage {
        chrome: console.chrome(&visitor, "Recipients", "/console/recipients"),
        kinds: kinds(&snapshot.recipients, &words),
        is_empty: snapshot.recipients.is_empty(),
        is_partial: states.is_partial(),
        list: list.map(|recipient| RecipientRow::of(&recipient, &words, shared, &states, today)),
        filter,
    };
    Ok(html(&page))
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
