//! Cursors: the place in each log at which an answer goes on.
//!
//! A cursor names entries by their indexes, so it stays right while logs grow. It belongs to one question, and is no secret
//! and no permission.

use std::fmt::Write as _;
use std::ops::Range;

use super::candidates::SearchPlace;

/// Version of the encoding, the first character of a cursor.
const VERSION: char = '2';

/// Characters of a hash or of an index: 64 bits in hexadecimal digits.
const NUMBER: usize = 16;

/// Characters of a place: the hash of the origin, three indexes, and one for `has_later_start`.
const PLACE: usize = 4 * NUMBER + 1;

/// Maximum number of logs that a cursor names.
const MAX_PLACES: usize = 127;

/// The texts that are a cursor, as a regular expression (ECMA-262): the version, then for each log the hash of its origin,
/// three indexes, and 1 if a process has begun since.
pub const CURSOR_PATTERN: &str = "^2([0-9a-f]{64}[01]){0,127}$";

/// The places at which an answer goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerCursor(Vec<([u8; 8], SearchPlace)>);

impl AnswerCursor {
    /// Adds the place of a log: its origin, with more if another log has that, too.
    pub(super) fn add(&mut self, origin: &str, place: SearchPlace) {
        self.0.push((hash(origin), place));
    }

    /// Adds the places of an earlier cursor in logs that this one does not name. Returns true if one of these logs has not ended.
    pub(super) fn keep(&mut self, earlier: &AnswerCursor) -> bool {
        let named = self.0.len();
        for (origin, place) in &earlier.0 {
            if self.0.len() < MAX_PLACES && !self.0.iter().any(|(known, _)| known == origin) {
                self.0.push((*origin, place.clone()));
            }
        }
        self.0.iter().skip(named).any(|(_, place)| !place.is_end())
    }

    /// Returns the place at which the answer goes on in a log. A log that the cursor does not name begins with its newest
    /// exchange.
    pub(super) fn place(&self, origin: &str) -> SearchPlace {
        let origin = hash(origin);
        let known = self.0.iter().find(|(known, _)| *known == origin);
        known.map_or(SearchPlace::NEWEST, |(_, place)| place.clone())
    }

    /// Returns the cursor as a text. It matches [`CURSOR_PATTERN`].
    pub fn text(&self) -> String {
        let mut text = String::from(VERSION);
        for (origin, SearchPlace { below, unrelated: Range { start, end }, has_later_start }) in &self.0 {
            let (origin, started) = (u64::from_be_bytes(*origin), u8::from(*has_later_start));
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{origin:016x}{below:016x}{start:016x}{end:016x}{started}");
        }
        text
    }

    /// Reads a cursor; `None` if the text does not match [`CURSOR_PATTERN`].
    pub fn parse(text: &str) -> Option<AnswerCursor> {
        let (places, rest) = text.strip_prefix(VERSION)?.as_bytes().as_chunks::<PLACE>();
        if !rest.is_empty() || places.len() > MAX_PLACES {
            return None;
        }
        places.iter().map(|place| parse_place(place)).collect::<Option<_>>().map(AnswerCursor)
    }
}

/// Reads the hash of an origin and the place in its log.
fn parse_place(text: &[u8]) -> Option<([u8; 8], SearchPlace)> {
    let (numbers, started) = text.as_chunks::<NUMBER>();
    let [origin, below, start, end] = numbers else { return None };
    let place = SearchPlace {
        below: number(below)?,
        unrelated: number(start)?..number(end)?,
        has_later_start: match started {
            b"0" => false,
            b"1" => true,
            _ => return None,
        },
    };
    Some((number(origin)?.to_be_bytes(), place))
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
        let place = SearchPlace { below: 77, unrelated: 80..99, has_later_start: true };
        cursor.add("gateway-1/5f2c", place.clone());
        cursor.add("gateway-2/09ab", SearchPlace::NEWEST);
        let read = AnswerCursor::parse(&cursor.text()).unwrap();
        assert_eq!(read, cursor);
        assert_eq!((read.place("gateway-1/5f2c"), read.place("another")), (place, SearchPlace::NEWEST));
        let text = cursor.text();
        let (headless, upper) = (text.get(1..).unwrap(), text.to_uppercase());
        let short = text.get(..text.len() - 1).unwrap();
        let signed = format!("2+{}", "0".repeat(PLACE - 1));
        let (no_digit, long) = (format!("2{}2", "0".repeat(64)), format!("2{}", "0".repeat(PLACE * 128)));
        for other in ["", "1", "20", "2ü", headless, short, &upper, &signed, &no_digit, &long] {
            assert_eq!(AnswerCursor::parse(other), None, "{other}");
        }
        assert_eq!(AnswerCursor::parse("2"), Some(AnswerCursor::default()));
    }

    /// The description of the admin API promises that a text of this pattern is accepted.
    #[test]
    fn each_text_of_the_pattern_is_a_cursor() {
        let pattern = regex::Regex::new(CURSOR_PATTERN).unwrap();
        for places in [0, 1, 2, 126, 127, 128] {
            let place = format!("{}1", "0123456789abcdef".repeat(4));
            let text = format!("2{}", place.repeat(places));
            assert_eq!(AnswerCursor::parse(&text).is_some(), pattern.is_match(&text), "{places}");
        }
    }
}
