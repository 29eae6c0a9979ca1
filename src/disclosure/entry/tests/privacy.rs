//! A leaf shows nothing that only the controller may know.

use std::collections::HashSet;

use proptest::prelude::*;

use super::samples::*;
use crate::disclosure::entry::*;
use crate::disclosure::record::*;
use crate::keys::Keys;

/// Returns the leaf without the commitment.
fn public(entry: &Entry) -> Vec<u8> {
    let hash = commitment(&entry.detail);
    let at = memchr::memmem::find(&entry.leaf, &hash).unwrap();
    let mut leaf = entry.leaf.clone();
    leaf[at..at + 32].fill(0);
    leaf
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Two exchanges that differ in people, counts, categories, factors, actors and what was declared have equal leaves,
    /// once the names are known.
    #[test]
    fn a_leaf_depends_on_the_public_head_only(
        one in any_head(&Keys::random().unwrap()),
        other in any_head(&Keys::random().unwrap()),
        disclosures in [any_disclosure(&Keys::random().unwrap()), any_disclosure(&Keys::random().unwrap())],
    ) {
        let ExchangeHead { actor, holder, declared, case, position, stale, factors, trace, .. } = other;
        let other = ExchangeHead { actor, holder, declared, case, ..one.clone() };
        let other = ExchangeHead { position, stale, factors, trace, ..other };
        let [of_one, of_other] = disclosures;
        let mut log = MemoryLog::new(&Keys::random().unwrap());
        for (head, disclosure) in [(&one, &of_one), (&other, &of_other)] {
            log.push(&Record::Exchange(head.clone().into(), disclosure.clone()), at(1));
        }
        let first = log.push(&Record::Exchange(one.into(), of_one), at(1));
        let second = log.push(&Record::Exchange(other.into(), of_other), at(1));
        prop_assert_eq!(public(&log.entries[first]), public(&log.entries[second]));
    }
}

#[test]
fn a_leaf_does_not_show_how_many_people_its_record_names() {
    let keys = Keys::random().unwrap();
    let mut log = MemoryLog::new(&keys);
    let mut first_leaf = |people: u64| {
        let everybody = (0..people).map(|number| person(&keys, number));
        let mut head = head(ulid::Ulid::nil());
        head.position = crate::ledger::Position(1);
        let record = Record::Exchange(head.into(), disclosure(everybody, &["email"]));
        let index = log.push(&record, at(1));
        public(&log.entries[index])
    };
    first_leaf(1);
    assert_eq!(first_leaf(1), first_leaf(20_000));
}

#[test]
fn equal_records_have_different_commitments() {
    let mut log = MemoryLog::new(&Keys::random().unwrap());
    let record = Record::SecretErasure { secrets: 1, reason: "delivered" };
    let mut leaves = HashSet::new();
    for _ in 0..1_000 {
        let index = log.push(&record, at(1));
        assert!(leaves.insert(log.entries[index].leaf.clone()));
    }
}

#[test]
fn a_person_has_another_pseudonym_each_day() {
    let keys = Keys::random().unwrap();
    let mut log = MemoryLog::new(&keys);
    for number in [1, 2] {
        let record = Record::Window {
            exchange: ExchangeReference::Later(ulid::Ulid::generate()),
            disclosure: disclosure([person(&keys, number)], &[]),
        };
        let today = log.push(&record, at(1));
        log.encoder.continue_day(day().tomorrow().unwrap(), 0, 0);
        let tomorrow = log.push(&record, at(1));
        let pseudonym = |log: &MemoryLog, index: usize| decode(&log.entries[index]).1.subjects[0];
        assert_ne!(pseudonym(&log, today), pseudonym(&log, tomorrow));
        log.encoder.continue_day(day(), 0, 0);
        let again = log.push(&record, at(1));
        assert_eq!(pseudonym(&log, today), pseudonym(&log, again));
    }
}
