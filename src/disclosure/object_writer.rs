//! A record as it is written, member by member: all but its number and its chain.
//!
//! Each exchange writes three records, of which most is names of members and words that need no escape; serde_json
//! would look at every byte of both.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;
use serde_json::Value;

use crate::keys::{EpochPseudonyms, Fingerprint, random};

/// Members of a record's JSON object without the number and the chain, which sealing adds: `"kind":…,…`.
pub(super) type RecordBody = Vec<u8>;

/// The inside of an object that is open; within [`ObjectWriter::in_braces`] and [`ObjectWriter::list`], of the innermost one.
pub(super) struct ObjectWriter(String);

impl ObjectWriter {
    /// What every record of an exchange begins with.
    pub(super) fn begin_record(kind: &'static str, decision: &str, time: Timestamp) -> ObjectWriter {
        // Most records fit.
        let mut members = ObjectWriter(String::with_capacity(1024));
        members.word("kind", kind);
        members.word("decision", decision);
        members.name("time");
        members.0.push('"');
        // Writing to memory does not fail.
        let _ = DateTimePrinter::new().print_timestamp(&time, &mut members.0);
        members.0.push('"');
        // So that a record, once deleted, cannot be guessed from its hash.
        members.word("salt", std::str::from_utf8(&salt()).unwrap_or_default());
        members
    }

    pub(super) fn into_body(self) -> RecordBody {
        self.0.into_bytes()
    }

    /// A comma, but before the first.
    fn separate(&mut self) {
        if !matches!(self.0.as_bytes().last(), None | Some(b'{' | b'[')) {
            self.0.push(',');
        }
    }

    fn name(&mut self, name: &'static str) {
        self.separate();
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    /// A text of letters, digits and dashes.
    pub(super) fn word(&mut self, name: &'static str, word: &str) {
        self.name(name);
        self.quoted(word);
    }

    pub(super) fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.string(text);
    }

    pub(super) fn number(&mut self, name: &'static str, number: u64) {
        self.name(name);
        self.0.push_str(itoa::Buffer::new().format(number));
    }

    pub(super) fn object(&mut self, name: &'static str, inside: impl FnOnce(&mut ObjectWriter)) {
        self.name(name);
        self.in_braces(inside);
    }

    pub(super) fn in_braces(&mut self, inside: impl FnOnce(&mut ObjectWriter)) {
        self.0.push('{');
        inside(self);
        self.0.push('}');
    }

    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        elements: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut ObjectWriter, T),
    ) {
        self.name(name);
        self.0.push('[');
        for element in elements {
            self.separate();
            write(self, element);
        }
        self.0.push(']');
    }

    /// The bulk of a window's record: straight from the fingerprints, nothing kept in between.
    pub(super) fn pseudonyms(
        &mut self,
        name: &'static str,
        people: &[Fingerprint],
        pseudonyms: &EpochPseudonyms,
    ) {
        self.list(name, people, |members, person| members.quoted(pseudonyms.of(*person).as_str()));
    }

    pub(super) fn string(&mut self, text: &str) {
        // To its end in any case: that is several bytes at a time.
        let is_plain =
            text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
        if is_plain {
            self.quoted(text);
        } else {
            let _ = write!(self.0, "{}", Value::from(text));
        }
    }

    fn quoted(&mut self, plain: &str) {
        self.0.push('"');
        self.0.push_str(plain);
        self.0.push('"');
    }
}

/// The inside of an object. Words and numbers always serialise; nothing would be an empty record,
/// which reading refuses.
pub(super) fn object_members(record: &impl Serialize) -> RecordBody {
    let mut text = serde_json::to_vec(record).unwrap_or_default();
    if text.len() < 2 {
        return Vec::new();
    }
    text.pop();
    text.remove(0);
    text
}

/// 128 random bits, as 32 digits. Without randomness a record is still right, only easier to guess once
/// deleted.
fn salt() -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = random::bits().unwrap_or_else(|_| {
        tracing::warn!("the system gives no random bytes for a record's salt");
        0
    });
    std::array::from_fn(|place| {
        let nibble = (bits >> (place * 4)) as usize & 15;
        DIGITS.get(nibble).copied().unwrap_or(b'0')
    })
}
