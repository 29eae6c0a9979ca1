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
        let set = match start {
            Start::Of(set) => set,
            Start::None | Start::Disputed => {
                let record = Record { set: 0, subjects: None, controller: None, facts: &RecordFacts::default() };
                return Ok(arbiter.record(&record));
            }
        };
        let nothing = Set::default();
        let mapping = self.common.plan.sets.get(set).unwrap_or(&nothing);
        let mut subjects: Option<Ids> = Some(SmallVec::new());
        for (number, source) in mapping.subjects.iter().enumerate() {
            let found = self.ids(evaluation, source, self.common.parameters.subject(set, number), at, node, mapping)?;
            match (&mut subjects, found) {
                (Some(all), Some(found)) => all.extend(found),
                _ => subjects = None,
            }
        }
        let controller = match &mapping.controller {
            Some(source) => self.ids(evaluation, source, self.common.parameters.controller(set), at, node, mapping)?,
            None => None,
        };
        let controller = controller.filter(|ids| ids.len() == 1).and_then(|ids| ids.into_iter().next());
        let mut facts = RecordFacts::default();
        for (key, capture) in &mapping.facts {
            match self.captured(evaluation, *capture, at, node, mapping)?.as_deref() {
                Some([]) => {}
                Some(&[one]) => facts::set(&mut facts, *key, self.text(one)),
                Some(_) | None => facts::set(&mut facts, *key, None),
            }
        }
        let record =
            Record { set, subjects: subjects.as_deref(), controller: controller.as_ref(), facts: &facts };
        Ok(arbiter.record(&record))
    }

    /// Everybody that a source names; `None` if that is nobody, or not to be told.
    fn ids(
        &self,
        evaluation: &Evaluation<'_>,
        source: &Source,
        parameter: Option<&SubjectId>,
        at: u32,
        node: &Node,
        set: &Set,
    ) -> Result<Option<Ids>, TooCostly> {
        let capture = match &source.from {
            From::Parameter(_) => return Ok(parameter.cloned().map(|id| SmallVec::from_iter([id]))),
            From::Body(capture) => *capture,
        };
        let Some(nodes) = self.captured(evaluation, capture, at, node, set)? else { return Ok(None) };
        let read = |&node: &u32| {
            let id = facts::id(self.text(node)?, source.normalise)?;
            Some(SubjectId { namespace: source.namespace.clone(), id })
        };
        let ids: Option<Ids> = nodes.iter().map(read).collect();
        Ok(ids.filter(|ids| !ids.is_empty()))
    }

    fn text(&self, at: u32) -> Option<&[u8]> {
        self.held.table.node(at).map(|node| self.held.text(node))
    }

    /// The nodes that a capture of the record at `at` selects; `None` if a repeated name makes it
    /// unclear which of them count.
    fn captured(
        &self,
        evaluation: &Evaluation<'_>,
        capture: Capture,
        at: u32,
        node: &Node,
        set: &Set,
    ) -> Result<Option<SmallVec<[u32; 2]>>, TooCostly> {
        let from = match capture.anchor {
            Anchor::Record => at,
            Anchor::Document => 0,
        };
        let nodes: SmallVec<[u32; 2]> = if set.evaluated || capture.anchor == Anchor::Document {
            let Some(query) = self.common.plan.query(capture.query) else { return Ok(None) };
            evaluation.select(&query.segments, from, from)?.into()
        } else {
            let found = &self.held.table.captures;
            let first = found.partition_point(|(_, node)| *node < at);
            let here = found.iter().skip(first).take_while(|(_, found)| *found < node.next);
            here.filter(|(query, _)| *query == capture.query).map(|(_, node)| *node).collect()
        };
        let several = capture.singular && nodes.len() > 1;
        let unclear = several || nodes.iter().any(|&found| self.is_repeated(evaluation, from, found, set.evaluated));
        Ok((!unclear).then_some(nodes))
    }

    /// Whether some name between `from` and `found` occurs twice in its object.
    fn is_repeated(&self, evaluation: &Evaluation<'_>, from: u32, found: u32, evaluated: bool) -> bool {
        let within = |container: u32| {
            let next = self.held.table.node(container).map_or(0, |node| node.next);
            (container..next).contains(&found)
        };
        self.held.table.repeated.iter().filter(|(_, parent)| *parent >= from).any(|&(repeated, parent)| {
            // A condition may have read the other occurrence.
            if evaluated {
                return true;
            }
            let name = |at: u32| self.held.table.node(at).and_then(|node| evaluation.name(node));
            within(parent)
                && self.held.children(parent).any(|(child, node)| {
                    (child..node.next).contains(&found) && name(child) == name(repeated)
                })
        })
    }
}
