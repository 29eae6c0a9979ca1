//! Explains the fields of an answer: the form in which each leaves, and the reasons.

use std::collections::HashMap;

use jiff::Timestamp;

use super::CURRENT_LEDGER;
use super::decision_recorder::{RecordDecision, SubjectDecision, SubjectStatus};
use super::explanation::{FieldExplanation, RecordExplanation, ReleaseExplanation};
use crate::decision::{
    AdmissionRequest, Admitted, ClassId, ClassRelease, Extracted, Question, Reason, RecordFacts,
    RequiredChange, RequiredChanges, explain_only,
};
use crate::exchange::route::{Scrubbing, UnknownSubject};
use crate::policy::Pack;
use crate::scrub::{RecordMapping, UNCLASSIFIED};
use crate::vocabulary::{Basis, CategoryId, Form};

/// Explains the records of an answer to an admitted request.
pub(super) struct AnswerExplainer<'a> {
    pub(super) pack: &'a Pack,
    pub(super) asking: &'a AdmissionRequest,
    pub(super) scrubbing: &'a Scrubbing,
    pub(super) admitted: &'a Admitted,
    pub(super) now: Timestamp,
}

/// The explained records, and the number of records about other people than the one in the arguments.
pub(super) struct ExplainedRecords {
    pub(super) records: Vec<RecordExplanation>,
    pub(super) others: usize,
}

/// A path of the mapping, and the class of the fields that it selects.
struct MappedPath<'a> {
    path: &'a str,
    class: ClassId,
    categories: &'a [CategoryId],
}

impl AnswerExplainer<'_> {
    /// Explains records; those with the same decision together. If some are about the person in the arguments, explains only
    /// those.
    pub(super) fn explain_records(
        &self,
        decisions: Vec<RecordDecision>,
        from_file: bool,
    ) -> ExplainedRecords {
        let is_named = |decision: &RecordDecision| decision.people.iter().any(|person| person.is_named);
        let only_named = decisions.iter().any(is_named);
        let mut numbers: Vec<usize> = vec![0; self.scrubbing.records.len()];
        let mut others = 0;
        let mut alike: Vec<(RecordDecision, Vec<usize>)> = Vec::new();
        for decision in decisions {
            let number = numbers.get_mut(decision.set).map_or(0, |number| {
                *number += 1;
                *number
            });
            if only_named && !is_named(&decision) {
                others += 1;
                continue;
            }
            match alike.iter_mut().find(|(known, _)| known.is_alike(&decision)) {
                Some((_, numbers)) => numbers.push(number),
                None => alike.push((decision, vec![number])),
            }
        }
        let mut records: Vec<RecordExplanation> = Vec::new();
        for (decision, numbers) in alike {
            let numbers = if from_file { numbers } else { Vec::new() };
            let explained = RecordExplanation { numbers: Vec::new(), ..self.explain_record(&decision) };
            match records
                .iter_mut()
                .find(|known| RecordExplanation { numbers: Vec::new(), ..(*known).clone() } == explained)
            {
                Some(known) => {
                    known.numbers.extend(numbers);
                    known.numbers.sort_unstable();
                }
                None => records.push(RecordExplanation { numbers, ..explained }),
            }
        }
        ExplainedRecords { records, others }
    }

    /// Explains the fields outside of every record, which are about nobody.
    pub(super) fn explain_outside(&self, counted: &[u32], from_file: bool) -> Vec<FieldExplanation> {
        let permit = self.admitted.no_subject();
        let nobody = RecordDecision {
            set: usize::MAX,
            people: Vec::new(),
            facts: RecordFacts::default(),
            permit,
            fields: None,
        };
        let counted = Some(counted).filter(|_| from_file);
        self.explain_fields(&nobody, None, counted)
    }

    fn explain_record(&self, decision: &RecordDecision) -> RecordExplanation {
        let mapping = self.scrubbing.records.get(decision.set);
        let first = decision.people.first();
        let unknown = first.map(|person| {
            explain_only(self.pack, self.asking, &person.facts, &decision.facts, self.now, &[]).unknown
        });
        RecordExplanation {
            path: mapping.map_or("$", |set| &set.path).to_owned(),
            numbers: Vec::new(),
            person: self.describe_subjects(decision, mapping),
            fields: self.explain_fields(decision, Some(decision.set), decision.fields.as_deref()),
            notes: unknown.unwrap_or_default(),
        }
    }

    fn describe_subjects(&self, decision: &RecordDecision, mapping: Option<&RecordMapping>) -> String {
        let counts_as_nobody = self.scrubbing.unknown_subject == UnknownSubject::Withhold;
        match &decision.people[..] {
            [] if mapping.is_some_and(|set| set.subjects.is_empty()) => {
                "the mapping names no subject".to_owned()
            }
            [] => "the record names no subject that can be read".to_owned(),
            [one] => match one.status {
                SubjectStatus::Known => "the ledger knows the person".to_owned(),
                SubjectStatus::OnlyRefusals => {
                    "the ledger knows nothing about the person but refusals".to_owned()
                }
                SubjectStatus::Unknown if counts_as_nobody => {
                    "the ledger does not know the person".to_owned()
                }
                SubjectStatus::Unknown => {
                    "the ledger does not know the person, who counts as a person without any choice"
                        .to_owned()
                }
                SubjectStatus::Assumed => "for a known person without any choice".to_owned(),
            },
            several => {
                let known = several.iter().filter(|person| person.status == SubjectStatus::Known).count();
                format!(
                    "about {} people, of whom the ledger knows {known}; each of them must allow it",
                    several.len()
                )
            }
        }
    }

    /// Explains the fields that a record set governs, or those outside of every record; then the fields that no path selects.
    fn explain_fields(
        &self,
        decision: &RecordDecision,
        set: Option<usize>,
        counted: Option<&[u32]>,
    ) -> Vec<FieldExplanation> {
        let mut known: HashMap<ClassId, (ReleaseExplanation, bool)> = HashMap::new();
        let mut why = |class: ClassId, categories: &[CategoryId]| {
            known.entry(class).or_insert_with(|| self.explain_class(decision, set, class, categories)).clone()
        };
        let mapped = self.mapped_paths(set);
        let mut fields: Vec<FieldExplanation> = Vec::new();
        for MappedPath { path, class, categories } in &mapped {
            let (why, of_somebody) = why(*class, categories);
            let is_there = counted.is_none_or(|counted| count(counted, *class) > 0);
            let (path, categories) = (Some((*path).to_owned()), self.names(categories));
            fields.push(FieldExplanation {
                path,
                categories,
                release: why,
                withheld_for_subject: of_somebody && is_there,
            });
        }
        for (class, categories) in (0..).map(ClassId).zip(self.scrubbing.classes.sets()) {
            let is_there = counted.is_some_and(|counted| count(counted, class) > 0);
            if is_there && !mapped.iter().any(|field| field.class == class) {
                let (why, of_somebody) = why(class, categories);
                fields.push(FieldExplanation {
                    path: None,
                    categories: self.names(categories),
                    release: why,
                    withheld_for_subject: of_somebody,
                });
            }
        }
        fields
    }

    fn names(&self, categories: &[CategoryId]) -> Vec<String> {
        let tree = self.pack.vocabulary().categories();
        categories.iter().map(|category| tree.name(*category).to_owned()).collect()
    }

    /// Returns the paths of the mapping that select fields in records of this set, or outside of all records.
    fn mapped_paths(&self, set: Option<usize>) -> Vec<MappedPath<'_>> {
        let sets = &self.scrubbing.records;
        let of_each = sets
            .iter()
            .enumerate()
            .flat_map(|(at, own)| own.fields.iter().map(move |field| (at, own, field)));
        let here =
            of_each.filter(|(at, own, field)| governing_record_set(*at, own, &field.path, sets) == set);
        let here = here.filter_map(|(_, _, field)| {
            let class = self.class(&field.categories)?;
            Some(MappedPath { path: &field.path, class, categories: &field.categories })
        });
        here.collect()
    }

    fn class(&self, categories: &[CategoryId]) -> Option<ClassId> {
        let mut sorted = categories.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let at = self.scrubbing.classes.sets().iter().position(|set| *set == sorted)?;
        u16::try_from(at).ok().map(ClassId)
    }

    /// Explains a class of a record. Also returns true if the class is withheld because of a person.
    fn explain_class(
        &self,
        decision: &RecordDecision,
        set: Option<usize>,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (ReleaseExplanation, bool) {
        let Some(release) = decision.permit.releases().get(usize::from(class.0)) else {
            return (unknown_class(), false);
        };
        let (nearest, changes) = match release.reason {
            None => (Vec::new(), RequiredChanges::default()),
            Some(reason) => self.required_changes(reason, decision, set, class, categories),
        };
        let ClassRelease { form, basis, bases: _, reason, rules, clauses } = release;
        let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(ToString::to_string).collect();
        let why = ReleaseExplanation {
            form: *form,
            basis: basis.map(Basis::name),
            reason: reason.map(Reason::name),
            rules: texts(rules),
            clauses: texts(clauses),
            nearest,
            changes,
        };
        (why, self.admitted.withholds(class, *form))
    }

    fn required_changes(
        &self,
        reason: Reason,
        decision: &RecordDecision,
        set: Option<usize>,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (Vec<crate::decision::NearestRule>, RequiredChanges) {
        let mapping = set.and_then(|set| self.scrubbing.records.get(set));
        let only = |what, text: String| (Vec::new(), RequiredChanges::one(what, text));
        match reason {
            Reason::Unclassified if class == UNCLASSIFIED => {
                only("mapping", "a category for the field in the route's `fields`".to_owned())
            }
            Reason::Unclassified => only("mapping", "the mapping of the field".to_owned()),
            Reason::NoSubject if mapping.is_none() => only("subject", missing_subject(None)),
            Reason::NoSubject => {
                let first = RequiredChange::new("subject", missing_subject(mapping));
                let (nearest, changes) = self.changes_for_subject(decision, class, categories);
                (nearest, changes.preceded_by(&first))
            }
            Reason::Unreadable => {
                only("record", format!("a record whose {} can be read", unreadable_facts(&decision.facts)))
            }
            Reason::UnknownSubject => {
                let first = RequiredChange::new(
                    "person",
                    "an event about the person in the ledger, other than a refusal",
                );
                let (nearest, changes) = self.changes_for_subject(decision, class, categories);
                (nearest, changes.preceded_by(&first))
            }
            Reason::Refused | Reason::Prohibited | Reason::NoRule => {
                self.changes_for_subject(decision, class, categories)
            }
            Reason::Stale => only("ledger", CURRENT_LEDGER.to_owned()),
        }
    }

    /// Returns the changes for the first person whose state withholds the class.
    fn changes_for_subject(
        &self,
        decision: &RecordDecision,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (Vec<crate::decision::NearestRule>, RequiredChanges) {
        let nobody = crate::decision::scenario::ScenarioFacts::default();
        let withholds = |person: &&SubjectDecision| person.permit.form(class) == Form::Removed;
        let about = decision.people.iter().find(withholds).map_or(&nobody, |person| &person.facts);
        let question = Question {
            pack: self.pack,
            request: self.asking,
            facts: about,
            record: &decision.facts,
            now: self.now,
        };
        // An unclassified field may hold any personal data.
        match categories {
            [] => question.explain_class(&[self.pack.vocabulary().well_known().personal]),
            _ => question.explain_class(categories),
        }
    }
}

fn count(counted: &[u32], class: ClassId) -> u32 {
    counted.get(usize::from(class.0)).copied().unwrap_or(0)
}

/// Returns the record set whose records hold the fields of a path; `None` for fields outside of every record.
fn governing_record_set(at: usize, own: &RecordMapping, path: &str, sets: &[RecordMapping]) -> Option<usize> {
    if path.starts_with('@') || own.path == "$" {
        return Some(at);
    }
    let is_below = |set: &RecordMapping| {
        let rest = path.strip_prefix(&*set.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let below = sets.iter().enumerate().filter(|(_, set)| is_below(set));
    below.max_by_key(|(_, set)| set.path.len()).map(|(at, _)| at)
}

fn missing_subject(mapping: Option<&RecordMapping>) -> String {
    let Some(mapping) = mapping else {
        return "a place inside a record: fields outside of every record are about nobody".to_owned();
    };
    let paths: Vec<&str> = mapping.subjects.iter().map(|source| source.path.as_str()).collect();
    match paths.is_empty() {
        true => "a `subject` in the mapping of these records".to_owned(),
        false => format!("a record whose subject can be read at `{}`", paths.join("`, `")),
    }
}

/// Names the mapped facts of a record that cannot be read.
fn unreadable_facts(facts: &RecordFacts) -> String {
    fn is<T>(fact: &Extracted<T>) -> bool {
        matches!(fact, Extracted::Unreadable)
    }
    let RecordFacts { country, region, birth_date, account_closed, origin, created } = facts;
    let named = [
        (is(country), "`country`"),
        (is(region), "`region`"),
        (is(birth_date), "`birth-date`"),
        (is(account_closed), "`account-closed`"),
        (is(origin), "`origin`"),
        (is(created), "`created`"),
    ];
    let names: Vec<&str> = named.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    names.join(", ")
}

/// Explains a class that the permit does not know, which is removed.
fn unknown_class() -> ReleaseExplanation {
    ReleaseExplanation {
        form: Form::Removed,
        basis: None,
        reason: Some(Reason::Unclassified.name()),
        rules: Vec::new(),
        clauses: Vec::new(),
        nearest: Vec::new(),
        changes: RequiredChanges::default(),
    }
}
