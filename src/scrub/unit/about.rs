//! Whom a record is about, and what it says of itself.
//!
//! Refuses to choose: where a name occurs twice, nobody knows which of the two counts, and the
//! record has no subject (or an unreadable fact).

use smallvec::SmallVec;

use super::Unit;
use crate::decision::RecordFacts;
use crate::scrub::arbiter::Arbiter;
use crate::scrub::automaton::Start;
use crate::scrub::evaluate::{Evaluation, TooCostly};
use crate::scrub::facts;
use crate::scrub::judge::{Record, SubjectId};
use crate::scrub::plan::{Capture, From, Set, Source};
use crate::scrub::query::Anchor;
use crate::scrub::table::Node;

type Ids = SmallVec<[SubjectId; 1]>;
type Nodes = SmallVec<[u32; 4]>;

impl Unit<'_> {
    /// Asks for the verdict over the record at `at`.
    pub(super) fn judge<A: Arbiter>(
        &self,
        evaluation: &Evaluation<'_>,
        at: u32,
        node: &Node,
        start: Start,
        arbiter: &mut A,
    ) -> Result<A::Verdict, TooCostly> {
        let mut facts = RecordFacts::default();
        let (number, set) = match start {
            Start::Of(number) => (number, self.common.plan.sets.get(number)),
            Start::None | Start::Disputed => (0, None),
        };
        let Some(set) = set else {
            return Ok(arbiter.record(&Record { set: 0, subjects: None, controller: None, facts: &facts }));
        };
        let about = About { unit: self, evaluation, at, node, set };
        let parameters = self.common.parameters;

        let mut subjects = Ids::new();
        let mut usable = true;
        for (at, source) in set.subjects.iter().enumerate() {
            usable &= about.ids(source, parameters.subject(number, at), &mut subjects)?;
        }
        let mut controllers = Ids::new();
        if let Some(source) = &set.controller {
            let usable = about.ids(source, parameters.controller(number), &mut controllers)?;
            controllers.truncate(if usable && controllers.len() == 1 { 1 } else { 0 });
        }
        let mut nodes = Nodes::new();
        for (key, capture) in &set.facts {
            let clear = about.captured(*capture, &mut nodes)?;
            match nodes.as_slice() {
                [] if clear => {}
                &[one] if clear => facts::set(&mut facts, *key, about.text(one)),
                _ => facts::set(&mut facts, *key, None),
            }
        }
        Ok(arbiter.record(&Record {
            set: number,
            subjects: usable.then_some(&subjects),
            controller: controllers.first(),
            facts: &facts,
        }))
    }
}

/// One record, where its ids and facts are looked up.
struct About<'a> {
    unit: &'a Unit<'a>,
    evaluation: &'a Evaluation<'a>,
    at: u32,
    node: &'a Node,
    set: &'a Set,
}

impl About<'_> {
    /// Adds everybody that a source names; `false` if that is nobody, or not to be told.
    fn ids(&self, source: &Source, parameter: Option<&SubjectId>, into: &mut Ids) -> Result<bool, TooCostly> {
        let capture = match &source.from {
            From::Body(capture) => *capture,
            From::Parameter(_) => {
                into.extend(parameter.cloned());
                return Ok(parameter.is_some());
            }
        };
        let mut nodes = Nodes::new();
        if !self.captured(capture, &mut nodes)? || nodes.is_empty() {
            return Ok(false);
        }
        for node in nodes {
            match self.text(node).and_then(|value| facts::id(value, source.normalise)) {
                Some(id) => into.push(SubjectId { namespace: source.namespace.clone(), id }),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn text(&self, at: u32) -> Option<&[u8]> {
        self.unit.held.table.node(at).map(|node| self.unit.held.text(node))
    }

    /// The nodes that a capture selects; `false` if a repeated name makes it unclear which of them count.
    fn captured(&self, capture: Capture, nodes: &mut Nodes) -> Result<bool, TooCostly> {
        nodes.clear();
        let table = self.unit.held.table;
        let from = match capture.anchor {
            Anchor::Record => self.at,
            Anchor::Document => 0,
        };
        if self.set.evaluated || capture.anchor == Anchor::Document {
            let Some(query) = self.unit.common.plan.query(capture.query) else { return Ok(false) };
            nodes.extend(self.evaluation.select(&query.segments, from, from)?);
        } else {
            let first = table.captures.partition_point(|(_, node)| *node < self.at);
            let here = table.captures.iter().skip(first).take_while(|(_, found)| *found < self.node.next);
            here.filter(|(query, _)| *query == capture.query).for_each(|(_, node)| nodes.push(*node));
        }
        let several = capture.singular && nodes.len() > 1;
        let repeated = !table.repeated.is_empty() && nodes.iter().any(|&found| self.is_repeated(from, found));
        Ok(!several && !repeated)
    }

    /// Whether some name between `from` and `found` occurs twice in its object.
    fn is_repeated(&self, from: u32, found: u32) -> bool {
        let held = self.unit.held;
        let next = |at: u32| held.table.node(at).map_or(0, |node| node.next);
        let name = |at: u32| held.table.node(at).and_then(|node| self.evaluation.name(node));
        held.table.repeated.iter().filter(|(_, parent)| (from..next(from)).contains(parent)).any(
            |&(repeated, parent)| {
                let same_name = |(child, node): (u32, &Node)| {
                    (child..node.next).contains(&found) && name(child) == name(repeated)
                };
                // A condition may have read the other occurrence, wherever it stands.
                self.set.evaluated || held.children(parent).any(same_name)
            },
        )
    }
}
