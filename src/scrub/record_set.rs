//! The record sets of a compiled mapping, and the role that each of its queries has.
//!
//! A record set says which nodes are records, where their subjects, controller and facts are found, and which fields
//! they have. It refers to queries by number; the [`Plan`](super::plan::Plan) holds the queries.

use super::mapping::FactKey;
use super::query::Anchor;
use crate::vocabulary::{CategoryId, IdReader};

/// The role of a query in a mapping.
#[derive(Clone, Debug)]
pub(super) enum QueryRole {
    /// Each node that it selects is a record of the set with this number.
    Record(usize),
    /// Each node that it selects holds these categories. If `embedded`, the node is a string that holds JSON.
    Field { categories: Vec<CategoryId>, embedded: bool },
    /// A record set reads an id or a fact from the nodes that it selects.
    Capture,
}

impl QueryRole {
    /// Returns the categories of a field, and `None` for the other roles.
    pub(super) fn categories(&self) -> Option<&[CategoryId]> {
        match self {
            QueryRole::Field { categories, .. } => Some(categories),
            QueryRole::Record(_) | QueryRole::Capture => None,
        }
    }

    /// True if the query selects strings that hold JSON.
    pub(super) fn is_embedded(&self) -> bool {
        matches!(self, QueryRole::Field { embedded: true, .. })
    }
}

/// A query whose selected nodes are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capture {
    /// The number of the query in the plan.
    pub(super) query: u16,
    /// The node that the query starts from.
    pub(super) anchor: Anchor,
    /// True if the query selects at most one node, unless an object has a duplicate name.
    pub(super) singular: bool,
}

/// The origin of an id.
#[derive(Clone, Debug)]
pub(super) enum IdOrigin {
    /// Nodes of the body.
    Body(Capture),
    /// A path parameter of the request.
    Parameter(Box<str>),
}

/// A source of ids of data subjects or of the controller.
#[derive(Clone, Debug)]
pub(super) struct IdSource {
    pub(super) origin: IdOrigin,
    /// Normalises and validates the ids.
    pub(super) ids: IdReader,
    /// True if an absent id or `null` means that there is no such person. If false, it means that there is a person
    /// whose id is unknown.
    pub(super) optional: bool,
    /// For an optional source: the proper prefixes of the id's path, the longest last. An object that these select
    /// and that has no id stands for an unknown person.
    pub(super) ancestors: Vec<Capture>,
    /// True if each node that the last of `ancestors` selects holds at most one id.
    pub(super) one_each: bool,
}

/// The header that a table with arrays as rows must have.
#[derive(Clone, Debug)]
pub(super) struct TableHeader {
    /// Selects the header: one list of names, or each name as a node.
    pub(super) capture: Capture,
    /// The names that the mapping expects, in order.
    pub(super) names: Vec<String>,
    /// Selects the nodes that hold one table each, with its header and its rows. `None` if the document has one
    /// table only.
    pub(super) tables: Option<Capture>,
    /// The number of segments of the header's path that can select several nodes within one of `tables`, if the path
    /// of the rows has such segments as well; otherwise zero. Those headers cannot be assigned to rows.
    pub(super) scattered: usize,
}

/// A record set.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordSet {
    pub(super) header: Option<TableHeader>,
    pub(super) subjects: Vec<IdSource>,
    pub(super) controller: Option<IdSource>,
    pub(super) facts: Vec<(FactKey, Capture)>,
    /// Queries of the role [`QueryRole::Field`] that start at the record.
    pub(super) fields: Vec<u16>,
    /// True if captures are evaluated from each record instead of being found by the automaton. This is so if a
    /// condition is involved, if a record can be inside of another record of the same set, or if the automaton would
    /// be too large.
    pub(super) evaluated: bool,
}

impl RecordSet {
    /// Returns all captures of the set.
    pub(super) fn captures(&self) -> impl Iterator<Item = Capture> {
        let in_body = |source: &IdSource| match source.origin {
            IdOrigin::Body(capture) => Some(capture),
            IdOrigin::Parameter(_) => None,
        };
        let sources = || self.subjects.iter().chain(&self.controller);
        let ancestors = sources().flat_map(|source| source.ancestors.iter().copied());
        let facts = self.facts.iter().map(|(_, capture)| *capture);
        sources().filter_map(in_body).chain(ancestors).chain(facts)
    }

    /// Returns the queries that the automaton follows from a record of the set.
    pub(super) fn walked(&self) -> impl Iterator<Item = u16> {
        let relative = |capture: &Capture| capture.anchor == Anchor::Record;
        let captures = self.captures().filter(relative).filter(|_| !self.evaluated);
        self.fields.iter().copied().chain(captures.map(|capture| capture.query))
    }
}
