//! Reads the data subjects, the controller and the facts of a record, and requests its permit.
//!
//! Invariant: an ambiguous value is never resolved by a guess. If a duplicate name makes it unclear which value
//! counts, the record has no usable subject, or the fact is unreadable.

use smallvec::SmallVec;

use super::HeldValue;
use crate::decision::{Extracted, RecordFacts};
use crate::scrub::evaluate::Evaluation;
use crate::scrub::facts;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex::unquoted;
use crate::scrub::node_table::Node;
use crate::scrub::query::Anchor;
use crate::scrub::record_policy::JudgedRecord;
use crate::scrub::record_set::{Capture, IdOrigin, IdSource, RecordSet, TableHeader};
use crate::scrub::state::RecordStart;
use crate::scrub::unreadable::BodyFault;
use crate::vocabulary::SubjectId;

type Ids = SmallVec<[SubjectId; 1]>;
type Nodes = SmallVec<[u32; 4]>;

impl HeldValue<'_> {
    /// Requests the permit for the record at node `at`.
    ///
    /// # Errors
    /// Returns [`BodyFault::OtherColumns`] if the record is a row of a table with other columns than the mapping's,
    /// and [`BodyFault::TooCostly`] if evaluating its captures takes too long.
    pub(super) fn request_permit<A: FormPolicy>(
        &self,
        evaluation: &Evaluation<'_>,
        at: u32,
        node: &Node,
        start: RecordStart,
        policy: &mut A,
    ) -> Result<A::Permit, BodyFault> {
        let sets = &self.route.plan.sets;
        let (number, set) = match start {
            RecordStart::Of(number) => (number, sets.get(number)),
            RecordStart::None | RecordStart::Disputed => (0, None),
        };
        let Some(set) = set else {
            // The columns of a row that two record sets claim cannot be checked.
            if matches!(start, RecordStart::Disputed) && sets.iter().any(|set| set.header.is_some()) {
                return Err(BodyFault::OtherColumns);
            }
            let facts = &RecordFacts::default();
            return Ok(policy.record_permit(&JudgedRecord {
                set: 0,
                subjects: None,
                controller: None,
                facts,
            }));
        };
        let lookup = RecordLookup { value: self, evaluation, at, node, set };
        if let Some(header) = &set.header {
            lookup.check_columns(header)?;
        }
        let subjects = lookup.subjects(number)?;
        let (accounts, controllers) = lookup.controllers(number)?;
        let mut facts = lookup.facts()?;
        let controller = match (accounts, controllers.as_slice()) {
            (IdPresence::Present, [only]) => Some(only),
            (IdPresence::Absent, _) => None,
            // An unknown controller may have closed its account.
            (IdPresence::Present | IdPresence::Unclear, _) => {
                facts.account_closed = Extracted::Unreadable;
                None
            }
        };
        let subjects = subjects.as_deref();
        Ok(policy.record_permit(&JudgedRecord { set: number, subjects, controller, facts: &facts }))
    }
}

/// The result of looking up ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdPresence {
    Present,
    /// Nothing or `null` is there.
    Absent,
    /// An id is missing or invalid, or it is unclear which value counts.
    Unclear,
}

/// Looks up ids and facts of one record.
struct RecordLookup<'a> {
    value: &'a HeldValue<'a>,
    evaluation: &'a Evaluation<'a>,
    at: u32,
    node: &'a Node,
    set: &'a RecordSet,
}

impl RecordLookup<'_> {
    /// Returns everybody the record is about; `None` if the record has no usable subject.
    fn subjects(&self, set: usize) -> Result<Option<Ids>, BodyFault> {
        let mut subjects = Ids::new();
        let mut usable = true;
        for (number, source) in self.set.subjects.iter().enumerate() {
            let parameter = self.value.route.parameters.subject(set, number);
            let presence = self.ids(source, parameter, &mut subjects)?;
            usable &= presence == IdPresence::Present || (presence == IdPresence::Absent && source.optional);
        }
        // If all sources are optional, at least one of them must have an id.
        usable &= self.set.subjects.is_empty() || !subjects.is_empty();
        Ok(usable.then_some(subjects))
    }

    /// Returns the ids of the record's controller. A usable record has at most one.
    fn controllers(&self, set: usize) -> Result<(IdPresence, Ids), BodyFault> {
        let mut controllers = Ids::new();
        let Some(source) = &self.set.controller else { return Ok((IdPresence::Absent, controllers)) };
        let parameter = self.value.route.parameters.controller(set);
        let presence = self.ids(source, parameter, &mut controllers)?;
        controllers.dedup();
        Ok((presence, controllers))
    }

    fn facts(&self) -> Result<RecordFacts, BodyFault> {
        let mut facts = RecordFacts::default();
        let regions = &self.value.route.plan.regions;
        let mut nodes = Nodes::new();
        for (key, capture) in &self.set.facts {
            let is_clear = self.select(*capture, &mut nodes)?;
            match nodes.as_slice() {
                [] if is_clear => {}
                &[one] if is_clear => facts::set(&mut facts, *key, self.text(one), regions),
                _ => facts::set(&mut facts, *key, None, regions),
            }
        }
        Ok(facts)
    }

    /// Adds all ids of a source.
    fn ids(
        &self,
        source: &IdSource,
        parameter: Option<&SubjectId>,
        into: &mut Ids,
    ) -> Result<IdPresence, BodyFault> {
        let capture = match &source.origin {
            IdOrigin::Body(capture) => *capture,
            IdOrigin::Parameter(_) => {
                into.extend(parameter.cloned());
                return Ok(if parameter.is_some() { IdPresence::Present } else { IdPresence::Unclear });
            }
        };
        let mut nodes = Nodes::new();
        if !self.select(capture, &mut nodes)? {
            return Ok(IdPresence::Unclear);
        }
        if source.optional {
            if !self.has_ids(source, nodes.len())? {
                return Ok(IdPresence::Unclear);
            }
            nodes.retain(|node| self.text(*node) != Some(b"null"));
        }
        if nodes.iter().all(|&node| self.text(node) == Some(b"null")) {
            return Ok(IdPresence::Absent);
        }
        for node in nodes {
            match self.text(node).and_then(|value| facts::id(value, &source.ids)) {
                Some(id) => into.push(id),
                None => return Ok(IdPresence::Unclear),
            }
        }
        Ok(IdPresence::Present)
    }

    /// True if every object on the path to the ids of an optional source has an id; `ids` is the number of ids found.
    /// An object without an id stands for an unknown person, and so does any value in its place that is neither an
    /// object, an array nor `null`.
    fn has_ids(&self, source: &IdSource, ids: usize) -> Result<bool, BodyFault> {
        let mut nodes = Nodes::new();
        for (number, ancestor) in source.ancestors.iter().enumerate() {
            if !self.select(*ancestor, &mut nodes)? {
                return Ok(false);
            }
            nodes.retain(|node| self.text(*node) != Some(b"null"));
            if !nodes.iter().all(|node| matches!(self.first_byte(*node), Some(b'{' | b'['))) {
                return Ok(false);
            }
            let is_last = number + 1 == source.ancestors.len();
            if is_last && source.one_each && nodes.len() != ids {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that the row's table has the columns of the mapping, in their order, and that the row has one element
    /// for each. The header is one list of names, or each name is a node. If there are several tables, each has its
    /// own header.
    fn check_columns(&self, header: &TableHeader) -> Result<(), BodyFault> {
        let held = self.value.held;
        let children = |at: u32| held.children(at).map(|(child, _)| child);
        let mut nodes = Nodes::new();
        let mut is_clear = self.select(header.capture, &mut nodes)?;
        if let Some(tables) = header.tables {
            is_clear &= self.retain_own_header(tables, &mut nodes)?;
        }
        let is_list = nodes.iter().all(|&node| self.first_byte(node) == Some(b'['));
        self.evaluation.charge((header.names.len() * (nodes.len() + 1)) as u64)?;
        let has_names = if is_list {
            nodes.iter().all(|&list| self.are_names(&header.names, children(list)))
        } else {
            self.are_names(&header.names, nodes.iter().copied())
        };
        let is_row =
            self.first_byte(self.at) == Some(b'[') && children(self.at).count() == header.names.len();
        // One plural segment may select the names of a single header. Several headers that are lists cannot be
        // assigned to tables.
        let is_assignable = header.scattered <= usize::from(!is_list);
        if is_clear && is_assignable && !nodes.is_empty() && has_names && is_row {
            Ok(())
        } else {
            Err(BodyFault::OtherColumns)
        }
    }

    /// Keeps the header nodes that belong to the row's own table. Returns false if a duplicate name makes the tables
    /// unclear.
    fn retain_own_header(&self, tables: Capture, nodes: &mut Nodes) -> Result<bool, BodyFault> {
        let held = self.value.held;
        let mut found = Nodes::new();
        let is_clear = self.select(tables, &mut found)?;
        self.evaluation.charge(found.len() as u64)?;
        let contains =
            |table: u32, at: u32| held.table.node(table).is_some_and(|node| (table..node.next).contains(&at));
        // The innermost table comes last in document order.
        let table_of = |at: u32| found.iter().copied().filter(|&table| contains(table, at)).max();
        let own = table_of(self.at);
        nodes.retain(|at| own.is_some_and(|own| contains(own, *at) && table_of(*at) == Some(own)));
        Ok(is_clear)
    }

    /// True if these nodes are strings that spell the names.
    fn are_names(&self, names: &[String], nodes: impl Iterator<Item = u32>) -> bool {
        let denoted = |at: u32| self.text(at).filter(|text| text.first() == Some(&b'"')).map(unquoted);
        nodes.map(denoted).eq(names.iter().map(|name| Some(name.as_bytes().into())))
    }

    fn text(&self, at: u32) -> Option<&[u8]> {
        self.value.held.table.node(at).map(|node| self.value.held.text(node))
    }

    fn first_byte(&self, at: u32) -> Option<u8> {
        self.text(at).and_then(|text| text.first().copied())
    }

    /// Finds the nodes that a capture selects. Returns false if a duplicate name makes it unclear which of them
    /// count.
    fn select(&self, capture: Capture, nodes: &mut Nodes) -> Result<bool, BodyFault> {
        nodes.clear();
        let table = self.value.held.table;
        let from = match capture.anchor {
            Anchor::Record => self.at,
            Anchor::Document => 0,
        };
        if self.set.evaluated || capture.anchor == Anchor::Document {
            let Some(query) = self.value.route.plan.query(capture.query) else { return Ok(false) };
            nodes.extend(self.evaluation.select(&query.segments, from, from)?);
        } else {
            let first = table.captures.partition_point(|(_, node)| *node < self.at);
            let here = table.captures.iter().skip(first).take_while(|(_, found)| *found < self.node.next);
            here.filter(|(query, _)| *query == capture.query).for_each(|(_, node)| nodes.push(*node));
        }
        let is_plural = capture.singular && nodes.len() > 1;
        Ok(!is_plural && !self.any_duplicate(from, nodes)?)
    }

    /// True if a duplicate name makes it unclear which of the nodes selected from `from` count.
    fn any_duplicate(&self, from: u32, nodes: &[u32]) -> Result<bool, BodyFault> {
        let table = self.value.held.table;
        if table.duplicates.is_empty() || nodes.is_empty() {
            return Ok(false);
        }
        if self.set.evaluated {
            // A condition may have read any occurrence of any duplicate name below `from`.
            let inside = from..table.node(from).map_or(0, |node| node.next);
            return Ok(table.duplicates.iter().any(|(_, parent)| inside.contains(parent)));
        }
        for &found in nodes {
            if self.has_duplicate_on_path(from, found)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True if a name on the path from `from` to `found` occurs twice in its object.
    fn has_duplicate_on_path(&self, from: u32, found: u32) -> Result<bool, BodyFault> {
        let held = self.value.held;
        let duplicates = &held.table.duplicates;
        let mut parent = from;
        while parent != found {
            let mut children = held.children(parent);
            let (child, node) = loop {
                self.evaluation.charge(1)?;
                let Some((child, node)) = children.next() else { return Ok(false) };
                if (child..node.next).contains(&found) {
                    break (child, node);
                }
            };
            self.evaluation.charge(duplicates.len() as u64)?;
            let name = self.evaluation.name(node);
            let same_name = |&(at, of): &(u32, u32)| {
                of == parent && held.table.node(at).is_some_and(|node| self.evaluation.name(node) == name)
            };
            if duplicates.iter().any(same_name) {
                return Ok(true);
            }
            parent = child;
        }
        Ok(false)
    }
}
