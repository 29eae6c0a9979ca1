//! Writes the members of a record, except its number and its chain.
//!
//! Each exchange writes three records, which consist mostly of member names and words that need no escaping.
//! `serde_json` would check every byte of them for escaping, so this module writes them itself.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;
use serde_json::Value;

use crate::keys::{EpochPseudonyms, Fingerprint, random};

/// The members of a record's JSON object, without the number and the chain that sealing adds: `"kind":…,…`.
pub(super) type RecordBody = Vec<u8>;

/// Text of a JSON object without its braces. Within [`ObjectWriter::in_braces`] and [`ObjectWriter::list`] members go
/// to the innermost object or list.
pub(super) struct ObjectWriter(String);

impl ObjectWriter {
    /// Writes the members with which every record of an exchange or of an act begins: its kind, its id as a named member,
    /// and its time.
    pub(super) fn begin_record(
        kind: &'static str,
        (name, id): (&'static str, &str),
        time: Timestamp,
    ) -> ObjectWriter {
        // Most records fit into this capacity.
        let mut members = ObjectWriter(String::with_capacity(1024));
        members.word("kind", kind);
        members.word(name, id);
        members.name("time");
        members.0.push('"');
        // Writing to a string cannot fail.
        let _ = DateTimePrinter::new().print_timestamp(&time, &mut members.0);
        members.0.push('"');
        // The salt prevents guessing a deleted record from its hash.
        members.word("salt", std::str::from_utf8(&salt()).unwrap_or_default());
        members
    }

    pub(super) fn into_body(self) -> RecordBody {
        self.0.into_bytes()
    }

    /// Writes a comma unless this is the first member or element.
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

    /// Writes a member whose value consists of letters, digits and hyphens, and so needs no escaping.
    pub(super) fn word(&mut self, name: &'static str, word: &str) {
        self.name(name);
        self.quoted(word);
    }

    /// Writes a member with any text as its value.
    pub(super) fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.string(text);
    }

    /// Writes a member with a number as its value.
    pub(super) fn number(&mut self, name: &'static str, number: u64) {
        self.name(name);
        self.0.push_str(itoa::Buffer::new().format(number));
    }

    /// Writes a member with the value `true`.
    pub(super) fn flag(&mut self, name: &'static str) {
        self.name(name);
        self.0.push_str("true");
    }

    /// Writes a member with an object as its value.
    pub(super) fn object(&mut self, name: &'static str, inside: impl FnOnce(&mut ObjectWriter)) {
        self.name(name);
        self.in_braces(inside);
    }

    /// Writes an object.
    pub(super) fn in_braces(&mut self, inside: impl FnOnce(&mut ObjectWriter)) {
        self.0.push('{');
        inside(self);
        self.0.push('}');
    }

    /// Writes a member with a list as its value.
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

    /// Writes a list of pseudonyms. This is the bulk of a window's record, so pseudonyms are written as they are
    /// computed, without collecting them.
    pub(super) fn pseudonyms(
        &mut self,
        name: &'static str,
        people: &[Fingerprint],
        pseudonyms: &EpochPseudonyms,
    ) {
        self.list(name, people, |members, person| members.quoted(&pseudonyms.of(*person).to_string()));
    }

    /// Writes a string, escaped if necessary.
    pub(super) fn string(&mut self, text: &str) {
        // No early exit: the compiler can then compare several bytes at a time.
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

/// Serialises an object without its braces. Serialising words and numbers cannot fail; an empty result would be an
/// empty record, which reading rejects.
pub(super) fn object_members(record: &impl Serialize) -> RecordBody {
    let mut text = serde_json::to_vec(record).unwrap_or_default();
    if text.len() < 2 {
        return Vec::new();
    }
    text.pop();
    text.remove(0);
    text
}

/// Returns 128 random bits as 32 hexadecimal digits. Without randomness the record is still correct, only easier to
/// guess once deleted.
fn salt() -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = random::bits().unwrap_or_else(|_| {
        tracing::warn!("the operating system provides no random bytes for a record's salt");
        0
    });
    std::array::from_fn(|place| {
        let nibble = (bits >> (place * 4)) as usize & 15;
        DIGITS.get(nibble).copied().unwrap_or(b'0')
    })
}
