//! Policy packs: the Cedar rules of one published privacy policy, with its manifest and vocabulary.
//!
//! Pure: the module takes texts and returns a pack or findings. It knows rules and the facts that they compare. It
//! does not know whose facts these are or how they were established. Invariants: Cedar has validated every rule of
//! a loaded pack strictly, in the desugared form that is evaluated. Every permit has a legal basis and cites a
//! clause.

mod base;
mod basis_conflict;
mod cedar_model;
pub mod cell_evaluator;
pub mod coverage;
pub mod diff;
mod draft;
pub mod export;
mod expression;
mod facts;
mod manifest;
pub mod matrix;
pub mod mutation;
mod pack;
mod reach;
mod rule;
mod rulebook;
mod split;
pub mod versioning;

pub use base::Base;
pub use facts::{AccountFact, ConsentFact, Fact, FactSet, Facts, MAX_RELATIONS, ObjectionFact};
pub(crate) use manifest::retention;
pub use manifest::{Activity, Clause, Enforcement, Manifest, StatedBasis, Switches, retention_period};
pub use pack::Pack;
pub use reach::{Mismatch, RELEASING_FORMS};
pub use rule::{Condition, ConditionInputs, Effect, Rule, RuleLocation};
pub use rulebook::{Cell, RuleIndex, RuleVerdict, Rulebook};
