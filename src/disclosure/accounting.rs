//! What left about one person: the log read for them (right of access, G-6.8a; GDPR Art. 15(1)(c)).
//!
//! It refuses to tell of anybody else: the others of an answer are a number. Invariant: it never
//! says less than left. The log counts by windows, so what is told of a long list is what left
//! about those people of that part of it of whom anything did.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::fold::{IntentRecord, LoggedRecord, ReadError, WindowRecord, for_each_record, segments_since};
use super::record;
use crate::keys::{Fingerprint, Pseudonym, SubjectPseudonyms};
use crate::vocabulary::Basis;

/// One exchange in which something about the person left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountedExchange {
    pub time: Timestamp,
    pub decision: String,
    pub recipient: String,
    pub purpose: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    pub categories: BTreeSet<AccountedCategory>,
    /// Of how many people something left in that part of the answer; the categories are those of all of them.
    pub people: usize,
}

/// A category that left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AccountedCategory {
    pub category: String,
    pub form: String,
    pub basis: Option<String>,
}

/// An exchange that has not ended yet, as far as it has been read.
struct OpenExchange {
    intent: IntentRecord,
    people: usize,
    categories: BTreeSet<AccountedCategory>,
}

/// Everything that left about a person, oldest first. A person whose id had several spellings has as many
/// fingerprints.
///
/// # Errors
/// [`ReadError`].
pub fn accounting(
    folder: &Path,
    person: &[Fingerprint],
    pseudonyms: &SubjectPseudonyms,
) -> Result<Vec<AccountedExchange>, ReadError> {
    // A person has another pseudonym each day.
    let mut names: HashMap<String, Vec<Pseudonym>> = HashMap::new();
    let mut open: BTreeMap<String, OpenExchange> = BTreeMap::new();
    let mut disclosed: Vec<AccountedExchange> = Vec::new();
    for_each_record(&segments_since(folder, None)?, |line| {
        match line {
            LoggedRecord::Intent(begun) => {
                let began = OpenExchange { people: 0, categories: BTreeSet::new(), intent: begun };
                open.insert(began.intent.decision.clone(), began);
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
            LoggedRecord::Close { decision, outcome } => {
                // What was refused after all did not leave.
                let ended = open.remove(&decision).filter(|_| !outcome.starts_with("refused"));
                disclosed.extend(ended.and_then(OpenExchange::into_accounted));
            }
            // Whatever the process before had on record may have left.
            LoggedRecord::Start => disclosed
                .extend(std::mem::take(&mut open).into_values().filter_map(OpenExchange::into_accounted)),
            LoggedRecord::Refusal(_) | LoggedRecord::Other => {}
        }
        Ok(())
    })?;
    disclosed.extend(open.into_values().filter_map(OpenExchange::into_accounted));
    disclosed.sort_by(|a, b| (a.time, &a.decision).cmp(&(b.time, &b.decision)));
    Ok(disclosed)
}

impl OpenExchange {
    /// Adds a window, if something of the person left in it.
    fn add(&mut self, window: WindowRecord, names: &[Pseudonym]) {
        let touched = window.subjects.iter().filter(|subject| !window.withheld_subjects.contains(*subject));
        let people: BTreeSet<&String> = touched.collect();
        if !people.iter().any(|subject| names.iter().any(|name| name.as_str() == **subject)) {
            return;
        }
        self.people = self.people.max(people.len());
        let about_nobody = Some(Basis::NotPersonal.name());
        let left = window
            .categories
            .into_iter()
            .filter(|category| category.form != "removed" && category.basis.as_deref() != about_nobody);
        self.categories.extend(left.map(|left| AccountedCategory {
            category: left.category,
            form: left.form,
            basis: left.basis,
        }));
    }

    fn into_accounted(self) -> Option<AccountedExchange> {
        let OpenExchange { intent: begun, people, categories } = self;
        let IntentRecord { decision, time, recipient, purpose, case, .. } = begun;
        let disclosed = AccountedExchange { time, decision, recipient, purpose, case, categories, people };
        Some(disclosed).filter(|disclosed| !disclosed.categories.is_empty())
    }
}
