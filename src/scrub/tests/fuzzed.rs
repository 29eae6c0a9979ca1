//! The short run of the fuzz targets, over the committed corpus and over mutations of it.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::scrub::fuzzing;

#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    /// Inserts a piece of another input.
    Splice(Index, Index, Index, usize),
    Repeat(Index, usize, usize),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\0-.eu@\n\r\x1e \xff".to_vec())];
    let place = any::<Index>;
    let one = prop_oneof![
        (place(), byte.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (place(), byte).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (place(), 1usize..9).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (place(), place(), place(), 1usize..40)
            .prop_map(|(at, other, from, length)| Mutation::Splice(at, other, from, length)),
        (place(), 1usize..12, 1usize..40).prop_map(|(at, length, times)| Mutation::Repeat(at, length, times)),
    ];
    proptest::collection::vec(one, 0..6)
}

fn mutated(corpus: &[Vec<u8>], first: Index, mutations: &[Mutation]) -> Vec<u8> {
    let piece =
        |bytes: &[u8], from: usize, length: usize| bytes[from..(from + length).min(bytes.len())].to_vec();
    let mut input = first.get(corpus).clone();
    for mutation in mutations {
        let length = input.len();
        let place = |at: &Index| at.index(length + 1);
        match mutation {
            Mutation::Set(at, byte) => {
                let at = place(at);
                if let Some(old) = input.get_mut(at) {
                    *old = *byte;
                }
            }
            Mutation::Insert(at, byte) => {
                let at = place(at);
                input.insert(at, *byte);
            }
            Mutation::Remove(at, length) => {
                let at = place(at);
                input.drain(at..(at + length).min(input.len()));
            }
            Mutation::Splice(at, other, from, length) => {
                let other = other.get(corpus);
                let (at, from) = (place(at), from.index(other.len() + 1));
                input.splice(at..at, piece(other, from, *length));
            }
            Mutation::Repeat(at, length, times) => {
                let at = place(at);
                let piece = piece(&input, at, *length).repeat(*times);
                input.splice(at..at, piece);
            }
        }
    }
    input
}

/// Declares a test for each target: its corpus, and mutations of it.
macro_rules! short_run {
    ($($target:ident: $($name:literal)*;)*) => {
        $(
            #[test]
            fn $target() {
                let corpus: Vec<Vec<u8>> = vec![
                    $(include_bytes!(concat!("../../../fuzz/corpus/", stringify!($target), "/", $name)).to_vec()),*
                ];
                corpus.iter().for_each(|input| fuzzing::$target(input));
                let cases = ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() };
                proptest!(cases, |(first in any::<Index>(), mutations in mutations())| {
                    fuzzing::$target(&mutated(&corpus, first, &mutations));
                });
            }
        )*
    };
}

short_run! {
    query: "broken" "count" "escapes" "filter" "functions" "names" "nested" "not_rfc" "slices";
    walk: "cut" "deep" "escapes" "filters" "list" "numbers" "repeated" "spaced" "surrogates" "words";
    texts: "cut" "events" "lines" "marked" "numbers" "sequence";
    rows: "crlf" "escapes" "marked" "plain" "quoted" "ragged" "single" "twice";
    forms: "address" "date" "email" "instant" "ip" "number" "phone" "place" "pseudonym";
    redact_text: "cards" "email" "ips" "long" "name" "phone" "wide";
}
