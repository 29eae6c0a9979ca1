//! The size of entries, and the time that they need.

use std::time::Instant;

use super::samples::*;
use crate::disclosure::entry::*;
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

/// Prints the time for each entry: `cargo test --release --lib entry::tests::size -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn time_for_each_entry() {
    let keys = Keys::random().unwrap();
    let given = disclosure([person(&keys, 2)], &CATEGORIES);
    let head = head(ulid::Ulid::generate());
    let record = Record::Exchange(head.into(), given);
    let mut log = MemoryLog::new(&keys);
    log.push(&record, at(1));
    let count = 500_000;
    log.entries.reserve(count);
    let (begin, begun) = (log.entries.len(), Instant::now());
    for number in 0..count {
        log.encoder.encode(&record, at(number as i64), (begin + number) as u64, &mut log.entries);
    }
    let encoded = begun.elapsed();
    let begun = Instant::now();
    let decoded = log.entries.iter().filter(|entry| decode_head(&entry.leaf).is_ok()).count();
    let heads = begun.elapsed();
    let begun = Instant::now();
    let details = log.entries.iter().filter(|entry| {
        decode_head(&entry.leaf).is_ok_and(|head| decode_detail(head.kind, &entry.detail).is_ok())
    });
    let (details, both) = (details.count(), begun.elapsed());
    let each = |time: std::time::Duration, count| time.as_nanos() / count as u128;
    println!(
        "encoding {} ns, head {} ns, head and detail {} ns",
        each(encoded, count),
        each(heads, decoded),
        each(both, details)
    );
}
