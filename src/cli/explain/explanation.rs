//! The explanation of a request, and its rendering as text and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::refusal::RefusalExplanation;
use crate::decision::{NearestRule, RequiredChanges};
use crate::policy::Pack;
use crate::vocabulary::Form;

/// A version of a policy.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PolicyVersion {
    pub pack: String,
    pub version: String,
    pub revision: String,
}

impl PolicyVersion {
    pub(super) fn of(pack: &Pack) -> PolicyVersion {
        let manifest = pack.manifest();
        let (pack_title, version) = (manifest.title.clone(), manifest.version.clone());
        PolicyVersion { pack: pack_title, version, revision: pack.revision().to_string() }
    }
}

/// The explanation of a request: why it is refused, and why each field leaves or does not.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RequestExplanation {
    pub route: String,
    pub method: String,
    pub path: String,
    pub recipient: String,
    pub kind: String,
    pub purpose: String,
    pub operation: &'static str,
    pub policy: PolicyVersion,
    /// Refusals of the request. The fields are explained as if the request were not refused.
    pub refused: Vec<RefusalExplanation>,
    pub records: Vec<RecordExplanation>,
    /// Fields outside of every record.
    pub outside: Vec<FieldExplanation>,
    pub notes: Vec<String>,
}

/// Records with the same decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RecordExplanation {
    /// The path of the records in the answer.
    pub path: String,
    /// Their numbers in the file, from 1; empty without a file.
    pub numbers: Vec<usize>,
    /// The people that the records are about, and their status in the ledger.
    pub person: String,
    pub fields: Vec<FieldExplanation>,
    /// Unknown facts, and how they count.
    pub notes: Vec<String>,
}

/// The explanation of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldExplanation {
    /// Its path in the mapping; absent for fields that no single path selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    pub categories: Vec<String>,
    #[serde(flatten)]
    pub release: ReleaseExplanation,
    /// True if it is present and withheld because of the person: in another record a rule could release it.
    #[serde(skip)]
    pub withheld_for_subject: bool,
}

/// The form in which a class of fields leaves, and the reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ReleaseExplanation {
    pub form: Form,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<&'static str>,
    /// The reason for withholding, by its name in the disclosure log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub rules: Vec<String>,
    pub clauses: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearestRule>,
    #[serde(flatten)]
    pub changes: RequiredChanges,
}

impl RequestExplanation {
    /// True if the request is answered and something leaves.
    pub(super) fn releases_something(&self) -> bool {
        let fields = self.records.iter().flat_map(|record| &record.fields).chain(&self.outside);
        let reads_nothing = self.records.is_empty() && self.outside.is_empty();
        self.refused.is_empty()
            && (reads_nothing || fields.into_iter().any(|field| field.release.form != Form::Removed))
    }

    pub(super) fn to_text(&self) -> String {
        let RequestExplanation {
            route,
            method,
            path,
            recipient,
            kind,
            purpose,
            operation,
            policy,
            refused,
            ..
        } = self;
        let mut text = format!(
            "`{recipient}` ({kind}) asks for `{purpose}`: {method} {path}, route `{route}`, {operation}\n"
        );
        let PolicyVersion { pack, version, revision } = policy;
        let short = revision.get(..12).unwrap_or(revision);
        let _ = writeln!(text, "policy \"{pack}\" version {version}, revision {short}");
        for refusal in refused {
            refusal.write(&mut text);
        }
        if !refused.is_empty() && !self.records.is_empty() {
            let _ = writeln!(text, "if the request were answered:");
        }
        for record in &self.records {
            let RecordExplanation { path, numbers, person, fields, notes } = record;
            let numbers = ranges(numbers);
            let number = if numbers.is_empty() { String::new() } else { format!(" {numbers}") };
            let _ = writeln!(text, "record{number} at {path}: {person}");
            write_fields(&mut text, fields);
            for note in notes {
                let _ = writeln!(text, "  note: {note}");
            }
        }
        if !self.outside.is_empty() {
            let _ = writeln!(text, "outside of every record:");
            write_fields(&mut text, &self.outside);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

/// Writes the fields; those with the same explanation together.
fn write_fields(text: &mut String, fields: &[FieldExplanation]) {
    let mut blocks: Vec<(&ReleaseExplanation, Vec<String>)> = Vec::new();
    for FieldExplanation { path, categories, release: why, withheld_for_subject: _ } in fields {
        let path = path.as_deref();
        let label = match (path, categories.is_empty()) {
            (Some(path), _) => format!("{path} ({})", categories.join(" + ")),
            (None, true) => "unclassified fields".to_owned(),
            (None, false) => format!("selected by several paths ({})", categories.join(" + ")),
        };
        match blocks.iter_mut().find(|(known, _)| *known == why) {
            Some((_, labels)) => labels.push(label),
            None => blocks.push((why, vec![label])),
        }
    }
    for (why, labels) in blocks {
        why.write(text, &labels.join(", "));
    }
}

impl ReleaseExplanation {
    pub(super) fn write(&self, text: &mut String, label: &str) {
        let ReleaseExplanation { form, basis, reason, rules, clauses, nearest, changes } = self;
        let because = [*basis, *reason].into_iter().flatten().next();
        let because = because.map_or_else(String::new, |because| format!(": {because}"));
        let _ = writeln!(text, "  {:13} {label}{because}", form.name());
        let mut line = |words: String| {
            let _ = writeln!(text, "  {:13}   {words}", "");
        };
        if !rules.is_empty() {
            let verb = if *form == Form::Removed { "forbidden by" } else { "permitted by" };
            line(format!("{verb} {} [{}]", rules.join(", "), clauses.join(", ")));
        }
        let is_told = |near: &&NearestRule| changes.never.is_none() || !near.is_elsewhere;
        for near in nearest.iter().filter(is_told) {
            if !near.lacks.is_empty() {
                line(format!("near: {} [{}]: {}", near.rule, near.clauses.join(", "), near.lacks.join("; ")));
            }
        }
        if let Some(changes) = changes.to_text() {
            line(format!("would have to change: {changes}"));
        }
    }
}

/// Renders ascending numbers, with consecutive ones as a range: `1-3, 7`.
fn ranges(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let written = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(written).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_numbers_form_a_range() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
    }
}
