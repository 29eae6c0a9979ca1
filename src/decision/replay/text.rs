//! The report of a replay as text: one block per recipient, purpose and route, and the totals.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{FieldOutcome, RemappedField, ReplayGroup, ReplayReport, ReplayedChange, UnevaluatedRecords};

/// Maximum number of changes of a block; the rest is counted.
const MAX_CHANGES: usize = 24;

impl ReplayReport {
    /// Returns the text; the totals are on the last lines.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for RemappedField { route, path, old, new } in self.mapping.iter().flatten() {
            let _ = writeln!(text, "{route}: {path}  {old} -> {new}");
        }
        self.groups.iter().for_each(|group| block(group, &mut text));
        if self.mapping.is_some() {
            let _ = writeln!(text, "only fields whose categories differ are compared");
        }
        let ReplayReport { days, records, changed, other, rare, unevaluated, .. } = self;
        let ReplayReport { unrecorded_facts, uncompared, .. } = self;
        let unit = if *days == 1 { "day" } else { "days" };
        let _ = writeln!(text, "{changed} of {} change, in {days} {unit}", counted(*records));
        routes("not told apart", other, &mut text);
        routes("rare", rare, &mut text);
        for UnevaluatedRecords { reason, records } in unevaluated {
            let _ = writeln!(text, "not evaluated: {}: {reason}", counted(*records));
        }
        for (fact, records) in unrecorded_facts {
            let fact = fact.replace('_', " ");
            let _ = writeln!(
                text,
                "not recorded: a version compares `{fact}`, which {} {} not state: taken as absent",
                counted(*records),
                if *records == 1 { "does" } else { "do" }
            );
        }
        for (route, path) in
            uncompared.iter().flat_map(|(route, paths)| paths.iter().map(move |path| (route, path)))
        {
            let _ = writeln!(text, "not compared: {path} of {route}: what it selects depends on the answer");
        }
        text
    }
}

fn block(group: &ReplayGroup, text: &mut String) {
    let ReplayGroup { recipient, purpose, route, records, changed, changes } = group;
    let _ = writeln!(text, "{recipient} for {purpose} on {route}: {changed} of {}", counted(*records));
    for change in changes.iter().take(MAX_CHANGES) {
        let ReplayedChange { fields, old, new, more, records, records_a_day } = change;
        let sign = if *more { '+' } else { '-' };
        let forms = format!("{} -> {}", old.form.name(), new.form.name());
        let _ = writeln!(
            text,
            "  {sign} {}  {forms}  {}, {records_a_day} a day",
            fields.join(", "),
            counted(*records)
        );
        let _ = writeln!(text, "      old: {}", by(old));
        let _ = writeln!(text, "      new: {}", by(new));
    }
    if changes.len() > MAX_CHANGES {
        let _ = writeln!(
            text,
            "    and {} changes more: `--format json` lists them",
            changes.len() - MAX_CHANGES
        );
    }
}

/// Names the rules that decided, with their clauses, or the reason without a rule.
fn by(outcome: &FieldOutcome) -> String {
    let FieldOutcome { form: _, reason, rules, clauses } = outcome;
    let quoted: Vec<String> = rules.iter().map(|rule| format!("`{rule}`")).collect();
    match (quoted.is_empty(), reason) {
        (true, reason) => reason.unwrap_or("no rule").to_owned(),
        (false, _) => format!("{} ({})", quoted.join(", "), clauses.join(", ")),
    }
}

fn counted(records: u64) -> String {
    format!("{records} record{}", if records == 1 { "" } else { "s" })
}

fn routes(what: &str, counts: &BTreeMap<String, u64>, text: &mut String) {
    for (route, records) in counts {
        let _ = writeln!(text, "{what}: {} on {route}", counted(*records));
    }
}
