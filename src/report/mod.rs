//! Compiles the report that one person receives about themselves: the right of access (G-6.8a; GDPR Art. 15).
//!
//! It combines the ledger's state and events, the packs' records of processing and the accounting of disclosures into
//! one value. It does not know to whom the report is sent. Invariants: the report contains nothing about anybody
//! else, and no disclosure under a case that is still confidential.

mod accounting_form;
mod activities;
mod disclosures;
mod html;
pub mod processing_comparison;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

pub use accounting_form::{DisclosureAccounting, RepeatedDisclosures, accounting_of};
use activities::{origins, processing, retention};
pub use disclosures::{LaterChange, disclosures};
pub use html::{ReportPage, html};

use crate::decision::RecipientFacts;
use crate::disclosure::questions::LogExtent;
use crate::disclosure::{AccountedExchange, LogSource, ReadError};
use crate::ledger::{self, Archive, Entity, StoreError};
use crate::policy::Pack;
use crate::vocabulary::{DEFAULT_NAMESPACE, SubjectId, Term};

/// The inputs of a report.
pub struct ReportSources<'s> {
    /// The ledger.
    pub archive: &'s Archive,
    /// The disclosure logs of all gateways that may have disclosed something about the person.
    pub logs: &'s [LogSource],
    /// The policy packs that are in force.
    pub packs: &'s [Arc<Pack>],
    /// The registered recipients. The log may name others that are no longer registered.
    pub recipients: &'s [ReportedRecipient],
    /// The origins of logs that an operator has retired.
    pub retired: &'s [String],
    /// The namespaces of the configuration, by their names.
    pub namespaces: &'s [Arc<str>],
}

impl ReportSources<'_> {
    /// Returns the name of the namespace of a person's id, unless it is the only one.
    fn namespace_of(&self, person: &SubjectId) -> Option<String> {
        let own = person.namespace().map_or(DEFAULT_NAMESPACE, |name| name);
        self.namespaces.iter().any(|name| **name != *own).then(|| own.to_owned())
    }
}

/// A registered recipient, as a report names it.
#[derive(Clone, Debug)]
pub struct ReportedRecipient {
    /// Its facts for the policy.
    pub facts: Arc<RecipientFacts>,
    /// Its legal name, if the configuration has one.
    pub legal_name: Option<Arc<str>>,
    /// Its address, if the configuration has one.
    pub address: Option<Arc<str>>,
    /// How to reach it, if the configuration says so.
    pub contact: Option<Arc<str>>,
}

impl std::fmt::Debug for ReportSources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReportSources")
    }
}

/// An error that keeps a report from being compiled.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// The disclosure log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// The report. Its names are those of the vocabulary.
#[derive(Clone, Serialize)]
pub struct SubjectReport {
    /// The person's id.
    pub subject: String,
    /// The namespace of the id, if the configuration has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Time at which the report was compiled.
    pub made: Timestamp,
    /// The contact of each pack.
    pub contacts: BTreeSet<String>,
    /// The state that is in force; `None` if the ledger does not know the person.
    pub state: Option<Map<String, Value>>,
    /// The recorded events about the person, as they were recorded, but without who recorded them: that is personal data of
    /// somebody else (CJEU C-579/21).
    pub events: Vec<Map<String, Value>>,
    /// The origins of the data of each category.
    pub sources: Vec<DataSource>,
    /// The record of processing activities.
    pub processing: Vec<Processing>,
    /// The retention period of each category that has one.
    pub retention: Vec<RetentionPeriod>,
    /// The disclosures, oldest first, and the logs from which they are.
    #[serde(flatten)]
    pub disclosed: DisclosureList,
}

/// The disclosures about a person, and the logs that have them.
#[derive(Clone, Debug, Serialize)]
pub struct DisclosureList {
    /// False if a log could not be read, is lost, is that of a gateway with another ledger, or lacks details that were deleted:
    /// disclosures may be missing.
    pub complete: bool,
    /// The logs that were read.
    pub logs: Vec<LogExtent>,
    /// The disclosures, oldest first.
    pub disclosures: Vec<ReportedDisclosure>,
}

impl std::fmt::Debug for SubjectReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectReport")
    }
}

/// The origins of the data of one category.
#[derive(Clone, Debug, Serialize)]
pub struct DataSource {
    /// The category's name.
    pub category: String,
    /// The category's title.
    pub title: String,
    /// The origins that the record of processing states.
    pub origins: BTreeSet<String>,
}

/// One processing activity of the record of processing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Processing {
    /// The purpose's name.
    pub purpose: String,
    /// The purpose's title.
    pub title: String,
    /// The legal basis.
    pub basis: &'static str,
    /// The title that the pack gives to this basis.
    pub basis_title: String,
    /// The categories that are processed.
    pub categories: Vec<TitledTerm>,
    /// The kinds of recipients.
    pub recipients: Vec<TitledTerm>,
    /// Origin of the data.
    pub origin: String,
    /// Retention of the data, in the words of the record of processing.
    pub retention: String,
    /// Transfers to third countries.
    pub transfers: String,
}

/// A term of the vocabulary with its title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TitledTerm {
    /// The term's name.
    pub id: String,
    /// The title that people read.
    pub title: String,
}

/// The retention period of a category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionPeriod {
    /// The category's name.
    pub category: String,
    /// The category's title.
    pub title: String,
    /// The period in days.
    pub days: i64,
}

/// One disclosure about the person.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedDisclosure {
    /// The exchange in the disclosure log.
    #[serde(flatten)]
    pub disclosed: AccountedExchange,
    /// The purpose's title.
    pub purpose_title: String,
    /// The recipient's legal name, or its configured name if there is no other (GDPR Art. 15(1)(c), CJEU C-154/21).
    pub recipient_name: String,
    /// The recipient's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_address: Option<String>,
    /// How to reach the recipient: an e-mail address, a telephone number or a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_contact: Option<String>,
    /// The recipient's kind; absent if the recipient is no longer registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_kind: Option<TitledTerm>,
    /// The recipient's country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_country: Option<Arc<str>>,
    /// The corrections and erasures since: the recipient may hold data that are wrong or should not exist (GDPR Art. 19).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed_since: Vec<LaterChange>,
}

/// Compiles the report about a person. Returns `None` if nothing is known about the person and nothing was disclosed.
///
/// # Errors
/// [`ReportError`].
pub fn report(
    person: &SubjectId,
    sources: &ReportSources<'_>,
    now: Timestamp,
) -> Result<Option<SubjectReport>, ReportError> {
    let ReportSources { archive, packs, .. } = *sources;
    let state = archive.show(person, None, now)?;
    let disclosed = disclosures(person, sources, now)?;
    // A log that cannot be read may hold a disclosure.
    if state.is_none() && disclosed.disclosures.is_empty() && disclosed.complete {
        return Ok(None);
    }
    let history = archive.history(&Entity::Subject(person.clone()))?;
    let processing = processing(packs);
    Ok(Some(SubjectReport {
        subject: person.id().to_string(),
        namespace: sources.namespace_of(person),
        made: now,
        contacts: packs.iter().map(|pack| pack.manifest().contact.clone()).collect(),
        state,
        events: history.iter().map(|past| event_for_person(&past.event, archive.terms())).collect(),
        sources: origins(&processing),
        processing,
        retention: retention(packs),
        disclosed,
    }))
}

fn event_for_person(event: &ledger::Event, terms: &dyn ledger::TermLookup) -> Map<String, Value> {
    let mut members = ledger::write(event, terms);
    members.remove("recorded-by");
    members
}

fn titled(term: &Term) -> TitledTerm {
    TitledTerm { id: term.id.to_string(), title: term.title.clone() }
}

#[cfg(test)]
mod tests;
