//! The faults that make a body unreadable, the limits of a body, and its framing.
//!
//! A fault holds its kind and its position, and never a byte of the content, so it can be logged.

use std::fmt;

/// The kind of mistake in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyFault {
    /// The bytes are not JSON (RFC 8259).
    Malformed,
    /// The bytes are not UTF-8, which RFC 8259, section 8.1, requires between systems.
    NotUtf8,
    /// A member's name contains a lone surrogate, which parsers replace in different ways.
    LoneSurrogate,
    /// An object has two members of the same name. Parsers disagree about which of them counts.
    DuplicateName,
    /// Containers are nested deeper than [`Limits::depth`].
    TooDeep,
    /// A value that has to be held whole is longer than [`Limits::record`].
    TooLong,
    /// A number has more characters than [`Limits::number`].
    NumberTooLong,
    /// A member's name is longer than [`Limits::name`].
    NameTooLong,
    /// An object has more members, or a table more columns, than [`Limits::members`].
    TooManyMembers,
    /// Evaluating the route's queries over one value cost more than the bound.
    TooCostly,
    /// The header of a table, or one of its rows, differs from the mapping.
    OtherColumns,
    /// The body ended inside of a value, or without a value.
    Truncated,
    /// More bytes follow the document.
    TrailingBytes,
}

impl BodyFault {
    /// Returns the name of the fault in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            BodyFault::Malformed => "malformed",
            BodyFault::NotUtf8 => "not-utf-8",
            BodyFault::LoneSurrogate => "lone-surrogate",
            BodyFault::DuplicateName => "duplicate-name",
            BodyFault::TooDeep => "too-deep",
            BodyFault::TooLong => "too-long",
            BodyFault::NumberTooLong => "number-too-long",
            BodyFault::NameTooLong => "name-too-long",
            BodyFault::TooManyMembers => "too-many-members",
            BodyFault::TooCostly => "too-costly",
            BodyFault::OtherColumns => "other-columns",
            BodyFault::Truncated => "truncated",
            BodyFault::TrailingBytes => "trailing-bytes",
        }
    }
}

/// A body that cannot be read. No more of it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The mistake in the body.
    pub fault: BodyFault,
    /// The number of bytes of the body before the fault. For a value that is too long, the bytes before that value; in
    /// an event stream, the bytes before the event; in a table, the bytes before the row.
    pub at: u64,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.fault.name(), self.at)
    }
}

impl std::error::Error for Unreadable {}

/// The limits of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The greatest length, in bytes, of a value that is held until it is whole, such as a record.
    pub record: usize,
    /// The greatest number of containers that are open at once.
    pub depth: usize,
    /// The greatest length, in characters, of a number.
    pub number: usize,
    /// The greatest length, in bytes, of a member's name as it is spelled, with its quotes.
    pub name: usize,
    /// The greatest number of members of an object whose names are checked for duplicates, and of columns of a table.
    pub members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { record: 1 << 20, depth: 128, number: 1024, name: 1 << 16, members: 1 << 17 }
    }
}

/// The byte order mark in UTF-8. A body may begin with one, which a parser may ignore (RFC 8259, 8.1). It never leaves.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The byte before each text of a sequence (RFC 7464, 2.2).
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// The way in which documents follow each other in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// One JSON text.
    #[default]
    Document,
    /// One JSON text per line (NDJSON). A line may be empty.
    Lines,
    /// JSON texts, each of which stands between a record separator and a line feed (`application/json-seq`, RFC
    /// 7464).
    Sequence,
    /// Server-sent events whose data is JSON (`text/event-stream`, HTML standard, 9.2).
    Events,
    /// Rows of comma-separated values under a header (`text/csv`, RFC 4180), each an object of strings and `null`.
    Rows,
}

impl Framing {
    /// True if a body may continue for as long as the connection does.
    pub fn may_be_endless(self) -> bool {
        matches!(self, Framing::Lines | Framing::Sequence | Framing::Events)
    }
}
