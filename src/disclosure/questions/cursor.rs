//! Cursors: the place in each log at which an answer goes on.
//!
//! A cursor names entries by their indexes, so it stays right while logs grow. It is no secret and no permission.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Version of the encoding.
const VERSION: u8 = 1;

/// Maximum length of a cursor in characters.
pub const MAX_CURSOR: usize = 4096;

/// Bytes of a log's place: a hash of its origin, and an index.
const PLACE: usize = 16;

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

    /// Returns the cursor as a text.
    pub fn text(&self) -> String {
        let mut bytes = vec![VERSION];
        for (origin, below) in &self.0 {
            bytes.extend_from_slice(origin);
            bytes.extend_from_slice(&below.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor; `None` if the text is none.
    pub fn parse(text: &str) -> Option<AnswerCursor> {
        if text.len() > MAX_CURSOR {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (chunks, rest) = bytes.strip_prefix(&[VERSION])?.as_chunks::<PLACE>();
        let place = |chunk: &[u8; PLACE]| {
            let (origin, below) = (chunk.first_chunk()?, chunk.last_chunk()?);
            Some((*origin, u64::from_be_bytes(*below)))
        };
        if rest.is_empty() { chunks.iter().map(place).collect::<Option<_>>().map(AnswerCursor) } else { None }
    }
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
        let cut = text.get(1..).unwrap();
        for other in ["", "A", "AQ=", "Ag", "AQE", "ü", cut, &"A".repeat(MAX_CURSOR + 1)] {
            assert_eq!(AnswerCursor::parse(other), None, "{other}");
        }
        assert_eq!(AnswerCursor::parse("AQ"), Some(AnswerCursor::default()));
    }
}
