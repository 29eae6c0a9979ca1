//! Counting over windows, restarts, bounds and files.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::date;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::decision::PersonFacts;
use crate::decision::circumstance::line::LineOf;
use crate::decision::testing::one_partner;
use crate::decision::{
    AdmissionRequest, Classes, Controller, Decisions, LegalReference, RecipientFacts, RecordFacts,
    Relationship, Subject, UnknownSubject,
};
use crate::vocabulary::{EEA, Safeguard};

const DAY: Date = date(2026, 11, 29);

/// An exchange, and the facts about people in several states.
struct Rig {
    decisions: Decisions,
    request: AdmissionRequest,
    classes: Classes,
    admitted: Arc<Admitted>,
    route: Arc<str>,
    region: Arc<str>,
    people: Vec<PersonFacts>,
}

impl Rig {
    fn new() -> Rig {
        let pack = one_partner();
        let words = pack.vocabulary();
        let purpose = words.purposes().find("customer-support").unwrap();
        let recipient = RecipientFacts {
            name: "support".into(),
            kind: words.kinds().find("employee").unwrap(),
            country: Some("DE".into()),
            region: None,
            purposes: vec![purpose],
            agreement: true,
            safeguard: Safeguard::None,
            suspended: false,
        };
        let request = AdmissionRequest {
            recipient: Arc::new(recipient),
            purpose,
            operation: Operation::Disclose,
            exporter_region: EEA.into(),
            upstream_backup: false,
            legal_reference: LegalReference::None,
        };
        let sets = ["name", "email"].map(|name| vec![words.categories().find(name).unwrap()]);
        let classes = Classes::new([sets.to_vec(), vec![vec![]]].concat(), false);
        let decisions = Decisions::new(Arc::clone(&pack));
        let admitted = Arc::new(decisions.admit(&request, &classes).unwrap());
        let judge = |known: Option<&Subject>| {
            let (controller, record, relationship) =
                (Controller::default(), RecordFacts::default(), Relationship::default());
            let (unknown, now) = (UnknownSubject::Withhold, Timestamp::UNIX_EPOCH);
            admitted.judge_person_with_facts(known, unknown, &controller, &record, relationship, now).1
        };
        let erased = Subject { erased: true, ..Subject::default() };
        let people =
            vec![judge(Some(&Subject::default())), judge(Some(&erased)), judge(None), PersonFacts::Nobody];
        let (route, region) = ("customers".into(), EEA.into());
        Rig { decisions, request, classes, admitted, route, region, people }
    }

    fn exchange(&self) -> CountedExchange<'_> {
        CountedExchange {
            admitted: Some(&self.admitted),
            route: &self.route,
            operation: Operation::Disclose,
            exporter_region: &self.region,
        }
    }

    /// Counts records, each given by the numbers of its people and of its classes.
    fn window(&self, records: &[(Vec<usize>, [u32; 3])]) -> WindowCircumstances {
        let mut window = WindowCircumstances::default();
        for (people, fields) in records {
            let people = people.iter().map(|number| self.people[*number].clone()).collect();
            let number = window.number(people);
            window.begin(number);
            window.end(fields);
        }
        window
    }
}

fn counts(folder: &Path) -> CircumstanceCounts {
    CircumstanceCounts {
        folder: folder.to_owned(),
        recent: DashMap::new(),
        days: Mutex::default(),
        failures: IntCounter::new("failures", "Failures.").unwrap(),
        warned: LogLimit::new(),
    }
}

/// Returns the records of a day by description, without a minimum.
fn recorded(counts: &CircumstanceCounts) -> BTreeMap<String, u64> {
    let days = counts.collect(DAY);
    days[&DAY].described().map(|(description, records)| (description.to_owned(), records)).collect()
}

type Seen = (Vec<usize>, [u32; 3]);

fn seen() -> impl Strategy<Value = Vec<Seen>> {
    let people = prop::collection::vec(0..4usize, 1..3);
    prop::collection::vec((people, prop::array::uniform3(0..2u32)), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn windows_count_each_record_once_in_any_order_and_chunks(
        mut records in seen(),
        sizes in prop::collection::vec(1..9usize, 60),
        order in any::<u64>(),
    ) {
        let rig = Rig::new();
        let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let whole = counts(one.path());
        whole.count(rig.exchange(), &rig.window(&records), DAY);
        // The same records in another order, in windows that are merged from parts.
        records.sort_by_key(|record| order.wrapping_mul(record.0.len() as u64 + u64::from(record.1[0])));
        let chunked = counts(other.path());
        let mut rest = records.as_slice();
        for pair in sizes.chunks(2) {
            let mut window = WindowCircumstances::default();
            for size in pair {
                let (part, later) = rest.split_at((*size).min(rest.len()));
                window.merge(rig.window(part));
                rest = later;
            }
            chunked.count(rig.exchange(), &window, DAY);
            drop(chunked.collect(DAY));
        }
        prop_assert!(rest.is_empty());
        let (counted, again) = (recorded(&whole), recorded(&chunked));
        prop_assert_eq!(counted.values().sum::<u64>(), records.len() as u64);
        prop_assert_eq!(counted, again);
    }
}

#[test]
fn nested_records_end_in_their_own_circumstances() {
    let rig = Rig::new();
    let mut window = WindowCircumstances::default();
    let [outer, inner] = [0, 1].map(|at| window.number([rig.people[at].clone()].into_iter().collect()));
    window.begin(outer);
    window.begin(inner);
    window.end(&[1, 0, 0]);
    window.begin(inner);
    window.end(&[1, 0, 0]);
    window.end(&[0, 1, 0]);
    let found: Vec<(RecordPeople, u64)> =
        window.iter().map(|(of, records)| (of.unwrap().0.clone(), records)).collect();
    assert_eq!(
        found,
        [
            ([rig.people[1].clone()].into_iter().collect(), 2),
            ([rig.people[0].clone()].into_iter().collect(), 1)
        ]
    );
}

#[test]
fn a_restart_goes_on_with_the_counts_of_the_day() {
    let (rig, folder) = (Rig::new(), TempDir::new().unwrap());
    let records = vec![(vec![0], [1, 1, 0]); 4];
    for total in [4, 8, 12] {
        let counts = counts(folder.path());
        counts.count(rig.exchange(), &rig.window(&records), DAY);
        counts.write(DAY);
        assert_eq!(recorded(&counts).values().copied().collect::<Vec<_>>(), [total]);
        let lines = lines(folder.path(), DAY);
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line.records, total);
        let is_rare = matches!(line.of, LineOf::Rare(_));
        assert_eq!(is_rare, total < 5, "{line:?}");
    }
    // Yesterday's counts are written, and leave the memory.
    let counts = counts(folder.path());
    counts.count(rig.exchange(), &rig.window(&records), DAY);
    let tomorrow = DAY.tomorrow().unwrap();
    counts.write(tomorrow);
    assert_eq!(lines(folder.path(), DAY)[0].records, 16);
    assert_eq!(counts.days.lock().unwrap().keys().copied().collect::<Vec<_>>(), [tomorrow]);
    assert_eq!(counts.days(tomorrow), [DAY, tomorrow]);
    assert_eq!(counts.lines(DAY, tomorrow)[0].records, 16);
}

#[test]
fn circumstances_beyond_the_bound_are_counted_by_route() {
    let mut days = BTreeMap::new();
    let folder = TempDir::new().unwrap();
    let day = DayCounts::of(&mut days, DAY, folder.path());
    let description = |number: usize| Arc::from(format!("{number}"));
    for number in 0..MAX_CIRCUMSTANCES + 3 {
        day.add("customers", Some(&description(number)), 1);
    }
    day.add("customers", Some(&description(0)), 1);
    day.add("orders", None, 1);
    assert_eq!(day.described().count(), MAX_CIRCUMSTANCES);
    let others: Vec<(String, u64)> = day
        .lines()
        .into_iter()
        .filter_map(|line| match line.of {
            LineOf::Other(route) => Some((route, line.records)),
            LineOf::Seen(_) | LineOf::Rare(_) => None,
        })
        .collect();
    assert_eq!(others, [("customers".to_owned(), 3), ("orders".to_owned(), 1)]);

    // Long descriptions fill the file before there are as many.
    let mut days = BTreeMap::new();
    let day = DayCounts::of(&mut days, DAY, folder.path());
    for number in 0..100 {
        day.add("customers", Some(&Arc::from(format!("{number}{}", "x".repeat(1 << 20)))), 1);
    }
    let bytes: usize = day.described().map(|(description, _)| description.len()).sum();
    assert!((40 << 20..=48 << 20).contains(&bytes), "{bytes}");
    assert_eq!(
        day.lines().iter().map(|line| line.records).sum::<u64>(),
        100 - day.described().count() as u64
    );

    // A window tells a bounded number apart, and loses no record.
    let rig = Rig::new();
    let mut window = WindowCircumstances::default();
    for fields in 0..1000u32 {
        let number = window.number([rig.people[0].clone()].into_iter().collect());
        window.begin(number);
        window.end(&(0..10).map(|bit| fields >> bit & 1).collect::<Vec<_>>());
    }
    assert_eq!(window.iter().map(|(_, records)| records).sum::<u64>(), 1000);
    assert_eq!(window.iter().filter(|(of, _)| of.is_none()).count(), 1);
    assert!(window.iter().count() <= 257);
}

#[test]
fn cases_of_one_scope_are_one_circumstance_until_the_next_collection() {
    let (rig, folder) = (Rig::new(), TempDir::new().unwrap());
    let counts = counts(folder.path());
    let citing = |categories: &[&str]| {
        let words = rig.decisions.pack().vocabulary().categories();
        let covered = categories.iter().map(|name| words.find(name).unwrap()).collect();
        let legal_reference = LegalReference::Categories(covered);
        let request = AdmissionRequest { legal_reference, ..rig.request.clone() };
        Arc::new(rig.decisions.admit(&request, &rig.classes).unwrap())
    };
    let window = rig.window(&[(vec![0], [1, 0, 0]), (vec![1], [1, 1, 0])]);
    for scope in [&["name"][..], &["name"], &["email"], &["name"]] {
        let admitted = citing(scope);
        counts.count(CountedExchange { admitted: Some(&admitted), ..rig.exchange() }, &window, DAY);
    }
    assert_eq!(counts.recent.len(), 4, "two circumstances under two scopes");
    // Records that are not told apart have one entry a route, which keeps nothing of the exchange.
    let mut untold = WindowCircumstances::default();
    let nobody = untold.number(RecordPeople::default());
    untold.begin(nobody);
    untold.end(&[1, 0, 0]);
    let admitted = [citing(&["name"]), citing(&["email"])];
    for (admitted, operation) in admitted.iter().zip([Operation::Disclose, Operation::Alter]) {
        let exchange = CountedExchange { admitted: Some(admitted), operation, ..rig.exchange() };
        counts.count(exchange, &untold, DAY);
    }
    assert_eq!(counts.recent.len(), 5);
    assert!(admitted.iter().all(|admitted| Arc::strong_count(admitted) == 1));
}

#[test]
fn a_folder_that_cannot_be_written_stops_nothing() {
    let (rig, outer) = (Rig::new(), TempDir::new().unwrap());
    let file = outer.path().join("file");
    std::fs::write(&file, "").unwrap();
    let counts = counts(&file);
    for days in 0..6 {
        let day = DAY.checked_add(jiff::Span::new().days(days)).unwrap();
        counts.count(rig.exchange(), &rig.window(&vec![(vec![0], [1, 0, 0]); 6]), day);
        counts.write(day);
    }
    assert_eq!(counts.failures.get(), 6);
    assert_eq!(counts.days.lock().unwrap().len(), MAX_DAYS_HELD);
    // When the folder can be written, what is in memory is.
    std::fs::remove_file(&file).unwrap();
    let last = DAY.checked_add(jiff::Span::new().days(5)).unwrap();
    counts.write(last);
    assert_eq!(counts.failures.get(), 6);
    assert_eq!(lines(&file, last)[0].records, 6);
}

#[test]
fn old_and_foreign_files() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("notes.json"), "mine").unwrap();
    std::fs::write(folder.path().join("circumstances-2026-11-29.json"), "{").unwrap();
    let counts = counts(folder.path());
    let aside = folder.path().join("circumstances-2026-11-29.unreadable");
    for day in 0..40 {
        counts.write(DAY.checked_add(jiff::Span::new().days(day)).unwrap());
        if day == 29 {
            assert_eq!(std::fs::read_to_string(&aside).unwrap(), "{", "it is not replaced");
        }
    }
    assert!(!aside.exists(), "it is kept as long as the counts are");
    let kept = days(folder.path()).unwrap();
    assert_eq!((kept.len(), kept[0]), (30, date(2026, 12, 9)));
    assert!(folder.path().join("notes.json").exists());
    assert_eq!(days(&folder.path().join("none")).unwrap(), []);
}
