//! Reads from the log what was disclosed about one person (right of access, G-6.8a; GDPR Art. 15(1)(c)).
//!
//! It reveals nothing about anybody else: other people in an answer are only counted. Invariant: the result contains at
//! least everything that was disclosed about the person. It may contain more, because the log records categories by
//! window: a category counts as disclosed about every person in the window about whom anything left.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use super::fold::{IntentRecord, LoggedRecord, ReadError, RecordReader, WindowRecord, segments_since};
use super::record;
use super::source::LogSource;
use crate::keys::{Fingerprint, Pseudonym};
use crate::vocabulary::Basis;

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

/// An exchange whose closing record has not been read yet.
struct OpenExchange {
    intent: IntentRecord,
    people: usize,
    categories: BTreeSet<AccountedCategory>,
}

/// Returns everything that was disclosed about a person, oldest first. A person whose id has several spellings has
/// one fingerprint for each, made with [`LogSource::fingerprints`].
///
/// # Errors
/// [`ReadError`] if a segment cannot be read, or if the person cannot be found in the log ([`LogSource::check`]).
pub fn accounting(log: &LogSource, person: &[Fingerprint]) -> Result<Vec<AccountedExchange>, ReadError> {
    log.check()?;
    let pseudonyms = log.pseudonyms();
    // A person has a different pseudonym each day.
    let mut names: HashMap<String, Vec<Pseudonym>> = HashMap::new();
    let mut open: BTreeMap<String, OpenExchange> = BTreeMap::new();
    let mut disclosed: Vec<AccountedExchange> = Vec::new();
    for record in RecordReader::new(segments_since(log.folder(), None)?) {
        match record? {
            LoggedRecord::Intent(intent) => {
                let exchange = OpenExchange { people: 0, categories: BTreeSet::new(), intent };
                open.insert(exchange.intent.decision.clone(), exchange);
            }
            LoggedRecord::Window(window) => {
                if let Some(exchange) = open.get_mut(&window.decision) {
                    let names =
                        names.entry(record::epoch(exchange.intent.time)).or_insert_with_key(|epoch| {
                            let pseudonyms = pseudonyms.epoch(epoch);
                            person.iter().map(|fingerprint| pseudonyms.of(*fingerprint)).collect()
                        });
                    exchange.add(window, names);
                }
            }
            LoggedRecord::Close { decision, outcome, .. } => {
                // A refused exchange disclosed nothing.
                let ended = open.remove(&decision).filter(|_| !outcome.starts_with("refused"));
                disclosed.extend(ended.and_then(OpenExchange::into_accounted));
            }
            // The previous process died. The data of its open exchanges count as disclosed, because they may have left.
            LoggedRecord::Start { .. } => disclosed
                .extend(std::mem::take(&mut open).into_values().filter_map(OpenExchange::into_accounted)),
            LoggedRecord::Refusal(_) | LoggedRecord::Other => {}
        }
    }
    disclosed.extend(open.into_values().filter_map(OpenExchange::into_accounted));
    disclosed.sort_by(|a, b| (a.time, &a.decision).cmp(&(b.time, &b.decision)));
    Ok(disclosed)
}

impl OpenExchange {
    /// Adds a window if it disclosed something about the person.
    fn add(&mut self, window: WindowRecord, names: &[Pseudonym]) {
        let released = window.subjects.iter().filter(|subject| !window.withheld_subjects.contains(*subject));
        let people: BTreeSet<&String> = released.collect();
        if !people.iter().any(|subject| names.iter().any(|name| name.to_string() == **subject)) {
            return;
        }
        self.people = self.people.max(people.len());
        let not_personal = Some(Basis::NotPersonal.name());
        let disclosed = window
            .categories
            .into_iter()
            .filter(|category| category.form != "removed" && category.basis.as_deref() != not_personal);
        self.categories.extend(disclosed.map(|record| AccountedCategory {
            category: record.category,
            form: record.form,
            basis: record.basis,
        }));
    }

    fn into_accounted(self) -> Option<AccountedExchange> {
        let OpenExchange { intent, people, categories } = self;
        let IntentRecord { decision, time, recipient, purpose, case, .. } = intent;
        let disclosed = AccountedExchange { time, decision, recipient, purpose, case, categories, people };
        Some(disclosed).filter(|disclosed| !disclosed.categories.is_empty())
    }
}
