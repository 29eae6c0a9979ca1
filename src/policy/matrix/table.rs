//! The matrix in plain text, for a terminal.

use std::fmt::Write as _;

use super::{Entry, Matrix, letter};
use crate::vocabulary::Vocabulary;

/// One line a purpose: its categories with the letter of their form.
/// Where all of a category's children leave as it does, only the parent is named.
pub fn table(matrix: &Matrix, vocabulary: &Vocabulary) -> String {
    let mut text = format!("{}, version {}\n", matrix.title, matrix.version);
    text.push_str("C clear  M masked  G generalised  P pseudonymised  * only where something holds\n");
    for section in &matrix.sections {
        let _ = writeln!(text, "\n{}", section.kinds.join(", "));
        if section.rows.is_empty() {
            text.push_str("  nothing personal\n");
        }
        for row in &section.rows {
            let entries: Vec<&Entry> = row.entries.iter().flatten().collect();
            let named = entries.iter().filter(|entry| !is_named_by_parent(entry, &entries, vocabulary));
            let entries: Vec<String> = named.map(|entry| word(entry)).collect();
            let _ = writeln!(text, "  {:24} {}", row.purpose, entries.join("  "));
        }
    }
    text
}

fn is_named_by_parent(entry: &Entry, row: &[&Entry], vocabulary: &Vocabulary) -> bool {
    let tree = vocabulary.categories();
    let alike =
        |name: &str| row.iter().any(|other| other.category == name && word_of(other) == word_of(entry));
    let whole = |parent| tree.ids().filter(|&id| tree.within(id, parent)).all(|id| alike(tree.name(id)));
    let above = tree.find(&entry.category).into_iter().flat_map(|id| tree.lineage(id).skip(1));
    above.into_iter().any(whole)
}

/// Form and condition, by which two entries are alike.
fn word_of(entry: &Entry) -> (&'static str, bool) {
    (letter(entry.form), entry.needs.is_empty())
}

fn word(entry: &Entry) -> String {
    let condition = if entry.needs.is_empty() { "" } else { "*" };
    format!("{}:{}{condition}", entry.category, letter(entry.form))
}
