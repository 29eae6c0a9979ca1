//! The data subjects and controllers that the path of a request names. They are known before there is a body.
//!
//! Invariant: if one of several parameters is not a valid id, the whole result is unusable. The module does not guess
//! whom the path means.

use std::fmt;

use super::plan::Plan;
use super::record_set::{IdOrigin, IdSource};
use crate::vocabulary::SubjectId;

/// The ids in the path parameters of a request, over all record sets of a mapping.
#[derive(Clone, Default)]
pub struct PathIdentities {
    /// The data subjects.
    pub subjects: PathIds,
    /// The controllers.
    pub controllers: PathIds,
}

/// The ids in a path.
#[derive(Clone, Debug, Default)]
pub enum PathIds {
    /// The mapping takes no id from the path.
    #[default]
    None,
    /// A parameter is not a valid id.
    Unusable,
    /// The ids, without duplicates.
    Ids(Vec<SubjectId>),
}

/// Prints the type's name only: ids are personal data.
impl fmt::Debug for PathIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PathIdentities")
    }
}

impl PathIds {
    /// Returns the ids of a path that has at most one.
    pub fn of(id: Option<&SubjectId>) -> PathIds {
        id.map_or(PathIds::None, |id| PathIds::Ids(vec![id.clone()]))
    }

    fn add(&mut self, id: Option<SubjectId>) {
        match (&mut *self, id) {
            (PathIds::Unusable, _) => {}
            (_, None) => *self = PathIds::Unusable,
            (PathIds::None, Some(id)) => *self = PathIds::Ids(vec![id]),
            (PathIds::Ids(ids), Some(id)) => {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
    }
}

impl Plan {
    /// Returns the ids in decoded path parameters, given as names and values.
    pub fn path_identities(&self, parameters: &[(String, String)]) -> PathIdentities {
        let id = |source: &IdSource| match &source.origin {
            IdOrigin::Body(_) => None,
            IdOrigin::Parameter(name) => {
                let value = parameters.iter().find(|(known, _)| **known == **name);
                Some(value.and_then(|(_, value)| source.ids.read(value).ok()))
            }
        };
        let mut identities = PathIdentities::default();
        for set in &self.sets {
            set.subjects.iter().filter_map(id).for_each(|id| identities.subjects.add(id));
            set.controller.iter().filter_map(id).for_each(|id| identities.controllers.add(id));
        }
        identities
    }

    /// True if a record has no account and no facts of its own that take part in a decision about the people in the path.
    pub fn is_decided_by_path(&self) -> bool {
        let is_in_body = |source: &IdSource| matches!(source.origin, IdOrigin::Body(_));
        self.sets.iter().all(|set| set.facts.is_empty() && !set.controller.as_ref().is_some_and(is_in_body))
    }

    /// Returns two booleans: true if the mapping takes data subjects from the path, and true if it takes controllers
    /// from it.
    pub fn identifies_by_path(&self) -> (bool, bool) {
        let is_parameter = |source: &IdSource| matches!(source.origin, IdOrigin::Parameter(_));
        let subjects = self.sets.iter().any(|set| set.subjects.iter().any(is_parameter));
        let controllers = self.sets.iter().any(|set| set.controller.as_ref().is_some_and(is_parameter));
        (subjects, controllers)
    }
}
