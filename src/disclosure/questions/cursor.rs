//! Cursors: the place in each log at which an answer goes on.
//!
//! A cursor names entries by their indexes, so it stays right while logs grow. It is no secret and no permission.

use std::fmt::Write as _;

/// Version of the encoding, the first character of a cursor.
const VERSION: char = '1';

/// Characters of a hash or of an index: 64 bits in hexadecimal digits.
const NUMBER: usize = 16;

/// Maximum number of logs that a cursor names.
const MAX_PLACES: usize = 127;

/// The texts that are a cursor, as a regular expression (ECMA-262): the version, then for each log the hash of its origin and
/// an index.
pub const CURSOR_PATTERN: &str = "^1([0-9a-f]{32}){0,127}$";

/// The places at which an answer goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerCursor(Vec<([u8; 8], u64)>);

impl AnswerCursor {
    /// Adds a log: its next exchanges begin below this entry.
    pub(super) fn add(&mut self, origin: &str, below: u64) {
        self.0.push((hash(origin), below));
    }

    /// Returns the entry below which the next exchanges of a log begin. A log that the cursor does not name begins at its
    /// end.
    pub(super) fn below(&self, origin: &str) -> u64 {
        let origin = hash(origin);
        self.0.iter().find(|(known, _)| *known == origin).map_or(u64::MAX, |(_, below)| *below)
    }

    /// Returns the cursor as a text. It matches [`CURSOR_PATTERN`].
    pub fn text(&self) -> String {
        let mut text = String::from(VERSION);
        for (origin, below) in &self.0 {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{:016x}{below:016x}", u64::from_be_bytes(*origin));
        }
        text
    }

    /// Reads a cursor; `None` if the text does not match [`CURSOR_PATTERN`].
    pub fn parse(text: &str) -> Option<AnswerCursor> {
        let (places, rest) = text.strip_prefix(VERSION)?.as_bytes().as_chunks::<{ 2 * NUMBER }>();
        if !rest.is_empty() || places.len() > MAX_PLACES {
            return None;
        }
        let place = |place: &[u8; 2 * NUMBER]| {
            let (origin, below) = place.split_at(NUMBER);
            Some((number(origin)?.to_be_bytes(), number(below)?))
        };
        places.iter().map(place).collect::<Option<_>>().map(AnswerCursor)
    }
}

/// Reads a number from lower-case hexadecimal digits.
fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn hash(origin: &str) -> [u8; 8] {
    let mut short = [0; 8];
    blake3::Hasher::new().update(origin.as_bytes()).finalize_xof().fill(&mut short);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_another_text_is_none() {
        let mut cursor = AnswerCursor::default();
        cursor.add("gateway-1/5f2c", 77);
        cursor.add("gateway-2/09ab", u64::MAX);
        let read = AnswerCursor::parse(&cursor.text()).unwrap();
        assert_eq!(read, cursor);
        assert_eq!((read.below("gateway-1/5f2c"), read.below("another")), (77, u64::MAX));
        let text = cursor.text();
        let (headless, upper) = (text.get(1..).unwrap(), text.to_uppercase());
        let short = text.get(..text.len() - 1).unwrap();
        let signed = format!("1+{}", "0".repeat(31));
        for other in
            ["", "2", "10", "1ü", headless, short, &upper, &signed, &format!("1{}", "0".repeat(32 * 128))]
        {
            assert_eq!(AnswerCursor::parse(other), None, "{other}");
        }
        assert_eq!(AnswerCursor::parse("1"), Some(AnswerCursor::default()));
    }

    /// The description of the admin API promises that a text of this pattern is accepted.
    #[test]
    fn each_text_of_the_pattern_is_a_cursor() {
        let pattern = regex::Regex::new(CURSOR_PATTERN).unwrap();
        for places in [0, 1, 2, 126, 127, 128] {
            let text = format!("1{}", "0123456789abcdef".repeat(2 * places));
            assert_eq!(AnswerCursor::parse(&text).is_some(), pattern.is_match(&text), "{places}");
        }
    }
}
