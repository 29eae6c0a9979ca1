//! Whom the path of a request names, before there is a body.
//!
//! Refuses to guess: where one of several parameters is no id, nobody knows whom the path means.

use std::fmt;

use super::plan::{From, Plan, Source};
use crate::vocabulary::SubjectId;

/// Whom the path parameters of a request name, over all record sets of a mapping.
#[derive(Clone, Default)]
pub struct NamedByPath {
    pub subjects: InPath,
    pub controllers: InPath,
}

/// Ids in a path.
#[derive(Clone, Debug, Default)]
pub enum InPath {
    /// The mapping takes none from the path.
    #[default]
    None,
    /// What stands there is no id.
    Unusable,
    /// Each once.
    Ids(Vec<SubjectId>),
}

/// Without the ids.
impl fmt::Debug for NamedByPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedByPath")
    }
}

impl InPath {
    /// The one id, where there is one.
    pub fn of(id: Option<&SubjectId>) -> InPath {
        id.map_or(InPath::None, |id| InPath::Ids(vec![id.clone()]))
    }

    fn add(&mut self, id: Option<SubjectId>) {
        match (&mut *self, id) {
            (InPath::Unusable, _) => {}
            (_, None) => *self = InPath::Unusable,
            (InPath::None, Some(id)) => *self = InPath::Ids(vec![id]),
            (InPath::Ids(ids), Some(id)) => {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
    }
}

impl Plan {
    /// Whom these path parameters (decoded) name.
    pub fn named(&self, parameters: &[(String, String)]) -> NamedByPath {
        let id = |source: &Source| match &source.from {
            From::Body(_) => None,
            From::Parameter(name) => {
                let value = parameters.iter().find(|(known, _)| **known == **name);
                Some(value.and_then(|(_, value)| source.ids.read(value).ok()))
            }
        };
        let mut named = NamedByPath::default();
        for set in &self.sets {
            set.subjects.iter().filter_map(id).for_each(|id| named.subjects.add(id));
            set.controller.iter().filter_map(id).for_each(|id| named.controllers.add(id));
        }
        named
    }

    /// Whether the path names a person, and whether it names an account.
    pub fn names_by_path(&self) -> (bool, bool) {
        let is_parameter = |source: &Source| matches!(source.from, From::Parameter(_));
        let mut sets = self.sets.iter();
        let subject = sets.any(|set| set.subjects.iter().any(is_parameter));
        (subject, self.sets.iter().any(|set| set.controller.as_ref().is_some_and(is_parameter)))
    }
}
