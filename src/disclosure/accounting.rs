//! What left about one person: the log read for them (right of access, G-6.8a; GDPR Art. 15(1)(c)).
//!
//! It refuses to tell of anybody else: the others of an answer are a number. Invariant: it never
//! says less than left. The log counts by windows, so what is told of a long list is what left
//! about those people of that part of it of whom anything did.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::fold::{Begun, Gone, Line, ReadError, for_each_line, from};
use super::record;
use crate::keys::{Fingerprint, Pseudonym, SubjectPseudonyms};
use crate::vocabulary::Basis;

/// One exchange in which something about the person left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disclosed {
    pub time: Timestamp,
    pub decision: String,
    pub recipient: String,
    pub purpose: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    pub categories: BTreeSet<DisclosedCategory>,
    /// Of how many people something left in that part of the answer; the categories are those of all of them.
    pub people: usize,
}

/// A category that left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DisclosedCategory {
    pub category: String,
    pub form: String,
    pub basis: Option<String>,
}

/// An exchange that has not ended yet, as far as it has been read.
struct Open {
    begun: Begun,
    people: usize,
    categories: BTreeSet<DisclosedCategory>,
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
) -> Result<Vec<Disclosed>, ReadError> {
    // A person has another pseudonym each day.
    let mut names: HashMap<String, Vec<Pseudonym>> = HashMap::new();
    let mut open: BTreeMap<String, Open> = BTreeMap::new();
    let mut disclosed: Vec<Disclosed> = Vec::new();
    for_each_line(&from(folder, None)?, |line| {
        match line {
            Line::Intent(begun) => {
                let began = Open { people: 0, categories: BTreeSet::new(), begun };
                open.insert(began.begun.decision.clone(), began);
            }
            Line::Window(window) => {
                if let Some(exchange) = open.get_mut(&window.decision) {
                    let names = names.entry(record::epoch(exchange.begun.time)).or_insert_with_key(|epoch| {
                        let pseudonyms = pseudonyms.epoch(epoch);
                        person.iter().map(|fingerprint| pseudonyms.of(*fingerprint)).collect()
                    });
                    exchange.add(window, names);
                }
            }
            Line::Close { decision, outcome } => {
                // What was refused after all did not leave.
                let ended = open.remove(&decision).filter(|_| !outcome.starts_with("refused"));
                disclosed.extend(ended.and_then(Open::disclosed));
            }
            // Whatever the process before had on record may have left.
            Line::Start => {
                disclosed.extend(std::mem::take(&mut open).into_values().filter_map(Open::disclosed))
            }
            Line::Refusal(_) | Line::Own => {}
        }
        Ok(())
    })?;
    disclosed.extend(open.into_values().filter_map(Open::disclosed));
    disclosed.sort_by(|a, b| (a.time, &a.decision).cmp(&(b.time, &b.decision)));
    Ok(disclosed)
}

impl Open {
    /// Adds a window, if something of the person left in it.
    fn add(&mut self, window: Gone, names: &[Pseudonym]) {
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
        self.categories.extend(left.map(|left| DisclosedCategory {
            category: left.category,
            form: left.form,
            basis: left.basis,
        }));
    }

    fn disclosed(self) -> Option<Disclosed> {
        let Open { begun, people, categories } = self;
        let Begun { decision, time, recipient, purpose, case, .. } = begun;
        let disclosed = Disclosed { time, decision, recipient, purpose, case, categories, people };
        Some(disclosed).filter(|disclosed| !disclosed.categories.is_empty())
    }
}
