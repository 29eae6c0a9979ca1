//! Evaluates the queries that the automaton cannot decide from names and positions.

use super::HeldValue;
use crate::scrub::evaluate::Evaluation;
use crate::scrub::query::QuerySegment;
use crate::scrub::record_set::QueryRole;
use crate::scrub::state::QueryPosition;
use crate::scrub::unreadable::BodyFault;

/// Selected nodes, as pairs of a node and the query that selects it.
type Selected = Vec<(u32, u16)>;

impl<'a> HeldValue<'a> {
    /// Evaluates the conditions on the value itself and those inside of it. The result is in document order,
    /// without duplicates.
    pub(super) fn selected(&self, evaluation: &Evaluation<'_>) -> Result<Selected, BodyFault> {
        let mut selected = Selected::new();
        for position in self.placement.conditions {
            let Some((segment, rest)) = self.segments(*position).split_first() else { continue };
            if evaluation.selects_root(segment, self.placement.key)? {
                self.select(evaluation, position.query, rest, 0, &mut selected)?;
            }
            if segment.descendant {
                self.select(evaluation, position.query, self.segments(*position), 0, &mut selected)?;
            }
        }
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            for position in &self.route.plan.automaton.state(node.state).anchors {
                self.select(evaluation, position.query, self.segments(*position), at, &mut selected)?;
            }
        }
        selected.sort_unstable();
        selected.dedup();
        Ok(selected)
    }

    /// Returns the segments of a query that are not matched yet.
    fn segments(&self, position: QueryPosition) -> &'a [QuerySegment] {
        let query = self.route.plan.query(position.query);
        query.and_then(|query| query.segments.get(usize::from(position.segment)..)).unwrap_or_default()
    }

    /// Adds the nodes that a query selects. For a record, adds the fields of its set as well.
    fn select(
        &self,
        evaluation: &Evaluation<'_>,
        query: u16,
        segments: &[QuerySegment],
        from: u32,
        selected: &mut Selected,
    ) -> Result<(), BodyFault> {
        let plan = self.route.plan;
        let nodes = evaluation.select(segments, from, from)?;
        selected.extend(nodes.iter().map(|&node| (node, query)));
        let Some(QueryRole::Record(set)) = plan.role(query) else { return Ok(()) };
        let fields = plan.sets.get(*set).map(|set| set.fields.as_slice()).unwrap_or_default();
        for &record in &nodes {
            for &field in fields {
                let Some(field_query) = plan.query(field) else { continue };
                let below = evaluation.select(&field_query.segments, record, record)?;
                selected.extend(below.into_iter().map(|node| (node, field)));
            }
        }
        Ok(())
    }

    /// Returns the nodes that conditions select as embedded JSON, in document order.
    pub(in crate::scrub) fn embedded_by_condition(&self) -> Result<Vec<u32>, BodyFault> {
        let selected = self.selected(&Evaluation::new(self.held, self.route.plan.options.on_duplicate))?;
        let embedded = selected.into_iter().filter(|(_, query)| self.route.plan.is_embedded(*query));
        let mut nodes: Vec<u32> = embedded.map(|(at, _)| at).collect();
        nodes.dedup();
        Ok(nodes)
    }

    /// Returns the strings that are embedded JSON, or may be if a condition holds.
    pub(in crate::scrub) fn may_be_embedded(&self) -> Vec<u32> {
        let (plan, table) = (self.route.plan, self.held.table);
        let may_be = |at: &u32| {
            let Some(node) = table.node(*at) else { return false };
            let maybe = &plan.automaton.state(node.state).maybe_fields;
            table.json_strings.binary_search(at).is_ok() || maybe.iter().any(|&query| plan.is_embedded(query))
        };
        (0..table.len()).filter(may_be).collect()
    }
}
