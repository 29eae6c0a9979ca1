//! Whom the path of a request names, before there is a body.
//!
//! Refuses to guess: where one of several parameters is no id, nobody knows whom the path means.

use std::fmt;

use super::plan::Plan;
use super::record_set::{IdOrigin, IdSource};
use crate::vocabulary::SubjectId;

/// Whom the path parameters of a request name, over all record sets of a mapping.
#[derive(Clone, Default)]
pub struct PathIdentities {
    pub subjects: PathIds,
    pub controllers: PathIds,
}

/// Ids in a path.
#[derive(Clone, Debug, Default)]
pub enum PathIds {
    /// The mapping takes none from the path.
    #[default]
    None,
    /// What stands there is no id.
    Unusable,
    /// Each once.
    Ids(Vec<SubjectId>),
}

/// Without the ids.
impl fmt::Debug for PathIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PathIdentities")
    }
}

impl PathIds {
    /// The one id, where there is one.
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
    /// Whom these path parameters (decoded) name.
    pub fn path_identities(&self, parameters: &[(String, String)]) -> PathIdentities {
        let id = |source: &IdSource| match &source.origin {
            IdOrigin::Body(_) => None,
            IdOrigin::Parameter(name) => {
                let value = parameters.iter().find(|(known, _)| **known == **name);
                Some(value.and_then(|(_, value)| source.ids.read(value).ok()))
            }
        };
        let mut named = PathIdentities::default();
        for set in &self.sets {
            set.subjects.iter().filter_map(id).for_each(|id| named.subjects.add(id));
            set.controller.iter().filter_map(id).for_each(|id| named.controllers.add(id));
        }
        named
    }

    /// Whether the path names a person, and whether it names an account.
    pub fn identifies_by_path(&self) -> (bool, bool) {
        let is_parameter = |source: &IdSource| matches!(source.origin, IdOrigin::Parameter(_));
        let mut sets = self.sets.iter();
        let subject = sets.any(|set| set.subjects.iter().any(is_parameter));
        (subject, self.sets.iter().any(|set| set.controller.as_ref().is_some_and(is_parameter)))
    }
}
