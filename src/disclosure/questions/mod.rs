//! Questions to the log: which exchanges concern a person, a recipient, a purpose, a route, a case, or had an outcome.
mod answer;
pub(in crate::disclosure) mod candidates;
mod copies;
mod cursor;
mod extent;
#[cfg(test)]
pub(super) mod tests;

use jiff::Timestamp;
use ulid::Ulid;

pub(in crate::disclosure) use answer::entries_of;
pub use answer::{Answer, MAX_ANSWER, QuestionedLog, answer};
pub use copies::{LogFork, LogRelation};
pub use cursor::{AnswerCursor, CURSOR_PATTERN};
pub use extent::LogExtent;

#[cfg(feature = "sqlite")]
use super::index::FacetFilter;

/// Selects exchanges. Each member that is present narrows the selection.
#[derive(Clone, Debug, Default)]
pub struct LogQuestion {
    /// The recipient's configured name.
    pub recipient: Option<String>,
    /// The accepted purpose.
    pub purpose: Option<String>,
    /// The route's configured name.
    pub route: Option<String>,
    /// The case that the request cited.
    pub case: Option<String>,
    /// The outcome, such as `released` or `refused:no-rule-permits`.
    pub outcome: Option<String>,
    /// The decision's id.
    pub decision: Option<Ulid>,
    /// Only exchanges that began at this time or later.
    pub since: Option<Timestamp>,
    /// Only exchanges that began before this time.
    pub until: Option<Timestamp>,
}

impl LogQuestion {
    #[cfg(feature = "sqlite")]
    fn facets(&self) -> FacetFilter {
        let LogQuestion { recipient, purpose, route, outcome, .. } = self.clone();
        FacetFilter { recipient, purpose, route, outcome }
    }
}
