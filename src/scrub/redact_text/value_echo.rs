//! The values that a record withholds, looked for in what it releases.
//!
//! Refuses to know what the values are. A value is looked for whole, as it reads and whatever its
//! case. Short ones are not looked for, or they would blank everything: a value has at least four
//! letters or digits, a number at least six digits (a letter that is not ASCII counts twice, as names in
//! Chinese have few). One of fewer than eight is found only as a word of its own.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::normalize::NormalizedText;
use crate::scrub::unreadable::BodyFault;

/// What a value weighs at least to be looked for, and from which on it is found within words.
const MIN_WEIGHT: usize = 4;
const MIN_NUMBER_WEIGHT: usize = 6;
const MIN_WEIGHT_WITHIN_WORDS: usize = 8;
/// Bytes of a value that are compared. What begins like a longer one is taken for it, to the end.
const MAX_COMPARED_BYTES: usize = 64;
/// Bytes of all values of a record, and places where they are found, that are dealt with.
const MAX_BYTES: usize = 1 << 18;
const MAX_MATCHES: usize = 1 << 20;

/// A value that is looked for.
#[derive(Debug)]
struct WithheldValue {
    /// It is found within words too.
    within_words: bool,
    /// There was more of it.
    is_prefix: bool,
}

/// Values in the making.
#[derive(Debug, Default)]
pub(super) struct WithheldValues {
    texts: Vec<Vec<u8>>,
    values: Vec<WithheldValue>,
    bytes: usize,
}

impl WithheldValues {
    /// Adds a value: what a string denotes, or how a number is spelled.
    pub(super) fn add(&mut self, denoted: &[u8]) {
        let legible = NormalizedText::folded(denoted);
        let text = legible.bytes().trim_ascii();
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

    /// What looks for them; none if there are none.
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

fn weight(text: &[u8]) -> usize {
    let chars = text.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
    chars.map(|char| if char.is_ascii() { usize::from(char.is_ascii_alphanumeric()) } else { 2 }).sum()
}

/// Looks for values.
#[derive(Debug)]
pub(super) struct EchoSearcher {
    searcher: AhoCorasick,
    values: Vec<WithheldValue>,
    found: usize,
}

impl EchoSearcher {
    /// Adds every stretch of the text that is one of the values.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn find(&mut self, denoted: &[u8], into: &mut Vec<Range<usize>>) -> Result<(), BodyFault> {
        let legible = NormalizedText::folded(denoted);
        if legible.is_opaque() {
            into.push(0..denoted.len());
            return Ok(());
        }
        if legible.is_decoded() {
            // What looks like an encoding may be none.
            self.find_in(&NormalizedText::folded_undecoded(denoted), into)?;
        }
        self.find_in(&legible, into)
    }

    fn find_in(
        &mut self,
        legible: &NormalizedText<'_>,
        into: &mut Vec<Range<usize>>,
    ) -> Result<(), BodyFault> {
        let text = legible.bytes();
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
                into.push(legible.origin(&(found.start()..end)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
    fn a_value_is_found_however_it_is_encoded() {
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
    fn short_values_are_words_or_nothing() {
        assert_eq!(found(&["a", "abc", "12345", "---- --", "", "  "], "a abc 12345 ---- --"), [""; 0]);
        assert_eq!(found(&["Anna"], "Hannah, anna@x, annas"), ["anna"]);
        assert_eq!(found(&["123456"], "1234567 123456"), ["123456"]);
        assert_eq!(found(&["Annabella"], "xannabellay"), ["annabella"]);
    }

    #[test]
    fn what_begins_like_a_long_value_goes_to_the_end() {
        let long = "many words of one text, ".repeat(4);
        assert_eq!(found(&[&long], &format!("so: {long} and more"))[0], format!("{long} and more"));
        assert_eq!(found(&[&long], &long[..60]), [""; 0]);
    }

    #[test]
    fn the_work_is_bounded() {
        let mut withheld = WithheldValues::default();
        (0..10_000).for_each(|n| withheld.add(format!("{n:064}").as_bytes()));
        assert!(withheld.searcher().is_err());
        let mut withheld = WithheldValues::default();
        (8..64).for_each(|length| withheld.add("a".repeat(length).as_bytes()));
        let mut echo = withheld.searcher().unwrap().unwrap();
        assert!(echo.find("a".repeat(1 << 20).as_bytes(), &mut Vec::new()).is_err());
    }
}
