//! The tokens of JSON, scanned in place.
//!
//! The functions do not know where a token stands in a document. Each takes the bytes that have arrived, and returns
//! one of three results: the token is whole, may continue, or is malformed. Nothing is copied or allocated, except
//! for strings with escapes that are decoded. The bytes are known to be UTF-8.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use wide::u8x16;

/// The result of scanning a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The token ends before this offset.
    Whole(usize),
    /// The bytes end inside of the token. Up to this offset they are well-formed and need not be scanned again.
    Partial(usize),
    /// The byte at this offset is malformed.
    Wrong(usize),
}

/// True for the four bytes of JSON white space.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Returns the first offset, starting with `at`, whose byte is not white space.
#[inline(always)]
pub(super) fn space(bytes: &[u8], mut at: usize) -> usize {
    // Usually there is no white space.
    while bytes.get(at).is_some_and(|&byte| byte <= b' ' && is_space(byte)) {
        at += 1;
    }
    at
}

/// Returns one bit for each byte that is a quote, a backslash or a control character. Uses the vectors of the `wide`
/// crate, because those of the standard library need `unsafe`.
#[inline(always)]
fn special(bytes: [u8; 16]) -> u32 {
    let bytes = u8x16::from(bytes);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    let control = bytes.simd_le(u8x16::splat(0x1f));
    (quote | backslash | control).to_bitmask()
}

/// Scans a string to the end of its closing quote. `at` is an offset inside of the string, but not inside of an escape. Sets
/// `escaped` if there is an escape.
#[inline(always)]
pub(super) fn string(bytes: &[u8], at: usize, escaped: &mut bool) -> Scan {
    let mut rest = bytes.get(at..).unwrap_or_default();
    loop {
        if let Some((next, after)) = rest.split_first_chunk() {
            let marks = special(*next);
            if marks == 0 {
                rest = after;
                continue;
            }
            rest = rest.get(marks.trailing_zeros() as usize..).unwrap_or_default();
        }
        let at = bytes.len() - rest.len();
        match rest.first() {
            Some(b'"') => return Scan::Whole(at + 1),
            None => return Scan::Partial(at),
            Some(b'\\') => {
                *escaped = true;
                match escape(bytes, at) {
                    Scan::Whole(next) => rest = bytes.get(next..).unwrap_or_default(),
                    short => return short,
                }
            }
            Some(0..0x20) => return Scan::Wrong(at),
            Some(_) => rest = rest.get(1..).unwrap_or_default(),
        }
    }
}

/// Scans one escape from its backslash on.
fn escape(bytes: &[u8], at: usize) -> Scan {
    match bytes.get(at + 1) {
        None => Scan::Partial(at),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Scan::Whole(at + 2),
        Some(b'u') => {
            for digit in at + 2..at + 6 {
                match bytes.get(digit) {
                    None => return Scan::Partial(at),
                    Some(byte) if byte.is_ascii_hexdigit() => {}
                    Some(_) => return Scan::Wrong(digit),
                }
            }
            Scan::Whole(at + 6)
        }
        Some(_) => Scan::Wrong(at + 1),
    }
}

/// Scans a number. It is whole only if the byte after it has arrived, or if `last` is true and no byte follows.
#[inline(always)]
pub(super) fn number(bytes: &[u8], start: usize, last: bool) -> Scan {
    let mut at = start;
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    // Returns the end of a run of one or more digits, or the result of the scan if there is no digit.
    let some_digits = |from: usize| {
        let end = digits(from);
        if end > from {
            Ok(end)
        } else if end == bytes.len() && !last {
            Err(Scan::Partial(start))
        } else {
            Err(Scan::Wrong(end))
        }
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    if bytes.get(at) == Some(&b'0') {
        at += 1;
    } else {
        match some_digits(at) {
            Ok(end) => at = end,
            Err(scan) => return scan,
        }
    }
    if bytes.get(at) == Some(&b'.') {
        match some_digits(at + 1) {
            Ok(end) => at = end,
            Err(scan) => return scan,
        }
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        match some_digits(at) {
            Ok(end) => at = end,
            Err(scan) => return scan,
        }
    }
    if at == bytes.len() && !last { Scan::Partial(start) } else { Scan::Whole(at) }
}

/// Scans `true`, `false` or `null`, whichever begins with `first`. Returns `None` if none of them does.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize, first: u8) -> Option<Scan> {
    match first {
        b't' => Some(literally(bytes, at, b"true")),
        b'f' => Some(literally(bytes, at, b"false")),
        b'n' => Some(literally(bytes, at, b"null")),
        _ => None,
    }
}

/// Scans one of the literal names.
#[inline(always)]
fn literally(bytes: &[u8], at: usize, word: &[u8]) -> Scan {
    let here = bytes.get(at..).unwrap_or_default();
    if here.starts_with(word) {
        return Scan::Whole(at + word.len());
    }
    match here.iter().zip(word).position(|(is, must)| is != must) {
        Some(wrong) => Scan::Wrong(at + wrong),
        None => Scan::Partial(at),
    }
}

/// Decodes the text between the quotes of a well-formed string.
///
/// A lone surrogate, which a JSON escape can denote but UTF-8 cannot encode, is decoded to three bytes as in WTF-8.
/// Returns false if the text has one.
pub(super) fn unescape(spelled: &[u8], into: &mut Vec<u8>) -> bool {
    let mut paired = true;
    let mut at = 0;
    while let Some(&byte) = spelled.get(at) {
        if byte != b'\\' {
            into.push(byte);
            at += 1;
            continue;
        }
        let plain = match spelled.get(at + 1) {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (point, length) = code_point(spelled, at);
                paired &= push_point(point, into);
                at += length;
                continue;
            }
            Some(&itself) => itself,
            None => return paired,
        };
        into.push(plain);
        at += 2;
    }
    paired
}

/// Returns the bytes that a string denotes, given the string with its quotes.
pub(super) fn unquoted(text: &[u8]) -> Cow<'_, [u8]> {
    denoted(text.get(1..text.len().saturating_sub(1)).unwrap_or_default())
}

/// Returns the bytes that a string denotes, given the text between its quotes.
pub(super) fn denoted(inner: &[u8]) -> Cow<'_, [u8]> {
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut bytes = Vec::with_capacity(inner.len());
    unescape(inner, &mut bytes);
    Cow::Owned(bytes)
}

/// Replaces the JSON text that begins at the offset `from` of `out` by a JSON string that holds it, and repeats this
/// `times` times.
pub(super) fn quote(out: &mut Vec<u8>, from: usize, times: u8) {
    for _ in 0..times {
        let text = out.split_off(from);
        out.push(b'"');
        for byte in text {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                // A JSON text has no other control characters, in strings or between tokens.
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
}

/// Returns the offset after the comma that follows `at`, possibly after white space. Returns `at` if no comma
/// follows.
pub(super) fn after_comma(bytes: &[u8], at: usize) -> usize {
    let comma = space(bytes, at);
    if bytes.get(comma) == Some(&b',') { comma + 1 } else { at }
}

/// Returns the code point that the escape at `at` spells, with a surrogate pair joined, and the length of the escape.
fn code_point(spelled: &[u8], at: usize) -> (u32, usize) {
    let unit = |at: usize| {
        let digits = spelled.get(at + 2..at + 6)?;
        if spelled.get(at..at + 2)? != b"\\u" {
            return None;
        }
        digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)?))
    };
    let high = unit(at).unwrap_or(0xfffd);
    match unit(at + 6) {
        Some(low @ 0xdc00..0xe000) if (0xd800..0xdc00).contains(&high) => {
            (0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
        }
        _ => (high, 6),
    }
}

/// Appends a code point. Returns false if it is a surrogate.
fn push_point(point: u32, into: &mut Vec<u8>) -> bool {
    match char::from_u32(point) {
        Some(char) => {
            into.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            true
        }
        None => {
            into.extend_from_slice(&[
                0xe0 | (point >> 12) as u8,
                0x80 | (point >> 6 & 0x3f) as u8,
                0x80 | (point & 0x3f) as u8,
            ]);
            false
        }
    }
}

/// The key of [`hash`]. It differs in every process, so that nobody outside can construct two names with the same hash.
static HASH_KEY: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let random = RandomState::new();
    // The factor is odd, so that multiplication loses no bit of the other factor.
    [random.hash_one(0u8), random.hash_one(1u8) | 1]
});

/// Returns the hash of a decoded name, to look it up in the plan and to detect duplicates.
///
/// Words are folded by a wide multiplication, as in wyhash, with secret factors. The factors are secret because people can
/// choose names (keys of tags or settings), and a collision causes the whole body to be refused.
#[inline(always)]
pub(super) fn hash(name: &[u8]) -> u64 {
    let [seed, factor] = *HASH_KEY;
    let mix = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        wide as u64 ^ (wide >> 64) as u64
    };
    // A name shorter than a word is read as two overlapping halves, or byte by byte. Two different short names of the
    // same length never give the same input, and the length is mixed in below.
    let half = |at: usize| {
        name.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
    };
    let byte = |at: usize| name.get(at).map_or(0, |&byte| u64::from(byte));
    let length = name.len();
    let mut sum = seed;
    let last = match length {
        0 => 0,
        1..4 => byte(0) << 16 | byte(length >> 1) << 8 | byte(length - 1),
        4..=8 => u64::from(half(0)) << 32 | u64::from(half(length - 4)),
        _ => {
            let mut rest = name;
            while let Some((word, after)) = rest.split_first_chunk::<8>() {
                sum = mix(sum ^ u64::from_le_bytes(*word), factor);
                rest = after;
            }
            name.last_chunk().map_or(0, |word| u64::from_le_bytes(*word))
        }
    };
    mix(sum ^ last, seed.rotate_left(32) ^ factor ^ (length as u64) << 48)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn text(bytes: &str) -> Scan {
        string(bytes.as_bytes(), 0, &mut false)
    }

    #[test]
    fn a_string_ends_at_its_closing_quote() {
        for before in 0..40 {
            let spelled = format!("{}\"rest", "é".repeat(before));
            assert_eq!(text(&spelled), Scan::Whole(before * 2 + 1));
            let open = "x".repeat(before);
            assert_eq!(text(&open), Scan::Partial(before));
            let control = format!("{open}\u{1f}");
            assert_eq!(text(&control), Scan::Wrong(before));
            let half = format!("{open}\\u00");
            assert_eq!(text(&half), Scan::Partial(before));
            let bad = format!("{open}\\q");
            assert_eq!(text(&bad), Scan::Wrong(before + 1));
        }
        assert_eq!(text("a\\u00zz\""), Scan::Wrong(5));
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.5", "1e5", "1E+05", "-12.30e-7"] {
            let followed = format!("{good},");
            assert_eq!(number(followed.as_bytes(), 0, false), Scan::Whole(good.len()), "{good}");
            assert_eq!(number(good.as_bytes(), 0, false), Scan::Partial(0), "{good}");
            assert_eq!(number(good.as_bytes(), 0, true), Scan::Whole(good.len()), "{good}");
        }
        for (bad, at) in [("-,", 1), (".5", 0), ("1.,", 2), ("1e,", 2), ("1e+,", 3), ("-a", 1), ("1.e5", 2)] {
            assert_eq!(number(bad.as_bytes(), 0, true), Scan::Wrong(at), "{bad}");
        }
        assert_eq!(number(b"01,", 0, false), Scan::Whole(1));
        assert_eq!(number(b"1e", 0, false), Scan::Partial(0));
    }

    #[test]
    fn words_are_compared_exactly() {
        assert_eq!(word(b"true,", 0, b't'), Some(Scan::Whole(4)));
        assert_eq!(word(b"tru", 0, b't'), Some(Scan::Partial(0)));
        assert_eq!(word(b"trux", 0, b't'), Some(Scan::Wrong(3)));
        assert_eq!(word(b"None", 0, b'N'), None);
    }

    #[test]
    fn escapes_are_decoded() {
        let read = |spelled: &str| {
            let mut bytes = Vec::new();
            let paired = unescape(spelled.as_bytes(), &mut bytes);
            (bytes, paired)
        };
        assert_eq!(read("e\\u006dail"), (b"email".to_vec(), true));
        assert_eq!(read("\\u00e9\\/\\n\\\\"), ("é/\n\\".as_bytes().to_vec(), true));
        assert_eq!(read("\\uD83D\\uDE00"), ("😀".as_bytes().to_vec(), true));
        assert!(!read("\\ud800").1);
        assert!(!read("\\udc00\\ud800").1);
        assert!(!read("\\ud800\\u0041").1);
        assert_ne!(read("\\ud800").0, read("\\ud801").0);
    }

    /// These names had the same hash before the hash had a key.
    #[test]
    fn names_constructed_to_collide_have_different_hashes() {
        assert_ne!(hash(b"r7CmY_uHaaAdAaa"), hash(b"Cu3ZR1zaoa1z66P"));
    }

    #[test]
    fn different_names_have_different_hashes() {
        let listed =
            ["", "\0", "\0\0", "aa", "abcdefgh", "abcdefg", "abcdefghi", "id", "di", "abcdefghabcdefgh"];
        let counted = (0..20_000)
            .flat_map(|n| [format!("n{n}"), format!("{n}"), format!("{n:09}"), format!("a_{n}_b")]);
        let letters = (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| [a, b]));
        let letters = letters.flat_map(|[a, b]| [vec![a], vec![b, a], vec![a, a, b], vec![a, b, a, b]]);
        let names: HashSet<Vec<u8>> = listed
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .chain(counted.map(String::into_bytes))
            .chain(letters)
            .collect();
        let hashes: HashSet<u64> = names.iter().map(|name| hash(name)).collect();
        assert_eq!(hashes.len(), names.len());
    }
}
