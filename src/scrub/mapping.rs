//! A route's mapping as written: which nodes are records, whose they are, what their fields hold.

use crate::vocabulary::{CategoryId, IdReader};

/// What happens to a node that nothing classifies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unclassified {
    #[default]
    Remove,
    Release,
}

/// What stands in the place of a removed member. Removed array elements of `Omit` close up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovedAs {
    #[default]
    Omit,
    Null,
    /// `""`, `[]`, `{}` by the value's own type; `null` for a number, boolean or null.
    Empty,
}

impl RemovedAs {
    /// Returns the text that replaces a removed value.
    pub(super) fn placeholder(self, value: &[u8]) -> &'static [u8] {
        match (self, value.first()) {
            (RemovedAs::Empty, Some(b'"')) => b"\"\"",
            (RemovedAs::Empty, Some(b'[')) => b"[]",
            (RemovedAs::Empty, Some(b'{')) => b"{}",
            (RemovedAs::Omit | RemovedAs::Null | RemovedAs::Empty, _) => b"null",
        }
    }
}

/// Duplicate names in one object: refused, or every occurrence treated alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateKeys {
    #[default]
    Refuse,
    TreatAlike,
}

/// The result of a condition that holds for one occurrence of a duplicate name and not for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDuplicateName {
    /// No object has a duplicate name, because such bodies are refused.
    Impossible,
    /// The condition holds. A removal then removes more.
    ConditionHolds,
    /// The body is unreadable: nobody knows which occurrence a reader sees.
    Unreadable,
}

/// Whether an answer says what of it was redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redaction {
    #[default]
    Silent,
    /// As RFC 9537 has it for RDAP; the document is held whole, and nothing stands in the place of what
    /// is removed.
    Rfc9537,
}

/// Where the id of a data subject (or controller) is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectSource {
    /// `@…` within the record, `$…` from the document, or `{name}`: a path parameter of the request.
    pub path: String,
    /// What reads the ids that are found there.
    pub ids: IdReader,
    /// Null, or nothing, is nobody rather than somebody unknown (`assignee: null`).
    pub optional: bool,
}

/// A fact that a record can carry about its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FactKey {
    Country,
    Region,
    BirthDate,
    AccountClosed,
    Origin,
    Created,
}

/// What the nodes that a path selects hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldMapping {
    /// `@…` within the record, or `$…` from the document.
    pub path: String,
    /// All of them must be permitted; none at all is a mistake caught at load.
    pub categories: Vec<CategoryId>,
    /// A string there is a JSON text, and is treated as if that stood in the string's place.
    pub embedded: bool,
}

/// The header of a table whose rows are arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// `$…`: the list of names in the document.
    pub path: String,
    /// What it has to be. Paths of the record set begin with one of these names.
    pub names: Vec<String>,
}

/// One record set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordMapping {
    /// `$…`; each match is one record.
    pub path: String,
    /// The rows of a table: their elements are named by its header.
    pub columns: Option<Columns>,
    /// Everybody the record is about; empty where it is about nobody.
    pub subjects: Vec<SubjectSource>,
    pub controller: Option<SubjectSource>,
    pub fields: Vec<FieldMapping>,
    pub facts: Vec<(FactKey, String)>,
}

impl RecordMapping {
    /// Whether no record of `sets`, of which this is one, says whose a field of this one is: it stands in a
    /// record without a subject, or outside of every record. Of a path with `..` that is not known.
    pub fn is_without_subject(&self, field: &str, sets: &[RecordMapping]) -> bool {
        if field.starts_with('@') || self.path == "$" {
            return self.subjects.is_empty();
        }
        let is_below = |record: &RecordMapping| {
            let rest = field.strip_prefix(&*record.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        !field.contains("..") && !sets.iter().any(is_below)
    }
}

/// The mapping of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub records: Vec<RecordMapping>,
    pub unclassified: Unclassified,
    pub removed_as: RemovedAs,
    pub duplicate_keys: DuplicateKeys,
    /// Types of server-sent events that leave, beside those without one.
    pub events: Vec<String>,
    /// In what holds one of these categories, or one below it, whatever reaches a person (an
    /// address, a number) is replaced by a marker.
    pub redact: Vec<CategoryId>,
    /// What a record withholds is withheld wherever it turns up again in the record.
    pub withhold_echoes: bool,
    pub redaction: Redaction,
}
