//! Reads the records of processing activities of the packs (GDPR Art. 30), in words for the person whose data they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{DataSource, Processing, RetentionPeriod, TitledTerm, titled};
use crate::policy::Pack;
use crate::vocabulary::CategoryId;

/// Returns the records of processing of all packs without duplicates.
pub(super) fn processing(packs: &[Arc<Pack>]) -> Vec<Processing> {
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
        let in_full = |text: &str| with_clause_titles(text, pack);
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
                // A title may have a semicolon, which separates origins.
                origin: activity
                    .origin
                    .split(';')
                    .map(|origin| in_full(origin).replace(';', ","))
                    .collect::<Vec<_>>()
                    .join(";"),
                retention: in_full(&activity.retention),
                transfers: in_full(&activity.transfers),
            };
            if !all.contains(&line) {
                all.push(line);
            }
        }
    }
    all
}

/// Replaces each id of a clause in a text by the title of the clause: the id means nothing to a person.
fn with_clause_titles(text: &str, pack: &Pack) -> String {
    let is_of_id = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|letter| !is_of_id(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(if word == 0 { first.len_utf8() } else { word });
        // An id may stand at the end of a sentence.
        let trimmed = word.trim_end_matches(['.', '-']);
        let found = [word, trimmed].into_iter().filter(|id| is_distinct(id)).find_map(|id| {
            let clause = pack.manifest().clause(id)?;
            Some((&clause.title, word.strip_prefix(id).unwrap_or_default()))
        });
        match found {
            Some((title, tail)) => {
                written.push_str(title);
                written.push_str(tail);
            }
            None => written.push_str(word),
        }
        rest = after;
    }
    written
}

/// True if the id of a clause cannot be a word or a number of prose, such as the 3 of "3 years".
fn is_distinct(id: &str) -> bool {
    let has = |is: fn(&char) -> bool| id.chars().any(|letter| is(&letter));
    id.contains(['-', '.']) || has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
}

/// Returns the origins of each category according to the record of processing.
pub(super) fn origins(processing: &[Processing]) -> Vec<DataSource> {
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

/// Returns the retention periods of all packs without duplicates.
pub(super) fn retention(packs: &[Arc<Pack>]) -> Vec<RetentionPeriod> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Source;

    /// A pack with these clauses.
    fn pack_with(clauses: &[(&str, &str)]) -> Pack {
        let clauses: String = clauses
            .iter()
            .map(|(id, title)| format!("[[clauses]]\nid = {id:?}\ntitle = {title:?}\nkept = \"by-rules\"\n"))
            .collect();
        let manifest = format!(
            "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-05\neffective = 2026-01-05\ncontact = \"c\"\n\
             [bases]\ncontract = \"c\"\n{clauses}"
        );
        let rule = r#"@id("r") @clause("G-6.7d") @basis("contract") permit (principal, action == Action::"hosting",
            resource in Category::"contact");"#;
        let files = [Source::new("pack.toml", manifest), Source::new("rules.cedar", rule)];
        Pack::load(&files).unwrap_or_else(|findings| panic!("{findings:?}"))
    }

    #[test]
    fn ids_of_clauses_are_replaced_by_their_titles() {
        let pack = pack_with(&[
            ("G-6.7d", "Registration of domains"),
            ("G-6.7", "Sharing"),
            ("P-14", "Notice"),
            ("D1", "Deletion"),
            ("privacy", "Privacy"),
            ("3", "Three"),
        ]);
        for (text, expected) in [
            ("as G-6.7d says", "as Registration of domains says"),
            ("see G-6.7.", "see Sharing."),
            ("see G-6.7, P-14 and D1;", "see Sharing, Notice and Deletion;"),
            ("(P-14)", "(Notice)"),
            ("P-14-", "Notice-"),
            // Longer words and others' ids are no ids of this pack.
            ("G-6.7e, XG-6.7, P-145, P-1", "G-6.7e, XG-6.7, P-145, P-1"),
            ("g-6.7", "g-6.7"),
            // A word or a number of prose is no id, whatever clauses there are.
            ("privacy for 3 years", "privacy for 3 years"),
            ("ü\u{301} – P-14 – 1.5 €", "ü\u{301} – Notice – 1.5 €"),
            ("", ""),
            (".-", ".-"),
        ] {
            assert_eq!(with_clause_titles(text, &pack), expected, "{text}");
        }
    }
}
