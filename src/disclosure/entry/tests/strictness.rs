//! The decoder accepts one encoding of each entry, and nothing else.

use proptest::prelude::*;

use super::samples::*;
use crate::disclosure::entry::*;
use crate::disclosure::record::*;
use crate::keys::Keys;

/// Fails if changed bytes decode to the same entry.
fn check_mutant(entry: &Entry, mutant: &Entry) {
    if entry == mutant {
        return;
    }
    let head = decode_head(&entry.leaf).unwrap();
    let detail = decode_detail(head.kind, &entry.detail).unwrap();
    if let Ok(other) = decode_head(&mutant.leaf)
        && entry.leaf != mutant.leaf
    {
        assert_ne!(head, other);
    }
    if let Ok(other) = decode_detail(head.kind, &mutant.detail)
        && entry.detail.get(SALT..) != mutant.detail.get(SALT..)
    {
        assert_ne!(detail, other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changed_bytes_are_an_error_or_another_entry(
        record in any_record(&Keys::random().unwrap()),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        edit in 0..4_u8,
    ) {
        let mut log = MemoryLog::new(&Keys::random().unwrap());
        log.push(&record, at(1));
        for entry in &log.entries {
            for in_leaf in [true, false] {
                let mut mutant = entry.clone();
                let bytes = if in_leaf { &mut mutant.leaf } else { &mut mutant.detail };
                let at = place.index(bytes.len());
                match edit {
                    0 => bytes[at] ^= byte,
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
                check_mutant(entry, &mutant);
            }
        }
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..19_u64) {
        let _ = decode_head(&bytes);
        let _ = decode_detail(EntryKind::from_number(kind).unwrap(), &bytes);
    }
}

#[test]
fn every_bit_of_an_exchange_counts() {
    let keys = Keys::random().unwrap();
    let mut log = MemoryLog::new(&keys);
    let given = disclosure([person(&keys, 1), person(&keys, 2)], &["email", "name"]);
    log.push(&Record::Exchange(head(ulid::Ulid::generate()).into(), given), at(1));
    for entry in &log.entries {
        for bit in 0..entry.leaf.len() * 8 {
            let mut mutant = entry.clone();
            mutant.leaf[bit / 8] ^= 1 << (bit % 8);
            check_mutant(entry, &mutant);
        }
        for bit in 0..entry.detail.len() * 8 {
            let mut mutant = entry.clone();
            mutant.detail[bit / 8] ^= 1 << (bit % 8);
            check_mutant(entry, &mutant);
        }
    }
}

/// Leaves that another encoder of CBOR could write for the same values.
#[test]
fn other_encodings_of_the_same_values_are_refused() {
    let stop = |time: &[u8]| [&[0xa3, 0, 3, 1], time, &[2, 0x58, 32], &[0; 32]].concat();
    assert_eq!(decode_head(&stop(&[23])).unwrap().time, 23);
    assert_eq!(decode_head(&stop(&[0x19, 1, 0])).unwrap().time, 256);
    for time in
        [&[0x18, 23][..], &[0x19, 0, 23], &[0x1a, 0, 0, 1, 0], &[0x1b, 0, 0, 0, 0, 1, 0, 0, 0], &[0x1c]]
    {
        assert!(decode_head(&stop(time)).is_err(), "{time:x?}");
    }
    let good = stop(&[5]);
    let (kind, time, hash) = (&good[1..3], &good[3..5], &good[5..]);
    for (name, leaf) in [
        ("order", [&[0xa3], time, kind, hash].concat()),
        ("twice", [&[0xa4], kind, time, time, hash].concat()),
        ("indefinite", [&[0xbf], kind, time, hash, &[0xff]].concat()),
        ("wide head", [&[0xb8, 3], kind, time, hash].concat()),
        ("trailing", [&good[..], &[0]].concat()),
        ("few", [&[0xa2], kind, time, hash].concat()),
        ("many", [&[0xa4], kind, time, hash].concat()),
        ("tag", [&[0xc0, 0xa3], kind, time, hash].concat()),
        ("wide key", [&[0xa3, 0x18, 0, 3], time, hash].concat()),
        ("unknown", [&[0xa4], kind, time, hash, &[23, 0]].concat()),
        ("false", [&[0xa4], kind, time, hash, &[21, 0xf4]].concat()),
        ("no hash", [&[0xa2], kind, time].concat()),
        ("empty", Vec::new()),
        ("not a map", vec![0]),
    ] {
        assert!(decode_head(&leaf).is_err(), "{name}");
    }
    let salted = |map: &[u8]| [&[9; SALT], map].concat();
    let detail = |map: &[u8]| decode_detail(EntryKind::Window, &salted(map)).map(|detail| detail.is_some());
    assert_eq!(detail(&[0xa0]), Ok(true));
    assert_eq!(decode_detail(EntryKind::Window, &[]), Ok(None), "deleted");
    for map in [
        &[][..],
        &[0xa1, 2, 0],
        &[0xa1, 1, 0xf4],
        &[0xa1, 4, 0x80],
        &[0xa1, 4, 0x81, 0x81, 1],
        &[0xa1, 4, 0x81, 0x83, 1, 1, 1],
        &[0xa1, 4, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xa1, 5, 0x40],
        &[0xa1, 5, 0x4b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xa1, 9, 0x61, 0xff],
        &[0xa1, 9, 0x7f, 0xff],
        &[0xa1, 26, 0],
        &[0xa1, 0x18, 26, 0],
    ] {
        assert!(detail(map).is_err(), "{map:x?}");
    }
    assert!(decode_detail(EntryKind::Window, &[9; SALT - 1]).is_err());
}
