//! Why a body cannot be read, and the bounds beyond which it is not.
//!
//! Refuses to know what the body says: a fault carries its kind and its place and never a byte of
//! the content, so that it can be logged.

use std::fmt;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyFault {
    /// Not JSON as RFC 8259 has it.
    Malformed,
    /// Not UTF-8 (RFC 8259 section 8.1 allows nothing else between systems).
    NotUtf8,
    /// A member's name holds half of a surrogate pair: readers replace it differently.
    LoneSurrogate,
    /// One object has the same name twice: readers disagree on which of the two counts.
    DuplicateName,
    /// Nested deeper than the bound.
    TooDeep,
    /// A value that has to be held whole is longer than the bound.
    TooLong,
    /// A number has more characters than the bound.
    NumberTooLong,
    /// A member's name is longer than the bound.
    NameTooLong,
    /// An object has more members than can be checked for duplicates.
    TooManyMembers,
    /// Working out the route's queries over one record took more steps than the bound.
    TooCostly,
    /// A table whose header, or a row of which, is not what the mapping says.
    OtherColumns,
    /// The body ended inside a value, or without one.
    Truncated,
    /// Something follows the document.
    TrailingBytes,
}

impl BodyFault {
    /// The word used in logs and metrics.
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

/// A body that cannot be read: nothing more of it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub fault: BodyFault,
    /// Bytes of the body before the fault; for a value that is too long, before that value; in an
    /// event stream, before the event.
    pub at: u64,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.fault.name(), self.at)
    }
}

impl std::error::Error for Unreadable {}

/// The bounds of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a value that is held whole until it is decided: a record above all.
    pub record: usize,
    /// Containers open at once.
    pub depth: usize,
    /// Characters of one number.
    pub number: usize,
    /// Bytes of one member's name as it is spelled.
    pub name: usize,
    /// Members of one object, where duplicates are refused.
    pub members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { record: 1 << 20, depth: 128, number: 1024, name: 1 << 16, members: 1 << 17 }
    }
}

/// The byte order mark in UTF-8. One may begin a body: a reader may ignore it (RFC 8259, 8.1), and none leaves.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Stands before each text of a sequence (RFC 7464, 2.2).
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// How documents follow each other in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// One JSON text.
    #[default]
    Document,
    /// One JSON text a line (NDJSON); a line may be empty.
    Lines,
    /// Each JSON text between a record separator and a line feed (`application/json-seq`, RFC 7464).
    Sequence,
    /// Server-sent events whose data is JSON (`text/event-stream`, HTML standard, 9.2).
    Events,
    /// Rows of comma-separated values under a header (`text/csv`, RFC 4180), each an object of strings.
    Rows,
}

impl Framing {
    /// Whether a body may go on for as long as the connection does.
    pub fn may_be_endless(self) -> bool {
        matches!(self, Framing::Lines | Framing::Sequence | Framing::Events)
    }
}
