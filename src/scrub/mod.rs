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
mod arbiter;
mod automaton;
mod embedded;
mod evaluate;
mod events;
mod facts;
mod forms;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod habits;
mod judge;
mod lex;
mod mapping;
mod named;
mod names;
mod number;
mod plan;
mod query;
mod rdap;
mod redact_text;
mod regexp;
mod rows;
mod scrubber;
mod table;
mod unit;
mod unreadable;
mod walk;

#[cfg(test)]
mod tests;

pub use forms::{Forms, Pseudonyms};
pub use judge::{Record, RecordPolicy};
pub use mapping::{
    Columns, DuplicateKeys, FactKey, FieldMapping, Mapping, RecordMapping, Redaction, RemovedAs,
    SubjectSource, Unclassified,
};
pub use named::{PathIdentities, PathIds};
pub use plan::{Class, MappingError, Plan, UNCLASSIFIED};
pub use query::{MappingFault, selects_by_position, tests_existence};
pub use scrubber::{Remover, Scrubber};
pub use unreadable::{BodyFault, Framing, Limits, Unreadable};
