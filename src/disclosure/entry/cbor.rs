//! Deterministic CBOR (RFC 8949 section 4.2.1), as far as entries use it: maps with small integer keys, unsigned integers,
//! byte strings, texts, arrays and `true`.
//!
//! Invariant: the reader accepts exactly one encoding of each value. Lengths are definite, integers have their shortest
//! form, and the keys of a map ascend. Nothing nests deeper than the members that a caller asks for, so there is no
//! recursion.

use super::EntryError;

/// Major types of CBOR.
const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// The encoding of `true`.
const TRUE: u8 = 0xf5;

/// Maximum number of members of a map: its head is one byte.
const MAX_MEMBERS: u8 = 23;

/// Appends the head of a data item: its major type and its value or length, in the shortest form.
fn write_head(bytes: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    if let Ok(short) = u8::try_from(value) {
        if short < 24 {
            bytes.push(major | short);
        } else {
            bytes.extend_from_slice(&[major | 24, short]);
        }
    } else if let Ok(short) = u16::try_from(value) {
        bytes.push(major | 25);
        bytes.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(short) = u32::try_from(value) {
        bytes.push(major | 26);
        bytes.extend_from_slice(&short.to_be_bytes());
    } else {
        bytes.push(major | 27);
        bytes.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes a map behind other bytes. The caller writes the members in the order of their keys.
pub(super) struct MapWriter {
    bytes: Vec<u8>,
    /// Position of the map's head.
    head: usize,
    members: u8,
    next_key: u8,
}

impl MapWriter {
    /// Begins a map behind `bytes`.
    pub(super) fn begin(mut bytes: Vec<u8>) -> MapWriter {
        let head = bytes.len();
        bytes.push(MAP << 5);
        MapWriter { bytes, head, members: 0, next_key: 0 }
    }

    /// Writes a key. The value must follow.
    fn key(&mut self, key: u8) {
        debug_assert!(key >= self.next_key && self.members < MAX_MEMBERS, "members are written in order");
        self.next_key = key + 1;
        self.members += 1;
        write_head(&mut self.bytes, UNSIGNED, u64::from(key));
    }

    pub(super) fn unsigned(&mut self, key: u8, value: u64) {
        self.key(key);
        self.element(value);
    }

    /// Writes a number unless it is 0, which an absent member means.
    pub(super) fn count(&mut self, key: u8, value: u64) {
        if value != 0 {
            self.unsigned(key, value);
        }
    }

    /// Writes `true`, or no member.
    pub(super) fn flag(&mut self, key: u8, value: bool) {
        if value {
            self.key(key);
            self.bytes.push(TRUE);
        }
    }

    pub(super) fn bytes(&mut self, key: u8, value: &[u8]) {
        self.begin_bytes(key, value.len());
        self.append(value);
    }

    /// Begins a byte string of this length, which [`MapWriter::append`] fills.
    pub(super) fn begin_bytes(&mut self, key: u8, length: usize) {
        self.key(key);
        write_head(&mut self.bytes, BYTES, length as u64);
    }

    pub(super) fn append(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    pub(super) fn text(&mut self, key: u8, value: &str) {
        self.key(key);
        self.text_element(value);
    }

    /// Begins an array of so many elements, which the caller writes next.
    pub(super) fn begin_array(&mut self, key: u8, elements: usize) {
        self.key(key);
        self.array_element(elements);
    }

    /// Writes an array within an array: so many elements must follow.
    pub(super) fn array_element(&mut self, elements: usize) {
        write_head(&mut self.bytes, ARRAY, elements as u64);
    }

    pub(super) fn element(&mut self, value: u64) {
        write_head(&mut self.bytes, UNSIGNED, value);
    }

    pub(super) fn text_element(&mut self, value: &str) {
        write_head(&mut self.bytes, TEXT, value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// Ends the map and returns all bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if let Some(head) = self.bytes.get_mut(self.head) {
            *head |= self.members;
        }
        self.bytes
    }
}

/// Reads data items one after the other.
#[derive(Clone, Copy)]
pub(super) struct CborReader<'e> {
    rest: &'e [u8],
}

impl<'e> CborReader<'e> {
    pub(super) fn new(bytes: &'e [u8]) -> CborReader<'e> {
        CborReader { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'e [u8], EntryError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(EntryError("it ends within a data item"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_chunk<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(EntryError("it ends within a data item"))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads the head of a data item of this major type.
    fn head(&mut self, major: u8) -> Result<u64, EntryError> {
        let [first] = self.take_chunk()?;
        if first >> 5 != major {
            return Err(EntryError("a data item has another type"));
        }
        let (value, least) = match first & 31 {
            short @ ..24 => return Ok(u64::from(short)),
            24 => (u64::from(u8::from_be_bytes(self.take_chunk()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.take_chunk()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.take_chunk()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.take_chunk()?), 1 << 32),
            _ => return Err(EntryError("a length is indefinite or reserved")),
        };
        if value < least {
            return Err(EntryError("an integer is not in its shortest form"));
        }
        Ok(value)
    }

    fn length(&mut self, major: u8) -> Result<usize, EntryError> {
        let length = usize::try_from(self.head(major)?).ok();
        // Each element takes at least one byte.
        length.filter(|length| *length <= self.rest.len()).ok_or(EntryError("a length exceeds the entry"))
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, EntryError> {
        self.head(UNSIGNED)
    }

    /// Reads `true`.
    pub(super) fn flag(&mut self) -> Result<bool, EntryError> {
        match self.take_chunk()? {
            [TRUE] => Ok(true),
            _ => Err(EntryError("a flag is not `true`")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'e [u8], EntryError> {
        let length = self.length(BYTES)?;
        self.take(length)
    }

    /// Reads a byte string of exactly this length.
    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        if self.head(BYTES)? != N as u64 {
            return Err(EntryError("a byte string has another length"));
        }
        self.take_chunk()
    }

    pub(super) fn text(&mut self) -> Result<&'e str, EntryError> {
        let length = self.length(TEXT)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| EntryError("a text is not UTF-8"))
    }

    /// Reads the head of an array and returns the number of its elements.
    pub(super) fn array(&mut self) -> Result<usize, EntryError> {
        self.length(ARRAY)
    }

    /// Reads the head of an array that has this number of elements.
    pub(super) fn array_of(&mut self, elements: usize) -> Result<(), EntryError> {
        if self.array()? == elements { Ok(()) } else { Err(EntryError("an array has another length")) }
    }

    /// Reads a map to the end of the bytes. Passes each key, in ascending order, to `member`, which reads the value.
    pub(super) fn map(
        mut self,
        mut member: impl FnMut(u8, &mut CborReader<'e>) -> Result<(), EntryError>,
    ) -> Result<(), EntryError> {
        let members = self.head(MAP)?;
        if members > u64::from(MAX_MEMBERS) {
            return Err(EntryError("a map has too many members"));
        }
        let mut next_key = 0;
        for _ in 0..members {
            let key = self.unsigned()?;
            if key < next_key {
                return Err(EntryError("the keys of a map do not ascend"));
            }
            next_key = key.saturating_add(1);
            member(u8::try_from(key).map_err(|_| EntryError("a member is unknown"))?, &mut self)?;
        }
        if self.rest.is_empty() { Ok(()) } else { Err(EntryError("bytes follow the map")) }
    }
}
