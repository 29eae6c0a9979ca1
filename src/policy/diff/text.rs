//! A difference as text: one block per rule, one line per setting, and the totals.

use std::fmt::Write as _;

use super::grouping::{ChangeLine, RuleChanges};
use super::{Difference, SettingChange};
use crate::vocabulary::{Basis, Form, Operation};

/// Maximum number of lines of a block; the rest is counted.
const MAX_LINES: usize = 12;

impl Difference {
    /// Returns the text: more first, then less, and the totals on the last line.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for is_more in [true, false] {
            self.groups
                .iter()
                .filter(|group| group.is_more == is_more)
                .for_each(|group| block(group, &mut text));
            for statement in self.pack.iter().filter(|statement| statement.more == is_more) {
                let _ = writeln!(text, "{} {}", sign(is_more), SettingChange::describe(statement));
            }
        }
        let _ = writeln!(text, "{} more, {} less", self.more, self.less);
        text
    }
}

const fn sign(is_more: bool) -> char {
    if is_more { '+' } else { '-' }
}

fn block(group: &RuleChanges, text: &mut String) {
    let RuleChanges { is_more, cause, lines } = group;
    let (sign, clauses) = (sign(*is_more), cause.clauses.join(", "));
    let _ = writeln!(text, "{sign} `{}` ({clauses}) {}", cause.rule, cause.role.describe());
    for line in lines.iter().take(MAX_LINES) {
        let _ = writeln!(text, "    {}", words(line));
    }
    if lines.len() > MAX_LINES {
        let _ = writeln!(text, "    and {} lines more: `--format json` lists them", lines.len() - MAX_LINES);
    }
}

fn words(line: &ChangeLine) -> String {
    let ChangeLine { kinds, purposes, categories, how, when } = line;
    let (kinds, purposes, categories) = (kinds.join(", "), purposes.join(", "), categories.join(", "));
    let verb = match how.operation {
        Operation::Disclose => String::new(),
        other => format!(" {}", other.name()),
    };
    let outcome = |form: Form| match (how.operation, form) {
        (Operation::Disclose, form) => form.name(),
        (_, Form::Removed) => "refused",
        (_, _) => "carried out",
    };
    let basis = |basis: Option<Basis>| basis.map_or("none", Basis::name);
    let change = match how.old == how.new {
        true => format!("{} on {} -> {}", outcome(how.new), basis(how.old_basis), basis(how.new_basis)),
        false => format!("{} -> {}", outcome(how.old), outcome(how.new)),
    };
    let when = if when.is_empty() { String::new() } else { format!("  when {when}") };
    format!("{kinds}{verb} for {purposes}: {categories}  {change}{when}")
}
