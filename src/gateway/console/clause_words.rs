//! The words of the clauses that rules cite.

use std::collections::HashMap;
use std::sync::Arc;

use crate::policy::Pack;

/// The titles of clauses, by id.
#[derive(Debug, Default)]
pub(super) struct ClauseWords(HashMap<String, String>);

impl ClauseWords {
    /// Reads the clauses of packs. Of several versions the last one counts.
    pub(super) fn of_packs<'p>(packs: impl IntoIterator<Item = &'p Arc<Pack>>) -> ClauseWords {
        let clauses = packs.into_iter().flat_map(|pack| &pack.manifest().clauses);
        ClauseWords(clauses.map(|clause| (clause.id.to_string(), clause.title.clone())).collect())
    }

    /// Returns each id with its words; without words if no loaded pack has the clause.
    pub(super) fn of(&self, ids: &[String]) -> Vec<(String, String)> {
        ids.iter().map(|id| (id.clone(), self.0.get(id).cloned().unwrap_or_default())).collect()
    }
}
