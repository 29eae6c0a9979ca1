//! A route's mapping as it is configured: which nodes are records, who their data subjects are, and which data
//! categories their fields hold.
//!
//! Paths are text here. [`super::plan`] compiles and checks them.

use crate::vocabulary::{CategoryId, IdReader};

/// The treatment of nodes that no field of the mapping selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unclassified {
    /// They are removed.
    #[default]
    Remove,
    /// They leave as they are.
    Release,
}

/// The replacement of a removed value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovedAs {
    /// None: the member or element is absent, and later elements move up.
    #[default]
    Omit,
    /// `null`.
    Null,
    /// `""`, `[]` or `{}`, by the value's own type; `null` for a number, a boolean or `null`.
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

/// The treatment of duplicate names in one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// The body is refused.
    #[default]
    Refuse,
    /// All occurrences are treated in the same way.
    TreatAlike,
}

/// The result of a condition that holds for one occurrence of a duplicate name and not for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDuplicateName {
    /// No object has a duplicate name, because such bodies are refused.
    Impossible,
    /// The condition holds. A removal then removes more.
    ConditionHolds,
    /// The body is unreadable, because it is unknown which occurrence a recipient sees.
    Unreadable,
}

/// The way in which an answer declares what was redacted in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redaction {
    /// It declares nothing.
    #[default]
    Silent,
    /// As in RFC 9537, for RDAP. The document is held whole, and removed values have no replacement.
    Rfc9537,
}

/// A source of ids of data subjects or of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectSource {
    /// A path `@…` from the record or `$…` from the document, or `{name}` for a path parameter of the request.
    pub path: String,
    /// Normalises and validates the ids.
    pub ids: IdReader,
    /// True if `null` or an absent id means that there is no such person (`assignee: null`). If false, it means that
    /// there is an unknown person.
    pub optional: bool,
}

/// A fact that a record can state about itself or its data subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FactKey {
    /// The country of residence.
    Country,
    /// The region of residence.
    Region,
    /// The date of birth.
    BirthDate,
    /// The time at which the account was closed.
    AccountClosed,
    /// The origin of the data: the data subject, or another source.
    Origin,
    /// The time at which the record was created.
    Created,
}

/// The categories of the nodes that a path selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldMapping {
    /// A path `@…` from the record or `$…` from the document.
    pub path: String,
    /// The data categories. All of them must be permitted. An empty list does not load.
    pub categories: Vec<CategoryId>,
    /// True if a selected string holds a JSON text. It is treated as the value of that text.
    pub embedded: bool,
}

/// The columns of a table whose rows are arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The path `$…` to the names in the document.
    pub path: String,
    /// The names that the document must have. Paths of the record set begin with one of them.
    pub names: Vec<String>,
}

/// One record set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordMapping {
    /// The path `$…`. Each node that it selects is one record.
    pub path: String,
    /// The columns, if the records are rows of a table.
    pub columns: Option<Columns>,
    /// The sources of the data subjects. Empty if the record is about nobody.
    pub subjects: Vec<SubjectSource>,
    /// The source of the controller.
    pub controller: Option<SubjectSource>,
    /// The fields and their categories.
    pub fields: Vec<FieldMapping>,
    /// The paths of facts.
    pub facts: Vec<(FactKey, String)>,
}

impl RecordMapping {
    /// True if a field of this record set belongs to no data subject: its innermost record has no subjects, or it is outside
    /// of all records of `sets`, which contain this one. False for a path with `..`, for which this is unknown.
    pub fn is_without_subject(&self, field: &str, sets: &[RecordMapping]) -> bool {
        // Of two record sets with one path neither says whose a record is.
        let is_disputed = |path: &str| sets.iter().filter(|set| set.path == path).count() > 1;
        if field.starts_with('@') || self.path == "$" {
            return self.subjects.is_empty() || is_disputed(&self.path);
        }
        let is_below = |record: &&RecordMapping| {
            let rest = field.strip_prefix(&*record.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let innermost = sets.iter().filter(is_below).max_by_key(|set| set.path.len());
        !field.contains("..")
            && innermost.is_none_or(|record| record.subjects.is_empty() || is_disputed(&record.path))
    }
}

/// The mapping of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The record sets.
    pub records: Vec<RecordMapping>,
    /// The treatment of unclassified nodes.
    pub unclassified: Unclassified,
    /// The replacement of removed values.
    pub removed_as: RemovedAs,
    /// The treatment of duplicate names.
    pub duplicate_keys: DuplicateKeys,
    /// The types of server-sent events that leave, besides events without a type.
    pub events: Vec<String>,
    /// In values of these categories, or of categories below them, personal identifiers (an e-mail address, a telephone
    /// number) are replaced by a marker.
    pub redact: Vec<CategoryId>,
    /// True if a value that a record withholds is withheld wherever the record repeats it.
    pub withhold_echoes: bool,
    /// The way in which the answer declares redactions.
    pub redaction: Redaction,
}
