//! What one person is told about themselves: the right of access (G-6.8a; GDPR Art. 15).
//!
//! It gathers the ledger's state and events, the packs' records of processing and the accounting of
//! disclosures into one value. It refuses to know whom it is sent to. Invariants: nothing about
//! anybody else is in it; what left under a case that is confidential is not in it before its time.

mod html;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

pub use html::html;

use crate::decision::RecipientFacts;
use crate::disclosure::{self, AccountedExchange, ReadError};
use crate::keys::{Fingerprint, SubjectPseudonyms};
use crate::ledger::{self, Archive, Entity, StoreError};
use crate::policy::Pack;
use crate::vocabulary::SubjectId;
use crate::vocabulary::{CategoryId, Vocabulary};

/// Where a report comes from.
pub struct ReportSources<'s> {
    pub archive: &'s Archive,
    /// The disclosure log's folder, and what names the person in it, under every spelling of the id.
    pub log: &'s Path,
    pub people: &'s [Fingerprint],
    pub pseudonyms: &'s SubjectPseudonyms,
    pub packs: &'s [Arc<Pack>],
    /// The registered recipients; the log may name others that have gone.
    pub recipients: &'s [Arc<RecipientFacts>],
}

impl std::fmt::Debug for ReportSources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Ledger(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// What a person is told. Its names are those of the vocabulary.
#[derive(Clone, Serialize)]
pub struct SubjectReport {
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub made: Timestamp,
    /// Whom to turn to, by pack.
    pub contacts: BTreeSet<String>,
    /// What is in force; `None` where the ledger has never heard of the person.
    pub state: Option<Map<String, Value>>,
    /// Everything that was recorded about them, as it was recorded.
    pub events: Vec<Map<String, Value>>,
    /// Where data of each category come from.
    pub sources: Vec<DataSource>,
    pub processing: Vec<Processing>,
    /// How long data of a category are kept, where a period is set.
    pub retention: Vec<RetentionPeriod>,
    pub disclosures: Vec<Disclosure>,
}

impl std::fmt::Debug for SubjectReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Report")
    }
}

/// Where data of one category come from.
#[derive(Clone, Debug, Serialize)]
pub struct DataSource {
    pub category: String,
    pub title: String,
    pub origins: BTreeSet<String>,
}

/// One line of the record of processing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Processing {
    pub purpose: String,
    pub title: String,
    pub basis: &'static str,
    /// What the document says of this basis.
    pub basis_title: String,
    pub categories: Vec<TitledTerm>,
    pub recipients: Vec<TitledTerm>,
    pub origin: String,
    pub retention: String,
    pub transfers: String,
}

/// A word of the vocabulary and what people call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TitledTerm {
    pub id: String,
    pub title: String,
}

/// How long data of a category are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionPeriod {
    pub category: String,
    pub title: String,
    pub days: i64,
}

/// Who received what.
#[derive(Clone, Debug, Serialize)]
pub struct Disclosure {
    #[serde(flatten)]
    pub disclosed: AccountedExchange,
    pub purpose_title: String,
    /// What kind of recipient it is, and where; absent of one that is not registered any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_kind: Option<TitledTerm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_country: Option<Arc<str>>,
}

/// Gathers the report about a person; `None`: nothing is known about them, and nothing has left.
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
    let disclosures = disclosures(sources, now)?;
    if state.is_none() && disclosures.is_empty() {
        return Ok(None);
    }
    let history = archive.history(&Entity::Subject(person.clone()))?;
    let processing = processing(packs);
    Ok(Some(SubjectReport {
        subject: person.id().to_string(),
        namespace: person.namespace().map(ToString::to_string),
        made: now,
        contacts: packs.iter().map(|pack| pack.manifest().contact.clone()).collect(),
        state,
        events: history.iter().map(|past| ledger::write(&past.event, archive.terms())).collect(),
        sources: origins(&processing),
        processing,
        retention: retention(packs),
        disclosures,
    }))
}

/// What left about the person, but for what is confidential still.
///
/// # Errors
/// [`ReportError`].
pub fn disclosures(sources: &ReportSources<'_>, now: Timestamp) -> Result<Vec<Disclosure>, ReportError> {
    let confidential = sources.archive.confidential_cases(now)?;
    let mut all = disclosure::accounting(sources.log, sources.people, sources.pseudonyms)?;
    all.retain(|one| {
        let cited = one.case.as_ref().and_then(|case| confidential.get(case.as_str()));
        cited.is_none_or(|case| !case.covers(&one.recipient, &one.purpose, sources.archive.terms()))
    });
    let told = |disclosed: AccountedExchange| {
        let facts = sources.recipients.iter().find(|facts| *facts.name == *disclosed.recipient);
        Disclosure {
            purpose_title: find_in_packs(sources.packs, |words| {
                words
                    .purposes()
                    .term(words.purposes().find(&disclosed.purpose)?)
                    .map(|term| term.title.clone())
            })
            .unwrap_or_else(|| disclosed.purpose.clone()),
            recipient_kind: facts.and_then(|facts| {
                find_in_packs(sources.packs, |words| words.kinds().term(facts.kind).map(titled))
            }),
            recipient_country: facts.and_then(|facts| facts.country.clone()),
            disclosed,
        }
    };
    Ok(all.into_iter().map(told).collect())
}

fn find_in_packs<T>(packs: &[Arc<Pack>], find: impl Fn(&Vocabulary) -> Option<T>) -> Option<T> {
    packs.iter().find_map(|pack| find(pack.vocabulary()))
}

fn titled(term: &crate::vocabulary::Term) -> TitledTerm {
    TitledTerm { id: term.id.to_string(), title: term.title.clone() }
}

/// The records of processing of all packs; what two of them say alike is said once.
fn processing(packs: &[Arc<Pack>]) -> Vec<Processing> {
    let mut all: Vec<Processing> = Vec::new();
    for pack in packs {
        let words = pack.vocabulary();
        let plain = |id: &String| TitledTerm { id: id.clone(), title: id.clone() };
        let category = |id: &String| {
            let tree = words.categories();
            tree.find(id).and_then(|found| tree.term(found)).map_or_else(|| plain(id), titled)
        };
        let recipient = |id: &String| {
            let tree = words.kinds();
            tree.find(id).and_then(|found| tree.term(found)).map_or_else(|| plain(id), titled)
        };
        for activity in &pack.manifest().processing {
            let purposes = words.purposes();
            let purpose = purposes.find(&activity.purpose).and_then(|found| purposes.term(found));
            let basis = pack.manifest().bases.iter().find(|stated| stated.basis == activity.basis);
            let line = Processing {
                purpose: activity.purpose.clone(),
                title: purpose.map_or_else(|| activity.purpose.clone(), |term| term.title.clone()),
                basis: activity.basis.name(),
                basis_title: basis
                    .map_or_else(|| activity.basis.name().to_owned(), |stated| stated.title.clone()),
                categories: activity.categories.iter().map(category).collect(),
                recipients: activity.recipients.iter().map(recipient).collect(),
                origin: activity.origin.clone(),
                retention: activity.retention.clone(),
                transfers: activity.transfers.clone(),
            };
            if !all.contains(&line) {
                all.push(line);
            }
        }
    }
    all
}

/// Where data of each category come from, by the record of processing.
fn origins(processing: &[Processing]) -> Vec<DataSource> {
    let mut by_category: BTreeMap<&str, DataSource> = BTreeMap::new();
    for line in processing {
        for TitledTerm { id, title } in &line.categories {
            let source = by_category.entry(id).or_insert_with(|| DataSource {
                category: id.clone(),
                title: title.clone(),
                origins: BTreeSet::new(),
            });
            source.origins.extend(line.origin.split(';').map(|origin| origin.trim().to_owned()));
        }
    }
    by_category.into_values().collect()
}

fn retention(packs: &[Arc<Pack>]) -> Vec<RetentionPeriod> {
    let mut all: Vec<RetentionPeriod> = Vec::new();
    for pack in packs {
        let tree = pack.vocabulary().categories();
        let title = |category: CategoryId| {
            tree.term(category).map_or_else(|| tree.name(category).to_owned(), |term| term.title.clone())
        };
        for (category, period) in &pack.manifest().retention {
            let days = period.as_hours() / 24;
            let kept =
                RetentionPeriod { category: tree.name(*category).to_owned(), title: title(*category), days };
            if !all.contains(&kept) {
                all.push(kept);
            }
        }
    }
    all
}
