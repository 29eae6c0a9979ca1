//! The size of entries.

#![allow(clippy::print_stdout, reason = "a measurement")]

use super::samples::*;
use crate::disclosure::record::*;
use crate::keys::Keys;

const CATEGORIES: [&str; 8] =
    ["name", "email", "phone", "address", "billing", "usage", "contract", "identifier"];

#[test]
fn an_exchange_about_one_person_takes_at_most_350_bytes() {
    let keys = Keys::random().unwrap();
    let mut log = MemoryLog::new(&keys);
    let given = disclosure([person(&keys, 2)], &CATEGORIES);
    let head = ExchangeHead {
        actor: Some(person(&keys, 4)),
        case: Some("C-1042".into()),
        ..head(ulid::Ulid::generate())
    };
    let record = Record::Exchange(head.into(), given);
    // The numbers of terms are long, as they are late in a day.
    log.encoder.resume(50_000_000, at(0), at(80_000_000), &mut log.entries);
    log.encoder.encode(&record, at(80_000_000), 50_000_001, &mut log.entries);
    log.encoder.encode(&record, at(80_000_000), 90_000_000, &mut log.entries);
    let last = log.entries.last().unwrap();
    let framed = last.leaf.len() + last.detail.len() + 4;
    println!("an exchange: leaf {}, detail {}, framed {framed} bytes", last.leaf.len(), last.detail.len());
    assert!(framed <= 350, "{framed}");
}
