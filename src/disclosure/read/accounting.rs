//! Reads from the log what was disclosed about one person (right of access, G-6.8a; GDPR Art. 15(1)(c)).
//!
//! It reveals nothing about anybody else: other people in an answer are only counted. Invariant: the result contains at
//! least everything that was disclosed about the person. It may contain more, because the log records categories by
//! window: a category counts as disclosed about every person in the window about whom anything left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use super::exchange_records::ExchangeRecords;
use super::fold::day_of;
use super::model::{ExchangeRecord, LoggedDisclosure, LoggedHead, LoggedRecord};
use super::source::{LogSource, pseudonyms_on};
use crate::disclosure::storage::ReadError;
use crate::keys::{LoggedPerson, Pseudonym};
use crate::vocabulary::{Basis, Form};

/// An exchange that disclosed something about the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountedExchange {
    /// Start of the exchange.
    pub time: Timestamp,
    /// The decision's id.
    pub decision: String,
    /// The recipient's configured name.
    pub recipient: String,
    /// The accepted purpose.
    pub purpose: String,
    /// The case that the request cited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// The categories that left in the windows in which something about the person left.
    pub categories: BTreeSet<AccountedCategory>,
    /// Number of people about whom something left in the same window: the largest such number of the exchange's
    /// windows. The categories are those of all these people.
    pub people: usize,
}

/// A data category that was disclosed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AccountedCategory {
    /// Its name in the vocabulary.
    pub category: String,
    /// The form in which it left.
    pub form: String,
    /// The legal basis; absent for fields that nothing classifies.
    pub basis: Option<String>,
}

/// An exchange that has not ended yet.
struct OpenExchange {
    head: LoggedHead,
    people: usize,
    categories: BTreeSet<AccountedCategory>,
}

/// Returns everything that was disclosed about a person, oldest first. A person whose id has several spellings is given by
/// each, with fingerprints made with [`LogSource::fingerprints`]; each is sought by its log secret, if it has one, and by its
/// fingerprint.
///
/// # Errors
/// [`ReadError`] if a file cannot be read, or if the person cannot be found in the log ([`LogSource::check`]).
pub fn accounting(log: &LogSource, person: &[LoggedPerson]) -> Result<Vec<AccountedExchange>, ReadError> {
    log.check()?;
    // A person has a different pseudonym each day.
    let mut names: HashMap<Arc<str>, Vec<Pseudonym>> = HashMap::new();
    let mut open: BTreeMap<Ulid, OpenExchange> = BTreeMap::new();
    let mut disclosed: Vec<AccountedExchange> = Vec::new();
    for record in ExchangeRecords::open(log.folder(), None)? {
        let mut record = match record? {
            LoggedRecord::Exchange(record) => *record,
            // The previous process died. The data of its open exchanges count as disclosed, because they may have left.
            LoggedRecord::Start(_) => {
                disclosed
                    .extend(std::mem::take(&mut open).into_iter().filter_map(OpenExchange::into_accounted));
                continue;
            }
        };
        let decision = record.decision;
        if let Some(head) = record.head.take() {
            let begun = OpenExchange { head, people: 0, categories: BTreeSet::new() };
            open.entry(decision).or_insert(begun);
        }
        let Some(exchange) = open.get_mut(&decision) else { continue };
        let ExchangeRecord { day, disclosure, end, corrects, .. } = record;
        if let Some(disclosure) = disclosure {
            let day = day.unwrap_or_else(|| day_of(exchange.head.time));
            let names =
                names.entry(day).or_insert_with_key(|day| pseudonyms_on(day, person, log.pseudonyms()));
            exchange.add(&disclosure, names);
        }
        if let Some(outcome) = end
            && let Some(ended) = open.remove_entry(&decision)
            // A refused exchange disclosed nothing. A correction takes back no disclosure.
            && (corrects || !outcome.starts_with("refused"))
        {
            disclosed.extend(OpenExchange::into_accounted(ended));
        }
    }
    disclosed.extend(open.into_iter().filter_map(OpenExchange::into_accounted));
    disclosed.sort_by(|a, b| (a.time, &a.decision).cmp(&(b.time, &b.decision)));
    Ok(disclosed)
}

impl OpenExchange {
    /// Adds a disclosure if it disclosed something about the person.
    fn add(&mut self, disclosure: &LoggedDisclosure, names: &[Pseudonym]) {
        let LoggedDisclosure { subjects, categories, .. } = disclosure;
        if !subjects.iter().any(|subject| names.contains(subject)) {
            return;
        }
        let people: BTreeSet<&Pseudonym> = subjects.iter().collect();
        self.people = self.people.max(people.len());
        for (ruling, _) in categories {
            if *ruling.form != *Form::Removed.name()
                && ruling.basis.as_deref() != Some(Basis::NotPersonal.name())
            {
                self.categories.insert(AccountedCategory {
                    category: ruling.category.to_string(),
                    form: ruling.form.to_string(),
                    basis: ruling.basis.as_deref().map(str::to_owned),
                });
            }
        }
    }

    fn into_accounted((decision, exchange): (Ulid, OpenExchange)) -> Option<AccountedExchange> {
        let OpenExchange { head, people, categories } = exchange;
        let disclosed = AccountedExchange {
            time: head.time,
            decision: decision.to_string(),
            recipient: head.recipient.to_string(),
            purpose: head.purpose.to_string(),
            case: head.case,
            categories,
            people,
        };
        Some(disclosed).filter(|disclosed| !disclosed.categories.is_empty())
    }
}
