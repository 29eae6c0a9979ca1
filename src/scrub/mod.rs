//! The scrubber: takes the bytes of a JSON body, and returns the bytes that may leave.
//!
//! It is pure and sans-IO: chunks of any size go in, scrubbed bytes come out. It asks one question, what a record may
//! disclose, through the trait [`RecordPolicy`], when the record is whole and about to leave. Invariants: a byte of a
//! record leaves only under the permit of the innermost record that contains it; a fault stops the body, and no byte of
//! the failing record leaves.
//!
//! The path of one record's bytes through the modules:
//!
//! ```text
//!  at load    Mapping (mapping) ──> plan/builder ──> record_set, query ──> automaton (state), class ──> Plan (plan)
//!
//!  chunk ──> scrubber          UTF-8, byte order mark; events and rows split other framings into texts
//!              │
//!              v
//!            walk              the tokenizer (lex), the state of each node (automaton), duplicate names
//!              │  │            (member_names), known member prefixes (shape_cache)
//!              │  └─ walk/outside, walk/stream: a value outside of records is kept, removed, or opened at once
//!              v
//!            walk/holding      a record is held until it is whole; its nodes are put in a table (node_table)
//!              │
//!              v
//!            embedded          strings that hold JSON are replaced by its value
//!              │
//!              v
//!            held_value        /selection   conditions (evaluate) select nodes
//!              │               /record      subjects, controller, facts ──> RecordPolicy ──> permit
//!              │               /decision    class of each node ──> form in the permit ──> action (actions)
//!              │               rdap         (RDAP routes) keeps contacts valid, lists what was redacted
//!              │               /concealing  searches kept text (redact_text)
//!              │               /edits       actions ──> edits (edit) ──> bytes; other forms are made by forms
//!              v
//!            bytes that may leave
//! ```
//!
//! If the decision about a record depends only on its shape and its permit, it is kept in the `decision_cache`. For a
//! later record of the same shape and with the same forms, only the cached edits are applied.
//!
//! Beside this, `survey` reads the beginning of a body again to find the values that nothing classifies.
//!
//! # Vocabulary
//!
//! - *record*: a node that is about one data subject or several. A *record set* is all records of one path of the
//!   mapping.
//! - *field*: a path of the mapping with data categories. A *capture* is a path from which an id or a fact is read.
//! - *class*: a distinct set of data categories. A permit gives each class a form: clear, masked, generalised,
//!   pseudonymised or removed.
//! - *state*: everything that follows from the names and positions on the path to a node. *Maybe*: a property of a
//!   node that a condition has yet to decide.
//! - *held value*: a value that is buffered until it is whole, because its decision depends on all of it.
//! - *node table*: the nodes of a held value in document order, as offsets in its bytes.
//! - *skeleton*: containers on the path to records. They are kept even if they are empty.
//! - *pending*: a container outside of records that is kept only if something in it is kept.
//! - *prefix*: the comma, name and colon before a member's value. *Shape*: the states and nesting of a value's nodes.
//! - *action*: what happens to a node (keep, transform, rewrite, drop). *Edit*: the change of the bytes that an
//!   action needs.
//! - *echo*: another occurrence of a withheld value in the same record.

mod actions;
mod automaton;
mod class;
mod cursor;
mod decision_cache;
mod edit;
mod embedded;
mod evaluate;
mod events;
mod facts;
mod form_policy;
mod forms;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod held_value;
mod lex;
mod mapping;
mod member_names;
mod node_table;
mod number;
mod parameters;
mod path_ids;
mod plan;
mod query;
mod rdap;
mod record_policy;
mod record_set;
mod redact_text;
mod regexp;
mod remover;
mod rows;
mod scrubber;
mod shape_cache;
mod state;
mod survey;
mod unreadable;
mod walk;

#[cfg(test)]
mod tests;

pub use class::{Class, UNCLASSIFIED};
pub use cursor::{ContainingRecord, PathCursor, PossibleNode};
pub use forms::{Forms, Pseudonyms};
pub use held_value::{SurveyVisitor, UnclassifiedType, UnclassifiedValue};
pub use mapping::{
    Columns, DuplicateKeys, FactKey, FieldMapping, Mapping, RecordMapping, Redaction, RemovedAs,
    SubjectSource, Unclassified,
};
pub use path_ids::{PathIdentities, PathIds};
pub use plan::{MappingError, Plan};
pub use query::{
    MappingFault, names_in, selects_by_condition, selects_by_position, selects_in_row, tests_existence,
};
pub use record_policy::{JudgedRecord, RecordPolicy};
pub use remover::Remover;
pub use rows::visit_rows;
pub use scrubber::Scrubber;
pub use survey::survey_unclassified;
pub use unreadable::{BodyFault, Framing, Limits, Unreadable};
