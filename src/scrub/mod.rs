//! Bytes of JSON in, bytes that may leave out.
//!
//! Pure and sans-IO: chunks of any size are fed in, scrubbed bytes come out. What a record may
//! disclose is asked of a [`RecordPolicy`] when the record is whole and about to leave. Invariant: a byte
//! of a record leaves only under the permit of the innermost record it stands in; whatever cannot
//! be read stops the body, and no byte of the failing record leaves.
//!
//! Read downwards: a [`Mapping`] is compiled into a [`Plan`] ([`query`], [`automaton`]); a
//! [`Scrubber`] takes chunks and walks them ([`walk`], [`lex`]); a value that has to be whole is
//! held ([`table`]), its conditions evaluated ([`evaluate`]), and decided ([`unit`]). Of an event
//! stream each event's data is a body of its own ([`events`]), of a table each row ([`rows`]); JSON in a string is put in the string's
//! place before that is decided ([`embedded`]); what stays can be looked through again ([`conceal`]).

mod actions;
mod automaton;
mod class;
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
mod unreadable;
mod walk;

#[cfg(test)]
mod tests;

pub use class::{Class, UNCLASSIFIED};
pub use forms::{Forms, Pseudonyms};
pub use mapping::{
    Columns, DuplicateKeys, FactKey, FieldMapping, Mapping, RecordMapping, Redaction, RemovedAs,
    SubjectSource, Unclassified,
};
pub use path_ids::{PathIdentities, PathIds};
pub use plan::{MappingError, Plan};
pub use query::{MappingFault, selects_by_position, tests_existence};
pub use record_policy::{Record, RecordPolicy};
pub use remover::Remover;
pub use scrubber::Scrubber;
pub use unreadable::{BodyFault, Framing, Limits, Unreadable};
