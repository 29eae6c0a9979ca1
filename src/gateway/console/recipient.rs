//! One recipient: registration, agreement, routes, credentials, and its suspension.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::event_table::{HistoryOf, HistoryQuery, event_page, event_table};
use super::filters;
use super::filters::encode;
use super::opened_people::random_text;
use super::pager::Pager;
use super::problem_page::PageProblem;
use super::recipients::{
    PATH, RecipientStates, agreement_chip, notices_cell, since_text, suspension_chip, today,
};
use super::subject::no_random;
use super::table::{DataTable, TableCell};
use super::visitor::Visitor;
use crate::exchange::Snapshot;
use crate::exchange::route::{Notify, Recipient, WithheldReport};
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::{PathText, QueryOf};
use crate::ledger::Entity;
use crate::vocabulary::{Safeguard, Vocabulary};

/// Maximum number of routes, and of credentials, on the page.
const MAX_LISTED: usize = 100;

#[derive(Template)]
#[template(path = "recipient.html")]
struct RecipientPage {
    chrome: Chrome,
    name: String,
    registration: Vec<(&'static str, String)>,
    purposes: Vec<String>,
    agreement: AgreementView,
    suspension: SuspensionView,
    /// Number of open notices.
    notices: TableCell,
    routes: BoundedList<ServedRoute>,
    credentials: BoundedList<CredentialRow>,
    /// `None` if the ledger's store did not answer.
    history: Option<SuspensionHistory>,
    links: RecipientLinks,
}

/// A page of the suspensions and their ends.
#[derive(Debug)]
struct SuspensionHistory {
    extent: String,
    table: DataTable,
    pager: Pager,
}

/// The first items of a list, and the number of the others.
#[derive(Debug)]
struct BoundedList<R> {
    rows: Vec<R>,
    more: usize,
}

impl<R> BoundedList<R> {
    fn of(mut items: Vec<R>) -> BoundedList<R> {
        let more = items.len().saturating_sub(MAX_LISTED);
        items.truncate(MAX_LISTED);
        BoundedList { rows: items, more }
    }
}

/// The agreement with the recipient.
#[derive(Debug)]
struct AgreementView {
    /// `None`: there is no agreement.
    state: Option<StateChip>,
    members: Vec<(&'static str, String)>,
}

/// The suspension of the recipient, and the form that changes it.
#[derive(Debug)]
struct SuspensionView {
    state: StateChip,
    /// True if an event suspends it.
    is_by_event: bool,
    is_by_configuration: bool,
    since: String,
    reason: String,
    /// The idempotency key of the form; `None` without the role for it.
    once: Option<String>,
}

/// A route that serves a purpose of the recipient.
#[derive(Debug)]
struct ServedRoute {
    name: String,
    pattern: String,
    purposes: String,
}

/// A credential: nothing that could be presented.
#[derive(Debug)]
struct CredentialRow {
    kind: &'static str,
    id: String,
    purpose: String,
}

/// The pages that the visitor may see.
#[derive(Debug)]
struct RecipientLinks {
    decisions: bool,
    routes: bool,
    try_decision: bool,
}

/// Shows a recipient.
pub(super) async fn recipient(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(name): PathText,
    QueryOf(query): QueryOf<HistoryQuery>,
) -> Result<Response, PageProblem> {
    let snapshot = console.admin.shared.snapshot();
    let found = snapshot.recipients.iter().enumerate().find(|(_, recipient)| *recipient.name == *name);
    let (position, recipient) = found.ok_or_else(AdminProblem::not_found)?;
    let words = snapshot.words();
    let states = console.recipient_states(vec![Arc::clone(&recipient.name)]).await;
    let events = console.admin.events_about(Entity::Recipient(Arc::clone(&recipient.name))).await.ok();
    let page = RecipientPage {
        chrome: console.chrome(&visitor, format!("Recipient {name}"), "/console/recipients"),
        registration: registration(recipient, &words),
        purposes: purpose_names(recipient, &words),
        agreement: agreement(recipient),
        suspension: console.suspension(&visitor, recipient, &states).map_err(no_random)?,
        notices: notices_cell(
            &recipient.name,
            states.open_notices(&recipient.name),
            visitor.may_see("/console/notices"),
        ),
        routes: BoundedList::of(served_routes(&snapshot, recipient, &words)),
        credentials: BoundedList::of(credentials(&snapshot, position, &words)),
        history: events.map(|events| {
            let page = event_page(HistoryOf::Recipient, &events, query.history);
            let path = format!("{PATH}/{}", encode(&name));
            let at = |number| format!("{path}?history={number}#history");
            SuspensionHistory {
                extent: page.extent(),
                pager: page.pager(["Newer", "Older"], at),
                table: event_table(HistoryOf::Recipient, page.rows),
            }
        }),
        links: RecipientLinks {
            decisions: visitor.may_see("/console/decisions"),
            routes: visitor.may_see("/console/routes/{name}"),
            try_decision: visitor.may_see("/console/try"),
        },
        name,
    };
    Ok(html(&page))
}

fn purpose_names(recipient: &Recipient, words: &Vocabulary) -> Vec<String> {
    let purposes = recipient.in_agreement.purposes.iter();
    purposes.map(|purpose| words.purposes().name(*purpose).to_owned()).collect()
}

/// Returns the registration: only members that it has.
fn registration(recipient: &Recipient, words: &Vocabulary) -> Vec<(&'static str, String)> {
    let (facts, contact) = (&recipient.in_agreement, &recipient.contact);
    let given = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let safeguard = match facts.safeguard {
        Safeguard::None => String::new(),
        safeguard => safeguard.name().to_owned(),
    };
    let report = match recipient.report {
        WithheldReport::None => "nothing",
        WithheldReport::Counts => "the number of records and fields",
        WithheldReport::Paths => "the numbers, and the paths of the fields",
    };
    let notify = match &recipient.notify {
        Notify::Manual => "a person tells it",
        Notify::Feed => "it reads its feed",
        Notify::Webhook(_) => "the gateway calls its webhook",
    };
    let mut members = vec![
        ("name in law", given(&contact.legal_name)),
        ("kind", words.kinds().name(facts.kind).to_owned()),
        ("country", given(&facts.country)),
        ("region", given(&facts.region)),
        ("safeguard for transfers", safeguard),
        ("address", given(&contact.address)),
        ("contact", given(&contact.contact)),
        ("told of withheld fields", report.to_owned()),
        ("notices (GDPR Art. 19)", notify.to_owned()),
    ];
    members.retain(|(_, value)| !value.is_empty());
    members
}

fn agreement(recipient: &Recipient) -> AgreementView {
    let mut members = Vec::new();
    if let Some(agreement) = &recipient.agreement {
        members.extend(agreement.agreement_type.as_ref().map(|of| ("type", of.to_string())));
        members.extend(agreement.reference.as_ref().map(|reference| ("reference", reference.to_string())));
        members.extend(agreement.until.map(|until| ("last day (UTC)", until.to_string())));
    }
    AgreementView { state: agreement_chip(recipient.agreement.as_ref(), today()), members }
}

/// Returns the routes that serve a purpose for which the recipient is registered.
fn served_routes(snapshot: &Snapshot, recipient: &Recipient, words: &Vocabulary) -> Vec<ServedRoute> {
    let usable = recipient.usable_purposes(None, words);
    let served = snapshot.routes.iter().filter_map(|route| {
        let purposes = usable.iter().filter(|purpose| route.serves_purpose(words, **purpose));
        let purposes: Vec<&str> = purposes.map(|purpose| words.purposes().name(*purpose)).collect();
        (!purposes.is_empty()).then(|| ServedRoute {
            name: route.name.to_string(),
            pattern: route.pattern.clone(),
            purposes: purposes.join(", "),
        })
    });
    served.collect()
}

fn credentials(snapshot: &Snapshot, position: usize, words: &Vocabulary) -> Vec<CredentialRow> {
    let registered = snapshot.credentials.of_recipient(position).into_iter();
    let row = registered.map(|credential| CredentialRow {
        kind: credential.kind.name(),
        id: credential.id,
        purpose: credential
            .locked_purpose
            .map(|purpose| words.purposes().name(purpose).to_owned())
            .unwrap_or_default(),
    });
    row.collect()
}

impl Console {
    fn suspension(
        &self,
        visitor: &Visitor,
        recipient: &Recipient,
        states: &RecipientStates,
    ) -> Result<SuspensionView, getrandom::Error> {
        let shared = &self.admin.shared;
        let since = states.since(&recipient.name);
        let may_record = visitor.may("POST", "/v1/recipients/{name}/events");
        Ok(SuspensionView {
            state: suspension_chip(shared, recipient),
            is_by_event: shared.ledger.is_suspended(&recipient.name),
            is_by_configuration: recipient.in_agreement.suspended,
            since: since_text(since),
            reason: since
                .and_then(|event| event.provenance.evidence.as_deref())
                .unwrap_or_default()
                .to_owned(),
            once: may_record.then(random_text::<16>).transpose()?,
        })
    }
}
