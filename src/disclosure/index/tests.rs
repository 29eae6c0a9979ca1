//! Tests of the database alone. `questions` tests it with a log.

use jiff::civil::date;
use ulid::Ulid;

use super::schema::RUN_POSTINGS;
use super::writer::{ExchangePlace, IndexWriter, IndexedEntry};
use super::*;
use crate::keys::Pseudonym;

fn facets(recipient: &str, outcome: &str) -> Facets {
    Facets {
        recipient: recipient.into(),
        purpose: "support".into(),
        route: "customers".into(),
        operation: "disclose".into(),
        outcome: outcome.into(),
    }
}

fn pseudonym(person: u64) -> Pseudonym {
    let mut bytes = [7; 12];
    bytes[..8].copy_from_slice(&person.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Pseudonym::from_bytes(bytes)
}

const MIDNIGHT: u64 = 1_795_910_400_000;

fn decision(entry: u64) -> Ulid {
    Ulid::from_parts(MIDNIGHT + entry, u128::from(entry))
}

fn exchange(writer: &mut IndexWriter, entry: u64, recipient: &str, person: u64) {
    let place = ExchangePlace::Begins { facets: facets(recipient, "released"), open: false };
    let people = [pseudonym(person)];
    let added = IndexedEntry { entry, decision: decision(entry), place, case: None, people: &people };
    writer.add(added).unwrap();
}

fn state(size: u64) -> IndexedState {
    IndexedState { origin: "g/1".to_owned(), size, root: [3; 32], first: 0 }
}

/// An index in a temporary folder.
struct Indexed {
    folder: tempfile::TempDir,
}

impl Indexed {
    fn new() -> Indexed {
        Indexed { folder: tempfile::tempdir().unwrap() }
    }

    fn writer(&self) -> IndexWriter {
        IndexWriter::open(&file(self.folder.path(), "g/1")).unwrap()
    }

    fn reader(&self) -> LogIndex {
        LogIndex::open(self.folder.path(), "g/1").unwrap().unwrap()
    }

    fn person(&self, person: u64) -> Vec<u64> {
        self.reader().person(|_| vec![pseudonym(person)]).unwrap()
    }
}

#[test]
fn exchanges_are_found_by_person_decision_case_and_names() {
    let indexed = Indexed::new();
    assert!(LogIndex::open(indexed.folder.path(), "g/1").unwrap().is_none());
    let mut writer = indexed.writer();
    writer.begin().unwrap();
    writer.begin_day(date(2026, 11, 29), 0).unwrap();
    for entry in 2..2000 {
        exchange(&mut writer, entry, if entry % 100 == 0 { "rare" } else { "acme" }, entry % 10);
    }
    let place = ExchangePlace::Begins { facets: facets("acme", ""), open: true };
    let cited = Some("C-1");
    let open = IndexedEntry { entry: 2000, decision: decision(2000), place, case: cited, people: &[] };
    writer.add(open).unwrap();
    writer.commit(&state(2001)).unwrap();
    assert!(matches!(IndexWriter::open(&file(indexed.folder.path(), "g/1")), Err(IndexError::InUse(_))));
    let reader = indexed.reader();
    assert_eq!(*reader.state(), state(2001));
    assert_eq!(reader.decision(decision(77)).unwrap(), [77]);
    assert!(reader.decision(decision(1)).unwrap().is_empty());
    let of_five: Vec<u64> = (2..2000).rev().filter(|entry| entry % 10 == 5).collect();
    assert_eq!(indexed.person(5), of_five);
    assert_eq!(reader.case("C-1").unwrap(), [2000]);
    assert!(reader.case("C-2").unwrap().is_empty());
    let of = |recipient: Option<&str>, outcome: Option<&str>| {
        let filter = FacetFilter {
            recipient: recipient.map(str::to_owned),
            outcome: outcome.map(str::to_owned),
            ..FacetFilter::default()
        };
        let reader = indexed.reader();
        let facets = reader.facets(&filter).unwrap().unwrap();
        let (mut found, mut below) = (Vec::new(), u64::MAX >> 1);
        while below > 0 {
            let (more, next) = reader.facet_entries(&facets, below).unwrap();
            found.extend(more);
            below = next;
        }
        found
    };
    assert_eq!(of(Some("rare"), None), (1..20).rev().map(|n| n * 100).collect::<Vec<_>>());
    assert_eq!(of(None, None), (2..=2000).rev().collect::<Vec<_>>());
    assert_eq!(of(None, Some("")), [2000]);
    assert!(of(Some("nobody"), None).is_empty());
    // The exchange that was open ends in another transaction, and is found under its outcome.
    writer.begin().unwrap();
    let people = [pseudonym(5)];
    let window = IndexedEntry {
        entry: 2001,
        decision: decision(2000),
        place: ExchangePlace::Continues,
        case: None,
        people: &people,
    };
    writer.add(window).unwrap();
    let place = ExchangePlace::Ends("aborted".into());
    let end = |entry, decision, place| IndexedEntry { entry, decision, place, case: None, people: &[] };
    writer.add(end(2002, decision(2000), place)).unwrap();
    // An exchange that was recorded as released is corrected.
    let place = ExchangePlace::Ends("aborted".into());
    writer.add(end(2003, decision(512), place)).unwrap();
    writer.commit(&state(2004)).unwrap();
    assert_eq!(of(None, Some("aborted")), [2000, 512]);
    assert_eq!(indexed.reader().decision(decision(2000)).unwrap(), [2000, 2001, 2002]);
    assert_eq!(indexed.person(5)[..2], [2000, 1995]);
}

#[test]
fn an_exchange_is_open_until_a_process_has_died_also_for_a_writer_that_opened_the_index_again() {
    let indexed = Indexed::new();
    let mut writer = indexed.writer();
    writer.begin().unwrap();
    writer.begin_day(date(2026, 11, 29), 0).unwrap();
    let place = ExchangePlace::Begins { facets: facets("acme", ""), open: true };
    let open = IndexedEntry { entry: 5, decision: decision(5), place, case: None, people: &[] };
    writer.add(open).unwrap();
    writer.commit(&state(6)).unwrap();
    // A transaction that does not end has no effect.
    writer.begin().unwrap();
    exchange(&mut writer, 6, "acme", 1);
    drop(writer);
    assert!(indexed.person(1).is_empty());
    let mut writer = indexed.writer();
    writer.begin().unwrap();
    writer.abort_open().unwrap();
    exchange(&mut writer, 6, "acme", 1);
    writer.commit(&state(7)).unwrap();
    let filter = FacetFilter { outcome: Some("aborted".to_owned()), ..FacetFilter::default() };
    let reader = indexed.reader();
    let facets = reader.facets(&filter).unwrap().unwrap();
    assert_eq!(reader.facet_entries(&facets, 100).unwrap(), (vec![5], 0));
    assert_eq!(indexed.person(1), [6]);
}

#[test]
fn pruned_days_leave_the_index() {
    let indexed = Indexed::new();
    let mut writer = indexed.writer();
    writer.begin().unwrap();
    let days = [date(2026, 11, 27), date(2026, 11, 28), date(2026, 11, 29)];
    for (number, day) in (0..).zip(days) {
        let first = number * 51_200;
        writer.begin_day(day, first).unwrap();
        for entry in first + 2..first + 51_200 {
            let place = ExchangePlace::Begins { facets: facets("acme", "released"), open: false };
            let people = [pseudonym(entry)];
            // Ids of this day.
            let id = Ulid::from_parts(MIDNIGHT - 86_400_000 * (2 - number), u128::from(entry));
            writer
                .add(IndexedEntry { entry, decision: id, place, case: Some("C"), people: &people })
                .unwrap();
        }
    }
    writer.commit(&state(153_600)).unwrap();
    let size = |indexed: &Indexed| std::fs::metadata(file(indexed.folder.path(), "g/1")).unwrap().len();
    assert_eq!(indexed.person(102_399), [102_399]);
    writer.prune(102_400, days[2]).unwrap();
    let pruned = size(&indexed);
    assert_eq!(indexed.reader().state().first, 102_400);
    assert!(indexed.person(102_399).is_empty() && indexed.person(2).is_empty());
    assert_eq!(indexed.person(102_402), [102_402]);
    assert_eq!(indexed.reader().case("C").unwrap().len(), 51_198);
    let ids = |number: u64, entry: u64| {
        let id = Ulid::from_parts(MIDNIGHT - 86_400_000 * (2 - number), u128::from(entry));
        indexed.reader().decision(id).unwrap().len()
    };
    assert_eq!((ids(0, 700), ids(1, 60_000), ids(2, 110_000)), (0, 0, 1));
    writer.prune(153_600, date(2026, 11, 30)).unwrap();
    assert!(size(&indexed) < pruned, "the space is given back");
}

#[test]
fn a_file_that_is_no_index_is_replaced() {
    let indexed = Indexed::new();
    let path = file(indexed.folder.path(), "g/1");
    std::fs::write(&path, "not a database, and longer than the header of one. ".repeat(10)).unwrap();
    assert!(LogIndex::open(indexed.folder.path(), "g/1").is_err());
    let mut writer = indexed.writer();
    assert_eq!(writer.state().unwrap(), None);
    writer.begin().unwrap();
    writer.begin_day(date(2026, 11, 29), 0).unwrap();
    exchange(&mut writer, 2, "acme", 1);
    writer.commit(&state(3)).unwrap();
    assert_eq!(indexed.person(1), [2]);
    let writer = writer.clear().unwrap();
    assert_eq!(writer.state().unwrap(), None);
    assert!(LogIndex::open(indexed.folder.path(), "g/1").unwrap().is_none());
    assert!(LogIndex::open(indexed.folder.path(), "another").unwrap().is_none());
}

#[test]
fn a_run_ends_when_it_is_full() {
    let indexed = Indexed::new();
    let mut writer = indexed.writer();
    writer.begin().unwrap();
    writer.begin_day(date(2026, 11, 29), 0).unwrap();
    let people: Vec<Pseudonym> = (0..=RUN_POSTINGS).map(pseudonym).collect();
    let part = |entry, people| IndexedEntry {
        entry,
        decision: decision(entry),
        place: ExchangePlace::Continues,
        case: None,
        people,
    };
    writer.add(part(3, &people)).unwrap();
    writer.add(part(4, &people[..1])).unwrap();
    writer.commit(&state(5)).unwrap();
    let reader = indexed.reader();
    assert_eq!(reader.person(|day| vec![pseudonym(u64::from(day != date(2026, 11, 29)))]).unwrap(), [4, 3]);
    assert_eq!(indexed.person(RUN_POSTINGS), [3]);
}
