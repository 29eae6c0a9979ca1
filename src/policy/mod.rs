//! Policy packs: the rules of one published privacy policy, in Cedar, and what they are about.
//!
//! Pure: texts in, a pack or findings out. It knows rules and the facts they compare; whose facts
//! they are, and how they were established, it does not know. Invariant: a pack that loads has been
//! strictly validated as it runs, and every release in it has a legal basis and cites a clause.

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
