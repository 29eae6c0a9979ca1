//! Folding a log gives the same as a naive model of the records that were written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::folder_log::FolderLog;
use crate::decision::Reason;
use crate::disclosure::entry::tests::samples::*;
use crate::disclosure::read::{ExchangeFilter, LogPlace, accounting, decision};
use crate::disclosure::record::*;
use crate::keys::{EpochPseudonyms, Keys, LoggedPerson};
use crate::vocabulary::{Basis, Form, time_of};

/// One step of a history.
#[allow(clippy::large_enum_variant, reason = "a few steps live at a time")]
#[derive(Clone, Debug)]
enum Step {
    Begin(u8, ExchangeHead, Option<Disclosure>),
    Window(u8, Disclosure),
    Close(u8, Outcome),
    Correct(u8, Outcome, Option<Disclosure>),
    Start,
    Resume,
    NextDay,
    Publish,
}

fn keys() -> Keys {
    static KEYS: std::sync::OnceLock<Keys> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| Keys::random().unwrap()).clone()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = keys();
    let step = prop_oneof![
        4 => (0..4_u8, any_head(&keys), prop::option::of(any_disclosure(&keys)))
            .prop_map(|(form, head, given)| Step::Begin(form, head, given)),
        4 => (any::<u8>(), any_disclosure(&keys)).prop_map(|(of, given)| Step::Window(of, given)),
        3 => (any::<u8>(), any_outcome()).prop_map(|(of, outcome)| Step::Close(of, outcome)),
        2 => (any::<u8>(), any_outcome(), prop::option::of(any_disclosure(&keys)))
            .prop_map(|(of, outcome, given)| Step::Correct(of, outcome, given)),
        1 => Just(Step::Start),
        1 => Just(Step::Resume),
        1 => Just(Step::NextDay),
        1 => Just(Step::Publish),
    ];
    prop::collection::vec(step, 1..25)
}

/// An exchange as the model knows it.
struct ModelExchange {
    head: ExchangeHead,
    /// Each with the pseudonyms of its day.
    disclosures: Vec<(EpochPseudonyms, Disclosure)>,
    outcome: Option<Outcome>,
    /// True if it was recorded as released in one record.
    whole: bool,
    /// True if the first record has the first disclosure.
    begun_with_disclosure: bool,
    /// True if its close says that it was refused: nothing left.
    taken_back: bool,
    process: usize,
}

impl ModelExchange {
    fn expected(&self, epoch: &EpochPseudonyms, running: Option<usize>) -> Value {
        let head = &self.head;
        let mut position = head.position.0;
        let (mut stale, mut records, mut withheld) = (head.stale, 0, 0);
        let (mut subjects, mut released) = (Vec::new(), BTreeSet::new());
        let mut categories: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (epoch, given) in &self.disclosures {
            position = position.max(given.position.0);
            stale |= given.stale;
            records += given.records;
            withheld += given.withheld_records;
            for person in &given.subjects {
                released.insert(person.pseudonym(epoch).to_string());
            }
            for person in given.subjects.iter().chain(&given.withheld_subjects) {
                let name = person.pseudonym(epoch).to_string();
                if !subjects.contains(&name) {
                    subjects.push(name);
                }
            }
            for category in &given.categories {
                add_category(&mut categories, category);
            }
        }
        let outcome = match (self.outcome, running) {
            (Some(outcome), _) => Some(outcome.to_string()),
            (None, Some(process)) if process == self.process => None,
            (None, _) => Some("aborted".to_owned()),
        };
        let mut factors = expected_factors(head);
        let verdict = match outcome.as_deref() {
            Some("refused:subject-withheld") => Some("refuses"),
            _ if subjects.is_empty() => None,
            _ if withheld == 0 => Some("permits"),
            _ if withheld == records => Some("refuses"),
            _ => Some("in-part"),
        };
        factors.extend(verdict.map(|verdict| ("subjects".to_owned(), verdict.into())));
        let withheld_subjects: Vec<_> =
            subjects.iter().filter(|subject| !released.contains(*subject)).cloned().collect();
        let mut expected = json!({
            "decision": head.decision.to_string(), "time": time_of(head.decision),
            "recipient": &*head.recipient, "purpose": &*head.purpose, "route": &*head.route,
            "actor": head.actor.map(|actor| actor.pseudonym(epoch).to_string()),
            "declared": head.declared.as_deref().map(cut), "case": head.case.as_deref().map(cut),
            "operation": head.operation.name(), "policy": &*head.policy, "position": position,
            "outcome": outcome, "records": records, "withheld_records": withheld,
            "subjects": subjects, "withheld_subjects": withheld_subjects,
            "categories": categories, "factors": factors, "gateway": "gateway-1", "mode": head.mode.name(),
        });
        if head.mode == ExchangeMode::Observe {
            // The first record says what the head or its own disclosure says.
            let given = self.disclosures.iter().filter_map(|(_, given)| given.would_refuse);
            let first = if self.begun_with_disclosure { self.disclosures.first() } else { None };
            let first = first.and_then(|(_, given)| given.would_refuse);
            let code = first.or(head.would_refuse).or_else(|| given.clone().next());
            expected["would"] = code.map(|code| json!({ "refused": code })).unwrap_or_default();
        }
        if stale {
            expected["stale"] = true.into();
        }
        if let Some(trace) = head.trace {
            expected["trace"] = trace.to_string().into();
        }
        expected
    }
}

/// The beginning of a text that a record has.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap()
}

fn expected_factors(head: &ExchangeHead) -> Map<String, Value> {
    let verdict = |verdict| if verdict == Verdict::Permits { "permits" } else { "refuses" };
    head.factors.iter().map(|(name, given)| ((*name).to_owned(), verdict(*given).into())).collect()
}

fn add_category(categories: &mut BTreeMap<String, Vec<Value>>, category: &CategoryDisclosure) {
    let name = category.category.as_deref().unwrap_or("unclassified");
    let texts = |texts: &[Arc<str>]| json!(texts.iter().map(|text| &**text).collect::<Vec<_>>());
    let mut entry = json!({
        "form": category.form.name(),
        "basis": category.basis.map(Basis::name),
        "rules": texts(&category.rules), "clauses": texts(&category.clauses),
        "fields": category.fields,
    });
    if let Some(reason) = category.reason {
        entry["reason"] = reason.name().into();
    }
    if let Some(WouldRelease { form, basis: _, reason, rules, clauses }) = &category.would {
        entry["would"] = json!({
            "form": form.name(), "reason": reason.map(Reason::name),
            "rules": texts(rules), "clauses": texts(clauses),
        });
    }
    let entries = categories.entry(name.to_owned()).or_default();
    let alike = |other: &&mut Value| {
        let same = |member: &str| other.get(member) == entry.get(member);
        let would_same = |member: &str| other["would"].get(member) == entry["would"].get(member);
        let is_removed = entry["would"].get("form") == Some(&Form::Removed.name().into());
        other.get("would").is_some() == entry.get("would").is_some()
            && would_same("form")
            && would_same("reason")
            && (!is_removed || would_same("rules"))
            && same("form")
            && same("basis")
            && same("reason")
            && (category.form != Form::Removed || same("rules"))
    };
    match entries.iter_mut().find(alike) {
        Some(other) => {
            other["fields"] = (other["fields"].as_u64().unwrap() + category.fields).into();
            merge_names(other, &entry);
            if entry.get("would").is_some() {
                merge_names(&mut other["would"], &entry["would"]);
            }
        }
        None => entries.push(entry),
    }
}

/// Adds the rules and clauses that an entry does not have yet.
fn merge_names(other: &mut Value, entry: &Value) {
    for member in ["rules", "clauses"] {
        for text in entry[member].as_array().unwrap() {
            if !other[member].as_array().unwrap().contains(text) {
                other[member].as_array_mut().unwrap().push(text.clone());
            }
        }
    }
}

/// Writes a history and returns the model's exchanges, with the pseudonyms of the day on which each began.
#[allow(clippy::too_many_lines, reason = "one arm for each kind of step")]
fn write(log: &mut FolderLog, steps: &[Step]) -> (Vec<(EpochPseudonyms, ModelExchange)>, usize) {
    let mut all: Vec<(EpochPseudonyms, ModelExchange)> = Vec::new();
    let mut process = 0;
    let epoch = |log: &FolderLog| {
        let day = log.time().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
        log.keys.subject_pseudonyms().epoch(&day)
    };
    for step in steps {
        log.now += 7;
        let today = epoch(log);
        // The exchanges that can still be closed or corrected are those of this process.
        let pick = |all: &mut Vec<(EpochPseudonyms, ModelExchange)>, of: u8, whole: bool| {
            let open = all.iter_mut().filter(|(_, one)| {
                one.process == process && one.whole == whole && (whole || one.outcome.is_none())
            });
            let mut open: Vec<_> = open.map(|(_, one)| one).collect();
            let at = usize::from(of) % open.len().max(1);
            (!open.is_empty()).then(|| std::ptr::from_mut(open.swap_remove(at)))
        };
        let position = |one: Option<*mut ModelExchange>, all: &[(EpochPseudonyms, ModelExchange)]| {
            one.and_then(|one| all.iter().position(|(_, other)| std::ptr::eq(other, one)))
        };
        match step {
            Step::Begin(form, head, given) => {
                let head = ExchangeHead { decision: log.id(), ..head.clone() };
                let shared = Arc::new(head.clone());
                let given = given.clone().unwrap_or_default();
                let (record, outcome, whole, disclosed) = match form {
                    0 => (Record::Intent(shared), None, false, None),
                    1 => {
                        (Record::Exchange(shared, given.clone()), Some(Outcome::Released), true, Some(given))
                    }
                    2 => (
                        Record::Window {
                            exchange: ExchangeReference::First(shared),
                            disclosure: given.clone(),
                        },
                        None,
                        false,
                        Some(given),
                    ),
                    _ => {
                        let code = "no-rule-permits";
                        (Record::Refusal(shared, code), Some(Outcome::Refused(code)), false, None)
                    }
                };
                log.push(&record);
                let disclosures = disclosed.map(|given| (today.clone(), given)).into_iter().collect();
                let (taken_back, begun_with_disclosure) = (false, matches!(form, 1 | 2));
                let one = ModelExchange {
                    head,
                    disclosures,
                    outcome,
                    whole,
                    begun_with_disclosure,
                    taken_back,
                    process,
                };
                all.push((today, one));
            }
            Step::Window(of, given) => {
                let one = pick(&mut all, *of, false);
                if let Some(at) = position(one, &all) {
                    let exchange = ExchangeReference::Later(all[at].1.head.decision);
                    log.push(&Record::Window { exchange, disclosure: given.clone() });
                    all[at].1.disclosures.push((today, given.clone()));
                }
            }
            Step::Close(of, outcome) => {
                let one = pick(&mut all, *of, false);
                if let Some(at) = position(one, &all) {
                    let decision = all[at].1.head.decision;
                    log.push(&Record::Close { decision, outcome: *outcome });
                    all[at].1.outcome = Some(*outcome);
                    all[at].1.taken_back = matches!(outcome, Outcome::Refused(_));
                }
            }
            Step::Correct(of, outcome, given) => {
                let one = pick(&mut all, *of, true);
                if let Some(at) = position(one, &all) {
                    let decision = all[at].1.head.decision;
                    let disclosure = given.clone();
                    log.push(&Record::Correction { decision, outcome: *outcome, disclosure });
                    all[at].1.outcome = Some(*outcome);
                    all[at].1.disclosures.extend(given.clone().map(|given| (today, given)));
                }
            }
            Step::Start => {
                log.start();
                process += 1;
            }
            Step::Resume => log.resume(),
            Step::NextDay => log.next_day(),
            Step::Publish => log.publish(),
        }
    }
    (all, process)
}

/// Returns what the model says was disclosed about a person: the categories by decision.
fn accounted(
    all: &[(EpochPseudonyms, ModelExchange)],
    person: &LoggedPerson,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut accounted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, one) in all.iter().filter(|(_, one)| !one.taken_back) {
        let about = one.disclosures.iter().filter(|(_, given)| given.subjects.contains(person));
        let left = about.flat_map(|(_, given)| &given.categories).filter(|category| {
            let basis = category.would.as_ref().map_or(category.basis, |would| would.basis);
            category.form != Form::Removed && basis != Some(Basis::NotPersonal)
        });
        let left: BTreeSet<String> =
            left.map(|one| one.category.as_deref().unwrap_or("unclassified").to_owned()).collect();
        if !left.is_empty() {
            accounted.insert(one.head.decision.to_string(), left);
        }
    }
    accounted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn folding_gives_what_the_model_says(steps in steps()) {
        let mut log = FolderLog::in_folder(tempfile::tempdir().unwrap(), keys());
        let (all, process) = write(&mut log, &steps);
        for running in [true, false] {
            let expected: BTreeMap<Ulid, Value> = all
                .iter()
                .map(|(epoch, one)| (one.head.decision, one.expected(epoch, running.then_some(process))))
                .collect();
            let folded: BTreeMap<Ulid, Value> = log
                .folded(&ExchangeFilter::default(), running)
                .into_iter()
                .map(|one| (Ulid::from_string(one["decision"].as_str().unwrap()).unwrap(), one))
                .collect();
            prop_assert_eq!(&folded, &expected);
            for (id, expected) in &expected {
                let found = decision(LogPlace::unindexed(log.path()), &id.to_string(), running).unwrap();
                prop_assert_eq!(found.as_ref(), Some(expected));
            }
        }
        for number in 0..4 {
            let person = person(&keys(), number);
            let found = accounting(&log.source(), &[person]).unwrap();
            let found: BTreeMap<String, BTreeSet<String>> = found
                .into_iter()
                .map(|one| {
                    (one.decision, one.categories.into_iter().map(|category| category.category).collect())
                })
                .collect();
            prop_assert_eq!(found, accounted(&all, &person));
            let filter = ExchangeFilter {
                subject: Some((vec![person], keys().subject_pseudonyms())),
                ..ExchangeFilter::default()
            };
            let concerned = |(_, one): &&(EpochPseudonyms, ModelExchange)| {
                one.disclosures.iter().any(|(_, given)| {
                    given.subjects.contains(&person) || given.withheld_subjects.contains(&person)
                })
            };
            let expected: BTreeSet<String> =
                all.iter().filter(concerned).map(|(_, one)| one.head.decision.to_string()).collect();
            let found = log.folded(&filter, true);
            let found: BTreeSet<String> =
                found.iter().map(|one| one["decision"].as_str().unwrap().to_owned()).collect();
            prop_assert_eq!(found, expected);
        }
        log.close();
    }
}
