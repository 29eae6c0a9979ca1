//! The fields of an answer, each with why it leaves or does not.

use std::collections::HashMap;

use jiff::Timestamp;

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

/// An answer of a route to an admitted request.
pub(super) struct AnswerExplainer<'a> {
    pub(super) pack: &'a Pack,
    pub(super) asking: &'a AdmissionRequest,
    pub(super) scrubbing: &'a Scrubbing,
    pub(super) admitted: &'a Admitted,
    pub(super) now: Timestamp,
}

/// The records that are explained, and how many are about others than was asked.
pub(super) struct ExplainedRecords {
    pub(super) records: Vec<RecordExplanation>,
    pub(super) others: usize,
}

/// A path of the mapping and the class of what it selects.
struct MappedPath<'a> {
    path: &'a str,
    class: ClassId,
    categories: &'a [CategoryId],
}

impl AnswerExplainer<'_> {
    /// Explains records, those that are decided alike together. Where some are about who was asked about, only those.
    pub(super) fn explain_records(&self, seen: Vec<RecordDecision>, from_file: bool) -> ExplainedRecords {
        let is_meant = |seen: &RecordDecision| seen.people.iter().any(|person| person.is_named);
        let only_meant = seen.iter().any(is_meant);
        let mut numbers: Vec<usize> = vec![0; self.scrubbing.records.len()];
        let mut others = 0;
        let mut alike: Vec<(RecordDecision, Vec<usize>)> = Vec::new();
        for seen in seen {
            let number = numbers.get_mut(seen.set).map_or(0, |number| {
                *number += 1;
                *number
            });
            if only_meant && !is_meant(&seen) {
                others += 1;
                continue;
            }
            match alike.iter_mut().find(|(known, _)| known.is_alike(&seen)) {
                Some((_, numbers)) => numbers.push(number),
                None => alike.push((seen, vec![number])),
            }
        }
        let mut records: Vec<RecordExplanation> = Vec::new();
        for (seen, numbers) in alike {
            let numbers = if from_file { numbers } else { Vec::new() };
            let told = RecordExplanation { numbers: Vec::new(), ..self.explain_record(&seen) };
            match records
                .iter_mut()
                .find(|known| RecordExplanation { numbers: Vec::new(), ..(*known).clone() } == told)
            {
                Some(known) => {
                    known.numbers.extend(numbers);
                    known.numbers.sort_unstable();
                }
                None => records.push(RecordExplanation { numbers, ..told }),
            }
        }
        ExplainedRecords { records, others }
    }

    /// What stands outside of every record, and so belongs to nobody.
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

    fn explain_record(&self, seen: &RecordDecision) -> RecordExplanation {
        let mapping = self.scrubbing.records.get(seen.set);
        let first = seen.people.first();
        let unknown = first.map(|person| {
            explain_only(self.pack, self.asking, &person.facts, &seen.facts, self.now, &[]).unknown
        });
        RecordExplanation {
            path: mapping.map_or("$", |set| &set.path).to_owned(),
            numbers: Vec::new(),
            person: self.describe_subjects(seen, mapping),
            fields: self.explain_fields(seen, Some(seen.set), seen.fields.as_deref()),
            notes: unknown.unwrap_or_default(),
        }
    }

    fn describe_subjects(&self, seen: &RecordDecision, mapping: Option<&RecordMapping>) -> String {
        let counts_as_nobody = self.scrubbing.unknown_subject == UnknownSubject::Withhold;
        match &seen.people[..] {
            [] if mapping.is_some_and(|set| set.subjects.is_empty()) => {
                "the mapping names no subject".to_owned()
            }
            [] => "the record names no subject that can be read".to_owned(),
            [one] => match one.status {
                SubjectStatus::Known => "the ledger knows the person".to_owned(),
                SubjectStatus::OnlyRefusals => {
                    "the ledger knows nothing of the person but what they refused".to_owned()
                }
                SubjectStatus::Unknown if counts_as_nobody => {
                    "the ledger does not know the person".to_owned()
                }
                SubjectStatus::Unknown => {
                    "the ledger does not know the person, who counts as one that has said nothing".to_owned()
                }
                SubjectStatus::Assumed => {
                    "for a person whom the ledger knows and who has said nothing".to_owned()
                }
            },
            several => {
                let known = several.iter().filter(|person| person.status == SubjectStatus::Known).count();
                format!(
                    "about {} people, of whom the ledger knows {known}: all of them must allow it",
                    several.len()
                )
            }
        }
    }

    /// The fields that a record set governs, or those outside of every record; then what no path is for.
    fn explain_fields(
        &self,
        seen: &RecordDecision,
        set: Option<usize>,
        counted: Option<&[u32]>,
    ) -> Vec<FieldExplanation> {
        let mut known: HashMap<ClassId, (ReleaseExplanation, bool)> = HashMap::new();
        let mut why = |class: ClassId, categories: &[CategoryId]| {
            known.entry(class).or_insert_with(|| self.explain_class(seen, set, class, categories)).clone()
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

    /// The paths of the mapping that select something in records of this set, or outside of all.
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

    /// Why a class leaves a record or does not, and whether it was withheld because of somebody.
    fn explain_class(
        &self,
        seen: &RecordDecision,
        set: Option<usize>,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (ReleaseExplanation, bool) {
        let Some(release) = seen.permit.releases().get(usize::from(class.0)) else {
            return (unknown_class(), false);
        };
        let (nearest, changes) = match release.reason {
            None => (Vec::new(), RequiredChanges::default()),
            Some(reason) => self.required_changes(reason, seen, set, class, categories),
        };
        let ClassRelease { form, basis, reason, rules, clauses } = release;
        let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(|text| text.to_string()).collect();
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
        seen: &RecordDecision,
        set: Option<usize>,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (Vec<crate::decision::NearestRule>, RequiredChanges) {
        let mapping = set.and_then(|set| self.scrubbing.records.get(set));
        let only = |what, text: String| (Vec::new(), RequiredChanges::one(what, text));
        match reason {
            Reason::Unclassified if class == UNCLASSIFIED => {
                only("mapping", "a category for it in the route's `fields`".to_owned())
            }
            Reason::Unclassified => only("mapping", "its mapping".to_owned()),
            Reason::NoSubject if mapping.is_none() => only("subject", missing_subject(None)),
            Reason::NoSubject => {
                let first = RequiredChange::new("subject", missing_subject(mapping));
                let (nearest, changes) = self.changes_for_subject(seen, class, categories);
                (nearest, changes.preceded_by(&first))
            }
            Reason::Unreadable => {
                only("record", format!("a record whose {} can be read", unreadable_facts(&seen.facts)))
            }
            Reason::UnknownSubject => {
                let first = RequiredChange::new(
                    "person",
                    "the ledger knowing the person: any event about them, besides refusals",
                );
                let (nearest, changes) = self.changes_for_subject(seen, class, categories);
                (nearest, changes.preceded_by(&first))
            }
            Reason::Refused | Reason::Prohibited | Reason::NoRule => {
                self.changes_for_subject(seen, class, categories)
            }
        }
    }

    /// By the facts of the first person because of whom it is withheld.
    fn changes_for_subject(
        &self,
        seen: &RecordDecision,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (Vec<crate::decision::NearestRule>, RequiredChanges) {
        let nobody = crate::decision::scenario::ScenarioFacts::default();
        let withholds = |person: &&SubjectDecision| person.permit.form(class) == Form::Removed;
        let about = seen.people.iter().find(withholds).map_or(&nobody, |person| &person.facts);
        let question = Question {
            pack: self.pack,
            request: self.asking,
            facts: about,
            record: &seen.facts,
            now: self.now,
        };
        // What nothing classifies may be anything personal.
        match categories {
            [] => question.explain_class(&[self.pack.vocabulary().well_known().personal]),
            _ => question.explain_class(categories),
        }
    }
}

fn count(counted: &[u32], class: ClassId) -> u32 {
    counted.get(usize::from(class.0)).copied().unwrap_or(0)
}

/// The record set whose records a path selects something in; `None` outside of every record.
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
        return "a place in a record: what stands outside of every record belongs to nobody".to_owned();
    };
    let paths: Vec<&str> = mapping.subjects.iter().map(|source| source.path.as_str()).collect();
    match paths.is_empty() {
        true => "a `subject` in the mapping of these records".to_owned(),
        false => format!("a record whose subject can be read at `{}`", paths.join("`, `")),
    }
}

/// The mapped facts of a record that cannot be read.
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

/// A class that no permit knows is removed.
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
