//! Whom a record is about, and what it says of itself.
//!
//! Refuses to choose: where a name occurs twice, nobody knows which of the two counts, and the
//! record has no subject (or an unreadable fact).

use smallvec::SmallVec;

use super::HeldValue;
use crate::decision::{Extracted, RecordFacts};
use crate::scrub::evaluate::Evaluation;
use crate::scrub::facts;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex::unquoted;
use crate::scrub::node_table::Node;
use crate::scrub::query::Anchor;
use crate::scrub::record_policy::Record;
use crate::scrub::record_set::{Capture, IdOrigin, IdSource, RecordSet, TableHeader};
use crate::scrub::state::RecordStart;
use crate::scrub::unreadable::BodyFault;
use crate::vocabulary::SubjectId;

type Ids = SmallVec<[SubjectId; 1]>;
type Nodes = SmallVec<[u32; 4]>;

impl HeldValue<'_> {
    /// Asks for the verdict over the record at `at`.
    pub(super) fn request_permit<A: FormPolicy>(
        &self,
        evaluation: &Evaluation<'_>,
        at: u32,
        node: &Node,
        start: RecordStart,
        policy: &mut A,
    ) -> Result<A::Permit, BodyFault> {
        let mut facts = RecordFacts::default();
        let (number, set) = match start {
            RecordStart::Of(number) => (number, self.route.plan.sets.get(number)),
            RecordStart::None | RecordStart::Disputed => (0, None),
        };
        let Some(set) = set else {
            // Rows that two record sets claim have nobody who checks their columns.
            if matches!(start, RecordStart::Disputed)
                && self.route.plan.sets.iter().any(|set| set.header.is_some())
            {
                return Err(BodyFault::OtherColumns);
            }
            return Ok(policy.record_permit(&Record {
                set: 0,
                subjects: None,
                controller: None,
                facts: &facts,
            }));
        };
        let about = RecordLookup { value: self, evaluation, at, node, set };
        let parameters = self.route.parameters;
        if let Some(header) = &set.header {
            about.check_columns(header)?;
        }

        let mut subjects = Ids::new();
        let mut usable = true;
        for (at, source) in set.subjects.iter().enumerate() {
            let named = about.ids(source, parameters.subject(number, at), &mut subjects)?;
            usable &= named == IdPresence::Present || (named == IdPresence::Absent && source.optional);
        }
        // Where everybody is optional, somebody has to be there all the same.
        usable &= set.subjects.is_empty() || !subjects.is_empty();
        let mut controllers = Ids::new();
        let mut accounts = IdPresence::Absent;
        if let Some(source) = &set.controller {
            accounts = about.ids(source, parameters.controller(number), &mut controllers)?;
            controllers.dedup();
        }
        let regions = &self.route.plan.regions;
        let mut nodes = Nodes::new();
        for (key, capture) in &set.facts {
            let clear = about.select(*capture, &mut nodes)?;
            match nodes.as_slice() {
                [] if clear => {}
                &[one] if clear => facts::set(&mut facts, *key, about.text(one), regions),
                _ => facts::set(&mut facts, *key, None, regions),
            }
        }
        let controller = match (accounts, controllers.as_slice()) {
            (IdPresence::Present, [only]) => Some(only),
            (IdPresence::Absent, _) => None,
            // An account that cannot be told may be a closed one.
            (IdPresence::Present | IdPresence::Unclear, _) => {
                facts.account_closed = Extracted::Unreadable;
                None
            }
        };
        Ok(policy.record_permit(&Record {
            set: number,
            subjects: usable.then_some(&subjects),
            controller,
            facts: &facts,
        }))
    }
}

/// What a source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdPresence {
    Present,
    /// Nothing is there, or null.
    Absent,
    /// Something is there, and not to be told.
    Unclear,
}

/// One record, where its ids and facts are looked up.
struct RecordLookup<'a> {
    value: &'a HeldValue<'a>,
    evaluation: &'a Evaluation<'a>,
    at: u32,
    node: &'a Node,
    set: &'a RecordSet,
}

impl RecordLookup<'_> {
    /// Adds everybody that a source names.
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

    /// Whether everybody on the way to the ids of an optional source has one, of which there are so many:
    /// an object without an id is somebody, and so is a value where an object would have one.
    fn has_ids(&self, source: &IdSource, ids: usize) -> Result<bool, BodyFault> {
        let mut nodes = Nodes::new();
        for (at, way) in source.ancestors.iter().enumerate() {
            if !self.select(*way, &mut nodes)? {
                return Ok(false);
            }
            nodes.retain(|node| self.text(*node) != Some(b"null"));
            let begins = |node: &u32| self.text(*node).and_then(|text| text.first().copied());
            if !nodes.iter().all(|node| matches!(begins(node), Some(b'{' | b'['))) {
                return Ok(false);
            }
            let is_last = at + 1 == source.ancestors.len();
            if is_last && source.one_each && nodes.len() != ids {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that the table has the columns that the mapping names, in their order, and the row one element
    /// for each. The header is one list of names, or each name is a node of its own; of several tables each has
    /// its own.
    fn check_columns(&self, header: &TableHeader) -> Result<(), BodyFault> {
        let held = self.value.held;
        let children = |at: u32| held.children(at).map(|(child, _)| child);
        let begins = |at: u32| self.text(at).and_then(|text| text.first().copied());
        let mut nodes = Nodes::new();
        let mut is_clear = self.select(header.capture, &mut nodes)?;
        if let Some(tables) = header.tables {
            let mut found = Nodes::new();
            is_clear &= self.select(tables, &mut found)?;
            self.evaluation.charge(found.len() as u64)?;
            let holds = |table: u32, at: u32| {
                held.table.node(table).is_some_and(|node| (table..node.next).contains(&at))
            };
            // The innermost stands last.
            let table_of = |at: u32| found.iter().copied().filter(|&table| holds(table, at)).max();
            let own = table_of(self.at);
            nodes.retain(|at| own.is_some_and(|own| holds(own, *at) && table_of(*at) == Some(own)));
        }
        let lists = nodes.iter().all(|&node| begins(node) == Some(b'['));
        let are_names = |found: &mut dyn Iterator<Item = u32>| {
            let denoted = |at: u32| self.text(at).filter(|_| begins(at) == Some(b'"')).map(unquoted);
            found.map(denoted).eq(header.names.iter().map(|name| Some(name.as_bytes().into())))
        };
        self.evaluation.charge((header.names.len() * (nodes.len() + 1)) as u64)?;
        let is_header = match lists {
            true => nodes.iter().all(|&list| are_names(&mut children(list))),
            false => are_names(&mut nodes.iter().copied()),
        };
        let is_row = begins(self.at) == Some(b'[') && children(self.at).count() == header.names.len();
        // Names can each be a node of their own; lists cannot be told apart.
        let is_own = header.scattered <= usize::from(!lists);
        if is_clear && is_own && !nodes.is_empty() && is_header && is_row {
            Ok(())
        } else {
            Err(BodyFault::OtherColumns)
        }
    }

    fn text(&self, at: u32) -> Option<&[u8]> {
        self.value.held.table.node(at).map(|node| self.value.held.text(node))
    }

    /// The nodes that a capture selects; `false` if a repeated name makes it unclear which of them count.
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
        let several = capture.singular && nodes.len() > 1;
        Ok(!several && !self.any_duplicate(from, nodes)?)
    }

    /// Whether a repeated name makes it unclear which of the nodes found from `from` count.
    fn any_duplicate(&self, from: u32, nodes: &[u32]) -> Result<bool, BodyFault> {
        let table = self.value.held.table;
        if table.duplicates.is_empty() || nodes.is_empty() {
            return Ok(false);
        }
        if self.set.evaluated {
            // A condition may have read the other occurrence, wherever it stands.
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

    /// Whether some name between `from` and `found` occurs twice in its object.
    fn has_duplicate_on_path(&self, from: u32, found: u32) -> Result<bool, BodyFault> {
        let held = self.value.held;
        let repeated = &held.table.duplicates;
        let mut parent = from;
        while parent != found {
            let mut children = held.children(parent);
            let (child, way) = loop {
                self.evaluation.charge(1)?;
                let Some((child, way)) = children.next() else { return Ok(false) };
                if (child..way.next).contains(&found) {
                    break (child, way);
                }
            };
            self.evaluation.charge(repeated.len() as u64)?;
            let name = self.evaluation.name(way);
            let same_name = |&(at, of): &(u32, u32)| {
                of == parent && held.table.node(at).is_some_and(|node| self.evaluation.name(node) == name)
            };
            if repeated.iter().any(same_name) {
                return Ok(true);
            }
            parent = child;
        }
        Ok(false)
    }
}
