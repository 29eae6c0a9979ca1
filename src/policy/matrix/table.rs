//! Renders the matrix as plain text for a terminal.

use std::fmt::Write as _;

use super::{Matrix, MatrixEntry, Row, letter};
use crate::vocabulary::{CategoryId, Vocabulary};

/// Minimum width in columns at which the text is readable.
const MIN_WIDTH: usize = 40;

/// Returns the matrix, wrapped at `width` columns: below each purpose the released categories, one line for each
/// form and condition. A category stands for everything below it except the categories after `but`.
pub fn table(matrix: &Matrix, vocabulary: &Vocabulary, width: usize) -> String {
    let mut lines = WrappedText { text: String::new(), width: width.max(MIN_WIDTH) };
    lines.wrap("", &format!("{}, version {}", matrix.title, matrix.version));
    lines.wrap("", "C clear, M masked, G generalised, P pseudonymised; `if` introduces the condition.");
    lines.wrap("", &format!("Left out: {}", matrix.left_out));
    for section in &matrix.sections {
        lines.text.push('\n');
        lines.wrap("", &section.kinds.join(", "));
        if section.rows.is_empty() {
            lines.wrap("  ", "nothing personal");
        }
        for (purposes, row) in together(&section.rows) {
            let operations = match row.is_disclosure() {
                true => String::new(),
                false => format!(" ({})", row.operations.join(", ")),
            };
            lines.wrap("  ", &format!("{}{operations}", purposes.join(", ")));
            for (letter, needs, entries) in groups(row) {
                let needs = if needs.is_empty() { String::new() } else { format!(" if {needs}") };
                lines.wrap("    ", &format!("{letter} {}{needs}", names(&entries, vocabulary)));
            }
        }
    }
    lines.text
}

/// Merges rows with equal content at the position of the first one, and collects their purposes.
fn together(rows: &[Row]) -> Vec<(Vec<&str>, &Row)> {
    let mut together: Vec<(Vec<&str>, &Row)> = Vec::new();
    for row in rows {
        let same = |(_, known): &&mut (Vec<&str>, &Row)| {
            known.operations == row.operations && groups(known) == groups(row)
        };
        match together.iter_mut().find(same) {
            Some((purposes, _)) => purposes.push(&row.purpose),
            None => together.push((vec![&row.purpose], row)),
        }
    }
    together
}

/// Groups the categories of a row by form and condition.
fn groups(row: &Row) -> Vec<(&'static str, &str, Vec<&str>)> {
    let mut groups: Vec<(&'static str, &str, Vec<&str>)> = Vec::new();
    for MatrixEntry { category, form, needs, .. } in row.entries.iter().flatten() {
        let letter = letter(*form);
        match groups.iter_mut().find(|(of, condition, _)| *of == letter && *condition == needs.as_str()) {
            Some((_, _, names)) => names.push(category),
            None => groups.push((letter, needs, vec![category])),
        }
    }
    groups
}

/// Lists the outermost categories, each with the exceptions below it.
fn names(categories: &[&str], vocabulary: &Vocabulary) -> String {
    let tree = vocabulary.categories();
    let ids: Vec<CategoryId> = categories.iter().filter_map(|name| tree.find(name)).collect();
    let is_outermost = |&&id: &&CategoryId| !tree.parent(id).is_some_and(|parent| ids.contains(&parent));
    let named = ids.iter().filter(is_outermost).map(|&id| {
        let except = super::except(tree, id, &|other| ids.contains(&other));
        let except: Vec<&str> = except.into_iter().map(|id| tree.name(id)).collect();
        match except.is_empty() {
            true => tree.name(id).to_owned(),
            false => format!("{} but {}", tree.name(id), except.join(", ")),
        }
    });
    let named: Vec<String> = named.collect();
    let separator = if named.iter().any(|name| name.contains(" but ")) { "; " } else { ", " };
    named.join(separator)
}

/// Text that is wrapped at a width.
struct WrappedText {
    text: String,
    width: usize,
}

impl WrappedText {
    /// Appends one paragraph; continuation lines are indented by two more columns.
    fn wrap(&mut self, indent: &str, words: &str) {
        let mut line = indent.to_owned();
        let mut is_empty = true;
        for word in words.split(' ') {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > self.width {
                let _ = writeln!(self.text, "{line}");
                line = format!("{indent}  ");
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        let _ = writeln!(self.text, "{line}");
    }
}
