//! Ids that a route takes from the path of the request.

use std::fmt;

use super::plan::Plan;
use super::record_set::{IdOrigin, IdSource};
use crate::vocabulary::{IdReader, SubjectId};

/// The ids from the path of one request, by record set. An id that is absent or invalid is `None`.
#[derive(Clone, Default)]
pub(super) struct Parameters {
    subjects: Vec<Vec<Option<SubjectId>>>,
    controllers: Vec<Option<SubjectId>>,
}

/// Prints the type's name only: ids are personal data.
impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameters")
    }
}

impl Parameters {
    /// Reads the ids from decoded path parameters, given as names and values.
    pub(super) fn resolve(plan: &Plan, values: &[(&str, &str)]) -> Parameters {
        Parameters::read(plan, |name, ids| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            ids.read(value).ok()
        })
    }

    /// Returns a placeholder id for each parameter, for a trial without a request.
    pub(super) fn placeholders(plan: &Plan) -> Parameters {
        Parameters::read(plan, |_, ids| Some(ids.placeholder()))
    }

    fn read(plan: &Plan, value: impl Fn(&str, &IdReader) -> Option<SubjectId>) -> Parameters {
        let id = |source: &IdSource| match &source.origin {
            IdOrigin::Body(_) => None,
            IdOrigin::Parameter(name) => value(name, &source.ids),
        };
        Parameters {
            subjects: plan.sets.iter().map(|set| set.subjects.iter().map(id).collect()).collect(),
            controllers: plan.sets.iter().map(|set| set.controller.as_ref().and_then(id)).collect(),
        }
    }

    /// Returns the id of the subject source with this number in this record set.
    pub(super) fn subject(&self, set: usize, number: usize) -> Option<&SubjectId> {
        self.subjects.get(set)?.get(number)?.as_ref()
    }

    /// Returns the controller's id for this record set.
    pub(super) fn controller(&self, set: usize) -> Option<&SubjectId> {
        self.controllers.get(set)?.as_ref()
    }
}
