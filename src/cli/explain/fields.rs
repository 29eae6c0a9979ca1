//! The fields of an answer, each with why it leaves or does not.

use std::collections::HashMap;

use jiff::Timestamp;

use super::judge::{Known, Person, Seen};
use super::told::{Field, Record, Why};
use crate::decision::{
    Admitted, Asking, Change, Changes, ClassId, Question, Reason, RecordFacts, Release, Unsure, explain_only,
};
use crate::exchange::route::{Scrubbing, UnknownSubject};
use crate::policy::Pack;
use crate::scrub::{RecordMapping, UNCLASSIFIED};
use crate::vocabulary::{Basis, CategoryId, Form};

/// An answer of a route to an admitted request.
pub(super) struct Answer<'a> {
    pub(super) pack: &'a Pack,
    pub(super) asking: &'a Asking,
    pub(super) scrubbing: &'a Scrubbing,
    pub(super) admitted: &'a Admitted,
    pub(super) now: Timestamp,
}

/// The records that are explained, and how many are about others than was asked.
pub(super) struct Decided {
    pub(super) records: Vec<Record>,
    pub(super) others: usize,
}

/// A path of the mapping and the class of what it selects.
struct Mapped<'a> {
    path: &'a str,
    class: ClassId,
    categories: &'a [CategoryId],
}

impl Answer<'_> {
    /// Explains records, those that are decided alike together. Where some are about who was asked about, only those.
    pub(super) fn records(&self, seen: Vec<Seen>, from_file: bool) -> Decided {
        let is_meant = |seen: &Seen| seen.people.iter().any(|person| person.is_meant);
        let only_meant = seen.iter().any(is_meant);
        let mut numbers: Vec<usize> = vec![0; self.scrubbing.records.len()];
        let mut others = 0;
        let mut alike: Vec<(Seen, Vec<usize>)> = Vec::new();
        for seen in seen {
            let number = numbers.get_mut(seen.set).map_or(0, |number| {
                *number += 1;
                *number
            });
            if only_meant && !is_meant(&seen) {
                others += 1;
                continue;
            }
            match alike.iter_mut().find(|(known, _)| known.is_like(&seen)) {
                Some((_, numbers)) => numbers.push(number),
                None => alike.push((seen, vec![number])),
            }
        }
        let mut records: Vec<Record> = Vec::new();
        for (seen, numbers) in alike {
            let numbers = if from_file { numbers } else { Vec::new() };
            let told = Record { numbers: Vec::new(), ..self.record(&seen) };
            match records.iter_mut().find(|known| Record { numbers: Vec::new(), ..(*known).clone() } == told)
            {
                Some(known) => {
                    known.numbers.extend(numbers);
                    known.numbers.sort_unstable();
                }
                None => records.push(Record { numbers, ..told }),
            }
        }
        Decided { records, others }
    }

    /// What stands outside of every record, and so belongs to nobody.
    pub(super) fn outside(&self, counted: &[u32], from_file: bool) -> Vec<Field> {
        let permit = self.admitted.no_subject();
        let nobody =
            Seen { set: usize::MAX, people: Vec::new(), facts: RecordFacts::default(), permit, fields: None };
        let counted = Some(counted).filter(|_| from_file);
        self.fields(&nobody, None, counted)
    }

    fn record(&self, seen: &Seen) -> Record {
        let mapping = self.scrubbing.records.get(seen.set);
        let first = seen.people.first();
        let unknown = first.map(|person| {
            explain_only(self.pack, self.asking, &person.about, &seen.facts, self.now, &[]).unknown
        });
        Record {
            path: mapping.map_or("$", |set| &set.path).to_owned(),
            numbers: Vec::new(),
            person: self.person(seen, mapping),
            fields: self.fields(seen, Some(seen.set), seen.fields.as_deref()),
            notes: unknown.unwrap_or_default(),
        }
    }

    fn person(&self, seen: &Seen, mapping: Option<&RecordMapping>) -> String {
        let counts_as_nobody = self.scrubbing.unknown_subject == UnknownSubject::Withhold;
        match &seen.people[..] {
            [] if mapping.is_some_and(|set| set.subjects.is_empty()) => {
                "the mapping names no subject".to_owned()
            }
            [] => "the record names no subject that can be read".to_owned(),
            [one] => match one.known {
                Known::Well => "the ledger knows the person".to_owned(),
                Known::OnlyRefusals => {
                    "the ledger knows nothing of the person but what they refused".to_owned()
                }
                Known::Not if counts_as_nobody => "the ledger does not know the person".to_owned(),
                Known::Not => {
                    "the ledger does not know the person, who counts as one that has said nothing".to_owned()
                }
                Known::Assumed => "for a person whom the ledger knows and who has said nothing".to_owned(),
            },
            several => {
                let known = several.iter().filter(|person| person.known == Known::Well).count();
                format!(
                    "about {} people, of whom the ledger knows {known}: all of them must allow it",
                    several.len()
                )
            }
        }
    }

    /// The fields that a record set governs, or those outside of every record; then what no path is for.
    fn fields(&self, seen: &Seen, set: Option<usize>, counted: Option<&[u32]>) -> Vec<Field> {
        let mut known: HashMap<ClassId, (Why, bool)> = HashMap::new();
        let mut why = |class: ClassId, categories: &[CategoryId]| {
            known.entry(class).or_insert_with(|| self.why(seen, set, class, categories)).clone()
        };
        let mapped = self.mapped(set);
        let mut fields: Vec<Field> = Vec::new();
        for Mapped { path, class, categories } in &mapped {
            let (why, of_somebody) = why(*class, categories);
            let is_there = counted.is_none_or(|counted| count(counted, *class) > 0);
            let (path, categories) = (Some((*path).to_owned()), self.names(categories));
            fields.push(Field { path, categories, why, of_somebody: of_somebody && is_there });
        }
        for (class, categories) in (0..).map(ClassId).zip(self.scrubbing.classes.sets()) {
            let is_there = counted.is_some_and(|counted| count(counted, class) > 0);
            if is_there && !mapped.iter().any(|field| field.class == class) {
                let (why, of_somebody) = why(class, categories);
                fields.push(Field { path: None, categories: self.names(categories), why, of_somebody });
            }
        }
        fields
    }

    fn names(&self, categories: &[CategoryId]) -> Vec<String> {
        let tree = self.pack.vocabulary().categories();
        categories.iter().map(|category| tree.name(*category).to_owned()).collect()
    }

    /// The paths of the mapping that select something in records of this set, or outside of all.
    fn mapped(&self, set: Option<usize>) -> Vec<Mapped<'_>> {
        let sets = &self.scrubbing.records;
        let of_each = sets
            .iter()
            .enumerate()
            .flat_map(|(at, own)| own.fields.iter().map(move |field| (at, own, field)));
        let here = of_each.filter(|(at, own, field)| governing(*at, own, &field.path, sets) == set);
        let here = here.filter_map(|(_, _, field)| {
            let class = self.class(&field.categories)?;
            Some(Mapped { path: &field.path, class, categories: &field.categories })
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
    fn why(&self, seen: &Seen, set: Option<usize>, class: ClassId, categories: &[CategoryId]) -> (Why, bool) {
        let Some(release) = seen.permit.releases().get(usize::from(class.0)) else {
            return (withheld_unforeseen(), false);
        };
        let (nearest, changes) = match release.reason {
            None => (Vec::new(), Changes::default()),
            Some(reason) => self.what_would_change(reason, seen, set, class, categories),
        };
        let Release { form, basis, reason, rules, clauses } = release;
        let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(|text| text.to_string()).collect();
        let why = Why {
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

    fn what_would_change(
        &self,
        reason: Reason,
        seen: &Seen,
        set: Option<usize>,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (Vec<crate::decision::Nearest>, Changes) {
        let mapping = set.and_then(|set| self.scrubbing.records.get(set));
        let only = |what, text: String| (Vec::new(), Changes::one(what, text));
        match reason {
            Reason::Unclassified if class == UNCLASSIFIED => {
                only("mapping", "a category for it in the route's `fields`".to_owned())
            }
            Reason::Unclassified => only("mapping", "its mapping".to_owned()),
            Reason::NoSubject if mapping.is_none() => only("subject", subject_in_words(None)),
            Reason::NoSubject => {
                let first = Change::new("subject", subject_in_words(mapping));
                let (nearest, changes) = self.of_person(seen, class, categories);
                (nearest, changes.after(&first))
            }
            Reason::Unreadable => {
                only("record", format!("a record whose {} can be read", unreadable(&seen.facts)))
            }
            Reason::UnknownSubject => {
                let first = Change::new(
                    "person",
                    "the ledger knowing the person: any event about them, besides refusals",
                );
                let (nearest, changes) = self.of_person(seen, class, categories);
                (nearest, changes.after(&first))
            }
            Reason::Refused | Reason::Prohibited | Reason::NoRule => self.of_person(seen, class, categories),
        }
    }

    /// By the facts of the first person because of whom it is withheld.
    fn of_person(
        &self,
        seen: &Seen,
        class: ClassId,
        categories: &[CategoryId],
    ) -> (Vec<crate::decision::Nearest>, Changes) {
        let nobody = crate::decision::scenario::Facts::default();
        let withholds = |person: &&Person| person.permit.form(class) == Form::Removed;
        let about = seen.people.iter().find(withholds).map_or(&nobody, |person| &person.about);
        let question =
            Question { pack: self.pack, asking: self.asking, about, record: &seen.facts, now: self.now };
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
fn governing(at: usize, own: &RecordMapping, path: &str, sets: &[RecordMapping]) -> Option<usize> {
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

fn subject_in_words(mapping: Option<&RecordMapping>) -> String {
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
fn unreadable(facts: &RecordFacts) -> String {
    fn is<T>(fact: &Unsure<T>) -> bool {
        matches!(fact, Unsure::Unreadable)
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
fn withheld_unforeseen() -> Why {
    Why {
        form: Form::Removed,
        basis: None,
        reason: Some(Reason::Unclassified.name()),
        rules: Vec::new(),
        clauses: Vec::new(),
        nearest: Vec::new(),
        changes: Changes::default(),
    }
}
