//! Searches the text that a record releases for the values that the record withholds.
//!
//! The module does not know the categories of the values. A value is searched for as a whole, in normalised text and
//! without regard to case. Short values are not searched for, because they would match everywhere. A value is
//! searched for only if its weight is at least four, or at least six if it is a number. An ASCII letter or digit has
//! the weight one, and a character beyond ASCII the weight two (Chinese names have few characters). A value whose
//! weight is below eight matches only as a whole word.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::normalize::NormalizedText;
use crate::scrub::unreadable::BodyFault;

/// Least weight of a value that is searched for.
const MIN_WEIGHT: usize = 4;
/// Least weight of a number that is searched for.
const MIN_NUMBER_WEIGHT: usize = 6;
/// Least weight of a value that also matches within words.
const MIN_WEIGHT_WITHIN_WORDS: usize = 8;
/// The greatest number of bytes of a value that are compared. If a text contains these first bytes of a longer value,
/// the match extends to the end of the text.
const MAX_COMPARED_BYTES: usize = 64;
/// Bound on the bytes of all values of a record.
const MAX_BYTES: usize = 1 << 18;
/// Bound on the matches in one record.
const MAX_MATCHES: usize = 1 << 20;

/// Properties of one value.
#[derive(Debug)]
struct WithheldValue {
    /// True if the value matches within words as well.
    within_words: bool,
    /// True if the value was cut to [`MAX_COMPARED_BYTES`].
    is_prefix: bool,
}

/// Collects the values of one record.
#[derive(Debug, Default)]
pub(super) struct WithheldValues {
    texts: Vec<Vec<u8>>,
    values: Vec<WithheldValue>,
    bytes: usize,
}

impl WithheldValues {
    /// Adds the content of a string or the spelling of a number, unless it is too short.
    pub(super) fn add(&mut self, denoted: &[u8]) {
        let normalized = NormalizedText::folded(denoted);
        let text = normalized.bytes().trim_ascii();
        let weight = weight(text);
        let number = text.iter().all(|byte| !byte.is_ascii_alphabetic() && byte.is_ascii());
        if weight < if number { MIN_NUMBER_WEIGHT } else { MIN_WEIGHT } {
            return;
        }
        let is_prefix = text.len() > MAX_COMPARED_BYTES;
        let text = text.get(..MAX_COMPARED_BYTES).unwrap_or(text);
        self.bytes += text.len();
        self.texts.push(text.to_vec());
        self.values.push(WithheldValue { within_words: weight >= MIN_WEIGHT_WITHIN_WORDS, is_prefix });
    }

    /// Builds the searcher, or returns `None` if there are no values.
    ///
    /// # Errors
    /// Returns [`BodyFault::TooCostly`] if the values exceed [`MAX_BYTES`].
    pub(super) fn searcher(self) -> Result<Option<EchoSearcher>, BodyFault> {
        if self.texts.is_empty() {
            return Ok(None);
        }
        if self.bytes > MAX_BYTES {
            return Err(BodyFault::TooCostly);
        }
        let searcher = AhoCorasick::new(&self.texts).map_err(|_| BodyFault::TooCostly)?;
        Ok(Some(EchoSearcher { searcher, values: self.values, found: 0 }))
    }
}

/// Returns the weight of a text: one for each ASCII letter or digit, two for each character beyond ASCII.
fn weight(text: &[u8]) -> usize {
    let chars = text.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
    chars.map(|char| if char.is_ascii() { usize::from(char.is_ascii_alphanumeric()) } else { 2 }).sum()
}

/// Searches texts for the values of one record.
#[derive(Debug)]
pub(super) struct EchoSearcher {
    searcher: AhoCorasick,
    values: Vec<WithheldValue>,
    found: usize,
}

impl EchoSearcher {
    /// Adds the range of each match. If a text has more encodings than the bound, the whole text is a match.
    ///
    /// # Errors
    /// Returns [`BodyFault::TooCostly`] if there are more than [`MAX_MATCHES`].
    pub(super) fn find(&mut self, denoted: &[u8], into: &mut Vec<Range<usize>>) -> Result<(), BodyFault> {
        let normalized = NormalizedText::folded(denoted);
        if normalized.is_opaque() {
            into.push(0..denoted.len());
            return Ok(());
        }
        if normalized.is_decoded() {
            // The value may contain characters that only look like an encoding.
            self.find_in(&NormalizedText::folded_undecoded(denoted), into)?;
        }
        self.find_in(&normalized, into)
    }

    fn find_in(
        &mut self,
        normalized: &NormalizedText<'_>,
        into: &mut Vec<Range<usize>>,
    ) -> Result<(), BodyFault> {
        let text = normalized.bytes();
        let in_word =
            |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        for found in self.searcher.find_overlapping_iter(text) {
            self.found += 1;
            if self.found > MAX_MATCHES {
                return Err(BodyFault::TooCostly);
            }
            let Some(value) = self.values.get(found.pattern().as_usize()) else { continue };
            let word = !in_word(found.start().checked_sub(1)) && !in_word(Some(found.end()));
            if value.within_words || word {
                let end = if value.is_prefix { text.len() } else { found.end() };
                into.push(normalized.origin(&(found.start()..end)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::string_slice, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    fn found(values: &[&str], text: &str) -> Vec<String> {
        let mut withheld = WithheldValues::default();
        values.iter().for_each(|value| withheld.add(value.as_bytes()));
        let mut spans = Vec::new();
        if let Some(mut echo) = withheld.searcher().unwrap() {
            echo.find(text.as_bytes(), &mut spans).unwrap();
        }
        spans.into_iter().map(|span| text[span].to_owned()).collect()
    }

    #[test]
    fn values_are_found_in_any_encoding() {
        assert_eq!(found(&["Jane Doe"], "by JANE  DOE, jane+doe"), ["JANE  DOE", "jane+doe"]);
        assert_eq!(found(&["jane+x@y.org"], "?m=Jane%2Bx%40y.org&"), ["Jane%2Bx%40y.org"]);
        assert_eq!(found(&["JÜRGEN"], "/j%C3%BCrgen/"), ["j%C3%BCrgen"]);
        assert_eq!(found(&["\u{674e}\u{660e}"], "to \u{674e}\u{660e}!"), ["\u{674e}\u{660e}"]);
        assert_eq!(found(&["+49 151 234"], "49 151 234"), ["49 151 234"]);
        assert_eq!(found(&[" padded "], "padded"), ["padded"]);
        assert_eq!(found(&["nathan"], r"C:\nathan \u006eathan"), ["nathan", r"\u006eathan"]);
        assert_eq!(found(&["Anna"], "%2525252525252541nna"), ["%2525252525252541nna"]);
    }

    #[test]
    fn short_values_match_as_whole_words_only() {
        assert_eq!(found(&["a", "abc", "12345", "---- --", "", "  "], "a abc 12345 ---- --"), [""; 0]);
        assert_eq!(found(&["Anna"], "Hannah, anna@x, annas"), ["anna"]);
        assert_eq!(found(&["123456"], "1234567 123456"), ["123456"]);
        assert_eq!(found(&["Annabella"], "xannabellay"), ["annabella"]);
    }

    #[test]
    fn text_that_begins_like_a_long_value_matches_to_its_end() {
        let long = "many words of one text, ".repeat(4);
        assert_eq!(found(&[&long], &format!("so: {long} and more"))[0], format!("{long} and more"));
        assert_eq!(found(&[&long], &long[..60]), [""; 0]);
    }

    #[test]
    fn values_and_matches_are_bounded() {
        let mut withheld = WithheldValues::default();
        (0..10_000).for_each(|n| withheld.add(format!("{n:064}").as_bytes()));
        assert!(withheld.searcher().is_err());
        let mut withheld = WithheldValues::default();
        (8..64).for_each(|length| withheld.add("a".repeat(length).as_bytes()));
        let mut echo = withheld.searcher().unwrap().unwrap();
        assert!(echo.find("a".repeat(1 << 20).as_bytes(), &mut Vec::new()).is_err());
    }
}
